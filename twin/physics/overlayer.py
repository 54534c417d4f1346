"""Thin amorphous film on the specimen, such as contamination, in the approximation of single elastic scattering.

A film of height h with n atoms per volume and the elastic cross-section sigma scatters the fraction
p = 1 - exp(-n h sigma) of the electrons elastically. If the signal of a detector D is I_D without the film, it is
(1 - p) I_D + p S_D with the film. S_D is the fraction of the scattered electrons that D collects. It is the convolution
of the beam's cone with the atoms' differential cross-section in the Born approximation. The film is assumed to be thin:
electrons that scatter twice, a fraction p^2 / 2, are treated as scattered once, and S_D omits scattering in the specimen
between film and detector. Energy losses in the film are part of the spectrometer's model, because the spectrometer is
the only detector that separates them from elastic scattering.
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
"""Atoms of amorphous carbon per A^3: 1.8 g/cm^3, evaporated films [M]; polymerised hydrocarbons are lighter [A]."""
STEP = 0.03
"""Largest step of the grid of scattering angles, 1/A: f^2 of carbon falls to half within 0.2 / A."""
FINEST = 512
"""Largest number of grid steps from the axis to the corner of a camera; the scattering is smooth on a finer scale."""


def scattered_share(height: np.ndarray, energy: float, *, number: int = CARBON, density: float = CARBON_DENSITY) -> np.ndarray:
    """Return the fraction of the electrons that a film scatters elastically.

    Parameters
    ----------
    height : ndarray
        Thickness of the film, A, any shape.
    energy : float
        Beam energy, eV.
    number : int
        Atomic number.
    density : float
        Density of the film, atoms per A^3.
    """
    return -np.expm1(-np.asarray(height, float) * density * elastic_cross_section(number, energy, 0.0))


def collected_share(
    weights: Weights, outer: float, energy: float, semiangle: float, tilt: tuple[float, float] = (0.0, 0.0), *, number: int = CARBON
) -> np.ndarray:
    """Return the fraction that each detector collects of the electrons scattered once by a film.

    Parameters
    ----------
    weights : callable
        Weights of the detectors.
    outer : float
        Largest angle that the detectors collect, rad.
    energy : float
        Beam energy, eV.
    semiangle : float
        Semi-angle of the beam's cone, rad.
    tilt : tuple of float
        Direction of the cone's axis (x, y), rad.
    number : int
        Atomic number.

    Returns
    -------
    ndarray
        Fractions, float64, shape (channels,). The fractions of detectors that together collect every angle add up to 1.
    """
    ky, kx, pixel, angles = _angles(outer, energy, semiangle, tilt, STEP, number)
    return (np.asarray(weights(ky, kx, pixel), float) * angles).sum(axis=(-2, -1))


def collected_pattern(
    rows: np.ndarray, columns: np.ndarray, energy: float, semiangle: float, tilt: tuple[float, float] = (0.0, 0.0), *, number: int = CARBON
) -> np.ndarray:
    """Return the fraction that each pixel of a camera collects of the electrons scattered once by a film.

    Parameters
    ----------
    rows, columns : ndarray
        Edges of the pixels along y and x, rad, ascending, shape (ny + 1,) and (nx + 1,).
    energy, semiangle, tilt, number
        As in :func:`collected_share`.

    Returns
    -------
    ndarray
        Fractions, float64, shape (ny, nx).
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
    """Return ky, kx and the sides of reciprocal pixels (1/A), and the fraction of the scattered electrons in each."""
    wavelength, gamma = electrons.wavelength(energy), electrons.lorentz_factor(energy)
    radius = semiangle / wavelength
    middle = tilt[1] / wavelength, tilt[0] / wavelength
    # wide enough that no angle of the detectors receives electrons by periodic wrap-around
    half = outer / wavelength + 2 * (radius + math.hypot(*middle)) + 4 * STEP
    count = next_fast_len(math.ceil(2 * half / min(step, radius / 4)))
    step = 2 * half / count
    k = fftfreq(count, 1 / (count * step))
    ky, kx, pixel = k[:, None], k[None, :], (step, step)
    cone = disc_coverage(ky - middle[0], kx - middle[1], pixel, radius)
    atom = (gamma * wavelength * scattering_factor("kirkland", number, ky**2 + kx**2)) ** 2 * step**2
    return ky, kx, pixel, ifft2(fft2(cone / cone.sum()) * fft2(atom)).real / elastic_cross_section(number, energy, 0.0)


def _overlaps(borders: np.ndarray, k: np.ndarray, step: float) -> np.ndarray:
    """Return the weight of each point k in each pixel, (pixels, points), for a density linear between the points."""
    u = np.clip((borders[:, None] - k) / step, -1, 1)
    return np.diff(0.5 + u - 0.5 * u * np.abs(u), axis=0)


def behind_film(signals: np.ndarray, height: np.ndarray, collected: np.ndarray, energy: float) -> np.ndarray:
    """Return the signals of a specimen with a film of carbon on it.

    Parameters
    ----------
    signals : ndarray
        Signals without the film, fractions of the beam, (channels, n).
    height : ndarray
        Height of the film at each point, A, (n,).
    collected : ndarray
        Result of :func:`collected_share`, (channels,).
    energy : float
        Beam energy, eV.

    Returns
    -------
    ndarray
        Signals with the film, shape (channels, n); the array ``signals`` itself if no point has a film.
    """
    if not np.any(height):
        return signals
    scattered = scattered_share(height, energy)
    return (signals * (1 - scattered) + np.asarray(collected)[:, None] * scattered).astype(signals.dtype)
