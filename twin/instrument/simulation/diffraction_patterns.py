"""Requests with a camera: expected diffraction patterns, exact, from the scattering matrix or from multislice of each probe."""

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
from stemtwin.twin.instrument.simulation import costs, memory, operator_cache, results, serialisation, slice_stacks
from stemtwin.twin.instrument.simulation.costs import Cost
from stemtwin.twin.instrument.simulation.plan import Plan, choose_grid, make_plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics.engine.kernels import threads
from stemtwin.twin.physics.engine.operator import diffraction
from stemtwin.twin.progress import Progress

ENGINES = ("auto", "operator", "multislice")
"""Engines of a camera: the scattering matrix is what an operator is made of."""
SECONDS_PER_AMPLITUDE = 8e-11
"""Usual time per probe, plane wave and reciprocal pixel of the products on two cores, s."""
ANGLE = {"units": "mrad"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Patterns:
    """How a camera's patterns are computed: the request for the camera alone, its plan, the camera, plane waves and pixels, and the least window."""

    request: Request
    plan: Plan
    camera: PixelatedDetector
    layout: diffraction.PatternLayout
    window_angstrom: float

    @property
    def optics(self) -> diffraction.ProbeOptics:
        """The beam as the engine takes it."""
        beam = self.request.beam
        return diffraction.ProbeOptics(
            aberrations=beam.aberrations,
            semiangle=beam.semiangle_rad,
            source_size=beam.source_size_angstrom,
            focal_spread=beam.focal_spread_angstrom,
        )


def has_camera(request: Request) -> bool:
    """Return whether a camera is among the detectors."""
    return bool(detectors.cameras(request.detectors))


def plan_patterns(request: Request, *, held: bool = True) -> Patterns:
    """Decide how to compute the patterns of a request with a camera.

    Parameters
    ----------
    request : Request
        The request; its other detectors are left aside.
    held : bool
        Whether all patterns are held in memory at once.

    Raises
    ------
    SettingsError
        The engine gives no patterns, or the memory does not suffice.
    SamplingError
        The grid cannot hold the aperture or the camera's corners.
    """
    camera = the_camera(request)
    if request.engine not in ENGINES:
        message = f"engine={request.engine!r} gives no diffraction patterns. Use one of {', '.join(ENGINES)}."
        raise SettingsError(message)
    if request.depths_angstrom is not None:
        message = f"A camera sees the exit face only, and depths_angstrom asks for {request.faces} depths. Leave it out, or take other detectors."
        raise SettingsError(message)
    ring = AnnularDetector(inner_mrad=0, outer_mrad=camera.corner_mrad, name=camera.name)
    alone = replace(request, detectors=(ring,), engine="multislice")
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
    notes = list(plan.notes)
    if max(layout.pixel) > pitch * (1 + 1e-9):
        coarse = max(layout.pixel) * wavelength * 1e3
        notes.append(f"the cell resolves {coarse:.3g} mrad, coarser than the camera's {camera.pixel_mrad:.3g} mrad: its pixels repeat")
    found = Patterns(request=replace(alone, engine=request.engine), plan=plan, camera=camera, layout=layout, window_angstrom=window)
    engine, reason, price = _engine(found, plan, held=held)
    _check(found, price, held=held)
    final = replace(plan, engine=engine, reason=reason, waves=price.waves, memory_bytes=price.memory_bytes, seconds=price.seconds, notes=tuple(notes))
    return replace(found, plan=final)


def the_camera(request: Request) -> PixelatedDetector:
    """Return the camera of a request; a named one gets the angles that suit the beam."""
    (camera,) = detectors.cameras(request.detectors)
    if isinstance(camera, str):
        made = detectors.DETECTORS[camera](request.beam.semiangle_mrad, 1e3)
        assert isinstance(made, PixelatedDetector)  # it has the tag
        return made
    return camera


def _engine(found: Patterns, plan: Plan, *, held: bool) -> tuple[str, str, Cost]:
    """Return the engine, why it, and what it costs."""
    asked = found.request.engine
    matrix, waves = _price(found, plan, "operator", held=held), _price(found, plan, "multislice", held=held)
    if asked == "multislice":
        return asked, "asked for", waves
    if asked == "operator":
        return asked, "asked for: the scattering matrix", matrix
    if waves.waves < matrix.waves or not memory.fits(matrix.memory_bytes):
        few = f"{waves.waves} probes and plane waves" if waves.waves < matrix.waves else "the scattering matrix does not fit the memory"
        return "multislice", few, waves
    return "operator", f"{plan.beams} plane waves give every pattern: the scattering matrix", matrix


def _price(found: Patterns, plan: Plan, engine: str, *, held: bool) -> Cost:
    layout, request = found.layout, found.request
    points, pixels = request.scan.count, math.prod(found.camera.shape_read)
    modes = sum(len(m) for m in layout.amplitudes(found.optics)[0]) / len(layout.blocks)
    area, slices, count = math.prod(plan.grid.shape), len(plan.slices.planes), plan.configurations
    most = max(block.seen.size for block in layout.blocks)
    base = memory.program() + memory.KERNELS + memory.of_specimen(plan.grid, slices, request.oversampling, count)
    base += 8 * sum(block.shares.nnz for block in layout.blocks)
    base += 4 * math.prod(request.scan.shape) * pixels if held else 0
    step = costs.FIRST_SECONDS, slices * costs.step_seconds(area)
    if engine == "operator":
        waves = count * plan.beams
        batch = threads.thread_count() * diffraction.PROBES * (16 * most + 12 * pixels)
        seconds = step[0] + waves * step[1] + points * modes * count * layout.products * SECONDS_PER_AMPLITUDE
        return Cost(waves=waves, memory_bytes=int(base + 8 * count * layout.products + batch), seconds=seconds)
    alone = sum(np.count_nonzero(rim) for rim in layout.rims(found.optics.semiangle)) if request.antialias else 0
    waves = int(count * (points * modes * len(layout.blocks) + alone))
    batch = min(points, diffraction.WAVES_AT_ONCE) * (16 * most + 8 * pixels) + 8 * alone * most
    return Cost(waves=waves, memory_bytes=int(base + batch), seconds=step[0] + waves * step[1])


def _check(found: Patterns, price: Cost, *, held: bool) -> None:
    """Refuse what does not fit the memory, before any work."""
    if memory.fits(price.memory_bytes):
        return
    shape = (*found.request.scan.shape, *found.camera.shape_read)
    cube = 4 * math.prod(shape)
    if held and memory.fits(price.memory_bytes - cube):
        message = (
            f"Patterns of shape {' x '.join(map(str, shape))} take {cube / 2**30:.1f} GiB, more than the memory has beside the rest. "
            "Write them to disk with save_patterns, bin the camera, or take fewer points."
        )
        raise SettingsError(message)
    memory.check(price.memory_bytes)


def matrix_for(found: Patterns, *, progress: Progress | None = None) -> diffraction.DiffractionMatrix:
    """Return the scattering matrix of a specimen and a camera; the one that the process holds is not built again."""
    shape, pitch = found.layout.camera.shape, found.layout.camera.pitch
    key = f"{operator_cache.physics_key(found.request, found.plan)}-{shape}-{pitch}"
    return operator_cache.MATRICES.get(
        key, lambda: diffraction.build(slice_stacks.stacks(found.request, found.plan), found.layout, progress=progress)
    )


def expected_patterns(found: Patterns, positions: np.ndarray, *, out: np.ndarray | None = None, progress: Progress | None = None) -> np.ndarray:
    """Return what each pixel gets, as a fraction of the incident beam, float32, shape (P, ny, nx), of probes (x, y), A, shape (P, 2)."""
    if found.plan.engine == "multislice":
        stacks = slice_stacks.stacks(found.request, found.plan)
        patterns = diffraction.probe_patterns(stacks, found.layout, positions, found.optics, progress=progress)
        if out is None:
            return patterns
        out[...] = patterns
        return out
    return matrix_for(found, progress=progress).patterns(positions, found.optics, out=out)


def visited(scan: Scan) -> np.ndarray:
    """Return at which points of a scan the beam is, bool, the shape of the scan."""
    return scan.visited if isinstance(scan, SparseScan) else np.ones(scan.shape, bool)


def patterns_at(found: Patterns, positions: np.ndarray, wanted: np.ndarray, *, progress: Progress | None = None) -> np.ndarray:
    """Return the patterns of points (x, y), A, shape (..., 2), float32, shape (..., ny, nx); NaN where they are not wanted."""
    out = np.empty((*wanted.shape, *found.camera.shape_read), np.float32)
    if wanted.all():
        expected_patterns(found, positions.reshape(-1, 2), out=out.reshape(-1, *out.shape[-2:]), progress=progress)
        return out
    out[...] = np.nan
    if wanted.any():
        out[wanted] = expected_patterns(found, positions[wanted], progress=progress)
    return out


def simulate_with_camera(request: Request, signals: Callable[[Request, float, Progress | None], xr.Dataset], progress: Progress | None) -> xr.Dataset:
    """Return the patterns of the camera, and beside them what ``signals(request, window_angstrom, progress)`` gives for the other detectors.

    All of them see the same specimen on the same grid, and the same window about the probe.
    """
    rest = tuple(d for d in request.detectors if d not in detectors.cameras(request.detectors))
    if not isinstance(getattr(request.sample, "array", None), np.ndarray):
        grid, _ = choose_grid(request)
        request = replace(request, grid=grid.shape, sampling_angstrom=None)
    found = plan_patterns(request)
    others = signals(replace(request, detectors=rest), found.window_angstrom, progress) if rest else None
    scan = found.request.scan
    out = to_dataset(found, patterns_at(found, scan.positions(), visited(scan), progress=progress))
    return out if others is None else out.assign(others.data_vars).assign_coords(others.coords)


def to_dataset(found: Patterns, patterns: Any) -> xr.Dataset:
    """Return patterns, shape (..., ny, nx) like the scan, as a Dataset with angles in mrad."""
    return xr.Dataset(
        {found.camera.name: ((*results.dimensions(found.request.scan), "ky", "kx"), patterns, variable_attrs(found))},
        {**results.coordinates(found.request.scan), **angles(found.camera)},
        describe(found),
    )


def angles(camera: PixelatedDetector) -> dict[str, Any]:
    """Return the coordinates of a camera's pixels as read, mrad."""
    ny, nx = camera.shape_read
    ky, kx = (camera.pixel_mrad * (np.arange(n) - (n - 1) / 2) for n in (ny, nx))
    return {"ky": ("ky", ky, ANGLE), "kx": ("kx", kx, ANGLE)}


def variable_attrs(found: Patterns) -> dict[str, Any]:
    """Return what a pattern's variable says of itself: enough to interpret it when it stands alone."""
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
    exactness = "reference" if found.plan.engine == "multislice" else "the same as multislice but for rounding (1e-5 of the brightest pixel)"
    attrs = results.describe(found.request, found.plan, exactness)
    settings = json.loads(attrs["stemtwin_settings"])
    settings["detectors"] = [serialisation.detector_to_dict(found.camera)]
    settings["modes"] = sum(len(m) for m in found.layout.amplitudes(found.optics)[0])
    return attrs | {"title": "simulated diffraction patterns", "stemtwin_settings": json.dumps(settings)}
