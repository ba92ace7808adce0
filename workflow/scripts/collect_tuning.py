"""Collect how the rivals of the map were tuned: every candidate, what it scored, and which was chosen."""

from typing import TYPE_CHECKING

import pandas as pd

from tvmap import tabular
from tvmap.logs import log, logged_to
from tvmap.methods import CLASSICAL, base

if TYPE_CHECKING:
    from snakemake.script import snakemake

COLUMNS = ["protocol", "method", "candidate", "second", "psnr", "error", "chosen"]


def main(paths, output_path):
    """`paths`: {method: {protocol: its candidates with their scores}}, strengths (of TGV pairs), λ or models.

    Of strengths and λ the first of the highest mean PSNR (dB) is chosen, of models that of the smallest error of log λ.
    A study whose rivals have no candidates gets a table without rows.
    """
    parts = [pd.DataFrame(columns=COLUMNS)]
    for method, by_protocol in paths.items():
        name = "strength" if base(method) in CLASSICAL else "candidate"
        score = "error" if method == "scalar-features" else "psnr"
        for protocol, path in by_protocol.items():
            table = tabular.read_table(path, (name, score), optional=("second",)).rename(columns={name: "candidate"})
            best = table[score].idxmin() if score == "error" else table[score].idxmax()
            parts.append(table.assign(protocol=protocol, method=method, chosen=table.index == best))
            chosen = " × ".join(f"{table[name][best]}" for name in ("candidate", "second") if name in table)
            log.info("%s, %s: %s of %d candidates", protocol, method, chosen, len(table))
    tabular.write_table(output_path, pd.concat(parts[1:] or parts).reindex(columns=COLUMNS))


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        main(snakemake.params.paths, snakemake.output[0])
