"""Denoising of one's own images: by TV with a number or a map, by a trained network, by SURE.

`denoise_tv` is the plain solver for NumPy arrays and torch tensors; the others are what the command `tvmap` calls.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from scipy import ndimage

from . import machine, network, provenance
from .errors import StudyError
from .files import PathLike
from .logs import log
from .noise import estimate_noise_std
from .operators import Weight
from .pdhg import as_weight
from .provenance import REFERENCE
from .solver import Solution, check_problem, powers_of_two, solve, solve_certified
from .tgv import as_weights

MOST_ITERATIONS = 2**17
STALLED = 0.7  # twice the steps in float32, and the gap is still more than this part of what it was
STANDS_STILL = 0.95  # the same in float64, where smooth images with a large λ fall slowly at first, 0.9 at times
UNCERTIFIED = 0.1  # from such a relative gap on the result need not be near the solution; the study asks for 1e-3
NEGLIGIBLE = 1 / 510  # half a step of 8 bits: errors below it, as a part of the image's own range, are not seen
ROUNDING = 1e-6  # of float32, some steps after each other
EXACT = 4 * torch.finfo(torch.float64).eps  # of the largest value: a smaller error is rounding of float64
SURE_RANGE = (0.05, 5)  # of λ, in units of the noise's standard deviation
SOLVER_BYTES = {"tv": (35, 90), "tgv": (115, 410)}  # a pixel, measured: for each channel, and once, of the certificate
NETWORK_BYTES = 900  # a pixel that the U-Net sees at once
SURE_BYTES = 880  # a pixel: the solutions for all λ that are tried on a channel
TOLERANCE = 0.1  # the estimate of the noise of one image is a few per cent off; so near to the range counts as in it
MOST_FLAT = 0.1  # of an image: more of it pulls the estimate of its noise down by more than that few per cent
NO_NOISE = "no noise can be estimated: it is one row or column, or more than half of it is flat, such as a margin"
COLOURS = ("red", "green", "blue")
LAST_AXIS_OF_COLOURS = (3, 4)  # so long a last axis, with longer ones before it, is likely that of the colours

Device = torch.device | str | None
Numbers = TypeVar("Numbers", np.ndarray, torch.Tensor)


def denoise_tv(
    image: np.ndarray | torch.Tensor,
    weight: Weight | np.ndarray,
    *,
    iterations: int = 256,
    gap: float | None = None,
    boundary: str = "periodic",
    norm: str = "anisotropic",
    penalty: str = "tv",
    channel_axis: int | None = None,
) -> np.ndarray | torch.Tensor:
    """argmin_x ½‖x − z‖² + ‖Λ∘∇x‖₁, by T = `iterations` steps of PDHG or to a certified precision.

    Args:
        image: z, a NumPy array or a torch tensor (..., H, W) of real numbers; leading axes are independent images (or
            channels). float64 is computed in float64, everything else in float32; nothing is rescaled. An image
            (H, W, 3) needs `channel_axis`: without it, it is H images of W × 3 pixels, which is said.
        weight: λ, a number ≥ 0, or Λ of the same kind as the image: (H, W) or (..., H, W); with one axis more than the
            image, (..., 2, H, W), a map for each direction, vertical first. In units of the image.
        iterations: T.
        gap: if given, T is doubled until each image's primal-dual gap is at most `gap` times its primal value P, which
            bounds the error, ½‖x − x̂‖² ≤ gap · P for the minimiser x̂. Then there is no derivative.
        boundary: periodic | neumann.
        norm: anisotropic | isotropic (of the pair of differences of a pixel).
        penalty: tv, or tgv: second-order total generalised variation with (Λ₁, Λ₀), a pair of numbers or two maps.
        channel_axis: the axis of the image that holds its channels, as in scikit-image, such as −1 for (H, W, 3); each
            is an image of its own. A weight of as many axes as the image has its channels there too; one with an axis
            more has them first: (C or 1, 2, H, W) for (H, W, C). None: (..., H, W).

    Returns:
        x_T, of the image's kind, shape, and device. Where image or weight is a tensor that needs a gradient, it is a
        tensor, differentiable in both, exactly for these T steps.

    Raises:
        StudyError: shapes that do not fit, values that are NaN, infinite or negative where they must not be, or a gap
            that is not reached, as it falls no more or 131,072 steps are too few.
        ValueError: an unknown boundary, norm or penalty.

    Source: Chambolle, Pock (2011), Algorithm 1; the dissertation's (16).
    """
    if penalty == "tgv" and norm != "anisotropic":
        raise StudyError(f"norm: {norm!r} belongs to TV; TGV has the anisotropic one")
    if iterations < 1 or iterations != int(iterations):
        raise StudyError(f"iterations: {iterations}; a whole number, at least 1, is needed")
    as_numpy = not isinstance(image, torch.Tensor)
    z = _tensor(image, "image")
    if channel_axis is not None:
        if not (z.ndim > 2 and -z.ndim <= channel_axis < z.ndim):
            what = "give one of its axes" if z.ndim > 2 else "leave it out"
            raise StudyError(f"channel_axis: {channel_axis} for an image of shape {tuple(z.shape)}; {what}")
        weight = _tensor(weight, "weight")
        weight = weight.movedim(channel_axis, -3) if weight.ndim == z.ndim else weight
        z = z.movedim(channel_axis, -3)
    elif z.ndim > 2 and z.shape[-1] in LAST_AXIS_OF_COLOURS and min(z.shape[-3:-1]) > max(LAST_AXIS_OF_COLOURS):
        height, width, n = z.shape[-3:]
        log.warning(
            "image: %d × %d × %d is taken for %d images of %d × %d pixels; if the last axis holds colours, give "
            "channel_axis=-1",
            height,
            width,
            n,
            height,
            width,
            n,
        )
    if z.ndim < 2 or not z.numel() or z.is_complex():
        raise StudyError(f"image: {z.dtype} of shape {tuple(z.shape)}; it must be (..., H, W) and hold real numbers")
    shape, z = z.shape, z.reshape(-1, 1, *z.shape[-2:])
    z = z if z.dtype == torch.float64 else z.float()
    note = "" if channel_axis is None else ", the axis of the channels moved to the front"
    weight = _weight_of(weight, shape, z, penalty, note)
    check_problem(z, weight)
    options: dict[str, Any] = {"boundary": boundary, "penalty": penalty} | ({"norm": norm} if penalty == "tv" else {})
    if norm == "isotropic" and weight.ndim == 4 and weight.shape[1] == 2:
        raise StudyError("weight: two maps, one for each direction; the isotropic norm takes one")
    if gap is None:
        x = solve(z, weight, iterations=iterations, **options)[0]
    else:
        # A copy, out of inference mode: an ordinary tensor again.
        solution, steps = _to_gap(z.detach(), weight.detach(), gap, options)
        if _short_of(gap, solution.relative_gap, _error(solution, z), z.abs().amax((1, 2, 3))).any():
            reached = solution.relative_gap.max().item()
            raise StudyError(f"gap: {gap:g} is not reached but {reached:.1e}, by {steps:,} steps; give a wider one")
        x = solution.x.to(z.dtype, copy=True)
    x = x.reshape(shape)
    x = x if channel_axis is None else x.movedim(-3, channel_axis).contiguous()
    return x.numpy() if as_numpy and not x.requires_grad else x


class Denoised(NamedTuple):
    """What became of an image, channel by channel: x (C, H, W), its weight (C,) or (C, maps, H, W), the certificate.

    `gap`: relative primal-dual gap of each channel; `error`: what it bounds, the root mean square of x − x̂, √(2 gap/n);
    `options`: of the solver, and its device; `flat`: what `flat_in_part` says, if the weight came from an estimate of
    the noise.
    """

    x: np.ndarray
    weight: np.ndarray
    penalty: str
    gap: np.ndarray
    error: np.ndarray
    iterations: int
    options: dict
    flat: str | None = None


def by_weight(
    channels: np.ndarray,
    weight: Weight | np.ndarray,
    *,
    device: Device = None,
    penalty: str = "tv",
    **options: Any,
) -> Denoised:
    """`Denoised` of channels (C, H, W) with λ, (1 or C,), or maps, (1 or C, maps, H, W) or (maps, H, W), of a penalty.

    TGV's two numbers are maps (1, 2, 1, 1). options: iterations or gap, and others of the solver. Where the gap cannot
    be reached, the result has the smallest that was, which `uncertified` says.

    Raises:
        StudyError: a map of another size than the image, or values that are not finite or a weight below 0.
    """
    _check_memory(_solver_bytes(channels, penalty), device)
    return _solved(channels, weight, device=device, penalty=penalty, **options)


def _solved(
    channels: np.ndarray,
    weight: Weight | np.ndarray,
    *,
    iterations: int = 256,
    gap: float | None = None,
    device: Device = None,
    penalty: str = "tv",
    **options: Any,
) -> Denoised:
    """What `by_weight` returns, for callers that have said how much memory it takes, or have had it already."""
    z = _batch(channels, device)
    weight = torch.as_tensor(np.asarray(weight, np.float32), device=z.device)
    weight = weight[None] if weight.ndim == 3 else weight
    weight = weight.expand(len(z), *weight.shape[1:])
    if weight.ndim == 4 and weight.shape[-2:] not in (z.shape[-2:], (1, 1)):
        shapes = tuple(weight.shape[-2:]), tuple(z.shape[-2:])
        raise StudyError(f"the map has {shapes[0]} pixels, the image {shapes[1]}; they must be the same")
    options |= {"penalty": penalty}
    if gap is None:
        solution = solve_certified(z, weight, iterations=iterations, **options)
    else:
        solution, iterations = _to_gap(z, weight, gap, options)
    results = solution.x[:, 0], weight, solution.relative_gap, _error(solution, z)
    x, weight, relative, error = (t.cpu().numpy() for t in results)
    options |= {"device": device}
    return Denoised(x, weight, penalty, relative, error, iterations, options)


def numbers_in_words(found: Denoised) -> str:
    """λ = …, of each channel if they differ, or TGV's λ₁, λ₀ = …; "" of maps."""
    if found.weight.ndim > 1 and found.weight.shape[-2:] != (1, 1):
        return ""
    each = found.weight.reshape(len(found.weight), -1)
    each = each if (each != each[0]).any() else each[:1]
    names = "λ₁, λ₀" if found.penalty == "tgv" else "λ"
    return f"{names} = " + ", ".join(short(number) for number in each.ravel())


