"""Denoise the test images by a classical method with the parameters that were best on validation."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from tvmap import classical, stacks, tabular
from tvmap.logs import log, logged_to
from tvmap.methods import base, is_blind
from tvmap.noise import noise_stds

if TYPE_CHECKING:
    from snakemake.script import snakemake


def main(tuning_path, noisy_path, output_path, method, solver, threads):
    """Write ids and images (n, H, W); the noise is the true one, or estimated for a method `-blind`."""
    torch.set_num_threads(threads)
    names, noisy = [*classical.PARAMETERS[base(method)]], stacks.load(noisy_path)
    tuning = tabular.read_table(tuning_path, (*names, "chosen"))
    chosen = tabular.chosen_row(tuning, tuning_path)[names].to_dict()
    stds = noise_stds(noisy, estimated=is_blind(method))
    pairs = zip(noisy["images"], stds, strict=True)
    images = [classical.denoise(base(method), z, std, solver=solver, **chosen) for z, std in pairs]
    stacks.save(output_path, ids=noisy["ids"], images=np.stack(images))
    log.info("%s: %d images, %s", method, len(images), ", ".join(f"{name} {chosen[name]:g}" for name in names))


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        options = snakemake.wildcards.method, snakemake.params.solver, snakemake.threads
        main(snakemake.input.tuning, snakemake.input.noisy, snakemake.output[0], *options)
