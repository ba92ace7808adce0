"""Names of the compared methods and of the noise protocols, as tables and figures print them."""

METHODS = ("noisy", "scalar-fixed", "scalar-oracle-psnr", "scalar-oracle-ssim", "map")
LABELS = {
    "noisy": "noisy image",
    "scalar-fixed": "scalar λ, fixed on validation",
    "scalar-oracle-psnr": "scalar λ, oracle (PSNR)",
    "scalar-oracle-ssim": "scalar λ, oracle (SSIM)",
    "map": "map Λ (U-Net)",
}
ORACLES = {"psnr": "scalar-oracle-psnr", "ssim": "scalar-oracle-ssim"}  # the strongest scalar baseline for each metric


def protocol_label(level):
    """Return the plain name of a noise protocol with one `level`, or levels uniform in [low, high]."""
    if isinstance(level, (list, tuple)):
        return f"noise level from U[{level[0]:g}, {level[1]:g}]"
    return f"noise level {level:g}"
