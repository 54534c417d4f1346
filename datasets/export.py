"""Results in the formats that others read: one writer per format, by the format's own library; a file is whole, or not there.

``save(data, "cube.hspy")`` takes what ``st.simulate``, ``st.ronchigram`` and ``Microscope.acquire`` return. netCDF and zarr hold all of it and come
back identical; the other formats hold data, calibrations, units and the attributes, as far as each has room for them.
"""

import importlib.util
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.twin.errors import DatasetError, SettingsError
from stemtwin.twin.registry import Registry

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A format of files.

    Parameters
    ----------
    suffixes : tuple of str
        How its files' names end; the first one is usual.
    needs : tuple of str
        Modules of optional packages that it is written with.
    single : bool
        Whether a file holds one variable only.
    whole : bool
        Whether it holds whatever a Dataset holds: uneven axes, axes without units.
    write : callable
        Writes a Dataset to a path that does not exist.
    about : str
        Who reads it.
    """

    suffixes: tuple[str, ...]
    write: Callable[["xr.Dataset", Path], None]
    needs: tuple[str, ...] = ()
    single: bool = False
    whole: bool = False
    about: str = ""


FORMATS: Registry[Format] = Registry("file format")
"""Formats by name, in the order in which a file's ending is looked up."""


def save(data: "xr.Dataset | xr.DataArray", path: str | Path, *, form: str = "", variable: str = "", overwrite: bool = False) -> Path:
    """Write a result in the format that the name's ending says.

    Parameters
    ----------
    data : Dataset or DataArray
        What simulations and acquisitions return.
    path : str or Path
        The file or folder to write.
    form : str
        The format's name, where the ending does not say it.
    variable : str
        The variable to write, for formats that hold one; by default the only one, or the only spectrum beside quantities
        of its points such as densities.
    overwrite : bool
        Whether what has this name already may be replaced.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    SettingsError
        The format cannot be told, the variable is not in the data, or the data lack calibrations.
    UnknownNameError
        There is no such format.
    DatasetError
        A package is missing, the name is taken, or the disk does not take the file; nothing is left behind.
    """
    path = Path(path)
    kind = FORMATS[form] if form else _by_ending(path)
    chosen = _chosen(data, kind, variable)
    if not kind.whole:
        for name in chosen.data_vars:
            check_calibrations(chosen[name])
    for module in kind.needs:
        if importlib.util.find_spec(module) is None:
            message = f"Writing {path.name} needs the package {module}, which is not installed. Use pip install 'stemtwin[formats]'."
            raise DatasetError(message)
    with replacing(path, overwrite=overwrite) as temporary:
        kind.write(chosen, temporary)
    return path


def _by_ending(path: Path) -> Format:
    for name in FORMATS:
        if path.suffix.lower() in FORMATS[name].suffixes:
            return FORMATS[name]
    endings = ", ".join(f"{FORMATS[name].suffixes[0]} ({name})" for name in FORMATS)
    message = f"The ending of {path.name} names no format. Use one of {endings}, or pass form=."
    raise SettingsError(message)


def _chosen(data: Any, kind: Format, variable: str) -> "xr.Dataset":
    import xarray as xr

    if isinstance(data, xr.DataArray):
        data = data.to_dataset(name=data.name or "data")
    if not isinstance(data, xr.Dataset) or not data.data_vars:
        message = "There is nothing to write: pass a Dataset with variables, or a DataArray."
        raise SettingsError(message)
    if variable and variable not in data.data_vars:
        message = f"There is no variable {variable!r} in the data. Use one of {', '.join(map(str, data.data_vars))}."
        raise SettingsError(message)
    if variable:
        return data[[variable]]
    if kind.single and len(data.data_vars) > 1:
        if spectrum := _lone_spectrum(data):
            return data[[spectrum]]
        message = f"A {kind.suffixes[0]} file holds one variable, and there are {', '.join(map(str, data.data_vars))}. Choose one: variable=."
        raise SettingsError(message)
    return data


def _lone_spectrum(data: "xr.Dataset") -> str:
    """Return the name of the only spectrum, where all else are quantities of its points, not images; else nothing."""
    energies = {name for name, axis in data.coords.items() if axis.attrs.get("units") == "eV"}
    spectra = [str(name) for name in data.data_vars if energies.intersection(data[name].dims)]
    if len(spectra) != 1:
        return ""
    own = set(data[spectra[0]].dims)
    others = [data[name] for name in data.data_vars if name != spectra[0]]
    return spectra[0] if all(set(one.dims) < own and "inner_mrad" not in one.attrs for one in others) else ""


