"""From a command to a frame: what an acquisition needs and costs, and what it brings. Pure functions of the microscope's setup and state."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from stemtwin.twin import checks
from stemtwin.twin.errors import InstrumentError
from stemtwin.twin.instrument import detectors as detector_floor
from stemtwin.twin.instrument.detectors import AnnularDetector, AnyDetector
from stemtwin.twin.instrument.hardware.camera_response import defects, response
from stemtwin.twin.instrument.hardware.profiles import Profile
from stemtwin.twin.instrument.scan import PathScan, RasterScan, Scan
from stemtwin.twin.instrument.scope import beam_damage, contamination_film, imaging_requests, incremental_imaging, readout, scan_pass, spectrometers
from stemtwin.twin.instrument.scope.dose_log import LoggedPasses
from stemtwin.twin.instrument.scope.dose_map import deposits, spacing_angstrom
from stemtwin.twin.instrument.scope.scan_pass import ScanPass
from stemtwin.twin.instrument.scope.setup import Setup
from stemtwin.twin.instrument.scope.spectrometers import Spectral, Spectrometers
from stemtwin.twin.instrument.scope.state import Room, ScanField, ScopeState
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import diffraction_patterns, results, simulate
from stemtwin.twin.instrument.simulation.diffraction_patterns import Patterns, plan_patterns
from stemtwin.twin.instrument.simulation.plan import Plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.instrument.timing import estimate_duration_s, scan_timing
from stemtwin.twin.physics.camera import expose
from stemtwin.twin.physics.noise import electrons_per_point
from stemtwin.twin.progress import Progress

LEAST_SIDE = 1.0
"""A field is taken to be at least so wide, A: a parked beam is no point."""
NOTHING = AnnularDetector(inner_mrad=0.0, outer_mrad=1.0, name="nothing")
"""Stands in a request for spectra alone, and is not computed."""
LEAST_DWELL_US = 1e-3
"""Shortest time at a point, us: no scan generator is quicker than a nanosecond."""
MOST_ELECTRONS = 1e9
"""Electrons at one point that the counters hold."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CheckedAcquisition:
    """An acquisition that was checked: nothing has been done yet.

    Parameters
    ----------
    request : Request
        Specimen, beam at the start, nominal scan, detectors.
    plan : Plan, optional
        How signals are computed; None where there are only a camera and spectra.
    room : Room, optional
        In which window, there.
    patterns : Patterns, optional
        How the patterns of a camera are computed, where there is one.
    spectra : Spectrometers, optional
        What takes spectra, where something does.
    dwell_time_us : float
        Time at each point, us.
    frames : int
        Number of passes.
    electrons_per_point : float
        Nominal number of electrons at one point in one pass; 0 with the beam blanked.
    pass_s : float
        Time that one pass takes, about (lines may have to wait for the mains), s.
    blanks_pauses : bool
        Whether the beam is off between lines.
    """

    request: Request
    plan: Plan | None
    room: Room | None
    patterns: Patterns | None
    spectra: Spectrometers | None
    dwell_time_us: float
    frames: int
    electrons_per_point: float
    pass_s: float
    blanks_pauses: bool

    @property
    def cost(self) -> dict[str, float]:
        """Time (s), electrons (those of the pauses too), and the nominal dose of the field (e-/A^2): electrons at its points over its area."""
        count, (height, width) = self.request.scan.count, self.request.scan.field_of_view_angstrom
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
    detectors: Sequence[str | AnyDetector | Spectral] | str | AnyDetector | Spectral = ("haadf",),
) -> CheckedAcquisition:
    """Check an acquisition.

    Raises
    ------
    StemtwinError
        It cannot be carried out.
    """
    profile = setup.profile
    dwell = profile.dwell_time_us if dwell_time_us is None else dwell_time_us
    spectra, others = spectrometers.split(setup, state, detectors)
    alone = spectra is not None and not others  # the scan's generator is not in the way of a spectrum
    longest = max(profile.max_dwell_time_us, spectrometers.LONGEST_DWELL_US) if alone else profile.max_dwell_time_us
    dwell = checks.number("dwell_time_us", dwell, "us", low=LEAST_DWELL_US, high=longest, repair="It is given in microseconds.")
    frames = checks.whole("frames", frames, low=1, high=10_000)
    _within_reach(profile, scan)
    incident = electrons_per_point(state.knobs.current_pa, dwell * 1e-6)
    if incident > MOST_ELECTRONS:
        message = (
            f"{incident:.3g} electrons at each point overflow the counters ({MOST_ELECTRONS:g}). Use a shorter dwell_time_us or less current_pa."
        )
        raise InstrumentError(message)
    request = imaging_requests.request(setup, state, scan, (NOTHING,) if alone else others)
    if spectra is not None:
        spectrometers.check(spectra, state.specimen, scan, frames)
        spectra = replace(spectra, window_angstrom=imaging_requests.window_angstrom(setup, request))
    rest = () if alone else tuple(d for d in request.detectors if d not in detector_floor.cameras(request.detectors))
    camera = None if alone or len(rest) == len(request.detectors) else plan_patterns(replace(request, engine="auto"))
    request = replace(request, detectors=rest) if rest else request
    plan, room = imaging_requests.settle(setup, state, request) if rest else (None, state.room)
    return CheckedAcquisition(
        request=request,
        plan=plan,
        room=room,
        patterns=camera,
        spectra=spectra,
        dwell_time_us=dwell,
        frames=frames,
        electrons_per_point=0.0 if state.knobs.blanked else incident,
        pass_s=estimate_duration_s(scan, dwell_time_us=dwell, flyback_us=profile.flyback_us, settle_us=profile.settle_us),
        blanks_pauses=profile.blanks_pauses,
    )


