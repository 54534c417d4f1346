"""Instrument profiles."""

import json
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.hardware.profiles import PROFILES, Profile
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.scope.microscope import Microscope
from stemtwin.twin.physics import electrons, noise, probe
from stemtwin.twin.samples.sample import Sample


@pytest.mark.parametrize("name", list(PROFILES))
def test_every_registered_profile_is_whole(name: str) -> None:
    """A profile knows its name and the source of its numbers, and its usual settings lie within its own limits."""
    profile = PROFILES[name]
    assert profile.name == name
    assert len(profile.source) > 20
    assert 0 < profile.current_pa <= profile.max_current_pa
    assert 0 < profile.dwell_time_us <= profile.max_dwell_time_us
    assert profile.residual.C10 == 0, "a tuned instrument is in focus"


def test_the_ideal_instrument_has_no_blur() -> None:
    """No aberration, a point source at any current, one energy."""
    ideal = PROFILES["ideal"]
    assert ideal.source_size_angstrom(1000, 20, 200e3) == 0
    assert ideal.focal_spread_angstrom(200e3) == 0
    assert not any(ideal.residual.cartesian().values())


def test_the_source_grows_with_the_root_of_the_current() -> None:
    """I = B (pi d alpha / 2)^2 at constant brightness B: d goes as sqrt(I) / alpha (Reimer and Kohl, section 4.2.2)."""
    size = PROFILES["corrected-200kv"].source_size_angstrom
    assert size(200, 25, 200e3) == pytest.approx(2 * size(50, 25, 200e3))
    assert size(50, 12.5, 200e3) == pytest.approx(2 * size(50, 25, 200e3))
    diameter = 2.354820045 * size(50, 25, 200e3) * 1e-10
    assert (math.pi**2 / 4) * 6e12 * diameter**2 * 0.025**2 == pytest.approx(50e-12)


def test_source_and_focal_spread_follow_the_energy() -> None:
    """The brightness goes as 1 / wavelength^2, so the source as the wavelength; the focal spread grows about as 1 / energy."""
    profile = PROFILES["corrected-200kv"]
    ratio = electrons.wavelength(60e3) / electrons.wavelength(200e3)
    assert profile.source_size_angstrom(50, 25, 60e3) / profile.source_size_angstrom(50, 25, 200e3) == pytest.approx(ratio)
    f60, f200 = ((1 + e / 510998.95) / (1 + e / 1021997.9) / e for e in (60e3, 200e3))
    assert profile.focal_spread_angstrom(60e3) / profile.focal_spread_angstrom(200e3) == pytest.approx(f60 / f200)


def test_the_seven_instruments() -> None:
    """The profiles that the design names, and no other."""
    assert set(PROFILES) == {"ideal", "corrected-200kv", "corrected-300kv", "nion-60", "nion-100", "nion-200", "schottky-200kv"}


@pytest.mark.parametrize("name", list(PROFILES))
def test_numbers_lie_where_the_literature_has_them(name: str) -> None:
    """Scan faults, detectors and chains lie within the ranges of physics that the sources give; the ideal instrument has none."""
    profile = PROFILES[name]
    scan = profile.imperfections
    if name == "ideal":
        assert profile == replace(profile.still(), detectors=(), camera_lengths_mm=profile.camera_lengths_mm)
        return
    assert 0.03 <= scan.line_jitter_angstrom <= 0.2
    assert all(0.03 <= amplitude <= 0.5 for amplitude in scan.hum_angstrom)
    assert 5 <= scan.settling_time_us <= 50
    assert scan.settling_fraction <= 0.02
    assert 0.5 <= scan.hysteresis_time_s <= 2
    assert 50 <= profile.flyback_us <= 300
    assert profile.camera_length_mm in profile.camera_lengths_mm
    for detector, chain in profile.chains:
        assert 0.6 <= chain.dqe <= 0.95
        assert 0.05 <= chain.lag_us <= 1
        incident = noise.electrons_per_point(profile.current_pa, profile.dwell_time_us * 1e-6)
        bright = 1.0 if detector in ("bf", "abf", "dpc4") else 0.5
        assert bright * incident < chain.full_scale_electrons, "usual settings do not saturate"
    for detector in profile.detectors:
        assert detector.outer_mrad * 1e-3 * profile.camera_length_mm <= profile.largest_detector_mm * (1 + 1e-9)
    uneven = profile.detector("haadf")
    assert isinstance(uneven, AnnularDetector)
    phi, rho = np.arange(0, 2 * np.pi, 0.05), np.linspace(max(uneven.inner_mrad, uneven.sensitivity.dead_mrad), uneven.outer_mrad, 30)[:, None]
    map_ = uneven.sensitivity.weights(rho * np.sin(phi), rho * np.cos(phi), uneven.outer_mrad)
    assert 0.05 < (map_.max() - map_.min()) / map_.mean() < 0.45


