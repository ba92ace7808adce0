"""Time a step of the study's training for each number of iterations T that it or a variant trains with."""

import time
from typing import TYPE_CHECKING

import pandas as pd
import torch

from tvmap import devices, machine, stacks, tabular, training
from tvmap.logs import log, logged_to

if TYPE_CHECKING:
    from snakemake.script import snakemake

WARM_UP, ROUNDS = 2, 15


def main(clean_path, output_path, settings, iterations, threads, device):
    """A row each T: median and quartiles of the time of a step (ms), and where it was taken.

    The trainings take their steps in turns, so whatever else the machine does meets all of them alike; the weights
    stay as they start. settings: arguments of `tvmap.training.prepare`; iterations: the T, each once.
    """
    torch.set_num_threads(threads)
    devices.keep_freed_memory()
    images, device = stacks.training_images(clean_path), devices.pick(device)
    schedule, rest = settings["settings"], {name: value for name, value in settings.items() if name != "settings"}
    size = min(schedule["batch_size"], len(images))
    steps = {T: training.prepare(images, {**schedule, "iterations": T}, **rest, device=device)[2] for T in iterations}
    rows = []
    for round_ in range(WARM_UP + ROUNDS):
        for T, of in steps.items():
            of.begin(round_, torch.zeros_like(of.rates))
            of.loss_sum.item()  # waits for a GPU
            started = time.perf_counter()
            of.take(size)
            of.loss_sum.item()
            rows.append((round_, T, 1000 * (time.perf_counter() - started)))
    table = pd.DataFrame(rows, columns=["round", "iterations", "milliseconds"])
    groups = table[table["round"] >= WARM_UP].groupby("iterations")["milliseconds"]
    found = pd.DataFrame({"milliseconds": groups.median(), "low": groups.quantile(0.25), "high": groups.quantile(0.75)})
    where = devices.name(device) if device.type != "cpu" else machine.description()["cpu"]
    precision = devices.precision(schedule["precision"], device)
    found = found.assign(size=size, threads=threads, precision=precision, device=where)
    tabular.write_table(output_path, found, index=True)
    for row in found.itertuples():
        log.info("T = %d: %.0f ms a step, middle half %.0f to %.0f", row.Index, row.milliseconds, row.low, row.high)


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        main(
            snakemake.input[0],
            snakemake.output[0],
            snakemake.params.settings,
            snakemake.params.iterations,
            snakemake.threads,
            snakemake.config["device"],
        )
