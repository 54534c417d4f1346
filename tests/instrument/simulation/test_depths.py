"""A depth series: one pass through a specimen gives what thinner ones would."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.scan import PathScan, RasterScan
from stemtwin.twin.instrument.settings import Beam, PlaneWave, PotentialSlices
from stemtwin.twin.instrument.simulation import operator_cache, simulate
from stemtwin.twin.instrument.simulation.plan import make_plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.electrons import wavelength
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import Sample

POINTS = PathScan(positions_angstrom=np.array([[0.2, 0.1], [1.1, 2.3], [1.95, 1.95]]))
ALL = ("haadf", "bf", "dpc4")
PLANES = np.array([1.0, 3.5, 4.0, 9.0])


@pytest.fixture(scope="module")
def slabs() -> PotentialSlices:
    """Return four planes of random, strong potential."""
    v = np.random.default_rng(2).gamma(0.3, 600.0, (4, 60, 72))
    return PotentialSlices(array=v, sampling_angstrom=(0.07, 0.06), z_angstrom=PLANES)


def first(slabs: PotentialSlices, count: int) -> PotentialSlices:
    """Return the first planes of a specimen."""
    return replace(slabs, array=slabs.array[:count], z_angstrom=slabs.z_angstrom[:count])


def cell_request(sample: Sample, **settings: Any) -> Request:
    """Return a request whose probe fits into small cells many times over."""
    return Request(sample=sample, beam=Beam(energy_ev=200e3, semiangle_mrad=20), scan=POINTS, detectors=ALL, engine="multislice", **settings)


@pytest.mark.parametrize("antialias", [True, False])
def test_a_depth_series_is_the_signals_of_thinner_specimens(slabs: PotentialSlices, antialias: bool) -> None:
    """Signals at depth z are those of the specimen without what lies deeper, also with segments, focal spread and offset blocks."""
    beam = Beam(energy_ev=200e3, semiangle_mrad=20, focal_spread_angstrom=5)
    depths = (1.0, 3.9, 4.0, 9.0)
    asked = Request(sample=slabs, beam=beam, scan=POINTS, detectors=ALL, antialias=antialias, depths_angstrom=depths, engine="multislice")
    series = simulate.simulate(asked)
    assert make_plan(asked).blocks != (1, 1)
    for depth, planes in zip(series["depth"].to_numpy(), (1, 2, 3, 4), strict=True):
        thin = simulate.simulate(replace(asked, sample=first(slabs, planes), depths_angstrom=None, engine="multislice"))
        for name in ALL:
            assert series[name].sel(depth=depth).dims == thin[name].dims
            np.testing.assert_allclose(series[name].sel(depth=depth), thin[name], rtol=2e-6, atol=1e-9)
    assert float(series["haadf"].sel(depth=9).mean() / series["haadf"].sel(depth=1).mean()) > 2, "depth matters here"


def test_thermal_motion_is_averaged_at_every_depth(make_perovskite: Callable[..., Sample]) -> None:
    """Of a thermal sample: at the exit face what a request without it gives, with its standard error; thinner crystals scatter less."""
    sample = make_perovskite(1, 3)
    whole = cell_request(sample, phonons=2)
    thick = sample.thickness_angstrom
    series = simulate.simulate(replace(whole, depths_angstrom=(thick / 3, thick)))
    plain = simulate.simulate(whole)
    for name in ALL:
        np.testing.assert_allclose(series[name].isel(depth=-1), plain[name], rtol=1e-6)
        assert series[name].attrs["relative_standard_error"] >= plain[name].attrs["relative_standard_error"] * (1 - 1e-6)
    assert (series["haadf"].isel(depth=0) < series["haadf"].isel(depth=1)).all()


def test_above_the_first_plane_there_is_vacuum(slabs: PotentialSlices) -> None:
    """Above the first plane nothing has scattered: bright field sees what it sees without a specimen, dark field nothing."""
    data = simulate.simulate(cell_request(slabs, depths_angstrom=(0.0, 1.0)))
    assert float(np.abs(data["haadf"].sel(depth=0)).max()) < 1e-9
    assert float(data["haadf"].isel(depth=1).min()) > 1e-3
    empty = simulate.simulate(cell_request(replace(slabs, array=np.zeros_like(slabs.array))))
    np.testing.assert_allclose(data["bf"].sel(depth=0), empty["bf"], rtol=1e-5)


def test_a_depth_series_is_files(static: Sample, tmp_path: Path) -> None:
    """Request through TOML, result through netCDF and zarr: depth stays a coordinate in A, and the settings name the depths."""
    raster = RasterScan(shape=(2, 3), field_of_view_angstrom=(2, 3))
    asked = replace(cell_request(static, depths_angstrom=[2, 3.9]), scan=raster)
    asked.save(tmp_path / "a.toml")
    read = Request.load(tmp_path / "a.toml")
    assert read.depths_angstrom == (2.0, 3.9)
    data = simulate.simulate(read)
    assert data["haadf"].dims == ("depth", "y", "x")
    assert data["dpc4"].dims == ("depth", "segment", "y", "x")
    assert data["depth"].attrs["units"] == "angstrom"
    assert '"depths_angstrom": [2.0, 3.9]' in data.attrs["stemtwin_settings"]
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    data.to_zarr(tmp_path / "a.zarr", zarr_format=2)
    for back in (xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf"), xr.open_zarr(tmp_path / "a.zarr")):
        xr.testing.assert_identical(back.load(), data)


def test_waves_at_depths(slabs: PotentialSlices) -> None:
    """A wave at a plane is the exit wave of the planes down to it; between planes it is propagated; at depth 0 it is the incident wave."""
    for beam in (PlaneWave(energy_ev=200e3), Beam(energy_ev=200e3, semiangle_mrad=20)):
        big = replace(slabs, sampling_angstrom=(0.28, 0.24))
        series = simulate.exit_wave(big, beam, depths_angstrom=(0.0, 4.0, 6.0, 9.0))
        assert series["wave_real"].dims == ("configuration", "depth", "y", "x")
        wave = (series["wave_real"] + 1j * series["wave_imag"]).isel(configuration=0)
        thin = simulate.exit_wave(first(big, 3), beam).isel(configuration=0)
        np.testing.assert_allclose(wave.sel(depth=4), thin["wave_real"] + 1j * thin["wave_imag"], atol=1e-6)
        whole = simulate.exit_wave(big, beam).isel(configuration=0)
        np.testing.assert_allclose(wave.sel(depth=9), whole["wave_real"] + 1j * whole["wave_imag"], atol=1e-6)
        grid = make_plan(Request(sample=big, beam=Beam(energy_ev=200e3, semiangle_mrad=1), scan=POINTS, detectors=("bf",))).grid
        propagator = np.exp(-1j * np.pi * Beam(energy_ev=200e3, semiangle_mrad=1).wavelength_angstrom * 2.0 * grid.k**2)
        np.testing.assert_allclose(wave.sel(depth=6), np.fft.ifft2(np.fft.fft2(wave.sel(depth=4)) * propagator), atol=2e-6)
        if isinstance(beam, PlaneWave):
            np.testing.assert_allclose(wave.sel(depth=0), 1, atol=1e-6)


@pytest.mark.parametrize("antialias", [True, False])
def test_one_operator_gives_the_depth_series_of_multislice(slabs: PotentialSlices, antialias: bool) -> None:
    """One pass of the plane waves gives multislice's series within 1e-5: above the first plane, between planes, at each, in blocks, with segments."""
    beam = Beam(energy_ev=200e3, semiangle_mrad=20, aberrations=Aberrations(C10=-30, C12=9), focal_spread_angstrom=5)
    depths = (0.0, 1.0, 3.6, 3.9, 4.0, 9.0)
    asked = Request(sample=slabs, beam=beam, scan=POINTS, detectors=ALL, antialias=antialias, depths_angstrom=depths, engine="operator")
    series, reference = (simulate.simulate(replace(asked, engine=engine)) for engine in ("operator", "multislice"))
    assert series.attrs["engine"] == "operator"
    for name in ALL:
        assert series[name].dims == reference[name].dims
        np.testing.assert_allclose(series[name], reference[name], rtol=1e-5, atol=1e-8)
        np.testing.assert_array_equal(series[name].sel(depth=3.6), series[name].sel(depth=3.9), "no plane lies between")


