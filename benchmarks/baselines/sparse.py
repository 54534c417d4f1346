"""Baselines of ``sparse-scan``: blocks of large uncertainty, rasters, evenly spread points, random blocks, and an oracle."""

import functools
import math
from collections.abc import Mapping

import numpy as np
import scipy.fft

from stemtwin.benchmarks.agents import Baseline, Brief, add_baseline, known_numbers
from stemtwin.twin.envs import sparse_paths, sparse_scenes
from stemtwin.twin.envs.sparse_instrument import LONGEST, USUAL_DWELL_US, added, chain_of, errors, imaged, nothing
from stemtwin.twin.envs.sparse_paths import COUNT, KINDS
from stemtwin.twin.envs.sparse_scenes import PITCH_ANGSTROM, PROFILE, SCENES, SceneRange

TASK = "sparse-scan"
SPIRALS = (9, 12, 16, 20)
"""Diameters of candidate spirals, points."""
LINES, ANGLES = (48,), 8
"""Lengths of candidate lines, points, and number of their directions."""
SURVEY_DWELL = -0.8
"""Dwell time of the expert's survey, as the argument ``dwell`` of :func:`scan`."""
DWELL = -0.3
"""Dwell time of blocks after the survey, as the argument ``dwell`` of :func:`scan`."""
LEAST = 1e-4
"""Smallest signal in the noise model, fraction of the beam."""
SURVEY_ANGSTROM = 13.0
"""Spacing of the lines of the survey, A; with this spacing, few metal particles on carbon are missed."""
CONSIDERED = 2
"""Number of blocks for which the oracle computes the resulting image."""
AROUND = 11
"""Number of lines across the field; for each block, the oracle also considers one of these lines."""
GOLDEN = (math.sqrt(5) - 1) / 2


def scan(kind: str, corners: tuple[float, float, float, float], dwell: float = 0.0) -> np.ndarray:
    """Return the action that scans a block between two corners (x, y, x, y), which are fractions of the field.

    The dwell time is 4^``dwell`` times the usual one, with ``dwell`` from -1 to 1.
    """
    return np.array([2 * (KINDS.index(kind) + 0.5) / len(KINDS) - 1, *(2 * min(max(one, 0.0), 1.0) - 1 for one in corners), -1, dwell], np.float32)


def declaration() -> np.ndarray:
    """Return the action that declares the end."""
    return np.array([0, 0, 0, 0, 0, 1, 0], np.float32)


