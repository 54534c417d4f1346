"""Exact expected diffraction patterns of requests with a camera, by the scattering matrix or by multislice of each probe."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument import detectors
from stemtwin.twin.instrument.detectors import AnnularDetector, PixelatedDetector
from stemtwin.twin.instrument.scan import Scan, SparseScan
from stemtwin.twin.instrument.simulation import (
    costs,
    crystal_average,
    doubtful_physics,
    memory,
    operator_cache,
    results,
    serialisation,
    slice_stacks,
)
from stemtwin.twin.instrument.simulation.costs import Cost
from stemtwin.twin.instrument.simulation.discretisation import choose_grid
from stemtwin.twin.instrument.simulation.engines import multislice, operator
from stemtwin.twin.instrument.simulation.plan import Plan, make_plan
from stemtwin.twin.instrument.simulation.request import AUTO, Request
from stemtwin.twin.physics.engine.kernels import threads
from stemtwin.twin.physics.engine.operator import diffraction
from stemtwin.twin.progress import Progress
from stemtwin.twin.registry import Registry

SECONDS_PER_AMPLITUDE = 8e-11
"""Typical time per probe, plane wave and reciprocal pixel of the products on two cores, s."""
ANGLE = {"units": "mrad"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Patterns:
    """Inputs from which the patterns of a camera are computed.

    Parameters
    ----------
    request : Request
        The request with the camera as its only detector.
    plan : Plan
        The plan of the request.
    camera : PixelatedDetector
        The camera.
    layout : PatternLayout
        Plane waves of the aperture and pixels of the camera.
    window_angstrom : float
        Smallest width of the probe window, A.
    """

    request: Request
    plan: Plan
    camera: PixelatedDetector
    layout: diffraction.PatternLayout
    window_angstrom: float

    @property
    def optics(self) -> diffraction.ProbeOptics:
        """Optics of the beam in the form that the computation of patterns needs."""
        beam = self.request.beam
        return diffraction.ProbeOptics(
            aberrations=beam.aberrations,
            semiangle=beam.semiangle_rad,
            source_size=beam.source_size_angstrom,
            focal_spread=beam.focal_spread_angstrom,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternEngine:
    """One way to compute patterns.

    Parameters
    ----------
    cost : callable
        ``cost(patterns, base)`` returns the cost. ``base`` is the memory, bytes, of the program, the specimen and the result.
    compute : callable
        ``compute(patterns, positions, out, progress)`` returns the patterns of probes, as :func:`expected_patterns` does.
    exactness : str
        Accuracy of the patterns, as a sentence.
    means : str
        Name of the method, which a plan quotes in its reason for the choice of this engine; empty for multislice of each probe.
    """

    cost: Callable[[Patterns, int], Cost]
    compute: Callable[[Patterns, np.ndarray, np.ndarray | None, Progress | None], np.ndarray]
    exactness: str
    means: str = ""


PATTERN_ENGINES: Registry[PatternEngine] = Registry("engine of patterns")
"""Pattern engines, by the names of the engines that propagate the same waves."""


def has_camera(request: Request) -> bool:
    """Return True if a camera is among the detectors."""
    return bool(detectors.cameras(request.detectors))


def plan_patterns(request: Request, *, held: bool = True) -> Patterns:
    """Return the plan of the patterns of a request with a camera.

    Parameters
    ----------
    request : Request
        The request; its other detectors are ignored.
    held : bool
        Whether all patterns are in memory at once.

    Raises
    ------
    SettingsError
        The engine does not compute patterns, or the memory does not suffice.
    SamplingError
        The grid does not reach the angles of the aperture or of the camera's corners.
    """
    camera = the_camera(request)
    if request.engine not in (AUTO, *PATTERN_ENGINES):
        message = f"engine={request.engine!r} does not compute diffraction patterns. Use one of {', '.join((AUTO, *PATTERN_ENGINES))}."
        raise SettingsError(message)
    if request.depths_angstrom is not None:
        message = (
            f"A camera records patterns at the exit face only, but depths_angstrom requests {request.faces} depths. "
            "Omit depths_angstrom, or use other detectors."
        )
        raise SettingsError(message)
    crystal_average.check_without_turns(request, "diffraction patterns")
    ring = AnnularDetector(inner_mrad=0, outer_mrad=camera.corner_mrad, name=camera.name)
    whole = {"engine": multislice.NAME, "tolerance": 0.0}  # patterns are computed on the whole field
    alone = replace(request, detectors=(ring,), lattice_average=False, **whole)
    wavelength, (ty, tx) = request.beam.wavelength_angstrom, request.beam.tilt_rad
    pitch = camera.pixel_mrad * 1e-3 / wavelength
    window = 1 / pitch if getattr(request.sample, "periodic", True) else 0.0
    plan = make_plan(alone, window_angstrom=window)
    layout = diffraction.layout(
        plan.grid,
        wavelength,
        request.beam.semiangle_rad,
        diffraction.Camera(shape=camera.shape_read, pitch=(pitch, pitch), beam=(ty / wavelength, tx / wavelength)),
        blocks=plan.blocks,
        antialias=request.antialias,
    )
    notes = [*plan.notes, *doubtful_physics.notes(request)]
    if max(layout.pixel) > pitch * (1 + 1e-9):
        coarse = max(layout.pixel) * wavelength * 1e3
        notes.append(f"the cell resolves {coarse:.3g} mrad, coarser than the camera's {camera.pixel_mrad:.3g} mrad: neighbouring pixels are equal")
    asked = replace(alone, engine=request.engine, lattice_average=request.lattice_average)
    found = Patterns(request=asked, plan=plan, camera=camera, layout=layout, window_angstrom=window)
    engine, reason, price = _choice(found, held=held)
    _check(found, price, held=held)
    changed: dict[str, Any] = {"waves": price.waves, "memory_bytes": price.memory_bytes, "seconds": price.seconds}
    average = crystal_average.average_of(request) if engine == operator.NAME else None
    if average is not None:
        changed |= {"average": average, "configurations": average.least}
        notes.append(crystal_average.planned(average))
    final = replace(plan, engine=engine, reason=reason, **changed, notes=tuple(notes), exactness=PATTERN_ENGINES[engine].exactness)
    return replace(found, plan=final)


def the_camera(request: Request) -> PixelatedDetector:
    """Return the camera of a request. If it is given by name, its angles follow from the convergence semi-angle."""
    (camera,) = detectors.cameras(request.detectors)
    if isinstance(camera, str):
        made = detectors.DETECTORS[camera](request.beam.semiangle_mrad, 1e3)
        assert isinstance(made, PixelatedDetector)  # it has the tag
        return made
    return camera


def _choice(found: Patterns, *, held: bool) -> tuple[str, str, Cost]:
    """Return the engine, the reason for it, and its cost."""
    asked, base = found.request.engine, _base_bytes(found, held=held)
    price = {name: PATTERN_ENGINES[name].cost(found, base) for name in PATTERN_ENGINES}
    if asked in price:
        if asked != operator.NAME:
            crystal_average.check_unaveraged(found.request, asked)
        means = PATTERN_ENGINES[asked].means
        return asked, f"requested: {means}" if means else "requested", price[asked]
    matrix, waves = price[operator.NAME], price[multislice.NAME]
    if found.request.asks_for_average and crystal_average.average_of(found.request) is not None:
        return operator.NAME, f"{found.plan.beams} plane waves give every pattern, averaged over the lattice: the scattering matrix", matrix
    if waves.waves < matrix.waves or not memory.fits(matrix.memory_bytes):
        few = f"{waves.waves} probes and plane waves" if waves.waves < matrix.waves else "the scattering matrix exceeds the memory"
        return multislice.NAME, few, waves
    return operator.NAME, f"{found.plan.beams} plane waves give every pattern: the scattering matrix", matrix


def _base_bytes(found: Patterns, *, held: bool) -> int:
    """Return the memory of the program, the specimen and the camera's tables, and of all patterns if they are held, bytes."""
    plan, request = found.plan, found.request
    base = memory.program() + memory.KERNELS
    base += memory.of_specimen(plan.grid, len(plan.slices.planes), request.oversampling, plan.configurations)
    base += 8 * sum(block.shares.nnz for block in found.layout.blocks)
    return base + (4 * math.prod(request.scan.shape) * math.prod(found.camera.shape_read) if held else 0)


