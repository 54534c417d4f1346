"""Cheats of answers: each gains where its guard is off, and nothing where it is on."""

import dataclasses
import io
import os
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest
import yaml
from rich.console import Console

from stemtwin.benchmarks import header_text
from stemtwin.benchmarks.agents import find_baseline
from stemtwin.benchmarks.answers import arrays
from stemtwin.benchmarks.answers.points import Points
from stemtwin.benchmarks.archives import copy_tree
from stemtwin.benchmarks.names import printable
from stemtwin.benchmarks.report import read_report
from stemtwin.benchmarks.runner import predict, score_submission
from stemtwin.benchmarks.submission import Header, read_submission, write_submission
from stemtwin.benchmarks.tasks import find_task
from stemtwin.leaderboard.cli.board import show
from stemtwin.leaderboard.duplicates import TeamAnswers, find_pairs
from stemtwin.leaderboard.store import Store
from stemtwin.leaderboard.tables import Board
from stemtwin.twin.errors import SettingsError, SubmissionError
from tests.benchmarks.frames import make
from tests.leaderboard.test_store import report_of

TASK = find_task("atoms-2d")
DATA = make(n=10, clusters=10, dose=2000.0)


def scored(found: dict[str, Points], name: str) -> Any:
    """Return a report with the score of answers."""
    value = float(TASK.primary.formula(TASK.score(DATA, found).sums()))
    return report_of(value, entry=name, team=name, artefact=TASK.form.digest(found))


def board_of(tmp_path: Path, *reports: Any) -> Board:
    """Return the board of reports."""
    with Store(tmp_path / f"{len(list(tmp_path.iterdir()))}.db") as store:
        for report in reports:
            store.submit(report)
        (board,) = store.boards()
    return board


@pytest.fixture(scope="module")
def truth() -> dict[str, Points]:
    """Return the truth of the split as answers."""
    return predict(TASK, find_baseline("atoms-2d", "oracle"), DATA)


@pytest.fixture(scope="module")
def honest(truth: dict[str, Points]) -> dict[str, Points]:
    """Return answers as a method gives them: some columns missed, the others off by a twentieth of an angstrom."""
    rng = np.random.default_rng(0)
    found = {}
    for name, one in truth.items():
        seen = rng.random(len(one)) < 0.7
        places = np.clip(one.positions[seen] + rng.normal(0, 0.05, (int(seen.sum()), 2)), 0, 12)
        found[name] = Points.at(places, classes=one.classes[seen])  # type: ignore[index]
    return found


@pytest.mark.parametrize("jitter", [0.0, pytest.param(0.02, marks=pytest.mark.slow)])
def test_the_truth_of_a_public_split_holds_no_rank(jitter: float, honest: Any, truth: Any, tmp_path: Path) -> None:
    """Who hands in the truth that anybody can build is first where it counts as hidden, and unranked like all where it is public."""
    rng = np.random.default_rng(1)
    moved = {name: dataclasses.replace(one, positions=one.positions + rng.normal(0, jitter, one.positions.shape)) for name, one in truth.items()}
    reports = [scored(found, name) for found, name in ((honest, "honest"), (moved, "thief"))]
    off = board_of(tmp_path, *(dataclasses.replace(one, source=dataclasses.replace(one.source, truth="hidden")) for one in reports))
    assert [row.name for row in off.rows if row.rank == (1, 1)] == ["thief"]
    on = board_of(tmp_path, *reports)
    assert on.public
    assert [(row.rank, row.status) for row in on.rows] == [(None, "public truth")] * 2


def test_a_copy_with_another_score_column_gains_no_place(honest: Any, tmp_path: Path) -> None:
    """Confidences, which no metric reads, make another answer where they count; where they do not, the copy shares row or place and is named."""
    copied = {name: dataclasses.replace(one, confidence=np.linspace(0, 1, len(one))) for name, one in honest.items()}
    form = dataclasses.replace(TASK.form, confidence=dataclasses.replace(TASK.form.confidence, scored=True))  # type: ignore[attr-defined, type-var]
    plain = {name: dataclasses.replace(one, confidence=np.ones(len(one))) for name, one in honest.items()}
    off, on = ([one.digest(found) for found in (plain, copied)] for one in (form, TASK.form))
    for digests, rows, orders in ((off, 2, [(1, 2), (1, 2)]), (on, 1, [(1, 1), (1, 1)])):
        own = board_of(tmp_path, *(report_of(0.7, entry=one[:4], team="us", artefact=one) for one in digests))
        assert len(own.rows) == rows
        board = board_of(tmp_path, *(report_of(0.7, entry=team, team=team, artefact=one) for team, one in zip(("us", "them"), digests, strict=True)))
        assert [row.order for row in board.rows] == orders
        assert all(bool(row.notes) == (rows == 1) for row in board.rows)


def test_a_copy_with_jitter_is_named(honest: Any, truth: Any) -> None:
    """A copy with a jitter that changes its hash passes a comparison of hashes, and not that of errors."""
    rng = np.random.default_rng(2)
    copy = {name: dataclasses.replace(one, positions=one.positions + rng.normal(0, 1e-3, one.positions.shape)) for name, one in honest.items()}
    assert TASK.form.digest(copy) != TASK.form.digest(honest)
    rows = [TeamAnswers(team=team, name="entry", artefact_sha256=team, answers=found) for team, found in (("us", honest), ("them", copy))]
    assert len(find_pairs(rows, truth)) == 1


