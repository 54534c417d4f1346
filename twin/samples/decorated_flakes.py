"""Flakes of MoS2 with particles of gold, silver and two iron oxides: flakes drawn at random, and their atoms."""

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.samples.builders import specimen_rng
from stemtwin.twin.samples.library import SAMPLES, load_sample
from stemtwin.twin.samples.metals import GOLD
from stemtwin.twin.samples.particles import rotation
from stemtwin.twin.samples.sample import VACUUM_MARGIN, Sample
from stemtwin.twin.samples.sample_families import rms
from stemtwin.twin.samples.semiconductors import FCC

SHEET = "mos2-1h"
FERROUS, FERRIC = "wustite", "maghemite"
KINDS = ("gold", "silver", FERROUS, FERRIC)
"""Kinds of particles; iron is divalent in the third and trivalent in the fourth."""
SILVER_CELL, WUSTITE_CELL, SPINEL_CELL, SPINEL_OXYGEN = 4.086, 4.307, 8.347, 0.2549
"""Lattice constants of silver (JCPDS 04-0783), FeO and gamma-Fe2O3 [M], A, and oxygen's coordinate in a spinel [M]."""
VACANT = 1 / 6
"""Fraction of octahedral iron that is missing in maghemite, a spinel Fe8/3 O4."""
SIGMA = {**SAMPLES[SHEET].thermal_sigma_angstrom, "Au": rms(GOLD.b), "Ag": rms(0.74), "Fe": 0.07, "O": 0.08}
"""1-D rms displacements near 300 K, A; those of iron and oxygen are usual values for oxides, +-0.02 A [A]."""
TOUCH = 2.3
"""Distance along the beam between the flake and the nearest atom of a particle, A."""
LEAST_FIELD, LARGEST_FIELD = 48.0, 400.0
"""Limits of the side of a field, A."""
TRIES = 500
"""Number of outlines that are tried for the particles of a flake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlakeParticle:
    """A spherical particle on a flake.

    Parameters
    ----------
    kind : str
        ``"gold"``, ``"silver"``, ``"wustite"`` (FeO) or ``"maghemite"`` (gamma-Fe2O3).
    centre_angstrom : tuple of float
        Centre (x, y), A.
    radius_angstrom : float
        Radius, A.
    """

    kind: str
    centre_angstrom: tuple[float, float]
    radius_angstrom: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoratedFlake:
    """A convex single-layer flake in the middle of a square field, with particles on it.

    Parameters
    ----------
    field_angstrom : float
        Side of the field, A.
    outline_angstrom : tuple of tuple of float
        Corners (x, y) of the flake, A, counterclockwise.
    particles : tuple of FlakeParticle
        Particles that neither touch each other nor extend beyond the outline.
    seed : int
        Seed of the random orientations of flake and particles, and of the random vacant sites.
    """

    field_angstrom: float
    outline_angstrom: tuple[tuple[float, float], ...]
    particles: tuple[FlakeParticle, ...]
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FlakeRecipe:
    """Ranges from which flakes are drawn; lengths are fractions of the field's side.

    Parameters
    ----------
    counts : mapping from str to tuple of int
        Least and largest number of particles of each kind, in the order in which they are placed.
    radii : mapping from str to tuple of float
        Least and largest radius of each kind.
    corners : tuple of int
        Least and largest number of corners.
    reach : tuple of float
        Least and largest distance of the corners from the middle.
    gap : float
        Least distance between particles, and between a particle and the outline.
    """

    counts: tuple[tuple[str, tuple[int, int]], ...] = ((FERRIC, (2, 2)), ("silver", (2, 3)), ("gold", (3, 4)), (FERROUS, (2, 3)))
    radii: tuple[tuple[str, tuple[float, float]], ...] = (
        (FERRIC, (0.045, 0.075)),
        ("silver", (0.045, 0.075)),
        ("gold", (0.055, 0.085)),
        (FERROUS, (0.055, 0.085)),
    )
    corners: tuple[int, int] = (4, 6)
    reach: tuple[float, float] = (0.40, 0.47)
    gap: float = 0.012


def draw_flake(field_angstrom: float, seed: int, recipe: FlakeRecipe | None = None) -> DecoratedFlake:
    """Draw a flake with its particles.

    Parameters
    ----------
    field_angstrom : float
        Side of the field, A.
    seed : int
        Seed of the draw, 0 or more.
    recipe : FlakeRecipe, optional
        Ranges of the draw; None: ``FlakeRecipe()``.

    Raises
    ------
    SettingsError
        The field is too small or too large, or the particles of the recipe do not fit on a flake.
    """
    if not LEAST_FIELD <= field_angstrom <= LARGEST_FIELD:
        message = f"field_angstrom={field_angstrom:g} A must lie between {LEAST_FIELD:g} and {LARGEST_FIELD:g} A. Choose a side within these limits."
        raise SettingsError(message)
    recipe, rng = recipe or FlakeRecipe(), specimen_rng(seed, "decorated flake")
    for _ in range(TRIES):
        outline = _outline(recipe, rng)
        placed = _placed(recipe, outline, rng)
        if placed is not None:
            scaled = [
                FlakeParticle(kind=kind, centre_angstrom=(x * field_angstrom, y * field_angstrom), radius_angstrom=radius * field_angstrom)
                for kind, x, y, radius in placed
            ]
            corners = tuple((float(x) * field_angstrom, float(y) * field_angstrom) for x, y in outline)
            return DecoratedFlake(field_angstrom=field_angstrom, outline_angstrom=corners, particles=tuple(scaled), seed=seed)
    message = f"The particles of {recipe} do not fit on a flake in {TRIES} attempts. Ask for fewer or smaller particles."
    raise SettingsError(message)


def _outline(recipe: FlakeRecipe, rng: np.random.Generator) -> np.ndarray:
    """Return the corners (n, 2) of a convex polygon around (1/2, 1/2)."""
    count = int(rng.integers(recipe.corners[0], recipe.corners[1] + 1))
    turns = rng.uniform(0.7, 1.3, count)
    angles = rng.uniform(0, 2 * np.pi) + np.cumsum(turns) * 2 * np.pi / turns.sum()
    # Corners on a circle make a convex polygon.
    return 0.5 + rng.uniform(*recipe.reach) * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _placed(recipe: FlakeRecipe, outline: np.ndarray, rng: np.random.Generator) -> list[tuple[str, float, float, float]] | None:
    """Return the kind, x, y and radius of particles that fit on an outline, or None if one of them does not fit."""
    radii, out = dict(recipe.radii), []
    for kind, (least, most) in recipe.counts:
        for _ in range(int(rng.integers(least, most + 1))):
            radius, points = float(rng.uniform(*radii[kind])), rng.uniform(0, 1, (60, 2))
            clear = inside(points, outline, radius + recipe.gap)
            for _, x, y, other in out:
                clear &= np.hypot(points[:, 0] - x, points[:, 1] - y) > radius + other + recipe.gap
            if not clear.any():
                return None
            x, y = points[np.argmax(clear)].tolist()
            out.append((kind, x, y, radius))
    return out


def inside(points: np.ndarray, outline: np.ndarray, margin: float = 0.0) -> np.ndarray:
    """Return the mask (n,) of the points (n, 2) that lie inside a convex counterclockwise outline (m, 2).

    The mask is False for points that are nearer than ``margin`` to an edge of the outline.
    """
    along = np.roll(outline, -1, axis=0) - outline
    inward = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.hypot(*along.T)[:, None]
    return np.all(np.einsum("nmk,mk->nm", points[:, None] - outline, inward) >= margin, axis=1)


def flake_atoms(flake: DecoratedFlake) -> tuple[Sample, np.ndarray]:
    """Return the atoms of a flake with its particles on the entrance side, and the mask (n,) of trivalent iron."""
    from ase.data import atomic_numbers

    symbols, places = _sheet_atoms(flake)
    parts, ferric = [(symbols, places)], [np.zeros(len(symbols), bool)]
    top = places[:, 2].min()
    for number, particle in enumerate(flake.particles):
        rng = specimen_rng(flake.seed, f"particle {number}")
        names, points = _sphere(particle, rng)
        points = points + np.array([*particle.centre_angstrom, top - TOUCH - points[:, 2].max()])
        parts.append((names, points))
        ferric.append((names == "Fe") & (particle.kind == FERRIC))
    symbols, places = np.concatenate([names for names, _ in parts]), np.concatenate([points for _, points in parts])
    low, high = places[:, 2].min(), places[:, 2].max()
    sample = Sample(
        name="decorated-flake",
        numbers=np.array([atomic_numbers[symbol] for symbol in symbols], dtype=np.int64),
        positions_angstrom=places - np.array([0, 0, low - VACUUM_MARGIN]),
        size_angstrom=(flake.field_angstrom, flake.field_angstrom),
        thickness_angstrom=float(high - low) + 2 * VACUUM_MARGIN,
        periodic=False,
        thermal_sigma_angstrom=np.array([SIGMA[symbol] for symbol in symbols]),
        notes=(f"A flake of {SHEET} with {len(flake.particles)} particles, seed {flake.seed}.",),
    )
    return sample, np.concatenate(ferric)


def _sheet_atoms(flake: DecoratedFlake) -> tuple[np.ndarray, np.ndarray]:
    """Return the symbols (n,) and positions (n, 3) of the layer inside the outline, with a random rotation."""
    from ase.data import chemical_symbols

    layer, side = _cell(SHEET), flake.field_angstrom
    angle = specimen_rng(flake.seed, "sheet").uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    height, width = layer.size_angstrom
    far = side * 0.75
    steps = [np.arange(-np.ceil(far / length), np.ceil(far / length) + 1) * length for length in (width, height)]
    shifts = np.array([(x, y, 0.0) for x, y in itertools.product(*steps)])
    places = (shifts[:, None] + layer.positions_angstrom).reshape(-1, 3)
    places[:, :2] = places[:, :2] @ turn.T + side / 2
    kept = inside(places[:, :2], np.array(flake.outline_angstrom))
    symbols = np.tile([chemical_symbols[number] for number in layer.numbers], len(shifts))
    return symbols[kept], places[kept]


@functools.lru_cache(maxsize=2)
def _cell(name: str) -> Sample:
    return load_sample(name, size_angstrom=(5.47, 3.16))


def _sphere(particle: FlakeParticle, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the symbols (n,) and centred positions (n, 3) of a sphere of a crystal with a random rotation."""
    symbols, sites, a = _crystals()[particle.kind]()
    radius = particle.radius_angstrom
    many = int(np.ceil(radius / a)) + 1
    shifts = np.array(list(itertools.product(range(-many, many + 1), repeat=3)), float)
    places = ((shifts[:, None] + sites).reshape(-1, 3) + rng.uniform(0, 1, 3)) * a
    names = np.tile(symbols, len(shifts))
    kept = np.hypot(places[:, 0], np.hypot(places[:, 1], places[:, 2])) < radius
    if particle.kind == FERRIC:
        kept &= ~((names == "Fe octahedral") & (rng.random(len(names)) < VACANT))
    names = np.array([name.partition(" ")[0] for name in names[kept]])
    return names, places[kept] @ rotation("random", rng).T


