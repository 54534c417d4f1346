"""Multislice: propagation of many fast-electron waves at once through a stack of thin transmitting planes.

A wave is propagated to each plane in turn, multiplied by its transmission, and finally propagated to the exit face (Cowley and Moodie,
Acta Cryst. 10 (1957) 609; Kirkland, Advanced Computing in Electron Microscopy, chapter 6). Every propagator is cut at the band limit.

Sixteen waves form a batch, one per SIMD lane. Each batch runs on one thread, so results depend neither on the number of threads nor on
the waves that share a batch. The passes over a batch are in `multislice_kernels`, the transforms in `fft`.
"""

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.engine.kernels import spare, threads
from stemtwin.twin.physics.engine.kernels.fft import TransformPlan, make_plan
from stemtwin.twin.physics.engine.kernels.simd_complex64 import LANES, POINT, aligned
from stemtwin.twin.physics.engine.multislice import multislice_kernels
from stemtwin.twin.physics.grids import Grid


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SliceStack:
    """A specimen as a stack of thin transmitting planes.

    Parameters
    ----------
    grid : Grid
        Points of the waves; its sides have no prime factors other than 2, 3 and 5.
    wavelength : float
        Wavelength, A.
    transmission : ndarray
        exp(i sigma V) of each plane, band-limited, complex64, shape (n, ny, nx).
    planes : ndarray
        Depth z of each plane below the entrance face, increasing, A, shape (n,).
    thickness : float
        Depth of the exit face, A.
    tilt : tuple of float
        Specimen tilt (ty, tx), rad; propagators are multiplied by exp(2 pi i dz (kx tan tx + ky tan ty)).

    Raises
    ------
    SettingsError
        Shapes, planes, wavelength or tilt are invalid or do not fit each other.
    SamplingError
        A side of the grid has a prime factor other than 2, 3 and 5.
    """

    grid: Grid
    wavelength: float
    transmission: np.ndarray
    planes: np.ndarray
    thickness: float
    tilt: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        """Check the numbers and convert the arrays to the engine's types."""
        for side in self.grid.shape:
            make_plan(side)
        planes = np.array(self.planes, np.float64)
        shape = np.shape(self.transmission)
        if planes.ndim != 1 or not planes.size or shape != (planes.size, *self.grid.shape):
            message = (
                f"transmission has shape {shape}, but {planes.size} planes on a grid of {self.grid.shape} points need "
                f"{(planes.size, *self.grid.shape)}, with at least one plane. Give one transmission per plane, on the grid's points."
            )
            raise SettingsError(message)
        if not (np.all(np.diff(planes) > 0) and planes[0] >= 0 and planes[-1] <= self.thickness < math.inf):
            message = (
                f"planes from z={planes[0]:g} to {planes[-1]:g} A are not increasing depths between 0 and thickness={self.thickness:g} A. "
                "Sort them, and keep each one inside the specimen."
            )
            raise SettingsError(message)
        if not (0 < self.wavelength < math.inf and all(abs(angle) < math.pi / 2 for angle in self.tilt)):
            message = f"wavelength={self.wavelength:g} A must be positive, and tilt={self.tilt} rad below pi/2 = 1.5708. Check their units."
            raise SettingsError(message)
        planes.flags.writeable = False
        object.__setattr__(self, "planes", planes)
        object.__setattr__(self, "transmission", np.ascontiguousarray(self.transmission, np.complex64))


