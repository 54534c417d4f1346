"""Rasters blurred by a source of finite size: sharp signals on a coarse raster with a margin, and the weights that blur them.

A signal contains no spatial frequency above twice the aperture's radius, 2 alpha / lambda, with the convergence semi-angle
alpha and the wavelength lambda. The sum of its values at points a distance h apart, weighted by the source's Gaussian, equals
the blurred signal if 1/h is so large that the Gaussian suppresses all aliased frequencies.
"""

import math
from dataclasses import dataclass

import numpy as np

from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation.request import Request

MISTAKEN = 1e-2
"""Factor by which the Gaussian suppresses the lowest aliased frequency."""
REACH = 4.0
"""Margin of a coarse raster around the scan, in standard deviations of the source."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SourceRaster:
    """A coarse raster, and the weights with which its signals give a blurred frame.

    Parameters
    ----------
    y, x : ndarray
        Coordinates of the coarse raster, A, shapes (m,) and (n,).
    along_y, along_x : ndarray
        Weights of the coarse lines for each line of the scan, shape (ny, m), and of the coarse columns for each column of
        the scan, shape (nx, n). Each row sums to 1.
    """

    y: np.ndarray
    x: np.ndarray
    along_y: np.ndarray
    along_x: np.ndarray

    @property
    def count(self) -> int:
        """Number of points of the coarse raster."""
        return self.y.size * self.x.size

    def points(self) -> np.ndarray:
        """Return the points (x, y) of the coarse raster, A, shape (m n, 2)."""
        return np.stack(np.meshgrid(self.x, self.y), axis=-1).reshape(-1, 2)

    def blurred(self, sharp: np.ndarray) -> np.ndarray:
        """Return the blurred frame, shape (..., ny, nx), from sharp signals at the points of the coarse raster, shape (..., m n)."""
        return self.along_y @ sharp.reshape(*sharp.shape[:-1], self.y.size, self.x.size) @ self.along_x.T


def source_raster(request: Request) -> SourceRaster | None:
    """Return the coarse raster for a scan and a source of finite size, or None.

    The result is None if the scan is not a raster with lines along x, or if the size of the source is 0.
    """
    axes, sigma = request.scan.axes(), request.beam.source_size_angstrom
    if axes is None or not sigma:
        return None
    step = _step(request.beam)
    (y, along_y), (x, along_x) = (_line(axis, step, sigma) for axis in axes)
    return SourceRaster(y=y, x=x, along_y=along_y, along_x=along_x)


def _step(beam: Beam) -> float:
    """Return the distance between coarse points, A."""
    passed = math.sqrt(-math.log(MISTAKEN) / 2) / (math.pi * beam.source_size_angstrom)
    return 1 / (2 * beam.semiangle_rad / beam.wavelength_angstrom + passed)


def _line(axis: np.ndarray, step: float, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Return coarse coordinates around those of a scan, and their weights."""
    length = axis[-1] - axis[0] + 2 * REACH * sigma
    count = math.ceil(length / step) + 1
    at = (axis[0] + axis[-1]) / 2 + step * (np.arange(count) - (count - 1) / 2)
    weights = np.exp(-((axis[:, None] - at) ** 2) / (2 * sigma**2))
    return at, weights / weights.sum(axis=1, keepdims=True)
