"""Files as vendors' programs write them, made by hand after the layout of their tags: axes, units and microscope settings come out right."""

import json
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from stemtwin.datasets.formats import read_file
from stemtwin.twin.errors import SettingsError

pytest.importorskip("rsciio", reason="RosettaSciIO is not installed: pip install 'stemtwin[formats]'")

CODES = {np.dtype("u2"): (4, 10), np.dtype("f4"): (6, 2)}
"""Of an element in DigitalMicrograph's tags, and of a pixel in its images."""


def tag(name: str, value: Any, version: int) -> bytes:
    """One tag of a dm3 or dm4 file: groups nest; sizes are big-endian, with 64 bits in dm4, and data little-endian."""
    word = ">Q" if version == 4 else ">I"
    if isinstance(value, dict):
        inner = b"".join(tag("" if key.startswith("#") else key, each, version) for key, each in value.items())
        kind, body = 20, bytes(2) + struct.pack(word, len(value)) + inner
    else:
        array = np.frombuffer(value.encode("utf-16-le"), "u2") if isinstance(value, str) else value
        if isinstance(array, np.ndarray):
            info, raw = [20, CODES[array.dtype][0], array.size], array.tobytes()
        else:
            info, raw = ([6], struct.pack("<f", array)) if isinstance(array, float) else ([5], struct.pack("<I", array))
        kind, body = 21, b"%%%%" + b"".join(struct.pack(word, n) for n in (len(info), *info)) + raw
    size = struct.pack(">Q", len(body)) if version == 4 else b""
    return struct.pack(">BH", kind, len(name)) + name.encode() + size + body


def digitalmicrograph(path: Path, data: np.ndarray, axes: list[tuple[float, float, str]], tags: dict[str, Any]) -> None:
    """Write an array with its axes (origin in pixels, scale, unit), in the order of the array; DigitalMicrograph counts x first."""
    version = int(path.suffix[-1])
    scales = {f"#{i}": {"Origin": o, "Scale": s, "Units": u} for i, (o, s, u) in enumerate(axes[::-1])}
    image = {
        "ImageData": {
            "Calibrations": {"Brightness": {"Origin": 0.0, "Scale": 1.0, "Units": "Counts"}, "Dimension": scales},
            "Data": data.ravel(),
            "DataType": CODES[data.dtype][1],
            "Dimensions": {f"#{i}": n for i, n in enumerate(data.shape[::-1])},
            "PixelDepth": data.itemsize,
        },
        "ImageTags": {"Microscope Info": {"Voltage": 200000.0}, **tags},
        "Name": "made by hand",
    }
    root = tag("", {"ImageList": {"#0": image}}, version)
    root = root[11 if version == 4 else 3 :]  # the root has no name and no size
    path.write_bytes(struct.pack(">IQI" if version == 4 else ">III", version, len(root), 1) + root + bytes(8))


@pytest.mark.parametrize("ending", ["dm3", "dm4"])
def test_an_image_of_digitalmicrograph(tmp_path: Path, ending: str) -> None:
    """Nanometres become A, the origin (in pixels) the first coordinate, the voltage the beam's energy."""
    values = np.arange(12, dtype="u2").reshape(3, 4)
    digitalmicrograph(tmp_path / f"image.{ending}", values, [(1.0, 0.5, "nm"), (-2.0, 0.25, "nm")], {})
    (image,) = read_file(tmp_path / f"image.{ending}").data_vars.values()
    np.testing.assert_array_equal(image, values)
    assert image.dims == ("y", "x")
    assert (float(image.y[0]), float(image.y[1]), float(image.x[0])) == pytest.approx((-5.0, 0.0, 5.0))
    assert image.attrs["energy_ev"] == 200e3
    assert image.name == "made_by_hand"


@pytest.mark.parametrize("ending", ["dm3", "dm4"])
def test_a_spectrum_image_of_digitalmicrograph(tmp_path: Path, ending: str) -> None:
    """Energies stand first in the file and last in ours; the spectrometer's angles are found."""
    values = np.random.default_rng(0).random((16, 2, 3), np.float32)
    tags = {
        "Meta Data": {"Format": "Spectrum image", "Signal": "EELS"},
        "EELS": {"Experimental Conditions": {"Collection semi-angle (mrad)": 36.0, "Convergence semi-angle (mrad)": 21.0}},
    }
    digitalmicrograph(tmp_path / f"cube.{ending}", values, [(-800.0, 0.5, "eV"), (0.0, 0.1, "\u00b5m"), (0.0, 0.1, "\u00b5m")], tags)
    (cube,) = read_file(tmp_path / f"cube.{ending}").data_vars.values()
    assert cube.dims == ("y", "x", "energy")
    np.testing.assert_array_equal(cube, values.transpose(1, 2, 0))
    np.testing.assert_allclose(cube.energy, 400 + 0.5 * np.arange(16))
    assert float(cube.x[1]) == pytest.approx(1000)
    assert (cube.attrs["signal_type"], cube.attrs["collection_mrad"], cube.attrs["semiangle_mrad"]) == ("EELS", 36, 21)


