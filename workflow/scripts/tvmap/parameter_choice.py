"""λ chosen without the clean image: Stein's unbiased risk estimate and Morozov's discrepancy principle, scalar λ.

Both need the noise's standard deviation σ and exact solutions of

    x_λ = argmin_x ½‖x − z‖² + λ‖∇x‖₁        (the anisotropic norm)

in float64, which `converge` computes, to a certified gap. Images are numpy arrays (H, W), duals (2, H, W), the vertical
direction first. λ, σ and x are in units of the image.
"""

import math
from typing import NamedTuple

import numpy as np
import scipy.optimize
import torch

from .closed_form import regions
from .errors import StudyError
from .lanes import compiled
from .operators import BOUNDARIES, gradient_adjoint
from .pdhg import objective, primal_dual_gap
from .solver import Solution

BETWEEN_CHECKS = 50  # iterations from one certificate to the next, which costs about as much as ten of them
SCANNED, REFINED = 11, 12  # solves of `choose_by_sure` at most: over the interval, then around the best
WORSE = 3  # λ in a row, after which the scan ends: the larger λ, the longer its solution takes


class Converged(NamedTuple):
    """x_λ (H, W) and q_λ (2, H, W), float64, with x = z − ∇ᵀq, and how well and how fast they were reached."""

    x: np.ndarray
    q: np.ndarray
    weight: float
    relative_gap: float
    iterations: int


class Choice(NamedTuple):
    """The chosen λ, its solution, the criterion there, how many λ were solved for, and whether it is an end.

    `value` is the SURE or the residual ‖x − z‖²/n. With `at_end` the interval may not hold what was looked for.
    """

    weight: float
    x: np.ndarray
    value: float
    solves: int
    at_end: bool


def converge(
    z: np.ndarray,
    weight: float,
    boundary: str = "periodic",
    gap: float = 1e-8,
    start: Converged | None = None,
    max_iterations: int = 100_000,
) -> Converged:
    """x_λ and q_λ for z (H, W) and a number λ = `weight` ≥ 0, with primal-dual gap ≤ `gap` · primal value.

    Accelerated projected gradient steps on the dual problem min_q ½‖z − ∇ᵀq‖², |q| ≤ λ (Beck, Teboulle 2009),

        q ← clip_λ(y + ∇(z − ∇ᵀy)/8),    y ← q + β(q − q_old),

    whose momentum β starts anew where it points uphill (O'Donoghue, Candès 2015); 8 ≥ ‖∇‖². `start`: the `Converged`
    of a neighbouring λ, to begin from its q, scaled.

    Raises:
        StudyError: z is not finite or not (H, W), λ is no number ≥ 0, or the gap is not reached in so many iterations.
        ValueError: unknown `boundary`.
    """
    z, weight = _checked(z), float(weight)
    if boundary not in BOUNDARIES:
        raise ValueError(f"boundary must be one of {BOUNDARIES}, not {boundary!r}")
    if not 0 <= weight < math.inf:
        raise StudyError(f"regularisation weight: {weight}; λ must be a number ≥ 0")
    if start is None or start.weight == 0:
        q = np.zeros((2, *z.shape))
    else:
        q = start.q / start.weight * weight  # in this order what was stopped at λ stays so, exactly
    y, momentum, iterations = q.copy(), 1.0, 0
    while True:
        x, relative_gap = _certificate(q, z, weight, boundary)
        if relative_gap <= gap:
            return Converged(x, q, weight, relative_gap, iterations)
        if iterations >= max_iterations:
            raise StudyError(
                f"λ = {weight:g}: relative gap {relative_gap:.1e} after {iterations} iterations, not {gap:.1e}; "
                "in a study lower grid.maximum or take this rival out of baselines, in tvmap give λ as a number"
            )
        steps = min(BETWEEN_CHECKS, max_iterations - iterations)
        momentum = _accelerated(z, q, y, momentum, weight, steps, boundary == "periodic")
        iterations += steps


