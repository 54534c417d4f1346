"""Files and folders that are whole or not there at all, and the space that they need."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from stemtwin.twin.errors import DatasetError

SHARE = 0.95
"""Fraction of the free space on a disk that one result may take."""


@contextlib.contextmanager
def replacing(path: Path, *, overwrite: bool = True, ending: str = "") -> Iterator[Path]:
    """Give a temporary path whose file or folder takes the place of ``path`` when the block ends well, and is removed otherwise.

    Parameters
    ----------
    path : Path
        The final path; missing folders above it are made.
    overwrite : bool
        Whether a file or folder of this path may be replaced.
    ending : str
        Added to the temporary name, which lies beside ``path`` and ends with its name: many writers tell the format by the ending.

    Yields
    ------
    Path
        A path that does not exist. A file is written through to the disk before it takes its place; the contents of a folder are not.

    Raises
    ------
    DatasetError
        The path exists and may not be replaced, a file would replace a folder or a folder a file, or the disk does not take the file.
    """
    _check_free(path, overwrite=overwrite)
    temporary = _beside(path, ending)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _check_free(path, overwrite=overwrite)
        _move(temporary, path)
    except OSError as error:
        if isinstance(error, DatasetError):
            raise
        message = f"{path} cannot be written: {error.strerror or error}. Free space there, or choose another folder."
        raise DatasetError(message) from error
    finally:
        _remove(temporary)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file of the given bytes; see :func:`replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _check_free(path: Path, *, overwrite: bool) -> None:
    if not overwrite and path.exists():
        message = f"{path} exists already. Remove it, or choose another name."
        raise DatasetError(message)


def _beside(path: Path, ending: str = "") -> Path:
    return path.with_name(f".{os.getpid()}-{os.urandom(6).hex()}.{path.name}{ending}")


def _move(temporary: Path, path: Path) -> None:
    if temporary.is_dir() and path.is_dir():  # a folder cannot be replaced in one step
        old = _beside(path)
        path.rename(old)
        temporary.rename(path)
        _remove(old)
        return
    if temporary.is_file():
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
    temporary.replace(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def check_space(path: Path, needed: int, what: str) -> None:
    """Raise DatasetError where a disk has less than ``needed`` bytes free, before any work."""
    folder = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
    free = int(SHARE * shutil.disk_usage(folder).free)
    if needed > free:
        message = (
            f"{what} takes {needed / 2**30:.3g} GiB, and {SHARE:.0%} of what is free at {folder} are {free / 2**30:.3g} GiB. "
            "Use another disk, or a smaller result."
        )
        raise DatasetError(message)
