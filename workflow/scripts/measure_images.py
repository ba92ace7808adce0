"""Measure the denoised images of every method against the clean ones: one row an image and method."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from tvmap import metrics, stacks, tabular
from tvmap.logs import log, logged_to

if TYPE_CHECKING:
    from snakemake.script import snakemake


def main(clean_path, noisy_path, manifest_path, weight_paths, denoised_paths, output_path, protocol, draw, measure):
    """`weight_paths` (of methods that have one), `denoised_paths`: {method: file}.

    Data range 1. measure: {"clamp": whether images are clamped to [0, 1] first, "window": of the SSIM}.
    """
    clean, noisy = stacks.load(clean_path), stacks.load(noisy_path)
    stacks.check_images(noisy_path, noisy, clean_path, clean)
    patients = tabular.read_table(manifest_path, ("id", "patient")).set_index("id")["patient"]
    x = torch.from_numpy(clean["images"])[:, None]
    tables = []
    for method, path in denoised_paths.items():
        denoised, weighted = stacks.load(path), method in weight_paths
        stacks.check_images(path, denoised, clean_path, clean)
        y = torch.from_numpy(denoised["images"])[:, None]
        y = y.clamp(0, 1) if measure["clamp"] else y
        columns = {"protocol": protocol, "draw": draw, "id": clean["ids"], "patient": patients[clean["ids"]].to_numpy()}
        columns |= {"noise_level": noisy["levels"], "method": method}
        weight = stacks.gradient_weight(stacks.load(weight_paths[method])) if weighted else np.full(len(x), np.nan)
        columns |= {"weight_mean": weight.reshape(len(weight), -1).mean(axis=1, dtype=np.float64)}
        pairs = list(zip(x.split(1), y.split(1), strict=True))  # in float64, so not all at once
        columns |= {"psnr": [metrics.psnr(*pair, data_range=1).item() for pair in pairs]}
        columns |= {"ssim": [metrics.ssim(*pair, data_range=1, window=measure["window"]).item() for pair in pairs]}
        columns |= {name: denoised[name] if weighted else np.nan for name in ("gap", "relative_gap")}
        tables.append(pd.DataFrame(columns))
        log.info("%s: %.2f dB, SSIM %.4f", method, tables[-1]["psnr"].mean(), tables[-1]["ssim"].mean())
    tabular.write_table(output_path, pd.concat(tables))


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        weights = dict(zip(snakemake.params.solved, snakemake.input.weights, strict=True))
        denoised = dict(zip(snakemake.params.methods, snakemake.input.denoised, strict=True))
        arguments = [snakemake.input[name] for name in ("clean", "noisy", "manifest")]
        key = snakemake.wildcards.protocol, int(snakemake.wildcards.draw)
        main(*arguments, weights, denoised, snakemake.output[0], *key, snakemake.params.measure)
