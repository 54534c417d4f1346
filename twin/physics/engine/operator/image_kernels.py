"""Kernels that evaluate band-limited periodic images on rectangular rasters and at arbitrary points, with sums in float64."""

import functools
import math
from collections.abc import Iterator

import numpy as np
import scipy.fft

from stemtwin.twin.physics.engine.kernels import threads
from stemtwin.twin.physics.engine.kernels.jit import inlined, kernel
from stemtwin.twin.physics.engine.kernels.simd_float64 import EIGHT, nothing, read, total, write
from stemtwin.twin.physics.engine.operator.quadratic_form_kernels import STEP, WORTH_A_THREAD

# ---- a raster: Y F X, two products of small real matrices ----------------------------------------------------------------------------


@kernel
def _multiply(a, b, out):
    """Multiply matrices; the number of rows must be a multiple of 4, the number of columns a multiple of 16."""
    for m in range(0, a.shape[0], 4):
        a0, a1, a2, a3 = a[m], a[m + 1], a[m + 2], a[m + 3]
        for n in range(0, b.shape[1], STEP):
            s00, s10, s20, s30 = nothing(), nothing(), nothing(), nothing()
            s01, s11, s21, s31 = nothing(), nothing(), nothing(), nothing()
            for k in range(b.shape[0]):
                p, q = read(b[k], n), read(b[k], n + EIGHT)
                s00, s01 = s00 + a0[k] * p, s01 + a0[k] * q
                s10, s11 = s10 + a1[k] * p, s11 + a1[k] * q
                s20, s21 = s20 + a2[k] * p, s21 + a2[k] * q
                s30, s31 = s30 + a3[k] * p, s31 + a3[k] * q
            write(out[m], n, s00)
            write(out[m], n + EIGHT, s01)
            write(out[m + 1], n, s10)
            write(out[m + 1], n + EIGHT, s11)
            write(out[m + 2], n, s20)
            write(out[m + 2], n + EIGHT, s21)
            write(out[m + 3], n, s30)
            write(out[m + 3], n + EIGHT, s31)


def _up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


@kernel
def _turns(angles, count, cosines, sines):
    """Fill cosines[h, p] and sines[h, p] of h times each angle by repeated rotation; each rotation adds one rounding error."""
    for p in range(angles.size):
        cosines[0, p], sines[0, p] = 1.0, 0.0
        cosines[1, p], sines[1, p] = math.cos(angles[p]), math.sin(angles[p])
    for h in range(2, count):
        for p in range(angles.size):
            c, s = cosines[h - 1, p], sines[h - 1, p]
            cosines[h, p] = c * cosines[1, p] - s * sines[1, p]
            sines[h, p] = s * cosines[1, p] + c * sines[1, p]


def _harmonics(angles: np.ndarray, count: int, multiple: int) -> np.ndarray:
    """Return cos(h a), then sin(h a), h = 0 .. count - 1, of angles (n,), padded with zeros: shape (2 count, n rounded up to a multiple)."""
    out = np.zeros((2, max(count, 2), _up(angles.size, multiple)))
    _turns(angles, count, *out)
    return out[:, :count].reshape(2 * count, -1)


