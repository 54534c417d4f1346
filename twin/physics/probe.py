"""Incident wave: aperture, covered fractions of reciprocal pixels, Fourier amplitudes of the probe."""

import functools
import math
import operator

import numpy as np
from scipy.special import j0

from stemtwin.twin.physics.aberrations import ORDERS, Aberrations, chi

ROUNDING = 1e-9
"""Pixels with a smaller uncovered fraction than this are treated as wholly covered."""
NODES, SMOOTH = 48, 80.0
"""Gauss-Legendre nodes over alpha^2, and the phase change, rad, over which they integrate to 1e-14."""


def _quadrant_area(x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    """Return the area of a disc about 0 inside the rectangle from 0 to (x, y), with the sign of x y."""
    sign = np.sign(x) * np.sign(y)
    x, y = np.minimum(np.abs(x), radius), np.minimum(np.abs(y), radius)
    corner = np.sqrt(np.maximum(radius**2 - y**2, 0))  # x at which the disc's edge crosses the rectangle's top

    def segment(u: np.ndarray) -> np.ndarray:
        return 0.5 * (u * np.sqrt(np.maximum(radius**2 - u**2, 0)) + radius**2 * np.arcsin(np.clip(u / radius, -1, 1)))

    cut = y * corner + segment(x) - segment(corner)
    return sign * np.where(x <= corner, x * y, cut)


def disc_coverage(ky: np.ndarray, kx: np.ndarray, pixel: tuple[float, float], radius: float) -> np.ndarray:
    """Return the exact fraction of each pixel that a disc about the origin covers.

    Parameters
    ----------
    ky, kx : ndarray
        Centres of the pixels, broadcastable, 1/A.
    pixel : tuple of float
        Sides of a pixel (dky, dkx), 1/A.
    radius : float
        Radius of the disc, 1/A.

    Returns
    -------
    ndarray
        Fractions in [0, 1], float64; their sum times the pixel's area is the disc's area.
    """
    ky, kx = np.broadcast_arrays(ky, kx)
    if radius <= 0:
        return np.zeros(ky.shape)
    distance, half = np.hypot(ky, kx), 0.5 * math.hypot(*pixel)
    out = (distance <= radius - half).astype(float)
    edge = np.abs(distance - radius) < half if radius > half else distance < radius + half
    y0, y1 = ky[edge] - pixel[0] / 2, ky[edge] + pixel[0] / 2
    x0, x1 = kx[edge] - pixel[1] / 2, kx[edge] + pixel[1] / 2
    area = _quadrant_area(x1, y1, radius) - _quadrant_area(x0, y1, radius) - _quadrant_area(x1, y0, radius) + _quadrant_area(x0, y0, radius)
    out[edge] = np.clip(area / (pixel[0] * pixel[1]), 0, 1)
    return out


def aperture(ky: np.ndarray, kx: np.ndarray, pixel: tuple[float, float], radius: float, *, antialias: bool = True) -> np.ndarray:
    """Return the aperture's amplitude on reciprocal pixels.

    Parameters
    ----------
    ky, kx : ndarray
        Centres of the pixels, broadcastable, 1/A.
    pixel : tuple of float
        Sides of a pixel (dky, dkx), 1/A.
    radius : float
        alpha / lambda, 1/A.
    antialias : bool
        If True, an amplitude is the covered fraction of its pixel. If False, it is 1 where k <= radius, else 0.

    Returns
    -------
    ndarray
        Amplitudes of the pixels, 0 to 1.
    """
    if antialias:
        return disc_coverage(ky, kx, pixel, radius)
    return (np.hypot(ky, kx) <= radius).astype(float)


def rim(cover: np.ndarray) -> np.ndarray:
    """Return the weights of the aperture-edge waves, which represent the probe's tails beyond the window.

    The weights are c^6 (1 - c), where c is the covered fraction of each reciprocal pixel. The sharp edge of the aperture
    causes the tails. The power that the amplitudes omit, c - c^2, lies at this edge, so the tails consist of
    aperture-edge waves. The factor c^6 favours pixels at the inner side of the edge, because a pixel that the aperture
    barely overlaps may belong to a detector outside the aperture. In vacuum, the signal of a bright-field detector is then
    exactly the detector's share of the aperture's area. With waves from the whole aperture in place of aperture-edge
    waves, the signal would be 2 % larger in a window of 24 A.
    """
    return np.where(1 - cover > ROUNDING, cover**6 * (1 - cover), 0)


def amplitudes(
    ky: np.ndarray,
    kx: np.ndarray,
    pixel: tuple[float, float],
    wavelength: float,
    semiangle: float,
    aberrations: Aberrations,
    *,
    antialias: bool = True,
) -> np.ndarray:
    """Return the Fourier amplitudes of the probe at the origin, a_k = c_k exp(-i chi) / norm.

    Parameters
    ----------
    ky, kx : ndarray
        Spatial frequencies of the beams, 1/A.
    pixel : tuple of float
        Sides of the reciprocal pixel (dky, dkx), 1/A.
    wavelength : float
        Wavelength, A.
    semiangle : float
        Convergence semi-angle, rad.
    aberrations : Aberrations
        Coefficients, A and rad.
    antialias : bool
        If True, c_k are covered fractions. The norm is then sqrt(pi (alpha/lambda)^2 / (dky dkx)), from the true area,
        and sum abs(a)^2 is slightly below 1. The missing power belongs to the probe's tails beyond the window, which
        aperture-edge waves represent (:func:`rim`). If False, c_k is 1 where k <= alpha/lambda, else 0,
        and sum abs(a)^2 = 1.

    Returns
    -------
    ndarray
        complex128, the shape of ``ky`` and ``kx``.
    """
    radius = semiangle / wavelength
    weight = aperture(ky, kx, pixel, radius, antialias=antialias)
    norm = math.pi * radius**2 / (pixel[0] * pixel[1]) if antialias else max(float((weight**2).sum()), 1.0)
    return weight * np.exp(-1j * chi(aberrations, ky, kx, wavelength)) / math.sqrt(norm)


def strehl_ratio(wavelength: float, semiangle: float, aberrations: Aberrations) -> float:
    """Return the Strehl ratio of a round aperture, abs(mean exp(-i chi))^2.

    Source: Born and Wolf, Principles of Optics, section 9.1.3.

    Parameters
    ----------
    wavelength : float
        Wavelength, A.
    semiangle : float
        Convergence semi-angle, rad.
    aberrations : Aberrations
        Coefficients, A and rad.

    Returns
    -------
    float
        Strehl ratio, 0 to 1; 1 without aberrations. The mean is accurate to 1e-13. With u = (alpha / semiangle)^2 it is an
        integral over u from 0 to 1 and over azimuths. For C10 and C12 the azimuthal mean is
        exp(-i p C10 u) J0(p C12 u) with p = pi semiangle^2 / wavelength; with higher orders it is computed from
        equidistant azimuths.
    """
    phases = _edge_phases(wavelength, semiangle, aberrations)
    u, weights = _nodes(max(1, math.ceil(sum(phase * (n + 1) / 2 for n, _, phase in phases) / SMOOTH)))
    if all(n == 1 for n, _, _ in phases):
        scale = math.pi * semiangle**2 / wavelength
        rings = weights * np.exp(-1j * scale * aberrations.C10 * u) * j0(scale * aberrations.C12 * u)
    else:
        count = 2 + 2 * math.ceil(sum(m * (phase + 12 * phase ** (1 / 3) + 16) for _, m, phase in phases) / 2)
        azimuth = 2 * np.pi * np.arange(count) / count
        k = semiangle / wavelength * np.sqrt(u)[:, None]
        rings = weights * np.exp(-1j * chi(aberrations, k * np.sin(azimuth), k * np.cos(azimuth), wavelength)).mean(axis=1)
    return float(min(1.0, abs(rings.sum()) ** 2))


_magnitudes = operator.attrgetter(*(f"C{n}{m}" for n, m in ORDERS))
"""Getter of the magnitudes of aberrations in the order of ``ORDERS``."""


def _edge_phases(wavelength: float, semiangle: float, aberrations: Aberrations) -> list[tuple[int, int, float]]:
    """Return n, m and the largest phase at the aperture's edge (rad) of each nonzero aberration."""
    values = zip(ORDERS, _magnitudes(aberrations), strict=True)
    return [(n, m, 2 * math.pi / wavelength * abs(value) * semiangle ** (n + 1) / (n + 1)) for (n, m), value in values if value]


@functools.lru_cache(maxsize=16)
def _nodes(panels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights of the composite Gauss-Legendre rule on ``panels`` equal parts of [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    nodes = ((nodes + 1) / 2 + np.arange(panels)[:, None]) / panels
    return nodes.ravel(), np.tile(weights / 2 / panels, panels)
