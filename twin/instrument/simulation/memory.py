"""Peak memory of a simulation, compared with the memory of the machine."""

import functools
import math
import os
from collections.abc import Sequence

import numpy as np
import psutil

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.detectors import Detector
from stemtwin.twin.physics.engine.kernels import threads
from stemtwin.twin.physics.engine.local import resources
from stemtwin.twin.physics.engine.multislice.multislice import wave_memory, working_memory
from stemtwin.twin.physics.engine.operator import gram_matrix, prism, single_probes
from stemtwin.twin.physics.grids import Grid

SHARE = 0.8
"""Fraction of the machine's free memory that a simulation may use."""
KERNELS = 60 * 2**20
"""Memory of compiled kernels and the libraries that they load, bytes."""
HELD_OPERATORS = 2 * 2**30 // 3
"""Largest memory of the operators that the process keeps, bytes, for one focal spread; see ``operator_cache.CAPACITY_BYTES``."""
LOCAL_KERNELS = 30 * 2**20
"""Additional memory of the local operator's kernels, bytes."""
TABLES = 60
"""Memory per grid pixel while tables of detector weights are computed, bytes."""
ABTEM_BATCH = 32
"""Number of diffraction patterns that the abTEM engine holds at once."""
ABTEM = 150 * 2**20
"""Memory of abTEM and its imports, bytes."""


def of_specimen(grid: Grid, slices: int, oversampling: int, configurations: int) -> int:
    """Return the peak memory of the computation of transmission functions, bytes.

    If there are several configurations, the transmission functions of the previous one are also in memory.
    """
    computing = 8 * math.prod(grid.shape) * oversampling**2 * threads.thread_count()
    return min(configurations, 2) * of_stack(grid, slices) + computing


def of_stack(grid: Grid, slices: int) -> int:
    """Return the memory of the transmission functions of one configuration, bytes."""
    return 8 * slices * math.prod(grid.shape)


def of_operator(
    grid: Grid,
    beams: Sequence[int],
    channels: int,
    seen: tuple[float, float],
    configurations: int,
    held: int = gram_matrix.WAVES_BYTES,
    faces: int = 1,
) -> int:
    """Return the peak memory of building an imaging operator, bytes, without the specimen.

    Parameters
    ----------
    grid : Grid
        The wave's grid.
    beams : sequence of int
        Number of plane waves of each block.
    channels : int
        Number of detector channels.
    seen : tuple of float
        Number of reciprocal pixels that all detectors cover together, and the largest number that one channel covers.
    configurations : int
        Number of frozen-phonon configurations.
    held : int
        Memory of the exit amplitudes that are held at any one time, bytes.
    faces : int
        Number of depths at which waves are kept.
    """
    area, most = math.prod(grid.shape), max(beams)
    kept = of_matrices(beams, channels * faces)
    waves = min(most * seen[0] * 8 * faces, max(held, 8 * most * gram_matrix.PIXELS * faces))
    form = waves + most**2 * 8 * channels * faces + 2 * 8 * min(gram_matrix.PIXELS, seen[1]) * most + area * (4 * channels + 60)
    return int(kept * (1 if configurations == 1 else 2) + form * gram_matrix.at_once(beams))


