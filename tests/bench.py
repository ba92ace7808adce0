"""Speed of the solvers, of a training step and of the grid on this machine: `make bench`, or `python tests/bench.py`.

Random data, settings of config.yaml, on the CPU and, where there is one, on a CUDA device. The variants of a comparison
take turns, round by round, so that whatever else the machine does hits all alike; times are medians after a warm-up, in
which all must give the same. "ratio" is the time of a comparison's first variant over this one's, so above 1 is faster.
"memory" is the growth of the peak by one call: of a fresh process's memory, or of the tensors on a GPU.
Into the folder bench/ go results.csv, row by row, machine.json, and speed.png, which bench_plot.py draws from the CSV.
"""

import argparse
import csv
import functools
import importlib.util
import itertools
import json
import logging
import multiprocessing
import operator
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow" / "scripts"))

# A machine with a GPU may have little more than torch and Triton: all else is imported where it is used.
from tvmap import batches, devices, graphs, grid, machine, metrics, operators, steps
from tvmap.pdhg import as_weight, pdhg, step_sizes
from tvmap.solver import solve

T, SCALAR, GRID, LEARNING_RATE = 256, 0.07, (0.0, 0.8, 81), 1e-4  # of config.yaml: a test compares them
TRAINING = {"noise_level": [0.1, 0.5], "noise_kind": "relative", "crop": None, "flips": False}
SECONDS, ROUNDS = 10, (2, 15)  # a comparison takes what fits into these seconds, at least 2 rounds and at most 15
AUTOGRAD_BYTES = 20.3  # kept by eager autograd, for each pixel and iteration
CPU_GIB = 4  # of which eager autograd may keep so much on a CPU, and an eighth of the memory on a GPU
TOLERANCE = 1e-3  # for the norm of a difference of results over that of a result; rounding makes 1e-6
UNITS = {"ms": 1, "s": 1e3, "h": 3.6e6}
GROWTH = {"growth with T": "iterations", "growth with pixels": "size", "growth with images": "batch"}
LINE = "{:6}{:32}{:28}{:>5}{:>6}{:>6}{:>8}{:>7}{:>9}{:>7}{:>7}"  # of the printed table
COLUMNS = tuple("device what variant size batch iterations threads rounds milliseconds ratio memory_mib".split())


class Problem(NamedTuple):
    """What is solved: `batch` images of size × size pixels, by `iterations` steps."""

    device: str
    size: int
    batch: int = 1
    iterations: int = T

    def data(self, dtype=torch.float32):
        """Noisy images z in [0, 1] and maps Λ in [0.02, 0.12], both (batch, 1, size, size)."""
        shape = 2, self.batch, 1, self.size, self.size
        z, weight = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=dtype).to(self.device)
        return z, 0.02 + 0.1 * weight


# --- what ours is compared with


def eager_in_place(z, weight, iterations):
    """`pdhg` with its default options as eager PyTorch does it best: in place, no autograd; `weight`: a number or Λ."""
    (primal_step, dual_step), low = step_sizes(), -weight
    x, x_bar, p, work = z.clone(), z.clone(), torch.zeros_like(z), torch.empty_like(z)
    q, difference = (torch.zeros_like(z).repeat(1, 2, 1, 1) for _ in range(2))
    (q_v, q_h), (d_v, d_h) = q.split(1, dim=1), difference.split(1, dim=1)
    for _ in range(iterations):
        torch.sub(x_bar, z, out=work)
        p.lerp_(work, dual_step / (1 + dual_step))  # (p + σ(x̄ − z)) / (1 + σ)
        torch.sub(x_bar[..., 1:, :], x_bar[..., :-1, :], out=d_v[..., :-1, :])
        torch.sub(x_bar[..., :1, :], x_bar[..., -1:, :], out=d_v[..., -1:, :])
        torch.sub(x_bar[..., 1:], x_bar[..., :-1], out=d_h[..., :-1])
        torch.sub(x_bar[..., :1], x_bar[..., -1:], out=d_h[..., -1:])
        q.add_(difference, alpha=dual_step)
        torch.clamp(q, low, weight, out=q)
        torch.sub(p, q_v, out=work)  # work = p + ∇ᵀq
        work[..., 1:, :].add_(q_v[..., :-1, :])
        work[..., :1, :].add_(q_v[..., -1:, :])
        work.sub_(q_h)
        work[..., 1:].add_(q_h[..., :-1])
        work[..., :1].add_(q_h[..., -1:])
        torch.sub(x, work, alpha=2 * primal_step, out=x_bar)  # 2x − x_old with x = x_old − τ·work
        x.sub_(work, alpha=primal_step)
    return x, q


