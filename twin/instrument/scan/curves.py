"""Scans along smooth curves, without flyback or sharp turns."""

import math
from dataclasses import dataclass

import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.scan.kinds import SCANS
from stemtwin.twin.instrument.scan.path import PointScan

MOST_POINTS = 16384**2
"""Largest number of points, as in the largest raster."""
MOTIONS = ("linear-speed", "angular-speed")
"""Laws of motion of the beam along a spiral."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpiralScan(PointScan):
    """An Archimedean spiral from the centre outwards with equally spaced turns; it turns from +x to +y.

    Parameters
    ----------
    shape : int or tuple of int
        Number of points (n,), equally spaced in time.
    diameter_angstrom : float
        Diameter of the field, A.
    centre_angstrom : tuple of float
        Specimen coordinates (x, y) of the centre, A.
    turns : float, optional
        Number of turns; None: sqrt(n / pi), for which the distance between turns equals the distance between points
        along a turn.
    motion : str
        ``"linear-speed"``: constant linear speed and uniform density of points. ``"angular-speed"``: constant angular speed and
        a density of points that falls as 1 / r.
    rotation_rad : float
        Azimuth of the start of the spiral, measured from +x to +y, rad.

    Raises
    ------
    SettingsError
        A number is out of range.

    Notes
    -----
    Both motions follow Sang et al., Adv. Struct. Chem. Imaging 2 (2016) 6.

    Examples
    --------
    >>> import numpy as np
    >>> import stemtwin as st
    >>> points = st.SpiralScan(shape=1000, diameter_angstrom=20).points()
    >>> float(np.hypot(*points.T).max().round(2))
    10.0
    """

    shape: tuple[int]
    diameter_angstrom: float
    centre_angstrom: tuple[float, float] = (0.0, 0.0)
    turns: float | None = None
    motion: str = MOTIONS[0]
    rotation_rad: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        object.__setattr__(self, "shape", _count(self.shape))
        object.__setattr__(self, "diameter_angstrom", checks.number("diameter_angstrom", self.diameter_angstrom, "A", above=0))
        object.__setattr__(self, "centre_angstrom", checks.pair("centre_angstrom", self.centre_angstrom, "A"))
        object.__setattr__(self, "rotation_rad", checks.number("rotation_rad", self.rotation_rad, "rad"))
        if self.turns is not None:
            object.__setattr__(self, "turns", checks.number("turns", self.turns, "turns", above=0, high=self.shape[0]))
        checks.choice("motion", self.motion, MOTIONS)

    @property
    def field_of_view_angstrom(self) -> tuple[float, float]:
        """Height and width of the square around the field, A."""
        return self.diameter_angstrom, self.diameter_angstrom

    def positions(self) -> np.ndarray:
        """Return the specimen coordinates (x, y) of every point, A, shape (n, 2)."""
        angle = self._angles()
        radius = self.diameter_angstrom / (4 * math.pi * self._turns()) * angle
        angle = angle + self.rotation_rad
        cx, cy = self.centre_angstrom
        return np.column_stack([cx + radius * np.cos(angle), cy + radius * np.sin(angle)])

    def line_starts(self) -> np.ndarray:
        """Return the index of the first point on each turn of the spiral."""
        return _firsts(np.floor(self._angles() / (2 * math.pi)))

    def _turns(self) -> float:
        return self.turns or math.sqrt(self.shape[0] / math.pi)

    def _angles(self) -> np.ndarray:
        """Return the angle of each point from the start, in the middle of its dwell time, rad, shape (n,)."""
        last = 2 * math.pi * self._turns()
        share = (np.arange(self.shape[0]) + 0.5) / self.shape[0]
        if self.motion == "angular-speed":
            return last * share
        length = share * _length(np.array(last))
        # The length is at least theta and at least theta^2 / 2, so Newton's method starts above the root.
        angle = np.minimum(length, np.sqrt(2 * length))
        for _ in range(6):
            angle = angle - (_length(angle) - length) / np.sqrt(1 + angle**2)
        return angle


def _length(angle: np.ndarray) -> np.ndarray:
    """Return the arc length of r = theta from its centre."""
    return (angle * np.sqrt(1 + angle**2) + np.arcsinh(angle)) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LissajousScan(PointScan):
    """A Lissajous figure, with sinusoidal motion along both axes.

    Parameters
    ----------
    shape : int or tuple of int
        Number of points (n,), equally spaced in time over one period of the figure.
    field_of_view_angstrom : tuple of float
        Height and width (y, x) of the field, A. The curve touches the edges of the field.
    centre_angstrom : tuple of float
        Specimen coordinates (x, y) of the centre, A.
    cycles : tuple of int
        Number of oscillations (along y, along x) in one period, without a common divisor.
    phase_rad : float, optional
        Phase of the oscillation along x, rad. None: the phase that gives the largest distance between lines. This phase
        is pi / (2 cycles_y) if both numbers of ``cycles`` are odd, and 0 otherwise.
    rotation_rad : float
        Rotation of the field about its centre, from +x to +y, rad.

    Raises
    ------
    SettingsError
        A number is out of range, or the cycles have a common divisor.

    Notes
    -----
    The curve is x = (width / 2) sin(2 pi cycles_x t + phase), y = (height / 2) sin(2 pi cycles_y t), with t
    from 0 to 1.

    Examples
    --------
    >>> import stemtwin as st
    >>> scan = st.LissajousScan(shape=400, field_of_view_angstrom=(10, 20), cycles=(8, 9))
    >>> scan.points().max(axis=0).round(1).tolist()
    [10.0, 5.0]
    """

    shape: tuple[int]
    field_of_view_angstrom: tuple[float, float]
    centre_angstrom: tuple[float, float] = (0.0, 0.0)
    cycles: tuple[int, int] = (31, 32)
    phase_rad: float | None = None
    rotation_rad: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        object.__setattr__(self, "shape", _count(self.shape))
        object.__setattr__(self, "field_of_view_angstrom", checks.pair("field_of_view_angstrom", self.field_of_view_angstrom, "A", above=0))
        object.__setattr__(self, "centre_angstrom", checks.pair("centre_angstrom", self.centre_angstrom, "A"))
        object.__setattr__(self, "cycles", checks.whole_pair("cycles", self.cycles, low=1, high=16384))
        object.__setattr__(self, "rotation_rad", checks.number("rotation_rad", self.rotation_rad, "rad"))
        if self.phase_rad is not None:
            object.__setattr__(self, "phase_rad", checks.number("phase_rad", self.phase_rad, "rad"))
        if (common := math.gcd(*self.cycles)) > 1:
            message = (
                f"cycles={self.cycles} have the common divisor {common}, so the curve would repeat itself. "
                f"Use neighbouring numbers, such as (31, 32)."
            )
            raise SettingsError(message)

    def positions(self) -> np.ndarray:
        """Return the specimen coordinates (x, y) of every point, A, shape (n, 2)."""
        time = self._times()
        (height, width), (ny, nx), (cx, cy) = self.field_of_view_angstrom, self.cycles, self.centre_angstrom
        phase = self.phase_rad if self.phase_rad is not None else (math.pi / (2 * ny) if ny % 2 and nx % 2 else 0.0)
        x, y = width / 2 * np.sin(2 * math.pi * nx * time + phase), height / 2 * np.sin(2 * math.pi * ny * time)
        cos, sin = math.cos(self.rotation_rad), math.sin(self.rotation_rad)
        return np.column_stack([cx + x * cos - y * sin, cy + x * sin + y * cos])

    def line_starts(self) -> np.ndarray:
        """Return the index of the first point in each oscillation along x."""
        return _firsts(np.floor(self._times() * self.cycles[1]))

    def _times(self) -> np.ndarray:
        return (np.arange(self.shape[0]) + 0.5) / self.shape[0]


def _count(given: object) -> tuple[int]:
    if isinstance(given, (tuple, list)) and len(given) == 1:
        given = given[0]
    return (checks.whole("shape", given, low=1, high=MOST_POINTS),)


def _firsts(number: np.ndarray) -> np.ndarray:
    """Return the indices where a sequence of numbers changes, including its first."""
    return np.flatnonzero(np.diff(number, prepend=-1))


SCANS.add("spiral", SpiralScan)
SCANS.add("lissajous", LissajousScan)
