"""The tables of the paper: rows of text from the study's numbers, and their Markdown."""

from pathlib import Path

import pandas

from . import published
from .files import write_atomically
from .methods import LABELS
from .origins import origin
from .significance import rank_correlation

METRICS = {"psnr": ("PSNR", 2, " dB"), "ssim": ("SSIM", 3, "")}  # name, decimals, unit


def note(source, report):
    """What every table of measurements says below it; `source` and `report` as in the config."""
    group = origin(source).group
    clamped = "clamped to it" if report["clamp"] else "not clamped"
    window = {
        "gaussian": "a Gaussian window of 11 × 11 pixels (standard deviation 1.5)",
        "uniform": "a uniform window of 7 × 7 pixels",
    }[report["ssim_window"]]
    return (
        f"PSNR in dB and SSIM with data range 1, images {clamped}; SSIM with {window}. "
        "± is the standard deviation over the test images (ddof = 1), n the number of pairs "
        f"of image and noise draw. Brackets: {100 * report['confidence']:g} % bootstrap interval of the mean, "
        f"{report['bootstrap']} resamples of whole {group}s. “Oracle”: λ chosen for each image with the help of its "
        f"clean image. Effect size: mean over standard deviation of the {group}s' differences; p: Wilcoxon's "
        f"signed-rank test of the {group}s, each the mean of its images and noise draws, corrected for the number of "
        "protocols (Holm)."
    )


def summary_head(percent, shares):
    """Column titles of `summary_table`; `shares`: whether the study has the oracle map, which these refer to."""
    head = ["Noise", "Method", "n", "PSNR (dB)", f"{percent:g} % interval", "SSIM", f"{percent:g} % interval"]
    return head + (["Share of the way (PSNR)", f"{percent:g} % interval"] if shares else [])


def gains_head(percent):
    """Column titles of `gains_table`."""
    tests = ["Effect size", "p (signed rank, Holm)"]
    return ["Noise", "Map minus", "Metric", "n", "Mean ± std", f"{percent:g} % interval", "Map ahead", *tests]


def by_level_head(percent):
    """Column titles of `by_level_table`."""
    return ["Noise", "Levels", "Map minus", "n", "PSNR (dB)", f"{percent:g} % interval", "Map ahead"]


def variants_head(percent):
    """Column titles of `variants_table`."""
    means = ["Metric", "n", "Map", f"{percent:g} % interval", "Oracle λ"]
    gains = ["Map minus oracle λ", f"{percent:g} % interval", "Map minus the study's", f"{percent:g} % interval"]
    until = f"To {number(published.GAIN, sign=True)} dB"
    return ["Variant", "What differs", "Noise", *means, *gains, "p (signed rank, Holm)", "Training", until]


def choices_head():
    """Column titles of `choices_table`."""
    scalars = ["λ fixed", "λ oracle (PSNR)", "λ oracle (SSIM)"]
    return ["Noise", "n", *scalars, "At the edge", "Finer grid, PSNR (dB)", "Finer grid, SSIM"]


def gaps_head():
    """Column titles of `gaps_table`."""
    return [
        "Noise",
        "Method",
        "n",
        "Relative gap, median",
        "Relative gap, max",
        "RMS distance at most",
        "Distance to error",
    ]


def examples_head():
    """Column titles of `examples_table`."""
    return ["Noise", "Kind", "Image", "Level", "Noisy", "λ", "Scalar", "Map", "Gain"]


def history_head():
    """Column titles of `history_table`."""
    scores = ["Validation loss", "Validation PSNR (dB)", "Validation SSIM"]
    return ["Which", "Epoch", "Learning rate", "Training loss", *scores]


def times_head():
    """Column titles of `times_table`."""
    return ["Step", "Jobs", "Seconds", "Time", "Memory (MiB)"]


def checks_head():
    """Column titles of `checks_table`."""
    return ["Check", "Holds", "Number behind it"]


def write_markdown(csv_path, title, head, rows, note=""):
    """Write a table beside its CSV file as Markdown, with its title above and its note below."""
    lines = [[cell.replace("|", r"\|") for cell in line] for line in (head, ["---"] * len(head), *rows)]
    text = "\n".join([f"**{title}**", "", *("| " + " | ".join(line) + " |" for line in lines), "", note, ""])
    write_atomically(Path(csv_path).with_suffix(".md"), text.rstrip() + "\n")


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
    """Table 1: one row a protocol and method; with the oracle map, the share of the way from scalar oracle to it."""
    rows = []
    for row in summary.itertuples():
        cells = [
            row.protocol,
            LABELS[row.method],
            str(row.n),
            mean_std(row.psnr_mean, row.psnr_std, 2),
            interval(row.psnr_low, row.psnr_high, 2),
            mean_std(row.ssim_mean, row.ssim_std, 3),
            interval(row.ssim_low, row.ssim_high, 3),
        ]
        if summary["share"].notna().any():
            cells += [f"{number(100 * row.share, 0)} %", interval(100 * row.share_low, 100 * row.share_high, 0)]
        rows.append(cells)
    return rows


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
                number(row.effect_size),
                scientific(row.p_holm) if row.p_holm < 0.001 else number(row.p_holm, 3),
            ]
        )
    return rows


