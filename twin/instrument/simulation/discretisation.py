"""Discretisation of a request: grid, slices, detector angles and the plane waves of a probe."""

import math
from dataclasses import dataclass

import numpy as np

from stemtwin.twin.errors import SamplingError, SettingsError
from stemtwin.twin.instrument.detectors import USUAL_OUTER_MRAD, Detector, resolve, wanted_angle
from stemtwin.twin.instrument.settings import PotentialSlices
from stemtwin.twin.instrument.simulation import memory
from stemtwin.twin.instrument.simulation.engines.registry import ENGINES
from stemtwin.twin.instrument.simulation.request import MOST_BLOCKS, Request
from stemtwin.twin.physics.engine.operator import beam_blocks, single_probes
from stemtwin.twin.physics.grids import Grid, fast_length
from stemtwin.twin.physics.potential import Slices, assign_slices

LEAST_WINDOW = 14.0
"""Smallest side of the window that holds a probe, A; in smaller windows the probe's tails change the signals of atomic columns by several percent."""
WINDOW_MARGIN = 10.0
"""Margin that the window adds to the diameter of the aberrated probe, A."""
LEAST_GRID_ANGLE = 120.0
"""Smallest angle that an automatic grid contains, mrad, even for bright-field detectors."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Discretisation:
    """Discretisation of a request, on which the checks, the estimated costs and the choice of engines are based.

    Parameters
    ----------
    request : Request
        The request.
    grid : Grid
        Points and extent of the wave.
    slices : Slices
        Slices of the sample.
    thickness : float
        Depth of the exit face, A.
    detectors : tuple
        Detectors with their angles.
    probe_window : float
        Side of the window that the probe needs, A.
    blocks : tuple of int
        Number of cells (ny, nx) that the window of a probe spans. The plane waves form one block for each of these cells.
    beams : tuple of int
        Number of plane waves inside the aperture, for each block.
    edge_waves : int
        Number of aperture-edge waves, over all blocks, that carry the probe's tails beyond the window; 0 if
        ``antialias`` is False.
    notes : tuple of str
        Decisions made during the discretisation.
    """

    request: Request
    grid: Grid
    slices: Slices
    thickness: float
    detectors: tuple[Detector, ...]
    probe_window: float
    blocks: tuple[int, int]
    beams: tuple[int, ...]
    edge_waves: int
    notes: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        """Number of detector channels."""
        return sum(d.channels for d in self.detectors)


def discretise(request: Request, *, window_angstrom: float = 0.0) -> Discretisation:
    """Return the discretisation of a request.

    Parameters
    ----------
    request : Request
        The request.
    window_angstrom : float
        Smallest width of the probe window, A. A value above 0 leaves room for wider probes than that of the request.

    Raises
    ------
    SamplingError
        The grid does not reach the angles of the aperture or of a detector, or the probe is wider than a specimen that is
        not periodic.
    SettingsError
        Settings contradict the sample, or the specimen exceeds the memory.
    """
    beam, wavelength = request.beam, request.beam.wavelength_angstrom
    grid, notes = choose_grid(request)
    slices, thickness = cut(request)
    if slices.shifted:
        notes.append("slice edges moved, because atoms lay on them")
    if request.depths_angstrom is not None and request.depths_angstrom[-1] > thickness:
        notes.append(f"depths beyond the exit face at {thickness:.2f} A lie in vacuum and have the signals of the exit face")
    detectors = _detectors(request, grid)
    if request.engine not in ENGINES or not ENGINES[request.engine].in_parts:
        memory.check(memory.program() + memory.of_specimen(grid, len(slices.planes), request.oversampling, request.configurations))
    window = max(LEAST_WINDOW, WINDOW_MARGIN + 2 * beam.probe_radius(thickness), window_angstrom)
    blocks = _blocks(request, grid, thickness, window, notes) if request.blocks is None else _checked_blocks(request, grid, request.blocks)
    offsets = beam_blocks.block_offsets(blocks)
    return Discretisation(
        request=request,
        grid=grid,
        slices=slices,
        thickness=thickness,
        detectors=detectors,
        probe_window=window,
        blocks=blocks,
        beams=tuple(
            beam_blocks.aperture_beams(grid, wavelength, beam.semiangle_rad, offset, blocks, antialias=request.antialias).size for offset in offsets
        ),
        edge_waves=single_probes.edge_wave_count(grid.extent, blocks, beam.semiangle_rad / wavelength) if request.antialias else 0,
        notes=tuple(notes),
    )


def check_whole_probe(found: Discretisation) -> None:
    """Refuse a probe that is wider than the cell, for engines that need the whole probe inside one cell.

    Raises
    ------
    SamplingError
        The probe is wider than the cell.
    SettingsError
        The setting ``blocks`` of the request is not (1, 1).
    """
    if found.request.blocks is not None and found.blocks != (1, 1):
        message = (
            f"engine={found.request.engine!r} uses the cell as one window, but blocks={found.blocks} requests more. "
            "Use blocks=(1, 1), or engine='operator'."
        )
        raise SettingsError(message)
    if found.blocks != (1, 1):
        height, width = found.grid.extent
        message = (
            f"The probe needs a window of {found.probe_window:.1f} A, but engine={found.request.engine!r} needs the whole probe inside "
            f"the cell of {height:.1f} x {width:.1f} A. "
            "Use a larger cell (size_angstrom), smaller aberrations, or engine='operator'."
        )
        raise SamplingError(message)


def choose_grid(request: Request) -> tuple[Grid, list[str]]:
    """Return the wave's grid, and notes on its choice."""
    size, notes = request.sample.size_angstrom, []
    if isinstance(request.sample, PotentialSlices):
        shape = (request.sample.array.shape[1], request.sample.array.shape[2])
        if request.sampling_angstrom is not None or (request.grid is not None and request.grid != shape):
            message = f"The potential has {shape[0]} x {shape[1]} points, and the wave uses the same grid. Omit grid and sampling_angstrom."
            raise SettingsError(message)
        if any(not _is_fast(n) for n in shape):
            message = f"A grid of {shape[0]} x {shape[1]} points has prime factors other than 2, 3 and 5. Give a potential of {_up(shape)} points."
            raise SamplingError(message)
        return Grid(shape=shape, extent=size), notes
    if request.grid is not None:
        shape = (_fast(request.grid[0]), _fast(request.grid[1]))
        if shape != request.grid:
            notes.append(f"grid {request.grid[0]} x {request.grid[1]} rounded up to {shape[0]} x {shape[1]}: factors 2, 3 and 5")
        return Grid(shape=shape, extent=size), notes
    step = request.sampling_angstrom
    if step is None:
        wanted = wanted_angle(request.detectors, request.beam.semiangle_mrad) + _aside(request)
        angle = _grid_angle(wanted, request.beam.semiangle_mrad)
        step = (_step(request.beam.wavelength_angstrom, angle),) * 2
    assert isinstance(step, tuple)  # Request made it one
    ny, nx = (fast_length(max(16, math.ceil(side / s - 1e-9))) for side, s in zip(size, step, strict=True))
    return Grid(shape=(ny, nx), extent=size), notes


