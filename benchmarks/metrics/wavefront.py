"""Metrics of estimated aberrations: error in quarter waves, phase and Strehl ratio after correction, error of the aperture angle, and calibration."""

import numpy as np

from stemtwin.benchmarks.metrics.metric import Metric, add_metrics, mean_of, ratio
from stemtwin.datasets.generators.ronchigram import COEFFICIENTS, aberrations_of
from stemtwin.twin.physics.electrons import wavelength
from stemtwin.twin.physics.phase_error import rms_phase
from stemtwin.twin.physics.probe import strehl_ratio

LEAST_SKILL = -1.0
LEVELS = {"68": 0.6827, "90": 0.9}
"""Nominal probabilities of the intervals: one standard deviation on either side for a normal distribution, and the requested interval."""


def quarter_waves(semiangle_mrad: float, energy_ev: float) -> np.ndarray:
    """Return the value at which each coefficient shifts the phase at the edge of an aperture by a quarter wave, (12,) A."""
    order = np.array([int(name[1]) for name in COEFFICIENTS])
    return (order + 1) * wavelength(energy_ev) / 4 / (semiangle_mrad * 1e-3) ** (order + 1)


def residual_phase(error: np.ndarray, semiangle_mrad: float, energy_ev: float) -> float:
    """Return the root mean square phase (rad) over an aperture for the aberration coefficients ``error``, (12,) A; the mean phase is subtracted."""
    return rms_phase(wavelength(energy_ev), semiangle_mrad * 1e-3, aberrations_of(error))


def strehl(error: np.ndarray, semiangle_mrad: float, energy_ev: float) -> float:
    """Return the Strehl ratio of a probe with the aberration coefficients ``error``, (12,) A."""
    return strehl_ratio(wavelength(energy_ev), semiangle_mrad * 1e-3, aberrations_of(error))


def aberration_sizes(coefficients: np.ndarray) -> np.ndarray:
    """Return the magnitudes of the seven aberrations that twelve Cartesian coefficients describe, (7,) in the unit of the coefficients."""
    names = [name.rstrip("ab") for name in COEFFICIENTS]
    return np.array([np.linalg.norm([c for c, n in zip(coefficients, names, strict=True) if n == one]) for one in dict.fromkeys(names)])


def score_aberrations(estimate: np.ndarray, truth: np.ndarray, assumed: np.ndarray, *, semiangle_mrad: float, energy_ev: float) -> dict[str, float]:
    """Return the additive statistics of the coefficients of one sample, whose sums over samples give the metrics.

    Parameters
    ----------
    estimate, truth, assumed : ndarray
        (12,) Cartesian coefficients, A; ``assumed`` holds the nominal coefficients, which are known without the Ronchigram.
    semiangle_mrad : float
        Aperture in which phases are measured, mrad.
    energy_ev : float
        Beam energy, eV.
    """
    error = np.asarray(estimate, dtype=float) - truth
    left, blind = (residual_phase(one, semiangle_mrad, energy_ev) for one in (error, assumed - truth))
    return {
        "quarter_waves": float(aberration_sizes(error / quarter_waves(semiangle_mrad, energy_ev)).mean()),
        "residual_phase": left,
        "strehl": strehl(error, semiangle_mrad, energy_ev),
        "skill": max(LEAST_SKILL, 1 - left / max(blind, 1e-12)),
    }


def count_inside(low: np.ndarray, high: np.ndarray, truth: np.ndarray) -> int:
    """Return the number of true coefficients that lie within their intervals."""
    return int(((low <= truth) & (truth <= high)).sum())


SUMS = {"quarter_waves": 2.0, "residual_phase": 3.2, "strehl": 1.2, "skill": 1.0, "aperture_error": 0.4, "samples": 4, "coefficients": 48}
SUMS |= {"inside_68": 24, "inside_90": 48}
"""Sums of four samples, as examples for the references of the metrics."""


def _plain(name: str, title: str, text: str, value: float, unit: str = "", direction: str = "min") -> Metric:
    """Return the metric that is the mean of a statistic."""
    better = "max" if direction == "max" else "min"
    return Metric(
        name=name, title=title, formula=mean_of(name), text=f"{name} / samples, {text}", references=((SUMS, value),), unit=unit, direction=better
    )


def _calibration(level: str, needs: str) -> Metric:
    """Return the metric of the absolute difference between the fraction of true coefficients in their intervals and its nominal value."""
    inside = f"inside_{level}"
    return Metric(
        name=f"miscoverage_{level}",
        title=f"distance of the coverage of the {level} % intervals from {level} %",
        formula=lambda sums: np.abs(ratio(sums[inside], sums["coefficients"]) - LEVELS[level]),
        text=f"|inside_{level} / coefficients - {LEVELS[level]}|, over the twelve Cartesian coefficients",
        references=((SUMS, abs(SUMS[inside] / 48 - LEVELS[level])), ({**SUMS, inside: 48 * LEVELS[level]}, 0.0)),
        direction="min",
        needs=(needs,),
    )


RESIDUAL_PHASE, STREHL, QUARTER_WAVES, PHASE_SKILL, APERTURE_ERROR, MISCOVERAGE_68, MISCOVERAGE_90 = add_metrics(
    "wavefront",
    _plain("residual_phase", "residual phase after the correction", "mean of the root mean square over the reference aperture", 0.8, "rad"),
    _plain("strehl", "Strehl ratio after the correction", "in the reference aperture", 0.3, direction="max"),
    _plain("quarter_waves", "error of an aberration in quarter waves", "mean over seven aberrations, at the edge of the reference aperture", 0.5),
    _plain("skill", "fraction of the phase that is removed", "mean of 1 - residual phase / nominal phase error, at least -1", 0.25, direction="max"),
    _plain("aperture_error", "relative error of the chosen aperture", "of the distance from the largest flat aperture over it", 0.1),
    _calibration("68", "sigma"),
    _calibration("90", "interval"),
)
