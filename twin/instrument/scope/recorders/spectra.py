"""Recorder of energy-loss and X-ray spectra at each point, counted from the same electrons as the images."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import psutil
import xarray as xr

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.detectors import DETECTORS, USUAL_OUTER_MRAD
from stemtwin.twin.instrument.hardware.profiles import Profile
from stemtwin.twin.instrument.scan import PathScan, Scan
from stemtwin.twin.instrument.scope import contamination_film, imaging_requests
from stemtwin.twin.instrument.scope.knobs import Knobs
from stemtwin.twin.instrument.scope.last_pass import Variables
from stemtwin.twin.instrument.scope.recorders.recorder import FRACTION, RECORDERS, Recording, framed
from stemtwin.twin.instrument.scope.scan_pass import ScanPass
from stemtwin.twin.instrument.scope.setup import Setup
from stemtwin.twin.instrument.scope.state import ScopeState
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import memory, results
from stemtwin.twin.instrument.spectra import (
    EDXDetector,
    EELSDetector,
    LossModel,
    expected_edx,
    expected_eels,
    materials,
    xray_data,
)
from stemtwin.twin.instrument.spectra.areal_densities import DENSITY_ENGINES
from stemtwin.twin.physics.spectra import eels_camera
from stemtwin.twin.physics.spectra import ionisation_edges as edge_table
from stemtwin.twin.progress import Progress
from stemtwin.twin.samples.sample import Sample

Spectral = EELSDetector | EDXDetector
LEAST_WIDTH_EV = 1e-3
"""Width of the zero-loss peak of a monochromatic source, eV."""
LONGEST_DWELL_US = 1e8
"""Longest dwell time of an acquisition of only spectra, us."""
TOGETHER = 1024
"""Number of spectra that are counted together."""
MOST_COUNTS = 2**32 - 1
"""Largest count of a channel."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpectrumSignal:
    """Expected spectra of one pass.

    Spectra can be larger than the rest of the state, so they are not stored. Every call of :meth:`spectrum` computes
    them again with bit-identical results.

    Parameters
    ----------
    recorder : SpectrumRecorder
        Recorder with the specimen, the detectors and the thermal motion.
    beam : Beam
        True beam.
    scan : Scan
        Commanded scan.
    path : Scan
        True path of the beam.
    height : ndarray, optional
        Height of the contamination film on the path, A, shaped like the path; None without a film.
    shifts_ev : ndarray, optional
        Drift of the spectrum at each point, eV, shaped like the path.
    how : dict
        Values ``engine`` and ``engine_error`` of each computed spectrum, by the detector's name.
    """

    recorder: "SpectrumRecorder"
    beam: Beam
    scan: Scan
    path: Scan
    height: np.ndarray | None
    shifts_ev: np.ndarray | None
    how: dict[str, dict[str, str]]

    def spectrum(self, detector: Spectral, progress: Progress | None = None) -> xr.Dataset:
        """Return the expected spectrum at each point of the path.

        Once the pass has been recorded, this method uses the same engine as the recording.
        """
        taken, known = self.recorder, self.how.get(detector.name)
        same: dict[str, Any] = {
            "film_angstrom": self.height,
            "engine": taken.engine if known is None else known["engine"],
            "phonons": taken.phonons,
            "lattice_average": taken.lattice_average,
            "seed": taken.seed,
            "tilt_mrad": taken.tilt_mrad,
            "window_angstrom": taken.window_angstrom,
            "progress": progress,
        }
        if isinstance(detector, EELSDetector):
            return expected_eels(taken.sample, self.beam, self.path, detector, model=taken.model, shifts_ev=self.shifts_ev, **same)
        return expected_edx(taken.sample, self.beam, self.path, detector, **same)

    def visits(self, detector: Spectral, found: xr.Dataset) -> np.ndarray:
        """Return the spectra in ``found``, a result of :meth:`spectrum`, in visiting order, float32, shape (n, channels)."""
        return found[detector.name].to_numpy().reshape(-1, detector.channels)[self.path.order()]

    def variables(self) -> Variables:
        """Return the spectra as variables of a Dataset, with their energies as coordinates."""
        found, axes = {}, {}
        for detector in self.recorder.detectors:
            values = framed(self.scan, self.visits(detector, self.spectrum(detector)), np.nan)
            found[detector.name] = ((*self.scan.dims, detector.dimension), values, FRACTION | self.how[detector.name])
            axes |= detector.axis()
        return found, axes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpectrumRecorder:
    """Recorder of spectra.

    Parameters
    ----------
    detectors : tuple
        The spectrometer, the X-ray detector, or both in this order. The ``zero_loss_fwhm_ev`` of the
        spectrometer is a number, by default the energy width of the source but at least 0.001 eV.
    sample : Sample
        The specimen.
    scan : Scan
        Commanded scan.
    model : LossModel
        Model of the specimen's energy losses.
    engine : str
        Engine, as in ``areal_densities.densities``.
    phonons : int or str
        Thermal motion, as in ``Request``.
    lattice_average : bool or str
        Average over a crystal's translations, as in ``Request``.
    seed : int
        Seed of the thermal motion.
    tilt_mrad : tuple of float
        Tilt of the specimen, mrad.
    window_angstrom : float
        Width of the probe window, A.
    """

    detectors: tuple[Spectral, ...]
    sample: Sample
    scan: Scan
    model: LossModel
    engine: str
    phonons: int | str
    lattice_average: bool | str
    seed: int
    tilt_mrad: tuple[float, float]
    window_angstrom: float

    @staticmethod
    def longest_dwell_us(profile: Profile) -> float:
        """Return the longest dwell time of a spectrum (us), which can exceed the limit of the scan generator."""
        return max(profile.max_dwell_time_us, LONGEST_DWELL_US)

    @classmethod
    def prepare(cls, setup: Setup, state: ScopeState, scan: Scan, detectors: tuple[str | Spectral, ...], frames: int) -> Self:
        """Return the recorder of spectra; see ``Recorder.prepare``."""
        taken, model = _one_of_each(setup, state, detectors), setup.losses or LossModel()
        tilt = imaging_requests.tilt_mrad(state)
        if not isinstance(state.specimen, Sample):
            message = "The specimen is a potential without atoms, but spectra depend on the elements. Use a Sample."
            raise SettingsError(message)
        _check_elements(state.specimen, taken, model)
        _check_memory(taken, scan, frames)
        return cls(
            detectors=taken,
            sample=state.specimen,
            scan=scan,
            model=model,
            engine=setup.engine if setup.engine in DENSITY_ENGINES else "auto",  # "auto" for engines without spectra
            phonons=imaging_requests.thermal_setting(setup, state),
            lattice_average=imaging_requests.average_setting(setup),
            seed=setup.thermal_seed,
            tilt_mrad=tilt,
            window_angstrom=imaging_requests.window_angstrom(setup, state.specimen, setup.beam(state, state.time_s)),
        )

    def renewed(self, setup: Setup, state: ScopeState) -> Self:
        """Return the recorder for a specimen that has changed."""
        assert isinstance(state.specimen, Sample)  # checked
        return replace(self, sample=state.specimen, phonons=imaging_requests.thermal_setting(setup, state))

    def record(
        self, setup: Setup, state: ScopeState, shot: ScanPass, before: SpectrumSignal | None, progress: Progress | None
    ) -> Recording[SpectrumSignal]:
        """Return the recording of one pass."""
        del before
        path: Scan = shot.scan if shot.straight else PathScan(positions_angstrom=shot.points)
        height = contamination_film.heights(state, shot)
        signal = SpectrumSignal(
            recorder=self,
            beam=shot.beam,
            scan=shot.scan,
            path=path,
            height=None if height is None else _like(path, height),
            shifts_ev=_energy_drift(setup, shot, path),
            how={},
        )
        counts, how = {}, {}
        for detector in self.detectors:
            found = signal.spectrum(detector, progress)
            how[detector.name] = {key: str(found.attrs[key]) for key in ("engine", "engine_error")}
            counted = _counted(signal.visits(detector, found), shot.incident, detector, setup.rng(detector.name, state.frames))
            counts[detector.name] = framed(shot.scan, counted)
        return Recording(counts=counts, signal=replace(signal, how=how), state=state)

    def variables(self, setup: Setup, knobs: Knobs, counts: dict[str, np.ndarray], signal: SpectrumSignal) -> Variables:
        """Return the counts as variables of a Dataset, with their energies as coordinates."""
        del setup, knobs
        found, axes = {}, {}
        for detector in self.detectors:
            dims, values = (*self.scan.dims, detector.dimension), counts[detector.name]
            attrs = detector.attributes() | signal.how[detector.name]
            found[detector.name] = (("frame", *dims) if values.ndim > len(dims) else dims, values, attrs)
            axes |= detector.axis()
        return found, axes

    def settings(self) -> dict[str, Any]:
        """Return the settings that the user is allowed to know."""
        spectra = {detector.name: asdict(detector) for detector in self.detectors}
        return {"scan": results.visible_scan(self.scan), "phonons": self.phonons, "spectra": spectra}

    def notes(self) -> tuple[str, ...]:
        """Return an empty tuple, because the only warning about doubtful physics concerns dark-field images."""
        return ()


