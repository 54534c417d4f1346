"""Files of other programs and of microscopes as our own Datasets."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stemtwin.datasets.formats import read_file, save
from stemtwin.datasets.formats.units import unit_of
from stemtwin.twin.errors import DatasetError, SettingsError


def rosetta() -> None:
    """Skip where RosettaSciIO is missing."""
    pytest.importorskip("rsciio", reason="RosettaSciIO is not installed: pip install 'stemtwin[formats]'")


@pytest.mark.parametrize(
    ("written", "ours"),
    [
        ("nm", ("angstrom", 10.0)),
        ("\u00c5", ("angstrom", 1.0)),
        ("\u00b5m", ("angstrom", 1e4)),
        ("1/nm", ("1/angstrom", 0.1)),
        ("nm^-1", ("1/angstrom", 0.1)),
        ("A^-1", ("1/angstrom", 1.0)),
        ("1/\u212b", ("1/angstrom", 1.0)),
        ("mrad", ("mrad", 1.0)),
        ("keV", ("eV", 1e3)),
        ("1 / \u00b5m", ("1/angstrom", 1e-4)),
        ("nm\u207b\u00b9", ("1/angstrom", 0.1)),
        ("Energy Loss (eV)", ("eV", 1.0)),
        ("\\u00B5m", ("angstrom", 1e4)),
        ("\u00c2\u00b5m", ("angstrom", 1e4)),
        ("microns", ("angstrom", 1e4)),
        ("Nanometers", ("angstrom", 10.0)),
        ("\u00c5ngstr\u00f6m", ("angstrom", 1.0)),
        ("nm/pixel", ("angstrom", 10.0)),
        ("[n_m]", ("angstrom", 10.0)),
        ("[n_m^-1]", ("1/angstrom", 0.1)),
        ("1/(nm)", ("1/angstrom", 0.1)),
        ("q (1/nm)", ("1/angstrom", 0.1)),
        ("$nm^{-1}$", ("1/angstrom", 0.1)),
        ("1/angstroms", ("1/angstrom", 1.0)),
        ("MeV", ("eV", 1e6)),
        ("seconds", ("s", 1.0)),
        ("", None),
        ("pixel", None),
        ("[]", None),
        (None, None),
        ("furlong", None),
    ],
)
def test_units_as_files_write_them(written: str | None, ours: tuple[str, float] | None) -> None:
    """Each way of writing a unit is the same unit; none is none."""
    assert unit_of(written) == ours


def mrc(path: Path, values: np.ndarray, cell: tuple[float, float, float]) -> None:
    """Write an MRC2014 file (Cheng et al., J. Struct. Biol. 192 (2015) 146) by hand: float32, cell in A."""
    nz, ny, nx = values.shape
    header = bytearray(1024)
    struct.pack_into("<10i", header, 0, nx, ny, nz, 2, 0, 0, 0, nx, ny, nz)
    struct.pack_into("<6f", header, 40, *cell, 90, 90, 90)
    struct.pack_into("<3i", header, 64, 1, 2, 3)
    header[208:212], header[212:216] = b"MAP ", bytes([0x44, 0x44, 0, 0])
    path.write_bytes(bytes(header) + values.astype("<f4").tobytes())


def mib(path: Path, values: np.ndarray) -> None:
    """Write frames of a Merlin detector by hand: a text header of 384 bytes before each, 16 bits, big-endian, upside down."""
    frames = b""
    for i, frame in enumerate(values):
        head = f"MQ1,{i + 1:06d},00384,01,{frame.shape[1]:04d},{frame.shape[0]:04d},U16,   1x1,01,"
        head += "2020-05-18 16:51:49.971626,0.001000,0,0,0,1.2E+2,5.11E+2,MQ1A,2020-05-18T15:51:49.971626178Z,1000000ns,12,"
        frames += head.ljust(384).encode() + frame[::-1].astype(">u2").tobytes()
    path.write_bytes(frames)


def test_mrc(tmp_path: Path) -> None:
    """An image stack with a cell of 10 x 8 A: pixels in A, axes in the order y, x."""
    rosetta()
    values = np.random.default_rng(0).random((1, 16, 20))
    mrc(tmp_path / "image.mrc", values, (10.0, 8.0, 1.0))
    data = read_file(tmp_path / "image.mrc")
    (array,) = data.data_vars.values()
    array = array.squeeze()
    np.testing.assert_allclose(array, values[0], rtol=1e-6)
    assert array.dims[-2:] == ("y", "x")
    assert float(array["x"][1] - array["x"][0]) == pytest.approx(0.5)
    assert array["y"].attrs["units"] == "angstrom"


def test_a_camera_without_calibration_needs_one(tmp_path: Path) -> None:
    """MIB files know no angles: the reader says which axis lacks what; given calibrations or pixels are taken."""
    rosetta()
    values = np.arange(3 * 8 * 8).reshape(3, 8, 8)
    mib(tmp_path / "scan.mib", values)
    with pytest.raises(SettingsError, match=r"has no calibration.*calibrations=.*or calibrations=\"pixels\""):
        read_file(tmp_path / "scan.mib")
    pixels = read_file(tmp_path / "scan.mib", calibrations="pixels")
    (array,) = pixels.data_vars.values()
    np.testing.assert_array_equal(array, values)
    told = {0: (0.2, "nm"), 1: (0.5, "mrad"), 2: (0.5, "mrad")}
    (array,) = read_file(tmp_path / "scan.mib", calibrations=told).data_vars.values()
    assert array.dims == ("x", "ky", "kx")
    assert array["x"].to_numpy()[1] == pytest.approx(2.0)
    with pytest.raises(SettingsError, match="'furlong' of axis 0 is not known"):
        read_file(tmp_path / "scan.mib", calibrations={0: (1.0, "furlong")})


def test_blockfiles_keep_both_scales(tmp_path: Path) -> None:
    """A BLO file has the scan's step in nm and the patterns' in 1/cm or mrad; the counts come back."""
    rosetta()
    from rsciio import blockfile

    values = np.random.default_rng(1).integers(0, 255, (3, 4, 16, 16), dtype=np.uint8)
    names, units = ("y", "x", "dy", "dx"), ("nm", "nm", "cm", "cm")
    axes = [
        {"name": n, "size": s, "scale": 0.5, "offset": 0.0, "units": u, "navigate": i < 2}
        for i, (n, s, u) in enumerate(zip(names, values.shape, units, strict=True))
    ]
    signal = {
        "data": values,
        "axes": axes,
        "metadata": {"General": {"title": "blo"}, "Signal": {}},
        "original_metadata": {},
        "attributes": {"_lazy": False},
    }
    blockfile.file_writer(str(tmp_path / "scan.blo"), signal, intensity_scaling=None, navigator=np.zeros((3, 4)), show_progressbar=False)
    data = read_file(tmp_path / "scan.blo", calibrations={2: (0.4, "mrad"), 3: (0.4, "mrad")})
    array = next(a for a in data.data_vars.values() if a.ndim == 4)
    assert array.dims == ("y", "x", "ky", "kx")
    np.testing.assert_array_equal(array, values)
    assert array["x"].to_numpy()[1] == pytest.approx(5.0, rel=1e-6)


@pytest.mark.parametrize("ending", ["dm3", "dm4", "emd", "mrc", "mib", "blo", "hspy", "nc", "hf5", "h5", "ser", "emi", "tif", "msa"])
def test_another_format_under_a_right_name_is_refused(tmp_path: Path, ending: str) -> None:
    """Text under a microscope's ending: the message names file and format; nothing else escapes."""
    rosetta()
    path = tmp_path / f"wrong.{ending}"
    path.write_text("this is no such file\n" * 40)
    with pytest.raises(DatasetError, match=rf"wrong\.{ending} (cannot be read as|holds no)"):
        read_file(path)


