"""Resampling from reciprocal pixels to camera pixels, with the number of electrons conserved."""

import numpy as np
import scipy.sparse


def edges(count: int, pitch: float) -> np.ndarray:
    """Return the ``count + 1`` edges of a row of pixels that is centred on 0, in the unit of ``pitch``."""
    return (np.arange(count + 1) - count / 2) * pitch


def centres(count: int, pitch: float) -> np.ndarray:
    """Return the centres of a row of pixels that is centred on 0, in the unit of ``pitch``."""
    return (np.arange(count) - (count - 1) / 2) * pitch


def _shares(at: np.ndarray, width: float, borders: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels that the intervals ``at`` +- ``width / 2`` overlap, and the fraction of each interval in each.

    Both arrays have the shape (n, m); the pixel number -1 marks an unused entry.
    """
    low, high = at - width / 2, at + width / 2
    first = np.searchsorted(borders, low, side="right") - 1
    reach = int((np.searchsorted(borders, high, side="left") - first).max(initial=1))
    number = first[:, None] + np.arange(max(reach, 1))
    inside = (number >= 0) & (number < len(borders) - 1)
    safe = np.where(inside, number, 0)
    overlap = np.minimum(high[:, None], borders[safe + 1]) - np.maximum(low[:, None], borders[safe])
    fraction = np.where(inside, np.clip(overlap / width, 0, 1), 0)
    return np.where(fraction > 0, number, -1), fraction


def resampling(
    ky: np.ndarray, kx: np.ndarray, pixel: tuple[float, float], shape: tuple[int, int], pitch: tuple[float, float]
) -> scipy.sparse.csr_array:
    """Return the matrix that distributes the electrons of reciprocal pixels over a camera centred on k = 0.

    The electrons of a reciprocal pixel are spread evenly over its area. A camera pixel receives the electrons in the
    part of this area that it covers. Only electrons that miss the camera are lost.

    Parameters
    ----------
    ky, kx : ndarray
        Centres of the reciprocal pixels, 1/A, shape (Q,).
    pixel : tuple of float
        Sides of the reciprocal pixels (dky, dkx), 1/A.
    shape : tuple of int
        Number of camera pixels (ny, nx).
    pitch : tuple of float
        Sides of a camera pixel, 1/A.

    Returns
    -------
    scipy.sparse.csr_array
        float32, shape (ny * nx, Q). The sum of a column is 1 if its reciprocal pixel lies wholly on the camera.
    """
    iy, fy = _shares(np.asarray(ky, float), pixel[0], edges(shape[0], pitch[0]))
    ix, fx = _shares(np.asarray(kx, float), pixel[1], edges(shape[1], pitch[1]))
    fraction = fy[:, :, None] * fx[:, None, :]
    row = iy[:, :, None] * shape[1] + ix[:, None, :]
    column = np.broadcast_to(np.arange(len(ky))[:, None, None], row.shape)
    used = (fraction > 0) & (iy >= 0)[:, :, None] & (ix >= 0)[:, None, :]
    entries = (fraction[used].astype(np.float32), (row[used], column[used]))
    return scipy.sparse.coo_array(entries, shape=(shape[0] * shape[1], len(ky))).tocsr()
