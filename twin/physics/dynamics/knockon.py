r"""Knock-on displacement cross-sections.

With the energy transfer T, :math:`y = T/T_{max} = \sin^2(\theta/2)`, a = Z alpha and beta = v/c,

.. math:: \frac{d\sigma}{dy} = 4\pi\left(\frac{Ze^2}{8\pi\epsilon_0 mc^2}\right)^2 \frac{1-\beta^2}{\beta^4}\, \frac{R(y)}{y^2}

R = 1 is Rutherford's formula; R = 1 - beta^2 y + pi a beta (sqrt(y) - y) is McKinley and Feshbach's (Phys. Rev. 74
(1948) 1759). Compared with Mott's series (``mott.py``), McKinley and Feshbach's formula is 0.4 % low for C, 2 % for Si,
5 % for Ca and 9 % for Co. Mott's series is used for Z of 28 and above. Every R is a polynomial in sqrt(y), so the
cross-section above a threshold has a closed form (for McKinley and Feshbach, eq. 5 of Banhart, Rep. Prog. Phys. 62
(1999) 1181).

An atom that moves along the beam receives more energy, so the cross-section is averaged over a Gaussian distribution of
velocities (Meyer et al., Phys. Rev. Lett. 108 (2012) 196102; Susi et al., Nat. Commun. 7 (2016) 13040).
"""

import functools
import math

import numpy as np
from scipy.optimize import brentq

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.dynamics import mott
from stemtwin.twin.physics.dynamics.isotopes import SYMBOLS, isotopes, number_of
from stemtwin.twin.physics.electrons import COULOMB_CONSTANT, REST_ENERGY, UNIFIED_MASS_ENERGY, beam_energy, lorentz_factor, velocity_ratio

BARN = 1e-8
"""1 barn, A^2."""
LIGHT = 2.99792458e18
"""Speed of light, A/s."""
MODELS = ("auto", "mckinley-feshbach", "rutherford", "mott")
HEAVY = 28
"""Least atomic number for which the model "auto" sums Mott's series."""
REACH = 9.0  # standard deviations of the velocity that the average covers
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)


def displacement_energy(value: object) -> float:
    """Return a displacement threshold, eV, after a check; raise SettingsError unless it is between 0.05 and 500 eV."""
    repair = "Displacement thresholds lie between about 1 eV (adatoms) and 100 eV."
    return checks.number("displacement", value, "eV", low=0.05, high=500.0, repair=repair)


def max_transfer_moving(energy: float, mass: float, velocity: float | np.ndarray) -> np.ndarray:
    """Return the exact kinetic energy of a nucleus after head-on backscattering of an electron.

    Parameters
    ----------
    energy : float
        Kinetic energy of the electron, eV.
    mass : float
        Mass of the nucleus, u.
    velocity : float or ndarray
        Velocity of the nucleus along the beam before the collision, A/s.

    Returns
    -------
    ndarray
        Kinetic energy, eV; for a nucleus at rest it is :func:`electrons.max_transfer`. The approximate formula of Meyer
        et al. (Phys. Rev. Lett. 108 (2012) 196102) agrees with it to 2e-4.
    """
    rest = mass * UNIFIED_MASS_ENERGY
    p = math.sqrt(energy * (energy + 2 * REST_ENERGY))
    momentum = rest * np.asarray(velocity, dtype=float) / LIGHT
    nucleus = np.sqrt(momentum**2 + rest**2)
    total = energy + REST_ENERGY + nucleus
    boost = (p + momentum) / total  # velocity of the centre of mass, in c; in its frame the nucleus' momentum reverses
    after = (2 * boost * nucleus - (1 + boost**2) * momentum) / (1 - boost**2)
    return after**2 / (np.sqrt(after**2 + rest**2) + rest)


def threshold_energy(element: str | int, displacement: float, *, mass: float | None = None) -> float:
    """Return the least beam energy at which an electron can displace an atom at rest, eV.

    Parameters
    ----------
    element : str or int
        Symbol or atomic number.
    displacement : float
        Displacement threshold, eV.
    mass : float, optional
        Mass of one isotope, u; by default that of the lightest natural isotope.
    """
    displacement, rest = displacement_energy(displacement), REST_ENERGY
    nucleus = (min(m for m, _ in isotopes(element)) if mass is None else _mass(mass)) * UNIFIED_MASS_ENERGY
    b, c = 4 * nucleus * rest - 2 * nucleus * displacement, displacement * (nucleus + rest) ** 2
    return (-b + math.sqrt(b * b + 8 * nucleus * c)) / (4 * nucleus)


def prefactor(number: int, energy: float) -> float:
    """Return the prefactor of d sigma / dy, 4 pi (Z e^2 / (8 pi eps0 m c^2))^2 (1 - beta^2) / beta^4, A^2."""
    beta = velocity_ratio(energy)
    return 4 * math.pi * (number * COULOMB_CONSTANT / (2 * REST_ENERGY)) ** 2 / (lorentz_factor(energy) ** 2 * beta**4)


