"""``simulate``, ``explain``, ``exit_wave``: from a request to expected signals, without noise."""

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument import operators, specimen
from stemtwin.twin.instrument.plan import Plan, make_plan, quadrature_nodes
from stemtwin.twin.instrument.request import Request, beam_to_dict, scan_to_dict
from stemtwin.twin.instrument.scan import PathScan, RasterScan, Scan
from stemtwin.twin.instrument.settings import Beam, PlaneWave, PotentialSlices
from stemtwin.twin.physics import probe
from stemtwin.twin.physics.engine import imaging, probes
from stemtwin.twin.physics.engine.multislice import exit_coefficients
from stemtwin.twin.samples.sample import Sample

Progress = Callable[[int], None]


def explain(request: Request | None = None, /, **settings: Any) -> Plan:
    """Say how a request will be computed, before any work.

    Parameters
    ----------
    request : Request
        The request; or its fields as keywords.

    Returns
    -------
    Plan
        Engine, grid, slices, beams, memory, time; ``str()`` of it is a small table.

    Raises
    ------
    StemtwinError
        The request cannot be computed.
    """
    return make_plan(_request(request, None, None, settings))


def simulate(
    sample: Request | Sample | PotentialSlices | None = None,
    beam: Beam | None = None,
    scan: Scan | None = None,
    *,
    progress: Progress | None = None,
    **settings: Any,
) -> xr.Dataset:
    """Return the expected signal of each detector, as a fraction of the incident beam, without noise.

    Parameters
    ----------
    sample : Request, Sample or PotentialSlices
        A whole request, or its specimen.
    beam, scan : Beam, Scan
        The beam and where it goes, if no request is given.
    progress : callable, optional
        Called with the number of waves done, out of ``explain(...).waves``.
    **settings
        Further fields of :class:`~stemtwin.twin.instrument.request.Request`: detectors, engine, phonons, seed, grid, ...

    Returns
    -------
    xarray.Dataset
        One variable per detector, float32, dims (y, x) or (point,), with a dimension segment where it has segments.

    Raises
    ------
    StemtwinError
        The request makes no sense or cannot be computed.
    """
    request = _request(sample, beam, scan, settings)
    plan = make_plan(request)
    values, error = expected(request, plan, progress=progress)
    return to_dataset(request, plan, values, error)


def _request(sample: Any, beam: Beam | None, scan: Scan | None, settings: dict[str, Any]) -> Request:
    given = {name: value for name, value in {"beam": beam, "scan": scan}.items() if value is not None}
    if isinstance(sample, Request):
        if given or settings:
            message = f"A whole request and {', '.join([*given, *settings])} are given. Put everything into the request (dataclasses.replace)."
            raise SettingsError(message)
        return sample
    if sample is not None:
        given["sample"] = sample
    try:
        return Request(**given, **settings)
    except TypeError as error:
        message = f"This request cannot be made: {str(error).removeprefix('Request.__init__() ')}. It needs sample, beam and scan; see st.Request."
        raise SettingsError(message) from None


