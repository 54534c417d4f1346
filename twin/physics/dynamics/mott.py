r"""Mott scattering by a point nucleus, relative to Rutherford's formula: Dirac's equation solved in a Coulomb field.

With :math:`q = Z\alpha/\beta`, :math:`q' = Z\alpha\sqrt{1-\beta^2}/\beta`, :math:`\rho_k = \sqrt{k^2 - (Z\alpha)^2}`,

.. math:: \frac{d\sigma}{d\Omega} = \frac{\hbar^2}{p^2}\left[q'^2 |F|^2 \csc^2\frac\theta2 + |G|^2 \sec^2\frac\theta2\right]

where F and G are series over the partial waves (Mott, Proc. R. Soc. A 124 (1929) 425 and 135 (1932) 429; McKinley and Feshbach, Phys. Rev. 74 (1948)
1759; Sherman, Phys. Rev. 103 (1956) 1601). The series are summed after three multiplications by 1 - cos(theta), which make them converge
(Yennie, Ravenhall and Wilson, Phys. Rev. 95 (1954) 500).
"""

import functools
import math

import numpy as np
from scipy.special import eval_legendre, loggamma

from stemtwin.twin.physics.electrons import velocity_ratio

FINE_STRUCTURE = 7.2973525643e-3
"""Fine-structure constant (CODATA 2022)."""
WAVES = 400
"""Number of partial waves, which gives an accuracy of 1e-6 down to sin(theta / 2) = 0.08."""
REDUCTIONS = 3
DEGREE = 10
SMALLEST = 0.12  # least sin(theta / 2) of the fit; below it the polynomial tends to the limit 1


def _reduced(series: np.ndarray) -> np.ndarray:
    """Return the Legendre coefficients of (1 - cos theta) times a Legendre series, one term shorter."""
    k = np.arange(len(series) - 1)
    below = np.concatenate([[0], series[: len(series) - 2]])
    return series[:-1] - (k + 1) / (2 * k + 3) * series[1:] - k / np.maximum(2 * k - 1, 1) * below


def ratio(number: int, energy: float, sine: np.ndarray) -> np.ndarray:
    """Return the ratio of Mott's cross-section to Rutherford's cross-section, (Z e^2 / (2 p v))^2 / sin^4(theta / 2).

    Parameters
    ----------
    number : int
        Atomic number Z.
    energy : float
        Kinetic energy of the electron, eV.
    sine : ndarray
        sin(theta / 2), from about 0.08 to just below 1.

    Returns
    -------
    ndarray
        Ratio, the shape of ``sine``.
    """
    beta, strength = velocity_ratio(energy), number * FINE_STRUCTURE
    q, q_prime = strength / beta, strength * math.sqrt(1 - beta**2) / beta
    sine = np.asarray(sine, dtype=float)
    cosine = 1 - 2 * sine**2
    k = np.arange(1, WAVES + 2)
    rho = np.sqrt(k**2 - strength**2)
    phase_k = np.exp(loggamma(k - 1j * q) - loggamma(k + 1j * q)) / (k + 1j * q)
    phase_rho = np.exp(loggamma(rho - 1j * q) - loggamma(rho + 1j * q)) / (rho + 1j * q)
    # (-1)^k D_k: the sign is included in the phases, so the exponent contains only k - rho, which is small
    d = np.concatenate([[0], phase_k - np.exp(1j * np.pi * (k - rho)) * phase_rho])
    k = np.arange(WAVES + 1)
    # (-1)^k D_{k+1} = -[(-1)^(k+1) D_{k+1}]
    f_series, g_series = k * d[:-1] - (k + 1) * d[1:], k**2 * d[:-1] + (k + 1) ** 2 * d[1:]
    for _ in range(REDUCTIONS):
        f_series, g_series = _reduced(f_series), _reduced(g_series)
    waves = eval_legendre(np.arange(len(f_series))[:, None], cosine.ravel()[None])
    scale = 0.5j / (1 - cosine) ** REDUCTIONS
    f0 = 0.5j * np.exp(loggamma(1 - 1j * q) - loggamma(1 + 1j * q) + 1j * q * np.log(sine**2))
    f = f0 + scale * (f_series @ waves).reshape(sine.shape)
    g = -1j * q * (1 - sine**2) / sine**2 * f0 + scale * (g_series @ waves).reshape(sine.shape)
    mott = q_prime**2 * np.abs(f) ** 2 / sine**2 + np.abs(g) ** 2 / (1 - sine**2)
    return mott * 4 * sine**4 / q**2


@functools.lru_cache(maxsize=4096)
def ratio_polynomial(number: int, energy: float) -> tuple[float, ...]:
    """Return the coefficients of a polynomial in sin(theta / 2) that approximates :func:`ratio`, lowest power first.

    The constant is 1, the small-angle limit. The polynomial is a least-squares fit of degree 10 at Chebyshev nodes; the
    residual is below 1e-3 for every element and energies from 10 keV to 3 MeV.
    """
    nodes = SMALLEST + (0.9999 - SMALLEST) * (1 - np.cos(np.pi * (np.arange(60) + 0.5) / 60)) / 2
    powers = nodes[:, None] ** np.arange(1, DEGREE + 1)
    fit = np.linalg.lstsq(powers, ratio(number, energy, nodes) - 1, rcond=None)[0]
    return (1.0, *(float(value) for value in fit))
