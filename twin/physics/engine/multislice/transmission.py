"""Transmission functions of atoms: structure factors in SIMD lanes, real-input Fourier transforms, band-limited intermediate results.

The transmission function exp(i sigma V) of a slice with the projected potential V is computed in three steps. The
first two use a grid finer than the wave's. Each thread holds the finer grid's coefficients with kx >= 0 and the columns
inside the band limit, and reuses this memory from slice to slice.

1. Compute the Fourier coefficients of V on the half plane kx >= 0. A phase ramp is the product of a ramp in x and a ramp
   in y, and the rows ky and -ky share their products: with X = exp(-2 pi i kx x), P = sum cos(2 pi ky y) X and
   Q = sum sin(2 pi ky y) X, the rows are P - iQ and P + iQ. Sixteen kx form one value (see `simd_complex64`), and the
   sums over atoms stay in registers. BLAS is not used, because its results are not bit-identical for all numbers of
   threads.
2. Transform the columns of the half plane to real space. Then treat a few rows at a time, so that they fit into the
   cache: compute V by transforming the rows to real space, compute exp(i sigma V), transform it along x, and keep the
   columns inside the band.
3. Transform these columns, apply the band limit and transform back on the wave's grid; then transform the rows back.

The threads share the slices or, if there are fewer slices than threads, the parts of one slice. The division of a slice
into parts does not depend on the number of threads, and neither do the results.
"""

import functools
import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import scipy.fft

from stemtwin.twin.physics.electrons import POTENTIAL_CONSTANT
from stemtwin.twin.physics.engine.kernels import threads as engine_threads
from stemtwin.twin.physics.engine.kernels.simd_complex64 import LANES, POINT, aligned
from stemtwin.twin.physics.engine.multislice.structure_factors import add_structure
from stemtwin.twin.physics.grids import Grid
from stemtwin.twin.physics.scattering_factors import scattering_factor

BLOCK = 64
"""Number of lines that are transformed together."""
RAMP_POINTS = 2**15
"""Number of points of phase ramps that are computed together."""
KEPT_POINTS = 2**21
"""Largest table of scattering factors, points, that is kept between calls; at most 16 x 8 MB stay in memory."""


class SliceAtoms(NamedTuple):
    """Atoms of one slice.

    Attributes
    ----------
    positions : ndarray
        x, y, A, shape (n, 2); further columns are ignored.
    numbers : ndarray
        Atomic numbers, shape (n,).
    sigma : ndarray, optional
        Thermal displacement of each atom for its Debye-Waller factor, 1-D rms, A.
    """

    positions: np.ndarray
    numbers: np.ndarray
    sigma: np.ndarray | None = None

    def only(self, chosen: np.ndarray) -> "SliceAtoms":
        """Return the atoms selected by a mask or by indices."""
        return SliceAtoms(self.positions[chosen], self.numbers[chosen], None if self.sigma is None else self.sigma[chosen])


class Recipe(NamedTuple):
    """Parameters of a transmission function.

    Attributes
    ----------
    interaction : float
        Interaction constant sigma, rad/(V A).
    parametrization : str
        Name of the parametrization of the scattering factors.
    oversampling : int
        Factor by which exp(i sigma V) is sampled more finely than the wave.
    """

    interaction: float
    parametrization: str
    oversampling: int


