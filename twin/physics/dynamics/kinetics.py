"""Stochastic kinetics of the specimen under the beam, exact in distribution: rates follow the dose of the actual path.

``advance`` is the main function. From a specimen, an exposure and processes, it computes the specimen after the exposure
and the events during the exposure, without time steps. An atom that has received the dose D has escaped a process of
cross-section sigma with the probability exp(-sigma D), for any path of the beam.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.dynamics import event_loop, kinetics_kernels
from stemtwin.twin.physics.dynamics.displacement_thresholds import ROOM
from stemtwin.twin.physics.dynamics.exposure import Exposure, _lengths
from stemtwin.twin.physics.dynamics.processes import Process, Rules, as_processes, compiled, symbol
from stemtwin.twin.physics.dynamics.site_network import SiteNetwork
from stemtwin.twin.physics.engine.kernels import threads

MOST_EVENTS = 10_000_000
"""Largest number of events in one exposure; more indicate spontaneous processes that undo each other endlessly."""
MOST_BLOCKS = 512
SITES_AT_ONCE = 128  # sites per unit of work of a thread
ALONE = 1_000_000  # sites times points of the path below which a single thread is fastest
ROWS_MEMORY = 2**28  # bytes for the cumulative doses of all clocks


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event that changed the specimen.

    Parameters
    ----------
    time : float
        Time of the event on the specimen's clock, s.
    process : str
        Name of the process that caused the event.
    site, partner : int
        Indices of the site and of the partner's site; -1 means no partner.
    element, partner_element : str
        Elements on both sites before the event.
    position : (float, float, float)
        Position of the site before the event, x, y and z in A.
    dose : float
        Dose of the site up to the event, electrons / A^2.
    """

    time: float
    process: str
    site: int
    partner: int
    element: str
    partner_element: str
    position: tuple[float, float, float]
    dose: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Events:
    """Event log in temporal order, as read-only arrays.

    ``events[i]`` and iteration return :class:`Event`; ``+`` appends a later log.

    Parameters
    ----------
    processes : tuple of str
        Names of the processes.
    times, doses : (e,) float64
        Time (s) and dose of the site up to the event, electrons / A^2.
    causes, sites, partners : (e,) int64
        Indices of the event's process (in ``processes``), of its site, and of its partner's site (-1: no partner).
    numbers, partner_numbers : (e,) int64
        Atomic numbers on both sites before the event.
    positions : (e, 3) float64
        Positions of the sites before the event, A.
    """

    processes: tuple[str, ...]
    times: np.ndarray
    causes: np.ndarray
    sites: np.ndarray
    partners: np.ndarray
    numbers: np.ndarray
    partner_numbers: np.ndarray
    positions: np.ndarray
    doses: np.ndarray

    def __post_init__(self) -> None:
        """Freeze the arrays."""
        for name in ("times", "causes", "sites", "partners", "numbers", "partner_numbers", "positions", "doses"):
            getattr(self, name).setflags(write=False)

    @classmethod
    def none(cls) -> Self:
        """Return an empty log."""
        whole, real = np.zeros(0, dtype=np.int64), np.zeros(0)
        return cls(
            processes=(),
            times=real,
            causes=whole,
            sites=whole,
            partners=whole,
            numbers=whole,
            partner_numbers=whole,
            positions=np.zeros((0, 3)),
            doses=real,
        )

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.times)

    def __getitem__(self, index: int) -> Event:
        """Return one event."""
        x, y, z = (float(value) for value in self.positions[index])
        return Event(
            time=float(self.times[index]),
            process=self.processes[self.causes[index]],
            site=int(self.sites[index]),
            partner=int(self.partners[index]),
            element=symbol(int(self.numbers[index])),
            partner_element=symbol(int(self.partner_numbers[index])) if self.partners[index] >= 0 else "",
            position=(x, y, z),
            dose=float(self.doses[index]),
        )

    def __iter__(self) -> Iterator[Event]:
        """Iterate over the events."""
        return (self[index] for index in range(len(self)))

    def __add__(self, later: "Events") -> "Events":
        """Return both logs as one."""
        names = self.processes + tuple(name for name in later.processes if name not in self.processes)
        moved = np.array([names.index(name) for name in later.processes], dtype=np.int64)
        causes = moved[later.causes] if len(later) else later.causes
        joined = {
            name: np.concatenate([getattr(self, name), getattr(later, name)])
            for name in ("times", "sites", "partners", "numbers", "partner_numbers", "positions", "doses")
        }
        return Events(processes=names, causes=np.concatenate([self.causes, causes]), **joined)

    def count(self, process: str) -> int:
        """Return the number of events that one process caused."""
        return int((self.causes == self.processes.index(process)).sum()) if process in self.processes else 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Advance:
    """Result of an exposure: the specimen afterwards, the events, and the elapsed part of the exposure, s."""

    specimen: SiteNetwork
    events: Events
    elapsed: float

    def __iter__(self) -> Iterator[Any]:
        """Unpack as specimen, events."""
        return iter((self.specimen, self.events))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Channels:
    """Possible events of a specimen in its present state, with the hazard of each event over an exposure.

    Parameters
    ----------
    processes : tuple of str
        Names of the processes.
    causes, sites, partners : (c,) int64
        Indices of the event's process (in ``processes``), of its site, and of its partner's site (-1: no partner).
    hazards : (c,) float64
        Hazard of each event: cross-section times dose, plus spontaneous rate times duration. The probability that no
        event happens is exp(-total), with the sum :attr:`total` of the hazards.
    """

    processes: tuple[str, ...]
    causes: np.ndarray
    sites: np.ndarray
    partners: np.ndarray
    hazards: np.ndarray

    @property
    def total(self) -> float:
        """Sum of all hazards."""
        return float(self.hazards.sum())


