"""Baselines of ``aberration-correction``: Newton steps with a learnt response of the corrector, blind policies, and an oracle."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from stemtwin.benchmarks.agents import Baseline, Brief, add_baseline
from stemtwin.benchmarks.baselines.tuning_filter import ResponseFilter, phase_weights
from stemtwin.twin.envs.goal_family import BONUS, PRICE, PROGRESS
from stemtwin.twin.envs.tuning_presets import IMAGE, MEASUREMENTS, NAMES, REACH
from stemtwin.twin.errors import SettingsError

TASK = "aberration-correction"
CHOICES = {name: (2 * i + 1) / len(MEASUREMENTS) - 1 for i, name in enumerate(MEASUREMENTS)}
"""First component of an action that selects a measurement, by the name of the measurement."""
USUAL_ERRORS = {
    "C1A1": {1: 8.0},
    "Fast": {1: 4.0, 2: 250.0},
    "Standard": {1: 4.0, 2: 300.0, 3: 4e3},
}
"""Standard deviations by order (A) that are expected before the first measurement of a kind: half of the intervals that correctors report."""
USUAL_SECONDS = {"C1A1": 1.3, "Fast": 12.0, "Standard": 25.0}
"""Durations of the measurements, s."""
NEGLIGIBLE_RAD = 0.01
"""Root mean square phase below which no command is given, rad."""
CAUTION, SURE = 1e-4, 0.7
"""Weight of the uncertainty in a correction before a measurement, and number of standard deviations below which an aberration is not corrected."""
SAFE_ANGSTROM = 250.0
"""Largest uncertainty of C10 and C12 that corrections of higher orders may cause, A: a third of what C1A1 can measure."""
ENOUGH_RAD = 0.1
"""Phase error below which the oracle declares the end, rad."""
SEARCH = (0.0, -0.8, 0.8, -1.4, 1.4)
"""Values of C10 at which C1A1 is tried until it succeeds, in units of the largest misalignment."""


def action(change: np.ndarray, step: np.ndarray, measurement: str, *, stop: bool = False) -> np.ndarray:
    """Return the action that changes each knob by ``change``, at most by ``step`` (A), and then takes a measurement or declares the end."""
    return np.concatenate([[CHOICES[measurement], 1.0 if stop else -1.0], np.clip(change / step, -1, 1)]).astype(np.float32)


class KnobPolicy:
    """Base class of policies that take the names and the steps of the knobs from the observation space."""

    def reset(self, brief: Brief) -> None:
        """Read names and steps from the observation space."""
        reach = np.asarray(brief.observation_space["knobs"].high, float)
        self.names, self.step = NAMES[: len(reach)], reach / REACH
        self.seconds = float(brief.observation_space["ages"].high[0])


class NewtonSteps(KnobPolicy):
    """Policy that takes the most valuable measurement, and corrects all known aberrations.

    The response of the corrector is learned during the episode.

    Parameters
    ----------
    least_gain : float
        Threshold of the gain: the end is declared if no further measurement is expected to increase the return by more than this value.
    """

    def __init__(self, least_gain: float = 0.0) -> None:
        self.least_gain = least_gain

    def reset(self, brief: Brief) -> None:
        """Start a new episode."""
        super().reset(brief)
        self.filter = ResponseFilter(self.names, self.step / 1.5)
        self.weights = phase_weights(self.names)
        self.errors = {name: self._usual(name) for name in USUAL_ERRORS}
        self.shares = {name: seconds / self.seconds for name, seconds in USUAL_SECONDS.items()}
        self.refused: set[str] = set()
        self.tries, self.asked, self.left, self.found = list(SEARCH), "", np.ones(3), False

    def _usual(self, name: str) -> np.ndarray:
        return np.array([USUAL_ERRORS[name].get(int(one[1]), np.inf) for one in self.names])

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return the action that corrects all known aberrations and takes the most valuable measurement, or that declares the end."""
        del cost
        self._look(observation)
        if not self.found:
            return self._search()
        last = self._change(1.0)
        now = self._worth(*self.filter.after(last))
        change = self._change(CAUTION)
        state, variances = self.filter.after(change)
        able = [name for name in self.errors if name not in self.refused and self._allowed(name)]
        gains = {name: self._hoped(name, state, variances) - now for name in able}
        self.asked = max(gains, key=lambda name: gains[name], default="")
        if not self.asked or gains[self.asked] <= self.least_gain:
            return action(last, self.step, IMAGE, stop=True)
        return action(change, self.step, self.asked)

    def _look(self, observation: Mapping[str, np.ndarray]) -> None:
        """Update the estimates with the result of the last action."""
        left = np.asarray(observation["budget"], float)
        seconds = float((self.left - left)[1]) * self.seconds
        self.filter.moved(np.asarray(observation["knobs"], float), max(seconds, 0.0))
        if self.asked:
            self.shares[self.asked] = float(self.left.min() - left.min())
            if observation["report"][-1]:
                self.refused.add(self.asked)
            else:
                fresh = np.flatnonzero((np.asarray(observation["ages"]) < 1e-3) & np.isfinite(self.errors[self.asked]))
                errors = np.asarray(observation["errors"], float)[fresh]
                self.errors[self.asked][fresh] = errors
                self.filter.measured(fresh, np.asarray(observation["estimates"], float)[fresh], errors)
                self.refused.clear()
                self.found = True
        self.left = left

    def _change(self, caution: float) -> np.ndarray:
        """Return the correction, without commands that are too small or too uncertain."""
        change = np.clip(self.filter.correction(self.weights, caution), -self.step, self.step)
        state, variances = self.filter.after(np.zeros(len(change)))
        sure = np.where(self.filter.same, state**2, 0.0).sum(axis=1) > SURE**2 * np.where(self.filter.same, variances, 0.0).sum(axis=1)
        phases = np.abs(change) * np.sqrt(np.diag(self.weights))
        worth = np.where(self.filter.same, phases, 0.0).max(axis=1) > NEGLIGIBLE_RAD
        change, higher = np.where(worth & sure, change, 0.0), np.array([one[1] != "1" for one in self.names])
        for _ in range(8):
            if np.sqrt(self.filter.after(change)[1][~higher]).max() < SAFE_ANGSTROM:
                break
            change = np.where(higher, change / 2, change)
        return change

    def _worth(self, state: np.ndarray, variances: np.ndarray) -> float:
        """Return the expected contribution of a state to the return at the end."""
        s = math.sqrt(max(float(state @ self.weights @ state + np.diag(self.weights) @ variances), 0.0))
        return PROGRESS / (1 + s) + BONUS * math.exp(-(s**2))

    def _hoped(self, name: str, state: np.ndarray, variances: np.ndarray) -> float:
        """Return the expected contribution after a measurement and the correction of its result, minus its cost."""
        known = np.isfinite(self.errors[name])
        noise, straying = np.where(known, self.errors[name], 1.0) ** 2, self.filter.straying**2 * USUAL_SECONDS[name]
        left = np.where(known, variances * noise / (variances + noise) + straying / 2, variances + straying)
        return self._worth(np.where(known, 0.0, state), left) - PRICE * self.shares[name]

    def _allowed(self, name: str) -> bool:
        return self.left.min() > 1.1 * self.shares[name] + 0.02

    def _search(self) -> np.ndarray:
        """Return the action that takes C1A1 at the next defocus, or at the same defocus again if the last command failed."""
        at = self.filter.knobs[0] / self.step[0]
        if self.asked and abs(at - self.tries[0]) < 1e-3:
            self.tries.pop(0)
        self.asked = "C1A1"
        if not self.tries or not self._allowed("C1A1"):
            return action(np.zeros(len(self.names)), self.step, IMAGE, stop=True)
        change = np.zeros(len(self.names))
        change[0] = (self.tries[0] - at) * self.step[0]
        return action(change, self.step, "C1A1")


