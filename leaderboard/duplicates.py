"""Near-duplicates: predictions or actions of two teams that are closer to each other than independent answers are.

Two good answers A and B to the same samples are similar because both are near the truth, and their errors are correlated
because both follow from the same noisy data. Independent answers, however, do not share all of their errors. With
e = A - truth and f = B - truth, the common fraction of the errors in a quarter of an image is::

    c = 1 - |A - B|^2 / (|e|^2 + |f|^2)

On average, c is 2 cov(e, f) / (var e + var f), which is 1 for copies and 0 for independent errors.

The null hypothesis for a pair is that c exceeds ``SHARED`` = 0.98 in a quarter with a probability of at most 1/2. The test
counts the quarters in which c exceeds 0.98. This number is binomially distributed, because the noise of different quarters
is independent. For Gaussian errors with a common fraction of 0.98 the probability is exactly 1/2 for any number of errors,
because |A - B|^2 and |A + B - 2 truth|^2 are then independent and, after scaling, identically distributed. Therefore, if
the common fraction of every pair is at most 0.98, at most one table in a hundred contains a reported pair (``LEVEL``, by
Bonferroni's bound over the pairs of a table). If noise of a tenth of the error is added to a copy, the common fraction is
0.995.

Actions have no truth. The traces of two agents (their actions in an episode) are close if the root mean square of their
differences is below ``NEAR`` = 1 % of the range of the two agents' actions. The null hypothesis is that independent agents
are close in at most half of the episodes; this is an assumption. Deterministic agents with equal actions count as the same
agent and are reported.

The only consequence of a reported pair is a request for review; ranks do not change.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats
from scipy.spatial import cKDTree

from stemtwin.benchmarks.answers.points import Points
from stemtwin.benchmarks.answers.values import Values
from stemtwin.benchmarks.episodes import Episode
from stemtwin.benchmarks.matching import match
from stemtwin.leaderboard.reviews import Review

SHARED = 0.98
"""Largest common fraction of the errors of independent answers."""
NEAR = 0.01
"""Difference of actions, as a fraction of their range, below which the traces of two agents in an episode are close."""
LEVEL = 0.01
"""Probability that a table of independent answers contains a pair that is reported."""
GATE = 0.5
"""Largest distance of a point from its true point, in units of the distance to the nearest other true point."""
NOTHING = (0.0, 0.0, 0.0)
QUARTERS = ((False, False), (False, True), (True, False), (True, True))
SMALLEST = 8
"""Smallest side of an image that is divided into quarters, pixels."""
Squares = tuple[float, float, float]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TeamAnswers:
    """Answers of one entry on the board.

    Parameters
    ----------
    team, name, artefact_sha256 : str
        Team of the entry, name of the entry, and hash of its answers.
    answers : mapping
        Answers by sample id; for an agent, its episodes by (number of the episode, number of the attempt).
    """

    team: str
    name: str
    artefact_sha256: str
    answers: Mapping[Any, Any]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Resemblance:
    """Result of a comparison of two answers.

    Parameters
    ----------
    units, close : int
        Number of compared units, and number of units in which the answers are close. For agents, a unit is an episode. For predictions, a
        unit is a quarter of the image, or of the points, of one sample; any other answer to a sample is one unit.
    p_value : float
        Probability that at least this number of units is close, if each unit is close with probability 1/2.
    typical : float
        Median over the units. For predictions: the fraction of the errors that both answers share. For agents: the
        difference of the actions divided by their range.
    """

    units: int
    close: int
    p_value: float
    typical: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Two entries of different teams that are too close to be independent; ``p_value`` is corrected for the number of compared pairs."""

    first: TeamAnswers
    second: TeamAnswers
    found: Resemblance
    p_value: float
    agents: bool

    def reviews(self) -> tuple[Review, Review]:
        """Return two requests for review, one for each entry of the pair."""
        found = self.found
        if self.agents:
            claim = f"episodes have actions that differ by less than {NEAR:.0%} of their range (median {found.typical:.2g} of it)"
        else:
            claim = f"quarters of samples share more than {SHARED:.0%} of their errors (median {found.typical:.2%})"
        numbers = f"{found.close} of {found.units} {claim}; p = {self.p_value:.1g}, corrected for all pairs of the table"

        def review(own: TeamAnswers, other: TeamAnswers) -> Review:
            whose = f"{other.name} ({other.team})" if other.team else other.name
            return Review(team=own.team, name=own.name, artefact_sha256=own.artefact_sha256, kind="duplicate", text=f"near {whose}: {numbers}")

        return review(self.first, self.second), review(self.second, self.first)


