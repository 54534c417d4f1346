"""``stemtwin/Autofocus-v2``: correction of defocus and twofold astigmatism from images."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.envs import session as sessions
from stemtwin.twin.envs.arguments import Conditions, Randomisation
from stemtwin.twin.envs.discovery import environment
from stemtwin.twin.envs.focus_features import BANDS, SECTORS, features, square_roots
from stemtwin.twin.envs.focus_instrument import (
    CURRENT_PA,
    FIELD_ANGSTROM,
    INSTRUMENTS,
    PRESETS,
    SHAPE,
    SPECIMENS,
    AutofocusPreset,
    begin,
    focus_plan,
    imaging,
    instrument,
    operator_numbers,
    window_angstrom,
)
from stemtwin.twin.envs.functional_env import read_only
from stemtwin.twin.envs.goal_family import FinalError, GoalFamily
from stemtwin.twin.envs.preparation import PreparationLine
from stemtwin.twin.envs.session import Session
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.scope.setup import Setup
from stemtwin.twin.instrument.simulation.request import checked_phonons
from stemtwin.twin.physics import electrons, noise, probe
from stemtwin.twin.physics.aberrations import Aberrations

NAMES = ("C10", "C12a", "C12b")
"""Aberrations that the knobs change."""
STEP = np.array([100.0, 50.0, 50.0])
"""Largest changes of C10, C12a and C12b in one action, A."""
GOAL = 20.0
"""Limit of abs(C10) and abs(C12) below which the probe is in focus, A."""
STOP = 0.5
"""Threshold of the fourth component of an action, above which the end is declared."""
ORIGIN_ANGSTROM = 100.0
"""Side of the square from which the corner of the field is drawn, A."""
HOUR_S = 3600.0
STACK = 2
"""Number of frames in the observation form "pixels"."""
OF_THE_STAGE = ("blocked_stage", "refused_while_moving")
"""Faults that are not drawn, because the stage does not move."""
HISTORY = 4
"""Number of frames in the observation form "state"."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Focusing:
    """State of an episode of the focusing task, version 2.

    Parameters
    ----------
    session : Session
        The microscope and the record of its use.
    conditions : Conditions
        Conditions of the episode.
    scan : RasterScan
        Scan of the field.
    dwell_time_us : float
        Dwell time at each point, us.
    knobs : ndarray
        Commanded changes of C10, C12a and C12b since the start, A.
    true : ndarray
        True values (A) of C10, C12a and C12b.
    strehl : float
        Strehl ratio of the true C10 and C12.
    path : tuple of ndarray
        Positions of the knobs before each action, oldest first.
    kept : float
        Sum of the Strehl ratios of all frames except the first.
    images : tuple of ndarray
        Readings of the last frames, latest first, uint16.
    history : tuple of ndarray
        Knobs and features of the last frames, latest first, for the observations "state" and "pixels".
    frames, moves : int
        Numbers of frames and of actions so far.
    stopped : bool
        Whether the agent declared the end.
    """

    session: Session
    conditions: Conditions
    scan: RasterScan
    dwell_time_us: float
    knobs: np.ndarray
    true: np.ndarray
    strehl: float
    path: tuple[np.ndarray, ...] = ()
    kept: float = 0.0
    images: tuple[np.ndarray, ...] = ()
    history: tuple[np.ndarray, ...] = ()
    frames: int = 0
    moves: int = 0
    stopped: bool = False

    @property
    def dose(self) -> float:
        """Dose so far, e-/A^2."""
        return self.session.dose_e_per_angstrom2


