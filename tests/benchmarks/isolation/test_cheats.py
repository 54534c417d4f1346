"""Cheats of agents: each finds what it looks for where its guard is off, and nothing where it is on."""

import gc
import hashlib
import inspect
import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from stemtwin.benchmarks.agents import Baseline, Brief, find_baseline, make_entry
from stemtwin.benchmarks.episodes import TaskEnvironments, derive_seed, make_environment, run_episode
from stemtwin.benchmarks.isolation import agent_process
from stemtwin.benchmarks.isolation.agent_process import AgentProcess
from stemtwin.benchmarks.isolation.sandbox import Level, Limits, strongest_level
from stemtwin.benchmarks.runner import run_agent
from stemtwin.benchmarks.seed_keys import draw_keys
from stemtwin.benchmarks.tasks import find_task
from stemtwin.twin.envs.functional_env import hidden_truth
from tests.benchmarks.isolation.programs import program

TASK = find_task("hypothesis-test")
LIMITS = Limits(start_s=30, act_s=10)
ACTION = [0.0, 0.0, 0.0, 1.0, 0.5]
"""Declaration of an even chance."""


class Thief:
    """An agent in the scorer's process that looks for the hidden law, and declares what it finds."""

    steal: Callable[[Any], Any]

    def reset(self, brief: Brief) -> None:
        """Keep the briefing."""
        self.brief, self.found = brief, None

    def act(self, observation: Any, cost: Any) -> np.ndarray:
        """Look, and declare."""
        del observation, cost
        self.found = type(self).steal(self)
        return np.array([0, 0, 0, 1, 0.0 if self.found is None else 2 * self.found - 1], np.float32)


def law_of(env: Any) -> float | None:
    """Return the hidden law of an environment."""
    return hidden_truth(env)["law"]


def stack(thief: Thief) -> float | None:
    """Read the variables of the callers."""
    frame = inspect.currentframe()
    while frame is not None:
        if isinstance(frame.f_locals.get("env"), gym.Env):
            return law_of(frame.f_locals["env"])
        frame = frame.f_back
    return None


def collector(thief: Thief) -> float | None:
    """Ask the garbage collector for environments."""
    found = [one for one in gc.get_objects() if isinstance(one, gym.Env) and one.action_space is thief.brief.action_space]
    return law_of(found[-1]) if found else None


def wrapper_attribute(thief: Thief) -> float | None:
    """Ask a wrapper for the family and its state."""
    found = [one for one in gc.get_objects() if isinstance(one, gym.Env) and one.action_space is thief.brief.action_space]
    return found[-1].get_wrapper_attr("task").truth(found[-1].get_wrapper_attr("_state"))["law"] if found else None


def seed_replay(thief: Thief) -> float | None:
    """Play the environment's own generator from its public seed in an environment of its own."""
    env = make_environment(TASK)
    env.reset(seed=derive_seed(TASK, "public", 0))
    return law_of(env)


def generator_replay(thief: Thief) -> float | None:
    """Read the seed of the environment's generator, and play it in an environment of its own."""
    found = [one for one in gc.get_objects() if isinstance(one, gym.Env) and one.action_space is thief.brief.action_space]
    if not found:
        return None
    env = make_environment(TASK)
    env.reset(seed=found[-1].unwrapped.np_random_seed)
    return law_of(env)


def briefed_seed(thief: Thief) -> float | None:
    """Look up the number of the public episode whose briefing has this seed, and play that episode in an environment of its own."""
    number = next((k for k in range(64) if derive_seed(TASK, "public", k, "agent") == thief.brief.seed), None)
    if number is None:
        return None
    env = make_environment(TASK)
    env.reset(seed=derive_seed(TASK, "public", number))
    return law_of(env)


CHEATS = {
    "stack": stack,
    "collector": collector,
    "wrapper attribute": wrapper_attribute,
    "seed replay": seed_replay,
    "np_random_seed replay": generator_replay,
    "seed of the briefing": briefed_seed,
}


