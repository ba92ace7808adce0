"""Score every scalar λ of the grid on one shard of the images: PSNR and SSIM of each solution."""

import csv
import io
from typing import TYPE_CHECKING

import torch

from tvmap import devices, grid, stacks
from tvmap.curve import CURVE
from tvmap.files import write_atomically
from tvmap.logs import log, logged_to

if TYPE_CHECKING:
    from snakemake.script import snakemake


def main(clean_path, noisy_path, output_path, values, solver, shard, n_shards, device, threads, measure):
    """Shard `shard` of 1 … `n_shards` takes every n_shards-th image; `values`: the λ; measure: of `grid.score`."""
    torch.set_num_threads(threads)
    clean, noisy = stacks.load(clean_path), stacks.load(noisy_path)
    stacks.check_images(noisy_path, noisy, clean_path, clean)
    shard_of = slice(shard - 1, None, n_shards)
    ids, images = clean["ids"][shard_of], (clean["images"][shard_of], noisy["images"][shard_of])
    scores = grid.score(*images, values, solver, devices.pick(device), **measure)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CURVE)
    for image_id, psnr, ssim in zip(ids, *scores, strict=True):
        writer.writerows(zip([image_id] * len(values), values, psnr, ssim, strict=True))
    write_atomically(output_path, text.getvalue())
    log.info("shard %d of %d: %d images, %d weights each", shard, n_shards, len(ids), len(values))


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        shard, n_shards = map(int, snakemake.wildcards.scatteritem.split("-of-"))
        values = grid.grid_values(**snakemake.params.values).tolist()
        arguments = snakemake.input.clean, snakemake.input.noisy, snakemake.output[0], values
        options = snakemake.params.device, snakemake.threads, snakemake.params.measure
        main(*arguments, snakemake.params.solver, shard, n_shards, *options)
