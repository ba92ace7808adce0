"""Figure 7: box plots of PSNR and SSIM of every method, one row per noise protocol, from the table of metrics."""

from tvmap import plotting, tabular
from tvmap.methods import LABELS, protocol_label


def main(metrics_path, png_path, pdf_path, protocols):
    """Draw boxes (quartiles, median; whiskers to 1.5 interquartile ranges), the mean (diamond) and each image (point).

    The noisy images lie far below the denoised ones, so only their mean is stated. Several noise draws of an image are
    averaged first. `protocols` maps a protocol's name to its noise level or range.
    """
    table = tabular.read_table(metrics_path, tabular.MEASURED)
    methods = [method for method in LABELS if method != "noisy" and method in set(table["method"])]
    height = 0.5 + (0.45 + 0.25 * len(methods)) * len(protocols)
    figure, axes = plotting.panels(len(protocols), 2, height, sharex="col", sharey=True)
    for row, (protocol, level) in zip(axes, protocols.items(), strict=True):
        images = tabular.of_protocol(table, protocol, metrics_path)
        images = images.groupby(["method", "id"], as_index=False)[["psnr", "ssim"]].mean()
        for panel, metric in zip(row, ("psnr", "ssim"), strict=True):
            draw_panel(panel, images, metric, methods)
        row[0].set_title(f"{protocol_label(level)} (n = {images['id'].nunique()})", loc="left")
        noisy = images[images["method"] == "noisy"]
        if len(noisy):
            text = f"noisy images: mean {noisy['psnr'].mean():.1f} dB, SSIM {noisy['ssim'].mean():.2f}"
            row[1].set_title(text, loc="right", fontsize=plotting.SMALL, color=plotting.GREY)
        row[1].tick_params(axis="y", length=0)
    axes[-1, 0].set_xlabel("PSNR (dB)")
    axes[-1, 1].set_xlabel("SSIM")
    plotting.save(figure, png_path, pdf_path)
    return figure


def draw_panel(panel, images, metric, methods):
    """Draw one horizontal box with its points for each of `methods`, in that order from the top."""
    plotting.quiet_boxplot(
        data=images,
        x=metric,
        y="method",
        order=methods,
        hue="method",
        palette=plotting.COLOURS,
        legend=False,
        showfliers=False,
        showmeans=True,
        width=0.62,
        linewidth=0.8,
        ax=panel,
        boxprops={"alpha": 0.55},
        medianprops={"color": plotting.DARK, "linewidth": 1.4},
        meanprops={"marker": "D", "markerfacecolor": "white", "markeredgecolor": plotting.DARK, "markersize": 3.5},
    )
    for position, method in enumerate(methods):
        values = images.loc[images["method"] == method, metric]
        heights = position + plotting.jitter(len(values), 0.22)
        panel.scatter(values, heights, s=3, color=plotting.COLOURS[method], edgecolor="none", alpha=0.8, zorder=3)
    panel.set(xlabel="", ylabel="", yticks=range(len(methods)), yticklabels=[LABELS[method] for method in methods])
    panel.grid(axis="x", color=plotting.LIGHT, linewidth=0.5)
    panel.set_axisbelow(True)