@pytest.mark.parametrize("name", ["corrected-200kv", "corrected-300kv", "nion-60", "nion-100", "nion-200"])
def test_what_a_corrector_leaves_spares_the_probe(name: str) -> None:
    """At the usual convergence the residual leaves most of the peak: a Strehl ratio above 0.6 without any further tuning."""
    profile = PROFILES[name]
    assert probe.strehl_ratio(electrons.wavelength(profile.energy_ev), profile.semiangle_mrad * 1e-3, profile.residual) > 0.6


def test_an_uncorrected_instrument_is_focused_as_scherzer_said() -> None:
    """With Cs alone the sharpest probe is at C10 = -(Cs wavelength)^(1/2) for a convergence of (4 wavelength / Cs)^(1/4): Strehl ratio 0.8."""
    profile = PROFILES["schottky-200kv"]
    wavelength, cs = electrons.wavelength(profile.energy_ev), profile.residual.C30
    assert profile.semiangle_mrad * 1e-3 == pytest.approx((4 * wavelength / cs) ** 0.25, rel=0.01)
    focus = np.arange(-1000.0, 1.0, 10.0)
    ratio = [probe.strehl_ratio(wavelength, profile.semiangle_mrad * 1e-3, replace(profile.residual, C10=float(c))) for c in focus]
    assert focus[np.argmax(ratio)] == pytest.approx(-math.sqrt(cs * wavelength), abs=20)
    assert max(ratio) == pytest.approx(0.8, abs=0.02)


def test_focal_spreads_are_those_of_the_literature() -> None:
    """60 kV, Cc 1.1 mm, 0.3 eV: 24.7 A; 200 kV, 1.2 mm, 0.7 eV: 20.8 A; 300 kV, 1.6 mm, 0.9 eV: 25.0 A (Cc dE / E with the relativistic factor)."""
    for energy, cc, width, spread in ((60e3, 1.1e7, 0.3, 24.7), (200e3, 1.2e7, 0.7, 20.8), (300e3, 1.6e7, 0.9, 25.0)):
        profile = replace(PROFILES["ideal"], chromatic_angstrom=cc, energy_width_ev=width)
        assert profile.focal_spread_angstrom(energy) == pytest.approx(spread, abs=0.06)


def test_an_instrument_has_its_own_detectors(make_perovskite: Callable[..., Sample]) -> None:
    """Named detectors are those of the instrument, scaled by the camera length with their dead centre; others follow the convergence."""
    scope = Microscope(make_perovskite(), "nion-100", phonons=1)
    scan = RasterScan(shape=(2, 2), field_of_view_angstrom=(2, 2))
    frame = scope.acquire(scan, detectors=("haadf", "laadf"))
    assert (frame.haadf.attrs["inner_mrad"], frame.haadf.attrs["outer_mrad"]) == (89, 195)
    assert frame.laadf.attrs["inner_mrad"] == pytest.approx(1.05 * 30)
    scope.set(camera_length_mm=150)
    frame = scope.acquire(scan)
    assert frame.haadf.attrs["inner_mrad"] == pytest.approx(89 / 1.5)
    assert json.loads(frame.attrs["stemtwin_settings"])["detectors"][0]["sensitivity"]["dead_mrad"] == pytest.approx(90 / 1.5)


@pytest.mark.parametrize("wrong", [{"energy_ev": 200}, {"semiangle_mrad": 0}, {"current_pa": 2000}, {"current_pa": 0}])
def test_profiles_that_make_no_sense_are_refused(wrong: dict) -> None:
    """A profile's settings are checked like a person's."""
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        replace(PROFILES["ideal"], **wrong)
    assert isinstance(PROFILES["ideal"], Profile)
