"""Acquisitions as pure functions of the microscope's setup and state: checks, costs, and the recorded frames."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from stemtwin.twin import checks
from stemtwin.twin.errors import InstrumentError, SettingsError
from stemtwin.twin.instrument.detectors import NamedDetector, by_signal
from stemtwin.twin.instrument.hardware.profiles import Profile
from stemtwin.twin.instrument.scan import RasterScan, Scan
from stemtwin.twin.instrument.scope import beam_damage, scan_pass
from stemtwin.twin.instrument.scope.dose_log import LoggedPasses
from stemtwin.twin.instrument.scope.dose_map import deposits, spacing_angstrom
from stemtwin.twin.instrument.scope.last_pass import LastPass
from stemtwin.twin.instrument.scope.recorders import RECORDERS, Recorder
from stemtwin.twin.instrument.scope.scan_pass import ScanPass
from stemtwin.twin.instrument.scope.setup import Setup
from stemtwin.twin.instrument.scope.state import ScanField, ScopeState
from stemtwin.twin.instrument.simulation import results
from stemtwin.twin.instrument.simulation.derived_signals import DERIVED
from stemtwin.twin.instrument.simulation.engines import operator
from stemtwin.twin.instrument.timing import ScanTiming, estimate_duration_s, scan_timing
from stemtwin.twin.physics.engine.operator.beam_blocks import window_blocks
from stemtwin.twin.physics.noise import electrons_per_point
from stemtwin.twin.progress import Progress

LEAST_SIDE = 1.0
"""Smallest side of a field in the calculation of its dose, A, so the dose of a parked beam is finite."""
LEAST_DWELL_US = 1e-3
"""Shortest dwell time, us, a nanosecond."""
MOST_ELECTRONS = 1e9
"""Largest number of electrons at one point that the counters can hold."""
WIDER = "the probe has outgrown its window: an imaging operator for a wider window was built, and the frames that follow are quick again"
"""Note of a frame for which a wider operator was built."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CheckedAcquisition:
    """Acquisition that was checked but not yet executed.

    Parameters
    ----------
    scan : Scan
        Nominal scan.
    recorders : tuple of Recorder
        Recorder of each signal.
    dwell_time_us : float
        Time at each point, us.
    frames : int
        Number of passes.
    electrons_per_point : float
        Nominal number of electrons at one point in one pass; 0 if the beam is blanked.
    pass_s : float
        Approximate duration of one pass, s, without the waits that synchronise lines with the mains.
    blanks_pauses : bool
        Whether the beam is off between lines.
    """

    scan: Scan
    recorders: tuple[Recorder[Any], ...]
    dwell_time_us: float
    frames: int
    electrons_per_point: float
    pass_s: float
    blanks_pauses: bool

    @property
    def notes(self) -> tuple[str, ...]:
        """Warnings about doubtful physics of the request."""
        return tuple(note for recorder in self.recorders for note in recorder.notes())

    @property
    def cost(self) -> dict[str, float]:
        """Time (s), electrons (pauses included) and nominal dose (e-/A^2, pauses excluded)."""
        count, (height, width) = self.scan.count, self.scan.field_of_view_angstrom
        at_points = self.frames * self.electrons_per_point * count
        all_the_time = at_points if self.blanks_pauses else at_points * self.pass_s / (count * self.dwell_time_us * 1e-6)
        dose = at_points / (max(height, LEAST_SIDE) * max(width, LEAST_SIDE))
        return {"time_s": self.frames * self.pass_s, "electrons": all_the_time, "dose_e_per_angstrom2": dose}


