"""Results in the formats that others read: written by each format's library, read back by it, calibrations and metadata right."""

import dataclasses
import json
import shutil
import warnings
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from stemtwin.datasets.formats import file_formats, read_file, save
from stemtwin.datasets.formats.file_formats import FORMATS, Format
from stemtwin.twin.errors import DatasetError, SettingsError, UnknownNameError


def coordinate(dim: str, offset: float, step: float, count: int, units: str) -> tuple:
    """A coordinate with a unit."""
    return dim, offset + step * np.arange(count), {"units": units}


@pytest.fixture
def result() -> xr.Dataset:
    """Patterns, an image and spectra of one raster, as simulations give them."""
    rng = np.random.default_rng(0)
    ny, nx = 4, 5
    return xr.Dataset(
        {
            "pixelated": (
                ("y", "x", "ky", "kx"),
                rng.random((ny, nx, 6, 8), np.float32),
                {"units": "1", "long_name": "fraction of the beam", "semiangle_mrad": 20.0},
            ),
            "haadf": (("y", "x"), rng.random((ny, nx), np.float32), {"units": "1", "inner_mrad": 60.0, "outer_mrad": 200.0}),
            "eels": (("y", "x", "energy"), rng.poisson(50, (ny, nx, 64)).astype(np.uint32), {"units": "counts", "collection_mrad": 36.0}),
            "edx": (("y", "x", "x_ray_energy"), rng.poisson(5, (ny, nx, 32)).astype(np.uint32), {"units": "counts"}),
        },
        {
            "y": coordinate("y", 1.0, 0.5, ny, "angstrom"),
            "x": coordinate("x", -2.0, 0.5, nx, "angstrom"),
            "ky": coordinate("ky", -5.0, 2.0, 6, "mrad"),
            "kx": coordinate("kx", -7.0, 2.0, 8, "mrad"),
            "energy": coordinate("energy", 400.0, 0.25, 64, "eV"),
            "x_ray_energy": coordinate("x_ray_energy", 0.0, 10.0, 32, "eV"),
        },
        {
            "title": "a result",
            "energy_ev": 200e3,
            "semiangle_mrad": 21.0,
            "sample": "srtio3-001",
            "current_pa": 50.0,
            "stemtwin_version": "0.1.0",
            "stemtwin_settings": json.dumps({"seed": 1}),
        },
    )


def only(name: str) -> None:
    """Skip where a package of the extra formats is missing."""
    pytest.importorskip(name, reason=f"{name} is not installed: pip install 'stemtwin[formats]'")


@pytest.mark.parametrize("ending", [".nc", ".zarr"])
def test_netcdf_and_zarr_come_back_identical(result: xr.Dataset, tmp_path: Path, ending: str) -> None:
    """All variables, coordinates and attributes, with their types."""
    if ending == ".zarr":
        only("zarr")
    path = save(result, tmp_path / f"result{ending}")
    xr.testing.assert_identical(read_file(path), result)
    native = xr.load_dataset(path, engine="h5netcdf") if ending == ".nc" else xr.open_zarr(path, zarr_format=2).load()
    xr.testing.assert_identical(native, result)


def test_hugging_face_reads_the_parquet(result: xr.Dataset, tmp_path: Path) -> None:
    """Rows along the scan's slow axis with typed features; calibrations stand in the schema."""
    import datasets as hf
    import pyarrow.parquet as pq

    path = save(result, tmp_path / "cube.parquet", variable="pixelated")
    rows = hf.Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache")).with_format("numpy")
    assert rows.features["pixelated"] == hf.Array3D((5, 6, 8), "float32")
    np.testing.assert_array_equal(np.stack([np.asarray(row["pixelated"]) for row in rows]), result["pixelated"])
    told = json.loads(pq.read_schema(path).metadata[b"stemtwin"])
    assert told["axes"][1] == ["x", 5, -2.0, 0.5, "angstrom"]
    assert told["dataset"]["energy_ev"] == 200e3
    single = save(result, tmp_path / "image.parquet", variable="haadf")
    image = hf.Dataset.from_parquet(str(single), cache_dir=str(tmp_path / "cache")).with_format("numpy")
    np.testing.assert_array_equal(np.asarray(image[0]["haadf"]), result["haadf"])