@contextmanager
def replacing(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a name beside ``path`` for a file or folder that takes its place when the block ends well, and goes away otherwise.

    Raises
    ------
    DatasetError
        The name is taken and may not be replaced, or the disk does not take it.
    """
    if path.exists() and not overwrite:
        message = f"{path} exists already. Remove it, choose another name, or pass overwrite=True."
        raise DatasetError(message)
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if path.is_dir():  # a folder cannot be replaced in one step
            old = path.with_name(f".{uuid.uuid4().hex[:8]}.old.{path.name}")
            path.rename(old)
            temporary.rename(path)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(temporary, path)  # noqa: PTH105 - by its name in the operating system: one step
    except OSError as error:
        if isinstance(error, DatasetError):
            raise
        message = f"{path} cannot be written: {error.strerror or error}. Free space there, or choose another folder."
        raise DatasetError(message) from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


# ---- calibrations --------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatAxis:
    """One axis: its name, number of points, first value, step and unit; ``kind`` is ``"space"``, ``"reciprocal"``, ``"spectrum"`` or ``"other"``."""

    name: str
    size: int
    offset: float
    step: float
    units: str
    kind: str


KINDS = {"angstrom": "space", "mrad": "reciprocal", "1/angstrom": "reciprocal", "eV": "spectrum"}
"""What an axis is, by its unit."""
COUNTED = ("frame", "segment", "point", "configuration")
"""Dimensions that number things and have no unit."""


def check_calibrations(array: "xr.DataArray") -> tuple[FormatAxis, ...]:
    """Return the axes of an array.

    Raises
    ------
    SettingsError
        A dimension has no coordinate with a unit, or its points are not evenly spaced.
    """
    return tuple(_axis(array, str(dim)) for dim in array.dims)


def _axis(array: "xr.DataArray", dim: str) -> FormatAxis:
    size = array.sizes[dim]
    if dim not in array.coords:
        if dim in COUNTED:
            return FormatAxis(name=dim, size=size, offset=0.0, step=1.0, units="", kind="other")
        message = f"The dimension {dim} of {array.name} has no calibration. Give it a coordinate with a unit in attrs['units']."
        raise SettingsError(message)
    values, units = array[dim].to_numpy(), array[dim].attrs.get("units", "")
    if not units and dim not in COUNTED:
        message = f"The coordinate {dim} of {array.name} has no unit. Set attrs['units'], for example 'angstrom', 'mrad' or 'eV'."
        raise SettingsError(message)
    step = float(values[-1] - values[0]) / (size - 1) if size > 1 else 1.0
    if size > 1 and not np.allclose(np.diff(values), step, rtol=1e-6, atol=1e-9 * abs(step)):
        message = f"The points of {dim} of {array.name} are not evenly spaced, and few formats hold that. Use .nc or .zarr, or interpolate."
        raise SettingsError(message)
    return FormatAxis(name=dim, size=size, offset=float(values[0]), step=step, units=str(units), kind=KINDS.get(str(units), "other"))


def attributes(data: "xr.Dataset | xr.DataArray") -> dict[str, Any]:
    """Return attributes as plain strings and numbers."""
    return {str(name): value.item() if isinstance(value, np.generic) else value for name, value in data.attrs.items()}


def places(data: "xr.Dataset", name: str) -> dict[str, np.ndarray]:
    """Return the coordinates of a variable that are no axes, float64, (n,): x and y of each point of a path, or of a single point."""
    array = data[name]
    return {str(key): np.atleast_1d(np.asarray(array[key], float)) for key in array.coords if key not in array.dims}


def described(data: "xr.Dataset", name: str) -> str:
    """Return attributes of a Dataset and of one variable as one JSON string, for formats that have no other room; of places, dims and attributes."""
    about = {key: [list(map(str, data[name][key].dims)), attributes(data[name][key])] for key in places(data, name)}
    return json.dumps({"dataset": attributes(data), "variable": attributes(data[name]), "places": about}, default=str)


# ---- formats that hold all of a Dataset ----------------------------------------------------------------------------------------------


def _write_netcdf(data: "xr.Dataset", path: Path) -> None:
    encoding = {name: {"zlib": True, "complevel": 4} for name, variable in data.data_vars.items() if variable.ndim >= 2}
    data.to_netcdf(path, engine="h5netcdf", encoding=encoding)


def _write_zarr(data: "xr.Dataset", path: Path) -> None:
    data.to_zarr(path, mode="w", zarr_format=2, consolidated=True)


def _write_parquet(data: "xr.Dataset", path: Path) -> None:
    """Write rows along the first of more than two dimensions, one row otherwise, with Hugging Face features and the calibrations in the schema."""
    import datasets as hf

    from stemtwin.datasets import storage

    (name,) = data.data_vars
    array = data[name]
    axes = check_calibrations(array)
    values = array.to_numpy()
    values = values if values.ndim > 2 else values[None]
    kinds = {1: hf.List(hf.Value(str(values.dtype))), 2: hf.Array2D, 3: hf.Array3D, 4: hf.Array4D, 5: hf.Array5D}
    inner = values.ndim - 1
    if inner not in kinds:
        message = f"{name} has {values.ndim} dimensions, and a row of a table holds five at most. Use .nc or .zarr."
        raise SettingsError(message)
    feature = kinds[1] if inner == 1 else kinds[inner](values.shape[1:], str(values.dtype))
    features = hf.Features({str(name): feature, "row": hf.Value("int64")})
    rows = hf.Dataset.from_dict({str(name): list(values), "row": list(range(len(values)))}, features=features)
    known = {"axes": [[a.name, a.size, a.offset, a.step, a.units] for a in axes], **json.loads(described(data, str(name)))}
    known["values_of_places"] = {key: values.tolist() for key, values in places(data, str(name)).items()}
    table = rows.data.table
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"stemtwin": json.dumps(known).encode()})
    storage.write_parquet(table, path)


FORMATS.add("netcdf", Format(suffixes=(".nc",), write=_write_netcdf, whole=True, about="xarray, all of a result"))
FORMATS.add("zarr", Format(suffixes=(".zarr",), write=_write_zarr, needs=("zarr",), whole=True, about="xarray, all of a result, in pieces"))
FORMATS.add("parquet", Format(suffixes=(".parquet",), write=_write_parquet, single=True, about="Hugging Face datasets"))

importlib.import_module("stemtwin.datasets.foreign")  # adds the formats of microscopy
