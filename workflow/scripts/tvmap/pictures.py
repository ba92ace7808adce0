"""Images of any kind and their way back: PNG, JPEG, TIFF, DICOM, NumPy arrays; depth, colours, transparency kept.

The study has its own reader, `images`, which makes everything alike; here nothing is cropped, resized or made grey.
The guards against files that are damaged, lie or are too large also serve `map_files`.
"""

import io
import math
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import StudyError
from .files import PathLike, write_atomically
from .images import check_cost
from .logs import quiet

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile
    from pydicom import FileDataset
    from tifffile import TiffFile, TiffPage

MOST_PIXELS = 89_478_485  # as Pillow's own bound against files that declare absurd sizes
MOST_BYTES = 7 * 2**27  # of a file, and of the values in it: with the float32 made of them less than 2 GiB
MOST_TAGS = 2**27  # bytes that the tags of a TIFF may take in memory
MOST_RLE = 2**24  # bytes of a packed DICOM image, which pydicom makes up to 64 times as many
DIM = 1 / 8  # of the range: an image all of which is below it is black to the eye
DEPTHS = (8, 10, 12, 14)  # bits that detectors have, whose values files of 16 bits hold
LARGEST = 1e18  # times the range: float32 ends at 3e38, and squares are taken
BLOCK = 2**20  # values that are converted at a time
PILLOW = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".webp"}
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "WEBP")
TIFF, DICOM, NUMPY = {".tif", ".tiff"}, {".dcm", ".dicom"}, {".npy"}
REPLACE = "replace it or leave it out"
LIMITS = "limits low < high, with tvmap by --range"
COLOUR_16 = "16 bits, of which this reader would lose 8; save it as TIFF"
SUFFIXES = PILLOW | TIFF | DICOM | NUMPY
# What is written for what is read: without loss, and with the depth that was read.
WRITTEN = dict.fromkeys(PILLOW, ".png") | dict.fromkeys(TIFF | DICOM, ".tif") | dict.fromkeys(NUMPY, ".npy")

Limits = tuple[float, float]  # the values of a file that count as 0 and 1

quiet("PIL", "tifffile", "pydicom")

WHITE_IS_0, BLACK_IS_0, RGB, SEPARATE, PREMULTIPLIED = 0, 1, 2, 2, 1  # of the TIFF tags 262, 284 and 338
SIZES = {256, 257, 277, 278, 322, 323, 32997, 32998}  # tags: width, length, depth of image and tile; samples; rows
INTEGERS = (3, 4, 16)  # types of tags: of 2, 4 and 8 bytes; of 1 byte it is no number for tifffile
PLAIN, DEFLATE = 1, (8, 32946)  # of the tag 259: what tifffile unpacks without other libraries
# Of the tag 274: how an image is turned or mirrored to stand upright.
UPRIGHT: dict[int | None, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda values: values[:, ::-1],
    3: lambda values: values[::-1, ::-1],
    4: lambda values: values[::-1],
    5: lambda values: values.swapaxes(0, 1),
    6: lambda values: values[::-1].swapaxes(0, 1),
    7: lambda values: values[::-1, ::-1].swapaxes(0, 1),
    8: lambda values: values[:, ::-1].swapaxes(0, 1),
}