def test_spectra_patterns_and_stacks_are_named_by_their_units(tmp_path: Path) -> None:
    """DigitalMicrograph calls every last axis x: one in keV is an energy, two in 1/nm are a pattern's, an uncalibrated one before images counts.

    One of a single point, without a unit, is left out.
    """
    rays = {"Meta Data": {"Format": "Spectrum", "Signal": "X-ray"}}
    digitalmicrograph(tmp_path / "edx.dm4", np.ones(8, "u2"), [(2.0, 0.01, "keV")], rays)
    (spectrum,) = read_file(tmp_path / "edx.dm4").data_vars.values()
    assert (spectrum.dims, spectrum.attrs["signal_type"]) == (("energy",), "EDS_TEM")
    np.testing.assert_allclose(spectrum.energy, 10.0 * np.arange(-2, 6), atol=1e-4)
    digitalmicrograph(tmp_path / "row.dm4", np.ones((1, 8), "u2"), [(0.0, 1.0, ""), (2.0, 0.01, "keV")], rays)
    (spectrum,) = read_file(tmp_path / "row.dm4").data_vars.values()
    assert spectrum.dims == ("energy",)
    digitalmicrograph(tmp_path / "pattern.dm4", np.ones((4, 4), "u2"), [(2.0, 0.2, "1/nm")] * 2, {})
    (pattern,) = read_file(tmp_path / "pattern.dm4").data_vars.values()
    assert pattern.dims == ("ky", "kx")
    np.testing.assert_allclose(pattern.kx, 0.02 * np.arange(-2, 2), atol=1e-7)
    assert pattern.kx.attrs["units"] == "1/angstrom"
    digitalmicrograph(tmp_path / "stack.dm3", np.ones((5, 4, 4), "u2"), [(0.0, 2.0, ""), (0.0, 1.0, "nm"), (0.0, 1.0, "nm")], {})
    (stack,) = read_file(tmp_path / "stack.dm3").data_vars.values()
    assert stack.dims == ("frame", "y", "x")
    np.testing.assert_array_equal(stack.frame, np.arange(5))
    digitalmicrograph(tmp_path / "bare.dm4", np.ones((4, 4), "u2"), [(0.0, 1.0, "")] * 2, {})
    with pytest.raises(SettingsError, match=r"Axis 0 of made_by_hand in bare\.dm4 has no calibration \(unit ''\)"):
        read_file(tmp_path / "bare.dm4")


@pytest.mark.parametrize("frames", [1, 3])
def test_images_of_velox(tmp_path: Path, frames: int) -> None:
    """Velox keeps images as (y, x, frame) with its settings as JSON: metres become A, frames follow in time."""
    values = np.random.default_rng(1).integers(0, 999, (6, 8, frames), dtype="u2")
    settings = {
        "BinaryResult": {
            "PixelSize": {"width": "2e-11", "height": "2e-11"},
            "PixelUnitX": "m",
            "Offset": {"x": "-1e-9", "y": "0"},
            "DetectorIndex": "0",
        },
        "Detectors": {"Detector-0": {"DetectorName": "HAADF"}},
        "Optics": {"AccelerationVoltage": "300000", "CameraLength": "0.115"},
        "Scan": {"FrameTime": "0.5"},
        "Acquisition": {"AcquisitionStartDatetime": {"DateTime": "1700000000"}},
    }
    text = np.frombuffer(json.dumps(settings).encode(), "u1")
    with h5py.File(tmp_path / "velox.emd", "w") as file:
        file["Version"] = [b'{"format": "Velox", "version": "11"}']
        image = file.create_group("Data/Image/0123456789abcdef")
        image["Data"], image["Metadata"] = values, np.repeat(text[:, None], frames, axis=1)
    (found,) = read_file(tmp_path / "velox.emd").data_vars.values()
    assert found.name == "HAADF"
    assert found.dims == (("y", "x") if frames == 1 else ("time", "y", "x"))
    np.testing.assert_array_equal(found, values[..., 0] if frames == 1 else values.transpose(2, 0, 1))
    assert (float(found.x[0]), float(found.x[1] - found.x[0])) == pytest.approx((-10.0, 0.2))
    assert (found.attrs["energy_ev"], found.attrs["camera_length_mm"]) == pytest.approx((300e3, 115.0))
    if frames > 1:
        np.testing.assert_allclose(found.time, [0, 0.5, 1.0])
