"""Microscope, the only stateful object of the instrument, with its knobs, stage, scans, counts and clock."""

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
from stemtwin.twin.instrument.scope.setup import ROTATED, Setup
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
    """A scanning transmission electron microscope with a specimen.

    Parameters
    ----------
    sample : Sample or PotentialSlices
        The specimen.
    instrument : str or Profile
        Instrument profile or its name. ``Profile.still()`` is the same instrument without drift, distortion and detector chain.
    seed : int
        Seed of independent random streams for the specimen's thermal motion, the instrument's instabilities, the stage and the noise.
    phonons : int or str
        Thermal motion, as in ``Request``.
    misalignment : Aberrations
        Hidden aberrations in addition to those of the profile, A and rad.
    window_angstrom : float
        Smallest width of the probe window, A. One imaging operator serves all knob settings whose probe fits into this window.
    engine : str
        Engine, as in ``Request``; ``"auto"`` prefers engines that compute every further image in milliseconds.
    damage : bool or Damage
        Changes of the specimen by the beam: none (None or False), the known processes of the material (True), or a ``Damage``.
    losses : LossModel, optional
        Model of the specimen's energy losses (materials, valences, particles); None: the model that follows from its elements.
    dose_budget_e_per_angstrom2 : float, optional
        Largest nominal dose anywhere on the specimen, e-/A^2; commands that would exceed it are refused.
    counting : str
        Method for the electron counts of images: ``"inversion"``, or ``"numpy"``, which reproduces earlier released data.
    rotated : str
        Method for images on rotated rasters. ``"series"`` sums the image's Fourier series if this is faster than spline interpolation.
        ``"spline"`` always interpolates, which reproduces earlier released data.
    lattice_average : bool or str
        Average over a perfect crystal's translations, as in ``Request``. With ``damage``, ``"auto"`` does not average.

    Raises
    ------
    UnknownNameError
        The profile is unknown.
    SettingsError
        A setting is wrong.

    Notes
    -----
    All results are pure functions of the seed, the commands and the simulated clock. A snapshot is the frozen state of the microscope, to which
    :meth:`restore` returns. All frames use the same frozen-phonon configurations of the specimen; each frame is the mean over them.

    Examples
    --------
    >>> import stemtwin as st
    >>> scope = st.Microscope(st.load_sample("mos2-1h"), instrument="nion-60", seed=1, phonons=1)
    >>> knobs = scope.set(C10=-30.0)
    >>> frame = scope.acquire(st.RasterScan(shape=(64, 64), field_of_view_angstrom=(16, 16)), dwell_time_us=20)
    >>> frame.haadf.shape
    (64, 64)
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
        rotated: str = "series",
        lattice_average: bool | str = "auto",
    ) -> None:
        profile = find_profile(instrument)
        if misalignment is not None and not isinstance(misalignment, Aberrations):
            message = f"misalignment={misalignment!r} is not an Aberrations value. Use for example st.Aberrations(C10=-50.0)."
            raise SettingsError(message)
        if losses is not None and not isinstance(losses, LossModel):
            message = f"losses={losses!r} is not a LossModel. Use for example LossModel(valences=(('Fe', 2.0),)), or leave out losses."
            raise SettingsError(message)
        self._budget = dose_budget.checked(dose_budget_e_per_angstrom2)
        self._setup = Setup(
            profile=profile,
            seed=checks.whole("seed", seed, low=0),
            phonons=phonons,
            misalignment=misalignment or Aberrations(),
            window_angstrom=checks.number("window_angstrom", window_angstrom, "A", low=0, high=1e4),
            engine=engine,
            damage=find_damage(damage),
            losses=losses,
            counting=checks.choice("counting", counting, COUNTINGS),
            rotated=checks.choice("rotated", rotated, ROTATED),
            lattice_average=lattice_average,
        )
        self._state = ScopeState(specimen=sample, knobs=knobs.initial(profile))
        self._state = beam_damage.begun(self._setup, self._state)
        imaging_requests.request(
            self._setup, self._state, RasterScan(shape=(1, 1), field_of_view_angstrom=(1, 1)), ("haadf",)
        )  # raises for a specimen that cannot be imaged
        self._state = replace(self._state, made_of=self._setup.made_of(sample))

    def __repr__(self) -> str:
        """Return a line with the specimen, the instrument, the main knobs and the seed."""
        said, specimen = self.settings, self._state.specimen
        beam = f"{said.energy_ev * 1e-3:g} kV, {said.semiangle_mrad:g} mrad, {said.current_pa:g} pA"
        name = getattr(specimen, "name", type(specimen).__name__)
        return f"Microscope({name!r}, {self.profile.name!r}, {beam}, seed={self._setup.seed})"

    # ---- readable values

    @property
    def settings(self) -> Knobs:
        """Commanded settings of the microscope, as a frozen value."""
        return self._state.knobs

    @property
    def profile(self) -> Profile:
        """Profile of the instrument, as a frozen value."""
        return self._setup.profile

    @property
    def time_s(self) -> float:
        """Time on the simulated clock since the start, s."""
        return self._state.time_s

    @property
    def stage(self) -> StagePosition:
        """Stage position as read by the encoders."""
        return self._state.stage.readback

    @property
    def spent(self) -> dict[str, float]:
        """Totals since the start: ``time_s``, ``beam_s`` (time with the beam on), ``electrons``, ``frames``, ``moves``."""
        state = self._state
        return {name: float(getattr(state, name)) for name in ("time_s", "beam_s", "electrons", "frames", "moves")}

    @property
    def dose_remaining_e_per_angstrom2(self) -> float:
        """Dose budget that remains at the position of the largest nominal dose, e-/A^2; infinite without a budget."""
        return dose_budget.remaining(self._state, self._budget)

    def dose_map(self, scan: RasterScan) -> xr.DataArray:
        """Return the total nominal dose in each pixel of a raster without rotation, in coordinates of the specimen.

        The nominal dose assumes commanded beam positions and the encoders' stage positions. The dose at the true positions is
        available only from :meth:`truth`.

        Returns
        -------
        xarray.DataArray
            Dose, e-/A^2, dims (y, x).

        Raises
        ------
        SettingsError
            The scan is not a raster, or it is rotated.
        """
        if not isinstance(scan, RasterScan):
            message = (
                f"scan={scan!r} is not a RasterScan, but a dose map needs rows and columns. Use st.RasterScan(shape=..., field_of_view_angstrom=...)."
            )
            raise SettingsError(message)
        values = self._state.sent.map().on_raster(scan)
        return xr.DataArray(values, results.coordinates(scan), scan.dims, "dose", {"units": "e-/angstrom^2", "long_name": "nominal dose"})

    # ---- commands

    def set(self, **changes: Any) -> Knobs:
        """Set knobs: energy_ev, semiangle_mrad, current_pa, camera_length_mm, blanked, aberrations and others.

        Fields of ``Knobs`` and of ``Aberrations`` are knobs. The source size follows from current, semi-angle, energy and brightness, and the
        focal spread follows from the energy. Each of them is computed again when a knob on which it depends changes. With infinite brightness
        (``ideal``), the source size does not change.

        Returns
        -------
        Knobs
            The new settings.

        Raises
        ------
        UnknownNameError
            The knob is unknown; the state is unchanged.
        SettingsError
            A value is out of range, or the source size is set together with the current that determines it; the state is unchanged.
        """
        self._state = replace(self._state, knobs=knobs.turn(self._state.knobs, self._setup.profile, changes))
        return self._state.knobs

    def move_stage(self, *, relative: bool = False, **way: float) -> StagePosition:
        """Move the stage, which takes time on the clock.

        Parameters
        ----------
        relative : bool
            Whether values are relative to the last commanded position instead of absolute.
        **way : float
            Values of x_angstrom, y_angstrom, z_angstrom, alpha_mrad, beta_mrad; other axes keep their position. A move along +x shifts the specimen
            to +x in the image, and z is positive along the beam. The tilts alpha and beta shift an atom at depth z by z tan(beta) along x and by
            z tan(alpha) along y.

        Returns
        -------
        StagePosition
            Readings of the encoders after the move.

        Raises
        ------
        SettingsError
            A name is not an axis, or a number is not finite; the stage has not moved.
        InstrumentError
            The position is out of reach; the stage has not moved.
        """
        self._state = commands.move(self._setup, self._state, way, relative=relative)
        return self.stage

    def advance_time(self, seconds: float) -> float:
        """Wait with the beam blanked while specimen, aberrations and probe current change, and return the clock time, s.

        Raises
        ------
        SettingsError
            The time is negative, or longer than 1e6 s.
        """
        self._state = commands.wait(self._setup, self._state, seconds)
        return self.time_s

    def shower(self, dose_e_per_angstrom2: float) -> float:
        """Flood a square micrometre of the specimen with the largest current to suppress contamination, and return the clock time, s.

        Parameters
        ----------
        dose_e_per_angstrom2 : float
            Dose, e-/A^2, which counts towards the budget and damages the specimen like any other dose.

        Raises
        ------
        SettingsError
            The dose is 0 or negative, or exceeds 1e6 e-/A^2.
        InstrumentError
            The beam is blanked, or the dose budget is too small; the state is unchanged.
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
        """Scan and count electrons, with independent noise in each frame.

        Parameters
        ----------
        scan : Scan
            Commanded scan in coordinates of the stage at rest. Stage moves and drift move the specimen in these coordinates.
        dwell_time_us : float, optional
            Time at each point, us; None: the dwell time of the profile.
        frames : int
            Number of frames.
        detectors : sequence
            Detectors, as registry names or values, which are read simultaneously. They can include a camera (``"pixelated"``, ``"ronchigram"``,
            ``PixelatedDetector``) and spectra (``"eels"``, ``"edx"``, ``EELSDetector``, ``EDXDetector``).
        average : bool
            Whether to return the mean of all frames, float32, instead of each frame.
        progress : callable, optional
            Function that is called while an imaging operator is built, with the number of waves that were just completed.

        Notes
        -----
        Within a pass, the position and the current of the beam follow the clock, but the aberrations are those in the middle of the
        pass, and the specimen changes only between passes. If aberrations drift notably during one slow frame, acquire several fast frames and set
        ``average``.

        Returns
        -------
        xarray.Dataset
            One variable for each detector, dims (y, x) or (point,), preceded by ``frame`` if there are several frames. Values are detected
            electrons (uint32), or converter readings of a read-out chain (units ``adu``, with ``gain_adu``, ``offset_adu``). Attributes are
            the nominal dose of all frames (rasters only, e-/A^2, over the whole field), the time at the start (s) and the settings.

        Raises
        ------
        StemtwinError
            The scan or a setting is impossible, or the dose budget is too small; the state is unchanged.

        Warns
        -----
        PhysicsWarning
            A dark-field detector is used with ``phonons="damped"``, which omits thermal diffuse scattering, most of its signal.
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
        """Acquire spectra at a point or along any scan, with optional images from the same electrons.

        Parameters
        ----------
        at : Scan or sequence of float
            Commanded scan, or a point (x, y), A, in coordinates of the stage at rest.
        detectors : sequence, optional
            Detectors as in :meth:`acquire`; None: all spectra, ``("eels", "edx")``.
        dwell_time_us, frames, average, progress
            Arguments as in :meth:`acquire`; acquisitions of only spectra allow up to 100 s at each point.
        edges : sequence of str
            Edges that must lie in the range of energy losses, such as ``("Ti_L3", "O_K")``.

        Returns
        -------
        xarray.Dataset
            Dataset as from :meth:`acquire`, with ``eels``, dims (..., energy_loss_ev), and ``edx``, dims (..., photon_energy_ev), in counts,
            uint32, or float32 where the camera has a gain or read noise. At a single point, the energy is the only dimension of a frame.

        Raises
        ------
        StemtwinError
            Errors of :meth:`acquire`, or an edge lies outside the range; the state is unchanged.
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
        """Measure aberrations on a film beside the specimen by a fit to probe images.

        Parameters
        ----------
        kind : str
            Measurement ``"C1A1"``, or a tableau: ``"Fast"``, ``"Standard"``, ``"Enhanced"``.
        angle_mrad : float, optional
            Outermost tilt of the tableau, mrad.
        max_fit : str, optional
            Highest aberration of the fit, in Haider's or Krivanek's notation.
        progress : callable, optional
            Function that is called with 1 after each tilt.

        Returns
        -------
        xarray.Dataset
            Estimated aberrations with 95 % intervals, A, and the images that were fitted; see ``tableau.Measurement``.

        Raises
        ------
        UnknownNameError, SettingsError
            The measurement is unknown; the state is unchanged.
        InstrumentError
            The beam is blanked, the fit to the images fails, or the fit yields a probe diameter out of range. With a blanked beam the state is
            unchanged; in the other two cases the clock has advanced by the duration of the measurement.
        """
        checks.function("progress", progress)
        what = aberration_tuning.kind(kind, angle_mrad=angle_mrad, max_fit=max_fit)
        found, self._state = aberration_tuning.measure(self._setup, self._state, what, progress=progress)
        if isinstance(found, InstrumentError):
            raise found
        return found.dataset()

    def correct(self, name: str, value: complex | Sequence[float], target: complex | Sequence[float] = 0.0, *, conjugate_mixed: bool = False) -> None:
        """Change an aberration from a stated value to a target with the corrector, which has gain errors, rotation and side effects.

        Parameters
        ----------
        name : str
            Haider's name (C1, A1, B2, ...) or Krivanek's (C10, C12, C21, ...).
        value, target : complex or two floats
            Stated and target value (A). In Haider's notation they are complex coefficients, in Krivanek's notation
            C_nm exp(i m phi_nm).
        conjugate_mixed : bool
            Whether mixed aberrations are complex conjugated, as in ``Aberrations.to_haider``.

        Raises
        ------
        StemtwinError
            The aberration is unknown, or the change is beyond the corrector's reach; the state is unchanged.
        """
        self._state = aberration_tuning.correct(self._setup, self._state, name, value, target, conjugate_mixed=conjugate_mixed)

    # ---- costs, snapshots

    def estimate_cost(self, command: str, *arguments: Any, **options: Any) -> dict[str, float]:
        """Return the cost of a command without executing it: ``time_s``, ``electrons``, ``dose_e_per_angstrom2``.

        Parameters
        ----------
        command : str
            Name of the command: ``"acquire"``, ``"acquire_spectrum"``, ``"move_stage"``, ``"advance_time"``, ``"set"``,
            ``"measure"``, ``"correct"`` or ``"shower"``.
        *arguments, **options
            Arguments of the command.

        Raises
        ------
        StemtwinError
            The command would be refused.
        """
        return commands.price(self._setup, self._state, command, arguments, options, dose_budget=self._budget)

    def snapshot(self) -> ScopeState:
        """Return the whole frozen state, which any microscope with the same sample, instrument, seed and other settings can restore."""
        return self._state

    def restore(self, state: ScopeState) -> None:
        """Restore a state from :meth:`snapshot`; the same commands then give the same results as after the snapshot, to the last bit.

        Raises
        ------
        SettingsError
            The value is not a snapshot, or it belongs to a different microscope; the state is unchanged.
        """
        if not isinstance(state, ScopeState):
            message = f"state={state!r} is not a snapshot. Use the result of snapshot()."
            raise SettingsError(message)
        others = dict(state.made_of)
        if different := [name for name, content in self._state.made_of if others.get(name) != content]:
            message = f"This snapshot belongs to a microscope with another {', '.join(different)}. Restore it in a microscope with the same settings."
            raise SettingsError(message)
        self._state = state

    # ---- truth

    def truth(self) -> Mapping[str, Any]:
        """Return the hidden state for scoring and training only.

        Returns
        -------
        Mapping
            Values by name: ``beam`` (the true beam), ``aberrations`` (all aberrations of this beam), ``C10_angstrom``, ``C12_angstrom``,
            ``C12a_angstrom`` and ``C12b_angstrom`` (first-order aberrations), ``strehl`` (Strehl ratio with only the first-order aberrations),
            ``sample`` (present atoms), ``stage`` (true position), ``drift_angstrom`` (drift (x, y) of the specimen), ``events`` (past changes of
            atoms), ``film`` (contamination film or None), ``dose`` (a ``DoseMap`` of the true positions of electrons), ``current_factor`` (present
            over initial current), ``seed``, and ``expected``. Before the first acquisition, ``expected`` is None. After it, ``expected`` is a Dataset
            of the expected signals of the last pass as fractions of the beam, without noise and electronics, for the true positions, beam, specimen
            and configurations of this pass (see ``LastPass.expected``). Patterns and spectra are computed again when ``expected`` is read.
        """
        return hidden_state.truth(self._setup, self._state)
