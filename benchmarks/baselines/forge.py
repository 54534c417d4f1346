"""Baselines of ``atom-forge`` and ``atom-drill``: a planner, a simple rule, a fixed cycle, random actions, an immediate stop, and an oracle.

The planner uses the rates of hops and losses of atoms.
"""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from stemtwin.benchmarks.agents import Baseline, Brief, add_baseline
from stemtwin.benchmarks.baselines import forge_eyes
from stemtwin.benchmarks.baselines.forge_drill import SURE, DrillEye, DrillPlan, drill_rates
from stemtwin.benchmarks.baselines.forge_eyes import FieldEye, Seen
from stemtwin.benchmarks.baselines.forge_planner import BOND, SitePatch, WalkPlan, WalkTerms, patch, plan
from stemtwin.twin.envs.families.atom_forge import REACH_ANGSTROM, READY_S, SHORTEST_S, dwell_component
from stemtwin.twin.envs.forge_scenes import FIELD_ANGSTROM

USUAL_S = 0.2
"""Time for which rules without a plan park the beam in walks, s."""
USUAL_DRILL_S = 0.5
"""Time for which rules park the beam in patterns, s: the best of 0.2, 0.35, 0.5, 0.7 and 1 s over 50 episodes of the split ``train``."""
NEAR_ANGSTROM = 0.7
"""Distance from its target, A, below which a rule treats Si as arrived: half a bond."""
PATIENCE = 2
"""Number of successive looks without the Si atom after which the atom counts as lost; a single look may be dark or misread."""
SOON_S = 0.4
"""Time below which the oracle treats all events as equally soon, s, because a look costs as much as this time."""
LAST = 1.5
"""Number of remaining looks below which the planner declares the end with an incomplete pattern."""
TURNS = 30
"""Number of times that the blind cycle parks the beam before it declares the end."""


def stop() -> np.ndarray:
    """Return the action that declares the end."""
    return np.array([0, 0, 0, 1], np.float32)


def park(place: Any, seconds: float) -> np.ndarray:
    """Return the action that parks the beam at a position (x, y) for a time, s.

    The coordinates are fractions, from -1 to 1, of the largest distance that an action allows. They are relative to the observed Si atom in a walk,
    and to the centre of the field in a pattern of vacancies.
    """
    x, y = (float(np.clip(one, -1, 1)) for one in place)
    return np.array([x, y, dwell_component(seconds), -1], np.float32)


class ForgePolicy:
    """Base class of policies that use the observations; subclasses choose the actions for walks and for patterns of vacancies."""

    def reset(self, brief: Brief) -> None:
        """Start a new episode."""
        del brief
        self.missed, self.eye, self.aimed = 0, None, None

    def act(self, observation: Any, cost: Mapping[str, float]) -> np.ndarray:
        """Return the next action."""
        if forge_eyes.is_pattern(observation):
            if self.eye is None:
                self.eye = DrillEye(observation)
            else:
                self.eye.look(observation, self.aimed)
            chosen = self.drill(self.eye, observation, cost)
            self.aimed = None if chosen is None else chosen[0]
            return stop() if chosen is None else park(2 * chosen[0] / FIELD_ANGSTROM, chosen[1])
        seen = forge_eyes.look(observation)
        if seen is not None:
            self.missed = 0
            return self.walk(seen, observation, cost)
        self.missed += 1
        return park((1, 1), SHORTEST_S) if self.missed < PATIENCE else stop()

    def walk(self, seen: Seen, observation: Any, cost: Mapping[str, float]) -> np.ndarray:
        """Return the next action of a walk, which moves Si to a target."""
        raise NotImplementedError

    def drill(self, eye: DrillEye, observation: Any, cost: Mapping[str, float]) -> tuple[np.ndarray, float] | None:
        """Return the next position (x, y) of the beam in a pattern of vacancies, A, and the dwell time there, s; None declares the end."""
        raise NotImplementedError


