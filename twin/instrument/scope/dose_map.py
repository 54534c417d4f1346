"""Dose map in the coordinates of the specimen, over all frames, pauses and parked beams.

The map stores the number of electrons in square cells. Each exposure is stored in cells about as wide as the distance
between its points (0.25 A times a power of two), so an overview of a micrometre and a frame of one unit cell both need little
memory. The cells are grouped in square tiles, which exist only where the beam was. A map is a frozen value: an addition
returns a new map, which shares all unchanged tiles with the old map.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Self

import numpy as np
from scipy import ndimage

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.scan import RasterScan, Scan
from stemtwin.twin.instrument.timing import ScanTiming

FINEST_ANGSTROM = 0.25
"""Side of the smallest cells, A."""
TILE = 32
"""Number of cells along the side of a tile."""
LEVELS = 24
"""Number of doublings of the cells, up to a width of 0.2 mm."""
LARGEST_BOX = 2**22
"""Largest box of cells for which points are added in one group."""

DoseTile = tuple[int, int, int]
"""Level, row and column of a tile."""


def deposits(points: np.ndarray, timing: ScanTiming, incident: np.ndarray | float, *, blanked: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions at which one pass deposits electrons, and the numbers of these electrons.

    Pauses that are not blanked are included. Before each line, the beam waits at the line's first point, with the
    current that it has when it visits this point. After the last line, it returns to the first point of the scan and
    waits there, with the current of the last visit.

    Parameters
    ----------
    points : ndarray
        True positions (x, y) in visiting order, A, shape (n, 2).
    timing : ScanTiming
        Times of the visits.
    incident : ndarray or float
        Mean number of electrons at each visit, shape (n,), or one number for all visits.
    blanked : bool
        Whether the beam is off during pauses.

    Returns
    -------
    tuple of ndarray
        Positions (x, y), A, shape (m, 2), and electrons, shape (m,). The sum of the electrons is the current times the
        duration, or, with blanked pauses, times the total dwell time.
    """
    incident = np.broadcast_to(np.asarray(incident, float), timing.count)
    if blanked or not timing.duration_s > timing.count * timing.dwell_s:
        return points, incident
    rate = incident / timing.dwell_s
    waiting = rate[timing.starts] * timing.pause_s
    return np.concatenate([points, points[timing.starts], points[:1]]), np.concatenate([incident, waiting, [rate[-1] * timing.tail_s]])


