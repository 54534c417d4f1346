"""Windows of a local operator that grow with depth: waves spread with depth, so the first slices need only small windows.

Behind the last plane of a window, its waves are transferred to the next, larger window. Each wave is the sum of a
scattered wave and an unscattered wave, which is a basis function after propagation through vacuum. The tails of the
unscattered wave wrap around the small window. The unscattered wave is therefore subtracted, the scattered wave is padded
with zeros, and the unscattered wave computed in the large window is added.
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
"""Typical time of the transfer to a window, in units of one step through a slice in that window."""


class Stage(NamedTuple):
    """A window for a range of planes.

    Attributes
    ----------
    grid : Grid
        Grid of the window.
    begin, end : int
        First plane, and the plane after the last.
    reach : float
        Width of the margin of specimen around the lattice points, A.
    """

    grid: Grid
    begin: int
    end: int
    reach: float


def stages(basis: Basis, planes: np.ndarray, last: Grid) -> list[Stage]:
    """Return the sequence of windows, from the first plane to the last, that takes the least time; the last window has the grid ``last``."""
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
    """Return the grid of a window with a given reach, A, along no axis larger than ``largest``."""
    sampling = basis.grid.sampling
    sides = [(SIDE - 1) * h + 2 * reach + EDGE + 1.0 for h in basis.spacing]
    shape = [min(fast_length(math.ceil(side / step)), most) for side, step, most in zip(sides, sampling, largest.shape, strict=True)]
    return Grid(shape=(shape[0], shape[1]), extent=(shape[0] * sampling[0], shape[1] * sampling[1]))


def steps(found: list[Stage]) -> list[tuple[int, float]]:
    """Return the number of points and of slice steps of each window; the transfer to a window counts as additional steps."""
    return [(math.prod(stage.grid.shape), stage.end - stage.begin + (CHANGE if stage.begin else 0.0)) for stage in found]


def more_bytes(found: list[Stage]) -> int:
    """Return the additional memory per thread of growing windows compared with a single window, bytes."""
    smaller = sum(wave_memory(stage.grid) + 16 * stage.end * math.prod(stage.grid.shape) for stage in found[:-1])
    return smaller + (len(found) - 1) * wave_memory(found[-1].grid)


def _work(found: list[Stage]) -> float:
    """Return the relative time of a sequence of windows, in arbitrary units."""
    return sum(count * area * math.log2(area) for area, count in steps(found))


class Functions:
    """Fourier coefficients of the basis functions on the grid of a window, after propagation through vacuum to a given depth.

    The coefficients are sorted by the columns of the grid.
    """

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
        """Write sixteen basis functions to the batch of waves ``wave``, with real and imaginary parts exchanged.

        ``phases`` are the phase factors along y and along x that shift the functions to their positions. ``points`` and ``line``
        are scratch memory.
        """
        setup = self.setup
        local_kernels.fill_incident(self.values, self.beam_y, self.beam_x, phases[0], phases[1], points)
        multislice_kernels.enter_waves(wave, points, self.places, self.starts, self.columns, line, setup.plan_y, setup.places_y)


class Change:
    """The transfer of a batch from one window to the next, behind the last plane of the first window."""

    def __init__(self, basis: Basis, before: "multislice._Setup", after: "multislice._Setup", plane: int) -> None:
        depth = float(before.stack.planes[plane])
        self.before, self.after = Functions(basis, before, depth), Functions(basis, after, depth)
        side = max(after.stack.grid.shape)
        self.places = np.arange(side) * POINT
        self._side = side

    def scratch(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return three buffers for one thread, the argument ``scratch`` of :meth:`carry`.

        The first is for the unscattered waves, the second for one row of the larger window, and the third for the Fourier
        coefficients of the basis functions.
        """
        after = self.after.setup
        points = max(self.before.values.size, self.after.values.size) * POINT
        return aligned(after.stack.grid.shape[0] * after.pitch * POINT), aligned((self._side + 1) * POINT), aligned(points)

    def carry(
        self, waves: "tuple[multislice._Buffers, multislice._Buffers]", phases: list[list[np.ndarray]], corner: tuple[int, int], scratch: tuple
    ) -> None:
        """Transfer a batch of waves from the smaller to the larger window.

        ``phases`` are the phase factors of the basis functions in the smaller and in the larger window. ``corner`` is the
        row and the column of the larger window at which the smaller window begins.
        """
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
    """Return the multislice tables of a window, such as propagators, for planes at the depths ``planes``, A.

    ``stack`` supplies only the wavelength, the thickness and the tilt; its planes and its transmission are not used.
    """
    empty = SliceStack(
        grid=grid,
        wavelength=stack.wavelength,
        transmission=np.broadcast_to(np.complex64(1), (len(planes), *grid.shape)),
        planes=planes,
        thickness=stack.thickness,
        tilt=stack.tilt,
    )
    return multislice._Setup(empty, (0.0, 0.0))
