r"""The imaging operator: one Hermitian matrix per detector, built once per specimen, gives the exact image for any optics.

.. math::

    a_k(r) = c_k e^{-i\chi_k} e^{-2\pi i k r} / \mathrm{norm}, \qquad
    I(r) = \sum_q D_q \Big|\sum_k a_k(r) S_{kq}\Big|^2 = \sum_{k k'} \bar a_k(r) a_{k'}(r) M_{k k'}, \qquad M = \bar S_D S_D^T

S_kq is the exit amplitude at q for an incident plane wave k. Thermal scattering: M is averaged over frozen-phonon configurations. The pairs
(k, k') are stored by their difference h = k' - k, so that each Fourier coefficient of the image is one contiguous sum. Focal spread multiplies M,
a finite source the image's coefficients; both are exact.

A probe wider than the periodic cell needs no larger cell: the aperture is sampled n times finer, k = G / L + j / (n L); plane waves of different
offset j never interfere on the detector, so there are n^2 independent blocks, each from multislice on the same small grid.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.fft
from scipy.ndimage import map_coordinates
from threadpoolctl import threadpool_limits

from stemtwin.twin.errors import SamplingError
from stemtwin.twin.physics import coherence, probe
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.engine import forms, threads
from stemtwin.twin.physics.engine.multislice import SliceStack, exit_coefficients
from stemtwin.twin.physics.grids import Grid

PANEL = 128
"""Rows of M that one task multiplies; fixed, so that the bits do not depend on the number of threads."""
SPLINE_OVERSAMPLING = 6
"""Points read off a path come from the image sampled so many times finer than needed, by a quintic spline (error below 1e-6)."""

Weights = Callable[[np.ndarray, np.ndarray, tuple[float, float]], np.ndarray]
"""Detector weights (channels, ...) of reciprocal pixels: a function of ky, kx (1/A) and the pixel's sides."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """The plane waves of one offset.

    ``beams`` are their flat indices on the grid, ``hy, hx`` their integer indices (k = (h + offset) / L), shape (B,); ``first, second, starts``
    list the pairs by difference; ``differences`` are the integer differences, shape (n, 2) as (hy, hx), on the half plane hy > 0 or hy = 0, hx >= 0.
    """

    offset: tuple[float, float]
    beams: np.ndarray
    hy: np.ndarray
    hx: np.ndarray
    first: np.ndarray
    second: np.ndarray
    starts: np.ndarray
    differences: np.ndarray


def window_blocks(extent: tuple[float, float], window: float) -> tuple[int, int]:
    """Return into how many offset blocks (ny, nx) a probe window of a given side, A, divides on a periodic cell."""
    return tuple(max(1, math.ceil(window / side - 1e-9)) for side in extent)  # type: ignore[return-value]


def block_offsets(blocks: tuple[int, int]) -> Iterator[tuple[float, float]]:
    """Iterate over the offsets (jy / ny, jx / nx) of all blocks, in reciprocal pixels of the cell, centred on 0."""
    for jy, jx in itertools.product(range(blocks[0]), range(blocks[1])):
        yield (jy - blocks[0] // 2) / blocks[0], (jx - blocks[1] // 2) / blocks[1]


def block_pixel(extent: tuple[float, float], blocks: tuple[int, int]) -> tuple[float, float]:
    """Return the sides (dky, dkx) of the reciprocal pixel of the whole window, 1/A."""
    return 1 / (extent[0] * blocks[0]), 1 / (extent[1] * blocks[1])


def aperture_beams(
    grid: Grid, wavelength: float, semiangle: float, offset: tuple[float, float], blocks: tuple[int, int], *, antialias: bool
) -> np.ndarray:
    """Return the flat indices of the Fourier coefficients that the aperture touches, for one offset block.

    Raises
    ------
    SamplingError
        The aperture reaches beyond the band limit.
    """
    pixel = block_pixel(grid.extent, blocks)
    radius = semiangle / wavelength
    ky, kx = grid.ky + offset[0] / grid.extent[0], grid.kx + offset[1] / grid.extent[1]
    touched = probe.aperture(ky[:, None], kx, pixel, radius, antialias=antialias) > 0
    beyond = touched & (np.hypot(ky[:, None], kx) >= grid.band_limit)
    if beyond.any():
        message = (
            f"A convergence of {semiangle * 1e3:g} mrad reaches beyond the grid's band limit ({grid.max_angle(wavelength) * 1e3:.1f} mrad). "
            "Use a finer sampling or a smaller convergence."
        )
        raise SamplingError(message)
    return np.flatnonzero(touched)


def _pairs(hy: np.ndarray, hx: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """List all pairs (i, j) with h_j - h_i on the half plane, sorted by that difference."""
    dy, dx = hy[None, :] - hy[:, None], hx[None, :] - hx[:, None]
    first, second = np.nonzero((dy > 0) | ((dy == 0) & (dx >= 0)))
    dy, dx = dy[first, second], dx[first, second]
    width = 2 * int(np.abs(dx).max(initial=0)) + 1
    key = dy.astype(np.int64) * width + dx
    order = np.argsort(key, kind="stable")
    first, second, key = first[order], second[order], key[order]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(key)) + 1, [key.size]])
    differences = np.column_stack([dy[order][starts[:-1]], dx[order][starts[:-1]]])
    return first.astype(np.int32), second.astype(np.int32), starts.astype(np.int64), differences


def make_block(grid: Grid, beams: np.ndarray, offset: tuple[float, float]) -> Block:
    """Return the block of given beams (flat indices)."""
    ny, nx = grid.shape
    hy, hx = beams // nx, beams % nx
    hy, hx = np.where(hy >= (ny + 1) // 2, hy - ny, hy), np.where(hx >= (nx + 1) // 2, hx - nx, hx)
    first, second, starts, differences = _pairs(hy, hx)
    return Block(offset=offset, beams=beams, hy=hy, hx=hx, first=first, second=second, starts=starts, differences=differences)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageCoefficients:
    """A band-limited periodic image per channel: I(r) = Re sum_h C_h exp(-2 pi i h.r / L), hy >= 0.

    Parameters
    ----------
    coefficients : ndarray
        complex128, shape (channels, my + 1, 2 mx + 1): hy = 0..my, hx = -mx..mx; the half plane's coefficients are doubled already.
    extent : tuple of float
        Period (Ly, Lx), A.
    """

    coefficients: np.ndarray
    extent: tuple[float, float]

    def raster(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return the image on a rectangular raster of positions y (ny,) and x (nx,), A, float32, shape (channels, ny, nx)."""
        _, rows, columns = self.coefficients.shape
        mx = columns // 2
        phase_y = np.exp(-2j * np.pi / self.extent[0] * np.outer(np.asarray(y, float), np.arange(rows)))
        phase_x = np.exp(-2j * np.pi / self.extent[1] * np.outer(np.arange(-mx, mx + 1), np.asarray(x, float)))
        return forms.raster(self.coefficients, phase_y, phase_x)

    def fine(self) -> np.ndarray:
        """Return the image sampled finely over one period, float64, shape (channels, ny, nx)."""
        channels, rows, columns = self.coefficients.shape
        mx = columns // 2
        ny = scipy.fft.next_fast_len(SPLINE_OVERSAMPLING * (2 * rows - 1), real=True)
        nx = scipy.fft.next_fast_len(SPLINE_OVERSAMPLING * columns, real=True)
        full = np.zeros((channels, ny, nx), np.complex128)
        hx = np.arange(-mx, mx + 1) % nx
        full[:, :rows, hx] = self.coefficients
        return scipy.fft.fft2(full).real  # exp(-2 pi i h.r / L) is the forward transform

    def at(self, points: np.ndarray) -> np.ndarray:
        """Return the image at points (x, y), A, shape (..., 2), as float32, shape (channels, ...)."""
        points = np.asarray(points, float)
        fine = self.fine()
        ny, nx = fine.shape[1:]
        where = np.stack([points[..., 1].ravel() / self.extent[0] % 1 * ny, points[..., 0].ravel() / self.extent[1] % 1 * nx])
        out = [map_coordinates(channel, where, order=5, mode="grid-wrap") for channel in fine]
        return np.stack(out).astype(np.float32).reshape(len(fine), *points.shape[:-1])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImagingOperator:
    """Quadratic forms of one specimen, energy and set of detector channels; see the module's text.

    Parameters
    ----------
    grid : Grid
        The multislice grid.
    wavelength, semiangle : float
        A; the convergence built for, rad: images for up to that.
    blocks : tuple of int
        Offset blocks (ny, nx).
    antialias : bool
        Whether apertures are covered fractions.
    parts : tuple of Block
        One per offset.
    matrices : tuple of ndarray
        Real and imaginary part of M in the order of each block's pairs, float32, shape (channels, 2, pairs); differences other than 0 count twice.
    diagonals : tuple of ndarray
        M_kk, float64, shape (channels, B).
    standard_error : ndarray
        Per channel: rms over the cell of the standard error over phonon configurations, divided by the mean signal, in focus (nan for one).
    """

    grid: Grid
    wavelength: float
    semiangle: float
    blocks: tuple[int, int]
    antialias: bool
    parts: tuple[Block, ...]
    matrices: tuple[np.ndarray, ...]
    diagonals: tuple[np.ndarray, ...]
    standard_error: np.ndarray
    _damped: dict[float, tuple[np.ndarray, ...]] = field(default_factory=dict)

    @property
    def beams(self) -> int:
        """Number of plane waves over all blocks."""
        return sum(part.hy.size for part in self.parts)

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        matrices = [*self.matrices, *itertools.chain.from_iterable(list(self._damped.values()))]
        return sum(m.nbytes for m in matrices) + sum(p.first.nbytes + p.second.nbytes for p in self.parts)

    def image(
        self, aberrations: Aberrations, *, semiangle: float | None = None, source_size: float = 0.0, focal_spread: float = 0.0
    ) -> ImageCoefficients:
        """Return the image for one state of the optics.

        Parameters
        ----------
        aberrations : Aberrations
            Coefficients, A and rad.
        semiangle : float, optional
            Convergence, rad, at most the one built for (the default).
        source_size, focal_spread : float
            Standard deviations, A.

        Raises
        ------
        SamplingError
            The convergence is larger than the one built for.
        """
        semiangle = self.semiangle if semiangle is None else semiangle
        if semiangle > self.semiangle * (1 + 1e-12):
            message = f"This operator was built for {self.semiangle * 1e3:g} mrad, not for {semiangle * 1e3:g}. Build one for the larger convergence."
            raise SamplingError(message)
        channels = len(self.standard_error)
        my = max(int(part.differences[:, 0].max()) for part in self.parts)
        mx = max(int(np.abs(part.differences[:, 1]).max()) for part in self.parts)
        total = np.zeros((channels, my + 1, 2 * mx + 1), np.complex128)
        norm, tails = 0.0, np.zeros(channels)
        for part, matrix, diagonal in zip(self.parts, self._with_focal_spread(focal_spread), self.diagonals, strict=True):
            a = self._amplitudes(part, aberrations, semiangle)
            weight = np.abs(a) ** 2
            norm += float(weight.sum())
            tails += diagonal @ weight
            values = forms.quadratic_form(a, matrix, part.first, part.second, part.starts)
            total[:, part.differences[:, 0], part.differences[:, 1] + mx] += values
        if self.antialias:  # the probe's tails beyond the window see the specimen's mean
            total[:, 0, mx] += (1 - norm) * tails / norm
        else:
            total /= norm
        if source_size:
            qy, qx = np.arange(my + 1)[:, None] / self.grid.extent[0], np.arange(-mx, mx + 1) / self.grid.extent[1]
            total *= coherence.source_factor(source_size, qy, qx)
        return ImageCoefficients(coefficients=total, extent=self.grid.extent)

    def _amplitudes(self, part: Block, aberrations: Aberrations, semiangle: float) -> np.ndarray:
        ky, kx = (part.hy + part.offset[0]) / self.grid.extent[0], (part.hx + part.offset[1]) / self.grid.extent[1]
        pixel = block_pixel(self.grid.extent, self.blocks)
        if self.antialias:
            return probe.amplitudes(ky, kx, pixel, self.wavelength, semiangle, aberrations)
        weight = probe.aperture(ky, kx, pixel, semiangle / self.wavelength, antialias=False)
        return weight * np.exp(-1j * probe.chi(aberrations, ky, kx, self.wavelength))

    def _with_focal_spread(self, focal_spread: float) -> tuple[np.ndarray, ...]:
        if not focal_spread:
            return self.matrices
        found = self._damped.get(focal_spread)
        if found is None:
            damped = []
            for part, matrix in zip(self.parts, self.matrices, strict=True):
                k2 = ((part.hy + part.offset[0]) / self.grid.extent[0]) ** 2 + ((part.hx + part.offset[1]) / self.grid.extent[1]) ** 2
                factor = coherence.focal_factor(focal_spread, self.wavelength, k2[part.first] - k2[part.second])
                damped.append(matrix * factor.astype(np.float32))
            found = tuple(damped)
            for old in list(self._damped)[:-1]:  # the last two states are kept
                self._damped.pop(old, None)
            self._damped[focal_spread] = found
        return found


