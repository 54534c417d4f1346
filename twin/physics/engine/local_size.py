"""What a local operator takes: functions to propagate, overlaps to sum, memory at the peak; known before any of it is built."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stemtwin.twin.physics.engine import threads
from stemtwin.twin.physics.engine.lanes import POINT
from stemtwin.twin.physics.engine.local_basis import LEAST_CANVAS, MARGIN, PIECE, SIDE, Basis, Region, canvas_span, pieces_of
from stemtwin.twin.physics.engine.local_check import window_shape
from stemtwin.twin.physics.engine.local_waves import FINER, window_grid
from stemtwin.twin.physics.engine.multislice import wave_memory
from stemtwin.twin.physics.grids import Grid

TABLES = 60
"""Bytes per pixel of a grid that tables of frequencies and detector weights take while they are made."""
NUMBER = 4
"""Bytes of a float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What building a local operator and imaging with it takes.

    Parameters
    ----------
    functions : int
        Basis functions of the pieces that a region needs.
    window : Grid
        The window through which each is sent.
    points : float
        Exit coefficients that the detectors see.
    held : int
        Bytes of overlaps and canvases.
    working : int
        Bytes at the peak of building and of the check, beside what is held and the specimen.
    """

    functions: int
    window: Grid
    points: float
    held: int
    working: int


def size(basis: Basis, planes: int, seen: tuple[float, float], channels: int, region: Region, blurs: Sequence[float]) -> Size:
    """Return what an operator takes.

    Parameters
    ----------
    basis : Basis
        Its lattice.
    planes : int
        Slices of the specimen.
    seen : tuple of float
        Spatial frequencies from which and up to which detectors see, 1/A.
    channels : int
        Detector channels.
    region : tuple
        ((y0, y1), (x0, x1)), A, in which images are read.
    blurs : sequence of float
        Geometric radii of the probes, A, of the check and of the images.
    """
    window = window_grid(basis)
    pieces = pieces_of(basis, region, MARGIN + max(blurs))
    side = SIDE * PIECE
    functions = sum(math.prod(min((p + 1) * side, n) - p * side for p, n in zip(piece, basis.counts, strict=True)) for piece in pieces)
    soft = 0.5 / basis.local.correlation  # by so much the detectors' soft edges reach further
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
    return Size(
        functions=functions,
        window=window,
        points=points,
        held=int(functions * batch + canvases),
        working=int(max(building, _check(basis, planes, channels, region))),
    )


def _canvas(basis: Basis, shape: tuple[int, int], channels: int) -> int:
    """Return the bytes of a canvas: its overlaps, and the buffers that an image leaves for the next."""
    extent = [n * h for n, h in zip(shape, basis.spacing, strict=True)]
    most_x = int(2 * basis.top * extent[1])
    return basis.batches * POINT * NUMBER * (channels * math.prod(shape) + (2 * most_x + 1) * (2 * shape[0] | 1))


def _check(basis: Basis, planes: int, channels: int, region: Region) -> int:
    """Return the bytes that multislice of a few probes takes in the window of the check."""
    shape, whole = window_shape(basis.grid, region, periodic=basis.periodic)
    grid = Grid(shape=shape, extent=(shape[0] * basis.grid.sampling[0], shape[1] * basis.grid.sampling[1]))
    area = math.prod(shape)
    cut = 0 if whole else 8 * planes * area
    beams = math.pi * (basis.radius + 1 / LEAST_CANVAS) ** 2 * math.prod(grid.extent)
    return int(cut + area * (12 * channels + 8) + max(wave_memory(grid), TABLES * area) + 80 * 16 * beams)
