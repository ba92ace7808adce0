"""∇, ∇ᵀ and the dual projection against hand-written rows, matrices and brute force."""

import itertools

import pytest
import torch
from matrices import as_matrix

from tvmap.operators import BOUNDARIES, NORMS, gradient, gradient_adjoint, project_dual

SIZES = [(1, 1), (1, 4), (5, 1), (3, 4), (16, 9)]


def test_boundary_rows_by_hand():
    x = torch.tensor([[[[1.0, 2.0, 4.0], [7.0, 11.0, 16.0], [22.0, 29.0, 37.0]]]])
    vertical = [[6.0, 9.0, 12.0], [15.0, 18.0, 21.0]]
    horizontal = [[1.0, 2.0], [4.0, 5.0], [7.0, 8.0]]
    periodic, neumann = (gradient(x, boundary)[0].tolist() for boundary in BOUNDARIES)
    assert periodic[0] == [*vertical, [-21.0, -27.0, -33.0]]
    assert neumann[0] == [*vertical, [0.0, 0.0, 0.0]]
    assert periodic[1] == [[*row, end] for row, end in zip(horizontal, (-3.0, -9.0, -15.0), strict=True)]
    assert neumann[1] == [[*row, 0.0] for row in horizontal]


def test_periodic_gradient_is_the_circulant_matrix_of_the_text():
    rows = torch.tensor([[-1.0, 1, 0, 0], [0, -1, 1, 0], [0, 0, -1, 1], [1, 0, 0, -1]])
    x = torch.rand(4, 4)
    vertical, horizontal = gradient(x[None, None])[0]
    torch.testing.assert_close(vertical, rows @ x)  # (6)
    torch.testing.assert_close(horizontal, x @ rows.T)  # (7)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("size", SIZES)
def test_adjoint_is_the_transposed_matrix(boundary, size):
    forward = as_matrix(lambda x: gradient(x[None], boundary)[0], (1, *size))
    adjoint = as_matrix(lambda q: gradient_adjoint(q[None] if q.ndim == 3 else q, boundary), (2, *size))
    assert forward.shape == (2 * size[0] * size[1], size[0] * size[1])
    torch.testing.assert_close(adjoint, forward.T, rtol=0, atol=0)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_norm_bounds(boundary):
    """‖∇‖² ≤ 8, reached by the periodic checkerboard; ‖[I; ∇]‖ ≤ 3."""
    forward = as_matrix(lambda x: gradient(x[None], boundary)[0], (1, 8, 8))
    largest = torch.linalg.matrix_norm(forward, 2).item() ** 2
    assert largest <= 8 + 1e-12
    assert largest > (8 - 1e-12 if boundary == "periodic" else 7.5)
    stacked = torch.cat([torch.eye(64, dtype=torch.float64), forward])
    assert torch.linalg.matrix_norm(stacked, 2).item() <= 3 + 1e-12


def test_unknown_names_are_refused():
    x = torch.zeros(1, 1, 2, 2)
    for call in (lambda: gradient(x, "mirror"), lambda: gradient_adjoint(gradient(x), "mirror")):
        with pytest.raises(ValueError, match="boundary"):
            call()
    with pytest.raises(ValueError, match="norm"):
        project_dual(gradient(x), torch.ones(1), "l2")


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("radius", [0.0, 0.3, 1.0])
def test_projection_is_the_nearest_feasible_point(norm, radius):
    """Compared with the best of a fine grid of feasible points."""
    grid = torch.linspace(-1, 1, 401, dtype=torch.float64) * radius
    points = torch.tensor(list(itertools.product(grid.tolist(), repeat=2)), dtype=torch.float64)
    if norm == "isotropic":
        points = points[points.norm(dim=1) <= radius + 1e-12]
    for q in torch.randn(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)):
        projected = project_dual(
            q.reshape(1, 2, 1, 1), torch.tensor([[[[radius]]]], dtype=torch.float64), norm
        ).flatten()
        size = projected.abs().max() if norm == "anisotropic" else projected.norm()
        assert size <= radius + 1e-12
        best = (points - q).norm(dim=1).min()
        assert best - 0.01 <= (projected - q).norm() <= best + 1e-12


def test_projection_keeps_feasible_points_and_takes_a_map_for_each_direction():
    q = torch.tensor([0.5, -2.0]).reshape(1, 2, 1, 1)
    weight = torch.tensor([1.0, 0.25]).reshape(1, 2, 1, 1)
    assert project_dual(q, weight).flatten().tolist() == [0.5, -0.25]
    with pytest.raises(ValueError, match="one map"):
        project_dual(q, weight, "isotropic")
