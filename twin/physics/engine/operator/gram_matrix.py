"""Hermitian forms of exit waves: M_kk' = sum_q w_q conj(S_kq) S_k'q.

S_kq is the exit coefficient q of the incident plane wave k, and w_q is its detector weight. BLAS uses one thread, so the
results are bit-identical for any number of threads.
"""

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
"""Number of rows of M that one task multiplies; fixed, so M is bit-identical for any number of threads."""
PIXELS = 8192
"""Number of exit coefficients that are multiplied at a time; fixed, so M is bit-identical for any size of a portion."""
BESIDE = 128
"""Largest number of plane waves of blocks that are computed in parallel; one such block alone is too small to keep all threads busy."""
WAVES_BYTES = 1 << 30
"""Default memory for exit amplitudes, bytes; detectors that need more are treated in parts, each with its own multislice."""


def at_once(beams: Sequence[int]) -> int:
    """Return the number of blocks that are computed in parallel, from the number of plane waves of each block."""
    return min(threads.thread_count(), len(beams)) if max(beams) <= BESIDE else 1


def portion(count: int, held: int) -> int:
    """Return the number of exit coefficients to compute in one multislice run of ``count`` plane waves.

    The number is a multiple of 8192 and at least 8192. Above this minimum, the exit amplitudes take at most ``held`` bytes.
    """
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
    """Return the Hermitian matrix of exit waves, weighted by the detector, for every channel, and its diagonal.

    Parameters
    ----------
    stack : SliceStack
        The specimen.
    detector : ndarray
        Weights of the exit coefficients, shape (channels, ny, nx).
    beams : ndarray
        Flat indices of the incident plane waves, shape (B,).
    pairs : quadratic_form_kernels.BeamPairs
        Pairs of plane waves, which define the order of the elements.
    offset : tuple of float
        Offset of the plane waves, in reciprocal pixels.
    progress : callable, optional
        Called with the number of plane waves finished since the last call.
    held : int, optional
        Memory for exit amplitudes (:func:`portion`), bytes; 1 GiB by default. The result is bit-identical for any value.
    depths : sequence of float, optional
        Depths z, A. Each depth gives the matrices of the part of the specimen above it, all from one pass. By default,
        the matrices of the whole specimen are returned.

    Returns
    -------
    tuple of ndarray
        Elements as from :func:`quadratic_form_kernels.pick`, doubled off the diagonal, float32, shape (channels, 16 ``pairs.steps``); and
        the diagonal, float64, shape (channels, B). With ``depths``, the channels of each depth follow those of the previous depth.
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
    """Return a progress function for each portion; together they report each of the ``count`` waves once."""
    reported = 0

    def report(number: int, done: int) -> None:
        nonlocal reported
        if progress is not None and (new := (number * count + done) // portions - reported):
            reported += new
            progress(new)

    return [functools.partial(report, number) for number in range(portions)]


def _add_products(waves: np.ndarray, weights: np.ndarray, matrices: np.ndarray) -> None:
    """Add the weighted products of waves (B, Q) to the matrix of each channel (channels, B, B), for weights (channels, Q)."""
    with blas.one_thread():
        for weight, matrix in zip(weights, matrices, strict=True):
            for start in range(0, weight.size, PIXELS):  # the same ranges for any size of a portion
                pixels = start + np.flatnonzero(weight[start : start + PIXELS])
                if pixels.size:
                    add_upper(waves[:, pixels], weight[pixels], matrix)


def picked(matrices: np.ndarray, pairs: quadratic_form_kernels.BeamPairs) -> tuple[np.ndarray, np.ndarray]:
    """Return the elements of Hermitian matrices (channels, B, B) in the order of the pairs, and the diagonals; see :func:`detected`."""
    elements = np.stack([quadratic_form_kernels.pick(matrix, pairs) for matrix in matrices])
    return elements, np.stack([matrix.diagonal().real.astype(float) for matrix in matrices])


def add_upper(waves: np.ndarray, weight: np.ndarray, matrix: np.ndarray) -> None:
    """Add conj(S) D S^T to at least the upper triangle of a matrix; the rows of ``waves`` are S_k, ``weight`` is D.

    Each panel of rows is multiplied by BLAS on one thread, so the result is bit-identical for any number of threads.
    """

    def work(starts: Iterator[int]) -> None:
        for start in starts:
            panel = slice(start, start + PANEL)
            matrix[panel, start:] += (waves[panel].conj() * weight) @ waves[start:].T

    starts = range(0, len(waves), PANEL)
    threads.spread(work, starts, threads=min(threads.thread_count(), len(starts)))
