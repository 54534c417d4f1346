"""What each engine would cost for a request: waves, memory, time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stemtwin.twin.instrument.detectors import Detector
from stemtwin.twin.instrument.simulation import memory, partial_coherence
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics.engine.local import accuracy_check, local_operator, resources
from stemtwin.twin.physics.engine.local import tiles as windows
from stemtwin.twin.physics.engine.local.basis import Basis, localisation
from stemtwin.twin.physics.engine.operator import gram_matrix, imaging_operator, prism
from stemtwin.twin.physics.grids import Grid

SECONDS_PER_POINT = 1e-9
"""Usual time of one multislice step per wave and point of a grid of 384 x 384 on two cores, s."""
BEYOND_CACHES = 0.17
"""That time grows as this power of the points: longer lines, and batches of waves that no cache holds (1.1 at 512 x 512, 1.9 at 2400 x 2400)."""
SECONDS_PER_PRODUCT = 2.5e-11
"""Usual time per pair of plane waves and reciprocal pixel of an operator's matrix products on two cores, s."""
SECONDS_PER_COPY = 2e-9
"""Usual time per plane wave and point of a window that PRISM cuts out of the scattering matrix and reads on two cores, s."""
SECONDS_PER_OVERLAP = 1.1e-10
"""Usual time per function, partner function and point of a local operator's overlaps on two cores, s."""
SECONDS_PER_VALUE = 8e-9
"""Usual time per point at which a slice's exp(i sigma V) is evaluated, on two cores, s."""
SECONDS_PER_PHASE = 1.2e-11
"""Usual time per atom and point at which its potential's coefficients are summed, on two cores, s."""
FIRST_SECONDS = 0.3
"""Usual time of everything else, s."""
DARK = 1.2
"""A local operator is for detectors that begin at so many convergence angles or further out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Waves sent through the specimen over all configurations, peak memory (bytes, the program included), and time on two cores (s).

    ``waves_bytes`` of the memory hold exit amplitudes while an operator is built; with less, every wave goes through the specimen more than once.
    """

    waves: int
    memory_bytes: int
    seconds: float
    waves_bytes: int = gram_matrix.WAVES_BYTES


def is_dark(request: Request, detectors: Sequence[Detector]) -> bool:
    """Return whether all detectors begin far enough outside the bright field for a local operator, wherever a tilt puts that."""
    bright = DARK * request.beam.semiangle_mrad + math.hypot(*request.beam.beam_tilt_mrad)
    return all(d.inner_mrad >= bright for d in detectors)


def by_windows_and_local(request: Request, detectors: Sequence[Detector]) -> tuple[tuple[Detector, ...], tuple[Detector, ...]]:
    """Return which detectors ``engine="tiled"`` reads from windows, and which from the local operator."""
    dark = tuple(d for d in detectors if is_dark(request, (d,)))
    return tuple(d for d in detectors if d not in dark), dark


