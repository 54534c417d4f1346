"""Comparison of two solvers on one request, and the distance of the result from numerical convergence.

Our multislice is compared with abTEM's on the same grid, with the same planes and pixel masks: once with our slices (only
the solvers differ), and once with abTEM's own potential (the placement of atoms differs too). Our result is then compared
with two further results of ours: one on a finer grid, and one with thinner slices (with thicker slices if the slices are atomic
planes). The standard error over the phonon configurations is also stated.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from stemtwin.twin.instrument.scan import PathScan
from stemtwin.twin.instrument.settings import PotentialSlices
from stemtwin.twin.instrument.simulation import simulate, slice_stacks
from stemtwin.twin.instrument.simulation.engines import abtem, multislice
from stemtwin.twin.instrument.simulation.plan import Plan, make_plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.samples.sample import Sample

MOST_POINTS = 16
"""Largest number of scan points that are computed, spread over the scan."""
FINER = 1.5
"""Factor by which the grid of the convergence check is finer."""
PLACED = (
    "abTEM's own potential places atoms bilinearly between grid points, which lowers dark-field signals by up to 17 % at 0.04 A: a difference with "
    "that potential but not with our slices comes from the placement, not from the solvers"
)
"""Note of a comparison of the two potentials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """One comparison for one detector.

    Parameters
    ----------
    detector : str
        The detector's name.
    what : str
        Computation that is compared with a reference. The reference is our multislice or, for the thermal motion of a
        Ronchigram, our phase grating of atoms at rest.
    ours, other : float
        Mean signals of the reference and of the computation ``what``, as fractions of the incident beam. The means are
        taken over the scan points, or over the pixels of a Ronchigram.
    largest : float
        Largest difference at a point or pixel, divided by ``ours``.
    rms : float
        Root mean square difference, divided by ``ours``.
    """

    detector: str
    what: str
    ours: float
    other: float
    largest: float
    rms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """Comparisons of a request's signals with the signals of another solver and with signals at finer settings.

    Parameters
    ----------
    points : int
        Number of scan points that were compared, or of pixels of a Ronchigram.
    grid : tuple of int
        Number of points (ny, nx) of the wave.
    slices : int
        Number of slices.
    lines : tuple of ComparisonRow
        The comparisons.
    standard_error : dict
        Relative standard error over the phonon configurations by detector; empty for one configuration.
    notes : tuple of str
        Remarks on the interpretation of the comparisons.
    """

    points: int
    grid: tuple[int, int]
    slices: int
    lines: tuple[ComparisonRow, ...]
    standard_error: dict[str, float]
    notes: tuple[str, ...] = ()


def certify(request: Request, *, progress: Callable[[str], None] | None = None) -> Certificate:
    """Compare our multislice with abTEM's on a request, and check the numerical convergence of our result.

    Parameters
    ----------
    request : Request
        The request; at most 16 points of its scan are computed, at the exit face and with a coherent beam.
    progress : callable, optional
        Called with the description of each step as it begins.

    Raises
    ------
    StemtwinError
        A solver cannot compute the request.
    """
    say = progress or (lambda _: None)
    full = coherent_points(request)
    plan = make_plan(full)
    bare = replace(_one(full), antialias=False, oversampling=1, grid=plan.grid.shape, sampling_angstrom=None)
    slices = _as_slices(bare)
    for asked in (slices, bare) if request.phonons != "damped" else (slices,):
        make_plan(replace(asked, engine=abtem.NAME))  # refused before any work
    names, notes = [d.name for d in plan.detectors], []
    error = np.full(_channels(plan)[-1].stop, np.nan)
    if plan.configurations > 1:
        say(f"multislice of {plan.configurations} configurations")
        error = simulate.expected(full, plan)[1]
    lines: list[ComparisonRow] = []
    say("multislice with pixel masks")
    masks = simulate.expected(bare, make_plan(bare))[0]
    say("abTEM with our slices")
    lines += _lines(names, plan, "abTEM, our slices, same grid", masks, _abtem(slices))
    if not isinstance(request.sample, PotentialSlices):
        if request.phonons != "damped":
            say("abTEM with its own potential")
            lines += _lines(names, plan, "abTEM, its own potential, same grid", masks, _abtem(bare))
            notes.append(PLACED)
        lines += _convergence(full, plan, names, say, notes)
    channels = _channels(plan)
    errors = {name: float(error[which].max()) for name, which in zip(names, channels, strict=True) if np.isfinite(error[which]).all()}
    return Certificate(
        points=full.scan.shape[0],
        grid=plan.grid.shape,
        slices=len(plan.slices.planes),
        lines=tuple(lines),
        standard_error=errors,
        notes=tuple(notes),
    )


