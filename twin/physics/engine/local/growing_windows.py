"""Windows of a local operator that grow with depth: waves spread as they go, so that the first slices need small windows.

Behind the last plane of a window its waves go over into the next, larger one. Only what was scattered is put there, with nothing around it: the
unscattered functions, whose tails reach round the small window, are taken away before, and are known for the large one.
"""

import math
from typing import NamedTuple

import numpy as np

from stemtwin.twin.physics.engine.kernels.simd_complex64 import POINT, aligned
from stemtwin.twin.physics.engine.local import local_kernels
from stemtwin.twin.physics.engine.local.basis import EDGE, SIDE, Basis
from stemtwin.twin.physics.engine.multislice import multislice, multislice_kernels
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack, wave_memory
from stemtwin.twin.physics.grids import Grid, fast_length

MOST = 5
"""Largest number of windows from the first plane to the last."""
CHANGE = 1.5
"""Usual time of the change to a window, in steps through a slice there."""


class Stage(NamedTuple):
    """A window for some of the planes: its grid, the first plane and the one after the last, and how far it sees the specimen, A."""

    grid: Grid
    begin: int
    end: int
    reach: float


def stages(basis: Basis, planes: np.ndarray, last: Grid) -> list[Stage]:
    """Return the windows from the first plane to the last, those that take the least time; the last one has a given grid."""
    reach, near = basis.local.reach, basis.local.near
    whole = [Stage(last, 0, len(planes), reach)]
    if near is None or len(planes) < 2:
        return whole
    best = whole
    for count in range(2, min(MOST, len(planes)) + 1):
        ends = [round(len(planes) * (i + 1) / count) for i in range(count)]
        found = [Stage(last, ends[-2], len(planes), reach)]
        for begin, end in reversed(list(zip([0, *ends[:-2]], ends[:-1], strict=True))):
            seen = near + (reach - near) * float((planes[end - 1] - planes[0]) / (planes[-1] - planes[0]))
            grid = _smaller(basis, seen, found[0].grid)
            if grid == found[0].grid:
                found[0] = found[0]._replace(begin=begin)
            else:
                found.insert(0, Stage(grid, begin, end, seen))
        best = min(best, found, key=_work)
    return best


def _smaller(basis: Basis, reach: float, largest: Grid) -> Grid:
    """Return the grid of a window with a reach, A, nowhere larger than another."""
    sampling = basis.grid.sampling
    sides = [(SIDE - 1) * h + 2 * reach + EDGE + 1.0 for h in basis.spacing]
    shape = [min(fast_length(math.ceil(side / step)), most) for side, step, most in zip(sides, sampling, largest.shape, strict=True)]
    return Grid(shape=(shape[0], shape[1]), extent=(shape[0] * sampling[0], shape[1] * sampling[1]))


def steps(found: list[Stage]) -> list[tuple[int, float]]:
    """Return the points of each window and the steps through slices there, its change from the one before counted as some."""
    return [(math.prod(stage.grid.shape), stage.end - stage.begin + (CHANGE if stage.begin else 0.0)) for stage in found]


def more_bytes(found: list[Stage]) -> int:
    """Return the memory that windows before the last one take for one thread, beside those of a single window, bytes."""
    smaller = sum(wave_memory(stage.grid) + 16 * stage.end * math.prod(stage.grid.shape) for stage in found[:-1])
    return smaller + (len(found) - 1) * wave_memory(found[-1].grid)


def _work(found: list[Stage]) -> float:
    """Return the time of windows in any unit."""
    return sum(count * area * math.log2(area) for area, count in steps(found))


class Functions:
    """The Fourier coefficients of functions in a window at some depth without a specimen, by column."""

    def __init__(self, basis: Basis, setup: "multislice._Setup", depth: float) -> None:
        grid = setup.stack.grid
        beams = np.flatnonzero(basis.shape(grid.k).ravel() > 0)
        beams = beams[np.argsort(setup.slot[beams % grid.shape[1]], kind="stable")]
        values = basis.shape(grid.k.flat[beams]) * setup.propagator(beams, depth) / np.prod(grid.extent)
        self.setup, self.values = setup, values.astype(np.complex64)
        self.beam_y, self.beam_x = np.divmod(beams, grid.shape[1])
        self.columns, self.starts, _ = setup.columns_of(beams)
        self.places = setup.place_y[self.beam_y]

    def enter(self, phases: list[np.ndarray], points: np.ndarray, wave: np.ndarray, line: np.ndarray) -> None:
        """Write sixteen functions with their phases (y, x) into their columns of a batch, parts exchanged; ``points`` is scratch."""
        setup = self.setup
        local_kernels.fill_incident(self.values, self.beam_y, self.beam_x, phases[0], phases[1], points)
        multislice_kernels.enter_waves(wave, points, self.places, self.starts, self.columns, line, setup.plan_y, setup.places_y)


class Change:
    """The change of a batch from one window to the next, behind the last plane of the first one."""

    def __init__(self, basis: Basis, before: "multislice._Setup", after: "multislice._Setup", plane: int) -> None:
        depth = float(before.stack.planes[plane])
        self.before, self.after = Functions(basis, before, depth), Functions(basis, after, depth)
        side = max(after.stack.grid.shape)
        self.places = np.arange(side) * POINT
        self._side = side

    def scratch(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return buffers of one thread: for functions in the larger window, for a row, and for points."""
        after = self.after.setup
        points = max(self.before.values.size, self.after.values.size) * POINT
        return aligned(after.stack.grid.shape[0] * after.pitch * POINT), aligned((self._side + 1) * POINT), aligned(points)

    def carry(
        self, waves: "tuple[multislice._Buffers, multislice._Buffers]", phases: list[list[np.ndarray]], corner: tuple[int, int], scratch: tuple
    ) -> None:
        """Carry a batch over; ``phases`` are those of both windows, ``corner`` is where the first one lies in the second."""
        (small, large), (extra, source, points) = waves, scratch
        before, after = self.before.setup, self.after.setup
        nx, across = before.stack.grid.shape[1], after.stack.grid.shape[1]
        self.before.enter(phases[0], points, extra, small.line)
        local_kernels.add_swapped(small.wave, extra, self.before.columns, before.stack.grid.shape[0], before.pitch, np.float32(-nx))
        local_kernels.widen(
            small.wave, before.pitch, before.reads, large.wave, after.pitch, after.kept.size, after.slot, corner[0], corner[1],
            np.float32(1 / nx), source, large.line, (before.plan_y, before.plan_x), (after.plan_y, after.plan_x), self.places,
        )  # fmt: skip
        self.after.enter(phases[1], points, extra, large.line)
        local_kernels.add_swapped(large.wave, extra, self.after.columns, after.stack.grid.shape[0], after.pitch, np.float32(across))


def window_setup(grid: Grid, stack: SliceStack, planes: np.ndarray) -> "multislice._Setup":
    """Return the tables of a window for a specimen with these planes, whose transmission does not count."""
    empty = SliceStack(
        grid=grid,
        wavelength=stack.wavelength,
        transmission=np.broadcast_to(np.complex64(1), (len(planes), *grid.shape)),
        planes=planes,
        thickness=stack.thickness,
        tilt=stack.tilt,
    )
    return multislice._Setup(empty, (0.0, 0.0))