def _iteration(x, x_bar, p, q, z, weight):
    """The loop body of `pdhg` with its default options."""
    primal_step, dual_step = step_sizes()
    p = (p + dual_step * (x_bar - z)) / (1 + dual_step)
    q = operators.project_dual(q + dual_step * operators.gradient(x_bar), weight)
    x_old, x = x, x - primal_step * (p + operators.gradient_adjoint(q))
    return x, 2 * x - x_old, p, q


@functools.cache
def _compiled_iteration():
    torch._dynamo.config.recompile_limit = 100  # after eight shapes torch would go on without compiling
    return torch.compile(_iteration, dynamic=False)  # compiled for all shapes it is slower than eager


def compiled(z, weight, iterations):
    """`pdhg` with its loop body through torch.compile, which compiles it at the first call with each shape."""
    body, weight = _compiled_iteration(), as_weight(weight, z)
    x, x_bar, p, q = z.clone(), z.clone(), torch.zeros_like(z), torch.zeros_like(z).repeat(1, 2, 1, 1)
    for _ in range(iterations):
        x, x_bar, p, q = body(x, x_bar, p, q, z, weight)
    return x, q


def stream_from_l1(problem):
    """A function that loads and stores the variables as often as a solve, but of one row: no solver can be faster."""
    import numba
    import numpy as np

    from tvmap.lanes import LANES, PAD, load, store, zeros
    from tvmap.pdhg_numba import QH, QV, XBAR, P, W, X, Z

    @numba.njit
    def stream(s, times):
        for _ in range(times):
            for j in range(0, s.shape[2] - PAD, LANES):
                q_v, q_h = load(s, 0, QV, j), load(s, 0, QH, j)
                store(s, 0, XBAR, j, load(s, 0, XBAR, j) + load(s, 0, Z, j))
                store(s, 0, X, j, load(s, 0, X, j) + load(s, 0, W, j))
                store(s, 0, P, j, load(s, 0, P, j) + load(s, 0, W, j))
                store(s, 0, QV, j, q_h)  # crosswise, or the compiler would leave both out
                store(s, 0, QH, j, q_v)

    return functools.partial(stream, zeros((1, problem.size), 7, np.float32), problem.size * problem.iterations)


def rows_in_l1(problem):
    """A function that does the arithmetic of a solve on four rows, which stay in L1: what the larger caches cost."""
    import numba
    import numpy as np

    from tvmap.lanes import fill, zeros
    from tvmap.pdhg_numba import W, _row, step_numbers

    @numba.njit
    def passes(s, times, primal_step, dual_step, shrink, two):
        steps = fill(primal_step), fill(dual_step), fill(shrink), fill(dual_step * shrink), fill(two)
        for row in range(times):
            i = row % 4
            _row(s, None, 0, i, (row + 3) % 4, (row + 1) % 4, fill(primal_step - primal_step), W, *steps, True)

    state, steps = zeros((4, problem.size), 7, np.float32), step_numbers(3, 0.0, np.dtype(np.float32))
    return functools.partial(passes, state, problem.size * problem.iterations, *steps)


def in_a_graph(run, changed):
    """`run` as a CUDA graph, captured at its first call; changed: the tensors that it changes, or any one."""
    results = []

    def step():
        results[:] = [run()]

    @functools.cache
    def graph():
        replay = graphs.captured(step, changed)
        return replay if replay is not step else left_out("not captured")

    def call():
        graph()()
        return results[0]

    return call


def left_out(reason, *_):
    raise RuntimeError(reason)


# --- the comparisons: functions from a problem to {variant: its stages}


def forward(problem, scalar=False):
    (z, weight), on_cpu = problem.data(), problem.device == "cpu"
    if scalar:  # a CPU is faster with a number; a CUDA graph cannot copy one to its device
        weight = SCALAR if on_cpu else torch.full((1, 1, 1, 1), SCALAR, device=problem.device)
    solvers = {"eager in place": eager_in_place, "eager, reference": pdhg, "torch.compile": compiled, "tvmap": solve}
    runs = {n: functools.partial(torch.inference_mode()(s), z, weight, problem.iterations) for n, s in solvers.items()}
    if on_cpu and z.numel() > 2**19:
        runs["eager, reference"] = functools.partial(left_out, "would take most of the time, and in place is faster")
    if not on_cpu:
        runs |= {f"{name}, CUDA graph": in_a_graph(runs[name], [z]) for name in ("eager in place", "tvmap")}
    elif problem.batch == 1:
        runs |= {"floor: state from L1": stream_from_l1(problem), "floor: rows in L1": rows_in_l1(problem)}
    return {name: (run,) for name, run in runs.items()}


