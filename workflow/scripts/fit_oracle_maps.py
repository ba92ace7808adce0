"""Fit a regularisation map, or a pair, to every clean image, an oracle: from below, what any map can reach."""

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from tvmap import stacks
from tvmap.logs import log, logged_to
from tvmap.oracle import fit_each, oracle_map

if TYPE_CHECKING:
    from snakemake.script import snakemake


def main(clean_path, noisy_path, scalar_path, output_path, solver, maps, penalty, threads):
    """Write ids, weight (n, maps, H, W) and its penalty; each map begins with the image's best scalar λ.

    maps, penalty: of the study's network.
    """
    clean, noisy, scalar = (stacks.load(path) for path in (clean_path, noisy_path, scalar_path))
    for path, stack in ((noisy_path, noisy), (scalar_path, scalar)):
        stacks.check_images(path, stack, clean_path, clean)

    def fit(k):
        images = (torch.from_numpy(stack["images"][k])[None] for stack in (clean, noisy))
        weight, history = oracle_map(*images, float(scalar["weight"][k]), solver, maps, penalty)
        return weight.numpy(), 10 * math.log10(history[0] / min(history))

    weights, gains = zip(*fit_each(fit, len(clean["ids"]), threads), strict=True)
    stacks.save(output_path, ids=clean["ids"], weight=np.stack(weights), penalty=penalty)
    log.info("%d maps, %.2f dB above their start on average", len(weights), np.mean(gains))


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        paths = [snakemake.input[name] for name in ("clean", "noisy", "scalar")]
        options = *(snakemake.params[name] for name in ("solver", "maps", "penalty")), snakemake.threads
        main(*paths, snakemake.output[0], *options)
