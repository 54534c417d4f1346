"""Standings of an event: valid scores, scores that count, and the signed state of the board."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stemtwin.benchmarks.report import read_report
from stemtwin.leaderboard.events.folders import BOARD, RESULTS, REVIEWS, EventFolder
from stemtwin.leaderboard.events.log import LogLine
from stemtwin.leaderboard.events.settings import EventSettings
from stemtwin.leaderboard.events.signing import canonical, file_sha256, signed_by
from stemtwin.leaderboard.models import Entry
from stemtwin.leaderboard.reviews import Review, read_reviews
from stemtwin.leaderboard.store import Store
from stemtwin.twin.errors import SubmissionError
from stemtwin.twin.files import write_atomically

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SCHEMA = "stemtwin/board-state@1"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """Valid score, with the content of its line in the log; ``counts`` is True if the score counts on the board."""

    number: int
    team: str
    name: str
    task: str
    digest: str
    run: str
    report_sha256: str
    comparability_key: str
    artefact_sha256: str
    direction: str
    value: float | None
    counts: bool

    @property
    def label(self) -> str:
        """Name of the entry, ``TEAM/NAME``."""
        return f"{self.team}/{self.name}"

    @property
    def row(self) -> tuple[str, str, str]:
        """Key of the score's row on the board: key of the set of comparable entries, hash of the answers, and team."""
        return self.comparability_key, self.artefact_sha256, self.team


def scores(lines: Sequence[LogLine], event: EventSettings) -> list[Scored]:
    """Return the valid scores of a log and mark those that count; a score is valid unless a correction made it void.

    Withdrawn entries and all entries of a disqualified team are valid but do not count. Of the other entries of a team in a
    task, one counts. The setting ``counts`` of the event selects the best entry (the earliest of equal scores) or the last entry.
    """
    void = {line.content["task"]: line.number for line in lines if line.kind == "corrected"}
    withdrawn = {(line.content["team"], line.content["name"]): line.number for line in lines if line.kind == "withdrawn"}
    out = {line.content["team"] for line in lines if line.kind == "disqualified"}
    valid = [
        Scored(number=line.number, counts=False, **line.content)
        for line in lines
        if line.kind == "scored" and line.number > void.get(line.content["task"], -1)
    ]
    chosen: dict[tuple[str, str], Scored] = {}
    for one in valid:
        if one.team in out or one.number < withdrawn.get((one.team, one.name), -1):
            continue
        before = chosen.get((one.team, one.task))
        if before is None or event.counts == "last" or _better(one, before):
            chosen[one.team, one.task] = one
    counted = {one.number for one in chosen.values()}
    return [dataclasses.replace(one, counts=one.number in counted) for one in valid]


def _better(one: Scored, other: Scored) -> bool:
    """Return True if a score is strictly better than another."""
    if one.value is None or other.value is None:
        return one.value is not None
    return one.value > other.value if one.direction == "max" else one.value < other.value


class CountedStore(Store):
    """Board that shows only the rows that count.

    Parameters
    ----------
    path : Path
        File of the board.
    rows : set of tuple
        Rows that count, each as (comparability key, hash of the answers, team). Comparable entries have equal comparability keys.
    """

    def __init__(self, path: Path, rows: set[tuple[str, str, str]]) -> None:
        super().__init__(path, read_only=True)
        self.rows = rows

    def entries(self, task: str | None = None) -> list[Entry]:
        """Return the entries that count, of one task or of all tasks, in the order in which they were entered."""
        return [one for one in super().entries(task) if (one.comparability_key, one.artefact_sha256, one.team) in self.rows]


def counted_store(folder: EventFolder, valid: Sequence[Scored]) -> CountedStore:
    """Return the board of an event, limited to the rows that count."""
    return CountedStore(folder.records / BOARD, {one.row for one in valid if one.counts})


