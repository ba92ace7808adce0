"""The rivals that are not anisotropic total variation: isotropic TV, TGV, non-local means, wavelet shrinkage, BM3D.

Each has a `strength`: a factor of the noise's standard deviation, so that one value, tuned on the validation images,
suits all noise levels. TGV has a second factor, of its weight of second order; non-local means the width of its patches
and how far these are sought, in pixels. All are deterministic.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from .errors import StudyError
from .grid import best_index
from .metrics import psnr
from .solver import solve

PLATEAU = 0.01  # dB
WHOLE = ("patch", "distance")
WAVELET, LEVELS, SHIFTS = "sym4", 4, 4  # 4 × 4 shifts gain 3 to 5 dB over none; 8 × 8 less than 0.1 dB more

PARAMETERS: dict[str, dict[str, tuple[float, ...]]] = {
    "tv-isotropic": {"strength": (0.5, 0.63, 0.8, 0.85, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.6, 2.0)},
    # A large strength has no influence: w is then the slope itself, and TGV total variation of the slopes.
    "tgv": {
        "strength": (0.4, 0.5, 0.63, 0.8, 1.0, 1.25, 1.6, 2.0, 3.2, 5.0),
        "second": (0.14, 0.16, 0.18, 0.22, 0.26, 0.3, 0.35, 0.42, 0.5, 0.7, 1.0, 1.4),
    },
    "nlm": {
        "strength": (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.3, 1.6),
        "patch": (3, 5, 7, 9, 11, 13, 17, 21, 25),  # pixels along a side
        "distance": (1, 2, 3, 5, 11),  # from the pixel, so 11 seeks in 23 × 23
    },
    "wavelet": {"strength": (0.7, 0.8, 0.9, 0.95, 0.975, 1.0, 1.025, 1.05, 1.1, 1.2, 1.3)},
    "bm3d": {"strength": (0.9, 0.95, 1.0, 1.025, 1.05, 1.075, 1.1, 1.2)},
}


class Tuning(NamedTuple):
    """What was tried, the mean PSNR in dB of each, the index of the best, and which of its numbers lie on an edge.

    An edge that is better than the value beside it by less than PLATEAU dB counts as none: more of it changes nothing.
    Nor does 1 pixel, as there is nothing less.
    """

    candidates: list[dict[str, float]]
    mean_psnr: np.ndarray
    best: int
    on_edge: list[str]

    @property
    def chosen(self) -> dict[str, float]:
        """The best candidate, the first among equals."""
        return self.candidates[self.best]


def denoise(
    name: str,
    z: np.ndarray,
    noise_std: float,
    strength: float,
    solver: Mapping[str, Any] | None = None,
    **others: float,
) -> np.ndarray:
    """x̂ (H, W) float32 of z (H, W) float32 by the method `name`, a key of PARAMETERS.

    noise_std: standard deviation of the noise in units of z. solver: options of `solver.solve`, of which
    tv-isotropic takes all but the norm, tgv the iterations and the boundary. others: the method's parameters beside
    its strength: second of tgv, patch and distance of nlm, whole numbers from 1 on. noise_std · strength = 0 returns z.

    Raises:
        StudyError: unknown `name`, a parameter it has not or lacks, or a number that is not ≥ 0 or not whole.
    """
    if name not in _METHODS:
        raise StudyError(f"method {name!r} is unknown; choose one of {', '.join(_METHODS)}")
    parameters = {"strength": strength, **others}
    if set(parameters) != set(PARAMETERS[name]):
        raise StudyError(f"{name}: takes {', '.join(PARAMETERS[name])}, not {', '.join(parameters)}; mend the setting")
    numbers = {"noise_std": noise_std, **parameters}
    for wrong in (number for number in numbers if not numbers[number] >= 0):
        raise StudyError(f"{name}: {wrong} {numbers[wrong]} must be a number ≥ 0; mend the setting")
    for wrong in (number for number in WHOLE if number in numbers and numbers[number] not in range(1, 1000)):
        raise StudyError(
            f"{name}: {wrong} {numbers[wrong]} must be a whole number of pixels, 1 to 999; mend the setting"
        )
    if noise_std * strength == 0:
        return np.array(z, np.float32)
    options = {"solver": solver} if name in ("tv-isotropic", "tgv") else {}
    numbers = {number: float(value) for number, value in numbers.items()}
    return np.asarray(_METHODS[name](z, **numbers, **options), np.float32)


def tune(
    name: str,
    clean: np.ndarray,
    noisy: np.ndarray,
    noise_std: float | np.ndarray,
    parameters: Mapping[str, Sequence[float]] | None = None,
    solver: Mapping[str, Any] | None = None,
) -> Tuning:
    """`Tuning` of the method `name` on the stacks clean, noisy (n, H, W): mean over images of the PSNR, data range 1.

    noise_std: a number or one an image, (n,). parameters: {name: values to try, ascending}, each tried with each of the
    others; PARAMETERS[name] unless given.
    """
    if parameters is None:
        parameters = PARAMETERS.get(name, {"strength": (1.0,)})  # `denoise` says what is wrong with an unknown name
    candidates = [dict(zip(parameters, values, strict=True)) for values in itertools.product(*parameters.values())]
    noise_stds = np.broadcast_to(noise_std, len(clean))
    scores = np.empty((len(clean), len(candidates)))
    for i, (z, std) in enumerate(zip(noisy, noise_stds, strict=True)):
        denoised = np.stack([denoise(name, z, std, solver=solver, **candidate) for candidate in candidates])
        pair = (torch.from_numpy(images)[:, None] for images in (clean[i : i + 1], denoised))
        scores[i] = psnr(*pair, data_range=1).numpy()
    mean_psnr = scores.mean(0)
    best, _ = best_index(mean_psnr)
    on_edge = [number for number in parameters if _is_edge(number, parameters[number], candidates, mean_psnr)]
    return Tuning(candidates, mean_psnr, best, on_edge)


def _is_edge(
    number: str, values: Sequence[float], candidates: Sequence[Mapping[str, float]], mean_psnr: np.ndarray
) -> bool:
    """Whether the best candidate has the first or last of these values of a number, and more of it would be better."""
    of_value = [mean_psnr[[candidate[number] == value for candidate in candidates]].max() for value in values]
    best, at_end = best_index(np.array(of_value))
    if number in WHOLE and values[best] == 1:
        return False
    beside = of_value[best - 1 if best else 1] if len(values) > 1 else -np.inf
    return at_end and bool(of_value[best] - beside > PLATEAU)


def _tv_isotropic(
    z: np.ndarray, noise_std: float, strength: float, solver: Mapping[str, Any] | None = None
) -> np.ndarray:
    """argmin_x ½‖x − z‖² + λ Σ √(|∇_v x|² + |∇_h x|²), λ = strength · noise_std (Rudin, Osher, Fatemi 1992)."""
    options = {**(solver or {}), "norm": "isotropic"}
    image = torch.from_numpy(np.ascontiguousarray(z, np.float32))[None, None]
    with torch.inference_mode():
        x, _ = solve(image, strength * noise_std, **options)
    return x[0, 0].numpy()


def _tgv(
    z: np.ndarray, noise_std: float, strength: float, second: float, solver: Mapping[str, Any] | None = None
) -> np.ndarray:
    """The x of TGV (see `tgv`) with the same weights everywhere, Λ₁ = strength · noise_std, Λ₀ = second · noise_std."""
    options = {name: (solver or {})[name] for name in ("iterations", "boundary") if name in (solver or {})}
    image = torch.from_numpy(np.ascontiguousarray(z, np.float32))[None, None]
    weight = noise_std * torch.tensor([strength, second])
    with torch.inference_mode():
        x, _ = solve(image, weight, penalty="tgv", **options)
    return x[0, 0].numpy()


def _nlm(z: np.ndarray, noise_std: float, strength: float, patch: float, distance: float) -> np.ndarray:
    """Σ_j w_ij z_j / Σ_j w_ij, w_ij = exp(−max(d_ij² − 2 noise_std², 0) / h²), h = strength · noise_std.

    d_ij²: mean squared difference of the patches (patch × patch) around i and j, which lies at most `distance` rows and
    columns from i (Buades, Coll, Morel 2005, 2011). As strength → 0 this does not tend to z: patches no further apart
    than noise makes them are averaged still.
    """
    from skimage.restoration import denoise_nl_means

    # In float64: the patch distances are differences of sums over the whole image.
    options = {"patch_size": int(patch), "patch_distance": int(distance), "fast_mode": True}
    return denoise_nl_means(np.asarray(z, np.float64), h=strength * noise_std, sigma=noise_std, **options)


def _wavelet(z: np.ndarray, noise_std: float, strength: float) -> np.ndarray:
    """BayesShrink (Chang, Yu, Vetterli 2000): soft threshold σ²/√(mean(d²) − σ²) a subband d, σ = strength · noise_std.

    Averaged over circular shifts of the image (cycle spinning; Coifman, Donoho 1995).
    """
    import pywt
    from skimage.restoration import cycle_spin, denoise_wavelet

    # scikit-image's own choice leaves out the three coarsest levels: one level for 128 × 128, too few by several dB.
    levels = min(LEVELS, pywt.dwtn_max_level(np.shape(z), WAVELET))
    options = {"sigma": strength * noise_std, "wavelet": WAVELET, "wavelet_levels": levels}
    options |= {"mode": "soft", "method": "BayesShrink"}
    return cycle_spin(np.asarray(z, np.float64), denoise_wavelet, max_shifts=SHIFTS - 1, func_kw=options, workers=1)


def _bm3d(z: np.ndarray, noise_std: float, strength: float) -> np.ndarray:
    """Block matching and collaborative filtering, σ = strength · noise_std (Dabov et al. 2007; Mäkinen et al. 2020)."""
    try:
        import bm3d
    except (ImportError, OSError) as error:  # OSError: its compiled library is for another system
        raise StudyError(
            f"bm3d: the package cannot be imported ({error}); pip install -r envs/requirements-bm3d.txt (with "
            "--use-conda: add pip and, below `- pip:`, bm3d to envs/baselines.yaml), or leave the method out. "
            "Its licence, of Tampere University, allows non-commercial use only"
        ) from error
    profile = bm3d.BM3DProfile()
    profile.num_threads = 1  # more add up in any order, and the last digits differ from run to run
    return bm3d.bm3d(np.asarray(z, np.float64), strength * noise_std, profile)


_METHODS: dict[str, Callable[..., np.ndarray]] = {
    "tv-isotropic": _tv_isotropic,
    "tgv": _tgv,
    "nlm": _nlm,
    "wavelet": _wavelet,
    "bm3d": _bm3d,
}