def test_an_operator_for_depths_is_a_mean_over_configurations(make_perovskite: Callable[..., Sample]) -> None:
    """Of a thermal sample: multislice's series within 1e-5, its standard error, and the waves of the plan, which are those of one pass."""
    sample = make_perovskite(1, 3)
    asked = replace(cell_request(sample, phonons=2), depths_angstrom=(4.0, 8.0, sample.thickness_angstrom), engine="operator")
    steps: list[int] = []
    series = simulate.simulate(asked, progress=steps.append)
    assert sum(steps) == make_plan(asked).waves == make_plan(replace(asked, depths_angstrom=None)).waves
    reference = simulate.simulate(replace(asked, engine="multislice"))
    for name in ALL:
        np.testing.assert_allclose(series[name], reference[name], rtol=1e-5)
        assert series[name].attrs["relative_standard_error"] > 0


def test_operators_of_other_depths_are_other_operators(static: Sample) -> None:
    """The key of an operator names the depths: one that is held for a series is not taken for another one, nor for the exit face."""
    asked = replace(cell_request(static), engine="operator")
    keys = {
        operator_cache.physics_key(each, make_plan(each))
        for each in (asked, *(replace(asked, depths_angstrom=depths) for depths in ((1.0, 3.0), (2.0, 3.0), (3.0,))))
    }
    assert len(keys) == 4
    first, second = (simulate.simulate(replace(asked, depths_angstrom=(depth, 3.9))) for depth in (0.0, 2.0))
    assert not np.allclose(first["bf"].isel(depth=0), second["bf"].isel(depth=0), rtol=1e-3)
    np.testing.assert_allclose(first["bf"].isel(depth=1), second["bf"].isel(depth=1), rtol=1e-6)


