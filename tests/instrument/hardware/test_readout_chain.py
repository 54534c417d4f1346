"""Detector chains: readings, lag, and the way back to fractions of the beam. Uneven detectors."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.detectors import AnnularDetector, Sensitivity
from stemtwin.twin.instrument.hardware.normalisation import levels, normalised, scan_detector
from stemtwin.twin.instrument.hardware.readout_chain import IDEAL_CHAIN, DetectorChain
from stemtwin.twin.instrument.scan import PathScan, RasterScan
from stemtwin.twin.instrument.settings import Beam, PotentialSlices
from stemtwin.twin.instrument.simulation import serialisation, simulate
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.instrument.timing import scan_timing
from stemtwin.twin.samples.sample import Sample

CHAIN = DetectorChain(gain_adu=20, offset_adu=1000, read_noise_adu=8, dqe=0.7, bits=16, efficiency=0.9)
UNEVEN = Sensitivity(slope=0.1, slope_azimuth_rad=0.4, bowl=-0.1, twofold=0.05, dead_mrad=22)


def test_a_chain_keeps_the_law_of_the_acceptance_table() -> None:
    """(variance - read noise^2 - 1/12) / (mean - offset) = gain / DQE within 1 %, from expected electrons to readings."""
    rng = np.random.default_rng(1)
    adu = CHAIN.convert(CHAIN.detect(np.full(1_000_000, 50.0), rng), rng).astype(float)
    assert (adu.var() - 64 - 1 / 12) / (adu.mean() - 1000) == pytest.approx(20 / 0.7, rel=0.01)
    assert CHAIN.electrons(adu).mean() == pytest.approx(50, rel=0.01)


def test_the_ideal_chain_counts() -> None:
    """One step per electron, and nothing else: what comes out is what was drawn."""
    rng = np.random.default_rng(1)
    electrons = IDEAL_CHAIN.detect(np.full((4, 5), 7.0), rng)
    assert electrons.dtype == np.uint32
    np.testing.assert_array_equal(IDEAL_CHAIN.convert(electrons, rng), electrons)
    np.testing.assert_array_equal(IDEAL_CHAIN.electrons(electrons), electrons)
    assert IDEAL_CHAIN.full_scale_electrons == math.inf


def test_a_chain_saturates_where_it_says() -> None:
    """Above the full scale all readings are alike."""
    chain = DetectorChain(gain_adu=20, offset_adu=1000, bits=12)
    assert chain.full_scale_electrons == pytest.approx((4095 - 1000) / 20)
    rng = np.random.default_rng(0)
    assert chain.convert(np.array([154, 155, 1000]), rng).tolist() == [4080, 4095, 4095]


def test_lag_makes_streaks_along_the_lines_and_less_noise() -> None:
    """A bright point leaks exp(-dwell / tau) into each next one of its line, not into others; the variance falls to that of the filter, sum h^2."""
    scan = RasterScan(shape=(3, 200), field_of_view_angstrom=(1, 1))
    timing = scan_timing(scan, dwell_time_us=0.5, flyback_us=100)
    chain = DetectorChain(bits=0, lag_us=0.4)
    bright = np.zeros(scan.count)
    bright[250] = 1000
    row = scan.frame(chain.convert(bright, np.random.default_rng(0), timing=timing))
    assert not row[0].any()
    assert row[2].max() < 1e-9
    a = math.exp(-0.5 / 0.4)
    np.testing.assert_allclose(row[1, 52:60] / row[1, 51:59], a, rtol=1e-6)
    assert row.sum() == pytest.approx(1000, rel=1e-6)
    first = 1 - 0.4 / 0.5 * (1 - a)
    smaller = first**2 + ((1 - first) * (1 - a)) ** 2 / (1 - a**2)
    long = RasterScan(shape=(1, 200_000 // 20), field_of_view_angstrom=(1, 1))
    timing, rng = scan_timing(long, dwell_time_us=0.5), np.random.default_rng(5)
    readings = chain.convert(chain.detect(np.full((20, long.count), 30.0), rng), rng, timing=timing)
    assert readings.mean() == pytest.approx(30, rel=0.01)
    assert readings[:, 50:].var() == pytest.approx(30 * smaller, rel=0.03)


def test_a_lag_needs_to_know_the_time() -> None:
    """Without the timing of these very points nothing is read."""
    chain = DetectorChain(lag_us=1)
    with pytest.raises(SettingsError, match="lag_us=1 needs the time of each of 6 points"):
        chain.convert(np.ones(6), np.random.default_rng(0))
    timing = scan_timing(RasterScan(shape=(2, 2), field_of_view_angstrom=(1, 1)), dwell_time_us=1)
    with pytest.raises(SettingsError, match="but the timing has 4"):
        chain.convert(np.ones(6), np.random.default_rng(0), timing=timing)


@pytest.mark.parametrize(
    "wrong",
    [
        {"gain_adu": 0},
        {"read_noise_adu": -1},
        {"dqe": 0},
        {"dqe": 1.2},
        {"bits": 40},
        {"bits": 7.5},
        {"lag_us": -1},
        {"efficiency": 0},
        {"offset_adu": math.nan},
    ],
)
def test_chains_that_make_no_sense_are_refused_by_name(wrong: dict) -> None:
    """The message names the setting."""
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        replace(CHAIN, **wrong)


# ---- uneven detectors


def test_an_even_sensitivity_changes_nothing(thermal: Sample, beam: Beam) -> None:
    """A sensitivity of 1 everywhere is no sensitivity; a dead centre is a larger inner angle."""
    scan = PathScan(positions_angstrom=[[0.0, 0.0], [1.0, 2.0]])
    ring = AnnularDetector(inner_mrad=30, outer_mrad=60, name="ring")
    detectors = (
        ring,
        replace(ring, name="even", sensitivity=Sensitivity()),
        replace(ring, name="dead", sensitivity=Sensitivity(dead_mrad=40)),
        AnnularDetector(inner_mrad=40, outer_mrad=60, name="smaller"),
        replace(ring, name="uneven", sensitivity=Sensitivity(slope=0.3)),
    )
    result = simulate.simulate(thermal, beam, scan, detectors=detectors, phonons=1)
    np.testing.assert_array_equal(result.even, result.ring)
    np.testing.assert_array_equal(result.dead, result.smaller)
    ratio = result.uneven / result.ring
    assert (ratio > 0.7 / 1.3).all()
    assert (ratio < 1).all()
    assert abs(float(ratio[1]) - 1 / 1.3) > 1e-3  # away from the column the pattern leans to one side


@pytest.mark.parametrize("bowl", [-0.3, 0.3])
def test_the_beam_in_vacuum_is_weighted_by_the_sensitivity(nothing: PotentialSlices, bowl: float) -> None:
    """The mean of 2 rho^2 - 1 over a disc of half the radius is -3/4: the signal of the beam on a disc twice its size follows, for any engine."""
    disc = AnnularDetector(inner_mrad=0, outer_mrad=40, name="disc", sensitivity=Sensitivity(bowl=bowl))
    for engine in ("operator", "multislice"):
        result = simulate.simulate(
            nothing, Beam(energy_ev=200e3, semiangle_mrad=20), PathScan(positions_angstrom=[[1.0, 1.0]]), detectors=disc, engine=engine
        )
        assert float(result.disc[0]) == pytest.approx((1 - 0.75 * bowl) / (1 + abs(bowl)), rel=0.01)


def test_sensitivities_survive_files(static: Sample, beam: Beam, raster: RasterScan) -> None:
    """A detector with its sensitivity comes back from plain values, also within a request."""
    detector = AnnularDetector(inner_mrad=20, outer_mrad=90, name="real", sensitivity=UNEVEN)
    assert serialisation.detector_from_dict(serialisation.detector_to_dict(detector)) == detector
    asked = Request(sample=static, beam=beam, scan=raster, detectors=(detector, "bf"))
    assert Request.from_dict(asked.to_dict()).detectors == asked.detectors


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"slope": 0.5, "bowl": 0.5}, "add up to 1"),
        ({"slope": math.nan}, "slope"),
        ({"dead_mrad": -1}, "dead_mrad"),
        ({"dead_mrad": 100}, "covers the whole detector"),
    ],
)
def test_sensitivities_that_make_no_sense_are_refused(wrong: dict, match: str) -> None:
    """A detector cannot answer less than nothing, and something of it must be alive."""
    with pytest.raises(SettingsError, match=match):
        AnnularDetector(inner_mrad=20, outer_mrad=90, sensitivity=Sensitivity(**wrong))
    with pytest.raises(SettingsError, match="is not a Sensitivity"):
        AnnularDetector(inner_mrad=20, outer_mrad=90, sensitivity=0.5)  # type: ignore[arg-type]


# ---- normalisation


@settings(max_examples=25)
@given(gain=st.floats(5, 50), offset=st.floats(200, 5000), efficiency=st.floats(0.5, 1), fraction=st.floats(0.05, 1), uneven=st.booleans())
def test_readings_become_fractions_of_the_beam(gain: float, offset: float, efficiency: float, fraction: float, uneven: bool) -> None:
    """(I - I_vac) / (I_det - I_vac) is the fraction of the beam on the detector, over its mean sensitivity, for any gain and efficiency."""
    chain = DetectorChain(gain_adu=gain, offset_adu=offset, read_noise_adu=5, dqe=0.8, bits=20, efficiency=efficiency)
    detector = AnnularDetector(inner_mrad=30, outer_mrad=100, sensitivity=Sensitivity(slope=0.1, bowl=0.05) if uneven else None)
    rng = np.random.default_rng(7)
    vacuum, on = levels(scan_detector(detector, chain, 400.0, rng, shape=(96, 96)))
    assert vacuum == pytest.approx(offset, abs=1)
    adu = chain.convert(chain.detect(np.full(20_000, 800 * fraction), rng), rng)
    mean = 1.0
    if uneven:
        axis = np.linspace(-100, 100, 401)
        rho = np.hypot(axis[:, None], axis)
        ring = (rho >= 30) & (rho < 100)
        mean = float(uneven_mean(axis, ring))
    assert normalised(adu, vacuum, on, electrons_ratio=2).mean() == pytest.approx(fraction / mean, rel=0.01)


def uneven_mean(axis: np.ndarray, ring: np.ndarray) -> Any:
    """Return the mean of (1 + 0.1 x + 0.05 (2 rho^2 - 1)) / 1.15 over a ring, on a fine grid."""
    x, y = axis / 100, axis[:, None] / 100
    return ((1 + 0.1 * x + 0.05 * (2 * (x**2 + y**2) - 1)) / 1.15)[ring].mean()


def test_a_scan_that_shows_no_detector_is_refused() -> None:
    """Without a dark and a bright level there is no scale."""
    with pytest.raises(SettingsError, match="does not show the detector"):
        levels(np.full((20, 20), 100.0))
    with pytest.raises(SettingsError, match="is not above vacuum_adu"):
        normalised(np.ones(3), 100.0, 100.0)
