"""Checks of numbers, each with one clear sentence."""

import math
from numbers import Real

from stemtwin.twin.errors import SettingsError

LOWEST_ENERGY, HIGHEST_ENERGY = 1e3, 3e6
"""Beam energies for which the cross-sections hold, eV: below, screening matters even for backscattering; above, the size of the nucleus."""


def within(name: str, value: object, unit: str, low: float, high: float, repair: str) -> float:
    """Return a number within limits as a float.

    Raises
    ------
    SettingsError
        It is not a finite number, or outside [low, high]; the message ends with ``repair``.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        message = f"{name}={value!r} is not a finite number of {unit}. {repair}"
        raise SettingsError(message)
    if not low <= float(value) <= high:
        message = f"{name}={float(value):g} {unit} is outside {low:g} to {high:g} {unit}. {repair}"
        raise SettingsError(message)
    return float(value)


def beam_energy(value: object) -> float:
    """Return a beam energy in eV that the models hold for; raise SettingsError otherwise."""
    return within("energy", value, "eV", LOWEST_ENERGY, HIGHEST_ENERGY, "Give the beam energy in eV, for example 60e3.")


def displacement_energy(value: object) -> float:
    """Return a displacement threshold in eV that can be one; raise SettingsError otherwise."""
    return within("displacement", value, "eV", 0.05, 500.0, "Displacement thresholds lie between about 1 eV (adatoms) and 100 eV.")
