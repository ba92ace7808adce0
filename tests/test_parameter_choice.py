"""The choice of λ without the clean image: solutions, degrees of freedom and both rules against independent results."""

import numpy as np
import pytest
import scipy.optimize
import torch
from matrices import gradient_matrix

from tvmap import parameter_choice
from tvmap.errors import StudyError
from tvmap.operators import BOUNDARIES
from tvmap.pdhg import objective, primal_dual_gap

SIGMA = 0.1


def piecewise(height, width):
    """A disc and a rectangle on a background of another value."""
    i, j = np.mgrid[:height, :width] / max(height, width)
    clean = np.full((height, width), 0.3)
    clean[(i - 0.6) ** 2 + (j - 0.35) ** 2 < 0.06] = 0.8
    clean[(i < 0.4) & (j > 0.6)] = 0.55
    return clean


def noisy(clean, seed=0, sigma=SIGMA):
    return clean + sigma * np.random.default_rng(seed).standard_normal(clean.shape)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("size", [(6, 5), (5, 8), (1, 7), (7, 1), (2, 2)])
def test_converge_agrees_with_a_general_solver_of_the_dual(boundary, size):
    """L-BFGS-B on min_{|q| ≤ λ} ½‖z − ∇ᵀq‖², with ∇ as a matrix."""
    z, d, weight = noisy(piecewise(*size), sigma=0.3), gradient_matrix(*size, boundary), 0.12
    result = scipy.optimize.minimize(
        lambda q: (0.5 * np.sum((z.ravel() - d.T @ q) ** 2), -d @ (z.ravel() - d.T @ q)),
        np.zeros(len(d)),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-weight, weight)] * len(d),
        options={"maxiter": 20_000, "maxfun": 100_000, "ftol": 1e-16, "gtol": 1e-11},
    )
    x = parameter_choice.converge(z, weight, boundary, gap=1e-13).x
    np.testing.assert_allclose(x.ravel(), z.ravel() - d.T @ result.x, atol=1e-6)
    assert np.abs(x - z).max() > 0.05  # λ matters here


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_the_gap_of_what_converge_returns_is_as_asked(boundary):
    z = noisy(piecewise(20, 31))
    for gap in (1e-4, 1e-8, 1e-12):
        solution = parameter_choice.converge(z, 0.1, boundary, gap)
        x, z_, q = (torch.from_numpy(a) for a in (solution.x[None, None], z[None, None], solution.q[None]))
        relative = primal_dual_gap(x, q, z_, 0.1, boundary) / objective(x, z_, 0.1, boundary)
        assert -1e-14 < relative.item() <= gap and solution.relative_gap == pytest.approx(relative.item(), abs=1e-15)
        assert np.abs(solution.q).max() <= 0.1


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_warm_start_changes_where_it_begins_not_where_it_ends(boundary):
    z = noisy(piecewise(20, 31))
    cold = parameter_choice.converge(z, 0.1, boundary, gap=1e-13)
    for weight in (0.0, 0.07, 0.1, 0.3):
        warm = parameter_choice.converge(
            z, 0.1, boundary, gap=1e-13, start=parameter_choice.converge(z, weight, boundary)
        )
        np.testing.assert_allclose(warm.x, cold.x, atol=1e-8)
        assert parameter_choice.degrees_of_freedom(warm.q, 0.1, boundary) == parameter_choice.degrees_of_freedom(
            cold.q, 0.1, boundary
        )
    assert parameter_choice.converge(z, 0.1, boundary, gap=1e-13, start=cold).iterations == 0


def test_what_cannot_be_solved_is_refused():
    z = noisy(piecewise(9, 9))
    with pytest.raises(StudyError, match="after 60 iterations, not 1.0e-12; ") as caught:
        parameter_choice.converge(z, 0.3, gap=1e-12, max_iterations=60)
    for advice in ("in a study lower grid.maximum or take this rival out of baselines", "in tvmap give λ as a number"):
        assert advice in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(StudyError, match="weight: -0.1"):
        parameter_choice.converge(z, -0.1)
    with pytest.raises(StudyError, match="one image"):
        parameter_choice.converge(z[None], 0.1)
    with pytest.raises(ValueError, match="boundary"):
        parameter_choice.converge(z, 0.1, "reflecting")
    for choose in (parameter_choice.choose_by_sure, parameter_choice.choose_by_discrepancy):
        with pytest.raises(StudyError, match="interval for λ"):
            choose(z, SIGMA, 0.2, 0.1)
        with pytest.raises(StudyError, match="noise_std"):
            choose(z, 0.0, 0.1, 0.2)
    z[3, 3] = np.nan
    with pytest.raises(StudyError, match="1 values are NaN"):
        parameter_choice.converge(z, 0.1)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("weight", [0.0, 0.01, 0.03, 0.1, 0.2, 3.0])
