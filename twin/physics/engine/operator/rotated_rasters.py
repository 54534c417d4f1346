"""A kernel for periodic images with few Fourier coefficients: their series are summed on rotated rasters, exact to float32 rounding.

The phase h.r of a point is the sum a + b of a phase a of its line and a phase b of its column, so an image is a product of
two matrices of waves. About the centre of the raster, cosines are even and sines are odd. The products for a quarter of
the points (cos a cos b, sin a sin b, sin a cos b, cos a sin b) therefore give the values at all points.
"""

import numpy as np

from stemtwin.twin.physics.engine.kernels.jit import kernel, part
from stemtwin.twin.physics.engine.kernels.simd_float32 import SIXTEEN, nothing, read, write
from stemtwin.twin.physics.engine.operator.image_kernels import _turns

MOST_COEFFICIENTS = 640
"""Largest number of coefficients of an image, including zeros, for which the series is faster than a spline."""
MOST_POINTS = 2**18
"""Largest number of raster points for which the series is faster; for more points, a spline uses several threads."""
TALL, WIDE = 8, 2 * SIXTEEN
"""Numbers of lines and columns that are summed together."""


def worth(coefficients: np.ndarray, shape: tuple[int, int]) -> bool:
    """Return True if the sum of the Fourier series is faster than a spline for images on rotated rasters.

    ``coefficients`` has the shape (..., rows, 2 mx + 1). ``shape`` is the number of raster points (ny, nx).
    """
    return coefficients.shape[-2] * coefficients.shape[-1] <= MOST_COEFFICIENTS and shape[0] * shape[1] <= MOST_POINTS


