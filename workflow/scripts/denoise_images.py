"""Denoise the noisy images with their regularisation weights, scalars and maps alike, each with its certificate."""

from typing import TYPE_CHECKING

import torch

from tvmap import devices, stacks
from tvmap.logs import log, logged_to
from tvmap.solver import solve_certified

if TYPE_CHECKING:
    from snakemake.script import snakemake


def main(noisy_path, weight_path, output_path, solver, device, threads):
    """Write ids, images (n, H, W), and of each its primal-dual gap, also relative to its primal value (n,)."""
    torch.set_num_threads(threads)
    noisy, weights = stacks.load(noisy_path), stacks.load(weight_path)
    stacks.check_images(weight_path, weights, noisy_path, noisy)
    z = torch.from_numpy(noisy["images"])[:, None]
    weight = torch.from_numpy(weights["weight"]).to(z.dtype)
    device = devices.pick(device)
    solution = solve_certified(z.to(device), weight.to(device), **solver, **stacks.solver_options(weights))
    numbers = {"gap": solution.gap.cpu().numpy(), "relative_gap": solution.relative_gap.cpu().numpy()}
    stacks.save(output_path, ids=noisy["ids"], images=solution.x[:, 0].cpu().numpy(), **numbers)
    log.info("%d images, largest relative primal-dual gap %.2g", len(z), solution.relative_gap.max())


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        main(
            snakemake.input.noisy,
            snakemake.input.weight,
            snakemake.output[0],
            snakemake.params.solver,
            snakemake.params.device,
            snakemake.threads,
        )
