"""Windows for the single probes of a long request: their size for a tolerance, their cost, and the check of their error.

If the propagation of probes through the whole field takes long, they are propagated through windows of the field
(:mod:`~stemtwin.twin.physics.engine.local.probe_windows`). To measure the error of the windows, the
signals of probes at random points of the scan are computed in windows and in the whole field, and compared. The first
configuration has about 32 random points, and each further one about 8. Windows begin small and grow until the error is clearly
below the tolerance. If they then save too little time, probes are propagated through the whole field instead.

Windows of one size are tried in up to six ways before they grow. The ways differ in two settings:

- Slices of films are joined up to a thickness of 8 A, up to 4 A, or not at all.
- The tails of a probe, outside its window, are represented by plane waves at the edge of the aperture. These aperture-edge
  waves are propagated either through the whole field only, or also through the window. In the second case, the signal of the
  tails is a weighted mean of both results.
"""

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np

from stemtwin.twin.errors import SamplingError
from stemtwin.twin.instrument.simulation import costs, memory, operator_cache, partial_coherence, slice_stacks
from stemtwin.twin.instrument.simulation.costs import Cost
from stemtwin.twin.instrument.simulation.discretisation import Discretisation
from stemtwin.twin.instrument.simulation.engines.registry import Signals
from stemtwin.twin.instrument.simulation.plan import Plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.instrument.simulation.scan_signals import mean_of_configurations
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.engine.kernels import threads
from stemtwin.twin.physics.engine.kernels.simd_complex64 import LANES
from stemtwin.twin.physics.engine.local import accuracy_check, probe_windows
from stemtwin.twin.physics.engine.local.accuracy_check import Accuracy
from stemtwin.twin.physics.engine.local.film_slices import JoinedSlices
from stemtwin.twin.physics.engine.local.probe_windows import ProbeWindows
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack
from stemtwin.twin.physics.engine.operator import single_probes
from stemtwin.twin.physics.grids import Grid
from stemtwin.twin.physics.potential import Slices
from stemtwin.twin.progress import Progress

WORTH = 10.0
"""Time through the whole field up to which no windows are used, s."""
SHARE = 0.5
"""Largest fraction of the whole field's time for which windows are used."""
NEAR = 2.0
"""Margin around a focused probe for a tolerance of 1 %, in units of lambda / alpha."""
BLURRED = 0.5
"""Margin for an aberrated probe, in units of its geometric radius."""
DEEP = 0.01
"""Margin for the lateral spread of scattered waves, in units of the thickness."""
GROUPS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Numbers of points per window among which the fastest is chosen."""
POINTS, FURTHER, IN_GROUP = 32, 8, 4
"""Numbers of random points of a check in the first configuration and in each further one, and of points per window."""
CHECKED = 0.7
"""Largest error in the first configuration as a fraction of the tolerance.

It is below 1 because the measured rms has an uncertainty of one eighth, and windows grow until one measurement passes.
"""
GROWTH, GROWTHS = 1.25, 6
"""Factor by which margins grow if the error exceeds the tolerance, and the largest number of growths."""
FILMS = (8.0, 4.0)
"""Thicknesses up to which slices of light atoms are joined if the check permits it (A), the largest first."""
CHECK_STREAM = 13
"""First part of the spawn key of the points at which windows are checked."""
SECONDS_PER_WINDOW, SECONDS_PER_BATCH, SECONDS_PER_COPY = 3e-4, 3e-4, 5e-10
"""Typical time per window, per batch of sixteen waves, and per point and slice of a window, on two cores, s."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Windowed:
    """Windows for the probes of a scan, and the way in which the probes are computed.

    Parameters
    ----------
    windows : ProbeWindows
        The windows.
    margin : float
        Margin around the points in a window, A.
    seconds, beside : float
        Time of the whole computation on two cores, and the part of this time for waves through the whole field, s.
    joined : JoinedSlices, optional
        Joined slices of films.
    near : float
        Weight w, 0 to 1. The signal of a probe's tails is w times the signal of aperture-edge waves in the window plus 1 - w
        times their signal in the whole field.
    """

    windows: ProbeWindows
    margin: float
    seconds: float
    beside: float
    joined: JoinedSlices | None = None
    near: float = 0.0

    @property
    def side(self) -> float:
        """Longer side of a window, A."""
        return max(self.windows.grid.extent)