@dataclass(frozen=True)
class Picture:
    """An image as numbers: `channels` (C, H, W), float32, C = 1 (grey) or 3 (colour).

    They run from 0 to 1 where the file's values run from `low` to `high`; noise may reach beyond. `dtype`: of the
    file's values, or float32 for what is written as such; `alpha` (H, W): the transparency, as it was, or None.
    `suffix`: of the file that `write` makes without loss. `counted`: the values of the file that was read, of DICOM its
    window, that became 0 and 1. `assumed`: these limits, where they were taken from the values.
    `profile`: the ICC profile, what its grey or colours mean, or None.
    """

    channels: np.ndarray
    low: float
    high: float
    dtype: np.dtype
    suffix: str
    counted: Limits
    alpha: np.ndarray | None = None
    assumed: Limits | None = None
    profile: bytes | None = None

    def as_float(self) -> "Picture":
        """The same for values in float32: where they were integers, from 0 to 1."""
        floating = self.dtype.kind == "f"
        top, low, high = (1, self.low, self.high) if floating else (np.iinfo(self.dtype).max, 0.0, 1.0)
        alpha = None if self.alpha is None else (self.alpha / top).astype(np.float32)
        return replace(self, dtype=np.dtype(np.float32), low=low, high=high, alpha=alpha)

    def values(self, channels: np.ndarray) -> np.ndarray:
        """`channels` (C, H, W) in the units, the depth and the shape of the file: (H, W) or (H, W, C)."""
        values = np.asarray(channels, np.float64) * (self.high - self.low) + self.low
        if np.issubdtype(self.dtype, np.integer):
            info = np.iinfo(self.dtype)
            values = np.rint(values.clip(info.min, info.max))
        values = np.moveaxis(values.astype(self.dtype), 0, -1)
        if self.alpha is not None:
            values = np.concatenate([values, self.alpha[..., None]], axis=-1)
        return values[..., 0] if values.shape[-1] == 1 else values


def read(path: PathLike, limits: Limits | None = None) -> Picture:
    """Read an image file as a `Picture`.

    Args:
        path: a file with one of SUFFIXES. Of DICOM, what a viewer shows: rescale slope and intercept are applied, the
            window's ends become 0 and 1 (nothing is clipped), or 1 and 0 of MONOCHROME1, which is bright for low; of a
            sigmoid or a table for the eye (VOI LUT), the ends of what it gives.
        limits: (low, high), the values of the file that count as 0 and 1 in place of such a window. Otherwise those
            of 8 or 16 bits; 0 and 1 for floating-point numbers between −1 and 2; and for all others their smallest and
            largest value.

    Raises:
        StudyError: no such file, damaged, of another kind, too large, several images in one, no finite numbers, or a
            depth that cannot be read without loss.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        if not path.exists():
            raise StudyError(f"{path}: no such file or folder")
        known = ", ".join(sorted(SUFFIXES))
        raise StudyError(f"{path}: its name does not end like an image's; rename it, DICOM to .dcm; known are {known}")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise StudyError(f"{path}: more than {MOST_BYTES >> 20} MiB; cut it into pieces")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what libraries find odd but read
            if suffix in DICOM:
                values, limits = _read_dicom(path, limits)
            else:
                values = (_read_tiff if suffix in TIFF else _read_numpy if suffix in NUMPY else _read_pillow)(path)
            profile = None if suffix in DICOM | NUMPY else _profile(path)
    except Exception as error:
        raise refusal(path, error, "an image, it is damaged or of another kind", REPLACE) from None
    return replace(_picture(path, values, limits, WRITTEN[suffix]), profile=profile)


def unused_bits(picture: Picture) -> str | None:
    """A sentence on 16 bits that are not used, if all of an image of them is DIM, as where they hold 12; else None.

    λ and Λ are in units of the range, so they would be far too strong.
    """
    top = float(picture.channels.max()) * 65535
    if picture.dtype != np.uint16 or picture.counted != (0, 65535) or not 0.5 < top < DIM * 65535:
        return None
    bits = next(bits for bits in DEPTHS if top < 2**bits - 0.5)
    return f"values up to {top:.0f} of 65535; if it holds {bits} bits, give --range 0 {2**bits - 1}"


def write(path: PathLike, picture: Picture, channels: np.ndarray) -> None:
    """Write `channels` (C, H, W) to `path`, atomically, with what else `picture` is; its suffix says the format.

    `path` may end in .png (8, 16 bit), .tif or .npy.
    """
    write_values(path, picture.values(channels), picture.profile)


def check_format(path: PathLike, dtype: np.dtype, colour: bool) -> None:
    """Refuse the name of a file whose format does not hold values of this type: PNG has 8 or 16 bits.

    Raises:
        StudyError: it does not.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (*NUMPY, *TIFF) and not (suffix == ".png" and dtype in (np.uint8, np.uint16)):
        depth = f"{dtype} {'colour' if colour else 'grey'}"
        raise StudyError(f"{path}: this format does not hold {depth} values; give a name that ends in .tif")


