"""4D-STEM through ``simulate``: the same numbers as every other detector, exact against multislice, refused where it does not fit."""

import dataclasses
import math

import numpy as np
import pytest
import xarray as xr

from stemtwin.twin.errors import SamplingError, SettingsError
from stemtwin.twin.instrument.detectors import AnnularDetector, PixelatedDetector, SegmentedDetector
from stemtwin.twin.instrument.hardware import camera_response
from stemtwin.twin.instrument.scan import PathScan, RasterScan, SparseScan
from stemtwin.twin.instrument.simulation import diffraction_patterns, memory, pattern_analysis
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.instrument.simulation.simulate import explain, simulate

CELL = 3.905
SCAN = RasterScan(shape=(4, 6), field_of_view_angstrom=(CELL, CELL))


def native_camera(beam, blocks: int = 5, count: int = 61) -> PixelatedDetector:
    """A camera whose pixels are the reciprocal pixels of so many cells: its own window asks for just these."""
    return PixelatedDetector(shape=(count, count), outer_mrad=count / 2 * beam.wavelength_angstrom / (CELL * blocks) * 1e3)


def test_virtual_detectors_are_the_detectors(thermal, beam) -> None:
    """Masks on the native grid give what ``simulate`` gives for annular and segmented detectors beside the camera, phonons included: 1e-5."""
    ring, quarters = AnnularDetector(inner_mrad=8, outer_mrad=36), SegmentedDetector(inner_mrad=0, outer_mrad=24, segments=4, rotation_rad=0.2)
    blurred = dataclasses.replace(beam, source_size_angstrom=0.2, focal_spread_angstrom=20)
    for state in (beam, blurred):
        data = simulate(thermal, state, SCAN, detectors=(native_camera(beam), ring, quarters), phonons=2)
        assert data["pixelated"].dims == ("y", "x", "ky", "kx")
        for detector in (ring, quarters):
            found = pattern_analysis.virtual(data["pixelated"], detector)
            assert found.dims == data[detector.name].dims
            np.testing.assert_allclose(found, data[detector.name], rtol=2e-5)


def test_a_camera_of_any_pixels_gives_annular_signals_within_its_pixelation(static, beam) -> None:
    """With 1 mrad pixels a 10 to 36 mrad ring is within 2 % of ``simulate``."""
    camera, ring = PixelatedDetector(shape=(80, 80), outer_mrad=40), AnnularDetector(inner_mrad=10, outer_mrad=36)
    data = simulate(static, beam, SCAN, detectors=(camera, ring))
    np.testing.assert_allclose(pattern_analysis.virtual(data["pixelated"], ring), data[ring.name], rtol=0.02)


def test_the_scattering_matrix_gives_what_multislice_gives(thermal, beam) -> None:
    """Patterns of thermal specimens by both engines agree within 1e-5 of the brightest pixel; results say which engine and how exact."""
    camera = PixelatedDetector(shape=(32, 48), outer_mrad=35)
    blurred = dataclasses.replace(beam, source_size_angstrom=0.1, focal_spread_angstrom=10)
    made = [simulate(thermal, blurred, SCAN, detectors=(camera,), phonons=2, engine=name) for name in ("operator", "multislice")]
    ours, exact = (data["pixelated"].to_numpy() for data in made)
    assert np.abs(ours - exact).max() < 1e-5 * exact.max()
    assert made[0].attrs["engine"] == "operator"
    assert "reference" in made[1].attrs["engine_error"]


def test_a_point_gives_one_pattern(static, beam) -> None:
    """CBED: a PathScan of one point has dims (point, ky, kx) and is the raster's pattern there; without tails one probe goes by multislice."""
    camera = PixelatedDetector(shape=(32, 32), outer_mrad=35)
    y, x = SCAN.positions()[1, 2][::-1]
    point = PathScan(positions_angstrom=np.array([[x, y]]))
    alone = simulate(static, beam, point, detectors=camera, antialias=False)
    raster = simulate(static, beam, SCAN, detectors=camera, engine="operator", antialias=False)
    assert alone["pixelated"].dims == ("point", "ky", "kx")
    assert alone.attrs["engine"] == "multislice"
    np.testing.assert_allclose(alone["pixelated"][0], raster["pixelated"][1, 2], atol=1e-5 * float(raster["pixelated"].max()))


