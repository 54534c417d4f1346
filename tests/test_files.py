"""Files and folders that are whole or not there at all."""

import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from stemtwin.twin import files
from stemtwin.twin.errors import DatasetError

Usage = namedtuple("Usage", "total used free")


def fail(*_: object) -> None:
    """Stand for a full disk."""
    raise OSError(28, "No space left on device")


def write(path: Path, text: str, *, overwrite: bool = True) -> None:
    """Write a file through a temporary one."""
    with files.replacing(path, overwrite=overwrite) as temporary:
        assert temporary.parent == path.parent
        assert temporary.name.endswith(path.name)
        temporary.write_text(text)


def test_a_file_takes_its_place_with_the_end_of_the_block(tmp_path: Path) -> None:
    """Until the block ends the path holds what it held; afterwards it holds the new file, with no other beside it; missing folders are made."""
    path = tmp_path / "a" / "b" / "x.txt"
    write(path, "old")
    with files.replacing(path, ending=".part") as temporary:
        temporary.write_text("new")
        assert temporary.suffix == ".part"
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    files.write_atomically(path, b"bytes")
    assert path.read_bytes() == b"bytes"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyError("stop"), KeyboardInterrupt()])
def test_a_block_that_fails_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    """An error inside the block comes out as it is, keeps the old file and leaves no temporary one."""
    path = tmp_path / "x.txt"
    write(path, "old")

    def write_half() -> None:
        with files.replacing(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("stage", ["write", "fsync", "replace"])
def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    """Whether the disk refuses the content, its way to the medium or the new name: a DatasetError with path and reason, and the old file."""
    path = tmp_path / "x.txt"
    write(path, "old")
    target, name = {"write": (Path, "write_bytes"), "fsync": (os, "fsync"), "replace": (Path, "replace")}[stage]
    monkeypatch.setattr(target, name, fail)
    with pytest.raises(DatasetError, match=r"x\.txt cannot be written: No space left on device\. Free space"):
        files.write_atomically(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_path_that_is_taken_is_replaced_only_on_request(tmp_path: Path) -> None:
    """With overwrite=False an existing file is refused before the block, and one that appears during the block at its end."""
    path = tmp_path / "x.txt"
    write(path, "old", overwrite=False)
    with pytest.raises(DatasetError, match="exists already"):
        write(path, "new", overwrite=False)
    path.unlink()

    def race() -> None:
        with files.replacing(path, overwrite=False) as temporary:
            temporary.write_text("mine")
            path.write_text("theirs")

    with pytest.raises(DatasetError, match="exists already"):
        race()
    assert path.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """A new folder has the new files only, and a block that fails keeps the old ones."""
    path = tmp_path / "folder"
    for name in ("one", "two"):
        with files.replacing(path) as temporary:
            temporary.mkdir()
            (temporary / name).write_text(name)
    assert [each.name for each in path.iterdir()] == ["two"]

    def make_half() -> None:
        with files.replacing(path) as temporary:
            temporary.mkdir()
            (temporary / "half").write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        make_half()
    assert [each.name for each in tmp_path.rglob("*")] == ["folder", "two"]


def test_a_file_does_not_replace_a_folder(tmp_path: Path) -> None:
    """A folder in the place of a file stays, with what is in it."""
    (tmp_path / "x" / "inside").mkdir(parents=True)
    with pytest.raises(DatasetError, match="cannot be written"):
        write(tmp_path / "x", "new")
    assert [each.name for each in tmp_path.rglob("*")] == ["x", "inside"]


def test_a_file_above_is_a_sentence(tmp_path: Path) -> None:
    """A path below a file cannot be made: one sentence says so."""
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="cannot be written"):
        files.write_atomically(tmp_path / "file" / "x.txt", b"")


def test_a_result_larger_than_the_free_space_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Needed bytes up to 95 % of the free ones pass; one more is a DatasetError with both numbers, also for folders that do not exist yet."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(total=4 * 2**30, used=2 * 2**30, free=2 * 2**30))
    files.check_space(tmp_path / "a" / "b", int(0.95 * 2 * 2**30), "The cube")
    with pytest.raises(DatasetError, match=r"The cube takes 1\.9 GiB.*95%"):
        files.check_space(tmp_path / "a" / "b", int(0.95 * 2 * 2**30) + 1, "The cube")
