"""Contradictions between an interpretation of a file's symmetry and the other content of the file.

This content is the formula, the density, the multiplicities and the atomic distances.
"""

from dataclasses import dataclass, field

import numpy as np

from stemtwin.twin.samples.readers.element_symbols import format_formula, symbols
from stemtwin.twin.samples.readers.sites import Expansion, ListedSites
from stemtwin.twin.samples.sample import G_PER_CM3

METRIC_EXACT = 1e-3  # largest deviation of an exact metric, as a fraction of a squared edge
SHORT = 0.55  # fraction of the sum of the covalent radii, shorter than any bond (C=O has 0.8)
FORMULA_TOLERANCE = 0.05
DENSITY_TOLERANCE = 0.06
MOST_CROWDED = 4000  # sites; in larger cells only the sample checks distances


@dataclass(frozen=True, kw_only=True, slots=True)
class Claims:
    """Statements of a file about its content.

    Parameters
    ----------
    formula : dict from atomic number to count
        Formula; {} where the file has none.
    units : float, optional
        Number of formula units in the cell.
    density : float, optional
        Density, g/cm^3.
    unplaced : bool
        Whether sites without a position were omitted.
    """

    formula: dict[int, float] = field(default_factory=dict)
    units: float | None = None
    density: float | None = None
    unplaced: bool = False


def metric_fault(deviation: float) -> list[str]:
    """Return a list with one fault if symmetry operations preserve the metric of a cell only approximately.

    There is a fault if ``deviation``, the result of ``Operations.metric_deviation``, is above 0.001. Otherwise, the list
    is empty.
    """
    return [f"the metric is preserved only within {deviation:.2g}"] if deviation > METRIC_EXACT else []


def content_faults(expansion: Expansion, claims: Claims, cell: np.ndarray) -> list[str]:
    """Return the differences between the sites and the file's formula, number of formula units and density."""
    return [*_formula_faults(expansion, claims), *_density_fault(expansion, claims, cell)]


def _formula_faults(expansion: Expansion, claims: Claims) -> list[str]:
    """Return the differences between the composition and the formula; hydrogen without a site is not a fault."""
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
        return [f"the cell holds {middle:.3g} formula units, but the file says {claims.units:g}"]
    return []


def multiplicity_faults(expansion: Expansion, sites: ListedSites, order: int) -> list[str]:
    """Return a list with one fault if the multiplicities of the expanded sites differ from those that the file states.

    Some files state the order of the site symmetry in place of the multiplicity. This is accepted if the product of
    both is ``order``, the order of the group. Without a fault, the list is empty.
    """
    told = ~np.isnan(sites.stated)
    own, stated = expansion.multiplicity[told], sites.stated[told]
    if np.array_equal(own, stated) or np.array_equal(own * stated, np.full(len(own), order)):
        return []
    wrong = np.flatnonzero(own != stated)
    labels = [label for label, here in zip(sites.labels, told, strict=True) if here]
    shown = ", ".join(f"{labels[row]} {own[row]} for {stated[row]:g}" for row in wrong[:3])
    return [f"multiplicities differ from those stated ({shown})"]


def _density_fault(expansion: Expansion, claims: Claims, cell: np.ndarray) -> list[str]:
    from ase.data import atomic_masses

    if claims.density is None or claims.unplaced or (claims.formula.get(1) and 1 not in expansion.numbers):
        return []
    density = float(np.sum(atomic_masses[expansion.numbers] * expansion.occupancy) * G_PER_CM3 / abs(np.linalg.det(cell)))
    off = abs(density / claims.density - 1) > DENSITY_TOLERANCE
    return [f"the density is {density:.4g} g/cm^3, but the file says {claims.density:.4g}"] if off else []


def near_faults(expansion: Expansion) -> list[str]:
    """Return a list with one fault if symmetry images of a site are too near each other; [] otherwise."""
    if not expansion.near:
        return []
    label, distance = min(expansion.near, key=lambda pair: pair[1])
    return [f"images of {len(expansion.near)} sites lie up to 0.3 A apart ({label}: {distance:.2f} A) and were taken as one atom"]


def crowding_fault(expansion: Expansion, cell: np.ndarray) -> list[str]:
    """Return a list with one fault if two atoms are nearer than 0.55 times the sum of their covalent radii; [] otherwise.

    Hydrogen is exempt because its positions are inaccurate, and species that share a site are exempt.
    """
    from ase.data import covalent_radii
    from scipy.spatial import cKDTree

    heavy = np.flatnonzero(expansion.numbers > 1)
    if not 1 < len(heavy) <= MOST_CROWDED:
        return []
    places = expansion.fractional[heavy] % 1.0
    radii, filled = covalent_radii[expansion.numbers[heavy]], expansion.occupancy[heavy]
    reach = 2 * SHORT * float(radii.max())
    # In fractions, the margin is the reach over the distance between lattice planes.
    margin = reach * np.linalg.norm(np.linalg.inv(cell), axis=0)
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
    return [f"atoms are nearer to each other than the length of any bond ({pair}: {distance[worst]:.2f} A)"]
