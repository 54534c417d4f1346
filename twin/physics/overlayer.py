"""A thin amorphous film on the specimen, such as contamination: it takes electrons out of the beam and scatters them once, without structure.

Behind a film of height h a share p = 1 - exp(-n h sigma) of the electrons has been scattered elastically. What a detector D sees is then
signal (1 - p) + S_D p, with S_D the share of scattered electrons that D collects: the beam's cone convolved with the atoms' differential
cross-section (Born). It is thin: electrons that scatter twice, p^2 / 2 of them, count as scattered once; the specimen's own scattering between film
and detector is left out of S_D. Energy losses are left to the
spectrometer, which alone tells them from elastic scattering.
"""

import math

import numpy as np
from scipy.fft import fft2, fftfreq, ifft2, next_fast_len

from stemtwin.twin.physics import electrons
from stemtwin.twin.physics.detector_weights import Weights
from stemtwin.twin.physics.probe import disc_coverage
from stemtwin.twin.physics.scattering_factors import scattering_factor
from stemtwin.twin.physics.spectra.lowloss import elastic_cross_section

CARBON = 6
CARBON_DENSITY = 0.0903
"""Atoms of amorphous carbon per A^3: 1.8 g/cm^3, as of evaporated films [M]; polymerised hydrocarbons are lighter [A]."""
STEP = 0.03
"""Largest step of the grid that angles are computed on, 1/A: f^2 of carbon falls to half in 0.2 / A."""
FINEST = 512
"""Steps from the axis to the corner of a camera, at most: what is finer than a pixel of such a one is smooth."""


def scattered_share(height: np.ndarray, energy: float, *, number: int = CARBON, density: float = CARBON_DENSITY) -> np.ndarray:
    """Return the share of electrons that a film scatters elastically.

    Parameters
    ----------
    height : ndarray
        Of the film, A, any shape.
    energy : float
        Beam energy, eV.
    number : int
        Atomic number.
    density : float
        Atoms per A^3.
    """
    return -np.expm1(-np.asarray(height, float) * density * elastic_cross_section(number, energy, 0.0))


def collected_share(
    weights: Weights, outer: float, energy: float, semiangle: float, tilt: tuple[float, float] = (0.0, 0.0), *, number: int = CARBON
) -> np.ndarray:
    """Return the fraction that each detector collects of the electrons that a film scatters once.

    Parameters
    ----------
    weights : callable
        Of the detectors.
    outer : float
        Largest angle that they reach, rad.
    energy : float
        Beam energy, eV.
    semiangle : float
        Of the beam's cone, rad.
    tilt : tuple of float
        Where its middle points (x, y), rad.
    number : int
        Atomic number.

    Returns
    -------
    ndarray
        Shares, float64, shape (channels,): over detectors that together collect every angle they add up to 1.
    """
    ky, kx, pixel, angles = _angles(outer, energy, semiangle, tilt, STEP, number)
    return (np.asarray(weights(ky, kx, pixel), float) * angles).sum(axis=(-2, -1))


def collected_pattern(
    rows: np.ndarray, columns: np.ndarray, energy: float, semiangle: float, tilt: tuple[float, float] = (0.0, 0.0), *, number: int = CARBON
) -> np.ndarray:
    """Return the fraction that each pixel of a camera collects of the electrons that a film scatters once.

    Parameters
    ----------
    rows, columns : ndarray
        Borders of the pixels along y and x, rad, ascending, shape (ny + 1,) and (nx + 1,).
    energy, semiangle, tilt, number
        As in :func:`collected_share`.

    Returns
    -------
    ndarray
        Shares, float64, shape (ny, nx).
    """
    wavelength = electrons.wavelength(energy)
    outer = math.hypot(np.abs(rows).max(), np.abs(columns).max())
    finest = min(np.diff(rows).min(), np.diff(columns).min()) / wavelength
    _, kx, (step, _), angles = _angles(outer, energy, semiangle, tilt, min(STEP, max(finest, outer / wavelength / FINEST)), number)
    order = np.argsort(kx[0])
    k = kx[0][order]
    inside = [_overlaps(np.asarray(borders, float) / wavelength, k, step) for borders in (rows, columns)]
    return inside[0] @ angles[np.ix_(order, order)] @ inside[1].T


def _angles(
    outer: float, energy: float, semiangle: float, tilt: tuple[float, float], step: float, number: int
) -> tuple[np.ndarray, np.ndarray, tuple[float, float], np.ndarray]:
    """Return ky, kx and the sides of reciprocal pixels (1/A), and the share of the scattered electrons in each."""
    wavelength, gamma = electrons.wavelength(energy), electrons.lorentz_factor(energy)
    radius = semiangle / wavelength
    middle = tilt[1] / wavelength, tilt[0] / wavelength
    half = outer / wavelength + 2 * (radius + math.hypot(*middle)) + 4 * STEP  # nothing that the detectors collect comes around the edge
    count = next_fast_len(math.ceil(2 * half / min(step, radius / 4)))
    step = 2 * half / count
    k = fftfreq(count, 1 / (count * step))
    ky, kx, pixel = k[:, None], k[None, :], (step, step)
    cone = disc_coverage(ky - middle[0], kx - middle[1], pixel, radius)
    atom = (gamma * wavelength * scattering_factor("kirkland", number, ky**2 + kx**2)) ** 2 * step**2
    return ky, kx, pixel, ifft2(fft2(cone / cone.sum()) * fft2(atom)).real / elastic_cross_section(number, energy, 0.0)


def _overlaps(borders: np.ndarray, k: np.ndarray, step: float) -> np.ndarray:
    """Return the weight of each of the points k between each two borders, (pixels, points), for a density that is linear between the points."""
    u = np.clip((borders[:, None] - k) / step, -1, 1)
    return np.diff(0.5 + u - 0.5 * u * np.abs(u), axis=0)


def behind_film(signals: np.ndarray, height: np.ndarray, collected: np.ndarray, energy: float) -> np.ndarray:
    """Return the signals of a specimen with a film of carbon on it.

    Parameters
    ----------
    signals : ndarray
        Without the film, shares of the beam, (channels, n).
    height : ndarray
        Of the film at each point, A, (n,).
    collected : ndarray
        From :func:`collected_share`, (channels,).
    energy : float
        Beam energy, eV.

    Returns
    -------
    ndarray
        (channels, n), the very same array where there is no film.
    """
    if not np.any(height):
        return signals
    scattered = scattered_share(height, energy)
    return (signals * (1 - scattered) + np.asarray(collected)[:, None] * scattered).astype(signals.dtype)
