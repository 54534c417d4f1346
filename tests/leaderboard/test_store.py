"""The board only grows, holds each artefact once, and stands writers at the same time."""

import dataclasses
import json
import sqlite3
import subprocess
import sys

import pytest
import sqlalchemy as sa

from stemtwin.benchmarks.report import MetricValue, Provenance, Report, SliceValue, Source
from stemtwin.benchmarks.statistics import Interval
from stemtwin.leaderboard.models import Entry
from stemtwin.leaderboard.store import Store, default_path
from stemtwin.twin.errors import DatasetError
from tests.conftest import ROOT

ORPHAN = "INSERT INTO scores (entry_id, metric, metric_version, direction, unit, 'column', label, n) VALUES (99, '', '', '', '', '', '', 1)"
ENDS = Interval(method="cluster-bca", level=0.95, low=0.0, high=1.0, n_clusters=6, resamples=99, seed=1)


def report_of(
    value, width=0.05, *, entry="entry", team="", trust="scored", artefact=None, sha="a" * 64, direction="max", truth="public", clusters=None
):
    """Return a report with one metric, one slice, and an interval of a half width (None: no interval)."""
    ends = None if width is None or value is None else dataclasses.replace(ENDS, low=value - width, high=value + width)
    metric = MetricValue(name="f1", version="1.0", title="F1", unit="", direction=direction, value=value, interval=ends)
    part = SliceValue(
        column="material", label="au-001", title="material au-001", n=9, n_clusters=3, support="low", value=value, interval=None, sums={"tp": 3.0}
    )
    source = Source(name="atoms-2d", version="1.0.0", size="tiny", split="test", sha256=sha, n=30, n_clusters=6, truth=truth)
    made = Provenance(
        version="0.1.0",
        python="3.11",
        numpy="2.0",
        git_commit="c" * 40,
        git_dirty=False,
        seeds={"bootstrap": 1},
        wall_s=1.5,
        created="2026-01-01T00:00:00+00:00",
    )
    return Report(
        task="atoms-2d", major=1, source=source, entry=entry, team=team, trust=trust, artefact_sha256=artefact or f"{entry}-{value}",
        metrics=(metric,), slices=(part,), worst=part, gluing_residual=0.0, cost={"wall_s_per_sample": 0.1}, provenance=made, clusters=clusters,
    )  # fmt: skip


@pytest.fixture
def store(tmp_path):
    """Return an empty board."""
    with Store(tmp_path / "folder" / "board.db") as one:
        yield one


def test_the_same_answers_are_one_row(store):
    """The same artefact on the same task comes back as the row that is there, with its time; another artefact or other data is another row."""
    first = store.submit(report_of(0.9))
    again = store.submit(dataclasses.replace(report_of(0.9), provenance=dataclasses.replace(report_of(0.9).provenance, wall_s=9.0)))
    assert first.new
    assert not again.new
    assert (again.entry_id, again.created) == (first.entry_id, first.created)
    for other in (report_of(0.8), report_of(0.9, sha="b" * 64)):
        assert store.submit(other).new
    assert len(store.entries()) == 3


def test_the_same_answers_are_scored_once(store):
    """Answers that were only reported can still be scored, once; scored answers that come again, however trusted, are the scored row."""
    trusts = ("reported", "practice", "scored", "baseline", "reported")
    receipts = [store.submit(report_of(0.9, trust=trust)) for trust in trusts]
    assert [receipt.new for receipt in receipts] == [True, False, True, False, False]
    assert [receipt.trust for receipt in receipts] == ["reported", "reported", "scored", "scored", "scored"]


def test_rows_say_everything(store):
    """A row carries version, seeds, data hash, commit, wall time, trust, a time, its scores and the whole report."""
    report = report_of(0.9)
    store.submit(report)
    (entry,) = store.entries("atoms-2d")
    assert (entry.version, entry.git_commit, entry.wall_s, entry.trust, entry.source_sha256) == ("0.1.0", "c" * 40, 1.5, "scored", "a" * 64)
    assert json.loads(entry.seeds) == {"bootstrap": 1}
    assert json.loads(entry.report) == json.loads(report.to_json())
    assert [(score.metric, score.column, score.value) for score in entry.scores] == [("f1", "", 0.9), ("f1", "material", 0.9)]
    assert entry.created is not None
    assert store.entries("autofocus") == []


