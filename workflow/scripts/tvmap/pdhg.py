"""The primal-dual hybrid gradient method for (16), the objective and the primal-dual gap: the readable reference.

With K = [I; ∇], f(x) = 0 and g(p, q) = ½‖p − z‖² + ‖Λ∘q‖₁, (16) is min_x g(Kx). Its saddle-point form

    min_x max_{p, |q| ≤ Λ} ⟨x, p⟩ + ⟨∇x, q⟩ − ½‖p‖² − ⟨p, z⟩

is what Algorithm 1 iterates on. Autograd works through every line.
"""

import math
from collections.abc import Callable
from typing import Any

import torch

from .operators import Weight, gradient, gradient_adjoint, project_dual

DUAL_STARTS = ("zero", "image")
LIPSCHITZ = {3: 3.0, "sqrt13": math.sqrt(13)}


def step_sizes(
    lipschitz: int | str = 3, log_ratio: float | torch.Tensor = 0.0
) -> tuple[float | torch.Tensor, float | torch.Tensor]:
    """(primal_step τ, dual_step σ) = (exp(ρ)/L, exp(−ρ)/L).

    So τσ‖[I; ∇]‖² ≤ τσL² = 1 for every ρ: convergence is guaranteed (Chambolle, Pock 2011; Sidky et al. 2012; with
    equality Condat 2013), and only its pace depends on ρ. One number, and not a pair for each iteration: it means
    something for every T, not only for that of the training.

    `lipschitz`: 3, the bound √(1 + 8) in two dimensions, or "sqrt13", a bound in three (the published code's).
    `log_ratio`: ρ, a number or a tensor without dimensions.

    Raises:
        ValueError: unknown `lipschitz`.
    """
    if lipschitz not in LIPSCHITZ:
        raise ValueError(f"lipschitz must be one of {list(LIPSCHITZ)}, not {lipschitz!r}")
    exp: Callable[[Any], Any] = torch.exp if isinstance(log_ratio, torch.Tensor) else math.exp
    return exp(log_ratio) / LIPSCHITZ[lipschitz], exp(-log_ratio) / LIPSCHITZ[lipschitz]


def as_weight(weight: Weight, z: torch.Tensor) -> torch.Tensor:
    """λ or Λ as a tensor that broadcasts against (B, 2, H, W): a number, (B,), or (B, 1 or 2, H, W)."""
    weight = torch.as_tensor(weight, dtype=z.dtype, device=z.device)
    return weight.reshape(-1, 1, 1, 1) if weight.ndim < 2 else weight


def pdhg(
    z: torch.Tensor,
    weight: Weight,
    iterations: int = 256,
    boundary: str = "periodic",
    norm: str = "anisotropic",
    dual_start: str = "zero",
    lipschitz: int | str = 3,
    log_ratio: float | torch.Tensor = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Algorithm 1: T = `iterations` steps from x₀ = x̄₀ = z, q₀ = 0 and p₀ = 0 ("zero") or z ("image").

    z: (B, 1, H, W); weight: see `as_weight`, not negative; lipschitz, log_ratio: see `step_sizes`. Returns (x_T, q_T),
    shapes (B, 1, H, W) and (B, 2, H, W).

    Raises:
        ValueError: an unknown option, or two maps for the isotropic norm.
    """
    if dual_start not in DUAL_STARTS:
        raise ValueError(f"dual_start must be one of {DUAL_STARTS}, not {dual_start!r}")
    weight = as_weight(weight, z)
    primal_step, dual_step = step_sizes(lipschitz, log_ratio)
    x = x_bar = z
    p = torch.zeros_like(z) if dual_start == "zero" else z
    q = torch.zeros_like(z).repeat(1, 2, 1, 1)
    for _ in range(iterations):
        p = (p + dual_step * (x_bar - z)) / (1 + dual_step)
        q = project_dual(q + dual_step * gradient(x_bar, boundary), weight, norm)
        x_old, x = x, x - primal_step * (p + gradient_adjoint(q, boundary))
        x_bar = 2 * x - x_old  # θ = 1
    return x, q


@torch.no_grad()
def ratio_derivative(
    z: torch.Tensor,
    weight: Weight,
    iterations: int,
    boundary: str,
    dual_start: str,
    lipschitz: int | str,
    log_ratio: float | torch.Tensor,
) -> torch.Tensor:
    """∂x_T/∂ρ, (B, 1, H, W), of `pdhg` with the anisotropic norm; exact for the T steps, and the same for every loss.

    In forward mode: every iterate takes its derivative (d_) along, so that none has to be stored. dτ = τ, dσ = −σ, and
    the projection passes on what it does not stop.
    """
    weight = as_weight(weight, z)
    primal_step, dual_step = step_sizes(lipschitz, log_ratio)
    x = x_bar = z
    p = torch.zeros_like(z) if dual_start == "zero" else z
    q = torch.zeros_like(z).repeat(1, 2, 1, 1)
    d_x, d_x_bar, d_p, d_q = (torch.zeros_like(tensor) for tensor in (x, x_bar, p, q))
    for _ in range(iterations):
        residual, differences = x_bar - z, gradient(x_bar, boundary)
        p = (p + dual_step * residual) / (1 + dual_step)
        d_p = (d_p + dual_step * (d_x_bar - residual + p)) / (1 + dual_step)
        q = q + dual_step * differences
        d_q = (d_q + dual_step * (gradient(d_x_bar, boundary) - differences)) * (q.abs() <= weight)
        q = project_dual(q, weight)
        change = primal_step * (p + gradient_adjoint(q, boundary))
        d_change = change + primal_step * (d_p + gradient_adjoint(d_q, boundary))
        x, d_x = x - change, d_x - d_change
        x_bar, d_x_bar = x - change, d_x - d_change
    return d_x


def objective(
    x: torch.Tensor, z: torch.Tensor, weight: Weight, boundary: str = "periodic", norm: str = "anisotropic"
) -> torch.Tensor:
    """The primal value ½‖x − z‖² + ‖Λ∘∇x‖₁ of (16), one number an image, in float64."""
    x, z = x.double(), z.double()
    differences = gradient(x, boundary)
    if norm == "isotropic":
        differences = torch.linalg.vector_norm(differences, dim=-3, keepdim=True)
    penalty = as_weight(weight, z) * differences.abs()
    return (x - z).square().sum((-3, -2, -1)) / 2 + penalty.sum((-3, -2, -1))


def primal_dual_gap(
    x: torch.Tensor,
    q: torch.Tensor,
    z: torch.Tensor,
    weight: Weight,
    boundary: str = "periodic",
    norm: str = "anisotropic",
) -> torch.Tensor:
    """Primal value − dual value ½‖z‖² − ½‖z − ∇ᵀq‖², for q with |q| ≤ Λ; one number ≥ 0 an image, in float64.

    It certifies x: the objective is 1-strongly convex, so ½‖x − x̂‖² ≤ gap.
    """
    z64 = z.double()
    dual = (z64.square() - (z64 - gradient_adjoint(q.double(), boundary)).square()).sum((-3, -2, -1)) / 2
    return objective(x, z, weight, boundary, norm) - dual
