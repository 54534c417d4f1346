"""MRC files of all byte orders and modes, with and without a voxel size."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stemtwin.datasets.formats import read_file
from stemtwin.twin.errors import DatasetError, SettingsError

STAMPS = {"<": b"\x44\x44\0\0", ">": b"\x11\x11\0\0"}


def mrc(path: Path, values: np.ndarray, mode: int, *, order: str = "<", cell: tuple[float, float, float] = (5, 3, 1), **more: Any) -> None:
    """Write a file of values (z, y, x); ``more``: ``extended`` header, its ``kind``, ``put`` of other entries (format, place, values), ``stamp``."""
    header, extended = bytearray(1024), more.get("extended", b"")
    size = values.shape[:3][::-1]
    struct.pack_into(f"{order}10i", header, 0, *size, mode, 0, 0, 0, *size)
    struct.pack_into(f"{order}6f", header, 40, *cell, 90, 90, 90)
    struct.pack_into(f"{order}3i", header, 64, 1, 2, 3)
    struct.pack_into(f"{order}3f", header, 76, 0, -1, -2)  # range and mean that were not found, as MRC2014 has it
    struct.pack_into(f"{order}i", header, 92, len(extended))
    header[104:108], header[208:212], header[212:216] = more.get("kind", b"\0\0\0\0"), b"MAP ", more.get("stamp", STAMPS[order])
    for form, place, *entries in more.get("put", ()):
        struct.pack_into(order + form, header, place, *entries)
    path.write_bytes(bytes(header) + extended + values.astype(values.dtype.newbyteorder(order)).tobytes())


def read(path: Path, **options: Any) -> Any:
    """Return the only array of a file."""
    (array,) = read_file(path, **options).data_vars.values()
    return array


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("stamped", [True, False])
@pytest.mark.parametrize(("mode", "kind"), [(0, "i1"), (1, "i2"), (2, "f4"), (4, "c8"), (6, "u2"), (12, "f2")])
def test_modes_and_byte_orders(tmp_path: Path, order: str, stamped: bool, mode: int, kind: str) -> None:
    """Values and steps are the same in either byte order, with the machine's stamp or without; bytes have signs."""
    values = (np.arange(240).reshape(2, 12, 10) % 200 - (100 if kind != "u2" else 0)).astype(kind)
    mrc(tmp_path / "a.mrc", values, mode, order=order, **({} if stamped else {"stamp": b"\0\0\0\0"}))
    array = read(tmp_path / "a.mrc")
    assert array.dims == ("frame", "y", "x")
    assert array.dtype == np.dtype("f4" if kind == "f2" else kind)
    np.testing.assert_array_equal(array, values)
    assert (float(array["y"][1]), float(array["x"][1])) == pytest.approx((0.25, 0.5))


@pytest.mark.parametrize(
    ("put", "kind"),
    [
        ([("i", 152, 1146047817), ("i", 156, 1)], "i1"),
        ([("i", 152, 1146047817), ("i", 156, 0)], "u1"),
        ([("2f", 76, 0, 255)], "u1"),
        ([("2f", 76, -128, 127)], "i1"),
        ([("2f", 76, 0, 100)], "i1"),
    ],
)
def test_signs_of_bytes(tmp_path: Path, put: list[Any], kind: str) -> None:
    """IMOD's flag tells whether bytes have signs; without it the range in the header, which signed bytes may not exceed."""
    values = np.arange(120, dtype="u1").reshape(1, 12, 10) * 2
    mrc(tmp_path / "a.mrc", values, 0, put=put)
    np.testing.assert_array_equal(read(tmp_path / "a.mrc"), values[0].view(kind))


