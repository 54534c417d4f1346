"""Clusters of heavy atoms of ``stemtwin/DriftTracking-v1``: connected sites of a hexagonal lattice, drawn for every episode.

A shape that occurs in one split does not occur in another split, not even as a rotated or mirrored copy.
"""

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from stemtwin.twin.envs.arguments import SPLITS

HexagonalSite = tuple[int, int]
SIZES = (4, 5, 6, 7)
"""Possible numbers of cluster atoms in the lower layer."""
COMPACT = 2.0
"""Largest distance of an atom from the centre of its cluster, bond lengths; a narrow frame therefore shows the whole cluster."""
APART, NEAREST, FARTHEST = 1.7, 1.7, 2.4
"""Limits of the single atom's position, bond lengths.

They are the smallest distance from any atom of the cluster, and the smallest and largest distance from the cluster's centre.
"""
STEPS: tuple[HexagonalSite, ...] = ((1, 0), (0, 1), (-1, 1), (-1, 0), (0, -1), (1, -1))
"""Steps to the six neighbours of a site."""
AROUND = tuple((a, b) for a in range(-4, 5) for b in range(-4, 5))
"""Candidate sites of the single atom."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A cluster of atoms on a hexagonal lattice, and a single atom beside it; positions are in steps along the lattice axes.

    Parameters
    ----------
    sites : tuple
        Sites of the atoms in the lower layer, which lies in or on the sheet; their centre is within one step of (0, 0).
    upper : tuple of float
        Position of an atom above three neighbouring sites of the cluster, used for clusters on top of a sheet.
    single, hopped : tuple of int
        Site of the single atom before and after it hops.
    """

    sites: tuple[HexagonalSite, ...]
    upper: tuple[float, float]
    single: HexagonalSite
    hopped: HexagonalSite


def flat(places: Iterable[tuple[float, float]]) -> np.ndarray:
    """Convert positions in steps along the hexagonal axes to Cartesian positions (x, y) in units of the bond length, shape (n, 2)."""
    steps = np.array([*places], float).reshape(-1, 2)
    return np.column_stack([steps[:, 0] + steps[:, 1] / 2, steps[:, 1] * 3**0.5 / 2])


def split_of(sites: Iterable[HexagonalSite]) -> int:
    """Return the number of the split to which a shape belongs: 0 for train, 1 for val, 2 for test.

    Rotated and mirrored copies of a shape belong to the same split, because the number follows from a checksum of the
    lexicographically smallest of the twelve rotated and mirrored forms.
    """
    forms = []
    for mirrored in (False, True):
        turned = [(b, a) if mirrored else (a, b) for a, b in sites]
        for _ in range(len(STEPS)):
            turned = [(-b, a + b) for a, b in turned]
            corner = min(turned)
            forms.append(sorted((a - corner[0], b - corner[1]) for a, b in turned))
    return zlib.crc32(json.dumps(min(forms)).encode()) % len(SPLITS)


def draw_cluster(rng: np.random.Generator, split: str) -> Cluster:
    """Draw a cluster of a split: a shape grown site by site, an upper atom, and a single atom with a free site to hop to."""
    while True:
        sites = _grown(rng, int(rng.choice(SIZES)))
        triangles = [(a, b, side) for a, b in sites for side in (-1, 1) if {(a + side, b), (a, b + side)} <= set(sites)]
        hops = _hops(sites)
        if split_of(sites) == SPLITS[split] and triangles and hops:
            a, b, side = triangles[int(rng.integers(len(triangles)))]
            single, hopped = hops[int(rng.integers(len(hops)))]
            return Cluster(sites=sites, upper=(a + side / 3, b + side / 3), single=single, hopped=hopped)


def _grown(rng: np.random.Generator, size: int) -> tuple[HexagonalSite, ...]:
    """Return a compact connected shape of ``size`` sites centred on (0, 0)."""
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
    """Return all pairs of neighbouring sites on which a single atom is visible beside a cluster."""
    around, own = flat(AROUND), flat(sites)
    away = np.linalg.norm(around[:, None] - own, axis=2).min(axis=1)
    far = np.linalg.norm(around - own.mean(axis=0), axis=1)
    free = {AROUND[i] for i in np.flatnonzero((away > APART) & (far > NEAREST) & (far < FARTHEST))}
    return [((a, b), (a + x, b + y)) for a, b in sorted(free) for x, y in STEPS if (a + x, b + y) in free]
