"""Sessions at a microscope: one frozen state, and pure functions for all actions of an operator.

Families that operate a microscope use these functions; they do not access knobs, commands or acquisitions directly.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr

from stemtwin.twin.envs.faults import MOVING_S, Faults
from stemtwin.twin.errors import InstrumentError
from stemtwin.twin.instrument.detectors import DETECTORS, AnyDetector, NamedDetector
from stemtwin.twin.instrument.hardware import stage, tableau
from stemtwin.twin.instrument.hardware.profiles import Profile
from stemtwin.twin.instrument.hardware.tableau import Measurement
from stemtwin.twin.instrument.hardware.tableau_emulation import Estimate
from stemtwin.twin.instrument.scan import PathScan, Scan
from stemtwin.twin.instrument.scope import aberration_tuning, acquisition, bare_frames, beam_damage, commands, knobs, readout
from stemtwin.twin.instrument.scope.bare_frames import ImagingPlan
from stemtwin.twin.instrument.scope.hidden_state import truth as hidden_truth
from stemtwin.twin.instrument.scope.recorders import spectra
from stemtwin.twin.instrument.scope.setup import Setup
from stemtwin.twin.instrument.scope.state import ScopeState
from stemtwin.twin.instrument.timing import scan_timing
from stemtwin.twin.physics import aberrations as optics
from stemtwin.twin.physics.aberrations import ORDERS, Aberrations
from stemtwin.twin.physics.engine.operator.imaging_operator import ImagingOperator
from stemtwin.twin.samples.sample import Sample

FAILURES = "failing commands"
"""Name of the random stream of failing commands."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Session:
    """A microscope and the record of its use.

    Parameters
    ----------
    setup : Setup
        Specimen, instrument and seed.
    scope : ScopeState
        State of the microscope.
    gains : tuple
        Pairs of a Cartesian aberration and the ratio of its true to its commanded change.
    failing : float
        Probability that a command does nothing.
    faults : Faults
        Probabilities of the instrument's faults.
    commands : int
        Number of commands so far that could fail.
    failed : bool
        Whether the last change of knobs, stage move, measurement or correction failed, as reported to the operator.
    moving_until_s : float
        Time until which the stage counts as moving, s.
    dose_e_per_angstrom2 : float
        Nominal dose of all acquisitions, added regardless of their position on the specimen, e-/A^2.
    last_dose_e_per_angstrom2 : float
        Nominal dose of the last acquisition, e-/A^2.
    """

    setup: Setup
    scope: ScopeState
    gains: tuple[tuple[str, float], ...] = ()
    failing: float = 0.0
    faults: Faults = field(default_factory=Faults)
    commands: int = 0
    failed: bool = False
    moving_until_s: float = 0.0
    dose_e_per_angstrom2: float = 0.0
    last_dose_e_per_angstrom2: float = 0.0

    @property
    def clock_s(self) -> float:
        """Time on the simulated clock, s."""
        return self.scope.time_s

    @property
    def cost(self) -> dict[str, float]:
        """Cost since the start: dose (e-/A^2), beam time on the specimen (s), total time (s), electrons."""
        return {
            "dose_e_per_angstrom2": float(self.dose_e_per_angstrom2),
            "beam_s": float(self.scope.beam_s),
            "time_s": float(self.scope.time_s),
            "electrons": float(self.scope.electrons),
        }


