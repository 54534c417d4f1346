"""Amorphous films: periodic, seeded random networks in which each kind of atom has a fixed number of bonds."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from stemtwin.twin.samples.builders import DEFAULT_SIZE, DEFAULT_THICKNESS, check_memory
from stemtwin.twin.samples.sample import Sample
from stemtwin.twin.samples.sample_families import BuildRequest, Knob, specimen

DALTON = 1.66053906660  # 1e-24 g; CODATA 2018
REACH = 1.8  # search radius for bonds over the longest bond
LONGEST_STEP = 0.5  # A, longest step of an atom towards its bonds
GRID = 1e-4  # A; positions are rounded to this grid in each step, so machines that round differently make the same film


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Network:
    """Rules of a random network of one or two kinds of atoms.

    Parameters
    ----------
    symbols : tuple of str
        Elements (k,).
    formula : tuple of int
        Number of atoms (k,) of each element in a formula unit.
    mass : float
        Mass of a formula unit, dalton.
    bonds : tuple of int
        Number of bonds (k,) of an atom of each element.
    bond : (k, k) float
        Bond length for each pair of elements, A; 0: the two elements do not form bonds.
    apart : (k, k) float
        Smallest distance between two atoms without a bond, for each pair of elements, A.
    steps : int
        Number of steps in which all atoms move.
    stiffness : float
        Fraction of the deviation from a prescribed distance that one step removes.
    shake : float
        Initial standard deviation of random steps along one axis, A. It decreases to zero over the first 70 % of the
        steps and lets atoms leave poor arrangements.
    """

    symbols: tuple[str, ...]
    formula: tuple[int, ...]
    mass: float
    bonds: tuple[int, ...]
    bond: np.ndarray
    apart: np.ndarray
    steps: int
    stiffness: float
    shake: float


def _pairs(positions: np.ndarray, box: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pairs (p, 2) within a reach in a fully periodic box, their vectors (p, 3) and distances (p,)."""
    from scipy.spatial import cKDTree

    pairs = cKDTree(positions, boxsize=box).query_pairs(reach, output_type="ndarray")
    step = positions[pairs[:, 1]] - positions[pairs[:, 0]]
    step -= box * np.round(step / box)
    return pairs, step, np.linalg.norm(step, axis=1)


