"""TGV: its operators by hand, its solution by an independent solver, its gap, and the fast solver by the reference."""

import itertools

import clarabel
import numpy as np
import pytest
import scipy.sparse
import torch
from derivatives import assert_central_differences
from matrices import as_matrix, forward_difference, gradient_matrix

from tvmap import pdhg, solver, tgv_numba
from tvmap.errors import StudyError
from tvmap.operators import BOUNDARIES, gradient
from tvmap.tgv import (
    DUAL_STEPS,
    PRIMAL_STEPS,
    as_weights,
    feasible_dual,
    symmetrised_gradient,
    symmetrised_gradient_adjoint,
    tgv,
    tgv_objective,
    tgv_primal_dual_gap,
)

SIZES = [(1, 1), (1, 5), (4, 1), (2, 3), (3, 2), (4, 4), (5, 7), (17, 33)]  # below, at and across a group of columns
ITERATIONS = [0, 1, 2, 40]

each_boundary = pytest.mark.parametrize("boundary", BOUNDARIES)


def noisy(*shape, seed=0):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def problem(batch, size, dtype=torch.float64):
    z, weight = noisy(batch, 1, *size, seed=size[0]), 0.2 * noisy(batch, 2, *size, seed=size[1] + 100)
    return z.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_()


def matrices(height, width, boundary):
    """∇ (2 n × n) and E (3 n × 2 n) from the rows that the docstrings print, by Kronecker products."""

    def backward(n):
        d = np.eye(n) - np.roll(np.eye(n), -1, axis=1)
        if boundary == "neumann":
            d[[0, -1]] = 0
        return d

    def kept(n):  # with neumann, vh has no last row and column
        return np.diag([1.0] * (n - 1) + [boundary == "periodic"])

    rows, columns = np.eye(height), np.eye(width)
    vv, hh = np.kron(backward(height), columns), np.kron(rows, backward(width))
    down, right = forward_difference(height, boundary), forward_difference(width, boundary)
    mixed = np.hstack([np.kron(kept(height), right), np.kron(down, kept(width))])
    symmetrised = np.vstack([np.hstack([vv, 0 * hh]), np.hstack([0 * vv, hh]), mixed])
    return gradient_matrix(height, width, boundary), symmetrised


# --- operators


def test_symmetrised_gradient_by_hand():
    vertical = [[1.0, 2.0, 4.0], [7.0, 11.0, 16.0], [22.0, 29.0, 37.0]]
    horizontal = [[0.0, 1.0, 0.0], [2.0, 0.0, 5.0], [0.0, 3.0, 1.0]]
    periodic, neumann = (
        symmetrised_gradient(torch.tensor([[vertical, horizontal]]), b)[0].tolist() for b in BOUNDARIES
    )
    assert periodic[0] == [[-21.0, -27.0, -33.0], [6.0, 9.0, 12.0], [15.0, 18.0, 21.0]]
    assert neumann[0] == [[0.0, 0.0, 0.0], [6.0, 9.0, 12.0], [0.0, 0.0, 0.0]]
    assert periodic[1] == [[0.0, 1.0, -1.0], [-3.0, -2.0, 5.0], [-1.0, 3.0, -2.0]]
    assert neumann[1] == [[0.0, 1.0, 0.0], [0.0, -2.0, 0.0], [0.0, 3.0, 0.0]]
    # to the right in the vertical field, plus down in the horizontal one
    assert periodic[2] == [[1.0 + 2, 2.0 - 1, -3.0 + 5], [4.0 - 2, 5.0 + 3, -9.0 - 4], [7.0 + 0, 8.0 - 2, -15.0 - 1]]
    assert neumann[2] == [[3.0, 1.0, 0.0], [2.0, 8.0, 0.0], [0.0, 0.0, 0.0]]


@each_boundary
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (5, 1), (2, 2), (3, 4), (9, 6)])
def test_matrices_and_their_transposes(boundary, size):
    nabla, e = (torch.from_numpy(m) for m in matrices(*size, boundary))
    assert torch.equal(as_matrix(lambda x: gradient(x[None], boundary)[0], (1, *size)), nabla)
    assert torch.equal(as_matrix(lambda w: symmetrised_gradient(w[None], boundary)[0], (2, *size)), e)
    r = noisy(1, 3, *size)
    before = r.clone()
    adjoint = as_matrix(lambda r: symmetrised_gradient_adjoint(r[None], boundary)[0], (3, *size))
    assert torch.equal(adjoint, e.T)
    symmetrised_gradient_adjoint(r, boundary)
    assert torch.equal(r, before)