def test_degrees_of_freedom_are_the_divergence(boundary, weight):
    """Σᵢ ∂xᵢ/∂zᵢ by central differences, pixel by pixel; x is piecewise linear in z, so they are exact."""
    z, step, divergence = noisy(piecewise(8, 7)), 1e-6, 0.0
    for index in np.ndindex(z.shape):
        pair = []
        for sign in (1, -1):
            moved = z.copy()
            moved[index] += sign * step
            pair.append(parameter_choice.converge(moved, weight, boundary, gap=1e-13).x[index])
        divergence += (pair[0] - pair[1]) / (2 * step)
    n_regions = parameter_choice.degrees_of_freedom(parameter_choice.converge(z, weight, boundary).q, weight, boundary)
    assert divergence == pytest.approx(n_regions, abs=1e-3)
    assert n_regions == {0.0: 56, 3.0: 1}.get(weight, n_regions)
    if weight in (0.01, 0.03, 0.1):
        assert 5 < n_regions < 56


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_degrees_of_freedom_do_not_depend_on_the_gap(boundary):
    """From the dual they are right long before x is constant on its regions to rounding."""
    z = noisy(piecewise(40, 33))
    found = {
        gap: parameter_choice.degrees_of_freedom(parameter_choice.converge(z, 0.08, boundary, gap).q, 0.08, boundary)
        for gap in (1e-6, 1e-8, 1e-13)
    }
    x = parameter_choice.converge(z, 0.08, boundary, 1e-13).x
    assert set(found.values()) == {len(np.unique(x.round(9)))}  # values of different regions differ here


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_sure_is_unbiased(boundary):
    clean, weight = piecewise(24, 24), 0.06
    differences, corrections = [], []
    for seed in range(30):
        z = noisy(clean, seed)
        solution = parameter_choice.converge(z, weight, boundary)
        n_regions = parameter_choice.degrees_of_freedom(solution.q, weight, boundary)
        estimate = parameter_choice.sure(z, solution.x, n_regions, SIGMA)
        differences.append(estimate - np.mean((solution.x - clean) ** 2))
        corrections.append(2 * SIGMA**2 * n_regions / z.size)
    standard_error = np.std(differences, ddof=1) / np.sqrt(30)
    assert abs(np.mean(differences)) < 3 * standard_error
    assert 3 * standard_error < 0.25 * np.mean(corrections)  # a wrong number of regions would show


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_sure_s_choice_is_nearly_the_best_one(boundary):
    clean = piecewise(48, 48)
    errors, least = [], []
    for seed in range(3):
        z = noisy(clean, seed)
        choice = parameter_choice.choose_by_sure(z, SIGMA, 0.01, 1, boundary)
        assert choice.solves <= 25 and not choice.at_end
        errors.append(np.mean((choice.x - clean) ** 2))
        scan = [
            np.mean((parameter_choice.converge(z, w, boundary, 1e-5).x - clean) ** 2)
            for w in np.geomspace(0.03, 0.4, 16)
        ]
        least.append(min(scan))
        assert least[-1] < 0.5 * min(scan[0], scan[-1])  # λ matters here
    assert np.mean(errors) < 1.05 * np.mean(least)
    solution = parameter_choice.converge(z, choice.weight, boundary)
    n_regions = parameter_choice.degrees_of_freedom(solution.q, choice.weight, boundary)
    assert choice.value == pytest.approx(parameter_choice.sure(z, solution.x, n_regions, SIGMA), rel=1e-6)


def test_the_scan_of_sure_ends_where_it_has_long_been_worse(monkeypatch):
    z = noisy(piecewise(32, 32))
    short = parameter_choice.choose_by_sure(z, SIGMA, 0.01, 2)
    monkeypatch.setattr(parameter_choice, "WORSE", parameter_choice.SCANNED)
    long = parameter_choice.choose_by_sure(z, SIGMA, 0.01, 2)
    assert short.solves < long.solves
    assert (short.weight, short.value) == (pytest.approx(long.weight, rel=1e-6), pytest.approx(long.value, rel=1e-6))


def test_sure_says_when_the_best_value_is_an_end():
    z = noisy(piecewise(24, 24))
    below, above = (
        parameter_choice.choose_by_sure(z, SIGMA, 0.001, 0.01),
        parameter_choice.choose_by_sure(z, SIGMA, 0.5, 1),
    )
    assert below.at_end and below.weight == 0.01
    assert above.at_end and above.weight == 0.5


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_the_discrepancy_is_the_noise(boundary):
    z = noisy(piecewise(32, 40))
    choice = parameter_choice.choose_by_discrepancy(z, SIGMA, 0.001, 1, boundary)
    x = parameter_choice.converge(z, choice.weight, boundary, 1e-12).x
    assert np.sum((x - z) ** 2) == pytest.approx(z.size * SIGMA**2, rel=0.01)
    assert choice.value == pytest.approx(np.mean((x - z) ** 2), rel=0.005)
    assert choice.solves <= 15 and not choice.at_end


def test_a_discrepancy_that_is_never_the_noise_ends_at_an_end():
    z = noisy(piecewise(16, 16))
    below, above = (
        parameter_choice.choose_by_discrepancy(z, SIGMA, 0.001, 0.01),
        parameter_choice.choose_by_discrepancy(z, SIGMA, 2, 3),
    )
    assert below.at_end and below.weight == 0.01 and below.value < SIGMA**2
    assert above.at_end and above.weight == 2 and above.value > SIGMA**2
