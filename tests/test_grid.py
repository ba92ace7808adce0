"""The grid search against plain calls of solver and scikit-image; optima, edges, the finer grid."""

import numpy as np
import pytest
import skimage.metrics
import torch

from tvmap import curve, grid
from tvmap.pdhg import pdhg

SOLVER = {"iterations": 12, "boundary": "periodic", "norm": "anisotropic", "dual_start": "zero", "lipschitz": 3}
RANDOM = np.random.default_rng(0)
CLEAN = np.kron(RANDOM.random((4, 4)), np.ones((6, 6))).astype(np.float32)
NOISY = (CLEAN + 0.1 * RANDOM.standard_normal(CLEAN.shape)).astype(np.float32)


def test_the_published_grid():
    values = grid.grid_values(0.0, 0.8, 81)
    assert values.tolist() == [k / 100 for k in range(81)]


def test_scores_are_those_of_each_solution():
    values = [0.0, 0.05, 0.2]
    scores = grid.score(CLEAN[None], NOISY[None], values, SOLVER)
    for weight, psnr, ssim in zip(values, *scores[:, 0], strict=True):
        x, _ = pdhg(torch.from_numpy(NOISY)[None, None], weight, **SOLVER)
        x = x[0, 0].double().numpy()
        clean = CLEAN.astype(np.float64)
        assert psnr == pytest.approx(skimage.metrics.peak_signal_noise_ratio(clean, x, data_range=1), abs=1e-4)
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
        assert ssim == pytest.approx(skimage.metrics.structural_similarity(clean, x, **options), abs=1e-5)


@pytest.mark.parametrize("pixels", [1, 24 * 24 * 4, 24 * 24 * 100])
def test_any_number_of_pairs_at_once_gives_the_same_scores(monkeypatch, pixels):
    """As on a GPU: 14 pairs of image and λ one at a time, in fours and all together."""
    images = np.stack([CLEAN, NOISY]), np.stack([NOISY, CLEAN])
    values = grid.grid_values(0, 0.3, 7)
    expected = grid.score(*images, values, SOLVER)
    monkeypatch.setattr(grid, "PIXELS_AT_ONCE", pixels)
    monkeypatch.setattr(grid, "holds_one", lambda device: False)
    np.testing.assert_allclose(grid.score(*images, values, SOLVER), expected, rtol=1e-6)


def test_no_weight_scores_the_noisy_image():
    psnr = grid.score(CLEAN[None], NOISY[None], [0.0], SOLVER)[0, 0, 0]
    mse = np.mean((CLEAN.astype(float) - NOISY.astype(float)) ** 2)
    assert psnr == pytest.approx(-10 * np.log10(mse), rel=1e-12)


@pytest.mark.parametrize(
    "scores,best", [([1, 3, 2], (1, False)), ([3, 1, 2], (0, True)), ([1, 2, 3], (2, True)), ([1, 2, 2, 1], (1, False))]
)
def test_best_index_and_edge(scores, best):
    assert curve.best_index(np.array(scores)) == best


def test_finer_grid_spans_the_neighbours_and_holds_the_best():
    values = grid.grid_values(0.0, 0.8, 81)
    fine = grid.finer_values(values, 7, 10)
    assert fine.tolist() == [round(0.06 + k / 1000, 10) for k in range(21)]
    assert grid.finer_values(values, 0, 10).tolist() == [k / 1000 for k in range(11)]
    assert grid.finer_values(values, 80, 4).tolist() == [0.79, 0.7925, 0.795, 0.7975, 0.8]


def test_clamping_and_window_are_those_asked_for():
    values = [0.0, 0.05]
    found = grid.score(CLEAN[None], NOISY[None], values, SOLVER, clamp=True, window="uniform")
    clean = CLEAN.astype(np.float64)
    for k, weight in enumerate(values):
        x = pdhg(torch.from_numpy(NOISY)[None, None], weight, **SOLVER)[0][0, 0].double().numpy().clip(0, 1)
        assert found[0, 0, k] == pytest.approx(
            skimage.metrics.peak_signal_noise_ratio(clean, x, data_range=1), abs=1e-4
        )
        ssim = skimage.metrics.structural_similarity(clean, x, win_size=7, data_range=1)
        assert found[1, 0, k] == pytest.approx(ssim, abs=1e-5)
    assert grid.score(CLEAN[None], NOISY[None], values, SOLVER)[0, 0, 0] < found[0, 0, 0]
