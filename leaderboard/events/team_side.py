"""The teams' side of an opened bundle: answer its rows, and check a submission before it is handed in."""

from collections.abc import Iterable
from pathlib import Path

from stemtwin.benchmarks.runner import EpisodeProgress, load_samples, predict, resolve, score_submission
from stemtwin.benchmarks.submission import read_header, read_submission, write_submission
from stemtwin.benchmarks.tasks import Task, find_task
from stemtwin.leaderboard.events.folders import OPENED, PRACTICE, SUBMISSIONS, open_folder
from stemtwin.leaderboard.events.hidden_tasks import hidden_task
from stemtwin.leaderboard.events.settings import EventTask
from stemtwin.leaderboard.events.submissions import Handed, digest_of, part_of
from stemtwin.twin.errors import DatasetError, SettingsError, SubmissionError


def answer(
    opened: Path,
    task: str,
    target: Path,
    *,
    baseline: str | None = None,
    agent: str | None = None,
    progress: EpisodeProgress | None = None,
) -> int:
    """Answer the hidden rows of a task by a baseline or by a class, write the submission, and return the number of rows.

    Parameters
    ----------
    opened : Path
        Content of the bundle.
    task : str
        A prediction task of the event.
    target : Path
        Folder of the submission, ``submissions/TEAM/NAME``.
    baseline, agent : str
        One of them: a baseline, or ``pkg.mod:Name``.
    progress : callable, optional
        Called with the rows done and all rows.

    Raises
    ------
    SettingsError
        The event has no such task, or the baseline reads the truth, which is not there.
    """
    event = open_folder(opened).event
    part = event.task(task)
    if not isinstance(part, EventTask):
        message = f"{task!r} is played by an agent. Hand in its folder with agent.toml."
        raise SettingsError(message)
    hidden = hidden_task(event, part)
    entry, trust = resolve(hidden.task, baseline=baseline, agent=agent)
    if trust == "oracle":
        message = f"baseline {baseline!r} reads the truth, which the bundle does not hold. Name another: see 'stemtwin task {task}'."
        raise SettingsError(message)
    found = predict(hidden.task, entry, hidden.given(opened), progress=progress)
    team, name = target.resolve().parent.name, target.resolve().name
    write_submission(target, hidden.task, found, split=hidden.split, size=hidden.size, name=name, team=team)
    return len(found)


def check_submission(event_folder: Path, folder: Path) -> str:
    """Check a submission as scoring will, without the truth, and return a sentence; a practice table is scored on the public rows.

    Nothing of the submission is run.

    Parameters
    ----------
    event_folder : Path
        Folder of the event, with the content of the bundle in ``opened``; or that content.
    folder : Path
        Folder of the submission.

    Raises
    ------
    SubmissionError
        The first thing that is wrong.
    SettingsError
        The bundle is not opened yet.
    """
    folder = folder.resolve()
    handed = Handed(team=folder.parent.name, name=folder.name, folder=folder, digest=digest_of(folder))
    if not handed.agent:
        header = read_header(folder)
        task = find_task(header.task.partition("/")[0])
        if header.dataset == f"{task.source}@{task.source_version}":
            return f"{handed.label}: {_practise(folder, task)}"
    return check_handed(event_folder, handed)


def check_handed(event_folder: Path, handed: Handed) -> str:
    """Check a submission to the hidden rows or episodes of an event as scoring will, without the truth, and return a sentence.

    Parameters
    ----------
    event_folder : Path
        Folder of the event, with the content of the bundle in ``opened``; or that content.
    handed : Handed
        The submission.

    Raises
    ------
    SubmissionError
        The first thing that is wrong.
    SettingsError
        The bundle is not opened yet.
    """
    event = open_folder(event_folder).event
    opened = event_folder / OPENED if (event_folder / OPENED).is_dir() else event_folder
    part = part_of(event, handed)
    if not isinstance(part, EventTask):
        return f"{handed.label}: an agent for {part.task}, its header is right; it is run by the organiser"
    hidden = hidden_task(event, part)
    try:
        given = hidden.given(opened)
    except DatasetError:
        message = f"{opened} does not hold the rows of {part.task}. Open the bundle first: 'stemtwin event open {event_folder}'."
        raise SettingsError(message) from None
    submission = hidden.read(handed.folder, given)
    return f"{handed.label}: answers to all {len(submission.found)} rows of {part.task}; they are scored by the organiser"


def _practise(folder: Path, task: Task) -> str:
    """Score a table of answers to public rows, and return the words about it."""
    header = read_header(folder, task)
    data = load_samples(task, split=header.split, size=header.size)
    primary = score_submission(task, data, read_submission(folder, task, data)).report.primary
    shown = "no value" if primary.value is None else f"{primary.value:.4g}"
    return f"practice on public rows, {primary.name} {shown}; never ranked"


def changed_folders(paths: Iterable[str]) -> list[str]:
    """Return the submission folders, ``submissions/TEAM/NAME`` or ``practice/TEAM/NAME``, that changed files lie in.

    Raises
    ------
    SubmissionError
        A file lies elsewhere.
    """
    found = set()
    for path in paths:
        parts = path.split("/")
        if len(parts) < 4 or parts[0] not in (SUBMISSIONS, PRACTICE) or not all(parts) or {".", ".."} & set(parts):
            message = f"{path!r} lies outside {SUBMISSIONS}/TEAM/NAME and {PRACTICE}/TEAM/NAME. Change files of a submission only."
            raise SubmissionError(message)
        found.add("/".join(parts[:3]))
    return sorted(found)
