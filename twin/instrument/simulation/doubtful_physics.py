"""Requests that are legal but of doubtful physics: sentences for ``explain`` and results, and warnings."""

import warnings
from collections.abc import Iterable

from stemtwin.twin.errors import PhysicsWarning
from stemtwin.twin.instrument.detectors import USUAL_OUTER_MRAD, made
from stemtwin.twin.instrument.simulation.request import AUTO_PHONONS, Request


def notes(request: Request) -> tuple[str, ...]:
    """Return sentences on what is doubtful in a request; none for most."""
    rings = _dark_fields(request) if request.thermal_motion == "damped" else ()
    if not rings:
        return ()
    return (
        "phonons='damped' leaves out thermal diffuse scattering, which is most of a dark field: "
        f"{', '.join(rings)} beyond the convergence of {request.beam.semiangle_mrad:g} mrad "
        f"{'hold' if len(rings) > 1 else 'holds'} elastic scattering alone. "
        f"Use phonons={AUTO_PHONONS} or 'auto'",
    )


def warn(found: Iterable[str]) -> None:
    """Issue a warning for each note, at the line that called the caller."""
    for note in found:
        warnings.warn(f"{note}.", PhysicsWarning, stacklevel=3)


def _dark_fields(request: Request) -> tuple[str, ...]:
    """Return the names of the detectors that begin beyond the convergence angle."""
    alpha = request.beam.semiangle_mrad
    return tuple(one.name for one in made(request.detectors, alpha, USUAL_OUTER_MRAD) if getattr(one, "inner_mrad", 0.0) > alpha)
