"""New events: folders, secrets, hidden rows, and the bundle that teams receive before the start."""

import datetime
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stemtwin.benchmarks.report import version
from stemtwin.benchmarks.seed_keys import SeedKeys, draw_keys, write_keys
from stemtwin.leaderboard.events import bundle
from stemtwin.leaderboard.events.event_pages import WORKFLOWS, guide_text, workflow_text
from stemtwin.leaderboard.events.folders import (
    BUNDLE,
    BUNDLE_KEY,
    KEYS,
    PRACTICE,
    SIGNING,
    SUBMISSIONS,
    Organiser,
    Tell,
    open_organiser,
    secret_of,
)
from stemtwin.leaderboard.events.hidden_tasks import hidden_tasks
from stemtwin.leaderboard.events.log import now
from stemtwin.leaderboard.events.scoring import build_lines, one_at_a_time, publish
from stemtwin.leaderboard.events.settings import FILE, make_event, write_event
from stemtwin.leaderboard.events.signing import draw_signing_key, file_sha256, public_text, sha256, write_signing_key
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.files import check_writable, replacing, write_atomically

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

IGNORED = "opened/\n.incoming-*/\n*.lock\n"
TEAMS_FOLDERS = {
    SUBMISSIONS: "Submissions: one folder TEAM/NAME each; see guide.md.\n",
    PRACTICE: "Practice tables for the public rows: one folder TEAM/NAME each; see guide.md. The check scores them; they are never ranked.\n",
}


def new_event(path: Path, settings: dict[str, Any], *, secret: Path | None = None) -> Organiser:
    """Create the public and the secret folder of an event, and return the event with its secrets.

    Parameters
    ----------
    path : Path
        New folder; its name is the name of the event, unless the settings contain another name.
    settings : dict
        Values of ``event.toml`` except schema, commitment and public key.
    secret : Path, optional
        New secret folder; by default ``NAME-secret`` beside the public one.

    Raises
    ------
    SettingsError
        A setting is wrong, a folder exists, or the secret folder is inside the public one.
    DatasetError
        A folder cannot be written.
    """
    for one in (path, *(() if secret is None else (secret,))):
        check_writable(one, folder=True)
    path, secret = path.resolve(), (secret or secret_of(path)).resolve()
    if path == secret or path in secret.parents:
        message = f"The secret folder {secret} is inside the public folder {path}, which others can read. Give another folder with --secret."
        raise SettingsError(message)
    for one in (path, secret):
        check_writable(one, folder=True)
        if one.exists() and (not one.is_dir() or any(one.iterdir())):
            message = f"{one} already exists and is not an empty folder. Give a folder that is empty or does not exist."
            raise SettingsError(message)
    keys, signing_key = draw_keys(), draw_signing_key()
    values = {"schema": "stemtwin/event@1", "name": path.name, "title": path.name, **settings}
    event = make_event(values | {"commitment": keys.commitment, "public_key": public_text(signing_key)}, f"The event {path.name!r}")
    event.check_kinds()
    write_secrets(secret, keys, signing_key)
    with replacing(path) as temporary:
        write_event(temporary / FILE, event)
        write_atomically(temporary / "guide.md", guide_text(event).encode())
        write_atomically(temporary / ".gitignore", IGNORED.encode())
        for name in WORKFLOWS:
            write_atomically(temporary / ".github" / "workflows" / name, workflow_text(name).encode())
        for name, text in TEAMS_FOLDERS.items():
            write_atomically(temporary / name / "README.md", text.encode())
    organiser = open_organiser(path, secret)
    public = {"commitment": event.commitment, "public_key": event.public_key}
    organiser.append("created", event=event.name, stemtwin=version(), sha256=file_sha256(path / FILE), **public)
    publish(organiser)
    return organiser


def write_secrets(secret: Path, keys: SeedKeys, signing_key: "Ed25519PrivateKey") -> None:
    """Write the keys of an event to a folder that only the current user can read and that Git ignores."""
    secret.mkdir(mode=0o700, parents=True, exist_ok=True)
    secret.chmod(0o700)
    write_keys(secret / KEYS, keys)
    write_signing_key(secret / SIGNING, signing_key)
    write_atomically(secret / ".gitignore", b"*\n")


