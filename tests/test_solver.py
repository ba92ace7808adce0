"""The fast solver against the reference: iterates, duals and gradients, in float64 for truth."""

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from derivatives import assert_central_differences

from tvmap import pdhg_numba, solver
from tvmap.errors import StudyError
from tvmap.operators import BOUNDARIES
from tvmap.pdhg import DUAL_STARTS, LIPSCHITZ, pdhg

OPTIONS = [
    {"boundary": b, "dual_start": d, "lipschitz": c}
    for b, d, c in itertools.product(BOUNDARIES, DUAL_STARTS, LIPSCHITZ)
]
SIZES = [(1, 1), (1, 5), (4, 1), (2, 3), (3, 2), (4, 4), (5, 7), (17, 33)]  # below, at and across a group of columns
ITERATIONS = [0, 1, 5, 6, 7, 37]  # below, at and across the number of iterations under way


def problem(batch, size, channels=1, dtype=torch.float64):
    generator = torch.Generator().manual_seed(batch + 100 * size[0] + size[1])
    z = torch.rand(batch, 1, *size, dtype=dtype, generator=generator)
    weight = 0.2 * torch.rand(batch, channels, *size, dtype=dtype, generator=generator)
    return z.requires_grad_(), weight.requires_grad_()


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("size", SIZES)
def test_iterates_and_gradients_are_the_reference_s(options, size):
    for iterations, channels in itertools.product(ITERATIONS, (1, 2)):
        z, weight = problem(2, size, channels)
        g = torch.randn(2, 1, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        results = []
        for method in (pdhg, solver.solve):
            x, q = method(z, weight, iterations, **options)
            gradients = torch.autograd.grad((x * g).sum() + 0 * weight.sum(), (z, weight))
            results.append((x, q, *gradients))
        for fast, reference in zip(*results[::-1], strict=True):
            torch.testing.assert_close(fast, reference, rtol=0, atol=1e-12)


def solution_and_gradients(method, z, weight, ratio, iterations, **options):
    """x, q and the derivatives by z, weight and the log ratio of ⟨x, g⟩ with a random g."""
    x, q = method(z, weight, iterations, log_ratio=ratio, **options)
    g = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1))
    return x, q, *torch.autograd.grad((x * g).sum() + 0 * weight.sum(), (z, weight, ratio))


@pytest.mark.parametrize("log_ratio", [-0.7, 0.0, 0.4])
@pytest.mark.parametrize("options", OPTIONS)
def test_with_any_ratio_of_the_steps_too(options, log_ratio):
    for size, iterations, channels in itertools.product([(1, 1), (1, 5), (4, 1), (17, 33)], (1, 37), (1, 2)):
        ratio = torch.tensor(log_ratio, dtype=torch.float64, requires_grad=True)
        arguments = *problem(2, size, channels), ratio, iterations
        fast, reference = (solution_and_gradients(m, *arguments, **options) for m in (solver.solve, pdhg))
        for found, expected in zip(fast, reference, strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("weight", [0.1, [0.05, 0.1], None])
@pytest.mark.parametrize("log_ratio", [-0.7, 0.4])
def test_gradient_in_the_ratio_agrees_with_central_differences(log_ratio, weight):
    z, maps = (tensor.detach() for tensor in problem(2, (20, 17)))
    weight = maps if weight is None else weight
    g = torch.randn(z.shape, dtype=z.dtype, generator=torch.Generator().manual_seed(2))
    ratio = torch.tensor(log_ratio, dtype=torch.float64, requires_grad=True)

    def loss(ratio):
        return (solver.solve(z, weight, 60, log_ratio=ratio)[0] * g).sum()

    (found,) = torch.autograd.grad(loss(ratio), ratio)
    step = 1e-6
    expected = (loss(log_ratio + step) - loss(log_ratio - step)) / (2 * step)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-8)


def test_derivative_by_the_ratio_is_computed_on_demand_alone(monkeypatch):
    z, weight = problem(1, (5, 6))
    ratio = torch.tensor(0.3, dtype=torch.float64)
    expected, _ = solver.solve(z, weight, 9, log_ratio=ratio.clone().requires_grad_())
    monkeypatch.delattr(pdhg_numba, "ratio_derivative")
    plain = [solver.solve(z, weight, 9, log_ratio=r)[0] for r in (0.3, ratio)]
    with torch.no_grad():
        plain.append(solver.solve(z, weight, 9, log_ratio=ratio.clone().requires_grad_())[0])
    assert all(torch.equal(x, expected) for x in plain)
    with pytest.raises(AttributeError):
        solver.solve(z, weight, 9, log_ratio=ratio.clone().requires_grad_())


@pytest.mark.parametrize("shape", [(), (1,), (3,), (1, 1, 6, 7), (3, 1, 1, 1), (3, 2, 6, 1)])
def test_gradient_of_a_broadcast_weight(shape):
    z, _ = problem(3, (6, 7))
    weight = (0.1 * torch.rand(shape, dtype=torch.float64)).requires_grad_()
    fast, reference = (torch.autograd.grad(m(z, weight, 12)[0].square().sum(), weight)[0] for m in (solver.solve, pdhg))
    torch.testing.assert_close(fast, reference, rtol=1e-12, atol=1e-12)


