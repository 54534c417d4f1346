"""Counting electrons."""

import numpy as np

from stemtwin.twin.physics.electrons import ELECTRONS_PER_PICOAMPERE_SECOND


def electrons_per_point(current: float, dwell_time: float) -> float:
    """Return the mean number of incident electrons at one scan point, for a current in pA and a dwell time in s."""
    return current * dwell_time * ELECTRONS_PER_PICOAMPERE_SECOND


def count_electrons(signal: np.ndarray, incident: float | np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw how many electrons a detector counts.

    Parameters
    ----------
    signal : ndarray
        Expected fraction of the incident beam, any shape; values below 0 (rounding) count as 0.
    incident : float or ndarray
        Mean number of incident electrons per point, broadcastable to ``signal``.
    rng : numpy.random.Generator
        The only source of randomness.

    Returns
    -------
    ndarray
        Poisson counts, uint32, the shape of ``signal``.
    """
    return rng.poisson(np.maximum(signal, 0) * incident).astype(np.uint32)