def cost(engine: str, request: Request, grid: Grid, planes: np.ndarray, detectors: Sequence[Detector], beams: Sequence[int], rim: int) -> Cost:
    """Return what an engine would cost.

    Parameters
    ----------
    engine : str
        Its name, not ``"auto"``.
    request : Request
        The request.
    grid : Grid
        The wave's grid.
    planes : ndarray
        Depth of each slice, A.
    detectors : sequence
        Detectors with their angles.
    beams : sequence of int
        Plane waves of each offset block.
    rim : int
        Those at the aperture's rim, over all blocks, which multislice sends for the probe's tails.
    """
    channels, points, slices = sum(d.channels for d in detectors), request.scan.count, len(planes)
    count, area = request.configurations, math.prod(grid.shape)
    scale = math.pi * (1e-3 / request.beam.wavelength_angstrom) ** 2 * math.prod(grid.extent)
    program = memory.program() + memory.KERNELS + points * channels * request.faces * 12
    if engine == "local":
        return _local(request, grid, planes, detectors, program)
    if engine == "tiled":
        bright, dark = by_windows_and_local(request, detectors)
        parts = [_windows(request, grid, planes, bright, program)] if bright else []
        parts += [_local(request, grid, planes, dark, program)] if dark else []
        return Cost(waves=sum(p.waves for p in parts), memory_bytes=max(p.memory_bytes for p in parts), seconds=sum(p.seconds for p in parts))
    base = program + memory.of_specimen(grid, slices, request.oversampling, count)
    first = FIRST_SECONDS + _specimen_seconds(request, grid, slices)
    if engine == "prism":
        return _prism(request, grid, slices, detectors, base, first)
    base += memory.working_memory(grid)
    if engine == "operator":
        seen = scale * sum(d.outer_mrad**2 - d.inner_mrad**2 for d in detectors)
        pixels = memory.seen_pixels(detectors, grid, request.beam.wavelength_angstrom)
        held = memory.held_waves(beams, pixels[0], base + memory.of_operator(grid, beams, channels, (0.0, pixels[1]), count))
        needed = base + memory.of_operator(grid, beams, channels, pixels, count, held)
        passes = sum(n * math.ceil(pixels[0] / gram_matrix.portion(n, held)) for n in beams if n)
        steps, products = count * passes * slices, count * sum(n**2 for n in beams) * seen
        seconds = first + steps * step_seconds(area) + products * SECONDS_PER_PRODUCT
        return Cost(waves=count * sum(beams), memory_bytes=needed, seconds=seconds, waves_bytes=held)
    waves = count * multislice_waves(engine, request, beams, rim)
    shifted = points * partial_coherence.counts(request.beam)[1]
    needed = memory.of_abtem(grid, channels, shifted) if engine == "abtem" else memory.of_probes(grid, beams, rim, channels, shifted, request.faces)
    return Cost(waves=waves, memory_bytes=base + needed, seconds=first + waves * slices * step_seconds(area))


def step_seconds(points: int) -> float:
    """Return the usual time of one multislice step of one wave on a grid of so many points, s."""
    return points * SECONDS_PER_POINT * (points / 384**2) ** BEYOND_CACHES


def _specimen_seconds(request: Request, grid: Grid, slices: int, share: float = 1.0) -> float:
    """Return the usual time of making all transmission functions on a grid that holds a share of the atoms, s."""
    values = request.configurations * request.oversampling**2 * math.prod(grid.shape)
    return values * (slices * SECONDS_PER_VALUE + share * len(getattr(request.sample, "numbers", ())) * SECONDS_PER_PHASE)


def multislice_waves(engine: str, request: Request, beams: Sequence[int], rim: int) -> int:
    """Return how many waves multislice sends through one configuration."""
    focal, source = partial_coherence.counts(request.beam)
    used = [n for n in beams if n]
    probes = request.scan.count * source
    if engine == "abtem":
        return focal * probes
    return focal * (probes * len(used) + rim)