@pytest.mark.parametrize("how", CHEATS)
def test_in_this_process_the_truth_can_be_read(how: str) -> None:
    """The guard is off: an agent in the scorer's process declares the true law, which is why such scores are practice."""
    thief = type("One", (Thief,), {"steal": staticmethod(CHEATS[how])})()
    entry = Baseline(task=TASK.name, name="thief", text="", factory=lambda: thief)
    environments = TaskEnvironments(TASK)
    for number in range(4 if how == "seed of the briefing" else 1):
        played = run_episode(TASK, entry, thief, environments.of_episode(number), split="public", number=number)
        assert thief.found == played.start["law"]


def test_the_briefing_of_a_hidden_episode_finds_no_public_one() -> None:
    """The guard of the last cheat above is on: with secret keys, the seed of the briefing belongs to no public episode."""
    thief = type("One", (Thief,), {"steal": staticmethod(briefed_seed)})()
    entry = Baseline(task=TASK.name, name="thief", text="", factory=lambda: thief)
    run_episode(TASK, entry, thief, make_environment(TASK), split="public", number=0, keys=draw_keys())
    assert (thief.found, thief.brief.seed > 1 << 64) == (None, True)


SEARCHES = {
    "stack": "import inspect; found = any('env' in one.frame.f_locals for one in inspect.stack())",
    "collector": "import gc; found = any(type(one).__name__ == 'StemEnv' for one in gc.get_objects())",
    "vector environments": "import gc; found = any(type(one).__name__.endswith('VectorEnv') for one in gc.get_objects())",
    "gymnasium": "found = 'gymnasium' in sys.modules",
    "modules": "found = any(name.startswith('stemtwin') for name in sys.modules)",
}


@pytest.mark.parametrize("how", SEARCHES)
def test_in_a_process_of_its_own_there_is_nothing_to_read(tmp_path: Path, how: str) -> None:
    """Stack, collector and modules of an agent's process hold neither environment nor package."""
    assert ask(tmp_path, SEARCHES[how], "process") == "False"


def test_a_vector_environment_tells_the_truth_to_who_has_it() -> None:
    """The guard is off: who holds a vector environment asks it by ``call`` for the state; ranked agents hold none, see the searches above."""
    vec = gym.vector.SyncVectorEnv([lambda: make_environment(TASK)] * 2)
    vec.reset(seed=[1, 2])
    states, tasks = (vec.call("get_wrapper_attr", name) for name in ("_state", "task"))
    assert [task.truth(state)["law"] for task, state in zip(tasks, states, strict=True)] == [law_of(env) for env in vec.envs]
    vec.close()


