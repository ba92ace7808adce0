"""Algorithm 1 against closed forms, an independent solver and its own certificate."""

import itertools
import math

import numpy as np
import pytest
import scipy.optimize
import skimage.restoration
import torch
from matrices import gradient_matrix

from tvmap.operators import BOUNDARIES, NORMS, gradient
from tvmap.pdhg import (
    DUAL_STARTS,
    LIPSCHITZ,
    as_weight,
    objective,
    pdhg,
    primal_dual_gap,
    ratio_derivative,
    step_sizes,
)

OPTIONS = list(itertools.product(BOUNDARIES, NORMS, DUAL_STARTS, LIPSCHITZ))


def noisy(*shape, seed=0):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_step_sizes_satisfy_the_condition_of_convergence():
    for lipschitz in LIPSCHITZ:
        primal_step, dual_step = step_sizes(lipschitz)
        assert primal_step * dual_step * (1 + 8) <= 1 + 1e-12
    assert step_sizes(3) == (1 / 3, 1 / 3)
    for log_ratio in (-0.7, 0.4):
        primal_step, dual_step = step_sizes(3, log_ratio)
        assert (primal_step * dual_step, primal_step / dual_step) == pytest.approx((1 / 9, math.exp(2 * log_ratio)))
        assert step_sizes(3, torch.tensor(log_ratio)) == pytest.approx((primal_step, dual_step))
    assert step_sizes("sqrt13") == (1 / math.sqrt(13), 1 / math.sqrt(13))
    with pytest.raises(ValueError, match="lipschitz"):
        step_sizes(2)


def test_one_iteration_by_hand():
    """Two pixels in a row, z = (0, 3), λ = 0.5, L = 3: every line of Algorithm 1 on paper."""
    z = torch.tensor([[[[0.0, 3.0]]]], dtype=torch.float64)
    x, q = pdhg(z, 0.5, iterations=1)
    # p = 0; ∇x̄ = (3, −3) horizontally, q = clip(±1) = ±0.5; ∇ᵀq = (q₂ − q₁, q₁ − q₂) = (−1, 1); x = z + (1/3, −1/3)
    assert q[0, 1].flatten().tolist() == [0.5, -0.5]
    assert q[0, 0].flatten().tolist() == [0.0, 0.0]
    np.testing.assert_allclose(x.flatten(), [1 / 3, 3 - 1 / 3], rtol=1e-15)
    # second step: x̄ = (2/3, 7/3), p = (σ(x̄ − z))/(1 + σ) = (1/6, −1/6); q stays clipped; x = x − (p + ∇ᵀq)/3
    x, _ = pdhg(z, 0.5, iterations=2)
    np.testing.assert_allclose(x.flatten(), [1 / 3 - (1 / 6 - 1) / 3, 8 / 3 - (-1 / 6 + 1) / 3], rtol=1e-15)


def test_one_iteration_of_unequal_steps_by_hand():
    """The same with ρ = log 3, so τ = 1 and σ = 1/9."""
    z = torch.tensor([[[[0.0, 3.0]]]], dtype=torch.float64)
    x, q = pdhg(z, 0.5, iterations=1, log_ratio=math.log(3))
    # q = clip(±3/9) = ±1/3; ∇ᵀq = (−2/3, 2/3); x = z − ∇ᵀq
    np.testing.assert_allclose(q[0, 1].flatten(), [1 / 3, -1 / 3], rtol=1e-15)
    np.testing.assert_allclose(x.flatten(), [2 / 3, 3 - 2 / 3], rtol=1e-15)
    # x̄ = (4/3, 5/3), p = ±(4/27)/(10/9) = ±2/15; q = clip(±(1/3 + 1/27)) = ±10/27; x = x − (p + ∇ᵀq)
    x, _ = pdhg(z, 0.5, iterations=2, log_ratio=math.log(3))
    change = 2 / 15 - 20 / 27
    np.testing.assert_allclose(x.flatten(), [2 / 3 - change, 7 / 3 + change], rtol=1e-14)


