"""What the map learned: Λ, or each of TGV's maps, against the detail of the clean image, grouped by noise."""

from matplotlib.ticker import NullFormatter

from tvmap import plotting, tabular
from tvmap.methods import protocol_label


def main(learned_path, png_path, pdf_path, protocols):
    """Draw a panel for each protocol and map: medians, and bands between the quartiles of the blocks of a bin."""
    table = tabular.read_table(learned_path, tabular.LEARNED)
    shown = [(name, *protocol) for protocol in protocols.items() for name in table["map"].unique()]
    rows = -(-len(shown) // 2)
    figure, axes = plotting.panels(rows, 2, 0.4 + 2.3 * rows, sharex=True, sharey=True)
    for panel in axes.flat[len(shown) :]:
        panel.set_visible(False)
    for panel, (name, protocol, level) in zip(axes.flat, shown, strict=False):
        part = tabular.of_protocol(table[table["map"] == name], protocol, learned_path)
        groups = list(part.groupby("noise_std"))
        for (noise_std, curve), colour in zip(groups, plotting.shades(len(groups)), strict=True):
            panel.fill_between(
                curve["detail"], curve["weight_low"], curve["weight_high"], color=colour, alpha=0.2, linewidth=0
            )
            panel.plot(
                curve["detail"], curve["weight"], "o-", color=colour, markersize=2.5, label=f"σ = {noise_std:.3f}"
            )
        panel.set(xscale="log", yscale="log", xlabel="detail: std of the clean block (grey value)")
        panel.set_title(f"{name}, {protocol_label(level)}", loc="left")
        panel.legend(title="noise", title_fontsize="x-small", fontsize="x-small", handlelength=1)
    for axis in (axes.flat[0].xaxis, axes.flat[0].yaxis):
        axis.set_minor_formatter(NullFormatter())  # shared; its labels overlap where the range is short
    for row in axes:
        row[0].set_ylabel("mean of the block (grey value)")
    plotting.save(figure, png_path, pdf_path)
    return figure
