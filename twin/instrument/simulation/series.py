"""``simulate_series``, ``explain_series``: defocus, aberration, tilt and depth series in one Dataset."""

import itertools
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import xarray as xr

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.hardware.profiles import Profile
from stemtwin.twin.instrument.scan import Scan
from stemtwin.twin.instrument.settings import Beam, PotentialSlices
from stemtwin.twin.instrument.simulation import diffraction_patterns, doubtful_physics, results, serialisation, simulate
from stemtwin.twin.instrument.simulation.derived_signals import DerivedRequest
from stemtwin.twin.instrument.simulation.engines.registry import DENSE, ENGINES, REIMAGING
from stemtwin.twin.instrument.simulation.plan import Plan, make_plan
from stemtwin.twin.instrument.simulation.request import AUTO, Request
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.progress import Progress
from stemtwin.twin.samples.sample import Sample

DEFOCUS = "defocus"
"""Underfocus, -C10, A."""
ABERRATIONS = (*(item.name for item in fields(Aberrations)), DEFOCUS)
"""Series variables of the optics. One operator computes the images for all their values."""
TILTS = {"tilt_mrad": ("tilt", ("tilt_y", "tilt_x")), "beam_tilt_mrad": ("beam_tilt", ("beam_tilt_x", "beam_tilt_y"))}
"""Series variables that tilt specimen or beam: setting -> (dimension, coordinates of its two components)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesVariable:
    """Quantity that varies in a series.

    Parameters
    ----------
    name : str
        An aberration, ``"defocus"``, ``"tilt_mrad"`` or ``"beam_tilt_mrad"``.
    values : tuple
        Numbers, A or rad; for a tilt, pairs of numbers, mrad.
    """

    name: str
    values: tuple[Any, ...]

    @property
    def dimension(self) -> str:
        """Name of the dimension in the result."""
        return TILTS[self.name][0] if self.name in TILTS else self.name

    def coordinates(self) -> dict[str, Any]:
        """Return the coordinates, with units."""
        if self.name not in TILTS:
            units = "rad" if self.name.startswith("phi") else "angstrom"
            return {self.name: (self.name, np.array(self.values), {"units": units})}
        parts = zip(TILTS[self.name][1], np.array(self.values).T, strict=True)
        return {name: (self.dimension, values, {"units": "mrad"}) for name, values in parts}


def simulate_series(
    sample: Request | Sample | PotentialSlices,
    beam: Beam | None = None,
    scan: Scan | None = None,
    *,
    instrument: str | Profile | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> xr.Dataset:
    """Return the expected signals of a series over defocus, other aberrations, tilts or depths, or all their combinations.

    Parameters
    ----------
    sample, beam, scan, instrument
        As in :func:`~stemtwin.twin.instrument.simulation.simulate.simulate`; the beam contains the constant settings.
    progress : callable, optional
        Called with the number of waves completed since the last call.
    **settings
        Sequences of values for one or more variables: aberrations by name (``C10=(-50, 0, 50)``, A, ``phi12=...``, rad),
        ``defocus`` (-C10, A), ``tilt_mrad`` and ``beam_tilt_mrad`` (sequences of pairs), and ``depths_angstrom``. All
        other settings are those of ``simulate``.

    Returns
    -------
    xarray.Dataset
        Result like that of ``simulate``. Its first dimensions are those of the variables, in the given order, followed by
        ``depth`` for a depth series. The dimension of an aberration has the name and the values of the aberration;
        ``tilt`` has the coordinates ``tilt_y`` and ``tilt_x``, and ``beam_tilt`` has the coordinates ``beam_tilt_x`` and
        ``beam_tilt_y``, mrad.

    Raises
    ------
    SettingsError
        No setting is a series, or the values of a variable are not a sequence.
    StemtwinError
        A member of the series is invalid or cannot be computed.

    Notes
    -----
    Further values of an aberration take milliseconds: one imaging operator, built for the widest probe, gives all images.
    The values equal those of single calls with the engine and the ``blocks`` that the attribute ``stemtwin_settings``
    states. Each tilt needs a separate calculation.

    Examples
    --------
    >>> import stemtwin as st
    >>> sample = st.load_sample("mos2-1h", size_angstrom=(8, 8))
    >>> beam = st.Beam(energy_ev=60e3, semiangle_mrad=30)
    >>> scan = st.RasterScan(shape=(16, 16), field_of_view_angstrom=(8, 8))
    >>> series = st.simulate_series(sample, beam, scan, detectors=("haadf",), phonons=1, defocus=(-50, 0, 50))
    >>> dict(series.haadf.sizes)
    {'defocus': 3, 'y': 16, 'x': 16}
    """
    asked = _asked(sample, beam, scan, settings, instrument)
    doubtful_physics.warn(doubtful_physics.notes(asked.base.request))
    found: dict[int, xr.Dataset] = {}
    for turned, numbers in asked.groups:
        found |= zip(numbers, _members(turned, asked.beams(turned, numbers), progress), strict=True)
    return _together(asked.base.request, asked.varied, [found[number] for number in range(len(asked.points))])


def explain_series(
    sample: Request | Sample | PotentialSlices,
    beam: Beam | None = None,
    scan: Scan | None = None,
    *,
    instrument: str | Profile | None = None,
    **settings: Any,
) -> Plan:
    """Return the plan of a series: the plan of its first tilt, with the number of waves and the time of the whole series.

    Parameters and errors are those of :func:`simulate_series`.
    """
    asked = _asked(sample, beam, scan, settings, instrument)
    plans = [_plan_of_members(turned, asked.beams(turned, numbers)) for turned, numbers in asked.groups]
    waves, seconds = sum(plan.waves for plan in plans), sum(plan.seconds for plan in plans)
    return replace(plans[0], waves=waves, seconds=seconds, memory_bytes=max(plan.memory_bytes for plan in plans))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Asked:
    """A series: its base request, its variables, the values of each member, and the members of each tilt."""

    base: DerivedRequest
    varied: list[SeriesVariable]
    points: list[dict[str, Any]]
    groups: list[tuple[DerivedRequest, list[int]]]

    def beams(self, turned: DerivedRequest, numbers: Sequence[int]) -> list[Beam]:
        """Return the beams of members."""
        return [_aberrated(turned.request.beam, self.points[number]) for number in numbers]


def _asked(sample: Any, beam: Beam | None, scan: Scan | None, settings: dict[str, Any], instrument: str | Profile | None) -> _Asked:
    """Return the series of a call.

    Raises
    ------
    StemtwinError
        Nothing varies, or a member is invalid.
    """
    varied, others = _split(settings)
    if not varied and others.get("depths_angstrom") is None and not (isinstance(sample, Request) and sample.depths_angstrom is not None):
        message = (
            "Nothing varies in this series. Give a sequence, for example C10=(-50, 0, 50), tilt_mrad=((0, 0), (5, 0)) or depths_angstrom=(20, 40)."
        )
        raise SettingsError(message)
    base = simulate.requested(sample, beam, scan, others, instrument)
    points = [dict(zip((v.name for v in varied), values, strict=True)) for values in itertools.product(*(v.values for v in varied))]
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, point in enumerate(points):
        groups.setdefault(tuple(point.get(name) for name in TILTS), []).append(number)
    turned = []
    for values, numbers in groups.items():
        tilts = {name: tilt for name, tilt in zip(TILTS, values, strict=True) if tilt is not None}
        turned.append((_tilted(sample, base.request, scan, others, tilts, instrument) if tilts else base, numbers))
    return _Asked(base=base, varied=varied, points=points, groups=turned)


def _plan_of_members(asked: DerivedRequest, beams: Sequence[Beam]) -> Plan:
    """Return the plan of one tilt and several states of the optics, with the waves and the time of all."""
    requests = [replace(asked.request, beam=beam) for beam in beams]
    if diffraction_patterns.has_camera(asked.request):
        plan, times = diffraction_patterns.plan_patterns(_widest(requests)).plan, len(requests)
    else:
        plan = _plan(_widest(requests), len(requests))
        times = 1 if ENGINES[plan.engine].series is not None else len(requests)
    return replace(plan, waves=times * plan.waves, seconds=times * plan.seconds)


def _widest(requests: Sequence[Request]) -> Request:
    """Return the request with the widest probe."""
    return max(requests, key=lambda each: each.beam.probe_radius(each.sample.thickness_angstrom))


def _split(settings: dict[str, Any]) -> tuple[list[SeriesVariable], dict[str, Any]]:
    """Return the series variables, in the given order, and the other settings."""
    varied, others = [], {}
    for name, value in settings.items():
        if name in ABERRATIONS:
            varied.append(SeriesVariable(name=name, values=_numbers(name, value)))
        elif name in TILTS and not _is_pair(value):
            pairs = tuple(checks.pair(f"{name}[{i}]", each, "mrad") for i, each in enumerate(_sequence(name, value)))
            varied.append(SeriesVariable(name=name, values=pairs))
        else:
            others[name] = value
    if {"C10", DEFOCUS} <= {v.name for v in varied}:
        message = "Both C10 and defocus vary, but defocus is -C10. Omit one of them."
        raise SettingsError(message)
    return varied, others


def _sequence(name: str, value: Any) -> list[Any]:
    """Return the values of a series as a list; raise SettingsError if it is not a sequence, or empty."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable) or not (found := list(value)):
        message = f"{name}={value!r} is not a series. Give a sequence of values, or set a constant value in the beam or the settings."
        raise SettingsError(message)
    return found


