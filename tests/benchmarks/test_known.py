"""Known numbers in briefs: they reach every agent, experts play their kept episodes by them, and refuse without them."""

import io
from pathlib import Path
from typing import Any

import gymnasium as gym
import msgpack
import numpy as np
import pytest

from stemtwin.benchmarks import kept_runs
from stemtwin.benchmarks.agents import Baseline, Brief, brief_for, find_baseline
from stemtwin.benchmarks.baselines import focus_v2, hypothesis
from stemtwin.benchmarks.baselines.drift import DriftTracker
from stemtwin.benchmarks.episodes import make_environment, run_episode
from stemtwin.benchmarks.isolation import host
from stemtwin.benchmarks.isolation.agent_process import AgentProcess, host_program
from stemtwin.benchmarks.isolation.sandbox import Limits
from stemtwin.benchmarks.isolation.spaces import describe_space
from stemtwin.benchmarks.isolation.wire import LENGTH, pack, unpack
from stemtwin.benchmarks.returns import agent_seed, play
from stemtwin.benchmarks.tasks import find_task
from stemtwin.twin.envs.families.autofocus import Autofocus
from stemtwin.twin.envs.families.hypothesis_test import HypothesisTest
from stemtwin.twin.errors import SettingsError
from tests.benchmarks.fakes import FakeAutofocus

EXPERTS = (
    "aberration-correction",
    "atom-drill",
    "atom-forge",
    "autofocus@2",
    "drift-tracking",
    "hypothesis-test",
    "sparse-scan",
    "spectrum-discovery",
)
HYPOTHESIS, FOCUS = "stemtwin/HypothesisTest-v1", "stemtwin/Autofocus-v2"


class Listener:
    """An agent that keeps its briefs and ends at once."""

    def __init__(self) -> None:
        self.briefs: list[Brief] = []

    def reset(self, brief: Brief) -> None:
        """Keep the brief."""
        self.briefs.append(brief)

    def act(self, observation: Any, cost: Any) -> np.ndarray:
        """Declare the end."""
        del observation, cost
        return np.array([0, 0, 0, 1, 0], np.float32)


def test_every_runner_tells_the_known_numbers() -> None:
    """The runner of tasks and that of returns give an agent the same numbers, and none for an environment that states none."""
    task, agent = find_task("hypothesis-test"), Listener()
    entry = Baseline(task=task.name, name="listener", text="", factory=lambda: agent)
    env = make_environment(task)
    run_episode(task, entry, agent, env, split="public", number=0)
    play(gym.make(HYPOTHESIS, difficulty=env.get_wrapper_attr("task").difficulty, privileged_info=True), agent, seed=1, task=task.name)
    first, second = agent.briefs
    assert first.known == second.known == env.get_wrapper_attr("task").known()
    assert first.difficulty == second.difficulty
    assert brief_for(FakeAutofocus(), task="", seed=1).known == {}


def told(message: dict[str, Any]) -> Brief:
    """Return the brief that the host of Python agents makes of a message."""
    agent = Listener()
    host.serve(agent, io.BytesIO(pack(message)), io.BytesIO())
    return agent.briefs[0]


def test_the_message_of_a_reset_carries_the_known_numbers() -> None:
    """The host of Python agents hands them on as they are, and none where a runner does not send them."""
    env = gym.make(HYPOTHESIS)
    spaces = {name: describe_space(getattr(env, name)) for name in ("observation_space", "action_space")}
    message = {"type": "reset", "task": "a", "difficulty": "standard", "seed": bytes(16), **spaces}
    known = env.get_wrapper_attr("task").known()
    assert told({**message, "known": known}).known == known
    assert told(message).known == {}


KEYS = """
import struct, sys, msgpack
def send(message):
    body = msgpack.packb(message)
    sys.stdout.buffer.write(struct.pack(">I", len(body)) + body)
    sys.stdout.buffer.flush()
while len(head := sys.stdin.buffer.read(4)) == 4:
    message = msgpack.unpackb(sys.stdin.buffer.read(struct.unpack(">I", head)[0]), ext_hook=lambda code, content: None)
    if message["type"] == "hello":
        send({"type": "ready", "protocol": message["protocol"]})
    elif message["type"] == "reset":
        sys.stderr.write(repr(message["known"])); sys.stderr.flush()
    elif message["type"] == "observe":
        send({"type": "act", "step": message["step"], "action": [0.0, 0.0, 0.0, 1.0, 0.0]})
"""


