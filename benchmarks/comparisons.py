"""Comparisons of entries on the same samples: paired differences, ranks, and the smallest detectable difference.

Two entries tend to fail on the same hard specimens, so the difference of their scores scatters less than the scores themselves. The overlap of their
intervals therefore says little about the difference [1]_. Here clusters (specimens) are drawn once, every entry is scored on the same draws, and the
difference is computed for each draw.

The interval of a difference is the expanded percentile interval [2]_, because plain percentiles give intervals that are too narrow for few clusters.
With n clusters, the percentiles are taken at the level 2 Phi(t sqrt(n / (n - 1))) - 1 instead of the nominal level, where t is Student's quantile
with n - 1 degrees of freedom. The ends are order statistics of the draws, so the interval for B minus A is exactly that for A minus B
with the signs reversed.

The minimum detectable difference is the true difference that is detected in 80 % of repeated comparisons at a level of 95 % [3]_::

    (t(0.975, n - 1) + t(0.8, n - 1)) SE,    SE^2 = n / (n - 1) var(differences over the draws)

where SE is the paired standard error. For a single entry, the formula assumes a second, independent entry with the same scatter, so SE is sqrt(2)
times the standard error of the entry. Between entries that fail on the same specimens, smaller differences are detected.

References
----------
.. [1] E. Miller, Adding Error Bars to Evals, arXiv:2411.00640 (2024): clustered and paired standard errors, and power.
.. [2] T. C. Hesterberg, What Teachers Should Know About the Bootstrap, Am. Stat. 69, 371 (2015).
.. [3] H. S. Bloom, Minimum Detectable Effects, Evaluation Review 19, 547 (1995).
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from stemtwin.benchmarks.slices import SampleStatistics, Sums
from stemtwin.benchmarks.statistics import LEVEL, MIN_CLUSTERS, RESAMPLES, SEED
from stemtwin.twin.errors import SettingsError

POWER = 0.8
CELLS = 4_000_000  # counts held in memory at once

Formula = Callable[[Sums], np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ClusterSums:
    """Per-cluster sums of the statistics that one metric needs.

    Parameters
    ----------
    labels : tuple of str
        The clusters, sorted.
    sums : dict
        Sums by the name of the statistic; each is a list that holds, for every cluster, one number or one list of numbers.
    """

    labels: tuple[str, ...]
    sums: dict[str, list[float | list[float]]]

    def __post_init__(self) -> None:
        """Check that every cluster occurs once and has its sums."""
        if len(set(self.labels)) < len(self.labels):
            message = f"labels={self.labels} contain a cluster twice. Give each cluster once."
            raise SettingsError(message)
        for name, values in self.sums.items():
            if len(values) != len(self.labels):
                message = f"sums of {name!r} have {len(values)} entries for {len(self.labels)} labels. Give one for each label."
                raise SettingsError(message)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PairedDifference:
    """The difference of two scores on the same samples, first minus second, in the metric's unit.

    Parameters
    ----------
    value, low, high : float
        The difference and the ends of its interval.
    standard_error : float
        Paired standard error.
    n_clusters : int
        Number of clusters.
    """

    value: float
    low: float
    high: float
    standard_error: float
    n_clusters: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """An entry to be ordered: its score, the ends of its interval, and the sums of its clusters.

    ``ends`` is None if the entry has no interval, ``clusters`` is None if the sums are not stored.
    """

    value: float
    ends: tuple[float, float] | None
    clusters: ClusterSums | None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """Ranks of entries from the comparisons of all pairs.

    Parameters
    ----------
    places : tuple of (int, int)
        Best and worst rank of each entry, from 1.
    paired : tuple of bool
        One value for each entry. Two entries with True were compared by their paired difference. If either has False, one of the two counts as
        better only if their intervals do not overlap.
    detectable : float or None
        Median of the minimum detectable differences over all pairs that were compared by paired differences. Pairs whose scores do not differ are
        left out. None if there are fewer than five clusters, or if every pair is left out.
    """

    places: tuple[tuple[int, int], ...]
    paired: tuple[bool, ...]
    detectable: float | None


class _Watched(Mapping[str, np.ndarray]):
    """Sums that record the names that are read."""

    def __init__(self, sums: Sums) -> None:
        self.sums, self.read = sums, set[str]()

    def __getitem__(self, name: str) -> np.ndarray:
        self.read.add(name)
        return self.sums[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.sums)

    def __len__(self) -> int:
        return len(self.sums)


def cluster_sums(formula: Formula, samples: SampleStatistics) -> ClusterSums:
    """Return the per-cluster sums of the statistics that a metric needs."""
    watched = _Watched(samples.sums())
    formula(watched)
    table = samples.cluster_sums()
    labels = tuple(np.unique(samples.clusters).astype(str).tolist())
    return ClusterSums(labels=labels, sums={name: table[name].tolist() for name in sorted(watched.read)})


def resample(formula: Formula, entries: Sequence[ClusterSums], *, resamples: int = RESAMPLES, seed: int = SEED) -> np.ndarray:
    """Score entries on the same bootstrap draws of their clusters.

    Parameters
    ----------
    formula : callable
        The metric: a function of the sums by name, each (...,) or (..., k), that returns values (...,).
    entries : sequence of ClusterSums
        m entries with the same clusters.
    resamples, seed : int
        Number of draws; seed of the Philox generator that draws.

    Returns
    -------
    ndarray
        (m, resamples) values of the metric; not finite where the metric is undefined for a draw.

    Raises
    ------
    SettingsError
        The clusters of the entries differ.
    """
    labels = entries[0].labels
    if odd := [entry for entry in entries if entry.labels != labels]:
        message = f"The clusters of the entries differ ({len(labels)} and {len(odd[0].labels)} of them). Compare only entries on the same samples."
        raise SettingsError(message)
    tables = [{name: np.asarray(values, dtype=float) for name, values in entry.sums.items()} for entry in entries]
    rng, n = np.random.Generator(np.random.Philox(seed)), len(labels)
    out = np.empty((len(entries), resamples))
    batch = max(1, CELLS // n)
    with threadpool_limits(1), np.errstate(all="ignore"):
        for start in range(0, resamples, batch):
            rows = min(batch, resamples - start)
            drawn = rng.integers(0, n, (rows, n)) + n * np.arange(rows)[:, None]
            times = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(float)
            for values, table in zip(out, tables, strict=True):
                values[start : start + rows] = formula({name: times @ array for name, array in table.items()})
    return out


def difference(formula: Formula, first: ClusterSums, second: ClusterSums, *, resamples: int = RESAMPLES, seed: int = SEED) -> PairedDifference | None:
    """Return the paired difference of two entries, first minus second; :func:`resample` describes the arguments.

    The result is None for fewer than five clusters, or if a score is undefined for some draws.
    """
    n = len(first.labels)
    one, other = resample(formula, (first, second), resamples=resamples, seed=seed)
    apart, rank = np.sort(one - other), _rank(n, resamples)
    if rank < 1 or not np.isfinite(apart).all():
        return None
    value = _score(formula, first) - _score(formula, second)
    error = float(_standard_errors(np.stack([one, other]), n)[0, 1])
    return PairedDifference(value=value, low=float(apart[rank - 1]), high=float(apart[-rank]), standard_error=error, n_clusters=n)


def _score(formula: Formula, entry: ClusterSums) -> float:
    """Return the metric over all clusters."""
    return float(formula({name: np.asarray(values, dtype=float).sum(axis=0) for name, values in entry.sums.items()}))


def _rank(n: int, resamples: int) -> int:
    """Return the rank, from 1 at the smallest draw, of the lower end of the expanded percentile interval; 0 where there is none."""
    from scipy import stats

    if n < MIN_CLUSTERS:
        return 0
    tail = stats.norm.cdf(stats.t.ppf((1 - LEVEL) / 2, n - 1) * np.sqrt(n / (n - 1)))
    return int(tail * (resamples + 1))


def told_apart(drawn: np.ndarray, n: int, *, direction: str) -> np.ndarray:
    """Decide for each pair of entries whether the interval of their difference excludes 0.

    Parameters
    ----------
    drawn : ndarray
        (m, resamples) from :func:`resample`.
    n : int
        Number of clusters.
    direction : str
        ``"max"`` if larger values are better, ``"min"`` if smaller values are better.

    Returns
    -------
    ndarray
        (m, m) bool: element [i, j] is True if entry i is better than entry j.
    """
    values, rank = drawn if direction == "max" else -drawn, _rank(n, drawn.shape[1])
    defined = np.isfinite(drawn).all(axis=1)
    not_better = np.array([np.count_nonzero(one <= values, axis=1) for one in values])
    return (not_better < rank) & np.logical_and.outer(defined, defined)


def _standard_errors(drawn: np.ndarray, n: int) -> np.ndarray:
    """Return the standard errors of the differences between all pairs of entries, (m, m); 0 below a millionth of their scatter, which is rounding.

    The difference is not finite for draws that do not define one of the two.
    """
    with np.errstate(invalid="ignore"), threadpool_limits(1):
        centred = drawn - drawn.mean(axis=1, keepdims=True)
        products = centred @ centred.T / (drawn.shape[1] - 1)
        both = np.add.outer(np.diag(products), np.diag(products))
        squares = both - 2 * products
        return np.sqrt(np.where(squares < 1e-12 * both, 0, squares) * n / (n - 1))


def detectable_difference(standard_error: float, n: int) -> float:
    """Return the minimum detectable difference of a comparison over n clusters.

    ``standard_error`` is the standard error of the difference, in the unit of the result.
    """
    from scipy import stats

    return float((stats.t.ppf((1 + LEVEL) / 2, n - 1) + stats.t.ppf(POWER, n - 1)) * standard_error)


def detectable_beside(formula: Formula, entry: ClusterSums) -> float | None:
    """Return the minimum detectable difference between an entry and an independent second entry with the same scatter.

    The result is None if there are fewer than five clusters, if the metric is undefined for some draws, or if the scores do not scatter.
    """
    n = len(entry.labels)
    if n < MIN_CLUSTERS:
        return None
    (drawn,) = resample(formula, (entry,))
    found = detectable_difference(float(np.sqrt(2 * n / (n - 1)) * drawn.std(ddof=1)), n)
    return found if np.isfinite(found) and found > 0 else None


def order(formula: Formula | None, entries: Sequence[Standing], *, direction: str) -> Order:
    """Return the ranks of entries from comparisons of all pairs.

    A pair of entries is compared by the paired difference if both entries have stored sums for the same clusters, such as specimens. Any other pair
    is compared by the two intervals. Every pair is decided separately at 95 %, so ties need not be transitive, and one in twenty pairs of equal
    entries is separated by chance.

    Parameters
    ----------
    formula : callable or None
        The metric; None if the metric is no longer known, in which case all pairs are decided by intervals.
    entries : sequence of Standing
        Entries on the same samples.
    direction : str
        ``"max"`` if larger values are better, ``"min"`` if smaller values are better.
    """
    better = _apart_by_intervals([entry.ends for entry in entries], direction)
    kept = [entry.clusters for entry in entries]
    labels = next((each.labels for each in kept if each is not None), None) if formula else None
    paired = [each is not None and each.labels == labels for each in kept]
    members, detectable = np.flatnonzero(paired), None
    if formula and labels and len(members) > 1:
        drawn, n = resample(formula, [each for each in kept if each is not None and each.labels == labels]), len(labels)
        better[np.ix_(members, members)] = told_apart(drawn, n, direction=direction)
        errors = _standard_errors(drawn, n)[np.triu_indices(len(members), k=1)] if n >= MIN_CLUSTERS else np.empty(0)
        errors = errors[np.isfinite(errors) & (errors > 0)]
        detectable = detectable_difference(float(np.median(errors)), n) if len(errors) else None
    places = tuple((1 + int(better[:, i].sum()), len(entries) - int(better[i].sum())) for i in range(len(entries)))
    return Order(places=places, paired=tuple(paired), detectable=detectable)


def _apart_by_intervals(ends: Sequence[tuple[float, float] | None], direction: str) -> np.ndarray:
    """Decide for each pair whether the first one's whole interval is better, (m, m) bool; without an interval nothing is decided."""
    low, high = np.array([pair or (np.nan, np.nan) for pair in ends], dtype=float).reshape(-1, 2).T
    return low[:, None] > high if direction == "max" else high[:, None] < low
