"""Hermitian forms of waves: M = sum over points of weight conj(S_k) S_k', by BLAS on one thread per task, so that the bits are always the same."""

import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from stemtwin.twin.physics.engine.kernels import blas, threads
from stemtwin.twin.physics.engine.multislice.multislice import (
    SliceStack,
    coefficients_behind,
    exit_coefficients,
    planes_above,
)
from stemtwin.twin.physics.engine.operator import quadratic_form_kernels

PANEL = 128
"""Rows of M that one task multiplies; fixed, so that the bits do not depend on the number of threads."""
PIXELS = 8192
"""Exit coefficients that are multiplied at a time; fixed for the same reason."""
BESIDE = 128
"""Blocks of at most so many plane waves are done beside each other: batches of waves and panels of products are too few to keep threads busy."""
WAVES_BYTES = 1 << 30
"""Exit amplitudes held at a time where no more is granted: detectors that need more are done in parts, each with a multislice of its own."""


def at_once(beams: Sequence[int]) -> int:
    """Return the number of blocks, given by their plane waves, that are done beside each other."""
    return min(threads.thread_count(), len(beams)) if max(beams) <= BESIDE else 1


def portion(count: int, held: int) -> int:
    """Return the number of exit coefficients of so many plane waves that are done with one multislice, where so many bytes hold them."""
    return max(PIXELS, held // (8 * count) // PIXELS * PIXELS)


def detected(
    stack: SliceStack,
    detector: np.ndarray,
    beams: np.ndarray,
    pairs: quadratic_form_kernels.BeamPairs,
    offset: tuple[float, float],
    progress: Callable[[int], None] | None,
    held: int | None = None,
    depths: Sequence[float] | None = None,
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
    depths : sequence of float, optional
        Depths z, A: M of the specimen's part above each, all from one pass; by default of the whole specimen.

    Returns
    -------
    tuple of ndarray
        Elements, float32, (channels, steps 16), those off the diagonal doubled; diagonal, float64, (channels, B). With
        depths, all channels of one depth follow those of another.
    """
    flat, count = detector.reshape(len(detector), -1), beams.size
    seen = np.flatnonzero(flat.any(axis=0))
    planes, faces = np.array([len(stack.planes)]), np.zeros(1, int)
    if depths is not None:
        planes, faces = np.unique(planes_above(stack, depths), return_inverse=True)
    matrices = np.zeros((len(planes), len(flat), count, count), np.complex64)
    matrices[planes == 0] = flat[:, beams][:, None] * np.eye(count, dtype=np.float32)
    most = portion(count, (WAVES_BYTES if held is None else held) // len(planes))
    portions = [seen[start : start + most] for start in range(0, seen.size, most)]
    unit, reports = np.eye(count, dtype=np.complex64), _reports(progress, count, len(portions))
    for select, report in zip(portions, reports, strict=True):
        if depths is None:
            waves = exit_coefficients(stack, beams, unit, select, offset=offset, progress=report)[None]
        else:
            passed = planes[np.flatnonzero(planes)].tolist()
            waves = coefficients_behind(stack, beams, unit, select, passed, offset=offset, progress=report)
        for behind, number in zip(waves, np.flatnonzero(planes), strict=True):
            _add_products(behind, flat[:, select], matrices[number])
    found = [picked(matrix, pairs) for matrix in matrices]
    if len(faces) == 1:
        return found[0]
    return np.concatenate([found[face][0] for face in faces]), np.concatenate([found[face][1] for face in faces])


def _reports(progress: Callable[[int], None] | None, count: int, portions: int) -> list[Callable[[int], None]]:
    """Return a function for each portion, called with the plane waves done in it: together they report ``count`` waves once."""
    reported = 0

    def report(number: int, done: int) -> None:
        nonlocal reported
        if progress is not None and (new := (number * count + done) // portions - reported):
            reported += new
            progress(new)

    return [functools.partial(report, number) for number in range(portions)]


def _add_products(waves: np.ndarray, weights: np.ndarray, matrices: np.ndarray) -> None:
    """Add what waves (B, Q) give with the weights (channels, Q) of each channel to its matrix, (channels, B, B)."""
    with blas.one_thread():
        for weight, matrix in zip(weights, matrices, strict=True):
            for start in range(0, weight.size, PIXELS):  # the same pieces wherever a portion ends
                pixels = start + np.flatnonzero(weight[start : start + PIXELS])
                if pixels.size:
                    add_upper(waves[:, pixels], weight[pixels], matrix)


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
