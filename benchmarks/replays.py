"""Replays of stored runs: the recorded actions are played again, and the results are compared.

With the versions and the processor of the run, all observations must be equal. With other versions or another processor, the score and the initial
truth must agree within a tolerance.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stemtwin.benchmarks.episodes import Episode, play_again, read_episodes
from stemtwin.benchmarks.report import Report, provenance, read_report
from stemtwin.benchmarks.runner import score_episodes
from stemtwin.benchmarks.seed_keys import SeedKeys
from stemtwin.benchmarks.tasks import Task, load_tasks
from stemtwin.twin.errors import SubmissionError

TOLERANCE = 1e-3
"""Largest difference of the score of a replay with other versions or another processor."""
TRUTH_TOLERANCE = 1e-6
"""Largest relative difference of the initial truth in that case."""
EXACT = tuple(field.name for field in dataclasses.fields(Episode))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """Result of a replay.

    Parameters
    ----------
    episodes, exact : int
        Number of replayed episodes, and number of those that equal the recorded episode to the last bit, including the hash of observations.
    same_machine : bool
        Whether versions and processor are those of the run. If so, everything must be equal.
    score, again : float
        Primary scores of the report and of the replay.
    """

    episodes: int
    exact: int
    same_machine: bool
    score: float
    again: float

    @property
    def text(self) -> str:
        """Summary in one sentence."""
        if self.exact == self.episodes:
            return f"{self.episodes} episodes played again: every observation, truth and cost is the same to the last bit, score {self.again:.6g}"
        apart = abs(self.score - self.again)
        return (
            f"{self.episodes} episodes played again with other versions or another processor: {self.exact} are the same to the last bit, the others "
            f"begin with the same truth; score {self.again:.6g}, {apart:.2g} from the report's {self.score:.6g} (limit {TOLERANCE:g})"
        )


def find_reported_task(report: Report) -> Task:
    """Return the task of a report, in the version that the report names.

    Raises
    ------
    SubmissionError
        This package does not have that version.
    """
    tasks = load_tasks()
    found = next((tasks[name] for name in tasks if (tasks[name].name, tasks[name].major) == (report.task, report.major)), None)
    if found is None or found.kind != "agent":
        message = f"{report.task}@{report.major} is not an agent task of this version. Replay it with stemtwin {report.provenance.version}."
        raise SubmissionError(message)
    return found


def replay_run(
    folder: Path | str, *, keys: SeedKeys | None = None, progress: Callable[[int, int], None] | None = None, make: Callable[[Task], Any] | None = None
) -> Replay:
    """Play the episodes of a run again and compare the results with the recorded ones.

    Parameters
    ----------
    folder : path
        Folder with ``report.json`` and ``episodes.json``, as ``stemtwin eval --output`` writes it.
    keys : SeedKeys, optional
        Keys of hidden episodes, once they are published.
    progress : callable, optional
        Called with the number of finished episodes and the total number.
    make : callable, optional
        Function that makes the environment of a task.

    Raises
    ------
    SubmissionError
        A file is missing or wrong, the actions are not those of the report, or a value that must be equal differs.
    """
    folder = Path(folder)
    report, kept = read_report(folder / "report.json"), read_episodes(folder / "episodes.json")
    if not kept:
        message = f"{folder / 'episodes.json'} contains no episodes. Give the folder of a run of an agent."
        raise SubmissionError(message)
    task = find_reported_task(report)
    same = same_machine(report)
    check_keys(report, keys)
    again = []
    for number, one in enumerate(play_again(task, kept, split=report.source.split, make=make, keys=keys), start=1):
        _compare(kept[number - 1], one, same)
        again.append(one)
        if progress:
            progress(number, len(kept))
    return _result(task, report, kept, again, keys, same)


def _result(task: Task, report: Report, kept: Sequence[Episode], again: Sequence[Episode], keys: SeedKeys | None, same: bool) -> Replay:
    """Return the result; raise SubmissionError where actions or score are not those of the report."""
    score, found = report.primary.value, []
    for episodes in (kept, again):
        made = score_episodes(
            task, tuple(episodes), split=report.source.split, entry=report.entry, trust=report.trust, team=report.team, wall_s=0.0, keys=keys
        )
        if made.report.artefact_sha256 != report.artefact_sha256 or made.report.comparability_key != report.comparability_key:
            message = f"{report.entry!r}: the report does not belong to these episodes. Give the folder as 'stemtwin eval' wrote it."
            raise SubmissionError(message)
        found.append(made.report.primary.value)
    if (score is None) != (found[1] is None) or (score is not None and not all(abs(score - one) <= TOLERANCE for one in found)):
        message = f"{report.entry!r}: the report has {report.primary.name} {score}, but its episodes give {found[0]} and the replay {found[1]}."
        raise SubmissionError(message)
    exact = sum(_difference(one, other) is None for one, other in zip(kept, again, strict=True))
    value = math.nan if score is None else score
    return Replay(episodes=len(kept), exact=exact, same_machine=same, score=value, again=math.nan if found[1] is None else found[1])


def check_keys(report: Report, keys: SeedKeys | None) -> None:
    """Raise SubmissionError if the keys are not those of a report; a report with public seeds has no keys."""
    commitment = report.provenance.seeds.get("commitment")
    if commitment is None and keys is not None:
        message = f"{report.entry!r} was played with public seeds. Replay it without keys."
        raise SubmissionError(message)
    if commitment is not None and (keys is None or keys.commitment != commitment):
        given = "no keys were given" if keys is None else f"the given keys have the commitment {keys.commitment[:12]}..."
        message = (
            f"{report.entry!r} was played with hidden seeds and needs the keys with the commitment {str(commitment)[:12]}..., but {given}. "
            "Give the keys of its event."
        )
        raise SubmissionError(message)


def same_machine(report: Report) -> bool:
    """Return True if the present versions and processor are those with which a report was made."""
    then, now = report.provenance, provenance(seeds={}, wall_s=0.0)
    return bool(then.machine) and all(getattr(then, name) == getattr(now, name) for name in ("version", "python", "numpy", "git_commit", "machine"))


def _difference(episode: Episode, again: Episode) -> str | None:
    """Return the name of the first field that differs."""
    return next((name for name in EXACT if getattr(again, name) != getattr(episode, name)), None)


def _compare(episode: Episode, again: Episode, same: bool) -> None:
    """Raise SubmissionError where a value of an episode differs that must be equal."""
    wrong = _difference(episode, again)
    if wrong is None:
        return
    where = f"episode {episode.number}" + (f", attempt {episode.attempt}" if episode.attempt else "")
    if same:
        message = f"{where}: the replay differs in {wrong!r}, although versions and processor are the same. Give the unmodified run."
        raise SubmissionError(message)
    if not _alike(episode.start, again.start) or episode.actions != again.actions:
        message = f"{where}: the initial truth or the actions of the replay differ from those of the run. Replay it with the versions in its report."
        raise SubmissionError(message)


def _alike(one: dict[str, float], other: dict[str, float]) -> bool:
    """Return whether two truths have the same names and nearly the same numbers."""
    return one.keys() == other.keys() and all(math.isclose(one[name], other[name], rel_tol=TRUTH_TOLERANCE, abs_tol=TRUTH_TOLERANCE) for name in one)