def build(
    stacks: Iterator[SliceStack],
    semiangle: float,
    weights: Weights,
    *,
    blocks: tuple[int, int] = (1, 1),
    antialias: bool = True,
    progress: Callable[[int], None] | None = None,
) -> ImagingOperator:
    """Build the operator of a specimen.

    Parameters
    ----------
    stacks : iterator of SliceStack
        One per frozen-phonon configuration, all on one grid; M is their mean.
    semiangle : float
        Largest convergence semi-angle that images will have, rad.
    weights : callable
        Detector weights, all channels, of reciprocal pixels.
    blocks : tuple of int
        Offset blocks (ny, nx), see :func:`window_blocks`.
    antialias : bool
        Covered fractions at the aperture's edge.
    progress : callable, optional
        Called with the number of plane waves done.

    Returns
    -------
    ImagingOperator
        The operator.
    """
    parts: list[Block] = []
    sums: list[np.ndarray] = []
    diagonals: list[np.ndarray] = []
    reference: list[np.ndarray] = []
    grid, wavelength = None, 0.0
    for stack in stacks:
        if grid is None:
            grid, wavelength = stack.grid, stack.wavelength
            parts = _make_blocks(grid, wavelength, semiangle, blocks, antialias)
        singles, single_diagonals = [], []
        for part in parts:
            ky, kx = grid.ky + part.offset[0] / grid.extent[0], grid.kx + part.offset[1] / grid.extent[1]
            detector = weights(ky[:, None], kx, block_pixel(grid.extent, blocks))
            pairs, diagonal = _gram(stack, detector, part)
            singles.append(pairs)
            single_diagonals.append(diagonal)
            if progress is not None:
                progress(part.beams.size)
        sums = singles if not sums else [a + b for a, b in zip(sums, singles, strict=True)]
        diagonals = single_diagonals if not diagonals else [a + b for a, b in zip(diagonals, single_diagonals, strict=True)]
        one = _operator(grid, wavelength, semiangle, blocks, antialias, parts, singles, single_diagonals, 1, np.zeros(len(detector)))
        reference.append(_probe_image(one))
    if grid is None:
        message = "An operator needs at least one configuration of the specimen. Give one stack of slices or more."
        raise SamplingError(message)
    count = len(reference)
    images = np.array(reference)  # (configurations, channels, points)
    error = np.full(images.shape[1], np.nan)
    if count > 1:
        error = np.sqrt((images.var(axis=0, ddof=1) / count).mean(-1)) / np.maximum(images.mean(axis=(0, 2)), 1e-30)
    return _operator(grid, wavelength, semiangle, blocks, antialias, parts, sums, diagonals, count, error)


