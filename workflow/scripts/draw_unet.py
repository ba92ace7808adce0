"""Figure 3: the U-Net with its channels, image sizes and operations, drawn from the list of channels."""

from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from tvmap import plotting
from tvmap.errors import StudyError

CONVOLUTION, POOLING, UPSAMPLING, SKIP, LAST = "#0173b2", "#c1272d", "#029e73", "#6e6e6e", "#8f4fa8"
LEGEND = {
    "3 × 3 convolution, zero padding 1, leaky ReLU (slope 0.01)": CONVOLUTION,
    "2 × 2 max pooling, stride 2": POOLING,
    "bilinear upsampling × 2, then 1 × 1 convolution to half the channels": UPSAMPLING,
    "skip connection: copied and concatenated": SKIP,
    "1 × 1 convolution": LAST,
}
DASHED = (0, (4, 2))
MAP, COPY = "#d5e5f2", "#d9d9d9"  # colours of feature maps and of copied ones
TOPS, HEIGHTS, GAP = (99, 73, 52, 36), (21, 14, 10, 7), 4.2


def main(png_path, pdf_path, channels, size, parameters, up_bound, padding, maps=1, unit=False):
    """Draw the network 1-32-…-2 for images of `size` × `size` (`padding` adds a reflected frame, cropped at the end).

    `channels` lists input, encoder levels, decoder levels and output, for example (1, 32, 64, 32, 2).
    `up_bound` 0 means Λ_Θ = 0.1 · softplus(channel 0), otherwise up_bound · sigmoid(channel 0).
    `maps`: 2 uses channel 1 too. `unit`: z and Λ_Θ are in units of σ̂, the noise's estimated standard deviation.
    """
    levels = (len(channels) - 1) // 2
    encoder, decoder = list(channels[1 : levels + 1]), list(channels[levels + 1 : -1])
    if decoder != encoder[-2::-1] or levels > len(TOPS):
        raise StudyError(f"channels {list(channels)}: at most {len(TOPS)} levels, the decoder's mirror the encoder's")
    figure, axes = plotting.canvas(plotting.FULL, 3.7, 200)
    axes.text(1, middle(0), "$z$", va="center", fontsize=plotting.TEXT + 3)
    plotting.arrow(axes, (5, middle(0)), (9, middle(0)))
    lasts = [draw_level(axes, 9, 0, [channels[0], encoder[0], encoder[0]])]  # (left, right) of each level's last map
    for level, (above, here) in enumerate(zip(encoder, encoder[1:], strict=False), start=1):
        x, y = sum(lasts[-1]) / 2, middle(level)
        plotting.arrow(axes, (x, bottom(level - 1)), (x, y), (x + 5, y), colour=POOLING)
        lasts.append(draw_level(axes, x + 5, level, [above, here, here]))
    left, right = lasts[-1]
    for level, count in zip(range(levels - 2, -1, -1), decoder, strict=True):
        x, y, start = right + 4 + width(count) / 2, middle(level + 1), right + 4 - width(count)
        plotting.arrow(axes, (right, y), (x, y), (x, bottom(level)), colour=UPSAMPLING)
        plotting.arrow(axes, (lasts[level][1], middle(level)), (start, middle(level)), colour=SKIP, linestyle=DASHED)
        left, right = draw_level(axes, start, level, [2 * count, count, count])
    plotting.arrow(axes, (right, middle(0)), (right + GAP, middle(0)), colour=LAST)
    right = draw_map(axes, right + GAP, 0, channels[-1])
    plotting.arrow(axes, (right, middle(0)), (right + GAP, middle(0)))
    axes.text(right + GAP + 1, middle(0), r"$\Lambda_\Theta$", va="center", fontsize=plotting.TEXT + 3)
    for level, (left, _) in enumerate(lasts):
        side = -(-(size + 2 * padding) // 2**level)  # rounded up, as the pooling does
        look = {"ha": "right", "va": "top", "fontsize": plotting.SMALL, "color": plotting.GREY}
        axes.text(left - GAP / 2, bottom(level) - 1, f"{side} × {side}", **look)
    write_legend(axes)
    factor = r"\hat{\sigma}\," if unit else ""
    softplus = r"\mathrm{softplus}" if unit else r"0.1\,\mathrm{softplus}"
    activation = factor + (softplus if up_bound == 0 else rf"{up_bound:g}\,\mathrm{{sigmoid}}")
    used = r"channel\ 0" if maps == 1 else r"channels\ 0,\ 1"
    text = rf"$\Lambda_\Theta = {activation}(\mathrm{{{used}}})$" + f"\n{parameters:,} trainable parameters"
    axes.text(98, middle(0) + 2, text, ha="center", va="bottom", linespacing=1.6)
    notes = [f"the input is reflected by {padding} pixels, the output cropped"] if padding else []
    notes += (
        [r"the input is $(z - \mathrm{mean}(z))\,/\,\hat{\sigma}$, $\hat{\sigma}$ the estimated noise"] if unit else []
    )
    axes.text(98, middle(0) - 2, "\n".join(notes), ha="center", va="top", fontsize=plotting.SMALL)
    plotting.save(figure, png_path, pdf_path)
    return figure


def width(count):
    """Return the drawn width of a feature map of `count` channels: it grows with the logarithm."""
    return 0.9 + 0.55 * (count.bit_length() - 1)


def middle(level):
    """Return the height of the middle of a level."""
    return TOPS[level] - HEIGHTS[level] / 2


def bottom(level):
    """Return the height of the lower edge of a level."""
    return TOPS[level] - HEIGHTS[level]


def draw_map(axes, x, level, count, copied=0):
    """Draw a feature map from `x` on, its number of channels above, its left part grey if `copied`; return its end."""
    parts = [(copied, COPY), (count - copied, MAP)] if copied else [(count, MAP)]
    end = x + sum(width(part) for part, _ in parts)
    label = f"{copied} + {count - copied}" if copied else str(count)
    axes.text((x + end) / 2, TOPS[level] + 0.8, label, ha="center", va="bottom", fontsize=plotting.SMALL)
    for part, colour in parts:
        look = {"facecolor": colour, "edgecolor": plotting.DARK, "linewidth": 0.6}
        axes.add_patch(Rectangle((x, bottom(level)), width(part), HEIGHTS[level], **look))
        x += width(part)
    return end


def draw_level(axes, x, level, counts):
    """Draw three maps of one level from `x` on, with convolutions between; return (left, right) of the last one.

    The first map holds copied channels if it has twice as many as the others.
    """
    x = draw_map(axes, x, level, counts[0], copied=counts[1] if counts[0] == 2 * counts[1] else 0)
    for count in counts[1:]:
        plotting.arrow(axes, (x, middle(level)), (x + GAP, middle(level)), colour=CONVOLUTION)
        x = draw_map(axes, x + GAP, level, count)
    return x - width(counts[-1]), x


def write_legend(axes):
    """Write what colours and lines mean, at the bottom."""
    handles = [
        Line2D([], [], color=colour, linewidth=1.4, linestyle=DASHED if colour == SKIP else "-", label=text)
        for text, colour in LEGEND.items()
    ]
    for text, colour in (("feature maps, number of channels above", MAP), ("copied feature maps", COPY)):
        handles.append(Patch(facecolor=colour, edgecolor=plotting.DARK, linewidth=0.6, label=text))
    axes.legend(handles=handles, loc="lower center", ncols=2, columnspacing=1.5, borderaxespad=0.2)
