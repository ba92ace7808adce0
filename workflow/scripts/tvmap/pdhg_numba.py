"""PDHG and its exact gradient on a CPU: the iterations of `pdhg` with the anisotropic norm, compiled by numba.

Why a second solver: an iteration of `pdhg` goes over whole images a dozen times, this one once, and autograd would
store every iterate, this one stores two bits an entry of q.

Layout. All variables of a row lie next to one another: state[row, field, PAD + column]. A row of a field:

    |<---- PAD ---->|<----------- columns, in groups of LANES ----------->|<---- PAD ---->|
    | . . . . . . g | 0 1 … 15 | 16 … 31 | …           … last g . . . . . | . . . . . . . |     g: ghost columns, the
                                                                                                 periodic neighbours
Groups are aligned with the machine's vectors (unaligned, it takes twice as long), and all work is done on whole groups;
what lies right of the ghost column is finite and never reaches a pixel.

Sweep. One iteration goes over the rows once, in place. Row i needs x̄ of the rows i and i+1 before their update and
q_v of the rows i−1 and i after it. It starts with q_v of the row above the first; then every row finds what it needs,
around the edge too:

    q_v[s−1] from x̄[s−1], x̄[s];   then for i = s, s+1, …:  q_v[i] from x̄[i], x̄[i+1];  q_h[i];  p[i], x[i], x̄[i]

Schedule. IN_FLIGHT iterations are under way at once, so that the rows they share stay in the cache: iteration k+1
starts one row after iteration k (s = k mod rows) and runs two rows behind it, so LAG = 3 steps later. The iterates are
the same as one iteration after the other.

    step          0  1  2  3  4  5  6  …
    iteration 0   0  1  2  3  4  5  6  …     entries: the row in work
    iteration 1            1  2  3  4  …
    iteration 2                     2  …

Boundaries. The neighbour past the last row or column is the first one (periodic) or the last itself (neumann: the
difference is 0, so q stays 0 there and its adjoint needs no case of its own).

Gradient. With fixed steps only the projection is not linear, and its derivative follows from where it ends: at −Λ,
inside or at Λ. The forward sweep stores that in codes[iteration, row, group], one bit a lane: q_v was stopped, it was
at −Λ, the same two of q_h. The backward sweep runs the transposed linear recurrence in reverse, in the same order of
rows.
"""

import functools
import operator
import warnings

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

from .pdhg import step_sizes

LANES = 16  # numbers worked on at once; what the machine's vectors cannot hold, LLVM splits
PAD = 16  # entries: a cache line of float32
IN_FLIGHT = 6  # iterations under way at once
LAG = 3  # sweep steps between the starts of two iterations: one row later and two rows behind

XBAR, X, P, Z, QV, QH, WV, WH = range(8)  # fields of the forward state; W: the weight of each direction
ABAR, GX, GXBAR, GP, GQV, GQH, GWV, GWH, GZ = range(9)  # and of the backward state: G means derivative of the loss
STOPPED_V, _, STOPPED_H, _ = range(4)  # masks of a group, each followed by that of the lower bound


# --- a group of LANES numbers as one value of compiled code (plain loops are not vectorised with the masks as bits)


class Group(numba.types.Type):
    """LANES floating-point numbers in vector registers."""

    def __init__(self, dtype):
        self.dtype = dtype
        super().__init__(f"Group({dtype})")


@register_model(Group)
class _GroupModel(models.PrimitiveModel):
    def __init__(self, manager, group):
        super().__init__(manager, group, ir.VectorType(manager.lookup(group.dtype).get_value_type(), LANES))


def _pointer(context, builder, array_type, array, indices):
    """Pointer to the group that starts at array[indices]."""
    array = context.make_array(array_type)(context, builder, array)
    start = cgutils.get_item_pointer(context, builder, array_type, array, indices, wraparound=False)
    return builder.bitcast(start, context.get_value_type(Group(array_type.dtype)).as_pointer())


