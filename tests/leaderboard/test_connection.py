"""The board's file: locks, places that may only be read, boards of version 1, memory, files of others."""

import contextlib
import errno
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import sqlalchemy as sa

from stemtwin.leaderboard import connection as leaderboard_connection
from stemtwin.leaderboard.cli.main import main
from stemtwin.leaderboard.connection import VERSION
from stemtwin.leaderboard.store import Store, check_board
from stemtwin.twin.errors import DatasetError
from tests.conftest import ROOT
from tests.leaderboard.test_store import report_of

OLD = Path(__file__).with_name("board-1.sql")
"""A board that the code before version 2 wrote, as SQL: it has a write-ahead log, and one of its names holds control characters."""


def old_board(path):
    """Write the board of version 1."""
    other = sqlite3.connect(path)
    other.execute("PRAGMA journal_mode = WAL")
    other.executescript(OLD.read_text())
    other.close()
    return path


def names_of(board):
    """Return the names on a board with their trust."""
    return [(row.name, row.trust, row.order) for row in board.rows]


def contents(path):
    """Return all rows of the tables of a board."""
    with sqlite3.connect(path) as other:
        rows = [other.execute(f"SELECT * FROM {table} ORDER BY id").fetchall() for table in ("entries", "scores")]
    other.close()
    return rows


@pytest.mark.parametrize("what", ["writing", "exclusive"])
@pytest.mark.parametrize("read_only", [False, True])
def test_a_board_that_stays_locked(tmp_path, monkeypatch, capsys, what, read_only):
    """A board that another process holds: the wait is told once and ends with a sentence on file and time; afterwards the board is as it was."""
    path = tmp_path / "board.db"
    Store(path).close()
    monkeypatch.setattr(leaderboard_connection, "BUSY_S", 0.4)
    monkeypatch.setattr(leaderboard_connection, "NOTICE_S", 0.1)
    other = sqlite3.connect(path, isolation_level=None)
    if what == "exclusive":
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DatasetError, match=r"board\.db is still locked by another process after 0\.\d+ s\. Wait until"):
        Store(path, read_only=read_only)
    assert capsys.readouterr().err.count("waiting for another process") == 1
    other.close()
    with Store(path) as store:
        assert store.entries() == []


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(tmp_path, monkeypatch, number):
    """Where a file system has no locks, which SQLite takes for locks of others, this is said at once, not after a minute."""
    path = tmp_path / "board.db"
    Store(path).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.lockf", refuse)
    with pytest.raises(DatasetError, match=r"is on a file system without locks .* Set STEMTWIN_DATABASE"):
        Store(path)
    other.close()


def test_a_file_system_without_write_ahead_logs(tmp_path, monkeypatch):
    """Entries are made and read through a layer of SQLite that has no memory shared between processes, as cluster file systems have none."""
    real = sqlite3.connect

    def connect(path, **options):
        return real(f"{Path(path).absolute().as_uri()}?vfs=unix-dotfile", uri=True, **options)

    path = tmp_path / "board.db"
    monkeypatch.setattr(sqlite3, "connect", connect)
    with Store(path) as store:
        store.submit(report_of(0.9))
        assert len(store.entries()) == 1
    monkeypatch.setattr(sqlite3, "connect", real)
    with Store(path, read_only=True) as store:
        assert len(store.entries()) == 1


def test_a_board_in_memory(capsys, monkeypatch):
    """A board in memory holds entries as long as its store, and no command enters anything on one, which would be lost."""
    with Store(":memory:") as store:
        assert store.submit(report_of(0.9)).new
        assert not store.submit(report_of(0.9)).new
        assert [len(board.rows) for board in store.boards()] == [1]
    with Store(":memory:") as store:
        assert store.boards() == []
    with pytest.raises(DatasetError, match=r"is lost when the command ends\. Name a file"):
        check_board(":memory:")
    monkeypatch.setenv("STEMTWIN_DATABASE", ":memory:")
    assert main(["eval", "atoms-2d", "--baseline", "log", "--submit"]) == 1
    assert "is lost when the command ends" in capsys.readouterr().err
    assert not Path(":memory:").exists()


