"""Comparison of submissions and runs of different teams; each finding is a request for review.

::

    FOLDER/TEAM/NAME/       submission.yaml predictions.parquet     answers of a team
                            report.json episodes.json               a run of an agent, as 'stemtwin eval --output' writes it
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stemtwin.benchmarks.agents import load_baselines
from stemtwin.benchmarks.episodes import read_episodes
from stemtwin.benchmarks.honeypots import Planted, counted, find_leak
from stemtwin.benchmarks.report import Report, read_report
from stemtwin.benchmarks.runner import load_samples, predict, score_submission
from stemtwin.benchmarks.submission import HEADER, Header, read_header, read_submission
from stemtwin.benchmarks.tasks import Task, load_tasks
from stemtwin.leaderboard.duplicates import TeamAnswers, find_pairs
from stemtwin.leaderboard.reviews import Review, bound_reviews, honeypot_review
from stemtwin.twin.errors import StemtwinError, SubmissionError

RUN = ("report.json", "episodes.json")
Load = Callable[[Task, Header], Planted]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """Result of the checks: requests for review, the number of compared submissions, and a sentence about each submission that was not compared."""

    reviews: tuple[Review, ...]
    compared: int
    left_out: tuple[str, ...]


def check_between_teams(folder: Path, load: Load | None = None) -> Checked:
    """Compare the submissions and runs ``folder/TEAM/NAME`` of different teams on the same data.

    Parameters
    ----------
    folder : Path
        Folder of the teams' folders, such as ``submissions`` of an event.
    load : callable, optional
        Function (task, header) that returns the rows with their truth and honeypots; answers to honeypots are tested for a
        leak of the truth. By default, the public split that the header of a submission names is loaded.

    Raises
    ------
    SubmissionError
        The folder contains no ``TEAM/NAME`` folder.
    """
    tables: dict[str, list[tuple[Path, Task, Header]]] = {}
    runs: dict[str, list[TeamAnswers]] = {}
    reviews: list[Review] = []
    left_out, places = [], [one for one in sorted(folder.glob("[!.]*/[!.]*")) if one.is_dir()]
    for place in places:
        try:
            if (place / HEADER).is_file():
                task, header = _task_of(place)
                tables.setdefault("\n".join((header.task, header.dataset, header.size)), []).append((place, task, header))
            elif all((place / name).is_file() for name in RUN):
                report, row = _run_of(place)
                runs.setdefault(report.comparability_key, []).append(row)
                reviews += _beyond_bounds(report)
            else:
                left_out.append(f"{place}: neither a submission nor a run with {' and '.join(RUN)}")
        except StemtwinError as error:
            left_out.append(str(error))
    if not places:
        message = f"{folder} contains no folder TEAM/NAME. Give the folder that contains the folders of the teams."
        raise SubmissionError(message)
    count = 0
    for group in tables.values():
        rows, truth = _answers(group, load or _public, left_out, reviews)
        count += len(rows)
        reviews += [review for pair in find_pairs(rows, truth) for review in pair.reviews()] if len(rows) > 1 else []
    for rows in runs.values():
        count += len(rows)
        reviews += [review for pair in find_pairs(rows) for review in pair.reviews()]
    return Checked(reviews=tuple(reviews), compared=count, left_out=tuple(left_out))


def _public(task: Task, header: Header) -> Planted:
    """Return the rows of a public split."""
    return Planted(data=load_samples(task, split=header.split, size=header.size), honeypots=(), names={})


def _task_of(place: Path) -> tuple[Task, Header]:
    """Return the task and the header of a submission; the version of the data may be an event's own."""
    header, tasks = read_header(place), load_tasks()
    task = next((tasks[name] for name in tasks if header.task == tasks[name].address(header.split)), None)
    if task is None or task.kind != "predictions":
        message = f"{place}: key 'task' is {header.task!r}, which is not a prediction task here. Use a version of stemtwin that has the task."
        raise SubmissionError(message)
    return dataclasses.replace(task, source_version=header.dataset.partition("@")[2]), header


def _beyond_bounds(report: Report) -> tuple[Review, ...]:
    """Return the requests for review that the scores in a report require; there are none if its task is unknown."""
    tasks = load_tasks()
    task = next((tasks[name] for name in tasks if (tasks[name].name, tasks[name].major) == (report.task, report.major)), None)
    return () if task is None else bound_reviews(report, task)


def _run_of(place: Path) -> tuple[Report, TeamAnswers]:
    """Return the report of a run, and its episodes."""
    report = read_report(place / RUN[0])
    episodes = {(one.number, one.attempt): one for one in read_episodes(place / RUN[1])}
    row = TeamAnswers(team=report.team, name=report.entry, artefact_sha256=report.artefact_sha256, answers=episodes)
    return report, row


def _answers(
    group: list[tuple[Path, Task, Header]], load: Load, left_out: list[str], reviews: list[Review]
) -> tuple[list[TeamAnswers], dict[str, Any]]:
    """Return the valid answers of submissions to the same rows, under the names of their folders, and the truth.

    Honeypots are left out. Reasons for invalid submissions are added to ``left_out``, requests for review to ``reviews``.
    """
    _, task, header = group[0]
    try:
        planted = load(task, header)
    except SubmissionError as error:
        left_out.append(str(error))
        return [], {}
    oracle = next((one for name in load_baselines().names(task.registered) if (one := load_baselines()[name]).oracle), None)
    if oracle is None:
        left_out += [f"{place}: {task.name!r} has no oracle baseline, whose answers a comparison needs" for place, _, _ in group]
        return [], {}
    rows = []
    for place, one, _ in group:
        try:
            submission = read_submission(place, one, planted.data)
            found, rows_counted = submission.found, counted(planted.data, submission.found, planted.honeypots)
        except StemtwinError as error:
            left_out.append(str(error))
            continue
        row = TeamAnswers(team=place.parent.name, name=place.name, artefact_sha256=one.form.digest(found), answers=found)
        if planted.honeypots:
            review = honeypot_review(row.team, row.name, row.artefact_sha256, find_leak(one, found, planted.honeypots))
            reviews += [] if review is None else [review]
        if any(metric.limit is not None for metric in one.metrics):
            report = score_submission(one, rows_counted[0], dataclasses.replace(submission, found=rows_counted[1])).report
            named = dataclasses.replace(report, team=row.team, entry=row.name, artefact_sha256=row.artefact_sha256)
            reviews += bound_reviews(named, one)
        rows.append(dataclasses.replace(row, answers=rows_counted[1]))
    return rows, predict(task, oracle, counted(planted.data, {}, planted.honeypots)[0])