class Towards(ForgePolicy):
    """Rule that always parks the beam for the same time, on a site that a simple criterion selects.

    In ``atom-forge``, the site is the neighbour of Si nearest to the target. In ``atom-drill``, it is the first wanted site that still holds S.
    """

    def walk(self, seen: Seen, observation: Any, cost: Mapping[str, float]) -> np.ndarray:
        """Return the action that parks the beam on the neighbour of Si nearest to the target, or that declares the end if Si is at the target."""
        del observation, cost
        way = seen.target - seen.place
        if np.hypot(*way) < NEAR_ANGSTROM:
            return stop()
        best = int(np.hypot(*(seen.steps - way).T).argmin())
        return park(seen.steps[best] / REACH_ANGSTROM["walk"], USUAL_S)

    def drill(self, eye: DrillEye, observation: Any, cost: Mapping[str, float]) -> tuple[np.ndarray, float] | None:
        """Return the position (x, y), A, of the first wanted site that still holds S, and the dwell time of the beam, s; None without such a site."""
        del cost
        bright = forge_eyes.drill_brightness(observation, eye.places) / (eye.first if isinstance(observation, Mapping) else 1)
        held = np.flatnonzero(eye.wanted & (bright > forge_eyes.SINGLE))
        return (eye.places[held[0]], USUAL_DRILL_S) if len(held) else None


class Planner(ForgePolicy):
    """Policy that chooses actions by value iteration over the probabilities of hops and losses on the observed sheet.

    The plan is adapted after each look, which is one observation of the sheet.
    """

    def reset(self, brief: Brief) -> None:
        """Start a new episode."""
        super().reset(brief)
        self.patches: dict[int, SitePatch] = {}
        self.misfit = {1: 0.0, -1: 0.0}
        self.eyes: dict[int, FieldEye] = {}
        self.terms: WalkTerms | None = None
        self.known: tuple[Any, WalkPlan] | None = None
        self.drilling: DrillPlan | None = None
        self.looks, self.look_s, self.beam_s = 0, 0.0, np.inf

    def _budgets(self, observation: Any, cost: Mapping[str, float]) -> None:
        """Infer the budgets of an episode: looks from the fraction that the first look costs, beam time from the cost of the first parked beam."""
        looks, beam = forge_eyes.budget(observation)
        if not self.looks:
            self.looks, self.look_s = round(1 / (1 - looks)), cost["beam_s"]
        elif np.isinf(self.beam_s) and beam < 1:
            self.beam_s = (cost["beam_s"] - cost["looks"] * self.look_s) / (1 - beam)

    def drill(self, eye: DrillEye, observation: Any, cost: Mapping[str, float]) -> tuple[np.ndarray, float] | None:
        """Return the position (x, y) of the beam, A, and the dwell time, s, that have the highest expected value; None declares the end."""
        self._budgets(observation, cost)
        if forge_eyes.budget(observation)[0] * self.looks < LAST:
            return None
        if self.drilling is None or self.drilling.rates.beam_s != self.beam_s:
            energy, size = forge_eyes.energy_ev(observation), int(eye.wanted.sum())
            self.drilling = DrillPlan(eye, drill_rates(energy, self.look_s, self.looks, self.beam_s, size))
        chosen = self.drilling.best(eye.belief > 0.5)
        if chosen is not None:
            return eye.places[chosen[0]], chosen[1]
        doubtful = eye.wanted & (eye.belief < SURE)
        return (np.full(2, FIELD_ANGSTROM / 2), SHORTEST_S) if doubtful.any() else None

    def walk(self, seen: Seen, observation: Any, cost: Mapping[str, float]) -> np.ndarray:
        """Return the action with the greatest expected return, which is to park the beam or to declare the end."""
        self._budgets(observation, cost)
        side, site = self.located(seen)
        chosen = self._plan(side, site, forge_eyes.energy_ev(observation)).at(site, round(seen.looks * self.looks))
        if chosen is None:
            return stop()
        found, (number, beyond, seconds) = self.patches[side], chosen
        step = found.places[found.links[site, number]] - found.places[site]
        best = seen.steps[int(np.hypot(*(seen.steps - step).T).argmin())]
        return park((best + beyond / BOND * step) / REACH_ANGSTROM["walk"], seconds)

    def located(self, seen: Seen) -> tuple[int, int]:
        """Store an observation, and return the likeliest sublattice of the target, and the index of the site of Si.

        The sublattice, 1 or -1, is the one that agrees best with all observations so far. The index counts the sites of the field in the order of
        :func:`forge_planner.patch` for a target on this sublattice.
        """
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
        return side, sites[side]

    def _note(self, side: int, site: int, seen: Seen) -> None:
        """Update the known sites with a look."""
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

    def _plan(self, side: int, site: int, energy_ev: float) -> WalkPlan:
        """Return the plan for the known sites; a new plan is made if the known sites or the budget have changed."""
        foreign, empty = self.eyes[side].kinds()
        empty[site] = foreign[site] = False
        found = self.patches[side]
        if self.terms is None:
            length = max(int(found.bonds(np.zeros(len(found.places), bool))[site]), 1)
            self.terms = WalkTerms(energy_ev=energy_ev, looks=self.looks, beam_s=self.beam_s, length=length)
        self.terms = replace(self.terms, beam_s=self.beam_s)
        key = (side, foreign.tobytes(), empty.tobytes(), self.beam_s)
        if self.known is None or self.known[0] != key:
            self.known = key, plan(self.terms, found, foreign, empty)
        return self.known[1]


