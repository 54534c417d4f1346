"""Atomic writes of files and folders, checks of access and disk space before a write, and locks with a time limit."""

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
"""Largest length of a file's name, bytes, on all common file systems."""
FULL = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a full disk."""
TRIAL = ".stemtwin-"
"""Prefix of temporary files and folders that test whether a folder can be written to."""
NOTICE_S = 3.0
"""Time after which a wait for another process is reported, s."""
POLL_S = 0.1
"""Time between two attempts to take a lock, s."""


def check_writable(path: str | Path, *, folder: bool = False, overwrite: bool = True) -> None:
    """Raise DatasetError if a file or a folder cannot be written, before any work begins.

    The check writes a temporary file to the nearest existing folder of the path, and removes it again.

    Parameters
    ----------
    path : str or Path
        File or folder to be written; neither it nor its parents need exist.
    folder : bool
        Whether the path is a folder to which files will be written.
    overwrite : bool
        Whether the path may already exist.

    Raises
    ------
    DatasetError
        The path is a folder instead of a file, the path is a file instead of a folder, a parent of the path is a file, the
        name of the path is too long, the disk is read-only or full, or the path exists and may not be replaced.
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
    """Return the mode of a file or folder, or None if the path does not exist.

    The mode is read only once, because other processes may create and remove files in the meantime. DatasetError is raised
    if a parent of the path is a file.
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
    """Raise DatasetError if the path is a folder instead of a file or the reverse, or a device instead of a file."""
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
    """Return True if a file still exists; raise OSError if it is write-protected, because such a file must not be replaced."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
    except FileNotFoundError:  # another process removed it
        return False
    return True


def _try_file(nearest: Path, *, nested: bool) -> bool:
    """Write and remove a temporary file in a folder; return False if the folder was removed in the meantime.

    With ``nested`` the file lies in a temporary subfolder.
    """
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
        # procfs gives this answer for a folder that exists
        raise OSError(errno.ENOENT, f"the folder {nearest} does not accept new files") from error
    return True


def refusal(path: Path, error: Exception) -> DatasetError:
    """Convert an error of the system or of a library into a DatasetError that explains why a path cannot be written."""
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
    """Return True if an error, or any error that caused it, means that a disk is full.

    A full disk is recognised by the error number or by the text of the error.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if getattr(error, "errno", None) in FULL or os.strerror(errno.ENOSPC) in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextlib.contextmanager
def replacing(path: Path, *, overwrite: bool = True, ending: str = "", through: bool = True) -> Iterator[Path]:
    """Yield a temporary path; its file or folder replaces ``path`` if the ``with`` block succeeds, and is removed otherwise.

    Parameters
    ----------
    path : Path
        Final path; missing folders above it are created.
    overwrite : bool
        Whether an existing file or folder may be replaced.
    ending : str
        Text at the end of the temporary name, which is a random prefix, the name of ``path``, and this text. The temporary
        path lies in the folder of ``path``. Many writers infer the format from the end of the name.
    through : bool
        Whether a file is flushed to the disk before it replaces ``path``. Without the flush, a failure of the machine may
        leave a truncated file at ``path``, and the program that reads the file must detect this itself.

    Yields
    ------
    Path
        Temporary path, at which nothing exists yet. If the block creates a folder there, its contents are not flushed to
        the disk.

    Raises
    ------
    DatasetError
        The path exists and may not be replaced, a file would replace a folder or a folder would replace a file, or the disk
        does not accept the file.
    """
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises if a name is too long
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
    """Write bytes to a file by :func:`replacing`, so the file is never incomplete."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _check_free(path: Path, *, overwrite: bool) -> None:
    if not overwrite and path.exists():
        message = f"{path} exists already. Remove it, or choose another name."
        raise DatasetError(message)


def _beside(path: Path, ending: str = "") -> Path:
    """Return an unused path in the folder of ``path`` that ends with its name; a long name is cut at its beginning."""
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
    """Raise DatasetError if ``needed`` bytes exceed 95 % of the free disk space, before any work begins."""
    folder = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.is_dir())
    free = int(SHARE * shutil.disk_usage(folder).free)
    if needed > free:
        message = f"{what} needs {_size(needed)}, but {SHARE:.0%} of the free space at {folder} is {_size(free)}. "
        message += "Use another disk, or a smaller result."
        raise DatasetError(message)


def _size(count: int) -> str:
    """Return a number of bytes as text in KiB, MiB or GiB."""
    power = 3 if count >= 2**29 else 2 if count >= 2**19 else 1
    return f"{count / 2 ** (10 * power):.3g} {('KiB', 'MiB', 'GiB')[power - 1]}"


@contextlib.contextmanager
def locked(
    path: Path, *, limit_s: float, holder: str, sign_of_life: Callable[[], object] | None = None, poll_s: float = POLL_S, tell: bool = True
) -> Iterator[None]:
    """Hold a lock that excludes all other processes during a ``with`` block.

    A wait for the lock is reported on stderr after three seconds. After ``limit_s`` the wait ends with an error. If a
    process ends for any reason, the system releases its lock.

    Parameters
    ----------
    path : Path
        File of the lock; its folder exists.
    limit_s : float
        Longest wait, s. If ``sign_of_life`` is given, the time is counted from the last change of that function's value.
    holder : str
        Description of the other process for messages, for example ``"another process"``.
    sign_of_life : callable, optional
        Function whose return value changes while the other process works.
    poll_s : float
        Time between two attempts to take the lock, s.
    tell : bool
        Whether a wait is reported on stderr.

    Raises
    ------
    DatasetError
        Another process still holds the lock at the time limit.
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
    """Report a wait for another process on stderr."""
    sys.stderr.write(f"stemtwin: waiting for {holder}, which holds the lock {path}.\n")
    sys.stderr.flush()


def still_locked(path: Path, waited_s: float, holder: str) -> str:
    """Return the message about a lock that another process did not release in time."""
    message = f"{path} is still locked by {holder} after {waited_s:.3g} s. "
    return f"{message}Wait until that process has ended, or end it, and run this command again."