def fill_board(folder: EventFolder, valid: Sequence[Scored]) -> None:
    """Enter the reports of all valid scores on the event's board; after a correction, rename the old board and start a new one."""
    path, lines = folder.records / BOARD, folder.lines
    last = max((line.number for line in lines if line.kind == "corrected"), default=-1)
    aside = path.with_name(f"board-until-{last}.db")
    if last >= 0 and path.exists() and not aside.exists():
        path.replace(aside)
    with Store(path) as store:
        for one in valid:
            store.submit(read_report(folder.records / one.run / "report.json"))


def state_of(folder: EventFolder, lines: Sequence[LogLine]) -> dict[str, Any]:
    """Return the state of an event's board as plain values: rows with ranks, and the log's number of lines and last hash."""
    valid = scores(lines, folder.event)
    named = {one.row: one for one in valid if one.counts}
    with counted_store(folder, valid) as store:
        boards = store.boards()
    rows = [
        {
            "task": board.task,
            "major": board.major,
            "comparability_key": board.comparability_key,
            "team": row.team,
            "name": row.name,
            "metric": row.metric,
            "value": row.value,
            "rank": None if row.rank is None else list(row.rank),
            "trust": row.trust,
            "artefact_sha256": row.artefact_sha256,
            "report_sha256": named[board.comparability_key, row.artefact_sha256, row.team].report_sha256,
        }
        for board in boards
        for row in board.rows
    ]
    rows.sort(key=lambda row: (row["task"], row["major"], row["comparability_key"], row["rank"] is None, row["rank"] or [], row["team"], row["name"]))
    event = folder.event
    log = {"lines": len(lines), "head": lines[-1].hash if lines else ""}
    return {"schema": SCHEMA, "event": event.name, "commitment": event.commitment, "public_key": event.public_key, "log": log, "rows": rows}


def write_state(path: Path, state: dict[str, Any], key: "Ed25519PrivateKey") -> None:
    """Write the state of a board and the organiser's signature, which is made over the canonical JSON of the state."""
    signed = {"state": state, "signature": key.sign(canonical(state)).hex()}
    write_atomically(path, (json.dumps(signed, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())


def read_state(path: Path, public_key: str) -> dict[str, Any]:
    """Return the state in a file after a check of its signature.

    Raises
    ------
    SubmissionError
        The file does not exist, does not contain a state, or is not signed by the organiser.
    """
    try:
        signed = json.loads(path.read_text(encoding="utf-8"))
        state, signature = signed["state"], signed["signature"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        message = f"{path} does not contain the state of a board ({error}). Take the file from another copy of the event."
        raise SubmissionError(message) from None
    if not signed_by(public_key, str(signature), canonical(state)):
        message = f"{path}: the board was altered; its signature is not the organiser's. Take the file from another copy of the event."
        raise SubmissionError(message)
    return state


def check_reports(folder: EventFolder, valid: Sequence[Scored]) -> None:
    """Raise SubmissionError if a report differs from the report that the log records."""
    for one in valid:
        path = folder.records / one.run / "report.json"
        if not path.is_file() or file_sha256(path) != one.report_sha256:
            message = f"{path}: the report of {one.label} was altered; its sha256 differs from the log. Take the file from another copy of the event."
            raise SubmissionError(message)
        report = read_report(path)
        said = (report.team, report.comparability_key, report.artefact_sha256, report.primary.value)
        if said != (one.team, one.comparability_key, one.artefact_sha256, one.value):
            message = f"{path}: the report differs from line {one.number} of the log, which records the score of {one.label}. "
            message += "Take the file from another copy of the event."
            raise SubmissionError(message)


def reviews_of_runs(folder: EventFolder, valid: Sequence[Scored]) -> list[Review]:
    """Return the requests for review that scoring made for the entries that count."""
    paths = (folder.records / one.run / REVIEWS for one in valid if one.counts)
    return [review for path in paths if path.is_file() for review in read_reviews(path)]


def run_of(mark: str, correction: int) -> str:
    """Return the path of the run ``mark`` in the folder of records; runs after a correction have paths of their own."""
    return f"{RESULTS}/{mark}" + (f"-{correction}" if correction >= 0 else "")
