"""Sums of Fourier series on rotated rasters: a slow obvious twin, the spline, many images together, limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.scan import PathScan, RasterScan
from stemtwin.twin.instrument.scope.microscope import Microscope
from stemtwin.twin.physics.engine.operator import image_kernels, rotated_rasters
from stemtwin.twin.samples.library import load_sample


def drawn(seed: int, rows: int, half: int) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Return coefficients of three images of two channels, some of them 0, and their rasters."""
    rng = np.random.default_rng(seed)
    c = rng.standard_normal((3, 2, rows, 2 * half + 1)) + 1j * rng.standard_normal((3, 2, rows, 2 * half + 1))
    c[..., rng.random(c.shape[2:]) < 0.3] = 0
    c[:, :, 0, half] = 5.0
    return c, (rng.uniform(-20, 20, (3, 2)), rng.uniform(-0.5, 0.5, (3, 2)), rng.uniform(-0.5, 0.5, (3, 2)))


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 9), half=st.integers(0, 9), shape=st.tuples(st.integers(1, 70), st.integers(1, 70)))
@settings(max_examples=25)
def test_a_rotated_raster_is_the_sum_of_its_waves(seed: int, rows: int, half: int, shape: tuple[int, int]) -> None:
    """Every point of odd and even rasters is the sum of the series there within 1e-6; alone and together give the same bits."""
    c, (middle, line, column) = drawn(seed, rows, half)
    found = rotated_rasters.rotated_rasters(c, middle, line, column, shape)
    i, j = np.arange(shape[0])[:, None, None] - (shape[0] - 1) / 2, np.arange(shape[1])[:, None] - (shape[1] - 1) / 2
    for n in range(3):
        y, x = np.moveaxis(middle[n] + i * line[n] + j * column[n], -1, 0)
        waves = np.exp(-1j * (np.arange(rows)[:, None, None, None] * y + np.arange(-half, half + 1)[:, None, None] * x))
        twin = np.einsum("chx,hxij->cij", c[n], waves).real
        assert np.abs(found[n] - twin).max() < 1e-6 * np.abs(c[n]).sum(axis=(1, 2)).max()
        one = rotated_rasters.rotated_rasters(c[n : n + 1], middle[n : n + 1], line[n : n + 1], column[n : n + 1], shape)
        assert (one[0] == found[n]).all()


def test_series_and_spline_agree() -> None:
    """The series differs from the spline by less than 1e-6, and images of the mean alone are flat."""
    c, (middle, line, column) = drawn(4, 9, 15)
    found = rotated_rasters.rotated_rasters(c, middle, line, column, (40, 50))
    i, j = np.arange(40)[:, None, None] - 19.5, np.arange(50)[:, None] - 24.5
    for n in range(3):
        points = (middle[n] + i * line[n] + j * column[n])[..., ::-1].reshape(-1, 2) / (2 * np.pi) * np.array([3.0, 2.0])
        spline = image_kernels.at_points(c[n], points, (2.0, 3.0)).reshape(2, 40, 50)
        assert np.abs(found[n] - spline).max() < 1e-6 * np.abs(spline).max()
    flat = np.zeros((1, 1, 3, 5), complex)
    flat[0, 0, 0, 2] = 0.25
    assert (rotated_rasters.rotated_rasters(flat, middle[:1], line[:1], column[:1], (4, 6)) == np.float32(0.25)).all()


def test_large_series_and_rasters_are_left_to_the_spline() -> None:
    """The limits are those of one image's coefficients and of the raster's points."""
    assert rotated_rasters.worth(np.zeros((7, 2, 20, 32)), (512, 512))
    assert not rotated_rasters.worth(np.zeros((1, 1, 20, 33)), (8, 8))
    assert not rotated_rasters.worth(np.zeros((1, 1, 3, 5)), (513, 512))


def test_released_data_keep_the_spline() -> None:
    """A microscope with rotated="spline" reads a rotated raster as its points, to the last bit; by default it is the series, next to it."""
    sample, scan = (
        load_sample("mos2-1h", size_angstrom=(4.0, 4.0)),
        RasterScan(shape=(24, 20), field_of_view_angstrom=(6.0, 5.0), origin_angstrom=(1.0, 2.0), rotation_rad=0.4),
    )
    expected = {}
    for rotated in ("series", "spline"):
        scope = Microscope(sample, instrument="ideal", seed=1, phonons="static", engine="operator", rotated=rotated)
        scope.acquire(scan, detectors=("haadf",), dwell_time_us=1.0)
        expected[rotated] = scope.truth()["expected"]["haadf"].to_numpy()
        scope.acquire(PathScan(positions_angstrom=scan.points()), detectors=("haadf",), dwell_time_us=1.0)
        expected[rotated, "points"] = scope.truth()["expected"]["haadf"].to_numpy().reshape(scan.shape)
    assert (expected["spline"] == expected["spline", "points"]).all()
    assert (expected["series", "points"] == expected["spline", "points"]).all()
    assert 0 < np.abs(expected["series"] - expected["spline"]).max() < 1e-6 * expected["spline"].max()
    with pytest.raises(SettingsError, match="series, spline"):
        Microscope(sample, rotated="nearest")
