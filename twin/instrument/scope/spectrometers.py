"""Spectra beside images: energy losses and X-rays of one acquisition, along its true path, with its true beam, electrons and clock."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import psutil

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.scan import PathScan, Scan
from stemtwin.twin.instrument.scope import contamination_film
from stemtwin.twin.instrument.scope.scan_pass import ScanPass
from stemtwin.twin.instrument.scope.setup import Setup
from stemtwin.twin.instrument.scope.state import ScopeState
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import memory
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.instrument.spectra import edx as xray_floor
from stemtwin.twin.instrument.spectra import eels as loss_floor
from stemtwin.twin.instrument.spectra import materials, xray_data
from stemtwin.twin.instrument.spectra.areal_densities import DENSITY_ENGINES
from stemtwin.twin.instrument.spectra.spectrometer_settings import EDXDetector, EELSDetector, LossModel
from stemtwin.twin.physics.spectra import eels_camera
from stemtwin.twin.physics.spectra import ionisation_edges as edge_table
from stemtwin.twin.progress import Progress
from stemtwin.twin.samples.sample import Sample

Spectral = EELSDetector | EDXDetector
NAMES = ("eels", "edx")
"""Detectors of spectra by name: with usual settings."""
DIMENSIONS = {"eels": "energy_loss_ev", "edx": "photon_energy_ev"}
"""Names of the energy axes in results."""
USUAL_RANGE_EV, USUAL_DISPERSION_EV, USUAL_COLLECTION = (-24.0, 1000.0), 0.5, 1.5
"""Of ``"eels"``: energy losses, width of a channel, and collection angle over convergence at the usual camera length."""
LEAST_WIDTH_EV = 1e-3
"""Width of the zero-loss peak of a source of one energy, eV."""
LONGEST_DWELL_US = 1e8
"""Longest time at one point where spectra alone are taken, us."""
TOGETHER = 1024
"""Spectra counted at once."""
MOST_COUNTS = 2**32 - 1
"""What one channel holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spectrometers:
    """What takes spectra in one acquisition.

    Parameters
    ----------
    eels : EELSDetector, optional
        The spectrometer, with the width of the source's zero-loss peak.
    edx : EDXDetector, optional
        The X-ray detector.
    model : LossModel
        What the specimen's losses are made of.
    engine : str
        See ``spectra.densities``.
    window_angstrom : float
        Room for the probe, A.
    """

    eels: EELSDetector | None
    edx: EDXDetector | None
    model: LossModel
    engine: str
    window_angstrom: float = 0.0

    def named(self) -> dict[str, Spectral]:
        """Return the detectors by their names in the result."""
        return {name: detector for name, detector in (("eels", self.eels), ("edx", self.edx)) if detector is not None}


def split(setup: Setup, state: ScopeState, detectors: Any) -> tuple[Spectrometers | None, Any]:
    """Return what takes spectra, if anything does, and the other detectors (as given, where nothing does).

    Raises
    ------
    SettingsError
        Two detectors would take the same kind of spectrum, or the zero-loss peak asked for is narrower than the source's.
    """
    several = isinstance(detectors, Sequence) and not isinstance(detectors, str)
    given = tuple(detectors) if several else (detectors,)
    spectral = tuple(d for d in given if isinstance(d, Spectral) or (isinstance(d, str) and d in NAMES))
    if not spectral:
        return None, given if several else detectors
    wide = state.knobs.semiangle_mrad * setup.profile.camera_length_mm / state.knobs.camera_length_mm  # the entrance's radius is fixed
    made = [_usual(d, wide) if isinstance(d, str) else d for d in spectral]
    losses = [d for d in made if isinstance(d, EELSDetector)]
    xrays = [d for d in made if isinstance(d, EDXDetector)]
    for name, found in (("EELS", losses), ("EDX", xrays)):
        if len(found) > 1:
            message = f"{len(found)} {name} detectors are asked for, and the instrument has one. Take them one after the other."
            raise SettingsError(message)
    taken = Spectrometers(
        eels=_with_width(losses[0], setup) if losses else None,
        edx=xrays[0] if xrays else None,
        model=setup.losses or LossModel(),
        engine=setup.engine if setup.engine in DENSITY_ENGINES else "auto",  # chosen by the work where spectra do not have the images' engine
    )
    return taken, tuple(d for d in given if d not in spectral)


def _usual(name: str, semiangle: float) -> Spectral:
    if name == "edx":
        return EDXDetector()
    return EELSDetector(energy_range_ev=USUAL_RANGE_EV, dispersion_ev=USUAL_DISPERSION_EV, collection_mrad=USUAL_COLLECTION * semiangle)


