"""Files of maps: TIFF, a page a map, with the solver's options in its description; or NumPy arrays."""

import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import pictures
from .errors import StudyError
from .files import PathLike, write_atomically
from .pictures import DEFLATE, MOST_BYTES, NUMPY, PLAIN, TIFF

MOST_MAPS = 6  # two for each colour


def write_maps(path: PathLike, maps: np.ndarray, penalty: str, **options: Any) -> None:
    """Write maps (n, H, W) to a TIFF, a page each, atomically; its description says what they are for.

    That is the penalty, and the options of the solver, numbers and words.
    """
    import tifffile

    content = io.BytesIO()
    with tifffile.TiffWriter(content) as file:
        for number, page in enumerate(maps):
            description = json.dumps({"tvmap": {"penalty": penalty, **options}}) if number == 0 else None
            file.write(np.ascontiguousarray(page), photometric="minisblack", description=description, metadata=None)
    write_atomically(path, content.getvalue())


def read_weight(path: PathLike) -> tuple[np.ndarray, dict[str, Any]]:
    """Maps (n, H, W), as they are, in units of the image's range, and the solver's options that `write_maps` has noted.

    From a .tif file, a page a map, or a .npy file, (H, W) or (n, H, W); n is at most MOST_MAPS.

    Raises:
        StudyError: no such file, no maps in it, a weight that is no number ≥ 0, or more than is read.
    """
    path = Path(path)
    if path.suffix.lower() not in TIFF | NUMPY:
        raise StudyError(f"{path}: a map is read from a .tif or .npy file; give one of these, or a number λ")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise StudyError(f"{path}: more than {MOST_BYTES >> 20} MiB; cut image and map into the same pieces")
        values, options = (_array_of_maps(path), {}) if path.suffix.lower() in NUMPY else _pages(path)
    except Exception as error:
        raise pictures.refusal(path, error, "a map", "replace it or give a number λ") from None
    if values.ndim != 3 or not values.size:
        raise StudyError(f"{path}: shape {values.shape}; give a map (H, W), or several (n, H, W)")
    if not np.isfinite(values).all() or values.min() < 0:
        raise StudyError(f"{path}: some of its weights are negative, NaN or infinite; give numbers ≥ 0 in every pixel")
    return values, options


def _pages(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """All pages of a TIFF (n, H, W), and the options that its description names."""
    import tifffile

    n = pictures.n_pages(path, MOST_MAPS)
    if n > MOST_MAPS:
        raise StudyError(f"{path}: has more than {MOST_MAPS} pages; a page is a map, two for each colour are the most")
    with tifffile.TiffFile(path) as file:
        first = file.pages.first
        shape = n, first.imagelength, first.imagewidth
        maps = _space_for_maps(path, shape, pictures.dtype_of(path, first.aspage()))
        options = _options(path, first.description)
        for number in range(n):
            page = file.pages[number].aspage()
            if (page.imagelength, page.imagewidth, page.samplesperpixel) != (*maps.shape[1:], 1):
                raise StudyError(f"{path}: its pages differ in shape, or have colours; a map is a page (H, W)")
            if page.dtype != first.dtype or int(page.compression) not in (PLAIN, *DEFLATE):
                raise StudyError(f"{path}: its pages differ in depth, or are packed; save them unpacked")
            pictures.check_chunks(path, file, page)
            maps[number] = page.asarray(maxworkers=1)
    return maps, options


def _options(path: Path, description: str) -> dict[str, Any]:
    """Those of the solver that the description of a file of maps names, each with a value that there is."""
    from .network import LARGEST_RATIO
    from .operators import BOUNDARIES, NORMS
    from .pdhg import DUAL_STARTS, LIPSCHITZ
    from .solver import PENALTIES

    known: dict[str, Sequence] = {"penalty": PENALTIES, "boundary": BOUNDARIES, "norm": NORMS}
    known |= {"dual_start": DUAL_STARTS, "lipschitz": [*LIPSCHITZ]}
    said: dict[str, Any] = {}
    with contextlib.suppress(ValueError, KeyError, TypeError):
        said = dict(json.loads(description)["tvmap"])
    options = {name: said[name] for name in [*known, "log_ratio"] if said.get(name) is not None}
    for name, value in options.items():
        if name in known and value not in known[name]:
            values = " and ".join(map(str, known[name]))
            raise StudyError(f"{path}: says that it is for the {name} {value!r}; {values} are known")
    ratio = options.get("log_ratio", 0)
    if not (isinstance(ratio, (int, float)) and abs(ratio) <= LARGEST_RATIO):
        raise StudyError(f"{path}: says that it is for the log_ratio {ratio!r}; at most ±{LARGEST_RATIO} is known")
    return options


def _space_for_maps(path: Path, shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """An empty array for maps (n, H, W), float32; more than one image can use, or memory hold, are refused."""
    if len(shape) != 3 or shape[0] > MOST_MAPS:
        raise StudyError(f"{path}: shape {shape}; a map is (H, W), several are (n, H, W), at most {MOST_MAPS}")
    n, height, width = shape
    pictures.check_size(path, height, width, n * max(dtype.itemsize, 4))
    return np.empty(shape, np.float32)


def _array_of_maps(path: Path) -> np.ndarray:
    values = pictures.npy_array(path)
    values = values if values.ndim == 3 else values[None]
    if values.dtype.kind not in "uifb":
        raise StudyError(f"{path}: {values.dtype} values; a map holds real numbers")
    maps = _space_for_maps(path, values.shape, values.dtype)
    maps[:] = values
    return maps
