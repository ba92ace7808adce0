"""Compiled code on groups of LANES numbers: what the solvers on the CPU, `…_numba`, are written in.

A group is one value of numba's compiled code, held in vector registers: numba would not vectorise plain loops that also
collect masks as bits. Groups are aligned with the machine's vectors; unaligned, they take twice as long.
"""

import hashlib
import operator
import warnings
from pathlib import Path

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

LANES = 16  # numbers worked on at once; what the machine's vectors cannot hold, LLVM splits
PAD = LANES  # entries beside a row: a whole group, and no less than a cache line of float32

_MODULES = sorted(path for path in Path(__file__).parent.glob("*.py") if "lanes import" in path.read_text("utf-8"))
_CONTENT = hashlib.sha256(b"".join(path.read_bytes() for path in [*_MODULES, Path(__file__)])).hexdigest()


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
def load(typing, array, i, field, j):
    """The group array[i, field, j : j + LANES]."""

    def generate(context, builder, signature, args):
        return builder.load(_pointer(context, builder, array, args[0], args[1:]), align=array.dtype.bitwidth // 8)

    return Group(array.dtype)(array, *[numba.intp] * 3), generate


@intrinsic
def store(typing, array, i, field, j, group):
    """Assign group to array[i, field, j : j + LANES]."""

    def generate(context, builder, signature, args):
        pointer = _pointer(context, builder, array, args[0], args[1:4])
        builder.store(args[4], pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return numba.void(array, *[numba.intp] * 3, group), generate


@intrinsic
def fill(typing, number):
    """A group of equal numbers."""

    def generate(context, builder, signature, args):
        empty = ir.Constant(context.get_value_type(signature.return_type), ir.Undefined)
        first = builder.insert_element(empty, args[0], ir.IntType(32)(0))
        return builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))

    return Group(number)(number), generate


def arithmetic(instruction):
    """LLVM's fadd, fsub, fmul or fdiv on two groups of numbers, which may be fused (a · b + c) as in C."""

    @intrinsic
    def compute(typing, a, b):
        def generate(context, builder, signature, args):
            return getattr(builder, instruction)(*args, flags=("contract", "nsz"))

        return a(a, b), generate

    return compute


_add, _subtract, _multiply = map(arithmetic, ("fadd", "fsub", "fmul"))


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


def llvm(name):
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
def absolute(typing, a):
    """|a|."""
    return llvm("fabs")(typing, a)


@intrinsic
def with_sign(typing, a, b):
    """|a| with the sign of b."""
    return llvm("copysign")(typing, a, b)


@intrinsic
def smaller(typing, a, b):
    """min(a, b)."""

    def generate(context, builder, signature, args):
        return builder.select(builder.fcmp_ordered("<", *args), *args)

    return a(a, b), generate


@intrinsic
def shifted(typing, before, a):
    """a moved one lane to the right, with the last lane of `before` in front."""

    def generate(context, builder, signature, args):
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [*range(LANES - 1, 2 * LANES - 1)])
        return builder.shuffle_vector(*args, lanes)

    return a(before, a), generate


@intrinsic
def negative(typing, a):
    """Sign bits, one a lane."""

    def generate(context, builder, signature, args):
        integers = ir.VectorType(ir.IntType(a.dtype.bitwidth), LANES)
        negative = builder.icmp_signed("<", builder.bitcast(args[0], integers), ir.Constant(integers, [0] * LANES))
        return builder.bitcast(negative, ir.IntType(LANES))

    return numba.uint16(a), generate


@intrinsic
def exceeds(typing, a, b):
    """a > b, one bit a lane."""

    def generate(context, builder, signature, args):
        return builder.bitcast(builder.fcmp_ordered(">", *args), ir.IntType(LANES))

    return numba.uint16(a, b), generate


@intrinsic
def choose(typing, bits, a, b):
    """a in the lanes whose bit is set, else b."""

    def generate(context, builder, signature, args):
        return builder.select(builder.bitcast(args[0], ir.VectorType(ir.IntType(1), LANES)), *args[1:])

    return a(numba.uint16, a, b), generate


# --- compilation


def compiled(function):
    """Compile without the global lock, keeping the machine code on disk where a cache folder can be written.

    numba looks whether the file of a function has changed, not whether those of the functions it calls have: machine
    code of an older version would be used. So the names of its files hold the content of all modules that are compiled;
    two versions of the package do not meet there.
    """
    options = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}
    try:
        dispatcher = numba.njit(cache=True, **options)(function)
    except RuntimeError:
        warnings.warn("no folder to keep compiled code in (set NUMBA_CACHE_DIR): compiling anew", stacklevel=2)
        return numba.njit(**options)(function)
    if not numba.config.DISABLE_JIT:
        cache = dispatcher._cache
        name = f"{cache._impl.filename_base}-{_CONTENT[:16]}"
        cache._cache_file = type(cache._cache_file)(cache.cache_path, name, cache._impl.locator.get_source_stamp())
    return dispatcher


# --- the projection and its transpose, with masks as bits


@compiled
def project(u, w, codes, k, i, group, stopped):
    """clip_Λ(u); the masks of the group go to codes[k, i, group, stopped : stopped + 2]."""
    size = absolute(u)
    if codes is not None:
        codes[k, i, group, stopped] = exceeds(size, w)
        codes[k, i, group, stopped + 1] = negative(u)
    return with_sign(smaller(size, w), u)


@compiled
def transposed_project(g, g_w, zero, codes, k, i, group, stopped):
    """g_q and g_Λ: where the projection stopped q its slope g goes to ±Λ, elsewhere to q."""
    to_weight = choose(codes[k, i, group, stopped], g, zero)
    return g - to_weight, choose(codes[k, i, group, stopped + 1], g_w - to_weight, g_w + to_weight)


# --- memory


def n_groups(columns):
    """How many groups hold so many numbers."""
    return -(-columns // LANES)


def zeros(shape, fields, dtype):
    """Zeros (rows, fields, whole groups + PAD) on a cache line; so is each group."""
    rows, width = shape[0], n_groups(shape[1]) * LANES + PAD
    size = rows * fields * width
    memory = np.zeros(size + PAD, dtype)
    start = (-memory.ctypes.data % (PAD * 4)) // memory.itemsize
    return memory[start : start + size].reshape(rows, fields, width)