def test_scifireaders_reads_the_nsid(result: xr.Dataset, tmp_path: Path) -> None:
    """SciFiReaders finds every variable as a channel, of the right type, with dimensions in the right units."""
    only("sidpy")
    only("pyNSID")
    path = save(result, tmp_path / "result.hf5")
    readers = pytest.importorskip("SciFiReaders", reason="SciFiReaders is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own deprecations
        channels = readers.NSIDReader(str(path)).read()
    found = {channel.title.split("/")[-1]: channel for channel in channels.values()}
    assert set(found) == set(result.data_vars)
    assert {name: channel.data_type.name for name, channel in found.items()} == {
        "pixelated": "IMAGE_4D",
        "haadf": "IMAGE",
        "eels": "SPECTRAL_IMAGE",
        "edx": "SPECTRAL_IMAGE",
    }
    for name, channel in found.items():
        np.testing.assert_array_equal(np.asarray(channel), result[name])
        for i, dim in enumerate(result[name].dims):
            axis = channel._axes[i]
            np.testing.assert_allclose(axis.values, result[dim])
            assert (axis.name, axis.units) == (dim, result[dim].attrs["units"])
    assert found["eels"]._axes[2].dimension_type.name == "SPECTRAL"
    assert found["pixelated"]._axes[3].dimension_type.name == "RECIPROCAL"
    assert found["haadf"].metadata["energy_ev"] == 200e3


@pytest.mark.parametrize("ending", [".hf5", ".emd"])
def test_files_with_room_for_all_come_back_with_everything(result: xr.Dataset, tmp_path: Path, ending: str) -> None:
    """Our own reader gets values, coordinates and attributes of all variables back from NSID and from EMD."""
    only({".hf5": "pyNSID", ".emd": "emdfile"}[ending])
    back = read_file(save(result, tmp_path / f"result{ending}"))
    assert set(back.data_vars) == set(result.data_vars)
    for name in ("pixelated", "haadf", "eels"):
        xr.testing.assert_allclose(back[name], result[name], rtol=1e-12)
        assert back[name].attrs == result[name].attrs
        assert back[name].dtype == result[name].dtype
        assert all(back[d].attrs["units"] == result[d].attrs["units"] for d in result[name].dims)
    assert back.attrs == result.attrs


@pytest.mark.parametrize("name", ["pixelated", "haadf", "eels", "edx"])
def test_rosettasciio_reads_the_hspy(result: xr.Dataset, tmp_path: Path, name: str) -> None:
    """RosettaSciIO reads axes, signal type and microscope; our reader gets the array back identical."""
    only("rsciio")
    from rsciio import hspy

    path = save(result, tmp_path / "one.hspy", variable=name)
    (signal,) = hspy.file_reader(str(path))
    np.testing.assert_array_equal(signal["data"], result[name])
    for axis, dim in zip(signal["axes"], result[name].dims, strict=True):
        assert (axis["name"], axis["units"], axis["size"]) == (dim, result[dim].attrs["units"], result.sizes[dim])
        assert axis["offset"] == pytest.approx(float(result[dim][0]))
        assert axis["scale"] == pytest.approx(float(result[dim][1] - result[dim][0]))
    assert signal["metadata"]["Signal"]["signal_type"] == {"eels": "EELS", "edx": "EDS_TEM"}.get(name, "")
    assert signal["metadata"]["Acquisition_instrument"]["TEM"]["beam_energy"] == 200
    xr.testing.assert_allclose(read_file(path)[name].rename(None), result[name].rename(None))


def test_hyperspy_and_exspy_open_what_was_written(result: xr.Dataset, tmp_path: Path) -> None:
    """HyperSpy finds navigation and signal axes; eXSpy's classes know energy, convergence and collection angles."""
    only("rsciio")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # their own deprecations
        hs = pytest.importorskip("hyperspy.api", reason="HyperSpy is not installed")
        pytest.importorskip("exspy", reason="eXSpy is not installed")
        opened = {name: hs.load(str(save(result, tmp_path / f"{name}.hspy", variable=name))) for name in result.data_vars}
    assert {name: type(signal).__name__ for name, signal in opened.items()} == {
        "pixelated": "Signal2D",
        "haadf": "Signal2D",
        "eels": "EELSSpectrum",
        "edx": "EDSTEMSpectrum",
    }
    assert opened["pixelated"].axes_manager.navigation_shape == (5, 4)
    assert opened["pixelated"].axes_manager.signal_shape == (8, 6)
    eels = opened["eels"]
    assert eels.axes_manager[-1].offset == 400
    assert eels.metadata.Acquisition_instrument.TEM.convergence_angle == 21
    assert eels.metadata.Acquisition_instrument.TEM.Detector.EELS.collection_angle == 36
    np.testing.assert_array_equal(eels.data, result["eels"])


def test_zspy_is_written_or_refused_with_the_reason(result: xr.Dataset, tmp_path: Path) -> None:
    """RosettaSciIO writes .zspy with zarr 2 only: with zarr 3 the message says so, and nothing is left behind."""
    only("rsciio")
    zarr = pytest.importorskip("zarr", reason="zarr is not installed")
    if int(zarr.__version__.split(".")[0]) > 2:
        with pytest.raises(DatasetError, match=r"zarr 2, but zarr 3.* is installed.*Use \.hspy"):
            save(result, tmp_path / "one.zspy", variable="haadf")
        assert list(tmp_path.iterdir()) == []
    else:
        path = save(result, tmp_path / "one.zspy", variable="eels")
        xr.testing.assert_allclose(read_file(path)["eels"].rename(None), result["eels"].rename(None))
        hs = pytest.importorskip("hyperspy.api", reason="HyperSpy is not installed")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # their own deprecations
            assert type(hs.load(str(path))).__name__ == "EELSSpectrum"


def test_emd_holds_what_py4dstem_looks_for(result: xr.Dataset, tmp_path: Path) -> None:
    """An EMD 1.0 tree: a DataCube with axes Rx, Ry, Qx, Qy, its Calibration at the root, the optic axis in pixels; images below it.

    ``make foreign`` has py4DSTEM read one: its releases need numpy 1, so that it cannot be installed beside.
    """
    only("emdfile")
    import h5py

    path = save(result, tmp_path / "cube.emd")
    with h5py.File(path) as file:
        assert (file.attrs["emd_group_type"], file.attrs["version_major"]) == ("file", 1)
        cube = file["stemtwin/pixelated"]
        assert (cube.attrs["emd_group_type"], cube.attrs["python_class"]) == ("array", "DataCube")
        np.testing.assert_array_equal(cube["data"], result["pixelated"])
        assert [cube[f"dim{i}"].attrs["name"] for i in range(4)] == ["Rx", "Ry", "Qx", "Qy"]
        scale = file["stemtwin/metadatabundle/calibration"]
        assert scale.attrs["python_class"] == "Calibration"
        values = {name: scale[name][()] for name in ("R_pixel_size", "Q_pixel_size", "R_pixel_units", "Q_pixel_units", "qx0_mean", "qy0_mean")}
        assert values == {"R_pixel_size": 0.5, "Q_pixel_size": 2.0, "R_pixel_units": b"A", "Q_pixel_units": b"mrad", "qx0_mean": 2.5, "qy0_mean": 3.5}
        np.testing.assert_array_equal(cube["haadf/data"], result["haadf"])


@pytest.mark.parametrize("ending", [".hspy", ".hf5", ".emd"])
@pytest.mark.parametrize("single", [False, True])
def test_spectra_along_a_path_know_where_they_are(tmp_path: Path, ending: str, single: bool) -> None:
    """Places that are no axes, x and y of each point, or of one, come back with their units."""
    only({".hspy": "rsciio", ".hf5": "pyNSID", ".emd": "emdfile"}[ending])
    dims, count = ((), ()) if single else (("point",), (3,))
    rng = np.random.default_rng(2)
    data = xr.Dataset(
        {"eels": ((*dims, "energy"), rng.random((*count, 16)), {"units": "counts"})},
        {axis: (dims, rng.random(count), {"units": "angstrom"}) for axis in "xy"} | {"energy": coordinate("energy", 400.0, 0.5, 16, "eV")},
    )
    back = read_file(save(data, tmp_path / f"path{ending}"))
    xr.testing.assert_allclose(back.eels.drop_vars("point", errors="ignore"), data.eels)
    assert back.x.attrs["units"] == "angstrom"


def test_writes_are_whole_or_not_there(result: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that fails in the middle leaves the old file as it was and no other; names that are taken need overwrite=True."""
    path = save(result, tmp_path / "result.nc")
    before = path.read_bytes()

    def breaks(_: xr.Dataset, to: Path) -> None:
        to.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(DatasetError, match="exists already"):
        save(result, path)
    monkeypatch.setitem(FORMATS._things, "netcdf", Format(suffixes=(".nc",), write=breaks))
    with pytest.raises(DatasetError, match="No space left on device"):
        save(result, path, overwrite=True)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["result.nc"]


@pytest.mark.parametrize("form", FORMATS)
def test_places_that_take_no_file_are_found_before_the_writer_begins(
    form: str, result: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beneath a file and in a folder of the system: one sentence, no library is asked; where HDF5 writes, which a full disk makes crash, room too."""
    usage = namedtuple("Usage", "total used free")
    (tmp_path / "file").write_bytes(b"x")
    kind = dataclasses.replace(FORMATS[form], write=lambda *_: pytest.fail("the writer began"), needs=())
    monkeypatch.setitem(FORMATS._things, form, kind)
    for folder in (tmp_path / "file" / "x", Path("/proc/self")):
        with pytest.raises(DatasetError, match=r"cannot be written: .*(is a file|does not accept new files)"):
            save(result, folder / f"a{kind.suffixes[0]}", variable="haadf")
    if kind.hdf5:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**30, 2**30, 2**17))
        with pytest.raises(DatasetError, match=r"needs 2\d\d KiB, but 95% of the free space at .* is 122 KiB"):
            save(result, tmp_path / f"a{kind.suffixes[0]}", variable="haadf")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_folder_can_be_replaced(result: xr.Dataset, tmp_path: Path) -> None:
    """Overwriting a zarr folder leaves the new one only."""
    only("zarr")
    path = save(result, tmp_path / "result.zarr")
    xr.testing.assert_identical(read_file(save(result[["haadf"]], path, overwrite=True)), result[["haadf"]])
    assert [p.name for p in tmp_path.iterdir()] == ["result.zarr"]


