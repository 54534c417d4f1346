"""All scan paths: what they have in common, and each one's own law."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.scan import LissajousScan, PathScan, RasterScan, Scan, SerpentineScan, SparseScan, SpiralScan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import results, serialisation, simulate
from stemtwin.twin.samples.sample import Sample
from tests.instrument.paths import COPRIME, EACH, RASTER, any_scan

# ---- what all have in common


@given(scan=any_scan())
def test_visits_are_the_places_of_the_frame_in_visiting_order(scan: Scan) -> None:
    """`points()` is `positions()` in the order of `order()`, no place is visited twice, and `frame` is the inverse of that order."""
    order, points = scan.order(), scan.points()
    assert len(order) == scan.count == len(points)
    assert len(np.unique(order)) == len(order)
    np.testing.assert_array_equal(scan.positions().reshape(-1, 2)[order], points)
    assert scan.positions().shape == (*scan.shape, 2)
    values = np.random.default_rng(0).random((2, scan.count))
    framed = scan.frame(values)
    assert framed.shape == (2, *scan.shape)
    np.testing.assert_array_equal(framed.reshape(2, -1)[:, order], values)


@given(scan=any_scan())
def test_lines_divide_the_visits(scan: Scan) -> None:
    """The first visit begins the first line; lines begin in order, at visits that exist."""
    starts = scan.line_starts()
    assert starts[0] == 0
    assert (np.diff(starts) > 0).all()
    assert starts[-1] < scan.count
    assert scan.pause in ("flyback", "turn", "none")


@given(scan=any_scan())
def test_scans_survive_files(scan: Scan) -> None:
    """Plain values in JSON bring back the same kind of scan with the same points, bit for bit."""
    back = serialisation.scan_from_dict(json.loads(json.dumps(serialisation.scan_to_dict(scan))))
    assert type(back) is type(scan)
    assert back.points().tobytes() == scan.points().tobytes()
    assert (back.line_starts() == scan.line_starts()).all()


@given(scan=any_scan())
def test_axes_are_those_of_a_straight_raster(scan: Scan) -> None:
    """Where a scan has axes, they span its positions to rounding; a rotated or incomplete raster and a curve have none."""
    axes = scan.axes()
    if axes is not None:
        y, x = axes
        np.testing.assert_allclose(scan.positions(), np.stack(np.meshgrid(x, y), axis=-1), rtol=0, atol=1e-9)
    assert (axes is None) or isinstance(scan, RasterScan)


@given(scan=any_scan())
def test_coordinates_fit_the_dimensions(scan: Scan) -> None:
    """Each coordinate of a result has the length of its dimension."""
    sizes = dict(zip(results.dimensions(scan), scan.shape, strict=True))
    for dims, values, *_ in results.coordinates(scan).values():
        assert np.shape(values) == tuple(sizes[d] for d in ([dims] if isinstance(dims, str) else dims))


# ---- rasters


@given(scan=EACH["serpentine"])
def test_a_serpentine_is_a_raster_whose_odd_lines_run_back(scan: SerpentineScan) -> None:
    """It visits each pixel once, pixel [iy, ix] lies where the raster has it, and no step is longer than one pitch."""
    raster = RasterScan(**{name: getattr(scan, name) for name in RASTER})
    np.testing.assert_array_equal(scan.positions(), raster.positions())
    assert sorted(scan.order()) == list(range(scan.count))
    steps = np.hypot(*np.diff(scan.points(), axis=0).T)
    assert (steps <= max(scan.pitch_angstrom) * (1 + 1e-6) + 1e-9).all()
    rows = scan.order().reshape(scan.shape)
    assert (np.diff(rows[::2]) == 1).all()
    assert (np.diff(rows[1::2]) == -1).all()


@given(scan=EACH["sparse"])
def test_a_sparse_scan_visits_its_share_of_the_raster(scan: SparseScan) -> None:
    """Random: the rounded number of points, line by line. Line-hop: each column once per band, each hop at most one line. Both repeat by seed."""
    rows, columns = np.divmod(scan.order(), scan.shape[1])
    if scan.pattern == "random":
        assert scan.count == max(1, round(scan.fraction * math.prod(scan.shape)))
        assert (np.diff(scan.order()) > 0).all()
        lines = rows
    else:
        lines = rows // min(scan.shape[0], round(1 / scan.fraction))
        assert (columns.reshape(-1, scan.shape[1]) == np.arange(scan.shape[1])).all()
        assert (np.abs(np.diff(rows))[np.diff(lines) == 0] <= 1).all()
    assert (scan.line_starts() == np.flatnonzero(np.diff(lines, prepend=-1))).all()
    assert scan.visited.sum() == scan.count


def test_line_hopping_reaches_all_lines() -> None:
    """Over many columns the random walk visits each line of a band about equally often (chi-squared over independent walks)."""
    scans = [SparseScan(shape=(4, 300), field_of_view_angstrom=(1, 1), fraction=0.25, pattern="line-hop", seed=seed) for seed in range(200)]
    last = np.array([scan.order()[-1] // 300 for scan in scans])
    times = np.bincount(last, minlength=4)
    assert ((times - 50) ** 2 / 50).sum() < 16.3  # three degrees of freedom, 0.1 %


def test_where_a_sparse_scan_was_not_there_is_nothing() -> None:
    """Signals are NaN and counts 0 at the points left out."""
    scan = SparseScan(shape=(2, 3), field_of_view_angstrom=(2, 3), mask=np.array([[True, False, True], [False, False, True]]))
    assert scan.order().tolist() == [0, 2, 5]
    assert scan.line_starts().tolist() == [0, 2]
    assert scan.mask == ("101", "001")
    np.testing.assert_array_equal(scan.frame(np.array([1.0, 2, 3])), [[1, np.nan, 2], [np.nan, np.nan, 3]])
    np.testing.assert_array_equal(scan.frame(np.array([1, 2, 3], np.uint32)), [[1, 0, 2], [0, 0, 3]])
    part = scan.region((0, 1), (2, 2))
    assert part.mask == ("01", "01")
    np.testing.assert_allclose(part.points(), scan.points()[1:])


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({}, "fraction=None is not a finite number"),
        ({"fraction": 0}, "fraction=0"),
        ({"fraction": 1.1}, "fraction=1.1"),
        ({"fraction": 0.5, "pattern": "spiral"}, "pattern='spiral'"),
        ({"fraction": 0.5, "seed": -1}, "seed=-1"),
        ({"fraction": 0.5, "mask": np.ones((2, 2), bool)}, "Give only the mask"),
        ({"mask": np.ones((2, 3), bool)}, "has 2 x 2 points"),
        ({"mask": np.zeros((2, 2), bool)}, "mask does not select any point"),
        ({"mask": np.ones((2, 2))}, "array of bool"),
        ({"mask": ["01", "0x"]}, "one 0 or 1 for each"),
        ({"mask": ["01", "0"]}, "one 0 or 1 for each"),
    ],
)
def test_sparse_scans_that_make_no_sense_are_refused(wrong: dict, match: str) -> None:
    """A sparse scan needs either a share of the points or a mask that fits."""
    with pytest.raises(SettingsError, match=match):
        SparseScan(shape=(2, 2), field_of_view_angstrom=(1, 1), **wrong)


# ---- curves


@given(scan=EACH["spiral"])
def test_a_spiral_stays_inside_and_goes_outwards(scan: SpiralScan) -> None:
    """All points lie within the diameter, further out one after the other."""
    radius = np.hypot(*(scan.positions() - scan.centre_angstrom).T)
    assert (radius <= scan.diameter_angstrom / 2 + 1e-9).all()
    assert (np.diff(radius) > -1e-9).all()


@pytest.mark.parametrize("turns", [None, 12.0])
def test_a_spiral_at_constant_speed_has_one_density(turns: float | None) -> None:
    """Equal areas hold equal numbers of points: a circle of half the radius a quarter of them; the steps are equally long (but for the middle)."""
    scan = SpiralScan(shape=20_000, diameter_angstrom=40, centre_angstrom=(3, -4), turns=turns)
    at = scan.positions() - (3, -4)
    for share in (0.3, 0.5, 0.8):
        assert (np.hypot(*at.T) < 20 * share).mean() == pytest.approx(share**2, abs=0.003)
    steps = np.hypot(*np.diff(at, axis=0).T)[200:]
    np.testing.assert_allclose(steps, steps.mean(), rtol=2e-3)


def test_a_spiral_is_archimedean() -> None:
    """The radius is (D / 2) angle / (2 pi turns), also at constant angular speed, where half the radius holds half the points."""
    scan = SpiralScan(shape=10_000, diameter_angstrom=10, turns=25, motion="angular-speed", rotation_rad=0.4)
    at = scan.positions()
    radius, angle = np.hypot(*at.T), np.unwrap(np.arctan2(at[:, 1], at[:, 0])) - 0.4
    np.testing.assert_allclose(radius, 5 * angle / (2 * np.pi * 25), rtol=1e-9)
    assert (radius < 2.5).mean() == pytest.approx(0.5, abs=1e-3)
    assert len(scan.line_starts()) == 25


def test_a_spiral_is_as_dense_as_it_is_said_to_be() -> None:
    """With the usual number of turns, neighbouring turns are as far apart as neighbouring points: the density n / (pi R^2) is one per square step."""
    scan = SpiralScan(shape=4000, diameter_angstrom=30)
    step = np.hypot(*np.diff(scan.positions(), axis=0).T)[100:].mean()
    assert step == pytest.approx(15 / math.sqrt(4000 / math.pi), rel=0.01)


@given(scan=EACH["lissajous"])
def test_a_lissajous_figure_stays_inside_its_field(scan: LissajousScan) -> None:
    """In the field's own axes no point lies beyond half its height and width."""
    x, y = (scan.positions() - scan.centre_angstrom).T
    cos, sin = math.cos(scan.rotation_rad), math.sin(scan.rotation_rad)
    height, width = scan.field_of_view_angstrom
    assert (np.abs(x * cos + y * sin) <= width / 2 * (1 + 1e-9) + 1e-9).all()
    assert (np.abs(y * cos - x * sin) <= height / 2 * (1 + 1e-9) + 1e-9).all()


