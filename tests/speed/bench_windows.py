"""Exact images of large fields in windows: a particle on carbon, and a thick oxide with a vacancy, to 2 % of multislice through the whole field."""

import functools
from dataclasses import replace

import numpy as np

from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import operator_cache, simulate, slice_stacks, windowed_probes
from stemtwin.twin.instrument.simulation.engines import multislice
from stemtwin.twin.instrument.simulation.plan import Plan, make_plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.instrument.simulation.windowed_probes import WindowCheck, Windowed
from stemtwin.twin.physics.engine.local import accuracy_check, probe_windows
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack
from stemtwin.twin.physics.engine.operator import single_probes
from stemtwin.twin.samples import defects
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import Sample
from tests.speed.run import Row, peak_bytes

CONFIGURATIONS = 8
TOLERANCE = 0.02
BATCHES = 32
"""Windows of the oxide that are run and timed."""
STRONTIUM = 38


def asked(sample: Sample, points: int) -> Request:
    """Return dark-field images of a whole field at 200 kV and 20 mrad."""
    return Request(
        sample=sample,
        beam=Beam(energy_ev=200e3, semiangle_mrad=20),
        scan=RasterScan(shape=(points, points), field_of_view_angstrom=sample.size_angstrom),
        detectors=(AnnularDetector(inner_mrad=60, outer_mrad=120, name="haadf"),),
        engine=multislice.NAME,
        phonons=CONFIGURATIONS,
        tolerance=TOLERANCE,
    )


@functools.cache
def particle() -> Request:
    """Return 128 x 128 points over a particle of 50 A on carbon."""
    return asked(load_sample("au-particle-carbon", diameter_angstrom=50), 128)


@functools.cache
def oxide() -> Request:
    """Return 256 x 256 points over SrTiO3, 150 x 150 x 100 A, without the strontium atom nearest to its middle."""
    sample = load_sample("srtio3-001", size_angstrom=(150, 150), thickness_angstrom=100)
    middle = np.array([*sample.size_angstrom[::-1], sample.thickness_angstrom]) / 2
    sites = np.flatnonzero(sample.numbers == STRONTIUM)
    nearest = sites[np.argmin(np.linalg.norm(sample.positions_angstrom[sites] - middle, axis=1))]
    return asked(defects.remove(sample, [[nearest]]), 256)


@functools.cache
def checked(request: Request) -> tuple[Plan, WindowCheck]:
    """Return the plan of a request, and its own check with windows that pass in the first configuration."""
    plan = make_plan(request)
    first = windowed_probes.planned(request, plan.grid, plan.slices, plan.blocks)
    assert first is not None, "windows save most of the time"
    check, stack = WindowCheck(request, plan, first), _first(request)
    assert check.first(stack, _rim(request, plan, stack)), check.tried
    return plan, check


def windows(request: Request) -> tuple[Plan, Windowed]:
    """Return the plan of a request, and the windows that pass its own check in the first configuration."""
    plan, check = checked(request)
    assert check.windowed is not None
    return plan, check.windowed


@functools.lru_cache(maxsize=1)
def _first(request: Request) -> SliceStack:
    """Return the first configuration of a request's specimen."""
    return slice_stacks.Configurations(request, make_plan(request))[0]


def _rim(request: Request, plan: Plan, stack: SliceStack) -> np.ndarray:
    """Return the signals of the tails of all probes."""
    return probe_windows.rim_signals(stack, request.beam.semiangle_rad, operator_cache.detector_weights(request, plan))


# ---- the particle --------------------------------------------------------------------------------------------------------------------


def one_configuration():
    """One of the particle's configurations, specimen and check included: with more of them the check takes fewer points of each."""
    one = replace(particle(), phonons=1)
    plan = make_plan(one)
    return lambda: multislice.signals(one, plan, None) and None, None


