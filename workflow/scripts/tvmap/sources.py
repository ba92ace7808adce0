"""Where images come from: an archive of chest X-rays, a folder, or the photographs inside scikit-image."""

import contextlib
import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from . import images
from .archives import DIRECTORY_BYTES, SUFFIXES, images_below, is_image
from .errors import StudyError
from .files import PathLike
from .logs import log
from .manifest import SPLITS, patient_of

if TYPE_CHECKING:
    import numpy as np

# More is a damaged or hostile file: the largest X-ray of the archive has 3 MiB, all of them 1.2 GiB; the largest 16-bit
# image that is read has 171 MiB.
MEMBER_BYTES, MEMBERS_BYTES, FILE_BYTES = 64 * 2**20, 64 * 2**30, 256 * 2**20

# Photographs inside scikit-image's wheel, by split: (file, scene). Scenes take the part of patients, so the stereo
# pair stays together. Terms as scikit-image's documentation of each image states them. Left out: drawings, scans of
# text, silhouettes, a phase image (cell) and what is smaller than a tile.
PHOTOGRAPHS = {
    "train": [
        ("astronaut.png", "astronaut"),  # public domain, NASA
        ("brick.png", "brick"),  # CC0, CC0Textures
        ("clock_motion.png", "clock_motion"),  # public domain, Stefan van der Walt
        ("coins.png", "coins"),  # no known restrictions, Brooklyn Museum
        ("grass.png", "grass"),  # CC0, linolafett on DeviantArt
        ("gravel.png", "gravel"),  # CC0, CC0Textures
        ("hubble_deep_field.jpg", "hubble_deep_field"),  # public domain, NASA
        ("ihc.png", "ihc"),  # no known restrictions, Center for Microscopy and Molecular Imaging
        ("moon.png", "moon"),  # no source or terms stated
    ],
    "val": [
        ("motorcycle_left.png", "motorcycle"),  # Middlebury stereo data set 2014, no terms stated
        ("motorcycle_right.png", "motorcycle"),  # its stereo partner
        ("rocket.jpg", "rocket"),  # public domain, SpaceX
    ],
    "test": [
        ("camera.png", "camera"),  # CC0, Lav Varshney
        ("chelsea.png", "chelsea"),  # CC0, Stefan van der Walt
        ("coffee.png", "coffee"),  # CC0, Rachel Michetti
        ("retina.jpg", "retina"),  # CC0, Mikael Häggström
    ],
}


@dataclass(frozen=True)
class Candidate:
    """One image a source offers; `split` is None where the source gives none, `tile` the number of a cut tile."""

    id: str
    patient: str
    split: str | None
    source_file: str
    read: Callable[[], bytes]
    tile: int | None = None

    def grey(self, size: int, data: bytes | None = None) -> "np.ndarray":
        """Return the image as (size, size) float32 in [0, 1], from `data` where the bytes have been read already."""
        data = self.read() if data is None else data
        if self.tile is None:
            return images.read_grey(data, self.source_file, size)
        return images.read_tiles(data, self.source_file, size)[self.tile]

    def views(self, size: int, n: int, random: "np.random.Generator", data: bytes | None = None) -> "np.ndarray":
        """Return `n` random squares of the image, resized: (n, size, size) float32; see `images.read_views`."""
        return images.read_views(self.read() if data is None else data, self.source_file, size, n, random)


@contextlib.contextmanager
def opened(
    source: str, category: str, archive_path: PathLike | None, folder_path: PathLike | None, size: int
) -> Iterator[list[Candidate]]:
    """Give the list of `Candidate`s of a source; they can be read inside the `with` block only.

    Args:
        source: mendeley | archive (both read the zip `archive_path`), folder (`folder_path`) or sample.
        category: folder of the archive whose images are used, such as NORMAL.
        archive_path: path of the zip, or None.
        folder_path: path of the folder, or None.
        size: side of the images; decides how many tiles a photograph of `sample` gives.

    Raises:
        StudyError: the source cannot be had, or holds no such image. It is never replaced by another one.
    """
    if source == "sample":
        yield _photographs(size)
    elif source == "folder":
        yield _folder(folder_path)
    elif source in ("mendeley", "archive"):
        if not archive_path or not Path(archive_path).is_file():
            raise StudyError(f"config data.archive: there is no file {archive_path!r}; give the path of the zip")
        with contextlib.ExitStack() as opened_files:
            try:
                file = opened_files.enter_context(_Archive(archive_path))
                archive = opened_files.enter_context(zipfile.ZipFile(file))
            except Exception as error:  # damaged archives raise BadZipFile, ValueError, NotImplementedError, ...
                raise StudyError(f"{archive_path}: is no readable zip archive ({error}); fetch it again") from None
            file.most = MEMBER_BYTES + 1
            yield _members(archive, category)
    else:
        raise StudyError(f"config data.source: {source!r} is none of mendeley, archive, folder, sample")


