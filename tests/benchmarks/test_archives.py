"""An archive is unpacked whole into a new folder, or refused by one sentence before anything is written."""

import io
import stat
import struct
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xarray as xr

from stemtwin.benchmarks import archives
from stemtwin.benchmarks.answers import tables
from stemtwin.benchmarks.answers.arrays import INDEX, open_arrays
from stemtwin.benchmarks.answers.images import ImageEstimate
from stemtwin.benchmarks.archives import check_archive, plain_files, unpacked
from stemtwin.benchmarks.submission import read_submission, write_submission
from stemtwin.benchmarks.tasks import find_task
from stemtwin.twin.errors import SubmissionError
from tests.benchmarks import noisy_frames

DENOISE = find_task("denoise")


def pack(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write an archive of entries and return its path."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def special(name: str, mode: int) -> zipfile.ZipInfo:
    """Return an entry of a kind, as archivers of Unix write it."""
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (mode | 0o644) << 16
    return entry


def patched(path: Path, mark: bytes, offset: int, value: bytes) -> Path:
    """Overwrite bytes behind the last mark in a file."""
    raw = bytearray(path.read_bytes())
    at = raw.rindex(mark) + offset
    raw[at : at + len(value)] = value
    path.write_bytes(raw)
    return path


def zipped(*entries: tuple[str, bytes]) -> bytes:
    """Return an archive as bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


NAMES = {
    "absolute": ("/etc/passwd", "has an absolute path"),
    "drive": ("C:/boot.ini", "has an absolute path"),
    "above": ("a/../../b", r"leads out of the archive by '\.\.'"),
    "above at once": ("..", r"leads out of the archive by '\.\.'"),
    "backslash": ("a\\..\\b", "has a backslash in its name"),
    "network path": ("//server/share", "has an absolute path"),
    "control character": ("a\x1b[2Jb", r"holds the control character U\+001B"),
    "new line": ("a\nb", r"holds the control character U\+000A"),
    "turned text": ("a\u202ecod.parquet", r"holds the control character U\+202E"),
    "stream of a file": ("ab:c", "has a colon in its name"),
    "dot at the end": ("a./b", "a blank or a dot at the end"),
    "too deep": ("/".join("abcdefghijk"), "lies 10 folders deep; at most 8"),
    "too long": ("x" * 256, "has a part of 256 bytes in its name; at most 255"),
    "empty part": ("a//b", "has an empty part"),
}


@pytest.mark.parametrize("case", NAMES)
def test_names_that_lead_elsewhere_are_refused(case: str, tmp_path: Path) -> None:
    """Each name is refused with the entry and the repair; nothing is written anywhere."""
    name, told = NAMES[case]
    path = pack(tmp_path / "a.zip", ("submission.yaml", b"a: 1"), (name, b"x"))
    with pytest.raises(SubmissionError, match=told) as caught:
        check_archive(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: entry ")
    assert said.isprintable()
    assert [one.name for one in tmp_path.iterdir()] == ["a.zip"]


TWICE = {
    "twice": (("a", b"1"), ("a", b"2")),
    "cases": (("Table", b"1"), ("table", b"2")),
    "forms of accents": (("\u00e9", b"1"), ("e\u0301", b"2")),
    "file and folder": (("a", b"1"), ("a/b", b"2")),
    "folder and file": (("a/b", b"1"), ("a", b"2")),
    "cases of a folder": (("A/b", b"1"), ("a/c", b"2")),
}


@pytest.mark.parametrize("case", TWICE)
def test_a_name_that_two_entries_have_is_refused(case: str, tmp_path: Path) -> None:
    """Two entries that are one file on some system are refused."""
    with pytest.warns(UserWarning, match="Duplicate") if case == "twice" else tempfile.TemporaryDirectory():
        path = pack(tmp_path / "a.zip", *TWICE[case])
    with pytest.raises(SubmissionError, match="has the same name as"):
        check_archive(path)


def test_folders_that_are_listed_are_one(tmp_path: Path) -> None:
    """A folder with an entry of its own, before or after its files, is no second one; what a Mac adds is passed over."""
    path = pack(tmp_path / "a.zip", ("a/", b""), ("a/b", b"1"), ("c/d", b"2"), ("c/", b""), ("__MACOSX/._b", b"3"))
    with unpacked(path) as folder:
        assert sorted(one.relative_to(folder).as_posix() for one in plain_files(folder)) == ["a/b", "c/d"]


KINDS = {
    "link": (special("link", stat.S_IFLNK), "is a link; only files and folders"),
    "device": (special("null", stat.S_IFCHR), "is a device or a pipe"),
    "archive": ("inner.ZIP", "is itself an archive; archives inside an archive are not unpacked"),
}


@pytest.mark.parametrize("case", KINDS)
def test_entries_that_are_no_files_are_refused(case: str, tmp_path: Path) -> None:
    """Links, devices and archives in the archive are named."""
    entry, told = KINDS[case]
    with pytest.raises(SubmissionError, match=told):
        check_archive(pack(tmp_path / "a.zip", (entry, b"/etc/passwd")))


def test_passwords_and_methods_that_are_not_read_are_refused(tmp_path: Path) -> None:
    """An entry with a password, and one of a method beyond deflate, are refused before they are opened."""
    path = patched(pack(tmp_path / "a.zip", ("a", b"x")), b"PK\x01\x02", 8, b"\x01\x00")
    with pytest.raises(SubmissionError, match="is encrypted, which is not supported"):
        check_archive(path)
    with pytest.raises(SubmissionError, match="is compressed by method 14"):
        check_archive(pack(tmp_path / "b.zip", ("a", b"x"), method=zipfile.ZIP_LZMA))


def test_a_bomb_is_refused_by_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of zeros that grows a thousand times, too many bytes, too many entries: refused before one is opened."""
    path = pack(tmp_path / "a.zip", *((f"{i}", bytes(2**20)) for i in range(4)))
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_, **__: pytest.fail("an entry was opened"))
    with pytest.raises(SubmissionError, match=r"becomes \d+ times larger when unpacked; at most 200"):
        check_archive(path)
    monkeypatch.setattr(archives, "LARGEST_BYTES", 2**22 - 1)
    with pytest.raises(SubmissionError, match="4194304 bytes once unpacked; at most 4194303"):
        check_archive(path)
    monkeypatch.setattr(archives, "MOST_ENTRIES", 3)
    with pytest.raises(SubmissionError, match="4 entries; at most 3 are unpacked"):
        check_archive(path)
    monkeypatch.setattr(archives, "LARGEST_DIRECTORY", 100)
    with pytest.raises(SubmissionError, match="its list of entries takes 188 bytes; at most 100"):
        check_archive(path)


