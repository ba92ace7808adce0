"""Make the noisy images of one split, protocol and draw from the clean ones; the noise is keyed by image id."""

from typing import TYPE_CHECKING

import numpy as np

from tvmap import noise, stacks
from tvmap.logs import log, logged_to

if TYPE_CHECKING:
    from snakemake.script import snakemake


def main(clean_path, output_path, protocol, kind, seed, draw):
    """`protocol`: a level or a pair [low, high]; writes ids, images (n, H, W), levels and noise_std (n,)."""
    clean = stacks.load(clean_path)
    levels = [noise.keyed_level(protocol, seed, draw, image_id) for image_id in clean["ids"]]
    keys = list(zip(clean["images"], levels, clean["ids"], strict=True))
    images = [noise.keyed_noise(image, level, seed, draw, image_id, kind) for image, level, image_id in keys]
    stds = [noise.noise_std(image, level, kind) for image, level, _ in keys]
    stacks.save(
        output_path, ids=clean["ids"], images=np.stack(images), levels=np.array(levels), noise_std=np.array(stds)
    )
    log.info(
        "%d images, mean level %.3f, mean noise standard deviation %.4f", len(images), np.mean(levels), np.mean(stds)
    )


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        main(
            snakemake.input[0],
            snakemake.output[0],
            snakemake.params.protocol,
            snakemake.params.kind,
            snakemake.params.seed,
            int(snakemake.wildcards.draw),
        )
