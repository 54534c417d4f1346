"""Clusters of heavy atoms of ``stemtwin/DriftTracking-v1``: connected sites of a hexagonal lattice, drawn for every episode.

The shapes of a split, however they are turned or mirrored, are in no other split.
"""

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from stemtwin.twin.envs.arguments import SPLITS

HexagonalSite = tuple[int, int]
SIZES = (4, 5, 6, 7)
"""Atoms of a cluster next to the sheet."""
COMPACT = 2.0
"""Largest distance of an atom from the middle of its cluster, in bonds: a narrow frame holds the whole."""
APART, NEAREST, FARTHEST = 1.7, 1.7, 2.4
"""Smallest distance of the single atom from the atoms of the cluster, and its distances from their middle, in bonds."""
STEPS: tuple[HexagonalSite, ...] = ((1, 0), (0, 1), (-1, 1), (-1, 0), (0, -1), (1, -1))
"""Steps to the six neighbours of a site."""
AROUND = tuple((a, b) for a in range(-4, 5) for b in range(-4, 5))
"""Sites on which the single atom may lie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A cluster on sites of a hexagonal lattice, in steps along its two axes, and a single atom beside it.

    Parameters
    ----------
    sites : tuple
        Sites of the atoms next to the sheet; their middle is within a step of (0, 0).
    upper : tuple of float
        Place of an atom above three of them, where the atoms lie on a sheet.
    single, hopped : tuple of int
        Site of the single atom before and after it hops.
    """

    sites: tuple[HexagonalSite, ...]
    upper: tuple[float, float]
    single: HexagonalSite
    hopped: HexagonalSite


def flat(places: Iterable[tuple[float, float]]) -> np.ndarray:
    """Return places (x, y), in bonds, of places in steps along the two axes of a hexagonal lattice, shape (n, 2)."""
    steps = np.array([*places], float).reshape(-1, 2)
    return np.column_stack([steps[:, 0] + steps[:, 1] / 2, steps[:, 1] * 3**0.5 / 2])


def split_of(sites: Iterable[HexagonalSite]) -> int:
    """Return the number of the split that owns a shape, by a checksum of the least of its twelve turned and mirrored forms."""
    forms = []
    for mirrored in (False, True):
        turned = [(b, a) if mirrored else (a, b) for a, b in sites]
        for _ in range(len(STEPS)):
            turned = [(-b, a + b) for a, b in turned]
            corner = min(turned)
            forms.append(sorted((a - corner[0], b - corner[1]) for a, b in turned))
    return zlib.crc32(json.dumps(min(forms)).encode()) % len(SPLITS)


def draw_cluster(rng: np.random.Generator, split: str) -> Cluster:
    """Draw a cluster of a split: a shape that grows site by site, an upper atom, and a single atom beside it that can hop."""
    while True:
        sites = _grown(rng, int(rng.choice(SIZES)))
        triangles = [(a, b, side) for a, b in sites for side in (-1, 1) if {(a + side, b), (a, b + side)} <= set(sites)]
        hops = _hops(sites)
        if split_of(sites) == SPLITS[split] and triangles and hops:
            a, b, side = triangles[int(rng.integers(len(triangles)))]
            single, hopped = hops[int(rng.integers(len(hops)))]
            return Cluster(sites=sites, upper=(a + side / 3, b + side / 3), single=single, hopped=hopped)


def _grown(rng: np.random.Generator, size: int) -> tuple[HexagonalSite, ...]:
    """Return a connected shape of so many sites about (0, 0) that is compact."""
    while True:
        grown: list[HexagonalSite] = [(0, 0)]
        while len(grown) < size:
            a, b = grown[int(rng.integers(len(grown)))]
            x, y = STEPS[int(rng.integers(len(STEPS)))]
            if (a + x, b + y) not in grown:
                grown.append((a + x, b + y))
        x, y = np.rint(np.mean(grown, axis=0)).astype(int).tolist()
        sites = tuple((a - x, b - y) for a, b in grown)
        if np.linalg.norm(flat(sites) - flat(sites).mean(axis=0), axis=1).max() < COMPACT:
            return sites


def _hops(sites: tuple[HexagonalSite, ...]) -> list[tuple[HexagonalSite, HexagonalSite]]:
    """Return all pairs of neighbouring sites on which a single atom is seen beside a cluster."""
    around, own = flat(AROUND), flat(sites)
    away = np.linalg.norm(around[:, None] - own, axis=2).min(axis=1)
    far = np.linalg.norm(around - own.mean(axis=0), axis=1)
    free = {AROUND[i] for i in np.flatnonzero((away > APART) & (far > NEAREST) & (far < FARTHEST))}
    return [((a, b), (a + x, b + y)) for a, b in sorted(free) for x, y in STEPS if (a + x, b + y) in free]
