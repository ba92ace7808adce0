"""Download of one large file: resumed where it broke off, with its size and checksum checked."""

import io
import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pooch
import requests

from . import archives, files
from .errors import StudyError
from .files import PathLike
from .logs import log

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

ATTEMPTS = 5  # in a row without a single new byte
CHUNK_BYTES = 2**16  # at most this much is lost when a connection breaks


def fetch(url: str, path: PathLike, n_bytes: int | None, sha256: str | None, pause: float = 1.0) -> None:
    """Download `url` to `path`; an unfinished file stays at `<path>.part`, from which the next call goes on.

    Args:
        url: http or https address.
        path: the finished file; it appears there only when size and checksum are right.
        n_bytes: expected size, or None.
        sha256: expected checksum; None where none is published: then the one of the first download is recorded in
            `<path>.sha256` and every later download is checked against it.
        pause: seconds before the second attempt, doubled before each further one.

    Raises:
        StudyError: server not reached, file not there, wrong size or checksum, disk not writable.
    """
    path = Path(path)
    part, record = Path(f"{path}.part"), Path(f"{path}.sha256")
    known, key = archives.known_checksum(path, sha256)
    with files.writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            os.replace(path, part)  # a file that is there already has to pass the same checks
        if part.exists() and n_bytes is not None and part.stat().st_size >= n_bytes:
            if part.stat().st_size > n_bytes or (known and files.sha256(part) != known.lower()):
                log.warning("%s: is not the file asked for, downloading anew", part)
                part.unlink()
        if n_bytes is None:
            whole = known is not None and part.exists() and files.sha256(part) == known.lower()
        else:
            whole = part.exists() and part.stat().st_size >= n_bytes
        if not whole:
            _transfer(url, part, n_bytes, pause)
        if n_bytes is not None and part.stat().st_size != n_bytes:
            raise StudyError(
                f"config data.mendeley.bytes: {url} gave {part.stat().st_size} bytes instead of {n_bytes}; run again "
                "if the transfer broke off, else correct the url or, if this is the file you want, the size"
            )
        found = files.sha256(part)
        if known and found != known.lower():
            raise StudyError(
                f"{key}: {part} has the sha256 {found} instead of {known}; run again to download it anew, or correct "
                "the checksum if this is the file you want"
            )
        if known is None:
            log.info("%s: sha256 %s is recorded; later downloads are checked against it", path.name, found)
            files.write_atomically(record, found + "\n")
        os.replace(part, path)
    log.info("%s: %d bytes, sha256 %s", path.name, path.stat().st_size, found)


def _transfer(url: str, part: Path, n_bytes: int | None, pause: float) -> None:
    """Fetch what is missing in `part`, again and again while the connection fails."""
    failures = 0
    while True:
        offset = part.stat().st_size if part.exists() else 0
        try:
            with _Limited(io.FileIO(part, "ab")) as file:
                file.limit = n_bytes
                _request(url, file, offset, n_bytes)
            return
        except (requests.RequestException, ValueError) as error:
            response = getattr(error, "response", None)
            status = None if response is None else response.status_code
            if status == 416 and offset:  # nothing beyond what is here: the part belongs to another file
                part.unlink()
            # ValueError: a malformed address, of the server's own, too, or a size that is none; again it is no better.
            elif isinstance(error, ValueError) or (status is not None and status < 500 and status != 429):
                raise StudyError(
                    f"{url}: {_short(error)}; correct config data.mendeley.url, or "
                    "fetch the file by hand and set data.source: archive and data.archive"
                ) from None
            reason = error
        failures = 1 if part.exists() and part.stat().st_size > offset else failures + 1
        if failures >= ATTEMPTS:
            raise StudyError(
                f"{url}: cannot be downloaded ({_short(reason)}); check the network and run again to go on where it "
                "stopped, or fetch the file by hand and set data.source: archive and data.archive"
            )
        log.warning("%s: %s; trying again", url, _short(reason))
        time.sleep(pause * 2 ** (failures - 1))


def _request(url: str, file: "_Limited", offset: int, n_bytes: int | None) -> None:
    """Append the bytes from `offset` on to `file`; the whole file replaces it if the server does not resume."""
    progress = sys.stderr.isatty() or _Tenths(n_bytes)
    responses = []

    def check(response: requests.Response, **_: object) -> None:
        responses.append(response)
        if not response.headers.get("Content-Length", "0").isdecimal():
            raise requests.ConnectionError("the server sends a length that is no number")
        if response.status_code == 206:
            first, total = response.headers.get("Content-Range", "").removeprefix("bytes ").split("-")[0], None
            if first != str(offset):
                raise requests.ConnectionError(f"the server sent another range than the one from byte {offset}")
            total = response.headers["Content-Range"].rpartition("/")[2]
            log.info("going on at byte %d", offset)
        elif response.status_code == 200:
            file.truncate(0)
            total = response.headers.get("Content-Length", "")
        else:
            return
        if n_bytes is not None and total.isdecimal() and int(total) != n_bytes:
            raise StudyError(
                f"config data.mendeley.bytes: {url} has {total} bytes instead of {n_bytes}; correct the url or, "
                "if this is the file you want, the size"
            )
        if progress is not True:
            progress.done = offset if response.status_code == 206 else 0

    headers = {"Accept-Encoding": "identity"}  # a compressed transfer could not be resumed by byte
    if offset:
        headers["Range"] = f"bytes={offset}-"
    downloader = pooch.HTTPDownloader(
        progressbar=progress, chunk_size=CHUNK_BYTES, headers=headers, hooks={"response": check}
    )
    try:
        downloader(url, file, None)
    finally:
        for response in responses:  # pooch leaves the connection of a failed transfer open
            response.close()


class _Limited(io.BufferedWriter):
    """A file that grows by one chunk beyond its limit and no further, whatever a server sends."""

    limit: int | None = None

    def write(self, data: "ReadableBuffer") -> int:
        if self.limit is not None and self.tell() > self.limit:
            raise StudyError(
                f"config data.mendeley.bytes: {self.name} grows beyond {self.limit} bytes; correct the url or, if this "
                "is the file you want, the size"
            )
        return super().write(data)


class _Tenths:
    """Progress as one log line per 10 %, for logs and terminals without cursor; stands in for a tqdm bar in pooch."""

    def __init__(self, n_bytes: int | None) -> None:
        self.n_bytes, self.done, self.total = n_bytes, 0, 0  # total: what pooch expects of this one transfer
        self.ended = False

    def update(self, count: int) -> None:
        if self.ended:
            return
        size = self.n_bytes or self.total
        before, self.done = self.done, min(self.done + count, size)
        if size and self.done * 10 // size > before * 10 // size:
            log.info("%d %% of %.1f MB", self.done * 10 // size * 10, size / 1e6)

    def reset(self) -> None:
        """Called by pooch at the end, before it adds the total once more."""
        self.ended = True

    def close(self) -> None:
        pass


def _short(error: Exception) -> str:
    """Name the reason of a failed transfer in a few words; its own text nests the representations of its causes."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"the server answers {response.status_code} {response.reason}"
    causes = re.findall(r"'([^']*)'", str(error)) or [str(error).rpartition(": ")[2]]  # the innermost text
    return f"{type(error).__name__}: {causes[-1]}"[:200]