class Space:
    """Working memory that one caller reuses from slice to slice, because allocating fresh memory takes as long as the arithmetic."""

    def __init__(self) -> None:
        self._kept: dict[str, np.ndarray] = {}

    def array(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Return the array called ``name``, complex64, of the given shape; its contents are undefined."""
        size = math.prod(shape)
        if name not in self._kept or self._kept[name].size < size:
            self._kept[name] = aligned(2 * size).view(np.complex64)
        return self._kept[name][:size].reshape(shape)


# ---- structure factors ---------------------------------------------------------------------------------------------------------------


def _factors(parametrization: str, number: int, shape: tuple[int, int], extent: tuple[float, float]) -> np.ndarray:
    """Return scattering factors f(k), A, for ky >= 0 and kx >= 0, float32, padded with zeros to whole points along x."""
    if (shape[0] // 2 + 1) * (shape[1] // 2 + 1) > KEPT_POINTS:
        return _make_factors(parametrization, number, shape, extent)
    return _kept_factors(parametrization, number, shape, extent)


def _make_factors(parametrization: str, number: int, shape: tuple[int, int], extent: tuple[float, float]) -> np.ndarray:
    ky, kx = np.arange(shape[0] // 2 + 1) / extent[0], np.arange(shape[1] // 2 + 1) / extent[1]
    table = np.zeros((ky.size, -(-kx.size // LANES) * LANES), np.float32)
    for rows in _blocks(ky.size):
        table[rows, : kx.size] = scattering_factor(parametrization, number, ky[rows, None] ** 2 + kx**2)
    table.flags.writeable = False
    return table


_kept_factors = functools.lru_cache(maxsize=16)(_make_factors)


def _ramps(per_period: np.ndarray, h: np.ndarray, damping: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return cos and sin of 2 pi h x, times exp(-2 (pi h sigma)^2), float32, shape (h, n), for x and sigma in units of the period."""
    turns = h[:, None] * per_period
    turns -= np.rint(turns)
    phase = (2 * np.pi * turns).astype(np.float32)
    cos, sin = np.cos(phase), np.sin(phase)
    if damping is not None:
        factor = np.exp(-2 * (np.pi * (h[:, None] * damping)) ** 2).astype(np.float32)
        cos *= factor
        sin *= factor
    return cos, sin


def coefficients(atoms: SliceAtoms, grid: Grid, parametrization: str, space: Space, scale: float = 1.0, threads: int = 1) -> np.ndarray:
    """Return the Fourier coefficients of the projected potential V on the half plane kx >= 0.

    Parameters
    ----------
    atoms : SliceAtoms
        Atoms of the slice.
    grid : Grid
        Grid of the potential.
    parametrization : str
        Name of the parametrization of the scattering factors.
    space : Space
        Working memory; it holds the result until the next call.
    scale : float
        Factor of V.
    threads : int
        Largest number of threads.

    Returns
    -------
    ndarray
        Coefficients, V A, complex64, shape (ny, nx // 2 + 1). V is their Fourier series, or the real part of this series
        if a side has an even number of points, because the grid then has only one of the two Nyquist frequencies.
    """
    columns = grid.shape[1] // 2 + 1
    total = space.array("half plane", (grid.shape[0], -(-columns // LANES) * LANES))
    total[:] = 0
    for number in np.unique(atoms.numbers).tolist():
        factor = _factors(parametrization, int(number), grid.shape, grid.extent)
        _add_element(total, atoms.only(atoms.numbers == number), grid, factor, scale, threads)
    return total[:, :columns]


def _add_element(total: np.ndarray, atoms: SliceAtoms, grid: Grid, factor: np.ndarray, scale: float, threads: int) -> None:
    """Add the coefficients of atoms with one scattering factor to a half plane, which is padded to whole points."""
    (ny, nx), (period_y, period_x) = grid.shape, grid.extent
    rows, columns, points, count = ny // 2 + 1, nx // 2 + 1, total.shape[1] // LANES, len(atoms.positions)
    constant = np.float32(scale * POTENTIAL_CONSTANT / (period_y * period_x))
    x, y = atoms.positions[:, 0] / period_x, atoms.positions[:, 1] / period_y
    damping_x, damping_y = (None, None) if atoms.sigma is None else (atoms.sigma / period_x, atoms.sigma / period_y)
    cos_y, sin_y = np.empty((2, rows + rows % 2, count), np.float32)
    along_x = aligned(points * count * POINT)
    parts = along_x.reshape(points, count, 2, LANES)

    def ramp_y(block: slice) -> None:
        cos_y[block], sin_y[block] = _ramps(y, np.arange(block.start, block.stop), damping_y)

    def ramp_x(block: slice) -> None:
        ramps = _ramps(x, np.arange(block.start * LANES, block.stop * LANES), damping_x)
        for half, sign in enumerate((constant, -constant)):
            parts[block, :, half] = (sign * ramps[half]).reshape(-1, LANES, count).transpose(0, 2, 1)

    def add(block: slice) -> None:
        add_structure(total.view(np.float32).ravel(), ny, block.start, block.stop, cos_y, sin_y, along_x, factor.ravel())

    size = -(-RAMP_POINTS // count)
    each(ramp_y, len(cos_y), threads, size)
    each(ramp_x, points, threads, -(-size // LANES))
    last_sin_x = parts[(columns - 1) // LANES, :, 1, (columns - 1) % LANES]
    corner = factor[-1, columns - 1] * (sin_y[rows - 1] * last_sin_x).sum()
    if ny % 2 == 0:  # the real part of V: half of a Nyquist coefficient belongs to the frequency of the other sign
        sin_y[rows - 1] = 0
    if nx % 2 == 0:
        last_sin_x[:] = 0
    each(add, rows, threads)
    if ny % 2 == 0 and nx % 2 == 0:
        total[rows - 1, columns - 1] += corner  # both frequencies are negative in FFT order: cos(a + b), not cos(a) cos(b) as in the rows


def values(half: np.ndarray, shape: tuple[int, int], threads: int = 1) -> np.ndarray:
    """Return the real Fourier series of half-plane coefficients, float32, shape (ny, nx); the coefficients are overwritten."""
    _columns_to_space(half, threads)
    out = np.empty(shape, np.float32)

    def rows(block: slice) -> None:
        out[block] = _real_rows(half[block], shape[1])

    each(rows, shape[0], threads)
    return out


# ---- transmission --------------------------------------------------------------------------------------------------------------------


class Band(NamedTuple):
    """Numbers and weights of the Fourier coefficients inside the band limit of the wave's grid.

    The band excludes Nyquist frequencies.

    Attributes
    ----------
    rows, columns : tuple of int
        Numbers of frequencies >= 0 and < 0 along y and x. On the wave's grid and on finer grids, the frequencies >= 0
        come first and those < 0 come last, in FFT order.
    weights : ndarray
        1/N inside the band, for a function sampled on N points of a finer grid; 0 outside the band. float32, shape
        (sum(rows), sum(columns)).
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    weights: np.ndarray


@functools.lru_cache(maxsize=4)
def band_of(grid: Grid, fine: tuple[int, int]) -> Band:
    """Return the :class:`Band` of a wave's grid, with the weights for functions that are sampled on ``fine`` points (my, mx)."""
    ky, kx = (k[np.abs(k) < grid.band_limit] for k in (grid.ky, grid.kx))
    inside = np.sqrt(ky[:, None] ** 2 + kx**2) < grid.band_limit
    rows, columns = ((int((k >= 0).sum()), int((k < 0).sum())) for k in (ky, kx))
    return Band(rows, columns, inside * np.float32(1 / (fine[0] * fine[1])))


def ends(kept: tuple[int, int], count: int) -> tuple[slice, slice]:
    """Return the slices of the first ``kept[0]`` and the last ``kept[1]`` of ``count`` coefficients."""
    first, last = kept
    return slice(first), slice(count - last, count)


def crop(lines: np.ndarray, kept: tuple[int, int], out: np.ndarray) -> None:
    """Copy the first and the last columns of ``lines``, side by side."""
    for of, to in zip(ends(kept, lines.shape[1]), ends(kept, out.shape[1]), strict=True):
        out[:, to] = lines[:, of]


def exponential(phase: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Return ``out``, complex64, filled with exp(i phase) for a float32 phase."""
    parts = out.view(np.float32).reshape(*out.shape, 2)
    np.cos(phase, out=parts[..., 0])
    np.sin(phase, out=parts[..., 1])
    return out


def band_limited(
    read: Callable[[slice, np.ndarray], None],
    fine: tuple[int, int],
    grid: Grid,
    out: np.ndarray,
    space: Space,
    threads: int = 1,
) -> None:
    """Compute the band-limited part of a complex function that is sampled on a finer grid.

    Parameters
    ----------
    read : callable
        Takes a slice of rows and an array, complex64, shape (rows, mx), and fills the array with these rows of the function.
    fine : tuple of int
        Points of the finer grid (my, mx).
    grid : Grid
        The wave's grid.
    out : ndarray
        Output array, complex64, shape (ny, nx), contiguous.
    space : Space
        Working memory.
    threads : int
        Largest number of threads.
    """
    band = band_of(grid, fine)
    part = space.array("columns in the band", (fine[0], sum(band.columns)))

    def along_x(block: slice, scratch: np.ndarray) -> None:
        lines = scratch.reshape(-1, fine[1])
        read(block, lines)
        crop(forward(lines, 1), band.columns, part[block])

    def write(rows: slice, lines: np.ndarray) -> None:
        out[rows] = lines

    each_in_space(along_x, fine[0], fine[1], space, threads)
    finish(lambda columns: part[:, columns], band, grid, write, space, threads)


def finish(
    read: Callable[[slice], np.ndarray],
    band: Band,
    grid: Grid,
    write: Callable[[slice, np.ndarray], None],
    space: Space,
    threads: int,
) -> None:
    """Apply the band limit to columns of the finer grid, and transform them to rows of the wave's grid in real space.

    The columns from ``read`` are in real space along y and in Fourier space along x, inside the band along x. They are
    Fourier transformed along y, cut to the band, and transformed back along y and then along x.
    """
    ny, nx = grid.shape
    coarse = space.array("columns of the wave's grid", (ny, sum(band.columns)))

    def along_y(block: slice, scratch: np.ndarray) -> None:
        columns = forward(read(block), 0)
        kept = scratch.reshape(ny, -1)
        kept[band.rows[0] : ny - band.rows[1]] = 0
        weights = band.weights[:, block]
        for of, to, by in zip(ends(band.rows, len(columns)), ends(band.rows, ny), ends(band.rows, len(weights)), strict=True):
            np.multiply(columns[of], weights[by], out=kept[to])
        coarse[:, block] = _backward(kept, 0)

    def along_x(block: slice, scratch: np.ndarray) -> None:
        lines = scratch.reshape(-1, nx)
        lines[:, band.columns[0] : nx - band.columns[1]] = 0
        for of, to in zip(ends(band.columns, coarse.shape[1]), ends(band.columns, nx), strict=True):
            lines[:, to] = coarse[block, of]
        write(block, _backward(lines, 1))

    each_in_space(along_y, coarse.shape[1], ny, space, threads)
    each_in_space(along_x, ny, nx, space, threads)


def _columns_to_space(half: np.ndarray, threads: int) -> None:
    def columns(block: slice) -> None:
        half[:, block] = _backward(half[:, block], 0)

    each(columns, half.shape[1], threads)


def slice_transmission(atoms: SliceAtoms, grid: Grid, recipe: Recipe, out: np.ndarray, space: Space, threads: int = 1) -> None:
    """Compute the band-limited exp(i sigma V) of the atoms of one slice into ``out``, complex64, shape (ny, nx), contiguous."""
    if not len(atoms.positions):
        out[:] = 1
        return
    fine = refined(grid, recipe.oversampling)
    half = coefficients(atoms, fine, recipe.parametrization, space, recipe.interaction, threads)
    _columns_to_space(half, threads)

    def read(block: slice, lines: np.ndarray) -> None:
        exponential(_real_rows(half[block], fine.shape[1]), lines)

    band_limited(read, fine.shape, grid, out, space, threads)


def refined(grid: Grid, oversampling: int) -> Grid:
    """Return the grid with ``oversampling`` times as many points along each axis."""
    return Grid(shape=(oversampling * grid.shape[0], oversampling * grid.shape[1]), extent=grid.extent)


# ---- transforms of lines, and their distribution over threads ------------------------------------------------------------------------


def forward(lines: np.ndarray, axis: int) -> np.ndarray:
    """Return the Fourier transforms of lines along an axis; the lines may be overwritten."""
    return np.asarray(scipy.fft.fft(lines, axis=axis, overwrite_x=True))


def _backward(lines: np.ndarray, axis: int) -> np.ndarray:
    """Return the sums of Fourier series along an axis; the lines may be overwritten."""
    return np.asarray(scipy.fft.ifft(lines, axis=axis, norm="forward", overwrite_x=True))


def _real_rows(half: np.ndarray, count: int) -> np.ndarray:
    """Return the sums of real Fourier series along rows, ``count`` points each, from coefficients of the frequencies >= 0."""
    return np.asarray(scipy.fft.irfft(half, n=count, axis=1, norm="forward"))


def _blocks(count: int, size: int = BLOCK) -> list[slice]:
    return [slice(begin, min(begin + size, count)) for begin in range(0, count, size)]


def each(work: Callable[[slice], None], count: int, threads: int, size: int = BLOCK) -> None:
    """Call ``work`` for all blocks of ``size`` lines, on at most ``threads`` threads."""

    def drawn(queue: Iterable[slice]) -> None:
        for block in queue:
            work(block)

    _on_threads(drawn, _blocks(count, size), threads)


def each_in_space(work: Callable[[slice, np.ndarray], None], count: int, points: int, space: Space, threads: int) -> None:
    """Call ``work`` for all blocks of lines, each with an uncleared flat complex64 array of ``points`` elements per line."""

    def drawn(queue: Iterable[slice]) -> None:
        lines = (space if threads == 1 else Space()).array("lines", (BLOCK * points,))
        for block in queue:
            work(block, lines[: (block.stop - block.start) * points])

    _on_threads(drawn, _blocks(count), threads)


def _on_threads(drawn: Callable[[Iterable[slice]], None], blocks: list[slice], threads: int) -> None:
    if threads == 1:
        drawn(blocks)
    else:
        engine_threads.spread(drawn, blocks, threads=threads)