def _step_seconds(plan: Plan) -> float:
    """Return the estimated time of one wave through the specimen, s."""
    return len(plan.slices.planes) * costs.step_seconds(math.prod(plan.grid.shape))


def _modes(found: Patterns) -> float:
    """Return the number of coherent modes of the beam, averaged over all blocks."""
    return sum(len(m) for m in found.layout.amplitudes(found.optics)[0]) / len(found.layout.blocks)


def _most_pixels(found: Patterns) -> int:
    """Return the largest number of reciprocal pixels that the camera covers in one block."""
    return max(block.seen.size for block in found.layout.blocks)


def _cost_of_matrix(found: Patterns, base: int) -> Cost:
    """Return the cost of the scattering matrix: each plane wave is propagated once, and products follow for each probe and mode."""
    plan, layout, count = found.plan, found.layout, crystal_average.configurations(found.request)
    waves = count * plan.beams
    batch = threads.thread_count() * diffraction.PROBES * (16 * _most_pixels(found) + 12 * math.prod(found.camera.shape_read))
    seconds = costs.FIRST_SECONDS + waves * _step_seconds(plan)
    seconds += found.request.scan.count * _modes(found) * count * layout.products * SECONDS_PER_AMPLITUDE
    return Cost(waves=waves, memory_bytes=int(base + 8 * count * layout.products + batch), seconds=seconds)


