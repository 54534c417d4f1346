"""Quick images of ``stemtwin image``, which replace exact images that would take long.

Dark-field signals are computed from thermal cross-sections, and bright-field signals from elastic scattering alone. The
first line of the preamble (the text printed before the computation) names this approximation and its error. The error
was measured on the same sample if possible, and otherwise on other samples.
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from stemtwin.leaderboard.cli.image_job import ImageJob, cheapest
from stemtwin.leaderboard.cli.image_options import ImageOptions
from stemtwin.leaderboard.cli.image_signals import SignalKind, check_dose, counted, scan_over, where
from stemtwin.leaderboard.cli.structure_options import in_options
from stemtwin.leaderboard.cli.work_progress import span
from stemtwin.twin.errors import SamplingError, SettingsError

if TYPE_CHECKING:
    import xarray as xr

    from stemtwin.twin.instrument.simulation.plan import Plan
    from stemtwin.twin.progress import Progress
    from stemtwin.twin.samples.field_samples import FieldSample

PATIENCE_S = 30.0
"""Planned time above which a quick image replaces an exact one, s; a busy machine then needs at most a minute."""
BRIGHT_TOLERANCE = 0.05
"""Tolerance of bright-field signals in a quick image, comparable to the error of elastic scattering alone."""


def planned(fields: "Sequence[FieldSample]", kind: SignalKind, options: ImageOptions) -> ImageJob:
    """Return the exact job of a signal, or a quick job if the exact one takes long and a quick one is allowed.

    Raises
    ------
    StemtwinError
        Neither job can be computed; the error is that of the exact job.
    """
    try:
        job = cheapest(fields, lambda field: kind.plan(field, options))
    except (SamplingError, SettingsError):
        if (quick := _quick(fields, options, "cannot be computed here")) is None:
            raise
        return quick
    if job.seconds is None or job.seconds <= PATIENCE_S:
        return job
    quick = _quick(fields, options, f"takes about {span(job.seconds)}")
    return job if quick is None or quick.seconds is None or quick.seconds >= job.seconds else quick


def _quick(fields: "Sequence[FieldSample]", options: ImageOptions, instead: str) -> ImageJob | None:
    """Return the quick job of an image, or None; ``instead`` describes the exact image in the preamble."""
    if options.signal != "image" or options.exact or options.phonons is not None or options.depths is not None:
        return None
    try:
        return cheapest(fields, lambda field: _plan(field, options, instead))
    except (SamplingError, SettingsError):
        return None


def _plan(field: "FieldSample", options: ImageOptions, instead: str) -> ImageJob:
    """Return the quick job of a field.

    Raises
    ------
    SamplingError, SettingsError
        No detector is a dark field within the range of the model.
    """
    from stemtwin.twin.instrument.simulation.engines import thermal

    check_dose(options)
    beam, scan = options.beam(field.sample), scan_over(field, options)
    dark = tuple(name for name in options.detectors if _is_dark(name, beam.semiangle_mrad))
    bright = tuple(name for name in options.detectors if name not in dark)
    if not dark:
        message = f"--detectors {','.join(options.detectors)} contains no dark field within the range of thermal cross-sections. Add haadf."
        raise SettingsError(message)
    settings: dict[str, Any] = {"tilt_mrad": options.tilts[0], **options.series, "seed": options.seed}
    asked = {"sample": field.sample, "beam": beam, "scan": scan, **settings}
    parts = {dark: asked | {"engine": thermal.NAME, "measure_error": False}}
    plans = [_explained(dark, parts[dark], options)]
    notes: list[str] = []
    if bright:
        elastic, plan = _elastic(bright, asked, options)
        if options.own_detectors or plan.seconds + plans[0].seconds <= PATIENCE_S:
            parts[bright] = elastic
            plans.append(plan)
            notes.append(f"{', '.join(bright)}: without thermal diffuse scattering, by the engine {plan.engine}")
        else:
            told = f"{', '.join(bright)} left out, as it would take about {span(plan.seconds)} more"
            notes.append(f"{told}: name it in --detectors to include it")
    names = [name for group in parts for name in group]
    first = f"quick: {', '.join(dark)} by {plans[0].exactness}. The exact image {instead}: --exact"
    return ImageJob(
        field=field, beam=beam, what=f"{', '.join(names)} {where(options)}", engine=f"{plans[0].engine}: quick",
        exactness=plans[0].exactness, waves=sum(p.waves for p in plans), memory_bytes=max(p.memory_bytes for p in plans),
        seconds=sum(p.seconds for p in plans), notes=(*notes, *(in_options(note) for note in (*field.notes, *plans[0].notes))), first=first,
        compute=lambda progress: counted(_computed(parts, options, progress), scan, options),
        result_bytes=8 * scan.count * len(names) * math.prod(map(len, options.series.values())),
    )  # fmt: skip


def _elastic(names: tuple[str, ...], asked: dict[str, Any], options: ImageOptions) -> "tuple[dict[str, Any], Plan]":
    """Return settings and plan of signals without thermal diffuse scattering.

    The engine is that of ``"auto"``, or the tiled engine if it takes less time.
    """
    from stemtwin.twin.instrument.simulation.engines import tiled

    settings = asked | {"phonons": "damped", "tolerance": BRIGHT_TOLERANCE}
    found = settings, _explained(names, settings, options)
    try:
        windows = settings | {"engine": tiled.NAME}
        plan = _explained(names, windows, options)
    except (SamplingError, SettingsError):  # a tile would be as large as the field
        return found
    return (windows, plan) if plan.seconds < found[1].seconds else found


def _is_dark(name: str, semiangle_mrad: float) -> bool:
    """Return True if a named signal is a dark field within the range of the model."""
    from stemtwin.twin.instrument.detectors import DETECTORS, USUAL_OUTER_MRAD
    from stemtwin.twin.instrument.simulation.engines import thermal

    if name not in DETECTORS:
        return False
    usual: Any = DETECTORS[name](semiangle_mrad, USUAL_OUTER_MRAD)
    return thermal.is_dark((usual,), semiangle_mrad)


def _explained(names: tuple[str, ...], settings: dict[str, Any], options: ImageOptions) -> "Plan":
    from stemtwin.twin.instrument.simulation.series import explain_series
    from stemtwin.twin.instrument.simulation.simulate import explain

    return (explain_series if options.series else explain)(detectors=names, **settings)


def _computed(parts: dict[tuple[str, ...], dict[str, Any]], options: ImageOptions, progress: "Progress | None") -> "xr.Dataset":
    """Return all signals in one dataset; the attributes of the first part are global, and those of other parts are on their variables."""
    from stemtwin.twin.instrument.simulation.series import simulate_series
    from stemtwin.twin.instrument.simulation.simulate import simulate

    compute: Callable[..., xr.Dataset] = simulate_series if options.series else simulate
    first, *others = (compute(detectors=names, progress=progress, **settings) for names, settings in parts.items())
    for other in others:
        said = {name: other.attrs[name] for name in ("engine", "engine_error", "stemtwin_settings")}
        first = first.assign({name: other[name].assign_attrs(said) for name in other})
    return first[[name for name in options.detectors if name in first]]
