"""What a request will cost and how it will be computed, decided before any work."""

import math
from dataclasses import dataclass

import numpy as np
import psutil

from stemtwin.twin.errors import SamplingError, SettingsError
from stemtwin.twin.instrument import detectors as detector_floor
from stemtwin.twin.instrument.detectors import Detector
from stemtwin.twin.instrument.request import Request
from stemtwin.twin.instrument.settings import PotentialSlices

from stemtwin.twin.physics.aberrations import Aberrations, blur_radius
from stemtwin.twin.physics.engine import imaging
from stemtwin.twin.physics.grids import Grid, fast_length
from stemtwin.twin.physics.potential import Slices, assign_slices

LEAST_WINDOW = 14.0
"""Smallest side of the window that holds a probe, A: below, the probe's tails cost several percent on columns."""
WINDOW_MARGIN = 10.0
"""What the window adds to the diameter of the aberrated probe, A."""
SECONDS_PER_POINT = 1.3e-9
"""Usual time of one multislice step per grid point and wave on two cores, s."""
MEMORY_SHARE = 0.8
"""Share of the machine's free memory that a simulation may take."""
SHORTEST_OPERATOR_SCAN = 16
"""Fewer points than this are scanned by multislice when apertures are pixel masks."""


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


def make_plan(request: Request, *, window_angstrom: float = 0.0) -> Plan:
    """Decide how to compute a request.

    Parameters
    ----------
    request : Request
        The request.
    window_angstrom : float
        Hold probes at least this wide, A, whatever the beam's aberrations are now.

    Raises
    ------
    SamplingError
        The grid cannot hold the aperture or a detector, or the probe does not fit a specimen that is not periodic.
    SettingsError
        An engine cannot do what is asked, or the memory does not suffice.
    """
    beam, sample = request.beam, request.sample
    wavelength = beam.wavelength_angstrom
    grid, notes = choose_grid(request)
    slices, thickness = cut(request)
    if slices.shifted:
        notes.append("slice edges moved, because atoms lay on them")
    largest = grid.max_angle(wavelength) * 1e3
    fine = wavelength * (1 / 3) * (1 - 1e-6) / (max([detector_floor.wanted_angle(request.detectors, beam.semiangle_mrad), 1.0]) * 1e-3)
    hint = f"at {beam.energy_ev / 1e3:g} keV, {max(grid.sampling):.4g} A, 2/3 band limit). Use sampling_angstrom <= {fine:.3g} or lower outer_mrad."
    detectors = detector_floor.resolve(request.detectors, beam.semiangle_mrad, largest, hint)
    blocks = _blocks(request, grid, thickness, window_angstrom)
    beams = sum(
        imaging.aperture_beams(grid, wavelength, beam.semiangle_rad, offset, blocks, antialias=request.antialias).size
        for offset in imaging.block_offsets(blocks)
    )
    points = math.prod(request.scan.shape)
    engine, reason = _engine(request, points, beams)
    nodes = int(np.prod([len(n) for n, _ in quadrature_nodes(request)])) if engine != "operator" else 1
    per_configuration = beams if engine == "operator" else points * nodes * math.prod(blocks) + (beams if request.antialias else 0)
    waves = request.configurations * per_configuration
    memory = _memory(engine, grid, len(slices.planes), beams, blocks, detectors, points, request, wavelength)
    _check_memory(memory)
    seconds = waves * len(slices.planes) * math.prod(grid.shape) * SECONDS_PER_POINT
    return Plan(
        engine=engine,
        reason=reason,
        grid=grid,
        slices=slices,
        thickness=thickness,
        detectors=detectors,
        configurations=request.configurations,
        blocks=blocks,
        beams=beams,
        waves=waves,
        memory_bytes=memory,
        seconds=seconds,
        notes=tuple(notes),
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
        angle = max(detector_floor.wanted_angle(request.detectors, request.beam.semiangle_mrad), 1.5 * request.beam.semiangle_mrad) * 1e-3
        step = (request.beam.wavelength_angstrom * (1 - 1e-6) / (3 * angle),) * 2
    assert isinstance(step, tuple)  # noqa: S101 - Request made it one
    ny, nx = (fast_length(max(16, math.ceil(side / s - 1e-9))) for side, s in zip(size, step, strict=True))
    return Grid(shape=(ny, nx), extent=size), notes


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
        message = f"slice_thickness_angstrom={thick:g} is thicker than the sample ({sample.thickness_angstrom:g} A). Use at most that, or leave it out."
        raise SettingsError(message)
    return assign_slices(sample.positions_angstrom[:, 2], thick), sample.thickness_angstrom


def quadrature_nodes(request: Request) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return Gauss-Hermite nodes (A) and weights over C10 and over one axis of the source, exact to 1e-6 for this aperture.

    A Gaussian mean of exp(i w x) is what focal spread and source size do to an interference term; the nodes are as many as its fastest term needs.
    """
    beam = request.beam
    k = beam.semiangle_rad / beam.wavelength_angstrom
    fastest = (math.pi * beam.wavelength_angstrom * k**2 * beam.focal_spread_angstrom, 2 * math.pi * 2 * k * beam.source_size_angstrom)
    out = []
    for width, phase in zip((beam.focal_spread_angstrom, beam.source_size_angstrom), fastest, strict=True):
        if not width:
            out.append((np.zeros(1), np.ones(1)))
            continue
        for count in range(3, 65):
            nodes, weights = np.polynomial.hermite_e.hermegauss(count)
            weights = weights / weights.sum()
            if abs((weights * np.cos(phase * nodes)).sum() - math.exp(-(phase**2) / 2)) < 1e-6:
                break
        out.append((width * nodes, weights))
    return out[0], out[1]


def _is_fast(n: int) -> bool:
    for factor in (2, 3, 5):
        while n % factor == 0:
            n //= factor
    return n == 1


def _fast(n: int) -> int:
    return n if _is_fast(n) else fast_length(n)


def _up(shape: tuple[int, int]) -> str:
    return f"{_fast(shape[0])} x {_fast(shape[1])}"


def _blocks(request: Request, grid: Grid, thickness: float, least: float) -> tuple[int, int]:
    beam = request.beam
    through = Aberrations.from_cartesian(**{**beam.aberrations.cartesian(), "C10": beam.aberrations.C10 + thickness})
    radius = max(blur_radius(beam.aberrations, beam.semiangle_rad), blur_radius(through, beam.semiangle_rad))
    window = max(LEAST_WINDOW, WINDOW_MARGIN + 2 * radius, least)
    blocks = imaging.window_blocks(grid.extent, window)
    periodic = isinstance(request.sample, PotentialSlices) or request.sample.periodic
    if periodic:
        return blocks
    if blocks != (1, 1):
        message = (
            f"The probe needs a window of {window:.1f} A, but this specimen is not periodic and its cell is {grid.extent[0]:.1f} x {grid.extent[1]:.1f} A. "
            "Use a larger cell (size_angstrom) or smaller aberrations."
        )
        raise SamplingError(message)
    points = request.scan.positions().reshape(-1, 2)
    if (points < 0).any() or (points[:, 0] > grid.extent[1]).any() or (points[:, 1] > grid.extent[0]).any():
        message = (
            f"The scan reaches from ({points[:, 0].min():.1f}, {points[:, 1].min():.1f}) to ({points[:, 0].max():.1f}, {points[:, 1].max():.1f}) A, "
            f"outside the cell of {grid.extent[1]:.1f} x {grid.extent[0]:.1f} A of a specimen that is not periodic. Scan inside the cell."
        )
        raise SettingsError(message)
    return blocks


def _engine(request: Request, points: int, beams: int) -> tuple[str, str]:
    if request.engine == "abtem" and (request.antialias or request.oversampling != 1):
        message = "engine='abtem' has pixel masks and no finer transmission grid. Pass antialias=False and oversampling=1 for the same physics on both sides."
        raise SettingsError(message)
    if request.engine != "auto":
        return request.engine, "asked for"
    if request.antialias or points >= min(beams, SHORTEST_OPERATOR_SCAN):
        return "operator", f"{beams} plane waves give every image"
    return "multislice", f"{points} points are fewer than {beams} plane waves"


def _memory(
    engine: str,
    grid: Grid,
    slices: int,
    beams: int,
    blocks: tuple[int, int],
    detectors: tuple[Detector, ...],
    points: int,
    request: Request,
    wavelength: float,
) -> int:
    area = math.prod(grid.shape)
    channels = sum(getattr(d, "segments", 1) for d in detectors)
    total = slices * area * 8 + 3 * 8 * area * request.oversampling**2 + channels * area * 4 + 4 * 16 * 2 * 4 * area
    per_block = math.ceil(beams / math.prod(blocks))
    if engine == "operator":
        outer = max(d.outer_mrad for d in detectors) * 1e-3 / wavelength
        inner = min(d.inner_mrad for d in detectors) * 1e-3 / wavelength
        seen = math.pi * (outer**2 - inner**2) * math.prod(grid.extent)
        total += int(per_block * seen * 8 * 3 + per_block**2 * (8 + 16 + 16) + beams * per_block * (8 + 4 * 3 * channels) / 2)
    else:
        total += min(points, 1024) * per_block * 24
    image = points * channels * 8
    return int(total + image + program_memory())


def program_memory() -> int:
    """Return the memory of the running program itself, bytes."""
    return int(psutil.Process().memory_info().rss)


def _check_memory(needed: int) -> None:
    free = psutil.virtual_memory().available + program_memory()
    if needed > MEMORY_SHARE * free:
        message = (
            f"This needs about {needed / 2**30:.1f} GiB of memory; {MEMORY_SHARE:.0%} of what is free are {MEMORY_SHARE * free / 2**30:.1f} GiB. "
            "Use a smaller cell, a coarser grid or fewer points."
        )
        raise SettingsError(message)