def _with_width(detector: EELSDetector, setup: Setup) -> EELSDetector:
    """Return the spectrometer with the source's energy width, where none is given; a wider peak has a spectrometer that blurs."""
    width = max(setup.profile.energy_width_ev, LEAST_WIDTH_EV)
    if detector.zero_loss_fwhm_ev is None:
        return replace(detector, zero_loss_fwhm_ev=width)
    if detector.zero_loss_fwhm_ev < width:
        message = (
            f"zero_loss_fwhm_ev={detector.zero_loss_fwhm_ev:g} is narrower than the beam of {setup.profile.name}: its energy width is {width:g} eV. "
            f"Leave it out, or use at least {width:g}."
        )
        raise SettingsError(message)
    return detector


def check(taken: Spectrometers, specimen: object, scan: Scan, frames: int) -> None:
    """Refuse what cannot be computed, before any work.

    Raises
    ------
    SettingsError
        The specimen has no atoms, an element has no data, or the spectra do not fit in memory.
    """
    if not isinstance(specimen, Sample):
        message = "The specimen is a potential and has no atoms, and spectra need to know which element takes the energy. Use a Sample."
        raise SettingsError(message)
    numbers = [int(number) for number in np.unique(specimen.numbers)]
    if taken.eels is not None:
        materials.regions(specimen, taken.model)
        for number in numbers:
            edge_table.edges_of(number)
    if taken.edx is not None:
        for number in numbers:
            xray_data.checked(number)
    count = math.prod(scan.shape)
    for name, detector in taken.named().items():
        needed = 4 * count * detector.channels * (2 + frames)  # expected, one pass, all passes
        if not memory.fits(needed + memory.program()):
            free = memory.SHARE * psutil.virtual_memory().available
            message = (
                f"{frames} x {' x '.join(map(str, scan.shape))} spectra of {detector.channels} channels ({name}) need {needed / 2**30:.1f} GiB of "
                f"memory; {memory.SHARE:.0%} of what is free are {free / 2**30:.1f} GiB. Use fewer points or frames, or a larger dispersion_ev."
            )
            raise SettingsError(message)


def check_edges(detectors: Any, names: Sequence[str]) -> None:
    """Refuse a range of energy losses that does not hold the edges asked for.

    Raises
    ------
    SettingsError
        There is no EELS detector among them, or an edge lies outside its range.
    UnknownNameError
        There is no such edge.
    """
    if isinstance(names, str) or not isinstance(names, Sequence):
        message = f"edges={names!r} is no list of edges. Name them as ('Ti_L3', 'O_K')."
        raise SettingsError(message)
    several = isinstance(detectors, Sequence) and not isinstance(detectors, str)
    made = [_usual("eels", 1.0) if isinstance(d, str) and d == "eels" else d for d in (detectors if several else (detectors,))]
    ranges = [d.energy_range_ev for d in made if isinstance(d, EELSDetector)]
    for edge in (edge_table.edge(name) for name in names):
        if not ranges:
            message = f"{edge.name} is an edge of energy losses, and no EELS detector is asked for. Add an EELSDetector to detectors."
            raise SettingsError(message)
        low, high = ranges[0]
        if not low <= edge.onset < high:
            message = (
                f"energy_range_ev=({low:g}, {high:g}) does not hold the edge {edge.name} at {edge.onset:g} eV. Use a range from at most "
                f"{edge.onset - 50:g} to at least {edge.onset + 100:g} eV."
            )
            raise SettingsError(message)


def scan_of(at: Any) -> tuple[Scan, bool]:
    """Return a scan, or a path of one point (x, y), A, and whether it is a point.

    Raises
    ------
    SettingsError
        It is neither.
    """
    if isinstance(at, Scan):
        return at, False
    return PathScan(positions_angstrom=np.array([checks.pair("at", at, "A")])), True