def short(number: float) -> str:
    """A number in three digits, or all of those of a larger whole part: 0.0275, 1000, 1e-05."""
    return f"{number:.0f}" if 100 <= abs(number) < 1e6 else f"{number:.3g}"


def by_network(channels: np.ndarray, trained: network.MapNetwork, *, device: Device = None, **options: Any) -> Denoised:
    """`Denoised` of channels (C, H, W), each with the map that the network `trained` predicts from it."""
    if min(channels.shape[-2:]) <= trained.padding:
        raise StudyError(
            f"an image of {' × '.join(map(str, channels.shape[-2:]))} pixels is too small for this network, which pads "
            f"by {trained.padding}; take a λ, or --weight sure"
        )
    of_network = NETWORK_BYTES * network.pixels_at_once(*channels.shape[-2:])
    _check_memory(max(of_network, _solver_bytes(channels, trained.penalty)), device)
    z = _batch(channels, device)
    maps = network.predict(trained.to(z.device), z).cpu().numpy()
    own: dict[str, Any] = {"log_ratio": float(trained.weights().get("log_ratio", 0))} if trained.penalty == "tv" else {}
    found = _solved(channels, maps, device=device, penalty=trained.penalty, **own, **options)
    return found if trained.noise_estimate == "none" else found._replace(flat=flat_in_part(channels, True))