def _bonded(pairs: np.ndarray, distance: np.ndarray, able: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the mask (p,) of the bonded pairs, in which each atom is among the nearest neighbours of the other."""
    count = len(distance)
    ends = np.concatenate([pairs[:, 0], pairs[:, 1]])
    order = np.lexsort((np.tile(distance, 2), ~np.tile(able, 2), ends))
    first = np.searchsorted(ends[order], ends[order])
    rank = np.empty(2 * count, dtype=np.int64)
    rank[order] = np.arange(2 * count) - first
    near = rank < wanted[ends]
    return able & near[:count] & near[count:]


def random_network(network: Network, kinds: np.ndarray, box: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the positions of a random network.

    Atoms start at random positions. In each step, the atoms of a bonded pair move towards their bond length, and the
    atoms of an unbonded pair that are nearer than their smallest permitted distance move apart, towards this distance.
    A pair is bonded if each atom is among the nearest neighbours of the other atom. The network is a model of the
    structure and not of its energy: bond lengths, coordination numbers and density are prescribed, but bond angles and
    rings are not.

    Parameters
    ----------
    network : Network
        Rules of the network.
    kinds : (n,) int
        Kind of each atom, an index into the elements.
    box : (3,) float
        Size (x, y, z) in A of the box, which repeats along all axes.
    rng : numpy.random.Generator
        Source of the draws.

    Returns
    -------
    (n, 3) float64
        Positions inside the box, A. The computation takes about 0.3 s for 1000 atoms.
    """
    positions = rng.random((len(kinds), 3)) * box
    wanted = np.array(network.bonds)[kinds]
    reach = max(REACH * float(network.bond.max()), float(network.apart.max()))
    reach = min(reach, 0.499 * float(box.min()))
    for step in range(network.steps):
        pairs, away, distance = _pairs(positions, box, reach)
        one, other = kinds[pairs[:, 0]], kinds[pairs[:, 1]]
        bonded = _bonded(pairs, distance, network.bond[one, other] > 0, wanted)
        target = np.where(bonded, network.bond[one, other], np.maximum(distance, network.apart[one, other]))
        pull = away / np.maximum(distance, 1e-3)[:, None] * (network.stiffness / 2 * (distance - target))[:, None]
        move = np.column_stack(
            [np.bincount(pairs[:, 0], pull[:, axis], len(kinds)) - np.bincount(pairs[:, 1], pull[:, axis], len(kinds)) for axis in range(3)]
        )
        move *= np.minimum(1.0, LONGEST_STEP / np.maximum(np.linalg.norm(move, axis=1), 1e-9))[:, None]
        move += network.shake * max(0.0, 1 - step / (0.7 * network.steps)) * rng.uniform(-(3**0.5), 3**0.5, positions.shape)
        positions = np.round((positions + move) / GRID) * GRID
        positions = np.where(positions % box >= box - GRID / 2, 0.0, positions % box)
    return positions


CARBON = Network(
    symbols=("C",),
    formula=(1,),
    mass=12.011,
    bonds=(3,),
    bond=np.array([[1.44]]),
    apart=np.array([[2.4]]),
    steps=60,
    stiffness=0.8,
    shake=0.2,
)
NITRIDE = Network(
    symbols=("Si", "N"),
    formula=(3, 4),
    mass=3 * 28.085 + 4 * 14.007,
    bonds=(4, 3),
    bond=np.array([[0.0, 1.70], [1.70, 0.0]]),  # crowding stretches the bonds to 1.75 A
    apart=np.array([[2.9, 2.2], [2.2, 2.4]]),
    steps=100,
    stiffness=0.5,
    shake=0.3,
)


def film(network: Network, box: tuple[float, float, float], density: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the symbols (n,) and positions (n, 3), A, of the atoms of a film, sorted by z, y, x.

    The film has the given density, g/cm^3, and fills a box of the given size (x, y, z), A.
    """
    lengths = np.array(box, dtype=float)
    units = max(1, round(density * float(np.prod(lengths)) / (network.mass * DALTON)))
    kinds = np.repeat(np.arange(len(network.symbols)), np.array(network.formula) * units)
    positions = random_network(network, kinds, lengths, rng)
    order = np.lexsort(positions.T)
    return np.array(network.symbols)[kinds[order]], positions[order]


def _film(network: Network, order: BuildRequest, density: float) -> Sample:
    """Return a film that fills its box with whole formula units."""
    height, width = order.cut.size_angstrom or (DEFAULT_SIZE, DEFAULT_SIZE)
    thickness = order.cut.thickness_angstrom or DEFAULT_THICKNESS
    atoms = density * height * width * thickness / (network.mass * DALTON) * sum(network.formula)
    check_memory(order.name, 3 * atoms, (height, width), thickness)
    symbols, positions = film(network, (width, height, thickness), density, order.rng("film"))
    note = f"A random network of {len(symbols)} atoms, {density:g} g/cm^3, that repeats on all sides: its faces are cuts."
    return order.atoms(symbols, positions, (height, width), thickness, notes=(note,))


@specimen(
    "carbon-amorphous",
    "film",
    "amorphous",
    title="amorphous carbon, mostly threefold, at random",
    sigma={"C": 0.07},
    lattice_source=(
        "density 2.0 g/cm^3 and bonds of 1.44 A: evaporated carbon films, 1.8 to 2.1 g/cm^3, first shell at 1.43 to 1.46 A, second at 2.5 A (J. "
        "Robertson, Adv. Phys. 35 (1986) 317)"
    ),
    thermal_source="C 0.07 A: between diamond, 0.042 A, and graphite across its planes, 0.12 A; +-0.02 A",
)
def carbon_amorphous(
    order: BuildRequest, *, density_g_per_cm3: Annotated[float, Knob(about="mass density", low=1.2, high=2.5, unit="g/cm^3")] = 2.0
) -> Sample:
    """Return a film of amorphous carbon."""
    return _film(CARBON, order, density_g_per_cm3)


@specimen(
    "si3n4-amorphous",
    "film",
    "amorphous",
    title="amorphous silicon nitride, Si3N4, as in support membranes",
    sigma={"Si": 0.07, "N": 0.07},
    lattice_source=(
        "density 3.0 g/cm^3 and bonds of 1.73 A: diffraction on amorphous Si3N4, first shell at 1.73 to 1.75 A, silicon fourfold, nitrogen threefold "
        "(M. Misawa, T. Fukunaga, K. Niihara, T. Hirai, K. Suzuki, J. Non-Cryst. Solids 34 (1979) 313)"
    ),
    thermal_source="Si, N 0.07 A: B of 0.3 to 0.4 A^2 in crystalline Si3N4, rounded, +-0.01 A",
)
def si3n4_amorphous(
    order: BuildRequest, *, density_g_per_cm3: Annotated[float, Knob(about="mass density", low=2.4, high=3.2, unit="g/cm^3")] = 3.0
) -> Sample:
    """Return a film of amorphous silicon nitride."""
    return _film(NITRIDE, order, density_g_per_cm3)
