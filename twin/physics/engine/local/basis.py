r"""The basis of the local operator: one smooth, localised, band-limited function on every point of a lattice.

A probe psi with spatial frequencies |k| <= k_top is a sum of copies of one function phi at the points r_j of a lattice
with the spacing h. The Fourier transform of phi may have any shape that is nonzero up to k_top and vanishes where the
lattice's alias begins, at 1/h - k_top:

.. math::

    \psi(r) = h^2 \sum_j f(r_j) \phi(r - r_j), \qquad \hat f(k) = a_k / \hat\phi(k)

where a_k are the Fourier amplitudes of the probe. The shape is the Kaiser-Bessel window,
I_0(beta sqrt(1 - (k / k_c)^2)) / I_0(beta) (used for the same purpose by Jackson et al., IEEE Trans. Med. Imaging 10
(1991) 473). phi then has a core of about 1.2 A and weak tails, so windows stay small; a flat shape with a soft edge would
need 5 A instead. A patch of 4 x 4 neighbouring functions has one window, and each function is one SIMD lane. A piece is
a group of 8 x 8 patches.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from stemtwin.twin.physics.engine.kernels.simd_complex64 import LANES
from stemtwin.twin.physics.grids import Grid

OVERSAMPLING = 2.5
"""Number of lattice points per 1/k_top."""
SIDE = 4
"""Number of functions along each side of a patch."""
ROWS = 8
"""Number of functions of a patch whose overlaps are summed together, with sums in registers."""
PIECE = 8
"""Number of patches along each side of a piece, the unit of building and storing."""
Sides = tuple[float, float]
Counts = tuple[int, int]

LEAST_CANVAS = 24.0
"""Smallest side of a canvas of images, A; reciprocal pixels of a probe are therefore at most 1/24 1/A wide."""
MOST_STRICT = 1.6
"""Largest factor by which a strict tolerance increases the initial distances; they grow further only after a failed check."""
EDGE = 1.0
"""Width of the soft edge of the specimen in a patch's window, A."""
MARGIN = 12.0
"""Margin around a region for the tails of a probe in focus, A; the geometric radius of an aberrated probe is added to it."""
Region = tuple[Sides, Sides]
"""A rectangle ((y0, y1), (x0, x1)), A."""
Piece = Counts
"""Indices of a piece along y and x."""


def smooth_length(n: int) -> int:
    """Return the smallest number >= ``n`` without prime factors other than 2, 3 and 5, at least 2."""
    n = max(n, 2)
    while True:
        rest = n
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return n
        n += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Localisation:
    """Truncation distances of the local operator; contributions beyond them are left out.

    A patch is a group of 4 x 4 neighbouring basis functions, which share a window.

    Parameters
    ----------
    shape : float
        Parameter beta of the functions' shape. A larger value gives functions with weaker tails and a Fourier
        transform that varies more within the aperture.
    reach : float
        Width of the margin of specimen around a patch's lattice points in its window, A.
    band : float
        Largest distance between two functions whose overlap is included, A.
    correlation : float
        Distance between two points of the exit wave beyond which the detector's coherence is left out, A. The coherence is
        attenuated from half this distance.
    near : float, optional
        Reach at the first plane (A) if windows grow with depth; it increases to ``reach`` at the last plane. By default,
        one window is used for all planes.
    """

    shape: float
    reach: float
    band: float
    correlation: float
    near: float | None = None

    @property
    def numbers(self) -> list[float]:
        """Values of ``shape``, ``reach``, ``band`` and ``correlation``, and of ``near`` if it is not None."""
        return [self.shape, self.reach, self.band, self.correlation, *([] if self.near is None else [self.near])]

    @classmethod
    def from_numbers(cls, numbers: Sequence[float]) -> "Localisation":
        """Return the truncation distances with the given values of :attr:`numbers`."""
        shape, reach, band, correlation, *near = numbers
        return cls(shape=shape, reach=reach, band=band, correlation=correlation, near=near[0] if near else None)

    def grown(self, factor: float = 1.3) -> "Localisation":
        """Return the truncation distances multiplied by a factor; ``shape`` is unchanged."""
        near = None if self.near is None else self.near * factor
        return replace(self, reach=self.reach * factor, band=self.band * factor, correlation=self.correlation * factor, near=near)


