"""Scenes of ``stemtwin/AtomForge-v1``: presets, sheets and their graphs, starts and goals."""

import functools
import zlib
from dataclasses import dataclass, field

import numpy as np

from stemtwin.twin.envs.arguments import SPLITS, Randomisation
from stemtwin.twin.envs.forge_kinetics import GONE, ForgeBeam
from stemtwin.twin.envs.functional_env import read_only
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.hardware.profiles import PROFILES
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.scope.setup import Setup
from stemtwin.twin.instrument.scope.specimen_state import Damage
from stemtwin.twin.instrument.scope.state import ScopeState
from stemtwin.twin.instrument.simulation.engines import local
from stemtwin.twin.physics.dynamics.current_density import probe_density
from stemtwin.twin.physics.dynamics.process_library import dichalcogenide, graphene
from stemtwin.twin.physics.dynamics.processes import Process
from stemtwin.twin.physics.dynamics.site_network import BOND, SiteNetwork
from stemtwin.twin.samples.defects import remove, substitute
from stemtwin.twin.samples.kinetics_conversion import specimen_of
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import Sample

CARBON, NITROGEN, SILICON, SULPHUR = 6, 7, 14, 16
SHEET_ANGSTROM = 24.0
"""Smallest side of a sheet, A; the probe with its tails is narrower."""
SI_SIGMA_ANGSTROM = 0.042
"""Standard deviation of the thermal motion of Si (A) as in the sample ``graphene-si``."""
FIELD_ANGSTROM, FRAME_PX = 16.0, 64
"""Side of the square field in the middle of the sheet (A) and side of its frames, pixels."""
MARGIN_ANGSTROM = 1.5
"""Smallest distance of start and target sites from the edge of the field, A."""
SULPHUR_ANGSTROM = 3.16
"""Distance between neighbouring sites of S in one face of MoS2, A."""
DOPANT_VACANCY = 1e-11
"""Cross-section for the loss of a neighbour of Si, A^2 [A].

It is 0.001 barn, as in the film of docs/damage.md, because Si was moved farther in experiments than 0.01 barn would allow.
"""
INSTRUMENT, SEMIANGLE_MRAD, CURRENT_PA = "nion-60", 26.0, 100.0
UNREACHED = 99
"""Distance that is assigned to an unreachable site, bonds."""
TRIES = 10_000
"""Largest number of attempts to draw a scene."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgePreset:
    """Settings of one difficulty of atom-by-atom fabrication.

    Parameters
    ----------
    goal : str
        ``"walk"``: move Si through graphene; ``"drill"``: make S vacancies in MoS2.
    energy_ev : float
        Beam energy, eV.
    size : tuple of int
        Smallest and largest number of bonds of the path, or of vacancies of the pattern.
    foreign, empty : tuple of int
        Smallest and largest numbers of N atoms and of vacancies in the field.
    jitter_angstrom, flicker : float
        Standard deviations of the detection noise in ``state`` observations: of positions, A, and of the brightness
        relative to that of C or S2.
    looks : int
        Number of frames in one episode, including the first.
    beam_s : float
        Largest total time of parked beams in one episode, s.
    look_us : float
        Dwell time at each point of a frame, us.
    randomisation : Randomisation
        Probabilities of failing commands and of a closed valve.
    """

    goal: str
    energy_ev: float
    size: tuple[int, int]
    foreign: tuple[int, int] = (0, 0)
    empty: tuple[int, int] = (0, 0)
    jitter_angstrom: float
    flicker: float
    looks: int
    beam_s: float
    look_us: float = 40.0
    randomisation: Randomisation = field(default_factory=Randomisation)

    @property
    def look_s(self) -> float:
        """Duration of a frame, s."""
        return FRAME_PX**2 * self.look_us * 1e-6


PRESETS = {
    "easy": ForgePreset(
        goal="walk", energy_ev=72e3, size=(6, 7), foreign=(2, 4), jitter_angstrom=0.05, flicker=0.04, looks=60, beam_s=15.0
    ),
    "standard": ForgePreset(
        goal="walk", energy_ev=65e3, size=(8, 9), foreign=(6, 9), empty=(1, 2), jitter_angstrom=0.1, flicker=0.06, looks=80, beam_s=30.0
    ),
    "hard": ForgePreset(
        goal="walk", energy_ev=62.8e3, size=(10, 11), foreign=(8, 12), empty=(2, 4), jitter_angstrom=0.15, flicker=0.08, looks=100, beam_s=60.0
    ),
    "drill": ForgePreset(
        goal="drill", energy_ev=66e3, size=(4, 6), jitter_angstrom=0.1, flicker=0.12, looks=36, beam_s=15.0, look_us=10.0
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lattice:
    """A perfect sheet: its atoms, and its sites with their bonds.

    Parameters
    ----------
    sample : Sample
        Atoms of the sheet.
    network : SiteNetwork
        Sites of the sheet, in the order of the atoms.
    places : ndarray
        Position (x, y) of each site relative to the centre of the field, A, float64 (n, 2).
    middle : tuple of float
        Centre of the field on the sheet (x, y), A.
    bonds : tuple of tuple of int
        Bonded sites of each site.
    """

    sample: Sample
    network: SiteNetwork
    places: np.ndarray
    middle: tuple[float, float]
    bonds: tuple[tuple[int, ...], ...]

    @property
    def in_field(self) -> np.ndarray:
        """Mask of the sites in the field, bool (n,)."""
        return np.abs(self.places).max(axis=1) < FIELD_ANGSTROM / 2

    @property
    def inner(self) -> np.ndarray:
        """Sites in the field that are more than 1.5 A away from its edge, int (k,)."""
        return np.flatnonzero(np.abs(self.places).max(axis=1) < FIELD_ANGSTROM / 2 - MARGIN_ANGSTROM)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgeScene:
    """Start and target of an episode.

    Parameters
    ----------
    numbers : tuple of int
        Atomic number on each site, 0 for a vacancy.
    target : tuple of int
        Target site of Si as the only entry, or all sites of the pattern of vacancies.
    length : int
        Number of bonds from the start to the target, or number of vacancies.
    """

    numbers: tuple[int, ...]
    target: tuple[int, ...]
    length: int


@functools.lru_cache(maxsize=4)
def lattice(goal: str) -> Lattice:
    """Return the perfect sheet for a goal: graphene for ``"walk"``, MoS2 for ``"drill"``."""
    sample = load_sample("graphene" if goal == "walk" else "mos2-1h", size_angstrom=(SHEET_ANGSTROM, SHEET_ANGSTROM), seed=0)
    network = specimen_of(sample)
    middle = sample.size_angstrom[1] / 2, sample.size_angstrom[0] / 2
    bonded = np.where(network.kinds == BOND, network.links, -1)
    return Lattice(
        sample=sample,
        network=network,
        places=read_only(sample.positions_angstrom[:, :2] - np.array(middle)),
        middle=middle,
        bonds=tuple(tuple(int(site) for site in row if site >= 0) for row in bonded),
    )


def processes(goal: str) -> tuple[Process, ...]:
    """Return the processes that the beam can cause in the sheet of a goal, without bond rotations."""
    return tuple(one for one in (graphene(dopant_vacancy=DOPANT_VACANCY) if goal == "walk" else dichalcogenide()) if one.action != "rotate")


def setup(goal: str, seed: int, phonons: int | str) -> Setup:
    """Return a microscope without drift, whose beam moves atoms between the fixed sites of a lattice, replaces them, or removes them."""
    damage = Damage(processes=processes(goal), relax=False)
    return Setup(profile=PROFILES[INSTRUMENT].still(), seed=seed, phonons=phonons, engine=local.NAME, specimen_seed=0, damage=damage)


def knobs(energy_ev: float) -> dict[str, float]:
    """Return the settings of the microscope by name for a beam energy, eV."""
    return {"energy_ev": energy_ev, "current_pa": CURRENT_PA, "semiangle_mrad": SEMIANGLE_MRAD}


def frame_scan(goal: str) -> RasterScan:
    """Return the scan of a frame, which is the same for all frames of a goal."""
    x, y = lattice(goal).middle
    half = FIELD_ANGSTROM / 2
    return RasterScan(shape=(FRAME_PX, FRAME_PX), field_of_view_angstrom=(FIELD_ANGSTROM, FIELD_ANGSTROM), origin_angstrom=(x - half, y - half))


@functools.lru_cache(maxsize=8)
def forge_beam(goal: str, energy_ev: float) -> ForgeBeam:
    """Return the beam at an energy (eV), with its processes in the sheet of a goal.

    The sheet is graphene for ``"walk"`` and MoS2 for ``"drill"``.
    """
    from stemtwin.twin.instrument.scope import knobs as turning

    made = setup(goal, 0, 1)
    turned = turning.turn(turning.initial(made.profile), made.profile, knobs(energy_ev))
    beam = made.beam(ScopeState(specimen=lattice(goal).sample, knobs=turned), 0.0)
    density = probe_density(beam.energy_ev, beam.semiangle_rad, beam.aberrations, beam.source_size_angstrom, beam.focal_spread_angstrom)
    return ForgeBeam(processes=processes(goal), energy_ev=energy_ev, current_pa=CURRENT_PA, density=density)


# ---- graphs


def distances(target: int, shut: frozenset[int], goal: str = "walk") -> np.ndarray:
    """Return the number of bonds from every site to a target along paths that avoid the sites ``shut``, int (n,).

    Sites without such a path have the value 99.
    """
    bonds = lattice(goal).bonds
    out = np.full(len(bonds), UNREACHED)
    out[target] = 0
    front, steps = [target], 0
    while front:
        steps += 1
        following = []
        for site in front:
            for other in bonds[site]:
                if out[other] == UNREACHED and other not in shut:
                    out[other] = steps
                    following.append(other)
        front = following
    return read_only(out)


@functools.lru_cache(maxsize=512)
def plain_distances(target: int) -> np.ndarray:
    """Return the number of bonds from every site of a perfect sheet to a target, along paths inside the field, int (n,)."""
    return distances(target, _outside())


@functools.cache
def _outside() -> frozenset[int]:
    """Return the sites of graphene outside the field."""
    return frozenset(np.flatnonzero(~lattice("walk").in_field).tolist())


def shut_sites(numbers: np.ndarray, target: int) -> frozenset[int]:
    """Return the sites that a path of Si must avoid: sites outside the field, foreign atoms, vacancies, and sites beside a vacancy.

    A target beside a vacancy is permitted, because the path ends there.
    """
    bonds, empty = lattice("walk").bonds, np.flatnonzero(numbers == 0)
    foreign = np.flatnonzero((numbers != CARBON) & (numbers != SILICON))
    beside = {site for hole in empty for site in bonds[hole]} - {target}
    return _outside() | frozenset(foreign.tolist()) | frozenset(beside)


def nearer_hops(numbers: np.ndarray, bonds_left: np.ndarray, site: int | None, target: int) -> dict[int, tuple[int, ...]]:
    """Return the C neighbours of Si that are nearer to the target, each with the site of Si as its exchange partner.

    The result is empty if Si is at the target, or if Si is missing.
    """
    if site is None or site == target:
        return {}
    near = (one for one in lattice("walk").bonds[site] if numbers[one] == CARBON and bonds_left[one] < bonds_left[site])
    return dict.fromkeys(near, (site,))


def drilling_events(numbers: np.ndarray, target: tuple[int, ...]) -> list[dict[int, tuple[int, ...]]]:
    """Return the wanted events of S atoms as two dictionaries, the best events and the second-best events.

    A key is the site of an S atom. Its value contains the sites to which the atom should jump, or -1 for the loss of the
    atom. The best events are losses of atoms of the target pattern, and jumps of these atoms into vacancies outside the pattern.
    Atoms beside more vacancies come first. The second-best events are jumps within the pattern to sites with fewer
    adjacent vacancies, where the loss of the atom is more probable.
    """
    near, empty = sulphur_neighbours(), {one for one in sulphur_neighbours() if not numbers[one]}
    beside = {one: len(empty & set(row)) for one, row in near.items()}
    held = sorted((one for one in target if numbers[one]), key=lambda one: -beside[one])
    best = {one: (GONE, *(hole for hole in near[one] if hole in empty and hole not in target)) for one in held}
    moves = {one: tuple(hole for hole in near[one] if hole in empty and hole in target and beside[hole] + 1 < beside[one]) for one in held}
    return [best, {one: holes for one, holes in moves.items() if holes}]


@functools.cache
def sulphur_neighbours() -> dict[int, tuple[int, ...]]:
    """Return the neighbouring S sites of every S site on the exit face, by site."""
    sheet = lattice("drill")
    sites, size = exit_face(sheet), np.array(sheet.sample.size_angstrom[::-1])
    steps = sheet.places[sites][:, None] - sheet.places[sites]
    apart = np.hypot(*(steps - size * np.rint(steps / size)).transpose(2, 0, 1))
    close = (apart > 0.1) & (apart < SULPHUR_ANGSTROM + 0.1)
    return {int(site): tuple(sites[row].tolist()) for site, row in zip(sites, close, strict=True)}


# ---- starts


def draw_scene(preset: ForgePreset, rng: np.random.Generator, split: str) -> ForgeScene:
    """Draw the start of an episode for a preset and a split.

    Raises
    ------
    SettingsError
        No scene of the preset fits into the field.
    """
    for _ in range(TRIES):
        found = _walk(preset, rng) if preset.goal == "walk" else _drill(preset, rng, split)
        if found is not None:
            return found
    message = f"No scene of goal={preset.goal!r} with size={preset.size} fits into a field of {FIELD_ANGSTROM:g} A. Use a smaller size."
    raise SettingsError(message)


def _walk(preset: ForgePreset, rng: np.random.Generator) -> ForgeScene | None:
    """Draw a path through graphene between two sites away from defects, or None if it does not have the required length."""
    sheet = lattice("walk")
    start, target = (int(site) for site in rng.choice(sheet.inner, 2, replace=False))
    low, high = preset.size
    if not low <= plain_distances(target)[start] <= high:
        return None
    kept = {start, target, *sheet.bonds[start], *sheet.bonds[target]}
    free = np.array([site for site in np.flatnonzero(sheet.in_field) if site not in kept])
    foreign, empty = (int(rng.integers(few, many + 1)) for few, many in (preset.foreign, preset.empty))
    chosen = rng.choice(free, foreign + empty, replace=False)
    numbers = sheet.network.numbers.copy()
    numbers[chosen[:foreign]] = NITROGEN
    numbers[chosen[foreign:]] = 0
    numbers[start] = SILICON
    shut = shut_sites(numbers, target)
    if start in shut or any(site in shut for site in sheet.bonds[target]):
        return None
    length = int(distances(target, shut)[start])
    held = [sum(numbers[other] > 0 for other in row) for site, row in enumerate(sheet.bonds) if numbers[site]]
    return ForgeScene(numbers=tuple(numbers.tolist()), target=(target,), length=length) if low <= length <= high and min(held) > 1 else None


def exit_face(sheet: Lattice) -> np.ndarray:
    """Return the S sites on the exit face, from which the beam ejects atoms, int (k,)."""
    z = sheet.sample.positions_angstrom[:, 2]
    return np.flatnonzero((sheet.network.numbers == SULPHUR) & (z > z[sheet.network.numbers != SULPHUR].mean()))


@functools.cache
def drilled() -> np.ndarray:
    """Return the S sites on the exit face within the field, ordered by y, then x, int (k,)."""
    sheet = lattice("drill")
    sites = np.intersect1d(exit_face(sheet), np.flatnonzero(sheet.in_field))
    return read_only(sites[np.lexsort((sheet.places[sites, 0], sheet.places[sites, 1].round(3)))])


def _drill(preset: ForgePreset, rng: np.random.Generator, split: str) -> ForgeScene | None:
    """Draw a connected pattern of S sites, site by site, or None if its shape belongs to another split."""
    sheet = lattice("drill")
    inner = np.intersect1d(drilled(), sheet.inner)
    chosen = [int(rng.choice(inner))]
    for _ in range(int(rng.integers(preset.size[0], preset.size[1] + 1)) - 1):
        apart = np.hypot(*(sheet.places[inner][:, None] - sheet.places[chosen]).T).min(axis=0)
        chosen.append(int(rng.choice(inner[(apart > 0.1) & (apart < SULPHUR_ANGSTROM + 0.1)])))
    if shape_split(sheet.places[chosen]) != split:
        return None
    return ForgeScene(numbers=tuple(sheet.network.numbers.tolist()), target=tuple(sorted(chosen)), length=len(chosen))


def shape_split(places: np.ndarray) -> str:
    """Return the split of a pattern, which depends only on its shape, so no shape occurs in two splits.

    Parameters
    ----------
    places : ndarray
        Sites (x, y) of the pattern, A, (k, 2), in any order.
    """
    steps = np.rint((places - places.min(axis=0)) / (SULPHUR_ANGSTROM / 4)).astype(int)
    text = ";".join(f"{x},{y}" for x, y in sorted(steps.tolist()))
    return sorted(SPLITS, key=SPLITS.__getitem__)[zlib.crc32(text.encode()) % len(SPLITS)]


def specimen(scene: ForgeScene, goal: str) -> tuple[Sample, np.ndarray]:
    """Return the sample of a scene, and the lattice sites of its atoms followed by those of its vacancies, as indices, int (n,)."""
    sheet, numbers = lattice(goal), np.array(scene.numbers)
    usual = sheet.network.numbers
    sample = sheet.sample
    for number, symbol, sigma in ((NITROGEN, "N", None), (SILICON, "Si", SI_SIGMA_ANGSTROM)):
        sample = substitute(sample, np.flatnonzero((numbers == number) & (usual != number)), symbol, sigma_angstrom=sigma)
    empty = np.flatnonzero(numbers == 0)
    return remove(sample, empty), read_only(np.concatenate([np.flatnonzero(numbers > 0), empty]))
