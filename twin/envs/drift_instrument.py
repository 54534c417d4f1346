"""Instrument and presets of ``stemtwin/DriftTracking-v1``, and the hidden events of its specimen."""

import functools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stemtwin.twin.envs import drift_scenes
from stemtwin.twin.envs import session as sessions
from stemtwin.twin.envs.arguments import Conditions, Randomisation
from stemtwin.twin.envs.drift_clusters import Cluster
from stemtwin.twin.envs.drift_scenes import DriftScene
from stemtwin.twin.envs.functional_env import read_only
from stemtwin.twin.envs.session import Session
from stemtwin.twin.instrument.hardware.drift import Instabilities
from stemtwin.twin.instrument.hardware.profiles import PROFILES, Profile
from stemtwin.twin.instrument.hardware.scan_distortion import ScanImperfections
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.scope.setup import Setup
from stemtwin.twin.instrument.settings import Beam

SHAPE = (128, 128)
FIELD, WIDE_FIELD = 16.0, 40.0
"""Side of the field of a narrow frame, which is scored, and of a wide frame, which serves for the search, A."""
PERIOD_S, FAST_S = 2.0, 0.5
"""Time between the previous frame and a usual frame, and between the previous frame and a fast frame, s."""
WATCH_S = 120.0
"""Usual duration of the watch, the time in which an episode tracks the specimen, s."""
SEMIANGLE_MRAD, CURRENT_PA = 22.0, 30.0
MOST_DOSE = 4.0
"""Largest ratio of a frame's electrons per point to the usual number; the smallest ratio is its inverse."""
SPARE_FRAMES = 6
"""Number of frames beyond the usual number of an episode, which allow for fast frames."""
INSTRUMENT = "nion-60"
LEAST_WATCH_S = 24.0
"""Shortest watch, s: twelve frames, three of them before the first event."""
JUMP_REST_S = 6.0
"""Earliest time of a jump, s."""
EVENT_SHARES = (0.25, 0.75)
"""Earliest and latest time of the event, as fractions of the watch; the event is never before 6 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftPreset:
    """Settings of one difficulty of drift tracking.

    Parameters
    ----------
    randomisation : Randomisation
        Ranges from which episodes are drawn; their ``drift`` multiplies the speed and the random walk below.
    speed_angstrom_per_s, walk_angstrom : float
        Usual drift speed of the specimen (A/s) and standard deviation of its random walk along each axis after 1 s, A.
    jumps : int
        Number of jumps of the specimen during the two minutes of an episode.
    jump_angstrom : tuple of float
        Smallest and largest distance of a jump, A.
    tilts_mrad : tuple of float
        Tilts of the tilt series, mrad. All tilts last equally long; their order in an episode is this one or the reverse.
    height_angstrom : tuple of float
        Smallest and largest distance of the specimen from the tilt axis, A; a tilt therefore shifts the specimen.
    faults : bool
        Whether the detector's read-out chain and the scan distortion are simulated. Otherwise, the detector counts electrons and the scan
        is perfect.
    event : bool
        Whether the single atom beside the cluster hops.
    """

    randomisation: Randomisation
    speed_angstrom_per_s: float
    walk_angstrom: float
    jumps: int = 0
    jump_angstrom: tuple[float, float] = (0.0, 0.0)
    tilts_mrad: tuple[float, ...] = (0.0,)
    height_angstrom: tuple[float, float] = (0.0, 0.0)
    faults: bool = True
    event: bool = False

    @property
    def tilted(self) -> bool:
        """True if the preset has a tilt series."""
        return len(self.tilts_mrad) > 1


ANYWHERE = (-math.pi, math.pi)
BOTH = tuple(drift_scenes.BOXES)
PRESETS = {
    "easy": DriftPreset(
        randomisation=Randomisation(samples=("graphene",), rotation_rad=ANYWHERE, electrons_per_point=(600.0, 1000.0), drift=(0.7, 1.3)),
        speed_angstrom_per_s=0.25,
        walk_angstrom=0.15,
        faults=False,
    ),
    "standard": DriftPreset(
        randomisation=Randomisation(
            samples=BOTH, rotation_rad=ANYWHERE, electrons_per_point=(200.0, 400.0), drift=(0.7, 1.3), knob_gain=(0.95, 1.05)
        ),
        speed_angstrom_per_s=0.5,
        walk_angstrom=0.3,
        jumps=3,
        jump_angstrom=(4.0, 9.0),
    ),
    "hard": DriftPreset(
        randomisation=Randomisation(
            samples=BOTH, rotation_rad=ANYWHERE, electrons_per_point=(80.0, 160.0), drift=(0.7, 1.3), knob_gain=(0.85, 1.15), failing=0.05
        ),
        speed_angstrom_per_s=0.7,
        walk_angstrom=0.5,
        jumps=4,
        jump_angstrom=(6.0, 14.0),
        tilts_mrad=(-60.0, 0.0, 60.0),
        height_angstrom=(50.0, 150.0),
    ),
    "event": DriftPreset(
        randomisation=Randomisation(samples=BOTH, rotation_rad=ANYWHERE, electrons_per_point=(50.0, 120.0), drift=(0.7, 1.3), knob_gain=(0.95, 1.05)),
        speed_angstrom_per_s=0.25,
        walk_angstrom=0.2,
        jumps=1,
        jump_angstrom=(4.0, 7.0),
        event=True,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WatchEvents:
    """Events of the specimen in an episode, which are drawn at its start.

    Parameters
    ----------
    jump_times_s : ndarray
        Times of the jumps, s, increasing, shape (n,).
    jump_steps_angstrom : ndarray
        Displacements (x, y) of the jumps, A, shape (n, 2).
    tilt_times_s : tuple of float
        Times at which the next tilt is commanded, s.
    tilts_mrad : tuple of float
        Tilts in the order of the series, mrad.
    tilt_way_angstrom : float
        Displacement of the specimen along y due to a tilt of 1 mrad, A.
    event_s : float
        Time at which the single atom hops, s; infinite if it does not hop.
    """

    jump_times_s: np.ndarray
    jump_steps_angstrom: np.ndarray
    tilt_times_s: tuple[float, ...]
    tilts_mrad: tuple[float, ...]
    tilt_way_angstrom: float
    event_s: float

    def jumped(self, since_s: float, until_s: float) -> np.ndarray:
        """Return the total displacement (x, y), A, of all jumps after the time ``since_s`` and up to ``until_s``, s."""
        here = (self.jump_times_s > since_s) & (self.jump_times_s <= until_s)
        return self.jump_steps_angstrom[here].sum(axis=0)


def draw_events(preset: DriftPreset, rng: np.random.Generator, watch_s: float = WATCH_S) -> WatchEvents:
    """Draw the events of the specimen during ``watch_s`` seconds; the number of jumps is proportional to this time."""
    jumps = round(preset.jumps * watch_s / WATCH_S)
    times = np.sort(rng.uniform(JUMP_REST_S, watch_s, jumps))
    ways, angles = rng.uniform(*preset.jump_angstrom, jumps), rng.uniform(0, 2 * np.pi, jumps)
    backwards, height, side, when = rng.random(), rng.uniform(*preset.height_angstrom), rng.choice([-1.0, 1.0]), rng.uniform(*EVENT_SHARES)
    tilts = preset.tilts_mrad[::-1] if backwards < 0.5 else preset.tilts_mrad
    return WatchEvents(
        jump_times_s=read_only(times),
        jump_steps_angstrom=read_only(np.column_stack([ways * np.cos(angles), ways * np.sin(angles)])),
        tilt_times_s=tuple(watch_s * k / len(tilts) for k in range(1, len(tilts))),
        tilts_mrad=tilts,
        tilt_way_angstrom=float(height * side) * 1e-3,
        event_s=watch_s * float(when) if preset.event else math.inf,
    )


def instrument(preset: DriftPreset, factor: float) -> Profile:
    """Return the instrument with stable optics, and with the preset's specimen drift multiplied by a factor."""
    profile = PROFILES[INSTRUMENT]
    strays = Instabilities(drift_speed_angstrom_per_s=factor * preset.speed_angstrom_per_s, drift_walk_angstrom=factor * preset.walk_angstrom)
    if preset.faults:
        return replace(profile, instabilities=strays)
    return replace(profile, instabilities=strays, imperfections=ScanImperfections(), chains=())