def localisation(
    *,
    radius: float,
    inner: float,
    outer: float,
    wavelength: float,
    thickness: float,
    tolerance: float,
    tilt: tuple[float, float] = (0.0, 0.0),
    growing: bool = False,
) -> Localisation:
    """Return initial truncation distances for a tolerance.

    They are the distances that proved necessary for thin specimens, plus the lateral spread of the waves over the
    thickness.

    Parameters
    ----------
    radius : float
        Radius of the aperture, alpha / lambda, 1/A.
    inner, outer : float
        Inner and outer radius of the detectors in reciprocal space, 1/A.
    wavelength, thickness : float
        Wavelength and thickness of the specimen, A.
    tolerance : float
        Requested rms error divided by the mean signal.
    tilt : tuple of float
        Tilt (ty, tx) of the specimen against the beam (rad), which shifts waves laterally with depth.
    growing : bool
        Whether windows grow with depth.
    """
    stricter = float(np.clip((0.01 / tolerance) ** 0.25, 1.0, MOST_STRICT))
    spread = 0.5 * thickness * wavelength * (outer + radius)
    inner = max(inner, radius)
    band = (1.6 / radius + 0.6 / max(inner - radius, 0.25 * radius)) * stricter
    aside = thickness * max(abs(math.tan(t)) for t in tilt)
    near = (1.2 / radius + 0.5) * stricter
    return Localisation(
        shape=6.0,
        reach=near + spread + aside,
        band=band + 0.5 * spread,
        correlation=(3.0 + 2.2 / inner) * stricter,
        near=near if growing else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Basis:
    """A lattice of functions over a field, divided into patches.

    Parameters
    ----------
    grid : Grid
        The multislice grid of the field.
    radius : float
        Radius of the largest aperture, alpha / lambda, 1/A.
    periodic : bool
        Whether the field is periodic. If not, the lattice extends beyond the field to the last functions that overlap its
        atoms.
    local : Localisation
        Truncation distances.

    Attributes
    ----------
    top : float
        Largest spatial frequency of a probe, including half a reciprocal pixel at an antialiased aperture edge, 1/A.
    spacing : tuple of float
        Distance between lattice points (hy, hx), A.
    counts : tuple of int
        Number of lattice points (ny, nx).
    origin : tuple of float
        Position (y, x) of the first lattice point, A.
    patches, pieces : tuple of int
        Numbers (ny, nx) of patches, which are groups of 4 x 4 functions, and of pieces, which are groups of 8 x 8 patches.
    cutoff : float
        Spatial frequency above which the Fourier transform of a basis function is zero, 1/A. It is 1/h - ``top``, the lowest
        frequency of a probe's alias on the lattice, with the larger spacing h.
    steps : ndarray
        Differences (p, q) between the lattice points of two functions whose overlap is included, on the half plane
        (p > 0, or p = 0 and q >= 0), int64, shape (n, 2).
    """

    grid: Grid
    radius: float
    periodic: bool
    local: Localisation
    top: float = field(init=False)
    spacing: Sides = field(init=False)
    counts: Counts = field(init=False)
    origin: Sides = field(init=False)
    patches: Counts = field(init=False)
    pieces: Counts = field(init=False)
    cutoff: float = field(init=False)
    steps: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        """Compute the lattice from the parameters."""
        top = self.radius + 0.5 * math.hypot(*(1 / min(side, LEAST_CANVAS) for side in self.grid.extent))
        counts = [smooth_length(math.ceil(OVERSAMPLING * top * side)) for side in self.grid.extent]
        spacing = [side / n for side, n in zip(self.grid.extent, counts, strict=True)]
        margin = [0 if self.periodic else math.ceil(self.local.reach / h) for h in spacing]
        counts = [n + 2 * m for n, m in zip(counts, margin, strict=True)]
        patches = [-(-n // SIDE) for n in counts]
        derived = {
            "top": top,
            "spacing": tuple(spacing),
            "counts": tuple(counts),
            "origin": tuple(-m * h for m, h in zip(margin, spacing, strict=True)),
            "patches": tuple(patches),
            "pieces": tuple(-(-n // PIECE) for n in patches),
            "cutoff": 1 / max(spacing) - top,
            "steps": _steps(self.local.band, *spacing),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    @property
    def batches(self) -> int:
        """Number of groups of sixteen entries of :attr:`steps`."""
        return -(-len(self.steps) // LANES)

    def shape(self, k: np.ndarray) -> np.ndarray:
        """Return the Fourier transform of a basis function at spatial frequencies k, 1/A; it is 1 at k = 0."""
        inside = np.clip(1 - np.square(np.asarray(k, float) / self.cutoff), 0, None)
        return np.where(np.abs(k) < self.cutoff, np.i0(self.local.shape * np.sqrt(inside)), 0) / np.i0(self.local.shape)


def _steps(band: float, hy: float, hx: float) -> np.ndarray:
    """Return the steps of the half plane up to a distance, without a last group of sixteen that would hold four or fewer."""
    most_y, most_x = int(band / hy), int(band / hx)
    p, q = np.mgrid[0 : most_y + 1, -most_x : most_x + 1].reshape(2, -1)
    distance = np.hypot(p * hy, q * hx)
    kept = (distance <= band) & ((p > 0) | (q >= 0))
    over = np.count_nonzero(kept) % LANES
    if 0 < over <= 4 and np.count_nonzero(kept) > LANES:
        kept &= distance < np.sort(distance[kept])[-over] * (1 - 1e-9)
    return np.column_stack([p[kept], q[kept]]).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Partner:
    """A patch whose functions overlap with those of another patch.

    Attributes
    ----------
    patch : tuple of int
        Indices of the partner.
    cell : tuple of int
        Index (y, x) of the period of the field in which the partner lies.
    entries : ndarray
        Index of the function in the other patch, index of the function in the partner, and index in ``Basis.steps``,
        for each overlap, int64, shape (n, 3).
    rows : ndarray
        Indices of the partner's functions that occur in ``entries``, int64, padded with the last index to a multiple of
        8.
    """

    patch: tuple[int, int]
    cell: tuple[int, int]
    entries: np.ndarray
    rows: np.ndarray


def partners(basis: Basis, patch: tuple[int, int]) -> list[Partner]:
    """Return the patches whose lattice points differ from those of a given patch by one of ``basis.steps``, including this patch."""
    steps, counts = basis.steps, basis.counts
    lane = np.arange(LANES)
    y, x = patch[0] * SIDE + lane // SIDE, patch[1] * SIDE + lane % SIDE
    first = lane[(y < counts[0]) & (x < counts[1])]
    a, slot = (part.ravel() for part in np.meshgrid(first, np.arange(len(steps)), indexing="ij"))
    ty, tx = y[a] + steps[slot, 0], x[a] + steps[slot, 1]
    cy, cx = ty // counts[0], tx // counts[1]
    if not basis.periodic:
        inside = (cy == 0) & (cx == 0)
        a, slot, ty, tx, cy, cx = (part[inside] for part in (a, slot, ty, tx, cy, cx))
    ty, tx = ty % counts[0], tx % counts[1]
    b = ty % SIDE * SIDE + tx % SIDE
    keys, number = np.unique(np.column_stack([cy, cx, ty // SIDE, tx // SIDE]), axis=0, return_inverse=True)
    entries = np.column_stack([a, b, slot]).astype(np.int64)
    found = []
    for i, key in enumerate(keys.tolist()):
        met = entries[number.ravel() == i]
        rows = np.unique(met[:, 1])
        rows = np.append(rows, np.repeat(rows[-1:], -len(rows) % ROWS))
        found.append(Partner(patch=(key[2], key[3]), cell=(key[0], key[1]), entries=met, rows=rows))
    return found


def pieces_of(basis: Basis, region: Region | None, margin: float) -> list[Piece]:
    """Return the pieces needed for images of a region with a margin around it, both in A; all pieces if ``region`` is None."""
    chosen = []
    for axis, count in enumerate(basis.pieces):
        if region is None:
            chosen.append(list(range(count)))
            continue
        h, origin, lattice = basis.spacing[axis], basis.origin[axis], basis.counts[axis]
        low = math.floor((region[axis][0] - margin - origin) / h)
        high = math.ceil((region[axis][1] + margin - origin) / h)
        first, last = (low, low + lattice - 1) if basis.periodic else (max(low, 0), lattice - 1)
        points = np.arange(first, min(high, last) + 1) % lattice
        chosen.append(np.unique(points // (SIDE * PIECE)).tolist())
    return list(itertools.product(*chosen))


def canvas_span(basis: Basis, axis: int, side: Sides | None, margin: float) -> Counts:
    """Return the first lattice point and the number of points of a canvas along one axis.

    A canvas is a rectangle of the lattice on which images are computed. ``side`` contains the bounds (low, high) of the
    imaged region along this axis, A; None stands for the whole field. ``margin`` is the margin around the region, A.
    """
    h, origin, lattice = basis.spacing[axis], basis.origin[axis], basis.counts[axis]
    if side is None:
        if basis.periodic:
            return 0, lattice
        around = math.ceil(margin / h)
        return -around, smooth_length(lattice + 2 * around)
    first, last = math.floor((side[0] - margin - origin) / h), math.ceil((side[1] + margin - origin) / h)
    count = smooth_length(max(last - first + 1, math.ceil(2 * margin / h)))
    return (0, lattice) if basis.periodic and count >= lattice else (first, count)
