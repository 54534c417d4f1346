"""Kinetics of a specimen under a parked or scanned beam, without images, for the form ``state`` of ``stemtwin/AtomForge-v1``.

Rates under a parked beam are constant, so waiting times are exponential and events are drawn by their rates. This is the
same law as in ``twin/physics/dynamics/kinetics.py``, which handles arbitrary beam paths. Atoms stay on the sites of the
lattice.
"""

import functools
from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

import numpy as np

from stemtwin.twin.envs.functional_env import read_only
from stemtwin.twin.physics.dynamics import kinetics_kernels
from stemtwin.twin.physics.dynamics.current_density import Density
from stemtwin.twin.physics.dynamics.isotopes import number_of
from stemtwin.twin.physics.dynamics.processes import Process, compiled
from stemtwin.twin.physics.dynamics.site_network import SiteNetwork
from stemtwin.twin.physics.electrons import ELECTRONS_PER_PICOAMPERE_SECOND

NEGLIGIBLE = 1e-6
"""Cross-section below which an event is neglected, as a fraction of the largest cross-section."""
ABOUT = np.array([(0.0, 0.0)] + [(r * np.cos(a), r * np.sin(a)) for r in (0.4, 0.8, 1.2) for a in np.arange(6) * np.pi / 3])
"""Beam positions relative to an atom at which its next event is evaluated, A, (19, 2)."""
GONE = -1
"""Entry in a list of sites with which an atom may exchange positions; it stands for the loss of the atom instead."""
UNKNOWN = -1.0
"""Value in place of the time of an event (s) if the time is unknown beforehand or if another event comes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgeBeam:
    """A beam and the processes that it can cause.

    Parameters
    ----------
    processes : tuple of Process
        Processes that the beam can cause, without bond rotations.
    energy_ev : float
        Beam energy, eV.
    current_pa : float
        Current, pA.
    density : Density
        Current density of the probe.
    """

    processes: tuple[Process, ...]
    energy_ev: float
    current_pa: float
    density: Density

    @property
    def electrons_per_s(self) -> float:
        """Beam current in electrons per second, 1/s."""
        return self.current_pa * ELECTRONS_PER_PICOAMPERE_SECOND


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ForgedSites:
    """Sites with all events that are possible in their present state.

    Parameters
    ----------
    network : SiteNetwork
        The sites.
    causes, sites, partners : ndarray
        Indices of the process, the site and the partner site (-1: none) of each of the c events, int (c,).
    where : ndarray
        Point (x, y) at which the current density is evaluated for each event, A, float64 (c, 2).
    sigma, rates : ndarray
        Cross-section (A^2) and rate without beam (1/s) of each event, float64 (c,).
    """

    network: SiteNetwork
    causes: np.ndarray
    sites: np.ndarray
    partners: np.ndarray
    where: np.ndarray
    sigma: np.ndarray
    rates: np.ndarray

    @classmethod
    def of(cls, network: SiteNetwork, beam: ForgeBeam) -> Self:
        """Return the sites of a network with all events that are possible under a beam."""
        rules = compiled(beam.processes, beam.energy_ev)
        matter = tuple(np.array(getattr(network, name)) for name in ("numbers", "labels", "positions", "links", "kinds"))
        found, where, sigma = kinetics_kernels.list_channels(rules.arrays, matter, _lengths(network))
        causes, sites, slots = found.T
        rates = rules.rates[causes]
        kept = (sigma > NEGLIGIBLE * rules.cross_sections.max()) | (rates > 0)
        partners = np.where(slots >= 0, network.links[sites, slots], -1)
        return cls(
            network=network,
            causes=read_only(causes[kept]),
            sites=read_only(sites[kept]),
            partners=read_only(partners[kept]),
            where=read_only(where[kept]),
            sigma=read_only(sigma[kept]),
            rates=read_only(rates[kept]),
        )

    def hazards(self, beam: ForgeBeam, at: tuple[float, float]) -> np.ndarray:
        """Return the rate of every event, 1/s, while the beam is parked at (x, y), A; float64 (c,)."""
        path = np.array([[at[0], at[1], beam.electrons_per_s]])
        nodes = np.array([[0.0, 0.0, 0.0, 0.0], [path[0, 2], path[0, 0], path[0, 1], 0.0]])
        flux = kinetics_kernels.doses(self.where.copy(), path, nodes, beam.density.table, beam.density.law, _lengths(self.network))
        return self.sigma * flux + self.rates

    def after(self, beam: ForgeBeam, event: int) -> "ForgedSites":
        """Return the sites after the event with the given index."""
        process, site, partner = beam.processes[self.causes[event]], self.sites[event], self.partners[event]
        numbers = self.network.numbers.copy()
        if process.action == "exchange":
            numbers[site], numbers[partner] = numbers[partner], numbers[site]
        else:
            numbers[site] = 0 if process.action == "eject" else number_of(process.product or "")
        return ForgedSites.of(self.network.replace(numbers=numbers), beam)


def parked(
    found: ForgedSites, beam: ForgeBeam, at: tuple[float, float], seconds: float, draws: tuple[float, float], rng: np.random.Generator
) -> tuple[ForgedSites, tuple[int, ...]]:
    """Return the sites after a time under the parked beam, and the indices of the processes that happened, in order.

    Parameters
    ----------
    found : ForgedSites
        The sites before the exposure.
    beam : ForgeBeam
        The beam.
    at : tuple of float
        Position (x, y) of the beam, A.
    seconds : float
        Duration, s.
    draws : tuple of float
        Random numbers for the first event: a standard exponential number for its time, and a uniform number for its kind.
    rng : numpy.random.Generator
        Random generator of the following events.
    """
    left, causes = seconds, []
    while True:
        event, waited = next_event(found.hazards(beam, at), draws)
        if event is None or waited > left:
            return found, tuple(causes)
        left -= waited
        causes.append(int(found.causes[event]))
        found = found.after(beam, event)
        draws = float(rng.standard_exponential()), float(rng.random())


def next_event(hazards: np.ndarray, draws: tuple[float, float]) -> tuple[int | None, float]:
    """Return the index of the first event at constant rates, and the time until this event, s.

    ``draws`` is described in :func:`parked`. The index is None if no event is possible.
    """
    if not len(hazards):
        return None, np.inf
    summed = np.cumsum(hazards)
    total = float(summed[-1])
    if total <= 0:
        return None, np.inf
    return min(int(np.searchsorted(summed, draws[1] * total, side="right")), len(summed) - 1), draws[0] / total


def first_wait(
    found: ForgedSites,
    beam: ForgeBeam,
    places: np.ndarray,
    draws: tuple[float, float],
    wanted: tuple[int, Collection[int]],
    between: tuple[float, float],
) -> tuple[int, float]:
    """Return the index of a beam position, and the time until the next event at this position, s.

    The position is the first whose next event is wanted and happens within the limits of time ``between``. If there is none,
    it is the position with the longest time, among those whose next event is wanted. If no next event is wanted, the index is 0
    and the time is -1.

    Parameters
    ----------
    found, beam, draws
        See :func:`parked`.
    places : ndarray
        Positions (x, y) of the beam, A, (k, 2).
    wanted : tuple
        Site of the atom that is hit, and the sites with which this atom may exchange positions. An entry -1 among these
        sites means that the ejection of the atom is wanted.
    between : tuple of float
        Shortest and longest time until the event, s.
    """
    waits = []
    for x, y in places.tolist():
        event, waited = next_event(found.hazards(beam, (x, y)), draws)
        waits.append(waited if event is not None and _brings(found, beam, event, wanted) else UNKNOWN)
        if between[0] <= waits[-1] <= between[1]:
            return len(waits) - 1, waits[-1]
    latest = int(np.argmax(waits))
    return latest, waits[latest]


def _brings(found: ForgedSites, beam: ForgeBeam, event: int, wanted: tuple[int, Collection[int]]) -> bool:
    """Return True if an event is wanted; see :func:`first_wait`."""
    action, (site, partners) = beam.processes[found.causes[event]].action, wanted
    partner = int(found.partners[event]) if action == "exchange" else GONE if action == "eject" else None
    return found.sites[event] == site and partner in partners


def looked(
    found: ForgedSites, beam: ForgeBeam, field: tuple[float, float, float, float], seconds: float, rng: np.random.Generator
) -> tuple[ForgedSites, tuple[int, ...]]:
    """Return the sites after a frame, and the indices of the processes that happened during the frame, in order.

    The frame takes ``seconds`` seconds, and the dose of the frame is uniform inside the field (left, top, right, bottom), A.
    """
    left, top, right, bottom = field
    flux, time, causes = beam.electrons_per_s / ((right - left) * (bottom - top)), seconds, []
    while True:
        x, y = found.where.T
        inside = (x > left) & (x < right) & (y > top) & (y < bottom)
        event, waited = next_event(flux * found.sigma * inside + found.rates, (float(rng.standard_exponential()), float(rng.random())))
        if event is None or waited > time:
            return found, tuple(causes)
        time -= waited
        causes.append(int(found.causes[event]))
        found = found.after(beam, event)


@functools.lru_cache(maxsize=16)
def _size(size: tuple[float, float] | None) -> np.ndarray:
    return np.zeros(2) if size is None else np.array([size[1], size[0]], dtype=float)


def _lengths(network: SiteNetwork) -> np.ndarray:
    """Return the lengths of the cell along x and y, A."""
    return _size(network.size)
