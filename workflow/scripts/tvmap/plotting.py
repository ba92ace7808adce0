"""Style of every figure, and the drawing and saving that all figure scripts share."""

import io
import itertools
import warnings
from collections.abc import Collection
from typing import Any

import matplotlib
import matplotlib.rcsetup
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .files import PathLike, write_atomically
from .methods import LABELS, METHODS

FULL = 7.0  # width of a page in inches
COLOUR_RANGE = (0.005, 0.995)  # of a map: the quantiles at the ends of its colours
TEXT, SMALL = 8, 7  # font sizes in points
DARK, GREY, LIGHT = "#262626", "#6e6e6e", "#d9d9d9"
INK = ".15"  # of text and axes: DARK before it is rounded to 8 bits
DASHES = ("-", "--", ":", "-.")  # of curves that share a colour
# The methods of every study have a colour each, told apart by readers with any common colour-vision deficiency; the
# others have that of their family, as they are always named beside it: scalar λ, no TV, the map's bound.
COLOURS = dict.fromkeys(LABELS, "#ca9161") | {
    "noisy": "#949494",
    "scalar-fixed": "#0173b2",
    "scalar-oracle-psnr": "#de8f05",
    "scalar-oracle-ssim": "#cc78bc",
    "map": "#029e73",
    "map-oracle": "#9ad9c5",
}
COLOURS |= {name: "#56b4e9" for name in LABELS if name.startswith("scalar-") and name not in METHODS}

# Seaborn's own, in its order: of curves that no style names, and for readers with any colour-vision deficiency.
CYCLE = "#4c72b0 #dd8452 #55a868 #c44e52 #8172b3 #937860 #da8bc3 #8c8c8c #ccb974 #64b5cd".split()
COLOUR_BLIND = "#0173b2 #de8f05 #029e73 #d55e00 #cc78bc #ca9161 #fbafe4 #949494 #ece133 #56b4e9".split()

matplotlib.use("Agg")
# Seaborn's style "ticks" in smaller type. It is not called for it: importing it takes longer than drawing a figure.
matplotlib.rcParams.update(
    {
        "font.family": "DejaVu Sans",  # comes with matplotlib, so text is the same on every machine
        "font.size": TEXT,
        "axes.titlesize": TEXT,
        "axes.labelsize": TEXT,
        "xtick.labelsize": SMALL,
        "ytick.labelsize": SMALL,
        "legend.fontsize": SMALL,
        "legend.frameon": False,
        "legend.title_fontsize": 12,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "grid.color": ".8",
        "grid.linewidth": 1,
        "patch.edgecolor": "w",
        "patch.force_edgecolor": True,
        "axes.prop_cycle": matplotlib.rcsetup.cycler(color=CYCLE),
        "axes.axisbelow": True,
        "axes.linewidth": 0.6,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.minor.width": 0.4,
        "ytick.minor.width": 0.4,
        "xtick.major.size": 3,
        "ytick.major.size": 3,
        "xtick.minor.size": 2,
        "ytick.minor.size": 2,
        "xtick.major.pad": 2.5,
        "ytick.major.pad": 2.5,
        "axes.labelpad": 3,
        "lines.linewidth": 1.2,
        "lines.solid_capstyle": "round",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "pdf.fonttype": 42,
        "svg.hashsalt": "tvmap",
    }
)


def panels(rows: int, columns: int, height: float, **options: Any) -> tuple[Figure, np.ndarray]:
    """Return a figure of full width and `height` inches and its (rows, columns) array of axes."""
    figure = Figure(figsize=(FULL, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def bare(axes: Axes, title: str | None = None) -> None:
    """No ticks and no frame around an image."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if title:
        axes.set_title(title)


def draw_map(figure: Figure, axes: Axes, values: np.ndarray, **bar: Any) -> tuple[float, float]:
    """Draw a map (H, W) with a colour bar; returns the range of the colours, see COLOUR_RANGE.

    Few extreme pixels would leave one colour for all others; what lies outside has the colour of the end. `bar`: label,
    fraction and pad of the colour bar.
    """
    low, high = np.quantile(values, COLOUR_RANGE)
    low, high = (low, high) if high > low else (values.min(), values.max())
    picture = axes.imshow(values, cmap="viridis", interpolation="none", vmin=low, vmax=high)
    bare(axes)
    figure.colorbar(picture, ax=axes, extend="both", **bar).outline.set_visible(False)
    return low, high


def canvas(width: float, height: float, units: float) -> tuple[Figure, Axes]:
    """Return a figure and one empty axes over all of it, `units` wide, with equal scales, for drawings.

    The axes run from (0, 0) at the lower left to (units, units · height / width) at the upper right.
    """
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, units), ylim=(0, units * height / width), aspect="equal")
    axes.axis("off")
    return figure, axes


def arrow(axes: Axes, *points: tuple[float, float], colour: str = DARK, linestyle: str = "-") -> None:
    """Draw a line through `points` of a drawing that ends in an arrow head."""
    axes.plot(*zip(*points, strict=True), color=colour, linestyle=linestyle, linewidth=1.1, solid_capstyle="butt")
    end: Any  # an array, which matplotlib takes but its annotations do not name
    end, before = np.array(points[-1]), np.array(points[-2])
    start = end - 0.5 * (end - before) / np.linalg.norm(end - before)
    head = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.1, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 7}
    axes.annotate("", end, start, arrowprops=head)


def save(figure: Figure, png_path: PathLike, pdf_path: PathLike) -> None:
    """Write `figure` as PNG (200 dpi) and PDF; the same figure gives the same bytes: no date, no program name."""
    without = {"png": {"Software": None}, "pdf": dict.fromkeys(("CreationDate", "Creator", "Producer"))}
    for path, (kind, metadata) in zip((png_path, pdf_path), without.items(), strict=True):
        content = io.BytesIO()
        figure.savefig(content, format=kind, dpi=200, metadata=metadata)
        write_atomically(path, content.getvalue())


def jitter(count: int, width: float) -> np.ndarray:
    """Return `count` offsets in [-width, width] that spread points evenly (golden-ratio sequence, no randomness)."""
    return width * (2 * np.modf(np.arange(1, count + 1) * 0.6180339887498949)[0] - 1)


def shades(count: int) -> list[list[float]]:
    """`count` colours of viridis from dark to light, without its ends."""
    return matplotlib.colormaps["viridis"](np.linspace(0, 1, count + 3)[1:-2])[:, :3].tolist()


def protocol_styles(protocols: Collection[str]) -> dict[str, dict[str, Any]]:
    """{protocol: colour, marker, size} of curves that lie in one panel: from dark to light, a marker each."""
    pairs = zip(protocols, shades(len(protocols)), itertools.cycle("os^Dv"), strict=False)
    return {name: {"color": colour, "marker": marker, "markersize": 3.5} for name, colour, marker in pairs}


def quiet_boxplot(**arguments: Any) -> Axes:
    """Call `seaborn.boxplot` without the deprecation warnings it raises inside matplotlib."""
    import seaborn as sns  # takes longer than drawing a figure

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sns.boxplot(**arguments)