@given(cycles=COPRIME.filter(lambda pair: max(pair) <= 8))
def test_the_usual_phase_keeps_a_lissajous_figure_from_running_back_on_itself(cycles: tuple[int, int]) -> None:
    """A curve that is run back covers no new places: by default the points of one period are all apart, except for crossings."""
    scan = LissajousScan(shape=16 * cycles[0] * cycles[1], field_of_view_angstrom=(2, 2), cycles=cycles)
    crossings = 2 * cycles[0] * cycles[1] - sum(cycles)  # an eighth of the points; a curve that runs back has every place twice

    def twice(scan: LissajousScan) -> int:
        at = np.round(scan.positions(), 9)
        return len(at) - len(np.unique(at, axis=0))

    assert twice(scan) <= crossings
    even = scan.cycles[0] % 2 and scan.cycles[1] % 2
    back = replace(scan, phase_rad=0.0 if even else math.pi / (2 * scan.cycles[0]))
    assert twice(back) >= scan.count / 2 - 2


@pytest.mark.parametrize(
    ("kind", "wrong", "match"),
    [
        (SpiralScan, {"shape": 0}, "shape=0"),
        (SpiralScan, {"shape": (4, 4)}, "shape="),
        (SpiralScan, {"diameter_angstrom": 0}, "diameter_angstrom=0"),
        (SpiralScan, {"turns": 0}, "turns=0"),
        (SpiralScan, {"turns": 200}, "turns=200"),
        (SpiralScan, {"motion": "fast"}, "motion='fast'"),
        (LissajousScan, {"shape": 2.5}, "shape=2.5"),
        (LissajousScan, {"field_of_view_angstrom": (1, -1)}, "field_of_view_angstrom"),
        (LissajousScan, {"cycles": (4, 6)}, "common divisor 2"),
        (LissajousScan, {"cycles": (0, 6)}, "cycles"),
        (LissajousScan, {"phase_rad": math.inf}, "phase_rad"),
    ],
)
def test_curves_that_make_no_sense_are_refused(kind: type, wrong: dict, match: str) -> None:
    """A curve needs a whole number of points and a finite field; the message names what is wrong."""
    usual = {"shape": 100, "diameter_angstrom": 5.0} if kind is SpiralScan else {"shape": 100, "field_of_view_angstrom": (5.0, 5.0)}
    with pytest.raises(SettingsError, match=match):
        kind(**{**usual, **wrong})


