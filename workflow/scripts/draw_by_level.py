"""What the map gains over its strongest rivals at low and at high noise, where the level differs between the images."""

from tvmap import plotting, tabular
from tvmap.methods import LABELS, base, is_blind, protocol_label

MOST = 6  # rivals in a panel


def main(by_level_path, png_path, pdf_path, protocols):
    """Draw a panel for each protocol of a range of levels: mean differences with intervals over the groups' levels.

    Shown are the rivals that the map gains least over; not those that know less than one shown, and not the oracle map.
    """
    table = tabular.read_table(by_level_path, tabular.BY_LEVEL, ("low", "high"))
    drawn = [protocol for protocol in protocols if protocol in set(table["protocol"])]
    figure, axes = plotting.panels(1, len(drawn), 3.2, sharey=True)
    for panel, protocol in zip(axes[0], drawn, strict=True):
        part = table[table["protocol"] == protocol]
        middle = (part["level_low"] + part["level_high"]) / 2
        for method, colour, marker in zip(strongest(part), plotting.COLOUR_BLIND, "os^Dvp", strict=False):
            rows = part["baseline"] == method
            levels, means = middle[rows], part["mean"][rows]
            errors = means - part["low"][rows], part["high"][rows] - means
            style = {"color": colour, "marker": marker, "markersize": 4, "capsize": 2, "elinewidth": 0.8}
            panel.errorbar(levels, means, errors, label=LABELS[method], **style)
        panel.axhline(0, color=plotting.DARK, linewidth=0.8)
        panel.set(xlabel="noise level (middle of the group)", title=protocol_label(protocols[protocol]))
        panel.grid(color=plotting.LIGHT, linewidth=0.5)
    axes[0, 0].set_ylabel("map minus method, PSNR (dB)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    plotting.save(figure, png_path, pdf_path)
    return figure


def strongest(part):
    """At most MOST baselines of the smallest mean difference in `part`, in the order of all tables."""
    means = part.groupby("baseline")["mean"].mean().drop(["noisy", "map-oracle"], errors="ignore")
    informed = [name for name in means.index if not is_blind(name) or base(name) not in means.index]
    found = set(means[informed].nsmallest(MOST).index)
    return [name for name in LABELS if name in found]
