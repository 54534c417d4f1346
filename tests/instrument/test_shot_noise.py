"""Counted electrons of an expected result."""

import numpy as np
import pytest
import xarray as xr

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument import shot_noise
from stemtwin.twin.instrument.scan import RasterScan

SCAN = RasterScan(shape=(40, 50), field_of_view_angstrom=(8.0, 20.0))


def expected() -> xr.Dataset:
    """Return two signals, fractions of the beam."""
    values = {"haadf": np.full((40, 50), 0.02), "bf": np.full((40, 50), 0.7)}
    return xr.Dataset({name: (("y", "x"), array, {"units": "1", "inner_mrad": 3.0}) for name, array in values.items()}, attrs={"seed": 0})


def test_counts_have_the_mean_and_variance_of_poisson_statistics() -> None:
    """At a dose D the mean and the variance of the counts are D times the area of a pixel times the signal; the expected result stays as it was."""
    data = expected()
    counted = shot_noise.counted_electrons(data, SCAN, 5e3, seed=1)
    for name, signal in (("haadf", 0.02), ("bf", 0.7)):
        mean = 5e3 * (8 / 40) * (20 / 50) * signal
        counts = counted[name].to_numpy()
        assert np.issubdtype(counts.dtype, np.unsignedinteger)
        assert counts.mean() == pytest.approx(mean, abs=5 * np.sqrt(mean / counts.size))
        assert counts.var() == pytest.approx(mean, rel=0.2)
        assert counted[name].attrs == {"units": "electrons", "long_name": "detected electrons", "inner_mrad": 3.0}
    assert counted.attrs == {"seed": 0, "dose_e_per_angstrom2": 5e3}
    xr.testing.assert_identical(data, expected())


def test_the_seed_decides_the_counts() -> None:
    """One seed gives the same counts again, another seed others."""
    first, again, other = (shot_noise.counted_electrons(expected(), SCAN, 1e4, seed) for seed in (3, 3, 4))
    xr.testing.assert_identical(first, again)
    assert not first.equals(other)


@pytest.mark.parametrize("dose", [0, -1.0, float("nan"), 1e13])
def test_a_dose_out_of_range_is_refused(dose: float) -> None:
    """The dose is a positive number up to 1e12 e-/A^2."""
    with pytest.raises(SettingsError, match="dose_e_per_angstrom2"):
        shot_noise.counted_electrons(expected(), SCAN, dose, seed=0)