def test_second_differences_of_an_image_come_out_symmetric():
    """E∇x has the second differences on the diagonal and twice the mixed one, whichever direction comes first."""
    x = noisy(1, 1, 7, 6)
    vv, hh, vh = symmetrised_gradient(gradient(x))[0]
    torch.testing.assert_close(vv, (x.roll(-1, -2) - 2 * x + x.roll(1, -2))[0, 0])
    torch.testing.assert_close(hh, (x.roll(-1, -1) - 2 * x + x.roll(1, -1))[0, 0])
    torch.testing.assert_close(vh, 2 * gradient(gradient(x)[:, :1])[0, 1])


@each_boundary
def test_steps_satisfy_the_condition_of_convergence(boundary):
    """‖Σ^½ K T^½‖ ≤ 1 by power iteration, and not by far; ‖E‖² ≤ 12, nearly reached."""
    size = 12, 10
    root_x, root_w = (step**0.5 for step in PRIMAL_STEPS)
    root_q = DUAL_STEPS[0] ** 0.5
    root_r = torch.tensor([DUAL_STEPS[1]] * 2 + [DUAL_STEPS[2]], dtype=torch.float64).sqrt().reshape(3, 1, 1)
    nabla, e = (torch.from_numpy(m) for m in matrices(*size, boundary))
    x, w = noisy(1, 1, *size, seed=1) - 0.5, noisy(1, 2, *size, seed=2) - 0.5
    for _ in range(2000):
        norm = (x.square().sum() + w.square().sum()).sqrt()
        x, w = x / norm, w / norm
        slope = root_q * root_q * ((nabla @ (root_x * x).flatten()).reshape(1, 2, *size) - root_w * w)
        change = root_r * root_r * (e @ (root_w * w).flatten()).reshape(1, 3, *size)
        x = root_x * (nabla.T @ slope.flatten()).reshape(1, 1, *size)
        w = root_w * ((e.T @ change.flatten()).reshape(1, 2, *size) - slope)
    squared = (x.square().sum() + w.square().sum()).sqrt().item()
    assert 0.9 < squared <= 1 + 1e-12
    assert 10 < torch.linalg.matrix_norm(e, 2).item() ** 2 <= 12 + 1e-12


def test_an_affine_image_costs_nothing_but_where_its_ends_meet():
    rows, columns = torch.arange(6, dtype=torch.float64)[:, None], torch.arange(5, dtype=torch.float64)
    z = (0.3 * rows - 0.1 * columns + 1)[None, None]
    assert tgv_objective(z, gradient(z, "neumann"), z, (0.1, 0.1), "neumann").item() == pytest.approx(0, abs=1e-14)
    x, w, *_ = tgv(z, (0.5, 0.5), 5000, "neumann")
    torch.testing.assert_close(x, z, rtol=0, atol=1e-9)
    torch.testing.assert_close(w, gradient(z, "neumann"), rtol=0, atol=1e-9)
    inside = symmetrised_gradient(gradient(z))[..., 1:-1, 1:-1]
    assert inside.abs().max() < 1e-14 and symmetrised_gradient(gradient(z)).abs().max() > 1
    tv, _ = pdhg.pdhg(z, 0.5, 5000, "neumann")
    assert (tv - z).abs().max() > 0.2  # which pays for every slope


# --- iterations, objective, gap


def test_two_iterations_by_hand():
    """Two pixels in a row, z = (0, 3), Λ₁ = 0.5, Λ₀ = 0.15: every line on paper."""
    z = torch.tensor([[[[0.0, 3.0]]]], dtype=torch.float64)
    x, w, q, r = (part.flatten().tolist() for part in tgv(z, (0.5, 0.15), 1))
    # q = clip(2/3·(±3)), r = 0; ∇ᵀq = (−1, 1), x = z − (1/8)/(1 + 1/8)·∇ᵀq; w = q/10
    assert q == [0, 0, 0.5, -0.5] and r == [0] * 6
    np.testing.assert_allclose(x, [1 / 9, 3 - 1 / 9], rtol=1e-15)
    np.testing.assert_allclose(w, [0, 0, 0.05, -0.05], rtol=1e-15)
    x, w, q, r = (part.flatten().tolist() for part in tgv(z, (0.5, 0.15), 2))
    # w̄ = ±0.1, hh = ±0.2 is stopped at ±0.15; Eᵀr = ±0.3, w = ±(0.05 − (0.3 − 0.5)/10)
    np.testing.assert_allclose(r, [0, 0, 0.15, -0.15, 0, 0], rtol=1e-14)
    np.testing.assert_allclose(w, [0, 0, 0.07, -0.07], rtol=1e-14)
    first = 1 / 9 + 1 / 8 * (0 + 1)
    np.testing.assert_allclose(x, [first / (9 / 8), 3 - first / (9 / 8)], rtol=1e-14)


