"""Simulation requests for the true beam and specimen of a microscope, with their plans and windows."""

import math
from collections.abc import Sequence
from dataclasses import replace

from stemtwin.twin.errors import InstrumentError, SettingsError, StemtwinError
from stemtwin.twin.instrument.detectors import USUAL_OUTER_MRAD, AnyDetector, Detector, checked, made, tags_of
from stemtwin.twin.instrument.hardware.profiles import Profile
from stemtwin.twin.instrument.hardware.random_paths import LARGEST_TIME_S
from stemtwin.twin.instrument.scan import Scan
from stemtwin.twin.instrument.scope.knobs import Knobs
from stemtwin.twin.instrument.scope.setup import Setup
from stemtwin.twin.instrument.scope.state import Room, ScopeState
from stemtwin.twin.instrument.settings import LARGEST_TILT_MRAD, Beam, PotentialSlices
from stemtwin.twin.instrument.simulation.discretisation import LEAST_WINDOW, WINDOW_MARGIN
from stemtwin.twin.instrument.simulation.engines import operator
from stemtwin.twin.instrument.simulation.engines.registry import ENGINES, REIMAGING
from stemtwin.twin.instrument.simulation.plan import PATIENCE, Plan, make_plan
from stemtwin.twin.instrument.simulation.request import AUTO, POINT_GROUP, Request, is_thermal
from stemtwin.twin.physics import aberrations as optics
from stemtwin.twin.samples.sample import Sample

GROWTH = 2.0
"""Least growth of the window after a change of knobs, so one operator serves many further changes."""
RUNGS = tuple(LEAST_WINDOW * math.sqrt(2) ** i for i in range(20))
"""Widths of windows, A, so far apart that a small growth of the probe does not need a new operator."""
FORESEEN_RUNGS = tuple(LEAST_WINDOW * 2 ** (i / 4) for i in range(40))
"""Widths of windows for predicted probes, A."""
AHEAD_S = tuple(60.0 * i for i in range(61))
"""Times for which the probe is predicted, s: an hour in steps of a minute."""
SOON = 16
"""Number of predictions, from the first, in which the probe must fit into an existing window for the window to be reused."""
LEAST_SHARE = 0.4
"""Least fraction of the window that the probe must need; otherwise a smaller window makes images faster again."""


def request(setup: Setup, state: ScopeState, scan: Scan, detectors: Sequence[str | AnyDetector] | str | AnyDetector) -> Request:
    """Return the simulation request for a scan with the present true beam.

    Raises
    ------
    StemtwinError
        A detector is unknown or out of reach, or the specimen is tilted too far.
    """
    return Request(
        sample=state.specimen,
        beam=setup.beam(state, state.time_s),
        scan=scan,
        detectors=at_camera_length(checked(detectors), setup.profile, state.knobs),
        phonons=thermal_setting(setup, state),
        lattice_average=average_setting(setup),
        seed=setup.thermal_seed,
        engine=setup.engine,
        tilt_mrad=tilt_mrad(state),
    )


def tilt_mrad(state: ScopeState) -> tuple[float, float]:
    """Return the true tilt of the specimen (alpha, beta), mrad.

    Raises
    ------
    InstrumentError
        The tilt is too large for the computation.
    """
    tilt = state.stage.true
    if max(abs(tilt.alpha_mrad), abs(tilt.beta_mrad)) > LARGEST_TILT_MRAD:
        told = state.stage.commanded
        message = (
            f"The specimen is tilted to alpha_mrad={told.alpha_mrad:g}, beta_mrad={told.beta_mrad:g}, but images can be computed only up to "
            f"about {LARGEST_TILT_MRAD:g} mrad. Reduce the tilt, or load the sample in another zone axis."
        )
        raise InstrumentError(message)
    return tilt.alpha_mrad, tilt.beta_mrad


def thermal_setting(setup: Setup, state: ScopeState) -> int | str:
    """Return the setting of thermal motion: ``"static"`` if no atom with thermal motion is left, otherwise that of the setup."""
    moved = state.matter is not None and is_thermal(state.matter.origin)
    return "static" if moved and not is_thermal(state.specimen) else setup.phonons


def average_setting(setup: Setup) -> bool | str:
    """Return the setting of the average over a crystal's translations. With beam damage, ``"auto"`` becomes False."""
    return False if setup.damage is not None and setup.lattice_average not in (True, POINT_GROUP) else setup.lattice_average


def at_camera_length(detectors: tuple[str | AnyDetector, ...], profile: Profile, knobs: Knobs) -> tuple[str | AnyDetector, ...]:
    """Return detectors with their angles at the present camera length.

    The instrument's own detectors, given by name, have fixed radii, so their angles are inversely proportional to the
    camera length. Detectors given by their angles, and cameras given as objects, keep their angles. For detectors that
    record images, the radius that follows from the angles must fit into the column.

    Raises
    ------
    InstrumentError
        A detector is larger than the instrument permits at this camera length.
    """
    length, usual = knobs.camera_length_mm, profile.camera_length_mm
    out: list[str | AnyDetector] = []
    for asked in detectors:
        detector = profile.detector(asked) or asked if isinstance(asked, str) else asked
        if isinstance(asked, str) and length != usual:
            (found,) = made((detector,), knobs.semiangle_mrad, USUAL_OUTER_MRAD)
            detector = found.scaled(usual / length)  # type: ignore[attr-defined] - detectors of images and patterns
        if not isinstance(detector, str) and tags_of(detector)[0] == "image":
            _check_radius(detector, profile, length)  # type: ignore[arg-type] - the tag decides
        out.append(detector)
    return tuple(out)


