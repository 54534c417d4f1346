"""Signals and exit waves: engines agree, settings arrive, results are files."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.twin.errors import SamplingError, SettingsError
from stemtwin.twin.instrument.detectors import AnnularDetector, SegmentedDetector
from stemtwin.twin.instrument.scan import PathScan, RasterScan
from stemtwin.twin.instrument.settings import Beam, PlaneWave, PotentialSlices
from stemtwin.twin.instrument.simulation import partial_coherence, simulate, slice_stacks
from stemtwin.twin.instrument.simulation.plan import make_plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics import electrons
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.samples.sample import Sample

POINTS = PathScan(positions_angstrom=np.array([[0, 0], [1.1, 2.3], [1.95, 1.95], [-7.3, 40.2]]))
ALL = ("haadf", "maadf", "laadf", "abf", "bf", "dpc4")


def stacked(data: xr.Dataset) -> np.ndarray:
    """Return all signals of a Dataset in one array (channels, points)."""
    return np.concatenate([data[name].to_numpy().reshape(-1, data.sizes["point"]) for name in data])


@pytest.mark.filterwarnings("ignore::stemtwin.twin.errors.PhysicsWarning")  # a damped dark field tests the engines too
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("motion", [2, "damped", "static"])
def test_the_operator_is_multislice(thermal: Sample, beam: Beam, antialias: bool, motion: Any) -> None:
    """Both engines give the same signals on all detectors, for any edges and any kind of thermal motion."""
    asked = Request(sample=thermal, beam=beam, scan=POINTS, detectors=ALL, phonons=motion, antialias=antialias)
    one, other = (simulate.simulate(replace(asked, engine=engine)) for engine in ("operator", "multislice"))
    np.testing.assert_allclose(stacked(one), stacked(other), rtol=2e-5, atol=2e-7)
    assert (one.attrs["engine"], other.attrs["engine"]) == ("operator", "multislice")


@pytest.mark.slow
def test_partial_coherence_is_the_mean_over_nodes(thermal: Sample, beam: Beam) -> None:
    """What the operator does in closed form, multislice does by averaging coherent probes over defocus and source: the same to 1e-5."""
    partial = replace(beam, source_size_angstrom=0.35, focal_spread_angstrom=25)
    few = PathScan(positions_angstrom=POINTS.positions()[:2])
    asked = Request(sample=thermal, beam=partial, scan=few, detectors=("haadf", "bf"), phonons=1)
    one, other = (simulate.simulate(replace(asked, engine=engine)) for engine in ("operator", "multislice"))
    np.testing.assert_allclose(stacked(one), stacked(other), rtol=3e-5)
    coherent = simulate.simulate(replace(asked, beam=beam))
    assert np.abs(stacked(coherent) / stacked(one) - 1).max() > 0.1, "coherence matters here"


@given(width=st.floats(0.01, 1.5), focal=st.floats(0.1, 80))
@settings(max_examples=25)
def test_nodes_give_the_moments_of_a_gaussian(width: float, focal: float) -> None:
    """Weights sum to 1 and give mean 0 and the variance asked for; a point source needs one node."""
    beam = Beam(energy_ev=200e3, semiangle_mrad=20, source_size_angstrom=width, focal_spread_angstrom=focal)
    for (x, weights), wanted in zip(partial_coherence.nodes(beam), (focal, width), strict=True):
        assert weights.sum() == pytest.approx(1)
        assert (weights * x).sum() == pytest.approx(0, abs=1e-9)
        assert (weights * x**2).sum() == pytest.approx(wanted**2)
    assert partial_coherence.counts(replace(beam, source_size_angstrom=0, focal_spread_angstrom=0)) == (1, 1)


def test_a_raster_and_a_path_over_the_same_points_agree(thermal: Sample, beam: Beam) -> None:
    """A rotated raster, an unrotated one and a list of points are the same function of the position."""
    for turn in (0.0, 0.4):
        scan = RasterScan(shape=(5, 7), field_of_view_angstrom=(3, 6), origin_angstrom=(-1, 50), rotation_rad=turn)
        path = PathScan(positions_angstrom=scan.positions().reshape(-1, 2))
        one, other = (simulate.simulate(thermal, beam, s, phonons=1, detectors=("haadf", "dpc4")) for s in (scan, path))
        for name in one:
            np.testing.assert_allclose(one[name].to_numpy().reshape(*one[name].shape[:-2], -1), other[name], rtol=1e-4, atol=1e-6)


def test_the_sum_of_all_electrons_is_one(nothing: PotentialSlices, thermal: Sample, beam: Beam, raster: RasterScan) -> None:
    """Vacuum puts the whole beam into the bright-field disc; through a sample, a detector up to the band limit loses a few percent at most."""
    disc = AnnularDetector(inner_mrad=0, outer_mrad=25, name="disc")
    assert simulate.simulate(nothing, beam, raster, detectors=disc).disc.to_numpy() == pytest.approx(1, abs=1e-5)
    whole = AnnularDetector(inner_mrad=0, outer_mrad=200, name="whole")
    total = simulate.simulate(thermal, beam, raster, detectors=whole, phonons=1).whole.to_numpy()
    assert total.min() > 0.97
    assert total.max() < 1 + 1e-5


def test_segments_add_up_and_change_with_their_rotation(thermal: Sample, beam: Beam) -> None:
    """Segments sum to the ring they divide; turning the detector by one segment permutes the signals."""
    ring = AnnularDetector(inner_mrad=5, outer_mrad=40, name="ring")
    first, turned = (SegmentedDetector(inner_mrad=5, outer_mrad=40, rotation_rad=t, name=n) for t, n in ((0.1, "a"), (0.1 + np.pi / 2, "b")))
    data = simulate.simulate(thermal, beam, POINTS, detectors=(ring, first, turned), phonons=1)
    np.testing.assert_allclose(data.a.sum("segment"), data.ring, rtol=1e-5)
    np.testing.assert_allclose(np.roll(data.a, -1, axis=0), data.b, rtol=1e-5)


def test_results_carry_what_made_them(thermal: Sample, beam: Beam, raster: RasterScan) -> None:
    """Dims (y, x) and coordinates in A; the detector's angles, the error over configurations, engine and settings in attributes."""
    data = simulate.simulate(thermal, beam, raster, detectors=("haadf", "dpc4"), phonons=3, seed=11)
    assert data.haadf.dims == ("y", "x")
    assert data.dpc4.dims == ("segment", "y", "x")
    assert data.haadf.dtype == np.float32
    np.testing.assert_allclose(data.x, 0.3 + 0.5 * np.arange(8))
    np.testing.assert_allclose(data.y, -0.2 + 0.5 * np.arange(6))
    assert (data.haadf.attrs["inner_mrad"], data.haadf.attrs["outer_mrad"]) == (60, 200)
    assert 0 < data.haadf.attrs["relative_standard_error"] < 1
    assert data.attrs["engine"] == "operator"
    assert "multislice" in data.attrs["engine_error"]
    settings_ = json.loads(data.attrs["stemtwin_settings"])
    assert settings_["beam"]["aberrations"]["C10"] == -20
    assert (settings_["seed"], settings_["configurations"]) == (11, 3)
    static = simulate.simulate(thermal, beam, raster, phonons="static")
    assert "relative_standard_error" not in static.haadf.attrs


