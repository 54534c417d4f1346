"""Fourier transforms of lines of points (16 complex numbers each), of any length that factors into 2, 3 and 5, compiled once for all lengths.

A line is transformed in place by decimation in frequency (`descend_line`): natural order in, digit-reversed order out. Decimation in time
(`ascend_line`) takes the reversed order back to the natural one. A convolution (`convolve_line`: transform, multiply, transform back) never needs
the natural order in the middle, so:

- no data is ever permuted: the factor of the middle is looked up where it belongs;
- the last stage down, the product and the first stage up run on a handful of points in registers (`_middle`);
- everything between the first and the last stage runs on one sub-block after the other, which stays in the nearest cache;
- the first radix is small and eights come second: the widely spread points of a first stage of eight fight for the same places of the cache;
- the first stage reads from where the wave lies and the last one writes there, through tables of places: columns, rows, gaps.

Only the forward direction exists. The inverse transform of a line is the forward one of the line with real and imaginary parts exchanged, exchanged
again. `convolve_line` exchanges between its two transforms (which costs nothing: two registers swap names) and thereby computes

    convolve(z) = FFT( factor * swap( FFT(z) ) )

With z = swap(psi) and factor t this is n FFT(t ifft(psi)); with z = psi and factor conj(p) it is n swap(ifft(p FFT(psi))). Rows do the first
and columns the second, and what one leaves in memory is what the other expects.

Plans are arrays, not functions: one row (radix, points, blocks, first twiddle) per stage, see `make_plan`.
"""

import functools
import math
from typing import NamedTuple

import numpy as np

from stemtwin.twin.errors import SamplingError
from stemtwin.twin.physics.engine.kernels.jit import inlined, part
from stemtwin.twin.physics.engine.kernels.simd_complex64 import (
    POINT,
    fetch_ahead,
    gather_points,
    load_points,
    scatter_points,
    store_points,
    swapped_times,
    turned,
    twiddled,
)
from stemtwin.twin.physics.grids import fast_length


class TransformPlan(NamedTuple):
    """Transform of lines of one length, as kernels get it.

    Attributes
    ----------
    stages : ndarray
        (n_stages, 4) int64: radix, points of the blocks that the stage splits, number of such blocks in a sub-block of the first stage, and where
        the stage's twiddles begin.
    order : ndarray
        (n,) int64: ``order[i]`` is the frequency that stands at place i of a transformed line.
    twiddles : ndarray
        complex64 factors of all stages.
    """

    stages: np.ndarray
    order: np.ndarray
    twiddles: np.ndarray


_HALF = np.float32(0.5)
_ROOT_HALF = np.float32(math.sqrt(0.5))
_SIN3 = np.float32(math.sqrt(0.75))
_COS5, _COS5B = np.float32(math.cos(2 * math.pi / 5)), np.float32(math.cos(4 * math.pi / 5))
_SIN5, _SIN5B = np.float32(math.sin(2 * math.pi / 5)), np.float32(math.sin(4 * math.pi / 5))


def factors(n: int) -> tuple[int, ...]:
    """Return the radices in which a line of ``n`` points is transformed, first stage first (1 stands for a stage that only copies).

    The order is the fastest of all that were measured for 25 lengths from 64 to 1024, or within 3 % of it.

    Raises
    ------
    SamplingError
        ``n`` has a prime factor other than 2, 3 and 5.
    """
    rest, radices = max(n, 1), []
    for radix in (3, 5):
        while rest % radix == 0:
            rest //= radix
            radices.append(radix)
    twos = rest.bit_length() - 1
    if n < 2 or rest != 1 << twos:
        message = f"A grid side of {n} points cannot be transformed: only factors 2, 3 and 5 can. Use {fast_length(n)} points."
        raise SamplingError(message)
    eights = {0: twos, 1: max(0, twos - 4), 2: twos - 2}[twos % 3] // 3
    if eights > 2 and 3 * eights == twos and not radices:
        eights -= 2  # a line of nothing but eights would begin with one: 512 = 4 8 4 4
    fours, two = divmod(twos - 3 * eights, 2)
    first, *others = sorted([2] * two + radices + [4] * fours) or [8]
    eights -= first == 8
    return (first, *[8] * eights, *others) if eights or others else (1, first)


