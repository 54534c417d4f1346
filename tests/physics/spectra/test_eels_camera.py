"""The spectrometer's camera."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.spectra import eels_camera


@given(width=st.floats(0, 6), tail=st.floats(0, 0.4), seed=st.integers(0, 2**32 - 1))
def test_point_spread_keeps_electrons(width, tail, seed):
    """The point spread has sum 1, and no electron is lost at the camera's ends."""
    weights = eels_camera.point_spread(width, tail, 5.0)
    signal = np.random.default_rng(seed).random((3, 200))
    assert weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(eels_camera.spread(signal, weights).sum(axis=-1), signal.sum(axis=-1), rtol=1e-9)
    np.testing.assert_allclose(weights, weights[::-1], atol=1e-15)


def test_width_of_the_core():
    """One bright channel becomes a line of the asked full width at half maximum."""
    weights = eels_camera.point_spread(8.0)
    assert (weights > weights.max() / 2).sum() == pytest.approx(8, abs=1)


@given(gain=st.floats(0.5, 20), noise=st.floats(0, 10), mean=st.floats(1, 200), seed=st.integers(0, 2**32 - 1))
def test_noise_of_the_read_out(gain, noise, mean, seed):
    """Mean gain N, variance gain^2 N + noise^2, within five standard errors."""
    draws = 40_000
    counts = eels_camera.read_out(np.full(draws, mean), gain, noise, np.random.default_rng(seed))
    variance = gain**2 * mean + noise**2
    assert counts.mean() == pytest.approx(gain * mean, abs=5 * np.sqrt(variance / draws))
    fourth = gain**4 * (mean + 3 * mean**2) + 6 * gain**2 * mean * noise**2 + 3 * noise**4
    assert counts.var() == pytest.approx(variance, abs=5 * np.sqrt((fourth - variance**2) / draws))


def test_gain_map_and_dark():
    """Channels with another gain read in proportion; dark signal adds up."""
    counts = eels_camera.read_out(np.full(4, 1e6), 2.0, 0.0, np.random.default_rng(1), dark=5.0, gain_map=np.array([1.0, 1.0, 0.5, 2.0]))
    np.testing.assert_allclose(counts, [2e6, 2e6, 1e6, 4e6], rtol=0.01)


def test_bad_settings():
    """Negative noise, no gain, a tail that is all: refused."""
    with pytest.raises(SettingsError):
        eels_camera.read_out(np.ones(3), 0.0, 1.0, np.random.default_rng(0))
    with pytest.raises(SettingsError):
        eels_camera.point_spread(1.0, 1.0)
