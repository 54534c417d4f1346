"""Beams, and potentials given as arrays."""

import math

import numpy as np
import pytest

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.settings import Beam, PlaneWave, PotentialSlices


def test_energies_in_kev_are_recognised() -> None:
    """A beam of 200 eV was meant to be 200 keV: the message asks."""
    for make in (lambda: Beam(energy_ev=200, semiangle_mrad=20), lambda: PlaneWave(energy_ev=200)):
        with pytest.raises(SettingsError, match=r"energy_ev=200 eV .* at least 1000 .*Did you pass keV\?"):
            make()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"semiangle_mrad": 0}, "semiangle_mrad=0 mrad"),
        ({"semiangle_mrad": 0.02, "energy_ev": math.nan}, "energy_ev"),
        ({"source_size_angstrom": -1}, "source_size_angstrom=-1"),
        ({"focal_spread_angstrom": "3"}, "focal_spread_angstrom"),
        ({"aberrations": {"C10": -50}}, "is not an Aberrations value"),
    ],
)
def test_beams_that_make_no_sense_are_refused(wrong: dict, said: str) -> None:
    """The message names the setting."""
    with pytest.raises(SettingsError, match=said):
        Beam(**{"energy_ev": 200e3, "semiangle_mrad": 20, **wrong})


def test_units_end_here() -> None:
    """mrad become rad, and 200 kV electrons have a wavelength of 2.508 pm (Kirkland, Advanced Computing in Electron Microscopy, table C.1)."""  # noqa: D403
    beam = Beam(energy_ev=200e3, semiangle_mrad=20)
    assert beam.semiangle_rad == 0.02
    assert beam.wavelength_angstrom == pytest.approx(0.02508, abs=5e-6)
    assert PlaneWave(energy_ev=200e3).wavelength_angstrom == beam.wavelength_angstrom


@pytest.mark.parametrize(
    "wrong",
    [
        {"array": np.zeros((4, 4))},
        {"array": np.full((2, 4, 4), np.nan)},
        {"array": [[[1, 2], [3]]]},
        {"z_angstrom": [0.0]},
        {"z_angstrom": [1.0, 1.0]},
        {"z_angstrom": [-1.0, 1.0]},
        {"sampling_angstrom": (0.1, 0)},
    ],
)
def test_potentials_that_make_no_sense_are_refused(wrong: dict) -> None:
    """A potential is a finite array (n, ny, nx) with n increasing depths and a sampling above 0."""
    with pytest.raises(SettingsError):
        PotentialSlices(**{"array": np.zeros((2, 4, 4)), "sampling_angstrom": (0.1, 0.1), "z_angstrom": [0.0, 1.0], **wrong})


def test_potentials_are_values() -> None:
    """The arrays are copies that nobody can change; extent and exit face follow from them."""
    array = np.ones((2, 4, 6))
    potential = PotentialSlices(array=array, sampling_angstrom=(0.1, 0.2), z_angstrom=np.array([0.5, 2.5]))
    array[:] = 0
    assert potential.array.min() == 1
    assert potential.size_angstrom == pytest.approx((0.4, 1.2))
    assert potential.thickness_angstrom == 2.5
    with pytest.raises(ValueError, match="read-only"):
        potential.array[0] = 3