def test_vacuum_gives_the_aperture(nothing, beam) -> None:
    """Without a specimen every pattern is the bright-field disc: evenly filled, its edge at the convergence, the whole beam in it."""
    camera = PixelatedDetector(shape=(60, 60), outer_mrad=30)
    data = simulate(nothing, beam, RasterScan(shape=(2, 2), field_of_view_angstrom=(1, 1)), detectors=(camera,))["pixelated"]
    angle = np.hypot(data["ky"], data["kx"])
    inside = data.where(angle < 17.5).mean(("y", "x"))
    per_pixel = camera.pixel_mrad**2 / (math.pi * beam.semiangle_mrad**2)
    assert float(inside.max() / inside.min()) == pytest.approx(1, abs=1e-5)
    assert float(inside.mean()) == pytest.approx(per_pixel, rel=0.02)  # the aperture's edge is one reciprocal pixel wide
    assert float(data.where(angle > 21.5).max()) < 1e-9
    np.testing.assert_allclose(data.sum(("ky", "kx")), 1, atol=1e-5)


def test_a_tilted_beam_falls_beside_the_middle(static, nothing, beam) -> None:
    """The bright-field disc of a tilted beam is centred on its direction, and detectors beside the camera see the same."""
    tilted = dataclasses.replace(beam, beam_tilt_mrad=(8.0, -3.0))
    camera, ring = PixelatedDetector(shape=(81, 81), outer_mrad=40.5), AnnularDetector(inner_mrad=4, outer_mrad=36)
    scan = RasterScan(shape=(1, 2), field_of_view_angstrom=(1, 1))
    com = pattern_analysis.centre_of_mass(simulate(nothing, tilted, scan, detectors=camera)["pixelated"])
    np.testing.assert_allclose([com["com_x"][0, 0], com["com_y"][0, 0]], [8, -3], atol=1e-3)
    data = simulate(static, tilted, scan, detectors=(camera, ring))
    np.testing.assert_allclose(pattern_analysis.virtual(data["pixelated"], ring), data[ring.name], rtol=5e-3)


def test_a_sparse_scan_has_patterns_where_it_was(static, beam) -> None:
    """Visited points have the raster's patterns, the others NaN; counts are 0 there."""
    mask = np.array([[1, 0, 0], [0, 1, 1]], bool)
    geometry = {"shape": (2, 3), "field_of_view_angstrom": (CELL, CELL)}
    camera = PixelatedDetector(shape=(16, 16), outer_mrad=30)
    sparse = simulate(static, beam, SparseScan(**geometry, mask=mask, pattern="mask"), detectors=(camera, "bf"))
    raster = simulate(static, beam, RasterScan(**geometry), detectors=(camera, "bf"))
    np.testing.assert_array_equal(sparse["pixelated"].to_numpy()[mask], raster["pixelated"].to_numpy()[mask])
    assert np.isnan(sparse["pixelated"].to_numpy()[~mask]).all()
    counts = camera_response.expose(sparse["pixelated"], camera, current_pa=10, dwell_time_us=100, rng=np.random.default_rng(0)).to_numpy()
    assert counts.dtype == np.uint32
    assert not counts[~mask].any()
    assert counts[mask].any(axis=(1, 2)).all()


def test_results_round_trip_through_files(static, beam, tmp_path) -> None:
    """Patterns come back from netCDF with coordinates in A and mrad, and all attributes."""
    data = simulate(static, beam, SCAN, detectors=(PixelatedDetector(shape=(16, 16), outer_mrad=30), "bf"))
    data.to_netcdf(tmp_path / "cube.nc", engine="h5netcdf")
    back = xr.load_dataset(tmp_path / "cube.nc", engine="h5netcdf")
    xr.testing.assert_identical(back, data)
    assert back["ky"].attrs["units"] == "mrad"
    assert back["pixelated"].attrs["energy_ev"] == 200e3


