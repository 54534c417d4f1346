"""Series: one call and one Dataset, the numbers of single calls."""

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from stemtwin.datasets.formats import save
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.detectors import PixelatedDetector
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import operator_cache
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.instrument.simulation.series import explain_series, simulate_series
from stemtwin.twin.instrument.simulation.simulate import explain, simulate
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.engine.operator import imaging_operator
from stemtwin.twin.samples.sample import Sample

BEAM = Beam(energy_ev=200e3, semiangle_mrad=20, aberrations=Aberrations(C12=10, phi12=0.3), source_size_angstrom=0.3, focal_spread_angstrom=10)
SCAN = RasterScan(shape=(5, 6), field_of_view_angstrom=(3.0, 4.0))
DETECTORS = ("haadf", "dpc4")


@pytest.fixture
def cell(make_perovskite: Callable[..., Sample]) -> Sample:
    """Return a cell that holds every probe of these tests."""
    return make_perovskite(4, 1, sigma=None)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets one more item for each operator that is built."""
    found: list[int] = []
    build = imaging_operator.build
    monkeypatch.setattr(imaging_operator, "build", lambda *args, **kwargs: found.append(1) or build(*args, **kwargs))
    operator_cache.clear()
    return found


def with_focus(value: float, **others: float) -> Beam:
    """Return the beam with another focus."""
    return replace(BEAM, aberrations=replace(BEAM.aberrations, C10=value, **others))


@pytest.mark.slow
def test_a_focal_series_is_the_single_images_of_one_operator(cell: Sample, built: list[int]) -> None:
    """Every image has the bits of a single call, and all of them come from one build, which reports its waves once."""
    foci, steps = np.linspace(-60, 60, 20).tolist(), list[int]()
    series = simulate_series(cell, BEAM, SCAN, C10=foci, detectors=DETECTORS, progress=steps.append)
    assert len(built) == 1
    assert sum(steps) == explain(sample=cell, beam=BEAM, scan=SCAN, detectors=DETECTORS).waves
    assert series["haadf"].dims == ("C10", "y", "x")
    assert series["dpc4"].dims == ("C10", "segment", "y", "x")
    np.testing.assert_array_equal(series["C10"], foci)
    assert series["C10"].attrs["units"] == "angstrom"
    for focus in foci[::6]:
        single = simulate(cell, with_focus(focus), SCAN, detectors=DETECTORS, engine=series.attrs["engine"])
        for name in DETECTORS:
            np.testing.assert_array_equal(series[name].sel(C10=focus), single[name])
    assert len(built) == 1, "single calls find the same operator"
    under = simulate_series(cell, BEAM, SCAN, defocus=[-value for value in foci[:3]], detectors=DETECTORS)
    np.testing.assert_array_equal(under["haadf"], series["haadf"][:3])


def test_small_cells_share_the_window_of_the_widest_probe(static: Sample, built: list[int]) -> None:
    """Where probes are wider than the cell, one operator for the widest gives all: single calls with its blocks have the same bits."""
    series = simulate_series(static, BEAM, SCAN, C10=(0.0, 150.0, 300.0))
    assert len(built) == 1
    blocks = tuple(json.loads(series.attrs["stemtwin_settings"])["blocks"])
    assert blocks == explain(sample=static, beam=with_focus(300.0), scan=SCAN).blocks != explain(sample=static, beam=BEAM, scan=SCAN).blocks
    for focus in (0.0, 300.0):
        single = simulate(static, with_focus(focus), SCAN, blocks=blocks, engine=series.attrs["engine"])
        np.testing.assert_array_equal(series["haadf"].sel(C10=focus), single["haadf"])


def test_variables_combine_in_their_order(cell: Sample) -> None:
    """Two aberrations, two tilts, and depths: one dimension each, in the order given, with the bits of single calls."""
    values = {"phi12": (0.0, 0.7), "tilt_mrad": ((0.0, 0.0), (8.0, -3.0)), "C10": (-20.0, 5.0), "beam_tilt_mrad": ((0.0, 0.0), (2.0, 1.0))}
    settings: dict[str, Any] = {"detectors": ("bf",), "depths_angstrom": (1.0, 3.9), "engine": "operator", "grid": (192, 192)}
    series = simulate_series(cell, BEAM, replace(SCAN, shape=(2, 3)), **values, **settings)
    assert series["bf"].dims == ("phi12", "tilt", "C10", "beam_tilt", "depth", "y", "x")
    assert [series[name].attrs["units"] for name in ("phi12", "tilt_y", "beam_tilt_x", "depth")] == ["rad", "mrad", "mrad", "angstrom"]
    np.testing.assert_array_equal(series["tilt_y"], (0.0, 8.0))
    np.testing.assert_array_equal(series["beam_tilt_y"], (0.0, 1.0))
    for (i, angle), (j, tilt), (k, focus), (m, direction) in itertools.product(*map(enumerate, values.values())):
        if (i + j + k + m) % 2:
            continue  # half of them suffice
        beam = replace(with_focus(focus, phi12=angle), beam_tilt_mrad=direction)
        single = simulate(cell, beam, replace(SCAN, shape=(2, 3)), tilt_mrad=tilt, **settings)
        np.testing.assert_array_equal(series["bf"][i, j, k, m], single["bf"])


@pytest.mark.parametrize("engine", ["multislice", "prism"])
def test_every_engine_gives_series(cell: Sample, engine: str) -> None:
    """Engines without operators give the bits of their single calls, too."""
    settings: dict[str, Any] = {"engine": engine, "scan": replace(SCAN, shape=(2, 2)), "detectors": ("bf",), "grid": (96, 96)}
    series = simulate_series(Request(sample=cell, beam=BEAM, **settings), C10=(0.0, 30.0))
    assert series.attrs["engine"] == engine
    for focus in (0.0, 30.0):
        np.testing.assert_array_equal(series["bf"].sel(C10=focus), simulate(sample=cell, beam=with_focus(focus), **settings)["bf"])


def test_cameras_and_derived_signals_come_in_series(static: Sample) -> None:
    """Patterns and integrals of each member are those of single calls."""
    camera = PixelatedDetector(shape=(12, 12), outer_mrad=30, name="camera")
    scan = RasterScan(shape=(3, 4), field_of_view_angstrom=static.size_angstrom)
    for detectors, blocks in (((camera, "bf"), None), (("icom", "bf"), (4, 4))):
        series = simulate_series(static, BEAM, scan, C10=(0.0, 25.0), detectors=detectors, blocks=blocks)
        single = simulate(static, with_focus(25.0), scan, detectors=detectors, blocks=blocks)
        assert list(series) == list(single)
        for name in single:
            np.testing.assert_array_equal(series[name].sel(C10=25.0), single[name])


def test_a_depth_series_is_a_series(static: Sample) -> None:
    """Depths alone are what `simulate` gives."""
    series = simulate_series(static, BEAM, SCAN, depths_angstrom=(1.0, 3.0), engine="operator")
    xr.testing.assert_equal(series, simulate(static, BEAM, SCAN, depths_angstrom=(1.0, 3.0), engine="operator"))


def test_a_series_is_files(static: Sample, tmp_path: Path) -> None:
    """Through netCDF and zarr a series comes back identical, with the values of what varies in the settings too."""
    series = simulate_series(static, BEAM, SCAN, C10=(0.0, 20.0, 40.0), tilt_mrad=((0.0, 0.0), (4.0, 0.0)))
    assert json.loads(series.attrs["stemtwin_settings"])["series"] == {"C10": [0.0, 20.0, 40.0], "tilt_mrad": [[0.0, 0.0], [4.0, 0.0]]}
    for back in (
        xr.open_dataset(save(series, tmp_path / "a.nc"), engine="h5netcdf"),
        xr.open_zarr(save(series, tmp_path / "a.zarr")),
    ):
        xr.testing.assert_identical(back.load(), series)


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({}, "Nothing varies"),
        ({"tilt_mrad": (1.0, 2.0)}, "Nothing varies"),
        ({"C10": 3.0}, "C10=3.0 is not a series"),
        ({"C10": ()}, "is not a series"),
        ({"C12": "abc"}, "is not a series"),
        ({"C10": (0.0, "x")}, r"C10\[1\]"),
        ({"C10": (0, 1), "defocus": (0, 1)}, "Both C10 and defocus"),
        ({"tilt_mrad": ((0, 0), (1,))}, r"tilt_mrad\[1\]"),
        ({"C10": (0, 1), "nonsense": 3}, "cannot be created"),
    ],
)
def test_what_is_no_series_is_refused(static: Sample, settings: dict[str, Any], what: str) -> None:
    """Nothing that varies, single numbers, texts and unknown settings end in one sentence."""
    with pytest.raises(SettingsError, match=what):
        simulate_series(static, BEAM, SCAN, **settings)


@pytest.mark.slow
def test_the_plan_of_a_series_counts_all_of_its_waves(cell: Sample) -> None:
    """The waves of explain_series are those that are reported: once for all defoci, for each tilt anew; its time grows with the tilts."""
    settings: dict[str, Any] = {"defocus": (0.0, 20.0), "tilt_mrad": ((0, 0), (3, 0)), "detectors": ("haadf",)}
    plan, steps = explain_series(cell, BEAM, SCAN, **settings), list[int]()
    simulate_series(cell, BEAM, SCAN, **settings, progress=steps.append)
    assert sum(steps) == plan.waves
    single = explain_series(cell, BEAM, SCAN, defocus=(0.0, 20.0), detectors=("haadf",))
    assert plan.waves == 2 * single.waves
    assert plan.seconds == pytest.approx(2 * single.seconds, rel=0.1)
    assert "multislice" in plan.exactness