@each_boundary
def test_solution_is_that_of_an_interior_point_solver(boundary):
    """Clarabel on the quadratic program with bounds s ≥ |Λ₁(∇x − w)|, t ≥ |Λ₀E w|, of matrices built here."""
    height, width = 6, 5
    n = height * width
    z, weight = noisy(1, 1, height, width), 0.02 + 0.2 * noisy(1, 2, height, width, seed=1)
    nabla, e = matrices(height, width, boundary)
    of_slope, of_change = (np.tile(w.numpy().ravel(), k)[:, None] for w, k in zip(weight[0], (2, 3), strict=True))
    k = np.block([[of_slope * nabla, -of_slope * np.eye(2 * n)], [np.zeros((3 * n, n)), of_change * e]])
    unit = np.eye(5 * n)
    constraints = scipy.sparse.csc_matrix(np.block([[k, -unit], [-k, -unit]]))
    quadratic = scipy.sparse.diags([1.0] * n + [0.0] * 7 * n, format="csc")
    linear = np.concatenate([-z.numpy().ravel(), np.zeros(2 * n), np.ones(5 * n)])
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-12
    cones = [clarabel.NonnegativeConeT(10 * n)]
    found = clarabel.DefaultSolver(quadratic, linear, constraints, np.zeros(10 * n), cones, settings).solve()
    x, w = np.split(np.array(found.x)[: 3 * n], [n])
    x, w = torch.from_numpy(x.reshape(1, 1, height, width)), torch.from_numpy(w.reshape(1, 2, height, width))
    ours = solver.solve_certified(z, weight, "tgv", iterations=40_000, boundary=boundary)
    torch.testing.assert_close(ours.x, x, rtol=0, atol=1e-6)
    assert ours.primal.item() == pytest.approx(tgv_objective(x, w, z, weight, boundary).item(), rel=1e-9)
    assert (ours.x - z).abs().max() > 0.1


def test_objective_by_hand():
    """A 3 × 3 image and a field of one entry each: the mixed difference counts twice, vh being twice the entry."""
    z, x, w = torch.zeros(1, 1, 3, 3), torch.zeros(1, 1, 3, 3), torch.zeros(1, 2, 3, 3)
    x[..., 1, 1] = 2  # four differences of 2
    w[0, 0, 1, 1] = 1  # at one of them; vv: 1 and −1 (neumann: not in the last row), vh: 1 to the left and −1
    assert tgv_objective(x, w, z, (0.5, 10.0), "periodic").tolist() == [2 + 0.5 * (2 + 2 + 2 + 3) + 10 * 4]
    assert tgv_objective(x, w, z, (0.5, 10.0), "neumann").tolist() == [2 + 0.5 * 9 + 10 * 3]
    assert torch.equal(tgv_objective(x, 0 * w, z, (0.5, 10.0)), pdhg.objective(x, z, 0.5))


@each_boundary
def test_gap_is_not_negative_and_vanishes(boundary):
    """Also where both maps vary by two orders of magnitude."""
    z, weight = noisy(2, 1, 7, 9), 0.3 * 10 ** (-2 * noisy(2, 2, 7, 9, seed=1))
    gaps = []
    for iterations in (0, 10, 100, 1000, 100_000):
        solution = solver.solve_certified(z, weight, "tgv", iterations=iterations, boundary=boundary)
        gaps.append(solution.gap)
        assert (gaps[-1] >= -1e-12).all()
    assert (gaps[-1] < 1e-7).all() and (gaps[-2] < gaps[1] / 20).all()
    for iterations in (0, 10, 100, 1000):
        x = solver.solve(z, weight, iterations, boundary, penalty="tgv")[0]
        distance = (x - solution.x).square().sum((-3, -2, -1)) / 2
        gap = solver.solve_certified(z, weight, "tgv", iterations=iterations, boundary=boundary).gap
        assert (distance <= gap + 1e-7).all()


