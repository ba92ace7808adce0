"""What goes on inside a study: the solver's convergence, what the map depends on, where it fails."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from .metrics import psnr
from .pdhg import DUAL_STARTS
from .solver import powers_of_two, solve_certified

BLOCK = 8  # pixels, side of the blocks whose detail and mean weight are compared
BINS = 12  # of equally many blocks
NOISE_GROUPS = 3  # of equally many images, where the noise level differs between them


def trace(z: torch.Tensor, clean: torch.Tensor, weight: torch.Tensor, solver: Mapping[str, Any]) -> pd.DataFrame:
    """Quality after 1, 2, 4, … up to 4T iterations from p₀ = 0 and from p₀ = z: one row each.

    TGV is solved without a p; its one start, all duals 0, counts as p₀ = 0.

    Args:
        z: noisy images (n, 1, H, W).
        clean: the same without noise.
        weight: λ (n,) or Λ (n, 1 or 2, H, W).
        solver: options of `solve`, T among them, and what the weight asks for (`stacks.solver_options`).

    Returns:
        DataFrame of dual_start, iterations, psnr (dB, mean) and relative_gap (median) over the n images.
    """
    rows = []
    for start in DUAL_STARTS if solver.get("penalty", "tv") == "tv" else ("zero",):
        for iterations in powers_of_two(4 * solver["iterations"]):
            found = solve_certified(z, weight, **{**solver, "iterations": iterations, "dual_start": start})
            row = {
                "dual_start": start,
                "iterations": iterations,
                "psnr": psnr(clean, found.x, data_range=1).mean().item(),
            }
            rows.append(row | {"relative_gap": found.relative_gap.median().item()})
    return pd.DataFrame(rows)


def by_detail(weight: np.ndarray, clean: np.ndarray, noise_std: np.ndarray) -> pd.DataFrame:
    """Λ against the detail of the clean image, in blocks of 8 × 8 pixels: one row a group of images and bin of detail.

    Detail is the standard deviation of the clean block, Λ its mean (over both directions, if there are two). The bins
    have equally many blocks, the groups equally many images in the order of the noise; images of one noise are one.

    Args:
        weight: (n, 1 or 2, H, W), grey values of range 1, as the others.
        clean: (n, H, W).
        noise_std: (n,).

    Returns:
        DataFrame of noise_std (mean of the group), detail, weight_low, weight, weight_high (25, 50, 75 %), n blocks.
    """
    detail = _blocks(clean).std(axis=(2, 4))
    mean = _blocks(weight.mean(axis=1)).mean(axis=(2, 4))
    groups = np.array_split(np.argsort(noise_std, kind="stable"), min(NOISE_GROUPS, len(np.unique(noise_std))))
    rows = []
    for group in groups:
        for part in _bins(detail[group]):
            low, middle, high = np.percentile(mean[group].ravel()[part], [25, 50, 75])
            row = {"noise_std": noise_std[group].mean(), "detail": np.median(detail[group].ravel()[part])}
            rows.append(row | {"weight_low": low, "weight": middle, "weight_high": high, "n": len(part)})
    return pd.DataFrame(rows)


def error_by_detail(clean: np.ndarray, denoised: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Error against the detail of the clean image, in the blocks of `by_detail`: one row a method and bin.

    The bins have equally many blocks of all images; with sides that are multiples of 8 their mean, weighted by n, is
    the mean squared error of the images.

    Args:
        clean: (n, H, W), grey values of range 1, as the others.
        denoised: {method: (n, H, W)}.

    Returns:
        DataFrame of method, bin (from 1, of the least detail), detail (median), mse (grey values squared), n blocks.
    """
    bins = _bins(detail := _blocks(clean).std(axis=(2, 4)))
    rows = []
    for method, images in denoised.items():
        error = np.square(_blocks(images) - _blocks(clean)).mean(axis=(2, 4))
        for number, part in enumerate(bins, 1):
            row = {"method": method, "bin": number, "detail": np.median(detail.ravel()[part])}
            rows.append(row | {"mse": error.ravel()[part].mean(), "n": len(part)})
    return pd.DataFrame(rows)


def _bins(detail: np.ndarray) -> list[np.ndarray]:
    """Positions in the flattened `detail`, in parts of equal size from the least to the most of it."""
    order = np.argsort(detail, axis=None, kind="stable")
    return np.array_split(order, min(BINS, len(order)))


def _blocks(images: np.ndarray) -> np.ndarray:
    """(n, H, W) as float64 (n, H/8, 8, W/8, 8); rows and columns left over are cut off."""
    n, height, width = images.shape
    side = min(BLOCK, height, width)
    cut = np.asarray(images, np.float64)[:, : height // side * side, : width // side * side]
    return cut.reshape(n, height // side, side, width // side, side)
