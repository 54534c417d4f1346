"""``stemtwin/AtomForge-v1``: atom-by-atom fabrication with a parked beam."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from stemtwin.twin.envs import forge_kinetics, forge_scenes, forge_sight
from stemtwin.twin.envs import session as sessions
from stemtwin.twin.envs.discovery import environment
from stemtwin.twin.envs.focus_features import square_roots
from stemtwin.twin.envs.forge_kinetics import ForgeBeam, ForgedSites
from stemtwin.twin.envs.forge_scenes import CARBON, FIELD_ANGSTROM, FRAME_PX, PRESETS, SILICON, UNREACHED, ForgePreset, ForgeScene
from stemtwin.twin.envs.forge_sight import NO_TRACE, READINGS
from stemtwin.twin.envs.functional_env import read_only
from stemtwin.twin.envs.goal_family import GoalFamily
from stemtwin.twin.envs.preparation import PreparationLine
from stemtwin.twin.envs.session import Session
from stemtwin.twin.instrument.simulation.request import checked_phonons

STOP = 0.5
"""Threshold of the fourth component of an action, above which the end is declared."""
REACH_ANGSTROM = {"walk": 3.0, "drill": FIELD_ANGSTROM / 2}
"""Largest distances along x and y of the parked beam from the observed Si position or from the centre of the field, A."""
SHORTEST_S, LONGEST_S = 0.03, 1.0
"""Shortest and longest time for which one action parks the beam, s."""
DETECTOR = "maadf"
"""Detector of frames and parked beams, in which C is visible and Si is three times as bright."""
MOVED_ANGSTROM, LOSS = 0.7, 0.25
"""Smallest distance between two positions of the trail, A; fraction of the achievement that each lost atom costs."""
READY_S = 0.99 * LONGEST_S
"""Longest time until an event for which the beam time of one action certainly suffices, s."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ForgeState:
    """State of an episode of atom-by-atom fabrication.

    Parameters
    ----------
    scene : ForgeScene
        Start and target of the episode.
    numbers : ndarray
        Current atomic number on each site of the lattice, 0 for an empty site, int (n,).
    bonds_left : ndarray
        Number of bonds on the shortest passable path from each site of graphene to the target, int (n,); empty for MoS2.
    draws : tuple of float
        Random numbers of the next event, used only with ``observation="state"``.
    tracked : tuple of float
        Last observed position of Si (x, y) from the centre of the field, A.
    found, session : ForgedSites or Session, optional
        ``found``: sites with their events, used only with ``observation="state"``. ``session``: microscope, used with other observations.
    order : ndarray, optional
        Lattice site of each site of the microscope's specimen.
    bright, sight : ndarray, optional
        Brightness of all sites in the last frame, and the observation from that frame; both are used only with ``observation="state"``.
    image, trace : ndarray, optional
        Last frame, and readings of the last parked beam.
    trail, aimed : tuple
        Earlier observed positions of Si, and last position of the parked beam, which is None at the start.
    looks, moves : int
        Numbers of frames and of actions.
    beam_s : float
        Total time of parked beams, s.
    stopped : bool
        Whether the agent declared the end.
    """

    scene: ForgeScene
    numbers: np.ndarray
    bonds_left: np.ndarray
    draws: tuple[float, float]
    tracked: tuple[float, float] = (0.0, 0.0)
    found: ForgedSites | None = None
    session: Session | None = None
    order: np.ndarray | None = None
    bright: np.ndarray | None = None
    sight: np.ndarray | None = None
    image: np.ndarray | None = None
    trace: np.ndarray | None = None
    trail: tuple[tuple[float, float], ...] = ()
    aimed: tuple[float, float] | None = None
    looks: int = 0
    beam_s: float = 0.0
    moves: int = 0
    stopped: bool = False


