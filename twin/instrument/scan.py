"""Where the beam goes: scan paths as pure geometry, in specimen coordinates."""

import math
from dataclasses import dataclass

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument import checks


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterScan:
    """A rectangular raster, fast axis along x.

    Parameters
    ----------
    shape : tuple of int
        Number of points (ny, nx).
    field_of_view_angstrom : tuple of float
        Height and width (y, x) of the field, A; the pitch is the field of view divided by the shape.
    origin_angstrom : tuple of float
        Specimen coordinates (x, y) of the centre of pixel [0, 0] before rotation, A.
    rotation_rad : float
        Turns the field about its centre, (x, y) -> (x cos t - y sin t, x sin t + y cos t), from +x to +y.

    Raises
    ------
    SettingsError
        A number is out of range.
    """

    shape: tuple[int, int]
    field_of_view_angstrom: tuple[float, float]
    origin_angstrom: tuple[float, float] = (0.0, 0.0)
    rotation_rad: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        object.__setattr__(self, "shape", checks.whole_pair("shape", self.shape, low=1, high=16384))
        object.__setattr__(self, "field_of_view_angstrom", checks.pair("field_of_view_angstrom", self.field_of_view_angstrom, "A", above=0))
        object.__setattr__(self, "origin_angstrom", checks.pair("origin_angstrom", self.origin_angstrom, "A"))
        object.__setattr__(self, "rotation_rad", checks.number("rotation_rad", self.rotation_rad, "rad"))

    @property
    def pitch_angstrom(self) -> tuple[float, float]:
        """Distance between points (dy, dx), A."""
        return self.field_of_view_angstrom[0] / self.shape[0], self.field_of_view_angstrom[1] / self.shape[1]

    @property
    def centre_angstrom(self) -> tuple[float, float]:
        """Specimen coordinates (x, y) of the middle between the first and the last pixel's centre, about which the field turns, A."""
        (dy, dx), (ny, nx) = self.pitch_angstrom, self.shape
        return self.origin_angstrom[0] + dx * (nx - 1) / 2, self.origin_angstrom[1] + dy * (ny - 1) / 2

    def positions(self) -> np.ndarray:
        """Return the specimen coordinates (x, y) of every point, A, shape (ny, nx, 2)."""
        (dy, dx), (cx, cy) = self.pitch_angstrom, self.centre_angstrom
        x = self.origin_angstrom[0] + dx * np.arange(self.shape[1]) - cx
        y = (self.origin_angstrom[1] + dy * np.arange(self.shape[0]) - cy)[:, None]
        cos, sin = math.cos(self.rotation_rad), math.sin(self.rotation_rad)
        return np.stack(np.broadcast_arrays(cx + x * cos - y * sin, cy + x * sin + y * cos), axis=-1)

    def frame_coordinates(self, points: np.ndarray) -> np.ndarray:
        """Return where specimen points (x, y), A, shape (n, 2), lie in the frame: x and y along its own axes from pixel [0, 0], A, shape (n, 2)."""
        (cx, cy), (ox, oy) = self.centre_angstrom, self.origin_angstrom
        x, y = np.asarray(points)[:, 0] - cx, np.asarray(points)[:, 1] - cy
        cos, sin = math.cos(self.rotation_rad), math.sin(self.rotation_rad)
        return np.column_stack([cx + x * cos + y * sin - ox, cy - x * sin + y * cos - oy])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PathScan:
    """Any list of points.

    Parameters
    ----------
    positions_angstrom : array_like
        Specimen coordinates (x, y) of each point, A, shape (n, 2).

    Raises
    ------
    SettingsError
        The points are no finite array of that shape.
    """

    positions_angstrom: np.ndarray

    def __post_init__(self) -> None:
        """Check the numbers and freeze them."""
        try:
            points = np.array(self.positions_angstrom, dtype=float)
        except (TypeError, ValueError):
            points = np.empty(0)
        if points.ndim != 2 or points.shape[1:] != (2,) or not len(points) or not np.isfinite(points).all():
            message = f"positions_angstrom has shape {points.shape} or holds no finite numbers. Give one (x, y) in A per point, shape (n, 2)."
            raise SettingsError(message)
        points.flags.writeable = False
        object.__setattr__(self, "positions_angstrom", points)

    @property
    def shape(self) -> tuple[int]:
        """Number of points (n,)."""
        return (len(self.positions_angstrom),)

    def positions(self) -> np.ndarray:
        """Return the specimen coordinates (x, y) of every point, A, shape (n, 2)."""
        return self.positions_angstrom


Scan = RasterScan | PathScan
