"""Listed sites of a file, and their expansion to all sites of its cell.

The expansion handles symmetry images, sites that are listed twice and species that share a site.
"""

from dataclasses import dataclass, replace

import numpy as np

from stemtwin.twin.samples.crystal import SAME_PLACE, Crystal
from stemtwin.twin.samples.readers.orbits import Operations, orbit_of
from stemtwin.twin.samples.sample import MIN_DISTANCE

FULL = 0.999  # least occupancy of a full site
MOST_SUM = 1.02  # largest sum of the rounded occupancies of one site
DIGITS_REACH = 2.6  # largest distance between images of a site with rounded coordinates, in rounding errors


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ListedSites:
    """Listed sites of a file, one row for each species on each site.

    Parameters
    ----------
    labels : tuple of str
        Labels for messages.
    numbers : (n,) int
        Atomic numbers.
    fractional : (n, 3) float
        Coordinates as written.
    occupancy : (n,) float
        Probability that each species is present.
    u : (n,) float
        Isotropic mean square displacement, A^2; nan where the file has none.
    stated : (n,) float
        Stated multiplicity in the cell; nan where the file states none.
    digits : int
        Number of decimals of the coordinates.
    """

    labels: tuple[str, ...]
    numbers: np.ndarray
    fractional: np.ndarray
    occupancy: np.ndarray
    u: np.ndarray
    stated: np.ndarray
    digits: int = 6

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.numbers)

    def rows(self, pick: np.ndarray) -> "ListedSites":
        """Return the rows with the given indices."""
        arrays = {name: getattr(self, name)[pick] for name in ("numbers", "fractional", "occupancy", "u", "stated")}
        return replace(self, labels=tuple(self.labels[int(row)] for row in pick), **arrays)


