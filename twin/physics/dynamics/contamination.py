"""Contamination: growth of a carbon film under and around the beam, and its temporary suppression by a beam shower.

The beam fixes molecules on the surface. At low current density J the growth is proportional to J; at high J the supply
of molecules limits the growth: dh/dt = supply k J / (1 + J / J_s). A fraction of the film grows in a halo beside the
beam, because diffusing molecules are also fixed there. The halo is the growth under the beam convolved with the Green
function of diffusion with loss, (1 - l^2 laplace)^-1. The default values are assumptions (mark [A]). They should be
replaced by values that are fitted to the instrument and the specimen.
"""

import math
from dataclasses import dataclass, fields, replace

import numpy as np
from scipy.fft import irfft2, next_fast_len, rfft2, rfftfreq

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.dynamics.exposure import Exposure

MOST_POINTS = 2**24


@dataclass(frozen=True, slots=True, kw_only=True)
class Contamination:
    """Growth parameters of a contamination film.

    Parameters
    ----------
    growth : float
        Growth k at low current density and full supply: height in A per dose of 1 electron / A^2.
    saturation : float
        Current density J_s above which the supply of molecules limits the growth, electrons / (A^2 s). The fastest
        growth is k J_s, 10 A / min by default.
    halo_fraction : float
        Fraction of the film that grows in the halo.
    halo_length : float
        Diffusion length l of molecules, A.
    recovery : float
        Time constant of the recovery of the supply after a shower, s.
    shower_dose : float
        Dose of a shower that reduces the supply to 1/e, electrons / A^2.
    removal_dose : float
        Dose of a shower that reduces the film to 1/e, electrons / A^2; infinite if a shower removes nothing.

    Raises
    ------
    SettingsError
        A number is out of range.
    """

    growth: float = 1.7e-6
    saturation: float = 1e5
    halo_fraction: float = 0.3
    halo_length: float = 40.0
    recovery: float = 1800.0
    shower_dose: float = 1e3
    removal_dose: float = 3e3

    def __post_init__(self) -> None:
        """Check the numbers."""
        limits = {
            "growth": ("A^3", 0.0, 1e3), "saturation": ("per A^2 s", 1e-9, 1e15), "halo_fraction": ("", 0.0, 1.0), "halo_length": ("A", 0.0, 1e6),
            "recovery": ("s", 1e-3, 1e12), "shower_dose": ("per A^2", 1e-6, 1e12),
        }  # fmt: skip
        for name, (unit, low, high) in limits.items():
            checks.number_field(self, name, unit, low=low, high=high, repair="See help(Contamination).")
        if not self.removal_dose > 0:
            message = f"removal_dose={self.removal_dose!r} electrons / A^2 must be above 0. "
            message += "Use inf if a shower removes nothing."
            raise SettingsError(message)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Film:
    """Contamination film on a grid at one moment; immutable, with a read-only array.

    Parameters
    ----------
    height : (ny, nx) float64
        Height of the film, A, [y, x].
    step : float
        Distance between grid points, A.
    origin : (float, float)
        Position of the grid point [0, 0], x and y in A.
    supply : float
        Supply of molecules relative to the undisturbed surface: 1 without a recent shower, 0 right after a long shower.
    cell : (float, float), optional
        Height and width of the cell of a periodic surface, A; by default the surface is not periodic.

    Raises
    ------
    SettingsError
        Numbers are out of range.
    """

    height: np.ndarray
    step: float
    origin: tuple[float, float] = (0.0, 0.0)
    supply: float = 1.0
    cell: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Check and freeze."""
        height = np.array(self.height, dtype=float)
        if height.ndim != 2 or not 0 < height.size <= MOST_POINTS or not np.isfinite(height).all() or height.min() < 0:
            message = f"height, of shape {height.shape}, must be a two-dimensional array of 1 to {MOST_POINTS} finite heights of at least 0. "
            message += "Give the height of the film in A at each point."
            raise SettingsError(message)
        height.setflags(write=False)
        object.__setattr__(self, "height", height)
        checks.number_field(self, "step", "A", low=1e-3, high=1e6, repair="Give the distance between points.")
        checks.number_field(self, "supply", "", low=0.0, high=1.0, repair="Give a fraction of the supply at rest.")

    @classmethod
    def clean(cls, size: tuple[float, float], step: float, origin: tuple[float, float] = (0.0, 0.0), *, repeats: bool = False) -> "Film":
        """Return a surface without a film.

        Parameters
        ----------
        size : (float, float)
            Height and width of the surface, A.
        step : float
            Distance between grid points, A.
        origin : (float, float)
            Position of the grid point [0, 0], x and y in A.
        repeats : bool
            Whether the surface is periodic with the period ``size``.
        """
        shape = tuple(max(math.ceil(length / step), 1) for length in size)
        return cls(height=np.zeros(shape), step=step, origin=origin, cell=size if repeats else None)

    @property
    def volume(self) -> float:
        """Volume of the film, A^3."""
        return float(self.height.sum()) * self.step**2

    def at(self, positions: np.ndarray) -> np.ndarray:
        """Return the height of the film, A, shape (n,), at positions (x, y[, z]), A, shape (n, 2 or 3).

        The height is interpolated linearly between grid points. It is 0 outside a grid that is not periodic.
        """
        rows, columns, weights = _corners(self, np.asarray(positions, dtype=float)[:, :2])
        padded = np.pad(self.height, 1)
        return (padded[rows, columns] * weights).sum(axis=0)

    def __getstate__(self) -> list[object]:
        """Return the fields, for pickling."""
        return [getattr(self, entry.name) for entry in fields(self)]

    def __setstate__(self, state: list[object]) -> None:
        """Restore the fields and make the array read-only."""
        for entry, value in zip(fields(self), state, strict=True):
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
            object.__setattr__(self, entry.name, value)


def grow(film: Film, exposure: Exposure, model: Contamination | None = None) -> Film:
    """Return the film after an exposure.

    The current density is averaged over the exposure's duration, because molecules move much more slowly than the
    scanned beam, and over the area of a grid point. If an exposure lasts several seconds and the beam moves away during
    it, pass the exposure in parts.

    Parameters
    ----------
    film : Film
        Film before the exposure.
    exposure : Exposure
        Path and current, in the film's coordinates; current outside a grid that is not periodic is ignored.
    model : Contamination, optional
        Growth parameters; ``Contamination()`` by default.
    """
    model = model or Contamination()
    duration = exposure.duration
    if duration == 0:
        return film
    rows, columns, weights = _corners(film, exposure.points)
    arrived = np.zeros(tuple(n + 2 for n in film.height.shape))
    np.add.at(arrived, (rows, columns), weights * exposure.path[:, 2])
    current = exposure.repeats * arrived[1:-1, 1:-1] / (film.step**2 * duration)
    rest = math.exp(-duration / model.recovery)
    supplied = duration - (1 - film.supply) * model.recovery * (1 - rest)  # the supply integrated over the exposure
    growth = model.growth * current / (1 + current / model.saturation) * supplied
    halo = _spread(growth, model.halo_length / film.step, repeats=film.cell is not None)
    height = film.height + (1 - model.halo_fraction) * growth + model.halo_fraction * halo
    return replace(film, height=np.maximum(height, 0.0), supply=1 - (1 - film.supply) * rest)


def shower(film: Film, dose: float, model: Contamination | None = None) -> Film:
    """Return the film after a beam shower, which reduces the film and the supply of molecules.

    Parameters
    ----------
    film : Film
        Film before the shower.
    dose : float
        Dose of the shower, electrons / A^2.
    model : Contamination, optional
        Parameters of the film and the shower; ``Contamination()`` by default.

    Raises
    ------
    SettingsError
        The dose is out of range.
    """
    model = model or Contamination()
    repair = "Give the dose of the shower in electrons / A^2."
    dose = checks.number("dose", dose, "per A^2", low=0.0, high=1e12, repair=repair)
    return replace(film, height=film.height * math.exp(-dose / model.removal_dose), supply=film.supply * math.exp(-dose / model.shower_dose))


def _corners(film: Film, xy: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, columns and weights of the four points around each position, each (4, n), for a margin of one point.

    On a periodic surface the first point of a row follows the last, at a distance of at most one step.
    """
    away = xy - np.asarray(film.origin)
    if film.cell is not None:
        away = away % np.array(film.cell)[::-1]
    place = away / film.step
    low = np.floor(place)
    part = place - low
    j, i = (low.T + 1).astype(np.int64)
    ny, nx = film.height.shape
    rows, columns = np.stack([i, i, i + 1, i + 1]), np.stack([j, j + 1, j, j + 1])
    weights = np.stack([(1 - part[:, 0]) * (1 - part[:, 1]), part[:, 0] * (1 - part[:, 1]), (1 - part[:, 0]) * part[:, 1], part[:, 0] * part[:, 1]])
    if film.cell is not None:
        return (rows - 1) % ny + 1, (columns - 1) % nx + 1, weights
    inside = (rows >= 1) & (rows <= ny) & (columns >= 1) & (columns <= nx)
    return np.where(inside, rows, 0), np.where(inside, columns, 0), np.where(inside, weights, 0.0)


def _spread(growth: np.ndarray, length: float, *, repeats: bool) -> np.ndarray:
    """Return the growth convolved with the Green function of (1 - l^2 laplace), l in points.

    Growth beyond the edges of a grid that is not periodic is lost.
    """
    if length == 0:
        return growth
    margin = 0 if repeats else math.ceil(min(8 * length, 2048))
    shape = growth.shape if repeats else tuple(next_fast_len(n + margin, real=True) for n in growth.shape)
    ky = 2 * math.pi * np.minimum(np.arange(shape[0]), shape[0] - np.arange(shape[0])) / shape[0]
    kx = 2 * math.pi * rfftfreq(shape[1])
    # discrete Laplace operator of the grid, whose Green function is nowhere negative
    laplace = 4 * np.sin(ky / 2)[:, None] ** 2 + 4 * np.sin(kx / 2)[None, :] ** 2
    return irfft2(rfft2(growth, shape) / (1 + length**2 * laplace), shape)[: growth.shape[0], : growth.shape[1]]
