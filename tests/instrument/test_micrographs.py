"""Pictures of results: units on colour bars, angles and energies on axes."""

import numpy as np
import pytest
import xarray as xr

from stemtwin.twin.instrument import micrographs

PLACES = {"y": ("y", 0.5 * np.arange(6)), "x": ("x", 0.5 * np.arange(6))}


@pytest.mark.parametrize(
    ("attrs", "label"),
    [
        ({"units": "1", "long_name": "fraction of the incident beam"}, "fraction of the beam"),
        ({"units": "electrons"}, "electrons per pixel"),
        ({"units": "mrad"}, "mrad"),
        ({"units": "1/angstrom^2"}, "atoms per Å²"),
        ({"units": "1", "long_name": "thickness in inelastic mean free paths"}, "thickness in inelastic mean free paths"),
    ],
)
def test_colour_bars_name_the_unit(attrs: dict[str, str], label: str) -> None:
    """The colour bar says what a grey level is; its range is that of the frame."""
    frame = xr.DataArray(np.linspace(0, 1, 36).reshape(6, 6), PLACES, ("y", "x"), attrs=attrs)
    _, bar = micrographs.micrographs([("one", frame)]).axes
    assert bar.get_ylabel() == label
    assert bar.get_ylim() == pytest.approx((0, 1), abs=0.05)


def test_a_frame_without_a_unit_has_no_colour_bar() -> None:
    """Nothing is said of numbers that nobody has named."""
    frame = xr.DataArray(np.eye(6), PLACES, ("y", "x"))
    assert len(micrographs.micrographs([("one", frame)]).axes) == 1


def test_patterns_and_spectra_have_axes() -> None:
    """A pattern is drawn over mrad, a spectrum over eV."""
    k = 2.0 * (np.arange(8) - 3.5)
    pattern = xr.DataArray(np.ones((8, 8)), {"ky": k, "kx": k}, ("ky", "kx"), attrs={"units": "1"})
    energy = ("energy_ev", np.arange(10.0), {"units": "eV", "long_name": "energy loss"})
    spectrum = xr.DataArray(np.arange(10.0), {"energy_ev": energy}, ("energy_ev",), attrs={"units": "1", "long_name": "share"})
    first, second, bar = micrographs.micrographs([("pattern", pattern), ("spectrum", spectrum)]).axes
    assert first.get_xlabel() == "kx (mrad)"
    assert first.get_xlim() == (-8, 8)
    assert (second.get_xlabel(), second.get_ylabel()) == ("energy loss (eV)", "share")
    assert bar.get_ylabel() == "fraction of the beam per pixel"
