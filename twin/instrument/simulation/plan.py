"""What a request will cost and how it will be computed, decided before any work."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from stemtwin.twin.errors import SamplingError, SettingsError
from stemtwin.twin.instrument import detectors as detector_floor
from stemtwin.twin.instrument.detectors import Detector
from stemtwin.twin.instrument.settings import PotentialSlices
from stemtwin.twin.instrument.simulation import costs, memory, partial_coherence
from stemtwin.twin.instrument.simulation.costs import Cost
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics.engine.operator import gram_matrix, imaging_operator, single_probes
from stemtwin.twin.physics.grids import Grid, fast_length
from stemtwin.twin.physics.potential import Slices, assign_slices

LEAST_WINDOW = 14.0
"""Smallest side of the window that holds a probe, A: below, the probe's tails cost several percent on columns."""
WINDOW_MARGIN = 10.0
"""What the window adds to the diameter of the aberrated probe, A."""
LEAST_GRID_ANGLE = 120.0
"""A grid chosen here holds at least this angle, mrad, also where only bright-field detectors are asked for."""
MOST_BLOCKS = 2**15
"""Cells that a probe can spread over: a plan looks at each of them, and beyond this no memory holds what it would need."""
LEAST_ABTEM_STEP = 0.05
"""abTEM takes a sample's atoms where our planes are at least so far apart, A."""
PATIENCE = 20.0
"""Work that takes less, s, is done by the exact engine that gives every further image in milliseconds."""
LOCAL_GAIN = 0.2
"""The local operator or windows are taken where they need at most this share of the time of the exact engines."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """How a request is computed.

    Parameters
    ----------
    engine, reason : str
        The engine and why it.
    grid : Grid
        Points and extent of the wave.
    slices : Slices
        Slices of the sample.
    thickness : float
        Depth of the exit face, A.
    detectors : tuple
        Detectors with their angles.
    configurations : int
        Specimens that the signal is a mean of.
    blocks : tuple of int
        Offset blocks (ny, nx) that hold a probe wider than the cell.
    beams : int
        Plane waves inside the aperture, over all blocks.
    waves : int
        Waves that go through the specimen, over all configurations.
    memory_bytes : int
        Estimated peak, bytes.
    seconds : float
        Estimated time on two cores, s.
    waves_bytes : int
        Of the memory, what holds exit amplitudes while an operator is built.
    notes : tuple of str
        What was decided on the way.
    """

    engine: str
    reason: str
    grid: Grid
    slices: Slices
    thickness: float
    detectors: tuple[Detector, ...]
    configurations: int
    blocks: tuple[int, int]
    beams: int
    waves: int
    memory_bytes: int
    seconds: float
    waves_bytes: int = gram_matrix.WAVES_BYTES
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the plan as a few lines of text."""
        ny, nx = self.grid.shape
        angles = ", ".join(f"{d.name} {d.inner_mrad:g}-{d.outer_mrad:g} mrad" for d in self.detectors)
        lines = [
            f"engine          {self.engine}: {self.reason}",
            f"grid            {ny} x {nx} points over {self.grid.extent[0]:.2f} x {self.grid.extent[1]:.2f} A",
            f"sampling        {self.grid.sampling[0]:.4f} x {self.grid.sampling[1]:.4f} A",
            f"slices          {len(self.slices.planes)} over {self.thickness:.2f} A",
            f"detectors       {angles}",
            f"configurations  {self.configurations}",
            f"beams           {self.beams} in {self.blocks[0]} x {self.blocks[1]} blocks",
            f"waves           {self.waves}",
            f"memory          {self.memory_bytes / 2**20:.0f} MiB",
            f"time            about {self.seconds:.1f} s on two cores",
        ]
        return "\n".join([*lines, *(f"note            {note}" for note in self.notes)])


