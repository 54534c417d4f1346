"""The engine ``thermal``: dark field by thermal diffuse cross-sections of one specimen on a coarse grid, with a measured error.

The result always states the error, 1 to 15 % in most cases of ``docs/thermal.md``. The error is measured relative to multislice
with frozen phonons, and is then stored (:mod:`~stemtwin.twin.instrument.simulation.thermal_check`). If ``measure_error`` is False and no error
is stored for the sample, the result states the errors that were measured on other samples.
``"auto"`` chooses this engine only if the stored error is within the tolerance.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from stemtwin.twin.errors import SamplingError, SettingsError
from stemtwin.twin.instrument.detectors import AnnularDetector, Detector
from stemtwin.twin.instrument.settings import PotentialSlices
from stemtwin.twin.instrument.simulation import costs, memory, operator_cache, thermal_check
from stemtwin.twin.instrument.simulation.costs import Cost
from stemtwin.twin.instrument.simulation.discretisation import LEAST_WINDOW, WINDOW_MARGIN, Discretisation, discretise
from stemtwin.twin.instrument.simulation.engines.registry import ENGINES, Engine, Signals
from stemtwin.twin.instrument.simulation.plan import Plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.instrument.simulation.scan_signals import reports_all_waves
from stemtwin.twin.instrument.simulation.source_rasters import SourceRaster, source_raster
from stemtwin.twin.physics import coherence, electrons, probe
from stemtwin.twin.physics.engine.kernels import threads
from stemtwin.twin.physics.engine.kernels.simd_complex64 import LANES
from stemtwin.twin.physics.engine.multislice import thermal_specimen
from stemtwin.twin.physics.engine.multislice.absorbing import absorbed
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack
from stemtwin.twin.physics.engine.multislice.thermal_specimen import ThermalAtoms, ThermalOptics, ThermalSpecimen
from stemtwin.twin.physics.engine.operator import beam_blocks, single_probes
from stemtwin.twin.physics.grids import Grid, fast_length
from stemtwin.twin.physics.thermal_scattering import Ring
from stemtwin.twin.progress import Progress

NAME = "thermal"
BAND, LARGEST_BAND = 0.85, 60.0
"""Band limit of the waves as a fraction of the smallest inner angle, and its largest value, mrad.

Waves closer to the ring would contribute signals that are not local.
"""
DARK = 2.0
"""Smallest inner angle of a ring in units of the convergence semi-angle."""
LEAST_BOX = 3.0
"""Smallest side of a box, A; the probes inside a box share a window."""
RIM_WAVES = 16
"""Number of aperture-edge waves that represent the probe's tails beyond its window."""
COHERENCE_TOLERANCE = 2e-2
"""Largest fraction of a partially coherent beam outside its coherent modes; it is assumed to scatter like the probe's tails."""
SPECIMEN_SECONDS = 2.5e-7
"""Typical time per point, plane and ring of cross-sections and second scattering on two cores, s."""
SECONDS_PER_FACTOR = 6e-11
"""Typical time per atom and spatial frequency of structure factors on two cores, s."""
SECTION_SECONDS = 1.2
"""Time of a step with the sum over cross-sections in units of a multislice step."""


