"""Vacuum along the directions in which a structure does not repeat."""

import numpy as np

BOUNDED_MARGIN = 10.0  # A of vacuum along a direction that a file marks as not periodic


def add_vacuum(cell: np.ndarray, pbc: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return a cell (3, 3) with vacuum along its non-periodic directions, and a note.

    A non-periodic lattice vector is replaced by a vector that is perpendicular to the other two lattice vectors.

    Parameters
    ----------
    cell : (3, 3) float
        Lattice vectors as rows, A.
    pbc : (3,) bool
        Mask of the periodic lattice vectors.
    positions : (n, 3) float
        Positions of the atoms, A.
    """
    from ase.geometry import complete_cell

    if pbc.all():
        return cell, ()
    cell = np.array(complete_cell(cell))
    for axis in np.flatnonzero(~pbc):
        normal = np.cross(cell[axis - 2], cell[axis - 1])
        if (length := np.linalg.norm(normal)) > 0:
            normal = normal / length
            cell[axis] = normal * (np.ptp(positions @ normal) + BOUNDED_MARGIN)
    absent = ", ".join(axis for axis, repeats in zip("abc", pbc, strict=True) if not repeats)
    return cell, (f"The file does not repeat along {absent}: vacuum was added there.",)
