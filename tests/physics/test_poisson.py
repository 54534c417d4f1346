"""Poisson counts by inversion against scipy's distribution, against sums in 60 decimal digits, and as counts."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy import special, stats

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.poisson import poisson_counts
from stemtwin.twin.physics.poisson_kernels import LANES, LARGE, TEMME, UPPER, invert

ULP = 2.0**-53
BORDERS = (0.0, 1.3, LARGE, TEMME, np.nextafter(LARGE, 0), np.nextafter(TEMME, 0))
MEANS = st.floats(-5, 9).map(lambda power: 10.0**power) | st.sampled_from(BORDERS)
UNIFORMS = st.integers(0, 2**53 - 1).map(lambda i: i * ULP)  # those of Generator.random
EDGES = st.integers(1, 2**20).map(lambda i: i * ULP) | st.integers(1, 2**20).map(lambda i: 1 - i * ULP)


def count(mean, u):
    """Count for one mean and one uniform."""
    return int(poisson_counts(mean, np.array(u)))


def distribution(k, mean):
    """F(k) to 60 digits, as a sum."""
    with localcontext() as context:
        context.prec = 60
        m = Decimal(mean)
        term = total = (-m).exp()
        for j in range(1, k + 1):
            term *= m / j
            total += term
        return total


def allowance(below, above):
    """Documented distance between u and F within which a count may differ."""
    return 2.0**-50 * below + 2.0**-44 * np.minimum(below, above)


@given(mean=MEANS, u=UNIFORMS | EDGES)
@example(mean=1.3, u=1 - ULP)
@example(mean=1e4, u=1 - ULP)
@example(mean=1e4, u=ULP)
@example(mean=1e9, u=0.3)
def test_counts_are_scipys_quantiles(mean, u):
    """The count is scipy's ppf(u) but where F(k) is u to 16 ulp of 1 and 1e-11 of the smaller tail.

    For means above 1e4 only the middle is compared: beyond 4.5 standard deviations scipy's series ends too early.
    """
    assume(u > 0)  # scipy's ppf(0) is -1
    assume(mean <= 1e4 or 1e-5 < u < 1 - 1e-5)
    ours, scipys = count(mean, u), int(stats.poisson.ppf(u, mean))
    for k in range(min(ours, scipys), max(ours, scipys)):
        below, above = special.pdtr(k, mean), special.pdtrc(k, mean)
        assert abs(below - u) <= 16 * ULP * (below > 0.5) + 1e-11 * min(below, above)


@given(mean=st.floats(1e-6, 120), deviation=st.floats(-6, 8), ulps=st.integers(-20, 20))
def test_counts_change_at_the_steps_of_the_distribution(mean, deviation, ulps):
    """At u = F(k) + some ulp the count is <= k if and only if F(k) > u, with F to 60 digits, but for rounding."""
    k = max(0, int(mean + deviation * mean**0.5 + deviation**2 / 6))
    exact = distribution(k, mean)
    below, above = float(exact), float(1 - exact)
    u = below + ulps * np.spacing(below)
    assume(ULP <= u < 1)
    distance = exact - Decimal(u)
    if abs(distance) > Decimal(allowance(below, above)):
        assert (count(mean, u) <= k) == (distance > 0)


def upper_tail(k, mean):
    """1 - F(k) to about 1e-12: the term of k + 1 in 60 digits, by Stirling, times the sum of ratios to it."""
    with localcontext() as context:
        context.prec = 60
        n, shift = Decimal(k + 1), Decimal(1)
        while n < 300:  # Gamma(n + 1) = Gamma(n + 1 + j) / ((n + 1) ... (n + j))
            n += 1
            shift *= n
        series = 1 / (12 * n) - 1 / (360 * n**3) + 1 / (1260 * n**5) - 1 / (1680 * n**7)
        log_factorial = n * n.ln() - n + (2 * Decimal(np.pi) * n).ln() / 2 + series - shift.ln()
        first = ((k + 1) * Decimal(mean).ln() - Decimal(mean) - log_factorial).exp()
    ratios = np.cumprod(mean / (k + 2 + np.arange(100 + 10 * int(mean**0.5))))
    return float(first) * (1 + ratios.sum())


@pytest.mark.parametrize("mean", [1e-3, 0.4, 1.3, 15.0, 17.0, 300.0, 2e3, 1e5, 1e7, 1e9])
def test_upper_tail_is_exact(mean):
    """1 - F(k) < 1 - u <= 1 - F(k - 1) to 1e-12 of themselves: the last uniforms before 1 give the far tail."""
    for u in (1 - ULP, 1 - 2 * ULP, 1 - 37 * ULP, 1 - 1e-12, 1 - 1e-7, np.nextafter(UPPER, 0), UPPER):
        k = count(mean, u)
        assert upper_tail(k, mean) < (1 - u) * (1 + 1e-12)
        assert upper_tail(k - 1, mean) >= (1 - u) * (1 - 1e-12)


def test_steps_at_all_means():
    """Just below the step F(k) the count is k, just above it k + 1, over all means."""
    rng = np.random.default_rng(3)
    mean = 10 ** rng.uniform(-2, 9, 100_000)
    k = np.maximum(np.floor(mean + rng.uniform(-4.4, 3, mean.size) * np.sqrt(mean)), 0)
    step = special.pdtr(k, mean)
    reach = (step > 1e-9) & (step < 0.999)
    mean, k, step = mean[reach], k[reach], step[reach]
    assert reach.sum() > 50_000
    assert (poisson_counts(mean, step * (1 - 1e-11)) == k).all()
    assert (poisson_counts(mean, step * (1 + 1e-11)) == k + 1).all()


@pytest.mark.parametrize("mean", [0.01, 1.3, 15.99, 16.0, 40.0, 999.0, 1001.0, 1e5])
def test_goodness_of_fit(mean):
    """Counts of random uniforms have Poisson's frequencies (chi-squared test in about 20 bins), mean and variance."""
    draws = 200_000
    counts = poisson_counts(mean, np.random.default_rng(int(100 * mean)).random(draws)).astype(float)
    edges = np.unique(stats.poisson.ppf(np.linspace(0.0002, 0.9998, 21), mean))
    wanted = draws * np.diff(stats.poisson.cdf(edges, mean), prepend=0, append=1)
    seen = np.bincount(np.searchsorted(edges, counts), minlength=len(edges) + 1)
    few = wanted < 5
    assert wanted[few].sum() < 100
    rest = np.append(seen[~few], seen[few].sum()), np.append(wanted[~few], wanted[few].sum())
    assert stats.chisquare(rest[0][rest[1] > 1e-9], rest[1][rest[1] > 1e-9], sum_check=False).pvalue > 1e-3
    assert abs(counts.mean() - mean) < 4 * np.sqrt(mean / draws)
    assert abs(counts.var() - mean) < 4 * np.sqrt((mean + 2 * mean**2) / draws)


