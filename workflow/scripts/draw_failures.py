"""Where the map fails: error of map and oracle λ against local detail, and gain of each image against its noise."""

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from tvmap import findings, formats, plotting, tabular
from tvmap.methods import LABELS, ORACLES, protocol_label

# Where the numbers of the images of smallest gain stand beside their points: apart, as points may be near each other.
MARKS = {1: (0, -5, "center", "top"), 2: (4, 2, "left", "bottom"), 3: (-4, 2, "right", "bottom")}


def main(failures_path, contrasts_path, metrics_path, png_path, pdf_path, protocols):
    """Draw a row of panels for each protocol: blocks left, images right, with the ids of the smallest gains."""
    blocks = tabular.read_table(failures_path, tabular.FAILURES)
    contrasts = tabular.read_table(contrasts_path, findings.CONTRASTS)
    images = findings.image_gains(tabular.read_table(metrics_path, findings.PER_IMAGE, ("weight_mean",)), contrasts)
    figure, axes = plotting.panels(len(protocols), 2, 0.4 + 2.4 * len(protocols), sharex="col")
    for (left, right), (protocol, level) in zip(axes, protocols.items(), strict=True):
        draw_blocks(left, tabular.of_protocol(blocks, protocol, failures_path))
        draw_images(right, tabular.of_protocol(images, protocol, contrasts_path))
        left.set_title(protocol_label(level), loc="left")
    axes[-1, 0].set_xlabel("detail: std of the clean block (grey value)")
    axes[-1, 1].set_xlabel("standard deviation of the noise (grey value)")
    plotting.save(figure, png_path, pdf_path)
    return figure


def draw_blocks(panel, part):
    """Draw the mean squared error over the detail; the area between the curves has the colour of the better one."""
    curves = {method: rows.sort_values("bin") for method, rows in part.groupby("method", sort=False)}
    oracle, learned = curves[ORACLES["psnr"]], curves["map"]
    for rows, style in ((oracle, "--"), (learned, "-")):
        method = rows["method"].iloc[0]
        colour = plotting.COLOURS[method]
        panel.plot(rows["detail"], rows["mse"], style, marker="o", color=colour, markersize=3, label=LABELS[method])
    low, high = learned["mse"].to_numpy(), oracle["mse"].to_numpy()
    for better, method in ((low < high, "map"), (low > high, ORACLES["psnr"])):
        colour = plotting.COLOURS[method]
        panel.fill_between(oracle["detail"], low, high, better, True, color=colour, alpha=0.25, linewidth=0)
    panel.set(xscale="log", yscale="log", ylabel="mean squared error")
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: np.format_float_positional(value, trim="-")))
        axis.set_minor_locator(NullLocator())
    panel.legend(loc="upper left", handlelength=2)


def draw_images(panel, part):
    """Draw the gain of each image over its noise; rings, numbered, are the images of the smallest gain."""
    panel.axhline(0, color=plotting.GREY, linewidth=0.8)
    panel.plot(part["noise_std"], part["gain"], ".", color=plotting.COLOURS["map"], markersize=4)
    labels = []
    for number, row in enumerate(part.nsmallest(len(MARKS), "gain").itertuples(), 1):
        ring = {"markersize": 6, "markerfacecolor": "none", "markeredgewidth": 0.8}
        panel.plot(row.noise_std, row.gain, "o", color=plotting.DARK, **ring)
        x, y, ha, va = MARKS[number]
        where = {"xytext": (x, y), "textcoords": "offset points", "ha": ha, "va": va}
        panel.annotate(str(number), (row.noise_std, row.gain), **where, fontsize="x-small")
        name = row.id.replace("$", r"\$")  # between two of them Matplotlib reads a formula
        labels.append(f"{number}: {name} ({formats.number(row.gain, sign=True)} dB)")
    panel.set_ylabel("map minus oracle λ, PSNR (dB)")
    low, high = panel.get_ylim()
    panel.set_ylim(low - 0.45 * (high - low), high)  # room for the legend
    handles = [Line2D([], [], linestyle="", label=label) for label in labels]
    title = {"title": "smallest gain", "title_fontsize": "x-small"}
    panel.legend(handles=handles, loc="lower right", fontsize="x-small", handlelength=0, handletextpad=0, **title)
