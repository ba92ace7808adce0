"""Where a study's results and weights come from: reading what describes them, and the commit of the code."""

import contextlib
import json
import subprocess
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
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        return {**content, "seconds": float(content["seconds"])}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StudyError(
            f"{path}: not the record of a training ({type(error).__name__}: {error}); delete it and run the study again"
        ) from error


def read_job(path: PathLike) -> dict[str, Any]:
    """The arguments of a training in a training_job.json as a dict, or a `StudyError` that names it."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        return {name: content[name] for name in JOB} | {"how": {**content["how"]}}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StudyError(
            f"{path}: not the description of a training ({type(error).__name__}: {error}); make it by the rule "
            "describe_training"
        ) from error


def read(path: PathLike) -> dict[str, Any]:
    """The content of `path` as a dict, or a `StudyError` that names it."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        return {**content, "config": content["config"]}
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file; run the study first, or give the folder of one") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StudyError(
            f"{path}: not a provenance file ({type(error).__name__}: {error}); run the study again"
        ) from error


def _git(root: PathLike, *arguments: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
