"""Specimen of the damage kinetics: sites, their atoms, and links between sites."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from scipy.spatial import cKDTree

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.dynamics.isotopes import number_of

BOND, JUMP = 0, 1
"""Kinds of links: bonded neighbours, and sites between which an atom can jump without a bond."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SiteNetwork:
    """Sites and their atoms at one moment; immutable, with read-only arrays.

    Sites are never removed: a lost atom leaves an empty site (atomic number 0), so indices do not change.

    Parameters
    ----------
    numbers : (n,) int64
        Atomic number on each site; 0 marks an empty site.
    positions : (n, 3) float64
        Positions x, y, z of the sites, A.
    links : (n, K) int64
        Linked sites; -1 marks an unused entry. Links are mutual.
    kinds : (n, K) int64
        Kind of each link, BOND or JUMP.
    labels : (n,) int64
        User-defined class of each site, for example of a surface or a rotated bond; 0 by default.
    dose : (n,) float64
        Dose of each site up to now, electrons / A^2.
    size : (float, float), optional
        Height (y) and width (x) of the cell of a periodic specimen, A.
    time : float
        Time since the start, s.

    Raises
    ------
    SettingsError
        The shape of an array does not match the number of sites, or a value is out of range.
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
            message = f"The shapes of a specimen's arrays do not match its {n} atomic numbers. "
            message += f"Give positions ({n}, 3), labels and dose ({n},), links and kinds ({n}, K)."
            raise SettingsError(message)
        links = whole["links"]
        if links.size and (links.max() >= n or links.min() < -1):
            message = f"A link leads to site {links.max() if links.max() >= n else links.min()}, but the sites are numbered from 0 to {n - 1}. "
            message += "Use these numbers, or -1 for no link."
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
        """Return a specimen with links between sites that are near each other.

        Parameters
        ----------
        positions : (n, 3) float
            Positions x, y, z of the sites, A.
        numbers : (n,) int
            Atomic numbers; 0 for sites that are empty from the start.
        bond : float
            Distance below which sites are bonded, A (graphene 1.8, MoS2 2.8).
        jump : float
            Distance below which sites of ``jump_element`` at the same height (within 0.5 A) are linked for jumps, A (3.5 for
            S in MoS2); 0 means no links for jumps.
        jump_element : str or int, optional
            Element whose atoms jump; by default every element.
        size : (float, float), optional
            Height (y) and width (x) of the cell of a periodic specimen, A, both more than twice the longest link.
        labels : (n,) int, optional
            Classes of the sites.
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
        """Return a specimen with given links: bonded pairs (b, 2) and pairs linked for jumps (j, 2), each pair listed once."""
        bonds = np.sort(np.asarray(bonds, dtype=np.int64).reshape(-1, 2), axis=1)
        jumps = np.sort(np.asarray([] if jumps is None else jumps, dtype=np.int64).reshape(-1, 2), axis=1)
        n = len(numbers)
        jumps = jumps[~np.isin(jumps[:, 0] * n + jumps[:, 1], bonds[:, 0] * n + bonds[:, 1])]
        links, kinds = _table(n, [(bonds, BOND), (jumps, JUMP)])
        zeros = np.zeros(n)
        return cls(numbers=numbers, positions=positions, links=links, kinds=kinds, labels=zeros if labels is None else labels, dose=zeros, size=size)

    @property
    def present(self) -> np.ndarray:
        """Mask of the occupied sites, shape (n,)."""
        return self.numbers > 0

    @property
    def bonds(self) -> np.ndarray:
        """Sorted pairs of bonded, occupied sites, shape (b, 2), each pair listed once."""
        i, k = np.nonzero((self.links >= 0) & (self.kinds == BOND))
        j = self.links[i, k]
        return np.column_stack([i, j])[(i < j) & self.present[i] & self.present[j]]

    def coordination(self) -> np.ndarray:
        """Return the number of atoms bonded to each site, (n,)."""
        there = (self.links >= 0) & (self.kinds == BOND) & self.present[self.links]
        return there.sum(axis=1)

    def replace(self, **changes: Any) -> Self:
        """Return a copy of the specimen with the given fields changed."""
        return replace(self, **changes)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return all fields as arrays for ``numpy.savez``; :meth:`from_arrays` restores the specimen bit for bit."""
        out = {name: getattr(self, name) for name in ("numbers", "positions", "links", "kinds", "labels", "dose")}
        return {**out, "size": np.array(self.size or (0.0, 0.0)), "time": np.array(self.time)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Self:
        """Return the specimen for the arrays of :meth:`to_arrays`."""
        height, width = (float(value) for value in arrays["size"])
        kept = {name: arrays[name] for name in ("numbers", "positions", "links", "kinds", "labels", "dose")}
        return cls(**kept, size=(height, width) if height > 0 else None, time=float(arrays["time"]))

    def __getstate__(self) -> list[Any]:
        """Return the fields, for pickling."""
        return [getattr(self, entry.name) for entry in fields(self)]

    def __setstate__(self, state: list[Any]) -> None:
        """Restore the fields and make the arrays read-only."""
        for entry, value in zip(fields(self), state, strict=True):
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
            object.__setattr__(self, entry.name, value)


def near_sites(positions: np.ndarray, distance: float, size: tuple[float, float] | None) -> np.ndarray:
    """Return the pairs of sites that are nearer to each other than a distance (A), shape (p, 2), each pair listed once.

    In a periodic cell, distances are also measured across the borders.

    Raises
    ------
    SettingsError
        A side of the cell is not more than twice the distance.
    """
    if size is None:
        return cKDTree(positions).query_pairs(distance, output_type="ndarray").astype(np.int64).reshape(-1, 2)
    if min(size) <= 2 * distance:
        message = f"A cell of {size[1]:g} x {size[0]:g} A is too small for links of {distance:g} A. "
        message += f"Repeat the cell until both sides exceed {2 * distance:g} A."
        raise SettingsError(message)
    box = np.array([size[1], size[0]])
    wrapped = np.column_stack([np.mod(positions[:, :2], box), positions[:, 2]])
    wrapped[:, :2] = np.where(wrapped[:, :2] >= box, 0.0, wrapped[:, :2])
    tree = cKDTree(wrapped, boxsize=[box[0], box[1], 0.0])
    return tree.query_pairs(distance, output_type="ndarray").astype(np.int64).reshape(-1, 2)


def _table(count: int, pairs: Sequence[tuple[np.ndarray, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return links and kinds, each row sorted by kind and index and padded to the longest row."""
    both = np.concatenate([np.column_stack([side, np.full(len(side), kind)]) for some, kind in pairs for side in (some, some[:, ::-1])])
    both = both[np.lexsort((both[:, 1], both[:, 2], both[:, 0]))]
    counts = np.bincount(both[:, 0], minlength=count) if len(both) else np.zeros(count, dtype=np.int64)
    width = max(int(counts.max(initial=0)), 1)
    links, kinds = np.full((count, width), -1, dtype=np.int64), np.zeros((count, width), dtype=np.int64)
    slot = np.arange(len(both)) - np.repeat(np.cumsum(counts) - counts, counts)
    links[both[:, 0], slot], kinds[both[:, 0], slot] = both[:, 1], both[:, 2]
    return links, kinds
