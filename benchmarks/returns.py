"""Returns of policies on environments with a goal: the scale that ``stemtwin.reference`` gives, measured and written.

``python -m stemtwin.benchmarks.returns`` plays every baseline of every task whose environment pays for a goal, over the same
episodes, and writes ``twin/envs/scales/<environment>.json``; ``make baselines`` calls it.
"""

import argparse
import dataclasses
import hashlib
import json
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import gymnasium
import numpy as np
from scipy import stats

from stemtwin import __version__
from stemtwin.benchmarks.agents import Baseline, Brief, load_baselines
from stemtwin.benchmarks.tasks import load_tasks
from stemtwin.twin import checks, files
from stemtwin.twin.envs.arguments import one_of
from stemtwin.twin.envs.goal_family import GoalFamily
from stemtwin.twin.envs.making import family_class
from stemtwin.twin.envs.reference import FOLDER, PolicyReturn, ReturnScale, reference
from stemtwin.twin.errors import StemtwinError

EPISODES, LEVEL, RESAMPLES, SEED = 100, 0.95, 9999, 20260101
LEARNER = "learner"
"""Name of the trained policy, which is measured by itself."""
ARGUMENTS: dict[str, Any] = {"split": "val"}
"""Arguments of the environments on the scale beside the difficulty: episodes of the validation split."""
DIFFICULTIES = ("easy", "standard")
"""Presets that are measured unless others are named: an expert on a hard one can take a minute for each episode."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PlayedEpisode:
    """One episode of a policy.

    Parameters
    ----------
    total : float
        Sum of the rewards.
    steps : int
        Number of actions.
    success : bool
        Whether the episode ended in a success.
    """

    total: float
    steps: int
    success: bool


class Watcher(Protocol):
    """A keeper of what happens in an episode."""

    def begin(self, observation: Any, info: Mapping[str, Any]) -> None:
        """Take what ``reset`` gave."""

    def add(self, action: Any, result: tuple[Any, Any, bool, bool, Mapping[str, Any]]) -> None:
        """Take an action and what ``step`` gave."""


def play(environment: gymnasium.Env, agent: Any, *, seed: int, task: str, oracle: bool = False, watcher: Watcher | None = None) -> PlayedEpisode:
    """Return one episode of an agent; the environment is made with ``privileged_info=True``, of which the agent sees nothing.

    Parameters
    ----------
    environment : gymnasium.Env
        The environment.
    agent : Agent
        See ``agents.Agent``.
    seed : int
        Seed of the episode.
    task : str
        Name of the task, for the agent's brief.
    oracle : bool
        Whether the agent may read the truth.
    watcher : Watcher, optional
        Is shown all that happens.
    """
    observation, info = environment.reset(seed=seed)
    if watcher is not None:
        watcher.begin(observation, info)
    door: Callable[[], dict[str, float]] | None = environment.get_wrapper_attr("truth") if oracle else None
    brief = Brief(
        task=task,
        observation_space=environment.observation_space,
        action_space=environment.action_space,
        seed=agent_seed(seed),
        truth=door,
        difficulty=environment.get_wrapper_attr("task").difficulty,
    )
    agent.reset(brief)
    total, steps, over = 0.0, 0, False
    while not over:
        action = agent.act(observation, dict(info["cost"]))
        observation, reward, terminated, truncated, info = result = environment.step(action)
        if watcher is not None:
            watcher.add(action, result)
        total, steps, over = total + float(reward), steps + 1, terminated or truncated
    return PlayedEpisode(total=total, steps=steps, success=bool(info["is_success"]))


def agent_seed(seed: int) -> int:
    """Return the 128-bit seed of an agent's own draws in an episode: the first 16 bytes of SHA-256(``agent/<seed>``), big-endian."""
    return int.from_bytes(hashlib.sha256(f"agent/{seed}".encode()).digest()[:16], "big")


def summary(episodes: Iterable[PlayedEpisode]) -> PolicyReturn:
    """Return the mean return of episodes with its bootstrap interval (BCa; percentile where all returns are equal)."""
    played = list(episodes)
    totals = np.array([episode.total for episode in played])
    low = high = float(totals.mean())
    if len(totals) > 1 and np.ptp(totals) > 1e-9:
        rng = np.random.Generator(np.random.Philox(SEED))
        found = stats.bootstrap((totals,), np.mean, n_resamples=RESAMPLES, confidence_level=LEVEL, method="BCa", rng=rng)
        low, high = float(found.confidence_interval.low), float(found.confidence_interval.high)
    return PolicyReturn(
        mean=float(totals.mean()),
        low=low,
        high=high,
        success=float(np.mean([episode.success for episode in played])),
        steps=float(np.mean([episode.steps for episode in played])),
        episodes=len(played),
        version=__version__,
    )


