"""Planner for patterns of vacancies in MoS2: belief about every S site, possible events, and the best next site for the beam.

An S atom that is hit leaves the sheet or, beside a vacancy, jumps into the vacancy. A stray vacancy is a vacancy outside the pattern, caused by a
frame or by the tails of the beam. Jumps can move it, site by site, to a wanted site that still holds S, so one fewer atom is lost. The planner
assigns stray vacancies to such sites, and parks the beam where the next event has the highest expected value.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from stemtwin.benchmarks.baselines import forge_eyes
from stemtwin.twin.envs.families.atom_forge import LOSS, SHORTEST_S
from stemtwin.twin.envs.forge_kinetics import ForgeBeam
from stemtwin.twin.envs.forge_scenes import FIELD_ANGSTROM, SULPHUR_ANGSTROM, forge_beam
from stemtwin.twin.envs.goal_family import BONUS, PRICE, PROGRESS
from stemtwin.twin.physics.dynamics.processes import compiled

DWELLS = tuple(SHORTEST_S * 2 ** (k / 2) for k in range(11))
"""Dwell times of the parked beam among which the planner chooses, s."""
TAILS_ANGSTROM = 7.0
"""Distance from the beam beyond which no event is expected, A."""
EMPTIED, JUMPED = 0.3, 0.003
"""Assumed probabilities that a site changes between two looks, for sites beside the parked beam and for all other sites."""
SURE = 0.95
"""Probability above which a wanted site counts as empty, so the end may be declared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillRates:
    """Rates of the events of S atoms under the beam, and costs of steps.

    Parameters
    ----------
    beam : ForgeBeam
        The beam.
    eject, jump : float
        Cross-sections times electrons per second, for a loss and for a jump into one adjacent vacancy, A^2/s.
    look_s : float
        Duration of a frame, s.
    looks, beam_s : float
        Number of frames, and total dwell time of the parked beam (s) in one episode.
    size : int
        Number of sites of the pattern.
    """

    beam: ForgeBeam
    eject: float
    jump: float
    look_s: float
    looks: float
    beam_s: float
    size: int

    @property
    def loss(self) -> float:
        """Cost of the unwanted loss of an atom, in units of the return."""
        return BONUS * LOSS + PROGRESS / (2 * self.size)

    def step(self, held: int, empty: int) -> float:
        """Return the cost of the frame that ends a step.

        In a step, the beam is parked and then a frame is taken. The cost is the price of this frame plus the expected cost of the unwanted losses and
        jumps that the frame causes. ``held`` is the number of sites that hold S, and ``empty`` is the number of vacancies.
        """
        events = self.look_s / FIELD_ANGSTROM**2 * (held * self.eject + 6 * empty * self.jump)
        return PRICE / self.looks + events * self.loss


def drill_rates(energy_ev: float, look_s: float, looks: float, beam_s: float, size: int) -> DrillRates:
    """Return the rates of losses and jumps of S atoms for a beam energy (eV) from the cross-sections of stemtwin; see :class:`DrillRates`."""
    beam = forge_beam("drill", energy_ev)
    rules = compiled(beam.processes, beam.energy_ev)
    sigma = dict(zip(rules.names, rules.cross_sections.tolist(), strict=True))
    eject, jump = (beam.electrons_per_s * sigma[name] for name in ("eject-chalcogen", "migrate"))
    return DrillRates(beam=beam, eject=eject, jump=jump, look_s=look_s, looks=looks, beam_s=beam_s, size=size)


class DrillEye:
    """Probability that each site of S in the field is empty, from noisy observations and from the positions of the beam.

    Parameters
    ----------
    observation : array or mapping
        First observation of an episode, in which every site holds S.
    """

    def __init__(self, observation: Any) -> None:
        self.places, self.wanted = forge_eyes.drill_places(observation)
        apart = np.hypot(*(self.places[:, None] - self.places).T)
        self.near = (apart > 0) & (apart < SULPHUR_ANGSTROM + 0.2)
        self.first, self.belief = forge_eyes.drill_brightness(observation, self.places), np.full(len(self.places), 0.001)

    def look(self, observation: Any, aimed: np.ndarray | None) -> None:
        """Update the probabilities with an observation; ``aimed`` is the position (x, y), A, at which the beam was parked before it."""
        reading = forge_eyes.drill_brightness(observation, self.places)
        change = np.full(len(self.places), JUMPED)
        if aimed is not None:
            change[np.hypot(*(self.places - aimed).T) < SULPHUR_ANGSTROM + 0.2] = EMPTIED
        prior = self.belief * (1 - change) + (1 - self.belief) * change
        if reading.mean() < forge_eyes.SINGLE / 2:
            self.belief = prior
            return
        ratio = reading / self.first if isinstance(observation, Mapping) else reading
        usual = ratio[self.belief < 0.5]
        noise = float(np.clip(1.48 * np.median(np.abs(usual - np.median(usual))), 0.03, 0.2)) if len(usual) else 0.1
        whole = float(np.median(usual)) if len(usual) else 1.0
        odds = (np.square(ratio - whole) - np.square(ratio - whole * (2 * forge_eyes.SINGLE - 1))) / (2 * noise**2)
        self.belief = 1 / (1 + (1 - prior) / prior * np.exp(-np.clip(odds, -30, 30)))


