"""What a large study would cost on a cluster: small ones are run here, their steps fitted, the large one laid out.

    python tests/cost.py --archive path/to/archive.zip

A job on n images takes a + b·n seconds (a: its start). `FIT`, two studies that differ only in n, give a and b of each
step; a third, `CHECK`, says how far this line is from a larger study. `LARGE` is then laid out on nodes with `CORES`
cores like the ones here: the steps follow one another, their jobs go to the first free core, the longest first. Only
the training, one job, has a node for itself, while the others do the scalars. Waiting in a queue is not counted.
"""

import argparse
import functools
import heapq
import json
import tempfile
from pathlib import Path

import pandas as pd
import smoke
import yaml

from tvmap import machine

SIZE, CORES, NODES = 512, 2, (1, 8, 64)
FIT = ({"train": 4, "val": 2, "test": 2}, {"train": 12, "val": 8, "test": 30})  # fewer images would drown in the starts
CHECK = {"train": 20, "val": 8, "test": 60}
LARGE = {"train": 5216, "val": 16, "test": 624}  # the 5,856 images, in the folders they are published in
LEVELS, SHARDS, SHARD_IMAGES = 10, 8, 8
SCALARS = 4  # 0, λ of the validation images, the oracle by PSNR and the one by SSIM: the methods of config.yaml
SCALAR = ["search_grid", "refine_grid", "denoise_images"]
MAP, LAST = ["predict_maps", "denoise_map"], ["measure_images"]
STEPS = ["prepare_images", "add_noise", *SCALAR, *MAP, *LAST]


def recipes():
    """{name: settings of the training}: the dissertation's and the quick one, each as its study has it."""
    paper = yaml.safe_load((smoke.ROOT / "config.yaml").read_text(encoding="utf-8"))["training"]
    quick = yaml.safe_load((smoke.ROOT / "workflow/studies/xray-quick.yaml").read_text(encoding="utf-8"))["training"]
    return {"dissertation": paper, "xray-quick": {**paper, **quick}}


def settings(images, archive, recipe, epochs):
    """The dissertation's solver and grid on `images` of 512², one noise level, `epochs` of the recipe."""
    data = {"source": "archive", "archive": archive} if archive else {"source": "sample"}
    training = {**recipe, "epochs": epochs, "validate_every": epochs, "threads": CORES}
    return {
        "data": {**data, "images": images, "size": SIZE},
        "noise": {"protocols": {"uniform": None}, "draws": 1},
        "solver": {"iterations": 256},
        "training": {**training, "validation_protocol": "fixed0.5", "checkpoint_seconds": 600},
        "grid": {"maximum": 0.4, "values": 81, "refine": 10, "shards": 1},
    }


def seconds_of(folder, images):
    """[(step, n, seconds)] of the jobs of a finished study on `images`, by its benchmarks."""
    rows = []
    for path in sorted((folder / smoke.RESULTS / "benchmarks").rglob("*.tsv")):
        step = path.stem if path.parent.name == "benchmarks" else path.parent.name
        step = "denoise_map" if step == "denoise_images" and path.stem.endswith("_map") else step
        if step in STEPS:
            split = next((split for split in images if path.stem.startswith(split)), "test")
            rows.append((step, images[split], pd.read_csv(path, sep="\t")["s"].iloc[-1]))
    return rows


def line(rows):
    """(a, b), neither below 0, of the line a + b·n through the medians of the ends of [(n, seconds)]."""
    points = pd.DataFrame(rows, columns=["n", "seconds"]).groupby("n")["seconds"].median()
    slope = max((points.iloc[-1] - points.iloc[0]) / (points.index[-1] - points.index[0]), 0)
    return max(points.iloc[0] - slope * points.index[0], 0), slope


def makespan(seconds, cores):
    """Seconds until jobs of these lengths have ended on so many cores, the longest first to the first free core."""
    free = [0.0] * cores
    for job in sorted(seconds, reverse=True):
        heapq.heapreplace(free, free[0] + job)
    return max(free)


