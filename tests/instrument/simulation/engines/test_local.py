"""The local operator: dark field within the tolerance asked for, and the error stated."""

import re
from dataclasses import replace

import numpy as np
import pytest

from stemtwin.twin.errors import SamplingError, SettingsError
from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.scan import PathScan, RasterScan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import operator_cache, simulate
from stemtwin.twin.instrument.simulation.plan import make_plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics.engine.local import growing_windows, local_operator
from stemtwin.twin.samples.library import load_sample
from tests.instrument.simulation.engines.dark_field import BEAM, DARK, points


@pytest.fixture(scope="module")
def sheet():
    """A field of MoS2 larger than one probe."""
    return load_sample("mos2-1h", size_angstrom=(30, 30))


def test_local_raster_and_points_agree(sheet):
    """A raster, the same raster as points, and the same operator from the cache give the same image."""
    raster = RasterScan(shape=(16, 16), field_of_view_angstrom=(8, 8), origin_angstrom=(3, 4))
    settings = {"detectors": (DARK,), "phonons": "static", "engine": "local"}
    image = simulate.simulate(sheet, BEAM, raster, **settings)["haadf"].to_numpy()
    held = len(operator_cache.LOCAL)
    at = PathScan(positions_angstrom=raster.positions().reshape(-1, 2))
    again = simulate.simulate(sheet, BEAM, at, **settings)["haadf"].to_numpy()
    np.testing.assert_allclose(again, image.ravel(), atol=2e-5 * image.max())
    assert len(operator_cache.LOCAL) == held


def test_local_refuses_the_bright_field(sheet):
    """A bright-field detector sees long distances: the local operator refuses it and names the engine that serves."""
    with pytest.raises(SamplingError, match="operator"):
        simulate.simulate(sheet, BEAM, points(3), detectors=("bf",), phonons="static", engine="local")


def test_auto_takes_the_local_operator_for_large_dark_fields():
    """A raster over a field of 60 A with a dark-field detector goes to the local operator, with a bright-field detector to an exact engine."""
    large = load_sample("mos2-1h", size_angstrom=(60, 60))
    scan = RasterScan(shape=(128, 128), field_of_view_angstrom=(30, 30))
    asked = Request(sample=large, beam=BEAM, scan=scan, detectors=(DARK,), phonons=2)
    plan = simulate.explain(asked)
    assert plan.engine == "local"
    assert "dark-field" in plan.reason
    bright = Request(sample=large, beam=BEAM, scan=scan, detectors=("bf",), phonons=2)
    assert simulate.explain(bright).engine in {"operator", "multislice"}


