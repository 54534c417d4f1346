"""Arithmetic on eight doubles equals numpy's."""

import numpy as np
import pytest

from stemtwin.twin.physics.engine.kernels import jit
from stemtwin.twin.physics.engine.kernels.simd_float64 import EIGHT, nothing, read, total, write


@jit.kernel
def arithmetic(a, b, real, out):
    """Every operation, one result after the other, from places that no boundary aligns."""
    x, y = read(a, 1), read(b, 3)
    write(out, 1, x + y)
    write(out, 1 + EIGHT, x - y)
    write(out, 1 + 2 * EIGHT, x * y)
    write(out, 1 + 3 * EIGHT, real * x)
    write(out, 1 + 4 * EIGHT, nothing())
    return total(x)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_arithmetic(kind):
    """Sum, difference, products and the sum of all are what numpy says; float32 in memory is widened when read and rounded when written."""
    rng = np.random.default_rng(0)
    a, b, out = rng.standard_normal(16).astype(kind), rng.standard_normal(16), np.full(50, np.nan, kind)
    whole = arithmetic(a, b, -1.7, out)
    x, y = a[1:9].astype(float), b[3:11]
    assert np.allclose(out[1:41].reshape(5, EIGHT), [x + y, x - y, x * y, -1.7 * x, 0 * x], rtol=np.finfo(kind).eps, atol=0)
    assert np.isnan(out[0])
    assert np.isnan(out[41:]).all()
    assert whole == pytest.approx(x.sum(), rel=1e-14)
