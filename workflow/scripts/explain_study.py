"""Measure what the report explains: the solver's course over its iterations, and Λ against detail and noise."""

from typing import TYPE_CHECKING

import pandas as pd
import torch

from tvmap import devices, explain, stacks
from tvmap.logs import log, logged_to

if TYPE_CHECKING:
    from snakemake.script import snakemake


def main(clean_path, paths, course_path, learned_path, solver, device, threads):
    """`paths`: {protocol: {noisy, scalar-fixed, map: file}} of one noise draw, the last two with the weights."""
    torch.set_num_threads(threads)
    device, clean = devices.pick(device), stacks.load(clean_path)
    courses, learned = [], []
    for protocol, files in paths.items():
        noisy = stacks.load(files["noisy"])
        for method in ("scalar-fixed", "map"):
            weights = stacks.load(files[method])
            tensors = explain.as_images(noisy), explain.as_images(clean), torch.from_numpy(weights["weight"]).float()
            options = {**solver, **stacks.solver_options(weights)}
            course = explain.trace(*(tensor.to(device) for tensor in tensors), options)
            courses.append(course.assign(protocol=protocol, method=method))
            log.info("%s, %s: %.3f dB at the end", protocol, method, course["psnr"].iloc[-1])
        found = explain.by_detail(stacks.gradient_weight(weights), clean["images"], noisy["noise_std"])
        learned.append(found.assign(protocol=protocol))
    pd.concat(courses).to_csv(course_path, index=False)
    pd.concat(learned).to_csv(learned_path, index=False)


if "snakemake" in globals():
    with logged_to(snakemake.log[0]):
        names = ("noisy", "scalar-fixed", "map")
        files = zip(*(snakemake.input[name] for name in ("noisy", "scalar", "map")), strict=True)
        paths = {
            name: dict(zip(names, three, strict=True))
            for name, three in zip(snakemake.params.protocols, files, strict=True)
        }
        outputs = snakemake.output.course, snakemake.output.learned
        main(
            snakemake.input.clean,
            paths,
            *outputs,
            snakemake.params.solver,
            snakemake.config["device"],
            snakemake.threads,
        )
