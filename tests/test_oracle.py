"""The oracle map: never worse than its start, far better than the best scalar, the same each time."""

import numpy as np
import pytest
import skimage.data
import skimage.util
import torch

from tvmap import curve, grid
from tvmap.errors import StudyError
from tvmap.metrics import psnr
from tvmap.noise import keyed_noise
from tvmap.oracle import FINER, OF_CHANGE, OF_SLOPE, oracle_map, oracle_numbers
from tvmap.solver import solve
from tvmap.tgv import RATIO, tgv

SOLVER = {"iterations": 64, "boundary": "periodic", "norm": "anisotropic", "dual_start": "zero", "lipschitz": 3}
PHOTO = skimage.util.img_as_float32(skimage.data.camera())[80:144, 190:254].copy()
CLEAN = torch.from_numpy(PHOTO)[None]
NOISY = torch.from_numpy(keyed_noise(PHOTO, 0.5, 0, 0, "camera"))[None]


def mse(weight, noisy=NOISY, clean=CLEAN, **options):
    x, _ = solve(noisy[None], weight[None] if isinstance(weight, torch.Tensor) else weight, **SOLVER | options)
    return (x[0].double() - clean.double()).square().mean().item()


def test_gains_over_the_best_scalar():
    values = grid.grid_values(0, 0.4, 41)
    scores = grid.score(CLEAN.numpy(), NOISY.numpy(), values, SOLVER)[0, 0]
    best, on_edge = curve.best_index(scores)
    assert not on_edge
    weight, history = oracle_map(CLEAN, NOISY, values[best], SOLVER, steps=60)
    assert weight.shape == CLEAN.shape and weight.dtype == torch.float32 and not weight.requires_grad
    assert torch.isfinite(weight).all() and (weight > 0).all()
    assert len(history) == 61
    assert history[0] == pytest.approx(10 ** (-scores[best] / 10), rel=1e-6)
    assert min(history) == mse(weight)
    assert -10 * np.log10(mse(weight)) > scores[best] + 1


def test_the_end_is_calm():
    _, history = oracle_map(CLEAN, NOISY, 0.1, SOLVER, steps=60)
    assert min(history) == pytest.approx(history[-1], rel=1e-3)


@pytest.mark.parametrize("start", [0.0, 1e-6, 0.02, 0.1, 2.0])
@pytest.mark.parametrize("rate", [0.1, 30.0])
def test_never_worse_than_the_start(start, rate):
    weight, history = oracle_map(CLEAN, NOISY, start, SOLVER, steps=5, rate=rate)
    assert history[0] == mse(start)
    assert mse(weight) == min(history) <= history[0]
    assert torch.isfinite(weight).all() and (weight >= 0).all()


def test_no_steps_give_the_start():
    weight, history = oracle_map(CLEAN, NOISY, 0.1, SOLVER, steps=0)
    assert (weight == torch.full_like(NOISY, 0.1)).all() and history == [mse(0.1)]


def test_a_start_of_0_is_left():
    weight, history = oracle_map(CLEAN, NOISY, 0.0, SOLVER, steps=60)
    assert (weight > 0).all()
    assert history[0] == pytest.approx((NOISY.double() - CLEAN.double()).square().mean().item(), rel=1e-9)
    assert min(history) < history[0] / 2


def test_without_noise_nothing_is_to_be_gained():
    weight, history = oracle_map(CLEAN, CLEAN, 0.0, SOLVER, steps=5)
    assert history == [0.0] and (weight == 0).all()


def test_the_same_to_the_bit():
    (one, first), (two, second) = (oracle_map(CLEAN, NOISY, 0.1, SOLVER, steps=10) for _ in range(2))
    assert first == second and one.numpy().tobytes() == two.numpy().tobytes()


def test_two_maps_reach_further_than_one():
    options = {"steps": 60, "solver": SOLVER}
    (_, one), (two, both) = (oracle_map(CLEAN, NOISY, 0.1, maps=maps, **options) for maps in (1, 2))
    assert two.shape == (2, *CLEAN.shape[-2:]) and not torch.equal(two[0], two[1])
    assert both[0] == one[0] and min(both) < 0.97 * min(one)


