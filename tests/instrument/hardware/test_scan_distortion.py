"""Where the beam truly is: each imperfection by its closed form, and known ones recovered from frames."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.hardware.scan_distortion import FieldChange, ScanImperfections, true_positions
from stemtwin.twin.instrument.scan import PathScan, RasterScan, Scan, SerpentineScan
from stemtwin.twin.instrument.timing import ScanTiming, scan_timing
from tests.instrument.paths import any_scan

SCAN = RasterScan(shape=(16, 12), field_of_view_angstrom=(8, 6), origin_angstrom=(3, -2))
TIMING = scan_timing(SCAN, dwell_time_us=10, flyback_us=60, start_s=2.5)


def offsets(
    scan: Scan = SCAN, timing: ScanTiming = TIMING, *, seed: int = 0, drift: Any = None, change: FieldChange | None = None, **wrong: Any
) -> np.ndarray:
    """Return how far the beam is off in the frame's layout."""
    rng = np.random.default_rng(seed)
    return (true_positions(scan, timing, ScanImperfections(**wrong), drift, rng, change=change) - scan.points()).reshape(*scan.shape, 2)


@given(scan=any_scan(), hertz=st.sampled_from([50.0, 60.0]))
def test_nothing_wrong_is_exactly_what_was_asked_for(scan: Scan, hertz: float) -> None:
    """Without imperfection and drift the true positions are the nominal ones, bit for bit, and no random number is drawn."""
    timing, rng = scan_timing(scan, dwell_time_us=1, flyback_us=100), np.random.default_rng(3)
    before = rng.bit_generator.state
    at = true_positions(scan, timing, ScanImperfections(hum_hz=hertz), None, rng)
    np.testing.assert_array_equal(at, scan.points())
    assert rng.bit_generator.state == before


@given(scan=any_scan(), seed=st.integers(0, 99))
def test_one_seed_gives_one_scan(scan: Scan, seed: int) -> None:
    """The same settings and generator give the same positions bit for bit; everything stays finite."""
    wrong = ScanImperfections(
        line_jitter_angstrom=0.1, line_wander_angstrom=0.1, hum_angstrom=(0.1, 0.2), settling_fraction=0.01, scale_error=(0.01, 0)
    )
    timing = scan_timing(scan, dwell_time_us=1, flyback_us=100)
    one, same = (true_positions(scan, timing, wrong, None, np.random.default_rng(seed)) for _ in range(2))
    assert one.tobytes() == same.tobytes()
    assert np.isfinite(one).all()


# ---- mains


@given(scan=any_scan(), dwell=st.floats(0.1, 1e3), start=st.floats(0, 100), phase=st.floats(-4, 4))
def test_hum_is_a_sine_of_the_clock(scan: Scan, dwell: float, start: float, phase: float) -> None:
    """x_hum = A sum_m a_m sin(2 pi m f t + phase) in the middle of each dwell time."""
    timing = scan_timing(scan, dwell_time_us=dwell, flyback_us=130, start_s=start)
    wrong = ScanImperfections(hum_angstrom=(0.2, 0.5), hum_harmonics=((1, 1.0), (3, 0.3)), hum_phase_rad=(phase, 0.7), hum_hz=50)
    at = true_positions(scan, timing, wrong, None, np.random.default_rng(0))
    t = timing.middle_s
    for axis, amplitude, angle in ((1, 0.2, phase), (0, 0.5, 0.7)):
        hum = amplitude * (np.sin(2 * np.pi * 50 * t + angle) + 0.3 * np.sin(2 * np.pi * 150 * t + angle))
        np.testing.assert_allclose(at[:, axis], scan.points()[:, axis] + hum, atol=1e-8)


