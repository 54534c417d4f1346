"""Bounds of errors: the best possible method does not fall below them, and they are as tight as stated."""

import numpy as np
import pytest
from scipy.stats import poisson

from stemtwin.benchmarks import position_bound, wavefront_bound
from stemtwin.benchmarks.error_bounds import normal_mean_absolute, uniform_mean_square, wrong_decision
from stemtwin.benchmarks.metrics import wavefront
from stemtwin.datasets.generators.ronchigram import COEFFICIENTS

LENGTH, WIDTH = 0.5, 0.25


def spots(places: np.ndarray, electrons: float) -> np.ndarray:
    """Return the mean counts of a Gaussian column on a background in a line of pixels, (places, 40)."""
    x = np.linspace(-2, 2, 40)
    shape = np.exp(-((x - np.asarray(places)[:, None]) ** 2) / (2 * WIDTH**2))
    return electrons * shape / shape.sum(axis=1, keepdims=True) + 0.01


def posterior(counts: np.ndarray, grid: np.ndarray, means: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Return the posterior probabilities of the values of a grid, (draws, grid)."""
    logs = counts @ np.log(means).T - means.sum(axis=1) + np.log(prior)
    odds = np.exp(logs - logs.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("electrons", [0.01, 2.0, 10.0, 100.0, 3000.0])
def test_the_posterior_mean_is_not_below_the_bound(electrons: float) -> None:
    """The best estimate of a column's place has a mean square error of 1 to 1 / 0.6 times the bound, at any dose (4 % by chance)."""
    rng = np.random.default_rng(7)
    grid = np.linspace(-LENGTH / 2, LENGTH / 2, 401)
    true = rng.uniform(-LENGTH / 2, LENGTH / 2, 4000)
    counts = rng.poisson(spots(true, electrons))
    found = posterior(counts, grid, spots(grid, electrons), np.ones(len(grid))) @ grid
    error = float(np.mean((found - true) ** 2))
    apart = LENGTH * np.geomspace(1e-3, 1, 15)
    squares = ((np.sqrt(spots(apart / 2, electrons)) - np.sqrt(spots(-apart / 2, electrons))) ** 2).sum(axis=1)
    least = float(uniform_mean_square(apart, squares, LENGTH))
    assert 0.96 * least < error < 1.04 * least / 0.6


def test_without_counts_the_error_is_that_of_the_prior() -> None:
    """A uniform prior has the variance length^2 / 12, a normal one the mean absolute value sqrt(2 / pi) of its width."""
    assert uniform_mean_square(np.array([0.1, 0.5]), np.zeros(2), 0.5) == pytest.approx(0.25 / 12, rel=1e-3)
    assert normal_mean_absolute(0.0, 4.0) == pytest.approx(0.5 * np.sqrt(2 / np.pi), rel=1e-3)


@pytest.mark.parametrize("information", [0.3, 4.0, 100.0])
def test_the_posterior_median_is_not_below_the_bound(information: float) -> None:
    """A parameter with the prior N(0, 1) moves a large mean: the best mean absolute error is 1 to 1.4 times the bound."""
    least = normal_mean_absolute(information, 1.0)
    assert least < np.sqrt(2 / np.pi / (1 + information)) < 1.4 * least


@pytest.mark.parametrize(("one", "other"), [(0.2, 1.0), (3.0, 5.0), (10.0, 40.0)])
def test_no_decision_is_better_than_the_likelier_mean(one: float, other: float) -> None:
    """The more probable of two Poisson means is wrong at least as often as stated, and at most with the probability exp(-S / 2) / 2."""
    counts = np.arange(200)
    wrong = 0.5 * np.minimum(poisson.pmf(counts, one), poisson.pmf(counts, other)).sum()
    squares = (np.sqrt(one) - np.sqrt(other)) ** 2
    assert wrong_decision(squares) <= wrong <= 0.5 * np.exp(-squares / 2)


def test_a_frame_of_columns_is_placed_better_than_one_column() -> None:
    """Four equal columns halve the error, and n electrons without background leave 0.61 of width^2 / n an axis (2 %)."""
    step, electrons = 0.1, 40_000.0
    places = np.array([[2.0, 2.0], [6.0, 2.0], [2.0, 6.0], [6.0, 6.0]])
    y, x = np.mgrid[:80, :80] * step
    spot = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * WIDTH**2)) for px, py in places)
    counts = 4 * electrons * spot / spot.sum()
    axes = tuple(position_bound.shift_squares(counts, step, axis) for axis in (0, 1))
    masks = list(position_bound.around(places, step, counts.shape))
    single = position_bound.least_distance(tuple(np.array([one[:, mask].sum(axis=1) for mask in masks]) for one in axes))
    frame = position_bound.least_distance(tuple(one.sum(axis=(1, 2)) for one in axes))
    assert single == pytest.approx([np.sqrt(2 * 2 * (1 - np.log(2)) * WIDTH**2 / electrons)] * 4, rel=0.02)
    assert frame == pytest.approx(single[0] / 2, rel=0.02)


def test_the_least_mean_phase_is_that_of_the_coefficient_known_worst() -> None:
    """Where all but defocus is known, the bound is that of defocus times the phase of one angstrom; more counts lower it."""
    weights, known = wavefront_bound.phase_weights(30.0, 200e3), np.diag([1e12] * len(COEFFICIENTS))
    known[0, 0], prior, one = 3.0, np.diag([1.0] + [0.0] * 11), np.zeros(12)
    one[0] = 1.0
    least = wavefront_bound.least_mean_phase(known, prior, weights)
    assert least == pytest.approx(normal_mean_absolute(3.0, 1.0) * wavefront.residual_phase(one, 30.0, 200e3), rel=1e-3)
    assert wavefront_bound.least_mean_phase(4 * known, 4 * prior, weights) == pytest.approx(least / 2, rel=1e-6)
    assert least < wavefront_bound.least_phase([known], prior, 30.0, 200e3)
