"""Waves, memory and time of a request: the value that engines give, and the estimates that several of them share."""

import math
from dataclasses import dataclass

from stemtwin.twin.instrument.simulation import memory
from stemtwin.twin.instrument.simulation.discretisation import Discretisation
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics.engine.operator import gram_matrix
from stemtwin.twin.physics.grids import Grid

SECONDS_PER_POINT = 1e-9
"""Usual time of one multislice step per wave and point of a grid of 384 x 384 on two cores, s."""
BEYOND_CACHES = 0.17
"""That time grows as this power of the points: longer lines, and batches of waves that no cache holds (1.1 at 512 x 512, 1.9 at 2400 x 2400)."""
SECONDS_PER_PRODUCT = 2.5e-11
"""Usual time per pair of plane waves and reciprocal pixel of an operator's matrix products on two cores, s."""
SECONDS_PER_VALUE = 8e-9
"""Usual time per point at which a slice's exp(i sigma V) is evaluated, on two cores, s."""
SECONDS_PER_PHASE = 1.2e-11
"""Usual time per atom and point at which its potential's coefficients are summed, on two cores, s."""
FIRST_SECONDS = 0.3
"""Usual time of everything else, s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Waves sent through the specimen over all configurations, peak memory (bytes, the program included), and time on two cores (s).

    ``waves_bytes`` of the memory hold exit amplitudes while an operator is built; with less, every wave goes through the
    specimen more than once. ``exactness`` is that of this work, where the engine's own sentence is of other work. ``longest`` is the time where the
    check of an error asks for larger parts of the field as often as it may, s; 0: there is no such check.
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
    """Return the usual time before the first wave, s: transmission functions on the whole field, by default of all configurations, and the rest."""
    share = 1.0 if configurations is None else configurations / found.request.configurations
    return FIRST_SECONDS + share * specimen_seconds(found.request, found.grid, len(found.slices.planes))


def step_seconds(points: int) -> float:
    """Return the usual time of one multislice step of one wave on a grid of so many points, s."""
    return points * SECONDS_PER_POINT * (points / 384**2) ** BEYOND_CACHES


def specimen_seconds(request: Request, grid: Grid, slices: int, share: float = 1.0) -> float:
    """Return the usual time of making all transmission functions on a grid that holds a share of the atoms, s."""
    values = request.configurations * request.oversampling**2 * math.prod(grid.shape)
    return values * (slices * SECONDS_PER_VALUE + share * len(getattr(request.sample, "numbers", ())) * SECONDS_PER_PHASE)
