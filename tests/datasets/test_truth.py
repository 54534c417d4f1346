"""The truth of a frame."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from stemtwin.datasets.truth import frame_columns
from stemtwin.twin.instrument.scan import RasterScan

CELL = (5.0, 4.0)


def columns(x, y, heaviest, occupancy):
    """Projected columns as the samples layer gives them."""
    heaviest, occupancy = np.asarray(heaviest), np.asarray(occupancy, dtype=float)
    return SimpleNamespace(
        x=np.asarray(x, dtype=float),
        y=np.asarray(y, dtype=float),
        occupancy=occupancy,
        heaviest=heaviest,
        species=tuple(f"Z{z}" for z in heaviest),
        weight=occupancy * heaviest**1.7,
    )


PAIR = columns([0.5, 2.5], [1.0, 3.5], [38, 8], [10, 10])


@pytest.mark.parametrize("rotation", [0.0, 0.4, math.pi / 2, 3.9])
@pytest.mark.parametrize("origin", [(0.0, 0.0), (3.7, -8.2)])
def test_columns_are_where_brute_force_finds_them(rotation, origin):
    """Taking every repeated column by the rule of the conventions (turn about the centre of the frame) gives the same list."""
    scan = RasterScan(shape=(40, 60), field_of_view_angstrom=(12.0, 18.0), origin_angstrom=origin, rotation_rad=rotation)
    truth = frame_columns(PAIR, CELL, scan, 0.2)
    pitch, (ny, nx) = 0.3, (40, 60)
    cx, cy = origin[0] + pitch * (nx - 1) / 2, origin[1] + pitch * (ny - 1) / 2
    expected = []
    for i in range(-30, 31):
        for j in range(-30, 31):
            for n in range(2):
                px, py = PAIR.x[n] + i * CELL[1] - cx, PAIR.y[n] + j * CELL[0] - cy
                u = px * math.cos(-rotation) - py * math.sin(-rotation) + cx - origin[0]
                v = px * math.sin(-rotation) + py * math.cos(-rotation) + cy - origin[1]
                if -pitch / 2 <= u < (nx - 0.5) * pitch and -pitch / 2 <= v < (ny - 0.5) * pitch:
                    expected.append((round(v, 9), round(u, 9), int(PAIR.heaviest[n])))
    found = zip(np.round(truth["column_y_angstrom"], 9), np.round(truth["column_x_angstrom"], 9), truth["column_heaviest"], strict=True)
    assert sorted(found) == sorted(expected)
    assert truth["n_columns"] == len(expected) > 15


@pytest.mark.parametrize("rotation", [0.0, 1.1])
def test_the_scan_visits_each_column_where_the_truth_says(rotation):
    """The scan's own position of the pixel nearest to a true column is that column of the crystal, to half a pixel's diagonal."""
    scan = RasterScan(shape=(120, 120), field_of_view_angstrom=(12.0, 12.0), origin_angstrom=(1.3, 0.4), rotation_rad=rotation)
    truth = frame_columns(PAIR, CELL, scan, 0.2)
    positions = scan.positions()
    for u, v, z in zip(truth["column_x_angstrom"], truth["column_y_angstrom"], truth["column_heaviest"], strict=True):
        x, y = positions[round(v / 0.1), round(u / 0.1)]
        n = 0 if z == 38 else 1
        dx, dy = (x - PAIR.x[n] + 2) % 4 - 2, (y - PAIR.y[n] + 2.5) % 5 - 2.5
        assert math.hypot(dx, dy) <= 0.1 * math.sqrt(0.5) + 1e-9


def test_the_number_of_columns_is_the_density_times_the_area():
    """A field of whole cells holds whole cells' worth of columns, wherever it starts."""
    for origin in [(0.0, 0.0), (0.123, 4.56), (-77.7, 1234.5)]:
        scan = RasterScan(shape=(50, 40), field_of_view_angstrom=(10.0, 8.0), origin_angstrom=origin)
        assert frame_columns(PAIR, CELL, scan, 0.2)["n_columns"] == 8


def test_visibility_compares_with_the_frames_heaviest_column():
    """A column of less than the fraction of the frame's largest weight is not visible; alone in a frame it is."""
    scan = RasterScan(shape=(50, 40), field_of_view_angstrom=(10.0, 8.0))
    truth = frame_columns(PAIR, CELL, scan, 0.2)
    assert truth["column_visible"] == [z == 38 for z in truth["column_heaviest"]]
    assert (8 / 38) ** 1.7 < 0.2
    alone = RasterScan(shape=(10, 10), field_of_view_angstrom=(1.0, 1.0), origin_angstrom=(2.0, 3.0))
    truth = frame_columns(PAIR, CELL, alone, 0.2)
    assert truth["column_species"] == ["Z8"]
    assert truth["column_visible"] == [True]
    assert truth["column_occupancy"] == [10.0]


def test_a_frame_between_the_columns_is_empty():
    """A frame that holds no column has lists of length 0."""
    scan = RasterScan(shape=(10, 10), field_of_view_angstrom=(0.5, 0.5), origin_angstrom=(1.2, 2.0))
    truth = frame_columns(PAIR, CELL, scan, 0.2)
    assert truth["n_columns"] == 0
    assert truth["column_x_angstrom"] == truth["column_visible"] == []
