"""Files that are whole or not there at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stemtwin.twin.errors import DatasetError

SHARE = 0.95
"""Share of the free space on a disk that one result may take."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file by way of a temporary one beside it, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder beside ``path`` that gets its name when the block ends well, and goes away otherwise.

    Raises
    ------
    DatasetError
        There is something of that name already, or it cannot be written.
    """
    if path.exists():
        message = f"{path} exists already. Remove it, or choose another name."
        raise DatasetError(message)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror or error}. Choose another folder."
        raise DatasetError(message) from error
    try:
        yield temporary
        temporary.chmod(0o755)
        temporary.replace(path)
    except OSError as error:
        if isinstance(error, DatasetError):
            raise
        message = f"{path} cannot be written: {error.strerror or error}. Free space there, or choose another folder."
        raise DatasetError(message) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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
