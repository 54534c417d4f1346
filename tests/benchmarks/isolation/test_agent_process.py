"""Agents in processes of their own: right ones play as in this process, wrong ones end their episode and nothing else."""

import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stemtwin.benchmarks.agents import FAILURES, AgentError, Baseline, Brief
from stemtwin.benchmarks.episodes import run_episode
from stemtwin.benchmarks.isolation.agent_process import AgentProcess
from stemtwin.benchmarks.isolation.sandbox import Level, Limits, strongest_level
from stemtwin.benchmarks.runner import run_agent
from stemtwin.benchmarks.tasks import find_task
from stemtwin.twin.errors import SettingsError
from tests.benchmarks.fakes import FakeAutofocus
from tests.benchmarks.isolation.programs import program

TASK = dataclasses.replace(find_task("autofocus"), episodes=2)
QUICK = Limits(start_s=20, act_s=1.0, episode_s=2.0, message_bytes=1 << 16)


class Creep:
    """The agent of programs.py without faults, in this process."""

    def reset(self, brief: Brief) -> None:
        """Need nothing."""

    def act(self, observation: Any, cost: Any) -> np.ndarray:
        """Move a little."""
        del observation, cost
        return np.array([0.1, 0, 0], np.float32)


def entry(agent: Any) -> Baseline:
    """Return an entry that is one agent."""
    return Baseline(task="autofocus", name="mine", text="", factory=lambda: agent)


def make(task: Any) -> FakeAutofocus:
    """Return the small microscope."""
    return FakeAutofocus()


@pytest.fixture(params=["bubblewrap", "process"])
def level(request: pytest.FixtureRequest) -> Level:
    """Return each level of isolation that works here."""
    if request.param == "bubblewrap" and strongest_level() != "bubblewrap":
        if os.environ.get("CI"):
            pytest.fail("bubblewrap is not installed, or not allowed to make namespaces: .ci/run installs it")
        pytest.skip("bubblewrap does not work here")
    return request.param


def test_a_program_plays_as_in_this_process(tmp_path: Path, level: Level) -> None:
    """The same actions, observations and truth; the report names the isolation and can be ranked only with hidden seeds."""
    here = run_agent(TASK, entry(Creep()), "practice", make=make)
    with AgentProcess(program(tmp_path), folder=tmp_path, limits=QUICK, level=level) as agent:
        apart = run_agent(TASK, entry(agent), "isolated", make=make)
    for one, other in zip(here.episodes, apart.episodes, strict=True):
        assert dataclasses.replace(one, wall_s=0) == dataclasses.replace(other, wall_s=0)
    assert (apart.report.isolation, apart.report.trust, apart.report.ranked) == (level, "isolated", False)


WRONG = {
    "ends": ({"first": "sys.exit(3)"}, "crashed", "status 3"),
    "raises": ({"act": "raise ValueError('no')"}, "crashed", "ValueError: no"),
    "dies": ({"reset": "os.kill(os.getpid(), 9)"}, "crashed", "status -9|status 137"),
    "prints": ({"first": "print('hello', flush=True)"}, "protocol", "1751477356 bytes"),
    "sleeps": ({"act": "time.sleep(60)"}, "timed out", "action 0 did not come within 1 s"),
    "is slow": ({"act": "time.sleep(0.9)"}, "timed out", "action 2"),
    "does not read": ({"first": "time.sleep(60)"}, "timed out", "first message"),
    "greets wrongly": ({"first": "send({'type': 'ready', 'protocol': 'mine'})"}, "protocol", "first message"),
    "answers early": ({"reset": "send({'type': 'act', 'step': 0, 'action': [0.0, 0.0, 0.0]})"}, "protocol", "more than one message|answered"),
    "answers twice": ({"act": "send({'type': 'act', 'step': step, 'action': action})"}, "protocol", "more than one message|answered"),
    "counts wrongly": ({"act": "step += 1"}, "protocol", "observation 0"),
    "asks for a reset": ({"act": "send({'type': 'reset', 'seed': 1}); continue"}, "protocol", "'reset'"),
    "adds keys": ({"act": "send({'type': 'act', 'step': step, 'action': action, 'reward': 1.0}); continue"}, "protocol", "answered"),
    "is large": ({"act": "action = 'x' * 100000"}, "protocol", "at most 65536"),
    "lies about its length": ({"act": "said.write(bytes([255] * 4)); said.flush(); time.sleep(60)"}, "protocol", "4294967295 bytes"),
    "goes too far": ({"act": "action = [2.0, 0.0, 0.0]"}, "invalid action", "not in Box"),
    "is not finite": ({"act": "action = [float('nan'), 0.0, 0.0]"}, "invalid action", "not in Box"),
    "is short": ({"act": "action = [0.1]"}, "invalid action", "not in Box"),
    "is ragged": ({"act": "action = [[1.0], 2.0]"}, "invalid action", "not in Box"),
    "speaks": ({"act": "action = 'focus'"}, "invalid action", "not in Box"),
    "is a map": ({"act": "action = {'a': 1}"}, "invalid action", "not in Box"),
    "is nothing": ({"act": "action = None"}, "invalid action", "not in Box"),
}


