"""Graphene: perfect sheets, sheets with point defects, holes and edges, and a sheet with a silicon dopant."""

from dataclasses import replace
from typing import Annotated

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.samples.defects import displace, remove, share, sites, substitute
from stemtwin.twin.samples.neighbours import find_bonds, steps_from, within
from stemtwin.twin.samples.sample import Defect, Sample
from stemtwin.twin.samples.sample_families import BuildRequest, Knob, fraction, specimen

A = 2.46  # lattice constant, A
VACUUM_CELL = 20.0  # A, height of the cell that holds a sheet; the builder trims it
# Threefold silicon buckles out of the sheet to either side: C. Hofer et al., Appl. Phys. Lett. 114 (2019) 053102. The
# geometry is a model with bonds of 1.75 A to neighbours that are moved outwards in the plane.
SI_C_BOND = 1.75  # A
SI_NEIGHBOUR_SHIFT = 0.10  # A
B_C_BOND, N_C_BOND = 1.48, 1.41  # A, middle of published density functional calculations, +-0.02 A
RESERVED = 3.0  # A, radius without other defects around the middle of a rotated bond or a divacancy
APART = 7.0  # A, smallest distance between the centres of rotated bonds and divacancies
EMPTY = 0.4  # fraction of the height or width that is vacuum beside an edge

NoCarbon = Annotated[float, fraction("fraction of the carbon sites that are empty, drawn one by one")]
DivacancyCount = Annotated[int, Knob(about="number of divacancies, V_2C, at least 7 A apart", low=0, high=10_000)]
Rotations = Annotated[int, Knob(about="number of rotated bonds (Stone-Wales, 55-77), at least 7 A apart", low=0, high=10_000)]
Nitrogen = Annotated[float, fraction("fraction of the carbon sites that hold nitrogen")]
Boron = Annotated[float, fraction("fraction of the carbon sites that hold boron")]
Hole = Annotated[float, Knob(about="diameter of a hole in the middle; 0: none", low=0.0, high=1000.0, unit="A")]
Ribbon = Annotated[
    str,
    Knob(about="a ribbon with two edges: zigzag along x, armchair along y; 40 % of the sheet is cut away", choices=("none", "zigzag", "armchair")),
]

_LATTICE = "P6/mmm, a = 2.461 A as in graphite at 297 K: Y. Baskin, L. Meyer, Phys. Rev. 100 (1955) 544"
_THERMAL = (
    "C: in-plane 0.049 A, two-dimensional Debye model at 300 K with a Debye temperature of 2312 K (V. K. Tewary, B. Yang, Phys. Rev. B 79 "
    "(2009) 125416) and the modes "
    "shorter than 100 A; longer ones move what one image shows as a whole"
)
_DOPANTS = ". B and N move like carbon"
_SILICON = ". Si: 0.042 A, an oscillator of 55 meV at 300 K, its resonance in graphene (F. S. Hage et al., Science 367 (2020) 1124)"


def sheet(order: BuildRequest) -> Sample:
    """Return a perfect graphene sheet with x along a zigzag row."""
    return order.crystal((A, A, VACUUM_CELL), (("C", (1 / 3, 2 / 3, 0.5)), ("C", (2 / 3, 1 / 3, 0.5))), angles_deg=(90.0, 90.0, 120.0))


def _spread(sample: Sample, centres: np.ndarray, count: int, rng: np.random.Generator, what: str, taken: list[np.ndarray]) -> np.ndarray:
    """Draw some of the positions (k, 3), at least 7 A from each other and from ``taken``, and add them to ``taken``."""
    chosen: list[int] = []
    for one in rng.permutation(len(centres)) if count else ():
        if len(chosen) == count:
            break
        away = np.array(taken).reshape(-1, 3) - centres[one]
        box = np.array([sample.size_angstrom[1], sample.size_angstrom[0]])
        away[:, :2] -= box * np.round(away[:, :2] / box)
        if np.all(np.linalg.norm(away, axis=1) > APART):
            chosen.append(int(one))
            taken.append(centres[one])
    if len(chosen) < count:
        message = f"{sample.name}: only {len(chosen)} of {count} {what} fit at least {APART:g} A apart. Ask for fewer, or for a larger size."
        raise SettingsError(message)
    return np.array(chosen, dtype=np.int64)