@intrinsic
def _load(typing, array, i, field, j):
    """The group array[i, field, j : j + LANES]."""

    def generate(context, builder, signature, args):
        return builder.load(_pointer(context, builder, array, args[0], args[1:]), align=array.dtype.bitwidth // 8)

    return Group(array.dtype)(array, *[numba.intp] * 3), generate


@intrinsic
def _store(typing, array, i, field, j, group):
    """Assign group to array[i, field, j : j + LANES]."""

    def generate(context, builder, signature, args):
        pointer = _pointer(context, builder, array, args[0], args[1:4])
        builder.store(args[4], pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return numba.void(array, *[numba.intp] * 3, group), generate


@intrinsic
def _fill(typing, number):
    """A group of equal numbers."""

    def generate(context, builder, signature, args):
        empty = ir.Constant(context.get_value_type(signature.return_type), ir.Undefined)
        first = builder.insert_element(empty, args[0], ir.IntType(32)(0))
        return builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))

    return Group(number)(number), generate


def _arithmetic(instruction):
    @intrinsic
    def compute(typing, a, b):
        def generate(context, builder, signature, args):
            return getattr(builder, instruction)(*args, flags=("contract", "nsz"))

        return a(a, b), generate

    return compute


_add, _subtract, _multiply = map(_arithmetic, ("fadd", "fsub", "fmul"))


@overload(operator.add)
def _group_add(a, b):
    if isinstance(a, Group):
        return lambda a, b: _add(a, b)


@overload(operator.sub)
def _group_subtract(a, b):
    if isinstance(a, Group):
        return lambda a, b: _subtract(a, b)


@overload(operator.mul)
def _group_multiply(a, b):
    if isinstance(a, Group):
        return lambda a, b: _multiply(a, b)


@intrinsic
def _negative(typing, a):
    return a(a), lambda context, builder, signature, args: builder.fneg(args[0])


@intrinsic
def _exceeds(typing, a, b):
    """a > b, one bit a lane."""

    def generate(context, builder, signature, args):
        return builder.bitcast(builder.fcmp_ordered(">", *args), ir.IntType(LANES))

    return numba.uint16(a, b), generate


@intrinsic
def _choose(typing, bits, a, b):
    """a in the lanes whose bit is set, else b."""

    def generate(context, builder, signature, args):
        return builder.select(builder.bitcast(args[0], ir.VectorType(ir.IntType(1), LANES)), *args[1:])

    return a(numba.uint16, a, b), generate


# --- rows and sweeps


def _compiled(function):
    """Compile without the global lock, keeping the machine code on disk where a cache folder can be written."""
    options = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:
        warnings.warn("no folder to keep compiled code in (set NUMBA_CACHE_DIR): compiling anew", stacklevel=2)
        return numba.njit(**options)(function)


@_compiled
def _project(u, w, codes, k, i, group, stopped):
    """clip_Λ(u); the masks of the group go to codes[k, i, group, stopped : stopped + 2]."""
    low = _negative(w)
    above, under = _exceeds(u, w), _exceeds(low, u)
    if codes is not None:
        codes[k, i, group, stopped] = above | under
        codes[k, i, group, stopped + 1] = under
    return _choose(above, w, _choose(under, low, u))