def check(found: Discretisation) -> None:
    """Refuse requests that the engine ``thermal`` cannot compute, and requests for which its stored error exceeds the tolerance."""
    request = found.request
    if isinstance(request.sample, PotentialSlices) or request.thermal_motion != "frozen":
        message = (
            f"engine={NAME!r} computes thermal diffuse scattering, but this sample has none with phonons={request.phonons!r}. "
            "Use a sample with thermal_sigma_angstrom and phonons='auto', or engine='multislice'."
        )
        raise SettingsError(message)
    least = DARK * request.beam.semiangle_mrad
    for each in found.detectors:
        if not is_dark((each,), request.beam.semiangle_mrad):
            message = (
                f"engine={NAME!r} needs uniform rings with an inner angle of at least {least:g} mrad, {DARK:g} times semiangle_mrad, not "
                f"{each.name} ({each.inner_mrad:g}-{each.outer_mrad:g} mrad). Use engine='operator', or a larger inner angle."
            )
            raise SamplingError(message)
    if any(request.beam.beam_tilt_mrad):
        message = (
            f"engine={NAME!r} does not support beam_tilt_mrad={request.beam.beam_tilt_mrad}, for which rings are not centred on the beam. "
            "Use engine='operator'."
        )
        raise SettingsError(message)
    if request.blocks is not None:
        message = f"engine={NAME!r} chooses its own windows, but blocks={request.blocks} is given. Omit blocks, or use engine='operator'."
        raise SettingsError(message)
    if request.measure_error:
        thermal_check.refuse_if_missed(request, found.detectors)


def suits(found: Discretisation) -> str:
    """Return the reason why ``engine="auto"`` may choose ``thermal`` for a request, or an empty string if it may not.

    ``thermal`` may be chosen if all detectors are dark-field rings, and the stored error is within the tolerance and known precisely enough.
    """
    dark = is_dark(found.detectors, found.request.beam.semiangle_mrad)
    known = dark and thermal_check.is_known_to_suffice(found.request, found.detectors)
    return "the stored error of thermal cross-sections is within the tolerance" if known else ""


def is_dark(detectors: Sequence[Detector], semiangle_mrad: float) -> bool:
    """Return True if all detectors are uniform rings with inner angles of at least twice the convergence semi-angle."""
    least = DARK * semiangle_mrad - 1e-9
    return all(isinstance(each, AnnularDetector) and each.sensitivity is None and each.inner_mrad >= least for each in detectors)


def cost(found: Discretisation) -> Cost:
    """Return the cost of the specimen on a coarse grid, of each probe in its window, and of the error check if no error is stored."""
    request, planes = found.request, len(found.slices.planes)
    grid = coarse_grid(request, found.grid.extent, min(d.inner_mrad for d in found.detectors))
    window = _window(request, grid, float(found.slices.planes[-1]))
    waves = _work(request, window)[1] + RIM_WAVES
    area, small, channels, atoms = math.prod(grid.shape), math.prod(window.shape), found.channels, len(getattr(request.sample, "numbers", ()))
    beams = 2 * sum(((d.outer_mrad + request.beam.semiangle_mrad) * 1e-3 / request.beam.wavelength_angstrom) ** 2 for d in found.detectors)
    specimen = area * planes * (SPECIMEN_SECONDS * channels + 4 * costs.SECONDS_PER_VALUE)
    specimen += atoms * (area / 2 + beams * math.prod(grid.extent)) * SECONDS_PER_FACTOR
    imaging = SECTION_SECONDS * planes * (waves * costs.step_seconds(small) + RIM_WAVES * costs.step_seconds(area))
    measuring = thermal_check.seconds(found) if request.measure_error else 0.0
    held = area * planes * (8 + 4 * channels + 4 * 5)
    return Cost(
        waves=waves,
        memory_bytes=int(costs.program_bytes(found) + held + threads.thread_count() * small * planes * 24 + memory.working_memory(grid)),
        seconds=costs.FIRST_SECONDS + specimen + imaging + measuring,
    )


def _work(request: Request, window: Grid) -> tuple[SourceRaster | None, int]:
    """Return the coarse raster that replaces the scan, or None if the scan itself needs fewer waves; and the number of waves."""
    itself = request.scan.count * len(_modes(request, window))
    raster = source_raster(request)
    if raster is not None and (waves := raster.count * len(_modes(_sharp(request), window))) < itself:
        return raster, waves
    return None, itself


def _sharp(request: Request) -> Request:
    """Return a request with a point source."""
    return replace(request, beam=replace(request.beam, source_size_angstrom=0.0))


