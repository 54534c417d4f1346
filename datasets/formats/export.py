"""Export of results to files in several formats; files are written atomically.

``save(data, "cube.hspy")`` writes results of ``st.simulate``, ``st.ronchigram`` and ``Microscope.acquire``. netCDF and
zarr store a result completely, so reading the file returns identical data. The other formats store data, calibrations,
units and attributes as far as their specifications allow.

Each format has its own writer, which uses the library of the format. The modules of the writers are imported here and
register their formats.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stemtwin.datasets.formats import emd, hyperspy, netcdf, nsid, parquet  # noqa: F401 - they add their formats
from stemtwin.datasets.formats.calibrations import check_calibrations
from stemtwin.datasets.formats.file_formats import FORMATS, Format, check_package
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.files import check_space, check_writable, replacing

if TYPE_CHECKING:
    import xarray as xr

HDF5_BYTES = 2**18
"""Largest size of an HDF5 file beyond that of its arrays, bytes."""


def save(data: "xr.Dataset | xr.DataArray", path: str | Path, *, form: str = "", variable: str = "", overwrite: bool = False) -> Path:
    """Write a result to a file; the ending of its name selects the format.

    Parameters
    ----------
    data : Dataset or DataArray
        Result of a simulation or an acquisition.
    path : str or Path
        Path of the file or folder to write.
    form : str
        Name of the format, which is required if the ending does not select one.
    variable : str
        Name of the variable to write; by default all variables are written. If the format holds only one variable and the
        data have several, the name is required, with one exception: if one variable holds spectra, and the others hold
        quantities of the points of these spectra, such as densities, but not detector images, the spectra are written.
    overwrite : bool
        Whether an existing file or folder may be replaced.

    Returns
    -------
    Path
        Path of the file.

    Raises
    ------
    SettingsError
        The ending does not belong to a format, the variable is not in the data, or the data are not calibrated.
    UnknownNameError
        The name ``form`` does not belong to a format.
    DatasetError
        A package is missing, the file already exists, or the file cannot be written. No incomplete file remains.
    """
    path = Path(path)
    kind = FORMATS[form] if form else _by_ending(path)
    chosen = _chosen(data, kind, variable)
    if not kind.whole:
        for name in chosen.data_vars:
            check_calibrations(chosen[name])
    for module in kind.needs:
        check_package(module, path, "Writing")
    if kind.hdf5 or not path.is_dir():
        check_writable(path, overwrite=overwrite)
    if kind.hdf5:
        check_space(path, chosen.nbytes + HDF5_BYTES, path.name)
    with replacing(path, overwrite=overwrite) as temporary:
        kind.write(chosen, temporary)
    return path


def _by_ending(path: Path) -> Format:
    for name in FORMATS:
        if path.suffix.lower() in FORMATS[name].suffixes:
            return FORMATS[name]
    endings = ", ".join(f"{FORMATS[name].suffixes[0]} ({name})" for name in FORMATS)
    message = f"The ending of {path.name} is not that of a format. Use one of {endings}, or pass the name of a format as form=."
    raise SettingsError(message)


def _lone_spectrum(data: "xr.Dataset") -> str:
    """Return the name of the only spectrum if all other variables are quantities of its points, else ``""``."""
    energies = {name for name, axis in data.coords.items() if axis.attrs.get("units") == "eV"}
    spectra = [str(name) for name in data.data_vars if energies.intersection(data[name].dims)]
    if len(spectra) != 1:
        return ""
    own = set(data[spectra[0]].dims)
    others = [data[name] for name in data.data_vars if name != spectra[0]]
    return spectra[0] if all(set(one.dims) < own and "inner_mrad" not in one.attrs for one in others) else ""


def _chosen(data: Any, kind: Format, variable: str) -> "xr.Dataset":
    import xarray as xr

    if isinstance(data, xr.DataArray):
        data = data.to_dataset(name=data.name or "data")
    if not isinstance(data, xr.Dataset) or not data.data_vars:
        message = "There are no data to write. Pass a Dataset with variables, or a DataArray."
        raise SettingsError(message)
    if variable and variable not in data.data_vars:
        message = f"There is no variable {variable!r} in the data. Use one of {', '.join(map(str, data.data_vars))}."
        raise SettingsError(message)
    if variable:
        return data[[variable]]
    if kind.single and len(data.data_vars) > 1:
        if spectrum := _lone_spectrum(data):
            return data[[spectrum]]
        message = f"A {kind.suffixes[0]} file holds one variable, but the data have {', '.join(map(str, data.data_vars))}. Choose one with variable=."
        raise SettingsError(message)
    return data
