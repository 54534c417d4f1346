"""Single probes through windows: as near to the whole field as they say, wherever the beam goes, and not there where exact work is asked for."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest

from stemtwin.twin.errors import SamplingError, SettingsError
from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.scan import PathScan, RasterScan
from stemtwin.twin.instrument.settings import Beam, PotentialSlices
from stemtwin.twin.instrument.simulation import memory, operator_cache, plan, slice_stacks, windowed_probes
from stemtwin.twin.instrument.simulation.engines import multislice
from stemtwin.twin.instrument.simulation.plan import make_plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.engine.local import accuracy_check, probe_windows
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack
from stemtwin.twin.physics.grids import Grid
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import Sample

BEAM = Beam(energy_ev=200e3, semiangle_mrad=20)
DARK = AnnularDetector(inner_mrad=50, outer_mrad=90, name="dark")


FEW = PathScan(positions_angstrom=np.array([[1.0, 2.0], [3.0, 2.5], [2.0, 30.0]]))


@pytest.fixture(autouse=True)
def _worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows for small fields, too, as they are for large ones."""
    monkeypatch.setattr(windowed_probes, "WORTH", 0.0)


def crystal(name: str = "srtio3-001", side: float = 26.0, thickness: float | None = 12.0) -> Sample:
    """A crystal with a hole in it, so that no two places need be alike."""
    sample = load_sample(name, size_angstrom=(side, side), **({"thickness_angstrom": thickness} if thickness else {}))
    kept = np.hypot(*(sample.positions_angstrom[:, :2] - side / 3).T) > 3.0
    sigma = sample.thermal_sigma_angstrom
    return replace(
        sample,
        numbers=sample.numbers[kept],
        positions_angstrom=sample.positions_angstrom[kept],
        thermal_sigma_angstrom=None if sigma is None else sigma[kept],
        sites=None,
        recipe="",
    )


def request(sample: Sample, **settings) -> Request:
    """A raster of 10 x 10 points over the hole and beyond the cell's edge."""
    scan = RasterScan(shape=(10, 10), field_of_view_angstrom=(12.0, 12.0), origin_angstrom=(4.0, -3.0))
    asked = {"beam": BEAM, "scan": scan, "detectors": (DARK,), "engine": "multislice", "phonons": 1, "oversampling": 1, "tolerance": 0.02}
    return Request(sample=sample, **{**asked, **settings})


def signals(asked: Request) -> tuple[np.ndarray, str]:
    """Return signals and exactness."""
    values, _, exactness = multislice.signals(asked, make_plan(asked), None)
    return values, exactness


def rms(asked: Request, exact: np.ndarray) -> float:
    """Return the worst channel's rms error against the whole field, divided by the mean; windows must have been taken."""
    ours, said = signals(asked)
    assert said.startswith("windows of")
    axes = tuple(range(1, exact.ndim))
    return float((np.sqrt(((ours - exact) ** 2).mean(axis=axes)) / exact.mean(axis=axes)).max())


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"beam": replace(BEAM, aberrations=Aberrations(C10=-100, C12=20, phi12=0.4)), "tilt_mrad": (-70.0, 100.0)},
        pytest.param({"beam": replace(BEAM, beam_tilt_mrad=(8.0, -5.0))}, marks=pytest.mark.slow),
        pytest.param({"depths_angstrom": (4.0, 11.0)}, marks=pytest.mark.slow),
        pytest.param({"beam": replace(BEAM, source_size_angstrom=0.3), "scan": FEW}, marks=pytest.mark.slow),
    ],
    ids=["in focus", "aberrated and tilted", "beam tilted", "depths", "source"],
)
def test_images_are_those_of_the_whole_field(settings: dict) -> None:
    """Whole images are within the tolerance: in and out of focus, with specimen and beam tilted, at depths, with a source."""
    asked = request(crystal(), **settings)
    exact, said = signals(replace(asked, tolerance=0.0))
    assert said == multislice.EXACTNESS
    assert rms(asked, exact) <= asked.tolerance


