"""Write where the results come from: configuration, code, versions, machine, training and data."""

import csv
import hashlib
import importlib.metadata
import json
import os
import platform
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from tvmap.files import write_atomically
from tvmap.logs import logged_to

if TYPE_CHECKING:
    from snakemake.script import snakemake

PACKAGES = ("torch", "numba", "numpy", "pillow", "scikit-image", "snakemake")


def main(manifest_path, training_path, output_path, config, code_version):
    """The archive's and the folder's place on this machine are left out: their names identify them."""
    config = json.loads(json.dumps(config))
    for key in ("archive", "folder"):
        config["data"][key] = config["data"][key] and Path(config["data"][key]).name
    with open(manifest_path, newline="") as file:
        splits = Counter(row["split"] for row in csv.DictReader(file))
    training = json.loads(Path(training_path).read_text())
    content = {
        "study": config["study"],
        "config": config,
        "code_version": code_version,
        "versions": {"python": platform.python_version(), **versions()},
        "machine": {"cpu": cpu(), "cores": cores(), "platform": f"{platform.system()} {platform.machine()}"},
        "training": {**training, "reported": config["training"]["report"]},
        "seed": config["seed"],
        "data": {"source": config["data"]["source"], "n": dict(splits), "manifest_sha256": sha256(manifest_path)},
    }
    write_atomically(output_path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def versions():
    """Versions of the packages that the numbers depend on, as far as this environment has them."""
    installed = {distribution.name.lower(): distribution.version for distribution in importlib.metadata.distributions()}
    return {name: installed[name] for name in PACKAGES if name in installed}


def cpu():
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def cores():
    """The number of processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def sha256(path):
    """Hexadecimal SHA-256 of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        params = snakemake.params
        main(snakemake.input.manifest, snakemake.input.training, snakemake.output[0], params.config, params.code)
