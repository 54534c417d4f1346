"""The truth of a frame: the projected columns that lie in it, with their positions."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from stemtwin.twin.instrument.scan import RasterScan
    from stemtwin.twin.samples.columns import Columns


def frame_columns(columns: "Columns", size_angstrom: tuple[float, float], scan: "RasterScan", visible_fraction: float) -> dict[str, Any]:
    """Return the projected columns that lie in a frame.

    The columns of the periodic cell are repeated over the plane and converted to the coordinates of the frame, which
    may have any origin and rotation.

    Parameters
    ----------
    columns : Columns
        Projected columns of one cell, in sample coordinates, A.
    size_angstrom : tuple of float
        Size (y, x) of the periodic cell, A.
    scan : RasterScan
        Raster of the frame.
    visible_fraction : float
        Smallest weight of a visible column, relative to the largest weight in the frame.

    Returns
    -------
    dict
        The number of columns, ``n_columns``, and lists with one entry per column, sorted by y, then x:
        ``column_x_angstrom`` and ``column_y_angstrom`` (A), ``column_species``, ``column_heaviest`` (atomic number of the
        heaviest element), ``column_occupancy`` (number of atoms) and ``column_visible``. The centre of pixel [0, 0] is
        (0, 0), and x runs along the last axis. A column is in the frame if it lies in one of the pixels, which extend half
        a pitch to each side of their centres.
    """
    points, which = _repeat(columns, size_angstrom, scan)
    x, y = np.asarray(scan.frame_coordinates(points)).T
    (dy, dx), (ny, nx) = scan.pitch_angstrom, scan.shape
    inside = (x >= -dx / 2) & (x < (nx - 0.5) * dx) & (y >= -dy / 2) & (y < (ny - 0.5) * dy)
    x, y, which = x[inside], y[inside], which[inside]
    order = np.lexsort((x, y))
    x, y, which = x[order], y[order], which[order]
    weight = np.asarray(columns.weight)[which]
    return {
        "n_columns": len(which),
        "column_x_angstrom": x.tolist(),
        "column_y_angstrom": y.tolist(),
        "column_species": [str(columns.species[i]) for i in which],
        "column_heaviest": np.asarray(columns.heaviest)[which].astype(int).tolist(),
        "column_occupancy": np.asarray(columns.occupancy)[which].astype(float).tolist(),
        "column_visible": (weight >= visible_fraction * weight.max(initial=0.0)).tolist(),
    }


def _repeat(columns: "Columns", size_angstrom: tuple[float, float], scan: "RasterScan") -> tuple[np.ndarray, np.ndarray]:
    """Return the positions (m, 2), x and y in A, of repeated columns around a frame, and their indices (m,) in the cell."""
    corners = scan.positions()[[0, 0, -1, -1], [0, -1, 0, -1]]
    margin = max(scan.pitch_angstrom)
    cell = np.array([size_angstrom[1], size_angstrom[0]])
    low = np.floor((corners.min(axis=0) - margin) / cell).astype(int) - 1
    high = np.ceil((corners.max(axis=0) + margin) / cell).astype(int)
    shifts = np.stack(np.meshgrid(*(np.arange(a, b + 1) for a, b in zip(low, high, strict=True))), axis=-1).reshape(-1, 2) * cell
    points = np.column_stack([columns.x, columns.y])
    return (points + shifts[:, None]).reshape(-1, 2), np.tile(np.arange(len(points)), len(shifts))