def test_local_operators_are_kept_on_disk(sheet, tmp_path, monkeypatch):
    """A second process that asks for the same physics reads the pieces and builds nothing; it gets the same bits, and the same stated error.

    The first one sends as many waves through the specimen as the plan says; progress adds up to them where the disk has the pieces, too.
    """
    monkeypatch.setenv("STEMTWIN_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("STEMTWIN_CACHE_BYTES", str(2**30))
    raster = RasterScan(shape=(8, 8), field_of_view_angstrom=(4, 4), origin_angstrom=(1, 2))
    settings = {"detectors": (DARK,), "phonons": 1, "seed": 4, "engine": "local"}
    waves: list[int] = []
    first = simulate.simulate(sheet, BEAM, raster, progress=waves.append, **settings)
    assert sum(waves) == simulate.explain(Request(sample=sheet, beam=BEAM, scan=raster, **settings)).waves
    operator_cache.clear()
    monkeypatch.setattr(local_operator, "build", None)
    counted: list[int] = []
    again = simulate.simulate(sheet, BEAM, raster, progress=counted.append, **settings)
    assert sum(counted) == sum(waves)
    np.testing.assert_array_equal(first["haadf"], again["haadf"])
    assert first.attrs["engine_error"] == again.attrs["engine_error"]


@pytest.fixture(scope="module")
def supported() -> Request:
    """Points over a small gold particle on 16 A of carbon."""
    settings = {"diameter_angstrom": 8.0, "film_thickness_angstrom": 16.0, "size_angstrom": (24.0, 24.0)}
    return Request(
        sample=load_sample("au-particle-carbon", **settings),
        beam=Beam(energy_ev=200e3, semiangle_mrad=20),
        scan=PathScan(positions_angstrom=np.random.default_rng(1).uniform(8, 16, (24, 2))),
        detectors=(AnnularDetector(inner_mrad=50, outer_mrad=80, name="dark"),),
        engine="local",
        phonons="static",
        oversampling=1,
        tolerance=0.03,
    )


@pytest.mark.slow
def test_films_pass_in_fewer_slices_where_asked(supported: Request, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Joined slices are foretold, said and kept on disk; images are within the tolerance of multislice through all slices; unasked, none are."""
    monkeypatch.setenv("STEMTWIN_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("STEMTWIN_CACHE_BYTES", str(2**30))
    asked = replace(supported, film_slices_angstrom=4.0)
    assert make_plan(asked).seconds < make_plan(supported).seconds
    data = simulate.simulate(asked)
    said = re.search(r"slices of films joined, (\d+) instead of (\d+)$", data.attrs["engine_error"])
    assert said is not None
    assert int(said[1]) < int(said[2]) == len(make_plan(asked).slices.planes)
    exact = simulate.simulate(replace(supported, engine="multislice", tolerance=0.0))
    assert np.sqrt(np.square(data["dark"] - exact["dark"]).mean()) < 0.04 * exact["dark"].mean()
    operator_cache.clear()
    monkeypatch.setattr(local_operator, "build", None)
    again = simulate.simulate(asked)
    np.testing.assert_array_equal(again["dark"], data["dark"])
    assert again.attrs["engine_error"] == data.attrs["engine_error"]
    assert "film_slices" not in str(supported.to_dict().keys())
    assert Request.from_dict(asked.to_dict()).film_slices_angstrom == 4.0


def test_films_are_for_atoms_and_the_local_operator(supported: Request) -> None:
    """Other engines and `auto`, and thicknesses that are none, are refused with the repair; slices of gold are never joined."""
    for engine in ("auto", "multislice", "tiled"):
        with pytest.raises(SettingsError, match=f"engine='{engine}' does not join slices. Use that engine"):
            replace(supported, film_slices_angstrom=4.0, engine=engine)
    with pytest.raises(SettingsError, match="film_slices_angstrom"):
        replace(supported, film_slices_angstrom=0.0)
    gold = load_sample("au-001", size_angstrom=(24.0, 24.0), thickness_angstrom=20.0)
    crystal = replace(supported, sample=gold, film_slices_angstrom=4.0)
    assert make_plan(crystal).seconds == make_plan(replace(crystal, film_slices_angstrom=None)).seconds


@pytest.mark.slow
def test_windows_grow_with_depth_where_asked(supported: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are costed, said, and within the tolerance of multislice; other engines are refused; off by default."""
    gold = replace(load_sample("au-001", size_angstrom=(24.0, 24.0), thickness_angstrom=60.0), thermal_sigma_angstrom=None, recipe="")
    one = replace(supported, sample=gold)
    asked = replace(one, growing_windows=True)
    assert not one.growing_windows
    assert make_plan(asked).seconds < 0.9 * make_plan(one).seconds
    monkeypatch.setattr(growing_windows, "CHANGE", 0.0)  # thin specimens would have one window
    data = simulate.simulate(replace(supported, growing_windows=True, tolerance=0.05))
    sides = re.search(r"windows of ([\d., ]+) A$", data.attrs["engine_error"])
    assert sides is not None
    assert len(sides[1].split(", ")) >= 2
    exact = simulate.simulate(replace(supported, engine="multislice", tolerance=0.0))
    assert np.sqrt(np.square(data["dark"] - exact["dark"]).mean()) < 0.05 * exact["dark"].mean()
    with pytest.raises(SettingsError, match="engine='auto' has no growing windows"):
        replace(supported, growing_windows=True, engine="auto")