def spacing_angstrom(scan: Scan) -> float:
    """Return the approximate spacing of a scan's points, A: the square root of the area of a pixel, or of the area per point."""
    if isinstance(scan, RasterScan):
        return math.sqrt(math.prod(scan.pitch_angstrom))
    return math.sqrt(math.prod(scan.field_of_view_angstrom) / scan.count)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DoseMap:
    """Map of the number of electrons through each cell of the specimen.

    Parameters
    ----------
    tiles : mapping
        Electrons per cell, read-only, shape (32, 32), by (level, row, column) of the tile. Cells of level l have the
        side 2^l / 4, A. Cell [i, j] of tile [r, c] of level l begins at y = (32 r + i) 2^l / 4, x = (32 c + j) 2^l / 4, A.
    """

    tiles: Mapping[DoseTile, np.ndarray] = field(default_factory=lambda: MappingProxyType({}))

    def __reduce__(self) -> tuple[type[Self], tuple[()], dict[DoseTile, np.ndarray]]:
        """Return the arguments of a pickle, as a read-only view of a dict cannot be pickled."""
        return type(self), (), dict(self.tiles)

    def __setstate__(self, state: dict[DoseTile, np.ndarray]) -> None:
        """Restore pickled tiles as read-only arrays."""
        for tile in state.values():
            tile.flags.writeable = False
        object.__setattr__(self, "tiles", MappingProxyType(state))

    @property
    def electrons(self) -> float:
        """Total number of electrons on the map, up to rounding."""
        return math.fsum(float(tile.sum()) for tile in self.tiles.values())

    @property
    def extent_angstrom(self) -> tuple[float, float, float, float] | None:
        """Rectangle (x0, y0, x1, y1) of all tiles, A; None for an empty map."""
        if not self.tiles:
            return None
        boxes = np.array([[c * s, r * s, (c + 1) * s, (r + 1) * s] for (level, r, c) in self.tiles for s in [TILE * FINEST_ANGSTROM * 2**level]])
        return (*boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist())

    def add(self, points: np.ndarray, electrons: np.ndarray | float, *, spacing_angstrom: float = 0.0) -> Self:
        """Return a map to which electrons are added.

        The electrons of each point are distributed bilinearly over the four nearest cells, which preserves their number and
        their mean position.

        Parameters
        ----------
        points : ndarray
            Positions (x, y), A, shape (n, 2).
        electrons : ndarray or float
            Number of electrons at each point, or one number for all points.
        spacing_angstrom : float
            Distance between the points, A. The cells are at least as wide as this distance.

        Raises
        ------
        SettingsError
            A number is negative or not finite.
        """
        where, many = np.asarray(points, float), np.asarray(electrons, float)
        if where.ndim != 2 or where.shape[1] != 2 or many.shape not in ((), where.shape[:1]):
            message = f"points has shape {where.shape}, electrons {many.shape}. Give (n, 2) positions (x, y) in A and (n,) numbers of electrons."
            raise SettingsError(message)
        many = np.broadcast_to(many, where.shape[:1])
        if not (np.isfinite(where).all() and np.isfinite(many).all() and (many >= 0).all()):
            message = "points and electrons must be finite, and electrons must not be negative. Correct these values."
            raise SettingsError(message)
        spacing = checks.number("spacing_angstrom", spacing_angstrom, "A", low=0)
        level = min(LEVELS, max(0, math.ceil(math.log2(spacing / FINEST_ANGSTROM) - 1e-9))) if spacing else 0
        new = dict(self.tiles)
        if len(where):
            _deposit(new, level, np.ascontiguousarray(where.T) / (FINEST_ANGSTROM * 2**level) - 0.5, many)
        return replace(self, tiles=MappingProxyType(new))

    def sample(
        self, origin_angstrom: tuple[float, float], shape: tuple[int, int], pitch_angstrom: tuple[float, float], *, blur_angstrom: float = 0.0
    ) -> np.ndarray:
        """Return the mean dose in each pixel of a rectangular grid.

        Parameters
        ----------
        origin_angstrom : tuple of float
            Centre (x, y) of pixel [0, 0], A.
        shape : tuple of int
            Number of pixels (ny, nx).
        pitch_angstrom : tuple of float
            Height and width (dy, dx) of a pixel, A.
        blur_angstrom : float
            Standard deviation of a Gaussian probe over which the electrons are distributed, A.

        Returns
        -------
        ndarray
            Dose, e-/A^2, float64, shape (ny, nx). Its sum times the area of a pixel is the number of electrons on the
            grid.
        """
        size, pitch = checks.whole_pair("shape", shape, low=1, high=16384), checks.pair("pitch_angstrom", pitch_angstrom, "A", above=0)
        origin = checks.pair("origin_angstrom", origin_angstrom, "A")
        blur = checks.number("blur_angstrom", blur_angstrom, "A", low=0)
        margin = [math.ceil(5 * blur / p) for p in pitch]
        edges = [
            origin[1 - axis] + pitch[axis] * (np.arange(-margin[axis], size[axis] + margin[axis] + 1) - 0.5) for axis in (0, 1)
        ]  # rows, then columns
        out = np.zeros([len(e) - 1 for e in edges])
        for (level, *place), tile in self.tiles.items():
            cell = FINEST_ANGSTROM * 2**level
            shares = [_shares(e, cell * TILE * at, cell) for e, at in zip(edges, place, strict=True)]
            if all(hit.stop > hit.start for hit, _ in shares):
                (rows, down), (columns, across) = shares
                out[rows, columns] += down @ tile @ across.T
        out /= pitch[0] * pitch[1]
        if blur:
            out = ndimage.gaussian_filter(out, [blur / p for p in pitch], mode="constant", truncate=5)
        return out[margin[0] : margin[0] + size[0], margin[1] : margin[1] + size[1]]

    def on_raster(self, scan: RasterScan, *, blur_angstrom: float = 0.0) -> np.ndarray:
        """Return the mean dose in each pixel of a raster without rotation, e-/A^2, shape (ny, nx); see :meth:`sample`.

        Raises
        ------
        SettingsError
            The raster is rotated.
        """
        if scan.rotation_rad:
            message = f"rotation_rad={scan.rotation_rad:g} does not match the axes of the dose map. Use a raster with rotation_rad=0, or at(points)."
            raise SettingsError(message)
        return self.sample(scan.origin_angstrom, scan.shape, scan.pitch_angstrom, blur_angstrom=blur_angstrom)

    def at(self, points: np.ndarray) -> np.ndarray:
        """Return the dose at points.

        The points (x, y), A, have the shape (..., 2), and the doses, e-/A^2, have the shape (...).
        The dose at a point is the sum over the cells of all sizes that contain the point.
        """
        where = np.asarray(points, float)
        flat = where.reshape(-1, 2)
        out = np.zeros(len(flat))
        for level in {key[0] for key in self.tiles}:
            cell = FINEST_ANGSTROM * 2**level
            index = np.floor(flat / cell).astype(np.int64)
            tiles, inside = np.divmod(index, TILE)
            for at in np.unique(tiles, axis=0):
                if (tile := self.tiles.get((level, int(at[1]), int(at[0])))) is not None:
                    here = (tiles == at).all(axis=1)
                    out[here] += tile[inside[here, 1], inside[here, 0]] / cell**2
        return out.reshape(where.shape[:-1])


