"""Derivatives by central differences, which tests compare gradients with."""

import torch

STEP = 1e-7


def assert_central_differences(loss, *arguments, step=STEP, atol=1e-6):
    """Compare autograd's gradient of `loss(*arguments)`, float64, with central differences, entry by entry."""
    gradients = torch.autograd.grad(loss(*arguments), arguments)
    with torch.no_grad():
        for position, gradient in enumerate(gradients):
            for index in range(gradient.numel()):
                pair = []
                for sign in (1, -1):
                    moved = [argument.clone() for argument in arguments]
                    moved[position].view(-1)[index] += sign * step
                    pair.append(loss(*moved))
                difference = (pair[0] - pair[1]) / (2 * step)
                torch.testing.assert_close(gradient.view(-1)[index], difference, rtol=1e-5, atol=atol)
