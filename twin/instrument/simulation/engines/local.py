"""The engine ``local``: a local operator computes dark-field signals of large or changing thin specimens within a tolerance."""

import functools
import math
from collections.abc import Sequence

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.detectors import Detector
from stemtwin.twin.instrument.simulation import costs, memory, operator_cache, slice_stacks
from stemtwin.twin.instrument.simulation.costs import Cost
from stemtwin.twin.instrument.simulation.discretisation import Discretisation, check_whole_probe
from stemtwin.twin.instrument.simulation.engines.registry import ENGINES, JOINING, REIMAGING, Engine, Signals
from stemtwin.twin.instrument.simulation.plan import Plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.instrument.simulation.scan_signals import region_of, reports_all_waves, scanned
from stemtwin.twin.physics.engine.kernels import array_cache as disk
from stemtwin.twin.physics.engine.kernels import threads
from stemtwin.twin.physics.engine.local import accuracy_check, exit_waves, growing_windows, local_cache, local_operator, resources
from stemtwin.twin.physics.engine.local.basis import Basis, Localisation, localisation
from stemtwin.twin.physics.engine.local.local_operator import LocalOperator
from stemtwin.twin.physics.grids import Grid
from stemtwin.twin.progress import Progress

NAME = "local"
SECONDS_PER_OVERLAP = 1.1e-10
"""Typical time per function, partner function and point of the overlaps on two cores, s."""
CHECK_STREAM = 9
"""First part of the spawn key of the points at which a local operator is checked."""


def is_dark(request: Request, detectors: Sequence[Detector]) -> bool:
    """Return True if the inner angles of all detectors are large enough for a local operator, with the beam tilt included."""
    bright = exit_waves.BRIGHT * request.beam.semiangle_mrad + math.hypot(*request.beam.beam_tilt_mrad)
    return all(d.inner_mrad >= bright for d in detectors)


def check_own_windows(found: Discretisation) -> None:
    """Refuse ``tolerance=0``, a request with ``blocks``, or a probe wider than the cell, for engines that choose windows in the cell."""
    if not found.request.tolerance:
        message = (
            f"engine={found.request.engine!r} computes to a tolerance, but tolerance=0 requests exact signals. "
            "Give a tolerance, for example 0.01, or use engine='operator'."
        )
        raise SettingsError(message)
    if found.request.blocks is not None:
        message = (
            f"engine={found.request.engine!r} chooses its own windows, but blocks={found.request.blocks} is given. "
            "Omit blocks, or use engine='operator'."
        )
        raise SettingsError(message)
    check_whole_probe(found)


def suits(found: Discretisation) -> str:
    """Return the reason why ``engine="auto"`` may choose ``local`` for a request, or an empty string if it may not.

    It may if all detectors are in the dark field.
    """
    return "dark-field signals depend on short distances only" if is_dark(found.request, found.detectors) else ""


def check(found: Discretisation) -> None:
    """Refuse settings that :func:`check_own_windows` refuses, and detectors that overlap with the bright field."""
    check_own_windows(found)
    basis, _ = _basis(found)
    beam, seen = found.request.beam, found.detectors
    antialias = found.request.antialias
    _check_detectors(basis.grid, basis.radius, basis.periodic, basis.local, seen, beam.wavelength_angstrom, beam.tilt_rad, antialias)


@functools.lru_cache(maxsize=32)
def _check_detectors(
    grid: Grid,
    radius: float,
    periodic: bool,
    near: Localisation,
    detectors: tuple[Detector, ...],
    wavelength: float,
    tilt: tuple[float, float],
    antialias: bool,
) -> None:
    """Refuse detectors that overlap with the bright field.

    The result is cached, because a microscope plans every frame and the computation of the weights takes 10 ms.
    """
    weights = operator_cache.weights_behind(detectors, wavelength, tilt, antialias=antialias)
    exit_waves.check_detectors(Basis(grid=grid, radius=radius, periodic=periodic, local=near), weights, wavelength)


def cost(found: Discretisation) -> Cost:
    """Return the cost of a local operator for the area of the scan, including the check of its accuracy."""
    return cost_beside(found, costs.program_bytes(found))


def cost_beside(found: Discretisation, program: int) -> Cost:
    """Return the cost of a local operator. Its memory includes ``program``, the memory (bytes) of the running program and of the result."""
    request, grid, planes, channels = found.request, found.grid, found.slices.planes, found.channels
    beam, count = request.beam, request.configurations
    basis, seen = _basis(found)
    blurs = (0.0, accuracy_check.blur_of_check(basis.radius), local_operator.blur(beam.aberrations, beam.semiangle_rad))
    size = resources.size(basis, len(planes), seen, channels, region_of(request.scan), blurs)
    waves = count * size.waves
    checking = 2 * count * accuracy_check.POINTS * costs.step_seconds(size.checked)  # one batch of sixteen uses one of two cores
    film = slice_stacks.film_of(request, found.slices, request.film_slices_angstrom)
    joined = None if film is None else film.joined(planes)
    passed = planes if joined is None else joined.planes(planes)
    stages = growing_windows.stages(basis, passed, size.window)
    stepping = sum(waves * steps * costs.step_seconds(area) for area, steps in growing_windows.steps(stages)) + checking * len(planes)
    held = 0 if joined is None else 8 * len(passed) * math.prod(grid.shape)
    held += threads.thread_count() * growing_windows.more_bytes(stages)
    overlaps = count * size.functions * len(basis.steps) * size.points * channels
    return Cost(
        waves=waves,
        memory_bytes=int(program + held + memory.LOCAL_KERNELS + memory.of_local(size, grid, len(planes), request.oversampling)),
        seconds=costs.first_seconds(found) + stepping + overlaps * SECONDS_PER_OVERLAP,
    )


