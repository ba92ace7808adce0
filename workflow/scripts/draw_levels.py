"""One metric against the noise level: the mean of every method, and what the map gains over each."""

from matplotlib.lines import Line2D

from tvmap import plotting, tabular
from tvmap.formats import METRICS
from tvmap.methods import LABELS


def main(summary_path, gains_path, png_path, pdf_path, protocols, metric):
    """Draw the means (left) and the paired gains of the map (right) with their intervals, for protocols of one level.

    `protocols`: name → noise level or range, of which the ranges are left out.
    """
    levels = {name: level for name, level in protocols.items() if not isinstance(level, (list, tuple))}
    columns = [f"{metric}_{part}" for part in ("mean", "low", "high")]
    summary = tabular.read_table(summary_path, ("protocol", "method", *columns), columns)
    gains = tabular.read_table(gains_path, ("protocol", "baseline", "metric", "mean", "low", "high"), ("low", "high"))
    gains = gains[gains["metric"] == metric].rename(columns={"baseline": "method"})
    label, _, unit = METRICS[metric]
    label += f" ({unit.strip()})" if unit else ""
    summary = summary.rename(columns=dict(zip(columns, ("mean", "low", "high"), strict=True)))
    figure, axes = plotting.panels(1, 2, 3.4)
    shown = [name for name in LABELS if name in set(summary["method"])]
    for panel, table in zip(axes[0], (summary, gains[gains["method"] != "noisy"]), strict=True):
        table = table.assign(level=table["protocol"].map(levels)).dropna(subset="level").sort_values("level")
        for method in (name for name in shown if name in set(table["method"])):
            draw_line(panel, table[table["method"] == method], style(method, shown))
        panel.set(xlabel="noise level", xticks=sorted(levels.values()))
        panel.grid(color=plotting.LIGHT, linewidth=0.5)
    axes[0, 0].set_ylabel(f"mean {label}")
    axes[0, 1].set_ylabel(f"map minus method, {label}")
    axes[0, 1].axhline(0, color=plotting.GREY, linewidth=0.8)
    handles = [Line2D([], [], label=LABELS[method], **style(method, shown)) for method in shown]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    plotting.save(figure, png_path, pdf_path)
    return figure


MARKERS = "osD^vPX"


def style(method, shown):
    """Look of a method: those of one family among the `shown` have one colour, and differ in dashes and markers."""
    at = [name for name in shown if plotting.COLOURS[name] == plotting.COLOURS[method]].index(method)
    dashes, marker = plotting.DASHES[at % len(plotting.DASHES)], MARKERS[at % len(MARKERS)]
    return {"color": plotting.COLOURS[method], "linestyle": dashes, "marker": marker, "markersize": 4}


def draw_line(panel, part, look):
    """Draw the means of one method over the levels and the band of their intervals."""
    panel.plot(part["level"], part["mean"], **look)
    panel.fill_between(part["level"], part["low"], part["high"], color=look["color"], alpha=0.15, linewidth=0)
