"""From electrons to readings: row 13 of the acceptance table, and the lag of a detector by its differential equation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from stemtwin.twin.physics import detector_electronics


@pytest.mark.parametrize(
    ("mean", "gain", "dqe", "noise", "offset"),
    [(0.8, 40.0, 0.7, 12.0, 300.0), (12.0, 3.0, 0.9, 2.0, 100.0), (51.5, 20.0, 0.6, 8.0, 1000.0), (200.0, 1.5, 1.0, 0.7, 50.0)],
)
def test_the_variance_of_readings_tells_gain_over_dqe(mean, gain, dqe, noise, offset):
    """(variance - read noise^2 - 1/12) / (mean - offset) = gain / DQE, within 1 %, for any mean number of electrons."""
    rng = np.random.default_rng(3)
    electrons = rng.poisson(mean, 1_000_000)
    charge = detector_electronics.pulse_charge(electrons, dqe, rng)
    adu = detector_electronics.convert(charge, gain=gain, offset=offset, read_noise=noise, bits=16, rng=rng).astype(float)
    assert adu.max() < 2**16 - 1
    assert (adu.var() - noise**2 - 1 / 12) / (adu.mean() - offset) == pytest.approx(gain / dqe, rel=0.01)
    assert adu.mean() - offset == pytest.approx(gain * mean, rel=0.01)


@given(number=st.integers(1, 6), dqe=st.floats(0.3, 0.97))
def test_the_sum_of_pulses_drawn_at_once_is_a_sum_of_pulses(number, dqe):
    """N pulses one by one and their sum at once have one distribution (Kolmogorov-Smirnov, at a fixed seed)."""
    rng = np.random.default_rng(number)
    at_once = detector_electronics.pulse_charge(np.full(4000, number), dqe, rng)
    one_by_one = detector_electronics.pulse_charge(np.ones((4000, number)), dqe, rng).sum(axis=1)
    assert stats.ks_2samp(at_once, one_by_one).pvalue > 1e-7


def test_equal_pulses_are_electrons():
    """With DQE 1 the charge is the number of electrons, nothing is drawn; no electron leaves no charge."""
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    assert detector_electronics.pulse_charge(np.array([0, 3, 7]), 1.0, rng).tolist() == [0, 3, 7]
    assert rng.bit_generator.state == before
    assert not detector_electronics.pulse_charge(np.zeros(100), 0.7, rng).any()


def test_the_converter_rounds_and_clips():
    """Whole numbers from 0 to 2^bits - 1; without bits the reading as it is."""
    rng = np.random.default_rng(0)
    settings = {"gain": 2.0, "offset": 1.0, "read_noise": 0.0, "rng": rng}
    adu = detector_electronics.convert(np.array([-3.0, 0.2, 7.0, 1e6]), bits=8, **settings)
    assert adu.tolist() == [0, 1, 15, 255]
    assert adu.dtype == np.uint16
    assert detector_electronics.convert(np.array([1e6]), bits=24, **settings).dtype == np.uint32
    assert detector_electronics.convert(np.array([-3.0, 0.2]), bits=0, **settings).tolist() == [-5.0, 1.4]


def fine_lag(signal, dwell, waits, tau, *, dark, steps=4000):
    """Return the mean over each visit of a filter that follows ds/dt = (x - s) / tau in small steps (midpoint rule)."""
    state, out = (0.0 if dark else signal[0]), []
    for x, wait in zip(signal, waits, strict=True):
        for level, time, read in ((0.0 if dark else x, wait, False), (x, dwell, True)):
            h, total = time / steps, 0.0
            for _ in range(steps):
                middle = state + (level - state) * h / (2 * tau)
                state += (level - middle) * h / tau
                total += middle
            if read:
                out.append(total / steps)
    return np.array(out)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("tau", [0.3, 2.0])
def test_lag_is_a_first_order_filter(dark, tau):
    """What is read is the mean over the dwell time of ds/dt = (x - s) / tau, integrated in small steps, also across waits."""
    signal, waits = np.array([3.0, 0.0, 5.0, 1.0, 1.0]), np.array([0.0, 0.0, 1.5, 0.0, 0.4])
    ours = detector_electronics.lagged(signal, 1.0, waits, tau, dark=dark)
    np.testing.assert_allclose(ours, fine_lag(signal, 1.0, waits, tau, dark=dark), atol=1e-5)


@given(seed=st.integers(0, 99), n=st.integers(1, 30), tau=st.floats(0.01, 5))
def test_lag_moves_charge_and_loses_none(seed, n, tau):
    """A constant stays what it is; in the dark and without waits the charge read so far and the filter's own, tau s, are what has arrived."""
    np.testing.assert_allclose(detector_electronics.lagged(np.full((2, n), 4.0), 1.0, np.linspace(0, 1, n), tau, dark=False), 4.0)
    signal = np.random.default_rng(seed).random(n)
    tail = np.concatenate([signal, np.zeros(200)])  # time for all of it to come out
    read = detector_electronics.lagged(tail, 1.0, np.zeros(n + 200), tau, dark=True)
    assert read.sum() == pytest.approx(signal.sum(), rel=1e-9)
    assert (read >= 0).all()
    np.testing.assert_array_equal(detector_electronics.lagged(signal, 1.0, np.zeros(n), 0.0, dark=True), signal)


@given(slope=st.floats(-0.3, 0.3), bowl=st.floats(-0.3, 0.3), twofold=st.floats(-0.3, 0.3), azimuth=st.floats(-4, 4))
def test_the_response_is_a_chance(slope, bowl, twofold, azimuth):
    """It lies between 0 and 1 everywhere on the detector, is 1 everywhere on an even one, and has the mean 1 / (1 + amplitudes)."""
    rho, phi = np.sqrt((np.arange(40) + 0.5) / 40)[:, None], 2 * np.pi * np.arange(36) / 36
    value = detector_electronics.response(5 * rho * np.sin(phi), 5 * rho * np.cos(phi), 5.0, (slope, azimuth), bowl, (twofold, 0.3))
    assert (value > 0).all()
    assert (value <= 1 + 1e-12).all()
    assert value.mean() == pytest.approx(1 / (1 + abs(slope) + abs(bowl) + abs(twofold)))  # equal areas
    np.testing.assert_allclose(detector_electronics.response(rho, phi, 5.0, (0.0, azimuth), 0.0, (0.0, 0.0)), 1.0)