def advance(
    specimen: SiteNetwork,
    exposure: Exposure,
    processes: Sequence[Process],
    rng: np.random.Generator,
    *,
    max_events: int | None = None,
    temperature: float = ROOM,
) -> Advance:
    """Return the result of an exposure of a specimen.

    Parameters
    ----------
    specimen : SiteNetwork
        Specimen before the exposure; it is not changed.
    exposure : Exposure
        Path, dwell times, current, energy and density of the beam, in the specimen's coordinates.
    processes : sequence of Process
        Possible processes.
    rng : numpy.random.Generator
        The only source of randomness. The generator's state and the specimen are the complete state of the simulation.
    max_events : int, optional
        Number of events after which the exposure stops, for example 1 to relax the structure after each event. The
        remaining exposure is ``exposure.split(result.elapsed)[1]``.
    temperature : float
        Temperature of the specimen, K, for the thermal motion in cross-sections.

    Returns
    -------
    Advance
        Result, which unpacks as ``specimen, events = advance(...)``; ``elapsed`` is the exposure's duration unless
        ``max_events`` stopped it.

    Raises
    ------
    SettingsError
        An argument is invalid, or there were more than ten million events.
    """
    rules = compiled(as_processes(processes), exposure.energy, temperature)
    if max_events is not None and (isinstance(max_events, bool) or int(max_events) != max_events or max_events < 1):
        message = f"max_events={max_events!r} must be a whole number, 1 or more."
        raise SettingsError(message)
    limit = MOST_EVENTS if max_events is None else min(int(max_events), MOST_EVENTS)
    matter = _matter(specimen)
    blocks = _blocks(exposure, specimen, rules)
    whole = _whole(exposure, specimen, matter[2]) if exposure.repeats == 1 else np.full(len(specimen.numbers), np.nan)
    path = _path(exposure, specimen, blocks)
    log, spots, dose = event_loop.run(path, matter, rules.arrays, exposure.repeats, blocks, rules.second_shell, limit, rng, whole)
    if max_events is None and len(log) >= MOST_EVENTS:
        message = f"One exposure of {exposure.duration:g} s caused {MOST_EVENTS} events, the most allowed. "
        message += "Lower the rates of spontaneous processes that undo each other, or shorten the exposure."
        raise SettingsError(message)
    stopped = max_events is not None and len(log) == limit
    elapsed = float(spots[-1, 0]) if stopped else exposure.duration
    changed = dict(zip(("numbers", "labels", "positions", "links"), matter[:4], strict=True))
    if stopped:
        dose = sum((part.repeats * _whole(part, specimen, matter[2]) for part in exposure.split(elapsed)[0]), np.zeros(len(specimen.numbers)))
    after = specimen.replace(**changed, dose=specimen.dose + dose, time=specimen.time + elapsed)
    return Advance(specimen=after, events=_events(log, spots, rules, specimen), elapsed=elapsed)


