"""TGV's PDHG and its exact gradient on a CPU: the iterations of `tgv`, compiled by numba.

Layout. All variables of a row lie next to one another: state[row, field, column]. A row of a field:

    |<----- PAD ----->|<----------- columns, in groups of LANES ----------->|<----- PAD ----->|
    | . . . . . . . g | 0 1 … 15 | 16 … 31 | …               … last g . . . | . . . . . . . . |  g: ghost columns

Groups are those of `lanes`, aligned with the machine's vectors, and all work is done on whole ones; what lies
right of the ghost column is finite and never reaches a pixel. Fields 0 to 7 have neighbours: x̄ and w̄, which ∇ and E
are applied to, then q and r with their adjoints; backwards a, b and the derivatives in q and r.

Sweep. One iteration goes over the rows once, in place. The duals of row i need x̄ and w̄ of the rows i − 1 to i + 1
before their update; x and w of row i need the duals of the rows i − 1 to i + 1 after theirs. So x and w follow one row
behind, and those of the first and the last row, which may be neighbours, come at the end.

Boundaries. The neighbour past the edge is the one at the other edge (periodic) or the entry itself (neumann: the
difference is 0). With neumann, vv of the last row and hh of the last column are kept at 0. So w_v of the last row and
w_h of the last column stay 0, and so does every dual that would reach around the edge: the adjoints need no case of
their own.

Gradient. With fixed steps only the projections are not linear. The forward sweep stores where they end in
codes[iteration, row, group], one bit a lane: stopped and its sign, for q_v, q_h, vv, hh, vh. The backward sweep runs
the transposed linear recurrence in reverse, in the same order of rows. All that flows into the new x and w is
a = g_x + 2 g_x̄ and b = g_w + 2 g_w̄ (g: derivative of the loss); SLOPE is g_x̄ or g_w̄ alone.
"""

import numpy as np

from .lanes import LANES, PAD, compiled, fill, load, n_groups, project, store, transposed_project, zeros
from .tgv import DUAL_STEPS, PRIMAL_STEPS

X_BAR, V_BAR, H_BAR, QV, QH, VV, HH, VH = range(8)  # backwards A, BV, BH instead of the first three
X, WV, WH, Z, W1, W0 = range(8, 14)  # forwards; Z holds τ·z, W1 and W0 are the weights Λ₁ and Λ₀
A, BV, BH = range(3)
SLOPE_X, SLOPE_V, SLOPE_H, SUM, G1, G0 = range(8, 14)  # backwards; SUM of all a, derivatives in Λ₁ and Λ₀
FIELDS = 14
STOPPED_QV, STOPPED_QH, STOPPED_VV, STOPPED_HH, STOPPED_VH = range(0, 10, 2)  # each followed by the mask of the sign


@compiled
def _set_ghosts(s, i, last, periodic):
    """Ghost columns of what ∇ and E are applied to, in row i."""
    s[i, X_BAR, last + 1] = s[i, X_BAR, PAD if periodic else last]
    s[i, V_BAR, last + 1] = s[i, V_BAR, PAD if periodic else last]
    s[i, H_BAR, PAD - 1] = s[i, H_BAR, last if periodic else PAD]


@compiled
def _set_dual_ghosts(s, i, last, periodic):
    """Ghost columns of what ∇ᵀ and Eᵀ are applied to, in row i; with neumann, hh of the last column is 0."""
    if not periodic:
        s[i, HH, last] = 0
    s[i, QH, PAD - 1] = s[i, QH, last]
    s[i, HH, last + 1] = s[i, HH, PAD]
    s[i, VH, PAD - 1] = s[i, VH, last]


