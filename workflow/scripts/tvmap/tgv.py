"""Second-order total generalised variation (TGV) with two maps: operators, iterations, certificate; the reference.

For an image z and two maps Λ₁, Λ₀ ≥ 0 (Bredies, Kunisch, Pock 2010; the maps predicted as here: arXiv 2502.16532)

    min_{x, w} ½‖x − z‖² + ‖Λ₁∘(∇x − w)‖₁ + ‖Λ₀∘E w‖₁.

Where TV pays for every slope, TGV pays for its change: w takes the slope of x, and E w, its symmetrised gradient, is 0
where the slope is constant. With w = 0 the sum is that of TV.

Fields w and duals q of ∇x − w are (B, 2, H, W), vertical first; duals r of E w are (B, 3, H, W).
"""

import math

import torch

from .errors import StudyError
from .operators import BOUNDARIES, Weight, gradient, gradient_adjoint, project_dual

# τ of x and w; σ of q, of vv and hh, and of vh. K = [∇ −I; 0 E] has sums of absolute values of 4 and 5 in its columns,
# of 3, 2 and 4 in its rows. With 1 over these as τ and σ, ‖Σ^½ K T^½‖ ≤ 1 (Pock, Chambolle 2011, Lemma 2) and PDHG
# converges. So it does with τ halved and σ doubled, which came closer to the minimiser in 64 and in 256 iterations.
PRIMAL_STEPS = (1 / 8, 1 / 10)
DUAL_STEPS = (2 / 3, 1, 1 / 2)
FEASIBILITY_STEPS = 30
# Λ₀/Λ₁ where one number is to give both: the start of the oracle maps. Of the rival both are tuned, see `classical`.
RATIO = 0.5


def symmetrised_gradient(w: torch.Tensor, boundary: str = "periodic") -> torch.Tensor:
    """E w, (B, 2, H, W) → (B, 3, H, W): vv = ∂_v w_v, hh = ∂_h w_h and vh = ∂_h w_v + ∂_v w_h.

    vh is twice the off-diagonal entry of the symmetric matrix, which has it twice: |vv| + |hh| + |vh| is the sum of the
    absolute values of its four entries.

    ∇x is a forward difference, so w_v[i] belongs between the rows i and i + 1, w_h[j] between the columns. vv and hh
    are backward differences, which lead back to the pixels; vh are forward differences, both between four pixels.
    Along one direction of length 4, row by row,

        vv, hh   periodic   1  0  0 −1      neumann   0  0  0  0
                           −1  1  0  0               −1  1  0  0
                            0 −1  1  0                0 −1  1  0
                            0  0 −1  1                0  0  0  0

        vh       periodic  −1  1  0  0      neumann  −1  1  0  0
                            0 −1  1  0                0 −1  1  0
                            0  0 −1  1                0  0 −1  1
                            1  0  0 −1                0  0  0  0

    With neumann, no entry sees w_v of the last row and w_h of the last column, where ∇x is no difference but 0: the
    last row of vv, and vh of the last row and column, are 0 too. So an affine image, with w = ∇x, costs nothing there;
    with periodic it costs where its ends meet. ‖E‖² ≤ 12.
    """
    vertical, horizontal = w[..., :1, :, :], w[..., 1:, :, :]
    diagonal = torch.cat([vertical - vertical.roll(1, -2), horizontal - horizontal.roll(1, -1)], dim=-3)
    mixed = vertical.roll(-1, -1) - vertical + horizontal.roll(-1, -2) - horizontal
    return _without_edges(torch.cat([diagonal, mixed], dim=-3), boundary)


def symmetrised_gradient_adjoint(r: torch.Tensor, boundary: str = "periodic") -> torch.Tensor:
    """Eᵀr, (B, 3, H, W) → (B, 2, H, W), so that ⟨E w, r⟩ = ⟨w, Eᵀr⟩."""
    r = _without_edges(r.clone(), boundary)
    vv, hh, vh = r[..., :1, :, :], r[..., 1:2, :, :], r[..., 2:, :, :]
    vertical = vv - vv.roll(-1, -2) + vh.roll(1, -1) - vh
    horizontal = hh - hh.roll(-1, -1) + vh.roll(1, -2) - vh
    return torch.cat([vertical, horizontal], dim=-3)


def _without_edges(r: torch.Tensor, boundary: str) -> torch.Tensor:
    """`r` with 0 in the rows and columns of E w that are no differences, in place."""
    if boundary == "neumann":
        r[..., 0, [0, -1], :] = 0
        r[..., 1, :, [0, -1]] = 0
        r[..., 2, -1, :] = 0
        r[..., 2, :, -1] = 0
    elif boundary != "periodic":
        raise ValueError(f"boundary must be one of {BOUNDARIES}, not {boundary!r}")
    return r


def _of_entries(like: torch.Tensor, diagonal: float, mixed: float) -> torch.Tensor:
    """(3, 1, 1), a number for vv and hh and one for vh; made where `like` is, so that a CUDA graph can capture it."""
    return torch.cat([like.new_full((2, 1, 1), diagonal), like.new_full((1, 1, 1), mixed)])


