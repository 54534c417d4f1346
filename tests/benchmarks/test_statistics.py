"""Intervals: coverage, agreement with plain bootstraps, clusters, ranks; slices glue."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemtwin.benchmarks.metrics.detection import f1, macro_f1, rmsd
from stemtwin.benchmarks.metrics.metric import mean_of
from stemtwin.benchmarks.slices import SampleStatistics, SliceColumn, glue, gluing_residual, parts
from stemtwin.benchmarks.statistics import interval
from stemtwin.twin.errors import SettingsError


def samples_of(values, clusters):
    """Return statistics whose mean metric is the mean of the values."""
    values = np.asarray(values, dtype=float)
    return SampleStatistics(
        ids=np.arange(len(values)).astype(str),
        clusters=np.asarray(clusters).astype(str),
        statistics={"samples": np.ones(len(values)), "value": values},
        columns={},
    )


MEAN = mean_of("value")


def coverage(simulations, resamples, n_clusters=20, size=5):
    """Return the share of simulated data sets whose interval holds the true mean 0; samples of a cluster share an offset."""
    rng = np.random.default_rng(7)
    clusters, inside = np.repeat(np.arange(n_clusters), size), 0
    for _ in range(simulations):
        offsets = rng.normal(size=n_clusters)
        found = interval(MEAN, samples_of(offsets[clusters] + 0.5 * rng.normal(size=len(clusters)), clusters), resamples=resamples)
        inside += found.low <= 0 <= found.high
    return inside / simulations


@pytest.mark.slow
def test_coverage_of_clustered_samples():
    """A nominal 95 % interval holds the truth in 90 to 99 % of simulated clustered data sets."""
    assert 0.90 <= coverage(200, 499) <= 0.99


@pytest.mark.slow
def test_coverage_of_clustered_samples_in_full():
    """With 40 clusters, a nominal 95 % interval holds the truth in 93 to 97 % of 1,000 simulated data sets."""
    assert 0.93 <= coverage(1000, 1999, n_clusters=40) <= 0.97


def test_clusters_widen_the_interval():
    """Samples of one specimen are alike: resampling specimens gives a much wider interval than pretending that the samples are independent."""
    rng = np.random.default_rng(3)
    clusters = np.repeat(np.arange(12), 30)
    values = rng.normal(size=12)[clusters] + 0.3 * rng.normal(size=360)
    wide, narrow = interval(MEAN, samples_of(values, clusters)), interval(MEAN, samples_of(values, np.arange(360)))
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_equal_to_a_bootstrap_written_out():
    """The percentiles of a loop that draws clusters, adds up their counts and takes F1 agree with the interval within their own scatter."""
    rng = np.random.default_rng(11)
    counts = {name: rng.integers(0, 30, 48) for name in ("tp", "fp", "fn")}
    clusters = np.arange(48) % 16
    samples = SampleStatistics(ids=np.arange(48).astype(str), clusters=clusters.astype(str), statistics=counts, columns={})
    drawn = []
    for _ in range(4000):
        picked = np.concatenate([np.flatnonzero(clusters == c) for c in rng.integers(0, 16, 16)])
        tp, fp, fn = (counts[name][picked].sum() for name in ("tp", "fp", "fn"))
        drawn.append(2 * tp / (2 * tp + fp + fn))
    found = interval(f1, samples)
    assert (found.method, found.n_clusters) == ("cluster-bca", 16)
    np.testing.assert_allclose([found.low, found.high], np.quantile(drawn, [0.025, 0.975]), atol=0.015)


def test_the_same_bits_twice():
    """An interval is a function of the data and the seed."""
    samples = samples_of(np.random.default_rng(0).normal(size=40), np.arange(40) % 10)
    assert interval(MEAN, samples, resamples=500) == interval(MEAN, samples, resamples=500)
    assert interval(MEAN, samples, resamples=500) != interval(MEAN, samples, resamples=500, seed=1)


def test_where_no_interval_can_be_given():
    """Fewer than five clusters, or resamples in which the metric is undefined: none."""
    assert interval(MEAN, samples_of(np.arange(40.0), np.arange(40) % 4)) is None
    rare = SampleStatistics(
        ids=np.arange(6).astype(str), clusters=np.arange(6).astype(str), columns={},
        statistics={"tp": np.array([1, 0, 0, 0, 0, 0]), "square_distance": np.array([0.1, 0, 0, 0, 0, 0])},
    )  # fmt: skip
    assert interval(rmsd, rare, resamples=200) is None


def test_degenerate_data_say_so():
    """Where all clusters agree, BCa is undefined: the percentile interval, named, of no width."""
    found = interval(MEAN, samples_of(np.ones(20), np.arange(20) % 10), resamples=200)
    assert (found.method, found.low, found.high) == ("cluster-percentile", 1.0, 1.0)


def test_proportions_of_independent_trials_are_wilson_s():
    """20 of 20 successes: Wilson's 95 % interval (J. Am. Stat. Assoc. 22, 209 (1927)) begins at n / (n + z^2) = 0.8389, not at 1."""
    found = interval(MEAN, samples_of(np.ones(20), np.arange(20)), proportion=True)
    assert found.method == "wilson"
    assert found.low == pytest.approx(20 / (20 + 1.959964**2), abs=1e-6)
    assert found.high == pytest.approx(1.0)


