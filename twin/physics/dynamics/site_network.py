"""The specimen that the beam changes: sites, what stands on them, and who is bonded to whom."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from scipy.spatial import cKDTree

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.dynamics.isotopes import number_of

BOND, JUMP = 0, 1
"""Kinds of links: bonded neighbours, and sites that an atom can jump to without being bonded to them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SiteNetwork:
    """Sites with atoms on them at one moment; frozen, its arrays are read-only.

    Sites are never removed: an atom that is lost leaves an empty site (number 0) behind, so that indices stay what they are.

    Parameters
    ----------
    numbers : (n,) int64
        Atomic number on each site; 0: empty.
    positions : (n, 3) float64
        x, y, z in A.
    links : (n, K) int64
        Linked sites; -1 fills up. Links go both ways.
    kinds : (n, K) int64
        BOND or JUMP for each link.
    labels : (n,) int64
        A class of sites of one's own, such as a surface or a rotated bond; 0 by default.
    dose : (n,) float64
        What each site has received so far, electrons / A^2.
    size : (float, float), optional
        Height (y) and width (x) of the cell in A, if it repeats.
    time : float
        s since the start.

    Raises
    ------
    SettingsError
        Shapes do not fit, or values cannot be.
    """

    numbers: np.ndarray
    positions: np.ndarray
    links: np.ndarray
    kinds: np.ndarray
    labels: np.ndarray
    dose: np.ndarray
    size: tuple[float, float] | None = None
    time: float = 0.0

    def __post_init__(self) -> None:
        """Check the arrays and freeze copies of them."""
        whole = {name: np.array(getattr(self, name), dtype=np.int64) for name in ("numbers", "links", "kinds", "labels")}
        real = {name: np.array(getattr(self, name), dtype=float) for name in ("positions", "dose")}
        n = len(whole["numbers"])
        shapes = (real["positions"].shape, whole["labels"].shape, real["dose"].shape, whole["links"].shape[:1], whole["kinds"].shape)
        if whole["links"].ndim != 2 or shapes != ((n, 3), (n,), (n,), (n,), whole["links"].shape):
            message = f"The arrays of a specimen of {n} sites do not fit together: positions (n, 3), labels and dose (n,), links and kinds (n, K)."
            raise SettingsError(message)
        links = whole["links"]
        if links.size and (links.max() >= n or links.min() < -1):
            message = f"A link leads to site {links.max() if links.max() >= n else links.min()}, but there are {n} sites. Use 0 to {n - 1}, or -1."
            raise SettingsError(message)
        if n and not (whole["numbers"].min() >= 0 and whole["numbers"].max() <= 118 and np.isfinite(real["positions"]).all()):
            message = "Atomic numbers must lie between 0 (an empty site) and 118, and positions must be finite."
            raise SettingsError(message)
        for name, array in (whole | real).items():
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @classmethod
    def build(
        cls,
        positions: np.ndarray,
        numbers: np.ndarray,
        *,
        bond: float,
        jump: float = 0.0,
        jump_element: str | int | None = None,
        size: tuple[float, float] | None = None,
        labels: np.ndarray | None = None,
    ) -> Self:
        """Return a specimen whose links are found by distance.

        Parameters
        ----------
        positions : (n, 3) float
            x, y, z in A.
        numbers : (n,) int
            Atomic numbers; 0 where a site is empty from the start.
        bond : float
            Sites nearer than this are bonded, A (graphene 1.8, MoS2 2.8).
        jump : float
            Atoms of ``jump_element`` at the same height (to 0.5 A) nearer than this are linked for jumps, A (S in MoS2: 3.5); 0: none.
        jump_element : str or int, optional
            Whose atoms jump.
        size : (float, float), optional
            Height (y) and width (x) of the cell, if it repeats; it must be more than twice the bond length.
        labels : (n,) int, optional
            Classes of sites.
        """
        positions, numbers = np.asarray(positions, dtype=float).reshape(-1, 3), np.asarray(numbers, dtype=np.int64)
        bonds, jumps = near_sites(positions, bond, size), np.empty((0, 2), dtype=np.int64)
        if jump:
            jumps = near_sites(positions, jump, size)
            level = np.abs(positions[jumps[:, 0], 2] - positions[jumps[:, 1], 2]) < 0.5
            which = np.isin(numbers, (0, number_of(jump_element))) if jump_element is not None else np.ones(len(numbers), dtype=bool)
            jumps = jumps[level & which[jumps].all(axis=1)]
        return cls.from_pairs(positions, numbers, bonds, jumps, size=size, labels=labels)

    @classmethod
    def from_pairs(
        cls,
        positions: np.ndarray,
        numbers: np.ndarray,
        bonds: np.ndarray,
        jumps: np.ndarray | None = None,
        *,
        size: tuple[float, float] | None = None,
        labels: np.ndarray | None = None,
    ) -> Self:
        """Return a specimen whose linked sites are given: pairs of bonded ones (b, 2), and of those that an atom jumps between (j, 2), each once."""
        bonds = np.sort(np.asarray(bonds, dtype=np.int64).reshape(-1, 2), axis=1)
        jumps = np.sort(np.asarray([] if jumps is None else jumps, dtype=np.int64).reshape(-1, 2), axis=1)
        n = len(numbers)
        jumps = jumps[~np.isin(jumps[:, 0] * n + jumps[:, 1], bonds[:, 0] * n + bonds[:, 1])]
        links, kinds = _table(n, [(bonds, BOND), (jumps, JUMP)])
        zeros = np.zeros(n)
        return cls(numbers=numbers, positions=positions, links=links, kinds=kinds, labels=zeros if labels is None else labels, dose=zeros, size=size)

    @property
    def present(self) -> np.ndarray:
        """Mask of the sites that an atom occupies, shape (n,)."""
        return self.numbers > 0

    @property
    def bonds(self) -> np.ndarray:
        """Pairs of bonded sites that both hold an atom, (b, 2), each once, sorted."""
        i, k = np.nonzero((self.links >= 0) & (self.kinds == BOND))
        j = self.links[i, k]
        return np.column_stack([i, j])[(i < j) & self.present[i] & self.present[j]]

    def coordination(self) -> np.ndarray:
        """Return the number of bonded atoms of each site, (n,)."""
        there = (self.links >= 0) & (self.kinds == BOND) & self.present[self.links]
        return there.sum(axis=1)

    def replace(self, **changes: Any) -> Self:
        """Return the specimen with some of its fields changed."""
        return replace(self, **changes)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return everything as arrays, bit for bit, for ``numpy.savez``; :meth:`from_arrays` restores it."""
        out = {name: getattr(self, name) for name in ("numbers", "positions", "links", "kinds", "labels", "dose")}
        return {**out, "size": np.array(self.size or (0.0, 0.0)), "time": np.array(self.time)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Self:
        """Return the specimen that :meth:`to_arrays` wrote."""
        height, width = (float(value) for value in arrays["size"])
        kept = {name: arrays[name] for name in ("numbers", "positions", "links", "kinds", "labels", "dose")}
        return cls(**kept, size=(height, width) if height > 0 else None, time=float(arrays["time"]))

    def __getstate__(self) -> list[Any]:
        """Return the fields, for pickling."""
        return [getattr(self, entry.name) for entry in fields(self)]

    def __setstate__(self, state: list[Any]) -> None:
        """Restore the fields, with read-only arrays again."""
        for entry, value in zip(fields(self), state, strict=True):
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
            object.__setattr__(self, entry.name, value)


def near_sites(positions: np.ndarray, distance: float, size: tuple[float, float] | None) -> np.ndarray:
    """Return the pairs (p, 2) of sites nearer than a distance (A), each once; around the cell where it repeats.

    Raises
    ------
    SettingsError
        The cell is so small that an atom would be its own neighbour.
    """
    if size is None:
        return cKDTree(positions).query_pairs(distance, output_type="ndarray").astype(np.int64).reshape(-1, 2)
    if min(size) <= 2 * distance:
        message = f"A cell of {size[1]:g} x {size[0]:g} A is too small for links of {distance:g} A. Repeat it until it is more than twice as wide."
        raise SettingsError(message)
    box = np.array([size[1], size[0]])
    wrapped = np.column_stack([np.mod(positions[:, :2], box), positions[:, 2]])
    wrapped[:, :2] = np.where(wrapped[:, :2] >= box, 0.0, wrapped[:, :2])
    tree = cKDTree(wrapped, boxsize=[box[0], box[1], 0.0])
    return tree.query_pairs(distance, output_type="ndarray").astype(np.int64).reshape(-1, 2)


def _table(count: int, pairs: Sequence[tuple[np.ndarray, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return links and kinds, each row sorted by kind and index, as wide as the longest."""
    both = np.concatenate([np.column_stack([side, np.full(len(side), kind)]) for some, kind in pairs for side in (some, some[:, ::-1])])
    both = both[np.lexsort((both[:, 1], both[:, 2], both[:, 0]))]
    counts = np.bincount(both[:, 0], minlength=count) if len(both) else np.zeros(count, dtype=np.int64)
    width = max(int(counts.max(initial=0)), 1)
    links, kinds = np.full((count, width), -1, dtype=np.int64), np.zeros((count, width), dtype=np.int64)
    slot = np.arange(len(both)) - np.repeat(np.cumsum(counts) - counts, counts)
    links[both[:, 0], slot], kinds[both[:, 0], slot] = both[:, 1], both[:, 2]
    return links, kinds