@pytest.mark.parametrize("name", ["hypothesis-test", pytest.param("sparse-scan", marks=pytest.mark.slow)])
def test_no_reward_and_no_truth_is_sent(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every message to an agent, the last one among them, has the keys of the protocol alone: neither reward nor end nor truth.

    The guard is off: the environment itself, where it is asked to, gives the truth in its info.
    """
    task, sent = find_task(name), []
    pack = agent_process.pack
    monkeypatch.setattr(agent_process, "pack", lambda message: sent.append(message) or pack(message))
    env = make_environment(task)
    low = np.clip(np.zeros(env.action_space.shape), env.action_space.low, env.action_space.high).tolist()
    with AgentProcess(program(tmp_path, act=f"action = {low}"), folder=tmp_path, limits=LIMITS, level="process") as agent:
        entry = Baseline(task=name, name="listener", text="", factory=lambda: agent)
        run_episode(task, entry, agent, env, split=task.splits[0], number=0, count_failures=True)
    keys = {
        "hello": {"type", "protocol", "act_s", "message_bytes"},
        "reset": {"type", "task", "difficulty", "known", "seed", "observation_space", "action_space"},
        "observe": {"type", "step", "observation", "cost"},
        "end": {"type", "step"},
    }
    assert {message["type"] for message in sent} == set(keys)
    assert all(set(message) == keys[message["type"]] for message in sent)
    heard = [name for message in sent if message["type"] == "observe" for name in message["observation"]]
    assert not {"truth", "law", "reward", "is_success"} & set(heard)
    open_env = gym.make(task.source, privileged_info=True)
    _, info = open_env.reset(seed=1)
    assert info["truth"]
    open_env.close()


def test_a_reward_tells_the_truth_where_it_is_paid() -> None:
    """The guard is off: one declaration is paid otherwise for each law, in the environment for training; that of the task pays nothing."""
    paid = {}
    for sealed, env in ((False, gym.make(TASK.source)), (True, make_environment(TASK))):
        told: dict[float, set[float]] = {}
        for seed in range(8):
            env.reset(seed=seed)
            law = law_of(env)
            told.setdefault(law, set()).add(round(float(env.step(np.array(ACTION, np.float32))[1]), 9))
        paid[sealed] = told
        env.close()
    assert all(len(rewards) == 1 for rewards in paid[False].values())
    assert paid[False][0.0] != paid[False][1.0]
    assert paid[True] == {0.0: {0.0}, 1.0: {0.0}}


def first_sight(env: Any, seed: int) -> str:
    """Return the hash of what is seen after a reset and one measurement."""
    out = hashlib.sha256()
    for observation in (env.reset(seed=seed)[0], env.step(np.array([0, 0, 0, -1, 0], np.float32))[0]):
        for name in sorted(observation):
            out.update(np.ascontiguousarray(observation[name]).tobytes())
    return out.hexdigest()


def test_small_seeds_are_looked_up_and_hidden_ones_are_not() -> None:
    """The guard is off: an episode of a small seed is found among those that anybody can play; one of a hidden, 128-bit seed is not among them."""
    env = make_environment(TASK)
    looked_up = {first_sight(env, seed): seed for seed in range(24)}
    assert len(looked_up) == 24
    assert looked_up[first_sight(env, 17)] == 17
    hidden = derive_seed(TASK, "public", 0, keys=draw_keys())
    assert hidden > 1 << 64
    assert first_sight(env, hidden) not in looked_up


def test_a_hidden_seed_is_not_that_of_the_briefing() -> None:
    """What an agent is told, its own seed, gives neither the public nor the hidden seed of the environment; without the keys nobody has it."""
    keys, heard = draw_keys(), []

    class Listener(Thief):
        def act(self, observation: Any, cost: Any) -> np.ndarray:
            del observation, cost
            heard.append(self.brief.seed)
            return np.array(ACTION, np.float32)

    agent = Listener()
    entry = Baseline(task=TASK.name, name="listener", text="", factory=lambda: agent)
    environments, starts = TaskEnvironments(TASK), []
    for number in range(12):
        env = environments.of_episode(number)
        played = run_episode(TASK, entry, agent, env, split="public", number=number, keys=keys)
        public = derive_seed(TASK, "public", number)
        assert played.seed not in {public, heard[-1]}
        found = []
        for seed in (played.seed, public, heard[-1]):
            env.reset(seed=seed)
            found.append(hidden_truth(env))
        assert found[0] == played.start
        starts.append(found)
    hidden, public_, told = zip(*starts, strict=True)
    assert hidden not in (public_, told)


def ask(folder: Path, statement: str, level: Level, limits: Limits = LIMITS) -> str:
    """Return what ``found`` is after an agent has run a statement."""
    act = f"\n        try:\n            {statement}\n        except Exception as error:\n            found = type(error).__name__"
    act += f"\n        sys.stderr.write(f'found={{found}};'); sys.stderr.flush()\n        action = {ACTION}"
    with AgentProcess(program(folder, act=act), folder=folder, limits=limits, level=level) as agent:
        entry = Baseline(task=TASK.name, name="asker", text="", factory=lambda: agent)
        played = run_episode(TASK, entry, agent, make_environment(TASK), split="public", number=0, count_failures=True)
        assert played.failure == "", played.failure_text
    return agent.error_output.partition("found=")[2].partition(";")[0]


@pytest.fixture
def sandbox() -> Level:
    """Need bubblewrap."""
    if strongest_level() == "process":
        if os.environ.get("CI"):
            pytest.fail("bubblewrap is not installed, or not allowed to make namespaces: .ci/run installs it")
        pytest.skip("bubblewrap does not work here")
    return "bubblewrap"


def test_files_are_out_of_reach(tmp_path: Path, sandbox: Level) -> None:
    """Keys beside the agent's folder are read without a sandbox, and are not there in one; neither is the home folder."""
    folder, keys = tmp_path / "agent", tmp_path / "keys.json"
    folder.mkdir()
    keys.write_text("secret", encoding="utf-8")
    look = f"found = open({str(keys)!r}).read()"
    assert ask(folder, look, "process") == "secret"
    assert ask(folder, look, sandbox) == "FileNotFoundError"
    assert ask(folder, f"found = os.path.exists({str(Path.home() / '.bashrc')!r}) or os.path.exists('/etc/passwd')", sandbox) == "False"


def test_files_are_not_written(tmp_path: Path, sandbox: Level) -> None:
    """The agent's folder is written without a sandbox, and read-only in one; scratch is there, and gone with the process."""
    look = "open('left', 'w').close(); found = os.path.exists('left')"
    assert ask(tmp_path, look, "process") == "True"
    (tmp_path / "left").unlink()
    assert ask(tmp_path, look, sandbox) == "OSError"
    assert not (tmp_path / "left").exists()
    assert ask(tmp_path, "open('/tmp/left', 'w').close(); found = os.listdir('/tmp')", sandbox).count("left") == 1
    assert not Path("/tmp/left").exists()


def greet(server: socket.socket) -> None:
    """Accept one connection."""
    server.accept()[0].close()


def test_devices_are_not_written(tmp_path: Path, sandbox: Level) -> None:
    """Nothing is added to the devices, shared memory is as small as scratch, and the usual devices work."""
    limits = Limits(start_s=30, act_s=10, scratch_bytes=1 << 20)
    look = "open('{}', 'wb').write(bytes({})); found = True"
    assert ask(tmp_path, look.format("/dev/left", 1), sandbox, limits) == "OSError"
    fill = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); found = open('/dev/shm/f', 'wb').write(bytes({}))"
    assert ask(tmp_path, fill.format(1 << 19), sandbox, limits) == str(1 << 19)
    assert ask(tmp_path, fill.format(1 << 22), sandbox, limits) == "OSError"
    assert ask(tmp_path, look.format("/dev/null", 9), sandbox, limits) == "True"


