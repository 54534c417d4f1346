r"""Images by the local operator: the quadratic form in a basis of lattice functions, by FFTs of sixteen lines at once.

.. math::

    I(R) = \sum_\delta \sum_j K_\delta[j] \overline{f(r_j - R)} f(r_j + \delta - R)
         = \sum_q e^{-2\pi i q R} \sum_\delta \tilde P_\delta(q) \sum_j K_\delta[j] e^{2\pi i q r_j},
    \qquad P_\delta(x) = \overline{f(x)} f(x + \delta)

f gives the coefficients of the probe at R, and K the overlaps of the exit waves on the detector (`local_operator`). f
is sampled twice as finely as the lattice, so a difference of lattice points is a whole number of sampling steps of f.
Sixteen differences fill the SIMD lanes. A focal spread is included as a Gauss-Hermite mean of P over C10. A finite source
multiplies the Fourier coefficients of the image.
"""

import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import scipy.fft

from stemtwin.twin.physics import coherence, probe
from stemtwin.twin.physics.aberrations import Aberrations, chi
from stemtwin.twin.physics.engine.kernels import threads
from stemtwin.twin.physics.engine.kernels.fft import make_plan
from stemtwin.twin.physics.engine.kernels.simd_complex64 import LANES, POINT, aligned
from stemtwin.twin.physics.engine.local import local_kernels
from stemtwin.twin.physics.engine.local.basis import Basis, smooth_length

CHUNKS = 8
"""Number of parts into which each pass over a canvas is divided."""
NODES_ERROR = 1e-4
"""Largest error of the Gauss-Hermite mean of any interference term."""
WIDTH, SHAPE = 7, 2.30 * 7
"""Width and shape of the interpolation kernel for arbitrary points, on an image oversampled twice (Barnett et al., SIAM J. Sci. Comput. 41
(2019) C479)."""


