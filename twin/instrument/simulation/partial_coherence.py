"""Partial coherence: averages of coherent signals over Gauss-Hermite nodes of focal spread and source size."""

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics.aberrations import Aberrations

TOLERANCE = 1e-6
"""Largest error of the average of the fastest interference term."""
MOST_NODES = 64

Nodes = tuple[np.ndarray, np.ndarray]
"""Nodes (A) and weights, both of shape (n,)."""


def nodes(beam: Beam, tolerance: float = TOLERANCE) -> tuple[Nodes, Nodes]:
    """Return the nodes (A) and weights of the averages over C10 and over one axis of the source.

    Focal spread and source size average each interference term exp(i w x) over a Gaussian. The number of nodes is the
    smallest for which the average of the term with the largest w has an error below ``tolerance``.
    """
    k = beam.semiangle_rad / beam.wavelength_angstrom
    fastest = math.pi * beam.wavelength_angstrom * k**2, 2 * math.pi * 2 * k
    return _gaussian(beam.focal_spread_angstrom, fastest[0], tolerance), _gaussian(beam.source_size_angstrom, fastest[1], tolerance)


def counts(beam: Beam) -> tuple[int, int]:
    """Return the number of focal states of a beam, and the number of source points (over both axes) for each focal state."""
    focus, source = nodes(beam)
    return len(focus[0]), len(source[0]) ** 2


def averaged(request: Request, coherent: Callable[[np.ndarray, Aberrations], np.ndarray]) -> np.ndarray:
    """Return signals averaged over focal spread and source size.

    Parameters
    ----------
    request : Request
        Beam and scan.
    coherent : callable
        ``coherent(points, aberrations)`` returns the signals, shape (channels, P), of coherent probes at points (x, y), A,
        shape (P, 2).

    Returns
    -------
    ndarray
        Averaged signals, float64, shape (channels, n), in visiting order.
    """
    points = request.scan.points()
    (focus, focus_weights), (source, source_weights) = nodes(request.beam)
    shifts = np.array(list(itertools.product(source, source)))
    weights = np.outer(source_weights, source_weights).ravel()
    at = (points + shifts[:, None]).reshape(-1, 2)
    aberrations = request.beam.aberrations
    total = np.zeros(())
    for df, weight in zip(focus, focus_weights, strict=True):
        values = coherent(at, replace(aberrations, C10=aberrations.C10 + float(df)))
        total = total + weight * np.einsum("csp,s->cp", values.reshape(-1, len(shifts), len(points)), weights)
    return total


@functools.lru_cache(maxsize=64)
def _gaussian(width: float, frequency: float, tolerance: float) -> Nodes:
    if not width:
        return _frozen(np.zeros(1), np.ones(1))
    count = 3
    while True:
        x, weights = np.polynomial.hermite_e.hermegauss(count)
        weights = weights / weights.sum()
        error = abs((weights * np.cos(frequency * width * x)).sum() - math.exp(-((frequency * width) ** 2) / 2))
        if error < tolerance or count == MOST_NODES:
            return _frozen(width * x, weights)
        count += 1


def _frozen(at: np.ndarray, weights: np.ndarray) -> Nodes:
    at.flags.writeable = weights.flags.writeable = False  # the cache shares them with all callers
    return at, weights
