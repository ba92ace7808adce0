"""The GPU's solver against the reference: compiled where there is a GPU, else run by Triton's interpreter."""

import itertools
import os
import subprocess
import sys

import pytest
import torch

import tvmap
from tvmap import solver
from tvmap.operators import BOUNDARIES
from tvmap.pdhg import DUAL_STARTS, LIPSCHITZ, as_weight, pdhg

pytest.importorskip("triton", reason="needs Triton, which is made for Linux only")

from tvmap import pdhg_triton  # noqa: E402

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
OPTIONS = [
    {"boundary": b, "dual_start": d, "lipschitz": c}
    for b, d, c in itertools.product(BOUNDARIES, DUAL_STARTS, LIPSCHITZ)
]
SIZES = [(1, 1), (1, 7), (5, 1), (2, 3), (2, pdhg_triton.BLOCK), (3, pdhg_triton.BLOCK + 1)]


def random(*shape, seed=0):
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def problem(batch, size, channels=1):
    z, weight = random(batch, 1, *size), 0.2 * random(batch, channels, *size, seed=1)
    return z.requires_grad_(), weight.requires_grad_()


def solve(z, weight, iterations, boundary="periodic", dual_start="zero", lipschitz=3, log_ratio=0.0):
    return solver._TritonPDHG.apply(z, as_weight(weight, z), iterations, boundary, dual_start, lipschitz, log_ratio)


def solution_and_gradients(method, z, weight, iterations, **options):
    """x, q and the derivatives of ⟨x, g⟩ with a random g."""
    x, q = method(z, weight, iterations, **options)
    g = random(*x.shape, seed=2).to(x) - 0.5
    return x, q, *torch.autograd.grad((x * g).sum() + 0 * weight.sum(), (z, weight))