def expected(request: Request, plan: Plan, *, progress: Progress | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return signals of all channels, float64 or float32, shape (channels, ...) like the scan, and their relative standard error per channel."""
    if plan.engine == "operator":
        operator = operators.operator_for(request, plan, progress=progress)
        return operator_signals(operator, request), operator.standard_error
    if plan.engine == "abtem":
        from stemtwin.twin.instrument import abtem_engine  # noqa: PLC0415 - abTEM is slow to import and seldom asked for

        configurations = [
            _averaged(request, lambda at, aberrations, c=c: abtem_engine.signals(request, plan, c, at, aberrations))
            for c in range(plan.configurations)
        ]
    else:
        weights = operators.detector_weights(request, plan)
        configurations = [
            _averaged(
                request,
                lambda at, aberrations, stack=stack: probes.probe_signals(
                    stack,
                    at,
                    aberrations,
                    request.beam.semiangle_rad,
                    weights,
                    blocks=plan.blocks,
                    antialias=request.antialias,
                    progress=progress,
                ),
            )
            for stack in specimen.stacks(request, plan)
        ]
    values = np.array(configurations)
    mean, count = values.mean(axis=0), len(values)
    error = np.full(mean.shape[0], np.nan)
    if count > 1:
        error = np.sqrt((values.var(axis=0, ddof=1) / count).reshape(len(mean), -1).mean(-1)) / np.maximum(mean.reshape(len(mean), -1).mean(-1), 1e-30)
    return mean, error


def _averaged(request: Request, coherent: Callable[[np.ndarray, Any], np.ndarray]) -> np.ndarray:
    """Average coherent signals over focal spread and source size by Gauss-Hermite nodes."""
    points = request.scan.positions()
    flat = points.reshape(-1, 2)
    (focus, focus_weights), (source, source_weights) = quadrature_nodes(request)
    aberrations = request.beam.aberrations
    total = None
    for df, wf in zip(focus, focus_weights, strict=True):
        state = replace(aberrations, C10=aberrations.C10 + float(df))
        shifts = list(itertools.product(source, source))
        weights = np.outer(source_weights, source_weights).ravel() * wf
        at = np.concatenate([flat + shift for shift in shifts])
        values = coherent(at, state).reshape(-1, len(shifts), len(flat))
        part = np.einsum("csp,s->cp", values, weights)
        total = part if total is None else total + part
    assert total is not None  # noqa: S101 - there is at least one node
    return total.reshape(len(total), *points.shape[:-1])


def operator_signals(operator: imaging.ImagingOperator, request: Request) -> np.ndarray:
    """Return signals from an operator, float32, shape (channels, ...) like the scan; slightly negative values of rounding become 0."""
    beam, scan = request.beam, request.scan
    image = operator.image(
        beam.aberrations, semiangle=beam.semiangle_rad, source_size=beam.source_size_angstrom, focal_spread=beam.focal_spread_angstrom
    )
    if isinstance(scan, RasterScan) and scan.rotation_rad == 0:
        (dy, dx), (ox, oy) = scan.pitch_angstrom, scan.origin_angstrom
        values = image.raster(oy + dy * np.arange(scan.shape[0]), ox + dx * np.arange(scan.shape[1]))
    else:
        values = image.at(scan.positions())
    return np.maximum(values, 0)


def to_dataset(request: Request, plan: Plan, values: np.ndarray, error: np.ndarray) -> xr.Dataset:
    """Return signals as a Dataset with coordinates in A and everything that made them in its attributes."""
    dims, coords = scan_coordinates(request.scan)
    variables, channel = {}, 0
    attrs = describe(request, plan)
    for detector in plan.detectors:
        count = getattr(detector, "segments", 1)
        part = np.asarray(values[channel : channel + count], np.float32)
        here = {"units": "1", "long_name": "fraction of the incident beam", "inner_mrad": detector.inner_mrad, "outer_mrad": detector.outer_mrad}
        if np.isfinite(error[channel]):
            here["relative_standard_error"] = float(error[channel : channel + count].max())
        variables[detector.name] = (("segment", *dims), part, here) if count > 1 else (dims, part[0], here)
        channel += count
    return xr.Dataset(variables, coords, attrs)


def scan_coordinates(scan: Scan) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return dims and coordinates (A) of a scan: the frame's own y and x, or x and y of each point."""
    units = {"units": "angstrom"}
    if isinstance(scan, PathScan):
        at = scan.positions()
        return ("point",), {"x": ("point", at[:, 0], units), "y": ("point", at[:, 1], units)}
    (dy, dx), (ox, oy) = scan.pitch_angstrom, scan.origin_angstrom
    y, x = oy + dy * np.arange(scan.shape[0]), ox + dx * np.arange(scan.shape[1])
    return ("y", "x"), {"y": ("y", y, units), "x": ("x", x, units)}


def describe(request: Request, plan: Plan) -> dict[str, Any]:
    """Return the attributes of a result: strings and numbers only."""
    from stemtwin import __version__  # noqa: PLC0415 - the front door knows the version

    sample = request.sample
    settings = {
        "beam": beam_to_dict(request.beam),
        "scan": scan_to_dict(request.scan) if isinstance(request.scan, RasterScan) else {"kind": "path", "points": request.scan.shape[0]},
        "detectors": [{"name": d.name, "inner_mrad": d.inner_mrad, "outer_mrad": d.outer_mrad} for d in plan.detectors],
        "engine": plan.engine,
        "phonons": request.phonons,
        "configurations": plan.configurations,
        "seed": request.seed,
        "parametrization": request.parametrization,
        "antialias": request.antialias,
        "oversampling": request.oversampling,
        "grid": plan.grid.shape,
        "sampling_angstrom": plan.grid.sampling,
        "planes_angstrom": [round(float(z), 6) for z in plan.slices.planes],
        "blocks": plan.blocks,
    }
    return {
        "title": "simulated STEM signals",
        "stemtwin_version": __version__,
        "engine": plan.engine,
        "engine_error": "exact: the same as multislice to rounding" if plan.engine == "operator" else "reference",
        "sample": "potential" if isinstance(sample, PotentialSlices) else sample.name,
        "thickness_angstrom": float(plan.thickness),
        "energy_ev": request.beam.energy_ev,
        "semiangle_mrad": request.beam.semiangle_mrad,
        "notes": "; ".join(plan.notes),
        "stemtwin_settings": json.dumps(settings),
    }


def exit_wave(
    sample: Sample | PotentialSlices,
    beam: Beam | PlaneWave,
    *,
    position_angstrom: tuple[float, float] = (0.0, 0.0),
    phonons: int | str = "static",
    **settings: Any,
) -> xr.Dataset:
    """Return the wave at the exit face.

    Parameters
    ----------
    sample : Sample or PotentialSlices
        The specimen.
    beam : Beam or PlaneWave
        A coherent beam; source size and focal spread must be 0.
    position_angstrom : tuple of float
        Where a convergent probe is, (x, y), A.
    phonons : int or str
        ``"static"`` (default), ``"damped"``, or a number of frozen-phonon configurations.
    **settings
        seed, grid, sampling_angstrom, slice_thickness_angstrom, parametrization, antialias, oversampling as in ``Request``.

    Returns
    -------
    xarray.Dataset
        ``wave_real`` and ``wave_imag``, float32, dims (configuration, y, x). A plane wave has amplitude 1; the square of a probe, summed over A^2, is the
        part of the beam inside the window.

    Raises
    ------
    SettingsError
        The beam is partially coherent, or the engine has no waves.
    """
    if settings.get("engine", "multislice") != "multislice":
        message = f"engine={settings['engine']!r} has no exit wave. Use engine='multislice'."
        raise SettingsError(message)
    if isinstance(beam, Beam) and (beam.source_size_angstrom or beam.focal_spread_angstrom):
        message = "A partially coherent beam has no single wave. Set source_size_angstrom and focal_spread_angstrom to 0."
        raise SettingsError(message)
    at = PathScan(positions_angstrom=np.array([position_angstrom], dtype=float))
    stand_in = beam if isinstance(beam, Beam) else Beam(energy_ev=beam.energy_ev, semiangle_mrad=1.0)
    widest = 1e3 * stand_in.wavelength_angstrom * (1 / 3) / 0.05  # 0.05 A sampling where nothing else is asked
    if settings.get("grid") is None and settings.get("sampling_angstrom") is None and isinstance(sample, Sample):
        settings["sampling_angstrom"] = min(0.05, stand_in.wavelength_angstrom / (3e-3 * max(stand_in.semiangle_mrad * 1.5, min(widest, 100.0))))
    request = Request(sample=sample, beam=stand_in, scan=at, detectors=("bf",), **{**settings, "engine": "multislice", "phonons": phonons})
    plan = make_plan(request)
    if plan.blocks != (1, 1) and isinstance(beam, Beam):
        message = (
            f"The probe does not fit the cell of {plan.grid.extent[0]:.1f} x {plan.grid.extent[1]:.1f} A. Use a larger cell (size_angstrom) or smaller aberrations."
        )
        raise SettingsError(message)
    waves = np.array([_one_wave(stack, beam, position_angstrom, antialias=request.antialias) for stack in specimen.stacks(request, plan)])
    units = {"units": "angstrom"}
    (dy, dx), (ny, nx) = plan.grid.sampling, plan.grid.shape
    dims = ("configuration", "y", "x")
    return xr.Dataset(
        {"wave_real": (dims, waves.real.copy(), {"units": "1"}), "wave_imag": (dims, waves.imag.copy(), {"units": "1"})},
        {"y": ("y", dy * np.arange(ny), units), "x": ("x", dx * np.arange(nx), units)},
        {**describe(request, plan), "title": "exit wave"},
    )


def _one_wave(stack: Any, beam: Beam | PlaneWave, position: tuple[float, float], *, antialias: bool) -> np.ndarray:
    grid = stack.grid
    if isinstance(beam, PlaneWave):
        beams, coefficients, scale = np.array([0]), np.ones((1, 1), np.complex64), 1.0
    else:
        beams = imaging.aperture_beams(grid, stack.wavelength, beam.semiangle_rad, (0.0, 0.0), (1, 1), antialias=antialias)
        ky, kx = grid.ky[beams // grid.shape[1]], grid.kx[beams % grid.shape[1]]
        a = probe.amplitudes(ky, kx, grid.reciprocal_sampling, stack.wavelength, beam.semiangle_rad, beam.aberrations, antialias=antialias)
        coefficients = (a * np.exp(-2j * np.pi * (kx * position[0] + ky * position[1])))[None].astype(np.complex64)
        scale = 1 / np.sqrt(grid.extent[0] * grid.extent[1])
    inside = np.flatnonzero(grid.band)
    full = np.zeros(grid.shape, np.complex64)
    full.flat[inside] = exit_coefficients(stack, beams, coefficients, inside)[0]
    return (np.fft.ifft2(full) * full.size * scale).astype(np.complex64)


