"""Tune the one parameter of a classical method on the validation images of one noise protocol."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from tvmap import classical, stacks, tabular
from tvmap.features import noise_stds
from tvmap.logs import log, logged_to
from tvmap.methods import base

if TYPE_CHECKING:
    from snakemake.script import snakemake


def main(clean_path, noisy_paths, output_path, method, solver, threads):
    """One row a strength: its mean PSNR in dB over all images and noise draws; the noise is true, or estimated."""
    torch.set_num_threads(threads)
    clean, noisy = stacks.load(clean_path), [stacks.load(path) for path in noisy_paths]
    images = np.concatenate([stack["images"] for stack in noisy])
    stds = np.concatenate([noise_stds(stack, method) for stack in noisy])
    tuning = classical.tune(base(method), np.tile(clean["images"], (len(noisy), 1, 1)), images, stds, solver=solver)
    tabular.write_table(output_path, pd.DataFrame({"strength": tuning.strengths, "psnr": tuning.mean_psnr}))
    log.info("%s: strength %g, %.3f dB", method, tuning.strength, tuning.mean_psnr[tuning.best])
    if tuning.on_edge:
        log.warning("%s: the best strength lies on the edge of those tried; widen classical.STRENGTHS", method)


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        options = snakemake.wildcards.method, snakemake.params.solver, snakemake.threads
        main(snakemake.input.clean, snakemake.input.noisy, snakemake.output[0], *options)