@pytest.mark.slow
@pytest.mark.parametrize(("name", "thickness"), [("ws2-1h", None), ("pt-001", 32.0), ("srtio3-001", 60.0)])
def test_other_materials(name: str, thickness: float | None) -> None:
    """Samples that no constant was found with, all detectors, two tolerances: the error stays below what was asked for."""
    asked = request(crystal(name, 32.0, thickness), detectors=("bf", "abf", DARK))
    exact, _ = signals(replace(asked, tolerance=0.0))
    for tolerance in (0.02, 0.005):
        assert rms(replace(asked, tolerance=tolerance), exact) <= tolerance


def half(name: str = "srtio3-001", side: float = 26.0, thickness: float = 12.0) -> Sample:
    """A crystal in one half of its field, and vacuum in the other."""
    sample = crystal(name, side, thickness)
    kept = sample.positions_angstrom[:, 0] < side / 2
    return replace(
        sample,
        numbers=sample.numbers[kept],
        positions_angstrom=sample.positions_angstrom[kept],
        thermal_sigma_angstrom=sample.thermal_sigma_angstrom[kept],
    )


def parts(asked: Request) -> tuple[SliceStack, np.ndarray, windowed_probes.Windowed]:
    """Return the first configuration of a request, the whole field's signals of the tails, and its first windows."""
    explained = make_plan(asked)
    stack = next(slice_stacks.stacks(asked, explained))
    weights = operator_cache.detector_weights(asked, explained)
    windowed = windowed_probes.planned(asked, explained.grid, explained.slices, explained.blocks)
    assert windowed is not None
    return stack, probe_windows.rim_signals(stack, asked.beam.semiangle_rad, weights), windowed


@pytest.mark.slow
def test_tails_see_what_is_in_their_window() -> None:
    """Where a field has different parts, tails that see their own surroundings take out a part of the error of small windows."""
    scan = RasterScan(shape=(16, 16), field_of_view_angstrom=(14.0, 14.0), origin_angstrom=(10.0, 10.0))
    asked = request(half("au-001", 40.0, 16.0), scan=scan)
    explained, (stack, rim, windowed) = make_plan(asked), parts(asked)
    check = windowed_probes.WindowCheck(asked, explained, windowed)
    chosen, at = check._points(windowed.windows, 32, 0)
    true, part = check._whole(stack, rim, at), windowed.windows.only(chosen)
    ways = {way.near > 0: way for way in windowed_probes._ways(asked, explained, windowed)}
    errors = {}
    for near, check.windowed in ways.items():
        check._near = check._rims_inside(stack, part)
        errors[near] = np.sqrt(((check._in_windows(stack, rim, part, at, chosen) - true) ** 2).mean()) / true.mean()
    assert errors[True] < 0.85 * errors[False]


@pytest.mark.parametrize("tilt", [(0.0, 0.0), (0.0, 60.0)])
def test_waves_of_the_rim_through_windows(monkeypatch: pytest.MonkeyPatch, tilt: tuple[float, float]) -> None:
    """They are those of the window as a specimen of its own, at each depth, and grow with it, in a window that moves with a tilted beam, too."""
    asked = request(half(), depths_angstrom=(0.0, 6.0, 11.0), tilt_mrad=tilt)
    stack, _, windowed = parts(asked)
    weights, semiangle = operator_cache.detector_weights(asked, make_plan(asked)), asked.beam.semiangle_rad
    found = probe_windows.rims_inside(stack, windowed.windows, semiangle, weights, asked.depths_angstrom)
    assert found.shape == (3, 1, len(windowed.windows.corners))
    monkeypatch.setattr(probe_windows, "RIM_WAVES", 16)
    if not any(tilt):
        for corner, signals in zip(windowed.windows.corners[:3], np.moveaxis(found, -1, 0), strict=False):
            own = accuracy_check.cut_window(stack, windowed.windows.grid, list(corner), periodic=True)
            np.testing.assert_allclose(signals, probe_windows.rim_signals(own, semiangle, weights, asked.depths_angstrom), rtol=1e-4)
    assert (np.diff(found, axis=0) > 0).all()


