"""One pass over a scan: times and true positions of the points, numbers of incident electrons, and true aberrations."""

import functools
from dataclasses import dataclass, replace

import numpy as np

from stemtwin.twin.instrument.hardware import scan_distortion
from stemtwin.twin.instrument.scan import RasterScan, Scan
from stemtwin.twin.instrument.scope.setup import Setup
from stemtwin.twin.instrument.scope.state import ScopeState
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.timing import ScanTiming
from stemtwin.twin.physics import noise


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScanPass:
    """One pass over a scan, in visiting order.

    Parameters
    ----------
    scan : Scan
        Commanded scan.
    timing : ScanTiming
        Times on the simulated clock at which the beam visits the points.
    points : ndarray
        True positions (x, y) of the beam on the specimen, A, shape (n, 2).
    incident : ndarray
        Mean number of electrons at each point, shape (n,).
    straight : bool
        Whether the true positions equal the commanded ones to the last bit.
    beam : Beam
        Beam with its true aberrations at half the time of the pass.
    """

    scan: Scan
    timing: ScanTiming
    points: np.ndarray
    incident: np.ndarray
    straight: bool
    beam: Beam


def expose(setup: Setup, state: ScopeState, scan: Scan, timing: ScanTiming) -> ScanPass:
    """Return the true positions, incident electrons and beam of one pass over a scan.

    Parameters
    ----------
    setup, state : Setup, ScopeState
        The microscope.
    scan : Scan
        Commanded scan.
    timing : ScanTiming
        Times on the simulated clock at which the beam visits the points.
    """
    wrong, steady = setup.profile.imperfections, setup.steady_shift(state)
    still, change = steady is not None and not steady.any(), None if state.scanned is None else state.scanned.before
    nominal = _raster_points(scan) if isinstance(scan, RasterScan) else scan.points()
    rng = setup.rng("scan", state.frames) if wrong.line_jitter_angstrom or wrong.line_wander_angstrom else None
    drift = None if still else functools.partial(setup.specimen_shift, state)
    points = scan_distortion.true_positions(scan, timing, wrong, drift, rng, change=change, nominal=nominal)
    lit, instabilities = not state.knobs.blanked, setup.profile.instabilities
    incident = np.broadcast_to(noise.electrons_per_point(state.knobs.current_pa, timing.dwell_s) if lit else 0.0, timing.count)
    if lit and (instabilities.fade or instabilities.flicker):
        incident = incident * setup.course.current_factor(timing.middle_s)
    return ScanPass(
        scan=scan,
        timing=timing,
        points=points,
        incident=incident,
        straight=points is nominal or np.array_equal(points, nominal),
        beam=setup.beam(state, timing.start_s + timing.duration_s / 2),
    )


@functools.lru_cache(maxsize=128)
def _raster_points(scan: RasterScan) -> np.ndarray:
    """Return the cached points of a raster, read-only, as environments repeat the same scan."""
    points = scan.points()
    points.flags.writeable = False
    return points


def after(setup: Setup, state: ScopeState, shot: ScanPass) -> ScopeState:
    """Return the state after one pass.

    The pass changes the number of frames, the clock time, and the total time with the beam on the specimen.
    """
    timing = shot.timing
    lit = timing.count * timing.dwell_s if setup.profile.blanks_pauses else timing.duration_s
    beam = state.beam_s if state.knobs.blanked else state.beam_s + lit
    return replace(state, frames=state.frames + 1, time_s=state.time_s + timing.duration_s, beam_s=beam)
