"""PDHG and its exact gradient on a CPU: the iterations of `pdhg` with the isotropic norm, compiled by numba.

Groups of numbers are those of `lanes`; layout of the rows, ghost column and boundaries are those of `pdhg_numba`.
Two things differ.

Projection. The pair u = q + σ∇x̄ of a pixel goes to the disc of radius Λ, q = r·u with r = min(1, Λ/|u|). Both
directions of a row are updated together, then p, x and x̄ of that row:

    q[last] from x̄[last], x̄[first];   then for i = 0, 1, …:  q[i] from x̄[i], x̄[i+1];  p[i], x[i], x̄[i]

At the edge of a neumann image u = 0 along the direction across it, so q stays 0 there.

Gradient. Three states an entry do not do: outside the disc, with n = u/|u|,

    dq = r (I − n nᵀ) du + n dΛ,

inside dq = du. So the backward sweep needs u, 8 bytes a pixel and iteration in float32. They are not kept: the forward
sweep stores its state every CHUNK iterations, and the backward sweep repeats CHUNK iterations at a time, this time with
their u (Griewank, Walther 2000). That is 31 + 8 MB for 256² pixels and T = 256, in place of 134 MB, and no slower.

At Λ = 0 the disc is a point: q does not depend on u, and the derivative in Λ is that to the right, n, or 0 where u = 0
(there autograd through `pdhg` takes dq = du). On a circle of Λ > 0 itself the derivative is that from outside.
"""

from numba.extending import intrinsic

from .lanes import (
    LANES,
    PAD,
    arithmetic,
    choose,
    compiled,
    exceeds,
    fill,
    llvm,
    load,
    shifted,
    smaller,
    store,
    zeros,
)
from .pdhg_numba import ABAR, GP, GQH, GQV, GW, QH, QV, SLOPE, XBAR, P, W, X, Z, step_numbers

CHUNK = 16  # iterations whose pairs u are in memory at once
RADIUS, GZ = range(GW + 1, GW + 3)  # further fields of the backward state: Λ, and the derivative in z

_divide = arithmetic("fdiv")


@intrinsic
def _square_root(typing, a):
    """√a."""
    return llvm("sqrt")(typing, a)


@compiled
def _dual(s, u, k, i, below, dual_step, one):
    """q ← Π_Λ(q + σ∇x̄)  in row i; the pairs before the projection go to u[k], if it is not None."""
    for j in range(0, s.shape[2] - PAD, LANES):
        x_bar = load(s, i, XBAR, j)
        u_v = load(s, i, QV, j) + dual_step * (load(s, below, XBAR, j) - x_bar)
        u_h = load(s, i, QH, j) + dual_step * (load(s, i, XBAR, j + 1) - x_bar)
        if u is not None:
            store(u, k, 0, j, u_v)
            store(u, k, 1, j, u_h)
        # Where Λ = |u| = 0 the quotient is no number, which is not below 1.
        r = smaller(_divide(load(s, i, W, j), _square_root(u_v * u_v + u_h * u_h)), one)
        store(s, i, QV, j, r * u_v)
        store(s, i, QH, j, r * u_h)


@compiled
def _primal(s, i, above, left, primal_step, shrink, gain, two):
    """p ← (p + σ(x̄ − z))·shrink;  x ← x − τ(p + ∇ᵀq);  x̄ ← 2x − x_old  in row i; `left` as in `pdhg_numba._row`."""
    for j in range(0, s.shape[2] - PAD, LANES):
        q_h = load(s, i, QH, j)
        p = shrink * load(s, i, P, j) + (gain * load(s, i, XBAR, j) - load(s, i, Z, j))
        x_old = load(s, i, X, j)
        x = x_old - primal_step * (p + ((load(s, above, QV, j) - load(s, i, QV, j)) + (shifted(left, q_h) - q_h)))
        store(s, i, P, j, p)
        store(s, i, X, j, x)
        store(s, i, XBAR, j, two * x - x_old)
        left = q_h


@compiled
def _forward(s, u, iterations, last, primal_step, dual_step, shrink, two, periodic):
    """All iterations of Algorithm 1 on the state s; u[k·rows + i]: the pairs of iteration k and row i, or None."""
    rows = s.shape[0]
    primal_steps, dual_steps, shrinks = fill(primal_step), fill(dual_step), fill(shrink)
    gains, twos = fill(dual_step * shrink), fill(two)
    ones = fill(two / two)
    for k in range(iterations):
        for i in range(-1, rows):
            above = i - 1 if i > 0 else rows - 1
            row = i if i >= 0 else rows - 1
            if i < rows - 1:
                below = row + 1 if row < rows - 1 else (0 if periodic else row)
                s[row, XBAR, last + 1] = s[row, XBAR, 0 if periodic else last]
                _dual(s, u, k * rows + row, row, below, dual_steps, ones)
            if i >= 0:
                _primal(s, i, above, fill(s[i, QH, last]), primal_steps, shrinks, gains, twos)