def test_share_of_the_tails_inside() -> None:
    """Of a probe in focus a half of what a window leaves out is inside; of a spread one more is outside; a window as large as the field holds all."""
    field = Grid(shape=(480, 480), extent=(48.0, 48.0))
    points = np.random.default_rng(1).uniform(20, 24, (40, 2))
    windows = probe_windows.layout(field, points, 64, 3.5)
    assert windows is not None
    share = probe_windows.share_inside(windows, 0.0251, 0.02, Aberrations())
    assert 0.3 < share < 0.6
    assert probe_windows.share_inside(windows, 0.0251, 0.02, Aberrations(C10=500.0)) < share
    assert probe_windows.share_inside(replace(windows, grid=field), 0.0251, 0.02, Aberrations()) < 1e-6


@pytest.mark.slow
def test_films_are_joined_where_the_check_allows_it() -> None:
    """Slices of a carbon film are joined; at depths, and where that misses the tolerance, they are not."""
    film = load_sample("carbon-amorphous", size_angstrom=(26.0, 26.0), thickness_angstrom=16.0)
    asked = request(film, scan=FEW, tolerance=0.1)
    exact, _ = signals(replace(asked, tolerance=0.0))
    assert "films joined" in make_plan(asked).exactness
    assert "films joined" in signals(asked)[1]
    assert rms(asked, exact) <= asked.tolerance
    assert "films joined" not in make_plan(replace(asked, depths_angstrom=(8.0,))).exactness
    assert "films joined" not in signals(replace(asked, tolerance=5e-3))[1]


def test_exact_work_has_the_old_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is windowed at tolerance=0, in short work, in blocks or with pixel masks."""
    asked = request(crystal(), scan=FEW)
    exact, _ = signals(replace(asked, tolerance=0.0))
    for other in (replace(asked, antialias=False), replace(asked, blocks=(2, 2))):
        assert make_plan(other).exactness == multislice.EXACTNESS
    monkeypatch.setattr(windowed_probes, "WORTH", 10.0)
    short, said = signals(asked)
    assert said == multislice.EXACTNESS
    np.testing.assert_array_equal(short, exact)
    for few in (1e-5, -0.1):
        with pytest.raises(SettingsError, match="tolerance"):
            replace(asked, tolerance=few)
    with pytest.raises(SettingsError, match=r"engine='local' computes to a tolerance, but tolerance=0 requests exact signals"):
        make_plan(replace(asked, tolerance=0.0, engine="local"))


def test_translation() -> None:
    """A scan moved by a whole period of the cell, and a specimen moved with its scan by whole points, give the same image."""
    asked = request(crystal(), phonons="static")
    here, _ = signals(asked)
    height, width = asked.sample.size_angstrom
    y, x = asked.scan.origin_angstrom
    period = replace(asked, scan=replace(asked.scan, origin_angstrom=(y + height, x - width)))
    np.testing.assert_allclose(signals(period)[0], here, rtol=2e-4)
    dy, dx = (7 * step for step in make_plan(asked).grid.sampling)
    places = asked.sample.positions_angstrom + np.array([dx, dy, 0.0])
    places[:, :2] %= (width, height)
    moved = replace(asked, sample=replace(asked.sample, positions_angstrom=places), scan=replace(asked.scan, origin_angstrom=(y + dy, x + dx)))
    np.testing.assert_allclose(signals(moved)[0], here, rtol=2e-4)


def test_vacuum() -> None:
    """Without a specimen the bright field sees the whole beam, and the dark field nothing, in windows as in the whole field."""
    nothing = PotentialSlices(array=np.zeros((2, 450, 450), np.float32), sampling_angstrom=(0.064, 0.064), z_angstrom=np.array([1.0, 3.0]))
    disc = AnnularDetector(inner_mrad=0, outer_mrad=30, name="disc")
    asked = request(nothing, detectors=(disc, DARK), phonons="static")
    values, said = signals(asked)
    assert said.startswith("windows of")
    np.testing.assert_allclose(values[0], 1, atol=1e-3)
    assert np.abs(values[1]).max() < 1e-9


def test_what_misses_the_tolerance_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows that stay too small are refused with what was measured and the way out."""
    monkeypatch.setattr(windowed_probes, "GROWTH", 1.0)
    monkeypatch.setattr(windowed_probes, "NEAR", 0.3)
    asked = request(crystal(), tolerance=1e-3)
    with pytest.raises(SamplingError, match=r"exceeds tolerance=0\.001: \d\.\d+% with windows of .*tolerance=0, which propagates"):
        signals(asked)


