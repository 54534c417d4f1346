"""Baselines of ``spectrum-discovery``: Gaussian processes on positions and on patches of the image, searches that do not learn, and an oracle."""

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.ndimage import gaussian_filter

from stemtwin.benchmarks.agents import Baseline, Brief, add_baseline
from stemtwin.benchmarks.baselines.deep_kernel import DeepKernel, squares
from stemtwin.twin.envs.scalarisers import SCALARISERS, TECHNIQUES

TASK = "spectrum-discovery"
TECHNIQUE = tuple(one.technique for one in SCALARISERS.values())
"""Technique (EELS or EDX) that each scalariser needs, as the page of the environment states."""
PATCH = 6
"""Largest radius of a patch, pixels."""
COMPONENTS = 6
"""Number of principal components of patches."""
FIRST = 6
"""Number of spectra at dissimilar positions before the first model is fitted."""
PATCH_LENGTHS, PLACE_LENGTHS, NOISES = (0.7, 1.4, 2.8), (0.15, 0.35, 0.8), (0.03, 0.1, 0.3)
"""Candidates for the length scale of patches, the length scale of positions in [-1, 1], and the standard deviation of the noise.

The combination with the greatest likelihood is chosen.
"""
HIDDEN, FEATURES, REACH, ITERATIONS = 16, 3, 4.0, 8
"""Numbers of hidden units and of features of the deep kernel's network, prior standard deviation of a feature, and L-BFGS iterations per spectrum."""
EAGERNESS = 2.0
"""Number of standard deviations above the mean in an upper confidence bound."""


class Posterior(NamedTuple):
    """Posterior means and standard deviations of the score at all candidates, (n,) each."""

    mean: np.ndarray
    deviation: np.ndarray


def grid(side: int) -> np.ndarray:
    """Return the positions (x, y) of all candidates in [-1, 1], row by row, (side^2, 2)."""
    middles = 2 * (np.arange(side) + 0.5) / side - 1
    return np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 2)


def measurement(place: np.ndarray, technique: str) -> np.ndarray:
    """Return the action that takes a spectrum at a position (x, y) with a technique, ``"edx"`` or ``"eels"``."""
    return np.array([place[0], place[1], 1 if technique == "edx" else -1, -1], np.float32)


def declaration(place: np.ndarray) -> np.ndarray:
    """Return the action that declares a position (x, y) as the best one."""
    return np.array([place[0], place[1], -1, 1], np.float32)


def patches(image: np.ndarray, side: int) -> np.ndarray:
    """Return principal components of the patches around all candidates, each with a standard deviation of at most 1, (side^2, 6).

    A patch is described by the mean and the standard deviation of each ring around its middle, so a rotation does not change the description.
    """
    smooth = np.sqrt(gaussian_filter(image.astype(float), 0.7, mode="nearest"))
    finer = len(image) // side
    padded = np.pad(smooth, PATCH + 1, mode="edge")
    y, x = np.mgrid[-PATCH - 1 : PATCH + 2, -PATCH - 1 : PATCH + 2] + 0.5
    ring = np.minimum(np.hypot(y, x), PATCH + 0.5).astype(int)
    windows = np.lib.stride_tricks.sliding_window_view(padded, ring.shape)[finer - 1 :: finer, finer - 1 :: finer][:side, :side]
    parts = []
    for radius in range(PATCH + 1):
        inside = windows[..., (ring == radius) & (np.hypot(y, x) < PATCH + 1)]
        parts += [inside.mean(axis=-1), inside.std(axis=-1)]
    features = np.stack(parts, axis=-1).reshape(side**2, -1)
    features -= features.mean(axis=0)
    features /= np.maximum(features.std(axis=0), 1e-9)
    left, sizes, _ = np.linalg.svd(features, full_matrices=False)
    kept = left[:, :COMPONENTS] * sizes[:COMPONENTS]
    return kept / kept[:, :1].std()


