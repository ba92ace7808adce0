"""The compiled isotropic solver against the reference: iterates, duals and gradients, in float64 for truth."""

import itertools

import pytest
import torch
from derivatives import assert_central_differences

from tvmap import isotropic_numba, solver
from tvmap.operators import BOUNDARIES
from tvmap.pdhg import DUAL_STARTS, LIPSCHITZ, pdhg

OPTIONS = [
    {"boundary": b, "dual_start": d, "lipschitz": c, "norm": "isotropic"}
    for b, d, c in itertools.product(BOUNDARIES, DUAL_STARTS, LIPSCHITZ)
]
SIZES = [(1, 1), (1, 5), (4, 1), (2, 3), (3, 2), (5, 7), (17, 33)]  # below and across a group of columns
ITERATIONS = [0, 1, 15, 16, 17, 40]  # below, at and across the number of iterations repeated at once


def problem(batch, size, dtype=torch.float64):
    generator = torch.Generator().manual_seed(batch + 100 * size[0] + size[1])
    z = torch.rand(batch, 1, *size, dtype=dtype, generator=generator)
    weight = 0.2 * torch.rand(batch, 1, *size, dtype=dtype, generator=generator)
    return z.requires_grad_(), weight.requires_grad_()


def slopes(size, batch=1):
    return torch.randn(batch, 1, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def results(method, z, weight, iterations, **options):
    """x, q, ∂loss/∂z and ∂loss/∂Λ of a linear loss."""
    x, q = method(z, weight, iterations, **options)
    loss = (x * slopes(z.shape[-2:], len(z))).sum() + 0 * weight.sum()
    return x, q, *torch.autograd.grad(loss, (z, weight))


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("size", SIZES)
def test_iterates_and_gradients_are_the_reference_s(options, size):
    for iterations in ITERATIONS:
        z, weight = problem(2, size)
        both = (results(method, z, weight, iterations, **options) for method in (solver.solve, pdhg))
        for fast, reference in zip(*both, strict=True):
            torch.testing.assert_close(fast, reference, rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", OPTIONS[:1] + OPTIONS[-1:])
def test_weights_of_zero_in_the_map(options):
    """There q is 0 for any u, so nothing flows back through q; the derivative in Λ is that to the right."""
    z, weight = problem(1, (6, 5))
    weight.data[..., ::2] = 0
    _, _, _, gradient = found = results(solver.solve, z, weight, 40, **options)
    for fast, reference in zip(found, results(pdhg, z, weight, 40, **options), strict=True):
        torch.testing.assert_close(fast, reference, rtol=0, atol=1e-10)
    with torch.no_grad():
        for index in (0, 2, 14):
            assert weight.view(-1)[index] == 0
            losses = []
            for step in (0, 1e-7, 2e-7):
                moved = weight.clone()
                moved.view(-1)[index] += step
                losses.append((solver.solve(z, moved, 40, **options)[0] * slopes((6, 5))).sum())
            difference = (-3 * losses[0] + 4 * losses[1] - losses[2]) / 2e-7
            torch.testing.assert_close(gradient.view(-1)[index], difference, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_weight_and_differences_of_zero(boundary):
    """At Λ = 0 the steps are linear in z, with the same derivative at a constant image as at any other."""
    z, weight = problem(1, (6, 5))
    *_, elsewhere, _ = results(solver.solve, z, 0 * weight, 20, boundary=boundary, norm="isotropic")
    constant = torch.full_like(z, 0.3).requires_grad_()
    *_, grad_z, grad_weight = results(solver.solve, constant, 0 * weight, 20, boundary=boundary, norm="isotropic")
    torch.testing.assert_close(grad_z, elsewhere, rtol=0, atol=1e-12)
    assert (grad_weight == 0).all()  # a constant image stays one, whatever Λ


def test_gradient_agrees_with_central_differences():
    def loss(z, weight):
        return (solver.solve(z, weight, 60, norm="isotropic")[0] * slopes((6, 5))).sum()

    assert_central_differences(loss, *problem(1, (6, 5)), step=1e-6, atol=1e-7)


@pytest.mark.parametrize("shape", [(), (3,), (1, 1, 6, 7), (3, 1, 6, 1)])
def test_gradient_of_a_broadcast_weight(shape):
    z, _ = problem(3, (6, 7))
    weight = (0.1 * torch.rand(shape, dtype=torch.float64)).requires_grad_()
    fast, reference = (results(method, z, weight, 20, norm="isotropic")[3] for method in (solver.solve, pdhg))
    torch.testing.assert_close(fast, reference, rtol=1e-12, atol=1e-12)


def test_only_what_is_asked_for_is_differentiated():
    z, weight = problem(1, (6, 7))
    *_, expected = results(solver.solve, z, weight, 20, norm="isotropic")
    x, _ = solver.solve(z.detach(), weight, 20, norm="isotropic")
    (x * slopes((6, 7))).sum().backward()
    assert torch.equal(weight.grad, expected) and z.grad is None


def test_float32_agrees_with_float64_to_rounding():
    z, weight = problem(1, (40, 24))
    x, _ = solver.solve(z, weight, 256, norm="isotropic")
    x32, _ = solver.solve(z.float(), weight.float(), 256, norm="isotropic")
    torch.testing.assert_close(x32.double(), x, rtol=0, atol=2e-6)


def test_batch_does_not_change_a_bit():
    z, weight = problem(3, (9, 10), torch.float32)
    together, _ = solver.solve(z, weight, 30, norm="isotropic")
    one_by_one = [solver.solve(z[b : b + 1], weight[b : b + 1], 30, norm="isotropic")[0] for b in range(3)]
    assert torch.equal(together, torch.cat(one_by_one))


def test_what_is_stored_for_the_gradient_is_a_state_for_many_iterations():
    """Seven fields of a pixel (and a cache line more a row) for every CHUNK iterations, whatever these are."""
    z, weight = (tensor[0].detach().numpy() for tensor in problem(1, (8, 32), torch.float32))
    n = 3 * isotropic_numba.CHUNK + 1
    *_, states = isotropic_numba.forward(z[0], weight, n, "periodic", "zero", 3, True)
    assert sum(state.nbytes for state, _ in states) == 4 * 7 * 4 * 8 * (32 + isotropic_numba.PAD)
    assert sum(count for _, count in states) == n
    assert not isotropic_numba.forward(z[0], weight, n, "periodic", "zero", 3)[2]


def test_two_maps_are_refused():
    z, weight = problem(1, (4, 4))
    with pytest.raises(ValueError, match="the isotropic norm takes one map"):
        solver.solve(z, weight.repeat(1, 2, 1, 1), 5, norm="isotropic")
