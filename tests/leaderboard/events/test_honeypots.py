"""Honeypots of an event: sealed among the hidden rows, left out of every score, seen by nobody, and a leak of the truth is named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stemtwin.benchmarks.agents import find_baseline
from stemtwin.benchmarks.honeypots import KINDS
from stemtwin.benchmarks.report import read_report
from stemtwin.benchmarks.runner import predict
from stemtwin.benchmarks.submission import write_submission
from stemtwin.leaderboard.cli.main import main
from stemtwin.leaderboard.events import hidden_tasks
from stemtwin.leaderboard.events.archive import close_event
from stemtwin.leaderboard.events.creation import publish_key, seal_event
from stemtwin.leaderboard.events.folders import Organiser
from stemtwin.leaderboard.events.hidden_tasks import hidden_task
from stemtwin.leaderboard.events.jury import write_jury
from stemtwin.leaderboard.events.moderation import correct, freeze
from stemtwin.leaderboard.events.scoring import score_event
from stemtwin.leaderboard.events.standings import read_state
from stemtwin.leaderboard.events.verification import verify_archive
from stemtwin.leaderboard.reviews import read_reviews
from stemtwin.twin.errors import SubmissionError
from tests.benchmarks import noisy_frames
from tests.leaderboard.events.conftest import again

pytestmark = pytest.mark.slow
SPECIMENS = 6
"""Specimens of the size tiny, with two images each; three further ones are built."""


@pytest.fixture(scope="module")
def rows() -> Any:
    """Return what a build of the hidden rows holds: frames of the dataset's shape that take a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(noisy_frames, "N", 128)
        data = noisy_frames.make(n=2 * (SPECIMENS + 3), clusters=SPECIMENS + 3, missing=20)[0]
    rng = np.random.default_rng(3)
    numbers = np.arange(data.sizes["sample"]) % (SPECIMENS + 3)
    dose = 3000.0 * rng.uniform(0.5, 1.0, data.sizes["sample"])
    return data.assign(structure_seed=("sample", 1000 + numbers), dose_e_per_angstrom2=("sample", dose))


@pytest.fixture
def event(changed: Callable[..., Organiser], rows: Any, monkeypatch: pytest.MonkeyPatch) -> Organiser:
    """Return an event with the task ``denoise``, sealed and opened."""

    def build(card: Any, size: str, folder: Path, progress: Any) -> None:
        assert card.sizes[size].specimens["test"] == SPECIMENS + 3
        folder.mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(hidden_tasks, "build", build)
    monkeypatch.setattr(hidden_tasks, "load_hidden", lambda *_: rows.copy(deep=True))
    monkeypatch.setattr(hidden_tasks.HiddenTask, "verify", lambda *_, **__: rows.sizes["sample"])
    organiser = changed(environments=[], tasks=[{"task": "denoise", "size": "tiny"}])
    seal_event(organiser)
    publish_key(organiser)
    assert main(["event", "open", str(organiser.path)]) == 0
    return organiser


def answered(organiser: Organiser, team: str, baseline: str, *, blur: float = 0.0) -> Path:
    """Hand in the answers of a baseline to the rows that teams got; the oracle has them from the organiser's rows."""
    hidden = hidden_task(organiser.event, organiser.event.tasks[0])
    given = hidden.given(organiser.path / "opened") if baseline != "oracle" else hidden.rows(organiser.keys, organiser.secret / "data").data
    found = predict(hidden.task, find_baseline("denoise", baseline), given)
    rng = np.random.default_rng(1)
    for one in found.values():
        one.image[...] += rng.normal(0, blur, one.image.shape) * one.image.std()
    return write_submission(
        organiser.path / "submissions" / team / "entry", hidden.task, found, split=hidden.split, size=hidden.size, name="entry", team=team
    )