def ratio_coefficients(number: int, energy: float, model: str = "auto") -> tuple[float, ...]:
    """Return the ratio R of d sigma / dy to Rutherford's formula, as coefficients of a polynomial in sqrt(y), lowest power first.

    Here y = T / Tmax is the energy transfer divided by its largest value.

    Raises
    ------
    SettingsError
        The model is unknown.
    """
    if model not in MODELS:
        message = f"model={model!r} is not a model of scattering by a nucleus. Use one of {', '.join(MODELS)}."
        raise SettingsError(message)
    if model == "mott" or (model == "auto" and number >= HEAVY):
        return mott.ratio_polynomial(number, energy)
    if model == "rutherford":
        return (1.0,)
    beta = velocity_ratio(energy)
    spin = math.pi * number * mott.FINE_STRUCTURE * beta
    return 1.0, spin, -(beta**2) - spin


def differential(element: str | int, energy: float, fraction: np.ndarray, *, model: str = "auto") -> np.ndarray:
    """Return d sigma / dy (A^2) at fractions y = T / Tmax of the largest transfer."""
    number, energy = number_of(element), beam_energy(energy)
    y = np.asarray(fraction, dtype=float)
    series = np.polynomial.polynomial.polyval(np.sqrt(y), ratio_coefficients(number, energy, model))
    return prefactor(number, energy) * series / y**2


def _above(coefficients: tuple[float, ...], x: np.ndarray) -> np.ndarray:
    """Return the integral of R / y^2 from 1 / x to 1; it is zero where x <= 1."""
    x = np.maximum(np.asarray(x, dtype=float), 1.0)
    root, total = np.sqrt(x), x - 1
    for power, value in enumerate(coefficients[1:], 1):
        total = total + value * (np.log(x) if power == 2 else 2 * (1 - root ** (2 - power)) / (power - 2))
    return np.maximum(total, 0.0)


def cross_section(
    element: str | int, energy: float, displacement: float, *, mass: float | None = None, velocity2: float = 0.0, model: str = "auto"
) -> float:
    """Return the knock-on displacement cross-section of an atom.

    Parameters
    ----------
    element : str or int
        Symbol or atomic number.
    energy : float
        Beam energy, eV.
    displacement : float
        Displacement threshold, eV.
    mass : float, optional
        Mass of one isotope, u; by default the mean over the natural isotopes.
    velocity2 : float
        Mean square thermal velocity along the beam, (A/s)^2 (1 m^2/s^2 = 1e20 (A/s)^2). With ``mass``, it is the value
        of this isotope. Without ``mass``, it is the value of an atom of the natural mean mass, and each isotope of mass m
        gets this value times (mean mass) / m. 0 means a static lattice.
    model : {"auto", "mckinley-feshbach", "rutherford", "mott"}
        Scattering formula; "auto" is McKinley and Feshbach's below Z = 28 and Mott's series otherwise.

    Returns
    -------
    float
        Cross-section, A^2.

    Raises
    ------
    UnknownNameError
        The element is unknown.
    SettingsError
        A number is out of range, or the model is unknown.
    """
    number, energy, displacement = number_of(element), beam_energy(energy), displacement_energy(displacement)
    velocity2 = checks.number("velocity2", velocity2, "(A/s)^2", low=0.0, high=1e28, repair="Graphene at 300 K has 3.2e25.")
    coefficients = ratio_coefficients(number, energy, model)
    mixture = isotopes(number) if mass is None else ((_mass(mass), 1.0),)
    mean = sum(m * part for m, part in mixture)
    total = sum(part * _averaged(energy, displacement, m, velocity2 * mean / m, coefficients) for m, part in mixture)
    return prefactor(number, energy) * total


@functools.lru_cache(maxsize=4096)
def _averaged(energy: float, displacement: float, mass: float, velocity2: float, coefficients: tuple[float, ...]) -> float:
    """Return the integral of R / y^2 above the threshold, averaged over the velocities of one isotope."""
    if velocity2 == 0:
        return float(_above(coefficients, max_transfer_moving(energy, mass, 0.0) / displacement))
    spread = math.sqrt(velocity2)

    def excess(velocity: float) -> float:
        return float(max_transfer_moving(energy, mass, velocity)) - displacement

    if excess(REACH * spread) <= 0:
        return 0.0
    low = -REACH * spread
    onset = brentq(excess, low, REACH * spread, xtol=1e-9 * spread) if excess(low) < 0 else low
    high = max(REACH * spread, onset + REACH * spread)
    total = 0.0
    for start in np.linspace(onset, high, 5)[:-1]:
        half = (high - onset) / 8
        v = start + half * (1 + _NODES)
        density = np.exp(-(v**2) / (2 * velocity2)) / math.sqrt(2 * math.pi * velocity2)
        total += float((half * _WEIGHTS * density * _above(coefficients, max_transfer_moving(energy, mass, v) / displacement)).sum())
    return total


def _mass(mass: object) -> float:
    repair = f"Give the mass of one nucleus, such as 12.0 for {SYMBOLS[6]}."
    return checks.number("mass", mass, "u", low=0.5, high=300.0, repair=repair)
