"""Manipulation of a silicon atom in graphene by the parked beam: microscope, loop of images and decisions, outcomes.

The agent receives only images. Two processes compete with the exchange of the silicon atom and a carbon atom: a C adatom
replaces the silicon atom, or the silicon atom loses a neighbour. These two processes occur at random, each with its own
cross-section, so any agent fails in a fraction of its attempts.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stemtwin.leaderboard.demos import pilot

if TYPE_CHECKING:
    import xarray as xr

    from stemtwin.twin.instrument.scan import RasterScan
    from stemtwin.twin.instrument.scope.microscope import Microscope
    from stemtwin.twin.samples.sample import Sample

Place = tuple[float, float]

START_SEED = 4
"""Seed of the sample, which sets the initial position of the silicon atom; with this seed the path stays in the field."""
WAY: tuple[Place, ...] = ((-8.5, 0.0), (-8.5, -7.0))
"""Goals of the path relative to the first position of Si in an image (x, y), A: along the sheet, then across."""
SEMIANGLE_MRAD = 26.0
"""Convergence semi-angle that, with the aberrations of ``nion-60``, minimises the current beside the target atom."""
CURRENT_PA = 100.0
PARK_S, LOOK_S = 4.0, 0.04
"""Longest time for which the beam is parked between two images, and the time between two readings of its signal, s."""
MOST_PARKS = 70
"""Largest number of times that the beam is parked in one attempt."""
DOPANT_VACANCY = 1e-11
"""Cross-section for the loss of a neighbour of Si, A^2 [A]: 0.001 barn, a tenth of the value measured for P.

The value for P is too large for Si: manipulation experiments moved Si much further than this value would allow.
"""
DETECTORS = ("haadf", "maadf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Image of an attempt, with the true sample before the image, the agent's decision, the planned path, and the completed fraction of the path."""

    frame: "xr.Dataset"
    sample: "Sample"
    decision: pilot.Decision
    way: tuple[Place, ...]
    done: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Outcome of one attempt.

    Parameters
    ----------
    seed : int
        Seed of the microscope.
    arrived : bool
        Whether the Si atom reached the end of the planned path, as detected by the agent.
    hops : int
        Number of exchanges of Si with C.
    parks : int
        Number of times that the beam was parked.
    time_s : float
        Time on the microscope's clock, s.
    ended_by : str
        Process that ended a failed attempt, or an empty string.
    """

    seed: int
    arrived: bool
    hops: int
    parks: int
    time_s: float
    ended_by: str


def microscope(seed: int) -> "Microscope":
    """Return the microscope with a Si atom in graphene; the seed determines the noise and all events of beam damage."""
    from stemtwin.twin.instrument.hardware.profiles import PROFILES
    from stemtwin.twin.instrument.scope.microscope import Microscope
    from stemtwin.twin.instrument.scope.specimen_state import Damage
    from stemtwin.twin.physics.dynamics.process_library import graphene
    from stemtwin.twin.samples.library import load_sample

    sample = load_sample("graphene-si", size_angstrom=(20.0, 20.0), seed=START_SEED)
    damage = Damage(processes=graphene(dopant_vacancy=DOPANT_VACANCY))
    scope = Microscope(sample, PROFILES["nion-60"].still(), seed=seed, phonons=1, engine="operator", damage=damage)
    scope.set(current_pa=CURRENT_PA, semiangle_mrad=SEMIANGLE_MRAD)
    return scope


def field() -> "RasterScan":
    """Return the raster scan with which all images are acquired."""
    from stemtwin.twin.instrument.scan import RasterScan

    return RasterScan(shape=(68, 68), field_of_view_angstrom=(17.0, 17.0), origin_angstrom=(1.5, 4.0))


def lead(scope: "Microscope", scan: "RasterScan") -> Iterator[Step]:
    """Move the silicon atom along its path until it arrives, is lost, or no longer moves; yield a step after each image."""
    goals: tuple[Place, ...] | None = None
    way: tuple[Place, ...] = ()
    seen_at: list[Place] = []
    for _ in range(MOST_PARKS + 1):
        sample = scope.truth()["sample"]
        frame = scope.acquire(scan, dwell_time_us=250.0, detectors=DETECTORS)
        if goals is None:
            start = pilot.find_silicon(frame["haadf"])
            if start is None:
                return
            goals = tuple((start[0] + dx, start[1] + dy) for dx, dy in WAY)
            way = (start, *goals)
        decision = pilot.decide(frame, goals)
        goals = decision.goals
        left = 0.0 if decision.silicon is None else _length((decision.silicon, *goals)) / _length(way)
        yield Step(frame=frame, sample=sample, decision=decision, way=way, done=max(1 - left, 0.0))
        if decision.target is None or decision.silicon is None:
            return
        seen_at.append(decision.silicon)
        if pilot.is_stuck(seen_at):
            return
        park(scope, decision.target)


def has_arrived(decision: pilot.Decision) -> bool:
    """Return True if the agent detected the Si atom at the end of the planned path."""
    return decision.silicon is not None and not decision.goals


def park(scope: "Microscope", target: Place) -> None:
    """Park the beam until the HAADF signal shows a Si atom below the beam, but for at most 4 s."""
    from stemtwin.twin.instrument.scan import PathScan

    here, first = PathScan(positions_angstrom=np.array([target])), 0.0
    for _ in range(round(PARK_S / LOOK_S)):
        signal = float(scope.acquire(here, dwell_time_us=LOOK_S * 1e6, detectors=DETECTORS)["haadf"].sum())
        first = first or signal
        if pilot.has_jumped(first, signal):
            return


def attempt(seed: int) -> Attempt:
    """Make one attempt with a seed of the microscope and return the outcome."""
    scope = microscope(seed)
    ends = [step.decision for step in lead(scope, field())]
    arrived, events = bool(ends) and has_arrived(ends[-1]), scope.truth()["events"]
    stops = [event.process for event in events if event.process != "hop"]
    return Attempt(
        seed=seed,
        arrived=arrived,
        hops=events.count("hop"),
        parks=max(len(ends) - 1, 0),
        time_s=scope.time_s,
        ended_by=stops[0] if stops and not arrived else "",
    )


def attempts(count: int, tick: Callable[[Attempt], None] | None = None) -> list[Attempt]:
    """Return the outcomes of attempts with the seeds 0 to ``count`` - 1."""
    out = []
    for seed in range(count):
        out.append(attempt(seed))
        if tick is not None:
            tick(out[-1])
    return out


def _length(stops: Sequence[Place]) -> float:
    return float(np.hypot(*np.diff(np.array(stops), axis=0).T).sum())
