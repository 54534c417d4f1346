"""Projected atomic columns: atoms that lie above each other along the beam."""

from dataclasses import dataclass

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.samples.sample import Sample, symbols_of

WEIGHT_EXPONENT = 1.7  # approximate power of Z in high-angle scattering


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Columns:
    """Projected atomic columns of a sample, sorted by y, then x.

    Parameters
    ----------
    x, y : (n,) float64
        Positions of the columns, A. A position is the mean over the atoms of a column, weighted by Z**1.7.
    occupancy : (n,) float64
        Number of atoms in the column.
    species : tuple of str
        Elements in the column, the heaviest first, joined by "-": ``"Ti-O"``.
    heaviest : (n,) int64
        Largest atomic number in the column.
    weight : (n,) float64
        Sum of Z**1.7 over the column's atoms.
    """

    x: np.ndarray
    y: np.ndarray
    occupancy: np.ndarray
    species: tuple[str, ...]
    heaviest: np.ndarray
    weight: np.ndarray

    def __len__(self) -> int:
        """Return the number of columns."""
        return len(self.x)


def _clusters(places: np.ndarray, box: np.ndarray, tolerance: float, *, periodic: bool) -> tuple[int, np.ndarray]:
    """Return the number of clusters of positions (n, 2), and the index of the cluster of each position (n,)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    # All atoms of a perfect column have one projected position, so few pairs remain.
    spots, spot = np.unique(np.round(places, 4), axis=0, return_inverse=True)
    tree = cKDTree(spots % box if periodic else spots, boxsize=box if periodic else None)
    pairs = tree.query_pairs(tolerance, output_type="ndarray")
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(spots), len(spots)))
    count, labels = connected_components(graph, directed=False)
    return count, labels[spot.reshape(-1)]


def _mean_positions(
    places: np.ndarray, column: np.ndarray, weights: np.ndarray, weight: np.ndarray, box: np.ndarray, *, periodic: bool
) -> np.ndarray:
    """Return the weighted mean position of each column, A, (count, 2), from the atoms' positions (n, 2), columns (n,) and weights (n,)."""
    count = len(weight)
    first = np.full(count, -1)
    first[column[::-1]] = np.arange(len(column))[::-1]
    step = places - places[first[column]]
    if periodic:
        step -= box * np.round(step / box)
    mean = places[first] + np.column_stack([np.bincount(column, weights * step[:, axis], count) for axis in (0, 1)]) / weight[:, None]
    return np.where(np.abs(mean % box - box) < 1e-9, 0.0, mean % box) if periodic else mean


def projected_columns(sample: Sample, tolerance_angstrom: float = 0.3) -> Columns:
    """Return the projected atomic columns of a sample.

    Parameters
    ----------
    sample : Sample
        The sample. Static positions are used.
    tolerance_angstrom : float
        Largest projected distance from one atom of a column to the next, A. Columns continue across the edges of a
        periodic sample.

    Returns
    -------
    Columns
        Columns with positions inside the box.

    Raises
    ------
    SettingsError
        The tolerance is not above 0 or not below half the box.

    Examples
    --------
    >>> import stemtwin as st
    >>> sample = st.load_sample("srtio3-001", size_angstrom=(8, 8), thickness_angstrom=40)
    >>> columns = st.projected_columns(sample)
    >>> sorted(set(columns.species))
    ['O', 'Sr', 'Ti-O']
    """
    box = np.array([sample.size_angstrom[1], sample.size_angstrom[0]])
    if not 0 < tolerance_angstrom < box.min() / 2:
        message = f"tolerance_angstrom={tolerance_angstrom:g} must lie between 0 and half the box ({box.min() / 2:.3g} A)."
        raise SettingsError(message)
    if len(sample) == 0:
        none = np.empty(0)
        return Columns(x=none, y=none, occupancy=none, species=(), heaviest=np.empty(0, dtype=np.int64), weight=none)
    places = sample.positions_angstrom[:, :2]
    count, column = _clusters(places, box, tolerance_angstrom, periodic=sample.periodic)
    weights = sample.numbers.astype(float) ** WEIGHT_EXPONENT
    weight = np.bincount(column, weights, count)
    mean = _mean_positions(places, column, weights, weight, box, periodic=sample.periodic)
    kinds: list[set[int]] = [set() for _ in range(count)]
    for at, number in zip(column.tolist(), sample.numbers.tolist(), strict=True):
        kinds[at].add(number)
    order = np.lexsort((np.round(mean[:, 0], 6), np.round(mean[:, 1], 6)))
    heaviest = np.array([max(kind) for kind in kinds], dtype=np.int64)
    species = tuple("-".join(symbols_of(np.array(sorted(kinds[at], reverse=True)))) for at in order)
    columns = Columns(
        x=mean[order, 0],
        y=mean[order, 1],
        occupancy=np.bincount(column, minlength=count)[order].astype(float),
        species=species,
        heaviest=heaviest[order],
        weight=weight[order],
    )
    for array in (columns.x, columns.y, columns.occupancy, columns.heaviest, columns.weight):
        array.setflags(write=False)
    return columns