def by_sure(channels: np.ndarray, *, boundary: str = "periodic", **options: Any) -> Denoised:
    """`Denoised` of channels (C, H, W), each with the λ of the least SURE for the noise that is estimated from it.

    Raises:
        StudyError: no noise in the image.
    """
    from .parameter_choice import choose_by_sure

    _check_memory(SURE_BYTES * channels[0].size)  # more than the solver takes for all channels
    weights = []
    for z in channels:
        std, _ = estimated_noise(z)
        if not std > 0:
            raise StudyError(f"{NO_NOISE}; give λ as a number")
        low, high = (share * std for share in SURE_RANGE)
        weights.append(choose_by_sure(z, std, low, high, boundary).weight)
    found = _solved(channels, np.array(weights), boundary=boundary, **options)
    return found._replace(flat=flat_in_part(channels, False))


def convergence(channels: np.ndarray, found: Denoised) -> tuple[list[int], list[float]]:
    """([1, 2, 4, …, T], relative gaps) of the one of the channels (C, H, W) whose gap in `found` is the largest."""
    at = int(np.argmax(found.gap))
    # A small gap was found in float64, and is not there in float32.
    channel, weight = channels[at : at + 1].astype(found.x.dtype), found.weight[at : at + 1]
    counts = powers_of_two(found.iterations - 1)
    gaps = [_solved(channel, weight, iterations=count, **found.options).gap.item() for count in counts]
    return [*counts, found.iterations], [*gaps, found.gap[at].item()]


