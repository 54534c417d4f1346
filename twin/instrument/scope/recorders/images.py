"""Recorder of scanned images and of their expected signals."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from stemtwin.twin.instrument.detectors import AnyDetector
from stemtwin.twin.instrument.hardware.profiles import Profile
from stemtwin.twin.instrument.scan import PathScan, Scan
from stemtwin.twin.instrument.scope import common_operator, contamination_film, imaging_requests, incremental_imaging, readout
from stemtwin.twin.instrument.scope.common_operator import OperatorPart
from stemtwin.twin.instrument.scope.knobs import Knobs
from stemtwin.twin.instrument.scope.last_pass import Variables
from stemtwin.twin.instrument.scope.recorders.recorder import FRACTION, RECORDERS, Recording
from stemtwin.twin.instrument.scope.scan_pass import ScanPass
from stemtwin.twin.instrument.scope.setup import Setup
from stemtwin.twin.instrument.scope.state import Room, ScopeState
from stemtwin.twin.instrument.simulation import doubtful_physics, results, simulate
from stemtwin.twin.instrument.simulation.engines import local
from stemtwin.twin.instrument.simulation.plan import Plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageSignal:
    """Expected images of one pass.

    Parameters
    ----------
    request : Request
        Request with the specimen, the true beam, the nominal scan and the detectors.
    plan : Plan
        Plan of the images: their engine, and their detectors with angles.
    straight : bool
        Whether the true positions equal the commanded ones.
    bare, values : ndarray
        Signals without and with the contamination film on the specimen, in visiting order, shape (channels, n).
    error : ndarray
        Relative standard errors of the mean over the frozen-phonon configurations, shape (channels,).
    """

    request: Request
    plan: Plan
    straight: bool
    bare: np.ndarray
    values: np.ndarray
    error: np.ndarray

    def variables(self) -> Variables:
        """Return the images as variables of a Dataset, without coordinates."""
        return results.variables(self.request, self.plan, self.request.scan.frame(self.values), self.error, FRACTION), {}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageRecorder:
    """Recorder of scanned images.

    Parameters
    ----------
    request : Request
        Request with the specimen, the beam at the start, the nominal scan and the detectors.
    plan : Plan
        Plan of the signals.
    room : Room
        Window of the computation.
    part : OperatorPart, optional
        Channels of a common operator, if the signals are computed with one.
    """

    request: Request
    plan: Plan
    room: Room
    part: OperatorPart | None = None

    @staticmethod
    def longest_dwell_us(profile: Profile) -> float:
        """Return the longest dwell time of the scan generator, us."""
        return profile.max_dwell_time_us

    @classmethod
    def prepare(cls, setup: Setup, state: ScopeState, scan: Scan, detectors: tuple[str | AnyDetector, ...], frames: int) -> Self:
        """Return the recorder of image detectors; see ``Recorder.prepare``."""
        del frames
        request = imaging_requests.request(setup, state, scan, detectors)
        part = common_operator.part(setup, state, request, detectors)
        if part is not None:
            return cls(request=request, plan=part.plan, room=part.room, part=part)
        plan, room = imaging_requests.settle(setup, state, request)
        return cls(request=request, plan=plan, room=room)

    def renewed(self, setup: Setup, state: ScopeState) -> Self:
        """Return the recorder for the changed specimen of the state. The window in which images are computed keeps its size."""
        request = replace(self.request, sample=state.specimen, phonons=imaging_requests.thermal_setting(setup, state))
        return replace(self, request=request, plan=imaging_requests.plan(setup, request, self.room.window_angstrom))

    def record(
        self, setup: Setup, state: ScopeState, shot: ScanPass, before: ImageSignal | None, progress: Progress | None
    ) -> Recording[ImageSignal]:
        """Return the recording of one pass; a signal that has not changed since the last pass is reused."""
        signal, lineage = before, state.lineage
        if signal is None or not self._is_the_same(signal, shot):
            signal, lineage = self._signal(setup, state, shot, progress)
        height = contamination_film.heights(state, shot)
        signal = replace(signal, values=contamination_film.behind_film(height, self.plan.detectors, shot.beam, signal.bare))
        readings = readout.read(setup, state, self.plan.detectors, signal.values, shot)
        after = replace(state, room=self.room, lineage=lineage)
        return Recording(counts={"readings": shot.scan.frame(readings)}, signal=signal, state=after)

    def _is_the_same(self, signal: ImageSignal, shot: ScanPass) -> bool:
        """Return True if a signal without a film belongs to the specimen, positions and beam of a pass, bit by bit."""
        return signal.plan is self.plan and signal.straight and shot.straight and signal.request.beam == shot.beam

    def _signal(self, setup: Setup, state: ScopeState, shot: ScanPass, progress: Progress | None) -> tuple[ImageSignal, incremental_imaging.Lineage]:
        """Return the expected signal of a pass without a film, and the history with this image."""
        asked = replace(self.request, beam=shot.beam)
        as_it_is = shot.straight and (setup.rotated == "series" or shot.scan.axes() is not None)
        request = asked if as_it_is else replace(asked, scan=PathScan(positions_angstrom=shot.points))
        if self.part is not None:
            values, error, lineage = *self.part.expected(request, progress), state.lineage
        elif setup.damage is not None and self.plan.engine == local.NAME:
            values, error, lineage = incremental_imaging.follower(setup).expected(state.lineage, request, self.plan, progress)
        else:
            values, error, _ = simulate.expected(request, self.plan, progress=progress)
            lineage = state.lineage
        visits = values.reshape(len(values), -1)[:, request.scan.order()]
        return ImageSignal(request=asked, plan=self.plan, straight=shot.straight, bare=visits, values=visits, error=error), lineage

    def variables(self, setup: Setup, knobs: Knobs, counts: dict[str, np.ndarray], signal: ImageSignal) -> Variables:
        """Return the readings as variables of a Dataset, with their conversion to electrons and without coordinates."""
        out = results.variables(self.request, self.plan, counts["readings"], signal.error, {})
        for name, attrs in readout.describe(setup.profile, knobs, self.plan.detectors).items():
            out[name][2].update(attrs)
        return out, {}

    def settings(self) -> dict[str, Any]:
        """Return the settings that the user is allowed to know."""
        return results.visible_settings(self.request, self.plan)

    def notes(self) -> tuple[str, ...]:
        """Return warnings about dark-field images with ``phonons="damped"``."""
        return doubtful_physics.notes(self.request)


RECORDERS.add("image", ImageRecorder)
