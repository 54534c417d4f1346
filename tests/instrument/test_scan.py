"""Rasters and lists of points as geometry."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.scan import PathScan, RasterScan

LENGTHS = st.floats(0.5, 5000)
RASTERS = st.builds(
    RasterScan,
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    field_of_view_angstrom=st.tuples(LENGTHS, LENGTHS),
    origin_angstrom=st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)),
    rotation_rad=st.floats(-10, 10),
)


def test_pixels_lie_where_the_conventions_put_them() -> None:
    """Pixel [0, 0] is centred on the origin, x runs along the last axis, and the pitch is the field of view over the shape."""
    scan = RasterScan(shape=(2, 4), field_of_view_angstrom=(3, 8), origin_angstrom=(10, 20))
    assert scan.pitch_angstrom == (1.5, 2.0)
    assert scan.positions()[0, 0].tolist() == [10, 20]
    assert scan.positions()[1, 3].tolist() == [16, 21.5]


@given(scan=RASTERS)
def test_rotation_keeps_distances_and_the_centre(scan: RasterScan) -> None:
    """Rotation turns the field rigidly about its centre: the mean position and all distances to it stay."""
    unturned = RasterScan(shape=scan.shape, field_of_view_angstrom=scan.field_of_view_angstrom, origin_angstrom=scan.origin_angstrom)
    turned, straight = scan.positions().reshape(-1, 2), unturned.positions().reshape(-1, 2)
    size = 1e-9 * (1e3 + max(scan.field_of_view_angstrom))
    np.testing.assert_allclose(turned.mean(0), straight.mean(0), atol=size)
    centre = np.array(scan.centre_angstrom)
    np.testing.assert_allclose(np.hypot(*(turned - centre).T), np.hypot(*(straight - centre).T), atol=size)


def test_rotation_goes_from_x_to_y() -> None:
    """A quarter turn takes the fast axis from +x to +y: (x, y) -> (x cos t - y sin t, x sin t + y cos t)."""
    at = RasterScan(shape=(1, 3), field_of_view_angstrom=(1, 3), rotation_rad=math.pi / 2).positions()
    np.testing.assert_allclose(at[0, 2] - at[0, 0], [0, 2], atol=1e-12)


@given(scan=RASTERS)
def test_frame_coordinates_are_the_inverse_of_positions(scan: RasterScan) -> None:
    """A specimen point under pixel [iy, ix] has frame coordinates (ix dx, iy dy)."""
    (dy, dx), (ny, nx) = scan.pitch_angstrom, scan.shape
    expected = np.stack(np.meshgrid(dx * np.arange(nx), dy * np.arange(ny)), axis=-1).reshape(-1, 2)
    np.testing.assert_allclose(
        scan.frame_coordinates(scan.positions().reshape(-1, 2)), expected, atol=1e-9 * (1e3 + max(scan.field_of_view_angstrom))
    )


@given(scan=RASTERS, data=st.data())
def test_a_region_visits_the_same_points(scan: RasterScan, data: st.DataObject) -> None:
    """The points of a rectangular part, as a scan of its own, are those of the whole, also where the field is turned."""
    iy, ix = (data.draw(st.integers(0, n - 1)) for n in scan.shape)
    size = data.draw(st.integers(1, scan.shape[0] - iy)), data.draw(st.integers(1, scan.shape[1] - ix))
    part = scan.region((iy, ix), size)
    there = scan.positions()[iy : iy + size[0], ix : ix + size[1]]
    np.testing.assert_allclose(part.positions(), there, atol=1e-9 * (1e3 + max(scan.field_of_view_angstrom)))
    assert part.rotation_rad == scan.rotation_rad
    np.testing.assert_allclose(part.pitch_angstrom, scan.pitch_angstrom)


@pytest.mark.parametrize(("first", "shape"), [((0, 0), (5, 4)), ((3, 3), (1, 2)), ((-1, 0), (1, 1)), ((0, 0), (0, 1)), ((0.5, 0), (1, 1))])
def test_regions_beyond_the_scan_are_refused(first: tuple, shape: tuple) -> None:
    """A region lies inside its scan."""
    with pytest.raises(SettingsError, match=r"extends beyond the scan of 4 x 4|must be a whole number"):
        RasterScan(shape=(4, 4), field_of_view_angstrom=(1, 1)).region(first, shape)


@pytest.mark.parametrize(
    "wrong",
    [
        {"shape": (0, 4)},
        {"shape": (2.5, 4)},
        {"shape": 128},
        {"shape": (2, 20_000)},
        {"field_of_view_angstrom": 16},
        {"field_of_view_angstrom": (16, 0)},
        {"field_of_view_angstrom": (16, math.inf)},
        {"origin_angstrom": (0, math.nan)},
        {"rotation_rad": "90"},
    ],
)
def test_rasters_that_make_no_sense_are_refused_by_name(wrong: dict) -> None:
    """A raster needs a shape of whole numbers, a field above 0, a finite origin and angle; the message names what is wrong."""
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        RasterScan(**{"shape": (4, 4), "field_of_view_angstrom": (1, 1), **wrong})


@pytest.mark.parametrize("wrong", [[], [[1, 2, 3]], [1, 2], [[1, math.nan]], "ab", [[1, 2], [3]]])
def test_paths_that_make_no_sense_are_refused(wrong: object) -> None:
    """A path is a finite array of shape (n, 2)."""
    with pytest.raises(SettingsError, match="positions_angstrom"):
        PathScan(positions_angstrom=wrong)  # type: ignore[arg-type]


def test_paths_keep_a_copy_that_nobody_can_change() -> None:
    """A scan is a value: changing the list that it was made of, or its own array, is without effect or refused."""
    points = np.array([[1.0, 2.0]])
    scan = PathScan(positions_angstrom=points)
    points[0, 0] = 9
    assert scan.positions()[0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        scan.positions()[0, 0] = 3
