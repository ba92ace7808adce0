"""Logging of a script: to its log file and to the terminal, an error a user can mend in one line."""

import atexit
import contextlib
import gc
import logging
import re
import resource
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

from . import machine
from .errors import StudyError
from .files import PathLike, locked, writing

log = logging.getLogger("tvmap")
atexit.register(gc.freeze)  # a search of all that was imported for garbage, as Python ends, takes a second with torch

END = "from %s to %s on %s; with %s; peak memory: %d MiB"  # of every log
WAITING = "%s: the same step of a run that was killed still works; waiting for it to end (stop it to go on at once)"
OUT_OF_MEMORY = (
    "the GPU is out of memory (%s): free it, lower training.batch_size or training.crop, or set device: cpu; "
    "nothing finished is lost, a training resumes from its checkpoint"
)


def quiet(*libraries: str) -> None:
    """Keep what these libraries log to themselves: they complain without the name of the file."""
    for library in libraries:
        logging.getLogger(library).setLevel(logging.CRITICAL)


class OneLine(logging.Formatter):
    """A name of a file can hold any character, but none may end the line of a message or steer the terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: D102, N802 (the name logging calls)
        text = super().formatMessage(record)
        return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


@contextlib.contextmanager
def logged_to(path: PathLike) -> Iterator[logging.Logger]:
    """Send the log of the block to the file `path` and to stderr.

    While the block runs a file beside it is locked: a job may outlive the Snakemake that started it, and must not write
    what it was asked for over that of a later one with other settings. (Snakemake removes the log before each job.)

    A `StudyError`, and a GPU out of memory, end the process with one line and exit status 1, Ctrl-C with one line and
    130; any other exception leaves its traceback in the file.
    """
    logging.raiseExceptions = False  # a full disk takes no log either: what it says must still reach the terminal
    handlers: list[logging.Handler] = []

    def add(handler: logging.Handler) -> None:
        handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
        log.addHandler(handler)
        handlers.append(handler)

    log.setLevel(logging.INFO)
    start = now()
    lock = contextlib.ExitStack()
    try:
        add(logging.StreamHandler(sys.stderr))
        lock.enter_context(locked(f"{path}.lock", lambda: log.warning(WAITING, path)))
        start = now()
        with writing(path):
            add(logging.FileHandler(path, mode="w", encoding="utf-8"))
        yield log
    except StudyError as error:
        log.error("%s", error)
        sys.exit(1)
    except KeyboardInterrupt:
        log.error("interrupted; nothing finished is lost, run again to go on")
        sys.exit(130)
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":  # torch's; most scripts have no torch
            log.error(OUT_OF_MEMORY, str(error).split(". ")[0])
            sys.exit(1)
        log.exception("unexpected error")
        raise
    finally:
        where, used = machine.in_words(machine.description()), machine.in_list(machine.versions())
        log.info(END, start, now(), where, used, peak_memory())
        for handler in handlers:
            log.removeHandler(handler)
            with contextlib.suppress(OSError):
                handler.close()
        lock.close()


def peak_memory() -> int:
    """The largest resident set of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))


def now() -> str:
    """The time of day in UTC, to a second, as texts that sort."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def logged_end(text: str) -> dict[str, str]:
    """{start, end (UTC), machine, versions, max_rss_mib} by the end of a log's text; {} of a job that was killed."""
    found = re.findall(r"from (\S+) to (\S+) on (.+); with (.+); peak memory: (\d+) MiB", text)
    return dict(zip(("start", "end", "machine", "versions", "max_rss_mib"), found[-1], strict=True)) if found else {}
