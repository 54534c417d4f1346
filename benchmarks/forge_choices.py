"""Choices of a trained policy of ``stemtwin/AtomForge-v1``, and the features for its networks: one row for each candidate position of the beam.

A choice is one of three actions: to park the beam on a candidate position for one of a few durations, to observe without such an exposure (a look),
or to stop. The candidates are the three neighbours of the Si atom in a walk, or the 33 sulphur sites in a pattern. In a walk, the beam may also be
parked at one of a few distances beyond the candidate atom, as seen from the Si atom. A policy gives a score to every choice. The functions take NumPy
arrays or PyTorch tensors, so training and the exported file compute the same values.
"""

import functools
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from stemtwin.benchmarks.baselines import forge_drill, forge_planner
from stemtwin.twin.envs import forge_scenes
from stemtwin.twin.envs.families.atom_forge import SHORTEST_S, dwell_component
from stemtwin.twin.envs.forge_scenes import SULPHUR_ANGSTROM
from stemtwin.twin.envs.forge_sight import DRILLED, FAR_ANGSTROM, FAR_BONDS, NEAR_ANGSTROM, NEIGHBOUR, PLACE, SINGLE
from stemtwin.twin.envs.functional_env import read_only

SEEN = 0.34
"""Brightness of the brightest position, in units of the observation, above which Si is visible."""
USUAL_ENERGY, ENERGY_SPREAD = 0.66, 0.05
"""Mean and spread of beam energies, in units of the observation."""
BUDGET_AND_ENERGY = 3
"""Last entries of an observation: remaining looks, remaining beam time, and beam energy."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ForgeChoices:
    """Choices of a policy for one goal.

    Parameters
    ----------
    goal : str
        ``"walk"`` or ``"drill"``.
    candidates : int
        Number of candidate positions of the beam.
    ways : tuple of (float, float)
        Ways to park the beam on a candidate, each as (distance of the beam beyond the candidate, as seen from the Si atom, A; dwell time, s).
    width, common : int
        Number of features of a candidate, and number of features of the observation as a whole.
    """

    goal: str
    candidates: int
    ways: tuple[tuple[float, float], ...]
    width: int
    common: int

    @property
    def count(self) -> int:
        """Number of choices: one for each combination of a candidate and a way to park the beam, one to look, and one to stop."""
        return self.candidates * len(self.ways) + 2


WALK = ForgeChoices(goal="walk", candidates=3, ways=tuple(itertools.product(forge_planner.BEYOND, forge_planner.DWELLS)), width=13, common=9)
DRILL = ForgeChoices(goal="drill", candidates=DRILLED, ways=tuple((0.0, one) for one in forge_drill.DWELLS[4:]), width=14, common=3)
CHOICES = {"walk": WALK, "drill": DRILL}


def features(choices: ForgeChoices, observation: Any, xp: Any) -> tuple[Any, Any]:
    """Return the features of the candidates, (n, candidates, width), and of the observations as a whole, (n, common).

    Parameters
    ----------
    choices : ForgeChoices
        Choices for the goal of the environment.
    observation : array or tensor
        (n, m) observations of the form ``state``.
    xp : module
        numpy or torch.
    """
    return _walk_features(observation, xp) if choices.goal == "walk" else _drill_features(observation, xp)


def _common(observation: Any) -> list[Any]:
    """Return budget and energy of every observation, three columns."""
    looks, beam, energy = (observation[:, k : k + 1] for k in range(-BUDGET_AND_ENERGY + observation.shape[1], observation.shape[1]))
    return [looks, beam, (energy - USUAL_ENERGY) / ENERGY_SPREAD]


def _walk_features(observation: Any, xp: Any) -> tuple[Any, Any]:
    seen = (observation[:, :1] > SEEN) * 1.0
    bonds = observation[:, 5:6]
    arrived = seen * (bonds < 0.5 / FAR_BONDS)
    way = observation[:, 3:5] * FAR_ANGSTROM
    length = xp.sqrt((way * way).sum(1))[:, None]
    rows = []
    for number in range(3):
        at = 6 + NEIGHBOUR * number
        step = observation[:, at : at + 2] * NEAR_ANGSTROM
        rest = way - step
        left = xp.sqrt((rest * rest).sum(1))[:, None]
        bright = observation[:, at + 2 : at + NEIGHBOUR]
        foreign, empty = xp.clip(5 * bright, 0, 2), xp.clip(-2 * bright, 0, 2)
        rank = [seen * float(number == one) for one in range(3)]
        rows.append(xp.concatenate([length - left, left / 5, *rank, foreign, empty, arrived, seen], 1)[:, None])
    return xp.concatenate(rows, 1), xp.concatenate([seen, arrived, 4 * bonds, length / 5, observation[:, 1:3], *_common(observation)], 1)


def _drill_features(observation: Any, xp: Any) -> tuple[Any, Any]:
    rows = observation[:, : DRILLED * PLACE].reshape(-1, DRILLED, PLACE)
    empty = xp.clip((1 - 2 * rows[:, :, 2:3]) / SINGLE, 0, 1)
    wanted = rows[:, :, 3:4]
    own = xp.concatenate([empty, wanted, empty * wanted, empty * (1 - wanted)], 2)
    first, second = (xp.asarray(one, dtype=observation.dtype) for one in shells())
    return xp.concatenate([own, first @ own, second @ own, rows[:, :, :2]], 2), xp.concatenate(_common(observation), 1)


@functools.cache
def shells() -> tuple[np.ndarray, np.ndarray]:
    """Return two float64 matrices (33, 33) of the first and of the second neighbours among the sulphur sites: 1/6 for a neighbour, else 0."""
    places = forge_scenes.lattice("drill").places[forge_scenes.drilled()]
    apart = np.hypot(*(places[:, None] - places).transpose(2, 0, 1)) / SULPHUR_ANGSTROM
    return ((apart > 0.1) & (apart < 1.2)) / 6, ((apart > 1.2) & (apart < 2.2)) / 6


@functools.cache
def table(choices: ForgeChoices) -> np.ndarray:
    """Return one row for each choice, float32 (count, c + 4) for c candidates, from which :func:`action_of` computes the action.

    A row holds the weights of the candidates' positions, a fixed position (x, y) that is added, and the action's components for time and stop.
    """
    rows = []
    for number, (beyond, seconds) in itertools.product(range(choices.candidates), choices.ways):
        factors = np.zeros(choices.candidates)
        factors[number] = 1 + beyond / forge_planner.BOND
        rows.append([*factors, 0, 0, dwell_component(seconds), -1])
    nowhere = np.zeros(choices.candidates)
    away = [*nowhere, 1, 1, dwell_component(SHORTEST_S), -1]
    return read_only(np.array([*rows, away, [*nowhere, 0, 0, 0, 1]], np.float32))


def action_of(choices: ForgeChoices, observation: Any, row: Any, xp: Any) -> Any:
    """Return the actions of the environment, (n, 4), for n observations and one row of :func:`table` for each of them."""
    if choices.goal == "walk":
        places = xp.concatenate([observation[:, 6 + NEIGHBOUR * k : 8 + NEIGHBOUR * k][:, None] for k in range(3)], 1)
    else:
        places = observation[:, : DRILLED * PLACE].reshape(-1, DRILLED, PLACE)[:, :, :2]
    many = choices.candidates
    place = (row[:, :many, None] * places).sum(1) + row[:, many : many + 2]
    return xp.clip(xp.concatenate([place, row[:, many + 2 :]], 1), -1, 1)


def nearest_choice(choices: ForgeChoices, observation: np.ndarray, action: np.ndarray) -> int:
    """Return the index of the choice whose action is nearest to a given action (4,).

    The actions of the choices are computed for a given observation (m,).
    """
    rows = table(choices)
    actions = action_of(choices, np.repeat(observation[None], len(rows), 0), rows, np)
    if action[3] > 0.5:
        return choices.count - 1
    apart = np.abs(actions - action)[:-1]
    return int((10 * apart[:, 0] + 10 * apart[:, 1] + apart[:, 2]).argmin())