def write_values(path: PathLike, values: np.ndarray, profile: bytes | None = None) -> None:
    """Write an array (H, W) or (H, W, C) as it is to a file that ends in .png, .tif or .npy, atomically.

    profile: the ICC profile of its grey or colours, for which .npy has no place.

    Raises:
        StudyError: the format does not hold such values.
    """
    path, content = Path(path), io.BytesIO()
    suffix = path.suffix.lower()
    check_format(path, values.dtype, values.ndim == 3)
    if suffix in NUMPY:
        np.save(content, values, allow_pickle=False)
    elif suffix in TIFF:
        import tifffile

        options: dict = {"photometric": "minisblack"}
        if values.ndim == 3:
            options |= {"photometric": "rgb" if values.shape[-1] > 2 else "minisblack", "planarconfig": "contig"}
            options |= {"extrasamples": ["unassalpha"]} if values.shape[-1] in (2, 4) else {}
        tifffile.imwrite(content, values, metadata=None, iccprofile=profile, **options)
    elif values.dtype == np.uint16 and values.ndim == 3:
        _write_png_16(content, values, profile)
    else:
        Image.fromarray(values).save(content, "PNG", icc_profile=profile)
    write_atomically(path, content.getvalue())


def check_size(path: Path, height: int, width: int, bytes_a_pixel: int = 1, beside: int = 0) -> None:
    """Refuse what is too large; `beside`: bytes a pixel that reading takes beside the values."""
    if height * width > MOST_PIXELS:
        raise StudyError(f"{path}: declares {height} × {width} pixels, more than {MOST_PIXELS:,}; cut it into pieces")
    if height * width * (bytes_a_pixel + beside) > MOST_BYTES:
        raise StudyError(f"{path}: declares {height} × {width} pixels of {bytes_a_pixel} bytes; cut it into pieces")


