"""Measurement of the returns of baselines in environments with a goal.

The returns of all baselines on one preset of an environment form a scale, which ``stemtwin.reference`` returns.
``python -m stemtwin.benchmarks.returns`` takes every environment with a goal, plays all baselines of its tasks over the same episodes,
stores the episodes (:mod:`~stemtwin.benchmarks.kept_runs`), and writes ``twin/envs/scales/<environment>.json``. ``make baselines`` runs
this command. It states the expected time at the start, resumes after an interruption, and reports scales that miss a requirement
(:func:`~stemtwin.benchmarks.return_statistics.failings`).
"""

import argparse
import dataclasses
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import gymnasium

from stemtwin.benchmarks import kept_runs, return_tables
from stemtwin.benchmarks.agents import Baseline, brief_for, load_baselines
from stemtwin.benchmarks.kept_runs import RUNS, EpisodeRecorder, KeptEpisode, KeptRun, run_path
from stemtwin.benchmarks.return_statistics import EXPERT, LEARNER, failings, scale_of, summary
from stemtwin.benchmarks.tasks import load_tasks, tasks_of
from stemtwin.twin import checks, files
from stemtwin.twin.envs.arguments import OBSERVATIONS, one_of
from stemtwin.twin.envs.goal_family import GoalFamily
from stemtwin.twin.envs.making import family_class
from stemtwin.twin.envs.reference import FOLDER, ReturnScale, reference
from stemtwin.twin.errors import DatasetError, StemtwinError, UnknownNameError

