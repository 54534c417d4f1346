"""Axes and attributes of results for storage in files."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.datasets.formats.units import COUNTED
from stemtwin.twin.errors import SettingsError

if TYPE_CHECKING:
    import xarray as xr

KINDS = {"angstrom": "space", "mrad": "reciprocal", "1/angstrom": "reciprocal", "eV": "spectrum"}
"""Kinds of axes by unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatAxis:
    """One axis of an array: its name, number of points, first value (``offset``), step, unit and kind.

    The kind is ``"space"``, ``"reciprocal"``, ``"spectrum"`` or ``"other"``.
    """

    name: str
    size: int
    offset: float
    step: float
    units: str
    kind: str


def check_calibrations(array: "xr.DataArray") -> tuple[FormatAxis, ...]:
    """Return the axes of an array, after checking that all of them are calibrated and evenly spaced.

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
        message = f"The points of {dim} of {array.name} are not evenly spaced, which this format cannot store. Use .nc or .zarr, or interpolate."
        raise SettingsError(message)
    return FormatAxis(name=dim, size=size, offset=float(values[0]), step=step, units=str(units), kind=KINDS.get(str(units), "other"))


def attributes(data: "xr.Dataset | xr.DataArray") -> dict[str, Any]:
    """Return the attributes of a result as a dictionary, with numpy numbers converted to Python numbers."""
    return {str(name): value.item() if isinstance(value, np.generic) else value for name, value in data.attrs.items()}


def places(data: "xr.Dataset", name: str) -> dict[str, np.ndarray]:
    """Return those coordinates of a variable that are not axes, for example x and y of the points of a path.

    The values are float64 arrays (n,) by the name of the coordinate.
    """
    array = data[name]
    return {str(key): np.atleast_1d(np.asarray(array[key], float)) for key in array.coords if key not in array.dims}


def described(data: "xr.Dataset", name: str) -> str:
    """Return all attributes of a variable as a JSON string, for formats that cannot store them otherwise.

    Parameters
    ----------
    data : Dataset
        Result of a simulation or an acquisition.
    name : str
        Name of the variable.

    Returns
    -------
    str
        JSON object with three entries: ``dataset``, the attributes of the data; ``variable``, the attributes of the
        variable; and ``places``, the dimensions and attributes of the coordinates that :func:`places` returns.
    """
    about = {key: [list(map(str, data[name][key].dims)), attributes(data[name][key])] for key in places(data, name)}
    return json.dumps({"dataset": attributes(data), "variable": attributes(data[name]), "places": about}, default=str)