def channels(specimen: SiteNetwork, exposure: Exposure, processes: Sequence[Process], *, temperature: float = ROOM) -> Channels:
    """Return the possible events and their hazards over an exposure; the parameters are those of :func:`advance`."""
    rules = compiled(as_processes(processes), exposure.energy, temperature)
    found, where, sigma = kinetics_kernels.list_channels(rules.arrays, _matter(specimen), _lengths(specimen.size))
    causes, sites, slots = found.T
    hazards = sigma * exposure.dose_at(where, specimen.size) + rules.rates[causes] * exposure.duration
    partners = np.where(slots >= 0, specimen.links[sites, slots], -1)
    return Channels(processes=rules.names, causes=causes, sites=sites, partners=partners, hazards=hazards)


def _blocks(exposure: Exposure, specimen: SiteNetwork, rules: Rules) -> int:
    """Return the number of time blocks of cumulative doses: a power of two, at most the leaves of the path's tree."""
    leaves = len(exposure.tree) // 2
    clocks = max(specimen.links.size * (len(rules.fractions) - 1) + len(specimen.numbers), 1)
    most = min(leaves, MOST_BLOCKS, max(ROWS_MEMORY // (8 * clocks), 1))
    return 1 << (most.bit_length() - 1)


def _whole(exposure: Exposure, specimen: SiteNetwork, positions: np.ndarray) -> np.ndarray:
    """Return the dose of one pass at positions (n, 3), computed by all threads."""
    n = len(positions)
    out, density, size = np.empty(n), exposure.density, _lengths(specimen.size)
    (path, tree), xy = exposure.by_place, np.ascontiguousarray(positions[:, :2])

    def work(queue: Iterator[int]) -> None:
        for first in queue:
            out[first : first + SITES_AT_ONCE] = kinetics_kernels.doses(
                xy[first : first + SITES_AT_ONCE], path, tree, density.table, density.law, size
            )

    threads.spread(work, range(0, n, SITES_AT_ONCE), threads=None if n * len(path) > ALONE else 1)
    return out


def _path(exposure: Exposure, specimen: SiteNetwork, blocks: int) -> tuple[np.ndarray, ...]:
    starts = np.concatenate([[0.0], exposure.ends])
    per = kinetics_kernels.LEAF * (len(exposure.tree) // 2) // blocks
    block_time = starts[np.minimum(np.arange(blocks + 1) * per, len(exposure.points))]
    density, stack = exposure.density, np.empty(64, dtype=np.int64)
    return exposure.path, exposure.tree, starts, block_time, density.table, density.law, _lengths(specimen.size), stack


def _matter(specimen: SiteNetwork) -> tuple[np.ndarray, ...]:
    """Return writable copies of the specimen's arrays in the order of the kernels."""
    return tuple(np.array(getattr(specimen, name)) for name in ("numbers", "labels", "positions", "links", "kinds"))


def _events(log: np.ndarray, spots: np.ndarray, rules: Rules, specimen: SiteNetwork) -> Events:
    return Events(
        processes=rules.names,
        times=specimen.time + spots[:, 0],
        causes=log[:, 0].copy(),
        sites=log[:, 1].copy(),
        partners=log[:, 2].copy(),
        numbers=log[:, 3].copy(),
        partner_numbers=log[:, 4].copy(),
        positions=spots[:, 1:4].copy(),
        doses=specimen.dose[log[:, 1]] + spots[:, 4],
    )
