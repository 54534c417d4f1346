"""A survey of an instrument: every knob is turned, and every signal is measured before and after."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stemtwin.twin.instrument import instabilities
from stemtwin.twin.instrument.chain import DetectorChain
from stemtwin.twin.instrument.knobs import NAMES
from stemtwin.twin.instrument.microscope import Microscope
from stemtwin.twin.instrument.profiles import PROFILES
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.stage import AXES
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import Sample

SIGNALS = ("haadf", "maadf", "abf", "bf", "dpc4")
"""What is measured: detectors by their registry names."""
SHAPE, DWELL_US = (10, 10), 2e4
AMOUNTS = {1: 40.0, 2: 3e3, 3: 3e5, 4: 2e7, 5: 1.5e9}
"""How far an aberration of each order is turned, A."""
TURNED: dict[str, Any] = {
    "energy_ev": 150e3,
    "semiangle_mrad": 15.0,
    "current_pa": 25.0,
    "source_size_angstrom": 0.5,
    "focal_spread_angstrom": 60.0,
    "camera_length_mm": 200.0,
    "beam_tilt_mrad": (5.0, 3.0),
    "beam_shift_angstrom": (0.9, 0.5),
    "gain": dict.fromkeys(SIGNALS, 2.0),
    "offset_adu": dict.fromkeys(SIGNALS, 500.0),
    "blanked": True,
    "phi12": 0.8,
}
"""To what the other knobs are turned."""
STAGE: dict[str, Any] = {"x_angstrom": 1.0, "y_angstrom": 1.0, "z_angstrom": 40.0, "alpha_mrad": 40.0, "beta_mrad": 40.0}
SCAN: dict[str, Any] = {"field_of_view_angstrom": (5.0, 5.0), "origin_angstrom": (0.7, 0.4), "rotation_rad": 0.5}
COUNTING = replace(PROFILES["ideal"], chains=(("", DetectorChain(gain_adu=1e-3, offset_adu=100.0, bits=32)),))
UNSTABLE = replace(PROFILES["ideal"], instabilities=replace(instabilities.TYPICAL, drift_speed_angstrom_per_s=0.02))

Frames = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Turn:
    """One knob, and every signal before and after it was turned: readings, float64, shape of the frame."""

    knob: str
    before: Frames
    after: Frames

    def change(self, signal: str) -> float:
        """Return the rms change of a signal over its mean before."""
        return float(np.sqrt(np.mean((self.after[signal] - self.before[signal]) ** 2)) / self.before[signal].mean())

    def certainty(self, signal: str) -> float:
        """Return the largest change in units of the standard deviation of counting."""
        return float((np.abs(self.after[signal] - self.before[signal]) / np.sqrt(np.maximum(self.before[signal], 1))).max())


def knobs() -> tuple[str, ...]:
    """Return everything that can be turned; one azimuth stands for all."""
    set_by_name = tuple(name for name in NAMES if not name.startswith("phi") or name == "phi12")
    return (*set_by_name, *(f"stage {axis}" for axis in AXES), *(f"scan {name}" for name in SCAN), "dwell_time_us", "correct", "advance_time")


def specimen() -> Sample:
    """Return the specimen of the survey: SrTiO3, two cells thick, at rest."""
    sample = load_sample("srtio3-001", size_angstrom=(3.905, 3.905), thickness_angstrom=7.81, seed=0)
    return replace(sample, thermal_sigma_angstrom=None, recipe="")


def survey(sample: Sample | None = None, *, only: tuple[str, ...] | None = None) -> Iterator[Turn]:
    """Turn one knob after the other on a fresh instrument each, and measure every signal with so many electrons that noise does not matter.

    Parameters
    ----------
    sample : Sample, optional
        The specimen; by default SrTiO3.
    only : tuple of str, optional
        These knobs of :func:`knobs` alone.
    """
    sample = specimen() if sample is None else sample
    scan = RasterScan(shape=SHAPE, field_of_view_angstrom=sample.size_angstrom)
    kept: dict[str, Frames] = {}
    for knob in knobs() if only is None else only:
        profile = COUNTING if knob in ("gain", "offset_adu") else UNSTABLE if knob == "advance_time" else PROFILES["ideal"]
        scope = Microscope(sample, profile, seed=2)
        if knob == "phi12":
            scope.set(C12=AMOUNTS[1])
        key = "phi12" if knob == "phi12" else "advance_time" if profile is UNSTABLE else profile.name + str(profile is COUNTING)
        if key not in kept or profile is UNSTABLE:
            kept[key] = _acquire(scope, scan, DWELL_US)
        scan_after, dwell = turn_knob(knob, scope, scan)
        yield Turn(knob=knob, before=kept[key], after=_acquire(scope, scan_after, dwell))


def turn_knob(knob: str, scope: Microscope, scan: RasterScan) -> tuple[RasterScan, float]:
    """Turn a knob; return the scan and the dwell time (us) to measure with."""
    kind, _, rest = knob.rpartition(" ")
    if kind == "stage":
        way: dict[str, Any] = {rest: STAGE[rest]}
        scope.move_stage(**way)
    elif kind == "scan":
        return replace(scan, **{rest: SCAN[rest]}), DWELL_US
    elif knob == "dwell_time_us":
        return scan, DWELL_US / 2
    elif knob == "advance_time":
        scope.advance_time(600)
    elif knob == "correct":
        scope.correct("C1", 0.0, AMOUNTS[1])
    else:
        scope.set(**{knob: TURNED[knob] if knob in TURNED else AMOUNTS[int(knob[1])]})
    return scan, DWELL_US


def _acquire(scope: Microscope, scan: RasterScan, dwell: float) -> Frames:
    out = scope.acquire(scan, dwell_time_us=dwell, detectors=SIGNALS)
    return {name: out[name].to_numpy().astype(float) for name in SIGNALS}
