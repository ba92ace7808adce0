"""The solver's convergence: PSNR and primal-dual gap against the number of iterations, for both starts of the dual."""

from tvmap import plotting, tabular
from tvmap.methods import LABELS, protocol_label

COLUMNS = ("protocol", "method", "dual_start", "iterations", "psnr", "relative_gap")
STARTS = {"zero": ("-", "p₀ = 0"), "image": ("--", "p₀ = z")}


def main(convergence_path, png_path, pdf_path, protocols, iterations):
    """Draw a row of panels for each protocol; the dotted line marks the `iterations` of the study."""
    table = tabular.read_table(convergence_path, COLUMNS)
    figure, axes = plotting.panels(len(protocols), 2, 0.7 + 1.8 * len(protocols), sharex=True)
    for row, (protocol, level) in zip(axes, protocols.items(), strict=True):
        part = tabular.of_protocol(table, protocol, convergence_path)
        for panel, metric in zip(row, ("psnr", "relative_gap"), strict=True):
            panel.axvline(iterations, color=plotting.GREY, linewidth=0.8, linestyle=":")
            for (method, start), curve in part.groupby(["method", "dual_start"], sort=False):
                style, name = STARTS[start]
                label = f"{LABELS[method]}, {name}"
                colour = plotting.COLOURS[method]
                panel.plot(curve["iterations"], curve[metric], style, color=colour, label=label)
            panel.set_xscale("log", base=2)
        row[0].set_title(protocol_label(level), loc="left")
        row[0].set_ylabel("mean PSNR (dB)")
        row[1].set_ylabel("median relative gap")
        row[1].set_yscale("log")
    for panel in axes[-1]:
        panel.set_xlabel("iterations T")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    plotting.save(figure, png_path, pdf_path)
    return figure
