"""Reading of provenance.json, which says where a study's results come from."""

import json
from pathlib import Path

from .errors import StudyError


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