EPISODES, FEW, SLOW_S = 100, 30, 20.0
"""Number of episodes of each policy; number if an episode of the expert takes more than a processor time; this time, s."""
MORE = {"stemtwin/HypothesisTest-v1": 400}
"""Number of episodes for environments with cheap episodes (milliseconds) that end by chance, which scatters returns more than presets differ."""
PILOT, QUIET_S, KEEP_S = 2, 10.0, 60.0
"""Number of episodes from which the time is estimated; times between reports of progress and between copies of an unfinished run, s."""
ARGUMENTS: dict[str, Any] = {"split": "val"}
"""Arguments of the environments on the scale besides the difficulty: episodes of the validation split."""
ORDERED = 3
"""Number of the ordered presets, which a family names first; these are measured by default."""


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
    error : float, optional
        Distance from the goal at the end; None if it was not recorded.
    """

    total: float
    steps: int
    success: bool
    error: float | None = None


class Watcher(Protocol):
    """Observer of an episode."""

    def begin(self, observation: Any, info: Mapping[str, Any]) -> None:
        """Record the result of ``reset``."""

    def add(self, action: Any, result: tuple[Any, Any, bool, bool, Mapping[str, Any]]) -> None:
        """Record an action and the result of ``step``."""


def play(environment: gymnasium.Env, agent: Any, *, seed: int, task: str, oracle: bool = False, watcher: Watcher | None = None) -> PlayedEpisode:
    """Play one episode of an agent and return the result.

    The environment must have been made with ``privileged_info=True``. The agent receives the observations and the costs, but not the privileged
    information. If ``oracle`` is True, the agent can read the truth with the function ``truth`` of its brief.

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
        Whether the brief of the agent contains the function ``truth``, which returns true values.
    watcher : Watcher, optional
        Observer of the episode.
    """
    observation, info = environment.reset(seed=seed)
    if watcher is not None:
        watcher.begin(observation, info)
    door: Callable[[], dict[str, float]] | None = environment.get_wrapper_attr("truth") if oracle else None
    agent.reset(brief_for(environment, task=task, seed=agent_seed(seed), truth=door))
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


def measure(
    environment: str,
    difficulty: str,
    policies: Mapping[str, Baseline],
    *,
    episodes: int | None = None,
    arguments: Mapping[str, Any] | None = None,
    tell: Callable[[str], None],
    folder: Path = RUNS,
) -> ReturnScale:
    """Play every policy over the same episodes, store the runs, and return their scale.

    An interrupted measurement can be resumed; at most the episodes of its last minute are played again. The stored episodes of a policy are
    reused if the policy's first two episodes, played again, are the same.

    Parameters
    ----------
    environment : str
        Id of the environment.
    difficulty : str
        Preset of the family.
    policies : mapping
        Baselines by name.
    episodes : int, optional
        Number of episodes, whose seeds count up from 0. The default is 400 for ``stemtwin/HypothesisTest-v1``. For all other environments, it is
        100, or 30 if an episode of the expert takes more than 20 s of CPU time.
    arguments : mapping, optional
        Further arguments of ``gymnasium.make``, by default those of :func:`arguments_of` for the usual form of observation.
    tell : callable
        Called with a line of progress before the measurement starts, while it runs, and after each policy.
    folder : Path
        Folder of the stored runs.
    """
    blank = KeptRun(environment=environment, difficulty=difficulty, policy="", arguments=dict(arguments or ARGUMENTS), cpu_s=0.0, episodes=())
    env, where = blank.make(), f"{environment} {difficulty}"
    pilots = {name: Pilot(env, policy, min(PILOT, episodes or PILOT)) for name, policy in policies.items()}
    slowest = pilots[EXPERT].cpu_s if EXPERT in pilots else 0.0
    count = episodes or MORE.get(environment) or (FEW if slowest > SLOW_S else EPISODES)
    minutes = {name: one.cpu_s * count / 60 for name, one in pilots.items()}
    tell(f"{where}: {len(policies)} policies, {count} episodes each, about {sum(minutes.values()):.1f} min of CPU")
    runs = {}
    for name, pilot in pilots.items():
        path = run_path(environment, difficulty, name, folder, blank.observation).with_suffix(kept_runs.UNFINISHED)
        begun = _resumed(path, blank, pilot, count) or dataclasses.replace(blank, policy=name, episodes=tuple(pilot.first[:count]), cpu_s=pilot.cpu_s)
        run = begun
        for run in pilot.rest(begun, count, lambda line, name=name: tell(f"{where} {name:>12}: {line}")):
            kept_runs.save(run, path)
        one = summary(run.episodes, clusters=run.scenes)
        told = f"{one.mean:7.3f} ({one.low:.3f} to {one.high:.3f}), IQM {one.iqm:.3f}, success {one.success:.2f}, {one.steps:.1f} steps"
        tell(f"{where} {name:>12}: {told}, {run.cpu_s:.3g} s of CPU each")
        runs[name] = run
    env.close()
    kept_runs.finish(runs.values(), folder)
    return scale_of(runs)


class Pilot:
    """Episodes of a policy: the first ones, from which the total time is estimated, and the remaining ones.

    Parameters
    ----------
    environment : gymnasium.Env
        The environment.
    policy : Baseline
        The policy.
    count : int
        Number of first episodes; only the last of these is timed, because an earlier one may include preparations.
    """

    def __init__(self, environment: gymnasium.Env, policy: Baseline, count: int) -> None:
        self.environment, self.policy, self.agent = environment, policy, policy.factory()
        self.recorder, self.cpu_s = EpisodeRecorder.of(environment), 0.0
        self.first = [self._played(seed) for seed in range(count)]

    def rest(self, begun: KeptRun, count: int, tell: Callable[[str], None]) -> Iterator[KeptRun]:
        """Play the remaining episodes of a run, and yield the run so far every minute and at the end.

        ``tell`` is called with a line of progress every ten seconds.
        """
        found, kept = list(begun.episodes), time.monotonic()
        told, spent = kept, begun.cpu_s * (len(found) - PILOT)
        for seed in range(len(found), count):
            if time.monotonic() - told > QUIET_S:
                told = time.monotonic()
                tell(f"{seed} of {count} episodes, about {self.cpu_s * (count - seed) / 60:.1f} min of CPU left")
            found.append(self._played(seed))
            spent += self.cpu_s
            if time.monotonic() - kept > KEEP_S and seed + 1 < count:
                kept = time.monotonic()
                yield dataclasses.replace(begun, episodes=tuple(found), cpu_s=spent / (len(found) - PILOT))
        each = spent / (count - PILOT) if count > PILOT else self.cpu_s
        yield dataclasses.replace(begun, episodes=tuple(found), cpu_s=round(each, 3))

    def _played(self, seed: int) -> KeptEpisode:
        began = time.process_time()
        play(self.environment, self.agent, seed=seed, task=self.policy.task, oracle=self.policy.oracle, watcher=self.recorder)
        self.cpu_s = time.process_time() - began
        return self.recorder.episode(seed)


def _resumed(path: Path, blank: KeptRun, pilot: Pilot, count: int) -> KeptRun | None:
    """Return the kept part of a run that was interrupted, or None if there is none or it belongs to another run."""
    try:
        run = kept_runs.read(path)
    except DatasetError:
        return None
    fits = (run.arguments, run.version) == (blank.arguments, blank.version) and min(PILOT, count) <= len(run.episodes) <= count
    fits = fits and run.seeds == tuple(range(len(run.episodes)))
    return run if fits and all(kept_runs.same(*each) for each in zip(pilot.first, run.episodes, strict=False)) else None


def save(scale: ReturnScale, folder: Path = FOLDER) -> Path:
    """Write a scale into the file of its environment and return the path.

    If the scale has no trained policy, the trained policy's returns that are already in the file stay there.
    """
    path = folder / f"{scale.environment.partition('/')[2]}.json"
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"environment": scale.environment, "scales": {}}
    form = scale.arguments.get("observation")
    scales = content["scales"] if form is None else content.setdefault("forms", {}).setdefault(form, {})
    before = scales.get(scale.difficulty, {"version": "", "policies": {}})
    measured = dataclasses.asdict(scale)
    told = {name: measured[name] for name in ("arguments", "seeds", "version")}
    policies = {name: {key: value for key, value in one.items() if value is not None} for name, one in measured["policies"].items()}
    trained = before["policies"].get(LEARNER)
    if trained is not None and LEARNER not in policies:
        policies[LEARNER] = {**trained, "version": trained.get("version") or before["version"]}
    scales[scale.difficulty] = {**told, "policies": policies, "paired": measured["paired"]}
    folder.mkdir(parents=True, exist_ok=True)
    files.write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())
    return path


def environments() -> dict[str, dict[str, Baseline]]:
    """Return the baselines of every environment with a goal, as dicts by environment and name.

    The baselines of an environment are those of all its tasks.
    """
    baselines, found = load_baselines(), {}
    tasks = load_tasks()
    for source in dict.fromkeys(tasks[name].source for name in sorted(tasks) if tasks[name].kind == "agent"):
        if issubclass(family_class(source), GoalFamily):
            found[source] = {}
            for full in (full for task in tasks_of(source) for full in baselines.names(task.registered)):
                found[source].setdefault(full.partition("/")[2], baselines[full])
    return found


def main(arguments: list[str] | None = None) -> None:
    """Measure the returns of baselines and write them to ``twin/envs/scales``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("environments", nargs="*", help="ids of environments (default: all environments with a goal)")
    parser.add_argument(
        "--episodes",
        type=int,
        help=f"number of episodes (default: {EPISODES}; {FEW} if an episode of the expert takes more than {SLOW_S:g} s of CPU; "
        f"{max(MORE.values())} for {', '.join(MORE)})",
    )
    parser.add_argument("--difficulties", nargs="+", help="difficulty presets (default: all presets)")
    parser.add_argument("--table", action="store_true", help="print the tables of docs/environments.md and measure nothing")
    parser.add_argument("--rescore", action="store_true", help="recompute the scales from the stored runs and measure nothing")
    parser.add_argument("--policies", nargs="+", help="play only these policies; the stored runs of all other policies are kept")
    parser.add_argument("--observation", choices=OBSERVATIONS, help="measure with this form of observation instead of the environment's usual form")
    given = parser.parse_args(arguments)
    if given.table:
        sys.stdout.write(f"{return_tables.tables()}\n")
        return
    known = environments()
    asked = given.environments or list(known)
    try:
        check_asked(asked, known, given.difficulties or (), EPISODES if given.episodes is None else given.episodes, given.policies or ())
    except StemtwinError as error:
        parser.error(str(error))
    for name in asked:
        for difficulty in given.difficulties or (kept_runs.presets(name) if given.rescore else presets(name)):
            policies = {one: known[name][one] for one in given.policies or known[name]}
            if not given.rescore:
                measure(name, difficulty, policies, episodes=given.episodes, arguments=arguments_of(given.observation), tell=_tell)
            for form in forms(name, difficulty) if given.rescore else (given.observation,):
                try:
                    _tell(f"wrote {save(rescored(name, difficulty, observation=form))}")
                except DatasetError as error:
                    parser.exit(1, f"{error}\n")
        for failing in missed(name) if (FOLDER / f"{name.partition('/')[2]}.json").exists() else ():
            _tell(f"REQUIREMENT MISSED: {failing}")


