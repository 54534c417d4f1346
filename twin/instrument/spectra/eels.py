"""Expected energy-loss spectra of a sample, from the same atoms and probe as its images."""

import functools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.scan import Scan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import results, serialisation
from stemtwin.twin.instrument.spectra import materials as structure
from stemtwin.twin.instrument.spectra.areal_densities import Densities, DensityPlan, LossChannel, densities, plan_densities
from stemtwin.twin.instrument.spectra.spectrometer_settings import EELSDetector, LossModel, Particle
from stemtwin.twin.physics import overlayer
from stemtwin.twin.physics.probe import disc_coverage
from stemtwin.twin.physics.spectra import coreloss, eels_camera, lowloss, plasmons, zeroloss
from stemtwin.twin.physics.spectra import ionisation_edges as edge_table
from stemtwin.twin.physics.spectra.dielectric import Material
from stemtwin.twin.physics.spectra.ionisation_edges import Edge
from stemtwin.twin.samples.sample import Sample

LOW_LOSS = 20.0
"""Energy loss at which the delocalisation of the low-loss signal is computed, eV."""
MARGIN = 30.0
"""Margin of the computed energies on either side of the detector's range, in widths of the zero-loss peak."""
DRIFT_ROOM = 5.0
"""Step by which the energy axis grows for a drift of the spectrum, eV. Drifts within the same step reuse the computed losses."""
SLABS = np.array([2.0, 4.0, 7.0, 12.0, 20.0, 35.0, 60.0, 100.0, 200.0, 500.0])
"""Thicknesses for which the losses of two surfaces are computed, A; other thicknesses are interpolated."""
SURFACE_LOSSES = np.concatenate([np.linspace(0.02, 120, 3000), np.geomspace(120, 3000, 300)[1:]])
"""Energy losses at which the surface losses are computed, eV."""
TOGETHER = 256
"""Number of spectra that are computed together."""
FILM = replace(structure.named("amorphous-carbon"), name="contamination", density=overlayer.CARBON_DENSITY)
"""Material of a film on the specimen, carbon with the density that images use."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Kinds:
    """Fourier coefficients (kinds, K) of each kind of loss, for one detector and beam.

    Each material has its bulk loss, normalised to 1, and the loss that the surfaces of a slab add, with its total
    probability, at each of ``SLABS``. Each edge has its core loss, normalised to 1, with its cross-section, A^2.
    """

    axis: lowloss.LossAxis
    first: int
    detector: EELSDetector
    zero_loss: np.ndarray
    bulk: np.ndarray
    surface: np.ndarray
    surface_total: np.ndarray
    core: np.ndarray
    core_cross_section: np.ndarray

    def drifted(self, shifts: np.ndarray) -> np.ndarray:
        """Return the coefficients (n, K) of zero-loss peaks with drifts (n,), eV."""
        return np.array([_zero_loss(self.axis, self.first, self.detector, float(shift)) for shift in shifts])


class _Experiment(NamedTuple):
    """The inputs of one set of spectra.

    ``shifts`` (points,) is the energy drift (eV) and ``film`` (points,) the thickness of a film on the specimen, A.
    """

    sample: Sample
    beam: Beam
    scan: Scan
    detector: EELSDetector
    model: LossModel
    shifts: np.ndarray | None
    film: np.ndarray | None

    def channels(self, regions: Sequence[structure.MaterialRegion], edges: Sequence[Edge]) -> list[LossChannel]:
        """Return a channel for the low loss of each material and one for each edge."""
        energy, collection = self.beam.energy_ev, self.detector.collection_mrad * 1e-3
        low = coreloss.delocalisation(LOW_LOSS, energy, collection)
        channels = [LossChannel(name=material.name, numbers=numbers, d50=low) for numbers, material in regions]
        for edge in edges:
            d50 = coreloss.delocalisation(edge.onset, energy, collection)
            channels.append(LossChannel(name=edge.name, numbers=(edge.number,), d50=d50))
        return channels


def expected_eels(
    sample: Sample,
    beam: Beam,
    scan: Scan,
    detector: EELSDetector,
    *,
    model: LossModel | None = None,
    edges: Sequence[str] | None = None,
    engine: str = "auto",
    phonons: int | str = "auto",
    lattice_average: bool | str = "auto",
    seed: int = 0,
    tilt_mrad: tuple[float, float] = (0.0, 0.0),
    window_angstrom: float = 0.0,
    shifts_ev: np.ndarray | None = None,
    film_angstrom: np.ndarray | None = None,
    progress: Callable[[int], None] | None = None,
) -> xr.Dataset:
    """Return the expected spectrum at each point of a scan, as fractions of the incident beam per channel, without noise.

    Parameters
    ----------
    sample, beam, scan, detector
        Specimen, beam, probe positions and spectrometer. ``PathScan(positions_angstrom=[(x, y)])`` is a scan of one point.
    model : LossModel, optional
        Materials, valences, surfaces and particles.
    edges : sequence of str, optional
        Edges of the spectrum, such as ``("Ti_L3", "O_K")``; None: all edges of the sample's elements in the energy
        range.
    engine, phonons, lattice_average, seed, tilt_mrad, window_angstrom, progress
        Settings of :func:`stemtwin.twin.instrument.spectra.areal_densities.densities`.
    shifts_ev : ndarray, optional
        Drift of the spectrum at each point in addition to the detector's ``energy_shift_ev``, eV, shaped like the scan.
    film_angstrom : ndarray, optional
        Thickness of a carbon film on the specimen at each point, A, shaped like the scan. The film adds to t / lambda and
        to the C K edge, and scatters electrons elastically out of the collection aperture. It has no surface losses.

    Returns
    -------
    xarray.Dataset
        Variable ``eels``, float32, with the dims of the scan and energy_ev; and variables with one value per point: ``t_over_lambda``
        (of the bulk, without the losses of surfaces and particles), ``collected`` (fraction of the beam inside the
        collection aperture after elastic scattering) and ``density_<edge>`` (atoms per A^2 under the probe).

    Raises
    ------
    SettingsError
        An edge lies outside the energy range, an element has no data, or a setting is outside its limits.
    UnknownNameError
        An edge is unknown.
    """
    shifts, film = _per_point(shifts_ev, scan), _per_point(film_angstrom, scan)
    experiment = _Experiment(sample, beam, scan, detector, model or LossModel(), shifts, film)
    settings: dict[str, Any] = {"engine": engine, "phonons": phonons, "lattice_average": lattice_average, "seed": seed, "tilt_mrad": tilt_mrad}
    settings |= {"window_angstrom": window_angstrom, "progress": progress}
    return _expected(experiment, edges, settings)


def explain_eels(
    sample: Sample,
    beam: Beam,
    scan: Scan,
    detector: EELSDetector,
    *,
    model: LossModel | None = None,
    edges: Sequence[str] | None = None,
    **settings: Any,
) -> DensityPlan:
    """Return the plan of a call of :func:`expected_eels` without computing the spectra.

    ``settings`` are ``phonons``, ``seed``, ``tilt`` and ``average``, as in
    :func:`stemtwin.twin.instrument.spectra.areal_densities.plan_densities`.

    Raises
    ------
    StemtwinError
        Errors of :func:`expected_eels`.
    """
    experiment = _Experiment(sample, beam, scan, detector, model or LossModel(), None, None)
    own = _edges(sample.name, {int(number) for number in np.unique(sample.numbers)}, beam, detector, edges)
    channels = experiment.channels(structure.regions(sample, experiment.model), own)
    return plan_densities(sample, beam, scan, channels, collection_mrad=detector.collection_mrad, **settings)


def _per_point(values: np.ndarray | None, scan: Scan) -> np.ndarray | None:
    """Return an array shaped like a scan as an array (points,)."""
    return None if values is None else np.asarray(values, float).reshape(math.prod(scan.shape))


def _expected(experiment: _Experiment, edges: Sequence[str] | None, settings: dict[str, Any]) -> xr.Dataset:
    """Return the spectra of an experiment with the named edges; ``settings`` are those of `densities`."""
    sample, beam, detector, film = experiment.sample, experiment.beam, experiment.detector, experiment.film
    known = {int(number) for number in np.unique(sample.numbers)}
    found = _edges(sample.name, known if film is None else known | {overlayer.CARBON}, beam, detector, edges)
    own = tuple(edge for edge in found if edge.number in known)
    chosen = own + tuple(edge for edge in found if edge not in own)
    regions = structure.regions(sample, experiment.model)
    channels = experiment.channels(regions, own)
    seen = densities(sample, beam, experiment.scan, channels, collection_mrad=detector.collection_mrad, **settings)
    materials = tuple(material for _, material in regions)
    if film is not None:
        materials = (*materials, FILM)
        seen = _filmed(seen, film, len(regions), chosen, beam, detector)
    spectra, thickness = _spectra(experiment, materials, chosen, seen)
    return _dataset(experiment, chosen, seen, spectra, thickness)


def _filmed(seen: Densities, film: np.ndarray, regions: int, chosen: tuple[Edge, ...], beam: Beam, detector: EELSDetector) -> Densities:
    """Return the densities with the atoms of a film of a height (points,), as one more material and at the edges."""
    shape = seen.values.shape[1:]
    atoms = overlayer.CARBON_DENSITY * film.reshape(shape)
    edges = np.zeros((len(chosen), *shape))
    edges[: len(seen.values) - regions] = seen.values[regions:]
    edges += np.array([edge.number == overlayer.CARBON for edge in chosen], float).reshape(-1, *[1] * len(shape)) * atoms
    beta = detector.collection_mrad * 1e-3

    def disc(ky: np.ndarray, kx: np.ndarray, pixel: tuple[float, float]) -> np.ndarray:
        return disc_coverage(ky, kx, pixel, beta / beam.wavelength_angstrom)[None]

    tilt = beam.beam_tilt_mrad[0] * 1e-3, beam.beam_tilt_mrad[1] * 1e-3
    inside = overlayer.collected_share(disc, beta, beam.energy_ev, beam.semiangle_rad, tilt)
    collected = overlayer.behind_film(np.array(seen.collected, float).reshape(1, -1), film, inside, beam.energy_ev).reshape(shape)
    return replace(seen, values=np.concatenate([seen.values[:regions], atoms[None], edges]), collected=collected)


def _edges(sample: str, numbers: set[int], beam: Beam, detector: EELSDetector, names: Sequence[str] | None) -> tuple[Edge, ...]:
    """Return the edges in the spectrum of a sample of given elements."""
    low, high = detector.energy_range_ev
    if names is not None:
        chosen = tuple(edge_table.edge(name) for name in names)
        for edge in chosen:
            if edge.number not in numbers:
                message = f"The edge {edge.name} belongs to {edge.symbol}, which the sample {sample!r} does not contain. Leave this edge out."
                raise SettingsError(message)
            if not low <= edge.onset < high:
                message = (
                    f"energy_range_ev=({low:g}, {high:g}) does not contain the edge {edge.name} at {edge.onset:g} eV. "
                    f"Use a range from at most {edge.onset - 50:g} to at least {edge.onset + 100:g} eV."
                )
                raise SettingsError(message)
        return chosen
    found = [edge for number in sorted(numbers) for edge in edge_table.edges_of(number)]
    return tuple(edge for edge in found if edge.onset < high and 2 * edge.onset < beam.energy_ev)


@functools.lru_cache(maxsize=16)
def _kinds(
    detector: EELSDetector,
    energy: float,
    convergence: float,
    materials: tuple[Material, ...],
    chosen: tuple[Edge, ...],
    valences: tuple[tuple[str, float], ...],
    exponent: float | None,
    room: float,
) -> _Kinds:
    """Return the cached kinds of loss on an axis that contains the detector's range."""
    step, beta, (low, high) = detector.dispersion_ev, detector.collection_mrad * 1e-3, detector.energy_range_ev
    first = round(low / step)
    axis = lowloss.LossAxis(step, max(high, -low) + MARGIN * detector.width_ev + abs(detector.energy_shift_ev) + room + 2 * step)
    bulk = [lowloss.single_scattering(material, axis.loss, energy, beta, exponent=exponent) for material in materials]
    surface, whole = _slabs(materials, axis.loss, energy, beta, convergence)
    known = dict(valences)
    core = [coreloss.differential(edge, axis.loss, energy, beta, convergence=convergence, valence=known.get(edge.symbol)) for edge in chosen]
    sigma = np.array([values.sum() * step for values in core])
    shape = (0, axis.size // 2 + 1)
    return _Kinds(
        axis=axis,
        first=first,
        detector=detector,
        zero_loss=_zero_loss(axis, first, detector, 0.0),
        bulk=axis.transform(np.array(bulk)) if bulk else np.zeros(shape, complex),
        surface=axis.transform(surface),
        surface_total=whole,
        core=axis.transform(np.array(core) / np.maximum(sigma, 1e-300)[:, None]) if core else np.zeros(shape, complex),
        core_cross_section=sigma,
    )


def _zero_loss(axis: lowloss.LossAxis, first: int, detector: EELSDetector, shift: float) -> np.ndarray:
    """Return the coefficients (K,) of the detector's zero-loss peak with a drift, eV."""
    step, low = detector.dispersion_ev, detector.energy_range_ev[0]
    gains = axis.size - 2 * axis.kept + min(axis.kept, max(-first, math.ceil(MARGIN * detector.width_ev / step)))
    edges = step * (np.arange(-gains, axis.kept + 1) - 0.5) + (low - first * step)
    peak = zeroloss.zero_loss(
        edges,
        detector.width_ev,
        asymmetry=detector.zero_loss_asymmetry,
        lorentz=detector.zero_loss_lorentz,
        shift=detector.energy_shift_ev + shift,
    )
    return axis.zero_loss(peak, -gains)


def _slabs(materials: tuple[Material, ...], loss: np.ndarray, energy: float, beta: float, convergence: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the surface losses, 1/eV, (materials SLABS, n), and their totals (materials SLABS,)."""
    added, whole = np.zeros((len(materials), len(SLABS), len(loss))), np.zeros((len(materials), len(SLABS)))
    for m, material in enumerate(materials):
        if material.sheet:
            continue
        for t, both in enumerate(_both_surfaces(material, energy, beta, convergence)):
            added[m, t] = np.interp(loss, SURFACE_LOSSES, both, left=0.0, right=0.0)
            whole[m, t] = np.trapezoid(both, SURFACE_LOSSES)
    return added.reshape(-1, len(loss)), whole.ravel()


@functools.lru_cache(maxsize=32)
def _both_surfaces(material: Material, energy: float, beta: float, convergence: float) -> tuple[np.ndarray, ...]:
    """Return the cached losses, 1/eV, of both surfaces of ``SLABS`` at ``SURFACE_LOSSES``, scaled like the bulk."""
    path = lowloss.mean_free_path(material.mass_density, energy, beta, convergence)
    scale = 1 / (path * np.trapezoid(lowloss.bulk_rate(material, SURFACE_LOSSES, energy, beta), SURFACE_LOSSES))
    return tuple(scale * lowloss.slab_surfaces(material, SURFACE_LOSSES, energy, beta, float(thickness)) for thickness in SLABS)


def _between(thickness: np.ndarray) -> np.ndarray:
    """Return the weights of ``SLABS``, (..., slabs), that interpolate linearly to thicknesses (A) and are 0 at 0."""
    knots = np.concatenate([[0.0], SLABS])
    at = np.clip(thickness, 0.0, knots[-1])
    right = np.clip(np.searchsorted(knots, at, side="left"), 1, len(SLABS))
    share = (at - knots[right - 1]) / (knots[right] - knots[right - 1])
    out = np.zeros((*at.shape, len(knots)))
    np.put_along_axis(out, right[..., None], share[..., None], -1)
    np.put_along_axis(out, right[..., None] - 1, 1 - share[..., None], -1)
    return out[..., 1:]


def _spectra(
    experiment: _Experiment,
    materials: tuple[Material, ...],
    chosen: tuple[Edge, ...],
    seen: Densities,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the spectra (points, channels) and t / lambda (points,)."""
    _, beam, scan, detector, model, shifts, _ = experiment
    room = 0.0 if shifts is None else DRIFT_ROOM * math.ceil(np.abs(shifts).max(initial=0.0) / DRIFT_ROOM)
    kinds = _kinds(detector, beam.energy_ev, beam.semiangle_rad, materials, chosen, model.valences, model.background_exponent, room)
    values = np.maximum(seen.values.reshape(len(seen.values), math.prod(scan.shape)).T, 0)
    atoms, core = values[:, : len(materials)], values[:, len(materials) :] * kinds.core_cross_section
    path = [lowloss.mean_free_path(m.mass_density, beam.energy_ev, detector.collection_mrad * 1e-3, beam.semiangle_rad) for m in materials]
    thickness = atoms / np.array([m.density * each for m, each in zip(materials, path, strict=True)])
    islands = structure.islands(experiment.sample, model) if model.particles == "auto" else model.particles
    own_plasmons = {each.material for each in islands} | {FILM.name}
    bare = np.array([model.surfaces and m.name not in own_plasmons for m in materials], bool)
    slabs = _between(atoms / np.array([m.density for m in materials])) * bare[:, None]
    # the mean free path includes the core losses
    share = np.maximum(1 - core.sum(axis=1) / np.maximum(thickness.sum(axis=1), 1e-300), 0)
    amounts = np.concatenate([thickness * share[:, None], slabs.reshape(len(atoms), -1), core], axis=1)
    losses = np.concatenate([kinds.bulk, kinds.surface, kinds.core])
    totals = np.concatenate([np.ones(len(kinds.bulk)), kinds.surface_total, np.ones(len(kinds.core))])
    used = amounts.any(axis=0)
    amounts, losses, totals = amounts[:, used], losses[used], totals[used]
    weights = eels_camera.point_spread(detector.point_spread_channels, detector.point_spread_tail)
    index = (kinds.first + np.arange(detector.channels)) % kinds.axis.size
    collected, points = seen.collected.reshape(-1), scan.positions().reshape(-1, 2)
    modes = _modes(experiment, islands, kinds.axis)
    out = np.empty((len(points), detector.channels), np.float32)
    for start in range(0, len(points), TOGETHER):
        some = slice(start, start + TOGETHER)
        peaks = kinds.zero_loss if shifts is None else kinds.drifted(shifts[some])
        coefficients = lowloss.plural(peaks, losses, amounts[some], totals)
        if modes is not None:
            density = modes(points[some])
            coefficients = coefficients * np.exp(kinds.axis.transform(density) - density.sum(axis=1)[:, None] * kinds.axis.dispersion)
        spectra = kinds.axis.back(coefficients)[:, index]
        out[some] = np.maximum(eels_camera.spread(spectra, weights), 0) * collected[some, None]
    return out, thickness.sum(axis=1)


def _modes(
    experiment: _Experiment,
    particles: tuple[Particle, ...],
    axis: lowloss.LossAxis,
) -> Callable[[np.ndarray], np.ndarray] | None:
    """Return the plasmon losses (n, kept), 1/eV, of particles and flake edges as a function of points (n, 2), A."""
    sample, beam, model = experiment.sample, experiment.beam, experiment.model
    if not particles and model.flake is None:
        return None
    box = np.array([sample.size_angstrom[1], sample.size_angstrom[0]])

    def density(points: np.ndarray) -> np.ndarray:
        """Return the loss probabilities, 1/eV, (n, kept) at points (x, y), A, (n, 2)."""
        out = np.zeros((len(points), axis.kept))
        for particle in particles:
            away = points - np.array(particle.centre_angstrom)
            if sample.periodic:
                away = away - box * np.round(away / box)
            material = structure.named(particle.material)
            out += plasmons.sphere_dipole(axis.loss, np.hypot(*away.T), particle.radius_angstrom, material, beam.energy_ev)
        if model.flake is not None:
            distance, sharpness = plasmons.rim_weights(points, sample.positions_angstrom[:, :2])
            out += plasmons.flake_spectrum(axis.loss, distance, sharpness, model.flake)
        return out

    return density


def _dataset(
    experiment: _Experiment,
    chosen: tuple[Edge, ...],
    seen: Densities,
    spectra: np.ndarray,
    thickness: np.ndarray,
) -> xr.Dataset:
    sample, beam, scan, detector, model, _, _ = experiment
    dims, shape = scan.dims, scan.shape
    variables: dict[str, Any] = {
        "eels": ((*dims, "energy_ev"), spectra.reshape(*shape, -1), {"units": "1", "long_name": "fraction of the incident beam per channel"}),
        "t_over_lambda": (dims, thickness.reshape(shape), {"units": "1", "long_name": "thickness in inelastic mean free paths"}),
        "collected": (dims, np.array(seen.collected), {"units": "1", "long_name": "part of the beam inside the collection aperture"}),
    }
    for edge, values in zip(chosen, seen.values[len(seen.values) - len(chosen) :], strict=True):
        variables[f"density_{edge.name}"] = (dims, values, {"units": "1/angstrom^2", "long_name": f"{edge.symbol} atoms that the probe sees"})
    settings: dict[str, Any] = {"beam": serialisation.beam_to_dict(beam), "detector": asdict(detector), "edges": [edge.name for edge in chosen]}
    settings["model"] = {**asdict(model), "materials": [[list(symbols), structure.named(material).name] for symbols, material in model.materials]}
    return xr.Dataset(
        variables,
        {**results.coordinates(scan), "energy_ev": ("energy_ev", detector.energies(), {"units": "eV", "long_name": "energy loss"})},
        describe(sample, beam, seen, settings, "simulated energy-loss spectra") | {"collection_mrad": detector.collection_mrad},
    )


def describe(sample: Sample, beam: Beam, seen: Densities, settings: dict, title: str) -> dict:
    """Return the attributes of a spectrum, all of which are strings or numbers."""
    from stemtwin import __version__  # the front door knows the version

    return {
        "title": title,
        "stemtwin_version": __version__,
        "sample": sample.name,
        "engine": seen.engine,
        "engine_error": seen.exactness,
        "energy_ev": beam.energy_ev,
        "semiangle_mrad": beam.semiangle_mrad,
        "stemtwin_settings": json.dumps(settings),
    }


def read_out(expected: np.ndarray, electrons: float, detector: EELSDetector, rng: np.random.Generator) -> np.ndarray:
    """Return randomly drawn camera counts, float64, shape (..., channels), for expected spectra and electrons per point."""
    return eels_camera.read_out(np.asarray(expected, float) * electrons, detector.gain, detector.read_noise, rng)
