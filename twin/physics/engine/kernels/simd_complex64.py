"""Sixteen complex numbers as one value: the SIMD lanes in which sixteen waves travel side by side.

LLVM's loop vectoriser gives up on FFT butterflies, because it cannot prove that their many input and output streams do not overlap.
A value type that is itself a pair of LLVM vectors needs no such proof. On a machine without AVX-512 LLVM splits each vector by itself.

A *point* is 16 complex numbers in memory: 16 real parts, then 16 imaginary parts, 32 float32, aligned to 64 bytes. Indices count float32.
The functions below work inside numba kernels only; they check no bounds.
"""

import operator

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.imputils import impl_ret_borrowed, lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

LANES = 16
"""Waves that travel together."""
POINT = 2 * LANES
"""float32 that one point takes in memory."""
ALIGNMENT = 4 * LANES
"""Alignment of every point, bytes."""

_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_PAIR = ir.LiteralStructType([_VECTOR, _VECTOR])
_INT = ir.IntType(32)
_FLAGS = ("contract", "nsz")


class Lanes(types.Type):
    """The numba type of sixteen complex64."""

    def __init__(self) -> None:
        super().__init__(name=f"Lanes{LANES}")


lanes = Lanes()


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    """Two vectors of float32, real and imaginary, held in registers."""

    def __init__(self, dmm, fe_type) -> None:
        super().__init__(dmm, fe_type, _PAIR)


def aligned(size: int) -> np.ndarray:
    """Return a flat float32 array of ``size`` zeros that begins at a multiple of 64 bytes."""
    raw = np.zeros(size + LANES, np.float32)
    start = -raw.ctypes.data % ALIGNMENT // 4
    return raw[start : start + size]


@intrinsic
def read_only(typingctx, array):
    """Return the array as one that cannot be written, so that a function that only reads is compiled for one kind of array."""

    def codegen(context, builder, sig, args):
        return impl_ret_borrowed(context, builder, sig.return_type, args[0])

    return array.copy(readonly=True)(array), codegen


# ---- what the code generators share: plain functions of an LLVM builder --------------------------------------------------------------


def _split(builder, pair):
    return builder.extract_value(pair, 0), builder.extract_value(pair, 1)


def _join(builder, real, imag):
    pair = builder.insert_value(ir.Constant(_PAIR, ir.Undefined), real, 0)
    return builder.insert_value(pair, imag, 1)


def _splat(builder, scalar):
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), scalar, ir.Constant(_INT, 0))
    return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), ir.Constant(ir.VectorType(_INT, LANES), [0] * LANES))


def _times(builder, factor, pair):
    """Multiply lanes by one complex number, given as LLVM struct {float, float}."""
    c, d = (_splat(builder, part) for part in _split(builder, factor))
    x, y = _split(builder, pair)
    real = builder.fsub(builder.fmul(c, x, flags=_FLAGS), builder.fmul(d, y, flags=_FLAGS), flags=_FLAGS)
    imag = builder.fadd(builder.fmul(c, y, flags=_FLAGS), builder.fmul(d, x, flags=_FLAGS), flags=_FLAGS)
    return _join(builder, real, imag)


def _data(context, builder, array_type, array):
    return context.make_array(array_type)(context, builder, array).data


def _address(builder, data, index, half):
    pointer = builder.gep(data, [builder.add(index, ir.Constant(index.type, half * LANES))])
    return builder.bitcast(pointer, _VECTOR.as_pointer())


def _read(builder, data, index):
    return _join(builder, *(builder.load(_address(builder, data, index, half), align=ALIGNMENT) for half in (0, 1)))


def _write(builder, data, index, pair):
    for half, part in enumerate(_split(builder, pair)):
        builder.store(part, _address(builder, data, index, half), align=ALIGNMENT)


def _element(builder, data, index):
    return builder.load(builder.gep(data, [index]))


def _integers(context, builder, sig, args, names):
    return [context.cast(builder, args[i], sig.args[i], types.intp) for i in names]


# ---- arithmetic on one value ---------------------------------------------------------------------------------------------------------


def _elementwise(function, instruction):
    @infer_global(function)
    class _Template(AbstractTemplate):
        def generic(self, args, kws):
            return signature(lanes, lanes, lanes) if args == (lanes, lanes) else None

    @lower_builtin(function, Lanes, Lanes)
    def _lower(context, builder, sig, args):
        a, b = (_split(builder, arg) for arg in args)
        return _join(builder, *(getattr(builder, instruction)(p, q, flags=_FLAGS) for p, q in zip(a, b, strict=True)))


_elementwise(operator.add, "fadd")
_elementwise(operator.sub, "fsub")