def arguments_of(observation: str | None) -> dict[str, Any]:
    """Return the arguments of ``gymnasium.make``, besides the difficulty, with which returns are measured.

    ``observation`` is the form of observation; None is the usual form of the environment.
    """
    return ARGUMENTS if observation is None else {**ARGUMENTS, "observation": observation}


def forms(environment: str, difficulty: str, folder: Path = RUNS) -> list[str | None]:
    """Return the forms of observation for which a preset has stored runs; None is the usual form."""
    return [form for form in (None, *OBSERVATIONS) if kept_runs.kept_paths(environment, difficulty, folder, form)]


def presets(environment: str) -> tuple[str, ...]:
    """Return all presets of a family: first those that differ only in difficulty, the easiest first, then those with a goal of their own."""
    return tuple(family_class(environment).PRESETS)  # type: ignore[attr-defined] - a family with a goal


def ordered(environment: str) -> tuple[str, ...]:
    """Return the presets of a family that differ only in difficulty, from the easiest to the hardest."""
    return presets(environment)[:ORDERED]


def missed(environment: str) -> list[str]:
    """Return a sentence for each violated requirement on the scales of returns of a family.

    The requirements are those of :func:`~stemtwin.benchmarks.return_statistics.failings`. Presets that differ only in difficulty are checked
    together, because the returns on each of them must differ significantly from those on the next harder one. Each preset with a goal of its own is
    checked alone and not compared with other presets.
    """
    groups = [ordered(environment), *((other,) for other in presets(environment)[ORDERED:])]
    return [line for group in groups for line in failings([reference(environment, difficulty) for difficulty in group])]


