"""Repeated attempts at the same episodes: the score of stochastic agents, and their reliability.

All attempts at an episode share the seed of the environment. Every attempt has its own seed for the agent and a newly made agent (in a new process
if agents are isolated), so an agent carries nothing from one attempt to the next. The statistics of an episode are the means over its attempts, so
episodes remain the unit of resampling.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from stemtwin.benchmarks.metrics.metric import Metric
from stemtwin.benchmarks.slices import SampleStatistics
from stemtwin.benchmarks.statistics import LEVEL, MIN_CLUSTERS, RESAMPLES, SEED, TAIL, Interval, interquartile_mean, interval
from stemtwin.twin.errors import SettingsError

BATCH = 500
"""Number of resamples drawn at once."""
SUCCESS = "success"
"""Name of the statistic of success, in tasks that have one."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Attempts:
    """Reliability of an agent over repeated attempts.

    Parameters
    ----------
    count : int
        Number of attempts at every episode, k.
    iqm, iqm_interval : float or None, Interval or None
        Interquartile mean of the primary metric over all attempts of all episodes; None if the metric is undefined for any attempt.
    pass_all, pass_all_interval : float or None, Interval or None
        pass^k: the fraction of episodes in which all attempts succeed; None if the task has no statistic of success.
    """

    count: int
    iqm: float | None
    iqm_interval: Interval | None
    pass_all: float | None
    pass_all_interval: Interval | None


def combine_attempts(attempts: Sequence[SampleStatistics]) -> SampleStatistics:
    """Return the statistics of episodes as means over their attempts.

    Parameters
    ----------
    attempts : sequence of SampleStatistics
        Statistics of the same episodes in the same order, one element for each attempt.

    Raises
    ------
    SettingsError
        The attempts were made at different episodes.
    """
    first = attempts[0]
    if any(not np.array_equal(one.ids, first.ids) for one in attempts):
        message = "The attempts were made at different episodes. Give the same episodes in the same order for each."
        raise SettingsError(message)
    if len(attempts) == 1:
        return first
    means = {name: np.mean([one.statistics[name] for one in attempts], axis=0) for name in first.statistics}
    return dataclasses.replace(first, statistics=means)


def reliability(metric: Metric, attempts: Sequence[SampleStatistics]) -> Attempts:
    """Return the interquartile mean and pass^k of an agent over repeated attempts, with intervals.

    Parameters
    ----------
    metric : Metric
        The primary metric.
    attempts : sequence of SampleStatistics
        Statistics of the same episodes in the same order, one element for each attempt.
    """
    combined = combine_attempts(attempts)
    values = np.array([metric.formula(one.statistics) for one in attempts], dtype=float)
    defined = bool(np.isfinite(values).all())
    tried = [one.statistics.get(SUCCESS) for one in attempts]
    passed = None if any(one is None for one in tried) else np.all(np.array(tried) > 0, axis=0)
    return Attempts(
        count=len(attempts),
        iqm=float(interquartile_mean(values.ravel())) if defined else None,
        iqm_interval=_iqm_interval(values, combined) if defined else None,
        pass_all=None if passed is None else float(passed.mean()),
        pass_all_interval=None if passed is None else _share_interval(passed, combined),
    )


def _iqm_interval(values: np.ndarray, samples: SampleStatistics) -> Interval | None:
    """Return the interval of the interquartile mean; clusters are drawn with all their attempts."""
    labels, index = np.unique(samples.clusters, return_inverse=True)
    if len(labels) < MIN_CLUSTERS:
        return None
    rng = np.random.Generator(np.random.Philox(SEED))
    flat = values.ravel()
    order, member = np.argsort(flat), np.tile(index, len(values))
    drawn = []
    for _ in range(0, RESAMPLES, BATCH):
        times = rng.multinomial(len(labels), np.full(len(labels), 1 / len(labels)), size=BATCH)[:, member[order]]
        drawn.append(_middle_mean(flat[order], times))
    low, high = np.quantile(np.concatenate(drawn)[:RESAMPLES], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(
        method="cluster-percentile", level=LEVEL, low=float(low), high=float(high), n_clusters=len(labels), resamples=RESAMPLES, seed=SEED
    )


def _middle_mean(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return the interquartile means (b,) of sorted values (n,) with multiplicities (b, n)."""
    upto = np.cumsum(times, axis=1)
    count = upto[:, -1:]
    low = (TAIL * count).astype(np.int64)
    kept = np.clip(upto, low, count - low) - np.clip(upto - times, low, count - low)
    return kept @ values / (count - 2 * low)[:, 0]


def _share_interval(passed: np.ndarray, samples: SampleStatistics) -> Interval | None:
    """Return the interval of a fraction of episodes."""
    counted = dataclasses.replace(samples, statistics={"samples": np.ones(len(passed), dtype=np.int64), "passed": passed.astype(np.int64)})
    return interval(lambda sums: np.asarray(sums["passed"]) / np.asarray(sums["samples"]), counted, proportion=True)
