"""Expected X-ray spectra of a sample, from the same atoms and probe as its images, and quantification of spectra."""

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
"""Collection angle in the delocalisation of X-ray emission, which accepts electrons of all scattering angles, rad."""
REWEIGHTED = 6
"""Number of fits of the lines, each weighted by the spectrum of the fit before."""
TOGETHER = 512
"""Number of spectra that are computed together."""
ESCAPES = 12
"""Number of iterations in which areal densities and the absorption that they cause are computed in turn."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lines:
    """X-ray lines of one element and shell in the energy range of a detector.

    Parameters
    ----------
    number : int
        Atomic number.
    shell : str
        ``"K"``, ``"L"`` or ``"M"``.
    ionisation : float
        Lowest ionisation energy of the shell, eV.
    energies : ndarray
        Energy of each line, eV, shape (n,).
    counts : ndarray
        Counted photons of each line, per incident electron and per areal density of 1 atom/A^2, without absorption in
        the specimen, A^2, shape (n,).
    shapes : ndarray
        Fraction of each line's photons that is counted in each channel, shape (n, channels).
    """

    number: int
    shell: str
    ionisation: float
    energies: np.ndarray
    counts: np.ndarray
    shapes: np.ndarray

    @property
    def name(self) -> str:
        """Name of the element and shell, such as ``Ti_K``."""
        return f"{SYMBOLS[self.number]}_{self.shell}"

    @property
    def sensitivity(self) -> float:
        """Counted photons of all lines, per incident electron and per areal density of 1 atom/A^2, A^2."""
        return float(self.counts.sum())


def efficiency(detector: EDXDetector, energy: np.ndarray) -> np.ndarray:
    """Return the fraction of all emitted photons that a detector counts, at photon energies in eV.

    The fraction is the solid angle divided by 4 pi, times the detection efficiency.
    """
    dead = xray_data.silicon_depth(energy, detector.dead_layer_angstrom)
    active = xray_data.silicon_depth(energy, detector.active_um * 1e4)
    return detector.solid_angle_sr / (4 * math.pi) * xrays.efficiency([dead], active)


@functools.lru_cache(maxsize=256)
def lines_of(number: int, beam_energy: float, detector: EDXDetector) -> tuple[Lines, ...]:
    """Return the X-ray lines of an element in a detector's energy range, one `Lines` value per shell. Results are cached.

    Raises
    ------
    SettingsError
        X-ray data of the element are not available.
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
    """Return the expected X-ray spectrum at each point of a scan, in counted photons per incident electron and channel.

    Parameters
    ----------
    sample : Sample
        The specimen.
    beam, scan : Beam, Scan
        The beam, and the points that it visits.
    detector : EDXDetector
        The detector.
    engine, phonons, lattice_average, seed, tilt_mrad, window_angstrom, progress
        Settings of :func:`stemtwin.twin.instrument.spectra.areal_densities.densities`.
    film_angstrom : ndarray, optional
        Thickness of a carbon film on the specimen at each point, A, shaped like the scan. The film emits and absorbs X-rays like the specimen.

    Returns
    -------
    xarray.Dataset
        Variable ``edx``, without noise, float32, with the dims of the scan and energy_ev; and the variables
        ``density_<element>_<shell>``, atoms per A^2 under the probe.

    Raises
    ------
    SettingsError
        An element has no data, or a setting is outside its limits.
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
    """Return the plan of a call of :func:`expected_edx` without computing the spectra.

    ``settings`` are ``phonons``, ``seed``, ``tilt`` and ``average``, as in
    :func:`stemtwin.twin.instrument.spectra.areal_densities.plan_densities`.

    Raises
    ------
    StemtwinError
        Errors of :func:`expected_edx`.
    """
    return plan_densities(sample, beam, scan, _lines_and_channels(sample, beam, detector)[1], **settings)


def _lines_and_channels(sample: Sample, beam: Beam, detector: EDXDetector) -> tuple[list[Lines], list[LossChannel]]:
    """Return a sample's lines in a detector's energy range, and loss channels: first those of the lines, then elements without lines."""
    numbers = [int(number) for number in np.unique(sample.numbers)]
    groups = [group for number in numbers for group in lines_of(number, beam.energy_ev, detector)]
    dark = [number for number in numbers if all(group.number != number for group in groups)]  # bremsstrahlung only
    channels = []
    for group in groups:
        d50 = coreloss.delocalisation(group.ionisation, beam.energy_ev, ALL_ANGLES)
        channels.append(LossChannel(name=group.name, numbers=(group.number,), d50=d50))
    return groups, channels + [LossChannel(name=SYMBOLS[number], numbers=(number,), d50=1.0) for number in dark]


def _variables(scan: Scan, spectra: np.ndarray, channels: list[LossChannel], seen: Densities) -> dict[str, Any]:
    """Return the variables of a Dataset: the spectra (points, channels) and the areal density of each loss channel."""
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
    """Return lines, channels and densities with the atoms of a carbon film of given thickness, A, shaped like the scan."""
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
    """Return the spectra (points, channels) of the areal densities under the probe, (points, kinds)."""
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
    """Return the fraction of the photons that leaves the specimen, (points, energies)."""
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
    """Return the detected background of each element per atom per A^2, (elements, channels)."""
    energies = detector.energies()
    seen = efficiency(detector, np.maximum(energies, 100.0)) * (energies >= 50.0)
    return np.array(
        [xrays.blurred(detector.edges(), xrays.bremsstrahlung(number, energies, beam_energy) * seen, detector.resolution_ev) for number in numbers]
    )


# ---- compositions --------------------------------------------------------------------------------------------------------------------------


def fit_lines(counts: np.ndarray, symbols: Sequence[str], beam: Beam, detector: EDXDetector) -> dict[str, float]:
    """Return the counts that the lines of each element and shell contribute to a spectrum.

    Parameters
    ----------
    counts : ndarray
        A spectrum, shape (channels,).
    symbols : sequence of str
        Elements in the spectrum.
    beam : Beam
        The beam, whose energy determines the ratios of the lines of one shell.
    detector : EDXDetector
        Detector of the spectrum, which determines energies, resolution and efficiency.

    Returns
    -------
    dict
        Counts by name, such as ``"Ti_K"``, from a non-negative least-squares fit of all lines and of the
        bremsstrahlung, weighted by the expected counts.

    Raises
    ------
    SettingsError
        The spectrum does not match the detector, or a name is not an element.
    """
    counts = np.asarray(counts, float)
    if counts.shape != (detector.channels,):
        message = f"A spectrum of shape {counts.shape} does not fit the detector's {detector.channels} channels. Give one spectrum."
        raise SettingsError(message)
    if unknown := [symbol for symbol in symbols if symbol not in NUMBERS]:
        message = f"Unknown elements: {', '.join(unknown)}. Give symbols as in ('Sr', 'Ti', 'O')."
        raise SettingsError(message)
    groups = [group for symbol in symbols for group in lines_of(NUMBERS[symbol], beam.energy_ev, detector)]
    shapes = [group.counts @ group.shapes / group.sensitivity for group in groups]
    background = _bremsstrahlung(tuple(sorted(NUMBERS[symbol] for symbol in symbols)), beam.energy_ev, detector).sum(axis=0)
    basis = np.array([*shapes, background / max(background.sum(), 1e-300)]).T
    likely = np.full(len(counts), max(counts.mean(), 1e-300))
    amounts = np.zeros(basis.shape[1])
    for _ in range(REWEIGHTED):  # weights by expected counts; weights by measured ones would bias the fit low
        weight = 1 / np.sqrt(np.maximum(likely, likely.max() * 1e-6))
        amounts, _ = nnls(basis * weight[:, None], counts * weight)
        likely = basis @ amounts
    return {group.name: float(amount) for group, amount in zip(groups, amounts, strict=False)}


def quantify(counts: np.ndarray, lines: Sequence[str], beam: Beam, detector: EDXDetector, *, electrons: float | None = None) -> dict[str, float]:
    """Return atomic fractions from a spectrum by the method of Cliff and Lorimer.

    Parameters
    ----------
    counts : ndarray
        A spectrum, shape (channels,).
    lines : sequence of str
        One group of lines for each element in the spectrum, such as ``("Sr_L", "Ti_K", "O_K")``.
    beam : Beam
        Beam of the spectrum.
    detector : EDXDetector
        Detector of the spectrum.
    electrons : float, optional
        Number of incident electrons for the whole spectrum. It is used to convert counts to areal densities, from which
        the absorption of X-rays in the specimen is computed and corrected (zeta factors: M. Watanabe, D. B. Williams,
        J. Microsc. 221 (2006) 89).
        Without ``electrons``, or if the detector's ``absorption`` is False, absorption is not corrected.

    Returns
    -------
    dict
        Atomic fraction by element.

    Raises
    ------
    SettingsError
        A group of lines is outside the detector's energy range, the spectrum has no counts, or ``electrons`` is not positive.
    """
    symbols = [line.partition("_")[0] for line in lines]
    found = fit_lines(counts, symbols, beam, detector)
    groups = {group.name: group for symbol in symbols for group in lines_of(NUMBERS[symbol], beam.energy_ev, detector)}
    if missing := [line for line in lines if line not in groups]:
        message = f"The lines {', '.join(missing)} lie outside the energy range of the detector. Use lines among {', '.join(groups)}."
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
    """Return the fraction of each element's photons that left the specimen, for the densities that the counts give."""
    escaping = np.ones(len(groups))
    for _ in range(ESCAPES):
        atoms = np.array(counts) / (electrons * np.array([group.sensitivity for group in groups]) * escaping)
        areal = {group.number: np.array([density]) for group, density in zip(groups, atoms, strict=True)}
        escaping = np.array([(_escaping(areal, group.energies, detector)[0] * group.counts).sum() / group.sensitivity for group in groups])
    return [float(part) for part in escaping]
