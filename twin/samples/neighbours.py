"""Neighbours of atoms: atoms around a point, bonds, coordination numbers, edges."""

from dataclasses import dataclass

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.samples.sample import Sample, near_pairs

# Longest bond over the sum of the covalent radii (Cordero et al., Dalton Trans. (2008) 2832, as in ASE).
COVALENT_STRETCH = 1.2
# Longest bond of two metals over the mean nearest distance in their crystals, below the second shell (1.155) of bcc.
METALLIC_STRETCH = 1.12
CATION_BONDS = 3  # metals with at least this many non-metal neighbours are cations, which do not bond to each other
NON_METALS = np.array([1, 2, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 32, 33, 34, 35, 36, 51, 52, 53, 54, 85, 86])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Bonds:
    """Bonds of a sample, each listed from both ends, sorted by the first atom and then by length.

    Parameters
    ----------
    first, second : (m,) int64
        Atoms at the two ends; both (i, j) and (j, i) are listed.
    step : (m, 3) float64
        Vectors from the first atom to the nearest periodic image of the second atom, A.
    length : (m,) float64
        Lengths, A.
    start : (n + 1,) int64
        Offsets: the bonds of atom i are ``start[i]:start[i + 1]``.
    """

    first: np.ndarray
    second: np.ndarray
    step: np.ndarray
    length: np.ndarray
    start: np.ndarray

    @property
    def coordination(self) -> np.ndarray:
        """Number of bonds of each atom (n,)."""
        return np.diff(self.start)

    def of(self, atom: int) -> np.ndarray:
        """Return the atoms bonded to an atom, the nearest first."""
        return self.second[self.start[atom] : self.start[atom + 1]]


def _box(sample: Sample) -> np.ndarray:
    return np.array([sample.size_angstrom[1], sample.size_angstrom[0]])


def steps_from(sample: Sample, place: np.ndarray, atoms: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Return the vectors (k, 3), A, from one position (3,) or several (k, 3) to the nearest images of atoms."""
    step = sample.positions_angstrom[atoms] - place
    if sample.periodic:
        step[:, :2] -= _box(sample) * np.round(step[:, :2] / _box(sample))
    return step


def within(sample: Sample, place: np.ndarray, radius_angstrom: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the atoms within a radius of a position.

    Parameters
    ----------
    sample : Sample
        The sample. In a periodic sample, an atom counts once, at its nearest image.
    place : (3,) float
        x, y, z in A. If it is the position of an atom, the result includes this atom at distance 0.
    radius_angstrom : float
        Radius, A.

    Returns
    -------
    atoms : (k,) int64
        Indices, the nearest atom first.
    distances : (k,) float64
        Distances, A.
    """
    distance = np.linalg.norm(steps_from(sample, np.asarray(place, dtype=float)), axis=1)
    inside = np.flatnonzero(distance <= radius_angstrom)
    order = np.argsort(np.round(distance[inside], 9), kind="stable")
    return inside[order], distance[inside][order]


def bond_limits(numbers: np.ndarray) -> np.ndarray:
    """Return the largest bond lengths (k, k), A, between elements with the atomic numbers (k,)."""
    from ase.data import covalent_radii, reference_states

    shells = {"fcc": 0.5**0.5, "bcc": 0.75**0.5, "hcp": 1.0}
    radii = np.array([covalent_radii[number] for number in numbers])
    limits = COVALENT_STRETCH * (radii[:, None] + radii[None])
    for i, first in enumerate(numbers):
        for j, second in enumerate(numbers):
            states = [reference_states[number] or {} for number in (first, second)]
            if not np.isin([first, second], NON_METALS).any() and all(state.get("symmetry") in shells for state in states):
                limits[i, j] = METALLIC_STRETCH * sum(state["a"] * shells[state["symmetry"]] for state in states) / 2
    return limits


def find_bonds(sample: Sample, longest_angstrom: float | None = None) -> Bonds:
    """Return the bonds of a sample.

    Parameters
    ----------
    sample : Sample
        The sample. Static positions are used. Bonds cross the edges of a periodic sample.
    longest_angstrom : float, optional
        Length of the longest bond between any two atoms, A. None: 1.2 times the sum of the covalent radii; for two
        metals, 1.12 times the mean of the nearest-neighbour distances in their elemental crystals. With None, cations
        (metals with three or more bonds to non-metals) are not bonded to each other.

    Returns
    -------
    Bonds

    Raises
    ------
    SettingsError
        The limit is not above 0, or the box repeats after less than twice the longest bond, so an atom would be bonded
        to its own image.
    """
    if longest_angstrom is not None and not longest_angstrom > 0:
        message = f"longest_angstrom={longest_angstrom!r} must be above 0 A."
        raise SettingsError(message)
    kinds, kind = np.unique(sample.numbers, return_inverse=True)
    limits = bond_limits(kinds) if longest_angstrom is None else np.full((len(kinds),) * 2, float(longest_angstrom))
    reach = float(limits.max(initial=0.0))
    if sample.periodic and len(sample) and reach > min(sample.size_angstrom) / 2:
        height, width = sample.size_angstrom
        message = (
            f"{sample.name} repeats after {width:.3g} x {height:.3g} A (x, y), less than twice the longest bond of {reach:.3g} A, "
            f"so its bonds are not unique. Load a larger size."
        )
        raise SettingsError(message)
    pairs = near_pairs(sample.positions_angstrom, sample.size_angstrom, reach, periodic=sample.periodic)
    first, second = np.concatenate([pairs, pairs[:, ::-1]]).T.reshape(2, -1)
    step = steps_from(sample, sample.positions_angstrom[first], second)
    length = np.linalg.norm(step, axis=1)
    keep = length <= limits[kind[first], kind[second]]
    if longest_angstrom is None:
        metal = ~np.isin(sample.numbers, NON_METALS)
        ionic = keep & metal[first] & ~metal[second]
        cation = np.bincount(first[ionic], minlength=len(sample)) >= CATION_BONDS
        keep &= ~(cation[first] & cation[second])
    keep = np.flatnonzero(keep)
    order = keep[np.lexsort((second[keep], np.round(length[keep], 6), first[keep]))]
    start = np.concatenate([[0], np.cumsum(np.bincount(first[order], minlength=len(sample)))])
    found = Bonds(first=first[order], second=second[order], step=step[order], length=length[order], start=start)
    for array in (found.first, found.second, found.step, found.length, found.start):
        array.setflags(write=False)
    return found


def edge_atoms(sample: Sample, bonds: Bonds | None = None) -> np.ndarray:
    """Return the mask (n,) of the atoms at an edge.

    These atoms have fewer bonds than the most common number of bonds of their element. If two numbers are equally
    common, the larger number counts. Edge atoms lie at the rims of sheets and holes, around vacancies, and at the
    entrance and exit faces of a crystal.
    """
    count = (find_bonds(sample) if bonds is None else bonds).coordination
    usual = np.zeros(len(sample), dtype=np.int64)
    for number in np.unique(sample.numbers):
        ours = sample.numbers == number
        often = np.bincount(count[ours])
        usual[ours] = np.flatnonzero(often == often.max())[-1]
    return count < usual