def test_the_two_maps_of_tgv():
    tgv = {"penalty": "tgv", "solver": SOLVER}
    weight, history = oracle_map(CLEAN, NOISY, 0.1, maps=2, steps=60, **tgv)
    assert weight.shape == (2, *CLEAN.shape[-2:]) and (weight > 0).all()
    assert history[0] == mse(torch.tensor([0.1, 0.1 * RATIO]), penalty="tgv")
    assert min(history) == mse(weight, penalty="tgv") < history[0] / 1.5
    start, _ = oracle_map(CLEAN, NOISY, 0.1, maps=2, steps=0, **tgv)
    assert start.mean((1, 2)).tolist() == pytest.approx([0.1, 0.1 * RATIO])


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (33, 17)])
def test_any_shape(shape):
    clean, noisy = CLEAN[:, : shape[0], : shape[1]], NOISY[:, : shape[0], : shape[1]]
    weight, history = oracle_map(clean, noisy, 0.1, SOLVER, steps=5)
    assert weight.shape == (1, *shape) and min(history) <= history[0]


def test_size_does_not_change_the_steps():
    """Adam's ε would shorten them, were the gradients those of a mean over many pixels."""
    _, history = oracle_map(CLEAN, NOISY, 0.1, SOLVER, steps=20)
    _, large = oracle_map(CLEAN.repeat(1, 2, 2), NOISY.repeat(1, 2, 2), 0.1, SOLVER, steps=20)
    np.testing.assert_allclose(large, history, rtol=1e-3)


def test_the_descent_goes_along_finite_gradients():
    weight = torch.full_like(NOISY, 0.1).requires_grad_()
    (solve(NOISY[None], weight[None], **SOLVER)[0][0] - CLEAN).square().sum().backward()
    assert torch.isfinite(weight.grad).all() and (weight.grad != 0).any()
    moved, _ = oracle_map(CLEAN, NOISY, 0.1, SOLVER, steps=1)
    # All blocks of a pixel move alike where its gradient outweighs its neighbours': five blocks by 0.1 each at most.
    assert (moved / 0.1).log().abs().max().item() == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(
    "arguments,message",
    [
        ((CLEAN[:, 1:], NOISY, 0.1), r"not both \(1, H, W\)"),
        ((CLEAN[0], NOISY[0], 0.1), r"not both \(1, H, W\)"),
        ((CLEAN, NOISY, -0.1), "λ ≥ 0"),
        ((CLEAN, NOISY, float("nan")), "λ ≥ 0"),
        ((CLEAN, NOISY / 0, 0.1), "noisy image"),
        ((CLEAN / 0, NOISY, 0.1), "clean image"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(StudyError, match=message):
        oracle_map(*arguments, SOLVER, steps=1)


@pytest.fixture(scope="module")
def numbers():
    return oracle_numbers(CLEAN, NOISY, (NOISY - CLEAN).std().item(), SOLVER)


def test_best_two_numbers_have_the_psnr_that_the_reference_gives_them(numbers):
    pair, score = numbers
    x, *_ = tgv(NOISY[None].double(), torch.tensor(pair, dtype=torch.float64), SOLVER["iterations"])
    assert psnr(CLEAN[None], x, data_range=1).item() == pytest.approx(score, abs=1e-4)


def test_best_two_numbers_are_those_of_a_brute_search(numbers):
    """Of all pairs of both grids around the found one, the finer ones included, none is better."""
    (slope, change), score = numbers
    std = (NOISY - CLEAN).std().item()
    pairs = [(a * std, r * a * std) for a in OF_SLOPE for r in OF_CHANGE]
    pairs += [(slope * 1.25**a, change * 1.25**a * 2**r) for a in FINER for r in FINER if abs(a) + abs(r) < 0.5]
    for pair in pairs:
        x, _ = solve(NOISY[None], NOISY.new_tensor(pair), **SOLVER, penalty="tgv")
        assert psnr(CLEAN[None], x, data_range=1).item() <= score
    best_tv = max(-10 * np.log10(mse(value)) for value in np.linspace(0.01, 0.4, 40))
    assert score > best_tv