def by_level_table(by_level):
    """Paired differences of map and baseline by noise level: one row a protocol, group of images and baseline."""
    return [
        [
            row.protocol,
            f"{number(row.level_low, 3)} to {number(row.level_high, 3)}",
            LABELS[row.baseline],
            str(row.n),
            number(row.mean, sign=True),
            interval(row.low, row.high, 2, sign=True),
            f"{number(100 * row.win_rate, 0)} %",
        ]
        for row in by_level.itertuples()
    ]


def variants_table(variants):
    """A study and its variants: one row a variant, protocol and metric."""
    rows = []
    for row in variants.fillna({"changes": ""}).itertuples():
        name, digits, unit = METRICS[row.metric]
        minutes, reached = row.training_minutes, row.minutes_to_published_gain
        std = getattr(row, "gain_std_between", float("nan"))
        between = "" if pandas.isna(std) else f" ± {number(std, digits)}"
        rows.append(
            [
                row.variant or "the study",
                row.changes,
                row.protocol,
                name + (" (dB)" if unit else ""),
                str(row.n),
                number(row.mean, digits),
                interval(row.mean_low, row.mean_high, digits),
                number(row.oracle, digits),
                number(row.gain, digits, sign=True) + between,
                interval(row.gain_low, row.gain_high, digits, sign=True),
                number(row.difference, digits, sign=True),
                "" if pandas.isna(row.difference) else interval(row.difference_low, row.difference_high, digits, True),
                scientific(row.p_holm) if row.p_holm < 0.001 else number(row.p_holm, 3),
                "" if pandas.isna(minutes) else duration(60 * minutes),
                "" if pandas.isna(reached) else duration(60 * reached),
            ]
        )
    return rows


def rules_head():
    """Column titles of `rules_table`."""
    return ["Noise", "Rule", "n", "λ", "λ, oracle (PSNR)", "Mean difference", "Mean distance", "Rank correlation"]


def rules_table(choices):
    """λ chosen without the clean image beside the oracle's: one row a protocol and rule."""
    return [
        [
            protocol,
            LABELS[method],
            str(len(rows)),
            mean_std(rows.weight.mean(), rows.weight.std(), 3),
            mean_std(rows.oracle.mean(), rows.oracle.std(), 3),
            number((rows.weight - rows.oracle).mean(), 3, sign=True),
            number((rows.weight - rows.oracle).abs().mean(), 3),
            number(rank_correlation(rows.weight, rows.oracle)),
        ]
        for (protocol, method), rows in choices.groupby(["protocol", "method"], sort=False)
    ]


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


def gaps_table(table):
    """The primal-dual gaps: one row a protocol and method."""
    return [
        [
            row.protocol,
            LABELS[row.method],
            str(row.n),
            scientific(row.relative_gap_median),
            scientific(row.relative_gap_max),
            scientific(row.rms_bound),
            f"{number(row.bound_to_error_median)} / {number(row.bound_to_error_max)}",
        ]
        for row in table.itertuples()
    ]


def examples_table(examples):
    """The images of Figure 4."""
    return [
        [
            row.protocol,
            row.kind,
            str(row.id),
            number(row.noise_level, 3),
            number(row.psnr_noisy),
            number(row.weight_scalar, 3),
            number(row.psnr_scalar),
            number(row.psnr_map),
            number(row.gain_db, sign=True),
        ]
        for row in examples.itertuples()
    ]


def history_table(history):
    """First, best (highest validation PSNR) and last epoch of the training."""
    picked = {"first": history.iloc[0], "best": history.loc[history.val_psnr.idxmax()], "last": history.iloc[-1]}
    return [
        [
            name,
            str(int(row.epoch)),
            scientific(row.learning_rate),
            scientific(row.train_loss),
            scientific(row.val_loss),
            number(row.val_psnr),
            number(row.val_ssim, 3),
        ]
        for name, row in picked.items()
    ]


def times_table(times):
    """Time and memory of the steps."""
    return [
        [row.step, str(row.jobs), number(row.seconds, 1), duration(row.seconds), number(row.max_rss_mib, 0)]
        for row in times.itertuples()
    ]


def checks_table(checks):
    """Rows of what the study checked in itself."""
    return [[row.check, "yes" if row.holds else "no", f"{row.number:.3g}"] for row in checks.itertuples()]
