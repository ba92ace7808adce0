"""Tune the parameters of a classical method on the validation images of one noise protocol."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from tvmap import classical, stacks, tabular
from tvmap.logs import log, logged_to
from tvmap.methods import base, is_blind
from tvmap.noise import noise_stds

if TYPE_CHECKING:
    from snakemake.script import snakemake


def main(clean_path, noisy_paths, output_path, method, solver, threads):
    """One row a candidate: its mean PSNR in dB over all images and noise draws; the noise is true, or estimated.

    The best one is marked as `chosen`; there `on_edge` names its numbers that lie on the edge of those tried.
    """
    torch.set_num_threads(threads)
    clean, noisy = stacks.load(clean_path), [stacks.load(path) for path in noisy_paths]
    for path, stack in zip(noisy_paths, noisy, strict=True):
        stacks.check_images(path, stack, clean_path, clean)
    images = np.concatenate([stack["images"] for stack in noisy])
    stds = np.concatenate([noise_stds(stack, estimated=is_blind(method)) for stack in noisy])
    tuning = classical.tune(base(method), np.tile(clean["images"], (len(noisy), 1, 1)), images, stds, solver=solver)
    table = pd.DataFrame(tuning.candidates).assign(psnr=tuning.mean_psnr, chosen=False, on_edge="")
    table.loc[tuning.best, ["chosen", "on_edge"]] = True, " ".join(tuning.on_edge)
    tabular.write_table(output_path, table)
    chosen = ", ".join(f"{name} {value:g}" for name, value in tuning.chosen.items())
    log.info("%s: %s, %.3f dB", method, chosen, tuning.mean_psnr[tuning.best])
    for name in tuning.on_edge:
        log.warning("%s: the best %s lies on the edge of those tried; widen classical.PARAMETERS", method, name)


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        options = snakemake.wildcards.method, snakemake.params.solver, snakemake.threads
        main(snakemake.input.clean, snakemake.input.noisy, snakemake.output[0], *options)
