"""Paired comparisons: coverage, false ties, power, agreement with a loop, symmetry, order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stemtwin.benchmarks import comparisons
from stemtwin.benchmarks.comparisons import ClusterSums, Standing, cluster_sums, detectable_beside, detectable_difference, difference, order, resample
from stemtwin.benchmarks.metrics.detection import f1
from stemtwin.benchmarks.metrics.metric import mean_of
from stemtwin.benchmarks.slices import SampleStatistics
from stemtwin.benchmarks.statistics import MIN_CLUSTERS, interval
from stemtwin.twin.errors import SettingsError

MEAN = mean_of("value")


def clusters_of(values, size=4):
    """Return the sums of clusters of equal size whose mean metric is the mean of the values."""
    values = np.asarray(values, dtype=float)
    labels = tuple(f"{number:04d}" for number in range(len(values)))
    return ClusterSums(labels=labels, sums={"value": (size * values).tolist(), "samples": [size] * len(values)})


def standing(values, *, kept=True):
    """Return the standing of an entry with an interval of its own."""
    values = np.asarray(values, dtype=float)
    half = 2 * values.std(ddof=1) / np.sqrt(len(values))
    return Standing(value=values.mean(), ends=(values.mean() - half, values.mean() + half), clusters=clusters_of(values) if kept else None)


def pairs(seed, count, n, *, apart=0.0, own=0.3):
    """Yield simulated pairs of entries that share the difficulty of their clusters; the second is better by a true difference on average."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        shared = rng.gamma(2.0, size=n)
        yield clusters_of(shared + own * rng.normal(size=n)), clusters_of(apart + shared + own * rng.normal(size=n))


@pytest.mark.slow
@pytest.mark.parametrize(("n", "low", "high"), [(6, 0.90, 0.99), (20, 0.925, 0.975), (60, 0.935, 0.965)])
def test_coverage_of_paired_differences(n, low, high):
    """A nominal 95 % interval of the difference holds the truth: in 93.5 to 96.5 % of 1,000 pairs of entries on 60 clusters, hardly worse on six."""
    found = [difference(MEAN, other, one, resamples=999) for one, other in pairs(1, 1000, n, apart=0.1)]
    inside = [each.low <= 0.1 <= each.high for each in found if each]
    assert len(inside) == 1000
    assert low <= np.mean(inside) <= high


@pytest.mark.slow
@pytest.mark.parametrize("n", [10, 40])
def test_power_at_the_minimum_detectable_difference(n):
    """Entries that are apart by the minimum detectable difference are told apart in 80 % of repetitions, and those by none of it in 5 %."""
    own = 0.3
    apart = detectable_difference(own * np.sqrt(2 / n), n)
    told = [difference(MEAN, other, one, resamples=999).low > 0 for one, other in pairs(2, 600, n, apart=apart, own=own)]
    assert np.mean(told) == pytest.approx(0.8, abs=0.06)
    false = [order(MEAN, [_bare(one), _bare(other)], direction="max").places != ((1, 2), (1, 2)) for one, other in pairs(3, 200, n, own=own)]
    assert 0.01 <= np.mean(false) <= 0.09


def _bare(entry):
    return Standing(value=0.0, ends=None, clusters=entry)


@pytest.mark.slow
def test_pairs_are_told_apart_where_intervals_overlap():
    """Entries that fail on the same specimens: their differences tell nine of ten pairs apart, of which nearly all intervals overlap."""
    paired, overlapping = 0, 0
    for one, other in pairs(4, 200, 30, apart=0.3):
        paired += order(MEAN, [_bare(one), _bare(other)], direction="max").places == ((2, 2), (1, 1))
        ends = [interval(MEAN, _samples(entry), resamples=299) for entry in (one, other)]
        overlapping += ends[0].high >= ends[1].low
    assert paired >= 180
    assert overlapping >= 190