def take(
    setup: Setup, state: ScopeState, taken: Spectrometers, request: Request, shot: ScanPass, beam: Beam, progress: Progress | None
) -> tuple[dict[str, np.ndarray], dict[str, dict[str, str]]]:
    """Return the counts of each detector in one pass, and how they were computed.

    Parameters
    ----------
    setup, state : Setup, ScopeState
        The microscope; its frame number is the key of the noise.
    taken : Spectrometers
        The detectors.
    request : Request
        Specimen, its tilt, thermal motion.
    shot : ScanPass
        The pass.
    beam : Beam
        The true beam.
    progress : callable, optional
        Called with the number of waves that were just done.

    Returns
    -------
    counts : dict
        By name, shaped like the scan, then (channels,): uint32, or float32 where the camera has a gain or read noise. Where a sparse scan was not,
        nothing is counted.
    how : dict
        By name: ``engine`` and ``engine_error``, attributes of the variable.
    """
    assert isinstance(state.specimen, Sample)  # checked
    scan, order = shot.scan, shot.scan.order()
    path: Scan = scan if shot.straight else PathScan(positions_angstrom=shot.points)
    height = contamination_film.heights(state, shot)
    same: dict[str, Any] = {
        "film_angstrom": None if height is None else _like(path, height),
        "engine": taken.engine,
        "phonons": request.phonons,
        "seed": request.seed,
        "tilt_mrad": request.tilt_mrad,
        "window_angstrom": taken.window_angstrom,
        "progress": progress,
    }
    out, how = {}, {}
    for name, detector in taken.named().items():
        if isinstance(detector, EELSDetector):
            drift = _energy_drift(setup, shot, path)
            expected = loss_floor.expected_eels(state.specimen, beam, path, detector, model=taken.model, shifts_ev=drift, **same)
        else:
            expected = xray_floor.expected_edx(state.specimen, beam, path, detector, **same)
        how[name] = {key: str(expected.attrs[key]) for key in ("engine", "engine_error")}
        values = expected[name].to_numpy().reshape(-1, detector.channels)[path.order()]
        counts = _counted(values, shot.incident, detector, setup.rng(name, state.frames))
        whole = np.zeros((math.prod(scan.shape), detector.channels), counts.dtype)
        whole[order] = counts
        out[name] = whole.reshape(*scan.shape, -1)
    return out, how


def _energy_drift(setup: Setup, shot: ScanPass, path: Scan) -> np.ndarray | None:
    """Return how far the spectrum of each point of a path has drifted, eV, shaped like it: a beam of more energy seems to have lost less."""
    if not setup.profile.instabilities.energy_sigma_ev:
        return None
    return _like(path, -setup.course.energy_shift_ev(shot.timing.middle_s))


def _like(path: Scan, values: np.ndarray) -> np.ndarray:
    """Return values in visiting order, (n,), as an array shaped like the path, 0 where it does not go."""
    out = np.zeros(math.prod(path.shape))
    out[path.order()] = values
    return out.reshape(path.shape)


def _counted(expected: np.ndarray, incident: np.ndarray, detector: Spectral, rng: np.random.Generator) -> np.ndarray:
    """Return counts of expected fractions (n, channels) of so many electrons (n,)."""
    gain, noise = (detector.gain, detector.read_noise) if isinstance(detector, EELSDetector) else (1.0, 0.0)
    counting = gain == 1 and not noise
    out = np.empty(expected.shape, np.uint32 if counting else np.float32)
    for start in range(0, len(expected), TOGETHER):
        some = slice(start, start + TOGETHER)
        read = eels_camera.read_out(expected[some] * incident[some, None], gain, noise, rng)
        out[some] = np.minimum(read, MOST_COUNTS) if counting else read
    return out


def variables(
    taken: Spectrometers, scan: Scan, counts: dict[str, np.ndarray], how: dict[str, dict[str, str]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return variables and energy axes of the counts of all passes, for a Dataset."""
    found, axes = {}, {}
    for name, detector in taken.named().items():
        dims = (*scan.dims, DIMENSIONS[name])
        values = counts[name]
        found[name] = (("frame", *dims) if values.ndim > len(dims) else dims, values, _described(detector) | how[name])
        about = {"units": "eV", "long_name": "energy loss" if name == "eels" else "photon energy"}
        axes[DIMENSIONS[name]] = (DIMENSIONS[name], detector.energies(), about)
    return found, axes


def _described(detector: Spectral) -> dict[str, Any]:
    """Return the attributes of spectra: units, and what programs that read them look for."""
    if isinstance(detector, EELSDetector):
        known = {"collection_mrad": detector.collection_mrad, "gain": detector.gain, "zero_loss_fwhm_ev": detector.width_ev}
        return {"units": "counts", "long_name": "counts of each channel of energy loss", "signal_type": "EELS", **known}
    known = {"resolution_mnka_ev": detector.resolution_ev, "elevation_deg": detector.take_off_deg, "azimuth_deg": 0.0}
    known["solid_angle_sr"] = detector.solid_angle_sr
    return {"units": "counts", "long_name": "photons counted in each channel", "signal_type": "EDS_TEM", **known}


def settings(taken: Spectrometers) -> dict[str, Any]:
    """Return the detectors as plain values, for the attributes of a result."""
    return {name: asdict(detector) for name, detector in taken.named().items()}