class Kernel(NamedTuple):
    """Covariance of a Gaussian process: a weighted sum of terms, each a product of squared exponentials of some groups of features.

    ``terms`` holds the weight and the indices of the groups for each term. ``lengths`` holds the candidate length scales of each group.
    """

    terms: tuple[tuple[float, tuple[int, ...]], ...]
    lengths: tuple[tuple[float, ...], ...]

    def among(self, alike: Sequence[np.ndarray]) -> np.ndarray:
        """Return the covariance, given the squared exponential of each group of features."""
        return sum(weight * math.prod(alike[group] for group in groups) for weight, groups in self.terms)  # type: ignore[return-value]


PLACES = Kernel(terms=((1.0, (0,)),), lengths=(PLACE_LENGTHS,))
BOTH = Kernel(terms=((0.3, (0,)), (0.4, (0, 1)), (0.3, (1,))), lengths=(PATCH_LENGTHS, PLACE_LENGTHS))


def alike(apart: np.ndarray, scale: float) -> np.ndarray:
    """Return the squared exponential of squared distances, with a length scale in the unit of the distances."""
    return np.exp(apart / (-2 * scale**2))


def posterior(kernel: Kernel, features: list[np.ndarray], measured: np.ndarray, scores: np.ndarray) -> Posterior:
    """Return the posterior of a Gaussian process at all candidates, with length scales and noise of the greatest likelihood.

    Parameters
    ----------
    kernel : Kernel
        Covariance of the process, whose weights add up to 1.
    features : list of ndarray
        Groups of features of all candidates, (n, k) each.
    measured : ndarray
        Indices of the measured candidates, int (m,).
    scores : ndarray
        Scores of the measured candidates, float (m,), with mean 0 and standard deviation 1.
    """
    apart = [squares(group, group[measured]) for group in features]
    near = [{scale: alike(part[measured], scale) for scale in scales} for part, scales in zip(apart, kernel.lengths, strict=True)]
    best, found = -np.inf, None
    for scales in itertools.product(*kernel.lengths):
        among = kernel.among([part[scale] for part, scale in zip(near, scales, strict=True)])
        for noise in NOISES:
            lower = cholesky(among + (noise**2 + 1e-8) * np.eye(len(measured)), lower=True, check_finite=False)
            weights = cho_solve((lower, True), scores, check_finite=False)
            likelihood = -0.5 * float(scores @ weights) - float(np.log(np.diag(lower)).sum())
            if likelihood > best:
                best, found = likelihood, (scales, lower, weights)
    assert found is not None
    scales, lower, weights = found
    across = kernel.among([alike(part, scale) for part, scale in zip(apart, scales, strict=True)])
    deviation = np.sqrt(np.maximum(1 - (solve_triangular(lower, across.T, lower=True) ** 2).sum(axis=0), 0))
    return Posterior(mean=across @ weights, deviation=deviation)


def standardised(scores: np.ndarray) -> np.ndarray:
    """Return the logarithms of scores (n,), shifted and scaled to mean 0 and standard deviation 1."""
    logs = np.log(np.maximum(scores, 1e-3))
    return (logs - logs.mean()) / max(float(logs.std()), 1e-6)


