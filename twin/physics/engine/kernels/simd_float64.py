# ruff: noqa: ARG001, ARG002 (numba prescribes the signatures of intrinsics)
# pyright: reportOptionalCall=false
"""Eight float64 numbers as one value, for sums in which large terms cancel.

LLVM's vectoriser does not vectorise sums of floats, because it must not change their order. It also adds checks for
overlap to every loop over several arrays. A value that is itself an LLVM vector avoids both. On a machine without
AVX-512, LLVM splits each vector. The array in memory may be float32: values are then widened when they are read and
rounded when they are written. The functions below work inside numba kernels only and do not check bounds.
"""

import operator

from llvmlite import ir
from numba.core import types
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

EIGHT = 8
"""Numbers in one value."""

_VECTOR = ir.VectorType(ir.DoubleType(), EIGHT)
_SINGLES = ir.VectorType(ir.FloatType(), EIGHT)
_INT = ir.IntType(32)
_FLAGS = ("contract", "nsz")


class Doubles(types.Type):
    """The numba type of eight float64 numbers."""

    def __init__(self) -> None:
        super().__init__(name=f"Doubles{EIGHT}")


doubles = Doubles()


@register_model(Doubles)
class _DoublesModel(models.PrimitiveModel):
    """One vector, held in a register."""

    def __init__(self, dmm, fe_type) -> None:
        super().__init__(dmm, fe_type, _VECTOR)


def _splat(builder, scalar):
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), scalar, ir.Constant(_INT, 0))
    return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), ir.Constant(ir.VectorType(_INT, EIGHT), [0] * EIGHT))


def _elementwise(function, instruction):
    @infer_global(function)
    class _Template(AbstractTemplate):
        def generic(self, args, kws):
            return signature(doubles, doubles, doubles) if args == (doubles, doubles) else None

    @lower_builtin(function, Doubles, Doubles)
    def _lower(context, builder, sig, args):
        return getattr(builder, instruction)(*args, flags=_FLAGS)


_elementwise(operator.add, "fadd")
_elementwise(operator.sub, "fsub")
_elementwise(operator.mul, "fmul")


@infer_global(operator.mul)
class _Multiply(AbstractTemplate):
    """One float64 times eight float64."""

    def generic(self, args, kws):
        return signature(doubles, types.float64, doubles) if args == (types.float64, doubles) else None


@lower_builtin(operator.mul, types.float64, Doubles)
def _scaled(context, builder, sig, args):
    return builder.fmul(_splat(builder, args[0]), args[1], flags=_FLAGS)


@intrinsic
def nothing(typingctx):
    """Return eight zeros."""

    def codegen(context, builder, sig, args):
        return ir.Constant(_VECTOR, None)

    return doubles(), codegen


def _address(context, builder, sig, args):
    data = context.make_array(sig.args[0])(context, builder, args[0]).data
    index = context.cast(builder, args[1], sig.args[1], types.intp)
    wide = sig.args[0].dtype == types.float64
    return builder.bitcast(builder.gep(data, [index]), (_VECTOR if wide else _SINGLES).as_pointer()), wide


@intrinsic
def read(typingctx, array, index):
    """Return the eight numbers of a flat float64 or float32 array that begin at ``index``."""

    def codegen(context, builder, sig, args):
        pointer, wide = _address(context, builder, sig, args)
        value = builder.load(pointer, align=8 if wide else 4)
        return value if wide else builder.fpext(value, _VECTOR)

    return doubles(array, index), codegen


@intrinsic
def write(typingctx, array, index, value):
    """Write eight numbers into a flat float64 or float32 array, beginning at ``index``."""

    def codegen(context, builder, sig, args):
        pointer, wide = _address(context, builder, sig, args)
        builder.store(args[2] if wide else builder.fptrunc(args[2], _SINGLES), pointer, align=8 if wide else 4)
        return context.get_dummy_value()

    return types.void(array, index, value), codegen


@intrinsic
def total(typingctx, value):
    """Return the sum of eight numbers: the upper half is added to the lower half until one number is left."""

    def codegen(context, builder, sig, args):
        rest, count = args[0], EIGHT
        while count > 1:
            count //= 2
            undefined = ir.Constant(rest.type, ir.Undefined)
            low, high = (
                builder.shuffle_vector(rest, undefined, ir.Constant(ir.VectorType(_INT, count), list(range(first, first + count))))
                for first in (0, count)
            )
            rest = builder.fadd(low, high, flags=_FLAGS)
        return builder.extract_element(rest, ir.Constant(_INT, 0))

    return types.float64(value), codegen