@pytest.mark.parametrize("cell", [(0, 0, 0), (5, 0, 0), (float("nan"), 3, 1), (-5, 3, 1)])
def test_a_voxel_size_of_zero_is_none(tmp_path: Path, cell: tuple[float, float, float]) -> None:
    """A cell that is 0, negative or not a number: refused, and read with given calibrations or in pixels."""
    values = np.arange(120, dtype="i2").reshape(1, 12, 10)
    mrc(tmp_path / "a.mrc", values, 1, cell=cell)
    with pytest.raises(SettingsError, match=r"a\.mrc has no calibration \(the voxel size in its header is 0\)\. Pass calibrations="):
        read(tmp_path / "a.mrc")
    array = read(tmp_path / "a.mrc", calibrations={0: (0.1, "nm"), 1: (0.2, "nm")})
    np.testing.assert_array_equal(array, values[0])
    assert float(array["y"][1]) == pytest.approx(1.0)
    assert read(tmp_path / "a.mrc", calibrations="pixels").dims == ("y", "x")


@pytest.mark.parametrize("order", "<>")
def test_extended_headers(tmp_path: Path, order: str) -> None:
    """FEI's pixel size, m, in its first extended header and in FEI1, and the voltage in FEI1; another extended header is skipped."""
    values = np.arange(120, dtype="i2").reshape(1, 12, 10)
    old = bytearray(128 * 1024)
    struct.pack_into(f"{order}f", old, 44, 2e-11)
    mrc(tmp_path / "old.mrc", values, 1, order=order, extended=bytes(old), cell=(10, 12, 1))
    new = bytearray(768)
    struct.pack_into(f"{order}d", new, 84, 300e3)
    struct.pack_into(f"{order}2d", new, 156, 2e-11, 4e-11)
    mrc(tmp_path / "new.mrc", values, 1, order=order, extended=bytes(new), kind=b"FEI1", cell=(0, 0, 0))
    mrc(tmp_path / "other.mrc", values, 1, order=order, extended=b"\1" * 320, kind=b"CCP4")
    for name, steps in (("old", (0.2, 0.2)), ("new", (0.4, 0.2)), ("other", (0.25, 0.5))):
        array = read(tmp_path / f"{name}.mrc")
        np.testing.assert_array_equal(array, values[0])
        assert (float(array["y"][1]), float(array["x"][1])) == pytest.approx(steps)
    assert read(tmp_path / "new.mrc").attrs["energy_ev"] == 300e3


def test_columns_along_another_axis(tmp_path: Path) -> None:
    """Columns along y and rows along x, as crystallographers write them: y and x are what the header says."""
    values = np.arange(120, dtype="i2").reshape(1, 12, 10)
    mrc(tmp_path / "a.mrc", values, 1, cell=(12, 20, 1), put=[("3i", 28, 12, 10, 1), ("3i", 64, 2, 1, 3)])
    array = read(tmp_path / "a.mrc")
    assert array.dims == ("y", "x")
    np.testing.assert_array_equal(array, values[0].T)
    assert (float(array["y"][1]), float(array["x"][1])) == pytest.approx((2.0, 1.0))


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    """A file that ends early, or whose header makes no sense in either byte order: one sentence with the numbers."""
    values = np.arange(120, dtype="i2").reshape(1, 12, 10)
    mrc(tmp_path / "a.mrc", values, 1)
    (tmp_path / "a.mrc").write_bytes((tmp_path / "a.mrc").read_bytes()[:-2])
    with pytest.raises(DatasetError, match=r"ends after 1262 of 1264 bytes"):
        read(tmp_path / "a.mrc")
    mrc(tmp_path / "b.mrc", values, 99)
    with pytest.raises(DatasetError, match=r"mode 99 is not valid, neither as little-endian nor as big-endian"):
        read(tmp_path / "b.mrc")


def test_complex_integers_and_lazy_arrays(tmp_path: Path) -> None:
    """Mode 3 has pairs of integers; read lazily, an array is dask's, with equal values."""
    pairs = np.arange(240, dtype="i2").reshape(1, 12, 10, 2)
    mrc(tmp_path / "a.mrc", pairs, 3, order=">")
    array = read(tmp_path / "a.mrc", lazy=True)
    assert array.chunks is not None
    np.testing.assert_array_equal(array.compute(), pairs[0, ..., 0] + 1j * pairs[0, ..., 1])