@environment("Autofocus", version=2, max_episode_steps=64, reward_threshold=0.7, batched=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class Autofocus(GoalFamily[Focusing]):
    """Bring a crystal into focus: set defocus and twofold astigmatism to zero from images, then declare the end.

    Description
        On a microscope, an operator sets defocus (C1) and twofold astigmatism (A1) by the focus knob and the two knobs of
        the condenser or corrector stigmator before every important image. The guide is the sharpness of a live image or
        of its power spectrum. Here both aberrations of an aberration-corrected instrument start at unknown values. After
        each action the instrument's own HAADF detector takes a frame of 128 x 128 points over 16 A, at a convergence
        semi-angle of 20 mrad and 50 pA. Specimen, position of the field, scan rotation, dose, residual aberrations,
        drift, gain of the knobs and failing commands are drawn for each episode. A single frame barely reveals the sign
        of the defocus, so two frames at different knob settings are needed.
    Action space
        ``Box(-1, 1, (4,), float32)``; knobs stop at the ends of their ranges.

        ========= ============================== ==== ==================
        component meaning                        unit range
        ========= ============================== ==== ==================
        0         change of C10                  A    -100 to 100
        1, 2      changes of C12a, C12b          A    -50 to 50
        3         stop: above 0.5 the end is     --   -1 to 1
                  declared, after the changes
                  and without a frame
        ========= ============================== ==== ==================

        Uniform random actions declare the end with a probability of one quarter.
    Observation space
        ``"counts"``: a ``Dict``.

        ============== =================== ========= ===============================================
        component      type                unit      meaning
        ============== =================== ========= ===============================================
        ``image``      uint16 (128, 128)   e- or ADU the last frame: electrons (easy) or ADU
                                                     (offset 1000, 7.6 ADU per electron)
        ``knobs``      float32 (3,)        A         commanded changes of C10, C12a, C12b since the
                                                     start
        ``budget``     float32 (2,)        1         remaining fractions of frames and dose
        ``scan``       float32 (2,)        1         cosine and sine of the scan's rotation
        ``electrons``  float32 (1,)        1         incident electrons at one point
        ============== =================== ========= ===============================================

        ``"pixels"``: a ``Dict``. ``image`` uint8 (2, 64, 64) has the last two frames, latest first, in bins of 2 x 2
        points, as 100 sqrt(b / mean b), where b is a bin minus the smallest bin, at most 255. ``scalars`` float32 (11,)
        has ``knobs`` at both frames, each divided by the end of its range, then ``budget``, ``scan``, and
        log10(mean reading) / 5. ``"state"``: float32 (113,). Each of the last four frames has the knobs, divided likewise,
        and 24 logarithms of power over noise, in 12 azimuths (relative to the specimen) and 2 bands of spatial frequency;
        the last five numbers are as in ``scalars``. The first frame replaces frames that are not yet taken.
    Reward
        ``"dense"``: 0.3 times the change of the Strehl ratio of (C10, C12), plus 0.6 times the achievement at the
        declared end, minus 0.1 times the change of the spent budget (the larger of the spent fractions of frames and
        dose). ``"sparse"``: only the achievement. The achievement is 1 if abs(C10) and abs(C12) are below 20 A at the
        declared end, else 0. In the preset ``drift`` the achievement is the sum of the Strehl ratios of all frames except
        the first, one per minute, divided by 60, at most 1.
    Starting state
        abs(C10) and abs(C12) are uniform in the preset's ranges, C10 with either sign, C12 at any azimuth; the first
        frame has been taken. Options of ``reset``: ``start_angstrom``, (C10, C12a, C12b) within the upper ends of these
        ranges; ``scale``, a factor of the drawn start from 0 to 1.
    Episode end
        An episode is terminated only by the declared stop. It is truncated with the last frame that the budgets allow, so the
        end must be declared before that frame. Above about 1000 electrons per point (hard: 600) the dose is spent first.
    Presets
        ``easy``: MoS2, a perfect scan and counted electrons, C10 from 20 to 100 A, C12 up to 50 A. ``standard``: MoS2,
        SrTiO3 or gold, all about 8 A thick, with a detector read-out chain, scan distortion, specimen drift and
        drifting aberrations; C10 from 20 to 105 A, C12 up to 60 A. ``hard``: five specimens, two instruments, lower
        dose, gains of the knobs from 0.9 to 1.1, residual aberrations 0.5 to 1.5 times the profile's, 5 % failing
        commands; C10 from 40 to 150 A, C12 up to 100 A. ``drift``: one minute passes before each frame; keep MoS2 in
        focus for an hour, then declare the end. Within a minute C10 drifts systematically by about 6 A and at random by
        9 A, C12 at random by 5 A.
    Baselines
        The returns of ``expert`` do not decrease from ``easy`` to ``hard``, because every policy, even the oracle, can gain more Strehl ratio from a
        worse start. The final distance from focus does increase, and its confidence intervals in these presets do not overlap. ``stemtwin.reference``
        gives returns and distances. ``expert`` fits a model of the instrument to all frames. The model is bounded by the specimens, instruments, and
        ranges of start, residual aberrations and gains on this page. Like every agent, ``expert`` receives these bounds in its brief (``known``).
    Example
        ::

            import gymnasium as gym, numpy as np, stemtwin
            env = gym.make("stemtwin/Autofocus-v2", difficulty="easy")
            (seen, info), sharp, at = env.reset(seed=1), [], []
            for step in (-0.8, 0.4, 0.4, 0.4, 0.4):  # through focus, from -80 to 80 A
                seen, *_ = env.step(np.array([step, 0, 0, -1], np.float32))
                sharp, at = [*sharp, seen["image"].std()], [*at, seen["knobs"][0]]
            back = np.clip((at[int(np.argmax(sharp))] - at[-1]) / 100, -1, 1)  # back to the sharpest frame, and stop
            seen, reward, terminated, truncated, info = env.step(np.array([back, 0, 0, 1], np.float32))

    Version history
        v2: rewards for solving the task, a declared end, drawn conditions, the instrument's own detector, faults.
        v1: frozen, see ``AutofocusV1``.

    Parameters
    ----------
    difficulty, split, observation, reward, randomisation, privileged_info
        See ``EnvArguments``; all conditions can be drawn except faults of the stage, which does not move here.
    phonons : int or str
        Number of frozen-phonon configurations, or ``"auto"``; see ``Request``.

    Raises
    ------
    StemtwinError
        A name is unknown or a number is out of range.
    """

    PRESETS: ClassVar[dict[str, AutofocusPreset]] = PRESETS
    RANDOMISED: ClassVar[tuple[str, ...]] = tuple(item.name for item in fields(Randomisation) if item.name not in OF_THE_STAGE)
    RESET_OPTIONS: ClassVar[tuple[str, ...]] = ("start_angstrom", "scale")
    FINAL_ERROR: ClassVar[FinalError | None] = FinalError(entry="error_angstrom", title="root of C10^2 + C12^2 at the end", unit="A")

    phonons: int | str = 4

    def __post_init__(self) -> None:
        """Check the arguments; the dose must suffice for two frames."""
        GoalFamily.__post_init__(self)
        checked_phonons(self.phonons)
        most, budget = self.conditions().electrons_per_point[1], self.preset.dose_budget_e_per_angstrom2
        dose = most * math.prod(SHAPE) / FIELD_ANGSTROM**2
        if 2 * dose > budget:
            message = (
                f"randomisation draws up to {most:g} electrons_per_point, which is {dose:.3g} e-/A^2 per frame, but an episode of "
                f"difficulty={self.difficulty!r} allows {budget:.3g} e-/A^2, and two frames are needed. "
                f"Give at most {most * budget / (2 * dose):.4g} electrons_per_point."
            )
            raise SettingsError(message)

    @property
    def action_space(self) -> gym.spaces.Box:
        """Space of actions: changes of C10, C12a and C12b as fractions of the largest changes, and the stop."""
        return gym.spaces.Box(-1.0, 1.0, (4,), np.float32)

    @property
    def observation_space(self) -> gym.spaces.Space:
        """Space of the chosen form of observation."""
        if self.observation == "state":
            return gym.spaces.Box(-1.0, 1.0, (HISTORY * (3 + SECTORS * (len(BANDS) - 1)) + 5,), np.float32)
        if self.observation == "pixels":
            image = gym.spaces.Box(0, 255, (STACK, SHAPE[0] // 2, SHAPE[1] // 2), np.uint8)
            return gym.spaces.Dict({"image": image, "scalars": gym.spaces.Box(-1.0, 1.0, (3 * STACK + 5,), np.float32)})
        reach = np.array(self.preset.reach, np.float32)
        return gym.spaces.Dict(
            {
                "image": gym.spaces.Box(0, 65535, SHAPE, np.uint16),
                "knobs": gym.spaces.Box(-reach, reach, (3,), np.float32),
                "budget": gym.spaces.Box(0.0, 1.0, (2,), np.float32),
                "scan": gym.spaces.Box(-1.0, 1.0, (2,), np.float32),
                "electrons": gym.spaces.Box(0.0, 6e4, (1,), np.float32),
            }
        )

    def known(self) -> dict[str, Any]:
        """Return the numbers in the brief of every agent, such as the ranges of random draws, the ranges of the knobs, the budgets and the goal."""
        numbers = operator_numbers(self.preset, self.conditions())
        return {**numbers, "randomisation": self.drawn_ranges(), "step_angstrom": STEP.tolist(), "goal_angstrom": GOAL}

    def prepare(self, line: PreparationLine) -> None:
        """Build the imaging operators of all specimens and instruments that are not cached; each build takes seconds."""
        drawn = self.conditions()
        pairs = [(sample, profile) for profile in drawn.profiles for sample in drawn.samples]
        for number, (sample, profile) in enumerate(pairs, 1):
            plan = focus_plan(self.preset, drawn, self.phonons, sample, profile)
            plan.operator(line.operator(number, len(pairs), plan.plan.waves))

    def initial(self, rng: np.random.Generator, *, start_angstrom: Sequence[float] | None = None, scale: float = 1.0) -> Focusing:
        """Draw conditions, misalignment and position of the field, and take the first frame."""
        return self._photographed([self._begun(rng, start_angstrom, scale)])[0]

    def _begun(self, rng: np.random.Generator, start_angstrom: Sequence[float] | None = None, scale: float = 1.0) -> Focusing:
        """Return a state before its first frame."""
        preset, conditions = self.preset, self.conditions().draw(rng)
        c10 = rng.uniform(*preset.start_c10) * rng.choice([-1.0, 1.0])
        c12, azimuth = rng.uniform(*preset.start_c12), rng.uniform(0, 2 * np.pi)
        origin = (float(rng.uniform(0, ORIGIN_ANGSTROM)), float(rng.uniform(0, ORIGIN_ANGSTROM)))
        seed = int.from_bytes(rng.bytes(16), "little")
        off = scale * np.array([c10, c12 * np.cos(azimuth), c12 * np.sin(azimuth)]) if start_angstrom is None else np.array(start_angstrom, float)
        side = (FIELD_ANGSTROM, FIELD_ANGSTROM)
        scan = RasterScan(shape=SHAPE, field_of_view_angstrom=side, origin_angstrom=origin, rotation_rad=conditions.rotation_rad)
        setup = Setup(
            profile=instrument(conditions.profile, conditions.residual, conditions.drift, faults=preset.faults),
            seed=seed,
            phonons=self.phonons,
            lattice_average=False,
            specimen_seed=0,
            misalignment=Aberrations.from_cartesian(**dict(zip(NAMES, off.tolist(), strict=True))),
            window_angstrom=window_angstrom(preset, self.conditions(), conditions.sample, conditions.profile),
        )
        gains = dict(zip(NAMES, conditions.knob_gain, strict=True))
        begun = begin(setup, conditions.sample, gains=gains, failing=conditions.failing, faults=conditions.faults)
        dwell = conditions.electrons_per_point / noise.electrons_per_point(CURRENT_PA, 1e-6)
        zero = read_only(np.zeros(3))
        return Focusing(session=begun, conditions=conditions, scan=scan, dwell_time_us=dwell, knobs=zero, true=zero, strehl=0.0)

    def check_reset(self, *, start_angstrom: Any = None, scale: Any = 1.0) -> None:
        """Raise an error for invalid options of ``reset``.

        Raises
        ------
        SettingsError
            ``start_angstrom`` is beyond the preset's range, ``scale`` is not in [0, 1], or both options are given.
        """
        checks.number("scale", scale, "times the usual start", low=0, high=1)
        if start_angstrom is None:
            return
        if scale != 1.0:
            message = f"start_angstrom={start_angstrom!r} and scale={scale!r} are both given, but scale applies to a drawn start. Give one of them."
            raise SettingsError(message)
        most = self.preset.start_c10[1], self.preset.start_c12[1]
        try:
            c10, a, b = (checks.number("start_angstrom", value, "A") for value in start_angstrom)
        except TypeError:
            c10, a, b = math.inf, 0.0, 0.0
        except ValueError as error:
            if isinstance(error, SettingsError):
                raise
            c10, a, b = math.inf, 0.0, 0.0
        if abs(c10) > most[0] or math.hypot(a, b) > most[1]:
            message = (
                f"start_angstrom={start_angstrom!r} is not (C10, C12a, C12b) with abs(C10) <= {most[0]:g} A and abs(C12) <= {most[1]:g} A, the "
                f"range of difficulty={self.difficulty!r}. Give three numbers within it."
            )
            raise SettingsError(message)

    def transition(self, state: Focusing, action: np.ndarray, rng: np.random.Generator) -> Focusing:
        """Turn the knobs, and take a frame unless the end is declared."""
        return self.transitions([state], [action], [rng])[0]

    def transitions(
        self,
        states: Sequence[Focusing],
        actions: Sequence[Any],
        generators: Sequence[np.random.Generator],
        beginning: Sequence[np.random.Generator] = (),
    ) -> list[Focusing]:
        """Return the next states of several episodes, followed by the first states of new episodes; all frames are computed together."""
        del generators  # all randomness follows from the episodes' own seeds
        found = [self._turned(state, np.asarray(action, float)) for state, action in zip(states, actions, strict=True)]
        found += [self._begun(rng) for rng in beginning]
        going = [i for i, state in enumerate(found) if not state.stopped]
        for i, state in zip(going, self._photographed([found[i] for i in going]), strict=True):
            found[i] = state
        return found

    def _turned(self, state: Focusing, action: np.ndarray) -> Focusing:
        """Return the state after the changes of the knobs and the wait before the next frame."""
        reach = np.array(self.preset.reach)
        wanted = read_only(np.minimum(np.maximum(state.knobs + STEP * action[:3], -reach), reach))
        after = sessions.turn_optics(state.session, dict(zip(NAMES, (wanted - state.knobs).tolist(), strict=True)))
        knobs, path = state.knobs if after.failed else wanted, (*state.path, state.knobs)
        stopped = bool(action[3] > STOP)
        if stopped:
            found = after.setup.aberrations(after.scope, after.clock_s)
            true, strehl = _alignment(after, found)
            return replace(state, session=after, knobs=knobs, path=path, moves=state.moves + 1, stopped=True, true=true, strehl=strehl)
        if self.preset.wait_s:
            after = sessions.wait(after, self.preset.wait_s)
        return replace(state, session=after, knobs=knobs, path=path, moves=state.moves + 1)

    def _photographed(self, states: Sequence[Focusing]) -> list[Focusing]:
        """Return the states after a frame of each."""
        common = self.preset, self.conditions(), self.phonons
        operators = [imaging(*common, state.conditions.sample, state.conditions.profile) for state in states]
        dwells = [state.dwell_time_us for state in states]
        taken = sessions.acquire_bare([state.session for state in states], operators, [state.scan for state in states], dwells)
        return [self._with_frame(state, *one) for state, one in zip(states, taken, strict=True)]

    def _with_frame(self, state: Focusing, readings: np.ndarray, found: Aberrations, after: Session) -> Focusing:
        """Return the state after a frame, with the true aberrations during that frame."""
        image = read_only(readings[0].astype(np.uint16))
        seen, depth = state.history, STACK
        if self.observation == "state":
            told = np.concatenate([state.knobs / self.preset.reach, features(image, state.scan.rotation_rad)])
            depth, seen = 1, (read_only(told), *seen)[:HISTORY]
        elif self.observation == "pixels":
            seen = (read_only(state.knobs / self.preset.reach), *seen)[:STACK]
        else:
            depth = 1
        true, strehl = _alignment(after, found)
        return replace(
            state,
            session=after,
            true=true,
            strehl=strehl,
            kept=state.kept + strehl if state.frames else 0.0,
            images=(image, *state.images)[:depth],
            history=seen,
            frames=state.frames + 1,
        )

    def observe(self, state: Focusing) -> Any:
        """Return the observation in the chosen form."""
        left = np.array([max(0.0, 1 - state.frames / self.preset.frames), max(0.0, 1 - state.dose / self.preset.dose_budget_e_per_angstrom2)])
        scan = np.array([math.cos(state.scan.rotation_rad), math.sin(state.scan.rotation_rad)])
        if self.observation == "counts":
            return {
                "image": state.images[0].copy(),
                "knobs": state.knobs.astype(np.float32),
                "budget": left.astype(np.float32),
                "scan": scan.astype(np.float32),
                "electrons": np.array([state.conditions.electrons_per_point], np.float32),
            }
        level = math.log10(max(float(state.images[0].mean()), 1e-2)) / 5
        scalars = np.concatenate([*_filled(state.history, HISTORY if self.observation == "state" else STACK), left, scan, [level]]).astype(np.float32)
        np.clip(scalars, -1, 1, out=scalars)
        if self.observation == "state":
            return scalars
        return {"image": np.stack([square_roots(image) for image in _filled(state.images, STACK)]), "scalars": scalars}

    def potential(self, state: Focusing) -> float:
        """Return the Strehl ratio of (C10, C12)."""
        return state.strehl

    def achievement(self, state: Focusing) -> float:
        """Return 1 in focus and 0 otherwise; in the preset ``drift``, return the mean Strehl ratio over one hour.

        One minute passes before each frame. The sum of the Strehl ratios of all frames after the first is divided by 60. Values above 1 become 1.
        """
        if self.preset.wait_s:
            return min(state.kept * self.preset.wait_s / HOUR_S, 1.0)
        return float(abs(state.true[0]) < GOAL and math.hypot(*state.true[1:]) < GOAL)

    def spent(self, state: Focusing) -> float:
        """Return the larger of the spent fractions of frames and dose."""
        return min(1.0, max(state.frames / self.preset.frames, state.dose / self.preset.dose_budget_e_per_angstrom2))

    def declared(self, state: Focusing) -> bool:
        """Return True if the agent has declared the end."""
        return state.stopped

    def truncated(self, state: Focusing) -> bool:
        """Return True if the frames are spent, or if the dose does not suffice for another frame."""
        another = sessions.raster_dose(CURRENT_PA, state.scan, state.dwell_time_us)
        return state.frames >= self.preset.frames or state.dose + another > self.preset.dose_budget_e_per_angstrom2

    def cost(self, state: Focusing) -> dict[str, float]:
        """Return the dose (e-/A^2), the beam time on the specimen (s) and the number of actions."""
        return {"dose_e_per_angstrom2": float(state.dose), "beam_s": float(state.session.scope.beam_s), "moves": float(state.moves)}

    def truth(self, state: Focusing) -> dict[str, float]:
        """Return C10, C12a, C12b, abs(C12) and the root of C10^2 + C12^2 (all in A), the Strehl ratio, and the drawn conditions.

        Aberrations and Strehl ratio are those of the last frame or, after a declaration, those at the end. ``hour_strehl`` is
        the mean Strehl ratio over one hour (:meth:`achievement`) in the preset ``drift``, and 0 in the other presets.
        """
        c10, c12a, c12b = (float(v) for v in state.true)
        drawn = state.conditions
        return {
            "C10_angstrom": c10,
            "C12a_angstrom": c12a,
            "C12b_angstrom": c12b,
            "C12_angstrom": math.hypot(c12a, c12b),
            "error_angstrom": math.hypot(c10, c12a, c12b),
            "strehl": state.strehl,
            "hour_strehl": self.achievement(state) if self.preset.wait_s else 0.0,
            "specimen": float(SPECIMENS.index(drawn.sample)) if drawn.sample in SPECIMENS else -1.0,
            "instrument": float(INSTRUMENTS.index(drawn.profile)) if drawn.profile in INSTRUMENTS else -1.0,
            "log10_electrons": math.log10(drawn.electrons_per_point),
            "drift_factor": drawn.drift,
        }

    def picture(self, state: Focusing) -> np.ndarray:
        """Draw the frame beside gauges of the knobs and the budget; return uint8, shape (height, width, 3)."""
        from stemtwin.twin.envs import pictures

        left = np.array([1 - state.frames / self.preset.frames, 1 - state.dose / self.preset.dose_budget_e_per_angstrom2])
        image = sessions.in_electrons(state.session, state.images[0], "haadf")
        return pictures.focus_picture(
            {"image": image, "knobs": state.knobs, "budget": np.clip(left, 0, 1)},
            np.array(self.preset.reach),
            frame=state.frames,
            field_of_view=FIELD_ANGSTROM,
            dose=state.dose,
            path=state.path,
            note="end declared" if state.stopped else "",
        )


def _alignment(session: Session, found: Aberrations) -> tuple[np.ndarray, float]:
    """Return the true C10, C12a and C12b (A) and their Strehl ratio."""
    angle, knobs = 2 * found.phi12, session.scope.knobs
    true = read_only(np.array([found.C10, found.C12 * math.cos(angle), found.C12 * math.sin(angle)]))
    first_order = Aberrations(C10=found.C10, C12=found.C12, phi12=found.phi12)
    return true, probe.strehl_ratio(electrons.wavelength(knobs.energy_ev), knobs.semiangle_mrad * 1e-3, first_order)


def _filled(seen: tuple[np.ndarray, ...], count: int) -> list[np.ndarray]:
    """Return the latest ``count`` values; the oldest value fills missing places."""
    return [*seen, *[seen[-1]] * (count - len(seen))]
