"""Folders of an event: the public folder, which can be a Git repository, and the secret folder, which stays outside it.

::

    NAME/                       public
      event.toml guide.md       settings, guide for teams
      sealed.bundle             encrypted tasks and hidden inputs
      opened/                   contents of the bundle after it is opened
      submissions/TEAM/NAME/    submissions of the teams
      log.jsonl board.json      signed log, signed state of the board
      pages/                    static pages
      keys.json                 revealed keys, after the event is closed

    NAME-secret/                for the organiser only
      keys.json signing.json bundle-key.txt
      board.db results/         reports and runs, which disclose seeds and truth; copied to the archive at the end
      jury/                     pages for the jury, requests for review
      data/ runs/ payload/      truth, unfinished runs, contents of the bundle
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from stemtwin.benchmarks.seed_keys import SeedKeys, read_keys
from stemtwin.leaderboard.events import log
from stemtwin.leaderboard.events.settings import FILE, EventSettings, read_event
from stemtwin.leaderboard.events.signing import public_text, read_signing_key
from stemtwin.twin.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

Tell = Callable[[str], None]
"""Function that is called with progress messages (str)."""
SECRET = "-secret"
KEYS, SIGNING, BUNDLE_KEY = "keys.json", "signing.json", "bundle-key.txt"
BUNDLE, OPENED, SUBMISSIONS, PRACTICE, LOG, STATE, BOARD = (
    "sealed.bundle",
    "opened",
    "submissions",
    "practice",
    "log.jsonl",
    "board.json",
    "board.db",
)
RESULTS, PAGES, JURY, REVIEWS = "results", "pages", "jury", "reviews.json"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class EventFolder:
    """Public folder of an event, with its settings and its records.

    Parameters
    ----------
    path : Path
        Public folder.
    event : EventSettings
        Settings of the event.
    records : Path
        Folder of the board and of the runs: the secret folder for the organiser, otherwise ``path`` itself, as in an archive.
    """

    path: Path
    event: EventSettings
    records: Path

    @property
    def log_path(self) -> Path:
        """File of the log."""
        return self.path / LOG

    @property
    def lines(self) -> list[log.LogLine]:
        """Checked lines of the log."""
        return log.read_log(self.log_path, self.event.public_key)

    def first(self, kind: str) -> log.LogLine | None:
        """Return the first line of the log with the given kind, or None."""
        return next((line for line in self.lines if line.kind == kind), None)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Organiser:
    """An event with its secrets.

    Parameters
    ----------
    folder : EventFolder
        Public folder with its settings.
    secret : Path
        Secret folder.
    keys : SeedKeys
        Keys of the hidden seeds and rows.
    signing_key : Ed25519PrivateKey
        Private signing key of the organiser.
    """

    folder: EventFolder
    secret: Path
    keys: SeedKeys
    signing_key: "Ed25519PrivateKey"

    @property
    def event(self) -> EventSettings:
        """Settings of the event."""
        return self.folder.event

    @property
    def path(self) -> Path:
        """Path of the public folder."""
        return self.folder.path

    @property
    def bundle_key(self) -> str:
        """Key of the bundle, hexadecimal."""
        return (self.secret / BUNDLE_KEY).read_text(encoding="utf-8").strip()

    def append(self, kind: str, **content: object) -> log.LogLine:
        """Add a signed line to the log."""
        return log.append(self.folder.log_path, kind, content, self.signing_key, self.event.public_key)


def open_folder(path: Path) -> EventFolder:
    """Return the event in a public folder, without its secrets.

    Raises
    ------
    SettingsError
        The folder does not contain an event.
    """
    return EventFolder(path=path, event=read_event(path / FILE), records=path)


def secret_of(path: Path) -> Path:
    """Return the default path of the secret folder of an event, ``NAME-secret`` beside the public folder."""
    whole = path.resolve()
    return whole.with_name(whole.name + SECRET)


def open_organiser(path: Path, secret: Path | None = None) -> Organiser:
    """Return an event with its secrets.

    Raises
    ------
    SettingsError
        A folder or file is missing or wrong, or the secrets are those of another event.
    UnknownNameError
        A task of the event does not exist.
    """
    secret = secret or secret_of(path)
    folder = dataclasses.replace(open_folder(path), records=secret)
    folder.event.check_kinds()
    if not secret.is_dir():
        message = f"{secret}: there is no such folder of secrets. Use --secret with the folder that 'stemtwin event new' made."
        raise SettingsError(message)
    keys, signing_key = read_keys(secret / KEYS), read_signing_key(secret / SIGNING)
    if keys.commitment != folder.event.commitment or public_text(signing_key) != folder.event.public_key:
        message = f"{secret} contains the secrets of another event, not of {folder.event.name!r}. Use --secret with the right folder."
        raise SettingsError(message)
    return Organiser(folder=folder, secret=secret, keys=keys, signing_key=signing_key)


def announced_key(folder: EventFolder) -> str | None:
    """Return the published key of an event's bundle, or None if the key is not published yet."""
    path = folder.path / BUNDLE_KEY
    return path.read_text(encoding="utf-8").strip() if path.is_file() else None


def files_below(folder: Path) -> "Iterator[Path]":
    """Return an iterator over all files below a folder, sorted by path and including links and special files."""
    return iter(sorted(one for one in folder.rglob("*") if one.is_symlink() or not one.is_dir()))
