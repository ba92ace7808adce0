"""Numbers for print, and the names, decimals and units of the measures of quality."""

import pandas

METRICS = {"psnr": ("PSNR", 2, " dB"), "ssim": ("SSIM", 3, "")}  # name, decimals, unit


def number(value: float, digits: int = 2, sign: bool = False) -> str:
    """A number for print: fixed decimals, a real minus sign, an en dash for a missing one."""
    if pandas.isna(value):
        return "–"
    text = f"{value:{'+' if sign else ''}.{digits}f}".replace("inf", "∞")
    return text.replace("-", "−")


def scientific(value: float) -> str:
    """A number as a power of ten, 1.2 × 10⁻⁵, an en dash for a missing one."""
    if pandas.isna(value):
        return "–"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.replace('-', '−')} × 10" + str(int(exponent)).translate(
        str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    )


def duration(seconds: float) -> str:
    """Seconds in the two largest units."""
    hours, minutes = int(seconds) // 3600, int(seconds) % 3600 // 60
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {int(seconds) % 60:02d} s" if minutes else f"{seconds:.1f} s"


def mean_std(mean: float, std: float, digits: int) -> str:
    """mean ± standard deviation."""
    return f"{number(mean, digits)} ± {number(std, digits)}"


def interval(low: float, high: float, digits: int, sign: bool = False) -> str:
    """[low, high], both ends on one side of a line break."""
    return f"[{number(low, digits, sign)}, {number(high, digits, sign)}]".replace(" ", "\u00a0")
