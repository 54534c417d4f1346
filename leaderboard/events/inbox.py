"""Submission to an event: checks of the team and of the files, then an atomic copy to ``submissions/TEAM/NAME-<hash>`` in the event's folder."""

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
"""Prefix of the names of unfinished copies."""
HASH_DIGITS = 12
FORBIDDEN = '/\\:*?"<>|'
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows reserves."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class HandedIn:
    """Submission in an event's folder; ``new`` is False if the folder already contained the same files."""

    path: Path
    new: bool
    task: str
    name: str
    team: str


def hand_in(folder: Path, event: Path, team: str) -> HandedIn:
    """Check a submission and copy it to the folder of an event, unless the same files are already there.

    Parameters
    ----------
    folder : Path
        Folder of the submission.
    event : Path
        Folder of the event, with ``event.toml`` and the opened bundle.
    team : str
        Name of the team.

    Raises
    ------
    SubmissionError
        The submission is wrong or is for another event.
    SettingsError
        There is no event, its bundle is not opened, the team does not take part, or the team's name cannot be the name of a folder.
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
            message = f"{folder}: key 'team' is {header.team!r}, but the submission is handed in for {team!r}. Use the same name in both."
            raise SubmissionError(message)
        task, handed = header.task, dataclasses.replace(handed, name=header.name)
    check_handed(event, handed)
    target = place / f"{_file_part(handed.name)[: LONGEST_NAME - HASH_DIGITS - 1].rstrip(' .')}-{handed.digest[:HASH_DIGITS]}"
    return HandedIn(path=target, new=_copy(folder, target, event), task=task, name=handed.name, team=team)


def _copy(folder: Path, target: Path, event: Path) -> bool:
    """Copy a submission atomically, and return True if it is new.

    Unfinished copies are written outside the folder of submissions, so an interrupted copy is never scored.
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
            if target.is_dir():  # another process has copied the same content first
                return False
            raise refusal(target, error) from error
    return True


def _team_folder(team: str) -> str:
    """Return the name of a team's folder, which is the name of the team.

    Raises
    ------
    SettingsError
        Some operating system does not allow the name for a folder.
    """
    if _file_part(team) != team:
        message = f"team={team!r} is not a valid name of a folder on some systems. Ask the organiser for a name without {FORBIDDEN}."
        raise SettingsError(message)
    return team


def _file_part(name: str) -> str:
    """Return a name in which the characters that some system forbids in file names are replaced."""
    plain = re.sub(rf"[{re.escape(FORBIDDEN)}]", "-", unicodedata.normalize("NFC", name)).strip(" .") or "entry"
    return f"{plain}-" if DEVICES.fullmatch(plain) else plain