def _cost_of_probes(found: Patterns, base: int) -> Cost:
    """Return the cost of multislice of each probe and of each aperture-edge wave."""
    request, layout, points, most = found.request, found.layout, found.request.scan.count, _most_pixels(found)
    edge_waves = sum(np.count_nonzero(power) for power in layout.rims(found.optics.semiangle)) if request.antialias else 0
    waves = int(found.plan.configurations * (points * _modes(found) * len(layout.blocks) + edge_waves))
    batch = min(points, diffraction.WAVES_AT_ONCE) * (16 * most + 8 * math.prod(found.camera.shape_read)) + 8 * edge_waves * most
    return Cost(waves=waves, memory_bytes=int(base + batch), seconds=costs.FIRST_SECONDS + waves * _step_seconds(found.plan))


def _check(found: Patterns, price: Cost, *, held: bool) -> None:
    """Refuse a computation that exceeds the memory, before any work."""
    if memory.fits(price.memory_bytes):
        return
    shape = (*found.request.scan.shape, *found.camera.shape_read)
    cube = 4 * math.prod(shape)
    if held and memory.fits(price.memory_bytes - cube):
        message = (
            f"Patterns of shape {' x '.join(map(str, shape))} take {cube / 2**30:.1f} GiB, more than the memory that the computation leaves free. "
            "Write them to disk with save_patterns, bin the camera, or use fewer points."
        )
        raise SettingsError(message)
    memory.check(price.memory_bytes)


def matrix_for(found: Patterns, *, progress: Progress | None = None) -> diffraction.DiffractionMatrix:
    """Return the scattering matrix of a specimen and a camera. It is built unless it is in the cache of the process."""
    shape, pitch = found.layout.camera.shape, found.layout.camera.pitch
    key = f"{operator_cache.physics_key(found.request, found.plan)}-{shape}-{pitch}"
    stacks, average = slice_stacks.stacks(found.request, found.plan), found.plan.average
    return operator_cache.MATRICES.get(key, lambda: diffraction.build(stacks, found.layout, progress=progress, average=average))


def settled(found: Patterns, *, progress: Progress | None = None) -> Patterns:
    """Return ``found`` with the final number of phonon configurations and the final error in its plan.

    Both follow from the scattering matrix, which is built unless it is in the cache of the process. If the plan has no average
    over lattice translations, ``found`` is returned unchanged.
    """
    if found.plan.average is None:
        return found
    matrix = matrix_for(found, progress=progress)
    assert matrix.average is not None  # the plan has one
    said = crystal_average.measured(len(matrix.matrices), matrix.average, matrix.standard_error)
    plan = replace(found.plan, configurations=len(matrix.matrices), exactness=f"{found.plan.exactness}; {said}")
    return replace(found, plan=plan)


def expected_patterns(found: Patterns, positions: np.ndarray, *, out: np.ndarray | None = None, progress: Progress | None = None) -> np.ndarray:
    """Return the fraction of the incident beam in each pixel of the camera, for probes at given positions.

    ``positions`` are the points (x, y), A, shape (P, 2). The result is float32, shape (P, ny, nx).
    """
    return PATTERN_ENGINES[found.plan.engine].compute(found, positions, out, progress)


def _patterns_of_matrix(found: Patterns, positions: np.ndarray, out: np.ndarray | None, progress: Progress | None) -> np.ndarray:
    return matrix_for(found, progress=progress).patterns(positions, found.optics, out=out)


def _patterns_of_probes(found: Patterns, positions: np.ndarray, out: np.ndarray | None, progress: Progress | None) -> np.ndarray:
    stacks = slice_stacks.stacks(found.request, found.plan)
    patterns = diffraction.probe_patterns(stacks, found.layout, positions, found.optics, progress=progress)
    if out is None:
        return patterns
    out[...] = patterns
    return out