def _deposit(tiles: dict[DoseTile, np.ndarray], level: int, places: np.ndarray, electrons: np.ndarray) -> None:
    """Add electrons at positions (x, y), (2, n), in cells from the centre of cell [0, 0], and replace affected tiles."""
    low = np.floor(places)
    first, last = low.min(axis=1) // TILE, (low.max(axis=1) + 1) // TILE + 1  # tiles of the box
    if (last - first).prod() * TILE**2 > max(LARGEST_BOX, 16 * TILE**2):
        groups = np.unique(low // TILE, axis=1, return_inverse=True)[1].ravel()
        order = np.argsort(groups, kind="stable")
        for group in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
            _deposit(tiles, level, places[:, group], electrons[group])
        return
    height, width = (int(n) * TILE for n in (last - first)[::-1])
    x, y = places - low
    index = ((low[1] - first[1] * TILE) * width + (low[0] - first[0] * TILE)).astype(np.intp)
    upper = electrons * y
    lower = electrons - upper
    box = np.zeros(height * width)
    for shift, amount in ((0, lower), (width, upper)):
        right = amount * x
        box += np.bincount(index + shift, amount - right, height * width)
        box += np.bincount(index + (shift + 1), right, height * width)
    blocks = box.reshape(height // TILE, TILE, width // TILE, TILE).swapaxes(1, 2)
    for row, column in np.argwhere(blocks.any(axis=(2, 3))):
        key = (level, int(first[1]) + int(row), int(first[0]) + int(column))
        tile = blocks[row, column] + tiles[key] if key in tiles else blocks[row, column].copy()
        tile.flags.writeable = False
        tiles[key] = tile


def _shares(edges: np.ndarray, start: float, cell: float) -> tuple[slice, np.ndarray]:
    """Return the pixels that overlap a row of 32 cells, and the fractions of the cells in them, (pixels, 32)."""
    first = max(int(np.searchsorted(edges, start, "right")) - 1, 0)
    last = min(int(np.searchsorted(edges, start + TILE * cell, "left")), len(edges) - 1)
    if last <= first:
        return slice(0, 0), np.empty((0, TILE))
    low = start + cell * np.arange(TILE)
    top = np.minimum(edges[first + 1 : last + 1, None], low + cell)
    return slice(first, last), np.maximum(top - np.maximum(edges[first:last, None], low), 0) / cell