def make_plan(request: Request, *, window_angstrom: float = 0.0, blocks: tuple[int, int] | None = None) -> Plan:
    """Decide how to compute a request.

    Parameters
    ----------
    request : Request
        The request.
    window_angstrom : float
        Hold probes at least this wide, A, whatever the beam's aberrations are now.
    blocks : tuple of int, optional
        Use so many offset blocks, whatever the probe needs.

    Raises
    ------
    SamplingError
        The grid cannot hold the aperture or a detector, or the probe does not fit a specimen that is not periodic.
    SettingsError
        An engine cannot do what is asked, or the memory does not suffice.
    """
    beam, wavelength = request.beam, request.beam.wavelength_angstrom
    grid, notes = choose_grid(request)
    slices, thickness = cut(request)
    if slices.shifted:
        notes.append("slice edges moved, because atoms lay on them")
    if request.depths_angstrom is not None and request.depths_angstrom[-1] > thickness:
        notes.append(f"depths beyond the exit face at {thickness:.2f} A lie in vacuum, with the signals of the exit face")
    detectors = _detectors(request, grid)
    if request.engine != "tiled":  # which never have the whole field
        memory.check(memory.program() + memory.of_specimen(grid, len(slices.planes), request.oversampling, request.configurations))
    if request.engine == "abtem":
        _check_abtem(request, slices.planes)
    if blocks is None and request.engine in ("local", "tiled") and not getattr(request.sample, "periodic", True):
        blocks = (1, 1)  # there is vacuum around the field
        _check_inside(request, grid, all_of_it=False)
    if blocks is None:
        blocks = _blocks(request, grid, thickness, window_angstrom, notes)
    if request.engine in ("local", "prism", "tiled", "abtem") and blocks != (1, 1):
        message = (
            f"The probe needs {_window(request, thickness, window_angstrom):.1f} A, and engine={request.engine!r} the whole probe inside the cell of "
            f"{grid.extent[0]:.1f} x {grid.extent[1]:.1f} A. Use a larger cell (size_angstrom), smaller aberrations, or engine='operator'."
        )
        raise SamplingError(message)
    beams = [
        imaging_operator.aperture_beams(grid, wavelength, beam.semiangle_rad, offset, blocks, antialias=request.antialias).size
        for offset in imaging_operator.block_offsets(blocks)
    ]
    rim = single_probes.rim_count(grid.extent, blocks, beam.semiangle_rad / wavelength) if request.antialias else 0
    engine, reason, price = _engine(request, grid, slices.planes, detectors, beams, rim)
    if engine == "multislice" and price.seconds > PATIENCE:
        notes += _single_probes(request, grid, slices.planes, detectors, beams, rim)
    return Plan(
        engine=engine,
        reason=reason,
        grid=grid,
        slices=slices,
        thickness=thickness,
        detectors=detectors,
        configurations=request.configurations,
        blocks=blocks,
        beams=sum(beams),
        waves=price.waves,
        memory_bytes=price.memory_bytes,
        seconds=price.seconds,
        waves_bytes=price.waves_bytes,
        notes=(*notes, *_patience(engine, price, request.configurations)),
    )


def choose_grid(request: Request) -> tuple[Grid, list[str]]:
    """Return the wave's grid and sentences on how it came about."""
    size, notes = request.sample.size_angstrom, []
    if isinstance(request.sample, PotentialSlices):
        shape = (request.sample.array.shape[1], request.sample.array.shape[2])
        if request.sampling_angstrom is not None or (request.grid is not None and request.grid != shape):
            message = f"The potential given has {shape[0]} x {shape[1]} points, and its grid is the wave's. Leave grid and sampling_angstrom out."
            raise SettingsError(message)
        if any(not _is_fast(n) for n in shape):
            message = f"A grid of {shape[0]} x {shape[1]} points has other prime factors than 2, 3 and 5. Give a potential of {_up(shape)} points."
            raise SamplingError(message)
        return Grid(shape=shape, extent=size), notes
    if request.grid is not None:
        shape = (_fast(request.grid[0]), _fast(request.grid[1]))
        if shape != request.grid:
            notes.append(f"grid {request.grid[0]} x {request.grid[1]} rounded up to {shape[0]} x {shape[1]}: factors 2, 3 and 5")
        return Grid(shape=shape, extent=size), notes
    step = request.sampling_angstrom
    if step is None:
        wanted = detector_floor.wanted_angle(request.detectors, request.beam.semiangle_mrad) + _aside(request)
        angle = _grid_angle(wanted, request.beam.semiangle_mrad)
        step = (_step(request.beam.wavelength_angstrom, angle),) * 2
    assert isinstance(step, tuple)  # Request made it one
    ny, nx = (fast_length(max(16, math.ceil(side / s - 1e-9))) for side, s in zip(size, step, strict=True))
    return Grid(shape=(ny, nx), extent=size), notes


def _grid_angle(outer: float, semiangle: float) -> float:
    """Return the angle, mrad, up to which a grid chosen here holds the wave: beyond the detector, because what scatters there scatters back.

    SrTiO3, 200 kV, thermal, 60-120 mrad: with a band limit of 128 mrad the titanium columns are 7 % low, with 160 mrad all columns are within 1 %.
    """
    return max(outer, min(1.25 * outer, detector_floor.USUAL_OUTER_MRAD), 2 * semiangle, LEAST_GRID_ANGLE)


def _aside(request: Request) -> float:
    """Return how far detectors are from the beam's direction at most, beside their angles, mrad: waves and band limit are relative to the beam."""
    return math.hypot(*request.beam.beam_tilt_mrad)