def order(
    setup: Setup,
    state: ScopeState,
    scan: Scan,
    *,
    dwell_time_us: float | None = None,
    frames: int = 1,
    detectors: Sequence[str | NamedDetector] | str | NamedDetector = ("haadf",),
) -> CheckedAcquisition:
    """Check an acquisition and return it with the recorders of its signals.

    Raises
    ------
    StemtwinError
        The acquisition is impossible.
    """
    _check_counted(detectors)
    profile, asked = setup.profile, by_signal(detectors)
    kinds = {signal: RECORDERS[signal] for signal in sorted(asked, key=RECORDERS.names().index)}
    longest = min(kind.longest_dwell_us(profile) for kind in kinds.values())
    dwell = profile.dwell_time_us if dwell_time_us is None else dwell_time_us
    dwell = checks.number("dwell_time_us", dwell, "us", low=LEAST_DWELL_US, high=longest, repair="It is given in microseconds.")
    frames = checks.whole("frames", frames, low=1, high=10_000)
    _check_scan(profile, scan)
    incident = electrons_per_point(state.knobs.current_pa, dwell * 1e-6)
    if incident > MOST_ELECTRONS:
        message = (
            f"{incident:.3g} electrons at each point overflow the counters (limit {MOST_ELECTRONS:g}). "
            "Use a shorter dwell_time_us or a lower current_pa."
        )
        raise InstrumentError(message)
    return CheckedAcquisition(
        scan=scan,
        recorders=tuple(kind.prepare(setup, state, scan, asked[signal], frames) for signal, kind in kinds.items()),
        dwell_time_us=dwell,
        frames=frames,
        electrons_per_point=0.0 if state.knobs.blanked else incident,
        pass_s=estimate_duration_s(scan, dwell_time_us=dwell, flyback_us=profile.flyback_us, settle_us=profile.settle_us),
        blanks_pauses=profile.blanks_pauses,
    )


def _check_counted(detectors: object) -> None:
    """Raise SettingsError for derived signals, which are not counted but follow from counts."""
    given = [detectors] if isinstance(detectors, str) else detectors
    names = [name for name in given if isinstance(name, str) and name in DERIVED] if isinstance(given, Sequence) else []
    if names:
        message = (
            f"{', '.join(names)} is not counted but derived from counted signals. Acquire detectors=('dpc4',) and apply the function dpc, or acquire "
            "detectors=('pixelated',) and apply centre_of_mass; then apply icom for an integrated image. All three functions are in "
            "stemtwin.twin.instrument.simulation.pattern_analysis. For a signal without noise, use st.simulate."
        )
        raise SettingsError(message)


def _check_scan(profile: Profile, scan: object) -> None:
    """Raise an error for an object that is not a scan, or for a scan beyond the holder of the stage."""
    if not isinstance(scan, Scan):
        message = f"scan={scan!r} is not a scan. Use st.RasterScan(shape=..., field_of_view_angstrom=...) or another scan."
        raise SettingsError(message)
    (x, y), size = scan.centre_angstrom, math.hypot(*scan.field_of_view_angstrom) / 2
    reach = profile.stage.reach
    if abs(x) + size <= reach.x_angstrom and abs(y) + size <= reach.y_angstrom:
        return
    far = np.abs(scan.points()).max(axis=0)
    if far[0] > reach.x_angstrom or far[1] > reach.y_angstrom:
        message = (
            f"The scan extends {far[0]:.4g} A along x and {far[1]:.4g} A along y from the middle of the holder, which ends at "
            f"{reach.x_angstrom:g} and {reach.y_angstrom:g} A. Use a smaller field, or an origin nearer to (0, 0)."
        )
        raise InstrumentError(message)


def acquire(
    setup: Setup,
    state: ScopeState,
    asked: CheckedAcquisition,
    *,
    average: bool = False,
    progress: Progress | None = None,
) -> tuple[xr.Dataset, ScopeState]:
    """Execute a checked acquisition.

    Parameters
    ----------
    setup, state : Setup, ScopeState
        The microscope before the acquisition.
    asked : CheckedAcquisition
        Result of :func:`order` for the same setup and state.
    average : bool
        Whether to return the mean of all passes instead of each pass.
    progress : callable, optional
        Function that is called while an imaging operator is built, with the number of waves that were just completed.

    Returns
    -------
    tuple
        The frames, and the state after the acquisition.
    """
    recorders, scan = asked.recorders, asked.scan
    after = replace(state, scanned=_scanned(state, scan))
    counts: list[list[dict[str, np.ndarray]]] = [[] for _ in recorders]
    signals: list[Any] = [None] * len(recorders)
    for _ in range(asked.frames):
        shot = scan_pass.expose(setup, after, scan, _timing(setup, after, asked))
        for i, recorder in enumerate(recorders):
            recording = recorder.record(setup, after, shot, signals[i], progress)
            counts[i].append(recording.counts)
            signals[i], after = recording.signal, recording.state
        last = LastPass(scan=scan, points=shot.points, incident=shot.incident, beam=shot.beam, signals=tuple(signals))
        before, after = (
            after.specimen,
            beam_damage.after_pass(setup, replace(_exposed(setup, after, shot), last=last), shot),
        )
        if after.specimen is not before:
            recorders = tuple(recorder.renewed(setup, after) for recorder in recorders)
    variables, coordinates = {}, results.coordinates(scan)
    for recorder, passes, signal in zip(recorders, counts, signals, strict=True):
        together = {name: _together([one[name] for one in passes], average=average) for name in passes[0]}
        found, axes = recorder.variables(setup, state.knobs, together, signal)
        variables, coordinates = variables | found, coordinates | axes
    return xr.Dataset(variables, coordinates, _attributes(setup, state, after, replace(asked, recorders=recorders))), after