def test_an_attempt_remembers_no_other(tmp_path: Path) -> None:
    """A process that meets an episode again could use what it saw (the guard is off); each attempt of a run has a process of its own."""
    act = "action = [0.0, 0.0, 0.0, 1.0, 0.5 if met == 1 else 1.0]"
    command = program(tmp_path, first="met = 0", reset="met += 1", act=act)
    with AgentProcess(command, folder=tmp_path, limits=LIMITS, level="process") as agent:
        entry = Baseline(task=TASK.name, name="remembering", text="", factory=lambda: agent)
        options = {"split": "public", "number": 0, "count_failures": True}
        met = [run_episode(TASK, entry, agent, make_environment(TASK), attempt=attempt, **options) for attempt in range(2)]
        assert met[0].actions != met[1].actions
        agent.close()
        kept: list[Any] = []
        run_agent(TASK, entry, "isolated", episodes=1, attempts=2, keep=kept.append)
    assert [one.attempt for one in kept] == [0, 1]
    assert kept[0].actions == kept[1].actions == met[0].actions


def test_the_network_is_out_of_reach(tmp_path: Path, sandbox: Level) -> None:
    """A server of this machine is reached without a sandbox, and not from one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        thread = threading.Thread(target=greet, args=(server,), daemon=True)
        thread.start()
        look = f"import socket; socket.create_connection(('127.0.0.1', {port}), 2).close(); found = True"
        assert ask(tmp_path, look, "process") == "True"
        thread.join(timeout=5)
        assert ask(tmp_path, look, sandbox) in ("ConnectionRefusedError", "OSError")


def test_processes_are_out_of_reach(tmp_path: Path, sandbox: Level) -> None:
    """The scorer's command line is read without a sandbox, and not from one; what the scorer is told by its environment is never handed on."""
    look = f"found = len(open('/proc/{os.getpid()}/cmdline').read()) > 3"
    assert ask(tmp_path, look, "process") == "True"
    assert ask(tmp_path, look, sandbox) in ("FileNotFoundError", "False")
    os.environ["STEMTWIN_SECRET"] = "1"
    try:
        for level in ("process", sandbox):
            assert ask(tmp_path, "found = 'STEMTWIN_SECRET' in os.environ", level) == "False"
    finally:
        del os.environ["STEMTWIN_SECRET"]


