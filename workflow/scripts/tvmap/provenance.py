"""Where a study's results and weights come from: reading what describes them, and the commit of the code."""

import contextlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import StudyError
from .files import PathLike

REFERENCE = "xray-tgv"  # the study whose weights the command `tvmap` takes if none are given
PATHS = ("archive", "folder", "manifest", "weights", "weights_direct")  # of the configuration: told by their names
JOB = ("inputs", "settings", "store", "code_version", "how")  # what the rule describe_training writes
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
    return _record(
        path,
        lambda content: {**content, "seconds": float(content["seconds"])},
        "not the record of a training ({error}); delete it and run the study again",
    )


def read_job(path: PathLike) -> dict[str, Any]:
    """The arguments of a training in a training_job.json as a dict, or a `StudyError` that names it."""
    return _record(
        path,
        lambda content: {name: content[name] for name in JOB} | {"how": {**content["how"]}},
        "not the description of a training ({error}); make it by the rule describe_training",
    )


def read(path: PathLike) -> dict[str, Any]:
    """The content of `path` as a dict, or a `StudyError` that names it."""
    return _record(
        path,
        lambda content: {**content, "config": content["config"]},
        "not a provenance file ({error}); run the study again",
        absent="no such file; run the study first, or give the folder of one",
    )


def _record(
    path: PathLike, taken: Callable[[Any], dict[str, Any]], otherwise: str, absent: str | None = None
) -> dict[str, Any]:
    """What is `taken` of the JSON at `path`, or a `StudyError` that says `otherwise`, or `absent` if there is none."""
    try:
        return taken(json.loads(Path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        if absent and isinstance(error, FileNotFoundError):
            otherwise = absent
        raise StudyError(f"{path}: {otherwise.format(error=f'{type(error).__name__}: {error}')}") from error


def _git(root: PathLike, *arguments: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
