"""Compare a study with its variants: what each changes, on which images, by how much, and how long it trained."""

from typing import TYPE_CHECKING

import pandas as pd

from tvmap import courses, dissertation, tables, tabular, variants
from tvmap.logs import log, logged_to

if TYPE_CHECKING:
    from snakemake.script import snakemake


def main(metrics, trainings, times, overlays, comparable, output_path, report, seed, source):
    """`metrics`: {variant: its tables of measurements}, "" being the study; a variant without scalars has the study's.

    trainings: {variant: file}; times: what time_steps.py and collect_courses.py made of them, None if there are none;
    overlays: {variant: the keys that differ}; comparable: {variant: noise protocols that have the study's noisy
    images}; report: of the config.
    """
    images = {
        name: pd.concat([tabular.read_table(path, variants.COLUMNS) for path in paths])
        for name, paths in metrics.items()
    }
    minutes = courses.training_minutes(trainings, times[0]) if times else {}
    reached = courses.minutes_to(dissertation.GAIN, courses.read(times[1])) if times else {}
    changes = {name: variants.described(overlay) for name, overlay in overlays.items()}
    options = {"resamples": report["bootstrap"], "confidence": report["confidence"], "seed": seed}
    found = variants.compare(images, comparable, options)
    if len(images) > 1 and all(variants.repeats(overlay) for overlay in overlays.values()):
        found = pd.concat([found, variants.together(images, options)])
    found.insert(1, "changes", found["variant"].map(changes).fillna(""))
    found["training_minutes"] = found["variant"].map(minutes)
    found["minutes_to_published_gain"] = found["variant"].map(reached)
    tabular.write_table(output_path, found)
    table = tables.variants_table(found, 100 * report["confidence"])
    note = tables.note(source, report, of_variants=True)
    tables.write_markdown(output_path, "The study and its variants", table, note)
    for row in table[1]:
        log.info("%s", "  ".join(row))


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        params = snakemake.params
        paths = [params.metrics, params.trainings, snakemake.input.get("times"), params.overlays, params.comparable]
        main(*paths, snakemake.output.table, params.report, params.seed, params.source)
