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

DESCRIPTIONS = {  # how each rival works, for the report, whose references have these numbers
    "scalar-train": "Scalar, fixed on training: the λ of the highest mean PSNR over all training images.",
    "scalar-features": "Scalar from features: 15 numbers of the noisy image (its noise, "
    "brightness, gradients, Haar details and quantiles of the spread within blocks) "
    "predict log λ; ridge regression, forest and boosting compete in cross-validation grouped by patient on the "
    "training images, each with its best λ as target.",
    "scalar-sure": "Scalar by SURE [15]: Stein's unbiased estimate of the error, with the exact degrees of freedom of "
    "anisotropic TV (the number of flat regions) [16], on solutions converged to a relative gap of 10⁻⁸.",
    "scalar-discrepancy": "Scalar by the discrepancy principle: the λ whose residual has the variance of the noise.",
    "tv-isotropic": "Isotropic TV [14]: the gradients of a pixel count as a vector; λ is a factor of σ.",
    "tgv": "TGV [10]: second-order total generalised variation with the same two weights everywhere, "
    "each a factor of σ.",
    "nlm": "Non-local means [12]: patches of 5 × 5, sought in 23 × 23; the filter strength is a factor of σ.",
    "wavelet": "Wavelets, BayesShrink thresholds [13], averaged over 16 shifts; σ is multiplied by a factor.",
    "bm3d": "BM3D [11]: block matching and collaborative filtering; σ is multiplied by a factor.",
    "unet-direct": "The U-Net alone: the same network, images, epochs and schedule, but it predicts the noise, which "
    "is subtracted [17]. What it gives is no solution of a variational problem and has no certificate.",
    FINE: "Scalar, oracle on a finer grid: the λ of the highest PSNR between the neighbours of the PSNR oracle's, on "
    "the grid of finer step that Table 6 speaks of.",
    "tgv-oracle": "TGV, oracle: the two weights of TGV that are best for each image, found with its clean version on a "
    "grid of 9 × 6 pairs and then on a finer one around the best of them: what numbers can do, in place of maps.",
    "map-oracle": "Oracle map: the map, or the pair of maps if the network predicts two, fitted to each clean image by "
    "300 steps of Adam from the image's best λ (the second of TGV from half of it): "
    "from below, as the descent may end early, what any such map could reach.",
}


def rivals(baselines: Collection[str]) -> list[tuple[str, str]]:
    """[(name, how it works and was tuned)] of the methods among `baselines`, with and without the noise level."""
    names = dict.fromkeys(base(name) for name in chosen(baselines) if name in BASELINES)
    tuned = {name: " The factor was chosen by the mean PSNR of the validation images." for name in CLASSICAL}
    tuned["tgv"] = " Both factors were chosen, among all pairs, by the mean PSNR of the validation images."
    return [(name, DESCRIPTIONS[name] + tuned.get(name, "")) for name in names]


def chosen(baselines: Collection[str]) -> list[str]:
    """The methods of a study with these `baselines`, in the order of its tables."""
    return [name for name in LABELS if name in METHODS or name in baselines]


def base(name: str) -> str:
    """A method's name without `-blind`."""
    return name.removesuffix("-blind")


def solves(name: str) -> bool:
    """Whether the method's images are solutions of the TV problem for a regularisation weight, λ or Λ."""
    return base(name) not in (*CLASSICAL, "unet-direct")


def protocol_label(level: float | list[float] | tuple[float, float]) -> str:
    """Return the plain name of a noise protocol with one `level`, or levels uniform in [low, high]."""
    if isinstance(level, (list, tuple)):
        return f"noise level from U[{level[0]:g}, {level[1]:g}]"
    return f"noise level {level:g}"
