"""Ronchigrams: fast computation of the diffraction pattern of one probe that is wide on the specimen.

A single wave is computed on a window that covers many cells of the specimen; the transmission is stored for one cell only.
For a film in one plane (a phase grating), this takes two Fourier transforms. They are restricted to the lines inside the
aperture and on the camera.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.sparse

from stemtwin.twin.physics import aberrations as optics
from stemtwin.twin.physics import camera_pixels, probe
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.engine.kernels import threads
from stemtwin.twin.physics.engine.operator.diffraction import Camera
from stemtwin.twin.physics.grids import Grid

LINES = 32
"""Number of lines of the aperture whose phases one task computes; fixed, so the bits do not depend on the number of threads."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lens:
    """Window, aperture and camera of a ronchigram, without the specimen and the aberrations.

    Parameters
    ----------
    grid : Grid
        Points of the window.
    cells : tuple of int
        Number of cells of the specimen in the window along y and x; the grid has a whole number of points per cell.
    wavelength, semiangle : float
        Wavelength, A; convergence semi-angle, rad.
    tilt : tuple of float
        Specimen tilt relative to the beam (ty, tx), rad.
    camera : Camera
        The camera.
    beyond : ndarray
        Mask of the Fourier coefficients beyond the band limit, bool, shape (ny, nx). They are set to 0 after each
        propagation from plane to plane.
    rows, columns : ndarray
        Indices of the lines of Fourier coefficients that the aperture touches.
    seen_rows, seen_columns : ndarray
        Indices of the lines of Fourier coefficients on the camera.
    covered : ndarray
        Amplitudes of the aperture on ``rows`` and ``columns``, float32; their squares add up to 1.
    basis : ndarray
        Phase per Cartesian aberration coefficient on ``rows`` and ``columns``, rad/A, shape (25, rows, columns).
    shares : csr_array
        Fractions of the coefficients in each camera pixel, shape (camera pixels, seen coefficients).
    """

    grid: Grid
    cells: tuple[int, int]
    wavelength: float
    semiangle: float
    tilt: tuple[float, float]
    camera: Camera
    beyond: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    seen_rows: np.ndarray
    seen_columns: np.ndarray
    covered: np.ndarray
    basis: np.ndarray
    shares: scipy.sparse.csr_array

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        return self.basis.nbytes + self.covered.nbytes + 8 * self.shares.nnz

    def pattern(
        self,
        aberrations: Aberrations,
        position: tuple[float, float],
        transmissions: np.ndarray,
        planes: Sequence[float] | np.ndarray,
        *,
        foci: Sequence[tuple[float, float]] = ((0.0, 1.0),),
    ) -> np.ndarray:
        """Return the diffraction pattern of one probe, coherent except for a focal spread.

        Parameters
        ----------
        aberrations : Aberrations
            Aberration coefficients, A and rad.
        position : tuple of float
            Centre of the probe (x, y), A.
        transmissions : ndarray
            Transmission of each plane on one cell, complex64, shape (n, my, mx).
        planes : sequence of float
            Depths of the planes below the entrance face, increasing, A.
        foci : sequence of tuple
            Pairs that represent a focal spread: a change of C10, A, and the fraction of the electrons with this change.

        Returns
        -------
        ndarray
            Signals of the camera pixels as fractions of the incident beam, float32, of the camera's shape.
        """
        workers = threads.thread_count()
        incident = self._incident(aberrations, position, float(planes[0]))
        intensity = np.zeros((self.seen_rows.size, self.seen_columns.size), np.float32)
        for focus, share in foci:
            wave = self._probe(incident if not focus else incident * self._defocus(focus), workers)
            intensity += np.float32(share) * self._far_field(wave, transmissions, planes, workers)
        return (self.shares @ intensity.ravel()).reshape(self.camera.shape)

    def _far_field(self, wave: np.ndarray, transmissions: np.ndarray, planes: Sequence[float] | np.ndarray, workers: int) -> np.ndarray:
        """Return the intensities of the coefficients on the camera behind all planes, float32; the wave is overwritten."""
        (ny, nx), (my, mx) = self.grid.shape, transmissions.shape[1:]
        tiles = wave.reshape(ny // my, my, nx // mx, mx)
        for number, transmission in enumerate(transmissions):
            if number:
                wave[...] = self._propagated(wave, float(planes[number] - planes[number - 1]), workers)
            tiles *= transmission[:, None, :]
        part = scipy.fft.fft(wave, axis=1, overwrite_x=True, workers=workers)[:, self.seen_columns]
        part = scipy.fft.fft(part, axis=0, overwrite_x=True, workers=workers)[self.seen_rows] / np.float32(ny * nx)
        return np.real(part) ** 2 + np.imag(part) ** 2

    def _phases(self, distance: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the phases of free propagation over a distance, A, along y and along x, rad."""
        y, x = (-np.pi * self.wavelength * distance * k**2 for k in (self.grid.ky, self.grid.kx))
        slope_y, slope_x = (2 * np.pi * distance * np.tan(t) for t in self.tilt)
        return y + slope_y * self.grid.ky, x + slope_x * self.grid.kx

    def _incident(self, aberrations: Aberrations, position: tuple[float, float], depth: float) -> np.ndarray:
        """Return the amplitudes of the beams inside the aperture at a depth, complex64, shape (rows, columns)."""
        terms = [(-value, part) for value, part in zip(optics.vector(aberrations), self.basis, strict=True) if value]
        flight_y, flight_x = self._phases(depth)
        along_y = (flight_y - 2 * np.pi * position[1] * self.grid.ky)[self.rows, None]
        along_x = (flight_x - 2 * np.pi * position[0] * self.grid.kx)[self.columns]
        incident = np.empty((self.rows.size, self.columns.size), np.complex64)

        def work(queue: Iterator[int]) -> None:
            """Compute the rows of amplitudes that begin at the numbers in a queue."""
            for start in queue:
                some = slice(start, min(start + LINES, self.rows.size))
                phase = along_y[some] + along_x
                for value, part in terms:  # without BLAS, whose threads would compete with these
                    phase += value * part[some]
                phase -= 2 * np.pi * np.rint(phase / (2 * np.pi))  # keeps the phase accurate in single precision
                angle = phase.astype(np.float32)
                lines = np.empty(angle.shape, np.complex64)
                lines.real, lines.imag = np.cos(angle), np.sin(angle)
                incident[some] = lines * self.covered[some]

        threads.spread(work, range(0, self.rows.size, LINES))
        return incident

    def _defocus(self, focus: float) -> np.ndarray:
        """Return the factors of the beams inside the aperture for a change of C10, A, complex64."""
        angle = (-focus * self.basis[0]).astype(np.float32)
        out = np.empty(angle.shape, np.complex64)
        out.real, out.imag = np.cos(angle), np.sin(angle)
        return out

    def _probe(self, incident: np.ndarray, workers: int) -> np.ndarray:
        """Return the probe multiplied by the number of points, complex64, shape (ny, nx)."""
        ny, nx = self.grid.shape
        filled = np.zeros((ny, self.columns.size), np.complex64)
        filled[self.rows] = incident
        wave = np.zeros((ny, nx), np.complex64)
        wave[:, self.columns] = scipy.fft.ifft(filled, axis=0, norm="forward", overwrite_x=True, workers=workers)
        return scipy.fft.ifft(wave, axis=1, norm="forward", overwrite_x=True, workers=workers)

    def _propagated(self, wave: np.ndarray, distance: float, workers: int) -> np.ndarray:
        y, x = (np.exp(1j * phase).astype(np.complex64) for phase in self._phases(distance))
        spectrum = scipy.fft.fft2(wave, workers=workers)
        spectrum *= y[:, None]
        spectrum *= x
        spectrum[self.beyond] = 0
        return scipy.fft.ifft2(spectrum, overwrite_x=True, workers=workers)


def make_lens(
    grid: Grid,
    cells: tuple[int, int],
    wavelength: float,
    semiangle: float,
    camera: Camera,
    *,
    limit: float,
    tilt: tuple[float, float] = (0.0, 0.0),
) -> Lens:
    """Return the tables of a window, an aperture and a camera; see :class:`Lens`.

    ``limit`` is the band limit between planes and at the exit face, 1/A.
    """
    pixel, radius = grid.reciprocal_sampling, semiangle / wavelength
    ky, kx = grid.ky, grid.kx
    rows, columns = np.flatnonzero(np.abs(ky) < radius + pixel[0]), np.flatnonzero(np.abs(kx) < radius + pixel[1])
    covered = probe.aperture(ky[rows][:, None], kx[columns], pixel, radius)
    half = [n * p / 2 + side / 2 for n, p, side in zip(camera.shape, camera.pitch, pixel, strict=True)]
    seen_rows, seen_columns = np.flatnonzero(np.abs(ky + camera.beam[0]) < half[0]), np.flatnonzero(np.abs(kx + camera.beam[1]) < half[1])
    qy, qx = (q.ravel() for q in np.meshgrid(ky[seen_rows], kx[seen_columns], indexing="ij"))
    shares = camera_pixels.resampling(qy + camera.beam[0], qx + camera.beam[1], pixel, camera.shape, camera.pitch)
    inside = scipy.sparse.diags_array((np.hypot(qy, qx) < limit).astype(np.float32), format="csr")
    at_y, at_x = (k.ravel() for k in np.meshgrid(ky[rows], kx[columns], indexing="ij"))
    return Lens(
        grid=grid,
        cells=cells,
        wavelength=wavelength,
        semiangle=semiangle,
        tilt=tilt,
        camera=camera,
        beyond=grid.k >= limit,
        rows=rows,
        columns=columns,
        seen_rows=seen_rows,
        seen_columns=seen_columns,
        covered=(covered / np.sqrt((covered**2).sum())).astype(np.float32),
        basis=optics.basis(at_y, at_x, wavelength).reshape(-1, rows.size, columns.size),
        shares=(shares @ inside).tocsr(),
    )


def crop(transmission: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return a periodic function on fewer points, low-pass filtered below the new Nyquist frequency, complex64, shape (..., ny, nx)."""
    spectrum = scipy.fft.fft2(transmission, norm="forward")
    for axis, n in zip((-2, -1), shape, strict=True):
        low = n // 2 if n % 2 == 0 else n // 2 + 1  # without the Nyquist frequency itself
        kept = [*range(low), *range(spectrum.shape[axis] - (n - 1) // 2, spectrum.shape[axis])]
        part = np.take(spectrum, kept, axis=axis)
        if n % 2 == 0:
            part = np.insert(part, n // 2, 0, axis=axis)
        spectrum = part
    return scipy.fft.ifft2(spectrum, norm="forward").astype(np.complex64)
