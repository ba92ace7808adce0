"""Find the two weights of TGV that are best for each clean image: what numbers can do without a map. An oracle."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from tvmap import stacks
from tvmap.logs import log, logged_to
from tvmap.oracle import fit_each, oracle_numbers

if TYPE_CHECKING:
    from snakemake.script import snakemake


def main(clean_path, noisy_path, output_path, solver, threads):
    """Write ids, weight (n, 2), Λ₁ and Λ₀, and its penalty."""
    clean, noisy = stacks.load(clean_path), stacks.load(noisy_path)
    stacks.check_images(noisy_path, noisy, clean_path, clean)

    def fit(k):
        images = (torch.from_numpy(stack["images"][k])[None] for stack in (clean, noisy))
        with torch.inference_mode():
            return oracle_numbers(*images, float(noisy["noise_std"][k]), solver)

    weights, scores = zip(*fit_each(fit, len(clean["ids"]), threads), strict=True)
    stacks.save(output_path, ids=clean["ids"], weight=np.array(weights), penalty="tgv")
    log.info("%d pairs of weights, %.2f dB", len(weights), np.mean(scores))


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        paths = snakemake.input.clean, snakemake.input.noisy, snakemake.output[0]
        main(*paths, snakemake.params.solver, snakemake.threads)
