"""Messages about files and folders that are submitted instead of a submission folder; a message describes the file and states the correction."""

import zipfile
from collections.abc import Callable
from pathlib import Path

from stemtwin.benchmarks.answers.form import TABLE
from stemtwin.twin.errors import SubmissionError

HEADER = "submission.yaml"
FORM = f"A submission is a folder with {HEADER} and {TABLE}."
PARQUET = b"PAR1"
SEPARATORS = {";": "semicolons", ",": "commas", "\t": "tabs"}


def check_folder(path: Path, *, whole: bool = True) -> Path:
    """Return the folder of a submission after a check that it has a header and a table.

    Parameters
    ----------
    path : Path
        The folder.
    whole : bool
        Whether the table is required in addition to the header.

    Raises
    ------
    SubmissionError
        The path is not a submission folder. The message describes the file or folder and states the correction.
    """
    if not path.is_dir():
        message = f"{path}: {told_of(path) or 'there is no such folder'}. {FORM}"
        raise SubmissionError(message)
    header, table = path / HEADER, path / TABLE
    if header.is_file() and not whole:
        return path
    names = sorted(one.name for one in path.iterdir())
    parts = [name for name in names if name.endswith(".parquet") and name != TABLE]
    if table.is_dir():
        message = f"{table} is a folder of parts, but one file is needed. Join the parts: pandas.read_parquet(folder).to_parquet({TABLE!r})."
    elif table.is_file() and (told := told_of(table)) != "a parquet table without its header":
        message = f"{table} is not a parquet file, but {told or 'a file of another format'}. "
        message += "Write it with pyarrow or with pandas.DataFrame.to_parquet."
    elif header.is_file() and table.is_file():
        return path
    elif not header.is_file() and len(parts) > 1 and not table.exists():
        message = f"{path} contains {len(parts)} parquet files, such as {parts[0]!r}, and has no {HEADER}. "
        message += f"Join the files into one file {TABLE}. {FORM}"
    elif not header.is_file():
        told = _found(names, (".yaml", ".yml"), "The folder contains ")
        alone = f", only {TABLE}: a table without its header" if table.is_file() else ""
        message = f"{header}: there is no such file{alone}. {told}{FORM}"
    else:
        told = _found(names, (".parquet", ".csv", ".json", ".xlsx", ".npz", ".npy"), "There is ")
        message = f"{table}: there is no such file; a header alone is not a submission. {told}{FORM}"
    raise SubmissionError(message)


def check_file(path: Path) -> None:
    """Raise SubmissionError if a path is a file with recognised content that is not a report, for example a table or an archive."""
    if path.is_file() and (told := told_of(path)):
        message = f"{path}: {told}. {FORM} A report is a JSON file."
        raise SubmissionError(message)


def is_archive(path: Path) -> bool:
    """Return True if a file begins like a zip archive, even if the archive is incomplete."""
    try:
        with path.open("rb") as file:
            return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
    except OSError:
        return False


def _found(names: list[str], endings: tuple[str, ...], told: str) -> str:
    """Return a sentence about the first file with one of some endings, or "" if there is none."""
    near = [name for name in names if name.lower().endswith(endings) and name not in (HEADER, TABLE)]
    return f"{told}{near[0]!r}. " if near else ""


def told_of(path: Path) -> str:
    """Return a description of a file that is not a submission folder, such as "a zip archive"; "" for unknown content or a missing file."""
    if not path.exists():
        return ""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        return f"a file that cannot be read ({error.strerror})"
    return next((told for holds, told in KINDS if holds(path, head)), "")


def _zip(path: Path, head: bytes) -> bool:
    return head.startswith(b"PK") and zipfile.is_zipfile(path)


def _text(head: bytes) -> str:
    for encoding in ("utf-16", "utf-8-sig") if head[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig",):
        try:
            return head[: len(head) // 2 * 2].decode(encoding, errors="strict" if len(head) < 4096 else "ignore")
        except UnicodeDecodeError:
            continue
    return ""


def _csv(mark: str) -> Callable[[Path, bytes], bool]:
    def holds(path: Path, head: bytes) -> bool:
        del path
        lines = [line for line in _text(head).splitlines() if line.strip()]
        return len(lines) > 1 and lines[0].count(mark) > 0 and lines[0].count(mark) == lines[1].count(mark) and ": " not in lines[0]

    return holds


KINDS: tuple[tuple[Callable[[Path, bytes], bool], str], ...] = (
    (lambda _, head: head.startswith(PARQUET), "a parquet table without its header"),
    (_zip, "a zip archive, which must be unpacked first"),
    (lambda _, head: head.startswith(b"\x1f\x8b"), "a gzip archive, which must be unpacked first"),
    (lambda _, head: not head, "an empty file"),
    (lambda _, head: _text(head).lstrip().startswith(("schema:", "task:")), "a header without its folder"),
    *((_csv(mark), f"a CSV file separated by {name}") for mark, name in SEPARATORS.items()),
)
