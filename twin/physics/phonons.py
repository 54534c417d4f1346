"""Thermal motion: Gaussian displacements of independent atoms (Einstein model), and mean squares from Debye's model."""

import math

import numpy as np
from scipy.integrate import quad
from scipy.special import ndtri

BOLTZMANN = 8.617333262e-5
"""Boltzmann constant, eV/K."""
HBAR2_PER_U = 41.8015929e-4
"""hbar^2 / u, eV A^2."""
EV_PER_U = 9.648533212e27
"""1 eV / u in (A/s)^2."""


def displacements(sigma: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw one frozen-phonon configuration.

    Parameters
    ----------
    sigma : ndarray
        Root mean square displacement of each atom along one axis, A, shape (n,).
    rng : numpy.random.Generator
        The only source of randomness.

    Returns
    -------
    ndarray
        Displacements (x, y, z), A, shape (n, 3).
    """
    return np.asarray(sigma, dtype=float)[:, None] * rng.standard_normal((len(sigma), 3))


def latin_displacements(sigma: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw frozen-phonon configurations jointly, as a Latin hypercube sample.

    Each coordinate of each atom takes one value from each of ``count`` intervals of equal probability, in its own
    random order (M. D. McKay, R. J. Beckman and W. J. Conover, Technometrics 21 (1979) 239). Each configuration has the
    distribution of :func:`displacements`, but the mean over all configurations varies less than for independent draws.

    Parameters
    ----------
    sigma : ndarray
        Root mean square displacement of each atom along one axis, A, shape (n,).
    count : int
        Number of configurations.
    rng : numpy.random.Generator
        The only source of randomness.

    Returns
    -------
    ndarray
        Displacements (x, y, z), A, shape (count, n, 3).
    """
    shape = (count, len(sigma), 3)
    interval = rng.permuted(np.broadcast_to(np.arange(count)[:, None, None], shape), axis=0)
    inside = rng.uniform(np.finfo(float).eps, 1, shape)  # the first interval reaches to minus infinity
    return np.asarray(sigma, dtype=float)[:, None] * ndtri((interval + inside) / count)


def debye_sigma(mass: float, debye_temperature: float, temperature: float) -> float:
    """Return the 1-D root mean square displacement in Debye's model.

    Parameters
    ----------
    mass : float
        Atomic mass, u.
    debye_temperature, temperature : float
        Debye temperature and temperature of the specimen, K.

    Returns
    -------
    float
        Square root of (3 hbar^2 / (M k theta)) [1/4 + (T/theta)^2 int_0^(theta/T) x / (e^x - 1) dx], A (Willis and
        Pryor, Thermal Vibrations in Crystallography, eq. 4.43).
    """
    integral = 0.0
    if temperature > 0:
        top = min(debye_temperature / temperature, 100.0)  # beyond, the integrand is below 1e-41
        integral = (temperature / debye_temperature) ** 2 * quad(lambda x: x / math.expm1(x) if x else 1.0, 0, top)[0]
    return math.sqrt(3 * HBAR2_PER_U / (mass * BOLTZMANN * debye_temperature) * (0.25 + integral))


def debye_velocity2(mass: float, debye_temperature: float, temperature: float) -> float:
    """Return the mean square velocity along one axis in Debye's model.

    Parameters
    ----------
    mass : float
        Atomic mass, u.
    debye_temperature, temperature : float
        Debye temperature and temperature of the specimen, K.

    Returns
    -------
    float
        (k theta / M) [3/8 + 3 (T/theta)^4 int_0^(theta/T) x^3 / (e^x - 1) dx], (A/s)^2; 1 m^2/s^2 = 1e20 (A/s)^2. Half
        the mean energy of the oscillators is kinetic (Kittel, Introduction to Solid State Physics, chapter 5, with the
        zero-point energy).
    """
    integral = 0.0
    if temperature > 0:
        top = min(debye_temperature / temperature, 100.0)  # beyond, the integrand is below 1e-37
        integral = (temperature / debye_temperature) ** 4 * quad(lambda x: x**3 / math.expm1(x) if x else 0.0, 0, top)[0]
    return BOLTZMANN * debye_temperature / mass * EV_PER_U * (0.375 + 3 * integral)
