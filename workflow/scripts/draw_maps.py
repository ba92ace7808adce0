"""Figure 5: the map Λ of the image of median gain, its logarithm, and histograms of both."""

import numpy as np

from tvmap import plotting, tabular
from tvmap.errors import StudyError
from tvmap.methods import LABELS, protocol_label


def main(examples_path, pixels_path, png_path, pdf_path, protocol, level):
    """Draw Λ (top) and log₁₀ Λ (bottom), each as an image and as a histogram with the image's oracle λ marked.

    Λ has the unit of the grey values, which run from 0 to 1.
    """
    table = tabular.read_table(examples_path, ["protocol", "kind", "id", "weight_scalar"])
    example = tabular.example_row(table, protocol, examples_path)
    pixels = plotting.read_examples(pixels_path)
    at = np.flatnonzero((pixels["kinds"] == "median") & (pixels["ids"] == example["id"]))
    if not len(at):
        raise StudyError(f"{pixels_path}: image {example['id']} (median) is not in it; delete both and run again")
    weight = pixels["weight_map"][at[0]]
    if not (weight > 0).any():
        raise StudyError(
            f"{pixels_path}: the map of image {example['id']} is nowhere positive; train the network again"
        )
    logarithm = np.log10(np.maximum(weight, weight[weight > 0].min()))
    scalar = example["weight_scalar"]
    figure, axes = plotting.panels(2, 2, 5.6, width_ratios=(1, 1.25))
    draw_row(figure, axes[0], weight, "Λ (grey value)", scalar)
    draw_row(figure, axes[1], logarithm, "log₁₀ Λ", np.log10(scalar) if scalar > 0 else None)
    figure.legend(*axes[0, 1].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.set_layout_engine("compressed")  # images keep their shape; this takes the gaps away
    figure.suptitle(f"{protocol_label(level)}, image of median gain", fontsize=plotting.TEXT, fontweight="bold")
    plotting.save(figure, png_path, pdf_path)
    return figure


def draw_row(figure, row, values, label, scalar):
    """Draw `values` as an image with a colour bar and as a histogram with a line at `scalar` (None: no line).

    Both show the range from the 0.5 to the 99.5 % quantile: few extreme pixels would leave one colour for all others.
    What lies outside has the colour, and is in the bar, at the end.
    """
    low, high = np.quantile(values, [0.005, 0.995])
    low, high = (low, high) if high > low else (values.min(), values.max())
    picture = row[0].imshow(values, cmap="viridis", interpolation="none", vmin=low, vmax=high)
    row[0].set(xticks=[], yticks=[])
    row[0].spines[:].set_visible(False)
    figure.colorbar(picture, ax=row[0], label=label, pad=0.03, extend="both").outline.set_visible(False)
    shares = np.full(values.size, 100 / values.size)
    row[1].hist(
        values.clip(low, high).ravel(),
        bins=80,
        weights=shares,
        histtype="stepfilled",
        color=plotting.COLOURS["map"],
        label="map Λ, all pixels",
    )
    if scalar is not None:
        colour = plotting.COLOURS["scalar-oracle-psnr"]
        row[1].axvline(scalar, color=colour, linestyle="--", label=LABELS["scalar-oracle-psnr"])
    row[1].set(xlabel=label, ylabel="share of pixels (%)")
