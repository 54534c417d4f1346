"""Derived signals by name, which ``simulate`` computes from the signals of detectors.

A derived signal is one function of a result, added to ``DERIVED`` by ``@derived(name, ...)`` together with the detectors
that it needs:

======== ============================= ====== ==============================================================================
Name     Variables                     Unit   Meaning
======== ============================= ====== ==============================================================================
``com``  ``com_y``, ``com_x``          mrad   centre of mass of the diffraction pattern within the grid's largest angle
``icom`` ``icom``                      rad    integrated centre of mass: phase of a thin specimen, convolved with the probe
``idpc`` ``idpc``                      rad    integrated differential phase contrast of four quadrants (``dpc4``)
======== ============================= ====== ==============================================================================

The centre of mass is as accurate as the signals of the engine. It follows from the signals of three discs: the sensitivity
of one disc is uniform, that of another grows linearly along y, and that of the third grows linearly along x. An engine
computes a probe in a window of one or more cells, and replaces the probe's tails outside it by plane waves. The specimen
does not deflect these waves, so a window of 20 A lowers the contrast by about 2 %.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.detectors import (
    DETECTORS,
    USUAL_OUTER_MRAD,
    AnnularDetector,
    AnyDetector,
    SegmentedDetector,
    Sensitivity,
    load_detectors,
)
from stemtwin.twin.instrument.scan import RasterScan, SparseScan
from stemtwin.twin.instrument.settings import PotentialSlices
from stemtwin.twin.instrument.simulation.discretisation import choose_grid
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics import gradient_integration
from stemtwin.twin.registry import Registry

SLOPE = 0.9
"""Slope of the sensitivity that grows linearly along one axis."""
QUADRANTS = "dpc4"
"""The detector of iDPC."""
STAND_IN = ("bf",)
"""Placeholder detectors of a request for derived signals only, until the grid is known."""

Derive = Callable[[xr.Dataset, Request], dict[str, xr.DataArray]]
"""Function of a result and its request that returns the variables of a derived signal."""


def accept(request: Request) -> None:
    """Accept every request. This is the default check of a derived signal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedSignal:
    """A signal that is computed from the signals of detectors.

    Parameters
    ----------
    needs : callable
        ``needs(largest_mrad)`` returns the detectors, given the largest angle of the grid, mrad.
    compute : callable
        ``compute(data, request)`` returns the variables. ``data`` is a result with the signals of these detectors.
    variables : tuple of str
        Names of the variables.
    check : callable
        ``check(request)`` raises a StemtwinError, before any work, for a request that does not permit the signal.
    """

    needs: Callable[[float], tuple[str | AnyDetector, ...]]
    compute: Derive
    variables: tuple[str, ...]
    check: Callable[[Request], None] = accept


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DerivedRequest:
    """A request and the signals that are derived from its result.

    Parameters
    ----------
    request : Request
        The request, with all detectors that are needed.
    names : tuple of str
        Names of the derived signals.
    helpers : tuple of str
        Names of detectors that only the derived signals need; they are removed from the result.
    """

    request: Request
    names: tuple[str, ...] = ()
    helpers: tuple[str, ...] = ()

    def added(self, data: xr.Dataset) -> xr.Dataset:
        """Return a result of the request, in which the derived signals replace the detectors that only these signals need."""
        if not self.names:
            return data
        found: dict[str, xr.DataArray] = {}
        for name in self.names:
            found |= DERIVED[name].compute(data, self.request)
        out = data.drop_vars(self.helpers)
        out = out.assign({name: value.astype(np.float32).transpose(..., *_frame(value)) for name, value in found.items()})
        settings = json.loads(data.attrs["stemtwin_settings"]) | {"derived": list(self.names)}
        return out.assign_attrs(stemtwin_settings=json.dumps(settings))


DERIVED: Registry[DerivedSignal] = Registry("derived signal")
"""Derived signals by name."""


def derived(
    name: str,
    needs: Callable[[float], tuple[str | AnyDetector, ...]],
    *,
    variables: tuple[str, ...] = (),
    check: Callable[[Request], None] = accept,
) -> Callable[[Derive], Derive]:
    """Return a decorator that adds a function to ``DERIVED``; see :class:`DerivedSignal`.

    By default the signal has one variable, called ``name``.
    """

    def add(compute: Derive) -> Derive:
        DERIVED.add(name, DerivedSignal(needs=needs, compute=compute, variables=variables or (name,), check=check), "derived")
        return compute

    return add


def list_signals() -> Registry[Any]:
    """Return a registry of all detectors, including those of microscopes, and derived signals."""
    found: Registry[Any] = Registry("signal")
    for registry in (load_detectors(), DERIVED):
        for name in registry:
            found.add(name, registry[name], *registry.tags(name))
    return found


