"""``stemtwin submit``: folders and archives, a row before it is entered, submissions in the folder of an event."""

import dataclasses
import datetime
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from stemtwin.benchmarks import report, runner
from stemtwin.benchmarks.agents import find_baseline
from stemtwin.benchmarks.answers.points import Points
from stemtwin.benchmarks.runner import predict
from stemtwin.benchmarks.submission import write_submission
from stemtwin.benchmarks.tasks import find_task
from stemtwin.datasets import storage
from stemtwin.leaderboard import review_checks
from stemtwin.leaderboard.cli.main import main
from stemtwin.leaderboard.events import inbox
from stemtwin.leaderboard.events.inbox import hand_in
from stemtwin.leaderboard.events.settings import make_event, write_event
from stemtwin.leaderboard.events.submissions import digest_of
from stemtwin.leaderboard.preview import preview
from stemtwin.leaderboard.reviews import read_reviews
from stemtwin.leaderboard.store import Store
from stemtwin.twin.errors import DatasetError, SettingsError, SubmissionError
from tests.benchmarks.frames import make
from tests.leaderboard.test_store import report_of

TASK, DATA = find_task("atoms-2d"), make(n=8, clusters=8)
IDS = DATA["sample_id"].values.tolist()


def answers(seed: int) -> dict[str, Points]:
    """Return points at random."""
    rng = np.random.default_rng(seed)
    return {name: Points.at(rng.uniform(0, 12, (5, 2)), classes=rng.integers(0, 90, 5), confidence=np.ones(5)) for name in IDS}