@pytest.mark.parametrize("boundary,norm,dual_start,lipschitz", OPTIONS)
def test_no_weight_returns_the_image_and_a_large_one_its_mean(boundary, norm, dual_start, lipschitz):
    z = noisy(2, 1, 6, 5)
    options = {"boundary": boundary, "norm": norm, "dual_start": dual_start, "lipschitz": lipschitz}
    torch.testing.assert_close(pdhg(z, 0.0, iterations=300, **options)[0], z)
    mean = z.mean((-2, -1), keepdim=True).expand_as(z)
    torch.testing.assert_close(pdhg(z, 10.0, iterations=3000, **options)[0], mean, rtol=0, atol=1e-6)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_two_constant_halves(boundary):
    """Neumann: the halves a < b approach each other by λ·(edge length)/(half's size); periodic: by twice that."""
    z = torch.zeros(1, 1, 4, 6, dtype=torch.float64)
    z[..., 3:] = 1
    shift = 0.3 * 4 / 12 * (2 if boundary == "periodic" else 1)
    x, _ = pdhg(z, 0.3, iterations=4000, boundary=boundary)
    expected = shift + (1 - 2 * shift) * z
    torch.testing.assert_close(x, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("boundary,norm,dual_start,lipschitz", OPTIONS)
def test_gap_is_not_negative_and_vanishes(boundary, norm, dual_start, lipschitz):
    z, weight = noisy(2, 1, 7, 9), 0.2 * noisy(2, 1, 7, 9, seed=1)
    gaps = []
    for iterations in (10, 100, 10_000):
        options = {"boundary": boundary, "norm": norm}
        x, q = pdhg(z, weight, iterations, dual_start=dual_start, lipschitz=lipschitz, **options)
        gaps.append(primal_dual_gap(x, q, z, weight, **options))
        assert (gaps[-1] >= -1e-12).all()
    assert (gaps[2] < 1e-7).all() and (gaps[2] < gaps[0]).all()


def test_gap_bounds_the_distance_to_the_minimiser():
    z = noisy(1, 1, 8, 8)
    minimiser, _ = pdhg(z, 0.1, iterations=50_000)
    for iterations in (1, 5, 20, 80):
        x, q = pdhg(z, 0.1, iterations)
        assert (x - minimiser).square().sum() / 2 <= primal_dual_gap(x, q, z, 0.1) + 1e-12


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_anisotropic_agrees_with_a_general_solver_of_the_dual(boundary):
    """L-BFGS-B on the dual min_{|q| ≤ Λ} ½‖z − ∇ᵀq‖², with ∇ as a matrix."""
    height, width = 6, 5
    z, weight = noisy(1, 1, height, width), 0.3 * noisy(1, 1, height, width, seed=1)

    d = gradient_matrix(height, width, boundary)
    b, bound = z.numpy().ravel(), np.tile(weight.numpy().ravel(), 2)
    result = scipy.optimize.minimize(
        lambda q: (0.5 * np.sum((b - d.T @ q) ** 2), -d @ (b - d.T @ q)),
        np.zeros(2 * height * width),
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(-bound, bound, strict=True)),
        options={"maxiter": 20_000, "maxfun": 100_000, "ftol": 1e-16, "gtol": 1e-11},
    )
    x, _ = pdhg(z, weight, 20_000, boundary=boundary)
    np.testing.assert_allclose(x.numpy().ravel(), b - d.T @ result.x, atol=1e-6)


def test_isotropic_neumann_agrees_with_scikit_image():
    """denoise_tv_chambolle minimises ‖∇x‖ + ‖x − z‖²/(2 weight): the same problem, by Chambolle's dual method."""
    z = noisy(1, 1, 24, 20)
    expected = skimage.restoration.denoise_tv_chambolle(z.numpy()[0, 0], weight=0.2, eps=1e-14, max_num_iter=20_000)
    x, _ = pdhg(z, 0.2, 20_000, boundary="neumann", norm="isotropic")
    np.testing.assert_allclose(x.numpy()[0, 0], expected, atol=1e-4)


