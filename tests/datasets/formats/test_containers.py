"""netCDF 3, zarr of both versions and NumPy's files; messages of libraries."""

import logging
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from stemtwin.datasets.formats import read_file
from stemtwin.datasets.formats.library_messages import LIBRARIES, collect_messages
from stemtwin.twin.errors import DatasetError, SettingsError


def image() -> xr.Dataset:
    """Return a small image with coordinates in A."""
    axes = {d: (d, 0.5 * np.arange(n), {"units": "angstrom"}) for d, n in (("y", 4), ("x", 6))}
    return xr.Dataset({"haadf": (("y", "x"), np.arange(24, dtype="f4").reshape(4, 6))}, axes, {"seed": 3})


@pytest.mark.parametrize("form", ["NETCDF3_CLASSIC", "NETCDF3_64BIT", "NETCDF4"])
@pytest.mark.parametrize("lazy", [False, True])
def test_netcdf_of_all_versions(tmp_path: Path, form: Any, lazy: bool) -> None:
    """NetCDF 3, classic and 64-bit, and 4 give the same Dataset, in this machine's byte order."""
    data = image()
    data.to_netcdf(tmp_path / "a.nc", format=form, engine="h5netcdf" if form == "NETCDF4" else "scipy")
    back = read_file(tmp_path / "a.nc", lazy=lazy)
    np.testing.assert_array_equal(back["haadf"], data["haadf"])
    np.testing.assert_array_equal(back["x"], data["x"])
    assert (back["haadf"].dims, back["x"].attrs["units"]) == (("y", "x"), "angstrom")
    assert lazy or back["haadf"].dtype.isnative
    back.close()


