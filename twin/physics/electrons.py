"""Fast electrons: wavelength, interaction constant, velocity, energy transfer. Energies in eV, lengths in angstrom."""

import math

from stemtwin.twin import checks

REST_ENERGY = 510998.95069
"""Rest energy m c^2 of the electron, eV (CODATA 2022)."""
PLANCK_C = 12398.419843320026
"""h c, eV A (exact in the SI of 2019)."""
POTENTIAL_CONSTANT = 47.877647
"""K = h^2 / (2 pi m e), V A^2: a scattering factor f (A) and a cell of area S (A^2) give a potential of K f / S (V A)."""
COULOMB_CONSTANT = 14.3996455
"""e^2 / (4 pi eps0), eV A."""
UNIFIED_MASS_ENERGY = 931494103.72
"""u c^2, eV (CODATA 2022)."""
ELEMENTARY_CHARGE = 1.602176634e-19
"""Charge of the electron, C (exact in the SI of 2019)."""
ELECTRONS_PER_PICOAMPERE_SECOND = 1e-12 / ELEMENTARY_CHARGE
"""Electrons per second in 1 pA."""
LOWEST_ENERGY, HIGHEST_ENERGY = 1e3, 3e6
"""Range of beam energies in which the cross-sections hold, eV.

Below it screening matters even for backscattering, above it the finite size of the nucleus matters.
"""


def beam_energy(value: object) -> float:
    """Return a beam energy, eV, after a check; raise SettingsError outside 1 keV to 3 MeV, the range of the cross-sections."""
    repair = "Give the beam energy in eV, for example 60e3."
    return checks.number("energy", value, "eV", low=LOWEST_ENERGY, high=HIGHEST_ENERGY, repair=repair)


def wavelength(energy: float) -> float:
    """Return the relativistic wavelength.

    Parameters
    ----------
    energy : float
        Kinetic energy, eV.

    Returns
    -------
    float
        lambda = h c / sqrt(E (2 m c^2 + E)), A (Kirkland, Advanced Computing in Electron Microscopy, eq. 2.5).
    """
    return PLANCK_C / math.sqrt(energy * (2 * REST_ENERGY + energy))


def lorentz_factor(energy: float) -> float:
    """Return gamma = 1 + E / (m c^2) of an electron of kinetic energy ``energy`` (eV)."""
    return 1 + energy / REST_ENERGY


def velocity_ratio(energy: float) -> float:
    """Return v / c of an electron of kinetic energy ``energy`` (eV)."""
    return math.sqrt(1 - 1 / lorentz_factor(energy) ** 2)


def interaction_constant(energy: float) -> float:
    """Return the interaction constant.

    Parameters
    ----------
    energy : float
        Kinetic energy, eV.

    Returns
    -------
    float
        sigma = 2 pi / (lambda E) (m c^2 + E) / (2 m c^2 + E), rad/(V A) (Kirkland, eq. 5.6).
    """
    return 2 * math.pi / (wavelength(energy) * energy) * (REST_ENERGY + energy) / (2 * REST_ENERGY + energy)


def max_transfer(energy: float, mass: float) -> float:
    """Return the largest energy that an electron gives to a nucleus at rest in one elastic collision.

    Parameters
    ----------
    energy : float
        Kinetic energy of the electron, eV.
    mass : float
        Mass of the nucleus, u.

    Returns
    -------
    float
        T = 2 M E (E + 2 m c^2) / ((M + m)^2 c^2 + 2 M E), eV (Banhart, Rep. Prog. Phys. 62 (1999) 1181).
    """
    nucleus = mass * UNIFIED_MASS_ENERGY
    return 2 * nucleus * energy * (energy + 2 * REST_ENERGY) / ((nucleus + REST_ENERGY) ** 2 + 2 * nucleus * energy)
