"""Windows for the single probes of a long request: their size from the tolerance, their price, and the check of their error.

Probes that take long through the whole field go through windows of it (:mod:`~stemtwin.twin.physics.engine.local.probe_windows`). What this costs in
accuracy is measured: probes at random points of the scan, in their windows and through the whole field, most of them in the first configuration and
some in each further one, at points of its own. Windows begin small and grow until the error is clearly below the tolerance; where they then save too
little, probes go through the whole field after all. Windows of one size are tried in up to four ways before they grow: slices of films joined or not,
and the tails of probes as what the whole field scatters of them, or, near the probe, its own surroundings.
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
"""Probes that take less through the whole field, s, go through it."""
SHARE = 0.5
"""Windows are taken where they need at most this share of the time of the whole field."""
NEAR = 2.0
"""Margin around a probe in focus for a tolerance of 1 %, in units of lambda / alpha."""
BLURRED = 0.5
"""Margin for the geometric radius of a probe, in units of it."""
DEEP = 0.01
"""Margin for the sideways reach of scattered waves, in units of the thickness."""
GROUPS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Numbers of points in a window that are compared."""
POINTS, FURTHER, IN_GROUP = 32, 8, 4
"""Random points of a check in the first configuration and in each further one, and how many of them share a window."""
CHECKED = 0.7
"""The first configuration must show at most this share of the tolerance: it knows an rms to an eighth, and windows grow until one passes."""
GROWTH, GROWTHS = 1.25, 6
"""Factor by which margins grow when they miss the tolerance, and how often they do."""
FILMS = (8.0, 4.0)
"""Thicknesses up to which slices of light atoms are joined where the check allows it, A, the largest first."""
CHECK_STREAM = 13
"""First part of the spawn key of the points at which windows are checked."""
SECONDS_PER_WINDOW, SECONDS_PER_BATCH, SECONDS_PER_COPY = 3e-4, 3e-4, 5e-10
"""Usual time for a window, for each sixteen waves in it, and for each of its points and slices, on two cores, s."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Windowed:
    """Windows for a scan, and what of them is computed.

    Parameters
    ----------
    windows : ProbeWindows
        The windows.
    margin : float
        Around the points in them, A.
    seconds, beside : float
        The time of all work on two cores, and that of waves through the whole field in it, s.
    joined : JoinedSlices, optional
        Slices of films that probes pass joined.
    near : float
        Share of the probes' tails that sees what is in their window; the rest sees the mean of the whole field.
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
    """Return windows for a request's probes; None where these go through the whole field.

    Parameters
    ----------
    request : Request
        The request.
    grid : Grid
        Points of the whole field.
    slices : Slices
        Slices of the sample.
    blocks : tuple of int
        Cells that hold a probe: of more than one there are no windows.
    growth : float
        How much larger than at first margins are.
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
    """Return the ways in which slices of films may be joined, the thickest first, and last that none are."""
    films = () if request.depths_angstrom else (slice_stacks.film_of(request, slices, thickness) for thickness in FILMS)
    found = [film.joined(slices.planes) for film in films if film is not None]
    return [*dict.fromkeys(joined for joined in found if joined is not None), None]


def _margin(request: Request, depth: float) -> float:
    """Return the margin around the points of a scan that windows begin with, A."""
    beam = request.beam
    _, (source, _) = partial_coherence.nodes(beam)
    stricter = float(np.clip((0.01 / request.tolerance) ** 0.4, 0.5, 4.0))
    blur = beam.probe_radius(depth) + 2 * beam.focal_spread_angstrom * beam.semiangle_rad
    near = NEAR * stricter * beam.wavelength_angstrom / beam.semiangle_rad
    return near + BLURRED * blur + DEEP * depth + float(np.abs(source).max())


def _holds(window: Grid, field: Grid, request: Request) -> bool:
    """Return whether a window's coarse reciprocal pixels keep the aperture inside the band limit."""
    radius = request.beam.semiangle_rad / request.beam.wavelength_angstrom
    return radius + math.hypot(*window.reciprocal_sampling) < min(window.band_limit, field.band_limit)