def _within_reach(profile: Profile, scan: object) -> None:
    """Refuse a scan of places that the stage's holder does not have; what is no scan is refused elsewhere."""
    if not isinstance(scan, Scan):
        return
    (x, y), size = scan.centre_angstrom, math.hypot(*scan.field_of_view_angstrom) / 2
    reach = profile.stage.reach
    if abs(x) + size <= reach.x_angstrom and abs(y) + size <= reach.y_angstrom:
        return
    far = np.abs(scan.points()).max(axis=0)
    if far[0] > reach.x_angstrom or far[1] > reach.y_angstrom:
        message = (
            f"The scan goes {far[0]:.4g} A along x and {far[1]:.4g} A along y from the middle of the holder, which ends at {reach.x_angstrom:g} and "
            f"{reach.y_angstrom:g} A. Use a smaller field, or an origin nearer to (0, 0)."
        )
        raise InstrumentError(message)


def acquire(
    setup: Setup, state: ScopeState, asked: CheckedAcquisition, *, average: bool = False, progress: Progress | None = None
) -> tuple[xr.Dataset, ScopeState]:
    """Carry out an order.

    Parameters
    ----------
    setup, state : Setup, ScopeState
        The microscope before.
    asked : CheckedAcquisition
        From :func:`order`, for this very setup and state.
    average : bool
        Return the mean of all passes instead of each.
    progress : callable, optional
        Called with the number of waves that were just done while an imaging operator is built.

    Returns
    -------
    tuple
        The frames, and the state after.
    """
    scan, seen = asked.request.scan, None
    after = replace(state, scanned=_scanned(state, scan), room=asked.room)
    frames, cubes, lines, how, error = [], [], [], {}, np.empty(0)
    for _ in range(asked.frames):
        timing = scan_timing(
            scan,
            dwell_time_us=asked.dwell_time_us,
            flyback_us=setup.profile.flyback_us,
            settle_us=setup.profile.settle_us,
            start_s=after.time_s,
            synchronise_hz=setup.profile.imperfections.synchronise_hz,
        )
        shot = scan_pass.expose(setup, after, scan, timing)
        beam = setup.beam(after, after.time_s + timing.duration_s / 2)
        if asked.plan is not None:
            if seen is None or not shot.straight or seen != (beam, True):
                signals, error, lineage = _signals(setup, after, asked, asked.plan, shot, beam, progress)
                after, seen = replace(after, lineage=lineage), (beam, shot.straight)
            behind = contamination_film.behind_film(after, asked.plan.detectors, beam, shot, signals)
            frames.append(scan.frame(readout.read(setup, after, asked.plan.detectors, behind, shot)))
        if asked.patterns is not None:
            cubes.append(_patterns(setup, after, asked.patterns, shot, beam, progress))
        if asked.spectra is not None:
            line, how = spectrometers.take(setup, after, asked.spectra, asked.request, shot, beam, progress)
            lines.append(line)
        before, after = after.specimen, beam_damage.after_pass(setup, _exposed(setup, after, shot), shot)
        if after.specimen is not before:
            asked, seen = _renewed(setup, after, asked), None
    variables, coordinates = {}, results.coordinates(scan)
    if asked.plan is not None:
        variables = results.variables(asked.request, asked.plan, _together(frames, average=average), error, {})
        for name, attrs in readout.describe(setup.profile, state.knobs, asked.plan.detectors).items():
            variables[name][2].update(attrs)
    if asked.patterns is not None:
        variables |= _cube(asked.patterns, _together(cubes, average=average))
        coordinates |= diffraction_patterns.angles(asked.patterns.camera)
    if asked.spectra is not None:
        counts = {name: _together([line[name] for line in lines], average=average) for name in lines[0]}
        found, axes = spectrometers.variables(asked.spectra, scan, counts, how)
        variables, coordinates = variables | found, coordinates | axes
    return xr.Dataset(variables, coordinates, _attributes(setup, state, after, asked)), after


