"""Competing laws of beam damage in MoS2, their priors, and the posterior from counts of lost sites.

There are three pairs of laws. Every law gives the probability that an exposure changes one atomic site, which is then
counted as lost. A law has two parameters: its strength h, defined by a loss of 1 - exp(-h) at the usual settings (80 keV,
1e8 electrons / A^2, 10 s), and its shape. The pairs, with the shapes of their laws, are:

- ``mechanism``: sulphur is lost by knock-on, or by radiolysis. The shape of the law of knock-on is its displacement
  threshold, eV. The law of radiolysis has no shape; its cross-section is proportional to 1 / v^2 (v: speed of the electrons).
- ``dose``: radiolysis removes a site by one hit, or by several hits. With one hit, the shape is an exponent of the dose,
  which describes sites of different sensitivity. With several hits, the shape is the number of hits.
- ``diffusion``: vacancies on a heating holder jump mostly because of heat, or mostly because of knock-on below the
  threshold of loss. The shape is the fraction of the jumps that is due to the less frequent cause at the usual settings.

At the usual settings, the two laws of a pair give the same loss for the same strength. Both laws also have the same prior
of strengths, so counts at the usual settings do not discriminate between the laws. Cross-sections and rates are those of
``stemtwin.twin.physics.dynamics``.
"""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.special import gammainc, gammaincinv, xlog1py, xlogy

from stemtwin.twin.physics.dynamics import knockon
from stemtwin.twin.physics.dynamics.displacement_thresholds import ROOM, find_site
from stemtwin.twin.physics.dynamics.electronic_excitation import Radiolysis
from stemtwin.twin.physics.phonons import BOLTZMANN

