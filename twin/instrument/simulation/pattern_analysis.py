"""Analysis of diffraction patterns: PACBED, centre of mass, DPC, its integral, virtual detectors.

All functions take a DataArray whose last two dimensions are ky and kx with coordinates in mrad, in fractions of the beam or in counts.
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
    """Return the position-averaged pattern, dims (ky, kx)."""
    _checked(patterns)
    out = patterns.mean([d for d in patterns.dims if d not in ANGLES], dtype=float, keep_attrs=True)
    return out.rename("pacbed").assign_attrs(long_name="position-averaged diffraction pattern")


def virtual(patterns: xr.DataArray, detector: Detector) -> xr.DataArray:
    """Return the signal of a scanned detector from patterns: each pixel counts by the fraction that the detector covers.

    Parameters
    ----------
    patterns : DataArray
        Patterns, dims (..., ky, kx).
    detector : Detector
        A scanned detector; it must not reach beyond the camera.

    Returns
    -------
    DataArray
        Named as the detector, dims (...), or (segment, ...).

    Raises
    ------
    SettingsError
        The detector reaches beyond the camera, or the array has no angles.
    """
    ky, kx, (dy, dx) = _checked(patterns)
    edge = min(-ky[0] + dy / 2, ky[-1] + dy / 2, -kx[0] + dx / 2, kx[-1] + dx / 2)
    if detector.outer_mrad > edge * (1 + 1e-9):
        message = f"outer_mrad={detector.outer_mrad:g} of {detector.name} reaches beyond the camera, whose nearest edge is at {edge:.4g} mrad."
        raise SettingsError(message)
    weights = detector.weights(ky[:, None] * 1e-3, kx * 1e-3, (dy * 1e-3, dx * 1e-3), 1.0, antialias=True)
    mask = xr.DataArray(weights, dims=("segment", *ANGLES))
    mask = mask if detector.channels > 1 else mask[0]
    out = xr.dot(patterns.astype(np.float64), mask.astype(np.float64), dim=list(ANGLES))
    out = out.transpose("segment", ...) if detector.channels > 1 else out
    units = {name: patterns.attrs[name] for name in ("units", "energy_ev") if name in patterns.attrs}
    return out.rename(detector.name).assign_attrs(units, inner_mrad=detector.inner_mrad, outer_mrad=detector.outer_mrad)


def centre_of_mass(patterns: xr.DataArray) -> xr.Dataset:
    """Return the centre of mass of each pattern, mrad, as ``com_y`` and ``com_x``; where nothing was counted, NaN.

    The centre of mass of a whole pattern of a thin specimen is the gradient of its phase, weighed by the probe's intensity (Mueller et al., Nature
    Communications 5 (2014) 5653).
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
    """Return differential phase contrast of a segmented detector: the mean direction of what its segments collect, ``dpc_y`` and ``dpc_x``.

    Parameters
    ----------
    segments : DataArray
        Its signals, with a dimension segment: from ``simulate``, or from :func:`virtual`.
    detector : SegmentedDetector
        The detector.
    """
    if "segment" not in segments.dims or segments.sizes["segment"] != detector.channels:
        message = f"{segments.name or 'This array'} has no {detector.channels} segments: its dimensions are {dict(segments.sizes)}."
        raise SettingsError(message)
    azimuth = xr.DataArray(detector.rotation_rad + 2 * np.pi * np.arange(detector.channels) / detector.channels, dims="segment")
    total = segments.sum("segment", dtype=float)
    total = total.where(total > 0)
    found = {"dpc_y": (segments * np.sin(azimuth)).sum("segment") / total, "dpc_x": (segments * np.cos(azimuth)).sum("segment") / total}
    return xr.Dataset({name: value.assign_attrs(units="1") for name, value in found.items()})


def icom(com: xr.Dataset, *, energy_ev: float | None = None, periodic: bool = False) -> xr.DataArray:
    """Return the integrated centre of mass: the phase that the specimen gives the wave, blurred by the probe's intensity.

    Parameters
    ----------
    com : Dataset
        ``com_y`` and ``com_x``, mrad, on a raster with coordinates y and x, A.
    energy_ev : float, optional
        Beam energy, eV; by default what the data say.
    periodic : bool
        Whether the field of view is one period of a crystal.

    Returns
    -------
    DataArray
        Phase, rad, with mean zero, dims (y, x).

    Raises
    ------
    SettingsError
        It is no raster, has holes, or the energy is not known.
    """
    energy = energy_ev if energy_ev is not None else com.attrs.get("energy_ev")
    if energy is None:
        message = "The beam energy is not among the data's attributes, and the phase scales with the wavelength. Pass energy_ev."
        raise SettingsError(message)
    if com["com_y"].dims != ("y", "x") or min(com.sizes["y"], com.sizes["x"]) < 2:
        message = (
            f"A gradient is integrated over a raster of 2 x 2 points or more, and this one has the dimensions {dict(com.sizes)}. Scan a RasterScan."
        )
        raise SettingsError(message)
    gy, gx = (2 * np.pi * com[f"com_{axis}"].to_numpy() * 1e-3 / electrons.wavelength(float(energy)) for axis in "yx")
    if not (np.isfinite(gy).all() and np.isfinite(gx).all()):
        message = "Some patterns hold no electrons, so that their centre of mass is unknown. Use a longer dwell time or more current."
        raise SettingsError(message)
    sampling = _step(com["y"].to_numpy()), _step(com["x"].to_numpy())
    values = gradient_integration.integrate_gradient(gy, gx, sampling, periodic=periodic)
    return xr.DataArray(values, {"y": com["y"], "x": com["x"]}, ("y", "x"), "icom", {"units": "rad", "long_name": "integrated centre of mass"})


def _checked(patterns: Any) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Return the angles of an array of patterns, mrad, and the sides of its pixels."""
    if not isinstance(patterns, xr.DataArray) or tuple(patterns.dims[-2:]) != ANGLES or any(name not in patterns.coords for name in ANGLES):
        message = "Patterns are a DataArray whose last dimensions are ky and kx with coordinates in mrad; this is none. Take a variable of a result."
        raise SettingsError(message)
    ky, kx = patterns["ky"].to_numpy().astype(float), patterns["kx"].to_numpy().astype(float)
    return ky, kx, (_step(ky), _step(kx))


def _step(at: Sequence[float] | np.ndarray) -> float:
    at = np.asarray(at, float)
    return float((at[-1] - at[0]) / (len(at) - 1)) if len(at) > 1 else 1.0
