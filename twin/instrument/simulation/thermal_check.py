"""Measured errors of the engine ``thermal`` relative to multislice with frozen phonons, stored by sample, detectors and optics.

The model and multislice are compared at 32 random points, which lie in four boxes if the field is large. Their
rms difference, ``rms``, includes the statistical error of multislice, ``own``. Configurations are added until ``own`` is a
third of the tolerance. Then ``own`` is subtracted in quadrature: error^2 = rms^2 - own^2.
"""

import functools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from stemtwin.twin.errors import SamplingError
from stemtwin.twin.instrument.detectors import Detector
from stemtwin.twin.instrument.simulation import costs, operator_cache, serialisation, slice_stacks
from stemtwin.twin.instrument.simulation.discretisation import LEAST_WINDOW, WINDOW_MARGIN, Discretisation
from stemtwin.twin.instrument.simulation.plan import Plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.instrument.simulation.scan_signals import region_of
from stemtwin.twin.physics.engine.kernels import array_cache as disk
from stemtwin.twin.physics.engine.local.tiles import Rectangle
from stemtwin.twin.physics.engine.operator import single_probes
from stemtwin.twin.physics.grids import Grid, fast_length

POINTS, BOXES = 32, 4
"""Number of random points, and number of boxes that contain them if the field is larger than a window."""
BOX = 6.0
"""Side of a box, A."""
BATCH, MOST = 8, 512
"""Number of configurations that are added at a time, and the largest number."""
SHARE = 1 / 3
"""Largest statistical error of the configurations' mean as a fraction of the tolerance."""
CHECK_STREAM = 12
"""First part of the spawn key of the points."""
USUAL_SPREAD = 0.3
"""Relative standard deviation of dark-field signals over configurations, for estimates of time."""
TABLE = Path(__file__).with_name("thermal_errors.json")

Model = Callable[[np.ndarray], np.ndarray]
"""Signals (channels, P) of probes at points (x, y), A, shape (P, 2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThermalError:
    """Error of the engine ``thermal`` relative to multislice with frozen phonons, in the channel with the largest error.

    Parameters
    ----------
    rms, largest : float
        rms and largest difference over the points, divided by the mean signal.
    own : float
        Statistical error of the mean over configurations, which contributes to ``rms``: the standard error, rms over the
        points, divided by the mean signal.
    configurations, points : int
        Number of frozen-phonon configurations and of points.
    """

    rms: float
    largest: float
    own: float
    configurations: int
    points: int

    @property
    def clean(self) -> float:
        """Error after the statistical error of the configurations is subtracted in quadrature, sqrt(rms^2 - own^2)."""
        return math.sqrt(max(self.rms**2 - self.own**2, 0.0))


def key_of(request: Request, detectors: Sequence[Detector]) -> str:
    """Return the key under which an error is stored.

    It depends on sample, rings and optics, but not on source size, focal spread, scan or tolerance.
    """
    beam = replace(request.beam, source_size_angstrom=0.0, focal_spread_angstrom=0.0)  # the comparison uses coherent probes
    return disk.content_key(
        {
            "engine": "thermal error",
            "code": operator_cache.code(),
            "sample": getattr(request.sample, "digest", ""),
            "thickness": request.sample.thickness_angstrom,
            "slice thickness": request.slice_thickness_angstrom or 0.0,
            "rings": [(d.inner_mrad, d.outer_mrad) for d in detectors],
            "beam": serialisation.beam_to_dict(beam),
            "tilt": request.tilt_mrad,
            "parametrization": request.parametrization,
            "antialias": request.antialias,
            "oversampling": request.oversampling,
        }
    )


def kept(request: Request, detectors: Sequence[Detector]) -> ThermalError | None:
    """Return the stored error of the engine ``thermal`` for a request, or None if no error is stored."""
    found = disk.default_cache().get(key_of(request, detectors))
    if found is None:
        return None
    rms, largest, own, configurations, points = found["error"].tolist()
    return ThermalError(rms=rms, largest=largest, own=own, configurations=int(configurations), points=int(points))


def settled(error: ThermalError, tolerance: float) -> bool:
    """Return True if an error does not have to be measured more precisely.

    The error is then precise enough for a decision on the tolerance, or is far above the tolerance, or was measured with
    512 configurations, the largest number.
    """
    return error.own <= SHARE * tolerance or error.clean > tolerance + 2 * error.own or error.configurations >= MOST


def suffices(error: ThermalError, tolerance: float) -> bool:
    """Return True if an error is within a tolerance and known precisely enough."""
    return error.clean <= tolerance and error.own <= SHARE * tolerance


def measured(request: Request, plan: Plan, model_of: Callable[[Request, Plan], Model]) -> ThermalError:
    """Return the error of the engine ``thermal``; it is measured unless a stored error is :func:`settled` for the request's tolerance."""
    found = kept(request, plan.detectors)
    if found is not None and settled(found, request.tolerance):
        return found
    found = compare(request, plan, model_of)
    keep(request, plan.detectors, found)
    return found