def start(
    setup: Setup,
    sample: Sample,
    *,
    at: Mapping[str, float] | None = None,
    gains: Mapping[str, float] | None = None,
    failing: float = 0.0,
    faults: Faults | None = None,
    **settings: Any,
) -> Session:
    """Return a session at time 0 with a settled stage.

    Parameters
    ----------
    setup : Setup
        The microscope.
    sample : Sample
        The specimen.
    at : mapping, optional
        Position of the stage, A and mrad, by name of the axis.
    gains : mapping, optional
        Ratios of true to commanded changes of Cartesian aberrations.
    failing : float
        Probability that a command does nothing.
    faults : Faults, optional
        Probabilities of the instrument's faults; a family passes ``conditions.faults``. All are 0 by default.
    settings
        Values of the knobs that differ from the profile's usual values.

    Raises
    ------
    StemtwinError
        A value is out of range.
    """
    first = knobs.turn(knobs.initial(setup.profile), setup.profile, settings)
    scope = beam_damage.begun(setup, ScopeState(specimen=sample, knobs=first))
    if at:
        scope = commands.move(setup, scope, at)
    settled = replace(scope, time_s=0.0, creep=replace(scope.creep, time_s=0.0))
    return Session(setup=setup, scope=settled, gains=tuple(sorted((gains or {}).items())), failing=failing, faults=faults or Faults())


def set_knobs(session: Session, changes: Mapping[str, Any]) -> Session:
    """Return the session after knobs were set; see ``Microscope.set``.

    If the change of the optics fails, all other knobs are still set.

    Raises
    ------
    StemtwinError
        A knob is unknown, or a value is out of range.
    """
    session = _attempt(session)
    if session.failed:
        return session
    scope, profile, asked = session.scope, session.setup.profile, dict(changes)
    turned = knobs.turn(scope.knobs, profile, asked)
    if turned.aberrations != scope.knobs.aberrations and (session := _struck(session, "failed_correction")).failed:
        turned = knobs.turn(scope.knobs, profile, {name: value for name, value in asked.items() if name not in knobs.ABERRATION_NAMES})
    return replace(session, scope=replace(scope, knobs=turned))


def turn_optics(session: Session, increments: Mapping[str, float]) -> Session:
    """Return the session after changes of Cartesian aberrations, A; a true change is the gain times the commanded change.

    Raises
    ------
    StemtwinError
        A value is out of range.
    """
    session = _attempt(session, "failed_correction")
    if session.failed:
        return session
    scope, gains = session.scope, dict(session.gains)
    before = scope.knobs.aberrations.cartesian()
    turned = {name[1:3] for name in increments}
    after = {name: value + increments.get(name, 0.0) for name, value in before.items() if name[1:3] in turned}
    commanded = Aberrations.from_cartesian(**after, **{name: value for name, value in increments.items() if name not in after})
    changes = {name: getattr(commanded, name) for name in knobs.ABERRATION_NAMES if name[-2:] in turned}
    scope = replace(scope, knobs=knobs.turn(scope.knobs, session.setup.profile, changes))
    excess = {name: (gains[name] - 1) * value for name, value in increments.items() if gains.get(name, 1.0) != 1 and value}
    if excess:
        scope = replace(scope, corrected=optics.add(scope.corrected, Aberrations.from_cartesian(**excess)))
    return replace(session, scope=scope)


def move(session: Session, way: Mapping[str, float], *, relative: bool = False) -> Session:
    """Return the session after a move of the stage; see ``Microscope.move_stage``.

    Raises
    ------
    StemtwinError
        An axis is unknown, or the target is beyond its range.
    """
    session = _attempt(session)
    if session.failed:
        return session
    setup, before = session.setup, session.scope
    after = commands.move(setup, before, way, relative=relative)
    if (session := _struck(session, "blocked_stage")).failed:
        target = stage.destination(before.stage, way, setup.profile.stage, relative=relative)
        return wait(session, stage.duration_s(before.stage, target, setup.profile.stage))
    gone = after.stage.commanded != before.stage.commanded
    return replace(session, scope=after, moving_until_s=after.time_s + MOVING_S if gone else session.moving_until_s)


