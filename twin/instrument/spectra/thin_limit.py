"""The thin limit: the incident probe at the atoms, spreading through the thickness in vacuum, without elastic scattering."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import partial_coherence
from stemtwin.twin.physics import coherence, probe
from stemtwin.twin.physics.aberrations import Aberrations, blur_radius
from stemtwin.twin.physics.engine.operator.imaging_operator import ImageCoefficients
from stemtwin.twin.physics.grids import Grid, fast_length
from stemtwin.twin.samples.sample import Sample

SLAB = 20.0
"""Thickness over which one probe stands for all, A."""
LEAST_WINDOW = 14.0
"""Smallest side of the window that holds a probe, A."""
FINEST = 2.5
"""Profiles are kept up to so many times the aperture's radius: twice is the image's limit."""


def thin_images(
    sample: Sample, beam: Beam, channels: Sequence[Any], absorbers: Callable[..., Any], tilt_mrad: tuple[float, float] = (0.0, 0.0)
) -> ImageCoefficients:
    """Return the image of each channel, atoms per A^2: the probe's density, convolved with the atoms' profiles, slab by slab.

    Parameters
    ----------
    sample : Sample
        The specimen; one that does not repeat is taken as if it did, so leave vacuum around it.
    beam : Beam
        The beam, with source size and focal spread.
    channels : sequence
        Kinds of loss.
    absorbers : callable
        From sample, positions, planes and channels to :class:`inelastic.Absorbers`.
    tilt_mrad : tuple of float
        Tilt of the specimen, as in ``Request``.
    """
    radius = beam.semiangle_rad / beam.wavelength_angstrom
    shape = tuple(fast_length(max(16, math.ceil(3 * FINEST * radius * side))) for side in sample.size_angstrom)
    grid = Grid(shape=(shape[0], shape[1]), extent=sample.size_angstrom)
    count = max(1, round(sample.thickness_angstrom / SLAB))
    slab = np.minimum((sample.positions_angstrom[:, 2] * count / sample.thickness_angstrom).astype(int), count - 1)
    atoms = absorbers(sample, sample.positions_angstrom, slab, channels)
    my, mx = (min(math.ceil(2 * radius * side), (n - 1) // 2) for side, n in zip(grid.extent, grid.shape, strict=True))
    hy, hx = np.arange(my + 1), np.arange(-mx, mx + 1)
    total = np.zeros((len(channels), my + 1, 2 * mx + 1), complex)
    (focus, weights), _ = partial_coherence.nodes(beam)
    for number in range(count):
        profiles = np.fft.fft2(atoms.profile(grid, number))[:, hy[:, None], hx] / math.prod(grid.shape)
        depth = (number + 0.5) * sample.thickness_angstrom / count
        tilt = depth * (np.array(beam.tilt_rad) - np.tan(np.array(tilt_mrad) * 1e-3))  # (y, x): where the beam is on the specimen at this depth
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


def _spectrum(grid: Grid, beam: Beam, aberrations: Aberrations, hy: np.ndarray, hx: np.ndarray) -> np.ndarray:
    """Return sum_r |probe|^2 exp(-2 pi i h.r / L) at the cell's frequencies h, from a window of so many cells that it holds the probe."""
    needed = LEAST_WINDOW + 2 * blur_radius(aberrations, beam.semiangle_rad)
    cells = tuple(max(1, math.ceil(needed / side)) for side in grid.extent)
    window = Grid(shape=(grid.shape[0] * cells[0], grid.shape[1] * cells[1]), extent=(grid.extent[0] * cells[0], grid.extent[1] * cells[1]))
    ky, kx = window.ky[:, None], window.kx
    a = probe.amplitudes(ky, kx, window.reciprocal_sampling, beam.wavelength_angstrom, beam.semiangle_rad, aberrations)
    density = np.abs(np.fft.ifft2(a)) ** 2
    density /= density.sum()
    return np.fft.fft2(density)[(hy * cells[0])[:, None], hx * cells[1]]