def _numbers(name: str, value: Any) -> tuple[float, ...]:
    unit = "rad" if name.startswith("phi") else "A"
    return tuple(checks.number(f"{name}[{i}]", each, unit) for i, each in enumerate(_sequence(name, value)))


def _is_pair(value: Any) -> bool:
    """Return True if a value is a single tilt, which is a pair of numbers."""
    return isinstance(value, (Sequence, np.ndarray)) and len(value) == 2 and all(np.isscalar(each) for each in value)


def _aberrated(beam: Beam, point: dict[str, Any]) -> Beam:
    """Return the beam with the aberrations of one member."""
    changed = {name: value for name, value in point.items() if name in ABERRATIONS}
    if DEFOCUS in changed:
        changed["C10"] = -changed.pop(DEFOCUS)
    return replace(beam, aberrations=replace(beam.aberrations, **changed))


def _tilted(
    sample: Any, base: Request, scan: Scan | None, settings: dict[str, Any], tilts: dict[str, Any], instrument: str | Profile | None
) -> DerivedRequest:
    """Return the request of a call with the given tilts."""
    beam = replace(base.beam, beam_tilt_mrad=tilts.get("beam_tilt_mrad", base.beam.beam_tilt_mrad))
    tilt = tilts.get("tilt_mrad", base.tilt_mrad)
    if isinstance(sample, Request):
        return simulate.requested(replace(sample, beam=beam, tilt_mrad=tilt), None, None, {}, instrument)
    return simulate.requested(sample, beam, scan, settings | {"tilt_mrad": tilt}, instrument)


