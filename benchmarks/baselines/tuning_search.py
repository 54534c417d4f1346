"""Baselines of ``aberration-correction`` that do not measure aberrations, but change the knobs to optimise an image or a Ronchigram.

Two of them maximise the contrast of images: coordinate descent, and a search in a trust region. The third is a search in a trust region that
minimises the fineness of the texture of Ronchigrams. All three are derivative-free.
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from stemtwin.benchmarks.agents import Baseline, Brief, add_baseline
from stemtwin.benchmarks.baselines.tuning import TASK, KnobPolicy, action
from stemtwin.twin.envs.tuning_presets import IMAGE, RONCHIGRAM
from stemtwin.twin.physics import aberrations as optics
from stemtwin.twin.physics import electrons, zemlin

FIRST_CHANGE, DEFOCI = 0.4, np.array([-1.0, -0.7, -0.4, -0.2, 0.2, 0.4, 0.7, 1.0])
"""First changes of knobs, and values of the defocus sweep, in units of the largest misalignment, for policies that use images only."""
CONVERTER_OFFSET = 1000.0
"""Reading of the detector without electrons, ADU, as seen in the darkest pixels of a frame."""
WIDTH = 1.5
"""Standard deviation of the Gaussian with which counting noise is smoothed, points of an image or pixels of a Ronchigram."""
SHARE = 0.8
"""Fraction of the radius of a Ronchigram's disc within which the texture is measured."""
LEAST_ENERGY, LEAST_CONTRAST = 1e-7, 1e-6
"""Lower bounds of the terms of objective functions, for cases where the subtracted noise exceeds the signal."""
SPREAD = 0.5
"""Expected standard deviation of the best values of the knobs, in units of the largest misalignment."""
FIRST_RADIUS, GROWN, SHRUNK, GOOD, BAD = 0.9, 1.5, 0.95, 0.5, 0.1
"""First radius of the trust region in units of the expected distance, factors by which it grows and shrinks, and ratios of true to expected gain.

The region grows above the first ratio and shrinks below the second one.
"""
ASIDE = 1.0
"""Displacement of the next point along the direction of largest uncertainty of the optimum, in units of the standard deviation along it."""
NOISE, FAR = 0.3, 0.1
"""Relative error of the model at its optimum, and its growth with the log of the objective; the error includes the randomness of the film."""
POWER, LEVEL_SPREAD, POWER_SPREAD, FLOOR_SPREAD = 2.2, 0.8, 0.3, 0.3
"""Expected power of the distance, and standard deviations of the logarithm of the level, of the power, and of the logarithm of the floor."""
STEPS = 30
"""Number of steps of a fit."""
LIMIT = 1.3
"""Largest values of the knobs, in units of the largest misalignment."""
FINEST = 512
"""Number of steps into which the largest change of a knob is divided; the randomness of the film hides the effect of finer steps."""