def test_weights_of_every_shape_mean_the_same():
    z = noisy(3, 1, 5, 4)
    expected, _ = pdhg(z, 0.1, 20)
    for weight in (
        torch.tensor(0.1),
        torch.full((3,), 0.1),
        torch.full((3, 1, 5, 4), 0.1),
        torch.full((1, 2, 5, 4), 0.1),
    ):
        torch.testing.assert_close(pdhg(z, weight.double(), 20)[0], expected, rtol=1e-7, atol=1e-9)
    each = torch.tensor([0.0, 0.1, 0.2], dtype=torch.float64)
    x, _ = pdhg(z, each, 20)
    for b in range(3):
        torch.testing.assert_close(x[b : b + 1], pdhg(z[b : b + 1], each[b], 20)[0])


def test_dual_starts_and_lipschitz_agree_in_the_limit_only():
    z = noisy(1, 1, 8, 8)
    few = [pdhg(z, 0.1, 8, dual_start=start)[0] for start in DUAL_STARTS]
    many = [pdhg(z, 0.1, 20_000, dual_start=s, lipschitz=c)[0] for s in DUAL_STARTS for c in LIPSCHITZ]
    assert (few[0] - few[1]).abs().max() > 0.05
    for other in many[1:]:
        torch.testing.assert_close(other, many[0], rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="dual_start"):
        pdhg(z, 0.1, 1, dual_start="one")


@pytest.mark.parametrize("norm", NORMS)
def test_every_ratio_of_the_steps_leads_to_the_minimiser_at_its_own_pace(norm):
    z = noisy(1, 1, 8, 8)
    few, many = ([pdhg(z, 0.1, n, norm=norm, log_ratio=r)[0] for r in (-0.7, 0.0, 0.4)] for n in (8, 4000))
    for k in (0, 2):
        assert (few[k] - few[1]).abs().max() > 1e-3
        torch.testing.assert_close(many[k], many[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("boundary,dual_start,lipschitz", list(itertools.product(BOUNDARIES, DUAL_STARTS, LIPSCHITZ)))
def test_derivative_by_the_ratio_is_that_of_autograd(boundary, dual_start, lipschitz):
    z, weight, g = noisy(2, 1, 6, 5), 0.2 * noisy(2, 1, 6, 5, seed=1), noisy(2, 1, 6, 5, seed=2)
    options = {"iterations": 20, "boundary": boundary, "dual_start": dual_start, "lipschitz": lipschitz}
    for log_ratio in (-0.7, 0.0, 0.4):
        ratio = torch.tensor(log_ratio, dtype=torch.float64, requires_grad=True)
        (expected,) = torch.autograd.grad((pdhg(z, weight, log_ratio=ratio, **options)[0] * g).sum(), ratio)
        found = ratio_derivative(z, weight, log_ratio=log_ratio, **options)
        assert found.shape == z.shape and not found.requires_grad
        torch.testing.assert_close((found * g).sum(), expected, rtol=1e-10, atol=1e-12)


def test_objective_by_hand():
    z = torch.tensor([[[[0.0, 1.0], [0.0, 0.0]]]])
    x = torch.tensor([[[[0.0, 2.0], [0.0, 0.0]]]])
    assert objective(x, z, 0.5, "neumann").tolist() == [0.5 + 0.5 * (2 + 2)]
    assert objective(x, z, 0.5, "periodic").tolist() == [0.5 + 0.5 * (4 + 4)]
    isotropic = objective(x, z, 0.5, "neumann", "isotropic").item()
    assert isotropic == pytest.approx(0.5 + 0.5 * gradient(x, "neumann").norm(dim=1).sum().item())
    assert as_weight(0.5, z).shape == (1, 1, 1, 1)
