"""Recorder of a camera's diffraction patterns at the points of a scan."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from stemtwin.twin.instrument.detectors import PixelatedDetector
from stemtwin.twin.instrument.hardware.camera_response import defects, response
from stemtwin.twin.instrument.hardware.profiles import Profile
from stemtwin.twin.instrument.scan import Scan
from stemtwin.twin.instrument.scope import contamination_film, imaging_requests
from stemtwin.twin.instrument.scope.knobs import Knobs
from stemtwin.twin.instrument.scope.last_pass import Variables
from stemtwin.twin.instrument.scope.recorders.recorder import FRACTION, RECORDERS, Recording, framed
from stemtwin.twin.instrument.scope.scan_pass import ScanPass
from stemtwin.twin.instrument.scope.setup import Setup
from stemtwin.twin.instrument.scope.state import ScopeState
from stemtwin.twin.instrument.simulation import diffraction_patterns, results
from stemtwin.twin.instrument.simulation.diffraction_patterns import Patterns, plan_patterns
from stemtwin.twin.physics.camera import expose
from stemtwin.twin.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatternSignal:
    """Expected patterns of one pass.

    The patterns are larger than the rest of the state, so they are not stored. Every call of :meth:`patterns` computes
    them again with bit-identical results.

    Parameters
    ----------
    found : Patterns
        Plan of the patterns with the true beam.
    points : ndarray
        True positions on the specimen (x, y), A, in visiting order, shape (n, 2).
    height : ndarray, optional
        Height of the contamination film at these positions, A, shape (n,); None without a film.
    """

    found: Patterns
    points: np.ndarray
    height: np.ndarray | None

    def patterns(self, progress: Progress | None = None) -> np.ndarray:
        """Return the fraction of the beam in each pixel, in visiting order, float32, shape (n, ky, kx)."""
        expected = diffraction_patterns.expected_patterns(self.found, self.points, progress=progress)
        return contamination_film.patterns_behind_film(self.height, self.found.camera, self.found.request.beam, expected)

    def variables(self) -> Variables:
        """Return the patterns as a variable of a Dataset, with the angles of the pixels as coordinates."""
        scan = self.found.request.scan
        return _variables(self.found, framed(scan, self.patterns(), np.nan), FRACTION)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatternRecorder:
    """Recorder of a camera's diffraction patterns.

    Parameters
    ----------
    found : Patterns
        Plan of the patterns, made with the beam as it is when the acquisition starts.
    """

    found: Patterns

    @staticmethod
    def longest_dwell_us(profile: Profile) -> float:
        """Return the longest dwell time of the scan generator, us."""
        return profile.max_dwell_time_us

    @classmethod
    def prepare(cls, setup: Setup, state: ScopeState, scan: Scan, detectors: tuple[str | PixelatedDetector, ...], frames: int) -> Self:
        """Return the recorder of a camera; see ``Recorder.prepare``."""
        del frames
        request = imaging_requests.request(setup, state, scan, detectors)
        return cls(found=plan_patterns(replace(request, engine="auto")))

    def renewed(self, setup: Setup, state: ScopeState) -> Self:
        """Return the recorder for a specimen that has changed."""
        phonons = imaging_requests.thermal_setting(setup, state)
        request = replace(self.found.request, sample=state.specimen, detectors=(self.found.camera,), engine="auto", phonons=phonons)
        return replace(self, found=plan_patterns(request))

    def record(
        self, setup: Setup, state: ScopeState, shot: ScanPass, before: PatternSignal | None, progress: Progress | None
    ) -> Recording[PatternSignal]:
        """Return the recording of one pass."""
        del before
        found = replace(self.found, request=replace(self.found.request, beam=shot.beam))
        signal = PatternSignal(found=found, points=shot.points, height=contamination_film.heights(state, shot))
        camera, rng = found.camera, setup.rng("camera", state.frames)
        seen = response(camera, shot.timing.dwell_s * 1e6)
        counts = expose(signal.patterns(progress), shot.incident[:, None, None], seen, defects(camera), rng)
        return Recording(counts={camera.name: framed(shot.scan, counts)}, signal=signal, state=state)

    def variables(self, setup: Setup, knobs: Knobs, counts: dict[str, np.ndarray], signal: PatternSignal) -> Variables:
        """Return the counts as a variable of a Dataset, with the angles of the pixels as coordinates."""
        del setup, knobs, signal
        return _variables(self.found, counts[self.found.camera.name], {"units": "counts", "long_name": "counts of each pixel"})

    def settings(self) -> dict[str, Any]:
        """Return the settings that the user is allowed to know."""
        return results.visible_settings(self.found.request, self.found.plan)

    def notes(self) -> tuple[str, ...]:
        """Return an empty tuple, because the only warning about doubtful physics concerns dark-field images."""
        return ()


def _variables(found: Patterns, values: np.ndarray, attrs: dict[str, str]) -> Variables:
    """Return the variable of a camera, with a first dimension for several frames, and the angles of its pixels."""
    dims = (*found.request.scan.dims, "ky", "kx")
    dims = ("frame", *dims) if values.ndim > len(dims) else dims
    about = diffraction_patterns.variable_attrs(found) | attrs
    return {found.camera.name: (dims, values, about)}, diffraction_patterns.angles(found.camera)


RECORDERS.add("camera", PatternRecorder)