class ContrastDescent(KnobPolicy):
    """Policy that changes one knob after the other to maximise the normalised variance of the image, without measuring aberrations.

    C10 is swept first, because far from focus the contrast is uninformative. Then each knob is tried on either side of its best value. If neither
    side is better, the step of this knob is halved.
    """

    def reset(self, brief: Brief) -> None:
        """Start a new episode."""
        super().reset(brief)
        self.size = np.full(len(self.names), FIRST_CHANGE)
        self.best: tuple[float, np.ndarray] = (-math.inf, np.zeros(len(self.names)))
        self.at, self.centre, self.trials = 0, 0.0, list(DEFOCI * self.step[0])
        self.left = np.ones(3)

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return the action that changes the next knob, or the action that returns to the best point and declares the end."""
        del cost
        knobs, contrast = np.asarray(observation["knobs"], float), normalised_variance(observation["image"])
        if contrast > self.best[0]:
            self.best = contrast, knobs.copy()
        left = np.asarray(observation["budget"], float)
        used, self.left = float((self.left - left).max()), left
        if not self.trials:
            self._next_knob()
        if left.min() < 2.5 * max(used, 1e-3):
            return action(self.best[1] - knobs, self.step, IMAGE, stop=True)
        target = self.best[1].copy()
        target[self.at] = self.trials.pop(0)
        return action(target - knobs, self.step, IMAGE)

    def _next_knob(self) -> None:
        """Select the next knob, and halve the step of the previous knob if it gave no gain."""
        if self.best[1][self.at] == self.centre:
            self.size[self.at] /= 2
        self.at = (self.at + 1) % len(self.names)
        self.centre = self.best[1][self.at]
        way = self.size[self.at] * self.step[self.at]
        self.trials = [self.centre + way, self.centre - way]


def normalised_variance(image: np.ndarray) -> float:
    """Return the variance of a smoothed image divided by its squared mean; the offset of readings in ADU is subtracted first."""
    values = image.astype(float)
    if values.mean() > CONVERTER_OFFSET / 2:
        values = values - CONVERTER_OFFSET
    values = gaussian_filter(values, WIDTH, mode="wrap")
    return float(values.var() / max(float(values.mean()), 1.0) ** 2)


def texture(ronchigram: np.ndarray) -> float:
    """Return the fineness of the texture of a Ronchigram, the geometric mean of two measures: its mean square gradient and mean square Laplacian.

    The Ronchigram is first divided by its mean.

    A patch of the Ronchigram shows the film with a magnification that is inversely proportional to the local defocus. The second derivatives of the
    phase give this defocus. A finer texture therefore means a larger defocus. The mean of the fineness over the disc of the aperture is nearly a
    quadratic form of all aberrations, with its minimum where the phase is flat over the disc. The contribution of counting noise is subtracted.
    """
    lit, inner, noise = _disc(ronchigram.shape)
    mean = float(ronchigram[lit].mean())
    if mean <= 0:
        return math.inf
    counts = np.where(lit, ronchigram / mean, 1.0)
    slopes = [gaussian_filter(counts, WIDTH, order=order)[inner] for order in ((0, 1), (1, 0))]
    bends = np.sum([gaussian_filter(counts, WIDTH, order=order)[inner] for order in ((0, 2), (2, 0))], axis=0)
    energies = np.array([sum(float((one**2).mean()) for one in slopes), float((bends**2).mean())]) - noise / mean
    return math.sqrt(math.prod(np.maximum(energies, LEAST_ENERGY)))


@functools.lru_cache(maxsize=2)
def _disc(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mask of the disc, the mask of its inner part, and the mean square gradient and Laplacian of white noise of variance 1."""
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    share = np.hypot(y[:, None], x) / (shape[0] / 2.2)
    point = np.zeros((31, 31))
    point[15, 15] = 1
    slope = gaussian_filter(point, WIDTH, order=(0, 1))
    bend = gaussian_filter(point, WIDTH, order=(0, 2)) + gaussian_filter(point, WIDTH, order=(2, 0))
    return share < 1, share < SHARE, np.array([2 * (slope**2).sum(), (bend**2).sum()])


@functools.lru_cache(maxsize=8)
def ray_weights(names: tuple[str, ...], energy_ev: float = 200e3, semiangle: float = 25e-3) -> np.ndarray:
    """Return the matrix of the quadratic form that gives the mean square ray displacement over the aperture from the coefficients.

    The array is read-only. ``semiangle`` is in rad.
    """
    phases, _, small = _phases(names, energy_ev, semiangle)
    first = [(phases(dy, dx) - phases(-dy, -dx)) / (4 * np.pi * small) for dy, dx in ((1, 0), (0, 1))]
    return _mean_products(first)


@functools.lru_cache(maxsize=8)
def defocus_weights(names: tuple[str, ...], energy_ev: float = 200e3, semiangle: float = 25e-3) -> np.ndarray:
    """Return the matrix of the quadratic form that gives the mean square local defocus over the aperture from the coefficients.

    The array is read-only. The square of the local defocus is half the sum of the squared elements of H / (2 pi lambda). Here H is the matrix of
    second derivatives of the phase, and lambda is the wavelength. The mean square local defocus is thus 1 A^2 for C10 = 1 A.
    """
    phases, wavelength, small = _phases(names, energy_ev, semiangle)
    middle, unit = phases(0, 0), math.sqrt(2) * 2 * np.pi * wavelength * small**2
    second = [phases(1, 0) + phases(-1, 0) - 2 * middle, phases(0, 1) + phases(0, -1) - 2 * middle]
    mixed = (phases(1, 1) + phases(-1, -1) - phases(1, -1) - phases(-1, 1)) / 4
    return _mean_products([one / unit for one in (*second, mixed, mixed)])


def _phases(names: tuple[str, ...], energy_ev: float, semiangle: float) -> tuple[Callable[[float, float], np.ndarray], float, float]:
    """Return phases per A on points of the aperture that are displaced by small steps along y and x, the wavelength (A) and the step, 1/A."""
    wavelength = electrons.wavelength(energy_ev)
    radius, small = semiangle / wavelength, 1e-3 * semiangle / wavelength
    line = np.linspace(-1, 1, 33) * radius
    ky, kx = (k[np.hypot(line[:, None], line) < radius] for k in np.meshgrid(line, line, indexing="ij"))
    at = [zemlin.PLACE[name] for name in names]

    def phases(dy: float, dx: float) -> np.ndarray:
        return optics.basis(ky + dy * small, kx + dx * small, wavelength)[at]

    return phases, wavelength, small


