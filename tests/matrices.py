"""∇ as a matrix, from the rows that the docstrings print: independent of the code under test; and that of the code."""

import math

import numpy as np
import torch


def as_matrix(operator, shape_in):
    """The dense matrix of a linear operator of the code, column by column from unit images."""
    units = torch.eye(math.prod(shape_in), dtype=torch.float64)
    return torch.stack([operator(unit.reshape(1, *shape_in)).flatten() for unit in units], dim=1)


def forward_difference(n, boundary):
    """(n, n): x[i + 1] − x[i]; the last row leads to the first pixel, or is 0 (neumann)."""
    d = np.roll(np.eye(n), 1, axis=1) - np.eye(n)
    if boundary == "neumann":
        d[-1] = 0
    return d


def gradient_matrix(height, width, boundary):
    """∇ (2 n × n) of images (height, width), n pixels row by row: vertical differences, then horizontal ones."""
    vertical, horizontal = (forward_difference(n, boundary) for n in (height, width))
    return np.vstack([np.kron(vertical, np.eye(width)), np.kron(np.eye(height), horizontal)])
