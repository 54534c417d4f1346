"""Presets of HypothesisTest: numbers of sites and areas, budgets, ranges of the settings, and prior of the damage laws."""

from dataclasses import dataclass

import numpy as np

from stemtwin.twin.envs.arguments import Randomisation
from stemtwin.twin.envs.damage_laws import USUAL_DOSE, USUAL_ENERGY_EV, USUAL_TIME_S, LawPrior

CALM = Randomisation()
"""An instrument without faults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HypothesisPreset:
    """Settings of one difficulty of the hypothesis test.

    Parameters
    ----------
    sites_per_side : int
        Number of sites along each side of a fresh area, which is square.
    areas : int
        Number of fresh areas, including the one exposed at the start.
    dose, time : float
        Budgets of an episode in units of the usual dose and the usual time, including the exposure at the start.
    reach : tuple of float
        Largest factors by which the usual energy, dose and time may be multiplied or divided.
    prior : LawPrior
        Prior of the parameters of the damage laws.
    randomisation : Randomisation
        Faults of the instrument; their probabilities are 0 by default.
    """

    sites_per_side: int
    areas: int
    dose: float
    time: float
    reach: tuple[float, float, float]
    prior: LawPrior
    randomisation: Randomisation = CALM

    @property
    def sites(self) -> int:
        """Number of sites in one area."""
        return self.sites_per_side**2

    @property
    def queries(self) -> int:
        """Number of areas that the agent may expose."""
        return self.areas - 1

    @property
    def dark(self) -> float:
        """Probability that a site is read as lost if its frame is dark because the column valve was closed."""
        return 1 - self.prior.misread


STRENGTHS = (0.35, 0.45, 0.57, 0.73, 0.93, 1.2)
EASY = HypothesisPreset(
    sites_per_side=5,
    areas=8,
    dose=12.0,
    time=12.0,
    reach=(1.3, 3.0, 3.0),
    prior=LawPrior(strengths=STRENGTHS, thresholds=(5.0, 5.5, 6.0), exponents=(0.9, 1.0), hits=(3, 4), shares=(0.05, 0.1, 0.2), misread=0.05),
)
STANDARD = HypothesisPreset(
    sites_per_side=4,
    areas=12,
    dose=16.0,
    time=16.0,
    reach=(1.2, 2.5, 2.5),
    prior=LawPrior(strengths=STRENGTHS, thresholds=(3.5, 4.0, 4.5), exponents=(0.8, 0.9, 1.0), hits=(2, 3), shares=(0.1, 0.2, 0.3), misread=0.08),
)
HARD = HypothesisPreset(
    sites_per_side=4,
    areas=16,
    dose=18.0,
    time=18.0,
    reach=(1.15, 2.0, 2.0),
    prior=LawPrior(strengths=STRENGTHS, thresholds=(3.0, 3.5, 4.0), exponents=(0.7, 0.85, 1.0), hits=(2,), shares=(0.2, 0.3, 0.4), misread=0.1),
)


def preset_settings(preset: HypothesisPreset, settings: np.ndarray) -> tuple[float, float, float]:
    """Convert the settings of an action, three numbers in [-1, 1], to energy (eV), dose (e-/A^2) and time (s)."""
    energy, dose, time = (factor ** float(value) for factor, value in zip(preset.reach, settings, strict=True))
    return USUAL_ENERGY_EV * energy, USUAL_DOSE * dose, USUAL_TIME_S * time
