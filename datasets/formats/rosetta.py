"""Files of microscopes and of other programs, read by RosettaSciIO."""

import importlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from stemtwin.datasets.formats.file_formats import check_package, unreadable
from stemtwin.twin.errors import DatasetError

READERS = {
    ".dm3": "digitalmicrograph", ".dm4": "digitalmicrograph", ".emd": "emd", ".mrc": "mrc", ".blo": "blockfile", ".mib": "quantumdetector",
    ".hspy": "hspy", ".zspy": "zspy", ".ser": "tia", ".emi": "tia", ".tif": "tiff", ".tiff": "tiff", ".msa": "msa",
}  # fmt: skip
"""RosettaSciIO's reader for each ending."""
HDF5 = b"\x89HDF\r\n\x1a\n"
BEGINNINGS = {
    ".dm3": (b"\0\0\0\3", b"\0\0\0\4"), ".dm4": (b"\0\0\0\4", b"\0\0\0\3"), ".emd": (HDF5,), ".hspy": (HDF5,), ".blo": (b"IMGBLO",),
    ".mib": (b"MQ1",), ".ser": (b"II\x97\1",), ".emi": (b"JK",), ".tif": (b"II", b"MM"), ".tiff": (b"II", b"MM"), ".msa": (b"#FORMAT",),
}  # fmt: skip
"""First bytes of a kind of files: readers may take other files for arrays of any size."""


def read(path: Path, ending: str, *, lazy: bool) -> list[dict[str, Any]]:
    """Return the signals of a file in RosettaSciIO's form; with ``lazy``, large arrays as dask arrays.

    Raises
    ------
    DatasetError
        RosettaSciIO or a package that it needs is not installed, or the file is of another format or holds nothing.
    """
    reader = READERS[ending]
    check_package("rsciio", path, "Reading")
    _check_beginning(path, ending)
    signals, failed = [], None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # readers tell what they leave out of the vendor's metadata, and of files that they forget to close
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


def _check_beginning(path: Path, ending: str) -> None:
    if path.is_dir():
        return
    with path.open("rb") as file:
        if not file.read(8).startswith(BEGINNINGS.get(ending, (b"",))):
            raise unreadable(path, READERS[ending], ValueError("it begins as no such file does"))
