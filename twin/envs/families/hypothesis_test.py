"""``stemtwin/HypothesisTest-v1``: a decision between two laws of beam damage from counts of lost sites."""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from stemtwin.twin.envs import damage_laws
from stemtwin.twin.envs.arguments import one_of, plain_values
from stemtwin.twin.envs.damage_laws import PAIRS, USUAL_DOSE, USUAL_ENERGY_EV, USUAL_TIME_S, Hypotheses
from stemtwin.twin.envs.damage_presets import EASY, HARD, STANDARD, HypothesisPreset, preset_settings
from stemtwin.twin.envs.discovery import environment
from stemtwin.twin.envs.faults import FAULTS
from stemtwin.twin.envs.functional_env import read_only
from stemtwin.twin.envs.goal_family import GoalFamily

DECLARE = 0.8
"""Threshold of the fourth component of an action, above which the end is declared."""
EDGE = 0.02
"""Smallest declared probability; the largest is 1 minus this number, so the logarithmic score is bounded without clipping."""
STEPS = 16
"""Largest number of actions of an episode."""
SURE = 0.76
"""Smallest declared probability of the true law for which an episode is a success.

It is not 0.75, because the rounding to float32 would decide about an answer of exactly 0.75.
"""
IGNORANCE = 0.5
"""Potential at the start and at every end."""
FRAME_PX, BLOB = 48, 0.3
"""Side of a rendered frame, pixels; radius of a site in it, in units of the site spacing."""
BRIGHT = 200.0
"""Grey value of an intact site."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DamageTrial:
    """State of an episode: true hypothesis, exposures, counts and declared answer.

    Parameters
    ----------
    pair : str
        Name of the pair of laws.
    hypothesis : int
        Index of the true hypothesis of the pair.
    gone : tuple of ndarray
        Sites read as lost in each exposed area, the first area first, bool (n, n) each.
    settings : tuple of ndarray
        Settings of each area exposed by the agent, in the units of the action, float32 (3,) each.
    log_weights : ndarray
        Logarithms of the posterior weights of all hypotheses, not normalised, float64 (h,).
    dose, time : float
        Costs so far, in units of the usual dose and the usual time.
    fate : int
        Seed of the faults of the instrument.
    moves, blocked : int
        Number of actions, and number of actions that exposed nothing because the stage was blocked.
    answer : float, optional
        Declared probability of law 1.
    """

    pair: str
    hypothesis: int
    gone: tuple[np.ndarray, ...]
    settings: tuple[np.ndarray, ...]
    log_weights: np.ndarray
    dose: float
    time: float
    fate: int = 0
    moves: int = 0
    blocked: int = 0
    answer: float | None = None


def declared_probability(action: np.ndarray) -> float | None:
    """Return the probability of law 1 that an action declares, or None without a declaration."""
    return answered_probability(action) if action[3] > DECLARE else None


def answered_probability(action: Sequence[float] | np.ndarray) -> float:
    """Return the probability of law 1 that an action contains; it is the answer only if the action declares the end."""
    return EDGE + (1 - 2 * EDGE) * (float(action[4]) + 1) / 2


@environment("HypothesisTest", version=1, max_episode_steps=16, reward_threshold=0.5)
@dataclass(frozen=True, slots=True, kw_only=True)
class HypothesisTest(GoalFamily[DamageTrial]):
    """Decide between two laws of beam damage, and give the probability of the answer.

    Description
        On a microscope this is the series that identifies a damage mechanism: high tension, dose (current and number of
        frames) and time are chosen, a fresh area is exposed, and columns that have lost atoms are counted in its
        dark-field image. Here fresh areas of MoS2, each with a square of sites, are exposed at a chosen energy, dose
        and time, and the sites that are read as lost are counted. An episode has one of three pairs of laws: loss by
        knock-on or by radiolysis (``mechanism``), loss by one hit or by several hits (``dose``), or jumps of vacancies
        by heat or by the beam (``diffusion``). The law named first is law 0, the other law is law 1.
        ``stemtwin.twin.envs.damage_laws`` has the laws and their priors. Both laws of a pair give the same loss at the
        usual settings (80 keV, 1e8 e-/A^2, 10 s). The first exposure has these settings and therefore measures only
        the strength of the law.

    Action space
        ``Box(-1, 1, (5,))``

        ========= ================================= ==== ======================================================
        Component Meaning                           Unit Range
        ========= ================================= ==== ======================================================
        0         beam energy, logarithmic          keV  80 / reach to 80 * reach
        1         dose, logarithmic                 --   1e8 / reach to 1e8 * reach e-/A^2; at most the
                                                         remaining dose
        2         time of the exposure, logarithmic s    10 / reach to 10 * reach; at most the remaining time
        3         declaration                            above 0.8: the episode ends with the answer
        4         answer: probability of law 1           0.02 to 0.98, linear
        ========= ================================= ==== ======================================================

        A declaration exposes nothing. Once a budget is spent, an action without a declaration ends the episode.

    Observation space
        ``counts``: a ``Dict``; ``queries`` is the preset's number of areas without the first area.

        ============ ======================= ===================================================== ==== ========
        Component    Type                    Meaning                                               Unit Range
        ============ ======================= ===================================================== ==== ========
        ``usual``    uint16 (1,)             sites lost in the first area                               0 to N
        ``lost``     uint16 (queries,)       sites lost in the other areas, padded with zeros           0 to N
        ``area``     MultiBinary((n, n))     sites of the last area: 1 if lost; N = n^2                 0, 1
        ``settings`` float32 (queries, 3)    energy, dose, time of these areas as exposed, padded       -1 to 1
                                             with zeros
        ``pair``     MultiBinary(3)          1 at the pair of laws, in the order above                  0, 1
        ``budget``   float32 (3,)            remaining fractions of areas, dose, time                   0 to 1
        ============ ======================= ===================================================== ==== ========

        ``pixels``: ``image`` uint8 (areas, 48, 48), rendered dark-field frames of all areas, in which lost sites are
        dark; ``scalars`` float32 (3 queries + 6,): settings, pair, budget. ``state``: float32 in [-1, 1]: lost
        fractions, first area first, settings, pair, budget, and the posterior probability of law 1 given counts and
        priors.

    Reward
        0.3 [P(s') - P(s)] + 0.6 V - 0.1 [B(s') - B(s)]. P is the posterior probability of the true law given counts and
        priors; it is 1/2 at the start and set to 1/2 at every end, so it guides the agent, but its changes add up to 0.
        The answer p, the declared probability of the true law, earns the achievement V = 1 - 2 log(0.98 / p) / log(49):
        1 for the largest p, 0.654 for 1/2, -1 for the smallest p. This logarithmic score is strictly proper over all
        probabilities that can be declared. The score 1 + log2(p), clipped to [-1, 1], would not be proper, because its
        best answers would be 0 and 1, whatever the agent knows. B is the largest of the spent fractions of areas, dose
        and time. An episode with an answer returns 0.6 V minus the price of the spent budget. Only an agent that knows
        the true law and declares it at once reaches the upper bound of 0.6. An episode without an answer earns nothing
        and pays for the spent budget.

    Starting state
        All pairs have the same probability, as do the two laws of a pair; parameters are uniform over the values of the
        prior. One area has been exposed at the usual settings. Options of ``reset``: ``pair``, and ``law``, which is
        ``knock-on`` or ``radiolysis`` (``mechanism``), ``one hit`` or ``several hits`` (``dose``), ``heat`` or ``beam``
        (``diffusion``).

    Episode end
        An episode is terminated when the agent declares an answer. It is truncated if areas, dose or time are spent and the
        next action does not declare an answer, or by the last of 16 actions.

    Presets
        ============ ==== ===== =========== ============= =======
        Preset       N    areas dose, time  reach         misread
        ============ ==== ===== =========== ============= =======
        ``easy``     25   8     12, 12      1.3, 3, 3     0.05
        ``standard`` 16   12    16, 16      1.2, 2.5, 2.5 0.08
        ``hard``     16   16    18, 18      1.15, 2, 2    0.1
        ============ ==== ===== =========== ============= =======

        N: sites in an area. Dose and time: budgets in units of the usual ones; like areas, they include the first
        exposure. Reach: largest factors by which the usual energy, dose and time may be multiplied or divided. Misread:
        probability that a site is read wrongly. The overlap of the laws also increases from ``easy`` to ``hard``.

    Baselines
        ``expert`` and ``fixed`` compute the posterior probability from the formulas of the laws, as the environment does for
        observations ``state``. Like every agent, they receive the numbers of the preset and the prior in the brief
        (``known``). They do not know the true law or its parameters.

    Example
        ::

            import gymnasium as gym, numpy as np, stemtwin
            env = gym.make("stemtwin/HypothesisTest-v1", difficulty="easy", observation="state")
            seen, info = env.reset(seed=1)
            for energy, dose in ((1, 0), (-1, 0), (0, 1), (0, -1)):  # four experiments, one setting at a time
                seen, *_ = env.step(np.array([energy, dose, 0, -1, 0], np.float32))
            answer = 2 * seen[-1] - 1  # the last number is the probability of law 1
            seen, reward, terminated, truncated, info = env.step(np.array([0, 0, 0, 1, answer], np.float32))

    Version history
        v1: first version.

    Parameters
    ----------
    difficulty, split, observation, reward, randomisation, privileged_info
        See ``stemtwin.twin.envs.arguments.EnvArguments``. ``randomisation`` accepts the probabilities ``blocked_stage``
        and ``closed_valve``. A blocked stage does not reach a fresh area: nothing is exposed, and the unchanged budget
        reveals the fault. An exposure with a closed valve spends area, dose and time; its frame is dark, so every site is read as lost, except for
        misreadings. The posterior allows for dark frames with the given probability. The other faults cannot be given:
        every exposure is longer than the 2 s of a stage move, so no command comes during a move, and the environment has
        no corrections of aberrations that could fail.

    Raises
    ------
    StemtwinError
        A name is unknown or a number is out of range.
    """

    PRESETS: ClassVar[Mapping[str, HypothesisPreset]] = {"easy": EASY, "standard": STANDARD, "hard": HARD}
    RANDOMISED: ClassVar[tuple[str, ...]] = ("blocked_stage", "closed_valve")
    RESET_OPTIONS: ClassVar[tuple[str, ...]] = ("pair", "law")

    # ---- spaces

    @property
    def action_space(self) -> gym.spaces.Box:
        """Space of actions: energy, dose, time, declaration and answer."""
        return gym.spaces.Box(-1.0, 1.0, (5,), np.float32)

    @property
    def observation_space(self) -> gym.spaces.Space:
        """Space of observations: counts, last area, settings, pair and budget in the chosen form."""
        preset = self.preset
        others = 3 * preset.queries + len(PAIRS) + 3
        if self.observation == "state":
            return gym.spaces.Box(-1.0, 1.0, (preset.areas + others + 1,), np.float32)
        if self.observation == "pixels":
            image = gym.spaces.Box(0, 255, (preset.areas, FRAME_PX, FRAME_PX), np.uint8)
            return gym.spaces.Dict({"image": image, "scalars": gym.spaces.Box(-1.0, 1.0, (others,), np.float32)})
        return gym.spaces.Dict(
            {
                "usual": gym.spaces.Box(0, preset.sites, (1,), np.uint16),
                "lost": gym.spaces.Box(0, preset.sites, (preset.queries,), np.uint16),
                "area": gym.spaces.MultiBinary([preset.sites_per_side] * 2),
                "settings": gym.spaces.Box(-1.0, 1.0, (preset.queries, 3), np.float32),
                "pair": gym.spaces.MultiBinary(len(PAIRS)),
                "budget": gym.spaces.Box(0.0, 1.0, (3,), np.float32),
            }
        )

    def known(self) -> dict[str, Any]:
        """Return the numbers of the preset and the constants of the task.

        The result has the numbers of sites and areas, the budgets, the usual energy, dose and time, the largest factors by
        which these may be multiplied or divided, the prior, the pairs of laws, the largest number of actions, and the
        probabilities of faults.
        """
        preset = self.preset
        return {
            "sites_per_side": preset.sites_per_side,
            "areas": preset.areas,
            "dose_budget": preset.dose,
            "time_budget": preset.time,
            "reach": plain_values(preset.reach),
            "prior": plain_values(preset.prior),
            "usual": {"energy_ev": USUAL_ENERGY_EV, "dose_e_per_angstrom2": USUAL_DOSE, "time_s": USUAL_TIME_S},
            "pairs": [[name, *laws] for name, laws in PAIRS.items()],
            "actions": STEPS,
            "randomisation": self.drawn_ranges(),
        }

    # ---- the episode

    def check_reset(self, *, pair: str | None = None, law: str | None = None) -> None:
        """Raise an error for an unknown pair, an unknown law, or a law that does not belong to the pair.

        Raises
        ------
        StemtwinError
            A name is unknown.
        """
        _asked(pair, law)

    def initial(self, rng: np.random.Generator, *, pair: str | None = None, law: str | None = None) -> DamageTrial:
        """Draw the pair of laws and the true hypothesis, and expose one area at the usual settings.

        Parameters
        ----------
        rng : numpy.random.Generator
            Random generator of the start.
        pair, law : str, optional
            Names of the pair and of the true law; names that are not given are drawn.
        """
        chosen, number, place = rng.random(3)
        pair, true = _asked(pair, law)
        pair = tuple(PAIRS)[int(chosen * len(PAIRS))] if pair is None else pair
        found = self.hypotheses(pair)
        of_law = np.flatnonzero(found.law == (int(number * 2) if true is None else true))
        empty = DamageTrial(
            pair=pair, hypothesis=int(of_law[int(place * len(of_law))]), gone=(), settings=(), log_weights=found.log_prior, dose=0.0, time=0.0
        )
        chance = rng.random(self.preset.sites)
        return self._exposed(replace(empty, fate=int.from_bytes(rng.bytes(16), "little")), np.zeros(3, np.float32), chance)

    def transition(self, state: DamageTrial, action: np.ndarray, rng: np.random.Generator) -> DamageTrial:
        """Declare the answer, or expose a fresh area within the remaining dose and time."""
        chance = rng.random(self.preset.sites)
        state = replace(state, moves=state.moves + 1)
        answer = declared_probability(action)
        if answer is not None:
            return replace(state, answer=answer)
        if self._exhausted(state):
            return state
        if self._struck(state, "blocked_stage"):
            return replace(state, blocked=state.blocked + 1)
        settings = np.array(action[:3], np.float32)
        for axis, left in ((1, self.preset.dose - state.dose), (2, self.preset.time - state.time)):
            settings[axis] = min(settings[axis], math.log(left) / math.log(self.preset.reach[axis]))
        state = replace(state, settings=(*state.settings, read_only(np.clip(settings, -1, 1))))
        return self._exposed(state, state.settings[-1], chance)

    def _exposed(self, state: DamageTrial, settings: np.ndarray, chance: np.ndarray) -> DamageTrial:
        """Return the state after the exposure and reading of a fresh area; ``chance`` has one uniform number per site."""
        preset = self.preset
        energy, dose, time = preset_settings(preset, settings)
        read = damage_laws.read_probabilities(state.pair, preset.prior, energy, dose, time)
        lost = preset.dark if self._struck(state, "closed_valve") else read[state.hypothesis]
        gone = read_only((chance < lost).reshape(preset.sites_per_side, preset.sites_per_side))
        faults = {"closed": self.conditions().closed_valve, "dark": preset.dark}
        return replace(
            state,
            gone=(*state.gone, gone),
            log_weights=read_only(damage_laws.updated(state.log_weights, read, int(gone.sum()), preset.sites, **faults)),
            dose=state.dose + dose / USUAL_DOSE,
            time=state.time + time / USUAL_TIME_S,
        )

    def _struck(self, state: DamageTrial, fault: str) -> bool:
        """Return True if a fault happens in the current action; each fault has its own random stream."""
        chance = getattr(self.conditions(), fault)
        if not chance:
            return False
        stream = np.random.SeedSequence(state.fate, spawn_key=(FAULTS.index(fault), state.moves))
        return bool(np.random.Generator(np.random.Philox(stream)).random() < chance)

    def hypotheses(self, pair: str) -> Hypotheses:
        """Return the hypotheses of a pair of laws with the preset's prior."""
        return damage_laws.hypotheses(pair, self.preset.prior)

    def probability(self, state: DamageTrial) -> float:
        """Return the posterior probability of law 1 given all counts."""
        return damage_laws.posterior(state.log_weights, self.hypotheses(state.pair).law)

    def _true_law(self, state: DamageTrial) -> int:
        return int(self.hypotheses(state.pair).law[state.hypothesis])

    def _exhausted(self, state: DamageTrial) -> bool:
        """Return True if the remaining areas, dose or time do not suffice for the smallest exposure."""
        preset = self.preset
        least_dose, least_time = 1 / preset.reach[1], 1 / preset.reach[2]
        return len(state.gone) >= preset.areas or preset.dose - state.dose < least_dose or preset.time - state.time < least_time

    # ---- observation

    def observe(self, state: DamageTrial) -> Any:
        """Return counts, last area, settings, pair and budget in the chosen form."""
        preset = self.preset
        settings = np.zeros((preset.queries, 3), np.float32)
        if state.settings:
            settings[: len(state.settings)] = state.settings
        lost = np.zeros(preset.areas, np.uint16)
        lost[: len(state.gone)] = [area.sum() for area in state.gone]
        pair = np.array([name == state.pair for name in PAIRS], np.int8)
        spent = np.array(self._fractions(state))
        budget = np.clip(1 - spent, 0, 1).astype(np.float32)
        if self.observation == "counts":
            area = state.gone[-1].astype(np.int8)
            return {"usual": lost[:1].copy(), "lost": lost[1:].copy(), "area": area, "settings": settings, "pair": pair, "budget": budget}
        scalars = np.concatenate([settings.ravel(), pair, budget]).astype(np.float32)
        if self.observation == "state":
            return np.concatenate([lost / preset.sites, scalars, [self.probability(state)]]).astype(np.float32)
        return {"image": self._frames(state), "scalars": scalars}

    def _frames(self, state: DamageTrial) -> np.ndarray:
        """Return the rendered frames of all areas, uint8 (areas, 48, 48); frames of unexposed areas are dark."""
        preset, out = self.preset, np.zeros((self.preset.areas, FRAME_PX, FRAME_PX), np.uint8)
        rows = _profile(preset.sites_per_side)
        out[: len(state.gone)] = np.minimum(BRIGHT * (rows @ ~np.array(state.gone) @ rows.T), 255).astype(np.uint8)
        return out

    # ---- the goal

    def _fractions(self, state: DamageTrial) -> tuple[float, float, float]:
        preset = self.preset
        return len(state.gone) / preset.areas, state.dose / preset.dose, state.time / preset.time

    def spent(self, state: DamageTrial) -> float:
        """Return the largest of the spent fractions of areas, dose and time."""
        return min(max(self._fractions(state)), 1.0)

    def potential(self, state: DamageTrial) -> float:
        """Return the posterior probability of the true law; once the episode has ended, return 1/2."""
        if self.declared(state) or self.truncated(state):
            return IGNORANCE
        probability = self.probability(state)
        return probability if self._true_law(state) else 1 - probability

    def declared(self, state: DamageTrial) -> bool:
        """Return True if an answer was declared."""
        return state.answer is not None

    def achievement(self, state: DamageTrial) -> float:
        """Return the logarithmic score of the answer, from -1 (certain and wrong) to 1 (certain and right)."""
        assert state.answer is not None
        right = state.answer if self._true_law(state) else 1 - state.answer
        return 1 - 2 * math.log((1 - EDGE) / right) / math.log((1 - EDGE) / EDGE)

    def success(self, state: DamageTrial) -> bool:
        """Return True if the answer gives the true law a probability of at least 0.76."""
        return state.answer is not None and (state.answer if self._true_law(state) else 1 - state.answer) >= SURE

    def truncated(self, state: DamageTrial) -> bool:
        """Return True if a budget was spent and the next action did not declare the end, or if all 16 actions are used."""
        return not self.declared(state) and (state.moves - state.blocked > len(state.settings) or state.moves >= STEPS)

    def cost(self, state: DamageTrial) -> dict[str, float]:
        """Return the dose summed over areas (e-/A^2), the beam time on the specimen (s), and the numbers of actions and areas."""
        return {
            "dose_e_per_angstrom2": state.dose * USUAL_DOSE,
            "beam_s": state.time * USUAL_TIME_S,
            "moves": float(state.moves),
            "areas": float(len(state.gone)),
        }

    def truth(self, state: DamageTrial) -> dict[str, float]:
        """Return the index of the pair of laws, and the index (0 or 1), the strength and the shape (0 without a shape) of the true law."""
        found = self.hypotheses(state.pair)
        return {
            "pair": float(tuple(PAIRS).index(state.pair)),
            "law": float(found.law[state.hypothesis]),
            "strength": float(found.strength[state.hypothesis]),
            "shape": float(found.shape[state.hypothesis]),
        }

    def picture(self, state: DamageTrial) -> np.ndarray:
        """Draw the frames of all areas with their settings and the budgets; return uint8, shape (height, width, 3)."""
        from stemtwin.twin.envs import damage_pictures

        told = [preset_settings(self.preset, one) for one in (np.zeros(3), *state.settings)]
        counts = [f"{energy / 1e3:.0f} kV  {dose:.1e} e⁻/Å²  {time:.0f} s" for energy, dose, time in told]
        lost = [f"{area.sum()} of {area.size} lost" for area in state.gone]
        left: dict[str, float] = dict(zip(("areas", "dose", "time"), (1 - part for part in self._fractions(state)), strict=True))
        title = f"{PAIRS[state.pair][0]} (0) or {PAIRS[state.pair][1]} (1)?"
        if state.answer is not None:
            title = f"{title}  declared: {state.answer:.2f} for 1"
        return damage_pictures.areas_picture(self._frames(state)[: len(lost)], list(zip(counts, lost, strict=True)), left, title)


def _asked(pair: str | None, law: str | None) -> tuple[str | None, int | None]:
    """Return the pair and the number of the law that options of ``reset`` name."""
    if pair is not None:
        one_of("pair", pair, tuple(PAIRS))
    if law is None:
        return pair, None
    one_of("law", law, tuple(name for laws in PAIRS.values() for name in laws) if pair is None else PAIRS[pair])
    return next((name, laws.index(law)) for name, laws in PAIRS.items() if law in laws)


@functools.lru_cache(maxsize=8)
def _profile(side: int) -> np.ndarray:
    """Return the profiles of sites along one axis of a rendered frame, (48, side)."""
    pitch = FRAME_PX / side
    pixels = np.arange(FRAME_PX)[:, None] + 0.5
    return read_only(np.exp(-(((pixels - pitch * (np.arange(side) + 0.5)) / (BLOB * pitch)) ** 2) / 2))