def assert_same_as_reference(z, weight, iterations, **options):
    fast, reference = (solution_and_gradients(m, z, weight, iterations, **options) for m in (solve, pdhg))
    for found, expected, tolerance in zip(fast, reference, (1e-12, 1e-12, 1e-10, 1e-10), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("options", OPTIONS)
def test_iterates_and_gradients_are_the_reference_s(options):
    for iterations, channels in ((0, 1), (1, 2), (2, 1)):
        assert_same_as_reference(*problem(1, (3, 4), channels), iterations, **options)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_many_iterations(boundary):
    assert_same_as_reference(*problem(1, (3, 5)), 7, boundary=boundary)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("log_ratio", [-0.7, 0.4])
def test_any_ratio_of_the_steps(log_ratio, boundary):
    for ratio in (log_ratio, torch.tensor(log_ratio, dtype=torch.float64, device=DEVICE)):
        assert_same_as_reference(*problem(1, (3, 4), 2), 5, boundary=boundary, dual_start="image", log_ratio=ratio)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("size", SIZES)
def test_every_size(size, boundary):
    assert_same_as_reference(*problem(2, size, 2), 2, boundary=boundary, dual_start="image")


@pytest.mark.parametrize("shape", [(), (1,), (3,), (1, 1, 2, 4), (3, 1, 1, 1), (3, 2, 2, 1)])
def test_broadcast_weight(shape):
    z, _ = problem(3, (2, 4))
    assert_same_as_reference(z, (0.2 * random(*shape)).requires_grad_(), 2)


def test_one_image_with_many_weights_is_not_copied():
    z, weight = random(1, 1, 3, 5), torch.tensor([0.0, 0.05, 0.3], dtype=torch.float64, device=DEVICE)
    x, q = solve(z.expand(3, -1, -1, -1), weight, 3)
    for b in range(3):
        expected = pdhg(z, weight[b], 3)
        torch.testing.assert_close((x[b : b + 1], q[b : b + 1]), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_weights_of_zero(boundary):
    """There the projection has a kink, so the derivative by such a weight is not compared."""
    z, weight = problem(1, (4, 5), 2)
    positive = random(*weight.shape, seed=3) > 0.5
    weight = (weight.detach() * positive).requires_grad_()
    fast, reference = (solution_and_gradients(m, z, weight, 3, boundary=boundary) for m in (solve, pdhg))
    for found, expected in zip(fast[:3], reference[:3], strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(fast[3][positive], reference[3][positive], rtol=0, atol=1e-10)


def test_gradient_agrees_with_central_differences():
    z, weight = problem(1, (3, 4), 2)
    *_, grad_z, grad_weight = solution_and_gradients(solve, z, weight, 9)
    step, directions = 1e-6, [random(2, *t.shape[1:], seed=5 + i) - 0.5 for i, t in enumerate((z, weight))]
    with torch.no_grad():
        shifted = [torch.cat([t + step * d, t - step * d]) for t, d in zip((z, weight), directions, strict=True)]
        loss = (solve(*shifted, 9)[0] * (random(*z.shape, seed=2) - 0.5)).sum((1, 2, 3))
        expected = (loss[:2] - loss[2:]) / (2 * step)
        found = sum((d * g).sum((1, 2, 3)) for d, g in zip(directions, (grad_z, grad_weight), strict=True))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


def test_float32_agrees_with_float64_to_rounding():
    z, weight = problem(1, (4, 40), 2)
    reference = solution_and_gradients(pdhg, z, weight, 7)
    single = (t.detach().float().requires_grad_() for t in (z, weight))
    for found, expected in zip(solution_and_gradients(solve, *single, 7), reference, strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("iterations", [3, 4])
def test_codes_say_where_the_projection_ended_in_four_bits_a_pixel(iterations):
    z, weight = (t.detach() for t in problem(2, (3, 5), 2))
    *_, codes = pdhg_triton.forward(z, weight, iterations, "periodic", "zero", 3, keep_codes=True)
    assert codes.dtype == torch.uint8 and codes.shape == (2, 2, 3, 5)
    for k in range(iterations):
        _, q = pdhg(z, weight, k + 1)
        expected = (q == weight) + 2 * (q == -weight)
        code = codes[k // 2].int() >> 4 * (k % 2)
        assert expected.unique().tolist() == [0, 1, 2]
        assert torch.equal(torch.stack([code & 3, code >> 2 & 3], 1), expected.int())
    assert iterations % 2 == 0 or codes[-1].max() < 16


def test_memory_format_and_batch_do_not_matter():
    z, weight = problem(2, (3, 6), 2)
    expected = solution_and_gradients(solve, z, weight, 2)
    strided = z.to(memory_format=torch.channels_last), weight.transpose(2, 3).contiguous().transpose(2, 3)
    found = solution_and_gradients(solve, *(t.detach().requires_grad_() for t in strided), 2)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)
    for b in range(2):
        alone, _ = solve(z[b : b + 1], weight[b : b + 1], 2)
        torch.testing.assert_close(alone, expected[0][b : b + 1], rtol=0, atol=1e-14)


def test_only_what_needs_a_gradient_gets_one():
    z, weight = problem(1, (2, 3))
    *_, expected = solution_and_gradients(solve, z, weight, 2)
    x, q = solve(z.detach(), weight, 2)
    assert x.requires_grad and not q.requires_grad
    (found,) = torch.autograd.grad((x * (random(*x.shape, seed=2) - 0.5)).sum(), weight)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)
    assert not solve(z.detach(), weight.detach(), 2)[0].requires_grad


def test_a_missing_compiler_or_triton_is_a_reason(monkeypatch):
    solver._triton_fault.cache_clear()
    assert solver._triton_fault(torch.device(DEVICE)) == ""

    def launch(*arguments):
        raise RuntimeError("Failed to find C compiler")

    start = " without Triton, or a C compiler for its launcher "
    with monkeypatch.context() as patch:
        patch.setattr(pdhg_triton, "forward", launch)
        assert solver._triton_fault(torch.device(DEVICE)) == ""  # asked once a device
        solver._triton_fault.cache_clear()
        assert solver._triton_fault(torch.device(DEVICE)) == start + "(Failed to find C compiler)"
        solver._triton_fault.cache_clear()
        patch.delattr(tvmap, "pdhg_triton")
        patch.delitem(sys.modules, "tvmap.pdhg_triton")
        patch.setitem(sys.modules, "triton", None)
        assert solver._triton_fault(torch.device(DEVICE)).startswith(start + "(import of triton halted")
    solver._triton_fault.cache_clear()


AHEAD_OF_TIME = """
import triton
from triton.backends.compiler import GPUTarget
from tvmap import pdhg_triton

for kernel, optional in ((pdhg_triton._forward, "codes"), (pdhg_triton._backward, "g_z")):
    for real, full in (("fp32", True), ("fp32", False), ("fp64", True)):
        constants = {"PERIODIC": full, "BLOCK": pdhg_triton.BLOCK}
        constants |= {} if full else {optional: None}
        integers = [name for name in kernel.arg_names if name in ("k", "B", "H", "W") or name[:2] in ("z_", "w_")]
        signature = dict.fromkeys(kernel.arg_names, "*" + real) | {"codes": "*u8"}
        signature |= dict.fromkeys(integers, "i32") | dict.fromkeys(constants, "constexpr")
        source = triton.compiler.ASTSource(kernel, signature, constants)
        found = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"enable_fp_fusion": True})
        assert len(found.asm["cubin"]) > 1000
        assert (".f64" in found.asm["ptx"]) == (real == "fp64") != (".f32" in found.asm["ptx"])
        assert ".local" not in found.asm["ptx"] and found.metadata.shared == 0
        print("compiled")
"""


def test_every_kernel_compiles_for_a_gpu_with_one_type_of_number(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    run = subprocess.run(
        [sys.executable, "-c", AHEAD_OF_TIME],
        env=environment | {"TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["compiled"] * 6