def test_with_the_guard_off_a_bomb_fills_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attack works where nothing is checked: a file of 20 kB unpacks to a thousand times as much; with the guard on, nothing is unpacked."""
    path = pack(tmp_path / "a.zip", *((f"{i}", bytes(2**22)) for i in range(4)))
    size = path.stat().st_size
    monkeypatch.setattr(archives, "LARGEST_RATIO", 10**9)
    with unpacked(path) as folder:
        assert sum(one.stat().st_size for one in plain_files(folder)) > 500 * size
    monkeypatch.undo()
    with pytest.raises(SubmissionError, match="times larger when unpacked"), unpacked(path):
        pytest.fail("it was unpacked")


def test_with_the_guard_off_a_path_leads_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attack works where names are not checked: an entry is written beside the folder; with the guard on it is not."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = pack(tmp_path / "a.zip", ("../stolen", b"x"))
    with pytest.raises(SubmissionError, match="leads out"), unpacked(path):
        pytest.fail("it was unpacked")
    assert not (tmp_path / "stolen").exists()
    monkeypatch.setattr(archives, "_wrong_name", lambda _: "")
    with unpacked(path):
        pass
    assert (tmp_path / "stolen").exists()


def test_sizes_that_are_lies_are_refused(tmp_path: Path) -> None:
    """An entry that holds other than the bytes it declares, and entries that share their bytes, are refused."""
    path = patched(pack(tmp_path / "a.zip", ("a", bytes(99)), method=zipfile.ZIP_STORED), b"PK\x01\x02", 24, struct.pack("<I", 9))
    with pytest.raises(SubmissionError, match=r"not a complete zip archive|does not have the 9 bytes"), unpacked(path):
        pytest.fail("it was unpacked")
    path = patched(pack(tmp_path / "b.zip", ("a", bytes(99))), b"PK\x01\x02", 20, struct.pack("<I", 9999))
    with pytest.raises(SubmissionError, match=r"has overlapping entries: they take .* in a file of"):
        check_archive(path)


@pytest.mark.parametrize("keep", [0, 10, -1, -30])
def test_a_broken_archive_is_one_sentence(keep: int, tmp_path: Path) -> None:
    """An archive that was cut off, or begins too late, is named."""
    path = pack(tmp_path / "a.zip", ("a", b"x" * 50), ("b", b"y" * 50))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SubmissionError, match="not a complete zip archive") as caught:
        check_archive(path)
    assert "\n" not in str(caught.value)


def test_bytes_at_random_never_end_otherwise(tmp_path: Path) -> None:
    """Archives with bytes changed at random are unpacked or refused; no other error, and nothing beside the temporary folder."""
    rng, raw = np.random.default_rng(5), zipped(("a/submission.yaml", b"a: 1\n" * 9), ("a/predictions.parquet", b"PAR1" * 50))
    path = tmp_path / "a.zip"
    refused = 0
    for _ in range(60):
        changed = bytearray(raw)
        for at in rng.integers(0, len(raw), 3):
            changed[at] = rng.integers(0, 256)
        path.write_bytes(changed)
        try:
            with unpacked(path) as folder:
                assert len(plain_files(folder)) <= 2
        except SubmissionError:
            refused += 1
    assert 10 < refused < 60
    assert [one.name for one in tmp_path.iterdir()] == ["a.zip"]


def test_links_in_a_folder_are_refused(tmp_path: Path) -> None:
    """A link in a folder that is handed in is refused: it could show any file of the organiser's."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "predictions.parquet").symlink_to("/etc/passwd")
    with pytest.raises(SubmissionError, match="a link; only files and folders can be submitted"):
        plain_files(tmp_path / "a")


