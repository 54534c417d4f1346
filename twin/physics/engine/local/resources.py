"""Resources of a local operator, estimated before it is built: its numbers of functions and overlaps, and its peak memory."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stemtwin.twin.physics.engine.kernels import threads
from stemtwin.twin.physics.engine.kernels.simd_complex64 import LANES, POINT
from stemtwin.twin.physics.engine.local.accuracy_check import POINTS, window_shape
from stemtwin.twin.physics.engine.local.basis import LEAST_CANVAS, MARGIN, PIECE, SIDE, Basis, Piece, Region, canvas_span, pieces_of
from stemtwin.twin.physics.engine.local.exit_waves import FINER, window_grid
from stemtwin.twin.physics.engine.multislice.multislice import wave_memory
from stemtwin.twin.physics.grids import Grid

TABLES = 60
"""Memory per pixel of a grid for tables of frequencies and detector weights during their computation, bytes."""
NUMBER = 4
"""Size of a float32, bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalResources:
    """Resources for building a local operator and imaging with it.

    Parameters
    ----------
    functions : int
        Number of basis functions in the pieces (groups of 32 x 32 functions) that images of a region need.
    waves : int
        Number of functions to propagate: ``functions``, the functions that overlap with them, and empty places of patches
        (groups of 4 x 4 functions, propagated together) at the lattice's edges.
    window : Grid
        Grid of the window in which each function is propagated.
    points : float
        Number of exit coefficients on the detectors.
    checked : int
        Number of grid points of the window in which the accuracy check propagates single probes.
    held : int
        Memory of the overlaps and of the canvases, bytes; a canvas is a rectangle of the lattice on which images are computed.
    working : int
        Peak of the additional memory during the build and the accuracy check, without the specimen, bytes.
    """

    functions: int
    waves: int
    window: Grid
    points: float
    checked: int
    held: int
    working: int


def size(basis: Basis, planes: int, seen: tuple[float, float], channels: int, region: Region, blurs: Sequence[float]) -> LocalResources:
    """Estimate the work and memory of a local operator.

    Parameters
    ----------
    basis : Basis
        The operator's basis.
    planes : int
        Number of slices of the specimen.
    seen : tuple of float
        Smallest and largest spatial frequency on the detectors, 1/A.
    channels : int
        Number of detector channels.
    region : tuple
        Region of the images, ((y0, y1), (x0, x1)), A.
    blurs : sequence of float
        Geometric radii of the probes in the accuracy check and in the images, A.
    """
    window = window_grid(basis)
    pieces = pieces_of(basis, region, MARGIN + max(blurs))
    side = SIDE * PIECE
    functions = sum(math.prod(min((p + 1) * side, n) - p * side for p, n in zip(piece, basis.counts, strict=True)) for piece in pieces)
    soft = 0.5 / basis.local.correlation  # width that the soft edges add to the detectors
    ring = (seen[1] + soft) ** 2 - max(seen[0] - soft, basis.top) ** 2
    points = max(1.0, math.pi * ring * math.prod(window.extent))
    batch = POINT * NUMBER * basis.batches * channels
    spans = {tuple(canvas_span(basis, axis, region[axis], MARGIN + blur) for axis in (0, 1)) for blur in blurs}
    canvases = sum(_canvas(basis, (y[1], x[1]), channels) for y, x in spans)
    columns = min(basis.patches[1], len({piece[1] for piece in pieces}) * PIECE)
    rows = 2 + int(basis.steps[:, 0].max()) // SIDE
    area = math.prod(window.shape)
    per_thread = wave_memory(window) + 8 * area * (1 + planes) + POINT * NUMBER * points
    building = rows * columns * points * POINT * NUMBER + threads.thread_count() * per_thread + 24 * channels * FINER**2 * area
    return LocalResources(
        functions=functions,
        waves=LANES * sent(basis, pieces),
        window=window,
        points=points,
        checked=math.prod(window_shape(basis.grid, region, periodic=basis.periodic)[0]),
        held=int(functions * batch + canvases),
        working=int(max(building, _check(basis, planes, channels, region))),
    )


def sent(basis: Basis, pieces: list[Piece]) -> int:
    """Return the number of patches to propagate when pieces are built row by row; a patch that is propagated twice counts twice.

    A patch is a group of 4 x 4 basis functions, and a piece is a group of 8 x 8 patches. Patches beside the pieces are also
    propagated if they overlap with them. ``pieces`` are indices (y, x); they must be all combinations of some y and some x,
    like the result of :func:`basis.pieces_of`. The waves of a patch are dropped when the next row of patches does not need
    them, and computed again if a later row needs them. On a periodic field, the last rows need the waves of the first rows.
    """
    rows, columns = ([i for p in sorted({piece[axis] for piece in pieces}) for i in _within(p, PIECE, basis.patches[axis])] for axis in (0, 1))
    across = _across(basis, [x for column in columns for x in _within(column, SIDE, basis.counts[1])])
    lines = {row: _within(row, SIDE, basis.counts[0]) for row in rows}
    ahead = {n: [across[max(0, i - n + 1) : i + 1].any(axis=0) for i in range(n - 1 + len(across))] for n in map(len, lines.values())}
    total, before = 0, np.zeros(basis.patches, bool)
    for own in lines.values():
        needed = np.zeros(basis.patches, bool)
        for y, reached in enumerate(ahead[len(own)], own[0]):
            if basis.periodic or y < basis.counts[0]:
                needed[y % basis.counts[0] // SIDE] |= reached
        total += int(np.count_nonzero(needed & ~before))
        before = needed
    return total


def _within(number: int, side: int, count: int) -> range:
    """Return the indices below ``count`` in group ``number`` of ``side`` members."""
    return range(number * side, min((number + 1) * side, count))


def _across(basis: Basis, points: list[int]) -> np.ndarray:
    """Return the columns of patches at a step from columns of lattice points, for each number of rows of a step; bool, (rows, columns)."""
    p, q = basis.steps.T
    out = np.zeros((int(p.max()) + 1, basis.patches[1]), bool)
    for number, reached in enumerate(out):
        cell, x = np.divmod(np.add.outer(points, q[p == number]), basis.counts[1])
        reached[x[basis.periodic | (cell == 0)] // SIDE] = True
    return out


def _canvas(basis: Basis, shape: tuple[int, int], channels: int) -> int:
    """Return the memory of a canvas, bytes: its overlaps, and the buffers that are kept between images."""
    extent = [n * h for n, h in zip(shape, basis.spacing, strict=True)]
    most_x = int(2 * basis.top * extent[1])
    return basis.batches * POINT * NUMBER * (channels * math.prod(shape) + (2 * most_x + 1) * (2 * shape[0] | 1))


def _check(basis: Basis, planes: int, channels: int, region: Region) -> int:
    """Return the memory of multislice of a few probes in the window of the accuracy check, bytes."""
    shape, whole = window_shape(basis.grid, region, periodic=basis.periodic)
    grid = Grid(shape=shape, extent=(shape[0] * basis.grid.sampling[0], shape[1] * basis.grid.sampling[1]))
    area = math.prod(shape)
    cut = 0 if whole else 8 * planes * area
    beams = math.pi * (basis.radius + 1 / LEAST_CANVAS) ** 2 * math.prod(grid.extent)
    return int(cut + area * (12 * channels + 8) + max(wave_memory(grid), TABLES * area) + (80 * LANES + 8 * POINTS) * beams)