def noise_levels(channels: np.ndarray) -> tuple[float, ...]:
    """The noise level of each of the channels (C, H, W), estimated: std(noise)/std(image without noise)."""
    found = []
    for z in channels:
        std, flat = estimated_noise(z)
        clean = math.sqrt(max(float(np.var(z, dtype=np.float64)) - (1 - flat) * std**2, 0))
        found.append(0.0 if std == 0 else std / clean if clean else math.inf)
    return tuple(found)


def estimated_noise(z: np.ndarray) -> tuple[float, float]:
    """(std, flat): the standard deviation of the noise of z (H, W), estimated, and what part of z is flat.

    Margins and what is saturated have no noise, so where more than MOST_FLAT is flat, the estimate is that of the
    other blocks of 2 × 2 pixels; otherwise, or where most is flat and the estimate 0, flat is 0. Flat is a region of at
    least 4 × 4 pixels of one value: in an image of few grey values smaller ones are equal by chance, all over it.
    """
    std = estimate_noise_std(z)
    if std == 0:
        return std, 0.0
    down, right = z[1:] == z[:-1], z[:, 1:] == z[:, :-1]
    flat = ndimage.binary_opening(down[:, 1:] & down[:, :-1] & right[1:], np.ones((3, 3)))  # a pixel is a block here
    part = float(flat.mean())
    if part <= MOST_FLAT:
        return std, 0.0
    return estimate_noise_std(z, ~flat), part


def flat_in_part(channels: np.ndarray, by_network: bool) -> str | None:
    """A sentence if more than MOST_FLAT of channels (C, H, W) is flat, but not so much that no noise is found."""
    flat = max(estimated_noise(z)[1] for z in channels)
    found = f"{100 * flat:.0f} % of it is flat, such as a margin or what is saturated"
    if flat == 0:
        return None
    if by_network:  # which estimates from all of it, as it has learned to
        return f"{found}: the noise is underestimated; cut a margin off, or give λ"
    return f"{found}: the noise is estimated from the rest; cut a margin off, or give λ, if the result looks wrong"


