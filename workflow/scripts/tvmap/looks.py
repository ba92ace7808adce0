"""The log of looks: which trainings were measured on the test X-rays, and when."""

import csv
import datetime
import io
import operator
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from . import origins, provenance
from .files import write_atomically
from .study import variants

LOOKS = Path(__file__).parents[2] / "report" / "looks.csv"  # not below results/, which may be deleted


def log_looks(folder: Path, name: str, origin: Mapping[str, Any]) -> None:
    """Add the trainings of a study to the log: its own, its direct network's and its variants'.

    A measurement that is published again has its line already; one that was made again on another day is another look.

    A study on a fold of the other images does not look at the test images, nor does one of another source.

    Args:
        folder: results/<study>, a Path.
        name: how the log calls the study.
        origin: its provenance.json, read.
    """
    if not origins.origin(origin["data"]["source"]).x_rays:
        return
    settings, n = origin["config"], origin["data"]["n"]["test"]
    day = (origin["times"]["end"] or datetime.date.today().isoformat())[: len("2026-11-22")]
    log = LOOKS.read_text(encoding="utf-8")
    known = set(map(operator.itemgetter("date", "study", "fingerprint", "measured"), csv.DictReader(io.StringIO(log))))
    rows = io.StringIO()
    for study, path, variant in _trainings(folder, name, settings):
        if path is None:
            fingerprint, what = "", f"weights of another training, {variant['network']['weights']}"
        else:
            training = origin[path] if isinstance(path, str) else provenance.read_training(path)
            schedule = variant["training"]["schedule"].replace("_", "-")
            fingerprint, what = training["fingerprint"], f"{training['epochs']} epochs, {schedule} rate"
        measured = _measured(variant)
        if not variant["data"]["fold"] and (day, study, fingerprint, measured) not in known:
            csv.writer(rows, lineterminator="\n").writerow([day, study, fingerprint, n, measured, what])
    if rows.getvalue():
        write_atomically(LOOKS, log + rows.getvalue())


def _measured(settings: Mapping[str, Any]) -> str:
    rivals, levels, draws = len(settings["baselines"]), settings["noise"]["protocols"], settings["noise"]["draws"]
    with_rivals = f"{rivals} rival{'s' if rivals > 1 else ''}, " if rivals else ""
    return f"{with_rivals}{', '.join(levels)}, {draws} noise draw{'s' if draws > 1 else ''}"


def _trainings(
    folder: Path, name: str, settings: Mapping[str, Any]
) -> Iterator[tuple[str, str | Path | None, Mapping[str, Any]]]:
    """(name, training, configuration) of the study, of its direct network and of its variants.

    The training is the name of its record in the study's provenance or, of a variant's own, its training.json; None
    where a variant was given weights of another one.
    """
    yield name, "training", settings
    if "unet-direct" in settings["baselines"]:
        yield f"{name}, unet-direct", "training_direct", settings
    for variant, merged in variants(settings).items():
        given = (settings["variants"][variant].get("network") or {}).get("weights", "study")
        own = folder.with_name(merged["study"]) / "model/training.json"
        of_study = "training" if given == "study" else None
        yield f"{name}.{variant}", of_study if merged["network"]["weights"] else own, merged
