"""Writers for the formats of microscopy: NSID (pycroscopy), HyperSpy, and EMD 1.0 (py4DSTEM)."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.datasets import export
from stemtwin.datasets.export import FORMATS, Format, FormatAxis
from stemtwin.twin.errors import DatasetError, SettingsError

if TYPE_CHECKING:
    import xarray as xr

# ---- NSID ----------------------------------------------------------------------------------------------------------------------------

NSID_KINDS = {"space": "spatial", "reciprocal": "reciprocal", "spectrum": "spectral", "other": "unknown"}
QUANTITIES = {"space": "length", "reciprocal": "angle", "spectrum": "energy", "other": "number"}


def _write_nsid(data: "xr.Dataset", path: Path) -> None:
    """Write every variable as a channel of one measurement."""
    import h5py
    import sidpy  # pyright: ignore[reportMissingImports] - optional
    from pyNSID.io.hdf_io import write_nsid_dataset  # pyright: ignore[reportMissingImports] - optional

    with h5py.File(path, "w") as file:
        for number, name in enumerate(data.data_vars):
            array, axes = data[name], export.check_calibrations(data[name])
            values = sidpy.Dataset.from_array(array.to_numpy(), title=str(name))
            values.data_type = _nsid_type(axes)
            values.units = str(array.attrs.get("units", ""))
            values.quantity = str(array.attrs.get("long_name", name))
            values.modality, values.source = "STEM", "stemtwin"
            for i, axis in enumerate(axes):
                points = axis.offset + axis.step * np.arange(axis.size)
                kind, quantity = NSID_KINDS[axis.kind], QUANTITIES[axis.kind]
                values.set_dimension(i, sidpy.Dimension(points, name=axis.name, units=axis.units or "1", quantity=quantity, dimension_type=kind))
            values.metadata = {**export.attributes(data), "variable": export.attributes(array)}
            values.original_metadata = {"stemtwin": export.described(data, str(name))}
            group = file.create_group(f"Measurement_000/Channel_{number:03d}")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # pyNSID warns of a function of its own
                write_nsid_dataset(values, group, main_data_name=str(name))
            for key, points in export.places(data, str(name)).items():
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


# ---- HyperSpy ------------------------------------------------------------------------------------------------------------------------


def hyperspy_signal(data: "xr.Dataset") -> dict[str, Any]:
    """Return one variable as RosettaSciIO's dictionary: axes with calibrations, and the metadata that HyperSpy and eXSpy look for."""
    (name,) = data.data_vars
    array, axes = data[name], export.check_calibrations(data[name])
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
        "original_metadata": {"stemtwin": {"attributes": export.described(data, str(name)), "places": export.places(data, str(name))}},
        "attributes": {"_lazy": False, "ragged": False},
        "learning_results": {},
        "models": {},
        "tmp_parameters": {"original_folder": "", "original_filename": "", "original_extension": ""},
        "package_info": {"package": "exspy" if signal_type(array, axes) else "hyperspy", "package_version": ""},  # whose class it is
    }


def signal_type(array: "xr.DataArray", axes: tuple[FormatAxis, ...]) -> str:
    """Return eXSpy's name for what an array is: its attribute ``signal_type``, or else by its name where it has an energy axis, or none."""
    asked = str(array.attrs.get("signal_type", ""))
    if asked or axes[-1].kind != "spectrum":
        return asked
    return "EDS_TEM" if str(array.name).lower().startswith(("edx", "eds")) else "EELS"


def _hyperspy_metadata(data: "xr.Dataset", name: str, axes: tuple[FormatAxis, ...]) -> dict[str, Any]:
    array = data[name]
    known = {**export.attributes(data), **export.attributes(array)}
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


STAGE_AXES = 5
"""Numbers of the attribute ``stage``: x, y, z, A, and two tilts, mrad."""


def _scaled(known: dict[str, Any], name: str, factor: float) -> float | None:
    return known[name] * factor if name in known else None


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _write_hspy(data: "xr.Dataset", path: Path) -> None:
    from rsciio import hspy

    hspy.file_writer(str(path), hyperspy_signal(data), show_progressbar=False)


def _write_zspy(data: "xr.Dataset", path: Path) -> None:
    import zarr
    from rsciio import zspy

    if int(zarr.__version__.split(".")[0]) > 2 and not hasattr(zarr, "ZipStore"):
        message = (
            f"RosettaSciIO writes .zspy files with zarr 2, and zarr {zarr.__version__} is installed. "
            "Use .hspy, or an environment of its own with zarr<3 for .zspy alone."
        )
        raise DatasetError(message)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # zarr 2 warns of what zarr 3 lacks
        zspy.file_writer(str(path), hyperspy_signal(data), show_progressbar=False)


