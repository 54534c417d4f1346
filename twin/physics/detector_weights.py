"""Weights of annular and segmented detectors on reciprocal pixels."""

from collections.abc import Callable

import numpy as np

from stemtwin.twin.physics.probe import disc_coverage

Weights = Callable[[np.ndarray, np.ndarray, tuple[float, float]], np.ndarray]
"""Function from the centres ky, kx and the sides of reciprocal pixels (1/A) to detector weights (channels, ...)."""
SUBPIXELS = 8
"""Subdivisions of a pixel along each side, for the fraction of the pixel in a segment."""


def annulus(ky: np.ndarray, kx: np.ndarray, pixel: tuple[float, float], inner: float, outer: float, *, antialias: bool = True) -> np.ndarray:
    """Return the weight of each reciprocal pixel on an annular detector.

    Parameters
    ----------
    ky, kx : ndarray
        Centres of the pixels, broadcastable, 1/A.
    pixel : tuple of float
        Sides of a pixel (dky, dkx), 1/A.
    inner, outer : float
        Radii theta / lambda, 1/A.
    antialias : bool
        If True, a weight is the covered fraction of its pixel. If False, it is 1 where inner <= k < outer, else 0.

    Returns
    -------
    ndarray
        Weights in [0, 1], float32.
    """
    if antialias:
        return (disc_coverage(ky, kx, pixel, outer) - disc_coverage(ky, kx, pixel, inner)).clip(0, 1).astype(np.float32)
    k = np.hypot(ky, kx)
    return ((k >= inner) & (k < outer)).astype(np.float32)


def sector_shares(ky: np.ndarray, kx: np.ndarray, pixel: tuple[float, float], count: int, rotation: float, *, antialias: bool = True) -> np.ndarray:
    """Return the fraction of each reciprocal pixel that lies in each of ``count`` equal sectors of the plane.

    Parameters
    ----------
    ky, kx : ndarray
        Centres of the pixels, broadcastable, 1/A.
    pixel : tuple of float
        Sides of a pixel (dky, dkx), 1/A.
    count : int
        Number of sectors, counted from +x to +y.
    rotation : float
        Azimuth atan2(ky, kx) of the first sector's centre, rad.
    antialias : bool
        If True, each pixel is divided into 8 x 8 parts. If False, it lies wholly in the sector that contains its centre.

    Returns
    -------
    ndarray
        Fractions in [0, 1], float32, shape (count, ...); the fractions of all sectors add up to 1 exactly.
    """
    ky, kx = np.broadcast_arrays(ky, kx)
    parts = (np.arange(SUBPIXELS) + 0.5) / SUBPIXELS - 0.5 if antialias else np.zeros(1)
    total = np.zeros((count, *ky.shape), np.float32)
    for v in parts * pixel[0]:
        for u in parts * pixel[1]:
            turns = (np.arctan2(ky + v, kx + u) - rotation) / (2 * np.pi)
            number = np.floor(turns * count + 0.5).astype(int) % count
            for i in range(count):
                total[i] += number == i
    return total / np.float32(parts.size**2)


def segments(
    ky: np.ndarray, kx: np.ndarray, pixel: tuple[float, float], inner: float, outer: float, count: int, rotation: float, *, antialias: bool = True
) -> np.ndarray:
    """Return the weights of an annulus divided into ``count`` equal segments, float32, shape (count, ...).

    The centre of the first segment is at the azimuth ``rotation`` (rad, from +x to +y). The other parameters are those
    of :func:`annulus`.
    """
    ring = annulus(ky, kx, pixel, inner, outer, antialias=antialias)
    ky, kx = np.broadcast_arrays(ky, kx)
    on = np.nonzero(ring)
    out = np.zeros((count, *ring.shape), np.float32)
    out[:, *on] = ring[on] * sector_shares(ky[on], kx[on], pixel, count, rotation, antialias=antialias)
    return out
