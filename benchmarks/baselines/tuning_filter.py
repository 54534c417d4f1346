"""Recursive least squares for aberrations and for a corrector's response, from measurements and commanded changes."""

import functools

import numpy as np

from stemtwin.twin.physics import electrons, phase_error, zemlin

GAIN, ROTATION = 0.15, 0.2
"""Prior standard deviations of a corrector: its gain, and the part of a change that goes into the other component."""
COUPLING = {0: 0.06, 1: 0.06, 2: 0.01}
"""Standard deviations of parasitic aberrations, A/A, by the number of orders that they lie below the changed one."""
HYSTERESIS = 0.03
"""Standard deviation of the hysteresis of a change, relative to the change."""
STRAYING = {1: 1.0, 2: 7.0, 3: 40.0}
"""Random walk of aberrations by order, A after 1 s, for a drift of 20 A in ten minutes."""


class ResponseFilter:
    """Estimates of aberrations and of the matrix by which they follow the knobs.

    Each coefficient is x = x0 + R u with the commanded knobs u: linear in x0 and in its row of R, which measurements at different knobs determine.

    Parameters
    ----------
    names : sequence of str
        Cartesian coefficients.
    size : ndarray
        Their usual magnitudes at the start, A.
    """

    def __init__(self, names: tuple[str, ...], size: np.ndarray) -> None:
        self.names, count = names, len(names)
        self.mean = np.concatenate([np.zeros((count, 1)), np.eye(count)], axis=1)
        self.covariance = np.zeros((count, count + 1, count + 1))
        for i, name in enumerate(names):
            self.covariance[i] = np.diag([size[i] ** 2, *(_prior(name, other) ** 2 for other in names)])
        self.same = np.array([[other[:3] == name[:3] for other in names] for name in names])
        self.straying = np.array([STRAYING[int(name[1])] for name in names])
        self.knobs = np.zeros(count)

    def moved(self, knobs: np.ndarray, seconds: float) -> None:
        """Update the filter with the knobs after a command, and the time since the last one, s."""
        change = np.abs(knobs - self.knobs)
        beside = np.where(self.same, change, 0.0).max(axis=1)
        self.covariance[:, 0, 0] += (HYSTERESIS * beside) ** 2 + self.straying**2 * seconds
        self.knobs = knobs.copy()

    def measured(self, places: np.ndarray, values: np.ndarray, errors: np.ndarray) -> None:
        """Update the filter with measured values and standard deviations, A, of the coefficients of some indices."""
        lever = np.append(1.0, self.knobs)
        for i, value, error in zip(places, values, errors, strict=True):
            along = self.covariance[i] @ lever
            gain = along / (lever @ along + error**2)
            self.mean[i] += gain * (value - lever @ self.mean[i])
            self.covariance[i] -= np.outer(gain, along)

    def after(self, change: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and variances of the aberrations after a change of the knobs, A and A^2."""
        lever = np.append(1.0, self.knobs + change)
        beside = np.where(self.same, np.abs(change), 0.0).max(axis=1)
        return self.mean @ lever, np.einsum("j,ijk,k->i", lever, self.covariance, lever) + (HYSTERESIS * beside) ** 2

    def correction(self, weights: np.ndarray, caution: float = 1.0) -> np.ndarray:
        """Return the change of the knobs that minimises the expected square of the phase error, A.

        The error consists of the mean, of the uncertainty of aberrations and response at the new knobs, and of the hysteresis: a sum of squares
        in the change. Aberrations that are poorly known are changed little.

        Parameters
        ----------
        weights : ndarray
            Covariance of the phases of the coefficients over the aperture, rad^2/A^2.
        caution : float
            Weight of the uncertainty: 1 where nothing is measured afterwards, small where a measurement and a correction follow.
        """
        lever, response, spread = np.append(1.0, self.knobs), self.mean[:, 1:], np.diag(weights)
        doubt = caution * np.einsum("i,ijk->jk", spread, self.covariance)
        curvature = response.T @ weights @ response + doubt[1:, 1:] + np.diag(HYSTERESIS**2 * spread)
        slope = response.T @ weights @ (self.mean @ lever) + doubt[1:] @ lever
        return -np.linalg.solve(curvature, slope)


def _prior(name: str, other: str) -> float:
    """Return the standard deviation of the response of a coefficient to the knob of another one."""
    if name == other:
        return GAIN
    if name[:3] == other[:3]:
        return ROTATION
    return COUPLING.get(int(other[1]) - int(name[1]), 0.0)


@functools.lru_cache(maxsize=8)
def phase_weights(names: tuple[str, ...], energy_ev: float = 200e3, semiangle: float = 25e-3) -> np.ndarray:
    """Return the covariance of the phases of coefficients over an aperture, rad^2/A^2, read-only."""
    whole = phase_error.phase_covariance(electrons.wavelength(energy_ev), semiangle)
    at = [zemlin.PLACE[name] for name in names]
    out = whole[np.ix_(at, at)]
    out.setflags(write=False)
    return out
