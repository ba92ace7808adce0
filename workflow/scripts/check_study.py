"""Check a finished study from inside; what must hold and does not stops the workflow, the rest stands in the report."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from tvmap import checks, tabular
from tvmap.curve import CURVE
from tvmap.errors import StudyError
from tvmap.logs import log, logged_to

if TYPE_CHECKING:
    from snakemake.script import snakemake

COLUMNS = {
    "manifest": ("id", "patient", "split", "sha256"),
    "per_image": ("id", "method", "weight_mean", "psnr", "ssim", "gap", "relative_gap"),
    "choice": ("psnr_edge", "ssim_edge"),
}
TUNING = ("protocol", "method", "on_edge")


def main(paths, clean_paths, output_path, n_values, n_protocols, n_draws, n_methods, iterations, size, x_rays):
    """Write one row a check: its name, whether it holds, and the number behind it.

    paths: of the tables of COLUMNS and of the grid; `val_grids` of the validation images, of which the fixed λ come,
    `train_grids` of the training images, of which rivals learn; `maps`, the measurements of variants that have the
    study's scalars, so their map alone; `tuning`, the table of how the rivals were tuned, in a list. These three may
    be empty. n_methods: of the study, and one for each of these variants.
    clean_paths: {split: stack of the clean images}.
    """
    manifest, per_image, choice = (tabular.read_table(paths[k], v, tabular.NO_WEIGHT) for k, v in COLUMNS.items())
    maps = [tabular.read_table(path, COLUMNS["per_image"], tabular.NO_WEIGHT) for path in paths["maps"]]
    tests = tabular.read_table(paths["grid"], tabular.GRID)
    tests["round"] = tests.groupby(tabular.ROUND).ngroup()
    grids, rounds = {"test": tests}, n_protocols * n_draws
    for split in ("val", "train"):
        parts = [tabular.read_table(path, CURVE).assign(round=path) for path in paths[f"{split}_grids"]]
        grids |= {split: pd.concat(parts)} if parts else {}
    tunings = [tabular.read_table(path, TUNING, ("on_edge",)) for path in paths["tuning"]]
    of_split = manifest["split"].value_counts()
    n_images = {"test": rounds * of_split["test"], "val": rounds * of_split["val"]}
    n_images["train"] = n_protocols * of_split["train"]  # of the first draw alone
    found = [
        *checks.of_images(manifest, clean_paths),
        *checks.of_grids(grids, n_values, n_images),
        *checks.of_results(pd.concat([per_image, *maps]), choice, n_images["test"] * n_methods),
        *(check for table in tunings for check in checks.of_tuning(table)),
        *checks.of_gaps(per_image, iterations, size, x_rays),
    ]
    for name, holds, number, must_hold in found:
        level = logging.INFO if holds else logging.ERROR if must_hold else logging.WARNING
        log.log(level, "%s: %s (%s)", "holds" if holds else "FAILS", name, f"{number:g}")
    failed = [check.name for check in found if check.must_hold and not check.holds]
    if failed:
        folder = Path(paths["per_image"]).parent
        names = "; ".join(failed)
        raise StudyError(f"{folder}: it does not hold that {names}; see the log, delete the folder and run again")
    tabular.write_table(output_path, pd.DataFrame(found)[["name", "holds", "number"]].rename(columns={"name": "check"}))


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        clean = dict(zip(snakemake.params.splits, snakemake.input.clean, strict=True))
        main(snakemake.input, clean, snakemake.output[0], **snakemake.params.expected)