def _whole_seconds(request: Request, grid: Grid, slices: int) -> float:
    """Return the time of all probes through the whole field, s."""
    focal, source = partial_coherence.counts(request.beam)
    edge = single_probes.edge_wave_count(grid.extent, (1, 1), request.beam.semiangle_rad / request.beam.wavelength_angstrom)
    waves = request.configurations * focal * (request.scan.count * source + edge)
    return waves * slices * costs.step_seconds(math.prod(grid.shape))


def _seconds(request: Request, windows: ProbeWindows, slices: int) -> float:
    """Return the time of all probes through windows, s."""
    focal, source = partial_coherence.counts(request.beam)
    batches, area = math.ceil(windows.largest * source / LANES), math.prod(windows.grid.shape)
    batch = SECONDS_PER_BATCH + LANES * slices * costs.step_seconds(area)
    window = SECONDS_PER_WINDOW + slices * area * SECONDS_PER_COPY + batches * batch
    return request.configurations * focal * len(windows.corners) * window


def _ways(request: Request, plan: Plan, windowed: Windowed) -> list[Windowed]:
    """Return the ways in which windows of one size are computed, the quickest first, those that save too little left out."""
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
    """Return the time of waves of the rim through each window, s."""
    area = math.prod(windows.grid.shape)
    batch = SECONDS_PER_BATCH + LANES * slices * costs.step_seconds(area)
    return len(windows.corners) * (SECONDS_PER_WINDOW + slices * area * SECONDS_PER_COPY + batch)


def _whole_waves(request: Request) -> int:
    """Return the number of waves through the whole field: for the tails of all probes, and for the check."""
    return request.configurations * (probe_windows.RIM_WAVES + FURTHER) + POINTS - FURTHER


def cost(found: Discretisation, windowed: Windowed) -> Cost:
    """Return the cost of probes through windows: waves for the probes, for their tails and for the check."""
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
            f"rms error below {request.tolerance:g} of the mean signal, checked at random points of multislice through the whole field; "
            f"windows of {windowed.side:.1f} A{_films(windowed)}, larger where the check asks for it, and the whole field, "
            f"{_whole_seconds(request, grid, slices):.3g} s, where they would save less than half"
        ),
    )


def _films(windowed: Windowed) -> str:
    """Return a phrase on joined slices, or an empty text."""
    return "" if windowed.joined is None else f", {len(windowed.joined.starts)} slices in place of {windowed.joined.count}, films joined"


def signals(request: Request, plan: Plan, windowed: Windowed, progress: Progress | None) -> Signals | str:
    """Return the signals of each probe in its window, averaged over focal spread, source and configurations.

    Where windows that reach the tolerance save too little, and the whole field is to be taken, return what was tried instead.

    Raises
    ------
    SamplingError
        The tolerance is missed with larger windows, too.
    """
    check = WindowCheck(request, plan, windowed)
    while isinstance(check.windowed, Windowed):
        found = _attempt(request, plan, check, progress)
        if found is not None:
            values, error = mean_of_configurations(request, found)
            return values, error, check.remark()
    return f"windows that reach {request.tolerance:g} would save less than half: {', '.join(check.tried)}"