def outside_training(levels: Sequence[float], trained_on: tuple[float, float]) -> list[str]:
    """Sentences on the noise levels, of one channel or of three, that are outside (low, high), those of the training.

    One for all channels of which the same is to be said; of three it names them.
    """
    low, high = trained_on
    found: dict[str, list[int]] = {}
    for at, level in enumerate(levels):
        if not low * (1 - TOLERANCE) <= level <= high * (1 + TOLERANCE):
            kind = "clean" if level == 0 else "below" if level < low else "above" if level < math.inf else "noise"
            found.setdefault(kind, []).append(at)
    said = []
    for kind, channels in found.items():
        about = ", ".join(f"{levels[at]:.2g}" for at in channels)
        name = ", ".join(COLOURS[at] for at in channels) + ": " if len(levels) > 1 else ""
        if kind == "clean":
            result = "the network takes it for clean and leaves it nearly as it is: cut a margin off, or give λ"
            said.append(f"{name}{NO_NOISE}; {result}")
            continue
        start = "nothing but noise, above" if kind == "noise" else f"noise level about {about}, {kind}"
        said.append(
            f"{name}{start} the {low:g} to {high:g} that the network was trained on: "
            "look at the result with care, or compare with --weight sure"
        )
    return said


def uncertified(channels: np.ndarray, found: Denoised, gap: float | None = None) -> str | None:
    """A sentence if the gap that was asked for is not reached, or if the one that is is above UNCERTIFIED; else None.

    A channel whose gap is above UNCERTIFIED counts as solved, too, if the error that it bounds is NEGLIGIBLE beside the
    range of its values, or rounding.
    """
    low, high = (end(channels, axis=(-2, -1)).astype(np.float64) for end in (np.min, np.max))
    largest = np.maximum(np.abs(low), np.abs(high))
    bound = NEGLIGIBLE * (high - low) + ROUNDING * largest
    short = _short_of(math.inf if gap is None else gap, found.gap, found.error, largest)
    those = short if short.any() else (found.gap > UNCERTIFIED) & (found.error > bound)
    if not those.any():
        return None
    reached, error = found.gap[those].max(), found.error[those].max()
    off = f"the result may differ from the solution by {error:.2g} of the range (root mean square)"
    if short.any():
        return f"--gap {gap:g} is not reached but {reached:.1e}, by {found.iterations:,} steps; {off}; give a wider gap"
    return f"relative gap {reached:.1e}: not certified, {off}; give more --iterations, or a --gap such as 1e-3"


def reaches(channels: np.ndarray, found: Denoised, gap: float | None) -> bool:
    """Whether every channel has the relative gap that was asked for, if one was."""
    return gap is None or not _short_of(gap, found.gap, found.error, np.abs(channels).max(axis=(-2, -1))).any()


def load_trained(
    path: PathLike | None = None,
) -> tuple[network.MapNetwork, tuple[float, float] | None, dict[str, Any]]:
    """(network, noise levels of its training or None, options of the solver) of a file of weights, or of the reference.

    Levels and options are those of the study whose provenance.json lies in the folder above the file's. Levels are
    None, which is said, where the noise was absolute or there is no such file.

    Raises:
        StudyError: not the weights of a network that predicts maps, none that come with the project, or a
            provenance.json that cannot be read. Without one the options are the defaults, which is said.
    """
    if path is None:
        package = Path(__file__).parent
        installed = package / "reference"  # what a wheel brings along; in the repository it lies with the results
        folder = installed if installed.is_dir() else package.parents[2] / "results/reference" / REFERENCE
        path = folder / "model/last.safetensors"
        if not path.is_file():
            raise StudyError(f"{path}: the weights that come with the project are not there; give others by --model")
    trained = network.load_network(path)
    if trained.predicts != "map":
        raise StudyError(f"{path}: weights of a network that predicts the image itself, not a map; leave --model out")
    trained.in_bfloat16 = False  # a precision for speed; the map of an image should not depend on it
    record = Path(path).resolve().parent.parent / "provenance.json"
    if not record.is_file():
        log.warning("%s is missing: solved with the default options, noise levels are not compared", record)
        return trained, None, {}
    try:
        config = provenance.read(record)["config"]
        solver = {name: config["solver"][name] for name in ("boundary", "norm", "dual_start", "lipschitz")}
        solver = solver if trained.penalty == "tv" else {"boundary": solver["boundary"]}
        train_level = config["noise"]["train_level"] if config["noise"]["kind"] == "relative" else None
        levels = None
        if train_level is not None:
            low, high = map(float, train_level if isinstance(train_level, list) else [train_level, train_level])
            levels = low, high
        else:
            log.warning("%s: trained with noise of given standard deviations: noise levels are not compared", path)
        weight = torch.zeros(1, 2 if trained.penalty == "tgv" else 1, 2, 2)
        solve(torch.zeros(1, 1, 2, 2), weight, **solver, iterations=1, penalty=trained.penalty)  # knows what there is
    except (KeyError, TypeError, ValueError, StudyError) as error:
        said = f"{record}: not the provenance of a study ({type(error).__name__}: {error})"
        raise StudyError(f"{said}; bring the one that belongs to the weights, or none") from error
    return trained, levels, solver


