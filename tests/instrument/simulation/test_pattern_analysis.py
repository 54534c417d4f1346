"""What is made of patterns."""

import math

import numpy as np
import pytest
import xarray as xr

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.detectors import AnnularDetector, PixelatedDetector, SegmentedDetector
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.settings import Beam, PotentialSlices
from stemtwin.twin.instrument.simulation import pattern_analysis
from stemtwin.twin.instrument.simulation.simulate import simulate
from stemtwin.twin.physics import electrons


def cube(values: np.ndarray, pixel: float = 2.0) -> xr.DataArray:
    """Patterns on a raster, with angles about 0."""
    ny, nx = values.shape[-2:]
    coords = {"ky": pixel * (np.arange(ny) - (ny - 1) / 2), "kx": pixel * (np.arange(nx) - (nx - 1) / 2)}
    coords |= {"y": 0.5 * np.arange(values.shape[0]), "x": 0.4 * np.arange(values.shape[1])}
    return xr.DataArray(values, coords, ("y", "x", "ky", "kx"), "pixelated", {"energy_ev": 200e3})


def weak_grating(points: int = 120, side: float = 12.0, strength: float = 2.0) -> tuple[PotentialSlices, float]:
    """A weak wave of potential along x and y, V = strength (cos(2 pi x / side) + cos(2 pi y / side)) / 2, in one slice."""
    at = 2 * np.pi * np.arange(points) / points
    v = strength * (np.cos(at)[:, None] + np.cos(at)) / 2
    return PotentialSlices(array=v[None], sampling_angstrom=(side / points,) * 2, z_angstrom=np.zeros(1)), side


def test_pacbed_is_the_mean_over_the_scan() -> None:
    """Its sum is the mean of the patterns' sums."""
    values = np.random.default_rng(0).random((3, 4, 5, 6)).astype(np.float32)
    found = pattern_analysis.pacbed(cube(values))
    assert found.dims == ("ky", "kx")
    np.testing.assert_allclose(found, values.mean((0, 1), dtype=float), rtol=1e-12)


def test_the_centre_of_mass_of_a_single_pixel_is_its_angle() -> None:
    """One electron at (ky, kx) has its centre of mass there; nothing counted gives NaN."""
    values = np.zeros((1, 3, 6, 8))
    values[0, 0, 1, 7] = values[0, 1, 5, 0] = 3
    found = pattern_analysis.centre_of_mass(cube(values))
    np.testing.assert_allclose(found["com_y"][0, :2], [-3, 5])
    np.testing.assert_allclose(found["com_x"][0, :2], [7, -7])
    assert np.isnan(found["com_y"][0, 2])
    assert found["com_x"].attrs["units"] == "mrad"


def test_masks_cover_fractions_of_pixels() -> None:
    """An evenly lit camera gives every detector its area; segments add up to their ring, and have dims (segment, y, x)."""
    flat = cube(np.ones((2, 2, 40, 40), np.float32), pixel=1.0)
    ring = AnnularDetector(inner_mrad=3.3, outer_mrad=17.7)
    np.testing.assert_allclose(pattern_analysis.virtual(flat, ring), math.pi * (17.7**2 - 3.3**2), rtol=1e-5)
    parts = pattern_analysis.virtual(flat, SegmentedDetector(inner_mrad=3.3, outer_mrad=17.7, segments=6))
    assert parts.dims == ("segment", "y", "x")
    np.testing.assert_allclose(parts.sum("segment"), pattern_analysis.virtual(flat, ring), rtol=1e-5)


def test_a_detector_beyond_the_camera_is_refused() -> None:
    """The message names the camera's edge."""
    with pytest.raises(SettingsError, match="nearest edge is at 20 mrad"):
        pattern_analysis.virtual(cube(np.ones((1, 1, 40, 40)), pixel=1.0), AnnularDetector(inner_mrad=0, outer_mrad=21))


def test_dpc_points_where_the_electrons_go() -> None:
    """A disc moved to +x gives positive dpc_x; the number of segments and their rotation change nothing of the sign."""
    values = np.zeros((1, 1, 40, 40))
    values[0, 0, 12:28, 16:32] = 1
    for detector in (SegmentedDetector(inner_mrad=0, outer_mrad=18), SegmentedDetector(inner_mrad=0, outer_mrad=18, segments=8, rotation_rad=1.0)):
        found = pattern_analysis.dpc(pattern_analysis.virtual(cube(values, pixel=1.0), detector), detector)
        assert found["dpc_x"].item() > 0.2
        assert abs(found["dpc_y"].item()) < 0.01
    with pytest.raises(SettingsError, match="does not have 4 segments"):
        pattern_analysis.dpc(cube(values), SegmentedDetector(inner_mrad=0, outer_mrad=18))


def test_the_integrated_centre_of_mass_is_the_phase() -> None:
    """Of a slowly varying weak phase, iCOM is sigma V times the transfer of the probe's intensity, and the sign is that of the potential: 1 %."""
    specimen, side = weak_grating()
    beam = Beam(energy_ev=200e3, semiangle_mrad=25)
    scan = RasterScan(shape=(12, 12), field_of_view_angstrom=(side, side))
    camera = PixelatedDetector(shape=(48, 48), outer_mrad=40)
    data = simulate(specimen, beam, scan, detectors=camera)["pixelated"]
    found = pattern_analysis.icom(pattern_analysis.centre_of_mass(data), periodic=True)
    q = beam.wavelength_angstrom / side / (2 * beam.semiangle_rad)  # spatial frequency over the cut-off
    transfer = 2 / math.pi * (math.acos(q) - q * math.sqrt(1 - q**2))
    phase = electrons.interaction_constant(200e3) * specimen.array[0, ::10, ::10] * transfer
    np.testing.assert_allclose(found, phase - phase.mean(), atol=0.01 * np.ptp(phase))
    assert found.attrs["units"] == "rad"


@pytest.mark.parametrize("wrong", ["no energy", "no raster", "holes"])
def test_what_cannot_be_integrated_is_refused(wrong: str) -> None:
    """The phase needs an energy, a raster and a centre of mass everywhere."""
    com = pattern_analysis.centre_of_mass(cube(np.ones((3, 3, 4, 4))))
    if wrong == "no energy":
        del com.attrs["energy_ev"]
    elif wrong == "no raster":
        com = com.isel(y=slice(1))
    else:
        com["com_y"][0, 0] = np.nan
    with pytest.raises(SettingsError, match={"no energy": "energy_ev", "no raster": "RasterScan", "holes": "no electrons"}[wrong]):
        pattern_analysis.icom(com)


def test_other_arrays_are_refused() -> None:
    """An array without angles is no pattern."""
    for wrong in (np.ones((2, 2)), xr.DataArray(np.ones((2, 2)), dims=("ky", "kx")), cube(np.ones((1, 1, 4, 4))).transpose("ky", "kx", "y", "x")):
        with pytest.raises(SettingsError, match="last dimensions are ky and kx"):
            pattern_analysis.pacbed(wrong)  # type: ignore[arg-type]
