"""A step of the training against the same written out with PyTorch's plain Adam; CUDA graphs where there are none."""

import pytest
import torch
from torch.nn import functional as F

from tvmap import graphs, network, pdhg, steps
from tvmap.batches import Batches

SOLVER = {"iterations": 6, "boundary": "periodic", "norm": "anisotropic", "dual_start": "zero", "lipschitz": 3}
RATES = torch.tensor([1e-3, 2e-3, 5e-4])


def make_batches():
    images = torch.rand(5, 16, 16, generator=torch.Generator().manual_seed(0)).numpy()
    options = {"noise_level": [0.1, 0.5], "noise_kind": "relative", "crop": 12, "flips": True}
    return Batches(images, 1, 2, torch.device("cpu"), **options)


@pytest.mark.parametrize("kind", ["fixed", "learned"])
@pytest.mark.parametrize("clip,epsilon", [(None, 1e-8), (1e-4, 1e-8), (None, 1e-3)])
def test_steps_are_those_of_plain_adam(clip, epsilon, kind):
    """A learned ratio of the solver's steps is scaled down with the U-Net's gradient, but not part of its norm."""
    taken = steps.Steps(network.build(seed=0, steps=kind), make_batches(), SOLVER, clip, epsilon=epsilon)
    model, batches, losses = network.build(seed=0, steps=kind), make_batches(), []
    adam = torch.optim.Adam(model.parameters(), 1.0, eps=epsilon, fused=False, foreach=False)
    for epoch in range(2):
        taken.begin(epoch, RATES)
        batches.begin(epoch)
        for size, rate in zip((2, 2, 1), RATES.tolist(), strict=True):
            taken.take(size)
            clean, noisy = batches.draw(size)
            loss = F.mse_loss(pdhg.pdhg(noisy, model(noisy), **SOLVER, log_ratio=model.log_ratio)[0], clean)
            adam.param_groups[0]["lr"] = rate
            adam.zero_grad()
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(model.unet.parameters(), clip or torch.inf)
            if kind == "learned":
                assert model.log_ratio.grad != 0
                model.log_ratio.grad *= min(1, clip / norm) if clip else 1
            adam.step()
            losses.append(size * loss.item())
            assert taken.gradient_norm.item() == pytest.approx(norm.item(), rel=1e-3)
    assert taken.loss_sum.item() == pytest.approx(sum(losses), rel=1e-5)
    for ours, plain in zip(taken.parameters, model.parameters(), strict=True):
        torch.testing.assert_close(ours, plain, rtol=0, atol=2e-5)  # steps as long as the rates: 7e-3 in all
    assert kind == "fixed" or epsilon > 1e-8 or abs(taken.model.log_ratio.item()) > 1e-3


@pytest.mark.parametrize("decay", [0.5, 0.999])
def test_averages_are_those_of_the_parameters_after_each_step(decay):
    averages = [parameter.detach().clone() for parameter in network.build(seed=0).parameters()]
    expected = [average.double() for average in averages]
    taken = steps.Steps(network.build(seed=0), make_batches(), SOLVER, averages=averages, decay=decay)
    taken.begin(0, RATES)
    for step in (1, 2, 3):
        taken.take(2 if step < 3 else 1)
        share = max(1 - decay, 9 / (9 + step))
        expected = [
            (1 - share) * old + share * new.detach().double()
            for old, new in zip(expected, taken.parameters, strict=True)
        ]
    for found, average in zip(taken.averages, expected, strict=True):
        torch.testing.assert_close(found.double(), average, rtol=1e-5, atol=1e-7)
    assert any(not torch.equal(found, new) for found, new in zip(taken.averages, taken.parameters, strict=True))


def test_the_tensors_of_a_step_stay_where_they_are():
    """A CUDA graph reads and writes fixed addresses."""
    taken = steps.Steps(network.build(seed=0), make_batches(), SOLVER)
    tensors = [*taken.parameters, *taken.moments, taken.rates, taken.loss_sum, taken.gradient_norm]
    tensors += [taken.batches.places, taken.batches.std, taken.batches.epoch, taken.batches.position]
    places = [tensor.data_ptr() for tensor in tensors]
    for epoch in range(2):
        taken.begin(epoch, RATES)
        taken.take(2)
    assert places == [tensor.data_ptr() for tensor in tensors]
    assert taken.moments[0].data_ptr() == next(iter(taken.optimiser.state.values()))["step"].data_ptr()


def test_without_a_gpu_a_step_is_not_captured():
    def step():
        raise AssertionError("not to be run")

    assert graphs.captured(step, [torch.zeros(1)]) is step
