"""Grey square images from image files: centre crop, resize, 8-bit grey, scaled to [0, 1]."""

import io
import warnings
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError

from .errors import StudyError
from .files import PathLike
from .logs import quiet

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

SMALLEST_VIEW = 0.5  # side of a view over the short side of the picture
# Only formats that Pillow decodes itself: no file may start another program (as EPS does).
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "PPM", "WEBP")
MOST_COSTLY = 2**25  # pixels of what Pillow decodes with three times the memory of its pixels, or number by number
ROWS = 256  # that are scaled at a time

quiet("PIL")


def read_grey(source: PathLike | bytes, name: str, size: int) -> np.ndarray:
    """Read an image as the studies use it: centre square, bicubic `size` x `size`, grey 8-bit, divided by 255.

    Args:
        source: path of an image file, or its bytes.
        name: how messages call the file.
        size: side of the result in pixels.

    Returns:
        Array (size, size), float32 in [0, 1]. An orientation tag (EXIF) is not applied: pixels stay as stored.

    Raises:
        StudyError: not an image, damaged, more pixels than Pillow holds for safe (89 million), or all pixels equal.
    """
    picture = _open(source, name)
    side = min(picture.size)
    square = _square(picture, (picture.width - side) // 2, (picture.height - side) // 2, side, size)
    return _varied(_unit(square), name)


def read_views(source: PathLike | bytes, name: str, size: int, n: int, random: np.random.Generator) -> np.ndarray:
    """Read `n` random squares of an image at full resolution, each resized as `read_grey` does it with the centre.

    Args:
        source: see `read_grey`.
        name: see `read_grey`.
        size: side of the results in pixels.
        n: number of views.
        random: a `numpy.random.Generator`. The side is uniform in [0.5, 1] of the image's short side, but not below
            `size` where the image is large enough, the place uniform in the whole image.

    Returns:
        Array (n, size, size), float32 in [0, 1]; one may have no detail at all. Errors as in `read_grey` but for that.
    """
    picture = _open(source, name)
    short = min(picture.size)
    smallest = min(short, max(size, round(SMALLEST_VIEW * short)))
    views = np.empty((n, size, size), np.float32)
    for k in range(n):
        side = int(random.integers(smallest, short + 1))
        left, top = (int(random.integers(room - side + 1)) for room in picture.size)
        views[k] = _unit(_square(picture, left, top, side, size))
    return views


def read_tiles(source: PathLike | bytes, name: str, size: int) -> np.ndarray:
    """Cut at most four tiles of `size` x `size` that do not overlap from the centre of a photograph.

    A photograph whose short side is longer than two tiles is reduced (bicubic) to two tiles first, so that the tiles
    show most of it; no photograph is ever enlarged.

    Returns:
        Array (n, size, size), float32 in [0, 1], row by row, n in 0, 1, 2, 4. Errors as in `read_grey`.
    """
    picture = _open(source, name)
    scale = min(1.0, 2 * size / min(picture.size))
    if scale < 1:
        picture = picture.resize([round(scale * side) for side in picture.size], Image.Resampling.BICUBIC)
    grey = _varied(_unit(picture.convert("L")), name)
    rows, columns = (min(2, side // size) for side in grey.shape)
    top, left = (grey.shape[0] - rows * size) // 2, (grey.shape[1] - columns * size) // 2
    block = grey[top : top + rows * size, left : left + columns * size]
    return block.reshape(rows, size, columns, size).swapaxes(1, 2).reshape(rows * columns, size, size)


def _square(picture: Image.Image, left: int, top: int, side: int, size: int) -> Image.Image:
    """A square of the picture, resized to size × size and grey."""
    square = picture.crop((left, top, left + side, top + side))
    return square.resize((size, size), Image.Resampling.BICUBIC).convert("L")


def check_cost(picture: "ImageFile", name: str) -> None:
    """Refuse a large image of a kind that costs Pillow too much: WebP, or PPM that is text or has odd numbers.

    Raises:
        StudyError: it has more than MOST_COSTLY pixels.
    """
    costly = picture.format == "WEBP" or (picture.format == "PPM" and picture.tile[0].codec_name != "raw")
    if costly and picture.width * picture.height > MOST_COSTLY:
        raise StudyError(
            f"{name}: {picture.format} of its kind has at most {MOST_COSTLY:,} pixels here; save it as PNG"
        )


def _open(source: PathLike | bytes, name: str) -> Image.Image:
    """Decode the whole file; the result has mode L or RGB."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow finds odd but reads
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as picture:
                check_cost(picture, name)
                picture.load()
                return _plain(picture, name)
    except StudyError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise StudyError(
            f"{name}: declares more than {Image.MAX_IMAGE_PIXELS:,} pixels; leave it out or save a smaller copy"
        ) from None
    except Exception as error:  # damaged files raise OSError, SyntaxError, ValueError, struct.error, zlib.error, ...
        # The text of an UnidentifiedImageError shows an address in memory.
        reason = "" if isinstance(error, UnidentifiedImageError) else f" ({_one_line(error)})"
        raise StudyError(
            f"{name}: cannot be read as an image, it is damaged or of another kind{reason}; replace it or leave it out"
        ) from None


def _plain(picture: Image.Image, name: str) -> Image.Image:
    if picture.mode.startswith("I"):
        return _from_16_bit(picture, name)
    if picture.mode == "F":
        raise StudyError(f"{name}: has floating-point pixels of unknown range; save it with 8 or 16 bits")
    # Pillow resizes palettes and two-level images by nearest neighbour whatever filter is asked for: convert before.
    return picture if picture.mode in ("L", "RGB") else picture.convert("L" if picture.mode in ("1", "LA") else "RGB")


def _from_16_bit(picture: Image.Image, name: str) -> Image.Image:
    """Scale 16-bit grey to 8 bits; Pillow's own conversion would clip at 255."""
    scaled = np.empty((picture.height, picture.width), np.uint8)
    for top in range(0, picture.height, ROWS):  # never all of it in floating point
        values = np.asarray(picture.crop((0, top, picture.width, min(top + ROWS, picture.height))))
        if values.min() < 0 or values.max() > 65535:
            raise StudyError(f"{name}: has pixels outside 0 to 65535; save it with 8 or 16 bits")
        scaled[top : top + ROWS] = np.rint(np.divide(values, 257, dtype=np.float32))
    return Image.fromarray(scaled)


def _unit(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture, dtype=np.float32) / np.float32(255)


def _varied(pixels: np.ndarray, name: str) -> np.ndarray:
    if pixels.min() == pixels.max():
        raise StudyError(f"{name}: all its pixels are equal, nothing can be measured on it; leave it out")
    return pixels


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
