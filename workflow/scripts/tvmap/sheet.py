"""A page on one image and what became of it: map, what was taken away and its spectrum, the solver's convergence."""

import io
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from . import denoising, plotting, stacks
from .files import PathLike, write_atomically

if TYPE_CHECKING:
    from .pictures import Picture

FREQUENCIES = 24  # rings of the spectrum


def save(path: PathLike, name: str, picture: "Picture", found: denoising.Denoised) -> None:
    """Draw the sheet of a `pictures.Picture` and its `denoising.Denoised` as a PNG at `path`.

    The convergence is that of the channel whose gap is the largest.
    """
    content = io.BytesIO()
    draw(name, picture.channels, found).savefig(content, dpi=150, metadata={"Software": None})
    write_atomically(path, content.getvalue())


def draw(name: str, channels: np.ndarray, found: denoising.Denoised) -> Figure:
    """The sheet as a figure: input, result, residual; Λ, its logarithm (each map); spectrum, gap against iteration."""
    maps = {} if of_numbers(found) else shown_maps(found)
    aspect = min(max(channels.shape[-2] / channels.shape[-1], 0.5), 2)
    heights = [0.35 + 2.1 * aspect] * (1 + len(maps)) + [2.2]
    figure = Figure(figsize=(plotting.FULL, sum(heights) + 0.3), layout="constrained")
    # Each row has a layout of its own: colour bars of one do not shrink the images of another.
    first, *others, last = (
        part.subplots(1, 3) for part in figure.subfigures(2 + len(maps), 1, squeeze=False, height_ratios=heights).flat
    )
    residual = channels - found.x
    show(first[0], channels, "input")
    show(first[1], found.x, "result")
    picture = show_signed(first[2], residual.mean(axis=0), "residual, input − result")
    figure.colorbar(picture, ax=[*first], label="grey value", pad=0.01).outline.set_visible(False)
    for row, (label, weight) in zip(others, maps.items(), strict=True):
        logarithm = np.log10(np.maximum(weight, weight[weight > 0].min() if (weight > 0).any() else 1))
        for cell, values, title in ((row[0], weight, f"{label} (grey value)"), (row[1], logarithm, f"log₁₀ {label}")):
            plotting.draw_map(figure, cell, values, fraction=0.05, pad=0.02)
            cell.set_title(title)
        row[2].hist(logarithm.ravel(), bins=60, histtype="stepfilled", color=plotting.COLOURS["map"])
        row[2].set(xlabel=f"log₁₀ {label}", ylabel="pixels")
    spectrum(last[0], residual)
    draw_gaps(last[1], channels, found)
    facts(last[2], channels, found)
    name = "".join(letter if letter.isprintable() and ord(letter) < 0x2000 else "?" for letter in name)
    figure.suptitle(name, fontsize=plotting.TEXT, fontweight="bold", parse_math=False)
    return figure


def of_numbers(found: denoising.Denoised) -> bool:
    """Whether the weight is numbers, not maps to be shown."""
    return found.weight.ndim == 1 or found.weight.shape[-1] == 1


def shown_maps(found: denoising.Denoised) -> dict[str, np.ndarray]:
    """{name: map (H, W)} of the first channel; of colour images the mean over the channels."""
    stack = {"weight": found.weight.mean(axis=0, keepdims=True), "penalty": found.penalty}
    return {name: maps[0] for name, maps in stacks.single_maps(stack).items()}


def show(axes: Axes, channels: np.ndarray, title: str) -> None:
    """An image of range 1, grey or in colour; what lies outside the range is shown as its end."""
    values = channels[0] if len(channels) == 1 else channels.transpose(1, 2, 0).clip(0, 1)
    axes.imshow(values, cmap="gray", vmin=0, vmax=1, interpolation="none")
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


def spectrum(axes: Axes, residual: np.ndarray) -> None:
    """The power of the residual by frequency, beside that of white noise of the same power."""
    frequency, power = rings(residual)
    axes.plot(frequency, power, color=plotting.COLOURS["map"], label="residual")
    axes.axhline(residual.var(), color=plotting.GREY, linestyle="--", label="white, same power")
    axes.set(
        xlabel="frequency (cycles a pixel)",
        ylabel="power (grey value²)",
        yscale="log" if (power > 0).any() else "linear",
        title="spectrum of the residual",
    )
    axes.set_xlim(0, 0.5)
    axes.legend()


def draw_gaps(axes: Axes, channels: np.ndarray, found: denoising.Denoised) -> None:
    """The relative gap after 1, 2, 4, … up to the iterations that were made."""
    at = int(np.argmax(found.gap))
    counts, gaps = denoising.convergence(channels[at : at + 1], found.weight[at : at + 1], found)
    axes.plot(counts, gaps, marker="o", markersize=2.5, color=plotting.COLOURS["map"])
    logarithmic = "log" if max(gaps) > 0 else "linear"
    axes.set(
        xscale="log", yscale=logarithmic, xlabel="iterations", ylabel="relative gap", title="the solver's convergence"
    )


def facts(axes: Axes, channels: np.ndarray, found: denoising.Denoised) -> None:
    """The numbers, as text."""
    axes.axis("off")
    residual = channels - found.x
    lines = [
        f"{channels.shape[-1]} × {channels.shape[-2]} pixels, {'colour' if len(channels) > 1 else 'grey'}",
        "noise level, estimated: " + ", ".join(f"{level:.3g}" for level in found.noise_levels),
        f"residual: mean {residual.mean():+.1e}, std {residual.std():.3g}",
        f"penalty: {found.penalty.upper()}",
        f"iterations: {found.iterations}",
        f"relative gap: {found.gap.max():.1e}",
    ]
    if len(channels) > 1:
        lines.append("maps and residual: means of the channels")
    if of_numbers(found):
        lines.insert(3, "λ: " + ", ".join(f"{number:.3g}" for number in found.weight.ravel()))
    axes.text(0, 1, "\n".join(lines), va="top", linespacing=1.6, transform=axes.transAxes)