def coarse_grid(request: Request, extent: tuple[float, float], inner: float) -> Grid:
    """Return the grid of the waves for a ring with the given inner angle, mrad.

    The grid contains all scattering angles up to the band limit :func:`band`.
    """
    step = request.beam.wavelength_angstrom / (3e-3 * band(inner))
    ny, nx = (fast_length(max(16, math.ceil(side / step - 1e-9))) for side in extent)
    return Grid(shape=(ny, nx), extent=extent)


def band(inner: float) -> float:
    """Return the band limit of the waves (mrad) for a ring with the given inner angle, mrad."""
    return min(BAND * inner, LARGEST_BAND)


def window_shape(request: Request, grid: Grid, thickness: float) -> tuple[int, int]:
    """Return the number of points (ny, nx) of a window.

    The probes in a box, a small area of the scan, share one window. A window larger than the cell of a periodic specimen
    consists of whole cells.
    """
    shape = []
    for count, step, around in zip(grid.shape, grid.sampling, _around(request, thickness), strict=True):
        points = math.ceil((around + LEAST_BOX) / step)
        cells = math.ceil(points / count)
        while not _is_fast(cells):
            cells += 1
        repeats = getattr(request.sample, "periodic", True) and fast_length(points) >= count
        shape.append(count * cells if repeats else fast_length(points))
    return shape[0], shape[1]


def _window(request: Request, grid: Grid, thickness: float) -> Grid:
    shape = window_shape(request, grid, thickness)
    return Grid(shape=shape, extent=_extent(shape, grid))


def _around(request: Request, thickness: float) -> list[float]:
    """Return the margins of a window around its box along y and x (A) for a probe in a tilted specimen."""
    probes = max(LEAST_WINDOW, WINDOW_MARGIN + 2 * request.beam.probe_radius(thickness))
    return [probes + 2 * thickness * abs(math.tan(tilt)) for tilt in request.relative_tilt_rad]


def _is_fast(n: int) -> bool:
    return fast_length(2 * n) == 2 * n


def _extent(shape: tuple[int, int], grid: Grid) -> tuple[float, float]:
    return shape[0] * grid.sampling[0], shape[1] * grid.sampling[1]


def specimen_for(request: Request, plan: Plan) -> ThermalSpecimen:
    """Return the specimen of a request with its thermal cross-sections; it is built unless it is in the cache of the process."""
    wavelength, sample = request.beam.wavelength_angstrom, request.sample
    assert not isinstance(sample, PotentialSlices)  # refused before, like static samples
    sigma = sample.thermal_sigma_angstrom
    assert sigma is not None

    def build() -> ThermalSpecimen:
        """Return the specimen with the signals of aperture-edge waves."""
        atoms = ThermalAtoms(
            positions=sample.positions_angstrom,
            numbers=sample.numbers,
            sigma=sigma,
            slices=plan.slices,
            tilt=request.relative_tilt_rad,
        )
        optics = ThermalOptics(
            wavelength=wavelength,
            interaction=electrons.interaction_constant(request.beam.energy_ev),
            radius=request.beam.semiangle_rad / wavelength,
            parametrization=request.parametrization,
            oversampling=request.oversampling,
        )
        rings = [Ring(inner=d.inner_mrad * 1e-3 / wavelength, outer=d.outer_mrad * 1e-3 / wavelength) for d in plan.detectors]
        made = thermal_specimen.build(atoms, coarse_grid(request, plan.grid.extent, _inner(plan)), rings, optics)
        return replace(made, rim=_rim_signals(request, made, band(_inner(plan)) * 1e-3 / wavelength))

    return operator_cache.THERMAL.get(operator_cache.physics_key(request, plan, engine=(NAME,)), build)


def _inner(plan: Plan) -> float:
    return min(d.inner_mrad for d in plan.detectors)