def forward_backward(problem):
    """Two stages: x_T, and the gradient of ½‖x_T‖² in Λ."""
    z, weight = problem.data()
    weight.requires_grad_()

    def backward(x):
        return torch.autograd.grad(x, weight, x.detach())

    solvers = {"eager autograd": pdhg, "torch.compile": compiled, "tvmap": solve}
    variants = {n: (lambda s=s: s(z, weight, problem.iterations)[0], backward) for n, s in solvers.items()}
    if problem.device == "cuda":
        for name in ("eager autograd", "tvmap"):
            run = lambda first=variants[name][0]: backward(first())  # noqa: E731
            variants[f"{name}, CUDA graph"] = (in_a_graph(run, [z]),)
    gib = AUTOGRAD_BYTES * problem.iterations * z.numel() / 2**30
    if gib > (CPU_GIB if problem.device == "cpu" else torch.cuda.mem_get_info()[1] / 2**33):
        leave = functools.partial(left_out, f"eager autograd would keep {gib:.1f} GiB")
        variants |= {name: (leave,) for name in variants if not name.startswith("tvmap")}
    return variants


def growth(problem):
    """Ours alone, as a training runs it, both stages as one."""
    stages = forward_backward(problem)
    if problem.device == "cuda":
        return {"tvmap, CUDA graph": stages["tvmap, CUDA graph"]}
    run, backward = stages["tvmap"]
    return {"tvmap": (lambda: backward(run()),)}


def training_step(problem):
    """One step of `training.train`: drawing of the noise, network, solver, gradients, Adam; its result is the loss."""
    from tvmap.network import build

    device, options = torch.device(problem.device), {"iterations": problem.iterations}
    images = problem.data()[0][0].cpu().numpy()

    def parts(precision):
        source = batches.Batches(images, 0, 1, device, **TRAINING)
        source.begin(0)
        return build(precision=precision, seed=0).to(device), source

    def plain(solver, graph=False):
        model, source = parts("float32")
        optimiser = steps.make_optimiser(model.parameters())
        optimiser.param_groups[0]["lr"].fill_(LEARNING_RATE)

        def step():
            source.position.zero_()  # the only image, again and again
            clean, noisy = source.draw(1)
            loss = F.mse_loss(solver(noisy, model(noisy), **options)[0], clean)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            return loss.detach()

        return in_a_graph(step, [*model.parameters(), *steps.moments(optimiser), source.position]) if graph else step

    def ours(precision):
        taken = steps.Steps(*parts(precision), options)
        taken.begin(0, torch.full((1,), LEARNING_RATE))

        def step():
            devices.allow_tf32(precision == "tf32")  # torch has one switch, and the variants take turns
            taken.batches.position.zero_()
            taken.loss_sum.zero_()
            taken.take(1)
            devices.allow_tf32(False)
            return taken.loss_sum

        return step

    variants = {"eager autograd": plain(pdhg), "torch.compile": plain(compiled)}
    if problem.device == "cuda":
        variants |= {"eager autograd, CUDA graph": plain(pdhg, graph=True), "tvmap, tf32": ours("tf32")}
    variants["tvmap"] = ours("float32")
    slow = functools.partial(left_out, "the processor is not made for it")
    variants["tvmap, bfloat16"] = ours("bfloat16") if devices.has_bfloat16(device) else slow
    return {name: (step,) for name, step in variants.items()}


def grid_of_one_image(problem):
    clean, noisy = (tensor[:, 0].cpu().numpy() for tensor in problem.data())
    options = {"iterations": problem.iterations}, torch.device(problem.device)
    return {"tvmap": (functools.partial(grid.score, clean, noisy, grid.grid_values(*GRID), *options),)}


