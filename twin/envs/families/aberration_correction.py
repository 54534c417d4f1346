"""``stemtwin/AberrationCorrection-v1``: tune a probe corrector order by order from images, Ronchigrams, C1A1 and tableaus."""

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.envs import session as sessions
from stemtwin.twin.envs import tuning_film, tuning_ronchigram
from stemtwin.twin.envs.arguments import one_of
from stemtwin.twin.envs.discovery import environment
from stemtwin.twin.envs.focus_features import square_roots
from stemtwin.twin.envs.functional_env import read_only
from stemtwin.twin.envs.goal_family import GoalFamily
from stemtwin.twin.envs.image_features import FEATURES, image_features
from stemtwin.twin.envs.preparation import specimen
from stemtwin.twin.envs.session import Session
from stemtwin.twin.envs.tuning_film import FIELD_ANGSTROM, SAMPLING_ANGSTROM, SIZE
from stemtwin.twin.envs.tuning_presets import (
    IMAGE,
    MEASUREMENTS,
    PRESETS,
    RONCHIGRAM,
    TuningPreset,
    draw_corrector,
    draw_misalignment,
    instrument,
    kind,
    measuring_dose,
)
from stemtwin.twin.envs.tuning_ronchigram import PIXELS
from stemtwin.twin.envs.tuning_state import Tuning, geometry, phase_of, true_aberrations
from stemtwin.twin.instrument.hardware import tableau as tableaus
from stemtwin.twin.instrument.hardware.tableau import QUANTILE_95, Measurement
from stemtwin.twin.instrument.hardware.tableau_emulation import Estimate
from stemtwin.twin.instrument.scope.setup import Setup
from stemtwin.twin.physics import electrons, noise, phase_error

STOP = 0.8
"""Threshold of the second component of an action, above which the end is declared."""
LEAST = 1e-3
"""Smallest commanded change, as a fraction of the largest change; smaller components of an action are ignored."""
SOLVED_RAD = 2 * math.pi / 14
"""Root mean square phase error below which the aperture counts as corrected, rad: a Strehl ratio of 0.8, Marechal's criterion."""
LARGEST_MISFIT = 100.0
TABLEAUS = ("emulated", "real")


