"""One function for every solver: `solve` runs the fastest one that can do what is asked, the same for λ and Λ."""

import functools
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any, NamedTuple, TypeGuard, TypeVar

import numpy as np
import torch

from .errors import StudyError
from .logs import log
from .operators import BOUNDARIES, NORMS, Weight
from .pdhg import DUAL_STARTS, as_weight, objective, pdhg, primal_dual_gap, ratio_derivative
from .tgv import as_weights, tgv, tgv_objective, tgv_primal_dual_gap

PENALTIES = ("tv", "tgv")
GRADIENTS = ("unrolled", "closed_form")
OF_TV_ALONE = {  # options that TGV takes in this form only
    "norm": "anisotropic",
    "dual_start": "zero",
    "lipschitz": 3,
    "gradient": "unrolled",
    "log_ratio": 0.0,
}

Result = TypeVar("Result")

_said = set()


class Solution(NamedTuple):
    """x_T and q_T with the certificate of x_T: primal value and primal-dual gap, one float64 number an image."""

    x: torch.Tensor
    q: torch.Tensor
    primal: torch.Tensor
    gap: torch.Tensor

    @property
    def relative_gap(self) -> torch.Tensor:
        """gap / primal value; 0 where both vanish (λ = 0)."""
        return self.gap / self.primal.clamp_min(torch.finfo(torch.float64).tiny)