def degrees_of_freedom(q: np.ndarray, weight: float, boundary: str = "periodic") -> int:
    """Σᵢ ∂xᵢ/∂zᵢ of x_λ from its dual q (2, H, W), an integer: the number of regions of constant x.

    It is the dimension of {v : ∇v = 0 wherever |q| < λ}, for almost every z (Tibshirani, Taylor 2011; 2012, Theorem 3),
    so the number of `regions` by the pairs with |q| < λ, whichever dual solution q is. n at λ = 0.
    """
    _, n = regions(q, weight, boundary)
    return n


def sure(z: np.ndarray, x: np.ndarray, n_regions: int, noise_std: float) -> float:
    """Stein's estimate of the mean squared error ‖x − clean‖²/n, ‖x − z‖²/n − σ² + 2σ²·df/n (Stein 1981).

    Unbiased for z = clean + σ·(normal noise), x a fixed function of z and df = `n_regions` its divergence there. In
    squared units of the image; it may be negative.
    """
    n = np.size(z)
    return float(_residual(z, x) + noise_std**2 * (2 * n_regions / n - 1))


def choose_by_sure(
    z: np.ndarray, noise_std: float, low: float, high: float, boundary: str = "periodic", gap: float = 1e-8
) -> Choice:
    """The λ in [low, high] of the least `sure` for z (H, W) and σ = `noise_std`, as a `Choice`; 0 < low < high.

    The least of at most 23 values: SCANNED λ from low to high with equal ratios, or up to the first WORSE in a row that
    are worse than the best before them, then up to REFINED steps of Brent's minimisation in log λ between the
    neighbours of the best, to 1 %. SURE jumps down by 2σ²/n wherever two regions merge, and may have several minima:
    what comes out is a minimum to within such jumps near the best λ of the scan, and never worse than it, but a narrow
    dip between two other λ of the scan is missed.
    """
    z = _checked(z)
    _check_interval(low, high, noise_std)
    solutions, values = [], []

    def value(weight: float) -> float:
        nearest = min(solutions, key=lambda s: abs(math.log(s.weight / weight)), default=None)
        solution = converge(z, weight, boundary, gap, nearest)
        solutions.append(solution)
        values.append(sure(z, solution.x, degrees_of_freedom(solution.q, weight, boundary), noise_std))
        return values[-1]

    scanned = np.geomspace(low, high, SCANNED)
    for weight in scanned:
        value(weight)
        if len(values) > WORSE and min(values[-WORSE:]) > min(values[:-WORSE]):
            break
    best = int(np.argmin(values))
    between = np.log(scanned[[max(best - 1, 0), min(best + 1, SCANNED - 1)]])
    scipy.optimize.minimize_scalar(
        lambda logarithm: value(math.exp(logarithm)),
        bounds=between,
        method="bounded",
        options={"xatol": 0.01, "maxiter": REFINED},
    )
    best = int(np.argmin(values))
    weight = solutions[best].weight
    return Choice(weight, solutions[best].x, values[best], len(values), weight in (scanned[0], scanned[-1]))


def choose_by_discrepancy(
    z: np.ndarray, noise_std: float, low: float, high: float, boundary: str = "periodic", gap: float = 1e-6
) -> Choice:
    """The λ in [low, high] with ‖x_λ − z‖² = nσ² for z (H, W), σ = `noise_std`, as a `Choice` (Morozov 1966).

    ‖x_λ − z‖ does not decrease with λ, so this λ is found by Brent's root finding, to 0.1 %; 0 < low < high. Where the
    residual is above nσ² at `low` already, or below it at `high` still, that end is returned, with `at_end`.
    """
    z = _checked(z)
    _check_interval(low, high, noise_std)
    solutions = {}

    def excess(weight: float) -> float:
        if weight not in solutions:
            nearest = min(solutions.values(), key=lambda s: abs(math.log(s.weight / weight)), default=None)
            solutions[weight] = converge(z, weight, boundary, gap, nearest)
        # Roots: ‖x − z‖ is nearly straight in λ, its square is not.
        return math.sqrt(_residual(z, solutions[weight].x)) - noise_std

    if excess(low) >= 0:
        weight, at_end = low, excess(low) > 0
    elif excess(high) <= 0:
        weight, at_end = high, excess(high) < 0
    else:
        weight, at_end = scipy.optimize.brentq(excess, low, high, xtol=1e-3 * low, rtol=1e-3), False
        excess(weight)
    x = solutions[weight].x
    return Choice(weight, x, _residual(z, x), len(solutions), at_end)


