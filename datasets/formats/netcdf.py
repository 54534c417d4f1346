"""netCDF and zarr, which hold all of a result."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from stemtwin.datasets.formats.file_formats import FORMATS, Format, unreadable

if TYPE_CHECKING:
    import xarray as xr


def write_netcdf(data: "xr.Dataset", path: Path) -> None:
    """Write a Dataset as netCDF 4, its images compressed without loss."""
    encoding = {name: {"zlib": True, "complevel": 4} for name, variable in data.data_vars.items() if variable.ndim >= 2}
    data.to_netcdf(path, engine="h5netcdf", encoding=encoding)


def write_zarr(data: "xr.Dataset", path: Path) -> None:
    """Write a Dataset as a zarr 2 folder."""
    data.to_zarr(path, mode="w", zarr_format=2, consolidated=True)


def read(path: Path, ending: str, *, lazy: bool) -> "xr.Dataset":
    """Return the Dataset of a ``.nc`` or ``.zarr`` file, in memory or as dask arrays.

    Raises
    ------
    DatasetError
        The file is of another format.
    """
    import xarray as xr

    try:
        if ending == ".nc":
            data = xr.open_dataset(path, engine="h5netcdf", chunks={} if lazy else None)
            if not data.data_vars or any(str(dim).startswith("phony_dim") for dim in data.dims):
                reason = "it is HDF5 without arrays that have dimensions"
                raise ValueError(reason)
        else:
            data = xr.open_zarr(path, zarr_format=2, consolidated=True)
        return data if lazy else data.load()
    except Exception as error:  # every library has its own errors for files that are not what they seem
        raise unreadable(path, "netCDF" if ending == ".nc" else "zarr", error) from error
    finally:
        with contextlib.suppress(UnboundLocalError):
            if not lazy:
                data.close()


FORMATS.add("netcdf", Format(suffixes=(".nc",), write=write_netcdf, whole=True, about="xarray, all of a result"))
FORMATS.add("zarr", Format(suffixes=(".zarr",), write=write_zarr, needs=("zarr",), whole=True, about="xarray, all of a result, in pieces"))
