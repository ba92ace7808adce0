"""Measure what the report explains: the solver's convergence, Λ against detail and noise, where the map fails."""

from typing import TYPE_CHECKING

import pandas as pd
import torch

from tvmap import devices, explain, stacks, tabular
from tvmap.logs import log, logged_to
from tvmap.methods import ORACLES

if TYPE_CHECKING:
    from snakemake.script import snakemake


def main(clean_path, paths, outputs, solver, device, threads, traced=None):
    """Write the tables `outputs`: {convergence, learned, failures, contrasts: file}.

    paths: {protocol: {"noisy": file, "weights": {method: file}, "denoised": {method: file}}} of noise draw 0, weights
    of the λ fixed on validation and of the map, denoised images of the λ best by PSNR and of the map. traced: so many
    images of a protocol at most show the convergence.
    """
    torch.set_num_threads(threads)
    device, clean = devices.pick(device), stacks.load(clean_path)
    found = {name: [] for name in outputs}
    for protocol, files in paths.items():
        noisy = stacks.load(files["noisy"])
        stacks.check_images(files["noisy"], noisy, clean_path, clean)
        weights = {method: stacks.load(path) for method, path in files["weights"].items()}
        for method, stack in weights.items():
            stacks.check_images(files["weights"][method], stack, clean_path, clean)
            images = (torch.from_numpy(of["images"])[:, None] for of in (noisy, clean))
            tensors = *images, torch.from_numpy(stack["weight"]).float()
            options = {**solver, **stacks.solver_options(stack)}
            convergence = explain.trace(*(tensor[:traced].to(device) for tensor in tensors), options)
            found["convergence"].append(convergence.assign(protocol=protocol, method=method))
            log.info("%s, %s: %.3f dB at the end", protocol, method, convergence["psnr"].iloc[-1])
        maps, images = stacks.maps(weights["map"]), (clean["images"], noisy["noise_std"])
        learned = pd.concat([explain.by_detail(weight, *images).assign(map=name) for name, weight in maps.items()])
        denoised = {method: stacks.load(path) for method, path in files["denoised"].items()}
        for method, stack in denoised.items():
            stacks.check_images(files["denoised"][method], stack, clean_path, clean)
        images = {method: stack["images"] for method, stack in denoised.items()}
        failures = explain.error_by_detail(clean["images"], images)
        contrasts = {"draw": 0, "id": clean["ids"], "contrast": clean["images"].std(axis=(1, 2), ddof=1, dtype=float)}
        contrasts = pd.DataFrame(contrasts | {"noise_std": noisy["noise_std"]})
        for name, table in (("learned", learned), ("failures", failures), ("contrasts", contrasts)):
            found[name].append(table.assign(protocol=protocol))
    for name, parts in found.items():
        tabular.write_table(outputs[name], pd.concat(parts))


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        inputs, params = snakemake.input, snakemake.params
        files = zip(*(inputs[name] for name in ("noisy", "scalar", "map", "by_oracle", "by_map")), strict=True)
        paths = {
            protocol: {
                "noisy": noisy,
                "weights": {"scalar-fixed": scalar, "map": weight},
                "denoised": {ORACLES["psnr"]: by_oracle, "map": by_map},
            }
            for protocol, (noisy, scalar, weight, by_oracle, by_map) in zip(params.protocols, files, strict=True)
        }
        options = params.solver, params.device, snakemake.threads, params.traced
        main(inputs.clean, paths, dict(snakemake.output.items()), *options)