def measure(
    environment: str,
    difficulty: str,
    policies: Mapping[str, Baseline],
    *,
    seeds: Iterable[int],
    arguments: Mapping[str, Any] | None = None,
    tell: Callable[[str], None],
) -> ReturnScale:
    """Return the scale of an environment: every policy plays the same episodes.

    Parameters
    ----------
    environment : str
        Id of the environment.
    difficulty : str
        Preset of the family.
    policies : mapping
        Baselines by name.
    seeds : iterable of int
        Seeds of the episodes.
    arguments : mapping, optional
        Further arguments of ``gymnasium.make``, by default those of the scale.
    tell : callable
        Called with a line after each policy.
    """
    found, chosen, given = {}, tuple(seeds), dict(ARGUMENTS if arguments is None else arguments)
    env = gymnasium.make(environment, disable_env_checker=True, **{**given, "difficulty": difficulty, "privileged_info": True})
    for name, policy in policies.items():
        began = time.perf_counter()
        agent = policy.factory()
        found[name] = summary(play(env, agent, seed=seed, task=policy.task, oracle=policy.oracle) for seed in chosen)
        one = found[name]
        told = f"{one.mean:7.3f} ({one.low:.3f} to {one.high:.3f}), success {one.success:.2f}, {one.steps:.1f} steps"
        tell(f"{environment} {difficulty} {name:>12}: {told}, {time.perf_counter() - began:.0f} s")
    env.close()
    return ReturnScale(environment=environment, difficulty=difficulty, arguments=given, seeds=chosen, version=__version__, policies=found)


def save(scale: ReturnScale, folder: Path = FOLDER) -> Path:
    """Write a scale into the file of its environment and return the path; the return of a trained policy that stands there is kept."""
    path = folder / f"{scale.environment.partition('/')[2]}.json"
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"environment": scale.environment, "scales": {}}
    before = content["scales"].get(scale.difficulty, {"version": "", "policies": {}})
    measured = dataclasses.asdict(scale)
    told, policies = {name: measured[name] for name in ("arguments", "seeds", "version")}, measured["policies"]
    trained = before["policies"].get(LEARNER)
    if trained is not None and LEARNER not in policies:
        policies[LEARNER] = {**trained, "version": trained.get("version") or before["version"]}
    content["scales"][scale.difficulty] = {**told, "policies": policies}
    folder.mkdir(parents=True, exist_ok=True)
    files.write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())
    return path


def environments() -> dict[str, dict[str, Baseline]]:
    """Return the baselines of every environment with a goal, by name, through the task that it belongs to."""
    baselines, found = load_baselines(), {}
    tasks = load_tasks()
    for name in tasks:
        source = tasks[name].source
        if tasks[name].kind == "agent" and issubclass(family_class(source), GoalFamily):
            found[source] = {full.partition("/")[2]: baselines[full] for full in baselines.names(name)}
    return found


def table() -> str:
    """Return all scales as a Markdown table: mean returns with 95 % intervals, and the expert's normalised return."""
    columns = ("no-op", "random", "blind", "expert", "learner", "oracle")
    lines = [f"| environment | difficulty | {' | '.join(columns)} | expert, normalised |", "|---" * (len(columns) + 3) + "|"]
    for path in sorted(FOLDER.glob("*.json")):
        name = f"stemtwin/{path.stem}"
        for difficulty in json.loads(path.read_text(encoding="utf-8"))["scales"]:
            scale = reference(name, difficulty)
            cells = [_cell(scale.policies.get(column)) for column in columns]
            lines.append(f"| `{name}` | {difficulty} | {' | '.join(cells)} | {scale.normalized(scale.policies['expert'].mean):.2f} |")
    return "\n".join(lines)


def _cell(policy: PolicyReturn | None) -> str:
    return "" if policy is None else f"{policy.mean:.3f} ({policy.low:.3f} to {policy.high:.3f})"


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the scales."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("environments", nargs="*", help="ids; all with a goal where none is named")
    parser.add_argument("--episodes", type=int, default=EPISODES)
    parser.add_argument("--difficulties", nargs="+", default=list(DIFFICULTIES))
    parser.add_argument("--table", action="store_true", help="print the table of docs/environments.md and measure nothing")
    given = parser.parse_args(arguments)
    if given.table:
        sys.stdout.write(f"{table()}\n")
        return
    known = environments()
    asked = given.environments or list(known)
    try:
        check_asked(asked, known, given.difficulties, given.episodes)
    except StemtwinError as error:
        parser.error(str(error))
    for name in asked:
        for difficulty in given.difficulties:
            scale = measure(name, difficulty, known[name], seeds=range(given.episodes), tell=_tell)
            _tell(f"wrote {save(scale)}")


def check_asked(asked: Iterable[str], known: Collection[str], difficulties: Iterable[str], episodes: int) -> None:
    """Refuse what cannot be measured, before anything is.

    Raises
    ------
    StemtwinError
        An environment has no goal or does not exist, a preset does not exist, or the number of episodes is below 1.
    """
    checks.whole("episodes", episodes, low=1)
    for name in asked:
        one_of("environment", name, known)
        for difficulty in difficulties:
            one_of("difficulty", difficulty, family_class(name).PRESETS)  # type: ignore[attr-defined] - a family with a goal


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
