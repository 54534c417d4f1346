"""Bright-field images of large fields by operators on windows: as near to multislice as they say, built once, in parts."""

import re
from dataclasses import replace

import numpy as np
import pytest

from stemtwin.twin.errors import SamplingError
from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.scan import PathScan, RasterScan
from stemtwin.twin.instrument.settings import Beam, PotentialSlices
from stemtwin.twin.instrument.simulation import operator_cache, simulate, slice_stacks
from stemtwin.twin.instrument.simulation.engines import tiled
from stemtwin.twin.instrument.simulation.plan import make_plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.engine.local import tiles as engine
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack
from stemtwin.twin.physics.engine.operator import imaging_operator
from stemtwin.twin.physics.grids import Grid
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import Sample
from tests.instrument.simulation.engines.dark_field import stated

pytestmark = pytest.mark.usefixtures("no_operators")

BEAM = Beam(energy_ev=80e3, semiangle_mrad=25, aberrations=Aberrations(C10=30, C12=20, phi12=0.4), source_size_angstrom=0.2)
DETECTORS = ("bf", "abf")


def disturbed(size: float, seed: int = 1) -> Sample:
    """A sheet of MoS2 in which no two places are alike: every atom is displaced by 0.1 A, one in thirty is gone."""
    sheet, rng = load_sample("mos2-1h", size_angstrom=(size, size)), np.random.default_rng(seed)
    kept = rng.random(len(sheet)) > 1 / 30
    places = sheet.positions_angstrom + rng.normal(0, 0.1, (len(sheet), 3)) * (1, 1, 0)
    places[:, :2] %= np.array(sheet.size_angstrom[::-1])
    sigma = sheet.thermal_sigma_angstrom
    return replace(sheet, numbers=sheet.numbers[kept], positions_angstrom=places[kept], thermal_sigma_angstrom=sigma[kept], recipe="")


def points(count: int, side: float, seed: int = 5) -> PathScan:
    """Random points, up to the edges of a field."""
    return PathScan(positions_angstrom=np.random.default_rng(seed).uniform(0, side, (count, 2)))


