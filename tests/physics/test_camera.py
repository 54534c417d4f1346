"""What a camera makes of electrons."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemtwin.twin.physics import camera
from stemtwin.twin.physics.camera import Defects, Response

WHOLE = Defects(live=np.ones((24, 20)), hot=np.zeros((24, 20)))


@given(spread=st.floats(0.3, 3.0), frequency=st.floats(0, 0.5))
def test_the_modulation_transfer_function_is_gaussian(spread, frequency):
    """A normal distribution over whole pixels has the contrast exp(-2 pi^2 s^2 f^2) sinc(f), summed over its aliases; weights add up to 1."""
    weights = camera.spread_weights(spread)
    n = len(weights) // 2
    contrast = (weights * np.cos(2 * np.pi * frequency * np.arange(-n, n + 1))).sum()
    f = frequency + np.arange(-9, 10)
    assert weights.sum() == pytest.approx(1, rel=1e-12)
    assert contrast == pytest.approx((np.exp(-2 * (np.pi * spread * f) ** 2) * np.sinc(f)).sum(), abs=1e-6)


def test_spreading_keeps_electrons_away_from_the_edge():
    """A point in the middle keeps its electrons; at the edge a part falls beside the camera."""
    points = np.zeros((2, 24, 20))
    points[0, 12, 10] = points[1, 0, 10] = 1
    mean = camera.mean_counts(points, 1000.0, Response(spread=1.0, efficiency=0.5), WHOLE)
    np.testing.assert_allclose(mean.sum(axis=(1, 2))[0], 500, rtol=1e-9)
    assert 250 < mean[1].sum() < 450


def test_counts_are_poissonian_however_far_they_are_spread():
    """Mean and variance of each pixel are the mean count; neighbours are independent (each electron is counted once)."""
    patterns = np.full((4000, 24, 20), 1 / 480)
    counts = camera.expose(patterns, 480 * 20.0, Response(spread=1.5, efficiency=0.8), WHOLE, np.random.default_rng(3)).astype(float)
    inner = counts[:, 8:-8, 8:-8]
    assert counts.dtype == float
    assert inner.mean() == pytest.approx(16, rel=5e-3)
    assert inner.var(axis=0).mean() == pytest.approx(16, rel=1e-2)
    deviation = inner - inner.mean(axis=0)
    assert abs((deviation[:, :, 1:] * deviation[:, :, :-1]).mean()) < 0.05 * 16


def test_dead_and_hot_pixels():
    """A dead pixel counts nothing; a hot one counts without a beam; shares are what was asked for, and binning averages them."""
    defects = camera.draw_defects((200, 200), 1, 0.1, 0.05, np.random.default_rng(0))
    assert set(np.unique(defects.live)) == {0.0, 1.0}
    assert (1 - defects.live).mean() == pytest.approx(0.1, abs=0.01)
    assert defects.hot.mean() == pytest.approx(0.05, abs=0.005)
    assert not (defects.hot * (1 - defects.live)).any()
    dark = camera.expose(np.zeros((200, 200)), 0.0, Response(hot=100, dark=0.0), defects, np.random.default_rng(1))
    assert (dark[defects.hot == 0] == 0).all()
    assert dark[defects.hot == 1].mean() == pytest.approx(100, rel=0.02)
    lit = camera.expose(np.full((200, 200), 1e-4), 1e6, Response(), defects, np.random.default_rng(1))
    assert (lit[defects.live == 0] == 0).all()
    binned = camera.draw_defects((100, 100), 2, 0.1, 0.05, np.random.default_rng(0))
    assert binned.live.shape == (100, 100)
    assert set(np.unique(binned.live)) <= {0, 0.25, 0.5, 0.75, 1}


def test_readout_noise_adds_its_variance_and_saturation_cuts():
    """Variance is counts plus readout^2; nothing lies above the saturation."""
    counts = camera.expose(np.full((500, 24, 20), 0.01), 1000.0, Response(readout=3.0), WHOLE, np.random.default_rng(2))
    assert counts.dtype == np.float32
    assert counts.var() == pytest.approx(10 + 9, rel=1e-2)
    cut = camera.expose(np.full((24, 20), 0.01), 1e5, Response(saturation=900), WHOLE, np.random.default_rng(2))
    assert cut.dtype == np.uint32
    assert cut.max() == 900