def _basis(found: Discretisation) -> tuple[Basis, tuple[float, float]]:
    """Return the local functions of the aperture, and the range of spatial frequencies of the detectors, 1/A."""
    request, wavelength = found.request, found.request.beam.wavelength_angstrom
    radius = request.beam.semiangle_rad / wavelength
    aside = math.hypot(*request.beam.beam_tilt_mrad)  # relative to a tilted beam, detectors are not centred
    inner = max(min(d.inner_mrad for d in found.detectors) - aside, 0.0)
    outer = max(d.outer_mrad for d in found.detectors) + aside
    seen = inner * 1e-3 / wavelength, outer * 1e-3 / wavelength
    near = localisation(
        radius=radius,
        inner=seen[0],
        outer=seen[1],
        wavelength=wavelength,
        thickness=float(found.slices.planes[-1] - found.slices.planes[0]),
        tilt=request.relative_tilt_rad,
        tolerance=request.tolerance,
        growing=request.growing_windows,
    )
    return Basis(grid=found.grid, radius=radius, periodic=getattr(request.sample, "periodic", True), local=near), seen


def checked_signals(request: Request, plan: Plan, progress: Progress | None) -> Signals:
    """Return the signals of the local operator of a request, with the error that was measured when the operator was built."""
    return image_signals(operator_for(request, plan, progress), request)


signals = reports_all_waves(checked_signals)


def to_tolerance(request: Request) -> str:
    """Return the requested tolerance as a sentence."""
    return f"rms error below {request.tolerance:g} of the mean signal, checked by multislice at random points"


def image_signals(operator: LocalOperator, request: Request) -> Signals:
    """Return the signals of an operator that is built for the area of the scan."""
    beam = request.beam
    image = operator.image(
        beam.aberrations,
        semiangle=beam.semiangle_rad,
        source_size=beam.source_size_angstrom,
        focal_spread=beam.focal_spread_angstrom,
        region=region_of(request.scan),
    )
    values = scanned(image, request.scan)
    accuracy = operator.accuracy
    if accuracy is None:
        message = "This local operator was built without its check against multislice. Use engine='local', which builds and checks it."
        raise SettingsError(message)
    remark = (
        f"local operator: at {accuracy.points} random points rms {accuracy.rms:.2e}, largest {accuracy.largest:.2e} "
        f"of the mean, relative to multislice; requested tolerance {request.tolerance:g}"
    )
    if request.film_slices_angstrom is not None:
        joined = operator.joined
        remark += "; no slices joined" if joined is None else f"; slices of films joined, {len(joined.starts)} instead of {joined.count}"
    if request.growing_windows:
        remark += f"; windows of {', '.join(f'{max(stage.grid.extent):.1f}' for stage in operator.windows.stages)} A"
    return values, np.full(len(values), accuracy.standard_error), remark


def operator_for(request: Request, plan: Plan, progress: Progress | None = None) -> LocalOperator:
    """Return the local operator of a request, built for the area of its scan. Parts in the caches are not built again."""
    asked = () if request.film_slices_angstrom is None else ("films", request.film_slices_angstrom)
    asked += ("growing",) * request.growing_windows
    key = operator_cache.physics_key(request, plan, engine=(NAME, request.tolerance, *asked))
    beam, region = request.beam, region_of(request.scan)
    weights, periodic = operator_cache.detector_weights(request, plan), getattr(request.sample, "periodic", True)
    cache = disk.default_cache()

    def build() -> LocalOperator:
        """Return the operator on disk, or a new one."""
        stacks = slice_stacks.Configurations(request, plan)
        found = local_cache.load(cache, key, stacks, beam.semiangle_rad, weights, periodic=periodic, antialias=request.antialias)
        if found is not None:
            return found
        stream = np.random.SeedSequence(request.seed, spawn_key=(CHECK_STREAM,))
        found = local_operator.build(
            stacks,
            beam.semiangle_rad,
            weights,
            rng=np.random.Generator(np.random.Philox(stream)),
            tolerance=request.tolerance,
            region=region,
            periodic=periodic,
            antialias=request.antialias,
            progress=progress,
            cache=cache,
            key=key,
            film=slice_stacks.film_of(request, plan.slices, request.film_slices_angstrom),
            growing=request.growing_windows,
        )
        local_cache.keep(cache, key, found)
        return found

    operator = operator_cache.LOCAL.get(key, build)
    build_for(operator, request, progress)
    return operator


def build_for(operator: LocalOperator, request: Request, progress: Progress | None = None) -> None:
    """Build the parts of an operator that the probes of a scan need and that are missing."""
    margin = local_operator.MARGIN + local_operator.blur(request.beam.aberrations, request.beam.semiangle_rad)
    operator.build(region_of(request.scan), margin=margin, progress=progress)


ENGINES.add(
    NAME,
    Engine(cost=cost, signals=signals, exactness=to_tolerance, check=check, suits=suits, vacuum_around=True),
    REIMAGING,
    JOINING,
)
