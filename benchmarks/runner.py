"""Evaluation of entries: predictions are scored against the truth of a dataset, and agents are run and scored over a fixed list of episodes."""

import contextlib
import dataclasses
import hashlib
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.benchmarks.agents import Baseline, find_baseline, load_entry_point, make_entry
from stemtwin.benchmarks.attempts import combine_attempts, reliability
from stemtwin.benchmarks.episodes import Episode, TaskEnvironments, run_episode, write_episodes
from stemtwin.benchmarks.isolation.agent_process import AgentProcess
from stemtwin.benchmarks.method_notes import shown_notes
from stemtwin.benchmarks.report import Isolation, Report, Source, Trust, build_report
from stemtwin.benchmarks.seed_keys import SeedKeys
from stemtwin.benchmarks.slices import SampleStatistics
from stemtwin.benchmarks.statistics import SEED
from stemtwin.benchmarks.submission import Submission, write_submission
from stemtwin.benchmarks.tasks import Task
from stemtwin.twin.errors import SettingsError, SubmissionError
from stemtwin.twin.files import check_writable, replacing

if TYPE_CHECKING:
    import xarray as xr

EpisodeProgress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Evaluation:
    """A report and the data from which it was made.

    Parameters
    ----------
    report : Report
        The score report.
    samples : SampleStatistics
        Additive statistics of every sample or episode.
    found : dict, optional
        Answers by sample id; None for an agent task.
    episodes : tuple of Episode
        All episodes of the run; empty for a prediction task.
    """

    report: Report
    samples: SampleStatistics
    found: dict[str, Any] | None = None
    episodes: tuple[Episode, ...] = ()


def resolve(task: Task, *, baseline: str | None = None, agent: str | None = None) -> tuple[Baseline, Trust]:
    """Return the entry for the name of a baseline or for an address ``pkg.mod:Name``, and the level of trust in the entry's score."""
    if baseline is not None and agent is None:
        found = find_baseline(task.registered, baseline)
        return found, "oracle" if found.oracle else "baseline"
    if agent is None or baseline is not None:
        message = f"baseline={baseline!r} and agent={agent!r}: give exactly one of them."
        raise SettingsError(message)
    return Baseline(task=task.name, name=agent, text="foreign code", factory=load_entry_point(agent)), "practice"


def load_samples(task: Task, *, split: str, size: str) -> "xr.Dataset":
    """Return the samples of a prediction task's split, truth included."""
    from stemtwin.datasets.catalog import load_dataset

    return load_dataset(task.source, version=task.source_version, size=size, split=task.check_split(split), format="xarray")


def predict(task: Task, entry: Baseline, data: "xr.Dataset", *, seed: int = 0, progress: EpisodeProgress | None = None) -> dict[str, Any]:
    """Return the answers of an entry to every sample; an entry receives the inputs of the task, and only an oracle also receives the truth.

    Raises
    ------
    SubmissionError
        An answer is not of the form that the task requests.
    """
    ids = data["sample_id"].values.astype(str)
    columns = {field.name: data[field.name] for field in task.inputs}
    truths = _truths(task, data) if entry.oracle else None
    predictor = make_entry(entry, task.kind)
    streams = np.random.SeedSequence(seed).spawn(len(ids))
    found = {}
    for i, name in enumerate(ids.tolist()):
        given = {key: column[i].values[()] for key, column in columns.items()} | ({"truth": truths[i]} if truths is not None else {})
        found[name] = predictor.predict(given, np.random.Generator(np.random.Philox(streams[i])))
        if progress:
            progress(i + 1, len(ids))
    return task.form.checked(found, data, entry.name)


def _truths(task: Task, data: "xr.Dataset") -> Sequence[Any]:
    """Return the truth of every sample, for an oracle."""
    if task.truth is None:
        message = f"Task {task.name!r} has no truth for oracles. Set its truth= to a function of the samples."
        raise SettingsError(message)
    return task.truth(data)


