"""Response of a camera to electrons: spread, detection efficiency, dead and hot pixels, counting, readout."""

from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from scipy.special import ndtr


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Defects:
    """Fraction of working camera pixels and number of hot camera pixels in each binned pixel, both of shape (ny, nx)."""

    live: np.ndarray
    hot: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """Response parameters of a camera.

    Parameters
    ----------
    spread : float
        Standard deviation, along each axis, of the distance from the pixel where an electron arrives to the pixel that
        counts it, pixels.
    efficiency : float
        Probability that an electron is counted.
    dark, hot : float
        Mean dark counts of a binned pixel, and mean counts that one hot camera pixel adds, per exposure.
    readout : float
        Standard deviation of the readout noise of a binned pixel, counts.
    saturation : float
        Largest count.
    """

    spread: float = 0.0
    efficiency: float = 1.0
    dark: float = 0.0
    hot: float = 0.0
    readout: float = 0.0
    saturation: float = np.inf


def draw_defects(shape: tuple[int, int], binning: int, dead: float, hot: float, rng: np.random.Generator) -> Defects:
    """Draw the dead and hot pixels of a camera at random.

    Parameters
    ----------
    shape : tuple of int
        Number of binned pixels (ny, nx).
    binning : int
        A binned pixel is ``binning`` x ``binning`` camera pixels.
    dead, hot : float
        Probabilities that a camera pixel is dead and that it is hot; a pixel is never both.
    rng : numpy.random.Generator
        The only source of randomness.
    """
    draws = rng.random((shape[0], binning, shape[1], binning))
    return Defects(live=1 - (draws < dead).mean(axis=(1, 3)), hot=((draws >= dead) & (draws < dead + hot)).sum(axis=(1, 3)))


def spread_weights(spread: float) -> np.ndarray:
    """Return the probabilities that a count is displaced by -n to n pixels along one axis.

    They are a normal distribution integrated over whole pixels, and add up to 1.
    """
    if not spread:
        return np.ones(1)
    n = int(np.ceil(6 * spread)) + 1
    borders = np.arange(-n, n + 2) - 0.5
    weights = np.diff(ndtr(borders / spread))
    return weights / weights.sum()


def mean_counts(patterns: np.ndarray, electrons: float | np.ndarray, response: Response, defects: Defects) -> np.ndarray:
    """Return the mean count of each pixel, before readout and saturation.

    Parameters
    ----------
    patterns : ndarray
        Fraction of the incident beam that arrives in each pixel, shape (..., ny, nx).
    electrons : float or ndarray
        Number of incident electrons per pattern, broadcastable to ``patterns``.
    response : Response
        Response of the camera.
    defects : Defects
        Dead and hot pixels of the camera.

    Returns
    -------
    ndarray
        float64, the shape of ``patterns``. Counts that are spread beyond the camera's edge are lost.
    """
    mean = np.maximum(np.asarray(patterns, float), 0) * (electrons * response.efficiency)
    if response.spread:
        weights = spread_weights(response.spread)
        for axis in (-2, -1):
            mean = scipy.ndimage.convolve1d(mean, weights, axis=axis, mode="constant")
    return mean * defects.live + response.dark * defects.live + response.hot * defects.hot


def expose(patterns: np.ndarray, electrons: float | np.ndarray, response: Response, defects: Defects, rng: np.random.Generator) -> np.ndarray:
    """Draw the counts of a camera: Poisson numbers with given means, plus Gaussian readout noise, limited to saturation.

    The means are those of :func:`mean_counts`, which has the same parameters except ``rng``; ``rng`` is the only source
    of randomness. Each electron is counted once, in one pixel, so the counts are Poisson-distributed for every spread.

    Returns
    -------
    ndarray
        uint32 for a camera without readout noise, else float32.
    """
    counts = np.minimum(rng.poisson(mean_counts(patterns, electrons, response, defects)), response.saturation)
    if not response.readout:
        return counts.astype(np.uint32)
    noisy = counts + rng.normal(0, response.readout, counts.shape)
    return np.minimum(noisy, response.saturation).astype(np.float32)
