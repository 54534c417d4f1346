"""The choice of a setting: what a file says of its symmetry, held against its metric, formula, multiplicities and distances."""

from dataclasses import dataclass, field

import numpy as np

from stemtwin.twin.errors import StructureFileError
from stemtwin.twin.samples.readers.element_symbols import format_formula, symbols
from stemtwin.twin.samples.readers.orbits import IDENTITY, Operations
from stemtwin.twin.samples.readers.sites import Expansion, ListedSites, expand

METRIC_TOLERANCE = 5e-3  # 0.25 % of a length, 0.3 degrees: refined cells of a higher symmetry
METRIC_EXACT = 1e-3
SHORT = 0.55  # of the sum of the covalent radii: shorter than any bond (C=O has 0.8)
FORMULA_TOLERANCE = 0.05
DENSITY_TOLERANCE = 0.06
MOST_CROWDED = 4000  # sites; in larger cells distances are left to the sample's own check
U_PER_A3 = 1.66053907  # g/cm^3


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SymmetryCandidate:
    """One reading of a file's symmetry.

    Parameters
    ----------
    operations : Operations
        Of the cell.
    source : str
        What messages call it: "the operations that the file lists".
    rank : int
        0: what the file says, or may say; 1: other settings of the same group, tried where the first ones do not fit; 2: the sites alone.
    """

    operations: Operations
    source: str
    rank: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Claims:
    """What a file says of its content.

    Parameters
    ----------
    formula : dict from atomic number to count
        {} where the file has none.
    units : float, optional
        Formula units in the cell.
    density : float, optional
        g/cm^3.
    unplaced : bool
        Whether sites without a position were left out.
    """

    formula: dict[int, float] = field(default_factory=dict)
    units: float | None = None
    density: float | None = None
    unplaced: bool = False


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Choice:
    """What was chosen, with notes on what was done and doubts that deserve a warning."""

    expansion: Expansion
    notes: tuple[str, ...]
    doubts: tuple[str, ...]


def choose_setting(
    name: str, cell: np.ndarray, sites: ListedSites, candidates: list[SymmetryCandidate], claims: Claims, *, unique: bool = True
) -> Choice:
    """Return the sites of a cell by the reading of its symmetry that fits the metric and the content best.

    Parameters
    ----------
    name : str
        Of the file.
    cell : (3, 3) float
        Lattice vectors as rows, A.
    sites : ListedSites
        Of the file.
    candidates : list of SymmetryCandidate
        What the file says comes first.
    claims : Claims
        On its content.
    unique : bool
        Whether the candidates of rank 0 beyond the first one are only there for the case that the first one does not fit.

    Raises
    ------
    StructureFileError
        No candidate keeps the metric of the cell.
    """
    fitting = [(each, each.operations.metric_deviation(cell)) for each in candidates]
    isometric = [(each, deviation) for each, deviation in fitting if deviation < METRIC_TOLERANCE]
    if not isometric or isometric[0][0].rank > 1:
        message = (
            f"{name}: {candidates[0].source} do not keep the metric of its cell (R^T G R differs from G by {fitting[0][1]:.2g} of a squared edge, "
            f"limit {METRIC_TOLERANCE:g}), and no other setting of the group does. Repair the cell or the symmetry."
        )
        raise StructureFileError(message)
    said = _by_metric(name, candidates, isometric)
    rank = isometric[0][0].rank
    unique = unique and rank == candidates[0].rank
    choice = len(isometric) > 1 or len(isometric[0][0].operations) > 1
    first = _Trial(*isometric[0], cell, sites, claims, choice=choice)
    others = [pair for pair in isometric[1:] if first.faults or (pair[0].rank == rank and not unique)]
    trials = [first, *(_Trial(*pair, cell, sites, claims, choice=choice) for pair in others)]
    whole = any(trial.candidate.rank > 1 for trial in trials) and _whole_listing(sites, first, cell)
    able = [trial for trial in trials if trial.candidate.rank < 2 or (whole and not trial.faults)]
    best = min(able, key=lambda trial: trial.order[:2] if unique else trial.order)  # the first among equals
    notes, doubts = _told(name, first, best, unique=unique)
    if not best.faults and not unique:
        doubts += _doubt_of_equals(name, best, trials, cell)
    if rank > 0:
        said, doubts = (), (*said, *doubts)
    return Choice(expansion=best.expansion, notes=(*said, *notes, *_edits(best.expansion), *_hydrogen(best.expansion, claims)), doubts=doubts)


