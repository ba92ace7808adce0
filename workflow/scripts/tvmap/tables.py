"""The tables of the paper, for print: each a list of column titles and a list of rows, all text; and their Markdown."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas

from . import dissertation
from .files import PathLike, write_atomically
from .formats import METRICS, duration, interval, mean_std, number, scientific
from .methods import LABELS
from .origins import origin
from .significance import rank_correlation

Table = tuple[list[str], list[list[str]]]  # column titles, rows


def note(source: str, report: Mapping[str, Any], of_variants: bool = False) -> str:
    """What every table of measurements says below it; `source` and `report` as in the config.

    of_variants: below the table of variants, whose ± are between trainings.
    """
    group = origin(source).group
    clamped = "clamped to it" if report["clamp"] else "not clamped"
    window = {
        "gaussian": "a Gaussian window of 11 × 11 pixels (standard deviation 1.5)",
        "uniform": "a uniform window of 7 × 7 pixels",
    }[report["ssim_window"]]
    effect_size = f"Effect size: mean over standard deviation of the {group}s' differences; "
    return (
        f"PSNR in dB and SSIM with data range 1, images {clamped}; SSIM with {window}. "
        f"± is the standard deviation {'between the trainings' if of_variants else 'over the test images'} (ddof = 1), "
        f"n the number of pairs of image and noise draw. Brackets: {100 * report['confidence']:g} % bootstrap interval "
        f"of the mean, {report['bootstrap']} resamples of whole {group}s. “Oracle”: λ chosen for each image with the "
        f"help of its clean image. {'' if of_variants else effect_size}p: Wilcoxon's signed-rank test of the {group}s, "
        f"each the mean of its images and noise draws, corrected for the number of "
        f"{'variants and protocols' if of_variants else 'protocols'} (Holm)."
    )


def write_markdown(csv_path: PathLike, title: str, table: Table, note: str = "") -> None:
    """Write a table (column titles, rows) beside its CSV file as Markdown, its title above and its note below."""
    head, rows = table
    lines = [[cell.replace("|", r"\|") for cell in line] for line in (head, ["---"] * len(head), *rows)]
    text = "\n".join([f"**{title}**", "", *("| " + " | ".join(line) + " |" for line in lines), "", note, ""])
    write_atomically(Path(csv_path).with_suffix(".md"), text.rstrip() + "\n")


def _interval(percent: float) -> str:
    return f"{percent:g} % interval"


def summary_table(summary: pandas.DataFrame, percent: float) -> Table:
    """Table 1: one row a protocol and method: means, gain over the oracle λ, share of the way to the oracle map.

    percent: confidence of the intervals, as of all tables that have some.
    """
    head = ["Noise", "Method", "n", "PSNR (dB)", _interval(percent), "SSIM", _interval(percent)]
    head += ["Minus oracle λ (dB)", _interval(percent)]
    has_share = bool(summary["share"].notna().any())
    head += ["Share of the way (PSNR)", _interval(percent)] if has_share else []
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
            number(row.gain, 2, sign=True),
            interval(row.gain_low, row.gain_high, 2, sign=True),
        ]
        if has_share:
            cells += [f"{number(100 * row.share, 0)} %", interval(100 * row.share_low, 100 * row.share_high, 0)]
        rows.append(cells)
    return head, rows


def gains_table(gains: pandas.DataFrame, percent: float) -> Table:
    """Paired differences of map and baseline: one row a protocol, baseline and metric."""
    tests = ["Effect size", "p (signed rank, Holm)"]
    head = ["Noise", "Map minus", "Metric", "n", "Mean ± std", _interval(percent), "Map ahead", *tests]
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
    return head, rows


def by_level_table(by_level: pandas.DataFrame, percent: float) -> Table:
    """Paired differences of map and baseline by noise level: one row a protocol, group of images and baseline."""
    head = ["Noise", "Levels", "Map minus", "n", "PSNR (dB)", _interval(percent), "Map ahead"]
    return head, [
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


def variants_table(variants: pandas.DataFrame, percent: float) -> Table:
    """A study and its variants: one row a variant, protocol and metric."""
    means = ["Metric", "n", "Map", _interval(percent), "Oracle λ"]
    gains = ["Map minus oracle λ", _interval(percent), "Map minus the study's", _interval(percent)]
    until = f"To {number(dissertation.GAIN, sign=True)} dB"
    head = ["Variant", "What differs", "Noise", *means, *gains, "p (signed rank, Holm)", "Training", until]
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
    return head, rows


def rules_table(choices: pandas.DataFrame) -> Table:
    """λ chosen without the clean image beside the oracle's: one row a protocol and rule."""
    head = ["Noise", "Rule", "n", "λ", "λ, oracle (PSNR)", "Mean difference", "Mean distance", "Rank correlation"]
    return head, [
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


def choices_table(choices: pandas.DataFrame) -> Table:
    """The scalar weights, the optima on the grid's edge and the cost of the grid's step: one row a protocol."""
    head = ["Noise", "n", "λ fixed", "λ oracle (PSNR)", "λ oracle (SSIM)", "At the edge"]
    head += ["Finer grid, PSNR (dB)", "Finer grid, SSIM"]
    return head, [
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


def gaps_table(table: pandas.DataFrame) -> Table:
    """The primal-dual gaps: one row a protocol and method."""
    head = ["Noise", "Method", "n", "Relative gap, median", "Relative gap, max"]
    head += ["RMS distance at most", "Distance to error"]
    return head, [
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


def examples_table(examples: pandas.DataFrame) -> Table:
    """The images of Figure 4."""
    head = ["Noise", "Kind", "Image", "Level", "Noisy", "λ", "Scalar", "Map", "Gain"]
    return head, [
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


def history_table(history: pandas.DataFrame) -> Table:
    """First, best (highest validation PSNR) and last epoch of the training."""
    head = ["Which", "Epoch", "Learning rate", "Training loss"]
    head += ["Validation loss", "Validation PSNR (dB)", "Validation SSIM"]
    picked = {"first": history.iloc[0], "best": history.loc[history.val_psnr.idxmax()], "last": history.iloc[-1]}
    return head, [
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


def times_table(times: pandas.DataFrame) -> Table:
    """Time and memory of the steps."""
    head = ["Step", "Jobs", "Seconds", "Time", "Memory (MiB)"]
    return head, [
        [row.step, str(row.jobs), number(row.seconds, 1), duration(row.seconds), number(row.max_rss_mib, 0)]
        for row in times.itertuples()
    ]


def checks_table(checks: pandas.DataFrame) -> Table:
    """Rows of what the study checked in itself."""
    head = ["Check", "Holds", "Number behind it"]
    return head, [[row.check, "yes" if row.holds else "no", f"{row.number:.3g}"] for row in checks.itertuples()]
