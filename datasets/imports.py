"""Files of real microscopes and of other programs as xarray Datasets like our own: coordinates in A, mrad and eV."""

import contextlib
import importlib
import importlib.util
import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.twin.errors import DatasetError, SettingsError

if TYPE_CHECKING:
    import xarray as xr

ROSETTA = {
    ".dm3": "digitalmicrograph", ".dm4": "digitalmicrograph", ".emd": "emd", ".mrc": "mrc", ".blo": "blockfile", ".mib": "quantumdetector",
    ".hspy": "hspy", ".zspy": "zspy", ".ser": "tia", ".emi": "tia", ".tif": "tiff", ".tiff": "tiff", ".msa": "msa",
}  # fmt: skip
"""RosettaSciIO's reader for each ending."""
HDF5 = b"\x89HDF\r\n\x1a\n"
BEGINNINGS = {
    ".dm3": (b"\0\0\0\3", b"\0\0\0\4"), ".dm4": (b"\0\0\0\4", b"\0\0\0\3"), ".emd": (HDF5,), ".hspy": (HDF5,), ".blo": (b"IMGBLO",),
    ".mib": (b"MQ1",), ".ser": (b"II\x97\1",), ".emi": (b"JK",), ".tif": (b"II", b"MM"), ".tiff": (b"II", b"MM"), ".msa": (b"#FORMAT",),
}  # fmt: skip
"""What files of a kind begin with: readers may take other files for arrays of any size."""
TO_OURS = {
    "angstrom": ("angstrom", 1.0), "a": ("angstrom", 1.0), "nm": ("angstrom", 10.0), "pm": ("angstrom", 0.01), "um": ("angstrom", 1e4),
    "mm": ("angstrom", 1e7), "m": ("angstrom", 1e10),
    "mrad": ("mrad", 1.0), "rad": ("mrad", 1e3), "urad": ("mrad", 1e-3),
    "1/angstrom": ("1/angstrom", 1.0), "1/a": ("1/angstrom", 1.0), "1/nm": ("1/angstrom", 0.1), "1/pm": ("1/angstrom", 100.0),
    "1/um": ("1/angstrom", 1e-4), "1/m": ("1/angstrom", 1e-10),
    "ev": ("eV", 1.0), "kev": ("eV", 1e3), "mev": ("eV", 1e-3), "s": ("s", 1.0), "ms": ("s", 1e-3), "us": ("s", 1e-6),
}  # fmt: skip
"""Units as they are written, in small letters, and what they are in ours."""
NAMES = {"angstrom": ("y", "x"), "mrad": ("ky", "kx"), "1/angstrom": ("ky", "kx"), "eV": ("energy",), "s": ("time",)}
"""What axes of a unit are called, the last axes first."""
COUNTED = ("frame", "segment", "point", "configuration")
"""Axes that number things and have no unit."""
FITTING = {
    **dict.fromkeys(("y", "x", "depth", "wavelength"), ("angstrom", "pixel")), **dict.fromkeys(("ky", "kx"), ("mrad", "1/angstrom", "pixel")),
    "energy": ("eV",), "time": ("s",), **dict.fromkeys(COUNTED, ("",)),
}  # fmt: skip
"""Names of our dimensions, and the units that each of them has."""

Calibrations = Mapping[int, tuple[float, str]]