class _Trial:
    """One candidate, what it makes of the sites, and in what that contradicts the file."""

    def __init__(self, candidate: SymmetryCandidate, deviation: float, cell: np.ndarray, sites: ListedSites, claims: Claims, *, choice: bool) -> None:
        self.candidate = candidate
        self.expansion = expand(sites, candidate.operations, cell)
        self.faults = [
            *_metric_fault(deviation),
            *_formula_faults(self.expansion, claims),
            *_multiplicity_faults(self.expansion, sites, len(candidate.operations)),
            *_density_fault(self.expansion, claims, cell),
            *_near_faults(self.expansion),
            *_crowding_fault(self.expansion, cell, choice=choice),
        ]

    @property
    def order(self) -> tuple[int, int, float]:
        """The smaller, the better: faults, rank, and, of readings that fit equally well, the one in which the sites have the higher symmetry."""
        symmetry = np.log(len(self.candidate.operations) / self.expansion.multiplicity)
        return len(self.faults), self.candidate.rank, -round(float(symmetry.mean()), 6)


def _by_metric(name: str, candidates: list[SymmetryCandidate], isometric: list[tuple[SymmetryCandidate, float]]) -> tuple[str, ...]:
    """Return a note where what the file says first does not fit its cell."""
    if isometric[0][0] is candidates[0]:
        return ()
    return (f"{name}: {candidates[0].source} do not keep the metric of the cell; {isometric[0][0].source} were taken, which do.",)


def _metric_fault(deviation: float) -> list[str]:
    return [f"the metric is kept within {deviation:.2g} only"] if deviation > METRIC_EXACT else []


def _formula_faults(expansion: Expansion, claims: Claims) -> list[str]:
    """Return in what the composition differs from the formula: hydrogen that is not placed is no fault."""
    counts, formula = expansion.counts(), claims.formula
    if not formula:
        return []
    heavy = sorted(number for number in {*counts, *formula} if number > 1 and (number in counts or not claims.unplaced))
    if 1 in counts and counts[1] > 0 and not heavy:
        heavy = [1]
    ratios = np.array([counts.get(number, 0.0) / formula[number] if formula.get(number) else np.inf for number in heavy])
    if len(ratios) == 0:
        return []
    shown = f"the cell holds {format_formula(counts)}, the formula is {format_formula(formula)}"
    middle = float(np.median(ratios[np.isfinite(ratios) & (ratios > 0)])) if np.any(np.isfinite(ratios) & (ratios > 0)) else 0.0
    slack = np.array([FORMULA_TOLERANCE + 0.03 / formula.get(number, 1.0) for number in heavy])
    if middle <= 0 or np.any(~(np.abs(ratios / middle - 1) <= slack)):
        return [shown]
    if 1 in counts and formula.get(1) and counts[1] / middle > formula[1] * 1.1 + 0.1:
        return [shown]
    if claims.units and abs(middle / claims.units - 1) > FORMULA_TOLERANCE:
        return [f"the cell holds {middle:.3g} formula units, the file says {claims.units:g}"]
    return []


def _multiplicity_faults(expansion: Expansion, sites: ListedSites, order: int) -> list[str]:
    """Return where multiplicities differ from those stated; files also state orders of site symmetries under that name."""
    told = ~np.isnan(sites.stated)
    own, stated = expansion.multiplicity[told], sites.stated[told]
    if np.array_equal(own, stated) or np.array_equal(own * stated, np.full(len(own), order)):
        return []
    wrong = np.flatnonzero(own != stated)
    labels = [label for label, here in zip(sites.labels, told, strict=True) if here]
    shown = ", ".join(f"{labels[row]} {own[row]} for {stated[row]:g}" for row in wrong[:3])
    return [f"multiplicities differ from those stated ({shown})"]


def cell_density(numbers: np.ndarray, occupancy: np.ndarray, cell: np.ndarray) -> float:
    """Return the density of a cell's content, g/cm^3."""
    from ase.data import atomic_masses

    return float(np.sum(atomic_masses[numbers] * occupancy) * U_PER_A3 / abs(np.linalg.det(cell)))


def _density_fault(expansion: Expansion, claims: Claims, cell: np.ndarray) -> list[str]:
    if claims.density is None or claims.unplaced or (claims.formula.get(1) and 1 not in expansion.numbers):
        return []
    density = cell_density(expansion.numbers, expansion.occupancy, cell)
    off = abs(density / claims.density - 1) > DENSITY_TOLERANCE
    return [f"the density is {density:.4g} g/cm^3, the file says {claims.density:.4g}"] if off else []


def _near_faults(expansion: Expansion) -> list[str]:
    """Return the sites whose images lie too near each other."""
    if not expansion.near:
        return []
    label, distance = min(expansion.near, key=lambda pair: pair[1])
    return [f"images of {len(expansion.near)} sites lie up to 0.3 A apart ({label}: {distance:.2f} A) and were taken as one atom"]


