"""Structural relaxation around an event by a valence force field on the specimen's links.

The energy E is the sum of k (d - d0)^2 / 2 over bonds, k (cos - cos0)^2 / 2 over angles, k h^2 / 2 over heights of
threefold atoms above the mean of their neighbours, and a repulsion between atoms that are not bonded (Keating, Phys.
Rev. 145 (1966) 637, in the form with cosines). The unstrained bond lengths are literature values for each kind of bond.
Bonds reach these lengths where the structure is soft, and stay strained where the lattice constrains them. The energies
have no physical meaning.

At a vacancy of graphene, a weak bond between the two nearest atoms with dangling bonds closes a pentagon. Heights are
measured along the beam; sheets are assumed to be perpendicular to the beam.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.dynamics.displacement_thresholds import ROOM
from stemtwin.twin.physics.dynamics.exposure import Exposure
from stemtwin.twin.physics.dynamics.isotopes import SYMBOLS, number_of
from stemtwin.twin.physics.dynamics.kinetics import Advance, Events, advance
from stemtwin.twin.physics.dynamics.processes import Process
from stemtwin.twin.physics.dynamics.site_network import BOND, SiteNetwork, near_sites

LENGTHS = {
    ("C", "C"): 1.42,  # graphene
    ("C", "N"): 1.41,  # [M]
    ("B", "C"): 1.49,  # [M]
    ("B", "N"): 1.446,  # h-BN
    ("C", "Si"): 1.78,  # unstrained; the lattice reduces it to 1.76, the published value [M]
    ("Mo", "S"): 2.41,
    ("S", "W"): 2.41,
    ("Mo", "Se"): 2.54,
    ("Se", "W"): 2.55,
    ("Mo", "Te"): 2.73,
}
"""Bond lengths by pair of elements, A."""
STIFFNESS = {("C", "C"): 23.0, ("C", "Si"): 14.0, ("B", "N"): 20.0}
"""Stiffness of bonds that differs from ``ForceField.bond``, eV/A^2; the value of graphene is 365 N/m [M]."""

FLAT = (5, 6, 7)
"""Atomic numbers of B, C and N, whose three bonds lie in a plane at 120 degrees."""
SILICON_COSINE, SILICON_SOFTNESS = -0.25, 0.3
"""Cosine of the angles at Si, which prefers a pyramidal geometry, and stiffness of these angles relative to angles at C [A]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForceField:
    """Parameters of the force field. [M] marks values that are quoted from memory of the literature.

    Parameters
    ----------
    lengths : mapping from pairs of symbols to float
        Unstrained bond lengths (A) by pairs of symbols in alphabetical order. For each pair of elements, the specimen's
        median bond length is used instead if it is within 3 % of the listed length or no length is listed, so a uniformly
        strained lattice keeps its bond lengths.
    edge_length, dimer_length : float
        C-C bond lengths, A [M]: ``edge_length`` if one of the two atoms has lost a
        neighbour (zigzag edge), ``dimer_length`` if both have (armchair edge) (Koskinen, Malola, Hakkinen, Phys. Rev.
        Lett. 101 (2008) 115502).
    closing_lengths : (float, float)
        Unstrained lengths of the weak bond that closes a pentagon, A: at a single vacancy, and at a vacancy next to
        another one. In the lattice the bonds stretch to 2.0 and 1.75 A, close to the published 2.02 A (Ma et al.,
        New J. Phys. 6 (2004) 68) and 1.77 A [M].
    bond, angle, height, repulsion : float
        Stiffness of bonds (eV/A^2), angles (eV), heights above the neighbours (eV/A^2, from the bending stiffness of
        graphene, 1.4 eV) and of the repulsion between atoms that are not bonded (eV/A^2).
    closest : float
        Distance below which atoms that are not bonded repel each other, A.
    """

    lengths: Mapping[tuple[str, str], float] = field(default_factory=lambda: dict(LENGTHS))
    edge_length: float = 1.38
    dimer_length: float = 1.24
    closing_lengths: tuple[float, float] = (1.75, 1.5)
    bond: float = 12.0
    angle: float = 6.0
    height: float = 10.0
    repulsion: float = 20.0
    closest: float = 2.1


@dataclass(frozen=True, slots=True)
class _Terms:
    """Terms of the energy as index arrays.

    They are bonds with lengths and stiffnesses, angles (centre, two ends) with cosines, heights, and near pairs.
    """

    bonds: np.ndarray
    lengths: np.ndarray
    stiffness: np.ndarray
    angles: np.ndarray
    cosines: np.ndarray
    softness: np.ndarray
    heights: np.ndarray
    near: np.ndarray