def read_file(path: str | Path, *, calibrations: Calibrations | str | None = None, lazy: bool = False) -> "xr.Dataset":
    """Read a file of a microscope or of another program.

    Parameters
    ----------
    path : str or Path
        netCDF and zarr as :func:`~stemtwin.datasets.export.save` writes them; NSID (.hf5); EMD 1.0 (.emd, .h5); and what RosettaSciIO reads: dm3,
        dm4, other emd, mrc, blo, mib, hspy, zspy, ser, tif, msa.
    calibrations : mapping or str, optional
        For axes that the file leaves uncalibrated: step and unit by the axis' number in the result, ``{0: (0.5, "nm")}``; or ``"pixels"`` to count
        pixels there.
    lazy : bool
        Leave large arrays on disk, as dask arrays.

    Returns
    -------
    xarray.Dataset
        One variable per dataset in the file, with dims such as (y, x, ky, kx) or (y, x, energy), coordinates in A, mrad (or 1/A) and eV; a stack of
        images has the dimension frame.

    Raises
    ------
    DatasetError
        The file is missing, is not of the format that its name says, or needs a package that is not installed.
    SettingsError
        The ending is not known, or an axis has no calibration and none is given.
    """
    path = Path(path)
    if not path.exists():
        message = f"{path} does not exist. Check the name."
        raise DatasetError(message)
    ending = path.suffix.lower()
    if ending in (".nc", ".zarr"):
        return _ours(path, ending, lazy=lazy)
    if ending == ".hf5":
        signals = _nsid(path)
    elif ending in (".emd", ".h5") and _is_emd1(path):
        signals = _emd1(path)
    elif ending in ROSETTA:
        signals = _rosetta(path, ROSETTA[ending], lazy=lazy)
    else:
        message = f"There is no reader for the ending of {path.name}. Known are .nc, .zarr, .hf5, .h5, {', '.join(ROSETTA)}."
        raise SettingsError(message)
    try:
        return _together([_array(signal, path, number, calibrations) for number, signal in enumerate(signals)])
    except json.JSONDecodeError as error:  # of the attributes that we wrote
        raise _wrong(path, ending[1:], error) from error


def _ours(path: Path, ending: str, *, lazy: bool) -> "xr.Dataset":
    import xarray as xr

    try:
        if ending == ".nc":
            data = xr.open_dataset(path, engine="h5netcdf", chunks={} if lazy else None)
            if not data.data_vars or any(str(dim).startswith("phony_dim") for dim in data.dims):
                reason = "it is HDF5 without arrays that have dimensions"
                raise ValueError(reason)
        else:
            data = xr.open_zarr(path, zarr_format=2, consolidated=True)
        return data if lazy else data.load()
    except Exception as error:  # every library has its own errors for files that are not what they seem
        raise _wrong(path, "netCDF" if ending == ".nc" else "zarr", error) from error
    finally:
        with contextlib.suppress(UnboundLocalError):
            if not lazy:
                data.close()


def _need(module: str, path: Path) -> None:
    if importlib.util.find_spec(module) is None:
        message = f"Reading {path.name} needs the package {module}, which is not installed. Use pip install 'stemtwin[formats]'."
        raise DatasetError(message)


def _wrong(path: Path, form: str, error: Exception) -> DatasetError:
    reason = str(error).strip().splitlines() or [type(error).__name__]
    return DatasetError(f"{path} cannot be read as {form}: {reason[0].rstrip('.')}. Check that it is what its ending says, and whole.")


def _rosetta(path: Path, reader: str, *, lazy: bool) -> list[dict[str, Any]]:
    _need("rsciio", path)
    beginnings = BEGINNINGS.get(path.suffix.lower(), (b"",))
    if not path.is_dir():
        with path.open("rb") as file:
            if not file.read(8).startswith(beginnings):
                raise _wrong(path, reader, ValueError("it begins as no such file does"))
    signals, failed = [], None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # readers say what they leave out of the vendor's metadata, and of files that they forget to close
        try:
            signals = importlib.import_module(f"rsciio.{reader}").file_reader(str(path), lazy=lazy)
        except ImportError as error:
            message = f"Reading {path.name} needs a package that is not installed: {str(error).rstrip('.')}. Use pip install 'stemtwin[formats]'."
            failed = DatasetError(message)
        except Exception as error:  # every reader has its own errors for files that are not what they seem
            failed, error.__traceback__ = _wrong(path, reader, error), None
    if failed is not None:
        raise failed
    if not signals or not all(np.prod(signal["data"].shape) for signal in signals):
        message = f"{path} holds no data. Check that it is whole."
        raise DatasetError(message)
    return signals