def _residual(z: np.ndarray, x: np.ndarray) -> float:
    """‖x − z‖²/n in float64."""
    return float(np.mean((np.asarray(x, np.float64) - z) ** 2))


def _checked(z: np.ndarray) -> np.ndarray:
    """z (H, W) in float64; a `StudyError` if it is no image."""
    z = np.ascontiguousarray(z, np.float64)
    if z.ndim != 2 or not z.size:
        raise StudyError(f"noisy image: shape {z.shape}; one image (H, W) is needed")
    if not np.isfinite(z).all():
        raise StudyError(
            f"noisy image: {(~np.isfinite(z)).sum()} values are NaN or infinite; check the image and the noise settings"
        )
    return z


def _check_interval(low: float, high: float, noise_std: float) -> None:
    if not 0 < low < high < math.inf:
        raise StudyError(f"interval for λ: [{low}, {high}]; it must be 0 < low < high")
    if not 0 < noise_std < math.inf:
        raise StudyError(f"noise_std: {noise_std}; the standard deviation of the noise must be a number > 0")


def _certificate(q: np.ndarray, z: np.ndarray, weight: float, boundary: str) -> tuple[np.ndarray, float]:
    """x = z − ∇ᵀq, (H, W), and the primal-dual gap of (x, q) relative to the primal value."""
    image, dual = torch.from_numpy(z)[None, None], torch.from_numpy(q)[None]
    x = image - gradient_adjoint(dual, boundary)
    gap = primal_dual_gap(x, dual, image, weight, boundary)
    solution = Solution(x, dual, objective(x, image, weight, boundary), gap)
    return x[0, 0].numpy(), solution.relative_gap.item()


@compiled
def _project(
    y: np.ndarray, difference: np.ndarray, q: np.ndarray, weight: float, beta: float, uphill: np.ndarray
) -> None:
    """One projected step on a row of one direction, q and y in place; adds up where the momentum points, by column."""
    for j in range(len(difference)):
        new = y[j] + difference[j] * 0.125
        new = new if new < weight else weight
        new = new if new > -weight else -weight
        change = new - q[j]
        uphill[j] += (y[j] - new) * change
        q[j] = new
        y[j] = new + beta * change


@compiled
def _accelerated(
    z: np.ndarray, q: np.ndarray, y: np.ndarray, momentum: float, weight: float, iterations: int, periodic: bool
) -> float:
    """The iterations of `converge`, in place on q and y (2, H, W); returns the momentum t, β = (t − 1)/t_next."""
    rows, columns = z.shape
    last = columns - 1
    x = np.empty_like(z)
    difference, uphill = np.empty(columns), np.empty(columns)
    for _ in range(iterations):
        for i in range(rows):
            own, noisy, here, above, left = x[i], z[i], y[0, i], y[0, i - 1 if i > 0 else rows - 1], y[1, i]
            own[0] = noisy[0] - above[0] + here[0] - left[last] + left[0]
            for j in range(1, columns):
                own[j] = noisy[j] - above[j] + here[j] - left[j - 1] + left[j]
        following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        beta = (momentum - 1) / following
        uphill[:] = 0
        for i in range(rows):
            own, below = x[i], x[i + 1 if i + 1 < rows else 0]
            if periodic or i + 1 < rows:  # ∇, and so q, is 0 past a border
                for j in range(columns):
                    difference[j] = below[j] - own[j]
                _project(y[0, i], difference, q[0, i], weight, beta, uphill)
            for j in range(last):
                difference[j] = own[j + 1] - own[j]
            difference[last] = own[0] - own[last] if periodic else 0.0
            _project(y[1, i], difference, q[1, i], weight, beta, uphill)
        momentum = following
        if uphill.sum() > 0:
            momentum = 1.0
            y[:] = q
    return momentum
