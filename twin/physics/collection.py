"""What detectors weigh: annuli and segments of annuli on reciprocal pixels."""

import numpy as np

from stemtwin.twin.physics.probe import disc_coverage

SUBPIXELS = 8
"""A pixel that a segment's edge crosses is divided into so many parts along each side."""


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
        The covered fraction of each pixel; with False a mask, inner <= k < outer.

    Returns
    -------
    ndarray
        Weights in [0, 1], float32.
    """
    if antialias:
        return (disc_coverage(ky, kx, pixel, outer) - disc_coverage(ky, kx, pixel, inner)).clip(0, 1).astype(np.float32)
    k = np.hypot(ky, kx)
    return ((k >= inner) & (k < outer)).astype(np.float32)


def sector(ky: np.ndarray, kx: np.ndarray, pixel: tuple[float, float], start: float, stop: float, *, antialias: bool = True) -> np.ndarray:
    """Return which fraction of each reciprocal pixel lies between two azimuths.

    Parameters
    ----------
    ky, kx : ndarray
        Centres of the pixels, broadcastable, 1/A.
    pixel : tuple of float
        Sides of a pixel (dky, dkx), 1/A.
    start, stop : float
        Azimuths atan2(ky, kx), rad; the sector runs from start up to stop, counter-clockwise from +x to +y.
    antialias : bool
        By subdivision of pixels near an edge into 8 x 8; with False a mask on the pixels' centres.

    Returns
    -------
    ndarray
        Fractions in [0, 1], float32; those of sectors that divide the circle add up to 1.
    """
    ky, kx = np.broadcast_arrays(ky, kx)
    width = stop - start

    def inside(y: np.ndarray, x: np.ndarray) -> np.ndarray:
        return (np.arctan2(y, x) - start) % (2 * np.pi) < width

    if not antialias:
        return inside(ky, kx).astype(np.float32)
    parts = (np.arange(SUBPIXELS) + 0.5) / SUBPIXELS - 0.5
    total = np.zeros(ky.shape)
    for v in parts * pixel[0]:
        for u in parts * pixel[1]:
            total += inside(ky + v, kx + u)
    return (total / SUBPIXELS**2).astype(np.float32)


def segments(
    ky: np.ndarray, kx: np.ndarray, pixel: tuple[float, float], inner: float, outer: float, count: int, rotation: float, *, antialias: bool = True
) -> np.ndarray:
    """Return the weights of an annulus divided into ``count`` equal segments, float32, shape (count, ...).

    The first segment's centre is at azimuth ``rotation`` (rad, from +x to +y); see :func:`annulus` for the rest.
    """
    ring = annulus(ky, kx, pixel, inner, outer, antialias=antialias)
    half = np.pi / count
    return np.stack(
        [ring * sector(ky, kx, pixel, rotation + (2 * i - 1) * half, rotation + (2 * i + 1) * half, antialias=antialias) for i in range(count)]
    )