def _nsid(path: Path) -> list[dict[str, Any]]:
    """Return the main datasets of an NSID file in RosettaSciIO's form."""
    import h5py

    found: list[dict[str, Any]] = []

    def visit(_: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset) or "main_data_name" not in item.attrs:
            return
        axes = [_axis(scale[0].attrs["name"], scale[0].attrs["units"], scale[0][()]) for scale in item.dims]
        ours = item.parent.get("original_metadata")
        told = ours.attrs["stemtwin"] if ours is not None and "stemtwin" in ours.attrs else None
        beside = {key: values[()] for key, values in item.parent.get("places", {}).items()}
        found.append(_signal(item[()], axes, item.attrs["main_data_name"], item.attrs.get("units", ""), told, beside))

    try:
        with h5py.File(path) as file:
            file.visititems(visit)
    except (OSError, KeyError, IndexError, RuntimeError) as error:
        raise _wrong(path, "NSID", error) from error
    if not found:
        message = f"{path} is HDF5, but holds no NSID dataset. Check that it is what its ending says."
        raise DatasetError(message)
    return found


def _is_emd1(path: Path) -> bool:
    """Return whether a file is EMD 1.0, as py4DSTEM writes it."""
    import h5py

    try:
        with h5py.File(path) as file:
            return _text(file.attrs.get("emd_group_type", "")) == "file" and int(file.attrs.get("version_major", 0)) == 1
    except OSError as error:
        raise _wrong(path, "EMD", error) from error


def _emd1(path: Path) -> list[dict[str, Any]]:
    """Return the arrays of an EMD 1.0 file (emdatasets.com/format) in RosettaSciIO's form."""
    import h5py

    found: list[dict[str, Any]] = []

    def visit(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Group) or not str(item.attrs.get("emd_group_type", "")).endswith("array"):
            return
        data = item["data"]
        dims = [item[f"dim{i}"] for i in range(data.ndim)]
        axes = [
            _axis(EMD_NAMES.get(_text(d.attrs["name"]), d.attrs["name"]), d.attrs["units"], d[()], n) for d, n in zip(dims, data.shape, strict=True)
        ]
        ours = item.get("metadatabundle/stemtwin", {})
        beside = {key.removeprefix("place_"): values[()] for key, values in ours.items() if key.startswith("place_")}
        told = ours["attributes"][()] if "attributes" in ours else None
        found.append(_signal(data[()], axes, name.rsplit("/", maxsplit=1)[-1], data.attrs.get("units", ""), told, beside))

    try:
        with h5py.File(path) as file:
            file.visititems(visit)
            scale = file.get(f"{next(iter(file))}/metadatabundle/calibration")
            if scale is not None and "qx0_mean" in scale:  # py4DSTEM keeps the optic axis in pixels, beside the axes
                for signal in found:
                    for axis in signal["axes"]:
                        if axis["name"] in ("ky", "kx"):
                            axis["offset"] = -float(scale["qx0_mean" if axis["name"] == "ky" else "qy0_mean"][()]) * axis["scale"]
    except (OSError, KeyError, StopIteration, RuntimeError) as error:
        raise _wrong(path, "EMD 1.0", error) from error
    if not found:
        message = f"{path} is an EMD file without arrays. Check that it is whole."
        raise DatasetError(message)
    return found


EMD_NAMES = {"Rx": "y", "Ry": "x", "Qx": "ky", "Qy": "kx"}
"""py4DSTEM's first axis is called x; ours is y."""


def _axis(name: Any, units: Any, points: np.ndarray, size: int | None = None) -> dict[str, Any]:
    step = float(points[1] - points[0]) if len(points) > 1 else 1.0
    return {"name": _text(name), "units": _text(units), "scale": step, "offset": float(points[0]), "size": size or len(points)}


def _signal(data: np.ndarray, axes: list[dict[str, Any]], title: Any, units: Any, told: Any, places: dict[str, Any]) -> dict[str, Any]:
    original = {} if told is None else {"stemtwin": {"attributes": _text(told), "places": places}}
    return {
        "data": data,
        "axes": axes,
        "metadata": {"General": {"title": _text(title)}, "Signal": {"quantity": _text(units)}},
        "original_metadata": original,
    }


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


# ---- arrays --------------------------------------------------------------------------------------------------------------------------


def unit_of(written: Any) -> tuple[str, float] | None:
    """Return our unit and the factor to it of a unit as files write it; None where it is none."""
    text = "" if written is None else str(written).strip()
    text = re.sub(r"^.*\(([^()]+)\)$", r"\1", text)  # "Energy Loss (eV)"
    plain = text.replace("\u00c5", "angstrom").replace("\u212b", "angstrom").replace("\u00b5", "u").replace("\u03bc", "u").lower()
    plain = plain.replace("\u207b\u00b9", "-1")
    inverse = re.fullmatch(r"(?:1 ?/ ?(\w+)|(\w+)\s*(?:\^|\*\*)? ?[-\u2212]1)", plain)
    if inverse:
        plain = f"1/{inverse[1] or inverse[2]}"
    return TO_OURS.get(plain)