class DrillPlan:
    """Value of the current pattern, and the best next site and dwell time of the beam.

    Parameters
    ----------
    eye : DrillEye
        Belief about the sites of S, and the mask of the wanted sites.
    rates : DrillRates
        Rates and costs.
    """

    def __init__(self, eye: DrillEye, rates: DrillRates) -> None:
        self.eye, self.rates = eye, rates
        apart = np.hypot(*(eye.places[:, None] - eye.places).T)
        self.steps = np.rint(_hexagonal(eye.places)).astype(int)
        angles = 2 * np.pi * np.arange(12) / 12
        radii = np.unique(apart.round(2))
        ring = np.column_stack([np.cos(angles), np.sin(angles)])
        mean = np.array([rates.beam.density.at(max(r, 1e-3) * ring).mean() for r in radii])
        self.flux = np.where(apart < TAILS_ANGSTROM, np.interp(apart, radii, mean), 0.0)
        self.made: dict[bytes, float] = {}
        hit = float(self.flux[0, 0])
        step = rates.step(len(eye.places), rates.size // 2)
        times = np.array(DWELLS)
        dear = np.maximum(step, PRICE * times / rates.beam_s)
        self.ejecting = float((dear / -np.expm1(-rates.eject * hit * times)).min())
        both = rates.eject + rates.jump
        self.walking = float((dear / -np.expm1(-both * hit * times)).min()) * both / rates.jump + rates.eject / rates.jump * rates.loss

    def value(self, empty: np.ndarray) -> float:
        """Return the value of a pattern, which is the negative cost of the remaining work; ``empty`` is the mask of vacancies.

        Stray vacancies are assigned, at the least cost, to wanted sites that hold S. The remaining wanted sites are emptied one by one. The next one
        is always the site with the fewest vacancies beside it, because an S atom beside a vacancy can jump into it instead of leaving the sheet.
        """
        key = empty.tobytes()
        if key not in self.made:
            wanted, astray = np.flatnonzero(self.eye.wanted & ~empty), np.flatnonzero(empty & ~self.eye.wanted)
            cost = np.zeros((len(wanted) + len(astray), len(wanted) + len(astray)))
            cost[: len(wanted), : len(astray)] = self.walking * self.steps[np.ix_(wanted, astray)]
            cost[: len(wanted), len(astray) :] = self.ejecting
            cost[len(wanted) :, : len(astray)] = self.rates.loss
            rows, columns = linear_sum_assignment(cost)
            total, done = float(cost[rows, columns].sum()), empty.copy()
            alone = [int(wanted[row]) for row, column in zip(rows, columns, strict=True) if row < len(wanted) and column >= len(astray)]
            while alone:
                beside = [int((self.eye.near[one] & done).sum()) for one in alone]
                number = int(np.argmin(beside))
                total += self.ejecting * beside[number] * self.rates.jump / self.rates.eject
                done[alone.pop(number)] = True
            self.made[key] = -total
        return self.made[key]

    def events(self, empty: np.ndarray, at: int) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the rates (1/s) of all possible next events with the beam on the site ``at``, and the mask of vacancies after each event."""
        hazards, after = [], []
        for site in np.flatnonzero(~empty & (self.flux[at] > 0)):
            gone = empty.copy()
            gone[site] = True
            hazards.append(self.rates.eject * self.flux[at, site])
            after.append(gone)
            for other in np.flatnonzero(self.eye.near[site] & empty):
                moved = gone.copy()
                moved[other] = False
                hazards.append(self.rates.jump * self.flux[at, site])
                after.append(moved)
        return np.array(hazards), after

    def best(self, empty: np.ndarray) -> tuple[int, float] | None:
        """Return the site and the dwell time (s) of the beam that have the highest expected value; None if no wanted site still holds S."""
        rates, now = self.rates, self.value(empty)
        targets = np.flatnonzero(~empty & (self.eye.wanted | self.eye.near[empty].any(axis=0)))
        if not (self.eye.wanted & ~empty).any():
            return None
        times, found = np.array(DWELLS), []
        dear = rates.step(int((~empty).sum()), int(empty.sum())) + PRICE * np.maximum(times / rates.beam_s - 1 / rates.looks, 0)
        for at in targets:
            hazards, after = self.events(empty, int(at))
            total = float(hazards.sum())
            gain = np.zeros(len(times))
            for hazard, made in zip(hazards, after, strict=True):
                if hazard < 1e-4 * total:
                    continue
                further = float(self.events(made, int(at))[0].sum()) if hazard > 0.02 * total else total
                once = hazard / total * -np.expm1(-total * times)
                alone = (
                    hazard * times * np.exp(-total * times)
                    if abs(total - further) < 1e-9
                    else (hazard * (np.exp(-further * times) - np.exp(-total * times)) / (total - further))
                )
                gain += once * (self.value(made) - now) - (once - alone) * rates.loss / 2
            rate = (gain - dear) / -np.expm1(-total * times)
            k = int(rate.argmax())
            found.append((float(rate[k]), int(at), float(times[k])))
        _, at, seconds = max(found)
        return at, seconds


def _hexagonal(places: np.ndarray) -> np.ndarray:
    """Return the number of steps between all pairs of sites of a hexagonal lattice with a row along x."""
    x, y = (places[:, None] - places).transpose(2, 0, 1) / SULPHUR_ANGSTROM
    row = np.abs(y) / (np.sqrt(3) / 2)
    return row + np.maximum(np.abs(x) - row / 2, 0)
