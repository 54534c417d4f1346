"""The engine ``tiled``: imaging operators on overlapping windows compute the signals of a large field within a tolerance."""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from stemtwin.twin.errors import SamplingError
from stemtwin.twin.instrument.detectors import Detector
from stemtwin.twin.instrument.simulation import costs, memory, operator_cache, slice_stacks
from stemtwin.twin.instrument.simulation.costs import Cost
from stemtwin.twin.instrument.simulation.discretisation import Discretisation
from stemtwin.twin.instrument.simulation.engines import local
from stemtwin.twin.instrument.simulation.engines.registry import ENGINES, REIMAGING, Engine, Signals
from stemtwin.twin.instrument.simulation.plan import Plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.instrument.simulation.scan_signals import region_of, reports_all_waves
from stemtwin.twin.physics.engine.kernels import array_cache as disk
from stemtwin.twin.physics.engine.local import tiles as windows
from stemtwin.twin.physics.engine.local.accuracy_check import Accuracy
from stemtwin.twin.physics.engine.local.tiles import Divided, Rectangle, Tile, TileLayout
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack
from stemtwin.twin.physics.engine.operator import beam_blocks, gram_matrix, imaging_cache
from stemtwin.twin.physics.engine.operator.imaging_operator import ImagingOperator
from stemtwin.twin.physics.grids import Grid
from stemtwin.twin.progress import Progress

NAME = "tiled"
CHECK_STREAM = 11
"""First part of the spawn key of the points at which windows are checked."""


def bright_and_dark(request: Request, detectors: tuple[Detector, ...]) -> tuple[tuple[Detector, ...], tuple[Detector, ...]]:
    """Return the detectors whose signals come from operators on windows, and the dark-field detectors, which use the local operator."""
    dark = tuple(d for d in detectors if local.is_dark(request, (d,)))
    return tuple(d for d in detectors if d not in dark), dark


def suits(found: Discretisation) -> str:
    """Return the reason why ``engine="auto"`` may choose ``tiled`` for a request, or an empty string if it may not.

    It may if at least one detector is not in the dark field.
    """
    return "the field is divided into windows" if bright_and_dark(found.request, found.detectors)[0] else ""


def cost(found: Discretisation) -> Cost:
    """Return the cost of operators on windows, for bright-field detectors, and of a local operator, for dark-field detectors."""
    program, (bright, dark) = costs.program_bytes(found), bright_and_dark(found.request, found.detectors)
    windowed = replace(found, detectors=bright)
    parts = [_cost_of_windows(windowed, program)] if bright else []
    parts += [local.cost_beside(replace(found, detectors=dark), program)] if dark else []
    longest = _longest(windowed) + sum(p.seconds for p in parts[1:]) if bright else 0.0
    said = f"; if the check requires larger windows, at most {longest:.3g} s" if math.isfinite(longest) and bright else ""
    return Cost(
        waves=sum(p.waves for p in parts),
        memory_bytes=max(p.memory_bytes for p in parts),
        seconds=sum(p.seconds for p in parts),
        exactness=local.to_tolerance(found.request) + said,
        longest=longest,
    )


def _cost_of_windows(found: Discretisation, program: int) -> Cost:
    """Return the cost of windows that pass their first check.

    Its memory includes ``program``, the memory (bytes) of the running program and of the result.
    """
    request, channels, slices, count = found.request, found.channels, len(found.slices.planes), found.request.configurations
    divided = _layout(request, found.grid, _held(request, found.slices.planes))
    tiles, window, beams = divided.tiles_at(request.scan.points()), divided.window((0, 0)).grid, _beams(found, divided)
    pixels = memory.seen_pixels(found.detectors, window, request.beam.wavelength_angstrom)
    reference = divided.around((0, 0), windows.reference_shape(divided)).grid
    building = memory.of_specimen(window, slices, request.oversampling, count) + memory.working_memory(window)
    building += memory.of_operator(window, [beams], channels, pixels, count)
    checking = memory.of_specimen(reference, slices, request.oversampling, count) + memory.wave_memory(reference)
    held = min(
        len(tiles) * memory.of_matrices([beams], channels) * (2 if request.beam.focal_spread_angstrom else 1),
        memory.HELD_OPERATORS,
    )
    each, check = _seconds(found, divided)
    return Cost(
        waves=count * beams * len(tiles),
        memory_bytes=int(program + held + max(building, checking)),
        seconds=costs.FIRST_SECONDS + len(tiles) * each + check,
    )


