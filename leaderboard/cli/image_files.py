"""Output files of ``stemtwin image``. The ending of a file's name sets the format and is checked before the computation."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.files import check_writable

if TYPE_CHECKING:
    import xarray as xr

PICTURE = ".png"
"""Ending of pictures; a netCDF file is written beside a picture."""
GATHERED = ("tilt_mrad",)
"""Series whose dimension has two coordinates, which few formats support."""


def check_output(output: Path, series: dict[str, tuple[Any, ...]], *, drawn: bool = False) -> None:
    """Check before the computation that the output file can be written.

    Parameters
    ----------
    output : Path
        Output file.
    series : dict
        Values of each varied setting, by the name of the setting in ``simulate_series``.
    drawn : bool
        Whether a picture is written beside a data file.

    Raises
    ------
    SettingsError
        The ending of the file's name is not that of a known format, the format does not support the series, or the file is a folder.
    DatasetError
        A package is missing, or a file cannot be written.
    """
    from stemtwin.datasets.formats.file_formats import FORMATS, check_package

    ending = output.suffix.lower()
    if output.is_dir() and ending != ".zarr":
        message = f"--output {output} is a folder. Give the name of a file in it."
        raise SettingsError(message)
    if ending != PICTURE:
        names = [name for name in FORMATS if ending in FORMATS[name].suffixes]
        if not names:
            endings = ", ".join(suffix for name in FORMATS for suffix in FORMATS[name].suffixes)
            message = f"The ending of --output {output} is not that of a known format. "
            message += f"Use .png (a picture, with a netCDF file beside it), {endings}."
            raise SettingsError(message)
        for module in FORMATS[names[0]].needs:
            check_package(module, output, "Writing")
        if not FORMATS[names[0]].whole:
            _check_series(output, series)
    check_writable(output, folder=ending == ".zarr" and output.is_dir())
    for path in (output.with_suffix(other) for other in (PICTURE, ".nc") if (other == PICTURE and drawn) or ending == PICTURE):
        check_writable(path)


def _check_series(output: Path, series: dict[str, tuple[Any, ...]]) -> None:
    """Raise SettingsError for a series that only netCDF and zarr support: tilts, and unevenly spaced values."""
    for name, values in series.items():
        if name in GATHERED or not np.allclose(np.diff(values), (values[-1] - values[0]) / max(len(values) - 1, 1)):
            what = "tilts" if name in GATHERED else "values that are not evenly spaced"
            message = f"{output.suffix} files do not support series of {what}. Give --output the ending .nc or .zarr."
            raise SettingsError(message)


def write_data(data: "xr.Dataset", output: Path) -> list[Path]:
    """Write a result in the format that the ending of the file name sets.

    If a format can store only one variable per file, each variable has its own file with the variable's name in the file name.

    Returns
    -------
    list of Path
        Written files.
    """
    from stemtwin.datasets.formats import save
    from stemtwin.datasets.formats.file_formats import FORMATS

    path = output.with_suffix(".nc") if output.suffix.lower() == PICTURE else output
    kind = next(FORMATS[name] for name in FORMATS if path.suffix.lower() in FORMATS[name].suffixes)
    several = [str(name) for name in data if data[name].ndim]
    if not kind.single or len(several) < 2:
        return [save(data if not kind.single else data[several], path, overwrite=True)]
    return [save(data, path.with_stem(f"{path.stem}-{name}"), variable=name, overwrite=True) for name in several]
