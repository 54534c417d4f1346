"""The clock of a scan."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.scan import PathScan, RasterScan, Scan, SerpentineScan
from stemtwin.twin.instrument.timing import estimate_duration_s, scan_timing
from tests.instrument.paths import any_scan

TIMES = {"dwell_time_us": st.floats(0.01, 1e4), "flyback_us": st.floats(0, 1e3), "settle_us": st.floats(0, 1e3)}


def test_a_raster_comes_line_by_line() -> None:
    """Point (row, column) comes at row T_line + column dwell, T_line = N dwell + T_fly."""
    scan = RasterScan(shape=(3, 5), field_of_view_angstrom=(1, 1))
    timing = scan_timing(scan, dwell_time_us=4, flyback_us=100, start_s=7)
    row, column = np.indices((3, 5))
    np.testing.assert_allclose(timing.arrival_s.reshape(3, 5) - 7, (row * (5 * 4 + 100) + column * 4) * 1e-6, atol=1e-12)
    assert timing.duration_s == pytest.approx(3 * 120e-6)


def test_only_scans_that_jump_pause() -> None:
    """A serpentine turns without flyback; a list of points has no pause at all."""
    times = {"dwell_time_us": 2, "flyback_us": 100, "settle_us": 10}
    serpentine = scan_timing(SerpentineScan(shape=(3, 5), field_of_view_angstrom=(1, 1)), **times)
    assert serpentine.duration_s == pytest.approx((15 * 2 + 3 * 10) * 1e-6)
    path = scan_timing(PathScan(positions_angstrom=np.zeros((7, 2))), **times)
    np.testing.assert_allclose(path.arrival_s, 2e-6 * np.arange(7), atol=1e-15)
    assert path.duration_s == pytest.approx(14e-6)


@given(scan=any_scan(), times=st.fixed_dictionaries(TIMES), start=st.floats(0, 1e5), mains=st.sampled_from([0.0, 50.0, 60.0]))
def test_no_two_visits_overlap_and_all_time_is_accounted_for(scan: Scan, times: dict, start: float, mains: float) -> None:
    """A visit ends before the next begins; dwell times and pauses add up to the duration; all of it lies within the scan."""
    timing = scan_timing(scan, **times, start_s=start, synchronise_hz=mains)
    dwell, exact = times["dwell_time_us"] * 1e-6, 1e-15 * start + 1e-12
    gaps = np.diff(timing.arrival_s) - dwell
    pauses = np.zeros(scan.count)
    pauses[timing.starts] = timing.pause_s
    np.testing.assert_allclose(gaps, pauses[1:], atol=4 * exact, rtol=1e-9)
    assert timing.arrival_s[0] == pytest.approx(start + timing.pause_s[0], abs=exact)
    assert timing.arrival_s[-1] + dwell + timing.tail_s == pytest.approx(start + timing.duration_s, abs=10 * exact, rel=1e-12)
    assert timing.lengths.sum() == scan.count
    if not mains:
        assert timing.duration_s == pytest.approx(estimate_duration_s(scan, **times), rel=1e-9)


@given(start=st.floats(0, 1e4), dwell=st.floats(0.1, 500), mains=st.sampled_from([50.0, 60.0]))
def test_a_synchronised_scan_waits_for_the_mains(start: float, dwell: float, mains: float) -> None:
    """Each line begins with a period of the mains, and no line waits a whole period longer than it must."""
    scan = RasterScan(shape=(4, 6), field_of_view_angstrom=(1, 1))
    timing = scan_timing(scan, dwell_time_us=dwell, flyback_us=100, start_s=start, synchronise_hz=mains)
    periods = timing.arrival_s[timing.starts] * mains
    np.testing.assert_allclose(periods, periods.round(), atol=1e-6)
    assert (timing.pause_s[1:] >= 100e-6 - 1e-12).all()
    assert (timing.pause_s[1:] < 100e-6 + 1 / mains).all()


@pytest.mark.parametrize(
    "wrong", [{"dwell_time_us": 0}, {"dwell_time_us": np.nan}, {"flyback_us": -1}, {"settle_us": -1}, {"start_s": -1}, {"synchronise_hz": -50}]
)
def test_times_that_make_no_sense_are_refused_by_name(wrong: dict) -> None:
    """Times are finite and not negative."""
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        scan_timing(RasterScan(shape=(2, 2), field_of_view_angstrom=(1, 1)), **{"dwell_time_us": 1, **wrong})
