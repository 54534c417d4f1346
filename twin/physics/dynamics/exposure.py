"""Exposure: a path of points and dwell times of one beam, and its dose at any position."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.dynamics import kinetics_kernels
from stemtwin.twin.physics.dynamics.current_density import Density
from stemtwin.twin.physics.electrons import ELECTRONS_PER_PICOAMPERE_SECOND, beam_energy


@dataclass(frozen=True, kw_only=True, eq=False)
class Exposure:
    """Path of the beam in time, for example of a parked beam, a raster scan or a sparse scan.

    Parameters
    ----------
    points : (p, 2) float
        True positions of the beam, x and y in A, in temporal order.
    dwell : (p,) float
        Dwell time at each point, s.
    current : float
        Probe current, pA; 0 for an exposure without electrons.
    energy : float
        Beam energy, eV.
    density : Density
        Current density of the probe.
    beam : (p,) float, optional
        Fraction of the current that reaches the specimen at each point, 0 (blanked) to 1; 1 by default.
    repeats : int
        Number of passes over the path, without pauses in between.

    Raises
    ------
    SettingsError
        Shapes do not match, or numbers are not finite or out of range.
    """

    points: np.ndarray
    dwell: np.ndarray
    current: float
    energy: float
    density: Density
    beam: np.ndarray | None = field(default=None)
    repeats: int = 1

    def __post_init__(self) -> None:
        """Check the numbers and freeze them."""
        points = np.array(self.points, dtype=float).reshape(-1, 2)
        dwell = np.array(self.dwell, dtype=float).reshape(-1)
        beam = np.ones(len(dwell)) if self.beam is None else np.array(self.beam, dtype=float).reshape(-1)
        if not len(points) or len(dwell) != len(points) or len(beam) != len(points):
            message = f"{len(points)} points, {len(dwell)} dwell times and {len(beam)} beam fractions do not match. "
            message += "Give one dwell time and one beam fraction for each point."
            raise SettingsError(message)
        if not (np.isfinite(points).all() and np.isfinite(dwell).all() and (dwell >= 0).all() and (beam >= 0).all() and (beam <= 1).all()):
            message = "Points must be finite, dwell times finite and not negative, and beam fractions between 0 and 1."
            raise SettingsError(message)
        if not isinstance(self.density, Density):
            message = f"density={self.density!r} is not a Density. Use probe_density(...) or gaussian_density(sigma)."
            raise SettingsError(message)
        if isinstance(self.repeats, bool) or int(self.repeats) != self.repeats or self.repeats < 1:
            message = f"repeats={self.repeats!r} must be a whole number, 1 or more."
            raise SettingsError(message)
        for array in (points, dwell, beam):
            array.setflags(write=False)
        checked = {
            "points": points,
            "dwell": dwell,
            "beam": beam,
            "current": checks.number("current", self.current, "pA", low=0.0, high=1e9, repair="Give the probe current in pA."),
            "energy": beam_energy(self.energy),
            "repeats": int(self.repeats),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @cached_property
    def duration(self) -> float:
        """Duration of all passes over the path, s."""
        return self.repeats * float(self.ends[-1])

    @cached_property
    def ends(self) -> np.ndarray:
        """Time at which the beam leaves each point in the first pass over the path, s, shape (p,)."""
        return np.cumsum(self.dwell)

    @cached_property
    def path(self) -> np.ndarray:
        """Positions x and y (A), and number of electrons in one pass over the path, for each point, shape (p, 3)."""
        electrons = ELECTRONS_PER_PICOAMPERE_SECOND * self.current * self.dwell * np.asarray(self.beam)
        return np.ascontiguousarray(np.column_stack([self.points, electrons]))

    @cached_property
    def tree(self) -> np.ndarray:
        """Binary tree of the path in temporal order; see ``kinetics_kernels.build_tree``."""
        return kinetics_kernels.build_tree(self.path)

    @cached_property
    def by_place(self) -> tuple[np.ndarray, np.ndarray]:
        """Path and tree with the points in spatial order; the dose of the whole path is computed from fewer nodes than with :attr:`tree`."""
        path = np.ascontiguousarray(self.path[_along_z_curve(self.points)])
        return path, kinetics_kernels.build_tree(path)

    def dose_at(self, positions: np.ndarray, size: tuple[float, float] | None = None) -> np.ndarray:
        """Return the dose of the whole exposure at given positions.

        Parameters
        ----------
        positions : (n, 2 or 3) float
            Positions x, y(, z), A.
        size : (float, float), optional
            Height (y) and width (x) of the cell of a periodic specimen, A. Each point of the path then contributes
            through its nearest periodic image.

        Returns
        -------
        (n,) float64
            Doses, electrons / A^2.
        """
        xy = np.ascontiguousarray(np.asarray(positions, dtype=float)[:, :2])
        return self.repeats * kinetics_kernels.doses(xy, self.path, self.tree, self.density.table, self.density.law, _lengths(size))

    def split(self, time: float) -> "tuple[tuple[Exposure, ...], tuple[Exposure, ...]]":
        """Return the parts of the exposure before and after a time (s since the start), each as a tuple of exposures.

        Raises
        ------
        SettingsError
            The time is not within the exposure.
        """
        repair = "Give the time since the start of the exposure."
        time = checks.number("time", time, "s", low=0.0, high=self.duration, repair=repair)
        one = float(self.ends[-1])
        passes = min(int(time / one), self.repeats - 1) if one > 0 else self.repeats - 1
        rest = min(max(time - passes * one, 0.0), one)
        first = min(int(np.searchsorted(self.ends, rest, side="left")), len(self.dwell) - 1)
        done = rest - (float(self.ends[first - 1]) if first else 0.0)
        before = (replace(self, repeats=passes),) if passes else ()
        before += self._part(0, first, last=done)
        after = self._part(first, len(self.dwell) - 1, head=done)
        after += (replace(self, repeats=self.repeats - passes - 1),) if passes + 1 < self.repeats else ()
        return before, after

    def _part(self, start: int, stop: int, *, head: float = 0.0, last: float | None = None) -> "tuple[Exposure, ...]":
        """Return the points ``start`` to ``stop`` of one pass as an exposure, empty if it has no duration.

        The first ``head`` seconds at the first point are omitted; the dwell time at the last point is ``last`` seconds.
        """
        dwell = self.dwell[start : stop + 1].copy()
        if last is not None:
            dwell[-1] = last
        dwell[0] = max(dwell[0] - head, 0.0)
        if not dwell.sum() > 0:
            return ()
        beam = None if self.beam is None else self.beam[start : stop + 1]
        return (replace(self, points=self.points[start : stop + 1], dwell=dwell, beam=beam, repeats=1),)


def parked(position: tuple[float, float], duration: float, *, current: float, energy: float, density: Density) -> Exposure:
    """Return the exposure of a beam parked at (x, y) (A) for a time (s)."""
    return Exposure(points=np.array([position]), dwell=np.array([duration]), current=current, energy=energy, density=density)


def waited(duration: float, *, energy: float, density: Density) -> Exposure:
    """Return an exposure of a given duration (s) without current, during which only spontaneous processes occur."""
    return parked((0.0, 0.0), duration, current=0.0, energy=energy, density=density)


def _lengths(size: tuple[float, float] | None) -> np.ndarray:
    """Return the cell's lengths along x and y for the kernels; 0 for a specimen that is not periodic."""
    return np.zeros(2) if size is None else np.array([size[1], size[0]], dtype=float)


def _along_z_curve(points: np.ndarray) -> np.ndarray:
    """Return the order of points (n, 2) along a Morton curve, which completes each quadrant of a square in turn."""
    low, high = points.min(axis=0), points.max(axis=0)
    steps = ((points - low) / max(float((high - low).max()), np.finfo(float).tiny) * 0xFFFF).astype(np.uint64)
    # insert a zero between successive bits
    for shift, mask in ((8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555)):
        steps = (steps | steps << np.uint64(shift)) & np.uint64(mask)
    return np.argsort(steps[:, 0] | steps[:, 1] << np.uint64(1), kind="stable")