# ---- signals


@pytest.mark.parametrize("engine", ["operator", "multislice"])
def test_every_scan_gives_the_signals_of_its_points(static: Sample, beam: Beam, engine: str) -> None:
    """The signal at a place does not depend on the path that leads there: each scan gives what a list of its points gives, in its own shape."""
    field = {"field_of_view_angstrom": (3.0, 4.0), "origin_angstrom": (0.3, -0.2)}
    scans = [
        SerpentineScan(shape=(3, 4), **field),
        SerpentineScan(shape=(3, 4), **field, rotation_rad=0.3),
        SparseScan(shape=(3, 4), **field, fraction=0.4, seed=1),
        SparseScan(shape=(4, 4), **field, fraction=0.5, pattern="line-hop", seed=1),
        SpiralScan(shape=7, diameter_angstrom=3.0, centre_angstrom=(1, 1)),
        LissajousScan(shape=7, field_of_view_angstrom=(2, 3), cycles=(2, 3)),
    ]
    for scan in scans:
        result = simulate.simulate(static, beam, scan, engine=engine, grid=(32, 32), detectors=("bf", "dpc4"))
        listed = simulate.simulate(static, beam, PathScan(positions_angstrom=scan.points()), engine=engine, grid=(32, 32), detectors=("bf", "dpc4"))
        for name in ("bf", "dpc4"):
            assert result[name].dims[-len(scan.dims) :] == scan.dims
            values, wanted = result[name].to_numpy(), listed[name].to_numpy()
            np.testing.assert_allclose(values, scan.frame(wanted), rtol=1e-4, atol=1e-7)
        if isinstance(scan, SparseScan):
            assert (result.visited.to_numpy() == np.isfinite(result.bf.to_numpy())).all()
