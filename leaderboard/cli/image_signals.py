"""Signals of ``stemtwin image``, each with a function that plans its computation on a field.

============== ==============================================================================
Name           Signal
============== ==============================================================================
``image``      detectors and derived signals (com, icom, idpc) at each point of the field
``ronchigram`` wide pattern of the probe in the centre of the field
``cbed``       diffraction pattern of the probe in the centre of the field
``pacbed``     mean of the diffraction patterns at all points of the field
``4d``         diffraction pattern at each point of the field
``eels``       energy-loss spectrum in the centre of the field, or at each point with --points
``edx``        X-ray spectrum in the centre of the field, or at each point with --points
============== ==============================================================================
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.leaderboard.cli.image_job import ImageJob
from stemtwin.leaderboard.cli.image_options import ImageOptions
from stemtwin.leaderboard.cli.structure_options import in_options
from stemtwin.twin.errors import SettingsError, UnknownNameError, closest

if TYPE_CHECKING:
    import xarray as xr

    from stemtwin.twin.progress import Progress
    from stemtwin.twin.samples.field_samples import FieldSample

Planning = Callable[["FieldSample", ImageOptions], ImageJob]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalKind:
    """Kind of signal that ``stemtwin image`` can compute.

    Parameters
    ----------
    plan : callable
        Function ``plan(field, options)`` that returns the job.
    points : int
        Default number of points along a side of the field; 1 means the centre of the field.
    least, most : int
        Smallest and largest number of points along a side.
    defocus : float
        Default underfocus, A.
    series : tuple of str
        Names of the settings that may be varied in a series.
    """

    plan: Planning
    points: int
    least: int
    most: int
    defocus: float = 0.0
    series: tuple[str, ...] = ()


MOST_LISTED = 6
"""Largest number of values of a series that are listed one by one."""
OPTION_OF = {"defocus": "--defocus", "tilt_mrad": "--tilt-x and --tilt-y", "depths_angstrom": "--depths"}


def find_signal(options: ImageOptions) -> SignalKind:
    """Return the kind of signal that the options name, after a check that this kind supports all options.

    Raises
    ------
    UnknownNameError
        The signal is unknown.
    SettingsError
        The signal does not support the number of points, the series or the dose.
    """
    if options.signal not in SIGNALS:
        near = closest(options.signal, list(SIGNALS))
        hint = f"Did you mean {near!r}? " if near else ""
        message = f"There is no signal named {options.signal!r}. {hint}Use one of {', '.join(SIGNALS)}."
        raise UnknownNameError(message)
    kind = SIGNALS[options.signal]
    points = points_of(options)
    if not kind.least <= points <= kind.most:
        limits = "only one point" if kind.most == 1 else f"{kind.least} to {kind.most} points"
        message = f"--points {points} is out of range: --signal {options.signal} allows {limits}. "
        message += "Change --points, or leave it out."
        raise SettingsError(message)
    for name, values in options.series.items():
        if name not in kind.series:
            message = f"--signal {options.signal} does not support a series of {OPTION_OF[name]} (number of values: {len(values)}). "
            message += "Leave out the series, or give one defocus or one tilt."
            raise SettingsError(message)
    if options.dose and points == 1:
        message = f"--dose {options.dose:g} e-/A^2 applies to a field, but --signal {options.signal} has one point. "
        message += "Leave out --dose."
        raise SettingsError(message)
    return kind


def points_of(options: ImageOptions) -> int:
    """Return the number of points along a side of the field."""
    kind = SIGNALS[options.signal]
    return kind.points if options.points is None else options.points


def scan_over(field: "FieldSample", options: ImageOptions) -> Any:
    """Return the raster scan over the field, or for a single point a path scan that contains only the centre of the field."""
    from stemtwin.twin.instrument.scan import PathScan, RasterScan

    points = points_of(options)
    if points == 1:
        return PathScan(positions_angstrom=np.array([_middle(field, options)]))
    shape, side = (points, points), (options.size, options.size)
    return RasterScan(shape=shape, field_of_view_angstrom=side, origin_angstrom=field.origin_angstrom)


def _middle(field: "FieldSample", options: ImageOptions) -> tuple[float, float]:
    return field.origin_angstrom[0] + options.size / 2, field.origin_angstrom[1] + options.size / 2


def where(options: ImageOptions) -> str:
    """Return a description of the scan points and of the values of a series."""
    points = points_of(options)
    side = "in the centre of the field" if points == 1 else f"at {points} x {points} points over {options.size:g} x {options.size:g} A"
    return side + _how(options)


def _how(options: ImageOptions) -> str:
    """Return a description of the series."""
    words = {"defocus": "defocus {} A", "tilt_mrad": "tilt (y, x) {} mrad", "depths_angstrom": "depth {} A"}
    return "".join(f", {words[name].format(_listed(values))}" for name, values in options.series.items())


def _listed(values: tuple[Any, ...]) -> str:
    """Return the values of a series as text; for a long series, the first and the last."""
    said = [f"({value[0]:g}, {value[1]:g})" if isinstance(value, tuple) else f"{value:g}" for value in values]
    return ", ".join(said) if len(said) <= MOST_LISTED else f"{said[0]} to {said[-1]} in {len(said)} values"


# ---- signals of the engines ----------------------------------------------------------------------------------------------


def _simulated(
    field: "FieldSample", options: ImageOptions, detectors: tuple[Any, ...], what: str, finish: "Callable[[xr.Dataset], xr.Dataset] | None" = None
) -> ImageJob:
    """Return the job of detectors, derived signals or a camera, as one result or a series."""
    from stemtwin.twin.instrument.simulation.series import explain_series, simulate_series
    from stemtwin.twin.instrument.simulation.simulate import explain, simulate

    kind, sample = SIGNALS[options.signal], field.sample
    scan, beam = scan_over(field, options), options.beam(sample, kind.defocus)
    settings: dict[str, Any] = {"detectors": detectors, "seed": options.seed}
    settings |= options.series  # the order of the dimensions
    settings.setdefault("tilt_mrad", options.tilts[0])
    asked = {"sample": sample, "beam": beam, "scan": scan, **settings}
    explained = explain_series if options.series else explain
    plan, motion = _averaged_or_not(sample, options, lambda phonons: explained(**asked, phonons=phonons), lambda found: found.average is not None)
    asked["phonons"] = motion

    def compute(progress: "Progress | None") -> "xr.Dataset":
        data = (simulate_series if options.series else simulate)(progress=progress, **asked)
        data = counted(data, scan, options)
        return data if finish is None else finish(data)

    phonons = f", {plan.configurations} phonon configurations" if plan.configurations > 1 else ""
    phonons += " or more" if plan.configurations < plan.most_configurations else ""
    return ImageJob(
        field=field, beam=beam, what=f"{what} {where(options)}", engine=f"{plan.engine}: {plan.reason}",
        exactness=plan.exactness + phonons, waves=plan.waves, memory_bytes=plan.memory_bytes, seconds=plan.seconds,
        notes=tuple(in_options(note) for note in (*field.notes, *plan.notes)), compute=compute,
        result_bytes=8 * scan.count * sum(math.prod(getattr(d, "shape", (1,))) for d in detectors) * math.prod(map(len, options.series.values())),
    )  # fmt: skip


def _averaged_or_not(
    sample: Any, options: ImageOptions, explained: Callable[[int | str], Any], averages: Callable[[Any], bool]
) -> tuple[Any, int | str]:
    """Return the plan of a signal and its ``phonons``.

    ``phonons`` is "auto" if the engine averages over the lattice of a crystal and the user gave no number of
    configurations. ``explained(phonons)`` returns a plan; ``averages(plan)`` is True if the plan averages.
    """
    from stemtwin.twin.samples.lattice_translations import lattice_translations

    motion = options.thermal_motion(sample)
    if options.phonons is None and motion != "static" and lattice_translations(sample).count > 1 and averages(plan := explained("auto")):
        return plan, "auto"
    return explained(motion), motion


def counted(data: "xr.Dataset", scan: Any, options: ImageOptions, names: tuple[str, ...] = ()) -> "xr.Dataset":
    """Convert variables of a result (by default all) to electron counts at the dose of the options; without a dose, leave them unchanged."""
    from stemtwin.twin.instrument import shot_noise

    if not options.dose:
        return data
    chosen = list(names) or list(data)
    found = shot_noise.counted_electrons(data[chosen], scan, options.dose, options.seed)
    return data.assign({name: found[name] for name in chosen}).assign_attrs(found.attrs)


def _image(field: "FieldSample", options: ImageOptions) -> ImageJob:
    """Return the job of detectors and derived signals."""
    check_dose(options)
    return _simulated(field, options, options.detectors, ", ".join(options.detectors))


def check_dose(options: ImageOptions) -> None:
    """Check that a dose is given only for signals that count electrons.

    Raises
    ------
    SettingsError
        A dose is given, and one of the signals is derived from several detectors.
    """
    from stemtwin.twin.instrument.simulation.derived_signals import DERIVED

    derived = [name for name in options.detectors if name in DERIVED]
    if options.dose and derived:
        message = f"--dose needs signals that count electrons, not signals derived from several detectors: {', '.join(derived)}. "
        message += "Leave out --dose or the derived signals, or use dpc4."
        raise SettingsError(message)


def _camera(field: "FieldSample", options: ImageOptions, name: str = "pixelated") -> Any:
    """Return the default camera with the pixels and the outer angle of the options, if these are given."""
    from stemtwin.twin.instrument.detectors import DETECTORS, USUAL_OUTER_MRAD

    usual: Any = DETECTORS[name](options.beam(field.sample).semiangle_mrad, USUAL_OUTER_MRAD)
    pixels = usual.shape if options.pixels is None else (options.pixels, options.pixels)
    return replace(usual, shape=pixels, outer_mrad=usual.outer_mrad if options.outer is None else options.outer)


def _seen_by(camera: Any) -> str:
    return f"{camera.shape[0]} x {camera.shape[1]} pixels to {camera.outer_mrad:g} mrad"


def _cbed(field: "FieldSample", options: ImageOptions) -> ImageJob:
    """Return the job of the pattern in the centre of the field."""
    camera = _camera(field, options)
    return _simulated(field, options, (camera,), f"CBED, {_seen_by(camera)},", lambda data: data.isel(point=0))


def _pacbed(field: "FieldSample", options: ImageOptions) -> ImageJob:
    """Return the job of the mean pattern."""
    from stemtwin.twin.instrument.simulation import pattern_analysis

    camera = _camera(field, options)

    def mean(data: "xr.Dataset") -> "xr.Dataset":
        return pattern_analysis.pacbed(data[camera.name]).to_dataset().assign_attrs(data.attrs)

    if options.dose:
        message = "--dose applies to single diffraction patterns, but pacbed is the mean of many. "
        message += "Use --signal 4d, or leave out --dose."
        raise SettingsError(message)
    return _simulated(field, options, (camera,), f"mean pattern, {_seen_by(camera)},", mean)


def _four_d(field: "FieldSample", options: ImageOptions) -> ImageJob:
    """Return the job of the pattern at each point."""
    camera = _camera(field, options)
    return _simulated(field, options, (camera,), f"4D-STEM, {_seen_by(camera)},")


def _ronchigram(field: "FieldSample", options: ImageOptions) -> ImageJob:
    """Return the job of a Ronchigram."""
    from stemtwin.twin.instrument.simulation.ronchigram import explain_ronchigram, ronchigram

    camera, sample = _camera(field, options, "ronchigram"), field.sample
    beam = options.beam(sample, SIGNALS["ronchigram"].defocus)
    phonons = "static" if options.phonons is None else options.thermal_motion(sample)
    settings: dict[str, Any] = {"position_angstrom": _middle(field, options), "camera": camera, "phonons": phonons}
    settings |= {"seed": options.seed, "tilt_mrad": options.tilts[0]}
    plan = explain_ronchigram(sample, beam, **settings)
    return ImageJob(
        field=field, beam=beam, what=f"Ronchigram, {_seen_by(camera)}, in the centre of the field", engine=f"{plan.engine}: {plan.reason}",
        exactness=plan.exactness, waves=0, memory_bytes=plan.memory_bytes, seconds=plan.seconds,
        notes=tuple(in_options(note) for note in field.notes), compute=lambda _: ronchigram(sample, beam, **settings),
        result_bytes=8 * math.prod(camera.shape),
    )  # fmt: skip


# ---- spectra -------------------------------------------------------------------------------------------------------------


def _spectrum(field: "FieldSample", options: ImageOptions) -> ImageJob:
    """Return the job of spectra at one point or on a map."""
    from stemtwin.twin.instrument import spectra
    from stemtwin.twin.instrument.detectors import DETECTORS, USUAL_OUTER_MRAD

    sample, beam, points = field.sample, options.beam(field.sample), points_of(options)
    detector: Any = DETECTORS[options.signal](beam.semiangle_mrad, USUAL_OUTER_MRAD)
    if options.energies is not None:
        low, high, step = options.energies
        detector = replace(detector, energy_range_ev=(low, high), dispersion_ev=step)
    lost = options.signal == "eels"
    explained, expected = (spectra.explain_eels, spectra.expected_eels) if lost else (spectra.explain_edx, spectra.expected_edx)
    scan = scan_over(field, options)
    plan, motion = _averaged_or_not(
        sample,
        options,
        lambda phonons: explained(sample, beam, scan, detector, tilt=options.tilts[0], phonons=phonons, seed=options.seed),
        lambda found: found.averaged,
    )

    def compute(progress: "Progress | None") -> "xr.Dataset":
        how: dict[str, Any] = {"phonons": motion, "seed": options.seed, "tilt_mrad": options.tilts[0]}
        data = expected(sample, beam, scan, detector, progress=progress, **how)
        data = data if points > 1 else data.isel(point=0)
        return counted(data, scan, options, (options.signal,))

    low, high = detector.energy_range_ev
    what = f"{options.signal.upper()}, {low:g} to {high:g} eV in {detector.channels} channels"
    what += f", collection {detector.collection_mrad:g} mrad" if lost else f", {detector.solid_angle_sr:g} sr"
    return ImageJob(
        field=field, beam=beam, what=f"{what}, {where(options)}", engine=plan.engine, exactness=plan.exactness, waves=plan.waves,
        memory_bytes=plan.memory_bytes + 4 * scan.count * detector.channels, seconds=plan.seconds,
        notes=tuple(in_options(note) for note in field.notes), compute=compute, result_bytes=4 * scan.count * detector.channels,
    )  # fmt: skip


SERIES = ("defocus", "tilt_mrad", "depths_angstrom")
SIGNALS = {
    "image": SignalKind(plan=_image, points=128, least=8, most=4096, series=SERIES),
    "ronchigram": SignalKind(plan=_ronchigram, points=1, least=1, most=1, defocus=1000.0),
    "cbed": SignalKind(plan=_cbed, points=1, least=1, most=1, series=SERIES[:2]),
    "pacbed": SignalKind(plan=_pacbed, points=12, least=2, most=512, series=SERIES[:2]),
    "4d": SignalKind(plan=_four_d, points=32, least=2, most=1024),
    "eels": SignalKind(plan=_spectrum, points=1, least=1, most=512),
    "edx": SignalKind(plan=_spectrum, points=1, least=1, most=512),
}
"""Signals by name."""
