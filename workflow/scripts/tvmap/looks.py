"""The log of looks: which trainings were measured on the test X-rays, and when."""

import csv
import datetime
from pathlib import Path

from . import config, origins, provenance

LOOKS = Path(__file__).parents[2] / "report" / "looks.csv"


def log_looks(folder, name, origin):
    """Add the trainings of a study to the log, each once: its own, its direct network's and its variants'.

    A study on a fold of the other images does not look at the test images, nor does one of another source.

    Args:
        folder: results/<study>, a Path.
        name: how the log calls the study.
        origin: its provenance.json, read.
    """
    if not origins.origin(origin["data"]["source"]).x_rays:
        return
    settings, n = origin["config"], origin["data"]["n"]["test"]
    with open(LOOKS, newline="", encoding="utf-8") as file:
        known = {(row["study"], row["fingerprint"]) for row in csv.DictReader(file)}
    with open(LOOKS, "a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        for study, path, variant in _trainings(folder, name, settings):
            training = provenance.read_training(path) if path else origin["training"]
            if not variant["data"]["fold"] and (study, training["fingerprint"]) not in known:
                schedule = variant["training"]["schedule"].replace("_", "-")
                what = f"{training['epochs']} epochs, {schedule} rate"
                writer.writerow([datetime.date.today().isoformat(), study, training["fingerprint"], n, what])


def _trainings(folder, name, settings):
    """(name, training.json, configuration) of the study, of its direct network and of its variants."""
    of_study = None if settings["network"]["weights"] else folder / "model/training.json"  # None: see provenance
    yield name, of_study, settings
    if "unet-direct" in settings["baselines"]:
        yield f"{name}, unet-direct", folder / "model_direct/training.json", settings
    for variant, merged in config.variants(settings).items():
        own = folder.with_name(merged["study"]) / "model/training.json"
        yield f"{name}.{variant}", of_study if merged["network"]["weights"] else own, merged
