"""``stemtwin data``, in process."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from stemtwin.datasets import cards, catalog, generate, witness
from stemtwin.datasets.fetch import folder_of
from stemtwin.leaderboard.cli.data import app
from stemtwin.leaderboard.cli.work_progress import tenth_lines
from stemtwin.twin.errors import DatasetError, UnknownNameError


@pytest.fixture
def run(image_source):
    """Run a command with the analytic image source in the microscope's place; raise what it raises."""

    def call(*words):
        result = CliRunner().invoke(app, list(words))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.mark.slow
def test_build_list_verify_publish_fetch(run, card, tmp_path, monkeypatch):
    """The groups' commands work one after the other, and with --json print one JSON value and nothing else; a begun build is listed."""
    begun = generate.partial_of(folder_of(card, "tiny"))
    begun.mkdir(parents=True)
    assert [row["begun"] for row in json.loads(run("list", "--json").stdout) if row["name"] == "atoms-small" and row["size"] == "tiny"] == [True]
    built = json.loads(run("build", "atoms-small", "--size", "tiny", "--json").stdout)
    assert built["rows"] == {"train": 30, "val": 30, "test": 30}
    listed = {row["size"]: row for row in json.loads(run("list", "--json").stdout)}
    assert listed["tiny"]["folder"] == built["folder"]
    assert listed["std"]["folder"] is None
    checked = json.loads(run("verify", "atoms-small", "--size", "tiny", "--regenerate", "2", "--json").stdout)
    assert (checked["rows"], checked["rows_made_again"]) == (90, 10)
    published = json.loads(run("publish", "atoms-small", str(tmp_path / "m"), "--size", "tiny", "--json").stdout)
    assert "tiny/manifest.json sha256:" in Path(published["registry"]).read_text()


@pytest.mark.slow
def test_a_card_of_ones_own(run, card, tmp_path):
    """``--card`` builds from a file and says time and place before the work; the file's path is the dataset's name elsewhere."""
    (cards.CARDS / "atoms-small-1.0.0.toml").rename(tmp_path / "mine.toml")
    shorter = (tmp_path / "mine.toml").read_text().replace("train = 6, val = 6, test = 6", "train = 1, val = 1, test = 1")
    (tmp_path / "mine.toml").write_text(shorter)
    result = run("build", "--card", str(tmp_path / "mine.toml"), "--size", "tiny")
    assert result.stderr.startswith("atoms-small 1.0.0 tiny: about ")
    assert "5 train, 5 val, 5 test images in" in result.stdout
    assert "is correct" in run("verify", str(tmp_path / "mine.toml"), "--size", "tiny").stdout
    assert len(catalog.load_arrays(str(tmp_path / "mine.toml"), size="tiny")[0]) == 5
    assert run("build", "--card", str(tmp_path / "mine.toml"), "--size", "tiny", "--json").stderr == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("build",), "Neither a name nor --card is given"),
        (("build", "atoms-small", "--card", "x.toml"), "Both a name and --card are given"),
        (("build", "--card", "x.toml", "--version", "1.0.0"), "--version 1.0.0 cannot be used with --card"),
        (("build", "--card", "x.toml"), "x.toml cannot be read"),
        (("build", "atoms-small@2"), "has no version '2'"),
        (("verify", "atoms-small@1.0.0", "--version", "1.1.0"), "two different versions"),
    ],
)
def test_a_dataset_is_named_once(run, card, words, message):
    """A name, a name with its version, or a card: nothing, two of them and what is not there are one sentence each."""
    with pytest.raises(DatasetError, match=message):
        run(*words)


def test_witness_command(run, card):
    """``witness`` writes the file beside the card, with which the next build agrees."""
    written = json.loads(run("witness", "atoms-small", "--json").stdout)
    assert written["bytes"] == witness.path_of(card).stat().st_size
    assert Path(written["path"]) == witness.path_of(card)
    first = next(generate.specimens(card, "tiny"))
    assert witness.check(card, "tiny", generate.specimen_rows(card, "tiny", first)) == 1


def test_fetch_command(run, mirror):
    """``fetch`` brings every file and says where it is."""
    fetched = json.loads(run("fetch", "atoms-small", "--size", "tiny", "--json").stdout)
    assert len(fetched["content_sha256"]) == 64
    assert json.loads(run("verify", "atoms-small", "--size", "tiny", "--json").stdout)["rows"] == 90


def test_people_get_a_sentence(run, local):
    """Without --json the result is a sentence with the folder, and the list is a table."""
    assert "30 train, 30 val, 30 test images in" in run("build", "atoms-small", "--size", "tiny").stdout
    assert "is correct: " in run("verify", "atoms-small", "--size", "tiny", "--regenerate", "1").stdout
    assert "atoms-small" in run("list").stdout


def test_wrong_input_is_an_error_of_ours_and_a_wrong_flag_is_misuse(run, card):
    """A wrong name or size raises a StemtwinError, which the main program turns into one sentence and exit code 1; a wrong flag exits with 2."""
    with pytest.raises(UnknownNameError, match="Did you mean 'atoms-small'"):
        run("build", "atom-small")
    with pytest.raises(DatasetError, match="Did you mean 'tiny'"):
        run("build", "atoms-small", "--size", "tinny")
    with pytest.raises(DatasetError, match="holds no dataset"):
        run("verify", "atoms-small", "--size", "tiny")
    assert run("build", "atoms-small", "--wrong").exit_code == 2


def test_a_log_gets_a_line_a_tenth(capsys):
    """Progress of a build writes a line at its beginning, at least at each tenth and at its end, into what is no terminal."""
    tell = tenth_lines("specimens")
    for done in range(58):
        tell(done, 57, f"one/{done}")
    lines = capsys.readouterr().err.splitlines()
    dones = [int(line.split()[0]) for line in lines]
    assert (dones[0], dones[-1]) == (0, 57)
    assert max(np.diff(dones)) <= 6
    assert len(lines) == 11
    assert re.fullmatch(r"57 of 57 specimens, [\d.]+ s: one/57", lines[-1])


def test_build_in_processes_is_asked_for_in_one_way(run, card):
    """A number of workers beside a scheduler is misuse, and so is no worker."""
    assert run("build", "atoms-small@1", "--size", "tiny", "--workers", "2", "--scheduler", "tcp://127.0.0.1:1").exit_code == 2
    assert run("build", "atoms-small@1", "--size", "tiny", "--workers", "0").exit_code == 2