def _array(signal: dict[str, Any], path: Path, number: int, calibrations: Calibrations | str | None) -> "tuple[xr.DataArray, dict[str, Any]]":
    """Return a signal as an array, and what its file says of the whole."""
    import xarray as xr

    ours = "stemtwin" in signal.get("original_metadata", {})
    data, axes = signal["data"], [dict(axis) for axis in signal["axes"]]
    if not ours:
        order = sorted(range(len(axes)), key=lambda i: (_spectral(axes[i]), not axes[i].get("navigate", False)))
        single = [i for i, axis in enumerate(axes) if axis.get("size") == 1 and unit_of(axis.get("units")) is None and len(axes) > 1]
        data = data.transpose(order).squeeze(tuple(order.index(i) for i in single))
        axes = [axes[i] for i in order if i not in single]
        if _is_stack(axes, calibrations):
            axes[0] |= {"name": "frame", "scale": 1.0, "offset": 0.0}
    general = signal.get("metadata", {}).get("General", {})
    name = re.sub(r"\W+", "_", str(general.get("title") or path.stem)).strip("_") or f"signal_{number}"
    units = [_calibrated(axis, i, path, name, calibrations) for i, axis in enumerate(axes)]
    pattern = _told(signal, "Signal.signal_type") == "electron_diffraction"
    dims = [str(axis["name"]) for axis in axes] if ours else _dims(axes, [unit for unit, _, _ in units], pattern=pattern)
    coordinates = {}
    for dim, axis, (unit, step, offset) in zip(dims, axes, units, strict=True):
        points = np.asarray(axis["axis"], float) * step if "axis" in axis else offset + step * np.arange(int(axis["size"]))
        coordinates[dim] = (dim, points, {"units": unit} if unit else {})
    whole, own = _attributes(signal)
    if ours:
        coordinates |= _places(signal["original_metadata"]["stemtwin"])
    return xr.DataArray(data, coordinates, dims, name, own), whole or {"source_file": path.name}


def _spectral(axis: dict[str, Any]) -> bool:
    """Return whether an axis is that of a spectrum: some files have it first."""
    return (unit_of(axis.get("units")) or ("",))[0] == "eV" or str(axis.get("name") or "").lower() == "wavelength"


def _is_stack(axes: list[dict[str, Any]], calibrations: Calibrations | str | None) -> bool:
    """Return whether axes are those of a stack of images: the first one numbers them and has no unit, the others are calibrated."""
    given = isinstance(calibrations, Mapping) and 0 in calibrations
    units = [unit_of(axis.get("units")) for axis in axes]
    return len(axes) == 3 and bool(axes[0].get("navigate")) and units[0] is None and None not in units[1:] and not given


def _calibrated(axis: dict[str, Any], i: int, path: Path, name: str, calibrations: Calibrations | str | None) -> tuple[str, float, float]:
    """Return unit, step and offset of an axis in our units."""
    known, scale, offset = unit_of(axis.get("units")), float(axis.get("scale", 1.0)), float(axis.get("offset", 0.0))
    if known:
        return known[0], scale * known[1], offset * known[1]
    label = str(axis.get("name") or "")
    if label in COUNTED:
        return "", scale, offset
    if calibrations == "pixels":
        return "pixel", 1.0, 0.0
    if isinstance(calibrations, Mapping) and i in calibrations:
        step, written = calibrations[i]
        given = unit_of(written)
        if given is None:
            message = f"The unit {written!r} of axis {i} is not known. Use one of {', '.join(TO_OURS)}."
            raise SettingsError(message)
        return given[0], step * given[1], offset * step * given[1] / scale if scale else 0.0
    message = (
        f"Axis {i} of {name} in {path.name} has no calibration (unit {axis.get('units')!r}). "
        f'Pass calibrations={{{i}: (step, "nm")}}, or calibrations="pixels".'
    )
    raise SettingsError(message)


