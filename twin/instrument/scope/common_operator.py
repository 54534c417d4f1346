"""Common imaging operator for several camera lengths and convergence semi-angles of a microscope.

For each pair of a camera length and a semi-angle, the operator has one set of channels: those of the detectors with
their angles at this camera length and this semi-angle. The operator is built for the largest semi-angle and is exact
for smaller semi-angles. The width of its window is always ``Setup.window_angstrom``, so a wider probe overlaps with
itself. The operator applies only to periodic specimens that are not tilted and do not change. All other acquisitions
have their own operators.
"""

import functools
from dataclasses import dataclass, replace

import numpy as np

from stemtwin.twin.instrument.detectors import USUAL_OUTER_MRAD, Detector, made
from stemtwin.twin.instrument.hardware.profiles import Profile
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.scope import imaging_requests, knobs
from stemtwin.twin.instrument.scope.setup import CommonOperator, Setup
from stemtwin.twin.instrument.scope.state import Room, ScopeState
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import operator_cache
from stemtwin.twin.instrument.simulation.discretisation import LEAST_WINDOW
from stemtwin.twin.instrument.simulation.engines import operator
from stemtwin.twin.instrument.simulation.plan import Plan, make_plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics.engine.operator.beam_blocks import window_blocks
from stemtwin.twin.physics.engine.operator.imaging_operator import ImagingOperator
from stemtwin.twin.progress import Progress
from stemtwin.twin.samples.sample import Sample

Rings = tuple[Detector, ...]
PARTS = 24
"""Number of cached parts of operators, with their matrices damped by the focal spread."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WholeOperator:
    """Description of a common operator before it is built.

    Parameters
    ----------
    request : Request
        Request with the specimen, the largest semi-angle, and all detectors at all camera lengths.
    plan : Plan
        Plan of the computation.
    rings : dict
        Detectors by camera length (mm) and semi-angle (mrad).
    starts : dict
        Index of the first channel of each set of detectors in ``rings``.
    """

    request: Request
    plan: Plan
    rings: dict[tuple[float, float], Rings]
    starts: dict[Rings, int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OperatorPart:
    """Channels of a common operator for one camera length and one semi-angle.

    Parameters
    ----------
    whole : WholeOperator
        The common operator.
    plan : Plan
        Plan of the common operator, in which the detectors are replaced by those of this camera length and semi-angle.
    first : int
        Index of the first channel of this part in the common operator.
    room : Room
        Window of the common operator.
    """

    whole: WholeOperator
    plan: Plan
    first: int
    room: Room

    def expected(self, request: Request, progress: Progress | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the expected signals of a request and their relative standard errors.

        The signals have one array, shaped like the scan, for each channel. The errors have the shape (channels,).
        """
        channels = sum(detector.channels for detector in self.plan.detectors)
        built = operator_cache.operator_for(self.whole.request, self.whole.plan, progress=progress)
        found = _channels(built, self.first, self.first + channels)
        return operator.image_signals(found, request), found.standard_error


def part(setup: Setup, state: ScopeState, request: Request, detectors: object) -> OperatorPart | None:
    """Return the part of the common operator for a request, or None if the operator does not apply.

    Parameters
    ----------
    setup, state : Setup, ScopeState
        The microscope.
    request : Request
        The request of an acquisition.
    detectors : sequence
        Requested detectors.
    """
    common, at = setup.common, (state.knobs.camera_length_mm, state.knobs.semiangle_mrad)
    if common is None or not isinstance(request.sample, Sample) or not request.sample.periodic or setup.damage is not None:
        return None
    tilted = any(request.tilt_mrad) or any(request.beam.beam_tilt_mrad)
    if detectors != common.detectors or at[0] not in common.camera_lengths_mm or at[1] not in common.semiangles_mrad or tilted:
        return None
    found = whole(setup, request.sample, request.beam.energy_ev)
    rings = found.rings[at]
    room = Room(window_angstrom=setup.window_angstrom, since_s=0.0)
    return OperatorPart(whole=found, plan=replace(found.plan, detectors=rings), first=found.starts[rings], room=room)


def build(setup: Setup, sample: Sample, progress: Progress | None = None) -> ImagingOperator:
    """Return the common operator of a microscope and a specimen. A cached operator is reused; otherwise it is built."""
    found = whole(setup, sample, setup.profile.energy_ev)
    return operator_cache.operator_for(found.request, found.plan, progress=progress)


def whole(setup: Setup, sample: Sample, energy_ev: float) -> WholeOperator:
    """Return the description of the common operator of a microscope and a specimen.

    Raises
    ------
    StemtwinError
        The operator cannot be computed.
    """
    assert setup.common is not None
    profile, motion = setup.profile, (setup.phonons, imaging_requests.average_setting(setup))
    places = (profile.detectors, profile.camera_length_mm, profile.largest_detector_mm, profile.name)
    return _whole(setup.common, sample, energy_ev, motion, setup.thermal_seed, setup.window_angstrom, places)


@functools.lru_cache(maxsize=16)
def _whole(
    common: CommonOperator, sample: Sample, energy_ev: float, motion: tuple[int | str, bool | str], seed: int, window: float, places: tuple
) -> WholeOperator:
    detectors, length, largest, name = places
    profile = Profile(
        name=name,
        energy_ev=energy_ev,
        semiangle_mrad=max(common.semiangles_mrad),
        current_pa=1.0,
        detectors=detectors,
        camera_length_mm=length,
        largest_detector_mm=largest,
    )
    rings = {(length, angle): _rings(common, profile, length, angle) for length in common.camera_lengths_mm for angle in common.semiangles_mrad}
    starts, together = {}, []
    for found in rings.values():
        if found not in starts:
            starts[found] = sum(ring.channels for ring in together)  # type: ignore[attr-defined] - image detectors have channels
            together += [replace(ring, name=f"{ring.name}_{len(starts)}") for ring in found]  # type: ignore[type-var] - detectors are dataclasses
    request = Request(
        sample=sample,
        beam=Beam(energy_ev=energy_ev, semiangle_mrad=max(common.semiangles_mrad)),
        scan=RasterScan(shape=(1, 1), field_of_view_angstrom=sample.size_angstrom),
        detectors=tuple(together),
        phonons=motion[0],
        lattice_average=motion[1],
        seed=seed,
        engine=operator.NAME,
        blocks=window_blocks(sample.size_angstrom, max(window, LEAST_WINDOW)),
    )
    return WholeOperator(request=request, plan=make_plan(request), rings=rings, starts=starts)


def _rings(common: CommonOperator, profile: Profile, length: float, semiangle: float) -> Rings:
    """Return the detectors at a camera length, mm, and a semi-angle, mrad, each with its angles."""
    at = replace(knobs.initial(profile), camera_length_mm=length, semiangle_mrad=semiangle)
    found = imaging_requests.at_camera_length(common.detectors, profile, at)
    named = tuple(profile.detector(ring) or ring if isinstance(ring, str) else ring for ring in found)
    return made(named, semiangle, USUAL_OUTER_MRAD)  # type: ignore[return-value] - image detectors


@functools.lru_cache(maxsize=PARTS)
def _channels(built: ImagingOperator, first: int, end: int) -> ImagingOperator:
    """Return a range of channels of an operator, with matrices that are views."""
    part = slice(first, end)
    return replace(
        built,
        matrices=tuple(each[part] for each in built.matrices),
        diagonals=tuple(each[part] for each in built.diagonals),
        standard_error=built.standard_error[part],
        average=None if built.average is None else built.average.of_channels(part),
        _damped={},
        _apertures={},
    )
