"""Areal density of each element under the probe: atoms per A^2, weighted by the probe density at the atoms.

========== ======================================================================================================================================
Engine     Method
========== ======================================================================================================================================
operator   one inelastic quadratic form per channel, with channelling; exact; a new focus or scan takes milliseconds
multislice multislice of each probe; exact; for a few positions in a large cell
thin       the incident probe with its spread in vacuum, without elastic scattering; for cells too large for the other engines
========== ======================================================================================================================================
"""

import functools
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stemtwin.twin.errors import SamplingError, SettingsError
from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.scan import PathScan, Scan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import crystal_average, memory, operator_cache, partial_coherence, simulate, slice_stacks
from stemtwin.twin.instrument.simulation.costs import SECONDS_PER_PRODUCT, step_seconds
from stemtwin.twin.instrument.simulation.engines import multislice, operator
from stemtwin.twin.instrument.simulation.plan import Plan, make_plan
from stemtwin.twin.instrument.simulation.request import AUTO, Request
from stemtwin.twin.instrument.simulation.scan_signals import scanned
from stemtwin.twin.instrument.spectra.thin_limit import thin_images
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.engine.kernels import array_cache as disk
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack
from stemtwin.twin.physics.engine.operator import imaging_cache, imaging_operator, inelastic
from stemtwin.twin.physics.engine.operator.imaging_operator import ImageCoefficients
from stemtwin.twin.physics.engine.operator.inelastic import Absorbers
from stemtwin.twin.physics.spectra import lowloss
from stemtwin.twin.progress import Progress
from stemtwin.twin.registry import Registry
from stemtwin.twin.samples.sample import Sample

