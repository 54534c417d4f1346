"""Notes and warnings on valid requests whose physics is doubtful."""

import warnings
from collections.abc import Iterable

from stemtwin.twin.errors import PhysicsWarning
from stemtwin.twin.instrument.detectors import USUAL_OUTER_MRAD, made
from stemtwin.twin.instrument.simulation.request import AUTO_PHONONS, Request


def notes(request: Request) -> tuple[str, ...]:
    """Return sentences on the doubtful physics of a request; most requests have none."""
    rings = _dark_fields(request) if request.thermal_motion == "damped" else ()
    if not rings:
        return ()
    return (
        "phonons='damped' leaves out thermal diffuse scattering, most of a dark-field signal: "
        f"{', '.join(rings)} beyond the convergence of {request.beam.semiangle_mrad:g} mrad "
        f"{'contain' if len(rings) > 1 else 'contains'} only elastic scattering. "
        f"Use phonons={AUTO_PHONONS} or 'auto'",
    )


def warn(found: Iterable[str]) -> None:
    """Issue a PhysicsWarning for each note, attributed to the line of the user's code that calls stemtwin."""
    for note in found:
        warnings.warn(f"{note}.", PhysicsWarning, stacklevel=3)


def _dark_fields(request: Request) -> tuple[str, ...]:
    """Return the names of the detectors whose inner angle exceeds the convergence angle."""
    alpha = request.beam.semiangle_mrad
    return tuple(one.name for one in made(request.detectors, alpha, USUAL_OUTER_MRAD) if getattr(one, "inner_mrad", 0.0) > alpha)
