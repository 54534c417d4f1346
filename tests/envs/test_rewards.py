"""Rewards."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemtwin.twin.envs import rewards
from stemtwin.twin.physics import electrons, probe
from stemtwin.twin.physics.aberrations import Aberrations

SPAN = st.floats(-400, 400)


@given(c10=SPAN, c12a=SPAN, c12b=SPAN, energy=st.sampled_from([60e3, 200e3, 300e3]), semiangle=st.floats(0.005, 0.025))
def test_the_strehl_ratio_is_the_mean_over_the_aperture(c10: float, c12a: float, c12b: float, energy: float, semiangle: float) -> None:
    """The closed form in one dimension equals abs(mean exp(-i chi))^2 over the disc, and lies in [0, 1]."""
    wavelength = electrons.wavelength(energy)
    expected = probe.strehl_ratio(wavelength, semiangle, Aberrations.from_cartesian(C10=c10, C12a=c12a, C12b=c12b), samples=96)
    found = rewards.strehl(wavelength, semiangle, c10, c12a, c12b)
    assert 0 <= found <= 1
    assert found == pytest.approx(expected, abs=1e-7)


def test_defocus_alone_has_a_textbook_ratio() -> None:
    """Strehl ratio of pure defocus: (sin(u/4) / (u/4))^2 with u/4 = pi alpha^2 C10 / (2 lambda) (Born and Wolf, section 8.8.2); 1 in focus."""
    wavelength, alpha = 0.025, 0.02
    for c10 in (-150.0, 35.0, 80.0):
        quarter = math.pi * alpha**2 * c10 / (2 * wavelength)
        assert rewards.strehl(wavelength, alpha, c10, 0, 0) == pytest.approx((math.sin(quarter) / quarter) ** 2, abs=1e-9)
    assert rewards.strehl(wavelength, alpha, 0, 0, 0) == pytest.approx(1)
