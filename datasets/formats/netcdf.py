"""The formats netCDF and zarr, which store a result completely."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stemtwin.datasets.formats.file_formats import FORMATS, Format, unreadable

if TYPE_CHECKING:
    import xarray as xr


def write_netcdf(data: "xr.Dataset", path: Path) -> None:
    """Write a Dataset as netCDF 4 with lossless compression of its images."""
    encoding = {name: {"zlib": True, "complevel": 4} for name, variable in data.data_vars.items() if variable.ndim >= 2}
    data.to_netcdf(path, engine="h5netcdf", encoding=encoding)


def write_zarr(data: "xr.Dataset", path: Path) -> None:
    """Write a Dataset as a zarr 2 folder."""
    data.to_zarr(path, mode="w", zarr_format=2, consolidated=True)


def read(path: Path, ending: str, *, lazy: bool) -> "xr.Dataset":
    """Return the Dataset of a netCDF (3 or 4) or zarr (2 or 3, folder or zip) file, in memory or as dask arrays.

    Raises
    ------
    DatasetError
        The file has another format, or its arrays have no named dimensions.
    """
    try:
        data = _opened_netcdf(path, lazy=lazy) if ending == ".nc" else _opened_zarr(path)
        try:
            if not data.data_vars or any(str(dim).startswith("phony_dim") for dim in data.dims):
                reason = "it holds no arrays with named dimensions"
                raise ValueError(reason)
            return data if lazy else _native(data.load())
        finally:
            if not lazy:
                data.close()
    except Exception as error:  # each library has its own errors for unexpected content
        raise unreadable(path, "netCDF" if ending == ".nc" else "zarr", error) from error


def _opened_netcdf(path: Path, *, lazy: bool) -> "xr.Dataset":
    import xarray as xr

    with path.open("rb") as file:
        beginning = file.read(4)
    if beginning == b"CDF\5":
        reason = "it is netCDF 3 with 64-bit data (CDF-5), which is not supported; convert it with nccopy -k nc4"
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
    """Return a Dataset with arrays in the byte order of this machine, because netCDF 3 is big-endian."""
    swapped = {name: each.astype(each.dtype.newbyteorder("=")) for name, each in data.variables.items() if not each.dtype.isnative}
    return data.assign(swapped) if swapped else data


FORMATS.add("netcdf", Format(suffixes=(".nc",), hdf5=True, write=write_netcdf, whole=True, about="xarray; complete result"))
FORMATS.add("zarr", Format(suffixes=(".zarr",), write=write_zarr, needs=("zarr",), whole=True, about="xarray; complete result, in chunks"))