def n_pages(path: Path, most: int) -> int:
    """The number of pages of a TIFF, at most `most` + 1, of which neither tifffile nor Pillow has read any.

    Raises:
        StudyError: their tags, of which both make lists of numbers, would take more than MOST_TAGS, or a size is no
            number: both multiply what they find, and a text times a number is a long text.
    """
    with open(path, "rb") as file:
        head = file.read(16)
        order = ">" if head[:2] == b"MM" else "<"
        codes = ("Q", "HHQQ", "Q") if head[2:4] in (b"+\0", b"\0+") else ("H", "HHII", "I")
        n_tags, tag, offset = (struct.Struct(order + code) for code in codes)
        n, held, (at,) = 0, 0, offset.unpack_from(head, offset.size)
        while at and n <= most:
            file.seek(at)
            packed = file.read(n_tags.size)
            if len(packed) < n_tags.size:
                break
            n += 1
            tags = file.read(min(*n_tags.unpack(packed), 4096) * tag.size)  # tifffile, too, takes no more
            for name, kind, length, _ in tag.iter_unpack(tags[: len(tags) // tag.size * tag.size]):
                if name in SIZES and (kind not in INTEGERS or length != 1):
                    raise StudyError(f"{path}: tag {name}, a size, is not one number; it is damaged, {REPLACE}")
                held += length * (2 if kind in (1, 2, 7) else 48)  # bytes, or numbers of Python
            if held > MOST_TAGS:
                raise StudyError(f"{path}: too much beside its pixels; save it without layers, or in fewer strips")
            packed = file.read(offset.size)
            at = offset.unpack(packed)[0] if len(packed) == offset.size else 0
    return n


def dtype_of(path: Path, page: "TiffPage") -> np.dtype:
    """The type of the values of a page of a TIFF, which other numbers than are known do not have."""
    if page.dtype is None:  # 8 bits that are declared as floating point, and the like
        raise StudyError(f"{path}: numbers of an unknown kind; give 8 or 16 bits, or floating point")
    return page.dtype


def check_chunks(path: Path, file: "TiffFile", page: "TiffPage") -> None:
    """Strips and tiles that are too large, or become more than they declare, are refused before tifffile unpacks."""
    deflated = int(page.compression) in DEFLATE
    most = math.prod(page.chunks) * dtype_of(path, page).itemsize
    if most > (MOST_BYTES // 4 if deflated else MOST_BYTES):  # packed, unpacked and put together
        raise StudyError(f"{path}: packed in pieces of {most >> 20} MiB; save it unpacked")
    if len(page.dataoffsets) < math.prod(page.chunked):  # each that lacks would be filled, one by one
        raise StudyError(f"{path}: some of its pieces are missing; it is damaged, {REPLACE}")
    if deflated and max(page.databytecounts, default=0) > 2 * most + 2**16:
        raise StudyError(f"{path}: holds more than it declares; it is damaged, {REPLACE}")
    segments: Iterable[Any] = file.filehandle.read_segments(page.dataoffsets, page.databytecounts) if deflated else ()
    for segment, _ in segments:
        if segment is not None and len(zlib.decompressobj().decompress(segment, most + 1)) > most:
            raise StudyError(f"{path}: holds more than it declares; it is damaged, {REPLACE}")


def npy_array(path: Path) -> np.ndarray:
    """The array of a file, which stays there until it is copied."""
    values = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(values, np.ndarray):  # an archive of arrays
        values.close()
        raise StudyError(f"{path}: not one array; save the one that is meant")
    return values


def refusal(path: Path, error: Exception, kind: str, instead: str) -> StudyError:
    """The line on a file that could not be read; damaged ones raise OSError, ValueError, KeyError, struct.error, …."""
    if isinstance(error, StudyError):
        return error
    if isinstance(error, FileNotFoundError):
        return StudyError(f"{path}: no such file")
    if isinstance(error, PermissionError):
        return StudyError(f"{path}: may not be read; change its permissions, or leave it out")
    if isinstance(error, MemoryError):
        return StudyError(f"{path}: not enough memory to read it; free some, or cut it into pieces")
    reason = "" if isinstance(error, UnidentifiedImageError) else f" ({' '.join(str(error).split())[:200]})"
    return StudyError(f"{path}: cannot be read as {kind}{reason}; {instead}")


def _write_png_16(file: io.BytesIO, values: np.ndarray, profile: bytes | None) -> None:
    """A PNG of values (H, W, 2 … 4), uint16, which Pillow cannot write; the rows are not filtered."""
    height, width, n = values.shape
    rows = np.zeros((height, 1 + 2 * n * width), np.uint8)
    rows[:, 1:] = np.ascontiguousarray(values, ">u2").view(np.uint8).reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[n], 0, 0, 0)
    file.write(b"\x89PNG\r\n\x1a\n")
    chunks = [(b"iCCP", b"ICC\0\0" + zlib.compress(profile))] if profile else []
    for kind, content in ((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b"")):
        file.write(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content)))


