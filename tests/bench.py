"""Speed of the solvers, of a training step and of the grid on this machine: `make bench`, or `python tests/bench.py`.

Random data, settings of config.yaml. The variants of a comparison take turns, round by round, so that whatever else the
machine does hits all alike; times are medians after a warm-up. "ratio" is the time of a comparison's first variant over
this one's, so above 1 is faster. "memory" is the growth of a fresh process's peak memory by one call.
The results go to bench/results.csv and bench/machine.json.
"""

import argparse
import csv
import json
import multiprocessing
import os
import statistics
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
import yaml
from skimage.metrics import structural_similarity
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow" / "scripts"))

from tvmap import grid, machine, metrics, training
from tvmap.network import build
from tvmap.pdhg import pdhg, step_sizes
from tvmap.solver import solve

ROOT = Path(__file__).parents[1]
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
T = CONFIG["solver"]["iterations"]


def eager_in_place(z, weight, iterations):
    """`pdhg` with its default options as eager PyTorch does it best: in place, no autograd; `weight`: a number or Λ."""
    (tau, sigma), low = step_sizes(), -weight
    x, x_bar, p, work = z.clone(), z.clone(), torch.zeros_like(z), torch.empty_like(z)
    q, difference = (torch.zeros_like(z).repeat(1, 2, 1, 1) for _ in range(2))
    (q_v, q_h), (d_v, d_h) = q.split(1, dim=1), difference.split(1, dim=1)
    for _ in range(iterations):
        torch.sub(x_bar, z, out=work)
        p.lerp_(work, sigma / (1 + sigma))  # (p + σ(x̄ − z)) / (1 + σ)
        torch.sub(x_bar[..., 1:, :], x_bar[..., :-1, :], out=d_v[..., :-1, :])
        torch.sub(x_bar[..., :1, :], x_bar[..., -1:, :], out=d_v[..., -1:, :])
        torch.sub(x_bar[..., 1:], x_bar[..., :-1], out=d_h[..., :-1])
        torch.sub(x_bar[..., :1], x_bar[..., -1:], out=d_h[..., -1:])
        q.add_(difference, alpha=sigma)
        torch.clamp(q, low, weight, out=q)
        torch.sub(p, q_v, out=work)  # work = p + ∇ᵀq
        work[..., 1:, :].add_(q_v[..., :-1, :])
        work[..., :1, :].add_(q_v[..., -1:, :])
        work.sub_(q_h)
        work[..., 1:].add_(q_h[..., :-1])
        work[..., :1].add_(q_h[..., -1:])
        torch.sub(x, work, alpha=2 * tau, out=x_bar)  # 2x − x_old with x = x_old − τ·work
        x.sub_(work, alpha=tau)
    return x, q


