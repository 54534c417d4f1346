"""Import of files, written by microscopes or by software, as an ``xarray.Dataset`` with coordinates in A, mrad and eV."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.datasets.formats import emd, emsa, mrc, ncem, netcdf, nsid, numpy_files, rosetta, tiff
from stemtwin.datasets.formats.array_conversion import Calibrations, to_array
from stemtwin.datasets.formats.file_formats import unreadable
from stemtwin.datasets.formats.library_messages import collect_messages
from stemtwin.datasets.formats.units import FITTING
from stemtwin.twin.errors import DatasetError, SettingsError

if TYPE_CHECKING:
    import xarray as xr

WHOLE = (".nc", ".zarr")
"""Endings of formats that store a Dataset completely."""
SMALL: dict[str, Callable[[Path], list[dict[str, Any]]]] = {".hf5": nsid.read, ".msa": emsa.read, ".emsa": emsa.read}
"""stemtwin's own readers by ending, for files that are always read completely."""
LARGE: dict[str, Callable[..., list[dict[str, Any]]]] = {
    **dict.fromkeys((".mrc", ".mrcs", ".ali", ".rec", ".st"), mrc.read),
    **dict.fromkeys((".tif", ".tiff"), tiff.read),
    **dict.fromkeys((".npy", ".npz"), numpy_files.read),
}
"""stemtwin's own readers by ending, for files whose arrays may stay on disk."""
FOLDERS = (".zarr", ".zspy")
"""Endings of formats that are folders."""
ENDINGS = (*WHOLE, ".h5", *rosetta.READERS, *LARGE, *SMALL)
"""Endings of all readable files."""


def read_file(path: str | Path, *, calibrations: Calibrations | str | None = None, lazy: bool = False) -> "xr.Dataset":
    """Read a file that was written by a microscope or by software.

    Parameters
    ----------
    path : str or Path
        File in one of these formats: netCDF (3 and 4) and zarr (2 and 3; a folder or .zarr.zip) with named dimensions;
        NSID (.hf5); EMD 1.0 and NCEM's EMD (.emd, .h5); MRC, TIFF and EMSA spectra; .npy and .npz. RosettaSciIO reads
        dm3, dm4, other emd, blo, mib, hspy, zspy and ser.
    calibrations : mapping or str, optional
        Step and unit of axes, by the number of the axis in the result, such as ``{0: (0.5, "nm")}``. They replace the
        calibration in the file. With ``"pixels"``, axes without a calibration in the file have coordinates in pixels.
    lazy : bool
        Whether to leave large arrays on disk as dask arrays.

    Returns
    -------
    xarray.Dataset
        One variable for each dataset in the file. The dimensions are, for example, (y, x, ky, kx) or (y, x, energy), with
        coordinates in A, mrad (or 1/A) and eV. A stack of images has the dimension ``frame``. Notes about parts of the
        file that could not be interpreted are in the attribute ``import_note``.

    Raises
    ------
    DatasetError
        The file is missing, does not have the format of its ending, or needs a package that is not installed.
    SettingsError
        The ending is not known, or an axis is calibrated neither in the file nor by ``calibrations``.
    """
    path = Path(path)
    if not path.exists():
        message = f"{path} does not exist. Check its name."
        raise DatasetError(message)
    ending = ".zarr" if path.name.lower().endswith(".zarr.zip") else path.suffix.lower()
    if ending not in ENDINGS:
        message = f"There is no reader for the ending of {path}. Known endings: {', '.join(ENDINGS)}."
        raise SettingsError(message)
    if path.is_dir() and ending not in FOLDERS:
        message = f"{path} is a folder, but {ending} files are not folders. Give the name of a file in it."
        raise DatasetError(message)
    with collect_messages("" if ending in WHOLE else "rsciio") as messages:
        if ending in WHOLE:
            return netcdf.read(path, ending, lazy=lazy)
        signals = _signals(path, ending, lazy=lazy)
    try:
        out = _together([to_array(signal, path, number, calibrations) for number, signal in enumerate(signals)])
    except json.JSONDecodeError as error:  # the attributes were written by stemtwin
        raise unreadable(path, ending[1:], error) from error
    notes = [note for signal in signals for note in signal.get("notes", ())] + messages
    return out.assign_attrs(import_note="; ".join(notes)) if notes else out


def _signals(path: Path, ending: str, *, lazy: bool) -> list[dict[str, Any]]:
    """Return the signals of a file as dictionaries in RosettaSciIO's form."""
    if ending in (".emd", ".h5"):
        if emd.is_emd1(path):
            return emd.read(path)
        if ending == ".h5" or ncem.is_ncem(path):
            return ncem.read(path, lazy=lazy)
    if ending in SMALL:
        return SMALL[ending](path)
    if ending in LARGE:
        return LARGE[ending](path, lazy=lazy)
    return rosetta.read(path, rosetta.READERS[ending], lazy=lazy)


def _together(arrays: "list[tuple[xr.DataArray, dict[str, Any]]]") -> "xr.Dataset":
    """Return arrays as one Dataset.

    If dimensions with the same name have different points, the name of the variable is appended to the dimension's name.
    """
    import xarray as xr

    out = xr.Dataset(attrs=arrays[0][1])
    for i, (array, _) in enumerate(arrays):
        name = str(array.name) if str(array.name) not in (*out.data_vars, *FITTING) else f"{array.name}_{i}"
        clash = [d for d in array.dims if d in out.dims and not (out.sizes[d] == array.sizes[d] and np.array_equal(out[d], array[d]))]
        out[name] = array.rename({d: f"{d}_{name}" for d in clash})
    return out
