"""Counting: row 13 of the acceptance table, as far as an ideal counting detector goes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import constants, stats

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics import noise
from stemtwin.twin.physics.poisson import poisson_counts


def test_incident_electrons():
    """50 pA for 1 us are 312.1 electrons, I t / e."""
    assert noise.electrons_per_point(50, 1e-6) == pytest.approx(50e-12 * 1e-6 / constants.e, rel=1e-12)
    assert noise.electrons_per_point(50, 1e-6) == pytest.approx(312.1, abs=0.05)


@given(fraction=st.floats(0.01, 1), current=st.floats(5, 200), dwell=st.floats(2e-6, 1e-4), seed=st.integers(0, 2**32 - 1))
def test_mean_and_variance(fraction, current, dwell, seed):
    """N ~ Poisson(I t f / e): mean and variance are I t f / e, within 1 % and within five of their own standard errors."""
    incident = noise.electrons_per_point(current, dwell)
    expected, draws = fraction * current * 1e-12 * dwell / constants.e, 200_000
    counts = noise.count_electrons(np.full(draws, fraction), incident, np.random.default_rng(seed)).astype(float)
    assert abs(counts.mean() - expected) < max(0.01 * expected, 5 * np.sqrt(expected / draws))
    fourth = expected + 3 * expected**2  # central moment of a Poisson variable
    assert abs(counts.var() - expected) < max(0.01 * expected, 5 * np.sqrt((fourth - expected**2) / draws))


def test_distribution_is_poisson_at_low_dose():
    """At a mean of 1.7 electrons the histogram is Poisson's (chi-squared test)."""
    counts = noise.count_electrons(np.full(100_000, 0.17), 10, np.random.default_rng(5))
    edges = np.arange(8)
    seen = np.append(np.bincount(counts, minlength=8)[:7], (counts >= 7).sum())
    wanted = 100_000 * np.append(stats.poisson.pmf(edges[:7], 1.7), stats.poisson.sf(6, 1.7))
    assert stats.chisquare(seen, wanted).pvalue > 1e-3


def test_seeds():
    """The same generator state gives the same counts; another seed gives others; no other source of randomness."""
    signal = np.linspace(0, 0.2, 64).reshape(8, 8)
    one, same, other = (noise.count_electrons(signal, 300, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()
    assert one.dtype == np.uint32
    assert one.shape == (8, 8)


@pytest.mark.parametrize("draw", [noise.count_electrons, noise.count_electrons_by_inversion])
def test_rounding_below_zero_counts_nothing(draw):
    """A signal a little below zero by rounding gives no electrons, not an error."""
    assert not draw(np.full(100, -1e-9), 1e4, np.random.default_rng(0)).any()


def test_inversion_takes_one_uniform_a_value():
    """By inversion a value's count is that of the Generator's next uniform, whatever the means are; the Generator has then moved on by as many."""
    signal, rng, same = np.linspace(-1e-6, 0.2, 64).reshape(8, 8), np.random.default_rng(4), np.random.default_rng(4)
    counts = noise.count_electrons_by_inversion(signal, 300, rng)
    assert (counts == poisson_counts(300 * np.maximum(signal, 0), same.random((8, 8)))).all()
    assert (counts.dtype, counts.shape) == (np.uint32, (8, 8))
    assert rng.random() == same.random()


@pytest.mark.parametrize(("signal", "incident"), [(np.nan, 1.0), (0.1, -1.0), (0.1, np.inf)])
def test_inversion_refuses_means(signal, incident):
    """A NaN, negative or infinite mean is refused with its place."""
    with pytest.raises(SettingsError, match=r"mean\[2\]=.*outside 0 to"):
        noise.count_electrons_by_inversion(np.array([0.0, 0.0, signal]), np.array([1.0, 1.0, incident]), np.random.default_rng(0))


def test_frames_drawn_together_are_those_drawn_alone():
    """The counts of several frames, drawn together, have the bits of one after the other, and leave each generator where it would stand."""
    signals = np.random.default_rng(4).uniform(-0.01, 0.2, (3, 2, 50)).astype(np.float32)
    incident = [np.full(50, 1e3), np.linspace(0, 5e3, 50), 20.0]
    together, alone = ([np.random.Generator(np.random.Philox(seed)) for seed in range(3)] for _ in range(2))
    found = noise.count_frames_by_inversion(signals, incident, together)
    for frame, signal, electrons, one, other in zip(found, signals, incident, alone, together, strict=True):
        assert (frame == noise.count_electrons_by_inversion(signal, electrons, one)).all()
        assert one.random() == other.random()
