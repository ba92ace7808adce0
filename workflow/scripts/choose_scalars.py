"""Choose λ from the grids: one a protocol on validation, and per image by PSNR and by SSIM (oracles)."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tvmap import stacks, tabular
from tvmap.curve import CURVE, best_index, best_on_average, mean_psnr
from tvmap.logs import log, logged_to
from tvmap.methods import FINE, ORACLES

if TYPE_CHECKING:
    from snakemake.script import snakemake


def main(val_grid_paths, test_grid_path, fine_path, noisy_path, choice_path, weight_paths):
    """Write the choices (one row a test image) and `weight_paths`: {method: file with ids and weight (n,)}."""
    val = pd.concat([tabular.read_table(path, CURVE) for path in val_grid_paths])
    fixed, mean, on_edge = best_on_average(mean_psnr(val))
    log.info("λ fixed on validation: %g (%.3f dB)", fixed, mean)
    if on_edge:
        log.warning("grid: the λ fixed on validation, %g, lies on the edge; widen grid.minimum or grid.maximum", fixed)
    ids = stacks.load(noisy_path)["ids"]
    curves = tabular.read_table(test_grid_path, CURVE).groupby("id", sort=False)
    fine = tabular.read_table(fine_path, ("id", "weight_psnr", "psnr", "weight_ssim", "ssim")).set_index("id")
    rows = []
    for image_id in ids:
        curve, finest, row = curves.get_group(image_id), fine.loc[image_id], {"id": image_id, "weight_fixed": fixed}
        for metric in ("psnr", "ssim"):
            best, row[f"{metric}_edge"] = best_index(curve[metric].to_numpy())
            row[f"weight_{metric}"] = curve["weight"].iloc[best]
            row[f"weight_{metric}_fine"] = finest[f"weight_{metric}"]
            row[f"{metric}_gain_fine"] = finest[metric] - curve[metric].iloc[best]
        rows.append(row)
    table = pd.DataFrame(rows)
    for metric in ("psnr", "ssim"):
        if table[f"{metric}_edge"].any():
            names = ", ".join(table["id"][table[f"{metric}_edge"]])
            log.warning("grid: the best λ by %s lies on the grid's edge for %s", metric.upper(), names)
    tabular.write_table(choice_path, table)
    columns = {"scalar-fixed": "weight_fixed", FINE: "weight_psnr_fine"}
    columns |= {oracle: f"weight_{metric}" for metric, oracle in ORACLES.items()}
    for method, path in weight_paths.items():
        weight = table[columns[method]].to_numpy() if method in columns else np.zeros(len(table))  # λ = 0: x̂ = z
        stacks.save(path, ids=ids, weight=weight.astype(np.float64))


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        arguments = snakemake.input.val_grids, snakemake.input.test_grid, snakemake.input.fine, snakemake.input.noisy
        weights = dict(zip(snakemake.params.methods, snakemake.output[:-1], strict=True))
        main(*arguments, snakemake.output.choice, weights)
