"""The engine ``operator``: one imaging operator gives every image of a specimen exactly, in milliseconds for new optics."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import costs, crystal_average, memory, operator_cache
from stemtwin.twin.instrument.simulation.costs import Cost
from stemtwin.twin.instrument.simulation.discretisation import Discretisation
from stemtwin.twin.instrument.simulation.engines.registry import AVERAGING, DENSE, DEPTHS, ENGINES, REIMAGING, Engine, Signals
from stemtwin.twin.instrument.simulation.plan import Plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.instrument.simulation.scan_signals import scanned
from stemtwin.twin.physics.engine.operator import gram_matrix
from stemtwin.twin.physics.engine.operator.imaging_operator import ImageCoefficients, ImagingOperator
from stemtwin.twin.progress import Progress

NAME = "operator"
EXACTNESS = "equal to multislice except for rounding (1e-5)"
"""Agreement of signals with the reference."""
STATES_AT_ONCE = 16
"""Number of states of the optics whose image coefficients are held at once."""


def cost(found: Discretisation) -> Cost:
    """Return the cost of an imaging operator: propagation of each plane wave of the aperture, and products of all pairs of waves.

    For a depth series, the waves are propagated once; at every depth, their amplitudes are kept in memory and the products of
    all pairs are computed.
    """
    request, grid, detectors, beams = found.request, found.grid, found.detectors, found.beams
    count, faces, area = crystal_average.configurations(request), request.faces, math.prod(grid.shape)
    scale = math.pi * (1e-3 / request.beam.wavelength_angstrom) ** 2 * math.prod(grid.extent)
    base = costs.field_bytes(found) + memory.working_memory(grid)
    seen = faces * scale * sum(d.outer_mrad**2 - d.inner_mrad**2 for d in detectors)
    pixels = memory.seen_pixels(detectors, grid, request.beam.wavelength_angstrom)
    without = memory.of_operator(grid, beams, found.channels, (0.0, pixels[1]), count, faces=faces)
    held = memory.held_waves(beams, pixels[0], base + without, faces)
    needed = base + memory.of_operator(grid, beams, found.channels, pixels, count, held, faces)
    passes = sum(n * math.ceil(pixels[0] / gram_matrix.portion(n, held // faces)) for n in beams if n)
    steps, products = count * passes * len(found.slices.planes), count * sum(n**2 for n in beams) * seen
    seconds = costs.first_seconds(found, count) + steps * costs.step_seconds(area) + products * costs.SECONDS_PER_PRODUCT
    return Cost(waves=count * sum(beams), memory_bytes=needed, seconds=seconds, waves_bytes=held)


def signals(request: Request, plan: Plan, progress: Progress | None) -> Signals:
    """Return the signals of the specimen's imaging operator. It is built unless it is cached in the process or on disk."""
    operator = operator_cache.operator_for(request, plan, progress=progress)
    return image_signals(operator, request), operator.standard_error, account(operator)


def account(operator: ImagingOperator) -> str:
    """Return a sentence on the accuracy of an operator's signals. It also describes an average over lattice translations, if any."""
    if operator.average is None:
        return EXACTNESS
    return f"{EXACTNESS}; {crystal_average.measured(operator.configurations, operator.average, float(operator.standard_error.max()))}"


def used(request: Request, plan: Plan) -> Plan:
    """Return a plan with its number of phonon configurations replaced by the number that the operator has averaged."""
    return plan if plan.average is None else replace(plan, configurations=operator_cache.operator_for(request, plan).configurations)


def series(request: Request, plan: Plan, beams: Sequence[Beam], progress: Progress | None) -> list[Signals]:
    """Return the signals of one operator for beams that differ only in their aberrations."""
    operator, beam = operator_cache.operator_for(request, plan, progress=progress), request.beam
    found: list[Signals] = []
    for start in range(0, len(beams), STATES_AT_ONCE):
        images = operator.images(
            [each.aberrations for each in beams[start : start + STATES_AT_ONCE]],
            semiangle=beam.semiangle_rad,
            source_size=beam.source_size_angstrom,
            focal_spread=beam.focal_spread_angstrom,
        )
        for coefficients in images.coefficients:
            image = ImageCoefficients(coefficients=coefficients, extent=images.extent)
            found.append((scanned(image, request.scan), operator.standard_error, account(operator)))
    return found


def image_signals(operator: ImagingOperator, request: Request) -> np.ndarray:
    """Return the signals of an operator for a request's optics and scan, float32, shape (channels, ...) with the scan's dimensions."""
    beam = request.beam
    image = operator.image(
        beam.aberrations,
        semiangle=beam.semiangle_rad,
        source_size=beam.source_size_angstrom,
        focal_spread=beam.focal_spread_angstrom,
    )
    return scanned(image, request.scan)


ENGINES.add(NAME, Engine(cost=cost, signals=signals, exactness=lambda _: EXACTNESS, series=series, used=used), DENSE, REIMAGING, DEPTHS, AVERAGING)