def _crowding_fault(expansion: Expansion, cell: np.ndarray, *, choice: bool) -> list[str]:
    """Return a sentence on atoms nearer to each other than any bond, where that can decide between settings.

    Hydrogen, which is placed badly, and sites that share atoms are left aside.
    """
    from ase.data import covalent_radii
    from scipy.spatial import cKDTree

    heavy = np.flatnonzero(expansion.numbers > 1)
    if not choice or not 1 < len(heavy) <= MOST_CROWDED:
        return []
    places = expansion.fractional[heavy] % 1.0
    radii, filled = covalent_radii[expansion.numbers[heavy]], expansion.occupancy[heavy]
    reach = 2 * SHORT * float(radii.max())
    margin = reach * np.linalg.norm(np.linalg.inv(cell), axis=0)  # in fractions: reach over the distance between lattice planes
    shifts = np.array([[i, j, k] for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)])
    around = (places[None] + shifts[:, None]).reshape(-1, 3)
    inside = np.all((around > -margin) & (around < 1 + margin), axis=1)
    index = np.tile(np.arange(len(heavy)), len(shifts))[inside]
    found = cKDTree(places @ cell).sparse_distance_matrix(cKDTree(around[inside] @ cell), reach, output_type="coo_matrix")
    first, second, distance = found.row, index[found.col], found.data
    crowded = (first != second) & (distance < SHORT * (radii[first] + radii[second])) & (filled[first] + filled[second] > 1.02)
    if not crowded.any():
        return []
    worst = np.flatnonzero(crowded)[np.argmin(distance[crowded])]
    pair = "-".join(symbols(expansion.numbers[heavy[[first[worst], second[worst]]]]))
    return [f"atoms lie nearer to each other than any bond ({pair}: {distance[worst]:.2f} A)"]


def _whole_listing(sites: ListedSites, first: _Trial, cell: np.ndarray) -> bool:
    """Return whether the listed sites are a whole cell: each image of each site lies within 0.5 A of a listed one of the element."""
    expansion = expand(sites, first.candidate.operations, cell)
    for number in np.unique(sites.numbers):
        listed = sites.fractional[sites.numbers == number]
        away = expansion.fractional[expansion.numbers == number][:, None] - listed[None]
        if np.linalg.norm((away - np.round(away)) @ cell, axis=2).min(axis=1).max() > 0.5:
            return False
    return len(sites) > 1


def _told(name: str, first: _Trial, best: _Trial, *, unique: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return notes and doubts on a choice."""
    if not first.faults:
        return (), ()
    if best is first:
        return (), (f"{name}: with {first.candidate.source} {' and '.join(first.faults)}; no other setting of the group fits better.",)
    why = f"{name}: {best.candidate.source} were taken: with {first.candidate.source} {' and '.join(first.faults)}"
    if best.faults:
        return (), (f"{why}; with the ones taken {' and '.join(best.faults)}.",)
    if unique or best.candidate.rank:
        return (), (f"{why}.",)
    return (f"{why}.",), ()


def _doubt_of_equals(name: str, best: _Trial, trials: list[_Trial], cell: np.ndarray) -> tuple[str, ...]:
    """Return a doubt where other settings fit as well and give other atoms."""
    for trial in trials:
        if (
            trial is not best
            and not trial.faults
            and trial.candidate.rank == best.candidate.rank
            and not _same_content(best.expansion, trial.expansion, cell)
        ):
            return (
                f"{name} does not say which setting it has, and nothing in it decides: {best.candidate.source} were taken, {trial.candidate.source} "
                f"fit as well. List its operations.",
            )
    return ()


def _same_content(one: Expansion, other: Expansion, cell: np.ndarray) -> bool:
    """Return whether two expansions are the same atoms modulo the lattice."""
    if len(one.numbers) != len(other.numbers):
        return False
    for number in np.unique(one.numbers):
        first, second = one.fractional[one.numbers == number], other.fractional[other.numbers == number]
        if len(first) != len(second):
            return False
        away = first[:, None] - second[None]
        if np.linalg.norm((away - np.round(away)) @ cell, axis=2).min(axis=1).max() > 0.02:
            return False
    return True


def _edits(expansion: Expansion) -> list[str]:
    """Return notes on what was done to the listed sites."""
    notes = []
    if expansion.repeated:
        notes.append(f"{len(expansion.repeated)} listed sites are images of others and were taken once ({', '.join(expansion.repeated[:4])}).")
    if expansion.merged:
        shown = ", ".join(expansion.merged[:4])
        notes.append(f"{len(expansion.merged)} sites share their place with another of the same element: occupancies were added ({shown}).")
    if expansion.rounded:
        shown = ", ".join(expansion.rounded[:4])
        notes.append(f"{len(expansion.rounded)} sites with few digits were put on the special position beside them ({shown}).")
    return notes


def _hydrogen(expansion: Expansion, claims: Claims) -> list[str]:
    """Return a note where the formula has hydrogen that has no site."""
    if claims.formula.get(1) and 1 not in expansion.numbers and not claims.unplaced:
        return ["The formula has hydrogen, for which the file has no sites: it is left out."]
    return []


def sites_alone() -> SymmetryCandidate:
    """Return the reading that the listed sites are the whole cell."""
    return SymmetryCandidate(operations=IDENTITY, source="the listed sites as the whole cell", rank=2)