def test_what_cannot_be_written_is_refused(result: xr.Dataset, tmp_path: Path) -> None:
    """Unknown endings and formats, several variables in one file, missing calibrations, uneven axes, rectangular pixels: no file is left."""
    only("emdfile")
    only("rsciio")
    with pytest.raises(SettingsError, match=r"is not that of a format. Use one of .*\.nc \(netcdf\)"):
        save(result, tmp_path / "result.xyz")
    with pytest.raises(UnknownNameError, match="Did you mean 'netcdf'"):
        save(result, tmp_path / "result", form="netcd")
    with pytest.raises(SettingsError, match=r"holds one variable.*variable="):
        save(result, tmp_path / "result.hspy")
    with pytest.raises(SettingsError, match="no variable 'bf'"):
        save(result, tmp_path / "result.hspy", variable="bf")
    with pytest.raises(SettingsError, match="dimension y of haadf has no calibration"):
        save(result["haadf"].drop_vars("y"), tmp_path / "result.hspy")
    bare = result.assign_coords(y=("y", result["y"].to_numpy()))
    with pytest.raises(SettingsError, match="coordinate y of pixelated has no unit"):
        save(bare, tmp_path / "result.emd")
    uneven = result.assign_coords(energy=("energy", result["energy"].to_numpy() ** 2, {"units": "eV"}))
    with pytest.raises(SettingsError, match="energy of eels are not evenly spaced"):
        save(uneven, tmp_path / "result.hspy", variable="eels")
    save(uneven, tmp_path / "uneven.nc")
    tall = result.assign_coords(y=("y", 2 * result["y"].to_numpy(), {"units": "angstrom"}))
    with pytest.raises(SettingsError, match=r"square pixels, but those of pixelated are 1 x 0\.5"):
        save(tall, tmp_path / "result.emd")
    assert [p.name for p in tmp_path.iterdir()] == ["uneven.nc"]