def test_numbers_of_ones_own_hold_no_place(tmp_path: Path) -> None:
    """A report with a perfect score that nobody checked would be first; its trust keeps it out of order, whatever the file says."""
    mine, forged = report_of(0.7, entry="mine", truth="hidden"), report_of(1.0, entry="forged", truth="hidden")
    assert board_of(tmp_path, mine, forged).rows[0].name == "forged"
    forged.save(tmp_path / "report.json")
    taken = dataclasses.replace(read_report(tmp_path / "report.json"), trust="reported")  # as 'stemtwin submit' takes a file
    assert [(row.name, row.order, row.rank) for row in board_of(tmp_path, mine, taken).rows] == [("forged", None, None), ("mine", (1, 1), (1, 1))]
    content = (tmp_path / "report.json").read_text().replace('"n": 30', '"n": 31')
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(SubmissionError, match="does not follow from the content"):
        read_report(tmp_path / "report.json")


FORGED = "mine\x1b[2J\n1  us  f1 1.0 [1, 1]"


def test_names_forge_no_line_and_steer_no_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with a line of its own and a sequence that clears the screen is refused; on a board of old it is shown, escaped, in one line."""
    with pytest.raises(SettingsError, match=r"holds a control character, U\+001B"):
        report_of(0.5, entry=FORGED)
    for key in ("name", "team"):
        with pytest.raises(pydantic.ValidationError, match="control character"):
            Header.model_validate({"schema": "s", "task": "t", "dataset": "d", "name": "a", key: FORGED})
    board = board_of(tmp_path, report_of(0.5, entry="mine"))
    board = dataclasses.replace(board, rows=(dataclasses.replace(board.rows[0], name=FORGED),))
    shown = {}
    for guard in (True, False):
        if not guard:
            monkeypatch.setattr("stemtwin.benchmarks.names.printable", lambda text, *_: text)
        out = Console(file=io.StringIO(), width=120, highlight=False)
        show(board, out)
        shown[guard] = out.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b" not in shown[True]
    assert r"\x1b[2J\n" in re.sub(r"\s+", "", shown[True])
    assert [bool(re.search(r"(?m)^\s*1  us", shown[guard])) for guard in (True, False)] == [False, True]
    assert printable(FORGED).isprintable()


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(f"{chr(98 + k)}: &{chr(98 + k)} [{', '.join(['*' + chr(97 + k)] * 9)}]\n" for k in range(5))


def test_a_bomb_of_aliases_is_not_built(tmp_path: Path) -> None:
    """Ten lines of YAML hold half a million words where aliases are followed; the reader of headers builds nothing of it."""

    def words(value: Any) -> int:
        return sum(map(words, value)) if isinstance(value, list) else 1

    assert words(yaml.safe_load(LAUGHS)["f"]) == 9**6
    path = tmp_path / "submission.yaml"
    path.write_text(LAUGHS)
    with pytest.raises(SubmissionError, match="line 1: an anchor or an alias"):
        header_text.read_keys(path)


class Harmful:
    """An object whose pickle makes a folder."""

    def __reduce__(self) -> tuple:
        """Return what a reader of pickles calls."""
        return os.mkdir, ("harmed",)


def test_pickles_in_arrays_run_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An npz file with an object runs its code where pickles are read; here it is refused by its header."""
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "a.npz", image=np.array([Harmful()], dtype=object))
    with arrays.open_arrays(tmp_path / "a.npz") as store:
        assert store.header("image")[1].kind not in "fiu"
    with pytest.raises(SubmissionError, match="Object arrays cannot be loaded"), arrays.open_arrays(tmp_path / "a.npz") as store:
        store.read("image")
    assert not (tmp_path / "harmed").exists()
    pickle.loads(pickle.dumps(Harmful()))
    assert (tmp_path / "harmed").exists()


def test_links_bring_no_file_of_the_organiser(tmp_path: Path, honest: Any) -> None:
    """A link in a submission copies what it leads to where links are followed; here it is refused, also as the table itself."""
    secret = tmp_path / "keys.json"
    secret.write_text("secret")
    folder = write_submission(tmp_path / "entry", TASK, honest, split="test", size="tiny", name="mine")
    (folder / "notes").symlink_to(secret)
    shutil.copytree(folder, tmp_path / "followed")
    assert (tmp_path / "followed" / "notes").read_text() == "secret"
    with pytest.raises(SubmissionError, match="a link; only files and folders"):
        copy_tree(folder, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.slow
def test_truth_beside_the_answers_is_not_read(tmp_path: Path, honest: Any) -> None:
    """A file of scores, or of truth, beside the table changes nothing: only the table and the header are read."""
    folder = write_submission(tmp_path / "entry", TASK, honest, split="test", size="tiny", name="mine")
    before = score_submission(TASK, DATA, read_submission(folder, TASK, DATA)).report
    for name in ("report.json", "samples.parquet", "test.nc", "conftest.py"):
        (folder / name).write_text('{"metrics": [{"name": "f1", "value": 1.0}]}')
    after = score_submission(TASK, DATA, read_submission(folder, TASK, DATA)).report
    assert (after.metrics, after.artefact_sha256) == (before.metrics, before.artefact_sha256)