def test_memory_files_and_processes_are_limited(tmp_path: Path, sandbox: Level) -> None:
    """Memory, files and processes beyond the limits are refused, and are there below them."""
    limits = Limits(start_s=30, act_s=10, memory_bytes=1 << 30, scratch_bytes=1 << 20, processes=16)
    for level in ("process", sandbox):
        assert ask(tmp_path, "found = len(bytes(1 << 28)) > 0", level, limits) == "True"
        assert ask(tmp_path, "found = len(bytes(1 << 31)) > 0", level, limits) == "MemoryError"
    fill = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); found = open('/tmp/f', 'wb').write(bytes({}))"
    assert ask(tmp_path, fill.format(1 << 19), sandbox, limits) == str(1 << 19)
    assert ask(tmp_path, fill.format(1 << 22), sandbox, limits) == "OSError"
    fork = "import subprocess; found = len([subprocess.Popen(['sleep', '9']) for _ in range({})])"
    assert ask(tmp_path, fork.format(4), sandbox, limits) == "4"
    if os.geteuid() != 0:  # the kernel counts no processes of root
        assert ask(tmp_path, fork.format(64), sandbox, limits) in ("BlockingIOError", "OSError")


def test_the_sandbox_has_no_privileges(tmp_path: Path, sandbox: Level) -> None:
    """Neither mounts nor new namespaces with rights over files outside are to be had."""
    look = "import ctypes; libc = ctypes.CDLL(None, use_errno=True); found = libc.mount(b'none', b'/tmp', b'tmpfs', 0, None)"
    assert ask(tmp_path, look, sandbox) == "-1"


@pytest.mark.slow
def test_experts_play_in_a_sandbox_as_here(tmp_path: Path, sandbox: Level) -> None:
    """The same class runs unchanged on both sides: the expert's episodes are equal in the sandbox and in this process."""
    from stemtwin.benchmarks.isolation.agent_process import host_program

    expert = find_baseline(TASK.name, "expert")
    env = make_environment(TASK)
    here = run_episode(TASK, expert, make_entry(expert, "agent"), env, split="public", number=3)
    with AgentProcess(host_program(f"baseline:{TASK.name}/expert"), folder=tmp_path, limits=LIMITS, level=sandbox) as agent:
        entry = Baseline(task=TASK.name, name="expert", text="", factory=lambda: agent)
        apart = run_episode(TASK, entry, agent, env, split="public", number=3, count_failures=True)
    assert apart.failure == "", apart.failure_text
    assert (here.actions, here.observations_sha256, here.end) == (apart.actions, apart.observations_sha256, apart.end)


def test_this_python_is_the_agents(tmp_path: Path, sandbox: Level) -> None:
    """A program that is named python is this interpreter, with the same packages."""
    assert ask(tmp_path, "found = sys.prefix", sandbox) == sys.prefix