def _together(passes: list[np.ndarray], *, average: bool) -> np.ndarray:
    """Return passes as one array, with a dimension for them first where there are several."""
    if average:
        return np.asarray(np.mean(passes, axis=0, dtype=np.float32))
    return np.stack(passes) if len(passes) > 1 else passes[0]


def _scanned(state: ScopeState, scan: Scan) -> ScanField:
    if state.scanned is None:
        return ScanField(centre_angstrom=scan.centre_angstrom, field_of_view_angstrom=scan.field_of_view_angstrom)
    return state.scanned.changed(scan, state.time_s)


def _renewed(setup: Setup, state: ScopeState, asked: CheckedAcquisition) -> CheckedAcquisition:
    """Return an order for a specimen that has changed in between."""
    phonons = imaging_requests.thermal_setting(setup, state)
    request = replace(asked.request, sample=state.specimen, phonons=phonons)
    plan = None if asked.plan is None or asked.room is None else imaging_requests.plan(setup, request, asked.room.window_angstrom)
    found = asked.patterns
    if found is not None:
        changed = {"sample": state.specimen, "phonons": phonons}
        found = plan_patterns(replace(found.request, detectors=(found.camera,), engine="auto", **changed))
    return replace(asked, request=request, plan=plan, patterns=found)


def _signals(
    setup: Setup, state: ScopeState, asked: CheckedAcquisition, plan: Plan, shot: ScanPass, beam: Beam, progress: Progress | None
) -> tuple[np.ndarray, np.ndarray, incremental_imaging.Lineage]:
    """Return expected signals in visiting order, (channels, n), their relative standard errors, (channels,), and the lineage with this image."""
    request = replace(asked.request, beam=beam)
    if not shot.straight:
        request = replace(request, scan=PathScan(positions_angstrom=shot.points))
    if setup.damage is not None and plan.engine == "local":
        values, error, lineage = incremental_imaging.follower(setup).expected(state.lineage, request, plan, progress)
    else:
        values, error, _ = simulate.expected(request, plan, progress=progress)
        lineage = state.lineage
    return values.reshape(len(values), -1)[:, request.scan.order()], error, lineage