def _samples(entry):
    labels = np.array(entry.labels)
    return SampleStatistics(ids=labels, clusters=labels, statistics={name: np.array(values) for name, values in entry.sums.items()}, columns={})


def counts(rng, n):
    """Return the counts of a detector on n clusters."""
    return {name: rng.integers(low, 40, n).tolist() for name, low in (("tp", 10), ("fp", 0), ("fn", 0))}


def test_equal_to_a_loop_over_draws():
    """A loop that draws clusters, adds up the counts of both entries on them, takes F1 of each and sorts the differences gives the same interval."""
    rng, n, resamples = np.random.default_rng(5), 12, 499
    labels = tuple(f"{number:02d}" for number in range(n))
    one, other = (ClusterSums(labels=labels, sums=counts(rng, n)) for _ in range(2))

    def score(entry, drawn):
        tp, fp, fn = (sum(entry.sums[name][k] for k in drawn) for name in ("tp", "fp", "fn"))
        return 2 * tp / (2 * tp + fp + fn)

    draws = np.random.Generator(np.random.Philox(comparisons.SEED)).integers(0, n, (resamples, n)).tolist()
    apart = sorted(score(one, drawn) - score(other, drawn) for drawn in draws)
    tail = stats.norm.cdf(-stats.t.ppf(0.975, n - 1) * np.sqrt(n / (n - 1)))
    place = int(tail * (resamples + 1))
    found = difference(f1, one, other, resamples=resamples)
    assert found.value == pytest.approx(score(one, range(n)) - score(other, range(n)), abs=1e-15)
    np.testing.assert_allclose((found.low, found.high), (apart[place - 1], apart[-place]), atol=1e-14)
    assert found.standard_error == pytest.approx(np.std(apart, ddof=1) * np.sqrt(n / (n - 1)))


def test_the_standard_error_is_that_of_the_mean():
    """For a mean over clusters of equal size, the paired standard error is the deviation of the differences over the root of their number."""
    rng = np.random.default_rng(6)
    first, second = rng.normal(size=(2, 50))
    found = difference(MEAN, clusters_of(first), clusters_of(second))
    assert found.standard_error == pytest.approx(np.std(first - second, ddof=1) / np.sqrt(50), rel=0.03)
    assert found.value == pytest.approx(np.mean(first - second))


def test_the_minimum_detectable_difference_by_hand():
    """Of 61 clusters at a standard error of 1: Student's quantiles of 60 degrees of freedom, 2.0003 and 0.8477 (tables), add up."""
    assert detectable_difference(1.0, 61) == pytest.approx(2.0003 + 0.8477, abs=1e-4)
    values = np.random.default_rng(7).normal(size=61)
    alone = detectable_beside(MEAN, clusters_of(values))
    assert alone == pytest.approx(2.848 * np.sqrt(2) * values.std(ddof=1) / np.sqrt(61), rel=0.03)
    assert detectable_beside(MEAN, clusters_of(values[: MIN_CLUSTERS - 1])) is None
    assert detectable_beside(MEAN, clusters_of(np.ones(9))) is None


def test_a_board_s_minimum_is_the_median_of_its_pairs():
    """Of three entries, the middle one of the three pairs' minima; of one entry, or of equal ones, none."""
    values = np.random.default_rng(8).normal(size=(3, 30)) * np.array([[1.0], [2.0], [4.0]])
    errors = [difference(MEAN, clusters_of(values[i]), clusters_of(values[j])).standard_error for i, j in ((0, 1), (0, 2), (1, 2))]
    assert order(MEAN, [standing(one) for one in values], direction="max").detectable == pytest.approx(detectable_difference(np.median(errors), 30))
    assert order(MEAN, [standing(values[0])], direction="max").detectable is None
    assert order(MEAN, [standing(values[0])] * 2, direction="max").detectable is None


entries = st.lists(st.lists(st.integers(-3, 3), min_size=7, max_size=7), min_size=2, max_size=3)


