"""What must hold in every finished study: origin of the images, complete tables, finite numbers, small gaps."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from . import stacks
from .comparison import rms_bound
from .methods import METHODS, solves

UP_TO = 0.1  # a scalar λ that 256 steps are enough for
FARTHEST = 0.01  # bound of the RMS distance of its solution to the minimiser (grey values)
LARGEST_GAP = 1e-3  # bound of its relative gap
OWN, RIVALS = "fixed or of an oracle", "of a rival"  # who chose it
STEPS = 256  # with fewer, gaps are larger, which the report shows


class Check(NamedTuple):
    """One thing checked: `number` is what was found; a study in which it `must_hold` and does not is not finished."""

    name: str
    holds: bool
    number: float
    must_hold: bool = True


def of_images(manifest: pd.DataFrame, clean_paths: Mapping[str, Path | str]) -> Iterator[Check]:
    """No patient in two splits, no image twice, and every image made from the file whose SHA-256 the manifest has.

    clean_paths: {split: stack of its clean images}.
    """
    splits = manifest.groupby("patient")["split"].nunique()
    yield Check("every patient in one split", splits.max() == 1, int(splits.max()))
    yield Check("no image twice", not manifest["id"].duplicated().any(), len(manifest))
    strangers = sum(_strangers(manifest[manifest["split"] == split], path) for split, path in clean_paths.items())
    yield Check("every image made from the file with the manifest's checksum", strangers == 0, strangers)


def of_grids(grids: Mapping[str, pd.DataFrame], n_values: int, n_images: Mapping[str, int]) -> Iterator[Check]:
    """Every image of a split has one row for each of the n_values weights, in each round of noise.

    grids: {split: columns round, id, weight, psnr, ssim}; n_images: {split: images times rounds}.
    """
    found = {split: grid.groupby(["round", "id"])["weight"].agg(["size", "nunique"]) for split, grid in grids.items()}
    other = sum(int((counts != n_values).any(axis=1).sum()) for counts in found.values())
    yield Check(f"{n_values} rows and weights an image on the grid", other == 0, other)
    for split, counts in found.items():
        yield Check(f"the grid covers every {split} image", len(counts) == n_images[split], len(counts))
    infinite = sum(int((~np.isfinite(grid[["psnr", "ssim"]])).sum().sum()) for grid in grids.values())
    yield Check("all numbers of the grid are finite", infinite == 0, infinite)


def of_results(per_image: pd.DataFrame, choice: pd.DataFrame, n_rows: int) -> Iterator[Check]:
    """Every method measured on every image, with numbers; how many scalars were best at an end of the grid."""
    scores, gaps = per_image[["psnr", "ssim"]], per_image[["gap", "relative_gap"]]
    gaps = gaps.where(per_image["method"].map(solves), 0.0)  # of the others there is none
    infinite = int((~np.isfinite(pd.concat([scores, gaps], axis=1))).sum().sum())
    yield Check("every method on every test image", len(per_image) == n_rows, len(per_image))
    yield Check("all numbers are finite", infinite == 0, infinite)
    relative = gaps["relative_gap"]
    yield Check("no negative gap beyond rounding", bool((relative > -1e-6).all()), relative.min())
    edges = int(choice["psnr_edge"].sum() + choice["ssim_edge"].sum())
    yield Check(f"optima on the grid's edge: {edges}", True, edges)


def of_tuning(tuning: pd.DataFrame) -> Iterator[Check]:
    """Which rivals were best with a number at the edge of those tried, so that more of it might be better still."""
    found = tuning[tuning["on_edge"].notna()]
    names = [f"{row.method} ({row.on_edge}, {row.protocol})" for row in found.itertuples()]
    yield Check(f"rivals at the edge of what was tried: {', '.join(names) or 'none'}", True, len(found))


def of_gaps(per_image: pd.DataFrame, iterations: int, size: int, x_rays: bool) -> Iterator[Check]:
    """Solutions with a small scalar λ, see UP_TO, are near the minimiser; iterations: T; size: pixels along a side.

    On photographs with large flat parts the relative gap may be larger, and rivals may choose a λ far from the best:
    there it is said and stops nothing.
    """
    scalars = per_image[per_image["method"].str.startswith("scalar") & (per_image["weight_mean"] <= UP_TO)]
    if iterations >= STEPS:
        farthest = rms_bound(scalars["gap"].max(), size**2) if len(scalars) else 0.0
        name = f"scalar solutions with λ ≤ {UP_TO:g} within {FARTHEST:g} of the minimiser"
        yield Check(name, farthest <= FARTHEST, farthest)
    own = scalars["method"].isin(METHODS)
    for whose, rows in {OWN: scalars[own], RIVALS: scalars[~own]}.items():
        if whose == OWN or len(rows):
            largest = float(rows["relative_gap"].max()) if len(rows) else 0.0
            name = f"relative gap ≤ {LARGEST_GAP:g} for every λ ≤ {UP_TO:g}, {whose}"
            must_hold = whose == OWN and x_rays and iterations >= STEPS
            yield Check(name, largest <= LARGEST_GAP, largest, must_hold)


def _strangers(rows: pd.DataFrame, clean_path: Path | str) -> int:
    """How many images of a clean stack are not, in order, made from the files of these rows of the manifest."""
    stack = stacks.load(clean_path)
    made = list(zip(stack["ids"].tolist(), stack["sha256"].tolist(), strict=True))
    listed = list(zip(rows["id"], rows["sha256"], strict=True))
    return sum(a != b for a, b in zip(made, listed, strict=False)) + abs(len(made) - len(listed))
