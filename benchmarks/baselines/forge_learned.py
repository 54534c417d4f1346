"""Learned baseline of ``atom-forge`` and ``atom-drill``: two policies that ``make learn`` trains.

The inputs of a policy are the features of the observation form ``state``. If the environment gives frames, the features are computed from the sites
that are detected in the frames.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from stemtwin.benchmarks.agents import Baseline, Brief, add_baseline
from stemtwin.benchmarks.baselines import forge_eyes
from stemtwin.benchmarks.baselines.forge import TASKS, Planner
from stemtwin.benchmarks.baselines.forge_drill import DrillEye
from stemtwin.benchmarks.baselines.forge_eyes import Seen
from stemtwin.benchmarks.baselines.forge_planner import up
from stemtwin.benchmarks.onnx_policy import OnnxPolicy, learned_path
from stemtwin.twin.envs.forge_scenes import FIELD_ANGSTROM, SILICON
from stemtwin.twin.envs.forge_sight import BRIGHTEST, BRIGHTNESS, DRILLED, FAR_ANGSTROM, FAR_BONDS, FULL_EV, NEAR_ANGSTROM, PLACE, WIDTHS

ENVIRONMENT, DARKNESS = "stemtwin/AtomForge-v1", 0.2
"""Id of the environment, and greatest brightness that the policy is told for a frame without Si, in units of the form ``state``."""


class Learned:
    """Trained policies for walks and for patterns, whose input is the observation form ``state``.

    Frames are converted into this form with the methods by which the planner detects atoms.
    """

    def __init__(self) -> None:
        self.policies: dict[bool, OnnxPolicy] = {}

    def reset(self, brief: Brief) -> None:
        """Start a new episode."""
        self.detector, self.eye = Planner(), None
        self.detector.reset(brief)

    def act(self, observation: Any, cost: Mapping[str, float]) -> np.ndarray:
        """Return the next action."""
        pattern = forge_eyes.is_pattern(observation)
        if pattern not in self.policies:
            self.policies[pattern] = OnnxPolicy(learned_path(ENVIRONMENT, "-drill.onnx" if pattern else "-walk.onnx"))
        if isinstance(observation, Mapping):
            seen = self._pattern(observation) if pattern else self._walk(forge_eyes.look(observation))
            looks, beam = forge_eyes.budget(observation)
            observation = np.array([*np.clip(seen, -1, 1), looks, beam, forge_eyes.energy_ev(observation) / FULL_EV], np.float32)
        return self.policies[pattern].act(observation, cost)

    def _walk(self, seen: Seen | None) -> np.ndarray:
        """Return the features of the form ``state``, (21,), of a frame and the sites known from earlier frames; zeros without Si."""
        out = np.zeros(WIDTHS["walk"])
        out[0] = DARKNESS
        if seen is None:
            return out
        side, site = self.detector.located(seen)
        found = self.detector.patches[side]
        bonds, bright = found.bonds(np.zeros(len(found.places), bool)), np.append(self.detector.eyes[side].means(), 1.0)

        def ordered(sites: list[int]) -> list[int]:
            """Return sites in the order of the form ``state``; those outside the field come last."""
            return sorted(sites, key=lambda one: (bonds[one], round(found.places[one, 1], 3), found.places[one, 0]) if one >= 0 else (10**9,))

        parts = [
            BRIGHTNESS[SILICON] / BRIGHTEST,
            *(2 * seen.place / FIELD_ANGSTROM),
            *((seen.target - seen.place) / FAR_ANGSTROM),
            bonds[site] / FAR_BONDS,
        ]
        links = [int(one) for one in found.links[site]]
        for other in ordered(links):
            step = up(int(found.sublattice[site]))[links.index(other)]
            behind = ordered([int(one) for one in found.links[other] if one != site]) if other >= 0 else [-1, -1]
            parts += [*(step / NEAR_ANGSTROM), bright[other] - 1, *(bright[behind] - 1)]
        return np.array(parts)

    def _pattern(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the features of the form ``state``, (132,), of a frame.

        The sites are sorted by y, then by x. Their brightness is relative to the first frame.
        """
        self.eye = DrillEye(observation) if self.eye is None else self.eye
        bright = forge_eyes.drill_brightness(observation, self.eye.places) / self.eye.first
        order = np.lexsort((self.eye.places[:, 0], self.eye.places[:, 1].round(3)))[:DRILLED]
        rows = np.zeros((DRILLED, PLACE))
        rows[: len(order)] = np.column_stack([2 * self.eye.places / FIELD_ANGSTROM, np.clip(bright / 2, 0, 1), self.eye.wanted])[order]
        return rows.ravel()


for _task in TASKS:
    add_baseline(Baseline(task=_task, name="learner", text="a trained policy: imitation of the planner, then PPO (make learn)", factory=Learned))
