"""Figure 4: clean, noisy and denoised images of median, best and worst gain, from the pixels and table of examples."""

import numpy as np
from matplotlib.patches import Rectangle

from tvmap import plotting, stacks, tabular
from tvmap.errors import StudyError
from tvmap.formats import number
from tvmap.methods import protocol_label

COLUMNS = {"clean": "clean", "noisy": "noisy", "scalar": "scalar λ, oracle (PSNR)", "map": "map Λ (U-Net)"}


def main(examples_path, pixels_path, png_path, pdf_path, protocol, level):
    """Draw one row for each kind of example, grey values from 0 (black) to 1 (white), PSNR and λ under each image.

    The inset magnifies the quarter-width window in which the clean image varies most, which no method influences.
    """
    table = tabular.read_table(examples_path, tabular.EXAMPLES)
    pixels = stacks.load_examples(pixels_path)
    figure, axes = plotting.panels(len(tabular.CHOSEN), len(COLUMNS), 6.0)
    for row, kind in zip(axes, tabular.CHOSEN, strict=True):
        example = tabular.example_row(table, protocol, examples_path, kind)
        index = list(pixels["kinds"]).index(kind) if kind in pixels["kinds"] else -1
        if index < 0 or pixels["ids"][index] != example["id"]:
            raise StudyError(f"{pixels_path}: image {example['id']} ({kind}) is not in it; delete both and run again")
        corner, side = busiest_window(pixels["clean"][index])
        texts = {
            "clean": f"noise level {example['noise_level']:.2f}",
            "noisy": f"{example['psnr_noisy']:.2f} dB",
            "scalar": f"{example['psnr_scalar']:.2f} dB, λ = {example['weight_scalar']:g}",
            "map": f"{number(example['psnr_map'])} dB ({number(example['gain_db'], sign=True)} dB)",
        }
        for panel, name in zip(row, COLUMNS, strict=True):
            draw_image(panel, pixels[name][index], corner, side)
            panel.set_xlabel(texts[name])
        row[0].set_ylabel(f"{kind} gain")
    for panel, title in zip(axes[0], COLUMNS.values(), strict=True):
        panel.set_title(title)
    figure.set_layout_engine("compressed")  # images keep their shape; this takes the gaps away
    figure.suptitle(f"{protocol_label(level)}; PSNR below each image", fontsize=plotting.TEXT, fontweight="bold")
    plotting.save(figure, png_path, pdf_path)
    return figure


def busiest_window(image):
    """Return (row, column) and side of the quarter-width window of largest variance, on a grid of half its side."""
    side = max(min(image.shape) // 4, 2)
    rows = range(0, image.shape[0] - side + 1, max(side // 2, 1))
    columns = range(0, image.shape[1] - side + 1, max(side // 2, 1))
    corners = [(row, column) for row in rows for column in columns]
    return max(corners, key=lambda at: np.var(image[at[0] : at[0] + side, at[1] : at[1] + side])), side


def draw_image(panel, image, corner, side):
    """Show `image` in grey with its window framed, and the window twice as large in the corner farthest from it."""
    options = {"cmap": "gray", "vmin": 0, "vmax": 1, "interpolation": "none"}
    panel.imshow(image, **options)
    plotting.bare(panel)
    row, column = corner
    panel.add_patch(Rectangle((column - 0.5, row - 0.5), side, side, fill=False, edgecolor="#ffd92f", linewidth=0.8))
    left = column + side / 2 > image.shape[1] / 2
    low = row + side / 2 < image.shape[0] / 2
    inset = panel.inset_axes((0 if left else 0.55, 0 if low else 0.55, 0.45, 0.45))
    inset.imshow(image[row : row + side, column : column + side], **options)
    inset.set(xticks=[], yticks=[])
    inset.spines[:].set(visible=True, edgecolor="#ffd92f", linewidth=0.8)
