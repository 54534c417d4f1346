"""What a microscope looks at: the request that its state makes of a scan and detectors, and how that is computed."""

import math
from collections.abc import Sequence
from dataclasses import replace

from stemtwin.twin.errors import InstrumentError, SettingsError
from stemtwin.twin.instrument import detectors as detector_floor
from stemtwin.twin.instrument.detectors import AnyDetector
from stemtwin.twin.instrument.pixelated import PixelatedDetector
from stemtwin.twin.instrument.plan import LEAST_WINDOW, PATIENCE, WINDOW_MARGIN, Plan, make_plan
from stemtwin.twin.instrument.profiles import Profile
from stemtwin.twin.instrument.request import Request
from stemtwin.twin.instrument.scan import Scan
from stemtwin.twin.instrument.settings import LARGEST_TILT_MRAD
from stemtwin.twin.instrument.setup import Setup
from stemtwin.twin.instrument.state import ScopeState
from stemtwin.twin.physics import aberrations as optics

REIMAGING = ("local", "windows")
"""Engines beside the dense operator that keep what they built for the next image."""
RUNGS = tuple(LEAST_WINDOW * math.sqrt(2) ** i for i in range(20))
"""Windows that operators are built for, A: a probe that grows a little does not need a new one."""


def request(setup: Setup, state: ScopeState, scan: Scan, detectors: Sequence[str | AnyDetector] | str | AnyDetector) -> Request:
    """Return the request of a scan with the beam as it truly is now.

    Raises
    ------
    StemtwinError
        A detector is unknown or out of reach, or the specimen is tilted too far.
    """
    tilt = state.stage.true
    if max(abs(tilt.alpha_mrad), abs(tilt.beta_mrad)) > LARGEST_TILT_MRAD:
        told = state.stage.commanded
        message = (
            f"The specimen was tilted to alpha_mrad={told.alpha_mrad:g}, beta_mrad={told.beta_mrad:g}, and images are computed up to about "
            f"{LARGEST_TILT_MRAD:g} mrad. Tilt it back, or load the sample in another zone axis."
        )
        raise InstrumentError(message)
    return Request(
        sample=state.specimen,
        beam=setup.beam(state, state.time_s),
        scan=scan,
        detectors=at_camera_length(detector_floor.checked(detectors), setup.profile, state),
        phonons=setup.phonons,
        seed=setup.stream_seed("specimen") if setup.specimen_seed is None else setup.specimen_seed,
        engine=setup.engine,
        tilt_mrad=(tilt.alpha_mrad, tilt.beta_mrad),
    )


def at_camera_length(detectors: tuple[str | AnyDetector, ...], profile: Profile, state: ScopeState) -> tuple[str | AnyDetector, ...]:
    """Return detectors with the angles that the camera length gives them.

    The instrument's own detectors (named) have fixed radii: their angles are inversely proportional to the camera length. A detector given by its
    angles keeps them, where its radius fits the instrument; so does a camera that is given.

    Raises
    ------
    InstrumentError
        A detector is larger than the instrument lets it be at this camera length.
    """
    length, usual = state.knobs.camera_length_mm, profile.camera_length_mm
    out: list[str | AnyDetector] = []
    for asked in detectors:
        detector = profile.detector(asked) or asked if isinstance(asked, str) else asked
        if isinstance(asked, str) and length != usual:
            if isinstance(detector, str):
                detector = detector_floor.DETECTORS[detector](state.knobs.semiangle_mrad, detector_floor.USUAL_OUTER_MRAD)
            scaled = _scaled_camera if isinstance(detector, PixelatedDetector) else detector_floor.scaled
            detector = scaled(detector, usual / length)  # type: ignore[arg-type] - each takes its own kind
        if not isinstance(detector, str | PixelatedDetector):
            radius, most = detector.outer_mrad * 1e-3 * length, profile.largest_detector_mm
            if radius > most:
                message = (
                    f"outer_mrad={detector.outer_mrad:g} of {detector.name} is {radius:.1f} mm from the axis at camera_length_mm={length:g}, "
                    f"beyond the {most:g} mm that {profile.name} lets through. Use camera_length_mm <= "
                    f"{most / (detector.outer_mrad * 1e-3):.3g} or lower outer_mrad."
                )
                raise InstrumentError(message)
        out.append(detector)
    return tuple(out)


def _scaled_camera(camera: PixelatedDetector, factor: float) -> PixelatedDetector:
    if camera.camera_length_mm is not None:
        return replace(camera, camera_length_mm=camera.camera_length_mm / factor)
    assert camera.outer_mrad is not None  # one of the two is given
    return replace(camera, outer_mrad=camera.outer_mrad * factor)


def plan(setup: Setup, asked: Request) -> Plan:
    """Return how the frames of a request are computed: where ``engine`` is ``"auto"``, by one that gives every further image in milliseconds.

    Raises
    ------
    StemtwinError
        It cannot be computed.
    """
    window = window_angstrom(setup, asked)
    if setup.engine != "auto":
        return make_plan(asked, window_angstrom=window)
    dense: Plan | None = None
    refused: SettingsError | None = None
    try:
        dense = make_plan(replace(asked, engine="operator"), window_angstrom=window)
    except SettingsError as error:  # it does not fit in memory
        refused = error
    if dense is not None and dense.seconds <= PATIENCE:
        return dense
    try:
        best = make_plan(asked, window_angstrom=window)
    except SettingsError:
        if dense is None:
            raise refused or AssertionError from None
        return dense
    return best if dense is None or best.engine in REIMAGING else dense


def window_angstrom(setup: Setup, asked: Request) -> float:
    """Return the window that the probe needs, A, rounded up: an operator built for it serves while the aberrations stray."""
    beam = asked.beam
    thickness = asked.sample.thickness_angstrom
    through = replace(beam.aberrations, C10=beam.aberrations.C10 + thickness)
    radius = max(optics.blur_radius(state, beam.semiangle_rad) for state in (beam.aberrations, through))
    needed = max(setup.window_angstrom, WINDOW_MARGIN + 2 * radius)
    return next((rung for rung in RUNGS if rung >= needed), needed)
