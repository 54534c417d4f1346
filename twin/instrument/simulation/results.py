"""Signals as xarray Datasets, with coordinates in A and all settings as attributes that files can store."""

import json
from typing import Any

import numpy as np
import xarray as xr

from stemtwin.twin.instrument.scan import PathScan, RasterScan, Scan, SparseScan
from stemtwin.twin.instrument.settings import PotentialSlices
from stemtwin.twin.instrument.simulation import serialisation
from stemtwin.twin.instrument.simulation.plan import Plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.samples.sample import Sample

LENGTH = {"units": "angstrom"}


def to_dataset(request: Request, plan: Plan, values: np.ndarray, error: np.ndarray, exactness: str) -> xr.Dataset:
    """Return the result of ``simulate.expected`` as a Dataset.

    Each signal has its relative standard error as an attribute; in a depth series this attribute is the largest error over all depths.
    """
    signal = {"units": "1", "long_name": "fraction of the incident beam"}
    values = values.astype(np.float32)
    if request.depths_angstrom is not None:
        values, error = values.reshape(request.faces, -1, *values.shape[1:]), error.reshape(request.faces, -1).max(axis=0)
    return xr.Dataset(
        variables(request, plan, values, error, signal), {**depth(request), **coordinates(request.scan)}, describe(request, plan, exactness)
    )


def variables(request: Request, plan: Plan, values: np.ndarray, error: np.ndarray, attrs: dict[str, Any]) -> dict[str, Any]:
    """Return one variable per detector from values of shape (channels, ...) with the scan's dimensions.

    An axis of frames or depths may precede the channels.
    """
    many = "depth" if request.depths_angstrom is not None else "frame"
    first = (many,) if values.ndim > 1 + len(request.scan.shape) else ()
    values = values if first else values[None]
    out, channel = {}, 0
    for detector in plan.detectors:
        part = values[:, channel : channel + detector.channels]
        here = {**attrs, "inner_mrad": detector.inner_mrad, "outer_mrad": detector.outer_mrad}
        worst = error[channel : channel + detector.channels].max()
        if np.isfinite(worst):
            here["relative_standard_error"] = float(worst)
        segment = ("segment",) if detector.channels > 1 else ()
        part = part if segment else part[:, 0]
        out[detector.name] = ((*first, *segment, *dimensions(request.scan)), part if first else part[0], here)
        channel += detector.channels
    return out


def dimensions(scan: Scan) -> tuple[str, ...]:
    """Return the names of a scan's dimensions."""
    return scan.dims


def coordinates(scan: Scan) -> dict[str, Any]:
    """Return the coordinates of a scan, A: y and x of the frame (and the mask of a sparse scan), or x and y of each point."""
    if not isinstance(scan, RasterScan):
        at = scan.positions()
        return {"x": ("point", at[:, 0], LENGTH), "y": ("point", at[:, 1], LENGTH)}
    (dy, dx), (ox, oy) = scan.pitch_angstrom, scan.origin_angstrom
    own = {"y": ("y", oy + dy * np.arange(scan.shape[0]), LENGTH), "x": ("x", ox + dx * np.arange(scan.shape[1]), LENGTH)}
    return own | ({"visited": (scan.dims, scan.visited)} if isinstance(scan, SparseScan) else {})


def depth(request: Request) -> dict[str, Any]:
    """Return the coordinate of a depth series, A; return an empty dict if the request is not a depth series."""
    if request.depths_angstrom is None:
        return {}
    return {"depth": ("depth", np.array(request.depths_angstrom), LENGTH)}


def describe(request: Request, plan: Plan, exactness: str) -> dict[str, Any]:
    """Return the attributes of a result, which are strings and numbers."""
    settings = {
        "beam": serialisation.beam_to_dict(request.beam),
        **visible_settings(request, plan),
        "seed": request.seed,
        "grid": plan.grid.shape,
        "sampling_angstrom": plan.grid.sampling,
        "planes_angstrom": [round(float(z), 6) for z in plan.slices.planes],
        "blocks": plan.blocks,
        "tilt_mrad": request.tilt_mrad,
        **({} if request.depths_angstrom is None else {"depths_angstrom": request.depths_angstrom}),
    }
    return {
        "title": "simulated STEM signals",
        **visible(request.sample, request.beam.energy_ev, request.beam.semiangle_mrad, plan.engine),
        "engine_error": exactness,
        "thickness_angstrom": float(plan.thickness),
        "notes": "; ".join(plan.notes),
        "stemtwin_settings": json.dumps(settings),
    }


def visible(sample: Sample | PotentialSlices, energy_ev: float, semiangle_mrad: float, engine: str | None) -> dict[str, Any]:
    """Return the attributes that a user of the instrument is allowed to see.

    The attributes reveal neither the specimen's structure nor the true state of the optics. ``engine=None`` omits the engine, for
    signals that no engine computes.
    """
    from stemtwin import __version__  # the front door knows the version

    return {
        "stemtwin_version": __version__,
        **({} if engine is None else {"engine": engine}),
        "sample": "potential" if isinstance(sample, PotentialSlices) else sample.name,
        "energy_ev": energy_ev,
        "semiangle_mrad": semiangle_mrad,
    }


def visible_scan(scan: Scan) -> dict[str, Any]:
    """Return the settings of a scan that a user of the instrument is allowed to see; for a path, only the number of points."""
    return {"kind": "path", "points": scan.shape[0]} if isinstance(scan, PathScan) else serialisation.scan_to_dict(scan)


def visible_settings(request: Request, plan: Plan) -> dict[str, Any]:
    """Return the settings of a request that a user of the instrument is allowed to see."""
    return {
        "scan": visible_scan(request.scan),
        "detectors": [serialisation.detector_to_dict(d) for d in plan.detectors],
        "engine": plan.engine,
        "phonons": request.phonons,
        "configurations": plan.configurations,
        **({} if plan.average is None else {"lattice_translations": plan.average.translations.count}),
        **({"point_group": len(plan.average.turns)} if plan.average is not None and plan.average.turns else {}),
        "parametrization": request.parametrization,
        "antialias": request.antialias,
        "oversampling": request.oversampling,
    }
