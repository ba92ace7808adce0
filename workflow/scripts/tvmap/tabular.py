"""The study's CSV tables: read with every column checked, so that a damaged file ends in one clear line."""

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from .curve import CURVE
from .errors import StudyError
from .files import PathLike, write_atomically

TEXT = (
    "id",
    "patient",
    "protocol",
    "method",
    "variant",
    "kind",
    "step",
    "split",
    "source_file",
    "sha256",
    "precision",
    "device",
    "machine",
    "versions",
    "start",
    "end",
)  # never numbers, never NaN

ROUND = ["protocol", "draw"]
IMAGE = [*ROUND, "id"]  # of a protocol and noise draw
CHOSEN = ("median", "best", "worst")  # of examples, by their gain
GRID = (*ROUND, *CURVE)  # the curves of all protocols and noise draws
MEASURED = (*IMAGE, "method", "psnr", "ssim")  # of the table of measurements, per_image
FAILURES = ("protocol", "method", "bin", "detail", "mse")
LEARNED = ("protocol", "map", "noise_std", "detail", "weight_low", "weight", "weight_high")
BY_LEVEL = (
    *("protocol", "group", "baseline", "level_low", "level_high"),
    *("n", "mean", "low", "high", "win_rate"),
)  # the map's gain over each other method at low and at high noise
VARIANTS = ("variant", "protocol", "metric", "gain", "gain_low", "gain_high")
TIMES = ("step", "jobs", "seconds", "max_rss_mib")
WHERE = ("machine", "versions", "start", "end")  # of a step, in the table of times: on and with what, and when (UTC)
NO_INTERVAL = ("gain_low", "gain_high")  # where one patient alone was tested
NO_WEIGHT = ("weight_mean", "gap", "relative_gap")  # empty for methods that solve no problem with a weight
STEPS = (
    *("variant", "iterations", "milliseconds", "low", "high"),
    *("size", "threads", "precision", "device"),
)  # of the time of a step: median and quartiles
EXAMPLES = (
    "protocol",
    "kind",
    "id",
    "noise_level",
    "gain_db",
    "psnr_noisy",
    "psnr_scalar",
    "psnr_map",
    "weight_scalar",
)


def write_table(path: PathLike, table: pd.DataFrame, index: bool = False) -> None:
    """Write the data frame as CSV, atomically; `index`: with its index as the first column."""
    write_atomically(path, table.to_csv(index=index, lineterminator="\n"))


def read_table(
    path: PathLike,
    columns: Collection[str],
    may_be_empty: Collection[str] = (),
    separator: str = ",",
    may_have_no_row: bool = False,
    optional: Collection[str] = (),
) -> pd.DataFrame:
    """Return the CSV table at `path`, with `columns` and those of `optional` that it has; identifiers stay text.

    Raises:
        StudyError: no such file, a missing column, no row unless `may_have_no_row`, or a missing number outside the
            columns `may_be_empty`.
    """
    path = Path(path)
    if not path.is_file():
        raise StudyError(f"{path}: no such table; run the study first, or give a folder that has it")
    try:
        table = pd.read_csv(path, sep=separator, dtype=dict.fromkeys(TEXT, str), keep_default_na=False, na_values=[""])
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, ValueError) as error:
        raise StudyError(f"{path}: not a readable CSV table ({error}); delete it and run the study again") from error
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise StudyError(f"{path}: column {', '.join(missing)} is missing; delete the file and run the study again")
    columns = [*columns, *(column for column in optional if column in table.columns)]
    table = table[columns]
    if "variant" in columns:  # "" is the study itself
        table = table.fillna({"variant": ""})
    if table.empty and not may_have_no_row:
        raise StudyError(f"{path}: the table has no row; delete the file and run the study again")
    for column in columns:
        if column not in may_be_empty and table[column].isna().any():
            raise StudyError(f"{path}: column {column} has empty cells; delete the file and run the study again")
    return table


def of_protocol(table: pd.DataFrame, protocol: str, path: PathLike) -> pd.DataFrame:
    """Return the rows of `table` (read from `path`) of `protocol`, or raise `StudyError` if there is none."""
    rows = table[table["protocol"] == protocol]
    if rows.empty:
        raise StudyError(f"{path}: no row of protocol {protocol}; check noise.protocols in the study's config")
    return rows


def example_row(examples: pd.DataFrame, protocol: str, path: PathLike, kind: str = "median") -> pd.Series:
    """Return the row (a Series) of `protocol` and `kind` in the table of examples read from `path`.

    Raises:
        StudyError: there is no such row.
    """
    rows = examples[(examples["protocol"] == protocol) & (examples["kind"] == kind)]
    if rows.empty:
        raise StudyError(f"{path}: no {kind} example of protocol {protocol}; delete the file and run the study again")
    return rows.iloc[0]


def chosen_row(candidates: pd.DataFrame, path: PathLike) -> pd.Series:
    """Return the row (a Series) that is marked as chosen in the table of candidates read from `path`.

    Raises:
        StudyError: none is, or more than one.
    """
    rows = candidates[candidates["chosen"].eq(True)]  # a damaged column has text, too
    if len(rows) != 1:
        raise StudyError(f"{path}: {len(rows)} rows are chosen, not one; delete the file and run the study again")
    return rows.iloc[0]
