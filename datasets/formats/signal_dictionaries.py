"""Signals as dictionaries of data, axes and metadata in RosettaSciIO's form, which all readers return."""

from typing import Any

import numpy as np


def axis_entry(name: Any, units: Any, points: np.ndarray, size: int | None = None) -> dict[str, Any]:
    """Return the dictionary of an axis, with its name, unit, step, first value and size.

    ``points`` (n,) are the points of the axis; if ``size`` is given, the first two points suffice.
    """
    step = float(points[1] - points[0]) if len(points) > 1 else 1.0
    return {"name": text(name), "units": text(units), "scale": step, "offset": float(points[0]), "size": size or len(points)}


def signal_entry(
    data: np.ndarray, axes: list[dict[str, Any]], title: Any, units: Any, described: Any, places: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Return the dictionary of a signal from a file that stemtwin or another program has written.

    Parameters
    ----------
    data : ndarray
        Values of the signal.
    axes : list of dict
        Axes of all dimensions, each from :func:`axis_entry`.
    title, units : str or bytes
        Name and unit of the values.
    described : str or bytes or None
        For a file written by stemtwin, the text of :func:`~stemtwin.datasets.formats.calibrations.described`, else None.
    places : dict of ndarray
        For a file written by stemtwin, the coordinates (n,) that are not axes.
    """
    original = {} if described is None else {"stemtwin": {"attributes": text(described), "places": places}}
    return {
        "data": data,
        "axes": axes,
        "metadata": {"General": {"title": text(title)}, "Signal": {"quantity": text(units)}},
        "original_metadata": original,
    }


def plain_signal(data: Any, title: str, axes: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Return the dictionary of a signal from another program's file; without ``axes``, its axes are not calibrated."""
    listed = axes if axes is not None else [{"name": "", "units": None, "scale": 1.0, "offset": 0.0, "size": size} for size in data.shape]
    return {"data": data, "axes": listed, "metadata": {"General": {"title": title}, "Signal": {}}, "original_metadata": {}}


def text(value: Any) -> str:
    """Return a value of a file as a string.

    The value may be a string, bytes in UTF-8 or Latin-1, or an array whose only element is a string or bytes.
    """
    if isinstance(value, np.ndarray):
        value = value.ravel()[0] if value.size else ""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.decode("latin-1")
    return str(value)
