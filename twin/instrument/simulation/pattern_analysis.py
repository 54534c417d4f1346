"""Analysis of diffraction patterns: PACBED, virtual detectors, centre of mass, its integral, and DPC.

Patterns are a DataArray in fractions of the beam or in counts, whose last two dimensions are ky and kx with coordinates in
mrad.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.detectors import Detector, SegmentedDetector
from stemtwin.twin.physics import electrons, gradient_integration

ANGLES = ("ky", "kx")


def pacbed(patterns: xr.DataArray) -> xr.DataArray:
    """Return the position-averaged diffraction pattern, dims (ky, kx)."""
    _checked(patterns)
    out = patterns.mean([d for d in patterns.dims if d not in ANGLES], dtype=float, keep_attrs=True)
    return out.rename("pacbed").assign_attrs(long_name="position-averaged diffraction pattern")


def virtual(patterns: xr.DataArray, detector: Detector) -> xr.DataArray:
    """Return the signal of a virtual detector; each pixel is weighted by the fraction that the detector covers.

    Parameters
    ----------
    patterns : DataArray
        Patterns, dims (..., ky, kx).
    detector : Detector
        Annular or segmented detector, which must not extend beyond the camera.

    Returns
    -------
    DataArray
        Signal with the detector's name, dims (...) or, for a segmented detector, (segment, ...).

    Raises
    ------
    SettingsError
        The detector extends beyond the camera, or the array has no angles.
    """
    ky, kx, (dy, dx) = _checked(patterns)
    edge = min(-ky[0] + dy / 2, ky[-1] + dy / 2, -kx[0] + dx / 2, kx[-1] + dx / 2)
    if detector.outer_mrad > edge * (1 + 1e-9):
        message = (
            f"outer_mrad={detector.outer_mrad:g} of {detector.name} extends beyond the camera, whose nearest edge is at {edge:.4g} mrad. "
            "Use a smaller outer_mrad, or a larger camera."
        )
        raise SettingsError(message)
    weights = detector.weights(ky[:, None] * 1e-3, kx * 1e-3, (dy * 1e-3, dx * 1e-3), 1.0, antialias=True)
    mask = xr.DataArray(weights, dims=("segment", *ANGLES))
    mask = mask if detector.channels > 1 else mask[0]
    out = xr.dot(patterns.astype(np.float64), mask.astype(np.float64), dim=list(ANGLES))
    out = out.transpose("segment", ...) if detector.channels > 1 else out
    units = {name: patterns.attrs[name] for name in ("units", "energy_ev") if name in patterns.attrs}
    return out.rename(detector.name).assign_attrs(units, inner_mrad=detector.inner_mrad, outer_mrad=detector.outer_mrad)


def centre_of_mass(patterns: xr.DataArray) -> xr.Dataset:
    """Return the centre of mass of each pattern (mrad) as ``com_y`` and ``com_x``; empty patterns give NaN.

    For a thin specimen the centre of mass of the whole pattern is proportional to the gradient of the specimen's phase,
    averaged over the probe's intensity (Mueller et al., Nature Communications 5 (2014) 5653).
    """
    ky, kx, _ = _checked(patterns)
    total = patterns.sum(ANGLES, dtype=float)
    found = {}
    for name, angle, other in (("ky", ky, "kx"), ("kx", kx, "ky")):
        moment = xr.dot(patterns.sum(other, dtype=float), xr.DataArray(angle, dims=name), dim=name)
        found[f"com_{name[1]}"] = (moment / total.where(total > 0)).assign_attrs(units="mrad", long_name=f"centre of mass along {name[1]}")
    keep = {name: patterns.attrs[name] for name in ("energy_ev", "semiangle_mrad") if name in patterns.attrs}
    return xr.Dataset(found, attrs=keep)


def dpc(segments: xr.DataArray, detector: SegmentedDetector) -> xr.Dataset:
    """Return the differential phase contrast of a segmented detector as ``dpc_y`` and ``dpc_x``.

    The two values are the components of the mean unit vector from the centre to the segments, weighted by the segments'
    signals.

    Parameters
    ----------
    segments : DataArray
        Signals of the segments, with a dimension segment, from ``simulate`` or :func:`virtual`.
    detector : SegmentedDetector
        The detector.

    Raises
    ------
    SettingsError
        The array does not have the detector's segments.
    """
    if "segment" not in segments.dims or segments.sizes["segment"] != detector.channels:
        message = (
            f"{segments.name or 'This array'} does not have {detector.channels} segments: its dimensions are {dict(segments.sizes)}. "
            f"Give the signals of {detector.name}."
        )
        raise SettingsError(message)
    azimuth = xr.DataArray(detector.rotation_rad + 2 * np.pi * np.arange(detector.channels) / detector.channels, dims="segment")
    total = segments.sum("segment", dtype=float)
    total = total.where(total > 0)
    found = {"dpc_y": (segments * np.sin(azimuth)).sum("segment") / total, "dpc_x": (segments * np.cos(azimuth)).sum("segment") / total}
    return xr.Dataset({name: value.assign_attrs(units="1") for name, value in found.items()})


def icom(com: xr.Dataset, *, energy_ev: float | None = None, periodic: bool = False) -> xr.DataArray:
    """Return the integrated centre of mass, the phase of a thin specimen convolved with the probe's intensity.

    Parameters
    ----------
    com : Dataset
        ``com_y`` and ``com_x`` (mrad) on a raster with coordinates y and x, A.
    energy_ev : float, optional
        Beam energy, eV; by default the attribute ``energy_ev`` of the data.
    periodic : bool
        Whether the field of view is one period of a crystal.

    Returns
    -------
    DataArray
        Phase (rad) with mean zero, dims (y, x).

    Raises
    ------
    SettingsError
        The data are not a raster or contain NaN, or the energy is not known.
    """
    energy = energy_ev if energy_ev is not None else com.attrs.get("energy_ev")
    if energy is None:
        message = "The data have no attribute energy_ev, but the phase depends on the wavelength. Pass energy_ev."
        raise SettingsError(message)
    if com["com_y"].dims != ("y", "x") or min(com.sizes["y"], com.sizes["x"]) < 2:
        message = (
            f"The integration of a gradient needs a raster of at least 2 x 2 points, but the dimensions are {dict(com.sizes)}. Use a RasterScan."
        )
        raise SettingsError(message)
    gy, gx = (2 * np.pi * com[f"com_{axis}"].to_numpy() * 1e-3 / electrons.wavelength(float(energy)) for axis in "yx")
    if not (np.isfinite(gy).all() and np.isfinite(gx).all()):
        message = "Some patterns contain no electrons, so their centre of mass is undefined. Use a longer dwell time or a larger current."
        raise SettingsError(message)
    sampling = _step(com["y"].to_numpy()), _step(com["x"].to_numpy())
    values = gradient_integration.integrate_gradient(gy, gx, sampling, periodic=periodic)
    return xr.DataArray(values, {"y": com["y"], "x": com["x"]}, ("y", "x"), "icom", {"units": "rad", "long_name": "integrated centre of mass"})


def _checked(patterns: Any) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Return the angles ky and kx of an array of patterns (mrad) and the sides of its pixels, mrad."""
    if not isinstance(patterns, xr.DataArray) or tuple(patterns.dims[-2:]) != ANGLES or any(name not in patterns.coords for name in ANGLES):
        message = (
            "Patterns must be a DataArray whose last dimensions are ky and kx with coordinates in mrad. "
            "Pass a camera's patterns, for example st.simulate(...).pixelated."
        )
        raise SettingsError(message)
    ky, kx = patterns["ky"].to_numpy().astype(float), patterns["kx"].to_numpy().astype(float)
    return ky, kx, (_step(ky), _step(kx))


def _step(at: Sequence[float] | np.ndarray) -> float:
    at = np.asarray(at, float)
    return float((at[-1] - at[0]) / (len(at) - 1)) if len(at) > 1 else 1.0
