r"""Averages over the in-plane rotations and mirrors of a perfect crystal, with the aberrations transformed accordingly.

A symmetry r -> R r + t maps a crystal onto itself. The mean image over all thermal displacements then has the same value
at R r + t for a probe of phase chi(k) as at r for a probe of phase chi(R k). The average over all n symmetries of the
point group,

.. math:: \bar I[\chi](r) = \frac{1}{n} \sum_{R, t} I[\chi \circ R](R^{-1} (r - t))

is an unbiased estimate of the mean image, like the image without the average. Its statistical error is lower, because it
averages over up to eight times as many columns. Detectors must be round, and neither the specimen nor the beam may be
tilted.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.aberrations import Aberrations


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneSymmetry:
    """A symmetry of a crystal inside a rectangular periodic cell: a rotation or mirror followed by a translation.

    Parameters
    ----------
    matrix : tuple
        Matrix ((a, b), (c, d)) of the rotation or mirror, acting on (y, x), with one 1 or -1 in each row and column and 0
        elsewhere. Rotations by 90 degrees need a square cell.
    step : tuple of float
        Translation (y, x), in fractions of the cell's sides.

    Raises
    ------
    SettingsError
        The matrix is not one of the eight that map a square onto itself.
    """

    matrix: tuple[tuple[int, int], tuple[int, int]]
    step: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        """Check the matrix."""
        sizes = np.abs(self.matrix)
        if sizes.shape != (2, 2) or not (sizes.sum(axis=0) == 1).all() or not (sizes.sum(axis=1) == 1).all():
            message = f"The matrix {self.matrix} does not map a square onto itself. Give one 1 or -1 in each row and column, and 0 elsewhere."
            raise SettingsError(message)

    @property
    def swaps(self) -> bool:
        """True if the symmetry exchanges x and y."""
        return not self.matrix[0][0]

    def aberrations(self, state: Aberrations) -> Aberrations:
        """Return the aberrations of phase chi(R k), given those of phase chi(k), by rotating or mirroring all azimuths."""
        (a, b), (c, d) = self.matrix
        angle, turned = math.atan2(b, d), {}
        for name in (field.name for field in fields(state)):
            if name.startswith("phi") and getattr(state, f"C{name[3:]}"):
                azimuth = getattr(state, name)
                turned[name] = azimuth - angle if a * d - b * c > 0 else angle - azimuth
        return replace(state, **turned) if turned else state

    def sources(self, hy: np.ndarray, hx: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the waves (hy, hx) that the symmetry maps onto the given waves."""
        (a, b), (c, d) = self.matrix
        return a * hy + c * hx, b * hy + d * hx


def turned(states: Sequence[Aberrations], turns: Sequence[PlaneSymmetry]) -> tuple[list[Aberrations], np.ndarray]:
    """Transform each set of aberrations by each rotation or mirror.

    The list contains each distinct result once. The array, int, shape (states, turns), contains the position in this list
    for each set of aberrations in ``states`` and each rotation or mirror in ``turns``.
    """
    numbers: dict[Aberrations, int] = {}
    found = [[numbers.setdefault(turn.aberrations(state), len(numbers)) for turn in turns] for state in states]
    return list(numbers), np.array(found)


def averaged(coefficients: np.ndarray, turns: Sequence[PlaneSymmetry]) -> np.ndarray:
    """Return the average of an image's Fourier coefficients over rotations and mirrors.

    Parameters
    ----------
    coefficients : ndarray
        Coefficients as in ``ImageCoefficients``, complex, shape (..., turns, channels, my + 1, 2 mx + 1). The coefficients
        of each turn are those for the aberrations transformed by this turn.
    turns : sequence of PlaneSymmetry
        The rotations and mirrors, one per entry of the ``turns`` axis.

    Returns
    -------
    ndarray
        Averaged coefficients, complex128, shape (..., channels, my + 1, 2 mx + 1); in the row hy = 0, those with hx < 0
        are zero.
    """
    my, mx = coefficients.shape[-2] - 1, coefficients.shape[-1] // 2
    most = max(my, mx)  # rotations by 90 degrees exchange the two
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