@specimen(
    "graphene",
    "sheet",
    "2d",
    title="graphene, one sheet; vacancies, divacancies, rotated bonds, nitrogen, boron, a hole, edges",
    sigma={"C": 0.049, "B": 0.049, "N": 0.049},
    lattice_source=_LATTICE,
    thermal_source=_THERMAL + _DOPANTS,
)
def graphene(
    order: BuildRequest,
    *,
    vacancy_fraction: NoCarbon = 0.0,
    divacancies: DivacancyCount = 0,
    bond_rotations: Rotations = 0,
    nitrogen_fraction: Nitrogen = 0.0,
    boron_fraction: Boron = 0.0,
    hole_angstrom: Hole = 0.0,
    edge: Ribbon = "none",
) -> Sample:
    """Return a graphene sheet with the requested edges, hole and point defects.

    Edges and hole are cut first. Rotated bonds, divacancies, dopants and vacancies are then made in the remaining sheet.
    """
    sample = sheet(order)
    if edge != "none":
        sample = _ribbon(sample, edge)
    if hole_angstrom > 0:
        sample = _holed(sample, hole_angstrom)
    if bond_rotations or divacancies:
        sample = _paired(sample, order, bond_rotations, divacancies)
    sample = _doped(sample, order, nitrogen_fraction, boron_fraction)
    return remove(sample, _scattered(sample, sites(sample, "C"), vacancy_fraction, order.rng("vacancies")))


