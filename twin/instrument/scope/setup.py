"""Constant parts of a microscope. With a state, they give the true beam and specimen position at any time."""

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
"""Methods for images on rotated rasters. Data that were released before ``"series"`` existed are reproduced by ``"spline"``."""
STREAMS = {"specimen": 0, "noise": 1, "instrument": 2, "scan": 3, "stage": 4, "corrector": 5, "damage": 6, "camera": 7, "eels": 8, "edx": 9}
"""Spawn keys of numbered random streams of a microscope; :func:`stream_key` gives those of other names."""


def stream_key(name: str) -> int:
    """Return the spawn key of a random stream: its number in `STREAMS`, or 64 bits of the hash of its name."""
    return STREAMS[name] if name in STREAMS else int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])


@dataclass(frozen=True, kw_only=True, slots=True)
class CommonOperator:
    """Camera lengths and semi-angles for which one common imaging operator is built.

    Parameters
    ----------
    detectors : tuple of str
        Registry names of image detectors.
    camera_lengths_mm, semiangles_mrad : tuple of float
        Camera lengths, mm, and convergence semi-angles, mrad.
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
        Seed of all random streams.
    phonons : int or str
        Thermal motion, as in ``Request``.
    lattice_average : bool or str
        Average over a crystal's translations, as in ``Request``; ``"auto"`` does not average a specimen that the beam
        can change.
    specimen_seed : int, optional
        Seed of the thermal motion, equal for microscopes that share imaging operators; None: it follows from ``seed``.
    misalignment : Aberrations
        Hidden aberrations in addition to those of the profile, A and rad.
    window_angstrom : float
        Least width of the probe window, A.
    engine : str
        Engine, as in ``Request``.
    damage : Damage, optional
        Changes of the specimen by the beam.
    losses : LossModel, optional
        Model of the specimen's energy losses.
    counting : str
        Method for the electron counts of images, a key of ``noise.COUNTINGS``; cameras and spectra use numpy.
    rotated : str
        Method for images on rotated rasters. ``"series"`` sums the image's Fourier series if this is faster than spline
        interpolation. ``"spline"`` always interpolates.
    common : CommonOperator, optional
        Detectors, camera lengths and semi-angles with one common operator in a fixed window; see
        :mod:`~stemtwin.twin.instrument.scope.common_operator`. None: each acquisition setting has its own operator.
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
        """Return a description of the microscope and its specimen. Equal microscopes have equal descriptions in all Python processes."""
        own = ((item.name, getattr(self, item.name)) for item in fields(self) if item.name != "profile")
        return (("sample", sample.digest), ("instrument", self.profile), *own)

    @cached_property
    def course(self) -> Course:
        """Course of the instrument's instabilities, a pure function of the time."""
        return Course(self.profile.instabilities, self.stream_seed("instrument"))

    @property
    def thermal_seed(self) -> int:
        """Seed of the specimen's thermal motion."""
        return self.stream_seed("specimen") if self.specimen_seed is None else self.specimen_seed

    def stream_seed(self, name: str) -> int:
        """Return the 128-bit seed of one random stream."""
        words = np.random.SeedSequence(self.seed, spawn_key=(stream_key(name),)).generate_state(2, np.uint64)
        return int(words[0]) << 64 | int(words[1])

    def rng(self, name: str, number: int) -> np.random.Generator:
        """Return the generator of one numbered draw of a random stream. It does not depend on earlier draws."""
        return np.random.Generator(np.random.Philox(np.random.SeedSequence(self.seed, spawn_key=(stream_key(name), number))))

    def aberrations(self, state: ScopeState, time_s: float) -> Aberrations:
        """Return the true aberrations, A and rad, at a time, s.

        They are the sum of knobs, corrections, residual, misalignment, drift, and the effect of the specimen's height.
        If the specimen moves towards the detectors by a distance d, a slab of vacuum of thickness d precedes it, so C10
        increases by d. A change of the beam's energy by dE changes C10 by -Cc f dE / E, where Cc is the chromatic
        aberration and f the relativistic factor of ``coherence.focal_spread``.
        """
        strayed = (self.course.aberrations(time_s),) if self.profile.instabilities.aberrations else ()
        total = optics.total(state.knobs.aberrations, self.profile.residual, self.misalignment, state.corrected, *strayed)
        lift = state.stage.true.z_angstrom
        if self.profile.instabilities.energy_sigma_ev:
            shift = float(self.course.energy_shift_ev(time_s))
            lift += coherence.chromatic_focus(state.knobs.energy_ev, self.profile.chromatic_angstrom, shift)
        return replace(total, C10=total.C10 + lift) if lift else total

    def beam(self, state: ScopeState, time_s: float) -> Beam:
        """Return the true beam at a time, s."""
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
        """Return the shift (x, y), A, from scan to specimen coordinates at times (n,), s.

        The shift is the beam deflection minus the stage position and the drift.
        """
        steady = self.steady_shift(state)
        if steady is not None:
            return np.broadcast_to(steady, (*np.shape(times_s), 2))
        shift = self.course.drift_angstrom(times_s, state.creep)
        for axis, deflected in enumerate(_deflection(state)):  # numpy is slow along a last axis of two
            np.subtract(deflected, shift[..., axis], out=shift[..., axis])
        return shift

    def steady_shift(self, state: ScopeState) -> np.ndarray | None:
        """Return the constant value (x, y), A, of :meth:`specimen_shift`, or None if the specimen drifts."""
        if self.course.drifts or state.creep.velocity != (0.0, 0.0):
            return None
        true, (x, y), offset = state.stage.true, state.knobs.beam_shift_angstrom, state.creep.offset
        return np.array([x - true.x_angstrom - offset[0], y - true.y_angstrom - offset[1]])


def _deflection(state: ScopeState) -> np.ndarray:
    """Return the difference of deflection and stage position, (x, y), A."""
    true = state.stage.true
    return np.array(state.knobs.beam_shift_angstrom) - np.array([true.x_angstrom, true.y_angstrom])