def cut(request: Request) -> tuple[Slices, float]:
    """Return the slices of the sample and the depth of its exit face, A."""
    sample = request.sample
    if isinstance(sample, PotentialSlices):
        if request.slice_thickness_angstrom is not None:
            message = "A potential given as slices cannot be cut again. Leave slice_thickness_angstrom out."
            raise SettingsError(message)
        empty = np.empty(0)
        return Slices(index=empty, planes=sample.z_angstrom, edges=empty), sample.thickness_angstrom
    thick = request.slice_thickness_angstrom
    if thick is not None and thick > sample.thickness_angstrom + 1e-9:
        message = f"slice_thickness_angstrom={thick:g} is thicker than the sample ({sample.thickness_angstrom:g} A). Use less, or leave it out."
        raise SettingsError(message)
    return assign_slices(sample.positions_angstrom[:, 2], thick), sample.thickness_angstrom


def _is_fast(n: int) -> bool:
    for factor in (2, 3, 5):
        while n % factor == 0:
            n //= factor
    return n == 1


def _fast(n: int) -> int:
    return n if _is_fast(n) else fast_length(n)


def _up(shape: tuple[int, int]) -> str:
    return f"{_fast(shape[0])} x {_fast(shape[1])}"


def _window(request: Request, thickness: float, least: float) -> float:
    """Return the side of the window that holds the probe, A."""
    return max(LEAST_WINDOW, WINDOW_MARGIN + 2 * request.beam.probe_radius(thickness), least)


def _blocks(request: Request, grid: Grid, thickness: float, least: float, notes: list[str]) -> tuple[int, int]:
    window = _window(request, thickness, least)
    blocks = imaging_operator.window_blocks(grid.extent, window)
    periodic = isinstance(request.sample, PotentialSlices) or request.sample.periodic
    if periodic and math.prod(blocks) > MOST_BLOCKS:
        message = (
            f"The probe spreads over {blocks[0]} x {blocks[1]} cells of {grid.extent[0]:.1f} x {grid.extent[1]:.1f} A, and at most {MOST_BLOCKS} "
            "can be computed. Use smaller aberrations, a smaller convergence, or a larger cell (size_angstrom)."
        )
        raise SettingsError(message)
    if periodic:
        return blocks
    if blocks != (1, 1):
        message = (
            f"The probe needs {window:.1f} A, but the specimen does not repeat: its cell is {grid.extent[0]:.1f} x {grid.extent[1]:.1f} A. "
            "Use a larger cell (size_angstrom) or smaller aberrations."
        )
        raise SamplingError(message)
    _check_inside(request, grid, all_of_it=True)
    margin = window / 2 + thickness * max(abs(math.tan(t)) for t in request.relative_tilt_rad)
    notes.append(f"the specimen does not repeat: points nearer than {margin:.1f} A to its edge see the opposite edge")
    return blocks


