"""Deep kernel learning: a Gaussian process on features of a small network, both trained together by the marginal likelihood.

The model is that of A. G. Wilson, Z. Hu, R. Salakhutdinov, E. P. Xing, AISTATS (2016) 370. The weights have a normal prior, because a network without
a prior overfits if there are few data (S. W. Ober, C. E. Rasmussen, M. van der Wilk, UAI (2021) 1206). The initial weights are drawn from a normal
distribution, and the prior is centred on them (T. Pearce, F. Leibfried, A. Brintrup, AISTATS (2020) 234). With a prior centred on 0, the most
probable network for few data would give all inputs the same features.
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

NOISE, LENGTH, SPREAD = 0.1, 0.35, 0.7
"""Log-normal priors: median standard deviation of the noise, median length scale of positions, and standard deviation of both logarithms."""
ALONE, JOINT, NEAR = 0.3, 0.4, 0.3
"""Weights of the terms of the covariance: features, features times positions, positions."""
JITTER = 1e-6


class KernelNetwork(NamedTuple):
    """Parameters of a network with one hidden layer of tanh units, and of a Gaussian process on the features that it returns.

    The network has d inputs, h hidden units and k outputs, which are the features. ``inner``, (d + 1, h), and ``outer``, (h, k), are its weights in
    units of their prior standard deviations. The last row of ``inner`` holds the biases. ``logs``, (2,), holds two logarithms for the Gaussian
    process: that of the standard deviation of the noise, and that of the length scale of positions.
    """

    inner: np.ndarray
    outer: np.ndarray
    logs: np.ndarray

    def flat(self) -> np.ndarray:
        """Return all parameters as one vector."""
        return np.concatenate([part.ravel() for part in self])

    def like(self, flat: np.ndarray) -> "KernelNetwork":
        """Return a network whose arrays have the same shapes and take their numbers from a vector."""
        first, second = self.inner.size, self.inner.size + self.outer.size
        return KernelNetwork(flat[:first].reshape(self.inner.shape), flat[first:second].reshape(self.outer.shape), flat[second:])


class DeepKernel:
    """A Gaussian process of variance 1 on the positions of candidates and on learned features.

    The covariance is a weighted sum of three squared exponentials: of the features, of the positions, and of features and positions together.

    Parameters
    ----------
    cases : ndarray
        Inputs of the network for all candidates, with standard deviations of about 1, (n, d).
    places : ndarray
        Positions of the candidates, (n, 2).
    hidden, outputs : int
        Number of units of the hidden layer, and number of features.
    reach : float
        Prior standard deviation of a feature, relative to the length scale of the covariance.
    rng : numpy.random.Generator
        Generator of the initial weights.
    """

    def __init__(self, cases: np.ndarray, places: np.ndarray, *, hidden: int, outputs: int, reach: float, rng: np.random.Generator) -> None:
        self.cases, self.places = np.column_stack([cases, np.ones(len(cases))]), places
        inputs = self.cases.shape[1]
        self.scales = 1 / np.sqrt(inputs), reach / np.sqrt(hidden)
        self.network = KernelNetwork(rng.normal(size=(inputs, hidden)), rng.normal(size=(hidden, outputs)), np.log([NOISE, LENGTH]))
        self.anchor = self.network.flat()
        self.spreads = np.append(np.ones(len(self.anchor) - 2), [SPREAD, SPREAD])

    def features(self, chosen: np.ndarray, network: KernelNetwork) -> tuple[np.ndarray, np.ndarray]:
        """Return the hidden units, (m, h), and the features, (m, k), of the candidates with the indices ``chosen``, int (m,)."""
        hidden = np.tanh(self.cases[chosen] @ network.inner * self.scales[0])
        return hidden, hidden @ network.outer * self.scales[1]

    def loss(self, flat: np.ndarray, chosen: np.ndarray, values: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the negative logarithm of marginal likelihood times prior, up to a constant, and its gradient.

        Parameters
        ----------
        flat : ndarray
            Parameters of a network as one vector.
        chosen, values : ndarray
            Indices of the measured candidates, int (m,), and their values, (m,), with mean 0 and standard deviation 1.
        """
        network = self.network.like(flat)
        noise, length = np.exp(2 * network.logs)
        hidden, features = self.features(chosen, network)
        apart = squares(self.places[chosen], self.places[chosen]) / length
        alike, near = np.exp(-0.5 * squares(features, features)), np.exp(-0.5 * apart)
        try:
            lower = cholesky(ALONE * alike + JOINT * alike * near + NEAR * near + (noise + JITTER) * np.eye(len(values)), lower=True)
        except LinAlgError:
            return np.inf, np.zeros_like(flat)
        inverse = cho_solve((lower, True), np.eye(len(values)), check_finite=False)
        weights = inverse @ values
        moved = (flat - self.anchor) / self.spreads
        found = 0.5 * float(values @ weights) + float(np.log(np.diag(lower)).sum()) + 0.5 * float(moved @ moved)
        by_covariance = 0.5 * (inverse - np.outer(weights, weights))
        pull = by_covariance * (ALONE + JOINT * near) * alike
        by_features = -2 * (pull.sum(axis=1)[:, None] * features - pull @ features)
        by_hidden = by_features @ network.outer.T * self.scales[1] * (1 - hidden**2) * self.scales[0]
        by_logs = [2 * noise * np.trace(by_covariance), (by_covariance * (JOINT * alike + NEAR) * near * apart).sum()]
        gradient = [(self.cases[chosen].T @ by_hidden).ravel(), (hidden.T @ by_features * self.scales[1]).ravel(), by_logs]
        return found, np.concatenate(gradient) + moved / self.spreads

    def train(self, chosen: np.ndarray, values: np.ndarray, *, iterations: int) -> None:
        """Continue the training on measured values for a number of L-BFGS iterations; see :meth:`loss`."""
        found = minimize(self.loss, self.network.flat(), (chosen, values), "L-BFGS-B", jac=True, options={"maxiter": iterations})
        self.network = self.network.like(found.x)

    def posterior(self, chosen: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the posterior mean and standard deviation at all candidates, (n,) each; see :meth:`loss` for the arguments."""
        noise, length = np.exp(2 * self.network.logs)
        features = self.features(np.arange(len(self.cases)), self.network)[1]
        alike = np.exp(-0.5 * squares(features[chosen], features))
        near = np.exp(-0.5 * squares(self.places[chosen], self.places) / length)
        across = ALONE * alike + JOINT * alike * near + NEAR * near
        lower = cholesky(across[:, chosen] + (noise + JITTER) * np.eye(len(values)), lower=True, check_finite=False)
        reduced = solve_triangular(lower, across, lower=True, check_finite=False)
        mean = across.T @ cho_solve((lower, True), values, check_finite=False)
        return mean, np.sqrt(np.maximum(1 - (reduced**2).sum(axis=0), 0))


def squares(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the squared distances between the rows of two arrays, (n, m)."""
    return np.maximum((one**2).sum(1)[:, None] + (other**2).sum(1) - 2 * one @ other.T, 0)
