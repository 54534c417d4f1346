"""Arithmetic on lanes equals numpy's on sixteen complex numbers."""

import numba
import numpy as np
import pytest

from stemtwin.twin.physics.engine.kernels import jit, simd_complex64
from stemtwin.twin.physics.engine.kernels.simd_complex64 import LANES, POINT, load, read_only, squared, store, swapped, turned, zeros


@jit.kernel
def arithmetic(a, b, real, factor, out):
    """Every operation on two values, one result after the other."""
    x, y = load(a, 0), load(b, 0)
    store(out, 0, x + y)
    store(out, POINT, x - y)
    store(out, 2 * POINT, -x)
    store(out, 3 * POINT, real * x)
    store(out, 4 * POINT, factor * x)
    store(out, 5 * POINT, turned(x))
    store(out, 6 * POINT, swapped(x))
    store(out, 7 * POINT, squared(x))
    store(out, 8 * POINT, zeros())


def test_arithmetic():
    """Sum, difference, negative, products, -i z, exchange and squares of parts are what numpy says."""
    rng = np.random.default_rng(0)
    a, b, out = simd_complex64.aligned(POINT), simd_complex64.aligned(POINT), simd_complex64.aligned(9 * POINT)
    a[:], b[:], out[:] = rng.standard_normal(POINT), rng.standard_normal(POINT), np.nan
    real, factor = np.float32(-1.7), np.complex64(0.3 - 2.1j)
    arithmetic(a, b, real, factor, out)
    x, y = a[:LANES] + 1j * a[LANES:], b[:LANES] + 1j * b[LANES:]
    expected = [x + y, x - y, -x, real * x, factor * x, -1j * x, x.imag + 1j * x.real, x.real**2 + 1j * x.imag**2, 0 * x]
    parts = out.reshape(9, 2, LANES)
    np.testing.assert_allclose(parts[:, 0] + 1j * parts[:, 1], expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("size", [1, 32, 1000, 1 << 20])
def test_alignment(size):
    """Buffers begin at a multiple of 64 bytes, and are zero."""
    buffer = simd_complex64.aligned(size)
    assert buffer.ctypes.data % simd_complex64.ALIGNMENT == 0
    assert buffer.size == size
    assert not buffer.any()


@jit.part
def _first(array):
    return array[0]


@jit.kernel
def _of_both(fixed, free):
    return _first(fixed) + _first(read_only(free))


def test_one_kind_of_array():
    """A part that gets a fixed array, and a free one as a read-only one, is compiled once, by a kernel that does not come from disk."""
    free = np.arange(3.0)
    fixed = free + 1
    fixed.flags.writeable = False
    assert numba.njit(_of_both.py_func)(fixed, free) == _of_both(fixed, free) == 1.0
    assert len(_first.signatures) == 1
