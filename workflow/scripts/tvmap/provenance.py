"""Where a study's results and weights come from: reading what describes them, and the commit of the code."""

import contextlib
import subprocess
from pathlib import Path
from typing import Any

from .files import PathLike
from .records import read_record

REFERENCE = "xray-tgv"  # the study whose weights the command `tvmap` takes if none are given
PATHS = ("archive", "folder", "manifest", "weights", "weights_direct")  # of the configuration: told by their names
CODE = ("Snakefile", "workflow/rules", "workflow/scripts")


def commit(root: PathLike) -> dict[str, Any]:
    """{"commit": of the checkout `root`, "changed": whether the code is another}.

    Both are None where `root` is no checkout (one around it is of something else) or git is absent or refuses.
    """
    if (Path(root) / ".git").exists():
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            head, changes = _git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain", "--", *CODE)
            return {"commit": head.strip(), "changed": bool(changes)}
    return {"commit": None, "changed": None}


def read_training(path: PathLike) -> dict[str, Any]:
    """The content of a training.json as a dict, or a `StudyError` that names it."""
    return read_record(
        path,
        lambda content: {**content, "seconds": float(content["seconds"])},
        "not the record of a training ({error}); delete it and run the study again",
    )


def read(path: PathLike) -> dict[str, Any]:
    """The content of `path` as a dict, or a `StudyError` that names it."""
    return read_record(
        path,
        lambda content: {**content, "config": content["config"]},
        "not a provenance file ({error}); run the study again",
        absent="no such file; run the study first, or give the folder of one",
    )


def _git(root: PathLike, *arguments: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
