"""Collect time and memory of each step from Snakemake's benchmark files."""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from tvmap import tables
from tvmap.logs import logged_to

if TYPE_CHECKING:
    from snakemake.script import snakemake

SAMPLED = 60  # seconds


def main(benchmark_paths, training_path, output_path):
    """One row a step: its jobs, their seconds summed, the largest resident set of one (MiB).

    Snakemake samples the memory every half minute, so it is left out for jobs too short to be seen. A training that was
    resumed or taken from the store counts with the time that it really took.
    """
    rows = []
    for path in map(Path, benchmark_paths):
        table = pd.read_csv(path, sep="\t", na_values="-").iloc[-1]
        step = path.stem if path.parent.name == "benchmarks" else path.parent.name
        rows.append(
            {
                "step": step,
                "jobs": 1,
                "seconds": table["s"],
                "max_rss_mib": table["max_rss"] if table["s"] >= SAMPLED else None,
            }
        )
    times = pd.DataFrame(rows).groupby("step", sort=False).agg({"jobs": "sum", "seconds": "sum", "max_rss_mib": "max"})
    times.loc["train", "seconds"] = pd.read_json(training_path, typ="series")["seconds"]
    times.to_csv(output_path)
    rows = tables.times_table(times.reset_index())
    tables.write_markdown(output_path, "Time and memory of the steps", tables.times_head(), rows)


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        main(snakemake.input.benchmarks, snakemake.input.training, snakemake.output[0])
