"""Writer and reader of NSID files, the HDF5 files of pycroscopy, for exchange with sidpy and SciFiReaders."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.datasets.formats.calibrations import FormatAxis, attributes, check_calibrations, described, places
from stemtwin.datasets.formats.file_formats import FORMATS, Format, unreadable
from stemtwin.datasets.formats.signal_dictionaries import axis_entry, signal_entry
from stemtwin.twin.errors import DatasetError

if TYPE_CHECKING:
    import xarray as xr

NSID_KINDS = {"space": "spatial", "reciprocal": "reciprocal", "spectrum": "spectral", "other": "unknown"}
QUANTITIES = {"space": "length", "reciprocal": "angle", "spectrum": "energy", "other": "number"}


def write_nsid(data: "xr.Dataset", path: Path) -> None:
    """Write a result as an NSID file, with each variable as one channel of the same measurement."""
    import h5py
    import sidpy  # pyright: ignore[reportMissingImports] - optional
    from pyNSID.io.hdf_io import write_nsid_dataset  # pyright: ignore[reportMissingImports] - optional

    with h5py.File(path, "w") as file:
        for number, name in enumerate(data.data_vars):
            array, axes = data[name], check_calibrations(data[name])
            values = sidpy.Dataset.from_array(array.to_numpy(), title=str(name))
            values.data_type = _nsid_type(axes)
            values.units = str(array.attrs.get("units", ""))
            values.quantity = str(array.attrs.get("long_name", name))
            values.modality, values.source = "STEM", "stemtwin"
            for i, axis in enumerate(axes):
                points = axis.offset + axis.step * np.arange(axis.size)
                kind, quantity = NSID_KINDS[axis.kind], QUANTITIES[axis.kind]
                values.set_dimension(i, sidpy.Dimension(points, name=axis.name, units=axis.units or "1", quantity=quantity, dimension_type=kind))
            values.metadata = {**attributes(data), "variable": attributes(array)}
            values.original_metadata = {"stemtwin": described(data, str(name))}
            group = file.create_group(f"Measurement_000/Channel_{number:03d}")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # pyNSID warns about one of its own functions
                write_nsid_dataset(values, group, main_data_name=str(name))
            for key, points in places(data, str(name)).items():
                group[f"{name}/places/{key}"] = points


def _nsid_type(axes: tuple[FormatAxis, ...]) -> str:
    kinds = [axis.kind for axis in axes]
    if kinds[-2:] == ["reciprocal", "reciprocal"] and len(kinds) == 4:
        return "IMAGE_4D"
    if "spectrum" in kinds:
        return "SPECTRUM" if len(kinds) == 1 else "SPECTRAL_IMAGE"
    if len(kinds) == 2:
        return "IMAGE"
    return "IMAGE_STACK" if len(kinds) == 3 else "UNKNOWN"


def read(path: Path) -> list[dict[str, Any]]:
    """Return the main datasets of an NSID file as dictionaries in RosettaSciIO's form.

    Raises
    ------
    DatasetError
        The file has another format, or holds no NSID dataset.
    """
    import h5py

    found: list[dict[str, Any]] = []

    def visit(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and "main_data_name" in item.attrs:
            found.append(_signal(item))

    try:
        with h5py.File(path) as file:
            file.visititems(visit)
    except (OSError, KeyError, IndexError, RuntimeError) as error:
        raise unreadable(path, "NSID", error) from error
    if not found:
        message = f"{path} is HDF5, but holds no NSID dataset. Check that its ending names its format."
        raise DatasetError(message)
    return found


def _signal(item: Any) -> dict[str, Any]:
    axes = [axis_entry(scale[0].attrs["name"], scale[0].attrs["units"], scale[0][()]) for scale in item.dims]
    ours = item.parent.get("original_metadata")
    about = ours.attrs["stemtwin"] if ours is not None and "stemtwin" in ours.attrs else None
    beside = {key: values[()] for key, values in item.parent.get("places", {}).items()}
    return signal_entry(item[()], axes, item.attrs["main_data_name"], item.attrs.get("units", ""), about, beside)


FORMATS.add("nsid", Format(suffixes=(".hf5",), hdf5=True, write=write_nsid, needs=("sidpy", "pyNSID"), about="sidpy, SciFiReaders"))
