"""A step of the training: draw a batch, predict Λ, solve, differentiate, Adam. On a GPU it is one CUDA graph."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch.nn import functional as F

from .batches import Batches
from .graphs import captured
from .network import MapNetwork, denoise

EPSILON = 1e-8  # PyTorch's own


def make_optimiser(parameters: Iterable[torch.nn.Parameter], epsilon: float = EPSILON) -> torch.optim.Adam:
    """Adam (no weight decay) with moments of 0, and with its learning rate in a tensor, which a step sets."""
    parameters = list(parameters)
    device = parameters[0].device
    rate = torch.zeros((), device=device)
    optimiser = torch.optim.Adam(parameters, rate, eps=epsilon, fused=True, capturable=device.type == "cuda")
    # Adam makes its state in its first step; made within a CUDA graph, every replay would make it again.
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    for state in optimiser.state.values():
        state["step"].zero_()
    return optimiser


def moments(optimiser: torch.optim.Optimizer) -> list[torch.Tensor]:
    """The tensors that the optimiser changes beside the parameters: of each, the number of steps and the moments."""
    return [tensor for state in optimiser.state.values() for tensor in state.values()]


class Steps:
    """The steps of a training on `batches`, and what they leave behind, in memory that stays where it is.

    loss_sum (float64) grows by size·MSE with every step; gradient_norm is that of the U-Net in the last step, before
    gradients longer than `clip` (None: any) were scaled down to it. A learned ratio of the solver's steps is scaled
    along but not counted: so `clip` means the same for every network, and a norm of 0 that the map has collapsed.
    solver: options of `solve`. epsilon: of Adam, which adds it to the root of a gradient's mean square.

    averages: tensors shaped as the parameters, which become the exponential moving average of these,
    Θ̄ ← Θ̄ + w (Θ − Θ̄), w = max(1 − decay, 9/(9 + t)) after step t = 1, 2, …, so that the start is soon forgotten (the
    w of TensorFlow's ExponentialMovingAverage).
    """

    def __init__(
        self,
        model: MapNetwork,
        batches: Batches,
        solver: Mapping[str, Any],
        clip: float | None = None,
        averages: Iterable[torch.Tensor] = (),
        decay: float = 0.0,
        epsilon: float = EPSILON,
    ) -> None:
        self.model, self.batches, self.solver, self.clip = model, batches, solver, clip
        self.parameters, device = list(model.parameters()), batches.images.device
        self.optimiser = make_optimiser(self.parameters, epsilon)
        self.moments = moments(self.optimiser)
        self.averages, self.decay = list(averages), decay
        self.rates = torch.zeros(-(-batches.n // batches.size), device=device)
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        self.gradient_norm = torch.zeros((), device=device)
        self._by_size = {}

    def begin(self, epoch: int, rates: torch.Tensor, position: int = 0) -> None:
        """Draw the batches of `epoch` and set the learning rates of its steps; `position` images count as done."""
        self.batches.begin(epoch, position)
        self.rates.copy_(rates)

    def take(self, size: int) -> None:
        """Take a step with the next `size` images; each size has a CUDA graph of its own."""
        if size not in self._by_size:
            left = self.batches.position, self.loss_sum, self.gradient_norm
            self._by_size[size] = captured(
                lambda: self.compute(size), [*self.parameters, *self.moments, *self.averages, *left]
            )
        self._by_size[size]()

    def compute(self, size: int) -> None:
        """What a step does; nothing here waits for the device."""
        self.optimiser.param_groups[0]["lr"].copy_(self.rates[self.batches.position // self.batches.size][0])
        clean, noisy = self.batches.draw(size)
        loss = F.mse_loss(denoise(self.model, noisy, self.solver), clean)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        of_unet = [p.grad for p in self.model.unet.parameters()]
        self.gradient_norm.copy_(torch.nn.utils.get_total_norm(of_unet))  # type: ignore[arg-type]  # all have one
        if self.clip is not None:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, self.clip, self.gradient_norm)
        self.optimiser.step()
        if self.averages:
            share = torch.clamp(9 / (9 + self.moments[0]), min=1 - self.decay)
            with torch.no_grad():
                for average, parameter in zip(self.averages, self.parameters, strict=True):
                    average.lerp_(parameter, share)
        self.loss_sum.add_(loss.detach(), alpha=size)
