"""Periodic sampling grids in real and reciprocal space, (y, x), FFT origin at [0, 0]."""

from dataclasses import dataclass

import numpy as np

from stemtwin.twin.errors import SamplingError


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A rectangular periodic grid.

    Parameters
    ----------
    shape : tuple of int
        Number of points (ny, nx).
    extent : tuple of float
        Period (Ly, Lx), A.

    Raises
    ------
    SamplingError
        A side has fewer than 2 points or no positive length.
    """

    shape: tuple[int, int]
    extent: tuple[float, float]

    def __post_init__(self) -> None:
        """Check the numbers."""
        if len(self.shape) != 2 or len(self.extent) != 2 or min(self.shape) < 2 or not min(self.extent) > 0:
            message = f"A grid of shape {self.shape} over {self.extent} A cannot be sampled. Use at least 2 x 2 points and positive lengths."
            raise SamplingError(message)

    @property
    def sampling(self) -> tuple[float, float]:
        """Distance between points (dy, dx), A."""
        return self.extent[0] / self.shape[0], self.extent[1] / self.shape[1]

    @property
    def reciprocal_sampling(self) -> tuple[float, float]:
        """Distance between Fourier coefficients (1/Ly, 1/Lx), 1/A."""
        return 1 / self.extent[0], 1 / self.extent[1]

    @property
    def ky(self) -> np.ndarray:
        """Spatial frequencies along y, shape (ny,), 1/A, in FFT order."""
        return np.fft.fftfreq(self.shape[0], self.sampling[0])

    @property
    def kx(self) -> np.ndarray:
        """Spatial frequencies along x, shape (nx,), 1/A, in FFT order."""
        return np.fft.fftfreq(self.shape[1], self.sampling[1])

    @property
    def k2(self) -> np.ndarray:
        """Squared spatial frequency, shape (ny, nx), 1/A^2."""
        return self.ky[:, None] ** 2 + self.kx**2

    @property
    def k(self) -> np.ndarray:
        """Absolute spatial frequency, shape (ny, nx), 1/A."""
        return np.sqrt(self.k2)

    @property
    def band_limit(self) -> float:
        """Upper bound of a wave's spatial frequencies, 1/A: (1 - 1e-6) 2/3 of the lower of the Nyquist frequencies along y and x.

        Source: Kirkland, Advanced Computing in Electron Microscopy, section 6.8.
        """
        return (1 - 1e-6) * (2 / 3) / (2 * max(self.sampling))

    @property
    def band(self) -> np.ndarray:
        """Mask of the Fourier coefficients inside the band limit, shape (ny, nx), bool."""
        return self.k < self.band_limit

    def max_angle(self, wavelength: float) -> float:
        """Return the largest scattering angle inside the band limit (rad) for a wavelength in A."""
        return self.band_limit * wavelength


def fast_length(n: int, factors: tuple[int, ...] = (2, 3, 5)) -> int:
    """Return the smallest even number >= ``n`` whose only prime factors are ``factors``."""
    n = max(2, n + n % 2)
    while True:
        rest = n
        for factor in factors:
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return n
        n += 2
