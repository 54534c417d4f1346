"""Rewards in [0, 1], one shape for every task."""

import functools
import math

import numpy as np
from scipy.special import j0

NODES = 48
"""Gauss-Legendre nodes over alpha^2; phases up to 30 rad at the aperture's edge come out to 1e-9."""


def strehl(wavelength: float, semiangle: float, c10: float, c12a: float, c12b: float) -> float:
    """Return the Strehl ratio abs(mean exp(-i chi))^2 that defocus and twofold astigmatism leave; it knows the truth, so it is for training.

    Parameters
    ----------
    wavelength, semiangle : float
        A; rad.
    c10, c12a, c12b : float
        Cartesian coefficients, A.

    Returns
    -------
    float
        In [0, 1]. The mean over azimuths is a Bessel function: with u = (alpha / semiangle)^2 and p = pi semiangle^2 / wavelength, the ratio is
        abs(integral from 0 to 1 of exp(-i p C10 u) J0(p C12 u) du)^2.
    """
    u, weights = _nodes()
    phase = math.pi * semiangle**2 / wavelength
    return float(min(1.0, abs((weights * np.exp(-1j * phase * c10 * u) * j0(phase * math.hypot(c12a, c12b) * u)).sum()) ** 2))


@functools.cache
def _nodes() -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return (nodes + 1) / 2, weights / 2
