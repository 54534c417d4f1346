"""End of an event: the keys are revealed, and all files are packed in one archive folder, which is signed and verified."""

import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from stemtwin.benchmarks.report import version
from stemtwin.benchmarks.seed_keys import write_keys
from stemtwin.leaderboard.events.event_pages import write_event_pages
from stemtwin.leaderboard.events.folders import (
    BOARD,
    BUNDLE,
    BUNDLE_KEY,
    JURY,
    KEYS,
    LOG,
    PAGES,
    RESULTS,
    STATE,
    SUBMISSIONS,
    EventFolder,
    Organiser,
    Tell,
)
from stemtwin.leaderboard.events.folders import files_below as all_files
from stemtwin.leaderboard.events.hidden_tasks import hidden_tasks
from stemtwin.leaderboard.events.jury import check_teams, write_material
from stemtwin.leaderboard.events.log import LogLine, next_line, now, write_log
from stemtwin.leaderboard.events.scoring import Truths, build_lines, one_at_a_time, publish, score_event
from stemtwin.leaderboard.events.settings import FILE, EventSettings
from stemtwin.leaderboard.events.signing import file_sha256
from stemtwin.leaderboard.events.standings import counted_store, scores, state_of, write_state
from stemtwin.leaderboard.events.verification import verify_archive
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.files import check_writable, replacing, write_atomically

if TYPE_CHECKING:
    from stemtwin.leaderboard.tables import Board

SUMS = "SHA256SUMS"
DATA = "data"
ABOUT_LAST = (LOG, STATE, SUMS, PAGES)
"""Files without a checksum: the log contains the hash of the checksums, the state follows from the log, and the pages show log and state."""


def close_event(organiser: Organiser, target: Path, *, isolation: str | None = None, tell: Tell | None = None) -> Path:
    """Close a frozen event, and return the folder of a signed archive that contains the revealed keys.

    Submissions that are not scored yet are scored first. The archive appears, and the keys are published, only if every
    recomputed score and rank agrees with the board.

    Parameters
    ----------
    organiser : Organiser
        The event with its secrets.
    target : Path
        Folder of the archive; ``TARGET.zip`` is written beside it.
    isolation : str, optional
        Level of isolation for agents that are not scored yet; by default the event's level.
    tell : callable, optional
        Function that is called with progress messages.

    Raises
    ------
    SettingsError
        The event is not frozen or is already closed.
    SubmissionError
        The archive does not reproduce the scores and ranks of the board.
    """
    event, tell = organiser.event, tell or (lambda _: None)
    if organiser.folder.first("frozen") is None:
        message = f"{event.name} is not frozen. Run 'stemtwin event freeze {organiser.path}' first, because closing the event publishes the keys."
        raise SettingsError(message)
    check_writable(target, folder=True)
    if target.exists() and any(target.iterdir()):
        message = f"{target} is not empty. Use --output with a folder that is empty or does not exist."
        raise SettingsError(message)
    failed = [one for one in score_event(organiser, isolation=isolation, tell=tell) if one.status == "failed"]
    if failed:
        message = f"{failed[0].label} could not be scored ({failed[0].text}). Repair the cause or disqualify the team, and close the event again."
        raise SettingsError(message)
    with one_at_a_time(organiser):
        with replacing(target) as temporary:
            _pack(organiser, temporary, tell)
            lines = _sign(organiser, temporary)
            for text in verify_archive(temporary, tell=tell, remake=False):
                tell(text)
        write_keys(organiser.path / KEYS, organiser.keys).chmod(0o644)
        write_log(organiser.folder.log_path, lines)
        publish(organiser)
    _zip(target)
    return target


def _pack(organiser: Organiser, target: Path, tell: Tell) -> None:
    """Write all files of the archive except the checksums, the signed state and the final log."""
    path, event = organiser.path, organiser.event
    target.mkdir(parents=True)
    write_keys(target / KEYS, organiser.keys).chmod(0o644)
    for one in (path / FILE, path / "guide.md", path / BUNDLE, path / BUNDLE_KEY, organiser.secret / BOARD):
        if one.is_file():
            shutil.copyfile(one, target / one.name)
    for one in (path / SUBMISSIONS, organiser.secret / RESULTS):
        if one.is_dir():
            shutil.copytree(one, target / one.name, symlinks=True, ignore=_links)
    for hidden in hidden_tasks(event):
        hidden.build(organiser.keys, organiser.secret / DATA, build_lines(hidden, tell))
        shutil.copytree(organiser.secret / DATA / hidden.slug, target / DATA / hidden.slug)
        tell(f"rebuilding the hidden rows of {hidden.task.name} from the revealed keys")
        hidden.verify(organiser.keys, target / DATA, tell)
        hidden.reveal(organiser.keys, target / DATA)
    (target / RESULTS).mkdir(exist_ok=True)
    lines = organiser.folder.lines
    write_log(target / LOG, lines)
    there = EventFolder(path=target, event=event, records=target)
    tell("comparing the entries of different teams")
    write_material(there, lines, check_teams(there, lines, Truths(organiser.keys, target / DATA, tell)), target / JURY)
    with counted_store(there, scores(lines, event)) as store:
        for number, board in enumerate(store.boards(), start=1):
            _draw(board, target / "figures" / f"{number}-{board.task}-{board.major}.svg")
    write_atomically(target / "CITATION.cff", _citation(event).encode())
    write_atomically(target / "README.md", _readme(event).encode())


