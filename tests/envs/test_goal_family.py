"""Rewards of families with a goal, splits, options, privileged information: on a walk that fits on a page."""

import itertools
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from hypothesis import given
from hypothesis import strategies as st

from stemtwin.twin.envs.arguments import Randomisation
from stemtwin.twin.envs.functional_env import StemEnv, check_options, checked_action, hidden_truth
from stemtwin.twin.envs.goal_family import GoalFamily
from stemtwin.twin.envs.vector import StemVectorEnv
from stemtwin.twin.errors import InstrumentError, SettingsError
from tests.envs.test_conformance import same

LIMIT = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a walker is, how many steps it has made, and whether it has said that it is at 0."""

    at: float
    steps: int = 0
    stopped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkHome(GoalFamily[Place]):
    """Walk along a line to 0 and say so: the action is a step and, above 0.5, the word."""

    PRESETS: ClassVar[dict[str, Any]] = {"standard": SimpleNamespace(randomisation=Randomisation())}
    RESET_OPTIONS: ClassVar[tuple[str, ...]] = ("at",)

    together: bool = False

    @property
    def action_space(self) -> gym.spaces.Box:
        """Step and word."""
        return gym.spaces.Box(-1, 1, (2,), np.float32)

    @property
    def observation_space(self) -> gym.spaces.Box:
        """Place with noise."""
        return gym.spaces.Box(-50, 50, (1,), np.float32)

    def initial(self, rng: np.random.Generator, at: float | None = None) -> Place:
        """Start anywhere within 3, or where the option says."""
        drawn = float(rng.uniform(-3, 3))
        return Place(at=drawn if at is None else at)

    def transition(self, state: Place, action: Any, rng: np.random.Generator) -> Place:
        """Make a step with an error."""
        return replace(state, at=state.at + float(action[0]) + 0.01 * rng.normal(), steps=state.steps + 1, stopped=bool(action[1] > 0.5))

    def observe(self, state: Place) -> np.ndarray:
        """Return the place."""
        return np.array([state.at], np.float32)

    def truncated(self, state: Place) -> bool:
        """Return whether the steps are spent."""
        return state.steps >= LIMIT

    def cost(self, state: Place) -> dict[str, float]:
        """Return the steps."""
        return {"dose_e_per_angstrom2": 0.0, "beam_s": 0.0, "moves": float(state.steps)}

    def truth(self, state: Place) -> dict[str, float]:
        """Return the place."""
        return {"place": state.at}

    def picture(self, state: Place) -> np.ndarray:
        """Return a grey square."""
        return np.full((4, 4, 3), int(abs(state.at)), np.uint8)

    def potential(self, state: Place) -> float:
        """Return the nearness to 0."""
        return float(np.exp(-abs(state.at)))

    def achievement(self, state: Place) -> float:
        """Return 1 within half a step of 0."""
        return float(abs(state.at) < 0.5)

    def spent(self, state: Place) -> float:
        """Return the share of the steps."""
        return state.steps / LIMIT

    def declared(self, state: Place) -> bool:
        """Return whether the word was said."""
        return state.stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkTogether(WalkHome):
    """Walkers whose steps are computed together."""

    def transitions(self, states: Any, actions: Any, generators: Any, beginning: Any = ()) -> list[Place]:
        """Return all states after a step, then first states."""
        assert len(states) == len(actions) == len(generators)
        return [*(self.transition(*each) for each in zip(states, actions, generators, strict=True)), *(self.initial(rng) for rng in beginning)]


def run(env: gym.Env, actions: Any, seed: int = 0, **options: Any) -> tuple[float, list]:
    """Return the sum of the rewards and the steps of an episode."""
    env.reset(seed=seed, options=options)
    seen = []
    for action in actions:
        seen.append(env.step(np.asarray(action, np.float32)))
        if seen[-1][2] or seen[-1][3]:
            break
    return sum(step[1] for step in seen), seen


@given(st.lists(st.tuples(st.floats(-1, 1, width=32), st.floats(-1, 1, width=32)), min_size=LIMIT, max_size=LIMIT), st.integers(0, 1000))
def test_returns_lie_between_minus_1_and_1(actions: list, seed: int) -> None:
    """Whatever is done, the dense and the sparse return lie in [-1, 1]; without the word at the goal the dense one is at most 0.3."""
    for reward in ("dense", "sparse"):
        total, seen = run(StemEnv(WalkHome(reward=reward)), actions, seed)
        assert -1 <= total <= 1
        state_at = float(seen[-1][0][0])
        if reward == "dense" and not (seen[-1][2] and abs(state_at) < 0.5):
            assert total <= 0.3
    assert run(StemEnv(WalkHome(reward="none")), actions, seed)[0] == 0


def test_the_word_at_the_goal_pays_and_ends() -> None:
    """At 0 the word earns 0.6 at once and terminates; being there without the word ends nothing and earns the potential alone."""
    hover, seen = run(StemEnv(WalkHome()), [(0, 0)] * LIMIT, at=0.0)
    assert len(seen) == LIMIT
    assert [step[2] for step in seen] == [False] * LIMIT
    assert seen[-1][3] is True
    told, seen = run(StemEnv(WalkHome()), [(0, 1)], at=0.0)
    assert seen[-1][2] is True
    assert told == pytest.approx(0.6 - 0.1 / LIMIT, abs=0.01)
    assert told > hover
    wrong, _ = run(StemEnv(WalkHome()), [(0, 1)], at=2.0)
    assert wrong < 0.01


def test_splits_share_no_episode() -> None:
    """Equal seeds give other episodes in another split, and the same ones in the same split."""
    starts = {split: [StemEnv(WalkHome(split=split)).reset(seed=seed)[0][0] for seed in range(50)] for split in ("train", "val", "test")}
    for one, other in itertools.combinations(starts.values(), 2):
        assert not set(one) & set(other)
    assert starts["train"] == [StemEnv(WalkHome()).reset(seed=seed)[0][0] for seed in range(50)]


def test_privileged_info_is_there_where_it_is_asked_for() -> None:
    """Info has truth and is_success with ``privileged_info``, and the cost alone without it."""
    assert set(StemEnv(WalkHome()).reset(seed=1)[1]) == {"cost"}
    env = StemEnv(WalkHome(privileged_info=True))
    info = env.reset(seed=1)[1]
    assert info["truth"] == hidden_truth(env)
    assert info["is_success"] is False
    _, seen = run(env, [(0, 1)], at=0.1)
    assert seen[-1][4]["is_success"] is True


def test_truth_is_for_training_alone() -> None:
    """``truth()`` is refused where ``privileged_info`` was not asked for, also through wrappers; scorers have a door of their own."""
    env = gym.wrappers.TimeLimit(StemEnv(WalkHome()), 5)
    env.reset(seed=3)
    with pytest.raises(InstrumentError, match="privileged_info=True"):
        env.get_wrapper_attr("truth")()
    known = StemEnv(WalkHome(privileged_info=True))
    known.reset(seed=3)
    assert known.truth() == hidden_truth(env)


def test_options_of_reset_are_checked_first() -> None:
    """A known option reaches the family; an unknown one is refused and changes nothing."""
    env = StemEnv(WalkHome())
    assert env.reset(seed=3, options={"at": 1.5})[0][0] == 1.5
    with pytest.raises(SettingsError, match="the option 'att' is unknown"):
        env.reset(options={"att": 1.0})
    assert hidden_truth(env) == {"place": 1.5}
    check_options(env.task, None)


def test_the_last_bits_of_an_action_are_taken() -> None:
    """An action beyond a bound by the rounding of float32 is put on it; beyond that it is refused."""
    env = StemEnv(WalkHome())
    env.reset(seed=1, options={"at": 0.0})
    env.step(np.array([np.nextafter(np.float32(1), np.float32(2)), 0], np.float32))
    with pytest.raises(InstrumentError, match="not in the action space"):
        env.step(np.array([1.001, 0]))


@given(st.floats(-4, 3), st.floats(1e-3, 1e3))
def test_rescaled_actions_reach_both_ends(low: float, width: float) -> None:
    """RescaleAction from a range of its own is taken at both ends, by which the walker goes one step, whatever the range rounds to."""
    env = gym.wrappers.RescaleAction(StemEnv(WalkHome()), np.float32(low * width), np.float32((low + 1) * width))
    assert isinstance(env.action_space, gym.spaces.Box)
    for end, way in ((env.action_space.low, -1), (env.action_space.high, 1)):
        env.reset(seed=1, options={"at": 0.0})
        assert env.step(end)[0][0] == pytest.approx(way, abs=0.1)


def test_the_last_bits_of_nested_parts_are_taken() -> None:
    """Parts of Dict and Tuple are put on their bounds like a Box of its own, and whole numbers and choices stay."""
    space = gym.spaces.Dict(
        {
            "pair": gym.spaces.Tuple([gym.spaces.Box(-2, 2, (2,), np.float32), gym.spaces.Discrete(3)]),
            "inner": gym.spaces.Dict({"level": gym.spaces.Box(0, 255, (1,), np.uint8), "far": gym.spaces.Box(-1, 1, (1,), np.float64)}),
        }
    )
    above, below = np.nextafter(np.float32(2), np.float32(3)), np.nextafter(np.float32(-2), np.float32(-3))
    far = np.nextafter(np.ones(1), 2)
    given = {"pair": (np.array([above, below]), 2), "inner": {"level": np.array([255], np.uint8), "far": far}}
    taken = checked_action(space, given)
    assert space.contains(taken)
    assert taken["pair"][0].tolist() == [2, -2]
    assert taken["inner"]["far"] == 1
    for wrong in ({**given, "pair": (np.array([2.001, 0]), 2)}, {**given, "inner": {**given["inner"], "far": far + 1e-9}}):
        with pytest.raises(InstrumentError, match="not in the action space"):
            checked_action(space, wrong)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_vectors_show_the_same_bits_as_single_environments(mode: AutoresetMode) -> None:
    """With ``transitions`` a vector shows what a vector without it shows, in each mode of automatic resets."""
    shown = []
    for family in (WalkHome(), WalkTogether()):
        envs: Any = StemVectorEnv([StemEnv(family) for _ in range(5)], mode)
        rng = np.random.Generator(np.random.Philox(1))
        seen: list = [envs.reset(seed=[7, 8, 9, 10, 11])]
        for _ in range(3 * LIMIT):
            seen.append(
                tuple(np.copy(part) if isinstance(part, np.ndarray) else part for part in envs.step(rng.uniform(-1, 1, (5, 2)).astype(np.float32)))
            )
            over = seen[-1][2] | seen[-1][3]
            if mode is AutoresetMode.DISABLED and over.any():
                envs.reset(options={"reset_mask": over})
        shown.append(tuple(seen))
    assert same(*shown)
    assert sum((step[2] | step[3]).sum() for step in shown[0][1:]) > 5


def test_a_wrong_action_changes_no_environment_of_a_vector() -> None:
    """Where one action is refused, none of the environments has made its step."""
    envs: Any = StemVectorEnv([StemEnv(WalkTogether()) for _ in range(3)])
    envs.reset(seed=1)
    before = [hidden_truth(env) for env in envs.envs]
    with pytest.raises(InstrumentError, match="not in the action space"):
        envs.step(np.array([[0, 0], [0, 0], [2, 0]], np.float32))
    assert [hidden_truth(env) for env in envs.envs] == before
