"""Submissions to an event: checked against its hidden inputs and copied, whole or not at all, to ``submissions/TEAM/NAME-<hash>`` of its folder.

A submission is a table of answers (``submission.yaml``) or an agent (``agent.toml`` and its program, of which nothing is run here). Of ``event.toml``
only what a submission needs is read: name, tasks and environments, teams. Nothing of the truth is there, and nothing is scored.
"""

import dataclasses
import hashlib
import re
import tempfile
import tomllib
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stemtwin.benchmarks.archives import copy_tree, plain_files
from stemtwin.benchmarks.names import LONGEST_NAME, check_name
from stemtwin.benchmarks.submission import HEADER, Header, read_header, read_submission
from stemtwin.benchmarks.submission_paths import check_folder
from stemtwin.benchmarks.tasks import Task, load_tasks
from stemtwin.datasets import storage
from stemtwin.datasets.cards import named_card
from stemtwin.datasets.inputs import shown_card
from stemtwin.leaderboard.events.submissions import AGENT, read_agent
from stemtwin.twin.errors import DatasetError, SettingsError, SubmissionError, suggestion
from stemtwin.twin.files import check_writable, refusal

SETTINGS = "event.toml"
LARGEST_SETTINGS = 2**20
"""Most bytes of ``event.toml``."""
INBOX, BUNDLE, OPENED = "submissions", "sealed.bundle", "opened"
"""Parts of an event: what teams hand in; the sealed bundle; its content once it is open."""
INCOMING = ".incoming-"
"""Beginning of the names of unfinished copies."""
HASH_DIGITS = 12
FORBIDDEN = '/\\:*?"<>|'
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows keeps for itself."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class HandedIn:
    """A submission in an event's folder: where it lies, whether it is new, its task and its name."""

    path: Path
    new: bool
    task: str
    name: str
    team: str


def hand_in(folder: Path, event: Path, team: str) -> HandedIn:
    """Check a submission and copy it into the folder of an event; the same content comes to the same place, once.

    Parameters
    ----------
    folder : Path
        The submission.
    event : Path
        Folder of the event, with ``event.toml`` and the opened bundle.
    team : str
        Name of the team.

    Raises
    ------
    SubmissionError
        The submission is wrong, or for another event.
    SettingsError
        There is no event, the team does not take part, or its name makes no folder.
    DatasetError
        The bundle is not open, or the folder cannot be written.
    """
    settings = read_settings(event)
    check_name(team, "team")
    teams = settings.get("teams") or []
    if teams and team not in teams:
        message = f"team={team!r} does not take part in {settings['name']}. {suggestion(team, teams, listed='Teams')}"
        raise SettingsError(message)
    task, name = _checked(folder, event, settings, team)
    entry = f"{_file_part(name)[: LONGEST_NAME - HASH_DIGITS - 1].rstrip(' .')}-{content_digest(folder)[:HASH_DIGITS]}"
    target = event / INBOX / _team_folder(team) / entry
    return HandedIn(path=target, new=_copy(folder, target, event), task=task, name=name, team=team)


def _checked(folder: Path, event: Path, settings: dict[str, Any], team: str) -> tuple[str, str]:
    """Check a submission whole; return its task and its name."""
    if (folder / AGENT).is_file() and not (folder / HEADER).exists():
        return _check_agent(folder, settings)
    check_folder(folder)
    header = read_header(folder)
    if header.team not in ("", team):
        message = f"{folder}: key 'team' is {header.team!r}, the submission is handed in for {team!r}. Write the same name in both."
        raise SubmissionError(message)
    task = find_event_task(header, settings, folder)
    read_submission(folder, task, given_inputs(event, task, header.split))
    return header.task, header.name


def _check_agent(folder: Path, settings: dict[str, Any]) -> tuple[str, str]:
    """Check the header of an agent, ``agent.toml``; return its task and the name of its folder."""
    task, tasks = read_agent(folder).task, _names_of(settings, "environments")
    if task not in tasks:
        message = f"{folder / AGENT}: key 'task' is {task[:80]!r}, which no agent plays in this event. {_listed(tasks)}"
        raise SubmissionError(message)
    return task, "agent"


def _copy(folder: Path, target: Path, event: Path) -> bool:
    """Copy a submission to its place in one step; return whether it is new there.

    What is not finished lies beside the submissions, not among them: who is stopped in the midst leaves nothing that could be scored.
    """
    if target.is_dir():
        return False
    check_writable(target, folder=True)
    with tempfile.TemporaryDirectory(prefix=INCOMING, dir=event, ignore_cleanup_errors=True) as place:
        copy = Path(place) / target.name
        copy_tree(folder, copy)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            copy.rename(target)
        except OSError as error:
            if target.is_dir():  # another process was first, with the same content
                return False
            raise refusal(target, error) from error
    return True