class PathPolicy:
    """Base class of policies that scan until the budget is spent.

    The remaining beam time and path time are computed from the times already spent and from the remaining fractions of the two budgets.
    """

    def reset(self, brief: Brief) -> None:
        """Start a new episode."""
        self.points = brief.observation_space["estimate"].shape[0]
        self.blocks = self.number = 0
        self.electrons = 0.0

    def spent(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> bool:
        """Return True if no further block fits into the remaining budget."""
        dose, time = (left_us(cost[name], float(share)) for name, share in zip(("beam_s", "path_s"), observation["budget"], strict=True))
        least, line = COUNT * USUAL_DWELL_US / LONGEST, sparse_paths.raster(1, self.points, PROFILE)[0]
        return dose < 1.01 * least or time < 1.01 * least + line.overhead_us

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return the action that scans the next block, or the declaration of the end once the budget is spent."""
        if self.number == 0:
            self.electrons = float(observation["electrons"][0])
            self.blocks = round(1 / (1 - float(observation["budget"][0])))
        if self.spent(observation, cost):
            return declaration()
        self.number += 1
        return self.choose(observation)

    def choose(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the action that scans the next block."""
        raise NotImplementedError


def left_us(spent_s: float, share: float) -> float:
    """Return the remaining time of a budget (us) from the spent time (s) and the remaining fraction."""
    return spent_s * 1e6 * share / max(1 - share, 1e-9)


class Raster(PathPolicy):
    """Policy that scans lines across the field one after the other, from one edge to the opposite edge."""

    def choose(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the action that scans the next line."""
        del observation
        y = (self.number - 0.5) / (self.blocks - 1)
        return scan("line", (0.0, y, 1.0, y))


class EvenLines(PathPolicy):
    """Policy that scans lines across the field, in turn along both axes, at positions that are multiples of the golden ratio, modulo 1."""

    def choose(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the action that scans the next line."""
        del observation
        at = ((self.number + 1) // 2 * GOLDEN) % 1
        return scan("line", (0.0, at, 1.0, at) if self.number % 2 else (at, 0.0, at, 1.0))


class EvenPoints(PathPolicy):
    """Policy that visits points scattered evenly over the field, with a hop from each point to the next."""

    def choose(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the action that visits points scattered over a rectangle with half the width and half the height of the field.

        The position of the rectangle changes with each action.
        """
        del observation
        x, y = ((0.5 + self.number / sparse_paths.PLASTIC**power) % 1 / 2 for power in (1, 2))
        return scan("hops", (x, y, x + 0.5, y + 0.5), 0.5)


class SurveyThenUnsure(PathPolicy):
    """Policy that surveys the field with quick lines, and then scans blocks where the image is uncertain."""

    def choose(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the action that scans the next line of the survey, or the block that reduces the uncertainty most."""
        lines = round(self.points * PITCH_ANGSTROM / SURVEY_ANGSTROM)
        if self.number <= lines:
            y = (self.number - 0.5) / lines
            return scan("line", (0.0, y, 1.0, y), SURVEY_DWELL)
        worth = taken_away(observation["uncertainty"].astype(float) ** 2, observation["estimate"], self.electrons)
        _, kind, corners = max(candidates(worth))
        return scan(kind, corners, DWELL)


class KnownImage(PathPolicy):
    """Oracle that compares a few blocks in regions with large errors of the image, and scans the block that leaves the smallest error."""

    def reset(self, brief: Brief) -> None:
        """Store the truth."""
        super().reset(brief)
        assert brief.truth is not None
        truth, known = brief.truth(), known_numbers(brief, "scenes", "faults")
        contents = SceneRange(**{name: tuple(ends) for name, ends in known["scenes"].items()})
        sample = tuple(SCENES)[int(truth["sample"])]
        self.true = sparse_scenes.expected_image(sample, int(truth["scene"]), contents, self.points)
        self.chain = chain_of(PROFILE, faults=known["faults"])
        self.known = nothing(self.points)

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return the action that scans the next block, or the declaration of the end once the budget is spent."""
        rows, columns = observation["pixels"][: int(observation["taken"][0])].astype(int).T
        self.known = added(self.known, rows, columns, self.chain.electrons(observation["readings"][: len(rows)]), float(observation["electrons"][0]))
        return super().act(observation, cost)

    def choose(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the action that scans the next block."""
        electrons, found, best = self.electrons * LONGEST**DWELL, [], {}
        worth = taken_away((observation["estimate"] - self.true) ** 2, self.true, self.electrons)
        for value, kind, corners in candidates(worth):
            size = kind, round(math.hypot(corners[2] - corners[0], corners[3] - corners[1]), 3)
            best[size] = max(best.get(size, (0.0, kind, corners)), (value, kind, corners))
        lines = [("line", way.corners) for way in sparse_paths.raster(AROUND, self.points, PROFILE)]
        for kind, corners in [one[1:] for one in sorted(best.values())[-CONSIDERED:]] + [lines[self.number % AROUND]]:
            rows, columns = sparse_paths.block(kind, corners, self.points, PROFILE).pixels.T
            after = imaged(added(self.known, rows, columns, self.true[rows, columns] * electrons, electrons), self.chain)
            found.append((errors(after, self.true)[0], kind, corners))
        _, kind, corners = min(found)
        return scan(kind, corners, DWELL)


class NoBlock:
    """Policy that declares the end at once."""

    def reset(self, brief: Brief) -> None:
        """Start a new episode."""
        del brief

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return the action that declares the end."""
        del observation, cost
        return declaration()


class RandomBlocks:
    """Policy of uniform random actions."""

    def reset(self, brief: Brief) -> None:
        """Seed the random generator."""
        self.rng = np.random.Generator(np.random.Philox(brief.seed))
        self.space = brief.action_space

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return a uniform random action."""
        del observation, cost
        return self.rng.uniform(self.space.low, self.space.high).astype(np.float32)


def taken_away(square: np.ndarray, image: np.ndarray, electrons: float) -> np.ndarray:
    """Return the expected decrease of the squared error at each point if the point is visited once.

    ``square`` is the map of the squared error, and ``electrons`` is the number of incident electrons per point at the usual dwell time.
    """
    noise = np.maximum(image, LEAST) / (electrons * LONGEST**DWELL)
    return square**2 / (square + noise)


def candidates(worth: np.ndarray) -> list[tuple[float, str, tuple[float, float, float, float]]]:
    """Return the best position of each candidate block, as tuples (value, kind, corners).

    The candidate blocks are spirals of several sizes and lines in several directions. The value is the sum of the map ``worth`` over the scan points
    of the block. The kind is ``"spiral"`` or ``"line"``. The corners are two opposite corners, (x, y, x, y), as fractions of the field.
    """
    n, found, spectrum = len(worth), [], scipy.fft.rfft2(worth)
    for kind, (dx, dy), pattern in patterns(n):
        covered = scipy.fft.irfft2(spectrum * pattern, (n, n))
        top, left = (math.ceil(abs(way) / 2) for way in (dy, dx))
        inner = covered[top : n - top, left : n - left]
        row, column = np.unravel_index(int(np.argmax(inner)), inner.shape)
        y, x, whole = int(row) + top, int(column) + left, n - 1
        corners = ((x - dx / 2) / whole, (y - dy / 2) / whole, (x + dx / 2) / whole, (y + dy / 2) / whole)
        found.append((float(inner[row, column]), kind, corners))
    return found


@functools.lru_cache(maxsize=4)
def patterns(points: int) -> tuple[tuple[str, tuple[float, float], np.ndarray], ...]:
    """Return the candidate blocks: kind, vector (x, y) between opposite corners, and complex conjugate spectrum of the mask of visited points."""
    found = [("spiral", (float(size), float(size))) for size in SPIRALS]
    for length in LINES:
        turns = math.pi * np.arange(ANGLES) / ANGLES
        found += [("line", (length * math.cos(turn), length * math.sin(turn))) for turn in turns]
    out = []
    for kind, (dx, dy) in found:
        if max(abs(dx), abs(dy)) >= points - 2:
            continue
        middle, whole = points // 2, points - 1
        corners = ((middle - dx / 2) / whole, (middle - dy / 2) / whole, (middle + dx / 2) / whole, (middle + dy / 2) / whole)
        mask = np.zeros((points, points))
        pixels = sparse_paths.block(kind, corners, points, PROFILE).pixels
        mask[(pixels[:, 0] - middle) % points, (pixels[:, 1] - middle) % points] = 1
        out.append((kind, (dx, dy), np.conj(scipy.fft.rfft2(mask))))
    return tuple(out)


TEXTS = {
    "expert": ("quick lines across the field, then blocks where the image is uncertain", SurveyThenUnsure),
    "raster": ("lines across the field, at the usual dwell time", Raster),
    "blind": ("lines at multiples of the golden ratio, in turn along both axes", EvenLines),
    "points": ("points scattered evenly over the field", EvenPoints),
    "random": ("uniform actions", RandomBlocks),
    "no-op": ("declares the end at once", NoBlock),
    "oracle": ("blocks where the error of the image is large", KnownImage),
}
for _name, (_text, _factory) in TEXTS.items():
    add_baseline(Baseline(task=TASK, name=_name, text=_text, factory=_factory, oracle=_name == "oracle"))