def _mean_products(parts: list[np.ndarray]) -> np.ndarray:
    out = np.sum([one @ one.T for one in parts], axis=0) / parts[0].shape[1]
    out.setflags(write=False)
    return out


class TrustRegion:
    """Derivative-free search in a trust region for the minimum of an objective function that rises as a power of the distance from the optimum.

    The coordinates z are scaled by the optics, so the curvature is the same along all axes. For the objective function f, the model is
    log f = log a + (p / 2) log(|z - z0|^2 + e^2). Its parameters are the optimum z0, with one number for each knob, and a, p and e. These numbers are
    fitted to all observations by least squares with a Gaussian prior. The next point is the minimum of the model within the region, displaced along
    the direction in which z0 has the largest uncertainty. The sign of the displacement alternates from point to point. Sources: Powell, Acta
    Numerica 7 (1998) 287; Debarre, Booth, Wilson, Opt. Express 15 (2007) 8176, for quadratic models of known curvature.

    Parameters
    ----------
    spreads : ndarray
        Matrix S for which S S^T is the prior covariance of the optimum.
    floor : float
        Expected value of e, which sets the objective function at the optimum, a e^p.
    """

    def __init__(self, spreads: np.ndarray, floor: float) -> None:
        count = len(spreads)
        size = math.sqrt(float((spreads**2).sum()))
        self.size, self.count = size, count
        self.radius, self.side = FIRST_RADIUS * size, 1.0
        self.places: list[np.ndarray] = []
        self.values: list[float] = []
        self.promised = math.nan
        self.middle = np.array([*np.zeros(count), 0.0, POWER, math.log(floor / size)])
        self.prior = np.zeros((count + 3, count + 3))
        self.prior[:count, :count] = np.linalg.inv(spreads / size)
        self.prior[count:, count:] = np.diag([1 / LEVEL_SPREAD, 1 / POWER_SPREAD, 1 / FLOOR_SPREAD])
        self.found = self.middle.copy()

    @property
    def best(self) -> int:
        """Index of the best point so far."""
        return int(np.argmin(self.values))

    def add(self, place: np.ndarray, value: float) -> None:
        """Add a value of the objective function at a point, and adjust the radius of the region.

        The model predicts a decrease of the logarithm of the objective function below its previous minimum. The radius is increased, up to a limit,
        if the decrease exceeds half of the predicted one. The radius is reduced if the decrease is less than a tenth of the predicted one.
        """
        before = min(self.values, default=math.inf)
        self.places.append(place / self.size)
        self.values.append(math.log(max(value, 1e-30)))
        if not math.isnan(self.promised):
            ratio = (before - self.values[-1]) / max(self.promised, 1e-3)
            self.radius = min(self.radius * (SHRUNK if ratio < BAD else GROWN if ratio > GOOD else 1.0), self.size)
        self.promised = math.nan
        if len(self.values) == 1:
            self.middle[self.count] = self.found[self.count] = self.values[0]

    def next(self) -> np.ndarray:
        """Return the next point: the model's minimum within the region, displaced along the direction in which the optimum is least certain."""
        self._fit()
        centre, count, radius = self.places[self.best], self.count, self.radius / self.size
        variances, directions = np.linalg.eigh(self.covariance[:count, :count])
        step = self.found[:count] - centre
        step *= min(1.0, radius / max(float(np.linalg.norm(step)), 1e-12))
        self.promised = self.values[self.best] - float(self._model(self.found, (centre + step)[None])[0])
        self.side = -self.side
        beside = self.side * ASIDE * min(math.sqrt(variances[-1]), radius) * directions[:, -1]
        return (centre + step + beside) * self.size

    def least(self) -> np.ndarray:
        """Return the minimum of the model within the region."""
        self._fit()
        centre = self.places[self.best]
        step = self.found[: self.count] - centre
        return (centre + step * min(1.0, self.radius / self.size / max(float(np.linalg.norm(step)), 1e-12))) * self.size

    def _model(self, numbers: np.ndarray, places: np.ndarray) -> np.ndarray:
        off = places - numbers[: self.count]
        return numbers[-3] + numbers[-2] / 2 * np.log((off**2).sum(axis=1) + math.exp(2 * numbers[-1]))

    def _fit(self) -> None:
        """Find the model's numbers and their covariance by Gauss and Newton's method with Marquardt's damping."""
        places, values = np.array(self.places), np.array(self.values)
        errors = NOISE * (1 + FAR * (values - values.min()))
        numbers, damping = self.found.copy(), 1e-3

        def misfit(at: np.ndarray) -> np.ndarray:
            return np.concatenate([(self._model(at, places) - values) / errors, self.prior @ (at - self.middle)])

        old = misfit(numbers)
        for _ in range(STEPS):
            slopes = np.vstack([self._slopes(numbers, places) / errors[:, None], self.prior])
            normal, pull = slopes.T @ slopes, slopes.T @ old
            trial = numbers - np.linalg.solve(normal + damping * np.diag(np.diag(normal)), pull)
            new = misfit(trial)
            if new @ new < old @ old:
                done = old @ old - new @ new < 1e-4
                numbers, old, damping = trial, new, damping / 5
                if done:
                    break
            else:
                damping *= 5
        self.found, self.covariance = numbers, np.linalg.inv(normal)

    def _slopes(self, numbers: np.ndarray, places: np.ndarray) -> np.ndarray:
        off = places - numbers[: self.count]
        floor = math.exp(2 * numbers[-1])
        total = (off**2).sum(axis=1) + floor
        rest = [np.ones(len(places)), np.log(total) / 2, numbers[-2] * floor / total]
        return np.column_stack([-numbers[-2] * off / total[:, None], *rest])