@pytest.mark.parametrize("log", ["none", "in use"])
def test_boards_of_version_1_are_shown_without_a_change(tmp_path, log):
    """A board of version 1 is read as it is, also while its log is in use; its ranks are places now, by overlap of intervals."""
    path = old_board(tmp_path / "board.db")
    other = sqlite3.connect(path, isolation_level=None)
    if log != "none":
        other.execute("CREATE TEMP TABLE more AS SELECT * FROM entries WHERE id = 1")
        other.execute("UPDATE more SET id = 9, artefact_sha256 = 'x', name = 'logged'")
        other.execute("INSERT INTO entries SELECT * FROM more")
        other.execute("CREATE TEMP TABLE values_ AS SELECT * FROM scores WHERE entry_id = 1 AND column = ''")
        other.execute("UPDATE values_ SET id = 99, entry_id = 9")
        other.execute("INSERT INTO scores SELECT * FROM values_")
    if log == "none":
        other.close()
    before = path.read_bytes()
    with Store(path, read_only=True) as store:
        (board,) = store.boards()
    assert path.read_bytes() == before
    places = [("told", "reported", None), ("first", "scored", (1, 2)), ("second", "baseline", (1, 2)), ("third\x1b[31m\u202e", "scored", (3, 3))]
    if log != "none":
        places = [places[0], ("first", "scored", (1, 3)), ("logged", "scored", (1, 3)), ("second", "baseline", (1, 3)), (*places[3][:2], (4, 4))]
    assert names_of(board) == places
    assert board.compared == "intervals"
    assert {row.status for row in board.rows} == {"public truth"}
    other.close()


def test_boards_of_version_1_are_brought_up_to_date(tmp_path, capsys):
    """A board of version 1 keeps every row to the bit, loses its log, refuses changes, takes equal answers of another team, and shows its names."""
    path = old_board(tmp_path / "board.db")
    before = contents(path)
    with Store(path) as store:
        assert contents(path) == before
        assert store.submit(report_of(0.9, entry="first", artefact="first-0.9", team="Aachen")).new
        assert not store.submit(report_of(0.9, entry="first", artefact="first-0.9")).new
        (board,) = store.boards()
        assert len(board.rows) == 5
        with store.engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "delete"
            assert connection.exec_driver_sql("PRAGMA user_version").scalar() == VERSION
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
            assert set(sa.inspect(connection).get_table_names()) == {"entries", "scores"}
    for statement in ("UPDATE entries SET name = 'x'", "DELETE FROM scores"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"), sqlite3.connect(path) as plain:
            plain.execute(statement)
    assert main(["board", "--database", str(path)]) == 0
    told = capsys.readouterr().out
    assert "\\x1b[31m" in told
    assert "\x1b" not in told
    assert "\u202e" not in told


@pytest.mark.parametrize("statement", ["DROP TABLE", "INSERT INTO scores", "PRAGMA user_version ="])
def test_a_board_that_cannot_be_brought_up_to_date_stays_as_it_was(tmp_path, monkeypatch, statement):
    """Bringing a board up to date is one transaction: where any of its steps fails, nothing has happened, and the next time succeeds."""
    path = old_board(tmp_path / "board.db")
    before = contents(path)

    real, broken = sa.Connection.exec_driver_sql, sqlite3.OperationalError("disk I/O error")

    def fail(self, text, *rest, **options):
        if text.startswith(statement):
            raise broken
        return real(self, text, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(sa.Connection, "exec_driver_sql", fail)
        with pytest.raises(DatasetError, match="disk I/O error"):
            Store(path)
    assert contents(path) == before
    with sqlite3.connect(path) as other:
        assert [name for (name,) in other.execute("SELECT name FROM sqlite_master WHERE name LIKE 'old%'")] == []
    other.close()
    with Store(path) as store:
        assert len(store.entries()) == 4


@pytest.mark.slow
def test_processes_that_bring_a_board_up_to_date_at_once(tmp_path):
    """Three processes that open a board of version 1 at once enter their rows, and none of its rows is lost or doubled."""
    path = old_board(tmp_path / "board.db")
    code = (
        "import sys; from stemtwin.leaderboard.store import Store; from tests.leaderboard.test_store import report_of\n"
        "with Store(sys.argv[1]) as store: store.submit(report_of(0.1, entry=sys.argv[2]))"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(path), f"own-{who}"], stderr=subprocess.PIPE, text=True, cwd=ROOT) for who in range(3)
    ]
    errors = [process.communicate(timeout=120)[1] for process in running]
    assert [process.returncode for process in running] == [0] * 3, errors
    with Store(path, read_only=True) as store:
        assert len(store.entries()) == 7


