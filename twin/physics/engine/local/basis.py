r"""The basis of the local operator: one smooth, localised, band-limited function on every point of a lattice.

A probe f of spatial frequencies |k| <= k_top is a sum of copies of one function phi, whose Fourier transform is any shape that does not vanish up to
k_top and vanishes where the lattice's alias begins, at 1/h - k_top:

.. math::

    \psi(r) = h^2 \sum_j f(r_j) \phi(r - r_j), \qquad \hat f(k) = a_k / \hat\phi(k)

The shape is Kaiser and Bessel's window, I_0(beta sqrt(1 - (k / k_c)^2)) / I_0(beta) (Jackson et al., IEEE Trans. Med. Imaging 10 (1991) 473, use
it to the same end): phi then has a core of about 1.2 A and weak tails where a flat shape with a soft edge needs 5 A, so windows stay small.
Patches of 4 x 4 neighbouring functions share a window and ride in the SIMD lanes.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from stemtwin.twin.physics.engine.kernels.simd_complex64 import LANES
from stemtwin.twin.physics.grids import Grid

OVERSAMPLING = 2.5
"""Lattice points per 1/k_top."""
SIDE = 4
"""Functions along each side of a patch."""
ROWS = 8
"""Functions of a patch whose overlaps with those of another are summed together: their sums stay in registers."""
PIECE = 8
"""Patches along each side of a piece, the unit of building and of storing."""
Sides = tuple[float, float]
Counts = tuple[int, int]

LEAST_CANVAS = 24.0
"""Images are computed on canvases at least so wide, A: a probe's reciprocal pixels are at most 1/24 wide."""
MOST_STRICT = 1.6
"""Largest factor by which a strict tolerance widens the start; more comes only if a check asks for it."""
EDGE = 1.0
"""Width of the soft edge of what a patch sees of the specimen, A."""
MARGIN = 12.0
"""Around a region, what the tails of a probe in focus see, A; the geometric blur of its aberrations comes on top."""
Region = tuple[Sides, Sides]
"""A rectangle ((y0, y1), (x0, x1)), A."""
Piece = Counts
"""Number of a piece along y and x."""


def smooth_length(n: int) -> int:
    """Return the smallest number >= ``n`` without prime factors but 2, 3 and 5."""
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
    """Truncation distances; what is beyond is left out.

    Parameters
    ----------
    shape : float
        beta of the functions' shape: larger is more compact, and less evenly sensitive.
    reach : float
        A patch's waves see the specimen up to this distance from its lattice points, A.
    band : float
        Largest distance between two functions whose overlap counts, A.
    correlation : float
        The detector's coherence between two points of the exit wave counts up to this distance, A.
    near : float, optional
        Windows grow with depth, from this reach at the first plane, A, to ``reach`` at the last one; without it all of the way is in one window.
    """

    shape: float
    reach: float
    band: float
    correlation: float
    near: float | None = None

    @property
    def numbers(self) -> list[float]:
        """The numbers, as `from_numbers` takes them."""
        return [self.shape, self.reach, self.band, self.correlation, *([] if self.near is None else [self.near])]

    @classmethod
    def from_numbers(cls, numbers: Sequence[float]) -> "Localisation":
        """Return the distances of some ``numbers``."""
        shape, reach, band, correlation, *near = numbers
        return cls(shape=shape, reach=reach, band=band, correlation=correlation, near=near[0] if near else None)

    def grown(self, factor: float = 1.3) -> "Localisation":
        """Return one that leaves out less."""
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
    """Return initial truncation distances: those that thin specimens were found to need, and the sideways reach of waves in thicker ones.

    Parameters
    ----------
    radius : float
        alpha / lambda, 1/A.
    inner, outer : float
        Radii of the part of reciprocal space that detectors see, 1/A.
    wavelength, thickness : float
        A.
    tolerance : float
        rms error / mean signal that is asked for.
    tilt : tuple of float
        Tilt (ty, tx) of the specimen against the beam, rad: waves drift sideways by it on their way.
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
    """A lattice of functions over a field, in patches.

    Parameters
    ----------
    grid : Grid
        The multislice grid of the field.
    radius : float
        alpha / lambda of the largest aperture, 1/A.
    periodic : bool
        Whether the field repeats. If not, the lattice extends beyond it as far as functions see atoms in it.
    local : Localisation
        How far things reach.

    Attributes
    ----------
    top : float
        Largest spatial frequency of a probe, with the half reciprocal pixel by which an antialiased aperture exceeds its radius, 1/A.
    spacing : tuple of float
        Distance between lattice points (hy, hx), A.
    counts : tuple of int
        Lattice points (ny, nx).
    origin : tuple of float
        Place (y, x) of the first one, A.
    patches, pieces : tuple of int
        Patches and pieces along y and x.
    cutoff : float
        Where the functions' shape ends and the lattice's alias may begin, 1/A.
    steps : ndarray
        Differences (p, q) between lattice points whose overlap counts, on the half plane p > 0 or p = 0, q >= 0, int64, shape (n, 2).
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
        """Lay out the lattice."""
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
        """Groups of sixteen steps."""
        return -(-len(self.steps) // LANES)

    def shape(self, k: np.ndarray) -> np.ndarray:
        """Return the Fourier transform of a function at spatial frequencies k, 1/A; 1 at k = 0."""
        inside = np.clip(1 - np.square(np.asarray(k, float) / self.cutoff), 0, None)
        return np.where(np.abs(k) < self.cutoff, np.i0(self.local.shape * np.sqrt(inside)), 0) / np.i0(self.local.shape)


def _steps(band: float, hy: float, hx: float) -> np.ndarray:
    """List the steps of the half plane up to a distance; a last group of sixteen that would hold four or fewer is left out."""
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
    """A patch whose functions overlap with those of another: its index, in which period of the field it lies, and the lanes that meet.

    ``entries`` (n, 3), int64: lane of the first patch, lane of this one, number of the step. ``rows``, int64: this one's lanes in them, the last one
    repeated up to a multiple of 8.
    """

    patch: tuple[int, int]
    cell: tuple[int, int]
    entries: np.ndarray
    rows: np.ndarray


def partners(basis: Basis, patch: tuple[int, int]) -> list[Partner]:
    """Return the patches whose functions stand at a step of the half plane from the functions of a given patch, itself among them."""
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
    """Return the pieces that images of a region need, with a margin around it, A; all of them without a region."""
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
    """Return first lattice point and number of points, along one axis, of the canvas for a side of a region (low, high), A, or for the field."""
    h, origin, lattice = basis.spacing[axis], basis.origin[axis], basis.counts[axis]
    if side is None:
        if basis.periodic:
            return 0, lattice
        around = math.ceil(margin / h)
        return -around, smooth_length(lattice + 2 * around)
    first, last = math.floor((side[0] - margin - origin) / h), math.ceil((side[1] + margin - origin) / h)
    count = smooth_length(max(last - first + 1, math.ceil(2 * margin / h)))
    return (0, lattice) if basis.periodic and count >= lattice else (first, count)
