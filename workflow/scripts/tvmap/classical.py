"""The rivals that are not anisotropic total variation: isotropic TV, TGV, non-local means, wavelet shrinkage, BM3D.

Each has one parameter, its `strength`: a factor of the noise's standard deviation, so that one value, tuned on the
validation images, suits all noise levels. All are deterministic.
"""

from typing import NamedTuple

import numpy as np
import torch

from .errors import StudyError
from .grid import best_index
from .metrics import psnr
from .solver import solve
from .tgv import RATIO

PATCH, DISTANCE = 5, 11  # non-local means: patches of 5 × 5, sought in 23 × 23
WAVELET, LEVELS, SHIFTS = "sym4", 4, 4  # 4 × 4 shifts gain 3 to 5 dB over none; 8 × 8 less than 0.1 dB more

STRENGTHS = {
    "tv-isotropic": (0.4, 0.5, 0.63, 0.8, 1.0, 1.25, 1.6, 2.0, 2.5),
    "tgv": (0.4, 0.5, 0.63, 0.8, 1.0, 1.25, 1.6),
    "nlm": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2),
    "wavelet": (0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2, 1.4),
    "bm3d": (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4),
}


class Tuning(NamedTuple):
    """The mean PSNR in dB of every strength, the index of the best and whether it lies on the edge of `strengths`."""

    strengths: tuple
    mean_psnr: np.ndarray
    best: int
    on_edge: bool

    @property
    def strength(self):
        """The best strength, the smallest among equals."""
        return self.strengths[self.best]


def denoise(name, z, noise_std, strength, solver=None):
    """x̂ (H, W) float32 of z (H, W) float32 by the method `name`, a key of STRENGTHS.

    noise_std: standard deviation of the noise in units of z. solver: options of `solver.solve`, of which
    tv-isotropic takes all but the norm, tgv the iterations and the boundary.
    noise_std · strength = 0 returns z.

    Raises:
        StudyError: unknown `name`, or a number that is not ≥ 0.
    """
    if name not in _METHODS:
        raise StudyError(f"method {name!r} is unknown; choose one of {', '.join(_METHODS)}")
    if not (noise_std >= 0 and strength >= 0):
        raise StudyError(f"{name}: noise_std {noise_std} and strength {strength} must be numbers ≥ 0; mend the setting")
    if noise_std * strength == 0:
        return np.array(z, np.float32)
    options = {"solver": solver} if name in ("tv-isotropic", "tgv") else {}
    return np.asarray(_METHODS[name](z, float(noise_std), float(strength), **options), np.float32)


def tune(name, clean, noisy, noise_std, strengths=None, solver=None):
    """`Tuning` of the method `name` on the stacks clean, noisy (n, H, W): mean over images of the PSNR, data range 1.

    noise_std: a number or one an image, (n,). strengths: ascending, STRENGTHS[name] unless given.
    """
    if strengths is None:
        strengths = STRENGTHS.get(name, ())  # `denoise` says what is wrong with an unknown name
    noise_stds = np.broadcast_to(noise_std, len(clean))
    scores = np.empty((len(clean), len(strengths)))
    for i, (z, std) in enumerate(zip(noisy, noise_stds, strict=True)):
        denoised = np.stack([denoise(name, z, std, strength, solver) for strength in strengths])
        pair = (torch.from_numpy(images)[:, None] for images in (clean[i : i + 1], denoised))
        scores[i] = psnr(*pair, data_range=1).numpy()
    mean_psnr = scores.mean(0)
    return Tuning(tuple(strengths), mean_psnr, *best_index(mean_psnr))


def _tv_isotropic(z, noise_std, strength, solver=None):
    """argmin_x ½‖x − z‖² + λ Σ √(|∇_v x|² + |∇_h x|²), λ = strength · noise_std (Rudin, Osher, Fatemi 1992)."""
    options = {**(solver or {}), "norm": "isotropic"}
    image = torch.from_numpy(np.ascontiguousarray(z, np.float32))[None, None]
    with torch.inference_mode():
        x, _ = solve(image, strength * noise_std, **options)
    return x[0, 0].numpy()


def _tgv(z, noise_std, strength, solver=None):
    """The x of TGV (see `tgv`) with the same two weights everywhere, Λ₁ = strength · noise_std, Λ₀ = RATIO · Λ₁."""
    options = {name: (solver or {})[name] for name in ("iterations", "boundary") if name in (solver or {})}
    image = torch.from_numpy(np.ascontiguousarray(z, np.float32))[None, None]
    weight = strength * noise_std * torch.tensor([1, RATIO])
    with torch.inference_mode():
        x, _ = solve(image, weight, penalty="tgv", **options)
    return x[0, 0].numpy()


def _nlm(z, noise_std, strength):
    """Σ_j w_ij z_j / Σ_j w_ij, w_ij = exp(−max(d_ij² − 2 noise_std², 0) / h²), h = strength · noise_std.

    d_ij²: mean squared difference of the patches around i and j (Buades, Coll, Morel 2005, 2011). As strength → 0 this
    does not tend to z: patches no further apart than noise makes them are averaged still.
    """
    from skimage.restoration import denoise_nl_means

    # In float64: the patch distances are differences of sums over the whole image.
    options = {"patch_size": PATCH, "patch_distance": DISTANCE, "fast_mode": True}
    return denoise_nl_means(np.asarray(z, np.float64), h=strength * noise_std, sigma=noise_std, **options)


def _wavelet(z, noise_std, strength):
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


def _bm3d(z, noise_std, strength):
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


_METHODS = {"tv-isotropic": _tv_isotropic, "tgv": _tgv, "nlm": _nlm, "wavelet": _wavelet, "bm3d": _bm3d}