def held_waves(beams: Sequence[int], seen: float, others: int, faces: int = 1) -> int:
    """Return the memory for the exit amplitudes that are held at any one time, bytes.

    It is at most half of the usable memory that remains, but at least 1 GiB. ``seen`` is the number of reciprocal
    pixels of all detectors, ``others`` the memory, bytes, of everything except the exit amplitudes, and ``faces`` the number
    of depths at which waves are kept. The less memory is held, the more often each plane wave is propagated.
    """
    most = max(beams) * faces
    need = int(8 * most * (seen * 1.02 + gram_matrix.PIXELS))  # partly covered pixels lie slightly beyond the edges
    for passes in range(1, need // gram_matrix.WAVES_BYTES + 1):
        held = 8 * most * gram_matrix.PIXELS * math.ceil(need / passes / (8 * most * gram_matrix.PIXELS))
        if fits(others + 2 * held):
            return held
    return gram_matrix.WAVES_BYTES


def of_matrices(beams: Sequence[int], channels: int) -> float:
    """Return the memory that the matrices of an imaging operator occupy, bytes."""
    return sum(n * (n + 1) // 2 for n in beams) * 10.7 * channels  # 8 bytes per pair, and padding of the SIMD lanes


def of_probes(grid: Grid, beams: Sequence[int], edge_waves: int, channels: int, points: int, faces: int) -> int:
    """Return the peak memory of multislice with single probes, bytes, without the specimen.

    ``edge_waves`` is the number of aperture-edge waves, ``points`` the number of probes (scan points times
    source points), and ``faces`` the number of depths.
    """
    batch, alone = min(points, single_probes.BATCH), edge_waves / np.count_nonzero(beams)
    return int(max(max(beams) * 64 * batch, 40 * alone**2)) + math.prod(grid.shape) * (8 * channels + 60) + points * (faces * channels * 24 + 32)


def seen_pixels(detectors: Sequence[Detector], grid: Grid, wavelength: float) -> tuple[float, float]:
    """Return the number of reciprocal pixels that all detectors cover together, and the largest number that one channel covers."""
    scale = math.pi * (1e-3 / wavelength) ** 2 * math.prod(grid.extent)
    rings = sorted((d.inner_mrad, d.outer_mrad) for d in detectors)
    together, edge = 0.0, 0.0
    for inner, outer in rings:
        together += max(outer**2 - max(inner, edge) ** 2, 0)
        edge = max(edge, outer)
    most = max((d.outer_mrad**2 - d.inner_mrad**2) / d.channels for d in detectors)
    return scale * together, scale * most


def of_prism(grid: Grid, waves: int, interpolation: int, channels: int) -> int:
    """Return the peak memory of PRISM with the given number of plane waves, bytes, without the specimen."""
    area, reduced = math.prod(grid.shape), math.prod(prism.reduced_grid(grid, (interpolation, interpolation)).shape)
    window = reduced / interpolation**2
    some = min(waves, prism.WAVES_AT_ONCE)
    building = some * 8 * (0.35 * area + 2 * reduced) + working_memory(grid)
    copied = 0 if interpolation == 1 else waves * 8
    reading = threads.thread_count() * window * (copied + 28 * prism.PROBES_AT_ONCE)
    checking = wave_memory(grid) + area * (8 * channels + TABLES)
    return int(waves * reduced * 8 + max(building, reading, checking))


def of_local(near: resources.LocalResources, grid: Grid, slices: int, oversampling: int) -> int:
    """Return the peak memory of building and using a local operator, bytes, with one configuration of the specimen."""
    area = math.prod(grid.shape)
    return slices * area * 8 + near.held + max(near.working, 8 * area * oversampling**2 * threads.thread_count())


def of_abtem(grid: Grid, channels: int, points: int) -> int:
    """Return the peak memory of the abTEM engine, bytes, without the specimen."""
    return ABTEM + math.prod(grid.shape) * (40 * min(points, ABTEM_BATCH) + 8 * channels + 60) + points * (channels * 16 + 32)


def program() -> int:
    """Return the memory of the running program, bytes."""
    return int(_process(os.getpid()).memory_info().rss)


@functools.lru_cache(maxsize=1)
def _process(number: int) -> psutil.Process:
    """Return the running process; the look-up takes longer than a query."""
    return psutil.Process(number)


def fits(needed: int) -> bool:
    """Return True if the machine has enough memory for a peak of ``needed`` bytes, which include the running program."""
    return needed <= SHARE * (psutil.virtual_memory().available + program())


def check(needed: int) -> None:
    """Raise SettingsError if the machine has too little memory for a peak of ``needed`` bytes, which include the running program."""
    if not fits(needed):
        free = psutil.virtual_memory().available + program()
        message = (
            f"The simulation needs about {needed / 2**30:.1f} GiB of memory, but {SHARE:.0%} of the free memory is {SHARE * free / 2**30:.1f} GiB. "
            "Use a smaller cell, a coarser grid, a smaller convergence angle or fewer points."
        )
        raise SettingsError(message)
