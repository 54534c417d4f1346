"""The engines that trade exactness for size: PRISM and the local operator. Both say how far they are from multislice."""

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.scan import Scan
from stemtwin.twin.instrument.simulation import operator_cache, partial_coherence, slice_stacks
from stemtwin.twin.instrument.simulation.plan import Plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics.detector_weights import Weights
from stemtwin.twin.physics.engine.kernels import array_cache as disk
from stemtwin.twin.physics.engine.local import local_cache, local_image
from stemtwin.twin.physics.engine.local import local_operator as local
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack
from stemtwin.twin.physics.engine.operator import prism, single_probes
from stemtwin.twin.physics.engine.operator.imaging_operator import ImageCoefficients
from stemtwin.twin.progress import Progress

CHECKED_POINTS = 8
"""Points of the scan at which PRISM is compared with multislice."""
CHECK_STREAM = 9
"""First part of the spawn key of the points at which a local operator is checked."""


def by_prism(request: Request, plan: Plan, progress: Progress | None) -> tuple[np.ndarray, str]:
    """Return the signals of each configuration by PRISM, shape (configurations, channels, n) in visiting order, and how far they are from multislice.

    The error is measured on the first configuration, at 8 points of the scan: what is compared is the probe in its window; the tails beyond see the
    same.
    """
    weights = operator_cache.detector_weights(request, plan)
    f = (request.interpolation, request.interpolation)

    def signals(number: int, stack: SliceStack) -> tuple[np.ndarray, tuple[float, float]]:  # what it holds goes before the next one comes
        matrix = prism.build(stack, request.beam.semiangle_rad, interpolation=f, antialias=request.antialias, progress=progress)
        found = partial_coherence.averaged(request, lambda at, aberrations: matrix.signals(at, aberrations, weights))
        return found, _prism_error(request, stack, matrix, weights) if number == 0 else (0.0, 0.0)

    found, errors = zip(*(signals(number, stack) for number, stack in enumerate(slice_stacks.stacks(request, plan))), strict=True)
    error = errors[0]
    remark = (
        f"PRISM with f = {f[0]}: at {CHECKED_POINTS} points of the scan rms {error[0]:.2e}, largest {error[1]:.2e} of the mean, against multislice"
    )
    return np.array(found), remark


def _prism_error(request: Request, stack: SliceStack, matrix: prism.ScatteringMatrix, weights: Weights) -> tuple[float, float]:
    points = request.scan.points()
    at = points[np.unique(np.linspace(0, len(points) - 1, CHECKED_POINTS).round().astype(int))]
    beam = request.beam
    exact, norm = single_probes.window_signals(stack, at, beam.aberrations, beam.semiangle_rad, weights, antialias=request.antialias)
    ours, beyond = matrix.window_signals(at, beam.aberrations, weights)
    if request.antialias:
        exact = exact + (1 - norm) * beyond[:, None]
        ours = ours + (1 - matrix.norm(beam.aberrations)) * beyond[:, None]
    else:
        exact, ours = exact / norm, ours / matrix.norm(beam.aberrations)
    return prism.window_error(ours, exact)


def by_local(request: Request, plan: Plan, progress: Progress | None) -> tuple[np.ndarray, np.ndarray, str]:
    """Return signals by the local operator, shape (channels, ...) like the scan, their relative standard errors, and how exact they are."""
    return local_signals(local_operator(request, plan, progress), request)


def local_signals(operator: local.LocalOperator, request: Request) -> tuple[np.ndarray, np.ndarray, str]:
    """Return signals by an operator that is built where the scan goes, as `by_local`."""
    beam = request.beam
    image = operator.image(
        beam.aberrations,
        semiangle=beam.semiangle_rad,
        source_size=beam.source_size_angstrom,
        focal_spread=beam.focal_spread_angstrom,
        region=region_of(request.scan),
    )
    values = scanned(image, request.scan)
    accuracy = operator.accuracy
    if accuracy is None:
        message = "This local operator was not checked against multislice. Build it with engine='local'."
        raise SettingsError(message)
    remark = (
        f"local operator: at {accuracy.points} random points rms {accuracy.rms:.2e}, largest {accuracy.largest:.2e} of the mean, against multislice; "
        f"asked for {request.tolerance:g}"
    )
    return values, np.full(len(values), accuracy.standard_error), remark


def scanned(image: ImageCoefficients | local_image.LocalImage, scan: Scan) -> np.ndarray:
    """Return the values of an image where a scan goes, float32, shape (channels, ...) like the scan; what rounding makes negative becomes 0."""
    axes = scan.axes()
    values = scan.frame(image.at(scan.points())) if axes is None else image.raster(*axes)
    return np.maximum(values, 0)


def local_operator(request: Request, plan: Plan, progress: Progress | None = None) -> local.LocalOperator:
    """Return the local operator of a request, built where a probe of its scan sees; what the process or the disk holds is not built again."""
    key = operator_cache.physics_key(request, plan, engine=("local", request.tolerance))
    beam, region = request.beam, region_of(request.scan)
    weights, periodic = operator_cache.detector_weights(request, plan), getattr(request.sample, "periodic", True)
    cache = disk.default_cache()

    def build() -> local.LocalOperator:
        stacks = list(slice_stacks.stacks(request, plan))
        found = local_cache.load(cache, key, stacks, beam.semiangle_rad, weights, periodic=periodic, antialias=request.antialias)
        if found is not None:
            return found
        stream = np.random.SeedSequence(request.seed, spawn_key=(CHECK_STREAM,))
        found = local.build(
            stacks,
            beam.semiangle_rad,
            weights,
            rng=np.random.Generator(np.random.Philox(stream)),
            tolerance=request.tolerance,
            region=region,
            periodic=periodic,
            antialias=request.antialias,
            progress=progress,
            cache=cache,
            key=key,
        )
        local_cache.keep(cache, key, found)
        return found

    operator = operator_cache.LOCAL.get(key, build)
    build_for(operator, request, progress)
    return operator


def build_for(operator: local.LocalOperator, request: Request, progress: Progress | None = None) -> None:
    """Build what the probes of a scan see, where that is not there yet."""
    margin = local.MARGIN + local.blur(request.beam.aberrations, request.beam.semiangle_rad)
    operator.build(region_of(request.scan), margin=margin, progress=progress)


def region_of(scan: Scan) -> local.Region:
    """Return the rectangle that a scan covers, ((y0, y1), (x0, x1)), A."""
    points = scan.points()
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    return (float(y0), float(y1)), (float(x0), float(x1))
