"""Episodes: actions of any space are kept to the last bit, agents get copies, sealed tasks tell no truth, replays are equal."""

import dataclasses
import json
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemtwin.benchmarks import episodes
from stemtwin.benchmarks.agents import Baseline
from stemtwin.benchmarks.runner import resolve, run_agent, save_run
from stemtwin.benchmarks.tasks import find_task
from stemtwin.twin.envs.functional_env import StemEnv, hidden_truth
from stemtwin.twin.envs.making import make_family
from stemtwin.twin.errors import SettingsError, SubmissionError
from tests.benchmarks.fakes import FakeAutofocus

TASK = find_task("hypothesis-test")
SPACE = gym.spaces.Dict(
    {
        "turn": gym.spaces.Box(-1, 1, (2, 3), np.float32),
        "fine": gym.spaces.Box(-1, 1, (), np.float64),
        "which": gym.spaces.Discrete(5, start=2),
        "grid": gym.spaces.MultiDiscrete([3, 4]),
        "flags": gym.spaces.MultiBinary([2, 2]),
        "both": gym.spaces.Tuple((gym.spaces.Discrete(3), gym.spaces.Box(0, 255, (2,), np.uint8))),
    }
)


def leaves(value: Any) -> list:
    """Return the leaves of nested dicts and tuples, dicts in the order of their names."""
    if isinstance(value, dict):
        return [leaf for name in sorted(value) for leaf in leaves(value[name])]
    return [leaf for one in value for leaf in leaves(one)] if isinstance(value, tuple) else [value]


@given(seed=st.integers(0, 2**31 - 1))
def test_actions_of_any_space_are_kept_to_the_last_bit(seed: int) -> None:
    """An action that went through JSON is the same action: bits, types and shapes; two texts of one action are equal."""
    SPACE.seed(seed)
    action = SPACE.sample()
    plain = episodes.plain_action(SPACE, action)
    text = json.dumps(plain)
    back = episodes.space_action(SPACE, json.loads(text))
    assert SPACE.contains(back)
    for one, other in zip(leaves(action), leaves(back), strict=True):
        assert np.asarray(one).dtype == np.asarray(other).dtype
        np.testing.assert_array_equal(one, other)
    assert json.dumps(episodes.plain_action(SPACE, dict(reversed(action.items())))) == text


def test_other_spaces_are_refused() -> None:
    """A space whose actions have no plain form is named."""
    space = gym.spaces.Sequence(gym.spaces.Discrete(2))
    with pytest.raises(SettingsError, match="cannot be stored"):
        episodes.plain_action(space, space.sample())


class Spaced(FakeAutofocus):
    """The small microscope with actions and observations in nested spaces; it remembers the actions."""

    def __init__(self) -> None:
        super().__init__()
        self.plain_space, self.action_space = self.action_space, SPACE
        self.taken: list = []

    def observe(self) -> Any:
        """Return a pair: the observation, and the number of the frame."""
        return super().observe(), self.frames

    def step(self, action: Any) -> tuple:
        """Turn by a part of the action."""
        self.taken.append(action)
        return super().step(action["turn"][0] * np.float32(0.1))


class Sampler:
    """An agent that samples its space, and spoils what it is shown."""

    def reset(self, brief: Any) -> None:
        """Seed the space."""
        self.space = brief.action_space
        self.space.seed(brief.seed % 2**32)

    def act(self, observation: Any, cost: Any) -> Any:
        """Return a sample."""
        observation[0]["image"][:] = 0
        cost["moves"] = -1
        return self.space.sample()


