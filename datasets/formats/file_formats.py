"""The registry of file formats, and the errors for files that cannot be written or read."""

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
    """A file format for the export of results.

    Parameters
    ----------
    suffixes : tuple of str
        Endings of the format's file names, with the most common ending first.
    needs : tuple of str
        Modules of optional packages that are needed to write the format.
    single : bool
        Whether a file holds only one variable.
    hdf5 : bool
        Whether the file is written by the HDF5 library, which crashes if the disk is full.
    whole : bool
        Whether the format stores a Dataset completely, including uneven axes and axes without units.
    write : callable
        Function that writes a Dataset to a new path.
    about : str
        Names of programs that read the format.
    """

    suffixes: tuple[str, ...]
    write: Callable[["xr.Dataset", Path], None]
    needs: tuple[str, ...] = ()
    single: bool = False
    hdf5: bool = False
    whole: bool = False
    about: str = ""


UNSPEAKING = (LookupError, TypeError, AttributeError, AssertionError, ArithmeticError, struct.error)
"""Errors of libraries whose text does not describe the problem with a file."""
FORMATS: Registry[Format] = Registry("file format")
"""Formats by name; their suffixes are disjoint."""


def check_package(module: str, path: Path, work: str) -> None:
    """Raise DatasetError if a package that is needed for a file is not installed.

    ``work`` is the operation on the file, ``"Reading"`` or ``"Writing"``, for the message.
    """
    if importlib.util.find_spec(module) is None:
        message = f"{work} {path.name} needs the package {module}, which is not installed. Use pip install 'stemtwin[formats]'."
        raise DatasetError(message)


def unreadable(path: Path, form: str, error: Exception) -> DatasetError:
    """Return the error for a file that a library could not read, with the first line of the library's message."""
    reason = (str(error).strip().splitlines() or [""])[0].rstrip(".") or type(error).__name__
    if isinstance(error, UNSPEAKING):
        reason = f"its contents do not fit the format ({type(error).__name__}: {reason})"
    return DatasetError(f"{path} cannot be read as {form}: {reason}. Check that its ending names its format, and that it is complete.")
