"""Conversion of a file's signals to arrays with stemtwin's dimensions and units."""

import contextlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.datasets.formats.units import COUNTED, FITTING, NAMES, TO_OURS, unit_of
from stemtwin.twin.errors import DatasetError, SettingsError

if TYPE_CHECKING:
    import xarray as xr

Calibrations = Mapping[int, tuple[float, str]]
"""Step and unit of each axis, by the number of the axis."""


def to_array(signal: dict[str, Any], path: Path, number: int, calibrations: Calibrations | str | None) -> "tuple[xr.DataArray, dict[str, Any]]":
    """Return a signal of a file as an array, and the attributes of the whole file.

    Parameters
    ----------
    signal : dict
        Signal as a dictionary in RosettaSciIO's form.
    path : Path
        Path of the file, which is used in names and messages.
    number : int
        Number of the signal in the file, which is used as the signal's name if the file does not name the signal.
    calibrations : mapping or str, optional
        See :func:`~stemtwin.datasets.formats.reader.read_file`.

    Raises
    ------
    SettingsError
        An axis has no calibration.
    JSONDecodeError
        The attributes of a file written by stemtwin are damaged.
    DatasetError
        The values are not numbers.
    """
    import xarray as xr

    ours = "stemtwin" in signal.get("original_metadata", {})
    data, axes = _numbers(signal["data"], path), [dict(axis) for axis in signal["axes"]]
    if not ours:
        order = sorted(range(len(axes)), key=lambda i: (_spectral(axes[i]), not axes[i].get("navigate", False)))
        single = [i for i, axis in enumerate(axes) if axis.get("size") == 1 and unit_of(axis.get("units")) is None and len(axes) > 1]
        data = data.transpose(order).squeeze(tuple(order.index(i) for i in single))
        axes = [axes[i] for i in order if i not in single]
        if axes[0].get("name") not in COUNTED and _is_stack(axes, calibrations):
            axes[0] |= {"name": "frame", "scale": 1.0, "offset": 0.0}
            axes[0].pop("axis", None)
    general = signal.get("metadata", {}).get("General", {})
    name = re.sub(r"\W+", "_", str(general.get("title") or path.stem)).strip("_") or f"signal_{number}"
    units = [_calibrated(axis, i, path, name, calibrations) for i, axis in enumerate(axes)]
    pattern = _told(signal, "Signal.signal_type") == "electron_diffraction"
    dims = [str(axis["name"]) for axis in axes] if ours else _dims(axes, [unit for unit, _, _ in units], pattern=pattern)
    coordinates = {}
    for dim, axis, (unit, step, offset) in zip(dims, axes, units, strict=True):
        points = np.asarray(axis["axis"], float) * step if "axis" in axis else offset + step * np.arange(int(axis["size"]))
        coordinates[dim] = (dim, points, {"units": unit} if unit else {})
        if "times" in axis and dim != "time":
            coordinates["time"] = (dim, np.asarray(axis["times"], float), {"units": "s"})
    whole, own = _attributes(signal)
    if ours:
        coordinates |= _places(signal["original_metadata"]["stemtwin"])
    return xr.DataArray(data, coordinates, dims, name, own), whole or {"source_file": path.name}


def _numbers(data: Any, path: Path) -> Any:
    """Return values in the byte order of this machine; raise DatasetError if they are colours or records."""
    if data.dtype.kind not in "biufc":
        message = f"{path} holds values of type {data.dtype}, but numbers are needed. If it is a colour image, save it as grey values."
        raise DatasetError(message)
    return data if data.dtype.isnative else data.astype(data.dtype.newbyteorder("="))


def _spectral(axis: dict[str, Any]) -> bool:
    """Return True if an axis is spectral; some files store it as the first axis."""
    return (unit_of(axis.get("units")) or ("",))[0] == "eV" or str(axis.get("name") or "").lower() == "wavelength"


def _is_stack(axes: list[dict[str, Any]], calibrations: Calibrations | str | None) -> bool:
    """Return True if axes belong to a stack of images, with a first axis without a unit and calibrated other axes."""
    given = isinstance(calibrations, Mapping) and 0 in calibrations
    units = [unit_of(axis.get("units")) for axis in axes]
    rest = [unit for unit, axis in zip(units[1:], axes[1:], strict=True) if axis.get("name") not in COUNTED]
    return len(axes) >= 3 and bool(axes[0].get("navigate")) and units[0] is None and None not in rest and not given


