"""Submissions to an event: checked against its hidden inputs and copied, whole or not at all, to ``submissions/TEAM/NAME-<hash>`` of its folder.

Of ``event.toml`` only what a submission needs is read: name, tasks and environments, teams. Nothing of the truth is there, and nothing is scored.
"""

import dataclasses
import hashlib
import re
import tomllib
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stemtwin.benchmarks.archives import copy_tree, plain_files
from stemtwin.benchmarks.names import check_name
from stemtwin.benchmarks.submission import Header, read_header, read_submission
from stemtwin.benchmarks.tasks import Task, load_tasks
from stemtwin.datasets import storage
from stemtwin.datasets.cards import named_card
from stemtwin.datasets.inputs import shown_card
from stemtwin.twin.errors import DatasetError, SettingsError, SubmissionError, suggestion
from stemtwin.twin.files import replacing

SETTINGS = "event.toml"
LARGEST_SETTINGS = 2**20
"""Most bytes of ``event.toml``."""
INBOX, INPUTS = "submissions", "opened/inputs"
"""Folders of an event: what teams hand in; hidden inputs once the bundle is open."""
HASH_DIGITS = 12
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
        The submission, with ``submission.yaml`` and ``predictions.parquet``.
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
    header = read_header(folder)
    if header.team not in ("", team):
        message = f"{folder}: key 'team' is {header.team!r}, the submission is handed in for {team!r}. Write the same name in both."
        raise SubmissionError(message)
    task = find_event_task(header, settings, folder)
    read_submission(folder, task, given_inputs(event, task, header.split))
    name = f"{folder_name(header.name)[:80]}-{content_digest(folder)[:HASH_DIGITS]}"
    target = event / INBOX / folder_name(team) / name
    told = {"path": target, "task": header.task, "name": header.name, "team": team}
    if target.is_dir():
        return HandedIn(new=False, **told)
    try:
        with replacing(target, overwrite=False) as temporary:
            copy_tree(folder, temporary)
    except DatasetError:
        if not target.is_dir():  # else another process was first, with the same content
            raise
        return HandedIn(new=False, **told)
    return HandedIn(new=True, **told)


def read_settings(event: Path) -> dict[str, Any]:
    """Return the settings of an event.

    Raises
    ------
    SettingsError
        No such file, too large, not TOML, or without name and tasks.
    """
    path = event / SETTINGS
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_SETTINGS + 1)
        content = tomllib.loads(raw.decode()) if len(raw) <= LARGEST_SETTINGS else None
    except OSError as error:
        message = f"{path}: {error.strerror}. Give the folder of an event."
        raise SettingsError(message) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        message = f"{path} is not TOML ({str(error).splitlines()[0]}). Take the file from the organiser again."
        raise SettingsError(message) from None
    if content is None:
        message = f"{path} has more than {LARGEST_SETTINGS} bytes. Take the file from the organiser again."
        raise SettingsError(message)
    if not (isinstance(content.get("name"), str) and event_tasks(content)):
        message = f"{path} names no event, or no task of it. Take the file from the organiser again."
        raise SettingsError(message)
    return content


def event_tasks(settings: dict[str, Any]) -> list[str]:
    """Return the registered names of the tasks of an event, predictions and environments."""
    parts = [*(settings.get("tasks") or []), *(settings.get("environments") or [])]
    return [part["task"] for part in parts if isinstance(part, dict) and isinstance(part.get("task"), str)]


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
        message = f"{folder}: {header.task!r} is played by an agent and takes no predictions. Hand in the agent's folder, see docs/agents.md."
        raise SubmissionError(message)
    there = dataclasses.replace(task, source_version=f"{task.source_version}+{settings['name']}")
    read_header(folder, there)
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
    path = event / INPUTS / f"{task.name}-{task.major}" / f"{split}.nc"
    if not path.is_file():
        message = f"{path}: there is no such file: the event's bundle is not open. Run 'stemtwin event open {event} --key KEY' first."
        raise DatasetError(message)
    return storage.read_netcdf(path, shown_card(named_card(task.source, task.source_version.partition("+")[0])))


def folder_name(text: str) -> str:
    """Return the name of a folder for a name of a team or an entry: the name itself where every system takes it, else one that no other name has.

    Raises
    ------
    SettingsError
        The name has neither letter nor digit.
    """
    plain = re.sub(r"[^\w.-]+", "-", unicodedata.normalize("NFC", text)).strip("-.")
    if not re.search(r"\w", plain):
        message = f"name {text!r} has neither letter nor digit, of which a folder's name is made. Give another one."
        raise SettingsError(message)
    if plain == text and not DEVICES.fullmatch(plain):
        return plain
    return f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


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