def _grid_angle(outer: float, semiangle: float) -> float:
    """Return the largest angle of an automatic grid, mrad.

    It exceeds the detector's outer angle, because waves scattered beyond the detector scatter back. Example: in SrTiO3 at
    200 kV with thermal motion, 60-120 mrad, a band limit of 128 mrad lowers titanium columns by 7 %; with 160 mrad all
    columns are within 1 %.
    """
    return max(outer, min(1.25 * outer, USUAL_OUTER_MRAD), 2 * semiangle, LEAST_GRID_ANGLE)


def _aside(request: Request) -> float:
    """Return the angle between the beam and the detectors' axis, mrad; waves and the band limit are relative to the beam."""
    return math.hypot(*request.beam.beam_tilt_mrad)


def cut(request: Request) -> tuple[Slices, float]:
    """Return the slices of the sample and the depth of its exit face, A."""
    sample = request.sample
    if isinstance(sample, PotentialSlices):
        if request.slice_thickness_angstrom is not None:
            message = "A potential given as slices cannot be sliced again. Omit slice_thickness_angstrom."
            raise SettingsError(message)
        empty = np.empty(0)
        return Slices(index=empty, planes=sample.z_angstrom, edges=empty), sample.thickness_angstrom
    thick = request.slice_thickness_angstrom
    if thick is not None and thick > sample.thickness_angstrom + 1e-9:
        message = f"slice_thickness_angstrom={thick:g} exceeds the sample's thickness ({sample.thickness_angstrom:g} A). Use a smaller value."
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


