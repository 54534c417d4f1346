"""Phase errors of a probe over its aperture: root mean square, and angle within which the phase is flat."""

import functools
import math

import numpy as np

from stemtwin.twin.physics.aberrations import ORDERS, Aberrations, basis, vector

RADII, AZIMUTHS = 100, 48
"""Radii and azimuths at which the phase is sampled for its maximum; a period of the sixth harmonic has 8 azimuths."""


def rms_phase(wavelength: float, semiangle: float, aberrations: Aberrations) -> float:
    """Return the root mean square of the aberration phase about its mean over a round aperture, rad.

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
        Root mean square phase, rad. The value is exact, because chi is a polynomial. For small phases exp(-rms^2) is the
        Strehl ratio (Born and Wolf, Principles of Optics, section 9.1.3). Only the mean phase is subtracted, so defocus
        compensates spherical aberration as it does in the probe.
    """
    values = vector(aberrations)
    return math.sqrt(max(float(values @ phase_covariance(wavelength, semiangle) @ values), 0.0))


@functools.lru_cache(maxsize=16)
def phase_covariance(wavelength: float, semiangle: float) -> np.ndarray:
    """Return the covariance, over the aperture, of the phases that 1 A of each Cartesian coefficient causes.

    The means over the aperture are <u^a> = 2 / (a + 2) for u = alpha / semiangle, and <cos^2> = <sin^2> = 1/2 for the
    azimuthal factors. Harmonics of different order are uncorrelated.

    Parameters
    ----------
    wavelength : float
        Wavelength, A.
    semiangle : float
        Convergence semi-angle, rad.

    Returns
    -------
    ndarray
        rad^2/A^2, float64, shape (25, 25), read-only.
    """
    columns = [(n, m, part) for n, m in ORDERS for part in ("ab" if m else "a")]
    size = [2 * math.pi / wavelength * semiangle ** (n + 1) / (n + 1) for n, _, _ in columns]
    out = np.zeros((len(columns), len(columns)))
    for i, (n, m, part) in enumerate(columns):
        for j, (k, fold, other) in enumerate(columns):
            if (m, part) == (fold, other):
                mean = 2 / (n + k + 4) * (0.5 if m else 1.0)
                out[i, j] = size[i] * size[j] * (mean - (0.0 if m else 4 / ((n + 3) * (k + 3))))
    out.setflags(write=False)
    return out


def flat_angle(wavelength: float, semiangle: float, aberrations: Aberrations, limit: float = math.pi / 4) -> float:
    """Return the largest angle within which the phase stays below a limit, at most the semi-angle, rad.

    Parameters
    ----------
    wavelength : float
        Wavelength, A.
    semiangle : float
        Convergence semi-angle, rad.
    aberrations : Aberrations
        Coefficients, A and rad.
    limit : float
        Largest permitted abs(chi) relative to the centre, rad.
    """
    largest = np.abs(vector(aberrations) @ _samples(wavelength, semiangle)).reshape(RADII, AZIMUTHS).max(axis=1)
    beyond = np.flatnonzero(largest > limit)
    return semiangle * (1.0 if not len(beyond) else float(beyond[0]) / RADII)


@functools.lru_cache(maxsize=16)
def _samples(wavelength: float, semiangle: float) -> np.ndarray:
    """Return the phase per A of each coefficient on rings of the aperture, shape (25, RADII AZIMUTHS), read-only."""
    k = semiangle / wavelength * (np.arange(RADII) + 1)[:, None] / RADII
    azimuth = 2 * np.pi * np.arange(AZIMUTHS) / AZIMUTHS
    out = basis((k * np.sin(azimuth)).ravel(), (k * np.cos(azimuth)).ravel(), wavelength)
    out.setflags(write=False)
    return out