class Searcher:
    """Base class of searches that take all spectra of the budget and then declare a position."""

    def reset(self, brief: Brief) -> None:
        """Start a new episode."""
        self.rng = np.random.Generator(np.random.Philox(brief.seed))
        self.side = 0

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return the action that takes the next spectrum or declares a position; a position whose spectrum gave no score counts as not measured."""
        count = round(cost["spectra"])
        if not self.side:
            self.begin(observation["image"])
        told = np.flatnonzero(self.told(observation, count))
        taken, scores = observation["places"][told], observation["scores"][told].astype(float)
        columns, rows = ((taken + 1) / 2 * self.side).astype(int).T
        measured = rows * self.side + columns
        if count == len(observation["places"]):
            return declaration(self.places[self.answer(measured, scores)] if len(told) else np.zeros(2))
        return measurement(self.places[self.next(measured, scores)], self.technique(observation, count))

    def told(self, observation: Mapping[str, np.ndarray], count: int) -> np.ndarray:
        """Return a mask of the first ``count`` spectra, bool (count,), which is True for a spectrum that gave a score."""
        return observation["scores"][:count] > 0

    def technique(self, observation: Mapping[str, np.ndarray], count: int) -> str:
        """Return the technique of the next spectrum.

        The score of a spectrum is the value of a scalariser (a ratio of counts). If the scalariser is named, it determines the technique. If it is
        hidden, both techniques are used in turn until a spectrum gives a score. The technique of this spectrum is used from then on.
        """
        if observation["target"].any():
            return TECHNIQUE[int(np.argmax(observation["target"]))]
        found = np.flatnonzero(observation["scores"][:count] > 0)
        if len(found):
            return TECHNIQUES[int(observation["edx_taken"][found[0]])]
        return TECHNIQUES[count % 2]

    def begin(self, image: np.ndarray) -> None:
        """Prepare the search from the image, in which each candidate covers 2 x 2 pixels."""
        self.side = len(image) // 2
        self.places = grid(self.side)

    def next(self, measured: np.ndarray, scores: np.ndarray) -> int:
        """Return the index of the candidate to measure next."""
        raise NotImplementedError

    def answer(self, measured: np.ndarray, scores: np.ndarray) -> int:
        """Return the index of the candidate to declare, which is the candidate with the best score."""
        return int(measured[np.argmax(scores)])


class LowDiscrepancy(Searcher):
    """Search that takes spectra at the randomly shifted points of a low-discrepancy sequence, and declares the position with the best score.

    Parameters
    ----------
    looks : bool
        True if the scores are used. If False, the last position is declared.
    """

    def __init__(self, *, looks: bool = True) -> None:
        self.looks = looks

    def next(self, measured: np.ndarray, scores: np.ndarray) -> int:
        """Return the index of the candidate at the next point of the sequence, whose steps follow from the plastic number."""
        del scores
        steps = np.array([0.7548776662466927, 0.5698402909980532])
        column, row = ((len(measured) * steps + self.shift) % 1 * self.side).astype(int)
        return int(row) * self.side + int(column)

    def told(self, observation: Mapping[str, np.ndarray], count: int) -> np.ndarray:
        """Return a mask of the first ``count`` spectra, bool (count,): True for each spectrum with a score, or for all if scores are not used."""
        return super().told(observation, count) if self.looks else np.ones(count, bool)

    def technique(self, observation: Mapping[str, np.ndarray], count: int) -> str:
        """Return the technique of the next spectrum.

        If the search uses scores, the technique is that of :meth:`Searcher.technique`. If not, it is always the technique that most scalarisers
        need. A scalariser is a ratio of counts that gives the score of a spectrum.
        """
        return super().technique(observation, count) if self.looks else max(TECHNIQUES, key=TECHNIQUE.count)

    def begin(self, image: np.ndarray) -> None:
        """Prepare the candidates, and draw the shift of the sequence."""
        super().begin(image)
        self.shift = self.rng.random(2)

    def answer(self, measured: np.ndarray, scores: np.ndarray) -> int:
        """Return the index of the candidate with the best score, or of the last candidate if scores are not used."""
        return super().answer(measured, scores) if self.looks else int(measured[-1])


class Brightest(Searcher):
    """Search that takes spectra in the order of decreasing brightness, and declares the position with the best score."""

    def begin(self, image: np.ndarray) -> None:
        """Sort the candidates by their brightness."""
        super().begin(image)
        tiles = image.reshape(self.side, 2, self.side, 2).sum(axis=(1, 3)).ravel()
        self.order = np.argsort(-tiles.astype(float), kind="stable")

    def next(self, measured: np.ndarray, scores: np.ndarray) -> int:
        """Return the index of the brightest candidate that has not been measured."""
        del scores
        return int(self.order[len(measured)])


class GaussianSearch(Searcher):
    """Search that measures the candidate with the greatest upper confidence bound of a Gaussian process.

    Parameters
    ----------
    sees : str
        Inputs of the Gaussian process. ``"places"`` uses positions only. ``"patches"`` adds fixed features of patches of the image.
        ``"learned"`` adds features of patches from a network whose training continues after each spectrum.
    """

    def __init__(self, *, sees: str = "patches") -> None:
        self.sees = sees

    def begin(self, image: np.ndarray) -> None:
        """Prepare the features, and choose the first candidates: each has the largest distance in features from the candidates chosen before it."""
        super().begin(image)
        self.groups = [self.places] if self.sees == "places" else [patches(image, self.side), self.places]
        joined = np.concatenate(self.groups, axis=1)
        first = [int(self.rng.integers(len(joined)))]
        for _ in range(FIRST - 1):
            away = np.min([((joined - joined[one]) ** 2).sum(axis=1) for one in first], axis=0)
            first.append(int(np.argmax(away)))
        self.first = first
        if self.sees == "learned":
            self.deep = DeepKernel(self.groups[0], self.places, hidden=HIDDEN, outputs=FEATURES, reach=REACH, rng=self.rng)

    def model(self, measured: np.ndarray, scores: np.ndarray) -> Posterior:
        """Return the posterior of the log score for every candidate position.

        Log scores are logarithms of scores, shifted and scaled so that those of the measured positions have mean 0 and standard deviation 1.
        """
        logs = standardised(scores)
        if self.sees == "learned":
            self.deep.train(measured, logs, iterations=ITERATIONS)
            return Posterior(*self.deep.posterior(measured, logs))
        return posterior(PLACES if self.sees == "places" else BOTH, self.groups, measured, logs)

    def next(self, measured: np.ndarray, scores: np.ndarray) -> int:
        """Return the index of the candidate with the greatest upper confidence bound among the candidates that are not measured."""
        if len(measured) < FIRST:
            return self.first[len(measured)]
        found = self.model(measured, scores)
        bound = found.mean + EAGERNESS * found.deviation
        bound[measured] = -np.inf
        return int(np.argmax(bound))

    def answer(self, measured: np.ndarray, scores: np.ndarray) -> int:
        """Return the index of the measured candidate with the greatest posterior mean."""
        return int(measured[np.argmax(self.model(measured, scores).mean[measured])])


class MiddleDeclared:
    """Policy that declares the middle of the field at once."""

    def reset(self, brief: Brief) -> None:
        """Start a new episode."""
        del brief

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return the action that declares the middle of the field."""
        del observation, cost
        return declaration(np.zeros(2))


