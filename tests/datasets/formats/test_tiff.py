"""TIFF files as ImageJ, OME's programs, DigitalMicrograph and others write them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stemtwin.datasets.formats import read_file
from stemtwin.twin.errors import DatasetError, SettingsError

tifffile: Any = pytest.importorskip("tifffile", reason="tifffile is not installed: pip install 'stemtwin[formats]'")
IMAGE = np.arange(120, dtype="u2").reshape(12, 10)


def read(path: Path, **options: Any) -> Any:
    """Return the only array of a file."""
    (array,) = read_file(path, **options).data_vars.values()
    return array


def step(array: Any, dim: str) -> float:
    """Return the step of a coordinate in A."""
    assert array[dim].attrs["units"] == "angstrom"
    return float(array[dim][1] - array[dim][0])


@pytest.mark.parametrize(
    ("unit", "pixel"),
    [
        ("nm", 10.0), ("um", 1e4), ("micron", 1e4), ("microns", 1e4), ("\u00b5m", 1e4), ("\\u00B5m", 1e4), ("\u03bcm", 1e4), ("angstrom", 1.0),
        ("\u00c5", 1.0), ("A", 1.0), ("pm", 0.01), ("mm", 1e7), ("cm", 1e8), ("inch", 2.54e8), ("nanometers", 10.0),
    ],
)  # fmt: skip
def test_units_of_imagej(tmp_path: Path, unit: str, pixel: float) -> None:
    """50 pixels a unit along x and 25 along y: the steps are 1/50 and 1/25 of the unit, however it is written."""
    text = f"ImageJ=1.53k\nimages=1\nunit={unit}\n".encode()
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, description=text, resolution=(50, 25), resolutionunit=1, metadata=None)
    array = read(tmp_path / "a.tif")
    assert (array.dims, array.shape) == (("y", "x"), (12, 10))
    np.testing.assert_array_equal(array, IMAGE)
    assert (step(array, "x"), step(array, "y")) == pytest.approx((pixel / 50, pixel / 25))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["u1", "i2", "u2", "f4"])
def test_stacks_of_imagej(tmp_path: Path, order: str, kind: str) -> None:
    """Images in the order T, Y, X, of any type and byte order, with the times of frames beside where ImageJ has an interval."""
    values = np.arange(360).reshape(3, 12, 10) % 100
    tell = {"axes": "TYX", "unit": "nm", "finterval": 0.5}
    options = {"photometric": "minisblack", "byteorder": order, "resolution": (50, 50), "metadata": tell}
    tifffile.imwrite(tmp_path / "a.tif", values.astype(kind), imagej=kind != "i2", **options)
    if kind == "i2":  # ImageJ has no such type, and others no unit
        with pytest.raises(SettingsError, match=r"Axis 1 of a in a\.tif has no calibration"):
            read(tmp_path / "a.tif")
    array = read(tmp_path / "a.tif", calibrations={1: (0.02, "nm"), 2: (0.02, "nm")})
    assert array.dims == ("frame", "y", "x")
    assert array.dtype == np.dtype(kind)
    np.testing.assert_array_equal(array, values)
    assert step(array, "x") == pytest.approx(0.2)
    if kind != "i2":
        np.testing.assert_allclose(array["time"], [0, 0.5, 1.0])


def test_slices_and_hyperstacks_of_imagej(tmp_path: Path) -> None:
    """Slices with a spacing are depths, and without one frames; a hyperstack is (frame, depth, channel, y, x)."""
    values = np.arange(2 * 3 * 4 * 12 * 10, dtype="u2").reshape(2, 3, 4, 12, 10)
    tell = {"axes": "TZCYX", "unit": "nm", "spacing": 2.0}
    tifffile.imwrite(tmp_path / "hyper.tif", values, imagej=True, resolution=(50, 50), metadata=tell)
    array = read(tmp_path / "hyper.tif")
    assert array.dims == ("frame", "depth", "channel", "y", "x")
    np.testing.assert_array_equal(array, values)
    assert (step(array, "depth"), step(array, "x")) == pytest.approx((20.0, 0.2))
    for tell, first in (({"unit": "nm", "spacing": 2.0}, "depth"), ({"unit": "nm"}, "frame")):
        tifffile.imwrite(tmp_path / "slices.tif", values[0, :, 0], imagej=True, resolution=(50, 50), metadata={"axes": "ZYX", **tell})
        array = read(tmp_path / "slices.tif")
        assert array.dims == (first, "y", "x")
        np.testing.assert_array_equal(array, values[0, :, 0])


@pytest.mark.parametrize(("unit", "pixel"), [(None, 1e4), ("nm", 10.0), ("\u00c5", 1.0), ("pm", 0.01), ("mm", 1e7)])
@pytest.mark.parametrize("big", [False, True])
def test_units_of_ome(tmp_path: Path, unit: str | None, pixel: float, big: bool) -> None:
    """Physical sizes in the unit that the file names, or else in um, OME's own; classic and big files; a stack in time has frames."""
    tell: dict[str, Any] = {"axes": "TYX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5, "TimeIncrement": 20.0, "TimeIncrementUnit": "ms"}
    tell |= {f"PhysicalSize{side}Unit": unit for side in "XY" if unit}
    values = np.stack([IMAGE, IMAGE + 1])
    tifffile.imwrite(tmp_path / "a.ome.tif", values, metadata=tell, ome=True, bigtiff=big, compression="zlib")
    array = read(tmp_path / "a.ome.tif")
    assert array.dims == ("frame", "y", "x")
    np.testing.assert_array_equal(array, values)
    assert (step(array, "x"), step(array, "y")) == pytest.approx((0.25 * pixel, 0.5 * pixel))
    np.testing.assert_allclose(array["time"], [0.0, 0.02])


def test_each_image_of_ome_has_its_own_size(tmp_path: Path) -> None:
    """Two images in one file: two variables with their own steps."""
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        for pixel in (1.0, 2.0):
            tell = {"axes": "YX", "PhysicalSizeX": pixel, "PhysicalSizeY": pixel, "PhysicalSizeXUnit": "nm", "PhysicalSizeYUnit": "nm"}
            file.write(IMAGE[: int(6 * pixel)], metadata=tell)
    first, second = read_file(tmp_path / "a.ome.tif").data_vars.values()
    assert [float(each[dim][1]) for each in (first, second) for dim in each.dims] == pytest.approx([10, 10, 20, 20])


@pytest.mark.parametrize("tag", ["CENTIMETER", "INCH"])
def test_a_resolution_finer_than_prints_is_the_specimens(tmp_path: Path, tag: str) -> None:
    """A file of 0.5 A pixels by its dots per inch or cm is calibrated; one of 300 dots per inch or cm is a print of unknown magnification."""
    dots = {"CENTIMETER": 2e8, "INCH": 5.08e8}[tag]
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, resolution=(dots, dots), resolutionunit=tag, metadata=None)
    assert step(read(tmp_path / "a.tif"), "x") == pytest.approx(0.5, rel=1e-6)
    tifffile.imwrite(tmp_path / "b.tif", IMAGE, resolution=(300, 300), resolutionunit=tag, metadata=None)
    with pytest.raises(SettingsError, match=r"b\.tif has no calibration \(its 300 dots per (cm|inch) are the resolution of a print\)"):
        read(tmp_path / "b.tif")
    array = read(tmp_path / "b.tif", calibrations={0: (0.1, "nm"), 1: (0.2, "nm")})
    assert (step(array, "y"), step(array, "x")) == pytest.approx((1.0, 2.0))