def _attempt(request: Request, plan: Plan, check: "WindowCheck", progress: Progress | None) -> list[np.ndarray] | None:
    """Return the signals of each configuration; None where a further one misses the tolerance, or windows save too little."""
    found, report, weights = [], progress or (lambda _: None), operator_cache.detector_weights(request, plan)
    for number, stack in enumerate(slice_stacks.stacks(request, plan)):
        rim = probe_windows.rim_signals(stack, request.beam.semiangle_rad, weights, request.depths_angstrom)
        report(probe_windows.RIM_WAVES)
        report(FURTHER if number else POINTS)
        if not (check.further(stack, rim, number) if number else check.first(stack, rim)):
            return None
        assert check.windowed is not None  # it passed
        stack = check.sent(stack)  # noqa: PLW2901 - the one before is needed no more
        found.append(_of_one(request, check.windowed.windows, stack, check.tails(rim), weights, progress))
        del stack  # before the next one takes its memory
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
    """The check of windows, and the windows that pass it; none where these save too little."""

    def __init__(self, request: Request, plan: Plan, first: Windowed) -> None:
        self.windowed: Windowed | None = first
        self.tried: list[str] = []
        self._request, self._plan, self._growths = request, plan, 0
        self._weights = operator_cache.detector_weights(request, plan)
        self._seen: list[tuple[np.ndarray, np.ndarray]] = []
        self._near = np.zeros(0)

    def first(self, stack: SliceStack, rim: np.ndarray) -> bool:
        """Check the first configuration, with windows that grow until it passes; return whether there are such windows."""
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
        """Check a further configuration at points of its own; return whether all points so far are within the tolerance. If not, windows grow."""
        assert self.windowed is not None  # the configuration before has passed
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
        """Return a specimen as probes in windows pass it: with films joined, or as it is."""
        assert self.windowed is not None  # there are windows
        return stack if self.windowed.joined is None else self.windowed.joined.stack(stack)

    def tails(self, rim: np.ndarray) -> np.ndarray:
        """Return the signals of the tails of the probes in each window, ([depths,] channels, G or 1), from the mean of the whole field."""
        assert self.windowed is not None  # there are windows
        if not self._near.size:
            return rim[..., None]
        return self.windowed.near * self._near + (1 - self.windowed.near) * rim[..., None]

    def _rims_inside(self, stack: SliceStack, windows: ProbeWindows) -> np.ndarray:
        """Return the signals of the rim's waves through windows, ([depths,] channels, G); nothing where the whole field's are taken."""
        assert self.windowed is not None  # there are windows
        if not self.windowed.near:
            return np.zeros(0)
        return probe_windows.rims_inside(stack, windows, self._request.beam.semiangle_rad, self._weights, self._request.depths_angstrom)

    def remark(self) -> str:
        """Return the measured error as a sentence."""
        assert self.windowed is not None  # it has passed
        error, count = self._error(), len(self._seen)
        where = f"{error.points} points of the scan" + (f" in {count} configurations" if count > 1 else "")
        return (
            f"windows of {self.windowed.side:.1f} A{_films(self.windowed)}: at {where} rms {error.rms:.2e}, largest {error.largest:.2e} "
            f"of the mean, against multislice through the whole field; asked for {self._request.tolerance:g}"
        )

    def _points(self, windows: ProbeWindows, count: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return random points of the scan, by number, and probes (x, y) there, A, each from a random part of the source."""
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
        """Return the signals of probes ``at`` the chosen points, by number, in their windows ``part``."""
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
        """Note the error of windows that miss the tolerance."""
        assert self.windowed is not None  # these missed it
        self.tried.append(f"{self._error().rms:.2%} with windows of {self.windowed.side:.1f} A{' and joined films' * bool(self.windowed.joined)}")

    def _grow(self) -> None:
        """Take larger windows, or none where they save too little."""
        self._growths += 1
        if self._growths > GROWTHS:
            message = (
                f"Windows around the probes miss tolerance={self._request.tolerance:g}: {', '.join(self.tried)}. "
                "Allow a larger tolerance, or use tolerance=0, which sends each probe through the whole field."
            )
            raise SamplingError(message)
        plan = self._plan
        self.windowed = planned(self._request, plan.grid, plan.slices, plan.blocks, GROWTH**self._growths)


def _chosen(windows: ProbeWindows, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return the numbers of random points of a scan, some in each of a few windows, increasing."""
    groups = rng.permutation(len(windows.corners))[: count // IN_GROUP]
    each = -(-count // len(groups))
    parts = [rng.permutation(windows.order[windows.starts[g] : windows.starts[g + 1]])[:each] for g in groups]
    return np.sort(np.concatenate(parts))
