"""PDHG and its exact gradient on a CPU: the iterations of `pdhg` with the anisotropic norm, compiled by numba.

Why a second solver: an iteration of `pdhg` goes over whole images a dozen times, this one once, and autograd would
store every iterate, this one stores two bits an entry of q.

Layout. All variables of a row lie next to one another: state[row, field, PAD + column]. PAD entries at both ends keep
the columns aligned with the machine's vectors (unaligned, it takes twice as long) and hold the ghost columns.

Sweep. One iteration goes over the rows once, in place. Row i needs x̄ of the rows i and i+1 before their update and
q_v of the rows i−1 and i after it. It starts with q_v of the row above the first; then every row finds what it needs,
around the edge too:

    q_v[s−1] from x̄[s−1], x̄[s];   then for i = s, s+1, …:  q_v[i] from x̄[i], x̄[i+1];  q_h[i];  p[i], x[i], x̄[i]

Several iterations are under way at once, so that the rows they share stay in the cache: iteration k+1 starts one row
after iteration k and runs two rows behind it. The iterates are the same as one iteration after the other.

Boundaries. The neighbour past the last row or column is the first one (periodic) or the last itself (neumann: the
difference is 0, so q stays 0 there and its adjoint needs no case of its own).

Gradient. With fixed steps only the projection is not linear, and its derivative follows from where it ends: at −Λ,
inside or at Λ. The forward sweep stores that, one byte a pixel and iteration (bits 0-1 vertical, bits 2-3 horizontal;
1 at Λ, 2 at −Λ); the backward sweep runs the transposed linear recurrence in reverse, in the same order of rows.
"""

import functools
import warnings

import numba
import numpy as np

from .pdhg import step_sizes

PAD = 16  # entries: a cache line of float32
IN_FLIGHT = 4  # iterations under way at once
LAG = 3  # sweep steps between the starts of two iterations: one row later and two rows behind

XBAR, X, P, Z, QV, QH, WV, WH = range(8)  # fields of the forward state; W: the weight of each direction
ABAR, GX, GXBAR, GP, GQV, GQH, GWV, GWH, GZ = range(9)  # and of the backward state: G means derivative of the loss


def _compiled(function):
    """Compile without the global lock, keeping the machine code on disk where a cache folder can be written."""
    options = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:
        warnings.warn("no folder to keep compiled code in (set NUMBA_CACHE_DIR): compiling anew", stacklevel=2)
        return numba.njit(**options)(function)


@_compiled
def _dual_vertical(s, codes, k, i, below, sigma):
    """q_v ← clip_Λ(q_v + σ(x̄[i+1] − x̄[i])) in row i."""
    for j in range(s.shape[2] - 2 * PAD):
        u = s[i, QV, j + PAD] + sigma * (s[below, XBAR, j + PAD] - s[i, XBAR, j + PAD])
        w = s[i, WV, j + PAD]
        s[i, QV, j + PAD] = min(max(u, -w), w)
        if codes is not None:
            codes[k, i, j] = np.uint8(u > w) | (np.uint8(u < -w) << np.uint8(1))


@_compiled
def _dual_horizontal(s, codes, k, i, sigma):
    """q_h ← clip_Λ(q_h + σ(x̄[j+1] − x̄[j])) in row i."""
    for j in range(s.shape[2] - 2 * PAD):
        u = s[i, QH, j + PAD] + sigma * (s[i, XBAR, j + PAD + 1] - s[i, XBAR, j + PAD])
        w = s[i, WH, j + PAD]
        s[i, QH, j + PAD] = min(max(u, -w), w)
        if codes is not None:
            codes[k, i, j] |= (np.uint8(u > w) << np.uint8(2)) | (np.uint8(u < -w) << np.uint8(3))