def similarity(problem):
    """SSIM with the Gaussian window in float64; ours is given the statistics of the reference, as in the grid."""
    from skimage.metrics import structural_similarity

    x, y = problem.data(torch.float64)
    options = {"data_range": 1, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    theirs = functools.partial(structural_similarity, x[0, 0].numpy(), y[0, 0].numpy(), **options)
    ours = functools.partial(metrics.ssim, metrics.local_statistics(x), y, data_range=1)
    return {"scikit-image": (theirs,), "tvmap": (ours,)}


def comparisons(device, quick):
    """(title, function, problems, threads and further options of `measure`)."""
    cores, last = machine.description()["cores"], 2 if quick else 5
    one = Problem(device, 256)
    problems = [one] if quick else [Problem(device, size, batch) for size in (256, 512) for batch in (1, 4, 16)]
    yield "forward, λ", functools.partial(forward, scalar=True), [one], 1
    for title, make in (("forward, Λ", forward), ("forward + backward", forward_backward)):
        for problem in problems:
            memory = make is forward_backward and problem == one and not quick
            yield title, make, [problem], 1 if problem.batch == 1 else cores, memory
    yield "training step", training_step, [one], cores, not quick, ("100,000 steps", 100_000)
    images = ("100 images, 2 cores", 50) if device == "cpu" else ("100 images", 100)
    yield f"{GRID[2]} λ, PSNR, SSIM", grid_of_one_image, [one], 1, False, images
    if device == "cpu":
        yield "SSIM", similarity, [one], 1
    grown = {"iterations": (64, 128, 256, 512, 1024), "size": (64, 128, 256, 512, 1024), "batch": (1, 2, 4, 8, 16)}
    for title, (field, values) in zip(GROWTH, grown.items(), strict=True):
        yield title, growth, [one._replace(**{field: value}) for value in values[:last]], 1


# --- measuring


def timed(stages, device):
    """Milliseconds of each stage, the second one given what the first returned, and what the last one returned."""

    def now():
        if device == "cpu":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    moments, passed = [now()], ()
    for stage in stages:
        passed = (stage(*passed),)
        moments.append(now())
    pairs = itertools.pairwise(moments)
    if device == "cpu":
        return [1000 * (end - start) for start, end in pairs], *passed
    moments[-1].synchronize()
    return [start.elapsed_time(end) for start, end in pairs], *passed


def relative_difference(first, second):
    """Norm of the difference of two results over that of the first; a result: a tensor or a number, or some of them."""

    def flat(result):
        parts = result if isinstance(result, tuple) else (result,)
        return torch.cat([torch.as_tensor(part).detach().double().cpu().flatten() for part in parts])

    return ((flat(second) - flat(first)).norm() / flat(first).norm()).item()


def first_calls(title, cases):
    """{case: (ms, MiB on a GPU)} of the warm-up. What fails, or differs from the first variant, is left out, aloud."""
    calls, results = {}, {}
    for (problem, variant), stages in cases.items():
        if problem.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()  # 0 without a GPU
        try:
            times, result = timed(stages, problem.device)
            mib = (torch.cuda.max_memory_allocated() - before) / 2**20
            reference = results.setdefault(problem, result)
            if result is not None and not relative_difference(reference, result) < TOLERANCE:
                left_out(f"its result differs by {relative_difference(reference, result):.1g}")
            calls[problem, variant] = sum(times), mib or None
        except (ImportError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:120]
            print(f"left out: {title}, {problem.size}², batch {problem.batch}, {variant}: {reason}", flush=True)
    return calls


def memory_growth(make, problem, variant, threads):
    """Growth of this process's peak memory in MiB by one call, after four iterations made all code load."""

    def peak():  # getrusage would begin at the peak of the parent process
        return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024

    torch.set_num_threads(threads)
    timed(make(problem._replace(iterations=4))[variant], problem.device)
    stages = make(problem)[variant]
    Path("/proc/self/clear_refs").write_text("5")  # the peak falls to what is in use now
    before = peak()
    timed(stages, problem.device)
    return peak() - before


def measure(title, make, problems, threads, memory=False, projected=None, rounds=ROUNDS):
    """Yield a row for each problem and variant, then those times a factor; `projected`: (title, factor)."""
    torch.set_num_threads(threads)
    try:
        cases = {(problem, name): stages for problem in problems for name, stages in make(problem).items()}
    except ImportError as error:
        print(f"left out: {title}: {error}", flush=True)
        return
    calls = first_calls(title, cases)
    times, start = {case: [] for case in calls}, time.perf_counter()
    for done in range(rounds[1]):
        if done >= rounds[0] and time.perf_counter() - start > SECONDS:
            break
        for case, values in times.items():
            values.append(timed(cases[case], case[0].device)[0])
    mib = {case: growth for case, (_, growth) in calls.items()}
    if memory and problems[0].device == "cpu" and sys.platform == "linux":  # elsewhere the system does not tell
        for case in calls:
            with multiprocessing.get_context("spawn").Pool(1) as fresh_process:
                mib[case] = fresh_process.apply(memory_growth, (make, *case, threads))

    def rows(title, part, cases, factor=1, mib=None):
        ms = {case: factor * statistics.median(map(part, times[case])) for case in cases}
        for (problem, variant), value in ms.items():
            base = ms.get(first[problem])
            numbers = value, base and base / value, mib and mib[problem, variant]
            yield row(title, problem, variant, len(times[problem, variant]), *numbers)

    def row(title, problem, variant, rounds, *numbers):
        used = threads if problem.device == "cpu" else None
        numbers = (number and round(number, 3) for number in numbers)
        return dict(zip(COLUMNS, (problem.device, title, variant, *problem[1:], used, rounds, *numbers), strict=True))

    first = {case[0]: case for case in reversed(cases)}  # the base of the ratios
    yield from rows(title, sum, times, mib=mib)
    yield from rows("backward", operator.itemgetter(1), [case for case in times if len(cases[case]) == 2])
    if projected:
        yield from rows(f"projected: {projected[0]}", sum, times, projected[1])
    for (problem, variant), (ms, _) in calls.items():
        if variant == "torch.compile":
            yield row(f"{title}: first call", problem, variant, 1, ms, None, None)


# --- output


def span(milliseconds):
    """A time as one reads it."""
    unit, length = next((u, n) for u, n in UNITS.items() if milliseconds < 999.5 * n or u == "h")
    return f"{milliseconds / length:.3g} {unit}"


def text(row):
    """A row of the CSV as a line of the printed table."""
    *start, ms, ratio, mib = row.values()
    start = ("" if value is None else value for value in start)
    return LINE.format(*start, span(ms), f"{ratio:.2f}" if ratio else "", f"{mib:.0f}" if mib else "")


def main(device, quick, folder):
    names = ["cpu"] if device != "cuda" else []
    if devices.pick(device).type == "cuda":
        names.append("cuda")
    if "cpu" in names and not importlib.util.find_spec("numba"):
        print("left out: the CPU: its solver needs numba")
        names.remove("cpu")
    folder.mkdir(parents=True, exist_ok=True)
    about, load = machine.description(), round(os.getloadavg()[0], 2)
    content = {**about, "load_before": load, "versions": machine.versions(machine.PACKAGES.values())}
    if "cuda" in names:
        gpu = torch.cuda.get_device_properties(0)
        content["gpu"] = {
            "name": gpu.name,
            "memory_gib": round(gpu.total_memory / 2**30, 1),
            "multiprocessors": gpu.multi_processor_count,
            "compute_capability": f"{gpu.major}.{gpu.minor}",
            "cuda": torch.version.cuda,
        }
    (folder / "machine.json").write_text(json.dumps(content, indent=2) + "\n")
    print(f"{about['cpu']}, {about['cores']} cores, load before the start {load} (above 0.5: figures are noisy)")
    rounds = (2, 2) if quick else ROUNDS
    devices.keep_freed_memory()  # as in a training; not in the processes started for `memory_growth`
    print(LINE.format("", "", "variant", "size", "batch", "T", "threads", "rounds", "time", "ratio", "MiB"))
    with open(folder / "results.csv", "w", newline="", encoding="utf-8", buffering=1) as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for name in names:
            for arguments in comparisons(name, quick):
                for row in measure(*arguments, rounds=rounds):
                    writer.writerow(row)
                    print(text(row), flush=True)
    try:
        from bench_plot import plot

        plot([folder / "results.csv"], folder / "speed.png")
    except ImportError as error:
        print(f"left out: speed.png: {error}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two rounds of the smallest: does it run?")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: the CPU and a GPU")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).parents[1] / "bench", help="folder of the results"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as kernels:  # of torch.compile, or a second run would not compile
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = kernels
        os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
        # Each image gets pages of its own: the holes in glibc's heap would make eager autograd look several times
        # worse. Read by the processes started for `memory_growth`, not by this one.
        os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"
        logging.basicConfig(format="%(message)s")
        logging.getLogger("tvmap").setLevel(logging.INFO)  # a solver that is not the fast one says so
        main(options.device, options.quick, options.output)
