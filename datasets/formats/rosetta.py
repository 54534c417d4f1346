"""Files of microscopes and of other programs, read by RosettaSciIO."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from stemtwin.datasets.formats.file_formats import check_package, unreadable
from stemtwin.twin.errors import DatasetError

READERS = {
    ".dm3": "digitalmicrograph", ".dm4": "digitalmicrograph", ".emd": "emd", ".blo": "blockfile", ".mib": "quantumdetector",
    ".hspy": "hspy", ".zspy": "zspy", ".ser": "tia", ".emi": "tia",
}  # fmt: skip
"""RosettaSciIO's reader for each ending."""
BEGINNINGS = {"blockfile": ((".blo", b"IMGBLO"),), "tia": ((".ser", b"II\x97\1"),)}
"""First bytes of files by reader and ending, where the reader takes other files for arrays of any size; other readers check by themselves."""


def read(path: Path, reader: str, *, lazy: bool) -> list[dict[str, Any]]:
    """Return the signals of a file in RosettaSciIO's form by one of its readers; with ``lazy``, large arrays as dask arrays.

    Raises
    ------
    DatasetError
        RosettaSciIO or a package that it needs is not installed, or the file is of another format or holds nothing.
    """
    check_package("rsciio", path, "Reading")
    _check_beginning(path, reader)
    signals, failed = [], None
    try:
        signals = importlib.import_module(f"rsciio.{reader}").file_reader(str(path), lazy=lazy)
    except ImportError as error:
        message = f"Reading {path.name} needs a package that is not installed: {str(error).rstrip('.')}. Use pip install 'stemtwin[formats]'."
        failed = DatasetError(message)
    except Exception as error:  # every reader has its own errors for files that are not what they seem
        failed, error.__traceback__ = unreadable(path, reader, error), None
    if failed is not None:
        raise failed
    if not signals or not all(np.prod(signal["data"].shape) for signal in signals):
        message = f"{path} holds no data. Check that it is whole."
        raise DatasetError(message)
    return signals


def _check_beginning(path: Path, reader: str) -> None:
    for ending, beginning in BEGINNINGS.get(reader, ()):
        if path.suffix.lower() == ending:
            with path.open("rb") as file:
                if file.read(len(beginning)) != beginning:
                    raise unreadable(path, reader, ValueError(f"it begins otherwise than with {beginning!r}"))