@pytest.mark.parametrize("engine", ["local", "prism", "abtem"])
def test_engines_that_know_the_exit_face_alone_say_so(static: Sample, engine: str) -> None:
    """Every engine but multislice and the operator refuses a depth series; auto takes one of these two."""
    asked = cell_request(static, depths_angstrom=(1.0, 3.0), antialias=False, oversampling=1)
    with pytest.raises(SettingsError, match=f"engine='{engine}' .* requests 2 depths. Use engine='multislice'"):
        replace(asked, engine=engine)
    assert make_plan(replace(asked, engine="auto")).engine in {"multislice", "operator"}


@pytest.mark.parametrize(
    ("depths", "what"),
    [
        ((), "increasing"),
        ((2, 1), "increasing"),
        ((1, 1), "increasing"),
        ((1, 99), r"depths_angstrom\[1\]=99 .*at most 3.905.* is 3.905 A thick"),
        (-1, "not a list"),
        ((-1.0,), "at least 0"),
    ],
)
def test_depths_that_make_no_sense_are_refused(static: Sample, depths: Any, what: str) -> None:
    """Depths outside the sample, out of order or no list at all end in one clear sentence."""
    with pytest.raises(SettingsError, match=what):
        cell_request(static, depths_angstrom=depths)


def test_the_asked_thickness_is_a_depth() -> None:
    """A sample that whole repeats make thinner than asked for takes depths up to the asked thickness, in vacuum."""
    sample = load_sample("au-001", size_angstrom=(4, 4), thickness_angstrom=10)
    true = sample.thickness_angstrom
    assert true < 10
    asked = cell_request(sample, depths_angstrom=(true, 10.0), phonons=1)
    plan = make_plan(asked)
    assert any(f"exit face at {true:.2f} A" in note for note in plan.notes)
    series = simulate.simulate(asked)
    assert series["depth"].values.tolist() == [true, 10.0]
    assert series.attrs["thickness_angstrom"] == true
    for name in ALL:
        np.testing.assert_array_equal(series[name].isel(depth=0), series[name].isel(depth=1))
    with pytest.raises(SettingsError, match=rf"10\.1 A .*at most 10 A\. The sample is {true:.6g} A thick"):
        replace(asked, depths_angstrom=(10.1,))
    with pytest.raises(SettingsError, match="A thick"):
        replace(asked, sample=replace(sample, recipe=""))
    thick = load_sample("pt-001", size_angstrom=(4, 4), thickness_angstrom=10)
    assert thick.thickness_angstrom > 10.1
    assert cell_request(thick, depths_angstrom=(10.1,)).depths_angstrom == (10.1,)


def test_a_wave_behind_the_exit_face_is_propagated_through_vacuum() -> None:
    """Between the true and the asked thickness the wave is the exit wave times the propagator of the way between."""
    sample = load_sample("au-001", size_angstrom=(4, 4), thickness_angstrom=10)
    true, wide = sample.thickness_angstrom, PlaneWave(energy_ev=200e3)
    series = simulate.exit_wave(sample, wide, depths_angstrom=(true, 10.0), phonons="static", sampling_angstrom=0.1)
    wave = (series["wave_real"] + 1j * series["wave_imag"]).isel(configuration=0)
    ny, nx = wave.shape[1:]
    height, width = sample.size_angstrom
    k2 = np.fft.fftfreq(ny, height / ny)[:, None] ** 2 + np.fft.fftfreq(nx, width / nx) ** 2
    propagator = np.exp(-1j * np.pi * wavelength(200e3) * (10.0 - true) * k2)
    expected = np.fft.ifft2(np.fft.fft2(wave.isel(depth=0)) * propagator)
    np.testing.assert_allclose(wave.isel(depth=1), expected, atol=2e-6)
    assert np.abs(wave.isel(depth=1) - wave.isel(depth=0)).max() > 1e-3
