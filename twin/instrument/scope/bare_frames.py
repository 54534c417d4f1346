"""Bare frames: the readings of images and the clock, without dose map, ledger and Dataset, for environments that take thousands.

The readings are those of ``Microscope.acquire``, to the last bit, for the same setup, state and window.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stemtwin.twin.errors import InstrumentError
from stemtwin.twin.instrument.detectors import AnyDetector, Detector
from stemtwin.twin.instrument.scan import Scan
from stemtwin.twin.instrument.scope import imaging_requests, readout, scan_pass
from stemtwin.twin.instrument.scope.scan_pass import ScanPass
from stemtwin.twin.instrument.scope.setup import Setup
from stemtwin.twin.instrument.scope.state import ScanField, ScopeState
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import operator_cache
from stemtwin.twin.instrument.simulation.engines import operator
from stemtwin.twin.instrument.simulation.plan import Plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.instrument.timing import scan_timing
from stemtwin.twin.physics.engine.kernels import threads
from stemtwin.twin.physics.engine.operator.imaging_operator import ImageCoefficients, ImagingOperator
from stemtwin.twin.progress import Progress

STATES_AT_ONCE = 16
"""States of the optics whose image coefficients are held at once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImagingPlan:
    """Common part of all frames of one specimen, instrument and choice of detectors.

    Parameters
    ----------
    request : Request
        Specimen, detectors, convergence, thermal motion.
    plan : Plan
        How signals are computed, in a window that stays.
    """

    request: Request
    plan: Plan

    @property
    def detectors(self) -> tuple[Detector, ...]:
        """Detectors with their angles."""
        return self.plan.detectors

    def operator(self, progress: Progress | None = None) -> ImagingOperator:
        """Return the imaging operator, built now (seconds) where neither the process nor the disk holds it."""
        return operator_cache.operator_for(self.request, self.plan, progress=progress)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AskedFrame:
    """One frame to be taken.

    Parameters
    ----------
    operator : ImagingOperator
        Of ``detectors``.
    detectors : tuple of Detector
        The detectors.
    setup, state : Setup, ScopeState
        The microscope; the beam changes nothing in its specimen.
    scan : Scan
        Where the beam is sent.
    dwell_time_us : float
        Time at each point, us.
    """

    operator: ImagingOperator
    detectors: tuple[Detector, ...]
    setup: Setup
    state: ScopeState
    scan: Scan
    dwell_time_us: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BareFrame:
    """A frame as it was taken.

    Parameters
    ----------
    readings : ndarray
        Electrons or ADU, shape (channels, ny, nx).
    beam : Beam
        The true beam in the middle of the frame.
    state : ScopeState
        The microscope after: clock, time with the beam on and number of frames; where electrons went is not recorded.
    """

    readings: np.ndarray
    beam: Beam
    state: ScopeState


def imaging_plan(setup: Setup, state: ScopeState, scan: Scan, detectors: Sequence[str | AnyDetector]) -> ImagingPlan:
    """Return the plan of images, in the window of the setup or, where it is wider, that of the probe.

    Raises
    ------
    InstrumentError
        The specimen changes under the beam, or the images need another engine than the operator.
    StemtwinError
        They cannot be computed.
    """
    request = imaging_requests.request(setup, state, scan, detectors)
    plan, _ = imaging_requests.settle(setup, state, request)
    if setup.damage is not None or plan.engine != operator.NAME:
        message = f"damage={setup.damage} and engine {plan.engine!r} do not allow bare frames. Use none and {operator.NAME!r}, or acquire()."
        raise InstrumentError(message)
    return ImagingPlan(request=request, plan=plan)


def take(shots: Sequence[AskedFrame]) -> list[BareFrame]:
    """Take one frame with each of several microscopes, on several threads; each has the same bits as alone."""
    states = [replace(shot.state, scanned=_scanned(shot)) for shot in shots]
    passes: list[ScanPass] = [None] * len(shots)  # type: ignore[list-item] - filled below
    coefficients: list[np.ndarray] = [None] * len(shots)  # type: ignore[list-item]
    found: list[BareFrame] = [None] * len(shots)  # type: ignore[list-item]

    def expose(queue: Iterator[int]) -> None:
        for i in queue:
            passes[i] = _expose(shots[i], states[i])

    def image(queue: Iterator[list[int]]) -> None:
        for part in queue:
            for i, one in zip(part, _coefficients(shots[part[0]].operator, [passes[i].beam for i in part]), strict=True):
                coefficients[i] = one

    def read(queue: Iterator[int]) -> None:
        for i in queue:
            found[i] = _read(shots[i], states[i], passes[i], coefficients[i])

    many = None if len(shots) > 1 else 1
    threads.spread(expose, range(len(shots)), threads=many)
    threads.spread(image, _alike(shots, passes), threads=many)
    threads.spread(read, range(len(shots)), threads=many)
    return found


def _scanned(shot: AskedFrame) -> ScanField:
    before, scan = shot.state.scanned, shot.scan
    if before is None:
        return ScanField(centre_angstrom=scan.centre_angstrom, field_of_view_angstrom=scan.field_of_view_angstrom)
    return before.changed(scan, shot.state.time_s)


def _expose(shot: AskedFrame, state: ScopeState) -> ScanPass:
    profile = shot.setup.profile
    timing = scan_timing(
        shot.scan,
        dwell_time_us=shot.dwell_time_us,
        flyback_us=profile.flyback_us,
        settle_us=profile.settle_us,
        start_s=state.time_s,
        synchronise_hz=profile.imperfections.synchronise_hz,
    )
    return scan_pass.expose(shot.setup, state, shot.scan, timing)


def _alike(shots: Sequence[AskedFrame], passes: Sequence[ScanPass]) -> list[list[int]]:
    """Return the numbers of frames of one operator, convergence and focal spread together, some at a time."""
    groups: dict[tuple[int, float, float], list[int]] = {}
    for i, (shot, one) in enumerate(zip(shots, passes, strict=True)):
        groups.setdefault((id(shot.operator), one.beam.semiangle_rad, one.beam.focal_spread_angstrom), []).append(i)
    return [group[start : start + STATES_AT_ONCE] for group in groups.values() for start in range(0, len(group), STATES_AT_ONCE)]


def _coefficients(imaging: ImagingOperator, beams: list[Beam]) -> np.ndarray:
    images = imaging.images(
        [beam.aberrations for beam in beams],
        semiangle=beams[0].semiangle_rad,
        source_size=[beam.source_size_angstrom for beam in beams],
        focal_spread=beams[0].focal_spread_angstrom,
    )
    return images.coefficients


def _read(shot: AskedFrame, state: ScopeState, one: ScanPass, coefficients: np.ndarray) -> BareFrame:
    """Return the readings of a pass from the Fourier coefficients of its image, and the state after."""
    image = ImageCoefficients(coefficients=coefficients, extent=shot.operator.grid.extent)
    axes = shot.scan.axes() if one.straight else None
    if axes is None:
        values = image.at(one.points)
    else:
        frame = image.raster(*axes)
        values = frame.reshape(len(frame), -1)[:, shot.scan.order()]
    visits = np.maximum(values, 0)
    readings = readout.read(shot.setup, state, shot.detectors, visits, one)
    return BareFrame(readings=shot.scan.frame(readings), beam=one.beam, state=scan_pass.after(shot.setup, state, one))