def planned(request: Request, grid: Grid, slices: Slices, blocks: tuple[int, int], growth: float = 1.0) -> Windowed | None:
    """Return windows for a request's probes, or None if the probes are propagated through the whole field.

    Parameters
    ----------
    request : Request
        The request.
    grid : Grid
        Grid of the whole field.
    slices : Slices
        Slices of the sample.
    blocks : tuple of int
        Number of cells (ny, nx) that a probe spans. If it spans more than one, the result is None.
    growth : float
        Ratio of the margins around the points in each window to the margins that are tried first.
    """
    if not request.tolerance or not request.antialias or blocks != (1, 1):
        return None
    planes = slices.planes
    whole = _whole_seconds(request, grid, len(planes))
    if whole <= WORTH:
        return None
    joined = _joined(request, slices)[0]
    steps = len(planes) if joined is None else len(joined.starts)
    margin = _margin(request, float(planes[-1])) * growth
    beside = _whole_waves(request) * len(planes) * costs.step_seconds(math.prod(grid.shape))
    points, found = request.scan.points(), []
    for size in GROUPS:
        windows = probe_windows.layout(grid, points, size, margin)
        if windows is not None and _holds(windows.grid, grid, request):
            seconds = _seconds(request, windows, steps) + beside
            found.append(Windowed(windows=windows, margin=margin, seconds=seconds, beside=beside, joined=joined))
        if size >= len(points):
            break
    best = min(found, key=lambda each: each.seconds, default=None)
    return best if best is not None and best.seconds <= SHARE * whole else None


def _joined(request: Request, slices: Slices) -> list[JoinedSlices | None]:
    """Return the possible joined slices of films, the thickest first, and None, for no joined slices, last."""
    films = () if request.depths_angstrom else (slice_stacks.film_of(request, slices, thickness) for thickness in FILMS)
    found = [film.joined(slices.planes) for film in films if film is not None]
    return [*dict.fromkeys(joined for joined in found if joined is not None), None]


def _margin(request: Request, depth: float) -> float:
    """Return the initial margin of windows around the points of a scan, A."""
    beam = request.beam
    _, (source, _) = partial_coherence.nodes(beam)
    stricter = float(np.clip((0.01 / request.tolerance) ** 0.4, 0.5, 4.0))
    blur = beam.probe_radius(depth) + 2 * beam.focal_spread_angstrom * beam.semiangle_rad
    near = NEAR * stricter * beam.wavelength_angstrom / beam.semiangle_rad
    return near + BLURRED * blur + DEEP * depth + float(np.abs(source).max())


def _holds(window: Grid, field: Grid, request: Request) -> bool:
    """Return True if a window's coarse reciprocal pixels keep the aperture inside the band limit."""
    radius = request.beam.semiangle_rad / request.beam.wavelength_angstrom
    return radius + math.hypot(*window.reciprocal_sampling) < min(window.band_limit, field.band_limit)


def _whole_seconds(request: Request, grid: Grid, slices: int) -> float:
    """Return the time of all probes through the whole field, s."""
    focal, source = partial_coherence.counts(request.beam)
    edge = single_probes.edge_wave_count(grid.extent, (1, 1), request.beam.semiangle_rad / request.beam.wavelength_angstrom)
    waves = request.configurations * focal * (request.scan.count * source + edge)
    return waves * slices * costs.step_seconds(math.prod(grid.shape))


def _seconds(request: Request, windows: ProbeWindows, slices: int) -> float:
    """Return the time of all probes in windows, s."""
    focal, source = partial_coherence.counts(request.beam)
    batches, area = math.ceil(windows.largest * source / LANES), math.prod(windows.grid.shape)
    batch = SECONDS_PER_BATCH + LANES * slices * costs.step_seconds(area)
    window = SECONDS_PER_WINDOW + slices * area * SECONDS_PER_COPY + batches * batch
    return request.configurations * focal * len(windows.corners) * window