@_compiled
def _primal(s, i, above, tau, sigma, shrink):
    """p ← (p + σ(x̄ − z))·shrink, shrink = 1/(1 + σ);  x ← x − τ(p + ∇ᵀq);  x̄ ← 2x − x_old  in row i."""
    for j in range(s.shape[2] - 2 * PAD):
        p = (s[i, P, j + PAD] + sigma * (s[i, XBAR, j + PAD] - s[i, Z, j + PAD])) * shrink
        adjoint = (s[above, QV, j + PAD] - s[i, QV, j + PAD]) + (s[i, QH, j + PAD - 1] - s[i, QH, j + PAD])
        x_old = s[i, X, j + PAD]
        x = x_old - tau * (p + adjoint)
        s[i, P, j + PAD] = p
        s[i, X, j + PAD] = x
        s[i, XBAR, j + PAD] = x + (x - x_old)  # a literal 2 would widen float32


@_compiled
def _forward(s, codes, iterations, tau, sigma, shrink, periodic):
    """All iterations of Algorithm 1 on the state s; `codes`: (iterations, rows, columns) uint8, or None for none."""
    rows, last = s.shape[0], s.shape[2] - PAD - 1
    for first in range(0, iterations, IN_FLIGHT):
        under_way = min(IN_FLIGHT, iterations - first)
        for step in range(rows + LAG * (under_way - 1)):
            for k in range(first, first + under_way):
                t = step - LAG * (k - first)
                if t >= 0 and t < rows:
                    i = (k + t) % rows
                    above = i - 1 if i > 0 else rows - 1
                    below = i + 1 if i < rows - 1 else (0 if periodic else i)
                    if t == 0:
                        _dual_vertical(s, codes, k, above, i if periodic or i > 0 else above, sigma)
                    if t < rows - 1:
                        _dual_vertical(s, codes, k, i, below, sigma)
                    s[i, XBAR, last + 1] = s[i, XBAR, PAD if periodic else last]
                    _dual_horizontal(s, codes, k, i, sigma)
                    s[i, QH, PAD - 1] = s[i, QH, last]
                    _primal(s, i, above, tau, sigma, shrink)


@_compiled
def _transposed_vertical(s, codes, k, i, below, tau, zero):
    """Transpose of x ← x − τ∇ᵀq, then of the projection of q_v: where that stopped q, the slope goes to ±Λ. Row i."""
    for j in range(s.shape[2] - 2 * PAD):
        g = s[i, GQV, j + PAD] - tau * (s[below, ABAR, j + PAD] - s[i, ABAR, j + PAD])
        at_upper, at_lower = codes[k, i, j] & np.uint8(1) != 0, codes[k, i, j] & np.uint8(2) != 0
        s[i, GWV, j + PAD] += (g if at_upper else zero) - (g if at_lower else zero)
        s[i, GQV, j + PAD] = g if codes[k, i, j] & np.uint8(3) == 0 else zero


@_compiled
def _transposed_horizontal(s, codes, k, i, tau, zero):
    """The same for q_h."""
    for j in range(s.shape[2] - 2 * PAD):
        g = s[i, GQH, j + PAD] - tau * (s[i, ABAR, j + PAD + 1] - s[i, ABAR, j + PAD])
        at_upper, at_lower = codes[k, i, j] & np.uint8(4) != 0, codes[k, i, j] & np.uint8(8) != 0
        s[i, GWH, j + PAD] += (g if at_upper else zero) - (g if at_lower else zero)
        s[i, GQH, j + PAD] = g if codes[k, i, j] & np.uint8(12) == 0 else zero


@_compiled
def _transposed_primal(s, i, above, tau, sigma, shrink):
    """Transpose of the steps of p and x̄ in row i; a = g_x + 2 g_x̄ is all that flows into the new x."""
    for j in range(s.shape[2] - 2 * PAD):
        g_p = (s[i, GP, j + PAD] - tau * s[i, ABAR, j + PAD]) * shrink
        adjoint = (s[above, GQV, j + PAD] - s[i, GQV, j + PAD]) + (s[i, GQH, j + PAD - 1] - s[i, GQH, j + PAD])
        g_x = s[i, GX, j + PAD] + s[i, GXBAR, j + PAD]
        g_x_bar = sigma * (g_p + adjoint)
        s[i, GP, j + PAD] = g_p
        s[i, GZ, j + PAD] -= sigma * g_p
        s[i, GX, j + PAD] = g_x
        s[i, GXBAR, j + PAD] = g_x_bar
        s[i, ABAR, j + PAD] = g_x + (g_x_bar + g_x_bar)


