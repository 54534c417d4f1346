"""Attempts: means over attempts, episodes as clusters, and the share of episodes in which all attempts succeed."""

import numpy as np
import pytest

from stemtwin.benchmarks.attempts import combine_attempts, reliability
from stemtwin.benchmarks.metrics.metric import Metric, mean_of
from stemtwin.benchmarks.slices import SampleStatistics
from stemtwin.benchmarks.statistics import interval
from stemtwin.twin.errors import SettingsError

METRIC = Metric(name="skill", title="skill", formula=mean_of("skill"), text="skill / samples", references=())


def attempt(skill: np.ndarray, success: np.ndarray | None = None) -> SampleStatistics:
    """Return the statistics of one attempt at n episodes."""
    ids = np.array([f"{number:03d}" for number in range(len(skill))])
    statistics = {"samples": np.ones(len(skill), dtype=np.int64), "skill": skill} | ({} if success is None else {"success": success})
    return SampleStatistics(ids=ids, clusters=ids, statistics=statistics, columns={})


def test_attempts_at_equal_episodes_are_no_more_episodes() -> None:
    """Four equal attempts have the value and the interval of one: they are not taken for more episodes."""
    skill = np.random.default_rng(0).normal(size=40)
    one = attempt(skill)
    four = combine_attempts([one] * 4)
    assert len(four) == 40
    np.testing.assert_allclose(four.statistics["skill"], skill)
    here, there = interval(METRIC.formula, one), interval(METRIC.formula, four)
    assert here is not None
    assert there is not None
    assert (here.low, here.high) == pytest.approx((there.low, there.high))


def test_the_share_of_reliable_episodes_falls_as_the_power_of_independent_attempts() -> None:
    """With chances p in each of k independent attempts, pass^k is p^k, and the interval holds it."""
    rng = np.random.default_rng(1)
    tries = [attempt(np.zeros(400), (rng.random(400) < 0.8).astype(int)) for _ in range(3)]
    found = reliability(METRIC, tries)
    assert found.pass_all == pytest.approx(0.8**3, abs=0.08)
    assert found.pass_all_interval is not None
    assert found.pass_all_interval.low < 0.8**3 < found.pass_all_interval.high


def test_the_interquartile_mean_forgets_the_worst_quarter() -> None:
    """A fifth of disasters moves the mean and not the interquartile mean."""
    skill = np.ones(50)
    skill[:10] = -100.0
    found = reliability(METRIC, [attempt(skill), attempt(skill)])
    assert found.iqm == 1.0
    assert found.pass_all is None
    assert found.count == 2


def test_attempts_at_other_episodes_are_refused() -> None:
    """Attempts must be at the same episodes."""
    with pytest.raises(SettingsError, match="different episodes"):
        combine_attempts([attempt(np.zeros(3)), attempt(np.zeros(4))])