@pytest.mark.parametrize("what", WRONG)
def test_faults_end_the_episode_by_their_kind(tmp_path: Path, what: str) -> None:
    """Each fault has its kind and a sentence; the process is gone, and the next episode begins with a new one."""
    statements, kind, told = WRONG[what]
    env, limits = FakeAutofocus(), dataclasses.replace(QUICK, start_s=1.0 if what == "does not read" else QUICK.start_s)
    with AgentProcess(program(tmp_path, **statements), folder=tmp_path, limits=limits, level="process") as agent:
        found = run_episode(TASK, entry(agent), agent, env, split="public", number=0, count_failures=True)
        assert (found.failure, found.terminated) == (kind, False), found.failure_text
        assert kind in FAILURES
        with pytest.raises(AgentError, match=told):
            raise AgentError(kind, found.failure_text)
        program(tmp_path)
        agent.limits = QUICK
        if kind == "invalid action":  # the agent goes on and may do better
            return
        assert run_episode(TASK, entry(agent), agent, env, split="public", number=1, count_failures=True).failure == ""


def test_failures_count_as_nothing_and_are_shown(tmp_path: Path) -> None:
    """An episode that fails has no score, stays in the denominator, and is counted by its kind."""
    failing = program(tmp_path, act="if not os.path.exists(os.environ['HOME'] + '/once'): open(os.environ['HOME'] + '/once', 'w'); sys.exit(1)")
    with AgentProcess(failing, folder=tmp_path, limits=QUICK, level="process") as agent:
        found = run_agent(dataclasses.replace(TASK, failed={"strehl": 0.0, "success": 0.0}), entry(agent), "isolated", make=make)
    assert [one.failure for one in found.episodes] == ["crashed", "crashed"]  # each process has a home of its own
    assert found.report.failures == {"crashed": 2}
    assert found.report.primary.value == 0.0
    assert found.report.source.n == 2


@pytest.mark.slow
def test_padded_replies_come_at_one_time(tmp_path: Path) -> None:
    """With padding the time between two observations does not tell how long the microscope took."""
    clock = "sys.stderr.write(f'{time.monotonic()} '); sys.stderr.flush()"
    limits = dataclasses.replace(QUICK, pad_s=0.15)

    class Uneven(FakeAutofocus):
        def step(self, action: Any) -> tuple:
            time.sleep(0.08 * (self.frames % 2))
            return super().step(action)

    with AgentProcess(program(tmp_path, act=clock), folder=tmp_path, limits=limits, level="process") as agent:
        run_episode(TASK, entry(agent), agent, Uneven(), split="public", number=0, count_failures=True)
        time.sleep(0.1)
        seen = np.diff([float(word) for word in agent.error_output.split()])
    assert len(seen) > 5
    odd, even = seen[::2], seen[1::2]
    assert abs(np.median(odd) - np.median(even)) < 0.03
    assert np.median(seen) > 0.14


def test_processes_that_an_agent_leaves_are_stopped(tmp_path: Path, level: Level) -> None:
    """What an agent starts ends with it."""
    child = "import subprocess; subprocess.Popen(['sleep', '317'])"
    with AgentProcess(program(tmp_path, first=child), folder=tmp_path, limits=QUICK, level=level) as agent:
        agent.reset(Brief(task="a", observation_space=FakeAutofocus().action_space, action_space=FakeAutofocus().action_space, seed=1))
    time.sleep(0.2)
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if read(path) == b"sleep\x00317\x00"]


def read(path: Path) -> bytes:
    """Return the content of a file, nothing where it is gone."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_what_cannot_be_started_is_told(tmp_path: Path) -> None:
    """A folder that is not there and an empty program are refused; a program that is not there is the agent's fault."""
    with pytest.raises(SettingsError, match="does not exist"):
        AgentProcess("python agent.py", folder=tmp_path / "nowhere")
    with pytest.raises(SettingsError, match="program is empty"):
        AgentProcess("", folder=tmp_path)
    with AgentProcess("no-such-program", folder=tmp_path, limits=QUICK, level="process") as agent, pytest.raises(AgentError, match="No such file"):
        agent.reset(Brief(task="a", observation_space=FakeAutofocus().action_space, action_space=FakeAutofocus().action_space, seed=1))
