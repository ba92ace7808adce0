"""What the report says of the rivals: how each works and how it was tuned.

A module of its own, as a word changed here changes no number: what computes imports `methods` alone.
"""

from collections.abc import Collection

from .methods import BASELINES, CLASSICAL, FINE, base, chosen

FACTORS = {  # what is tuned beside a strength or λ: the title of its panel, its axis
    "second": ("TGV, second order", "strength (factor of σ)"),
    "patch": ("non-local means, patches", "width of a patch (pixels)"),
    "distance": ("non-local means, window", "farthest patch (pixels)"),
}
DESCRIPTIONS = {  # the numbers in brackets are those of the report's references
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
    "nlm": "Non-local means [12]: the mean of the pixels around whose patches look alike; the filter strength is a "
    "factor of σ.",
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


def described(baselines: Collection[str]) -> list[tuple[str, str]]:
    """[(name, how it works and was tuned)] of the methods among `baselines`, with and without the noise level."""
    names = dict.fromkeys(base(name) for name in chosen(baselines) if name in BASELINES)
    tuned = {name: " The factor was chosen by the mean PSNR of the validation images." for name in CLASSICAL}
    tuned["tgv"] = " Both factors were chosen, among all pairs, by the mean PSNR of the validation images."
    tuned["nlm"] = (
        " The factor, the width of the patches and how far they are sought were chosen, among all combinations, by the "
        "mean PSNR of the validation images."
    )
    return [(name, DESCRIPTIONS[name] + tuned.get(name, "")) for name in names]
