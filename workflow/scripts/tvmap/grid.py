"""The baseline: PSNR and SSIM of the solution for every scalar λ of a grid."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from .metrics import local_statistics, psnr, ssim
from .solver import solve

CPU = torch.device("cpu")
PIXELS_AT_ONCE = 2**23  # on a GPU: enough to fill it, with less than 2 GiB of memory


def grid_values(minimum: float, maximum: float, values: int) -> np.ndarray:
    """The λ of the grid, equally spaced, rounded to what one would write (0.07, not 0.07000000000000001)."""
    return np.linspace(minimum, maximum, values).round(10)


def finer_values(grid: np.ndarray, best: int, factor: int) -> np.ndarray:
    """The λ between the neighbours of grid[best], `factor` times closer together than the grid's."""
    low, high = max(best - 1, 0), min(best + 1, len(grid) - 1)
    return np.linspace(grid[low], grid[high], (high - low) * factor + 1).round(10)


def holds_one(device: torch.device) -> bool:
    """Whether the caches of `device` hold the state of one solve, but not of many."""
    return device.type == "cpu"


def score(
    clean: np.ndarray,
    noisy: np.ndarray,
    weights: Sequence[float] | np.ndarray | torch.Tensor,
    solver: Mapping[str, Any],
    device: torch.device = CPU,
    clamp: bool = False,
    window: str = "gaussian",
) -> np.ndarray:
    """(PSNR, SSIM), each (n, len(weights)), of the solutions for all pairs of image and λ.

    clean, noisy: (n, H, W); data range 1; clamp: images to [0, 1] before they are measured; window: of the SSIM.
    A GPU solves many pairs at once; a CPU's caches hold just one.
    """
    x, z = (torch.from_numpy(images)[:, None].to(device) for images in (clean, noisy))
    statistics, weights = local_statistics(x, window), torch.as_tensor(weights, dtype=z.dtype, device=device)
    at_once = 1 if holds_one(z.device) else max(1, PIXELS_AT_ONCE // math.prod(z.shape[-2:]))
    n_pairs = len(x) * len(weights)
    scores = torch.empty(2, n_pairs, dtype=torch.float64, device=device)
    with torch.inference_mode():
        for first in range(0, n_pairs, at_once):
            pairs = torch.arange(first, min(first + at_once, n_pairs), device=device)
            image, weight = pairs // len(weights), weights[pairs % len(weights)]
            # One image as a slice: a view, where an index would copy.
            at = slice(int(image), int(image) + 1) if at_once == 1 else image
            denoised, _ = solve(z[at], weight, **solver)
            denoised = denoised.clamp(0, 1) if clamp else denoised
            reference = [tensor[at] for tensor in statistics]
            scores[0, pairs] = psnr(x[at], denoised, data_range=1)
            scores[1, pairs] = ssim(reference, denoised, data_range=1, window=window)
    return scores.unflatten(1, (len(x), len(weights))).cpu().numpy()
