"""Reading what the workflow noted as JSON; what is no such record is refused in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import StudyError
from .files import PathLike


def read_record(
    path: PathLike, taken: Callable[[Any], dict[str, Any]], otherwise: str, absent: str | None = None
) -> dict[str, Any]:
    """What is `taken` of the JSON at `path`, or a `StudyError` that says `otherwise`, or `absent` if there is none."""
    try:
        return taken(json.loads(Path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        if absent and isinstance(error, FileNotFoundError):
            otherwise = absent
        raise StudyError(f"{path}: {otherwise.format(error=f'{type(error).__name__}: {error}')}") from error
