"""Episodes of agents in any Gymnasium environment: playing, storage as JSON, and replay."""

import dataclasses
import functools
import hashlib
import json
import reprlib
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from stemtwin.benchmarks.agents import AgentError, Baseline, Brief, brief_for
from stemtwin.benchmarks.seed_keys import SeedKeys, seed_from
from stemtwin.benchmarks.tasks import Task
from stemtwin.twin import files
from stemtwin.twin.envs.functional_env import StemEnv, checked_action, hidden_truth
from stemtwin.twin.envs.making import family_class, make_family
from stemtwin.twin.errors import InstrumentError, SettingsError, SubmissionError

SEALED = {"reward": "none", "privileged_info": False, "split": "test"}
"""Arguments of the environments of tasks: no reward, no truth, and separate episodes."""
UNSEALED = (("autofocus", 1),)
"""Tasks whose environment has no such arguments; the runner hides rewards from their agents."""
PRIVILEGED = ("truth", "is_success")
"""Keys of ``info`` that contain the truth."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Episode:
    """One complete episode.

    Parameters
    ----------
    number : int
        Number of the episode within the split.
    seed : int
        128-bit seed of the environment.
    actions : tuple
        Actions as plain values, see :func:`plain_action`.
    rewards : tuple of float
        (n,) rewards that the environment gave; the agent never sees these numbers.
    start, end : dict
        Truth after the reset and after the last action.
    cost : dict
        Costs of the episode: ``dose_e_per_angstrom2``, ``beam_s``, ``moves``, and further costs that the environment counts.
    terminated : bool
        Whether the episode ended because the goal was reached or the agent made its declaration, and not because a budget was spent.
    wall_s : float
        Time that the agent took to decide, s.
    observations_sha256 : str
        Hash of all observations of the agent, in order. A replay must reproduce the hash.
    attempt : int
        Number of the attempt at the episode.
    failure, failure_text : str
        Kind of the agent's fault that ended the episode (``"crashed"``, ``"timed out"``, ``"invalid action"`` or ``"protocol"``), and a sentence
        about this fault; both are "" if there was no fault.
    """

    number: int
    seed: int
    actions: tuple[Any, ...]
    rewards: tuple[float, ...]
    start: dict[str, float]
    end: dict[str, float]
    cost: dict[str, float]
    terminated: bool
    wall_s: float
    observations_sha256: str
    attempt: int = 0
    failure: str = ""
    failure_text: str = ""


def plain_action(space: gym.Space, action: Any) -> Any:
    """Return an action as numbers, text, tuples and dicts with sorted keys, which JSON stores without loss.

    Parameters
    ----------
    space : gymnasium.Space
        A Box, Discrete, MultiDiscrete, MultiBinary or Text space, or a Dict or Tuple of such spaces.
    action : object
        An action of the space.

    Raises
    ------
    SettingsError
        Actions of the space cannot be stored.
    """
    if isinstance(space, gym.spaces.Dict):
        return {name: plain_action(space[name], action[name]) for name in sorted(space.spaces)}
    if isinstance(space, gym.spaces.Tuple):
        return tuple(plain_action(part, one) for part, one in zip(space.spaces, action, strict=True))
    if isinstance(space, gym.spaces.Discrete):
        return int(action)
    if isinstance(space, gym.spaces.Text):
        return str(action)
    if isinstance(space, gym.spaces.Box | gym.spaces.MultiDiscrete | gym.spaces.MultiBinary):
        return _tuples(np.asarray(action).tolist())
    message = f"Actions of {space} cannot be stored. Use Box, Discrete, MultiDiscrete, MultiBinary, Text, or Dict and Tuple of these."
    raise SettingsError(message)


def space_action(space: gym.Space, plain: Any) -> Any:
    """Convert the plain values from :func:`plain_action` back to an action of a space, also after a round trip through JSON."""
    if isinstance(space, gym.spaces.Dict):
        return {name: space_action(part, plain[name]) for name, part in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple):
        return tuple(space_action(part, one) for part, one in zip(space.spaces, plain, strict=True))
    if isinstance(space, gym.spaces.Discrete):
        return space.dtype.type(plain)
    return plain if isinstance(space, gym.spaces.Text) else np.asarray(plain, dtype=space.dtype)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(one) for one in value) if isinstance(value, list) else value


def copied(observation: Any) -> Any:
    """Return a copy of an observation that shares no memory with the original."""
    if isinstance(observation, dict):
        return {name: copied(one) for name, one in observation.items()}
    if isinstance(observation, tuple):
        return tuple(copied(one) for one in observation)
    return observation.copy() if isinstance(observation, np.ndarray) else observation


def add_to_digest(digest: Any, observation: Any) -> None:
    """Add an observation to a hash; the entries of a dict are added in the order of their keys."""
    if isinstance(observation, dict):
        for name in sorted(observation):
            add_to_digest(digest, observation[name])
    elif isinstance(observation, tuple):
        for one in observation:
            add_to_digest(digest, one)
    else:
        digest.update(np.ascontiguousarray(observation).tobytes())


def derive_seed(task: Task, split: str, k: int, stream: str = "", *, keys: SeedKeys | None = None) -> int:
    """Return the 128-bit seed of episode k: the first 16 bytes of HMAC-SHA256(key, ``<task>@<major>/<split>/<k>[/<stream>]``), big-endian.

    Seeds of 128 bits cannot be found by a search, and the seeds of neighbouring episodes are unrelated.

    Parameters
    ----------
    task : Task
        An agent task. Its key for the seeds of public splits is published.
    split : str
        Split of the seeds.
    k : int
        Number of the episode.
    stream : str
        Owner of the seed: "" for the environment, ``"agent"`` for the first attempt of an agent, ``"agent/1"`` for the second, and so on.
    keys : SeedKeys, optional
        Secret keys that replace the published one.
    """
    text = f"{task.name}@{task.major}/{split}/{k}" + (f"/{stream}" if stream else "")
    key = task.key.encode() if keys is None else bytes.fromhex(keys.agent if stream else keys.environment)
    return seed_from(key, text)


def sealed_arguments(task: Task, keys: SeedKeys | None = None) -> dict[str, Any]:
    """Return the arguments of a sealed environment, which gives neither rewards nor truth.

    If the environment draws from pre-computed scenes, the root seed of the scenes is derived from the same key as the seeds of the episodes.
    """
    preset = {"difficulty": task.difficulties[0]} if task.difficulties else {}
    if "scene_root" not in [one.name for one in dataclasses.fields(family_class(task.source))]:
        return {**SEALED, **preset}
    key = task.key.encode() if keys is None else bytes.fromhex(keys.environment)
    return {**SEALED, **preset, "scene_root": seed_from(key, f"{task.name}@{task.major}/scenes")}


def sealed(task: Task) -> bool:
    """Return True if the environment of a task must be made without rewards and truth.

    The result is True for every task whose environment has arguments that switch rewards and truth off.
    """
    return (task.name, task.major) not in UNSEALED


def make_environment(task: Task, keys: SeedKeys | None = None) -> gym.Env:
    """Return the environment of an agent task.

    If the task is sealed, the environment gives neither rewards nor truth. If ``keys`` are given, the environment is for hidden episodes.
    """
    if sealed(task):
        return StemEnv(make_family(task.source, **sealed_arguments(task, keys)))  # gymnasium.make refuses the split "test"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is out of date", DeprecationWarning)  # a task keeps the version that it was released with
        return gym.make(f"stemtwin:{task.source}", disable_env_checker=True)


class TaskEnvironments:
    """Environments of a task, one for each preset of its episodes; an environment is made when an episode first needs it.

    Parameters
    ----------
    task : Task
        An agent task.
    make : callable, optional
        Function that makes an environment of a task. For each preset, it is called with a copy of the task that has only this preset. By
        default, it is :func:`make_environment`.
    keys : SeedKeys, optional
        Secret keys of hidden episodes.
    """

    def __init__(self, task: Task, make: Callable[[Task], Any] | None = None, keys: SeedKeys | None = None) -> None:
        self._task, self._make = task, make or functools.partial(make_environment, keys=keys)
        self._made: dict[str | None, Any] = {}

    def of_episode(self, number: int) -> Any:
        """Return the environment of the episode with a given number."""
        preset = self._task.difficulty(number)
        if preset not in self._made:
            self._made[preset] = self._make(self._task if preset is None else dataclasses.replace(self._task, difficulties=(preset,)))
        return self._made[preset]

    def close(self) -> None:
        """Close all environments."""
        for environment in self._made.values():
            environment.close()


def check_difficulty(task: Task, env: Any, number: int) -> None:
    """Refuse an environment whose preset differs from that of the episode with a given number.

    Raises
    ------
    SettingsError
        The presets differ.
    """
    preset, given = task.difficulty(number), getattr(getattr(env.unwrapped, "task", None), "difficulty", None)
    if preset is not None and given != preset:
        message = f"episode {number} of {task.name}@{task.major} has difficulty={preset!r}, but its environment has {given!r}. Use TaskEnvironments."
        raise SettingsError(message)


def check_sealed(task: Task, env: Any, keys: SeedKeys | None = None) -> None:
    """Raise SettingsError if the environment of a sealed task gives rewards or truth.

    The preset of the environment is checked by :func:`check_difficulty`.

    Raises
    ------
    SettingsError
        An argument of the environment differs from the one that :func:`sealed_arguments` gives.
    """
    if not sealed(task):
        return
    family = getattr(env.unwrapped, "task", None)
    for name, value in sealed_arguments(dataclasses.replace(task, difficulties=()), keys).items():
        given = getattr(family, name, None)
        if given != value:
            message = f"{task.name}@{task.major} runs with {name}={value!r}, not {given!r}. Make the environment with make_environment."
            raise SettingsError(message)


def _agent_cost(task: Task, info: dict[str, Any]) -> dict[str, float]:
    """Return the cost in ``info``, which must not hold the truth if the task is sealed."""
    told = next((name for name in PRIVILEGED if sealed(task) and name in info), None)
    if told is not None:
        message = f"{task.name}@{task.major}: info of the environment holds {told!r}. Make the environment with privileged_info=False."
        raise SettingsError(message)
    return dict(info["cost"])


def run_episode(
    task: Task,
    entry: Baseline,
    agent: Any,
    env: Any,
    *,
    split: str,
    number: int,
    keys: SeedKeys | None = None,
    attempt: int = 0,
    count_failures: bool = False,
) -> Episode:
    """Run one episode and return it; the agent receives observations, spaces and costs, but neither reward nor truth.

    Parameters
    ----------
    task, entry, agent, env : Task, Baseline, Agent, gymnasium.Env
        Task, its entry, the agent that the entry made, and the environment.
    split, number : str, int
        Split and number of the episode.
    keys : SeedKeys, optional
        Secret keys of hidden episodes.
    attempt : int
        Number of the attempt; attempts share the seed of the environment and differ in the seed of the agent.
    count_failures : bool
        True if an action outside the action space ends the episode as a failure; False if it raises SubmissionError.

    Raises
    ------
    SettingsError
        The environment gives truth or rewards although the task is sealed, or the environment does not have the preset of the episode.
    SubmissionError
        An action lies outside the action space, and ``count_failures`` is False. Actions are never clipped.
    """
    check_sealed(task, env, keys)
    check_difficulty(task, env, number)
    seed, door = derive_seed(task, split, number, keys=keys), functools.partial(hidden_truth, env)
    seen = env.reset(seed=seed)
    start = dict(door())
    own = derive_seed(task, split, number, f"agent/{attempt}" if attempt else "agent", keys=keys)
    brief = brief_for(env, task=task.name, seed=own, truth=door if entry.oracle else None)
    fields = _play(task, agent, env, seen, brief, f"{entry.name}: action {{}} of episode {number}", count_failures)
    return Episode(number=number, seed=seed, start=start, end=dict(door()), attempt=attempt, **fields)


def _play(task: Task, agent: Any, env: Any, seen: tuple[Any, dict], brief: Brief, told: str, count_failures: bool) -> dict[str, Any]:
    """Play from a reset to the end and return the resulting fields of the episode."""
    (observation, info), space, digest = seen, env.action_space, hashlib.sha256()
    actions, rewards, wall, terminated, truncated, failure = [], [], 0.0, False, False, None
    add_to_digest(digest, observation)  # before the agent's reset, so that a failure there is replayed like a failure at the first action
    try:
        agent.reset(brief)
        while not (terminated or truncated):
            given, cost = copied(observation), _agent_cost(task, info)
            began = time.perf_counter()
            answer = agent.act(given, cost)
            wall += time.perf_counter() - began
            action = _checked(space, answer, told.format(len(actions)), count_failures)
            observation, reward, terminated, truncated, info = env.step(action)
            actions.append(plain_action(space, action))
            rewards.append(float(reward))
            if not (terminated or truncated):
                add_to_digest(digest, observation)
    except AgentError as error:
        failure, terminated = error, False
    add_to_digest(digest, observation)
    if callable(end := getattr(agent, "end", None)):
        end()
    return {
        "actions": tuple(actions),
        "rewards": tuple(rewards),
        "cost": {name: float(value) for name, value in _agent_cost(task, info).items()},
        "terminated": bool(terminated),
        "wall_s": wall,
        "observations_sha256": digest.hexdigest(),
        **({"failure": failure.kind, "failure_text": str(failure)} if failure else {}),
    }


def _checked(space: gym.Space, answer: Any, told: str, count_failures: bool) -> Any:
    """Return an answer in the space's own type, or raise SubmissionError, or AgentError where failures are counted."""
    try:
        return checked_action(space, answer)
    except InstrumentError:
        message = f"{told} is {reprlib.repr(answer)}, not in {space}. Return an action of that space."
        raise (AgentError("invalid action", message) if count_failures else SubmissionError(message)) from None