@pytest.fixture(scope="module")
def asked() -> Request:
    """Points anywhere in a field larger than a window, on a grid that just holds the detectors."""
    sample = disturbed(36)
    return Request(
        sample=sample, beam=BEAM, scan=points(24, 34), detectors=DETECTORS, engine="tiled", phonons="static", sampling_angstrom=0.3, tolerance=0.02
    )


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list that grows by one with each operator built."""
    times, build = [], imaging_operator.build
    monkeypatch.setattr(imaging_operator, "build", lambda *args, **kwargs: times.append(1) or build(*args, **kwargs))
    return times


def apart(data, exact, name: str) -> float:
    """Return the rms difference of two results over the mean."""
    return float(np.sqrt(np.square(data[name] - exact[name]).mean()) / exact[name].mean())


@pytest.mark.parametrize("phonons", ["static", 2])
def test_agrees_with_multislice_on_the_whole_field(asked: Request, phonons: int | str) -> None:
    """At points the check did not see, also across the edges, windows of 20 A are within 0.7 %, and within what the result states."""
    request = replace(asked, phonons=phonons)
    data, exact = simulate.simulate(request), simulate.simulate(replace(request, engine="multislice"))
    rms, largest = stated(data)
    assert rms <= request.tolerance
    assert rms <= largest
    assert max(apart(data, exact, "bf"), apart(data, exact, "abf")) < min(3 * rms, 7e-3)
    assert data.attrs["engine"] == "tiled"


def test_dark_field_detectors_beside_are_read_from_the_local_operator(asked: Request) -> None:
    """A request with both kinds gives each detector what its own engine gives, in the order asked for, and states both errors."""
    ring = AnnularDetector(inner_mrad=34, outer_mrad=45, name="ring")
    both = simulate.simulate(replace(asked, detectors=("bf", ring, "abf")))
    assert list(both.data_vars) == ["bf", "ring", "abf"]
    np.testing.assert_array_equal(both["ring"], simulate.simulate(replace(asked, detectors=(ring,), engine="local"))["ring"])
    np.testing.assert_array_equal(both["abf"], simulate.simulate(asked)["abf"])
    assert re.search(r"bf, abf: operators on windows .*; ring: local operator: ", both.attrs["engine_error"])
    dark = simulate.simulate(replace(asked, detectors=(ring,)))
    np.testing.assert_array_equal(both["ring"], dark["ring"])


def test_rasters_points_and_other_optics_take_the_same_operators(asked: Request, builds: list[int]) -> None:
    """A raster and the same raster as points are one image; other optics, within what the windows hold, build nothing."""
    raster = RasterScan(shape=(9, 11), field_of_view_angstrom=(16, 20), origin_angstrom=(-4, 25))
    image = simulate.simulate(replace(asked, scan=raster))
    count = len(builds)
    at = PathScan(positions_angstrom=raster.points())
    again = simulate.simulate(replace(asked, scan=at))
    for name in ("bf", "abf"):
        np.testing.assert_allclose(again[name], image[name].to_numpy().ravel(), atol=2e-5 * float(image[name].max()))
    optics = replace(BEAM, aberrations=Aberrations(C10=-60), semiangle_mrad=25, focal_spread_angstrom=20)
    simulate.simulate(replace(asked, scan=at, beam=optics))
    assert len(builds) == count


def test_only_the_windows_that_see_a_change_are_built_again(asked: Request, builds: list[int]) -> None:
    """After one atom moved, windows without it keep their operators."""
    request = replace(asked, scan=points(60, 34))
    simulate.simulate(request)
    first = len(builds)
    places = asked.sample.positions_angstrom.copy()
    places[40] += (0.3, 0.2, 0.0)
    simulate.simulate(replace(request, sample=replace(asked.sample, positions_angstrom=places, recipe="")))
    assert 0 < len(builds) - first < first


def test_a_perfect_crystal_shares_operators(builds: list[int]) -> None:
    """Windows with the same atoms at the same places are built once: along x, tiles of a whole number of cells see the same crystal."""
    cell = Sample(
        name="rows",
        numbers=np.full(40, 14),
        positions_angstrom=np.column_stack([np.arange(40) * 2.0, np.full(40, 5.0), np.full(40, 1.0)]),
        size_angstrom=(14.0, 80.0),
        thickness_angstrom=2.0,
    )
    scan = PathScan(positions_angstrom=np.column_stack([np.linspace(0.1, 79.9, 40), np.full(40, 6.0)]))
    request = Request(
        sample=cell, beam=replace(BEAM, aberrations=Aberrations()), scan=scan, detectors=("bf",), engine="tiled", grid=(48, 320), tolerance=0.05
    )
    plan = make_plan(request)
    field = tiled.TiledField(request, plan)
    layout = tiled._layout(request, plan.grid, 4.0)
    assert layout.tiles[0] == 1
    assert layout.tiles[1] > 3
    divided = replace(layout, tiles=(1, 5))  # 16 A each: 64 pixels, 8 atoms
    for tile in range(5):
        field.operator(divided, (0, tile))
    assert len(builds) == 1


def test_a_flake_is_surrounded_by_vacuum(asked: Request) -> None:
    """A specimen that does not repeat is imaged like the same one in a larger, empty field, also at its edges."""
    flake = replace(disturbed(32, seed=3), periodic=False)
    border = 14.0
    height, width = (side + 2 * border for side in flake.size_angstrom)
    around = replace(flake, positions_angstrom=flake.positions_angstrom + np.array([border, border, 0]), size_angstrom=(height, width), periodic=True)
    at = points(16, 28, seed=7)
    request = replace(asked, sample=flake, scan=at, detectors=("bf", "abf"))
    shifted = replace(request, sample=around, scan=PathScan(positions_angstrom=at.points() + border), engine="multislice")
    data, exact = simulate.simulate(request), simulate.simulate(shifted)
    assert max(apart(data, exact, "bf"), apart(data, exact, "abf")) < 0.01


def test_potentials_have_windows_too(asked: Request) -> None:
    """A potential given as slices is cut like atoms."""
    plan = make_plan(asked)
    slices = slice_stacks.as_slices(asked, plan)
    given = replace(asked, sample=slices, sampling_angstrom=None)
    assert isinstance(slices, PotentialSlices)
    data, exact = simulate.simulate(given), simulate.simulate(replace(given, engine="multislice"))
    assert max(apart(data, exact, "bf"), apart(data, exact, "abf")) < 5e-3


def test_operators_of_windows_are_kept_on_disk(asked: Request, builds: list[int], tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second process reads layout, error and operators, and builds nothing: the same bits."""
    monkeypatch.setenv("STEMTWIN_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("STEMTWIN_CACHE_BYTES", str(2**30))
    first = simulate.simulate(asked)
    count = len(builds)
    assert count > 0
    operator_cache.clear()
    again = simulate.simulate(asked)
    assert len(builds) == count
    for name in ("bf", "abf"):
        np.testing.assert_array_equal(first[name], again[name])
    assert first.attrs["engine_error"] == again.attrs["engine_error"]


def test_what_windows_cannot_do_is_refused(asked: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    """A field no larger than a window, a probe wider than the field, a tolerance out of reach: one sentence with the numbers and the repair."""
    small = replace(asked, sample=disturbed(16), scan=points(3, 12))
    with pytest.raises(SamplingError, match=r"no smaller than the field of .* x .* A\. Use engine='operator'"):
        simulate.explain(small)
    with pytest.raises(SamplingError, match="whole probe inside the cell"):
        simulate.explain(replace(asked, beam=replace(BEAM, aberrations=Aberrations(C10=900))))
    monkeypatch.setattr(engine, "SIDE", 5.0)
    monkeypatch.setattr(engine, "LEAST_SIDE", 10.0)
    monkeypatch.setattr(engine, "GROWTHS", 0)
    with pytest.raises(SamplingError, match=r"exceeds tolerance=0\.001: .*% with windows of \d+ A\. .*engine='multislice'"):
        simulate.simulate(replace(asked, tolerance=1e-3))


def test_auto_takes_windows_for_large_bright_fields() -> None:
    """Many points of a bright-field detector on a field of 60 A go to windows, and the plan says what the exact engines would have taken."""
    large = load_sample("mos2-1h", size_angstrom=(60, 60))
    scan = RasterScan(shape=(128, 128), field_of_view_angstrom=(30, 30))
    plan = make_plan(Request(sample=large, beam=BEAM, scan=scan, detectors=("haadf", "bf"), phonons=2))
    assert plan.engine == "tiled"
    assert re.search(r"\d+ s instead of \d+ s, to 0.01", plan.reason)


def test_plans_count_windows_that_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan says the time with the largest windows too, that of the first ones if none are larger; `auto` takes it only below exact work."""
    scan = RasterScan(shape=(128, 128), field_of_view_angstrom=(30, 30))
    request = Request(sample=load_sample("mos2-1h", size_angstrom=(60, 60)), beam=BEAM, scan=scan, detectors=("haadf", "bf"), phonons=2)

    def planned() -> tuple[float, float]:
        plan = make_plan(replace(request, engine="tiled"))
        found = re.search(r"larger windows, at most (\S+) s", plan.exactness)
        assert found is not None
        return plan.seconds, float(found[1])

    first, longest = planned()
    assert longest > 1.5 * first
    assert make_plan(request).engine == "tiled"
    monkeypatch.setattr(engine, "GROWTHS", 0)
    assert planned() == (first, pytest.approx(first, rel=5e-3))
    monkeypatch.setattr(engine, "GROWTHS", 8)  # the last of these windows are as large as the field
    plan = make_plan(replace(request, engine="tiled"))
    assert plan.seconds == first
    assert "at most" not in plan.exactness
    assert make_plan(request).engine != "tiled"


def test_windows_keep_probes_from_their_edges() -> None:
    """Wherever a probe stands in the field, its window holds at least the seam around it, on any field; tiles cover it without gaps."""
    rng = np.random.default_rng(0)
    for extent in ((50.0, 70.0), (16.0, 90.0), (101.3, 47.9)):
        field = Grid(shape=tuple(2 * round(side / 0.4) for side in extent), extent=extent)
        for periodic in (True, False):
            divided = engine.layout(field, 0.6, tolerance=0.01, held=4.0, periodic=periodic)
            at = rng.random((200, 2)) * extent[::-1]
            for tile in divided.tiles_at(at):
                window = divided.window(tile)
                for axis, column in ((0, 1), (1, 0)):
                    mine = at[(divided.tile_of(0, at[:, 1]) == tile[0]) & (divided.tile_of(1, at[:, 0]) == tile[1])][:, column]
                    inside = divided.inside(window, axis, mine)
                    if periodic and window.grid.shape[axis] == field.shape[axis]:
                        continue
                    step = field.sampling[axis]
                    assert inside.min() >= engine.SEAM - step
                    assert inside.max() <= window.grid.extent[axis] - engine.SEAM + step


def test_in_vacuum_a_detector_collects_its_share_of_the_aperture() -> None:
    """Without a specimen, bf collects exactly (1/2)^2 of the beam in any window, where a mean over the aperture would give 2 % more."""
    plan_of = Request(sample=disturbed(36), beam=BEAM, scan=points(1, 30), detectors=("bf",), sampling_angstrom=0.3)
    weights = operator_cache.detector_weights(plan_of, make_plan(plan_of))
    grid = Grid(shape=(80, 80), extent=(24.0, 24.0))
    nothing = SliceStack(
        grid=grid, wavelength=BEAM.wavelength_angstrom, transmission=np.ones((1, 80, 80), np.complex64), planes=np.zeros(1), thickness=1.0
    )
    operator = imaging_operator.build(iter([nothing]), BEAM.semiangle_rad, weights)
    assert float(operator.image(Aberrations()).at(np.zeros((1, 2)))[0, 0]) == pytest.approx(0.25, rel=1e-5)
