"""NumPy's files .npy and .npz, which hold arrays without calibrations."""

from pathlib import Path
from typing import Any

import numpy as np

from stemtwin.datasets.formats.file_formats import unreadable
from stemtwin.datasets.formats.signal_dictionaries import plain_signal
from stemtwin.twin.errors import DatasetError


def read(path: Path, *, lazy: bool) -> list[dict[str, Any]]:
    """Return the numeric arrays of a file as dictionaries in RosettaSciIO's form, without calibrations.

    Scalars are omitted.

    Raises
    ------
    DatasetError
        The file has another format, holds Python objects, or holds no array of numbers.
    """
    try:
        loaded = np.load(path, mmap_mode="r" if lazy else None, allow_pickle=False)
        arrays = {path.stem: loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except Exception as error:  # NumPy raises errors of several kinds for unexpected content
        raise unreadable(path, "NumPy's arrays", error) from error
    signals = [plain_signal(array, name) for name, array in arrays.items() if array.ndim and array.dtype.kind in "biufc"]
    if not signals:
        message = f"{path} needs an array of numbers with at least one axis, but holds {', '.join(arrays) or 'no arrays'}. Check the file."
        raise DatasetError(message)
    return signals
