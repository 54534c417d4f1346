"""Choice among the possible settings of a file's space group.

Each setting is compared with the cell's lengths and angles, the formula, the multiplicities and the atomic distances.
"""

from dataclasses import dataclass

import numpy as np

from stemtwin.twin.errors import StructureFileError
from stemtwin.twin.samples.readers.content_faults import Claims, content_faults, crowding_fault, metric_fault, multiplicity_faults, near_faults
from stemtwin.twin.samples.readers.orbits import IDENTITY, Operations
from stemtwin.twin.samples.readers.sites import Expansion, ListedSites, expand

METRIC_TOLERANCE = 5e-3  # 0.25 % of a length or 0.3 degrees, as in refined cells of a higher symmetry


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SymmetryCandidate:
    """One possible interpretation of the symmetry that a file states.

    Parameters
    ----------
    operations : Operations
        Symmetry operations of the cell.
    source : str
        Name of the interpretation in messages, such as "the operations that the file lists".
    rank : int
        0: a direct interpretation of the file; 1: another setting of the same group, which is used only if no candidate of
        rank 0 fits; 2: the listed sites without symmetry, as the whole cell.
    """

    operations: Operations
    source: str
    rank: int = 0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Choice:
    """All sites of the cell that follow from the chosen symmetry, notes on the choice, and doubts, which become warnings."""

    expansion: Expansion
    notes: tuple[str, ...]
    doubts: tuple[str, ...]


def choose_setting(
    name: str, cell: np.ndarray, sites: ListedSites, candidates: list[SymmetryCandidate], claims: Claims, *, unique: bool = True
) -> Choice:
    """Return the sites of a cell, expanded by the interpretation of its symmetry that fits the file best.

    Parameters
    ----------
    name : str
        Name of the file.
    cell : (3, 3) float
        Lattice vectors as rows, A.
    sites : ListedSites
        Listed sites of the file.
    candidates : list of SymmetryCandidate
        Interpretations of the symmetry, the file's own statement first.
    claims : Claims
        Statements of the file about its content.
    unique : bool
        Whether the first candidate is used without comparison if it fits the file. If False, all candidates of rank 0
        (see :class:`SymmetryCandidate`) are compared.

    Raises
    ------
    StructureFileError
        No candidate preserves the metric of the cell.
    """
    fitting = [(each, each.operations.metric_deviation(cell)) for each in candidates]
    isometric = [(each, deviation) for each, deviation in fitting if deviation < METRIC_TOLERANCE]
    if not isometric or isometric[0][0].rank > 1:
        message = (
            f"{name}: {candidates[0].source} do not preserve the metric of the cell (R^T G R differs from G by {fitting[0][1]:.2g} of a "
            f"squared edge, limit {METRIC_TOLERANCE:g}), and no other setting of the group does. Repair the cell or the symmetry."
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
    best = min(able, key=lambda trial: trial.order[:2] if unique else trial.order)  # the first of equal ones
    notes, doubts = _told(name, first, best, unique=unique)
    if not best.faults and not unique:
        doubts += _doubt_of_equals(name, best, trials, cell)
    if rank > 0:
        said, doubts = (), (*said, *doubts)
    return Choice(expansion=best.expansion, notes=(*said, *notes, *_edits(best.expansion), *_hydrogen(best.expansion, claims)), doubts=doubts)


class _Trial:
    """One candidate with its expansion of the sites and the contradictions to the file."""

    def __init__(self, candidate: SymmetryCandidate, deviation: float, cell: np.ndarray, sites: ListedSites, claims: Claims, *, choice: bool) -> None:
        self.candidate = candidate
        self.expansion = expand(sites, candidate.operations, cell)
        self.faults = [
            *metric_fault(deviation),
            *content_faults(self.expansion, claims, cell),
            *multiplicity_faults(self.expansion, sites, len(candidate.operations)),
            *near_faults(self.expansion),
            *(crowding_fault(self.expansion, cell) if choice else ()),
        ]

    @property
    def order(self) -> tuple[int, int, float]:
        """Sort key, smaller for a better reading: number of faults, rank, and minus the mean site symmetry."""
        symmetry = np.log(len(self.candidate.operations) / self.expansion.multiplicity)
        return len(self.faults), self.candidate.rank, -round(float(symmetry.mean()), 6)


def _by_metric(name: str, candidates: list[SymmetryCandidate], isometric: list[tuple[SymmetryCandidate, float]]) -> tuple[str, ...]:
    """Return a note where the file's first reading does not fit its cell."""
    if isometric[0][0] is candidates[0]:
        return ()
    return (f"{name}: {candidates[0].source} do not preserve the metric of the cell; {isometric[0][0].source} were used instead, which do.",)


def _whole_listing(sites: ListedSites, first: _Trial, cell: np.ndarray) -> bool:
    """Return True if the sites are a whole cell, so each image lies within 0.5 A of a listed site of its element."""
    expansion = expand(sites, first.candidate.operations, cell)
    for number in np.unique(sites.numbers):
        listed = sites.fractional[sites.numbers == number]
        away = expansion.fractional[expansion.numbers == number][:, None] - listed[None]
        if np.linalg.norm((away - np.round(away)) @ cell, axis=2).min(axis=1).max() > 0.5:
            return False
    return len(sites) > 1


def _told(name: str, first: _Trial, best: _Trial, *, unique: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return notes and doubts about a choice."""
    if not first.faults:
        return (), ()
    if best is first:
        return (), (f"{name}: with {first.candidate.source} {' and '.join(first.faults)}; no other setting of the group fits better.",)
    why = f"{name}: {best.candidate.source} were taken: with {first.candidate.source} {' and '.join(first.faults)}"
    if best.faults:
        return (), (f"{why}; with the operations that were taken {' and '.join(best.faults)}.",)
    if unique or best.candidate.rank:
        return (), (f"{why}.",)
    return (f"{why}.",), ()


def _doubt_of_equals(name: str, best: _Trial, trials: list[_Trial], cell: np.ndarray) -> tuple[str, ...]:
    """Return a doubt where another setting fits equally well and gives other atoms."""
    for trial in trials:
        if (
            trial is not best
            and not trial.faults
            and trial.candidate.rank == best.candidate.rank
            and not _same_content(best.expansion, trial.expansion, cell)
        ):
            return (
                f"{name} does not say which setting it has, and its content fits two settings: {best.candidate.source} were taken, but "
                f"{trial.candidate.source} fit as well. List the operations in the file.",
            )
    return ()


def _same_content(one: Expansion, other: Expansion, cell: np.ndarray) -> bool:
    """Return True if two expansions hold the same atoms up to lattice translations."""
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
    """Return notes on changes of the listed sites."""
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
    """Return a note where the formula has hydrogen without a site."""
    if claims.formula.get(1) and 1 not in expansion.numbers and not claims.unplaced:
        return ["The formula has hydrogen, for which the file has no sites: it is left out."]
    return []


def sites_alone() -> SymmetryCandidate:
    """Return the interpretation in which the listed sites are the whole cell."""
    return SymmetryCandidate(operations=IDENTITY, source="the listed sites as the whole cell", rank=2)
