"""The registry of file formats, and the errors of files that cannot be written or read."""

import importlib.util
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stemtwin.twin.errors import DatasetError
from stemtwin.twin.registry import Registry

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A format of files that results are written in.

    Parameters
    ----------
    suffixes : tuple of str
        Endings of its files' names; the first one is usual.
    needs : tuple of str
        Modules of optional packages that write it.
    single : bool
        Whether a file holds one variable only.
    hdf5 : bool
        Whether HDF5 writes it, which must not meet a full disk: its library then crashes.
    whole : bool
        Whether it holds everything that a Dataset holds: uneven axes, axes without units.
    write : callable
        Function that writes a Dataset to a path that does not exist.
    about : str
        Programs that read it.
    """

    suffixes: tuple[str, ...]
    write: Callable[["xr.Dataset", Path], None]
    needs: tuple[str, ...] = ()
    single: bool = False
    hdf5: bool = False
    whole: bool = False
    about: str = ""


UNSPEAKING = (LookupError, TypeError, AttributeError, AssertionError, ArithmeticError, struct.error)
"""Errors of libraries whose text does not say what is wrong with a file."""
FORMATS: Registry[Format] = Registry("file format")
"""Formats by name; their suffixes are disjoint."""


def check_package(module: str, path: Path, work: str) -> None:
    """Raise DatasetError where a package is missing that some work (``"Reading"``) on a file needs."""
    if importlib.util.find_spec(module) is None:
        message = f"{work} {path.name} needs the package {module}, which is not installed. Use pip install 'stemtwin[formats]'."
        raise DatasetError(message)


def unreadable(path: Path, form: str, error: Exception) -> DatasetError:
    """Return the error of a file that a library could not read as a format, with the first line of the library's own error."""
    reason = (str(error).strip().splitlines() or [""])[0].rstrip(".") or type(error).__name__
    if isinstance(error, UNSPEAKING):
        reason = f"its contents do not fit the format ({type(error).__name__}: {reason})"
    return DatasetError(f"{path} cannot be read as {form}: {reason}. Check that it is what its ending says, and whole.")
