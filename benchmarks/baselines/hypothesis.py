"""Baselines of ``hypothesis-test``: experiments with the greatest expected information, fixed and random experiments, and an oracle."""

import functools
import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import gammaln, xlog1py, xlogy

from stemtwin.benchmarks.agents import Baseline, Brief, add_baseline, known_numbers
from stemtwin.twin.envs.damage_laws import PAIRS, Hypotheses, LawPrior, hypotheses, posterior, read_probabilities, updated
from stemtwin.twin.envs.damage_presets import HypothesisPreset, preset_settings
from stemtwin.twin.envs.families.hypothesis_test import EDGE
from stemtwin.twin.envs.goal_family import BONUS, PRICE

GRID = (-1.0, -0.5, 0.0, 0.5, 1.0)
"""Candidate settings of each of energy, dose and time, in the units of the action."""
WORTH = BONUS * 2 * math.log(2) / math.log((1 - EDGE) / EDGE)
"""Increase of the expected return for each bit of information."""
SWEEP = ((-1.0, 1.0, -1.0), (1.0, -1.0, 1.0), (-1.0, -1.0, 1.0), (1.0, 1.0, -1.0))
"""Energy, dose and time of a fixed series of experiments, which is repeated."""
NEEDED = ("sites_per_side", "areas", "dose_budget", "time_budget", "reach", "prior", "actions", "randomisation")
"""Names of the known numbers that the model of the experiment needs."""


def preset_from(known: Mapping[str, Any]) -> HypothesisPreset:
    """Return the preset (sites, budgets, reach and prior) that the known numbers of a brief describe, see ``HypothesisTest.known``."""
    prior: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in known["prior"].items()}
    return HypothesisPreset(
        sites_per_side=known["sites_per_side"],
        areas=known["areas"],
        dose=known["dose_budget"],
        time=known["time_budget"],
        reach=tuple(known["reach"]),
        prior=LawPrior(**prior),
    )


def declaration(probability: float) -> np.ndarray:
    """Return the action that declares a probability of law 1; the probability is limited to the range that can be declared."""
    answer = 2 * (min(max(probability, EDGE), 1 - EDGE) - EDGE) / (1 - 2 * EDGE) - 1
    return np.array([0, 0, 0, 1, min(max(answer, -1.0), 1.0)], np.float32)


def experiment(settings: Any) -> np.ndarray:
    """Return the action that exposes an area with settings (energy, dose, time) in the units of the action."""
    return np.array([*settings, -1, 0], np.float32)


@functools.lru_cache(maxsize=16)
def outcome_probabilities(pair: str, preset: HypothesisPreset) -> np.ndarray:
    """Return the probability of each number of lost sites, for every design of an experiment and every hypothesis, (designs, h, N + 1).

    A design is a setting of energy, dose and time (:func:`designs`). The h hypotheses are those of one pair of laws. An area has N sites.
    """
    read = np.array([read_probabilities(pair, preset.prior, *preset_settings(preset, np.array(one))) for one in designs()])[..., None]
    lost, sites = np.arange(preset.sites + 1), preset.sites
    ways = gammaln(sites + 1) - gammaln(lost + 1) - gammaln(sites - lost + 1)
    out = np.exp(ways + xlogy(lost, read) + xlog1py(sites - lost, -read))
    out.setflags(write=False)
    return out


@functools.cache
def designs() -> np.ndarray:
    """Return the settings of all candidate experiments, (designs, 3): energy, dose and time in the units of the action."""
    out = np.array(list(itertools.product(GRID, repeat=3)), dtype=np.float32)
    out.setflags(write=False)
    return out


def expected_information(weights: np.ndarray, law: np.ndarray, outcomes: np.ndarray) -> np.ndarray:
    """Return the mutual information between the true law and the number of lost sites, for each design of an experiment, bits.

    Parameters
    ----------
    weights : ndarray
        Probabilities of the hypotheses, (h,), adding up to 1.
    law : ndarray
        Law of each hypothesis, 0 or 1, (h,).
    outcomes : ndarray
        Probabilities of the numbers of lost sites, from 0 to N, (designs, h, N + 1).

    Returns
    -------
    ndarray
        Information of each design, float64 (designs,), never negative.
    """
    of_law = np.array([np.where(law == number, weights, 0.0) for number in (0, 1)])
    joint = of_law @ outcomes
    apart = joint.sum(axis=1, keepdims=True) * of_law.sum(axis=1)[:, None]
    terms = xlogy(joint, np.divide(joint, apart, out=np.ones_like(joint), where=apart > 0))
    return np.maximum(terms.sum(axis=(1, 2)) / math.log(2), 0.0)


