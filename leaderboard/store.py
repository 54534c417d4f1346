"""Append-only store of the board in one SQLite file.

Every write is one immediate transaction, so processes that submit at the same time wait for each other. If a team submits
the same answers to the same task several times, the board still has only one row for these answers.
"""

import contextlib
import dataclasses
import datetime
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

import platformdirs
import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from stemtwin.benchmarks.report import ORDERED, Report
from stemtwin.leaderboard.connection import MEMORY, VARIABLE, check_tables, make_engine, prepare
from stemtwin.leaderboard.models import Entry, Score
from stemtwin.leaderboard.tables import Board, make_board
from stemtwin.twin.errors import DatasetError
from stemtwin.twin.files import check_writable


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """Receipt of a submission: number of its row, time of entry (UTC), name and trust; ``new`` is True if the row did not exist before."""

    entry_id: int
    new: bool
    created: datetime.datetime
    name: str
    trust: str


def default_path() -> Path:
    """Return the path of the board's file: the value of ``STEMTWIN_DATABASE``, or ``leaderboard.db`` in the user's data folder."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else platformdirs.user_data_path("stemtwin") / "leaderboard.db"


class Store:
    """Board in a SQLite file.

    A missing file is created, and tables of an earlier version are migrated when the file is opened for writing.

    Parameters
    ----------
    path : path, optional
        The file, or ``":memory:"`` for a board that is lost when the store is closed; by default ``default_path()``.
    read_only : bool
        Whether the board is only read. If so, the file must exist, and nothing is written to it or beside it.

    Raises
    ------
    DatasetError
        The file cannot be created or read, is not a board, or is locked by another process for too long.
    """

    def __init__(self, path: Path | str | None = None, *, read_only: bool = False) -> None:
        self.path = Path(path) if path is not None else default_path()
        if read_only:
            _check_readable(self.path)
        elif self.path != MEMORY:
            _make_room(self.path)
        self.engine = make_engine(self.path, read_only=read_only)
        with self._telling(), self.engine.begin() if read_only else self.writing() as connection:
            if not read_only:
                prepare(connection, self.path)
            self.empty = not check_tables(connection, self.path)

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """Close the connections after an error, and convert errors of the database to DatasetError."""
        try:
            yield
        except (DatabaseError, sqlite3.Error) as error:
            self.close()
            raise _unusable(self.path, getattr(error, "orig", error)) from None
        except DatasetError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    def __enter__(self) -> "Store":
        """Return the store."""
        return self

    def __exit__(self, *args: object) -> None:
        """Close the store."""
        self.close()

    def writing(self) -> contextlib.AbstractContextManager[sa.Connection]:
        """Return a context manager that yields a connection in an immediate transaction and commits it at the end."""
        return self.engine.execution_options(immediate=True).begin()

    def submit(self, report: Report) -> Receipt:
        """Enter a report and return the receipt of its row.

        If the board already has the same answers of the same team to the same task, the receipt is that of the existing
        row. Answers that were first entered with the trust ``"reported"`` or ``"practice"`` give a new row when they are
        scored. Scored answers that are submitted again as ``"reported"`` give no new row.

        Parameters
        ----------
        report : Report
            The score report.
        """
        ordered = report.trust in ORDERED
        same = sa.select(Entry).where(
            Entry.comparability_key == report.comparability_key, Entry.artefact_sha256 == report.artefact_sha256, Entry.team == report.team
        )
        same = same.where(Entry.ordered) if ordered else same.order_by(Entry.ordered.desc())
        with self._telling(), self.writing() as connection, Session(bind=connection, expire_on_commit=False) as session:
            found = session.scalar(same.limit(1))
            new = found is None
            if found is None:
                found = make_entry(report)
                session.add(found)
                session.flush()
            return Receipt(entry_id=found.id, new=new, created=found.created, name=found.name, trust=found.trust)

    def entries(self, task: str | None = None) -> list[Entry]:
        """Return the entries of one task or of all tasks, in the order in which they were entered."""
        if self.empty:
            return []
        query = sa.select(Entry).order_by(Entry.id)
        with self._telling(), Session(self.engine, expire_on_commit=False) as session:
            return list(session.scalars(query if task is None else query.where(Entry.task == task)))

    def boards(self, task: str | None = None) -> list[Board]:
        """Return one board for each set of comparable entries; see :func:`stemtwin.leaderboard.tables.make_board`."""
        groups: dict[str, list[Entry]] = {}
        for entry in self.entries(task):
            groups.setdefault(entry.comparability_key, []).append(entry)
        return [make_board(group) for group in groups.values()]


def check_board(path: Path | str | None = None) -> None:
    """Raise DatasetError, before any work, if the board's file cannot store an entry; no file is created."""
    path = Path(path) if path is not None else default_path()
    if path == MEMORY:
        message = f"A board in {MEMORY} is lost when the command ends. Name a file, or set {VARIABLE} to the path of a file."
        raise DatasetError(message)
    if path.exists():
        Store(path).close()
    else:
        check_writable(path)


def _make_room(path: Path) -> None:
    """Create the folder of a board; raise DatasetError if the file cannot be written."""
    try:
        if path.is_file():  # opening and closing the file here would release SQLite's locks on it
            check_writable(path.parent, folder=True)
        else:
            check_writable(path)
        path.parent.mkdir(parents=True, exist_ok=True)
    except DatasetError as error:
        message = f"{error} Set {VARIABLE} to the path of the board's file."
        raise DatasetError(message) from None


def _check_readable(path: Path) -> None:
    """Raise DatasetError if a board is not a file or cannot be read."""
    if not path.is_file():
        message = f"There is no board {path}. Set {VARIABLE} to the path of a board's file."
        raise DatasetError(message)
    if not os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
        message = f"{path} cannot be read: permission denied. Ask its owner for permission, or set {VARIABLE} to another board."
        raise DatasetError(message)


def _unusable(path: Path, reason: object) -> DatasetError:
    """Return the error for a file that is not a board or cannot be written."""
    if "disk is full" in str(reason):
        return DatasetError(f"{path} cannot be written: the disk is full. Free space there, or set {VARIABLE} to a path on another disk.")
    if "readonly" in str(reason):
        return DatasetError(f"{path} is read-only, so nothing can be entered. Set {VARIABLE} to a path that can be written.")
    return DatasetError(f"{path} cannot be used as a board ({reason}). Set {VARIABLE} to a path that can be written.")


def same_answers(entries: Iterable[Entry], report: Report) -> Entry | None:
    """Return the existing entry whose receipt :meth:`Store.submit` would return for a report, or None for a new report."""
    ordered, key = report.trust in ORDERED, (report.comparability_key, report.artefact_sha256, report.team)
    same = [one for one in entries if (one.comparability_key, one.artefact_sha256, one.team) == key and (one.ordered or not ordered)]
    return max(same, key=lambda one: one.ordered, default=None)


def make_entry(report: Report) -> Entry:
    """Return a new entry with the scores of a report; the entry is not yet on a board."""
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
        ordered=report.trust in ORDERED,
        version=made.version,
        seeds=json.dumps(made.seeds),
        git_commit=made.git_commit,
        git_dirty=made.git_dirty,
        wall_s=made.wall_s,
        report=report.to_json(),
        scores=scores,
    )
