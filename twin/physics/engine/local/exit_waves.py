"""Exit waves of the local operator's lattice functions, and overlaps of these waves on the detectors; a window contains sixteen functions."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import scipy.fft

from stemtwin.twin.errors import SamplingError
from stemtwin.twin.physics.detector_weights import Weights
from stemtwin.twin.physics.engine.kernels import threads
from stemtwin.twin.physics.engine.kernels.simd_complex64 import LANES, POINT, aligned
from stemtwin.twin.physics.engine.local import growing_windows, local_kernels
from stemtwin.twin.physics.engine.local.basis import EDGE, SIDE, Basis, Partner, partners
from stemtwin.twin.physics.engine.local.growing_windows import Change, Functions, Stage
from stemtwin.twin.physics.engine.multislice import multislice
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack
from stemtwin.twin.physics.grids import Grid, fast_length

FINER = 4
"""Factor by which the reciprocal grid of the detector weights is finer than that of the window."""
NEGLIGIBLE = 2e-3
"""Weights below this fraction of the largest weight are left out."""
BRIGHT = 1.2
"""Smallest inner angle of detectors, as a multiple of the convergence semi-angle."""

DIRECTIONS = 24
"""Number of directions in which detectors are sampled; with a tilted beam, they are not round about the optic axis."""

Patch = tuple[int, int]


class CorrelationChannel(NamedTuple):
    """Correlation weights of one detector channel.

    Attributes
    ----------
    chosen : ndarray
        Indices of the channel's exit coefficients among all recorded exit coefficients.
    weights : ndarray
        Detector weights of these coefficients, float32.
    qy, qx : ndarray
        Rows and columns of these coefficients on the window's grid.
    """

    chosen: np.ndarray
    weights: np.ndarray
    qy: np.ndarray
    qx: np.ndarray


class _Scratch(NamedTuple):
    """Buffers of one propagating thread: tables, waves and slices of each window, functions of the first one, and buffers of the transfers."""

    windows: "list[tuple[multislice._Setup, multislice._Buffers, np.ndarray]]"
    incident: np.ndarray
    changes: list[tuple]


class Windows:
    """The window shared by all patches: its grid, incident waves, and detector weights on its reciprocal pixels.

    A detector correlates two points of an exit wave by the Fourier transform d(r - r') of its weights. d is computed
    from the weights on a finer reciprocal grid (antialiased there), attenuated to zero between the distances c / 2 and
    c, and transformed back to the window's reciprocal pixels; c is the attribute ``correlation`` of the basis's
    truncation distances. The result is a ring of weights with edges as soft as the window requires. For distances
    r - r' up to c / 2, it gives d exactly. An annulus antialiased on the window's own pixels would instead multiply d by
    sinc(y / window) sinc(x / window), which is an error of a quarter at 4 A in a window of 10 A. Because of the soft
    edges, the detector would collect a small part of the bright field, so the unscattered wave is subtracted first.

    Parameters
    ----------
    basis : Basis
        Lattice and truncation distances.
    stack : SliceStack
        A specimen; its planes are used, its transmission is not.
    weights : callable
        Detector weights of reciprocal pixels.
    planes : ndarray, optional
        Depths of the planes (A) to be used instead of the planes of ``stack``.

    Raises
    ------
    SamplingError
        A detector collects angles below 1.2 times the convergence semi-angle or beyond the band limit, or all of its weights
        are zero.
    """

    def __init__(self, basis: Basis, stack: SliceStack, weights: Weights, planes: np.ndarray | None = None) -> None:
        self.basis = basis
        planes = stack.planes if planes is None else planes
        self.grid = window_grid(basis)
        self.stages = growing_windows.stages(basis, planes, self.grid)
        self.setups = [growing_windows.window_setup(stage.grid, stack, planes) for stage in self.stages]
        self.setup, first = self.setups[-1], self.setups[0]
        self.incident = Functions(basis, first, planes[0])
        self.first_reads = first.row_places(first.kept[self.incident.columns], first.kept.size)
        pairs = zip(self.setups[:-1], self.setups[1:], self.stages[:-1], strict=True)
        self.changes = [Change(basis, before, after, stage.end - 1) for before, after, stage in pairs]
        self._make_channels(weights)
        self._partners: dict[tuple[int, int], list[Partner]] = {}
        self.far = tuple(max(2, -(-int(np.abs(basis.steps[:, axis]).max()) // SIDE) + 1) for axis in (0, 1))

    # ---- tables ----

    def _make_channels(self, weights: Weights) -> None:
        """Make the list of exit coefficients on the detectors, sorted by column, and the weights of each channel."""
        setup, grid = self.setup, self.grid
        smooth = _smooth_weights(self.basis, grid, weights, setup.stack.wavelength)
        smooth *= setup.inside & (grid.k > self.basis.top)  # without the disc of the unscattered probe
        seen = np.abs(smooth) > NEGLIGIBLE * np.abs(smooth).max(axis=(1, 2), keepdims=True)
        flat = np.flatnonzero(seen.any(axis=0))
        columns, starts, order = setup.columns_of(flat)
        flat = flat[order]
        self.pick_columns, self.pick_starts = columns, starts
        self.pick_places = setup.place_y[flat // grid.shape[1]]
        # only scattered waves are recorded; the unscattered probe misses the detectors, but the functions have frequencies beyond the probe's
        self.direct = np.flatnonzero(self.basis.shape(grid.k.flat[flat]) > 0)
        self.direct_y, self.direct_x = np.divmod(flat[self.direct], grid.shape[1])
        unscattered = self.basis.shape(grid.k.flat[flat[self.direct]]) * setup.propagator(flat[self.direct], setup.stack.planes[-1])
        self.unscattered = (unscattered * (np.prod(grid.shape) / np.prod(grid.extent))).astype(np.complex64)
        scale = np.prod(grid.extent) * np.prod(self.basis.spacing) ** 2 / np.prod(grid.shape, dtype=float) ** 2
        self.channels: list[CorrelationChannel] = []
        for weight, mask in zip(smooth, seen, strict=True):
            chosen = np.flatnonzero(mask.flat[flat])
            qy, qx = np.divmod(flat[chosen], grid.shape[1])
            self.channels.append(CorrelationChannel(chosen, (weight.flat[flat[chosen]] * scale).astype(np.float32), qy, qx))
        self.points = flat.size

    @property
    def wave_bytes(self) -> int:
        """Memory of the exit waves of one patch, bytes."""
        return self.points * POINT * 4

    # ---- positions of patches ----

    def corner(self, patch: Patch, grid: Grid | None = None) -> tuple[int, int]:
        """Return the first row and column of a patch's window on the field's grid; they may lie outside the field.

        ``grid`` is the grid of the window; by default, it is the grid of the window at the last plane.
        """
        grid = self.grid if grid is None else grid
        centre = [o + (SIDE * p + (SIDE - 1) / 2) * h for o, p, h in zip(self.basis.origin, patch, self.basis.spacing, strict=True)]
        cells = zip(centre, grid.sampling, grid.shape, strict=True)
        return tuple(int(np.floor(c / step + 0.5)) - n // 2 for c, step, n in cells)  # type: ignore[return-value]

    def sight(self, patch: Patch, stage: Stage | None = None) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the rows and the columns of the field's grid under a patch's window, and the specimen's weight (0 to 1) at each.

        Rows and columns outside a specimen that is not periodic have the index -1. The window is that of ``stage``; the last stage by default.
        """
        out = []
        stage, basis = self.stages[-1] if stage is None else stage, self.basis
        for axis, start in enumerate(self.corner(patch, stage.grid)):
            pixel = start + np.arange(stage.grid.shape[axis])
            first = basis.origin[axis] + SIDE * patch[axis] * basis.spacing[axis]
            last = first + (SIDE - 1) * basis.spacing[axis]
            place = pixel * stage.grid.sampling[axis]
            outside = np.maximum(np.maximum(first - place, place - last), 0)
            share = 0.5 + 0.5 * np.cos(np.pi * np.clip((outside - stage.reach + EDGE / 2) / EDGE, 0, 1))
            share[outside >= stage.reach + EDGE / 2] = 0
            count = basis.grid.shape[axis]
            pixel = pixel % count if basis.periodic else np.where((pixel >= 0) & (pixel < count), pixel, -1)
            out.append((pixel, share.astype(np.float32)))
        return out

    def partners(self, patch: Patch) -> list[Partner]:
        """Return the patches whose functions overlap with those of a patch; see :func:`basis.partners`."""
        like: list[int] = []
        for p, n, edge in zip(patch, self.basis.patches, self.far, strict=True):
            like.append(edge if edge <= p < n - edge - 1 else p)
        key = (like[0], like[1])
        found = self._partners.get(key)
        if found is None:
            found = self._partners.setdefault(key, partners(self.basis, key))
        move = (patch[0] - key[0], patch[1] - key[1])
        if move == (0, 0):
            return found
        return [replace(each, patch=(each.patch[0] + move[0], each.patch[1] + move[1])) for each in found]

    # ---- work ----

    def propagate(self, stack: SliceStack, patches: list[Patch], progress: Callable[[int], None] | None = None) -> dict[Patch, np.ndarray]:
        """Return the exit-wave coefficients that fall on the detectors, for each patch: float32, flat, interleaved by lane."""
        transmission = multislice._unwritable(stack.transmission)
        done: dict[Patch, np.ndarray] = {}

        def work(queue: Iterator[Patch]) -> None:
            scratch = None
            for patch in queue:
                scratch = self._scratch() if scratch is None else scratch
                done[patch] = self._send(transmission, patch, scratch)
                if progress is not None:
                    progress(LANES)

        threads.spread(work, patches, threads=min(threads.thread_count(), len(patches)))
        return done

    def _scratch(self) -> _Scratch:
        windows = []
        for each in self.setups:
            setup, window = copy.copy(each), np.empty(each.transmission.size, np.complex64)
            setup.transmission = multislice._unwritable(window)
            windows.append((setup, setup.buffers(), window))
        return _Scratch(windows, aligned(self.incident.values.size * POINT), [change.scratch() for change in self.changes])

    def _send(self, transmission: np.ndarray, patch: Patch, scratch: _Scratch) -> np.ndarray:
        phases = [self._phases(patch, stage.grid) for stage in self.stages]
        for number, (stage, (setup, waves, window)) in enumerate(zip(self.stages, scratch.windows, strict=True)):
            (rows, share_y), (columns, share_x) = self.sight(patch, stage)
            area = stage.grid.shape[0] * stage.grid.shape[1]
            part = window[stage.begin * area : stage.end * area]
            local_kernels.cut_window(transmission[stage.begin : stage.end], rows, columns, share_y, share_x, part)
            if number:
                here, before = self.corner(patch, stage.grid), self.corner(patch, self.stages[number - 1].grid)
                both, inside = (scratch.windows[number - 1][1], waves), (before[0] - here[0], before[1] - here[1])
                self.changes[number - 1].carry(both, phases[number - 1 : number + 1], inside, scratch.changes[number - 1])
            else:
                self.incident.enter(phases[0], scratch.incident, waves.wave, waves.line)
            setup.advance(waves, stage.begin, stage.end, self.first_reads)
        out, (setup, waves, _) = aligned(self.points * POINT), scratch.windows[-1]
        local_kernels.pick_points(waves.wave, self.pick_columns, self.pick_starts, self.pick_places, out, waves.line, setup.plan_y, setup.places_y)
        local_kernels.subtract_incident(self.direct, self.unscattered, self.direct_y, self.direct_x, phases[-1][0], phases[-1][1], out)
        return out

    def _phases(self, patch: Patch, grid: Grid) -> list[np.ndarray]:
        """Return the phase factors of a patch's functions along y and x at the frequencies of a window, 0 for lanes without a function."""
        phases = []
        for axis, k in ((0, grid.ky), (1, grid.kx)):
            lanes = SIDE * patch[axis] + np.arange(SIDE)
            place = self.basis.origin[axis] + lanes * self.basis.spacing[axis] - self.corner(patch, grid)[axis] * grid.sampling[axis]
            phases.append((np.exp(-2j * np.pi * np.outer(k, place)) * (lanes < self.basis.counts[axis])).astype(np.complex64))
        return phases

    def correlate(self, pairs: list[tuple[Patch, Partner]], waves: dict[Patch, np.ndarray], overlaps: np.ndarray, share: float, *, add: bool) -> None:
        """Write or add the conjugated overlaps of pairs of patches, times ``share``, to ``overlaps``, (channels, batches, ny, nx, 2, 16)."""
        turns = [np.exp(2j * np.pi * np.arange(n) / n).astype(np.complex64) for n in self.grid.shape]
        size = max(channel.chosen.size for channel in self.channels)

        def work(queue: Iterator[tuple[Patch, Partner]]) -> None:
            """Write or add the overlaps of the pairs in a queue."""
            shifted, sums = None, None
            for patch, partner in queue:
                if shifted is None or sums is None:
                    shifted, sums = aligned(size * POINT), aligned(LANES * POINT)
                here, there = self.corner(patch), self.corner(partner.patch)
                ramps = []
                for axis, n in enumerate(self.grid.shape):
                    move = here[axis] - there[axis] - partner.cell[axis] * self.basis.grid.shape[axis]
                    ramps.append(turns[axis][np.arange(n) * move % n])
                for channel, out in zip(self.channels, overlaps, strict=True):
                    local_kernels.overlap(
                        waves[patch], waves[partner.patch], partner.rows, channel.chosen, channel.weights, channel.qy, channel.qx,
                        ramps[0], ramps[1], shifted, sums,
                    )  # fmt: skip
                    local_kernels.deposit(sums, partner.entries, SIDE * patch[0], SIDE * patch[1], SIDE, np.float32(share), add, out)

        threads.spread(work, pairs, threads=min(threads.thread_count(), max(1, len(pairs))))


def seen_frequencies(stack: SliceStack, weights: Weights) -> tuple[float, float]:
    """Return the smallest and the largest spatial frequency with a detector weight, 1/A."""
    k, phi = np.linspace(0, stack.grid.band_limit, 512), np.linspace(0, 2 * np.pi, DIRECTIONS, endpoint=False)[:, None]
    found = np.abs(weights(k * np.sin(phi), k * np.cos(phi), (1e-3, 1e-3))) > 0
    seen = k[found.any(axis=(0, 1))]
    return (float(seen.min()), float(seen.max())) if seen.size else (0.0, stack.grid.band_limit)


def window_grid(basis: Basis) -> Grid:
    """Return the grid of a patch's window."""
    local, sampling = basis.local, basis.grid.sampling
    wide = max(local.band + 1.0 / basis.radius, local.correlation) + local.correlation
    least = [max((SIDE - 1) * h + 2 * local.reach + EDGE + 1.0, wide) for h in basis.spacing]
    ny, nx = (fast_length(int(np.ceil(side / step))) for side, step in zip(least, sampling, strict=True))
    return Grid(shape=(ny, nx), extent=(ny * sampling[0], nx * sampling[1]))


def check_detectors(basis: Basis, weights: Weights, wavelength: float) -> None:
    """Check the angles of all detector channels.

    Raises
    ------
    SamplingError
        A channel collects angles below 1.2 times the convergence semi-angle or beyond the band limit, or all of its weights
        are zero.
    """
    _checked_weights(basis, window_grid(basis), weights, wavelength)


def _smooth_weights(basis: Basis, grid: Grid, weights: Weights, wavelength: float) -> np.ndarray:
    """Return the detector weights with soft edges on the window's reciprocal pixels, float64, shape (channels, ny, nx), after a check."""
    given = _checked_weights(basis, grid, weights, wavelength)
    kernel = scipy.fft.ifft2(given, workers=threads.thread_count())
    pixels = [np.rint(np.fft.fftfreq(n) * n).astype(int) for n in grid.shape]
    kernel = kernel[:, pixels[0][:, None], pixels[1]]
    distance = np.hypot(pixels[0][:, None] * grid.sampling[0], pixels[1] * grid.sampling[1])
    flat = 0.5 * basis.local.correlation
    ramp = np.clip((distance - flat) / (basis.local.correlation - flat), 0, 1)
    return scipy.fft.fft2(kernel * (0.5 + 0.5 * np.cos(np.pi * ramp))).real


def _checked_weights(basis: Basis, grid: Grid, weights: Weights, wavelength: float) -> np.ndarray:
    """Check the detectors' angles, and return their weights on reciprocal pixels finer than the window's, float64, (channels, ...)."""
    fine = Grid(shape=(FINER * grid.shape[0], FINER * grid.shape[1]), extent=(FINER * grid.extent[0], FINER * grid.extent[1]))
    given = np.asarray(weights(fine.ky[:, None], fine.kx, fine.reciprocal_sampling), np.float64)
    k, semiangle = fine.k, basis.radius * wavelength * 1e3
    pixel = np.hypot(*fine.reciprocal_sampling)
    for number, weight in enumerate(given):
        seen = k[np.abs(weight) > 0.5 * np.abs(weight).max()]
        if not seen.size:
            message = f"Detector channel {number} has no weight at any angle. Give it weights between its inner and outer angle."
            raise SamplingError(message)
        if seen.min() < BRIGHT * basis.radius - pixel:
            message = (
                f"The local operator is for dark field: the detector's inner angle of {seen.min() * wavelength * 1e3:.1f} mrad is below "
                f"{BRIGHT:g} x the convergence of {semiangle:g} mrad. Use the dense imaging operator or a larger inner angle."
            )
            raise SamplingError(message)
        if seen.max() > grid.band_limit + pixel:
            message = (
                f"The detector's outer angle of {seen.max() * wavelength * 1e3:.1f} mrad exceeds the largest angle on this grid "
                f"({grid.max_angle(wavelength) * 1e3:.1f} mrad). Use a finer sampling or lower the outer angle."
            )
            raise SamplingError(message)
    return given
