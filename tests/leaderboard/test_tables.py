"""Boards as they are shown: order by differences, ranks only where the truth is hidden, equal answers, boards of reports of version 1."""

import dataclasses
import io

import numpy as np
import pytest
from rich.console import Console

from stemtwin.benchmarks.comparisons import ClusterSums, difference
from stemtwin.benchmarks.metrics.detection import f1
from stemtwin.benchmarks.report import NOT_GIVEN
from stemtwin.leaderboard.cli.board import show
from stemtwin.leaderboard.store import Store
from tests.leaderboard.test_store import report_of

WIDTH = 0.05


@pytest.fixture
def store():
    """Return an empty board that is lost."""
    with Store(":memory:") as one:
        yield one


def kept(shift, seed=1, n=12):
    """Return the sums of clusters of unequal difficulty; a shift finds so many more columns in each."""
    fn = np.random.default_rng(seed).integers(10, 60, n)
    return ClusterSums(labels=tuple(f"{k:02d}" for k in range(n)), sums={"tp": (80 + shift - fn // 2).tolist(), "fp": [5] * n, "fn": fn.tolist()})


def scored(shift, **options):
    """Return a report whose interval is wider than what its clusters tell apart."""
    sums = kept(shift)
    value = float(f1({name: np.sum(values) for name, values in sums.sums.items()}))
    return report_of(value, WIDTH, clusters=sums, **({"entry": f"shift-{shift}"} | options))


def shown(board, width=150, encoding="utf-8"):
    """Return the text of a board on a console."""
    buffer = io.BytesIO()
    file = io.TextIOWrapper(buffer, encoding=encoding)
    show(board, Console(file=file, width=width, color_system=None, highlight=False, emoji=False))
    file.flush()
    return buffer.getvalue().decode(encoding)


def test_order_is_that_of_paired_differences(store):
    """Entries whose intervals overlap are told apart where their difference is sure, and the board says the smallest difference that it can tell."""
    for shift in (0, 3, 6):
        store.submit(scored(shift))
    (board,) = store.boards()
    assert [row.name for row in board.rows] == ["shift-6", "shift-3", "shift-0"]
    assert board.rows[0].low < board.rows[2].high
    assert [row.order for row in board.rows] == [(1, 1), (2, 2), (3, 3)]
    assert 0 < board.detectable < difference(f1, kept(6), kept(0)).value
    assert "paired resampling" in shown(board)


def test_reports_without_sums_are_compared_by_intervals(store):
    """Reports of version 1 keep no sums of clusters: they tie where intervals overlap, and their rows say so beside others."""
    for shift in (0, 6):
        store.submit(dataclasses.replace(scored(shift), clusters=None))
    (board,) = store.boards()
    assert [row.order for row in board.rows] == [(1, 2), (1, 2)]
    assert (board.detectable, board.compared) == (None, "intervals")
    assert "scores differ if their intervals do not overlap" in shown(board)
    store.submit(scored(12))
    store.submit(scored(9))
    (board,) = store.boards()
    assert [bool(row.notes) for row in board.rows] == [False, False, True, True]
    assert "compared by its interval" in shown(board)


def test_a_metric_of_another_version_is_compared_by_intervals(store):
    """A metric that this package does not know in that version has no formula here."""
    for shift in (0, 6):
        report = scored(shift)
        store.submit(dataclasses.replace(report, metrics=(dataclasses.replace(report.primary, version="0.9"),)))
    (board,) = store.boards()
    assert [row.order for row in board.rows] == [(1, 2), (1, 2)]
    assert board.compared == "intervals"


def test_public_truth_is_never_ranked(store):
    """Where anybody can look the truth up, whoever submits it stands first by the score, says public truth, and holds no rank; nor does any other."""
    store.submit(report_of(1.0, 0.0, entry="the truth"))
    store.submit(report_of(0.9, entry="ours", trust="baseline"))
    store.submit(report_of(1.0, 0.0, entry="oracle", trust="oracle"))
    (board,) = store.boards()
    assert board.public
    assert [row.name for row in board.rows] == ["the truth", "oracle", "ours"]
    assert {row.status for row in board.rows} == {"public truth"}
    assert {row.rank for row in board.rows} == {None}
    assert [row.order for row in board.rows] == [(1, 1), None, (2, 2)]
    text = shown(board)
    assert "scored, public truth" in text
    assert "baseline, public truth" in text
    assert "order" in text
    assert "rank " not in text.splitlines()[1]


def test_ranks_are_of_hidden_truth(store):
    """Hidden truth: overlapping scores share ranks, practice, oracle and reported rows have none, nor what comes once it is public."""
    for value, width, entry, trust in (
        (0.90, 0.02, "first", "scored"), (0.89, 0.02, "second", "baseline"), (0.50, 0.02, "third", "scored"),
        (1.00, 0.00, "truth", "oracle"), (0.95, 0.02, "mine", "practice"), (0.60, 0.02, "told", "reported"), (None, None, "void", "scored"),
    ):  # fmt: skip
        store.submit(report_of(value, width, entry=entry, trust=trust, truth="hidden"))
    store.submit(report_of(0.99, 0.0, entry="late", truth="public"))
    (board,) = store.boards()
    assert not board.public
    assert [row.name for row in board.rows] == ["truth", "late", "mine", "first", "second", "told", "third", "void"]
    assert [row.rank for row in board.rows] == [None, None, None, (1, 2), (1, 2), None, (3, 3), None]
    assert [row.order for row in board.rows] == [row.rank for row in board.rows]
    statuses = ["not ranked", "public truth", "not ranked", "ranked", "ranked", "not ranked", "ranked", "not ranked"]
    assert [row.status for row in board.rows] == statuses
    assert "rank " in shown(board).splitlines()[1]


def test_equal_answers_of_two_teams(store):
    """The same answers of two teams are two rows that name each other and hold one place; those of one team are one row."""
    receipts = [store.submit(report_of(0.9, entry="ours", team=team, artefact="same", truth="hidden")) for team in ("Aachen", "Berlin", "Aachen")]
    assert [receipt.new for receipt in receipts] == [True, True, False]
    store.submit(report_of(0.5, 0.01, entry="other", team="Chemnitz", truth="hidden"))
    (board,) = store.boards()
    assert [row.notes for row in board.rows] == [("same answers as row 2, ours (Berlin)",), ("same answers as row 1, ours (Aachen)",), ()]
    assert [row.rank for row in board.rows] == [(1, 1), (1, 1), (2, 2)]
    assert "row 1, ours: same answers as row 2, ours (Berlin)" in shown(board)


def test_equal_answers_that_came_late_hold_no_rank(store):
    """A copy of ranked answers that comes when the truth is public is named as such and is not ranked."""
    store.submit(report_of(0.9, artefact="same", team="Aachen", truth="hidden"))
    store.submit(report_of(0.9, artefact="same", team="Berlin", truth="public"))
    (board,) = store.boards()
    assert [row.rank for row in board.rows] == [(1, 1), None]
    assert all(row.notes for row in board.rows)


def test_smaller_is_better_where_the_metric_says_so(store):
    """With direction min the smallest value comes first."""
    for value in (3.0, 1.0, 2.0):
        store.submit(report_of(value, 0.1, entry=f"e{value}", direction="min"))
    (board,) = store.boards()
    assert [row.value for row in board.rows] == [1.0, 2.0, 3.0]
    assert [row.order for row in board.rows] == [(1, 1), (2, 2), (3, 3)]


def test_a_metric_that_was_not_given(store):
    """A primary metric whose part of the answers is missing stands last, as 'not given', and has no place."""
    report = report_of(None, None, entry="partial")
    store.submit(dataclasses.replace(report, metrics=(dataclasses.replace(report.primary, reason=NOT_GIVEN),)))
    store.submit(report_of(0.1, entry="whole"))
    (board,) = store.boards()
    assert [(row.name, row.order, row.reason) for row in board.rows] == [("whole", (1, 1), ""), ("partial", None, NOT_GIVEN)]
    assert "not given" in shown(board)


def test_cost_of_answers_made_elsewhere(store):
    """What answers cost that were made elsewhere is not known; what our runs and episodes cost is shown."""
    store.submit(report_of(0.9, entry="elsewhere"))
    store.submit(report_of(0.8, entry="run", trust="baseline"))
    store.submit(dataclasses.replace(report_of(0.7, entry="played", trust="practice"), cost={"dose_e_per_angstrom2": 3e4, "agent_wall_s": 1.0}))
    (board,) = store.boards()
    assert [row.cost for row in board.rows][:2] == [{}, {"wall_s_per_sample": 0.1}]
    lines = {row.name: next(line for line in shown(board).splitlines() if row.name in line) for row in board.rows}
    assert " -  " in lines["elsewhere"]
    assert "0.1 s/image" in lines["run"]
    assert "3e+04 e-/A^2" in lines["played"]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_consoles_that_cannot_show_a_character(store, encoding):
    """A console of few characters shows the board, names and dots of overflowing cells included, with escapes for the others."""
    store.submit(report_of(0.9, entry="Größe 東", team="Łódź " + "東" * 60))
    text = shown(store.boards()[0], width=80, encoding=encoding)
    assert {"ascii": "Gr\\xf6", "cp1252": "Größe", "utf-8": "Größe 東"}[encoding] in text
    assert "0.9 [0.85, 0.95]" in text