def measure(
    session: Session, kind: str = "C1A1", *, angle_mrad: float | None = None, max_fit: str | None = None, emulated: bool = False
) -> tuple[Measurement | Estimate | None, Session]:
    """Measure aberrations; return the result, or None if the measurement failed, and the updated session.

    See ``Microscope.measure``. With ``emulated`` the result is drawn from the covariance of its counting statistics, and no
    images are computed.

    Raises
    ------
    StemtwinError
        The measurement is unknown, or the beam is blanked.
    """
    what, setup, scope = aberration_tuning.kind(kind, angle_mrad=angle_mrad, max_fit=max_fit), session.setup, session.scope
    if valve_closed(session):
        aberration_tuning.lit(scope)
        dark = commands.wait(setup, replace(scope, measurements=scope.measurements + 1), tableau.duration_s(what, setup.profile.probe_images))
        return None, replace(session, scope=dark, failed=True)
    found, after = (aberration_tuning.emulate if emulated else aberration_tuning.measure)(setup, scope, what)
    failed = isinstance(found, InstrumentError)
    return (None if failed else found), replace(session, scope=after, failed=failed)


def correct(session: Session, name: str, value: complex | Sequence[float], target: complex | Sequence[float] = 0.0) -> Session:
    """Return the session after a correction of an aberration from a value to a target; see ``Microscope.correct``.

    Raises
    ------
    StemtwinError
        The aberration is unknown, or the change exceeds the range of the corrector.
    """
    session = _attempt(session)
    if session.failed:
        return session
    after = aberration_tuning.correct(session.setup, session.scope, name, value, target)
    if (session := _struck(session, "failed_correction")).failed:
        return wait(session, session.setup.profile.corrector.duration_s)
    return replace(session, scope=after)


def wait(session: Session, seconds: float) -> Session:
    """Return the session after ``seconds`` seconds of waiting with the beam blanked.

    Raises
    ------
    SettingsError
        The time is negative, or longer than 1e6 s.
    """
    return replace(session, scope=commands.wait(session.setup, session.scope, seconds))


def displace(session: Session, way_angstrom: Sequence[float] | np.ndarray) -> Session:
    """Return the session after the specimen has slipped by (x, y), A, on its holder; only the next frame reveals the slip."""
    creep, (x, y) = session.scope.creep, way_angstrom
    slipped = replace(creep, offset=(creep.offset[0] + float(x), creep.offset[1] + float(y)))
    return replace(session, scope=replace(session.scope, creep=slipped))


def scan_seconds(session: Session, scan: Scan, dwell_time_us: float) -> float:
    """Return the duration of one pass over a scan that begins now, s."""
    profile = session.setup.profile
    timing = scan_timing(
        scan,
        dwell_time_us=dwell_time_us,
        flyback_us=profile.flyback_us,
        settle_us=profile.settle_us,
        start_s=session.clock_s,
        synchronise_hz=profile.imperfections.synchronise_hz,
    )
    return timing.duration_s


def acquire(
    session: Session,
    scan: Scan,
    *,
    detectors: Sequence[str | NamedDetector] | str | NamedDetector = ("haadf",),
    dwell_time_us: float | None = None,
    frames: int = 1,
) -> tuple[xr.Dataset, Session]:
    """Acquire frames; return them and the updated session. See ``Microscope.acquire``.

    Raises
    ------
    StemtwinError
        The acquisition cannot be carried out.
    """
    asked = acquisition.order(session.setup, session.scope, scan, dwell_time_us=dwell_time_us, frames=frames, detectors=detectors)
    found, scope = acquisition.acquire(session.setup, session.scope, asked)
    if valve_closed(session):
        found, dark = acquisition.acquire(session.setup, _darkened(session.scope), asked)
        told = json.loads(found.attrs["stemtwin_settings"])
        found.attrs["stemtwin_settings"] = json.dumps({**told, "knobs": asdict(session.scope.knobs)})
        scope = _booked(dark, scope)
    last = asked.cost["dose_e_per_angstrom2"]
    return found, replace(session, scope=scope, dose_e_per_angstrom2=session.dose_e_per_angstrom2 + last, last_dose_e_per_angstrom2=last)