def repeated(sample: Sample, times: tuple[int, int]) -> Sample:
    """Return a sample whose cell is repeated along y and x.

    ``times`` are the numbers of repeats (y, x). A sample that is not periodic is returned unchanged.
    """
    if times == (1, 1) or not sample.periodic:
        return sample
    (ny, nx), (height, width) = times, sample.size_angstrom
    shifts = np.array([(ix * width, iy * height, 0.0) for iy in range(ny) for ix in range(nx)])
    sigma = sample.thermal_sigma_angstrom
    return replace(
        sample,
        numbers=np.tile(sample.numbers, len(shifts)),
        positions_angstrom=(shifts[:, None] + sample.positions_angstrom).reshape(-1, 3),
        thermal_sigma_angstrom=None if sigma is None else np.tile(sigma, len(shifts)),
        size_angstrom=(ny * height, nx * width),
        defects=(),
        sites=None,
    )


def coherent_points(request: Request) -> Request:
    """Return the request for multislice with a coherent beam, at no more than 16 points and only at the exit face."""
    coherent = replace(request.beam, source_size_angstrom=0.0, focal_spread_angstrom=0.0)
    return replace(request, beam=coherent, scan=_few(request), engine=multislice.NAME, depths_angstrom=None, tolerance=0.0)


def _few(request: Request) -> PathScan:
    points = request.scan.points()
    which = np.unique(np.linspace(0, len(points) - 1, MOST_POINTS).round().astype(int))
    return PathScan(positions_angstrom=points[which])


def _one(request: Request) -> Request:
    """Return the request for the first phonon configuration only; static and damped requests are returned unchanged."""
    return replace(request, phonons=1) if request.configurations > 1 or isinstance(request.phonons, int) else request


def _as_slices(request: Request) -> Request:
    """Return the request with our projected potentials in place of the sample."""
    if isinstance(request.sample, PotentialSlices):
        return request
    return replace(request, sample=slice_stacks.as_slices(request, make_plan(request)), phonons="static", slice_thickness_angstrom=None, grid=None)


def _abtem(request: Request) -> np.ndarray:
    other = replace(request, engine=abtem.NAME)
    return simulate.expected(other, make_plan(other))[0]


def _convergence(full: Request, plan: Plan, names: list[str], say: Callable[[str], None], notes: list[str]) -> list[ComparisonRow]:
    one = _one(full)
    base = replace(one, grid=plan.grid.shape, sampling_angstrom=None)
    say("convergence: reference")
    reference = simulate.expected(base, make_plan(base))[0]
    out = []
    say("convergence: sampling")
    finer = tuple(int(FINER * n) for n in plan.grid.shape)
    fixed = tuple(plan.detectors)  # the detectors keep their angles on the finer grid
    sharp = replace(one, grid=finer, sampling_angstrom=None, detectors=fixed)
    out += _lines(names, plan, f"ours, {FINER:g} times finer grid", reference, simulate.expected(sharp, make_plan(sharp))[0])
    planes = plan.slices.planes
    if len(planes) > 1:
        say("convergence: slices")
        other, what = replace(base, slice_thickness_angstrom=float(np.diff(planes).min()) / 2), "ours, slices half as thick"
        if np.array_equal(make_plan(other).slices.planes, planes):
            thick = min(2 * float(np.diff(planes).max()), full.sample.thickness_angstrom)
            other, what = replace(base, slice_thickness_angstrom=thick), "ours, slices twice as thick"
            if np.array_equal(make_plan(other).slices.planes, planes):
                notes.append(f"slices are atomic planes, and slices of {thick:.3g} A are identical: the effect of slicing was not compared")
                return out
            notes.append("slices are atomic planes, and thinner slices are identical: slices twice as thick show the effect of slicing")
        out += _lines(names, plan, what, reference, simulate.expected(other, make_plan(other))[0])
    return out


def _channels(plan: Plan) -> list[slice]:
    ends = np.cumsum([0, *(getattr(d, "segments", 1) for d in plan.detectors)])
    return [slice(int(a), int(b)) for a, b in itertools.pairwise(ends)]


def _lines(names: list[str], plan: Plan, what: str, ours: np.ndarray, other: np.ndarray) -> list[ComparisonRow]:
    out = []
    for name, which in zip(names, _channels(plan), strict=True):
        difference, mean = other[which] - ours[which], max(float(ours[which].mean()), 1e-30)
        out.append(
            ComparisonRow(
                detector=name,
                what=what,
                ours=float(ours[which].mean()),
                other=float(other[which].mean()),
                largest=float(np.abs(difference).max()) / mean,
                rms=float(np.sqrt((difference**2).mean())) / mean,
            )
        )
    return out
