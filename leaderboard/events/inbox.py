"""Submissions handed in to an event: checked as scoring will, and copied whole or not at all to ``submissions/TEAM/NAME-<hash>`` of its folder."""

import dataclasses
import re
import tempfile
import unicodedata
from pathlib import Path

from stemtwin.benchmarks.archives import copy_tree
from stemtwin.benchmarks.names import LONGEST_NAME, check_name
from stemtwin.benchmarks.submission import read_header
from stemtwin.benchmarks.submission_paths import check_folder
from stemtwin.leaderboard.events.folders import SUBMISSIONS, open_folder
from stemtwin.leaderboard.events.submissions import Handed, digest_of, read_agent
from stemtwin.leaderboard.events.team_side import check_handed
from stemtwin.twin.errors import SettingsError, SubmissionError, suggestion
from stemtwin.twin.files import check_writable, refusal

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
        There is no event, its bundle is not open, the team does not take part, or its name makes no folder.
    DatasetError
        The folder cannot be written.
    """
    settings = open_folder(event).event
    check_name(team, "team")
    if settings.teams and team not in settings.teams:
        message = f"team={team!r} does not take part in {settings.name}. {suggestion(team, settings.teams, listed='Teams')}"
        raise SettingsError(message)
    place = event / SUBMISSIONS / _team_folder(team)
    handed = Handed(team=team, name="agent", folder=folder, digest=digest_of(folder))
    if handed.agent:
        task = read_agent(folder).task
    else:
        header = read_header(check_folder(folder))
        if header.team not in ("", team):
            message = f"{folder}: key 'team' is {header.team!r}, the submission is handed in for {team!r}. Write the same name in both."
            raise SubmissionError(message)
        task, handed = header.task, dataclasses.replace(handed, name=header.name)
    check_handed(event, handed)
    target = place / f"{_file_part(handed.name)[: LONGEST_NAME - HASH_DIGITS - 1].rstrip(' .')}-{handed.digest[:HASH_DIGITS]}"
    return HandedIn(path=target, new=_copy(folder, target, event), task=task, name=handed.name, team=team)


def _copy(folder: Path, target: Path, event: Path) -> bool:
    """Copy a submission to its place in one step; return whether it is new there.

    Unfinished copies lie beside the submissions, not among them: who is stopped in the midst leaves nothing that could be scored.
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


def _team_folder(team: str) -> str:
    """Return the name of a team as that of its folder, which everybody reads as the name of the team.

    Raises
    ------
    SettingsError
        Some system takes no such folder.
    """
    if _file_part(team) != team:
        message = f"team={team!r} is not a name that every system accepts for a folder. Ask the organiser for one without any of {FORBIDDEN}."
        raise SettingsError(message)
    return team


def _file_part(name: str) -> str:
    """Return a name with what some system takes for no part of a file's name replaced."""
    plain = re.sub(rf"[{re.escape(FORBIDDEN)}]", "-", unicodedata.normalize("NFC", name)).strip(" .") or "entry"
    return f"{plain}-" if DEVICES.fullmatch(plain) else plain