def _crystals() -> dict[str, Callable[[], tuple[np.ndarray, np.ndarray, float]]]:
    """Return for each kind a function that returns symbols (n,), fractional sites (n, 3) and lattice constant, A."""
    return {
        "gold": lambda: (np.array(["Au"] * 4), np.array(FCC), GOLD.a),
        "silver": lambda: (np.array(["Ag"] * 4), np.array(FCC), SILVER_CELL),
        FERROUS: lambda: (np.array(["Fe"] * 4 + ["O"] * 4), np.concatenate([FCC, np.array(FCC) + 0.5]), WUSTITE_CELL),
        FERRIC: _spinel,
    }


@functools.cache
def _spinel() -> tuple[np.ndarray, np.ndarray, float]:
    from ase.spacegroup import crystal

    u = SPINEL_OXYGEN
    basis: list[Any] = [(1 / 8, 1 / 8, 1 / 8), (1 / 2, 1 / 2, 1 / 2), (u, u, u)]
    cell = crystal(("Fe", "Fe", "O"), basis, spacegroup=227, setting=2, cellpar=[SPINEL_CELL] * 3 + [90] * 3)
    fractions, kinds = cell.get_scaled_positions(), cell.arrays["spacegroup_kinds"]
    return np.array(["Fe tetrahedral", "Fe octahedral", "O"])[kinds], np.asarray(fractions), SPINEL_CELL