def error():
    """Windows that pass the request's own check against the whole field, at other random points, over the same configurations."""
    request = particle()
    plan, check = checked(request)
    weights, beam = operator_cache.detector_weights(request, plan), request.beam
    chosen = np.sort(np.random.default_rng(99).choice(request.scan.count, windowed_probes.POINTS, replace=False))
    at, taken = request.scan.points(), windows(request)[1].windows
    part, which = taken.only(chosen), taken.groups_of(chosen)

    def ours():
        found, true = np.zeros((1, chosen.size)), np.zeros((1, chosen.size))
        for stack in slice_stacks.stacks(request, plan):
            rim = _rim(request, plan, stack)
            whole, norm = single_probes.window_signals(stack, at[chosen], beam.aberrations, beam.semiangle_rad, weights)
            true += whole + (1 - norm) * rim[:, None]
            inside, norm = probe_windows.window_signals(check.sent(stack), part, at[None], beam.aberrations, beam.semiangle_rad, weights)
            tails = check.tails(rim)
            tails = tails if tails.shape[-1] == 1 else tails[..., which]
            found += (inside[:, 0] + (1 - norm) * part.spread(tails))[:, np.argsort(part.order)]
        return accuracy_check.accuracy(found, true, np.full(true.shape, np.nan)).rms

    return ours, None


# ---- the oxide -----------------------------------------------------------------------------------------------------------------------


def some_batches():
    """Random windows of the oxide in its first configuration; the time is that of all windows in all configurations."""
    request = oxide()
    plan, windowed = windows(request)
    sent, weights, beam = checked(request)[1].sent(_first(request)), operator_cache.detector_weights(request, plan), request.beam
    groups = np.random.default_rng(7).choice(len(windowed.windows.corners), BATCHES, replace=False)
    starts, order = windowed.windows.starts, windowed.windows.order
    part = windowed.windows.only(np.concatenate([order[starts[group] : starts[group + 1]] for group in groups]))
    share = BATCHES / (CONFIGURATIONS * len(windowed.windows.corners))

    def ours():
        probe_windows.window_signals(sent, part, request.scan.points()[None], beam.aberrations, beam.semiangle_rad, weights)
        return share

    return ours, None


def hours(ours, _):
    """Our time in all windows, and the plan's for everything else, in hours."""
    request = oxide()
    plan, windowed = windows(request)
    first = windowed_probes.planned(request, plan.grid, plan.slices, plan.blocks)
    assert first is not None, "windows save most of the time"
    return (plan.seconds - first.seconds + windowed.beside + ours) / 3600


def peak_memory():
    """Return the peak, GiB, of a process that makes the oxide, checks its windows and sends some batches."""
    return lambda: peak_bytes("from tests.speed import bench_windows\nbench_windows.some_batches()[0]()") / 2**30, None


def thermal_image():
    """The whole image of the oxide by thermal cross-sections, its error not measured."""
    request = replace(oxide(), engine="thermal", tolerance=0.2, measure_error=False)

    def ours():
        operator_cache.clear()
        simulate.simulate(request)

    return ours, None


def seconds(ours, _):
    """Our time."""
    return ours


def found(ours, _):
    """What ours returned."""
    return ours


PARTICLE = "multislice in windows, Au particle of 50 A on carbon, 128 x 128 points, 60-120 mrad, 8 configurations"
OXIDE = "SrTiO3 150 x 150 x 100 A with a vacancy, 256 x 256 points, 60-120 mrad, 8 configurations"
ROWS = [
    Row(
        work=f"{PARTICLE}: image to 2 %, check included (8 x one)",
        bar=420,
        prepare=one_configuration,
        value=lambda ours, _: CONFIGURATIONS * ours,
        unit="s",
        at_most=True,
    ),
    Row(
        work=f"{PARTICLE}: rms error / mean at 32 random points against the whole field",
        bar=TOLERANCE,
        prepare=error,
        value=found,
        at_most=True,
        returned=True,
    ),
    Row(
        work=f"multislice in windows, {OXIDE}: image to 2 %, {BATCHES} random windows timed, the rest by plan",
        bar=2.5,
        prepare=some_batches,
        value=hours,
        unit="h",
        at_most=True,
    ),
    Row(work=f"multislice in windows, {OXIDE}: peak memory", bar=8, prepare=peak_memory, value=found, unit="GiB", at_most=True, returned=True),
    Row(
        work=f"thermal cross-sections, {OXIDE}: first image, without the measurement of the error",
        bar=180,
        prepare=thermal_image,
        value=seconds,
        unit="s",
        at_most=True,
    ),
]