def imaging_plan(session: Session, scan: Scan, *, detectors: Sequence[str | AnyDetector] = ("haadf",)) -> ImagingPlan:
    """Return the plan of frames that do not record where the electrons hit the specimen (bare frames).

    The frames are computed in the setup's window; see ``bare_frames.imaging_plan``.

    Raises
    ------
    StemtwinError
        Bare frames cannot be computed for this microscope and scan.
    """
    return bare_frames.imaging_plan(session.setup, session.scope, scan, detectors)


def acquire_bare(
    sessions: Sequence[Session], operators: Sequence[tuple[ImagingOperator, ImagingPlan]], scans: Sequence[Scan], dwell_times_us: Sequence[float]
) -> list[tuple[np.ndarray, Aberrations, Session]]:
    """Acquire one frame with each session; return the readings, the true aberrations at half the frame time, and the new session of each.

    The readings, shape (channels, ny, nx), are bit-identical to those of :func:`acquire`; the distribution of electrons
    over the specimen is not recorded. Sessions with the same operator are computed together, on several threads.
    """
    shots = [
        bare_frames.AskedFrame(operator=operator, detectors=plan.detectors, setup=one.setup, state=one.scope, scan=scan, dwell_time_us=dwell)
        for one, (operator, plan), scan, dwell in zip(sessions, operators, scans, dwell_times_us, strict=True)
    ]
    closed = [i for i, one in enumerate(sessions) if valve_closed(one)]
    taken = bare_frames.take([*shots, *(replace(shots[i], state=_darkened(shots[i].state)) for i in closed)])
    frames = dict(enumerate(taken[: len(shots)]))
    for i, dark in zip(closed, taken[len(shots) :], strict=True):
        frames[i] = replace(dark, state=_booked(dark.state, frames[i].state))
    found = []
    for one, shot, frame in zip(sessions, shots, frames.values(), strict=True):
        dose = one.dose_e_per_angstrom2 + raster_dose(one.scope.knobs.current_pa, shot.scan, shot.dwell_time_us)
        found.append((frame.readings, frame.beam.aberrations, replace(one, scope=frame.state, dose_e_per_angstrom2=dose)))
    return found


def spectrum(
    session: Session,
    at: Scan | Sequence[float],
    *,
    detectors: Sequence[str | NamedDetector] | str | NamedDetector | None = None,
    dwell_time_us: float | None = None,
) -> tuple[xr.Dataset, Session]:
    """Return spectra at a point (x, y), A, or along a scan, and the updated session; see ``Microscope.acquire_spectrum``.

    Raises
    ------
    StemtwinError
        The acquisition cannot be carried out.
    """
    scan, point = spectra.scan_of(at)
    asked = DETECTORS.names("spectrum") if detectors is None else detectors
    found, after = acquire(session, scan, detectors=asked, dwell_time_us=dwell_time_us)
    return (found.isel(point=0) if point else found), after


def pattern(
    session: Session,
    at: Sequence[float],
    *,
    detector: str | NamedDetector = "pixelated",
    dwell_time_us: float | None = None,
) -> tuple[xr.Dataset, Session]:
    """Return the diffraction pattern of the beam at a point (x, y), A, and the updated session.

    Raises
    ------
    StemtwinError
        The acquisition cannot be carried out.
    """
    scan, _ = spectra.scan_of(at)
    found, after = acquire(session, scan, detectors=(detector,), dwell_time_us=dwell_time_us)
    return found.isel(point=0), after


def park(
    session: Session,
    at: Sequence[float],
    seconds: float,
    *,
    detectors: Sequence[str | NamedDetector] | str | NamedDetector = ("haadf",),
    looks: int = 1,
) -> tuple[xr.Dataset, Session]:
    """Park the beam at a point for a time; return the readings of the detectors and the updated session.

    Parameters
    ----------
    session : Session
        The session before.
    at : sequence of float
        The point (x, y), A.
    seconds : float
        Time for which the beam is parked, s.
    detectors : sequence
        As in ``Microscope.acquire``.
    looks : int
        Number of equal parts of the time, each of which is read out separately.

    Raises
    ------
    StemtwinError
        The acquisition cannot be carried out.
    """
    here = PathScan(positions_angstrom=np.array([[float(value) for value in at]]))
    found, after = acquire(session, here, detectors=detectors, dwell_time_us=seconds / looks * 1e6, frames=looks)
    return found.isel(point=0), after


