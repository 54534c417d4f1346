"""Reconstruction of images from few points: posterior mean and standard deviation of every pixel by Gaussian trees.

The prior of the trees adapts to the structure of the image.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter

from stemtwin.twin.envs import tree_kernels

BLOCK = 32
"""Side of the largest squares of a tree, pixels."""
SHIFTS = ((0, 0), (21, 11), (11, 26), (5, 16))
"""Offsets of the trees, pixels; the mean over trees with different squares has no block artefacts."""
NEAR = 5
"""Side of the squares over which the signal is averaged for the noise estimate, pixels."""
LEAST_SIGNAL = 0.05
"""Smallest signal of the noise estimate, as a fraction of the mean signal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreePrior:
    """Prior of an image on a tree of nested squares, each of which is divided into four smaller squares down to single pixels.

    The mean of a square differs from the mean of the next larger square around it by a Gaussian random number. The variance
    of this number is a fraction of the local structure. The local structure is the mean square deviation
    from the background, averaged over the surroundings of the square.

    Parameters
    ----------
    shares : tuple of float
        Fractions of the local structure for squares with sides of 32, 16, 8, 4, 2 and 1 pixels.
    hidden : float
        Deviation that is expected even where the image shows no structure, relative to the mean signal.
    reach : int
        Side of the squares over which structure is averaged, pixels.
    passes : int
        Number of successive estimates of the structure.
    """

    shares: tuple[float, ...] = (0.1, 0.2, 0.3, 0.25, 0.06, 0.01)
    hidden: float = 0.05
    reach: int = 7
    passes: int = 2


def reconstruct(
    counts: np.ndarray, exposure: np.ndarray, prior: TreePrior, *, excess: float = 1.0, electronics: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the posterior mean and standard deviation of every pixel, given counts at some pixels.

    Parameters
    ----------
    counts : ndarray
        Counted electrons, float64 (n, n).
    exposure : ndarray
        Incident electrons, float64 (n, n), 0 at pixels that were not scanned.
    prior : TreePrior
        Prior of the images.
    excess : float
        Ratio of the variance of the counts to that of a Poisson distribution.
    electronics : ndarray or float
        Additional variance of the counts of each pixel, electrons squared.

    Returns
    -------
    tuple of ndarray
        Posterior mean and standard deviation, fractions of the beam, float64 (n, n) each; the mean is at least 0.

    Notes
    -----
    On a tree the posterior is exact after one sweep to the root and one back (K. C. Chou, A. S. Willsky, R. Nikoukhah, IEEE
    Trans. Autom. Control 39 (1994) 479). The reconstruction is repeated ``prior.passes`` times, each time with
    the local structure of the previous result. Four trees give four posterior means and variances per pixel; the nested
    squares of the four trees (see :class:`TreePrior`) are shifted relative to each other. The result has the mean of the four
    means; its variance is the mean of the four variances plus the variance of the four means.
    """
    seen = exposure > 0
    incident = np.where(seen, exposure, 1)
    level = float(counts.sum() / max(exposure.sum(), 1e-30))
    scale = max(abs(level), 1e-9)
    value = np.where(seen, counts / incident, level) / scale - 1
    trees = _Trees(value, seen, prior)
    mean, structure = np.zeros(counts.shape), np.ones(counts.shape)
    for number in range(prior.passes + 1):
        if number > 0:
            structure = uniform_filter((mean - np.median(mean)) ** 2, prior.reach) + prior.hidden**2
        signal = np.maximum(uniform_filter(mean + 1, NEAR), LEAST_SIGNAL)
        noise = (excess * scale * signal * incident + electronics) / (scale * incident) ** 2
        means, variances = trees.smooth(noise, structure)
        mean = means.mean(axis=0, dtype=float)
    variance = variances.mean(axis=0, dtype=float) + means.var(axis=0, dtype=float)
    return np.maximum(mean + 1, 0) * scale, np.sqrt(variance) * scale


class _Trees:
    """All trees of an image.

    Parameters
    ----------
    value : ndarray
        Measured pixels, 0 elsewhere, (n, n).
    seen : ndarray
        Mask of the measured points, bool (n, n).
    prior : TreePrior
        The prior.
    """

    def __init__(self, value: np.ndarray, seen: np.ndarray, prior: TreePrior) -> None:
        self.seen, self.value, self.shares = seen, np.where(seen, value, 0), np.array(prior.shares, np.float32)
        coarse, levels = math.ceil(len(value) / BLOCK) + 1, len(prior.shares)
        self.work = np.empty((4, coarse**2 * (4**levels - 1) // 3), np.float32)
        self.rows = np.empty((3, coarse << (levels - 1)), np.float32)

    def smooth(self, noise: np.ndarray, structure: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and variance of pixels by each tree, float32 (trees, n, n)."""
        information = np.where(self.seen, 1 / noise, 0)
        given = [one.astype(np.float32) for one in (information, information * self.value, structure)]
        means, variances = np.empty((2, len(SHIFTS), *noise.shape), np.float32)
        for corner, mean, variance in zip(SHIFTS, means, variances, strict=True):
            tree_kernels.sweep(*given, corner, self.shares, self.work, self.rows, mean, variance)
        return means, variances
