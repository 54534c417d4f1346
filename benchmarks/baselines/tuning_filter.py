"""Recursive least squares for the aberrations and the response of a corrector, from measurements and commanded changes."""

import functools

import numpy as np

from stemtwin.twin.physics import electrons, phase_error, zemlin

GAIN, ROTATION = 0.15, 0.2
"""Prior standard deviations of the gain of a corrector, and of the fraction of a change that goes into the other component of the aberration."""
COUPLING = {0: 0.06, 1: 0.06, 2: 0.01}
"""Standard deviations of parasitic aberrations, A/A, by the order of the changed aberration minus the order of the parasitic one."""
HYSTERESIS = 0.03
"""Standard deviation of the hysteresis of a change, relative to the change."""
STRAYING = {1: 1.0, 2: 7.0, 3: 40.0}
"""Random walk of aberrations by order, A after 1 s, for a drift of 20 A in ten minutes."""


class ResponseFilter:
    """Recursive least-squares estimate of the aberrations and of the response matrix of a corrector.

    With the commanded knobs u and the response matrix R, the coefficients are x = x0 + R u. Each coefficient is linear in its initial value and in
    its row of R, and measurements at different u determine both.

    Parameters
    ----------
    names : sequence of str
        Names of the Cartesian coefficients.
    size : ndarray
        Usual magnitudes of the coefficients at the start, A.
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
        """Update the filter after a command.

        ``knobs`` holds the commanded values of the coefficients, A. ``seconds`` is the time since the previous command, s.
        """
        change = np.abs(knobs - self.knobs)
        beside = np.where(self.same, change, 0.0).max(axis=1)
        self.covariance[:, 0, 0] += (HYSTERESIS * beside) ** 2 + self.straying**2 * seconds
        self.knobs = knobs.copy()

    def measured(self, places: np.ndarray, values: np.ndarray, errors: np.ndarray) -> None:
        """Update the filter with measured values and standard deviations, A; ``places`` holds the indices of the measured coefficients."""
        lever = np.append(1.0, self.knobs)
        for i, value, error in zip(places, values, errors, strict=True):
            along = self.covariance[i] @ lever
            gain = along / (lever @ along + error**2)
            self.mean[i] += gain * (value - lever @ self.mean[i])
            self.covariance[i] -= np.outer(gain, along)

    def after(self, change: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the means (A) and the variances (A^2) of the aberrations after a change of the knobs, A."""
        lever = np.append(1.0, self.knobs + change)
        beside = np.where(self.same, np.abs(change), 0.0).max(axis=1)
        return self.mean @ lever, np.einsum("j,ijk,k->i", lever, self.covariance, lever) + (HYSTERESIS * beside) ** 2

    def correction(self, weights: np.ndarray, caution: float = 1.0) -> np.ndarray:
        """Return the change of the knobs (A) that minimises the expected square of the phase error.

        The expected square is the sum of three terms, which come from the mean aberrations after the change, from the uncertainty of the aberrations
        and of the response, and from the hysteresis. Each term is quadratic in the change, and poorly known aberrations are changed little.

        Parameters
        ----------
        weights : ndarray
            Covariance, over the aperture, of the phases that the coefficients cause, rad^2/A^2; see :func:`phase_weights`.
        caution : float
            Weight of the uncertainty: 1 if no measurement follows, small if a measurement and another correction follow.
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
    """Return the covariance, over an aperture, of the phases that the coefficients cause, rad^2/A^2.

    The array is read-only. ``semiangle`` is in rad.
    """
    whole = phase_error.phase_covariance(electrons.wavelength(energy_ev), semiangle)
    at = [zemlin.PLACE[name] for name in names]
    out = whole[np.ix_(at, at)]
    out.setflags(write=False)
    return out
