"""Time a step of each training of the study and its variants, in turns."""

import time
from typing import TYPE_CHECKING

import pandas as pd
import torch

from tvmap import devices, machine, stacks, tabular, training
from tvmap.logs import log, logged_to

if TYPE_CHECKING:
    from snakemake.script import snakemake

WARM_UP, ROUNDS = 2, 31


def main(clean_paths, output_path, trainings, threads, device):
    """A row each training: median and quartiles of the time of a step (ms), and where it was taken.

    The trainings take their steps in turns, so whatever else the machine does meets all of them alike; the weights
    stay as they start, which matters to the closed-form gradient alone, whose regions grow with the weights.

    clean_paths: {variant: images of its training}, the study under ""; trainings: {variant: arguments of
    `tvmap.training.prepare`}.
    """
    torch.set_num_threads(threads)
    devices.keep_freed_memory()
    device = devices.pick(device)
    images = {path: stacks.training_images(path) for path in set(clean_paths.values())}
    schedules = {name: options["settings"] for name, options in trainings.items()}
    steps, sizes = {}, {}
    for name, options in trainings.items():
        clean = images[clean_paths[name]]
        steps[name] = training.prepare(clean, **options, device=device)[2]
        sizes[name] = min(schedules[name]["batch_size"], len(clean))
    rows = []
    for round_ in range(WARM_UP + ROUNDS):
        for name, of in steps.items():
            devices.allow_tf32(schedules[name]["precision"] == "tf32")  # torch has one switch for all networks
            of.begin(round_, torch.zeros_like(of.rates))
            of.loss_sum.item()  # waits for a GPU
            started = time.perf_counter()
            of.take(sizes[name])
            of.loss_sum.item()
            rows.append((round_, name, 1000 * (time.perf_counter() - started)))
    table = pd.DataFrame(rows, columns=["round", "variant", "milliseconds"])
    groups = table[table["round"] >= WARM_UP].groupby("variant", sort=False)["milliseconds"]
    found = pd.DataFrame({"milliseconds": groups.median(), "low": groups.quantile(0.25), "high": groups.quantile(0.75)})
    found.insert(0, "iterations", [schedules[name]["iterations"] for name in found.index])
    found["size"] = [sizes[name] for name in found.index]
    found["threads"] = threads
    found["precision"] = [devices.precision(schedules[name]["precision"], device) for name in found.index]
    found["device"] = devices.name(device) if device.type != "cpu" else machine.description()["cpu"]
    tabular.write_table(output_path, found, index=True)
    for row in found.itertuples():
        name = row.Index or "the study"
        log.info("%s: %.0f ms a step, middle half %.0f to %.0f", name, row.milliseconds, row.low, row.high)


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        main(
            snakemake.params.clean,
            snakemake.output[0],
            snakemake.params.trainings,
            snakemake.threads,
            snakemake.params.device,
        )
