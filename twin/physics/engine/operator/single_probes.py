"""Signals of single probes by multislice, the reference for the imaging operator."""

import functools
from collections.abc import Callable, Sequence

import numpy as np

from stemtwin.twin.physics import probe
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.detector_weights import Weights
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack, collect
from stemtwin.twin.physics.engine.operator import beam_blocks
from stemtwin.twin.physics.grids import Grid

BATCH = 512
"""Number of probes whose amplitudes are held at once."""


def probe_signals(
    stack: SliceStack,
    positions: np.ndarray,
    aberrations: Aberrations,
    semiangle: float,
    weights: Weights,
    *,
    blocks: tuple[int, int] = (1, 1),
    antialias: bool = True,
    depths: Sequence[float] | None = None,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Return the detector signals of coherent probes.

    Parameters
    ----------
    stack : SliceStack
        The specimen.
    positions : ndarray
        Probe positions (x, y), A, shape (P, 2).
    aberrations : Aberrations
        Coefficients, A and rad.
    semiangle : float
        Convergence semi-angle, rad.
    weights : callable
        Detector weights of reciprocal pixels, for all channels.
    blocks : tuple of int
        Number of blocks of plane waves (ny, nx), see :func:`beam_blocks.window_blocks`; above 1 for probes wider than the cell.
    antialias : bool
        Whether pixels at the aperture's edge are weighted by their covered fraction instead of 0 or 1. If True,
        aperture-edge waves (:func:`rim_waves`) represent the probe's tails beyond a window of ny x nx cells.
    depths : sequence of float, optional
        Depths z, A. Each depth gives the signals of the part of the specimen above it, all from one pass.
    progress : callable, optional
        Called with the number of waves finished since the last call.

    Returns
    -------
    ndarray
        Fractions of the incident beam, float64, shape (channels, P), or (len(depths), channels, P) with ``depths``.
    """
    grid, pixel = stack.grid, beam_blocks.block_pixel(stack.grid.extent, blocks)
    signal, tails, norm, share = np.zeros(()), np.zeros(()), 0.0, 0.0
    for offset in beam_blocks.block_offsets(blocks):
        beams = beam_blocks.aperture_beams(grid, stack.wavelength, semiangle, offset, blocks, antialias=antialias)
        if not beams.size:
            continue
        ky, kx = grid.ky + offset[0] / grid.extent[0], grid.kx + offset[1] / grid.extent[1]
        detector = weights(ky[:, None], kx, pixel)
        by, bx = ky[beams // grid.shape[1]], kx[beams % grid.shape[1]]
        a = amplitudes(by, bx, pixel, stack.wavelength, semiangle, aberrations, antialias=antialias)
        if antialias:
            rim = rim_waves(grid, stack.wavelength, semiangle, offset, blocks)
            tails = tails + _rim_signals(stack, rim, detector, offset, depths, progress)
            share += float(rim[1].sum())
        norm += float((np.abs(a) ** 2).sum())
        signal = signal + _collected(stack, beams, a, (by, bx), positions, detector, offset, depths, progress)
    if antialias:
        return signal + (max(1 - norm, 0.0) * tails / max(share, 1e-300))[..., None]
    return signal / norm


def _rim_signals(
    stack: SliceStack,
    rim: tuple[np.ndarray, np.ndarray],
    detector: np.ndarray,
    offset: tuple[float, float],
    depths: Sequence[float] | None,
    progress: Callable[[int], None] | None,
) -> np.ndarray:
    """Return the sum of the signals of aperture-edge waves with their powers (:func:`rim_waves`), shape ([depths,] channels)."""
    waves, power = rim
    signal = np.zeros(())
    if waves.size:
        alone = np.diag(np.sqrt(power)).astype(np.complex64)
        signal = collect(stack, waves, alone, detector, offset=offset, depths=depths).sum(axis=-1)
    if progress is not None:
        progress(waves.size)
    return signal


def rim_waves(grid: Grid, wavelength: float, semiangle: float, offset: tuple[float, float], blocks: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the flat grid indices and the weights of the aperture-edge waves in one block of plane waves.

    The waves represent the probe's tails beyond its window, which consists of ny x nx periodic cells. ``blocks`` is
    (ny, nx), and ``offset`` is that of the block (:func:`beam_blocks.block_offsets`). A weight is the relative power of a
    wave in the tails.
    """
    beams = beam_blocks.aperture_beams(grid, wavelength, semiangle, offset, blocks, antialias=True)
    ky, kx = grid.ky[beams // grid.shape[1]] + offset[0] / grid.extent[0], grid.kx[beams % grid.shape[1]] + offset[1] / grid.extent[1]
    power = probe.rim(probe.aperture(ky, kx, beam_blocks.block_pixel(grid.extent, blocks), semiangle / wavelength))
    return beams[power > 0], power[power > 0]


@functools.lru_cache(maxsize=256)
def edge_wave_count(extent: tuple[float, float], blocks: tuple[int, int], radius: float) -> int:
    """Return the number of aperture-edge waves (:func:`rim_waves`) over all blocks, for an aperture of a given radius, 1/A."""
    dy, dx = beam_blocks.block_pixel(extent, blocks)
    most_y, most_x = int(radius / dy) + 1, int(radius / dx) + 1
    cover = probe.aperture(dy * np.arange(-most_y, most_y + 1)[:, None], dx * np.arange(-most_x, most_x + 1), (dy, dx), radius)
    return int(np.count_nonzero((cover > beam_blocks.COVERED) & (probe.rim(cover) > 0)))


def window_signals(
    stack: SliceStack,
    positions: np.ndarray,
    aberrations: Aberrations,
    semiangle: float,
    weights: Weights,
    *,
    antialias: bool = True,
    depths: Sequence[float] | None = None,
) -> tuple[np.ndarray, float]:
    """Return the signal of the part of each probe inside the cell, and the sum of the probe's squared amplitudes.

    The signal is float64, shape ([depths,] channels, P). With antialiasing, the sum is the fraction of the beam inside the
    cell. Without antialiasing, the amplitudes are not normalised, and the signal must be divided by the sum. The
    parameters are those of :func:`probe_signals`, but there is only one block, the cell. The tails beyond the cell are
    left out.
    """
    grid = stack.grid
    beams = beam_blocks.aperture_beams(grid, stack.wavelength, semiangle, (0.0, 0.0), (1, 1), antialias=antialias)
    by, bx = grid.ky[beams // grid.shape[1]], grid.kx[beams % grid.shape[1]]
    a = amplitudes(by, bx, grid.reciprocal_sampling, stack.wavelength, semiangle, aberrations, antialias=antialias)
    detector = weights(grid.ky[:, None], grid.kx, grid.reciprocal_sampling)
    return _collected(stack, beams, a, (by, bx), positions, detector, (0.0, 0.0), depths, None), float((np.abs(a) ** 2).sum())


def amplitudes(
    ky: np.ndarray, kx: np.ndarray, pixel: tuple[float, float], wavelength: float, semiangle: float, aberrations: Aberrations, *, antialias: bool
) -> np.ndarray:
    """Return the amplitudes of plane waves (ky, kx), 1/A, in the probe at the origin.

    With antialiasing, they are those of :func:`probe.amplitudes`, normalised by the area of the aperture. Without
    antialiasing, they have the absolute value 1 inside the aperture, and the caller divides signals by the number of all
    plane waves of the probe.
    """
    if antialias:
        return probe.amplitudes(ky, kx, pixel, wavelength, semiangle, aberrations)
    return probe.aperture(ky, kx, pixel, semiangle / wavelength, antialias=False) * np.exp(-1j * probe.chi(aberrations, ky, kx, wavelength))


def _collected(
    stack: SliceStack,
    beams: np.ndarray,
    a: np.ndarray,
    k: tuple[np.ndarray, np.ndarray],
    positions: np.ndarray,
    detector: np.ndarray,
    offset: tuple[float, float],
    depths: Sequence[float] | None,
    progress: Callable[[int], None] | None,
) -> np.ndarray:
    """Return the signals of probes with amplitudes ``a`` at all positions, computed in batches."""
    parts = []
    for start in range(0, len(positions), BATCH):
        at = positions[start : start + BATCH]
        phase = -2 * np.pi * (np.outer(at[:, 0], k[1]) + np.outer(at[:, 1], k[0]))
        parts.append(collect(stack, beams, (a * np.exp(1j * phase)).astype(np.complex64), detector, offset=offset, depths=depths))
        if progress is not None:
            progress(len(at))
    return np.concatenate(parts, axis=-1)