def test_proportions_of_clustered_trials_are_resampled():
    """Where trials of one specimen end alike, Wilson's interval is too narrow: specimens are drawn, as for any other metric."""
    clusters = np.repeat(np.arange(12), 10)
    values = (clusters % 3 > 0).astype(float)
    found = interval(MEAN, samples_of(values, clusters), proportion=True)
    assert found == interval(MEAN, samples_of(values, clusters))
    assert found.method == "cluster-bca"
    independent = interval(MEAN, samples_of(values, np.arange(120)), proportion=True)
    assert found.high - found.low > 2 * (independent.high - independent.low)


def random_samples(rng, n=60):
    """Return statistics of n samples: counts, a float, counts by species, and columns to cut by."""
    return SampleStatistics(
        ids=np.arange(n).astype(str),
        clusters=(np.arange(n) % 7).astype(str),
        statistics={
            "tp": rng.integers(0, 50, n), "fp": rng.integers(0, 9, n), "fn": rng.integers(0, 9, n), "square_distance": rng.random(n),
            "species_tp": rng.integers(0, 9, (n, 3)), "species_fp": rng.integers(0, 9, (n, 3)), "species_fn": rng.integers(0, 9, (n, 3)),
        },
        columns={"dose": 10 ** rng.uniform(1, 5, n), "C10": rng.uniform(-100, 100, n), "material": rng.choice(["a", "b", "c"], n)},
    )  # fmt: skip


@given(seed=st.integers(0, 10_000), pieces=st.integers(1, 9))
def test_any_partition_glues(seed, pieces):
    """The sums over any partition, added up, are the sums over the whole: counts to the bit, so F1 of the whole follows from its pieces exactly."""
    rng = np.random.default_rng(seed)
    samples = random_samples(rng)
    part = rng.integers(0, pieces, len(samples))
    glued = glue([samples.take(part == one).sums() for one in np.unique(part)])
    whole = samples.sums()
    assert f1(glued) == f1(whole)
    assert macro_f1(glued) == macro_f1(whole)
    assert rmsd(glued) == pytest.approx(rmsd(whole), rel=1e-14)


@pytest.mark.parametrize(
    "column",
    [SliceColumn(column="dose", edges=(50, 500, 5000)), SliceColumn(column="C10", edges=(20, 50), absolute=True), SliceColumn(column="material")],
)
def test_slices_are_a_partition(column):
    """The slices of a column are disjoint, hold every sample, and glue; a value on an edge belongs to the slice above."""
    samples = random_samples(np.random.default_rng(5))
    cut = parts(samples, column)
    assert sorted(np.concatenate([part.ids for part in cut.values()])) == sorted(samples.ids)
    assert gluing_residual(samples, column) < 1e-14
    if column.column == "dose":
        assert column.labels(np.array([49.9, 50.0])).tolist() == ["< 50", "50 to 500"]


def test_cluster_sums_add_up():
    """The sums of the clusters add up to the sums of all."""
    samples = random_samples(np.random.default_rng(6))
    for name, total in samples.sums().items():
        np.testing.assert_allclose(samples.cluster_sums()[name].sum(axis=0), total)


def test_wrong_slices_are_refused():
    """Edges that do not increase and columns of another length are refused."""
    with pytest.raises(SettingsError, match="must increase"):
        SliceColumn(column="dose", edges=(5.0, 5.0))
    with pytest.raises(SettingsError, match="'clusters' has 2 rows for 3 samples"):
        SampleStatistics(ids=np.arange(3), clusters=np.arange(2), statistics={}, columns={})