@pytest.mark.parametrize(
    ("description", "resolution"), [("ImageJ=1.53k\nunit=nm\n", (0, 0)), ("ImageJ=1.53k\nunit=pixel\n", (1, 1)), ("ImageJ=1.53k\n", (5, 5))]
)
def test_without_unit_or_resolution_a_file_is_uncalibrated(tmp_path: Path, description: str, resolution: tuple[int, int]) -> None:
    """A resolution of zero, pixels as unit, or no unit: refused with the repair, and read in pixels."""
    tell = {"resolution": [(each, 1) for each in resolution], "resolutionunit": 1, "metadata": None}
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, description=description, **tell)
    with pytest.raises(SettingsError, match=r"a\.tif has no calibration.*Pass calibrations="):
        read(tmp_path / "a.tif")
    assert read(tmp_path / "a.tif", calibrations="pixels").dims == ("y", "x")


def test_tags_of_digitalmicrograph(tmp_path: Path) -> None:
    """Units, steps and first values in Gatan's tags."""
    extra = [
        (65003, 2, 0, "nm", True),
        (65004, 2, 0, "nm", True),
        (65009, 12, 1, 0.05, True),
        (65010, 12, 1, 0.025, True),
        (65006, 12, 1, -1.0, True),
    ]
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, extratags=extra, metadata=None)
    array = read(tmp_path / "a.tif")
    assert (step(array, "x"), step(array, "y"), float(array["x"][0])) == pytest.approx((0.5, 0.25, -10.0))