def keep(request: Request, detectors: Sequence[Detector], error: ThermalError) -> None:
    """Write an error of the engine ``thermal`` to disk for later requests with the same sample, rings and optics."""
    disk.default_cache().put(key_of(request, detectors), {"error": np.array(list(asdict(error).values()), np.float64)})


def compare(request: Request, plan: Plan, model_of: Callable[[Request, Plan], Model]) -> ThermalError:
    """Return the differences between the engine ``thermal`` and multislice at random points of the scanned area."""
    coherent = replace(request, beam=replace(request.beam, source_size_angstrom=0.0, focal_spread_angstrom=0.0))
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(request.seed, spawn_key=(CHECK_STREAM,))))
    windows = _windows(coherent, plan, rng)
    ours = model_of(coherent, plan)(np.concatenate([at for at, _ in windows]))
    sums, squares, count = np.zeros(ours.shape), np.zeros(ours.shape), 0
    while True:
        for number in range(count, count + BATCH):
            signals = np.concatenate([reference(number) for _, reference in windows], axis=1)
            sums += signals
            squares += signals**2
        count += BATCH
        found = _error(ours, sums / count, (squares / count - (sums / count) ** 2) / (count - 1))
        error = ThermalError(rms=found[0], largest=found[1], own=found[2], configurations=count, points=ours.shape[1])
        if settled(error, request.tolerance):
            return error


