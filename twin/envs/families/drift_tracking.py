"""``stemtwin/DriftTracking-v1``: tracking of a feature through drift, jumps and a tilt series."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.envs import drift_scenes
from stemtwin.twin.envs import session as sessions
from stemtwin.twin.envs.arguments import Randomisation, plain_values
from stemtwin.twin.envs.discovery import environment
from stemtwin.twin.envs.drift_clusters import draw_cluster
from stemtwin.twin.envs.drift_instrument import (
    CURRENT_PA,
    FAST_S,
    FIELD,
    LEAST_WATCH_S,
    MOST_DOSE,
    PERIOD_S,
    PRESETS,
    SHAPE,
    SPARE_FRAMES,
    WATCH_S,
    WIDE_FIELD,
    DriftPreset,
    begin,
    draw_events,
    prepare_part,
    scene,
    square_field,
    turned,
    usual_frames,
)
from stemtwin.twin.envs.drift_watch import (
    BLOCKS,
    LARGEST_DOSE,
    LARGEST_TILT_MRAD,
    LATEST_S,
    REACH,
    SCALARS,
    Watch,
    block_means,
    detection,
    nearness,
    scalars,
    small_pictures,
)
from stemtwin.twin.envs.functional_env import read_only
from stemtwin.twin.envs.goal_family import GoalFamily
from stemtwin.twin.envs.preparation import PreparationLine
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics import noise

STEP = 16.0
"""Largest change of the shift along each axis in one action, A."""
START = 2.0
"""Largest distance of the feature from the centre of the first frame, A."""
CHOSEN, DECLARE = 0.5, 0.8
"""Threshold of the action components that choose a wide or a fast frame, and threshold of the component that declares the end."""
DRAWN = ("samples", "rotation_rad", "electrons_per_point", "drift", "knob_gain", "failing", "blocked_stage", "refused_while_moving", "closed_valve")


@environment("DriftTracking", version=1, max_episode_steps=66, reward_threshold=0.5)
@dataclass(frozen=True, slots=True, kw_only=True)
class DriftTracking(GoalFamily[Watch]):
    """Keep a cluster of heavy atoms in view while the specimen drifts, jumps and is tilted, then declare the end.

    Description
        A freshly inserted specimen drifts. After each HAADF frame of 128 x 128 points the agent changes the beam shift
        (image shift on some instruments) to keep a cluster of heavy atoms in the centre for two minutes. The beam is
        blanked between frames. Narrow frames (16 A) count for the score; wide frames (40 A) only serve to find the
        cluster.

        The cluster is gold on graphene or tungsten in MoS2. The sheet looks the same after a shift by a lattice vector,
        but the score depends on the position of the cluster. The infinite sheet has only this cluster. The image is
        that of the perfect sheet plus the changes due to each heavy atom. This sum agrees with the image of the whole
        cluster within 1 % (MoS2) or 6 % (graphene) of the largest value.

        The specimen tolerates the dose of 60 narrow frames with the usual number of electrons per point, which is drawn
        for each episode. A frame may have a quarter to four times the usual number. A wide frame distributes its
        electrons over 6.25 times the area of a narrow frame.

        Imaging conditions: 60 kV, convergence semi-angle 22 mrad, 30 pA, monochromated (no focal spread), annular
        dark-field detector from 90 to 190 mrad.
    Action space
        ``Box(-1, 1, (6,), float32)``; axes are those of the frame. A positive change moves the field along +x (right)
        and +y (down).

        ========= =============================== ==== ===========
        component meaning                         unit range
        ========= =============================== ==== ===========
        0, 1      change of the beam shift, x, y  A    -16 to 16
        2         above 0.5: a wide frame         --   -1 to 1
        3         above 0.8: the end is declared; --   -1 to 1
                  other components are ignored
        4         above 0.5: a fast frame, which  --   -1 to 1
                  ends 0.5 s instead of 2 s
                  after the previous frame
        5         c: electrons per point are 4^c  --   -1 to 1
                  times the usual number
        ========= =============================== ==== ===========
    Observation space
        ``"counts"``: a ``Dict``.

        ============= =================== ========= ==============================================================
        component     type                unit      meaning
        ============= =================== ========= ==============================================================
        ``image``     uint16 (128, 128)   e- or ADU the last frame: electrons (easy) or ADU (offset 1000, 7.6 ADU
                                                    per electron)
        ``field``     float32 (1,)        A         field of view of the last frame, 16 or 40
        ``shift``     float32 (2,)        A         commanded shift, -400 to 400
        ``clock``     float32 (1,)        s         time at the end of the frame, 0 to 1000
        ``budget``    float32 (3,)        1         remaining fractions of frames, dose and the two minutes
        ``electrons`` float32 (1,)        1         incident electrons at one point of the last frame
        ``dose``      float32 (1,)        e-/A^2    dose of all frames so far
        ``tilt``      float32 (1,)        mrad      tilt of the holder, -60 to 60 (only in ``hard``)
        ============= =================== ========= ==============================================================

        ``"pixels"``: a ``Dict``. ``image`` uint8 (2, 64, 64) has the last two frames, latest first, in bins of 2 x 2
        points. Its values are 100 sqrt(b / mean b), clipped at 255, where b is a bin minus the smallest bin. ``scalars`` float32 (13,)
        has field and shift of both frames in units of their largest values and log(electrons) / log(1e5) of both
        frames, then budget, clock in units of 1000 s, and tilt in units of 100 mrad. ``"state"``: float32 (525,). The
        images of the last two frames are averaged to 16 x 16 points each, in units of 255; then follow the same
        scalars.
    Reward
        ``"dense"``: 0.3 times the change of the watched fraction, plus 0.6 times the achievement at the declared end,
        minus 0.1 times the change of the spent budget (the larger of the spent fractions of frames and dose). The
        watched fraction is the sum over narrow frames of exp(-(r / 3 A)^2) times the time since the previous frame,
        divided by 120 s, at most 1; r is the distance of the cluster from the centre of the frame at the middle of its
        acquisition. The achievement is the watched fraction. In the preset ``event`` a single atom beside the cluster hops
        to another site, and the achievement is the watched fraction times (1 + e) / 2, with e = exp(-delay / 10 s) /
        2^(false alarms). The delay is the time from the hop to the first narrow fast frame that shows this atom; false
        alarms are all fast frames before the hop. ``"sparse"``: only the achievement.
    Starting state
        The cluster lies uniformly within 2 A of the centre, and the rotation of the scan is uniformly random. The first
        frame is narrow, with the usual number of electrons. Each episode draws a cluster of 4 to 7 atoms on
        neighbouring sites and a single atom beside it. A cluster of gold has an additional atom in a second layer.
        No shape of a cluster occurs in two splits. Drift direction, jumps and their times are drawn. Option of
        ``reset``: ``offset_angstrom``, the position (x, y) of the cluster, at most 2 A from the centre.
    Episode end
        An episode is terminated only by the declared end. It is truncated with the 66th frame, or when the dose is
        spent; if the end was not declared by then, the achievement is 0. Two minutes take 61 frames including the first,
        but the dose allows only 60 narrow frames with the usual number of electrons.
    Presets
        ============ ========== =============== ===== ======= ============== =========== ==========
        preset       drift, A/s walk, A/sqrt(s) jumps jump, A specimens      electrons   tilts
        ============ ========== =============== ===== ======= ============== =========== ==========
        ``easy``     0.25       0.15            0     --      graphene       600 to 1000 none
        ``standard`` 0.5        0.3             3     4 to 9  graphene, MoS2 200 to 400  none
        ``hard``     0.7        0.5             4     6 to 14 graphene, MoS2 80 to 160   -60, 0, 60
        ``event``    0.25       0.2             1     4 to 7  graphene, MoS2 50 to 120   none
        ============ ========== =============== ===== ======= ============== =========== ==========

        Jump: distance of one jump. Electrons: usual number per point. Drift and random walk are multiplied by 0.7 to
        1.3. ``easy`` has counted electrons and a perfect scan; the others have a detector read-out chain, scan
        distortion, and a gain of the beam shift along each axis of 0.95 to 1.05 (hard: 0.85 to 1.15, and 5 % failing
        commands). Tilts are in mrad. The holder is tilted after 40 and 80 s. Each tilt moves the specimen by 3 to 9 A,
        because it is 50 to 150 A away from the tilt axis. In ``event`` the single atom beside the cluster hops by one
        site between 30 and 90 s.
    Baselines
        ``expert`` infers the budgets, the usual number of electrons per point and the specimen from its observations.
        Like every agent, it is told in its brief (``known``) whether the single atom hops. It takes fast frames only if
        the atom hops.
    Example
        ::

            import gymnasium as gym, numpy as np, stemtwin
            env = gym.make("stemtwin/DriftTracking-v1", difficulty="easy")
            seen, info = env.reset(seed=1)
            y, x = np.mgrid[-8:8:128j, -8:8:128j]
            done = cut = False
            while not (done or cut):
                bright = np.maximum(seen["image"] - 3.0 - seen["image"].mean(), 0) + 1e-9
                way = [float((bright * axis).sum() / bright.sum()) / 16 for axis in (x, y)]
                action = np.array([*way, -1, 1 if seen["budget"][2] < 0.01 else -1, -1, -0.1], np.float32)
                seen, reward, done, cut, info = env.step(action)
    Version history
        v1: first version.

    Parameters
    ----------
    difficulty, split, observation, reward, randomisation, privileged_info
        See ``EnvArguments``. The samples are ``graphene`` and ``mos2-1h``. The first two values of ``knob_gain`` are the
        gains of the beam shift along x and y.
    watch_s : float
        Time for which the cluster is to be kept in view, 24 to 120 s. The dose budget and the number of jumps are
        proportional to it. An episode has one frame for every 2 s of this time and six further frames.

    Raises
    ------
    StemtwinError
        A name is unknown or a number is out of range.
    """

    PRESETS: ClassVar[Mapping[str, DriftPreset]] = PRESETS
    RANDOMISED: ClassVar[tuple[str, ...]] = tuple(item.name for item in fields(Randomisation) if item.name in DRAWN)
    RESET_OPTIONS: ClassVar[tuple[str, ...]] = ("offset_angstrom",)

    watch_s: float = WATCH_S

    def __post_init__(self) -> None:
        """Check the arguments; every sample needs a scene, and a fast frame must fit into its time."""
        GoalFamily.__post_init__(self)
        checks.number("watch_s", self.watch_s, "s", low=LEAST_WATCH_S, high=WATCH_S)
        drawn = self.conditions()
        other = next((name for name in drawn.samples if name not in drift_scenes.BOXES), None)
        if other is not None:
            message = f"samples={drawn.samples!r}: {other!r} is not a sheet of DriftTracking. Choose among {', '.join(drift_scenes.BOXES)}."
            raise SettingsError(message)
        most = 0.8 * FAST_S / math.prod(SHAPE) * noise.electrons_per_point(CURRENT_PA, 1.0) / MOST_DOSE
        if drawn.electrons_per_point[1] > most:
            message = (
                f"randomisation draws up to {drawn.electrons_per_point[1]:g} electrons_per_point. Give at most {most:.0f}, because an action can "
                f"request {MOST_DOSE:g} times as many electrons in a fast frame of {FAST_S:g} s."
            )
            raise SettingsError(message)

    @property
    def _frames(self) -> int:
        """Number of frames in one episode."""
        return usual_frames(self.watch_s) + SPARE_FRAMES

    def _dose(self, state: Watch) -> float:
        """Return the tolerated dose, e-/A^2: the dose of all usual frames if they are narrow and have the usual electrons."""
        return usual_frames(self.watch_s) * sessions.raster_dose(CURRENT_PA, state.scans[0], state.dwell_time_us)

    # ---- spaces

    @property
    def action_space(self) -> gym.spaces.Box:
        """Space of actions: two changes of the beam shift, choice of a wide frame, end, choice of a fast frame, and electrons per point."""
        return gym.spaces.Box(-1.0, 1.0, (6,), np.float32)

    @property
    def observation_space(self) -> gym.spaces.Space:
        """Space of the chosen form of observation."""
        if self.observation == "state":
            return gym.spaces.Box(-1.0, 1.0, (2 * BLOCKS**2 + SCALARS,), np.float32)
        if self.observation == "pixels":
            image = gym.spaces.Box(0, 255, (2, SHAPE[0] // 2, SHAPE[1] // 2), np.uint8)
            return gym.spaces.Dict({"image": image, "scalars": gym.spaces.Box(-1.0, 1.0, (SCALARS,), np.float32)})
        parts: dict[str, gym.Space] = {
            "image": gym.spaces.Box(0, 65535, SHAPE, np.uint16),
            "field": gym.spaces.Box(0.0, WIDE_FIELD, (1,), np.float32),
            "shift": gym.spaces.Box(-REACH, REACH, (2,), np.float32),
            "clock": gym.spaces.Box(0.0, LATEST_S, (1,), np.float32),
            "budget": gym.spaces.Box(0.0, 1.0, (3,), np.float32),
            "electrons": gym.spaces.Box(0.0, 6e4, (1,), np.float32),
            "dose": gym.spaces.Box(0.0, LARGEST_DOSE, (1,), np.float32),
        }
        if self.preset.tilted:
            parts["tilt"] = gym.spaces.Box(-LARGEST_TILT_MRAD, LARGEST_TILT_MRAD, (1,), np.float32)
        return gym.spaces.Dict(parts)

    def known(self) -> dict[str, Any]:
        """Return the numbers of the preset, the ranges of the drawn conditions, and the time for which to keep the cluster in view."""
        return {**plain_values(self.preset), "randomisation": self.drawn_ranges(), "watch_s": self.watch_s}

    def prepare(self, line: PreparationLine) -> None:
        """Compute the images of all specimens and kinds of heavy atoms at all tilts of the series."""
        del line  # takes a few seconds at most
        for sample, tilt, kind in drift_scenes.keys(self.conditions().samples, self.preset.tilts_mrad):
            prepare_part(sample, tilt, kind)

    # ---- the episode

    def check_reset(self, *, offset_angstrom: Any = None) -> None:
        """Raise an error if ``offset_angstrom`` is not a pair (x, y) within 2 A of the centre.

        Raises
        ------
        SettingsError
            ``offset_angstrom`` is not a pair of numbers, or it is farther than 2 A from the centre.
        """
        if offset_angstrom is None:
            return
        x, y = checks.pair("offset_angstrom", tuple(offset_angstrom) if isinstance(offset_angstrom, list) else offset_angstrom, "A")
        if math.hypot(x, y) > START:
            message = f"offset_angstrom={offset_angstrom!r} is {math.hypot(x, y):.3g} A from the centre. Give (x, y) within {START:g} A."
            raise SettingsError(message)

    def initial(self, rng: np.random.Generator, *, offset_angstrom: Sequence[float] | None = None) -> Watch:
        """Draw the conditions and the future events, and take a narrow frame."""
        drawn, coming = self.conditions().draw(rng), draw_events(self.preset, rng, self.watch_s)
        radius, angle = START * math.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        seed = int.from_bytes(rng.bytes(16), "little")
        cluster = draw_cluster(np.random.Generator(np.random.Philox(int(rng.integers(2**62)))), self.split)
        offset = np.array([radius * math.cos(angle), radius * math.sin(angle)] if offset_angstrom is None else offset_angstrom, float)
        first = coming.tilts_mrad[0]
        middle = np.array(scene(drawn.sample, cluster, first, hopped=False).feature) - turned(offset, drawn.rotation_rad)
        state = Watch(
            session=begin(self.preset, drawn, seed, first),
            conditions=drawn,
            events=coming,
            cluster=cluster,
            scans=(square_field(middle, FIELD, drawn.rotation_rad), square_field(middle, WIDE_FIELD, drawn.rotation_rad)),
            dwell_time_us=drawn.electrons_per_point / noise.electrons_per_point(CURRENT_PA, 1e-6),
            shift=read_only(np.zeros(2)),
            true=read_only(offset),
        )
        return self._photographed(state, wide=False, exposure=1.0)

    def transition(self, state: Watch, action: np.ndarray, rng: np.random.Generator) -> Watch:
        """Declare the end, or change the beam shift, wait, and take a frame; events of the specimen happen during the wait."""
        del rng  # all randomness follows from the episode's own seed
        moves = state.moves + 1
        if action[3] > DECLARE:
            return replace(state, moves=moves, stopped=True)
        since, fast, wide, exposure = state.session.clock_s, bool(action[4] > CHOSEN), bool(action[2] > CHOSEN), MOST_DOSE ** float(action[5])
        state = self._shifted(replace(state, moves=moves), STEP * np.asarray(action[:2], float))
        taken = sessions.scan_seconds(state.session, state.scans[0], exposure * state.dwell_time_us)
        state = self._tilted(replace(state, session=sessions.wait(state.session, max((FAST_S if fast else PERIOD_S) - taken, 0.0))))
        state = replace(state, session=sessions.displace(state.session, state.events.jumped(since, state.session.clock_s)))
        hopped = state.session.clock_s >= state.events.event_s
        state = self._photographed(replace(state, hopped=hopped), wide=wide, exposure=exposure)
        worth, now = 0.0 if wide else nearness(state.true), state.session.clock_s
        return replace(
            state,
            kept=state.kept + worth * (now - since),
            fast=state.fast + fast,
            alarms=state.alarms + (fast and not hopped),
            detected_s=min(state.detected_s, now) if fast and hopped and state.shown else state.detected_s,
        )

    def _shifted(self, state: Watch, way: np.ndarray) -> Watch:
        """Return the state after a change of the shift along the axes of the frame, A."""
        wanted = read_only(np.clip(state.shift + way, -REACH, REACH))
        true = turned(np.array(state.conditions.knob_gain[:2]) * wanted, state.conditions.rotation_rad)
        after = sessions.set_knobs(state.session, {"beam_shift_angstrom": tuple(true.tolist())})
        return replace(state, session=after, shift=state.shift if after.failed else wanted)

    def _tilted(self, state: Watch) -> Watch:
        """Return the state after the next tilt of the holder, if it is due; a failed command is repeated before the next frame."""
        coming, following = state.events, state.tilt + 1
        if following >= len(coming.tilts_mrad) or state.session.clock_s < coming.tilt_times_s[state.tilt]:
            return state
        after = sessions.move(state.session, {"alpha_mrad": coming.tilts_mrad[following]})
        if after.failed:
            return replace(state, session=after)
        way = coming.tilt_way_angstrom * (coming.tilts_mrad[following] - coming.tilts_mrad[state.tilt])
        return replace(state, session=sessions.displace(after, (0.0, way)), tilt=following)

    def _photographed(self, state: Watch, *, wide: bool, exposure: float) -> Watch:
        """Return the state after a frame; ``exposure`` is the ratio of its electrons to the usual number."""
        scan, before, dwell = state.scans[int(wide)], state.session, exposure * state.dwell_time_us
        shown = scene(state.conditions.sample, state.cluster, state.tilt_mrad, hopped=state.hopped)
        middle_s = before.clock_s + sessions.scan_seconds(before, scan, dwell) / 2
        where = np.array(scan.centre_angstrom) + before.setup.specimen_shift(before.scope, np.array([middle_s]))[0]
        taken: Any = [(shown, shown.plan)]
        ((readings, _, after),) = sessions.acquire_bare([before], taken, [scan], [dwell])
        true, single = (turned(np.array(place) - where, -scan.rotation_rad) for place in (shown.feature, shown.single))
        setting = [scan.field_of_view_angstrom[0], *state.shift, exposure * state.conditions.electrons_per_point]
        return replace(
            state,
            session=after,
            true=read_only(true),
            shown=not wide and bool(np.abs(single).max() < FIELD / 2),
            images=(read_only(readings[0].astype(np.uint16)), *state.images)[:2],
            settings=(read_only(np.array(setting)), *state.settings)[:2],
            path=(*state.path, state.shift),
            frames=state.frames + 1,
        )

    # ---- observation

    def observe(self, state: Watch) -> Any:
        """Return the observation in the chosen form."""
        left = self._left(state)
        if self.observation == "counts":
            field, x, y, electrons = state.settings[0]
            numbers = {
                "field": [field],
                "shift": [x, y],
                "clock": [state.clock_s],
                "budget": left,
                "electrons": [electrons],
                "dose": [state.dose],
                **({"tilt": [state.tilt_mrad]} if self.preset.tilted else {}),
            }
            return {"image": state.images[0].copy(), **{name: np.array(value, np.float32) for name, value in numbers.items()}}
        pictures, told = small_pictures(state), scalars(state, left)
        if self.observation == "pixels":
            return {"image": pictures, "scalars": told}
        return np.concatenate([block_means(pictures), told]).astype(np.float32)

    def _left(self, state: Watch) -> np.ndarray:
        spent = [state.frames / self._frames, state.dose / self._dose(state), state.session.clock_s / self.watch_s]
        return np.clip(1 - np.array(spent), 0, 1)

    # ---- the goal

    def potential(self, state: Watch) -> float:
        """Return the watched fraction: the sum of the times of narrow frames, each weighted by nearness, divided by ``watch_s``.

        The time of a frame is the time since the previous frame. The weight is :func:`nearness`, and the fraction is at most 1.
        """
        return min(state.kept / self.watch_s, 1.0)

    def achievement(self, state: Watch) -> float:
        """Return the watched fraction; in the preset ``event`` it is multiplied by (1 + e) / 2, with the value e of :func:`detection`."""
        return self.potential(state) * ((1 + detection(state)) / 2 if self.preset.event else 1.0)

    def spent(self, state: Watch) -> float:
        """Return the larger of the spent fractions of frames and dose."""
        return min(1.0, max(state.frames / self._frames, state.dose / self._dose(state)))

    def declared(self, state: Watch) -> bool:
        """Return True if the agent has declared the end."""
        return state.stopped

    def truncated(self, state: Watch) -> bool:
        """Return True if the frames or the tolerated dose are spent."""
        return state.frames >= self._frames or state.dose >= self._dose(state)

    def cost(self, state: Watch) -> dict[str, float]:
        """Return the dose (e-/A^2), the beam time on the specimen (s), and the numbers of actions and of fast frames."""
        return {
            "dose_e_per_angstrom2": float(state.dose),
            "beam_s": float(state.session.scope.beam_s),
            "moves": float(state.moves),
            "fast_frames": float(state.fast),
        }

    def truth(self, state: Watch) -> dict[str, float]:
        """Return the true position of the cluster, the watched fraction, the conditions of the episode, and the hop.

        The position is relative to the centre of the last frame, A. The conditions are the index of the specimen, the
        logarithm of the usual number of electrons per point, and the drift speed (A/s). In the preset ``event`` the
        single atom beside the cluster hops. The data on this hop are its time, the delay of its detection (both in s, -1 if
        missing), whether the atom has hopped, the value of :func:`detection`, and the number of false alarms.
        """
        x, y = (float(value) for value in state.true)
        happens = math.isfinite(state.events.event_s)
        return {
            "x_angstrom": x,
            "y_angstrom": y,
            "distance_angstrom": math.hypot(x, y),
            "watched": self.potential(state),
            "specimen": float(tuple(drift_scenes.BOXES).index(state.conditions.sample)) if state.conditions.sample in drift_scenes.BOXES else -1.0,
            "log10_electrons": math.log10(state.conditions.electrons_per_point),
            "drift_angstrom_per_s": state.conditions.drift * self.preset.speed_angstrom_per_s,
            "event_s": state.events.event_s if happens else -1.0,
            "hopped": float(state.hopped),
            "detection": detection(state) if happens else 0.0,
            "delay_s": state.detected_s - state.events.event_s if math.isfinite(state.detected_s) else -1.0,
            "false_alarms": float(state.alarms),
        }

    def picture(self, state: Watch) -> np.ndarray:
        """Draw the last frame with the path of the beam shift and the budgets; return uint8, shape (480, 760, 3)."""
        from stemtwin.twin.envs import drift_pictures

        told = ["wide" if state.settings[0][0] == WIDE_FIELD else "narrow"]
        told += [f"{state.settings[0][3]:.0f} electrons per point"]
        told += [f"tilted by {state.tilt_mrad:+.0f} mrad"] if self.preset.tilted else []
        told += [f"{state.fast} fast"] if state.fast else []
        told += ["end declared"] if state.stopped else []
        return drift_pictures.watch_picture(
            sessions.in_electrons(state.session, state.images[0], "haadf"),
            float(state.settings[0][0]),
            state.path,
            left=dict(zip(("frames", "dose", "watch"), self._left(state).tolist(), strict=True)),
            title=f"{state.session.clock_s:.1f} s    {', '.join(told)}",
            dose=state.dose,
        )
