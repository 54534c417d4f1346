r"""Averages over the turns and mirrors of a perfect crystal across the beam, with the aberrations turned along.

Where a crystal is mapped on itself by a symmetry r -> R r + t, its mean image over all thermal displacements for a probe of phase chi at R r + t is
that for the phase chi(R k) at r. The average of both, over all n symmetries of the point group,

.. math:: \bar I[\chi](r) = \frac{1}{n} \sum_{R, t} I[\chi \circ R](R^{-1} (r - t))

is as unbiased as the image of the configurations as they are, and what configurations leave to chance is averaged over up to eight times as many
columns. Detectors must be round, and neither specimen nor beam tilted.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.aberrations import Aberrations


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneSymmetry:
    """A symmetry of a crystal inside a rectangular periodic cell: a turn or mirror, and a translation after it.

    Parameters
    ----------
    matrix : tuple
        ((a, b), (c, d)), of (y, x): one number of each row and column is 1 or -1, the others are 0. Turns by a right angle need a square cell.
    step : tuple of float
        The translation (y, x), in parts of the cell's sides.

    Raises
    ------
    SettingsError
        The matrix is none of the eight that map a square on itself.
    """

    matrix: tuple[tuple[int, int], tuple[int, int]]
    step: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        """Check the matrix."""
        sizes = np.abs(self.matrix)
        if sizes.shape != (2, 2) or not (sizes.sum(axis=0) == 1).all() or not (sizes.sum(axis=1) == 1).all():
            message = f"The matrix {self.matrix} maps no square on itself. Give one 1 or -1 in each row and column, and 0 elsewhere."
            raise SettingsError(message)

    @property
    def swaps(self) -> bool:
        """Return whether x and y are exchanged."""
        return not self.matrix[0][0]

    def aberrations(self, state: Aberrations) -> Aberrations:
        """Return the aberrations chi(R k) for those of phase chi(k): all azimuths turned, or mirrored and turned."""
        (a, b), (c, d) = self.matrix
        angle, turned = math.atan2(b, d), {}
        for name in (field.name for field in fields(state)):
            if name.startswith("phi") and getattr(state, f"C{name[3:]}"):
                azimuth = getattr(state, name)
                turned[name] = azimuth - angle if a * d - b * c > 0 else angle - azimuth
        return replace(state, **turned) if turned else state

    def sources(self, hy: np.ndarray, hx: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the waves (hy, hx) that the turn maps on given ones."""
        (a, b), (c, d) = self.matrix
        return a * hy + c * hx, b * hy + d * hx


def turned(states: Sequence[Aberrations], turns: Sequence[PlaneSymmetry]) -> tuple[list[Aberrations], np.ndarray]:
    """Return the different aberrations that turns make of some, and their numbers in that list, int, shape (states, turns)."""
    numbers: dict[Aberrations, int] = {}
    found = [[numbers.setdefault(turn.aberrations(state), len(numbers)) for turn in turns] for state in states]
    return list(numbers), np.array(found)


def averaged(coefficients: np.ndarray, turns: Sequence[PlaneSymmetry]) -> np.ndarray:
    """Return the average over turns of an image's Fourier coefficients.

    Parameters
    ----------
    coefficients : ndarray
        For the aberrations as each turn makes them, complex, shape (..., turns, channels, my + 1, 2 mx + 1), as in ``ImageCoefficients``.
    turns : sequence of PlaneSymmetry
        As many turns.

    Returns
    -------
    ndarray
        complex128, shape (..., channels, my + 1, 2 mx + 1); of the row hy = 0 only the half hx >= 0 is not zero.
    """
    my, mx = coefficients.shape[-2] - 1, coefficients.shape[-1] // 2
    most = max(my, mx)  # of turns by a right angle, both count
    whole = np.zeros((*coefficients.shape[:-2], 2 * most + 1, 2 * most + 1), np.complex128)
    whole[..., most : most + my + 1, most - mx : most + mx + 1] = coefficients / 2
    whole += np.conj(whole[..., ::-1, ::-1])
    hy, hx = np.arange(my + 1)[:, None], np.arange(-mx, mx + 1)
    total = np.zeros((*coefficients.shape[:-4], *coefficients.shape[-3:]), np.complex128)
    for number, turn in enumerate(turns):
        y, x = np.broadcast_arrays(*turn.sources(hy, hx))
        phase = np.exp(2j * np.pi * (hy * turn.step[0] + hx * turn.step[1]))
        total += whole[..., number, :, :, :][..., y + most, x + most] * phase
    total *= 2 / len(turns)
    total[..., 0, :mx] = 0
    total[..., 0, mx] /= 2
    return total