RECORDERS.add("spectrum", SpectrumRecorder)


def check_edges(detectors: Any, names: Sequence[str]) -> None:
    """Raise SettingsError if the detector's range of energy losses does not contain all requested edges.

    Raises
    ------
    SettingsError
        The detectors do not include an EELS detector, or an edge lies outside its range.
    UnknownNameError
        An edge is unknown.
    """
    if isinstance(names, str) or not isinstance(names, Sequence):
        message = f"edges={names!r} is not a list of edges. Name edges as in ('Ti_L3', 'O_K')."
        raise SettingsError(message)
    several = isinstance(detectors, Sequence) and not isinstance(detectors, str)
    given = detectors if several else (detectors,)
    made = [DETECTORS["eels"](1.0, USUAL_OUTER_MRAD) if isinstance(d, str) and d == "eels" else d for d in given]
    ranges = [d.energy_range_ev for d in made if isinstance(d, EELSDetector)]
    for edge in (edge_table.edge(name) for name in names):
        if not ranges:
            message = f"{edge.name} is an energy-loss edge, but detectors does not include EELS. Add an EELSDetector to detectors."
            raise SettingsError(message)
        low, high = ranges[0]
        if not low <= edge.onset < high:
            message = (
                f"energy_range_ev=({low:g}, {high:g}) does not contain the edge {edge.name} at {edge.onset:g} eV. "
                f"Use a range from at most {edge.onset - 50:g} to at least {edge.onset + 100:g} eV."
            )
            raise SettingsError(message)


