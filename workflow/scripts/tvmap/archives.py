"""Archives and folders of images: which files are images, what tells them from others, what a download must be."""

import hashlib
import os
import re
import unicodedata
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath

from .errors import StudyError
from .files import PathLike
from .files import sha256 as file_sha256

DIRECTORY_BYTES = 32 * 2**20  # of an archive; that of the X-rays has 2 MiB
SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".gif", ".pgm", ".ppm", ".webp"}


def is_image(path: PurePosixPath, suffixes: Collection[str] = SUFFIXES) -> bool:
    """Tell an image by its suffix; hidden files and the extra files of macOS archives are none."""
    hidden = any(part.startswith(".") and part not in (".", "..") for part in path.parts)
    return path.suffix.lower() in suffixes and not hidden and "__MACOSX" not in path.parts


def images_below(folder: PathLike, suffixes: Collection[str] = SUFFIXES) -> list[Path]:
    """The image files in a folder and the folders in it, sorted."""
    root = Path(folder)
    found = (path for path in root.rglob("*") if is_image(PurePosixPath(path.relative_to(root).as_posix()), suffixes))
    return sorted(path for path in found if os.path.isfile(path))  # Path.is_file raises where a link's name is too long


def archive_digest(path: PathLike) -> str | None:
    """SHA-256 of the size and the end of a zip, where its directory stands with the checksum of every member.

    It tells an archive from another without reading all of it. None if it cannot be read, which its job says.
    """
    try:
        with open(path, "rb") as file:
            n_bytes = file.seek(0, os.SEEK_END)
            file.seek(max(0, n_bytes - DIRECTORY_BYTES))
            return hashlib.sha256(f"{n_bytes} ".encode() + file.read()).hexdigest()
    except OSError:
        return None


def known_checksum(path: PathLike, sha256: str | None) -> tuple[str | None, str]:
    """The checksum of the downloaded archive, given or else recorded beside it, and where it stands."""
    record = Path(f"{path}.sha256")
    if sha256 is not None or not record.exists():
        return sha256, "config data.mendeley.sha256"
    known = record.read_text(encoding="ascii", errors="replace").strip()
    if not re.fullmatch("[0-9a-fA-F]{64}", known):
        raise StudyError(f"{record}: is no sha256; delete it, then the next download is recorded anew")
    return known, str(record)


def kept_download(path: PathLike) -> Path:
    """Where the download of the archive at `path` lies, unknown to Snakemake, which deletes an output at a rerun."""
    return Path(path).parent / "downloads" / Path(path).name


def check_download(path: PathLike, n_bytes: int | None, sha256: str | None) -> None:
    """Refuse a file at `path`, which a hand may have put there, that the download would not have left.

    Raises:
        StudyError: it has another size, or another checksum than the one given or recorded.
    """
    known, key = known_checksum(kept_download(path), sha256)
    if n_bytes is not None and os.stat(path).st_size != n_bytes:
        key = "config data.mendeley.bytes"
    elif known is None or file_sha256(path) == known.lower():
        return
    raise StudyError(
        f"{path}: is another file than {key} says; delete it to download it anew, or set data.source: archive and "
        "data.archive"
    )


def folder_digest(paths: Iterable[PathLike]) -> str:
    """SHA-256 of the names, sizes and times of these files: an image that an older one replaced is another, too."""
    stats = ((path, os.stat(path)) for path in paths)
    return hashlib.sha256("".join(f"{path} {s.st_size} {s.st_mtime_ns}\n" for path, s in stats).encode()).hexdigest()


def check_name(name: str) -> None:
    """Refuse the name of a file that no table and no line of a log can hold.

    Raises:
        StudyError: it is not UTF-8, or has a control character or a line separator.
    """
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in name):
        raise StudyError(f"{name!r}: has characters in its name that are not UTF-8 or not to be printed; rename it")