def _check_inside(request: Request, grid: Grid, *, all_of_it: bool) -> None:
    """Refuse a scan that is not inside the cell of a specimen that does not repeat: all of it, or at least a point."""
    points = request.scan.points()
    inside = ((points >= 0) & (points <= np.array(grid.extent[::-1]))).all(axis=1)
    if not (inside.all() if all_of_it else inside.any()):
        (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
        message = (
            f"The scan reaches from ({x0:.1f}, {y0:.1f}) to ({x1:.1f}, {y1:.1f}) A, outside the cell of "
            f"{grid.extent[1]:.1f} x {grid.extent[0]:.1f} A of a specimen that is not periodic. Scan inside the cell."
        )
        raise SettingsError(message)


def _detectors(request: Request, grid: Grid) -> tuple[Detector, ...]:
    beam = request.beam
    wanted, aside = detector_floor.wanted_angle(request.detectors, beam.semiangle_mrad), _aside(request)
    why = f"at {beam.energy_ev / 1e3:g} keV, {max(grid.sampling):.4g} A, 2/3 band limit"
    why += f", {aside:.4g} mrad of beam tilt" if aside else ""
    repair = f"Use sampling_angstrom <= {_step(beam.wavelength_angstrom, wanted + aside):.3g}"
    if isinstance(request.sample, PotentialSlices):
        repair = "Give a potential on a finer grid"
    largest = max(grid.max_angle(beam.wavelength_angstrom) * 1e3 - aside, 0.0)
    return detector_floor.resolve(request.detectors, beam.semiangle_mrad, largest, why, repair)


def _step(wavelength: float, angle: float) -> float:
    """Return the distance between points, A, whose band limit holds an angle, mrad."""
    return wavelength * (1 - 1e-6) / (3e-3 * angle)


def _engine(
    request: Request, grid: Grid, planes: np.ndarray, detectors: tuple[Detector, ...], beams: Sequence[int], rim: int
) -> tuple[str, str, Cost]:
    """Return the engine, why it, and what it costs."""
    if request.depths_angstrom is not None:
        chosen = costs.cost("multislice", request, grid, planes, detectors, beams, rim)
        memory.check(chosen.memory_bytes)
        return "multislice", f"signals at {request.faces} depths come from one pass of it", chosen
    if request.engine != "auto":
        chosen = costs.cost(request.engine, request, grid, planes, detectors, beams, rim)
        memory.check(chosen.memory_bytes)
        return request.engine, "asked for", chosen
    price = {name: costs.cost(name, request, grid, planes, detectors, beams, rim) for name in ("operator", "multislice")}
    operator, multislice = price["operator"], price["multislice"]
    if multislice.waves < operator.waves:
        engine, reason = "multislice", f"{multislice.waves} waves for single probes are fewer than {operator.waves} plane waves"
    elif not memory.fits(operator.memory_bytes) and memory.fits(multislice.memory_bytes):
        engine, reason = "multislice", f"{sum(beams)} plane waves at once would need {operator.memory_bytes / 2**30:.1f} GiB"
    elif operator.seconds > max(PATIENCE, 2 * multislice.seconds):
        engine, reason = "multislice", f"the products of {sum(beams)} plane waves would take {operator.seconds:.0f} s"
    else:
        engine, reason = "operator", f"{sum(beams)} plane waves give every image"
    near = _approximate(request, grid, planes, detectors, beams, rim) if price[engine].seconds > PATIENCE and len(beams) == 1 else None
    if near is not None:
        name, why, other = near
        if other.seconds <= LOCAL_GAIN * price[engine].seconds and memory.fits(other.memory_bytes):
            return name, f"{why}: {other.seconds:.0f} s instead of {price[engine].seconds:.0f} s, to {request.tolerance:g}", other
        price[name] = other
    if price[engine].seconds > PATIENCE:
        others = ", ".join(f"{name} {found.seconds:.3g} s" for name, found in price.items() if name != engine)
        reason += f"; for this one alone {others}"
    memory.check(price[engine].memory_bytes)
    return engine, reason, price[engine]


def _check_abtem(request: Request, planes: np.ndarray) -> None:
    """Refuse what abTEM cannot do in the same way."""
    if request.antialias or request.oversampling != 1:
        message = (
            "engine='abtem' has pixel masks and no finer transmission grid. Pass antialias=False and oversampling=1, so that both sides do the same."
        )
        raise SettingsError(message)
    if request.phonons == "damped":
        message = "engine='abtem' has no Debye-Waller damping. Use phonons='static' or a number of configurations."
        raise SettingsError(message)
    apart = float(np.diff(planes).min(initial=np.inf))
    if apart < LEAST_ABTEM_STEP and not isinstance(request.sample, PotentialSlices):
        thick = request.slice_thickness_angstrom
        repair = "Give a slice_thickness_angstrom" if thick is None else f"Use a slice_thickness_angstrom above {thick:g}"
        message = f"engine='abtem' cannot take planes {apart:.3g} A apart: its slices are at least {LEAST_ABTEM_STEP:g} A thick. {repair}."
        raise SettingsError(message)


def _approximate(
    request: Request, grid: Grid, planes: np.ndarray, detectors: tuple[Detector, ...], beams: Sequence[int], rim: int
) -> tuple[str, str, Cost] | None:
    """Return the engine to a tolerance that suits the detectors, if there is one: why it, and what it costs."""
    name, why = ("local", "a dark-field detector sees short distances") if costs.is_dark(request, detectors) else ("tiled", "the field in parts")
    try:
        return name, why, costs.cost(name, request, grid, planes, detectors, beams, rim)
    except SamplingError:  # a window would be as large as the field
        return None


def _single_probes(request: Request, grid: Grid, planes: np.ndarray, detectors: tuple[Detector, ...], beams: Sequence[int], rim: int) -> list[str]:
    """Return what makes a long run of single probes shorter."""
    notes, states = [], math.prod(partial_coherence.counts(request.beam))
    if states > 1:
        notes.append(f"source size and focal spread take {states} probes for each point: without both, about {1 / states:.2g} of the time")
    if request.depths_angstrom is not None:
        once = costs.cost("operator", replace(request, depths_angstrom=None), grid, planes, detectors, beams, rim)
        if memory.fits(once.memory_bytes):
            notes.append(f"a sample of each thickness by itself, without depths_angstrom, takes an operator: at most {once.seconds:.3g} s for each")
    return notes


def _patience(engine: str, cost: Cost, configurations: int) -> list[str]:
    """Return what there is to say of a build that takes long."""
    if engine not in ("operator", "local", "tiled") or cost.seconds <= PATIENCE:
        return []
    each = f", {cost.seconds / configurations:.0f} s of it for each phonon configuration" if configurations > 1 else ""
    return [
        f"the first image takes about {cost.seconds:.0f} s{each}; further ones of this specimen, with other optics too, take milliseconds. "
        "A smaller cell, outer_mrad or semiangle_mrad takes less"
    ]