def test_a_program_in_another_process_reads_the_known_numbers(tmp_path: Path) -> None:
    """They arrive as numbers, strings, lists and maps that msgpack alone understands."""
    task = find_task("hypothesis-test")
    env = make_environment(task)
    (tmp_path / "agent.py").write_text(KEYS, encoding="utf-8")
    with AgentProcess(["python", "agent.py"], folder=tmp_path, limits=Limits(start_s=30), level="process") as agent:
        entry = Baseline(task=task.name, name="program", text="", factory=lambda: agent)
        played = run_episode(task, entry, agent, env, split="public", number=0, count_failures=True)
        assert played.failure_text == ""
        agent.reset(brief_for(env, task=task.name, seed=1))  # the first output was read by then
        assert agent.error_output.startswith(repr(env.get_wrapper_attr("task").known()))


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERTS)
def test_the_expert_plays_alike_in_its_own_process(name: str) -> None:
    """The same baseline through the isolated runner takes the same actions."""
    task, entry = find_task(name), find_baseline(name, "expert")
    split = task.splits[0]
    here = run_episode(task, entry, entry.factory(), make_environment(task), split=split, number=0)
    program = host_program(f"baseline:{name}/expert")
    with AgentProcess(program, limits=Limits(start_s=120, act_s=120), level="process") as agent:
        apart = run_episode(task, entry, agent, make_environment(task), split=split, number=0, count_failures=True)
    assert apart.failure_text == ""
    assert apart.actions == here.actions


def played_again(environment: str, difficulty: str, agent: Any, task: str, count: int) -> None:
    """Play kept episodes of the expert with a brief that went through a message, and compare every action."""
    run = kept_runs.read_all(environment, difficulty)["expert"]
    env = run.make()
    for kept in run.episodes[:count]:
        observation, info = env.reset(seed=kept.seed)
        brief = brief_for(env, task=task, seed=agent_seed(kept.seed))
        known = unpack(pack({"type": "reset", "known": brief.known})[LENGTH.size :])["known"]
        spaces = {"observation_space": env.observation_space, "action_space": env.action_space}
        agent.reset(Brief(task=task, seed=brief.seed, known=known, **spaces))
        actions, over = [], False
        while not over:
            actions.append(agent.act(observation, dict(info["cost"])))
            observation, _, terminated, truncated, info = env.step(actions[-1])
            over = terminated or truncated
        # numbers of another processor differ in their last bits
        np.testing.assert_allclose(np.array(actions), kept.actions, atol=1e-3)


@pytest.mark.parametrize("difficulty", list(HypothesisTest.PRESETS))
def test_the_expert_on_laws_plays_kept_episodes_by_known_numbers(difficulty: str) -> None:
    """Without the name of the preset it takes the actions of the kept runs."""
    played_again(HYPOTHESIS, difficulty, find_baseline("hypothesis-test", "expert").factory(), "hypothesis-test", 2)


@pytest.mark.slow
def test_the_expert_on_focus_plays_kept_episodes_by_known_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the name of the preset it takes the actions of the kept runs."""
    monkeypatch.setattr(Autofocus, "prepare", lambda *_: None)
    played_again(FOCUS, "easy", find_baseline("autofocus@2", "expert").factory(), "autofocus@2", 2)


def through_a_message(known: dict[str, Any]) -> dict[str, Any]:
    """Return numbers as they are on the other side of a pipe."""
    return msgpack.unpackb(msgpack.packb(known))


@pytest.mark.parametrize("difficulty", list(Autofocus.PRESETS))
def test_the_expert_on_focus_models_the_preset_by_known_numbers(difficulty: str) -> None:
    """The model of the instrument from a message is equal to the preset, so its images and actions are the same to the last bit."""
    found = focus_v2.preset_from(through_a_message(Autofocus(difficulty=difficulty).known()))
    assert found == Autofocus.PRESETS[difficulty]
    assert hash(found) == hash(Autofocus.PRESETS[difficulty])


@pytest.mark.parametrize("difficulty", list(HypothesisTest.PRESETS))
def test_the_expert_on_laws_models_the_preset_by_known_numbers(difficulty: str) -> None:
    """The priors, budgets and reach from a message are equal to the preset."""
    assert hypothesis.preset_from(through_a_message(HypothesisTest(difficulty=difficulty).known())) == HypothesisTest.PRESETS[difficulty]


NEEDY = {
    "focus": focus_v2.MatchedFilter,
    "focus oracle": focus_v2.FocusByTruth,
    "laws": hypothesis.ExpectedInformation,
    "fixed": hypothesis.FixedSeries,
    "drift": DriftTracker,
}


@pytest.mark.parametrize("name", NEEDY)
def test_a_policy_without_its_numbers_refuses_in_one_sentence(name: str) -> None:
    """The message names the missing numbers and the repair; the name of the preset does not replace them."""
    space = gym.spaces.Box(-1.0, 1.0, (5,), np.float32)
    brief = Brief(task="", observation_space=space, action_space=space, seed=1, truth=dict, difficulty="easy")
    with pytest.raises(SettingsError, match=r"^brief\.known lacks \w+.*, which this policy needs: make the brief with brief_for\(env, \.\.\.\)\.$"):
        NEEDY[name]().reset(brief)
