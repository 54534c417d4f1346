"""Current density of the probe per unit of current, normalised to an integral of 1 over the plane."""

import functools
import math
from dataclasses import dataclass

import numpy as np
from scipy.fft import fft2, fftfreq, ifft2, next_fast_len

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics import coherence, electrons, probe
from stemtwin.twin.physics.aberrations import Aberrations, blur_radius
from stemtwin.twin.physics.dynamics import kinetics_kernels
from stemtwin.twin.physics.electrons import beam_energy

CORE = 1e-4  # fraction of the peak density above which points of a path are summed one by one
MARGIN = 3  # steps of the table beyond its radius, for the interpolation
LARGEST_TABLE = 4096  # largest number of points along a side of the grid on which the table is computed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Density:
    """Current density per unit of current, 1/A^2: a table about the probe's centre with a 1 / r^3 tail, or a Gaussian.

    Parameters
    ----------
    table : ndarray
        Tabulated density, 1/A^2, float32, shape (m, m), [y, x], centred at [m // 2, m // 2]; empty for a Gaussian.
    step : float
        Distance between points of the table, A.
    radius : float
        Radius within which the table is valid, A.
    tail : float
        Fraction of the current beyond the radius. Behind a hard aperture, the tails of a probe fall as 1 / r^3 (Born
        and Wolf, Principles of Optics, section 8.5.2).
    core : float
        Distance beyond which the density is below 1e-4 of its peak, A.
    sigma : float
        Standard deviation of the Gaussian, A.
    """

    table: np.ndarray
    step: float
    radius: float
    tail: float
    core: float
    sigma: float = 0.0

    @property
    def law(self) -> np.ndarray:
        """Seven kernel parameters: Gaussian exponent, Gaussian peak, 1 / step, centre index, radius^2, tail amplitude, core."""
        peak = 1 / (2 * math.pi * self.sigma**2) if self.sigma else 0.0
        exponent = 0.5 / self.sigma**2 if self.sigma else 0.0
        scale = 1 / self.step if self.step else 0.0
        return np.array([exponent, peak, scale, len(self.table) // 2, self.radius**2, self.tail * self.radius / (2 * math.pi), self.core])

    def at(self, offsets: np.ndarray) -> np.ndarray:
        """Return the density, 1/A^2, shape (n,), at offsets (x, y) from the probe's centre, A, shape (n, 2)."""
        offsets = np.ascontiguousarray(offsets, dtype=float).reshape(-1, 2)
        beam = np.array([[0.0, 0.0, 1.0]])
        return kinetics_kernels.doses(offsets, beam, kinetics_kernels.build_tree(beam), self.table, self.law, np.zeros(2))

    def __getstate__(self) -> list[object]:
        """Return the fields, for pickling."""
        return [getattr(self, name) for name in self.__slots__]

    def __setstate__(self, state: list[object]) -> None:
        """Restore the fields and make the table read-only."""
        for name, value in zip(self.__slots__, state, strict=True):
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
            object.__setattr__(self, name, value)


def gaussian_density(sigma: float) -> Density:
    """Return a Gaussian density of standard deviation ``sigma`` (A).

    Raises
    ------
    SettingsError
        sigma is not between 1e-3 and 1e5 A.
    """
    repair = "Give the standard deviation of the probe's current density."
    sigma = checks.number("sigma", sigma, "A", low=1e-3, high=1e5, repair=repair)
    table = np.zeros((0, 0), dtype=np.float32)
    table.setflags(write=False)
    return Density(table=table, step=0.0, radius=0.0, tail=0.0, core=sigma * math.sqrt(-2 * math.log(CORE)), sigma=sigma)


@functools.lru_cache(maxsize=64)
def probe_density(
    energy: float, semiangle: float, aberrations: Aberrations | None = None, source_size: float = 0.0, focal_spread: float = 0.0
) -> Density:
    """Return the probe's current density in the specimen's entrance plane.

    The density is abs(psi)^2, averaged over the focal spread and convolved with the source's image.

    Parameters
    ----------
    energy : float
        Beam energy, eV.
    semiangle : float
        Convergence semi-angle, rad.
    aberrations : Aberrations, optional
        Coefficients, A and rad; none by default.
    source_size, focal_spread : float
        Standard deviations of the source's image and of C10, A.

    Returns
    -------
    Density
        Density with a table that extends 8 lambda / alpha beyond the blur by aberrations, focal spread and source, and
        with a tail outside the table.

    Raises
    ------
    SettingsError
        A number is out of range, or the probe is too wide for a table.
    """
    energy = beam_energy(energy)
    repair = "Give the convergence semi-angle in rad."
    semiangle = checks.number("semiangle", semiangle, "rad", low=1e-4, high=0.15, repair=repair)
    repair = "Give a standard deviation."
    source_size = checks.number("source_size", source_size, "A", low=0.0, high=1e4, repair=repair)
    focal_spread = checks.number("focal_spread", focal_spread, "A", low=0.0, high=1e4, repair=repair)
    aberrations = aberrations or Aberrations()
    wavelength = electrons.wavelength(energy)
    airy = wavelength / semiangle
    radius = blur_radius(aberrations, semiangle) + 3 * focal_spread * semiangle + 5 * source_size + 8 * airy
    step = airy / 16  # the density's highest frequency is 2 alpha / lambda: eight points per shortest period
    count = next_fast_len(math.ceil(4 * radius / step))
    if count > LARGEST_TABLE:
        message = (
            f"A probe of {radius:.0f} A radius and {airy:.2f} A resolution needs a table of {count} points a side "
            f"(limit {LARGEST_TABLE}). Correct the aberrations or use a smaller semi-angle."
        )
        raise SettingsError(message)
    k = fftfreq(count, step)
    ky, kx, pixel = k[:, None], k[None, :], (1 / (count * step),) * 2
    density = np.zeros((count, count))
    shifts, weights = (np.zeros(1), np.ones(1)) if focal_spread == 0 else np.polynomial.hermite_e.hermegauss(7)
    for shift, weight in zip(shifts, weights / weights.sum(), strict=True):
        amplitude = probe.amplitudes(ky, kx, pixel, wavelength, semiangle, aberrations)
        if shift:
            amplitude = amplitude * np.exp(-1j * math.pi * wavelength * focal_spread * shift * (ky**2 + kx**2))
        density += weight * np.abs(ifft2(amplitude)) ** 2
    density *= count**2 / step**2
    if source_size:
        density = ifft2(fft2(density) * coherence.source_factor(source_size, ky, kx)).real
    return _tabulated(np.fft.fftshift(density), step, radius)


def _tabulated(density: np.ndarray, step: float, radius: float) -> Density:
    """Return the table cut from a grid that is centred on the probe, with its tail and its core."""
    centre = len(density) // 2
    axis = step * (np.arange(len(density)) - centre)
    distance = np.hypot(axis[:, None], axis[None, :])
    enclosed = float(density[distance <= radius].sum() * step**2)
    bright = density > CORE * density.max()
    half = math.ceil(radius / step) + MARGIN
    table = np.ascontiguousarray(density[centre - half : centre + half + 1, centre - half : centre + half + 1], dtype=np.float32)
    table.setflags(write=False)
    return Density(
        table=table, step=step, radius=radius, tail=min(max(1 - enclosed, 0.0), 1.0), core=min(float(distance[bright].max()) + step, radius)
    )