def jobs_of_large():
    """{step: [images of each job]} of the large study, its training apart."""
    both = [LARGE["val"], LARGE["test"]]
    return {
        "prepare_images": list(LARGE.values()),
        "add_noise": LEVELS * both,
        "search_grid": LEVELS * [n / k for n in both for k in [min(SHARDS, n // SHARD_IMAGES)] for _ in range(k)],
        "refine_grid": LEVELS * [LARGE["test"]],
        "denoise_images": SCALARS * LEVELS * [LARGE["test"]],
        "predict_maps": LEVELS * [LARGE["test"]],
        "denoise_map": LEVELS * [LARGE["test"]],
        "measure_images": LEVELS * [LARGE["test"]],
    }


def table(lines, epochs):
    """One row a step with its hours on each number of nodes, and the whole study by each recipe in `epochs`."""
    rows = []
    for step, images in jobs_of_large().items():
        start, each = lines[step]
        jobs = [start + each * n for n in images]
        row = {"step": step, "jobs": len(jobs), "start_s": start, "image_s": each, "longest_job_h": max(jobs) / 3600}
        row["core_h"] = sum(jobs) / 3600
        for nodes in NODES:
            beside = CORES if step in SCALAR and nodes > 1 else 0  # the training has a node for itself
            row[f"nodes_{nodes}_h"] = makespan(jobs, nodes * CORES - beside) / 3600
        rows.append(row)
    costs = pd.DataFrame(rows).set_index("step")
    for name, number in epochs.items():
        start, each = lines[f"train, {name}"]
        hours = (start + each * number * LARGE["train"]) / 3600
        row = {"jobs": 1, "start_s": start, "image_s": each, "longest_job_h": hours, "core_h": CORES * hours}
        whole = {"jobs": costs.loc[STEPS, "jobs"].sum() + 1, "core_h": costs.loc[STEPS, "core_h"].sum() + row["core_h"]}
        for nodes in NODES:
            column = f"nodes_{nodes}_h"
            row[column] = hours
            scalars, others = costs.loc[SCALAR, column].sum(), costs.loc[STEPS, column].sum()
            whole[column] = others + hours if nodes == 1 else others - scalars + max(scalars, hours)
        costs.loc[f"train, {name}"] = row
        costs.loc[f"whole study, {name}"] = whole
    return costs


def costs_of(rows, check=()):
    """The table of costs by the [(step, n, seconds)] of the studies of FIT; held against those of CHECK, if given."""
    steps = dict.fromkeys(step for step, _, _ in rows)
    lines = {step: line([(n, seconds) for name, n, seconds in rows if name == step]) for step in steps}
    costs = table(lines, {name: recipe["epochs"] for name, recipe in recipes().items()})
    if check:
        larger = pd.DataFrame(check, columns=["step", "n", "seconds"])
        larger["fitted"] = [lines[step][0] + lines[step][1] * n for step, n, _ in check]
        sums = larger.groupby("step")[["seconds", "fitted"]].sum()
        costs["larger_measured_to_fitted"] = sums["seconds"] / sums["fitted"]
    return costs


def run(folder, *targets, change=None):
    """Run the study of the tests, with these settings, in the empty `folder`, however long it takes."""
    command = smoke.command(smoke.fresh(folder), *targets, change=change, cores=CORES)
    ended = smoke.program(folder, *command, timeout=None)
    assert ended.returncode == 0, ended.stdout[-3000:]


@functools.cache
def compile_solvers():
    """Run the study of the tests once: no job in a later `smoke.fresh` folder compiles what it runs."""
    with tempfile.TemporaryDirectory() as scratch:
        run(Path(scratch))


def measured(images, archive):
    """[(step, n, seconds)] of a study on `images`, and of its training by each recipe; n of these: images seen."""
    compile_solvers()
    rows = []
    for number, (name, recipe) in enumerate(recipes().items()):
        epochs = 2 if name == "dissertation" else 12
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            target = [] if number == 0 else [f"{smoke.RESULTS}/model/training.json"]
            run(folder, *target, change=settings(images, archive, recipe, epochs))
            training = json.loads((folder / smoke.RESULTS / "model/training.json").read_text())
            rows.append((f"train, {name}", epochs * images["train"], training["seconds"]))
            rows += seconds_of(folder, images) if number == 0 else []
    return rows


def measured_once(images, archive, path):
    """`measured`, kept in the table `path` from then on: a run that was interrupted loses no finished study."""
    known = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=["test_images", "step", "n", "seconds"])
    found = known[known["test_images"] == images["test"]]
    if found.empty:
        found = pd.DataFrame(measured(images, archive), columns=["step", "n", "seconds"]).round({"seconds": 2})
        found.insert(0, "test_images", images["test"])
        table = pd.concat([known, found] if len(known) else [found]).sort_values("test_images", kind="stable")
        table.to_csv(path, index=False, lineterminator="\n")
    else:
        print(f"{images['test']} test images: measured before, {path}")
    return list(found[["step", "n", "seconds"]].itertuples(index=False, name=None))


def on_this_machine(path):
    """Write to `path` where the times are from; times of another machine are not gone on with."""
    about = (
        json.dumps({**machine.description(), "versions": machine.versions(machine.PACKAGES.values())}, indent=2) + "\n"
    )
    if path.exists() and path.read_text() != about:
        raise SystemExit(f"{path}: this folder has times of another machine; delete it, or give another --output")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(about)


def main(archive, output):
    on_this_machine(output / "machine.json")
    path = output / "measured.csv"
    rows = [row for images in FIT for row in measured_once(images, archive, path)]
    write(costs_of(rows), output)
    write(costs_of(rows, measured_once(CHECK, archive, path)), output)


def write(costs, output):
    costs.to_csv(output / "cost.csv", float_format="%.4g", lineterminator="\n")
    print(costs.to_string(float_format="%.3g"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archive", help="the X-rays, as a zip file; without it photographs")
    parser.add_argument("--output", type=Path, default=smoke.ROOT / "results/reference/cost")
    main(**vars(parser.parse_args()))
