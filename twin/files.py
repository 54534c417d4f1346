"""Files and folders that are whole or not there at all: whether they can be written, the space that they need, and locks with a time limit."""

import contextlib
import errno
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from stemtwin.twin.errors import DatasetError

SHARE = 0.95
"""Fraction of the free space on a disk that one result may take."""
LONGEST_NAME = 255
"""Bytes of a name in a folder, on every usual file system."""
FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors of a disk without room."""
TRIAL = ".stemtwin-"
"""Beginning of the names of files and folders that come and go to see whether they can be made."""
NOTICE_S = 3.0
"""Time after which a wait for another process is told."""
POLL_S = 0.1
"""Time between two looks at a lock."""


def check_writable(path: str | Path, *, folder: bool = False, overwrite: bool = True) -> None:
    """Raise DatasetError where a file or a folder cannot be written, before any work.

    The check is a trial: a temporary file, in the nearest folder above that exists, which is removed again with all that was made for it.

    Parameters
    ----------
    path : str or Path
        The file or folder to be written; it need not exist, nor the folders above it.
    folder : bool
        Whether it is a folder that files will be put into.
    overwrite : bool
        Whether it may be there already.

    Raises
    ------
    DatasetError
        A folder stands where a file is asked or the reverse, a file stands above the path, the name is too long, the place is read-only or
        full, or what is there may not be replaced.
    """
    path = Path(path)
    try:
        kind = _kind_at(path)
        _check_free(path, overwrite=overwrite)
        _check_kind(path, kind, folder=folder)
        there = kind is not None and (folder or _may_be_changed(path))
        while True:
            nearest = path if there and folder else next(one for one in path.absolute().parents if _kind_at(one) is not None)
            missing = [] if there else path.absolute().relative_to(nearest).parts
            for name in missing:
                _kind_at(nearest / name)  # the system refuses a name that is too long
            if _try_file(nearest, nested=len(missing) > (0 if folder else 1)):
                return
            there = False
    except (OSError, ValueError) as error:
        if isinstance(error, DatasetError):
            raise
        raise refusal(path, error) from error


def _kind_at(path: Path) -> int | None:
    """Return the mode of what lies at a path, a file above it being none of it, or None where nothing does.

    It is asked for once: other processes make and remove files meanwhile.
    """
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        above = next(one for one in path.absolute().parents if os.path.lexists(one) and not one.is_dir())
        message = f"{path} cannot be written: {above} is a file, not a folder. Choose another folder."
        raise DatasetError(message) from None


def _check_kind(path: Path, kind: int | None, *, folder: bool) -> None:
    """Raise DatasetError where a folder stands in the place of a file, or the reverse, or a device in the place of either."""
    message = ""
    if kind is not None and folder and not stat.S_ISDIR(kind):
        message = f"{path} is a file, not a folder. Choose another folder."
    if kind is not None and not folder and stat.S_ISDIR(kind):
        message = f"{path} is a folder. Give the name of a file in it."
    if kind is not None and not folder and not (stat.S_ISDIR(kind) or stat.S_ISREG(kind)):
        message = f"{path} is a device or a pipe, which a file cannot replace. Choose another name."
    if message:
        raise DatasetError(message)


def _may_be_changed(path: Path) -> bool:
    """Return whether a file still lies at a path; raise OSError where it may not be changed: such a file is not replaced either."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
    except FileNotFoundError:  # another process removed it
        return False
    return True


def _try_file(nearest: Path, *, nested: bool) -> bool:
    """Make a file in a folder, where ``nested`` in a folder of its own, and remove both; return False where the folder was removed meanwhile."""
    try:
        with tempfile.TemporaryDirectory(prefix=TRIAL, dir=nearest) if nested else contextlib.nullcontext(nearest) as place:
            number, name = tempfile.mkstemp(prefix=TRIAL, dir=place)
            try:
                os.write(number, bytes(1))
            finally:
                os.close(number)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name)  # noqa: PTH108
    except FileNotFoundError as error:
        if not nearest.is_dir():
            return False
        raise OSError(errno.ENOENT, f"the folder {nearest} takes no new files") from error  # as procfs answers
    return True


def refusal(path: Path, error: Exception) -> DatasetError:
    """Return the error of a path that cannot be written, for an error of the system or of a library."""
    if is_full(error):
        reason, repair = os.strerror(errno.ENOSPC), "Free space there, or choose another folder."
    else:
        number = getattr(error, "errno", None)
        reason = (getattr(error, "strerror", None) or str(error)).rstrip(".")
        repair = {
            errno.ENAMETOOLONG: "Choose a shorter name.",
            errno.EACCES: "Choose another folder, or change its permissions.",
            errno.EPERM: "Choose another folder, or change its permissions.",
        }.get(number or 0, "Choose another folder.")
    return DatasetError(f"{path} cannot be written: {reason}. {repair}")