PAIRS: Mapping[str, tuple[str, str]] = {
    "mechanism": ("knock-on", "radiolysis"),
    "dose": ("one hit", "several hits"),
    "diffusion": ("heat", "beam"),
}
"""Pairs of laws by name; the first law of a pair is law 0, the second is law 1."""
USUAL_ENERGY_EV, USUAL_DOSE, USUAL_TIME_S = 80e3, 1e8, 10.0
"""Usual settings: beam energy, eV; dose, e-/A^2; time of an exposure, s."""
HOT = 820.0
"""Temperature on the heating holder, K.

A jump over a barrier of 2.3 eV (Komsa et al., Phys. Rev. B 88 (2013) 035301) takes about ten seconds at this temperature.
"""
JUMP_EV = find_site("S", "mos2").displacement - 1.4
"""Threshold of jumps by knock-on, eV [A]: 1.4 eV below the threshold of loss, as in ``process_library.dichalcogenide``."""
ATTEMPT = 1e13
"""Attempt frequency of jumps, 1/s."""
EXCITATION = Radiolysis(loss=10.0, electrons=6.0, efficiency=1e-6)
"""Radiolysis of sulphur [A]; its efficiency cancels, because only ratios of cross-sections are used."""
ENERGIES_EV = USUAL_ENERGY_EV * 2.0 ** np.linspace(-1, 1, 33)
"""Beam energies of the interpolation table of cross-sections, eV."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LawPrior:
    """Prior of the parameters of all laws: the possible values of each parameter, which have equal probabilities.

    Parameters
    ----------
    strengths : tuple of float
        Strengths of every law. At the usual settings (80 keV, 1e8 e-/A^2, 10 s) a law of strength h gives the probability
        1 - exp(-h) that a site is lost.
    thresholds : tuple of float
        Displacement thresholds in the law of knock-on, eV.
    exponents : tuple of float
        Exponents of the dose in the law of one hit.
    hits : tuple of int
        Numbers of hits that remove a site in the law of several hits.
    shares : tuple of float
        Fractions of the jumps of vacancies, at the usual settings, that are due to the less frequent cause (heat or the beam).
    misread : float
        Probability that a site is read wrongly.
    """

    strengths: tuple[float, ...]
    thresholds: tuple[float, ...]
    exponents: tuple[float, ...]
    hits: tuple[int, ...]
    shares: tuple[float, ...]
    misread: float

    def shapes(self, law: str) -> tuple[float, ...]:
        """Return the possible values of the parameter that a law has in addition to its strength, or (0,) for a law without one.

        This parameter is the threshold (eV), the exponent, the number of hits, or the fraction of jumps.
        """
        known = {"knock-on": self.thresholds, "one hit": self.exponents, "several hits": self.hits, "heat": self.shares, "beam": self.shares}
        return known.get(law, (0.0,))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hypotheses:
    """All hypotheses about a pair of laws: each of the h rows is one law with one strength and one shape.

    Parameters
    ----------
    law : ndarray
        Number of the law, 0 or 1, int64 (h,).
    strength, shape : ndarray
        Parameters of the law, float64 (h,).
    log_prior : ndarray
        Logarithm of the prior probability, float64 (h,); the probabilities of each law add up to one half.
    """

    law: np.ndarray
    strength: np.ndarray
    shape: np.ndarray
    log_prior: np.ndarray


@functools.lru_cache(maxsize=64)
def hypotheses(pair: str, prior: LawPrior) -> Hypotheses:
    """Return all hypotheses about a pair of laws: every strength and shape of both laws."""
    laws, strengths, shapes, weights = [], [], [], []
    for number, name in enumerate(PAIRS[pair]):
        h, s = np.meshgrid(prior.strengths, prior.shapes(name), indexing="ij")
        strengths.append(h.ravel())
        shapes.append(s.ravel().astype(float))
        laws.append(np.full(h.size, number))
        weights.append(np.full(h.size, -math.log(2 * h.size)))
    found = [np.concatenate(parts) for parts in (laws, strengths, shapes, weights)]
    for array in found:
        array.setflags(write=False)
    return Hypotheses(law=found[0], strength=found[1], shape=found[2], log_prior=found[3])


def read_probabilities(pair: str, prior: LawPrior, energy_ev: float, dose: float, time_s: float) -> np.ndarray:
    """Return the probability that a site is read as lost after an exposure, for every hypothesis of a pair.

    Parameters
    ----------
    pair : str
        Name of the pair: ``"mechanism"``, ``"dose"`` or ``"diffusion"``.
    prior : LawPrior
        Prior of the parameters.
    energy_ev : float
        Beam energy, eV, from 40e3 to 160e3.
    dose : float
        Dose, e-/A^2.
    time_s : float
        Time of the exposure, s.

    Returns
    -------
    ndarray
        float64 (h,), in the order of :func:`hypotheses`.
    """
    lost = np.concatenate([_lost(name, prior, energy_ev, dose / USUAL_DOSE, time_s / USUAL_TIME_S) for name in PAIRS[pair]])
    return prior.misread + (1 - 2 * prior.misread) * lost


def _lost(law: str, prior: LawPrior, energy_ev: float, dose: float, time: float) -> np.ndarray:
    """Return the probability of loss for all strengths and shapes of a law, with dose and time in units of the usual ones."""
    strengths, shapes = np.array(prior.strengths)[:, None], np.array(prior.shapes(law), dtype=float)
    if law == "several hits":
        return gammainc(shapes, _hits(prior) * dose * relative_radiolysis(energy_ev)).ravel()
    if law == "knock-on":
        exponent = dose * relative_knock_on(prior.thresholds, ROOM)(math.log(energy_ev))
    elif law == "radiolysis":
        exponent = dose * relative_radiolysis(energy_ev)
    elif law == "one hit":
        exponent = (dose * relative_radiolysis(energy_ev)) ** shapes
    else:
        by_beam = dose * float(relative_knock_on((JUMP_EV,), HOT)(math.log(energy_ev))[0])
        of_beam = shapes if law == "heat" else 1 - shapes
        exponent = of_beam * by_beam + (1 - of_beam) * time
    return -np.expm1(-strengths * np.broadcast_to(exponent, len(shapes))).ravel()


@functools.lru_cache(maxsize=64)
def _hits(prior: LawPrior) -> np.ndarray:
    """Return the mean number of hits that gives the usual loss at the usual settings, (strengths, hits)."""
    out = gammaincinv(np.array(prior.hits, dtype=float), -np.expm1(-np.array(prior.strengths))[:, None])
    out.setflags(write=False)
    return out


def relative_radiolysis(energy_ev: float) -> float:
    """Return the cross-section of radiolysis relative to its value at the usual energy (80 keV)."""
    return EXCITATION.cross_section(energy_ev) / _usual_radiolysis()


@functools.cache
def _usual_radiolysis() -> float:
    return EXCITATION.cross_section(USUAL_ENERGY_EV)


@functools.lru_cache(maxsize=64)
def relative_knock_on(thresholds: tuple[float, ...], temperature: float) -> CubicSpline:
    """Return the knock-on cross-sections of sulphur, relative to those at the usual energy (80 keV), as functions of log(energy).

    Parameters
    ----------
    thresholds : tuple of float
        Displacement thresholds, eV.
    temperature : float
        Temperature of the specimen, K.

    Returns
    -------
    CubicSpline
        Function of log(energy in eV) with one value for each threshold. From 40 to 160 keV its error is at most 1e-3 of the
        cross-section at the usual energy.
    """
    velocity2 = find_site("S", "mos2").velocity2_at(temperature)
    table = np.array([[knockon.cross_section("S", energy, one, velocity2=velocity2) for one in thresholds] for energy in ENERGIES_EV])
    return CubicSpline(np.log(ENERGIES_EV), table / table[len(ENERGIES_EV) // 2])


def barrier_ev(strength: float) -> float:
    """Return the energy barrier (eV) that a vacancy crosses ``strength`` times on average in the usual time (10 s) at 820 K."""
    return BOLTZMANN * HOT * math.log(ATTEMPT * USUAL_TIME_S / strength)


def updated(log_weights: np.ndarray, read: np.ndarray, lost: int, sites: int, *, closed: float = 0.0, dark: float = 1.0) -> np.ndarray:
    """Update the weights of all hypotheses by the number of sites that were read as lost in one area.

    The weights are given and returned as logarithms, without normalisation.

    Parameters
    ----------
    log_weights : ndarray
        Logarithms of the weights before the update, float64 (h,).
    read : ndarray
        Probability that a site is read as lost, for every hypothesis, float64 (h,).
    lost, sites : int
        Number of sites that were read as lost, and number of all sites.
    closed, dark : float
        Probability that the frame is dark because the column valve was closed, and probability that a site is read as
        lost in such a frame.
    """
    if not closed:
        return log_weights + lost * np.log(read) + (sites - lost) * np.log1p(-read)
    lit = xlog1py(1, -closed) + xlogy(lost, read) + xlog1py(sites - lost, -read)
    return log_weights + np.logaddexp(lit, math.log(closed) + xlogy(lost, dark) + xlog1py(sites - lost, -dark))


def posterior(log_weights: np.ndarray, law: np.ndarray) -> float:
    """Return the posterior probability of law 1 from the logarithms of all weights."""
    weights = np.exp(log_weights - log_weights.max())
    return float(weights[law == 1].sum() / weights.sum())