@_compiled
def _dual(s, codes, k, i, below, sigma, vertical, horizontal):
    """q ← clip_Λ(q + σ∇x̄) in row i, in one direction or both."""
    for group in range((s.shape[2] - 2 * PAD) // LANES):
        j = PAD + group * LANES
        x_bar = _load(s, i, XBAR, j)
        if vertical:
            u = _load(s, i, QV, j) + sigma * (_load(s, below, XBAR, j) - x_bar)
            _store(s, i, QV, j, _project(u, _load(s, i, WV, j), codes, k, i, group, STOPPED_V))
        if horizontal:
            u = _load(s, i, QH, j) + sigma * (_load(s, i, XBAR, j + 1) - x_bar)
            _store(s, i, QH, j, _project(u, _load(s, i, WH, j), codes, k, i, group, STOPPED_H))


@_compiled
def _primal(s, i, above, tau, sigma, shrink):
    """p ← (p + σ(x̄ − z))·shrink, shrink = 1/(1 + σ);  x ← x − τ(p + ∇ᵀq);  x̄ ← 2x − x_old  in row i."""
    for group in range((s.shape[2] - 2 * PAD) // LANES):
        j = PAD + group * LANES
        p = (_load(s, i, P, j) + sigma * (_load(s, i, XBAR, j) - _load(s, i, Z, j))) * shrink
        vertical = _load(s, above, QV, j) - _load(s, i, QV, j)
        horizontal = _load(s, i, QH, j - 1) - _load(s, i, QH, j)
        x_old = _load(s, i, X, j)
        x = x_old - tau * (p + (vertical + horizontal))
        _store(s, i, P, j, p)
        _store(s, i, X, j, x)
        _store(s, i, XBAR, j, x + (x - x_old))


@_compiled
def _forward(s, codes, iterations, last, tau, sigma, shrink, periodic):
    """All iterations of Algorithm 1 on the state s; `codes`: the masks, or None for none; `last`: the last column."""
    rows = s.shape[0]
    tau, sigma, shrink = _fill(tau), _fill(sigma), _fill(shrink)
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
                        _dual(s, codes, k, above, i if periodic or i > 0 else above, sigma, True, False)
                    s[i, XBAR, last + 1] = s[i, XBAR, PAD if periodic else last]
                    _dual(s, codes, k, i, below, sigma, t < rows - 1, True)
                    s[i, QH, PAD - 1] = s[i, QH, last]
                    _primal(s, i, above, tau, sigma, shrink)


@_compiled
def _transposed_project(s, i, weight, j, g, zero, codes, k, group, stopped):
    """Where the projection stopped q the slope g goes to ±Λ, elsewhere to q; returns the latter."""
    to_weight = _choose(codes[k, i, group, stopped], g, zero)
    signed = _choose(codes[k, i, group, stopped + 1], _negative(to_weight), to_weight)
    _store(s, i, weight, j, _load(s, i, weight, j) + signed)
    return _choose(codes[k, i, group, stopped], zero, g)


@_compiled
def _transposed_dual(s, codes, k, i, below, tau, zero, vertical, horizontal):
    """Transpose of x ← x − τ∇ᵀq, then of the projection, in row i."""
    for group in range((s.shape[2] - 2 * PAD) // LANES):
        j = PAD + group * LANES
        a_bar = _load(s, i, ABAR, j)
        if vertical:
            g = _load(s, i, GQV, j) - tau * (_load(s, below, ABAR, j) - a_bar)
            _store(s, i, GQV, j, _transposed_project(s, i, GWV, j, g, zero, codes, k, group, STOPPED_V))
        if horizontal:
            g = _load(s, i, GQH, j) - tau * (_load(s, i, ABAR, j + 1) - a_bar)
            _store(s, i, GQH, j, _transposed_project(s, i, GWH, j, g, zero, codes, k, group, STOPPED_H))


@_compiled
def _transposed_primal(s, i, above, tau, sigma, shrink, with_z):
    """Transpose of the steps of p and x̄ in row i; a = g_x + 2 g_x̄ is all that flows into the new x."""
    for group in range((s.shape[2] - 2 * PAD) // LANES):
        j = PAD + group * LANES
        g_p = (_load(s, i, GP, j) - tau * _load(s, i, ABAR, j)) * shrink
        vertical = _load(s, above, GQV, j) - _load(s, i, GQV, j)
        horizontal = _load(s, i, GQH, j - 1) - _load(s, i, GQH, j)
        g_x = _load(s, i, GX, j) + _load(s, i, GXBAR, j)
        g_x_bar = sigma * (g_p + (vertical + horizontal))
        _store(s, i, GP, j, g_p)
        if with_z:
            _store(s, i, GZ, j, _load(s, i, GZ, j) - sigma * g_p)
        _store(s, i, GX, j, g_x)
        _store(s, i, GXBAR, j, g_x_bar)
        _store(s, i, ABAR, j, g_x + (g_x_bar + g_x_bar))


@_compiled
def _backward(s, codes, last, tau, sigma, shrink, periodic, with_z):
    """All iterations of the transposed recurrence on the state s, in which ABAR = GX = ∂loss/∂x_T and all else is 0."""
    rows, iterations = s.shape[0], codes.shape[0]
    zero, tau, sigma, shrink = _fill(tau - tau), _fill(tau), _fill(sigma), _fill(shrink)
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
                        neighbour = i if periodic or i > 0 else above
                        _transposed_dual(s, codes, k, above, neighbour, tau, zero, True, False)
                    s[i, ABAR, last + 1] = s[i, ABAR, PAD if periodic else last]
                    _transposed_dual(s, codes, k, i, below, tau, zero, t < rows - 1, True)
                    s[i, GQH, PAD - 1] = s[i, GQH, last]
                    _transposed_primal(s, i, above, tau, sigma, shrink, with_z)


def _n_groups(columns):
    return -(-columns // LANES)


def _state(shape, fields, dtype):
    """Zeros (rows, fields, whole groups + 2 PAD) on a cache line; so is each group."""
    rows, width = shape[0], _n_groups(shape[1]) * LANES + 2 * PAD
    size = rows * fields * width
    memory = np.zeros(size + PAD, dtype)
    start = (-memory.ctypes.data % (PAD * 4)) // memory.itemsize
    return memory[start : start + size].reshape(rows, fields, width)


@functools.cache
def _steps(lipschitz, dtype):
    tau, sigma = step_sizes(lipschitz)
    return dtype.type(tau), dtype.type(sigma), dtype.type(1 / (1 + sigma))


def forward(z, weight, iterations, boundary, dual_start, lipschitz, keep_codes=False):
    """One image: z (rows, columns), weight (1 or 2, rows, columns), same dtype. Returns x_T, q_T (2, …) and codes."""
    s = _state(z.shape, 8, z.dtype)
    last = PAD + z.shape[1] - 1
    inner = s[:, :, PAD : last + 1]
    inner[:, [XBAR, X, Z]] = z[:, None]
    inner[:, P] = z if dual_start == "image" else 0
    inner[:, WV], inner[:, WH] = weight[0], weight[-1]
    codes = np.empty((iterations, len(z), _n_groups(z.shape[1]), 4), np.uint16) if keep_codes else None
    _forward(s, codes, iterations, last, *_steps(lipschitz, z.dtype), boundary == "periodic")
    return inner[:, X].copy(), inner[:, QV : QH + 1].transpose(1, 0, 2).copy(), codes


def backward(grad_x, codes, boundary, dual_start, lipschitz, with_z=True):
    """∂loss/∂z (rows, columns), or None, and ∂loss/∂Λ (2, …) from ∂loss/∂x_T and the codes of `forward`."""
    s = _state(grad_x.shape, 9, grad_x.dtype)
    last = PAD + grad_x.shape[1] - 1
    inner = s[:, :, PAD : last + 1]
    inner[:, [ABAR, GX]] = grad_x[:, None]
    _backward(s, codes, last, *_steps(lipschitz, grad_x.dtype), boundary == "periodic", with_z)
    grad_weight = inner[:, GWV : GWH + 1].transpose(1, 0, 2).copy()
    if not with_z:
        return None, grad_weight
    grad_z = inner[:, GZ] + inner[:, GX] + inner[:, GXBAR]  # z enters every step, and as x₀ and x̄₀
    if dual_start == "image":
        grad_z += inner[:, GP]
    return grad_z, grad_weight
