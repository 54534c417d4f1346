"""Rasters that a source of finite size blurs: sharp signals on a coarse raster with room around, and the weights that blur them.

A signal of probes repeats nothing faster than twice the aperture's rim, 2 alpha / lambda. A sum of its values at points h apart, weighed by the
source's Gaussian, is the blurred signal wherever 1/h is so large that the Gaussian does not let through what the points mistake for slower waves.
"""

import math
from dataclasses import dataclass

import numpy as np

from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation.request import Request

MISTAKEN = 1e-2
"""The Gaussian's factor for the slowest wave that points mistake for another one."""
REACH = 4.0
"""Standard deviations of the source that a coarse raster goes beyond the scan."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SourceRaster:
    """A coarse raster and its weights.

    Parameters
    ----------
    y, x : ndarray
        Coordinates of the coarse raster, A, shapes (m,) and (n,).
    along_y, along_x : ndarray
        Weights of its lines and columns at each line and column of the scan, shapes (ny, m) and (nx, n); rows sum up to 1.
    """

    y: np.ndarray
    x: np.ndarray
    along_y: np.ndarray
    along_x: np.ndarray

    @property
    def count(self) -> int:
        """Number of coarse points."""
        return self.y.size * self.x.size

    def points(self) -> np.ndarray:
        """Return the coarse points (x, y), A, shape (m n, 2)."""
        return np.stack(np.meshgrid(self.x, self.y), axis=-1).reshape(-1, 2)

    def blurred(self, sharp: np.ndarray) -> np.ndarray:
        """Return sharp signals at the coarse points, shape (..., m n), as a blurred frame, shape (..., ny, nx)."""
        return self.along_y @ sharp.reshape(*sharp.shape[:-1], self.y.size, self.x.size) @ self.along_x.T


def source_raster(request: Request) -> SourceRaster | None:
    """Return the coarse raster of a scan along x and y under a source of finite size; None of others."""
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
    """Return coarse coordinates around a scan's, and their weights."""
    length = axis[-1] - axis[0] + 2 * REACH * sigma
    count = math.ceil(length / step) + 1
    at = (axis[0] + axis[-1]) / 2 + step * (np.arange(count) - (count - 1) / 2)
    weights = np.exp(-((axis[:, None] - at) ** 2) / (2 * sigma**2))
    return at, weights / weights.sum(axis=1, keepdims=True)