@given(mean=MEANS, start=UNIFORMS | EDGES)
def test_counts_rise_with_the_uniform(mean, start):
    """A larger uniform never gives a smaller count: over [0, 1), ulp by ulp, and across the borders of the methods."""
    borders = (np.array([0.075, 0.925, UPPER])[:, None] + np.arange(-20, 21) * ULP).ravel()
    near = np.clip(start + np.arange(-50, 51) * ULP, 0, 1 - ULP)
    u = np.sort(np.concatenate((np.linspace(0, 1 - ULP, 300), near, borders)))
    assert (np.diff(poisson_counts(mean, u).astype(np.int64)) >= 0).all()


@given(u=UNIFORMS | EDGES)
def test_counts_rise_with_the_mean(u):
    """A larger mean never gives a smaller count at the same uniform, across the borders of the methods too."""
    borders = [border + np.linspace(-0.01, 0.01, 201) for border in (LARGE, TEMME)]
    mean = np.sort(np.concatenate((10 ** np.linspace(-3, 9, 1000), *borders)))
    assert (np.diff(poisson_counts(mean, np.full(mean.size, u)).astype(np.int64)) >= 0).all()


def test_values_and_threads_are_independent():
    """A count depends on its own mean and uniform: not on its neighbours, the cuts of an array, or threads."""
    rng = np.random.default_rng(8)
    mean, u = 10 ** rng.uniform(-3, 5, 5_001), rng.random(5_001)
    u[::50] = 1 - rng.random(101) * 1e-6
    whole, order = poisson_counts(mean, u), rng.permutation(5_001)
    assert (poisson_counts(mean[order], u[order]) == whole[order]).all()
    out = np.empty_like(whole)
    pieces = [slice(i, i + LANES // 2 + 5) for i in range(0, 5_001, LANES // 2 + 5)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda piece: poisson_counts(mean[piece], u[piece], out=out[piece]), pieces))
    assert (out == whole).all()
    assert invert.targetoptions["nogil"]


def test_zero():
    """A mean of zero gives no count at any uniform; a uniform of zero gives none at any mean."""
    assert not poisson_counts(np.zeros(4), np.array([0, 0.5, UPPER, 1 - ULP])).any()
    assert not poisson_counts(np.array([1e-300, 1, 1e3, 1e9]), np.zeros(4)).any()


def test_types_and_shapes():
    """Means of float32 count as their float64 values; counts fill ``out``, uint16, uint32 or a view of any strides."""
    rng = np.random.default_rng(2)
    mean, u = rng.uniform(0, 40, (3, 50)).astype(np.float32), rng.random((3, 50))
    counts = poisson_counts(mean, u)
    assert (counts.dtype, counts.shape) == (np.uint32, (3, 50))
    assert (counts == poisson_counts(mean.astype(float), u)).all()
    for out in (np.empty((3, 50), np.uint16), np.empty((3, 50), np.uint32), np.empty((50, 3), np.uint32).T):
        assert poisson_counts(mean, u, out=out) is out
        assert (out == counts).all()
    assert poisson_counts(2.0, np.zeros((0, 4))).shape == (0, 4)
    u.setflags(write=False)
    assert (poisson_counts(mean, u) == counts).all()


@pytest.mark.parametrize("mean", [-1e-3, np.nan, np.inf, 1.1e9])
def test_means_that_are_refused(mean):
    """A negative, NaN, infinite or too large mean is refused with its place and the limits."""
    means = np.ones((2, 100))
    means[1, 70] = mean
    with pytest.raises(SettingsError, match=r"mean\[1, 70\]=.* outside 0 to 1e\+09; give"):
        poisson_counts(means, np.full((2, 100), 0.5))


def test_uniforms_and_outputs_that_are_refused():
    """Uniforms beside [0, 1) or of 24 bits, counts too large for out, and other shapes and types are refused."""
    half = np.full(3, 0.5)
    for u in (1.0, -0.1, np.nan):
        with pytest.raises(SettingsError, match=r"uniforms\[1\]=.* outside 0 <= u < 1"):
            poisson_counts(1.0, np.array([0.5, u, 0.5]))
    with pytest.raises(SettingsError, match="float32, but the counts need the 53 bits"):
        poisson_counts(1.0, half.astype(np.float32))
    with pytest.raises(SettingsError, match="does not match uniforms"):
        poisson_counts(np.ones(4), half)
    with pytest.raises(SettingsError, match=r"The count at \[2\].* exceeds 65535"):
        poisson_counts(np.array([1, 65_000, 66_000.0]), half, out=np.empty(3, np.uint16))
    assert poisson_counts(65_535.0, half, out=np.empty(3, np.uint16)).max() == 65_535
    for out in (np.empty(3), np.empty(4, np.uint32)):
        with pytest.raises(SettingsError, match="give a writable one of uint16 or uint32"):
            poisson_counts(1.0, half, out=out)