def relax(specimen: SiteNetwork, around: Iterable[int], *, radius: float = 8.0, force_field: ForceField | None = None) -> SiteNetwork:
    """Return the specimen after the atoms near given sites are relaxed to vanishing forces; all other atoms are fixed.

    Parameters
    ----------
    specimen : SiteNetwork
        Specimen before the relaxation.
    around : iterable of int
        Sites of events, for example ``events.sites`` and ``events.partners``; -1 is ignored.
    radius : float
        Largest distance of a mobile atom from the nearest of the sites ``around``, A.
    force_field : ForceField, optional
        Force field; ``ForceField()`` by default.

    Returns
    -------
    SiteNetwork
        Relaxed specimen, or the same specimen if no atom is mobile; the result depends only on the arguments.

    Raises
    ------
    SettingsError
        A site does not exist, or the radius is out of range.
    """
    force_field = force_field or ForceField()
    radius = checks.number("radius", radius, "A", low=0.5, high=100.0, repair="A typical value is 8 A.")
    sites = sorted({int(site) for site in around} - {-1})
    if not sites:
        return specimen
    if sites[0] < 0 or sites[-1] >= len(specimen.numbers):
        message = f"There is no site {sites[0] if sites[0] < 0 else sites[-1]}. "
        message += f"Use the specimen's sites, 0 to {len(specimen.numbers) - 1}."
        raise SettingsError(message)
    near = np.zeros(len(specimen.numbers), dtype=bool)
    for site in sites:
        near |= np.linalg.norm(_step(specimen.positions - specimen.positions[site], specimen.size), axis=1) <= radius
    mobile = np.flatnonzero(near & specimen.present)
    if not len(mobile):
        return specimen
    positions = _lifted(specimen, mobile)
    terms = _terms(specimen, positions, mobile, force_field)
    options = {"maxiter": 200, "gtol": 1e-3, "ftol": 1e-12}
    with threadpool_limits(1, user_api="blas"):  # bits independent of the number of threads
        for _ in range(3):  # the list of near pairs is updated after each descent
            terms = replace(terms, near=_near(specimen, positions, mobile, terms.bonds, force_field))
            arguments = (positions, mobile, terms, force_field, specimen.size)
            moved = minimize(_energy, positions[mobile].ravel(), args=arguments, jac=True, method="L-BFGS-B", options=options).x.reshape(-1, 3)
            settled = np.abs(moved - positions[mobile]).max() < 0.05
            positions[mobile] = moved
            if settled:
                break
    return specimen.replace(positions=positions)


def advance_relaxed(
    specimen: SiteNetwork,
    exposure: Exposure,
    processes: Sequence[Process],
    rng: np.random.Generator,
    *,
    max_events: int | None = None,
    radius: float = 8.0,
    force_field: ForceField | None = None,
    temperature: float = ROOM,
) -> Advance:
    """Return the result of an exposure with a relaxation of the structure after every event.

    The parameters are those of :func:`kinetics.advance` and :func:`relax`. The dose up to an event is
    computed at the positions before the relaxation. The computation takes about a tenth of a second per event.
    """
    left, events, elapsed = [exposure], Events.none(), 0.0
    while left and (max_events is None or len(events) < max_events):
        result = advance(specimen, left[0], processes, rng, max_events=1, temperature=temperature)
        elapsed += result.elapsed
        specimen, events = result.specimen, events + result.events
        if not len(result.events):
            left = left[1:]
            continue
        (event,) = result.events
        left = [*left[0].split(result.elapsed)[1], *left[1:]]
        specimen = relax(specimen, (event.site, event.partner), radius=radius, force_field=force_field)
    return Advance(specimen=specimen, events=events, elapsed=elapsed)


def _step(step: np.ndarray, size: tuple[float, float] | None) -> np.ndarray:
    """Return difference vectors (..., 3) to the nearest image."""
    if size is None:
        return step
    box = np.array([size[1], size[0]])
    return np.concatenate([step[..., :2] - box * np.round(step[..., :2] / box), step[..., 2:]], axis=-1)


def _lifted(specimen: SiteNetwork, mobile: np.ndarray) -> np.ndarray:
    """Return positions with each mobile Si in the plane of its neighbours, a saddle point, displaced along the beam."""
    positions, bonds = np.array(specimen.positions), specimen.coordination()
    for site in mobile[(specimen.numbers[mobile] == number_of("Si")) & (bonds[mobile] == 3)]:
        around = _bonded(specimen, int(site))
        if abs(positions[site, 2] - positions[around, 2].mean()) < 0.2:
            positions[site, 2] = positions[around, 2].mean() + 0.5
    return positions


