r"""Generalised oscillator strengths of hydrogenic K and L shells, in closed form.

The strength below is that of one electron of a subshell with the principal quantum number n. The effective nuclear charge
Z_s follows from Slater's rules: Z - 0.5 (K shell, two electrons), Z - 4.15 (L shell). The energy loss E is in units of the
Rydberg energy times Z_s^2, and Q = (q a0 / Z_s)^2. The exponent m is 3 for 1s and 5 for 2s and 2p.

.. math::

    \frac{df}{dE} = E \, \frac{g(Q, k^2)}{a^m} \,
    \frac{\exp(-\tfrac{2}{k} \arctan \tfrac{2k/n}{Q - k^2 + 1/n^2})}{1 - \exp(-2\pi/k)}, \qquad
    k^2 = E - n^{-2}, \qquad a = (Q - k^2 + n^{-2})^2 + (2 k / n)^2

1s: H. Bethe, Ann. Phys. 397 (1930) 325. 2s and 2p: M. C. Walske, Phys. Rev. 101 (1956) 940. The polynomials g were
recomputed with 30 digits from Nordsieck's integral, summed over the directions of the ejected electron;
``tests/physics/spectra/test_gos.py`` contains that integral. Screening moves the threshold below k^2 = 0, where the
expressions are continued analytically.
"""

import math

import numpy as np

from stemtwin.twin.errors import SettingsError

RYDBERG = 13.605693
"""Rydberg energy R, eV."""
BOHR = 0.529177211
"""Bohr radius a0, A."""
SUBSHELLS = ("1s", "2s", "2p")

_POWER = {"1s": 3, "2s": 5, "2p": 5}
# coefficients of Q^i (rows) and k^2j (columns)
_G = {
    "1s": np.array([[128 / 3, 128 / 3], [128, 0]]),
    "2p": np.array(
        [
            [11 / 576, 1 / 4, 7 / 6, 20 / 9, 4 / 3],
            [107 / 180, 41 / 9, 452 / 45, 16 / 3, 0],
            [19 / 6, -4, -8 / 3, 0, 0],
            [-4, -16, 0, 0, 0],
            [12, 0, 0, 0, 0],
        ]
    ),
    "2s": np.array(
        [
            [1 / 48, 17 / 48, 7 / 3, 22 / 3, 32 / 3, 16 / 3],
            [47 / 240, 0, -82 / 15, -32 / 3, -16 / 3, 0],
            [5 / 3, -62 / 3, -160 / 3, -32, 0, 0],
            [82 / 3, 96, 224 / 3, 0, 0, 0],
            [-128 / 3, -176 / 3, 0, 0, 0, 0],
            [16, 0, 0, 0, 0, 0],
        ]
    ),
}


def effective_charge(subshell: str, number: int) -> float:
    """Return the effective nuclear charge Z_s of a subshell by Slater's rules.

    Raises
    ------
    SettingsError
        The subshell is not one of 1s, 2s, 2p.
    """
    if subshell not in SUBSHELLS:
        message = f"There is no hydrogenic model of the subshell {subshell!r}. Use one of {', '.join(SUBSHELLS)}."
        raise SettingsError(message)
    if subshell == "1s":
        return number - (0.5 if number > 1 else 0.0)
    return number - (0.35 * 7 + 1.7)


def hydrogenic(subshell: str, charge: float, energy: np.ndarray, q2: np.ndarray) -> np.ndarray:
    """Return the generalised oscillator strength of one electron per unit of energy loss.

    Parameters
    ----------
    subshell : str
        ``"1s"``, ``"2s"`` or ``"2p"``.
    charge : float
        Effective nuclear charge Z_s.
    energy : ndarray
        Whole energy loss, not its excess over the threshold, eV, any shape.
    q2 : ndarray
        Squared momentum transfer, 1/A^2 (with 2 pi: q = 2 pi k), broadcastable with ``energy``.

    Returns
    -------
    ndarray
        df/dE, 1/eV.
    """
    n = 1 if subshell == "1s" else 2
    e = np.asarray(energy, float) / (RYDBERG * charge**2)
    q = np.asarray(q2, float) * (BOHR / charge) ** 2
    k2 = e - 1 / n**2
    shifted = q - k2 + 1 / n**2
    k = np.sqrt(np.maximum(np.abs(k2), 1e-8))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        above = np.exp(-2 / k * np.arctan2(2 * k / n, shifted)) / -np.expm1(-2 * math.pi / k)
        below = ((shifted + 2 * k / n) / np.maximum(shifted - 2 * k / n, 1e-300)) ** (-1 / k)
    factor = np.where(k2 >= 0, above, below)
    q, k2 = np.broadcast_arrays(q, k2)
    g = np.polynomial.polynomial.polyval2d(q, k2, _G[subshell])
    a = shifted**2 + 4 * k2 / n**2
    return e * g / a ** _POWER[subshell] * factor / (RYDBERG * charge**2)
