"""Writing files so that a killed process leaves the old one or the new one, never half of one; and locks."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import BinaryIO

from .errors import StudyError

SUMS = "sha256.json"
PathLike = str | os.PathLike[str]


def sha256(path: PathLike) -> str:
    """Hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(folder: PathLike, names: Collection[str]) -> None:
    """Write the checksums of these files of `folder` beside them, for `is_intact`; errors as in `write_atomically`."""
    write_atomically(Path(folder) / SUMS, json.dumps(_sums(folder, names), indent=2) + "\n")


def is_intact(folder: PathLike, names: Collection[str]) -> bool:
    """Whether these files of `folder` are what they were when it was sealed."""
    try:
        return json.loads((Path(folder) / SUMS).read_bytes()) == _sums(folder, names)
    except (OSError, ValueError, RecursionError):  # one that is missing, or no text
        return False


def _sums(folder: PathLike, names: Collection[str]) -> dict[str, str]:
    return {name: sha256(Path(folder) / name) for name in names}


def write_atomically(path: PathLike, content: str | bytes | memoryview) -> None:
    """Replace `path` by `content` (bytes or text).

    Raises:
        StudyError: the disk is full or read-only, or the rights are missing; what was at `path` is still there.
    """
    data = content.encode() if isinstance(content, str) else content
    with _replacing(path) as file:
        file.write(data)


@contextlib.contextmanager
def writing(path: PathLike) -> Iterator[None]:
    """What the system refuses in the block becomes a `StudyError` that names `path` and says what to do."""
    try:
        yield
    except OSError as error:
        raise StudyError(
            f"{path}: cannot be written ({error.strerror}); make room or mend the rights and run again, "
            "nothing that was finished is lost"
        ) from None


def copy_atomically(source: PathLike, path: PathLike) -> None:
    """Replace `path` by a copy of the file `source`; errors as in `write_atomically`."""
    with open(source, "rb") as original, _replacing(path) as file:
        shutil.copyfileobj(original, file, 2**20)


@contextlib.contextmanager
def locked(path: PathLike, waiting: Callable[[], object]) -> Iterator[None]:
    """Hold the lock file `path` during the block; where another process holds it, call `waiting` and wait for it.

    The operating system releases the lock of a process that ends, however it ends; one that ends by itself removes the
    file. On a file system without locks the block runs without one.

    Raises:
        StudyError: the lock file cannot be opened for writing.
    """
    path, file = Path(path), None
    while file is None:
        with writing(path):
            file = open(path, "ab")  # noqa: SIM115 (an error of the block is none of the lock's)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            with contextlib.suppress(OSError):  # a file on another machine may be lost while it is waited for
                fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            break
        try:
            held = os.path.samestat(os.fstat(file.fileno()), path.stat())
        except OSError:
            held = False
        if not held:  # who held it before has removed it, and another may hold a new one
            file.close()
            file = None
    with file:
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                path.unlink()


@contextlib.contextmanager
def _replacing(path: PathLike) -> Iterator[BinaryIO]:
    """Give a file beside `path` that replaces it at the end of the block, when its content is on the disk."""
    path = Path(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with writing(path):
        try:
            with open(partial, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise
