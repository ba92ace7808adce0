"""The baseline: PSNR and SSIM of the solution for every scalar λ of a grid."""

import numpy as np
import torch

from .metrics import local_statistics, psnr, ssim
from .solver import solve


def grid_values(minimum, maximum, values):
    """The λ of the grid, equally spaced, rounded to what one would write (0.07, not 0.07000000000000001)."""
    return np.linspace(minimum, maximum, values).round(10)


def finer_values(grid, best, factor):
    """The λ between the neighbours of grid[best], `factor` times closer together than the grid's."""
    low, high = max(best - 1, 0), min(best + 1, len(grid) - 1)
    return np.linspace(grid[low], grid[high], (high - low) * factor + 1).round(10)


def score(clean, noisy, weights, solver):
    """(PSNR, SSIM), each (len(weights),), of one image's solutions; clean, noisy: (H, W); data range 1, no clamping."""
    x, z = (torch.from_numpy(image)[None, None] for image in (clean, noisy))
    reference = local_statistics(x)
    scores = np.empty((2, len(weights)))
    with torch.inference_mode():
        for k, weight in enumerate(weights):
            denoised, _ = solve(z, float(weight), **solver)
            scores[:, k] = psnr(x, denoised, data_range=1).item(), ssim(reference, denoised, data_range=1).item()
    return scores


def best_index(scores):
    """Index of the highest score, the smallest λ among equals, and whether it lies on the grid's edge."""
    best = int(np.argmax(scores))
    return best, best in (0, len(scores) - 1)