THIN = "thin"
EXACTNESS = {
    operator.NAME: "the same as multislice except for rounding (1e-4)",
    multislice.NAME: "reference",
    THIN: "no elastic scattering in the specimen: no channelling",
}
"""Accuracy of the densities of each engine."""
PATIENCE = 60.0
"""Longest estimated time of an engine that ``engine="auto"`` chooses, s."""
REMEMBERED = 8
"""Number of cached sets of channel images."""
ELASTIC = 0.3
"""Diameter that contains half of the elastic scattering of one atom in the thin limit, A."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossChannel:
    """A kind of energy loss, with the elements that cause it.

    Parameters
    ----------
    name : str
        Name of the channel.
    numbers : tuple of int
        Atomic numbers of the atoms that contribute.
    d50 : float
        Diameter that contains half of the signal of one atom, A.
    """

    name: str
    numbers: tuple[int, ...]
    d50: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Densities:
    """Areal densities under the probe.

    Parameters
    ----------
    values : ndarray
        Atoms per A^2, float64, shape (channels, ...). The axes after the first are those of the scan.
    collected : ndarray
        Fraction of the beam inside the collection aperture after elastic scattering, shaped like the scan. It is 1 if
        there is no aperture.
    engine, exactness : str
        Engine of the computation and a description of its accuracy.
    """

    values: np.ndarray
    collected: np.ndarray
    engine: str
    exactness: str


def absorbers(sample: Sample, positions: np.ndarray, plane: np.ndarray, channels: Sequence[LossChannel]) -> Absorbers:
    """Return the absorbing atoms of each channel.

    ``positions`` are the positions of the sample's atoms, A, shape (n, 3), and ``plane`` is the index of each atom's plane,
    shape (n,).
    """
    weights = np.zeros((len(channels), len(sample)))
    for weight, channel in zip(weights, channels, strict=True):
        weight[np.isin(sample.numbers, channel.numbers)] = 1.0
    return Absorbers(positions=positions[:, :2], plane=plane, weights=weights, d50=np.array([channel.d50 for channel in channels]))


def densities(
    sample: Sample,
    beam: Beam,
    scan: Scan,
    channels: Sequence[LossChannel],
    *,
    collection_mrad: float | None = None,
    engine: str = AUTO,
    phonons: int | str = "auto",
    lattice_average: bool | str = "auto",
    seed: int = 0,
    tilt_mrad: tuple[float, float] = (0.0, 0.0),
    window_angstrom: float = 0.0,
    progress: Progress | None = None,
) -> Densities:
    """Return the areal density of each channel under the probe at each point of a scan.

    Parameters
    ----------
    sample, beam, scan : Sample, Beam, Scan
        The sample, the beam and the path of the beam.
    channels : sequence of LossChannel
        Kinds of loss.
    collection_mrad : float, optional
        Collection semi-angle of the spectrometer, mrad.
    engine : str
        ``"operator"``, ``"multislice"``, ``"thin"`` (see the table of this module) or ``"auto"``, which chooses operator if it
        takes less than a minute, else multislice if it takes less than a minute, else thin.
    phonons, lattice_average, seed, tilt_mrad : int or str, bool or str, int, tuple of float
        Thermal displacements, average over a crystal's translations, seed of the displacements, and tilt of the
        specimen, as in ``Request``.
    window_angstrom : float
        Smallest width of the probe window, A. In a wide window, one operator remains valid while the aberrations drift.
    progress : callable, optional
        Function that is called with the number of waves that were just completed.

    Raises
    ------
    SettingsError
        The sample does not consist of atoms, or the engine is unknown.
    StemtwinError
        Errors of ``Request`` and ``make_plan``.
    """
    _check(sample, engine)
    asked = _Asked(
        sample=sample,
        beam=beam,
        channels=tuple(channels),
        collection=collection_mrad,
        phonons=phonons,
        average=lattice_average,
        seed=seed,
        tilt=tilt_mrad,
        window=window_angstrom,
    )
    if not len(sample):
        return Densities(values=np.zeros((len(asked.channels), *scan.shape)), collected=np.ones(scan.shape), engine=THIN, exactness="no atoms")
    engine, reason = _cheapest(asked, scan.count) if engine == AUTO else (engine, "")
    found = DENSITY_ENGINES[engine](asked, scan, progress)
    return replace(found, exactness=found.exactness + reason)


def _check(sample: Sample, engine: str) -> None:
    """Raise SettingsError for a sample without atoms or an unknown engine."""
    if not isinstance(sample, Sample):
        message = f"sample={sample!r} does not list atoms, but spectra depend on the elements. Use a Sample instead of potentials."
        raise SettingsError(message)
    if engine not in (AUTO, *DENSITY_ENGINES):
        message = f"There is no engine of spectra named {engine!r}. Use one of {', '.join((AUTO, *DENSITY_ENGINES))}."
        raise SettingsError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """All inputs of the channel images, as a key of the cache."""

    sample: Sample
    beam: Beam
    channels: tuple[LossChannel, ...]
    collection: float | None
    phonons: int | str
    seed: int
    tilt: tuple[float, float] = (0.0, 0.0)
    window: float = 0.0
    average: bool | str = AUTO

    def request(self, scan: Scan | None = None) -> Request:
        """Return a request for the part of the beam inside the collection aperture."""
        outer = self.collection if self.collection is not None else self.beam.semiangle_mrad
        asked = Request(
            sample=self.sample,
            beam=self.beam,
            scan=scan or PathScan(positions_angstrom=np.array([[0.0, 0.0]])),
            detectors=(AnnularDetector(inner_mrad=0.0, outer_mrad=outer, name="collected"),),
            engine=operator.NAME,
            phonons=self.phonons,
            seed=self.seed,
            tilt_mrad=self.tilt,
            lattice_average=self.average,
        )
        crystal_average.check_without_turns(asked, "spectra")
        return asked

    def elements(self) -> list[LossChannel]:
        """Return one channel of elastic scattering for each element."""
        if self.collection is None:
            return []
        return [LossChannel(name=str(number), numbers=(int(number),), d50=ELASTIC) for number in np.unique(self.sample.numbers)]


@functools.lru_cache(maxsize=REMEMBERED)
def _plan(asked: _Asked) -> Plan:
    return make_plan(asked.request(), window_angstrom=asked.window)


@functools.lru_cache(maxsize=REMEMBERED)
def _cheapest(asked: _Asked, points: int) -> tuple[str, str]:
    """Return the first engine that takes less than a minute, and the reason if that is the thin limit."""
    asked.request()  # raises for wrong settings
    try:
        seconds = _seconds(asked, points)
    except (SamplingError, SettingsError) as error:  # the probe does not fit, or the memory is too small
        return THIN, f"; an engine with channelling is not possible: {error}"
    for name, each in seconds.items():
        if each < PATIENCE:
            return name, ""
    named = min(seconds, key=lambda name: seconds[name])
    return THIN, f"; with channelling, engine={named!r} would take about {seconds[named]:.0f} s"


def _seconds(asked: _Asked, points: int) -> dict[str, float]:
    """Return the estimated time of the engines with channelling for a number of points, s."""
    plan = _plan(asked)
    area, slices = math.prod(plan.grid.shape), len(plan.slices.planes)
    blocks = plan.blocks[0] * plan.blocks[1]
    products = plan.configurations * plan.beams**2 / blocks * area * slices * len(asked.channels) * SECONDS_PER_PRODUCT
    steps = 2 * plan.configurations * plan.beams * slices * step_seconds(area)
    focal, source = partial_coherence.counts(asked.beam)
    waves = asked.request().configurations * focal * (points * source * blocks + 2 * plan.beams)
    if asked.average is True:  # only the operator averages over translations
        return {operator.NAME: products + steps}
    return {operator.NAME: products + steps, multislice.NAME: 3 * waves * slices * step_seconds(area)}


@dataclass(frozen=True, slots=True, kw_only=True)
class DensityPlan:
    """Plan of a computation of areal densities.

    Parameters
    ----------
    engine, exactness : str
        Engine of the computation and a description of its accuracy.
    waves : int
        Number of waves that are reported as progress; 0 if the engine does not report progress.
    memory_bytes : int
        Estimated peak memory without the spectra, bytes.
    seconds : float, optional
        Estimated time on two cores, s; None if the computation takes far less time than an image.
    averaged : bool
        Whether the densities are averaged over a crystal's lattice translations.
    """

    engine: str
    exactness: str
    waves: int = 0
    memory_bytes: int = 0
    seconds: float | None = None
    averaged: bool = False


def plan_densities(
    sample: Sample, beam: Beam, scan: Scan, channels: Sequence[LossChannel], *, collection_mrad: float | None = None, **settings: Any
) -> DensityPlan:
    """Return the plan of areal densities with ``engine="auto"`` without computing the densities.

    Parameters
    ----------
    sample, beam, scan, channels, collection_mrad
        Arguments of :func:`densities`.
    **settings
        ``phonons``, ``seed``, ``tilt`` (``tilt_mrad`` of ``Request``) and ``average`` (``lattice_average`` of ``Request``).

    Raises
    ------
    StemtwinError
        A setting is invalid.
    """
    _check(sample, AUTO)
    asked = _Asked(sample=sample, beam=beam, channels=tuple(channels), collection=collection_mrad, **{"phonons": "auto", "seed": 0, **settings})
    engine, reason = _cheapest(asked, scan.count)
    exactness = EXACTNESS[engine] + reason
    if engine == THIN:
        return DensityPlan(engine=engine, exactness=exactness, memory_bytes=memory.program())
    plan, seconds = _plan(asked), _seconds(asked, scan.count)[engine]
    waves = 0 if engine == multislice.NAME else plan.configurations * plan.beams * (1 if collection_mrad is None else 2)
    held = memory.of_matrices((plan.beams,), len(asked.channels)) if engine == operator.NAME else 0
    average = plan.average if engine == operator.NAME else None
    exactness += "" if average is None else f"; {crystal_average.planned(average)}"
    return DensityPlan(
        engine=engine,
        exactness=exactness,
        waves=waves,
        memory_bytes=int(plan.memory_bytes + held),
        seconds=seconds,
        averaged=average is not None,
    )


_Images = tuple[ImageCoefficients, ImageCoefficients | None, str]
_remembered: OrderedDict[_Asked, _Images] = OrderedDict()


def _operator_images(asked: _Asked, progress: Progress | None) -> _Images:
    """Return the cached images of the channels and of the collected fraction, and a description of their accuracy."""
    found = _remembered.get(asked)
    if found is None:
        request = asked.request()
        plan = _plan(asked)
        beam = asked.beam
        optics = {"semiangle": beam.semiangle_rad, "source_size": beam.source_size_angstrom, "focal_spread": beam.focal_spread_angstrom}
        built = _operator(request, plan, asked.channels, progress)
        image = built.image(beam.aberrations, **optics)
        collected = None
        if asked.collection is not None:
            collected = operator_cache.operator_for(request, plan, progress=progress).image(beam.aberrations, **optics)
        found = _remembered[asked] = image, collected, f"{EXACTNESS[operator.NAME]}{_averaged(built)}"
        while len(_remembered) > REMEMBERED:
            _remembered.popitem(last=False)
    return found


def _averaged(built: imaging_operator.ImagingOperator) -> str:
    """Return the description of an operator's average over lattice translations, or ""."""
    if built.average is None:
        return ""
    return f"; {crystal_average.measured(built.configurations, built.average, float(built.standard_error.max()))}"


