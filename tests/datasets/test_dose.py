"""Dose, dwell time and current: they agree with each other, and ranges are kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemtwin.datasets import dose

POSITIVE = st.floats(1e-3, 1e3)


@given(POSITIVE, POSITIVE, POSITIVE)
def test_the_current_gives_the_dose(wanted: float, pixel: float, dwell: float) -> None:
    """Current times dwell time over the charge of an electron and the area of a pixel is the dose: 1 pA for 1 us are 6.24 electrons."""
    electrons = dose.current(wanted, pixel, dwell) * dwell * 6.241509074
    assert electrons / pixel**2 == pytest.approx(wanted, rel=1e-9)


@given(POSITIVE, POSITIVE)
def test_dwell_times_keep_both_ranges(wanted: float, pixel: float) -> None:
    """At both ends the dwell time is in its range, and so is the current, where there is such a time at all."""
    low, high = dose.dwell_times(wanted, pixel, dwell_time_us=(1.0, 30.0), current_pa=(0.1, 100.0))
    for dwell in (low, high) if low <= high else ():
        assert 1.0 <= dwell <= 30.0
        assert 0.1 * (1 - 1e-12) <= dose.current(wanted, pixel, dwell) <= 100.0 * (1 + 1e-12)
