"""The gradient of the solution x̂ of (16) in z and Λ, in closed form: the anisotropic norm, at convergence.

Let s be the signs of ∇x̂, regions the largest connected parts of the image on which x̂ is constant, P the average over
each of them. Between regions the dual is q = Λ∘s; inside, whatever q is, the sum of ∇ᵀq over a region does not change
with it. So the average of x̂ = z − ∇ᵀq is

    x̂ = P x̂ = P (z − ∇ᵀ(Λ∘s)),

and for almost every (z, Λ) regions and signs stay as they are nearby. With g = ∂loss/∂x̂ and Pᵀ = P,

    ∂loss/∂z = P g,    ∂loss/∂Λ = −s ∘ ∇(P g),

where differences inside a region are 0. One map for both directions gets the sum of the two, a scalar that of all.

Exact for x̂ and its dual. After T iterations regions and signs are those of q_T and x_T, and the result approximates the
gradient of x̂ and of x_T alike, the better the more iterations. Nothing of these has to be stored for it.
"""

import numpy as np
import torch

from .lanes import compiled
from .operators import BOUNDARIES, gradient


def regions(q: np.ndarray, weight: float | np.ndarray, boundary: str = "periodic") -> tuple[np.ndarray, int]:
    """(labels, n): the regions of constant x from its dual q (2, H, W), numbered 0, …, n − 1 in labels (H, W).

    They are the connected components of the pixels joined to those neighbours where |q| < Λ; `weight`: a number or
    (1 or 2, H, W). Every pixel is one of its own where Λ = 0.

    Raises:
        ValueError: unknown `boundary`.
    """
    # Why |q| and no tolerance on ∇x: x carries the error of the iteration, about 1e-6 at a gap of 1e-8, which would
    # split regions, and a tolerance above it merges those that differ by less. The projection puts q at Λ exactly where
    # x jumps by more than that error. It puts some neighbours of equal x there, too, and which ones is not unique; but
    # to cut a region in two, all pairs along the cut must be stopped, which determines the same value of x by two sums
    # of z, an event of probability 0.
    joined = np.abs(q) < weight
    if boundary == "neumann":
        joined[0, -1, :] = joined[1, :, -1] = False
    elif boundary != "periodic":
        raise ValueError(f"boundary must be one of {BOUNDARIES}, not {boundary!r}")
    labels = np.empty(q[0].shape, np.intp)
    return labels, _label(joined, labels)


@compiled
def _root(parents: np.ndarray, pixel: int) -> int:
    """The first pixel of the region, to which paths are shortened on the way."""
    while parents[pixel] != pixel:
        parents[pixel] = parents[parents[pixel]]
        pixel = parents[pixel]
    return pixel


@compiled
def _label(joined: np.ndarray, labels: np.ndarray) -> int:
    """Number the connected components of `joined` into `labels` by their first pixels; returns how many there are."""
    rows, columns = labels.shape
    parents = np.arange(rows * columns)  # never a later pixel
    for i in range(rows):
        for j in range(columns):
            for direction in range(2):
                if joined[direction, i, j]:
                    below, right = (i + 1) % rows * columns + j, i * columns + (j + 1) % columns
                    one = _root(parents, i * columns + j)
                    other = _root(parents, right if direction else below)
                    parents[max(one, other)] = min(one, other)
    n = 0
    for pixel in range(rows * columns):
        parent = parents[pixel]
        if parent == pixel:
            labels[pixel // columns, pixel % columns] = n
            n += 1
        else:
            labels[pixel // columns, pixel % columns] = labels[parent // columns, parent % columns]
    return n


def average(image: np.ndarray, labels: np.ndarray, n: int) -> np.ndarray:
    """P: `image` (H, W) averaged over each of the n regions; sums are in float64."""
    sums, sizes = np.bincount(labels.ravel(), image.ravel(), n), np.bincount(labels.ravel(), minlength=n)
    return (sums / sizes).astype(image.dtype)[labels]


def gradients(
    grad_x: torch.Tensor, x: torch.Tensor, q: torch.Tensor, weight: torch.Tensor, boundary: str = "periodic"
) -> tuple[torch.Tensor, torch.Tensor]:
    """∂loss/∂z (1, H, W) and ∂loss/∂Λ (2, H, W), for each direction, of one image from ∂loss/∂x̂, x̂ and its dual.

    grad_x, x: tensors (1, H, W); q: (2, H, W); weight: (1 or 2, H, W); all on the CPU.
    """
    labels, n = regions(q.numpy(), weight.numpy(), boundary)
    grad_z = torch.from_numpy(average(grad_x[0].numpy(), labels, n))[None]
    return grad_z, -gradient(x, boundary).sign() * gradient(grad_z, boundary)
