"""Images from few points: posterior mean and standard deviation of every pixel by Gaussian trees whose scales follow the data."""

import math
from dataclasses import dataclass

import numpy as np

BLOCK = 32
"""Side of the largest squares of a tree, pixels."""
SHIFTS = ((0, 0), (21, 11), (11, 26), (5, 16))
"""Corners of trees, pixels: each puts its squares elsewhere, and their mean shows no squares."""
LEAST_SIGNAL = 0.05
"""Pixels are as noisy as those of at least this share of the mean signal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreePrior:
    """Prior of an image: the mean of each square of side s differs from that of the square around it by a Gaussian number.

    Parameters
    ----------
    scale : float
        Standard deviation of pixels over the field, in the unit of the image.
    shares : tuple of float
        Share of the variance of squares of 32, 16, 8, 4, 2, 1 pixels.
    strength : float
        Number of squares that the scale of the square around counts for, where that of four squares is estimated.
    least : float
        Smallest variance of squares in units of the prior's.
    passes : int
        Number of estimates of these variances.
    """

    scale: float
    shares: tuple[float, ...] = (0.06, 0.12, 0.22, 0.28, 0.22, 0.10)
    strength: float = 2.0
    least: float = 0.003
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
    Trans. Autom. Control 39 (1994) 479). The variances of the differences are then estimated from the data by steps of
    expectation and maximisation, each together with that of the square around it: even regions become sure from few points,
    structured ones do not. The mean over four trees with other squares is taken, and their spread added to the variance.
    """
    seen = exposure > 0
    overall = counts.sum() / max(exposure.sum(), 1e-30)
    incident = np.where(seen, exposure, 1)
    value = np.where(seen, counts / incident, overall) / prior.scale
    trees = _Trees(value - overall / prior.scale, seen, prior)
    level = overall / prior.scale
    expected = np.full(counts.shape, level)
    for number in range(prior.passes + 1):
        noise = (excess * prior.scale * np.maximum(expected, LEAST_SIGNAL * level) * incident + electronics) / (prior.scale * incident) ** 2
        mean, variance = trees.smooth(noise, last=number == prior.passes)
        expected = level + mean
    return np.maximum(expected, 0) * prior.scale, np.sqrt(variance) * prior.scale


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
        levels = len(prior.shares)
        self.factors = [np.ones((len(SHIFTS), m, m), np.float32) for m in (self.side // BLOCK * 2**i for i in range(levels))]

    def smooth(self, noise: np.ndarray, *, last: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and variance of pixels, (n, n), and estimate the variances of the differences anew unless it is the last time."""
        prior = self.prior
        information = np.where(self.seen, 1 / noise, 0)
        up, eta = [self._placed(information)], [self._placed(information * self.value)]
        q = [share * factor for share, factor in zip(prior.shares, self.factors, strict=True)]
        for number in range(len(q) - 1, 0, -1):
            damped = 1 / (1 + up[0] * q[number])
            up.insert(0, _fours(up[0] * damped))
            eta.insert(0, _fours(eta[0] * damped))
        damped = 1 / (1 + up[0] * q[0])
        total, pulled = 1 + (up[0] * damped).sum(axis=(1, 2), keepdims=True), (eta[0] * damped).sum(axis=(1, 2), keepdims=True)
        mean, variance, scale = pulled / total, 1 / total, np.ones_like(total)
        for number, (share, qs, lam, et) in enumerate(zip(prior.shares, q, up, eta, strict=True)):
            gain = 1 / (1 + qs * lam)
            above, spread = (mean, variance) if number == 0 else (_spread(mean), _spread(variance))
            mean = gain * (above + qs * et)
            variance = gain * (gain * spread + qs)
            if not last:
                square = ((mean - above) ** 2 + variance + (1 - 2 * gain) * spread) / share
                scale = self._scales(square, scale, number)
        return self._pixels(mean, variance)

    def _scales(self, square: np.ndarray, above: np.ndarray, number: int) -> np.ndarray:
        """Keep the variances of a level, in units of the prior's, and return them for the level below."""
        strength = self.prior.strength
        if number == 0:
            found = (strength * above + square.sum(axis=(1, 2), keepdims=True)) / (strength + square.shape[1] ** 2)
            found = np.broadcast_to(found, square.shape)
        else:
            found = _spread((strength * above + _fours(square)) / (strength + 4))
        self.factors[number] = np.maximum(found, np.float32(self.prior.least))
        return self.factors[number]

    def _placed(self, image: np.ndarray) -> np.ndarray:
        """Return an image in the squares of every tree, float32 (trees, side, side)."""
        out = np.zeros((len(SHIFTS), self.side, self.side), np.float32)
        for one, (y, x) in zip(out, SHIFTS, strict=True):
            one[y : y + self.n, x : x + self.n] = image
        return out

    def _pixels(self, mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean over trees and the variance with their spread, float64 (n, n)."""
        cut = [np.stack([one[y : y + self.n, x : x + self.n] for one, (y, x) in zip(part, SHIFTS, strict=True)]) for part in (mean, variance)]
        middle = cut[0].mean(axis=0, dtype=float)
        return middle, cut[1].mean(axis=0, dtype=float) + cut[0].var(axis=0, dtype=float)


def _fours(values: np.ndarray) -> np.ndarray:
    """Return sums over the four squares in each square, (trees, m / 2, m / 2)."""
    rows = values[:, ::2] + values[:, 1::2]
    return rows[:, :, ::2] + rows[:, :, 1::2]


def _spread(values: np.ndarray) -> np.ndarray:
    """Return the value of the square around for each of its four squares, (trees, 2 m, 2 m)."""
    return values.repeat(2, axis=1).repeat(2, axis=2)
