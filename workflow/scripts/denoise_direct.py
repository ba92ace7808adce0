"""Denoise the noisy images with the U-Net that predicts the image itself: no total variation, no certificate."""

from typing import TYPE_CHECKING

import torch

from tvmap import devices, network, stacks
from tvmap.errors import StudyError
from tvmap.logs import log, logged_to

if TYPE_CHECKING:
    from snakemake.script import snakemake


def main(model_path, noisy_path, output_path, device, threads):
    """Write ids and images (n, H, W)."""
    torch.set_num_threads(threads)
    noisy, device = stacks.load(noisy_path), devices.pick(device)
    z = torch.from_numpy(noisy["images"])[:, None]
    model = network.load_network(model_path).to(device)
    if model.predicts != "image":
        raise StudyError(f"{model_path}: weights of a network that predicts maps; network.weights_direct is for others")
    images = network.predict(model, z.to(device)).cpu()
    stacks.save(output_path, ids=noisy["ids"], images=images[:, 0].numpy())
    log.info("%d images", len(images))


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        main(
            snakemake.input.model,
            snakemake.input.noisy,
            snakemake.output[0],
            snakemake.params.device,
            snakemake.params.threads,  # whatever the cores: the bits depend on it
        )
