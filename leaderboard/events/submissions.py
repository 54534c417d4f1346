"""Submissions ``submissions/TEAM/NAME/`` in the folder of an event. Each is an agent or a table of answers, identified by a content hash.

::

    submission.yaml predictions.parquet     a table of answers; see stemtwin.benchmarks.submission
    agent.toml and the program              an agent; agent.toml gives the task, the program, and notes for a jury in [method]
"""

import dataclasses
import math
import os
import subprocess
import tomllib
from pathlib import Path
from typing import Any, Literal

import pydantic

from stemtwin.benchmarks.method_notes import check_notes
from stemtwin.benchmarks.names import check_name
from stemtwin.benchmarks.submission import HEADER, read_header
from stemtwin.leaderboard.events.folders import SUBMISSIONS, files_below
from stemtwin.leaderboard.events.settings import EventEnvironment, EventSettings, EventTask
from stemtwin.leaderboard.events.signing import canonical, file_sha256, sha256
from stemtwin.twin.errors import SettingsError, SubmissionError

AGENT = "agent.toml"
SCHEMA = "stemtwin/agent-submission@1"
MOST_FILES, MOST_BYTES = 2000, 1 << 30
"""Largest number of files of a submission, and of bytes of all files."""
LONGEST_AGENT = 1 << 16


class AgentHeader(pydantic.BaseModel):
    """Content of ``agent.toml``: task, program (started in the folder of the submission), and notes for a jury."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    schema_name: Literal["stemtwin/agent-submission@1"] = pydantic.Field(alias="schema")
    task: str
    program: str
    method: dict[str, Any] = {}

    @pydantic.field_validator("program")
    @classmethod
    def _named(cls, value: str) -> str:
        """Check that there is a program."""
        if not value.split():
            message = "the program is empty"
            raise ValueError(message)
        return value

    @pydantic.field_validator("method")
    @classmethod
    def _noted(cls, value: dict[str, Any]) -> dict[str, Any]:
        """Check the notes for a jury."""
        return check_notes(value)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Handed:
    """Submission to an event.

    Parameters
    ----------
    team, name : str
        Name of the team (the parent folder), and name of the submission's folder.
    folder : Path
        Folder of the submission.
    digest : str
        The sha256 of the names and contents of the files, hexadecimal.
    """

    team: str
    name: str
    folder: Path
    digest: str

    @property
    def label(self) -> str:
        """Name of the entry, ``TEAM/NAME``."""
        return f"{self.team}/{self.name}"

    @property
    def mark(self) -> str:
        """Name of the run in which the submission is scored: a hash of its team and content."""
        return sha256(canonical([self.team, self.digest]))[:20]

    @property
    def agent(self) -> bool:
        """Return True if the submission is an agent, and False if it is a table of answers."""
        return (self.folder / AGENT).is_file() and not (self.folder / HEADER).exists()


def digest_of(folder: Path) -> str:
    """Return the sha256 of the names and contents of the files in a folder, hexadecimal.

    Raises
    ------
    SubmissionError
        The folder contains a link, a special file, too many files or too many bytes.
    """
    entries, size = [], 0
    for path in files_below(folder):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not path.is_file():
            message = f"{path} is a link or a special file. Hand in regular files only."
            raise SubmissionError(message)
        size += path.stat().st_size
        if len(entries) >= MOST_FILES or size > MOST_BYTES:
            message = f"{folder} contains more than {MOST_FILES} files or {MOST_BYTES >> 30} GiB. Hand in only the necessary files."
            raise SubmissionError(message)
        entries.append([name, file_sha256(path)])
    return sha256(canonical(entries))


def find_submissions(event_folder: Path) -> tuple[list[Handed], list[tuple[str, str]]]:
    """Return the submissions of an event in the order of receipt, and (label, error) for each invalid folder.

    In a Git repository, submissions are in the order of the last merge or commit that changed them, along the first parents
    of the branch. Dates of commits do not matter, because authors can set them. Uncommitted submissions come last, in the
    order of their newest files. Submissions with equal positions are in the order of their names.
    """
    found, wrong = [], []
    root = event_folder / SUBMISSIONS
    for folder in sorted(root.glob("*/*")) if root.is_dir() else ():
        if not folder.is_dir() and not folder.is_symlink():
            continue
        try:
            if folder.is_symlink() or folder.parent.is_symlink():
                message = f"{folder} is a link. Hand in regular folders only."
                raise SubmissionError(message)
            team, name = check_name(folder.parent.name, "team"), check_name(folder.name, "entry")
            found.append(Handed(team=team, name=name, folder=folder, digest=digest_of(folder)))
        except (SubmissionError, SettingsError) as error:
            wrong.append((folder.relative_to(root).as_posix(), str(error)))
    places = _places(event_folder) if (event_folder / ".git").exists() else {}
    return sorted(found, key=lambda one: (places.get(one.label, math.inf), 0 if one.label in places else _newest(one.folder), one.label)), wrong


def _places(event_folder: Path) -> dict[str, int]:
    """Return the position of the last change of each submission in the branch's history, by label; a merge is one change."""
    history = ["log", "--first-parent", "-m", "--reverse", "--no-renames", "--name-only", "-z", "--format=%x01", "--", SUBMISSIONS]
    told = subprocess.run(["git", "-C", str(event_folder), *history], capture_output=True, timeout=60, check=False)
    places: dict[str, int] = {}
    changes = told.stdout.decode(errors="surrogateescape").split("\x01")[1:] if told.returncode == 0 else []
    for number, change in enumerate(changes):
        labels = {"/".join(path.strip("\n").split("/")[1:3]) for path in change.split("\0") if path.count("/") >= 3}
        places |= dict.fromkeys(labels, number)
    return places