class RegionSearch(KnobPolicy):
    """Policy that changes all knobs together to minimise an objective function of images or Ronchigrams, without measuring aberrations.

    The search is that of :class:`TrustRegion`.

    Parameters
    ----------
    taken : str
        Measurement that each action takes.
    merit : callable
        Function of an observation that returns the value of the objective function.
    weights : callable
        Function of the names of the coefficients that returns a positive definite matrix W. The squared distance of two settings of the knobs that
        differ by x is x^T W x.
    floor : float
        Expected value of e in the model of :class:`TrustRegion`, in the unit that W defines.
    """

    def __init__(
        self, taken: str, merit: Callable[[Mapping[str, np.ndarray]], float], weights: Callable[[tuple[str, ...]], np.ndarray], floor: float
    ) -> None:
        self.taken, self.merit, self.weights, self.floor = taken, merit, weights, floor

    def reset(self, brief: Brief) -> None:
        """Start a new episode."""
        super().reset(brief)
        self.axes = np.linalg.cholesky(self.weights(self.names)).T
        self.region = TrustRegion(self.axes @ np.diag(SPREAD * self.step), self.floor)
        self.left, self.asked = np.ones(3), False

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return the action that moves to the next point, or the action that moves to the minimum of the model and declares the end."""
        del cost
        knobs, left = np.asarray(observation["knobs"], float), np.asarray(observation["budget"], float)
        used, self.left = float((self.left - left).max()), left
        if not self.asked:
            self.asked = True
            return action(np.zeros(len(knobs)), self.step, self.taken)
        if not observation["report"][-1]:
            self.region.add(self.axes @ knobs, self.merit(observation))
        ending = left.min() < 2.5 * max(used, 1e-3)
        place = self.region.least() if ending else self.region.next()
        target = np.clip(np.linalg.solve(self.axes, place), -LIMIT * self.step, LIMIT * self.step)
        change = np.rint((target - knobs) / self.step * FINEST) / FINEST * self.step
        return action(change, self.step, self.taken, stop=ending)


def texture_seen(observation: Mapping[str, np.ndarray]) -> float:
    """Return the objective that the search minimises: the fineness of the texture of the latest Ronchigram, see :func:`texture`."""
    return texture(observation["ronchigram"])


def blur_seen(observation: Mapping[str, np.ndarray]) -> float:
    """Return the objective that the search minimises: the inverse of the normalised variance of the latest image.

    The objective scales as the area of the blur.
    """
    return 1 / max(normalised_variance(observation["image"]), LEAST_CONTRAST)


def images_in_region() -> RegionSearch:
    """Return the policy that maximises the contrast of images by a search in a trust region.

    The prior of the search assumes a root mean square ray displacement of 0.5 A at the optimum.
    """
    return RegionSearch(IMAGE, blur_seen, ray_weights, 0.5)


def ronchigrams_in_region() -> RegionSearch:
    """Return the policy that minimises the fineness of the texture of Ronchigrams by a search in a trust region.

    The prior of the search assumes a root mean square local defocus of 25 A at the optimum.
    """
    return RegionSearch(RONCHIGRAM, texture_seen, defocus_weights, 25.0)


_ENTRIES: dict[str, tuple[str, Any]] = {
    "ronchigrams": ("search in a trust region for the coarsest texture of Ronchigrams", ronchigrams_in_region),
    "images": ("search in a trust region for the highest contrast of images", images_in_region),
    "contrast": ("coordinate descent on the contrast of images", ContrastDescent),
}
for _name, (_text, _factory) in _ENTRIES.items():
    add_baseline(Baseline(task=TASK, name=_name, text=_text, factory=_factory))
