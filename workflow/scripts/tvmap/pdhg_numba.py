"""PDHG and its exact gradient on a CPU: the iterations of `pdhg` with the anisotropic norm, compiled by numba.

Why a second solver: an iteration of `pdhg` goes over whole images a dozen times, this one once, and autograd would
store every iterate, this one stores two bits an entry of q.

Layout. All variables of a row lie next to one another: state[row, field, column]. A row of a field:

    |<----------- columns, in groups of LANES ----------->|<----- PAD ----->|
    | 0 1 … 15 | 16 … 31 | …               … last g . . . | . . . . . . . . |  g: ghost column, x̄ of the neighbour

The groups are those of `lanes`, and all work is done on whole ones; what lies right of the ghost column is finite and
never reaches a pixel.

Sweep. One iteration goes over the rows once, in place, and over each row once. Row i needs x̄ of the rows i and i+1
before their update and q_v of the rows i−1 and i after it. It starts with q_v of the row above the first; then every
row finds what it needs, around the edge too:

    q_v[s−1] from x̄[s−1], x̄[s];   then for i = s, s+1, …:  q_v[i] from x̄[i], x̄[i+1];  q_h[i];  p[i], x[i], x̄[i]

The left neighbour of q_h is the group before, still in a register; for the first group it is computed ahead.

Schedule. IN_FLIGHT iterations are under way at once, so that the rows they share stay in the cache: iteration k+1
starts one row after iteration k (s = k mod rows) and runs two rows behind it, so LAG = 3 steps later. The iterates are
the same as one iteration after the other.

    step          0  1  2  3  4  5  6  …
    iteration 0   0  1  2  3  4  5  6  …     entries: the row in work
    iteration 1            1  2  3  4  …
    iteration 2                     2  …

The rows of SIDE_BY_SIDE iterations fit into the L1 cache, those of IN_FLIGHT only into L2. So this many take BLOCK
steps together, one step after the other, before the next ones take the same steps.

Boundaries. The neighbour past the last row or column is the first one (periodic) or the last itself (neumann: the
difference is 0, so q stays 0 there and its adjoint needs no case of its own).

Gradient. With fixed steps only the projection is not linear, and its derivative follows from where it ends: at −Λ,
inside or at Λ. The forward sweep stores that in codes[iteration, row, group], one bit a lane: q_v was stopped, its
sign, the same two of q_h. The backward sweep runs the transposed linear recurrence in reverse, in the same order of
rows. The derivative by the ratio of the steps would need the iterates there; so it is computed in forward mode, by
plain loops that run the iterates once more with their derivatives beside them.
"""

import numpy as np

from .lanes import LANES, compiled, fill, load, n_groups, project, shifted, store, transposed_project, zeros
from .pdhg import step_sizes

IN_FLIGHT = 16  # iterations under way at once
SIDE_BY_SIDE = 2  # of which so many take their steps in turns
BLOCK = 64  # steps taken in turns
LAG = 3  # sweep steps between the starts of two iterations: one row later and two rows behind

# Fields of the forward state, then the weights of the directions, one for both or two; Z holds gain·z, see `_row`.
XBAR, X, P, Z, QV, QH, W = range(7)
# Fields of the backward state (G: derivative of the loss, SLOPE: that in x̄, by σ), then those in the weights and in z.
ABAR, SLOPE, GP, GQV, GQH, GW = range(6)
STOPPED_V, _, STOPPED_H, _ = range(4)  # masks of a group, each followed by that of the sign


