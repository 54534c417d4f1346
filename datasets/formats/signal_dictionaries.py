"""Signals as RosettaSciIO's dictionaries of data, axes and metadata, which all readers return."""

from typing import Any

import numpy as np


def axis_entry(name: Any, units: Any, points: np.ndarray, size: int | None = None) -> dict[str, Any]:
    """Return an axis with its name, unit, step, first value and size; ``points`` (n,) may be just the first two."""
    step = float(points[1] - points[0]) if len(points) > 1 else 1.0
    return {"name": text(name), "units": text(units), "scale": step, "offset": float(points[0]), "size": size or len(points)}


def signal_entry(
    data: np.ndarray, axes: list[dict[str, Any]], title: Any, units: Any, described: Any, places: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Return a signal of a file that stemtwin may have written.

    Parameters
    ----------
    data : ndarray
        Values of the signal.
    axes : list of dict
        Axis from :func:`axis_entry` for each dimension.
    title, units : str or bytes
        Name and unit of the values.
    described : str or bytes or None
        Attributes of :func:`~stemtwin.datasets.formats.calibrations.described` for a file written by stemtwin.
    places : dict of ndarray
        Coordinates (n,) that are not axes, for a file written by stemtwin.
    """
    original = {} if described is None else {"stemtwin": {"attributes": text(described), "places": places}}
    return {
        "data": data,
        "axes": axes,
        "metadata": {"General": {"title": text(title)}, "Signal": {"quantity": text(units)}},
        "original_metadata": original,
    }


def plain_signal(data: Any, title: str, axes: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Return a signal of another program's file; its axes are uncalibrated if none are given."""
    listed = axes if axes is not None else [{"name": "", "units": None, "scale": 1.0, "offset": 0.0, "size": size} for size in data.shape]
    return {"data": data, "axes": listed, "metadata": {"General": {"title": title}, "Signal": {}}, "original_metadata": {}}


def text(value: Any) -> str:
    """Return a value as a string; files may hold it as bytes in UTF-8 or Latin-1, or as an array with one element."""
    if isinstance(value, np.ndarray):
        value = value.ravel()[0] if value.size else ""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.decode("latin-1")
    return str(value)