def zipped(folder: Path, path: Path) -> Path:
    """Pack a folder, in a folder of its own."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for one in sorted(folder.iterdir()):
            archive.write(one, f"{folder.name}/{one.name}")
    return path


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder with a board of its own, on a small dataset."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STEMTWIN_DATABASE", str(tmp_path / "board.db"))
    real = report.interval
    monkeypatch.setattr(report, "interval", lambda *given, **options: real(*given, **{**options, "resamples": 99}))
    for module in (runner, review_checks):
        monkeypatch.setattr(module, "load_samples", lambda *_, **__: DATA)
    return tmp_path


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    """Return a right submission."""
    return write_submission(tmp_path / "entry", TASK, answers(1), split="test", size="tiny", name="mine", team="us")


def test_an_archive_is_the_folder_in_it(entry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder, and a zip of it, are the same submission: the second is there already; nothing is left of what was unpacked."""
    assert main(["submit", str(entry), "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert main(["submit", str(zipped(entry, tmp_path / "entry.zip")), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert (first["new"], again["new"], again["entry_id"]) == (True, False, first["entry_id"])
    assert sorted(one.name for one in tmp_path.iterdir()) == ["board.db", "entry", "entry.zip"]


def test_messages_of_an_archive_name_it(entry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong header in an archive is told with the archive's name, not with that of a temporary folder; nothing is entered."""
    header = yaml.safe_load((entry / "submission.yaml").read_text())
    (entry / "submission.yaml").write_text(yaml.safe_dump(header | {"colour": "red"}))
    path = zipped(entry, tmp_path / "entry.zip")
    assert main(["submit", str(path)]) == 1
    said = capsys.readouterr().err
    assert f"{path}/submission.yaml: key 'colour'" in said
    path.write_bytes(path.read_bytes()[:-9])
    assert main(["submit", str(path)]) == 1
    assert "not a complete zip archive" in capsys.readouterr().err
    with Store() as store:
        assert store.entries() == []


def test_a_dry_run_shows_the_row_that_is_entered(entry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The row of a dry run is that of the board after the entry, place included; the dry run writes nothing, not even an empty board."""
    assert main(["submit", str(entry), "--dry-run"]) == 0
    assert "the row that the board would show, beside 0 others; nothing was entered" in capsys.readouterr().out
    assert not (tmp_path / "board.db").exists()
    other = write_submission(tmp_path / "other", TASK, answers(2), split="test", size="tiny", name="other", team="them")
    assert main(["submit", str(other)]) == 0
    capsys.readouterr()
    before = (tmp_path / "board.db").read_bytes()
    assert main(["submit", str(entry), "--dry-run", "--json"]) == 0
    dry = json.loads(capsys.readouterr().out)
    assert (tmp_path / "board.db").read_bytes() == before
    assert main(["submit", str(entry)]) == 0
    capsys.readouterr()
    assert main(["board", "--json"]) == 0
    (board,) = json.loads(capsys.readouterr().out)
    vary = {"created", "wall_s"}
    real = [{key: value for key, value in row.items() if key not in vary} for row in board["rows"]]
    shown = [{key: value for key, value in row.items() if key not in vary} for row in dry["board"]["rows"]]
    assert shown == real
    assert [row["entry_id"] for row in real if row["name"] == "mine"] == [dry["row"]["entry_id"]] == [2]


def test_a_preview_has_the_place_of_the_row(tmp_path: Path) -> None:
    """Previewed and entered rows are equal for ties, equal answers of another team, and answers that are there."""
    path = tmp_path / "new.db"
    made = [(0.9, "a"), (0.88, "b"), (0.9, "c"), (0.3, "a"), (0.9, "a")]
    for value, team in made:
        one = report_of(value, entry="entry", team=team, artefact=f"answers {value}", truth="hidden")
        shown = preview(one, path)
        with Store(path) as store:
            receipt = store.submit(one)
            (board,) = store.boards()
        assert (shown.new, shown.row.entry_id) == (receipt.new, receipt.entry_id)
        row = next(each for each in board.rows if each.entry_id == receipt.entry_id)
        assert dataclasses.replace(shown.row, created="") == dataclasses.replace(row, created="")


def write_settings(folder: Path, **settings: Any) -> None:
    """Write the settings of an event with one task of predictions and one environment."""
    folder.mkdir(exist_ok=True)
    opens = datetime.datetime(2026, 1, 15, 9, tzinfo=datetime.UTC)
    made = {"schema": "stemtwin/event@1", "name": "spring", "title": "Spring", "commitment": "0" * 64, "public_key": "0" * 64}
    made |= {"opens": opens, "closes": opens + datetime.timedelta(days=2), "tasks": [{"task": "atoms-2d", "size": "tiny"}]}
    made |= {"environments": [{"task": "hypothesis-test", "episodes": 2}]}
    write_event(folder / "event.toml", make_event({**made, **settings}))


def read(path: Path, card: object) -> Any:
    """Return the hidden inputs where the bundle is open."""
    del card
    if not path.is_file():
        message = f"{path} is missing"
        raise DatasetError(message)
    return DATA


@pytest.fixture
def event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of an event with one task, its bundle open."""
    folder = tmp_path / "spring"
    write_settings(folder, teams=["us", "A B"])
    inputs = folder / "opened" / "inputs" / "atoms-2d-1"
    inputs.mkdir(parents=True)
    (inputs / "test.nc").write_bytes(b"")
    monkeypatch.setattr(storage, "read_netcdf", read)
    return folder


@pytest.fixture
def hidden(tmp_path: Path) -> Path:
    """Return a submission to the event."""
    task = dataclasses.replace(TASK, source_version=f"{TASK.source_version}+spring")
    return write_submission(tmp_path / "hidden", task, answers(3), split="test", size="tiny", name="first try", team="us")


def files(folder: Path) -> set[str]:
    """Return the files and folders below a folder."""
    return {one.relative_to(folder).as_posix() for one in folder.rglob("*")}


def test_a_submission_is_handed_in_once(event: Path, hidden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same content, from a folder or an archive, comes to one place whose name ends with its hash; another content comes beside it."""
    assert main(["submit", str(hidden), "--event", str(event), "--team", "us"]) == 0
    (place,) = (event / "submissions" / "us").iterdir()
    assert f"handed in: {place}" in capsys.readouterr().out
    assert place.name == f"first try-{digest_of(hidden)[:12]}"
    assert digest_of(place) == digest_of(hidden)
    before = files(event)
    assert main(["submit", str(zipped(hidden, tmp_path / "a.zip")), "--event", str(event), "--team", "us", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "path": str(place), "new": False, "task": "atoms-2d/test@1", "name": "first try", "team": "us"
    }  # fmt: skip
    assert files(event) == before
    (hidden / "notes.txt").write_text("more")
    assert hand_in(hidden, event, "us").new
    assert len(list((event / "submissions" / "us").iterdir())) == 2
    assert not (tmp_path / "board.db").exists()


def change(**keys: str) -> Callable[[Path, Path], None]:
    """Return a change of a submission's header."""

    def made(event: Path, hidden: Path) -> None:
        del event
        header = yaml.safe_load((hidden / "submission.yaml").read_text())
        (hidden / "submission.yaml").write_text(yaml.safe_dump(header | keys))

    return made


WRONG = {
    "another task": (change(task="denoise/test@1"), "us", "'denoise' is not a task of spring. Its tasks: atoms-2d, hypothesis-test."),
    "public rows": (change(dataset="atoms-2d@1.0.0"), "us", "key 'dataset' is 'atoms-2d@1.0.0'; accepted here: atoms-2d@1.0.0+spring"),
    "another team": (change(team="them"), "us", "key 'team' is 'them', but the submission is handed in for 'us'"),
    "another size": (change(size="std"), "us", " is for split test, size std, but the event needs split test, size tiny. Correct the header"),
    "a stranger": (change(), "uss", "'uss' does not take part in spring. Did you mean 'us'?"),
    "a table cut off": (lambda _, hidden: (hidden / "predictions.parquet").write_bytes(b"PAR1"), "us", "not a parquet file"),
    "a closed bundle": (lambda event, _: shutil.rmtree(event / "opened"), "us", "Open the bundle first: 'stemtwin event open"),
    "no event": (lambda event, _: (event / "event.toml").unlink(), "us", "event.toml: No such file or directory. Give the folder of an event, made"),
    "no settings": (lambda event, _: (event / "event.toml").write_text("name = 3"), "us", "event.toml: schema: Field required"),
    "not TOML": (lambda event, _: (event / "event.toml").write_text("name ="), "us", "event.toml is not TOML"),
    "a link": (lambda _, hidden: (hidden / "film").symlink_to("/etc/passwd"), "us", "is a link or a special file. Hand in regular files only."),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_an_event_refuses_leaves_nothing(case: str, event: Path, hidden: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each wrong submission is refused in one sentence, and the event's folder is as it was."""
    wrong, team, told = WRONG[case]
    wrong(event, hidden)
    before = files(event)
    assert main(["submit", str(hidden), "--event", str(event), "--team", team]) == 1
    assert told in capsys.readouterr().err
    assert files(event) - before == set()


def test_a_copy_that_stops_leaves_nothing(event: Path, hidden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills while files are copied leaves no submission, and the next try makes a whole one."""

    def stop(source: Path, target: Path) -> None:
        target.mkdir()
        shutil.copy(source / "submission.yaml", target)
        message = "the disk is full"
        raise OSError(message)

    monkeypatch.setattr(inbox, "copy_tree", stop)
    before = files(event)
    with pytest.raises(OSError, match="the disk is full"):
        hand_in(hidden, event, "us")
    assert files(event) == before
    monkeypatch.undo()
    monkeypatch.setattr(storage, "read_netcdf", read)
    assert hand_in(hidden, event, "us").new


@pytest.mark.parametrize("team", ["a/b", "..", "a\\b", "CON", "nul.txt", "x:y", "team.", "O\u0308", "~a|b"])
def test_teams_whose_names_make_no_folder_are_refused(team: str, event: Path, hidden: Path) -> None:
    """A team's folder has its name, so that names which some system takes for another path are refused; nothing is written."""
    write_settings(event)
    change(team=team)(event, hidden)
    before = files(event)
    with pytest.raises(SettingsError, match="is not a valid name of a folder on some systems"):
        hand_in(hidden, event, team)
    assert files(event) == before


@pytest.mark.parametrize("name", ["../../x", "a/b", "nul", "x" * 80, "~", "a|b?.", "Ö"])
def test_every_name_of_an_entry_makes_a_folder(name: str, event: Path, hidden: Path) -> None:
    """Whatever an entry is called, it lies in one folder of its team, of at most 80 characters."""
    change(name=name, team="A B")(event, hidden)
    place = hand_in(hidden, event, "A B").path
    assert place.parent == event / "submissions" / "A B"
    assert list(place.parent.iterdir()) == [place]
    assert len(place.name) <= 80
    assert not set(place.name) & set('/\\:*?"<>|')


def test_agents_are_handed_in_unseen(event: Path, tmp_path: Path) -> None:
    """An agent's folder is copied with its program, of which nothing is run; another task, or no program, is refused."""
    agent = tmp_path / "agent"
    agent.mkdir()
    (agent / "agent.py").write_text("raise SystemExit")
    head = 'schema = "stemtwin/agent-submission@1"\n'
    wrong = {
        head + 'task = "atoms-2d"\nprogram = "a"': "'atoms-2d' needs a table of answers with submission.yaml",
        head + 'task = "hypothesis-test"': "key 'program': Field required",
        head + 'task = "hypothesis-test"\nprogram = 3': "key 'program': Input should be a valid string",
        head + 'task = "hypothesis-test"\nprogram = " "': "key 'program': Value error, the program is empty",
        head + 'task = "hypothesis-test"\nprogram = "a"\n[method]\ncode = "me@host"': "method.code is 'me@host', which is not a web link",
        'task = "hypothesis-test"\nprogram = "a"': "key 'schema': Field required",
    }
    for text, told in wrong.items():
        (agent / "agent.toml").write_text(text)
        with pytest.raises(SubmissionError, match=told):
            hand_in(agent, event, "us")
    (agent / "agent.toml").write_text(f'{head}task = "hypothesis-test"\nprogram = "python agent.py"\n')
    assert main(["submit", str(zipped(agent, tmp_path / "agent.zip")), "--event", str(event), "--team", "us"]) == 0
    done = hand_in(agent, event, "us")
    assert not done.new
    assert files(done.path) == {"agent.toml", "agent.py"}
    assert (done.task, done.path.name) == ("hypothesis-test", f"agent-{digest_of(agent)[:12]}")


@pytest.mark.parametrize("words", [("--team", "us"), ("--event", "spring"), ("--event", "spring", "--team", "us", "--dry-run")])
def test_options_that_do_not_go_together(words: tuple[str, ...], entry: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An event needs a team and the reverse, and has no dry run."""
    assert main(["submit", str(entry), *words]) == 2
    assert "stemtwin: " in capsys.readouterr().err


def test_copies_between_teams_are_named_over_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``stemtwin review`` names a copy with jitter of another team, no other pair, and what it cannot compare; the board reads the file."""
    rng = np.random.default_rng(6)
    truth = predict(TASK, find_baseline("atoms-2d", "oracle"), DATA)
    noisy = [
        {n: dataclasses.replace(p, positions=np.clip(p.positions + rng.normal(0, 0.1, p.positions.shape), 0, 12)) for n, p in truth.items()}
        for _ in range(3)
    ]
    copy = {n: dataclasses.replace(p, positions=np.clip(p.positions + rng.normal(0, 1e-3, p.positions.shape), 0, 12)) for n, p in noisy[0].items()}
    for team, found in zip(("a", "b", "c", "thief"), (*noisy, copy), strict=True):
        write_submission(tmp_path / "teams" / team / "try", TASK, found, split="test", size="tiny", name="try", team=team)
    (tmp_path / "teams" / "a" / "notes").mkdir()
    (tmp_path / "teams" / "b" / "broken").mkdir()
    (tmp_path / "teams" / "b" / "broken" / "submission.yaml").write_text("- 1")
    assert main(["review", str(tmp_path / "teams"), "--output", "reviews.json"]) == 0
    told = capsys.readouterr()
    assert "4 submissions compared, 2 reviews requested, written: reviews.json" in told.out
    assert [line.partition(":")[0] for line in told.out.splitlines()[:-1]] == ["a/try", "thief/try"]
    assert told.err.count("not compared: ") == 2
    reviews = read_reviews(tmp_path / "reviews.json")
    assert {one.artefact_sha256 for one in reviews} == {TASK.form.digest(found) for found in (noisy[0], copy)}
