"""A training that was described for another machine: reading its arguments."""

from typing import Any

from .files import PathLike
from .records import read_record

JOB = ("inputs", "settings", "store", "code_version", "how")  # what the rule describe_training writes


def read_job(path: PathLike) -> dict[str, Any]:
    """The arguments of a training in a training_job.json as a dict, or a `StudyError` that names it."""
    return read_record(
        path,
        lambda content: {name: content[name] for name in JOB} | {"how": {**content["how"]}},
        "not the description of a training ({error}); make it by the rule describe_training",
    )