def test_gradient_agrees_with_central_differences():
    z, weight = problem(1, (6, 5))
    g = torch.randn(1, 1, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

    def loss(z, weight):
        return (solver.solve(z, weight, 60)[0] * g).sum()

    assert_central_differences(loss, z, weight)


def test_float32_agrees_with_float64_to_rounding():
    z, weight = problem(1, (40, 24))
    x, _ = solver.solve(z, weight, 256)
    x32, _ = solver.solve(z.float(), weight.float(), 256)
    torch.testing.assert_close(x32.double(), x, rtol=0, atol=2e-6)


def test_memory_format_batch_and_threads_do_not_change_a_bit():
    z, weight = problem(3, (9, 10), dtype=torch.float32)
    expected, _ = solver.solve(z, weight, 30)
    channels_last, _ = solver.solve(
        z.to(memory_format=torch.channels_last), weight.transpose(2, 3).contiguous().transpose(2, 3), 30
    )
    one_by_one = torch.cat([solver.solve(z[b : b + 1], weight[b : b + 1], 30)[0] for b in range(3)])
    assert torch.equal(expected, channels_last) and torch.equal(expected, one_by_one)


def test_numbers_below_the_normal_ones_count_as_zero_in_the_solver_alone():
    """Gradients fade out through them over many iterations, and some processors compute ten times slower with them."""
    z = torch.rand(1, 1, 8, 8, requires_grad=True)
    tiny = torch.full_like(z, 1e-40)
    x, _ = solver.solve(z, 0.05, 20)
    x.backward(tiny)
    assert (z.grad == 0).all() and (tiny * 0.5 > 0).all()


def test_what_is_stored_for_the_gradient_is_half_a_byte_a_pixel_and_iteration():
    """One bit a pixel: q was stopped by its bound, the sign of what was stopped; for both directions."""
    z, weight = problem(1, (8, 32))
    *_, codes = pdhg_numba.forward(z[0, 0].detach().numpy(), weight[0].detach().numpy(), 7, "periodic", "zero", 3, True)
    assert codes.nbytes == 7 * 8 * 32 / 2
    stopped, negative = codes[..., ::2], codes[..., 1::2]
    assert (stopped & negative).any() and (stopped & ~negative).any() and (stopped != 2**16 - 1).any()


def test_compiled_code_is_found_again_by_another_process_unless_a_module_has_changed(tmp_path):
    """The second process compiles nothing, and one that cannot write its cache gives the same result.

    numba itself does not see that a function in another file has changed.
    """
    script = """
import numpy as np
from tvmap import pdhg_numba
z = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
x, _, codes = pdhg_numba.forward(z, z[None], 5, "periodic", "zero", 3, True)
_, g = pdhg_numba.backward(x, codes, "periodic", "zero", 3)
stats = [f.stats for f in (pdhg_numba._forward, pdhg_numba._backward)]
print(x.sum(), g.sum(), sum(sum(s.cache_misses.values()) for s in stats))
"""
    (tmp_path / "file").touch()
    shutil.copytree(Path(pdhg_numba.__file__).parent, tmp_path / "tvmap", ignore=shutil.ignore_patterns("__pycache__"))
    found = {}
    for name, folder in (("first", "cache"), ("second", "cache"), ("changed", "cache"), ("none", "file/cache")):
        if name == "changed":
            with open(tmp_path / "tvmap/lanes.py", "a") as file:
                file.write("# changed\n")
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / folder), "PYTHONPATH": str(tmp_path)}
        if name == "none":  # not even beside the modules
            environment["NUMBA_CACHE_LOCATOR_CLASSES"] = "UserProvidedCacheLocator"
        run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        assert ("no folder to keep compiled code in" in run.stderr) == (name == "none")
        *found[name], misses = run.stdout.split()
        assert {"first": int(misses) > 0, "second": int(misses) == 0, "changed": int(misses) > 0}.get(name, True)
    assert found["first"] == found["second"] == found["changed"] == found["none"]


def test_without_a_fast_solver_the_reference_runs_and_says_so(caplog):
    z = torch.zeros(1, 1, 5, 5, device="meta")
    solver._said.clear()
    with caplog.at_level("INFO", logger="tvmap"):
        for _ in range(2):
            x, q = solver.solve(z, 0.1, 20, norm="isotropic", log_ratio=0.3)
    assert x.shape == (1, 1, 5, 5) and q.shape == (1, 2, 5, 5) and x.device.type == "meta"
    assert [record.message for record in caplog.records] == [
        "no fast solver for the isotropic norm on meta: the reference runs"
    ]


def test_certified_solution():
    z, weight = problem(2, (12, 12))
    solution = solver.solve_certified(z.detach(), weight.detach(), iterations=2000)
    assert (solution.gap >= -1e-12).all() and (solution.relative_gap < 1e-6).all()
    other = solver.solve_certified(z.detach(), weight.detach(), iterations=2000, log_ratio=0.4)
    torch.testing.assert_close(other.x, solution.x, rtol=0, atol=1e-4)
    assert (other.relative_gap < 1e-6).all() and not torch.equal(other.x, solution.x)
    zero = solver.solve_certified(z.detach(), 0.0, iterations=5)
    assert torch.equal(zero.x, z) and (zero.relative_gap == 0).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_refused(bad):
    z, weight = (t.detach() for t in problem(1, (4, 4)))
    z[0, 0, 1, 1] = bad
    with pytest.raises(StudyError, match="noisy image: 1 values are NaN or infinite"):
        solver.solve_certified(z, weight)
    z[0, 0, 1, 1], weight[0, 0, 2, 2] = 0, bad
    with pytest.raises(StudyError, match="regularisation weight: 1 values"):
        solver.solve_certified(z, weight)
    with pytest.raises(StudyError, match="negative"):
        solver.solve_certified(z, -0.1)


@pytest.mark.parametrize("name", ["boundary", "norm", "dual_start", "gradient", "penalty"])
def test_an_unknown_option_is_refused_on_every_way(name):
    """A compiled solver compares with one of two names and would take "Periodic" for neumann."""
    with pytest.raises(ValueError, match=f"{name} must be one of .*, not 'Periodic'"):
        solver.solve(torch.rand(1, 1, 4, 4), 0.1, iterations=1, **{name: "Periodic"})