def test_the_standard_error_is_that_of_the_mean(thermal: Sample, beam: Beam) -> None:
    """The error over configurations is the scatter of single configurations over the root of their number (multislice; rms over the points)."""
    asked = Request(sample=thermal, beam=beam, scan=POINTS, phonons=4, engine="multislice", antialias=False, seed=3)
    plan = make_plan(asked)
    singles = []
    for i in range(4):
        at = slice_stacks.positions(asked, i)
        wrapped = np.column_stack([at[:, :2] % 3.905, np.clip(at[:, 2], 0, 3.9)])
        still = Sample(name="one", numbers=thermal.numbers, positions_angstrom=wrapped, size_angstrom=(3.905, 3.905), thickness_angstrom=3.905)
        singles.append(simulate.expected(replace(asked, sample=still, phonons="static", slice_thickness_angstrom=1.9), plan_like(asked, still))[0][0])
    mean, error, _ = simulate.expected(asked, plan)
    np.testing.assert_allclose(mean[0], np.mean(singles, axis=0), rtol=0.02)
    expected = np.sqrt((np.var(singles, axis=0, ddof=1) / 4).mean()) / np.mean(singles)
    assert error[0] == pytest.approx(expected, rel=0.1)


def plan_like(asked: Request, still: Sample) -> Any:
    """Return the plan of one displaced, static specimen on the same grid."""
    return make_plan(replace(asked, sample=still, phonons="static", slice_thickness_angstrom=1.9))


