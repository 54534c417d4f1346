"""Connections to the board's file for reading and writing: locks, and migration of earlier versions.

The journal is SQLite's rollback journal, not a write-ahead log. A rollback journal needs only file locks, so a board can be
on a cluster's file system, and reading a board needs no permission to write to its folder. A board of version 1, which has a
write-ahead log, is converted when it is next opened for writing.
"""

import contextlib
import errno
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from stemtwin.leaderboard.models import Base, Entry, Score
from stemtwin.twin.errors import DatasetError
from stemtwin.twin.files import NOTICE_S, still_locked, tell_wait

VARIABLE = "STEMTWIN_DATABASE"
MEMORY = Path(":memory:")
"""Path of a board in memory, which is lost when its store is closed."""
VERSION = 2
"""Version of the tables, SQLite's ``user_version``; in boards of version 1 it is 0."""
BUSY_S = 60.0
"""Longest wait for another process that writes, s; writing an entry takes milliseconds."""
PAUSE_S = 0.02
"""Time between two attempts, s."""
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""Errors of a file system without file locks."""


def make_engine(path: Path, *, read_only: bool) -> sa.Engine:
    """Return the database engine of a board, which uses foreign keys and explicit transactions and waits for locks.

    Parameters
    ----------
    path : Path
        File of the board, or ``:memory:`` for a board in memory.
    read_only : bool
        Whether the board is only read. If so, nothing is written to the file or beside it.
    """
    pool = sa.StaticPool if path == MEMORY else sa.QueuePool
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)), creator=lambda: _connect(path, read_only=read_only), poolclass=pool)

    def begin(connection: sa.Connection) -> None:
        """Begin a transaction. A transaction that writes acquires its lock first, so it never fails halfway."""
        driver: Any = connection.connection.driver_connection
        if connection.get_execution_options().get("immediate"):
            patiently(driver, "BEGIN IMMEDIATE", path)
        else:
            driver.execute("BEGIN")
            patiently(driver, "PRAGMA schema_version", path)  # acquires the lock of a reader

    event.listen(engine, "begin", begin)
    return engine


def _connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """Return a connection."""
    if path == MEMORY:
        connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    elif read_only:
        connection = _connect_reader(path)
    else:
        connection = sqlite3.connect(path, timeout=BUSY_S, check_same_thread=False, isolation_level=None)
        _leave_log(connection)
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _leave_log(connection: sqlite3.Connection) -> None:
    """Convert a board from a write-ahead log to a rollback journal, unless another process has it open."""
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
            connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            connection.close()
            raise
    finally:
        with contextlib.suppress(sqlite3.ProgrammingError):
            connection.execute(f"PRAGMA busy_timeout = {int(1e3 * BUSY_S)}")


def _connect_reader(path: Path) -> sqlite3.Connection:
    """Return a read-only connection, even if SQLite cannot create the files that it shares between processes."""

    def connect(options: str) -> sqlite3.Connection:
        return sqlite3.connect(f"{path.absolute().as_uri()}?{options}", uri=True, timeout=BUSY_S, check_same_thread=False, isolation_level=None)

    connection = connect("mode=ro")
    try:
        patiently(connection, "PRAGMA schema_version", path)
    except sqlite3.OperationalError as error:
        connection.close()
        if not ("unable to open" in str(error) or "readonly" in str(error)):
            raise
        for beside in (path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-journal")):
            if beside.exists() and beside.stat().st_size:
                message = (
                    f"{path} cannot be read: SQLite must first complete the change in {beside.name}, but cannot write to this folder. "
                    "Copy both files to a writable folder, and open the copy there."
                )
                raise DatasetError(message) from None
        return connect("mode=ro&immutable=1")
    return connection


def patiently(connection: sqlite3.Connection, statement: str, path: Path) -> sqlite3.Cursor:
    """Run a statement. While another process locks the file, wait at most 60 s, and print a note after 3 s.

    Raises
    ------
    DatasetError
        The file stays locked, or its file system has no locks.
    """
    began, told, tried = time.monotonic(), False, False
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        while True:
            try:
                return connection.execute(statement)
            except sqlite3.OperationalError as error:
                waited = time.monotonic() - began
                if "locked" not in str(error):
                    raise
                if not tried:
                    check_locks(path)
                    tried = True
                if waited >= BUSY_S:
                    raise DatasetError(still_locked(path, waited, "another process")) from None
            if waited >= NOTICE_S and not told:
                tell_wait(path, "another process")
                told = True
            time.sleep(PAUSE_S)
    finally:
        connection.execute(f"PRAGMA busy_timeout = {int(1e3 * BUSY_S)}")


def check_locks(path: Path) -> None:
    """Raise DatasetError if the file system of a board has no file locks.

    On such a file system, SQLite reports that the database is locked, as if another process used it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        with tempfile.TemporaryFile(dir=path.parent) as trial:
            fcntl.lockf(trial, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in NO_LOCKS:
            message = f"{path} is on a file system without locks ({error.strerror}), so entries could be lost. Set {VARIABLE} to another path."
            raise DatasetError(message) from None


def prepare(connection: sa.Connection, path: Path) -> None:
    """Create the tables of a board, or migrate those of an earlier version, in the transaction of the connection.

    Raises
    ------
    DatasetError
        The file has a later version or belongs to another program.
    """
    if check_tables(connection, path) and _version(connection) == VERSION:
        return
    if sa.inspect(connection).has_table(Entry.__tablename__):
        _rebuild(connection)
    else:
        Base.metadata.create_all(connection)
    connection.exec_driver_sql(f"PRAGMA user_version = {VERSION}")


def check_tables(connection: sa.Connection, path: Path) -> bool:
    """Return True if a file contains the tables of a board, and False if the file is empty.

    Raises
    ------
    DatasetError
        The file has a later version or belongs to another program.
    """
    if (version := _version(connection)) > VERSION:
        message = f"{path} is a board of version {version}, but this stemtwin supports versions up to {VERSION}. Install a newer stemtwin."
        raise DatasetError(message)
    names = set(sa.inspect(connection).get_table_names())
    if not names:
        return False
    if not {Entry.__tablename__, Score.__tablename__} <= names:
        message = f"{path} is a database of another program, with the tables {', '.join(sorted(names)[:3])}. Set {VARIABLE} to another path."
        raise DatasetError(message)
    for table in (Entry, Score):
        connection.execute(sa.select(table).limit(0))  # a table of another program has other columns
    return True


def _version(connection: sa.Connection) -> int:
    """Return the version of the tables in a file."""
    return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())


def _rebuild(connection: sa.Connection) -> None:
    """Create new tables and copy every row, because SQLite cannot change a constraint."""
    made = connection.exec_driver_sql("SELECT type, name FROM sqlite_master WHERE type IN ('trigger', 'index') AND sql IS NOT NULL").all()
    for kind, name in made:
        connection.exec_driver_sql(f'DROP {kind} "{name}"')
    tables = Base.metadata.sorted_tables
    for table in tables:
        connection.exec_driver_sql(f"ALTER TABLE {table.name} RENAME TO old_{table.name}")
    Base.metadata.create_all(connection)
    for table in tables:
        columns = ", ".join(f'"{column.name}"' for column in table.columns)
        connection.exec_driver_sql(f"INSERT INTO {table.name} ({columns}) SELECT {columns} FROM old_{table.name}")
    for table in reversed(tables):
        connection.exec_driver_sql(f"DROP TABLE old_{table.name}")
