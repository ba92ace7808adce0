"""Score a finer grid around each image's best λ of the grid, to say what the grid's step costs."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from tvmap import devices, grid, stacks, tabular
from tvmap.curve import CURVE, best_index
from tvmap.logs import logged_to

if TYPE_CHECKING:
    from snakemake.script import snakemake


def main(clean_path, noisy_path, grid_path, output_path, factor, solver, device, threads, measure):
    """One row an image: best λ and score by PSNR and by SSIM among the λ between the neighbours of the grid's best."""
    torch.set_num_threads(threads)
    clean, noisy = stacks.load(clean_path), stacks.load(noisy_path)
    stacks.check_images(noisy_path, noisy, clean_path, clean)
    curves = tabular.read_table(grid_path, CURVE).groupby("id", sort=False)
    rows, device = [], devices.pick(device)
    for image_id, x, z in zip(clean["ids"], clean["images"], noisy["images"], strict=True):
        curve = curves.get_group(image_id)
        weights, metrics = curve["weight"].to_numpy(), ("psnr", "ssim")
        around = [grid.finer_values(weights, best_index(curve[metric].to_numpy())[0], factor) for metric in metrics]
        values = np.unique(np.concatenate(around))  # the two overlap, for most images
        scores = grid.score(x[None], z[None], values, solver, device, **measure)[:, 0]
        row = {"id": image_id}
        for metric, own, of_all in zip(metrics, around, scores, strict=True):
            of_own = of_all[np.isin(values, own)]
            finest, _ = best_index(of_own)
            row |= {f"weight_{metric}": own[finest], metric: of_own[finest]}
        rows.append(row)
    tabular.write_table(output_path, pd.DataFrame(rows))


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        paths = [*(snakemake.input[name] for name in ("clean", "noisy", "grid")), snakemake.output[0]]
        options = snakemake.params.factor, snakemake.params.solver, snakemake.params.device, snakemake.threads
        main(*paths, *options, snakemake.params.measure)
