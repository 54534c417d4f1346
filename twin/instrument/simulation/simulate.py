"""``simulate``, ``explain``, ``exit_wave``: expected signals and waves of a request, without noise."""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from stemtwin.twin import checks
from stemtwin.twin.errors import SamplingError, SettingsError
from stemtwin.twin.instrument.hardware.profiles import Profile, find_profile
from stemtwin.twin.instrument.scan import PathScan, Scan
from stemtwin.twin.instrument.settings import Beam, PlaneWave, PotentialSlices
from stemtwin.twin.instrument.simulation import derived_signals, diffraction_patterns, doubtful_physics, results, serialisation, slice_stacks
from stemtwin.twin.instrument.simulation.derived_signals import DerivedRequest
from stemtwin.twin.instrument.simulation.engines import multislice
from stemtwin.twin.instrument.simulation.engines.registry import ENGINES, Signals
from stemtwin.twin.instrument.simulation.plan import Plan, make_plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics import probe
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack, exit_coefficients
from stemtwin.twin.physics.engine.operator import beam_blocks
from stemtwin.twin.physics.grids import Grid
from stemtwin.twin.progress import Progress
from stemtwin.twin.samples.sample import Sample

WAVE_SAMPLING_ANGSTROM = 0.05
"""Default distance between points of an exit wave, A."""
NO_WAVE_SETTINGS = ("scan", "detectors", "engine")
"""Request fields that do not apply to an exit wave."""


def explain(request: Request | None = None, /, *, instrument: str | Profile | None = None, **settings: Any) -> Plan:
    """Return the plan of a request without computing the signals.

    Parameters
    ----------
    request : Request, optional
        The request; alternatively, its fields are given as keywords.
    instrument : str or Profile, optional
        Instrument whose detectors are selected by name, as in :func:`simulate`.

    Returns
    -------
    Plan
        Engine, grid, slices, beams, memory and time; ``str(plan)`` gives a small table.

    Raises
    ------
    StemtwinError
        The request cannot be computed.

    Examples
    --------
    >>> import stemtwin as st
    >>> sample = st.load_sample("srtio3-001", size_angstrom=(8, 8), thickness_angstrom=100)
    >>> beam = st.Beam(energy_ev=200e3, semiangle_mrad=20)
    >>> scan = st.RasterScan(shape=(64, 64), field_of_view_angstrom=(8, 8))
    >>> plan = st.explain(st.Request(sample=sample, beam=beam, scan=scan, detectors=("haadf",)))
    >>> plan.engine
    'operator'
    """
    asked = requested(request, None, None, settings, instrument).request
    return diffraction_patterns.plan_patterns(asked).plan if diffraction_patterns.has_camera(asked) else make_plan(asked)


