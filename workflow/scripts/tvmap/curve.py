"""The curve of PSNR and SSIM over λ, one row an image and λ: its columns and where its best is, told without torch."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

CURVE = ("id", "weight", "psnr", "ssim")


def mean_psnr(curves: "pd.DataFrame") -> "pd.Series":
    """Mean PSNR over the images of a table of grids, by λ."""
    return curves.groupby("weight")["psnr"].mean()


def best_on_average(means: "pd.Series") -> tuple[float, float, bool]:
    """λ of the highest of the means that `mean_psnr` gives, that mean, and whether λ lies on the edge of the grid."""
    best, on_edge = best_index(means.to_numpy())
    return means.index[best], means.iloc[best], on_edge


def best_index(scores: np.ndarray) -> tuple[int, bool]:
    """Index of the highest score, the smallest λ among equals, and whether it lies on the grid's edge."""
    best = int(np.argmax(scores))
    return best, best in (0, len(scores) - 1)