def _members(asked: DerivedRequest, beams: Sequence[Beam], progress: Progress | None) -> list[xr.Dataset]:
    """Return the results of one tilt and several states of the optics."""
    requests = [replace(asked.request, beam=beam) for beam in beams]
    if diffraction_patterns.has_camera(asked.request):
        return [replace(asked, request=each).added(simulate.computed(each, progress)) for each in requests]
    plan = _plan(_widest(requests), len(requests))
    signals = ENGINES[plan.engine].series
    if signals is not None:
        found = signals(asked.request, plan, beams, progress)
    else:
        found = [simulate.expected(each, plan, progress=progress) for each in requests]
    done = simulate.used(asked.request, plan)
    return [replace(asked, request=each).added(results.to_dataset(each, done, *one)) for each, one in zip(requests, found, strict=True)]


def _plan(widest: Request, count: int) -> Plan:
    """Return the plan of ``count`` states of the optics, given the request with the widest probe.

    With ``engine="auto"`` the plan has the engine that is the fastest for all states together.
    """
    plan = make_plan(widest)
    if widest.engine != AUTO or count == 1 or REIMAGING in ENGINES.tags(plan.engine):
        return plan
    try:
        dense = make_plan(replace(widest, engine=ENGINES.names(DENSE)[0]))
    except SettingsError:  # it does not fit in memory
        return plan
    return replace(dense, reason=f"{count} states of the optics share one operator") if dense.seconds < count * plan.seconds else plan


def _together(base: Request, varied: Sequence[SeriesVariable], members: Sequence[xr.Dataset]) -> xr.Dataset:
    """Return the members of a series as one Dataset."""
    first, shape, dims = members[0], [len(v.values) for v in varied], [v.dimension for v in varied]
    variables = {}
    for name, variable in first.data_vars.items():
        values = np.stack([member[name].to_numpy() for member in members]).reshape(*shape, *variable.shape)
        attrs, error = dict(variable.attrs), "relative_standard_error"
        if error in attrs:
            attrs[error] = max(float(member[name].attrs[error]) for member in members)
        variables[name] = ((*dims, *variable.dims), values, attrs)
    coordinates = {name: (each.dims, each.to_numpy(), each.attrs) for name, each in first.coords.items()}
    for variable in varied:
        coordinates |= variable.coordinates()
    settings = json.loads(first.attrs["stemtwin_settings"])
    settings |= {"beam": serialisation.beam_to_dict(base.beam), "tilt_mrad": base.tilt_mrad, "series": {v.name: v.values for v in varied}}
    attrs = first.attrs | {"title": f"series of {math.prod(shape)} {first.attrs['title']}", "stemtwin_settings": json.dumps(settings)}
    return xr.Dataset(variables, coordinates, attrs)