def _modes(request: Request, grid: Grid) -> np.ndarray:
    """Return the amplitudes of the beam's coherent modes at the origin, complex128, shape (M, B), for a window's B beams."""
    beam = request.beam
    ky, kx = _beams(request, grid)[1:]
    a = probe.amplitudes(
        ky, kx, grid.reciprocal_sampling, beam.wavelength_angstrom, beam.semiangle_rad, beam.aberrations, antialias=request.antialias
    )
    spreads = {"source_size": beam.source_size_angstrom, "focal_spread": beam.focal_spread_angstrom}
    return coherence.modes(a, ky, kx, beam.wavelength_angstrom, tolerance=COHERENCE_TOLERANCE, **spreads)


def _beams(request: Request, grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the aperture's beams of a window, flat indices, and their ky and kx, 1/A."""
    beam = request.beam
    beams = beam_blocks.aperture_beams(grid, beam.wavelength_angstrom, beam.semiangle_rad, (0.0, 0.0), (1, 1), antialias=request.antialias)
    return beams, grid.ky[beams // grid.shape[1]], grid.kx[beams % grid.shape[1]]


def model_signals(request: Request, plan: Plan, points: np.ndarray, progress: Progress | None = None) -> np.ndarray:
    """Return signals computed from thermal cross-sections, float64, shape (channels, P), for probes at points (x, y), A, shape (P, 2)."""
    specimen = specimen_for(request, plan)
    window = _window(request, specimen.grid, float(specimen.planes[-1]))
    beams, ky, kx = _beams(request, window)
    modes, cut = _modes(request, window), band(_inner(plan)) * 1e-3 / request.beam.wavelength_angstrom
    norm = float((np.abs(modes) ** 2).sum())
    assert specimen.rim is not None
    tails = max(1 - norm, 0.0) * specimen.rim
    out = np.empty((specimen.sections.shape[0], len(points)))

    def work(queue: Iterator[tuple[np.ndarray, tuple[int, int]]]) -> None:
        """Compute the probes of boxes in the scratch memory of one thread."""
        transmission = np.empty((len(specimen.planes), *window.shape), np.complex64)
        sections = np.empty((len(specimen.sections), *transmission.shape), np.float32)
        stack = _stack(request, specimen, window, transmission)
        for which, corner in queue:
            _cut(request, specimen, corner, transmission, sections)
            at = points[which] - np.array([corner[1] * window.sampling[1], corner[0] * window.sampling[0]])
            phase = np.exp(-2j * np.pi * (np.outer(at[:, 0], kx) + np.outer(at[:, 1], ky)))
            waves = (modes[:, None] * phase).reshape(-1, beams.size).astype(np.complex64)
            out[:, which] = absorbed(stack, beams, waves, sections, cut).reshape(len(sections), len(modes), -1).sum(axis=1)
            if progress is not None:
                progress(len(waves))

    sides = [side - around for side, around in zip(window.extent, _around(request, float(specimen.planes[-1])), strict=True)]
    threads.spread(work, _boxes(points, window, (sides[0], sides[1])))
    return out + tails[:, None] if request.antialias else out / norm


def _boxes(points: np.ndarray, window: Grid, sides: tuple[float, float]) -> Iterator[tuple[np.ndarray, tuple[int, int]]]:
    """Yield the points of each box, with sides (y, x) of at most ``sides`` (A) and the first row and column of its window.

    The window may extend beyond the field. Boxes follow each other along strips. A box ends with a full batch of waves,
    because sixteen waves take as long as one.
    """
    strips = np.floor(points[:, 1] / sides[0]).astype(int)
    for strip in np.unique(strips):
        inside = np.flatnonzero(strips == strip)
        inside = inside[np.argsort(points[inside, 0], kind="stable")]
        x = points[inside, 0]
        while x.size:
            count = int(np.searchsorted(x, x[0] + sides[1], side="right"))
            count -= count % LANES if LANES <= count < x.size else 0
            middle = (strip + 0.5) * sides[0], (x[0] + x[count - 1]) / 2
            row, column = (round(m / step) - n // 2 for m, step, n in zip(middle, window.sampling, window.shape, strict=True))
            yield inside[:count], (row, column)
            inside, x = inside[count:], x[count:]


def _cut(request: Request, specimen: ThermalSpecimen, corner: tuple[int, int], transmission: np.ndarray, sections: np.ndarray) -> None:
    """Write the planes and cross-sections in a window, with vacuum around a specimen that is not periodic, into arrays of its shape."""
    pixels = [start + np.arange(n) for start, n in zip(corner, transmission.shape[-2:], strict=True)]
    rows, columns = (p % n for p, n in zip(pixels, specimen.grid.shape, strict=True))
    wraps = rows[0] + rows.size - 1 != rows[-1] or columns[0] + columns.size - 1 != columns[-1]
    part = (..., slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    for out, whole in ((transmission, specimen.transmission), (sections, specimen.sections)):
        np.copyto(out, np.take(np.take(whole, rows, axis=-2), columns, axis=-1) if wraps else whole[part])
    if not getattr(request.sample, "periodic", True):
        row, column = ((p < 0) | (p >= n) for p, n in zip(pixels, specimen.grid.shape, strict=True))
        if row.any() or column.any():
            transmission[..., row[:, None] | column], sections[..., row[:, None] | column] = 1, 0


def _stack(request: Request, specimen: ThermalSpecimen, grid: Grid, transmission: np.ndarray) -> SliceStack:
    return SliceStack(
        grid=grid,
        wavelength=request.beam.wavelength_angstrom,
        transmission=transmission,
        planes=specimen.planes,
        thickness=float(specimen.planes[-1]),
        tilt=request.relative_tilt_rad,
    )


def _rim_signals(request: Request, specimen: ThermalSpecimen, cut: float) -> np.ndarray:
    """Return the mean signals of aperture-edge waves, shape (channels,)."""
    beams, power = single_probes.rim_waves(specimen.grid, request.beam.wavelength_angstrom, request.beam.semiangle_rad, (0.0, 0.0), (1, 1))
    if not beams.size:
        return np.zeros(len(specimen.sections))
    some = np.unique(np.linspace(0, beams.size - 1, RIM_WAVES).round().astype(int))
    stack = _stack(request, specimen, specimen.grid, specimen.transmission)
    alone = absorbed(stack, beams[some], np.eye(some.size, dtype=np.complex64), specimen.sections, cut)
    return alone @ power[some] / power[some].sum()


def model_of(request: Request, plan: Plan) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that computes signals from thermal cross-sections at given points."""
    return lambda points: model_signals(request, plan, points)


def checked_signals(request: Request, plan: Plan, progress: Progress | None) -> Signals:
    """Return the signals of thermal diffuse scattering and their error, measured on this sample or on other samples.

    Raises
    ------
    SamplingError
        The measured error exceeds the tolerance.
    """
    if request.measure_error:
        thermal_check.measured(request, plan, model_of)
        thermal_check.refuse_if_missed(request, plan.detectors)
    specimen = specimen_for(request, plan)
    raster = _work(request, _window(request, specimen.grid, float(specimen.planes[-1])))[0]
    if raster is None:
        frames = request.scan.frame(model_signals(request, plan, request.scan.points(), progress))
    else:
        frames = raster.blurred(model_signals(_sharp(request), plan, raster.points(), progress))
    return np.maximum(frames, 0), np.full(len(frames), np.nan), thermal_check.remark(request, plan.detectors)


def exactness(request: Request) -> str:
    """Return the error of the engine ``thermal`` as a sentence: measured, to be measured, or measured on other samples."""
    return thermal_check.remark(request, discretise(request).detectors)


ENGINES.add(
    NAME,
    Engine(cost=cost, signals=reports_all_waves(checked_signals), exactness=exactness, check=check, suits=suits, in_parts=True, vacuum_around=True),
)