def test_windows_that_save_too_little_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where windows grow until they save too little, probes go through the whole field, and plan and result say so."""
    monkeypatch.setattr(windowed_probes, "GROWTH", 4.0)
    asked = request(crystal(), scan=FEW, tolerance=1e-3)
    before = make_plan(asked)
    assert re.search(r"whole field, \S+ s, if they would save less than half", before.exactness)
    monkeypatch.setattr(windowed_probes, "CHECKED", 1e-9)
    values, said = signals(asked)
    assert re.search(r"^reference, each probe through the whole field: windows that reach 0\.001 would save less .*% with windows of", said)
    np.testing.assert_array_equal(values, signals(replace(asked, tolerance=0.0))[0])


def test_every_configuration_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each further configuration is checked at points of its own; one that misses the tolerance has all of them done in larger windows."""
    asked = request(crystal(), scan=FEW, phonons=3, tolerance=0.02)
    values, said = signals(asked)
    assert "in 3 configurations" in said
    first = float(re.search(r"windows of ([\d.]+) A", said)[1])
    whole, sent = windowed_probes.WindowCheck._whole, []

    def misses(check: windowed_probes.WindowCheck, stack: SliceStack, rim: np.ndarray, at: np.ndarray) -> np.ndarray:
        sent.append(len(at))
        return whole(check, stack, rim, at) * (2 if len(sent) == 3 else 1)

    monkeypatch.setattr(windowed_probes.WindowCheck, "_whole", misses)
    again, larger = signals(asked)
    assert len(sent) == 6
    assert float(re.search(r"windows of ([\d.]+) A", larger)[1]) > first
    np.testing.assert_allclose(again, values, rtol=0.1)


@pytest.mark.parametrize("size", [1, 3, 16, 64])
def test_groups_hold_every_point_once(size: int) -> None:
    """Groups hold each point once, none more than asked, and neighbours."""
    points = np.random.default_rng(size).uniform(0, (60, 20), (500, 2))
    order, starts = probe_windows.grouped(points, size)
    np.testing.assert_array_equal(np.sort(order), np.arange(500))
    assert np.diff(starts).min() >= 1
    assert np.diff(starts).max() <= size
    widths = [np.ptp(points[order[a:b]], axis=0).max() for a, b in itertools.pairwise(starts)]
    assert np.mean(widths) < 2.5 * np.sqrt(size * 60 * 20 / 500)


def test_windows_hold_their_points() -> None:
    """Every point has the margin around it in its window, wherever the scan lies; a window as large as the field is none."""
    field = Grid(shape=(400, 360), extent=(40.0, 36.0))
    points = np.random.default_rng(3).uniform(-20, 60, (200, 2))
    windows = probe_windows.layout(field, points, 4, 3.0)
    for number, corner in enumerate(windows.corners):
        inside = points[windows.order[windows.starts[number] : windows.starts[number + 1]]][:, ::-1] - corner * field.sampling
        within = np.array(windows.grid.shape) < field.shape
        assert (inside.min(axis=0) >= 3.0 - 0.06)[within].all()
        assert (inside.max(axis=0) <= np.array(windows.grid.extent) - 3.0 + 0.15)[within].all()
    assert probe_windows.layout(field, points, 200, 3.0) is None


def test_auto_and_explain_count_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` takes windows where they save most of a long time; `explain` foretells waves and exactness; progress adds up to it."""
    asked = request(crystal())
    explained, whole = make_plan(asked), make_plan(replace(asked, tolerance=0.0))
    assert explained.seconds < whole.seconds
    assert "windows of" in explained.exactness
    done: list[int] = []
    multislice.signals(asked, explained, done.append)
    assert sum(done) == explained.waves
    monkeypatch.setattr(plan, "PATIENCE", 0.0)
    monkeypatch.setattr(plan, "LOCAL_GAIN", 1.0)
    chosen = make_plan(replace(asked, engine="auto"))
    assert chosen.engine in {"multislice", "local"}
    monkeypatch.setattr(memory, "fits", lambda needed: needed < chosen.memory_bytes)
    monkeypatch.setattr(memory, "check", lambda _: None)
    assert "would take" in make_plan(replace(asked, engine="auto")).reason
    assert "GiB" in make_plan(replace(asked, engine="auto")).reason
