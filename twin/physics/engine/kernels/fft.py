"""Fourier transforms of lines of 16 waves at once, for lengths with the prime factors 2, 3 and 5, compiled once for all lengths.

A *line* of the wave is a sequence of *points*. A point is 16 complex numbers, one from each of 16 waves.

`descend_line` transforms a line by decimation in frequency: its input has the natural order, and its output has the
digit-reversed order. `ascend_line` uses decimation in time and converts the digit-reversed order back to the natural
order. A convolution (`convolve_line`: transform, multiply, transform back) never needs the natural order between its two
transforms. Time is saved in several ways:

- Data are never permuted; the factor of each coefficient is looked up in digit-reversed order instead.
- The last descending stage, the product and the first ascending stage act on a few points in registers (`butterflies.middle`).
- All stages between the first and the last act on one sub-block after another, which stays in the first-level cache.
- The first radix is small and radix 8 comes second: the widely spaced points of a first stage of radix 8 would compete
  for the same sets of the cache.
- The first stage reads the wave and the last stage writes it through tables of positions, so a line can be a column or a
  row, and can have gaps.

Only the forward direction is implemented. The inverse transform of a line is the forward transform with real and
imaginary parts exchanged before and after it. `convolve_line` exchanges the parts between its two transforms, at no cost
because only the roles of two registers change, and thereby computes

    convolve(z) = FFT( factor * swap( FFT(z) ) )

With z = swap(psi) and factor t this is n FFT(t ifft(psi)) for a line of n points; with z = psi and factor conj(p) it is
n swap(ifft(p FFT(psi))). Rows use the first form and columns the second. After a pass over rows or columns, memory
contains the wave in the form that the next pass expects.

Plans are arrays, not functions, with one row (radix, points, blocks, first twiddle) per stage; see `make_plan`.
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
    """Plan of the transform of lines of one length, in the form that kernels take.

    Attributes
    ----------
    stages : ndarray
        (n_stages, 4) int64, one row per stage. The first stage splits the line into parts; each further stage splits blocks
        inside the parts. Columns: radix of the stage, number of points in each block before the split, number of these
        blocks in one part (1 for the first stage), and index of the stage's first twiddle factor.
    order : ndarray
        (n,) int64: ``order[i]`` is the frequency index at position i of a transformed line.
    twiddles : ndarray
        Twiddle factors of all stages, complex64, one-dimensional.
    """

    stages: np.ndarray
    order: np.ndarray
    twiddles: np.ndarray


def factors(n: int) -> tuple[int, ...]:
    """Return the radices of the transform of a line of ``n`` points, first stage first; 1 denotes a stage that only copies.

    The order is the fastest of all orders measured for 25 lengths from 64 to 1024, or within 3 % of the fastest.

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
        message = f"A grid side of {n} points has a prime factor other than 2, 3 and 5. Use {fast_length(n)} points."
        raise SamplingError(message)
    eights = {0: twos, 1: max(0, twos - 4), 2: twos - 2}[twos % 3] // 3
    if eights > 2 and 3 * eights == twos and not radices:
        eights -= 2  # a plan of eights only would begin with one: 512 = 4 8 4 4
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
    """Transform a line of the wave, exchange real and imaginary parts, multiply, and transform again.

    The factors are ``table[offset : offset + n]``.

    ``reads[i]`` and ``writes[i]`` are the positions of point i in the wave, counted in float32 numbers from ``base``;
    ``line`` is scratch memory of n points. If ``ahead`` is not 0, the line that begins ``ahead`` float32 numbers after this
    line is prefetched at the same time, because hardware prefetchers do not follow columns, whose points lie far apart.
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
    """Transform a line of the wave into ``line``, whose position i then holds frequency ``plan.order[i]``."""
    stages, _, twiddles = plan
    enter(wave, base, reads, line, stages, twiddles)
    for place in range(0, stages[0, 1], stages[1, 1]):
        for s in range(1, stages.shape[0]):
            down(line, place * POINT, stages, s, twiddles)


@part
def ascend_line(line, wave, base, writes, plan):
    """Transform ``line``, whose position i holds element ``plan.order[i]``, into a line of the wave."""
    stages, _, twiddles = plan
    for place in range(0, stages[0, 1], stages[1, 1]):
        for s in range(stages.shape[0] - 1, 0, -1):
            up(line, place * POINT, stages, s, twiddles)
    leave(line, stages, twiddles, wave, base, writes)