def as_weights(weight: Weight, z: torch.Tensor) -> torch.Tensor:
    """(Λ₁, Λ₀) as one tensor (1 or B, 2, 1 or H, 1 or W), from a pair of numbers, (B, 2) or such a tensor.

    Raises:
        StudyError: not two weights.
    """
    weight = torch.as_tensor(weight, dtype=z.dtype, device=z.device)
    if weight.ndim in (1, 2) and weight.shape[-1] == 2:
        weight = weight.reshape(-1, 2, 1, 1)
    if weight.ndim != 4 or weight.shape[1] != 2:
        shape = tuple(weight.shape)
        raise StudyError(f"TGV: its weight has the shape {shape}; give two weights, Λ₁ and Λ₀: a pair or (B, 2, H, W)")
    return weight


def tgv(
    z: torch.Tensor, weight: Weight, iterations: int = 256, boundary: str = "periodic"
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """PDHG: T = `iterations` steps from x₀ = z, w₀ = 0 and duals of 0. Autograd works through every line.

    z: (B, 1, H, W); weight: see `as_weights`, not negative. Returns (x_T, w_T, q_T, r_T), of 1, 2, 2 and 3 channels.

    The data term enters by its proximal map, not by a dual variable p as in `pdhg`: one variable less, and with equal
    steps τ = σ = 1/‖K‖ it came as close to the minimiser.
    """
    weight = as_weights(weight, z)
    of_slope, of_change = weight[:, :1], weight[:, 1:]
    step_x, step_w = PRIMAL_STEPS
    step_q, step_r = DUAL_STEPS[0], _of_entries(z, *DUAL_STEPS[1:])
    x = x_bar = z
    w = w_bar = q = torch.zeros_like(z).repeat(1, 2, 1, 1)
    r = torch.zeros_like(z).repeat(1, 3, 1, 1)
    for _ in range(iterations):
        q = project_dual(q + step_q * (gradient(x_bar, boundary) - w_bar), of_slope)
        r = project_dual(r + step_r * symmetrised_gradient(w_bar, boundary), of_change)
        x_old, x = x, (x + step_x * (z - gradient_adjoint(q, boundary))) / (1 + step_x)
        w_old, w = w, w - step_w * (symmetrised_gradient_adjoint(r, boundary) - q)
        x_bar, w_bar = 2 * x - x_old, 2 * w - w_old
    return x, w, q, r


def tgv_objective(
    x: torch.Tensor, w: torch.Tensor, z: torch.Tensor, weight: Weight, boundary: str = "periodic"
) -> torch.Tensor:
    """½‖x − z‖² + ‖Λ₁∘(∇x − w)‖₁ + ‖Λ₀∘E w‖₁, one number an image, in float64."""
    x, w, z = x.double(), w.double(), z.double()
    weight = as_weights(weight, z)
    slopes = weight[:, :1] * (gradient(x, boundary) - w).abs()
    changes = weight[:, 1:] * symmetrised_gradient(w, boundary).abs()
    return (x - z).square().sum((-3, -2, -1)) / 2 + slopes.sum((-3, -2, -1)) + changes.sum((-3, -2, -1))


def tgv_primal_dual_gap(
    x: torch.Tensor, w: torch.Tensor, r: torch.Tensor, z: torch.Tensor, weight: Weight, boundary: str = "periodic"
) -> torch.Tensor:
    """Objective − dual value ½‖z‖² − ½‖z − ∇ᵀEᵀr̃‖² of `feasible_dual` r̃; one number ≥ 0 an image, in float64.

    It certifies x: minimised over w, the objective is 1-strongly convex, so ½‖x − x̂‖² ≤ gap.
    """
    z = z.double()
    r = feasible_dual(r, as_weights(weight, z), boundary)
    residual = z - gradient_adjoint(symmetrised_gradient_adjoint(r, boundary), boundary)
    return tgv_objective(x, w, z, weight, boundary) - (z.square() - residual.square()).sum((-3, -2, -1)) / 2


def feasible_dual(r: torch.Tensor, weight: torch.Tensor, boundary: str = "periodic") -> torch.Tensor:
    """r̃ near r with |r̃| ≤ Λ₀ and |Eᵀr̃| ≤ Λ₁, in float64: the dual of the problem has no other constraints.

    The second bound holds for r only in the limit. A common factor alone would let one pixel of small Λ₁ spoil the
    image. So first ½‖Eᵀr − clip(Eᵀr)‖² is made small within the first bound, by FEASIBILITY_STEPS accelerated steps of
    the projected gradient (Beck, Teboulle 2009); what is left takes a factor in [0, 1] for each image. Where Λ₁ = 0, r̃
    may end as 0, and the gap is large. Where Λ₁ is next to 0, rounding in float32 alone would make it so.
    """
    weight = weight.double()
    of_slope, of_change = weight[:, :1], weight[:, 1:]
    steps = _of_entries(weight, 1 / 8, 1 / 16)  # 1/4 by the columns of E, times 1/2 and 1/4 by its rows
    r = ahead = project_dual(r.double(), of_change)
    momentum = 1.0
    for _ in range(FEASIBILITY_STEPS):
        q = symmetrised_gradient_adjoint(ahead, boundary)
        excess = symmetrised_gradient(q - project_dual(q, of_slope), boundary)
        r_old, r = r, project_dual(ahead - steps * excess, of_change)
        momentum_old, momentum = momentum, (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        ahead = r + (momentum_old - 1) / momentum * (r - r_old)
    q = symmetrised_gradient_adjoint(r, boundary).abs()
    return r * torch.where(q > of_slope, of_slope / q, 1).amin((-3, -2, -1), keepdim=True)