def _patterns(setup: Setup, state: ScopeState, found: Patterns, shot: ScanPass, beam: Beam, progress: Progress | None) -> np.ndarray:
    """Return what a camera counts in one pass, like the scan, shape (..., ky, kx); where a sparse scan was not, nothing."""
    scan, camera = shot.scan, found.camera
    expected = diffraction_patterns.expected_patterns(replace(found, request=replace(found.request, beam=beam)), shot.points, progress=progress)
    expected = contamination_film.patterns_behind_film(state, camera, beam, shot, expected)
    rng = setup.rng("camera", state.frames)
    counts = expose(expected, shot.incident[:, None, None], response(camera, shot.timing.dwell_s * 1e6), defects(camera), rng)
    out = np.zeros((math.prod(scan.shape), *counts.shape[1:]), counts.dtype)
    out[scan.order()] = counts
    return out.reshape(*scan.shape, *counts.shape[1:])


def _cube(found: Patterns, counts: np.ndarray) -> dict[str, tuple[tuple[str, ...], np.ndarray, dict[str, Any]]]:
    """Return the variable of a camera's counts."""
    dims = (*found.request.scan.dims, "ky", "kx")
    attrs = diffraction_patterns.variable_attrs(found) | {"units": "counts", "long_name": "counts of each pixel"}
    return {found.camera.name: (("frame", *dims) if counts.ndim > len(dims) else dims, counts, attrs)}


def _exposed(setup: Setup, state: ScopeState, shot: ScanPass) -> ScopeState:
    """Return the state after one pass: time has passed, electrons went through the specimen, in the pauses too unless they are blanked."""
    timing, dark = shot.timing, state.knobs.blanked or setup.profile.blanks_pauses
    after = replace(state, frames=state.frames + 1, time_s=state.time_s + timing.duration_s)
    if state.knobs.blanked:
        return after
    spacing = spacing_angstrom(shot.scan)
    where, many = deposits(shot.points, timing, shot.incident, blanked=dark)
    stage = state.stage.readback
    (x, y), each = state.knobs.beam_shift_angstrom, electrons_per_point(state.knobs.current_pa, timing.dwell_s)
    sent = LoggedPasses(scan=shot.scan, timing=timing, shift=(x - stage.x_angstrom, y - stage.y_angstrom), dark=dark, electrons=each)
    return replace(
        after,
        beam_s=state.beam_s + (timing.count * timing.dwell_s if dark else timing.duration_s),
        electrons=state.electrons + float(many.sum()),
        dose=state.dose.add(where, many, spacing_angstrom=spacing),
        sent=state.sent.add(sent),
    )


def _attributes(setup: Setup, before: ScopeState, after: ScopeState, asked: CheckedAcquisition) -> dict[str, Any]:
    """Return what the operator may know: nothing of the truth."""
    request, plan = asked.request, asked.plan if asked.patterns is None else asked.patterns.plan
    spectra = {} if asked.spectra is None else {"spectra": spectrometers.settings(asked.spectra)}
    known = {
        "title": "acquired STEM frames",
        **results.visible(request, plan),
        "instrument": setup.profile.name,
        "time_s": before.time_s,
        "current_pa": before.knobs.current_pa,
        "dwell_time_us": asked.dwell_time_us,
        "electrons_per_point": asked.electrons_per_point,
        "frames": asked.frames,
        "duration_s": after.time_s - before.time_s,
        "stage": [float(v) for v in before.stage.readback.array()],
        "stemtwin_settings": json.dumps({**results.visible_settings(request, plan), **spectra, "knobs": asdict(before.knobs)}),
    }
    if isinstance(request.scan, RasterScan):
        known["dose_e_per_angstrom2"] = asked.frames * asked.electrons_per_point * request.scan.count / math.prod(request.scan.field_of_view_angstrom)
    return known