def _calibrated(axis: dict[str, Any], i: int, path: Path, name: str, calibrations: Calibrations | str | None) -> tuple[str, float, float]:
    """Return unit, step and offset of an axis in stemtwin's units."""
    known, scale, offset = unit_of(axis.get("units")), float(axis.get("scale", 1.0)), float(axis.get("offset", 0.0))
    if "axis" in axis:
        scale = 1.0  # the file holds all points of the axis
    told = calibrations.get(i) if isinstance(calibrations, Mapping) else None
    usable = int(axis.get("size", 2)) == 1 or (scale != 0 and math.isfinite(scale) and math.isfinite(offset))
    if known and usable and told is None:
        return known[0], scale * known[1], offset * known[1]
    if str(axis.get("name") or "") in COUNTED and told is None:
        return "", scale, offset
    if calibrations == "pixels":
        return "pixel", 1.0, 0.0
    if told is not None:
        step, written = told
        given = unit_of(written)
        if given is None:
            message = f"The unit {written!r} of axis {i} is not known. Give one of {', '.join(TO_OURS)}."
            raise SettingsError(message)
        return given[0], step * given[1], offset * step * given[1] / scale if scale and math.isfinite(offset) else 0.0
    reason = f"its step is {scale:g} {axis.get('units')}" if known else axis.get("reason") or f"unit {axis.get('units')!r}"
    message = f'Axis {i} of {name} in {path.name} has no calibration ({reason}). Pass calibrations={{{i}: (step, "nm")}}, or calibrations="pixels".'
    raise SettingsError(message)


def _dims(axes: list[dict[str, Any]], units: list[str], *, pattern: bool) -> list[str]:
    """Return the names of the dimensions of a signal.

    If all axes already have names of stemtwin with matching units, these names are used. Otherwise the names follow from
    the units: the last two axes with the same unit are named y and x, or ky and kx. Axes in pixels are named y and x, or
    y, x, ky and kx if the last two axes belong to a diffraction ``pattern``.
    """
    own = [str(axis.get("name") or "").lower() for axis in axes]
    if len(set(own)) == len(own) and all(unit in FITTING.get(name, ()) for name, unit in zip(own, units, strict=True)):
        return own
    out: list[str] = []
    for i, unit in enumerate(units):
        names = NAMES.get(unit, ())
        rank = sum(u == unit for u in units[i + 1 :])  # number of later axes with the same unit
        if unit == "pixel":
            names, rank = (("y", "x", "ky", "kx") if pattern or (len(units) == 4 and "" not in units) else ("y", "x")), len(units) - 1 - i
        if unit in FITTING.get(own[i], ()) and own[i] not in ("y", "x", "ky", "kx"):
            names, rank = (own[i],), 0
        name = names[len(names) - 1 - rank] if rank < len(names) else f"axis_{i}"
        out.append(name if name not in out else f"axis_{i}")
    return out


def _attributes(signal: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the attributes of the whole file and of one array.

    For a file written by stemtwin these are the original attributes, for other files the known entries of the metadata.
    """
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
    """Return the coordinates of a file written by stemtwin that are not axes: x and y of each point of a path."""
    about, values = json.loads(ours["attributes"]).get("places", {}), ours.get("places", {})
    known = {name: (dims, np.asarray(values[name]), attrs) for name, (dims, attrs) in about.items() if name in values}
    return {name: (dims, points if dims else points[0], attrs) for name, (dims, points, attrs) in known.items()}


def _told(signal: dict[str, Any], place: str) -> Any:
    """Return an entry of a file's metadata, or None if it is missing.

    If RosettaSciIO's metadata do not contain the entry, it is looked up in the vendor's metadata with RosettaSciIO's
    mapping.
    """
    found = _entry(signal.get("metadata", {}), place)
    for theirs, (ours, turned) in signal.get("mapping", {}).items():
        value = _entry(signal.get("original_metadata", {}), theirs) if found is None and ours == place else None
        if value is not None:
            with contextlib.suppress(Exception):  # an entry of another form than the mapping expects is ignored
                found = turned(value) if turned else value
    return found


def _entry(tree: Any, place: str) -> Any:
    """Return the entry of nested mappings at a path of names joined by dots, or None if it is missing."""
    for name in place.split("."):
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree
