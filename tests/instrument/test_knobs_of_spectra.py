"""Every knob reaches energy losses, X-rays and diffraction patterns too, or does not where it cannot."""

import math

import numpy as np
import pytest

from stemtwin.twin.instrument import survey
from stemtwin.twin.instrument.microscope import Microscope
from stemtwin.twin.instrument.pixelated import PixelatedDetector
from stemtwin.twin.instrument.profiles import PROFILES, Profile
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.spectra import EDXDetector, EELSDetector

LOSSES = EELSDetector(energy_range_ev=(440.0, 600.0), dispersion_ev=1.0, collection_mrad=24.0)
XRAYS = EDXDetector(dispersion_ev=20.0, solid_angle_sr=4 * math.pi)
CAMERA = PixelatedDetector(shape=(16, 16), outer_mrad=60.0)
SCAN = RasterScan(shape=(4, 4), field_of_view_angstrom=(3.905, 3.905))
DWELL_US = {"eels": 2e6, "edx": 2e6, "pixelated": 2e4}
DETECTORS = {"eels": LOSSES, "edx": XRAYS, "pixelated": CAMERA}
NONE = {
    *((knob, signal) for knob in ("camera_length_mm", "gain", "offset_adu") for signal in DETECTORS),  # their angles are given, and they count
    ("beam_tilt_mrad", "edx"),  # a thin specimen emits X-rays whatever the beam's direction
}
"""What a knob does not reach. The spectrometer takes little more than the bright disc, so that a tilted beam misses it in part."""
QUICK = ("energy_ev", "semiangle_mrad", "current_pa", "C10", "blanked", "stage x_angstrom", "camera_length_mm", "dwell_time_us", "correct")


def measured(scope: Microscope, scan: RasterScan, share: float) -> dict[str, np.ndarray]:
    """Return counts of each signal, in as few numbers as show a change: the whole of a spectrum, a pattern's pixels."""
    out = {}
    for name, detector in DETECTORS.items():
        counts = scope.acquire_spectrum(scan, detectors=(detector,), dwell_time_us=DWELL_US[name] * share)[name].to_numpy().astype(float)
        out[name] = counts if name == "pixelated" else counts.sum(axis=-1)
    return out


def certainty(before: np.ndarray, after: np.ndarray) -> float:
    """Return by how many of its standard deviations chi squared of the difference exceeds what noise makes."""
    many = (before + after) > 10
    chi = ((after - before)[many] ** 2 / (before + after)[many]).sum()
    return float((chi - many.sum()) / math.sqrt(2 * many.sum()))


def scope_for(profile: Profile) -> Microscope:
    """Return a microscope with the survey's specimen in it."""
    return Microscope(survey.specimen(), profile, seed=2)


@pytest.mark.parametrize("knob", [knob if knob in QUICK else pytest.param(knob, marks=pytest.mark.slow) for knob in survey.knobs()])
def test_every_knob_reaches_its_signals(knob: str) -> None:
    """Turned, the knob changes each signal by more than noise could, or by no more where it does not reach it."""
    profile = survey.UNSTABLE if knob == "advance_time" else survey.COUNTING if knob in ("gain", "offset_adu") else PROFILES["ideal"]
    one, other = scope_for(profile), scope_for(profile)
    if knob == "phi12":
        one.set(C12=survey.AMOUNTS[1])
        other.set(C12=survey.AMOUNTS[1])
    before = measured(one, SCAN, 1.0)
    other.acquire(SCAN)  # another frame number: fresh noise
    scan, dwell = survey.turn_knob(knob, other, SCAN)
    after = measured(other, scan, dwell / survey.DWELL_US)
    for name in DETECTORS:
        sure = certainty(before[name], after[name])
        if (knob, name) in NONE:
            assert sure < 5, name
        else:
            assert sure > 8, name
