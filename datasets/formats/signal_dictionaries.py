"""RosettaSciIO's form of a signal: a dictionary of data, axes and metadata, the form that all readers of foreign files return."""

from typing import Any

import numpy as np


def axis_entry(name: Any, units: Any, points: np.ndarray, size: int | None = None) -> dict[str, Any]:
    """Return an axis: its name, unit, step, first value and number of points; ``points`` (n,) may hold the first two points only."""
    step = float(points[1] - points[0]) if len(points) > 1 else 1.0
    return {"name": text(name), "units": text(units), "scale": step, "offset": float(points[0]), "size": size or len(points)}


def signal_entry(
    data: np.ndarray, axes: list[dict[str, Any]], title: Any, units: Any, described: Any, places: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Return a signal.

    Parameters
    ----------
    data : ndarray
        Its values.
    axes : list of dict
        One of :func:`axis_entry` for each dimension.
    title, units : str or bytes
        Name and unit of the values.
    described : str or bytes or None
        The attributes of a file of ours: see :func:`~stemtwin.datasets.formats.calibrations.described`.
    places : dict of ndarray
        Coordinates of a file of ours that are not axes, (n,).
    """
    original = {} if described is None else {"stemtwin": {"attributes": text(described), "places": places}}
    return {
        "data": data,
        "axes": axes,
        "metadata": {"General": {"title": text(title)}, "Signal": {"quantity": text(units)}},
        "original_metadata": original,
    }


def plain_signal(data: Any, title: str, axes: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Return a signal of a foreign file: values, their name, and axes, uncalibrated ones where none are given."""
    listed = axes if axes is not None else [{"name": "", "units": None, "scale": 1.0, "offset": 0.0, "size": size} for size in data.shape]
    return {"data": data, "axes": listed, "metadata": {"General": {"title": title}, "Signal": {}}, "original_metadata": {}}


def text(value: Any) -> str:
    """Return a string that a file may hold as bytes, in UTF-8 or Latin-1, or as an array of one."""
    if isinstance(value, np.ndarray):
        value = value.ravel()[0] if value.size else ""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.decode("latin-1")
    return str(value)
