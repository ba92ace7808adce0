"""What one image's clean version tells about its weights: the best map Λ or pair of maps, the best two numbers of TGV.

`oracle_map`: what a map can gain at all over a scalar; no method that does not see the clean image is meant to reach
it. The problem is not convex, so a longer or luckier descent may find a better map still: a bound from below of the
best map's gain, and of the images x_T after the solver's T steps, not of minimisers.
`oracle_numbers`: what TGV gains over TV without any map.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch

from .errors import StudyError
from .metrics import psnr
from .solver import check_finite, solve
from .tgv import RATIO

FLOOR = 1e-3  # log Λ starts no lower: at λ = 0 the step has no scale
BLOCKS = (1, 2, 4, 8, 16)  # pixels
# Of `oracle_numbers`: Λ₁ over the noise's standard deviation, Λ₀ over Λ₁, in equal factors; then in factors of which
# three make one of these.
OF_SLOPE, OF_CHANGE = [0.4 * 1.25**k for k in range(9)], [2.0**k for k in range(-3, 3)]
FINER = [k / 3 for k in (-2, -1, 0, 1, 2)]

Pair = tuple[float, float]  # Λ₁ and Λ₀
Result = TypeVar("Result")


def oracle_map(
    clean: torch.Tensor,
    noisy: torch.Tensor,
    start: float,
    solver: Mapping[str, Any],
    maps: int = 1,
    penalty: str = "tv",
    steps: int = 300,
    rate: float = 0.1,
) -> tuple[torch.Tensor, list[float]]:
    """(Λ, history): Λ (maps, H, W) that minimises mean (x_T(z; Λ) − x)², x_T by `solver.solve`, and the MSE of each Λ.

    clean x, noisy z: (1, H, W), float32, on the device that computes; start: the constant Λ to begin with, best the
    image's best scalar, and for TGV Λ₁, Λ₀ then being `tgv.RATIO` times it; solver: the options of `solve`; maps,
    penalty: those of the network. log Λ − log start is a sum of images that are constant on blocks of 1, 2, … 16
    pixels; all begin at 0 and Adam changes them together, `steps` times by about `rate` (natural logarithm) each, in
    the last 30 % of the steps by less and less. The gradient is exact for the T steps of `solve`.

    history: steps + 1 numbers or fewer (an MSE of 0 ends the descent), the first that of `start` itself. The map is
    that of the smallest, so it is never worse than `start`; it is positive unless it is a start of 0.

    Raises:
        StudyError: images of other shapes or not finite, or a `start` that is no number ≥ 0.
    """
    if clean.shape != noisy.shape or noisy.ndim != 3 or len(noisy) != 1:
        raise StudyError(f"oracle map: clean {tuple(clean.shape)} and noisy {tuple(noisy.shape)}, not both (1, H, W)")
    if not 0 <= start < math.inf:
        raise StudyError(f"oracle map: start is {start}; give a scalar λ ≥ 0, such as the best one of the grid")
    check_finite(clean, "clean image")
    check_finite(noisy, "noisy image")
    options = {**solver, "penalty": penalty}
    ratios = noisy.new_tensor([1, RATIO] if penalty == "tgv" else [1] * maps)[:, None, None]
    fields = [noisy.new_zeros(len(ratios), *(-(-side // block) for side in noisy.shape[-2:])) for block in BLOCKS]
    fields = [field.requires_grad_() for field in fields]
    optimizer = torch.optim.Adam(fields, lr=rate)
    weight, history, best = (start * ratios).expand(-1, *noisy.shape[-2:]).clone(), [], math.inf
    for step in range(steps + 1):
        if step or start >= FLOOR:
            weight = max(start, FLOOR) * ratios * _log_factor(fields, noisy.shape[-2:]).exp()
        denoised, _ = solve(noisy[None], weight[None], **options)
        squares = (denoised[0].double() - clean.double()).square()
        history.append(squares.mean().item())
        if history[-1] < best:
            best, best_weight = history[-1], weight.detach()
        if step == steps or history[-1] == 0:
            break
        if weight.requires_grad:
            # Over the first MSE, a pixel's gradient is about 1 whatever the image's size and contrast: far above
            # Adam's ε, which would shorten the steps.
            (squares.sum() / history[0]).backward()
            for group in optimizer.param_groups:
                group["lr"] = rate * _fraction(step / steps)
            optimizer.step()
            optimizer.zero_grad()
    return best_weight, history


def oracle_numbers(
    clean: torch.Tensor, noisy: torch.Tensor, noise_std: float, solver: Mapping[str, Any]
) -> tuple[Pair, float]:
    """((Λ₁, Λ₀), PSNR in dB): the two numbers of TGV with the highest PSNR of x_T(z), on a grid and a finer one in it.

    clean x, noisy z: (1, H, W), float32; noise_std: of z, only the scale of the grid; solver: options of `solve`.
    The first among equals.
    """

    def best_of(pairs: Sequence[Pair]) -> tuple[Pair, float]:
        scores = [
            psnr(clean[None], solve(noisy[None], noisy.new_tensor(pair), **solver, penalty="tgv")[0], data_range=1)
            for pair in pairs
        ]
        best = int(torch.cat(scores).argmax())
        return pairs[best], scores[best].item()

    (slope, change), score = best_of([(a * noise_std, r * a * noise_std) for a in OF_SLOPE for r in OF_CHANGE])
    by_slope, by_ratio = OF_SLOPE[1] / OF_SLOPE[0], OF_CHANGE[1] / OF_CHANGE[0]
    finer = [(slope * by_slope**a, change * by_slope**a * by_ratio**r) for a in FINER for r in FINER]
    return max((best_of(finer), ((slope, change), score)), key=lambda found: found[1])


def _log_factor(fields: Sequence[torch.Tensor], shape: Sequence[int]) -> torch.Tensor:
    """Sum of `fields` (maps, ·, ·), each with an entry for every block, as images (maps, H, W)."""
    height, width = shape
    total: Any = 0
    for field, block in zip(fields, BLOCKS, strict=True):
        total = total + field.repeat_interleave(block, -2).repeat_interleave(block, -1)[:, :height, :width]
    return total


def _fraction(progress: float) -> float:
    """The learning rate over its largest value: 1 up to `progress` 0.7, then half a period of a cosine down to 0."""
    return (1 + math.cos(math.pi * max(0.0, (progress - 0.7) / 0.3))) / 2


def fit_each(fit: Callable[[int], Result], n: int, threads: int) -> list[Result]:
    """[fit(k) for each of `n` images k], an image a thread: fits of one small image gain little from more of them."""
    torch.set_num_threads(1)
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(fit, range(n)))