def scan_of(at: Any) -> tuple[Scan, bool]:
    """Return a scan, and True if it was made from a point (x, y), A.

    A given scan is returned unchanged. A given point becomes a path with one position.

    Raises
    ------
    SettingsError
        The value is neither a scan nor a point.
    """
    if isinstance(at, Scan):
        return at, False
    return PathScan(positions_angstrom=np.array([checks.pair("at", at, "A")])), True


def _one_of_each(setup: Setup, state: ScopeState, detectors: tuple[str | Spectral, ...]) -> tuple[Spectral, ...]:
    """Return the requested spectrometer and X-ray detector, with usual settings for those given by name."""
    magnified = state.knobs.semiangle_mrad * setup.profile.camera_length_mm
    wide = magnified / state.knobs.camera_length_mm  # the entrance aperture has a fixed radius
    made = [DETECTORS[d](wide, USUAL_OUTER_MRAD) if isinstance(d, str) else d for d in detectors]
    losses = [d for d in made if isinstance(d, EELSDetector)]
    xrays = [d for d in made if isinstance(d, EDXDetector)]
    for name, found in (("EELS", losses), ("EDX", xrays)):
        if len(found) > 1:
            message = f"{len(found)} {name} detectors were requested, but the instrument has one. Acquire with one detector at a time."
            raise SettingsError(message)
    return (*(_with_width(d, setup) for d in losses), *xrays)


