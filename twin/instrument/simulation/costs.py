"""Number of waves, memory and time of a request, and the estimates that several engines share."""

import math
from dataclasses import dataclass

from stemtwin.twin.instrument.simulation import memory
from stemtwin.twin.instrument.simulation.discretisation import Discretisation
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics.engine.operator import gram_matrix
from stemtwin.twin.physics.grids import Grid

SECONDS_PER_POINT = 1e-9
"""Typical time of one multislice step per wave and point of a grid of 384 x 384 on two cores, s."""
BEYOND_CACHES = 0.17
"""Exponent with which ``SECONDS_PER_POINT`` grows with the number of points, as lines and batches of waves exceed the caches.

The factor is 1.1 at 512 x 512 and 1.9 at 2400 x 2400.
"""
SECONDS_PER_PRODUCT = 2.5e-11
"""Typical time per pair of plane waves and reciprocal pixel of an operator's matrix products on two cores, s."""
SECONDS_PER_VALUE = 8e-9
"""Typical time per point at which a slice's exp(i sigma V) is evaluated, on two cores, s."""
SECONDS_PER_PHASE = 1.2e-11
"""Typical time per atom and point at which its potential's coefficients are summed, on two cores, s."""
FIRST_SECONDS = 0.3
"""Typical time of all other work, s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Estimated cost of the signals of a request.

    Parameters
    ----------
    waves : int
        Number of waves that are propagated through the specimen, over all configurations.
    memory_bytes : int
        Peak memory including the program, bytes.
    seconds : float
        Time on two cores, s.
    waves_bytes : int
        Part of the memory that is used for exit amplitudes while an operator is built, bytes. If it does not suffice for
        all exit amplitudes, every wave is propagated more than once.
    exactness : str
        Accuracy of the signals of this request, as a sentence; empty if the engine's ``exactness`` describes it.
    longest : float
        Longest time, s, of an engine that enlarges windows of the field until their error is within the tolerance.
        It is infinite if the largest permitted windows would fill the field, and 0 if the engine does not estimate it.
    """

    waves: int
    memory_bytes: int
    seconds: float
    waves_bytes: int = gram_matrix.WAVES_BYTES
    exactness: str = ""
    longest: float = 0.0


def program_bytes(found: Discretisation) -> int:
    """Return the memory of the running program, its kernels and the result, bytes."""
    return memory.program() + memory.KERNELS + found.request.scan.count * found.channels * found.request.faces * 12


def field_bytes(found: Discretisation) -> int:
    """Return the memory of the program and of the specimen's transmission functions on the whole field, bytes."""
    request = found.request
    return program_bytes(found) + memory.of_specimen(found.grid, len(found.slices.planes), request.oversampling, request.configurations)


def first_seconds(found: Discretisation, configurations: int | None = None) -> float:
    """Return the estimated time before the first wave is propagated, s.

    It includes the computation of transmission functions on the whole field, by default for all configurations.
    """
    share = 1.0 if configurations is None else configurations / found.request.configurations
    return FIRST_SECONDS + share * specimen_seconds(found.request, found.grid, len(found.slices.planes))


def step_seconds(points: int) -> float:
    """Return the estimated time (s) of one multislice step of one wave on a grid with the given number of points."""
    return points * SECONDS_PER_POINT * (points / 384**2) ** BEYOND_CACHES


def specimen_seconds(request: Request, grid: Grid, slices: int, share: float = 1.0) -> float:
    """Return the estimated time (s) of all transmission functions on a grid that contains a fraction ``share`` of the atoms."""
    values = request.configurations * request.oversampling**2 * math.prod(grid.shape)
    return values * (slices * SECONDS_PER_VALUE + share * len(getattr(request.sample, "numbers", ())) * SECONDS_PER_PHASE)
