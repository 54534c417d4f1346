"""Thin limit: the incident probe at the atoms, with its spread in vacuum but without elastic scattering."""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import partial_coherence
from stemtwin.twin.physics import coherence, probe
from stemtwin.twin.physics.aberrations import Aberrations, blur_radius
from stemtwin.twin.physics.engine.operator.imaging_operator import ImageCoefficients
from stemtwin.twin.physics.grids import Grid, fast_length
from stemtwin.twin.samples.sample import Sample

SLAB = 20.0
"""Thickness of a slab that is represented by one probe, A."""
LEAST_WINDOW = 14.0
"""Smallest side of a probe window, A."""
FINEST = 2.5
"""Largest spatial frequency of the atoms' profiles in units of the aperture's radius. The band limit of images is 2."""
REMEMBERED, REMEMBERED_BYTES = 4, 64 * 2**20
"""Number of cached sets of profiles, which do not depend on aberrations, and the largest size of each."""
WINDOWS = 16
"""Number of windows with cached apertures."""

Absorbing = Callable[..., Any]


def thin_images(
    sample: Sample, beam: Beam, channels: Sequence[Any], absorbers: Absorbing, tilt_mrad: tuple[float, float] = (0.0, 0.0)
) -> ImageCoefficients:
    """Return the Fourier coefficients of the image of each channel, atoms per A^2.

    The specimen is divided into slabs. In each slab, the image is the correlation of the probe's density at the slab's
    depth with the profiles of the slab's atoms.

    Parameters
    ----------
    sample : Sample
        The specimen. It is always repeated along x and y, so a specimen that is not periodic needs vacuum around it.
    beam : Beam
        The beam, with source size and focal spread.
    channels : sequence
        Kinds of energy loss, as hashable values.
    absorbers : callable
        Function of sample, positions, planes and channels that returns :class:`inelastic.Absorbers`.
    tilt_mrad : tuple of float
        Tilt of the specimen, as in ``Request``.
    """
    radius = beam.semiangle_rad / beam.wavelength_angstrom
    shape = tuple(fast_length(max(16, math.ceil(3 * FINEST * radius * side))) for side in sample.size_angstrom)
    grid = Grid(shape=(shape[0], shape[1]), extent=sample.size_angstrom)
    count = max(1, round(sample.thickness_angstrom / SLAB))
    my, mx = (min(math.ceil(2 * radius * side), (n - 1) // 2) for side, n in zip(grid.extent, grid.shape, strict=True))
    hy, hx = np.arange(my + 1), np.arange(-mx, mx + 1)
    slabs = _Slabs(sample, grid, count, (my, mx), tuple(channels), absorbers)
    total = np.zeros((len(channels), my + 1, 2 * mx + 1), complex)
    (focus, weights), _ = partial_coherence.nodes(beam)
    for number, profiles in enumerate(_remembered_profiles(slabs) if slabs.nbytes <= REMEMBERED_BYTES else _profiles(slabs)):
        depth = (number + 0.5) * sample.thickness_angstrom / count
        tilt = depth * (np.array(beam.tilt_rad) - np.tan(np.array(tilt_mrad) * 1e-3))  # (y, x) of the beam on the specimen at this depth
        spectrum = sum(
            weight * _spectrum(grid, beam, replace(beam.aberrations, C10=beam.aberrations.C10 + float(df) + depth), hy, hx)
            for df, weight in zip(focus, weights, strict=True)
        )
        shift = np.exp(-2j * np.pi * (hy[:, None] / grid.extent[0] * tilt[0] + hx / grid.extent[1] * tilt[1]))
        total += profiles.conj() * (spectrum * shift)
    qy, qx = hy[:, None] / grid.extent[0], hx / grid.extent[1]
    total *= coherence.source_factor(beam.source_size_angstrom, qy, qx)
    total[:, 1:] *= 2
    total[:, 0, mx + 1 :] *= 2
    total[:, 0, :mx] = 0
    return ImageCoefficients(coefficients=total, extent=grid.extent)


class _Slabs(NamedTuple):
    """All inputs of the profiles of a specimen's atoms, slab by slab; ``most`` are the largest frequencies (my, mx)."""

    sample: Sample
    grid: Grid
    count: int
    most: tuple[int, int]
    channels: tuple[Any, ...]
    absorbers: Absorbing

    @property
    def nbytes(self) -> int:
        """Memory of all profiles, bytes."""
        return 16 * self.count * len(self.channels) * (self.most[0] + 1) * (2 * self.most[1] + 1)


def _profiles(slabs: _Slabs) -> Iterator[np.ndarray]:
    """Iterate over slabs and give Fourier coefficients (channels, my + 1, 2 mx + 1) of the profiles of their atoms."""
    sample, grid, count = slabs.sample, slabs.grid, slabs.count
    slab = np.minimum((sample.positions_angstrom[:, 2] * count / sample.thickness_angstrom).astype(int), count - 1)
    atoms = slabs.absorbers(sample, sample.positions_angstrom, slab, slabs.channels)
    hy, hx = np.arange(slabs.most[0] + 1), np.arange(-slabs.most[1], slabs.most[1] + 1)
    for number in range(count):
        yield np.fft.fft2(atoms.profile(grid, number))[:, hy[:, None], hx] / math.prod(grid.shape)


@functools.lru_cache(maxsize=REMEMBERED)
def _remembered_profiles(slabs: _Slabs) -> tuple[np.ndarray, ...]:
    return tuple(_profiles(slabs))


@functools.lru_cache(maxsize=WINDOWS)
def _aperture(window: Grid, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the reciprocal pixels that an aperture of a radius, 1/A, covers at least in part."""
    rows, columns = np.nonzero(probe.aperture(window.ky[:, None], window.kx, window.reciprocal_sampling, radius))
    return rows, columns


def _spectrum(grid: Grid, beam: Beam, aberrations: Aberrations, hy: np.ndarray, hx: np.ndarray) -> np.ndarray:
    """Return sum_r |probe|^2 exp(-2 pi i h.r / L) at the cell's frequencies h, from a window of enough whole cells."""
    needed = LEAST_WINDOW + 2 * blur_radius(aberrations, beam.semiangle_rad)
    cells = tuple(max(1, math.ceil(needed / side)) for side in grid.extent)
    window = Grid(shape=(grid.shape[0] * cells[0], grid.shape[1] * cells[1]), extent=(grid.extent[0] * cells[0], grid.extent[1] * cells[1]))
    rows, columns = _aperture(window, beam.semiangle_rad / beam.wavelength_angstrom)
    a = np.zeros(window.shape, complex)
    at = (window.ky[rows], window.kx[columns], window.reciprocal_sampling)
    a[rows, columns] = probe.amplitudes(*at, beam.wavelength_angstrom, beam.semiangle_rad, aberrations)
    lit = np.unique(rows)
    a[lit] = np.fft.ifft(a[lit], axis=1)  # the other rows are 0
    density = np.abs(np.fft.ifft(a, axis=0)) ** 2
    density /= density.sum()
    needed_columns = np.fft.fft(density, axis=1)[:, hx * cells[1]]
    return np.fft.fft(needed_columns, axis=0)[hy * cells[0]]
