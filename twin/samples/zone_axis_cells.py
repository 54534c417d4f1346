"""Nearly orthogonal cells of a crystal along a zone axis, and the strain that makes them orthogonal.

A STEM image of a crystal needs a box that repeats in x and y. The edges of the box are three lattice vectors: the zone
axis along z, and two vectors along x and y that are nearly perpendicular to the zone axis and to each other. Few
crystals have exactly perpendicular vectors. A shear that preserves the volume removes the small deviation from right
angles, so the density stays exact. The frame is right-handed, so a crystal is rotated but never mirrored.
"""

from dataclasses import dataclass
from math import gcd

import numpy as np

GOOD_STRAIN = 1e-3  # negligible: below this strain, the shape of the cell decides
OVERSIZE = 1.15  # a cell up to this factor above the requested size counts as fitting
WIDE_SEARCH = 40.0  # A; longest edge in the search for a cell whose strain is within the limit
MOST_VECTORS = 900  # largest number of candidates for an edge


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class OrientedCell:
    """A nearly orthogonal cell of a crystal, rotated until its zone axis is +z.

    Parameters
    ----------
    edges : (3, 3) int
        Edges x, y, z as rows, in units of the crystal's lattice vectors.
    lengths : (3,) float
        Lengths of the strained, orthogonal box, A.
    rotation : (3, 3) float
        Directions x, y, z in the crystal's frame, as rows; ``positions @ rotation.T`` rotates the crystal.
    strain : float
        Largest principal strain of the deformation that makes the cell orthogonal.
    """

    edges: np.ndarray
    lengths: np.ndarray
    rotation: np.ndarray
    strain: float


def extended_gcd(a: int, b: int) -> tuple[int, int, int]:
    """Return (g, x, y) with a x + b y = g, where g >= 0 is the greatest common divisor."""
    x, next_x, y, next_y = 1, 0, 0, 1
    while b:
        quotient = a // b
        a, b = b, a - quotient * b
        x, next_x = next_x, x - quotient * next_x
        y, next_y = next_y, y - quotient * next_y
    return (a, x, y) if a >= 0 else (-a, -x, -y)


