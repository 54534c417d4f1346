"""Recorded arrays on disk: one npz file per case, the same bytes for the same arrays, without pickle."""

import zipfile
from pathlib import Path

import numpy as np

from tests.golden.registry import Arrays

VALUES = Path(__file__).resolve().parent / "values"
"""Folder of the recorded arrays."""


def path_of(folder: Path, name: str) -> Path:
    """Return the path of a case's file."""
    return folder / f"{name}.npz"


def write(folder: Path, name: str, arrays: Arrays) -> Path:
    """Write the arrays of a case and return the path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = path_of(folder, name)
    with zipfile.ZipFile(path, "w") as archive:
        for key in sorted(arrays):
            entry = zipfile.ZipInfo(f"{key}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            with archive.open(entry, "w") as stream:
                np.lib.format.write_array(stream, np.asarray(arrays[key], order="C"), allow_pickle=False)
    return path


def read(folder: Path, name: str) -> Arrays:
    """Return the recorded arrays of a case; none where it has no file."""
    path = path_of(folder, name)
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def names(folder: Path) -> set[str]:
    """Return the names of all cases with a file in a folder."""
    return {path.stem for path in folder.glob("*.npz")}
