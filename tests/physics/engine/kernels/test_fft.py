"""Lane transforms equal numpy's, for every length that factors into 2, 3 and 5, and refuse the others."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.twin.errors import SamplingError
from stemtwin.twin.physics.engine.kernels import fft, jit, simd_complex64
from stemtwin.twin.physics.engine.kernels.simd_complex64 import LANES, POINT

LENGTHS = sorted({2**a * 3**b * 5**c for a in range(12) for b in range(7) for c in range(5)} - {1})
LENGTHS = [n for n in LENGTHS if n <= 2048]
lengths = st.sampled_from(LENGTHS)


@jit.kernel
def convolve(wave, base, reads, writes, line, plan, table, offset):
    """One convolution, with the next line fetched ahead, whether it exists or not."""
    fft.convolve_line(wave, base, reads, writes, line, plan, table, offset, POINT)


@jit.kernel
def there_and_back(wave, reads, writes, line, transformed, plan):
    """Transform a line, copy what the line holds, transform that as if it were the input."""
    fft.descend_line(wave, 0, reads, line, plan)
    transformed[:] = line
    fft.ascend_line(line, wave, 0, writes, plan)


def to_points(z):
    """Return complex (n, 16) as flat points."""
    points = simd_complex64.aligned(z.shape[0] * POINT)
    points.reshape(-1, 2, LANES)[:] = np.stack([z.real, z.imag], axis=1)
    return points


def from_points(points):
    """Return flat points as complex (n, 16)."""
    parts = points.reshape(-1, 2, LANES)
    return parts[:, 0] + 1j * parts[:, 1]


def noise(rng, *shape):
    """Return complex normal numbers."""
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def error(ours, theirs):
    """Return the largest difference relative to the root mean square."""
    return np.abs(ours - theirs).max() / np.sqrt(np.mean(np.abs(theirs) ** 2))


@pytest.mark.parametrize("n", LENGTHS)
def test_factors(n):
    """The radices of a length multiply to it, and there are at least two."""
    radices = fft.factors(n)
    assert np.prod(radices) == n
    assert len(radices) >= 2
    assert set(radices) <= {1, 2, 3, 4, 5, 8}


@pytest.mark.parametrize(("n", "good"), [(14, 16), (7, 8), (514, 540), (1, 2), (0, 2), (11 * 13, 144)])
def test_other_lengths_are_refused(n, good):
    """A length with other factors is refused, and the next good one is named."""
    with pytest.raises(SamplingError, match=rf"side of {n} points.*Use {good} points"):
        fft.make_plan(n)


@given(n=lengths, seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_transform(n, seed):
    """Down gives numpy's FFT in the plan's order; up takes any line in that order to its FFT."""
    rng = np.random.default_rng(seed)
    z = noise(rng, n, LANES)
    plan, line, transformed, places = fft.make_plan(n), simd_complex64.aligned(n * POINT), simd_complex64.aligned(n * POINT), np.arange(n) * POINT
    wave = to_points(z)
    there_and_back(wave, places, places, line, transformed, plan)
    expected = np.fft.fft(z, axis=0)
    assert error(from_points(transformed), expected[plan.order]) < 3e-6
    assert error(from_points(wave), np.fft.fft(expected, axis=0)) < 6e-6


@given(n=lengths, gap=st.integers(0, 3), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=80)
def test_convolution(n, gap, seed):
    """A convolution is FFT(factor * swap(FFT(z))), read and written through tables of places, and touches no other point."""
    rng = np.random.default_rng(seed)
    z, table = noise(rng, n, LANES), noise(rng, n + 5)
    reads, writes = rng.permutation(2 * n)[:n], rng.permutation(2 * n)[:n]
    memory = noise(rng, gap + 2 * n, LANES)
    memory[gap + reads] = z
    wave = to_points(memory)
    convolve(wave, gap * POINT, reads * POINT, writes * POINT, simd_complex64.aligned(n * POINT), fft.make_plan(n), table, 5)
    spectrum = np.fft.fft(z.astype(np.complex128), axis=0)
    expected = np.fft.fft(table[5:, None] * (spectrum.imag + 1j * spectrum.real), axis=0)
    after = from_points(wave)
    assert error(after[gap + writes], expected) < 6e-6
    others = np.setdiff1d(np.arange(gap + 2 * n), gap + writes)
    assert np.array_equal(after[others], memory[others])


def test_lines_beyond_the_band_may_share_a_place():
    """Missing input points read one zero point, unwanted output points write one that nobody reads."""
    n, rng = 60, np.random.default_rng(1)
    z, table, kept = noise(rng, n, LANES), noise(rng, n), np.arange(n) % 3 != 1
    z[~kept] = 0
    memory = np.concatenate([z, np.zeros((1, LANES)), noise(rng, 1, LANES)])
    wave = to_points(memory)
    reads, writes = (np.where(kept, np.arange(n), spare) * POINT for spare in (n, n + 1))
    convolve(wave, 0, reads, writes, simd_complex64.aligned(n * POINT), fft.make_plan(n), table, 0)
    spectrum = np.fft.fft(z, axis=0)
    expected = np.fft.fft(table[:, None] * (spectrum.imag + 1j * spectrum.real), axis=0)
    after = from_points(wave)
    assert error(after[:n][kept], expected[kept]) < 6e-6
    assert not after[n].any()


def test_lanes_do_not_mix():
    """A wave in one lane leaves the others at exactly zero."""
    n = 120
    z = np.zeros((n, LANES), np.complex64)
    z[:, 3] = noise(np.random.default_rng(2), n)
    wave, places = to_points(z), np.arange(n) * POINT
    convolve(wave, 0, places, places, simd_complex64.aligned(n * POINT), fft.make_plan(n), np.ones(n, np.complex64), 0)
    after = from_points(wave)
    assert after[:, 3].any()
    assert not np.delete(after, 3, axis=1).any()


def test_parseval():
    """The sum of squared moduli over frequencies is n times that over points, to float32 accuracy, at every length."""
    rng = np.random.default_rng(3)
    for n in LENGTHS:
        z = noise(rng, n, LANES)
        transformed, places = simd_complex64.aligned(n * POINT), np.arange(n) * POINT
        there_and_back(to_points(z), places, places, simd_complex64.aligned(n * POINT), transformed, fft.make_plan(n))
        total = (np.abs(from_points(transformed).astype(np.complex128)) ** 2).sum(axis=0)
        np.testing.assert_allclose(total, n * (np.abs(z.astype(np.complex128)) ** 2).sum(axis=0), rtol=2e-6)
