"""netCDF and zarr, which hold all of a result."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    """Return the Dataset of a ``.nc`` or ``.zarr`` file, in memory or as dask arrays: of netCDF 3 or 4, of zarr 2 or 3, a folder or a zip file.

    Raises
    ------
    DatasetError
        The file is of another format.
    """
    try:
        data = _opened_netcdf(path, lazy=lazy) if ending == ".nc" else _opened_zarr(path)
        try:
            if not data.data_vars or any(str(dim).startswith("phony_dim") for dim in data.dims):
                reason = "it holds no arrays that have named dimensions"
                raise ValueError(reason)
            return data if lazy else _native(data.load())
        finally:
            if not lazy:
                data.close()
    except Exception as error:  # every library has its own errors for files that are not what they seem
        raise unreadable(path, "netCDF" if ending == ".nc" else "zarr", error) from error


def _opened_netcdf(path: Path, *, lazy: bool) -> "xr.Dataset":
    import xarray as xr

    with path.open("rb") as file:
        beginning = file.read(4)
    if beginning == b"CDF\5":
        reason = "it is netCDF 3 with 64-bit data (CDF-5), which is not known here; convert it with nccopy -k nc4"
        raise ValueError(reason)
    engine: Any = "scipy" if beginning in (b"CDF\1", b"CDF\2") else "h5netcdf"
    return xr.open_dataset(path, engine=engine, chunks={} if lazy else None)


def _opened_zarr(path: Path) -> "xr.Dataset":
    import xarray as xr

    if path.is_dir():
        return xr.open_zarr(path, consolidated=None)
    from zarr.storage import ZipStore

    return xr.open_zarr(ZipStore(path, mode="r"), consolidated=None)


def _native(data: "xr.Dataset") -> "xr.Dataset":
    """Return a Dataset with arrays in the byte order of this machine: netCDF 3 is big-endian."""
    swapped = {name: each.astype(each.dtype.newbyteorder("=")) for name, each in data.variables.items() if not each.dtype.isnative}
    return data.assign(swapped) if swapped else data


FORMATS.add("netcdf", Format(suffixes=(".nc",), hdf5=True, write=write_netcdf, whole=True, about="xarray, all of a result"))
FORMATS.add("zarr", Format(suffixes=(".zarr",), write=write_zarr, needs=("zarr",), whole=True, about="xarray, all of a result, in pieces"))
