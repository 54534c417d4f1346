"""Blocks of plane waves inside an aperture: one block for a periodic cell, several for a probe wider than the cell.

A probe wider than the periodic cell of side L does not need a larger cell. Instead, the aperture is sampled n times more
finely, at k = G / L + j / (n L) with integers G and offsets j. Plane waves of different offsets never interfere on the
detector, so there are n^2 independent blocks. Each block is computed by multislice on the same small grid.
"""

import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stemtwin.twin.errors import SamplingError
from stemtwin.twin.physics import probe
from stemtwin.twin.physics.aberrations import basis as aberration_basis
from stemtwin.twin.physics.engine.operator import quadratic_form_kernels
from stemtwin.twin.physics.grids import Grid

APERTURES = 1024
"""Number of cached sets of beams, one per grid, convergence and offset."""

COVERED = 1e-12
"""Covered fractions below this are rounding errors and count as zero."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BeamBlock:
    """The plane waves of an aperture that have one offset from the reciprocal pixels of the cell (an offset block).

    Attributes
    ----------
    offset : tuple of float
        Offset (jy, jx), in reciprocal pixels of the cell.
    beams : ndarray
        Flat indices of the plane waves on the grid, shape (B,).
    hy, hx : ndarray
        Integer indices, k = (h + offset) / L, sorted by (hy, hx), shape (B,).
    ky, kx : ndarray
        Spatial frequencies, 1/A, shape (B,).
    basis : ndarray
        Phase chi per Cartesian aberration coefficient, rad/A, shape (25, B).
    pairs : BeamPairs
        Pairs of beams for :mod:`quadratic_form_kernels`.
    """

    offset: tuple[float, float]
    beams: np.ndarray
    hy: np.ndarray
    hx: np.ndarray
    ky: np.ndarray
    kx: np.ndarray
    basis: np.ndarray
    pairs: quadratic_form_kernels.BeamPairs

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        return sum(a.nbytes for a in (self.beams, self.hy, self.hx, self.ky, self.kx, self.basis, self.pairs))


def window_blocks(extent: tuple[float, float], window: float) -> tuple[int, int]:
    """Return the number of blocks of plane waves (ny, nx) for a periodic cell and a probe window with sides of at least ``window``, A.

    ``extent`` (Ly, Lx) are the sides of the cell, A. The plane waves of all blocks together are 1 / (ny Ly) apart along y
    and 1 / (nx Lx) apart along x.
    """
    return tuple(max(1, math.ceil(window / side - 1e-9)) for side in extent)  # type: ignore[return-value]


def block_offsets(blocks: tuple[int, int]) -> Iterator[tuple[float, float]]:
    """Iterate over the offsets (jy / ny, jx / nx) of all blocks, in reciprocal pixels of the cell, centred on 0."""
    for jy, jx in itertools.product(range(blocks[0]), range(blocks[1])):
        yield (jy - blocks[0] // 2) / blocks[0], (jx - blocks[1] // 2) / blocks[1]


def block_pixel(extent: tuple[float, float], blocks: tuple[int, int]) -> tuple[float, float]:
    """Return the sides (dky, dkx) of a reciprocal pixel of the whole probe window, 1/A."""
    return 1 / (extent[0] * blocks[0]), 1 / (extent[1] * blocks[1])


def beyond_band(grid: Grid, wavelength: float, semiangle: float, pixel: tuple[float, float]) -> str:
    """Return the error message for an aperture beyond the band limit of a grid."""
    step = 0.995 / (3 * (semiangle / wavelength + math.hypot(*pixel)))
    return (
        f"A convergence of {semiangle * 1e3:g} mrad reaches beyond the grid's band limit ({grid.max_angle(wavelength) * 1e3:.1f} mrad). "
        f"Use points at most {step:.3g} A apart or a smaller convergence angle."
    )


@functools.lru_cache(maxsize=APERTURES)
def aperture_beams(
    grid: Grid, wavelength: float, semiangle: float, offset: tuple[float, float], blocks: tuple[int, int], *, antialias: bool
) -> np.ndarray:
    """Return the flat indices of the Fourier coefficients that the aperture touches, for one block; read-only and cached.

    Raises
    ------
    SamplingError
        The aperture reaches beyond the band limit.
    """
    pixel = block_pixel(grid.extent, blocks)
    radius = semiangle / wavelength
    ky, kx = grid.ky + offset[0] / grid.extent[0], grid.kx + offset[1] / grid.extent[1]
    near_y, near_x = np.flatnonzero(np.abs(ky) < radius + pixel[0]), np.flatnonzero(np.abs(kx) < radius + pixel[1])
    ky, kx = ky[near_y][:, None], kx[near_x]
    touched = probe.aperture(ky, kx, pixel, radius, antialias=antialias) > COVERED
    if (touched & (np.hypot(ky, kx) >= grid.band_limit)).any():
        raise SamplingError(beyond_band(grid, wavelength, semiangle, pixel))
    beams = (near_y[:, None] * grid.shape[1] + near_x)[touched]
    beams.flags.writeable = False
    return beams


def make_block(grid: Grid, wavelength: float, beams: np.ndarray, offset: tuple[float, float]) -> BeamBlock:
    """Return the block of the given beams (flat indices), sorted by (hy, hx)."""
    ny, nx = grid.shape
    hy, hx = beams // nx, beams % nx
    hy, hx = np.where(hy >= (ny + 1) // 2, hy - ny, hy), np.where(hx >= (nx + 1) // 2, hx - nx, hx)
    order = np.lexsort([hx, hy])
    hy, hx = hy[order], hx[order]
    ky, kx = (hy + offset[0]) / grid.extent[0], (hx + offset[1]) / grid.extent[1]
    basis = aberration_basis(ky, kx, wavelength)
    return BeamBlock(offset=offset, beams=beams[order], hy=hy, hx=hx, ky=ky, kx=kx, basis=basis, pairs=quadratic_form_kernels.pairs(hy, hx))
