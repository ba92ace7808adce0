"""Check a finished study from inside; what must hold and does not stops the workflow, the rest stands in the report."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tvmap import stacks, tabular
from tvmap.comparison import rms_bound
from tvmap.errors import StudyError
from tvmap.logs import log, logged_to
from tvmap.methods import METHODS, solves

if TYPE_CHECKING:
    from snakemake.script import snakemake

UP_TO = 0.1  # a scalar λ that 256 steps are enough for
FARTHEST = 0.01  # bound of the RMS distance of its solution to the minimiser (grey values)
LARGEST_GAP = 1e-3  # bound of its relative gap: must hold on X-rays, on photographs with large flat parts it may not
GRID = ("protocol", "draw", "id", "weight", "psnr", "ssim")
MANIFEST = ("id", "patient", "split", "sha256")
PER_IMAGE = ("id", "method", "weight_mean", "psnr", "ssim", "gap", "relative_gap")
CHOICE = ("psnr_edge", "ssim_edge")


def main(
    paths, clean_paths, val_grids, output_path, n_values, n_protocols, n_draws, n_methods, iterations, size, x_rays
):
    """Write one row a check: its name, whether it holds, and the number behind it.

    paths: of the tables manifest, per_image, choice and grid; clean_paths: {split: stack of the clean images};
    val_grids: the grids of the validation images, of which the fixed λ come.
    """
    columns = {"manifest": MANIFEST, "per_image": PER_IMAGE, "choice": CHOICE}
    manifest, per_image, choice = (tabular.read_table(paths[k], v, tabular.NO_WEIGHT) for k, v in columns.items())
    grid = tabular.read_table(paths["grid"], GRID)
    of_val = pd.concat([tabular.read_table(path, GRID[2:]).assign(path=path) for path in val_grids])
    tests, vals = (manifest[manifest["split"] == split]["id"] for split in ("test", "val"))
    rounds = n_protocols * n_draws
    splits = manifest.groupby("patient")["split"].nunique()
    groups = [grid.groupby(["protocol", "draw", "id"])["weight"], of_val.groupby(["path", "id"])["weight"]]
    per_image_of_test, per_image_of_val = (of.agg(["size", "nunique"]) for of in groups)
    weights = pd.concat([per_image_of_test, per_image_of_val])
    other = int((weights != n_values).any(axis=1).sum())
    scores = pd.concat([grid, of_val])[["psnr", "ssim"]]
    n_infinite = int((~np.isfinite(scores)).sum().sum())
    scalars = per_image["method"].str.startswith("scalar") & (per_image["weight_mean"] <= UP_TO)
    selected = per_image[scalars & per_image["method"].isin(METHODS)]["relative_gap"]
    strangers = sum(_strangers(manifest[manifest["split"] == split], path) for split, path in clean_paths.items())
    with_gap = per_image["method"].map(solves)
    numbers = per_image[["psnr", "ssim", "gap", "relative_gap"]]
    numbers = numbers.where(with_gap, numbers[["psnr", "ssim"]].assign(gap=0.0, relative_gap=0.0))
    edges = int(choice["psnr_edge"].sum() + choice["ssim_edge"].sum())
    checks = [
        ("every patient in one split", splits.max() == 1, int(splits.max())),
        ("no image twice", not manifest["id"].duplicated().any(), len(manifest)),
        ("every image made from the file with the manifest's checksum", strangers == 0, strangers),
        (f"{n_values} rows and weights an image on the grid", other == 0, other),
        ("the grid covers every test image", len(per_image_of_test) == rounds * len(tests), len(per_image_of_test)),
        ("the grid covers every val image", len(per_image_of_val) == rounds * len(vals), len(per_image_of_val)),
        ("all numbers of the grid are finite", n_infinite == 0, n_infinite),
        ("every method on every test image", len(per_image) == rounds * len(tests) * n_methods, len(per_image)),
        ("all numbers are finite", bool(np.isfinite(numbers).all(axis=None)), int((~np.isfinite(numbers)).sum().sum())),
        (
            "no negative gap beyond rounding",
            bool((numbers["relative_gap"] > -1e-6).all()),
            numbers["relative_gap"].min(),
        ),
        (f"optima on the grid's edge: {edges}", True, edges),
    ]
    if iterations >= 256:  # with fewer steps the gap is larger, which the report shows
        farthest = rms_bound(per_image["gap"][scalars].max(), size**2) if scalars.any() else 0.0
        name = f"scalar solutions with λ ≤ {UP_TO:g} within {FARTHEST:g} of the minimiser"
        checks.append((name, farthest <= FARTHEST, farthest))
    largest = float(selected.max()) if len(selected) else 0.0
    name = f"relative gap ≤ {LARGEST_GAP:g} for every selected λ ≤ {UP_TO:g}"
    must_hold = len(checks) + (x_rays and iterations >= 256)
    checks.append((name, largest <= LARGEST_GAP, largest))
    for position, (name, holds, number) in enumerate(checks):
        level = logging.INFO if holds else logging.ERROR if position < must_hold else logging.WARNING
        log.log(level, "%s: %s (%s)", "holds" if holds else "FAILS", name, f"{number:g}")
    failed = [name for name, holds, _ in checks[:must_hold] if not holds]
    if failed:
        folder = Path(paths["per_image"]).parent
        names = "; ".join(failed)
        raise StudyError(f"{folder}: it does not hold that {names}; see the log, delete the folder and run again")
    tabular.write_table(output_path, pd.DataFrame(checks, columns=["check", "holds", "number"]))


def _strangers(rows, clean_path):
    """How many images of a clean stack are not, in order, made from the files of these rows of the manifest."""
    stack = stacks.load(clean_path)
    made = list(zip(stack["ids"].tolist(), stack["sha256"].tolist(), strict=True))
    listed = list(zip(rows["id"], rows["sha256"], strict=True))
    return sum(a != b for a, b in zip(made, listed, strict=False)) + abs(len(made) - len(listed))


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        clean = dict(zip(snakemake.params.splits, snakemake.input.clean, strict=True))
        main(snakemake.input, clean, snakemake.input.val_grids, snakemake.output[0], **snakemake.params.expected)