def split(detectors: object) -> tuple[object, tuple[str, ...]]:
    """Separate the detectors of a call from its derived signals; return the detectors and the names of the derived signals.

    If all signals are derived, the returned detectors are ``STAND_IN``, an arbitrary detector with which a request can be made.
    """
    given = (detectors,) if isinstance(detectors, str) else detectors
    if not isinstance(given, Sequence):
        return detectors, ()
    names = tuple(name for name in given if isinstance(name, str) and name in DERIVED)
    if len(set(names)) < len(names):
        message = f"A derived signal is requested twice: {', '.join(names)}. Name each signal once."
        raise SettingsError(message)
    if not names:
        return detectors, ()
    return tuple(each for each in given if each not in names) or STAND_IN, names


def with_needs(request: Request, names: tuple[str, ...], *, alone: bool) -> DerivedRequest:
    """Return a request with the additional detectors that derived signals need. The grid of the request stays the same.

    Parameters
    ----------
    request : Request
        The request without these additional detectors.
    names : tuple of str
        Names of the derived signals.
    alone : bool
        Whether only derived signals were requested. The detector ``STAND_IN``, with which the request was made, is then removed.

    Raises
    ------
    StemtwinError
        The request does not permit a derived signal.
    """
    for name in names:
        DERIVED[name].check(request)
        if taken := {_name(each) for each in request.detectors} & {*DERIVED[name].variables}:
            message = f"A detector and a variable of {name} are both named {', '.join(taken)}. Give the detector another name."
            raise SettingsError(message)
    grid, _ = choose_grid(request)
    aside = math.hypot(*request.beam.beam_tilt_mrad)
    largest = min(USUAL_OUTER_MRAD, grid.max_angle(request.beam.wavelength_angstrom) * 1e3 - aside)
    detectors = {} if alone else {_name(each): each for each in request.detectors}
    asked = len(detectors)
    for each in (each for name in names for each in DERIVED[name].needs(largest)):
        detectors.setdefault(_name(each), each)
    fixed = {} if isinstance(request.sample, PotentialSlices) else {"grid": grid.shape, "sampling_angstrom": None}
    return DerivedRequest(request=replace(request, detectors=tuple(detectors.values()), **fixed), names=names, helpers=tuple(detectors)[asked:])


def _name(detector: str | AnyDetector) -> str:
    return detector if isinstance(detector, str) else detector.name


def _frame(value: xr.DataArray) -> tuple[str, ...]:
    """Return the scan dimensions of an array."""
    return tuple(name for name in ("y", "x", "point") if name in value.dims)


# ---- centre of mass ------------------------------------------------------------------------------------------------------


def _moments(largest: float) -> tuple[AnnularDetector, ...]:
    """Return three discs of an outer angle, mrad: with uniform sensitivity, and with one that grows along y and along x."""
    disc = AnnularDetector(inner_mrad=0.0, outer_mrad=largest, name="com_total")
    along = {name: Sensitivity(slope=SLOPE, slope_azimuth_rad=azimuth) for name, azimuth in (("com_along_y", math.pi / 2), ("com_along_x", 0.0))}
    return disc, *(replace(disc, name=name, sensitivity=uneven) for name, uneven in along.items())


@derived("com", _moments, variables=("com_y", "com_x"))
def com(data: xr.Dataset, request: Request) -> dict[str, xr.DataArray]:  # noqa: ARG001 - one signature for all derived signals
    """Return the centre of mass of the diffraction pattern along +y and +x, mrad.

    For a phase object, the centre of mass is proportional to the gradient of the phase, convolved with the probe's intensity.
    """
    total = data["com_total"].astype(float)
    outer = float(data["com_total"].attrs["outer_mrad"])
    found = {}
    for axis in "yx":
        moment = outer * ((1 + SLOPE) * data[f"com_along_{axis}"].astype(float) / total - 1) / SLOPE
        found[f"com_{axis}"] = moment.assign_attrs(units="mrad", long_name=f"centre of mass along {axis}", outer_mrad=outer)
    return found


def _on_raster(request: Request) -> None:
    """Refuse a scan that does not permit the integration of a gradient."""
    scan = request.scan
    if not isinstance(scan, RasterScan) or isinstance(scan, SparseScan) or min(scan.shape) < 2:
        message = (
            f"The integration of a gradient needs a raster of at least 2 x 2 points, but the scan is a {type(scan).__name__} of shape {scan.shape}. "
            "Use a RasterScan."
        )
        raise SettingsError(message)