def _picture(path: Path, values: np.ndarray, limits: Limits | None, suffix: str) -> Picture:
    shape = values.shape
    (values, alpha), own = _split_alpha(path, np.asarray(values)), None
    if values.dtype == bool:
        values = values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind not in "uif" or not values.size or (values.dtype.kind in "ui" and values.dtype.itemsize > 2):
        raise StudyError(f"{path}: {values.dtype} values of shape {shape}; give 8 or 16 bits, or floating point")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise StudyError(f"{path}: {(~np.isfinite(values)).sum()} pixels are NaN or infinite; {REPLACE}")
    dtype, ends = values.dtype.newbyteorder("="), (float(values.min()), float(values.max()))
    alpha = None if alpha is None else alpha.astype(dtype)
    if dtype in (np.uint8, np.uint16):
        own = 0, np.iinfo(dtype).max
    elif values.dtype.kind == "f" and ends[0] >= -1 and ends[1] <= 2:
        own = 0, 1
    assumed = ends if limits is None and own is None else None
    low, high = map(float, limits or own or ends)
    if not (low < high and math.isfinite(high - low)):
        raise StudyError(f"{path}: values from {low:g} to {high:g} count as 0 to 1; give {LIMITS}")
    if max(abs(end - low) for end in ends) > LARGEST * (high - low):
        raise StudyError(f"{path}: values from {low:g} to {high:g} count as 0 to 1; give {LIMITS}, further apart")
    channels = np.empty((values.shape[-1], *values.shape[:-1]), np.float32)
    rows = max(BLOCK // (values.shape[1] * values.shape[2]), 1)
    for top in range(0, len(values), rows):  # in float64, but never the whole of it
        block = np.moveaxis(values[top : top + rows].astype(np.float64), -1, 0)
        channels[:, top : top + rows] = (block - low) / (high - low)
    counted = low, high
    if path.suffix.lower() in DICOM:  # written as what a viewer shows
        dtype, low, high = np.dtype(np.float32), 0.0, 1.0
    return Picture(channels, low, high, dtype, suffix, counted, alpha, assumed)


def _split_alpha(path: Path, values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """(H, W, 1 or 3) and the transparency (H, W) or None, of (H, W) or (H, W, 1 … 4)."""
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim != 3 or not 1 <= values.shape[-1] <= 4:
        raise StudyError(f"{path}: shape {values.shape}; one image is needed, (H, W) grey or (H, W, 3) colour")
    if values.shape[-1] in (2, 4):
        return values[..., :-1], values[..., -1]
    return values, None


def _read_pillow(path: Path) -> np.ndarray:
    with Image.open(path, formats=FORMATS) as picture:
        check_size(path, picture.height, picture.width)
        check_cost(picture, str(path))
        n_images = getattr(picture, "n_frames", 1)
        if n_images > 1:
            raise StudyError(f"{path}: has {n_images} images; save the one that is meant")
        grey = picture.mode.startswith("I") and "transparency" not in picture.info
        if picture.format == "PNG" and _png_depth(path) == 16 and not grey:
            return _png_16(path, picture)
        if picture.format == "PPM" and picture.mode == "RGB" and _ppm_maximum(picture) > 255:
            raise StudyError(f"{path}: colour of {COLOUR_16}")
        # A viewer turns what a camera has tagged; what is written has no tag.
        return _plain(path, ImageOps.exif_transpose(picture) or picture)


def _png_16(path: Path, picture: "ImageFile") -> np.ndarray:
    """Colour of 16 bits, of which Pillow keeps one byte: read once for the high one and once for the low one."""
    tile = picture.tile[0]
    if tile.args not in ("RGB;16B", "RGBA;16B") or "transparency" in picture.info:
        raise StudyError(f"{path}: grey with transparency, or one colour or grey that is transparent, of {COLOUR_16}")
    values = np.zeros((picture.height, picture.width, len(picture.mode)), np.uint16)
    with Image.open(path, formats=("PNG",)) as low:
        low.tile = [tile._replace(args=tile.args.replace("16B", "16L"))]
        for half, shift in ((picture, 8), (low, 0)):
            for top in range(0, len(values), 256):
                rows = values[top : top + 256]
                part = half.crop((0, top, half.width, top + len(rows)))
                rows |= np.asarray(part).astype(np.uint16) << np.uint16(shift)
    return UPRIGHT.get(picture.getexif().get(274), lambda values: values)(values)


def _profile(path: Path) -> bytes | None:
    """The ICC profile of a file that has been read, None if there is none for grey or RGB, which all has become."""
    if path.suffix.lower() in TIFF:
        import tifffile

        with tifffile.TiffFile(path) as file:
            tag = file.pages.first.tags.get(34675)
            profile = tag.value if tag else None
    else:
        with Image.open(path, formats=FORMATS) as picture:
            profile = picture.info.get("icc_profile")
    return profile if isinstance(profile, bytes) and profile[16:20] in (b"GRAY", b"RGB ") else None


def _png_depth(path: Path) -> int:
    with open(path, "rb") as file:
        return file.read(25)[-1]


def _ppm_maximum(picture: "ImageFile") -> int:
    arguments = picture.tile[0].args
    return arguments[1] if isinstance(arguments, tuple) else 255


def _plain(path: Path, picture: Image.Image) -> np.ndarray:
    """The pixels of a Pillow image, grey, colour, or either with transparency."""
    if picture.mode.startswith("I"):
        values = np.asarray(picture)
        if values.min() < 0 or values.max() > 65535:
            raise StudyError(f"{path}: pixels outside 0 to 65535; save it with 8 or 16 bits, or as floating point")
        return values.astype(np.uint16)
    if picture.mode in ("L", "RGB") and "transparency" in picture.info:
        picture = picture.convert(f"{picture.mode}A")
    if picture.mode in ("P", "PA"):
        picture = picture.convert("RGBA" if "transparency" in picture.info or picture.mode == "PA" else "RGB")
    keep = {"1": "L", "La": "LA", "RGBa": "RGBA"}
    mode = keep.get(picture.mode, picture.mode if picture.mode in ("L", "LA", "RGB", "RGBA", "F") else "RGB")
    return np.asarray(picture if picture.mode == mode else picture.convert(mode))


def _read_tiff(path: Path) -> np.ndarray:
    """The one image of a TIFF: by tifffile, which keeps every depth, or by Pillow for what is packed otherwise."""
    import tifffile

    if n_pages(path, 1) > 1:
        raise StudyError(f"{path}: has more than one image; save the one that is meant")
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        if page.samplesperpixel > 4:
            raise StudyError(f"{path}: has {page.samplesperpixel} numbers a pixel; grey or colour is needed")
        depths = set(np.atleast_1d(page.bitspersample).tolist())
        check_size(path, page.imagelength, page.imagewidth, page.samplesperpixel * -(-max(depths) // 8))
        if PREMULTIPLIED in page.extrasamples:
            raise StudyError(f"{path}: its colours are multiplied by its transparency; save it without that")
        packing = int(page.compression)
        kept = depths != {1} and int(page.photometric) in (WHITE_IS_0, BLACK_IS_0, RGB)
        if not kept or (packing != PLAIN and packing not in DEFLATE):
            return _tiff_by_pillow(path, depths, int(page.photometric))
        check_chunks(path, file, page)
        try:
            values = page.asarray(maxworkers=1)
        except (ValueError, ImportError):  # values packed in a way that tifffile has no decoder for
            return _tiff_by_pillow(path, depths, int(page.photometric))
        if int(page.photometric) == WHITE_IS_0:
            values = _black_is_0(values)
        values = np.moveaxis(values, 0, -1) if int(page.planarconfig) == SEPARATE and values.ndim == 3 else values
        orientation = page.tags.get(274)
        return UPRIGHT.get(orientation.value if orientation else 1, lambda values: values)(values)


def _tiff_by_pillow(path: Path, depths: set[int], photometric: int) -> np.ndarray:
    deep, packed = max(depths) > 8, "packed in a way that this reader cannot undo without loss; save it unpacked"
    try:
        picture = Image.open(path, formats=("TIFF",))
    except UnidentifiedImageError:  # tifffile knows what it is: of a kind that Pillow does not have
        if not deep:
            raise
        raise StudyError(f"{path}: {packed}") from None
    with picture:
        if deep and not (picture.mode.startswith("I") or picture.mode == "F"):
            raise StudyError(f"{path}: {packed}")
        values = _plain(path, ImageOps.exif_transpose(picture) or picture)
        # Of 8 bits and fewer Pillow has done it.
        return _black_is_0(values) if deep and photometric == WHITE_IS_0 else values


def _black_is_0(values: np.ndarray) -> np.ndarray:
    return np.iinfo(values.dtype).max - values if values.dtype.kind == "u" else -values


def _read_numpy(path: Path) -> np.ndarray:
    values = npy_array(path)
    if values.ndim >= 2:
        check_size(path, *values.shape[:2])
    return np.array(values)


def _read_dicom(path: Path, limits: Limits | None) -> tuple[np.ndarray, Limits | None]:
    """(values, limits) as a viewer shows them, nothing clipped; the limits are the window's if none are given."""
    import pydicom
    from pydicom.pixels import apply_modality_lut, apply_voi

    _check_deflated(path)
    data = pydicom.dcmread(path)
    if "PixelData" not in data and "FloatPixelData" not in data and "DoubleFloatPixelData" not in data:
        raise StudyError(f"{path}: a DICOM file without pixels; {REPLACE}")
    rows, columns = int(data.Rows), int(data.Columns)
    stored_bytes = int(data.SamplesPerPixel) * -(-int(data.BitsAllocated) // 8)
    check_size(path, rows, columns, stored_bytes, beside=16)  # in float64
    if int(data.get("NumberOfFrames") or 1) > 1:
        raise StudyError(f"{path}: has {data.NumberOfFrames} images; save the one that is meant")
    kind = data.PhotometricInterpretation
    values = _dicom_pixels(path, data, rows * columns)
    if kind not in ("MONOCHROME1", "MONOCHROME2"):
        if kind == "PALETTE COLOR":
            raise StudyError(f"{path}: colours by a palette; save it as PNG")
        return values, limits  # pydicom has made YBR to RGB
    stored = None  # of integers without a sign
    other_values = {"RescaleSlope", "ModalityLUTSequence"} & {*data.dir()} or "PixelData" not in data
    if not int(data.get("PixelRepresentation") or 0) and not other_values:
        stored = 0.0, 2.0 ** int(data.BitsStored) - 1
    values = np.asarray(apply_modality_lut(values, data), np.float64)
    function = data.get("VOILUTFunction") or "LINEAR"
    window, ends = True, lambda: (float(values.min()), float(values.max()))
    if limits:
        low, high = limits
    elif data.get("VOILUTSequence"):
        entries, first, depth = data.VOILUTSequence[0].LUTDescriptor
        # With 8 bits pydicom would look values up modulo 256; the depth changes nothing else.
        data.VOILUTSequence[0].LUTDescriptor = [entries, first, 16 if depth == 8 else depth]
        values = np.asarray(apply_voi(values, data), np.float64)
        low, high = 0.0, 2.0 ** int(depth) - 1
    elif data.get("WindowWidth") is not None and data.get("WindowCenter") is not None:
        centre, width = (float(np.atleast_1d(data[name].value)[0]) for name in ("WindowCenter", "WindowWidth"))
        if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
            raise StudyError(f"{path}: a window of the unknown kind {function!r}; give {LIMITS}")
        inset = 0.5 if function == "LINEAR" else 0  # DICOM PS3.3, C.11.2.1.2
        low, high = centre - width / 2, centre + width / 2 - 2 * inset
        if function == "SIGMOID" and low < high:  # C.11.2.1.3.1, from 0 to 1
            values, low, high = 0.5 + 0.5 * np.tanh((values - centre) * (2 / width)), 0.0, 1.0
    else:
        window, (low, high) = stored is not None, stored or ends()
    if kind == "MONOCHROME1":  # low values are bright
        values = low + high - values
    return values, limits or ((low, high) if window and low < high else None)


def _dicom_pixels(path: Path, data: "FileDataset", n_pixels: int) -> np.ndarray:
    from pydicom.uid import RLELossless

    syntax, bound = data.file_meta.TransferSyntaxUID, Image.MAX_IMAGE_PIXELS
    if syntax == RLELossless and len(data.PixelData) > MOST_RLE:
        raise StudyError(f"{path}: more than {MOST_RLE >> 20} MiB of packed pixels; save it with its pixels unpacked")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            Image.MAX_IMAGE_PIXELS = n_pixels  # the JPEG inside may declare more than the file around it
            return data.pixel_array
    except (RuntimeError, NotImplementedError, ImportError) as error:
        # Both may quote the file, whatever bytes it has there.
        name, reason = (re.sub(r"[^ -~]+", " ", text) for text in (syntax.name, str(error).splitlines()[0]))
        raise StudyError(
            f"{path}: its pixels are packed as {name}, which cannot be undone here ({reason}); "
            "save it with its pixels unpacked"
        ) from None
    finally:
        Image.MAX_IMAGE_PIXELS = bound


def _check_deflated(path: Path) -> None:
    """A file that is deflated as a whole and would become more than MOST_BYTES is refused before pydicom unpacks it."""
    from pydicom.filereader import read_dataset, read_preamble
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    with open(path, "rb") as file:
        read_preamble(file, force=False)
        meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
        if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return
        unpacked, inflating = 0, zlib.decompressobj(-zlib.MAX_WBITS)
        while block := file.read(2**16):  # which becomes at most 1,032 times as much
            unpacked += len(inflating.decompress(block))
            if unpacked > MOST_BYTES:
                raise StudyError(
                    f"{path}: unpacks to more than {MOST_BYTES >> 20} MiB; save it with its pixels unpacked"
                )
