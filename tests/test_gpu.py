"""On a GPU: the solver, its gradient and a training step agree with the CPU."""

import pytest
import torch

from tvmap import grid, network, pdhg, philox, solver, steps, training
from tvmap.batches import Batches

pytestmark = pytest.mark.gpu
OPTIONS = {"iterations": 64, "boundary": "periodic", "norm": "anisotropic", "dual_start": "zero", "lipschitz": 3}


def problem(device, shape=(2, 1, 40, 56), dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    z = torch.rand(shape, dtype=torch.float64, generator=generator).to(device, dtype)
    weight = 0.2 * torch.rand(shape, dtype=torch.float64, generator=generator).to(device, dtype)
    return z.requires_grad_(), weight.requires_grad_()


def solution_and_gradients(method, z, weight, **options):
    x, _ = method(z, weight, **options)
    return x.detach(), *torch.autograd.grad(x.square().sum(), (z, weight))


def both(shape=(2, 1, 40, 56), dtype=torch.float64, **options):
    """(x, ∂/∂z, ∂/∂Λ) of the reference on the CPU, image by image to save memory, and of the solver on the GPU."""
    images = zip(*(tensor.detach().split(1) for tensor in problem("cpu", shape, dtype)), strict=True)
    found = [solution_and_gradients(pdhg.pdhg, *(t.requires_grad_() for t in pair), **options) for pair in images]
    gpu = solution_and_gradients(solver.solve, *problem("cuda", shape, dtype), **options)
    assert solver._triton_fault(gpu[0].device) == ""
    return [torch.cat(tensors) for tensors in zip(*found, strict=True)], [tensor.cpu() for tensor in gpu]


@pytest.mark.parametrize("boundary", ["periodic", "neumann"])
def test_solution_and_gradients_are_those_of_the_cpu(boundary):
    for expected, found in zip(*both(**OPTIONS | {"boundary": boundary}), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("boundary", ["periodic", "neumann"])
def test_so_they_are_with_a_learned_ratio_of_the_steps(boundary):
    found = {}
    for method, device in ((pdhg.pdhg, "cpu"), (solver.solve, "cuda")):
        z, weight = problem(device)
        ratio = torch.tensor(0.4, dtype=z.dtype, device=device, requires_grad=True)
        x, _ = method(z, weight, **OPTIONS | {"boundary": boundary}, log_ratio=ratio)
        found[device] = [t.cpu() for t in torch.autograd.grad(x.square().sum(), (z, weight, ratio))]
    for expected, gradient in zip(found["cpu"], found["cuda"], strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(1, 1, 256, 256), (4, 1, 256, 256), (1, 1, 512, 384), (4, 1, 512, 384)])
@pytest.mark.parametrize(
    "dtype,solution_error,gradient_error",
    [(torch.float64, 1e-11, 1e-9), (torch.float32, 1e-5, 2e-2)],  # float32: one pixel at a bound or not
)
def test_so_they_are_at_full_size(shape, dtype, solution_error, gradient_error):
    expected, found = both(shape, dtype, **OPTIONS | {"iterations": 256})
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=solution_error)
    for a, b in zip(found[1:], expected[1:], strict=True):
        assert a.dtype == dtype and (a - b).norm() <= gradient_error * b.norm()


def test_what_is_stored_for_the_gradient_is_half_a_byte_a_pixel_and_iteration():
    from tvmap import pdhg_triton

    z, weight = (tensor.detach() for tensor in problem("cuda", (1, 1, 256, 256), torch.float32))
    *_, codes = pdhg_triton.forward(z, weight, 256, "periodic", "zero", 3, keep_codes=True)
    assert codes.nbytes == 256 * 256 * 256 // 2


def test_a_cuda_graph_of_solution_and_gradients_replays_to_the_same():
    z, weight = problem("cuda", (1, 1, 256, 256), torch.float32)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        solution_and_gradients(solver.solve, z, weight, **OPTIONS)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        replayed = solution_and_gradients(solver.solve, z, weight, **OPTIONS)
    for seed in (1, 2):
        with torch.no_grad():
            for tensor, other in zip((z, weight), problem("cuda", z.shape, z.dtype, seed), strict=True):
                tensor.copy_(other)
        graph.replay()
        expected = solution_and_gradients(solver.solve, z, weight, **OPTIONS)
        assert all(torch.equal(a, b) for a, b in zip(replayed, expected, strict=True))


def test_without_triton_the_reference_runs_and_says_so(monkeypatch, caplog):
    z, weight = (tensor.detach() for tensor in problem("cuda"))
    monkeypatch.setattr(solver, "_triton_fault", lambda device: " without Triton (why)")
    solver._said.clear()
    with caplog.at_level("INFO", logger="tvmap"):
        for _ in range(2):
            x, _ = solver.solve(z, weight, **OPTIONS)
    assert torch.equal(x, pdhg.pdhg(z, weight, **OPTIONS)[0])
    message = "no fast solver for the anisotropic norm on cuda without Triton (why): the reference runs"
    assert [record.message for record in caplog.records] == [message]