def raster(coefficients: np.ndarray, angle_y: np.ndarray, angle_x: np.ndarray) -> np.ndarray:
    """Return Re sum_h C_h exp(-i (hy angle_y + hx angle_x)) on a rectangular raster.

    Parameters
    ----------
    coefficients : ndarray
        Fourier coefficients C, complex128, shape (images, rows, 2 mx + 1): hy = 0 .. rows - 1, hx = -mx .. mx.
    angle_y, angle_x : ndarray
        2 pi y / Ly, shape (ny,), and 2 pi x / Lx, shape (nx,), float64.

    Returns
    -------
    ndarray
        Images, float32, shape (images, ny, nx).
    """
    images, rows, columns = coefficients.shape
    y, x = np.ascontiguousarray(_harmonics(angle_y, rows, 4).T), _harmonics(angle_x, columns // 2 + 1, STEP)
    folded = _folded(coefficients)
    out = np.empty((images, y.shape[0], x.shape[1]), np.float32)

    def work(queue: Iterator[int]) -> None:
        lines = np.empty((y.shape[0], folded.shape[2]))
        for image in queue:
            _multiply(y, folded[image], lines)
            _multiply(lines, x, out[image])

    products = images * y.shape[0] * (y.shape[1] * folded.shape[2] + x.size) // EIGHT
    threads.spread(work, range(images), threads=None if images > 1 and products > WORTH_A_THREAD else 1)
    return out[:, : angle_y.size, : angle_x.size]


def own_rasters(coefficients: np.ndarray, angle_y: np.ndarray, angle_x: np.ndarray) -> np.ndarray:
    """Return each image on its own raster, with the same bits as :func:`raster`, computed by the calling thread in one call.

    Parameters
    ----------
    coefficients : ndarray
        Fourier coefficients, complex128, shape (images, channels, rows, 2 mx + 1).
    angle_y, angle_x : ndarray
        Angles of each raster as in :func:`raster`, float64, shapes (images, ny) and (images, nx).

    Returns
    -------
    ndarray
        Images, float32, shape (images, channels, ny, nx).
    """
    images, channels, rows, columns = coefficients.shape
    ny, nx, half = angle_y.shape[1], angle_x.shape[1], columns // 2 + 1
    folded = _folded(coefficients.reshape(-1, rows, columns))
    out = np.empty((images, channels, _up(ny, 4), _up(nx, STEP)), np.float32)
    _draw_own(folded.reshape(images, channels, *folded.shape[1:]), angle_y, angle_x, half, out)
    return out[:, :, :ny, :nx]


def _folded(coefficients: np.ndarray) -> np.ndarray:
    """Return the real matrix F of each image, (images, 2 rows, 2 (mx + 1) rounded up); hx and -hx share a cosine and have opposite sines."""
    images, rows, columns = coefficients.shape
    half = columns // 2 + 1
    right, left = coefficients[..., half - 1 :], coefficients[..., half - 1 :: -1].copy()
    left[..., 0] = 0
    plus, minus = right + left, right - left
    folded = np.zeros((images, 2 * rows, _up(2 * half, STEP)))
    folded[:, :rows, :half], folded[:, rows:, :half] = np.real(plus), np.imag(plus)
    folded[:, :rows, half : 2 * half], folded[:, rows:, half : 2 * half] = np.imag(minus), -np.real(minus)
    return folded


@kernel
def _draw_own(folded, angle_y, angle_x, half, out):
    rows, ny, nx = folded.shape[2] // 2, angle_y.shape[1], angle_x.shape[1]
    turned_y = np.zeros((2, max(rows, 2), ny))
    turned_x = np.zeros((2, max(half, 2), nx))
    y, x = np.zeros((out.shape[2], 2 * rows)), np.zeros((2 * half, out.shape[3]))
    lines = np.empty((out.shape[2], folded.shape[3]))
    for image in range(len(folded)):
        _turns(angle_y[image], rows, turned_y[0], turned_y[1])
        _turns(angle_x[image], half, turned_x[0], turned_x[1])
        for part in range(2):
            for h in range(rows):
                for p in range(ny):
                    y[p, part * rows + h] = turned_y[part, h, p]
            for h in range(half):
                for p in range(nx):
                    x[part * half + h, p] = turned_x[part, h, p]
        for channel in range(folded.shape[1]):
            _multiply(y, folded[image, channel], lines)
            _multiply(lines, x, out[image, channel])


# ---- any points: a B-spline of degree 7 through the oversampled image ----------------------------------------------------------------

DEGREE = 7
"""Degree of the spline; each point uses eight values of the oversampled image per axis."""
OVERSAMPLING = 4
"""Oversampling of the image for the spline. Along each axis, the error is below 2e-7 of the finest Fourier coefficients, and
falls with the eighth power of the frequency (Unser, IEEE Signal Processing Magazine 16 (1999) 22)."""
CHUNK = 4096
"""Number of points that one thread evaluates at a time."""


@functools.cache
def _spline_weights() -> np.ndarray:
    """Return the weights of the taps q = 0..7 as polynomials of the fraction t: [power, q], powers from 7 down to 0, flat."""
    out = np.zeros((DEGREE + 1, DEGREE + 1))
    for q in range(DEGREE + 1):
        for k in range(DEGREE + 1 - q):  # the piece t + 7 - q of 1/7! sum_k (-1)^k binomial(8, k) (u - k)^7
            shift = DEGREE - q - k
            for power in range(DEGREE + 1):
                term = (-1) ** k * math.comb(DEGREE + 1, k) * math.comb(DEGREE, power) * shift ** (DEGREE - power)
                out[DEGREE - power, q] += term / math.factorial(DEGREE)
    out.flags.writeable = False
    return out.ravel()


@inlined
def _weigh(weights, t, out, at):
    w = read(weights, 0)
    for power in range(1, DEGREE + 1):
        w = t * w + read(weights, power * EIGHT)
    write(out, at, w)


@kernel
def _read_points(fine, ny, nx, points, per_y, per_x, weights, begin, end, taps, out):
    """Evaluate the image at points ``begin`` to ``end - 1`` into ``out``; ``taps`` is scratch memory of two times eight numbers."""
    pitch = nx + DEGREE
    for p in range(begin, end):
        x, y = points[p, 0] * per_x, points[p, 1] * per_y
        x, y = (x - np.floor(x)) * nx, (y - np.floor(y)) * ny
        if not (0 <= x <= nx and 0 <= y <= ny):
            out[p] = np.nan
            continue
        ix, iy = min(int(x), nx - 1), min(int(y), ny - 1)
        _weigh(weights, x - ix, taps, 0)
        _weigh(weights, y - iy, taps, EIGHT)
        wx, column = read(taps, 0), nothing()
        for q in range(EIGHT):
            row = iy + q
            row = row - ny if row >= ny else row
            column = column + taps[EIGHT + q] * read(fine, ix + row * pitch)
        out[p] = np.float32(total(wx * column))


def _taps() -> np.ndarray:
    """Return scratch memory for :func:`_read_points`, which compiles faster because it does not allocate memory itself."""
    return np.empty(2 * EIGHT)


@functools.lru_cache(maxsize=64)
def _spline_factors(rows: int, columns: int) -> tuple[int, int, np.ndarray]:
    """Return the sides of the oversampled image and the factor of each Fourier coefficient."""
    ny, nx = (scipy.fft.next_fast_len(max(OVERSAMPLING * n, EIGHT), real=True) for n in (2 * rows - 1, columns))
    hy, hx = np.arange(rows)[:, None] / ny, (np.arange(columns) - columns // 2) / nx
    spline = (np.sinc(hy) * np.sinc(hx)) ** (DEGREE + 1)
    factors = np.where(hy, 0.5, 1.0) / spline * np.exp(-2j * np.pi * (DEGREE // 2) * (hy + hx))
    factors.flags.writeable = False
    return ny, nx, factors


def _spline(coefficients: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Return the ny (nx + 7) spline coefficients of an image over one period, shifted by half a spline, so a point's taps begin in its own cell."""
    rows, columns = coefficients.shape
    ny, nx, factors = _spline_factors(rows, columns)
    lines = np.zeros((rows, nx), np.complex128)
    lines[:, np.arange(columns) - columns // 2] = coefficients.conj() * factors
    short = scipy.fft.ifft(lines, axis=1, norm="forward")
    fine = scipy.fft.irfft(np.concatenate([short, short[:, :DEGREE]], axis=1), ny, axis=0, norm="forward")
    return np.ascontiguousarray(fine).reshape(-1), ny, nx


def at_own_points(coefficients: np.ndarray, points: np.ndarray, extent: tuple[float, float]) -> np.ndarray:
    """Return each image at its own points, with the same bits as :func:`at_points`, computed by the calling thread in one call.

    Parameters
    ----------
    coefficients : ndarray
        Fourier coefficients, complex128, shape (images, channels, rows, 2 mx + 1).
    points : ndarray
        Points (x, y) of each image, A, float64, shape (images, P, 2).
    extent : tuple of float
        Period (Ly, Lx), A.

    Returns
    -------
    ndarray
        Values, float32, shape (images, channels, P).
    """
    if len(coefficients) == 1:
        return at_points(coefficients[0], points[0], extent)[None]
    out = np.empty((*coefficients.shape[:2], points.shape[1]), np.float32)
    scale, weights = (1 / extent[0], 1 / extent[1]), _spline_weights()
    for image, own, read_out in zip(coefficients, points, out, strict=True):
        for channel, values in zip(image, read_out, strict=True):
            _read_points(*_spline(channel), own, *scale, weights, 0, len(own), _taps(), values)
    return out


def at_points(coefficients: np.ndarray, points: np.ndarray, extent: tuple[float, float]) -> np.ndarray:
    """Return Re sum_h C_h exp(-2 pi i h.r / L) at arbitrary points.

    Parameters
    ----------
    coefficients : ndarray
        Fourier coefficients C, complex128, shape (images, rows, 2 mx + 1): hy = 0 .. rows - 1, hx = -mx .. mx.
    points : ndarray
        Points (x, y), A, float64, shape (P, 2).
    extent : tuple of float
        Period (Ly, Lx), A.

    Returns
    -------
    ndarray
        Values, float32, shape (images, P), NaN where a coordinate is not finite; the error is below 1e-6 of the largest value.
    """
    points = np.ascontiguousarray(points)
    out = np.empty((len(coefficients), len(points)), np.float32)
    scale, weights = (1 / extent[0], 1 / extent[1]), _spline_weights()
    worth = None if out.size >= 16 * CHUNK else 1

    def whole(queue: Iterator[int]) -> None:
        for image in queue:
            _read_points(*_spline(coefficients[image]), points, *scale, weights, 0, len(points), _taps(), out[image])

    if len(coefficients) > 1:
        threads.spread(whole, range(len(coefficients)), threads=worth)
        return out
    spline = _spline(coefficients[0])

    def some(queue: Iterator[int]) -> None:
        for begin in queue:
            _read_points(*spline, points, *scale, weights, begin, min(begin + CHUNK, len(points)), _taps(), out[0])

    threads.spread(some, range(0, len(points), CHUNK), threads=worth)
    return out
