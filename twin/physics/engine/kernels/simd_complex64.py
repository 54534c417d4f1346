"""Sixteen complex numbers as one value: the SIMD lanes in which sixteen waves are computed side by side.

LLVM's loop vectoriser does not vectorise FFT butterflies, because it cannot prove that their many input and output
streams do not overlap. A value type that is itself a pair of LLVM vectors needs no such proof. On a machine without
AVX-512, LLVM splits each vector.

A *point* is 16 complex numbers in memory: 16 real parts, then 16 imaginary parts, 32 float32, aligned to 64 bytes.
An index is a position in a flat float32 array, so the indices of adjacent points differ by 32. The functions below work
inside numba kernels only and do not check bounds.
"""

import operator
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.imputils import impl_ret_borrowed, lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

LANES = 16
"""Number of waves in one value."""
POINT = 2 * LANES
"""Number of float32 in one point."""
ALIGNMENT = 4 * LANES
"""Alignment of every point, bytes."""

_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_PAIR = ir.LiteralStructType([_VECTOR, _VECTOR])
_INT = ir.IntType(32)
_FLAGS = ("contract", "nsz")


class Lanes(types.Type):
    """The numba type of sixteen complex64 numbers."""

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
    """Return the array with a read-only type, so a function that only reads it is compiled for one array type."""

    def codegen(context, builder, sig, args):
        return impl_ret_borrowed(context, builder, sig.return_type, args[0])

    return array.copy(readonly=True)(array), codegen


# ---- shared by the code generators: plain functions of an LLVM builder ---------------------------------------------------------------


def _split(builder, pair):
    return builder.extract_value(pair, 0), builder.extract_value(pair, 1)


def _join(builder, real, imag):
    pair = builder.insert_value(ir.Constant(_PAIR, ir.Undefined), real, 0)
    return builder.insert_value(pair, imag, 1)


def _splat(builder, scalar):
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), scalar, ir.Constant(_INT, 0))
    return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), ir.Constant(ir.VectorType(_INT, LANES), [0] * LANES))


class Written(NamedTuple):
    """Sixteen complex numbers in registers during code generation; each operation emits its instructions.

    Attributes
    ----------
    builder : IRBuilder
        Emits the instructions.
    real, imag : Value
        Vectors of float32.
    """

    builder: Any
    real: Any
    imag: Any

    def combined(self, other: "Written", instruction: str) -> "Written":
        """Return the result of one instruction on both values, applied separately to the real parts and to the imaginary parts."""
        do = getattr(self.builder, instruction)
        return Written(self.builder, do(self.real, other.real, flags=_FLAGS), do(self.imag, other.imag, flags=_FLAGS))

    def plus(self, other: "Written") -> "Written":
        """Return the sum."""
        return self.combined(other, "fadd")

    def minus(self, other: "Written") -> "Written":
        """Return the difference."""
        return self.combined(other, "fsub")

    def times_real(self, factor: float) -> "Written":
        """Return the product with a constant rounded to float32."""
        each = _splat(self.builder, ir.Constant(ir.FloatType(), factor))
        return Written(self.builder, *(self.builder.fmul(each, part, flags=_FLAGS) for part in (self.real, self.imag)))

    def times(self, factor: Any) -> "Written":
        """Return the product with one complex number, given as an LLVM struct {float, float}."""
        write = self.builder
        c, d = (_splat(write, part) for part in _split(write, factor))
        real = write.fsub(write.fmul(c, self.real, flags=_FLAGS), write.fmul(d, self.imag, flags=_FLAGS), flags=_FLAGS)
        imag = write.fadd(write.fmul(c, self.imag, flags=_FLAGS), write.fmul(d, self.real, flags=_FLAGS), flags=_FLAGS)
        return Written(write, real, imag)

    def turned(self) -> "Written":
        """Return -i times the value."""
        return Written(self.builder, self.imag, self.builder.fneg(self.real, flags=_FLAGS))

    def swapped(self) -> "Written":
        """Return the value with real and imaginary parts exchanged."""
        return Written(self.builder, self.imag, self.real)

    @classmethod
    def read(cls, builder: Any, data: Any, index: Any) -> "Written":
        """Return 16 complex numbers of a flat float32 array: 16 real parts from element ``index`` on, then 16 imaginary parts."""
        return cls(builder, *(builder.load(_address(builder, data, index, half), align=ALIGNMENT) for half in (0, 1)))

    def write(self, data: Any, index: Any) -> None:
        """Write the value to a flat float32 array: 16 real parts from element ``index`` on, then 16 imaginary parts."""
        for half, part in enumerate((self.real, self.imag)):
            self.builder.store(part, _address(self.builder, data, index, half), align=ALIGNMENT)


def pointer(context, builder, array_type, array):
    """Return the address of the first element of an array."""
    return context.make_array(array_type)(context, builder, array).data


def _address(builder, data, index, half):
    pointer = builder.gep(data, [builder.add(index, ir.Constant(index.type, half * LANES))])
    return builder.bitcast(pointer, _VECTOR.as_pointer())


def _given(builder, pair):
    return Written(builder, *_split(builder, pair))


def _returned(value):
    return _join(value.builder, value.real, value.imag)