class RandomPlaces:
    """Policy of uniform random actions."""

    def reset(self, brief: Brief) -> None:
        """Seed the random generator."""
        self.rng = np.random.Generator(np.random.Philox(brief.seed))
        self.space = brief.action_space

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return a uniform random action."""
        del observation, cost
        return self.rng.uniform(self.space.low, self.space.high).astype(np.float32)


class KnownPlaces(Searcher):
    """Oracle that takes spectra at the best 1 % of the candidates, and declares the best candidate of all."""

    def reset(self, brief: Brief) -> None:
        """Store the truth."""
        super().reset(brief)
        assert brief.truth is not None
        truth: Mapping[str, Any] = brief.truth()
        self.asked = TECHNIQUE[int(truth["target"])]
        self.best = [int(truth[f"best_{number}"]) for number in range(sum(name.startswith("best_") for name in truth))]

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return the action that takes the next spectrum, or the action that declares the best candidate.

        Spectra are taken in the order of decreasing true score of the candidates.
        """
        count = round(cost["spectra"])
        if not self.side:
            self.begin(observation["image"])
        if count < min(len(self.best), len(observation["places"])):
            return measurement(self.places[self.best[count]], self.asked)
        return declaration(self.places[self.best[0]])


TEXTS = {
    "expert": ("GP-UCB on patches of the image and positions", GaussianSearch),
    "gp-position": ("GP-UCB on positions only", functools.partial(GaussianSearch, sees="places")),
    "deep-kernel": (
        "UCB on a deep kernel: a network on patches and positions with a Gaussian process behind it",
        functools.partial(GaussianSearch, sees="learned"),
    ),
    "brightest": ("the brightest positions, and the best of them", Brightest),
    "low-discrepancy": ("positions of a low-discrepancy sequence, and the best of them", LowDiscrepancy),
    "random": ("uniform actions", RandomPlaces),
    "no-op": ("declares the middle at once", MiddleDeclared),
    "blind": ("positions of a low-discrepancy sequence, and the last of them", functools.partial(LowDiscrepancy, looks=False)),
    "oracle": ("the best 1 % of the positions, and the best of all", KnownPlaces),
}
for _name, (_text, _factory) in TEXTS.items():
    add_baseline(Baseline(task=TASK, name=_name, text=_text, factory=_factory, oracle=_name == "oracle"))