def _timing(setup: Setup, state: ScopeState, asked: CheckedAcquisition) -> ScanTiming:
    """Return the timing of a pass that starts now."""
    profile = setup.profile
    return scan_timing(
        asked.scan,
        dwell_time_us=asked.dwell_time_us,
        flyback_us=profile.flyback_us,
        settle_us=profile.settle_us,
        start_s=state.time_s,
        synchronise_hz=profile.imperfections.synchronise_hz,
    )


def _together(passes: list[np.ndarray], *, average: bool) -> np.ndarray:
    """Return passes as one array, with a first dimension for several passes."""
    if average:
        return np.asarray(np.mean(passes, axis=0, dtype=np.float32))
    return np.stack(passes) if len(passes) > 1 else passes[0]


def _scanned(state: ScopeState, scan: Scan) -> ScanField:
    if state.scanned is None:
        return ScanField(centre_angstrom=scan.centre_angstrom, field_of_view_angstrom=scan.field_of_view_angstrom)
    return state.scanned.changed(scan, state.time_s)


def _exposed(setup: Setup, state: ScopeState, shot: ScanPass) -> ScopeState:
    """Return the state after one pass, with its time and its electrons, including pauses unless they are blanked."""
    timing, dark = shot.timing, state.knobs.blanked or setup.profile.blanks_pauses
    after = scan_pass.after(setup, state, shot)
    if state.knobs.blanked:
        return after
    spacing = spacing_angstrom(shot.scan)
    where, many = deposits(shot.points, timing, shot.incident, blanked=dark)
    stage = state.stage.readback
    (x, y), each = state.knobs.beam_shift_angstrom, electrons_per_point(state.knobs.current_pa, timing.dwell_s)
    sent = LoggedPasses(scan=shot.scan, timing=timing, shift=(x - stage.x_angstrom, y - stage.y_angstrom), dark=dark, electrons=each)
    return replace(
        after,
        electrons=state.electrons + float(many.sum()),
        dose=state.dose.add(where, many, spacing_angstrom=spacing),
        sent=state.sent.add(sent),
    )


def _outgrown(before: ScopeState, after: ScopeState) -> bool:
    """Return True if the window has become wider, so the operator has more blocks than before."""
    if before.room is None or after.room is None or after.room.window_angstrom <= before.room.window_angstrom:
        return False
    earlier, now = (window_blocks(after.specimen.size_angstrom, room.window_angstrom) for room in (before.room, after.room))
    return earlier != now


def _attributes(setup: Setup, before: ScopeState, after: ScopeState, asked: CheckedAcquisition) -> dict[str, Any]:
    """Return the attributes that the user is allowed to know, without hidden truth."""
    scan, knobs, settings = asked.scan, before.knobs, {}
    for recorder in asked.recorders:
        settings |= recorder.settings()
    known = {
        "title": "acquired STEM frames",
        **results.visible(after.specimen, float(knobs.energy_ev), float(knobs.semiangle_mrad), settings.get("engine")),
        "instrument": setup.profile.name,
        "time_s": before.time_s,
        "current_pa": knobs.current_pa,
        "dwell_time_us": asked.dwell_time_us,
        "electrons_per_point": asked.electrons_per_point,
        "frames": asked.frames,
        "duration_s": after.time_s - before.time_s,
        "stage": [float(v) for v in before.stage.readback.array()],
        "stemtwin_settings": json.dumps({**settings, "knobs": asdict(knobs)}),
    }
    wider = (WIDER,) if settings.get("engine") == operator.NAME and _outgrown(before, after) else ()
    if notes := (*asked.notes, *wider):
        known["notes"] = "; ".join(notes)
    if isinstance(scan, RasterScan):
        known["dose_e_per_angstrom2"] = asked.frames * asked.electrons_per_point * scan.count / math.prod(scan.field_of_view_angstrom)
    return known