@infer_global(operator.mul)
class _Multiply(AbstractTemplate):
    """A real (float32) or complex (complex64) number times lanes."""

    def generic(self, args, kws):
        if len(args) == 2 and args[1] == lanes and isinstance(args[0], types.Float | types.Complex):
            return signature(lanes, types.float32 if isinstance(args[0], types.Float) else types.complex64, lanes)
        return None


@lower_builtin(operator.mul, types.float32, Lanes)
def _real_times(context, builder, sig, args):
    factor = _splat(builder, args[0])
    return _join(builder, *(builder.fmul(factor, part, flags=_FLAGS) for part in _split(builder, args[1])))


@lower_builtin(operator.mul, types.complex64, Lanes)
def _complex_times(context, builder, sig, args):
    return _times(builder, args[0], args[1])


@infer_global(operator.neg)
class _Negate(AbstractTemplate):
    def generic(self, args, kws):
        return signature(lanes, lanes) if args == (lanes,) else None


@lower_builtin(operator.neg, Lanes)
def _negate(context, builder, sig, args):
    return _join(builder, *(builder.fneg(part, flags=_FLAGS) for part in _split(builder, args[0])))


@intrinsic
def turned(typingctx, value):
    """Return -i times the value."""

    def codegen(context, builder, sig, args):
        real, imag = _split(builder, args[0])
        return _join(builder, imag, builder.fneg(real, flags=_FLAGS))

    return lanes(value), codegen


@intrinsic
def swapped(typingctx, value):
    """Return the value with real and imaginary parts exchanged: the forward FFT of a swapped line is the swapped inverse FFT."""

    def codegen(context, builder, sig, args):
        real, imag = _split(builder, args[0])
        return _join(builder, imag, real)

    return lanes(value), codegen


@intrinsic
def squared(typingctx, value):
    """Return the squares of real and imaginary parts, side by side: their sum is the squared modulus."""

    def codegen(context, builder, sig, args):
        return _join(builder, *(builder.fmul(part, part, flags=_FLAGS) for part in _split(builder, args[0])))

    return lanes(value), codegen


@intrinsic
def weighted(typingctx, value, array, index):
    """Return the value, each lane multiplied by a number of its own: the sixteen float32 from ``index`` of a flat array."""

    def codegen(context, builder, sig, args):
        (at,) = _integers(context, builder, sig, args, (2,))
        place = builder.gep(_data(context, builder, sig.args[1], args[1]), [at])
        weights = builder.load(builder.bitcast(place, _VECTOR.as_pointer()), align=4)
        return _join(builder, *(builder.fmul(weights, part, flags=_FLAGS) for part in _split(builder, args[0])))

    return lanes(value, array, index), codegen


@intrinsic
def zeros(typingctx):
    """Return sixteen zeros."""

    def codegen(context, builder, sig, args):
        return ir.Constant(_PAIR, None)

    return lanes(), codegen


# ---- memory: one point, or ``radix`` points at once ----------------------------------------------------------------------------------


@intrinsic
def load(typingctx, array, index):
    """Return the point at ``index`` of a flat float32 array."""

    def codegen(context, builder, sig, args):
        (at,) = _integers(context, builder, sig, args, (1,))
        return _read(builder, _data(context, builder, sig.args[0], args[0]), at)

    return lanes(array, index), codegen


@intrinsic
def store(typingctx, array, index, value):
    """Write a point at ``index`` of a flat float32 array."""

    def codegen(context, builder, sig, args):
        (at,) = _integers(context, builder, sig, args, (1,))
        _write(builder, _data(context, builder, sig.args[0], args[0]), at, args[2])
        return context.get_dummy_value()

    return types.void(array, index, value), codegen


@intrinsic
def add_complex(typingctx, array, index, value):
    """Add the value to sixteen complex64, real and imaginary parts by turns, from ``index`` of a flat float32 array."""
    mixed = ir.VectorType(ir.FloatType(), POINT)

    def codegen(context, builder, sig, args):
        (at,) = _integers(context, builder, sig, args, (1,))
        turns = ir.Constant(ir.VectorType(_INT, POINT), [lane + half * LANES for lane in range(LANES) for half in (0, 1)])
        place = builder.bitcast(builder.gep(_data(context, builder, sig.args[0], args[0]), [at]), mixed.as_pointer())
        new = builder.shuffle_vector(*_split(builder, args[2]), turns)
        builder.store(builder.fadd(builder.load(place, align=4), new, flags=_FLAGS), place, align=4)
        return context.get_dummy_value()

    return types.void(array, index, value), codegen


