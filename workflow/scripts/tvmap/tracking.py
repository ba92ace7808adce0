"""The course of a training in Weights & Biases, for who wants it; without account or network in files."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import StudyError
from .files import PathLike, writing

FOLDERS = ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR")  # otherwise in the user's home


@contextlib.contextmanager
def tracked(
    mode: str | None, folder: PathLike, name: str, settings: dict[str, Any]
) -> Iterator[Callable[[Mapping[str, Any]], object]]:
    """Give a function that takes a row of the history, a dict with the key `epoch`, and logs it.

    Args:
        mode: None (nothing is logged), "offline" (files in `folder`/wandb; `wandb sync` can send them later) or
            "online" (needs an account and a network).
        folder: of the study.
        name: of the run; a training that resumes goes on in the run of its name.
        settings: shown beside the run, a dict.

    Raises:
        StudyError: the package is missing, or its service refuses or cannot be reached.
    """
    if mode is None:
        yield lambda row: None
        return
    home = Path(folder).resolve() / "wandb"
    with writing(home):
        home.mkdir(parents=True, exist_ok=True)
    for variable in FOLDERS if mode == "offline" else ():
        os.environ.setdefault(variable, str(home))
    try:
        import wandb
    except ImportError:
        raise StudyError(
            "training.wandb: pip install -r envs/requirements-wandb.txt first (with --use-conda: add wandb to "
            "envs/torch.yaml, on a GPU envs/torch-cuda.yaml), or set it to null"
        ) from None
    quiet = wandb.Settings(console="off", silent=True, disable_git=True, disable_code=True, x_disable_meta=True)
    where: dict[str, Any] = {"mode": mode, "project": "tvmap", "dir": str(home.parent), "settings": quiet}
    try:
        run = wandb.init(id=name, name=name, resume="allow", config=settings, **where)
    except (wandb.Error, OSError) as error:
        reason = str(error).splitlines()[0]
        raise StudyError(
            f"training.wandb: the run cannot be opened ({reason}); `wandb login` first, or set it to offline or null"
        ) from None
    try:
        yield lambda row: run.log({key: value for key, value in row.items() if value is not None}, step=row["epoch"])
    finally:
        run.finish()