def _beams(found: Discretisation, divided: TileLayout) -> int:
    """Return the number of plane waves of a window."""
    beam, window, offset, blocks = found.request.beam, divided.window((0, 0)).grid, (0.0, 0.0), (1, 1)
    antialias = found.request.antialias
    return beam_blocks.aperture_beams(window, beam.wavelength_angstrom, beam.semiangle_rad, offset, blocks, antialias=antialias).size


def _seconds(found: Discretisation, divided: TileLayout) -> tuple[float, float]:
    """Return the time of one window's operator, and the time of a check by multislice with its specimens, s."""
    request, slices, window, beams = found.request, len(found.slices.planes), divided.window((0, 0)).grid, _beams(found, divided)
    count, area = request.configurations, math.prod(found.grid.extent)
    reference = divided.around((0, 0), windows.reference_shape(divided)).grid
    pixels = memory.seen_pixels(found.detectors, window, request.beam.wavelength_angstrom)
    passes = math.ceil(pixels[0] / gram_matrix.portion(beams, gram_matrix.WAVES_BYTES))
    each = count * beams * passes * slices * costs.step_seconds(math.prod(window.shape))
    each += count * beams**2 * found.channels * pixels[1] * costs.SECONDS_PER_PRODUCT
    each += costs.specimen_seconds(request, window, slices, math.prod(window.extent) / area)
    check = 2 * count * windows.POINTS * slices * costs.step_seconds(math.prod(reference.shape))  # a batch of sixteen uses one of two cores
    whole = costs.specimen_seconds(request, reference, slices, min(1.0, math.prod(reference.extent) / area))
    return each, check + windows.POINTS // windows.IN_TILE * whole


