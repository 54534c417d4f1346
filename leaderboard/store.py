"""The board's store: one SQLite file that only grows.

Every write is one immediate transaction, so that processes that submit at once wait for each other; the same answers to the same task are one row,
however often they come.
"""

import contextlib
import dataclasses
import datetime
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import platformdirs
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from stemtwin.benchmarks.report import RANKED, Report
from stemtwin.benchmarks.statistics import rank_intervals
from stemtwin.leaderboard.models import Base, Entry, Score
from stemtwin.twin.errors import DatasetError
from stemtwin.twin.files import NOTICE_S, check_writable, still_locked, tell_wait

VARIABLE = "STEMTWIN_DATABASE"
BUSY_S = 60.0
"""Longest wait for another process that writes, s; an entry takes milliseconds."""
PAUSE_S = 0.02
"""Time between two trials, s."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """Result of a submission: the number of the row, whether it is new, and since when the row exists (UTC)."""

    entry_id: int
    new: bool
    created: datetime.datetime
    name: str
    trust: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BoardRow:
    """One line of a board; ``rank`` is (best, worst) of a rank interval, None for rows that are not ranked."""

    rank: tuple[int, int] | None
    entry_id: int
    name: str
    team: str
    metric: str
    unit: str
    direction: str
    value: float | None
    low: float | None
    high: float | None
    worst: str
    worst_value: float | None
    cost: dict[str, float]
    trust: str
    created: str
    version: str
    git_commit: str | None
    wall_s: float
    seeds: dict[str, Any]
    source_sha256: str
    artefact_sha256: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Board:
    """One table: entries that were scored on the same data with the same metric."""

    task: str
    major: int
    source: str
    source_version: str
    size: str
    split: str
    comparability_key: str
    rows: tuple[BoardRow, ...]


def default_path() -> Path:
    """Return the file of the board: ``STEMTWIN_DATABASE``, or ``leaderboard.db`` in the user's data folder."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else platformdirs.user_data_path("stemtwin") / "leaderboard.db"


