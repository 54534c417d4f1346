"""The command line: what it prints, and how it ends: 0 right, 1 wrong input, 2 misuse; one sentence, no traceback."""

import io
import json
import subprocess
import sys
import zipfile

import pytest
from rich.console import Console
from typer.testing import CliRunner

from stemtwin.benchmarks import runner as benchmarks
from stemtwin.benchmarks.submission import write_submission
from stemtwin.benchmarks.tasks import find_task
from stemtwin.leaderboard.cli.board import show
from stemtwin.leaderboard.cli.main import COMMANDS, build, main
from stemtwin.leaderboard.cli.output import number
from stemtwin.leaderboard.store import Store
from tests.benchmarks.fakes import FakeAutofocus
from tests.benchmarks.frames import make
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def small_world(tmp_path, monkeypatch):
    """Give every test an empty board, a small dataset in place of atoms-2d and a small microscope in place of the environment."""
    monkeypatch.setenv("STEMTWIN_DATABASE", str(tmp_path / "board.db"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(benchmarks, "load_samples", lambda *_, **__: make(n=12))
    monkeypatch.setattr(benchmarks.run_agent, "__kwdefaults__", benchmarks.run_agent.__kwdefaults__ | {"make": lambda _: FakeAutofocus()})


def call(*words):
    """Run a command in typer's own runner and return its output."""
    result = CliRunner().invoke(build(words[0]), list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_path_from_eval_to_board():
    """Baselines of both tasks are scored, entered and put in order: the board shows every row once, the oracle without a place, and ranks none."""
    for task, names in (("atoms-2d", ("log", "random", "oracle")), ("autofocus", ("focal-series", "random", "oracle"))):
        for name in names:
            extra = ["--episodes", "6"] if task == "autofocus" else ["--size", "tiny"]
            out = call("eval", task, "--baseline", name, "--submit", *extra)
            assert "entered as row" in out
            assert "95 % interval" in out
            assert name == "oracle" or "public truth: in order of scores, not ranked" in out
            assert name != "random" or "minimum detectable difference of" in out
    boards = json.loads(call("board", "--json"))
    assert [board["task"] for board in boards] == ["atoms-2d", "autofocus"]
    for board in boards:
        assert [row["order"] is None for row in board["rows"]] == [row["name"] == "oracle" for row in board["rows"]]
        assert {(row["rank"], row["status"]) for row in board["rows"]} == {(None, "public truth")}
        assert board["compared"] == "paired differences"
        assert board["detectable"] > 0
    table = call("board", "atoms-2d")
    assert "log" in table
    assert "autofocus" not in table
    assert "already there: row 1" in call("eval", "atoms-2d", "--baseline", "log", "--submit", "--size", "tiny")


def test_predictions_and_reports_are_submitted(tmp_path):
    """A report file has no place; the answers that eval wrote beside it are scored again and have one; a second time they are there already."""
    call("eval", "atoms-2d", "--baseline", "log", "--size", "tiny", "--output", str(tmp_path / "run"))
    told = json.loads(call("submit", str(tmp_path / "run" / "report.json"), "--json"))
    scored = json.loads(call("submit", str(tmp_path / "run" / "submission"), "--json"))
    assert (told["trust"], told["new"], scored["trust"], scored["new"]) == ("reported", True, "scored", True)
    for again in ("submission", "report.json"):
        assert f"already there: row {scored['entry_id']}" in call("submit", str(tmp_path / "run" / again))
    rows = {row["trust"]: row for row in json.loads(call("board", "--json"))[0]["rows"]}
    assert (rows["scored"]["order"], rows["reported"]["order"]) == ([1, 1], None)
    assert (rows["scored"]["cost"], rows["scored"]["rank"]) == ({}, None)
    report = json.loads(call("eval", "atoms-2d", "--predictions", str(tmp_path / "run" / "submission"), "--json"))
    assert report["trust"] == "scored"


def test_foreign_code_is_practice():
    """An agent by address is run and scored; its row is not ranked."""
    report = json.loads(call("eval", "autofocus", "--agent", "tests.benchmarks.test_focus:Still", "--episodes", "5", "--json"))
    assert report["trust"] == "practice"
    assert report["metrics"][1]["value"] == 0.0


def test_lists_and_cards():
    """Tasks and baselines are listed, the card of a task shows what is given and asked; JSON holds the same."""
    listed = json.loads(call("list", "tasks", "--json"))["tasks"]
    assert {"aberration-correction", "atom-forge", "atoms-2d", "autofocus", "autofocus@2", "denoise", "drift-tracking"} < set(listed)
    assert {"atom-drill", "focus-keeping", "hypothesis-test", "sparse-scan", "spectrum-discovery"} < set(listed)
    assert "atoms-2d/log" in call("list", "baselines")
    metrics = {line.split(maxsplit=1)[0]: line.split(maxsplit=1)[1] for line in call("list", "metrics").splitlines()[1:]}
    assert metrics["detection/rmsd"] == "RMS distance of detections to their columns, pm, min is better"
    assert "points" in json.loads(call("list", "answers", "--json"))["answers"]
    environments = [line.split(maxsplit=1) for line in call("list", "environments").splitlines()[1:]]
    assert "stemtwin/Autofocus-v1" in dict(environments)
    assert all(told.endswith(".") for _, told in environments)
    assert set(json.loads(call("list", "environments", "--json"))["environments"]) == {name for name, _ in environments}
    detectors = [line.split(maxsplit=1) for line in call("list", "detectors").splitlines()[1:]]
    assert {"haadf": "image, annular", "dpc4": "image, segmented", "ronchigram": "camera", "eels": "spectrum", "edx": "spectrum"}.items() <= dict(
        detectors
    ).items()
    assert set(json.loads(call("list", "detectors", "--json"))["detectors"]) == {name for name, _ in detectors}
    for name in ("atoms-2d", "denoise", "autofocus", "hypothesis-test"):
        assert json.loads(call("task", name, "--json"))["name"] == name
        card = call("task", name)
        assert "Given" in card
        assert "oracle" in card


@pytest.mark.parametrize(("width", "whole"), [(80, False), (110, True)])
def test_the_board_fits_its_terminal(width, whole):
    """No line is wider than the terminal and no name or score is cut; a wide terminal gets every column, and so does a pipe."""
    call("eval", "autofocus", "--baseline", "focal-series", "--episodes", "6", "--submit")
    with Store() as store:
        (board,) = store.boards()
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    show(board, console)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert ("version" in lines[1]) == whole
    row = board.rows[0]
    assert any(number(row.value, row.low, row.high) in line and "focal-series" in line for line in lines)
    assert "version" in call("board")


def test_an_interrupted_command_says_so(monkeypatch, capsys):
    """Ctrl-C in the middle of a command, whatever the command line's library makes of it, is one line and exit code 130."""

    def stop(name):
        raise KeyboardInterrupt(name)

    monkeypatch.setattr("stemtwin.benchmarks.tasks.find_task", stop)
    assert main(["task", "autofocus"]) == 130
    assert capsys.readouterr().err.split("\n")[-2] == "stemtwin: Interrupted."


@pytest.mark.parametrize("team", ["\x1b[31mred", "a\u202eb", "  ", "x" * 81])
def test_names_that_no_board_shows_are_refused(team, tmp_path, capsys):
    """A team with control or direction characters, of blanks or too long is refused before the work, and in a report file, and nothing is entered."""
    call("eval", "atoms-2d", "--baseline", "log", "--size", "tiny", "--output", str(tmp_path / "run"))
    path = tmp_path / "run" / "report.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"team": team}))
    for words in (("eval", "atoms-2d", "--baseline", "log", "--submit", "--team", team), ("submit", str(path))):
        assert main(words) == 1
        told = capsys.readouterr()
        assert "team" in told.err
        assert told.err.count("\n") == 1
        assert told.err.strip().isprintable()
        assert "entered" not in told.out
    assert json.loads(call("board", "--json")) == []


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_the_board_on_a_console_of_few_characters(encoding, monkeypatch):
    """Where the console's encoding lacks characters of a name, entering and showing escape them and end well."""
    for words in (("eval", "atoms-2d", "--baseline", "log", "--submit", "--size", "tiny", "--team", "東北 Łódź"), ("board",)):
        screen = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", screen)
        assert main(words) == 0
        screen.flush()
    middle = {"ascii": r"\xf3", "cp1252": "ó"}[encoding]
    assert rf"(\u6771\u5317 \u0141{middle}d\u017a)" in screen.buffer.getvalue().decode(encoding)


def test_an_empty_board_says_what_to_do(capsys):
    """An empty board names its file and the next command."""
    assert main(["board"]) == 0
    assert "is empty. Enter something with 'stemtwin eval" in capsys.readouterr().out


ENDINGS = [
    (["--version"], 0, ""),
    (["--help"], 0, ""),
    ([], 0, ""),
    (["board", "--help"], 0, ""),
    (["task", "atoms"], 1, "There is no task named 'atoms'. Did you mean 'atoms-2d'?"),
    (["board", "atoms"], 1, "There is no task named 'atoms'"),
    (["eval", "atoms-2d", "--baseline", "logg"], 1, "There is no baseline named 'logg' for task 'atoms-2d'. Known: log, random, oracle."),
    (["eval", "atoms-2d", "--baseline", "log", "--split", "hidden"], 1, "--split 'hidden' is not a split of task 'atoms-2d'"),
    (["eval", "atoms-2d", "--baseline", "log", "--episodes", "3"], 1, "--episodes 3: task 'atoms-2d' is scored on a dataset"),
    (["eval", "autofocus", "--agent", "nowhere"], 1, "agent 'nowhere' is not of the form 'package.module:Name'"),
    (["submit", "/no/such/place"], 1, "/no/such/place: there is no such file"),
    (["submit", "."], 1, "submission.yaml: there is no such file"),
    (["bord"], 2, "No such command 'bord'"),
    (["board", "--jsn"], 2, "No such option"),
    (["eval"], 2, "Missing argument"),
    (["eval", "atoms-2d"], 2, "needs exactly one of --baseline, --agent, --program and --predictions"),
    (["eval", "autofocus", "--baseline", "random", "--episodes", "few"], 2, "--episodes"),
    (["list", "cats"], 2, "Invalid value for 'kind': 'cats' is not one of"),
    (["--nope"], 2, "No such option"),
]


@pytest.mark.parametrize(("words", "code", "message"), ENDINGS, ids=[" ".join(words) or "nothing" for words, _, _ in ENDINGS])
def test_endings(words, code, message, capsys):
    """Each command line ends with its exit code; a wrong one leaves one line on stderr that says why, and nothing on stdout."""
    assert main(words) == code
    out, err = capsys.readouterr()
    if code == 0:
        assert out
        assert not err
    else:
        assert message in err
        assert err.count("\n") == 1
        assert not out
        assert "Traceback" not in err


def test_a_wrong_submission_is_one_sentence(tmp_path, capsys):
    """A submission with a detection outside the frame ends with code 1, the row, and nothing on the board."""
    task, data = find_task("atoms-2d"), make(n=12)
    entry = benchmarks.find_baseline("atoms-2d", "random")
    found = benchmarks.predict(task, entry, data)
    found["atoms-2d/test/000000"].positions[0, 0] = 99.0
    folder = write_submission(tmp_path / "wrong", task, found, split="test", size="tiny", name="wrong")
    assert main(["submit", str(folder)]) == 1
    assert "predictions.parquet, row 0, column 'x_angstrom': 99.0 lies outside the frame" in capsys.readouterr().err
    assert json.loads(call("board", "--json")) == []


def test_a_zip_is_opened_by_every_door(tmp_path, capsys):
    """A packed submission is unpacked by submit and by eval; what it lacks is named in it, and nothing is entered."""
    path = tmp_path / "entry.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("submission.yaml", "name: mine")
    for words in (["submit", str(path)], ["eval", "atoms-2d", "--predictions", str(path)]):
        assert main(words) == 1
        assert f"{path}/predictions.parquet: there is no such file; a header alone is not a submission." in capsys.readouterr().err
    assert json.loads(call("board", "--json")) == []


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch):
    """An error that is not the user's is not dressed up as one."""
    monkeypatch.setattr(benchmarks, "load_samples", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["eval", "atoms-2d", "--baseline", "log"])


@pytest.mark.slow
def test_exit_codes_of_the_process():
    """The installed entry point ends with 0, 1 and 2."""
    run = "from stemtwin.leaderboard.cli.main import run; run()"
    for words, code in ((["--version"], 0), (["task", "nope"], 1), (["board", "--nope"], 2)):
        done = subprocess.run([sys.executable, "-c", run, *words], capture_output=True, text=True, cwd=ROOT, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (code, int(code > 0)), done.stderr


def test_help_imports_no_command():
    """The help needs neither the modules of the commands nor what they import."""
    heavy = "{'scipy', 'sqlalchemy', 'pydantic', 'xarray', 'stemtwin.leaderboard.cli.board'}"
    check = f"import sys; from stemtwin.leaderboard.cli.main import main; main(['--help']); assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], capture_output=True, cwd=ROOT, check=True)


def test_every_command_has_a_line():
    """The help names every command with its line."""
    text = " ".join(call("--help").split())
    for name, (_, _, line) in COMMANDS.items():
        assert f"{name} " in text
        assert line in text


def test_damage():
    """Cross-sections with thresholds and sources, as a table and as JSON; unknown elements and sites are one sentence."""
    out = call("damage", "C", "--site", "graphene-si-computed", "--energy", "60", "--energy", "80")
    assert "14.80 eV" in out
    assert "Susi" in out
    assert "higher threshold" in " ".join(out.split())
    (entry,) = json.loads(call("damage", "C", "--site", "graphene-si-computed", "--energy", "80", "--json"))
    (row,) = entry["cross_sections_barn"]
    assert row["energy_ev"] == 80e3
    assert row["total"] == pytest.approx(6.0, rel=0.02)
    assert len(json.loads(call("damage", "--json"))) > 40
    assert "graphene-vacancy" in call("damage")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("C", "--site", "graphen"), "Did you mean 'graphene'?"),
        (("Xx",), "There is no element 'Xx'"),
        (("He",), "No displacement threshold of He"),
        (("C", "--energy", "60000"), "Did you pass eV?"),
        (("--site", "bulk"), "Name the element"),
    ],
)
def test_damage_refuses(words, said, capsys):
    """Wrong input of `stemtwin damage` ends with code 1 and one sentence."""
    assert main(["damage", *words]) == 1
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
