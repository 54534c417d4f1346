"""The dose map: no electron is lost, wherever it went and on whatever grid it is looked at."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.hardware.scan_distortion import ScanImperfections, true_positions
from stemtwin.twin.instrument.scan import PathScan, RasterScan, Scan
from stemtwin.twin.instrument.scope.dose_map import DoseMap, deposits, spacing_angstrom
from stemtwin.twin.instrument.timing import scan_timing
from stemtwin.twin.physics.electrons import ELECTRONS_PER_PICOAMPERE_SECOND
from tests.instrument.paths import any_scan

SCAN = RasterScan(shape=(32, 48), field_of_view_angstrom=(8, 12), origin_angstrom=(-30, 7))


def on_whole(dose: DoseMap, pitch: float, margin: float = 0.0) -> tuple[np.ndarray, float]:
    """Return the dose on a grid over the whole map, and the area of its pixels."""
    x0, y0, x1, y1 = dose.extent_angstrom
    shape = math.ceil((y1 - y0 + 2 * margin) / pitch), math.ceil((x1 - x0 + 2 * margin) / pitch)
    return dose.sample((x0 - margin + pitch / 2, y0 - margin + pitch / 2), shape, (pitch, pitch)), pitch**2


@given(scan=any_scan(), dwell=st.floats(0.1, 100), current=st.floats(1, 500), blanked=st.booleans(), mains=st.sampled_from([0.0, 50.0]))
def test_the_map_holds_current_times_time(scan: Scan, dwell: float, current: float, blanked: bool, mains: float) -> None:
    """Its integral is I t / e: t is the whole duration with all pauses, or the time at the points where the rest is blanked."""
    timing = scan_timing(scan, dwell_time_us=dwell, flyback_us=100, settle_us=7, synchronise_hz=mains)
    rate = current * ELECTRONS_PER_PICOAMPERE_SECOND
    at = true_positions(scan, timing, ScanImperfections(line_jitter_angstrom=0.3), None, np.random.default_rng(0))
    dose = DoseMap().add(*deposits(at, timing, rate * timing.dwell_s, blanked=blanked), spacing_angstrom=spacing_angstrom(scan))
    time = timing.count * timing.dwell_s if blanked else timing.duration_s
    assert dose.electrons == pytest.approx(rate * time, rel=1e-9)


@settings(max_examples=30)
@given(seed=st.integers(0, 99), pitch=st.floats(0.3, 20), spacing=st.sampled_from([0.0, 0.25, 1.3, 9.0]))
def test_every_grid_sees_all_electrons(seed: int, pitch: float, spacing: float) -> None:
    """The dose summed over the pixels of any grid that covers the map, times their area, is the number of electrons."""
    rng = np.random.default_rng(seed)
    dose = DoseMap().add(rng.normal(0, 20, (50, 2)), rng.random(50), spacing_angstrom=spacing)
    grid, area = on_whole(dose, pitch)
    assert grid.sum() * area == pytest.approx(dose.electrons, rel=1e-9)


@given(points=st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)), min_size=1, max_size=8), spacing=st.floats(0, 100))
def test_electrons_are_where_they_went(points: list, spacing: float) -> None:
    """Sharing among the nearest cells keeps the mean position, nothing lies further than a cell from its point; one by one is the same."""
    at, many = np.array(points), np.arange(1.0, len(points) + 1)
    dose = DoseMap().add(at, many, spacing_angstrom=spacing)
    total, moment = 0.0, np.zeros(2)
    for (level, row, column), tile in dose.tiles.items():
        cell = 0.25 * 2**level
        assert cell >= spacing
        i, j = np.nonzero(tile)
        centres = np.column_stack([column * 32 + j + 0.5, row * 32 + i + 0.5]) * cell
        assert (np.abs(centres[:, None] - at).max(axis=2).min(axis=1) <= cell * (1 + 1e-6)).all()
        total, moment = total + tile.sum(), moment + tile[i, j] @ centres
    assert total == pytest.approx(many.sum())
    np.testing.assert_allclose(moment / total, many @ at / many.sum(), atol=1e-7)
    slow = DoseMap()
    for point, number in zip(at, many, strict=True):
        slow = slow.add(point[None], number, spacing_angstrom=spacing)
    assert set(slow.tiles) == set(dose.tiles)
    for key, tile in dose.tiles.items():
        np.testing.assert_allclose(slow.tiles[key], tile, atol=1e-9)


def test_the_field_of_a_raster_gets_current_times_dwell_time_per_pixel() -> None:
    """Inside the field the dose is I t / (e pixel area), frame after frame; outside there is none."""
    dose, per_visit = DoseMap(), 125.0
    for _ in range(3):
        dose = dose.add(SCAN.points(), per_visit, spacing_angstrom=spacing_angstrom(SCAN))
    seen = dose.on_raster(SCAN)
    np.testing.assert_allclose(seen[2:-2, 2:-2], 3 * per_visit / 0.25**2, rtol=1e-9)
    np.testing.assert_allclose(dose.at(SCAN.positions()[2:-2, 2:-2]), 3 * per_visit / 0.25**2, rtol=1e-9)
    assert dose.at(np.array([[-30.0, 16.0], [500.0, 0.0]])).tolist() == [0, 0]


def test_waiting_before_a_line_makes_a_bright_edge() -> None:
    """Unless it is blanked, the beam's flyback is spent at the beginning of the lines: the known bright edge of a scanned field."""
    timing = scan_timing(SCAN, dwell_time_us=2, flyback_us=96)
    dose, dark = (DoseMap().add(*deposits(SCAN.points(), timing, 100.0, blanked=off), spacing_angstrom=0.25) for off in (False, True))
    edge = [map_.sample((-30, 7), (28, 1), (0.25, 1.0))[4:, 0] * 0.25 for map_ in (dose, dark)]
    np.testing.assert_allclose(edge[0] - edge[1], 100 * 96 / 2, rtol=1e-6)
    inner = [map_.sample((-20, 7), (28, 4), (0.25, 1.0)) for map_ in (dose, dark)]
    np.testing.assert_allclose(inner[0], inner[1], rtol=1e-9)