def test_netcdf_of_64_bit_data_is_named(tmp_path: Path) -> None:
    """CDF-5 is refused with its name and the repair."""
    (tmp_path / "a.nc").write_bytes(b"CDF\5" + bytes(100))
    with pytest.raises(DatasetError, match=r"a\.nc cannot be read as netCDF: it is netCDF 3 with 64-bit data.*nccopy"):
        read_file(tmp_path / "a.nc")


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("consolidated", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part")
def test_zarr_of_both_versions(tmp_path: Path, version: Any, consolidated: bool, zipped: bool) -> None:
    """Zarr 2 and 3, consolidated or not, as a folder or a zip file: the same Dataset."""
    pytest.importorskip("zarr")
    data, path = image(), tmp_path / "a.zarr"
    data.to_zarr(path, zarr_format=version, consolidated=consolidated)
    if zipped:
        with zipfile.ZipFile(tmp_path / "a.zarr.zip", "w") as file:
            for each in path.rglob("*"):
                if each.is_file():
                    file.write(each, each.relative_to(path))
        path = tmp_path / "a.zarr.zip"
    xr.testing.assert_identical(read_file(path), data)


def test_zarr_without_dimensions_is_refused(tmp_path: Path) -> None:
    """Arrays whose axes have no names: one sentence."""
    zarr: Any = pytest.importorskip("zarr")
    zarr.open_group(tmp_path / "a.zarr", mode="w").create_array("data", shape=(3, 4), dtype="f8")
    with pytest.raises(DatasetError, match=r"a\.zarr cannot be read as zarr"):
        read_file(tmp_path / "a.zarr")


def test_numpy(tmp_path: Path) -> None:
    """Arrays without calibrations: refused, or calibrated by hand; big-endian ones are turned; words are left out, and objects refused."""
    values = np.arange(12, dtype=">f8").reshape(3, 4)
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(SettingsError, match=r"Axis 0 of a in a\.npy has no calibration"):
        read_file(tmp_path / "a.npy")
    array = read_file(tmp_path / "a.npy", calibrations={0: (0.1, "nm"), 1: (0.2, "nm")})["a"]
    assert (array.dims, float(array["x"][1])) == (("y", "x"), pytest.approx(2.0))
    np.testing.assert_array_equal(array, values)
    assert array.dtype.isnative
    np.savez(tmp_path / "b.npz", haadf=values, note=np.array("words"))
    assert list(read_file(tmp_path / "b.npz", calibrations="pixels").data_vars) == ["haadf"]
    np.save(tmp_path / "c.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DatasetError, match=r"c\.npy cannot be read as NumPy's arrays"):
        read_file(tmp_path / "c.npy")


def test_libraries_are_silent(capfd: pytest.CaptureFixture[str]) -> None:
    """What a library logs or warns goes into the list, once and in one line, and nothing to the screen; afterwards its log is as before."""
    handler = logging.StreamHandler()
    logger = logging.getLogger("tifffile")
    logger.addHandler(handler)
    try:
        with collect_messages("rsciio") as messages:
            for _ in range(2):
                logging.getLogger("rsciio.msa._api").error("the value %s\nwith more", "10,0")
            logging.getLogger("rsciio.msa._api").info("of no weight")
            logger.warning("missing data")
            warnings.warn("padded by zeros", UserWarning, stacklevel=1)
            warnings.warn("old", DeprecationWarning, stacklevel=1)
        assert messages == ["rsciio: the value 10,0", "tifffile: missing data", "warning: padded by zeros"]
        assert capfd.readouterr() == ("", "")
        assert handler in logger.handlers
        assert all(logging.getLogger(name).propagate for name in LIBRARIES)
    finally:
        logger.removeHandler(handler)


def test_what_a_reader_could_not_understand_is_noted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A file that its library complains of: nothing on the screen, and a note in the attributes."""
    pytest.importorskip("rsciio", reason="RosettaSciIO is not installed: pip install 'stemtwin[formats]'")
    from rsciio import blockfile

    values = np.arange(2 * 2 * 4 * 4, dtype="u1").reshape(2, 2, 4, 4)
    units = {"y": "nm", "x": "nm", "dy": "cm", "dx": "cm"}
    axes = [
        {"name": name, "size": size, "scale": 1.0, "offset": 0.0, "units": unit, "navigate": unit == "nm"}
        for (name, unit), size in zip(units.items(), values.shape, strict=True)
    ]
    about = {"metadata": {"General": {"title": "a"}, "Signal": {}}, "original_metadata": {}, "attributes": {"_lazy": False}}
    signal = {"data": values, "axes": axes, **about}
    blockfile.file_writer(str(tmp_path / "a.blo"), signal, intensity_scaling=None, navigator=np.zeros((2, 2)), show_progressbar=False)
    (tmp_path / "a.blo").write_bytes((tmp_path / "a.blo").read_bytes()[:-22])
    capfd.readouterr()
    data = read_file(tmp_path / "a.blo", calibrations={2: (0.4, "mrad"), 3: (0.4, "mrad")})
    assert "larger than file size" in data.attrs["import_note"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("ending", "begin"), [("hspy", 512), ("emd", 512)])
def test_hdf5_may_begin_later(tmp_path: Path, ending: str, begin: int) -> None:
    """HDF5 may have a block of the user's before it, and is read all the same."""
    pytest.importorskip("rsciio", reason="RosettaSciIO is not installed: pip install 'stemtwin[formats]'")
    import h5py

    with h5py.File(tmp_path / f"a.{ending}", "w", userblock_size=begin) as file:
        group = file.create_group("Experiments/a" if ending == "hspy" else "data/a")
        group["data"] = np.arange(12.0).reshape(3, 4)
        if ending == "hspy":
            file.attrs["file_format"], file.attrs["file_format_version"] = "HyperSpy", "3.3"
            for i, size in enumerate((3, 4)):
                axis = {"name": "yx"[i], "scale": 0.5, "offset": 0.0, "size": size, "units": "nm", "index_in_array": i, "navigate": False}
                group.create_group(f"axis-{i}").attrs.update(axis)
            for each in ("metadata", "original_metadata", "learning_results"):
                group.create_group(each)
            group["metadata"].create_group("General").attrs["title"] = "a"
        else:
            group.attrs["emd_group_type"] = 1
            for i, size in enumerate((3, 4)):
                group[f"dim{i + 1}"] = 0.5 * np.arange(size)
                group[f"dim{i + 1}"].attrs.update({"name": "yx"[i], "units": "nm"})
    (array,) = read_file(tmp_path / f"a.{ending}").data_vars.values()
    np.testing.assert_array_equal(array, np.arange(12.0).reshape(3, 4))
    assert float(array["x"][1]) == pytest.approx(5.0)