# ---- EMD 1.0 -------------------------------------------------------------------------------------------------------------------------

EMD_UNITS = {"angstrom": "A", "1/angstrom": "A^-1"}


def _write_emd(data: "xr.Dataset", path: Path) -> None:
    """Write the patterns as py4DSTEM's DataCube with its calibration, and everything else as arrays below it."""
    import emdfile

    root, cube, others = emdfile.Root(name="stemtwin"), None, []
    for name in data.data_vars:
        axes = export.check_calibrations(data[name])
        kinds = [axis.kind for axis in axes]
        if len(axes) == 4 and kinds == ["space", "space", "reciprocal", "reciprocal"]:
            if cube is not None:
                message = f"An EMD file holds one 4D cube, and both {cube.name} and {name} are. Choose one: variable=."
                raise SettingsError(message)
            cube = _emd_array(data, str(name), axes, _named(emdfile.Array, "DataCube"), ("Rx", "Ry", "Qx", "Qy"))
            root.metadata = _calibration(emdfile, str(name), axes)
        else:
            others.append(_emd_array(data, str(name), axes, emdfile.Array, tuple(axis.name for axis in axes)))
    above = root
    if cube is not None:
        root.tree(cube)
        above = cube
    for array in others:
        above.tree(array)
    emdfile.save(str(path), root)


def _named(base: type, name: str) -> Any:
    """Return a class that emdfile writes under the name of py4DSTEM's class of the same contents."""
    return type(name, (base,), {})


def _emd_array(data: "xr.Dataset", name: str, axes: tuple[FormatAxis, ...], kind: Any, labels: tuple[str, ...]) -> Any:
    import emdfile

    array = data[name]
    out = kind(
        array.to_numpy(),
        name=name,
        units=str(array.attrs.get("units", "")),
        dims=[[axis.offset, axis.offset + axis.step] if axis.size > 1 else [axis.offset] for axis in axes],
        dim_names=list(labels),
        dim_units=[EMD_UNITS.get(axis.units, axis.units or "1") for axis in axes],
    )
    known = emdfile.Metadata("stemtwin")
    known["attributes"] = export.described(data, name)
    for key, points in export.places(data, name).items():
        known[f"place_{key}"] = points
    out.metadata = known
    return out


def _calibration(emdfile: Any, name: str, axes: tuple[FormatAxis, ...]) -> Any:
    """Return py4DSTEM's calibration: pixel sizes, units, and where the optic axis falls, in pixels."""
    out = _named(emdfile.Metadata, "Calibration")("calibration")
    if not np.isclose(axes[0].step, axes[1].step, rtol=1e-6) or not np.isclose(axes[2].step, axes[3].step, rtol=1e-6):
        message = (
            f"py4DSTEM takes square pixels, and {name} has {axes[0].step:g} x {axes[1].step:g} {axes[0].units} and "
            f"{axes[2].step:g} x {axes[3].step:g} {axes[2].units}. Scan with equal steps along y and x, or use .hspy."
        )
        raise SettingsError(message)
    middle = [-axis.offset / axis.step for axis in axes[2:]]
    values = {
        "R_pixel_size": axes[0].step,
        "R_pixel_units": EMD_UNITS.get(axes[0].units, axes[0].units),
        "Q_pixel_size": axes[2].step,
        "Q_pixel_units": EMD_UNITS.get(axes[2].units, axes[2].units),
        "QR_flip": False,
        "_root_treepath": "",
        "_target_paths": [f"/{name}"],
    }
    for axis, place in zip("xy", middle, strict=True):
        values |= {f"q{axis}0": place, f"q{axis}0_mean": place}
    for key, value in values.items():
        out[key] = value
    return out


FORMATS.add("nsid", Format(suffixes=(".hf5",), write=_write_nsid, needs=("sidpy", "pyNSID"), about="sidpy, SciFiReaders"))
FORMATS.add("hspy", Format(suffixes=(".hspy",), write=_write_hspy, needs=("rsciio",), single=True, about="HyperSpy, eXSpy"))
FORMATS.add("zspy", Format(suffixes=(".zspy",), write=_write_zspy, needs=("rsciio", "zarr"), single=True, about="HyperSpy, in pieces"))
FORMATS.add("emd", Format(suffixes=(".emd", ".h5"), write=_write_emd, needs=("emdfile",), about="py4DSTEM"))
