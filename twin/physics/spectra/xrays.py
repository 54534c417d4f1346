"""Characteristic X-rays and bremsstrahlung of thin specimens, and what an energy-dispersive detector makes of them.

N = (I t / e) n Q omega a (Omega / 4 pi) epsilon: electrons, atoms per area, ionisation cross-section, fluorescence yield, weight of the line, solid
angle, efficiency. Line energies, yields and weights are given by the caller (:class:`Shell`, :class:`XRayLine`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import erf

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics import electrons
from stemtwin.twin.physics.spectra.coreloss import half_velocity_energy
from stemtwin.twin.physics.spectra.gos import BOHR, RYDBERG

MANGANESE_K = 5898.75
"""Energy of Mn K alpha, eV: where resolutions are quoted."""
PAIR_ENERGY, FANO = 3.65, 0.12
"""Energy of an electron-hole pair in silicon, eV, and its Fano factor [M]."""
FWHM_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))
FINE_STRUCTURE = 1 / 137.035999


@dataclass(frozen=True, slots=True, kw_only=True)
class XRayLine:
    """One X-ray line.

    Parameters
    ----------
    name : str
        Siegbahn's name.
    energy : float
        eV.
    weight : float
        Part of the subshell's radiative decays.
    """

    name: str
    energy: float
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """A subshell that emits X-rays.

    Parameters
    ----------
    name : str
        K, L1, L2, L3, M1 to M5.
    energy : float
        Ionisation energy, eV.
    electrons : int
        Electrons in it.
    fluorescence : float
        Radiative decays per vacancy.
    lines : tuple of XRayLine
        Its lines.
    feeding : tuple of (str, float)
        Other subshells whose vacancies move here (Coster-Kronig), and the part of them.
    """

    name: str
    energy: float
    electrons: int
    fluorescence: float
    lines: tuple[XRayLine, ...]
    feeding: tuple[tuple[str, float], ...] = ()


def ionisation_bethe(energy: float, count: int, beam_energy: float, *, b: float = 0.90, c: float = 0.65) -> float:
    """Return the ionisation cross-section of a subshell by Bethe's formula, relativistic.

    Parameters
    ----------
    energy : float
        Ionisation energy, eV.
    count : int
        Electrons in the subshell.
    beam_energy : float
        eV.
    b, c : float
        Constants; those of K shells by C. J. Powell, Rev. Mod. Phys. 48 (1976) 33.

    Returns
    -------
    float
        4 pi a0^2 R^2 n b / (T I) (ln(c T / I) - ln(1 - beta^2) - beta^2), T = m v^2 / 2, A^2; 0 below the threshold.
    """
    t, beta2 = half_velocity_energy(beam_energy), electrons.velocity_ratio(beam_energy) ** 2
    if c * t <= energy:
        return 0.0
    logarithm = math.log(c * t / energy) - math.log1p(-beta2) - beta2
    return 4 * math.pi * BOHR**2 * RYDBERG**2 * count * b / (t * energy) * logarithm


def ionisation_casnati(energy: float, count: int, beam_energy: float) -> float:
    """Return the ionisation cross-section of a subshell, A^2, by E. Casnati et al., J. Phys. B 15 (1982) 155; arguments as :func:`ionisation_bethe`.

    Fitted to measured K shells, +-10 %. For L shells it is within 10 % of the integrals of ``coreloss.py``, for M shells within 25 %.
    """
    u = beam_energy / energy
    if u <= 1:
        return 0.0
    j, t = energy / electrons.REST_ENERGY, beam_energy / electrons.REST_ENERGY
    psi = (energy / RYDBERG) ** (-0.0318 + 0.3160 / u - 0.1135 / u**2)
    phi = 10.57 * math.exp(-1.736 / u + 0.317 / u**2)
    relativistic = (2 + j) / (2 + t) * ((1 + t) / (1 + j)) ** 2
    relativistic *= ((j + t) * (2 + t) * (1 + j) ** 2 / (t * (2 + t) * (1 + j) ** 2 + j * (2 + j))) ** 1.5
    return count * BOHR**2 * (RYDBERG / energy) ** 2 * relativistic * psi * phi * math.log(u) / u


def emissions(shells: Sequence[Shell], beam_energy: float) -> list[tuple[str, XRayLine, float]]:
    """Return all lines of an element, as (subshell, line, cross-section for one photon of it, A^2), with Coster-Kronig transitions."""
    direct = {shell.name: ionisation_casnati(shell.energy, shell.electrons, beam_energy) for shell in shells}
    out = []
    for shell in shells:
        vacancies = direct[shell.name] + sum(part * direct.get(name, 0.0) for name, part in shell.feeding)
        out.extend((shell.name, line, vacancies * shell.fluorescence * line.weight) for line in shell.lines)
    return out


def bremsstrahlung(number: float, energy: np.ndarray, beam_energy: float) -> np.ndarray:
    """Return the bremsstrahlung of one atom by Kramers' cross-section.

    Parameters
    ----------
    number : float
        Atomic number.
    energy : ndarray
        Photon energy, eV.
    beam_energy : float
        eV.

    Returns
    -------
    ndarray
        (16 pi / 3 sqrt 3) alpha^3 a0^2 Z^2 (R / T) / E, T = m v^2 / 2, in A^2/eV over all directions; 0 outside 0 < E < beam energy.
        H. A. Kramers, Phil. Mag. 46 (1923) 836; at light-like velocities it is a lower bound and not isotropic [A].
    """
    energy = np.asarray(energy, float)
    scale = 16 * math.pi / (3 * math.sqrt(3)) * FINE_STRUCTURE**3 * BOHR**2 * number**2 * RYDBERG / half_velocity_energy(beam_energy)
    inside = (energy > 0) & (energy < beam_energy)
    return np.where(inside, scale / np.where(inside, energy, 1.0), 0.0)


def resolution(energy: np.ndarray | float, at_manganese: float = 130.0) -> np.ndarray:
    """Return the full width at half maximum of a line, eV.

    Parameters
    ----------
    energy : ndarray
        Photon energy, eV.
    at_manganese : float
        Width at Mn K alpha, eV.

    Returns
    -------
    ndarray
        sqrt(k E + noise^2), k of silicon, and the noise that gives the width at Mn K alpha.

    Raises
    ------
    SettingsError
        The width is less than the statistics of electron-hole pairs allow.
    """
    k = FWHM_PER_SIGMA**2 * FANO * PAIR_ENERGY
    noise2 = at_manganese**2 - k * MANGANESE_K
    if noise2 < 0:
        message = (
            f"A resolution of {at_manganese:g} eV at Mn K alpha is better than silicon's {math.sqrt(k * MANGANESE_K):.1f} eV. Use a larger width."
        )
        raise SettingsError(message)
    return np.sqrt(k * np.asarray(energy, float) + noise2)


def line_in_bins(edges: np.ndarray, energy: float, width: float) -> np.ndarray:
    """Return the part of a Gaussian line of a full width at half maximum, eV, in each bin, shape (n,), from bin edges (n + 1,), eV."""
    scaled = (np.asarray(edges, float) - energy) * (FWHM_PER_SIGMA / (width * math.sqrt(2)))
    return np.diff(erf(scaled)) / 2


def blurred(edges: np.ndarray, density: np.ndarray, at_manganese: float) -> np.ndarray:
    """Return a smooth density (1/eV, at the centres of uniform bins) in bins, after a detector's resolution, which grows with the energy."""
    centres = (edges[1:] + edges[:-1]) / 2
    out = np.zeros(len(centres))
    step = edges[1] - edges[0]
    sigma = resolution(np.maximum(centres, 1.0), at_manganese) / FWHM_PER_SIGMA
    reach = math.ceil(5 * sigma.max() / step)
    index = np.arange(len(centres))
    for shift in range(-reach, reach + 1):
        to = index + shift
        ok = (to >= 0) & (to < len(centres))
        x = shift * step
        part = (erf((x + step / 2) / (sigma * math.sqrt(2))) - erf((x - step / 2) / (sigma * math.sqrt(2)))) / 2
        np.add.at(out, to[ok], (density * part * step)[ok])
    return out


