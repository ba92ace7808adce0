"""Predict the regularisation map Λ_Θ of every noisy image with the trained network."""

from typing import TYPE_CHECKING

import torch

from tvmap import devices, network, stacks
from tvmap.errors import StudyError
from tvmap.logs import log, logged_to

if TYPE_CHECKING:
    from snakemake.script import snakemake


def main(model_path, noisy_path, output_path, wanted, device, threads):
    """Write ids, weight (n, maps, H, W), its penalty, tv or tgv, and the log_ratio of the solver's steps.

    wanted: keys of the configuration's `network` and their values; a model of another network is a `StudyError`.
    """
    torch.set_num_threads(threads)
    noisy, device = stacks.load(noisy_path), devices.pick(device)
    z = torch.from_numpy(noisy["images"])[:, None]
    model = network.load_network(model_path).to(device)
    if model.predicts != "map":
        raise StudyError(f"{model_path}: weights of a network that predicts the image, for network.weights_direct")
    for name, value in wanted.items():
        if getattr(model, name) != value:
            raise StudyError(
                f"{model_path}: weights of a network with {name}: {getattr(model, name)}; set network.{name} to it"
            )
    maps, log_ratio = network.predict(model, z.to(device)).cpu(), float(model.weights().get("log_ratio", 0))
    stacks.save(output_path, ids=noisy["ids"], weight=maps.numpy(), penalty=model.penalty, log_ratio=log_ratio)
    log.info("%d maps, values from %.2g to %.2g; ρ = %.3g", len(maps), maps.min(), maps.max(), log_ratio)


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        main(
            snakemake.input.model,
            snakemake.input.noisy,
            snakemake.output[0],
            snakemake.params.network,
            snakemake.params.device,
            snakemake.params.threads,  # whatever the cores: the bits depend on it
        )
