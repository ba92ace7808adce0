"""A page on one image and what became of it: map, what was taken away and its spectrum, the solver's convergence."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from . import denoising, plotting, stacks
from .files import PathLike, write_atomically
from .pictures import DIM

if TYPE_CHECKING:
    from .pictures import Limits, Picture

FREQUENCIES = 24  # rings of the spectrum
DPI = 200
MOST_TICKS = 6  # of iterations
SPACING = 1.5  # of the lines of text
LINE = SPACING * 1.2 * plotting.TEXT / 72  # inches that one takes
PANEL = 320, 640  # width and height in dots that every panel has at least, one of them, whatever the image's shape


def save(path: PathLike, name: str, picture: "Picture", found: denoising.Denoised) -> None:
    """Draw the sheet of a `pictures.Picture` and its `denoising.Denoised` as a PNG at `path`.

    The convergence is that of the channel whose gap is the largest.
    """
    content = io.BytesIO()
    figure = draw(name, picture.channels, found, picture.counted)
    figure.savefig(content, dpi=DPI, metadata={"Software": None})
    write_atomically(path, content.getvalue())


def draw(name: str, channels: np.ndarray, found: denoising.Denoised, counted: "Limits" = (0, 1)) -> Figure:
    """The sheet as a figure: input, result, residual; Λ, its logarithm (each map); spectrum, gap against iteration.

    counted: the values of the file that count as 0 and 1. Of an image with more pixels than a panel has dots, a panel
    shows the means of `block_side`² pixels: drawn as it is, most of its pixels would be left out, and thin lines with
    them. Where all of the input is below DIM of its range, black and white are its own ends, of input and result.
    """
    maps = {} if denoising.numbers_in_words(found) else shown_maps(found)
    aspect = min(max(channels.shape[-2] / channels.shape[-1], 0.5), 2)
    residual, side, ends = channels - found.x, block_side(*channels.shape[-2:]), shown_ends(channels)
    lines = facts(residual, found, denoising.noise_levels(channels), side, ends, counted)
    heights = [0.35 + 2.1 * aspect] * (1 + len(maps)) + [max(2.2, 0.3 + LINE * len(lines))]
    figure = Figure(figsize=(plotting.FULL, sum(heights) + 0.3), layout="constrained")
    # Each row has a layout of its own: colour bars of one do not shrink the images of another.
    first, *others, last = (
        part.subplots(1, 3) for part in figure.subfigures(2 + len(maps), 1, squeeze=False, height_ratios=heights).flat
    )
    show(first[0], block_means(channels, side), "input", ends)
    show(first[1], block_means(found.x, side), "result", ends)
    title = "residual, mean of the channels" if len(channels) > 1 else "residual, input − result"
    picture = show_signed(first[2], block_means(residual.mean(axis=0), side), title)
    figure.colorbar(picture, ax=[*first], label="grey value", pad=0.01).outline.set_visible(False)
    for row, (label, weight) in zip(others, maps.items(), strict=True):
        logarithm = np.log10(np.maximum(weight, weight[weight > 0].min() if (weight > 0).any() else 1))
        for cell, values, title in ((row[0], weight, f"{label} (grey value)"), (row[1], logarithm, f"log₁₀ {label}")):
            plotting.draw_map(figure, cell, block_means(values, side), fraction=0.05, pad=0.02)
            cell.set_title(title)
        row[2].hist(logarithm.ravel(), bins=60, histtype="stepfilled", color=plotting.COLOURS["map"])
        row[2].set(xlabel=f"log₁₀ {label}", ylabel="pixels")
    spectrum(last[0], residual)
    draw_gaps(last[1], channels, found)
    last[2].axis("off")
    last[2].text(0, 1, "\n".join(lines), va="top", linespacing=SPACING, transform=last[2].transAxes)
    name = "".join(letter if letter.isprintable() and ord(letter) < 0x2000 else "?" for letter in name)
    figure.suptitle(name, fontsize=plotting.TEXT, fontweight="bold", parse_math=False)
    return figure


def shown_maps(found: denoising.Denoised) -> dict[str, np.ndarray]:
    """{name: map (H, W)} of the first channel; of colour images the mean over the channels."""
    stack = {"weight": found.weight.mean(axis=0, keepdims=True), "penalty": found.penalty}
    return {name: maps[0] for name, maps in stacks.single_maps(stack).items()}


def block_side(height: int, width: int) -> int:
    """The side of the square blocks of pixels, in pixels, whose means a panel has a dot for: 1 for small images."""
    return max(-(-width // PANEL[0]), -(-height // PANEL[1]), 1)


def block_means(values: np.ndarray, side: int) -> np.ndarray:
    """Means of values (..., H, W) over blocks of side² pixels, (..., ⌈H/side⌉, ⌈W/side⌉); of less at the far ends."""
    if side == 1:
        return values
    for axis in (-2, -1):
        n = values.shape[axis]
        starts = np.arange(0, n, side)
        counts = np.diff(starts, append=n)
        sums = np.add.reduceat(values, starts, axis=axis, dtype=np.float64)
        values = sums / (counts[:, None] if axis == -2 else counts)
    return values


def shown_ends(channels: np.ndarray) -> tuple[float, float]:
    """The grey values that are black and white: 0 and 1, or those of an image that would be black."""
    low, high = float(channels.min()), float(channels.max())
    return (low, high) if low < high < DIM else (0.0, 1.0)


def show(axes: Axes, channels: np.ndarray, title: str, ends: tuple[float, float] = (0, 1)) -> None:
    """An image, grey or in colour, black and white at the `ends`; what lies outside is shown as its end."""
    low, high = ends
    if len(channels) == 1:
        axes.imshow(channels[0], cmap="gray", vmin=low, vmax=high, interpolation="none")
    else:
        axes.imshow(((channels.transpose(1, 2, 0) - low) / (high - low)).clip(0, 1), interpolation="none")
    plotting.bare(axes, title)


def show_signed(axes: Axes, values: np.ndarray, title: str) -> AxesImage:
    """Values around 0: white is 0, the ends are the 99.5 % quantile of their size."""
    end = max(np.quantile(np.abs(values), 0.995), 1e-12)
    picture = axes.imshow(values, cmap="RdBu_r", vmin=-end, vmax=end, interpolation="none")
    plotting.bare(axes, title)
    return picture


def rings(residual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(frequency, power) of the residual (C, H, W): mean |FFT|²/n in rings; σ² in every ring for white noise of σ.

    Frequencies in cycles a pixel, up to 0.5.
    """
    height, width = residual.shape[-2:]
    power = (np.abs(np.fft.fft2(residual - residual.mean(axis=(-2, -1), keepdims=True))) ** 2).mean(axis=0)
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    ring = np.minimum((radius / 0.5 * FREQUENCIES).astype(int), FREQUENCIES)  # beyond: the corners, left out
    sums = np.bincount(ring.ravel(), power.ravel() / (height * width), FREQUENCIES + 1)[:-1]
    counts = np.bincount(ring.ravel(), minlength=FREQUENCIES + 1)[:-1]
    at = counts > 0
    return ((np.arange(FREQUENCIES) + 0.5) / FREQUENCIES / 2)[at], sums[at] / counts[at]


