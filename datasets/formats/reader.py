"""Import of files of real microscopes and of other programs, as Datasets like our own: coordinates in A, mrad and eV."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.datasets.formats import emd, netcdf, nsid, rosetta
from stemtwin.datasets.formats.array_conversion import Calibrations, to_array
from stemtwin.datasets.formats.file_formats import unreadable
from stemtwin.datasets.formats.units import FITTING
from stemtwin.twin.errors import DatasetError, SettingsError

if TYPE_CHECKING:
    import xarray as xr


def read_file(path: str | Path, *, calibrations: Calibrations | str | None = None, lazy: bool = False) -> "xr.Dataset":
    """Read a file of a microscope or of another program.

    Parameters
    ----------
    path : str or Path
        netCDF and zarr as :func:`~stemtwin.datasets.formats.export.save` writes them; NSID (.hf5); EMD 1.0 (.emd, .h5); and the formats that
        RosettaSciIO reads: dm3, dm4, other emd, mrc, blo, mib, hspy, zspy, ser, tif, msa.
    calibrations : mapping or str, optional
        For axes that the file leaves uncalibrated: step and unit by the axis' number in the result, ``{0: (0.5, "nm")}``; or ``"pixels"`` to count
        pixels there.
    lazy : bool
        Leave large arrays on disk, as dask arrays.

    Returns
    -------
    xarray.Dataset
        One variable per dataset in the file, with dims such as (y, x, ky, kx) or (y, x, energy), coordinates in A, mrad (or 1/A) and eV; a stack of
        images has the dimension frame.

    Raises
    ------
    DatasetError
        The file is missing, is not of the format that its name says, or needs a package that is not installed.
    SettingsError
        The ending is not known, or an axis has no calibration and none is given.
    """
    path = Path(path)
    if not path.exists():
        message = f"{path} does not exist. Check the name."
        raise DatasetError(message)
    ending = path.suffix.lower()
    if ending in (".nc", ".zarr"):
        return netcdf.read(path, ending, lazy=lazy)
    if ending == ".hf5":
        signals = nsid.read(path)
    elif ending in (".emd", ".h5") and emd.is_emd1(path):
        signals = emd.read(path)
    elif ending in rosetta.READERS:
        signals = rosetta.read(path, ending, lazy=lazy)
    else:
        message = f"There is no reader for the ending of {path.name}. Known are .nc, .zarr, .hf5, .h5, {', '.join(rosetta.READERS)}."
        raise SettingsError(message)
    try:
        return _together([to_array(signal, path, number, calibrations) for number, signal in enumerate(signals)])
    except json.JSONDecodeError as error:  # of the attributes that we wrote
        raise unreadable(path, ending[1:], error) from error


def _together(arrays: "list[tuple[xr.DataArray, dict[str, Any]]]") -> "xr.Dataset":
    """Return arrays as one Dataset; where dimensions of one name have different points, the variable's name is added to their name."""
    import xarray as xr

    out = xr.Dataset(attrs=arrays[0][1])
    for i, (array, _) in enumerate(arrays):
        name = str(array.name) if str(array.name) not in (*out.data_vars, *FITTING) else f"{array.name}_{i}"
        clash = [d for d in array.dims if d in out.dims and not (out.sizes[d] == array.sizes[d] and np.array_equal(out[d], array[d]))]
        out[name] = array.rename({d: f"{d}_{name}" for d in clash})
    return out