@functools.lru_cache(maxsize=REMEMBERED)
def _thin_images(asked: _Asked) -> ImageCoefficients:
    return thin_images(asked.sample, asked.beam, [*asked.channels, *asked.elements()], absorbers, asked.tilt)


def _operator(request: Request, plan: Plan, channels: Sequence[LossChannel], progress: Progress | None) -> imaging_operator.ImagingOperator:
    described: dict[str, Any] = {"base": operator_cache.physics_key(request, plan), "code": operator_cache.code(operator_cache.SPECTRUM_CODE)}
    described |= {"channels": [(list(channel.numbers), channel.d50) for channel in channels]}
    key = disk.content_key(described)

    def atoms(configuration: int) -> Absorbers:
        assert isinstance(request.sample, Sample)
        return absorbers(request.sample, slice_stacks.positions(request, configuration), plan.slices.index, channels)

    def make() -> imaging_operator.ImagingOperator:
        """Build the operator of the losses."""
        return inelastic.build(
            slice_stacks.stacks(request, plan),
            request.beam.semiangle_rad,
            atoms,
            blocks=plan.blocks,
            antialias=request.antialias,
            progress=operator_cache.capped(progress, plan.waves),
            cache=disk.default_cache(),
            key=key,
            average=plan.average,
        )

    return operator_cache.CACHE.get(key, lambda: imaging_cache.kept(disk.default_cache(), key, make))


