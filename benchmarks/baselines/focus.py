"""Baselines of ``autofocus``: defocus series with fits of parabolas, random moves, and an oracle that knows the truth."""

import functools
import itertools
from collections.abc import Generator, Mapping

import numpy as np

from stemtwin.benchmarks.agents import Baseline, Brief, add_baseline
from stemtwin.twin.envs.focus_limits import STEP
from stemtwin.twin.errors import SettingsError

SECTORS = 12  # azimuths over half a turn
SWEEP = (75.0, 150.0, 50.0, -50.0, -150.0)  # A: first values of C10, relative to the start
PROBES = ((35.0, 0.0, 0.0), (-35.0, 0.0, 0.0), (0.0, 25.0, 0.0), (0.0, 0.0, 25.0), (0.0, -25.0, 0.0), (0.0, 0.0, -25.0))
NOISE_SIGMAS = 4.0
TRUST = 160.0  # A: a fitted focus further than this from the sharpest frame is an extrapolation


def sector_powers(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the normalised variance of a frame in 12 sectors of azimuths of the spatial frequency, and the noise of these values.

    The sum over the sectors is the variance of the windowed frame, divided by the square of its mean, without the contribution of counting noise.

    Parameters
    ----------
    image : ndarray
        (ny, nx) counts.

    Returns
    -------
    tuple of ndarray
        Normalised variances (12,) and their standard deviations from counting noise (12,).
    """
    counts = np.asarray(image, dtype=float)
    mean = max(counts.mean(), 1e-9)
    sector, inside = _sectors(counts.shape)
    window = np.outer(np.hanning(counts.shape[0]), np.hanning(counts.shape[1]))
    power = np.abs(np.fft.fft2((counts - mean) * window)) ** 2 / (np.sum(window**2) * counts.size * mean**2)
    floor = 1.0 / (counts.size * mean)  # of Poisson counts, the same at every frequency
    found = np.bincount(sector[inside], weights=power[inside] - floor, minlength=SECTORS)
    return found, floor * np.sqrt(np.bincount(sector[inside], minlength=SECTORS))


@functools.lru_cache(maxsize=4)
def _sectors(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the sector of every Fourier coefficient, and a mask of those that count.

    The lowest frequencies, which contain the window, and the highest frequencies do not count.
    """
    ky, kx = np.meshgrid(np.fft.fftfreq(shape[0]), np.fft.fftfreq(shape[1]), indexing="ij")
    k = np.hypot(ky, kx)
    azimuth = np.arctan2(ky, kx) % np.pi
    sector, counting = np.floor(azimuth / np.pi * SECTORS + 0.5).astype(int) % SECTORS, (k > 4.5 / min(shape)) & (k < 0.25)
    sector.setflags(write=False)
    counting.setflags(write=False)
    return sector, counting


def fit_focus(knobs: np.ndarray, powers: np.ndarray, noise: np.ndarray) -> np.ndarray | None:
    """Return the knob values of the best focus, A, (3,), by a fit of parabolas to the logarithms of the powers of a series of frames.

    To lowest order, the aberrations c = C10, a = C12a, b = C12b multiply the power at a spatial frequency g of azimuth phi by the factor
    exp(-kappa |M g|^2), where M = [[c + a, b], [b, c - a]] is the curvature of the wavefront. For a fixed length of g this factor is

        exp(-kappa (c^2 + a^2 + b^2 + 2 c (a cos 2 phi + b sin 2 phi))).

    Each azimuth thus has its own best defocus, -(a cos 2 phi + b sin 2 phi), so one defocus series determines defocus and astigmatism. Each of c, a
    and b is a knob plus an unknown offset. The logarithm of the power is then linear in kappa, in the products of kappa and the three offsets, and in
    one constant for each azimuth, so the fit is one weighted linear least-squares problem.

    Parameters
    ----------
    knobs : ndarray
        (n, 3) C10, C12a, C12b of the frames, A.
    powers, noise : ndarray
        (n, 12) from :func:`sector_powers`.

    Returns
    -------
    ndarray or None
        Knobs of best focus; None where the frames contain no maximum.
    """
    frame, sector = np.nonzero(powers > NOISE_SIGMAS * noise)
    if len(frame) < SECTORS:
        return None
    value = powers[frame, sector]
    double = 2 * np.pi * sector / SECTORS
    cos, sin = np.cos(double), np.sin(double)
    scaled = knobs[frame] / STEP[0]
    c, a, b = scaled.T
    constants = np.eye(SECTORS)[sector]
    terms = np.stack(
        [
            -(c**2 + a**2 + b**2 + 2 * c * (a * cos + b * sin)),
            -2 * (c + a * cos + b * sin),
            -2 * (a + c * cos),
            -2 * (b + c * sin),
        ],
        axis=1,
    )
    weight = value / powers.max()
    design = np.hstack([terms, constants]) * weight[:, None]
    kappa, *offsets = np.linalg.lstsq(design, np.log(value) * weight, rcond=1e-8)[0][:4]
    return -STEP[0] * np.array(offsets) / kappa if kappa > 0 else None


class FocalSeries:
    """Policy that focuses as a human operator does.

    It takes a defocus series, moves to the fitted best focus, and continues with smaller changes about this point. Twofold astigmatism gives every
    azimuth a different focus, so the fit (:func:`fit_focus`) uses one parabola in defocus for each azimuth. The fitted quantity is the logarithm of
    the normalised variance at this azimuth. Every fit uses all frames of the episode so far.
    """

    def reset(self, brief: Brief) -> None:
        """Start a new episode."""
        self.low, self.high = brief.observation_space["knobs"].low.astype(float), brief.observation_space["knobs"].high.astype(float)
        self.knobs: list[np.ndarray] = []
        self.powers: list[tuple[np.ndarray, np.ndarray]] = []
        self.plan = self.course()

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return the next increments of C10, C12a and C12b, in units of 100, 50 and 50 A."""
        del cost
        self.knobs.append(np.asarray(observation["knobs"], dtype=float))
        self.powers.append(sector_powers(observation["image"]))
        target = np.clip(next(self.plan), self.low, self.high)
        return np.clip((target - self.knobs[-1]) / STEP, -1, 1).astype(np.float32)

    def course(self) -> Generator[np.ndarray, None, None]:
        """Yield the target values of the knobs for each frame, A, (3,); one action is not always enough to reach them."""
        for defocus in SWEEP:
            yield np.array([defocus, 0.0, 0.0])
        for probe in itertools.cycle(PROBES):
            while np.abs(self.best() - self.knobs[-1]).max() > 3.0:
                yield self.best()
            yield self.best()
            yield self.best() + probe

    def best(self) -> np.ndarray:
        """Return the knob values of the fitted best focus, A, (3,), or those of the sharpest frame if the fit fails or is an extrapolation."""
        knobs, powers, noise = np.array(self.knobs), np.array([p for p, _ in self.powers]), np.array([n for _, n in self.powers])
        sharpest = knobs[np.argmax(powers.sum(axis=1))]
        fitted = fit_focus(knobs, powers, noise)
        if fitted is None or np.linalg.norm(fitted - sharpest) > TRUST:
            return sharpest
        return np.clip(fitted, self.low, self.high)


class RandomMoves:
    """Policy of uniform random actions."""

    def reset(self, brief: Brief) -> None:
        """Seed the random generator."""
        self.rng = np.random.Generator(np.random.Philox(brief.seed))

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return a uniform random action."""
        del observation, cost
        return self.rng.uniform(-1, 1, 3).astype(np.float32)


class FocusOracle:
    """Oracle that cancels the true C10, C12a and C12b; each action cancels as much of them as its range allows."""

    def reset(self, brief: Brief) -> None:
        """Store the function that returns the truth."""
        if brief.truth is None:
            message = "The oracle needs access to the truth, which the runner gives only to an entry marked as oracle."
            raise SettingsError(message)
        self.truth = brief.truth

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return the increment that cancels the true aberrations, limited to the range of one action."""
        del observation, cost
        state = self.truth()
        left = np.array([state["C10_angstrom"], state["C12a_angstrom"], state["C12b_angstrom"]])
        return np.clip(-left / STEP, -1, 1).astype(np.float32)


add_baseline(Baseline(task="autofocus", name="focal-series", text="parabolas through the normalised variance of focal series", factory=FocalSeries))
add_baseline(Baseline(task="autofocus", name="random", text="uniform actions", factory=RandomMoves))
add_baseline(Baseline(task="autofocus", name="oracle", text="cancels the true aberrations", factory=FocusOracle, oracle=True))
