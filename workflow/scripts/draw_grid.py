"""Figure 6: PSNR and SSIM against the scalar weight λ for one protocol, from the tables of grid, choice and metrics."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from tvmap import plotting, tabular
from tvmap.errors import StudyError
from tvmap.methods import LABELS, ORACLES, protocol_label


def main(grid_path, examples_path, choice_path, metrics_path, png_path, pdf_path, protocol, level):
    """Draw the whole grid (top) and the part around the optimum (bottom) for noise draw 0.

    Solid lines are means over the test images with a band from the 10 to the 90 % quantile, dashed lines the image of
    median gain. Markers are that image's oracle λ and the λ fixed on validation; horizontal lines are the map.
    """
    grid = tabular.read_table(grid_path, tabular.GRID)
    choice = tabular.read_table(choice_path, [*tabular.IMAGE, "weight_fixed", "weight_psnr", "weight_ssim"])
    metrics = tabular.read_table(metrics_path, tabular.MEASURED)
    examples = tabular.read_table(examples_path, ["protocol", "kind", "id"])
    example = tabular.example_row(examples, protocol, examples_path)["id"]
    grid, choice, metrics = (
        tabular.of_protocol(table[table["draw"] == 0], protocol, path)
        for table, path in ((grid, grid_path), (choice, choice_path), (metrics, metrics_path))
    )
    chosen = choice[choice["id"] == example].squeeze()
    maps = metrics[metrics["method"] == "map"].set_index("id")
    figure, axes = plotting.panels(2, 2, 4.7)
    for column, (metric, label) in enumerate((("psnr", "PSNR (dB)"), ("ssim", "SSIM"))):
        curves = grid.pivot(index="weight", columns="id", values=metric)
        best = chosen[f"weight_{metric}"]
        check_weights(curves, example, (best, chosen["weight_fixed"]), grid_path)
        for panel in axes[:, column]:
            draw_curves(panel, curves, example, maps[metric])
            mark(panel, curves[example], best, ORACLES[metric])
            mark(panel, curves[example], chosen["weight_fixed"], "scalar-fixed")
            mark(panel, curves.mean(axis=1), chosen["weight_fixed"], "scalar-fixed")
            panel.set(xlabel="scalar weight λ", ylabel=label)
        zoom(
            axes[1, column], curves, example, maps[metric], chosen[["weight_fixed", "weight_psnr", "weight_ssim"]].max()
        )
    axes[0, 0].set_title(f"{protocol_label(level)} (n = {curves.shape[1]})", loc="left")
    axes[1, 0].set_title("the same around the optimum", loc="left")
    handles = {line.get_label(): line for panel in axes[0] for line in panel.get_legend_handles_labels()[0]}
    figure.align_ylabels(axes)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    plotting.save(figure, png_path, pdf_path)
    return figure


def check_weights(curves, example, weights, path):
    """Raise `StudyError` unless the grid has the example image and a value at each of `weights`."""
    for weight in weights:
        if example not in curves or not np.isclose(curves.index, weight).any():
            raise StudyError(f"{path}: no row of image {example} at weight {weight:g}; delete the tables and run again")


def draw_curves(panel, curves, example, maps):
    """Draw the curves of `curves` (weight × image) and the levels of the map as horizontal lines."""
    low, high = curves.quantile(0.1, axis=1), curves.quantile(0.9, axis=1)
    panel.fill_between(curves.index, low, high, color=plotting.LIGHT, linewidth=0, label="scalar λ, 10–90 % of images")
    panel.plot(curves.index, curves.mean(axis=1), color=plotting.GREY, label="scalar λ, mean of images")
    panel.plot(
        curves.index, curves[example], color=plotting.DARK, linestyle="--", label="scalar λ, image of median gain"
    )
    green = plotting.COLOURS["map"]
    panel.axhline(maps.mean(), color=green, label="map Λ, mean of images")
    panel.axhline(maps[example], color=green, linestyle="--", label="map Λ, image of median gain")


def mark(panel, curve, weight, method):
    """Mark the `weight` of a scalar method on `curve` (a Series over the weights): an oracle by a ring."""
    position = int(np.argmin(np.abs(curve.index - weight)))
    look = {"marker": "D", "markersize": 4, "color": plotting.COLOURS[method]}
    if method in ORACLES.values():  # a ring, so that a diamond at the same weight stays visible in it
        look = {"marker": "o", "markersize": 8, "markerfacecolor": "none", "markeredgecolor": plotting.COLOURS[method]}
        look["markeredgewidth"] = 2
    panel.plot(curve.index[position], curve.iloc[position], linestyle="none", label=LABELS[method], zorder=4, **look)


def zoom(panel, curves, example, maps, weight):
    """Restrict `panel` to weights up to about three times `weight` and to the values that matter there."""
    right = max(3 * weight, curves.index[min(6, len(curves) - 1)])
    near = curves[(curves.index >= weight / 2) & (curves.index <= right)]
    low = min(near.quantile(0.1, axis=1).min(), near[example].min())
    high = max(near.quantile(0.9, axis=1).max(), maps.mean(), maps[example])
    panel.xaxis.set_major_locator(MaxNLocator(6))
    panel.set(xlim=(0, right), ylim=(low - 0.05 * (high - low), high + 0.08 * (high - low)))