@compiled
def _duals(s, codes, k, i, above, below, dual_step, dual_step_vv, dual_step_d, dual_step_vh):
    """q ← clip(q + σ(∇x̄ − w̄));  r ← clip(r + σ_r E w̄)  in row i."""
    for group in range(s.shape[2] // LANES - 2):
        j = PAD + group * LANES
        x, v, h, w = load(s, i, X_BAR, j), load(s, i, V_BAR, j), load(s, i, H_BAR, j), load(s, i, W1, j)
        u = load(s, i, QV, j) + dual_step * (load(s, below, X_BAR, j) - x - v)
        store(s, i, QV, j, project(u, w, codes, k, i, group, STOPPED_QV))
        u = load(s, i, QH, j) + dual_step * (load(s, i, X_BAR, j + 1) - x - h)
        store(s, i, QH, j, project(u, w, codes, k, i, group, STOPPED_QH))
        w = load(s, i, W0, j)
        u = load(s, i, VV, j) + dual_step_vv * (v - load(s, above, V_BAR, j))
        store(s, i, VV, j, project(u, w, codes, k, i, group, STOPPED_VV))
        u = load(s, i, HH, j) + dual_step_d * (h - load(s, i, H_BAR, j - 1))
        store(s, i, HH, j, project(u, w, codes, k, i, group, STOPPED_HH))
        u = load(s, i, VH, j) + dual_step_vh * (load(s, i, V_BAR, j + 1) - v + (load(s, below, H_BAR, j) - h))
        store(s, i, VH, j, project(u, w, codes, k, i, group, STOPPED_VH))


@compiled
def _primals(s, i, primal_step, primal_step_w, shrink, two):
    """x ← (x + τ(z − ∇ᵀq))·shrink;  w ← w − τ_w(Eᵀr − q);  x̄ ← 2x − x_old, w̄ likewise  in row i."""
    above, below = i - 1 if i > 0 else s.shape[0] - 1, i + 1 if i < s.shape[0] - 1 else 0
    for j in range(PAD, s.shape[2] - PAD, LANES):
        q_v, q_h, vh = load(s, i, QV, j), load(s, i, QH, j), load(s, i, VH, j)
        old = load(s, i, X, j)
        adjoint = load(s, above, QV, j) - q_v + (load(s, i, QH, j - 1) - q_h)
        new = shrink * (old + load(s, i, Z, j) - primal_step * adjoint)
        store(s, i, X, j, new)
        store(s, i, X_BAR, j, two * new - old)
        old = load(s, i, WV, j)
        adjoint = load(s, i, VV, j) - load(s, below, VV, j) + (load(s, i, VH, j - 1) - vh)
        new = old - primal_step_w * (adjoint - q_v)
        store(s, i, WV, j, new)
        store(s, i, V_BAR, j, two * new - old)
        old = load(s, i, WH, j)
        adjoint = load(s, i, HH, j) - load(s, i, HH, j + 1) + (load(s, above, VH, j) - vh)
        new = old - primal_step_w * (adjoint - q_h)
        store(s, i, WH, j, new)
        store(s, i, H_BAR, j, two * new - old)


@compiled
def _forward(s, codes, iterations, last, steps, periodic):
    """All iterations on the state s; `codes`: the masks, or None for none; `last`: the last column."""
    rows, primal_step, primal_step_w, shrink = s.shape[0], fill(steps[0]), fill(steps[1]), fill(steps[5])
    dual_step, dual_step_d, dual_step_vh = fill(steps[2]), fill(steps[3]), fill(steps[4])
    two, zero = fill(steps[6]), fill(steps[0] - steps[0])
    for k in range(iterations):
        for i in range(rows):
            above = i - 1 if i > 0 else (rows - 1 if periodic else i)
            below = i + 1 if i < rows - 1 else (0 if periodic else i)
            _set_ghosts(s, i, last, periodic)
            dual_step_vv = dual_step_d if periodic or i < rows - 1 else zero
            _duals(s, codes, k, i, above, below, dual_step, dual_step_vv, dual_step_d, dual_step_vh)
            if codes is not None and not periodic:
                group, lane = (last - PAD) // LANES, (last - PAD) % LANES
                codes[k, i, group, STOPPED_HH] &= ~(1 << lane)  # it is 0, not stopped there
            _set_dual_ghosts(s, i, last, periodic)
            if i > 1:
                _primals(s, i - 1, primal_step, primal_step_w, shrink, two)
        _primals(s, 0, primal_step, primal_step_w, shrink, two)
        if rows > 1:
            _primals(s, rows - 1, primal_step, primal_step_w, shrink, two)


@compiled
def _transposed_primals(s, codes, k, i, above, below, primal_step, primal_step_w, primal_step_vv, zero):
    """Transpose of the steps of x and w, then of the projections, in row i; primal_step: τ·shrink."""
    for group in range(s.shape[2] // LANES - 2):
        j = PAD + group * LANES
        a, v, h, g_w = load(s, i, A, j), load(s, i, BV, j), load(s, i, BH, j), load(s, i, G1, j)
        g = load(s, i, QV, j) + (primal_step_w * v - primal_step * (load(s, below, A, j) - a))
        g, g_w = transposed_project(g, g_w, zero, codes, k, i, group, STOPPED_QV)
        store(s, i, QV, j, g)
        g = load(s, i, QH, j) + (primal_step_w * h - primal_step * (load(s, i, A, j + 1) - a))
        g, g_w = transposed_project(g, g_w, zero, codes, k, i, group, STOPPED_QH)
        store(s, i, QH, j, g)
        store(s, i, G1, j, g_w)
        g_w = load(s, i, G0, j)
        g = load(s, i, VV, j) - primal_step_vv * (v - load(s, above, BV, j))
        g, g_w = transposed_project(g, g_w, zero, codes, k, i, group, STOPPED_VV)
        store(s, i, VV, j, g)
        g = load(s, i, HH, j) - primal_step_w * (h - load(s, i, BH, j - 1))
        g, g_w = transposed_project(g, g_w, zero, codes, k, i, group, STOPPED_HH)
        store(s, i, HH, j, g)
        g = load(s, i, VH, j) - primal_step_w * (load(s, i, BV, j + 1) - v + (load(s, below, BH, j) - h))
        g, g_w = transposed_project(g, g_w, zero, codes, k, i, group, STOPPED_VH)
        store(s, i, VH, j, g)
        store(s, i, G0, j, g_w)


@compiled
def _transposed_duals(s, i, dual_step, dual_step_d, dual_step_vh, shrink, two):
    """Transpose of the rest: SLOPE ← σ∇ᵀg_q, a ← shrink·a − SLOPE_old + 2 SLOPE; b likewise  in row i."""
    above, below = i - 1 if i > 0 else s.shape[0] - 1, i + 1 if i < s.shape[0] - 1 else 0
    for j in range(PAD, s.shape[2] - PAD, LANES):
        q_v, q_h, vh = load(s, i, QV, j), load(s, i, QH, j), load(s, i, VH, j)
        a = load(s, i, A, j)
        store(s, i, SUM, j, load(s, i, SUM, j) + a)
        slope = dual_step * (load(s, above, QV, j) - q_v + (load(s, i, QH, j - 1) - q_h))
        store(s, i, A, j, shrink * a - load(s, i, SLOPE_X, j) + two * slope)
        store(s, i, SLOPE_X, j, slope)
        slope = dual_step_d * (load(s, i, VV, j) - load(s, below, VV, j)) + dual_step_vh * (load(s, i, VH, j - 1) - vh)
        slope = slope - dual_step * q_v
        store(s, i, BV, j, load(s, i, BV, j) - load(s, i, SLOPE_V, j) + two * slope)
        store(s, i, SLOPE_V, j, slope)
        slope = dual_step_d * (load(s, i, HH, j) - load(s, i, HH, j + 1)) + dual_step_vh * (load(s, above, VH, j) - vh)
        slope = slope - dual_step * q_h
        store(s, i, BH, j, load(s, i, BH, j) - load(s, i, SLOPE_H, j) + two * slope)
        store(s, i, SLOPE_H, j, slope)


@compiled
def _backward(s, codes, last, steps, periodic):
    """All iterations of the transposed recurrence on the state s, in which A = ∂loss/∂x_T and all else is 0."""
    rows, primal_step, primal_step_w, shrink = s.shape[0], fill(steps[0] * steps[5]), fill(steps[1]), fill(steps[5])
    dual_step, dual_step_d, dual_step_vh = fill(steps[2]), fill(steps[3]), fill(steps[4])
    two, zero = fill(steps[6]), fill(steps[0] - steps[0])
    for k in range(len(codes) - 1, -1, -1):
        for i in range(rows):
            above = i - 1 if i > 0 else (rows - 1 if periodic else i)
            below = i + 1 if i < rows - 1 else (0 if periodic else i)
            _set_ghosts(s, i, last, periodic)
            primal_step_vv = primal_step_w if periodic or i < rows - 1 else zero
            _transposed_primals(s, codes, k, i, above, below, primal_step, primal_step_w, primal_step_vv, zero)
            _set_dual_ghosts(s, i, last, periodic)
            if i > 1:
                _transposed_duals(s, i - 1, dual_step, dual_step_d, dual_step_vh, shrink, two)
        _transposed_duals(s, 0, dual_step, dual_step_d, dual_step_vh, shrink, two)
        if rows > 1:
            _transposed_duals(s, rows - 1, dual_step, dual_step_d, dual_step_vh, shrink, two)


def _state(shape, dtype):
    """The state with all fields 0, and the last column."""
    rows, columns = shape
    return zeros((rows, PAD + columns), FIELDS, dtype), PAD + columns - 1


def _steps(dtype):
    """τ, τ_w; σ, that of vv and hh, that of vh; shrink = 1/(1 + τ); and 2, as in `pdhg_numba`."""
    return np.array([*PRIMAL_STEPS, *DUAL_STEPS, 1 / (1 + PRIMAL_STEPS[0]), 2], dtype)


def forward(z, weight, iterations, boundary, keep_codes=False):
    """One image: z (rows, columns), weight (2, rows, columns), same dtype.

    Returns x_T, w_T (2, …), q_T (2, …), r_T (3, …) and, if they shall be kept, the codes.
    """
    steps, (s, last) = _steps(z.dtype), _state(z.shape, z.dtype)
    inner = s[:, :, PAD : last + 1]
    inner[:, [X_BAR, X]] = z[:, None]
    inner[:, Z] = steps[0] * z
    inner[:, W1 : W0 + 1] = weight.transpose(1, 0, 2)
    codes = np.empty((iterations, len(z), n_groups(z.shape[1]), 10), np.uint16) if keep_codes else None
    _forward(s, codes, iterations, last, steps, boundary == "periodic")
    w, q, r = (inner[:, a : b + 1].transpose(1, 0, 2).copy() for a, b in ((WV, WH), (QV, QH), (VV, VH)))
    return inner[:, X].copy(), w, q, r, codes


def backward(grad_x, codes, boundary):
    """∂loss/∂z (rows, columns) and ∂loss/∂(Λ₁, Λ₀) (2, …) from ∂loss/∂x_T and the codes of `forward`."""
    steps, (s, last) = _steps(grad_x.dtype), _state(grad_x.shape, grad_x.dtype)
    inner = s[:, :, PAD : last + 1]
    inner[:, A] = grad_x
    _backward(s, codes, last, steps, boundary == "periodic")
    grad_z = steps[0] * steps[5] * inner[:, SUM] + inner[:, A] - inner[:, SLOPE_X]  # z enters every step and as x₀, x̄₀
    return grad_z, inner[:, G1 : G0 + 1].transpose(1, 0, 2).copy()