def score_predictions(
    task: Task,
    data: "xr.Dataset",
    found: Mapping[str, Any],
    *,
    split: str,
    size: str,
    entry: str,
    trust: Trust,
    team: str = "",
    started: float | None = None,
) -> Evaluation:
    """Score answers against the truth of the dataset.

    Parameters
    ----------
    task : Task
        A prediction task.
    data : Dataset
        The samples of the split.
    found : mapping
        Answers by sample id.
    split, size : str
        Split and size of the data.
    entry, team : str
        Names of the entry and of its team.
    trust : str
        Level of trust in the score, see :class:`stemtwin.benchmarks.report.Report`.
    started : float, optional
        Value of ``time.perf_counter()`` at which the measured wall time began.

    Raises
    ------
    SubmissionError
        The ids are not exactly those of the data.
    """
    began = time.perf_counter() if started is None else started
    _check_ids(data, found, split)
    missing = task.form.missing(found)
    samples = task.score(data, found)
    samples = dataclasses.replace(samples, not_given=tuple(metric.name for metric in task.metrics if missing.intersection(metric.needs)))
    clusters = len(np.unique(samples.clusters))
    version = task.source_version
    source = Source(name=task.source, version=version, size=size, split=split, sha256=task.content_hash(data), n=len(samples), n_clusters=clusters)
    wall = time.perf_counter() - began
    report = build_report(
        task,
        samples,
        source=source,
        entry=entry,
        team=team,
        trust=trust,
        artefact_sha256=task.form.digest(found),
        cost={"wall_s_per_sample": wall / max(len(samples), 1)},
        seeds={"bootstrap": SEED, "predictor": 0},
        wall_s=wall,
    )
    return Evaluation(report=report, samples=samples, found=dict(found))


def _check_ids(data: "xr.Dataset", found: Mapping[str, Any], split: str) -> None:
    """Raise SubmissionError unless the answers are for exactly the samples of the data."""
    odd = sorted(set(data["sample_id"].values.astype(str).tolist()) ^ set(found))
    if odd:
        told = f"{len(odd)} sample ids differ between the answers and the {split} split; the first is {odd[0]!r}."
        message = f"{told} Give one answer for each sample of the split."
        raise SubmissionError(message)


def score_submission(task: Task, data: "xr.Dataset", submission: Submission) -> Evaluation:
    """Score a submission that was read and checked."""
    header = submission.header
    split, size = header.split, header.size
    scored = score_predictions(task, data, submission.found, split=split, size=size, entry=header.name, team=header.team, trust="scored")
    return dataclasses.replace(scored, report=dataclasses.replace(scored.report, method=shown_notes(header.method)))


