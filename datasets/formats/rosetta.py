"""Files from microscopes and of their programs, read by RosettaSciIO."""

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
"""First bytes of files by reader and ending, for readers that do not check the format themselves."""


def read(path: Path, reader: str, *, lazy: bool) -> list[dict[str, Any]]:
    """Return the signals of a file, read by one of RosettaSciIO's readers.

    If ``lazy`` is True, large arrays are dask arrays.

    Raises
    ------
    DatasetError
        RosettaSciIO or a package that it needs is not installed, or the file has another format or holds no data.
    """
    check_package("rsciio", path, "Reading")
    _check_beginning(path, reader)
    signals, failed = [], None
    try:
        signals = importlib.import_module(f"rsciio.{reader}").file_reader(str(path), lazy=lazy)
    except ImportError as error:
        message = f"Reading {path.name} needs a package that is not installed: {str(error).rstrip('.')}. Use pip install 'stemtwin[formats]'."
        failed = DatasetError(message)
    except Exception as error:  # each reader has its own errors for unexpected content
        failed, error.__traceback__ = unreadable(path, reader, error), None
    if failed is not None:
        raise failed
    if not signals or not all(np.prod(signal["data"].shape) for signal in signals):
        message = f"{path} holds no data. Check that it is complete."
        raise DatasetError(message)
    return signals


def _check_beginning(path: Path, reader: str) -> None:
    for ending, beginning in BEGINNINGS.get(reader, ()):
        if path.suffix.lower() == ending:
            with path.open("rb") as file:
                if file.read(len(beginning)) != beginning:
                    raise unreadable(path, reader, ValueError(f"it does not begin with {beginning!r}"))
