"""Baselines of ``ronchigram``: the means of the prior, a fit to the spectra of segments of the Ronchigram, and an oracle."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from stemtwin.benchmarks.agents import Baseline, add_baseline
from stemtwin.benchmarks.answers.values import Values
from stemtwin.benchmarks.baselines import ronchigram_fit
from stemtwin.benchmarks.families.ronchigram import APERTURE, NAMES
from stemtwin.datasets.cards import find_card
from stemtwin.datasets.generators.ronchigram import COEFFICIENTS, flat_aperture_mrad

DRAWS = 400
SEED = 16
LEVEL_90 = 1.6449
"""Half width of the 90 % interval of a normal distribution, in standard deviations."""
LEAST_SIGMA = 1e-6


@functools.lru_cache(maxsize=1)
def prior_draws() -> np.ndarray:
    """Return coefficients drawn from the prior that the card of the data set states, (draws, 12), A."""
    settings, rng = find_card("ronchigram", "1.0.0").generator, np.random.default_rng(SEED)
    spread = np.exp(rng.uniform(np.log(settings.spread[0]), np.log(settings.spread[1]), (DRAWS, 1)))
    return settings.means() + spread * settings.sigmas() * rng.standard_normal((DRAWS, len(COEFFICIENTS)))


def _apertures(draws: np.ndarray, given: Mapping[str, Any]) -> np.ndarray:
    """Return the flat aperture for each set of coefficients, (n, 12) A; the result is (n,) mrad."""
    return np.array([flat_aperture_mrad(one, float(given["semiangle_mrad"]), float(given["energy_ev"])) for one in draws])


@functools.lru_cache(maxsize=4)
def _prior_apertures(semiangle_mrad: float, energy_ev: float) -> np.ndarray:
    """Return the flat apertures of the prior's draws, mrad."""
    return _apertures(prior_draws(), {"semiangle_mrad": semiangle_mrad, "energy_ev": energy_ev})


def _answer(value: np.ndarray, sigma: np.ndarray, apertures: np.ndarray, ends: tuple[np.ndarray, np.ndarray] | None = None) -> Values:
    """Return coefficients, the median of drawn apertures, standard deviations and 90 % intervals; normal intervals where ends are absent."""
    low, high = ends or (value - LEVEL_90 * sigma, value + LEVEL_90 * sigma)
    whole = (
        np.append(value, np.median(apertures)),
        np.append(sigma, max(apertures.std(), LEAST_SIGMA)),
        np.append(low, np.quantile(apertures, 0.05)),
        np.append(high, np.quantile(apertures, 0.95)),
    )
    named = [dict(zip((*NAMES, APERTURE), part.tolist(), strict=True)) for part in whole]
    return Values(value=named[0], sigma=named[1], low=named[2], high=named[3])


class PriorMeans:
    """Estimate that does not use the image: the nominal defocus, zero for all other coefficients, and the median aperture of the prior."""

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> Values:
        """Return the means, standard deviations and 90 % intervals of the prior."""
        del rng
        draws = prior_draws() - find_card("ronchigram", "1.0.0").generator.means()
        mean = np.array([float(given["set_C10_angstrom"]) if name == "C10" else 0.0 for name in COEFFICIENTS])
        ends = mean + np.quantile(draws, 0.05, axis=0), mean + np.quantile(draws, 0.95, axis=0)
        inner = np.quantile(np.abs(draws), 0.6827, axis=0)
        return _answer(mean, inner, _prior_apertures(float(given["semiangle_mrad"]), float(given["energy_ev"])), ends)


class SegmentFit:
    """Fit of the rings and ellipses in the spectra of segments of the Ronchigram, with the prior of the data set.

    The task also asks for an aperture: the largest one within which the phase of the aberrations beyond first order stays within pi/4. This aperture
    is computed for 60 sets of coefficients, drawn from a normal distribution with the mean and the covariance of the fit. The estimate is the median.
    """

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> Values:
        """Return the coefficients with the largest posterior density and the estimated aperture, with standard deviations and 90 % intervals."""
        settings = find_card("ronchigram", "1.0.0").generator
        mean = np.array([float(given["set_C10_angstrom"]) if name == "C10" else 0.0 for name in COEFFICIENTS])
        size = prior_draws().std(axis=0) / settings.sigmas()
        found = ronchigram_fit.fit(ronchigram_fit.segments_of(dict(given)), mean, size.mean() * settings.sigmas())
        sigma = np.sqrt(np.diag(found.covariance))
        draws = rng.multivariate_normal(found.coefficients, found.covariance, 60, method="cholesky")
        return _answer(found.coefficients, sigma, _apertures(draws, given))


class AberrationOracle:
    """Oracle that returns the true coefficients and the true aperture, without intervals."""

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> Values:
        """Return the truth, which only an oracle receives."""
        del rng
        return given["truth"]


for _name, _text, _factory in (
    ("prior", "the nominal defocus, and the prior's standard deviations", PriorMeans),
    ("segments", "a fit of rings and ellipses in the spectra of segments, which fails on crystals", SegmentFit),
):
    add_baseline(Baseline(task="ronchigram", name=_name, text=_text, factory=_factory))
add_baseline(Baseline(task="ronchigram", name="oracle", text="the true coefficients and aperture", factory=AberrationOracle, oracle=True))
