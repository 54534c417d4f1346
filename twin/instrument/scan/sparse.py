"""Sparse scans, which visit only some of the points of a raster."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.scan.kinds import SCANS
from stemtwin.twin.instrument.scan.raster import RasterScan

PATTERNS = ("random", "line-hop")


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseScan(RasterScan):
    """A scan over some of the points of a raster. :class:`RasterScan` describes the parameters that are not listed here.

    Frames have the shape of the raster. At points that the beam does not visit, signals are NaN and counts are 0.
    Results have a coordinate ``visited``.

    Parameters
    ----------
    fraction : float, optional
        Fraction of the points that are visited, above 0 and at most 1. It is required if there is no mask.
    pattern : str
        ``"random"``: random points, line by line. ``"line-hop"``: the raster is divided into bands of 1 / fraction lines
        (rounded). The beam moves once along each band and, at each step, hops at random by at most one line.
        ``"mask"``: the points of ``mask``, line by line.
    seed : int
        Seed of the random patterns.
    mask : array_like of bool, optional
        True at visited points, shape (ny, nx). It is stored as one string of 0 and 1 per line, and ``pattern`` becomes
        ``"mask"``.

    Raises
    ------
    SettingsError
        A number is out of range, the mask has another shape or is empty, or fraction and mask are both given.

    Notes
    -----
    Line hopping follows Kovarik et al., Appl. Phys. Lett. 109 (2016) 164102. A random walk over
    neighbouring lines suits the bandwidth of the scan coils.

    Examples
    --------
    >>> import stemtwin as st
    >>> scan = st.SparseScan(shape=(64, 64), field_of_view_angstrom=(16, 16), fraction=0.25, seed=1)
    >>> scan.count
    1024
    """

    fraction: float | None = None
    pattern: str = "random"
    seed: int = 0
    mask: Any = None

    def __post_init__(self) -> None:
        """Check the numbers and freeze the mask."""
        RasterScan.__post_init__(self)
        if not isinstance(self.pattern, str):
            message = f"pattern={self.pattern!r} is unknown. Use {' or '.join(map(repr, PATTERNS))}, or give a mask."
            raise SettingsError(message)
        object.__setattr__(self, "seed", checks.whole("seed", self.seed, low=0))
        if self.mask is not None:
            if self.fraction is not None or self.pattern not in ("random", "mask"):
                message = f"A mask cannot be combined with fraction={self.fraction} or pattern={self.pattern!r}. Give only the mask, or no mask."
                raise SettingsError(message)
            object.__setattr__(self, "mask", _lines_of(self.mask, self.shape))
            object.__setattr__(self, "pattern", "mask")
            return
        if self.pattern not in PATTERNS:
            message = f"pattern={self.pattern!r} is unknown or lacks its mask. Use {' or '.join(map(repr, PATTERNS))}, or give a mask."
            raise SettingsError(message)
        share = checks.number("fraction", self.fraction, "of the points", above=0, high=1, repair="Give a fraction or a mask.")
        object.__setattr__(self, "fraction", share)

    @property
    def count(self) -> int:
        """Number of points that the beam visits."""
        return len(self._visits()[0])

    @property
    def visited(self) -> np.ndarray:
        """Mask of the visited points, bool, shape (ny, nx)."""
        out = np.zeros(self.shape, bool)
        out.flat[self._visits()[0]] = True
        return out

    def axes(self) -> None:
        """Return None, because the scan is not a complete raster."""

    def order(self) -> np.ndarray:
        """Return the flat index of the pixel of each visit, in visiting order, shape (n,)."""
        return self._visits()[0]

    def line_starts(self) -> np.ndarray:
        """Return the index of the first visit of each line or band of lines; lines without visits are left out."""
        return self._visits()[1]

    def points(self) -> np.ndarray:
        """Return the specimen coordinates (x, y) of the visits in visiting order, A, shape (n, 2)."""
        return self.positions().reshape(-1, 2)[self.order()]

    def frame(self, values: np.ndarray) -> np.ndarray:
        """Return frames, shape (..., ny, nx), of values in visiting order, shape (..., n).

        Points that were not visited are NaN, or 0 for integer types.
        """
        fill = np.nan if np.issubdtype(values.dtype, np.inexact) else 0
        out = np.full((*values.shape[:-1], self.shape[0] * self.shape[1]), fill, values.dtype)
        out[..., self.order()] = values
        return out.reshape(*values.shape[:-1], *self.shape)

    def _cut(self, start: tuple[int, int], size: tuple[int, int]) -> Self:
        (y, x), (ny, nx) = start, size
        straight = {"shape": self.shape, "field_of_view_angstrom": self.field_of_view_angstrom, "origin_angstrom": self.origin_angstrom}
        part = RasterScan(**straight, rotation_rad=self.rotation_rad).region(start, size)
        field = {"shape": size, "field_of_view_angstrom": part.field_of_view_angstrom, "origin_angstrom": part.origin_angstrom}
        return replace(self, **field, fraction=None, pattern="mask", mask=self.visited[y : y + ny, x : x + nx])

    def _visits(self) -> tuple[np.ndarray, np.ndarray]:
        return _visits(self.shape, self.pattern, self.fraction, self.seed, self.mask)


def _lines_of(mask: Any, shape: tuple[int, int]) -> tuple[str, ...]:
    if isinstance(mask, Sequence) and mask and all(isinstance(line, str) for line in mask):
        lines = tuple(mask)
    else:
        points = np.asarray(mask)
        if points.dtype != bool or points.ndim != 2:
            message = f"mask has shape {points.shape} and type {points.dtype}. Give an array of bool, shape (ny, nx)."
            raise SettingsError(message)
        lines = tuple("".join("01"[v] for v in line) for line in points.astype(int))
    if (len(lines), *{len(line) for line in lines}) != shape or set("".join(lines)) - set("01"):
        message = (
            f"mask has {len(lines)} lines of {len(lines[0])} characters, but the raster has {shape[0]} x {shape[1]} points. "
            f"Give one 0 or 1 for each point."
        )
        raise SettingsError(message)
    if "1" not in "".join(lines):
        message = "mask does not select any point. Set at least one of its points."
        raise SettingsError(message)
    return lines


@functools.lru_cache(maxsize=32)
def _visits(shape: tuple[int, int], pattern: str, fraction: float | None, seed: int, mask: tuple[str, ...] | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the flat indices in visiting order and the visits that begin a line, both read-only."""
    ny, nx = shape
    rng = np.random.Generator(np.random.Philox(seed))
    if pattern == "line-hop":
        height = min(ny, max(1, round(1 / (fraction or 1))))
        tops = range(0, ny, height)
        rows = [top + _walk(min(height, ny - top), nx, rng) for top in tops]
        order = (np.stack(rows) * nx + np.arange(nx)).ravel()
        starts = nx * np.arange(len(tops))
    else:
        if mask is not None:
            order = np.flatnonzero(np.frombuffer("".join(mask).encode(), np.uint8) == ord("1"))
        else:
            order = np.sort(rng.choice(ny * nx, max(1, round((fraction or 1) * ny * nx)), replace=False))
        starts = np.flatnonzero(np.diff(order // nx, prepend=-1))
    order.flags.writeable = starts.flags.writeable = False
    return order, starts


def _walk(height: int, steps: int, rng: np.random.Generator) -> np.ndarray:
    """Return a random walk (steps,) over 0..height - 1 in steps of -1, 0 or 1, clipped at the edges."""
    hops = rng.integers(-1, 2, steps)
    at, out = int(rng.integers(height)), np.empty(steps, int)
    for i, hop in enumerate(hops):
        at = min(max(at + int(hop), 0), height - 1)
        out[i] = at
    return out


SCANS.add("sparse", SparseScan)
