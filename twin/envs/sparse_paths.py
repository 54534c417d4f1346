"""Blocks of a scan path: lines, spirals and scattered points between two corners, and their durations."""

import functools
import math
from dataclasses import dataclass

import numpy as np

from stemtwin.twin.envs.functional_env import read_only
from stemtwin.twin.instrument.hardware.profiles import find_profile
from stemtwin.twin.instrument.timing import ScanTiming

COUNT = 64
"""Number of points in one block."""
KINDS = ("line", "spiral", "hops")
"""Kinds of blocks in a rectangle: its diagonal, a spiral from its centre outwards, or points scattered over it."""
REACH = 3.0
"""Largest step of the beam within a dwell time, points; longer steps are hops."""
HOP_US = 40.0
"""Settling time after a hop, with the beam blanked, us."""
PLASTIC = 1.324717957244746
"""The number p with p^3 = p + 1: multiples of 1/p and 1/p^2 fill a square evenly (M. Roberts, 2018)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """A block of a scan path: 64 points in a rectangle.

    Parameters
    ----------
    kind : str
        ``"line"``: the diagonal; ``"spiral"``: a spiral from the centre outwards; ``"hops"``: scattered points.
    corners : tuple of float
        x and y of the first corner, then x and y of the opposite corner, fractions of the field, 0 to 1.
    pixels : ndarray
        Row and column of each point in the order of the visits, int64 (64, 2).
    jumps : ndarray
        Indices of the points reached by a hop, including the first point.
    flyback_us : float
        Time from the end of the previous block to the first point, us.
    """

    kind: str
    corners: tuple[float, float, float, float]
    pixels: np.ndarray
    jumps: np.ndarray
    flyback_us: float

    @property
    def overhead_us(self) -> float:
        """Part of the duration during which the beam is blanked, us."""
        return self.flyback_us + HOP_US * (len(self.jumps) - 1)

    def time_us(self, dwell_us: float) -> float:
        """Return the duration of the block, us, including the flyback to its first point."""
        return COUNT * dwell_us + self.overhead_us

    def timing(self, dwell_us: float) -> ScanTiming:
        """Return the times of the visits, counted from the end of the previous block."""
        dwell, pause = dwell_us * 1e-6, np.full(len(self.jumps), HOP_US * 1e-6)
        pause[0] = self.flyback_us * 1e-6
        return ScanTiming(start_s=0.0, dwell_s=dwell, count=COUNT, origin_s=np.cumsum(pause), starts=self.jumps, pause_s=pause, tail_s=0.0)


def block(kind: str, corners: tuple[float, float, float, float], points: int, profile: str) -> Block:
    """Return a block of a scan path.

    Parameters
    ----------
    kind : str
        ``"line"``: the diagonal; ``"spiral"``: a spiral from the centre outwards; ``"hops"``: scattered points.
    corners : tuple of float
        x and y of both corners, fractions of the field, 0 to 1.
    points : int
        Number of points along each side of the field.
    profile : str
        Name of the instrument, which defines the flyback time.
    """
    places = np.array(corners, float).reshape(2, 2) * (points - 1)
    way = places[0] + _pattern(kind) * (places[1] - places[0])
    pixels = np.clip(np.rint(way), 0, points - 1).astype(np.int64)[:, ::-1]
    far = np.hypot(*np.diff(pixels, axis=0, prepend=pixels[:1]).T) > REACH
    far[0] = True
    jumps, pause = read_only(np.flatnonzero(far)), find_profile(profile).flyback_us
    return Block(kind=kind, corners=corners, pixels=read_only(pixels), jumps=jumps, flyback_us=pause)


@functools.lru_cache(maxsize=4)
def _pattern(kind: str) -> np.ndarray:
    """Return the points (x, y) of a kind of block in the square from 0 to 1, shape (64, 2), read-only."""
    number = np.arange(COUNT)
    if kind == "line":
        out = np.repeat(number[:, None] / (COUNT - 1), 2, axis=1)
    elif kind == "spiral":
        share = (number + 0.5) / COUNT
        radius, angle = 0.5 * np.sqrt(share), 2 * math.pi * np.sqrt(COUNT / math.pi) * np.sqrt(share)
        out = 0.5 + np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    else:
        out = (0.5 + (number[:, None] + 1) / PLASTIC ** np.arange(1, 3)) % 1
    out.setflags(write=False)
    return out


def overview(points: int, profile: str) -> Block:
    """Return the block with which episodes begin: hops over the whole field."""
    return block("hops", (0.0, 0.0, 1.0, 1.0), points, profile)


def raster(lines: int, points: int, profile: str) -> list[Block]:
    """Return the blocks of a raster of equally spaced lines across the field, one block for each line."""
    rows = (np.arange(lines) + 0.5) / max(lines, 1)
    return [block("line", (0.0, float(y), 1.0, float(y)), points, profile) for y in rows]
