"""Lower bounds on Bayesian errors by the method of Ziv and Zakai, which applies to any prior and any amount of information.

An error of at least h / 2 is at least as probable as a wrong decision between two values of the parameter that are h apart [1]_. Let the counts
have Poisson means a at one value and b at the other. A wrong decision then has at least the probability (1 - sqrt(1 - exp(-S))) / 2, where S is the
sum of (sqrt(a) - sqrt(b))^2 over all counts. This follows from the inequality of Le Cam between total variation and Hellinger distance. Readings of a
detector are functions of counts and of further noise, so the bounds hold for readings as well. With much information, the bound on the mean square
error is 2 (1 - ln 2) = 0.61 of the Cramer-Rao bound. Without information, it is the variance of the prior.

References
----------
.. [1] J. Ziv, M. Zakai, IEEE Trans. Inf. Theory 15 (1969) 386; K. L. Bell et al., IEEE Trans. Inf. Theory 43 (1997) 624
"""

import numpy as np
from scipy.special import erfc

NODES = 600
"""Number of points of the integrals, in equal steps of the logarithm."""
LEAST_STEP = 1e-6
"""Smallest distance of two values, relative to the largest."""


def wrong_decision(squares: np.ndarray) -> np.ndarray:
    """Return a lower bound on the probability of a wrong decision between two equally probable sets of Poisson means.

    ``squares`` is the sum of (sqrt(a) - sqrt(b))^2 over the means a of one set and the corresponding means b of the other set.
    """
    return 0.5 * (1 - np.sqrt(-np.expm1(-np.asarray(squares, dtype=float))))


def uniform_mean_square(distances: np.ndarray, squares: np.ndarray, length: float) -> np.ndarray:
    """Return the lower bound of Ziv and Zakai on the mean square error of a parameter with a uniform prior.

    The result has the shape (...), which is the shape of ``squares`` without its last axis.

    Parameters
    ----------
    distances : ndarray
        (k,) increasing distances between two values of the parameter.
    squares : ndarray
        (..., k) sums of (sqrt(a) - sqrt(b))^2 over all counts, one sum for each of the k distances. Here a and b are the means of a count at two
        values of the parameter that are this distance apart. Between two distances the sum is interpolated as a power of the distance. Below the
        first distance the sum is proportional to the square of the distance, and above the last distance it is constant.
    length : float
        Length of the interval in which the parameter is uniform.
    """
    nodes = length * np.geomspace(LEAST_STEP, 1, NODES)
    at, tiny = np.log(np.concatenate([[nodes[0] * 1e-3], distances])), 1e-300
    logs = np.log(np.maximum(squares, tiny))
    logs = np.concatenate([logs[..., :1] - 2 * (at[1] - at[0]), logs], axis=-1)
    between = np.apply_along_axis(lambda one: np.interp(np.log(nodes), at, one), -1, logs)
    return np.asarray(np.trapezoid(nodes * (1 - nodes / length) * wrong_decision(np.exp(between)), nodes, axis=-1))


def normal_mean_absolute(information: float, prior: float) -> float:
    """Return the lower bound of Ziv and Zakai on the mean absolute error of a parameter with a normal prior.

    The mean counts must be linear in the parameter for changes as large as the error.

    Parameters
    ----------
    information, prior : float
        Fisher information of the counts, and of the prior.
    """
    reach = 40 / np.sqrt(information + prior)
    nodes = reach * np.linspace(0, 1, NODES)
    return float(0.5 * np.trapezoid(erfc(nodes * np.sqrt(prior / 8)) * 2 * wrong_decision(information * nodes**2 / 4), nodes))
