"""Images from few points: posterior mean and standard deviation of every pixel by Gaussian trees whose variances follow the structure."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter

BLOCK = 32
"""Side of the largest squares of a tree, pixels."""
SHIFTS = ((0, 0), (21, 11), (11, 26), (5, 16))
"""Corners of trees, pixels: each puts its squares elsewhere, and their mean shows no squares."""
NEAR = 5
"""Side of the squares over which the signal is averaged that tells how noisy a pixel is, pixels."""
LEAST_SIGNAL = 0.05
"""Pixels are as noisy as those of at least this share of the mean signal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreePrior:
    """Prior of an image: the mean of each square differs from that of the square around it by a Gaussian number.

    Its variance is a share of the structure there: the mean square of the deviation from the background, around the square.

    Parameters
    ----------
    shares : tuple of float
        Shares of squares of 32, 16, 8, 4, 2, 1 pixels.
    hidden : float
        Deviation that is expected where nothing was found, over the mean signal.
    reach : int
        Side of the squares over which structure is averaged, pixels.
    passes : int
        Number of estimates of the structure.
    """

    shares: tuple[float, ...] = (0.1, 0.2, 0.3, 0.25, 0.06, 0.01)
    hidden: float = 0.05
    reach: int = 7
    passes: int = 2


def reconstruct(
    counts: np.ndarray, exposure: np.ndarray, prior: TreePrior, *, excess: float = 1.0, electronics: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the standard deviation of every pixel, given the electrons that were counted at some of them.

    Parameters
    ----------
    counts : ndarray
        Counted electrons, float64 (n, n).
    exposure : ndarray
        Incident electrons, float64 (n, n), 0 where the beam was not.
    prior : TreePrior
        What is known of images.
    excess : float
        Variance of counted electrons over that of a Poisson distribution.
    electronics : ndarray or float
        Further variance of the counts of each pixel, electrons squared.

    Returns
    -------
    tuple of ndarray
        Fractions of the beam, float64 (n, n) each; the mean is not negative.

    Notes
    -----
    On a tree the posterior is exact after one sweep to the root and one back (K. C. Chou, A. S. Willsky, R. Nikoukhah, IEEE
    Trans. Autom. Control 39 (1994) 479). The structure is estimated from the image of the pass before. The mean over four
    trees with other squares is taken, and their spread added to the variance.
    """
    seen = exposure > 0
    incident = np.where(seen, exposure, 1)
    level = float(counts.sum() / max(exposure.sum(), 1e-30))
    scale = max(abs(level), 1e-9)
    value = np.where(seen, counts / incident, level) / scale - 1
    trees = _Trees(value, seen, prior)
    mean, structure = np.zeros(counts.shape), np.ones(counts.shape)
    for _ in range(prior.passes + 1):
        signal = np.maximum(uniform_filter(mean + 1, NEAR), LEAST_SIGNAL)
        noise = (excess * scale * signal * incident + electronics) / (scale * incident) ** 2
        mean, variance = trees.smooth(noise, structure)
        structure = uniform_filter((mean - np.median(mean)) ** 2, prior.reach) + prior.hidden**2
    return np.maximum(mean + 1, 0) * scale, np.sqrt(variance) * scale


class _Trees:
    """All trees of an image at once, along the first axis.

    Parameters
    ----------
    value : ndarray
        Measured pixels, 0 elsewhere, (n, n).
    seen : ndarray
        Where they are, bool (n, n).
    prior : TreePrior
        The prior.
    """

    def __init__(self, value: np.ndarray, seen: np.ndarray, prior: TreePrior) -> None:
        self.n, self.prior, self.seen = len(value), prior, seen
        self.side = (math.ceil(self.n / BLOCK) + 1) * BLOCK
        self.value = np.where(seen, value, 0)

    def smooth(self, noise: np.ndarray, structure: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and variance of pixels, (n, n)."""
        information = np.where(self.seen, 1 / noise, 0)
        up, eta, q = [self._placed(information)], [self._placed(information * self.value)], self._variances(structure)
        for number in range(len(q) - 1, 0, -1):
            damped = 1 / (1 + up[0] * q[number])
            up.insert(0, _fours(up[0] * damped))
            eta.insert(0, _fours(eta[0] * damped))
        damped = 1 / (1 + up[0] * q[0])
        total = 1 + _all(up[0] * damped)
        mean, variance = _all(eta[0] * damped) / total, 1 / total
        for number, (qs, lam, et) in enumerate(zip(q, up, eta, strict=True)):
            gain = 1 / (1 + qs * lam)
            above, spread = (mean, variance) if number == 0 else (_spread(mean), _spread(variance))
            mean = gain * (above + qs * et)
            variance = gain * (gain * spread + qs)
        return self._pixels(mean, variance)

    def _variances(self, structure: np.ndarray) -> list[np.ndarray]:
        """Return the variances of the differences of every level, the largest squares first."""
        means = [self._placed(structure, float(structure.min()))]
        while means[0].shape[1] > self.side // BLOCK:
            means.insert(0, _fours(means[0]) / 4)
        around = [np.broadcast_to(means[0].mean(axis=(1, 2), keepdims=True), means[0].shape), *(_spread(one) for one in means[:-1])]
        return [np.float32(share) * one for share, one in zip(self.prior.shares, around, strict=True)]

    def _placed(self, image: np.ndarray, rest: float = 0.0) -> np.ndarray:
        """Return an image in the squares of every tree, float32 (trees, side, side)."""
        out = np.full((len(SHIFTS), self.side, self.side), rest, np.float32)
        for one, (y, x) in zip(out, SHIFTS, strict=True):
            one[y : y + self.n, x : x + self.n] = image
        return out

    def _pixels(self, mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean over trees and the variance with their spread, float64 (n, n)."""
        cut = [np.stack([one[y : y + self.n, x : x + self.n] for one, (y, x) in zip(part, SHIFTS, strict=True)]) for part in (mean, variance)]
        return cut[0].mean(axis=0, dtype=float), cut[1].mean(axis=0, dtype=float) + cut[0].var(axis=0, dtype=float)


def _all(values: np.ndarray) -> np.ndarray:
    """Return sums over all squares of a level, (trees, 1, 1)."""
    return values.sum(axis=(1, 2), keepdims=True)


def _fours(values: np.ndarray) -> np.ndarray:
    """Return sums over the four squares in each square, (trees, m / 2, m / 2)."""
    rows = values[:, ::2] + values[:, 1::2]
    return rows[:, :, ::2] + rows[:, :, 1::2]


def _spread(values: np.ndarray) -> np.ndarray:
    """Return the value of the square around for each of its four squares, (trees, 2 m, 2 m)."""
    return values.repeat(2, axis=1).repeat(2, axis=2)
