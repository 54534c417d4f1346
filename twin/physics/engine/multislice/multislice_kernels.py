"""The compiled passes of multislice over a batch of sixteen waves.

A batch is stored as (ny, pitch) points of 16 complex numbers, with y in real space. Along x, a row holds the Fourier
coefficients inside the band limit in FFT order, followed by two further points. The first is always zero; transforms use
it as the value of every coefficient beyond the band limit. The second takes all computed coefficients beyond the band
limit and is never read. Padding makes the pitch odd, so the points of a column do not share one set of the cache. Every
pass transforms a row or a column in scratch memory that stays in the cache, and writes it back.

After the columns of a step are processed, the batch contains the waves with real and imaginary parts exchanged. After the
rows are processed, it contains the waves themselves (see `fft`).

Columns and rows are transformed by the same `convolve_line`. Its arguments have the same types in both calls (arrays are
`read_only`, numbers are not literals), so it is compiled once.
"""

import numpy as np

from stemtwin.twin.physics.engine.kernels.fft import ascend_line, convolve_line, descend_line
from stemtwin.twin.physics.engine.kernels.jit import kernel, part
from stemtwin.twin.physics.engine.kernels.simd_complex64 import LANES, POINT, load, read_only, squared, store, zeros


@kernel
def enter_waves(wave, values, beam_places, starts, columns, line, plan, places):
    """Transform Fourier coefficients along y to real space, and write them to columns of the batch.

    Column ``columns[c]`` is computed from the coefficients ``values[starts[c] : starts[c + 1]]``; the other coefficients of
    this column are zero. The real and imaginary parts of ``values`` are exchanged. Coefficient b is at position
    ``beam_places[b]`` of the column before its transform, in the digit-reversed order of :func:`fft.ascend_line`.
    """
    for c in range(columns.size):
        for i in range(plan.order.size):
            store(line, i * POINT, zeros())
        for b in range(starts[c], starts[c + 1]):
            store(line, beam_places[b] * POINT, load(values, b * POINT))
        ascend_line(line, wave, columns[c] * POINT, places, plan)


@part
def _propagate(wave, y_factors, x_factors, band, line, factors, plan, places):
    """Transform all columns, multiply them by the propagator, and transform them back."""
    ny = plan.order.size
    for c in range(x_factors.size):
        x_factor = x_factors[c]
        for i in range(ny):
            factors[i] = y_factors[i] * x_factor * band[c, i]
        convolve_line(wave, c * POINT, places, places, line, plan, read_only(factors), np.int64(0), np.int64(POINT))


@part
def _transmit(wave, transmission, first, pitch, ny, line, plan, reads, writes):
    """Transform all rows back, multiply them by the transmission, and transform them again."""
    nx = plan.order.size
    for y in range(ny):
        convolve_line(wave, y * pitch * POINT, reads, writes, line, plan, transmission, first + y * nx, np.int64(0))


@kernel
def advance(
    wave, begin, end, transmission, steps, y_factors, x_factors, band, pitch, line, factors, plan_y, plan_x, places_y, first_reads, reads, writes
):
    """Propagate the batch from behind plane ``begin - 1`` (from in front of plane 0 if ``begin`` is 0) to behind plane ``end - 1``."""
    ny, nx = plan_y.order.size, plan_x.order.size
    for s in range(begin, end):
        if s > 0:
            step = steps[s]
            _propagate(wave, y_factors[step], x_factors[step], band, line, factors, plan_y, places_y)
        _transmit(wave, transmission, s * ny * nx, pitch, ny, line, plan_x, first_reads if s == 0 else reads, writes)


@kernel
def pick_coefficients(wave, columns, starts, picked_places, factors, numbers, result, first, waves, picked, line, plan, places):
    """Fourier transform columns and copy coefficients into rows ``first`` to ``first + waves - 1`` of ``result``.

    Coefficients ``starts[c] : starts[c + 1]`` belong to column c. Coefficient q is at position ``picked_places[q]`` of
    the transformed line, is multiplied by ``factors[q]`` and goes to ``result[:, numbers[q]]``. ``picked`` is scratch
    memory of as many points as the longest column has coefficients.
    """
    for c in range(columns.size):
        begin, end = starts[c], starts[c + 1]
        descend_line(wave, columns[c] * POINT, places, line, plan)
        for q in range(begin, end):
            store(picked, (q - begin) * POINT, factors[q] * load(line, picked_places[q] * POINT))
        for j in range(waves):
            for q in range(begin, end):
                at = (q - begin) * POINT + j
                result[first + j, numbers[q]] = complex(picked[at], picked[at + LANES])


@kernel
def weigh_intensities(wave, columns, weights, sums, line, plan, places):
    """Fourier transform columns and add weighted squared moduli to ``sums``, one column after another.

    ``weights`` is (detectors, columns, ny), in the order of a transformed line; ``sums`` is (detectors, 16) float64.
    """
    ny = plan.order.size
    for c in range(columns.size):
        descend_line(wave, columns[c] * POINT, places, line, plan)
        for d in range(weights.shape[0]):
            total = zeros()
            for i in range(ny):
                total = total + weights[d, c, i] * squared(load(line, i * POINT))
            store(line, ny * POINT, total)
            for j in range(LANES):
                sums[d, j] += line[ny * POINT + j] + line[ny * POINT + LANES + j]