@derived("icom", _moments, check=_on_raster)
def icom(data: xr.Dataset, request: Request) -> dict[str, xr.DataArray]:
    """Return the integrated centre of mass (rad) with mean zero.

    The sign is that of the potential (Lazic et al., Ultramicroscopy 160 (2016) 265).
    """
    centre = com(data, request)
    tilt_x, tilt_y = request.beam.beam_tilt_mrad
    phase = _integrated(centre["com_y"] - tilt_y, centre["com_x"] - tilt_x, request)
    return {"icom": phase.assign_attrs(long_name="integrated centre of mass", outer_mrad=centre["com_y"].attrs["outer_mrad"])}


def _integrated(com_y: xr.DataArray, com_x: xr.DataArray, request: Request) -> xr.DataArray:
    """Return the phase, rad, whose gradient shifts the pattern by the given angles, mrad along y and x of the specimen."""
    scan, scale = request.scan, 2e-3 * math.pi / request.beam.wavelength_angstrom
    assert isinstance(scan, RasterScan)  # checked before
    turned = math.cos(scan.rotation_rad), math.sin(scan.rotation_rad)
    y, x = (each.transpose(..., "y", "x").to_numpy() for each in (com_y, com_x))
    gy, gx = scale * (turned[0] * y - turned[1] * x), scale * (turned[0] * x + turned[1] * y)
    periodic = _is_period(request, scan)
    out = np.empty(gy.shape)
    for place in np.ndindex(gy.shape[:-2]):
        out[place] = gradient_integration.integrate_gradient(gy[place], gx[place], scan.pitch_angstrom, periodic=periodic)
    found = com_y.transpose(..., "y", "x").copy(data=out)
    found.attrs = {"units": "rad", "boundary": "periodic" if periodic else "reflected"}
    return found


def _is_period(request: Request, scan: RasterScan) -> bool:
    """Return True if the field of view is a whole number of cells of a periodic specimen."""
    if scan.rotation_rad or not getattr(request.sample, "periodic", True):
        return False
    cells = [field / side for field, side in zip(scan.field_of_view_angstrom, request.sample.size_angstrom, strict=True)]
    return all(round(n) >= 1 and abs(n - round(n)) < 1e-9 * n for n in cells)


# ---- quadrants -----------------------------------------------------------------------------------------------------------


def _quadrants(largest: float) -> tuple[str, ...]:  # noqa: ARG001 - one signature for all derived signals
    return (QUADRANTS,)


def _segments(request: Request) -> SegmentedDetector:
    """Return the segmented detector of a request's iDPC."""
    own = next((each for each in request.detectors if not isinstance(each, str) and each.name == QUADRANTS), None)
    found = DETECTORS[QUADRANTS](request.beam.semiangle_mrad, USUAL_OUTER_MRAD) if own is None else own
    assert isinstance(found, SegmentedDetector)  # it has the name
    return found


def _holds_the_edge(request: Request) -> None:
    """Refuse segments that do not contain the edge of the bright-field disc, whose shift they measure."""
    _on_raster(request)
    detector, alpha = _segments(request), request.beam.semiangle_mrad
    if not detector.inner_mrad < alpha < detector.outer_mrad:
        message = (
            f"iDPC measures the shift of the edge of the bright-field disc, but {detector.name} from {detector.inner_mrad:g} to "
            f"{detector.outer_mrad:g} mrad does not contain that edge at semiangle_mrad={alpha:g}. Use another convergence or camera length."
        )
        raise SettingsError(message)


@derived("idpc", _quadrants, check=_holds_the_edge)
def idpc(data: xr.Dataset, request: Request) -> dict[str, xr.DataArray]:
    """Return the integrated differential phase contrast (rad) with mean zero.

    If a uniform disc shifts by a small angle d over n segments, sum_s S_s cos(azimuth_s) changes by
    d n sin(pi / n) / (pi alpha), where alpha is the convergence semi-angle and S_s are the signals, fractions of the beam.
    The shift d is computed from this sum and integrated like the centre of mass.
    """
    detector = _segments(request)
    count = detector.segments
    azimuth = xr.DataArray(detector.rotation_rad + 2 * np.pi * np.arange(count) / count, dims="segment")
    scale = math.pi * request.beam.semiangle_mrad / (count * math.sin(math.pi / count))
    signals, (tilt_x, tilt_y) = data[QUADRANTS].astype(float), request.beam.beam_tilt_mrad
    moved_y = scale * (signals * np.sin(azimuth)).sum("segment") - tilt_y
    moved_x = scale * (signals * np.cos(azimuth)).sum("segment") - tilt_x
    angles = {"inner_mrad": detector.inner_mrad, "outer_mrad": detector.outer_mrad}
    return {"idpc": _integrated(moved_y, moved_x, request).assign_attrs(long_name="integrated differential phase contrast", **angles)}
