"""EMD files of NCEM, before version 1.0."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from stemtwin.datasets.formats import read_file
from stemtwin.twin.errors import DatasetError, SettingsError


def ncem(path: Path, values: np.ndarray, *axes: tuple[str, Any, np.ndarray], first: int = 1) -> None:
    """Write an array with its axes: name, unit and points."""
    with h5py.File(path, "w") as file:
        file.attrs["version_major"], file.attrs["version_minor"] = 0, 2
        group = file.create_group("data/img")
        group.attrs["emd_group_type"] = 1
        group["data"] = values
        for i, (name, units, points) in enumerate(axes):
            dim = group.create_dataset(f"dim{i + first}", data=points)
            dim.attrs["name"], dim.attrs["units"] = np.bytes_(name), units


def read(path: Path, **options: Any) -> Any:
    """Return the only array of a file."""
    (array,) = read_file(path, **options).data_vars.values()
    return array


@pytest.mark.parametrize(
    ("unit", "length"),
    [
        (np.bytes_(b"[n_m]"), 10.0), ("[n_m]", 10.0), ("nm", 10.0), ("[nm]", 10.0), (np.bytes_("[\u00b5_m]".encode()), 1e4),
        (np.bytes_("\u00b5m".encode("latin-1")), 1e4), ("[\u212b]", 1.0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ending", ["emd", "h5"])
@pytest.mark.parametrize("first", [0, 1])
def test_axes_in_the_order_of_the_file(tmp_path: Path, unit: Any, length: float, ending: str, first: int) -> None:
    """Rows are y and columns x, each with its own step in the unit that NCEM writes with underscores, in any encoding."""
    values = np.arange(120, dtype="u2").reshape(12, 10)
    ncem(tmp_path / f"a.{ending}", values, ("height", unit, 0.5 * np.arange(12)), ("width", unit, 3 + 0.25 * np.arange(10)), first=first)
    array = read(tmp_path / f"a.{ending}")
    assert array.dims == ("y", "x")
    np.testing.assert_array_equal(array, values)
    np.testing.assert_allclose(array["y"], length * 0.5 * np.arange(12))
    np.testing.assert_allclose(array["x"], length * (3 + 0.25 * np.arange(10)))


@pytest.mark.parametrize(("unit", "times"), [("[s]", [0.0, 2.0, 4.0]), ("", None), ("[]", None)])
@pytest.mark.parametrize("lazy", [False, True])
def test_stacks_stay_stacks(tmp_path: Path, unit: str, times: list[float] | None, lazy: bool) -> None:
    """A stack (time, y, x) is (frame, y, x), the times beside where they have a unit."""
    values = np.arange(360, dtype=">f4").reshape(3, 12, 10)
    ncem(tmp_path / "a.emd", values, ("time", unit, 2.0 * np.arange(3)), ("y", "nm", np.array([0, 0.5])), ("x", "nm", 0.25 * np.arange(10)))
    array = read(tmp_path / "a.emd", lazy=lazy)
    assert array.dims == ("frame", "y", "x")
    np.testing.assert_array_equal(array, values)
    assert float(array["y"][1] - array["y"][0]) == pytest.approx(5.0)
    if times:
        np.testing.assert_array_equal(array["time"], times)
    assert ("time" in array.coords) == bool(times)


def test_names_and_units_decide_on_the_order(tmp_path: Path) -> None:
    """HyperSpy has x before y and energies before both: (y, x, energy) here; a pattern's axes are ky and kx."""
    values = np.arange(4 * 3 * 2, dtype="u2").reshape(4, 3, 2)
    ncem(tmp_path / "a.emd", values, ("Energy", "[e_V]", 100 + np.arange(4.0)), ("x", "[n_m]", np.arange(3.0)), ("y", "[n_m]", np.arange(2.0)))
    array = read(tmp_path / "a.emd")
    assert array.dims == ("y", "x", "energy")
    np.testing.assert_array_equal(array, values.transpose(2, 1, 0))
    ncem(tmp_path / "b.emd", values[0], ("Qy", "[n_m^-1]", np.arange(3.0)), ("Qx", "[1/n_m]", np.arange(2.0)))
    array = read(tmp_path / "b.emd")
    assert array.dims == ("ky", "kx")
    assert array["kx"].attrs["units"] == "1/angstrom"
    np.testing.assert_allclose(array["ky"], [0, 0.1, 0.2])


def test_axes_without_calibration(tmp_path: Path) -> None:
    """An axis of pixels, of points that are all equal, or of another length than the array is refused."""
    values = np.arange(120, dtype="u2").reshape(12, 10)
    for unit, points in (("[px]", np.arange(12.0)), ("nm", np.zeros(12))):
        ncem(tmp_path / "a.emd", values, ("height", unit, points), ("width", unit, np.arange(10.0)))
        with pytest.raises(SettingsError, match=r"Axis 0 of img in a\.emd has no calibration"):
            read(tmp_path / "a.emd")
        array = read(tmp_path / "a.emd", calibrations={0: (0.1, "nm"), 1: (0.2, "nm")})
        assert (float(array["y"][1]), float(array["x"][1])) == pytest.approx((1.0, 2.0))
    ncem(tmp_path / "a.emd", values, ("height", "nm", np.arange(7.0)), ("width", "nm", np.arange(10.0)))
    with pytest.raises(DatasetError, match=r"has 7 points in /data/img/dim1, but the array has 12 along this axis"):
        read(tmp_path / "a.emd")


def test_records_are_not_numbers(tmp_path: Path) -> None:
    """Colours as records: one sentence."""
    colours = np.zeros((3, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    ncem(tmp_path / "a.emd", colours, ("y", "nm", np.arange(3.0)), ("x", "nm", np.arange(2.0)))
    with pytest.raises(DatasetError, match=r"a\.emd holds values of type .*If it is a colour image, save it as grey"):
        read(tmp_path / "a.emd")
