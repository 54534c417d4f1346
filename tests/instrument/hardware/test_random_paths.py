"""Random paths as pure functions of the time."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.hardware.random_paths import CHUNK, LARGEST_TIME_S, LEVELS, Wander

BLOCK_S = 2**LEVELS * 2.0**-6


def many(count: int, sigma: float, tau_s: float, step_s: float = 2.0**-6) -> Wander:
    """Return that many independent paths of one law."""
    return Wander(seed=7, streams=range(count), sigma=[sigma] * count, tau_s=[tau_s] * count, step_s=step_s)


@pytest.mark.parametrize("times", [(2.0, 2.0 + 1 / 64, 2.5, 3.0), (3.0, 5.0, 11.0, 40.0), (0.0, 1 / 64, 4.0, 1026.0)])
@pytest.mark.parametrize("tau", [1.5, 30.0, math.inf])
def test_the_moments_are_those_of_the_process(times: tuple[float, ...], tau: float) -> None:
    """Started at 0: cov(x(s), x(t)) = sigma^2 (exp(-|t - s|/tau) - exp(-(t + s)/tau)), or sigma^2 min(s, t), within and across blocks and chunks."""
    count = 500
    values = many(count, 3.0, tau).at(np.array(times))
    s, t = np.meshgrid(times, times)
    law = 9.0 * (np.minimum(s, t) if math.isinf(tau) else np.exp(-np.abs(t - s) / tau) - np.exp(-(t + s) / tau))
    found = values @ values.T / count
    error = np.sqrt((law**2 + np.outer(np.diag(law), np.diag(law))) / count)  # of a covariance of Gaussians
    assert (np.abs(found - law) <= 4.5 * error + 1e-12).all()
    assert (np.abs(values.mean(axis=1)) <= 4.5 * np.sqrt(np.diag(law) / count) + 1e-12).all()


def test_a_step_knows_only_where_it_starts() -> None:
    """Markov and exact: x(t + h) - exp(-h/tau) x(t) is Gaussian, of variance sigma^2 (1 - exp(-2h/tau)), and independent from step to step."""
    tau, h = 3.0, 2.0**-6
    path = many(1, 2.0, tau).at(np.arange(0, 500, h))[:, 0]
    new = path[1:] - math.exp(-h / tau) * path[:-1]
    variance, n = 4 * -math.expm1(-2 * h / tau), new.size
    assert abs(new.var() / variance - 1) < 4.5 * math.sqrt(2 / n)
    for lag in (1, 2, 127, 128, 256):  # neighbours, and the seams of halves and blocks
        assert abs((new[lag:] * new[:-lag]).mean() / variance) < 4.5 / math.sqrt(n - lag)
    assert abs((new**4).mean() / variance**2 - 3) < 4.5 * math.sqrt(96 / n)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 3 * CHUNK * BLOCK_S), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_however_the_time_is_cut_the_bits_are_the_same(times: list[float], random) -> None:
    """A path is a function of the time: one call, many calls, any order, a fresh object and other streams beside it give equal bits."""
    together = Wander(seed=3, streams=(5, 9), sigma=(1.0, 2.0), tau_s=(30.0, math.inf)).at(times)
    path, alone = Wander(seed=3, streams=(9, 5), sigma=(2.0, 1.0), tau_s=(math.inf, 30.0)), Wander(seed=3, streams=(5,), sigma=(1.0,), tau_s=(30.0,))
    order = list(range(len(times)))
    random.shuffle(order)
    for i in order:
        assert np.array_equal(path.at(times[i])[::-1], together[i])
        assert np.array_equal(alone.at(times[i]), together[i, :1])


def test_what_was_forgotten_is_drawn_again() -> None:
    """Blocks and chunks that no longer are in memory come back with the same bits."""
    path = many(2, 1.0, 100.0)
    times = np.arange(0, 10 * CHUNK * BLOCK_S, 111.1)
    first = path.at(times)
    assert np.array_equal(path.at(times[::-1])[::-1], first)


def test_a_path_is_straight_between_knots_and_has_no_jump() -> None:
    """Between knots the path is the straight line, at knots and blocks' seams both sides meet."""
    path = many(1, 1.0, 20.0)
    knots = np.array([0.0, 1 / 64, 4 - 1 / 64, 4.0, 4 + 1 / 64])
    a, b = path.at(knots[:-1]), path.at(knots[1:])
    middles = path.at((knots[1:] + knots[:-1]) / 2)
    assert middles[[0, 2, 3]] == pytest.approx((a + b)[[0, 2, 3]] / 2)
    assert path.at(4.0) == pytest.approx(path.at(np.nextafter(4.0, 0)), abs=1e-9)


def test_streams_and_seeds_are_independent() -> None:
    """Different streams, and different seeds, have uncorrelated paths; without sigma a path is 0."""
    times = np.arange(0, 4000, 1.0)
    a = many(2, 1.0, 2.0).at(times)
    b = Wander(seed=8, streams=(0,), sigma=(1.0,), tau_s=(2.0,)).at(times)
    for x, y in ((a[:, 0], a[:, 1]), (a[:, 0], b[:, 0])):
        assert abs((x * y).mean()) < 4.5 * math.sqrt(2 / times.size)  # correlated samples: tau / (2 step) ones count as one
    assert not Wander(seed=0, streams=(1,), sigma=(0.0,), tau_s=(1.0,)).at(times).any()
    assert Wander(seed=0, streams=(), sigma=(), tau_s=()).at(times).shape == (4000, 0)


def test_a_day_is_quick_and_far_times_are_reached() -> None:
    """The last moment is reached without filling what lies before."""
    path = Wander(seed=0, streams=(0,), sigma=(1.0,), tau_s=(math.inf,), step_s=1.0)
    assert abs(path.at(LARGEST_TIME_S)[0]) < 6 * math.sqrt(LARGEST_TIME_S)


@pytest.mark.parametrize("time", [-1e-9, math.nan, math.inf, 1.1 * LARGEST_TIME_S, "now"])
def test_times_that_make_no_sense_are_refused(time: object) -> None:
    """Negative, endless, late and no numbers."""
    with pytest.raises(SettingsError, match="times_s"):
        many(1, 1.0, 1.0).at(time)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [{"step_s": 0.1}, {"step_s": 0.0}, {"sigma": (-1.0,)}, {"tau_s": (0.0,)}, {"tau_s": (math.nan,)}, {"seed": -1}, {"sigma": (1.0, 2.0)}]
)
def test_laws_that_make_no_sense_are_refused(wrong: dict) -> None:
    """A path's law is checked where it is made."""
    with pytest.raises(SettingsError):
        Wander(**({"seed": 0, "streams": (0,), "sigma": (1.0,), "tau_s": (1.0,)} | wrong))