def test_the_board_is_append_only(store):
    """No connection, not even a plain one, can change or delete a row."""
    store.submit(report_of(0.9))
    plain = sqlite3.connect(store.path)
    for statement in ("UPDATE entries SET name = 'x'", "DELETE FROM entries", "UPDATE scores SET value = 1", "DELETE FROM scores"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            plain.execute(statement)
    plain.close()


def test_foreign_keys_and_journal(store):
    """Foreign keys are enforced, and the journal is gone after each change: the board is one file."""
    store.submit(report_of(0.9))
    assert [path.name for path in store.path.parent.iterdir()] == ["board.db"]
    with store.engine.connect() as connection:
        assert connection.execute(sa.text("PRAGMA journal_mode")).scalar() == "delete"
        with pytest.raises(sa.exc.IntegrityError, match="FOREIGN KEY"):
            connection.execute(sa.text(ORPHAN))


def test_a_failed_write_leaves_nothing(store):
    """A transaction that fails at its second row leaves no first one."""
    store.submit(report_of(0.9))
    with store.engine.connect() as connection:
        row = dict(connection.execute(sa.select(Entry.__table__)).mappings().one()) | {"id": None, "artefact_sha256": "another"}

    def submit_and_fail():
        with store.writing() as connection:
            connection.execute(Entry.__table__.insert().values(**row))
            connection.execute(sa.text(ORPHAN))

    with pytest.raises(sa.exc.IntegrityError):
        submit_and_fail()
    with store.engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM entries")).scalar() == 1


WRITER = """
import sys
from stemtwin.leaderboard.store import Store
from tests.leaderboard.test_store import report_of
path, who = sys.argv[1], int(sys.argv[2])
with Store(path) as store:
    for k in range(15):
        store.submit(report_of(k / 100, entry="shared"))
        store.submit(report_of(k / 100, entry=f"own-{who}"))
"""


@pytest.mark.slow
def test_processes_that_submit_at_once(tmp_path):
    """Four processes, on a board that does not exist yet, enter 15 shared and 15 own reports each: 75 rows, each whole, none twice, no error."""
    path = tmp_path / "board.db"
    running = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(who)], stderr=subprocess.PIPE, text=True, cwd=str(ROOT)) for who in range(4)
    ]
    errors = [process.communicate(timeout=120)[1] for process in running]
    assert [process.returncode for process in running] == [0] * 4, errors
    with Store(path) as store:
        entries = store.entries()
        assert len(entries) == len({entry.artefact_sha256 for entry in entries}) == 75
        assert all(len(entry.scores) == 2 for entry in entries)


def test_only_comparable_scores_share_a_board(store):
    """Scores on other data stand on another board."""
    store.submit(report_of(0.9))
    store.submit(report_of(0.9, sha="b" * 64))
    assert [len(board.rows) for board in store.boards("atoms-2d")] == [1, 1]


def test_where_the_board_lies(tmp_path, monkeypatch):
    """STEMTWIN_DATABASE names the file; without it, it lies in the user's data folder."""
    monkeypatch.setenv("STEMTWIN_DATABASE", str(tmp_path / "here.db"))
    assert default_path() == tmp_path / "here.db"
    monkeypatch.delenv("STEMTWIN_DATABASE")
    assert default_path().parent.name == "stemtwin"


def test_files_that_are_no_board(tmp_path):
    """A file that is not SQLite, and a path below a file, are refused with the path."""
    text = tmp_path / "text.db"
    text.write_text("This is no database, and long enough that SQLite reads a header from it. " * 20)
    for path in (text, text / "board.db"):
        with pytest.raises(DatasetError, match=r"(cannot be used as a board|is a file, not a folder).* STEMTWIN_DATABASE"):
            Store(path)


def test_a_disk_that_fills_while_a_report_is_entered(store):
    """SQLite's error becomes a sentence, and the board keeps what it held."""
    store.submit(report_of(0.9))
    with store.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()

    @sa.event.listens_for(store.engine, "begin")
    def small(connection):
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    def fill():
        for number in range(100):
            store.submit(report_of(0.1, entry=f"{number}", artefact=f"{number}" * 500))

    with pytest.raises(DatasetError, match=r"cannot be written: the disk is full\. Free space there"):
        fill()
    sa.event.remove(store.engine, "begin", small)
    assert 1 <= len(store.entries()) < 100
