"""Names of the compared methods and of the noise protocols, as tables and figures print them."""

from collections.abc import Collection

METHODS = ("noisy", "scalar-fixed", "scalar-oracle-psnr", "scalar-oracle-ssim", "map")  # of every study
ORACLES = {"psnr": "scalar-oracle-psnr", "ssim": "scalar-oracle-ssim"}  # the strongest scalar baseline for each metric

# Those that need the noise's standard deviation get the true one; `-blind` estimates it from the noisy image.
CLASSICAL = ("tv-isotropic", "tgv", "nlm", "wavelet", "bm3d")  # with parameters that are tuned on validation
BY_NOISE = ("scalar-sure", "scalar-discrepancy")  # λ of each image from its noise alone
LEARNED = ("scalar-train", "scalar-features")  # λ from the training images' best ones
FINE = "scalar-oracle-fine"  # what the step of the grid keeps from the PSNR oracle
GRIDDED = (*METHODS[:-1], FINE)  # λ from the grids, 0 of the noisy image
BASELINE_RULES = {
    "learn_scalars": LEARNED,
    "choose_by_noise": BY_NOISE,
    "fit_oracle_numbers": ("tgv-oracle",),
    "fit_oracle_maps": ("map-oracle",),
    "denoise_classical": CLASSICAL,
    "denoise_direct": ("unet-direct",),
}
_NEED_NOISE = {  # their labels
    "scalar-sure": "scalar λ, SURE",
    "scalar-discrepancy": "scalar λ, discrepancy",
    "tv-isotropic": "isotropic TV",
    "tgv": "TGV, scalar weights",
    "nlm": "non-local means",
    "wavelet": "wavelets, BayesShrink",
    "bm3d": "BM3D",
}
_BLIND = {f"{name}-blind": f"{label}, σ estimated" for name, label in _NEED_NOISE.items()}
LABELS = {  # in the order of tables and figures
    "noisy": "noisy image",
    "scalar-fixed": "scalar λ, fixed on validation",
    "scalar-train": "scalar λ, fixed on training",
    "scalar-features": "scalar λ, from features",
    **{name: text for pair in zip(_NEED_NOISE.items(), _BLIND.items(), strict=True) for name, text in pair},
    "scalar-oracle-psnr": "scalar λ, oracle (PSNR)",
    "scalar-oracle-ssim": "scalar λ, oracle (SSIM)",
    FINE: "scalar λ, oracle (PSNR), finer grid",
    "tgv-oracle": "TGV, two numbers, oracle (PSNR)",
    "map": "map Λ (U-Net)",
    "unet-direct": "image (U-Net, no TV)",
    "map-oracle": "map Λ, oracle",
}
ORACULAR = tuple(name for name in LABELS if "oracle" in name)  # found with the clean image
BASELINES = tuple(name for name in LABELS if name not in METHODS)


def chosen(baselines: Collection[str]) -> list[str]:
    """The methods of a study with these `baselines`, in the order of its tables."""
    return [name for name in LABELS if name in METHODS or name in baselines]


def base(name: str) -> str:
    """A method's name without `-blind`."""
    return name.removesuffix("-blind")


def is_blind(name: str) -> bool:
    """Whether the method estimates the noise's standard deviation, where `base(name)` is told the true one."""
    return name != base(name)


def solves(name: str) -> bool:
    """Whether the method's images are solutions of the TV problem for a regularisation weight, λ or Λ."""
    return base(name) not in (*CLASSICAL, "unet-direct")


def protocol_label(level: float | list[float] | tuple[float, float]) -> str:
    """Return the plain name of a noise protocol with one `level`, or levels uniform in [low, high]."""
    if isinstance(level, (list, tuple)):
        return f"noise level from U[{level[0]:g}, {level[1]:g}]"
    return f"noise level {level:g}"
