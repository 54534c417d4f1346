"""Translations, rotations and mirrors of a perfect crystal inside a sample's periodic cell, found from the atoms."""

import functools
import itertools
import math

import numpy as np

from stemtwin.twin.physics.engine.operator.lattice_average import Translations
from stemtwin.twin.physics.engine.operator.point_group import PlaneSymmetry
from stemtwin.twin.samples.sample import Sample

TOLERANCE = 1e-3
"""Largest distance, A, between an atom and the image of an equivalent one: about a hundredth of the thermal motion."""
SIGMA_TOLERANCE = 1e-6
"""Largest difference of equal rms displacements, A."""
SQUARE = 1e-6
"""Largest relative difference between the sides of a square cell."""
PROBES = 32
"""Number of atoms that are tested before all of them."""


@functools.lru_cache(maxsize=32)
def lattice_translations(sample: Sample) -> Translations:
    """Return the translations across the beam that map a sample, including its thermal displacements, onto itself.

    Every translation is tested on every atom: an atom of the same element with the same thermal displacement must lie
    within 0.001 A of the new position, at the same depth. A single vacancy, or a single foreign, added or displaced
    atom, therefore leaves only the identity. A sample that does not repeat has only the identity too.

    Parameters
    ----------
    sample : Sample
        The sample. The results for the last 32 samples are cached.

    Returns
    -------
    Translations
        Group of the translations. It contains only the identity if the sample is a single primitive cell.
    """
    if not sample.periodic or not len(sample):
        return Translations()
    kinds = _kinds(sample)
    counts = np.bincount(kinds)
    most = functools.reduce(math.gcd, counts.tolist())  # the group's order divides the number of atoms of each kind
    if most == 1:
        return Translations()
    atoms, group = _Atoms(sample, kinds), {(0, 0)}
    rarest = sample.positions_angstrom[kinds == np.argmin(counts), :2]
    size = np.array(sample.size_angstrom[::-1])
    steps = (rarest - rarest[0]) / size * most
    near = (np.abs(steps - np.round(steps)) * size / most <= TOLERANCE).all(axis=1)
    for ix, iy in (np.round(steps[near]).astype(int) % most).tolist():
        if (iy, ix) not in group and atoms.repeat(np.array([ix, iy]) / most * size):
            group = {((y + k * iy) % most, (x + k * ix) % most) for y, x in group for k in range(most)}
    order = len(group)
    return Translations(steps=tuple(sorted((y * order // most, x * order // most) for y, x in group)))


@functools.lru_cache(maxsize=32)
def point_group(sample: Sample) -> tuple[PlaneSymmetry, ...]:
    """Return the rotations about the beam and the mirror planes along the beam that map a sample onto itself, the identity first.

    Candidates are the operations that map the cell onto itself: the reversal of x or of y and the twofold rotation,
    and in a square cell also the fourfold rotations and the diagonal mirrors, each followed by any translation. Every
    candidate is tested on every atom, including the thermal displacements. Threefold and sixfold axes do not map a
    rectangular cell onto itself, so they are not candidates.

    Parameters
    ----------
    sample : Sample
        The sample. The results for the last 32 samples are cached.

    Returns
    -------
    tuple of PlaneSymmetry
        Elements of the point group, at most eight.
    """
    if not sample.periodic or not len(sample):
        return (PlaneSymmetry(matrix=((1, 0), (0, 1))),)
    kinds, size = _kinds(sample), np.array(sample.size_angstrom[::-1])
    atoms, places = _Atoms(sample, kinds), sample.positions_angstrom[:, :2]
    rarest = places[kinds == np.argmin(np.bincount(kinds))]
    found = []
    for swapped, sign_y, sign_x in itertools.product((False, True), (1, -1), (1, -1)):
        if swapped and abs(size[0] - size[1]) > SQUARE * size[0]:
            continue
        matrix = ((0, sign_y), (sign_x, 0)) if swapped else ((sign_y, 0), (0, sign_x))
        turn = np.array(matrix)[::-1, ::-1]  # acts on (x, y)
        steps = (rarest - turn @ rarest[0]) % size
        step = next((each for each in steps[np.lexsort(np.round(steps, 3).T)] if atoms.repeat(each, turn)), None)
        if step is not None:
            y, x = (step / size)[::-1].tolist()
            found.append(PlaneSymmetry(matrix=matrix, step=(y, x)))
    return tuple(found)


def _kinds(sample: Sample) -> np.ndarray:
    """Return the kind (n,) of each atom, an integer from 0 for its element, thermal displacement and layer."""
    sigma = np.zeros(len(sample)) if sample.thermal_sigma_angstrom is None else np.round(sample.thermal_sigma_angstrom / SIGMA_TOLERANCE)
    depth = sample.positions_angstrom[:, 2]
    layer = np.searchsorted(_borders(np.sort(depth)), depth)
    return np.unique(np.column_stack([sample.numbers, sigma, layer]), axis=0, return_inverse=True)[1].reshape(-1)


def _borders(ordered: np.ndarray) -> np.ndarray:
    """Return the middles of the gaps between sorted numbers that are wider than four tolerances."""
    wide = np.flatnonzero(np.diff(ordered) > 4 * TOLERANCE)
    return (ordered[wide] + ordered[wide + 1]) / 2


class _Atoms:
    """A sample's atoms by rows, columns and kinds, and the atoms at which earlier translations failed."""

    def __init__(self, sample: Sample, kinds: np.ndarray) -> None:
        self._places, self._kinds, self._size = sample.positions_angstrom, kinds, np.array(sample.size_angstrom[::-1])
        ordered = np.sort(self._places[:, :2], axis=0)
        gaps = np.diff(np.concatenate([ordered, ordered[:1] + self._size]), axis=0)
        widest = gaps.argmax(axis=0)
        self._origin = ordered[widest, [0, 1]] + gaps[widest, [0, 1]] / 2  # no atom is near the seam of the cell
        self._borders = [_borders(np.sort(each)) for each in self._inside(self._places[:, :2]).T]
        keys = self._keys(self._places[:, :2], kinds)
        self._order = np.argsort(keys, kind="stable")
        self._sorted = keys[self._order]
        self._tried = np.unique(np.linspace(0, len(kinds) - 1, PROBES).astype(int))

    def repeat(self, step: np.ndarray, turn: np.ndarray | None = None) -> bool:
        """Return True if an optional rotation and a translation (x, y), A, map every atom onto an equivalent one."""
        if not self._found(self._tried, step, turn).all():
            return False
        found = self._found(np.arange(len(self._kinds)), step, turn)
        self._tried = np.concatenate([self._tried, np.flatnonzero(~found)[:PROBES]])
        return bool(found.all())

    def _found(self, which: np.ndarray, step: np.ndarray, turn: np.ndarray | None) -> np.ndarray:
        """Return the mask of the atoms that are mapped onto the first atom of their new row, column and kind."""
        moved = self._places[which, :2] if turn is None else self._places[which, :2] @ turn.T
        moved = moved + step
        keys = self._keys(moved, self._kinds[which])
        at = np.minimum(np.searchsorted(self._sorted, keys), len(self._sorted) - 1)
        like = self._order[at]
        apart = self._places[like, :2] - moved
        apart -= self._size * np.round(apart / self._size)
        deeper = self._places[like, 2] - self._places[which, 2]
        return (self._sorted[at] == keys) & (np.hypot(np.hypot(apart[:, 0], apart[:, 1]), deeper) <= TOLERANCE)

    def _inside(self, places: np.ndarray) -> np.ndarray:
        """Return positions (x, y) relative to the seam of the cell."""
        return (places - self._origin) % self._size

    def _keys(self, places: np.ndarray, kinds: np.ndarray) -> np.ndarray:
        """Return a unique number for each row, column and kind."""
        column, row = (np.searchsorted(borders, each) for borders, each in zip(self._borders, self._inside(places).T, strict=True))
        return (kinds * (len(self._borders[1]) + 1) + row) * (len(self._borders[0]) + 1) + column
