"""The engine ``abtem``: signals computed by abTEM, an independent solver, on the same grid and with the same planes.

abTEM applies the transmission function at the entrance of a slice, and its arrays have the axes [x, y]. The slices that it
receives therefore extend from each of our planes to the next, every atom lies in the middle of its slice, and C10 is increased
by the depth of our first plane. In abTEM, the tilt is that of the beam relative to the specimen. Diffraction patterns of abTEM
and waves of our engines have the tilted beam at their centre. Probe positions are corrected for the sideways shift that the
tilt causes between the entrance face and our first plane. For a sample, abTEM computes its own potential, in which the bilinear placement
of atoms is inexact between grid points. A potential that is given as slices is used unchanged.
"""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.settings import PotentialSlices
from stemtwin.twin.instrument.simulation import costs, memory, partial_coherence, slice_stacks
from stemtwin.twin.instrument.simulation.costs import Cost
from stemtwin.twin.instrument.simulation.discretisation import Discretisation, check_whole_probe
from stemtwin.twin.instrument.simulation.engines.registry import ENGINES, Engine, Signals
from stemtwin.twin.instrument.simulation.operator_cache import detector_weights
from stemtwin.twin.instrument.simulation.plan import Plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.instrument.simulation.scan_signals import mean_of_configurations
from stemtwin.twin.physics.aberrations import ORDERS, Aberrations
from stemtwin.twin.progress import Progress

NAME = "abtem"
EXACTNESS = "an independent solver, which places atoms by bilinear interpolation"
LEAST_STEP = 0.05
"""Smallest distance between our planes that abTEM's slices can represent, A."""


def check(found: Discretisation) -> None:
    """Refuse a request that abTEM cannot compute in the same way as our multislice."""
    request = found.request
    if request.antialias or request.oversampling != 1:
        message = "engine='abtem' uses pixel masks and does not oversample transmission functions. Pass antialias=False and oversampling=1."
        raise SettingsError(message)
    if request.phonons == "damped":
        message = "engine='abtem' does not support phonons='damped'. Use phonons='static' or a number of configurations."
        raise SettingsError(message)
    apart = float(np.diff(found.slices.planes).min(initial=np.inf))
    if apart < LEAST_STEP and not isinstance(request.sample, PotentialSlices):
        thick = request.slice_thickness_angstrom
        repair = "Give a slice_thickness_angstrom" if thick is None else f"Use a slice_thickness_angstrom above {thick:g}"
        message = f"engine='abtem' cannot use planes {apart:.3g} A apart: its slices are at least {LEAST_STEP:g} A thick. {repair}."
        raise SettingsError(message)
    check_whole_probe(found)


def cost(found: Discretisation) -> Cost:
    """Return the cost of abTEM, estimated with the time of our own multislice steps, for one wave per probe and focal state."""
    request, grid = found.request, found.grid
    focal, source = partial_coherence.counts(request.beam)
    shifted = request.scan.count * source
    waves = request.configurations * focal * shifted
    needed = memory.of_abtem(grid, found.channels, shifted)
    return Cost(
        waves=waves,
        memory_bytes=costs.field_bytes(found) + memory.working_memory(grid) + needed,
        seconds=costs.first_seconds(found) + waves * len(found.slices.planes) * costs.step_seconds(math.prod(grid.shape)),
    )


def signals(request: Request, plan: Plan, progress: Progress | None) -> Signals:
    """Return the signals computed by abTEM, averaged over focal spread, source and configurations."""

    def of_one(configuration: int) -> np.ndarray:
        return partial_coherence.averaged(request, lambda at, aberrations: _coherent(request, plan, configuration, at, aberrations, progress))

    values, error = mean_of_configurations(request, [of_one(configuration) for configuration in range(plan.configurations)])
    return values, error, EXACTNESS