def test_maps_are_those_of_the_cpu():
    z = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    cpu, cuda = (network.build(seed=0).to(device)(z.to(device)).cpu() for device in ("cpu", "cuda"))
    torch.testing.assert_close(cuda, cpu, rtol=1e-3, atol=1e-4)


def make_steps(device, precision="float32"):
    """Five images in batches of two: the last step of an epoch has a size of its own."""
    images = torch.rand(5, 64, 64, generator=torch.Generator().manual_seed(0)).numpy()
    options = {"noise_level": [0.1, 0.5], "noise_kind": "relative", "crop": 48, "flips": True}
    model = network.build(seed=0, precision=precision).to(device)
    return steps.Steps(model, Batches(images, 1, 2, torch.device(device), **options), OPTIONS, clip=0.01)


def train_two_epochs(taken, step):
    for epoch in range(2):
        taken.begin(epoch, torch.tensor([1e-3, 2e-3, 5e-4]))
        for size in (2, 2, 1):
            step(size)
    return torch.cat([p.detach().flatten() for p in taken.parameters]).cpu(), taken.loss_sum.item()


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_a_step_in_a_cuda_graph_is_the_step_and_that_of_the_cpu(precision):
    graphed, eager = make_steps("cuda", precision), make_steps("cuda", precision)
    weights, loss = train_two_epochs(graphed, graphed.take)
    assert all(isinstance(replay.__self__, torch.cuda.CUDAGraph) for replay in graphed._by_size.values())
    expected, expected_loss = train_two_epochs(eager, eager.compute)
    assert loss == pytest.approx(expected_loss, rel=1e-3)
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-3)  # Adam's first steps are as long as the rates
    if precision == "float32":
        cpu = make_steps("cpu")
        assert loss == pytest.approx(train_two_epochs(cpu, cpu.compute)[1], rel=1e-2)


def test_a_step_does_not_wait_for_the_gpu():
    taken = make_steps("cuda")
    taken.begin(0, torch.full((3,), 1e-3))
    taken.compute(2)  # compiles
    torch.cuda.set_sync_debug_mode("error")
    try:
        taken.compute(2)
        taken.compute(1)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_where_a_step_cannot_be_captured_it_runs_by_itself_and_says_so(monkeypatch, caplog):
    taken, eager = make_steps("cuda"), make_steps("cuda")
    compute = taken.compute

    def waiting(size):
        compute(size)
        taken.loss_sum.item()  # not allowed while a graph is captured

    monkeypatch.setattr(taken, "compute", waiting)
    with caplog.at_level("WARNING", logger="tvmap"):
        weights, _ = train_two_epochs(taken, taken.take)
    assert "no CUDA graph" in caplog.text
    torch.testing.assert_close(weights, train_two_epochs(eager, eager.compute)[0], rtol=0, atol=1e-3)


def test_noise_is_that_of_the_cpu():
    stream, substream = torch.tensor([0, 7, 2**31]), torch.tensor([5])
    cpu, cuda = (philox.standard_normal((1, 2), stream.to(d), substream.to(d), (64, 65)).cpu() for d in ("cpu", "cuda"))
    torch.testing.assert_close(cuda, cpu, rtol=1e-5, atol=1e-5)


def test_scores_of_the_grid_are_those_of_the_cpu():
    pytest.importorskip("numba", reason="needs a GPU machine with numba, for the CPU's solver")
    clean = torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(0)).numpy()
    noisy, values = clean + 0.1, grid.grid_values(0, 0.8, 81)
    cpu, cuda = (grid.score(clean, noisy, values, OPTIONS, torch.device(device)) for device in ("cpu", "cuda"))
    torch.testing.assert_close(torch.from_numpy(cuda), torch.from_numpy(cpu), rtol=1e-4, atol=1e-5)


def test_a_training_runs_and_its_weights_load_on_the_cpu(tmp_path):
    images = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0)).numpy()
    clean = torch.from_numpy(images[:1])[:, None]
    settings = {"epochs": 2, "batch_size": 1, "learning_rate": 1e-4, "schedule": "constant", "epsilon": 1e-8}
    settings |= {"iterations": 8, "precision": "float32", "flips": True, "crop": None, "validate_every": 1}
    settings |= {"ema": 0, "gradient": "unrolled", "clip_gradient": None}
    training.train(
        images,
        (clean, clean + 0.1),
        settings,
        network={"up_bound": 0, "padding": 0},
        solver=OPTIONS,
        noise_kind="relative",
        noise_level=0.5,
        seed=1,
        device=torch.device("cuda"),
        folder=tmp_path,
        fingerprint="a",
        checkpoint_path=tmp_path / "checkpoint.pt",
        checkpoint_seconds=0,
    )
    assert network.load_network(tmp_path / "last.safetensors")(clean).isfinite().all()