def seal_event(organiser: Organiser, *, wheels: Path | None = None, tell: Tell | None = None) -> Path:
    """Build the hidden rows, encrypt tasks, inputs and wheels in a bundle, and return the path of the bundle.

    Parameters
    ----------
    organiser : Organiser
        The event with its secrets.
    wheels : Path, optional
        Folder of wheels for an installation without a network, as written by ``pip download``.
    tell : callable, optional
        Function that is called with progress messages.

    Raises
    ------
    SettingsError
        The bundle's key is already published, or the folder of wheels contains no wheel.
    """
    if organiser.folder.first("opened") is not None:
        message = f"The key of {organiser.event.name} is already published, so a new bundle would not be secret. Make a new event."
        raise SettingsError(message)
    if wheels is not None and not any(wheels.glob("*.whl")):
        message = f"{wheels} contains no wheel. Fill it with 'python -m pip download stemtwin --dest {wheels}'."
        raise SettingsError(message)
    with one_at_a_time(organiser):
        payload, target = organiser.secret / "payload", organiser.path / BUNDLE
        shutil.rmtree(payload, ignore_errors=True)
        _fill_payload(organiser, payload, wheels, tell)
        key = bundle.draw_bundle_key()  # each bundle has its own key; the earlier key is kept until this bundle is complete
        digest = bundle.seal(payload, target, key=key, event=organiser.event.name, opens=organiser.event.opens)
        write_atomically(organiser.secret / BUNDLE_KEY, f"{key}\n".encode())
        (organiser.secret / BUNDLE_KEY).chmod(0o600)
        shutil.rmtree(payload)
        organiser.append("sealed", sha256=digest)
        publish(organiser)
    return target


def _fill_payload(organiser: Organiser, payload: Path, wheels: Path | None, tell: Tell | None) -> None:
    """Write the contents of the bundle."""
    event = organiser.event
    write_atomically(payload / "guide.md", guide_text(event).encode())
    shutil.copyfile(organiser.path / FILE, payload / FILE)
    for part in (*event.tasks, *event.environments):
        card = json.dumps(part.find().card(), indent=1, default=dict, ensure_ascii=False)
        write_atomically(payload / "tasks" / f"{part.task}.json", f"{card}\n".encode())
    for hidden in hidden_tasks(event):
        hidden.build(organiser.keys, organiser.secret / "data", build_lines(hidden, tell))
        hidden.write_inputs(organiser.keys, organiser.secret / "data", payload / "inputs" / hidden.slug)
    for wheel in sorted(wheels.glob("*.whl")) if wheels is not None else ():
        (payload / "wheels").mkdir(exist_ok=True)
        shutil.copyfile(wheel, payload / "wheels" / wheel.name)


def publish_key(organiser: Organiser, *, clock: datetime.datetime | None = None) -> str:
    """Publish the key of the bundle in the event's folder and log, and return the key.

    Parameters
    ----------
    organiser : Organiser
        The event with its secrets.
    clock : datetime, optional
        Current time; by default the system time.

    Raises
    ------
    SettingsError
        The event has not started, nothing is sealed, or the sealing was interrupted.
    """
    path = organiser.path / BUNDLE
    if not path.is_file() or not (organiser.secret / BUNDLE_KEY).is_file():
        message = f"{path}: nothing is sealed yet. Run 'stemtwin event seal {organiser.path}' first."
        raise SettingsError(message)
    header = bundle.read_header(path)
    if (clock or now()) < header["when"]:
        message = f"{path} opens at {header['opens']}, and its key is not published before then. Wait for the start of {organiser.event.name}."
        raise SettingsError(message)
    if sha256(bundle.read_key(organiser.bundle_key)) != header["key_sha256"]:
        message = f"{organiser.secret / BUNDLE_KEY} is not the key of {path}. Run 'stemtwin event seal {organiser.path}' again."
        raise SettingsError(message)
    with one_at_a_time(organiser):
        if organiser.folder.first("opened") is None:
            write_atomically(organiser.path / BUNDLE_KEY, f"{organiser.bundle_key}\n".encode())
            organiser.append("opened", key=organiser.bundle_key, sha256=file_sha256(path))
            publish(organiser)
    return organiser.bundle_key