class _Archive(io.FileIO):
    """A zip whose directory of members, which takes 8 times its size once it is read, cannot fill the memory."""

    most = DIRECTORY_BYTES

    def read(self, size: int = -1) -> bytes:  # type: ignore[override]  # zipfile never gives None
        if size > self.most:
            raise ValueError(f"{size} bytes in one piece are more than the {self.most} that they may have")
        return super().read(size)


def _members(archive: zipfile.ZipFile, category: str) -> list[Candidate]:
    """Images at .../<split>/<category>/<name> in the zip, however deep; nothing is ever extracted to the disk."""
    candidates, total = [], 0
    for member in archive.infolist():
        path = PurePosixPath(member.filename)
        if member.filename.endswith("/"):
            continue
        if is_image(path) and len(path.parts) >= 3 and path.parts[-2] == category and path.parts[-3] in SPLITS:
            candidates.append(
                Candidate(
                    path.stem, patient_of(path.stem), path.parts[-3], member.filename, _member_reader(archive, member)
                )
            )
            total += member.file_size
    if total > MEMBERS_BYTES:  # members may share their bytes, so that a small archive unpacks to any size
        raise StudyError(
            f"{archive.filename}: unpacks to {total} bytes, more than the {MEMBERS_BYTES} that all its images together "
            "may have; check where the archive comes from"
        )
    if not candidates:
        raise StudyError(
            f"{archive.filename}: has no images in train/{category}, val/{category} or test/{category}; "
            "check config data.archive and data.category"
        )
    return candidates


def _member_reader(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        if member.file_size > MEMBER_BYTES:
            raise StudyError(
                f"{archive.filename}: {member.filename} unpacks to {member.file_size} bytes, more than the "
                f"{MEMBER_BYTES} a photograph may have; check where the archive comes from"
            )
        if member.compress_type in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):  # zipfile unpacks these without a bound
            raise StudyError(
                f"{archive.filename}: {member.filename} cannot be unpacked (bzip2 or LZMA); pack the archive by deflate"
            )
        try:
            with archive.open(member) as file:
                return file.read(MEMBER_BYTES + 1)  # bounded even if the header lies about the size; checks the CRC
        except Exception as error:  # BadZipFile, zlib.error, EOFError, RuntimeError, struct.error, ValueError, ...
            raise StudyError(
                f"{archive.filename}: {member.filename} cannot be unpacked ({error}); fetch the archive again"
            ) from None

    return read


def _folder(folder_path: PathLike | None) -> list[Candidate]:
    """Every image below the folder; subfolders train, val and test are the splits where there are any."""
    if not folder_path or not Path(folder_path).is_dir():
        raise StudyError(f"config data.folder: there is no folder {folder_path!r}; give the path of your images")
    root = Path(folder_path)
    candidates = []
    for path in images_below(root):
        inside = PurePosixPath(path.relative_to(root).as_posix())
        split = next((part for part in inside.parts[:-1] if part in SPLITS), None)
        candidates.append(Candidate(path.stem, patient_of(path.stem), split, str(inside), _file_reader(path)))
    if not candidates:
        raise StudyError(
            f"config data.folder: {folder_path} holds no image ({' '.join(sorted(SUFFIXES))}); put some there, "
            "or name another folder"
        )
    with_split = [candidate for candidate in candidates if candidate.split]
    if with_split and len(with_split) < len(candidates):
        outside = len(candidates) - len(with_split)
        log.warning("%s: %d images outside train, val and test are left out", folder_path, outside)
    return with_split or candidates


def _file_reader(path: PathLike) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            with open(path, "rb") as file:
                data = file.read(FILE_BYTES + 1)
        except OSError as error:
            raise StudyError(f"{path}: cannot be read ({error.strerror}); mend it or leave it out") from None
        if len(data) > FILE_BYTES:
            raise StudyError(f"{path}: has more than {FILE_BYTES} bytes; leave it out or save a smaller copy")
        return data

    return read


def _photographs(size: int) -> list[Candidate]:
    """Tiles of the photographs in scikit-image's installed files; nothing is fetched from the network."""
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    candidates = []
    for split, photographs in PHOTOGRAPHS.items():
        for name, scene in photographs:
            read = _file_reader(folder / name)
            count = len(images.read_tiles(read(), name, size))
            if not count:
                log.warning("%s: is smaller than a tile of %d x %d and left out", name, size, size)
            for tile in range(count):
                candidates.append(Candidate(f"{Path(name).stem}-{tile}", scene, split, name, read, tile))
    return candidates