def packed_text(path: Path, rows: int, size: int) -> Path:
    """Write an index of arrays whose rows all name one file, by a text of that many bytes, which stands in the file once."""
    names = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int8)), pa.array(["x" * size]))
    table = pa.table({"sample_id": [f"{i}" for i in range(rows)], "file": names, "row": np.arange(rows)})
    pq.write_table(table, path, compression="zstd")
    return path


def test_a_long_text_in_every_row_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text that stands in the file once would be as many texts as rows in memory: it is refused, and with the guard off it takes that memory."""
    path, ids = packed_text(tmp_path / "predictions.parquet", 200, 2**17), [f"{i}" for i in range(200)]
    assert path.stat().st_size < 10_000
    with pytest.raises(SubmissionError, match=r"column 'file' holds a text of 131072 bytes; at most 255 are read"):
        tables.read_table(path, INDEX, ids, most=1)
    monkeypatch.setattr(tables, "LONGEST_TEXT", 2**30)
    taken = []
    plain = tables._plain
    monkeypatch.setattr(tables, "_plain", lambda column: (found := plain(column), taken.append(found.nbytes))[0])
    tables.read_table(path, INDEX, ids, most=1)
    assert max(taken) >= 200 * 2**17


def test_encrypted_and_swollen_arrays_are_refused(tmp_path: Path) -> None:
    """An npz file with a password, and one whose array declares a shape that nobody asked for, are refused before an array is read."""
    path = patched(pack(tmp_path / "a.npz", ("image.npy", b"x")), b"PK\x01\x02", 8, b"\x01\x00")
    patched(path, b"PK\x03\x04", 6, b"\x01\x00")
    with pytest.raises(SubmissionError, match=r"a\.npz cannot be read \(.*password"), open_arrays(path) as store:
        store.header("image")
    data = noisy_frames.make(n=2)[0]
    write_submission(tmp_path / "entry", DENOISE, noisy_answers(data), split="test", size="tiny", name="mine")
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": (2, 2, 10**6, 10**6)})
    pack(tmp_path / "entry" / "answers-0000.npz", ("image.npy", head.getvalue()))
    with pytest.raises(SubmissionError, match=r"'image' has the shape \(2, 1000000, 1000000\)"):
        read_submission(tmp_path / "entry", DENOISE, data)


def noisy_answers(data: xr.Dataset) -> dict[str, ImageEstimate]:
    """Return the counts as answers."""
    counts = data["image"].sum("frame").values.astype(float)
    return {name: ImageEstimate(image=image) for name, image in zip(data["sample_id"].values.tolist(), counts, strict=True)}
