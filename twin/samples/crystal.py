"""One cell of a crystal: sites with occupancies and thermal motion, the primitive cell, and the random filling of sites."""

from dataclasses import dataclass, replace

import numpy as np

from stemtwin.twin.errors import StructureFileError

EXCLUSIVE_DISTANCE = 0.6  # A; partly filled sites nearer than this cannot both be filled (the shortest bond, H-H, is 0.74 A)
B_OVER_U = 8 * np.pi**2
SAME_PLACE = 0.05  # A; sites nearer than this are one site with several species
TRANSLATION_TOLERANCE = 1e-3  # A; a translation maps the crystal onto itself to within this distance


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Crystal:
    """One cell of a crystal, or an isolated group of atoms.

    Parameters
    ----------
    name : str
        Name in messages.
    cell : (3, 3) float
        Lattice vectors as rows, A.
    fractional : (m, 3) float
        Sites in units of the lattice vectors; for an isolated group, positions in A.
    numbers : (m,) int
        Atomic numbers.
    occupancy : (m,) float, optional
        Probability that the site is filled; None: all 1.
    sigma : (m,) float, optional
        1-D rms displacement in A; None: static.
    isolated : bool
        Whether the atoms are a group that does not repeat in any direction.
    notes : tuple of str
        Sentences about changes that were made to the structure.
    doubts : tuple of str
        Sentences about doubtful properties of the structure, which also become warnings.

    Raises
    ------
    StructureFileError
        The crystal holds no atoms, its cell has no volume, coordinates are not finite, or occupancies lie outside [0,
        1].
    """

    name: str
    cell: np.ndarray
    fractional: np.ndarray
    numbers: np.ndarray
    occupancy: np.ndarray | None = None
    sigma: np.ndarray | None = None
    isolated: bool = False
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the cell and the sites."""
        if len(self.numbers) == 0:
            message = f"{self.name} holds no atoms. Give at least one atomic site."
            raise StructureFileError(message)
        if not np.all(np.isfinite(self.fractional)) or not np.all(np.isfinite(self.cell)):
            message = f"{self.name} holds coordinates that are not finite numbers. Repair the file."
            raise StructureFileError(message)
        lengths, volume = np.linalg.norm(self.cell, axis=1), abs(np.linalg.det(self.cell))
        if not self.isolated and (lengths.min() < 0.5 or volume < 0.01 * lengths.prod()):
            a, b, c = lengths
            message = (
                f"{self.name} has a cell without volume: lengths {a:g}, {b:g}, {c:g} A (limit 0.5 A), volume {volume:.3g} A^3. "
                f"Repair its lattice vectors."
            )
            raise StructureFileError(message)
        if self.occupancy is not None and (np.any(self.occupancy < 0) or np.any(self.occupancy > 1.001)):
            worst = self.occupancy[np.argmax(np.abs(self.occupancy - 0.5))]
            message = f"{self.name} has a site with occupancy {worst:g}, which must lie between 0 and 1. Repair the file."
            raise StructureFileError(message)

    @property
    def filling(self) -> np.ndarray:
        """Occupancies (m,), 1 where none are given."""
        return np.ones(len(self.numbers)) if self.occupancy is None else self.occupancy

    @property
    def volume(self) -> float:
        """Volume of the cell in A^3."""
        return float(abs(np.linalg.det(self.cell)))


def _tags(crystal: Crystal) -> np.ndarray:
    """Return one label (m,) for each kind of site: element, occupancy and sigma."""
    sigma = np.zeros(len(crystal.numbers)) if crystal.sigma is None else crystal.sigma
    kinds = np.column_stack([crystal.numbers, np.round(crystal.filling, 5), np.round(sigma, 5)])
    return np.unique(kinds, axis=0, return_inverse=True)[1].reshape(-1)


def _snap(step: np.ndarray, lengths: np.ndarray, most: int) -> np.ndarray | None:
    """Return the fraction k/n (n at most ``most``) nearest to a translation, or None if no order n fits."""
    for order in range(2, most + 1):
        exact = np.round(step * order) / order
        if np.all(np.abs(exact - step) * lengths < TRANSLATION_TOLERANCE):
            return exact
    return None


def _translations(crystal: Crystal) -> np.ndarray:
    """Return the translations (k, 3), in fractions of the cell, that map the crystal onto itself, [0, 0, 0] first."""
    from scipy.spatial import cKDTree

    lengths, tags = np.linalg.norm(crystal.cell, axis=1), _tags(crystal)
    sites = crystal.fractional % 1.0 % 1.0
    members = min((np.flatnonzero(tags == tag) for tag in np.unique(tags)), key=len)
    found = [np.zeros(3)]
    if len(members) == 1 or len(members) > 256:
        return np.array(found)
    trees = [(tag, cKDTree(sites[tags == tag], boxsize=1.0)) for tag in np.unique(tags)]
    reach = 2 * TRANSLATION_TOLERANCE / lengths.min()
    for member in members[1:]:
        step = _snap((sites[member] - sites[members[0]]) % 1.0, lengths, len(members))
        if step is None:
            continue
        moved = (sites + step) % 1.0 % 1.0
        if all(np.all(tree.query(moved[tags == tag])[0] < reach) for tag, tree in trees):
            found.append(step % 1.0)
    return np.array(found)


def primitive(crystal: Crystal) -> Crystal:
    """Return the same crystal in a primitive cell.

    The search for nearly orthogonal cells (:func:`~stemtwin.twin.samples.zone_axis_cells.orient`) needs a primitive cell
    to find every period.

    Parameters
    ----------
    crystal : Crystal
        The crystal in any cell; lattice vectors and atoms keep their directions in space.

    Returns
    -------
    Crystal
        The crystal with a primitive cell, or the same object if its cell is already primitive. The number of sites is
        divided by the number of lattice translations inside the given cell.
    """
    if crystal.isolated:
        return crystal
    inside = _translations(crystal)
    if len(inside) == 1:
        return crystal
    corners = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    steps = (inside[:, None] + corners[None]).reshape(-1, 3)
    lengths = np.linalg.norm(steps @ crystal.cell, axis=1)
    steps = steps[np.lexsort((*np.round(-steps.T, 6), np.round(lengths, 6)))][1:]
    basis: list[np.ndarray] = []
    for step in steps:  # the three shortest independent vectors of a 3-D lattice are a basis of it
        trial = np.array([*basis, step])
        if np.linalg.matrix_rank(trial, tol=1e-6) == len(trial):
            basis.append(step)
        if len(basis) == 3:
            break
    rows = np.array(basis)
    if not np.isclose(abs(np.linalg.det(rows)) * len(inside), 1.0, atol=1e-6):
        return crystal
    cell = rows @ crystal.cell
    sites, tags = crystal.fractional @ np.linalg.inv(rows), _tags(crystal)
    kept: list[int] = []
    for tag in np.unique(tags):
        chosen: list[int] = []
        for index in np.flatnonzero(tags == tag):
            away = sites[index] - sites[chosen]
            away -= np.round(away)
            if not chosen or np.linalg.norm(away @ cell, axis=1).min() > 10 * TRANSLATION_TOLERANCE:
                chosen.append(int(index))
        kept += chosen
    if len(kept) * len(inside) != len(sites):
        return crystal
    pick = np.sort(kept)
    occupancy = None if crystal.occupancy is None else crystal.occupancy[pick]
    sigma = None if crystal.sigma is None else crystal.sigma[pick]
    return replace(crystal, cell=cell, fractional=sites[pick], numbers=crystal.numbers[pick], occupancy=occupancy, sigma=sigma)


def _exclusive_groups(
    positions: np.ndarray, partial: np.ndarray, lengths: np.ndarray, *, periodic: bool
) -> tuple[list[np.ndarray], dict[int, set[int]]]:
    """Return the groups of mutually exclusive sites with a partly filled one, and the near neighbours of each site."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    tree = cKDTree(positions, boxsize=(lengths[0], lengths[1], 0.0) if periodic else None)
    pairs = tree.query_pairs(EXCLUSIVE_DISTANCE, output_type="ndarray")
    pairs = pairs[partial[pairs].any(axis=1)]
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(positions),) * 2)
    labels = connected_components(graph, directed=False)[1]
    order = np.argsort(labels, kind="stable")
    groups = [group for group in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1) if partial[group].any()]
    near = {int(i): set() for group in groups for i in group}
    for i, j in pairs.tolist():
        near[i].add(j)
        near[j].add(i)
    return groups, near