@settings(max_examples=8)
@given(values=entries)
def test_comparisons_are_symmetric(values):
    """B against A is A against B with the sign changed, to the bit; the order of any entries does not depend on the order in which they came."""
    one, other = clusters_of(values[0]), clusters_of(values[1])
    there, back = difference(MEAN, one, other, resamples=499), difference(MEAN, other, one, resamples=499)
    assert (there.value, there.low, there.high) == (-back.value, -back.high, -back.low)
    assert there.standard_error == back.standard_error
    assert there.low <= there.value <= there.high
    places = order(MEAN, [standing(one) for one in values], direction="max").places
    assert order(MEAN, [standing(one) for one in reversed(values)], direction="max").places == places[::-1]
    assert order(MEAN, [standing(-np.array(one)) for one in values], direction="min").places == places


@settings(max_examples=5)
@given(values=entries)
def test_places_hold_the_entry_and_follow_the_pairs(values):
    """Best and worst place count the entries that the intervals of the differences put ahead and behind."""
    found = order(MEAN, [standing(one) for one in values], direction="max").places
    for one, (best, worst) in zip(values, found, strict=True):
        apart = [difference(MEAN, clusters_of(one), clusters_of(other)) for other in values]
        assert best == 1 + sum(each.high < 0 for each in apart)
        assert worst == len(values) - sum(each.low > 0 for each in apart)
        assert best <= 1 + sum(np.mean(other) > np.mean(one) for other in values) <= worst


def test_equal_entries_tie():
    """The same answers have a difference of exactly 0 and share their places; answers that differ in one of thirty clusters tie as well."""
    values = np.random.default_rng(9).normal(size=30)
    near = values + np.r_[np.zeros(29), 5.0]
    found = difference(MEAN, clusters_of(values), clusters_of(values))
    assert (found.value, found.low, found.high, found.standard_error) == (0, 0, 0, 0)
    for other in (values, near):
        assert order(MEAN, [standing(values), standing(other)], direction="max").places == ((1, 2), (1, 2))


def test_ties_are_not_transitive():
    """A ties with B and B with C, yet A is ahead of C: the middle one may hold any place."""
    shared, turn = np.random.default_rng(10).normal(size=40), np.resize([-1.0, 1.0], 40)
    values = [shared + 0.5, shared + turn + 0.25, shared]
    assert order(MEAN, [standing(one) for one in values], direction="max").places == ((1, 2), (1, 3), (2, 3))


def test_few_clusters_and_undefined_draws_decide_nothing():
    """Below five clusters, and where some draws do not define the metric, entries tie, however far apart, and no interval is given."""
    few = [clusters_of(value + np.arange(MIN_CLUSTERS - 1.0)) for value in (0, 100)]
    assert difference(MEAN, *few) is None
    assert order(MEAN, [_bare(one) for one in few], direction="max").places == ((1, 2), (1, 2))
    labels = tuple("abcdef")
    rare = [ClusterSums(labels=labels, sums={"tp": [count, 0, 0, 0, 0, 0], "fp": [0] * 6, "fn": [0] * 6}) for count in (1, 9)]
    assert difference(f1, *rare) is None
    assert order(f1, [_bare(one) for one in rare], direction="max").places == ((1, 2), (1, 2))
    assert order(f1, [_bare(one) for one in rare], direction="max").detectable is None
    nothing = ClusterSums(labels=labels, sums={"tp": [0] * 6, "fp": [0] * 6, "fn": [0] * 6})
    some = ClusterSums(labels=labels, sums={"tp": [1] * 6, "fp": [1, 2, 3, 4, 5, 6], "fn": [0] * 6})
    for direction in ("max", "min"):
        assert order(f1, [_bare(nothing), _bare(some)], direction=direction).places == ((1, 2), (1, 2))


