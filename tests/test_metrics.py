"""PSNR and SSIM against scikit-image and by hand."""

import numpy as np
import pytest
import skimage.metrics
import torch

from tvmap import metrics

GENERATOR = torch.Generator().manual_seed(0)
X = torch.rand(3, 1, 40, 31, generator=GENERATOR)
Y = X + 0.2 * torch.randn(X.shape, generator=GENERATOR)
SKIMAGE = {
    "gaussian": {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False},
    "uniform": {"win_size": 7},
}


@pytest.mark.parametrize("data_range", [1, 255])
def test_psnr(data_range):
    expected = [
        skimage.metrics.peak_signal_noise_ratio(
            a.numpy()[0].astype(float), b.numpy()[0].astype(float), data_range=data_range
        )
        for a, b in zip(X, Y, strict=True)
    ]
    np.testing.assert_allclose(metrics.psnr(X, Y, data_range=data_range), expected, rtol=1e-12)


def test_psnr_by_hand_and_of_equal_images():
    x = torch.zeros(1, 1, 2, 2)
    assert metrics.psnr(x, x + 0.1, data_range=1).item() == pytest.approx(20, abs=1e-6)
    assert metrics.psnr(x, x, data_range=1).item() == float("inf")


@pytest.mark.parametrize("window", metrics.SSIM_WINDOWS)
@pytest.mark.parametrize("data_range", [1, 255])
@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_ssim_agrees_with_scikit_image(window, data_range, shift):
    x, y = X.double() + shift, Y.double() + shift
    expected = [
        skimage.metrics.structural_similarity(a.numpy()[0], b.numpy()[0], data_range=data_range, **SKIMAGE[window])
        for a, b in zip(x, y, strict=True)
    ]
    tolerance = 1e-11 if shift == 0 else 1e-6
    np.testing.assert_allclose(
        metrics.ssim(x, y, data_range=data_range, window=window), expected, rtol=0, atol=tolerance
    )
    reference = metrics.local_statistics(x, window)
    np.testing.assert_allclose(
        metrics.ssim(reference, y, data_range=data_range, window=window), expected, rtol=0, atol=tolerance
    )


def test_ssim_of_float32_images_is_computed_in_float64():
    flat = torch.full((1, 1, 20, 20), 0.7)
    y = flat + 1e-4 * torch.randn(flat.shape, generator=GENERATOR)
    exact = metrics.ssim(flat.double(), y.double(), data_range=1)
    assert metrics.ssim(flat, y, data_range=1).item() == exact.item() and exact.dtype == torch.float64


def test_ssim_of_equal_images_and_of_too_small_ones():
    np.testing.assert_allclose(metrics.ssim(X, X, data_range=1), 1, rtol=1e-12)
    with pytest.raises(ValueError, match="at least 11"):
        metrics.ssim(X[..., :10], Y[..., :10], data_range=1)
    with pytest.raises(ValueError, match="window"):
        metrics.ssim(X, Y, data_range=1, window="triangle")


def test_the_data_range_has_no_default():
    for function in (metrics.psnr, metrics.ssim):
        with pytest.raises(TypeError, match="data_range"):
            function(X, Y)
