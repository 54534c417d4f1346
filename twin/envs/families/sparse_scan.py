"""``stemtwin/SparseScan-v1``: scan paths that give the best image of a sparse scene with few electrons."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from stemtwin.twin.envs import sparse_instrument, sparse_paths, sparse_scenes
from stemtwin.twin.envs.arguments import Conditions, one_of, plain_values
from stemtwin.twin.envs.discovery import environment
from stemtwin.twin.envs.goal_family import GoalFamily
from stemtwin.twin.envs.preparation import PreparationLine
from stemtwin.twin.envs.sparse_instrument import LONGEST, PRESETS, USUAL_DWELL_US, Sampling, SparsePreset
from stemtwin.twin.envs.sparse_paths import COUNT, KINDS, Block
from stemtwin.twin.envs.sparse_scenes import PITCH_ANGSTROM, PROFILE
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.hardware.readout_chain import DetectorChain

STOP = 0.8
"""Threshold of the sixth component of an action, above which the end is declared."""
SIDES = (64, 128)
"""Permitted numbers of points along each side of the field."""
COARSE = 16
"""Number of points along each side of an image in the form "state"."""
SCALARS = 10
"""Number of scalars in the forms "state" and "pixels"."""
SUCCESS = 1 / 3
"""Skill above which an episode is a success."""
SHORTEST_US = USUAL_DWELL_US / LONGEST
"""Shortest dwell time, us."""
BRIGHT = 0.02
"""Fraction of the beam shown as white in the form "pixels"."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SparseSampling:
    """State of an episode of the sparse scans.

    Parameters
    ----------
    conditions : Conditions
        Conditions of the episode.
    sample : str
        Name of the scene builder.
    scene : int
        Seed of the scene.
    true : ndarray
        Expected image, fractions of the beam, (n, n).
    raster : tuple of float
        Root-mean-square error, logarithmic score and coverage of the image from a raster; see ``sparse_instrument.errors``.
    found : tuple of float
        The same numbers for the agent's image.
    known : Sampling
        Measured points, and the image reconstructed from them.
    way : Block
        The last commanded block.
    dwell_us : float
        Dwell time of the last block, us.
    taken : int
        Number of points scanned by the last action: a whole block, or none.
    dose, time_us : float
        Costs so far: beam time in units of the usual dwell time, and path time, us.
    moves : int
        Number of actions so far.
    stopped, exhausted : bool
        Whether the agent declared the end; whether a budget was spent and the next action did not declare the end.
    """

    conditions: Conditions
    sample: str
    scene: int
    true: np.ndarray
    raster: tuple[float, float, float]
    found: tuple[float, float, float]
    known: Sampling
    way: Block
    dwell_us: float = USUAL_DWELL_US
    taken: int = COUNT
    dose: float = 0.0
    time_us: float = 0.0
    moves: int = 0
    stopped: bool = False
    exhausted: bool = False