@functools.lru_cache(maxsize=64)
def make_plan(n: int) -> TransformPlan:
    """Return the plan for lines of ``n`` points.

    Raises
    ------
    SamplingError
        ``n`` has a prime factor other than 2, 3 and 5.
    """
    stages, turns, order = [], [], np.zeros(1, np.int64)
    points, stride = n, 1
    for radix in factors(n):
        stages.append((radix, points, max(1, stride // factors(n)[0]), len(turns)))
        turns += [j * p / points for p in range(points // radix) for j in range(1, radix)]
        order = (order[:, None] + stride * np.arange(radix)).ravel()
        points, stride = points // radix, stride * radix
    phases = -2 * np.pi * np.array(turns, np.float64)
    plan = TransformPlan(np.array(stages, np.int64), order, np.exp(1j * phases).astype(np.complex64))
    for array in plan:
        array.flags.writeable = False
    return plan


# ---- butterflies: the forward transform of 1 to 8 points -----------------------------------------------------------------------------


@inlined
def _dft1(a):
    return a


@inlined
def _dft2(a):
    return a[0] + a[1], a[0] - a[1]


@inlined
def _dft3(a):
    total = a[1] + a[2]
    mean = a[0] - _HALF * total
    side = turned(_SIN3 * (a[1] - a[2]))
    return a[0] + total, mean + side, mean - side


@inlined
def _dft4(a):
    even, odd = a[0] + a[2], a[1] + a[3]
    left, right = a[0] - a[2], turned(a[1] - a[3])
    return even + odd, left + right, even - odd, left - right


@inlined
def _dft5(a):
    near, far = a[1] + a[4], a[2] + a[3]
    near_odd, far_odd = a[1] - a[4], a[2] - a[3]
    first, second = a[0] + _COS5 * near + _COS5B * far, a[0] + _COS5B * near + _COS5 * far
    side, other = turned(_SIN5 * near_odd + _SIN5B * far_odd), turned(_SIN5B * near_odd - _SIN5 * far_odd)
    return a[0] + (near + far), first + side, second + other, second - other, first - side


@inlined
def _dft8(a):
    e = _dft4((a[0], a[2], a[4], a[6]))
    o = _dft4((a[1], a[3], a[5], a[7]))
    o1, o2, o3 = _ROOT_HALF * (o[1] + turned(o[1])), turned(o[2]), _ROOT_HALF * (turned(o[3]) - o[3])
    return e[0] + o[0], e[1] + o1, e[2] + o2, e[3] + o3, e[0] - o[0], e[1] - o1, e[2] - o2, e[3] - o3


# ---- stages: loops of butterflies, one set per radix ---------------------------------------------------------------------------------


def _make_stages(radix, dft):
    """Return the five loops of one radix: enter, down, middle, up, leave."""
    twiddles = radix - 1

    @inlined
    def enter(wave, base, reads, line, m, factors):
        """First stage down, from the wave to the line."""
        for p in range(m):
            points = dft(gather_points(wave, base, reads, p, m, radix))
            store_points(line, p * POINT, m * POINT, twiddled(points, factors, p * twiddles))

    @inlined
    def down(line, start, m, blocks, factors, first):
        """Inner stage down, on ``blocks`` neighbouring blocks of ``radix m`` points."""
        for block in range(blocks):
            at = start + block * radix * m * POINT
            for p in range(m):
                points = dft(load_points(line, at + p * POINT, m * POINT, radix))
                store_points(line, at + p * POINT, m * POINT, twiddled(points, factors, first + p * twiddles))

    @inlined
    def middle(line, place, blocks, order, table, offset, step):
        """Last stage down, times the factors, first stage up, on ``blocks`` neighbouring blocks of ``radix`` points."""
        for block in range(place, place + blocks * radix, radix):
            points = dft(load_points(line, block * POINT, POINT, radix))
            store_points(line, block * POINT, POINT, dft(swapped_times(points, table, offset + order[block], step)))

    @inlined
    def up(line, start, m, blocks, factors, first):
        """Inner stage up, on ``blocks`` neighbouring blocks of ``radix m`` points."""
        for block in range(blocks):
            at = start + block * radix * m * POINT
            for p in range(m):
                points = twiddled(load_points(line, at + p * POINT, m * POINT, radix), factors, first + p * twiddles)
                store_points(line, at + p * POINT, m * POINT, dft(points))

    @inlined
    def leave(line, m, factors, wave, base, writes):
        """Last stage up, from the line to the wave."""
        for p in range(m):
            points = dft(twiddled(load_points(line, p * POINT, m * POINT, radix), factors, p * twiddles))
            scatter_points(wave, base, writes, p, m, points)

    return enter, down, middle, up, leave


_enter1, _down1, _middle1, _up1, _leave1 = _make_stages(1, _dft1)
_enter2, _down2, _middle2, _up2, _leave2 = _make_stages(2, _dft2)
_enter3, _down3, _middle3, _up3, _leave3 = _make_stages(3, _dft3)
_enter4, _down4, _middle4, _up4, _leave4 = _make_stages(4, _dft4)
_enter5, _down5, _middle5, _up5, _leave5 = _make_stages(5, _dft5)
_enter8, _down8, _middle8, _up8, _leave8 = _make_stages(8, _dft8)


@inlined
def _enter(wave, base, reads, line, stages, twiddles):
    radix, m = stages[0, 0], stages[0, 1] // stages[0, 0]
    if radix == 8:
        _enter8(wave, base, reads, line, m, twiddles)
    elif radix == 5:
        _enter5(wave, base, reads, line, m, twiddles)
    elif radix == 4:
        _enter4(wave, base, reads, line, m, twiddles)
    elif radix == 3:
        _enter3(wave, base, reads, line, m, twiddles)
    elif radix == 2:
        _enter2(wave, base, reads, line, m, twiddles)
    else:
        _enter1(wave, base, reads, line, m, twiddles)


@inlined
def _leave(line, stages, twiddles, wave, base, writes):
    radix, m = stages[0, 0], stages[0, 1] // stages[0, 0]
    if radix == 8:
        _leave8(line, m, twiddles, wave, base, writes)
    elif radix == 5:
        _leave5(line, m, twiddles, wave, base, writes)
    elif radix == 4:
        _leave4(line, m, twiddles, wave, base, writes)
    elif radix == 3:
        _leave3(line, m, twiddles, wave, base, writes)
    elif radix == 2:
        _leave2(line, m, twiddles, wave, base, writes)
    else:
        _leave1(line, m, twiddles, wave, base, writes)


@inlined
def _down(line, start, stages, s, twiddles):
    radix, m, blocks, first = stages[s, 0], stages[s, 1] // stages[s, 0], stages[s, 2], stages[s, 3]
    if radix == 8:
        _down8(line, start, m, blocks, twiddles, first)
    elif radix == 5:
        _down5(line, start, m, blocks, twiddles, first)
    elif radix == 4:
        _down4(line, start, m, blocks, twiddles, first)
    elif radix == 3:
        _down3(line, start, m, blocks, twiddles, first)
    else:
        _down2(line, start, m, blocks, twiddles, first)


@inlined
def _up(line, start, stages, s, twiddles):
    radix, m, blocks, first = stages[s, 0], stages[s, 1] // stages[s, 0], stages[s, 2], stages[s, 3]
    if radix == 8:
        _up8(line, start, m, blocks, twiddles, first)
    elif radix == 5:
        _up5(line, start, m, blocks, twiddles, first)
    elif radix == 4:
        _up4(line, start, m, blocks, twiddles, first)
    elif radix == 3:
        _up3(line, start, m, blocks, twiddles, first)
    else:
        _up2(line, start, m, blocks, twiddles, first)


@inlined
def _middle(line, place, stages, order, table, offset):
    radix, blocks = stages[-1, 0], stages[-1, 2]
    step = stages[0, 1] // radix
    if radix == 8:
        _middle8(line, place, blocks, order, table, offset, step)
    elif radix == 5:
        _middle5(line, place, blocks, order, table, offset, step)
    elif radix == 4:
        _middle4(line, place, blocks, order, table, offset, step)
    elif radix == 3:
        _middle3(line, place, blocks, order, table, offset, step)
    else:
        _middle2(line, place, blocks, order, table, offset, step)


# ---- lines ---------------------------------------------------------------------------------------------------------------------------


@part
def convolve_line(wave, base, reads, writes, line, plan, table, offset, ahead):
    """Transform a line of the wave, exchange parts, multiply by ``table[offset : offset + n]``, transform.

    ``reads[i]`` and ``writes[i]`` say where point i lies in the wave, in float32 from ``base``; ``line`` is scratch of n points. Where ``ahead``
    is not 0, the line that begins so many float32 further is fetched meanwhile: no machine foresees columns, whose points are far from each other.
    """
    stages, order, twiddles = plan
    last = stages.shape[0] - 1
    sub = stages[1, 1]
    _enter(wave, base, reads, line, stages, twiddles)
    for place in range(0, stages[0, 1], sub):
        for s in range(1, last):
            _down(line, place * POINT, stages, s, twiddles)
        if ahead:
            for i in range(place, place + sub):
                fetch_ahead(wave, base + ahead + reads[i])
        _middle(line, place, stages, order, table, offset)
        for s in range(last - 1, 0, -1):
            _up(line, place * POINT, stages, s, twiddles)
    _leave(line, stages, twiddles, wave, base, writes)


@part
def descend_line(wave, base, reads, line, plan):
    """Transform a line of the wave into ``line``, where place i then holds frequency ``plan.order[i]``."""
    stages, _, twiddles = plan
    _enter(wave, base, reads, line, stages, twiddles)
    for place in range(0, stages[0, 1], stages[1, 1]):
        for s in range(1, stages.shape[0]):
            _down(line, place * POINT, stages, s, twiddles)


@part
def ascend_line(line, wave, base, writes, plan):
    """Transform ``line``, whose place i holds element ``plan.order[i]``, into a line of the wave."""
    stages, _, twiddles = plan
    for place in range(0, stages[0, 1], stages[1, 1]):
        for s in range(stages.shape[0] - 1, 0, -1):
            _up(line, place * POINT, stages, s, twiddles)
    _leave(line, stages, twiddles, wave, base, writes)
