"""Kernels of the imaging operator: the quadratic form by difference, and a band-limited image on a raster."""

import numpy as np

from stemtwin.twin.physics.engine.jit import kernel


@kernel
def _form(ar, ai, mr, mi, first, second, starts, out_r, out_i):
    for d in range(starts.size - 1):
        sr = 0.0
        si = 0.0
        for p in range(starts[d], starts[d + 1]):
            i = first[p]
            j = second[p]
            pr = ar[i] * ar[j] + ai[i] * ai[j]
            pi = ar[i] * ai[j] - ai[i] * ar[j]
            sr += pr * mr[p] - pi * mi[p]
            si += pr * mi[p] + pi * mr[p]
        out_r[d] = sr
        out_i[d] = si


def quadratic_form(a: np.ndarray, matrix: np.ndarray, first: np.ndarray, second: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return sum conj(a_i) a_j M_ij over the pairs of each difference.

    Parameters
    ----------
    a : ndarray
        Amplitudes, complex128, shape (B,).
    matrix : ndarray
        Real and imaginary part of M by pairs, float32, shape (channels, 2, pairs).
    first, second : ndarray
        Beams i and j of each pair, int32, shape (pairs,).
    starts : ndarray
        Where each difference's pairs start, int64, shape (n + 1,).

    Returns
    -------
    ndarray
        complex128, shape (channels, n): sums over many pairs cancel where the image is dark, so they are kept in float64.
    """
    ar, ai = np.ascontiguousarray(a.real), np.ascontiguousarray(a.imag)
    out = np.empty((len(matrix), starts.size - 1), np.complex128)
    for channel, m in enumerate(matrix):
        real, imag = np.empty(starts.size - 1), np.empty(starts.size - 1)
        _form(ar, ai, m[0], m[1], first, second, starts, real, imag)
        out[channel].real, out[channel].imag = real, imag
    return out


@kernel
def _raster(cr, ci, yr, yi, xr, xi, tr, ti, line, out):
    ny, rows = yr.shape
    columns, nx = xr.shape
    for iy in range(ny):
        for c in range(columns):
            tr[c] = 0.0
            ti[c] = 0.0
        for h in range(rows):
            pr = yr[iy, h]
            pi = yi[iy, h]
            for c in range(columns):
                tr[c] += cr[h, c] * pr - ci[h, c] * pi
                ti[c] += cr[h, c] * pi + ci[h, c] * pr
        for ix in range(nx):
            line[ix] = 0.0
        for c in range(columns):
            pr = tr[c]
            pi = ti[c]
            for ix in range(nx):
                line[ix] += pr * xr[c, ix] - pi * xi[c, ix]
        for ix in range(nx):
            out[iy, ix] = np.float32(line[ix])


def raster(coefficients: np.ndarray, phase_y: np.ndarray, phase_x: np.ndarray) -> np.ndarray:
    """Return Re sum_h C_h phase_y phase_x on a rectangular raster.

    Parameters
    ----------
    coefficients : ndarray
        complex128, shape (channels, rows, columns).
    phase_y, phase_x : ndarray
        complex128, shapes (ny, rows) and (columns, nx).

    Returns
    -------
    ndarray
        float32, shape (channels, ny, nx).
    """

    def split(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.ascontiguousarray(a.real), np.ascontiguousarray(a.imag)

    out = np.empty((len(coefficients), phase_y.shape[0], phase_x.shape[1]), np.float32)
    sums, line = np.empty((2, phase_x.shape[0])), np.empty(phase_x.shape[1])
    phases = (*split(phase_y), *split(phase_x))
    for channel, c in enumerate(coefficients):
        _raster(*split(c), *phases, *sums, line, out[channel])
    return out