def _with_width(detector: EELSDetector, setup: Setup) -> EELSDetector:
    """Return the spectrometer with the source's energy width, or unchanged if it has a zero-loss width of its own."""
    width = max(setup.profile.energy_width_ev, LEAST_WIDTH_EV)
    if detector.zero_loss_fwhm_ev is None:
        return replace(detector, zero_loss_fwhm_ev=width)
    if detector.zero_loss_fwhm_ev < width:
        message = (
            f"zero_loss_fwhm_ev={detector.zero_loss_fwhm_ev:g} is less than the energy width of {setup.profile.name}, "
            f"{width:g} eV. Leave out zero_loss_fwhm_ev, or use at least {width:g}."
        )
        raise SettingsError(message)
    return detector


def _check_elements(sample: Sample, detectors: tuple[Spectral, ...], model: LossModel) -> None:
    """Raise SettingsError for a specimen with an element without data."""
    numbers = [int(number) for number in np.unique(sample.numbers)]
    for detector in detectors:
        if isinstance(detector, EELSDetector):
            materials.regions(sample, model)
        for number in numbers:
            (edge_table.edges_of if isinstance(detector, EELSDetector) else xray_data.checked)(number)


def _check_memory(detectors: tuple[Spectral, ...], scan: Scan, frames: int) -> None:
    """Raise SettingsError for spectra that do not fit into memory."""
    count = math.prod(scan.shape)
    for detector in detectors:
        needed = 4 * count * detector.channels * (2 + frames)  # expected, one pass, all passes
        if not memory.fits(needed + memory.program()):
            free = memory.SHARE * psutil.virtual_memory().available
            message = (
                f"{frames} x {' x '.join(map(str, scan.shape))} spectra of {detector.channels} channels "
                f"({detector.name}) need {needed / 2**30:.1f} GiB of memory, but {memory.SHARE:.0%} of the free memory is "
                f"{free / 2**30:.1f} GiB. Use fewer points or frames, or a larger dispersion_ev."
            )
            raise SettingsError(message)


def _energy_drift(setup: Setup, shot: ScanPass, path: Scan) -> np.ndarray | None:
    """Return the drift of the spectrum at each point of a path (eV), which is minus the change of the beam's energy."""
    if not setup.profile.instabilities.energy_sigma_ev:
        return None
    return _like(path, -setup.course.energy_shift_ev(shot.timing.middle_s))


def _like(path: Scan, values: np.ndarray) -> np.ndarray:
    """Return values in visiting order, (n,), as an array shaped like the path, with 0 at unvisited points."""
    return framed(path, np.asarray(values, float))


def _counted(expected: np.ndarray, incident: np.ndarray, detector: Spectral, rng: np.random.Generator) -> np.ndarray:
    """Draw the counts from expected fractions, (n, channels), and numbers of incident electrons, (n,)."""
    counting = detector.gain == 1 and not detector.read_noise
    out = np.empty(expected.shape, np.uint32 if counting else np.float32)
    for start in range(0, len(expected), TOGETHER):
        some = slice(start, start + TOGETHER)
        read = eels_camera.read_out(expected[some] * incident[some, None], detector.gain, detector.read_noise, rng)
        out[some] = np.minimum(read, MOST_COUNTS) if counting else read
    return out