def _bonded(specimen: SiteNetwork, site: int) -> np.ndarray:
    """Return the sites of the atoms bonded to a site, in ascending order."""
    links = specimen.links[site][specimen.kinds[site] == BOND]
    links = links[links >= 0]
    return np.sort(links[specimen.numbers[links] > 0])


def _closing(specimen: SiteNetwork, positions: np.ndarray, force_field: ForceField) -> list[tuple[int, int, float]]:
    """Return the weak bonds that close pentagons at carbon vacancies, as two atoms and a length.

    Each atom belongs to at most one of these bonds.
    """
    carbon, bonds, taken, out = number_of("C"), specimen.coordination(), set(), []
    for site in np.flatnonzero(~specimen.present):
        around = _bonded(specimen, int(site))
        loose = [int(i) for i in around if specimen.numbers[i] == carbon and bonds[i] == 2 and i not in taken]
        links = specimen.links[site][specimen.kinds[site] == BOND]
        gaps = int((specimen.numbers[links[links >= 0]] == 0).sum())
        if len(loose) not in {2, 3} or gaps > 1:
            continue
        pairs = [(i, j) for n, i in enumerate(loose) for j in loose[n + 1 :]]
        lengths = [round(float(np.linalg.norm(_step(positions[i] - positions[j], specimen.size))), 3) for i, j in pairs]
        nearest = int(np.argmin(lengths))
        if lengths[nearest] < 2.9:
            out.append((*pairs[nearest], force_field.closing_lengths[0 if gaps == 0 else 1]))
            taken |= set(pairs[nearest])
    return out


def _terms(specimen: SiteNetwork, positions: np.ndarray, mobile: np.ndarray, force_field: ForceField) -> _Terms:
    """Return the energy terms that include at least one mobile atom."""
    moves = np.zeros(len(positions), dtype=bool)
    moves[mobile] = True
    coordination, carbon, silicon = specimen.coordination(), number_of("C"), number_of("Si")
    bonds = specimen.bonds
    bonds = bonds[moves[bonds].any(axis=1)]
    ideal, pairs = _ideal_lengths(specimen, bonds, force_field)
    both_carbon = (specimen.numbers[bonds] == carbon).all(axis=1)
    ends = np.where(both_carbon, (coordination[bonds] <= 2).sum(axis=1), 0)
    lengths = np.select([ends == 1, ends == 2], [force_field.edge_length, force_field.dimer_length], ideal)
    stiffness = np.array([STIFFNESS.get(pair, force_field.bond) for pair in pairs])
    closing = _closing(specimen, positions, force_field)
    closing = [entry for entry in closing if moves[list(entry[:2])].any()]
    weak = np.array([entry[:2] for entry in closing], dtype=np.int64).reshape(-1, 2)
    angles, heights = [], []
    for i in np.unique(np.concatenate([mobile, bonds.ravel()])):
        around = _bonded(specimen, int(i))
        if moves[i] or moves[around].any():
            angles += [(i, j, k) for n, j in enumerate(around) for k in around[n + 1 :]]
            if specimen.numbers[i] in FLAT and len(around) == 3:
                heights.append((i, *around))
    triples = np.array(angles, dtype=np.int64).reshape(-1, 3)
    centres = specimen.numbers[triples[:, 0]]
    u, v = (_step(specimen.positions[triples[:, end]] - specimen.positions[triples[:, 0]], specimen.size) for end in (1, 2))
    cosines = (u * v).sum(axis=1) / (np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1))
    cosines = np.where(centres == silicon, SILICON_COSINE, np.where(np.isin(centres, FLAT), -0.5, cosines))
    return _Terms(
        bonds=np.concatenate([bonds, weak]),
        lengths=np.concatenate([lengths, [entry[2] for entry in closing]]),
        stiffness=np.concatenate([stiffness, np.full(len(closing), force_field.bond)]),
        angles=triples,
        cosines=cosines,
        softness=np.where(centres == silicon, SILICON_SOFTNESS, 1.0),
        heights=np.array(heights, dtype=np.int64).reshape(-1, 4),
        near=np.zeros((0, 2), dtype=np.int64),
    )