def test_a_board_that_is_only_read_is_not_touched(tmp_path, capsys):
    """Showing a board changes neither the file nor its folder, and a store for reading enters nothing."""
    path = tmp_path / "board.db"
    with Store(path) as store:
        store.submit(report_of(0.9))
    before = (path.read_bytes(), path.stat().st_mtime_ns, path.parent.stat().st_mtime_ns)
    assert main(["board", "--database", str(path)]) == 0
    assert "0.9 [0.85, 0.95]" in capsys.readouterr().out
    with Store(path, read_only=True) as store, pytest.raises(DatasetError, match="is read-only, so nothing can be entered"):
        store.submit(report_of(0.8))
    assert (path.read_bytes(), path.stat().st_mtime_ns, path.parent.stat().st_mtime_ns) == before


@contextlib.contextmanager
def nobody():
    """Be a user without rights, where this process is privileged."""
    if os.geteuid() != 0:
        yield
        return
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="rights of files are those of POSIX")
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("right", [0o444, 0o000])
def test_a_board_without_the_right_to_write(tmp_path, capsys, old, right):
    """A user who may not write sees a board of any version in a folder that is read-only, and is told in one sentence why nothing can be entered."""
    with Store(tmp_path / "another.db") as store:  # loads what is loaded late
        store.submit(report_of(0.9))
        store.boards()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        path = folder / "board.db"
        if old:
            old_board(path)
        else:
            with Store(path) as store:
                store.submit(report_of(0.9, entry="first"))
        path.chmod(right)
        folder.chmod(0o555)
        with nobody():
            code = main(["board", "--database", str(path), "--json"])
            with pytest.raises(DatasetError, match=r"(cannot be written|is read-only|unable to open).* STEMTWIN_DATABASE"):
                check_board(path)
        told = capsys.readouterr()
        if right:
            assert code == 0, told.err
            assert "first" in {row["name"] for row in json.loads(told.out)[0]["rows"]}
        else:
            assert code == 1
            repair = "Ask its owner for permission, or set STEMTWIN_DATABASE to another board."
            assert told.err == f"stemtwin: {path} cannot be read: permission denied. {repair}\n"
        assert list(folder.iterdir()) == [path]
        folder.chmod(0o755)
        path.chmod(0o444)
        with nobody(), pytest.raises(DatasetError, match=r"(cannot be written|is read-only)"):
            check_board(path)


@pytest.mark.parametrize("kind", ["wal", "journal"])
def test_a_change_that_was_left_half_is_not_shown(tmp_path, monkeypatch, kind):
    """Where a change lies beside a board and SQLite may not finish it, the board is not shown without it."""
    path = old_board(tmp_path / "board.db")
    path.with_name(f"board.db-{kind}").write_bytes(b"x" * 100)

    refusal = sqlite3.OperationalError("unable to open database file")

    def refuse(*_):
        raise refusal

    monkeypatch.setattr(leaderboard_connection, "patiently", refuse)
    with pytest.raises(DatasetError, match=f"must first complete the change in board.db-{kind}, but cannot write to this folder. Copy both"):
        Store(path, read_only=True)


def test_files_that_are_not_boards_of_ours(tmp_path):
    """A database of another program, a board of a later version and no file at all are refused; an empty file is an empty board."""
    other, later, empty = (tmp_path / name for name in ("other.db", "later.db", "empty.db"))
    with sqlite3.connect(other) as found:
        found.execute("CREATE TABLE things (x INT)")
    found.close()
    Store(later).close()
    with sqlite3.connect(later) as found:
        found.execute(f"PRAGMA user_version = {VERSION + 1}")
    found.close()
    empty.touch()
    before = [path.read_bytes() for path in (other, later)]
    for read_only in (True, False):
        with pytest.raises(DatasetError, match="is a database of another program, with the tables things"):
            Store(other, read_only=read_only)
        with pytest.raises(DatasetError, match="is a board of version 3, but this stemtwin supports versions up to 2"):
            Store(later, read_only=read_only)
    assert [path.read_bytes() for path in (other, later)] == before
    with pytest.raises(DatasetError, match="There is no board"):
        Store(tmp_path / "none.db", read_only=True)
    with Store(empty, read_only=True) as store:
        assert store.boards() == []
    assert empty.stat().st_size == 0