class NoCorrection(KnobPolicy):
    """Policy that takes images until the budget is spent."""

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return an action that changes nothing."""
        del observation, cost
        return action(np.zeros(len(self.names)), self.step, IMAGE)


class RandomTuning:
    """Policy of uniform random actions, some of which declare the end."""

    def reset(self, brief: Brief) -> None:
        """Seed the random generator."""
        self.rng, self.space = np.random.Generator(np.random.Philox(brief.seed)), brief.action_space

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return a uniform random action."""
        del observation, cost
        return self.rng.uniform(self.space.low, self.space.high).astype(np.float32)


class BlindTuning(KnobPolicy):
    """Policy that sweeps the defocus without using observations, returns to the middle, and declares the end."""

    def reset(self, brief: Brief) -> None:
        """Start a new episode, at one end of the defocus range."""
        super().reset(brief)
        self.targets = iter([*np.linspace(-0.8, 0.8, 5) * self.step[0], 0.0])

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return the action that moves to the next defocus of the sweep, or the action that declares the end."""
        del cost
        target, change = next(self.targets, None), np.zeros(len(self.names))
        change[0] = 0.0 if target is None else target - float(observation["knobs"][0])
        return action(change, self.step, IMAGE, stop=target is None)


class TrueSteps(KnobPolicy):
    """Oracle that corrects the true aberrations, learns the response of the corrector, and declares the end when the phase error is small."""

    def reset(self, brief: Brief) -> None:
        """Store the function that returns the truth."""
        super().reset(brief)
        if brief.truth is None:
            message = "This policy needs access to the truth, which the runner gives only to an entry marked as oracle."
            raise SettingsError(message)
        self.truth, self.filter, self.weights = brief.truth, ResponseFilter(self.names, self.step), phase_weights(self.names)

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return the action that corrects all aberrations; it declares the end if the phase error is small or a budget is nearly spent."""
        del cost
        state = self.truth()
        true = np.array([state[f"{name}_angstrom"] for name in self.names])
        self.filter.moved(np.asarray(observation["knobs"], float), 0.0)
        self.filter.measured(np.arange(len(true)), true, np.full(len(true), 0.1))
        change = np.clip(self.filter.correction(self.weights, 0.0), -self.step, self.step)
        worth = np.abs(change) * np.sqrt(np.diag(self.weights)) > NEGLIGIBLE_RAD / 2
        done = math.sqrt(float(true @ self.weights @ true)) < ENOUGH_RAD or float(np.min(observation["budget"])) < 0.1
        return action(np.where(worth, change, 0.0), self.step, IMAGE, stop=done)


_ENTRIES: dict[str, tuple[str, Any]] = {
    "expert": ("C1A1 and tableaus, Newton steps through a response that is learnt on the way", NewtonSteps),
    "no-op": ("does nothing", NoCorrection),
    "random": ("uniform actions", RandomTuning),
    "blind": ("sweeps the defocus without using observations", BlindTuning),
    "oracle": ("corrects the true aberrations", TrueSteps),
}
for _name, (_text, _factory) in _ENTRIES.items():
    add_baseline(Baseline(task=TASK, name=_name, text=_text, factory=_factory, oracle=_name == "oracle"))