def _coherent(
    request: Request,
    plan: Plan,
    configuration: int,
    points: np.ndarray,
    aberrations: Aberrations,
    progress: Progress | None,
) -> np.ndarray:
    """Return the signals of coherent probes in one configuration, float64, shape (channels, P).

    Parameters
    ----------
    request, plan : Request, Plan
        The request, with pixel masks and without oversampling, and its plan.
    configuration : int
        Number of the frozen-phonon configuration.
    points : ndarray
        Probe positions (x, y), A, shape (P, 2).
    aberrations : Aberrations
        Coefficients, A and rad.
    progress : callable, optional
        Called with the number of waves completed since the last call.
    """
    grid, out = plan.grid, []
    weights = detector_weights(request, plan)(grid.ky[:, None], grid.kx, grid.reciprocal_sampling).astype(float)
    for fraction in patterns(request, plan, configuration, points, aberrations):
        out.append(np.einsum("cyx,pyx->cp", weights, fraction, optimize=True))
        if progress is not None:
            progress(len(fraction))
    return np.concatenate(out, axis=1)


def patterns(request: Request, plan: Plan, configuration: int, points: np.ndarray, aberrations: Aberrations) -> Iterator[np.ndarray]:
    """Yield batches of diffraction patterns of coherent probes in one frozen-phonon configuration.

    Patterns are fractions of the beam, float64; the shape of a batch is (n, ny, nx).

    Parameters
    ----------
    request, plan : Request, Plan
        The request, with pixel masks and without oversampling, and its plan.
    configuration : int
        Number of the frozen-phonon configuration.
    points : ndarray
        Probe positions (x, y), A, shape (P, 2).
    aberrations : Aberrations
        Coefficients, A and rad.
    """
    import abtem  # slow to import and seldom used

    grid, first, (ty, tx) = plan.grid, float(plan.slices.planes[0]), request.relative_tilt_rad
    with _quiet():
        potential = _potential(request, plan, configuration)
        probe = abtem.Probe(
            energy=request.beam.energy_ev,
            semiangle_cutoff=request.beam.semiangle_mrad,
            soft=False,
            aberrations=_abtem_aberrations(aberrations, first),
            tilt=(-1e3 * tx, -1e3 * ty),
        )
        probe.grid.match(potential)
        points = (points - first * np.tan([tx, ty])) % np.array([grid.extent[1], grid.extent[0]])
        for start in range(0, len(points), memory.ABTEM_BATCH):
            scan = abtem.CustomScan(points[start : start + memory.ABTEM_BATCH])
            waves: Any = probe.multislice(potential, scan=scan, lazy=False)
            intensities = np.abs(np.fft.fft2(waves.array)) ** 2
            vacuum = np.abs(np.fft.fft2(probe.build(scan=scan, lazy=False).array)) ** 2
            yield (intensities / vacuum.sum(axis=(-2, -1), keepdims=True)).transpose(0, 2, 1)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    import abtem

    with abtem.config.set({"device": "cpu", "precision": "float32", "diagnostics.progress_bar": False, "antialias.taper": 0.0}):
        yield


def _abtem_aberrations(aberrations: Aberrations, first_plane: float) -> dict[str, float]:
    out = {}
    for n, m in ORDERS:
        out[f"C{n}{m}"] = getattr(aberrations, f"C{n}{m}")
        if m:  # x and y are exchanged in abTEM's arrays, not in its coordinates
            out[f"phi{n}{m}"] = getattr(aberrations, f"phi{n}{m}")
    out["C10"] += first_plane
    return out


def _potential(request: Request, plan: Plan, configuration: int) -> Any:
    import abtem
    import ase

    planes = plan.slices.planes
    steps = np.diff(np.append(planes, max(plan.thickness, planes[-1] + 0.1)))
    (ny, nx), (height, width) = plan.grid.shape, plan.grid.extent
    sample = request.sample
    if isinstance(sample, PotentialSlices):
        return abtem.PotentialArray(sample.array.transpose(0, 2, 1).copy(), slice_thickness=tuple(steps), extent=(width, height))
    at = slice_stacks.positions(request, configuration).copy()
    starts = np.concatenate([[0], np.cumsum(steps)])
    at[:, 2] = (starts[plan.slices.index] + starts[plan.slices.index + 1]) / 2
    atoms = ase.Atoms(sample.numbers, at, cell=[width, height, starts[-1]], pbc=True)
    atoms.wrap(pbc=(True, True, False))
    return abtem.Potential(
        atoms,
        gpts=(nx, ny),
        slice_thickness=tuple(steps),
        parametrization=request.parametrization,
        projection="infinite",
    ).build(lazy=False)


ENGINES.add(NAME, Engine(cost=cost, signals=signals, exactness=lambda _: EXACTNESS, check=check))
