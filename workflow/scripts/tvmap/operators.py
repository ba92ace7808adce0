"""Finite differences, their adjoint and the projection of the dual variable.

Images are tensors (B, 1, H, W); gradients are (B, 2, H, W), the vertical difference in channel 0, the horizontal in 1.
"""

from collections.abc import Sequence

import torch

BOUNDARIES = ("periodic", "neumann")
NORMS = ("anisotropic", "isotropic")

Weight = float | Sequence[float] | torch.Tensor  # what the solvers take as λ or Λ


def gradient(x: torch.Tensor, boundary: str = "periodic") -> torch.Tensor:
    """Forward differences ∇x, (B, 1, H, W) → (B, 2, H, W); dissertation (5)-(7).

    Along one direction of length 4 the matrix D with ∇x = D x is, row by row,

        periodic  −1  1  0  0      neumann  −1  1  0  0
                   0 −1  1  0                0 −1  1  0
                   0  0 −1  1                0  0 −1  1
                   1  0  0 −1                0  0  0  0

    ‖∇‖² ≤ 8 for both, so ‖[I; ∇]‖ ≤ √(1 + 8) = 3.

    Raises:
        ValueError: unknown `boundary`.
    """
    vertical = x.roll(-1, -2) - x
    horizontal = x.roll(-1, -1) - x
    if boundary == "neumann":
        vertical[..., -1, :] = 0
        horizontal[..., :, -1] = 0
    elif boundary != "periodic":
        raise ValueError(f"boundary must be one of {BOUNDARIES}, not {boundary!r}")
    return torch.cat([vertical, horizontal], dim=-3)


def gradient_adjoint(q: torch.Tensor, boundary: str = "periodic") -> torch.Tensor:
    """∇ᵀq, (B, 2, H, W) → (B, 1, H, W), so that ⟨∇x, q⟩ = ⟨x, ∇ᵀq⟩.

    Raises:
        ValueError: unknown `boundary`.
    """
    vertical, horizontal = q[..., :1, :, :], q[..., 1:, :, :]
    if boundary == "neumann":
        vertical, horizontal = vertical.clone(), horizontal.clone()
        vertical[..., -1, :] = 0
        horizontal[..., :, -1] = 0
    elif boundary != "periodic":
        raise ValueError(f"boundary must be one of {BOUNDARIES}, not {boundary!r}")
    return vertical.roll(1, -2) - vertical + horizontal.roll(1, -1) - horizontal


def project_dual(q: torch.Tensor, weight: torch.Tensor, norm: str = "anisotropic") -> torch.Tensor:
    """Projection onto {q : ‖q‖_* ≤ Λ}, clip_Λ of Algorithm 1. `weight` (B, 1 or 2, H, W) or broadcastable.

    anisotropic: every entry to [−Λ, Λ] (the text's [0, Λ] is a slip); isotropic: the pair (q_v, q_h) of a pixel to
    the disc of radius Λ, q·Λ / max(Λ, |q|).

    Raises:
        ValueError: unknown `norm`, or two maps for the isotropic norm.
    """
    if norm == "anisotropic":
        return torch.minimum(torch.maximum(q, -weight), weight)
    if norm != "isotropic":
        raise ValueError(f"norm must be one of {NORMS}, not {norm!r}")
    if weight.ndim >= 3 and weight.shape[-3] == 2:
        raise ValueError("the isotropic norm takes one map, not one for each direction")
    length = torch.linalg.vector_norm(q, dim=-3, keepdim=True)
    return torch.where(length > weight, q * (weight / length.clamp_min(torch.finfo(q.dtype).tiny)), q)
