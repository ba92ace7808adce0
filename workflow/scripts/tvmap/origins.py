"""Where a study's images come from, by `data.source`: what they are, who has several of them, what may be published."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """One source.

    images: what they are, for the model card, with a place for {category}; known: what else a network knows of them;
    group: what takes the part of a patient; x_rays: the dissertation's kind of image; free: pixels may be published.
    """

    images: str
    known: str
    group: str = "patient"
    x_rays: bool = False
    free: bool = False


_X_RAYS = Origin(
    "chest X-rays of children, {category}, of D. Kermany, K. Zhang, M. Goldbaum, "
    "[doi:10.17632/rscbjbr9sj](https://doi.org/10.17632/rscbjbr9sj), CC BY 4.0; no pixel of them is published here",
    "One kind of image, one hospital's children",
    x_rays=True,
)
_SAMPLE = Origin(
    "photographs that come with scikit-image; their terms stand beside their names in `tvmap/sources.py`",
    "Few photographs",
    group="photograph",
    free=True,
)
_FOLDER = Origin(
    "images of a folder, of which this card knows no more", "The images of one folder", group="source image"
)
_ORIGINS = {"mendeley": _X_RAYS, "archive": _X_RAYS, "folder": _FOLDER, "sample": _SAMPLE}


def origin(source: str) -> Origin:
    """The `Origin` of a study with this `data.source`."""
    return _ORIGINS[source]
