"""Hermitian forms of waves: M = sum over points of weight conj(S_k) S_k', by BLAS on one thread per task, so that the bits are always the same."""

from collections.abc import Callable, Iterator

import numpy as np
from threadpoolctl import threadpool_limits

from stemtwin.twin.physics.engine.kernels import threads
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack, exit_coefficients
from stemtwin.twin.physics.engine.operator import quadratic_form_kernels

PANEL = 128
"""Rows of M that one task multiplies; fixed, so that the bits do not depend on the number of threads."""
PIXELS = 8192
"""Exit coefficients that are multiplied at a time; fixed for the same reason."""
WAVES_BYTES = 1 << 30
"""Exit amplitudes held at a time where no more is granted: detectors that need more are done in parts, each with a multislice of its own."""


def portion(count: int, held: int) -> int:
    """Return how many exit coefficients of so many plane waves are done with one multislice, where so many bytes hold them."""
    return max(PIXELS, held // (8 * count) // PIXELS * PIXELS)


def detected(
    stack: SliceStack,
    detector: np.ndarray,
    beams: np.ndarray,
    pairs: quadratic_form_kernels.BeamPairs,
    offset: tuple[float, float],
    progress: Callable[[int], None] | None,
    held: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return M of every channel of a detector, and its diagonal.

    Parameters
    ----------
    stack : SliceStack
        The specimen.
    detector : ndarray
        Weights of the exit coefficients, shape (channels, ny, nx).
    beams : ndarray
        Flat indices of the incident plane waves, shape (B,).
    pairs : quadratic_form_kernels.BeamPairs
        The order of the elements.
    offset : tuple of float
        Of the plane waves, in reciprocal pixels.
    progress : callable, optional
        Called with the number of plane waves done since the last call.
    held : int, optional
        Bytes of exit amplitudes held at a time, by default ``WAVES_BYTES``: whatever it is, the bits are the same.

    Returns
    -------
    tuple of ndarray
        Elements, float32, (channels, steps 16), those off the diagonal doubled; diagonal, float64, (channels, B).
    """
    flat, count = detector.reshape(len(detector), -1), beams.size
    seen = np.flatnonzero(flat.any(axis=0))
    matrices = np.zeros((len(flat), count, count), np.complex64)
    most = portion(count, WAVES_BYTES if held is None else held)
    portions = [seen[start : start + most] for start in range(0, seen.size, most)]
    unit = np.eye(count, dtype=np.complex64)
    reported = 0

    for number, select in enumerate(portions):

        def report(done: int, number: int = number) -> None:
            nonlocal reported
            if progress is not None and (new := (number * count + done) // len(portions) - reported):
                reported += new
                progress(new)

        waves = exit_coefficients(stack, beams, unit, select, offset=offset, progress=report)
        with threadpool_limits(1, user_api="blas"):
            for weight, matrix in zip(flat[:, select], matrices, strict=True):
                for start in range(0, weight.size, PIXELS):  # the same pieces wherever a portion ends
                    pixels = start + np.flatnonzero(weight[start : start + PIXELS])
                    if pixels.size:
                        add_upper(waves[:, pixels], weight[pixels], matrix)
    return picked(matrices, pairs)


def picked(matrices: np.ndarray, pairs: quadratic_form_kernels.BeamPairs) -> tuple[np.ndarray, np.ndarray]:
    """Return the elements of Hermitian matrices (channels, B, B) in the order of the pairs, and their diagonals; see :func:`detected`."""
    elements = np.stack([quadratic_form_kernels.pick(matrix, pairs) for matrix in matrices])
    return elements, np.stack([matrix.diagonal().real.astype(float) for matrix in matrices])


def add_upper(waves: np.ndarray, weight: np.ndarray, matrix: np.ndarray) -> None:
    """Add conj(S) D S^T of rows S_k to a matrix, its upper triangle at least; panels of rows, each by BLAS on one thread: always the same bits."""

    def work(starts: Iterator[int]) -> None:
        for start in starts:
            panel = slice(start, start + PANEL)
            matrix[panel, start:] += (waves[panel].conj() * weight) @ waves[start:].T

    starts = range(0, len(waves), PANEL)
    threads.spread(work, starts, threads=min(threads.thread_count(), len(starts)))