def _blocks(request: Request, grid: Grid, thickness: float, window: float, notes: list[str]) -> tuple[int, int]:
    """Return the offset blocks of a window with the given side, A; add a note if the specimen's edges affect signals."""
    if request.engine in ENGINES and ENGINES[request.engine].vacuum_around and not getattr(request.sample, "periodic", True):
        _check_inside(request, grid, all_of_it=False)
        return 1, 1
    blocks = beam_blocks.window_blocks(grid.extent, window)
    if getattr(request.sample, "periodic", True):
        if math.prod(blocks) <= MOST_BLOCKS:
            return blocks
        message = (
            f"The probe spreads over {blocks[0]} x {blocks[1]} cells of {grid.extent[0]:.1f} x {grid.extent[1]:.1f} A, "
            f"but at most {MOST_BLOCKS} cells can be computed. "
            "Use smaller aberrations, a smaller convergence angle, or a larger cell (size_angstrom)."
        )
        raise SettingsError(message)
    if blocks != (1, 1):
        message = (
            f"The probe needs a window of {window:.1f} A, but the specimen is not periodic and "
            f"its cell is {grid.extent[0]:.1f} x {grid.extent[1]:.1f} A. "
            "Use a larger cell (size_angstrom) or smaller aberrations."
        )
        raise SamplingError(message)
    _check_inside(request, grid, all_of_it=True)
    margin = window / 2 + thickness * max(abs(math.tan(t)) for t in request.relative_tilt_rad)
    notes.append(f"the specimen is not periodic: probes within {margin:.1f} A of its edge overlap with the opposite edge")
    return blocks


def _checked_blocks(request: Request, grid: Grid, blocks: tuple[int, int]) -> tuple[int, int]:
    """Return the blocks of a request; refuse repeats of a specimen that is not periodic, and a scan outside its cell."""
    if not getattr(request.sample, "periodic", True):
        if blocks != (1, 1):
            message = f"blocks={blocks} repeats the cell, but the specimen is not periodic. Use blocks=(1, 1)."
            raise SettingsError(message)
        _check_inside(request, grid, all_of_it=True)
    return blocks


def _check_inside(request: Request, grid: Grid, *, all_of_it: bool) -> None:
    """Refuse a scan with points outside a cell that is not periodic; without ``all_of_it``, only if all points are outside."""
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
    wanted, aside = wanted_angle(request.detectors, beam.semiangle_mrad), _aside(request)
    why = f"at {beam.energy_ev / 1e3:g} keV, {max(grid.sampling):.4g} A, 2/3 band limit"
    why += f", {aside:.4g} mrad of beam tilt" if aside else ""
    repair = f"Use sampling_angstrom <= {_step(beam.wavelength_angstrom, wanted + aside):.3g}"
    if isinstance(request.sample, PotentialSlices):
        repair = "Give a potential on a finer grid"
    largest = max(grid.max_angle(beam.wavelength_angstrom) * 1e3 - aside, 0.0)
    return resolve(request.detectors, beam.semiangle_mrad, largest, why, repair)


def _step(wavelength: float, angle: float) -> float:
    """Return the distance between points, A, whose band limit holds an angle, mrad."""
    return wavelength * (1 - 1e-6) / (3e-3 * angle)