def truth(session: Session) -> Mapping[str, Any]:
    """Return the hidden state; see ``Microscope.truth``."""
    return hidden_truth(session.setup, session.scope)


def in_electrons(session: Session, readings: np.ndarray, detector: str) -> np.ndarray:
    """Convert readings of a detector to electrons, float64.

    The offset is subtracted from readings in ADU, and the difference is divided by the gain and the efficiency.
    """
    electronics = readout.chain(session.setup.profile, session.scope.knobs, detector)
    if electronics is None:
        return readings.astype(float)
    return (readings.astype(float) - electronics.offset_adu) / (electronics.gain_adu * electronics.efficiency)


def raster_dose(current_pa: float, scan: Scan, dwell_time_us: float) -> float:
    """Return the nominal dose of one pass over a scan, e-/A^2."""
    incident = acquisition.electrons_per_point(current_pa, dwell_time_us * 1e-6)
    return incident * scan.count / math.prod(scan.field_of_view_angstrom)


def with_residual(profile: Profile, factor: float) -> Profile:
    """Return a profile with its residual aberrations multiplied by a factor."""
    if factor == 1:
        return profile
    return replace(profile, residual=scaled(profile.residual, factor))


def scaled(aberrations: Aberrations, factor: float) -> Aberrations:
    """Return aberrations multiplied by a factor; their azimuths are unchanged."""
    return replace(aberrations, **{f"C{n}{m}": factor * getattr(aberrations, f"C{n}{m}") for n, m in ORDERS})


def drifting(profile: Profile, factor: float) -> Profile:
    """Return a profile with its specimen drift multiplied by a factor."""
    usual = profile.instabilities
    return replace(
        profile,
        instabilities=replace(
            usual,
            drift_speed_angstrom_per_s=factor * usual.drift_speed_angstrom_per_s,
            drift_walk_angstrom=factor * usual.drift_walk_angstrom,
        ),
    )


def _attempt(session: Session, *own: str) -> Session:
    """Return the session after the next command's failures were drawn: general ones, those of a moving stage, and ``own``."""
    if not (session.failing or session.faults.possible):
        return replace(session, failed=False) if session.failed else session
    number, moving = session.commands, session.clock_s < session.moving_until_s
    failed = bool(session.failing and session.setup.rng(FAILURES, number).random() < session.failing)
    session = replace(session, commands=number + 1, failed=failed)
    return _struck(session, *(("refused_while_moving",) if moving else ()), *own)


def _struck(session: Session, *faults: str) -> Session:
    """Return the session with the current command marked as failed if one of the named faults is drawn."""
    return replace(session, failed=True) if any(_drawn(session, fault, session.commands) for fault in faults) else session


def valve_closed(session: Session) -> bool:
    """Return True if the column valve is closed during the next acquisition or measurement; the operator is not informed."""
    return _drawn(session, "closed_valve", session.scope.frames + session.scope.measurements)


def _drawn(session: Session, fault: str, number: int) -> bool:
    """Return True if a fault happens at the given draw of its random stream."""
    chance = getattr(session.faults, fault)
    return bool(chance) and bool(session.setup.rng(fault.replace("_", " "), number).random() < chance)


def _darkened(scope: ScopeState) -> ScopeState:
    """Return the state in which no beam reaches the specimen."""
    return replace(scope, knobs=replace(scope.knobs, blanked=True))


def _booked(dark: ScopeState, lit: ScopeState) -> ScopeState:
    """Return the state after dark frames, with knobs, times and electrons recorded as for frames with an open valve."""
    return replace(dark, knobs=lit.knobs, beam_s=lit.beam_s, electrons=lit.electrons, sent=lit.sent)
