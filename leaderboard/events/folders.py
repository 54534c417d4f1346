"""Folders of an event: the public one, which may be a Git repository, and the secret one beside it, which never is part of it.

::

    NAME/                       everybody may read it
      event.toml guide.md       settings, guide for teams
      sealed.bundle           sealed tasks and hidden inputs
      opened/                   the bundle's content, once it is opened
      submissions/TEAM/NAME/    what teams hand in
      log.jsonl board.json      signed log, signed state of the board
      pages/                    static pages
      keys.json                 the revealed keys, after the end

    NAME-secret/                only the organiser
      keys.json signing.json bundle-key.txt
      board.db results/         reports and runs, whose clusters, episodes and samples tell seeds and truth; the archive holds them afterwards
      jury/                     pages for the jury, requests for review
      data/ runs/ payload/      truth, unfinished runs, the bundle's content
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
"""Called with sentences about long work."""
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
    """The public folder of an event, its settings, and the folder of its board and runs: the secret one until the event is closed."""

    path: Path
    event: EventSettings
    records: Path

    @property
    def log_path(self) -> Path:
        """File of the log."""
        return self.path / LOG

    @property
    def lines(self) -> list[log.LogLine]:
        """Lines of the log, checked."""
        return log.read_log(self.log_path, self.event.public_key)

    def first(self, kind: str) -> log.LogLine | None:
        """Return the first line of a kind, None where there is none."""
        return next((line for line in self.lines if line.kind == kind), None)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Organiser:
    """An event with its secrets.

    Parameters
    ----------
    folder : EventFolder
        The public folder.
    secret : Path
        The secret folder.
    keys : SeedKeys
        Keys of hidden seeds and rows.
    signing_key : Ed25519PrivateKey
        The organiser's key.
    """

    folder: EventFolder
    secret: Path
    keys: SeedKeys
    signing_key: "Ed25519PrivateKey"

    @property
    def event(self) -> EventSettings:
        """The settings."""
        return self.folder.event

    @property
    def path(self) -> Path:
        """The public folder."""
        return self.folder.path

    @property
    def bundle_key(self) -> str:
        """Key of the bundle."""
        return (self.secret / BUNDLE_KEY).read_text(encoding="utf-8").strip()

    def append(self, kind: str, **content: object) -> log.LogLine:
        """Add a signed line to the log."""
        return log.append(self.folder.log_path, kind, content, self.signing_key, self.event.public_key)


def open_folder(path: Path) -> EventFolder:
    """Return the event of a folder.

    Raises
    ------
    SettingsError
        The folder does not hold an event.
    """
    return EventFolder(path=path, event=read_event(path / FILE), records=path)


def secret_of(path: Path) -> Path:
    """Return the secret folder that belongs to a public one."""
    whole = path.resolve()
    return whole.with_name(whole.name + SECRET)


def open_organiser(path: Path, secret: Path | None = None) -> Organiser:
    """Return an event with its secrets.

    Raises
    ------
    SettingsError
        A folder or file is missing or wrong, or the secrets are those of another event.
    """
    secret = secret or secret_of(path)
    folder = dataclasses.replace(open_folder(path), records=secret)
    if not secret.is_dir():
        message = f"{secret}: there is no such folder of secrets. Name it by --secret; 'stemtwin event new' made it beside the event."
        raise SettingsError(message)
    keys, signing_key = read_keys(secret / KEYS), read_signing_key(secret / SIGNING)
    if keys.commitment != folder.event.commitment or public_text(signing_key) != folder.event.public_key:
        message = f"{secret} holds the secrets of another event than {folder.event.name!r}. Name the right folder by --secret."
        raise SettingsError(message)
    return Organiser(folder=folder, secret=secret, keys=keys, signing_key=signing_key)


def files_below(folder: Path) -> "Iterator[Path]":
    """Give all files of a folder in the order of their names, links and special files included."""
    return iter(sorted(one for one in folder.rglob("*") if one.is_symlink() or not one.is_dir()))