def find_pairs(rows: Sequence[TeamAnswers], truth: Mapping[str, Any] | None = None, *, level: float = LEVEL) -> list[Pair]:
    """Return the pairs of entries of different teams that are too close to be independent, the most significant first.

    Parameters
    ----------
    rows : sequence of TeamAnswers
        Entries of one table.
    truth : mapping, optional
        True answers by sample id, as the task's oracle gives them; None for agents, whose actions are compared.
    level : float
        Upper limit of the probability that any pair is reported although all answers are independent.
    """
    pairs = [(one, other) for one, other in itertools.combinations(rows, 2) if one.team != other.team]
    found = []
    for one, other in pairs:
        result = compare_traces(one.answers, other.answers) if truth is None else compare_answers(one.answers, other.answers, truth)
        p_value = min(1.0, result.p_value * len(pairs))
        if p_value <= level:
            found.append(Pair(first=one, second=other, found=result, p_value=p_value, agents=truth is None))
    return sorted(found, key=lambda pair: pair.p_value)


def sign_test(close: np.ndarray, typical: float) -> Resemblance:
    """Return the result of a sign test on two entries.

    Parameters
    ----------
    close : ndarray
        Flag for each unit (see :class:`Resemblance`), True if the two entries are close, shape (n,).
    typical : float
        Median of a quantity over all units: the shared fraction of the errors, or the difference of the actions. The test does not use it; it is
        copied to :attr:`Resemblance.typical` of the result.
    """
    units, count = len(close), int(np.count_nonzero(close))
    return Resemblance(units=units, close=count, p_value=float(stats.binom.sf(count - 1, units, 0.5)), typical=typical)


def compare_answers(one: Mapping[str, Any], other: Mapping[str, Any], truth: Mapping[str, Any]) -> Resemblance:
    """Compare the predictions of two teams in each quarter of each sample; quarters in which both teams are exactly right are left out.

    Parameters
    ----------
    one, other, truth : mapping
        Answers of both teams and true answers, by sample id.
    """
    rows = [row for name, true in truth.items() for row in squares(one[name], other[name], true)]
    parts = sorted({part for row in rows for part in row})
    table = np.array([[row.get(part, NOTHING) for part in parts] for row in rows]).reshape(len(rows), -1, 3)
    scale = table[..., 1:].sum(axis=2).mean(axis=0) if rows else np.ones(len(parts))
    apart, first, second = (table[:, scale > 0] / scale[scale > 0, None]).sum(axis=1).T
    errors = first + second
    told = errors > 0
    shared = 1 - apart[told] / errors[told]
    return sign_test(shared > SHARED, float(np.median(shared)) if told.any() else 0.0)


def squares(one: Any, other: Any, true: Any) -> list[dict[str, Squares]]:
    """Return three sums of squares for each quarter of a sample and each part (array) of the answers.

    The sums are those of the difference between the answers, of the error of ``one``, and of the error of ``other``. Only
    points in both answers and in the truth count, because a missing point is due more to the image than to the method.
    Images (of at least 8 x 8 pixels) and sets of points are divided into quarters. Other answers are not divided.
    """
    if isinstance(true, Points):
        return _squares_of_points(one, other, true)
    pairs = [_arrays(*pair) for pair in ((one, other), (one, true), (other, true))]
    quarters = []
    for place in QUARTERS if all(_pictures(*pair) for arrays in pairs for pair in arrays.values()) else [None]:
        sums = [{name: _square_distance(*(_quarter(each, place) for each in pair)) for name, pair in arrays.items()} for arrays in pairs]
        quarters.append({part: (sums[0][part], sums[1][part], sums[2][part]) for part in sums[0] if part in sums[1] and part in sums[2]})
    return quarters


def _squares_of_points(one: Points, other: Points, true: Points) -> list[dict[str, Squares]]:
    """Return the sums of squares over the points in both answers; each point is matched with one true point, in any order."""
    gates = np.ones(len(true))
    if len(true) > 1:
        gates = GATE * cKDTree(true.positions).query(true.positions, k=2)[0][:, 1]
    pairs = [dict(zip(*match(each.positions, true.positions, gates)[1::-1], strict=True)) for each in (one, other)]
    both = sorted(pairs[0].keys() & pairs[1].keys())
    first, second = (each.positions[[pair[number] for number in both]] for each, pair in zip((one, other), pairs, strict=True))
    at = true.positions[both]
    sums = np.stack([np.sum((a - b) ** 2, axis=1) for a, b in ((first, second), (first, at), (second, at))], axis=1)
    sides = at[:, :2] > np.median(true.positions[:, :2], axis=0) if len(true) else np.empty((0, 2), dtype=bool)
    quarters = [sums[(sides == np.array(place)).all(axis=1)].sum(axis=0) for place in QUARTERS]
    return [{"positions": (float(d), float(e), float(f))} for d, e, f in quarters]