def _solver_bytes(channels: np.ndarray, penalty: str) -> int:
    """Bytes that solver and certificate take for channels (C, H, W)."""
    each, once = SOLVER_BYTES[penalty]
    return (each * len(channels) + once) * channels[0].size


def _check_memory(needed: int, device: Device = None) -> None:
    """Warn where more is needed than is free in the computer: the system may kill a process without a word."""
    free = machine.free_memory()
    if torch.device(device or "cpu").type == "cpu" and free is not None and needed > free:
        message = "about %.1f GB are needed for this image, %.1f are free; if it ends here, cut the image into pieces"
        log.warning(message, needed / 1e9, free / 1e9)


def _batch(channels: np.ndarray, device: Device) -> torch.Tensor:
    """Channels (C, H, W) as a batch of C images."""
    return torch.from_numpy(np.ascontiguousarray(channels))[:, None].to(device or "cpu")


def _tensor(values: Weight | np.ndarray, name: str) -> torch.Tensor:
    """A tensor as it is; of anything else a copy as a tensor, float64 where it is, or is given as Python numbers."""
    if isinstance(values, torch.Tensor):
        return values
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "iubf":
            raise TypeError(f"{array.dtype} values")
        double = array.dtype.kind == "f" and array.dtype.itemsize > 4 or not isinstance(values, np.ndarray)
        return torch.from_numpy(np.array(array, dtype=np.float64 if double else np.float32))
    except (TypeError, ValueError) as error:
        raise StudyError(f"{name}: {error}; real numbers are needed") from None


def _weight_of(
    weight: Weight | np.ndarray, shape: Sequence[int], z: torch.Tensor, penalty: str, note: str
) -> torch.Tensor:
    """λ or Λ of `denoise_tv` as the solver takes it: a number, (B, 1, H, W) or (B, 2, H, W); note: on the shapes."""
    weight = _tensor(weight, "weight").to(z.device, z.dtype)
    n, _, height, width = z.shape
    message = f"weight: shape {tuple(weight.shape)} for an image of shape {tuple(shape)}{note}"
    if weight.ndim >= 2 and weight.shape[-2:] != shape[-2:]:
        raise StudyError(f"{message}; (H, W) must agree")
    # (..., 1, H, W) with (..., 2, H, W) is what a network predicts: two maps for the one channel.
    of_channel = weight.ndim == len(shape) > 2 and shape[-3] == 1 and weight.shape[-3] == 2
    try:
        if weight.ndim > len(shape) or of_channel:
            leading = shape[:-3] if of_channel else shape[:-2]
            weight = weight.expand(*leading, *weight.shape[-3:]).reshape(n, -1, height, width)
        elif weight.ndim >= 2:
            weight = weight.expand(*shape).reshape(n, 1, height, width)
    except RuntimeError:
        raise StudyError(f"{message}; its leading axes must be those of the image, or none") from None
    if weight.ndim == 4 and weight.shape[1] not in (1, 2):
        raise StudyError(f"{message}; one map or two are needed")
    if weight.ndim == 1 and not (penalty == "tgv" and weight.shape == (2,)):
        raise StudyError(f"weight: shape {tuple(weight.shape)}; a number, a map (H, W), or for TGV a pair of either")
    return as_weights(weight, z) if penalty == "tgv" else as_weight(weight, z)