def _local(request: Request, grid: Grid, planes: np.ndarray, detectors: Sequence[Detector], program: int) -> Cost:
    beam, count, channels = request.beam, request.configurations, sum(d.channels for d in detectors)
    wavelength, radius = beam.wavelength_angstrom, beam.semiangle_rad / beam.wavelength_angstrom
    aside = math.hypot(*beam.beam_tilt_mrad)  # behind a tilted beam detectors are not round
    inner, outer = max(min(d.inner_mrad for d in detectors) - aside, 0.0), max(d.outer_mrad for d in detectors) + aside
    seen = inner * 1e-3 / wavelength, outer * 1e-3 / wavelength
    near = localisation(
        radius=radius,
        inner=seen[0],
        outer=seen[1],
        wavelength=wavelength,
        thickness=float(planes[-1] - planes[0]),
        tilt=request.relative_tilt_rad,
        tolerance=request.tolerance,
    )
    basis = Basis(grid=grid, radius=radius, periodic=getattr(request.sample, "periodic", True), local=near)
    points = request.scan.points()
    (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    blurs = (0.0, accuracy_check.blur_of_check(radius), local_operator.blur(beam.aberrations, beam.semiangle_rad))
    size = resources.size(basis, len(planes), seen, channels, ((y0, y1), (x0, x1)), blurs)
    waves = count * size.waves
    checking = 2 * count * accuracy_check.POINTS * step_seconds(size.checked)  # sixteen at a time: on one of two cores
    stepping = (waves * step_seconds(math.prod(size.window.shape)) + checking) * len(planes)
    overlaps = count * size.functions * len(basis.steps) * size.points * channels
    needed = program + memory.LOCAL_KERNELS + memory.of_local(size, grid, len(planes), request.oversampling, count)
    first = FIRST_SECONDS + _specimen_seconds(request, grid, len(planes))
    seconds = first + stepping + overlaps * SECONDS_PER_OVERLAP
    return Cost(waves=waves, memory_bytes=int(needed), seconds=seconds)


def _windows(request: Request, grid: Grid, planes: np.ndarray, detectors: Sequence[Detector], program: int) -> Cost:
    beam, count, channels, slices = request.beam, request.configurations, sum(d.channels for d in detectors), len(planes)
    divided = windows.layout(
        grid,
        beam.semiangle_rad / beam.wavelength_angstrom,
        tolerance=request.tolerance,
        held=windows.held_radius(beam.probe_radius(float(planes[-1]))),
        periodic=getattr(request.sample, "periodic", True),
    )
    tiles, window = divided.tiles_at(request.scan.points()), divided.window((0, 0)).grid
    offset, blocks = (0.0, 0.0), (1, 1)
    beams = imaging_operator.aperture_beams(window, beam.wavelength_angstrom, beam.semiangle_rad, offset, blocks, antialias=request.antialias).size
    pixels = memory.seen_pixels(detectors, window, beam.wavelength_angstrom)
    reference = divided.around((0, 0), windows.reference_shape(divided)).grid
    waves = count * beams * len(tiles)
    products = count * len(tiles) * beams**2 * sum(d.channels for d in detectors) * pixels[1]
    building = memory.of_specimen(window, slices, request.oversampling, count) + memory.working_memory(window)
    building += memory.of_operator(window, [beams], channels, pixels, count)
    checking = memory.of_specimen(reference, slices, request.oversampling, count) + memory.wave_memory(reference)
    held = min(len(tiles) * memory.of_matrices([beams], channels) * (2 if beam.focal_spread_angstrom else 1), memory.HELD_OPERATORS)
    passes = math.ceil(pixels[0] / gram_matrix.portion(beams, gram_matrix.WAVES_BYTES))
    probing = count * windows.POINTS * step_seconds(math.prod(reference.shape))
    stepping = (waves * passes * step_seconds(math.prod(window.shape)) + probing) * slices
    first = FIRST_SECONDS + len(tiles) * _specimen_seconds(request, window, slices, math.prod(window.extent) / math.prod(grid.extent))
    seconds = first + stepping + products * SECONDS_PER_PRODUCT
    return Cost(waves=waves, memory_bytes=int(program + held + max(building, checking)), seconds=seconds)


def _prism(request: Request, grid: Grid, slices: int, detectors: Sequence[Detector], base: int, first: float) -> Cost:
    beam, f, channels = request.beam, request.interpolation, sum(d.channels for d in detectors)
    waves = prism.plane_waves(grid, beam.wavelength_angstrom, beam.semiangle_rad, (f, f), antialias=request.antialias).size
    small = prism.reduced_grid(grid, (f, f))
    area, reduced = math.prod(grid.shape), math.prod(small.shape)
    focal, source = partial_coherence.counts(beam)
    products = request.scan.count * focal * source * waves * reduced / f**2
    places = len(np.unique(prism.window_starts(small, (f, f), request.scan.points()), axis=0))
    copies = 0.0 if f == 1 else focal * min(places * source, reduced / prism.SNAP**2) * waves * reduced / f**2
    each = waves * slices * step_seconds(area) + products * SECONDS_PER_PRODUCT + copies * SECONDS_PER_COPY
    seconds = first + request.configurations * each
    needed = base + memory.of_prism(grid, waves, f, channels)
    return Cost(waves=request.configurations * waves, memory_bytes=int(needed), seconds=seconds)
