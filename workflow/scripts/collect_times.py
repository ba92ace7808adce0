"""Collect time and memory of each step from Snakemake's benchmark files."""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from tvmap import provenance, tables, tabular
from tvmap.logs import logged_peak_memory, logged_to

if TYPE_CHECKING:
    from snakemake.script import snakemake


def main(benchmark_paths, training_path, output_path):
    """One row a step: its jobs, their seconds summed, the largest resident set of one (MiB).

    The memory is what each job wrote into its log (Snakemake samples it too rarely for short jobs). A training that was
    resumed or taken from the store counts with the time and memory that it really took.
    """
    rows = []
    for path in map(Path, benchmark_paths):
        seconds = tabular.read_table(path, ["s"], separator="\t")["s"].iloc[-1]
        step = path.stem if path.parent.name == "benchmarks" else path.parent.name
        log = log_of(path)
        memory = logged_peak_memory(log.read_text()) if log.is_file() else None
        rows.append({"step": step, "jobs": 1, "seconds": seconds, "max_rss_mib": memory})
    times = pd.DataFrame(rows).groupby("step", sort=False).agg({"jobs": "sum", "seconds": "sum", "max_rss_mib": "max"})
    if "train" in times.index:  # not of a network that was trained before
        training = provenance.read_training(training_path)
        times.loc["train", ["seconds", "max_rss_mib"]] = training["seconds"], training["max_rss_mib"]
    tabular.write_table(output_path, times, index=True)
    rows = tables.times_table(times.reset_index())
    tables.write_markdown(output_path, "Time and memory of the steps", tables.times_head(), rows)


def log_of(benchmark_path):
    """The log of the job with this benchmark file: the two folders have the same structure."""
    parts = ["logs" if part == "benchmarks" else part for part in benchmark_path.parts]
    return Path(*parts).with_suffix(".log")


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        main(snakemake.input.benchmarks, snakemake.input.training, snakemake.output[0])
