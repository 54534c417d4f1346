"""Electron counts with Poisson noise."""

import math
import threading
from collections.abc import Callable, Sequence

import numpy as np

from stemtwin.twin.physics.electrons import ELECTRONS_PER_PICOAMPERE_SECOND
from stemtwin.twin.physics.poisson import poisson_counts


def electrons_per_point(current: float, dwell_time: float) -> float:
    """Return the mean number of electrons incident on one scan point, for a current in pA and a dwell time in s."""
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
    """Draw the numbers of electrons that a detector counts, by inversion of the distribution at one uniform number per value.

    The distribution is that of :func:`count_electrons`, but the counts for a given seed differ. Each value takes one uniform
    number from the Generator, in the order of the array, whether its mean is small or large.

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


def count_frames_by_inversion(signals: np.ndarray, incident: Sequence[float | np.ndarray], generators: Sequence[np.random.Generator]) -> np.ndarray:
    """Draw the electron counts of several frames at once, bit for bit as :func:`count_electrons_by_inversion` does.

    Parameters
    ----------
    signals : ndarray
        Expected fractions of the incident beam, shape (frames, ...).
    incident : sequence of float or ndarray
        Mean number of incident electrons per point of each frame, broadcastable to its signal.
    generators : sequence of numpy.random.Generator
        One generator for each frame.

    Returns
    -------
    ndarray
        Poisson counts, uint32, the shape of ``signals``.

    Raises
    ------
    SettingsError
        A mean, the signal times ``incident``, is negative, NaN or above 1e9 electrons.
    """
    mean, uniforms = _memory.array((2, *signals.shape))
    mean[...] = signals
    np.maximum(mean, 0, out=mean)
    for expected, electrons, drawn, rng in zip(mean, incident, uniforms, generators, strict=True):
        np.multiply(expected, electrons, out=expected)
        rng.random(out=drawn)
    return poisson_counts(mean, uniforms)


class _Memory(threading.local):
    """Scratch memory of each thread, reused because the allocation of large arrays takes as long as the draws."""

    def __init__(self) -> None:
        self.values = np.empty(0)

    def array(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return an uninitialised float64 array, valid until the next call in this thread."""
        size = math.prod(shape)
        if self.values.size < size:
            self.values = np.empty(size)
        return self.values[:size].reshape(shape)


_memory = _Memory()

ElectronCounting = Callable[[np.ndarray, float | np.ndarray, np.random.Generator], np.ndarray]
"""Function of signal, incident electrons and generator that draws counts."""
COUNTINGS: dict[str, ElectronCounting] = {"inversion": count_electrons_by_inversion, "numpy": count_electrons}
"""Counting methods by name; datasets released before ``"inversion"`` existed keep ``"numpy"``."""