def draw_sites(
    positions: np.ndarray, occupancy: np.ndarray, lengths: np.ndarray, rng: np.random.Generator, *, periodic: bool, name: str
) -> tuple[np.ndarray, int]:
    """Draw the sites that are filled with an atom.

    If several species share a site, at most one of them is placed there. If split sites are too near each other, at most
    one of them is filled.

    Parameters
    ----------
    positions : (n, 3) float
        Sites in A, inside the box if it is periodic.
    occupancy : (n,) float
        Probability that each site is filled.
    lengths : (3,) float
        Size of the box (x, y, z), A.
    rng : numpy.random.Generator
        Source of the draws.
    periodic : bool
        Whether the box repeats in x and y.
    name : str
        Name of the structure in messages.

    Returns
    -------
    filled : (n,) bool
        Mask of the sites that hold an atom.
    count : int
        Number of independent draws. There is one draw for each group of sites that exclude each other.

    Raises
    ------
    StructureFileError
        The occupancies of one site sum to more than 1.
    """
    partial = occupancy < 1 - 1e-6
    filled = ~partial
    if not partial.any():
        return filled, 0
    groups, near = _exclusive_groups(positions, partial, lengths, periodic=periodic)
    for group, chance in zip(groups, rng.random(len(groups)), strict=True):
        total = occupancy[group].sum()
        if total <= 1.02:
            steps = np.cumsum(occupancy[group]) / max(total, 1.0)
            choice = int(np.searchsorted(steps, chance, side="right"))
            filled[group] = np.arange(len(group)) == choice
            continue
        step = positions[group] - positions[group[0]]
        if periodic:
            step[:, :2] -= lengths[:2] * np.round(step[:, :2] / lengths[:2])
        if np.abs(step).max() < SAME_PLACE:
            place = ", ".join(f"{value:.3f}" for value in positions[group[0]])
            message = (
                f"{name}: the occupancies sum to {total:.3f} at the site ({place}) A, but must not exceed 1. Repair the occupancies in the file."
            )
            raise StructureFileError(message)
        filled[group] = False
        for site in rng.permutation(group):  # a chain of split sites is filled one by one, never two neighbours
            filled[site] = rng.random() < occupancy[site] and not any(filled[other] for other in near[int(site)])
    return filled, len(groups)
