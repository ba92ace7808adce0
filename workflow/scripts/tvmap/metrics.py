"""PSNR and SSIM, one number an image, nothing clamped; the reference comes first, `data_range` has no default."""

from collections.abc import Sequence

import torch

SSIM_WINDOWS = ("gaussian", "uniform")


def psnr(reference: torch.Tensor, image: torch.Tensor, *, data_range: float) -> torch.Tensor:
    """10·log10(data_range² / MSE) in dB for tensors (B, 1, H, W), computed in float64; ∞ for equal images."""
    mse = (image.double() - reference.double()).square().mean((-3, -2, -1))
    return 10 * torch.log10(data_range**2 / mse)


def _window(kind: str) -> list[float]:
    if kind == "gaussian":  # 11 taps, σ = 1.5 (Wang et al. 2004; the window of the tables)
        taps = torch.exp(-torch.arange(-5.0, 6.0, dtype=torch.float64).square() / (2 * 1.5**2))
    elif kind == "uniform":  # 7 taps (the window of the published training log)
        taps = torch.ones(7, dtype=torch.float64)
    else:
        raise ValueError(f"window must be one of {SSIM_WINDOWS}, not {kind!r}")
    return (taps / taps.sum()).tolist()


def _filter(x: torch.Tensor, taps: Sequence[float]) -> torch.Tensor:
    """Separable weighted mean over the window, where it lies wholly inside the image."""
    for axis in (-2, -1):
        n = x.shape[axis] - len(taps) + 1
        total = torch.zeros_like(x.narrow(axis, 0, n))
        for k, tap in enumerate(taps):
            total.add_(x.narrow(axis, k, n), alpha=tap)
        x = total
    return x


def local_statistics(
    reference: torch.Tensor, window: str = "gaussian"
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What SSIM needs of the reference alone, for reuse: (float64 image, local mean, local mean of squares)."""
    reference, taps = reference.double(), _window(window)
    return reference, _filter(reference, taps), _filter(reference.square(), taps)


def ssim(
    reference: torch.Tensor | Sequence[torch.Tensor],
    image: torch.Tensor,
    *,
    data_range: float,
    window: str = "gaussian",
) -> torch.Tensor:
    """Mean structural similarity (Wang et al. 2004), K₁ = 0.01, K₂ = 0.03, one number an image, of (B, 1, H, W).

    `reference` may be the result of `local_statistics`. Variances as in scikit-image: population ones for the Gaussian
    window, sample ones (n/(n − 1)) for the uniform. In float64: E[x²] − E[x]² loses too much in float32.

    Raises:
        ValueError: unknown `window`, or images smaller than it.
    """
    if isinstance(reference, torch.Tensor):
        reference = local_statistics(reference, window)
    x, mean_x, square_x = reference
    taps, y = _window(window), image.double()
    if min(y.shape[-2:]) < len(taps):
        raise ValueError(f"SSIM needs images of at least {len(taps)} × {len(taps)} pixels, not {tuple(y.shape[-2:])}")
    n = len(taps) ** 2
    correction = n / (n - 1) if window == "uniform" else 1.0
    mean_y = _filter(y, taps)
    variance_x = correction * (square_x - mean_x.square())
    variance_y = correction * (_filter(y.square(), taps) - mean_y.square())
    covariance = correction * (_filter(x * y, taps) - mean_x * mean_y)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return (luminance * structure).mean((-3, -2, -1))