def complete_basis(axis: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return two integer vectors that form a basis of determinant +-1 together with a given integer vector.

    The components of the given vector must not have a common divisor.
    """
    u, v, w = axis
    g, x, y = extended_gcd(u, v)
    if g == 0:
        return np.array([1, 0, 0]), np.array([0, 1, 0])
    _, s, r = extended_gcd(g, w)
    return np.array([-y, x, 0]), np.array([-r * u // g, -r * v // g, s])


def lattice_direction(cell: np.ndarray, lattice: np.ndarray, zone_axis: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the shortest lattice vector along a zone axis.

    Parameters
    ----------
    cell : (3, 3) float
        Cell to which the indices of the zone axis refer, rows, A.
    lattice : (3, 3) float
        Basis of the lattice, rows, A; every vector of ``cell`` is an integer combination of it.
    zone_axis : (int, int, int)
        Indices [uvw].

    Returns
    -------
    (int, int, int)
        Components in units of ``lattice``, without a common divisor.
    """
    whole = [int(value) for value in np.rint(np.asarray(zone_axis) @ cell @ np.linalg.inv(lattice))]
    divisor = gcd(*whole)
    return whole[0] // divisor, whole[1] // divisor, whole[2] // divisor


def _reduce(plane: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the two shortest basis vectors of the lattice of two integer vectors, projected by ``plane`` (3, 2)."""
    while True:
        if np.linalg.norm(first @ plane) > np.linalg.norm(second @ plane):
            first, second = second, first
        short, long = first @ plane, second @ plane
        steps = round(float(long @ short / (short @ short)))
        if steps == 0:
            return first, second
        second = second - steps * first


def _candidates(lattice: np.ndarray, axis: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Return lattice vectors (k, 3) of least height along ``axis``, and their positions (k, 3) with z along it."""
    along = axis @ lattice
    length = np.linalg.norm(along)
    z = along / length
    x = np.eye(3)[np.argmin(np.abs(z))]
    x = x - (x @ z) * z
    x /= np.linalg.norm(x)
    frame = np.array([x, np.cross(z, x), z])
    placed = lattice @ frame.T
    first, second = _reduce(placed[:, :2], *complete_basis((int(axis[0]), int(axis[1]), int(axis[2]))))
    shortest, longest = (float(np.linalg.norm(vector @ placed[:, :2])) for vector in (first, second))
    reach = max(reach, 2.01 * longest)
    i_max, j_max = int(1.2 * reach / shortest) + 1, int(1.2 * reach / longest) + 1
    i, j = np.meshgrid(np.arange(-i_max, i_max + 1), np.arange(-j_max, j_max + 1), indexing="ij")
    vectors = i.reshape(-1, 1) * first + j.reshape(-1, 1) * second
    vectors = vectors - np.rint(vectors @ placed[:, 2] / length).astype(np.int64)[:, None] * axis
    places = vectors @ placed
    across = np.linalg.norm(places[:, :2], axis=1)
    keep = np.flatnonzero((across > 1e-6) & (across <= reach * (1 + 1e-9)))
    keep = keep[np.argsort(np.round(across[keep], 6), kind="stable")][:MOST_VECTORS]
    return vectors[keep], places[keep]


def _strains(p: np.ndarray, q: np.ndarray, height: float) -> np.ndarray:
    """Return the largest principal strain (k,) that makes edges p, q (k, 3) and (0, 0, height) orthogonal."""
    width = np.hypot(p[:, 0], p[:, 1])
    edges = np.zeros((len(p), 3, 3))
    edges[:, 0, 0], edges[:, 0, 2] = width, p[:, 2]
    edges[:, 1, 0] = (p[:, 0] * q[:, 0] + p[:, 1] * q[:, 1]) / width
    edges[:, 1, 1] = (p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]) / width
    edges[:, 1, 2], edges[:, 2, 2] = q[:, 2], height
    box = np.diagonal(edges, axis1=1, axis2=2)
    return np.abs(np.linalg.svd(np.linalg.inv(edges) * box[:, None, :], compute_uv=False) - 1).max(axis=1)


def _rank(vectors: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Return the rank (k,) of vectors (k, 3), A: 0, 1, 2 along the cell's a, b, c, 0.5 more against them, else 3."""
    units = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    cosine = units @ (cell / np.linalg.norm(cell, axis=1)[:, None]).T
    rank = np.full(len(vectors), 3.0)
    for axis in (2, 1, 0):
        rank[cosine[:, axis] < -0.999] = axis + 0.5
        rank[cosine[:, axis] > 0.999] = axis
    return rank


def _search(
    lattice: np.ndarray, cell: np.ndarray, axis: np.ndarray, size: float, max_strain: float, reach: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the best edges x and y (integer vectors) and their strain."""
    vectors, places = _candidates(lattice, axis, reach)
    height = float(np.linalg.norm(axis @ lattice))
    width = np.hypot(places[:, 0], places[:, 1])
    cross = places[:, 0, None] * places[None, :, 1] - places[:, 1, None] * places[None, :, 0]
    cosine = np.abs(places[:, :2] @ places[:, :2].T) / (width[:, None] * width[None, :])
    tilt = np.abs(places[:, 2]) / width
    skew = np.maximum(cosine, np.maximum(tilt[:, None], tilt[None, :]))
    right_handed = cross > 1e-6
    limit = max(0.2, float(skew[right_handed].min()) * 1.001)
    i, j = np.nonzero(right_handed & (skew <= limit))
    strain = _strains(places[i], places[j], height)
    area, tall = cross[i, j], cross[i, j] / width[i]
    oversize = np.maximum(width[i], tall) / size
    keys = (
        *(-vectors[i].T[::-1]),
        np.round(width[i], 4),
        np.round(area, 4),
        _rank(vectors @ lattice, cell)[i],
        np.ceil(np.maximum(0, strain - GOOD_STRAIN) / GOOD_STRAIN),
        np.where(oversize > OVERSIZE, np.ceil(10 * oversize), 0),
        strain > max_strain,
    )
    best = np.lexsort(keys)[0]
    return vectors[i[best]], vectors[j[best]], float(strain[best])


def orient(lattice: np.ndarray, cell: np.ndarray, zone_axis: tuple[int, int, int], size: float, max_strain: float) -> OrientedCell:
    """Return the best choice of a nearly orthogonal cell along a zone axis, for a sample of a given size.

    The criteria are, the most important first: a strain within ``max_strain``, edges no longer than the size, a small
    strain, x along the crystal's a, b or c (in that order), a small area, and a short x. Edges of up to 40 A are tried if
    shorter edges need too much strain.

    Parameters
    ----------
    lattice : (3, 3) float
        Basis of the lattice, rows, A; a primitive basis is needed to find every period.
    cell : (3, 3) float
        Cell to which the indices of the zone axis refer, rows, A.
    zone_axis : (int, int, int)
        [uvw], the direction in which the beam travels.
    size : float
        Preferred largest length of an edge, A.
    max_strain : float
        Preferred largest strain. If no cell satisfies this limit, the strain of the result exceeds it, so the caller
        must check ``strain``.

    Returns
    -------
    OrientedCell
    """
    axis = np.array(lattice_direction(cell, lattice, zone_axis))
    x_edge, y_edge, strain = _search(lattice, cell, axis, size, max_strain, min(OVERSIZE * size, WIDE_SEARCH))
    if strain > max_strain:
        x_edge, y_edge, strain = _search(lattice, cell, axis, size, max_strain, WIDE_SEARCH)
    z = axis @ lattice
    height = np.linalg.norm(z)
    z = z / height
    x = x_edge @ lattice
    x = x - (x @ z) * z
    width = np.linalg.norm(x)
    x = x / width
    y = np.cross(z, x)
    lengths = np.array([width, y_edge @ lattice @ y, height])
    return OrientedCell(
        edges=np.array([x_edge, y_edge, axis]), lengths=lengths, rotation=np.array([x, y, z]), strain=strain if strain > 1e-9 else 0.0
    )


def points_inside(edges: np.ndarray) -> np.ndarray:
    """Return the lattice points (n, 3) inside a cell with integer edges (3, 3).

    Their number n is the absolute value of the determinant of the edges.
    """
    count = round(float(np.linalg.det(edges)))
    sign = 1 if count > 0 else -1
    adjugate = np.rint(np.linalg.inv(edges) * count).astype(np.int64) * sign
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) @ edges
    ranges = [np.arange(low, high + 1) for low, high in zip(corners.min(axis=0), corners.max(axis=0), strict=True)]
    points = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
    scaled = points @ adjugate
    return points[np.all((scaled >= 0) & (scaled < abs(count)), axis=1)]