def _check_radius(detector: Detector, profile: Profile, length: float) -> None:
    """Raise InstrumentError for a detector that is larger than the column permits at a camera length, mm."""
    radius, most = detector.outer_mrad * 1e-3 * length, profile.largest_detector_mm
    if radius > most:
        message = (
            f"outer_mrad={detector.outer_mrad:g} of {detector.name} is {radius:.1f} mm from the axis at camera_length_mm={length:g}, "
            f"beyond the limit of {most:g} mm of {profile.name}. Use camera_length_mm <= "
            f"{most / (detector.outer_mrad * 1e-3):.3g} or lower outer_mrad."
        )
        raise InstrumentError(message)


def settle(setup: Setup, state: ScopeState, asked: Request) -> tuple[Plan, Room]:
    """Return the plan and the window for the frames of a request; see :func:`plan`.

    When drift makes the probe larger than its window, a window that suffices for the next hour is chosen. When a change
    of knobs makes the probe larger than its window, a window at least twice as wide as the old one is chosen. Such
    windows avoid repeated builds of imaging operators for slightly larger probes. They are chosen only if their operator
    is built quickly. A window is used until the probe fits into a much smaller window.

    Raises
    ------
    StemtwinError
        The frames cannot be computed.
    """
    needed = _needed(setup, asked.sample.thickness_angstrom, asked.beam)
    usual = _usual(asked.sample, needed)
    ahead = _foreseen(setup, state, asked, needed)
    if ahead is not None:
        try:
            found = plan(setup, asked, ahead.window_angstrom)
        except StemtwinError:  # for example, it needs too much memory
            found = None
        if found is not None and found.engine == operator.NAME and (found.seconds <= PATIENCE or setup.engine != AUTO):
            return found, ahead
    before = 0.0 if state.room is None else state.room.ahead_angstrom
    return plan(setup, asked, usual), Room(window_angstrom=usual, since_s=state.time_s, ahead_angstrom=before)


def _foreseen(setup: Setup, state: ScopeState, asked: Request, needed: float) -> Room | None:
    """Return the last window, a wider window if the probe does not fit into the last one, or None for the usual window."""
    held, unstable = state.room, setup.profile.instabilities
    if held is None or not getattr(asked.sample, "periodic", True):
        return None
    if needed <= held.window_angstrom:
        ahead = held.window_angstrom == held.ahead_angstrom
        least = max(LEAST_SHARE * held.window_angstrom, math.nextafter(held.outgrown_angstrom, math.inf))
        return held if ahead and needed >= least else None

    def at(time_s: float) -> float:
        return _needed(setup, asked.sample.thickness_angstrom, setup.beam(state, min(time_s, LARGEST_TIME_S)))

    strays = bool(unstable.aberrations or unstable.energy_sigma_ev)
    if not strays or at(held.since_s) > held.window_angstrom:  # knobs were changed
        if setup.window_angstrom:
            return None  # a given window is kept unless the probe needs a wider one
        enough = needed <= held.ahead_angstrom
        window = held.ahead_angstrom if enough else _rung(RUNGS, max(needed, GROWTH * held.window_angstrom * (1 - 1e-9)))
        return Room(window_angstrom=window, since_s=state.time_s, ahead_angstrom=window, outgrown_angstrom=held.window_angstrom)
    coming = [at(state.time_s + later) for later in AHEAD_S]
    enough = max(coming[:SOON]) <= held.ahead_angstrom
    window = held.ahead_angstrom if enough else _rung(FORESEEN_RUNGS, max(coming))
    return Room(window_angstrom=window, since_s=state.time_s, ahead_angstrom=window)


def plan(setup: Setup, asked: Request, window: float) -> Plan:
    """Return the plan for the frames of a request.

    The engine ``"auto"`` prefers engines that compute every further image in milliseconds.

    Parameters
    ----------
    setup : Setup
        The microscope.
    asked : Request
        Request of the frames.
    window : float
        Width of the probe window, A.

    Raises
    ------
    StemtwinError
        The frames cannot be computed.
    """
    if setup.engine != AUTO:
        return make_plan(asked, window_angstrom=window)
    dense: Plan | None = None
    refused: SettingsError | None = None
    try:
        dense = make_plan(replace(asked, engine=operator.NAME), window_angstrom=window)
    except SettingsError as error:  # the operator does not fit into memory
        refused = error
    if dense is not None and dense.seconds <= PATIENCE:
        return dense
    try:
        best = make_plan(asked, window_angstrom=window)
    except SettingsError:
        if dense is None:
            raise refused or AssertionError from None
        return dense
    if dense is None or (best.engine != dense.engine and REIMAGING in ENGINES.tags(best.engine)):
        return best
    return dense


def window_angstrom(setup: Setup, sample: Sample | PotentialSlices, beam: Beam) -> float:
    """Return the width of the window for a probe in a specimen, A. For periodic specimens, it is rounded up to a standard width."""
    return _usual(sample, _needed(setup, sample.thickness_angstrom, beam))


def _usual(sample: Sample | PotentialSlices, needed: float) -> float:
    return _rung(RUNGS, needed) if getattr(sample, "periodic", True) else needed


def _needed(setup: Setup, thickness: float, beam: Beam) -> float:
    through = replace(beam.aberrations, C10=beam.aberrations.C10 + thickness)
    radius = max(optics.blur_radius(faces, beam.semiangle_rad) for faces in (beam.aberrations, through))
    return max(setup.window_angstrom, WINDOW_MARGIN + 2 * radius)


def _rung(rungs: Sequence[float], needed: float) -> float:
    return next((rung for rung in rungs if rung >= needed), needed)
