"""Find the two weights of TGV that are best for each clean image: what numbers can do without a map. An oracle."""

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch

from tvmap import stacks
from tvmap.errors import StudyError
from tvmap.logs import log, logged_to
from tvmap.oracle import oracle_numbers

if TYPE_CHECKING:
    from snakemake.script import snakemake


def main(clean_path, noisy_path, output_path, solver, threads):
    """Write ids, weight (n, 2), Λ₁ and Λ₀, and its penalty."""
    torch.set_num_threads(1)  # an image a thread
    clean, noisy = stacks.load(clean_path), stacks.load(noisy_path)
    if not np.array_equal(clean["ids"], noisy["ids"]):
        raise StudyError(f"{noisy_path}: its images are not those of {clean_path}; delete it and run again")

    def fit(k):
        images = (torch.from_numpy(stack["images"][k])[None] for stack in (clean, noisy))
        with torch.inference_mode():
            return oracle_numbers(*images, float(noisy["noise_std"][k]), solver)

    with ThreadPoolExecutor(threads) as pool:
        weights, scores = zip(*pool.map(fit, range(len(clean["ids"]))), strict=True)
    stacks.save(output_path, ids=clean["ids"], weight=np.array(weights), penalty="tgv")
    log.info("%d pairs of weights, %.2f dB", len(weights), np.mean(scores))


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        paths = snakemake.input.clean, snakemake.input.noisy, snakemake.output[0]
        main(*paths, snakemake.params.solver, snakemake.threads)
