"""Accuracy of the local operator, from a comparison with multislice of single probes at random points."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stemtwin.twin.physics import probe
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.detector_weights import Weights
from stemtwin.twin.physics.engine.kernels.simd_complex64 import LANES
from stemtwin.twin.physics.engine.local.basis import MARGIN, Basis, Region
from stemtwin.twin.physics.engine.local.local_image import LocalImage
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack, collect
from stemtwin.twin.physics.engine.operator import beam_blocks
from stemtwin.twin.physics.grids import Grid, fast_length

POINTS = 64
"""Number of random points of a check, half of them in focus."""
BOX = 64.0
"""Side of the random boxes (A) that contain sixteen points each in larger fields, so multislice runs on windows of limited size."""

ROUNDING = 1e-12
"""Smallest mean signal by which errors are divided; the dark-field signal of vacuum is a rounding error of single precision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Error of an operator against multislice of single probes at random points.

    Parameters
    ----------
    points : int
        Number of points, half of them in focus, half with C10 = 2 / (lambda k_max^2), where k_max is the radius of the
        aperture, 1/A.
    rms, largest : float
        rms error and largest single error of the worst channel, divided by its mean signal.
    mean : tuple of float
        Mean signal of each channel.
    standard_error : float
        Relative standard error of the mean over phonon configurations: the rms of the standard errors at the points, divided
        by the mean signal, for the worst channel; NaN for one configuration.
    """

    points: int
    rms: float
    largest: float
    mean: tuple[float, ...]
    standard_error: float


class CheckedOperator(Protocol):
    """Interface of an operator that can be checked; see :class:`~stemtwin.twin.physics.engine.local.local_operator.LocalOperator`."""

    grid: Grid
    wavelength: float
    semiangle: float
    weights: Weights
    periodic: bool
    antialias: bool
    stacks: Sequence[SliceStack]
    basis: Basis

    def image(self, aberrations: Aberrations, *, region: Region | None = None) -> LocalImage:
        """Return the image of the field or of a region for one state of the optics."""
        ...


class Comparison:
    """Comparison of an operator's image with multislice of single probes at random points.

    Half of the probes are in focus, half have C10 = 2 / (lambda k_max^2), where k_max is the radius of the aperture. In
    fields up to 112 A, probes are propagated through the whole field; in larger fields, through a window with a margin
    of at least 24 A. Less than 1 % of a probe lies beyond this margin. The signal of this part is taken from plane waves at
    the edge of the aperture (:func:`probe.rim`), as in the operator's images, so the error due to the window's edges is
    much smaller than 1 %.

    The points are drawn at construction. Configurations of the specimen are passed one after another to `take` while the
    operator is built, so each configuration has to be in memory only once.

    Parameters
    ----------
    operator : CheckedOperator
        The operator; it must be built in the region of the points before :meth:`accuracy` is called.
    rng : Generator
        Random generator of the points.
    region : tuple, optional
        Region of the points, ((y0, y1), (x0, x1)), A; the whole field by default.
    points : int
        Number of points, rounded up to a multiple of 32.
    """

    def __init__(self, operator: CheckedOperator, rng: np.random.Generator, region: Region | None = None, points: int = POINTS) -> None:
        self.operator, self.region = operator, region
        whole: Region = ((0.0, operator.grid.extent[0]), (0.0, operator.grid.extent[1])) if region is None else region
        states = (Aberrations(), Aberrations(C10=blur_of_check(operator.basis.radius) / operator.semiangle))
        self._probes = []
        for _ in range(-(-points // (2 * LANES))):
            for state in states:
                box = _box(whole, rng)
                self._probes.append(_Probes(operator, np.column_stack([rng.uniform(*box[1], LANES), rng.uniform(*box[0], LANES)]), box, state))
        self._signals: list[list[np.ndarray]] = [[] for _ in self._probes]

    def take(self, stack: SliceStack) -> None:
        """Compute the signals of the probes for one configuration of the specimen, and store them for :meth:`accuracy`."""
        for found, signals in zip(self._through(stack), self._signals, strict=True):
            signals.append(found)

    def through(self, stack: SliceStack) -> np.ndarray:
        """Return the signals of the probes for one configuration of the specimen, shape (channels, points).

        The signals omit the parts of the probes outside their windows. Unlike :meth:`take`, this method does not store signals.
        """
        return np.concatenate(list(self._through(stack)), axis=1)

    def _through(self, stack: SliceStack) -> Iterator[np.ndarray]:
        detector = None
        for probes in self._probes:
            if detector is None or detector.shape[1:] != probes.grid.shape:
                detector = probes.weights()
            yield probes.through(stack, detector)

    def accuracy(self) -> Accuracy:
        """Return the accuracy; the operator must be built, and all configurations must have been passed to :meth:`take`."""
        ours, theirs, variances = [], [], []
        for probes, signals in zip(self._probes, self._signals, strict=True):
            image = self.operator.image(probes.state, region=self.region)
            true = np.array(signals) + probes.tails(image.beyond)[:, None]
            ours.append(image.at(probes.at))
            theirs.append(true.mean(axis=0))
            variances.append(spread(true))
        found, true, variance = (np.concatenate(part, axis=1) for part in (ours, theirs, variances))
        return accuracy(found, true, variance)


def check(operator: CheckedOperator, rng: np.random.Generator, region: Region | None = None, points: int = POINTS) -> Accuracy:
    """Compare a finished operator with multislice of single probes at random points; see :class:`Comparison`."""
    comparison = Comparison(operator, rng, region, points)
    for number in range(len(operator.stacks)):
        comparison.take(operator.stacks[number])
    return comparison.accuracy()


def accuracy(found: np.ndarray, true: np.ndarray, variance: np.ndarray) -> Accuracy:
    """Return the error of an operator's signals ``found`` relative to the multislice signals ``true``.

    ``variance`` is the variance of the mean of ``true`` over phonon configurations. All arrays have the shape (channels,
    points).
    """
    mean, error = true.mean(axis=1), found - true
    scale = np.maximum(mean, ROUNDING)
    return Accuracy(
        points=true.shape[1],
        rms=float((np.sqrt((error**2).mean(axis=1)) / scale).max()),
        largest=float((np.abs(error).max(axis=1) / scale).max()),
        mean=tuple(mean.tolist()),
        standard_error=float((np.sqrt(variance.mean(axis=1)) / scale).max()),
    )


def spread(signals: np.ndarray) -> np.ndarray:
    """Return the variance of the mean of signals (configurations, channels, points) over configurations; NaN for one configuration."""
    return signals.var(axis=0, ddof=1) / len(signals) if len(signals) > 1 else np.full(signals.shape[1:], np.nan)


def blur_of_check(radius: float) -> float:
    """Return the geometric radius of the defocused probes of an accuracy check (A) for an aperture of radius alpha / lambda, 1/A."""
    return 2 / radius


class _Probes:
    """Probes of one state of the optics at points in a box, and the window in which they are propagated."""

    def __init__(self, operator: CheckedOperator, at: np.ndarray, box: Region, state: Aberrations) -> None:
        self.operator, self.at, self.state = operator, at, state
        sampling, periodic = operator.grid.sampling, operator.periodic
        shape, _ = window_shape(operator.grid, box, periodic=periodic)
        self.starts = [
            0 if n == count and periodic else round((low + high) / 2 / step) - n // 2
            for (low, high), n, step, count in zip(box, shape, sampling, operator.grid.shape, strict=True)
        ]
        extent = tuple(n * step for n, step in zip(shape, sampling, strict=True))
        self.grid = grid = Grid(shape=shape, extent=(extent[0], extent[1]))
        self.beams = beam_blocks.aperture_beams(grid, operator.wavelength, operator.semiangle, (0.0, 0.0), (1, 1), antialias=operator.antialias)
        ky, kx = grid.ky[self.beams // shape[1]], grid.kx[self.beams % shape[1]]
        a = probe.amplitudes(ky, kx, grid.reciprocal_sampling, operator.wavelength, operator.semiangle, state, antialias=operator.antialias)
        origin = [start * step for start, step in zip(self.starts, sampling, strict=True)]
        phase = -2 * np.pi * (np.outer(at[:, 0] - origin[1], kx) + np.outer(at[:, 1] - origin[0], ky))
        self.waves = (a * np.exp(1j * phase)).astype(np.complex64)
        self.missing = 1 - float((np.abs(a) ** 2).sum())

    def weights(self) -> np.ndarray:
        """Return the detectors' weights on the window's reciprocal pixels, float32."""
        grid = self.grid
        return self.operator.weights(grid.ky[:, None], grid.kx, grid.reciprocal_sampling).astype(np.float32, copy=False)

    def through(self, stack: SliceStack, detector: np.ndarray) -> np.ndarray:
        """Return the signals of the parts of the probes inside the window, shape (channels, points)."""
        return collect(cut_window(stack, self.grid, self.starts, periodic=self.operator.periodic), self.beams, self.waves, detector)

    def tails(self, beyond: np.ndarray) -> np.ndarray:
        """Return the signals of the parts beyond the window, (channels,), from the signals of aperture-edge waves, (channels,)."""
        return self.missing * beyond if self.operator.antialias else np.zeros(len(beyond))


def window_shape(grid: Grid, region: Region, *, periodic: bool) -> tuple[tuple[int, int], bool]:
    """Return the number of points (ny, nx) of the window of an accuracy check, and True if the window is the whole field."""
    shape = []
    for (low, high), step, count in zip(region, grid.sampling, grid.shape, strict=True):
        needed = fast_length(math.ceil((_side(high - low) + 4 * MARGIN) / step))
        shape.append(count if needed >= count and periodic else needed)
    return (shape[0], shape[1]), periodic and (shape[0], shape[1]) == grid.shape


def _side(length: float) -> float:
    """Return the side of the box of a check's points, A: ``BOX`` in a long region, else the region's length."""
    return BOX if length > BOX + 4 * MARGIN else length


def cut_window(stack: SliceStack, grid: Grid, starts: list[int], *, periodic: bool) -> SliceStack:
    """Return a window of a specimen, with vacuum beyond the specimen's edges unless the specimen is periodic."""
    if grid == stack.grid:
        return stack
    pixels = [start + np.arange(n) for start, n in zip(starts, grid.shape, strict=True)]
    wrapped = [p % n for p, n in zip(pixels, stack.grid.shape, strict=True)]
    transmission = stack.transmission[:, wrapped[0][:, None], wrapped[1]]
    if not periodic:
        outside = [(p < 0) | (p >= n) for p, n in zip(pixels, stack.grid.shape, strict=True)]
        transmission[:, outside[0][:, None] | outside[1]] = 1
    return SliceStack(
        grid=grid, wavelength=stack.wavelength, transmission=transmission, planes=stack.planes, thickness=stack.thickness, tilt=stack.tilt
    )


def _box(region: Region, rng: np.random.Generator) -> Region:
    """Return a random box in a region, with the sides given by `_side`."""
    sides = []
    for low, high in region:
        side = _side(high - low)
        start = low + rng.uniform(0, high - low - side) if high - low > side else low
        sides.append((start, start + side))
    return (sides[0], sides[1])
