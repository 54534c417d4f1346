"""Peak memory of a simulation, and its comparison with the memory of the machine."""

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
"""Share of the machine's free memory that a simulation may take."""
KERNELS = 60 * 2**20
"""Compiled kernels and the libraries that they bring, bytes."""
HELD_OPERATORS = 2 * 2**30 // 3
"""Operators that the process keeps take at most this, bytes, where they are for one focal spread; see ``operators.CAPACITY_BYTES``."""
LOCAL_KERNELS = 30 * 2**20
"""Those of the local operator on top, bytes."""
TABLES = 60
"""Bytes per pixel of a grid that tables of detector weights take while they are made."""
ABTEM_BATCH = 32
"""Diffraction patterns that the abTEM engine holds at once."""
ABTEM = 150 * 2**20
"""abTEM and what it imports, bytes."""


def of_specimen(grid: Grid, slices: int, oversampling: int, configurations: int) -> int:
    """Return the peak of making transmission functions, bytes, while those of the configuration before are still there."""
    area = math.prod(grid.shape)
    return int(min(configurations, 2) * slices * area * 8 + 8 * area * oversampling**2 * threads.thread_count())


def of_operator(
    grid: Grid,
    beams: Sequence[int],
    channels: int,
    seen: tuple[float, float],
    configurations: int,
    held: int = gram_matrix.WAVES_BYTES,
    faces: int = 1,
) -> int:
    """Return the peak of building an imaging operator, bytes, without the specimen.

    Parameters
    ----------
    grid : Grid
        The wave's grid.
    beams : sequence of int
        Plane waves of each block.
    channels : int
        Detector channels.
    seen : tuple of float
        Reciprocal pixels that all detectors together see, and those that one sees at most.
    configurations : int
        Frozen-phonon configurations.
    held : int
        Bytes of exit amplitudes that are held at a time.
    faces : int
        Depths at which waves are held.
    """
    area, most = math.prod(grid.shape), max(beams)
    kept = of_matrices(beams, channels * faces)
    waves = min(most * seen[0] * 8 * faces, max(held, 8 * most * gram_matrix.PIXELS * faces))
    form = waves + most**2 * 8 * channels * faces + 2 * 8 * min(gram_matrix.PIXELS, seen[1]) * most + area * (4 * channels + 60)
    return int(kept * (1 if configurations == 1 else 2) + form * gram_matrix.at_once(beams))


def held_waves(beams: Sequence[int], seen: float, others: int, faces: int = 1) -> int:
    """Return the number of bytes of exit amplitudes to hold at a time: all of them, or as many as leave half of what may be taken.

    ``seen`` counts the reciprocal pixels of all detectors, ``others`` the bytes of everything else, ``faces`` the depths at which waves are held. The
    less is held, the more often every plane wave goes through the specimen.
    """
    most = max(beams) * faces
    need = int(8 * most * (seen * 1.02 + gram_matrix.PIXELS))  # covered fractions reach a little further
    for passes in range(1, need // gram_matrix.WAVES_BYTES + 1):
        held = 8 * most * gram_matrix.PIXELS * math.ceil(need / passes / (8 * most * gram_matrix.PIXELS))
        if fits(others + 2 * held):
            return held
    return gram_matrix.WAVES_BYTES


def of_matrices(beams: Sequence[int], channels: int) -> float:
    """Return the memory that an imaging operator holds, bytes."""
    return sum(n * (n + 1) // 2 for n in beams) * 10.7 * channels  # 8 bytes a pair, and what fills the lanes


def of_probes(grid: Grid, beams: Sequence[int], edge_waves: int, channels: int, points: int, faces: int) -> int:
    """Return the peak of multislice with single probes, bytes, without the specimen.

    ``edge_waves`` counts the plane waves for the probe's tails, ``points`` shifted ones too, ``faces`` depths.
    """
    batch, alone = min(points, single_probes.BATCH), edge_waves / np.count_nonzero(beams)
    return int(max(max(beams) * 64 * batch, 40 * alone**2)) + math.prod(grid.shape) * (8 * channels + 60) + points * (faces * channels * 24 + 32)


def seen_pixels(detectors: Sequence[Detector], grid: Grid, wavelength: float) -> tuple[float, float]:
    """Return the number of reciprocal pixels that all detectors together see, and the largest number that one channel sees."""
    scale = math.pi * (1e-3 / wavelength) ** 2 * math.prod(grid.extent)
    rings = sorted((d.inner_mrad, d.outer_mrad) for d in detectors)
    together, edge = 0.0, 0.0
    for inner, outer in rings:
        together += max(outer**2 - max(inner, edge) ** 2, 0)
        edge = max(edge, outer)
    most = max((d.outer_mrad**2 - d.inner_mrad**2) / d.channels for d in detectors)
    return scale * together, scale * most


def of_prism(grid: Grid, waves: int, interpolation: int, channels: int) -> int:
    """Return the peak of PRISM with so many plane waves, bytes, without the specimen."""
    area, reduced = math.prod(grid.shape), math.prod(prism.reduced_grid(grid, (interpolation, interpolation)).shape)
    window = reduced / interpolation**2
    some = min(waves, prism.WAVES_AT_ONCE)
    building = some * 8 * (0.35 * area + 2 * reduced) + working_memory(grid)
    copied = 0 if interpolation == 1 else waves * 8
    reading = threads.thread_count() * window * (copied + 28 * prism.PROBES_AT_ONCE)
    checking = wave_memory(grid) + area * (8 * channels + TABLES)
    return int(waves * reduced * 8 + max(building, reading, checking))


def of_local(near: resources.LocalResources, grid: Grid, slices: int, oversampling: int) -> int:
    """Return the peak of building a local operator and imaging with it, bytes, with the specimen: one of its configurations is held at a time."""
    area = math.prod(grid.shape)
    return slices * area * 8 + near.held + max(near.working, 8 * area * oversampling**2 * threads.thread_count())


def of_abtem(grid: Grid, channels: int, points: int) -> int:
    """Return the peak of the abTEM engine, bytes, without the specimen."""
    return ABTEM + math.prod(grid.shape) * (40 * min(points, ABTEM_BATCH) + 8 * channels + 60) + points * (channels * 16 + 32)


def program() -> int:
    """Return the memory of the running program itself, bytes."""
    return int(_process(os.getpid()).memory_info().rss)


@functools.lru_cache(maxsize=1)
def _process(number: int) -> psutil.Process:
    """Return the running process; looking it up costs more than asking it."""
    return psutil.Process(number)


def fits(needed: int) -> bool:
    """Return whether a peak, bytes, the program itself included, fits the machine."""
    return needed <= SHARE * (psutil.virtual_memory().available + program())


def check(needed: int) -> None:
    """Raise SettingsError where a peak, bytes, the program itself included, does not fit the machine."""
    if not fits(needed):
        free = psutil.virtual_memory().available + program()
        message = (
            f"This needs about {needed / 2**30:.1f} GiB of memory; {SHARE:.0%} of what is free are {SHARE * free / 2**30:.1f} GiB. "
            "Use a smaller cell, a coarser grid, a smaller convergence or fewer points."
        )
        raise SettingsError(message)
