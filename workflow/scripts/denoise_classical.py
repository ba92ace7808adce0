"""Denoise the test images by a classical method with the strength that was best on validation."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from tvmap import classical, grid, stacks, tabular
from tvmap.features import noise_stds
from tvmap.logs import log, logged_to
from tvmap.methods import base

if TYPE_CHECKING:
    from snakemake.script import snakemake


def main(tuning_path, noisy_path, output_path, method, solver, threads):
    """Write ids and images (n, H, W); the noise is the true one, or estimated for a method `-blind`."""
    torch.set_num_threads(threads)
    tuning, noisy = tabular.read_table(tuning_path, ("strength", "psnr")), stacks.load(noisy_path)
    strength = tuning["strength"].iloc[grid.best_index(tuning["psnr"].to_numpy())[0]]
    stds = noise_stds(noisy, method)
    pairs = zip(noisy["images"], stds, strict=True)
    images = [classical.denoise(base(method), z, std, strength, solver) for z, std in pairs]
    stacks.save(output_path, ids=noisy["ids"], images=np.stack(images))
    log.info("%s: %d images, strength %g", method, len(images), strength)


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        options = snakemake.wildcards.method, snakemake.params.solver, snakemake.threads
        main(snakemake.input.tuning, snakemake.input.noisy, snakemake.output[0], *options)