def test_a_difference_in_every_cluster_is_told():
    """An entry that is better by the same in every cluster is ahead, although nothing scatters."""
    values = np.arange(8.0)
    assert order(MEAN, [standing(values), standing(values + 1e-3)], direction="max").places == ((2, 2), (1, 1))


def test_entries_without_sums_are_compared_by_intervals():
    """An entry without sums, or with those of other clusters, or of a metric that is no more, ties where intervals overlap; without one it ties."""
    rng = np.random.default_rng(11)
    shared = 3 * rng.normal(size=30)
    one, other = standing(shared), standing(shared + 0.2)
    bare = standing(shared + 0.2, kept=False)
    far = standing(shared + 100, kept=False)
    assert order(MEAN, [one, other], direction="max").places == ((2, 2), (1, 1))
    assert order(None, [one, other], direction="max").places == ((1, 2), (1, 2))
    found = order(MEAN, [one, bare, far], direction="max")
    assert found.places == ((2, 3), (2, 3), (1, 1))
    assert found.paired == (True, False, False)
    assert order(MEAN, [one, bare, far], direction="min").places == ((1, 2), (1, 2), (3, 3))
    none = Standing(value=1e9, ends=None, clusters=None)
    assert order(MEAN, [one, none, far], direction="max").places == ((2, 3), (1, 3), (1, 2))
    elsewhere = Standing(value=one.value, ends=one.ends, clusters=ClusterSums(labels=tuple("abcde"), sums={"value": [1] * 5, "samples": [1] * 5}))
    assert order(MEAN, [one, other, elsewhere], direction="max").paired == (True, True, False)


def test_only_what_the_metric_reads_is_kept():
    """The sums of the clusters are those that the formula reads, in the order of the labels, and score as all samples do."""
    rng = np.random.default_rng(12)
    clusters = rng.choice(["b", "a", "c"], 20)
    table = {name: rng.integers(0, 9, 20) for name in ("tp", "fp", "fn", "other")} | {"vector": rng.integers(0, 9, (20, 3))}
    samples = SampleStatistics(ids=np.arange(20).astype(str), clusters=clusters, statistics=table, columns={})
    found = cluster_sums(f1, samples)
    assert found.labels == ("a", "b", "c")
    assert set(found.sums) == {"tp", "fp", "fn"}
    assert found.sums["tp"] == [int(table["tp"][clusters == label].sum()) for label in "abc"]
    assert f1({name: np.sum(values) for name, values in found.sums.items()}) == f1(samples.sums())
    vector = cluster_sums(lambda sums: sums["vector"].sum(axis=-1), samples)
    drawn = resample(lambda sums: sums["vector"].sum(axis=-1), [vector], resamples=50)
    assert drawn.shape == (1, 50)
    assert set(drawn[0]) <= {sum(row) for row in np.array(vector.sums["vector"])[np.indices((3, 3, 3)).reshape(3, -1).T].sum(axis=1)}


def test_draws_do_not_depend_on_how_many_are_held(monkeypatch):
    """The draws are the same in one batch and in many."""
    entry = clusters_of(np.arange(9.0) ** 2)
    whole = resample(MEAN, [entry], resamples=100)
    monkeypatch.setattr(comparisons, "CELLS", 70)
    np.testing.assert_array_equal(resample(MEAN, [entry], resamples=100), whole)


def test_entries_of_other_clusters_are_refused():
    """Entries on other clusters are not compared; sums that are not one for each cluster, and a cluster that occurs twice, are refused."""
    with pytest.raises(SettingsError, match=r"The clusters of the entries differ \(5 and 6 of them\)"):
        difference(MEAN, clusters_of(np.ones(5)), clusters_of(np.ones(6)))
    with pytest.raises(SettingsError, match="sums of 'value' have 2 entries for 1 labels"):
        ClusterSums(labels=("a",), sums={"value": [1, 2]})
    with pytest.raises(SettingsError, match="contain a cluster twice"):
        ClusterSums(labels=("a", "a"), sums={"value": [1, 2]})
