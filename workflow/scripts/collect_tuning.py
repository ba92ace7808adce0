"""Collect how the rivals of the map were tuned: every candidate, what it scored, and which was chosen."""

from typing import TYPE_CHECKING

import pandas as pd

from tvmap import tabular
from tvmap.curve import CURVE, best_on_average, mean_psnr
from tvmap.logs import log, logged_to
from tvmap.methods import CLASSICAL, base
from tvmap.rivals import FACTORS

if TYPE_CHECKING:
    from snakemake.script import snakemake

COLUMNS = ["protocol", "method", "candidate", *FACTORS, "psnr", "error", "chosen", "on_edge"]


def main(paths, output_path):
    """`paths`: {method: {protocol: [tables]}} of candidates with their scores: strengths with other factors, λ, models.

    Which was chosen is said by those who tuned it; of the λ fixed on validation the tables are the grids of all draws.
    """
    parts = []
    for method, by_protocol in paths.items():
        name = "strength" if base(method) in CLASSICAL else "candidate"
        score = "error" if method == "scalar-features" else "psnr"
        for protocol, tables in by_protocol.items():
            if method == "scalar-fixed":
                means = mean_psnr(pd.concat([tabular.read_table(path, CURVE) for path in tables]))
                table = means.rename_axis("candidate").reset_index()
                table["chosen"] = table["candidate"] == best_on_average(means)[0]
            else:
                (path,) = tables
                table = tabular.read_table(path, (name, score, "chosen"), ("on_edge",), optional=(*FACTORS, "on_edge"))
                table = table.rename(columns={name: "candidate"})
            parts.append(table.assign(protocol=protocol, method=method))
            best = tabular.chosen_row(table, tables[0])
            chosen = ", ".join(f"{best[name]}" for name in ("candidate", *FACTORS) if name in best)
            log.info("%s, %s: %s of %d candidates", protocol, method, chosen, len(table))
    tabular.write_table(output_path, pd.concat(parts).reindex(columns=COLUMNS))


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        main(snakemake.params.paths, snakemake.output[0])