def files(data: xr.Dataset, folder: Path, form: str) -> xr.Dataset:
    """Return a Dataset as it comes back from a file."""
    if form == "netcdf":
        data.to_netcdf(folder / "data.nc", engine="h5netcdf")
        return xr.load_dataset(folder / "data.nc", engine="h5netcdf")
    pytest.importorskip("zarr", reason="zarr is not installed")
    data.to_zarr(folder / "data.zarr", zarr_format=2, consolidated=True)
    return xr.open_zarr(folder / "data.zarr", zarr_format=2).load()


@pytest.mark.parametrize("form", ["netcdf", "zarr"])
def test_results_round_trip_through_files(thermal: Sample, beam: Beam, raster: RasterScan, tmp_path: Path, form: str) -> None:
    """Signals, paths and waves come back from netCDF and zarr with the same values, types, coordinates and attributes."""
    for i, data in enumerate(
        (
            simulate.simulate(thermal, beam, raster, detectors=("haadf", "dpc4"), phonons=2),
            simulate.simulate(thermal, beam, POINTS, phonons="static", grid=(97, 96)),
            simulate.exit_wave(thermal, PlaneWave(energy_ev=200e3), phonons=2),
        )
    ):
        folder = tmp_path / str(i)
        folder.mkdir()
        back = files(data, folder, form)
        xr.testing.assert_identical(back, data)
        for name in data.variables:
            assert back[name].dtype == data[name].dtype
        for value in (*data.attrs.values(), *(v for name in data.variables for v in data[name].attrs.values())):
            assert isinstance(value, (str, int, float)), value


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "needs sample, beam and scan"),
        ({"phonon": 4}, "unexpected keyword argument 'phonon'"),
        ({"sample": "srtio3-001", "beam": 3, "scan": 3}, "is not a Sample"),
    ],
)
def test_calls_that_make_no_sense_are_refused(arguments: dict[str, Any], said: str) -> None:
    """A missing or misspelt argument ends in one sentence."""
    with pytest.raises(SettingsError, match=said):
        simulate.simulate(**arguments)


def test_a_whole_request_takes_no_further_settings(thermal: Sample, beam: Beam, raster: RasterScan) -> None:
    """What is asked for twice is not ignored."""
    asked = Request(sample=thermal, beam=beam, scan=raster)
    with pytest.raises(SettingsError, match="Both a request and beam, seed are given"):
        simulate.simulate(asked, beam, seed=3)
    with pytest.raises(SettingsError, match="seed"):
        simulate.explain(asked, seed=3)
    assert simulate.explain(sample=thermal, beam=beam, scan=raster).engine == simulate.explain(asked).engine


