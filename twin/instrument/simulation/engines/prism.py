"""The engine ``prism``: multislice of every f-th plane wave of the aperture. The result states its difference from multislice.

With every f-th plane wave, a probe repeats after 1/f of the cell. The interpolation factor f therefore determines the window,
the part of the cell in which a probe is computed. The windows of single probes in multislice are chosen for a tolerance, but
those of PRISM are not. Plane waves fill the whole cell, however small the probe is, so a smaller window would shorten only
the sums over plane waves.
Even with such windows, PRISM would take longer than multislice in windows in the following examples. The estimated times for
SrTiO3 of 48 x 48 x 100 A with 128 x 128 points and 8 configurations are 1870 s for f = 4 (a window of 12 A), 26,600 s for f = 2, and 245 s for
multislice in windows of 10 A to a checked tolerance of 1 %. The propagation of plane waves, which a window does not shorten,
takes 130 s of the time for f = 4 and 480 s of the time for f = 2. The error for a given f depends on the specimen. At
96 x 96 A the three times are 33,100 s (f = 4, a window of 24 A), 482,000 s and 520 s.
"""

import math

import numpy as np

from stemtwin.twin.instrument.simulation import costs, memory, operator_cache, partial_coherence, slice_stacks
from stemtwin.twin.instrument.simulation.costs import Cost
from stemtwin.twin.instrument.simulation.discretisation import Discretisation, check_whole_probe
from stemtwin.twin.instrument.simulation.engines.registry import ENGINES, Engine, Signals
from stemtwin.twin.instrument.simulation.plan import Plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.instrument.simulation.scan_signals import mean_of_configurations
from stemtwin.twin.physics.detector_weights import Weights
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack
from stemtwin.twin.physics.engine.operator import prism, single_probes
from stemtwin.twin.progress import Progress

NAME = "prism"
SECONDS_PER_COPY = 2e-9
"""Typical time to copy and read a window of the scattering matrix, per plane wave and point on two cores, s."""
CHECKED_POINTS = 8
"""Points of the scan at which PRISM is compared with multislice."""


def cost(found: Discretisation) -> Cost:
    """Return the cost of PRISM: propagation of its plane waves, and their sum in the window of each probe."""
    request, grid = found.request, found.grid
    beam, f = request.beam, request.interpolation
    waves = prism.plane_waves(grid, beam.wavelength_angstrom, beam.semiangle_rad, (f, f), antialias=request.antialias).size
    small = prism.reduced_grid(grid, (f, f))
    area, reduced = math.prod(grid.shape), math.prod(small.shape)
    focal, source = partial_coherence.counts(beam)
    products = request.scan.count * focal * source * waves * reduced / f**2
    windows = len(np.unique(prism.window_starts(small, (f, f), request.scan.points()), axis=0))
    copies = 0.0 if f == 1 else focal * min(windows * source, reduced / prism.SNAP**2) * waves * reduced / f**2
    each = waves * len(found.slices.planes) * costs.step_seconds(area) + products * costs.SECONDS_PER_PRODUCT + copies * SECONDS_PER_COPY
    return Cost(
        waves=request.configurations * waves,
        memory_bytes=int(costs.field_bytes(found) + memory.of_prism(grid, waves, f, found.channels)),
        seconds=costs.first_seconds(found) + request.configurations * each,
    )


def signals(request: Request, plan: Plan, progress: Progress | None) -> Signals:
    """Return the signals computed by PRISM, averaged over focal spread, source and configurations.

    The error is measured in the first configuration at 8 points of the scan. Only the parts of probes inside their windows
    are compared with multislice, because the tails outside the windows are computed in the same way for both.
    """
    weights = operator_cache.detector_weights(request, plan)
    f = (request.interpolation, request.interpolation)

    def of_one(number: int, stack: SliceStack) -> tuple[np.ndarray, tuple[float, float]]:  # a function, so its memory is freed each time
        matrix = prism.build(stack, request.beam.semiangle_rad, interpolation=f, antialias=request.antialias, progress=progress)
        found = partial_coherence.averaged(request, lambda at, aberrations: matrix.signals(at, aberrations, weights))
        return found, _error(request, stack, matrix, weights) if number == 0 else (0.0, 0.0)

    found, errors = zip(*(of_one(number, stack) for number, stack in enumerate(slice_stacks.stacks(request, plan))), strict=True)
    rms, largest = errors[0]
    values, error = mean_of_configurations(request, found)
    remark = f"PRISM with f = {f[0]}: at {CHECKED_POINTS} points of the scan rms {rms:.2e}, largest {largest:.2e} of the mean, relative to multislice"
    return values, error, remark


def _error(request: Request, stack: SliceStack, matrix: prism.ScatteringMatrix, weights: Weights) -> tuple[float, float]:
    """Return the rms and the largest difference from multislice at some points of the scan, divided by the mean."""
    points = request.scan.points()
    at = points[np.unique(np.linspace(0, len(points) - 1, CHECKED_POINTS).round().astype(int))]
    beam = request.beam
    exact, norm = single_probes.window_signals(stack, at, beam.aberrations, beam.semiangle_rad, weights, antialias=request.antialias)
    ours, beyond = matrix.window_signals(at, beam.aberrations, weights)
    if request.antialias:
        exact = exact + (1 - norm) * beyond[:, None]
        ours = ours + (1 - matrix.norm(beam.aberrations)) * beyond[:, None]
    else:
        exact, ours = exact / norm, ours / matrix.norm(beam.aberrations)
    return prism.window_error(ours, exact)


ENGINES.add(NAME, Engine(cost=cost, signals=signals, check=check_whole_probe))
