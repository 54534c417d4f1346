"""Signals of a scan, read from images and averaged over configurations."""

import functools
from collections.abc import Callable, Sequence

import numpy as np

from stemtwin.twin.instrument.scan import RasterScan, Scan
from stemtwin.twin.instrument.simulation.engines.registry import Signals
from stemtwin.twin.instrument.simulation.plan import Plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics.engine.local.local_image import LocalImage
from stemtwin.twin.physics.engine.local.local_operator import Region
from stemtwin.twin.physics.engine.operator.imaging_operator import ImageCoefficients
from stemtwin.twin.progress import Progress

Compute = Callable[[Request, Plan, Progress | None], Signals]


def scanned(image: ImageCoefficients | LocalImage, scan: Scan) -> np.ndarray:
    """Return the values of an image at the points of a scan, float32, shape (channels, ...) with the scan's dimensions.

    Negative values, which are rounding errors, become 0.
    """
    axes = scan.axes()
    if axes is not None:
        values = image.raster(*axes)
    elif isinstance(image, ImageCoefficients) and isinstance(scan, RasterScan) and is_summed(image, scan):
        one = ImageCoefficients(coefficients=image.coefficients[None], extent=image.extent)
        values = one.own_rotated_rasters(lattices([scan]), scan.shape)[0]
    else:
        values = scan.frame(image.at(scan.points()))
    return np.maximum(values, 0)


def is_summed(image: ImageCoefficients, scan: Scan) -> bool:
    """Return True if a scan is a full raster for which Fourier sums are faster than spline interpolation."""
    return isinstance(scan, RasterScan) and scan.count == scan.shape[0] * scan.shape[1] and image.sums(scan.shape)


def lattices(scans: Sequence[RasterScan]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the centres (x, y) of rasters and the steps between lines and between columns, A, shape (scans, 2) each."""
    ways = [scan.steps() for scan in scans]
    return np.array([scan.centre_angstrom for scan in scans]), np.stack([line for line, _ in ways]), np.stack([column for _, column in ways])


def region_of(scan: Scan) -> Region:
    """Return the rectangle that a scan covers, ((y0, y1), (x0, x1)), A."""
    points = scan.points()
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    return (float(y0), float(y1)), (float(x0), float(x1))


def mean_of_configurations(request: Request, values: Sequence[np.ndarray] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean signals over configurations and their relative standard errors.

    Parameters
    ----------
    request : Request
        The request.
    values : sequence of ndarray
        Signals of each configuration, shape (channels, n) in visiting order.

    Returns
    -------
    tuple of ndarray
        Signals, shape (channels, ...) with the scan's dimensions, and errors, shape (channels,), NaN for one configuration.
    """
    values = np.array(values)
    mean, count = values.mean(axis=0), len(values)
    if count == 1:
        return request.scan.frame(mean), np.full(len(mean), np.nan)
    variance = (values.var(axis=0, ddof=1) / count).mean(-1)
    return request.scan.frame(mean), np.sqrt(variance) / np.maximum(mean.mean(-1), 1e-30)


def reports_all_waves(compute: Compute) -> Compute:
    """Return a function like ``compute`` that reports all waves of the plan as progress; waves of cached parts are reported last."""

    @functools.wraps(compute)
    def signals(request: Request, plan: Plan, progress: Progress | None = None) -> Signals:
        """Return the signals, and report the waves that ``compute`` does not report."""
        done = 0

        def report(waves: int) -> None:
            nonlocal done
            done += waves
            if progress is not None:
                progress(waves)

        found = compute(request, plan, report)
        if progress is not None and done < plan.waves:
            progress(plan.waves - done)
        return found

    return signals