def _arrays(z: torch.Tensor, weight: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """z and the weight as NumPy arrays, the weight with a map or two for every image."""
    return z.detach().numpy(), weight.expand(len(z), -1, *z.shape[-2:]).detach().numpy()


def _compiled_pdhg(norm: str) -> ModuleType:
    """The module of the compiled solver with this norm."""
    if norm == "isotropic":
        from . import isotropic_numba

        return isotropic_numba
    from . import pdhg_numba

    return pdhg_numba


class _NumbaPDHG(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        z: torch.Tensor,
        weight: torch.Tensor,
        norm: str,
        iterations: int,
        boundary: str,
        dual_start: str,
        lipschitz: int | str,
        log_ratio: float,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        compiled = _compiled_pdhg(norm)
        keep_codes = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        images, maps = _arrays(z, weight)

        def one(b: int) -> tuple[np.ndarray, np.ndarray, Any]:
            options = boundary, dual_start, lipschitz, keep_codes, log_ratio
            return compiled.forward(images[b, 0], maps[b], iterations, *options)

        solutions, duals, ctx.codes = zip(*_threaded(one, len(z)), strict=True)
        ctx.weight_shape, ctx.norm, ctx.log_ratio = weight.shape, norm, log_ratio
        ctx.options = boundary, dual_start, lipschitz
        q = torch.stack([torch.from_numpy(a) for a in duals])
        ctx.mark_non_differentiable(q)
        return torch.stack([torch.from_numpy(a) for a in solutions])[:, None], q

    @staticmethod
    def backward(ctx: Any, grad_x: torch.Tensor, _: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        gradients, compiled = grad_x.contiguous().numpy(), _compiled_pdhg(ctx.norm)
        maps = {"maps": ctx.weight_shape[1]} if ctx.norm == "anisotropic" else {}

        def one(b: int) -> tuple[np.ndarray | None, np.ndarray]:
            options = {"with_z": ctx.needs_input_grad[0], "log_ratio": ctx.log_ratio, **maps}
            return compiled.backward(gradients[b, 0], ctx.codes[b], *ctx.options, **options)

        of_z, of_weight = zip(*_threaded(one, len(gradients)), strict=True)
        grad_weight = torch.stack([torch.from_numpy(a) for a in of_weight])
        return (
            torch.stack([torch.from_numpy(a) for a in of_z])[:, None] if ctx.needs_input_grad[0] else None,
            _sum_to(grad_weight, ctx.weight_shape),
            *[None] * 6,
        )


class _ClosedFormPDHG(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: torch.Tensor, weight: torch.Tensor, *options: Any) -> tuple[torch.Tensor, torch.Tensor]:
        x, q = _NumbaPDHG.apply(z.detach(), weight.detach(), "anisotropic", *options)
        ctx.save_for_backward(x, q, weight)
        ctx.boundary = options[1]
        ctx.mark_non_differentiable(q)
        return x, q

    @staticmethod
    def backward(ctx: Any, grad_x: torch.Tensor, _: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        from . import closed_form

        x, q, weight = (tensor.detach() for tensor in ctx.saved_tensors)
        maps = weight.expand(len(x), -1, *x.shape[-2:])

        def one(b: int) -> tuple[torch.Tensor, torch.Tensor]:
            return closed_form.gradients(grad_x[b], x[b], q[b], maps[b], ctx.boundary)

        grad_z, grad_weight = (torch.stack(parts) for parts in zip(*_threaded(one, len(x)), strict=True))
        return grad_z, _sum_to(grad_weight, weight.shape), *[None] * 5


class _TritonPDHG(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        z: torch.Tensor,
        weight: torch.Tensor,
        iterations: int,
        boundary: str,
        dual_start: str,
        lipschitz: int | str,
        log_ratio: float | torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        from . import pdhg_triton

        keep_codes = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        options = iterations, boundary, dual_start, lipschitz
        x, q, ctx.codes = pdhg_triton.forward(z, weight, *options, keep_codes, log_ratio)
        ctx.weight_shape, ctx.options, ctx.log_ratio = weight.shape, options, log_ratio
        ctx.mark_non_differentiable(q)
        return x, q

    @staticmethod
    def backward(ctx: Any, grad_x: torch.Tensor, _: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        from . import pdhg_triton

        options = *ctx.options, ctx.needs_input_grad[0], ctx.log_ratio
        grad_z, grad_weight = pdhg_triton.backward(grad_x, ctx.codes, *options)
        return grad_z, _sum_to(grad_weight, ctx.weight_shape), *[None] * 5


class _NumbaTGV(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, z: torch.Tensor, weight: torch.Tensor, iterations: int, boundary: str
    ) -> tuple[torch.Tensor, ...]:
        from . import tgv_numba

        keep_codes = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        images, maps = _arrays(z, weight)

        def one(b: int) -> tuple[np.ndarray | None, ...]:
            return tgv_numba.forward(images[b, 0], maps[b], iterations, boundary, keep_codes)

        x, *fields, ctx.codes = zip(*_threaded(one, len(z)), strict=True)
        ctx.weight_shape, ctx.boundary = weight.shape, boundary
        others = [torch.from_numpy(np.stack(field)) for field in fields]
        ctx.mark_non_differentiable(*others)
        return torch.from_numpy(np.stack(x))[:, None], *others

    @staticmethod
    def backward(ctx: Any, grad_x: torch.Tensor, *_: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        from . import tgv_numba

        gradients = grad_x.contiguous().numpy()

        def one(b: int) -> tuple[np.ndarray, np.ndarray]:
            return tgv_numba.backward(gradients[b, 0], ctx.codes[b], ctx.boundary)

        grad_z, grad_weight = (torch.from_numpy(np.stack(g)) for g in zip(*_threaded(one, len(gradients)), strict=True))
        return grad_z[:, None], _sum_to(grad_weight, ctx.weight_shape), None, None


@functools.cache
def _triton_fault(device: torch.device) -> str:
    """Why Triton cannot run on `device`, found out by its first launch, which needs a C compiler; "" if it can."""
    try:
        from . import pdhg_triton

        z = torch.zeros(1, 1, 1, 1, device=device)
        pdhg_triton.forward(z, z, 1, "periodic", "zero", 3)
    except torch.OutOfMemoryError:
        raise
    except (ImportError, OSError, RuntimeError, AssertionError, subprocess.CalledProcessError) as error:
        return f" without Triton, or a C compiler for its launcher ({error})"
    return ""


def _sum_to(gradient: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Transpose of broadcasting a weight of `shape` to (B, 2, H, W)."""
    summed = [i for i, (n, m) in enumerate(zip(shape, gradient.shape, strict=True)) if n == 1 < m]
    return gradient.sum(summed, keepdim=True) if summed else gradient


def _threaded(function: Callable[[int], Result], n: int) -> list[Result]:
    """[function(0), …, function(n − 1)] over torch's threads: the compiled solver releases the global lock.

    Numbers below the smallest normal one count as 0 meanwhile: gradients that fade out over many iterations pass
    through them, and some processors compute ten times slower with them.
    """
    if n > 1:
        with ThreadPoolExecutor(
            torch.get_num_threads(), initializer=torch.set_flush_denormal, initargs=(True,)
        ) as pool:
            return list(pool.map(function, range(n)))
    flushed = np.finfo(np.float32).tiny / np.float32(2) == 0
    torch.set_flush_denormal(True)
    try:
        return [function(0)]
    finally:
        torch.set_flush_denormal(bool(flushed))


def _with_slope(
    x: torch.Tensor, log_ratio: float | torch.Tensor, z: torch.Tensor, weight: torch.Tensor, *options: Any
) -> torch.Tensor:
    """x, with its exact derivative by `log_ratio` if that is a tensor that needs a gradient; else nothing is computed.

    On a CPU by `pdhg_numba`, else by the reference. options: iterations, boundary, dual_start, lipschitz.
    """
    if not _needs_gradient(log_ratio):
        return x
    fixed = log_ratio.detach()
    if z.device.type == "cpu":
        from . import pdhg_numba

        images, maps = _arrays(z, weight)
        numbers = (*options, fixed.item())
        slopes = _threaded(lambda b: pdhg_numba.ratio_derivative(images[b, 0], maps[b], *numbers), len(z))
        slope = torch.stack([torch.from_numpy(a) for a in slopes])[:, None]
    else:
        _say_once(f"no fast derivative by the ratio of the steps on {z.device.type}: the reference runs")
        slope = ratio_derivative(z, weight, *(*options, fixed))
    return x + slope * (log_ratio - fixed)  # ρ − ρ = 0 has the slope 1


def _needs_gradient(log_ratio: float | torch.Tensor) -> TypeGuard[torch.Tensor]:
    return isinstance(log_ratio, torch.Tensor) and log_ratio.requires_grad and torch.is_grad_enabled()


def _say_once(message: str) -> None:
    if message not in _said:
        _said.add(message)
        log.info(message)


def _solve_tgv(
    z: torch.Tensor, weight: Weight, iterations: int = 256, boundary: str = "periodic", **of_tv: Any
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """(x_T, w_T, q_T, r_T) of `tgv.tgv`, by `tgv_numba` on the CPU, elsewhere by the reference, which says so once."""
    for name, value in of_tv.items():
        if value != OF_TV_ALONE[name]:
            raise StudyError(f"TGV: {name} {value!r} belongs to TV; set it to {OF_TV_ALONE[name]!r}")
    weight = as_weights(weight, z)
    if z.device.type == "cpu":
        return _NumbaTGV.apply(z.contiguous(), weight.contiguous(), iterations, boundary)
    _say_once(f"no fast solver for TGV on {z.device.type}: the reference runs")
    return tgv(z, weight, iterations, boundary)


def solve(
    z: torch.Tensor,
    weight: Weight,
    iterations: int = 256,
    boundary: str = "periodic",
    norm: str = "anisotropic",
    dual_start: str = "zero",
    lipschitz: int | str = 3,
    gradient: str = "unrolled",
    log_ratio: float | torch.Tensor = 0.0,
    penalty: str = "tv",
) -> tuple[torch.Tensor, torch.Tensor]:
    """(x_T, q_T) of Algorithm 1 for z (B, 1, H, W) and `weight` a number, (B,) or (B, 1 or 2, H, W); see `pdhg.pdhg`.

    penalty tgv: those of `tgv.tgv`, for two maps (B, 2, H, W), Λ₁ and Λ₀; norm, dual_start, lipschitz, gradient and
    log_ratio are of TV alone, and a `StudyError` unless left as they are.

    Differentiable in z and weight: exactly for these T steps ("unrolled"), or as if x_T were the solution
    ("closed_form", see there; the anisotropic norm on the CPU). x_T is differentiable in log_ratio too, exactly for the
    T steps. Runs `pdhg_numba` or `isotropic_numba` on the CPU, `pdhg_triton` on a GPU, the reference `pdhg` for what
    these cannot do (isotropic norm on a GPU or with a learned ratio, other devices, no Triton), and says so once.

    Raises:
        ValueError: an unknown option, or two maps for the isotropic norm.
        StudyError: options that exclude one another.
    """
    # Compiled solvers compare a name with one of its two values and take all else for the other.
    for name, value, known in (
        ("boundary", boundary, BOUNDARIES),
        ("norm", norm, NORMS),
        ("dual_start", dual_start, DUAL_STARTS),
        ("gradient", gradient, GRADIENTS),
        ("penalty", penalty, PENALTIES),
    ):
        if value not in known:
            raise ValueError(f"{name} must be one of {known}, not {value!r}")
    if penalty == "tgv":
        of_tv = {"norm": norm, "dual_start": dual_start, "lipschitz": lipschitz, "gradient": gradient}
        x, _, q, _ = _solve_tgv(z, weight, iterations, boundary, **of_tv, log_ratio=log_ratio)
        return x, q
    weight = as_weight(weight, z)
    fault, options = "", (iterations, boundary, dual_start, lipschitz)
    fixed = log_ratio.detach() if isinstance(log_ratio, torch.Tensor) else log_ratio
    learned = _needs_gradient(log_ratio)
    if gradient == "closed_form" and not (norm == "anisotropic" and z.device.type == "cpu"):
        raise StudyError(
            f"gradient: closed_form is for the anisotropic norm on the CPU, not {norm} on {z.device.type}; "
            "set training.gradient to unrolled, or solver.norm and device to these"
        )
    if gradient == "closed_form" and learned:
        raise StudyError("gradient: the solution does not depend on the steps; set network.steps to fixed")
    if z.device.type == "cpu" and (norm == "anisotropic" or norm == "isotropic" and not learned):
        # Row pieces of the compiled solver are contiguous whatever the memory format of the network's output.
        z, weight = z.contiguous(), weight.contiguous()
        if gradient == "closed_form":
            return _ClosedFormPDHG.apply(z, weight, *options, float(fixed))
        x, q = _NumbaPDHG.apply(z, weight, norm, *options, float(fixed))
        return _with_slope(x, log_ratio, z, weight, *options), q
    if norm == "anisotropic" and z.device.type == "cuda":
        fault = _triton_fault(z.device)
        if not fault:
            x, q = _TritonPDHG.apply(z, weight, *options, fixed)
            return _with_slope(x, log_ratio, z, weight, *options), q
    _say_once(f"no fast solver for the {norm} norm on {z.device.type}{fault}: the reference runs")
    return pdhg(z, weight, iterations, boundary, norm, dual_start, lipschitz, log_ratio)


def solve_certified(z: torch.Tensor, weight: Weight, penalty: str = "tv", **options: Any) -> Solution:
    """`solve` without gradients, with the primal value and the primal-dual gap; bad values are a `StudyError`."""
    with torch.inference_mode():
        weight = as_weights(weight, z) if penalty == "tgv" else as_weight(weight, z)
        check_problem(z, weight)
        if penalty == "tgv":
            x, w, q, r = _solve_tgv(z, weight, **options)
            fixed = {name: options[name] for name in ("boundary",) if name in options}
            primal = _image_by_image(tgv_objective, x, w, z, weight, **fixed)
            return Solution(x, q, primal, _image_by_image(tgv_primal_dual_gap, x, w, r, z, weight, **fixed))
        x, q = solve(z, weight, penalty=penalty, **options)
        fixed = {name: options[name] for name in ("boundary", "norm") if name in options}
        primal = _image_by_image(objective, x, z, weight, **fixed)
        return Solution(x, q, primal, _image_by_image(primal_dual_gap, x, q, z, weight, **fixed))


def _image_by_image(certify: Callable[..., torch.Tensor], *tensors: torch.Tensor, **options: Any) -> torch.Tensor:
    """Numbers of all images: in float64, so not of all of them at once, and no image's number depends on another."""
    split = [tensor.expand(len(tensors[0]), *tensor.shape[1:]).split(1) for tensor in tensors]
    return torch.cat([certify(*one, **options) for one in zip(*split, strict=True)])


def check_problem(z: torch.Tensor, weight: torch.Tensor) -> None:
    """A `StudyError` if z or the weight has values that are not finite, or the weight one that is negative."""
    check_finite(z, "noisy image")
    check_finite(weight, "regularisation weight")
    if (weight < 0).any():
        raise StudyError("regularisation weight: negative values; λ and Λ must be ≥ 0")


def check_finite(tensor: torch.Tensor, name: str) -> None:
    """A `StudyError` that says how many values of `tensor` are NaN or infinite, if any."""
    bad = (~torch.isfinite(tensor)).sum().item()
    if bad:
        raise StudyError(f"{name}: {bad} values are NaN or infinite; check the image and the noise settings")


def powers_of_two(most: int) -> list[int]:
    """1, 2, 4, … up to `most`: after how many iterations a convergence is looked at."""
    return [2**k for k in range(int(most).bit_length())]
