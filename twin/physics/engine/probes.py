"""Signals of single probes by multislice: the reference that the imaging operator is compared with."""

from collections.abc import Callable

import numpy as np

from stemtwin.twin.physics import probe
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.engine import imaging
from stemtwin.twin.physics.engine.imaging import Weights
from stemtwin.twin.physics.engine.multislice import SliceStack, collect

BATCH = 512
"""Probes whose amplitudes are held at once."""


def probe_signals(
    stack: SliceStack,
    positions: np.ndarray,
    aberrations: Aberrations,
    semiangle: float,
    weights: Weights,
    *,
    blocks: tuple[int, int] = (1, 1),
    antialias: bool = True,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Return what detectors collect of coherent probes.

    Parameters
    ----------
    stack : SliceStack
        The specimen.
    positions : ndarray
        Where the probes are, (x, y), A, shape (P, 2).
    aberrations : Aberrations
        Coefficients, A and rad.
    semiangle : float
        Convergence semi-angle, rad.
    weights : callable
        Detector weights, all channels, of reciprocal pixels.
    blocks : tuple of int
        Offset blocks (ny, nx) for probes wider than the cell.
    antialias : bool
        Covered fractions at the aperture's edge. The probe's tails beyond the window then see the specimen's mean, for which every plane wave of the
        aperture goes through the specimen once.
    progress : callable, optional
        Called with the number of waves done.

    Returns
    -------
    ndarray
        Fractions of the incident beam, float64, shape (channels, P).
    """
    grid = stack.grid
    pixel = imaging.block_pixel(grid.extent, blocks)
    signal, tails, norm = np.zeros(()), np.zeros(()), 0.0
    for offset in imaging.block_offsets(blocks):
        beams = imaging.aperture_beams(grid, stack.wavelength, semiangle, offset, blocks, antialias=antialias)
        if not beams.size:
            continue
        ky, kx = grid.ky + offset[0] / grid.extent[0], grid.kx + offset[1] / grid.extent[1]
        detector = weights(ky[:, None], kx, pixel)
        by, bx = ky[beams // grid.shape[1]], kx[beams % grid.shape[1]]
        if antialias:
            a = probe.amplitudes(by, bx, pixel, stack.wavelength, semiangle, aberrations)
            waves = np.diag(np.abs(a)).astype(np.complex64)
            tails = tails + collect(stack, beams, waves, detector, offset=offset).sum(axis=1)
            if progress is not None:
                progress(beams.size)
        else:
            a = probe.aperture(by, bx, pixel, semiangle / stack.wavelength, antialias=False) * np.exp(
                -1j * probe.chi(aberrations, by, bx, stack.wavelength)
            )
        norm += float((np.abs(a) ** 2).sum())
        parts = []
        for start in range(0, len(positions), BATCH):
            at = positions[start : start + BATCH]
            phase = -2 * np.pi * (np.outer(at[:, 0], bx) + np.outer(at[:, 1], by))
            parts.append(collect(stack, beams, (a * np.exp(1j * phase)).astype(np.complex64), detector, offset=offset))
            if progress is not None:
                progress(len(at))
        signal = signal + np.concatenate(parts, axis=1)
    if antialias:
        return signal + ((1 - norm) * tails / norm)[:, None]
    return signal / norm
