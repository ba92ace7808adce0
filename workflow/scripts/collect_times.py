"""Collect time, memory, machine and versions of each step from Snakemake's benchmark files and the logs."""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from tvmap import machine, provenance, tables, tabular
from tvmap.logs import logged_end, logged_to

if TYPE_CHECKING:
    from snakemake.script import snakemake


def main(benchmark_paths, trainings, output_path):
    """One row a step: its jobs, their seconds summed, the largest resident set of one (MiB), on and with what, when.

    `trainings`: {step, train or train_direct: its training.json}.
    All but the seconds is what each job wrote into its log (Snakemake samples the memory too rarely for short jobs). A
    training that was resumed or taken from the store counts with the time and memory that it really took, where it did.
    """
    rows = []
    for path in map(Path, benchmark_paths):
        seconds = tabular.read_table(path, ["s"], separator="\t")["s"].iloc[-1]
        step = path.stem if path.parent.name == "benchmarks" else path.parent.name
        log = log_of(path)
        logged = logged_end(log.read_text(encoding="utf-8")) if log.is_file() else {}
        rows.append({"step": step, "jobs": 1, "seconds": seconds} | logged)
    times = pd.DataFrame(rows, columns=[*tabular.TIMES, *tabular.WHERE]).astype({"max_rss_mib": float})
    how = {"jobs": "sum", "seconds": "sum", "max_rss_mib": "max", "start": "min", "end": "max"}
    how |= dict.fromkeys(("machine", "versions"), together)
    times = times.groupby("step", sort=False).agg(how)[[*tabular.TIMES[1:], *tabular.WHERE]]
    for step in times.index.intersection(list(trainings)):  # not of a network that was trained before
        training = provenance.read_training(trainings[step])
        times.loc[step, ["seconds", "max_rss_mib"]] = training["seconds"], training["max_rss_mib"]
        times.loc[step, "machine"] = machine.in_words(training["machine"])
        times.loc[step, "versions"] = machine.in_list(training["versions"])
    tabular.write_table(output_path, times, index=True)
    tables.write_markdown(output_path, "Time and memory of the steps", tables.times_table(times.reset_index()))


def together(machines):
    """The different ones in one text."""
    return "; ".join(sorted(set(machines.dropna())))


def log_of(benchmark_path):
    """The log of the job with this benchmark file: the two folders have the same structure."""
    parts = ["logs" if part == "benchmarks" else part for part in benchmark_path.parts]
    return Path(*parts).with_suffix(".log")


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        trainings = {step: snakemake.input[step] for step in ("train", "train_direct") if snakemake.input[step]}
        main(snakemake.input.benchmarks, trainings, snakemake.output[0])
