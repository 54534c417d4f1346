"""Cheats by the time of replies, published scores and second tries: each reveals the truth where its guard is off, and nothing where it is on."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from stemtwin.benchmarks.agents import Baseline, Brief
from stemtwin.benchmarks.episodes import TaskEnvironments, make_environment, run_episode
from stemtwin.benchmarks.isolation import agent_process
from stemtwin.benchmarks.isolation.agent_process import AgentProcess
from stemtwin.benchmarks.isolation.sandbox import Limits
from stemtwin.benchmarks.seed_keys import SeedKeys
from stemtwin.benchmarks.tasks import find_task
from stemtwin.twin.envs.families.hypothesis_test import EDGE
from stemtwin.twin.envs.functional_env import hidden_truth
from tests.benchmarks.fakes import FakeAutofocus
from tests.benchmarks.isolation.programs import program

TASK = find_task("hypothesis-test")


class Clock:
    """The time of a scorer, which passes only when somebody sleeps or the microscope computes."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        """Return the present time, s."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass, s."""
        self.now += seconds


class Listening(AgentProcess):
    """An agent that notes when each message arrives, and always sends the same action; nothing but the clock takes time."""

    def __init__(self, clock: Clock, pad_s: float, folder: Path) -> None:
        super().__init__("python", folder=folder, limits=Limits(pad_s=pad_s), level="process")
        self.clock, self.heard = clock, list[tuple[str, float]]()

    def _start(self) -> None:
        self._process = object()

    def _send(self, message: dict[str, Any], seconds: float) -> None:
        del seconds
        self.heard.append((message["type"], self.clock.now))

    def _receive(self, seconds: float, what: str) -> dict[str, Any]:
        del seconds, what
        return {"type": "act", "step": self.step, "action": [0.1, 0.0, 0.0]}


class Slow(FakeAutofocus):
    """A microscope that computes longer where the specimen has more astigmatism."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    @property
    def work_s(self) -> float:
        """Time of a frame, s."""
        return 0.05 + 1e-3 * float(np.hypot(*self.state[1:]))

    def observe(self) -> dict[str, np.ndarray]:
        """Take a frame, which takes time."""
        self.clock.sleep(self.work_s)
        return super().observe()

    def step(self, action: np.ndarray) -> tuple:
        """Move and take a frame; the fourth one is the last."""
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, self.frames >= 4, info


def times_heard(pad_s: float, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, list[float]], list[float]]:
    """Return the times between messages to an agent in three episodes, by the later message, and the time of a frame in each episode, s."""
    clock, task, hidden = Clock(), find_task("autofocus"), list[float]()
    monkeypatch.setattr(agent_process, "time", clock)
    agent, env = Listening(clock, pad_s, folder), Slow(clock)
    entry = Baseline(task=task.name, name="clock", text="", factory=lambda: agent)
    for number in range(3):
        run_episode(task, entry, agent, env, split="public", number=number, count_failures=True)
        hidden.append(env.work_s)
    agent._process = None  # nothing to stop
    found: dict[str, list[float]] = {}
    for (_, before), (kind, now) in itertools.pairwise(agent.heard):
        found.setdefault(kind, []).append(round(now - before, 9))
    return found, [round(one, 9) for one in hidden]


def test_the_time_of_replies_tells_nothing_where_it_is_padded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard is off: times between messages are those of the computation, from which the specimen follows. Padded, they are equal."""
    off, hidden = times_heard(0.0, tmp_path, monkeypatch)
    assert len(set(hidden)) == 3
    assert (off["end"], off["reset"]) == (hidden, hidden[1:])
    assert set(off["observe"]) == {0.0, *hidden}
    on, _ = times_heard(0.5, tmp_path, monkeypatch)
    assert (set(on["observe"]), set(on["end"]), set(on["reset"])) == ({0.0, 0.5}, {0.5}, {0.5})
    late, _ = times_heard(0.1, tmp_path, monkeypatch)
    assert set(late["observe"]) > {0.0, 0.1}  # too short a time hides nothing beyond it


class Declaring:
    """An agent that declares a given probability of the second law at once."""

    probability = 0.5

    def reset(self, brief: Brief) -> None:
        """Need nothing."""

    def act(self, observation: Any, cost: Any) -> np.ndarray:
        """Declare."""
        del observation, cost
        return np.array([0, 0, 0, 1, (self.probability - EDGE) / (1 - 2 * EDGE) * 2 - 1], np.float32)


def declaring(environments: TaskEnvironments, keys: SeedKeys, probabilities: Sequence[float]) -> tuple[float, list[float]]:
    """Return the score of an agent that declares given probabilities of the second law in hidden episodes, and the true laws."""
    agent, played = Declaring(), []
    entry = Baseline(task=TASK.name, name="declaring", text="", factory=lambda: agent)
    for number, agent.probability in enumerate(probabilities):
        played.append(run_episode(TASK, entry, agent, environments.of_episode(number), split="public", number=number, keys=keys))
    return float(TASK.primary.formula(TASK.score(played).sums())), [int(one.start["law"]) for one in played]


def test_a_score_tells_the_answers_of_its_event_and_none_of_a_final() -> None:
    """The guard is off: a score of chosen probabilities gives all laws, which a second submission declares. A final has keys of its own."""
    environments, count = TaskEnvironments(TASK), 10
    event, final = (SeedKeys(environment=digit * 64, agent="a" * 64, nonce=digit * 64) for digit in "12")
    chosen = [0.5 + 0.4 * 0.5 ** (k + 1) for k in range(count)]
    score, laws = declaring(environments, event, chosen)
    gains = 1 + np.log2([[1 - probability, probability] for probability in chosen])
    guesses = list(itertools.product((0, 1), repeat=count))
    stolen = min(guesses, key=lambda guess: abs(gains[np.arange(count), guess].mean() - score))
    assert list(stolen) == laws
    declared = [0.97 if law else 0.03 for law in stolen]
    assert declaring(environments, event, declared)[0] == pytest.approx(1 + np.log2(0.97), abs=1e-6)
    assert declaring(environments, final, declared)[0] < 0.0  # worse than no answer


def test_a_second_try_is_for_those_who_hold_the_environment(tmp_path: Path) -> None:
    """An agent that may reset an environment to the same seed tries both laws and keeps the better one; a ranked agent that asks for this loses."""
    env = gym.make(TASK.source)
    for seed in range(4):
        paid = []
        for law in (0, 1):
            env.reset(seed=seed)
            paid.append(float(env.step(np.array([0, 0, 0, 1, 2 * law - 1], np.float32))[1]))
        assert int(np.argmax(paid)) == hidden_truth(env)["law"]
    asks = program(tmp_path, act="send({'type': 'reset', 'seed': 1}); continue")
    with AgentProcess(asks, folder=tmp_path, limits=Limits(start_s=30, act_s=10), level="process") as agent:
        entry = Baseline(task=TASK.name, name="again", text="", factory=lambda: agent)
        played = run_episode(TASK, entry, agent, make_environment(TASK), split="public", number=0, count_failures=True)
    assert (played.failure, played.actions) == ("protocol", ())
