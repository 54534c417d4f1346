"""Counting: row 13 of the acceptance table, as far as an ideal counting detector goes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import constants, stats

from stemtwin.twin.physics import noise


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


def test_rounding_below_zero_counts_nothing():
    """A signal a little below zero by rounding gives no electrons, not an error."""
    assert not noise.count_electrons(np.full(100, -1e-9), 1e4, np.random.default_rng(0)).any()
