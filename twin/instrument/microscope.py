"""The microscope, the one stateful object of the instrument: it turns knobs, scans, counts electrons and keeps its clock. Physics lies below."""

import difflib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np
import xarray as xr

from stemtwin.twin.errors import InstrumentError, SettingsError, UnknownNameError
from stemtwin.twin.instrument import checks, results, simulate
from stemtwin.twin.instrument.detectors import Detector
from stemtwin.twin.instrument.plan import Plan, make_plan
from stemtwin.twin.instrument.profiles import PROFILES, Profile
from stemtwin.twin.instrument.request import Request
from stemtwin.twin.instrument.scan import RasterScan, Scan
from stemtwin.twin.instrument.settings import Beam, PotentialSlices
from stemtwin.twin.physics import aberrations as optics
from stemtwin.twin.physics import noise, probe
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.samples.sample import Sample

STREAMS = {"specimen": 0, "noise": 1}
"""Spawn keys of the independent random streams of one microscope."""
ABERRATION_NAMES = tuple(item.name for item in fields(Aberrations))
LIMITS = {
    "energy_ev": {"unit": "eV", "low": 1e3, "high": 3e6, "repair": "Did you pass keV?"},
    "semiangle_mrad": {"unit": "mrad", "above": 0, "high": 150, "repair": "Did you pass rad?"},
    "current_pa": {"unit": "pA", "above": 0},
    "source_size_angstrom": {"unit": "A", "low": 0, "high": 1e4},
    "focal_spread_angstrom": {"unit": "A", "low": 0, "high": 1e4},
}
"""Knobs that are numbers, and their limits; the largest current is the profile's."""
MOST_ELECTRONS = 1e9
"""Electrons at one point that the counters hold."""


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
    source_size_angstrom : float
        Standard deviation of the source's image, A: what follows from current, convergence and energy, until it is set.
    focal_spread_angstrom : float
        Standard deviation of C10, A: what follows from the energy, until it is set.
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

    Notes
    -----
    The specimen's thermal motion is the same in all frames: a frame is the mean over its frozen-phonon configurations.
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
        profile = PROFILES[instrument] if isinstance(instrument, str) else instrument
        if not isinstance(profile, Profile):
            message = f"instrument={instrument!r} is no instrument profile. Use one of {', '.join(PROFILES)}, or a Profile."
            raise SettingsError(message)
        if misalignment is not None and not isinstance(misalignment, Aberrations):
            message = f"misalignment={misalignment!r} is no Aberrations. Use st.Aberrations(C10=-50.0)."
            raise SettingsError(message)
        self._sample = sample
        self._profile = profile
        self._seed = checks.whole("seed", seed, low=0)
        self._phonons = phonons
        self._misalignment = misalignment or Aberrations()
        self._window = checks.number("window_angstrom", window_angstrom, "A", low=0, high=1e4)
        self._frames = 0
        self._time_s = 0.0
        self._settings = Knobs(
            energy_ev=profile.energy_ev,
            semiangle_mrad=profile.semiangle_mrad,
            current_pa=profile.current_pa,
            source_size_angstrom=profile.source_size_angstrom(profile.current_pa, profile.semiangle_mrad, profile.energy_ev),
            focal_spread_angstrom=profile.focal_spread_angstrom(profile.energy_ev),
        )
        self._request(RasterScan(shape=(1, 1), field_of_view_angstrom=(1, 1)), ("haadf",))  # refuses what cannot be imaged, before any work

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

        The source size follows from current, convergence and energy through the brightness, the focal spread from the energy: turning one of these
        sets them anew. Where the brightness is infinite (``ideal``), the source size stays as it was set.

        Returns
        -------
        Knobs
            The new settings.

        Raises
        ------
        UnknownNameError
            There is no such knob; nothing has changed.
        SettingsError
            A value is out of range, or the source size is given beside the current that it follows from; nothing has changed.
        """
        profile, turned = self._profile, {name: value for name, value in knobs.items() if name in ABERRATION_NAMES}
        changed: dict[str, Any] = {name: self._checked(name, value) for name, value in knobs.items() if name not in turned}
        if {"current_pa", "source_size_angstrom"} <= set(changed) and profile.brightness < math.inf:
            message = (
                f"current_pa={changed['current_pa']:g} and source_size_angstrom={changed['source_size_angstrom']:g} are both given, but the source "
                "size follows from the current and the brightness. Set one of them."
            )
            raise SettingsError(message)
        if turned:
            changed["aberrations"] = replace(self._settings.aberrations, **turned)
        new = replace(self._settings, **changed)
        if profile.brightness < math.inf and "source_size_angstrom" not in changed and {"current_pa", "semiangle_mrad", "energy_ev"} & set(changed):
            new = replace(new, source_size_angstrom=profile.source_size_angstrom(new.current_pa, new.semiangle_mrad, new.energy_ev))
        if "energy_ev" in changed and "focal_spread_angstrom" not in changed:
            new = replace(new, focal_spread_angstrom=profile.focal_spread_angstrom(new.energy_ev))
        self._settings = new
        return new

    def _checked(self, name: str, value: Any) -> float:
        if name not in LIMITS:
            known = [*LIMITS, *ABERRATION_NAMES]
            near = difflib.get_close_matches(name, known, n=1)
            message = f"There is no knob named {name!r}. " + (f"Did you mean {near[0]!r}?" if near else f"Knobs are {', '.join(known)}.")
            raise UnknownNameError(message)
        limits: dict[str, Any] = LIMITS[name]
        if name == "current_pa":
            limits = limits | {"high": self._profile.max_current_pa, "repair": f"That is what {self._profile.name} gives."}
        return checks.number(name, value, **limits)

    def beam(self) -> Beam:
        """Return the beam as it truly is, a part of the truth: commanded aberrations, the profile's residual and the hidden misalignment together."""
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
            Called with the number of waves that were just done while an imaging operator is built.

        Returns
        -------
        xarray.Dataset
            Detected electrons, uint32, one variable per detector, dims (y, x) or (point,), with a dimension frame first if there are several.
            Attributes have the dose of all frames together (e-/A^2, of raster scans), the time at the start (s) and the settings.

        Raises
        ------
        StemtwinError
            The scan or a setting cannot be carried out; the state is unchanged then.
        """
        dwell = self._profile.dwell_time_us if dwell_time_us is None else dwell_time_us
        dwell = checks.number("dwell_time_us", dwell, "us", above=0, high=self._profile.max_dwell_time_us)
        frames = checks.whole("frames", frames, low=1, high=10_000)
        incident = noise.electrons_per_point(self._settings.current_pa, dwell * 1e-6)
        if incident > MOST_ELECTRONS:
            message = (
                f"{incident:.3g} electrons at each point overflow the counters ({MOST_ELECTRONS:g}). Use a shorter dwell_time_us or less current_pa."
            )
            raise InstrumentError(message)
        request = self._request(scan, detectors)
        plan = make_plan(request, window_angstrom=self._window)
        values, error, _ = simulate.expected(request, plan, progress=progress)
        counts = np.stack([noise.count_electrons(values, incident, self._noise(self._frames + i)) for i in range(frames)])
        duration = frames * (math.prod(scan.shape) * dwell + self._lines(scan) * self._profile.flyback_us) * 1e-6
        known = {"dwell_time_us": dwell, "electrons_per_point": incident, "frames": frames, "duration_s": duration}
        out = self._dataset(request, plan, counts, error, known)
        self._frames += frames
        self._time_s += duration
        return out

    def _request(self, scan: Scan, detectors: Sequence[str | Detector] | str | Detector) -> Request:
        return Request(
            sample=self._sample,
            beam=self.beam(),
            scan=scan,
            detectors=detectors,  # type: ignore[arg-type] - Request makes a tuple of it
            phonons=self._phonons,
            seed=self._stream_seed("specimen"),
            engine="operator",
        )

    @staticmethod
    def _lines(scan: Scan) -> int:
        return scan.shape[0] if isinstance(scan, RasterScan) else 0

    def _dataset(self, request: Request, plan: Plan, counts: np.ndarray, error: np.ndarray, known: dict[str, Any]) -> xr.Dataset:
        """Return counts, shape (frames, channels, ...), with what the operator may know: nothing of the truth."""
        knobs = asdict(self._settings)
        attrs = {
            "title": "acquired STEM frames",
            **results.visible(request, plan),
            "instrument": self._profile.name,
            "time_s": self._time_s,
            "current_pa": self._settings.current_pa,
            **known,
            "stemtwin_settings": json.dumps({**results.visible_settings(request, plan), "knobs": knobs}),
        }
        if isinstance(request.scan, RasterScan):
            dy, dx = request.scan.pitch_angstrom
            attrs["dose_e_per_angstrom2"] = known["frames"] * known["electrons_per_point"] / (dy * dx)
        signal = {"units": "electrons", "long_name": "detected electrons"}
        values = counts if known["frames"] > 1 else counts[0]
        return xr.Dataset(results.variables(request, plan, values, error, signal), results.coordinates(request.scan), attrs)

    def truth(self) -> dict[str, Any]:
        """Return the hidden state, for scoring and training only.

        Returns
        -------
        dict
            ``aberrations``, their first order in A as ``C10_angstrom``, ``C12_angstrom``, ``C12a_angstrom``, ``C12b_angstrom``, the Strehl ratio
            ``strehl`` that this first order alone would leave (1 when C10 and C12 are 0), ``beam``, ``sample`` and ``seed``.
        """
        beam, true = self.beam(), self._true_aberrations()
        cartesian = true.cartesian()
        return {
            "aberrations": true,
            "C10_angstrom": true.C10,
            "C12_angstrom": true.C12,
            "C12a_angstrom": cartesian["C12a"],
            "C12b_angstrom": cartesian["C12b"],
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