def is_full(error: BaseException | None) -> bool:
    """Return whether an error says that a disk is full: the system's error, or a library's that quotes it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if getattr(error, "errno", None) in FULL or os.strerror(errno.ENOSPC) in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextlib.contextmanager
def replacing(path: Path, *, overwrite: bool = True, ending: str = "", through: bool = True) -> Iterator[Path]:
    """Give a temporary path whose file or folder takes the place of ``path`` when the block ends well, and is removed otherwise.

    Parameters
    ----------
    path : Path
        The final path; missing folders above it are made.
    overwrite : bool
        Whether a file or folder of this path may be replaced.
    ending : str
        Added to the temporary name, which lies beside ``path`` and ends with its name: many writers tell the format by the ending.
    through : bool
        Whether a file is written through to the disk before it takes its place. Without, its reader must tell a file that lost its end by itself.

    Yields
    ------
    Path
        A path that does not exist. The contents of a folder are never written through.

    Raises
    ------
    DatasetError
        The path exists and may not be replaced, a file would replace a folder or a folder a file, or the disk does not take the file.
    """
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises where a name is too long
        _check_free(path, overwrite=overwrite)
        check_writable(path.parent, folder=True)
    else:
        check_writable(path, overwrite=overwrite)
    temporary = _beside(path, ending)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _check_free(path, overwrite=overwrite)
        _move(temporary, path, through=through)
    except Exception as error:
        if isinstance(error, DatasetError) and str(temporary) in str(error):
            raise DatasetError(str(error).replace(str(temporary), str(path))) from error
        if isinstance(error, DatasetError) or not (isinstance(error, OSError) or is_full(error)):
            raise
        raise refusal(path, error) from error
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
    """Return a name in the folder of ``path`` that nothing has, and that ends like it: a long one loses its beginning."""
    first = f".{os.getpid()}-{os.urandom(6).hex()}."
    name = f"{path.name}{ending}"
    if len(os.fsencode(path.name)) <= LONGEST_NAME:
        while len(os.fsencode(first + name)) > LONGEST_NAME:
            name = name[1:]
    return path.with_name(first + name)


def _move(temporary: Path, path: Path, *, through: bool) -> None:
    if temporary.is_dir() and path.is_dir():  # a folder cannot be replaced in one step
        old = _beside(path)
        path.rename(old)
        temporary.rename(path)
        _remove(old)
        return
    if through and temporary.is_file():
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
    folder = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.is_dir())
    free = int(SHARE * shutil.disk_usage(folder).free)
    if needed > free:
        message = (
            f"{what} takes {_size(needed)}, and {SHARE:.0%} of what is free at {folder} are {_size(free)}. Use another disk, or a smaller result."
        )
        raise DatasetError(message)


def _size(count: int) -> str:
    """Return a number of bytes in the unit that suits it."""
    power = 3 if count >= 2**29 else 2 if count >= 2**19 else 1
    return f"{count / 2 ** (10 * power):.3g} {('KiB', 'MiB', 'GiB')[power - 1]}"


@contextlib.contextmanager
def locked(
    path: Path, *, limit_s: float, holder: str, sign_of_life: Callable[[], object] | None = None, poll_s: float = POLL_S, tell: bool = True
) -> Iterator[None]:
    """Hold a lock between processes during a block; a wait for it is told on stderr after three seconds, and ends.

    The system frees the lock of a process that ends, however it ends.

    Parameters
    ----------
    path : Path
        The lock's file; its folder exists.
    limit_s : float
        Longest wait, s: in all, or without a sign of life.
    holder : str
        Description of the other process, for messages: ``"another build of ..."``.
    sign_of_life : callable, optional
        Function whose value changes while the holder works: each change begins the time anew.
    poll_s : float
        Time between two looks at the lock, s.
    tell : bool
        Whether a wait is told.

    Raises
    ------
    DatasetError
        Another process holds the lock for too long.
    """
    from filelock import FileLock, Timeout

    lock, began, told = FileLock(path), time.monotonic(), not tell
    since, last = began, sign_of_life and sign_of_life()
    while True:
        try:
            lock.acquire(timeout=poll_s, poll_interval=poll_s)
            break
        except Timeout:
            now = time.monotonic()
        if sign_of_life and (seen := sign_of_life()) != last:
            since, last = now, seen
        if now - since >= limit_s:
            raise DatasetError(still_locked(path, now - began, holder)) from None
        if not told and now - began >= NOTICE_S:
            tell_wait(path, holder)
            told = True
    try:
        yield
    finally:
        lock.release()


def tell_wait(path: Path, holder: str) -> None:
    """Print a line on stderr about a wait for another process."""
    sys.stderr.write(f"stemtwin: waiting for {holder}, which holds {path} ...\n")
    sys.stderr.flush()


def still_locked(path: Path, waited_s: float, holder: str) -> str:
    """Return the sentences on a lock that another process did not free in time."""
    return f"{path} is still locked by {holder} after {waited_s:.3g} s. Wait until that process has ended, or end it, and run this again."
