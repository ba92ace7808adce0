"""Figure 2: a 3 × 3 convolution with zero padding and 2 × 2 max pooling, worked out on numbers."""

import numpy as np
from matplotlib.patches import Rectangle

from tvmap import plotting

IMAGE = np.array([[1, 2, 0, 3], [4, 1, 1, 0], [0, 2, 5, 1], [3, 0, 1, 2]])
KERNEL = np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]])
WINDOW = (2, 2)  # the output entry whose computation is shown (row, column)
BLUE, ORANGE, GREEN = "#cfe3f3", "#fbe0b5", "#cdebdf"


def main(png_path, pdf_path):
    """Draw the padded image, the kernel, their convolution and its pooling, with numbers computed here."""
    output = convolve(IMAGE, KERNEL)
    pooled = pool(output)
    figure, axes = plotting.canvas(plotting.FULL, 2.8, 24)
    padded = np.pad(IMAGE, 1)
    row, column = WINDOW
    draw_matrix(axes, padded, 0.4, "image 4 × 4,\nzero padding of width 1", {(row, column, 3): BLUE}, padding=True)
    draw_matrix(axes, KERNEL, 8.4, "kernel 3 × 3\n(learned)", {(0, 0, 3): BLUE})
    draw_matrix(axes, output, 13.6, "output 4 × 4,\nstride 1", {(0, 0, 2): GREEN, (row, column, 1): ORANGE})
    draw_matrix(axes, pooled, 21.2, "after max pooling\n2 × 2, stride 2", {(0, 0, 1): GREEN})
    middle = 6.2
    for x, symbol in ((7.4, "∗"), (12.5, "="), (19.4, "→")):
        axes.text(x, middle, symbol, ha="center", va="center", fontsize=plotting.TEXT + 5)
    window = padded[row : row + 3, column : column + 3]
    terms = " + ".join(
        f"({weight})·{value}".replace("-", "−") if weight < 0 else f"{weight}·{value}"
        for weight, value in zip(KERNEL.ravel(), window.ravel(), strict=True)
    )
    axes.text(0.4, 1.15, f"orange entry:  {terms} = {output[row, column]}".replace("-", "−"), fontsize=plotting.SMALL)
    note = "bias and activation left out"
    axes.text(23.6, 0.45, note, fontsize=plotting.SMALL, color=plotting.GREY, ha="right")
    block = ", ".join(str(value) for value in output[:2, :2].ravel())
    axes.text(0.4, 0.45, f"green entry:  max({block}) = {pooled[0, 0]}".replace("-", "−"), fontsize=plotting.SMALL)
    plotting.save(figure, png_path, pdf_path)
    return figure


def convolve(image, kernel):
    """Return a network's convolution, y[i, j] = Σ kernel[a, b] · padded[i + a, j + b]: the kernel is not flipped."""
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(image, 1), kernel.shape)
    return np.einsum("ijab,ab->ij", windows, kernel)


def pool(values):
    """Return the maxima of the 2 × 2 blocks of `values`, whose sides are even."""
    rows, columns = values.shape
    return values.reshape(rows // 2, 2, columns // 2, 2).max(axis=(1, 3))


def draw_matrix(axes, values, left, title, blocks, padding=False):
    """Draw a matrix as cells centred on one height; `blocks` maps (row, column, side) to the colour of those cells."""
    bottom = 6.2 - len(values) / 2
    for (row, column), value in np.ndenumerate(values):
        colour, border = "white", padding and (row in (0, len(values) - 1) or column in (0, len(values) - 1))
        if border:
            colour = "#ececec"
        for (first, start, side), shade in blocks.items():
            if first <= row < first + side and start <= column < start + side:
                colour = shade
        x, y = left + column, bottom + len(values) - 1 - row
        axes.add_patch(Rectangle((x, y), 1, 1, facecolor=colour, edgecolor=plotting.GREY, linewidth=0.6))
        axes.text(
            x + 0.5,
            y + 0.47,
            f"{value}".replace("-", "−"),
            ha="center",
            va="center",
            color=plotting.GREY if border else plotting.DARK,
        )
    axes.text(left + values.shape[1] / 2, bottom - 0.2, title, ha="center", va="top", fontsize=plotting.SMALL)