def random_problem(size, dtype=torch.float32):
    """A noisy image z in [0, 1] and a map Λ in [0.02, 0.12], both (1, 1, size, size)."""
    z, weight = torch.rand(2, 1, 1, size, size, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return z, 0.02 + 0.1 * weight


def forward(size, scalar=None):
    z, weight = random_problem(size)
    solvers = {"eager in place": eager_in_place, "eager, reference": pdhg, "tvmap": solve}
    return {name: partial(torch.inference_mode()(solver), z, scalar or weight, T) for name, solver in solvers.items()}


def forward_backward(size):
    z, weight = random_problem(size)
    weight.requires_grad_()
    solvers = {"eager autograd": pdhg, "tvmap": solve}
    return {name: lambda s=s: s(z, weight, T)[0].square().sum().backward() for name, s in solvers.items()}


def training_step(size):
    """One step as `training.train` takes it: drawing of the noise, network, solver, gradients, Adam."""
    images = np.random.default_rng(0).random((1, size, size), dtype=np.float32)
    settings, noise = CONFIG["training"], CONFIG["noise"]
    example = {"noise_level": noise["train_level"], "noise_kind": noise["kind"], "crop": None, "flips": False}

    def step(solver, model, optimiser):
        clean, noisy = training.training_batch(images, 0, 0, [0], "cpu", **example)
        loss = F.mse_loss(solver(noisy, model(noisy), settings["iterations"])[0], clean)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    variants = {}
    for name, solver in (("eager autograd, float32", pdhg), ("tvmap, float32", solve), ("tvmap, bfloat16", solve)):
        model = build(precision=name.split(", ")[1], seed=0)
        adam = torch.optim.Adam(model.parameters(), settings["learning_rate"], fused=True)
        variants[name] = partial(step, solver, model, adam)
    return variants


def grid_of_one_image(size):
    noisy, clean = (tensor[0, 0].numpy() for tensor in random_problem(size))
    values = grid.grid_values(*(CONFIG["grid"][name] for name in ("minimum", "maximum", "values")))
    return {"tvmap": partial(grid.score, clean, noisy, values, CONFIG["solver"])}


def similarity(size):
    """SSIM with the Gaussian window in float64; ours is given the statistics of the reference, as in the grid."""
    x, y = random_problem(size, torch.float64)
    options = {"data_range": 1, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    theirs = partial(structural_similarity, x[0, 0].numpy(), y[0, 0].numpy(), **options)
    return {"scikit-image": theirs, "tvmap": partial(metrics.ssim, metrics.local_statistics(x), y, data_range=1)}


def check():
    """Raise unless the variants that are compared agree."""
    z, weight = random_problem(33)
    for solver, w in ((eager_in_place, 0.07), (eager_in_place, weight), (solve, 0.07), (solve, weight)):
        torch.testing.assert_close(solver(z, w, 50), pdhg(z, w, 50))
    np.testing.assert_allclose(*(variant() for variant in similarity(64).values()), rtol=0, atol=1e-6)


def memory_growth(make, variant, size):
    """Growth of this process's peak memory in MiB by one call, after a small image made all code load."""

    def peak():  # getrusage would begin at the peak of the parent process
        return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024

    run = make(size)[variant]
    make(16)[variant]()
    Path("/proc/self/clear_refs").write_text("5")  # the peak falls to what is in use now
    before = peak()
    run()
    return peak() - before


def measure(what, make, arguments, rounds, threads, with_memory=False, projected=None):
    """Yield a row for each variant, then the rows times a factor; `projected`: (title, factor)."""
    torch.set_num_threads(threads)
    variants, size = make(*arguments), arguments[0]
    durations = {name: [] for name in variants}
    for _ in range(1 + rounds):
        for name, run in variants.items():
            start = time.perf_counter()
            run()
            durations[name].append(1000 * (time.perf_counter() - start))
    times = {name: statistics.median(values[1:]) for name, values in durations.items()}  # the first is a warm-up
    ratios = {name: next(iter(times.values())) / ms for name, ms in times.items()}
    for variant, ms in times.items():
        memory = None
        if with_memory and sys.platform == "linux":  # elsewhere the system does not tell
            with multiprocessing.get_context("spawn").Pool(1) as fresh_process:
                memory = fresh_process.apply(memory_growth, (make, variant, size))
        yield what, variant, size, threads, ms, ratios[variant], memory
    for variant, ms in times.items() if projected else ():
        yield f"projected: {projected[0]}", variant, size, threads, ms * projected[1], ratios[variant], None


def main(quick):
    (folder := ROOT / "bench").mkdir(exist_ok=True)
    about, load = machine.description(), round(os.getloadavg()[0], 2)
    content = {**about, "load_before": load, "versions": machine.versions()}
    (folder / "machine.json").write_text(json.dumps(content, indent=2) + "\n")
    print(f"{about['cpu']}, {about['cores']} cores, load before the start {load} (above 0.5: figures are noisy)")
    # Each image gets pages of its own: the holes in glibc's heap would make eager autograd look several times worse.
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"  # read by the processes started for `memory_growth`, not this one
    check()
    print(f"{'':33}{'variant':25}{'size':>4}{'threads':>9}{'time':>11}{'ratio':>8}{'memory':>10}")
    with open(folder / "results.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("what", "variant", "size", "threads", "milliseconds", "ratio", "memory_mib"))
        for what, make, arguments, rounds, *rest in COMPARISONS:
            for row in measure(what, make, arguments, 2 if quick else rounds, *rest):
                writer.writerow(row)
                *start, ms, ratio, memory = row
                span = f"{ms:.1f} ms" if ms < 1e4 else f"{ms / 1e3:.0f} s" if ms < 6e5 else f"{ms / 3.6e6:.1f} h"
                mib = f"{memory:.0f} MiB" if memory else ""
                print("{:33}{:25}{:>4}{:>9}".format(*start) + f"{span:>11}{ratio:>8.2f}{mib:>10}", flush=True)


COMPARISONS = (  # the arguments of `measure`
    ("forward, λ", forward, (256, 0.07), 15, 1),
    ("forward, Λ", forward, (256,), 15, 1),
    ("forward, Λ", forward, (512,), 7, 1),
    ("forward + backward", forward_backward, (256,), 7, 1, True),
    ("training step", training_step, (256,), 9, CONFIG["training"]["threads"], True, ("100,000 steps", 100_000)),
    (f"{CONFIG['grid']['values']} λ, PSNR, SSIM", grid_of_one_image, (256,), 5, 1, False, ("100 images, 2 cores", 50)),
    ("SSIM", similarity, (256,), 15, 1),
)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two rounds each: does it run?")
    main(parser.parse_args().quick)
