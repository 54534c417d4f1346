"""Partial coherence: a source of finite size and a beam of finite energy spread."""

import math

import numpy as np

from stemtwin.twin.physics.electrons import REST_ENERGY

FWHM = math.sqrt(8 * math.log(2))
"""Full width at half maximum of a Gaussian, in standard deviations."""


def source_factor(source_size: float, qy: np.ndarray, qx: np.ndarray) -> np.ndarray:
    """Return what a Gaussian source does to the Fourier coefficients of an image.

    Parameters
    ----------
    source_size : float
        Standard deviation of the source's image on the specimen, A.
    qy, qx : ndarray
        Spatial frequencies of the image, broadcastable, 1/A.

    Returns
    -------
    ndarray
        exp(-2 pi^2 s^2 q^2).
    """
    return np.exp(-2 * (math.pi * source_size) ** 2 * (np.square(qy) + np.square(qx)))


def focal_factor(focal_spread: float, wavelength: float, difference: np.ndarray) -> np.ndarray:
    """Return what a Gaussian focal spread does to an interference term of two beams.

    Parameters
    ----------
    focal_spread : float
        Standard deviation of C10, A.
    wavelength : float
        A.
    difference : ndarray
        k^2 - k'^2 of the two beams, 1/A^2.

    Returns
    -------
    ndarray
        exp(-(pi lambda s)^2 (k^2 - k'^2)^2 / 2): the mean of exp(-i pi lambda C10 (k^2 - k'^2)) over C10.
    """
    return np.exp(-0.5 * (math.pi * wavelength * focal_spread) ** 2 * np.square(difference))


def focal_spread(energy: float, chromatic: float, energy_width: float, *, voltage_ripple: float = 0.0, current_ripple: float = 0.0) -> float:
    """Return the standard deviation of C10 that energy width and instabilities make.

    Parameters
    ----------
    energy : float
        Beam energy, eV.
    chromatic : float
        Chromatic aberration Cc, A.
    energy_width : float
        Full width at half maximum of the beam's energy, eV.
    voltage_ripple, current_ripple : float
        Relative standard deviations of high voltage and objective current.

    Returns
    -------
    float
        Cc sqrt(f^2 [(dE / (2.3548 E))^2 + (dV/V)^2] + (2 dI/I)^2), f = (1 + E/mc2) / (1 + E/2mc2), A (Reimer and Kohl, section 6.5.2).
    """
    f = _relativistic_factor(energy)
    return chromatic * math.sqrt(f**2 * ((energy_width / (FWHM * energy)) ** 2 + voltage_ripple**2) + (2 * current_ripple) ** 2)


def chromatic_focus(energy: float, chromatic: float, energy_shift: float) -> float:
    """Return how C10 changes when a beam of an energy (eV) gains a little (eV), with a chromatic aberration Cc (A): -Cc f dE / E, A.

    The faster electrons are focused less: further down, which is underfocus.
    """
    return -chromatic * _relativistic_factor(energy) * energy_shift / energy


def _relativistic_factor(energy: float) -> float:
    return (1 + energy / REST_ENERGY) / (1 + energy / (2 * REST_ENERGY))


def source_size(current: float, brightness: float, semiangle: float) -> float:
    """Return the standard deviation of the source's image on the specimen that a current needs.

    Parameters
    ----------
    current : float
        Probe current, pA.
    brightness : float
        A/(m^2 sr), at the beam's energy.
    semiangle : float
        Convergence semi-angle, rad.

    Returns
    -------
    float
        d_s / 2.3548 with d_s = (2 / pi) sqrt(I / B) / alpha, A: the brightness is conserved (Reimer and Kohl, section 4.2.2).
    """
    return 2 / math.pi * math.sqrt(current * 1e-12 / brightness) * 1e10 / semiangle / FWHM