@functools.lru_cache(maxsize=32)
def focal_nodes(phase: float) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes, in standard deviations, and weights for a Gaussian mean of exp(i t x), accurate for all abs(t) <= ``phase``."""
    t = np.linspace(0, phase, 200)
    count = 1
    while True:
        x, w = np.polynomial.hermite_e.hermegauss(count)
        w = w / w.sum()
        if np.abs(np.cos(np.outer(t, x)) @ w - np.exp(-(t**2) / 2)).max() < NODES_ERROR:
            return x, w
        count += 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LocalImage:
    """One band-limited image per channel: I(r) = Re sum_h C_h exp(-2 pi i h.(r - origin) / L), hy >= 0.

    Parameters
    ----------
    coefficients : ndarray
        C, complex64, shape (channels, my + 1, 2 mx + 1): hy = 0..my, hx = -mx..mx, with the factor 2 of the half plane
        included.
    extent : tuple of float
        Sides (Ly, Lx) of the canvas, A; they are the image's periods. The canvas is the rectangle on which the image is computed.
    origin : tuple of float
        Corner (y, x) of the canvas, A.
    beyond : ndarray
        Signal of the part of the probe outside the canvas, divided by the power of this part, (channels,); 0 without antialiasing.
    """

    coefficients: np.ndarray
    extent: tuple[float, float]
    origin: tuple[float, float]
    beyond: np.ndarray

    def raster(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return the images on a rectangular raster of positions y (ny,) and x (nx,), A: float32, shape (channels, ny, nx)."""
        channels, rows, columns = self.coefficients.shape
        mx = columns // 2
        y, x = np.asarray(y, float) - self.origin[0], np.asarray(x, float) - self.origin[1]
        angle_y = 2 * np.pi / self.extent[0] * np.outer(y, np.arange(rows))
        angle_x = 2 * np.pi / self.extent[1] * np.outer(np.arange(mx + 1), x)
        waves_y = np.concatenate([np.cos(angle_y), np.sin(angle_y)], axis=1).astype(np.float32)
        waves_x = np.concatenate([np.cos(angle_x), np.sin(angle_x)]).astype(np.float32)
        out = np.empty((channels, y.size, x.size), np.float32)
        for channel, c in enumerate(self.coefficients):
            left = np.concatenate([np.zeros((rows, 1), c.dtype), c[:, mx - 1 :: -1]], axis=1)  # hx, -hx share a cosine, have opposite sines
            plus, minus = c[:, mx:] + left, c[:, mx:] - left
            folded = np.block([[plus.real, minus.imag], [plus.imag, -minus.real]])
            _product(waves_y, _product(folded, waves_x), out[channel])
        return out

    def at(self, points: np.ndarray) -> np.ndarray:
        """Return the images at points (x, y), A, shape (..., 2).

        The result is float32, shape (channels, ...), with an error of up to 1e-5 of the largest value.
        """
        points = np.asarray(points, float)
        channels, rows, columns = self.coefficients.shape
        shape = smooth_length(4 * rows), smooth_length(2 * columns)
        mx = columns // 2
        hx = np.arange(-mx, mx + 1)
        spectrum = np.zeros((channels, shape[1], shape[0] // 2 + 1), np.complex64)
        full = self.coefficients * (_kernel_transform(np.arange(rows), shape[0])[:, None] * _kernel_transform(hx, shape[1]))
        spectrum[:, hx, :rows] = 0.5 * full.conj().transpose(0, 2, 1)
        spectrum[:, hx, 0] += 0.5 * full[:, 0, ::-1]
        scale = shape[0] * shape[1]
        y = (points[..., 1].ravel() - self.origin[0]) / self.extent[0] % 1 * shape[0]
        x = (points[..., 0].ravel() - self.origin[1]) / self.extent[1] % 1 * shape[1]
        out = np.empty((channels, y.size), np.float32)
        for channel in range(channels):
            fine = np.ascontiguousarray(scipy.fft.irfft2(spectrum[channel], s=(shape[1], shape[0]), workers=threads.thread_count()).T) * scale

            def work(queue: Iterator[np.ndarray], fine: np.ndarray = fine, channel: int = channel) -> None:
                for part in queue:
                    values = np.empty(part.size)
                    local_kernels.interpolate(fine, y[part], x[part], WIDTH, SHAPE, values)
                    out[channel, part] = values

            threads.spread(work, np.array_split(np.arange(y.size), max(1, min(CHUNKS, y.size // 256))))
        return out.reshape(channels, *points.shape[:-1])


def _product(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return the product of two float32 matrices, with bits that do not depend on the number of threads."""
    result = np.empty((len(a), b.shape[1]), np.float32) if out is None else out
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)

    def work(queue: Iterator[tuple[int, int]]) -> None:
        for begin, end in queue:
            local_kernels.multiply(a, b, begin, end, result)

    threads.spread(work, _parts(len(a)))
    return result


def _kernel_transform(h: np.ndarray, points: int) -> np.ndarray:
    """Return the reciprocal of the interpolation kernel's Fourier transform at the frequencies h / points, 1/pixel."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    kernel = np.exp(SHAPE * (np.sqrt(1 - nodes**2) - 1)) * weights * WIDTH / 2
    return 1 / (np.cos(np.pi * WIDTH / points * np.outer(np.asarray(h), nodes)) @ kernel)


# ---- one canvas ----------------------------------------------------------------------------------------------------------------------


class Canvas:
    """A rectangle of the lattice on which images are computed, and its Fourier-transformed overlaps.

    Parameters
    ----------
    basis : Basis
        The lattice.
    rows, columns : ndarray
        Lattice indices of the canvas, -1 outside the lattice. The numbers of rows and of columns have only the prime factors
        2, 3 and 5.
    origin : tuple of float
        Position (y, x) of the first point, A.
    overlaps : ndarray
        Conjugated overlaps, float32, shape (channels, batches, ny, nx, 2, 16).
    """

    def __init__(self, basis: Basis, rows: np.ndarray, columns: np.ndarray, origin: tuple[float, float], overlaps: np.ndarray) -> None:
        self.basis, self.origin = basis, origin
        self.shape = (rows.size, columns.size)
        self.fine = (2 * rows.size, 2 * columns.size)
        self.extent = (rows.size * basis.spacing[0], columns.size * basis.spacing[1])
        self.most = tuple(int(2 * basis.top * side) for side in self.extent)
        self.channels, self.batches = overlaps.shape[:2]
        self.points = aligned(self.channels * self.batches * rows.size * columns.size * POINT)
        view = self.points.reshape(self.channels * self.batches, rows.size, columns.size, 2, LANES)
        at = np.ix_(rows.clip(0), columns.clip(0))
        nothing = (rows < 0)[:, None] | (columns < 0)
        for out, given in zip(view, overlaps.reshape(-1, *overlaps.shape[2:]), strict=True):
            out[...] = given[at]
            if nothing.any():
                out[nothing] = 0
        self._transform()
        self._spare: list[list[np.ndarray]] = []
        self._apertures: dict[tuple[float, bool], tuple[np.ndarray, ...]] = {}

    def _transform(self) -> None:
        """Fourier transform the overlaps over the lattice in place."""
        ny, nx = self.shape
        size = ny * nx * POINT
        plan_y, plan_x = make_plan(ny), make_plan(nx)
        places_y, places_x = np.arange(ny) * (nx * POINT), np.arange(nx) * POINT
        blocks = [self.points[i * size : (i + 1) * size] for i in range(self.channels * self.batches)]

        def rows(queue: Iterator[tuple[np.ndarray, int, int]]) -> None:
            line = aligned(nx * POINT)
            for block, begin, end in queue:
                local_kernels.transform_rows(block, begin, end, nx, line, places_x, plan_x)

        def columns(queue: Iterator[tuple[np.ndarray, int, int]]) -> None:
            line = aligned(ny * POINT)
            for block, begin, end in queue:
                local_kernels.transform_columns(block, begin, end, ny, nx, line, places_y, plan_y)

        threads.spread(rows, [(block, *part) for block in blocks for part in _parts(ny)])
        threads.spread(columns, [(block, *part) for block in blocks for part in _parts(nx)])

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        return self.points.nbytes + sum(wave.nbytes for waves in list(self._spare) for wave in waves)

    # ---- the probe ----

    def _aperture(self, semiangle: float, wavelength: float, *, antialias: bool) -> tuple[np.ndarray, ...]:
        """Return iy, ix, ky, kx and real amplitudes of the beams in the aperture, amplitudes over shape, and the edge waves' correlation."""
        key = (semiangle, antialias)
        found = self._apertures.get(key)
        if found is None:
            pixel = (1 / self.extent[0], 1 / self.extent[1])
            hy, hx = (np.arange(-m, m + 1) for m in (int(self.basis.top * side) + 1 for side in self.extent))
            ky, kx = (part.ravel() for part in np.meshgrid(hy * pixel[0], hx * pixel[1], indexing="ij"))
            none = Aberrations()
            amplitude = np.real(probe.amplitudes(ky, kx, pixel, wavelength, semiangle, none, antialias=antialias))
            inside = np.flatnonzero(amplitude)
            iy, ix = inside // hx.size - hy.size // 2, inside % hx.size - hx.size // 2
            ky, kx, amplitude = ky[inside], kx[inside], amplitude[inside]
            shape, power = self.basis.shape(np.hypot(ky, kx)), probe.rim(probe.aperture(ky, kx, pixel, semiangle / wavelength))
            rim, power = np.flatnonzero(power), power / max(float(power.sum()), 1e-300)
            correlation = self._correlation(iy[rim], ix[rim], power[rim] / shape[rim] ** 2)
            found = (iy, ix, ky, kx, amplitude, amplitude / shape, correlation)
            if len(self._apertures) > 3:
                self._apertures.clear()
            self._apertures[key] = found
        return found

    def _fields(self, aberrations: list[Aberrations], aperture: tuple[np.ndarray, ...], wavelength: float, margin: tuple[int, int]) -> np.ndarray:
        """Return f of each state on the fine grid with periodic margins, complex64, shape (states, ny + my, nx + 2 mx)."""
        iy, ix, ky, kx, _, shaped, _ = aperture
        ny, nx = self.fine
        out = np.empty((len(aberrations), ny + margin[0], nx + 2 * margin[1]), np.complex64)
        for state, field in zip(aberrations, out, strict=True):
            spectrum = np.zeros(self.fine, np.complex64)
            spectrum[iy, ix] = shaped * np.exp(-1j * chi(state, ky, kx, wavelength))
            fine = scipy.fft.ifft2(spectrum, overwrite_x=True, workers=threads.thread_count(), norm="forward")
            field[:] = np.pad(fine, ((0, margin[0]), (margin[1], margin[1])), mode="wrap")
        return out

    # ---- the form ----

    def image(
        self, aberrations: Aberrations, semiangle: float, wavelength: float, *, source_size: float, focal_spread: float, antialias: bool
    ) -> LocalImage:
        """Return the image for one state of the optics; see `local_operator.LocalOperator.image`."""
        aperture = self._aperture(semiangle, wavelength, antialias=antialias)
        nodes, shares = (
            focal_nodes(round(math.pi * wavelength * focal_spread * (semiangle / wavelength) ** 2, 6))
            if focal_spread
            else (
                np.zeros(1),
                np.ones(1),
            )
        )
        states = [replace(aberrations, C10=aberrations.C10 + focal_spread * float(node)) for node in nodes]
        margin = tuple(2 * int(np.abs(self.basis.steps[:, axis]).max()) for axis in (0, 1))
        fields = self._fields(states, aperture, wavelength, margin)  # type: ignore[arg-type]
        real, imag = (np.ascontiguousarray(part).reshape(len(states), -1) for part in (np.real(fields), np.imag(fields)))
        total = self._form(real, imag, shares.astype(np.float32), fields.shape[2], margin[1])
        total = total / (self.extent[0] * self.extent[1])
        my, mx = self.most
        half = total[:, my:].copy()
        half[:, 1:] += total[:, my - 1 :: -1, ::-1].conj() if my else 0
        half[:, 0, mx + 1 :] += total[:, my, mx - 1 :: -1].conj()
        half[:, 0, :mx] = 0
        beyond = np.zeros(self.channels)
        if antialias:
            beyond = self._mean(aperture[6])
            half[:, 0, mx] += max(1 - float((aperture[4] ** 2).sum()), 0.0) * beyond
        if source_size:
            qy, qx = np.arange(my + 1)[:, None] / self.extent[0], np.arange(-mx, mx + 1) / self.extent[1]
            half *= coherence.source_factor(source_size, qy, qx)
        return LocalImage(coefficients=half.astype(np.complex64), extent=self.extent, origin=self.origin, beyond=beyond)

    def _correlation(self, iy: np.ndarray, ix: np.ndarray, strength: np.ndarray) -> np.ndarray:
        """Return sum_k strength_k exp(2 pi i k delta) for each lattice difference delta, doubled for delta != 0; (2, batches, 16)."""
        steps = self.basis.steps
        phase = 2 * np.pi * (np.outer(iy / self.shape[0], steps[:, 0]) + np.outer(ix / self.shape[1], steps[:, 1]))
        twice = np.where((steps == 0).all(axis=1), 1.0, 2.0) / (self.extent[0] * self.extent[1])
        out = np.zeros((2, self.batches * LANES))
        out[:, : len(steps)] = twice * (strength @ np.cos(phase)), twice * (strength @ np.sin(phase))
        return out.reshape(2, self.batches, LANES)

    def _mean(self, correlation: np.ndarray) -> np.ndarray:
        """Return the mean over the canvas, (channels,), from a result of `_correlation` and the overlaps at zero frequency."""
        first = self.points.reshape(self.channels, self.batches, *self.shape, 2, LANES)[:, :, 0, 0]
        return (first[:, :, 0] * correlation[0] - first[:, :, 1] * correlation[1]).sum(axis=(1, 2))

    def _form(self, real: np.ndarray, imag: np.ndarray, shares: np.ndarray, pitch: int, origin: int) -> np.ndarray:
        """Return the image's Fourier coefficients on the full plane, complex128, shape (channels, 2 my + 1, 2 mx + 1)."""
        (ny, nx), (my, mx) = self.fine, self.most
        steps = self.basis.steps
        jumps, factors = np.zeros((self.batches, LANES), np.int64), np.zeros((self.batches, LANES), np.float32)
        jumps.flat[: len(steps)] = 2 * steps[:, 0] * pitch + 2 * steps[:, 1]
        factors.flat[: len(steps)] = np.where((steps == 0).all(axis=1), 1.0, 2.0) / (ny * nx)
        hx = np.arange(-mx, mx + 1)
        slots, kept = np.full(nx, -1), np.full(ny, -1)
        slots[hx], kept[np.arange(-my, my + 1)] = np.arange(hx.size), np.arange(2 * my + 1)
        wave_pitch = ny | 1
        try:  # buffers of an earlier image; several threads may compute images at once
            waves = self._spare.pop()
        except IndexError:
            waves = [aligned(hx.size * wave_pitch * POINT) for _ in range(self.batches)]
        size = self.shape[0] * self.shape[1] * POINT
        out = np.zeros((self.batches, self.channels, 2 * my + 1, hx.size), np.complex64)
        plan_y, plan_x = make_plan(ny), make_plan(nx)

        def rows(queue: Iterator[tuple[int, int, int]]) -> None:
            source, line, places = aligned(nx * POINT), aligned(nx * POINT), np.arange(nx) * POINT
            for batch, begin, end in queue:
                local_kernels.pair_rows(
                    real, imag, shares, pitch, origin, jumps[batch], factors[batch], begin, end, slots, waves[batch], wave_pitch,
                    source, line, places, plan_x,
                )  # fmt: skip

        def columns(queue: Iterator[tuple[int, int, int]]) -> None:
            line, places = aligned(ny * POINT), np.arange(ny) * POINT
            for batch, begin, end in queue:
                first = (np.arange(self.channels) * self.batches + batch) * size
                local_kernels.form_columns(
                    waves[batch], begin, end, wave_pitch, self.points, first, self.shape[0], self.shape[1], hx % nx, kept, out[batch],
                    line, places, plan_y,
                )  # fmt: skip

        threads.spread(rows, [(batch, *part) for batch in range(self.batches) for part in _parts(ny)])
        threads.spread(columns, [(batch, *part) for batch in range(self.batches) for part in _parts(hx.size)])
        self._spare.append(waves)
        return out.sum(axis=0, dtype=np.complex128)


def _parts(count: int) -> list[tuple[int, int]]:
    edges = np.linspace(0, count, CHUNKS + 1).astype(int)
    return [(int(a), int(b)) for a, b in itertools.pairwise(edges) if b > a]