@intrinsic
def fetch_ahead(typingctx, array, index):
    """Ask for the point at ``index`` of a flat float32 array, which need not exist, to be near when it is read later. It changes no value."""

    def codegen(context, builder, sig, args):
        (at,) = _integers(context, builder, sig, args, (1,))
        data = _data(context, builder, sig.args[0], args[0])
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, _INT, _INT, _INT])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        for half in (0, 1):
            place = builder.bitcast(builder.gep(data, [builder.add(at, ir.Constant(at.type, half * LANES))]), byte)
            builder.call(prefetch, [place, ir.Constant(_INT, 0), ir.Constant(_INT, 2), ir.Constant(_INT, 1)])  # to read; second cache; data
        return context.get_dummy_value()

    return types.void(array, index), codegen


@intrinsic(prefer_literal=True)
def load_points(typingctx, array, index, step, radix):
    """Return a tuple of ``radix`` (a literal) points, the first at ``index``, ``step`` apart."""
    count = radix.literal_value

    def codegen(context, builder, sig, args):
        data = _data(context, builder, sig.args[0], args[0])
        at, step = _integers(context, builder, sig, args, (1, 2))
        points = []
        for _ in range(count):
            points.append(_read(builder, data, at))
            at = builder.add(at, step)
        return context.make_tuple(builder, sig.return_type, points)

    return types.UniTuple(lanes, count)(array, index, step, radix), codegen


@intrinsic
def store_points(typingctx, array, index, step, points):
    """Write a tuple of points, the first at ``index``, ``step`` apart."""

    def codegen(context, builder, sig, args):
        data = _data(context, builder, sig.args[0], args[0])
        at, step = _integers(context, builder, sig, args, (1, 2))
        for j in range(sig.args[3].count):
            _write(builder, data, at, builder.extract_value(args[3], j))
            at = builder.add(at, step)
        return context.get_dummy_value()

    return types.void(array, index, step, points), codegen


@intrinsic(prefer_literal=True)
def gather_points(typingctx, array, base, places, first, step, radix):
    """Return ``radix`` (a literal) points, number j at ``base + places[first + j step]``; ``places`` is int64."""
    count = radix.literal_value

    def codegen(context, builder, sig, args):
        data = _data(context, builder, sig.args[0], args[0])
        table = _data(context, builder, sig.args[2], args[2])
        base, at, step = _integers(context, builder, sig, args, (1, 3, 4))
        points = []
        for _ in range(count):
            points.append(_read(builder, data, builder.add(base, _element(builder, table, at))))
            at = builder.add(at, step)
        return context.make_tuple(builder, sig.return_type, points)

    return types.UniTuple(lanes, count)(array, base, places, first, step, radix), codegen


@intrinsic
def scatter_points(typingctx, array, base, places, first, step, points):
    """Write a tuple of points, number j at ``base + places[first + j step]``; ``places`` is int64."""

    def codegen(context, builder, sig, args):
        data = _data(context, builder, sig.args[0], args[0])
        table = _data(context, builder, sig.args[2], args[2])
        base, at, step = _integers(context, builder, sig, args, (1, 3, 4))
        for j in range(sig.args[5].count):
            _write(builder, data, builder.add(base, _element(builder, table, at)), builder.extract_value(args[5], j))
            at = builder.add(at, step)
        return context.get_dummy_value()

    return types.void(array, base, places, first, step, points), codegen


@intrinsic
def twiddled(typingctx, points, factors, first):
    """Return the points, number j > 0 multiplied by ``factors[first + j - 1]`` (complex64)."""

    def codegen(context, builder, sig, args):
        table = _data(context, builder, sig.args[1], args[1])
        (at,) = _integers(context, builder, sig, args, (2,))
        result = [builder.extract_value(args[0], 0)]
        for j in range(1, sig.args[0].count):
            result.append(_times(builder, _element(builder, table, at), builder.extract_value(args[0], j)))
            at = builder.add(at, ir.Constant(at.type, 1))
        return context.make_tuple(builder, sig.return_type, result)

    return points(points, factors, first), codegen


@intrinsic
def swapped_times(typingctx, points, factors, first, step):
    """Return the points with real and imaginary parts exchanged, number j then multiplied by ``factors[first + j step]`` (complex64)."""

    def codegen(context, builder, sig, args):
        table = _data(context, builder, sig.args[1], args[1])
        at, step = _integers(context, builder, sig, args, (2, 3))
        result = []
        for j in range(sig.args[0].count):
            real, imag = _split(builder, builder.extract_value(args[0], j))
            result.append(_times(builder, _element(builder, table, at), _join(builder, imag, real)))
            at = builder.add(at, step)
        return context.make_tuple(builder, sig.return_type, result)

    return points(points, factors, first, step), codegen
