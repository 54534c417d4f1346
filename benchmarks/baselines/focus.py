"""Baselines of ``autofocus``: focal series with parabola fits, random moves, and the truth itself."""

from collections.abc import Generator, Mapping

import numpy as np

from stemtwin.benchmarks.agents import Baseline, Brief, add_baseline
from stemtwin.twin.errors import SettingsError

LARGEST = np.array([100.0, 50.0, 50.0])  # A: increments of C10, C12a, C12b at action 1


def sharpness(image: np.ndarray) -> float:
    """Return the normalised variance of a frame of counts, without what counting noise adds to it: (var - mean) / mean^2."""
    counts = np.asarray(image, dtype=float)
    mean = counts.mean()
    return float((counts.var() - mean) / mean**2) if mean > 0 else 0.0


def parabola_peak(positions: np.ndarray, values: np.ndarray) -> float:
    """Return where a parabola through the logarithm of the sharpness peaks, within the range of the positions.

    Points count by their sharpness, so that the noisy tail far from focus does not steer the fit. Where the points hold no maximum, the best of them.

    Parameters
    ----------
    positions : ndarray
        (n,) A, n >= 3.
    values : ndarray
        (n,) sharpness.
    """
    values = np.maximum(values, 1e-3 * max(values.max(), 1e-12))
    best = float(positions[np.argmax(values)])
    centre, scale = positions.mean(), max(np.ptp(positions), 1e-9)
    curvature, slope, _ = np.polyfit((positions - centre) / scale, np.log(values), 2, w=values / values.max())
    if curvature >= 0:
        return best
    return float(np.clip(centre - scale * slope / (2 * curvature), positions.min(), positions.max()))


class FocalSeries:
    """What an operator does: a focal series, then the same for both directions of astigmatism, then defocus again.

    Each line is sampled with the other knobs held, a parabola is fitted to the logarithm of the normalised variance, and the knob goes to its peak.
    """

    def reset(self, brief: Brief) -> None:
        """Begin anew."""
        del brief
        self.knobs = np.zeros(3)
        self.value = 0.0
        self.plan = self.course()
        self.begun = False

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return the next increment."""
        del cost
        self.knobs = np.asarray(observation["knobs"], dtype=float)
        self.value = sharpness(observation["image"])
        return next(self.plan)

    def course(self) -> Generator[np.ndarray, None, None]:
        """Yield one action for each frame."""
        yield from self.line(0, (75.0, 150.0, 50.0, -50.0, -150.0))
        yield from self.line(1, (50.0, -50.0))
        yield from self.line(2, (50.0, -50.0))
        while True:
            yield from self.line(0, (25.0, -25.0))
            yield from self.line(1, (20.0, -20.0))
            yield from self.line(2, (20.0, -20.0))

    def line(self, axis: int, offsets: tuple[float, ...]) -> Generator[np.ndarray, None, None]:
        """Sample one knob about where it stands and leave it at the peak of the parabola."""
        start = self.knobs[axis]
        seen = {float(start): self.value}
        for offset in offsets:
            yield from self.go(axis, start + offset, seen)
        peak = parabola_peak(np.array(list(seen)), np.array(list(seen.values())))
        yield from self.go(axis, peak, seen)

    def go(self, axis: int, target: float, seen: dict[float, float]) -> Generator[np.ndarray, None, None]:
        """Move one knob to a target, in as many increments as it needs, and note the sharpness at every stop."""
        while abs(target - self.knobs[axis]) > 1e-3:
            action = np.zeros(3, dtype=np.float32)
            action[axis] = np.clip((target - self.knobs[axis]) / LARGEST[axis], -1, 1)
            yield action
            seen[float(self.knobs[axis])] = self.value


class RandomMoves:
    """Uniform actions."""

    def reset(self, brief: Brief) -> None:
        """Seed the draws."""
        self.rng = np.random.Generator(np.random.Philox(brief.seed))

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return a uniform action."""
        del observation, cost
        return self.rng.uniform(-1, 1, 3).astype(np.float32)


class Truth:
    """Goes straight to zero, by the truth."""

    def reset(self, brief: Brief) -> None:
        """Take the door to the truth."""
        if brief.truth is None:
            message = "The oracle needs the door to the truth, which only the runner opens, for an entry marked as oracle."
            raise SettingsError(message)
        self.truth = brief.truth

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return the increment that cancels the true state, as far as one action goes."""
        del observation, cost
        state = self.truth()
        left = np.array([state["C10_angstrom"], state["C12a_angstrom"], state["C12b_angstrom"]])
        return np.clip(-left / LARGEST, -1, 1).astype(np.float32)


add_baseline(Baseline(task="autofocus", name="focal-series", text="parabolas through the normalised variance of focal series", factory=FocalSeries))
add_baseline(Baseline(task="autofocus", name="random", text="uniform actions", factory=RandomMoves))
add_baseline(Baseline(task="autofocus", name="oracle", text="cancels the true aberrations", factory=Truth, oracle=True))
