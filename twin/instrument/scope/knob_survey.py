"""Survey of the effect of every knob on every signal, measured before and after a change."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stemtwin.twin.instrument.detectors import PixelatedDetector
from stemtwin.twin.instrument.hardware import drift
from stemtwin.twin.instrument.hardware.profiles import PROFILES
from stemtwin.twin.instrument.hardware.readout_chain import DetectorChain
from stemtwin.twin.instrument.hardware.stage import AXES
from stemtwin.twin.instrument.scan import PathScan, RasterScan
from stemtwin.twin.instrument.scope.knobs import NAMES
from stemtwin.twin.instrument.scope.microscope import Microscope
from stemtwin.twin.instrument.spectra import EDXDetector
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import Sample

IMAGES = ("haadf", "maadf", "abf", "bf", "dpc4")
"""Registry names of the detectors whose images are measured."""
XRAYS = EDXDetector(dispersion_ev=20.0, solid_angle_sr=4 * math.pi)
"""X-ray detector of full solid angle, as two cells emit few X-rays."""
XRAY_FRAMES = 20
LOSSES_EV = (440.0, 600.0)
"""Range of the energy losses, with the edges of titanium and oxygen."""
CAMERAS = (PixelatedDetector(shape=(16, 16), outer_mrad=60.0), PixelatedDetector(shape=(32, 32), outer_mrad=25.0, name="ronchigram"))
"""Cameras with few pixels."""
COUNTED = ("eels", "edx", "pixelated", "ronchigram")
"""Counted signals: spectra and patterns at each point, and Ronchigrams of a parked beam."""
SIGNALS = (*IMAGES, *COUNTED)
"""Measured signals."""
SHAPE, FEW = (10, 10), (4, 4)
"""Numbers of points of an image, and of spectra and patterns."""
DWELL_US = {"images": 2e4, "eels": 2e6, "edx": 2e6, "pixelated": 1e5, "ronchigram": 1e5}
"""Dwell time of each kind of signal, us."""
SURE = 5.0
"""Significance limit, in standard deviations."""
AMOUNTS = {1: 40.0, 2: 3e3, 3: 3e5, 4: 2e7, 5: 1.5e9}
"""Change of an aberration of each order, A."""
TURNED: dict[str, Any] = {
    "energy_ev": 150e3,
    "semiangle_mrad": 15.0,
    "current_pa": 25.0,
    "source_size_angstrom": 0.5,
    "focal_spread_angstrom": 60.0,
    "camera_length_mm": 200.0,
    "beam_tilt_mrad": (12.0, 8.0),
    "beam_shift_angstrom": (0.9, 0.5),
    "gain": dict.fromkeys(IMAGES, 2.0),
    "offset_adu": dict.fromkeys(IMAGES, 500.0),
    "blanked": True,
    "phi12": 0.8,
}
"""Values of the other knobs after the change."""
STAGE: dict[str, Any] = {"x_angstrom": 1.0, "y_angstrom": 1.0, "z_angstrom": 40.0, "alpha_mrad": 40.0, "beta_mrad": 40.0}
SCAN: dict[str, Any] = {"field_of_view_angstrom": (5.0, 5.0), "origin_angstrom": (0.7, 0.4), "rotation_rad": 0.5}
IDEAL = replace(PROFILES["ideal"], detectors=CAMERAS)
REGION = (2, 3), (5, 5)
"""First pixel and shape of a region of the scan. The changed scan covers this region with the same number of points."""
COUNTING = replace(IDEAL, chains=(("", DetectorChain(gain_adu=1e-3, offset_adu=100.0, bits=32)),))
UNSTABLE = replace(IDEAL, instabilities=replace(drift.TYPICAL, drift_speed_angstrom_per_s=0.02))

Frames = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Turn:
    """Readings of all signals before and after the change of one knob.

    The readings are float64 arrays by signal, shaped like the frame or the patterns.
    """

    knob: str
    before: Frames
    after: Frames

    def change(self, signal: str) -> float:
        """Return the root-mean-square change of a signal, relative to its mean before the change.

        For spectra, patterns and Ronchigrams, the variance of the counting noise is subtracted.
        """
        square = np.mean((self.after[signal] - self.before[signal]) ** 2)
        if signal in COUNTED:
            square = max(square - np.mean(self.after[signal] + self.before[signal]), 0.0)
        return float(np.sqrt(square) / self.before[signal].mean())

    def certainty(self, signal: str) -> float:
        """Return the significance of the change of a signal, as a number of standard deviations.

        For images, it is the largest change of a pixel, divided by the standard deviation of its counts. For spectra, patterns
        and Ronchigrams, it is the excess of chi squared over its expectation, divided by the standard deviation of chi squared.
        """
        if signal in COUNTED:
            many = self.before[signal] + self.after[signal]
            chi = (self.after[signal] - self.before[signal])[many > 10] ** 2 / many[many > 10]
            return float((chi.sum() - chi.size) / math.sqrt(2 * chi.size))
        return float((np.abs(self.after[signal] - self.before[signal]) / np.sqrt(np.maximum(self.before[signal], 1))).max())

    def reaches(self, signal: str) -> bool:
        """Return True if the change of a signal is significant."""
        return self.certainty(signal) > SURE


def knobs() -> tuple[str, ...]:
    """Return the names of all knobs. Of the azimuths of aberrations, only ``phi12`` is included."""
    set_by_name = tuple(name for name in NAMES if not name.startswith("phi") or name == "phi12")
    return (
        *set_by_name,
        *(f"stage {axis}" for axis in AXES),
        *(f"scan {name}" for name in SCAN),
        "scan region",
        "dwell_time_us",
        "correct",
        "advance_time",
    )


def specimen() -> Sample:
    """Return the specimen of the survey, static SrTiO3 with a thickness of two unit cells."""
    sample = load_sample("srtio3-001", size_angstrom=(3.905, 3.905), thickness_angstrom=7.81, seed=0)
    return replace(sample, thermal_sigma_angstrom=None, recipe="")


def survey(sample: Sample | None = None, *, only: Sequence[str] | None = None, signals: Sequence[str] = SIGNALS) -> Iterator[Turn]:
    """Change one knob at a time on a new instrument, and yield the readings of every signal before and after the change.

    The noise of the readings is negligible.

    Parameters
    ----------
    sample : Sample, optional
        The specimen; None: SrTiO3.
    only : sequence of str, optional
        Knobs from :func:`knobs`; None: all.
    signals : sequence of str
        Signals to measure.
    """
    sample = specimen() if sample is None else sample
    scan = RasterScan(shape=SHAPE, field_of_view_angstrom=sample.size_angstrom)
    kept: dict[str, Frames] = {}
    for knob in knobs() if only is None else only:
        profile = COUNTING if knob in ("gain", "offset_adu") else UNSTABLE if knob == "advance_time" else IDEAL
        first, scope = Microscope(sample, profile, seed=2), Microscope(sample, profile, seed=3)  # with independent noise
        if profile is UNSTABLE:
            scope = first  # with the same course
        if knob == "phi12":
            first.set(C12=AMOUNTS[1])
            scope.set(C12=AMOUNTS[1])
        key = "phi12" if knob == "phi12" else "advance_time" if profile is UNSTABLE else profile.name + str(profile is COUNTING)
        if key not in kept or profile is UNSTABLE:
            kept[key] = _measure(first, scan, 1.0, signals)
        scan_after, share = turn_knob(knob, scope, scan)
        yield Turn(knob=knob, before=kept[key], after=_measure(scope, scan_after, share, signals))


def turn_knob(knob: str, scope: Microscope, scan: RasterScan) -> tuple[RasterScan, float]:
    """Change a knob; return the scan of the next measurement, and the factor by which its dwell times are multiplied."""
    kind, _, rest = knob.rpartition(" ")
    if kind == "stage":
        way: dict[str, Any] = {rest: STAGE[rest]}
        scope.move_stage(**way)
    elif knob == "scan region":
        part = scan.region(*REGION)
        return replace(part, shape=scan.shape), 1.0
    elif kind == "scan":
        return replace(scan, **{rest: SCAN[rest]}), 1.0
    elif knob == "dwell_time_us":
        return scan, 0.5
    elif knob == "advance_time":
        scope.advance_time(600)
    elif knob == "correct":
        scope.correct("C1", 0.0, AMOUNTS[1])
    else:
        scope.set(**{knob: TURNED[knob] if knob in TURNED else AMOUNTS[int(knob[1])]})
    return scan, 1.0


def _measure(scope: Microscope, scan: RasterScan, share: float, signals: Sequence[str]) -> Frames:
    """Return readings of signals from the present state, which is restored; a parked beam is at the scan's start."""
    out: Frames = {}
    start = scope.snapshot()
    few, parked = replace(scan, shape=FEW), PathScan(positions_angstrom=np.array([scan.origin_angstrom]))
    images = tuple(name for name in IMAGES if name in signals)
    if images:
        found = scope.acquire(scan, dwell_time_us=DWELL_US["images"] * share, detectors=images)
        out |= {name: found[name].to_numpy().astype(float) for name in images}
    if "eels" in signals:
        scope.restore(start)
        spectra = scope.acquire_spectrum(few, dwell_time_us=DWELL_US["eels"] * share, detectors=("eels",)).eels
        out["eels"] = spectra.sel(energy_loss_ev=slice(*LOSSES_EV)).sum("energy_loss_ev").to_numpy().astype(float)
    if "edx" in signals:
        scope.restore(start)
        spectra = scope.acquire_spectrum(few, dwell_time_us=DWELL_US["edx"] * share, detectors=(XRAYS,), frames=XRAY_FRAMES).edx
        out["edx"] = spectra.sum(("frame", "photon_energy_ev")).to_numpy().astype(float)
    for name, where in (("pixelated", few), ("ronchigram", parked)):
        if name in signals:
            scope.restore(start)
            counts = scope.acquire(where, dwell_time_us=DWELL_US[name] * share, detectors=(name,))[name]
            out[name] = counts.to_numpy().astype(float)
    scope.restore(start)
    return out