def _arrays(one: Any, other: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the arrays of two answers for each part that both answers contain."""
    if isinstance(one, Values):
        given = {name: (getattr(one, name), getattr(other, name)) for name in ("value", "sigma", "low", "high")}
        there = {name: pair for name, pair in given.items() if None not in pair}
        return {f"{name} {key}": (np.asarray(own[key]), np.asarray(its[key])) for name, (own, its) in there.items() for key in own}
    fields = {field.name: (getattr(one, field.name), getattr(other, field.name)) for field in dataclasses.fields(one)}
    return {name: (np.asarray(own), np.asarray(its)) for name, (own, its) in fields.items() if own is not None and its is not None}


def _pictures(one: np.ndarray, other: np.ndarray) -> bool:
    """Return True if two arrays are images of the same shape that can be divided into quarters."""
    return one.shape == other.shape and one.ndim > 1 and min(one.shape[-2:]) >= SMALLEST


def _quarter(array: np.ndarray, place: tuple[bool, bool] | None) -> np.ndarray:
    """Return a quarter of an image, or the whole image."""
    if place is None:
        return array
    halves = (slice(size // 2, None) if side else slice(size // 2) for side, size in zip(place, array.shape[-2:], strict=True))
    return array[(..., *halves)]


def _square_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return the summed squared difference of two arrays, or the number of different integers; unequal shapes differ everywhere."""
    if one.dtype.kind in "iub" and other.dtype.kind in "iub":
        return float(np.count_nonzero(one != other)) if one.shape == other.shape else float(max(one.size, other.size))
    one, other = one.astype(float), other.astype(float)
    return float(np.sum((one - other) ** 2)) if one.shape == other.shape else float(np.sum(one**2) + np.sum(other**2))


def compare_traces(one: Mapping[Any, Episode], other: Mapping[Any, Episode]) -> Resemblance:
    """Compare the actions of two agents in the episodes that both agents have played.

    Parameters
    ----------
    one, other : mapping
        Episodes of each agent, by (number of the episode, number of the attempt).
    """
    keys = [key for key in one if key in other]
    pairs = [(trace(one[key]), trace(other[key])) for key in keys]
    whole = [part for pair in pairs for part in pair if part.size]
    if not whole:
        return sign_test(np.zeros(0, dtype=bool), np.inf)
    width = max(part.shape[1] for part in whole)
    stacked = np.concatenate([part for part in whole if part.shape[1] == width])
    span = np.ptp(stacked, axis=0)
    differences = np.array([_difference(*pair, span) for pair in pairs])
    return sign_test(differences < NEAR, float(np.median(differences)))


def trace(episode: Episode) -> np.ndarray:
    """Return the actions of an episode as an array (steps, numbers); actions with fewer numbers are padded with inf."""
    rows = [list(_numbers(action)) for action in episode.actions]
    width = max(map(len, rows), default=0)
    return np.array([row + [np.inf] * (width - len(row)) for row in rows], dtype=float).reshape(len(rows), width)


def _numbers(action: Any) -> "Any":
    """Yield the numbers of an action; a text gives one number for each character."""
    if isinstance(action, Mapping):
        for name in sorted(action):
            yield from _numbers(action[name])
    elif isinstance(action, str):
        yield from (float(ord(character)) for character in action)
    elif isinstance(action, Sequence):
        for part in action:
            yield from _numbers(part)
    else:
        yield float(action)


def _difference(one: np.ndarray, other: np.ndarray, span: np.ndarray) -> float:
    """Return the rms difference of two traces as a fraction of the range; steps that only one trace has differ by the whole range."""
    if one.shape[1] != other.shape[1] or one.shape[1] != len(span):
        return 1.0
    used = span > 0
    steps = min(len(one), len(other))
    longer = max(len(one), len(other))
    if not used.any():  # both agents repeat one action
        return 0.0 if len(one) == len(other) else 1.0
    squares = ((one[:steps, used] - other[:steps, used]) / span[used]) ** 2
    return float(np.sqrt((squares.sum() + (longer - steps) * used.sum()) / (longer * used.sum()))) if longer else 0.0