DensityEngine = Callable[[_Asked, Scan, Progress | None], Densities]
"""A function that computes densities along a scan."""

DENSITY_ENGINES: Registry[DensityEngine] = Registry("engine of spectra")
"""Engines of densities by name, as in the table of this module."""


@DENSITY_ENGINES.register(operator.NAME)
def _by_operator(asked: _Asked, scan: Scan, progress: Progress | None) -> Densities:
    _check_inside(asked, scan)
    image, collected, exactness = _operator_images(asked, progress)
    return Densities(
        values=scanned(image, scan).astype(float),
        collected=np.ones(scan.shape) if collected is None else scanned(collected, scan)[0].astype(float),
        engine=operator.NAME,
        exactness=exactness,
    )


@DENSITY_ENGINES.register(multislice.NAME)
def _by_multislice(asked: _Asked, scan: Scan, _: Progress | None) -> Densities:
    _check_inside(asked, scan)
    request = replace(asked.request(scan), engine=multislice.NAME)
    plan = make_plan(request, window_angstrom=asked.window)
    total: np.ndarray | float = 0.0
    for configuration, stack in enumerate(slice_stacks.stacks(request, plan)):
        atoms = absorbers(asked.sample, slice_stacks.positions(request, configuration), plan.slices.index, asked.channels)

        def coherent(at: np.ndarray, aberrations: Aberrations, stack: SliceStack = stack, atoms: Absorbers = atoms) -> np.ndarray:
            return inelastic.probe_densities(
                stack, atoms, at, aberrations, request.beam.semiangle_rad, blocks=plan.blocks, antialias=request.antialias
            )

        total = total + partial_coherence.averaged(request, coherent)
    collected = np.ones(scan.shape) if asked.collection is None else simulate.expected(request, plan)[0][0]
    values = scan.frame(np.asarray(total) / plan.configurations)
    return Densities(values=values, collected=np.asarray(collected, float), engine=multislice.NAME, exactness=EXACTNESS[multislice.NAME])


@DENSITY_ENGINES.register(THIN)
def _in_the_thin_limit(asked: _Asked, scan: Scan, _: Progress | None) -> Densities:
    """Return the densities under the incident probe, and the collected fraction of the beam by the thin limit."""
    values = scanned(_thin_images(asked), scan).astype(float)
    count, inside = len(asked.channels), np.ones(scan.shape)
    if asked.collection is not None:
        numbers = [channel.numbers[0] for channel in asked.elements()]
        survival = dict(zip(numbers, values[count:], strict=True))
        inside = np.broadcast_to(lowloss.elastic_survival(survival, asked.beam.energy_ev, asked.collection * 1e-3), scan.shape)
    return Densities(values=values[:count], collected=inside, engine=THIN, exactness=EXACTNESS[THIN])


def _check_inside(asked: _Asked, scan: Scan) -> None:
    """Raise SettingsError for positions outside the cell of a specimen that does not repeat."""
    if not asked.sample.periodic:
        make_plan(asked.request(scan), window_angstrom=asked.window)