def run_agent(
    task: Task,
    entry: Baseline,
    trust: Trust,
    *,
    split: str | None = None,
    episodes: int | None = None,
    team: str = "",
    progress: EpisodeProgress | None = None,
    make: Callable[[Task], Any] | None = None,
    keys: SeedKeys | None = None,
    attempts: int = 1,
    kept: Sequence[Episode] = (),
    keep: Callable[[Episode], None] | None = None,
) -> Evaluation:
    """Run an entry over the episodes of a split, numbered from 0, and score it.

    The agent runs in this process, or in a process of its own if the entry makes an AgentProcess.

    Parameters
    ----------
    task : Task
        An agent task.
    entry : Baseline
        The agent.
    trust : str
        Level of trust in the score, see :class:`stemtwin.benchmarks.report.Report`.
    split : str, optional
        Split of the episodes; by default the first split of the task.
    episodes, attempts : int
        Number of episodes, by default the task's, and number of attempts at each episode.
    team : str
        Team of the entry.
    progress, make : callable
        ``progress`` is called with the number of finished episodes and the total number. ``make`` returns the environment of a task.
    keys : SeedKeys, optional
        Secret keys of hidden episodes. Only a report on hidden episodes may be ranked.
    kept : sequence of Episode
        Episodes of an earlier run that was interrupted; they are not played again.
    keep : callable, optional
        Called with every finished episode.
    """
    split, n = task.check_split(split or task.splits[0]), task.episodes if episodes is None else episodes
    if min(n, attempts) < 1:
        raise SettingsError(f"episodes={n} and attempts={attempts} must be at least 1.")  # noqa: EM102
    began, isolation = time.perf_counter(), ""
    done, environments = {(one.number, one.attempt): one for one in kept}, TaskEnvironments(task, make, keys)
    with contextlib.closing(environments):
        for attempt in range(attempts):
            agent = make_entry(entry, task.kind)  # a new one, which remembers nothing of the episodes that it meets again
            isolation = agent.level if isinstance(agent, AgentProcess) else ""
            options = {"split": split, "keys": keys, "count_failures": bool(isolation), "attempt": attempt}
            with contextlib.closing(agent) if isolation else contextlib.nullcontext():
                for number in range(n):
                    if (one := (number, attempt)) not in done:
                        done[one] = run_episode(task, entry, agent, environments.of_episode(number), number=number, **options)
                        _tell(keep, done[one])
                    _tell(progress, attempt * n + number + 1, n * attempts)
    found, wall = tuple(done[one] for one in itertools.product(range(n), range(attempts))), time.perf_counter() - began
    return score_episodes(task, found, split=split, entry=entry.name, trust=trust, team=team, wall_s=wall, keys=keys, isolation=isolation)


def _tell(call: Callable[..., None] | None, *told: Any) -> None:
    """Call a function unless it is None."""
    if call is not None:
        call(*told)


def score_episodes(
    task: Task,
    episodes: tuple[Episode, ...],
    *,
    split: str,
    entry: str,
    trust: Trust,
    team: str,
    wall_s: float,
    keys: SeedKeys | None = None,
    isolation: Isolation = "",
) -> Evaluation:
    """Score finished episodes; if a fault of the agent ended an episode, the primary metric of this episode is ``task.floor``."""
    count = max(episode.attempt for episode in episodes) + 1
    tries = [counted(task, [episode for episode in episodes if episode.attempt == attempt]) for attempt in range(count)]
    samples, first = combine_attempts(tries), [episode for episode in episodes if episode.attempt == 0]
    seeds: dict[str, str | int] = {
        "scheme": "hmac-sha256",
        **({"key": task.key} if keys is None else {"commitment": keys.commitment}),
        "message": f"{task.name}@{task.major}/{split}/<k>",
        "episodes": len(first),
        "bootstrap": SEED,
    }
    presets = [task.difficulty(episode.number) for episode in first] if task.difficulties else []
    derivation = json.dumps([task.source, [f"{episode.seed:032x}" for episode in first], *([presets] if presets else [])])
    source = Source(
        name=task.source,
        version=task.source.rpartition("-")[2],
        size=f"{len(first)} episodes",
        split=split,
        sha256=hashlib.sha256(derivation.encode()).hexdigest(),
        n=len(samples),
        n_clusters=len(np.unique(samples.clusters)),
        truth="public" if keys is None else "hidden",
    )
    played = json.dumps([[f"{episode.seed:032x}", episode.actions] for episode in episodes])
    cost = {name: float(np.mean([episode.cost[name] for episode in episodes])) for name in episodes[0].cost}
    cost["agent_wall_s"] = float(np.mean([episode.wall_s for episode in episodes]))
    report = build_report(
        task,
        samples,
        source=source,
        entry=entry,
        team=team,
        trust=trust,
        artefact_sha256=hashlib.sha256(played.encode()).hexdigest(),
        cost=cost,
        seeds=seeds,
        wall_s=wall_s,
    )
    failures = dict(sorted(Counter(episode.failure for episode in episodes if episode.failure).items()))
    repeated = reliability(task.primary, tries) if count > 1 else None
    return Evaluation(
        report=dataclasses.replace(report, isolation=isolation, failures=failures, attempts=repeated), samples=samples, episodes=episodes
    )


