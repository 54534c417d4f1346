"""EMD of NCEM, versions before 1.0 (emdatasets.com/format).

An HDF5 group holds an array ``data`` and its axes ``dim1``, ``dim2`` and so on, in the order of the array's dimensions.
"""

from pathlib import Path
from typing import Any

import numpy as np

from stemtwin.datasets.formats.file_formats import unreadable
from stemtwin.datasets.formats.signal_dictionaries import plain_signal, text
from stemtwin.datasets.formats.units import unit_of
from stemtwin.twin.errors import DatasetError

OTHERS = ("4DSTEM_simulation", "4DSTEM_experiment", "Version")
"""Groups in files of Prismatic, of py4DSTEM before 1.0 and of Velox, which RosettaSciIO reads."""
TIMES = ("time", "t", "frame", "frames")
"""Names of axes that number the images of a stack, in lower case."""
EVEN = 1e-4
"""Largest deviation of evenly spaced points from even spacing, over the step; axes may have single precision."""


def is_ncem(path: Path) -> bool:
    """Return True if a file has the form of NCEM's EMD; raise DatasetError if the file is not HDF5.

    Files of Prismatic, of py4DSTEM before 1.0 and of Velox have other forms.
    """
    import h5py

    try:
        with h5py.File(path) as file:
            return not any(name in file for name in OTHERS) and bool(_groups(file))
    except OSError as error:
        raise unreadable(path, "EMD", error) from error


def read(path: Path, *, lazy: bool) -> list[dict[str, Any]]:
    """Return the arrays of a file as dictionaries in RosettaSciIO's form.

    The axes keep the order of the file, with one exception. Where x directly precedes y, as in files of HyperSpy, the two axes are swapped. The same
    holds for kx and ky, and for qx and qy.

    Raises
    ------
    DatasetError
        The file is damaged, or the number of points of an axis differs from that of the array.
    """
    import h5py

    file = h5py.File(path)
    try:
        names = _groups(file)
        if not names:
            reason = "it is HDF5 without an EMD group, which holds data and dim1, dim2, ..."
            raise ValueError(reason)
        return [_signal(path, file[name], lazy=lazy) for name in names]
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        if isinstance(error, DatasetError):
            raise
        raise unreadable(path, "EMD of NCEM", error) from error
    finally:
        if not lazy:
            file.close()


def _groups(file: Any) -> list[str]:
    """Return the names of the groups with an array and its axes."""
    import h5py

    found: list[str] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Group) and "emd_group_type" in item.attrs and isinstance(item.get("data"), h5py.Dataset):
            first = 0 if "dim0" in item else 1
            if item["data"].ndim and all(f"dim{first + i}" in item for i in range(item["data"].ndim)):
                found.append(name)

    file.visititems(visit)
    return found


def _signal(path: Path, group: Any, *, lazy: bool) -> dict[str, Any]:
    data = group["data"]
    if lazy:
        import dask.array as da

        values: Any = da.from_array(data, chunks=data.chunks or "auto")
    else:
        values = data[()]
    first = 0 if "dim0" in group else 1
    axes = [_axis(path, group[f"dim{first + i}"], size, navigate=i < data.ndim - 2) for i, size in enumerate(data.shape)]
    names = [axis["name"].lower() for axis in axes]
    for x, y in (("x", "y"), ("kx", "ky"), ("qx", "qy")):
        if x in names and y in names and names.index(y) == names.index(x) + 1:
            i = names.index(x)
            axes[i], axes[i + 1], names[i], names[i + 1] = axes[i + 1], axes[i], y, x
            values = values.swapaxes(i, i + 1)
    for i, axis in enumerate(axes):
        axis["navigate"] = i < len(axes) - 2
    return plain_signal(values, group.name.rsplit("/", maxsplit=1)[-1], axes)


def _axis(path: Path, dim: Any, size: int, *, navigate: bool) -> dict[str, Any]:
    """Return an axis; the file holds all its points, only the first two points, or texts, which are ignored."""
    name, units = text(dim.attrs.get("name", "")), text(dim.attrs.get("units", ""))
    points = np.atleast_1d(np.asarray(dim[()]))
    axis: dict[str, Any] = {"name": name, "size": size, "units": units, "scale": 1.0, "offset": 0.0, "navigate": navigate}
    if points.dtype.kind not in "iuf":
        return axis | {"units": None}
    points = points.astype(float)
    if points.size not in (size, 2):
        message = f"{path} has {points.size} points in {dim.name}, but the array has {size} along this axis. Write the axis again."
        raise DatasetError(message)
    if points.size > 1:
        step = float(points[-1] - points[0]) / (points.size - 1)
        axis |= {"scale": step, "offset": float(points[0])}
        if points.size == size and not np.allclose(np.diff(points), step, rtol=0, atol=EVEN * abs(step)):
            axis["axis"] = points
    else:
        axis["offset"] = float(points[0])
    unit = unit_of(units)
    if navigate and name.lower() in TIMES:
        axis |= {"name": "frame", "units": None, "scale": 1.0, "offset": 0.0}
        axis.pop("axis", None)
        if unit and unit[0] == "s" and points.size == size:
            axis["times"] = points * unit[1]
    return axis
