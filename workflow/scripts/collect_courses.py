"""Collect how good each training of a study and its variants was after how many minutes."""

from typing import TYPE_CHECKING

from tvmap import courses, dissertation, tabular
from tvmap.logs import log, logged_to

if TYPE_CHECKING:
    from snakemake.script import snakemake


def main(trainings, histories, grids, steps_path, output_path):
    """`trainings`, `histories`, `grids` of the validation images: {variant: file}, the study under ""."""
    table = courses.courses(histories, courses.training_minutes(trainings, steps_path), grids)
    tabular.write_table(output_path, table)
    reached = courses.minutes_to(dissertation.GAIN, table)
    for name in histories:
        when = f"after {reached[name]:.1f} min" if name in reached else "never"
        log.info("%s: %+.2f dB on validation %s", name or "the study", dissertation.GAIN, when)


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        files = (snakemake.params[name] for name in ("trainings", "histories", "grids"))
        main(*files, snakemake.input.steps, snakemake.output[0])
