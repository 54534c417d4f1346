"""First-order filters."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stemtwin.twin.physics.lag_filters import one_pole

NUMBERS = st.floats(-1e3, 1e3)


@given(data=st.data(), n=st.integers(0, 20), rows=st.integers(1, 3))
def test_one_pole_is_the_loop(data, n, rows):
    """s[k] = keep[k] s[k - 1] + drive[k], step by step, from nothing."""
    drive = data.draw(hnp.arrays(float, (rows, n), elements=NUMBERS))
    keep = data.draw(hnp.arrays(float, n, elements=st.floats(0, 1)))
    state, wanted = np.zeros(rows), np.empty((rows, n))
    for k in range(n):
        state = keep[k] * state + drive[:, k]
        wanted[:, k] = state
    before = drive.copy()
    np.testing.assert_allclose(one_pole(drive, keep), wanted, rtol=1e-12, atol=1e-10)
    np.testing.assert_array_equal(drive, before)
