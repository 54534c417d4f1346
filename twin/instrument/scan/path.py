"""Scans whose results are lists of points."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.scan.kinds import SCANS


class PointScan:
    """Base class of scans whose results are lists of points. The beam visits the points in their order, without pauses."""

    __slots__ = ()
    dims: ClassVar[tuple[str, ...]] = ("point",)
    pause: ClassVar[str] = "none"
    shape: tuple[int]

    @property
    def count(self) -> int:
        """Number of points that the beam visits."""
        return self.shape[0]

    def positions(self) -> np.ndarray:
        """Return the specimen coordinates (x, y) of every point, A, shape (n, 2)."""
        raise NotImplementedError

    def axes(self) -> None:
        """Return None, because the scan is not a raster."""

    def order(self) -> np.ndarray:
        """Return the index of the point of each visit, in visiting order, shape (n,)."""
        return np.arange(self.count)

    def points(self) -> np.ndarray:
        """Return the specimen coordinates (x, y) of the visits in visiting order, A, shape (n, 2)."""
        return self.positions()

    def frame(self, values: np.ndarray) -> np.ndarray:
        """Return values (..., n) unchanged, because the visiting order is the order of the points."""
        return values

    def line_starts(self) -> np.ndarray:
        """Return the array [0], because the whole scan is one line, which begins with visit 0."""
        return np.zeros(1, int)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PathScan(PointScan):
    """A scan over any list of points.

    Parameters
    ----------
    positions_angstrom : array_like
        Specimen coordinates (x, y) of each point, A, shape (n, 2).

    Raises
    ------
    SettingsError
        The points are not a finite array of shape (n, 2).

    Examples
    --------
    >>> import stemtwin as st
    >>> st.PathScan(positions_angstrom=[(0, 0), (1, 0), (1, 3)]).field_of_view_angstrom
    (3.0, 1.0)
    """

    positions_angstrom: np.ndarray

    def __post_init__(self) -> None:
        """Check the numbers and freeze them."""
        try:
            points = np.array(self.positions_angstrom, dtype=float)
        except (TypeError, ValueError, OverflowError):
            points = np.empty(0)
        if points.ndim != 2 or points.shape[1:] != (2,) or not len(points) or not np.isfinite(points).all():
            message = f"positions_angstrom, of shape {points.shape}, is not a finite array of shape (n, 2). Give one (x, y) in A per point."
            raise SettingsError(message)
        points.flags.writeable = False
        object.__setattr__(self, "positions_angstrom", points)

    @property
    def shape(self) -> tuple[int]:
        """Number of points (n,)."""
        return (len(self.positions_angstrom),)

    @property
    def centre_angstrom(self) -> tuple[float, float]:
        """Middle (x, y) of the rectangle around the points, A."""
        low, high = self.positions_angstrom.min(axis=0), self.positions_angstrom.max(axis=0)
        return float(low[0] + high[0]) / 2, float(low[1] + high[1]) / 2

    @property
    def field_of_view_angstrom(self) -> tuple[float, float]:
        """Height and width of the rectangle around the points, A."""
        width, height = np.ptp(self.positions_angstrom, axis=0)
        return float(height), float(width)

    def positions(self) -> np.ndarray:
        """Return the specimen coordinates (x, y) of every point, A, shape (n, 2)."""
        return self.positions_angstrom


SCANS.add("path", PathScan)
