# ruff: noqa: ARG001, ARG002 (numba prescribes the signatures of intrinsics)
# pyright: reportOptionalCall=false
"""Sixteen float32 numbers as one value, for sums of small terms; they take half the time of :mod:`simd_float64`.

The docstring of `simd_float64` gives the reason for such types. The functions below work inside numba kernels only and do
not check bounds.
"""

import operator

from llvmlite import ir
from numba.core import types
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

SIXTEEN = 16
"""Numbers in one value."""

_VECTOR = ir.VectorType(ir.FloatType(), SIXTEEN)
_INT = ir.IntType(32)
_FLAGS = ("contract", "nsz")


class Singles(types.Type):
    """The numba type of sixteen float32 numbers."""

    def __init__(self) -> None:
        super().__init__(name=f"Singles{SIXTEEN}")


singles = Singles()


@register_model(Singles)
class _SinglesModel(models.PrimitiveModel):
    """One vector, held in a register."""

    def __init__(self, dmm, fe_type) -> None:
        super().__init__(dmm, fe_type, _VECTOR)


@infer_global(operator.add)
class _Add(AbstractTemplate):
    """Sixteen float32 plus sixteen."""

    def generic(self, args, kws):
        return signature(singles, singles, singles) if args == (singles, singles) else None


@lower_builtin(operator.add, Singles, Singles)
def _added(context, builder, sig, args):
    return builder.fadd(*args, flags=_FLAGS)


@infer_global(operator.mul)
class _Multiply(AbstractTemplate):
    """One float32 times sixteen float32."""

    def generic(self, args, kws):
        return signature(singles, types.float32, singles) if args == (types.float32, singles) else None


@lower_builtin(operator.mul, types.float32, Singles)
def _scaled(context, builder, sig, args):
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), args[0], ir.Constant(_INT, 0))
    splat = builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), ir.Constant(ir.VectorType(_INT, SIXTEEN), [0] * SIXTEEN))
    return builder.fmul(splat, args[1], flags=_FLAGS)


@intrinsic
def nothing(typingctx):
    """Return sixteen zeros."""

    def codegen(context, builder, sig, args):
        return ir.Constant(_VECTOR, None)

    return singles(), codegen


def _address(context, builder, sig, args):
    data = context.make_array(sig.args[0])(context, builder, args[0]).data
    index = context.cast(builder, args[1], sig.args[1], types.intp)
    return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())


@intrinsic
def read(typingctx, array, index):
    """Return the sixteen numbers of a flat float32 array that begin at ``index``."""

    def codegen(context, builder, sig, args):
        return builder.load(_address(context, builder, sig, args), align=4)

    return singles(array, index), codegen


@intrinsic
def write(typingctx, array, index, value):
    """Write sixteen numbers into a flat float32 array, beginning at ``index``."""

    def codegen(context, builder, sig, args):
        builder.store(args[2], _address(context, builder, sig, args), align=4)
        return context.get_dummy_value()

    return types.void(array, index, value), codegen
