"""What each engine would cost for a request: waves, memory, time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stemtwin.twin.instrument import memory, quadrature
from stemtwin.twin.instrument.detectors import Detector
from stemtwin.twin.instrument.request import Request
from stemtwin.twin.physics.engine import local
from stemtwin.twin.physics.engine.local_basis import SIDE, Basis, localisation
from stemtwin.twin.physics.grids import Grid

SECONDS_PER_POINT = 0.9e-9
"""Usual time of one multislice step per grid point and wave on two cores, s."""
SECONDS_PER_PRODUCT = 2.5e-11
"""Usual time per pair of plane waves and reciprocal pixel of an operator's matrix products on two cores, s."""
SECONDS_PER_OVERLAP = 1.2e-9
"""Usual time per function, partner function and point of a local operator's overlaps on two cores, s."""
FIRST_SECONDS = 0.3
"""Usual time of everything else, s."""
DARK = 1.2
"""A local operator is for detectors that begin at so many convergence angles or further out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Waves sent through the specimen over all configurations, peak memory (bytes, the program included), and time on two cores (s)."""

    waves: int
    memory_bytes: int
    seconds: float


def is_dark(request: Request, detectors: Sequence[Detector]) -> bool:
    """Return whether all detectors begin far enough outside the bright field for a local operator, wherever a tilt puts that."""
    bright = DARK * request.beam.semiangle_mrad + math.hypot(*request.beam.beam_tilt_mrad)
    return all(d.inner_mrad >= bright for d in detectors)


def cost(engine: str, request: Request, grid: Grid, slices: int, thickness: float, detectors: Sequence[Detector], beams: Sequence[int]) -> Cost:
    """Return what an engine would cost.

    Parameters
    ----------
    engine : str
        Its name, not ``"auto"``.
    request : Request
        The request.
    grid : Grid
        The wave's grid.
    slices : int
        Number of slices.
    thickness : float
        A.
    detectors : sequence
        Detectors with their angles.
    beams : sequence of int
        Plane waves of each offset block.
    """
    channels, points = sum(d.channels for d in detectors), request.scan.count
    count, area = request.configurations, math.prod(grid.shape)
    scale = math.pi * (1e-3 / request.beam.wavelength_angstrom) ** 2 * math.prod(grid.extent)
    base = memory.program() + memory.KERNELS + memory.of_specimen(grid, slices, request.oversampling, count) + points * channels * request.faces * 12
    if engine == "operator":
        seen = scale * sum(d.outer_mrad**2 - d.inner_mrad**2 for d in detectors)
        steps, products = count * sum(beams) * slices * area, count * sum(n**2 for n in beams) * seen
        pixels = memory.seen_pixels(detectors, grid, request.beam.wavelength_angstrom)
        needed = base + memory.of_operator(grid, beams, channels, pixels, count)
        return Cost(waves=count * sum(beams), memory_bytes=needed, seconds=FIRST_SECONDS + steps * SECONDS_PER_POINT + products * SECONDS_PER_PRODUCT)
    if engine == "local":
        return _local(request, grid, slices, thickness, channels, base)
    if engine == "prism":
        return _prism(request, grid, slices, sum(beams), points, base)
    waves = count * multislice_waves(engine, request, beams)
    shifted = points * quadrature.counts(request.beam)[1]
    needed = (
        memory.of_abtem(grid, channels, shifted)
        if engine == "abtem"
        else memory.of_probes(grid, beams, channels, shifted, request.faces, antialias=request.antialias)
    )
    return Cost(waves=waves, memory_bytes=base + needed, seconds=FIRST_SECONDS + waves * slices * area * SECONDS_PER_POINT)


def multislice_waves(engine: str, request: Request, beams: Sequence[int]) -> int:
    """Return how many waves multislice sends through one configuration."""
    focal, source = quadrature.counts(request.beam)
    used = [n for n in beams if n]
    probes = request.scan.count * source
    if engine == "abtem":
        return focal * probes
    return focal * (probes * len(used) + (sum(used) if request.antialias else 0))


def _local(request: Request, grid: Grid, slices: int, thickness: float, channels: int, base: int) -> Cost:
    wavelength, radius = request.beam.wavelength_angstrom, request.beam.semiangle_rad / request.beam.wavelength_angstrom
    near = localisation(
        radius=radius,
        inner=1.2 * radius,
        outer=grid.band_limit,
        wavelength=wavelength,
        thickness=thickness,
        tilt=request.relative_tilt_rad,
        tolerance=request.tolerance,
    )
    basis = Basis(grid=grid, radius=radius, periodic=getattr(request.sample, "periodic", True), local=near)
    points = request.scan.points()
    margin = local.MARGIN + local.blur(request.beam.aberrations, request.beam.semiangle_rad)
    share = 1.0
    for low, high, side in zip(points.min(axis=0)[::-1], points.max(axis=0)[::-1], grid.extent, strict=True):
        share *= min(1.0, (high - low + 2 * margin) / side)
    functions = max(SIDE**2, math.ceil(share * math.prod(basis.counts)))
    window = math.prod((2 * near.reach + SIDE * h) / step for h, step in zip(basis.spacing, grid.sampling, strict=True))
    waves = request.configurations * functions
    overlaps = waves * len(basis.steps) * window * channels
    held = (request.configurations - 1) * slices * math.prod(grid.shape) * 8 + 3 * functions * len(basis.steps) * 8 * channels
    seconds = FIRST_SECONDS + waves * slices * window * SECONDS_PER_POINT + overlaps / 4 * SECONDS_PER_OVERLAP
    return Cost(waves=waves, memory_bytes=int(base + held + 64 * window * 16), seconds=seconds)


def _prism(request: Request, grid: Grid, slices: int, beams: int, points: int, base: int) -> Cost:
    kept = math.ceil(beams / request.interpolation**2)
    area = math.prod(grid.shape)
    reduced = 0.5 * area
    focal, source = quadrature.counts(request.beam)
    products = points * focal * source * kept * reduced / request.interpolation**2
    seconds = FIRST_SECONDS + request.configurations * (kept * slices * area * SECONDS_PER_POINT + products * SECONDS_PER_PRODUCT)
    return Cost(waves=request.configurations * kept, memory_bytes=int(base + kept * reduced * 8 + 64 * area * 8), seconds=seconds)