def _to_gap(z: torch.Tensor, weight: torch.Tensor, gap: float, options: Mapping[str, Any]) -> tuple[Solution, int]:
    """(`Solution`, T) for the first T = 64, 128, … at which every image's relative gap is at most `gap`.

    Where that is not to be had, those of the smallest gap: the gap falls no more in float64, as rounding or, of TGV, a
    weight next to 0 bounds it from below, or T = MOST_ITERATIONS is not enough.
    """
    if not 0 < gap < math.inf:
        raise StudyError(f"gap: {gap}; it must be a number > 0, such as 1e-4")
    # float32 carries a gap of some 1e-6; below it, the steps are taken in float64.
    z = z if gap >= 1e-5 else z.double()
    largest = z.abs().amax((1, 2, 3)).double()
    iterations, standing, nothing = 64, 0, z.new_empty(0)
    previous, best = None, None
    while iterations <= MOST_ITERATIONS:
        solution = solve_certified(z, weight, iterations=iterations, **options)
        solution = solution._replace(q=nothing)  # which takes much memory, and is not asked for
        reached = solution.relative_gap.max().item()
        if not _short_of(gap, solution.relative_gap, _error(solution, z), largest).any():
            return solution, iterations
        if best is None or reached <= best[0].relative_gap.max().item():
            best = solution, iterations
        if previous is not None and z.dtype == torch.float64:
            standing = standing + 1 if _stands_still(solution, previous, gap, iterations) else 0
            # What happens at one side of an image takes a step a pixel, or more, to be felt at the other.
            if standing > 1 and iterations > 4 * max(z.shape[-2:]):
                break
        elif previous is not None and reached > STALLED * previous.relative_gap.max().item():
            z, previous = z.double(), None  # where an image is bright, float32 carries less
            continue
        iterations, previous = 2 * iterations, solution._replace(x=nothing)
    assert best is not None
    return best


def _error(solution: Solution, z: torch.Tensor) -> torch.Tensor:
    """√(2 gap/n), which bounds the root mean square of x − x̂, of each of the images z (B, 1, H, W)."""
    return (2 * solution.gap.clamp_min(0) / z[0].numel()).sqrt()


def _short_of(gap: float, relative_gap: Numbers, error: Numbers, largest: Numbers) -> Numbers:
    """Which images have not the relative gap that is asked for. largest: the largest |z| of each.

    Where x = z, as for λ = 0, gap and primal value are rounding, and their ratio means nothing: that is no shortage.
    """
    return (relative_gap > gap) & (error > EXACT * largest)


def _stands_still(now: Solution, before: Solution, gap: float, iterations: int) -> bool:
    """Whether no image that has not reached `gap` has come nearer to it since half of the `iterations`.

    Two things may: the gap falls; or the dual value D rises, from 0 and at most as the number of steps does, while the
    gap is still about the primal value P. If D/P would not come up to 1 by MOST_ITERATIONS, that is no hope.
    """
    open_ones = now.relative_gap > gap
    share, share_before = 1 - now.relative_gap, 1 - before.relative_gap
    rises = (share * STANDS_STILL > share_before) & (share * (MOST_ITERATIONS / iterations) > 0.5)
    falls = now.gap < STANDS_STILL * before.gap
    return not (open_ones & (rises | falls)).any().item()