def counted(task: Task, episodes: Sequence[Episode]) -> SampleStatistics:
    """Return the additive statistics of episodes; an episode ended by a fault of the agent gets the values of the task's ``failed``."""
    samples = task.score(list(episodes))
    failed = np.array([bool(episode.failure) for episode in episodes])
    if not failed.any():
        return samples
    statistics = dict(samples.statistics)
    for name, value in task.failed.items():
        array = statistics[name]
        statistics[name] = np.where(failed.reshape(-1, *[1] * (array.ndim - 1)), value, array).astype(array.dtype)
    return dataclasses.replace(samples, statistics=statistics)


def evaluate(
    task: Task,
    *,
    baseline: str | None = None,
    agent: str | None = None,
    split: str | None = None,
    size: str = "std",
    episodes: int | None = None,
    team: str = "",
    progress: EpisodeProgress | None = None,
    measured: Path | str | None = None,
) -> Evaluation:
    """Run a baseline or a user's own code on a task, and score it.

    ``baseline`` is a name, ``agent`` an address of the form ``pkg.mod:Name``. If ``measured``, the folder of
    a measured dataset, is given, the entry runs on this dataset instead of the task's own data.
    """
    entry, trust = resolve(task, baseline=baseline, agent=agent)
    if measured is not None:
        return _evaluate_measured(task, entry, trust, measured, split=split, team=team, progress=progress)
    split = task.check_split(split or task.splits[0])
    if task.kind == "agent":
        return run_agent(task, entry, trust, split=split, episodes=episodes, team=team, progress=progress)
    if episodes is not None:
        message = f"episodes={episodes}: task {task.name!r} is scored on a dataset. Choose size= instead."
        raise SettingsError(message)
    data = load_samples(task, split=split, size=size)
    began = time.perf_counter()
    found = predict(task, entry, data, progress=progress)
    return score_predictions(task, data, found, split=split, size=size, entry=entry.name, trust=trust, team=team, started=began)


def _evaluate_measured(
    task: Task, entry: Baseline, trust: Trust, folder: Path | str, *, split: str | None, team: str, progress: EpisodeProgress | None
) -> Evaluation:
    """Run an entry on measured data and score it."""
    from stemtwin.benchmarks.measured import load_task, mark

    there, split, data = load_task(task, folder, split)
    began = time.perf_counter()
    found = predict(there, entry, data, progress=progress)
    size = data.attrs["size"]
    return mark(score_predictions(there, data, found, split=split, size=size, entry=entry.name, trust=trust, team=team, started=began), data)


def check_run(folder: Path | str) -> None:
    """Raise DatasetError if :func:`save_run` cannot write into a folder; the check is made before any other work."""
    folder = Path(folder)
    check_writable(folder, folder=True)
    for name in ("report.json", "samples.parquet", "episodes.json"):
        check_writable(folder / name)
    check_writable(folder / "submission", folder=True)


def save_run(folder: Path | str, task: Task, evaluation: Evaluation) -> Path:
    """Write ``report.json``, ``samples.parquet`` (statistics of every sample), and the answers: a submission folder, or ``episodes.json``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = Path(folder)
    report, samples = evaluation.report, evaluation.samples
    report.save(folder / "report.json")
    arrays = {"id": samples.ids, "cluster": samples.clusters, **samples.columns, **samples.statistics}
    with replacing(folder / "samples.parquet") as temporary:
        pq.write_table(pa.table({name: pa.array(array.tolist()) for name, array in arrays.items()}), temporary)
    if evaluation.found is not None:
        there = dataclasses.replace(task, source=report.source.name, source_version=report.source.version)  # measured data are not the task's own
        write_submission(
            folder / "submission", there, evaluation.found, split=report.source.split, size=report.source.size, name=report.entry, team=report.team
        )
    if evaluation.episodes:
        write_episodes(folder / "episodes.json", evaluation.episodes)
    return folder