@_compiled
def _backward(s, codes, tau, sigma, shrink, periodic):
    """All iterations of the transposed recurrence on the state s, in which ABAR = GX = ∂loss/∂x_T and all else is 0."""
    rows, last = s.shape[0], s.shape[2] - PAD - 1
    iterations = codes.shape[0]
    zero = tau - tau  # of the state's type: a literal 0 would widen float32
    for first in range(0, iterations, IN_FLIGHT):
        under_way = min(IN_FLIGHT, iterations - first)
        for step in range(rows + LAG * (under_way - 1)):
            for order in range(first, first + under_way):
                t = step - LAG * (order - first)
                if t >= 0 and t < rows:
                    k = iterations - 1 - order
                    i = (order + t) % rows
                    above = i - 1 if i > 0 else rows - 1
                    below = i + 1 if i < rows - 1 else (0 if periodic else i)
                    if t == 0:
                        _transposed_vertical(s, codes, k, above, i if periodic or i > 0 else above, tau, zero)
                    if t < rows - 1:
                        _transposed_vertical(s, codes, k, i, below, tau, zero)
                    s[i, ABAR, last + 1] = s[i, ABAR, PAD if periodic else last]
                    _transposed_horizontal(s, codes, k, i, tau, zero)
                    s[i, GQH, PAD - 1] = s[i, GQH, last]
                    _transposed_primal(s, i, above, tau, sigma, shrink)


def _state(shape, fields, dtype):
    """Zeros (rows, fields, columns + 2 PAD) on a cache line; so is each field if columns is a multiple of PAD."""
    rows, columns = shape
    size = rows * fields * (columns + 2 * PAD)
    memory = np.zeros(size + PAD, dtype)
    start = (-memory.ctypes.data % (PAD * 4)) // memory.itemsize
    return memory[start : start + size].reshape(rows, fields, columns + 2 * PAD)


@functools.cache
def _steps(lipschitz, dtype):
    tau, sigma = step_sizes(lipschitz)
    return dtype.type(tau), dtype.type(sigma), dtype.type(1 / (1 + sigma))


def forward(z, weight, iterations, boundary, dual_start, lipschitz, keep_codes=False):
    """One image: z (rows, columns), weight (1 or 2, rows, columns), same dtype. Returns x_T, q_T (2, …) and codes."""
    s = _state(z.shape, 8, z.dtype)
    inner = s[:, :, PAD : PAD + z.shape[1]]
    inner[:, [XBAR, X, Z]] = z[:, None]
    inner[:, P] = z if dual_start == "image" else 0
    inner[:, WV], inner[:, WH] = weight[0], weight[-1]
    codes = np.empty((iterations, *z.shape), np.uint8) if keep_codes else None
    _forward(s, codes, iterations, *_steps(lipschitz, z.dtype), boundary == "periodic")
    return inner[:, X].copy(), inner[:, QV : QH + 1].transpose(1, 0, 2).copy(), codes


def backward(grad_x, codes, boundary, dual_start, lipschitz):
    """∂loss/∂z (rows, columns) and ∂loss/∂Λ (2, rows, columns) from ∂loss/∂x_T and the codes of `forward`."""
    s = _state(grad_x.shape, 9, grad_x.dtype)
    inner = s[:, :, PAD : PAD + grad_x.shape[1]]
    inner[:, [ABAR, GX]] = grad_x[:, None]
    _backward(s, codes, *_steps(lipschitz, grad_x.dtype), boundary == "periodic")
    grad_z = inner[:, GZ] + inner[:, GX] + inner[:, GXBAR]  # z enters every step, and as x₀ and x̄₀
    if dual_start == "image":
        grad_z += inner[:, GP]
    return grad_z, inner[:, GWV : GWH + 1].transpose(1, 0, 2).copy()
