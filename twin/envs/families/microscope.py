"""``stemtwin/Microscope-v2``: the whole instrument as an environment, without a goal of its own."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.envs import image_features, session
from stemtwin.twin.envs.arguments import EnvArguments
from stemtwin.twin.envs.control_panel import (
    COEFFICIENTS,
    DWELL_US,
    LONGEST_WAIT_S,
    REACH_ANGSTROM,
    ControlPanel,
    Nested,
    place,
    stepped,
    unit,
)
from stemtwin.twin.envs.discovery import environment
from stemtwin.twin.envs.faults import FAULTS
from stemtwin.twin.envs.flat_actions import flat_action
from stemtwin.twin.envs.preparation import PreparationLine
from stemtwin.twin.envs.rewards import REWARDS
from stemtwin.twin.envs.scope_family import (
    MISALIGNED,
    MOST_SPENT,
    PRESETS,
    SCALARS,
    ScopeFamily,
    ScopePreset,
    ScopeSession,
    apertures,
    bounded,
    check_reward,
    counts,
    images,
    lengths,
    logarithms,
    quiet,
    rings,
    sample_of,
    scalars,
    setup_of,
    spent,
)
from stemtwin.twin.envs.session import Session
from stemtwin.twin.instrument.hardware.profiles import PROFILES, Profile
from stemtwin.twin.instrument.scope import common_operator
from stemtwin.twin.instrument.scope.setup import CommonOperator

SMALLEST_PIXELS = 36
"""Smallest number of points along a side of a frame that convolutional policies accept."""


@environment("Microscope", version=2, max_episode_steps=200)
@dataclass(frozen=True, slots=True, kw_only=True)
class MicroscopeTask(EnvArguments, ScopeFamily):
    """Operate all controls of a microscope without a given goal; the user defines goal, reward and end.

    Description
        This is the panel of a real instrument. The high tension is fixed; apertures, lenses, stigmators and correctors,
        deflectors, detectors, stage and scan can be set, and only frames and read-backs are returned. The optics are
        misaligned; stage and aberrations drift according to the profile. An action sets all knobs, moves the stage,
        waits, and optionally takes a frame; with ``incremental=True`` it changes knobs, field, dwell time and stage
        instead of setting them. ``make`` builds the imaging operators for all apertures and camera lengths and caches
        them on disk. A step builds an operator only if ``tilting`` or ``damage`` is on.
    Action space
        ``Dict`` of the parts below, or with ``flat=True`` one ``Box(-1, 1)`` of all their numbers in this order. In the
        ``Box`` a choice among n options is one number with n equal bins of [-1, 1]. There are two exceptions: the beam is
        blanked only from 0.5 on, and a frame is taken from -0.5 on. A vector of zeros therefore takes a frame. Choices with
        a single option, and gain and offset of detectors that count electrons, are omitted.

        =========================== ======= ============================================== ============================= ========
        part                        numbers meaning of -1 to 1                             unit                          step
        =========================== ======= ============================================== ============================= ========
        ``beam/aperture``           choice  one of ``semiangles_mrad``                     mrad                          (set)
        ``beam/blanked``            choice  beam on, beam off                                                            (set)
        ``beam/current``            1       0.001 to 1 of the largest, logarithmic         pA                            times 2.4
        ``beam/optics``             3 to 25 -R to R for each Cartesian aberration          A                             R / 4
        ``beam/shift``              2       (x, y), -50 to 50                              A                             12.5 A
        ``beam/tilt``               2       (x, y), -5 to 5, with ``tilting``              mrad                          1.25 mrad
        ``detectors/camera_length`` choice  one of ``camera_lengths_mm``                   mm                            (set)
        ``detectors/gain``          each    0.1 to 10, logarithmic                         times the usual               times 1.8
        ``detectors/offset``        each    -1000 to 1000                                  ADU                           250 ADU
        ``scan/acquire``            choice  no frame, a frame                                                            (set)
        ``scan/dwell``              1       0.1 to 100, logarithmic                        us                            times 2.4
        ``scan/field``              4       centre x, centre y: -100 to 100;               A                             25 A
                                            longer side: 4 to 256, logarithmic;            A                             times 1.7
                                            rotation: -pi to pi                            rad                           pi / 4
        ``stage``                   3       x, y, z, -1000 to 1000                         A                             250 A
                                    5       and alpha, beta, -20 to 20, with ``tilting``   mrad                          5 mrad
        ``wait``                    1       no wait below 0, then 0 to 60                  s                             (set)
        =========================== ======= ============================================== ============================= ========

        R is a multiple of the aberration that gives a quarter-wave phase at the edge of the usual aperture: 10, 4, 4, 1
        and 1 times this aberration for the orders 1 to 5. The last column is the change for a value of 1 with
        ``incremental=True``; knobs stop at the ends of their ranges.
    Observation space
        ``observation="counts"``: a ``Dict``.

        ============ ==================================================================================== ========= =============
        part         meaning                                                                              unit      range
        ============ ==================================================================================== ========= =============
        ``frames``   the last frame, uint16, (detectors, ny, nx)                                          e- or ADU 0 to 65535
        ``fresh``    whether the last action took this frame                                                        0, 1
        ``knobs``    read-backs of all knobs in the units of the action: aberrations, current, aperture,            -1 to 1
                     shift, blanked, camera length, gains, offsets, tilt
        ``stage``    readings of the encoders, (x, y, z) or (x, y, z, alpha, beta)                        A, mrad   +-2000, +-40
        ``scan``     field and dwell time as set                                                                    -1 to 1
        ``cost``     log10(1 + cost) of the last action: time (s), electrons, dose (e-/A^2)                         0 to 15
        ``budget``   remaining fractions of actions and dose                                                        0 to 1
        ============ ==================================================================================== ========= =============

        ``"pixels"``: ``image`` uint8 (detectors, ny, nx), each scaled from its 1st to its 99.7th percentile, and
        ``scalars`` float32 in [-1, 1]: knobs, stage, scan, fresh, log10(1 + cost) / 15, budget, and for each detector
        log10(0.001 + mean electrons) / 9. ``"state"``: one ``Box`` of these scalars with a different last group, which has
        for each detector the logarithms of mean, standard deviation, and mean power in 6 sectors of 4 rings of its power
        spectrum.
    Reward
        A name of ``REWARDS`` (``stemtwin.twin.envs.rewards``): ``"none"`` is 0; ``"contrast"``, ``"signal"`` and
        ``"correlation"`` are computed from the frame of the last action and are 0 without a frame.
    Starting state
        Aberrations up to the preset's order are misaligned by at most a quarter of R. The stage is anywhere within 100 A.
        The aperture is the largest, and the camera length is the usual one. One frame has been taken. Option of ``reset``:
        ``misalignment``, a factor of the misalignment from 0 to 2.
    Episode end
        An episode is never terminated. It is truncated after ``max_steps`` actions or when the dose is spent.
    Presets
        ============ ============== ============== ============= ============= ======================= ======= ======= =========== =======
        difficulty   apertures      camera lengths knobs up to   misaligned    instrument              shape   actions dose, e-/A2 phonons
        ============ ============== ============== ============= ============= ======================= ======= ======= =========== =======
        ``easy``     1              1              1st order (3) 1st order     perfect scan and stage, 64      50      2e7         4
                                                                               no drift, no residual
                                                                               aberrations
        ``standard`` 0.6, 1         3              3rd (12)      2nd           as the profile, knob    128     100     2e7         4
                                                                               gain within 5 %
        ``hard``     0.5, 0.75, 1   all            5th (25)      3rd           1 to 5 times the drift, 128     200     1e7         8
                                                                               and 0.5 to 2 times the
                                                                               residual aberrations of
                                                                               the profile; knob gain
                                                                               within 10 %, 5 % of
                                                                               commands fail
        ============ ============== ============== ============= ============= ======================= ======= ======= =========== =======

        Apertures are in units of the profile's usual semi-angle. The scan is rotated on the specimen by up to 0.1 rad
        (standard) or 0.3 rad (hard).
    Example
        ::

            import gymnasium as gym, numpy as np, stemtwin
            env = gym.make("stemtwin/Microscope-v2", difficulty="easy", reward="contrast", flat=True, incremental=True)
            (seen, info), rng = env.reset(seed=1), np.random.default_rng(1)
            for _ in range(5):  # small random changes of everything, a frame each time
                action = rng.normal(0, 0.1, env.action_space.shape).clip(-0.4, 0.4).astype(np.float32)
                seen, reward, terminated, truncated, info = env.step(action)

    Version history
        v2: ``make`` builds one imaging operator for all apertures and camera lengths. Its periodic window holds the
        widest likely probe for random aberrations; wider probes overlap with their periodic copies. Version 2 also has presets, flat
        actions, incremental actions, and three forms of observation. v1: every aperture at every camera length has its
        own operator, built inside a step.

    Parameters
    ----------
    difficulty, split, observation, reward, randomisation, privileged_info
        See ``EnvArguments``. Episodes draw ``samples`` (crystals), ``rotation_rad``, ``residual``, ``drift``,
        ``knob_gain``, ``failing``, and the probabilities of ``Faults``, which are 0 in all presets.
    instrument : str
        Name of an instrument profile.
    detectors : tuple of str
        Names of detectors in the registry.
    shape : tuple of int, optional
        Numbers of points (ny, nx) of every frame.
    semiangles_mrad, camera_lengths_mm : tuple of float
        Available apertures (mrad) and camera lengths, mm.
    order : int, optional
        Largest order of the aberrations that have knobs.
    max_steps : int, optional
        Largest number of actions in one episode; above 200, pass ``max_episode_steps`` to ``gymnasium.make`` as well.
    dose_budget_e_per_angstrom2 : float, optional
        Largest nominal dose in one episode, added over all frames regardless of their position, e-/A^2.
    phonons : int, optional
        Number of frozen-phonon configurations.
    flat, incremental : bool
        Whether an action is one ``Box``, and whether it changes knobs instead of setting them.
    tilting : bool
        Whether beam and stage can be tilted. Each new tilt needs a calculation that takes several seconds.
    damage : bool
        Whether the beam changes the specimen, by the known processes of its material. The specimen then has the
        library's full size, and each event costs some computing time. The truth records the events; the agent sees them
        only in frames.

    Raises
    ------
    StemtwinError
        A name is unknown or a number is out of range.
    """

    PRESETS: ClassVar[Mapping[str, ScopePreset]] = PRESETS
    RANDOMISED: ClassVar[tuple[str, ...]] = ("samples", "rotation_rad", "residual", "drift", "knob_gain", "failing", *FAULTS)
    REWARD_NAMES: ClassVar[Collection[str]] = REWARDS
    RESET_OPTIONS: ClassVar[tuple[str, ...]] = ("misalignment",)

    reward: str = "none"
    instrument: str = "corrected-200kv"
    detectors: tuple[str, ...] = ("haadf", "bf")
    shape: tuple[int, int] | None = None
    semiangles_mrad: tuple[float, ...] = ()
    camera_lengths_mm: tuple[float, ...] = ()
    order: int | None = None
    max_steps: int | None = None
    dose_budget_e_per_angstrom2: float | None = None
    phonons: int | None = None
    flat: bool = False
    incremental: bool = False
    tilting: bool = False
    damage: bool = False

    def __post_init__(self) -> None:
        """Check the settings; omitted settings follow from the difficulty."""
        check_reward(self.reward)
        EnvArguments.__post_init__(self)
        profile = PROFILES[self.instrument]
        object.__setattr__(self, "detectors", rings(self.detectors))
        for name in ("shape", "order", "max_steps", "dose_budget_e_per_angstrom2", "phonons"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, getattr(self.preset, name))
        least = SMALLEST_PIXELS if self.observation == "pixels" else 8
        object.__setattr__(self, "shape", checks.whole_pair("shape", self.shape, low=least, high=1024))
        usual = tuple(share * profile.semiangle_mrad for share in self.preset.apertures)
        object.__setattr__(self, "semiangles_mrad", apertures(self.semiangles_mrad, usual))
        object.__setattr__(self, "camera_lengths_mm", lengths(profile, self.camera_lengths_mm, self.preset.camera_lengths))
        checks.whole("order", self.order, low=1, high=5)
        checks.whole("max_steps", self.max_steps, low=1)
        checks.number("dose_budget_e_per_angstrom2", self.dose_budget_e_per_angstrom2, "e-/A^2", above=0)
        checks.whole("phonons", self.phonons, low=1)
        for name in ("flat", "incremental", "tilting", "damage"):
            checks.flag(name, getattr(self, name))

    @property
    def profile(self) -> Profile:
        """Profile of the instrument, before the conditions of an episode change it."""
        profile = PROFILES[self.instrument]
        return quiet(profile) if self.preset.quiet else profile

    @property
    def panel(self) -> ControlPanel:
        """Control panel of the actions."""
        assert self.shape is not None
        assert self.order is not None
        return ControlPanel(
            profile=PROFILES[self.instrument],
            detectors=self.detectors,
            shape=self.shape,
            semiangles_mrad=self.semiangles_mrad,
            camera_lengths_mm=self.camera_lengths_mm,
            coefficients=tuple(name for name in COEFFICIENTS if int(name[1]) <= self.order),
            tilting=self.tilting,
        )

    @property
    def limits(self) -> tuple[int, float]:
        """Largest number of actions and largest dose (e-/A^2) of an episode."""
        assert self.max_steps is not None
        assert self.dose_budget_e_per_angstrom2 is not None
        return self.max_steps, self.dose_budget_e_per_angstrom2

    @property
    def common(self) -> CommonOperator | None:
        """Settings covered by the imaging operator that ``make`` builds, or None with ``tilting`` or ``damage``.

        With ``tilting`` or ``damage``, the method ``step`` builds operators.
        """
        if self.tilting or self.damage:
            return None
        return CommonOperator(detectors=self.detectors, camera_lengths_mm=self.camera_lengths_mm, semiangles_mrad=self.semiangles_mrad)

    @property
    def action_space(self) -> gym.spaces.Dict | gym.spaces.Box:
        """Space of actions: setpoints of all controls, or their changes, in [-1, 1]."""
        return flat_action(self.panel).box if self.flat else self.panel.action_space

    @property
    def observation_space(self) -> gym.spaces.Space:
        """Space of the chosen form of observation."""
        panel = self.panel
        count, channels = panel.count + panel.axes + SCALARS, len(self.detectors)
        if self.observation == "pixels":
            return gym.spaces.Dict({"image": gym.spaces.Box(0, 255, (channels, *panel.shape), np.uint8), "scalars": unit(count + channels)})
        if self.observation == "state":
            return unit(count + channels * image_features.FEATURES)
        own = {"scan": unit(5), "cost": gym.spaces.Box(0.0, MOST_SPENT, (3,), np.float32), "budget": gym.spaces.Box(0.0, 1.0, (2,), np.float32)}
        return gym.spaces.Dict({**panel.observed, **own})

    def prepare(self, line: PreparationLine) -> None:
        """Build one imaging operator per sample for all apertures and camera lengths, so no step builds an operator."""
        if self.common is None:
            return
        names = self.conditions().samples
        for number, name in enumerate(names, 1):
            sample = sample_of(name, damage=False)
            setup = setup_of(self, self.profile, sample, 0, np.zeros(len(COEFFICIENTS)), self.common)
            waves = common_operator.whole(setup, sample, setup.profile.energy_ev).plan.waves
            common_operator.build(setup, sample, line.operator(number, len(names), waves))

    def check_reset(self, *, misalignment: Any = 1.0) -> None:
        """Raise an error for an invalid option of ``reset``.

        Raises
        ------
        SettingsError
            ``misalignment`` is not a number from 0 to 2.
        """
        checks.number("misalignment", misalignment, "times the preset's misalignment", low=0, high=2)

    def initial(self, rng: np.random.Generator, *, misalignment: float = 1.0) -> ScopeSession:
        """Draw a misaligned instrument, and take the first frame.

        Parameters
        ----------
        rng : numpy.random.Generator
            Random generator of the episode.
        misalignment : float
            Factor of the misalignment, 0 to 2; an option of ``reset``.
        """
        drawn = self.conditions().draw(rng)
        orders = np.array([int(name[1]) for name in COEFFICIENTS])
        full = replace(self.panel, coefficients=COEFFICIENTS).reach
        off = misalignment * MISALIGNED * rng.uniform(-1, 1, len(COEFFICIENTS)) * full * (orders <= min(self.preset.misaligned, self.order or 5))
        seed, place_at = int.from_bytes(rng.bytes(16), "little"), rng.uniform(-REACH_ANGSTROM, REACH_ANGSTROM, 2).tolist()
        profile = session.with_residual(session.drifting(self.profile, drawn.drift), drawn.residual)
        sample = sample_of(drawn.sample, damage=self.damage)
        begun = session.start(
            setup_of(self, profile, sample, seed, off, self.common),
            sample,
            at=dict(zip(("x_angstrom", "y_angstrom"), place_at, strict=True)),
            gains=dict(zip(("C10", "C12a", "C12b"), drawn.knob_gain, strict=True)),
            failing=drawn.failing,
            faults=drawn.faults,
            semiangle_mrad=self.semiangles_mrad[-1],
            camera_length_mm=profile.camera_length_mm if profile.camera_length_mm in self.camera_lengths_mm else self.camera_lengths_mm[0],
        )
        scan = (0.0, 0.0, 0.0, 0.0, place(profile.dwell_time_us, *DWELL_US))
        return self._imaged(ScopeSession(session=begun, scan=scan, rotation_rad=drawn.rotation_rad), begun)

    def _imaged(self, state: ScopeSession, before: Session) -> ScopeSession:
        """Return the state after a frame with the field and dwell time as set."""
        panel = self.panel
        return self.frame_taken(state, panel.scan(state.scan[:4], state.rotation_rad), panel.dwell_time_us(state.scan[4]), before)

    def transition(self, state: ScopeSession, action: Any, rng: np.random.Generator) -> ScopeSession:
        """Set all knobs, move the stage, wait, and optionally take a frame; the episode's own seed determines all noise."""
        del rng
        panel, scope = self.panel, state.session.scope
        asked: Nested = flat_action(panel).nested(action) if self.flat else action
        if self.incremental:
            asked = stepped(asked, panel.setpoints(scope.knobs, scope.stage.commanded, state.scan))
        before, now = scope.knobs.aberrations.cartesian(), panel.aberrations(asked)
        after = session.set_knobs(state.session, panel.changes(asked))
        after = session.turn_optics(after, {name: value - before[name] for name, value in now.items()})
        after = session.wait(session.move(after, panel.way(asked)), LONGEST_WAIT_S * max(float(asked["wait"][0]), 0.0))
        scan = tuple(float(value) for value in (*asked["scan"]["field"], *asked["scan"]["dwell"]))
        moved = replace(state, session=after, steps=state.steps + 1, fresh=False, spent=spent(state.session, after), scan=scan)
        return self._imaged(moved, state.session) if asked["scan"]["acquire"] else moved

    def observe(self, state: ScopeSession) -> Any:
        """Return the observation in the chosen form."""
        panel = self.panel
        seen, (steps, dose) = counts(state, panel), self.limits
        budget = [1 - state.steps / steps, max(1 - state.session.dose_e_per_angstrom2 / dose, 0.0)]
        if self.observation == "counts":
            own = {"scan": state.scan, "cost": logarithms(state), "budget": budget}
            return {**seen, **{name: np.array(value, np.float32) for name, value in own.items()}}
        told, features = scalars(state, panel, seen, budget), [image_features.image_features(image) for image in images(state, panel)]
        if self.observation == "state":
            return bounded(*told, *features)
        grey = np.stack([image_features.stretched(image) for image in images(state, panel)])
        return {"image": grey, "scalars": bounded(*told, [each[0] for each in features])}