class Recorded:
    """An agent that repeats the actions of an episode.

    Parameters
    ----------
    episode : Episode
        Episode to repeat.
    """

    def __init__(self, episode: Episode) -> None:
        self.episode = episode

    def reset(self, brief: Brief) -> None:
        """Begin with the first action."""
        self.left = iter([space_action(brief.action_space, one) for one in self.episode.actions])

    def act(self, observation: Any, cost: Any) -> Any:
        """Return the next action. After the last action, raise the failure that ended the episode, or return None if there was no failure."""
        del observation, cost
        action = next(self.left, None)
        if action is None and self.episode.failure:
            raise AgentError(self.episode.failure, self.episode.failure_text)
        return action


def replay(
    task: Task,
    episodes: Sequence[Episode],
    *,
    split: str | None = None,
    make: Callable[[Task], Any] | None = None,
    keys: SeedKeys | None = None,
) -> tuple[Episode, ...]:
    """Play the actions of recorded episodes again and return the new episodes.

    Parameters
    ----------
    task : Task
        Task of the episodes.
    episodes : sequence of Episode
        Episodes of a run, or from :func:`read_episodes`.
    split : str, optional
        Split of the episodes; by default the first split of the task.
    make : callable, optional
        Function that makes the environment of a task.
    keys : SeedKeys, optional
        Keys of hidden episodes.

    Raises
    ------
    SubmissionError
        A seed does not belong to the episode's number, or the replay has different actions, observations, truth, cost, rewards or end.
    """
    out = []
    for episode, again in zip(episodes, play_again(task, episodes, split=split, make=make, keys=keys), strict=True):
        wrong = next((one.name for one in dataclasses.fields(Episode) if getattr(again, one.name) != getattr(episode, one.name)), None)
        if wrong is not None:
            message = f"episode {episode.number}: its replay differs in {wrong!r}. Replay it with the versions that recorded it."
            raise SubmissionError(message)
        out.append(again)
    return tuple(out)