def rotated_rasters(coefficients: np.ndarray, middle: np.ndarray, per_line: np.ndarray, per_column: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return Re sum_h C_h exp(-i (hy y + hx x)) of each image on its own rotated raster, computed by the calling thread.

    Parameters
    ----------
    coefficients : ndarray
        Fourier coefficients C, complex128, shape (images, channels, rows, 2 mx + 1): hy = 0 .. rows - 1, hx = -mx .. mx.
    middle : ndarray
        Phases 2 pi (y / Ly, x / Lx) at the centre of each raster, float64, shape (images, 2).
    per_line, per_column : ndarray
        Changes of these phases from line to line and from column to column, shape (images, 2).
    shape : tuple of int
        Points (ny, nx) of every raster.

    Returns
    -------
    ndarray
        Images, float32, shape (images, channels, ny, nx); the error is below 1e-6 of the largest value.
    """
    images, channels, rows, columns = coefficients.shape
    waves = (coefficients != 0).any(axis=(0, 1))
    waves[0, columns // 2] = False
    hy, hx = np.nonzero(waves)
    means = np.real(coefficients[:, :, 0, columns // 2]).copy()
    some = np.ascontiguousarray(coefficients[:, :, hy, hx])
    hx = hx - columns // 2
    turns = np.exp(-1j * (middle[:, :1] * hy + middle[:, 1:] * hx))[:, None] * some
    out = np.empty((images, channels, *shape), np.float32)
    if len(hy):
        _sum(np.real(turns).copy(), np.imag(turns).copy(), hy, hx, rows, columns // 2 + 1, per_line, per_column, means, out)
    else:
        out[:] = means[:, :, None, None]
    return out


@part
def _waves(per, count, hy, hx, rows, half, cosines, sines):
    """Fill cosines[h, p] and sines[h, p] with the waves at the points of one half of a line of ``count`` points, padded with 0.

    Point p is p steps (odd ``count``) or p + 1/2 steps (even ``count``) from the centre.
    """
    start = 0.5 * (1 - count % 2)
    some = (count + 1) // 2
    angles = np.empty(some)
    cy, sy = np.empty((max(rows, 2), some)), np.empty((max(rows, 2), some))
    cx, sx = np.empty((max(half, 2), some)), np.empty((max(half, 2), some))
    for p in range(some):
        angles[p] = (p + start) * per[0]
    _turns(angles, rows, cy, sy)
    for p in range(some):
        angles[p] = (p + start) * per[1]
    _turns(angles, half, cx, sx)
    for h in range(hy.size):
        sign, x, y = (1.0 if hx[h] >= 0 else -1.0), abs(hx[h]), hy[h]
        for p in range(some):
            cosines[h, p] = cy[y, p] * cx[x, p] - sign * sy[y, p] * sx[x, p]
            sines[h, p] = sy[y, p] * cx[x, p] + sign * cy[y, p] * sx[x, p]
        for p in range(some, cosines.shape[1]):
            cosines[h, p], sines[h, p] = 0.0, 0.0


@part
def _scale(factors, sign, waves, begin, out):
    """Write waves (h, p), each multiplied by its factor, into the columns of ``out`` that start at ``begin``."""
    for h in range(waves.shape[0]):
        factor = sign * factors[h]
        for p in range(waves.shape[1]):
            out[h, begin + p] = factor * waves[h, p]


@kernel
def _multiply_turned(a, b, out):
    """Compute a^T b into ``out``; the columns of a are a multiple of 8, those of b a multiple of 32."""
    for m in range(0, a.shape[1], TALL):
        for n in range(0, b.shape[1], WIDE):
            s0, s1, s2, s3 = nothing(), nothing(), nothing(), nothing()
            s4, s5, s6, s7 = nothing(), nothing(), nothing(), nothing()
            t0, t1, t2, t3 = nothing(), nothing(), nothing(), nothing()
            t4, t5, t6, t7 = nothing(), nothing(), nothing(), nothing()
            for k in range(b.shape[0]):
                p, q = read(b[k], n), read(b[k], n + SIXTEEN)
                s0, t0 = s0 + a[k, m] * p, t0 + a[k, m] * q
                s1, t1 = s1 + a[k, m + 1] * p, t1 + a[k, m + 1] * q
                s2, t2 = s2 + a[k, m + 2] * p, t2 + a[k, m + 2] * q
                s3, t3 = s3 + a[k, m + 3] * p, t3 + a[k, m + 3] * q
                s4, t4 = s4 + a[k, m + 4] * p, t4 + a[k, m + 4] * q
                s5, t5 = s5 + a[k, m + 5] * p, t5 + a[k, m + 5] * q
                s6, t6 = s6 + a[k, m + 6] * p, t6 + a[k, m + 6] * q
                s7, t7 = s7 + a[k, m + 7] * p, t7 + a[k, m + 7] * q
            _write_two(out[m], n, s0, t0)
            _write_two(out[m + 1], n, s1, t1)
            _write_two(out[m + 2], n, s2, t2)
            _write_two(out[m + 3], n, s3, t3)
            _write_two(out[m + 4], n, s4, t4)
            _write_two(out[m + 5], n, s5, t5)
            _write_two(out[m + 6], n, s6, t6)
            _write_two(out[m + 7], n, s7, t7)


@part
def _write_two(line, n, s, t):
    write(line, n, s)
    write(line, n + SIXTEEN, t)


@kernel
def _sum(real, imag, hy, hx, rows, half, per_line, per_column, means, out):
    ny, nx = out.shape[2], out.shape[3]
    lines, columns, waves = (ny + 1) // 2, (nx + 1) // 2, hy.size
    tall, wide = _rounded((ny + 1) // 2, TALL // 2), _rounded((nx + 1) // 2, WIDE)
    cos_a, sin_a = np.empty((waves, tall), np.float32), np.empty((waves, tall), np.float32)
    cos_b, sin_b = np.empty((waves, wide), np.float32), np.empty((waves, wide), np.float32)
    factors = np.empty((waves, 2 * tall), np.float32)
    even, odd = np.empty((2 * tall, wide), np.float32), np.empty((2 * tall, wide), np.float32)
    for image in range(len(real)):
        _waves(per_line[image], ny, hy, hx, rows, half, cos_a, sin_a)
        _waves(per_column[image], nx, hy, hx, rows, half, cos_b, sin_b)
        for channel in range(real.shape[1]):
            a, b, mean = real[image, channel], imag[image, channel], means[image, channel]
            _scale(a, 1.0, cos_a, 0, factors)
            _scale(b, 1.0, sin_a, tall, factors)
            _multiply_turned(factors, cos_b, even)
            _scale(b, 1.0, cos_a, 0, factors)
            _scale(a, -1.0, sin_a, tall, factors)
            _multiply_turned(factors, sin_b, odd)
            frame = out[image, channel]
            for i in range(lines):
                above, below = frame[lines - 1 - i], frame[ny - lines + i]
                for j in range(columns):
                    first, second = even[i, j] + odd[i, j], even[tall + i, j] + odd[tall + i, j]
                    below[nx - columns + j], above[nx - columns + j] = mean + (first + second), mean + (first - second)
                for j in range(columns):
                    first, second = even[i, j] - odd[i, j], even[tall + i, j] - odd[tall + i, j]
                    below[columns - 1 - j], above[columns - 1 - j] = mean + (first + second), mean + (first - second)


@part
def _rounded(n, multiple):
    return (n + multiple - 1) // multiple * multiple