@pytest.mark.parametrize(
    ("name", "dims", "steps", "kind"),
    [
        ("case-06.tif", ("y", "x"), (0.2, 0.2), "u2"),
        ("case-08.emd", ("y", "x"), (5.0, 2.5), "u2"),
        ("case-12.msa", ("energy",), (10.0,), "f8"),
        ("case-15.mrc", ("y", "x"), (0.25, 0.5), "f4"),
    ],
)
def test_files_as_people_have_them(
    real_file: Callable[[str], Path], capfd: pytest.CaptureFixture[str], name: str, dims: tuple[str, ...], steps: tuple[float, ...], kind: str
) -> None:
    """Dimensions, steps and values of files after public reports of faults; nothing is written to the screen."""
    rosetta()
    path = real_file(f"files/{name}")
    (array,) = read_file(path).data_vars.values()
    assert (array.dims, array.dtype) == (dims, np.dtype(kind))
    assert [float(array[dim][1] - array[dim][0]) for dim in dims] == pytest.approx(steps)
    np.testing.assert_array_equal(array, np.arange(1.5, 5) if name.endswith("msa") else np.arange(120).reshape(12, 10))
    assert capfd.readouterr() == ("", "")


def test_a_real_file_without_voxel_size(real_file: Callable[[str], Path]) -> None:
    """Refused as uncalibrated, and read with calibrations."""
    path = real_file("files/case-10.mrc")
    with pytest.raises(SettingsError, match=r"case-10\.mrc has no calibration \(the voxel size in its header is 0\)"):
        read_file(path)
    (array,) = read_file(path, calibrations={0: (0.5, "nm"), 1: (0.25, "nm")}).data_vars.values()
    np.testing.assert_array_equal(array, np.arange(120).reshape(12, 10))
    assert (float(array["y"][1]), float(array["x"][1])) == pytest.approx((5.0, 2.5))


