"""Fourier transforms of lines of points (16 complex numbers each), of any length that factors into 2, 3 and 5, compiled once for all lengths.

A line is transformed in place by decimation in frequency (`descend_line`): natural order in, digit-reversed order out. Decimation in time
(`ascend_line`) takes the reversed order back to the natural one. A convolution (`convolve_line`: transform, multiply, transform back) never needs
the natural order in the middle, so:

- no data is ever permuted: the factor of the middle is looked up where it belongs;
- the last stage down, the product and the first stage up run on a handful of points in registers (`butterflies.middle`);
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
from typing import NamedTuple

import numpy as np

from stemtwin.twin.errors import SamplingError
from stemtwin.twin.physics.engine.kernels.butterflies import down, enter, leave, middle, up
from stemtwin.twin.physics.engine.kernels.jit import part
from stemtwin.twin.physics.engine.kernels.simd_complex64 import POINT, fetch_ahead
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
    enter(wave, base, reads, line, stages, twiddles)
    for place in range(0, stages[0, 1], sub):
        for s in range(1, last):
            down(line, place * POINT, stages, s, twiddles)
        if ahead:
            for i in range(place, place + sub):
                fetch_ahead(wave, base + ahead + reads[i])
        middle(line, place, stages, order, table, offset)
        for s in range(last - 1, 0, -1):
            up(line, place * POINT, stages, s, twiddles)
    leave(line, stages, twiddles, wave, base, writes)


@part
def descend_line(wave, base, reads, line, plan):
    """Transform a line of the wave into ``line``, where place i then holds frequency ``plan.order[i]``."""
    stages, _, twiddles = plan
    enter(wave, base, reads, line, stages, twiddles)
    for place in range(0, stages[0, 1], stages[1, 1]):
        for s in range(1, stages.shape[0]):
            down(line, place * POINT, stages, s, twiddles)


@part
def ascend_line(line, wave, base, writes, plan):
    """Transform ``line``, whose place i holds element ``plan.order[i]``, into a line of the wave."""
    stages, _, twiddles = plan
    for place in range(0, stages[0, 1], stages[1, 1]):
        for s in range(stages.shape[0] - 1, 0, -1):
            up(line, place * POINT, stages, s, twiddles)
    leave(line, stages, twiddles, wave, base, writes)
