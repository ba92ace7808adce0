"""Reading of provenance.json and training.json, which say where a study's results and weights come from."""

import json
from pathlib import Path

from .errors import StudyError

REFERENCE = "xray-tgv"  # the study whose weights the command `tvmap` takes if none are given


def read_training(path):
    """The content of a training.json as a dict, or a `StudyError` that names it."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        return {**content, "seconds": float(content["seconds"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StudyError(
            f"{path}: not the record of a training ({type(error).__name__}: {error}); delete it and run the study again"
        ) from error


def read(path):
    """The content of `path` as a dict, or a `StudyError` that names it."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        return {**content, "config": content["config"]}
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file; run the study first, or give the folder of one") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StudyError(
            f"{path}: not a provenance file ({type(error).__name__}: {error}); run the study again"
        ) from error