@environment("SparseScan", version=1, max_episode_steps=160, reward_threshold=0.4)
@dataclass(frozen=True, slots=True, kw_only=True)
class SparseScanning(GoalFamily[SparseSampling]):
    """Scan a sparse scene by lines, spirals or hops to get the best image for a small dose and a short path.

    Description
        A field of 128 x 128 points, 2 A apart, shows one of three kinds of scenes: amorphous carbon with particles of
        gold or platinum; a layer of MoS2 with pores and platinum particles; or an aluminium foil whose grain boundaries
        are wetted by gallium. Positions and angles are drawn for each episode. On a real microscope this task needs a
        scan generator that accepts any list of points. The convergence semi-angle is 4 mrad at 200 kV. The probe is
        therefore as wide as the spacing of the points, so lattices average out. The detector is the dark-field detector
        of ``corrected-200kv``.

        An action scans a block of 64 points. Electrons are drawn from one expected image, in which atoms scatter once
        and independently (``twin.envs.sparse_scenes``). For randomly oriented particles of 20 and 40 A, the signal
        agrees with the engine ``thermal`` within 15 %; in ``thermal`` the centre of a 40 A particle is up to a quarter
        darker. For particles along a zone axis, ``thermal`` gives 1.5 times the signal.

        A fixed reconstruction (``twin.envs.image_trees``) converts all counts to the image with its uncertainty. This
        image is the answer, so the agent controls only the scan. The reference is a raster of lines with the same dose,
        the same path time and the same reconstruction.
    Action space
        ``Box(-1, 1, (7,), float32)``

        ========= =========================================== ==== ======================================================
        component meaning                                     unit range
        ========= =========================================== ==== ======================================================
        0         kind                                        --   line below -1/3, spiral, hops from 1/3
        1, 2      x, y of the block's first corner            A    over the field, 0 to 254
        3, 4      x, y of its second corner                   A    over the field, 0 to 254
        5         stop: above 0.8 the end is declared, and    --   -1 to 1
                  no block is scanned
        6         dwell time at each point, logarithmic       us   2.5 to 40, usual 10; at most the remaining budget
        ========= =========================================== ==== ======================================================

        A line is the diagonal from the first corner to the second; a spiral runs from the centre to the inscribed
        ellipse; hops are scattered evenly over the rectangle. The scanned points are the points of the field that are
        nearest to the path. Each block begins with a flyback of 100 us. Steps longer than three times the spacing of the points
        are hops, which take 40 us each. The beam is blanked during flybacks and hops. If the remaining time is too short for
        a block, the time is spent without a scan.
    Observation space
        ``"counts"``: a ``Dict``; n is 128.

        =============== =================== ========= ===========================================================
        component       type                unit      meaning
        =============== =================== ========= ===========================================================
        ``taken``       uint8 (1,)          1         points scanned by the last action: 64, or 0 if the block was
                                                      not carried out
        ``readings``    uint16 (64,)        e- or ADU readings of the last block in order: electrons (easy) or
                                                      ADU (offset 1000, 7.6 ADU per electron); 0 without a scan
        ``pixels``      uint8 (64, 2)       1         rows and columns of the last block's points, 0 to n - 1
        ``estimate``    float32 (n, n)      1         the image so far, fraction of the beam, 0 to 1
        ``uncertainty`` float32 (n, n)      1         standard deviation of the image, 0 to 1
        ``budget``      float32 (2,)        1         remaining fractions of dose and path time, 0 to 1
        ``electrons``   float32 (1,)        1         incident electrons per point of the last block, 0 without a
                                                      scan
        =============== =================== ========= ===========================================================

        ``"pixels"``: a ``Dict`` of ``image`` uint8 (2, n, n), square roots of image and uncertainty, 255 at 2 % of the
        beam, and ``scalars`` float32 (10,): corners, kind and dwell time of the last block, logarithm of the electrons
        at the usual dwell time, a flag (1 if the block was carried out, 0 if it was not), and budget. ``"state"``: float32
        (522,) in [-1, 1]: image and uncertainty averaged to 16 x 16 points and scaled in the same way, then these scalars.
    Reward
        ``"dense"``: 0.3 times the change of P, plus 0.6 times the achievement at the declared end, minus 0.1 times the
        change of the spent budget (the larger of the spent fractions of dose and time). P = 1 / (1 + r^2), where r is
        the root-mean-square error of the image divided by that of the raster. The achievement is the skill 1 - r, or 0
        if the raster is better. ``"sparse"``: only the achievement. An episode is a success if the end is declared with
        a skill above 1/3.
    Starting state
        64 hops over the whole field have been measured at the usual dwell time; the raster begins with the same
        overview.
    Episode end
        An episode is terminated only by the declared stop. It is truncated if the dose or the path time is spent and the
        next action does not declare the end. Each budget is the cost of the overview plus that of the raster: a dose of 38
        blocks of 64 points (hard: 31), and a path time of 3.3 ms plus 37 (hard: 30) lines of 0.74 ms.
    Presets
        ============ ================== ================== ================= ========================================
        preset       scenes             electrons / point  dose budget       structure of a field
        ============ ================== ================== ================= ========================================
        ``easy``     Au, Pt             3000 to 6000       0.15              3 to 5 particles of 20 to 40 A
        ``standard`` Au, Pt, MoS2, Al   2000 to 5000       0.15              4 to 7 particles of 16 to 36 A, 3 to 6
                                                                             pores of 12 to 22 A, 1 boundary
        ``hard``     Au, Pt, MoS2, Al   1500 to 3500       0.12              7 to 12 particles of 12 to 30 A, 5 to 9
                                                                             pores of 8 to 18 A, 1 or 2 boundaries
        ============ ================== ================== ================= ========================================

        The dose budget is a fraction of the dose of one visit to every point at the usual dwell time. Sizes are
        diameters of particles and mean radii of pores. In ``standard`` and ``hard`` the detector has its read-out
        chain. In ``hard`` 5 % of the blocks are not carried out, and each of these blocks costs a flyback. A layer of
        MoS2 has pores and half as many particles as the carbon film; all its particles have the smallest size.
    Example
        ::

            import gymnasium as gym, numpy as np, stemtwin

            env = gym.make("stemtwin/SparseScan-v1", difficulty="easy", privileged_info=True)
            observation, info = env.reset(seed=1)
            for y in np.linspace(-1, 1, 37):
                observation, reward, *_ = env.step(np.array([-1, -1, y, 1, y, -1, 0], np.float32))
            observation, reward, terminated, truncated, info = env.step(np.array([0, 0, 0, 0, 0, 1, 0], np.float32))
            print(f"{1 - info['truth']['error'] / info['truth']['raster_error']:.2f}")
    Version history
        v1: first version.

    Parameters
    ----------
    difficulty, split, observation, reward, randomisation, privileged_info
        See ``EnvArguments``. ``samples``, ``electrons_per_point``, ``failing`` and ``closed_valve`` can be randomised;
        the samples are ``au-particle-carbon``, ``pt-particle-carbon``, ``mos2-1h`` and ``al-sigma5-310``. With a closed
        valve a block records only the noise of the electronics, and its dose and time are still charged.
    points : int
        Number of points along each side of the field, 128 or 64. A smaller field has fewer structures and a smaller budget.

    Raises
    ------
    StemtwinError
        A name is unknown or a number is out of range.
    """

    PRESETS: ClassVar[Mapping[str, SparsePreset]] = PRESETS
    RANDOMISED: ClassVar[tuple[str, ...]] = ("samples", "electrons_per_point", "failing", "closed_valve")

    points: int = 128

    def __post_init__(self) -> None:
        """Check the arguments."""
        GoalFamily.__post_init__(self)
        if self.points not in SIDES:
            message = f"points={self.points!r} is not a permitted number of points per side. Give {' or '.join(map(str, SIDES))}."
            raise SettingsError(message)
        for name in self.conditions().samples:
            one_of("samples", name, sparse_scenes.SCENES)

    def prepare(self, line: PreparationLine) -> None:
        """Build particles, films and images of single atoms; in a new process this takes seconds."""
        del line
        sparse_scenes.prepare(self.conditions().samples, self.preset.scene, self.points)

    # ---- spaces

    @property
    def action_space(self) -> gym.spaces.Box:
        """Space of actions: kind of the block, its corners, declaration of the end, and dwell time."""
        return gym.spaces.Box(-1.0, 1.0, (7,), np.float32)

    @property
    def observation_space(self) -> gym.spaces.Space:
        """Space of the chosen form of observation."""
        n = self.points
        if self.observation == "state":
            return gym.spaces.Box(-1.0, 1.0, (2 * COARSE**2 + SCALARS,), np.float32)
        if self.observation == "pixels":
            scalars = gym.spaces.Box(-1.0, 1.0, (SCALARS,), np.float32)
            return gym.spaces.Dict({"image": gym.spaces.Box(0, 255, (2, n, n), np.uint8), "scalars": scalars})
        return gym.spaces.Dict(
            {
                "taken": gym.spaces.Box(0, COUNT, (1,), np.uint8),
                "readings": gym.spaces.Box(0, 65535, (COUNT,), np.uint16),
                "pixels": gym.spaces.Box(0, n - 1, (COUNT, 2), np.uint8),
                "estimate": gym.spaces.Box(0.0, 1.0, (n, n), np.float32),
                "uncertainty": gym.spaces.Box(0.0, 1.0, (n, n), np.float32),
                "budget": gym.spaces.Box(0.0, 1.0, (2,), np.float32),
                "electrons": gym.spaces.Box(0.0, 3e5, (1,), np.float32),
            }
        )

    def known(self) -> dict[str, Any]:
        """Return the ranges of scenes and conditions, the dose budget (see ``SparsePreset.share``), and the presence of faults."""
        preset, drawn = self.preset, self.drawn_ranges()
        return {"scenes": plain_values(preset.scene), "share": preset.share, "faults": preset.faults, "randomisation": drawn}

    # ---- the episode

    @property
    def budget(self) -> tuple[float, float]:
        """Budgets of an episode: beam time in units of the usual dwell time, and path time in us.

        Each budget is the sum of the cost of the first block and the cost of the reference raster.
        """
        return sparse_instrument.budget(self.preset, self.points)

    def initial(self, rng: np.random.Generator) -> SparseSampling:
        """Draw conditions and scene, and scan the first block; the reference raster has its own random stream."""
        conditions = self.conditions().draw(rng)
        scene, noise = int(rng.integers(2**52)), rng.spawn(2)
        true = sparse_scenes.expected_image(conditions.sample, scene, self.preset.scene, self.points)
        way, electrons = sparse_paths.overview(self.points, PROFILE), conditions.electrons_per_point
        nothing = sparse_instrument.nothing(self.points)
        known = sparse_instrument.recorded(nothing, way, true, electrons=electrons, dwell_us=USUAL_DWELL_US, chain=self.chain, rng=noise[0])
        lines = self.preset.blocks(self.points) - 1
        raster = sparse_instrument.raster_image(true, known, lines=lines, electrons=electrons, chain=self.chain, rng=noise[1])
        known = sparse_instrument.imaged(known, self.chain)
        return SparseSampling(
            conditions=conditions,
            sample=conditions.sample,
            scene=scene,
            true=true,
            raster=sparse_instrument.errors(raster, true),
            found=sparse_instrument.errors(known, true),
            known=known,
            way=way,
            dose=float(COUNT),
            time_us=way.time_us(USUAL_DWELL_US),
        )

    @property
    def chain(self) -> DetectorChain:
        """Read-out chain of the detector."""
        return sparse_instrument.chain_of(PROFILE, faults=self.preset.faults)

    def transition(self, state: SparseSampling, action: np.ndarray, rng: np.random.Generator) -> SparseSampling:
        """Declare the end, or scan a block within the remaining dose and time."""
        state = replace(state, moves=state.moves + 1, taken=0)
        if action[5] > STOP:
            return replace(state, stopped=True)
        dose, time = self.budget
        if self._spent_up(state):
            return replace(state, exhausted=True)
        way, dwell = self.asked(action)
        failing, closed = rng.random(2) < (state.conditions.failing, state.conditions.closed_valve)
        if failing:
            return replace(state, way=way, time_us=min(state.time_us + way.flyback_us, time))
        most = min((dose - state.dose) / COUNT * USUAL_DWELL_US, (time - state.time_us - way.overhead_us) / COUNT)
        if most < SHORTEST_US:
            return replace(state, way=way, time_us=time)
        dwell = min(dwell, most)
        share = dwell / USUAL_DWELL_US
        electrons = state.conditions.electrons_per_point * share
        lit = np.zeros_like(state.true) if closed else state.true
        known = sparse_instrument.recorded(state.known, way, lit, electrons=electrons, dwell_us=dwell, chain=self.chain, rng=rng)
        known = sparse_instrument.imaged(known, self.chain)
        return replace(
            state,
            known=known,
            found=sparse_instrument.errors(known, state.true),
            way=way,
            dwell_us=dwell,
            taken=COUNT,
            dose=state.dose + share * COUNT,
            time_us=state.time_us + way.time_us(dwell),
        )

    def asked(self, action: np.ndarray) -> tuple[Block, float]:
        """Return the block of scan points and the dwell time (us) of an action; the dwell time is not yet limited by the budget."""
        kind = KINDS[min(int((float(action[0]) + 1) / 2 * len(KINDS)), len(KINDS) - 1)]
        x0, y0, x1, y1 = ((float(value) + 1) / 2 for value in action[1:5])
        return sparse_paths.block(kind, (x0, y0, x1, y1), self.points, PROFILE), USUAL_DWELL_US * LONGEST ** float(action[6])

    def _spent_up(self, state: SparseSampling) -> bool:
        """Return True if no block fits into the remaining dose and time."""
        dose, time = self.budget
        least = SHORTEST_US * COUNT
        return (dose - state.dose) * USUAL_DWELL_US < least or time - state.time_us < state.way.flyback_us + least

    # ---- observation

    def _left(self, state: SparseSampling) -> np.ndarray:
        """Return the remaining fractions of dose and time, float32 (2,)."""
        dose, time = self.budget
        return np.clip([1 - state.dose / dose, 1 - state.time_us / time], 0, 1).astype(np.float32)

    def observe(self, state: SparseSampling) -> Any:
        """Return the observation in the chosen form."""
        known, left, carried_out = state.known, self._left(state), state.taken > 0
        if self.observation == "counts":
            return {
                "taken": np.array([state.taken], np.uint8),
                "readings": known.readings.copy() if carried_out else np.zeros_like(known.readings),
                "pixels": state.way.pixels.astype(np.uint8),
                "estimate": np.minimum(known.estimate, 1).astype(np.float32),
                "uncertainty": np.minimum(known.uncertainty, 1).astype(np.float32),
                "budget": left,
                "electrons": np.array([carried_out * state.conditions.electrons_per_point * state.dwell_us / USUAL_DWELL_US], np.float32),
            }
        last = 2 * np.array(state.way.corners) - 1
        told = [
            KINDS.index(state.way.kind) - 1,
            math.log(state.dwell_us / USUAL_DWELL_US, LONGEST),
            math.log10(state.conditions.electrons_per_point) / 5,
            float(carried_out),
        ]
        scalars = np.clip(np.concatenate([last, told, left]), -1, 1).astype(np.float32)
        if self.observation == "pixels":
            shown = np.stack([np.sqrt(known.estimate / BRIGHT), np.sqrt(known.uncertainty / BRIGHT)])
            return {"image": np.clip(255 * shown, 0, 255).astype(np.uint8), "scalars": scalars}
        small = [_coarse(known.estimate), np.sqrt(_coarse(known.uncertainty**2))]
        levels = [np.clip(2 * np.sqrt(one / BRIGHT) - 1, -1, 1).ravel() for one in small]
        return np.concatenate([*levels, scalars]).astype(np.float32)

    # ---- the goal

    def skill(self, state: SparseSampling) -> float:
        """Return 1 - e / e_r with the root-mean-square errors e of the agent's image and e_r of the image from the reference raster."""
        return 1 - state.found[0] / state.raster[0]

    def potential(self, state: SparseSampling) -> float:
        """Return 1 / (1 + (e / e_r)^2); e is the error of the agent's image, e_r that of the image from the reference raster."""
        return 1 / (1 + (state.found[0] / state.raster[0]) ** 2)

    def achievement(self, state: SparseSampling) -> float:
        """Return the skill (see :meth:`skill`), or 0 if the skill is negative."""
        return max(self.skill(state), 0.0)

    def success(self, state: SparseSampling) -> bool:
        """Return True if the end was declared with an image whose error is below two thirds of the reference raster's error."""
        return state.stopped and self.skill(state) > SUCCESS

    def declared(self, state: SparseSampling) -> bool:
        """Return True if the agent has declared the end."""
        return state.stopped

    def truncated(self, state: SparseSampling) -> bool:
        """Return True if a budget was spent and the next action did not declare the end."""
        return state.exhausted

    def spent(self, state: SparseSampling) -> float:
        """Return the larger of the spent fractions of dose and time."""
        dose, time = self.budget
        return min(max(state.dose / dose, state.time_us / time), 1.0)

    def cost(self, state: SparseSampling) -> dict[str, float]:
        """Return the mean dose of the field (e-/A^2), beam time on the specimen (s), path time (s), and number of actions."""
        area = (self.points * PITCH_ANGSTROM) ** 2
        return {
            "dose_e_per_angstrom2": state.dose * state.conditions.electrons_per_point / area,
            "beam_s": state.dose * USUAL_DWELL_US * 1e-6,
            "path_s": state.time_us * 1e-6,
            "moves": float(state.moves),
        }

    def truth(self, state: SparseSampling) -> dict[str, float]:
        """Return data of the scene, and the error, the logarithmic score and the coverage of two images.

        The images are that of the agent and, with the prefix ``raster_``, that of the reference raster; see
        ``sparse_instrument.errors``. The data of the scene are its seed, the index of its sample, and the logarithm of the
        electrons per point.
        """
        names = ("error", "log_score", "coverage")
        return {
            **dict(zip(names, state.found, strict=True)),
            **{f"raster_{name}": value for name, value in zip(names, state.raster, strict=True)},
            "scene": float(state.scene),
            "sample": float(tuple(sparse_scenes.SCENES).index(state.sample)),
            "log10_electrons": math.log10(state.conditions.electrons_per_point),
        }

    def picture(self, state: SparseSampling) -> np.ndarray:
        """Draw image, uncertainty and dose so far with the last block and the budgets; return uint8, shape (height, width, 3)."""
        from stemtwin.twin.envs import sparse_pictures

        told = f"{state.way.kind}, " + (f"{state.dwell_us:.1f} us a point" if state.taken else "not carried out")
        dose, time = self._left(state).tolist()
        return sparse_pictures.sampling_picture(
            state.known.estimate,
            state.known.uncertainty,
            state.known.exposure,
            state.way.pixels,
            left={"dose": dose, "path time": time},
            action=state.moves,
            told=told,
            side=self.points * PITCH_ANGSTROM,
            note="end declared" if state.stopped else "",
        )


def _coarse(image: np.ndarray) -> np.ndarray:
    """Return the image averaged over squares, (16, 16)."""
    step = len(image) // COARSE
    return image.reshape(COARSE, step, COARSE, step).mean(axis=(1, 3))