def _scattered(sample: Sample, candidates: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a fraction of candidate atoms from those that do not belong to a rotated bond or a divacancy."""
    if fraction == 0:
        return candidates[:0]
    near = [
        within(sample, np.array(one.position_angstrom), RESERVED)[0] for one in sample.defects if one.kind == "displacement" or len(one.removed) == 2
    ]
    free = np.setdiff1d(candidates, np.concatenate(near)) if near else candidates
    if fraction * len(candidates) > len(free):
        message = (
            f"{sample.name}: a fraction of {fraction:g} needs more than the {len(free)} atoms available. "
            f"Rotated bonds and divacancies exclude the atoms within {RESERVED:g} A of their middle. Ask for a smaller fraction."
        )
        raise SettingsError(message)
    return share(free, fraction * len(candidates) / max(len(free), 1), rng)


def _trimmed(sample: Sample, gone: np.ndarray) -> np.ndarray:
    """Return the mask (n,) of the atoms to remove: the cut ones, and then all that are left with one bond or none."""
    bonds, gone = find_bonds(sample), gone.copy()
    while True:
        held = np.bincount(bonds.first[~gone[bonds.second]], minlength=len(sample))
        loose = ~gone & (held < 2)
        if not loose.any():
            break
        gone |= loose
    if gone.all():
        message = f"{sample.name}: no atoms are left after cutting. Ask for a larger size."
        raise SettingsError(message)
    return gone


def _ribbon(sample: Sample, edge: str) -> Sample:
    """Return a ribbon cut from a sheet, with a record for each of its two edges."""
    axis, length = (1, sample.size_angstrom[0]) if edge == "zigzag" else (0, sample.size_angstrom[1])
    gone = _trimmed(sample, sample.positions_angstrom[:, axis] >= (1 - EMPTY) * length)
    cut = remove(sample, np.flatnonzero(gone))
    ends = cut.positions_angstrom[:, axis].min(), cut.positions_angstrom[:, axis].max()
    places = np.outer(ends, np.eye(3)[axis]).tolist()
    return replace(cut, defects=tuple(Defect(kind="edge", name=edge, position_angstrom=tuple(place)) for place in places))


def _holed(sample: Sample, diameter: float) -> Sample:
    """Return a sheet with a round hole in the middle of its box."""
    height, width = sample.size_angstrom
    limit = 0.8 * min(height, width)
    if diameter > limit:
        message = (
            f"hole_angstrom={diameter:g} leaves no sheet in {width:.4g} x {height:.4g} A (x, y); the limit is {limit:.4g} A. "
            f"Ask for a larger size or a smaller hole."
        )
        raise SettingsError(message)
    gone = np.linalg.norm(sample.positions_angstrom[:, :2] - np.array([width / 2, height / 2]), axis=1) < diameter / 2
    if not gone.any():
        message = f"hole_angstrom={diameter:g} removes no atom, because there is none at the middle of the box. Ask for 3 A or more."
        raise SettingsError(message)
    return remove(sample, np.flatnonzero(_trimmed(sample, gone))[None], kind="hole", name="hole")


def _paired(sample: Sample, order: BuildRequest, rotations: int, divacancies: int) -> Sample:
    """Return the sheet with bonds rotated by 90 degrees in the plane about their middle, and with divacancies."""
    bonds = find_bonds(sample)
    inner = (bonds.first < bonds.second) & (bonds.coordination[bonds.first] == 3) & (bonds.coordination[bonds.second] == 3)
    first, second, step = bonds.first[inner], bonds.second[inner], bonds.step[inner]
    centres = sample.positions_angstrom[first] + step / 2
    taken: list[np.ndarray] = []
    turned = _spread(sample, centres, rotations, order.rng("rotations"), "rotated bonds", taken)
    empty = _spread(sample, centres, divacancies, order.rng("divacancies"), "divacancies", taken)
    quarter = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    for one in turned:
        half = step[one] / 2
        move = np.array([half - quarter @ half, quarter @ half - half])
        sample = displace(sample, [[first[one], second[one]]], move, name="55-77")
    return remove(sample, np.column_stack([first[empty], second[empty]]))


def _doped(sample: Sample, order: BuildRequest, nitrogen: float, boron: float) -> Sample:
    """Return the sheet with nitrogen and boron on threefold carbon sites and with their bond lengths."""
    if nitrogen == boron == 0:
        return sample
    if nitrogen + boron > 1:
        message = f"nitrogen_fraction={nitrogen:g} and boron_fraction={boron:g} sum to more than 1. Lower one of them."
        raise SettingsError(message)
    bonds = find_bonds(sample)
    whole = np.flatnonzero(bonds.coordination == 3)
    first = _scattered(sample, whole, nitrogen, order.rng("nitrogen"))
    rest = np.setdiff1d(whole, first)
    second = _scattered(sample, rest, min(1.0, boron * len(whole) / max(len(rest), 1)), order.rng("boron"))
    move = np.zeros((len(sample), 3))
    for dopants, length in ((first, N_C_BOND), (second, B_C_BOND)):
        ours = np.isin(bonds.first, dopants) & ~np.isin(bonds.second, np.concatenate([first, second]))
        np.add.at(move, bonds.second[ours], bonds.step[ours] * (length / bonds.length[ours, None] - 1))
    moved = np.flatnonzero(move.any(axis=1))
    sample = displace(sample, moved, move[moved])
    sample = substitute(sample, first, "N", sigma_angstrom=order.sigma["N"])
    return substitute(sample, second, "B", sigma_angstrom=order.sigma["B"])


@specimen(
    "graphene-si",
    "sheet",
    "2d",
    "defect",
    title="graphene with one threefold silicon dopant; the seed draws its site and its side",
    sigma={"C": 0.049, "Si": 0.042},
    lattice_source=_LATTICE,
    thermal_source=_THERMAL + _SILICON,
)
def graphene_si(order: BuildRequest) -> Sample:
    """Return graphene with one silicon dopant, which has three neighbours and lies out of the plane.

    The neighbours of the dopant are moved outwards in the plane.
    """
    sample, rng = sheet(order), order.rng("specimen")
    site, side = int(rng.integers(len(sample))), 1.0 if rng.random() < 0.5 else -1.0
    near, distance = within(sample, sample.positions_angstrom[site], 1.6)
    if len(near) != 4 or min(sample.size_angstrom) < 4.0:
        message = f"size_angstrom={sample.size_angstrom} A is too small for {sample.name}: a dopant needs three distinct neighbours. Ask for 8 x 8 A."
        raise SettingsError(message)
    near, bond = near[1:], float(distance[1:].mean())
    height = float(np.sqrt(SI_C_BOND**2 - (bond + SI_NEIGHBOUR_SHIFT) ** 2))
    if sample.thickness_angstrom <= height:
        message = f"thickness_angstrom={sample.thickness_angstrom:g} cannot hold {sample.name}, which is {height:.2f} A high. "
        message += "Ask for a larger thickness, such as 1 A."
        raise SettingsError(message)
    step = steps_from(sample, sample.positions_angstrom[site], near)
    move = np.zeros((len(sample), 3))
    move[near] = step / bond * SI_NEIGHBOUR_SHIFT
    move[:, 2] -= side * height / 2  # the sheet and its dopant stay centred
    move[site, 2] += side * height
    sample = displace(sample, np.arange(len(sample)), move)
    return substitute(sample, [site], "Si", sigma_angstrom=order.sigma["Si"])
