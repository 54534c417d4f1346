"""Planner for walks, in which the beam moves a Si atom through graphene to a target site.

The plan gives the value of every site for each number of looks (observations) that remain in the episode. The values follow from the probabilities of
hops and losses.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg import expm

from stemtwin.twin.envs.families.atom_forge import SHORTEST_S
from stemtwin.twin.envs.forge_scenes import FIELD_ANGSTROM, forge_beam
from stemtwin.twin.envs.goal_family import BONUS, PRICE, PROGRESS
from stemtwin.twin.physics.dynamics.processes import compiled

BOND = 1.42
"""Bond length of graphene, A."""
DWELLS = tuple(SHORTEST_S * 2**k for k in range(6))
"""Dwell times of the parked beam among which the planner chooses, s."""
BEYOND = (0.0, 0.2, 0.4)
"""Distances of the beam beyond the wanted neighbour, as seen from Si, among which the planner chooses, A."""
START, HOPPED, ASIDE, FURTHER, REPLACED, STUCK = range(6)
"""Outcomes for Si: no change, a move to the wanted neighbour, to another one or beyond the wanted one, replacement by C, loss of a neighbour."""
NOWHERE = -1


def up(sublattice: int) -> np.ndarray:
    """Return the vectors (x, y) from a site to its three neighbours, A, (3, 2).

    The first neighbour is at +y for a site of sublattice 1, and at -y for a site of sublattice -1.
    """
    half = math.sqrt(3) / 2
    return BOND * sublattice * np.array([(0.0, 1.0), (half, -0.5), (-half, -0.5)])


@functools.lru_cache(maxsize=8)
def outcomes(energy_ev: float) -> np.ndarray:
    """Return the probabilities of six outcomes for Si, from no change to the loss of a neighbour, (positions, times, 6).

    The first two axes are the position and the dwell time of the parked beam. The rates follow from the cross-sections of stemtwin.
    """
    beam = forge_beam("walk", energy_ev)
    rules = compiled(beam.processes, beam.energy_ev)
    sigma = dict(zip(rules.names, rules.cross_sections.tolist(), strict=True))
    hop, replace, eject = (beam.electrons_per_s * sigma[name] for name in ("hop", "replace-dopant", "eject-beside-dopant"))
    silicon, steps = np.zeros(2), up(1)
    wanted, aside = steps[0], steps[1:]
    further = wanted + up(-1)[1:]
    angles = 2 * math.pi * np.arange(12) / 12

    out = np.empty((len(BEYOND), len(DWELLS), 6))
    for p, beyond in enumerate(BEYOND):
        place = wanted * (1 + beyond / BOND)

        def current(at: np.ndarray, place: np.ndarray = place) -> float:
            """Return the current density divided by the current, averaged over azimuth, at the distance between two positions, 1/A^2."""
            r = float(np.hypot(*(at - place)))
            return float(beam.density.at(r * np.column_stack([np.cos(angles), np.sin(angles)])).mean())

        here, there = current(silicon), current(wanted)
        others, behind = [current(one) for one in aside], [current(one) for one in further]
        rates = np.zeros((6, 6))
        rates[START, [HOPPED, ASIDE, REPLACED, STUCK]] = hop * there, hop * sum(others), replace * here, eject * (there + sum(others))
        rates[HOPPED, [START, FURTHER, REPLACED, STUCK]] = hop * here, hop * sum(behind), replace * there, eject * (here + sum(behind))
        rates[ASIDE, [START, REPLACED]] = hop * here, replace * others[0]
        rates[FURTHER, [HOPPED, REPLACED, STUCK]] = hop * there, replace * behind[0], eject * there
        rates -= np.diag(rates.sum(axis=1))
        for t, dwell in enumerate(DWELLS):
            out[p, t] = expm(rates * dwell)[START]
    out.setflags(write=False)
    return out


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SitePatch:
    """Lattice sites of perfect graphene within the field of view.

    Parameters
    ----------
    places : ndarray
        x and y relative to the middle of the field, A, (n, 2); the first site is the target.
    sublattice : ndarray
        Sublattice of each site, 1 or -1, (n,).
    links : ndarray
        Indices of the neighbours of each site in the order of :func:`up`, -1 for a neighbour outside the field, (n, 3).
    """

    places: np.ndarray
    sublattice: np.ndarray
    links: np.ndarray

    def nearest(self, place: np.ndarray, sublattice: int) -> tuple[int, float]:
        """Return the index of the site of a sublattice that is nearest to a position (x, y), and the distance of this site, A."""
        apart = np.hypot(*(self.places - place).T) + np.where(self.sublattice == sublattice, 0.0, np.inf)
        return int(apart.argmin()), float(apart.min())

    def bonds(self, shut: np.ndarray) -> np.ndarray:
        """Return the number of bonds on the shortest path from each site to the target, (n,).

        Paths avoid the sites of the mask ``shut``, bool (n,). The number is 10^6 if there is no path.
        """
        out = np.full(len(self.places), 10**6)
        out[0], front, steps = 0, [0], 0
        while front:
            steps += 1
            around = np.unique(self.links[front])
            front = [int(one) for one in around if one >= 0 and out[one] == 10**6 and not shut[one]]
            out[front] = steps
        return out


def patch(target: tuple[float, float], sublattice: int) -> SitePatch:
    """Return the lattice sites within the field of view, given the position (x, y) of the target (A) and its sublattice, 1 or -1."""
    places, kinds, known, links = [np.array(target)], [sublattice], {(0, 0): 0}, []
    at = 0
    while at < len(places):
        row = []
        for step in up(kinds[at]):
            place = places[at] + step
            key = (round((place[0] - target[0]) / 0.1), round((place[1] - target[1]) / 0.1))
            if max(abs(place[0]), abs(place[1])) >= FIELD_ANGSTROM / 2:
                row.append(NOWHERE)
                continue
            if key not in known:
                known[key] = len(places)
                places.append(place)
                kinds.append(-kinds[at])
            row.append(known[key])
        links.append(row)
        at += 1
    return SitePatch(places=np.array(places), sublattice=np.array(kinds), links=np.array(links))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WalkPlan:
    """Table of best actions, one for each possible site of the Si atom and each number of remaining looks (observations).

    Parameters
    ----------
    choice : ndarray
        One number that encodes the neighbour, the position and the dwell time of the beam, or -1 to declare the end, int (looks + 1, n).
    """

    choice: np.ndarray

    def at(self, site: int, looks: int) -> tuple[int, float, float] | None:
        """Return the best action, or None if it is to declare the end.

        The action is a tuple of three numbers: the index of the neighbour to which Si should hop, the distance of the beam beyond this neighbour as
        seen from Si (A), and the dwell time (s).
        """
        number = int(self.choice[min(max(looks, 0), len(self.choice) - 1), site])
        if number < 0:
            return None
        neighbour, rest = divmod(number, len(BEYOND) * len(DWELLS))
        return neighbour, BEYOND[rest // len(DWELLS)], DWELLS[rest % len(DWELLS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkTerms:
    """Conditions of an episode that an observer knows.

    Parameters
    ----------
    energy_ev : float
        Beam energy, eV.
    looks : int
        Number of looks (observations) in an episode.
    beam_s : float
        Total dwell time of the parked beam in an episode, s; infinite until it is known.
    length : int
        Number of bonds from Si to the target at the start of the episode.
    """

    energy_ev: float
    looks: int
    beam_s: float
    length: int


def plan(terms: WalkTerms, sites: SitePatch, foreign: np.ndarray, empty: np.ndarray) -> WalkPlan:
    """Return the plan with the greatest expected return, by recursion over the number of remaining looks (observations).

    Parameters
    ----------
    terms : WalkTerms
        Beam energy, budgets, and length of the walk.
    sites : SitePatch
        Sites of the field.
    foreign, empty : ndarray
        Masks of sites with foreign atoms and of empty sites, bool (n,) each.
    """
    n, chances = len(sites.places), outcomes(terms.energy_ev).reshape(-1, 6)
    links = sites.links
    beside = np.zeros(n, bool)
    beside[links[empty][links[empty] >= 0]] = True
    shut = foreign | empty | beside
    near = np.maximum(1 - sites.bonds(shut & (np.arange(n) > 0)) / (2 * terms.length), 0)
    kept, ends = PROGRESS * near, PROGRESS * near
    ends[0] += BONUS
    usable = (links >= 0) & ~(foreign | empty)[links]
    dear = PRICE * np.maximum(1 / terms.looks, np.tile(DWELLS, len(BEYOND)) / terms.beam_s)
    outside = np.append(kept, 0.0)  # the last one represents sites outside the field
    values, choice = kept, np.full((terms.looks + 1, n), -1)
    for looks in range(1, terms.looks + 1):
        padded = np.append(values, 0.0)
        hopped = padded[links]
        aside = (hopped.sum(axis=1, keepdims=True) - hopped) / 2
        behind = padded[np.append(links, [[NOWHERE] * 3], axis=0)[links]].sum(axis=2) - values[:, None]
        parts = np.stack(
            [np.broadcast_to(values[:, None], hopped.shape), hopped, aside, behind / 2, 0 * hopped, outside[:n, None] + 0 * hopped], axis=2
        )
        gains = parts @ chances.T - dear
        gains[~usable | shut[:, None] & (np.arange(n) > 0)[:, None]] = -np.inf
        flat = gains.reshape(n, -1)
        best = flat.argmax(axis=1)
        gain = flat[np.arange(n), best]
        choice[looks] = np.where(gain > ends, best, -1)
        values = np.maximum(gain, ends)
    return WalkPlan(choice=choice)