@compiled
def _vertical(s, codes, k, i, below, dual_step):
    """q_v ← clip_Λ(q_v + σ∇_v x̄)  in row i."""
    for group in range(s.shape[2] // LANES - 1):
        j = group * LANES
        u = load(s, i, QV, j) + dual_step * (load(s, below, XBAR, j) - load(s, i, XBAR, j))
        store(s, i, QV, j, project(u, load(s, i, W, j), codes, k, i, group, STOPPED_V))


@compiled
def _first_left(s, i, last, wh, dual_step):
    """q_h of the last column after its update, the left neighbour of the first one."""
    u = s[i, QH, last] + dual_step * (s[i, XBAR, 0] - s[i, XBAR, last])
    return max(-s[i, wh, last], min(u, s[i, wh, last]))


@compiled
def _row(s, codes, k, i, above, below, left, wh, primal_step, dual_step, shrink, gain, two, vertical):
    """q ← clip_Λ(q + σ∇x̄);  p ← (p + σ(x̄ − z))·shrink;  x ← x − τ(p + ∇ᵀq);  x̄ ← 2x − x_old  in row i.

    shrink = 1/(1 + σ), gain = σ·shrink; q_v only if `vertical`; `left`: q_h left of the first column in the last lane.
    """
    for group in range(s.shape[2] // LANES - 1):
        j = group * LANES
        x_bar, q_v, w = load(s, i, XBAR, j), load(s, i, QV, j), load(s, i, W, j)
        if vertical:
            u = q_v + dual_step * (load(s, below, XBAR, j) - x_bar)
            q_v = project(u, w, codes, k, i, group, STOPPED_V)
            store(s, i, QV, j, q_v)
        if wh != W:
            w = load(s, i, wh, j)
        u = load(s, i, QH, j) + dual_step * (load(s, i, XBAR, j + 1) - x_bar)
        q_h = project(u, w, codes, k, i, group, STOPPED_H)
        p = shrink * load(s, i, P, j) + (gain * x_bar - load(s, i, Z, j))
        x_old = load(s, i, X, j)
        x = x_old - primal_step * (p + ((load(s, above, QV, j) - q_v) + (shifted(left, q_h) - q_h)))
        store(s, i, QH, j, q_h)
        store(s, i, P, j, p)
        store(s, i, X, j, x)
        store(s, i, XBAR, j, two * x - x_old)
        left = q_h


@compiled
def _forward(s, codes, iterations, last, primal_step, dual_step, shrink, two, periodic):
    """All iterations of Algorithm 1 on the state s; `codes`: the masks, or None for none; `last`: the last column."""
    rows, wh = s.shape[0], s.shape[1] - 1
    zero, steps = two - two, (fill(primal_step), fill(dual_step), fill(shrink), fill(dual_step * shrink), fill(two))
    for first in range(0, iterations, IN_FLIGHT):
        end = min(first + IN_FLIGHT, iterations)
        for block in range(0, rows + LAG * (end - first - 1), BLOCK):
            for pair in range(first, end, SIDE_BY_SIDE):
                for step in range(block, block + BLOCK):
                    for k in range(pair, min(pair + SIDE_BY_SIDE, end)):
                        t = step - LAG * (k - first)
                        if t < 0 or t >= rows:
                            continue
                        i = (k + t) % rows
                        above = i - 1 if i > 0 else rows - 1
                        below = i + 1 if i < rows - 1 else (0 if periodic else i)
                        if t == 0:
                            _vertical(s, codes, k, above, i if periodic or i > 0 else above, steps[1])
                        s[i, XBAR, last + 1] = s[i, XBAR, 0 if periodic else last]
                        left = fill(_first_left(s, i, last, wh, dual_step) if periodic else zero)
                        _row(s, codes, k, i, above, below, left, wh, *steps, t < rows - 1)


@compiled
def _transposed_vertical(s, codes, k, i, below, primal_step, zero):
    """Transpose of x ← x − τ∇_vᵀq, then of the projection, in row i."""
    for group in range(s.shape[2] // LANES - 1):
        j = group * LANES
        g = load(s, i, GQV, j) - primal_step * (load(s, below, ABAR, j) - load(s, i, ABAR, j))
        g_v, g_w = transposed_project(g, load(s, i, GW, j), zero, codes, k, i, group, STOPPED_V)
        store(s, i, GQV, j, g_v)
        store(s, i, GW, j, g_w)


@compiled
def _transposed_first_left(s, codes, k, i, last, primal_step):
    """g_q_h of the last column after its update, the left neighbour of the first one."""
    g = s[i, GQH, last] - primal_step * (s[i, ABAR, 0] - s[i, ABAR, last])
    return g - g if codes[k, i, last // LANES, STOPPED_H] >> (last % LANES) & 1 else g


@compiled
def _transposed_row(
    s, codes, k, i, above, below, left, gwh, primal_step, dual_step, shrink, twice, zero, vertical, with_z
):
    """Transpose of the steps of x, q, p and x̄ in row i; a = g_x + 2 g_x̄ is all that flows into the new x; twice: 2σ."""
    for group in range(s.shape[2] // LANES - 1):
        j = group * LANES
        a, g_v, g_w = load(s, i, ABAR, j), load(s, i, GQV, j), load(s, i, GW, j)
        if vertical:
            g = g_v - primal_step * (load(s, below, ABAR, j) - a)
            g_v, g_w = transposed_project(g, g_w, zero, codes, k, i, group, STOPPED_V)
            store(s, i, GQV, j, g_v)
        if gwh != GW:
            store(s, i, GW, j, g_w)
            g_w = load(s, i, gwh, j)
        g = load(s, i, GQH, j) - primal_step * (load(s, i, ABAR, j + 1) - a)
        g_h, g_w = transposed_project(g, g_w, zero, codes, k, i, group, STOPPED_H)
        store(s, i, gwh, j, g_w)
        g_p = (load(s, i, GP, j) - primal_step * a) * shrink
        g_x = a - dual_step * load(s, i, SLOPE, j)  # g_x + g_x̄
        slope = g_p + ((load(s, above, GQV, j) - g_v) + (shifted(left, g_h) - g_h))
        store(s, i, GQH, j, g_h)
        store(s, i, GP, j, g_p)
        store(s, i, SLOPE, j, slope)
        store(s, i, ABAR, j, g_x + twice * slope)
        if with_z:
            store(s, i, gwh + 1, j, load(s, i, gwh + 1, j) - dual_step * g_p)
        left = g_h


@compiled
def _backward(s, codes, last, gwh, primal_step, dual_step, shrink, two, periodic, with_z):
    """All iterations of the transposed recurrence on the state s, in which ABAR = ∂loss/∂x_T and all else is 0."""
    rows, iterations = s.shape[0], codes.shape[0]
    zero, twice = two - two, fill(two * dual_step)
    steps = fill(primal_step), fill(dual_step), fill(shrink), twice, fill(zero)
    for first in range(0, iterations, IN_FLIGHT):
        end = min(first + IN_FLIGHT, iterations)
        for block in range(0, rows + LAG * (end - first - 1), BLOCK):
            for pair in range(first, end, SIDE_BY_SIDE):
                for step in range(block, block + BLOCK):
                    for order in range(pair, min(pair + SIDE_BY_SIDE, end)):
                        t = step - LAG * (order - first)
                        if t < 0 or t >= rows:
                            continue
                        k = iterations - 1 - order
                        i = (order + t) % rows
                        above = i - 1 if i > 0 else rows - 1
                        below = i + 1 if i < rows - 1 else (0 if periodic else i)
                        if t == 0:
                            next_row = i if periodic or i > 0 else above
                            _transposed_vertical(s, codes, k, above, next_row, steps[0], steps[-1])
                        s[i, ABAR, last + 1] = s[i, ABAR, 0 if periodic else last]
                        left = fill(_transposed_first_left(s, codes, k, i, last, primal_step) if periodic else zero)
                        _transposed_row(s, codes, k, i, above, below, left, gwh, *steps, t < rows - 1, with_z)


def step_numbers(lipschitz, log_ratio, dtype):
    """τ, σ, shrink and 2, which a compiler that knew it would add instead of fusing multiplication and subtraction."""
    primal_step, dual_step = step_sizes(lipschitz, log_ratio)
    return tuple(map(dtype.type, (primal_step, dual_step, 1 / (1 + dual_step), 2)))


def forward(z, weight, iterations, boundary, dual_start, lipschitz, keep_codes=False, log_ratio=0.0):
    """One image: z (rows, columns), weight (1 or 2, rows, columns), same dtype. Returns x_T, q_T (2, …) and codes."""
    steps = step_numbers(lipschitz, log_ratio, z.dtype)
    _, dual_step, shrink, _ = steps
    s, last = zeros(z.shape, W + len(weight), z.dtype), z.shape[1] - 1
    inner = s[:, :, : last + 1]
    inner[:, [XBAR, X]] = z[:, None]
    inner[:, P] = z if dual_start == "image" else 0
    inner[:, Z] = dual_step * shrink * z
    inner[:, W:] = weight.transpose(1, 0, 2)
    codes = np.empty((iterations, len(z), n_groups(z.shape[1]), 4), np.uint16) if keep_codes else None
    _forward(s, codes, iterations, last, *steps, boundary == "periodic")
    return inner[:, X].copy(), inner[:, QV : QH + 1].transpose(1, 0, 2).copy(), codes


def backward(grad_x, codes, boundary, dual_start, lipschitz, maps=1, with_z=True, log_ratio=0.0):
    """∂loss/∂z (rows, columns), or None, and ∂loss/∂Λ (maps, …) from ∂loss/∂x_T and the codes of `forward`."""
    steps, gwh = step_numbers(lipschitz, log_ratio, grad_x.dtype), GW + maps - 1
    s, last = zeros(grad_x.shape, gwh + 1 + with_z, grad_x.dtype), grad_x.shape[1] - 1
    inner = s[:, :, : last + 1]
    inner[:, ABAR] = grad_x
    _backward(s, codes, last, gwh, *steps, boundary == "periodic", with_z)
    grad_weight = inner[:, GW : gwh + 1].transpose(1, 0, 2).copy()
    if not with_z:
        return None, grad_weight
    grad_z = inner[:, gwh + 1] + inner[:, ABAR] - steps[1] * inner[:, SLOPE]  # z enters every step, and as x₀ and x̄₀
    if dual_start == "image":
        grad_z += inner[:, GP]
    return grad_z, grad_weight


# --- the derivative by the ratio of the steps; an array's first axis: value, derivative by ρ


@compiled
def _dual_row(q, d_q, x_bar, next_x_bar, d_x_bar, d_next_x_bar, w, dual_step):
    """q ← clip_Λ(q + σ(next x̄ − x̄)) in a row of one direction; dσ = −σ."""
    for j in range(len(q)):
        difference = next_x_bar[j] - x_bar[j]
        u = q[j] + dual_step * difference
        d_u = d_q[j] + dual_step * (d_next_x_bar[j] - d_x_bar[j] - difference)
        q[j] = max(-w[j], min(u, w[j]))
        d_q[j] = d_u if abs(u) <= w[j] else d_u - d_u


@compiled
def _primal_row(s, p, x, x_bar, z, i, primal_step, dual_step, shrink):
    """p ← (p + σ(x̄ − z))·shrink;  x ← x − τ(p + s);  x̄ ← 2x − x_old  in row i; s: ∇ᵀq in it; dσ = −σ, dτ = τ."""
    for j in range(len(z)):
        residual = x_bar[0, i, j] - z[j]
        p[0, i, j] = (p[0, i, j] + dual_step * residual) * shrink
        p[1, i, j] = (p[1, i, j] + dual_step * (x_bar[1, i, j] - residual + p[0, i, j])) * shrink
        step = primal_step * (p[0, i, j] + s[0, j])
        d_step = primal_step * (p[1, i, j] + s[1, j]) + step
        x[0, i, j] -= step
        x[1, i, j] -= d_step
        x_bar[0, i, j] = x[0, i, j] - step
        x_bar[1, i, j] = x[1, i, j] - d_step


@compiled
def _iterate(x, x_bar, p, q_v, q_h, s, z, weight, iterations, primal_step, dual_step, shrink, periodic):
    """All iterations; x̄ has a ghost row and column at its ends, q_v a ghost row and q_h a ghost column before them."""
    rows, columns = z.shape
    for _ in range(iterations):
        for a in range(2):
            x_bar[a, :rows, columns] = x_bar[a, :rows, 0 if periodic else columns - 1]
            x_bar[a, rows, :columns] = x_bar[a, 0 if periodic else rows - 1, :columns]
        v, d_v = x_bar[0, :, :columns], x_bar[1, :, :columns]
        for i in range(rows):
            _dual_row(q_v[0, i + 1], q_v[1, i + 1], v[i], v[i + 1], d_v[i], d_v[i + 1], weight[0, i], dual_step)
            h, d_h = x_bar[0, i], x_bar[1, i]
            pairs = h[:columns], h[1:], d_h[:columns], d_h[1:]
            _dual_row(q_h[0, i, 1:], q_h[1, i, 1:], *pairs, weight[-1, i], dual_step)
        if periodic:
            q_v[:, 0], q_h[:, :, 0] = q_v[:, rows], q_h[:, :, columns]
        for i in range(rows):
            for a in range(2):
                for j in range(columns):
                    s[a, j] = q_v[a, i, j] - q_v[a, i + 1, j] + (q_h[a, i, j] - q_h[a, i, j + 1])
            _primal_row(s, p, x, x_bar, z[i], i, primal_step, dual_step, shrink)


def ratio_derivative(z, weight, iterations, boundary, dual_start, lipschitz, log_ratio):
    """∂x_T/∂ρ (rows, columns) of one image; arguments as those of `forward`."""
    *steps, _ = step_numbers(lipschitz, log_ratio, z.dtype)
    rows, columns = z.shape
    shapes = (rows, columns), (rows + 1, columns + 1), (rows, columns), (rows + 1, columns), (rows, columns + 1)
    x, x_bar, p, q_v, q_h = (np.zeros((2, *shape), z.dtype) for shape in shapes)
    x[0] = x_bar[0, :-1, :-1] = z
    if dual_start == "image":
        p[0] = z
    s, weight = np.empty((2, columns), z.dtype), np.ascontiguousarray(weight)  # one layout, compiled once
    _iterate(x, x_bar, p, q_v, q_h, s, z, weight, iterations, *steps, boundary == "periodic")
    return x[1]
