"""Bare frames, which contain only readings and clock time, for environments that acquire thousands of frames.

They have no dose map, dose log or Dataset. Their readings are bit-identical to those of ``Microscope.acquire`` for the
same setup, state and probe window.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stemtwin.twin.errors import InstrumentError
from stemtwin.twin.instrument.detectors import AnyDetector, Detector
from stemtwin.twin.instrument.scan import RasterScan, Scan
from stemtwin.twin.instrument.scope import imaging_requests, readout, scan_pass
from stemtwin.twin.instrument.scope.scan_pass import ScanPass
from stemtwin.twin.instrument.scope.setup import Setup
from stemtwin.twin.instrument.scope.state import ScanField, ScopeState
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import operator_cache
from stemtwin.twin.instrument.simulation.engines import operator
from stemtwin.twin.instrument.simulation.plan import Plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.instrument.simulation.scan_signals import is_summed, lattices
from stemtwin.twin.instrument.timing import scan_timing
from stemtwin.twin.physics.engine.kernels import threads
from stemtwin.twin.physics.engine.operator.imaging_operator import ImageCoefficients, ImagingOperator
from stemtwin.twin.progress import Progress

STATES_AT_ONCE = 8
"""Number of frames that one thread computes at a time."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImagingPlan:
    """Common plan of all frames of one specimen, instrument and selection of detectors.

    Parameters
    ----------
    request : Request
        Request with the specimen, the detectors, the convergence and the thermal motion.
    plan : Plan
        Plan of the computation of the signals, in a probe window of fixed width.
    """

    request: Request
    plan: Plan

    @property
    def detectors(self) -> tuple[Detector, ...]:
        """Detectors with their angles."""
        return self.plan.detectors

    def operator(self, progress: Progress | None = None) -> ImagingOperator:
        """Return the imaging operator, which is built in seconds unless it is cached."""
        return operator_cache.operator_for(self.request, self.plan, progress=progress)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AskedFrame:
    """Request of one frame.

    Parameters
    ----------
    operator : ImagingOperator
        Imaging operator with the channels of ``detectors``.
    detectors : tuple of Detector
        The detectors.
    setup, state : Setup, ScopeState
        The microscope, whose specimen the beam does not change.
    scan : Scan
        Commanded scan.
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
    """Acquired frame without dose map and dose log.

    Parameters
    ----------
    readings : ndarray
        Readings in electrons or ADU, shape (channels, ny, nx).
    beam : Beam
        True beam in the middle of the frame.
    state : ScopeState
        State after the frame. The frame is included in the clock, in the time with the beam on and in the number of
        frames, but not in the dose map and the dose log.
    """

    readings: np.ndarray
    beam: Beam
    state: ScopeState


def imaging_plan(setup: Setup, state: ScopeState, scan: Scan, detectors: Sequence[str | AnyDetector]) -> ImagingPlan:
    """Return the plan of images in a window that is at least as wide as the probe and as ``Setup.window_angstrom``.

    Raises
    ------
    InstrumentError
        The specimen changes under the beam, or the images need an engine other than the imaging operator.
    StemtwinError
        The images cannot be computed.
    """
    request = imaging_requests.request(setup, state, scan, detectors)
    plan, _ = imaging_requests.settle(setup, state, request)
    if setup.damage is not None or plan.engine != operator.NAME:
        message = (
            f"damage={setup.damage} and engine {plan.engine!r} do not allow bare frames. Use damage=None and engine={operator.NAME!r}, or acquire()."
        )
        raise InstrumentError(message)
    return ImagingPlan(request=request, plan=plan)


def take(shots: Sequence[AskedFrame]) -> list[BareFrame]:
    """Acquire one frame with each of several microscopes, in parallel threads.

    The frames are bit-identical to frames that are taken one after the other.
    """
    states = [replace(shot.state, scanned=_scanned(shot)) for shot in shots]
    passes = [_expose(shot, state) for shot, state in zip(shots, states, strict=True)]
    found: list[BareFrame] = [None] * len(shots)  # type: ignore[list-item] - filled below

    def work(queue: Iterator[list[int]]) -> None:
        for part in queue:
            taken = _taken([shots[i] for i in part], [states[i] for i in part], [passes[i] for i in part])
            for i, frame in zip(part, taken, strict=True):
                found[i] = frame

    threads.spread(work, _alike(shots), threads=None if len(shots) > 1 else 1)
    return found


def _alike(shots: Sequence[AskedFrame]) -> list[list[int]]:
    """Return groups of indices of frames with one operator, convergence, focal spread and number of points."""
    groups: dict[tuple[int, float, float, int], list[int]] = {}
    for i, shot in enumerate(shots):
        knobs = shot.state.knobs
        groups.setdefault((id(shot.operator), knobs.semiangle_mrad, knobs.focal_spread_angstrom, shot.scan.count), []).append(i)
    return [group[start : start + STATES_AT_ONCE] for group in groups.values() for start in range(0, len(group), STATES_AT_ONCE)]


def _taken(shots: Sequence[AskedFrame], states: Sequence[ScopeState], passes: Sequence[ScanPass]) -> list[BareFrame]:
    """Return the frames of one operator, convergence, focal spread and number of points."""
    signals = _signals(shots, passes)
    setups, detectors = [shot.setup for shot in shots], [shot.detectors for shot in shots]
    readings = readout.read_together(setups, states, detectors, signals, passes)
    return [
        BareFrame(readings=shot.scan.frame(seen), beam=one.beam, state=scan_pass.after(shot.setup, state, one))
        for shot, state, one, seen in zip(shots, states, passes, readings, strict=True)
    ]


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


def _signals(shots: Sequence[AskedFrame], passes: Sequence[ScanPass]) -> np.ndarray:
    """Return the expected fractions of the beam in visiting order, float32, shape (passes, channels, points)."""
    beams = [one.beam for one in passes]
    images = shots[0].operator.images(
        [beam.aberrations for beam in beams],
        semiangle=beams[0].semiangle_rad,
        source_size=[beam.source_size_angstrom for beam in beams],
        focal_spread=beams[0].focal_spread_angstrom,
    )
    ways = [_way(shot, one, images) for shot, one in zip(shots, passes, strict=True)]
    if len(set(ways)) == 1:
        return _READ[ways[0][0]](images, [shot.scan for shot in shots], passes)
    out = np.empty((len(shots), images.coefficients.shape[1], shots[0].scan.count), np.float32)
    for way in set(ways):
        here = [i for i, found in enumerate(ways) if found == way]
        some = ImageCoefficients(coefficients=images.coefficients[here], extent=images.extent)
        out[here] = _READ[way[0]](some, [shots[i].scan for i in here], [passes[i] for i in here])
    return out


def _way(shot: AskedFrame, one: ScanPass, images: ImageCoefficients) -> tuple[str, tuple[int, ...]]:
    """Return the method of ``scan_signals.scanned`` for a frame, and the common shape of frames of one reading."""
    scan = shot.scan
    if not one.straight or (scan.axes() is None and not (shot.setup.rotated == "series" and is_summed(images, scan))):
        return "points", ()
    return ("rotated" if scan.axes() is None else "straight"), scan.shape


def _at_points(images: ImageCoefficients, scans: Sequence[Any], passes: Sequence[ScanPass]) -> np.ndarray:
    del scans
    return images.at_own(np.stack([one.points for one in passes]))


def _on_straight(images: ImageCoefficients, scans: Sequence[Any], passes: Sequence[ScanPass]) -> np.ndarray:
    del passes
    y, x = (np.stack(each) for each in zip(*(scan.axes() for scan in scans), strict=True))
    return _visited(images.own_rasters(y, x), scans)


def _on_rotated(images: ImageCoefficients, scans: Sequence[Any], passes: Sequence[ScanPass]) -> np.ndarray:
    del passes
    return _visited(images.own_rotated_rasters(lattices(scans), scans[0].shape), scans)


def _visited(frames: np.ndarray, scans: Sequence[Any]) -> np.ndarray:
    """Return frames in visiting order, shape (frames, channels, points)."""
    flat = frames.reshape(*frames.shape[:2], -1)
    if all(type(scan) is RasterScan for scan in scans):  # a raster visits its points in their order
        return flat
    return np.stack([one[:, scan.order()] for one, scan in zip(flat, scans, strict=True)])


_READ = {"points": _at_points, "straight": _on_straight, "rotated": _on_rotated}
