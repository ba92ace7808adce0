"""The bench's CSV as one figure: `python tests/bench_plot.py CSV [CSV …] PNG`, a row for each device in the files."""

import csv
import itertools
import math
import sys
from pathlib import Path

from bench import GROWTH, T, span

from tvmap import plotting

COLOURS = {"eager": "#949494", "torch.compile": "#de8f05", "tvmap": "#029e73", "floor": "#d9d9d9"}
BARS = ("forward, Λ", "forward + backward", "training step")
LINES = ("#0173b2", "o", 8), ("#de8f05", "s", 5), ("#029e73", ".", 5)  # colour, marker and its size


def draw_bars(axes, lines):
    """A bar for each row of the CSV, with its time and ratio; lines: (name, row), where a heading has no row."""
    for place, (name, row) in enumerate(lines):
        if row:
            ms, ratio = float(row["milliseconds"]), float(row["ratio"] or 1)
            axes.barh(place, ms, 0.8, color=next(c for start, c in COLOURS.items() if name.startswith(start)))
            said = span(ms) if ratio == 1 else f"{span(ms)}, {ratio:{'.0f' if ratio >= 10 else '.2g'}}×"
            axes.annotate(said, (ms, place), (3, 0), textcoords="offset points", va="center_baseline", fontsize=7)
    axes.set(xscale="log", yticks=range(len(lines)), yticklabels=[name for name, _ in lines])
    axes.set(ylim=(len(lines) - 0.4, -0.6), xlabel="milliseconds; ×: speed relative to the first of the group")
    axes.margins(x=0.12)
    axes.tick_params(axis="y", length=0)
    for label, (_, row) in zip(axes.get_yticklabels(), lines, strict=True):
        label.set_fontweight("normal" if row else "bold")


def draw_growth(axes, rows):
    """Time against work, both logarithmic, and what would be in proportion."""
    for (title, field), (colour, marker, size) in zip(GROWTH.items(), LINES, strict=True):
        if not (own := [row for row in rows if row["what"] == title]):
            continue
        work = [int(row["size"]) ** 2 * int(row["batch"]) * int(row["iterations"]) / 256**3 for row in own]
        ms, face = [float(row["milliseconds"]) for row in own], "none" if size > 5 else colour
        power = "²" if field == "size" else ""
        label = f"{title.split()[-1]}: {int(own[0][field]):,}{power} to {int(own[-1][field]):,}{power}"
        axes.plot(work, ms, f"{marker}-", color=colour, markersize=size, markerfacecolor=face, label=label)
    axes.set(xscale="log", yscale="log", xlabel="T × pixels × images / 256³", ylabel="milliseconds")
    if axes.lines:
        decades = [math.log10(n) for line in axes.lines for n in line.get_ydata()]
        axes.set_ylim(10 ** math.floor(min(decades)), 10 ** math.ceil(max(decades)))
        axes.axline((work[0], ms[0]), (2 * work[0], 2 * ms[0]), color="#949494", linestyle=":", label="in proportion")
        axes.legend(loc="upper left")


def plot(csv_paths, png_path):
    """One figure, a row for each device in the CSV files: the variants for one image of 256², and how ours grows."""
    rows = [row for path in csv_paths for row in csv.DictReader(Path(path).read_text(encoding="utf-8").splitlines())]
    names, one = list(dict.fromkeys(row["device"] for row in rows)), {"size": "256", "batch": "1", "iterations": str(T)}
    bars = {name: [] for name in names}
    for name, title in itertools.product(names, BARS):
        chosen = {"device": name, "what": title, **one}.items()
        bars[name] += [(title, None), *((row["variant"], row) for row in rows if chosen <= row.items())]
    heights = [len(lines) + 4 for lines in bars.values()]
    shape = {"width_ratios": (1.5, 1), "height_ratios": heights, "sharex": "col"}
    figure, axes = plotting.panels(len(names), 2, 0.16 * sum(heights), **shape)
    for name, (left, right) in zip(names, axes, strict=True):
        draw_bars(left, bars[name])
        draw_growth(right, [row for row in rows if row["device"] == name])
        left.set_title(f"{name.upper()}: one image of 256², T = {T}", loc="left")
        right.set_title(f"{name.upper()}: tvmap, forward + backward", loc="left")
        for axis in (left.xaxis, right.xaxis, right.yaxis):
            axis.set_major_formatter("{x:g}")
    figure.savefig(png_path, dpi=200, metadata={"Software": None})
    return figure


if __name__ == "__main__":
    plot(sys.argv[1:-1], sys.argv[-1])
