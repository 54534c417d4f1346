"""Rectangular rasters."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.scan.kinds import SCANS


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterScan:
    """A rectangular raster with its fast axis along x. Each line runs from left to right.

    Parameters
    ----------
    shape : tuple of int
        Number of points (ny, nx).
    field_of_view_angstrom : tuple of float
        Height and width (y, x) of the field of view, A. The pitch is the field of view divided by the shape.
    origin_angstrom : tuple of float
        Specimen coordinates (x, y) of the centre of pixel [0, 0] before rotation, A.
    rotation_rad : float
        Angle t (rad) by which the field of view is rotated about its centre, from +x to +y:
        (x, y) -> (x cos t - y sin t, x sin t + y cos t).

    Raises
    ------
    SettingsError
        A number is out of range.

    Examples
    --------
    >>> import stemtwin as st
    >>> scan = st.RasterScan(shape=(2, 4), field_of_view_angstrom=(4, 8))
    >>> scan.points()[:3].tolist()
    [[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]]
    """

    shape: tuple[int, int]
    field_of_view_angstrom: tuple[float, float]
    origin_angstrom: tuple[float, float] = (0.0, 0.0)
    rotation_rad: float = 0.0

    dims: ClassVar[tuple[str, ...]] = ("y", "x")
    pause: ClassVar[str] = "flyback"

    def __post_init__(self) -> None:
        """Check the numbers."""
        object.__setattr__(self, "shape", checks.whole_pair("shape", self.shape, low=1, high=16384))
        object.__setattr__(self, "field_of_view_angstrom", checks.pair("field_of_view_angstrom", self.field_of_view_angstrom, "A", above=0))
        object.__setattr__(self, "origin_angstrom", checks.pair("origin_angstrom", self.origin_angstrom, "A"))
        object.__setattr__(self, "rotation_rad", checks.number("rotation_rad", self.rotation_rad, "rad"))

    @property
    def pitch_angstrom(self) -> tuple[float, float]:
        """Distance (dy, dx) between neighbouring points, A."""
        return self.field_of_view_angstrom[0] / self.shape[0], self.field_of_view_angstrom[1] / self.shape[1]

    @property
    def centre_angstrom(self) -> tuple[float, float]:
        """Specimen coordinates (x, y), A, of the centre of rotation, which lies midway between the first and the last pixel."""
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
        """Return frame coordinates of specimen points; both are (x, y), A, shape (n, 2).

        Frame coordinates are measured from the centre of pixel [0, 0]: x along the lines of the frame, and y from line to
        line.
        """
        (cx, cy), (ox, oy) = self.centre_angstrom, self.origin_angstrom
        x, y = np.asarray(points)[:, 0] - cx, np.asarray(points)[:, 1] - cy
        cos, sin = math.cos(self.rotation_rad), math.sin(self.rotation_rad)
        return np.column_stack([cx + x * cos + y * sin - ox, cy - x * sin + y * cos - oy])

    @property
    def count(self) -> int:
        """Number of points that the beam visits."""
        return self.shape[0] * self.shape[1]

    def axes(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the coordinates y, shape (ny,), and x, shape (nx,), of an unrotated raster, A; return None for a rotated raster."""
        if self.rotation_rad:
            return None
        (dy, dx), (ox, oy) = self.pitch_angstrom, self.origin_angstrom
        return oy + dy * np.arange(self.shape[0]), ox + dx * np.arange(self.shape[1])

    def steps(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the vectors (x, y) from line to line and from column to column, A, shape (2,) each."""
        (dy, dx), cos, sin = self.pitch_angstrom, math.cos(self.rotation_rad), math.sin(self.rotation_rad)
        return np.array([-dy * sin, dy * cos]), np.array([dx * cos, dx * sin])

    def order(self) -> np.ndarray:
        """Return the flat index of the pixel of each visit, in visiting order, shape (n,)."""
        return np.arange(self.count)

    def points(self) -> np.ndarray:
        """Return the specimen coordinates (x, y) of the visits in visiting order, A, shape (n, 2)."""
        return self.positions().reshape(-1, 2)

    def frame(self, values: np.ndarray) -> np.ndarray:
        """Return frames, shape (..., ny, nx), of values in visiting order, shape (..., n)."""
        return values.reshape(*values.shape[:-1], *self.shape)

    def line_starts(self) -> np.ndarray:
        """Return the index of the first visit of each line, shape (ny,)."""
        return self.shape[1] * np.arange(self.shape[0])

    def region(self, first: tuple[int, int], shape: tuple[int, int]) -> Self:
        """Return a scan over the points in a rectangular part of this scan.

        Parameters
        ----------
        first : tuple of int
            Pixel [iy, ix] of this scan that becomes pixel [0, 0] of the part.
        shape : tuple of int
            Number of points (ny, nx) of the part.

        Raises
        ------
        SettingsError
            The part extends beyond the scan.
        """
        return self._cut(*self._part(first, shape))

    def _part(self, first: tuple[int, int], shape: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
        start = checks.whole_pair("first", first, low=0, high=16383)
        size = checks.whole_pair("shape", shape, low=1, high=16384)
        if any(a + n > whole for a, n, whole in zip(start, size, self.shape, strict=True)):
            whole = f"{self.shape[0]} x {self.shape[1]}"
            message = f"A region of {size[0]} x {size[1]} pixels from {start} extends beyond the scan of {whole}. Choose a smaller region."
            raise SettingsError(message)
        return start, size

    def _cut(self, start: tuple[int, int], size: tuple[int, int]) -> Self:
        (dy, dx), (cx, cy), (ox, oy) = self.pitch_angstrom, self.centre_angstrom, self.origin_angstrom
        x, y = ox + dx * (start[1] + (size[1] - 1) / 2) - cx, oy + dy * (start[0] + (size[0] - 1) / 2) - cy
        cos, sin = math.cos(self.rotation_rad), math.sin(self.rotation_rad)
        middle = (cx + x * cos - y * sin, cy + x * sin + y * cos)  # the part rotates about its own middle
        origin = (middle[0] - dx * (size[1] - 1) / 2, middle[1] - dy * (size[0] - 1) / 2)
        return replace(self, shape=size, field_of_view_angstrom=(dy * size[0], dx * size[1]), origin_angstrom=origin)


@dataclass(frozen=True, slots=True, kw_only=True)
class SerpentineScan(RasterScan):
    """A raster without flyback: lines with an odd index run from right to left. :class:`RasterScan` describes the parameters.

    Frames have the pixel order of a ``RasterScan``, so pixel [iy, ix] has the same position in both scans.

    Examples
    --------
    >>> import stemtwin as st
    >>> scan = st.SerpentineScan(shape=(2, 3), field_of_view_angstrom=(2, 3))
    >>> scan.points()[:, 0].tolist()
    [0.0, 1.0, 2.0, 2.0, 1.0, 0.0]
    """

    pause: ClassVar[str] = "turn"

    def order(self) -> np.ndarray:
        """Return the flat index of the pixel of each visit, in visiting order, shape (n,)."""
        return self._turned(np.arange(self.shape[0] * self.shape[1]).reshape(self.shape)).ravel()

    def points(self) -> np.ndarray:
        """Return the specimen coordinates (x, y) of the visits in visiting order, A, shape (n, 2)."""
        return self._turned(self.positions()).reshape(-1, 2)

    def frame(self, values: np.ndarray) -> np.ndarray:
        """Return frames, shape (..., ny, nx), of values in visiting order, shape (..., n)."""
        frames = values.reshape(-1, *self.shape).copy()
        frames[:, 1::2] = frames[:, 1::2, ::-1].copy()
        return frames.reshape(*values.shape[:-1], *self.shape)

    @staticmethod
    def _turned(rows: np.ndarray) -> np.ndarray:
        out = rows.copy()
        out[1::2] = rows[1::2, ::-1]
        return out


SCANS.add("raster", RasterScan)
SCANS.add("serpentine", SerpentineScan)
