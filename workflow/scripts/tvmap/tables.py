"""The tables of the paper: rows of text from the study's numbers, and their Markdown."""

import pandas

from .methods import LABELS

METRICS = {"psnr": ("PSNR", 2, " dB"), "ssim": ("SSIM", 3, "")}  # name, decimals, unit

NOTE = (
    "PSNR in dB and SSIM with data range 1, images not clamped; SSIM with a Gaussian window of 11 × 11 pixels "
    "(standard deviation 1.5). ± is the standard deviation over the test images (ddof = 1), n the number of pairs of "
    "image and noise draw. Brackets: {percent:g} % bootstrap interval of the mean, {resamples} resamples of whole "
    "patients. “Oracle”: λ chosen for each image with the help of its clean image."
)


def summary_head(percent):
    """Column titles of `summary_table`."""
    return ["Noise", "Method", "n", "PSNR (dB)", f"{percent:g} % interval", "SSIM", f"{percent:g} % interval"]


def gains_head(percent):
    """Column titles of `gains_table`."""
    return ["Noise", "Map minus", "Metric", "n", "Mean ± std", f"{percent:g} % interval", "Map ahead"]


def choices_head():
    """Column titles of `choices_table`."""
    scalars = ["λ fixed", "λ oracle (PSNR)", "λ oracle (SSIM)"]
    return ["Noise", "n", *scalars, "At the edge", "Finer grid, PSNR (dB)", "Finer grid, SSIM"]


def markdown(title, head, rows, note):
    """A table in Markdown, with its title above and its note below."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join([f"**{title}**", "", *("| " + " | ".join(line) + " |" for line in lines), "", note, ""])


def number(value, digits=2, sign=False):
    """A number for print: fixed decimals, a real minus sign, an en dash for a missing one."""
    if pandas.isna(value):
        return "–"
    text = f"{value:{'+' if sign else ''}.{digits}f}".replace("inf", "∞")
    return text.replace("-", "−")


def scientific(value):
    """A number as a power of ten, 1.2 × 10⁻⁵, an en dash for a missing one."""
    if pandas.isna(value):
        return "–"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.replace('-', '−')} × 10" + str(int(exponent)).translate(
        str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    )


def duration(seconds):
    """Seconds in the two largest units."""
    hours, minutes = int(seconds) // 3600, int(seconds) % 3600 // 60
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {int(seconds) % 60:02d} s" if minutes else f"{seconds:.1f} s"


def mean_std(mean, std, digits):
    """mean ± standard deviation."""
    return f"{number(mean, digits)} ± {number(std, digits)}"


def interval(low, high, digits, sign=False):
    """[low, high], both ends on one side of a line break."""
    return f"[{number(low, digits, sign)}, {number(high, digits, sign)}]".replace(" ", "\u00a0")


def summary_table(summary):
    """Table 1: one row a protocol and method."""
    return [
        [
            row.protocol,
            LABELS[row.method],
            str(row.n),
            mean_std(row.psnr_mean, row.psnr_std, 2),
            interval(row.psnr_low, row.psnr_high, 2),
            mean_std(row.ssim_mean, row.ssim_std, 3),
            interval(row.ssim_low, row.ssim_high, 3),
        ]
        for row in summary.itertuples()
    ]


def gains_table(gains):
    """Paired differences of map and baseline: one row a protocol, baseline and metric."""
    rows = []
    for row in gains.itertuples():
        name, digits, unit = METRICS[row.metric]
        rows.append(
            [
                row.protocol,
                LABELS[row.baseline],
                name + (" (dB)" if unit else ""),
                str(row.n),
                f"{number(row.mean, digits, sign=True)} ± {number(row.std, digits)}",
                interval(row.low, row.high, digits, sign=True),
                f"{number(100 * row.win_rate, 1)} %",
            ]
        )
    return rows


def choices_table(choices):
    """The scalar weights, the optima on the grid's edge and the cost of the grid's step: one row a protocol."""
    return [
        [
            protocol,
            str(len(rows)),
            number(rows.weight_fixed.iloc[0], 3),
            mean_std(rows.weight_psnr.mean(), rows.weight_psnr.std(), 3),
            mean_std(rows.weight_ssim.mean(), rows.weight_ssim.std(), 3),
            f"{int(rows.psnr_edge.sum())} / {int(rows.ssim_edge.sum())}",
            f"{number(rows.psnr_gain_fine.mean(), 4)} / {number(rows.psnr_gain_fine.max(), 4)}",
            f"{number(rows.ssim_gain_fine.mean(), 5)} / {number(rows.ssim_gain_fine.max(), 5)}",
        ]
        for protocol, rows in choices.groupby("protocol", sort=False)
    ]