def test_nested_spaces_are_played_kept_and_replayed(tmp_path: Any) -> None:
    """A run in nested spaces, written and read again, is equal, and its replay too; an agent that writes into observations changes nothing."""
    task = dataclasses.replace(find_task("autofocus"), episodes=2)
    entry = Baseline(task="autofocus", name="mine", text="", factory=Sampler)
    made: list[Spaced] = []

    def make(task: Any) -> Spaced:
        made.append(Spaced())
        return made[-1]

    done = run_agent(task, entry, "practice", make=make)
    save_run(tmp_path, task, done)
    kept = episodes.read_episodes(tmp_path / "episodes.json")
    assert kept == done.episodes
    assert episodes.replay(task, kept, make=make) == done.episodes
    for one, other in zip(made[0].taken, made[1].taken, strict=True):
        for first, second in zip(leaves(one), leaves(other), strict=True):
            np.testing.assert_array_equal(first, second)
    assert [one["cost"]["moves"] for one in json.loads((tmp_path / "episodes.json").read_text())] == [len(one.actions) for one in kept]


@pytest.fixture(scope="module")
def done() -> Any:
    """Return a run of the expert."""
    entry, trust = resolve(TASK, baseline="expert")
    return run_agent(TASK, entry, trust, episodes=3)


def test_a_replay_finds_what_was_changed(done: Any) -> None:
    """Replays are equal; another action, another seed, another hash or truth and a shortened episode are told."""
    assert episodes.replay(TASK, done.episodes) == done.episodes
    first = done.episodes[0]
    other = ((0.0, 0.0, 0.0, 0.0, 0.0), *first.actions[1:])
    changes = (
        ({"actions": other}, "differs in|action"),
        ({"seed": first.seed + 1}, "seed"),
        ({"observations_sha256": "0"}, "'observations_sha256'"),
        ({"start": {**first.start, "law": 1 - first.start["law"]}}, "'start'"),
        ({"actions": first.actions[:-1]}, "is None, not in"),
    )
    for change, told in changes:
        with pytest.raises(SubmissionError, match=told):
            episodes.replay(TASK, [dataclasses.replace(first, **change)])


def test_a_file_without_episodes_is_refused(tmp_path: Any) -> None:
    """Text that is not JSON, rows of another form and a missing file end in a sentence with the path."""
    path = tmp_path / "episodes.json"
    for text in ("no", '[{"number": 1}]', None):
        path.unlink(missing_ok=True)
        if text:
            path.write_text(text, encoding="utf-8")
        with pytest.raises(SubmissionError, match=r"episodes\.json does not contain episodes"):
            episodes.read_episodes(path)


@pytest.mark.parametrize("settings", [{"reward": "dense"}, {"privileged_info": True}, {"split": "train"}])
def test_a_task_runs_without_reward_and_truth_alone(settings: dict) -> None:
    """The runner refuses an environment with rewards, with the truth in info, or with the episodes of training, before any action."""

    def make(task: Any) -> Any:
        return StemEnv(make_family(task.source, **(episodes.SEALED | settings)))

    entry, trust = resolve(TASK, baseline="random")
    with pytest.raises(SettingsError, match=next(iter(settings))):
        run_agent(TASK, entry, trust, episodes=1, make=make)


def test_info_of_a_task_holds_no_truth() -> None:
    """Truth that a wrapper puts into info is refused, though the environment itself is made as it must be."""

    class Telling(gym.Wrapper):
        def reset(self, **kwargs: Any) -> tuple:
            observation, info = self.env.reset(**kwargs)
            return observation, {**info, "truth": hidden_truth(self.env)}

    entry, trust = resolve(TASK, baseline="random")
    with pytest.raises(SettingsError, match="info of the environment holds 'truth'"):
        run_agent(TASK, entry, trust, episodes=1, make=lambda task: Telling(episodes.make_environment(task)))


def test_autofocus_1_is_exempt_by_name() -> None:
    """The task from before rewards could be turned off runs as it did; its next version is sealed."""
    task = find_task("autofocus")
    assert not episodes.sealed(task)
    assert episodes.sealed(dataclasses.replace(task, major=2))
    assert episodes.sealed(TASK)


def test_no_agent_sees_a_reward(done: Any) -> None:
    """Episodes of a sealed task have rewards of 0."""
    assert {reward for one in done.episodes for reward in one.rewards} == {0.0}