def _links(folder: str, names: list[str]) -> list[str]:
    """Return the names that are links in a folder; links are not archived, because submissions with links are refused."""
    return [name for name in names if (Path(folder) / name).is_symlink()]


def _sign(organiser: Organiser, target: Path) -> list[LogLine]:
    """Write checksums, the last line of the log, the signed state and the pages, and return the lines of the log."""
    write_atomically(target / SUMS, checksums(target).encode())
    lines = organiser.folder.lines
    content = {"sums_sha256": file_sha256(target / SUMS), "keys": "revealed"}
    lines = [*lines, next_line(lines, "closed", content, organiser.signing_key)]
    write_log(target / LOG, lines)
    there = EventFolder(path=target, event=organiser.event, records=target)
    write_state(target / STATE, state_of(there, lines), organiser.signing_key)
    write_event_pages(there, lines)
    return lines


def checksums(folder: Path) -> str:
    """Return the sha256 of each file of an archive, in the format of ``sha256sum``.

    The log, the signed state of the board, the list of checksums and the pages are left out, because they depend on the checksums.
    """
    names = (path.relative_to(folder) for path in all_files(folder))
    kept = [name for name in names if name.parts[0] not in ABOUT_LAST]
    return "".join(f"{file_sha256(folder / name)}  {name.as_posix()}\n" for name in kept)


def _draw(board: "Board", path: Path) -> None:
    """Draw the scores of a board with their intervals."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    rows = [row for row in board.rows if row.value is not None][:40]
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "stemtwin", "svg.fonttype": "none", "text.usetex": False, "text.parse_math": False}):
        figure = Figure(figsize=(7, 1 + 0.3 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        for height, row in enumerate(reversed(rows)):
            value = row.value or 0.0
            ends = (value if row.low is None else row.low, value if row.high is None else row.high)
            axes.plot(ends, (height, height), color="0.6")
            axes.plot(value, height, "o", color="C0")
        axes.set_yticks(range(len(rows)), [f"{row.team}: {row.name}" for row in reversed(rows)])
        unit = f" ({board.rows[0].unit})" if board.rows[0].unit else ""
        axes.set_xlabel(f"{board.rows[0].metric}{unit}, 95 % interval")
        axes.set_title(f"{board.task}@{board.major}")
        with replacing(path) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None})


def _citation(event: EventSettings) -> str:
    """Return the citation file of the archive (CFF)."""
    content = {
        "cff-version": "1.2.0",
        "message": "If you use these data or results, please cite them as below.",
        "type": "dataset",
        "title": f"{event.title}: tasks, submissions and results",
        "authors": [{"name": f"Organisers and teams of {event.title}"}],
        "date-released": now().date().isoformat(),
        "version": "1.0.0",
        "license": "CC-BY-4.0",
        "keywords": ["electron microscopy", "STEM", "benchmark"],
        "references": [{"type": "software", "title": "stemtwin", "version": version(), "authors": [{"name": "stemtwin contributors"}]}],
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _readme(event: EventSettings) -> str:
    """Return the README of the archive (Markdown)."""
    return (
        f"# {event.title}: archive\n\n"
        f"Every rank can be recomputed, without a network, with stemtwin {version()}:\n\n    stemtwin event verify .\n\n"
        f"Compare the public key that the command prints with the announced one: `{event.public_key}`.\n\n"
        "- `event.toml`, `guide.md`, `sealed.bundle`, `bundle-key.txt`: settings, guide, and the bundle with its key.\n"
        "- `keys.json`: the keys of all hidden rows and episodes; their hash was published before the event.\n"
        "- `data/`: the hidden rows with their truth, as Parquet and netCDF; the names and kinds of honeypots, which did not count.\n"
        "- `submissions/`, `results/`: submissions of the teams; reports, answers and actions.\n"
        "- `log.jsonl`, `board.json`: the signed log and the signed state of the board; `pages/index.html` shows both.\n"
        "- `figures/`: scores with their intervals. `SHA256SUMS`: checksums; their hash is in the last line of the log.\n"
    )


def _zip(target: Path) -> None:
    """Write the archive as one zip file beside its folder."""
    with replacing(target.with_name(f"{target.name}.zip")) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for path in all_files(target):
            member = zipfile.ZipInfo(f"{target.name}/{path.relative_to(target).as_posix()}")  # without a date, so equal archives are equal files
            member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            with path.open("rb") as source, archive.open(member, "w", force_zip64=True) as out:
                shutil.copyfileobj(source, out)