def test_settings_of_fei(tmp_path: Path) -> None:
    """Thermo Fisher's text of settings: pixels in m."""
    pytest.importorskip("rsciio", reason="RosettaSciIO is not installed: pip install 'stemtwin[formats]'")
    text = b"[Scan]\r\nPixelWidth=2e-11\r\nPixelHeight=4e-11\r\n\r\n\0"
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, extratags=[(34682, 2, len(text), text, True)], metadata=None)
    array = read(tmp_path / "a.tif")
    assert (step(array, "x"), step(array, "y")) == pytest.approx((0.2, 0.4))


@pytest.mark.parametrize("samples", [3, 4])
def test_colours_are_not_signals(tmp_path: Path, samples: int) -> None:
    """A coloured image is refused; a grey one that is stored as colours is read, with a note."""
    grey = np.repeat(np.arange(120, dtype="u1").reshape(12, 10, 1), samples, axis=2)
    tell = {"resolution": (50, 50), "description": "ImageJ=1.53k\nunit=nm\n", "metadata": None, "photometric": "rgb"}
    tifffile.imwrite(tmp_path / "grey.tif", grey, **tell)
    data = read_file(tmp_path / "grey.tif")
    np.testing.assert_array_equal(data["grey"], grey[..., 0])
    assert "its channels are equal" in data.attrs["import_note"]
    assert step(data["grey"], "x") == pytest.approx(0.2)
    grey[0, 0, 1] = 200
    tifffile.imwrite(tmp_path / "colour.tif", grey, **tell)
    with pytest.raises(DatasetError, match=r"colour\.tif is a colour image \([34] samples.*Save the image again as grey"):
        read_file(tmp_path / "colour.tif")


def test_transparency_and_pixels_of_hyperstacks(tmp_path: Path) -> None:
    """A grey image with transparency is read without it; an uncalibrated stack of stacks in pixels is not a scan of patterns."""
    values = np.stack([IMAGE, 0 * IMAGE], axis=2).astype("u1")
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"], metadata=None)
    data = read_file(tmp_path / "a.tif", calibrations="pixels")
    assert data["a"].dims == ("y", "x")
    np.testing.assert_array_equal(data["a"], IMAGE)
    assert "transparency was left out" in data.attrs["import_note"]
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((2, 3, 12, 10), "f4"), imagej=True, metadata={"axes": "TCYX"})
    assert read(tmp_path / "b.tif", calibrations="pixels").dims == ("frame", "channel", "y", "x")


def test_planes_are_channels(tmp_path: Path) -> None:
    """Three planes one behind another, as programs write a stack of three: channels, with a note."""
    values = np.arange(360, dtype="f4").reshape(3, 12, 10)
    tell = {"photometric": "rgb", "planarconfig": "separate", "metadata": None, "resolution": (1e9, 1e9), "resolutionunit": 3}
    tifffile.imwrite(tmp_path / "a.tif", values, **tell)
    data = read_file(tmp_path / "a.tif")
    assert data["a"].dims == ("channel", "y", "x")
    np.testing.assert_array_equal(data["a"], values)
    assert "are channels here" in data.attrs["import_note"]


def test_lazy_arrays_stay_on_disk(tmp_path: Path) -> None:
    """Read lazily, an array is dask's, with equal values."""
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, imagej=True, resolution=(50, 50), metadata={"unit": "nm"})
    array = read(tmp_path / "a.tif", lazy=True)
    assert array.chunks is not None
    np.testing.assert_array_equal(array.compute(), IMAGE)