def test_without_weight_the_gap_is_the_whole_value_and_no_number_is_missing():
    z = noisy(1, 1, 6, 6)
    zero = solver.solve_certified(z, (0.0, 0.0), "tgv", iterations=50)
    torch.testing.assert_close(zero.x, z)
    assert zero.gap.item() == pytest.approx(0, abs=1e-12)
    one = solver.solve_certified(z, (0.0, 0.3), "tgv", iterations=50)
    assert 0 <= one.gap.item() <= one.primal.item()


@each_boundary
def test_dual_point_is_feasible_wherever_it_comes_from(boundary):
    weight = 0.2 * noisy(3, 2, 8, 5, seed=3)
    r = feasible_dual(2 * noisy(3, 3, 8, 5) - 1, weight, boundary)
    assert (r.abs() <= weight[:, 1:]).all() and (r != 0).any()
    assert (symmetrised_gradient_adjoint(r, boundary).abs() <= weight[:, :1] * (1 + 1e-12)).all()
    z = noisy(3, 1, 8, 5, seed=4)
    assert (tgv_primal_dual_gap(z, gradient(z, boundary), r, z, weight, boundary) >= 0).all()


def test_a_map_next_to_0_at_some_pixels_does_not_spoil_the_gap_of_what_float32_found():
    """Made feasible in float32 alone, the dual would be scaled down for the rounding there: a relative gap of 0.8."""
    z, weight = noisy(1, 1, 32, 32).float(), 0.2 * noisy(1, 2, 32, 32, seed=3).float()
    weight[:, 0, ::5, ::7] *= 1e-6
    assert solver.solve_certified(z, weight, "tgv", iterations=1024).relative_gap.item() < 0.01


def test_weights_of_every_shape_mean_the_same():
    z = noisy(3, 1, 5, 4)
    expected = tgv(z, (0.1, 0.2), 20)
    pair = torch.tensor([0.1, 0.2], dtype=torch.float64)
    for weight in (pair, pair.expand(3, 2), pair.reshape(1, 2, 1, 1), pair.reshape(1, 2, 1, 1).expand(3, 2, 5, 4)):
        for found in (tgv(z, weight, 20), solver.solve(z, weight, 20, penalty="tgv")):
            torch.testing.assert_close(found[0], expected[0], rtol=0, atol=1e-14)
    for weight in (0.1, (0.1, 0.2, 0.3), torch.ones(3, 1, 5, 4), torch.ones(2, 5, 4)):
        with pytest.raises(StudyError, match="two weights"):
            as_weights(weight, z)


def test_unknown_boundary_is_refused():
    for call in (symmetrised_gradient, symmetrised_gradient_adjoint):
        with pytest.raises(ValueError, match="boundary"):
            call(torch.zeros(1, 3, 2, 2), "mirror")


# --- the fast solver


@each_boundary
@pytest.mark.parametrize("size", SIZES)
def test_iterates_and_gradients_are_the_reference_s(boundary, size):
    for iterations in (*ITERATIONS, *[300] * (size == (5, 7))):
        z, weight = problem(2, size)
        g = noisy(2, 1, *size, seed=9) - 0.5
        results = []
        for method in (tgv, solver._solve_tgv):
            x, *others = method(z, weight, iterations, boundary)
            results.append((x, *others, *torch.autograd.grad((x * g).sum() + 0 * weight.sum(), (z, weight))))
        for fast, reference in zip(*results[::-1], strict=True):
            torch.testing.assert_close(fast, reference, rtol=0, atol=1e-12)


@each_boundary
def test_gradient_agrees_with_central_differences(boundary):
    z, weight = problem(1, (5, 4))
    g = noisy(1, 1, 5, 4, seed=2) - 0.5

    def loss(z, weight):
        return (solver.solve(z, weight, 60, boundary, penalty="tgv")[0] * g).sum()

    assert_central_differences(loss, z, weight)


@pytest.mark.parametrize("shape", [(2,), (3, 2), (1, 2, 6, 7), (3, 2, 1, 1), (3, 2, 6, 1)])
def test_gradient_of_a_broadcast_weight(shape):
    z, _ = problem(3, (6, 7))
    weight = (0.1 * noisy(*shape, seed=5)).requires_grad_()
    fast, reference = (
        torch.autograd.grad(method(z, weight, 12)[0].square().sum(), weight)[0] for method in (solver._solve_tgv, tgv)
    )
    torch.testing.assert_close(fast, reference, rtol=1e-12, atol=1e-12)


