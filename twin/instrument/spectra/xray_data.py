"""X-ray data of the elements, from xraydb (M. Newville; levels and lines of Elam, Ravel and Sieber, Radiat. Phys. Chem. 63 (2002) 121)."""

import functools

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.scattering_factors import SYMBOLS
from stemtwin.twin.physics.spectra.atomic_masses import MASSES, NUMBERS
from stemtwin.twin.physics.spectra.xrays import Shell, XRayLine

FULL = {"K": 2, "L1": 2, "L2": 2, "L3": 4, "M1": 2, "M2": 2, "M3": 4, "M4": 4, "M5": 6}
"""Electrons of a full subshell."""
LARGEST = 98
"""Last element of the data, californium."""
AVOGADRO = 6.02214076e23
LEAST_WEIGHT = 1e-4
"""Least relative strength of a line."""


def checked(number: int) -> str:
    """Return the symbol of an element; raise SettingsError for an element without X-ray data."""
    if not 1 <= number <= LARGEST:
        message = f"X-ray data of element {number} are not available. Use H (1) to {SYMBOLS[LARGEST]} ({LARGEST})."
        raise SettingsError(message)
    return SYMBOLS[number]


@functools.cache
def shells(number: int) -> tuple[Shell, ...]:
    """Return the X-ray emitting subshells of an element with their lines and Coster-Kronig rates; the result is () for H and He."""
    import xraydb  # the import takes a second

    symbol = checked(number)
    levels = {name: level for name, level in xraydb.xray_edges(symbol).items() if name in FULL}
    lines: dict[str, list[XRayLine]] = {name: [] for name in levels}
    for name, line in xraydb.xray_lines(symbol).items():
        if line.initial_level in lines and line.intensity >= LEAST_WEIGHT:
            lines[line.initial_level].append(XRayLine(name=name, energy=float(line.energy), weight=float(line.intensity)))
    feeding = {name: _feeding(symbol, name, list(levels)) for name in levels}
    return tuple(
        Shell(
            name=name,
            energy=float(level.energy),
            electrons=FULL[name],
            fluorescence=float(level.fyield),
            lines=tuple(lines[name]),
            feeding=feeding[name],
        )
        for name, level in levels.items()
        if lines[name] and level.fyield > 0
    )


def _feeding(symbol: str, name: str, levels: list[str]) -> tuple[tuple[str, float], ...]:
    import xraydb

    found = []
    for other in levels:
        if other[0] == name[0] and other < name:
            part = xraydb.ck_probability(symbol, other, name, total=True)
            if part:
                found.append((other, float(part)))
    return tuple(found)


def absorption_cross_section(number: int, energy: np.ndarray) -> np.ndarray:
    """Return the photoabsorption cross-section of an atom (A^2) at photon energies, eV. It is constant below 100 eV."""
    import xraydb

    symbol = checked(number)
    per_gram = xraydb.mu_elam(symbol, np.maximum(np.asarray(energy, float), 100.0), kind="photo")
    return np.asarray(per_gram) * MASSES[number] / AVOGADRO * 1e16


def silicon_depth(energy: np.ndarray, thickness: float) -> np.ndarray:
    """Return the optical depth of a silicon layer of given thickness (A) at given photon energies, eV."""
    return absorption_cross_section(NUMBERS["Si"], energy) * 0.04996 * thickness