def _ways(request: Request, plan: Plan, windowed: Windowed) -> list[Windowed]:
    """Return the ways to compute windows of one size, the fastest first, except further ones that save too little time."""
    beam, windows, slices = request.beam, windowed.windows, len(plan.slices.planes)
    near = probe_windows.share_inside(windows, beam.wavelength_angstrom, beam.semiangle_rad, beam.aberrations)
    ways = []
    for joined in _joined(request, plan.slices):
        seconds = _seconds(request, windows, slices if joined is None else len(joined.starts)) + windowed.beside
        ways.append(replace(windowed, joined=joined, seconds=seconds))
        ways.append(replace(windowed, joined=joined, seconds=seconds + _rim_seconds(windows, slices), near=near))
    first, *others = sorted(ways, key=lambda way: way.seconds)
    most = SHARE * _whole_seconds(request, plan.grid, slices)
    return [first, *(way for way in others if way.seconds <= most)]


def _rim_seconds(windows: ProbeWindows, slices: int) -> float:
    """Return the time of aperture-edge waves through all windows, s."""
    area = math.prod(windows.grid.shape)
    batch = SECONDS_PER_BATCH + LANES * slices * costs.step_seconds(area)
    return len(windows.corners) * (SECONDS_PER_WINDOW + slices * area * SECONDS_PER_COPY + batch)


def _whole_waves(request: Request) -> int:
    """Return the number of waves through the whole field, for the tails of all probes and for the check."""
    return request.configurations * (probe_windows.RIM_WAVES + FURTHER) + POINTS - FURTHER


def cost(found: Discretisation, windowed: Windowed) -> Cost:
    """Return the cost of probes in windows. It includes the waves for the probes, for their tails and for the check."""
    request, grid, slices = found.request, found.grid, len(found.slices.planes)
    focal, source = partial_coherence.counts(request.beam)
    shifted = request.scan.count * source
    whole = memory.of_probes(grid, found.beams, probe_windows.RIM_WAVES, found.channels, POINTS, request.faces)
    specimen = memory.of_specimen(grid, slices, request.oversampling, 1)
    parts = (threads.thread_count() + 1) * 8 * (slices + 1) * math.prod(windowed.windows.grid.shape)
    parts += 0 if windowed.joined is None else 8 * len(windowed.joined.starts) * math.prod(grid.shape)
    results = shifted * (request.faces * found.channels * 24 + 32)
    return Cost(
        waves=request.configurations * focal * shifted + _whole_waves(request),
        memory_bytes=costs.program_bytes(found) + specimen + memory.working_memory(grid) + whole + parts + results,
        seconds=costs.first_seconds(found) + windowed.seconds,
        exactness=(
            f"rms error below {request.tolerance:g} of the mean signal, checked by multislice through the whole field at random points; "
            f"windows of {windowed.side:.1f} A{_films(windowed)}, larger if the check requires it, or the whole field, "
            f"{_whole_seconds(request, grid, slices):.3g} s, if they would save less than half"
        ),
    )


def _films(windowed: Windowed) -> str:
    """Return a phrase about joined slices, or an empty string."""
    return "" if windowed.joined is None else f" with slices of films joined, {len(windowed.joined.starts)} instead of {windowed.joined.count}"


def signals(request: Request, plan: Plan, windowed: Windowed, progress: Progress | None) -> Signals | str:
    """Return the signals of each probe in its window, averaged over focal spread, source and configurations.

    If windows that reach the tolerance save too little time, a string that lists the sizes tried is returned
    instead, and the caller uses the whole field.

    Raises
    ------
    SamplingError
        The error exceeds the tolerance even with larger windows.
    """
    check = WindowCheck(request, plan, windowed)
    while isinstance(check.windowed, Windowed):
        found = _attempt(request, plan, check, progress)
        if found is not None:
            values, error = mean_of_configurations(request, found)
            return values, error, check.remark()
    return f"windows that reach {request.tolerance:g} would save less than half: {', '.join(check.tried)}"


def _attempt(request: Request, plan: Plan, check: "WindowCheck", progress: Progress | None) -> list[np.ndarray] | None:
    """Return the signals of each configuration, or None if one exceeds the tolerance or windows save too little time."""
    found, report, weights = [], progress or (lambda _: None), operator_cache.detector_weights(request, plan)
    for number, stack in enumerate(slice_stacks.stacks(request, plan)):
        rim = probe_windows.rim_signals(stack, request.beam.semiangle_rad, weights, request.depths_angstrom)
        report(probe_windows.RIM_WAVES)
        report(FURTHER if number else POINTS)
        if not (check.further(stack, rim, number) if number else check.first(stack, rim)):
            return None
        assert check.windowed is not None  # the check passed
        stack = check.sent(stack)  # noqa: PLW2901 - the original stack is not needed any more
        found.append(_of_one(request, check.windowed.windows, stack, check.tails(rim), weights, progress))
        del stack  # its memory is freed before the next stack is computed
    return found


