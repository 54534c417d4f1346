"""Characteristic X-rays and bremsstrahlung of thin specimens, and the response of an energy-dispersive detector.

The number of counted photons of a line is N = (I t / e) n Q omega a (Omega / 4 pi) epsilon, the product of the number
of electrons, atoms per area, ionisation cross-section, fluorescence yield, weight of the line, solid angle and
efficiency. The caller gives line energies, yields and weights (:class:`Shell`, :class:`XRayLine`).
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
"""Energy of Mn K alpha (eV) at which resolutions are quoted."""
PAIR_ENERGY, FANO = 3.65, 0.12
"""Energy of an electron-hole pair in silicon (eV) and its Fano factor [M]."""
FWHM_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))
FINE_STRUCTURE = 1 / 137.035999


@dataclass(frozen=True, slots=True, kw_only=True)
class XRayLine:
    """One X-ray line.

    Parameters
    ----------
    name : str
        Name in Siegbahn's notation.
    energy : float
        Energy of the line, eV.
    weight : float
        Fraction of the subshell's radiative decays.
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
        Name of the subshell: K, L1, L2, L3, M1 to M5.
    energy : float
        Ionisation energy, eV.
    electrons : int
        Number of electrons in the subshell.
    fluorescence : float
        Radiative decays per vacancy.
    lines : tuple of XRayLine
        Lines of the subshell.
    feeding : tuple of (str, float)
        Subshells whose vacancies move to this subshell (Coster-Kronig transitions), each with the fraction of its
        vacancies that move.
    """

    name: str
    energy: float
    electrons: int
    fluorescence: float
    lines: tuple[XRayLine, ...]
    feeding: tuple[tuple[str, float], ...] = ()


def ionisation_bethe(energy: float, count: int, beam_energy: float, *, b: float = 0.90, c: float = 0.65) -> float:
    """Return the ionisation cross-section of a subshell by the relativistic Bethe formula.

    Parameters
    ----------
    energy : float
        Ionisation energy, eV.
    count : int
        Number of electrons in the subshell.
    beam_energy : float
        Beam energy, eV.
    b, c : float
        Bethe parameters; the defaults are those of K shells by C. J. Powell, Rev. Mod. Phys. 48 (1976) 33.

    Returns
    -------
    float
        Cross-section, A^2: 4 pi a0^2 R^2 n b / (T I) (ln(c T / I) - ln(1 - beta^2) - beta^2) with T = m v^2 / 2,
        I = ``energy``, n = ``count`` and the Rydberg energy R; 0 below the threshold.
    """
    t, beta2 = half_velocity_energy(beam_energy), electrons.velocity_ratio(beam_energy) ** 2
    if c * t <= energy:
        return 0.0
    logarithm = math.log(c * t / energy) - math.log1p(-beta2) - beta2
    return 4 * math.pi * BOHR**2 * RYDBERG**2 * count * b / (t * energy) * logarithm


def ionisation_casnati(energy: float, count: int, beam_energy: float) -> float:
    """Return the ionisation cross-section of a subshell (A^2) by the formula of Casnati et al.

    The formula fits measured cross-sections of K shells to +-10 %. For L shells it is within 10 % of the integrals of
    ``coreloss.py``, for M shells within 25 %. Source: E. Casnati et al., J. Phys. B 15 (1982) 155. The parameters are
    those of :func:`ionisation_bethe`.
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
    """Return all lines of an element as tuples of subshell, line, and cross-section for the emission of a photon, A^2.

    Coster-Kronig transitions are included.
    """
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
        Beam energy, eV.

    Returns
    -------
    ndarray
        Cross-section per photon energy, summed over all directions, A^2/eV. It is
        16 pi / (3 sqrt(3)) alpha^3 a0^2 Z^2 (R / T) / E with the photon energy E, the fine-structure constant alpha, the Bohr
        radius a0, the Rydberg energy R and T = m v^2 / 2; it is 0 outside 0 < E < beam energy (H. A. Kramers, Phil. Mag. 46
        (1923) 836). At relativistic velocities the formula is a lower bound, and the true emission is not isotropic. The model
        is therefore an engineering assumption; [A] marks assumptions.
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
        Full width at half maximum at Mn K alpha, eV.

    Returns
    -------
    ndarray
        Width sqrt(k E + noise^2), eV, with the constant k of silicon and the noise that yields ``at_manganese`` at Mn
        K alpha.

    Raises
    ------
    SettingsError
        The width is below the limit set by the statistics of electron-hole pairs.
    """
    k = FWHM_PER_SIGMA**2 * FANO * PAIR_ENERGY
    noise2 = at_manganese**2 - k * MANGANESE_K
    if noise2 < 0:
        limit = math.sqrt(k * MANGANESE_K)
        message = f"A resolution of {at_manganese:g} eV at Mn K alpha is better than silicon's limit. "
        message += f"Use at least {limit:.1f} eV."
        raise SettingsError(message)
    return np.sqrt(k * np.asarray(energy, float) + noise2)


def line_in_bins(edges: np.ndarray, energy: float, width: float) -> np.ndarray:
    """Return the fraction of a Gaussian line in each energy bin.

    Parameters
    ----------
    edges : ndarray
        Edges of the bins, eV, shape (n + 1,).
    energy, width : float
        Energy of the line and its full width at half maximum, eV.

    Returns
    -------
    ndarray
        Fractions, shape (n,).
    """
    scaled = (np.asarray(edges, float) - energy) * (FWHM_PER_SIGMA / (width * math.sqrt(2)))
    return np.diff(erf(scaled)) / 2


def blurred(edges: np.ndarray, density: np.ndarray, at_manganese: float) -> np.ndarray:
    """Return the content of energy bins after a smooth density is broadened by the detector's resolution.

    Parameters
    ----------
    edges : ndarray
        Edges of uniform bins, eV, shape (n + 1,).
    density : ndarray
        Density at the centres of the bins, 1/eV, shape (n,).
    at_manganese : float
        Full width at half maximum at Mn K alpha, eV; the width varies with energy as in :func:`resolution`.

    Returns
    -------
    ndarray
        Content of each bin, shape (n,).
    """
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
    """Return the fraction of the photons that a detector counts.

    Parameters
    ----------
    layers : sequence of ndarray
        Optical depth mu t of each layer in front of the active volume (window, contact, dead layer) at each energy.
    active : ndarray
        Optical depth of the active volume at each energy.

    Returns
    -------
    ndarray
        exp(-sum of layers) (1 - exp(-active)).
    """
    total = np.sum(layers, axis=0) if len(layers) else np.zeros(np.shape(active))
    return np.exp(-total) * -np.expm1(-np.asarray(active, float))


def absorption(depth: np.ndarray) -> np.ndarray:
    """Return the fraction of X-rays that leave a specimen in which they are generated uniformly over the thickness.

    The fraction is (1 - exp(-d)) / d. The array ``depth``, of any shape, contains the optical depth
    d = mu rho t / sin(take-off angle).
    """
    depth = np.asarray(depth, float)
    small = np.abs(depth) < 1e-8
    return np.where(small, 1 - depth / 2, -np.expm1(-depth) / np.where(small, 1.0, depth))


# ---- quantification ------------------------------------------------------------------------------------------------------------------------


def k_factors(sensitivities: Mapping[str, float], masses: Mapping[str, float], reference: str) -> dict[str, float]:
    """Return Cliff-Lorimer k-factors for weight fractions.

    Parameters
    ----------
    sensitivities : mapping
        Photons counted per atom in the line that is used for each element: Q omega a epsilon, in any common unit.
    masses : mapping
        Atomic masses.
    reference : str
        Element whose k-factor is 1.

    Returns
    -------
    dict
        k-factors with C_i / C_ref = k_i I_i / I_ref (G. Cliff, G. W. Lorimer, J. Microsc. 103 (1975) 203).

    Raises
    ------
    SettingsError
        An element has no mass, a sensitivity is not positive, or the reference has no sensitivity.
    """
    wrong = [symbol for symbol in sensitivities if symbol not in masses or not sensitivities[symbol] > 0]
    if wrong or reference not in sensitivities:
        message = (
            f"The mass is missing, or the sensitivity is not positive, for {', '.join(wrong or [reference])}. "
            f"Give both for every element and for the reference {reference!r}."
        )
        raise SettingsError(message)
    unit = masses[reference] / sensitivities[reference]
    return {symbol: masses[symbol] / value / unit for symbol, value in sensitivities.items()}


def cliff_lorimer(intensities: Mapping[str, float], factors: Mapping[str, float], masses: Mapping[str, float]) -> dict[str, float]:
    """Return atomic fractions from line intensities and k-factors.

    Parameters
    ----------
    intensities : mapping
        Background-subtracted counts in the line of each element.
    factors : mapping
        k-factors of :func:`k_factors`.
    masses : mapping
        Atomic masses.

    Returns
    -------
    dict
        Atomic fractions, which add up to 1.

    Raises
    ------
    SettingsError
        An element has no k-factor, or nothing was counted.
    """
    missing = [symbol for symbol in intensities if symbol not in factors]
    if missing or not sum(intensities.values()) > 0:
        reason = f"the k-factors of {', '.join(missing)} are missing" if missing else "there are no counts"
        message = f"The composition cannot be computed: {reason}. Give lines with counts and k-factors."
        raise SettingsError(message)
    amounts = {symbol: factors[symbol] * value / masses[symbol] for symbol, value in intensities.items()}
    total = sum(amounts.values())
    return {symbol: value / total for symbol, value in amounts.items()}
