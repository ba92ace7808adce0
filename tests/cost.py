"""What a large study would cost on a cluster: small ones are run here, their steps fitted, the large one computed.

    python tests/cost.py --archive path/to/archive.zip

Each step takes a + b·n seconds for n images (a: its start); two studies that differ only in n give a and b. `LARGE` is
then laid out on nodes with `CORES` cores like the ones here: a step of m jobs of t seconds on s cores takes
max(t, m·t/s). The training is one job and has a node for itself, while the others do the scalars.
"""

import argparse
import json
import tempfile
from pathlib import Path

import pandas as pd
import smoke

SIZE, CORES, NODES = 512, 2, (1, 8, 64)
SMALL = ({"train": 4, "val": 2, "test": 2}, {"train": 12, "val": 10, "test": 10})
LARGE = {"train": 5216, "val": 16, "test": 624}  # the 5,856 images, in the folders they are published in
LEVELS, METHODS, SHARDS, EPOCHS, SMALL_EPOCHS = 10, 5, 8, 500, 2
SCALAR = ["search_grid", "refine_grid", "denoise_images"]
MAP, LAST = ["predict_maps", "denoise_map"], ["measure_images"]


def settings(images, archive):
    """The dissertation's solver and grid on `images` of 512², one noise level, a short training on whole images."""
    data = {"source": "archive", "archive": archive} if archive else {"source": "sample"}
    return {
        "data": {**data, "images": images, "size": SIZE},
        "noise": {"protocols": {"uniform": None}, "draws": 1},
        "solver": {"iterations": 256},
        "training": {
            **{"epochs": SMALL_EPOCHS, "iterations": 256, "crop": None, "batch_size": 1, "learning_rate": 0.0001},
            **{"threads": CORES, "validation_protocol": "fixed0.5", "validate_every": SMALL_EPOCHS},
        },
        "grid": {"maximum": 0.4, "values": 81, "refine": 10, "shards": 1},
    }


def seconds_of(folder):
    """{step: [(images, seconds) of each job]} of a finished study; the training by the steps that it took."""
    found, results = {}, folder / smoke.RESULTS
    for path in sorted((results / "benchmarks").rglob("*.tsv")):
        step = path.stem if path.parent.name == "benchmarks" else path.parent.name
        step = "denoise_map" if step == "denoise_images" and path.stem.endswith("_map") else step
        found.setdefault(step, []).append((path.stem, pd.read_csv(path, sep="\t")["s"].iloc[-1]))
    found["train"] = [("train", json.loads((results / "model/training.json").read_text())["seconds"])]
    return found


def fitted(studies):
    """{step: (a, b)} in seconds and seconds an image; of the training b is the time of one step."""
    lines = {}
    for step in ["prepare_images", "add_noise", *SCALAR, *MAP, *LAST, "train"]:
        points = []
        for images, found in studies:
            for name, seconds in found[step]:
                split = next((split for split in images if name.startswith(split)), "test")
                n = images[split] * (SMALL_EPOCHS if step == "train" else 1)
                points.append((n, seconds))
        points = pd.DataFrame(points, columns=["n", "seconds"]).groupby("n")["seconds"].median()
        slope = max((points.iloc[-1] - points.iloc[0]) / (points.index[-1] - points.index[0]), 0)
        lines[step] = points.iloc[0] - slope * points.index[0], slope
    return lines


def jobs_of_large():
    """{step: (jobs, images a job)} of the large study."""
    return {
        "prepare_images": (3, LARGE["train"]),
        "add_noise": (2 * LEVELS, LARGE["test"]),
        "search_grid": (2 * LEVELS * SHARDS, (LARGE["val"] + LARGE["test"]) / 2 / SHARDS),
        "refine_grid": (LEVELS, LARGE["test"]),
        "denoise_images": ((METHODS - 1) * LEVELS, LARGE["test"]),
        "train": (1, EPOCHS * LARGE["train"]),
        "predict_maps": (LEVELS, LARGE["test"]),
        "denoise_map": (LEVELS, LARGE["test"]),
        "measure_images": (LEVELS, LARGE["test"]),
    }


def table(lines):
    """One row a step, with its hours on each number of nodes, and the whole study's."""
    rows = []
    for step, (jobs, n) in jobs_of_large().items():
        start, each = lines[step]
        job = start + each * n
        row = {"step": step, "jobs": jobs, "start_s": start, "each_s": each, "job_h": job / 3600}
        cores = CORES if step == "train" else 1
        row["core_h"] = jobs * job * cores / 3600
        for nodes in NODES:
            slots = nodes * CORES - (CORES if step in SCALAR and nodes > 1 else 0)
            row[f"nodes_{nodes}"] = max(job, jobs * job / max(slots, 1)) / 3600 if step != "train" else job / 3600
        rows.append(row)
    costs = pd.DataFrame(rows).set_index("step")
    whole = {"jobs": costs["jobs"].sum(), "core_h": costs["core_h"].sum()}
    for nodes in NODES:
        hours = costs[f"nodes_{nodes}"]
        beside = (hours["train"], hours[SCALAR].sum())
        together = sum(beside) if nodes == 1 else max(beside)
        whole[f"nodes_{nodes}"] = hours[["prepare_images", "add_noise", *MAP, *LAST]].sum() + together
    costs.loc["whole study"] = whole
    return costs


def main(archive, output):
    studies = []
    for images in SMALL:
        with tempfile.TemporaryDirectory() as scratch:
            folder = smoke.fresh(Path(scratch))
            run = smoke.snakemake(folder, change=settings(images, archive), cores=CORES)
            assert run.returncode == 0, run.stdout[-3000:]
            studies.append((images, seconds_of(folder)))
    costs = table(fitted(studies))
    output.mkdir(parents=True, exist_ok=True)
    costs.to_csv(output / "cost.csv", float_format="%.4g", lineterminator="\n")
    print(costs.to_string(float_format="%.3g"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archive", help="the X-rays, as a zip file; without it photographs")
    parser.add_argument("--output", type=Path, default=smoke.ROOT / "results/reference/cost")
    main(**vars(parser.parse_args()))
