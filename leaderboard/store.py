"""The board's store: one SQLite file that only grows.

Every write is one immediate transaction, so that processes that submit at once wait for each other; the same answers of the same team to the same
task are one row, however often they come.
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
    """Result of a submission: the number of the row, whether it is new, and since when the row exists (UTC)."""

    entry_id: int
    new: bool
    created: datetime.datetime
    name: str
    trust: str


def default_path() -> Path:
    """Return the file of the board: ``STEMTWIN_DATABASE``, or ``leaderboard.db`` in the user's data folder."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else platformdirs.user_data_path("stemtwin") / "leaderboard.db"


class Store:
    """A board in a SQLite file, made where it does not exist; tables of an earlier version are brought up to date when it is opened for writing.

    Parameters
    ----------
    path : path, optional
        The file, or ``":memory:"`` for a board that is lost with the store; ``default_path()`` where none is given.
    read_only : bool
        Whether the board is only shown: nothing is written, neither to the file, which must exist, nor beside it.

    Raises
    ------
    DatasetError
        The file cannot be made or read, is not a board, or is locked by another process for too long.
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
        """Turn errors of the database into a DatasetError, and close the connections then."""
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
        """Close it."""
        self.close()

    def writing(self) -> contextlib.AbstractContextManager[sa.Connection]:
        """Return a connection in an immediate transaction, as a context that commits."""
        return self.engine.execution_options(immediate=True).begin()

    def submit(self, report: Report) -> Receipt:
        """Enter a report and return its row; the row that holds the same answers of the same team to the same task, where there is one.

        Answers that stand there as reported or practice and were now scored are a new row; scored answers that come again as reported are not.

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
        """Return the entries, of one task or of all, in the order in which they came."""
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
    """Raise DatasetError where nothing can be entered on a board that lasts, before any work; no file is made."""
    path = Path(path) if path is not None else default_path()
    if path == MEMORY:
        message = f"A board in {MEMORY} is lost when the command ends. Name a file, or set {VARIABLE} to one."
        raise DatasetError(message)
    if path.exists():
        Store(path).close()
    else:
        check_writable(path)


def _make_room(path: Path) -> None:
    """Make the folder of a board; raise DatasetError where the file cannot be written."""
    try:
        if path.is_file():  # to open it here and close it would free the locks that SQLite holds on it
            check_writable(path.parent, folder=True)
        else:
            check_writable(path)
        path.parent.mkdir(parents=True, exist_ok=True)
    except DatasetError as error:
        message = f"{error} {VARIABLE} names the file of the board."
        raise DatasetError(message) from None


def _check_readable(path: Path) -> None:
    """Raise DatasetError where a board is not a file, or may not be read."""
    if not path.is_file():
        message = f"There is no board {path}. Set {VARIABLE} to the file of a board."
        raise DatasetError(message)
    if not os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
        message = f"{path} may not be read. Ask its owner for permission, or set {VARIABLE} to another board."
        raise DatasetError(message)


def _unusable(path: Path, reason: object) -> DatasetError:
    """Return the error for a file that cannot be a board, or not be written."""
    if "disk is full" in str(reason):
        return DatasetError(f"{path} cannot be written: the disk is full. Free space there, or set {VARIABLE} to a path elsewhere.")
    if "readonly" in str(reason):
        return DatasetError(f"{path} may only be read: nothing can be entered. Set {VARIABLE} to a path that can be written.")
    return DatasetError(f"{path} cannot be used as a board ({reason}). Set {VARIABLE} to a path that can be written.")


def same_answers(entries: Iterable[Entry], report: Report) -> Entry | None:
    """Return the entry that holds the answers of a report already, as :meth:`Store.submit` finds it; None where none does."""
    ordered, key = report.trust in ORDERED, (report.comparability_key, report.artefact_sha256, report.team)
    same = [one for one in entries if (one.comparability_key, one.artefact_sha256, one.team) == key and (one.ordered or not ordered)]
    return max(same, key=lambda one: one.ordered, default=None)


def make_entry(report: Report) -> Entry:
    """Return the row of a report, which is on no board yet."""
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