def _error(ours: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> tuple[float, float, float]:
    """Return the rms, largest and statistical error of the worst channel, divided by the mean signal."""
    scale = np.maximum(mean.mean(axis=1), 1e-12)
    difference = np.abs(ours - mean)
    rms = np.sqrt((difference**2).mean(axis=1)) / scale
    worst = int(np.argmax(rms))
    own = math.sqrt(max(float(variance[worst].mean()), 0.0)) / float(scale[worst])
    return float(rms[worst]), float(difference[worst].max() / scale[worst]), own


Configuration = Callable[[int], np.ndarray]
"""Function that returns the multislice signals (channels, points) of one frozen-phonon configuration, given its number."""


def _windows(request: Request, plan: Plan, rng: np.random.Generator) -> list[tuple[np.ndarray, Configuration]]:
    """Return windows, each with random points (x, y) of the scanned area, A, shape (n, 2), and their multislice signals.

    The whole cell is the only window if it is small.
    """
    (y0, y1), (x0, x1) = region_of(request.scan)
    grid = None if plan.blocks != (1, 1) else _window(request, plan)
    if grid is None:
        at = np.column_stack([rng.uniform(low, max(high, low + 1e-9), POINTS) for low, high in ((x0, x1), (y0, y1))])
        return [(at, WindowedProbes(request, plan, Rectangle(corner=(0, 0), grid=plan.grid), at))]
    found = []
    for _ in range(BOXES):
        box = [_box(low, high, rng) for low, high in ((x0, x1), (y0, y1))]
        at = np.column_stack([rng.uniform(*side, POINTS // BOXES) for side in box])
        row, column = (round(sum(side) / 2 / step) - n // 2 for side, step, n in zip(box[::-1], grid.sampling, grid.shape, strict=True))
        found.append((at, WindowedProbes(request, plan, Rectangle(corner=(row, column), grid=grid), at)))
    return found


def _box(low: float, high: float, rng: np.random.Generator) -> tuple[float, float]:
    side = min(BOX, high - low)
    start = rng.uniform(low, high - side) if high - low > side else low
    return start, start + max(side, 1e-9)


def _window(request: Request, plan: Plan) -> Grid | None:
    """Return the grid of a window around a box, or None if it is not smaller than the cell."""
    thickness = float(plan.slices.planes[-1])
    needed = max(LEAST_WINDOW, WINDOW_MARGIN + 2 * request.beam.probe_radius(thickness)) + BOX
    spread = [2 * thickness * abs(math.tan(t)) for t in request.relative_tilt_rad]
    shape = [fast_length(math.ceil((needed + more) / step)) for more, step in zip(spread, plan.grid.sampling, strict=True)]
    if getattr(request.sample, "periodic", True) and any(n >= whole for n, whole in zip(shape, plan.grid.shape, strict=True)):
        return None
    return Grid(shape=(shape[0], shape[1]), extent=(shape[0] * plan.grid.sampling[0], shape[1] * plan.grid.sampling[1]))


class WindowedProbes:
    """Multislice signals of probes in a rectangle of the specimen, one frozen-phonon configuration after the other.

    Tails of a probe beyond the rectangle are represented by aperture-edge waves, which are plane waves at the edge of the aperture.
    The signal of the tails is about one hundredth of the total. It is computed only for the first configuration and added to the signals of all
    configurations.

    Parameters
    ----------
    request, plan : Request, Plan
        The request with a coherent beam, and its plan.
    cut : Rectangle
        The part of the specimen.
    at : ndarray
        Probe positions (x, y), A, shape (P, 2).
    """

    def __init__(self, request: Request, plan: Plan, cut: Rectangle, at: np.ndarray) -> None:
        self.request, self.plan, self.cut, self.at = request, plan, cut, at
        self._beyond: np.ndarray | None = None

    def __call__(self, number: int) -> np.ndarray:
        """Return the signals of one configuration, float64, shape (channels, P)."""
        request, plan, beam = self.request, self.plan, self.request.beam
        stack = slice_stacks.Parts(request, plan).stack(self.cut, number)
        places, weights = self.at - np.array(self.cut.origin[::-1]), operator_cache.detector_weights(request, plan)
        probes = (stack, places, beam.aberrations, beam.semiangle_rad, weights)
        if plan.blocks != (1, 1):
            return single_probes.probe_signals(*probes, blocks=plan.blocks, antialias=request.antialias)
        inside, norm = single_probes.window_signals(*probes, antialias=request.antialias)
        if not request.antialias:
            return inside / norm
        if self._beyond is None:
            self._beyond = np.asarray(single_probes.probe_signals(*probes) - inside).mean(axis=1)
        return inside + np.asarray(self._beyond)[:, None]


# ---- messages and estimates ----------------------------------------------------------------------------------------------------------


def refuse_if_missed(request: Request, detectors: Sequence[Detector]) -> None:
    """Raise SamplingError if the stored error for a request exceeds the request's tolerance, or is too uncertain for a decision."""
    found = kept(request, detectors)
    if found is None or not settled(found, request.tolerance) or suffices(found, request.tolerance):
        return
    enough, verdict = max(found.clean, found.own / SHARE), "exceeds" if found.clean > request.tolerance else "is not known to be within"
    rings = ", ".join(f"{d.inner_mrad:g}-{d.outer_mrad:g} mrad" for d in detectors)
    message = (
        f"The error of thermal cross-sections {verdict} tolerance={request.tolerance:g} for {rings} and {request.sample.thickness_angstrom:.4g} A: "
        f"the rms error is {found.clean:.2%} of the mean (measured {found.rms:.2%}, including a statistical error of {found.own:.2%}). "
        f"Allow tolerance={math.ceil(enough * 100 + 0.5) / 100:g}, or use engine='local' or 'operator'."
    )
    raise SamplingError(message)


def remark(request: Request, detectors: Sequence[Detector]) -> str:
    """Return a sentence on the error of the engine ``thermal`` for a request.

    It gives the stored error for the request's sample. If no error is stored, it says how the computation will measure the error,
    or, with ``measure_error=False``, gives the errors of other samples.
    """
    head = "thermal cross-sections of the mean specimen"
    found = kept(request, detectors)
    if found is None and not request.measure_error:
        rows = table()
        if not rows:
            return f"{head}: not measured for this sample"
        rms = math.sqrt(sum(row["error"] ** 2 for row in rows) / len(rows))
        worst = max(rows, key=lambda row: row["error"])
        return (
            f"{head}: not measured for this sample; over {len(rows)} rows of the table of other samples rms {rms:.2e}, "
            f"worst {worst['error']:.2e} of the mean ({worst['sample']})"
        )
    if found is None:
        how = f"the error is measured at {POINTS} random points relative to multislice with frozen phonons"
        return f"{head}: {how}; requested tolerance {request.tolerance:g}"
    return (
        f"{head}: at {found.points} random points rms {found.rms:.2e}, largest {found.largest:.2e} of the mean, relative to multislice with "
        f"{found.configurations} phonon configurations, including their statistical error of {found.own:.2e}: error {found.clean:.2e}; "
        f"requested tolerance {request.tolerance:g}"
    )


def is_known_to_suffice(request: Request, detectors: Sequence[Detector]) -> bool:
    """Return True if an error of ``thermal`` is stored for a request, known precisely enough, and within the request's tolerance."""
    found = kept(request, detectors)
    return found is not None and suffices(found, request.tolerance)


@functools.cache
def table() -> tuple[dict, ...]:
    """Return the table of errors of ``thermal`` on whole images.

    Each row is a dictionary with the sample, the conditions, the error (key ``error``) and the statistical error of the exact image
    (key ``own``).
    """
    return tuple(json.loads(TABLE.read_text(encoding="utf-8"))["rows"]) if TABLE.exists() else ()


def seconds(found: Discretisation) -> float:
    """Return the estimated time to measure the error of ``thermal``, s, or 0 if a stored error is :func:`settled` for the tolerance."""
    request = found.request
    known = kept(request, found.detectors)
    if known is not None and settled(known, request.tolerance):
        return 0.0
    count = min(MOST, BATCH * math.ceil((USUAL_SPREAD / (SHARE * request.tolerance)) ** 2 / BATCH))
    planes, area = len(found.slices.planes), math.prod(found.grid.shape)
    side = max(LEAST_WINDOW, WINDOW_MARGIN + 2 * request.beam.probe_radius(found.thickness)) + BOX
    window = min(area * math.prod(found.blocks), side**2 / math.prod(found.grid.sampling))
    values = request.oversampling**2 * planes * costs.SECONDS_PER_VALUE
    return count * BOXES * (window * values + POINTS / BOXES * 2 * planes * costs.step_seconds(int(window)))
