"""The gradient at convergence: against the unrolled one after many iterations, differences, and regions by hand."""

import numpy as np
import pytest
import torch

from tvmap import closed_form, solver
from tvmap.errors import StudyError
from tvmap.operators import BOUNDARIES

MANY = 6000  # iterations


def blocks(size):
    """Rectangles of equal grey, as a cartoon."""
    z = torch.zeros(1, 1, size, size, dtype=torch.float64)
    z[..., size // 4 : size // 2, 2:] = 0.6
    z[..., size // 3 :, size // 2 :] += 0.3
    return z


def problem(kind, maps=1, size=14):
    generator = torch.Generator().manual_seed(maps)
    noise, weight = (
        torch.rand(2, channels, size, size, dtype=torch.float64, generator=generator) for channels in (1, maps)
    )
    z = noise if kind == "random" else blocks(size) + 0.1 * noise
    return z.requires_grad_(), (0.02 + 0.1 * weight).requires_grad_()


def slopes(x):
    return torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1))


def gradients(z, weight, iterations=MANY, **options):
    x, _ = solver.solve(z, weight, iterations, **options)
    return torch.autograd.grad((x * slopes(x)).sum(), (z, weight))


def cosine(a, b):
    return torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0).item()


@pytest.mark.parametrize("kind", ["random", "blocks"])
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("maps", [1, 2])
def test_it_is_the_limit_of_the_unrolled_gradient(kind, boundary, maps):
    z, weight = problem(kind, maps)
    for start in ("zero", "image"):
        options = {"boundary": boundary, "dual_start": start}
        pairs = zip(*(gradients(z, weight, gradient=name, **options) for name in solver.GRADIENTS), strict=True)
        for unrolled, closed in pairs:
            assert cosine(unrolled, closed) > 1 - 1e-9
            assert (closed - unrolled).norm() < 1e-4 * unrolled.norm()
    for few in (8, 64):  # where the unrolled one has not come to it yet
        assert cosine(gradients(z, weight, few)[1], gradients(z, weight)[1]) < 1 - 1e-7


@pytest.mark.parametrize("shape", [(), (2,), (1, 1, 14, 14), (2, 2, 14, 1)])
def test_broadcast_weights_get_the_sum(shape):
    z, _ = problem("blocks")
    weight = (0.05 + 0.05 * torch.rand(shape, dtype=torch.float64)).requires_grad_()
    unrolled, closed = (gradients(z, weight, gradient=name)[1] for name in solver.GRADIENTS)
    assert closed.shape == weight.shape
    torch.testing.assert_close(closed, unrolled, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["random", "blocks"])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_central_differences_of_the_solution(kind, boundary):
    """The solution is piecewise linear in z and Λ, so small steps in any direction meet the gradient."""
    z, weight = problem(kind, maps=2, size=10)
    found = gradients(z, weight, boundary=boundary, gradient="closed_form")
    generator = torch.Generator().manual_seed(3)
    for position in (0, 1):
        for _ in range(3):
            direction = torch.randn(found[position].shape, dtype=torch.float64, generator=generator)
            losses = []
            for sign in (1, -1):
                moved = [z.detach(), weight.detach()]
                moved[position] = moved[position] + sign * 1e-6 * direction
                x, _ = solver.solve(*moved, 20_000, boundary=boundary)
                losses.append((x * slopes(x)).sum().item())
            expected = (losses[0] - losses[1]) / 2e-6
            assert (found[position] * direction).sum().item() == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_weights_of_zero():
    """Λ = 0: x̂ = z, every pixel is a region, and the derivative in Λ is that to the right."""
    z, _ = problem("random", size=8)
    weight = torch.zeros(2, 2, 8, 8, dtype=torch.float64, requires_grad=True)
    grad_z, grad_weight = gradients(z, weight, 200, gradient="closed_form")
    x, _ = solver.solve(z, weight)
    torch.testing.assert_close(grad_z, slopes(x), rtol=0, atol=1e-12)
    direction, step = torch.rand(weight.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2)), 1e-6
    with torch.no_grad():
        moved, _ = solver.solve(z, step * direction, MANY)
    difference = ((moved - z) * slopes(x)).sum().item() / step
    assert (grad_weight * direction).sum().item() == pytest.approx(difference, rel=1e-5)


def test_the_result_is_the_same_and_only_it_is_kept():
    z, weight = problem("blocks")
    unrolled, closed = (solver.solve(z, weight, 30, gradient=name) for name in solver.GRADIENTS)
    assert all(torch.equal(*pair) for pair in zip(unrolled, closed, strict=True))
    assert not closed[1].requires_grad and not unrolled[1].requires_grad
    kept = [tuple(tensor.shape) for tensor in closed[0].grad_fn.saved_tensors]
    assert kept == [(2, 1, 14, 14), (2, 2, 14, 14), (2, 1, 14, 14)]


def test_regions_by_hand():
    q = np.zeros((2, 3, 4))
    q[0, 0], q[0, 2] = 1, [1, 1, 1, -1]  # the first row is cut off from the second, and the last from the first
    q[1, 0] = [0, 1, 0, -1]  # the first row falls into two halves
    labels, n = closed_form.regions(q, 1.0)
    assert labels.tolist() == [[0, 0, 1, 1], [2, 2, 2, 2], [2, 2, 2, 2]] and n == 3
    q[1, 0, 3] = -0.5  # joined around the edge, but for a neumann image
    assert closed_form.regions(q, np.ones((1, 3, 4)))[0][0].tolist() == [0, 0, 0, 0]
    assert closed_form.regions(q, 1.0, "neumann")[0][0].tolist() == [0, 0, 1, 1]
    assert closed_form.regions(q, 0.0)[1] == 12
    two = np.stack([np.full((3, 4), 2.0), np.ones((3, 4))])  # a map for each direction: nothing stops q_v
    assert closed_form.regions(q, two)[1] == 1
    with pytest.raises(ValueError, match="boundary"):
        closed_form.regions(q, 1.0, "mirror")


def test_regions_are_those_of_a_graph_library():
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    for seed, shape in enumerate([(1, 1), (1, 9), (7, 1), (2, 2), (23, 31)]):
        q = np.random.default_rng(seed).random((2, *shape))
        joined, pixels = q < 0.5, np.arange(q[0].size).reshape(shape)
        neighbours = np.stack([np.roll(pixels, -1, 0), np.roll(pixels, -1, 1)])
        edges = np.broadcast_to(pixels, q.shape)[joined], neighbours[joined]
        graph = coo_array((np.ones(len(edges[0]), bool), edges), shape=(pixels.size, pixels.size))
        n, expected = connected_components(graph, directed=False)
        labels, found = closed_form.regions(q, 0.5)
        assert found == n == len(set(zip(labels.ravel(), expected, strict=True)))


def test_averages_by_hand():
    labels, image = np.array([[0, 0, 1], [1, 1, 2]]), np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    averaged = closed_form.average(image, labels, 3)
    assert averaged.tolist() == [[1.5, 1.5, 4], [4, 4, 6]] and averaged.dtype == np.float32


def test_what_it_cannot_do_is_said():
    z, weight = problem("random", size=4)
    with pytest.raises(StudyError, match="closed_form is for the anisotropic norm on the CPU, not isotropic on cpu"):
        solver.solve(z, weight, norm="isotropic", gradient="closed_form")
    with pytest.raises(StudyError, match="not anisotropic on meta"):
        solver.solve(z.to("meta"), 0.1, gradient="closed_form")
    with pytest.raises(ValueError, match="gradient must be one of"):
        solver.solve(z, weight, gradient="closed")
