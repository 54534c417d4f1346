"""Files that commands cannot use: each ends in one sentence that names the file, and in exit code 1."""

import builtins
import errno
import io
import os
import shutil
import sqlite3
import sys
import tempfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stemtwin.leaderboard.cli.main import main
from tests.leaderboard.test_cli_options import HEAVY

READING = {
    "image": ("image",),
    "certify": ("certify",),
    "compare": ("compare", "--sample", "srtio3-001"),
    "submit": ("submit",),
    "eval": ("eval", "atoms-2d", "--predictions"),
    "board": ("board", "--database"),
    "build": ("data", "build", "--size", "tiny", "--card"),
    "verify": ("data", "verify", "atoms-2d", "--size", "tiny", "--folder"),
    "publish": ("data", "publish", "atoms-2d", "mirror", "--size", "tiny", "--folder"),
    "describe": ("data", "describe", "atoms-2d", "described", "--size", "tiny", "--folder"),
    "pack": ("data", "pack", "--task", "atoms-2d", "--name", "films", "--labels-by", "none"),
    "inputs": ("data", "inputs", "atoms-2d@1", "handed", "--size", "tiny", "--folder"),
    "measured": ("eval", "atoms-2d", "--baseline", "log", "--data"),
    "knobs": ("knobs", "--page"),
    "event score": ("event", "score"),
    "event serve": ("event", "serve"),
    "bundle": ("event", "open", "--key", "00" * 32),
    "archive": ("event", "verify"),
    "event": ("submit", "report.json", "--team", "us", "--event"),
    "review": ("review",),
    "reviews": ("board", "--pages", "pages", "--reviews"),
}
"""Words before the file of every command that reads one."""
WRITING = {
    "image": ("image", "graphene", "--output"),
    "certify": ("certify", "atoms-2d@1", "--output"),
    "compare": ("compare", "image.npy", "--sample", "srtio3-001", "--output"),
    "eval": ("eval", "autofocus", "--baseline", "oracle", "--output"),
    "demo": ("demo", "--output"),
    "signals": ("demo", "--signals", "--output"),
    "film": ("demo", "--film", "--output"),
    "build": ("data", "build", "atoms-2d@1", "--size", "tiny", "--folder"),
    "pack": ("data", "pack", "image.tif", "--task", "atoms-2d", "--name", "films", "--labels-by", "none", "--folder"),
    "episodes": ("data", "episodes", "stemtwin/HypothesisTest-v1", "--folder"),
    "episode film": ("film", "stemtwin/HypothesisTest-v1", "--output"),
    "submit": ("submit", "report.json", "--database"),
    "event new": ("event", "new", "--environment", "hypothesis-test:1"),
    "answers": ("event", "predict", "nowhere", "--task", "denoise", "--baseline", "counts", "--output"),
    "review": ("review", "nowhere", "--output"),
    "pages": ("board", "--pages"),
    "jury": ("board", "--jury"),
}
"""Words before the file or folder of every command that writes one."""
NOISE = np.random.default_rng(0).integers(0, 256, 4096, dtype=np.uint8).tobytes()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, with a board and data of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STEMTWIN_DATABASE", str(tmp_path / "board.db"))
    monkeypatch.setenv("STEMTWIN_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Return the function that makes a file unreadable, for a privileged user as well."""

    def lock(path: Path) -> None:
        real = io.open

        def guarded(file: Any, *arguments: Any, **options: Any) -> Any:
            if str(file) == str(path):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return real(file, *arguments, **options)

        monkeypatch.setattr(io, "open", guarded)
        monkeypatch.setattr(builtins, "open", guarded)

    return lock


def refused(capsys: pytest.CaptureFixture[str], *words: str | Path, named: str | Path) -> str:
    """Run a command that must fail; return its one sentence."""
    assert main([str(word) for word in words]) == 1
    told = capsys.readouterr().err.strip().splitlines()
    (line,) = [one for one in told if one.startswith("stemtwin: ")]
    assert str(named) in line
    assert "Traceback" not in line
    assert "Errno" not in line
    assert line.endswith((".", "?"))
    return line


@pytest.mark.parametrize("command", READING)
@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "binary", "beneath", "long"])
def test_a_file_that_is_none(command: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Missing files, folders, empty and binary files, paths beneath a file and names that are too long are refused."""
    path = tmp_path / {"long": "x" * 300, "beneath": "file/inside"}.get(kind, kind)
    if kind == "folder":
        path.mkdir()
    elif kind in ("empty", "binary"):
        path.write_bytes(NOISE if kind == "binary" else b"")
    elif kind == "beneath":
        path.parent.write_bytes(b"x")
    if (command, kind) == ("board", "empty"):  # to SQLite, an empty file is a database without tables
        assert main([*READING[command], str(path)]) == 0
        return
    refused(capsys, *READING[command], path, named=path)
    assert (tmp_path / kind).exists() is (kind in ("folder", "empty", "binary"))


@pytest.mark.parametrize("command", ["image", "certify", "submit", "knobs"])
def test_a_file_that_may_not_be_read(
    command: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    locked: Callable[[Path], None],
) -> None:
    """A file without the right to read it is refused, with the reason."""
    path = tmp_path / "locked"
    path.write_text("text")
    locked(path)
    assert "Permission denied" in refused(capsys, *READING[command], path, named=path)


@pytest.mark.parametrize("content", [b"", NOISE], ids=["empty", "binary"])
@pytest.mark.parametrize(("command", "file"), [("submit", "submission.yaml"), ("eval", "submission.yaml"), ("verify", "manifest.json")])
def test_a_folder_with_a_file_that_is_none(
    command: str,
    file: str,
    content: bytes,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In a folder, the file that cannot be read is named."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / file).write_bytes(content)
    (folder / "predictions.parquet").write_bytes(b"PAR1 and so on")
    refused(capsys, *READING[command], folder, named=folder / file)


@pytest.mark.parametrize("kind", ["board", "other"])
def test_a_database_of_something_else(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A SQLite file with other tables, or with tables of our names that are different ones, is not a board."""
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as found:
        found.execute("create table entries (something text)" if kind == "board" else "create table things (x int)")
    before = path.read_bytes()
    refused(capsys, "board", "--database", path, named=path)
    refused(capsys, "submit", "report.json", "--database", path, named=path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("command", WRITING)
@pytest.mark.parametrize("kind", ["beneath", "procfs", "device", "long", "full"])
def test_an_output_that_cannot_be_written(
    command: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Places beneath a file, in procfs, beneath a device, of a name too long and on a full disk are refused before any work; nothing is left."""
    places = {"beneath": tmp_path / "file" / "inside", "procfs": Path("/proc/self/nowhere"), "device": Path("/dev/full/x"), "long": Path("x" * 256)}
    (tmp_path / "file").write_bytes(b"x")
    name = {"image": "a.png", "episode film": "a.gif", "board": "a.db", "submit": "a.db"}.get(command, "")
    path = places.get(kind, tmp_path / "new") / name
    for work in HEAVY:
        monkeypatch.setattr(work, lambda *_, **__: pytest.fail("the work began"))
    if kind == "full":
        monkeypatch.setattr(tempfile, "mkstemp", fail_full)
    line = refused(capsys, *WRITING[command], path, named=path.name if kind == "full" else path)
    assert kind != "full" or "No space left on device. Free space there" in line
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def fail_full(*_: Any, **__: Any) -> None:
    """Stand for a full disk."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(("command", "variable"), [("eval", "STEMTWIN_DATABASE"), ("build", "STEMTWIN_DATA_DIR"), ("demo", "STEMTWIN_DATA_DIR")])
def test_a_place_named_in_the_environment(
    command: str, variable: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The board of --submit and the folder of datasets are looked at before the work, too."""
    words = {"eval": ("eval", "autofocus", "--baseline", "oracle", "--submit"), "build": ("data", "build", "atoms-2d@1"), "demo": ("demo",)}[command]
    for work in HEAVY:
        monkeypatch.setattr(work, lambda *_, **__: pytest.fail("the work began"))
    monkeypatch.setenv(variable, "/proc/self/nowhere")
    refused(capsys, *words, named="/proc/self/nowhere")
    assert not list(tmp_path.iterdir())


def test_a_dataset_larger_than_the_disk_is_not_begun(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of a build is planned and compared with the free space."""
    usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**30, 2**29, 2**20))
    line = refused(capsys, "data", "build", "atoms-2d@1", "--folder", tmp_path / "new", named="A build of atoms-2d-1.0.0 std needs 164 MiB")
    assert "95% of the free space" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_standard_output_is_a_sentence(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the output's disk is full: one line, exit code 1, and no second try when Python ends."""
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["task", "autofocus"]) == 1
    assert capsys.readouterr().err == "stemtwin: The output cannot be written: No space left on device. Free space there.\n"


def test_a_picture_that_is_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder does not become a picture."""
    (tmp_path / "a.png").mkdir()
    refused(capsys, "image", "graphene", "--output", tmp_path / "a.png", named=tmp_path / "a.png")


def test_paths_are_shown_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder whose name looks like markup, or like a picture, is named as it is."""
    folder = tmp_path / "a:100:[b]"
    assert main(["data", "episodes", "stemtwin/HypothesisTest-v1", "--policy", "no-op", "--episodes", "1", "--folder", str(folder)]) == 0
    told = capsys.readouterr()
    assert str(folder) in told.out
    assert str(folder) in told.err
