"""Files and folders that are whole or not there at all, found to be writable before the work; locks that end."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import namedtuple
from collections.abc import Iterator
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
    with pytest.raises(DatasetError, match=r"The cube needs 1\.9 GiB.*95%"):
        files.check_space(tmp_path / "a" / "b", int(0.95 * 2 * 2**30) + 1, "The cube")


NOWHERE = {
    "/proc/self/nowhere": "the folder /proc/self does not accept new files",
    "/proc/nowhere/a/b": "the folder /proc does not accept new files",
    "/dev/full": "is a device or a pipe",
    "/dev/full/x": "/dev/full is a file, not a folder",
    "file/x/y": "file is a file, not a folder",
    "folder": "is a folder. Give the name of a file in it",
    "x" * 256: "File name too long. Choose a shorter name",
    f"a/{'x' * 256}/b": "File name too long. Choose a shorter name",
    "loop": "symbolic links",
    "pipe": "is a device or a pipe",
}
"""Places where no file can be written, and what is said about them."""


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder to work in, with a file, a folder, a pipe and a link to itself."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="places of Linux")
@pytest.mark.parametrize("path", NOWHERE)
def test_a_place_that_takes_no_file_is_found_before_the_work(places: Path, path: str) -> None:
    """Folders of the system, devices, pipes, files above the path, long names: one sentence with the path and the reason, nothing left behind.

    What writes there says the same.
    """
    before = sorted(places.rglob("*"))
    with pytest.raises(DatasetError, match=NOWHERE[path]) as told:
        files.check_writable(path)
    assert path.rsplit("/", 1)[-1] in str(told.value)
    if path != "folder":  # a folder may replace a folder
        with pytest.raises(DatasetError, match=NOWHERE[path]):
            write(Path(path), "new")
    assert sorted(places.rglob("*")) == before


def test_a_place_that_takes_a_file_stays_as_it_is(places: Path) -> None:
    """Files and folders that are there or can be made, also with folders above them, pass, and nothing is left or changed."""
    before = sorted(places.rglob("*"))
    for path, folder in (("file", False), ("new", False), ("a/b/c", False), ("folder", True), ("a/b", True), ("", True), ("x" * 255, False)):
        files.check_writable(path, folder=folder)
    assert sorted(places.rglob("*")) == before
    assert (places / "file").read_text() == "old"
    with pytest.raises(DatasetError, match="file is a file, not a folder"):
        files.check_writable("file", folder=True)
    with pytest.raises(DatasetError, match="file exists already"):
        files.check_writable("file", overwrite=False)


@pytest.mark.parametrize(("number", "repair"), [(errno.EACCES, "permissions"), (errno.EROFS, "another folder"), (errno.ENOSPC, "Free space")])
@pytest.mark.parametrize("path", ["new", "a/b/new"])
def test_what_the_system_refuses_is_told(places: Path, monkeypatch: pytest.MonkeyPatch, number: int, repair: str, path: str) -> None:
    """No permission, a read-only and a full disk are found by the trial, before a folder is made."""
    before = sorted(places.rglob("*"))

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    with pytest.raises(DatasetError, match=rf"new cannot be written: {os.strerror(number)}\. .*{repair}"):
        files.check_writable(path)
    assert sorted(places.rglob("*")) == before


@pytest.mark.parametrize("moment", ["_check_free", "_check_kind", "_may_be_changed", "_try_file"])
@pytest.mark.parametrize("removed", ["file", "folder"])
def test_what_another_process_removes_meanwhile_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, removed: str) -> None:
    """Between any two looks at a path another process may remove the file, or the folder with it: it can be written all the same."""
    path = tmp_path / "cache" / "x"
    write(path, "old")
    step, done = getattr(files, moment), []

    def after_removal(*args: object, **kwargs: object) -> object:
        if not done:
            done.append(moment)
            path.unlink() if removed == "file" else shutil.rmtree(path.parent)
        return step(*args, **kwargs)

    monkeypatch.setattr(files, moment, after_removal)
    write(path, "new")
    assert done
    assert path.read_text() == "new"
    assert [one.name for one in path.parent.iterdir()] == ["x"]


@pytest.mark.skipif(os.geteuid() == 0, reason="a privileged user may write anywhere")
def test_permissions_are_respected(places: Path) -> None:
    """A folder and a file without the right to write are refused."""
    (places / "file").chmod(0o444)
    (places / "folder").chmod(0o555)
    for path in ("file", "folder/new", "folder/a/b"):
        with pytest.raises(DatasetError, match="Permission denied"):
            files.check_writable(path)


@pytest.mark.parametrize("name", ["x.png", "x" * 251 + ".png"])
def test_names_up_to_the_longest_are_written(tmp_path: Path, name: str) -> None:
    """The temporary file of a long name has a name that the system takes, with the same ending."""
    with files.replacing(tmp_path / name) as temporary:
        assert temporary.name.endswith(".png")
        temporary.write_text("new")
    assert (tmp_path / name).read_text() == "new"


def test_a_library_that_meets_a_full_disk_is_understood(tmp_path: Path) -> None:
    """An error without a number that quotes the system's, or that follows from it, is the same sentence; others of the kind come out as they are."""

    def fail_with(error: Exception) -> None:
        with files.replacing(tmp_path / "x.nc") as temporary:
            temporary.write_text("half")
            raise error

    caused = RuntimeError("flush failed")
    caused.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    for error in (RuntimeError("errno = 28, error message = 'No space left on device', buf = 0x55"), caused, OSError("No space left on device")):
        with pytest.raises(DatasetError, match=r"x\.nc cannot be written: No space left on device\. Free space there"):
            fail_with(error)
    with pytest.raises(RuntimeError, match="another"):
        fail_with(RuntimeError("another"))
    assert not list(tmp_path.iterdir())


# ---- locks ------------------------------------------------------------------------------------------------------------------------------

HOLDER = "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); time.sleep(60)"


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """Return a lock that another process holds, and the process."""
    path = tmp_path / "x.lock"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield path, process
        process.kill()


def test_a_lock_that_is_held_is_told_and_given_up(
    held: tuple[Path, subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The wait is told once on stderr and ends with a sentence on lock, holder and time; a process that was killed holds nothing."""
    path, process = held
    monkeypatch.setattr(files, "NOTICE_S", 0.1)

    def enter() -> float:
        with files.locked(path, limit_s=0.4, holder="another build of x"):
            return time.monotonic()

    began = time.monotonic()
    with pytest.raises(DatasetError, match=r"x\.lock is still locked by another build of x after 0\.\d+ s\. Wait until that process has ended"):
        enter()
    assert 0.4 <= time.monotonic() - began < 5
    assert capsys.readouterr().err == f"stemtwin: waiting for another build of x, which holds the lock {path}.\n"
    process.kill()
    process.wait()
    assert enter() > began
    assert not capsys.readouterr().err


def test_a_holder_that_works_is_waited_for(held: tuple[Path, subprocess.Popen[str]]) -> None:
    """As long as the other process shows signs of life, the limit begins anew; without them, it ends."""
    path, _ = held
    began, signs = time.monotonic(), iter([*range(8), *[8] * 1000])

    def enter() -> None:
        with files.locked(path, limit_s=0.3, holder="another", sign_of_life=lambda: next(signs)):
            pass

    with pytest.raises(DatasetError, match="still locked"):
        enter()
    assert time.monotonic() - began > 0.3 + 7 * files.POLL_S
