"""From atoms to transmission functions, fast: structure factors in SIMD lanes, real transforms, and only the band carried further.

One slice takes these steps; scratch is a half plane of the finer grid and its columns inside the band, per thread.

1. Fourier coefficients of V on the half plane kx >= 0. A phase ramp is a product of one in x and one in y, and the rows ky and -ky share their
   products: with X = exp(-2 pi i kx x), P = sum cos(2 pi ky y) X and Q = sum sin(2 pi ky y) X the rows are P - iQ and P + iQ. Sixteen kx are one
   value (see `lanes`), the sums over atoms stay in registers; no BLAS, whose bits depend on its threads.
2. Columns of the half plane to real space; then some rows at a time, in the cache: V along x, exp(i sigma V), its transform along x, of which the
   columns inside the band are kept.
3. These columns: transform, band limit, transform back on the wave's grid; rows: transform back.

Slices are spread over threads; where there are fewer slices than threads, the parts of a slice are. All parts are cut without regard to the number of
threads, so results do not depend on it.
"""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import scipy.fft

from stemtwin.twin.physics.electrons import POTENTIAL_CONSTANT
from stemtwin.twin.physics.engine import threads as engine_threads
from stemtwin.twin.physics.engine.lanes import LANES, POINT, aligned
from stemtwin.twin.physics.engine.structure import add_structure
from stemtwin.twin.physics.grids import Grid
from stemtwin.twin.physics.scattering_factors import scattering_factor

BLOCK = 64
"""Lines that are treated at once."""
KEPT_POINTS = 2**21
"""Tables of scattering factors with more points than this are not kept from call to call: at most 16 x 8 MB stay in memory."""


class Atoms(NamedTuple):
    """Atoms of one slice.

    Attributes
    ----------
    positions : ndarray
        x, y, A, shape (n, 2) or more columns.
    numbers : ndarray
        Atomic numbers, shape (n,).
    sigma : ndarray, optional
        Debye-Waller damping of each atom, 1-D rms, A.
    """

    positions: np.ndarray
    numbers: np.ndarray
    sigma: np.ndarray | None = None

    def only(self, chosen: np.ndarray) -> "Atoms":
        """Return some of the atoms, by a mask or by indices."""
        return Atoms(self.positions[chosen], self.numbers[chosen], None if self.sigma is None else self.sigma[chosen])


class Recipe(NamedTuple):
    """How a transmission function is made: rad/(V A), the scattering factors' name, and how many times finer the grid is."""

    interaction: float
    parametrization: str
    oversampling: int


# ---- structure factors ---------------------------------------------------------------------------------------------------------------


def _factors(parametrization: str, number: int, shape: tuple[int, int], extent: tuple[float, float]) -> np.ndarray:
    """Return f(k), A, for ky >= 0 and kx >= 0, float32, padded with zeros to whole points along x."""
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