def test_displacements_belong_to_their_configuration(make_perovskite: Callable[..., Sample], beam: Beam, raster: RasterScan) -> None:
    """Configuration i is the same whatever their number, differs from the others and between seeds, and has the sigma asked for."""
    sample = make_perovskite(6, 3, sigma=0.1)
    asked = Request(sample=sample, beam=beam, scan=raster, phonons=2)
    moved = [slice_stacks.positions(asked, i) - sample.positions_angstrom for i in range(2)]
    assert moved[0].std() == pytest.approx(0.1, rel=0.05)
    assert abs(np.corrcoef(moved[0].ravel(), moved[1].ravel())[0, 1]) < 0.1
    np.testing.assert_array_equal(slice_stacks.positions(replace(asked, phonons=9), 1), slice_stacks.positions(asked, 1))
    assert not np.allclose(slice_stacks.positions(replace(asked, seed=1), 0), slice_stacks.positions(asked, 0))
    assert slice_stacks.positions(replace(asked, phonons="damped"), 0) is sample.positions_angstrom


@pytest.mark.parametrize("shape", [(8, 10), (9, 15), (8, 15), (25, 12)])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_potentials_are_refined_by_trigonometric_interpolation(shape: tuple[int, int], times: int) -> None:
    """The finer array goes through the points of the coarser one, is real, and is exact for a wave below the Nyquist frequency."""
    rng = np.random.default_rng(0)
    v = rng.normal(size=shape).astype(np.float32)
    np.testing.assert_allclose(slice_stacks._refine(v, times)[::times, ::times], v, atol=1e-5)

    def wave(ny: int, nx: int) -> np.ndarray:
        return np.cos(2 * np.pi * (2 * np.arange(ny)[:, None] / ny - 3 * np.arange(nx) / nx) + 0.3)

    fine = slice_stacks._refine(wave(*shape).astype(np.float32), times)
    np.testing.assert_allclose(fine, wave(times * shape[0], times * shape[1]), atol=1e-5)


@pytest.mark.filterwarnings("ignore::stemtwin.twin.errors.PhysicsWarning")  # a damped dark field tests the potentials too
def test_slices_of_a_sample_image_like_the_sample(thermal: Sample, beam: Beam) -> None:
    """The potentials handed to another solver are those that our own engine uses, with pixel masks and without oversampling."""
    for motion in ("static", "damped", 1):
        asked = Request(sample=thermal, beam=beam, scan=POINTS, phonons=motion, antialias=False, oversampling=1, detectors=("haadf", "bf"))
        slices = slice_stacks.as_slices(asked, make_plan(asked))
        again = replace(asked, sample=slices, phonons="static")
        np.testing.assert_allclose(stacked(simulate.simulate(again)), stacked(simulate.simulate(asked)), rtol=1e-4)


# ---- exit waves


def test_a_plane_wave_through_a_weak_phase_object(beam: Beam) -> None:
    """Through one thin slice a plane wave becomes exp(i sigma V), of modulus 1 (Kirkland, section 5.2), and the usual sampling is 0.05 A."""
    y, x = np.arange(96)[:, None] / 96, np.arange(96) / 96
    v = 2.0 * np.cos(2 * np.pi * (2 * x + y))
    thin = PotentialSlices(array=v[None], sampling_angstrom=(0.05, 0.05), z_angstrom=np.array([0.0]))
    wave = simulate.exit_wave(thin, PlaneWave(energy_ev=200e3))
    found = wave.wave_real.to_numpy() + 1j * wave.wave_imag.to_numpy()
    np.testing.assert_allclose(found[0], np.exp(1j * electrons.interaction_constant(200e3) * v), atol=1e-5)
    assert wave.wave_real.dims == ("configuration", "y", "x")
    np.testing.assert_allclose(wave.x, 0.05 * np.arange(96))


def test_an_exit_wave_is_sampled_by_a_twentieth_of_an_angstrom(thermal: Sample, beam: Beam) -> None:
    """Unless asked otherwise, points lie 0.05 A apart or a little less."""
    wave = simulate.exit_wave(thermal, PlaneWave(energy_ev=60e3))
    assert 0.045 < float(wave.x[1]) <= 0.05
    assert float(simulate.exit_wave(thermal, PlaneWave(energy_ev=60e3), sampling_angstrom=0.1).x[1]) > 0.09
    assert simulate.exit_wave(thermal, PlaneWave(energy_ev=60e3), phonons=3).sizes["configuration"] == 3