@compiled
def _transposed_dual(s, u, k, i, below, primal_step, zero, one):
    """Transpose of x ← x − τ∇ᵀq, then of the projection, in row i: g ← r (g − n nᵀg), g_Λ ← g_Λ + nᵀg."""
    for j in range(0, s.shape[2] - PAD, LANES):
        a, w, u_v, u_h = load(s, i, ABAR, j), load(s, i, RADIUS, j), load(u, k, 0, j), load(u, k, 1, j)
        g_v = load(s, i, GQV, j) - primal_step * (load(s, below, ABAR, j) - a)
        g_h = load(s, i, GQH, j) - primal_step * (load(s, i, ABAR, j + 1) - a)
        length = _square_root(u_v * u_v + u_h * u_h)
        inverse = choose(exceeds(length, zero), _divide(one, length), zero)
        inside = exceeds(w, length)
        r, inverse = choose(inside, one, w * inverse), choose(inside, zero, inverse)
        n_v, n_h = u_v * inverse, u_h * inverse
        along = n_v * g_v + n_h * g_h
        store(s, i, GW, j, load(s, i, GW, j) + along)
        store(s, i, GQV, j, r * (g_v - n_v * along))
        store(s, i, GQH, j, r * (g_h - n_h * along))


@compiled
def _transposed_primal(s, i, above, left, primal_step, dual_step, shrink, twice, with_z):
    """Transpose of the steps of x, p and x̄ in row i; a = g_x + 2 g_x̄ is all that flows into the new x."""
    for j in range(0, s.shape[2] - PAD, LANES):
        a, g_h = load(s, i, ABAR, j), load(s, i, GQH, j)
        g_p = (load(s, i, GP, j) - primal_step * a) * shrink
        g_x = a - dual_step * load(s, i, SLOPE, j)  # g_x + g_x̄
        slope = g_p + ((load(s, above, GQV, j) - load(s, i, GQV, j)) + (shifted(left, g_h) - g_h))
        store(s, i, GP, j, g_p)
        store(s, i, SLOPE, j, slope)
        store(s, i, ABAR, j, g_x + twice * slope)
        if with_z:
            store(s, i, GZ, j, load(s, i, GZ, j) - dual_step * g_p)
        left = g_h


@compiled
def _backward(s, u, iterations, last, primal_step, dual_step, shrink, two, periodic, with_z):
    """All iterations of the transposed recurrence on s, in which ABAR = ∂loss/∂x_T, RADIUS = Λ and all else is 0."""
    rows = s.shape[0]
    zeros, ones, primal_steps, dual_steps = fill(two - two), fill(two / two), fill(primal_step), fill(dual_step)
    shrinks, twice = fill(shrink), fill(two * dual_step)
    for k in range(iterations - 1, -1, -1):
        for i in range(-1, rows):
            above = i - 1 if i > 0 else rows - 1
            row = i if i >= 0 else rows - 1
            if i < rows - 1:
                below = row + 1 if row < rows - 1 else (0 if periodic else row)
                s[row, ABAR, last + 1] = s[row, ABAR, 0 if periodic else last]
                _transposed_dual(s, u, k * rows + row, row, below, primal_steps, zeros, ones)
            if i >= 0:
                _transposed_primal(s, i, above, fill(s[i, GQH, last]), primal_steps, dual_steps, shrinks, twice, with_z)


def forward(z, weight, iterations, boundary, dual_start, lipschitz, keep_states=False, log_ratio=0.0):
    """One image: z (rows, columns), weight (1, rows, columns), same dtype. Returns x_T, q_T (2, …) and the states.

    These are the state before every CHUNK iterations and how many followed, for `backward`, or none.
    """
    if len(weight) != 1:
        raise ValueError("the isotropic norm takes one map, not one for each direction")
    steps = step_numbers(lipschitz, log_ratio, z.dtype)
    _, dual_step, shrink, _ = steps
    s, last = zeros(z.shape, W + 1, z.dtype), z.shape[1] - 1
    inner = s[:, :, : last + 1]
    inner[:, [XBAR, X]] = z[:, None]
    inner[:, P] = z if dual_start == "image" else 0
    inner[:, Z] = dual_step * shrink * z
    inner[:, W] = weight[0]
    states = []
    for first in range(0, iterations, CHUNK):
        n = min(CHUNK, iterations - first)
        if keep_states:
            states.append((s.copy(), n))
        _forward(s, None, n, last, *steps, boundary == "periodic")
    return inner[:, X].copy(), inner[:, QV : QH + 1].transpose(1, 0, 2).copy(), states


def backward(grad_x, states, boundary, dual_start, lipschitz, with_z=True, log_ratio=0.0):
    """∂loss/∂z (rows, columns), or None, and ∂loss/∂Λ (1, …) from ∂loss/∂x_T and the states of `forward`."""
    steps, periodic = step_numbers(lipschitz, log_ratio, grad_x.dtype), boundary == "periodic"
    s, last = zeros(grad_x.shape, GZ + 1, grad_x.dtype), grad_x.shape[1] - 1
    inner = s[:, :, : last + 1]
    inner[:, ABAR] = grad_x
    primal, u = zeros(grad_x.shape, W + 1, s.dtype), zeros((CHUNK * len(s), last + 1), 2, s.dtype)
    for state, n in reversed(states):
        primal[:] = state
        s[:, RADIUS] = primal[:, W]
        _forward(primal, u, n, last, *steps, periodic)
        _backward(s, u, n, last, *steps, periodic, with_z)
    grad_weight = inner[:, GW][None].copy()
    if not with_z:
        return None, grad_weight
    grad_z = inner[:, GZ] + inner[:, ABAR] - steps[1] * inner[:, SLOPE]  # z enters every step, and as x₀ and x̄₀
    if dual_start == "image":
        grad_z += inner[:, GP]
    return grad_z, grad_weight