def play_again(
    task: Task,
    episodes: Sequence[Episode],
    *,
    split: str | None = None,
    make: Callable[[Task], Any] | None = None,
    keys: SeedKeys | None = None,
) -> Iterator[Episode]:
    """Play the actions of recorded episodes again and yield the new episodes; :func:`replay` describes the arguments.

    Raises
    ------
    SubmissionError
        A seed does not belong to the episode's number, or a recorded action is not in the action space.
    """
    split, environments = task.check_split(split or task.splits[0]), TaskEnvironments(task, make, keys)
    entry = Baseline(task=task.name, name="replay", text="", factory=lambda: None)
    try:
        for episode in episodes:
            if episode.seed != derive_seed(task, split, episode.number, keys=keys):
                message = (
                    f"episode {episode.number}: its seed is not the seed of episode {episode.number} of {task.address(split)}. "
                    "Submit the episodes as the run recorded them."
                )
                raise SubmissionError(message)
            env, options = environments.of_episode(episode.number), {"keys": keys, "attempt": episode.attempt}
            again = run_episode(task, entry, Recorded(episode), env, split=split, number=episode.number, **options)
            yield dataclasses.replace(again, wall_s=episode.wall_s)
    finally:
        environments.close()


def write_episodes(path: Path | str, episodes: Sequence[Episode]) -> Path:
    """Write episodes as JSON, with seeds as hexadecimal text, and return the path."""
    path = Path(path)
    rows = [dataclasses.asdict(episode) | {"seed": f"{episode.seed:032x}"} for episode in episodes]
    files.write_atomically(path, (json.dumps(rows, indent=1) + "\n").encode())
    return path


def read_episodes(path: Path | str) -> tuple[Episode, ...]:
    """Read the episodes that :func:`write_episodes` wrote, without loss.

    Raises
    ------
    SubmissionError
        The file does not contain episodes.
    """
    path = Path(path)
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        kept = [Episode(**{**row, "seed": int(row["seed"], 16)}) for row in rows]
    except (OSError, ValueError, TypeError, KeyError) as error:
        message = f"{path} does not contain episodes ({error}). Give an episodes.json that a run wrote."
        raise SubmissionError(message) from None
    return tuple(dataclasses.replace(one, actions=_nested_tuples(one.actions), rewards=tuple(one.rewards)) for one in kept)


def _nested_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _nested_tuples(one) for name, one in value.items()}
    return tuple(_nested_tuples(one) for one in value) if isinstance(value, list) else value
