"""On a GPU: the solver, its gradient and a training step agree with the CPU."""

import pytest
import torch

from tvmap import network, solver, training

pytestmark = pytest.mark.gpu
OPTIONS = {"iterations": 64, "boundary": "periodic", "norm": "anisotropic", "dual_start": "zero", "lipschitz": 3}


def problem(device):
    generator = torch.Generator().manual_seed(0)
    z = torch.rand(2, 1, 40, 56, dtype=torch.float64, generator=generator).to(device)
    weight = 0.2 * torch.rand(2, 1, 40, 56, dtype=torch.float64, generator=generator).to(device)
    return z.requires_grad_(), weight.requires_grad_()


def test_solution_and_gradients_are_those_of_the_cpu():
    found = []
    for device in ("cpu", "cuda"):
        z, weight = problem(device)
        x, _ = solver.solve(z, weight, **OPTIONS)
        gradients = torch.autograd.grad(x.square().sum(), (z, weight))
        found.append([tensor.detach().cpu() for tensor in (x, *gradients)])
    for cpu, cuda in zip(*found, strict=True):
        torch.testing.assert_close(cuda, cpu, rtol=1e-9, atol=1e-9)


def test_maps_are_those_of_the_cpu():
    z = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    cpu, cuda = (network.build(seed=0).to(device)(z.to(device)).cpu() for device in ("cpu", "cuda"))
    torch.testing.assert_close(cuda, cpu, rtol=1e-3, atol=1e-4)


def test_a_training_runs_and_its_weights_load_on_the_cpu(tmp_path):
    images = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0)).numpy()
    clean = torch.from_numpy(images[:1])[:, None]
    settings = {"epochs": 2, "batch_size": 1, "learning_rate": 1e-4, "schedule": "constant", "clip_gradient": None}
    settings |= {"iterations": 8, "precision": "float32", "flips": True, "crop": None, "validate_every": 1}
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