class StopAtOnce:
    """Policy that declares the end at once."""

    def reset(self, brief: Brief) -> None:
        """Start a new episode."""
        del brief

    def act(self, observation: Any, cost: Mapping[str, float]) -> np.ndarray:
        """Return the action that declares the end."""
        del observation, cost
        return stop()


class RandomParks:
    """Policy of uniform random actions."""

    def reset(self, brief: Brief) -> None:
        """Seed the random generator."""
        self.rng, self.space = np.random.Generator(np.random.Philox(brief.seed)), brief.action_space

    def act(self, observation: Any, cost: Mapping[str, float]) -> np.ndarray:
        """Return a uniform random action."""
        del observation, cost
        return self.rng.uniform(self.space.low, self.space.high).astype(np.float32)


class BlindCycle:
    """Policy that parks the beam at a fixed cycle of positions, and then declares the end.

    In ``atom-forge``, the positions are one bond from Si, in six directions in turn. In ``atom-drill``, they are distributed over the field.
    """

    def reset(self, brief: Brief) -> None:
        """Start a new episode."""
        del brief
        self.turn = 0

    def act(self, observation: Any, cost: Mapping[str, float]) -> np.ndarray:
        """Return the action that parks the beam at the next position of the cycle, or that declares the end.

        The observation is used only to recognise the kind of the episode: the walk of a Si atom, or a pattern of vacancies.
        """
        del cost
        self.turn += 1
        walking = not forge_eyes.is_pattern(observation)
        if self.turn > TURNS:
            return stop()
        angle = np.pi / 6 + np.pi / 3 * self.turn
        size = BOND / REACH_ANGSTROM["walk"] if walking else (self.turn % 5 + 1) / 6
        return park((size * np.cos(angle), size * np.sin(angle)), USUAL_S)


class Clairvoyant:
    """Oracle that parks the beam where the next event is a wanted hop or loss of an atom, until this event happens.

    If there is no such position, the beam is parked briefly without effect. The oracle does not use events that would happen within 0.03 s, the
    shortest time for which an action parks the beam. After such an event, the beam would stay on and hit the atom that has just moved.
    """

    def reset(self, brief: Brief) -> None:
        """Store the function that returns the truth."""
        assert brief.truth is not None
        self.truth = brief.truth

    def act(self, observation: Any, cost: Mapping[str, float]) -> np.ndarray:
        """Return the action that parks the beam until the wanted event happens, or that declares the end if no wanted event is left."""
        del cost
        truth, pattern = self.truth(), forge_eyes.is_pattern(observation)
        if not truth["left"] or not (pattern or truth["dopant"]):
            return stop()
        events = [number for number in range(sum(name.startswith("event_") for name in truth)) if truth[f"event_{number}"]]
        if not events:
            return stop()
        ready = [one for one in events if SHORTEST_S <= truth[f"seconds_{one}"] <= READY_S]
        if ready:
            best = min(ready, key=lambda one: max(truth[f"seconds_{one}"], SOON_S))
            return park((truth[f"x_{best}"], truth[f"y_{best}"]), 1.005 * truth[f"seconds_{best}"])
        last = max(events, key=lambda one: truth[f"seconds_{one}"])
        harmless = pattern and truth[f"seconds_{last}"] > READY_S
        return park((truth[f"x_{last}"], truth[f"y_{last}"]) if harmless else (1, 1), SHORTEST_S)


TEXTS = {
    "expert": ("a planner that knows the rates: value iteration over neighbours, positions and times, anew after each look", Planner),
    "towards": ("the neighbour nearest to the target, always for the same time", Towards),
    "random": ("uniform actions", RandomParks),
    "no-op": ("declares the end at once", StopAtOnce),
    "blind": ("a fixed cycle of directions, and then the end", BlindCycle),
    "oracle": ("knows which event comes next, and when", Clairvoyant),
}
TASKS = ("atom-forge", "atom-drill")
"""Tasks for which every policy is registered; a policy distinguishes a walk from a pattern by the observation."""
for _task, (_name, (_text, _factory)) in itertools.product(TASKS, TEXTS.items()):
    add_baseline(Baseline(task=_task, name=_name, text=_text, factory=_factory, oracle=_name == "oracle"))
