"""Writer of HyperSpy's files .hspy (HDF5) and .zspy (zarr), based on RosettaSciIO."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.datasets.formats.calibrations import FormatAxis, attributes, check_calibrations, described, places
from stemtwin.datasets.formats.file_formats import FORMATS, Format
from stemtwin.twin.errors import DatasetError

if TYPE_CHECKING:
    import xarray as xr

STAGE_AXES = 5
"""Length of the attribute ``stage``: x, y and z (A) and two tilts, mrad."""


def hyperspy_signal(data: "xr.Dataset") -> dict[str, Any]:
    """Return a dataset with exactly one variable as a dictionary in RosettaSciIO's form.

    The dictionary contains calibrated axes and the metadata of HyperSpy and eXSpy.
    """
    (name,) = data.data_vars
    array, axes = data[name], check_calibrations(data[name])
    signal_axes = 1 if axes[-1].kind == "spectrum" else min(2, len(axes))
    listed = [
        {
            "_type": "UniformDataAxis",
            "name": axis.name,
            "units": axis.units or None,
            "scale": axis.step,
            "offset": axis.offset,
            "size": axis.size,
            "navigate": i < len(axes) - signal_axes,
            "is_binned": axis.kind == "spectrum",
        }
        for i, axis in enumerate(axes)
    ]
    return {
        "data": array.to_numpy(),
        "axes": listed,
        "metadata": _hyperspy_metadata(data, str(name), axes),
        "original_metadata": {"stemtwin": {"attributes": described(data, str(name)), "places": places(data, str(name))}},
        "attributes": {"_lazy": False, "ragged": False},
        "learning_results": {},
        "models": {},
        "tmp_parameters": {"original_folder": "", "original_filename": "", "original_extension": ""},
        "package_info": {"package": "exspy" if signal_type(array, axes) else "hyperspy", "package_version": ""},  # package of the signal's class
    }


def signal_type(array: "xr.DataArray", axes: tuple[FormatAxis, ...]) -> str:
    """Return the signal type of an array for eXSpy: the array's attribute ``signal_type``, or a default for spectra."""
    asked = str(array.attrs.get("signal_type", ""))
    if asked or axes[-1].kind != "spectrum":
        return asked
    return "EDS_TEM" if str(array.name).lower().startswith(("edx", "eds")) else "EELS"


def _hyperspy_metadata(data: "xr.Dataset", name: str, axes: tuple[FormatAxis, ...]) -> dict[str, Any]:
    array = data[name]
    known = {**attributes(data), **attributes(array)}
    microscope = {
        "beam_energy": _scaled(known, "energy_ev", 1e-3),
        "convergence_angle": known.get("semiangle_mrad"),
        "beam_current": _scaled(known, "current_pa", 1e-3),
        "acquisition_mode": "STEM",
        "microscope": known.get("instrument", "stemtwin"),
    }
    kind, dwell = signal_type(array, axes), _scaled(known, "dwell_time_us", 1e-6)
    if kind == "EELS":
        microscope["Detector"] = {"EELS": _given({"collection_angle": known.get("collection_mrad"), "dwell_time": dwell})}
    elif kind == "EDS_TEM":
        named = {"azimuth_angle": "azimuth_deg", "elevation_angle": "elevation_deg", "energy_resolution_MnKa": "resolution_mnka_ev"}
        values = {ours: known.get(theirs) for ours, theirs in named.items()}
        microscope["Detector"] = {"EDS": _given({**values, "live_time": dwell, "real_time": dwell})}
    if len(np.atleast_1d(known.get("stage", ()))) == STAGE_AXES:
        alpha, beta = (float(angle) for angle in np.degrees(np.asarray(known["stage"][3:]) * 1e-3))
        microscope["Stage"] = {"tilt_alpha": alpha, "tilt_beta": beta}
    out: dict[str, Any] = {
        "General": {"title": name, "authors": "", "notes": str(known.get("notes", ""))},
        "Signal": {"signal_type": kind, "quantity": f"{known.get('long_name', name)} ({known.get('units', '1')})"},
        "Acquisition_instrument": {"TEM": _given(microscope)},
    }
    if "sample" in known:
        out["Sample"] = {"description": str(known["sample"])}
    return out


def _scaled(known: dict[str, Any], name: str, factor: float) -> float | None:
    return known[name] * factor if name in known else None


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def write_hspy(data: "xr.Dataset", path: Path) -> None:
    """Write a dataset with exactly one variable as HyperSpy's HDF5 file."""
    from rsciio import hspy

    hspy.file_writer(str(path), hyperspy_signal(data), show_progressbar=False)


def write_zspy(data: "xr.Dataset", path: Path) -> None:
    """Write a dataset with exactly one variable as HyperSpy's zarr file.

    Raises
    ------
    DatasetError
        The installed version of zarr is newer than RosettaSciIO supports.
    """
    import zarr
    from rsciio import zspy

    if int(zarr.__version__.split(".")[0]) > 2 and not hasattr(zarr, "ZipStore"):
        message = (
            f"RosettaSciIO writes .zspy files with zarr 2, but zarr {zarr.__version__} is installed. "
            "Use .hspy, or a separate environment with zarr<3."
        )
        raise DatasetError(message)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # zarr 2 warns about features that zarr 3 does not have
        zspy.file_writer(str(path), hyperspy_signal(data), show_progressbar=False)


FORMATS.add("hspy", Format(suffixes=(".hspy",), hdf5=True, write=write_hspy, needs=("rsciio",), single=True, about="HyperSpy, eXSpy"))
FORMATS.add("zspy", Format(suffixes=(".zspy",), write=write_zspy, needs=("rsciio", "zarr"), single=True, about="HyperSpy, in chunks"))
