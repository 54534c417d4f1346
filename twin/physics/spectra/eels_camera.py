"""Camera of an energy-loss spectrometer: point spread, and readings drawn from the expected electrons in each channel."""

import math

import numpy as np
import scipy.ndimage
from scipy.special import erf

from stemtwin.twin.errors import SettingsError

FWHM_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))


def point_spread(width: float, tail: float = 0.0, tail_width: float = 10.0) -> np.ndarray:
    """Return the point spread: the distribution of one electron's signal over the channels.

    Parameters
    ----------
    width : float
        Full width at half maximum of the core, channels.
    tail : float
        Fraction of the signal in an exponential tail, 0 to 1 (light scattered in a scintillator).
    tail_width : float
        Decay length of the tail, channels.

    Returns
    -------
    ndarray
        Weights of an odd number of channels, with the sum 1.

    Raises
    ------
    SettingsError
        A parameter is out of range.
    """
    if not (width >= 0 and 0 <= tail < 1 and tail_width > 0):
        message = (
            f"The point spread width={width:g}, tail={tail:g}, tail_width={tail_width:g} channels is out of range. "
            "Use width >= 0, 0 <= tail < 1 and tail_width > 0."
        )
        raise SettingsError(message)
    sigma = width / FWHM_PER_SIGMA
    reach = max(math.ceil(5 * sigma), math.ceil(12 * tail_width) if tail else 0)
    edges = np.arange(-reach, reach + 2) - 0.5
    core = np.diff(erf(edges / (math.sqrt(2) * sigma))) / 2 if sigma > 1e-3 else (np.arange(-reach, reach + 1) == 0).astype(float)
    halo = np.diff(np.sign(edges) * -np.expm1(-np.abs(edges) / tail_width)) / 2
    out = (1 - tail) * core / core.sum() + (tail * halo / halo.sum() if tail else 0.0)
    return out / out.sum()


def spread(signal: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return spectra (..., n) broadened by a point spread; signal beyond the camera's ends is reflected, so no electron is lost."""
    if len(weights) == 1:
        return np.asarray(signal, float)
    return scipy.ndimage.convolve1d(np.asarray(signal, float), weights, axis=-1, mode="reflect")


def read_out(
    expected: np.ndarray, gain: float, read_noise: float, rng: np.random.Generator, *, dark: float = 0.0, gain_map: np.ndarray | None = None
) -> np.ndarray:
    """Draw the camera's readings.

    Parameters
    ----------
    expected : ndarray
        Expected electrons in each channel after the point spread, (..., n).
    gain : float
        Counts per electron.
    read_noise : float
        Standard deviation of one channel's read-out, counts.
    rng : numpy.random.Generator
        The only source of randomness.
    dark : float
        Mean dark signal that remains after dark subtraction, counts; ``read_noise`` includes its noise.
    gain_map : ndarray, optional
        Relative gain of each channel, about 1, (n,).

    Returns
    -------
    ndarray
        Dark-subtracted counts, float64, (..., n); they can be negative.

    Raises
    ------
    SettingsError
        The gain or the read noise is out of range.
    """
    if not (gain > 0 and read_noise >= 0):
        message = f"gain={gain:g} counts per electron must be above 0, and read_noise={read_noise:g} counts must be at least 0."
        raise SettingsError(message)
    electrons = rng.poisson(np.maximum(expected, 0)).astype(float)
    if gain_map is not None:
        electrons *= gain_map
    return gain * electrons + dark + (rng.normal(0.0, read_noise, electrons.shape) if read_noise else 0.0)