def _of_one(
    request: Request, windows: ProbeWindows, stack: SliceStack, tails: np.ndarray, weights: operator_cache.Weights, progress: Progress | None
) -> np.ndarray:
    """Return the signals of one configuration, averaged over focal spread and source, (channels, P)."""
    semiangle, count = request.beam.semiangle_rad, request.scan.count

    def coherent(at: np.ndarray, aberrations: Aberrations) -> np.ndarray:
        settings = {"depths": request.depths_angstrom, "progress": progress}
        inside, norm = probe_windows.window_signals(stack, windows, at.reshape(-1, count, 2), aberrations, semiangle, weights, **settings)
        values = np.empty_like(inside)
        values[..., windows.order] = inside + max(1 - norm, 0.0) * windows.spread(tails)[..., None, :]
        return values.reshape(-1, values.shape[-2] * values.shape[-1])

    return partial_coherence.averaged(request, coherent)


class WindowCheck:
    """Check of the error of windows. ``windowed`` contains the windows in use, or None if windows save too little time."""

    def __init__(self, request: Request, plan: Plan, first: Windowed) -> None:
        self.windowed: Windowed | None = first
        self.tried: list[str] = []
        self._request, self._plan, self._growths = request, plan, 0
        self._weights = operator_cache.detector_weights(request, plan)
        self._seen: list[tuple[np.ndarray, np.ndarray]] = []
        self._near = np.zeros(0)

    def first(self, stack: SliceStack, rim: np.ndarray) -> bool:
        """Check windows on the first configuration, and enlarge windows that fail; return True as soon as windows pass.

        The result is False if larger windows would save too little time. ``stack`` contains the slices of the configuration, and
        ``rim`` the signals of aperture-edge waves in the whole field.
        """
        assert self.windowed is not None  # a check begins with windows
        chosen, at = self._points(self.windowed.windows, POINTS, 0)
        true, sent = self._whole(stack, rim, at), stack
        sent_joined: JoinedSlices | None = None
        while self.windowed is not None:
            for way in _ways(self._request, self._plan, self.windowed):
                self.windowed = way
                if way.joined != sent_joined:
                    sent, sent_joined = self.sent(stack), way.joined
                part = way.windows.only(chosen)
                self._near = self._rims_inside(sent, part)
                self._seen = [(self._in_windows(sent, rim, part, at, chosen), true)]
                if self._error().rms <= CHECKED * self._request.tolerance:
                    self._near = self._rims_inside(sent, way.windows)
                    return True
                self._miss()
            self._grow()
        return False

    def further(self, stack: SliceStack, rim: np.ndarray, number: int) -> bool:
        """Return True if the error at all points so far, including those of a further configuration, is within the tolerance.

        If the error is larger, the windows are enlarged. ``stack`` contains the slices of the further configuration, ``rim`` the
        signals of aperture-edge waves in the whole field, and ``number`` is the number of the configuration.
        """
        assert self.windowed is not None  # the previous configuration passed
        chosen, at = self._points(self.windowed.windows, FURTHER, number)
        part, near = self.windowed.windows.only(chosen), self._near
        if near.size:
            self._near = near[..., self.windowed.windows.groups_of(chosen)]
        self._seen.append((self._in_windows(self.sent(stack), rim, part, at, chosen), self._whole(stack, rim, at)))
        self._near = near
        if self._error().rms <= self._request.tolerance:
            return True
        self._miss()
        self._grow()
        return False

    def sent(self, stack: SliceStack) -> SliceStack:
        """Return the slices through which the probes in windows are propagated.

        If ``windowed.joined`` is given, thin slices of films are joined into thicker ones, which saves time. Otherwise the slices are
        those of ``stack``.
        """
        assert self.windowed is not None  # there are windows
        return stack if self.windowed.joined is None else self.windowed.joined.stack(stack)

    def tails(self, rim: np.ndarray) -> np.ndarray:
        """Return the signals of the probes' tails outside each window, shape ([depths,] channels, windows or 1).

        ``rim`` contains the signals of aperture-edge waves in the whole field. If ``windowed.near`` is not 0, the
        result is a weighted mean of ``rim`` and the signals of such waves in each window.
        """
        assert self.windowed is not None  # there are windows
        if not self._near.size:
            return rim[..., None]
        return self.windowed.near * self._near + (1 - self.windowed.near) * rim[..., None]

    def _rims_inside(self, stack: SliceStack, windows: ProbeWindows) -> np.ndarray:
        """Return the signals of aperture-edge waves through windows, ([depths,] channels, G); empty if the whole field's are used."""
        assert self.windowed is not None  # there are windows
        if not self.windowed.near:
            return np.zeros(0)
        return probe_windows.rims_inside(stack, windows, self._request.beam.semiangle_rad, self._weights, self._request.depths_angstrom)

    def remark(self) -> str:
        """Return the measured error of the windows as a sentence."""
        assert self.windowed is not None  # the check passed
        error, count = self._error(), len(self._seen)
        where = f"{error.points} points of the scan" + (f" in {count} configurations" if count > 1 else "")
        return (
            f"windows of {self.windowed.side:.1f} A{_films(self.windowed)}: at {where} rms {error.rms:.2e}, largest {error.largest:.2e} "
            f"of the mean, relative to multislice through the whole field; requested tolerance {self._request.tolerance:g}"
        )

    def _points(self, windows: ProbeWindows, count: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return indices of random points of the scan, and probe positions (x, y) there, A, each from a random point of the source."""
        key = (CHECK_STREAM, number) if number else (CHECK_STREAM,)
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(self._request.seed, spawn_key=key)))
        chosen = _chosen(windows, count, rng)
        _, (source, _) = partial_coherence.nodes(self._request.beam)
        shifts = np.array(list(itertools.product(source, source)))
        return chosen, self._request.scan.points()[chosen] + shifts[rng.integers(source.size**2, size=len(chosen))]

    def _whole(self, stack: SliceStack, rim: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Return the signals of probes through the whole field, (channels, points)."""
        beam, depths = self._request.beam, self._request.depths_angstrom
        inside, norm = single_probes.window_signals(stack, at, beam.aberrations, beam.semiangle_rad, self._weights, depths=depths)
        return (inside + (1 - norm) * rim[..., None]).reshape(-1, len(at))

    def _in_windows(self, stack: SliceStack, rim: np.ndarray, part: ProbeWindows, at: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Return the signals of probes at positions ``at``, which belong to the scan points ``chosen``, in their windows ``part``."""
        request, beam = self._request, self._request.beam
        everywhere = np.zeros((1, request.scan.count, 2))
        everywhere[0, chosen] = at
        inside, norm = probe_windows.window_signals(
            stack, part, everywhere, beam.aberrations, beam.semiangle_rad, self._weights, depths=request.depths_angstrom
        )
        found = inside[..., 0, :] + (1 - norm) * part.spread(self.tails(rim))
        return found[..., np.argsort(part.order)].reshape(-1, len(at))

    def _error(self) -> Accuracy:
        """Return the error at all points so far."""
        found, true = (np.concatenate(part, axis=1) for part in zip(*self._seen, strict=True))
        return accuracy_check.accuracy(found, true, np.full(true.shape, np.nan))

    def _miss(self) -> None:
        """Record the error of windows that exceed the tolerance."""
        assert self.windowed is not None  # these were checked
        self.tried.append(f"{self._error().rms:.2%} with windows of {self.windowed.side:.1f} A{' and joined films' * bool(self.windowed.joined)}")

    def _grow(self) -> None:
        """Replace the windows by larger ones, or by None if these save too little time."""
        self._growths += 1
        if self._growths > GROWTHS:
            message = (
                f"The error of windows around the probes exceeds tolerance={self._request.tolerance:g}: {', '.join(self.tried)}. "
                "Allow a larger tolerance, or use tolerance=0, which propagates each probe through the whole field."
            )
            raise SamplingError(message)
        plan = self._plan
        self.windowed = planned(self._request, plan.grid, plan.slices, plan.blocks, GROWTH**self._growths)


def _chosen(windows: ProbeWindows, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return the increasing indices of random points of a scan, several in each of a few windows."""
    groups = rng.permutation(len(windows.corners))[: count // IN_GROUP]
    each = -(-count // len(groups))
    parts = [rng.permutation(windows.order[windows.starts[g] : windows.starts[g + 1]])[:each] for g in groups]
    return np.sort(np.concatenate(parts))