PATTERN_ENGINES.add(
    operator.NAME,
    PatternEngine(
        cost=_cost_of_matrix,
        compute=_patterns_of_matrix,
        exactness="equal to multislice except for rounding (1e-5 of the brightest pixel)",
        means="the scattering matrix",
    ),
)
PATTERN_ENGINES.add(multislice.NAME, PatternEngine(cost=_cost_of_probes, compute=_patterns_of_probes, exactness="reference"))


def visited(scan: Scan) -> np.ndarray:
    """Return the mask of the points that the beam visits, bool, in the scan's shape."""
    return scan.visited if isinstance(scan, SparseScan) else np.ones(scan.shape, bool)


def patterns_at(found: Patterns, positions: np.ndarray, wanted: np.ndarray, *, progress: Progress | None = None) -> np.ndarray:
    """Return the patterns of probes at points, float32, shape (..., ny, nx).

    ``positions`` are the points (x, y), A, shape (..., 2). Patterns at points outside the mask ``wanted`` are NaN.
    """
    out = np.empty((*wanted.shape, *found.camera.shape_read), np.float32)
    if wanted.all():
        expected_patterns(found, positions.reshape(-1, 2), out=out.reshape(-1, *out.shape[-2:]), progress=progress)
        return out
    out[...] = np.nan
    if wanted.any():
        out[wanted] = expected_patterns(found, positions[wanted], progress=progress)
    return out


def simulate_with_camera(request: Request, signals: Callable[[Request, float, Progress | None], xr.Dataset], progress: Progress | None) -> xr.Dataset:
    """Return the patterns of the camera, and the signals of the other detectors from ``signals(request, window_angstrom, progress)``.

    All detectors share the specimen, the grid and the window around the probe.
    """
    rest = tuple(d for d in request.detectors if d not in detectors.cameras(request.detectors))
    if not isinstance(getattr(request.sample, "array", None), np.ndarray):
        grid, _ = choose_grid(request)
        request = replace(request, grid=grid.shape, sampling_angstrom=None)
    found = plan_patterns(request)
    scan = found.request.scan
    if found.plan.average is not None:  # all detectors use the same number of configurations
        found = settled(found, progress=progress)
        request = replace(request, phonons=found.plan.configurations, lattice_average=True)
    others = signals(replace(request, detectors=rest), found.window_angstrom, progress) if rest else None
    out = to_dataset(found, patterns_at(found, scan.positions(), visited(scan), progress=progress))
    return out if others is None else out.assign(others.data_vars).assign_coords(others.coords)


def to_dataset(found: Patterns, patterns: Any) -> xr.Dataset:
    """Return patterns, shape (..., ny, nx) with the scan's leading dimensions, as a Dataset with angles in mrad."""
    return xr.Dataset(
        {found.camera.name: ((*results.dimensions(found.request.scan), "ky", "kx"), patterns, variable_attrs(found))},
        {**results.coordinates(found.request.scan), **angles(found.camera)},
        describe(found),
    )


def angles(camera: PixelatedDetector) -> dict[str, Any]:
    """Return the coordinates of a camera's pixels after binning, mrad."""
    ny, nx = camera.shape_read
    ky, kx = (camera.pixel_mrad * (np.arange(n) - (n - 1) / 2) for n in (ny, nx))
    return {"ky": ("ky", ky, ANGLE), "kx": ("kx", kx, ANGLE)}


def variable_attrs(found: Patterns) -> dict[str, Any]:
    """Return the attributes of a variable with patterns. They suffice to interpret the variable without the Dataset."""
    request = found.request
    return {
        "units": "1",
        "long_name": "fraction of the incident beam in each pixel",
        "energy_ev": request.beam.energy_ev,
        "semiangle_mrad": request.beam.semiangle_mrad,
        "pixel_mrad": found.camera.pixel_mrad,
        "resolved_mrad": max(found.layout.pixel) * request.beam.wavelength_angstrom * 1e3,
    }


def describe(found: Patterns) -> dict[str, Any]:
    """Return the attributes of a result with patterns."""
    attrs = results.describe(found.request, found.plan, found.plan.exactness)
    settings = json.loads(attrs["stemtwin_settings"])
    settings["detectors"] = [serialisation.detector_to_dict(found.camera)]
    settings["modes"] = sum(len(m) for m in found.layout.amplitudes(found.optics)[0])
    return attrs | {"title": "simulated diffraction patterns", "stemtwin_settings": json.dumps(settings)}
