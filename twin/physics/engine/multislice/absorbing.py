"""Absorption of single probes: the sum over all planes of abs(psi)^2 times a cross-section, in the same passes as multislice.

At each plane, multislice transforms every row of the waves to real space and back. The sum over abs(psi)^2, weighted by
the cross-section, is computed while the row is in real space. This adds a fifth to the computing time.
"""

from collections.abc import Iterator

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.engine.kernels import threads
from stemtwin.twin.physics.engine.kernels.simd_complex64 import LANES, POINT, aligned
from stemtwin.twin.physics.engine.multislice import multislice
from stemtwin.twin.physics.engine.multislice.absorbing_kernels import advance_weighing
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack


def absorbed(stack: SliceStack, beams: np.ndarray, coefficients: np.ndarray, sections: np.ndarray, band: float = np.inf) -> np.ndarray:
    """Return the fraction of each wave that the planes absorb.

    Parameters
    ----------
    stack : SliceStack
        The specimen.
    beams : ndarray
        Flat indices iy nx + ix of the Fourier coefficients of the incident waves, int64, shape (B,).
    coefficients : ndarray
        The incident waves at z = 0, complex64, shape (P, B).
    sections : ndarray
        Absorbed fraction of the intensity that arrives at each point of each plane, float32, shape (D, n, ny, nx), for D
        channels at once.
    band : float
        Spatial frequency at which waves are cut, 1/A. Values above the grid's band limit have no effect.

    Returns
    -------
    ndarray
        Sum over planes of the mean over points of abs(psi)^2 times the section, float64, shape (D, P), in the units of abs(coefficients)^2.

    Raises
    ------
    SettingsError
        The shapes of the arrays do not fit each other.
    """
    shape = stack.transmission.shape
    if sections.ndim != 4 or sections.shape[1:] != shape:
        message = f"sections of shape {sections.shape} do not fit transmissions of shape {shape}. Give one section per plane on the grid's points."
        raise SettingsError(message)
    setup = multislice._Setup(stack, (0.0, 0.0))
    setup.band &= (np.hypot(setup.ky[:, None], setup.kx[setup.kept]) < band).T
    incident = multislice._incident(setup, beams, coefficients)
    flat = np.ascontiguousarray(sections, np.float32).reshape(len(sections), -1)
    values = incident.values * setup.propagator(incident.beams, float(stack.planes[0])).astype(np.complex64)
    out = np.zeros((len(sections), len(values)))

    def work(queue: Iterator[slice]) -> None:
        """Propagate the batches in a queue, and store the absorbed fractions of their waves."""
        buffers = setup.buffers()
        line, sums = aligned((max(stack.grid.shape) + 1) * POINT), np.zeros((len(flat), LANES))
        for waves in queue:
            reads = setup.enter(buffers, incident.beams, values[waves])
            sums[:] = 0
            advance_weighing(
                buffers.wave, setup.transmission, flat, sums, setup.steps, setup.y_factors, setup.x_factors, setup.band, setup.pitch, line,
                buffers.factors, setup.plan_y, setup.plan_x, setup.places_y, reads, setup.reads, setup.writes,
            )  # fmt: skip
            out[:, waves] = sums[:, : waves.stop - waves.start] / np.prod(stack.grid.shape)

    batches = [slice(begin, min(begin + LANES, len(values))) for begin in range(0, len(values), LANES)]
    threads.spread(work, batches, threads=min(threads.thread_count(), max(len(batches), 1)))
    return out