def _newest(folder: Path) -> float:
    """Return the time of change of the newest file of a folder, s since 1970."""
    return max((path.lstat().st_mtime for path in files_below(folder)), default=0.0)


def read_agent(folder: Path) -> AgentHeader:
    """Return the header of an agent, from the file ``agent.toml`` in its folder.

    Raises
    ------
    SubmissionError
        The header is too long, is not TOML, or has wrong keys.
    """
    path = folder / AGENT
    try:
        if os.path.getsize(path) > LONGEST_AGENT:  # noqa: PTH202 - one message for all errors of the system
            message = f"it has more than {LONGEST_AGENT} bytes"
            raise ValueError(message)
        return AgentHeader.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        told = f"key {'.'.join(map(str, first['loc']))!r}: {first['msg']}"
    except (OSError, ValueError, RecursionError, SettingsError) as error:
        told = str(error).rstrip(".")
    message = f'{path}: {told}. The file needs schema = "{SCHEMA}", task = "NAME" and program = "python agent.py".'
    raise SubmissionError(message)


def part_of(event: EventSettings, handed: Handed) -> EventTask | EventEnvironment:
    """Return the task of the event to which a submission belongs.

    Raises
    ------
    SubmissionError
        The submission is neither a table nor an agent, is of the wrong kind for the task, or belongs to a task that the event does not have.
    """
    if handed.agent:
        name = read_agent(handed.folder).task
    else:
        address = read_header(handed.folder).task
        stem, _, major = address.partition("@")
        name = stem.partition("/")[0] + (f"@{major}" if major not in ("", "1") else "")
    try:
        part = event.task(name)
    except SettingsError as error:
        message = f"{handed.folder}: {error}"
        raise SubmissionError(message) from None
    if handed.agent != isinstance(part, EventEnvironment):
        needed = f"an agent with {AGENT}" if isinstance(part, EventEnvironment) else f"a table of answers with {HEADER}"
        message = f"{handed.folder}: {name!r} needs {needed}. Hand in a submission of this kind."
        raise SubmissionError(message)
    return part