def _dims(axes: list[dict[str, Any]], units: list[str], *, pattern: bool) -> list[str]:
    """Return the names of dimensions: ours where all axes have such with units that fit, or else by unit, the last two of a kind being (.y, .x).

    Axes that count pixels are y and x, and before them x, y of the scan where the others are those of a diffraction ``pattern``.
    """
    own = [str(axis.get("name") or "").lower() for axis in axes]
    if len(set(own)) == len(own) and all(unit in FITTING.get(name, ()) for name, unit in zip(own, units, strict=True)):
        return own
    out: list[str] = []
    for i, unit in enumerate(units):
        names = NAMES.get(unit, ())
        rank = sum(u == unit for u in units[i + 1 :])  # how many of the kind come behind
        if unit == "pixel":
            names, rank = (("y", "x", "ky", "kx") if pattern or len(units) == 4 else ("y", "x")), len(units) - 1 - i
        if unit in FITTING.get(own[i], ()) and own[i] not in ("y", "x", "ky", "kx"):
            names, rank = (own[i],), 0
        name = names[len(names) - 1 - rank] if rank < len(names) else f"axis_{i}"
        out.append(name if name not in out else f"axis_{i}")
    return out


OURS = tuple(FITTING)
"""Names of our dimensions."""


def _attributes(signal: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a file says of the whole and of one array: our attributes where we wrote them, or else what of the metadata has a name in ours."""
    ours = signal.get("original_metadata", {}).get("stemtwin", {})
    if isinstance(ours, Mapping) and "attributes" in ours:
        written = json.loads(ours["attributes"])
        return written["dataset"], written["variable"]
    out: dict[str, Any] = {}
    for theirs, name, factor in (
        ("beam_energy", "energy_ev", 1e3),
        ("convergence_angle", "semiangle_mrad", 1.0),
        ("beam_current", "current_pa", 1e3),
        ("camera_length", "camera_length_mm", 1.0),
        ("Detector.EELS.collection_angle", "collection_mrad", 1.0),
    ):
        value = _told(signal, f"Acquisition_instrument.TEM.{theirs}")
        if isinstance(value, (int, float, np.number)) and value > 0:
            out[name] = float(value) * factor
    known = {"signal_type": _told(signal, "Signal.signal_type"), "long_name": _told(signal, "Signal.quantity")}
    return {}, out | {name: str(value) for name, value in known.items() if value}


def _places(ours: Mapping[str, Any]) -> dict[str, Any]:
    """Return the coordinates that we wrote beside the axes: x and y of each point of a path."""
    about, values = json.loads(ours["attributes"]).get("places", {}), ours.get("places", {})
    known = {name: (dims, np.asarray(values[name]), attrs) for name, (dims, attrs) in about.items() if name in values}
    return {name: (dims, points if dims else points[0], attrs) for name, (dims, points, attrs) in known.items()}


def _told(signal: dict[str, Any], place: str) -> Any:
    """Return an entry of a file's metadata, or of the vendor's by RosettaSciIO's table of where that stands; None if it is not there."""
    found = _entry(signal.get("metadata", {}), place)
    for theirs, (ours, turned) in signal.get("mapping", {}).items():
        value = _entry(signal.get("original_metadata", {}), theirs) if found is None and ours == place else None
        if value is not None:
            with contextlib.suppress(Exception):  # an entry that is not what the table expects is none
                found = turned(value) if turned else value
    return found


def _entry(tree: Any, place: str) -> Any:
    """Return what stands in nested mappings at names joined by dots; None if nothing does."""
    for name in place.split("."):
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree


def _together(arrays: "list[tuple[xr.DataArray, dict[str, Any]]]") -> "xr.Dataset":
    """Return arrays as one Dataset; dimensions of one name and different points get the variable's name behind."""
    import xarray as xr

    out = xr.Dataset(attrs=arrays[0][1])
    for i, (array, _) in enumerate(arrays):
        name = str(array.name) if str(array.name) not in (*out.data_vars, *OURS) else f"{array.name}_{i}"
        clash = [d for d in array.dims if d in out.dims and not (out.sizes[d] == array.sizes[d] and np.array_equal(out[d], array[d]))]
        out[name] = array.rename({d: f"{d}_{name}" for d in clash})
    return out
