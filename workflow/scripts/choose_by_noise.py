"""Choose λ for every noisy image from its noise alone: by SURE or by the discrepancy principle."""

from typing import TYPE_CHECKING

import numpy as np

from tvmap import parameter_choice, stacks
from tvmap.logs import log, logged_to
from tvmap.methods import base, is_blind
from tvmap.noise import noise_stds

if TYPE_CHECKING:
    from snakemake.script import snakemake

CHOICES = {"scalar-sure": parameter_choice.choose_by_sure, "scalar-discrepancy": parameter_choice.choose_by_discrepancy}


def main(noisy_path, output_path, method, low, high, boundary):
    """Write ids and weight (n,), within [low, high]; the noise is the true one, or estimated for a method `-blind`."""
    noisy = stacks.load(noisy_path)
    stds = noise_stds(noisy, estimated=is_blind(method))
    choose = CHOICES[base(method)]
    found = [choose(z, std, low, high, boundary) for z, std in zip(noisy["images"], stds, strict=True)]
    weights = np.array([choice.weight for choice in found])
    stacks.save(output_path, ids=noisy["ids"], weight=weights)
    if at_end := sum(choice.at_end for choice in found):
        ends = f"[{low:g}, {high:g}]; change grid.minimum, grid.maximum"
        log.warning("%d of %d λ lie on an end of %s", at_end, len(found), ends)
    solves = sum(choice.solves for choice in found)
    log.info("%d images: λ %.4f ± %.4f, from %d solutions", len(found), weights.mean(), weights.std(), solves)


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        options = [snakemake.params[name] for name in ("low", "high", "boundary")]
        main(snakemake.input[0], snakemake.output[0], snakemake.wildcards.method, *options)
