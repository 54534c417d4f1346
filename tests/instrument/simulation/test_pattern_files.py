"""Cubes on disk: whole or not there, the same as in memory, refused where there is no room."""

import shutil
from collections import namedtuple

import numpy as np
import pytest
import xarray as xr

from stemtwin.twin import files
from stemtwin.twin.errors import DatasetError, SettingsError
from stemtwin.twin.instrument.detectors import PixelatedDetector
from stemtwin.twin.instrument.scan import PathScan, RasterScan
from stemtwin.twin.instrument.simulation import diffraction_patterns, memory, pattern_files
from stemtwin.twin.instrument.simulation.pattern_files import CameraExposure, save_patterns
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.instrument.simulation.simulate import simulate

pytest.importorskip("zarr", reason="zarr is not installed")
CAMERA = PixelatedDetector(shape=(16, 16), outer_mrad=30)
SCAN = RasterScan(shape=(5, 7), field_of_view_angstrom=(3.905, 3.905))


@pytest.fixture
def request_(static, beam) -> Request:
    """A small cube."""
    return Request(sample=static, beam=beam, scan=SCAN, detectors=(CAMERA, "bf"), engine="operator")


def test_the_disk_holds_what_the_memory_would(request_, static, beam, tmp_path, monkeypatch) -> None:
    """Written in pieces of a few points, the cube has the same bits, coordinates and attributes; points of a path too."""
    monkeypatch.setattr(pattern_files, "CHUNK_BYTES", 3 * 1024)
    told: list[int] = []
    save_patterns(request_, tmp_path / "cube.zarr", progress=told.append)
    back = xr.open_zarr(tmp_path / "cube.zarr", zarr_format=2)
    assert back["pixelated"].chunks is not None
    assert max(map(len, back["pixelated"].chunks[:2])) > 1
    xr.testing.assert_equal(back.load(), simulate(static, beam, SCAN, detectors=CAMERA, engine="operator"))
    assert back.attrs["energy_ev"] == 200e3
    assert sum(told) == 35
    path = PathScan(positions_angstrom=np.random.default_rng(0).uniform(0, 3.9, (11, 2)))
    save_patterns(Request(sample=static, beam=beam, scan=path, detectors=CAMERA, engine="operator"), tmp_path / "path.zarr")
    stored = xr.open_zarr(tmp_path / "path.zarr", zarr_format=2).load()
    xr.testing.assert_equal(stored, simulate(static, beam, path, detectors=CAMERA, engine="operator"))


def test_counts_are_written_as_whole_numbers(request_, tmp_path) -> None:
    """Counts have the mean of the exposure, and the same seed gives the same file."""
    for name in ("a", "b"):
        save_patterns(request_, tmp_path / f"{name}.zarr", exposed=CameraExposure(current_pa=10, dwell_time_us=1000, seed=4))
    a, b = (xr.open_zarr(tmp_path / f"{name}.zarr", zarr_format=2).load() for name in ("a", "b"))
    xr.testing.assert_identical(a, b)
    assert a["pixelated"].dtype == np.uint32
    assert float(a["pixelated"].sum(("ky", "kx")).mean()) == pytest.approx(10e-3 * 6.2415e6, rel=0.05)


def test_a_failure_leaves_nothing_behind(request_, tmp_path, monkeypatch) -> None:
    """An error in the middle leaves neither the folder nor half of it."""
    monkeypatch.setattr(pattern_files, "CHUNK_BYTES", 3 * 1024)
    calls, works = [], diffraction_patterns.expected_patterns

    def breaks(*arguments, **settings):
        calls.append(1)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return works(*arguments, **settings)

    monkeypatch.setattr(diffraction_patterns, "expected_patterns", breaks)
    with pytest.raises(KeyboardInterrupt):
        save_patterns(request_, tmp_path / "cube.zarr")
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_overwritten(request_, tmp_path) -> None:
    """An existing name is refused."""
    (tmp_path / "cube.zarr").mkdir()
    with pytest.raises(DatasetError, match="exists already"):
        save_patterns(request_, tmp_path / "cube.zarr")


def test_cubes_larger_than_the_disk_are_refused_before_any_work(static, beam, tmp_path, monkeypatch) -> None:
    """The message has the shape, the size and what is free; nothing is planned, nothing written."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**40, 0, 2**35))
    monkeypatch.setattr(diffraction_patterns, "plan_patterns", lambda *_, **__: pytest.fail("worked"))
    large = Request(sample=static, beam=beam, scan=RasterScan(shape=(4096, 4096), field_of_view_angstrom=(4, 4)), detectors="pixelated")
    with pytest.raises(DatasetError, match=r"4096 x 4096 x 128 x 128 patterns needs 1\.02e\+03 GiB.*30\.4 GiB"):
        save_patterns(large, tmp_path / "cube.zarr")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_takes_no_cube_is_found_before_any_work(request_, tmp_path, monkeypatch) -> None:
    """Beneath a file, nothing is planned."""
    (tmp_path / "file").write_bytes(b"x")
    monkeypatch.setattr(diffraction_patterns, "plan_patterns", lambda *_, **__: pytest.fail("worked"))
    with pytest.raises(DatasetError, match=r"cannot be written: .* is a file, not a folder"):
        save_patterns(request_, tmp_path / "file" / "cube.zarr")


def test_a_cube_larger_than_the_memory_can_be_written(static, beam, monkeypatch) -> None:
    """What ``simulate`` refuses for its size is planned for the disk: only pieces and the scattering matrix must fit."""
    large = Request(sample=static, beam=beam, scan=RasterScan(shape=(512, 512), field_of_view_angstrom=(4, 4)), detectors=CAMERA)
    whole, pieces = (diffraction_patterns.plan_patterns(large, held=held).plan.memory_bytes for held in (True, False))
    assert whole - pieces == 512 * 512 * 16 * 16 * 4
    monkeypatch.setattr(memory, "fits", lambda needed: needed < (whole + pieces) / 2)
    with pytest.raises(SettingsError, match="save_patterns"):
        diffraction_patterns.plan_patterns(large)
    diffraction_patterns.plan_patterns(large, held=False)


def test_requests_without_a_camera_are_refused(static, beam, tmp_path) -> None:
    """There is nothing to write."""
    with pytest.raises(SettingsError, match="no camera"):
        save_patterns(Request(sample=static, beam=beam, scan=SCAN), tmp_path / "cube.zarr")
    assert files.SHARE < 1
