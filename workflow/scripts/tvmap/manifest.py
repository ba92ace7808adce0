"""The manifest: which images a study uses and in which split, no patient in two of them."""

import csv
import hashlib
import io
import re
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from .archives import check_name
from .errors import StudyError
from .files import PathLike, write_atomically
from .logs import log

SPLITS = ("train", "val", "test")
RENEW = "give another one, or, if the study made it, delete it and run again"
COLUMNS = ("id", "patient", "split", "source_file", "bytes", "sha256")

# Of two splits that claim an image or a patient the first here keeps it: test images are the scarce ones.
PRIORITY = {"test": 0, "val": 1, "train": 2}
XRAY = re.compile(r"(?:NORMAL2-)?(IM-[0-9]{4})-[0-9]{4}(?:-[0-9]{4})?|(person[0-9]+)_(?:bacteria|virus)_[0-9]+")


class _Candidate(Protocol):
    """What this module needs of `sources.Candidate`, which cannot be read without the numerical libraries."""

    @property
    def id(self) -> str: ...
    @property
    def patient(self) -> str: ...
    @property
    def split(self) -> str | None: ...
    @property
    def source_file(self) -> str: ...
    @property
    def tile(self) -> int | None: ...
    @property
    def read(self) -> Callable[[], bytes]: ...


Row = dict[str, Any]  # with the keys COLUMNS
Pool = list[tuple[str, _Candidate]]  # with the split of each


def patient_of(stem: str) -> str:
    """Return the patient of an image name without suffix.

    `IM-0129-0001` and `NORMAL2-IM-0129-0001-0002` give IM-0129 (the number alone decides: whether the prefix means
    another patient is not known), `person7_virus_12` gives person7, any other name is its own patient.
    """
    match = XRAY.fullmatch(stem)
    return (match[1] or match[2]) if match else stem


def build(
    candidates: Sequence[_Candidate],
    counts: Mapping[str, int],
    val_ids: Collection[str],
    seed: int,
    fold: Mapping[str, int] | None = None,
    listed: Sequence[Row] | None = None,
) -> list[Row]:
    """Choose the images of a study; the result does not depend on the order of the candidates.

    Args:
        candidates: list of `sources.Candidate`.
        counts: images wanted, {"train": n, "val": n, "test": n}; fewer available is a warning in the log.
        val_ids: ids moved from train to val where the source gives splits but no val image.
        seed: of the choice, and of the split by patient where the source gives no splits.
        fold: {"number": i, "of": k} for cross-validation without the test images, see `hold_out`; None for the study.
        listed: rows of another study's manifest: its images alone are candidates, told by their bytes, in its splits.

    Returns:
        Rows (dicts with the keys COLUMNS) sorted by split in the order train, val, test, then by id.

    Raises:
        StudyError: a split is left without any image, a name is refused (see `check_name`), or one of `listed` is not
            among the candidates.
    """
    for candidate in candidates:
        check_name(candidate.source_file)
    if listed is not None:
        pool = _as_listed(candidates, listed)
    elif any(candidate.split is None for candidate in candidates):
        dealt = _seeded_split(candidates, counts, seed)
        pool = [(dealt[candidate.patient], candidate) for candidate in candidates]
    else:
        given = [(candidate.split, candidate) for candidate in candidates if candidate.split is not None]  # all of them
        pool = _with_val(given, val_ids)
    pool.sort(key=lambda entry: (PRIORITY[entry[0]], entry[1].source_file, entry[1].id))
    pool = _first_of_each(pool, lambda candidate: candidate.id, "a name that occurred before")
    digests, sizes = {}, {}
    for _, candidate in pool:
        data = candidate.read()
        digests[candidate.id] = hashlib.sha256(data).hexdigest()
        sizes[candidate.id] = len(data)
    pool = _first_of_each(
        pool, lambda candidate: (digests[candidate.id], candidate.tile), "the same bytes as an earlier image"
    )
    pool = _patients_apart(pool)

    rows = []
    for split in SPLITS:
        available = [candidate for name, candidate in pool if name == split]
        if not available:
            raise StudyError(
                f"config data.images.{split}: the source has no image for {split}; "
                + ("name train images in data.val_ids or add images" if split == "val" else "add images to the source")
            )
        if len(available) < counts[split]:
            log.warning("%s: %d images asked for, %d available", split, counts[split], len(available))
        chosen = sorted(available, key=lambda candidate: _keyed(seed, candidate.id))[: counts[split]]
        for candidate in sorted(chosen, key=lambda candidate: candidate.id):
            rows.append(
                {
                    "id": candidate.id,
                    "patient": candidate.patient,
                    "split": split,
                    "source_file": candidate.source_file,
                    "bytes": sizes[candidate.id],
                    "sha256": digests[candidate.id],
                }
            )
        log.info("%s: %d of %d images", split, len(chosen), len(available))
    return hold_out(rows, **fold, n_val=counts["val"], seed=seed) if fold else rows


