"""Zip archives of untrusted submissions: all entries are checked before any is unpacked, and unpacking goes into a new folder only.

The directory at the end of an archive lists its entries. An archive is refused if this directory declares too many entries, too large an unpacked
size, too large a compression ratio, links, encrypted entries, or names that lead out of the folder or mean different things on different operating
systems. Unpacking checks the declared sizes again: it reads at most one byte more than an entry declares, and refuses an entry whose size differs.
"""

import contextlib
import re
import shutil
import stat
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from stemtwin.benchmarks.names import REFUSED, printable
from stemtwin.twin.errors import StemtwinError, SubmissionError
from stemtwin.twin.files import LONGEST_NAME, check_space, is_full

MOST_ENTRIES = 10_000
"""Largest number of files and folders in an archive."""
LARGEST_BYTES = 2**31
"""Largest size of an archive, packed and unpacked, bytes."""
LARGEST_DIRECTORY = 400 * MOST_ENTRIES
"""Largest size of the directory at an archive's end, which is held in memory, bytes."""
LARGEST_RATIO = 200
"""Largest ratio of unpacked to packed size; arrays of counts shrink four times, tables ten times."""
SMALL_BYTES = 2**20
"""Total unpacked size below which every compression ratio is accepted, bytes."""
DEEPEST = 8
"""Largest number of folders above a file."""
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED = 0x1 | 0x40 | 0x2000
"""Flag bits of an entry: encryption, strong encryption, encrypted directory."""
PACKED = (".zip", ".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst")
"""Endings of the names of archives, which may not lie inside an archive."""
DRIVE = re.compile(r"[A-Za-z]:")
LITTER = ("__MACOSX/",)
"""Folders that operating systems add; they are not unpacked."""
TAIL = 2**16 + 128
"""Number of bytes at the end of a file that contain the end of its directory, whatever comment follows it."""
CHUNK = 2**20
ABOVE = "folder above"
TOGETHER = (("", "file"), ("", "folder"), ("", ABOVE), (ABOVE, ABOVE), (ABOVE, "folder"), ("folder", ABOVE))
"""Kinds of an earlier and a later entry that may have the same name."""


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Unpack an archive into a temporary folder that lasts as long as the ``with`` block, and yield the submission's folder.

    Parameters
    ----------
    path : Path
        A zip archive, whose files lie at its top level or all in one folder.

    Raises
    ------
    SubmissionError
        The archive is refused; the message names the entry, its value, the limit and the repair.
    DatasetError
        The disk is full.
    """
    entries = check_archive(path)
    size = sum(entry.file_size for entry in entries)
    with tempfile.TemporaryDirectory(prefix="stemtwin-") as folder:
        top = Path(folder)
        check_space(top, size, f"Unpacking {path}")
        with _telling(path), zipfile.ZipFile(path) as archive:
            for entry in entries:
                _unpack(archive, entry, top, path)
        inside = sorted(top.iterdir())
        yield inside[0] if len(inside) == 1 and inside[0].is_dir() else top


@contextlib.contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Turn errors of a broken archive into a SubmissionError."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, RuntimeError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, StemtwinError) or is_full(error):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        message = f"{path} is not a complete zip archive ({printable(reason)}). Pack the folder again with 'zip -r'."
        raise SubmissionError(message) from None


def check_archive(path: Path) -> list[zipfile.ZipInfo]:
    """Check an archive without unpacking it, and return the entries that :func:`unpacked` would write.

    Raises
    ------
    SubmissionError
        The archive is refused; see :func:`unpacked`.
    """
    size = path.stat().st_size
    if size > LARGEST_BYTES:
        message = f"{path} has {size} bytes; at most {LARGEST_BYTES} are allowed. Submit only the answers, as compressed Parquet or npz."
        raise SubmissionError(message)
    directory = _directory_bytes(path, size)
    if directory > LARGEST_DIRECTORY:
        message = f"{path}: its list of entries takes {directory} bytes; at most {LARGEST_DIRECTORY} are read. Pack fewer than {MOST_ENTRIES} files."
        raise SubmissionError(message)
    with _telling(path), zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if len(entries) > MOST_ENTRIES:
        message = f"{path} has {len(entries)} entries; at most {MOST_ENTRIES} are unpacked. Put arrays into npz files, many in each."
        raise SubmissionError(message)
    _check_sizes(entries, path, size)
    entries = [entry for entry in entries if not entry.filename.startswith(LITTER)]
    _check_names(entries, path)
    for entry in entries:
        _check_kind(entry, path)
    return entries


def _directory_bytes(path: Path, size: int) -> int:
    """Return the size of the directory that an archive declares, the largest where it declares several, before the directory is read."""
    with path.open("rb") as file:
        file.seek(max(0, size - TAIL))
        tail = file.read()
    found = [int.from_bytes(tail[at + 12 : at + 16], "little") for at in _places(tail, b"PK\x05\x06")]
    long = [int.from_bytes(tail[at + 40 : at + 48], "little") for at in _places(tail, b"PK\x06\x06")]
    if b"PK\x06\x07" in tail and not long:
        return size
    return max((one for one in (*found, *long) if one != 0xFFFFFFFF), default=0)


def _places(tail: bytes, mark: bytes) -> list[int]:
    """Return the positions of a mark."""
    return [found.start() for found in re.finditer(re.escape(mark), tail)]


def _check_sizes(entries: list[zipfile.ZipInfo], path: Path, size: int) -> None:
    """Refuse sizes beyond the limits, as the directory declares them."""
    whole, packed = sum(entry.file_size for entry in entries), sum(entry.compress_size for entry in entries)
    if whole > LARGEST_BYTES:
        message = f"{path} takes {whole} bytes once unpacked; at most {LARGEST_BYTES} are allowed. Submit only the answers."
        raise SubmissionError(message)
    if packed > size:
        message = f"{path} has overlapping entries: they take {packed} bytes in a file of {size} bytes. Pack the folder again with 'zip -r'."
        raise SubmissionError(message)
    if whole > SMALL_BYTES and whole > LARGEST_RATIO * packed:
        times = whole / max(packed, 1)
        message = f"{path} becomes {times:.0f} times larger when unpacked; at most {LARGEST_RATIO} times is allowed. Store it without compression."
        raise SubmissionError(message)


def _check_names(entries: list[zipfile.ZipInfo], path: Path) -> None:
    """Refuse names that lead out of the archive, that cannot be shown, or that two entries share."""
    seen: dict[str, tuple[str, str]] = {}  # as the least exact system reads a name: the name, and its kind
    for entry in entries:
        name = entry.orig_filename
        shown = f"{path}: entry {printable(name)[:120]!r}"
        if wrong := _wrong_name(name):
            message = f"{shown} {wrong}"
            raise SubmissionError(message)
        whole = PurePosixPath(name)
        levels = [(str(one), ABOVE) for one in whole.parents if str(one) != "."]
        for spelled, kind in (*levels, (str(whole), "folder" if entry.is_dir() else "file")):
            key = unicodedata.normalize("NFC", spelled).casefold()
            other, there = seen.get(key, (spelled, ""))
            if other != spelled or (there, kind) not in TOGETHER:
                message = f"{shown} has the same name as {printable(other)[:120]!r} on some systems. Give each file its own name."
                raise SubmissionError(message)
            seen[key] = (spelled, kind if there in ("", ABOVE) else there)


def _wrong_name(name: str) -> str:
    """Return the end of a message about a refused name; "" for an accepted one."""
    parts = name.rstrip("/").split("/")
    bad = next((character for character in name if unicodedata.category(character) in REFUSED), "")
    longest = max(len(part.encode(errors="surrogatepass")) for part in parts)
    inside = "Pack the folder from inside, with relative paths."
    wrong = {
        f"holds the control character U+{ord(bad or ' '):04X} in its name. Rename the file.": bool(bad),
        "has a backslash in its name, which some systems take for a folder. Pack it with '/' between folders.": "\\" in name,
        f"has an absolute path. {inside}": name.startswith("/") or DRIVE.match(name) is not None,
        f"leads out of the archive by '..', or has an empty part. {inside}": bool({"", ".", ".."} & set(parts)),
        f"lies {len(parts) - 1} folders deep; at most {DEEPEST} are unpacked. Pack the submission's folder itself.": len(parts) > DEEPEST + 1,
        f"has a part of {longest} bytes in its name; at most {LONGEST_NAME} are allowed. Give it a shorter name.": longest > LONGEST_NAME,
        "has a colon in its name, or a blank or a dot at the end of a part, which some systems do not keep. Rename the file.": any(
            ":" in part or part != part.rstrip(" .") for part in parts
        ),
    }
    return next((told for told, holds in wrong.items() if holds), "")


def _check_kind(entry: zipfile.ZipInfo, path: Path) -> None:
    """Refuse links, devices, passwords, archives in the archive and unsupported compression."""
    kind, shown = stat.S_IFMT(entry.external_attr >> 16), f"{path}: entry {printable(entry.filename)[:120]!r}"
    message = ""
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "a link" if kind == stat.S_IFLNK else "a device or a pipe"
        message = f"{shown} is {what}; only files and folders are unpacked. Pack the file itself."
    elif entry.flag_bits & ENCRYPTED:
        message = f"{shown} is encrypted, which is not supported. Pack it without a password."
    elif entry.filename.lower().endswith(PACKED):
        message = f"{shown} is itself an archive; archives inside an archive are not unpacked. Pack the files that it contains."
    elif entry.compress_type not in METHODS:
        message = f"{shown} is compressed by method {entry.compress_type}; only {METHODS[0]} (stored) and {METHODS[1]} (deflate) work. Use 'zip -r'."
    if message:
        raise SubmissionError(message)


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, top: Path, path: Path) -> None:
    """Write one entry below a folder, without exceeding the size that it declares."""
    target = top / entry.filename
    if entry.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    left = entry.file_size
    with archive.open(entry) as source, target.open("xb") as file:
        while chunk := source.read(min(CHUNK, left + 1)):
            left -= len(chunk)
            if left < 0:
                break
            file.write(chunk)
    if left:
        message = f"{path}: entry {printable(entry.filename)[:120]!r} does not have the {entry.file_size} bytes that it declares. Pack it again."
        raise SubmissionError(message)


def copy_tree(source: Path, target: Path) -> None:
    """Copy the plain files of a folder and its subfolders into another folder; links, devices and pipes are refused.

    Raises
    ------
    SubmissionError
        The folder contains a link, a device or a pipe, or too many files or bytes.
    """
    files = list(plain_files(source))
    for one in files:
        there = target / one.relative_to(source)
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(one, there)


def plain_files(folder: Path) -> list[Path]:
    """Return the files of a folder and of its subfolders, sorted by path.

    Raises
    ------
    SubmissionError
        The folder contains a link, a device, a pipe, a name that is not allowed in archives, too many files, or too many bytes.
    """
    found, size = [], 0
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            continue
        if not stat.S_ISREG(mode):
            what = "a link" if stat.S_ISLNK(mode) else "a device or a pipe"
            message = f"{path}: {what}; only files and folders can be submitted. Put the file itself there."
            raise SubmissionError(message)
        if wrong := _wrong_name(path.relative_to(folder).as_posix()):
            message = f"{path} {wrong}"
            raise SubmissionError(message)
        found.append(path)
        size += path.stat().st_size
        if len(found) > MOST_ENTRIES or size > LARGEST_BYTES:
            message = f"{folder}: more than {MOST_ENTRIES} files or {LARGEST_BYTES} bytes. Submit only the answers."
            raise SubmissionError(message)
    return found
