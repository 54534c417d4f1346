"""Material for the jury of an event: requests for review of entries, and one printable page per team.

Some requests come from the scoring of single entries. The others name entries of different teams that are too similar to be independent.
"""

import dataclasses
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from stemtwin.benchmarks.honeypots import Planted
from stemtwin.benchmarks.submission import Header
from stemtwin.benchmarks.tasks import Task
from stemtwin.leaderboard.events.folders import JURY, REVIEWS, EventFolder, Organiser, Tell
from stemtwin.leaderboard.events.hidden_tasks import hidden_tasks
from stemtwin.leaderboard.events.log import LogLine
from stemtwin.leaderboard.events.scoring import Truths, one_at_a_time, publish
from stemtwin.leaderboard.events.settings import EventSettings
from stemtwin.leaderboard.events.standings import counted_store, reviews_of_runs, scores
from stemtwin.leaderboard.pages.jury import write_sheets
from stemtwin.leaderboard.review_checks import Checked, Load, check_between_teams
from stemtwin.leaderboard.reviews import write_reviews
from stemtwin.twin.errors import SubmissionError


def check_teams(folder: EventFolder, lines: Sequence[LogLine], truths: Truths) -> Checked:
    """Compare the answers and actions of different teams in the entries that count.

    Parameters
    ----------
    folder : EventFolder
        The event; its records contain the runs.
    lines : sequence of LogLine
        Lines of the event's log.
    truths : Truths
        Hidden rows with their truth.

    Returns
    -------
    Checked
        Requests for review, the number of compared entries, and a sentence about each entry that was not compared.
    """
    counting = [one for one in scores(lines, folder.event) if one.counts]
    if not counting:
        return Checked(reviews=(), compared=0, left_out=())
    with tempfile.TemporaryDirectory(prefix="stemtwin-review-") as made:
        for one in counting:
            run = folder.records / one.run
            shutil.copytree(run / "submission" if (run / "submission").is_dir() else run, Path(made) / one.team / one.name)
        found = check_between_teams(Path(made), hidden_rows(folder.event, truths))
    reviews = dict.fromkeys((*found.reviews, *reviews_of_runs(folder, counting)))  # each once
    return dataclasses.replace(found, reviews=tuple(reviews))


def hidden_rows(event: EventSettings, truths: Truths) -> Load:
    """Return a function (task, header) that loads the hidden rows of an event, including honeypots.

    The function raises SubmissionError for answers to rows of another event or of a public split.
    """
    hidden = {(one.task.address(one.split), one.task.source_version): one for one in hidden_tasks(event)}

    def load(_: Task, header: Header) -> Planted:
        key = header.task, header.dataset.partition("@")[2]
        if key not in hidden:
            message = f"{header.task} on {header.dataset} is not part of {event.name}. Compare such answers without --event."
            raise SubmissionError(message)
        return truths.of(hidden[key])

    return load


def write_material(folder: EventFolder, lines: Sequence[LogLine], checked: Checked, target: Path) -> None:
    """Write the jury's material to a folder: requests for review, one page per team, an index and a CSV file."""
    write_reviews(target / REVIEWS, checked.reviews)
    with counted_store(folder, scores(lines, folder.event)) as store:
        write_sheets(store, target, title=folder.event.title, reviews=checked.reviews)


def write_jury(organiser: Organiser, tell: Tell | None = None) -> tuple[Path, Checked]:
    """Compare the teams' entries that count, write the jury's pages to the secret folder, and update the event's pages.

    Parameters
    ----------
    organiser : Organiser
        The event with its secrets.
    tell : callable, optional
        Function that is called with progress messages.

    Returns
    -------
    tuple
        Folder of the pages, and result of the comparison.
    """
    target = organiser.secret / JURY
    with one_at_a_time(organiser):
        lines = organiser.folder.lines
        checked = check_teams(organiser.folder, lines, Truths(organiser.keys, organiser.secret / "data", tell))
        write_material(organiser.folder, lines, checked, target)
        if organiser.folder.first("closed") is None:
            publish(organiser)
    return target, checked
