"""Partial coherence: finite source size and energy spread of the beam."""

import math

import numpy as np

from stemtwin.twin.physics.electrons import REST_ENERGY

FWHM = math.sqrt(8 * math.log(2))
"""Full width at half maximum of a Gaussian, in standard deviations."""


def source_factor(source_size: float, qy: np.ndarray, qx: np.ndarray) -> np.ndarray:
    """Return the factors by which a Gaussian source multiplies the Fourier coefficients of an image.

    Parameters
    ----------
    source_size : float
        Standard deviation of the source's image on the specimen, A.
    qy, qx : ndarray
        Spatial frequencies of the image, broadcastable, 1/A.

    Returns
    -------
    ndarray
        exp(-2 pi^2 s^2 q^2), with s = ``source_size``.
    """
    return np.exp(-2 * (math.pi * source_size) ** 2 * (np.square(qy) + np.square(qx)))


def focal_factor(focal_spread: float, wavelength: float, difference: np.ndarray) -> np.ndarray:
    """Return the factor by which a Gaussian focal spread multiplies the interference term of two beams.

    Parameters
    ----------
    focal_spread : float
        Standard deviation of C10, A.
    wavelength : float
        Wavelength, A.
    difference : ndarray
        k^2 - k'^2 of the two beams, 1/A^2.

    Returns
    -------
    ndarray
        exp(-(pi lambda s)^2 (k^2 - k'^2)^2 / 2), with s = ``focal_spread``: the mean of
        exp(-i pi lambda C10 (k^2 - k'^2)) over C10.
    """
    return np.exp(-0.5 * (math.pi * wavelength * focal_spread) ** 2 * np.square(difference))


def focal_spread(energy: float, chromatic: float, energy_width: float, *, voltage_ripple: float = 0.0, current_ripple: float = 0.0) -> float:
    """Return the standard deviation of C10 due to energy spread and instabilities.

    Parameters
    ----------
    energy : float
        Beam energy, eV.
    chromatic : float
        Chromatic aberration Cc, A.
    energy_width : float
        Full width at half maximum of the beam's energy distribution, eV.
    voltage_ripple, current_ripple : float
        Relative standard deviations of the high voltage and of the objective lens current.

    Returns
    -------
    float
        Cc sqrt(f^2 [(dE / (2.3548 E))^2 + (dV/V)^2] + (2 dI/I)^2), A, with the relativistic factor
        f = (1 + E/mc2) / (1 + E/2mc2) (Reimer and Kohl, section 6.5.2).
    """
    f = _relativistic_factor(energy)
    return chromatic * math.sqrt(f**2 * ((energy_width / (FWHM * energy)) ** 2 + voltage_ripple**2) + (2 * current_ripple) ** 2)


def chromatic_focus(energy: float, chromatic: float, energy_shift: float) -> float:
    """Return the change of C10 due to a small energy gain, A.

    The change is -Cc f dE / E, with the relativistic factor f of :func:`focal_spread`.

    Faster electrons are focused less strongly, so their focus lies further down the column (underfocus).

    Parameters
    ----------
    energy : float
        Beam energy E, eV.
    chromatic : float
        Chromatic aberration Cc, A.
    energy_shift : float
        Energy gain dE, eV.
    """
    return -chromatic * _relativistic_factor(energy) * energy_shift / energy


def _relativistic_factor(energy: float) -> float:
    return (1 + energy / REST_ENERGY) / (1 + energy / (2 * REST_ENERGY))


def source_size(current: float, brightness: float, semiangle: float) -> float:
    """Return the standard deviation of the source's image on the specimen at a given current.

    Parameters
    ----------
    current : float
        Probe current, pA.
    brightness : float
        Brightness at the beam's energy, A/(m^2 sr).
    semiangle : float
        Convergence semi-angle, rad.

    Returns
    -------
    float
        Standard deviation d_s / 2.3548, A. The diameter d_s = (2 / pi) sqrt(I / B) / alpha follows from the
        conservation of brightness (Reimer and Kohl, section 4.2.2).
    """
    return 2 / math.pi * math.sqrt(current * 1e-12 / brightness) * 1e10 / semiangle / FWHM


def modes(
    amplitudes: np.ndarray,
    ky: np.ndarray,
    kx: np.ndarray,
    wavelength: float,
    *,
    source_size: float = 0.0,
    focal_spread: float = 0.0,
    tolerance: float = 1e-6,
) -> np.ndarray:
    r"""Return the coherent modes whose incoherent sum is a partially coherent probe.

    The density matrix
    :math:`a_k \bar a_{k'} \exp(-2 \pi^2 s^2 |k - k'|^2) \exp(-(\pi \lambda f)^2 (k^2 - k'^2)^2 / 2)`, with the source size s
    and the focal spread f, is factorised by pivoted Cholesky decomposition until the trace of the remainder is below
    ``tolerance`` times the whole trace (Harbrecht, Peters and Schneider, Applied Numerical Mathematics 62 (2012) 428).
    The factors are then made orthogonal.

    Parameters
    ----------
    amplitudes : ndarray
        Fourier amplitudes a_k of the coherent probe, complex, shape (B,).
    ky, kx : ndarray
        Spatial frequencies, 1/A, shape (B,).
    wavelength : float
        Wavelength, A.
    source_size, focal_spread : float
        Standard deviations, A.
    tolerance : float
        Fraction of the beam that may be neglected.

    Returns
    -------
    ndarray
        Amplitudes m_k of the modes, strongest first, complex128, shape (M, B). The sum over modes of m_k conj(m_k') is the
        density matrix.
    """
    if not (source_size or focal_spread):
        return np.asarray(amplitudes, complex)[None]
    size, phase = np.abs(amplitudes), np.exp(1j * np.angle(amplitudes))
    k2 = np.square(ky) + np.square(kx)
    rest, factors = size**2, np.empty((len(size), 0))
    enough = 0.5 * tolerance * rest.sum()
    while rest.sum() > enough and factors.shape[1] < len(size):
        pivot = int(np.argmax(rest))
        column = size * size[pivot] * source_factor(source_size, ky - ky[pivot], kx - kx[pivot])
        column *= focal_factor(focal_spread, wavelength, k2 - k2[pivot])
        column = (column - factors @ factors[pivot]) / math.sqrt(rest[pivot])
        factors = np.column_stack([factors, column])
        rest = np.maximum(rest - column**2, 0)
    left, strength, _ = np.linalg.svd(factors, full_matrices=False)
    power = strength**2
    missing = power.sum() - np.cumsum(power)
    kept = int(np.argmax(missing <= enough)) + 1
    return (left[:, :kept] * strength[:kept]).T * phase