def test_requests_with_cameras_are_files_too(static, beam, tmp_path) -> None:
    """A request with a camera is written and read again."""
    camera = PixelatedDetector(shape=(64, 64), camera_length_mm=100, binning=2)
    request = Request(sample=static, beam=beam, scan=SCAN, detectors=(camera, "haadf"))
    request.save(tmp_path / "request.toml")
    assert Request.load(tmp_path / "request.toml").detectors == (camera, "haadf")


def test_the_named_camera_follows_the_beam(static, beam) -> None:
    """``"pixelated"`` reaches twice the convergence."""
    plan = explain(sample=static, beam=beam, scan=SCAN, detectors="pixelated")
    assert plan.detectors[0].outer_mrad == pytest.approx(40 * 2**0.5)
    assert "scattering matrix" in plan.reason or plan.engine == "multislice"


def test_what_does_not_fit_is_refused_before_any_work(static, beam, monkeypatch) -> None:
    """A cube larger than the memory: shape, size and the way out; no work is done."""
    monkeypatch.setattr(diffraction_patterns, "matrix_for", lambda *_: pytest.fail("worked"))
    monkeypatch.setattr(diffraction_patterns.diffraction, "probe_patterns", lambda *_: pytest.fail("worked"))
    large = RasterScan(shape=(4096, 4096), field_of_view_angstrom=(CELL, CELL))
    with pytest.raises(SettingsError, match=r"4096 x 4096 x 128 x 128 take 1024\.0 GiB.*save_patterns"):
        simulate(static, beam, large, detectors="pixelated")
    monkeypatch.setattr(memory, "fits", lambda needed: needed < 0)
    with pytest.raises(SettingsError, match="GiB of memory"):
        simulate(static, beam, SCAN, detectors="pixelated")


def test_wrong_requests_are_refused(static, beam) -> None:
    """Engines without patterns; corners beyond the grid; depths."""
    with pytest.raises(SettingsError, match="exit face only"):
        simulate(static, beam, SCAN, detectors="pixelated", depths_angstrom=(1.0, 2.0), engine="multislice")
    with pytest.raises(SettingsError, match="engine='local' does not compute diffraction patterns"):
        simulate(static, beam, SCAN, detectors="pixelated", engine="local")
    with pytest.raises(SamplingError, match="of pixelated exceeds the largest angle"):
        simulate(static, beam, SCAN, detectors=PixelatedDetector(outer_mrad=150), sampling_angstrom=0.06)


def test_a_cell_that_does_not_repeat_says_what_it_resolves(make_perovskite, beam) -> None:
    """A specimen that is not periodic has one window: a finer camera repeats its pixels, and the notes say so."""
    block = make_perovskite(4, 1, sigma=None, periodic=False)
    scan = PathScan(positions_angstrom=np.array([[7.8, 7.8]]))
    found = explain(sample=block, beam=beam, scan=scan, detectors=PixelatedDetector(shape=(128, 128), outer_mrad=30))
    assert any("coarser than the camera" in note for note in found.notes)


def test_counts_follow_current_and_time(static, beam) -> None:
    """Counts of an exposure have the mean of signal times current times time over e, and come back equal for an equal generator."""
    camera = PixelatedDetector(shape=(32, 32), outer_mrad=35, quantum_efficiency=0.5)
    data = simulate(static, beam, SCAN, detectors=camera)["pixelated"]
    counts = [camera_response.expose(data, camera, current_pa=20, dwell_time_us=1000, rng=np.random.default_rng(5)) for _ in range(2)]
    xr.testing.assert_identical(*counts)
    expected = float(data.sum()) * 20 * 1e-3 * 6.241509e6 * 0.5
    assert float(counts[0].sum()) == pytest.approx(expected, abs=5 * expected**0.5)
    assert counts[0].attrs["units"] == "counts"
    with pytest.raises(SettingsError, match="do not match this camera"):
        camera_response.expose(data, PixelatedDetector(shape=(16, 16), outer_mrad=35), current_pa=1, dwell_time_us=1, rng=np.random.default_rng(0))
    with pytest.raises(SettingsError, match="overflow"):
        camera_response.expose(data, camera, current_pa=1e5, dwell_time_us=1e6, rng=np.random.default_rng(0))