def test_a_synchronised_scan_has_the_same_hum_in_each_line() -> None:
    """Where lines wait for the mains, the hum bends all lines alike: it only distorts, it does not tear."""
    timing = scan_timing(SCAN, dwell_time_us=100, flyback_us=60, start_s=1.234, synchronise_hz=50)
    off = offsets(SCAN, timing, hum_angstrom=(0.2, 0.3), hum_hz=50, line_synchronised=True)
    np.testing.assert_allclose(off, np.broadcast_to(off[0], off.shape), atol=1e-9)
    assert np.ptp(off) > 0.05
    free = offsets(SCAN, scan_timing(SCAN, dwell_time_us=100, flyback_us=60), hum_angstrom=(0.2, 0.3))
    assert np.abs(free - free[0]).max() > 0.1


# ---- settling and hysteresis


def test_the_first_point_of_a_line_is_off_by_what_the_flyback_left() -> None:
    """x_err = -s exp(-t / tau), t from the jump: at the first point the pause and half a dwell time later. Slower flyback, less error."""
    for flyback in (0.0, 60.0, 600.0):
        timing = scan_timing(SCAN, dwell_time_us=10, flyback_us=flyback)
        off = offsets(SCAN, timing, settling_fraction=0.02, settling_time_us=30)
        back = SCAN.positions()[1:, 0] - SCAN.positions()[:-1, -1]
        own = off[0, -1] * math.exp(-(10 + flyback) / 30)
        np.testing.assert_allclose(off[1, 0], -0.02 * back[0] * math.exp(-(flyback + 5) / 30) + own, rtol=1e-9, atol=1e-14)


@given(scan=any_scan(), dwell=st.floats(0.1, 100), tau=st.floats(1, 100))
def test_settling_is_the_response_to_all_steps(scan: Scan, dwell: float, tau: float) -> None:
    """The lag of a linear filter: minus the sum over all steps before of share x step x exp(-time since / tau)."""
    timing = scan_timing(scan, dwell_time_us=dwell, flyback_us=20, settle_us=3)
    at = true_positions(scan, timing, ScanImperfections(settling_fraction=0.1, settling_time_us=tau), None, np.random.default_rng(0))
    points, t = scan.points(), timing.arrival_s * 1e6
    k = min(scan.count - 1, 40)
    wanted = np.zeros(2)
    for j in range(1, k + 1):
        since = t[k] + dwell / 2 - (t[j - 1] + dwell)
        wanted -= 0.1 * (points[j] - points[j - 1]) * math.exp(-since / tau)
    np.testing.assert_allclose(at[k] - points[k], wanted, atol=1e-9 * (1 + np.abs(points).max()))


def test_a_serpentine_lags_to_both_sides() -> None:
    """The lag of the slow share shifts lines that run right to the left, and lines that run left to the right: a serpentine's zip."""
    scan = SerpentineScan(shape=(6, 400), field_of_view_angstrom=(6, 40))
    at = true_positions(
        scan, scan_timing(scan, dwell_time_us=1), ScanImperfections(settling_fraction=0.05, settling_time_us=20), None, np.random.default_rng(0)
    )
    middle = (at - scan.points())[:, 0].reshape(6, 400)[:, 200]
    steady = 0.05 * 0.1 * math.exp(-0.5 / 20) / (1 - math.exp(-1 / 20))  # a geometric series of steps of 0.1 A
    assert (np.sign(middle) == [-1, 1, -1, 1, -1, 1]).all()
    np.testing.assert_allclose(np.abs(middle), steady, rtol=0.02)


def test_the_field_creeps_away_from_the_old_one() -> None:
    """Just after a change, a share of it is still to come; it decays with its time constant. No change, no error."""
    change = FieldChange(time_s=2.0, centre_angstrom=(50.0, -20.0), field_of_view_angstrom=(80.0, 60.0))
    off = offsets(hysteresis_fraction=0.1, hysteresis_time_s=0.7, change=change)
    centre, old = np.array(SCAN.centre_angstrom), np.array([50.0, -20.0])
    missing = old + 10 * (SCAN.positions() - centre) - SCAN.positions()
    share = 0.1 * np.exp(-(TIMING.middle_s.reshape(SCAN.shape) - 2.0) / 0.7)
    np.testing.assert_allclose(off, share[..., None] * missing, rtol=1e-9)
    assert not offsets(hysteresis_fraction=0.1).any()
    same = FieldChange(time_s=2.0, centre_angstrom=SCAN.centre_angstrom, field_of_view_angstrom=SCAN.field_of_view_angstrom)
    assert np.abs(offsets(hysteresis_fraction=0.1, change=same)).max() < 1e-12


