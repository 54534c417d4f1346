"""The microscope: the one stateful object of the instrument. It turns knobs, scans, counts electrons, and keeps its clock; the physics is elsewhere."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import xarray as xr

from stemtwin.twin.errors import InstrumentError, SettingsError, UnknownNameError
from stemtwin.twin.instrument import checks, simulate
from stemtwin.twin.instrument.detectors import Detector
from stemtwin.twin.instrument.plan import make_plan
from stemtwin.twin.instrument.profiles import PROFILES, Profile
from stemtwin.twin.instrument.request import Request
from stemtwin.twin.instrument.scan import RasterScan, Scan
from stemtwin.twin.instrument.settings import Beam, PotentialSlices
from stemtwin.twin.physics import aberrations as optics
from stemtwin.twin.physics import noise, probe
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.samples.sample import Sample

STREAMS = {"specimen": 0, "instrument": 1, "drift": 2, "noise": 3}
"""Spawn keys of the independent random streams of one microscope."""
ABERRATION_NAMES = tuple(item.name for item in fields(Aberrations))


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """What was commanded.

    Parameters
    ----------
    energy_ev, semiangle_mrad : float
        Beam energy, eV; convergence semi-angle, mrad.
    current_pa : float
        Probe current, pA. The source size follows from it and the brightness.
    aberrations : Aberrations
        What the knobs add to the instrument's own state, A and rad.
    source_size_angstrom : float, optional
        Standard deviation of the source, A, instead of the one that follows from the current.
    focal_spread_angstrom : float
        Standard deviation of C10, A.
    """

    energy_ev: float
    semiangle_mrad: float
    current_pa: float
    aberrations: Aberrations = field(default_factory=Aberrations)
    source_size_angstrom: float
    focal_spread_angstrom: float


class Microscope:
    """A scanning transmission electron microscope with a specimen in it.

    Parameters
    ----------
    sample : Sample or PotentialSlices
        The specimen.
    instrument : str or Profile
        An instrument profile or its name.
    seed : int
        Of everything random: the specimen's thermal motion, the instrument and the noise, in independent streams.
    phonons : int or str
        See ``Request``.
    misalignment : Aberrations
        Hidden aberrations beside the profile's own, A and rad.
    window_angstrom : float
        Compute with probes at least this wide in mind, A: one imaging operator for all knob settings up to there.

    Raises
    ------
    UnknownNameError
        There is no such profile.
    SettingsError
        A setting makes no sense.
    """

    def __init__(
        self,
        sample: Sample | PotentialSlices,
        instrument: str | Profile = "corrected-200kv",
        *,
        seed: int = 0,
        phonons: int | str = "auto",
        misalignment: Aberrations | None = None,
        window_angstrom: float = 0.0,
    ) -> None:
        self._sample = sample
        self._profile = PROFILES[instrument] if isinstance(instrument, str) else instrument
        self._seed = checks.whole("seed", seed, low=0)
        self._phonons = phonons
        self._misalignment = misalignment or Aberrations()
        self._window = checks.number("window_angstrom", window_angstrom, "A", low=0, high=1e4)
        self._frames = 0
        self._time_s = 0.0
        profile = self._profile
        self._settings = Knobs(
            energy_ev=profile.energy_ev,
            semiangle_mrad=profile.semiangle_mrad,
            current_pa=profile.current_pa,
            source_size_angstrom=profile.source_size_angstrom(profile.current_pa, profile.semiangle_mrad),
            focal_spread_angstrom=profile.focal_spread_angstrom,
        )

    @property
    def settings(self) -> Knobs:
        """What was commanded; frozen."""
        return self._settings

    @property
    def profile(self) -> Profile:
        """The instrument's profile; frozen."""
        return self._profile

    @property
    def time_s(self) -> float:
        """The simulated clock, s since the start."""
        return self._time_s

    def set(self, **knobs: Any) -> Knobs:
        """Turn knobs: energy_ev, semiangle_mrad, current_pa, source_size_angstrom, focal_spread_angstrom, or any aberration (C10, C12, phi12, ...).

        Returns
        -------
        Knobs
            The new settings.

        Raises
        ------
        InstrumentError, SettingsError
            A knob does not exist or a value is out of range; nothing has changed then.
        """
        if {"current_pa", "source_size_angstrom"} <= set(knobs) and self._profile.brightness < math.inf:
            message = "current_pa and source_size_angstrom are both given, but the source size follows from the current. Set one of them."
            raise SettingsError(message)
        changed: dict[str, Any] = {}
        turned: dict[str, Any] = {}
        for name, value in knobs.items():
            if name in ABERRATION_NAMES:
                turned[name] = value
            else:
                changed[name] = self._checked(name, value)
        if turned:
            changed["aberrations"] = replace(self._settings.aberrations, **turned)
        new = replace(self._settings, **changed)
        if "source_size_angstrom" not in changed and {"current_pa", "semiangle_mrad"} & set(changed):
            new = replace(new, source_size_angstrom=self._profile.source_size_angstrom(new.current_pa, new.semiangle_mrad))
        self._settings = new
        return new

    def _checked(self, name: str, value: Any) -> float:
        match name:
            case "energy_ev":
                return checks.number(name, value, "eV", low=1e3, high=3e6, repair="Did you pass keV?")
            case "semiangle_mrad":
                return checks.number(name, value, "mrad", above=0, high=150, repair="Did you pass rad?")
            case "current_pa":
                return checks.number(name, value, "pA", above=0, high=self._profile.max_current_pa, repair=f"That is what {self._profile.name} gives.")
            case "source_size_angstrom" | "focal_spread_angstrom":
                return checks.number(name, value, "A", low=0, high=1e4)
        known = ["energy_ev", "semiangle_mrad", "current_pa", "source_size_angstrom", "focal_spread_angstrom", *ABERRATION_NAMES]
        message = f"There is no knob named {name!r}. Knobs are {', '.join(known)}."
        raise UnknownNameError(message)

    def beam(self) -> Beam:
        """Return the beam as it truly is: commanded aberrations, the profile's residual and the hidden misalignment together."""
        s = self._settings
        return Beam(
            energy_ev=s.energy_ev,
            semiangle_mrad=s.semiangle_mrad,
            aberrations=self._true_aberrations(),
            source_size_angstrom=s.source_size_angstrom,
            focal_spread_angstrom=s.focal_spread_angstrom,
        )

    def _true_aberrations(self) -> Aberrations:
        return optics.add(optics.add(self._settings.aberrations, self._profile.residual), self._misalignment)

    def acquire(
        self,
        scan: Scan,
        *,
        dwell_time_us: float | None = None,
        frames: int = 1,
        detectors: Sequence[str | Detector] | str = ("haadf",),
        progress: simulate.Progress | None = None,
    ) -> xr.Dataset:
        """Scan and count electrons; noise is fresh for each frame.

        Parameters
        ----------
        scan : RasterScan or PathScan
            Where the beam goes.
        dwell_time_us : float, optional
            Time at each point, us; by default the profile's.
        frames : int
            How often the scan is repeated.
        detectors : sequence
            Registry names and detectors, read at once.
        progress : callable, optional
            Called with the number of waves done while an imaging operator is built.

        Returns
        -------
        xarray.Dataset
            Detected electrons, uint32, one variable per detector, dims (y, x) or (point,), with a dimension frame first if there are several. Attributes
            have the dose (e-/A^2), the time (s) and the settings.

        Raises
        ------
        StemtwinError
            The scan or a setting cannot be carried out; the state is unchanged then.
        """
        dwell = self._profile.dwell_time_us if dwell_time_us is None else dwell_time_us
        dwell = checks.number("dwell_time_us", dwell, "us", above=0, high=self._profile.max_dwell_time_us)
        frames = checks.whole("frames", frames, low=1, high=10_000)
        request = Request(
            sample=self._sample,
            beam=self.beam(),
            scan=scan,
            detectors=(detectors,) if isinstance(detectors, str) else tuple(detectors),
            phonons=self._phonons,
            seed=self._stream_seed("specimen"),
            engine="operator",
        )
        plan = make_plan(request, window_angstrom=self._window)
        values, error = simulate.expected(request, plan, progress=progress)
        incident = noise.electrons_per_point(self._settings.current_pa, dwell * 1e-6)
        if incident > 1e9:
            message = f"{incident:.3g} electrons at each point overflow the counters (1e9). Use a shorter dwell_time_us or a lower current_pa."
            raise InstrumentError(message)
        counts = np.stack([noise.count_electrons(values, incident, self._noise(self._frames + i)) for i in range(frames)])
        out = self._dataset(request, plan, counts, error, frames)
        points = math.prod(scan.shape)
        duration = frames * (points * dwell + self._lines(scan) * self._profile.flyback_us) * 1e-6
        out.attrs |= self._bookkeeping(scan, incident, dwell, frames, duration)
        self._frames += frames
        self._time_s += duration
        return out

    @staticmethod
    def _lines(scan: Scan) -> int:
        return scan.shape[0] if isinstance(scan, RasterScan) else 0

    def _bookkeeping(self, scan: Scan, incident: float, dwell: float, frames: int, duration: float) -> dict[str, Any]:
        out: dict[str, Any] = {
            "title": "acquired STEM frames",
            "instrument": self._profile.name,
            "time_s": self._time_s,
            "duration_s": duration,
            "dwell_time_us": dwell,
            "frames": frames,
            "current_pa": self._settings.current_pa,
            "electrons_per_point": incident,
        }
        if isinstance(scan, RasterScan):
            dy, dx = scan.pitch_angstrom
            out["dose_e_per_angstrom2"] = frames * incident / (dy * dx)
        return out

    def _dataset(self, request: Request, plan: Any, counts: np.ndarray, error: np.ndarray, frames: int) -> xr.Dataset:
        single = simulate.to_dataset(request, plan, counts[0], error)
        out = single.copy()
        channel = 0
        for detector in plan.detectors:
            number = getattr(detector, "segments", 1)
            part = counts[:, channel : channel + number] if number > 1 else counts[:, channel]
            channel += number
            dims = single[detector.name].dims
            attrs = {**single[detector.name].attrs, "units": "electrons", "long_name": "detected electrons"}
            out[detector.name] = (dims, part[0], attrs) if frames == 1 else (("frame", *dims), part, attrs)
        knobs = {item.name: getattr(self._settings, item.name) for item in fields(self._settings) if item.name != "aberrations"}
        knobs["aberrations"] = {name: getattr(self._settings.aberrations, name) for name in ABERRATION_NAMES}
        hidden = json.loads(single.attrs["stemtwin_settings"])
        hidden.pop("beam")  # the true aberrations are hidden
        hidden.pop("seed")
        out.attrs["stemtwin_settings"] = json.dumps({**hidden, "knobs": knobs})
        return out

    def truth(self) -> dict[str, Any]:
        """Return the hidden state, for scoring and training only: true aberrations, source, Strehl ratio of the aberrations, and the sample.

        The Strehl ratio is that of the first-order misalignment (C10, C12) alone, 1 when both are 0.
        """
        true = self._true_aberrations()
        beam = self.beam()
        a, b = true.C12 * math.cos(2 * true.phi12), true.C12 * math.sin(2 * true.phi12)
        return {
            "aberrations": true,
            "C10_angstrom": true.C10,
            "C12_angstrom": true.C12,
            "C12a_angstrom": a,
            "C12b_angstrom": b,
            "strehl": probe.strehl_ratio(beam.wavelength_angstrom, beam.semiangle_rad, Aberrations(C10=true.C10, C12=true.C12, phi12=true.phi12)),
            "beam": beam,
            "sample": self._sample,
            "seed": self._seed,
        }

    def _stream_seed(self, name: str) -> int:
        words = np.random.SeedSequence(self._seed, spawn_key=(STREAMS[name],)).generate_state(2, np.uint64)
        return int(words[0]) << 64 | int(words[1])

    def _noise(self, frame: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(np.random.SeedSequence(self._seed, spawn_key=(STREAMS["noise"], frame))))
