"""Decisions of an organiser: freeze, withdraw, disqualify, correct. Each decision is a signed line of the log, which the event's page shows."""

from stemtwin.benchmarks.names import LONGEST_NAME
from stemtwin.leaderboard.events.folders import Organiser
from stemtwin.leaderboard.events.scoring import one_at_a_time, publish
from stemtwin.leaderboard.events.submissions import find_submissions
from stemtwin.twin.errors import SettingsError

LONGEST_REASON = 500
"""Largest number of characters of a reason."""


def freeze(organiser: Organiser) -> int:
    """Freeze an event, so later submissions do not count, and return the number of submissions so far, scored or not.

    Raises
    ------
    SettingsError
        The event is already frozen or closed.
    """
    with one_at_a_time(organiser):
        _check_open(organiser)
        if (line := organiser.folder.first("frozen")) is not None:
            message = f"{organiser.event.name} has been frozen since {line.time}. Close it with 'stemtwin event close'."
            raise SettingsError(message)
        handed, _ = find_submissions(organiser.path)
        organiser.append("frozen", submissions=[[one.team, one.name, one.digest] for one in handed])
        publish(organiser)
    return len(handed)


def withdraw(organiser: Organiser, label: str, reason: str) -> None:
    """Withdraw an entry ``TEAM/NAME``. Its scores stay in the log but do not count.

    Raises
    ------
    SettingsError
        There is no such entry, or the reason is not a sentence of 3 to 500 characters.
    """
    team, _, name = label.partition("/")
    known = [(line.content["team"], line.content["name"]) for line in organiser.folder.lines if line.kind == "scored"]
    _check_known(label, (team, name) in known, sorted({f"{one}/{other}" for one, other in known}), "entry")
    _decide(organiser, "withdrawn", reason, team=team, name=name)


def disqualify(organiser: Organiser, team: str, reason: str) -> None:
    """Disqualify a team, so none of its earlier or later entries counts.

    Raises
    ------
    SettingsError
        There is no such team, or the reason is not a sentence of 3 to 500 characters.
    """
    handed, _ = find_submissions(organiser.path)
    known = {line.content["team"] for line in organiser.folder.lines if "team" in line.content} | {one.team for one in handed}
    _check_known(team, team in known, sorted(known), "team")
    _decide(organiser, "disqualified", reason, team=team)


def correct(organiser: Organiser, task: str, reason: str) -> None:
    """Void all scores of a task that had an error; the next scoring evaluates all submissions to the task again.

    Raises
    ------
    SettingsError
        The event has no such task, or the reason is not a sentence of 3 to 500 characters.
    """
    _decide(organiser, "corrected", reason, task=organiser.event.task(task).task)


def _decide(organiser: Organiser, kind: str, reason: str, **content: str) -> None:
    """Write a decision to the log and the pages."""
    reason = " ".join(reason.split())
    if not reason.isprintable():
        message = f"The reason {reason!a} contains characters that cannot be printed. Leave them out."
        raise SettingsError(message)
    if not 3 <= len(reason) <= LONGEST_REASON:
        message = f"The reason is published and must be a sentence of 3 to {LONGEST_REASON} characters, but it has {len(reason)}. Change the reason."
        raise SettingsError(message)
    with one_at_a_time(organiser):
        _check_open(organiser)
        organiser.append(kind, **content, reason=reason)
        publish(organiser)


def _check_open(organiser: Organiser) -> None:
    """Raise SettingsError if the event is closed."""
    if organiser.folder.first("closed") is not None:
        message = f"{organiser.event.name} is closed, so its signed archive cannot change. Publish the finding beside the archive."
        raise SettingsError(message)


def _check_known(name: str, there: bool, known: list[str], what: str) -> None:
    """Raise SettingsError for an unknown name."""
    if not there:
        message = f"There is no {what} {name[:LONGEST_NAME]!r} in this event. Known: {', '.join(known[:10]) or 'none'}."
        raise SettingsError(message)
