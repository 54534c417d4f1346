"""The zero-loss peak."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.spectra.zeroloss import zero_loss

WIDTHS = st.floats(0.02, 2)
ASYMMETRIES = st.floats(-0.7, 0.7)


@given(width=WIDTHS, asymmetry=ASYMMETRIES, lorentz=st.floats(0, 1), shift=st.floats(-3, 3))
def test_width_and_position(width, asymmetry, lorentz, shift):
    """The maximum lies at the shift, the full width at half maximum is as asked, split as the asymmetry says."""
    edges = shift + width * (np.arange(-4000, 4001) + 0.5) / 2000
    peak, centres = zero_loss(edges, width, asymmetry=asymmetry, lorentz=lorentz, shift=shift), (edges[1:] + edges[:-1]) / 2
    above = centres[peak > peak.max() / 2]
    assert centres[peak.argmax()] == pytest.approx(shift, abs=2e-3 * width)
    assert above[-1] - above[0] == pytest.approx(width, rel=2e-3)
    assert above[-1] - shift == pytest.approx((1 + asymmetry) * width / 2, abs=2e-3 * width)


@given(width=WIDTHS, asymmetry=ASYMMETRIES, lorentz=st.floats(0, 0.2))
def test_area(width, asymmetry, lorentz):
    """All bins together hold the whole beam: the squared Lorentzian's tails end as E^-4."""
    edges = width * np.linspace(-5000, 5000, 2001)
    assert zero_loss(edges, width, asymmetry=asymmetry, lorentz=lorentz).sum() == pytest.approx(1, abs=1e-9)


@given(width=WIDTHS, step=st.floats(0.1, 3), first=st.floats(-1, 1), asymmetry=ASYMMETRIES)
def test_bins_add_up(width, step, first, asymmetry):
    """A bin holds what its halves hold: coarse dispersions lose nothing."""
    coarse = first + width * step * np.arange(-20, 21)
    fine = first + width * step * np.arange(-40, 41) / 2
    whole, halves = zero_loss(coarse, width, asymmetry=asymmetry), zero_loss(fine, width, asymmetry=asymmetry)
    np.testing.assert_allclose(whole, halves.reshape(-1, 2).sum(axis=1), atol=1e-14)


@pytest.mark.parametrize("wrong", [{"width": 0.0}, {"width": 1.0, "asymmetry": 1.0}, {"width": 1.0, "lorentz": 1.5}])
def test_bad_settings(wrong):
    """Widths that are not positive and shapes that are none are refused."""
    with pytest.raises(SettingsError):
        zero_loss(np.arange(3.0), **wrong)