@environment("AtomForge", version=1, max_episode_steps=128, reward_threshold=0.5)
@dataclass(frozen=True, slots=True, kw_only=True)
class AtomForge(GoalFamily[ForgeState]):
    """Make a structure atom by atom: move Si through graphene to a target site, or drill a pattern of vacancies into MoS2.

    Description
        Every preset except ``drill`` is a walk: a Si atom moves through graphene. It exchanges positions with a neighbouring C atom if an electron
        hits the C atom. A beam parked on a neighbour therefore moves Si, bond by bond. Two processes disturb this motion. A Si atom that is hit may
        be replaced by C from the surface, most probably just after it has moved under the beam. A neighbour may be ejected, and Si beside a vacancy
        stays there. On a real microscope the action is a click beside the atom and a dwell time. A frame follows each action, and its dose moves
        atoms, too. Si cannot pass N atoms, vacancies or sites beside vacancies. ``docs/damage.md`` has the cross-sections and their uncertainties.

        In the preset ``drill`` the beam ejects S atoms from the exit face of MoS2. An S atom beside a vacancy jumps into the vacancy about twice as
        often as it is ejected. Frames and probe tails eject and move atoms, too, so order and time matter, and a misplaced vacancy can be moved back.
        In ``drill`` the fixed rule ``towards`` is almost as good as the planner ``expert``. The ``learner`` has no memory. It was trained to imitate
        the planner in episodes of the split ``train``; a test of 100 episodes showed no gain from further training by PPO (``make learn``). The
        learner is better than ``towards`` in walks but not in ``drill``. The form ``counts`` was measured on ``easy`` only. There the planner,
        ``learner`` and ``towards`` detect atoms in frames and are far better than policies without observations. The lead of ``learner`` over
        ``towards`` is 0.085 there, but its 95 % interval includes 0. There is no oracle for ``counts``, because no event is known in advance.

        The processes are the same in all forms of observation. In ``state`` they are computed on the sites of the lattice, and a frame (a look) gives
        sites with detection noise instead of an image. In the other forms the microscope acquires frames and parks the beam. Atoms stay on the sites
        of a perfect lattice; real Si protrudes from the sheet and displaces its neighbours by 0.1 A. The beam has 100 pA and a convergence semi-angle
        of 26 mrad. ``stemtwin film`` shows the detected graph, or the microscope's frames with ``--observation counts``.
    Action space
        ``Box(-1, 1, (4,))``

        ========= ======================================= ==== =======================================
        Component Meaning                                 Unit Range
        ========= ======================================= ==== =======================================
        0, 1      position of the parked beam, x and y,   A    -3 to 3; ``drill``: -8 to 8
                  relative to the observed Si position;
                  ``drill``: relative to the field centre
        2         time, logarithmic                       s    0.03 to 1; at most the remaining time
        3         declaration                                  above 0.5: the episode ends, no beam
        ========= ======================================= ==== =======================================
    Observation space
        ``state`` (the default): float32 in [-1, 1], shape (24,) for walks. The first six numbers are the brightness of Si divided by five times that
        of C (expected value 0.56), its position in the field in units of 8 A, the vector to the target in units of 16 A, and the number of bonds to
        the target in a perfect sheet in units of 20. Each of the three neighbours, the nearest to the target first, has five numbers: its position
        relative to Si in units of 3 A, and three contrasts, its own and those of the two sites behind it. A contrast is the brightness relative to
        that of C, minus 1: 0.2 for N, -0.6 for an empty site. The last three numbers are the remaining fractions of looks and beam time, and the beam
        energy in units of 100 keV. If Si is not detected, the first number is the largest brightness, and the next 20 numbers are 0. The shape is
        (135,) for ``drill``. Each of the 33 S sites on the exit face has its position in units of 8 A, half its brightness relative to S2 (0.25 for
        one missing S), and 1 if it is a target. The last three numbers are as for walks.

        ``counts``: a ``Dict``.

        =========== ======================= ============================================== ==== ==============
        Component   Type                    Meaning                                        Unit Range
        =========== ======================= ============================================== ==== ==============
        ``image``   uint16 (64, 64)         MAADF frame of 16 A                            e-   0 to 65535
        ``trace``   uint32 (10,)            readings of the last parked beam, or zeros     e-   0 to 2**32 - 1
        ``tracked`` float32 (2,)            brightest point of the frame (x, y) from the   A    -8 to 8
                                            centre of the field; ``drill``: 0
        ``target``  float32 (1, 2)          target site; ``drill``: (6, 2), target sites,  A    -8 to 8
                                            padded with zeros
        ``budget``  float32 (2,)            remaining fractions of looks and beam time          0 to 1
        ``energy``  float32 (1,)            beam energy divided by 100 keV                      0 to 1
        =========== ======================= ============================================== ==== ==============

        ``pixels``: ``image`` uint8 (32, 32), square roots of bins of 2 x 2 points, and ``scalars`` float32: position, targets,
        budget, energy, logarithms of the trace divided by its first reading.
    Reward
        0.3 [P(s') - P(s)] + 0.6 V - 0.1 [B(s') - B(s)]. P = 1 - d / (2 L), where d is the length in bonds of the shortest passable path to the target
        and L its value at the start. P is 1/2 at the start, 1 at the target, and 0 without Si. The achievement V is 0 until the declared end; then it
        is 1 - n / 4 for n lost atoms if Si is at the target, and otherwise 0. B is the larger of the spent fractions of looks and beam time. Random
        actions fail, because the targets are at least six bonds away. In ``drill``, n is the number of lost atoms that do not belong to the pattern.
        P is (f - n / 2) divided by the size of the pattern, for f finished vacancies. At the declared end, V is 1 - n / 4 for the whole pattern; for
        an unfinished pattern it is this value times half the finished fraction.
    Starting state
        The number of bonds between Si and the target is in the preset's range of sizes. N atoms and vacancies are drawn over the field, not beside
        start or target, and the shortest path around them is in the same range. In ``drill`` the target is a connected pattern of S sites whose shape
        occurs in no other split: 333 shapes in ``train``, 349 in ``val``, 319 in ``test``, each at a few positions in the field. One look has been
        taken.
    Episode end
        An episode is terminated only by the declared end. It is truncated after the last look, or when less than 0.03 s of beam time is left.
    Presets
        ============ ======== ======== ======= ========= ======== ======= ===== ====== ======
        Preset       Energy   Size     N       Vacancies Jitter   Flicker Looks Beam   Frame
        ============ ======== ======== ======= ========= ======== ======= ===== ====== ======
        ``easy``     72 keV   6 to 7   2 to 4  0         0.05 A   0.04    60    15 s   0.16 s
        ``standard`` 65 keV   8 to 9   6 to 9  1 to 2    0.1 A    0.06    80    30 s   0.16 s
        ``hard``     62.8 keV 10 to 11 8 to 12 2 to 4    0.15 A   0.08    100   60 s   0.16 s
        ``drill``    66 keV   4 to 6   0       0         0.1 A    0.12    36    15 s   0.04 s
        ============ ======== ======== ======= ========= ======== ======= ===== ====== ======

        Size: length of the path in bonds, or number of vacancies. At lower energy, hops are rarer relative to replacements. Jitter and flicker:
        standard deviations of the detection noise in ``state`` observations, of positions and of the brightness relative to that of C or S2.
    Example
        ::

            import gymnasium, numpy, stemtwin

            env = gymnasium.make("stemtwin/AtomForge-v1", difficulty="easy")
            observation, info = env.reset(seed=2)
            over = False
            while not over:  # park the beam on the neighbour nearest to the target until no neighbour is nearer
                arrived = observation[0] < 0.35 or observation[5] == 0
                action = numpy.array([*observation[6:8], 0.1, 1 if arrived else -1], numpy.float32)
                observation, reward, terminated, truncated, info = env.step(action)
                over = terminated or truncated
    Version history
        v1: first version.

    Parameters
    ----------
    difficulty, split, observation, reward, randomisation, privileged_info
        See ``stemtwin.twin.envs.arguments.EnvArguments``. ``randomisation`` accepts the probabilities ``failing`` and ``closed_valve``.
        A failing command does not park the beam; a closed valve affects parked beams and frames.
    phonons : int
        Number of frozen-phonon configurations of the microscope's frames.

    Raises
    ------
    StemtwinError
        A name is unknown or a number is out of range.
    """

    PRESETS: ClassVar[Mapping[str, ForgePreset]] = PRESETS
    RANDOMISED: ClassVar[tuple[str, ...]] = ("failing", "closed_valve")

    observation: str = "state"
    phonons: int | str = 1

    def __post_init__(self) -> None:
        """Check the arguments."""
        GoalFamily.__post_init__(self)
        checked_phonons(self.phonons)

    # ---- spaces

    @property
    def action_space(self) -> gym.spaces.Box:
        """Space of actions: position and time of the parked beam, and declaration of the end."""
        return gym.spaces.Box(-1.0, 1.0, (4,), np.float32)

    @property
    def observation_space(self) -> gym.spaces.Space:
        """Space of the chosen form of observation."""
        if self.observation == "state":
            return gym.spaces.Box(-1.0, 1.0, (forge_sight.WIDTHS[self.preset.goal] + 3,), np.float32)
        marks = 2 + 2 * self._marked + 3
        if self.observation == "pixels":
            image = gym.spaces.Box(0, 255, (FRAME_PX // 2, FRAME_PX // 2), np.uint8)
            return gym.spaces.Dict({"image": image, "scalars": gym.spaces.Box(-1.0, 1.0, (marks + READINGS,), np.float32)})
        half = FIELD_ANGSTROM / 2
        return gym.spaces.Dict(
            {
                "image": gym.spaces.Box(0, 65535, (FRAME_PX, FRAME_PX), np.uint16),
                "trace": gym.spaces.Box(0, 2**32 - 1, (READINGS,), np.uint32),
                "tracked": gym.spaces.Box(-half, half, (2,), np.float32),
                "target": gym.spaces.Box(-half, half, (self._marked, 2), np.float32),
                "budget": gym.spaces.Box(0.0, 1.0, (2,), np.float32),
                "energy": gym.spaces.Box(0.0, 1.0, (1,), np.float32),
            }
        )

    @property
    def _marked(self) -> int:
        """Number of target sites in an observation."""
        return 1 if self.preset.goal == "walk" else self.preset.size[1]

    @property
    def _beam(self) -> ForgeBeam:
        return forge_scenes.forge_beam(self.preset.goal, self.preset.energy_ev)

    # ---- the episode

    def prepare(self, line: PreparationLine) -> None:
        """Compute the probe's current density, which takes 2 s, and load the sheet."""
        del line
        forge_scenes.lattice(self.preset.goal)
        forge_scenes.forge_beam(self.preset.goal, self.preset.energy_ev)

    def initial(self, rng: np.random.Generator) -> ForgeState:
        """Draw sheet and goal, and take the first frame."""
        scene = forge_scenes.draw_scene(self.preset, rng, self.split)
        numbers = read_only(np.array(scene.numbers))
        seed, draws = int.from_bytes(rng.bytes(16), "little"), _draws(rng)
        state = ForgeState(scene=scene, numbers=numbers, bonds_left=self._bonds_left(scene, numbers), draws=draws)
        sheet = forge_scenes.lattice(self.preset.goal)
        if self.observation == "state":
            found = ForgedSites.of(sheet.network.replace(numbers=numbers), self._beam)
            return self._looked(replace(state, found=found), rng)
        sample, order = forge_scenes.specimen(scene, self.preset.goal)
        made, settings = forge_scenes.setup(self.preset.goal, seed, self.phonons), dict[str, Any](forge_scenes.knobs(self.preset.energy_ev))
        begun = sessions.start(made, sample, faults=self.conditions().faults, **settings)
        return self._looked(replace(state, session=begun, order=order, trace=NO_TRACE), rng)

    def transition(self, state: ForgeState, action: np.ndarray, rng: np.random.Generator) -> ForgeState:
        """Declare the end, or park the beam and then take a frame."""
        state = replace(state, moves=state.moves + 1)
        if action[3] > STOP:
            return replace(state, stopped=True)
        at, seconds = self._aim(state, action)
        if rng.random() >= self.conditions().failing:
            state = self._parked(replace(state, beam_s=state.beam_s + seconds, aimed=at), at, seconds, rng)
        elif state.trace is not None:
            state = replace(state, trace=NO_TRACE)
        return replace(self._looked(state, rng), draws=_draws(rng))

    def _aim(self, state: ForgeState, action: np.ndarray) -> tuple[tuple[float, float], float]:
        """Return the position (x, y) of the parked beam from the centre of the field (A) and its time, s."""
        reach, (x, y) = REACH_ANGSTROM[self.preset.goal], state.tracked
        return (x + reach * float(action[0]), y + reach * float(action[1])), min(dwell_s(float(action[2])), self.preset.beam_s - state.beam_s)

    def _parked(self, state: ForgeState, at: tuple[float, float], seconds: float, rng: np.random.Generator) -> ForgeState:
        middle = forge_scenes.lattice(self.preset.goal).middle
        place = at[0] + middle[0], at[1] + middle[1]
        if state.found is not None:
            if rng.random() < self.conditions().closed_valve:
                return state
            found, _ = forge_kinetics.parked(state.found, self._beam, place, seconds, state.draws, rng)
            return replace(state, found=found)
        assert state.session is not None
        taken, after = sessions.park(state.session, place, seconds, detectors=(DETECTOR,), looks=READINGS)
        return replace(state, session=after, trace=read_only(taken[DETECTOR].to_numpy().ravel().astype(np.uint32)))

    def _looked(self, state: ForgeState, rng: np.random.Generator) -> ForgeState:
        """Return the state after a frame."""
        preset, goal = self.preset, self.preset.goal
        stayed = not state.looks or (state.trail and math.dist(state.trail[-1], state.tracked) < MOVED_ANGSTROM)
        state = replace(state, looks=state.looks + 1, trail=state.trail if stayed else (*state.trail, state.tracked))
        if state.found is not None:
            x, y = forge_scenes.lattice(goal).middle
            half = FIELD_ANGSTROM / 2
            dark, found = bool(rng.random() < self.conditions().closed_valve), state.found
            if not dark:
                found, _ = forge_kinetics.looked(found, self._beam, (x - half, y - half, x + half, y + half), preset.look_s, rng)
            numbers = found.network.numbers
            bright, sight, tracked = forge_sight.look(preset, state.scene, numbers, state.tracked, rng, dark=dark)
            state = replace(state, found=found, bright=bright, sight=sight, tracked=tracked)
        else:
            assert state.session is not None
            assert state.order is not None
            taken, after = sessions.acquire(state.session, forge_scenes.frame_scan(goal), detectors=(DETECTOR,), dwell_time_us=preset.look_us)
            image = read_only(taken[DETECTOR].to_numpy().astype(np.uint16))
            assert after.scope.matter is not None
            numbers = np.zeros(len(state.order), np.int64)
            numbers[state.order] = after.scope.matter.sites.numbers
            tracked = forge_sight.brightest(image, state.tracked) if goal == "walk" else (0.0, 0.0)
            state = replace(state, session=after, image=image, tracked=tracked)
        if np.array_equal(numbers, state.numbers):
            return state
        return replace(state, numbers=read_only(numbers), bonds_left=self._bonds_left(state.scene, numbers, state))

    def _bonds_left(self, scene: ForgeScene, numbers: np.ndarray, before: ForgeState | None = None) -> np.ndarray:
        """Return the number of bonds from every site to the target, which changes only if an atom is lost, added or replaced."""
        if self.preset.goal != "walk":
            return np.zeros(0)
        if before is not None and sorted(numbers.tolist()) == sorted(before.numbers.tolist()):
            return before.bonds_left
        return forge_scenes.distances(scene.target[0], forge_scenes.shut_sites(numbers, scene.target[0]))

    # ---- observation

    def observe(self, state: ForgeState) -> Any:
        """Return the observation in the chosen form."""
        left = np.array([1 - state.looks / self.preset.looks, 1 - state.beam_s / self.preset.beam_s])
        budget = np.clip(left, 0, 1).astype(np.float32)
        energy = np.array([self.preset.energy_ev / forge_sight.FULL_EV], np.float32)
        if self.observation == "state":
            assert state.sight is not None
            return np.concatenate([state.sight, budget, energy])
        assert state.image is not None
        assert state.trace is not None
        target = np.zeros((self._marked, 2), np.float32)
        target[: len(state.scene.target)] = forge_scenes.lattice(self.preset.goal).places[list(state.scene.target)]
        if self.observation == "counts":
            shown = {"image": state.image.copy(), "trace": state.trace.copy(), "tracked": np.array(state.tracked, np.float32)}
            return {**shown, "target": target, "budget": budget, "energy": energy}
        half = FIELD_ANGSTROM / 2
        risen = np.log(np.maximum(state.trace.astype(float), 1) / max(float(state.trace[0]), 1.0)) / 3
        scalars = np.concatenate([np.array(state.tracked) / half, target.ravel() / half, budget, energy, risen]).astype(np.float32)
        return {"image": square_roots(state.image), "scalars": np.clip(scalars, -1, 1)}

    # ---- the goal

    def _lost(self, state: ForgeState) -> int:
        """Return the number of lost atoms that are not part of the goal."""
        gone = (np.array(state.scene.numbers) > 0) & (state.numbers == 0)
        return int(gone.sum()) - (int(gone[list(state.scene.target)].sum()) if self.preset.goal == "drill" else 0)

    def _site(self, state: ForgeState) -> int | None:
        """Return the site of Si, or None without Si."""
        found = np.flatnonzero(state.numbers == SILICON)
        return int(found[0]) if len(found) else None

    def _made(self, state: ForgeState) -> int:
        """Return the number of finished vacancies of the pattern."""
        return int((state.numbers[list(state.scene.target)] == 0).sum())

    def potential(self, state: ForgeState) -> float:
        """Return the progress towards the goal, in [0, 1]; at the start it is 1/2 if Si is to be moved, and 0 if vacancies are to be drilled."""
        scene = state.scene
        if self.preset.goal == "drill":
            return min(max((self._made(state) - 0.5 * self._lost(state)) / scene.length, 0.0), 1.0)
        site = self._site(state)
        return 0.0 if site is None else max(1 - int(state.bonds_left[site]) / (2 * scene.length), 0.0)

    def achievement(self, state: ForgeState) -> float:
        """Return the value of the finished structure, in [0, 1]."""
        scene, whole = state.scene, max(1 - LOSS * self._lost(state), 0.0)
        if self.preset.goal == "drill":
            made = self._made(state)
            return whole if made == scene.length else 0.5 * whole * made / scene.length
        return whole * (self._site(state) == scene.target[0])

    def spent(self, state: ForgeState) -> float:
        """Return the larger of the spent fractions of frames and beam time."""
        return min(max(state.looks / self.preset.looks, state.beam_s / self.preset.beam_s), 1.0)

    def declared(self, state: ForgeState) -> bool:
        """Return True if the agent has declared the end."""
        return state.stopped

    def truncated(self, state: ForgeState) -> bool:
        """Return True if the frames are spent, or if the remaining beam time is below the shortest dwell time."""
        return state.looks >= self.preset.looks or self.preset.beam_s - state.beam_s < SHORTEST_S

    def cost(self, state: ForgeState) -> dict[str, float]:
        """Return the dose averaged over the field (e-/A^2), the beam time on the specimen (s), and the numbers of actions and frames."""
        seconds = state.beam_s + state.looks * self.preset.look_s
        return {
            "dose_e_per_angstrom2": seconds * self._beam.electrons_per_s / FIELD_ANGSTROM**2,
            "beam_s": seconds,
            "moves": float(state.moves),
            "looks": float(state.looks),
        }

    def truth(self, state: ForgeState) -> dict[str, float]:
        """Return the total and the remaining length of the path or pattern, the lost atoms, the defects, and the wanted events.

        A wanted event is a hop of Si towards the target, or a loss or jump of an S atom of the target pattern. ``event_k`` is 1 if there is a wanted
        event k, else 0. (``x_k``, ``y_k``) is a beam position near the atom of this event, in units of the action. A beam parked there causes the
        event after ``seconds_k``; -1 means that the time is unknown, or that another event comes first.
        """
        site, scene, walk = self._site(state), state.scene, self.preset.goal == "walk"
        left = (UNREACHED if site is None else int(state.bonds_left[site])) if walk else scene.length - self._made(state)
        start = np.array(scene.numbers)
        out = {
            "length": float(scene.length),
            "left": float(left),
            "lost": float(self._lost(state)),
            "dopant": float(site is not None),
            "foreign": float((start[start != SILICON] != CARBON).sum() - (start == 0).sum()) if walk else 0.0,
            "empty": float((start == 0).sum()),
        }
        wanted = self._wanted(state, site)
        for number in range(3 if walk else self._marked):
            at, seconds = wanted[number] if number < len(wanted) else ((0.0, 0.0), forge_kinetics.UNKNOWN)
            out |= {f"event_{number}": float(number < len(wanted)), f"x_{number}": at[0], f"y_{number}": at[1], f"seconds_{number}": seconds}
        return out

    def _wanted(self, state: ForgeState, site: int | None) -> list[tuple[tuple[float, float], float]]:
        """Return beam positions near the atoms of wanted events, in units of the action, and the times until the events, s."""
        if self.preset.goal == "walk":
            return self._foreseen(state, forge_scenes.nearer_hops(state.numbers, state.bonds_left, site, state.scene.target[0]))[0]
        first, further = forge_scenes.drilling_events(state.numbers, state.scene.target)
        best, ready = self._foreseen(state, first)
        second, instead = ([], False) if ready else self._foreseen(state, further)
        return second if instead else best

    def _foreseen(self, state: ForgeState, events: Mapping[int, Collection[int]]) -> tuple[list[tuple[tuple[float, float], float]], bool]:
        """Return beam positions near atoms (units of the action) with the times until their events (s) and True if one fits an action."""
        sheet, reach, found = forge_scenes.lattice(self.preset.goal), REACH_ANGSTROM[self.preset.goal], []
        for atom, partners in events.items():
            places, number, seconds = sheet.places[atom] + forge_kinetics.ABOUT, 0, forge_kinetics.UNKNOWN
            if state.found is not None:
                about = places + np.array(sheet.middle)
                number, seconds = forge_kinetics.first_wait(state.found, self._beam, about, state.draws, (atom, partners), (SHORTEST_S, READY_S))
            x, y = ((places[number] - np.array(state.tracked)) / reach).tolist()
            found.append(((x, y), seconds))
        return found, any(SHORTEST_S <= seconds <= READY_S for _, seconds in found)

    def picture(self, state: ForgeState) -> np.ndarray:
        """Draw the frame (for ``state`` the detected sites), path of Si, beam, goal and budgets; return uint8, shape (height, width, 3)."""
        from stemtwin.twin.envs import forge_pictures

        left = {"looks": 1 - state.looks / self.preset.looks, "beam time": 1 - state.beam_s / self.preset.beam_s}
        return forge_pictures.forge_picture(
            forge_pictures.ForgeView(
                goal=self.preset.goal,
                image=state.image,
                bright=state.bright,
                target=tuple(forge_scenes.lattice(self.preset.goal).places[one].tolist() for one in state.scene.target),
                trail=(*state.trail, state.tracked) if self.preset.goal == "walk" else (),
                aimed=state.aimed,
                left=left,
                cost=self.cost(state),
                energy_ev=self.preset.energy_ev,
                stopped=state.stopped,
            )
        )


def dwell_s(component: float) -> float:
    """Convert the time component of an action, in [-1, 1], to the time of the parked beam, s."""
    return SHORTEST_S * (LONGEST_S / SHORTEST_S) ** ((component + 1) / 2)


def dwell_component(seconds: float) -> float:
    """Convert a time of the parked beam (s) to the time component of an action, clipped to [-1, 1]."""
    return min(max(2 * math.log(seconds / SHORTEST_S) / math.log(LONGEST_S / SHORTEST_S) - 1, -1.0), 1.0)


def _draws(rng: np.random.Generator) -> tuple[float, float]:
    return float(rng.standard_exponential()), float(rng.random())