def test_what_teams_get_tells_no_honeypot(event: Organiser, rows: Any) -> None:
    """All rows are there once, named alike and ordered by name; none shares its dose with another, and no row that a honeypot is made of is given."""
    hidden = hidden_task(event.event, event.event.tasks[0])
    planted, given = hidden.rows(event.keys, event.secret / "data"), hidden.given(event.path / "opened")
    assert [one.kind for one in planted.honeypots] == [kind for kind in KINDS for _ in range(2)]
    names = given["sample_id"].values.astype(str).tolist()
    assert names == sorted(planted.data["sample_id"].values.tolist())
    assert len(names) == 2 * SPECIMENS + 6
    assert {(name.rpartition("/")[0], len(name)) for name in names} == {(names[0].rpartition("/")[0], len(names[0]))}
    assert set(given.data_vars) <= {column.name for column in hidden.card.columns if column.role == "input"} | {"sample_id"}
    dose = given["dose_e_per_angstrom2"].values
    assert len(set(dose.tolist())) == len(dose)
    spare = rows["structure_seed"].values >= 1000 + SPECIMENS
    images = {image.tobytes() for image in given["image"].values}
    assert not images & {image.tobytes() for image in rows["image"].values[spare]}
    assert {image.tobytes() for image in rows["image"].values[~spare]} <= images
    at = [names.index(one.sample_id) for one in planted.honeypots]
    assert at != sorted(at)


def test_who_answers_by_the_truth_is_named_and_nobody_else(event: Organiser, tmp_path: Path) -> None:
    """The truth, exact or with noise, asks for a review at scoring, by the jury's checks and by ``review``; a baseline does not; no row moves."""
    for team, baseline, blur in (("honest", "gaussian", 0.0), ("thief", "oracle", 0.0), ("sly", "oracle", 1.0)):
        answered(event, team, baseline, blur=blur)
    texts = {one.label: one.text for one in score_event(event)}
    assert {label: "review requested: similarity to the truth of 6 unanswerable items" in text for label, text in texts.items()} == {
        "honest/entry": False,
        "thief/entry": True,
        "sly/entry": True,
    }
    board = "".join(path.read_text() for path in (event.path / "pages" / "board").glob("*.html"))
    assert "above chance" in board
    _, checked = write_jury(again(event))
    assert {one.team for one in checked.reviews if one.kind == "honeypot"} == {"thief", "sly"}
    assert not [one for one in checked.reviews if one.team == "honest"]
    made = tmp_path / "reviews.json"
    assert main(["review", str(event.path / "submissions"), "--event", str(event.path), "--output", str(made)]) == 0
    assert {one.team for one in read_reviews(made) if one.kind == "honeypot"} == {"thief", "sly"}


def test_honeypots_are_no_part_of_a_score(event: Organiser, rows: Any) -> None:
    """The score is that of the rows that count alone, and other answers to honeypots change the hash of the answers only."""
    folder = answered(event, "ours", "gaussian")
    hidden = hidden_task(event.event, event.event.tasks[0])
    planted = hidden.rows(event.keys, event.secret / "data")
    found = hidden.read(folder, planted.data).found
    for one in planted.honeypots:
        found[one.sample_id].image[...] = 1.0
    other = event.path / "submissions" / "theirs" / "entry"
    write_submission(other, hidden.task, found, split=hidden.split, size=hidden.size, name="entry", team="theirs")
    score_event(event)
    reports = [read_report(path) for path in (event.secret / "results").glob("*/report.json")]
    kept = rows.isel(sample=rows["structure_seed"].values < 1000 + SPECIMENS)
    alone = hidden.task.score(kept, predict(hidden.task, find_baseline("denoise", "gaussian"), kept))
    assert len(reports) == len({one.artefact_sha256 for one in reports}) == 2
    for one in reports:
        assert one.source.n == len(alone) == 2 * SPECIMENS
        assert one.primary.value == pytest.approx(float(hidden.task.primary.formula(alone.sums())), rel=1e-9)