def simulate(
    sample: Request | Sample | PotentialSlices | None = None,
    beam: Beam | None = None,
    scan: Scan | None = None,
    *,
    instrument: str | Profile | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> xr.Dataset:
    """Return the expected signal of each detector, as a fraction of the incident beam, without noise.

    Parameters
    ----------
    sample : Request, Sample or PotentialSlices
        A whole request, or its sample.
    beam, scan : Beam, Scan
        Beam and probe positions, unless a request is given.
    instrument : str or Profile, optional
        Instrument whose detectors are selected by name, with their angles at its default camera length. Without an
        instrument, and for names that the instrument does not have, the angles of detectors follow from the convergence
        semi-angle.
    progress : callable, optional
        Called with the number of waves completed since the last call; the numbers add up to ``explain(...).waves``.
    **settings
        Further fields of :class:`~stemtwin.twin.instrument.simulation.request.Request`, for example detectors, engine,
        phonons, seed and grid. ``detectors`` may contain the derived signals ``"com"``, ``"icom"`` and ``"idpc"``; see
        :mod:`~stemtwin.twin.instrument.simulation.derived_signals`.

    Returns
    -------
    xarray.Dataset
        One variable per detector, float32, dims (y, x) or (point,). A segmented detector has the further dimension
        segment, a depth series has the first dimension depth, and a camera has the last dimensions (ky, kx), mrad.

    Raises
    ------
    StemtwinError
        The request is invalid or cannot be computed.

    Warns
    -----
    PhysicsWarning
        A dark-field detector is combined with ``phonons="damped"``, which leaves out thermal diffuse scattering and so most
        of the dark-field signal.

    Examples
    --------
    >>> import stemtwin as st
    >>> sample = st.load_sample("mos2-1h", size_angstrom=(8, 8))
    >>> beam = st.Beam(energy_ev=60e3, semiangle_mrad=30)
    >>> scan = st.RasterScan(shape=(32, 32), field_of_view_angstrom=(8, 8))
    >>> signals = st.simulate(sample, beam, scan, detectors=("haadf", "bf"), phonons=2)
    >>> bool(signals.haadf.max() > 2 * signals.haadf.mean())
    True
    """
    asked = requested(sample, beam, scan, settings, instrument)
    doubtful_physics.warn(doubtful_physics.notes(asked.request))
    return asked.added(computed(asked.request, progress))


def computed(request: Request, progress: Progress | None = None) -> xr.Dataset:
    """Return the signals of a request's detectors, including the patterns of a camera."""
    if diffraction_patterns.has_camera(request):
        return diffraction_patterns.simulate_with_camera(request, _signals, progress)
    return _signals(request, 0.0, progress)


def _signals(request: Request, window_angstrom: float, progress: Progress | None) -> xr.Dataset:
    plan = make_plan(request, window_angstrom=window_angstrom)
    values, error, exactness = expected(request, plan, progress=progress)
    return results.to_dataset(request, used(request, plan), values, error, exactness)


def requested(sample: Any, beam: Beam | None, scan: Scan | None, settings: dict[str, Any], instrument: str | Profile | None = None) -> DerivedRequest:
    """Return the request of a call and its derived signals, with names of detectors replaced by the instrument's detectors.

    Raises
    ------
    StemtwinError
        The request is invalid.
    """
    names: tuple[str, ...] = ()
    if "detectors" in settings and not isinstance(sample, Request):
        detectors, names = derived_signals.split(settings["detectors"])
        settings = {**settings, "detectors": detectors}
    request = _of_instrument(_request(sample, beam, scan, settings, instrument), instrument)
    if not names:
        return DerivedRequest(request=request)
    found = derived_signals.with_needs(request, names, alone=settings["detectors"] is derived_signals.STAND_IN)
    return replace(found, request=_of_instrument(found.request, instrument))


def _request(sample: Any, beam: Beam | None, scan: Scan | None, settings: dict[str, Any], instrument: str | Profile | None = None) -> Request:
    """Return the request of a call, with the detectors as given."""
    given = {name: value for name, value in {"beam": beam, "scan": scan}.items() if value is not None}
    if isinstance(sample, Request):
        others = [*given, *settings, *(() if instrument is None else ("instrument",))]
        if others:
            message = f"Both a request and {', '.join(others)} are given. Put all settings into the request (dataclasses.replace)."
            raise SettingsError(message)
        return sample
    if sample is not None:
        given["sample"] = sample
    try:
        return Request(**given, **settings)
    except TypeError as error:
        message = f"This request cannot be created: {str(error).removeprefix('Request.__init__() ')}. It needs sample, beam and scan; see st.Request."
        raise SettingsError(message) from None


def _of_instrument(request: Request, instrument: str | Profile | None) -> Request:
    """Return a request with the detectors of an instrument in place of their names."""
    if instrument is None:
        return request
    profile = find_profile(instrument)
    return replace(request, detectors=tuple(profile.detector(d) or d if isinstance(d, str) else d for d in request.detectors))


def expected(request: Request, plan: Plan, *, progress: Progress | None = None) -> Signals:
    """Return the signals that a plan's engine computes for a request, their relative standard errors, and their accuracy."""
    return ENGINES[plan.engine].signals(request, plan, progress)


def used(request: Request, plan: Plan) -> Plan:
    """Return the plan of computed signals, updated with the number of phonon configurations that were computed."""
    found = ENGINES[plan.engine].used
    return plan if found is None else found(request, plan)


def exit_wave(
    sample: Sample | PotentialSlices,
    beam: Beam | PlaneWave,
    *,
    position_angstrom: tuple[float, float] = (0.0, 0.0),
    phonons: int | str = "static",
    **settings: Any,
) -> xr.Dataset:
    """Return the wave at the exit face, or at several depths.

    Parameters
    ----------
    sample : Sample or PotentialSlices
        The sample.
    beam : Beam or PlaneWave
        A coherent beam; source size and focal spread must be 0.
    position_angstrom : tuple of float
        Position (x, y) of a convergent probe, A.
    phonons : int or str
        ``"static"`` (default), ``"damped"``, or a number of frozen-phonon configurations.
    **settings
        seed, grid, sampling_angstrom (by default 0.05 A), slice_thickness_angstrom, parametrization, antialias, oversampling,
        tilt_mrad, depths_angstrom and ``blocks=(1, 1)`` as in ``Request``.

    Returns
    -------
    xarray.Dataset
        ``wave_real`` and ``wave_imag``, float32, dims (configuration, y, x); a depth series has dims (configuration, depth, y, x).
        A plane wave has amplitude 1. For a probe, the integral of abs(wave)^2 over the cell is the fraction of the beam in the cell.

    Raises
    ------
    SettingsError
        The beam is partially coherent, or a setting does not apply to a wave.
    SamplingError
        The probe is wider than the cell, or the grid does not reach the angles of the aperture.

    Examples
    --------
    >>> import stemtwin as st
    >>> sample = st.load_sample("mos2-1h", size_angstrom=(24, 24))
    >>> beam = st.Beam(energy_ev=60e3, semiangle_mrad=30)
    >>> wave = st.exit_wave(sample, beam, position_angstrom=(12, 12), phonons=2)
    >>> wave.wave_real.dims
    ('configuration', 'y', 'x')
    """
    position = checks.pair("position_angstrom", position_angstrom, "A")
    request = _wave_request(sample, beam, position, {**settings, "phonons": phonons})
    plan = make_plan(replace(request, beam=replace(request.beam, beam_tilt_mrad=(0.0, 0.0))))  # no detector needs a margin for a tilt
    if plan.blocks != (1, 1):
        message = (
            f"The probe does not fit the cell of {plan.grid.extent[0]:.1f} x {plan.grid.extent[1]:.1f} A. "
            "Use a larger cell (size_angstrom) or smaller aberrations."
        )
        raise SamplingError(message)
    waves = np.array([_waves(stack, request, beam, position) for stack in slice_stacks.stacks(request, plan)])
    return _wave_dataset(request, plan, beam, waves)


def _wave_request(sample: Sample | PotentialSlices, beam: Beam | PlaneWave, position: tuple[float, float], settings: dict[str, Any]) -> Request:
    """Return the request of an exit wave, with a narrow beam in place of a plane wave; settings and errors are those of :func:`exit_wave`."""
    _check_wave_settings(beam, settings)
    if settings.get("grid") is None and settings.get("sampling_angstrom") is None and isinstance(sample, Sample):
        settings["sampling_angstrom"] = WAVE_SAMPLING_ANGSTROM
    if isinstance(beam, Beam):
        stand_in, at = beam, position
    else:  # a plane wave fills the cell and has no position
        stand_in, at = Beam(energy_ev=beam.energy_ev, semiangle_mrad=1.0), (0.0, 0.0)
        settings.setdefault("blocks", (1, 1))
    scan = PathScan(positions_angstrom=np.array([at]))
    request = _request(sample, stand_in, scan, {**settings, "detectors": ("bf",), "engine": multislice.NAME, "tolerance": 0.0})
    if request.blocks not in (None, (1, 1)):
        message = f"An exit wave is computed in one cell, but blocks={request.blocks} requests more. Use blocks=(1, 1), or omit blocks."
        raise SettingsError(message)
    return request


def _check_wave_settings(beam: Beam | PlaneWave, settings: dict[str, Any]) -> None:
    """Refuse settings that do not apply to a wave, and a partially coherent beam."""
    if meaningless := [name for name in NO_WAVE_SETTINGS if name in settings]:
        message = f"An exit wave has no {', '.join(meaningless)}: multislice computes it, and no detector is involved. Omit these settings."
        raise SettingsError(message)
    if not isinstance(beam, (Beam, PlaneWave)):
        message = f"beam={beam!r} is not a Beam or PlaneWave. Use st.PlaneWave(energy_ev=...) or st.Beam(...)."
        raise SettingsError(message)
    if isinstance(beam, Beam) and (beam.source_size_angstrom or beam.focal_spread_angstrom):
        message = "A partially coherent beam is not a single wave. Set source_size_angstrom and focal_spread_angstrom to 0."
        raise SettingsError(message)


def _waves(stack: SliceStack, request: Request, beam: Beam | PlaneWave, position: tuple[float, float]) -> np.ndarray:
    """Return waves, complex64, shape (ny, nx), or (depths, ny, nx)."""
    grid, antialias = stack.grid, request.antialias
    if isinstance(beam, PlaneWave):
        beams, coefficients, scale = np.array([0]), np.ones((1, 1), np.complex64), 1.0
    else:
        beams = beam_blocks.aperture_beams(grid, stack.wavelength, beam.semiangle_rad, (0.0, 0.0), (1, 1), antialias=antialias)
        ky, kx = grid.ky[beams // grid.shape[1]], grid.kx[beams % grid.shape[1]]
        a = probe.amplitudes(ky, kx, grid.reciprocal_sampling, stack.wavelength, beam.semiangle_rad, beam.aberrations, antialias=antialias)
        coefficients = (a * np.exp(-2j * np.pi * (kx * position[0] + ky * position[1])))[None].astype(np.complex64)
        scale = 1 / np.sqrt(grid.extent[0] * grid.extent[1])
    inside = np.flatnonzero(grid.band)
    found = exit_coefficients(stack, beams, coefficients, inside, depths=request.depths_angstrom)[..., 0, :]
    points = grid.shape[0] * grid.shape[1]
    full = np.zeros((*found.shape[:-1], points), np.complex64)
    full[..., inside] = found
    waves = np.fft.ifft2(full.reshape(*found.shape[:-1], *grid.shape)) * points * scale
    if isinstance(beam, Beam) and any(beam.tilt_rad):
        depth = np.asarray(stack.thickness if request.depths_angstrom is None else request.depths_angstrom)
        waves = waves * _direction(grid, stack.wavelength, beam.tilt_rad, depth)
    return waves.astype(np.complex64)


def _direction(grid: Grid, wavelength: float, tilt: tuple[float, float], depth: np.ndarray) -> np.ndarray:
    """Return the factors between waves and waves relative to a tilted beam, exp(2 pi i q.r - i pi lambda depth q^2).

    Their shape is (..., ny, nx), with the leading dimensions of ``depth``.
    """
    if math.hypot(*tilt) > grid.max_angle(wavelength) / 2:
        message = (
            f"A beam tilt of {math.hypot(*tilt) * 1e3:.1f} mrad exceeds the band limit of a sampling of {max(grid.sampling):.4g} A. "
            f"Use sampling_angstrom <= {wavelength * (1 - 1e-6) / (6 * math.hypot(*tilt)):.3g} or a smaller beam_tilt_mrad."
        )
        raise SamplingError(message)
    qy, qx = (t / wavelength for t in tilt)
    y, x = (step * np.arange(n) for step, n in zip(grid.sampling, grid.shape, strict=True))
    return np.exp(2j * np.pi * (qy * y[:, None] + qx * x - wavelength * (qy**2 + qx**2) * depth[..., None, None] / 2))


def _wave_dataset(request: Request, plan: Plan, beam: Beam | PlaneWave, waves: np.ndarray) -> xr.Dataset:
    attrs = results.describe(request, plan, "reference")
    settings = json.loads(attrs["stemtwin_settings"])
    del settings["detectors"]
    if isinstance(beam, PlaneWave):
        del attrs["semiangle_mrad"], settings["scan"]
        settings["beam"] = {"energy_ev": beam.energy_ev}
    else:
        settings["scan"] = serialisation.scan_to_dict(request.scan)
    attrs |= {"title": "exit wave", "stemtwin_settings": json.dumps(settings)}
    (dy, dx), (ny, nx) = plan.grid.sampling, plan.grid.shape
    depth = results.depth(request)
    dims, here = ("configuration", *depth, "y", "x"), {"units": "1" if isinstance(beam, PlaneWave) else "1/angstrom"}
    return xr.Dataset(
        {"wave_real": (dims, np.real(waves), here), "wave_imag": (dims, np.imag(waves), here)},
        {**depth, "y": ("y", dy * np.arange(ny), results.LENGTH), "x": ("x", dx * np.arange(nx), results.LENGTH)},
        attrs,
    )