def element(builder, data, index):
    """Return the LLVM value of the array element at an index."""
    return builder.load(builder.gep(data, [index]))


def integers(context, builder, sig, args, names):
    """Return some arguments of an intrinsic, cast to integers of the size of an index; the tuple ``names`` holds their positions in ``args``."""
    return [context.cast(builder, args[i], sig.args[i], types.intp) for i in names]


# ---- arithmetic on one value ---------------------------------------------------------------------------------------------------------


def _elementwise(function, instruction):
    @infer_global(function)
    class _Template(AbstractTemplate):
        def generic(self, args, kws):
            return signature(lanes, lanes, lanes) if args == (lanes, lanes) else None

    @lower_builtin(function, Lanes, Lanes)
    def _lower(context, builder, sig, args):
        return _returned(_given(builder, args[0]).combined(_given(builder, args[1]), instruction))


_elementwise(operator.add, "fadd")
_elementwise(operator.sub, "fsub")


@infer_global(operator.mul)
class _Multiply(AbstractTemplate):
    """One real (float32) or complex (complex64) number times sixteen complex numbers."""

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
    return _returned(_given(builder, args[1]).times(args[0]))


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
        return _returned(_given(builder, args[0]).turned())

    return lanes(value), codegen


@intrinsic
def swapped(typingctx, value):
    """Return the value with real and imaginary parts exchanged; the forward FFT of a swapped line is the swapped inverse FFT."""

    def codegen(context, builder, sig, args):
        return _returned(_given(builder, args[0]).swapped())

    return lanes(value), codegen


@intrinsic
def squared(typingctx, value):
    """Return the squares of the real and of the imaginary parts as one value; their sum is the squared modulus."""

    def codegen(context, builder, sig, args):
        return _join(builder, *(builder.fmul(part, part, flags=_FLAGS) for part in _split(builder, args[0])))

    return lanes(value), codegen


@intrinsic
def weighted(typingctx, value, array, index):
    """Return the value with lane i multiplied by element ``index + i`` of a flat float32 array."""

    def codegen(context, builder, sig, args):
        (at,) = integers(context, builder, sig, args, (2,))
        place = builder.gep(pointer(context, builder, sig.args[1], args[1]), [at])
        weights = builder.load(builder.bitcast(place, _VECTOR.as_pointer()), align=4)
        return _join(builder, *(builder.fmul(weights, part, flags=_FLAGS) for part in _split(builder, args[0])))

    return lanes(value, array, index), codegen


@intrinsic
def zeros(typingctx):
    """Return sixteen zeros."""

    def codegen(context, builder, sig, args):
        return ir.Constant(_PAIR, None)

    return lanes(), codegen


# ---- memory --------------------------------------------------------------------------------------------------------------------------


@intrinsic
def load(typingctx, array, index):
    """Return 16 complex numbers of a flat float32 array: 16 real parts from element ``index`` on, then 16 imaginary parts."""

    def codegen(context, builder, sig, args):
        (at,) = integers(context, builder, sig, args, (1,))
        return _returned(Written.read(builder, pointer(context, builder, sig.args[0], args[0]), at))

    return lanes(array, index), codegen


@intrinsic
def store(typingctx, array, index, value):
    """Write 16 complex numbers to a flat float32 array: 16 real parts from element ``index`` on, then 16 imaginary parts."""

    def codegen(context, builder, sig, args):
        (at,) = integers(context, builder, sig, args, (1,))
        _given(builder, args[2]).write(pointer(context, builder, sig.args[0], args[0]), at)
        return context.get_dummy_value()

    return types.void(array, index, value), codegen


@intrinsic
def add_complex(typingctx, array, index, value):
    """Add the value to sixteen interleaved complex64 numbers that begin at element ``index`` of a flat float32 array."""
    mixed = ir.VectorType(ir.FloatType(), POINT)

    def codegen(context, builder, sig, args):
        (at,) = integers(context, builder, sig, args, (1,))
        turns = ir.Constant(ir.VectorType(_INT, POINT), [lane + half * LANES for lane in range(LANES) for half in (0, 1)])
        place = builder.bitcast(builder.gep(pointer(context, builder, sig.args[0], args[0]), [at]), mixed.as_pointer())
        new = builder.shuffle_vector(*_split(builder, args[2]), turns)
        builder.store(builder.fadd(builder.load(place, align=4), new, flags=_FLAGS), place, align=4)
        return context.get_dummy_value()

    return types.void(array, index, value), codegen


@intrinsic
def fetch_ahead(typingctx, array, index):
    """Prefetch the 16 complex numbers that begin at element ``index`` of a flat float32 array into the cache.

    An index outside the array is harmless.
    """

    def codegen(context, builder, sig, args):
        (at,) = integers(context, builder, sig, args, (1,))
        data = pointer(context, builder, sig.args[0], args[0])
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, _INT, _INT, _INT])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        for half in (0, 1):
            place = builder.bitcast(builder.gep(data, [builder.add(at, ir.Constant(at.type, half * LANES))]), byte)
            builder.call(prefetch, [place, ir.Constant(_INT, 0), ir.Constant(_INT, 2), ir.Constant(_INT, 1)])  # to read; second cache; data
        return context.get_dummy_value()

    return types.void(array, index), codegen