def test_a_probe_has_unit_norm_and_stands_where_it_is_asked_to(make_perovskite: Callable[..., Sample]) -> None:
    """The integral of abs(wave)^2 over the cell is the part of the beam inside it (almost 1), and in vacuum its centre is the position."""
    void = PotentialSlices(array=np.zeros((1, 400, 400)), sampling_angstrom=(0.05, 0.05), z_angstrom=np.array([0.0]))
    wave = simulate.exit_wave(void, Beam(energy_ev=200e3, semiangle_mrad=20), position_angstrom=(7.3, 12.1))
    intensity = (wave.wave_real**2 + wave.wave_imag**2)[0]
    assert float(intensity.sum()) * 0.05**2 == pytest.approx(1, abs=0.03)
    peak = np.unravel_index(int(intensity.to_numpy().argmax()), intensity.shape)
    assert (float(wave.x[peak[1]]), float(wave.y[peak[0]])) == pytest.approx((7.3, 12.1), abs=0.05)


def test_focus_is_on_the_entrance_face(beam: Beam) -> None:
    """C10 = 0 focuses on z = 0: behind a slab of vacuum the probe is as wide as one with C10 = thickness; C10 = -thickness refocuses it."""

    def width(thickness: float, c10: float) -> float:
        planes = np.unique([0.0, thickness])
        void = PotentialSlices(array=np.zeros((len(planes), 400, 400)), sampling_angstrom=(0.05, 0.05), z_angstrom=planes)
        wave = simulate.exit_wave(void, Beam(energy_ev=200e3, semiangle_mrad=20, aberrations=Aberrations(C10=c10)), position_angstrom=(10, 10))
        return float((wave.wave_real**2 + wave.wave_imag**2).max())

    focused = width(0, 0)
    assert width(100, 0) == pytest.approx(width(0, 100), rel=1e-3)
    assert width(100, 0) < 0.5 * focused
    assert width(100, -100) == pytest.approx(focused, rel=1e-3)


def test_exit_waves_refuse_what_has_no_meaning(thermal: Sample, beam: Beam) -> None:
    """A partially coherent beam, a detector, an engine, a probe wider than the cell: each has its own sentence."""
    with pytest.raises(SettingsError, match="partially coherent beam is not a single wave"):
        simulate.exit_wave(thermal, replace(beam, focal_spread_angstrom=1))
    with pytest.raises(SettingsError, match="has no engine"):
        simulate.exit_wave(thermal, beam, engine="operator")
    with pytest.raises(SettingsError, match="has no detectors"):
        simulate.exit_wave(thermal, beam, detectors=("bf",))
    with pytest.raises(SettingsError, match="is not a Beam or PlaneWave"):
        simulate.exit_wave(thermal, 200e3)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="position_angstrom"):
        simulate.exit_wave(thermal, beam, position_angstrom=(1, np.nan))
    with pytest.raises(SettingsError, match="samplin"):
        simulate.exit_wave(thermal, beam, samplin=0.1)
    with pytest.raises(SamplingError, match=r"does not fit the cell of 3\.9 x 3\.9 A"):
        simulate.exit_wave(thermal, beam)


def test_exit_waves_say_what_they_are(thermal: Sample) -> None:
    """A plane wave's attributes have its energy and no convergence, detectors or scan of a stand-in."""
    attrs = simulate.exit_wave(thermal, PlaneWave(energy_ev=200e3)).attrs
    assert attrs["title"] == "exit wave"
    assert "semiangle_mrad" not in attrs
    kept = json.loads(attrs["stemtwin_settings"])
    assert kept["beam"] == {"energy_ev": 200e3}
    assert not {"detectors", "scan"} & set(kept)
