"""Figure 5: the map Λ of the image of median gain, or each of its two maps, its logarithm, and histograms of both."""

import numpy as np

from tvmap import plotting, stacks, tabular
from tvmap.errors import StudyError
from tvmap.methods import LABELS, ORACLES, protocol_label


def main(examples_path, pixels_path, png_path, pdf_path, protocol, level):
    """Draw Λ and, below it, log₁₀ Λ, each as an image and as a histogram with the image's oracle λ marked.

    Λ has the unit of the grey values, which run from 0 to 1. Of two maps the second follows below; TGV's Λ₀ weighs
    second differences, to which the scalar λ of TV does not compare.
    """
    table = tabular.read_table(examples_path, ["protocol", "kind", "id", "weight_scalar"])
    example = tabular.example_row(table, protocol, examples_path)
    pixels = stacks.load_examples(pixels_path)
    at = np.flatnonzero((pixels["kinds"] == "median") & (pixels["ids"] == example["id"]))
    if not len(at):
        raise StudyError(f"{pixels_path}: image {example['id']} (median) is not in it; delete both and run again")
    names = pixels["map_names"].tolist()
    rows = 2 * len(names)
    figure, axes = plotting.panels(rows, 2, 0.8 + 2.4 * rows, width_ratios=(1, 1.25))
    for name, weight, pair in zip(names, pixels["maps"][at[0]], axes.reshape(-1, 2, 2), strict=True):
        if not (weight > 0).any():
            raise StudyError(
                f"{pixels_path}: the map {name} of image {example['id']} is nowhere positive; train the network again"
            )
        scalar = None if name == "Λ₀" else example["weight_scalar"]
        draw_row(figure, pair[0], weight, name, "(grey value)", scalar)
        logarithm = np.log10(np.maximum(weight, weight[weight > 0].min()))
        draw_row(figure, pair[1], logarithm, f"log₁₀ {name}", "", np.log10(scalar) if scalar else None)
    figure.legend(*axes[0, 1].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.set_layout_engine("compressed")  # images keep their shape; this takes the gaps away
    figure.suptitle(f"{protocol_label(level)}, image of median gain", fontsize=plotting.TEXT, fontweight="bold")
    plotting.save(figure, png_path, pdf_path)
    return figure


def draw_row(figure, row, values, name, unit, scalar):
    """Draw `values` as an image with a colour bar and as a histogram with a line at `scalar` (None: no line).

    Both show the same range; what lies outside is in the bar at the end.
    """
    label = f"{name} {unit}".strip()
    low, high = plotting.draw_map(figure, row[0], values, label=label, pad=0.03)
    shares = np.full(values.size, 100 / values.size)
    row[1].hist(
        values.clip(low, high).ravel(),
        bins=80,
        weights=shares,
        histtype="stepfilled",
        color=plotting.COLOURS["map"],
        label="map, all pixels",
    )
    if scalar is not None:
        oracle = ORACLES["psnr"]
        row[1].axvline(scalar, color=plotting.COLOURS[oracle], linestyle="--", label=LABELS[oracle])
    row[1].set(xlabel=label, ylabel="share of pixels (%)")