def variance(residual: np.ndarray) -> float:
    """The variance of a residual (C, H, W), the mean over its channels: what `rings` has in the mean."""
    return float(residual.var(axis=(-2, -1), dtype=np.float64).mean())


def spectrum(axes: Axes, residual: np.ndarray) -> None:
    """The power of the residual by frequency, beside that of white noise of the same power."""
    frequency, power = rings(residual)
    axes.plot(frequency, power, color=plotting.COLOURS["map"], label="residual")
    axes.axhline(variance(residual), color=plotting.GREY, linestyle="--", label="white, same power")
    axes.set(xlabel="frequency (cycles a pixel)", ylabel="power (grey value²)", title="spectrum of the residual")
    if (power > 0).any():
        over_a_decade(axes, [*power, variance(residual)])
    axes.set_xlim(0, 0.5)
    axes.legend()


def draw_gaps(axes: Axes, channels: np.ndarray, found: denoising.Denoised) -> None:
    """The relative gap after 1, 2, 4, … up to the iterations that were made."""
    counts, gaps = denoising.convergence(channels, found)
    axes.plot(counts, gaps, marker="o", markersize=2.5, color=plotting.COLOURS["map"])
    axes.set(xscale="log", xlabel="iterations", ylabel="relative gap", title="the solver's convergence")
    ticks = counts[:: -(-len(counts) // MOST_TICKS)]
    axes.set_xticks(ticks, [str(count) for count in ticks])
    axes.set_xticks([], minor=True)
    if max(gaps) > 0:
        over_a_decade(axes, gaps)


def over_a_decade(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis over the values > 0, and over a decade at least: below that, all ticks may have one label."""
    positive = [value for value in values if value > 0]
    low, high = min(positive), max(positive)
    margin = max((high / low) ** 0.05, (10 * low / high) ** 0.5)
    axes.set(yscale="log", ylim=(low / margin, high * margin))


def facts(
    residual: np.ndarray,
    found: denoising.Denoised,
    noise_levels: Sequence[float],
    side: int,
    ends: tuple[float, float],
    counted: "Limits",
) -> list[str]:
    """The numbers, as lines; side: of the blocks in the panels; ends: their black and white; counted: see `draw`."""
    n_channels, height, width = residual.shape
    in_colour, numbers = n_channels > 1, denoising.numbers_in_words(found)
    low, high = counted
    lines = [f"{width} × {height} pixels, {'colour' if in_colour else 'grey'}"]
    if side > 1:
        lines.append(f"1 pixel of a panel: mean of {side} × {side}")
    lines.append(f"range, 0 to 1: {low:.6g} to {high:.6g} in the file")
    if ends != (0, 1):
        values = (low + end * (high - low) for end in ends)
        lines.append("panels, black to white: {:.4g} to {:.4g}".format(*values))
    lines += [
        "noise level, estimated: " + ", ".join(f"{level:.3g}" for level in noise_levels),
        f"residual: mean {residual.mean(dtype=np.float64):+.1e}, std {variance(residual) ** 0.5:.3g}",
    ]
    norm = "" if found.penalty == "tgv" else f", {found.options.get('norm', 'anisotropic')} norm"
    lines += [numbers] if numbers else []
    lines += [
        f"penalty: {found.penalty.upper()}{norm}",
        f"boundary: {found.options.get('boundary', 'periodic')}",
        f"iterations: {found.iterations}",
        f"relative gap: {found.gap.max():.1e}" + (" (worst channel)" if in_colour else ""),
    ]
    if in_colour:
        lines.append("std and spectrum: of all channels")
        lines += [] if numbers else ["maps: means of the channels"]
    return lines