def test_missing_files_and_unknown_endings_are_refused(tmp_path: Path) -> None:
    """With what to do."""
    with pytest.raises(DatasetError, match="does not exist"):
        read_file(tmp_path / "none.dm4")
    (tmp_path / "a.docx").write_text("")
    with pytest.raises(SettingsError, match=r"no reader for the ending of .*a\.docx"):
        read_file(tmp_path / "a.docx")


@pytest.mark.parametrize("ending", ["tif", "mrc", "msa", "dm4", "npy", "emd", "nc"])
def test_folders_and_empty_files_are_refused(tmp_path: Path, ending: str) -> None:
    """A folder under a file's name, or a file of no bytes: one sentence with the name."""
    rosetta()
    (tmp_path / f"a.{ending}").mkdir()
    (tmp_path / f"b.{ending}").write_bytes(b"")
    with pytest.raises(DatasetError, match=rf"a\.{ending} is a folder"):
        read_file(tmp_path / f"a.{ending}")
    with pytest.raises(DatasetError, match=rf"b\.{ending} cannot be read as"):
        read_file(tmp_path / f"b.{ending}")


def test_hdf5_that_is_something_else_is_refused(tmp_path: Path) -> None:
    """HDF5 without NSID, EMD or netCDF in it."""
    import h5py

    for name in ("a.hf5", "a.h5", "a.nc", "a.hspy", "a.emd"):
        with h5py.File(tmp_path / name, "w") as file:
            file["data"] = np.zeros(3)
        with pytest.raises((DatasetError, SettingsError), match=name):
            read_file(tmp_path / name)


def test_attributes_that_are_spoilt_are_refused(tmp_path: Path) -> None:
    """A file of ours whose settings are no longer what was written."""
    rosetta()
    import h5py
    import xarray as xr

    image = xr.DataArray(np.zeros((2, 3)), {d: (d, np.arange(n), {"units": "angstrom"}) for d, n in (("y", 2), ("x", 3))}, ("y", "x"), "haadf")
    path = save(image, tmp_path / "image.hspy")
    with h5py.File(path, "r+") as file:
        file["Experiments/haadf/original_metadata/stemtwin"].attrs["attributes"] = '{"dataset": '
    with pytest.raises(DatasetError, match=r"image\.hspy cannot be read as hspy"):
        read_file(path)
