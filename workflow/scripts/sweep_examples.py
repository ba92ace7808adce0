"""Denoise the example images with every λ of the grid, for the explorer."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from tvmap import devices, grid, stacks
from tvmap.logs import log, logged_to
from tvmap.solver import solve

if TYPE_CHECKING:
    from snakemake.script import snakemake


def main(examples_path, output_path, values, solver, device, threads):
    """Write ids (n,), weights (k,) and images (n, k, H, W); `values`: the λ."""
    torch.set_num_threads(threads)
    examples, device = stacks.load(examples_path), devices.pick(device)
    z = torch.from_numpy(examples["noisy"])[:, None].to(device)
    with torch.inference_mode():
        images = [solve(z, weight, **solver)[0][:, 0].cpu().numpy() for weight in values]
    stacks.save(output_path, ids=examples["ids"], weights=np.array(values), images=np.stack(images, axis=1))
    log.info("%d images, %d weights each", len(z), len(values))


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        values = grid.grid_values(**snakemake.params.values).tolist()
        options = snakemake.params.solver, snakemake.params.device, snakemake.threads
        main(snakemake.input[0], snakemake.output[0], values, *options)