def listed_sites(
    labels: tuple[str, ...],
    numbers: np.ndarray,
    fractional: np.ndarray,
    occupancy: np.ndarray | None = None,
    u: np.ndarray | None = None,
    digits: int = 6,
) -> ListedSites:
    """Return listed sites from arrays.

    By default, the occupancies are 1 and the displacements are nan (not given by the file). The stated multiplicities are nan.
    """
    nothing = np.full(len(numbers), np.nan)
    return ListedSites(
        labels=labels,
        numbers=np.asarray(numbers, dtype=np.int64),
        fractional=np.asarray(fractional, dtype=float).reshape(-1, 3),
        occupancy=np.ones(len(numbers)) if occupancy is None else np.asarray(occupancy, dtype=float),
        u=nothing if u is None else np.asarray(u, dtype=float),
        stated=nothing,
        digits=digits,
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Expansion:
    """All sites of a cell, expanded from the listed sites by symmetry.

    Parameters
    ----------
    numbers, fractional, occupancy, u : arrays (m,), (m, 3), (m,), (m,)
        Sites with the fields of :class:`ListedSites`.
    multiplicity : (n,) int
        Multiplicities of the listed rows, repeated rows included.
    near : tuple of (str, float)
        Label of each site whose images are suspiciously near each other, with the distance of the images, A.
    rounded : tuple of str
        Labels of sites that lie beside a special position because their coordinates have few digits.
    repeated : tuple of str
        Labels of rows that were left out because they are images of other rows.
    merged : tuple of str
        Labels of rows whose occupancies were added to those of another row with the same element and site.
    """

    numbers: np.ndarray
    fractional: np.ndarray
    occupancy: np.ndarray
    u: np.ndarray
    multiplicity: np.ndarray
    near: tuple[tuple[str, float], ...]
    rounded: tuple[str, ...]
    repeated: tuple[str, ...]
    merged: tuple[str, ...]

    def counts(self) -> dict[int, float]:
        """Return the number of atoms of each element in the cell."""
        return {int(number): float(self.occupancy[self.numbers == number].sum()) for number in np.unique(self.numbers)}


def expand(sites: ListedSites, operations: Operations, cell: np.ndarray) -> Expansion:
    """Expand listed sites to all sites of the cell by symmetry operations.

    A site whose images lie within 0.05 A of each other is moved to its special position. Images of a fully
    occupied site up to 0.3 A apart cannot be several atoms, so they become one atom, and the expansion records this.
    """
    orbits, near, rounded = [], [], []
    error = 0.5 * 10.0**-sites.digits * float(np.linalg.norm(cell, axis=1).max())
    rows = zip(sites.labels, sites.fractional, sites.occupancy, strict=True) if len(operations) > 1 else ()
    for label, place, filled in rows:
        orbit = orbit_of(place, operations, cell, SAME_PLACE)
        if orbit.nearest < MIN_DISTANCE and _crowded(filled, place, operations, cell):
            if orbit.nearest < DIGITS_REACH * error:
                rounded.append(label)
            else:
                near.append((label, orbit.nearest))
            orbit = orbit_of(place, operations, cell, MIN_DISTANCE)
        orbits.append(orbit.images)
    orbits = orbits or list(sites.fractional[:, None])
    kept, occupancy, u, repeated, merged = _once(sites, orbits, cell)
    index = np.repeat(kept, [len(orbits[row]) for row in kept])
    return Expansion(
        numbers=sites.numbers[index],
        fractional=np.concatenate([orbits[row] for row in kept]),
        occupancy=occupancy[index],
        u=u[index],
        multiplicity=np.array([len(images) for images in orbits]),
        near=tuple(near),
        rounded=tuple(rounded),
        repeated=tuple(repeated),
        merged=tuple(merged),
    )


def _crowded(filled: float, place: np.ndarray, operations: Operations, cell: np.ndarray) -> bool:
    """Return True if the images of a site within 0.3 A of each other hold more than one atom."""
    apart = len(orbit_of(place, operations, cell, SAME_PLACE).images)
    together = len(orbit_of(place, operations, cell, MIN_DISTANCE).images)
    return filled * apart > MOST_SUM * together


def _once(sites: ListedSites, orbits: list[np.ndarray], cell: np.ndarray) -> tuple[list[int], np.ndarray, np.ndarray, list[str], list[str]]:
    """Return the rows to keep, all occupancies and displacements, and the labels of repeated and of merged rows."""
    occupancy, u = sites.occupancy.copy(), sites.u.copy()
    kept: list[int] = []
    repeated, merged = [], []
    left = set()
    for row, earlier in enumerate(_neighbours(orbits, cell)):
        first = next((other for other in earlier if other not in left and _same_orbit(sites, orbits, other, row, cell)), None)
        if first is None:
            kept.append(row)
            continue
        own, total = occupancy[row], occupancy[first] + occupancy[row]
        away = orbits[row][0] - orbits[first][0]
        here = np.linalg.norm((away - np.round(away)) @ cell) < SAME_PLACE
        if total <= MOST_SUM and (here or abs(own - occupancy[first]) > 0.02):
            merged.append(sites.labels[row])
            left.add(row)
            both = np.array([u[first], u[row]])
            known = ~np.isnan(both)
            if known.any():
                u[first] = np.average(both[known], weights=np.array([occupancy[first], own])[known] + 1e-12)
            occupancy[first] = total
        elif abs(own - sites.occupancy[first]) <= 0.02:
            repeated.append(sites.labels[row])
            left.add(row)
        else:
            kept.append(row)
    return kept, occupancy, u, repeated, merged


def _neighbours(orbits: list[np.ndarray], cell: np.ndarray) -> list[list[int]]:
    """Return for each row the earlier rows with an image on it or near it, in their order."""
    from scipy.spatial import cKDTree

    images = np.concatenate(orbits) % 1.0 % 1.0
    owners = np.repeat(np.arange(len(orbits)), [len(orbit) for orbit in orbits])
    reach = SAME_PLACE * float(np.linalg.norm(np.linalg.inv(cell), axis=0).max()) * 3**0.5
    firsts = np.array([orbit[0] for orbit in orbits]) % 1.0 % 1.0
    found = cKDTree(images, boxsize=1.0).query_ball_point(firsts, min(reach, 0.49))
    return [sorted({int(owners[at]) for at in near if owners[at] < row}) for row, near in enumerate(found)]


def _same_orbit(sites: ListedSites, orbits: list[np.ndarray], first: int, row: int, cell: np.ndarray) -> bool:
    """Return True if two rows are the same element on the same orbit."""
    if sites.numbers[first] != sites.numbers[row] or len(orbits[first]) != len(orbits[row]):
        return False
    away = orbits[first] - orbits[row][0]
    return bool(np.linalg.norm((away - np.round(away)) @ cell, axis=1).min() < SAME_PLACE)


def sigmas_of(u: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray | None, list[str]]:
    """Return the thermal sigmas of sites and a list of notes.

    The sigmas are the square roots of the mean square displacements ``u``, A^2, shape (m,). They are in A and have the same
    shape. If no displacement is above 0, None is returned in place of the sigmas. A site without a displacement (nan) gets
    the mean square displacement of its element, or of all sites if the element has none. The notes describe all
    substituted values.
    """
    notes: list[str] = []
    if np.any(u < 0):
        notes.append(f"{int(np.sum(u < 0))} negative displacement parameters were taken as 0.")
        u = np.where(u < 0, 0.0, u)
    if np.all(np.isnan(u)) or not np.nanmax(u) > 0:
        if not np.all(np.isnan(u)):
            notes.append("All displacement parameters of the file are 0.")
        return None, notes
    missing, u = np.isnan(u), u.copy()
    for number in np.unique(numbers[missing]):
        alike = ~np.isnan(u) & (numbers == number)
        u[missing & (numbers == number)] = np.nanmean(u[alike if alike.any() else ~missing])
    if missing.any():
        notes.append(f"{int(missing.sum())} sites without a displacement parameter got the mean of their element, or of all.")
    return np.sqrt(u), notes


def crystal_of(name: str, cell: np.ndarray, expansion: Expansion, *, notes: tuple[str, ...] = (), doubts: tuple[str, ...] = ()) -> Crystal:
    """Return the crystal with the sites of an expansion."""
    sigma, thermal = sigmas_of(expansion.u, expansion.numbers)
    return Crystal(
        name=name,
        cell=cell,
        fractional=expansion.fractional,
        numbers=expansion.numbers,
        occupancy=expansion.occupancy,
        sigma=sigma,
        notes=(*notes, *thermal),
        doubts=doubts,
    )


def crystal_of_rows(
    name: str, cell: np.ndarray, sites: ListedSites, *, isolated: bool = False, notes: tuple[str, ...] = (), doubts: tuple[str, ...] = ()
) -> Crystal:
    """Return the crystal of a file that lists all atoms. The coordinates of an isolated group are in A."""
    sigma, thermal = sigmas_of(sites.u, sites.numbers)
    return Crystal(
        name=name,
        cell=cell,
        fractional=sites.fractional,
        numbers=sites.numbers,
        occupancy=None if np.all(sites.occupancy == 1) else sites.occupancy,
        sigma=sigma,
        isolated=isolated,
        notes=(*notes, *thermal),
        doubts=doubts,
    )
