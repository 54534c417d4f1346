r"""Averages over the translations of a perfect crystal inside its periodic cell.

The mean image of a crystal over all thermal displacements repeats with the crystal, and that of a few frozen-phonon configurations of a cell of
several crystal cells does not. Its average over the n translations t,

.. math:: \bar I(r) = \frac{1}{n} \sum_t I(r + t)

is an unbiased estimate of the same mean image from n times as many columns. It keeps those Fourier coefficients h of the image whose waves repeat
with every t and drops the others, whatever the optics, the path of the scan and the tilts are. Of a pattern, the plane waves k and k' of a probe
interfere in the average only where k' - k is such an h: the average is the sum over *cosets*, sets of plane waves that interfere with each other.
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
    """Return those of n steps, in n-th parts of a cell's sides, that no earlier ones lead to."""
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
        All n translations (iy, ix), each once, sorted, in n-th parts of the cell's sides (Ly, Lx); (0, 0) among them.

    Raises
    ------
    SettingsError
        The translations are no group: two of them lead to a place that none has.
    """

    steps: tuple[tuple[int, int], ...] = ((0, 0),)

    def __post_init__(self) -> None:
        """Check that the translations are a group."""
        n, given = len(self.steps), set(self.steps)
        closed = (0, 0) in given and all(((y + iy) % n, (x + ix) % n) in given for iy, ix in _generators(self.steps) for y, x in given)
        if len(given) < n or not closed:
            message = f"{n} translations {self.steps[:4]} ... are no group. Give all sums of each two of them, modulo {n}, and each once."
            raise SettingsError(message)

    @property
    def count(self) -> int:
        """Number of translations, that of no step among them."""
        return len(self.steps)

    def vectors(self, extent: tuple[float, float]) -> np.ndarray:
        """Return the translations (x, y), A, shape (n, 2), in a cell of sides (Ly, Lx), A."""
        return np.array(self.steps)[:, ::-1] * np.array(extent[::-1]) / self.count

    def kept(self, hy: np.ndarray, hx: np.ndarray) -> np.ndarray:
        """Return whether each wave exp(-2 pi i h.r / L) repeats with every translation: bool, the broadcast shape of integers hy and hx."""
        found = np.ones(np.broadcast_shapes(np.shape(hy), np.shape(hx)), bool)
        for iy, ix in _generators(self.steps):
            found &= (iy * np.asarray(hy) + ix * np.asarray(hx)) % self.count == 0
        return found

    def cosets(self, hy: np.ndarray, hx: np.ndarray) -> list[np.ndarray]:
        """Return the indices of plane waves (hy, hx), shapes (B,), in sets whose differences are kept: at most n sets, of each wave once."""
        labels = np.zeros(len(hy), int)
        for iy, ix in _generators(self.steps):
            labels = labels * self.count + (iy * hy + ix * hx) % self.count
            labels = np.unique(labels, return_inverse=True)[1]
        return [np.flatnonzero(labels == label) for label in range(labels.max(initial=-1) + 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LatticeAverage:
    """An average over lattice translations, and the number of frozen-phonon configurations that it takes.

    Parameters
    ----------
    translations : Translations
        The crystal's translations.
    least, most : int
        Configurations that are computed in any case, and at most: in between, as many as reach the error that ``most`` have without the average.
    turns : tuple of PlaneSymmetry
        The turns and mirrors that images are averaged over beside, that by nothing among them; none: over translations alone.
    """

    translations: Translations
    least: int
    most: int
    turns: tuple[PlaneSymmetry, ...] = ()

    def suffices(self, plain: np.ndarray, averaged: np.ndarray) -> bool:
        """Return whether the configurations computed so far reach the error that ``most`` have without the average.

        Parameters
        ----------
        plain, averaged : ndarray
            Their images without and with the average, shape (configurations, channels, points).

        Notes
        -----
        The variance of p averaged images is itself known to about 1 / (2 (p - 1)) of it only (SrTiO3, 2 configurations: 0.4). It may exceed its
        limit by so much: columns that move independently reach the limit exactly, and would otherwise pass half of the time.
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
    """An average over lattice translations as it was measured.

    Parameters
    ----------
    translations : Translations
        The crystal's translations.
    compared : int
        Configurations without the average that it is compared with.
    plain_error : ndarray
        Relative standard error of so many configurations without the average, (channels,), estimated from those that were computed.
    turns : tuple of PlaneSymmetry
        The turns and mirrors; none: translations alone.
    """

    translations: Translations
    compared: int
    plain_error: np.ndarray
    turns: tuple[PlaneSymmetry, ...] = ()

    def of_channels(self, part: slice) -> Self:
        """Return the average of some channels."""
        return replace(self, plain_error=self.plain_error[part])


@functools.lru_cache(maxsize=64)
def mask(translations: Translations, my: int, mx: int) -> np.ndarray:
    """Return the mask of the image coefficients hy = 0 .. my, hx = -mx .. mx that an average keeps: bool, (my + 1, 2 mx + 1), read-only."""
    found = translations.kept(np.arange(my + 1)[:, None], np.arange(-mx, mx + 1))
    found.flags.writeable = False
    return found


def averaged(coefficients: np.ndarray, average: LatticeAverage | MeasuredAverage) -> np.ndarray:
    """Return the average of an image's Fourier coefficients over translations, and over turns of a probe that these leave as it is.

    ``coefficients`` has the shape (..., channels, my + 1, 2 mx + 1); with turns, (..., turns, channels, my + 1, 2 mx + 1) is averaged to that.
    """
    found = point_group.averaged(coefficients, average.turns) if average.turns else coefficients
    return found * mask(average.translations, coefficients.shape[-2] - 1, coefficients.shape[-1] // 2)