def efficiency(layers: Sequence[np.ndarray], active: np.ndarray) -> np.ndarray:
    """Return the part of the photons that a detector counts.

    Parameters
    ----------
    layers : sequence of ndarray
        Optical depth mu t of each layer in front (window, contact, dead layer), at each energy.
    active : ndarray
        Optical depth of the active volume.

    Returns
    -------
    ndarray
        exp(-sum of layers) (1 - exp(-active)).
    """
    total = np.sum(layers, axis=0) if len(layers) else np.zeros(np.shape(active))
    return np.exp(-total) * -np.expm1(-np.asarray(active, float))


def absorption(depth: np.ndarray) -> np.ndarray:
    """Return the part of X-rays made uniformly along the thickness that leave it: (1 - exp(-d)) / d, d = mu rho t / sin(take-off angle)."""
    depth = np.asarray(depth, float)
    small = np.abs(depth) < 1e-8
    return np.where(small, 1 - depth / 2, -np.expm1(-depth) / np.where(small, 1.0, depth))


# ---- quantification ------------------------------------------------------------------------------------------------------------------------


def k_factors(sensitivities: Mapping[str, float], masses: Mapping[str, float], reference: str) -> dict[str, float]:
    """Return Cliff and Lorimer's k-factors for weight fractions.

    Parameters
    ----------
    sensitivities : mapping
        Photons counted per atom, of the line that stands for each element: Q omega a epsilon, in any common unit.
    masses : mapping
        Atomic masses.
    reference : str
        The element whose k is 1.

    Returns
    -------
    dict
        k with C_i / C_ref = k_i I_i / I_ref (G. Cliff, G. W. Lorimer, J. Microsc. 103 (1975) 203).

    Raises
    ------
    SettingsError
        An element has no mass, or a sensitivity is not positive.
    """
    wrong = [symbol for symbol in sensitivities if symbol not in masses or not sensitivities[symbol] > 0]
    if wrong or reference not in sensitivities:
        message = (
            f"k-factors need a positive sensitivity and a mass of every element and of the reference {reference!r}; wrong: {wrong or reference}."
        )
        raise SettingsError(message)
    unit = masses[reference] / sensitivities[reference]
    return {symbol: masses[symbol] / value / unit for symbol, value in sensitivities.items()}


def cliff_lorimer(intensities: Mapping[str, float], factors: Mapping[str, float], masses: Mapping[str, float]) -> dict[str, float]:
    """Return atomic fractions from line intensities and k-factors.

    Parameters
    ----------
    intensities : mapping
        Counts of the line of each element, without background.
    factors : mapping
        k-factors of :func:`k_factors`.
    masses : mapping
        Atomic masses.

    Returns
    -------
    dict
        Atomic fractions, 1 in all.

    Raises
    ------
    SettingsError
        An element has no k-factor, or nothing was counted.
    """
    missing = [symbol for symbol in intensities if symbol not in factors]
    if missing or not sum(intensities.values()) > 0:
        message = (
            f"No composition: {'no k-factor of ' + ', '.join(missing) if missing else 'there are no counts'}. Give lines with counts and k-factors."
        )
        raise SettingsError(message)
    amounts = {symbol: factors[symbol] * value / masses[symbol] for symbol, value in intensities.items()}
    total = sum(amounts.values())
    return {symbol: value / total for symbol, value in amounts.items()}