def rescored(environment: str, difficulty: str, folder: Path = RUNS, observation: str | None = None) -> ReturnScale:
    """Return the scale of returns that follows from the stored runs of a preset.

    Raises
    ------
    UnknownNameError
        No run is stored.
    DatasetError
        The policies were played in different episodes.
    """
    runs = kept_runs.read_all(environment, difficulty, folder, observation)
    if not runs:
        message = f"No runs of {environment} of difficulty={difficulty!r} are kept in {folder}. Play them with 'make baselines'."
        raise UnknownNameError(message)
    return scale_of(runs)


def check_asked(
    asked: Iterable[str], known: Mapping[str, Mapping[str, Baseline]], difficulties: Iterable[str], episodes: int, policies: Iterable[str] = ()
) -> None:
    """Refuse impossible measurements before any is started.

    Raises
    ------
    StemtwinError
        An environment has no goal or does not exist, a preset or a policy does not exist, or the number of episodes is below 1.
    """
    checks.whole("episodes", episodes, low=1)
    for name in asked:
        one_of("environment", name, known)
        for policy in policies:
            one_of("policy", policy, known[name])
        for difficulty in difficulties:
            one_of("difficulty", difficulty, family_class(name).PRESETS)  # type: ignore[attr-defined] - a family with a goal


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