def _make_blocks(grid: Grid, wavelength: float, semiangle: float, blocks: tuple[int, int], antialias: bool) -> list[Block]:
    """Return the blocks that have beams: where the aperture is small, not all offsets fall into it."""
    pairs = ((offset, aperture_beams(grid, wavelength, semiangle, offset, blocks, antialias=antialias)) for offset in block_offsets(blocks))
    return [make_block(grid, beams, offset) for offset, beams in pairs if beams.size]


def _operator(
    grid: Grid,
    wavelength: float,
    semiangle: float,
    blocks: tuple[int, int],
    antialias: bool,
    parts: Sequence[Block],
    sums: Sequence[np.ndarray],
    diagonals: Sequence[np.ndarray],
    count: int,
    error: np.ndarray,
) -> ImagingOperator:
    return ImagingOperator(
        grid=grid,
        wavelength=wavelength,
        semiangle=semiangle,
        blocks=blocks,
        antialias=antialias,
        parts=tuple(parts),
        matrices=tuple((s / np.float32(count)) for s in sums),
        diagonals=tuple(d / count for d in diagonals),
        standard_error=error,
    )


def _probe_image(operator: ImagingOperator, points: int = 24) -> np.ndarray:
    image = operator.image(Aberrations())
    y, x = np.arange(points) / points * operator.grid.extent[0], np.arange(points) / points * operator.grid.extent[1]
    return image.raster(y, x).reshape(len(image.coefficients), -1)