def test_float32_agrees_with_float64_to_rounding():
    z, weight = problem(1, (40, 24))
    x, x32 = (solver.solve(z.to(t), weight.to(t), 256, penalty="tgv")[0] for t in (torch.float64, torch.float32))
    torch.testing.assert_close(x32.double(), x, rtol=0, atol=5e-6)


def test_memory_format_and_batch_do_not_change_a_bit():
    z, weight = problem(3, (9, 10), torch.float32)
    expected, _ = solver.solve(z, weight, 30, penalty="tgv")
    channels_last = weight.to(memory_format=torch.channels_last)
    assert torch.equal(expected, solver.solve(z, channels_last, 30, penalty="tgv")[0])
    one_by_one = [solver.solve(z[b : b + 1], weight[b : b + 1], 30, penalty="tgv")[0] for b in range(3)]
    assert torch.equal(expected, torch.cat(one_by_one))


def test_what_is_stored_for_the_gradient_is_ten_bits_a_pixel_and_iteration():
    z, weight = problem(1, (8, 32))
    *_, codes = tgv_numba.forward(z[0, 0].detach().numpy(), weight[0].detach().numpy(), 7, "periodic", True)
    assert codes.nbytes == 7 * 8 * 32 * 10 / 8
    stopped, negative = codes[..., ::2], codes[..., 1::2]
    for entry in range(5):
        of_entry, sign = stopped[..., entry], negative[..., entry]
        assert (of_entry & sign).any() and (of_entry & ~sign).any() and (of_entry != 2**16 - 1).any()


# --- the one door


def test_elsewhere_the_reference_runs_and_says_so_once(caplog):
    z = torch.zeros(1, 1, 4, 4, device="meta")
    solver._said.clear()
    with caplog.at_level("INFO", logger="tvmap"):
        for _ in range(2):
            assert solver.solve(z, (0.1, 0.2), 3, penalty="tgv")[1].shape == (1, 2, 4, 4)
    assert [r.message for r in caplog.records] == ["no fast solver for TGV on meta: the reference runs"]


@pytest.mark.parametrize("option", [{"norm": "isotropic"}, {"dual_start": "image"}, {"lipschitz": "sqrt13"}])
def test_options_of_tv_are_refused_by_name(option):
    z = noisy(1, 1, 4, 4)
    for call in (solver.solve, solver.solve_certified):
        with pytest.raises(StudyError, match=f"{[*option][0]}.*belongs to TV"):
            call(z, (0.1, 0.1), penalty="tgv", **option)
        assert call(z, (0.1, 0.1), penalty="tgv", **solver.OF_TV_ALONE)


def test_penalties_by_name():
    z, (one, two) = noisy(1, 1, 8, 8), (0.1, (0.1, 0.1))
    default, tv = (solver.solve(z, one, 20, **options)[0] for options in ({}, {"penalty": "tv"}))
    assert torch.equal(default, tv) and not torch.equal(tv, solver.solve(z, two, 20, penalty="tgv")[0])
    for call in (solver.solve, solver.solve_certified):
        with pytest.raises(ValueError, match="penalty"):
            call(z, one, penalty="huber")
        with pytest.raises(StudyError, match="two weights"):
            call(z, one, penalty="tgv")
    for bad, words in ((float("nan"), "1 values are NaN"), (-0.1, "negative")):
        with pytest.raises(StudyError, match=words):
            solver.solve_certified(z, (0.1, bad), "tgv")


@pytest.mark.parametrize("seed", range(3))
def test_slopes_of_an_image_are_kept_better_than_by_tv(seed):
    """On a noisy ramp of which both see the best of the same weights, TGV comes closer."""
    generator = torch.Generator().manual_seed(seed)
    clean = torch.linspace(0, 1, 24, dtype=torch.float64).expand(1, 1, 24, 24)
    z = clean + 0.1 * torch.randn(clean.shape, dtype=torch.float64, generator=generator)
    weights = (0.05, 0.1, 0.2, 0.4)
    options = {"iterations": 1000, "boundary": "neumann"}
    tv = min((solver.solve(z, a, **options)[0] - clean).square().mean() for a in weights)
    pairs = itertools.product(weights, weights)
    both = min((solver.solve(z, pair, **options, penalty="tgv")[0] - clean).square().mean() for pair in pairs)
    assert both < 0.5 * tv