def _ideal_lengths(specimen: SiteNetwork, bonds: np.ndarray, force_field: ForceField) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """Return the unstrained length of each bond and its pair of elements.

    The length is the median over the specimen if that is within 3 % of the table or the table lacks the pair, so an
    undisturbed lattice does not change.
    """
    everywhere = specimen.bonds
    now = np.linalg.norm(_step(specimen.positions[everywhere[:, 0]] - specimen.positions[everywhere[:, 1]], specimen.size), axis=1)
    kinds = np.sort(specimen.numbers[everywhere], axis=1)
    known: dict[tuple[int, int], tuple[float, tuple[str, str]]] = {}
    for first, second in np.unique(np.sort(specimen.numbers[bonds], axis=1), axis=0):
        here, there = sorted(SYMBOLS[number] if number < len(SYMBOLS) else str(number) for number in (first, second))
        median = float(np.median(now[(kinds == (first, second)).all(axis=1)]))
        listed = force_field.lengths.get((here, there), median)
        known[int(first), int(second)] = (median if abs(median / listed - 1) < 0.03 else listed), (here, there)
    found = [known[int(first), int(second)] for first, second in np.sort(specimen.numbers[bonds], axis=1)]
    return np.array([length for length, _ in found]), [pair for _, pair in found]


def _near(specimen: SiteNetwork, positions: np.ndarray, mobile: np.ndarray, bonds: np.ndarray, force_field: ForceField) -> np.ndarray:
    """Return pairs (p, 2) of unbonded atoms, at least one of them mobile, that may come within repulsive range."""
    held, n = np.flatnonzero(specimen.present), len(positions)
    reach = force_field.closest + 0.7
    if specimen.size is not None:
        reach = min(reach, 0.49 * min(specimen.size))
    pairs = np.sort(held[near_sites(positions[held], reach, specimen.size)], axis=1)
    pairs = pairs[np.isin(pairs, mobile).any(axis=1)]
    known = np.sort(bonds, axis=1)
    pairs = pairs[~np.isin(pairs[:, 0] * n + pairs[:, 1], known[:, 0] * n + known[:, 1])]
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _energy(
    x: np.ndarray, positions: np.ndarray, mobile: np.ndarray, terms: _Terms, force_field: ForceField, size: tuple[float, float] | None
) -> tuple[float, np.ndarray]:
    """Return the energy (eV) and its gradient with respect to the mobile coordinates (eV/A)."""
    r = np.array(positions)
    r[mobile] = x.reshape(-1, 3)
    gradient = np.zeros_like(r)
    i, j = terms.bonds.T
    step = _step(r[i] - r[j], size)
    length = np.maximum(np.linalg.norm(step, axis=1), 1e-9)
    excess = length - terms.lengths
    energy = 0.5 * float((terms.stiffness * excess**2).sum())
    pull = (terms.stiffness * excess / length)[:, None] * step
    np.add.at(gradient, i, pull)
    np.add.at(gradient, j, -pull)

    c, a, b = terms.angles.T
    u, v = _step(r[a] - r[c], size), _step(r[b] - r[c], size)
    lu, lv = np.maximum(np.linalg.norm(u, axis=1), 1e-9), np.maximum(np.linalg.norm(v, axis=1), 1e-9)
    cosine = (u * v).sum(axis=1) / (lu * lv)
    turn = force_field.angle * terms.softness * (cosine - terms.cosines)
    energy += 0.5 * float((turn * (cosine - terms.cosines)).sum())
    du = turn[:, None] * (v / (lu * lv)[:, None] - (cosine / lu**2)[:, None] * u)
    dv = turn[:, None] * (u / (lu * lv)[:, None] - (cosine / lv**2)[:, None] * v)
    np.add.at(gradient, a, du)
    np.add.at(gradient, b, dv)
    np.add.at(gradient, c, -du - dv)

    centre, others = terms.heights[:, 0], terms.heights[:, 1:]
    height = r[centre, 2] - r[others, 2].mean(axis=1)
    energy += 0.5 * force_field.height * float((height**2).sum())
    np.add.at(gradient[:, 2], centre, force_field.height * height)
    np.add.at(gradient[:, 2], others, np.repeat(-force_field.height * height[:, None] / 3, 3, axis=1))

    i, j = terms.near.T
    step = _step(r[i] - r[j], size)
    length = np.maximum(np.linalg.norm(step, axis=1), 1e-9)
    overlap = np.maximum(force_field.closest - length, 0)
    energy += 0.5 * force_field.repulsion * float((overlap**2).sum())
    push = -(force_field.repulsion * overlap / length)[:, None] * step
    np.add.at(gradient, i, push)
    np.add.at(gradient, j, -push)
    return energy, gradient[mobile].ravel()
