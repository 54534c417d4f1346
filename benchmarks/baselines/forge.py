"""Baselines of ``atom-forge``: a planner that knows the rates, rules, fixed cycles, random actions, and who knows what comes next."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from stemtwin.benchmarks.agents import Baseline, Brief, add_baseline
from stemtwin.benchmarks.baselines import forge_eyes
from stemtwin.benchmarks.baselines.forge_eyes import FieldEye, PatternEye, Seen
from stemtwin.benchmarks.baselines.forge_planner import BOND, SitePatch, WalkPlan, patch, plan
from stemtwin.twin.envs.families.atom_forge import LONGEST_S, REACH_ANGSTROM, SHORTEST_S, dwell_component
from stemtwin.twin.envs.forge_scenes import PRESETS, ForgePreset

USUAL_S = 0.2
"""Time of the parked beam of rules without a plan, s."""
NEAR_ANGSTROM = 0.7
"""Distance at which a rule takes Si to be at its target, A: half a bond."""
PATIENCE = 2
"""Looks in turn without an atom after which it counts as lost; one may be dark, or misread."""
TURNS = 30
"""Parked beams of the blind cycle before it declares the end."""


def stop() -> np.ndarray:
    """Return the action that declares the end."""
    return np.array([0, 0, 0, 1], np.float32)


def park(place: Any, seconds: float) -> np.ndarray:
    """Return the action that parks the beam at a place, in units of the action, for a time, s."""
    x, y = (float(np.clip(one, -1, 1)) for one in place)
    return np.array([x, y, dwell_component(seconds), -1], np.float32)


class ForgePolicy:
    """The common part of policies that look: the preset of the brief, and the rule for patterns of vacancies."""

    def reset(self, brief: Brief) -> None:
        """Begin anew."""
        self.preset: ForgePreset = PRESETS[brief.difficulty or "standard"]
        self.eye, self.missed = PatternEye(), 0

    def act(self, observation: Any, cost: Mapping[str, float]) -> np.ndarray:
        """Return the next action."""
        del cost
        if self.preset.goal == "drill":
            held, doubtful = self.eye.remaining(observation)
            if len(held):
                return park(held[0], LONGEST_S)
            return park(doubtful[0], SHORTEST_S) if len(doubtful) else stop()
        seen = forge_eyes.look(observation)
        if seen is not None:
            self.missed = 0
            return self.walk(seen)
        self.missed += 1
        return park((1, 1), SHORTEST_S) if self.missed < PATIENCE else stop()

    def walk(self, seen: Seen) -> np.ndarray:
        """Return the next action of a walk."""
        raise NotImplementedError


class Towards(ForgePolicy):
    """The beam on the neighbour of Si that is nearest to the target, always for the same time."""

    def walk(self, seen: Seen) -> np.ndarray:
        """Return the beam on the nearest neighbour, or the stop at the target."""
        way = seen.target - seen.place
        if np.hypot(*way) < NEAR_ANGSTROM:
            return stop()
        best = int(np.hypot(*(seen.steps - way).T).argmin())
        return park(seen.steps[best] / REACH_ANGSTROM["walk"], USUAL_S)


class Planner(ForgePolicy):
    """Value iteration over the chances of hops and losses on what was seen of the sheet, planned anew after each look."""

    def reset(self, brief: Brief) -> None:
        """Begin anew."""
        super().reset(brief)
        self.eye = PatternEye(PATIENCE)
        self.patches: dict[int, SitePatch] = {}
        self.misfit = {1: 0.0, -1: 0.0}
        self.eyes: dict[int, FieldEye] = {}
        self.length: int | None = None
        self.known: tuple[Any, WalkPlan] | None = None

    def walk(self, seen: Seen) -> np.ndarray:
        """Return the beam of the greatest expected return."""
        angles = np.arctan2(seen.steps[:, 1], seen.steps[:, 0])
        own = -1 if np.sin(3 * angles).mean() > 0 else 1
        sites = {}
        for side in (1, -1):
            if side not in self.patches:
                self.patches[side] = patch((float(seen.target[0]), float(seen.target[1])), side)
                self.eyes[side] = FieldEye(self.patches[side].places)
            sites[side], apart = self.patches[side].nearest(seen.place, own)
            self.misfit[side] += apart
            self._note(side, sites[side], seen)
        side = min(self.misfit, key=lambda one: self.misfit[one])
        chosen = self._plan(side, sites[side]).at(sites[side], round(seen.looks * self.preset.looks))
        if chosen is None:
            return stop()
        found, (number, beyond, seconds) = self.patches[side], chosen
        goal = found.places[found.links[sites[side], number]]
        step = goal - found.places[sites[side]]
        best = seen.steps[int(np.hypot(*(seen.steps - step).T).argmin())]
        return park((best + beyond / BOND * step) / REACH_ANGSTROM["walk"], seconds)

    def _note(self, side: int, site: int, seen: Seen) -> None:
        """Take a look into what is known of the sites."""
        found, eye = self.patches[side], self.eyes[side]
        if seen.bright is None:
            eye.add_frame(seen)
            return
        bonds = found.bonds(np.zeros(len(found.places), bool))
        for step, bright in zip(seen.steps, seen.bright, strict=True):
            apart = [np.hypot(*(found.places[one] - found.places[site] - step)) if one >= 0 else np.inf for one in found.links[site]]
            other = int(found.links[site][int(np.argmin(apart))])
            if other < 0:
                continue
            eye.add(np.array([other]), bright[:1])
            behind = [int(one) for one in found.links[other] if one != site]
            if min(behind) >= 0:
                behind.sort(key=lambda one: (bonds[one], round(found.places[one, 1], 3), found.places[one, 0]))
                eye.add(np.array(behind), bright[1:])

    def _plan(self, side: int, site: int) -> WalkPlan:
        """Return the plan for what is known, a new one where that has changed."""
        foreign, empty = self.eyes[side].kinds()
        empty[site] = foreign[site] = False
        key = (side, foreign.tobytes(), empty.tobytes())
        found = self.patches[side]
        if self.length is None:
            self.length = max(int(found.bonds(np.zeros(len(found.places), bool))[site]), 1)
        if self.known is None or self.known[0] != key:
            self.known = key, plan(self.preset, found, foreign, empty, self.length)
        return self.known[1]


class StopAtOnce:
    """The stop at once."""

    def reset(self, brief: Brief) -> None:
        """Begin anew."""
        del brief

    def act(self, observation: Any, cost: Mapping[str, float]) -> np.ndarray:
        """Return the stop."""
        del observation, cost
        return stop()


class RandomParks:
    """Uniform actions."""

    def reset(self, brief: Brief) -> None:
        """Seed the draws."""
        self.rng, self.space = np.random.Generator(np.random.Philox(brief.seed)), brief.action_space

    def act(self, observation: Any, cost: Mapping[str, float]) -> np.ndarray:
        """Return a uniform action."""
        del observation, cost
        return self.rng.uniform(self.space.low, self.space.high).astype(np.float32)


class BlindCycle:
    """The beam at a bond from Si in six directions in turn, or over the field in turn, and the stop."""

    def reset(self, brief: Brief) -> None:
        """Begin anew."""
        self.turn, self.goal = 0, PRESETS[brief.difficulty or "standard"].goal

    def act(self, observation: Any, cost: Mapping[str, float]) -> np.ndarray:
        """Return the next place of the cycle."""
        del observation, cost
        self.turn += 1
        if self.turn > TURNS:
            return stop()
        angle = np.pi / 6 + np.pi / 3 * self.turn
        size = BOND / REACH_ANGSTROM["walk"] if self.goal == "walk" else (self.turn % 5 + 1) / 6
        return park((size * np.cos(angle), size * np.sin(angle)), USUAL_S)


class Clairvoyant:
    """The beam on a neighbour of which the truth says that it is the next to hop, for as long as that takes; else far from Si."""

    def reset(self, brief: Brief) -> None:
        """Take the door to the truth."""
        assert brief.truth is not None
        self.truth, self.walking = brief.truth, PRESETS[brief.difficulty or "standard"].goal == "walk"

    def act(self, observation: Any, cost: Mapping[str, float]) -> np.ndarray:
        """Return the beam that brings the wanted event."""
        del observation, cost
        truth = self.truth()
        if not truth["left"] or (self.walking and not truth["dopant"]):
            return stop()
        events = [number for number in range(sum(name.startswith("event_") for name in truth)) if truth[f"event_{number}"]]
        if not events:
            return stop()
        ready = [one for one in events if 0 <= truth[f"seconds_{one}"] <= 0.99 * LONGEST_S]
        best = min(ready, key=lambda one: truth[f"seconds_{one}"]) if ready else events[0]
        if not ready:
            return park((1, 1), SHORTEST_S)
        return park((truth[f"x_{best}"], truth[f"y_{best}"]), max(1.005 * truth[f"seconds_{best}"], SHORTEST_S))


TEXTS = {
    "expert": ("a planner that knows the rates: value iteration over neighbours, places and times, anew after each look", Planner),
    "towards": ("the neighbour nearest to the target, always for the same time", Towards),
    "random": ("uniform actions", RandomParks),
    "no-op": ("the stop, at once", StopAtOnce),
    "blind": ("a cycle of directions, and the stop", BlindCycle),
    "oracle": ("who knows which event comes next, and when", Clairvoyant),
}
for _name, (_text, _factory) in TEXTS.items():
    add_baseline(Baseline(task="atom-forge", name=_name, text=_text, factory=_factory, oracle=_name == "oracle"))
