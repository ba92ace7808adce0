"""Speed as a result: what a training has reached on the validation images after how many minutes."""

from collections.abc import Mapping

import pandas as pd

from . import provenance, tabular
from .files import PathLike

COLUMNS = ("variant", "epoch", "minutes", "val_psnr", "val_gain")


def training_minutes(trainings: Mapping[str, PathLike], steps_path: PathLike) -> dict[str, float]:
    """{variant: minutes of its training}: its number of steps times the median time of a step.

    The steps of all variants were timed in turns, see time_steps.py, so what else the machine did during one training
    or another is not in the comparison; nor is the time of the validations.

    Args:
        trainings: {variant: training.json}.
        steps_path: the table of times of a step.
    """
    times = tabular.read_table(steps_path, tabular.STEPS).set_index("variant")["milliseconds"]
    return {name: provenance.read_training(path)["steps"] * times[name] / 60000 for name, path in trainings.items()}


def courses(
    histories: Mapping[str, PathLike], minutes: Mapping[str, float], grids: Mapping[str, PathLike]
) -> pd.DataFrame:
    """Validation PSNR after each epoch, and its gain, with the minutes of training until then.

    Every epoch takes the same time. The gain is over the scalar oracle of the validation images, the mean
    of the best PSNR of each on the grid of λ; a grid measured on clamped images makes it a lower bound.

    Args:
        histories: {variant: history.csv}, the study under "".
        minutes: {variant: duration of the whole training}, see `training_minutes`.
        grids: {variant: grid of λ on its validation images, with the noise that it was validated on}.

    Returns:
        DataFrame of variant, epoch, minutes, val_psnr (dB), val_gain (dB), the epochs without validation left out.
    """
    parts = []
    for name, path in histories.items():
        history = tabular.read_table(path, ("epoch", "val_psnr"), ("val_psnr",)).assign(variant=name)
        history["minutes"] = minutes[name] * history["epoch"] / history["epoch"].max()
        oracle = tabular.read_table(grids[name], ("id", "psnr")).groupby("id")["psnr"].max().mean()
        parts.append(history.dropna().assign(val_gain=lambda rows, oracle=oracle: rows["val_psnr"] - oracle))
    return pd.concat(parts)[list(COLUMNS)]


def read(path: PathLike) -> pd.DataFrame:
    """The table of courses at `path`; the study's own variant is ""."""
    return tabular.read_table(path, COLUMNS)


def minutes_to(gain: float, table: pd.DataFrame) -> dict[str, float]:
    """{variant: minutes until `val_gain` first reaches `gain` dB} of the trainings that do."""
    return table[table["val_gain"] >= gain].groupby("variant", sort=False)["minutes"].min().to_dict()