# ---- axes


@given(sy=st.floats(-0.1, 0.1), sx=st.floats(-0.1, 0.1), skew=st.floats(-0.2, 0.2), turn=st.floats(-3, 3))
def test_wrong_axes_stretch_skew_and_turn_about_the_middle(sy: float, sx: float, skew: float, turn: float) -> None:
    """Lines are 1 + s_x too long and turned by the rotation error; columns 1 + s_y and a further skew; the middle stays."""
    off = offsets(scale_error=(sy, sx), non_orthogonality_rad=skew, rotation_error_rad=turn)
    at = SCAN.positions() + off
    x, y = at[0, -1] - at[0, 0], at[-1, 0] - at[0, 0]
    assert math.hypot(*x) == pytest.approx((1 + sx) * 5.5)
    assert math.hypot(*y) == pytest.approx((1 + sy) * 7.5)
    assert math.remainder(math.atan2(x[1], x[0]) - turn, 2 * math.pi) == pytest.approx(0, abs=1e-9)
    assert math.remainder(math.atan2(y[1], y[0]) - math.atan2(x[1], x[0]) - math.pi / 2 - skew, 2 * math.pi) == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(at.mean(axis=(0, 1)), SCAN.centre_angstrom, atol=1e-9)


def test_the_optical_axis_stays_where_it_is() -> None:
    """Wrong axes change nothing on the optical axis, wherever in the field that is."""
    wrong = ScanImperfections(scale_error=(0.1, 0.2), rotation_error_rad=0.3, non_orthogonality_rad=0.1)
    scan = PathScan(positions_angstrom=[[5.0, 6.0], [7.0, 8.0]])
    at = true_positions(scan, scan_timing(scan, dwell_time_us=1), wrong, None, np.random.default_rng(0), axis_angstrom=(5.0, 6.0))
    np.testing.assert_allclose(at[0], (5, 6), atol=1e-12)
    assert np.abs(at[1] - (7, 8)).max() > 0.1


# ---- jitter and drift


def test_jitter_moves_whole_lines_at_random() -> None:
    """Each line is off by one offset; its standard deviations along y and x are the one given; lines do not know of each other."""
    scan = RasterScan(shape=(8000, 2), field_of_view_angstrom=(1, 1))
    off = offsets(scan, scan_timing(scan, dwell_time_us=1), line_jitter_angstrom=0.2)
    np.testing.assert_allclose(off[:, 0], off[:, 1], atol=1e-12)
    lines = off[:, 0]
    np.testing.assert_allclose(lines.std(axis=0), 0.2, rtol=0.04)  # five standard errors, 1 / sqrt(2 n)
    assert np.abs(np.corrcoef(lines.T)[0, 1]) < 0.06
    assert np.abs((lines[1:] * lines[:-1]).mean(axis=0) / 0.04).max() < 0.06


def test_wander_forgets_over_its_number_of_lines() -> None:
    """A first-order autoregression: stationary standard deviation from the first line on, correlation exp(-k / L) over k lines."""
    scan = RasterScan(shape=(16000, 1), field_of_view_angstrom=(1, 1))
    lines = offsets(scan, scan_timing(scan, dwell_time_us=1), line_wander_angstrom=0.3, line_wander_lines=5)[:, 0]
    np.testing.assert_allclose(lines.std(axis=0), 0.3, rtol=0.06)
    for k in (1, 5, 10):
        np.testing.assert_allclose((lines[k:] * lines[:-k]).mean(axis=0) / 0.09, math.exp(-k / 5), atol=0.09)
    few = RasterScan(shape=(2, 1), field_of_view_angstrom=(1, 1))
    first = [offsets(few, scan_timing(few, dwell_time_us=1), seed=seed, line_wander_angstrom=0.3)[0, 0] for seed in range(2000)]
    np.testing.assert_allclose(np.std(first, axis=0), 0.3, rtol=0.08)


