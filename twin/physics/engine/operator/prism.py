"""The scattering matrix S and PRISM: probes composed of plane waves that are propagated through the specimen once.

PRISM uses every f-th plane wave and a window of 1/f of the cell around each probe (Ophus, Advanced Structural and Chemical
Imaging 3 (2017) 13). With f = 1 the window is the cell, and S is as exact as multislice of each probe. With f > 1 the
probe repeats with the period L / f (L: side of the cell) and is cut to the window. Scattering beyond the window and the
fine structure of the aperture function are then lost. The error depends on probe, specimen and detector; ``window_error``
measures it against multislice.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import scipy.fft

from stemtwin.twin.errors import SamplingError
from stemtwin.twin.physics import probe
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.detector_weights import Weights
from stemtwin.twin.physics.engine.kernels import blas, threads
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack, exit_coefficients
from stemtwin.twin.physics.engine.operator.beam_blocks import beyond_band
from stemtwin.twin.physics.grids import Grid, fast_length

WAVES_AT_ONCE = 64
"""Number of exit waves held in Fourier space at once while S is built."""
SNAP = 4
"""Windows begin at multiples of this number of points of S, so neighbouring probes share a window."""
PROBES_AT_ONCE = 64
"""Largest number of probes of one window in one matrix product."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScatteringMatrix:
    """Exit waves of incident plane waves.

    Parameters
    ----------
    grid : Grid
        Coarsest grid that has the extent of the cell and contains the band.
    wavelength, semiangle : float
        Wavelength, A; largest convergence semi-angle, rad.
    interpolation : tuple of int
        Interpolation factor f along y and x; f = 1 is exact.
    hy, hx : ndarray
        Indices of the plane waves, k = h / L, multiples of f, shape (B,).
    waves : ndarray
        Exit waves of unit plane waves, complex64, shape (B, ny, nx).
    antialias : bool
        Whether pixels at the aperture's edge are weighted by their covered fraction.
    """

    grid: Grid
    wavelength: float
    semiangle: float
    interpolation: tuple[int, int]
    hy: np.ndarray
    hx: np.ndarray
    waves: np.ndarray
    antialias: bool

    @property
    def window(self) -> Grid:
        """Grid of the window, whose sides are the sides of the cell divided by the interpolation factor f."""
        (fy, fx), (ny, nx), (height, width) = self.interpolation, self.grid.shape, self.grid.extent
        return Grid(shape=(ny // fy, nx // fx), extent=(height / fy, width / fx))

    def amplitudes(self, aberrations: Aberrations, semiangle: float | None = None) -> np.ndarray:
        """Return the Fourier amplitudes of the probe at the origin, complex128, shape (B,).

        Raises
        ------
        SamplingError
            The convergence is larger than that of the matrix.
        """
        semiangle = self.semiangle if semiangle is None else semiangle
        if semiangle > self.semiangle * (1 + 1e-12):
            message = f"This matrix was built for {self.semiangle * 1e3:g} mrad, not for {semiangle * 1e3:g} mrad. Build one for the larger angle."
            raise SamplingError(message)
        ky, kx = self.hy / self.grid.extent[0], self.hx / self.grid.extent[1]
        pixel = self.window.reciprocal_sampling
        return probe.amplitudes(ky, kx, pixel, self.wavelength, semiangle, aberrations, antialias=self.antialias)

    def signals(self, positions: np.ndarray, aberrations: Aberrations, weights: Weights, *, semiangle: float | None = None) -> np.ndarray:
        """Return the detector signals of coherent probes, as fractions of the incident beam.

        Parameters
        ----------
        positions : ndarray
            Probe positions (x, y), A, shape (P, 2).
        aberrations : Aberrations
            Coefficients, A and rad.
        weights : callable
            Detector weights of reciprocal pixels, for all channels.
        semiangle : float, optional
            Convergence semi-angle (rad), at most that of the matrix (the default).

        Returns
        -------
        ndarray
            Signals, float64, shape (channels, P).
        """
        inside, beyond = self.window_signals(positions, aberrations, weights, semiangle=semiangle)
        norm = self.norm(aberrations, semiangle)
        return inside + (max(1 - norm, 0.0) * beyond)[:, None] if self.antialias else inside / norm

    def norm(self, aberrations: Aberrations, semiangle: float | None = None) -> float:
        """Return the sum of the squared amplitudes, which is the fraction of the beam inside the window."""
        return float((np.abs(self.amplitudes(aberrations, semiangle)) ** 2).sum())

    def window_signals(
        self, positions: np.ndarray, aberrations: Aberrations, weights: Weights, *, semiangle: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the signals of the probes inside the window, and the signal of their tails beyond it.

        The first array has the shape (channels, P) for P positions. The tails are represented by the same aperture-edge
        waves for all probes. The second array, shape (channels,), contains the tails' signal divided by their power.
        """
        window = self.window
        flat = weights(window.ky[:, None], window.kx, window.reciprocal_sampling)
        flat = flat.reshape(len(flat), -1).astype(np.float32)
        out = np.empty((len(flat), len(positions)))

        def keep(which: np.ndarray, patterns: np.ndarray) -> None:
            out[:, which] = flat @ patterns.reshape(len(patterns), -1).T

        self._patterns(positions, self.amplitudes(aberrations, semiangle), keep)
        return out, self._beyond(self.semiangle if semiangle is None else semiangle, weights)

    def patterns(self, positions: np.ndarray, aberrations: Aberrations, *, semiangle: float | None = None) -> np.ndarray:
        """Return diffraction patterns of coherent probes, float32, shape (P, ny, nx) in FFT order on ``window``; their sums are at most 1."""
        out = np.empty((len(positions), *self.window.shape), np.float32)

        def keep(which: np.ndarray, patterns: np.ndarray) -> None:
            out[which] = patterns

        self._patterns(positions, self.amplitudes(aberrations, semiangle), keep)
        return out

    def _beyond(self, semiangle: float, weights: Weights) -> np.ndarray:
        """Return the mean signal of aperture-edge waves, which carry the probe's tails beyond the window, (channels,)."""
        detector = weights(self.grid.ky[:, None], self.grid.kx, self.grid.reciprocal_sampling)
        ky, kx = self.hy / self.grid.extent[0], self.hx / self.grid.extent[1]
        power = probe.rim(probe.aperture(ky, kx, self.window.reciprocal_sampling, semiangle / self.wavelength))
        total = np.zeros(len(detector))
        for number in np.flatnonzero(power):
            spectrum = np.abs(scipy.fft.fft2(self.waves[number], norm="forward")) ** 2
            total += power[number] * (detector * spectrum).sum(axis=(1, 2))
        return total / max(float(power.sum()), 1e-300)

    def _patterns(self, positions: np.ndarray, a: np.ndarray, keep: Callable[[np.ndarray, np.ndarray], None]) -> None:
        """Call ``keep`` with indices of probes and their patterns; probes that share a window are computed in one matrix product."""
        positions = np.asarray(positions, float)
        window = self.window
        whole = self.interpolation == (1, 1)
        start = window_starts(self.grid, self.interpolation, positions)
        _, group = np.unique(start, axis=0, return_inverse=True)
        order = np.argsort(group.ravel(), kind="stable")
        ends = np.flatnonzero(np.diff(group.ravel()[order])) + 1
        jobs = [part for run in np.split(order, ends) for part in np.array_split(run, math.ceil(len(run) / PROBES_AT_ONCE))]
        ky, kx = self.hy / self.grid.extent[0], self.hx / self.grid.extent[1]

        def work(queue: Iterator[np.ndarray]) -> None:
            """Compute the diffraction patterns of the groups of probes in a queue."""
            part = self.waves if whole else np.empty((len(self.waves), *window.shape), np.complex64)
            for which in queue:
                at = positions[which]
                phase = np.exp(-2j * np.pi * (np.outer(at[:, 1], ky) + np.outer(at[:, 0], kx)))
                if not whole:
                    _cut(self.waves, start[which[0]], part)
                exit_waves = (a * phase).astype(np.complex64) @ part.reshape(len(part), -1)
                spectrum = scipy.fft.fft2(exit_waves.reshape(-1, *window.shape), norm="forward")
                keep(which, spectrum.real**2 + spectrum.imag**2)

        with blas.one_thread():
            threads.spread(work, jobs)


def window_starts(grid: Grid, interpolation: tuple[int, int], positions: np.ndarray) -> np.ndarray:
    """Return the first grid point (y, x) of each probe's window, int, shape (P, 2).

    ``positions`` are the probe positions (x, y), A, shape (P, 2). For interpolation (1, 1) the window is the cell, and all
    indices are 0.
    """
    if interpolation == (1, 1):
        return np.zeros((len(positions), 2), int)
    sides = np.array(grid.shape) // np.array(interpolation)
    return np.rint((positions[:, ::-1] / np.array(grid.sampling) - sides / 2) / SNAP).astype(int) * SNAP


def _cut(waves: np.ndarray, start: np.ndarray, out: np.ndarray) -> None:
    """Copy the window (B, wy, wx) that begins at any point (y, x) of periodic waves (B, ny, nx)."""
    spans = []
    for first, n, count in zip(start.tolist(), out.shape[1:], waves.shape[1:], strict=True):
        begin = first % count
        head = min(n, count - begin)
        spans.append([(slice(0, head), slice(begin, begin + head)), (slice(head, n), slice(0, n - head))])
    for (to_y, from_y), (to_x, from_x) in itertools.product(*spans):
        out[:, to_y, to_x] = waves[:, from_y, from_x]


def build(
    stack: SliceStack,
    semiangle: float,
    *,
    interpolation: tuple[int, int] = (1, 1),
    antialias: bool = True,
    progress: Callable[[int], None] | None = None,
) -> ScatteringMatrix:
    """Compute a scattering matrix by multislice of plane waves.

    Parameters
    ----------
    stack : SliceStack
        The specimen.
    semiangle : float
        Largest convergence semi-angle, rad.
    interpolation : tuple of int
        Interpolation factor f along y and x.
    antialias : bool
        Whether pixels at the aperture's edge are weighted by their covered fraction instead of 0 or 1.
    progress : callable, optional
        Called with the number of plane waves finished since the last call.

    Raises
    ------
    SamplingError
        The interpolation or the convergence is invalid; see :func:`plane_waves`.
    """
    grid = stack.grid
    beams = plane_waves(grid, stack.wavelength, semiangle, interpolation, antialias=antialias)
    hy, hx = np.rint(grid.ky * grid.extent[0]).astype(int), np.rint(grid.kx * grid.extent[1]).astype(int)
    reduced = reduced_grid(grid, interpolation)
    inside = np.flatnonzero(grid.band)
    iy, ix = hy[inside // grid.shape[1]] % reduced.shape[0], hx[inside % grid.shape[1]] % reduced.shape[1]
    waves = np.empty((beams.size, *reduced.shape), np.complex64)
    for first in range(0, beams.size, WAVES_AT_ONCE):
        some = slice(first, min(first + WAVES_AT_ONCE, beams.size))
        count = some.stop - first
        spectrum = np.zeros((count, *reduced.shape), np.complex64)
        spectrum[:, iy, ix] = exit_coefficients(stack, beams[some], np.eye(count, dtype=np.complex64), inside)
        waves[some] = scipy.fft.ifft2(spectrum, norm="forward", workers=-1)
        if progress is not None:
            progress(count)
    return ScatteringMatrix(
        grid=reduced,
        wavelength=stack.wavelength,
        semiangle=semiangle,
        interpolation=interpolation,
        hy=hy[beams // grid.shape[1]],
        hx=hx[beams % grid.shape[1]],
        waves=waves,
        antialias=antialias,
    )


def plane_waves(grid: Grid, wavelength: float, semiangle: float, interpolation: tuple[int, int], *, antialias: bool) -> np.ndarray:
    """Return the flat indices of the plane waves of PRISM: with ``interpolation`` f, every f-th wave that the aperture touches.

    Raises
    ------
    SamplingError
        The interpolation is not a positive whole number or leaves fewer than 3 plane waves across the aperture, or the
        aperture exceeds the band limit.
    """
    fy, fx = interpolation
    radius = semiangle / wavelength
    if min(fy, fx) < 1 or radius * min(grid.extent[0] / fy, grid.extent[1] / fx) < 1.5:
        largest = max(1, int(radius * min(grid.extent) / 1.5))
        message = f"interpolation={interpolation} leaves fewer than 3 plane waves across the aperture. Use whole numbers from 1 to {largest} here."
        raise SamplingError(message)
    hy, hx = np.rint(grid.ky * grid.extent[0]).astype(int), np.rint(grid.kx * grid.extent[1]).astype(int)
    pixel = (fy / grid.extent[0], fx / grid.extent[1])
    touched = probe.aperture(grid.ky[:, None], grid.kx, pixel, radius, antialias=antialias) > 0
    touched &= (hy[:, None] % fy == 0) & (hx % fx == 0)
    if (touched & ~grid.band).any():
        raise SamplingError(beyond_band(grid, wavelength, semiangle, pixel))
    return np.flatnonzero(touched)


def reduced_grid(grid: Grid, interpolation: tuple[int, int]) -> Grid:
    """Return the grid on which PRISM stores exit waves.

    It has the extent of the cell and enough points for all frequencies below the band limit. Along each axis, the number of
    points is a multiple of ``interpolation`` f, so a window of 1/f of the cell contains a whole number of points.
    """
    sides = []
    for n, k, side, f in zip(grid.shape, (grid.ky, grid.kx), grid.extent, interpolation, strict=True):
        least = 2 * int(np.rint(np.abs(k[np.abs(k) < grid.band_limit]).max() * side)) + 1
        sides.append(f * fast_length(math.ceil(min(least, n) / f)))
    return Grid(shape=(sides[0], sides[1]), extent=grid.extent)


def window_error(approximate: np.ndarray, exact: np.ndarray) -> tuple[float, float]:
    """Return the rms and the largest error of probe signals against multislice, divided by the mean signal.

    Both arrays have the shape (channels, P). The values of the worst channel are returned.
    """
    difference, mean = approximate - exact, np.maximum(exact.mean(axis=1), 1e-30)
    return float((np.sqrt((difference**2).mean(axis=1)) / mean).max()), float((np.abs(difference).max(axis=1) / mean).max())