def _ramps(at: np.ndarray, period: float, count: int, sigma: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return cos and sin of 2 pi h x / period, times the Debye-Waller factor along this axis, float32, shape (count, n)."""
    h = np.arange(count)[:, None]
    turns = h * (at / period)
    phase = (2 * np.pi * (turns - np.rint(turns))).astype(np.float32)
    cos, sin = np.cos(phase), np.sin(phase)
    if sigma is not None:
        damping = np.exp(-2 * (np.pi * sigma * (h / period)) ** 2).astype(np.float32)
        cos *= damping
        sin *= damping
    return cos, sin


def coefficients(atoms: Atoms, grid: Grid, parametrization: str, scale: float = 1.0, threads: int = 1) -> np.ndarray:
    """Return the Fourier coefficients of V on the half plane kx >= 0.

    Parameters
    ----------
    atoms, grid, parametrization
        What lies where, on which grid, with which scattering factors.
    scale : float
        What V is multiplied by.
    threads : int
        How many threads at most.

    Returns
    -------
    ndarray
        V A, complex64, shape (ny, nx // 2 + 1), so that their sum with all phases is V: its real part where a Nyquist frequency has one sign only.
    """
    (ny, nx), (period_y, period_x) = grid.shape, grid.extent
    rows, columns = ny // 2 + 1, nx // 2 + 1
    total = np.zeros((ny, -(-columns // LANES) * LANES), np.complex64)
    constant = np.float32(scale * POTENTIAL_CONSTANT / (period_y * period_x))
    for number in np.unique(atoms.numbers).tolist():
        at, _, damping = atoms.only(atoms.numbers == number)
        factor = _factors(parametrization, int(number), (ny, nx), (period_y, period_x))
        cos_y, sin_y = _ramps(at[:, 1], period_y, rows + rows % 2, damping)
        cos_x, sin_x = _ramps(at[:, 0], period_x, total.shape[1], damping)
        corner = constant * factor[-1, columns - 1] * (sin_y[rows - 1] * sin_x[columns - 1]).sum()
        if ny % 2 == 0:  # the real part of V: half of a Nyquist coefficient belongs to the frequency of the other sign
            sin_y[rows - 1] = 0
        if nx % 2 == 0:
            sin_x[columns - 1] = 0
        points = aligned(total.shape[1] * at.shape[0] * 2)
        parts = points.reshape(-1, len(at), 2, LANES)
        parts[:, :, 0] = (constant * cos_x).reshape(-1, LANES, len(at)).transpose(0, 2, 1)
        parts[:, :, 1] = (-constant * sin_x).reshape(-1, LANES, len(at)).transpose(0, 2, 1)

        def add(block: slice, cos_y=cos_y, sin_y=sin_y, points=points, factor=factor) -> None:
            add_structure(total, block.start, block.stop, cos_y, sin_y, points, factor, aligned(4 * POINT))

        each(add, rows, threads)
        if ny % 2 == 0 and nx % 2 == 0:
            total[rows - 1, columns - 1] -= corner  # both frequencies are negative in FFT order: cos(a + b), where the rows gave cos(a) cos(b)
    return total[:, :columns]


def values(half: np.ndarray, shape: tuple[int, int], threads: int = 1) -> np.ndarray:
    """Return the real array that the coefficients of a half plane give, float32, shape (ny, nx). The coefficients are used up."""
    _columns_to_space(half, threads)
    out = np.empty(shape, np.float32)

    def rows(block: slice) -> None:
        out[block] = _real_rows(half[block], shape[1])

    each(rows, shape[0], threads)
    return out


# ---- transmission --------------------------------------------------------------------------------------------------------------------


class Band(NamedTuple):
    """Which coefficients lie inside the band limit of the wave's grid; none of them has a Nyquist frequency.

    Attributes
    ----------
    rows, columns : tuple of int
        How many frequencies >= 0 and < 0 along y and x: the first and the last ones in FFT order, on this grid and on finer ones.
    weights : ndarray
        1 / (number of fine points) inside the band, 0 outside, float32, shape (rows, columns).
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    weights: np.ndarray


@functools.lru_cache(maxsize=4)
def band_of(grid: Grid, fine: tuple[int, int]) -> Band:
    """Return the band of a wave's grid for functions given on ``fine`` points (my, mx)."""
    ky, kx = (k[np.abs(k) < grid.band_limit] for k in (grid.ky, grid.kx))
    inside = np.sqrt(ky[:, None] ** 2 + kx**2) < grid.band_limit
    rows, columns = ((int((k >= 0).sum()), int((k < 0).sum())) for k in (ky, kx))
    return Band(rows, columns, inside * np.float32(1 / (fine[0] * fine[1])))


def cropped(lines: np.ndarray, kept: tuple[int, int], axis: int) -> np.ndarray:
    """Return the first and the last lines or columns."""
    first, last = kept
    lines = lines.swapaxes(0, axis)
    return np.concatenate([lines[:first], lines[len(lines) - last :]]).swapaxes(0, axis)


def _padded(lines: np.ndarray, kept: tuple[int, int], count: int, axis: int) -> np.ndarray:
    """Return what `cropped` made the kept lines or columns of, zeros between them."""
    shape = list(lines.shape)
    shape[axis] = count
    out = np.zeros(shape, lines.dtype)
    first, last = kept
    inside, lines = out.swapaxes(0, axis), lines.swapaxes(0, axis)
    inside[:first], inside[count - last :] = lines[:first], lines[first:]
    return out


def exponential(phase: np.ndarray) -> np.ndarray:
    """Return exp(i phase), complex64, for a float32 phase."""
    out = np.empty(phase.shape, np.complex64)
    out.real, out.imag = np.cos(phase), np.sin(phase)
    return out


def band_limited(read: Callable[[slice], np.ndarray], fine: tuple[int, int], grid: Grid, out: np.ndarray, threads: int = 1) -> None:
    """Write the band-limited part of a complex function that is given on a finer grid.

    Parameters
    ----------
    read : callable
        Takes a slice of rows and returns the function there, complex64, shape (rows, mx); it may be overwritten.
    fine : tuple of int
        Points of the finer grid (my, mx).
    grid : Grid
        The wave's grid.
    out : ndarray
        Takes the result, complex64, shape (ny, nx), contiguous.
    threads : int
        How many threads at most.
    """
    band = band_of(grid, fine)
    part = np.empty((fine[0], sum(band.columns)), np.complex64)

    def along_x(block: slice) -> None:
        line = forward(read(block), 1)
        part[block] = cropped(line, band.columns, 1)

    def write(rows: slice, lines: np.ndarray) -> None:
        out[rows] = lines

    each(along_x, fine[0], threads)
    finish(lambda columns: part[:, columns], band, grid, write, threads)


def finish(read: Callable[[slice], np.ndarray], band: Band, grid: Grid, write: Callable[[slice, np.ndarray], None], threads: int) -> None:
    """Take columns inside the band, in Fourier space along x and on the finer grid along y, to rows of the wave's grid."""
    ny, nx = grid.shape
    coarse = np.empty((ny, sum(band.columns)), np.complex64)

    def along_y(block: slice) -> None:
        column = cropped(forward(read(block), 0), band.rows, 0)
        column *= band.weights[:, block]
        coarse[:, block] = _backward(_padded(column, band.rows, ny, 0), 0)

    def along_x(block: slice) -> None:
        write(block, _backward(_padded(coarse[block], band.columns, nx, 1), 1))

    each(along_y, coarse.shape[1], threads)
    each(along_x, ny, threads)


def _columns_to_space(half: np.ndarray, threads: int) -> None:
    def columns(block: slice) -> None:
        half[:, block] = _backward(half[:, block], 0)

    each(columns, half.shape[1], threads)


def slice_transmission(atoms: Atoms, grid: Grid, recipe: Recipe, out: np.ndarray, threads: int = 1) -> None:
    """Write the band-limited exp(i sigma V) of the atoms of one slice into ``out``, complex64, shape (ny, nx), contiguous."""
    if not len(atoms.positions):
        out[:] = 1
        return
    fine = refined(grid, recipe.oversampling)
    half = coefficients(atoms, fine, recipe.parametrization, recipe.interaction, threads)
    _columns_to_space(half, threads)

    def read(block: slice) -> np.ndarray:
        return exponential(_real_rows(half[block], fine.shape[1]))

    band_limited(read, fine.shape, grid, out, threads)


def refined(grid: Grid, oversampling: int) -> Grid:
    """Return the grid with so many times more points along each axis."""
    return Grid(shape=(oversampling * grid.shape[0], oversampling * grid.shape[1]), extent=grid.extent)


# ---- lines, and lines on threads -----------------------------------------------------------------------------------------------------


def forward(lines: np.ndarray, axis: int) -> np.ndarray:
    """Return the Fourier transforms of lines along an axis; the lines are used up."""
    return np.asarray(scipy.fft.fft(lines, axis=axis, overwrite_x=True))


def _backward(lines: np.ndarray, axis: int) -> np.ndarray:
    """Return the sums of Fourier series along an axis; the lines are used up."""
    return np.asarray(scipy.fft.ifft(lines, axis=axis, norm="forward", overwrite_x=True))


def _real_rows(half: np.ndarray, count: int) -> np.ndarray:
    """Return the sums of real Fourier series along rows, ``count`` points each, from coefficients of the frequencies >= 0."""
    return np.asarray(scipy.fft.irfft(half, n=count, axis=1, norm="forward"))


def _blocks(count: int) -> list[slice]:
    return [slice(begin, min(begin + BLOCK, count)) for begin in range(0, count, BLOCK)]


def each(work: Callable[[slice], None], count: int, threads: int) -> None:
    """Do the work on all blocks of lines."""
    if threads == 1:
        for block in _blocks(count):
            work(block)
        return

    def drawn(queue: Iterator[slice]) -> None:
        for block in queue:
            work(block)

    engine_threads.spread(drawn, _blocks(count), threads=threads)
