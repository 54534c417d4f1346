"""Fixed parts of a microscope: specimen, profile, seed; and the true condition of its state at any time."""

import hashlib
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from stemtwin.twin.instrument.hardware.drift import Course
from stemtwin.twin.instrument.hardware.profiles import Profile
from stemtwin.twin.instrument.scope.specimen_state import Damage
from stemtwin.twin.instrument.scope.state import ScopeState
from stemtwin.twin.instrument.settings import Beam, PotentialSlices
from stemtwin.twin.instrument.simulation.engines import operator
from stemtwin.twin.instrument.spectra.spectrometer_settings import LossModel
from stemtwin.twin.physics import aberrations as optics
from stemtwin.twin.physics import coherence
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.samples.sample import Sample

ROTATED = ("series", "spline")
"""Ways to read images on rotated rasters; data that were released before the first one keep the spline."""
STREAMS = {"specimen": 0, "noise": 1, "instrument": 2, "scan": 3, "stage": 4, "corrector": 5, "damage": 6, "camera": 7, "eels": 8, "edx": 9}
"""Spawn keys of the independent random streams of one microscope that have a number; every other name has the key of :func:`stream_key`."""


def stream_key(name: str) -> int:
    """Return the spawn key of a random stream: its number in `STREAMS`, or 64 bits of the hash of its name."""
    return STREAMS[name] if name in STREAMS else int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])


@dataclass(frozen=True, kw_only=True, slots=True)
class CommonOperator:
    """Conditions that one imaging operator is built for, so that a change of camera length or aperture needs no other one.

    Parameters
    ----------
    detectors : tuple of str
        Names of scanned detectors.
    camera_lengths_mm, semiangles_mrad : tuple of float
        Camera lengths, mm, and convergences, mrad.
    """

    detectors: tuple[str, ...]
    camera_lengths_mm: tuple[float, ...]
    semiangles_mrad: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Setup:
    """A microscope without its state.

    Parameters
    ----------
    profile : Profile
        The instrument.
    seed : int
        Of everything random.
    phonons : int or str
        See ``Request``.
    lattice_average : bool or str
        See ``Request``; a specimen that the beam can change is not averaged by ``"auto"``.
    specimen_seed : int, optional
        Of the thermal motion alone, where many microscopes shall share their imaging operators; by default it follows from ``seed``.
    misalignment : Aberrations
        Hidden aberrations beside the profile's own, A and rad.
    window_angstrom : float
        Compute with probes at least this wide in mind, A.
    engine : str
        See ``Request``.
    damage : Damage, optional
        What the beam can do to the specimen.
    losses : LossModel, optional
        What the specimen's energy losses are made of.
    counting : str
        How images draw their electrons, a key of ``noise.COUNTINGS``; cameras and spectra draw by numpy.
    rotated : str
        How images are read on rotated rasters: ``"series"``, summed where that takes less time, or ``"spline"``.
    common : CommonOperator, optional
        Detectors, camera lengths and convergences that have one operator in common, in a window that stays as it is; see
        :mod:`~stemtwin.twin.instrument.scope.common_operator`. By default each has its own.
    """

    profile: Profile
    seed: int
    phonons: int | str = "auto"
    specimen_seed: int | None = None
    misalignment: Aberrations = field(default_factory=Aberrations)
    window_angstrom: float = 0.0
    engine: str = operator.NAME
    damage: Damage | None = None
    losses: LossModel | None = None
    counting: str = "inversion"
    rotated: str = "series"
    common: CommonOperator | None = None
    lattice_average: bool | str = "auto"

    def made_of(self, sample: Sample | PotentialSlices) -> tuple[tuple[str, Any], ...]:
        """Return the description of a microscope with this specimen in it: names and values that compare as equal in every process."""
        own = ((item.name, getattr(self, item.name)) for item in fields(self) if item.name != "profile")
        return (("sample", sample.digest), ("instrument", self.profile), *own)

    @cached_property
    def course(self) -> Course:
        """Course of the instrument's instabilities: a pure function of the time."""
        return Course(self.profile.instabilities, self.stream_seed("instrument"))

    @property
    def thermal_seed(self) -> int:
        """Seed of the specimen's thermal motion."""
        return self.stream_seed("specimen") if self.specimen_seed is None else self.specimen_seed

    def stream_seed(self, name: str) -> int:
        """Return the seed of one stream, 128 bits."""
        words = np.random.SeedSequence(self.seed, spawn_key=(stream_key(name),)).generate_state(2, np.uint64)
        return int(words[0]) << 64 | int(words[1])

    def rng(self, name: str, number: int) -> np.random.Generator:
        """Return the generator of the draw of that number in one stream: the same whatever was drawn before."""
        return np.random.Generator(np.random.Philox(np.random.SeedSequence(self.seed, spawn_key=(stream_key(name), number))))

    def aberrations(self, state: ScopeState, time_s: float) -> Aberrations:
        """Return the true aberrations at a time (s), A and rad: knobs, corrections, residual, misalignment, what strayed, and the specimen's height.

        A specimen that is d nearer to the detectors has a slab of vacuum d before it: C10 + d. A beam whose energy has changed by dE is focused
        elsewhere: C10 - Cc f dE / E, with f as in ``coherence.focal_spread``.
        """
        strayed = (self.course.aberrations(time_s),) if self.profile.instabilities.aberrations else ()
        total = optics.total(state.knobs.aberrations, self.profile.residual, self.misalignment, state.corrected, *strayed)
        lift = state.stage.true.z_angstrom
        if self.profile.instabilities.energy_sigma_ev:
            shift = float(self.course.energy_shift_ev(time_s))
            lift += coherence.chromatic_focus(state.knobs.energy_ev, self.profile.chromatic_angstrom, shift)
        return replace(total, C10=total.C10 + lift) if lift else total

    def beam(self, state: ScopeState, time_s: float) -> Beam:
        """Return the beam as it truly is at a time, s."""
        knobs = state.knobs
        return Beam(
            energy_ev=knobs.energy_ev,
            semiangle_mrad=knobs.semiangle_mrad,
            aberrations=self.aberrations(state, time_s),
            source_size_angstrom=knobs.source_size_angstrom,
            focal_spread_angstrom=knobs.focal_spread_angstrom,
            beam_tilt_mrad=knobs.beam_tilt_mrad,
        )

    def specimen_shift(self, state: ScopeState, times_s: np.ndarray) -> np.ndarray:
        """Return the shift from a point of the scan to its place on the specimen, at times (s, (n,)): deflectors less stage less drift, (x, y), A."""
        steady = self.steady_shift(state)
        if steady is not None:
            return np.broadcast_to(steady, (*np.shape(times_s), 2))
        return _deflection(state) - self.course.drift_angstrom(times_s, state.creep)

    def steady_shift(self, state: ScopeState) -> np.ndarray | None:
        """Return the shift of :meth:`specimen_shift`, (x, y), A, where it is the same at all times; None where the specimen drifts."""
        if self.course.drifts or state.creep.velocity != (0.0, 0.0):
            return None
        true, (x, y), offset = state.stage.true, state.knobs.beam_shift_angstrom, state.creep.offset
        return np.array([x - true.x_angstrom - offset[0], y - true.y_angstrom - offset[1]])


def _deflection(state: ScopeState) -> np.ndarray:
    """Return deflectors less stage, (x, y), A."""
    true = state.stage.true
    return np.array(state.knobs.beam_shift_angstrom) - np.array([true.x_angstrom, true.y_angstrom])
