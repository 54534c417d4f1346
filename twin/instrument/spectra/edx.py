"""Expected X-ray spectra of a sample, from the same atoms and the same probe as its images; and compositions from spectra."""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from scipy.optimize import nnls

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.scan import Scan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import results, serialisation
from stemtwin.twin.instrument.spectra import xray_data
from stemtwin.twin.instrument.spectra.areal_densities import Densities, DensityPlan, LossChannel, densities, plan_densities
from stemtwin.twin.instrument.spectra.eels import describe
from stemtwin.twin.instrument.spectra.spectrometer_settings import EDXDetector
from stemtwin.twin.physics import overlayer
from stemtwin.twin.physics.scattering_factors import SYMBOLS
from stemtwin.twin.physics.spectra import coreloss, xrays
from stemtwin.twin.physics.spectra.atomic_masses import MASSES, NUMBERS
from stemtwin.twin.samples.sample import Sample

ALL_ANGLES = 0.2
"""X-rays are emitted wherever the fast electron goes: the collection angle of their delocalisation, rad."""
REWEIGHTED = 6
"""Times that a fit of lines is weighed anew by the spectrum that it found."""
TOGETHER = 512
"""Spectra put together at once."""
ESCAPES = 12
"""Times that a specimen's absorption is found anew from its densities."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lines:
    """Lines of one element and shell that a detector sees.

    Parameters
    ----------
    number : int
        Atomic number.
    shell : str
        ``"K"``, ``"L"`` or ``"M"``.
    ionisation : float
        Lowest ionisation energy of the shell, eV.
    energies : ndarray
        Of each line, eV, shape (n,).
    counts : ndarray
        Photons counted per incident electron and atom per A^2, without absorption in the specimen, A^2, shape (n,).
    shapes : ndarray
        The part of a line in each channel, shape (n, channels).
    """

    number: int
    shell: str
    ionisation: float
    energies: np.ndarray
    counts: np.ndarray
    shapes: np.ndarray

    @property
    def name(self) -> str:
        """Name as in ``Ti_K``."""
        return f"{SYMBOLS[self.number]}_{self.shell}"

    @property
    def sensitivity(self) -> float:
        """Photons counted per incident electron and atom per A^2, all lines, A^2."""
        return float(self.counts.sum())


def efficiency(detector: EDXDetector, energy: np.ndarray) -> np.ndarray:
    """Return the part of all photons, emitted in any direction, that a detector counts: solid angle times efficiency."""
    dead = xray_data.silicon_depth(energy, detector.dead_layer_angstrom)
    active = xray_data.silicon_depth(energy, detector.active_um * 1e4)
    return detector.solid_angle_sr / (4 * math.pi) * xrays.efficiency([dead], active)


@functools.lru_cache(maxsize=256)
def lines_of(number: int, beam_energy: float, detector: EDXDetector) -> tuple[Lines, ...]:
    """Return the lines of an element on a detector, shell by shell; remembered.

    Raises
    ------
    SettingsError
        There are no X-ray data of the element.
    """
    low, high = detector.energy_range_ev
    shells = xray_data.shells(number)
    by_shell: dict[str, list[tuple[float, float]]] = {}
    for name, line, sigma in xrays.emissions(shells, beam_energy):
        if low <= line.energy < high and sigma > 0:
            by_shell.setdefault(name[0], []).append((line.energy, sigma))
    out = []
    for shell, found in by_shell.items():
        energies, sigma = (np.array(values) for values in zip(*found, strict=True))
        widths = xrays.resolution(energies, detector.resolution_ev)
        shapes = np.array([xrays.line_in_bins(detector.edges(), e, w) for e, w in zip(energies, widths, strict=True)])
        lowest = min(each.energy for each in shells if each.name[0] == shell)
        out.append(
            Lines(number=number, shell=shell, ionisation=lowest, energies=energies, counts=sigma * efficiency(detector, energies), shapes=shapes)
        )
    return tuple(out)


def expected_edx(
    sample: Sample,
    beam: Beam,
    scan: Scan,
    detector: EDXDetector,
    *,
    engine: str = "auto",
    phonons: int | str = "auto",
    lattice_average: bool | str = "auto",
    seed: int = 0,
    tilt_mrad: tuple[float, float] = (0.0, 0.0),
    window_angstrom: float = 0.0,
    film_angstrom: np.ndarray | None = None,
    progress: Callable[[int], None] | None = None,
) -> xr.Dataset:
    """Return the expected X-ray spectrum at each point of a scan: photons counted per incident electron and channel, without noise.

    Parameters
    ----------
    sample : Sample
        The specimen.
    beam : Beam
        The beam.
    scan : Scan
        Where it goes.
    detector : EDXDetector
        The detector.
    engine, phonons, lattice_average, seed, tilt_mrad, window_angstrom, progress
        See :func:`stemtwin.twin.instrument.spectra.areal_densities.densities`.
    film_angstrom : ndarray, optional
        Height of a film of carbon on the specimen at each point, A, shaped like the scan: it emits and absorbs X-rays with the specimen.

    Returns
    -------
    xarray.Dataset
        ``edx``, float32, dims (*scan's, energy_ev), and ``density_<element>_<shell>``, atoms per A^2 seen by the probe.

    Raises
    ------
    SettingsError
        An element has no data, or a setting makes no sense.
    """
    groups, channels = _lines_and_channels(sample, beam, detector)
    settled: dict[str, Any] = {"lattice_average": lattice_average, "tilt_mrad": tilt_mrad, "window_angstrom": window_angstrom, "progress": progress}
    seen = densities(sample, beam, scan, channels, engine=engine, phonons=phonons, seed=seed, **settled)
    if film_angstrom is not None:
        groups, channels, seen = _filmed(groups, channels, seen, np.asarray(film_angstrom, float).reshape(scan.shape), beam, detector)
    values = np.maximum(seen.values.reshape(len(channels), math.prod(scan.shape)).T, 0)
    spectra = np.empty((len(values), detector.channels), np.float32)
    for start in range(0, len(values), TOGETHER):
        some = slice(start, start + TOGETHER)
        spectra[some] = _spectra(values[some], groups, [channel.numbers[0] for channel in channels], beam, detector)
    variables = _variables(scan, spectra, channels, seen)
    energies = ("energy_ev", detector.energies(), {"units": "eV", "long_name": "photon energy"})
    settings = {"beam": serialisation.beam_to_dict(beam), "detector": asdict(detector)}
    return xr.Dataset(
        variables,
        {**results.coordinates(scan), "energy_ev": energies},
        describe(sample, beam, seen, settings, "simulated X-ray spectra"),
    )


def explain_edx(sample: Sample, beam: Beam, scan: Scan, detector: EDXDetector, **settings: Any) -> DensityPlan:
    """Return the plan of :func:`expected_edx`, before any work; ``settings`` are phonons and seed.

    Raises
    ------
    StemtwinError
        As of :func:`expected_edx`.
    """
    return plan_densities(sample, beam, scan, _lines_and_channels(sample, beam, detector)[1], **settings)


def _lines_and_channels(sample: Sample, beam: Beam, detector: EDXDetector) -> tuple[list[Lines], list[LossChannel]]:
    """Return the lines of a sample that a detector sees and their channels, then those of elements without lines."""
    numbers = [int(number) for number in np.unique(sample.numbers)]
    groups = [group for number in numbers for group in lines_of(number, beam.energy_ev, detector)]
    dark = [number for number in numbers if all(group.number != number for group in groups)]  # bremsstrahlung alone
    channels = []
    for group in groups:
        d50 = coreloss.delocalisation(group.ionisation, beam.energy_ev, ALL_ANGLES)
        channels.append(LossChannel(name=group.name, numbers=(group.number,), d50=d50))
    return groups, channels + [LossChannel(name=SYMBOLS[number], numbers=(number,), d50=1.0) for number in dark]


def _variables(scan: Scan, spectra: np.ndarray, channels: list[LossChannel], seen: Densities) -> dict[str, Any]:
    """Return the variables of a Dataset: spectra (points, channels) and what the probe sees of each kind of loss."""
    variables: dict[str, Any] = {
        "edx": (
            (*scan.dims, "energy_ev"),
            spectra.reshape(*scan.shape, -1),
            {"units": "1", "long_name": "photons counted per incident electron and channel"},
        )
    }
    for channel, density in zip(channels, seen.values, strict=True):
        variables[f"density_{channel.name}"] = (scan.dims, density, {"units": "1/angstrom^2", "long_name": "atoms that the probe sees"})
    return variables


def _filmed(
    groups: list[Lines], channels: list[LossChannel], seen: Densities, film: np.ndarray, beam: Beam, detector: EDXDetector
) -> tuple[list[Lines], list[LossChannel], Densities]:
    """Return lines, channels and what the probe sees with the atoms of a film of carbon so high, A, shaped like the scan."""
    carbon, values = overlayer.CARBON, seen.values
    if all(channel.numbers != (carbon,) for channel in channels):
        new = list(lines_of(carbon, beam.energy_ev, detector))
        at = len(groups) if new else len(channels)  # elements without lines come last
        names = [group.name for group in new] or [SYMBOLS[carbon]]
        groups = groups + new
        channels = channels[:at] + [LossChannel(name=name, numbers=(carbon,), d50=1.0) for name in names] + channels[at:]
        values = np.insert(values, [at] * len(names), 0.0, axis=0)
    atoms = np.array([channel.numbers == (carbon,) for channel in channels], float).reshape(-1, *[1] * film.ndim) * overlayer.CARBON_DENSITY * film
    return groups, channels, replace(seen, values=values + atoms)


def _spectra(values: np.ndarray, groups: Sequence[Lines], numbers: list[int], beam: Beam, detector: EDXDetector) -> np.ndarray:
    """Return spectra (points, channels) from the densities that the probe sees, (points, kinds)."""
    areal = {number: values[:, numbers.index(number)] for number in set(numbers)}
    out = np.zeros((len(values), detector.channels))
    for density, group in zip(values.T, groups, strict=False):
        out += (density[:, None] * group.counts * _escaping(areal, group.energies, detector)) @ group.shapes
    if detector.bremsstrahlung:
        energies = detector.energies()
        base = _bremsstrahlung(tuple(sorted(areal)), beam.energy_ev, detector)
        smooth = sum(areal[number][:, None] * each for number, each in zip(sorted(areal), base, strict=True))
        out += smooth * _escaping(areal, np.maximum(energies, 100.0), detector)
    return out


def _escaping(areal: dict[int, np.ndarray], energies: np.ndarray, detector: EDXDetector) -> np.ndarray:
    """Return the part of the photons that leaves the specimen, (points, energies)."""
    if not detector.absorption or not areal:  # nothing absorbs in vacuum
        return np.ones((1, len(energies)))
    sigma = _absorbing(tuple(sorted(areal)), energies.tobytes())
    depth = np.stack([areal[number] for number in sorted(areal)], axis=1) @ sigma
    return xrays.absorption(depth / math.sin(math.radians(detector.take_off_deg)))


@functools.lru_cache(maxsize=64)
def _absorbing(numbers: tuple[int, ...], energies: bytes) -> np.ndarray:
    at = np.frombuffer(energies)
    return np.array([xray_data.absorption_cross_section(number, at) for number in numbers])


@functools.lru_cache(maxsize=16)
def _bremsstrahlung(numbers: tuple[int, ...], beam_energy: float, detector: EDXDetector) -> np.ndarray:
    """Return the background of each element per atom per A^2, after the detector, (elements, channels)."""
    energies = detector.energies()
    seen = efficiency(detector, np.maximum(energies, 100.0)) * (energies >= 50.0)
    return np.array(
        [xrays.blurred(detector.edges(), xrays.bremsstrahlung(number, energies, beam_energy) * seen, detector.resolution_ev) for number in numbers]
    )


# ---- compositions --------------------------------------------------------------------------------------------------------------------------


def fit_lines(counts: np.ndarray, symbols: Sequence[str], beam: Beam, detector: EDXDetector) -> dict[str, float]:
    """Return the number of counts of a spectrum that belong to the lines of each element and shell.

    Parameters
    ----------
    counts : ndarray
        A spectrum, shape (channels,).
    symbols : sequence of str
        Elements that are in it.
    beam : Beam
        Its energy decides how strong the lines of one shell are among each other.
    detector : EDXDetector
        Energies, resolution, efficiency.

    Returns
    -------
    dict
        Counts by name, ``"Ti_K"``: by non-negative least squares of all lines and of the bremsstrahlung, weighed by the counts expected.

    Raises
    ------
    SettingsError
        The spectrum does not fit the detector, or a name is no element.
    """
    counts = np.asarray(counts, float)
    if counts.shape != (detector.channels,):
        message = f"A spectrum of shape {counts.shape} does not fit the detector's {detector.channels} channels. Give one spectrum."
        raise SettingsError(message)
    if unknown := [symbol for symbol in symbols if symbol not in NUMBERS]:
        message = f"{', '.join(unknown)} is no element. Give symbols as in ('Sr', 'Ti', 'O')."
        raise SettingsError(message)
    groups = [group for symbol in symbols for group in lines_of(NUMBERS[symbol], beam.energy_ev, detector)]
    shapes = [group.counts @ group.shapes / group.sensitivity for group in groups]
    background = _bremsstrahlung(tuple(sorted(NUMBERS[symbol] for symbol in symbols)), beam.energy_ev, detector).sum(axis=0)
    basis = np.array([*shapes, background / max(background.sum(), 1e-300)]).T
    likely = np.full(len(counts), max(counts.mean(), 1e-300))
    amounts = np.zeros(basis.shape[1])
    for _ in range(REWEIGHTED):  # weighed by what is expected, not by what was counted: few counts would pull the fit down
        weight = 1 / np.sqrt(np.maximum(likely, likely.max() * 1e-6))
        amounts, _ = nnls(basis * weight[:, None], counts * weight)
        likely = basis @ amounts
    return {group.name: float(amount) for group, amount in zip(groups, amounts, strict=False)}


def quantify(counts: np.ndarray, lines: Sequence[str], beam: Beam, detector: EDXDetector, *, electrons: float | None = None) -> dict[str, float]:
    """Return atomic fractions from a spectrum by Cliff and Lorimer.

    Parameters
    ----------
    counts : ndarray
        A spectrum, shape (channels,).
    lines : sequence of str
        The lines that stand for each element: ``("Sr_L", "Ti_K", "O_K")``; all elements that are in the spectrum.
    beam : Beam
        Of the spectrum.
    detector : EDXDetector
        Of the spectrum.
    electrons : float, optional
        Incident electrons of the whole spectrum. With them counts are atoms per A^2, hence what the specimen absorbs, which is added back (the zeta
        factors of M. Watanabe, D. B. Williams, J. Microsc. 221 (2006) 89). Without them, or where the detector's ``absorption`` is off, nothing is.

    Returns
    -------
    dict
        Atomic fraction by element.

    Raises
    ------
    SettingsError
        The detector sees no such lines, there are no counts, or ``electrons`` is not positive.
    """
    symbols = [line.partition("_")[0] for line in lines]
    found = fit_lines(counts, symbols, beam, detector)
    groups = {group.name: group for symbol in symbols for group in lines_of(NUMBERS[symbol], beam.energy_ev, detector)}
    if missing := [line for line in lines if line not in groups]:
        message = f"The detector sees no lines named {', '.join(missing)}. It sees {', '.join(groups)}."
        raise SettingsError(message)
    if electrons is not None:
        escaping = _escaped(
            [groups[line] for line in lines], [found[line] for line in lines], checks.number("electrons", electrons, "", above=0), detector
        )
        found |= {line: found[line] / part for line, part in zip(lines, escaping, strict=True)}
    masses = {symbol: MASSES[NUMBERS[symbol]] for symbol in symbols}
    sensitivities = {symbol: groups[line].sensitivity for symbol, line in zip(symbols, lines, strict=True)}
    factors = xrays.k_factors(sensitivities, masses, symbols[0])
    return xrays.cliff_lorimer({symbol: found[line] for symbol, line in zip(symbols, lines, strict=True)}, factors, masses)


def _escaped(groups: Sequence[Lines], counts: Sequence[float], electrons: float, detector: EDXDetector) -> list[float]:
    """Return the part of each element's photons that left the specimen, from what all elements absorb at the densities that the counts tell."""
    escaping = np.ones(len(groups))
    for _ in range(ESCAPES):
        atoms = np.array(counts) / (electrons * np.array([group.sensitivity for group in groups]) * escaping)
        areal = {group.number: np.array([density]) for group, density in zip(groups, atoms, strict=True)}
        escaping = np.array([(_escaping(areal, group.energies, detector)[0] * group.counts).sum() / group.sensitivity for group in groups])
    return [float(part) for part in escaping]