def hold_out(rows: Sequence[Row], number: int, of: int, n_val: int, seed: int) -> list[Row]:
    """Deal the patients of train and val into `of` folds; fold `number` (from 1) becomes test, the test images go.

    About `n_val` images of the next fold become val, the rest train. The folds have as many images as each other, up to
    a patient's; they depend on the seed and on the images of train and val alone.

    Raises:
        StudyError: fewer than `of` patients, or so few in the next fold that none is left for train.
    """
    patients: dict[str, list] = {}
    for row in rows:
        if row["split"] != "test":
            patients.setdefault(row["patient"], []).append(row)
    if len(patients) < of:
        raise StudyError(f"config data.fold.of: {of} folds of {len(patients)} patients cannot be; lower it")
    folds = [[] for _ in range(of)]
    for patient in sorted(patients, key=lambda patient: _keyed(seed, f"fold/{patient}")):
        min(folds, key=lambda fold: sum(len(patients[name]) for name in fold)).append(patient)
    split = dict.fromkeys(patients, "train") | dict.fromkeys(folds[number - 1], "test")
    n_dealt = 0
    for patient in folds[number % of]:
        if n_dealt < n_val:
            split[patient] = "val"
            n_dealt += len(patients[patient])
    if "train" not in split.values():
        raise StudyError(f"config data.fold.of: {of} folds leave no patient for training; raise it")
    kept = [{**row, "split": split[row["patient"]]} for row in rows if row["split"] != "test"]
    counted = [sum(row["split"] == name for row in kept) for name in SPLITS]
    log.info(
        "fold %d of %d: %d train, %d val and %d test images; the study's test images are not used", number, of, *counted
    )
    return sorted(kept, key=lambda row: (SPLITS.index(row["split"]), row["id"]))


def write(path: PathLike, rows: Iterable[Row]) -> None:
    """Write the rows of `build` as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue())


def read(path: PathLike) -> list[Row]:
    """Read the rows of a manifest; every value is a string but `bytes`, an int.

    Raises:
        StudyError: there is no such file, it is no manifest, or a split has no image.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise ValueError
            rows = [{**row, "bytes": int(row["bytes"])} for row in reader]
    except OSError as error:
        raise StudyError(f"{path}: cannot be read ({error.strerror}); give a study's manifest.csv") from None
    except (ValueError, TypeError, csv.Error):  # no UTF-8, a size that is missing or no number, quotes without end
        raise StudyError(f"{path}: is no manifest with the columns {','.join(COLUMNS)}; {RENEW}") from None
    splits = {row["split"] for row in rows}
    for wrong in sorted(map(str, splits ^ set(SPLITS))):
        said = "has no image" if wrong in SPLITS else f"is none of {', '.join(SPLITS)}"
        raise StudyError(f"{path}: split {wrong!r} {said}; {RENEW}")
    return rows


def _keyed(seed: int, name: str) -> bytes:
    """Random order that depends on seed and name alone, not on the order or number of the others."""
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()


def _seeded_split(candidates: Sequence[_Candidate], counts: Mapping[str, int], seed: int) -> dict[str, str]:
    """Deal patients to test, then val, then train; where images are too few the splits shrink in proportion."""
    patients: dict[str, set] = {}
    for candidate in candidates:
        patients.setdefault(candidate.patient, set()).add(candidate.id)
    share = min(1.0, sum(map(len, patients.values())) / sum(counts.values()))
    wanted = {name: max(1, round(share * counts[name])) for name in ("test", "val")}
    dealt = dict.fromkeys(wanted, 0)
    split = {}
    for patient in sorted(patients, key=lambda patient: _keyed(seed, patient)):
        split[patient] = next((name for name in wanted if dealt[name] < wanted[name]), "train")
        if split[patient] != "train":
            dealt[split[patient]] += len(patients[patient])
    return split


def _as_listed(candidates: Sequence[_Candidate], listed: Sequence[Row]) -> Pool:
    """The candidates that are images of a manifest, each with the split it has there: same name, same bytes."""
    named: dict[str, list[_Candidate]] = {}
    for candidate in candidates:
        named.setdefault(candidate.id, []).append(candidate)
    pool, missing = [], []
    for row in listed:
        same = (c for c in named.get(row["id"], []) if hashlib.sha256(c.read()).hexdigest() == row["sha256"])
        found = next(same, None)
        if found:
            pool.append((row["split"], found))
        else:
            missing.append(row["id"])
    if missing:
        raise StudyError(
            f"config data.manifest: {len(missing)} of its {len(listed)} images are not in the source, the first is "
            f"{missing[0]}; give the source that it was made from"
        )
    return pool


def _with_val(pool: Pool, val_ids: Collection[str]) -> Pool:
    """Where no image is in val, move the named ones there from train."""
    if any(split == "val" for split, _ in pool):
        return pool
    ids = {candidate.id for split, candidate in pool if split == "train"}
    if missing := sorted(set(val_ids) - ids):
        log.warning("config data.val_ids: %d of %d not in train: %s", len(missing), len(val_ids), " ".join(missing))
    log.info("the source has no val images: %d named in config data.val_ids leave train", len(ids & set(val_ids)))
    return [("val" if split == "train" and candidate.id in val_ids else split, candidate) for split, candidate in pool]


def _first_of_each(pool: Pool, key: Callable[[_Candidate], Hashable], reason: str) -> Pool:
    """Keep the first entry of every key."""
    seen, kept, dropped = set(), [], []
    for split, candidate in pool:
        if key(candidate) in seen:
            dropped.append(candidate.source_file)
        else:
            seen.add(key(candidate))
            kept.append((split, candidate))
    _say_dropped(dropped, reason)
    return kept


def _patients_apart(pool: Pool) -> Pool:
    """Drop images whose patient is in a split of higher priority."""
    best = {}
    for split, candidate in pool:
        best[candidate.patient] = min(PRIORITY[split], best.get(candidate.patient, PRIORITY[split]))
    for loser in ("train", "val"):
        dropped = [
            candidate.source_file
            for split, candidate in pool
            if split == loser and best[candidate.patient] < PRIORITY[split]
        ]
        _say_dropped(dropped, f"in {loser}, their patient is in another split too")
    return [entry for entry in pool if best[entry[1].patient] == PRIORITY[entry[0]]]


def _say_dropped(names: Sequence[str], reason: str) -> None:
    if names:
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        log.warning("left out, %s: %d (%s%s)", reason, len(names), ", ".join(names[:5]), more)