class Bayes:
    """Base class of policies that use the posterior probabilities of the laws, given all observations of the episode."""

    def reset(self, brief: Brief) -> None:
        """Start a new episode, and store the settings of the experiment from ``brief.known``, such as the budgets and the prior."""
        known = known_numbers(brief, *NEEDED)
        self.preset, self.actions, self.closed = preset_from(known), known["actions"], known["randomisation"]["closed_valve"]

    def pair(self, observation: Mapping[str, np.ndarray]) -> str:
        """Return the name of the pair of laws of the episode, which the observation states."""
        return tuple(PAIRS)[int(np.argmax(observation["pair"]))]

    def exposed(self, observation: Mapping[str, np.ndarray]) -> int:
        """Return the number of areas that the agent has exposed; the area exposed at the usual settings before the first action does not count."""
        return round((1 - float(observation["budget"][0])) * self.preset.areas) - 1

    def log_weights(self, observation: Mapping[str, np.ndarray], found: Hypotheses, pair: str) -> np.ndarray:
        """Return the logarithms of the unnormalised posterior weights of all hypotheses, (h,), given the lost sites of all areas exposed so far."""
        count = self.exposed(observation)
        settings = [np.zeros(3, np.float32), *observation["settings"][:count]]
        lost = [int(observation["usual"][0]), *(int(one) for one in observation["lost"][:count])]
        out = found.log_prior
        for given, number in zip(settings, lost, strict=True):
            read = read_probabilities(pair, self.preset.prior, *preset_settings(self.preset, given))
            out = updated(out, read, number, self.preset.sites, closed=self.closed, dark=self.preset.dark)
        return out

    def believed(self, observation: Mapping[str, np.ndarray]) -> float:
        """Return the posterior probability that law 1, the second of the pair, is true."""
        pair = self.pair(observation)
        found = hypotheses(pair, self.preset.prior)
        return posterior(self.log_weights(observation, found, pair), found.law)

    def exhausted(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> bool:
        """Return True if only one action is left, if no area is left, or if the remaining dose or time is too small for the smallest exposure."""
        if cost["moves"] >= self.actions - 1:
            return True
        areas, dose, time = (float(one) for one in observation["budget"])
        least_dose, least_time = 1 / self.preset.reach[1], 1 / self.preset.reach[2]
        return areas < 0.5 / self.preset.areas or dose * self.preset.dose < least_dose or time * self.preset.time < least_time


class ExpectedInformation(Bayes):
    """Policy that runs the experiment with the greatest expected information minus cost, until no experiment is worth its cost.

    The policy then declares the posterior probability of law 1.

    Parameters
    ----------
    price : float
        Cost of the whole budget, in units of the return.
    """

    def __init__(self, price: float = PRICE) -> None:
        self.price = price

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return the action that runs the next experiment, or the action that declares the posterior probability."""
        pair = self.pair(observation)
        found = hypotheses(pair, self.preset.prior)
        logs = self.log_weights(observation, found, pair)
        weights = np.exp(logs - logs.max())
        weights /= weights.sum()
        probability = float(weights[found.law == 1].sum())
        if self.exhausted(observation, cost):
            return declaration(probability)
        outcomes = outcome_probabilities(pair, self.preset)
        dearer, worth = self._dearer(observation["budget"]), WORTH * expected_information(weights, found.law, outcomes)
        gain = np.where(np.isfinite(dearer), worth, -np.inf) - self.price * np.minimum(dearer, 1)
        best = int(np.argmax(gain))
        return experiment(designs()[best]) if gain[best] > 0 else declaration(probability)

    def _dearer(self, budget: np.ndarray) -> np.ndarray:
        """Return the increase of the largest spent fraction of a budget by every design, (designs,); infinite if a budget is too small."""
        preset = self.preset
        exposures = np.array([preset_settings(preset, one) for one in designs()]) / np.array(preset_settings(preset, np.zeros(3)))
        taken = np.stack([np.full(len(exposures), 1 / preset.areas), exposures[:, 1] / preset.dose, exposures[:, 2] / preset.time], axis=1)
        spent = 1 - np.asarray(budget, dtype=float)
        after = (spent + taken).max(axis=1)
        return np.where(after > 1 + 1e-6, np.inf, after - spent.max())


class FixedSeries(Bayes):
    """Policy that runs a fixed series of experiments until a budget is spent, and then declares the posterior probability of law 1."""

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return the action that runs the next experiment of the series, or the action that declares the posterior probability of law 1."""
        if self.exhausted(observation, cost):
            return declaration(self.believed(observation))
        return experiment(SWEEP[self.exposed(observation) % len(SWEEP)])


class BlindSeries(Bayes):
    """Policy that runs the series of :class:`FixedSeries`, ignores the lost sites, and declares the same probability of law 1 in every episode."""

    certainty = 0.75

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return the action that runs the next experiment of the series, or the action that declares the fixed probability."""
        if self.exhausted(observation, cost):
            return declaration(self.certainty)
        return experiment(SWEEP[self.exposed(observation) % len(SWEEP)])


class Undecided:
    """Policy that declares a probability of 1/2 for both laws in its first action."""

    def reset(self, brief: Brief) -> None:
        """Start a new episode."""
        del brief

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return the action that declares a probability of 1/2."""
        del observation, cost
        return declaration(0.5)


class RandomExperiments:
    """Policy of uniform random actions."""

    def reset(self, brief: Brief) -> None:
        """Seed the random generator."""
        self.rng = np.random.Generator(np.random.Philox(brief.seed))
        self.space = brief.action_space

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return a uniform random action."""
        del observation, cost
        return self.rng.uniform(self.space.low, self.space.high).astype(np.float32)


class KnownLaw:
    """Oracle that declares the true law at once."""

    def reset(self, brief: Brief) -> None:
        """Store the truth."""
        assert brief.truth is not None
        self.law = brief.truth()["law"]

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return the action that declares the true law."""
        del observation, cost
        return declaration(self.law)


TEXTS = {
    "expert": ("the experiment with the greatest expected information minus cost, and the exact posterior", ExpectedInformation),
    "fixed": ("a fixed series of experiments, and the exact posterior", FixedSeries),
    "random": ("uniform actions", RandomExperiments),
    "no-op": ("declares a probability of 1/2 at once", Undecided),
    "blind": ("a fixed series of experiments, and a fixed answer", BlindSeries),
    "oracle": ("declares the true law at once", KnownLaw),
}
for _name, (_text, _factory) in TEXTS.items():
    add_baseline(Baseline(task="hypothesis-test", name=_name, text=_text, factory=_factory, oracle=_name == "oracle"))
