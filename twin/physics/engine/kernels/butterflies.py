"""Stages of a Fourier transform, generated inside the kernel that calls them: loops of butterflies for radices 1 to 5 and 8.

Each loop consists of a few instructions and exists in one version per radix. If every version were a compiled function,
there would be sixty functions, and compilation would be slow, because the compiler spends its time on functions (their
types, blocks and modules), not on instructions. Instead, the functions below run once for each radix while a kernel is
compiled, and emit the instructions of the loop. ``fft.py`` describes the computation of the stages.

The radix, block length, number of blocks and first twiddle of a stage are a row of the plan (``fft.make_plan``). The
functions do not check bounds.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from stemtwin.twin.physics.engine.kernels.simd_complex64 import POINT, Written, element, integers, pointer

_LONG = ir.IntType(64)
_HALF = 0.5
_ROOT_HALF, _SIN3 = (float(np.float32(math.sqrt(x))) for x in (0.5, 0.75))
_COS5, _COS5B = (float(np.float32(math.cos(x * math.pi / 5))) for x in (2, 4))
_SIN5, _SIN5B = (float(np.float32(math.sin(x * math.pi / 5))) for x in (2, 4))

RegisterPoints = Sequence[Written]
"""Points in registers during code generation."""


# ---- butterflies: the forward transform of 1 to 8 points -----------------------------------------------------------------------------


def _dft1(a: RegisterPoints) -> RegisterPoints:
    return a


def _dft2(a: RegisterPoints) -> RegisterPoints:
    return a[0].plus(a[1]), a[0].minus(a[1])


def _dft3(a: RegisterPoints) -> RegisterPoints:
    total = a[1].plus(a[2])
    mean = a[0].minus(total.times_real(_HALF))
    side = a[1].minus(a[2]).times_real(_SIN3).turned()
    return a[0].plus(total), mean.plus(side), mean.minus(side)


def _dft4(a: RegisterPoints) -> RegisterPoints:
    even, odd = a[0].plus(a[2]), a[1].plus(a[3])
    left, right = a[0].minus(a[2]), a[1].minus(a[3]).turned()
    return even.plus(odd), left.plus(right), even.minus(odd), left.minus(right)


def _dft5(a: RegisterPoints) -> RegisterPoints:
    near, far = a[1].plus(a[4]), a[2].plus(a[3])
    near_odd, far_odd = a[1].minus(a[4]), a[2].minus(a[3])
    first = a[0].plus(near.times_real(_COS5)).plus(far.times_real(_COS5B))
    second = a[0].plus(near.times_real(_COS5B)).plus(far.times_real(_COS5))
    side = near_odd.times_real(_SIN5).plus(far_odd.times_real(_SIN5B)).turned()
    other = near_odd.times_real(_SIN5B).minus(far_odd.times_real(_SIN5)).turned()
    return a[0].plus(near.plus(far)), first.plus(side), second.plus(other), second.minus(other), first.minus(side)


def _dft8(a: RegisterPoints) -> RegisterPoints:
    e = _dft4((a[0], a[2], a[4], a[6]))
    o = _dft4((a[1], a[3], a[5], a[7]))
    o1, o2, o3 = o[1].plus(o[1].turned()).times_real(_ROOT_HALF), o[2].turned(), o[3].turned().minus(o[3]).times_real(_ROOT_HALF)
    halves = list(zip(e, (o[0], o1, o2, o3), strict=True))
    return *(a.plus(b) for a, b in halves), *(a.minus(b) for a, b in halves)


_DFT: dict[int, Callable[[RegisterPoints], RegisterPoints]] = {8: _dft8, 5: _dft5, 4: _dft4, 3: _dft3, 2: _dft2, 1: _dft1}


# ---- shared by all stages ------------------------------------------------------------------------------------------------------------


class _Row(NamedTuple):
    """One row of a plan in registers: radix, points of a block after the stage, number of blocks, first twiddle."""

    radix: Any
    m: Any
    blocks: Any
    first: Any


def _long(number: int) -> ir.Constant:
    return ir.Constant(_LONG, number)


def _row(builder, stages, s) -> _Row:
    """Read row ``s`` of a plan."""
    at = builder.mul(s, _long(4))
    radix, points, blocks, first = (element(builder, stages, builder.add(at, _long(j))) for j in range(4))
    return _Row(radix, builder.udiv(points, radix), blocks, first)


def _last(context, builder, array_type, array):
    """Return the index of the last row of an array."""
    return builder.sub(builder.extract_value(context.make_array(array_type)(context, builder, array).shape, 0), _long(1))


def _for_each_radix(builder, chosen, radices: Sequence[int], write: Callable[[int], None]) -> None:
    """Emit one branch of code per radix and run the branch of the chosen radix, or the last one if none matches."""
    blocks = [builder.append_basic_block(f"radix{radix}") for radix in radices]
    done = builder.append_basic_block("done")
    switch = builder.switch(chosen, blocks[-1])
    for radix, block in zip(radices, blocks, strict=True):
        if block is not blocks[-1]:
            switch.add_case(_long(radix), block)
        builder.position_at_end(block)
        write(radix)
        builder.branch(done)
    builder.position_at_end(done)


def _spread(builder, at, step, radix: int) -> list:
    """Return ``radix`` indices, the first at ``at``, ``step`` apart."""
    indices = [at]
    for _ in range(radix - 1):
        indices.append(builder.add(indices[-1], step))
    return indices


def _load(builder, data, indices: Sequence) -> RegisterPoints:
    return [Written.read(builder, data, at) for at in indices]


def _store(data, indices: Sequence, points: RegisterPoints) -> None:
    for at, point in zip(indices, points, strict=True):
        point.write(data, at)


def _placed(builder, places, base, indices: Sequence) -> list:
    """Return ``base`` plus the entries of a table of positions at these indices."""
    return [builder.add(base, element(builder, places, at)) for at in indices]


def _twiddled(builder, points: RegisterPoints, factors, first) -> RegisterPoints:
    """Return the points, with point j > 0 multiplied by ``factors[first + j - 1]``."""
    at = _spread(builder, first, _long(1), len(points) - 1) if len(points) > 1 else []
    return [points[0], *(point.times(element(builder, factors, i)) for i, point in zip(at, points[1:], strict=True))]


def _scaled(builder, number, factor: int):
    return builder.mul(number, _long(factor))


# ---- stages --------------------------------------------------------------------------------------------------------------------------

OUTER, INNER = (8, 5, 4, 3, 2, 1), (8, 5, 4, 3, 2)


@intrinsic
def enter(typingctx, wave, base, reads, line, stages, twiddles):
    """Compute the first stage of a transform by decimation in frequency: read a line of ``wave``, and write the scratch memory ``line``."""

    def codegen(context, builder, sig, args):
        wave, reads, line, stages, factors = (pointer(context, builder, sig.args[i], args[i]) for i in (0, 2, 3, 4, 5))
        (base,) = integers(context, builder, sig, args, (1,))
        row = _row(builder, stages, _long(0))

        def write(radix: int) -> None:
            with cgutils.for_range(builder, row.m) as loop:
                p = loop.index
                points = _load(builder, wave, _placed(builder, reads, base, _spread(builder, p, row.m, radix)))
                points = _twiddled(builder, _DFT[radix](points), factors, _scaled(builder, p, radix - 1))
                _store(line, _spread(builder, _scaled(builder, p, POINT), _scaled(builder, row.m, POINT), radix), points)

        _for_each_radix(builder, row.radix, OUTER, write)
        return context.get_dummy_value()

    return types.void(wave, base, reads, line, stages, twiddles), codegen


@intrinsic
def leave(typingctx, line, stages, twiddles, wave, base, writes):
    """Compute the last stage of a transform by decimation in time: read the scratch memory ``line``, and write a line of ``wave``."""

    def codegen(context, builder, sig, args):
        line, stages, factors, wave, writes = (pointer(context, builder, sig.args[i], args[i]) for i in (0, 1, 2, 3, 5))
        (base,) = integers(context, builder, sig, args, (4,))
        row = _row(builder, stages, _long(0))

        def write(radix: int) -> None:
            with cgutils.for_range(builder, row.m) as loop:
                p = loop.index
                points = _load(builder, line, _spread(builder, _scaled(builder, p, POINT), _scaled(builder, row.m, POINT), radix))
                points = _DFT[radix](_twiddled(builder, points, factors, _scaled(builder, p, radix - 1)))
                _store(wave, _placed(builder, writes, base, _spread(builder, p, row.m, radix)), points)

        _for_each_radix(builder, row.radix, OUTER, write)
        return context.get_dummy_value()

    return types.void(line, stages, twiddles, wave, base, writes), codegen


def _inner(change: Callable[..., RegisterPoints]) -> Any:
    """Return an inner stage on consecutive blocks from ``start``; ``change(builder, radix, points, factors, first)`` is its butterfly."""

    @intrinsic
    def stage(typingctx, line, start, stages, s, twiddles):
        """Compute stage ``s`` of the transforms in ``line``, in place."""

        def codegen(context, builder, sig, args):
            line, stages, factors = (pointer(context, builder, sig.args[i], args[i]) for i in (0, 2, 4))
            start, s = integers(context, builder, sig, args, (1, 3))
            row = _row(builder, stages, s)

            def write(radix: int) -> None:
                step = _scaled(builder, row.m, POINT)
                with cgutils.for_range(builder, row.blocks) as outer:
                    at = builder.add(start, builder.mul(outer.index, _scaled(builder, step, radix)))
                    with cgutils.for_range(builder, row.m) as loop:
                        indices = _spread(builder, builder.add(at, _scaled(builder, loop.index, POINT)), step, radix)
                        first = builder.add(row.first, _scaled(builder, loop.index, radix - 1))
                        _store(line, indices, change(builder, radix, _load(builder, line, indices), factors, first))

            _for_each_radix(builder, row.radix, INNER, write)
            return context.get_dummy_value()

        return types.void(line, start, stages, s, twiddles), codegen

    return stage


down = _inner(lambda builder, radix, points, factors, first: _twiddled(builder, _DFT[radix](points), factors, first))
up = _inner(lambda builder, radix, points, factors, first: _DFT[radix](_twiddled(builder, points, factors, first)))


@intrinsic
def middle(typingctx, line, place, stages, order, table, offset):
    """Compute the two innermost stages of a convolution and the product between them.

    These are the last stage by decimation in frequency, the exchange of real and imaginary parts, the multiplication by the
    factors in ``table``, and the first stage by decimation in time. The stages act on consecutive blocks that begin at ``place``.
    """

    def codegen(context, builder, sig, args):
        line, stages, order, table = (pointer(context, builder, sig.args[i], args[i]) for i in (0, 2, 3, 4))
        place, offset = integers(context, builder, sig, args, (1, 5))
        row = _row(builder, stages, _last(context, builder, sig.args[2], args[2]))
        step = builder.udiv(element(builder, stages, _long(1)), row.radix)  # points of a whole line

        def write(radix: int) -> None:
            with cgutils.for_range(builder, row.blocks) as loop:
                block = builder.add(place, _scaled(builder, loop.index, radix))
                indices = _spread(builder, _scaled(builder, block, POINT), _long(POINT), radix)
                points = _DFT[radix](_load(builder, line, indices))
                factors = _spread(builder, builder.add(offset, element(builder, order, block)), step, radix)
                turned = [each.swapped().times(element(builder, table, at)) for at, each in zip(factors, points, strict=True)]
                _store(line, indices, _DFT[radix](turned))

        _for_each_radix(builder, row.radix, INNER, write)
        return context.get_dummy_value()

    return types.void(line, place, stages, order, table, offset), codegen
