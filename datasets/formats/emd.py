"""EMD 1.0 (emdatasets.com/format), the HDF5 files of py4DSTEM."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.datasets.formats.calibrations import FormatAxis, check_calibrations, described, places
from stemtwin.datasets.formats.file_formats import FORMATS, Format, unreadable
from stemtwin.datasets.formats.signal_dictionaries import axis_entry, signal_entry, text
from stemtwin.twin.errors import DatasetError, SettingsError

if TYPE_CHECKING:
    import xarray as xr

EMD_UNITS = {"angstrom": "A", "1/angstrom": "A^-1"}
"""Units of EMD by unit of stemtwin."""
EMD_NAMES = {"Rx": "y", "Ry": "x", "Qx": "ky", "Qy": "kx"}
"""Names of dimensions in stemtwin by the name of the axis in py4DSTEM, whose x axis is stemtwin's y axis."""


def write_emd(data: "xr.Dataset", path: Path) -> None:
    """Write diffraction patterns as py4DSTEM's calibrated DataCube, and all other variables as arrays in the cube's group.

    Raises
    ------
    SettingsError
        The data hold two sets of diffraction patterns, or the pixels of the scan or of the patterns are not square.
    """
    import emdfile

    root, cube, others = emdfile.Root(name="stemtwin"), None, []
    for name in data.data_vars:
        axes = check_calibrations(data[name])
        kinds = [axis.kind for axis in axes]
        if len(axes) == 4 and kinds == ["space", "space", "reciprocal", "reciprocal"]:
            if cube is not None:
                message = f"An EMD file holds one 4D cube, but both {cube.name} and {name} are 4D cubes. Choose one of them with variable=."
                raise SettingsError(message)
            cube = _emd_array(data, str(name), axes, _named(emdfile.Array, "DataCube"), ("Rx", "Ry", "Qx", "Qy"))
            root.metadata = _calibration(emdfile, str(name), axes)
        else:
            others.append(_emd_array(data, str(name), axes, emdfile.Array, tuple(axis.name for axis in axes)))
    above = root
    if cube is not None:
        root.tree(cube)
        above = cube
    for array in others:
        above.tree(array)
    emdfile.save(str(path), root)


def _named(base: type, name: str) -> Any:
    """Return a subclass with the name of py4DSTEM's class for the same content, which emdfile writes into the file."""
    return type(name, (base,), {})


def _emd_array(data: "xr.Dataset", name: str, axes: tuple[FormatAxis, ...], kind: Any, labels: tuple[str, ...]) -> Any:
    import emdfile

    array = data[name]
    out = kind(
        array.to_numpy(),
        name=name,
        units=str(array.attrs.get("units", "")),
        dims=[[axis.offset, axis.offset + axis.step] if axis.size > 1 else [axis.offset] for axis in axes],
        dim_names=list(labels),
        dim_units=[EMD_UNITS.get(axis.units, axis.units or "1") for axis in axes],
    )
    known = emdfile.Metadata("stemtwin")
    known["attributes"] = described(data, name)
    for key, points in places(data, name).items():
        known[f"place_{key}"] = points
    out.metadata = known
    return out


def _calibration(emdfile: Any, name: str, axes: tuple[FormatAxis, ...]) -> Any:
    """Return py4DSTEM's calibration: pixel sizes, units, and the position of the optic axis in pixels."""
    out = _named(emdfile.Metadata, "Calibration")("calibration")
    if not np.isclose(axes[0].step, axes[1].step, rtol=1e-6) or not np.isclose(axes[2].step, axes[3].step, rtol=1e-6):
        message = (
            f"py4DSTEM needs square pixels, but those of {name} are {axes[0].step:g} x {axes[1].step:g} {axes[0].units} in the scan and "
            f"{axes[2].step:g} x {axes[3].step:g} {axes[2].units} in the patterns. Scan with equal steps along y and x, or use .hspy."
        )
        raise SettingsError(message)
    middle = [-axis.offset / axis.step for axis in axes[2:]]
    values = {
        "R_pixel_size": axes[0].step,
        "R_pixel_units": EMD_UNITS.get(axes[0].units, axes[0].units),
        "Q_pixel_size": axes[2].step,
        "Q_pixel_units": EMD_UNITS.get(axes[2].units, axes[2].units),
        "QR_flip": False,
        "_root_treepath": "",
        "_target_paths": [f"/{name}"],
    }
    for axis, place in zip("xy", middle, strict=True):
        values |= {f"q{axis}0": place, f"q{axis}0_mean": place}
    for key, value in values.items():
        out[key] = value
    return out


def is_emd1(path: Path) -> bool:
    """Return True if a file is EMD 1.0, as written by py4DSTEM; raise DatasetError if the file is not HDF5."""
    import h5py

    try:
        with h5py.File(path) as file:
            return text(file.attrs.get("emd_group_type", "")) == "file" and int(file.attrs.get("version_major", 0)) == 1
    except OSError as error:
        raise unreadable(path, "EMD", error) from error


def read(path: Path) -> list[dict[str, Any]]:
    """Return the arrays of an EMD 1.0 file as dictionaries in RosettaSciIO's form.

    Raises
    ------
    DatasetError
        The file has another format, or holds no array.
    """
    import h5py

    found: list[dict[str, Any]] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Group) and str(item.attrs.get("emd_group_type", "")).endswith("array"):
            found.append(_signal(name, item))

    try:
        with h5py.File(path) as file:
            file.visititems(visit)
            scale = file.get(f"{next(iter(file))}/metadatabundle/calibration")
            if scale is not None and "qx0_mean" in scale:
                centre = {"ky": float(scale["qx0_mean"][()]), "kx": float(scale["qy0_mean"][()])}
                for signal in found:
                    _centre(signal, centre)
    except (OSError, KeyError, StopIteration, RuntimeError) as error:
        raise unreadable(path, "EMD 1.0", error) from error
    if not found:
        message = f"{path} is an EMD file without arrays. Check that it is complete."
        raise DatasetError(message)
    return found


def _signal(name: str, item: Any) -> dict[str, Any]:
    data = item["data"]
    dims = [item[f"dim{i}"] for i in range(data.ndim)]
    axes = [
        axis_entry(EMD_NAMES.get(text(d.attrs["name"]), d.attrs["name"]), d.attrs["units"], d[()], n) for d, n in zip(dims, data.shape, strict=True)
    ]
    ours = item.get("metadatabundle/stemtwin", {})
    beside = {key.removeprefix("place_"): values[()] for key, values in ours.items() if key.startswith("place_")}
    about = ours["attributes"][()] if "attributes" in ours else None
    return signal_entry(data[()], axes, name.rsplit("/", maxsplit=1)[-1], data.attrs.get("units", ""), about, beside)


def _centre(signal: dict[str, Any], centre: dict[str, float]) -> None:
    """Move the origin of the diffraction axes to the optic axis, which py4DSTEM stores separately in pixels (ky, kx)."""
    for axis in signal["axes"]:
        if axis["name"] in centre:
            axis["offset"] = -centre[axis["name"]] * axis["scale"]


FORMATS.add("emd", Format(suffixes=(".emd", ".h5"), hdf5=True, write=write_emd, needs=("emdfile",), about="py4DSTEM"))