@environment("AberrationCorrection", version=1, max_episode_steps=64, reward_threshold=0.6)
@dataclass(frozen=True, slots=True, kw_only=True)
class AberrationCorrection(GoalFamily[Tuning]):
    """Correct a probe's aberrations from images, Ronchigrams, C1A1 and tableaus, with a corrector of uncertain response.

    Description
        The commands are those of a probe corrector's software: take an image of gold clusters on carbon or a Ronchigram
        of the carbon, measure C1A1 or a Zemlin tableau, and correct C1, A1, B2, A2, C3, S3 and A3. Each commanded
        change has an unknown gain and rotation, hysteresis, and side effects on aberrations of lower order, all drawn
        for each episode. A measurement has counting noise, is biased by the higher orders that it does not fit, and
        fails if C10 or C12 exceeds 750 A. In ``standard`` and ``hard`` the aberrations drift; within a minute C10
        changes by 9 A, C12 by 5 A and C21 by 70 A. Images are computed by wave optics at a convergence semi-angle of 25 mrad
        (200 kV) or 22 mrad (300 kV), with focal spread and source size.

        A Ronchigram is the far-field shadow of 30 A of carbon under the parked probe, counted by a camera out to 1.1
        times the convergence semi-angle. The carbon consists of atoms at random positions, repeats after 102 A, and
        acts as a phase grating (correlation with multislice at least 0.95). The larger the local defocus, the finer the
        texture; where the phase is flat, the Ronchigram has no texture. Measurements are needed, because neither the
        texture of Ronchigrams nor the contrast of images suffices for the correction. A trust-region search that uses
        only Ronchigrams succeeds in 26 % of the easy episodes, and a search that uses only images succeeds in 50 %.
        Both searches fail in all episodes of the other presets. In ``standard`` they reduce the phase error from 12 rad
        to about 4 rad (median of twelve training episodes).

        The results of C1A1 and tableaus are drawn from the covariance of their counting statistics
        (``tableau="emulated"``, 1 ms of computing), or their images are computed and fitted (``tableau="real"``, 0.05
        to 1 s of computing).
    Action space
        ``Box(-1, 1, (K + 2,), float32)`` with K = 3 (easy), 7 (standard), 12 (hard).

        ========= ==================================================== ==== ==================================================
        component meaning                                              unit range
        ========= ==================================================== ==== ==================================================
        0         acquisition: an image (below -0.6), a Ronchigram     --   -1 to 1
                  (below -0.2), an image and C1A1 (below 0.2), an
                  image and a Fast tableau (below 0.6), or an image
                  and a Standard tableau
        1         stop: above 0.8 the end is declared, after the       --   -1 to 1
                  corrections and without an acquisition
        2 to K+1  changes of C10, C12a, C12b, C21a, C21b, C23a, C23b,  A    -1 to 1 times the largest misalignment of the
                  C30, C32a, C32b, C34a, C34b; carried out before the       preset; changes below 0.001 are not commanded;
                  acquisition, one aberration after the other; each         the knobs reach five times the largest
                  correction takes 1 s, even if it fails                    misalignment
        ========= ==================================================== ==== ==================================================

        C_nm,a and C_nm,b are C_nm times cosine and sine of m phi_nm. C1A1 takes 1.3 s; a Fast tableau takes 12 s and
        measures orders 1 and 2; a Standard tableau takes 24 s and measures orders 1 to 4. A Ronchigram takes as many
        electrons and as much time as an image. Commands that the budget does not allow are not carried out. A Ronchigram or
        a measurement that the budget does not allow is reported as failed.
    Observation space
        ``"counts"``: a ``Dict``.

        ============== ================= ========= ==================================================================
        component      type              unit      meaning
        ============== ================= ========= ==================================================================
        ``image``      uint16 (128, 128) e- or ADU the last image, 51 x 51 A: electrons (easy) or ADU (offset 1000,
                                                   7.6 ADU per electron)
        ``ronchigram`` uint16 (128, 128) e-        the last Ronchigram, 55 mrad wide at 200 kV; zeros before the first
        ``knobs``      float32 (K,)      A         commanded changes since the start, without those that failed
        ``estimates``  float32 (K,)      A         last measured coefficients, not updated by later corrections; 0
                                                   before the first measurement
        ``errors``     float32 (K,)      A         standard deviations of the estimates; before the first measurement
                                                   the reach of the knob
        ``ages``       float32 (K,)      s         time since the estimates were measured; before the first
                                                   measurement the time budget
        ``report``     MultiBinary(6)    --        last acquisition: image, Ronchigram, C1A1, Fast, Standard; and
                                                   whether it failed
        ``misfit``     float32 (1,)      1         chi-square per degree of freedom of the last result, at most 100
        ``budget``     float32 (3,)      1         remaining fractions of actions, time and dose
        ``electrons``  float32 (1,)      e-        incident electrons at one point of an image
        ============== ================= ========= ==================================================================

        ``"pixels"``: ``image`` uint8 (2, 64, 64) and ``scalars`` float32 (4 K + 11,). The first channel has the square
        roots of the image in bins of 2 x 2 points; the second has the Ronchigram in bins of 2 x 2 pixels. The mean of
        the Ronchigram has the level 128, and a deviation of 1 % from this mean is 5 levels. The scalars are knobs, estimates and errors in
        units of the reach, ages in units of the time budget, report, misfit, budget, and logarithm of the electrons.
        ``"state"``: 26 features of the image and 26 of the middle of the Ronchigram, then these scalars.
    Reward
        ``"dense"``: 0.3 times the change of 1 / (1 + s), plus 0.6 times the achievement exp(-s^2) at the declared end,
        minus 0.1 times the change of the spent budget (the largest of the spent fractions of actions, time and dose).
        ``"sparse"``: only the achievement. s is the root mean square over the aperture, in rad, of the phase of all
        aberrations to fifth order, including those that cannot be corrected. The mean phase is subtracted, and aberrations
        such as C10 and C30 can partly compensate each other. For small s, exp(-s^2) is the Strehl ratio. An episode is a success if s < 2 pi /
        14 at the declared end (Marechal criterion).
    Starting state
        Misalignments of all correctable orders are added to the instrument's residual aberrations. Their magnitudes are
        uniform between the preset's smallest and largest magnitude, and their azimuths are uniform. One image has been
        taken. Option of ``reset``: ``scale``, a factor of the misalignment from 0 to 1.
    Episode end
        An episode is terminated only by the declared stop. It is truncated when the actions are spent, or when time or
        dose do not suffice for another image. No budget is exceeded.
    Presets
        ========================== =============== ================= =====================
        preset                     easy            standard          hard
        ========================== =============== ================= =====================
        orders                     1               1, 2              1, 2, 3
        C10, C12, A                500, 300        600, 400          1000, 500
        C21, C23, nm               --              1200, 500         1500, 500
        C30, C32, C34, um          --              --                3, 10, 3
        gains                      0.95 to 1.05    0.85 to 1.15      0.75 to 1.25
        rotation, coupling up to   none            0.06 rad, 1.5     0.12 rad, 2.5
        hysteresis, ``failing``    none            2 %, none         4 %, 10 %
        electrons of an image      800 to 3000     500 to 2000       300 to 1500
        current of measurements    200 pA          60 pA             30 pA
        actions, s, e-/A^2         20, 120, 1e6    40, 240, 8e5      56, 360, 6e5
        instruments                200 kV, stable  200 kV, drifting  200, 300 kV, drifting
        ========================== =============== ================= =====================

        The rows of coefficients give the largest misalignments. ``failing`` is the probability that a command has no
        effect. Electrons of an image are incident electrons at one point. A coupling of 1 is that of a typical
        corrector, in which 1 um of C30 adds 5 nm of C10 and 20 nm of C21.
    Example
        ::

            import gymnasium as gym, numpy as np, stemtwin
            env = gym.make("stemtwin/AberrationCorrection-v1", difficulty="easy")
            step, (seen, info), over = env.unwrapped.task.preset.step, env.reset(seed=1), False
            wanted = np.zeros(3)
            for stop in (-1, -1, 1):  # C1A1 and a correction, twice, then the end
                action = np.append([0.0, stop], np.clip(wanted / step, -1, 1)).astype(np.float32)
                seen, reward, over, _, info = env.step(action)
                wanted = -seen["estimates"]
            print(reward, info["cost"])
    Version history
        v1: first version.

    Parameters
    ----------
    difficulty, split, observation, reward, randomisation, privileged_info
        See ``EnvArguments``. ``knob_gain`` is the corrector's gain for orders 1, 2 and 3. Specimen, scan rotation and
        faults of the stage are not drawn. The probabilities ``closed_valve`` and ``failed_correction`` are 0 by default;
        see ``Faults``.
    tableau : str
        ``"emulated"``: the results of C1A1 and tableaus are drawn from their statistics. ``"real"``: the results are fitted
        to computed images.

    Raises
    ------
    StemtwinError
        A name is unknown or a number is out of range.
    """

    PRESETS: ClassVar[dict[str, TuningPreset]] = PRESETS
    RANDOMISED: ClassVar[tuple[str, ...]] = (
        *("profiles", "electrons_per_point", "residual", "drift", "knob_gain", "failing"),
        *("closed_valve", "failed_correction"),
    )
    RESET_OPTIONS: ClassVar[tuple[str, ...]] = ("scale",)

    tableau: str = "emulated"

    def __post_init__(self) -> None:
        """Check the arguments."""
        GoalFamily.__post_init__(self)
        one_of("tableau", self.tableau, TABLEAUS)

    # ---- spaces

    @property
    def action_space(self) -> gym.spaces.Box:
        """Space of actions: acquisition, stop, and changes of the coefficients as fractions of the largest changes."""
        return gym.spaces.Box(-1.0, 1.0, (len(self.preset.names) + 2,), np.float32)

    @property
    def observation_space(self) -> gym.spaces.Space:
        """Space of the chosen form of observation."""
        count, reach = len(self.preset.names), self.preset.reach.astype(np.float32)
        scalars = 4 * count + len(MEASUREMENTS) + 6
        if self.observation == "state":
            return gym.spaces.Box(-1.0, 1.0, (2 * FEATURES + scalars,), np.float32)
        if self.observation == "pixels":
            image = gym.spaces.Box(0, 255, (2, SIZE // 2, SIZE // 2), np.uint8)
            return gym.spaces.Dict({"image": image, "scalars": gym.spaces.Box(-1.0, 1.0, (scalars,), np.float32)})
        return gym.spaces.Dict(
            {
                "image": gym.spaces.Box(0, 65535, (SIZE, SIZE), np.uint16),
                "ronchigram": gym.spaces.Box(0, 65535, (PIXELS, PIXELS), np.uint16),
                "knobs": gym.spaces.Box(-reach, reach, (count,), np.float32),
                "estimates": gym.spaces.Box(-10 * reach, 10 * reach, (count,), np.float32),
                "errors": gym.spaces.Box(0 * reach, reach, (count,), np.float32),
                "ages": gym.spaces.Box(0.0, self.preset.time_s, (count,), np.float32),
                "report": gym.spaces.MultiBinary(len(MEASUREMENTS) + 1),
                "misfit": gym.spaces.Box(0.0, LARGEST_MISFIT, (1,), np.float32),
                "budget": gym.spaces.Box(0.0, 1.0, (3,), np.float32),
                "electrons": gym.spaces.Box(0.0, 6e4, (1,), np.float32),
            }
        )

    # ---- the episode

    def check_reset(self, *, scale: Any = 1.0) -> None:
        """Raise an error for invalid options of ``reset``.

        Raises
        ------
        SettingsError
            ``scale`` is not in [0, 1].
        """
        checks.number("scale", scale, "times the usual misalignment", low=0, high=1)

    def initial(self, rng: np.random.Generator, *, scale: float = 1.0) -> Tuning:
        """Draw conditions, corrector, misalignment and film, and take an image."""
        preset, conditions = self.preset, self.conditions().draw(rng)
        seed = int.from_bytes(rng.bytes(16), "little")
        corrector = draw_corrector(preset, conditions, rng)
        off, density = draw_misalignment(preset, rng, scale), math.exp(rng.uniform(*np.log(preset.density)))
        profile = instrument(preset, conditions, corrector)
        setup = Setup(profile=profile, seed=seed, phonons=1, lattice_average=False, specimen_seed=0, misalignment=off)
        begun = sessions.start(setup, specimen("graphene"), failing=conditions.failing, faults=conditions.faults)
        film = tuning_film.draw_film(geometry(begun), density, rng)
        count, zero = len(preset.names), read_only(np.zeros(len(preset.names)))
        state = Tuning(
            session=begun,
            conditions=conditions,
            density=density,
            film=read_only(film),
            carbon=int.from_bytes(rng.bytes(8), "little"),
            knobs=zero,
            image=np.zeros((SIZE, SIZE), np.uint16),
            ronchigram=read_only(np.zeros((PIXELS, PIXELS), np.uint16)),
            estimates=zero,
            errors=read_only(preset.reach),
            times_s=read_only(np.full(count, -np.inf)),
        )
        return self._photographed(state)

    def transition(self, state: Tuning, action: np.ndarray, rng: np.random.Generator) -> Tuning:
        """Carry the corrections out, then make the chosen acquisition unless the end is declared."""
        del rng  # all randomness follows from the episode's own seed
        state = self._corrected(replace(state, moves=state.moves + 1), np.asarray(action[2:], float))
        if action[1] > STOP:
            return replace(state, stopped=True)
        name = MEASUREMENTS[min(int((float(action[0]) + 1) * len(MEASUREMENTS) / 2), len(MEASUREMENTS) - 1)]
        if name != RONCHIGRAM and self._affordable(state, IMAGE):
            state = self._photographed(state)
        if name == IMAGE:
            return state
        if not self._affordable(state, name):
            return replace(state, taken=name, failed=True)
        return self._shadowed(state) if name == RONCHIGRAM else self._measured(state, name)

    def _corrected(self, state: Tuning, changes: np.ndarray) -> Tuning:
        """Return the state after the commanded corrections, one aberration after the other, as far as the time allows."""
        preset, session, knobs = self.preset, state.session, state.knobs.copy()
        wanted = np.clip(knobs + np.where(np.abs(changes) < LEAST, 0, changes) * preset.step, -preset.reach, preset.reach) - knobs
        for name in preset.start:
            at = [i for i, one in enumerate(preset.names) if one.startswith(name)]
            target = [*wanted[at], 0.0][:2]
            if not any(target) or session.clock_s + session.setup.profile.corrector.duration_s > preset.time_s:
                continue
            begun = session.clock_s
            session = sessions.correct(session, name, (0.0, 0.0), target)
            if not session.failed:
                knobs[at] += wanted[at]
            elif session.clock_s == begun:
                session = sessions.wait(session, session.setup.profile.corrector.duration_s)
        return replace(state, session=session, knobs=read_only(knobs))

    def _affordable(self, state: Tuning, name: str) -> bool:
        """Return True if time and dose suffice for a measurement."""
        seconds, dose = self._price(state, name)
        preset = self.preset
        return state.session.clock_s + seconds <= preset.time_s and state.dose + dose <= preset.dose_e_per_angstrom2

    def _price(self, state: Tuning, name: str) -> tuple[float, float]:
        """Return time (s) and dose, e-/A^2, of a measurement."""
        profile = state.session.setup.profile
        if name in (IMAGE, RONCHIGRAM):  # both take the same electrons and the same time
            seconds = tuning_film.duration_s(self._dwell_us(state), profile.flyback_us)
            return seconds, state.conditions.electrons_per_point / SAMPLING_ANGSTROM**2
        return tableaus.duration_s(kind(name), profile.probe_images), measuring_dose(name, profile.probe_images)

    def _dwell_us(self, state: Tuning) -> float:
        return state.conditions.electrons_per_point / noise.electrons_per_point(state.session.scope.knobs.current_pa, 1e-6)

    def _photographed(self, state: Tuning) -> Tuning:
        """Return the state after an image."""
        session = state.session
        electrons_each = state.conditions.electrons_per_point
        image, _, beam_s = tuning_film.photograph(session, geometry(session), state.film, electrons_each, self._dwell_us(state))
        return replace(state, session=self._exposed(state, beam_s), image=read_only(image), taken=IMAGE, failed=False)

    def _shadowed(self, state: Tuning) -> Tuning:
        """Return the state after a Ronchigram, with the electrons of an image."""
        incident, seconds = state.conditions.electrons_per_point * SIZE**2, self._dwell_us(state) * 1e-6 * SIZE**2
        counts = tuning_ronchigram.expose(state.session, incident, seconds, state.carbon)
        return replace(state, session=self._exposed(state, seconds), ronchigram=read_only(counts), taken=RONCHIGRAM, failed=False)

    def _exposed(self, state: Tuning, beam_s: float) -> Session:
        """Return the session after an image or a Ronchigram."""
        session = self._spent_on(state, IMAGE, state.session, beam_s)
        scope = session.scope
        return replace(session, scope=replace(scope, time_s=scope.time_s + self._price(state, IMAGE)[0], frames=scope.frames + 1))

    def _measured(self, state: Tuning, name: str) -> Tuning:
        """Return the state after a measurement of aberrations."""
        found, session = sessions.measure(state.session, name, emulated=self.tableau == "emulated")
        session = self._spent_on(state, name, session, session.clock_s - state.session.clock_s)
        state = replace(state, session=session, taken=name, failed=found is None)
        return state if found is None else self._told(state, found)

    def _told(self, state: Tuning, found: Measurement | Estimate) -> Tuning:
        """Return the state with the result of a measurement, dated to its end."""
        estimates, errors, times = state.estimates.copy(), state.errors.copy(), state.times_s.copy()
        values, reach = found.aberrations.cartesian(), self.preset.reach
        for i, name in enumerate(self.preset.names):
            if name in found.confidence:
                estimates[i] = np.clip(values[name], -10 * reach[i], 10 * reach[i])
                errors[i] = min(found.confidence[name] / QUANTILE_95, reach[i])
                times[i] = state.session.clock_s
        misfit = min(found.misfit, LARGEST_MISFIT)
        return replace(state, estimates=read_only(estimates), errors=read_only(errors), times_s=read_only(times), misfit=misfit)

    def _spent_on(self, state: Tuning, name: str, session: Session, beam_s: float) -> Session:
        """Return a session with the dose and beam time of a measurement added."""
        dose = self._price(state, name)[1]
        scope = replace(session.scope, beam_s=session.scope.beam_s + beam_s)
        return replace(session, scope=scope, dose_e_per_angstrom2=session.dose_e_per_angstrom2 + dose, last_dose_e_per_angstrom2=dose)

    # ---- observation

    def observe(self, state: Tuning) -> Any:
        """Return the observation in the chosen form."""
        preset = self.preset
        ages = np.minimum(state.session.clock_s - state.times_s, preset.time_s)
        report = np.array([*(state.taken == name for name in MEASUREMENTS), state.failed], np.int8)
        left = np.clip(1 - np.array(self._fractions(state)), 0, 1)
        if self.observation == "counts":
            return {
                "image": state.image.copy(),
                "ronchigram": state.ronchigram.copy(),
                "knobs": state.knobs.astype(np.float32),
                "estimates": state.estimates.astype(np.float32),
                "errors": state.errors.astype(np.float32),
                "ages": ages.astype(np.float32),
                "report": report,
                "misfit": np.array([state.misfit], np.float32),
                "budget": left.astype(np.float32),
                "electrons": np.array([state.conditions.electrons_per_point], np.float32),
            }
        told = [state.knobs / preset.reach, state.estimates / preset.reach, state.errors / preset.reach, ages / preset.time_s]
        level = math.log10(state.conditions.electrons_per_point) / 5
        scalars = np.concatenate([*told, report, [math.log1p(state.misfit) / math.log1p(LARGEST_MISFIT)], left, [level]])
        if self.observation == "state":
            seen = sessions.in_electrons(state.session, state.image, "haadf"), tuning_ronchigram.middle(state.ronchigram)
            scalars = np.concatenate([*map(image_features, seen), scalars])
        scalars = np.clip(scalars, -1, 1).astype(np.float32)
        if self.observation == "state":
            return scalars
        return {"image": np.stack([square_roots(state.image), tuning_ronchigram.levels(state.ronchigram)]), "scalars": scalars}

    # ---- the goal

    def _fractions(self, state: Tuning) -> tuple[float, float, float]:
        preset = self.preset
        return state.moves / preset.actions, state.session.clock_s / preset.time_s, state.dose / preset.dose_e_per_angstrom2

    def potential(self, state: Tuning) -> float:
        """Return 1 / (1 + s), with the root mean square phase error s over the aperture, rad."""
        return 1 / (1 + phase_of(state.session))

    def achievement(self, state: Tuning) -> float:
        """Return exp(-s^2), with the root mean square phase error s over the aperture, rad."""
        return math.exp(-(phase_of(state.session) ** 2))

    def success(self, state: Tuning) -> bool:
        """Return True if the end was declared with a phase error below the Marechal limit."""
        return state.stopped and phase_of(state.session) < SOLVED_RAD

    def spent(self, state: Tuning) -> float:
        """Return the largest of the spent fractions of actions, time and dose."""
        return min(1.0, max(self._fractions(state)))

    def declared(self, state: Tuning) -> bool:
        """Return True if the agent has declared the end."""
        return state.stopped

    def truncated(self, state: Tuning) -> bool:
        """Return True if the actions are spent, or if time or dose do not suffice for another image."""
        return state.moves >= self.preset.actions or not self._affordable(state, IMAGE)

    def cost(self, state: Tuning) -> dict[str, float]:
        """Return the dose on the film (e-/A^2), the beam time on the film (s), the total time (s) and the number of actions."""
        return {
            "dose_e_per_angstrom2": float(state.dose),
            "beam_s": float(state.session.scope.beam_s),
            "time_s": float(state.session.clock_s),
            "moves": float(state.moves),
        }

    def truth(self, state: Tuning) -> dict[str, float]:
        """Return the coefficients up to third order (A), phase error (rad), flat-phase angle (mrad), and drawn conditions.

        Within the flat-phase angle, the phase differs from that on the axis by less than pi / 4.
        """
        found, knobs = true_aberrations(state.session), state.session.scope.knobs
        values, optics = found.cartesian(), (electrons.wavelength(knobs.energy_ev), knobs.semiangle_mrad * 1e-3)
        told = {f"{name}_angstrom": value for name, value in values.items() if int(name[1]) <= 3}
        return {
            **told,
            "phase_rad": phase_error.rms_phase(*optics, found),
            "flat_mrad": 1e3 * phase_error.flat_angle(*optics, found),
            "density_per_angstrom2": state.density,
            "log10_electrons": math.log10(state.conditions.electrons_per_point),
            "energy_ev": knobs.energy_ev,
        }

    def picture(self, state: Tuning) -> np.ndarray:
        """Draw the last image or Ronchigram, estimates, knobs and budgets; return uint8, shape (height, width, 3)."""
        from stemtwin.twin.envs import tuning_pictures

        shares, shadow = self._fractions(state), state.taken == RONCHIGRAM and not state.failed
        done = state.taken if state.taken in (IMAGE, RONCHIGRAM) else f"image and {state.taken}"
        return tuning_pictures.tuning_picture(
            state.ronchigram.astype(float) if shadow else sessions.in_electrons(state.session, state.image, "haadf"),
            names=self.preset.names,
            told={"knobs": state.knobs, "estimates": state.estimates, "errors": state.errors},
            steps=self.preset.step,
            left=dict(zip(("actions", "time", "dose"), (max(0.0, 1 - share) for share in shares), strict=True)),
            title="end declared" if state.stopped else f"{done}: failed" if state.failed else done,
            note=f"action {state.moves}, {state.session.clock_s:.1f} s",
            failed=state.failed and not state.stopped,
            dose=state.dose,
            field_of_view=None if shadow else FIELD_ANGSTROM,
        )