@pytest.mark.parametrize("ending", [".parquet", ".hspy"])
def test_the_only_spectrum_needs_no_name(result: xr.Dataset, tmp_path: Path, ending: str) -> None:
    """A spectrum beside quantities of its points is saved; beside an image or a second spectrum it must be named."""
    if ending == ".hspy":
        only("rsciio")
    maps = {"density_O_K": (("y", "x"), np.ones((4, 5)), {"units": "1/angstrom^2"})}
    spectrum = result[["eels"]].assign(maps)
    path = save(spectrum, tmp_path / f"map{ending}")
    assert path.read_bytes() != b""
    if ending == ".hspy":
        np.testing.assert_array_equal(read_file(path)["eels"], result["eels"])
    point = spectrum.isel(y=[0], x=0)
    save(point, tmp_path / f"point{ending}")
    for more, names in ((result[["haadf"]], "eels, density_O_K, haadf"), (result[["edx"]], "eels, density_O_K, edx")):
        with pytest.raises(SettingsError, match=f"holds one variable, but the data have {names}"):
            save(spectrum.assign(more), tmp_path / f"other{ending}")


def test_a_missing_package_is_named(result: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says which package, and how it is installed."""
    monkeypatch.setattr(file_formats.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(DatasetError, match=r"needs the package rsciio.*stemtwin\[formats\]"):
        save(result, tmp_path / "one.hspy", variable="haadf")


@pytest.mark.parametrize("name", list(FORMATS))
def test_every_format_keeps_an_image(result: xr.Dataset, tmp_path: Path, name: str) -> None:
    """Conformance: each registered format has an ending of its own, and an image with its calibrations comes back where we read the format."""
    kind = FORMATS[name]
    assert not {s for other in FORMATS if other != name for s in FORMATS[other].suffixes} & set(kind.suffixes)
    for module in kind.needs:
        only(module)
    if name == "zspy":
        pytest.skip("RosettaSciIO writes it with zarr 2 only: a test of its own")
    for suffix in kind.suffixes:
        path = save(result, tmp_path / f"image{suffix}", variable="haadf")
        if name != "parquet":
            xr.testing.assert_allclose(read_file(path)["haadf"], result["haadf"])