def read_settings(event: Path) -> dict[str, Any]:
    """Return the settings of an event.

    Raises
    ------
    SettingsError
        No such file, too large, not TOML, or without name and tasks.
    """
    path = event / SETTINGS
    content = _read_toml(path)
    if not (isinstance(content.get("name"), str) and event_tasks(content)):
        message = f"{path} names no event, or no task of it. Take the file from the organiser again."
        raise SettingsError(message)
    return content


def _read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a small TOML file; raise SettingsError where it is none."""
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_SETTINGS + 1)
        if len(raw) <= LARGEST_SETTINGS:
            return tomllib.loads(raw.decode())
        reason = f"it has more than {LARGEST_SETTINGS} bytes"
    except OSError as error:
        message = f"{path}: {error.strerror}. Give the folder of an event."
        raise SettingsError(message) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        reason = str(error).splitlines()[0]
    message = f"{path} is not TOML ({reason}). Write it again, or take it from the organiser."
    raise SettingsError(message)


def _names_of(settings: dict[str, Any], key: str) -> list[str]:
    """Return the registered names of the tasks, or of the environments, of an event."""
    return [part["task"] for part in settings.get(key) or [] if isinstance(part, dict) and isinstance(part.get("task"), str)]


def event_tasks(settings: dict[str, Any]) -> list[str]:
    """Return the registered names of the tasks of an event, predictions and environments."""
    return _names_of(settings, "tasks") + _names_of(settings, "environments")


def find_event_task(header: Header, settings: dict[str, Any], folder: Path) -> Task:
    """Return the task of a submission, with the event's own version of the data.

    Raises
    ------
    SubmissionError
        The event does not have it, it takes no predictions, or the answers are for other data.
    """
    tasks, known = load_tasks(), event_tasks(settings)
    names = [name for name in known if name in tasks and header.task == tasks[name].address(header.split)]
    if not names:
        message = f"{folder}: key 'task' is {header.task!r}, which is not of this event. {_listed(known)}"
        raise SubmissionError(message)
    task = tasks[names[0]]
    if task.kind != "predictions":
        message = f"{folder}: {header.task!r} is played by an agent and takes no predictions. Hand in a folder with {AGENT} and the program."
        raise SubmissionError(message)
    there = dataclasses.replace(task, source_version=f"{task.source_version}+{settings['name']}")
    read_header(folder, there)
    size = next(part.get("size", header.size) for part in settings["tasks"] if part["task"] == names[0])
    if header.size != size:
        message = f"{folder}: key 'size' is {header.size!r}, accepted here: {size}."
        raise SubmissionError(message)
    return there


def _listed(known: Iterable[str]) -> str:
    """Return a sentence about the tasks of an event."""
    return f"Its tasks: {', '.join(known)}."


def given_inputs(event: Path, task: Task, split: str) -> Any:
    """Return the hidden inputs of a task, as the opened bundle of an event has them.

    Raises
    ------
    DatasetError
        The bundle is not open, or a file is damaged.
    """
    path = event / OPENED / "inputs" / f"{task.name}-{task.major}" / f"{split}.nc"
    if not path.is_file():
        repair = f"Run 'stemtwin event open {event / BUNDLE} --key KEY --output {event / OPENED}' first."
        message = f"{path}: there is no such file: the event's bundle is not open. {repair}"
        raise DatasetError(message)
    return storage.read_netcdf(path, shown_card(named_card(task.source, task.source_version.partition("+")[0])))


def _team_folder(team: str) -> str:
    """Return the name of a team as that of its folder, which everybody reads as the name of the team.

    Raises
    ------
    SettingsError
        Some system takes no such folder.
    """
    if _file_part(team) != team:
        message = f"team={team!r} is no name that every system takes for a folder. Ask the organiser for one without any of {FORBIDDEN}."
        raise SettingsError(message)
    return team


def _file_part(name: str) -> str:
    """Return a name with what some system takes for no part of a file's name replaced."""
    plain = re.sub(rf"[{re.escape(FORBIDDEN)}]", "-", unicodedata.normalize("NFC", name)).strip(" .") or "entry"
    return f"{plain}-" if DEVICES.fullmatch(plain) else plain


def content_digest(folder: Path) -> str:
    """Return the sha256 of the names and contents of all files of a folder, in the order of their names.

    Raises
    ------
    SubmissionError
        A link or a device lies in it, or it has too many files.
    """
    out = hashlib.sha256()
    for path in plain_files(folder):
        name = path.relative_to(folder).as_posix()
        with path.open("rb") as file:
            out.update(f"{len(name.encode())} {name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return out.hexdigest()