def test_drift_adds_where_the_specimen_is_at_that_time() -> None:
    """x_actual = x_cmd + drift(t), t in the middle of each dwell time."""
    off = offsets(drift=lambda t: np.column_stack([3 * t, -(t**2)]))
    t = TIMING.middle_s.reshape(SCAN.shape)
    np.testing.assert_allclose(off, np.stack([3 * t, -(t**2)], axis=-1), atol=1e-12)


# ---- recovered from frames (acceptance check 14)


def lattice(at: np.ndarray) -> np.ndarray:
    """Return a square lattice of 2 A as seen at points (x, y)."""
    return np.cos(np.pi * at[..., 0]) + np.cos(np.pi * at[..., 1])


def test_hum_is_recovered_from_a_frame() -> None:
    """Amplitude and phase of a known hum come back from the phase of the lattice in each line, to 5 %."""
    scan = RasterScan(shape=(256, 64), field_of_view_angstrom=(25.6, 16))
    timing = scan_timing(scan, dwell_time_us=2, flyback_us=80)
    wrong = ScanImperfections(hum_angstrom=(0.0, 0.15), hum_phase_rad=(0.0, 0.9))
    frame = lattice(true_positions(scan, timing, wrong, None, np.random.default_rng(0))).reshape(scan.shape)
    wave = np.exp(-1j * np.pi * scan.positions()[0, :, 0])  # 8 whole periods of the lattice
    shift = np.angle(frame @ wave) / np.pi
    t = timing.middle_s.reshape(scan.shape).mean(axis=1)
    design = np.column_stack([np.sin(2 * np.pi * 50 * t), np.cos(2 * np.pi * 50 * t), np.ones_like(t)])
    sine, cosine, _ = np.linalg.lstsq(design, shift, rcond=None)[0]
    assert math.hypot(sine, cosine) == pytest.approx(0.15, rel=0.05)
    assert math.atan2(cosine, sine) == pytest.approx(0.9, abs=0.05)


def test_drift_is_recovered_from_two_frames() -> None:
    """A constant drift comes back from the shift between two frames by the phase of the lattice, to 5 %."""
    scan = RasterScan(shape=(64, 64), field_of_view_angstrom=(16, 16))
    velocity = np.array([0.6, -0.9])  # A/s
    phases = []
    for start in (0.0, 0.4):
        timing = scan_timing(scan, dwell_time_us=20, flyback_us=100, start_s=start)
        at = true_positions(scan, timing, ScanImperfections(), lambda t: t[:, None] * velocity, np.random.default_rng(0))
        frame = lattice(at).reshape(scan.shape)
        x, y = scan.positions()[0, :, 0], scan.positions()[:, 0, 1]
        phases.append([np.angle((frame @ np.exp(-1j * np.pi * x)).sum()), np.angle((np.exp(-1j * np.pi * y) @ frame).sum())])
    shift = np.diff(phases, axis=0)[0] / np.pi
    np.testing.assert_allclose(shift / 0.4, velocity, rtol=0.05)


# ---- bad input


@pytest.mark.parametrize(
    "wrong",
    [
        {"line_jitter_angstrom": -1},
        {"line_wander_lines": 0},
        {"hum_angstrom": 0.1},
        {"hum_hz": 0},
        {"hum_harmonics": ((0, 1.0),)},
        {"hum_harmonics": (1, 1.0)},
        {"hum_harmonics": ((1, math.nan),)},
        {"settling_fraction": 2},
        {"settling_time_us": 0},
        {"hysteresis_time_s": -1},
        {"scale_error": (0.7, 0)},
        {"non_orthogonality_rad": 2},
        {"rotation_error_rad": math.inf},
        {"line_synchronised": 1},
    ],
)
def test_imperfections_that_make_no_sense_are_refused_by_name(wrong: dict) -> None:
    """The message names the setting."""
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        replace(ScanImperfections(), **wrong)
