"""Commands for teams that have opened the bundle: answer the hidden rows, and check a submission before it is handed in."""

from collections.abc import Iterable
from pathlib import Path

from stemtwin.benchmarks.runner import EpisodeProgress, load_samples, predict, resolve, score_submission
from stemtwin.benchmarks.submission import named_task, read_header, read_submission, write_submission
from stemtwin.benchmarks.tasks import Task
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
    """Answer the hidden rows of a task with a baseline or a class, write the submission, and return the number of rows.

    Parameters
    ----------
    opened : Path
        Folder with the contents of the bundle.
    task : str
        Prediction task of the event.
    target : Path
        New folder of the submission, ``submissions/TEAM/NAME``.
    baseline, agent : str
        Name of a baseline, or of a class as ``pkg.mod:Name``; exactly one of the two must be given.
    progress : callable, optional
        Function of (done, total) that is called with the number of rows.

    Raises
    ------
    SettingsError
        The event has no such task, or the baseline needs the truth, which is not available.
    """
    event = open_folder(opened).event
    part = event.task(task)
    if not isinstance(part, EventTask):
        message = f"{task!r} needs an agent, not a table of answers. Hand in the agent's folder with agent.toml."
        raise SettingsError(message)
    hidden = hidden_task(event, part)
    entry, trust = resolve(hidden.task, baseline=baseline, agent=agent)
    if trust == "oracle":
        message = f"baseline {baseline!r} needs the truth, which the bundle does not contain. Use another baseline; see 'stemtwin task {task}'."
        raise SettingsError(message)
    found = predict(hidden.task, entry, hidden.given(opened), progress=progress)
    team, name = target.resolve().parent.name, target.resolve().name
    write_submission(target, hidden.task, found, split=hidden.split, size=hidden.size, name=name, team=team)
    return len(found)


def check_submission(event_folder: Path, folder: Path) -> str:
    """Check a submission, and return the result as a sentence.

    The checks are those of scoring, but do not need the truth of the hidden rows. A table of answers to public rows (practice) is also scored.
    No code of the submission is run.

    Parameters
    ----------
    event_folder : Path
        Folder of the event with the opened bundle in its folder ``opened``, or a folder with the contents of the bundle.
    folder : Path
        Folder of the submission.

    Raises
    ------
    SubmissionError
        The submission is not valid; the message describes the first error.
    SettingsError
        The bundle is not opened.
    """
    folder = folder.resolve()
    handed = Handed(team=folder.parent.name, name=folder.name, folder=folder, digest=digest_of(folder))
    if not handed.agent:
        header = read_header(folder)
        task = named_task(header)
        if header.dataset == f"{task.source}@{task.source_version}":
            return f"{handed.label}: {_practise(folder, task)}"
    return check_handed(event_folder, handed)


def check_handed(event_folder: Path, handed: Handed) -> str:
    """Check a table of answers to hidden rows, or an agent for hidden episodes, and return the result as a sentence.

    The check does not need the truth. No code of the submission is run.

    Parameters
    ----------
    event_folder : Path
        Folder of the event with the opened bundle in its folder ``opened``, or a folder with the contents of the bundle.
    handed : Handed
        The submission.

    Raises
    ------
    SubmissionError
        The submission is not valid; the message describes the first error.
    SettingsError
        The bundle is not opened.
    """
    event = open_folder(event_folder).event
    opened = event_folder / OPENED if (event_folder / OPENED).is_dir() else event_folder
    part = part_of(event, handed)
    if not isinstance(part, EventTask):
        return f"{handed.label}: agent for {part.task} with a valid header; the organiser runs it"
    hidden = hidden_task(event, part)
    try:
        given = hidden.given(opened)
    except DatasetError:
        message = f"{opened} does not contain the rows of {part.task}. Open the bundle first: 'stemtwin event open {event_folder}'."
        raise SettingsError(message) from None
    submission = hidden.read(handed.folder, given)
    return f"{handed.label}: answers to all {len(submission.found)} rows of {part.task}; the organiser scores them"


def _practise(folder: Path, task: Task) -> str:
    """Score a table of answers to public rows, and return a description of the result."""
    header = read_header(folder, task)
    data = load_samples(task, split=header.split, size=header.size)
    primary = score_submission(task, data, read_submission(folder, task, data)).report.primary
    shown = "no value" if primary.value is None else f"{primary.value:.4g}"
    return f"practice on public rows, {primary.name} {shown}; not ranked"


def changed_folders(paths: Iterable[str]) -> list[str]:
    """Return the folders ``submissions/TEAM/NAME`` and ``practice/TEAM/NAME`` that contain changed files.

    Raises
    ------
    SubmissionError
        A changed file is outside these folders.
    """
    found = set()
    for path in paths:
        parts = path.split("/")
        if len(parts) < 4 or parts[0] not in (SUBMISSIONS, PRACTICE) or not all(parts) or {".", ".."} & set(parts):
            message = f"{path!r} is outside {SUBMISSIONS}/TEAM/NAME and {PRACTICE}/TEAM/NAME. Change only files of a submission."
            raise SubmissionError(message)
        found.add("/".join(parts[:3]))
    return sorted(found)
