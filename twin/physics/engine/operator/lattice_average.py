r"""Averages over the translations of a perfect crystal inside its periodic cell.

The mean image of a crystal over all thermal displacements has the periodicity of the crystal. The mean image I over a few
frozen-phonon configurations of a cell that contains several crystal cells does not have this periodicity. The average of I
over the n translations t,

.. math:: \bar I(r) = \frac{1}{n} \sum_t I(r + t)

is an unbiased estimate of the same mean image from n times as many columns. The image is a sum of waves with integer
indices h. The average keeps the waves that every translation t leaves unchanged, and drops all others. This holds for any
optics, scan path and tilt. In a diffraction pattern, the plane waves k and k' of a probe interfere in the average only if
k' - k is the index h of such a wave. The averaged pattern is therefore a sum over *cosets*, sets of plane waves that
interfere with each other.
"""

import functools
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.engine.operator import point_group
from stemtwin.twin.physics.engine.operator.point_group import PlaneSymmetry


@functools.lru_cache(maxsize=64)
def _generators(steps: tuple[tuple[int, int], ...]) -> list[tuple[int, int]]:
    """Return a generating subset of n steps, in n-th parts of a cell's sides."""
    n, reached, found = len(steps), {(0, 0)}, []
    for step in sorted(steps):
        if step not in reached:
            found.append(step)
            reached = {((y + k * step[0]) % n, (x + k * step[1]) % n) for y, x in reached for k in range(n)}
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Translations:
    """The group of a crystal's in-plane translations inside its periodic cell.

    Parameters
    ----------
    steps : tuple of (int, int)
        All n translations (iy, ix), including (0, 0), in units of 1/n of the cell's sides (Ly, Lx), sorted and each listed once.

    Raises
    ------
    SettingsError
        The translations do not form a group: (0, 0) or the sum of two translations is missing, or one is given twice.
    """

    steps: tuple[tuple[int, int], ...] = ((0, 0),)

    def __post_init__(self) -> None:
        """Check that the translations are a group."""
        n, given = len(self.steps), set(self.steps)
        closed = (0, 0) in given and all(((y + iy) % n, (x + ix) % n) in given for iy, ix in _generators(self.steps) for y, x in given)
        if len(given) < n or not closed:
            message = (
                f"The {n} translations, which begin with {self.steps[:4]}, do not form a group. "
                f"Give n different translations in units of 1/n of the cell's sides, including (0, 0) and the sum of every two of them modulo n."
            )
            raise SettingsError(message)

    @property
    def count(self) -> int:
        """Number of translations, including (0, 0)."""
        return len(self.steps)

    def vectors(self, extent: tuple[float, float]) -> np.ndarray:
        """Return the translations (x, y), A, shape (n, 2), in a cell of sides (Ly, Lx), A."""
        return np.array(self.steps)[:, ::-1] * np.array(extent[::-1]) / self.count

    def kept(self, hy: np.ndarray, hx: np.ndarray) -> np.ndarray:
        """Return True for each wave exp(-2 pi i h.r / L) that is unchanged by every translation, for integers hy and hx.

        The result is bool, of the broadcast shape of hy and hx.
        """
        found = np.ones(np.broadcast_shapes(np.shape(hy), np.shape(hx)), bool)
        for iy, ix in _generators(self.steps):
            found &= (iy * np.asarray(hy) + ix * np.asarray(hx)) % self.count == 0
        return found

    def cosets(self, hy: np.ndarray, hx: np.ndarray) -> list[np.ndarray]:
        """Return the indices of the plane waves in each coset.

        The waves h have the integer components hy and hx, shapes (B,). Two waves h and h' are in the same coset if every
        translation leaves the wave h' - h unchanged (:meth:`kept`). There are at most as many cosets as translations.
        """
        labels = np.zeros(len(hy), int)
        for iy, ix in _generators(self.steps):
            labels = labels * self.count + (iy * hy + ix * hx) % self.count
            labels = np.unique(labels, return_inverse=True)[1]
        return [np.flatnonzero(labels == label) for label in range(labels.max(initial=-1) + 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LatticeAverage:
    """Average over lattice translations, and limits of the number of frozen-phonon configurations.

    Parameters
    ----------
    translations : Translations
        The crystal's translations.
    least, most : int
        Smallest and largest number of configurations. Within these limits, configurations are added until the mean of the
        averaged images is as accurate as the mean of ``most`` plain images, to which the average is not applied.
    turns : tuple of PlaneSymmetry
        Rotations and mirrors of the average, including the identity; empty for an average over translations only.
    """

    translations: Translations
    least: int
    most: int
    turns: tuple[PlaneSymmetry, ...] = ()

    def suffices(self, plain: np.ndarray, averaged: np.ndarray) -> bool:
        """Return True if the configurations computed so far suffice.

        They suffice if their number is ``most``. If there are fewer, their number must be at least 2 and at least ``least``,
        and the mean of the averaged images must be as accurate as the mean of ``most`` plain images (see Notes).

        Parameters
        ----------
        plain, averaged : ndarray
            Images without and with the average, shape (configurations, channels, points).

        Notes
        -----
        The test quantity is the squared standard error of the mean of the p averaged images, divided by the squared
        standard error of the mean of ``most`` plain images. It is known only to a relative error of about 1 / (2 (p - 1))
        (SrTiO3, 2 configurations: 0.4). Values up to 1 + 1 / (2 (p - 1)) are therefore accepted. The expected value is 1 if
        atomic columns move independently and the p averaged images represent as many columns as ``most`` plain images. In
        this case, a limit of 1 would reject about half of the estimates.
        """
        count = len(plain)
        if count >= self.most:
            return True
        if count < max(self.least, 2):
            return False
        limit, found = (each.var(axis=0, ddof=1).mean(-1) for each in (plain, averaged))
        moving = limit > 0
        ratio = (found[moving] / count) / (limit[moving] / self.most)
        return not moving.any() or float(ratio.mean()) <= 1 + 1 / (2 * (count - 1))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeasuredAverage:
    """Average over lattice translations, and the error of the mean image without this average, for comparison.

    Parameters
    ----------
    translations : Translations
        The crystal's translations.
    compared : int
        Number of configurations to which ``plain_error`` refers.
    plain_error : ndarray
        Relative standard error of the mean of ``compared`` images without the average, (channels,). It is estimated from
        the configurations that were computed.
    turns : tuple of PlaneSymmetry
        Rotations and mirrors of the average; empty for translations only.
    """

    translations: Translations
    compared: int
    plain_error: np.ndarray
    turns: tuple[PlaneSymmetry, ...] = ()

    def of_channels(self, part: slice) -> Self:
        """Return the same average with ``plain_error`` of the channels in ``part`` only."""
        return replace(self, plain_error=self.plain_error[part])


@functools.lru_cache(maxsize=64)
def mask(translations: Translations, my: int, mx: int) -> np.ndarray:
    """Return the mask of the image coefficients that an average keeps, hy = 0 .. my, hx = -mx .. mx; bool, (my + 1, 2 mx + 1), read-only."""
    found = translations.kept(np.arange(my + 1)[:, None], np.arange(-mx, mx + 1))
    found.flags.writeable = False
    return found


def averaged(coefficients: np.ndarray, average: LatticeAverage | MeasuredAverage) -> np.ndarray:
    """Return the average of an image's Fourier coefficients over translations and, if there are any, rotations and mirrors.

    ``coefficients`` has the shape (..., channels, my + 1, 2 mx + 1). With rotations and mirrors (``average.turns``) it has
    the shape (..., turns, channels, my + 1, 2 mx + 1), where the coefficients of each turn are those for the aberrations
    transformed by this turn. The result has the shape (..., channels, my + 1, 2 mx + 1).
    """
    found = point_group.averaged(coefficients, average.turns) if average.turns else coefficients
    return found * mask(average.translations, coefficients.shape[-2] - 1, coefficients.shape[-1] // 2)
