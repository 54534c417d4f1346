"""Bootstrap intervals that draw whole clusters.

Samples of one specimen are alike, so intervals that resample single samples are too narrow. The intervals of this module resample clusters
(specimens). A metric is a formula of sums, so a resample costs one matrix product: the sums of the clusters, weighted by how often each
cluster was drawn.
"""

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from stemtwin.benchmarks.slices import SampleStatistics, Sums

MIN_CLUSTERS = 5
RESAMPLES = 9999
LEVEL = 0.95
SEED = 20260101
TAIL = 0.25
"""Fraction of values that the interquartile mean leaves out at either end."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A confidence interval and its method.

    Parameters
    ----------
    method : str
        ``"cluster-bca"``, ``"cluster-percentile"`` (where BCa is undefined) or ``"wilson"`` (a proportion of independent trials).
    level, low, high : float
        Nominal coverage; lower and upper end of the interval, in the unit of the metric.
    n_clusters, resamples, seed : int
        Number of clusters, number of resamples (0 for a closed form), and seed of the resampling.
    """

    method: str
    level: float
    low: float
    high: float
    n_clusters: int
    resamples: int
    seed: int


def interval(
    formula: Callable[[Sums], np.ndarray],
    samples: SampleStatistics,
    *,
    proportion: bool = False,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Interval | None:
    """Return the interval of a metric over clusters, or None if it cannot be computed.

    Parameters
    ----------
    formula : callable
        The metric: a function of the sums by name, each (...,) or (..., k), that returns values (...,).
    samples : SampleStatistics
        Additive statistics of the samples and their clusters.
    proportion : bool
        Whether the metric is the fraction of samples that succeed. If True and every cluster is a single sample, Wilson's interval is used,
        because a bootstrap fails when all trials end alike.
    level : float
        Nominal coverage.
    resamples, seed : int
        Number of resamples; seed of the Philox generator that draws them.

    Returns
    -------
    Interval or None
        None for fewer than five clusters, and if the metric is undefined in some resamples.
    """
    sums = samples.cluster_sums()
    n = len(np.unique(samples.clusters))
    if n < MIN_CLUSTERS:
        return None
    if proportion and n == len(samples):
        from scipy import stats  # takes half a second, which commands without intervals save

        share = float(formula(samples.sums()))
        found = stats.binomtest(round(share * n), n).proportion_ci(level, method="wilson")
        return Interval(method="wilson", level=level, low=float(found.low), high=float(found.high), n_clusters=n, resamples=0, seed=seed)
    low, high, drawn = _bootstrap(_resampled(formula, sums, n), n, level=level, resamples=resamples, seed=seed)
    if not np.isfinite(drawn).all():
        return None
    method = "cluster-bca"
    if not (np.isfinite(low) and np.isfinite(high)) or np.ptp(drawn) == 0:
        low, high = (float(end) for end in np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]))
        method = "cluster-percentile"
    return Interval(method=method, level=level, low=low, high=high, n_clusters=n, resamples=resamples, seed=seed)


def _bootstrap(
    statistic: Callable[..., np.ndarray],
    n: int,
    *,
    level: float,
    resamples: int,
    seed: int,
) -> tuple[float, float, np.ndarray]:
    """Return the ends of the BCa interval of a statistic of n clusters (nan where undefined) and the resampled values."""
    from scipy import stats

    with warnings.catch_warnings(), np.errstate(all="ignore"), threadpool_limits(1):
        warnings.simplefilter("ignore")  # degenerate data give nan, which the caller handles
        result = stats.bootstrap(
            (np.arange(n),),
            statistic,
            n_resamples=resamples,
            batch=1000,
            vectorized=True,
            axis=-1,
            confidence_level=level,
            method="BCa",
            rng=np.random.Generator(np.random.Philox(seed)),
        )
    return float(result.confidence_interval.low), float(result.confidence_interval.high), result.bootstrap_distribution


def _resampled(formula: Callable[[Sums], np.ndarray], sums: Sums, n: int) -> Callable[..., np.ndarray]:
    """Return a vectorised statistic of cluster indices: the formula of the sums over the clusters drawn."""
    table = np.concatenate([np.asarray(array, dtype=float).reshape(n, -1) for array in sums.values()], axis=1)
    widths = np.cumsum([0] + [array[0].size for array in sums.values()])

    def statistic(index: np.ndarray, axis: int = -1) -> np.ndarray:
        """Return the formula of the drawn clusters, the shape of ``index`` without ``axis``."""
        index = np.moveaxis(np.asarray(index), axis, -1)
        rows = index.reshape(-1, index.shape[-1])
        flat = (np.arange(len(rows))[:, None] * n + rows).ravel()
        times = np.bincount(flat, minlength=len(rows) * n).reshape(len(rows), n)
        total = times @ table
        drawn = {
            name: total[:, low:high].reshape(len(rows), *array.shape[1:])
            for (name, array), low, high in zip(sums.items(), widths[:-1], widths[1:], strict=True)
        }
        return formula(drawn).reshape(index.shape[:-1])

    return statistic


def interquartile_mean(values: np.ndarray, axis: int = 0) -> Any:
    """Return the mean of the middle half of values."""
    from scipy import stats

    return stats.trim_mean(values, TAIL, axis=axis)
