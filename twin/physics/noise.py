"""Counting electrons."""

from collections.abc import Callable

import numpy as np

from stemtwin.twin.physics.electrons import ELECTRONS_PER_PICOAMPERE_SECOND
from stemtwin.twin.physics.poisson import poisson_counts


def electrons_per_point(current: float, dwell_time: float) -> float:
    """Return the mean number of incident electrons at one scan point, for a current in pA and a dwell time in s."""
    return current * dwell_time * ELECTRONS_PER_PICOAMPERE_SECOND


def count_electrons(signal: np.ndarray, incident: float | np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw the numbers of electrons that a detector counts, by numpy's Poisson generator.

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


def count_electrons_by_inversion(signal: np.ndarray, incident: float | np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw the numbers of electrons that a detector counts, by inversion of one uniform number for each value.

    The law is that of :func:`count_electrons`, the counts of a seed are others. The Generator advances by one uniform a
    value whatever the means are, in the order of the array.

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

    Raises
    ------
    SettingsError
        A mean, the signal times ``incident``, is negative, NaN or above 1e9 electrons.
    """
    mean = np.maximum(signal, 0) * incident
    return poisson_counts(mean, rng.random(np.shape(mean)))


ElectronCounting = Callable[[np.ndarray, float | np.ndarray, np.random.Generator], np.ndarray]
"""A function of signal, incident electrons and generator that draws counts."""
COUNTINGS: dict[str, ElectronCounting] = {"inversion": count_electrons_by_inversion, "numpy": count_electrons}
"""Ways to draw counts by name; data that were released before the first one keep numpy's."""
