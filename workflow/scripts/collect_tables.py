"""Collect the tables of the study from its measurements: per image, Table 1, paired gains, grid, choices, history."""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from tvmap import comparison, history, tables, tabular
from tvmap.curve import CURVE
from tvmap.logs import log, logged_to

if TYPE_CHECKING:
    from snakemake.script import snakemake

MEASUREMENTS = ("weight_mean", "psnr", "ssim", "gap", "relative_gap")
PER_IMAGE = (*tabular.IMAGE, "patient", "noise_level", "method", *MEASUREMENTS)
CHOICE = ("id", "weight_fixed") + tuple(
    name for m in ("psnr", "ssim") for name in (f"{m}_edge", f"weight_{m}", f"weight_{m}_fine", f"{m}_gain_fine")
)


def main(metric_paths, choice_paths, grid_paths, history_path, folder, protocols, draws, report, seed, source, size):
    """`…_paths`: a file for each protocol and draw, in this order; `report`: of the config."""
    keys = [{"protocol": protocol, "draw": draw} for protocol in protocols for draw in draws]
    per_image = pd.concat([tabular.read_table(path, PER_IMAGE, tabular.NO_WEIGHT) for path in metric_paths])
    choices, grids = (
        pd.concat([tabular.read_table(path, columns).assign(**key) for path, key in zip(paths, keys, strict=True)])
        for paths, columns in ((choice_paths, CHOICE), (grid_paths, CURVE))
    )
    options = {"resamples": report["bootstrap"], "confidence": report["confidence"], "seed": seed}
    found = {
        "per_image": per_image,
        "summary": comparison.summarise(per_image, options),
        "gains": comparison.paired_gains(per_image, options),
        "grid": grids[[*tabular.GRID]],
        "scalar_choice": choices[[*tabular.ROUND, *choices.columns.drop(tabular.ROUND)]],
        "by_level": comparison.by_level(per_image, options),
        "gaps": comparison.gaps(per_image, size**2),
        "training_history": tabular.read_table(history_path, history.HISTORY, may_be_empty=history.SCORES),
    }
    for name, table in found.items():
        tabular.write_table(Path(folder) / f"{name}.csv", table)
    note, percent = tables.note(source, report), 100 * report["confidence"]
    summary = tables.summary_table(found["summary"], percent)
    for name, title, table, below in (
        ("summary", "Mean PSNR and SSIM", summary, note),
        ("gains", "Paired gains of the map", tables.gains_table(found["gains"], percent), note),
        ("by_level", "Gains by noise level", tables.by_level_table(found["by_level"], percent), note),
        ("scalar_choice", "Scalar weights", tables.choices_table(found["scalar_choice"]), note),
        ("gaps", "Primal-dual gaps", tables.gaps_table(found["gaps"]), ""),
        ("training_history", "The training", tables.history_table(found["training_history"]), ""),
    ):
        tables.write_markdown(Path(folder) / f"{name}.csv", title, table, below)
    for row in summary[1]:
        log.info("%s", "  ".join(row))


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        paths = [snakemake.input[name] for name in ("metrics", "choices", "grids", "history")]
        params = [snakemake.params[name] for name in ("protocols", "draws", "report", "seed", "source", "size")]
        main(*paths, Path(snakemake.output.summary).parent, *params)
