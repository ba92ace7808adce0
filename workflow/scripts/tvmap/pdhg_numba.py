"""PDHG and its exact gradient on a CPU: the iterations of `pdhg` with the anisotropic norm, compiled by numba.

Why a second solver: an iteration of `pdhg` goes over whole images a dozen times, this one once, and autograd would
store every iterate, this one stores two bits an entry of q.

Layout. All variables of a row lie next to one another: state[row, field, column]. A row of a field:

    |<----------- columns, in groups of LANES ----------->|<----- PAD ----->|
    | 0 1 … 15 | 16 … 31 | …               … last g . . . | . . . . . . . . |  g: ghost column, x̄ of the neighbour

Groups are aligned with the machine's vectors (unaligned, it takes twice as long), and all work is done on whole groups;
what lies right of the ghost column is finite and never reaches a pixel.

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
IN_FLIGHT = 16  # iterations under way at once
SIDE_BY_SIDE = 2  # of which so many take their steps in turns
BLOCK = 64  # steps taken in turns
LAG = 3  # sweep steps between the starts of two iterations: one row later and two rows behind

# Fields of the forward state, then the weights of the directions, one for both or two; Z holds gain·z, see `_row`.
XBAR, X, P, Z, QV, QH, W = range(7)
# Fields of the backward state (G: derivative of the loss, SLOPE: that in x̄, by σ), then those in the weights and in z.
ABAR, SLOPE, GP, GQV, GQH, GW = range(6)
STOPPED_V, _, STOPPED_H, _ = range(4)  # masks of a group, each followed by that of the sign


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


def _llvm(name):
    """The LLVM function of groups of this name."""

    def typed(typing, *groups):
        def generate(context, builder, signature, args):
            group = context.get_value_type(signature.return_type)
            of_groups = ir.FunctionType(group, [group] * len(args))
            full_name = f"llvm.{name}.v{LANES}f{signature.return_type.dtype.bitwidth}"
            return builder.call(cgutils.get_or_insert_function(builder.module, of_groups, full_name), args)

        return groups[0](*groups), generate

    return typed


@intrinsic
def _absolute(typing, a):
    """|a|."""
    return _llvm("fabs")(typing, a)


@intrinsic
def _with_sign(typing, a, b):
    """|a| with the sign of b."""
    return _llvm("copysign")(typing, a, b)


@intrinsic
def _smaller(typing, a, b):
    """min(a, b)."""

    def generate(context, builder, signature, args):
        return builder.select(builder.fcmp_ordered("<", *args), *args)

    return a(a, b), generate


@intrinsic
def _shifted(typing, before, a):
    """a moved one lane to the right, with the last lane of `before` in front."""

    def generate(context, builder, signature, args):
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [*range(LANES - 1, 2 * LANES - 1)])
        return builder.shuffle_vector(*args, lanes)

    return a(before, a), generate


@intrinsic
def _negative(typing, a):
    """Sign bits, one a lane."""

    def generate(context, builder, signature, args):
        integers = ir.VectorType(ir.IntType(a.dtype.bitwidth), LANES)
        negative = builder.icmp_signed("<", builder.bitcast(args[0], integers), ir.Constant(integers, [0] * LANES))
        return builder.bitcast(negative, ir.IntType(LANES))

    return numba.uint16(a), generate


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
    size = _absolute(u)
    if codes is not None:
        codes[k, i, group, stopped] = _exceeds(size, w)
        codes[k, i, group, stopped + 1] = _negative(u)
    return _with_sign(_smaller(size, w), u)


@_compiled
def _vertical(s, codes, k, i, below, sigma):
    """q_v ← clip_Λ(q_v + σ∇_v x̄)  in row i."""
    for group in range(s.shape[2] // LANES - 1):
        j = group * LANES
        u = _load(s, i, QV, j) + sigma * (_load(s, below, XBAR, j) - _load(s, i, XBAR, j))
        _store(s, i, QV, j, _project(u, _load(s, i, W, j), codes, k, i, group, STOPPED_V))


@_compiled
def _first_left(s, i, last, wh, sigma):
    """q_h of the last column after its update, the left neighbour of the first one."""
    u = s[i, QH, last] + sigma * (s[i, XBAR, 0] - s[i, XBAR, last])
    return max(-s[i, wh, last], min(u, s[i, wh, last]))


@_compiled
def _row(s, codes, k, i, above, below, left, wh, tau, sigma, shrink, gain, two, vertical):
    """q ← clip_Λ(q + σ∇x̄);  p ← (p + σ(x̄ − z))·shrink;  x ← x − τ(p + ∇ᵀq);  x̄ ← 2x − x_old  in row i.

    shrink = 1/(1 + σ), gain = σ·shrink; q_v only if `vertical`; `left`: q_h left of the first column in the last lane.
    """
    for group in range(s.shape[2] // LANES - 1):
        j = group * LANES
        x_bar, q_v, w = _load(s, i, XBAR, j), _load(s, i, QV, j), _load(s, i, W, j)
        if vertical:
            u = q_v + sigma * (_load(s, below, XBAR, j) - x_bar)
            q_v = _project(u, w, codes, k, i, group, STOPPED_V)
            _store(s, i, QV, j, q_v)
        if wh != W:
            w = _load(s, i, wh, j)
        u = _load(s, i, QH, j) + sigma * (_load(s, i, XBAR, j + 1) - x_bar)
        q_h = _project(u, w, codes, k, i, group, STOPPED_H)
        p = shrink * _load(s, i, P, j) + (gain * x_bar - _load(s, i, Z, j))
        x_old = _load(s, i, X, j)
        x = x_old - tau * (p + ((_load(s, above, QV, j) - q_v) + (_shifted(left, q_h) - q_h)))
        _store(s, i, QH, j, q_h)
        _store(s, i, P, j, p)
        _store(s, i, X, j, x)
        _store(s, i, XBAR, j, two * x - x_old)
        left = q_h


@_compiled
def _forward(s, codes, iterations, last, tau, sigma, shrink, two, periodic):
    """All iterations of Algorithm 1 on the state s; `codes`: the masks, or None for none; `last`: the last column."""
    rows, wh = s.shape[0], s.shape[1] - 1
    taus, sigmas, shrinks, gains, twos = _fill(tau), _fill(sigma), _fill(shrink), _fill(sigma * shrink), _fill(two)
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
                            _vertical(s, codes, k, above, i if periodic or i > 0 else above, sigmas)
                        s[i, XBAR, last + 1] = s[i, XBAR, 0 if periodic else last]
                        left = _fill(_first_left(s, i, last, wh, sigma) if periodic else tau - tau)
                        vertical = t < rows - 1
                        _row(s, codes, k, i, above, below, left, wh, taus, sigmas, shrinks, gains, twos, vertical)


@_compiled
def _transposed_project(g, g_w, zero, codes, k, i, group, stopped):
    """g_q and g_Λ: where the projection stopped q its slope g goes to ±Λ, elsewhere to q."""
    to_weight = _choose(codes[k, i, group, stopped], g, zero)
    return g - to_weight, _choose(codes[k, i, group, stopped + 1], g_w - to_weight, g_w + to_weight)


@_compiled
def _transposed_vertical(s, codes, k, i, below, tau, zero):
    """Transpose of x ← x − τ∇_vᵀq, then of the projection, in row i."""
    for group in range(s.shape[2] // LANES - 1):
        j = group * LANES
        g = _load(s, i, GQV, j) - tau * (_load(s, below, ABAR, j) - _load(s, i, ABAR, j))
        g_v, g_w = _transposed_project(g, _load(s, i, GW, j), zero, codes, k, i, group, STOPPED_V)
        _store(s, i, GQV, j, g_v)
        _store(s, i, GW, j, g_w)


@_compiled
def _transposed_first_left(s, codes, k, i, last, tau):
    """g_q_h of the last column after its update, the left neighbour of the first one."""
    g = s[i, GQH, last] - tau * (s[i, ABAR, 0] - s[i, ABAR, last])
    return g - g if codes[k, i, last // LANES, STOPPED_H] >> (last % LANES) & 1 else g


@_compiled
def _transposed_row(s, codes, k, i, above, below, left, gwh, tau, sigma, shrink, two_sigma, zero, vertical, with_z):
    """Transpose of the steps of x, q, p and x̄ in row i; a = g_x + 2 g_x̄ is all that flows into the new x."""
    for group in range(s.shape[2] // LANES - 1):
        j = group * LANES
        a, g_v, g_w = _load(s, i, ABAR, j), _load(s, i, GQV, j), _load(s, i, GW, j)
        if vertical:
            g = g_v - tau * (_load(s, below, ABAR, j) - a)
            g_v, g_w = _transposed_project(g, g_w, zero, codes, k, i, group, STOPPED_V)
            _store(s, i, GQV, j, g_v)
        if gwh != GW:
            _store(s, i, GW, j, g_w)
            g_w = _load(s, i, gwh, j)
        g = _load(s, i, GQH, j) - tau * (_load(s, i, ABAR, j + 1) - a)
        g_h, g_w = _transposed_project(g, g_w, zero, codes, k, i, group, STOPPED_H)
        _store(s, i, gwh, j, g_w)
        g_p = (_load(s, i, GP, j) - tau * a) * shrink
        g_x = a - sigma * _load(s, i, SLOPE, j)  # g_x + g_x̄
        slope = g_p + ((_load(s, above, GQV, j) - g_v) + (_shifted(left, g_h) - g_h))
        _store(s, i, GQH, j, g_h)
        _store(s, i, GP, j, g_p)
        _store(s, i, SLOPE, j, slope)
        _store(s, i, ABAR, j, g_x + two_sigma * slope)
        if with_z:
            _store(s, i, gwh + 1, j, _load(s, i, gwh + 1, j) - sigma * g_p)
        left = g_h


@_compiled
def _backward(s, codes, last, gwh, tau, sigma, shrink, two, periodic, with_z):
    """All iterations of the transposed recurrence on the state s, in which ABAR = ∂loss/∂x_T and all else is 0."""
    rows, iterations = s.shape[0], codes.shape[0]
    zeros, taus, sigmas, shrinks, twos = _fill(tau - tau), _fill(tau), _fill(sigma), _fill(shrink), _fill(two * sigma)
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
                            _transposed_vertical(s, codes, k, above, next_row, taus, zeros)
                        s[i, ABAR, last + 1] = s[i, ABAR, 0 if periodic else last]
                        left = _fill(_transposed_first_left(s, codes, k, i, last, tau) if periodic else tau - tau)
                        steps = taus, sigmas, shrinks, twos, zeros
                        _transposed_row(s, codes, k, i, above, below, left, gwh, *steps, t < rows - 1, with_z)


def _n_groups(columns):
    return -(-columns // LANES)


def _state(shape, fields, dtype):
    """Zeros (rows, fields, whole groups + PAD) on a cache line; so is each group."""
    rows, width = shape[0], _n_groups(shape[1]) * LANES + PAD
    size = rows * fields * width
    memory = np.zeros(size + PAD, dtype)
    start = (-memory.ctypes.data % (PAD * 4)) // memory.itemsize
    return memory[start : start + size].reshape(rows, fields, width)


def _steps(lipschitz, log_ratio, dtype):
    """τ, σ, shrink and 2, which a compiler that knew it would add instead of fusing multiplication and subtraction."""
    tau, sigma = step_sizes(lipschitz, log_ratio)
    return tuple(map(dtype.type, (tau, sigma, 1 / (1 + sigma), 2)))


def forward(z, weight, iterations, boundary, dual_start, lipschitz, keep_codes=False, log_ratio=0.0):
    """One image: z (rows, columns), weight (1 or 2, rows, columns), same dtype. Returns x_T, q_T (2, …) and codes."""
    steps = _steps(lipschitz, log_ratio, z.dtype)
    _, sigma, shrink, _ = steps
    s, last = _state(z.shape, W + len(weight), z.dtype), z.shape[1] - 1
    inner = s[:, :, : last + 1]
    inner[:, [XBAR, X]] = z[:, None]
    inner[:, P] = z if dual_start == "image" else 0
    inner[:, Z] = sigma * shrink * z
    inner[:, W:] = weight.transpose(1, 0, 2)
    codes = np.empty((iterations, len(z), _n_groups(z.shape[1]), 4), np.uint16) if keep_codes else None
    _forward(s, codes, iterations, last, *steps, boundary == "periodic")
    return inner[:, X].copy(), inner[:, QV : QH + 1].transpose(1, 0, 2).copy(), codes


def backward(grad_x, codes, boundary, dual_start, lipschitz, maps=1, with_z=True, log_ratio=0.0):
    """∂loss/∂z (rows, columns), or None, and ∂loss/∂Λ (maps, …) from ∂loss/∂x_T and the codes of `forward`."""
    steps, gwh = _steps(lipschitz, log_ratio, grad_x.dtype), GW + maps - 1
    s, last = _state(grad_x.shape, gwh + 1 + with_z, grad_x.dtype), grad_x.shape[1] - 1
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


@_compiled
def _dual_row(q, d_q, x_bar, next_x_bar, d_x_bar, d_next_x_bar, w, sigma):
    """q ← clip_Λ(q + σ(next x̄ − x̄)) in a row of one direction; dσ = −σ."""
    for j in range(len(q)):
        difference = next_x_bar[j] - x_bar[j]
        u = q[j] + sigma * difference
        d_u = d_q[j] + sigma * (d_next_x_bar[j] - d_x_bar[j] - difference)
        q[j] = max(-w[j], min(u, w[j]))
        d_q[j] = d_u if abs(u) <= w[j] else d_u - d_u


@_compiled
def _primal_row(s, p, x, x_bar, z, i, tau, sigma, shrink):
    """p ← (p + σ(x̄ − z))·shrink;  x ← x − τ(p + s);  x̄ ← 2x − x_old  in row i; s: ∇ᵀq in it; dσ = −σ, dτ = τ."""
    for j in range(len(z)):
        residual = x_bar[0, i, j] - z[j]
        p[0, i, j] = (p[0, i, j] + sigma * residual) * shrink
        p[1, i, j] = (p[1, i, j] + sigma * (x_bar[1, i, j] - residual + p[0, i, j])) * shrink
        step = tau * (p[0, i, j] + s[0, j])
        d_step = tau * (p[1, i, j] + s[1, j]) + step
        x[0, i, j] -= step
        x[1, i, j] -= d_step
        x_bar[0, i, j] = x[0, i, j] - step
        x_bar[1, i, j] = x[1, i, j] - d_step


@_compiled
def _iterate(x, x_bar, p, q_v, q_h, s, z, weight, iterations, tau, sigma, shrink, periodic):
    """All iterations; x̄ has a ghost row and column at its ends, q_v a ghost row and q_h a ghost column before them."""
    rows, columns = z.shape
    for _ in range(iterations):
        for a in range(2):
            x_bar[a, :rows, columns] = x_bar[a, :rows, 0 if periodic else columns - 1]
            x_bar[a, rows, :columns] = x_bar[a, 0 if periodic else rows - 1, :columns]
        v, d_v = x_bar[0, :, :columns], x_bar[1, :, :columns]
        for i in range(rows):
            _dual_row(q_v[0, i + 1], q_v[1, i + 1], v[i], v[i + 1], d_v[i], d_v[i + 1], weight[0, i], sigma)
            h, d_h = x_bar[0, i], x_bar[1, i]
            _dual_row(q_h[0, i, 1:], q_h[1, i, 1:], h[:columns], h[1:], d_h[:columns], d_h[1:], weight[-1, i], sigma)
        if periodic:
            q_v[:, 0], q_h[:, :, 0] = q_v[:, rows], q_h[:, :, columns]
        for i in range(rows):
            for a in range(2):
                for j in range(columns):
                    s[a, j] = q_v[a, i, j] - q_v[a, i + 1, j] + (q_h[a, i, j] - q_h[a, i, j + 1])
            _primal_row(s, p, x, x_bar, z[i], i, tau, sigma, shrink)


def ratio_derivative(z, weight, iterations, boundary, dual_start, lipschitz, log_ratio):
    """∂x_T/∂ρ (rows, columns) of one image; arguments as those of `forward`."""
    *steps, _ = _steps(lipschitz, log_ratio, z.dtype)
    rows, columns = z.shape
    shapes = (rows, columns), (rows + 1, columns + 1), (rows, columns), (rows + 1, columns), (rows, columns + 1)
    x, x_bar, p, q_v, q_h = (np.zeros((2, *shape), z.dtype) for shape in shapes)
    x[0] = x_bar[0, :-1, :-1] = z
    if dual_start == "image":
        p[0] = z
    s, weight = np.empty((2, columns), z.dtype), np.ascontiguousarray(weight)  # one layout, compiled once
    _iterate(x, x_bar, p, q_v, q_h, s, z, weight, iterations, *steps, boundary == "periodic")
    return x[1]
