"""The microscope, the one stateful object of the instrument: it turns knobs, moves, scans, counts and keeps its clock. Physics lies below."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import xarray as xr

from stemtwin.twin import checks
from stemtwin.twin.errors import InstrumentError, SettingsError
from stemtwin.twin.instrument.detectors import DETECTORS, NamedDetector
from stemtwin.twin.instrument.hardware.profiles import Profile, find_profile
from stemtwin.twin.instrument.hardware.stage import StagePosition
from stemtwin.twin.instrument.scan import RasterScan, Scan
from stemtwin.twin.instrument.scope import (
    aberration_tuning,
    acquisition,
    beam_damage,
    commands,
    contamination_film,
    dose_budget,
    hidden_state,
    imaging_requests,
    knobs,
)
from stemtwin.twin.instrument.scope.knobs import Knobs
from stemtwin.twin.instrument.scope.recorders import spectra
from stemtwin.twin.instrument.scope.setup import Setup
from stemtwin.twin.instrument.scope.specimen_state import Damage, find_damage
from stemtwin.twin.instrument.scope.state import ScopeState
from stemtwin.twin.instrument.settings import PotentialSlices
from stemtwin.twin.instrument.simulation import doubtful_physics, results
from stemtwin.twin.instrument.spectra.spectrometer_settings import LossModel
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.noise import COUNTINGS
from stemtwin.twin.progress import Progress
from stemtwin.twin.samples.sample import Sample


class Microscope:
    """A scanning transmission electron microscope with a specimen in it.

    Parameters
    ----------
    sample : Sample or PotentialSlices
        The specimen.
    instrument : str or Profile
        An instrument profile or its name. ``Profile.still()`` is the same instrument without drift, distortion and detector chain.
    seed : int
        Of everything random: the specimen's thermal motion, the instrument's instabilities, its stage and the noise, in independent streams.
    phonons : int or str
        See ``Request``.
    misalignment : Aberrations
        Hidden aberrations beside the profile's own, A and rad.
    window_angstrom : float
        Compute with probes at least this wide in mind, A: one imaging operator for all knob settings up to there.
    engine : str
        See ``Request``; ``"auto"`` takes one that gives every further image in milliseconds.
    damage : bool or Damage
        What the beam can do to the specimen: nothing (by default), what is known of such a specimen (True), or a ``Damage``.
    losses : LossModel, optional
        What the specimen's energy losses are made of: materials, valences, particles; by default as its elements say.
    dose_budget_e_per_angstrom2 : float, optional
        Largest nominal dose anywhere on the specimen, e-/A^2: what would exceed it is refused.
    counting : str
        How images draw their electrons: ``"inversion"``, or ``"numpy"``, as in data released before.
    lattice_average : bool or str
        See ``Request``: the average over a perfect crystal's translations. ``"auto"`` never takes it with ``damage``.

    Raises
    ------
    UnknownNameError
        There is no such profile.
    SettingsError
        A setting makes no sense.

    Notes
    -----
    Everything is a pure function of the seed, the commands and the simulated clock: a snapshot is the state (frozen), and a restore puts it back. The
    specimen's thermal motion is the same in all frames: a frame is the mean over its frozen-phonon configurations.
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
        engine: str = "auto",
        damage: Damage | bool | None = None,
        losses: LossModel | None = None,
        dose_budget_e_per_angstrom2: float | None = None,
        counting: str = "inversion",
        lattice_average: bool | str = "auto",
    ) -> None:
        profile = find_profile(instrument)
        if misalignment is not None and not isinstance(misalignment, Aberrations):
            message = f"misalignment={misalignment!r} is no Aberrations. Use st.Aberrations(C10=-50.0)."
            raise SettingsError(message)
        if losses is not None and not isinstance(losses, LossModel):
            message = f"losses={losses!r} is no LossModel. Use LossModel(valences=(('Fe', 2.0),)), or leave it out."
            raise SettingsError(message)
        if counting not in COUNTINGS:
            message = f"counting={counting!r} is unknown. Use one of {', '.join(COUNTINGS)}."
            raise SettingsError(message)
        self._budget = None
        if dose_budget_e_per_angstrom2 is not None:
            self._budget = checks.number("dose_budget_e_per_angstrom2", dose_budget_e_per_angstrom2, "e-/A^2", above=0)
        self._setup = Setup(
            profile=profile,
            seed=checks.whole("seed", seed, low=0),
            phonons=phonons,
            misalignment=misalignment or Aberrations(),
            window_angstrom=checks.number("window_angstrom", window_angstrom, "A", low=0, high=1e4),
            engine=engine,
            damage=find_damage(damage),
            losses=losses,
            counting=counting,
            lattice_average=lattice_average,
        )
        self._state = ScopeState(specimen=sample, knobs=knobs.initial(profile))
        self._state = beam_damage.begun(self._setup, self._state)
        imaging_requests.request(
            self._setup, self._state, RasterScan(shape=(1, 1), field_of_view_angstrom=(1, 1)), ("haadf",)
        )  # refuses what cannot be imaged
        self._state = replace(self._state, made_of=self._setup.made_of(sample))

    def __repr__(self) -> str:
        """Return one line: specimen, instrument, the commonest knobs, seed."""
        said, specimen = self.settings, self._state.specimen
        beam = f"{said.energy_ev * 1e-3:g} kV, {said.semiangle_mrad:g} mrad, {said.current_pa:g} pA"
        name = getattr(specimen, "name", type(specimen).__name__)
        return f"Microscope({name!r}, {self.profile.name!r}, {beam}, seed={self._setup.seed})"

    # ---- what may be read

    @property
    def settings(self) -> Knobs:
        """Commanded settings; frozen."""
        return self._state.knobs

    @property
    def profile(self) -> Profile:
        """The instrument's profile; frozen."""
        return self._setup.profile

    @property
    def time_s(self) -> float:
        """The simulated clock, s since the start."""
        return self._state.time_s

    @property
    def stage(self) -> StagePosition:
        """Reading of the stage's encoders."""
        return self._state.stage.readback

    @property
    def spent(self) -> dict[str, float]:
        """Spending since the start: ``time_s``, ``beam_s`` (with the beam on the specimen), ``electrons``, ``frames``, ``moves``."""
        state = self._state
        return {name: float(getattr(state, name)) for name in ("time_s", "beam_s", "electrons", "frames", "moves")}

    @property
    def dose_remaining_e_per_angstrom2(self) -> float:
        """Rest of the dose budget where the specimen has nominally received most, e-/A^2; infinite without a budget."""
        return dose_budget.remaining(self._state, self._budget)

    def dose_map(self, scan: RasterScan) -> xr.DataArray:
        """Return the nominal dose of everything so far in each pixel of a raster that is not rotated, in coordinates of the specimen.

        Nominal: the beam was where it was sent, and the stage where its encoders read. The true map is a part of the truth.

        Returns
        -------
        xarray.DataArray
            e-/A^2, dims (y, x).

        Raises
        ------
        SettingsError
            It is no raster, or rotated.
        """
        if not isinstance(scan, RasterScan):
            message = (
                f"scan={scan!r} is no RasterScan, and a dose map has rows and columns. Use st.RasterScan(shape=..., field_of_view_angstrom=...)."
            )
            raise SettingsError(message)
        values = self._state.sent.map().on_raster(scan)
        return xr.DataArray(values, results.coordinates(scan), scan.dims, "dose", {"units": "e-/angstrom^2", "long_name": "nominal dose"})

    # ---- commands

    def set(self, **changes: Any) -> Knobs:
        """Turn knobs: energy_ev, semiangle_mrad, current_pa, camera_length_mm, beam_tilt_mrad, beam_shift_angstrom, blanked, any aberration, ...

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
        self._state = replace(self._state, knobs=knobs.turn(self._state.knobs, self._setup.profile, changes))
        return self._state.knobs

    def move_stage(self, *, relative: bool = False, **way: float) -> StagePosition:
        """Move the stage; the clock goes on.

        Parameters
        ----------
        relative : bool
            From where it was last told to be, instead of from 0.
        **way : float
            x_angstrom, y_angstrom, z_angstrom, alpha_mrad, beta_mrad; axes that are not named stay. Along +x the specimen moves to +x in the image;
            z is counted along the beam; alpha and beta tilt the specimen: an atom at depth z appears at y + z tan(alpha), x + z tan(beta).

        Returns
        -------
        StagePosition
            What the encoders read then.

        Raises
        ------
        SettingsError
            A name is no axis, or a number is not finite; nothing has moved.
        InstrumentError
            It is out of reach; nothing has moved.
        """
        self._state = commands.move(self._setup, self._state, way, relative=relative)
        return self.stage

    def advance_time(self, seconds: float) -> float:
        """Wait with the beam blanked: the specimen drifts, the optics stray, the current fades. Return the clock, s.

        Raises
        ------
        SettingsError
            The time is negative, or longer than 1e6 s.
        """
        self._state = commands.wait(self._setup, self._state, seconds)
        return self.time_s

    def shower(self, dose_e_per_angstrom2: float) -> float:
        """Flood a square micrometre with the largest current: less contamination, and less of what it grows from. Return the clock, s.

        Parameters
        ----------
        dose_e_per_angstrom2 : float
            Dose, e-/A^2: it counts, and it damages, like that of any beam.

        Raises
        ------
        SettingsError
            The dose is not above 0, or above 1e6 e-/A^2.
        InstrumentError
            The beam is blanked, or the dose budget does not suffice; nothing has changed.
        """
        dose_budget.check_flood(self._state, contamination_film.shower_cost(self._setup, dose_e_per_angstrom2)["dose_e_per_angstrom2"], self._budget)
        self._state = contamination_film.shower(self._setup, self._state, dose_e_per_angstrom2)
        return self.time_s

    def acquire(
        self,
        scan: Scan,
        *,
        dwell_time_us: float | None = None,
        frames: int = 1,
        detectors: Sequence[str | NamedDetector] | str | NamedDetector = ("haadf",),
        average: bool = False,
        progress: Progress | None = None,
    ) -> xr.Dataset:
        """Scan and count electrons; noise is fresh for each frame.

        Parameters
        ----------
        scan : Scan
            Where the beam is sent, in coordinates of the stage at rest: what lies there moves with stage and drift.
        dwell_time_us : float, optional
            Time at each point, us; by default the profile's.
        frames : int
            How often the scan is repeated.
        detectors : sequence
            Registry names and detectors, read at once; a camera (``"pixelated"``, ``"ronchigram"``, ``PixelatedDetector``) and spectra (``"eels"``,
            ``"edx"``, ``EELSDetector``, ``EDXDetector``) beside others.
        average : bool
            Return the mean of all frames, float32, instead of each.
        progress : callable, optional
            Called with the number of waves that were just done while an imaging operator is built.

        Notes
        -----
        Within a pass the beam's place and current follow the clock; the aberrations are those of the middle of the pass, and the specimen changes
        between passes. Where they stray in one slow frame, ask for several quick ones and ``average``.

        Returns
        -------
        xarray.Dataset
            One variable per detector, dims (y, x) or (point,), with a dimension frame first if there are several: detected electrons, uint32, or what
            the ADC says (units ``adu``, with ``gain_adu``, ``offset_adu``) where the profile has a detector chain. Attributes have the nominal dose
            of all frames (e-/A^2, of rasters, over the whole field), the time at the start (s) and the settings.

        Raises
        ------
        StemtwinError
            The scan or a setting cannot be carried out, or the dose budget does not suffice; the state is unchanged then.

        Warns
        -----
        PhysicsWarning
            A dark-field detector with ``phonons="damped"``: thermal diffuse scattering, most of its signal, is left out.
        """
        average = checks.flag("average", average)
        checks.function("progress", progress)
        asked = acquisition.order(self._setup, self._state, scan, dwell_time_us=dwell_time_us, frames=frames, detectors=detectors)
        doubtful_physics.warn(asked.notes)
        dose_budget.check(self._state, scan, asked.cost["dose_e_per_angstrom2"], self._budget)
        out, self._state = acquisition.acquire(self._setup, self._state, asked, average=average, progress=progress)
        return out

    def acquire_spectrum(
        self,
        at: Scan | Sequence[float],
        *,
        detectors: Sequence[str | NamedDetector] | str | NamedDetector | None = None,
        dwell_time_us: float | None = None,
        frames: int = 1,
        edges: Sequence[str] = (),
        average: bool = False,
        progress: Progress | None = None,
    ) -> xr.Dataset:
        """Take spectra at a point, or along any scan; images beside them, if asked for, are of the same electrons.

        Parameters
        ----------
        at : Scan or sequence of float
            Where the beam is sent: a scan, or a point (x, y), A, in coordinates of the stage at rest.
        detectors : sequence, optional
            As in :meth:`acquire`; by default all spectra, ``("eels", "edx")``.
        dwell_time_us, frames, average, progress
            As in :meth:`acquire`; spectra alone may take 100 s at each point.
        edges : sequence of str
            Edges that the range of energy losses must hold, ``("Ti_L3", "O_K")``: refused otherwise.

        Returns
        -------
        xarray.Dataset
            As of :meth:`acquire`: ``eels``, dims (..., energy_loss_ev), ``edx``, dims (..., photon_energy_ev), counts, uint32, or float32 where the
            camera has a gain or read noise. Of a point there are no other dimensions.

        Raises
        ------
        StemtwinError
            As of :meth:`acquire`, or an edge lies outside the range; the state is unchanged then.
        """
        detectors = DETECTORS.names("spectrum") if detectors is None else detectors
        spectra.check_edges(detectors, edges)
        scan, point = spectra.scan_of(at)
        out = self.acquire(scan, dwell_time_us=dwell_time_us, frames=frames, detectors=detectors, average=average, progress=progress)
        return out.isel(point=0) if point else out

    # ---- tuning

    def measure(
        self, kind: str = "C1A1", *, angle_mrad: float | None = None, max_fit: str | None = None, progress: Callable[[int], None] | None = None
    ) -> xr.Dataset:
        """Measure aberrations on a film beside the specimen: images are taken along tilted beams, and fitted.

        Parameters
        ----------
        kind : str
            ``"C1A1"``, or a tableau: ``"Fast"``, ``"Standard"``, ``"Enhanced"``.
        angle_mrad : float, optional
            Outermost tilt of the tableau, mrad.
        max_fit : str, optional
            The highest aberration that is fitted, in Haider's or Krivanek's notation.
        progress : callable, optional
            Called with 1 after each tilt.

        Returns
        -------
        xarray.Dataset
            Estimates with 95 % intervals, A, and the images that they come from; see ``tableau.Measurement``.

        Raises
        ------
        UnknownNameError, SettingsError
            There is no such measurement; nothing has changed.
        InstrumentError
            The beam is blanked; nothing has changed. Or the fit failed: the probe is out of range, or none explains the images. Its time has passed
            all the same.
        """
        checks.function("progress", progress)
        found, self._state = aberration_tuning.measure(
            self._setup, self._state, aberration_tuning.kind(kind, angle_mrad=angle_mrad, max_fit=max_fit), progress=progress
        )
        if isinstance(found, InstrumentError):
            raise found
        return found.dataset()

    def correct(self, name: str, value: complex | Sequence[float], target: complex | Sequence[float] = 0.0, *, conjugate_mixed: bool = False) -> None:
        """Let the corrector change an aberration from what it is said to be to what it shall be, with its gain, rotation and side effects.

        Parameters
        ----------
        name : str
            Haider's name (C1, A1, B2, ...) or Krivanek's (C10, C12, C21, ...).
        value, target : complex or two floats
            What is said to be there and what shall be, A: in Haider's notation its complex coefficient, in Krivanek's C_nm exp(i m phi_nm).
        conjugate_mixed : bool
            See ``Aberrations.to_haider``.

        Raises
        ------
        StemtwinError
            There is no such aberration, or it is more than the corrector can change at once; nothing has changed.
        """
        self._state = aberration_tuning.correct(self._setup, self._state, name, value, target, conjugate_mixed=conjugate_mixed)

    # ---- the future and the past

    def estimate_cost(self, command: str, *arguments: Any, **options: Any) -> dict[str, float]:
        """Return the cost of a command, without carrying it out: ``time_s``, ``electrons``, ``dose_e_per_angstrom2``.

        Parameters
        ----------
        command : str
            ``"acquire"``, ``"acquire_spectrum"``, ``"move_stage"``, ``"advance_time"``, ``"set"``, ``"measure"``, ``"correct"`` or ``"shower"``.
        *arguments, **options
            Those of the command.

        Raises
        ------
        StemtwinError
            The command would be refused.
        """
        return commands.price(self._setup, self._state, command, arguments, options, dose_budget=self._budget)

    def snapshot(self) -> ScopeState:
        """Return the whole state; frozen, and good for any microscope made of the same sample, instrument, seed and other settings."""
        return self._state

    def restore(self, state: ScopeState) -> None:
        """Put back a state that :meth:`snapshot` returned: what follows is the same to the last bit.

        Raises
        ------
        SettingsError
            It is no such state, or that of a microscope made of something else; nothing has changed.
        """
        if not isinstance(state, ScopeState):
            message = f"state={state!r} is no snapshot. Use what snapshot() returned."
            raise SettingsError(message)
        others = dict(state.made_of)
        if different := [name for name, content in self._state.made_of if others.get(name) != content]:
            message = f"This snapshot is of a microscope with another {', '.join(different)}. Restore it in one that was made with the same."
            raise SettingsError(message)
        self._state = state

    # ---- the truth

    def truth(self) -> Mapping[str, Any]:
        """Return the hidden state, for scoring and training only.

        Returns
        -------
        Mapping
            ``beam`` (knobs, residual, misalignment, corrections and drift, all together), its ``aberrations``, their first order in A as
            ``C10_angstrom``, ``C12_angstrom``, ``C12a_angstrom``, ``C12b_angstrom``, the Strehl ratio ``strehl`` of this first order by itself (1
            where C10 and C12 are 0), ``sample`` (the atoms as they are now), ``stage`` (its true position), ``drift_angstrom`` (x, y), ``events``
            (what happened to atoms), ``film`` (contamination or None), ``dose`` (a ``DoseMap`` of where electrons truly went), ``current_factor``
            (what is left of the current), ``seed``, and ``expected``: a Dataset of the expected signals of the last pass of the last acquisition,
            without noise and electronics, as fractions of the beam, computed with the very positions, beam, specimen and configurations of that pass
            (see ``LastPass.expected``); None before the first. Patterns and spectra are computed again when ``expected`` is read.
        """
        return hidden_state.truth(self._setup, self._state)