def _longest(found: Discretisation) -> float:
    """Return the time of windows that grow as often as permitted, s; infinite if they would then be as large as the field."""
    request, held = found.request, _held(found.request, found.slices.planes)
    total = costs.FIRST_SECONDS
    for number in range(windows.GROWTHS + 1):
        try:
            divided = _layout(request, found.grid, held, windows.GROWTH**number)
        except SamplingError:
            return math.inf
        tiles = len(divided.tiles_at(request.scan.points()))
        each, check = _seconds(found, divided)
        built = tiles if number == windows.GROWTHS else min(tiles, windows.POINTS // windows.IN_TILE)
        total += built * each + check
    return total


def _held(request: Request, planes: np.ndarray) -> float:
    """Return the radius of the probe that a window holds down to the last plane, A."""
    return windows.held_radius(request.beam.probe_radius(float(planes[-1])))


def _layout(request: Request, grid: Grid, held: float, growth: float = 1.0) -> TileLayout:
    """Return the division of a field into windows that hold a probe of radius ``held``, A, enlarged by the factor ``growth``."""
    return windows.layout(
        grid,
        request.beam.semiangle_rad / request.beam.wavelength_angstrom,
        tolerance=request.tolerance,
        held=held,
        periodic=getattr(request.sample, "periodic", True),
        growth=growth,
    )


def checked_signals(request: Request, plan: Plan, progress: Progress | None) -> Signals:
    """Return signals of operators on windows (bright field) and of the local operator (dark field), with their measured errors.

    Raises
    ------
    SamplingError
        The error exceeds the tolerance even with larger windows, or a window would be as large as the field.
    """
    bright, dark = bright_and_dark(request, plan.detectors)
    values: dict[str, np.ndarray] = {}
    errors: dict[str, np.ndarray] = {}
    remarks = []
    for chosen, engine in ((bright, _signals_of_windows), (dark, local.checked_signals)):
        if chosen:
            found, error, remark = engine(request, replace(plan, detectors=chosen), progress)
            ends = np.cumsum([d.channels for d in chosen])[:-1]
            values |= zip((d.name for d in chosen), np.split(found, ends), strict=True)
            errors |= zip((d.name for d in chosen), np.split(error, ends), strict=True)
            remarks.append(f"{', '.join(d.name for d in chosen)}: {remark}" if bright and dark else remark)
    names = [d.name for d in plan.detectors]
    return (
        np.concatenate([values[name] for name in names]),
        np.concatenate([errors[name] for name in names]),
        "; ".join(remarks),
    )


signals = reports_all_waves(checked_signals)


def _signals_of_windows(request: Request, plan: Plan, progress: Progress | None) -> Signals:
    """Return the signals of windows for all channels, with the error measured when the field was divided."""
    field = TiledField(request, plan, progress)
    divided = field.divided()
    values, accuracy = field.read(divided.layout), divided.accuracy
    side = max(divided.layout.window((0, 0)).grid.extent)
    remark = (
        f"operators on windows of {side:.1f} A: at {accuracy.points} random points rms {accuracy.rms:.2e}, "
        f"largest {accuracy.largest:.2e} of the mean, relative to multislice; requested tolerance {request.tolerance:g}"
    )
    return values, np.full(len(values), accuracy.standard_error), remark


class TiledField:
    """A field that is divided into windows: the specimen and the imaging operator of each window. Operators are cached.

    Parameters
    ----------
    request, plan : Request, Plan
        The request and its plan.
    progress : callable, optional
        Called with the number of plane waves completed since the last call.
    """

    def __init__(self, request: Request, plan: Plan, progress: Progress | None = None) -> None:
        self.request, self.plan, self.progress = request, plan, progress
        self.weights = operator_cache.detector_weights(request, plan)
        self.cache = disk.default_cache()
        self._parts = slice_stacks.Parts(request, plan)

    def divided(self) -> Divided:
        """Return the division of the field into windows for the requested tolerance; a new division is checked at random points."""
        request = self.request
        held = _held(request, self.plan.slices.planes)
        key = operator_cache.physics_key(request, self.plan, engine=(NAME, request.tolerance, held))

        def build() -> Divided:
            """Return the stored division, or make and store one."""
            found = self.cache.get(key)
            if found is None:
                divided, growth = self._divide(held)
                accuracy = divided.accuracy
                numbers = [accuracy.points, accuracy.rms, accuracy.largest, accuracy.standard_error, *accuracy.mean]
                self.cache.put(key, {"growth": np.array(growth), "accuracy": np.array(numbers)})
                return divided
            points, rms, largest, error, *mean = found["accuracy"].tolist()
            accuracy = Accuracy(points=int(points), rms=rms, largest=largest, standard_error=error, mean=tuple(mean))
            return Divided(layout=_layout(request, self.plan.grid, held, float(found["growth"])), accuracy=accuracy)

        return operator_cache.DIVIDED.get(key, build)

    def _divide(self, held: float) -> tuple[Divided, float]:
        """Return windows that reach the tolerance, and the factor by which they were enlarged."""
        tolerance, tried, growth = self.request.tolerance, [], 1.0
        for _ in range(windows.GROWTHS + 1):
            layout = _layout(self.request, self.plan.grid, held, growth)
            stream = np.random.SeedSequence(self.request.seed, spawn_key=(CHECK_STREAM,))
            rng = np.random.Generator(np.random.Philox(stream))
            tiles, region = layout.tiles_at(self.request.scan.points()), region_of(self.request.scan)
            accuracy = windows.check(
                layout,
                tiles,
                region,
                lambda tile, layout=layout: self.operator(layout, tile),
                self.stacks,
                self.weights,
                rng,
            )
            if accuracy.rms <= tolerance:
                return Divided(layout=layout, accuracy=accuracy), growth
            tried.append(f"{accuracy.rms:.2%} with windows of {max(layout.window((0, 0)).grid.extent):.0f} A")
            growth *= windows.GROWTH
        message = (
            f"The error of operators on windows exceeds tolerance={tolerance:g}: {', '.join(tried)}. "
            "Allow a larger tolerance, or use engine='multislice'."
        )
        raise SamplingError(message)

    def stacks(self, cut: Rectangle) -> Iterator[SliceStack]:
        """Iterate over the specimen's slices in a rectangle, one stack per frozen-phonon configuration of the whole field."""
        return (self._parts.stack(cut, number) for number in range(self.plan.configurations))

    def operator(self, layout: TileLayout, tile: Tile) -> ImagingOperator:
        """Return the operator of a tile's window. Windows with the same atoms have the same operator."""
        window, request = layout.window(tile), self.request
        described = {
            **operator_cache.surroundings(request, self.plan),
            "code": operator_cache.code(),
            "extent": window.grid.extent,
            "shape": window.grid.shape,
            "planes": self.plan.slices.planes,
            "semiangle": request.beam.semiangle_mrad,
            "periodic": True,
            "seed": 0,
            "window": [self._parts.content(window, number) for number in range(self.plan.configurations)],
        }
        key = disk.content_key(described)

        def build() -> ImagingOperator:
            """Build the operator unless it is on disk."""
            return imaging_cache.build(
                self.cache,
                key,
                self.stacks(window),
                request.beam.semiangle_rad,
                self.weights,
                antialias=request.antialias,
                progress=self.progress,
            )

        return operator_cache.CACHE.get(key, build)

    def read(self, layout: TileLayout) -> np.ndarray:
        """Return the signals of the scan, float32, shape (channels, ...) with the scan's dimensions; negative rounding errors become 0."""
        scan, axes = self.request.scan, self.request.scan.axes()
        if axes is None:
            points = scan.points()
            rows, columns = layout.tile_of(0, points[:, 1]), layout.tile_of(1, points[:, 0])
            parts = [(tile, np.flatnonzero((rows == tile[0]) & (columns == tile[1]))) for tile in layout.tiles_at(points)]
            out = np.empty((sum(d.channels for d in self.plan.detectors), len(points)), np.float32)
            for tile, which in parts:
                window = layout.window(tile)
                at = np.column_stack([layout.inside(window, 1, points[which, 0]), layout.inside(window, 0, points[which, 1])])
                out[:, which] = self._image(layout, tile, lambda image, at=at: image.at(at))
            return np.maximum(scan.frame(out), 0)
        y, x = axes
        rows, columns = layout.tile_of(0, y), layout.tile_of(1, x)
        out = np.empty((sum(d.channels for d in self.plan.detectors), y.size, x.size), np.float32)
        for tile in itertools.product(np.unique(rows).tolist(), np.unique(columns).tolist()):
            window, iy, ix = layout.window(tile), np.flatnonzero(rows == tile[0]), np.flatnonzero(columns == tile[1])
            inside = layout.inside(window, 0, y[iy]), layout.inside(window, 1, x[ix])
            out[:, iy[:, None], ix] = self._image(layout, tile, lambda image, inside=inside: image.raster(*inside))
        return np.maximum(out, 0)

    def _image(self, layout: TileLayout, tile: Tile, read: Callable) -> np.ndarray:
        """Return the values that a function reads from a tile's image."""
        operator, beam = self.operator(layout, tile), self.request.beam
        image = operator.image(
            beam.aberrations,
            semiangle=beam.semiangle_rad,
            source_size=beam.source_size_angstrom,
            focal_spread=beam.focal_spread_angstrom,
        )
        return read(image)


ENGINES.add(
    NAME,
    Engine(cost=cost, signals=signals, exactness=local.to_tolerance, check=local.check_own_windows, suits=suits, in_parts=True, vacuum_around=True),
    REIMAGING,
)