class Store:
    """A board in a SQLite file, made where it does not exist.

    Parameters
    ----------
    path : path, optional
        The file; ``default_path()`` where none is given.

    Raises
    ------
    DatasetError
        The file cannot be made or is not a board.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        self.path = Path(path) if path is not None else default_path()
        try:
            if self.path.is_file():  # to open it here and close it would free the locks that SQLite holds on it
                check_writable(self.path.parent, folder=True)
            else:
                check_writable(self.path)
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except DatasetError as error:
            message = f"{error} {VARIABLE} names the file of the board."
            raise DatasetError(message) from None
        self.engine = sa.create_engine(sa.URL.create("sqlite", database=str(self.path)), connect_args={"timeout": BUSY_S})
        event.listen(self.engine, "connect", self._configure)
        event.listen(self.engine, "begin", self._begin)
        with self._telling(), self.writing() as connection:
            Base.metadata.create_all(connection)
            connection.execute(sa.select(Entry).limit(0))  # a table of another program has other columns

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """Turn errors of the database into a DatasetError, and close the connections then."""
        try:
            yield
        except (DatabaseError, sqlite3.Error) as error:
            self.close()
            raise _unusable(self.path, getattr(error, "orig", error)) from None
        except DatasetError:
            self.close()
            raise

    def _configure(self, connection: sqlite3.Connection, _: object) -> None:
        """Set up a connection: transactions by hand, foreign keys, write-ahead log."""
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        if self._patiently(connection, "PRAGMA journal_mode").fetchone()[0] != "wal":
            self._patiently(connection, "PRAGMA journal_mode = WAL")

    def _begin(self, connection: sa.Connection) -> None:
        """Begin a transaction; a writing one takes its lock at once, so that it never has to give up halfway."""
        immediate = connection.get_execution_options().get("immediate")
        self._patiently(connection.connection.driver_connection, "BEGIN IMMEDIATE" if immediate else "BEGIN")

    def _patiently(self, connection: Any, statement: str) -> sqlite3.Cursor:
        """Run a statement; while another process locks the file, tell it after three seconds, and give up after a minute."""
        began, told = time.monotonic(), False
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            while True:
                try:
                    return connection.execute(statement)
                except sqlite3.OperationalError as error:
                    waited = time.monotonic() - began
                    if "locked" not in str(error):
                        raise
                    if waited >= BUSY_S:
                        raise DatasetError(still_locked(self.path, waited, "another process")) from None
                if waited >= NOTICE_S and not told:
                    tell_wait(self.path, "another process")
                    told = True
                time.sleep(PAUSE_S)
        finally:
            connection.execute(f"PRAGMA busy_timeout = {int(1e3 * BUSY_S)}")

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    def __enter__(self) -> "Store":
        """Return the store."""
        return self

    def __exit__(self, *args: object) -> None:
        """Close it."""
        self.close()

    def writing(self) -> contextlib.AbstractContextManager[sa.Connection]:
        """Return a connection in an immediate transaction, as a context that commits."""
        return self.engine.execution_options(immediate=True).begin()

    def submit(self, report: Report) -> Receipt:
        """Enter a report and return its row; the row that holds the same answers to the same task, where there is one.

        Answers that stand there unranked and can now be ranked are a new row; ranked answers that come again unranked are not.

        Parameters
        ----------
        report : Report
            The score report.
        """
        ranked = report.trust in RANKED
        same = sa.select(Entry).where(Entry.comparability_key == report.comparability_key, Entry.artefact_sha256 == report.artefact_sha256)
        same = same.where(Entry.ranked) if ranked else same.order_by(Entry.ranked.desc())
        with self._telling(), self.writing() as connection, Session(bind=connection, expire_on_commit=False) as session:
            found = session.scalar(same.limit(1))
            new = found is None
            if found is None:
                found = _entry(report)
                session.add(found)
                session.flush()
            return Receipt(entry_id=found.id, new=new, created=found.created, name=found.name, trust=found.trust)

    def entries(self, task: str | None = None) -> list[Entry]:
        """Return the entries, of one task or of all, in the order in which they came."""
        query = sa.select(Entry).order_by(Entry.id)
        with self._telling(), Session(self.engine, expire_on_commit=False) as session:
            return list(session.scalars(query if task is None else query.where(Entry.task == task)))

    def boards(self, task: str | None = None) -> list[Board]:
        """Return one board for each set of comparable entries, best first, rows that are not ranked among them by their score."""
        groups: dict[str, list[Entry]] = {}
        for entry in self.entries(task):
            groups.setdefault(entry.comparability_key, []).append(entry)
        return [_board(group) for group in groups.values()]


def check_board(path: Path | str | None = None) -> None:
    """Raise DatasetError where nothing can be entered on a board, before any work; no file is made."""
    path = Path(path) if path is not None else default_path()
    if path.exists():
        Store(path).close()
    else:
        check_writable(path)


def _unusable(path: Path, reason: object) -> DatasetError:
    """Return the error for a file that cannot be a board, or not be written."""
    if "disk is full" in str(reason):
        return DatasetError(f"{path} cannot be written: the disk is full. Free space there, or set {VARIABLE} to a path elsewhere.")
    return DatasetError(f"{path} cannot be used as a board ({reason}). Set {VARIABLE} to a path that can be written.")


def _entry(report: Report) -> Entry:
    """Return the row of a report."""
    made, source, primary = report.provenance, report.source, report.primary
    scores = [
        Score(
            metric=one.name,
            metric_version=one.version,
            direction=one.direction,
            unit=one.unit,
            n=source.n,
            value=one.value,
            low=one.interval and one.interval.low,
            high=one.interval and one.interval.high,
        )
        for one in report.metrics
    ]
    scores += [
        Score(
            metric=primary.name,
            metric_version=primary.version,
            direction=primary.direction,
            unit=primary.unit,
            column=one.column,
            label=one.label,
            n=one.n,
            value=one.value,
            low=one.interval and one.interval.low,
            high=one.interval and one.interval.high,
        )
        for one in report.slices
    ]
    return Entry(
        created=datetime.datetime.now(datetime.UTC).replace(tzinfo=None, microsecond=0),
        task=report.task,
        major=report.major,
        comparability_key=report.comparability_key,
        source=source.name,
        source_version=source.version,
        size=source.size,
        split=source.split,
        source_sha256=source.sha256,
        artefact_sha256=report.artefact_sha256,
        name=report.entry,
        team=report.team,
        trust=report.trust,
        ranked=report.trust in RANKED,
        version=made.version,
        seeds=json.dumps(made.seeds),
        git_commit=made.git_commit,
        git_dirty=made.git_dirty,
        wall_s=made.wall_s,
        report=report.to_json(),
        scores=scores,
    )


def _board(entries: list[Entry]) -> Board:
    """Return the board of comparable entries."""
    scored = [(entry, next(score for score in entry.scores if not score.column)) for entry in entries]
    direction = scored[0][1].direction
    ranked = [(entry.id, score.value, score.low, score.high) for entry, score in scored if entry.ranked and score.value is not None]
    ends = [(low, high) if low is not None and high is not None else None for _, _, low, high in ranked]
    ranks = rank_intervals([value for _, value, _, _ in ranked], ends, direction=direction)
    places = {number: rank for (number, _, _, _), rank in zip(ranked, ranks, strict=True)}
    sign = -1.0 if direction == "max" else 1.0
    scored.sort(key=lambda pair: (pair[1].value is None, sign * (pair[1].value or 0.0), pair[0].id))
    first = entries[0]
    return Board(
        task=first.task,
        major=first.major,
        source=first.source,
        source_version=first.source_version,
        size=first.size,
        split=first.split,
        comparability_key=first.comparability_key,
        rows=tuple(_row(entry, score, places.get(entry.id)) for entry, score in scored),
    )


def _row(entry: Entry, score: Score, rank: tuple[int, int] | None) -> BoardRow:
    """Return the line of one entry."""
    report = json.loads(entry.report)
    worst = report["worst"]
    return BoardRow(
        rank=rank,
        entry_id=entry.id,
        name=entry.name,
        team=entry.team,
        metric=score.metric,
        unit=score.unit,
        direction=score.direction,
        value=score.value,
        low=score.low,
        high=score.high,
        worst=worst["title"] if worst else "",
        worst_value=worst["value"] if worst else None,
        cost=report["cost"],
        trust=entry.trust,
        created=entry.created.isoformat() + "Z",
        version=entry.version,
        git_commit=entry.git_commit,
        wall_s=entry.wall_s,
        seeds=json.loads(entry.seeds),
        source_sha256=entry.source_sha256,
        artefact_sha256=entry.artefact_sha256,
    )