def test_a_score_beyond_a_bound_asks_for_a_review(event: Organiser, tmp_path: Path) -> None:
    """Where a task states what the data allow, a whole interval beyond it is named at scoring and by both checks; the row keeps its rank."""
    answered(event, "honest", "gaussian")
    answered(event, "lucky", "oracle", blur=0.01)
    metric = hidden_task(event.event, event.event.tasks[0]).task.primary
    assert metric.limit is None
    assert "no bound set by the data is known" in hidden_task(event.event, event.event.tasks[0]).task.bound_text
    before = float(np.mean([report.primary.value for report in scored_reports(event)]))  # between the two
    rows_before = read_state(event.path / "board.json", event.event.public_key)["rows"]
    object.__setattr__(metric, "limit", before)
    try:
        correct(again(event), "denoise", "The bound was stated.")
        texts = {one.label: one.text for one in score_event(again(event))}
        assert [f"lies beyond {before:g}" in texts[label] for label in ("honest/entry", "lucky/entry")] == [False, True]
        _, checked = write_jury(again(event))
        assert [one.team for one in checked.reviews if one.kind == "bound"] == ["lucky"]
        made = tmp_path / "reviews.json"
        assert main(["review", str(event.path / "submissions"), "--event", str(event.path), "--output", str(made)]) == 0
        assert [one.team for one in read_reviews(made) if one.kind == "bound"] == ["lucky"]
    finally:
        object.__setattr__(metric, "limit", None)
    rows = read_state(event.path / "board.json", event.event.public_key)["rows"]
    assert [(row["team"], row["rank"]) for row in rows] == [(row["team"], row["rank"]) for row in rows_before]


def scored_reports(event: Organiser) -> list[Any]:
    """Score an event and return all reports."""
    score_event(event)
    return [read_report(path) for path in (event.secret / "results").glob("*/report.json")]


def test_the_archive_reveals_them_and_finds_others(event: Organiser, tmp_path: Path) -> None:
    """After the end names and kinds stand in the archive, and follow from the keys; what is changed there is found, although it were signed."""
    answered(event, "thief", "oracle")
    score_event(event)
    freeze(event)
    archive = close_event(again(event), tmp_path / "archive")
    said = list(verify_archive(archive))
    assert [text for text in said if text.startswith(("honeypots: denoise, 6 of 18", "bundle: denoise, 18 rows"))] == said[-4:-2]
    shown = json.loads((archive / "data" / "denoise-1-honeypots.json").read_text())
    assert sorted(one["kind"] for one in shown["honeypots"].values()) == sorted(2 * KINDS)
    assert len(shown["rows"]) == 2 * SPECIMENS
    public = b"".join(path.read_bytes() for path in event.path.rglob("*") if path.is_file() and path.name != "keys.json")
    assert b"impossible dose" not in public.replace(b"impossible dose +", b"").replace(b"impossible dose -", b"")  # but in the words of a review
    hidden = hidden_task(event.event, event.event.tasks[0])
    planted, given = hidden.rows(event.keys, event.secret / "data"), hidden.given(event.path / "opened")
    assert hidden.difference(given, planted) == ""
    count = next(number for number, name in enumerate(given["sample_id"].values.tolist()) if name in planted.names)
    given["image"].values[count, 0, 0, :2] += 2  # two counts differ by more than another processor explains
    assert "of the counts differ, by up to 2" in hidden.difference(given, planted)
    for file, told in (("reviews.json", "requests for review differ from the"), ("honeypots.json", "do not follow from the keys")):
        copy = Path(shutil.copytree(archive, tmp_path / file))
        (path,) = (path for path in copy.rglob(f"*{file}") if "jury" not in path.parts)
        path.unlink() if file == "reviews.json" else path.write_text(path.read_text().replace("pure noise", "swapped labels", 1))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("stemtwin.leaderboard.events.verification._check_sums", lambda *_: 0)
            with pytest.raises(SubmissionError, match=told):
                list(verify_archive(copy))
