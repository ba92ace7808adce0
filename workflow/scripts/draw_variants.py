"""A study and its variants: gain of the map over the oracle λ with its interval, one row a variant."""

from tvmap import plotting, tabular
from tvmap.methods import protocol_label


def main(variants_path, png_path, pdf_path, protocols):
    """Draw a row of panels for each protocol, PSNR left, SSIM right; lines mark 0 and the study.

    A protocol that only variants have is drawn by its name. `protocols`: name → noise level or range.
    """
    table = tabular.read_table(variants_path, tabular.VARIANTS, tabular.NO_INTERVAL)
    drawn = list(dict.fromkeys(table["protocol"]))
    most = table.groupby("protocol")["variant"].nunique().max()
    figure, axes = plotting.panels(len(drawn), 2, 0.6 + (0.45 + 0.17 * most) * len(drawn), sharex="col", sharey="row")
    for row, protocol in zip(axes, drawn, strict=True):
        part = table[table["protocol"] == protocol]
        for panel, metric in zip(row, ("psnr", "ssim"), strict=True):
            draw_panel(panel, part[part["metric"] == metric])
        title = protocol_label(protocols[protocol]) if protocol in protocols else protocol
        row[0].set_title(title, loc="left")
    axes[-1, 0].set_xlabel("map minus oracle λ, PSNR (dB)")
    axes[-1, 1].set_xlabel("map minus oracle λ, SSIM")
    plotting.save(figure, png_path, pdf_path)
    return figure


def draw_panel(panel, part):
    """Draw the mean gain and its interval of each row of `part`, from the top."""
    heights = range(len(part))
    colours = [plotting.COLOURS["map"] if name else plotting.DARK for name in part["variant"]]
    panel.axvline(0, color=plotting.GREY, linewidth=0.8)
    for name, gain in zip(part["variant"], part["gain"], strict=True):
        if not name:
            panel.axvline(gain, color=plotting.DARK, linewidth=0.8, linestyle=":")
    panel.hlines(heights, part["gain_low"], part["gain_high"], colors=colours, linewidth=1.4)
    panel.scatter(part["gain"], heights, color=colours, s=14, zorder=3)
    panel.set(yticks=heights, yticklabels=[name or "the study" for name in part["variant"]])
    panel.set_ylim(len(part) - 0.5, -0.5)
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="x", color=plotting.LIGHT, linewidth=0.5)
    panel.set_axisbelow(True)