def begin(preset: DriftPreset, drawn: Conditions, seed: int, tilt_mrad: float) -> Session:
    """Return the session at the start of an episode, with the specimen at a given tilt (mrad) and an unshifted beam."""
    setup = Setup(profile=instrument(preset, drawn.drift), seed=seed, specimen_seed=0, lattice_average=False, rotated="spline")
    given: dict[str, Any] = {"at": {"alpha_mrad": tilt_mrad}} if tilt_mrad else {}
    return _started(setup, drawn.sample, failing=drawn.failing, faults=drawn.faults, **given)


def _started(setup: Setup, sample: str, **given: Any) -> Session:
    optics = {"semiangle_mrad": SEMIANGLE_MRAD, "current_pa": CURRENT_PA, "focal_spread_angstrom": 0.0}
    return sessions.start(setup, drift_scenes.sheet(sample), **optics, **given)


@functools.lru_cache(maxsize=8)
def _beam(sample: str) -> Beam:
    """Return the beam of all frames of a sheet."""
    setup = Setup(profile=replace(PROFILES[INSTRUMENT], instabilities=Instabilities()), seed=0)
    return setup.beam(_started(setup, sample).scope, 0.0)


def prepare_part(sample: str, tilt_mrad: float, kind: str) -> None:
    """Compute and cache one image from which scenes are built: a tilted perfect sheet, or its change due to one heavy atom."""
    drift_scenes.part(sample, _beam(sample), tilt_mrad, kind)


@functools.lru_cache(maxsize=32)
def scene(sample: str, cluster: Cluster, tilt_mrad: float, *, hopped: bool) -> DriftScene:
    """Return the scene of a specimen at a given tilt (mrad), before or after the single atom beside the cluster hops."""
    return drift_scenes.scene(sample, cluster, _beam(sample), tilt_mrad, hopped=hopped)


def usual_frames(watch_s: float) -> int:
    """Return the number of frames during ``watch_s`` seconds at the usual frame rate."""
    return math.ceil(watch_s / PERIOD_S)


def turned(vector: np.ndarray, angle: float) -> np.ndarray:
    """Convert a vector (x, y) from the axes of the frame to those of the specimen, for a scan rotated by ``angle``, rad."""
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([vector[0] * cos - vector[1] * sin, vector[0] * sin + vector[1] * cos])


def square_field(middle: np.ndarray, side: float, rotation: float) -> RasterScan:
    """Return the scan of a square field with a given side, A, centred on a position (x, y), A."""
    corner = middle - np.array([side * (n - 1) / n / 2 for n in SHAPE[::-1]])
    return RasterScan(shape=SHAPE, field_of_view_angstrom=(side, side), origin_angstrom=(float(corner[0]), float(corner[1])), rotation_rad=rotation)