def test_the_dose_follows_the_true_path() -> None:
    """A drift of 5 A moves the map by 5 A."""
    timing = scan_timing(SCAN, dwell_time_us=1)
    moved = true_positions(SCAN, timing, ScanImperfections(), lambda t: np.broadcast_to((5.0, 0.0), (len(t), 2)), np.random.default_rng(0))
    here, there = (DoseMap().add(at, 10.0, spacing_angstrom=0.25) for at in (SCAN.points(), moved))
    np.testing.assert_allclose(here.sample((-40, 0), (60, 80), (0.5, 0.5)), there.sample((-35, 0), (60, 80), (0.5, 0.5)), atol=1e-9)


def test_an_overview_and_a_detail_do_not_spoil_each_other() -> None:
    """A frame of a micrometre takes wide cells, a frame of some angstrom small ones; the detail stays sharp on the overview's ground."""
    overview = RasterScan(shape=(64, 64), field_of_view_angstrom=(1e4, 1e4), origin_angstrom=(-5e3, -5e3))
    dose = DoseMap().add(overview.points(), 1e4, spacing_angstrom=spacing_angstrom(overview))
    assert sum(tile.nbytes for tile in dose.tiles.values()) < 2**20
    ground = 1e4 / (1e4 / 64) ** 2
    dose = dose.add(SCAN.points(), 125.0, spacing_angstrom=0.25)
    middle = SCAN.positions()[10:20, 10:20]
    np.testing.assert_allclose(dose.at(middle), 125 / 0.25**2 + ground, rtol=0.6 * ground)
    assert dose.at(middle + 200).mean() == pytest.approx(ground, rel=1)
    grid, area = on_whole(dose, 100.0)
    assert grid.sum() * area == pytest.approx(dose.electrons)


def test_a_map_is_a_value() -> None:
    """Adding leaves the map before as it was and shares the tiles that were not met; tiles cannot be written to; the order plays no part."""
    one = DoseMap().add(np.array([[0.0, 0.0]]), 3.0)
    two = one.add(np.array([[1000.0, 0.0]]), 4.0)
    assert (one.electrons, two.electrons) == (3, 7)
    assert all(two.tiles[key] is tile for key, tile in one.tiles.items())
    with pytest.raises(ValueError, match="read-only"):
        next(iter(two.tiles.values()))[0, 0] = 1
    other = DoseMap().add(np.array([[1000.0, 0.0]]), 4.0).add(np.array([[0.0, 0.0]]), 3.0)
    assert all((other.tiles[key] == tile).all() for key, tile in two.tiles.items())
    assert DoseMap().extent_angstrom is None
    assert DoseMap().electrons == 0


def test_points_far_apart_take_tiles_of_their_own() -> None:
    """A list of points over a millimetre at the finest cells needs tiles for the points, not for the area between them."""
    scan = PathScan(positions_angstrom=np.random.default_rng(0).uniform(-5e6, 5e6, (40, 2)))
    dose = DoseMap().add(scan.points(), 2.0)
    assert dose.electrons == pytest.approx(80)
    assert len(dose.tiles) <= 160


def test_a_probe_spreads_a_parked_beam() -> None:
    """A Gaussian probe of standard deviation s makes a peak of N / (2 pi s^2), and keeps the number."""
    dose = DoseMap().add(np.array([[0.0, 0.0]]), 1e5)
    seen = dose.sample((-20, -20), (201, 201), (0.2, 0.2), blur_angstrom=2.0)
    assert seen.sum() * 0.04 == pytest.approx(1e5, rel=1e-4)
    assert seen.max() == pytest.approx(1e5 / (2 * np.pi * 4), rel=0.02)
    sharp = dose.sample((100, 100), (4, 4), (1, 1), blur_angstrom=2.0)
    assert sharp.max() < 1e-6


@pytest.mark.parametrize(
    ("points", "electrons", "match"),
    [
        (np.zeros(2), 1.0, "points has shape"),
        (np.zeros((2, 2)), np.ones(3), "points has shape"),
        (np.full((1, 2), np.nan), 1.0, "must be finite"),
        (np.zeros((1, 2)), -1.0, "must not be negative"),
    ],
)
def test_doses_that_make_no_sense_are_refused(points: np.ndarray, electrons: float, match: str) -> None:
    """Positions are finite pairs, numbers of electrons not negative."""
    with pytest.raises(SettingsError, match=match):
        DoseMap().add(points, electrons)
    with pytest.raises(SettingsError, match="rotation_rad=1"):
        DoseMap().on_raster(RasterScan(shape=(2, 2), field_of_view_angstrom=(1, 1), rotation_rad=1))
