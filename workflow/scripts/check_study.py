"""Check a finished study from inside; a check that fails stops the workflow and says what is wrong."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tvmap import tabular
from tvmap.errors import StudyError
from tvmap.logs import log, logged_to
from tvmap.methods import solves

if TYPE_CHECKING:
    from snakemake.script import snakemake

FARTHEST, UP_TO = 0.01, 0.1  # bound of the RMS distance to the minimiser (grey values) of scalar solutions, λ ≤ UP_TO
MANIFEST = ("id", "patient", "split")
PER_IMAGE = ("id", "method", "weight_mean", "psnr", "ssim", "gap", "relative_gap")
CHOICE = ("psnr_edge", "ssim_edge")


def main(
    manifest_path,
    per_image_path,
    grid_path,
    choice_path,
    output_path,
    n_values,
    n_protocols,
    n_draws,
    n_methods,
    iterations,
    size,
):
    """Write one row a check: its name, whether it holds, and the number behind it."""
    manifest, per_image, choice = (
        tabular.read_table(path, columns, tabular.NO_WEIGHT)
        for path, columns in ((manifest_path, MANIFEST), (per_image_path, PER_IMAGE), (choice_path, CHOICE))
    )
    grid = tabular.read_table(grid_path, ("protocol", "draw", "id", "weight"))
    tests = manifest[manifest["split"] == "test"]["id"]
    rounds = n_protocols * n_draws
    splits = manifest.groupby("patient")["split"].nunique()
    rows_per_image = grid.groupby(["protocol", "draw", "id"])["weight"].nunique()
    scalars = per_image[per_image["method"].str.startswith("scalar") & (per_image["weight_mean"] <= UP_TO)]
    with_gap = per_image["method"].map(solves)
    numbers = per_image[["psnr", "ssim", "gap", "relative_gap"]]
    numbers = numbers.where(with_gap, numbers[["psnr", "ssim"]].assign(gap=0.0, relative_gap=0.0))
    edges = int(choice["psnr_edge"].sum() + choice["ssim_edge"].sum())
    checks = [
        ("every patient in one split", splits.max() == 1, int(splits.max())),
        ("no image twice", not manifest["id"].duplicated().any(), len(manifest)),
        (f"{n_values} weights an image", (rows_per_image == n_values).all(), int(rows_per_image.min())),
        ("the grid covers every test image", len(rows_per_image) == rounds * len(tests), len(rows_per_image)),
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
        worst = float(np.sqrt(2 * max(scalars["gap"].max(), 0) / size**2)) if len(scalars) else 0.0
        checks.append(
            (f"scalar solutions with λ ≤ {UP_TO:g} within {FARTHEST:g} of the minimiser", worst <= FARTHEST, worst)
        )
    for name, holds, number in checks:
        log.log(20 if holds else 40, "%s: %s (%s)", "holds" if holds else "FAILS", name, f"{number:g}")
    failed = [name for name, holds, _ in checks if not holds]
    if failed:
        folder = Path(per_image_path).parent
        names = "; ".join(failed)
        raise StudyError(f"{folder}: it does not hold that {names}; see the log, delete the folder and run again")
    pd.DataFrame(checks, columns=["check", "holds", "number"]).to_csv(output_path, index=False)


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        main(*snakemake.input, snakemake.output[0], **snakemake.params.expected)