def _gram(stack: SliceStack, detector: np.ndarray, part: Block) -> tuple[np.ndarray, np.ndarray]:
    """Return M of every channel in the order of the block's pairs (doubled off the difference 0), and its diagonal."""
    flat, beams = detector.reshape(len(detector), -1), part.beams
    seen = np.flatnonzero(flat.any(axis=0))
    waves = exit_coefficients(stack, beams, np.eye(beams.size, dtype=np.complex64), seen, offset=part.offset)
    pairs = np.empty((len(detector), 2, part.first.size), np.float32)
    diagonal = np.empty((len(detector), beams.size))
    double = np.where(np.arange(part.first.size) < part.starts[1], 1, 2).astype(np.float32)
    low, high = np.minimum(part.first, part.second), np.maximum(part.first, part.second)
    sign = np.where(part.first > part.second, -1, 1).astype(np.float32)  # M is Hermitian: only its upper triangle is multiplied out
    for channel, weight in enumerate(flat):
        inside = np.flatnonzero(weight[seen])
        scattered = waves if len(flat) == 1 else waves[:, inside]
        scattered *= np.sqrt(weight[seen][inside])
        matrix = _upper_gram(scattered)
        chosen = matrix[low, high] * double
        pairs[channel] = chosen.real, sign * chosen.imag
        diagonal[channel] = matrix.diagonal().real
    return pairs, diagonal


def _upper_gram(scattered: np.ndarray) -> np.ndarray:
    """Return conj(S) S^T of rows S_k, its upper triangle at least; panels of rows, each by BLAS on one thread: the same bits for any number of threads."""
    matrix = np.zeros((len(scattered), len(scattered)), np.complex64)

    def work(starts: Iterator[int]) -> None:
        for start in starts:
            panel = slice(start, start + PANEL)
            np.matmul(scattered[panel].conj(), scattered[start:].T, out=matrix[panel, start:])

    with threadpool_limits(1, user_api="blas"):
        threads.spread(work, range(0, len(scattered), PANEL))
    return matrix
