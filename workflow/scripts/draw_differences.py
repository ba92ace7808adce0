"""Figure 8: histograms of the paired differences map minus scalar of PSNR and SSIM, from the table of metrics."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tvmap import plotting, tabular
from tvmap.formats import METRICS, number
from tvmap.methods import LABELS, ORACLES, protocol_label


def main(metrics_path, png_path, pdf_path, protocols):
    """Draw a row for each protocol and baseline (λ fixed on validation; the oracle of the column's metric).

    A difference belongs to one image; several noise draws of an image are averaged first. Bins are the same down a
    column and have an edge at zero. `protocols` maps a protocol's name to its noise level or range.
    """
    table = tabular.read_table(metrics_path, tabular.MEASURED)
    images = {protocol: tabular.of_protocol(table, protocol, metrics_path) for protocol in protocols}
    figure = Figure(figsize=(plotting.FULL, 2.75 * len(protocols)), layout="constrained")
    parts = figure.subfigures(len(protocols), 1, squeeze=False)[:, 0]
    axes = {protocol: part.subplots(2, 2, sharey=True) for protocol, part in zip(protocols, parts, strict=True)}
    for column, (metric, label) in enumerate((("psnr", "PSNR difference (dB)"), ("ssim", "SSIM difference"))):
        baselines = ("scalar-fixed", ORACLES[metric])
        gains = {
            (name, method): differences(images[name], metric, method) for name in protocols for method in baselines
        }
        edges = bin_edges(np.concatenate(list(gains.values())))
        for (protocol, method), gain in gains.items():
            panel = axes[protocol][baselines.index(method), column]
            draw_panel(panel, gain, edges, method, metric)
            panel.set(title=f"map − {LABELS[method]}", xlabel=label)
            panel.label_outer()
            panel.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    for level, part in zip(protocols.values(), parts, strict=True):
        part.suptitle(protocol_label(level), fontsize=plotting.TEXT, fontweight="bold")
        part.supylabel("number of images", fontsize=plotting.TEXT)
    plotting.save(figure, png_path, pdf_path)
    return figure


def differences(images, metric, baseline):
    """Return map − `baseline` of `metric` for each image, averaged over its noise draws."""
    wide = images.pivot_table(index="id", columns="method", values=metric)
    return (wide["map"] - wide[baseline]).to_numpy()


def bin_edges(values):
    """Return the edges of about 25 equal bins that cover `values` and zero, with zero as an edge."""
    low, high = min(values.min(), 0.0), max(values.max(), 0.0)
    step = (high - low) / 25 or 1.0
    return step * np.arange(np.floor(low / step) - 1, np.ceil(high / step) + 2)


def draw_panel(panel, gain, edges, baseline, metric):
    """Draw one histogram with a line at zero and at the mean, and state the mean and how many images improved."""
    counts, *_ = panel.hist(gain, bins=edges, color=plotting.COLOURS[baseline], edgecolor="white", linewidth=0.4)
    panel.set(xlim=(edges[0], edges[-1]), ylim=(0, max(1.3 * counts.max(), panel.get_ylim()[1])))
    panel.axvline(0, ymax=0.82, color=plotting.DARK, linewidth=1)
    panel.axvline(gain.mean(), ymax=0.82, color=plotting.DARK, linewidth=1, linestyle="--")
    _, digits, unit = METRICS[metric]
    mean = number(gain.mean(), digits, sign=True) + unit
    text = f"mean {mean}, {(gain > 0).sum()} of {len(gain)} images improved"
    panel.text(0.99, 0.97, text, transform=panel.transAxes, ha="right", va="top", fontsize=plotting.SMALL)