def exit_coefficients(
    stack: SliceStack,
    beams: np.ndarray,
    coefficients: np.ndarray,
    select: np.ndarray,
    *,
    offset: tuple[float, float] = (0.0, 0.0),
    depths: Iterable[float] | None = None,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Return the Fourier coefficients of the waves at the exit face, or at several depths.

    Parameters
    ----------
    stack : SliceStack
        The specimen.
    beams : ndarray
        Flat indices iy nx + ix of the Fourier coefficients of the incident waves, int64, shape (B,).
    coefficients : ndarray
        The incident waves, psi_p(r) = sum_b coefficients[p, b] exp(2 pi i k_b.r) at z = 0, complex64, shape (P, B).
    select : ndarray
        Flat indices of the exit coefficients to return, int64, shape (Q,).
    offset : tuple of float
        Offset (jy, jx) of every k in units of the reciprocal pixel, |j| < 1 (a Bloch factor: propagators and band limit use k + offset).
    depths : iterable of float, optional
        Depths of the returned waves, A, 0 to thickness; a wave at the depth of a plane has passed the plane. The default is the exit face.
    progress : callable, optional
        Called from any thread with the number of waves finished so far.

    Returns
    -------
    ndarray
        Exit coefficients, complex64, shape (P, Q), or (len(depths), P, Q) with ``depths``. They are normalised like the incident coefficients
        (in vacuum they are the incident coefficients times the propagator) and zero beyond the band limit.

    Raises
    ------
    SettingsError
        Shapes, indices, offset or depths do not fit the stack.
    """
    setup = _Setup(stack, offset)
    select = _indices("select", select, stack.grid)
    incident = _incident(setup, beams, coefficients)
    faces = [stack.thickness] if depths is None else list(depths)
    stops = planes_above(stack, faces)
    numbers, series = np.unique(stops[stops > 0], return_inverse=True)
    beyond = [stack.thickness - stack.planes[-1]] if depths is None else [0.0] * len(numbers)
    result = _coefficients_behind(setup, incident, select, numbers, beyond, progress)
    if depths is None:
        return result[0]
    inside = np.flatnonzero(setup.inside.flat[select])
    return _at_depths(setup, incident, select, inside, np.array(faces), stops, result[series])


def planes_above(stack: SliceStack, depths: Iterable[float]) -> np.ndarray:
    """Return the number of planes at or above each depth, A; raise SettingsError for a depth outside the specimen."""
    depths = np.array(list(depths), np.float64)
    if depths.ndim != 1 or not np.all((depths >= 0) & (depths <= stack.thickness)):
        message = f"depths={depths.tolist()} A are not all between 0 and the exit face at {stack.thickness:g} A. Remove those outside."
        raise SettingsError(message)
    return np.searchsorted(stack.planes, depths, side="right")


def coefficients_behind(
    stack: SliceStack,
    beams: np.ndarray,
    coefficients: np.ndarray,
    select: np.ndarray,
    planes: Sequence[int],
    *,
    offset: tuple[float, float] = (0.0, 0.0),
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Return the Fourier coefficients of the waves directly behind some planes, all from one pass.

    Parameters
    ----------
    stack, beams, coefficients, select, offset, progress
        As in `exit_coefficients`.
    planes : sequence of int
        Numbers of planes that the waves have passed, at least 1, increasing.

    Returns
    -------
    ndarray
        Coefficients, complex64, shape (len(planes), P, Q).

    Raises
    ------
    SettingsError
        Shapes, indices or offset do not fit the stack.
    """
    setup = _Setup(stack, offset)
    incident = _incident(setup, beams, coefficients)
    return _coefficients_behind(setup, incident, _indices("select", select, stack.grid), np.asarray(planes), [0.0] * len(planes), progress)


def _coefficients_behind(
    setup: "_Setup",
    incident: "_Incident",
    select: np.ndarray,
    planes: np.ndarray,
    beyond: Sequence[float],
    progress: Callable[[int], None] | None,
) -> np.ndarray:
    """Return the coefficients of waves behind the given numbers of planes, propagated on by ``beyond``, A; shape (planes, P, Q)."""
    result = np.zeros((len(planes), len(incident.values), select.size), np.complex64)
    record = _coefficient_recorder(setup, select, beyond, result)
    _run(setup, incident, tuple(planes.tolist()), record, progress)
    return result


def _coefficient_recorder(setup: "_Setup", select: np.ndarray, beyond: Sequence[float], result: np.ndarray) -> "_Recorder":
    """Return the recorder for `_run` that writes the selected coefficients of each batch into ``result``.

    ``beyond`` are the distances (A) by which waves are propagated on behind each stop; ``result`` has shape (stops, P, Q).
    """
    inside = np.flatnonzero(setup.inside.flat[select])
    columns, starts, order = setup.columns_of(select[inside])
    picked = inside[order]
    ny, nx = setup.stack.grid.shape
    places = setup.place_y[select[picked] // nx]
    factors = [(setup.propagator(select[picked], each) / np.prod((ny, nx))).astype(np.complex64) for each in beyond]
    longest = int(np.diff(starts).max(initial=0))

    def record(buffers: _Buffers, number: int, waves: slice) -> None:
        scratch = aligned(longest * POINT)
        multislice_kernels.pick_coefficients(
            buffers.wave, columns, starts, places, factors[number], picked, result[number], waves.start, waves.stop - waves.start,
            scratch, buffers.line, setup.plan_y, setup.places_y,
        )  # fmt: skip

    return record


def collect(
    stack: SliceStack,
    beams: np.ndarray,
    coefficients: np.ndarray,
    weights: np.ndarray,
    *,
    offset: tuple[float, float] = (0.0, 0.0),
    depths: Iterable[float] | None = None,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Return the signals of detectors, sum_q weights[d, q] |Psi_q|^2, without storing the waves.

    Parameters
    ----------
    stack, beams, coefficients, offset, progress
        As in `exit_coefficients`.
    weights : ndarray
        Detector weights of the Fourier coefficients, float32, shape (D, ny, nx).
    depths : iterable of float, optional
        Depths z, A, 0 <= z <= thickness. Each depth gives the signals of the part of the specimen above it, including a plane at z itself.

    Returns
    -------
    ndarray
        Signals in the units of |coefficients|^2, float64, shape (D, P), or (len(depths), D, P) with ``depths``.

    Raises
    ------
    SettingsError
        Shapes, indices, offset or depths do not fit the stack.
    """
    setup = _Setup(stack, offset)
    weights = _checked_weights(weights, stack.grid)
    stops = np.array([len(stack.planes)]) if depths is None else planes_above(stack, depths)
    incident = _incident(setup, beams, coefficients)
    numbers, series = np.unique(stops[stops > 0], return_inverse=True)
    signals = np.zeros((len(numbers), len(weights), len(coefficients)))
    weigh = _signal_weigher(setup, weights)

    def record(buffers: _Buffers, number: int, waves: slice) -> None:
        signals[number, :, waves] = weigh(buffers)[:, : waves.stop - waves.start]

    _run(setup, incident, tuple(numbers.tolist()), record, progress)
    if depths is None:
        return signals[0]
    result = np.empty((len(stops), *signals.shape[1:]))
    result[stops > 0] = signals[series]
    intensity = np.abs(incident.values.astype(np.complex128)) ** 2
    result[stops == 0] = weights.reshape(len(weights), -1)[:, incident.beams] @ intensity.T
    return result


def _signal_weigher(setup: "_Setup", weights: np.ndarray) -> "Callable[[_Buffers], np.ndarray]":
    """Return the function that computes the signals, (detectors, 16), of a batch behind a plane."""
    lines = np.where(setup.band.T[None], weights[:, :, setup.kept], 0)[:, setup.plan_y.order].transpose(0, 2, 1)
    columns = np.flatnonzero(lines.any(axis=(0, 2)))
    lines = np.ascontiguousarray(lines[:, columns], np.float32)
    scale = float(np.prod(setup.stack.grid.shape)) ** -2.0

    def weigh(buffers: _Buffers) -> np.ndarray:
        sums = np.zeros((len(weights), LANES))
        multislice_kernels.weigh_intensities(buffers.wave, columns, lines, sums, buffers.line, setup.plan_y, setup.places_y)
        return sums * scale

    return weigh


def _at_depths(
    setup: "_Setup", incident: "_Incident", select: np.ndarray, inside: np.ndarray, depths: np.ndarray, stops: np.ndarray, behind: np.ndarray
) -> np.ndarray:
    """Propagate waves ``behind`` planes (number of stops > 0, P, Q), and incident waves, to their depths; return (len(depths), P, Q)."""
    out = np.zeros((len(depths), len(incident.values), select.size), np.complex64)
    out[stops > 0] = behind
    start = np.zeros((len(incident.values), setup.inside.size), np.complex64)
    start[:, incident.beams] = incident.values
    out[stops == 0] = start[:, select]
    planes = setup.stack.planes
    for wave, depth, stop in zip(out, depths, stops, strict=True):
        wave[:, inside] *= setup.propagator(select[inside], depth - (planes[stop - 1] if stop else 0.0)).astype(np.complex64)
    return out


def working_memory(grid: Grid, waves: float = math.inf) -> int:
    """Return the working memory of multislice for a number of waves, bytes, without the stack and the results."""
    return int(min(threads.thread_count(), -(-waves // LANES)) * wave_memory(grid))


def wave_memory(grid: Grid) -> int:
    """Return the memory of one batch of waves on a grid, bytes."""
    kept = int(np.count_nonzero(np.abs(grid.kx) < grid.band_limit))
    return 4 * POINT * (grid.shape[0] * _pitch(kept) + max(grid.shape) + 1)


# ---- preparation of one call ---------------------------------------------------------------------------------------------------------


def _pitch(kept: int) -> int:
    """Return the points from one row of a batch to the next, an odd number: kept coefficients, a zero and a discarded point."""
    return (kept + 2) | 1


class _Buffers(NamedTuple):
    """Scratch memory of one thread."""

    wave: np.ndarray
    line: np.ndarray
    factors: np.ndarray


class _Incident(NamedTuple):
    """The incident waves on distinct beams inside the band, sorted by column."""

    beams: np.ndarray
    values: np.ndarray


_Recorder = Callable[[_Buffers, int, slice], None]
"""A function of a thread's scratch memory, the index of a stop and the waves of a batch, called at each stop."""


def _unwritable(array: np.ndarray) -> np.ndarray:
    """Return a read-only view, so kernels are compiled for one array type only."""
    view = array.view()
    view.flags.writeable = False
    return view


class _Setup:
    """Tables of one stack at one offset, shared by all threads."""

    def __init__(self, stack: SliceStack, offset: tuple[float, float]) -> None:
        if len(offset) != 2 or not all(abs(j) < 1 for j in offset):
            message = f"offset={offset} must be two numbers between -1 and 1 (reciprocal pixels). For larger offsets, shift the beams' indices."
            raise SettingsError(message)
        grid = stack.grid
        ny, nx = grid.shape
        self.stack = stack
        self.ky = grid.ky + offset[0] / grid.extent[0]
        self.kx = grid.kx + offset[1] / grid.extent[1]
        self.inside = np.sqrt(self.ky[:, None] ** 2 + self.kx**2) < grid.band_limit
        self.kept = np.flatnonzero(self.inside.any(axis=0))
        self.band = np.ascontiguousarray(self.inside[:, self.kept].T)
        self.pitch = _pitch(self.kept.size)
        self.size = (ny, nx, self.kept.size)
        self.plan_y: TransformPlan = make_plan(ny)
        self.plan_x: TransformPlan = make_plan(nx)
        self.place_y = np.argsort(self.plan_y.order)
        self.slot = np.full(nx, -1)
        self.slot[self.kept] = np.arange(self.kept.size)
        self.places_y = np.arange(ny) * (self.pitch * POINT)
        self.reads = self.row_places(self.kept, self.kept.size)
        self.writes = self.row_places(self.kept, self.kept.size + 1)
        distances, steps = np.unique(np.diff(stack.planes), return_inverse=True)
        self.steps = np.concatenate(([0], steps)).astype(np.int64)
        tan_y, tan_x = np.tan(stack.tilt)
        self.phase_y = -np.pi * stack.wavelength * self.ky**2 + 2 * np.pi * tan_y * self.ky
        self.phase_x = -np.pi * stack.wavelength * self.kx**2 + 2 * np.pi * tan_x * self.kx
        # conjugated, because columns multiply exchanged parts; the normalisation of both directions is included
        self.y_factors = (np.exp(-1j * distances[:, None] * self.phase_y) / (ny * nx)).astype(np.complex64)
        self.x_factors = np.exp(-1j * distances[:, None] * self.phase_x[self.kept]).astype(np.complex64)
        self.transmission = _unwritable(stack.transmission.reshape(-1))

    def row_places(self, filled: np.ndarray, otherwise: int) -> np.ndarray:
        """Return the positions of a row's coefficients: the ``filled`` ones in their slots, all others at point ``otherwise``."""
        places = np.full(self.slot.size, otherwise)
        places[filled] = self.slot[filled]
        return places * POINT

    def columns_of(self, flat: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Group flat indices by column; return the columns' slots, the starts of the groups (one more than columns) and the sorting order."""
        slots = self.slot[flat % self.slot.size]
        order = np.argsort(slots, kind="stable")
        columns, counts = np.unique(slots, return_counts=True)
        return columns, np.concatenate(([0], np.cumsum(counts))), order

    def propagator(self, flat: np.ndarray, distance: float) -> np.ndarray:
        """Return the propagator over a distance (A) at flat indices inside the band, complex128."""
        iy, ix = np.divmod(flat, self.slot.size)
        return np.exp(1j * distance * (self.phase_y[iy] + self.phase_x[ix]))

    def buffers(self) -> _Buffers:
        """Return the scratch memory of one thread, with the zero points of the batch set to zero."""
        ny, nx = self.stack.grid.shape
        return _Buffers(aligned(ny * self.pitch * POINT), aligned((max(ny, nx) + 1) * POINT), np.empty(ny, np.complex64))

    def enter(self, buffers: _Buffers, beams: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Load at most 16 waves, ``values`` (waves, beams), into the batch at the first plane; return the positions from which rows read it."""
        live = values.any(axis=0)
        beams, values = beams[live], values[:, live]
        points = aligned(beams.size * POINT)
        parts = points.reshape(-1, 2, LANES)
        parts[:, 0, : len(values)] = np.imag(values).T  # parts exchanged, as after a column pass
        parts[:, 1, : len(values)] = np.real(values).T
        columns, starts, _ = self.columns_of(beams)
        places = self.place_y[beams // self.slot.size]
        multislice_kernels.enter_waves(buffers.wave, points, places, starts, columns, buffers.line, self.plan_y, self.places_y)
        return self.row_places(self.kept[columns], self.kept.size)

    def advance(self, buffers: _Buffers, begin: int, end: int, first_reads: np.ndarray) -> None:
        """Take the batch from behind plane ``begin - 1`` to behind plane ``end - 1``."""
        multislice_kernels.advance(
            buffers.wave, begin, end, self.transmission, self.steps, self.y_factors, self.x_factors, self.band, self.pitch,
            buffers.line, buffers.factors, self.plan_y, self.plan_x, self.places_y, first_reads, self.reads, self.writes,
        )  # fmt: skip


_spare: spare.Spare[_Buffers] = spare.Spare()
"""Scratch memory for later calls on a grid of the same size, uncleared: every batch writes all that it reads, except zero points, which stay zero."""


def _run(
    setup: _Setup,
    incident: _Incident,
    stops: tuple[int, ...],
    record: _Recorder,
    progress: Callable[[int], None] | None,
) -> None:
    """Propagate all waves through the stack, sixteen at a time; call ``record(buffers, number, waves)`` behind plane ``stops[number] - 1``."""
    waves = len(incident.values)
    if not setup.kept.size or not stops:
        return
    batches = [slice(begin, min(begin + LANES, waves)) for begin in range(0, waves, LANES)]
    finished, lock = [0], threading.Lock()
    to_first_plane = setup.propagator(incident.beams, setup.stack.planes[0]).astype(np.complex64)

    def work(queue: Iterator[slice]) -> None:
        """Propagate the batches in a queue."""
        buffers = _spare.take(setup.size, setup.buffers)
        for batch in queue:
            first_reads = setup.enter(buffers, incident.beams, incident.values[batch] * to_first_plane)
            for number, (begin, end) in enumerate(zip((0, *stops), stops, strict=False)):
                setup.advance(buffers, begin, end, first_reads)
                record(buffers, number, batch)
            if progress is not None:
                with lock:
                    finished[0] += batch.stop - batch.start
                    progress(finished[0])
        _spare.put(setup.size, buffers, buffers.wave.nbytes)

    threads.spread(work, batches, threads=min(threads.thread_count(), len(batches)))


# ---- checks of arguments -------------------------------------------------------------------------------------------------------------


def _indices(name: str, flat: np.ndarray, grid: Grid) -> np.ndarray:
    flat = np.asarray(flat)
    size = grid.shape[0] * grid.shape[1]
    if flat.ndim != 1 or (flat.size and (flat.dtype.kind not in "iu" or flat.min() < 0 or flat.max() >= size)):
        message = f"{name} (shape {flat.shape}, {flat.dtype}) is not an array of flat indices below {size} = {grid.shape[0]} x {grid.shape[1]}."
        message += " Give iy * nx + ix as integers."
        raise SettingsError(message)
    return flat.astype(np.int64)


def _incident(setup: _Setup, beams: np.ndarray, coefficients: np.ndarray) -> _Incident:
    """Return the incident waves on distinct beams inside the band, sorted by column."""
    beams = _indices("beams", beams, setup.stack.grid)
    coefficients = np.asarray(coefficients)
    if coefficients.ndim != 2 or coefficients.shape[1] != beams.size:
        message = f"coefficients of shape {coefficients.shape} do not fit {beams.size} beams. Give one row per wave, one column per beam."
        raise SettingsError(message)
    distinct, number = np.unique(beams, return_inverse=True)
    values = coefficients.astype(np.complex64, copy=False)
    if distinct.size < beams.size:
        values = np.zeros((len(coefficients), distinct.size), np.complex64)
        np.add.at(values.T, number, coefficients.T)
    else:
        values = values[:, np.argsort(number)]
    inside = np.flatnonzero(setup.inside.flat[distinct])
    inside = inside[np.argsort(setup.slot[distinct[inside] % setup.slot.size], kind="stable")]
    return _Incident(distinct[inside], values[:, inside])


def _checked_weights(weights: np.ndarray, grid: Grid) -> np.ndarray:
    weights = np.asarray(weights)
    if weights.ndim != 3 or weights.shape[1:] != grid.shape or weights.dtype.kind not in "fiub":
        message = f"weights of shape {weights.shape} ({weights.dtype}) do not fit the grid {grid.shape}. Give real numbers, (detectors, ny, nx)."
        raise SettingsError(message)
    return weights.astype(np.float32, copy=False)
