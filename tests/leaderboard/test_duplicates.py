"""Near-duplicates between teams: copies are named however they are dressed, answers made apart no more often than is said."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from stemtwin.benchmarks.agents import Baseline, find_baseline
from stemtwin.benchmarks.answers.images import ImageEstimate
from stemtwin.benchmarks.answers.label_maps import LabelMap
from stemtwin.benchmarks.answers.points import Points
from stemtwin.benchmarks.answers.values import Values
from stemtwin.benchmarks.episodes import Episode
from stemtwin.benchmarks.runner import predict
from stemtwin.benchmarks.tasks import find_task
from stemtwin.leaderboard.duplicates import LEVEL, SHARED, TeamAnswers, compare_answers, compare_traces, find_pairs, squares
from tests.benchmarks import frames, noisy_frames

ATOMS, DENOISE = find_task("atoms-2d"), find_task("denoise")


def row(team: str, answers: Mapping[Any, Any]) -> TeamAnswers:
    """Return a row of a table."""
    return TeamAnswers(team=team, name=f"entry of {team}", artefact_sha256=team * 8, answers=answers)


class Thinned:
    """A baseline that looks at the counts of a random part of the electrons: a family with chance."""

    def __init__(self, inner: Any, part: float = 0.8) -> None:
        self.inner, self.part = inner, part

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> Any:
        """Return the answer to the thinned image."""
        counts = rng.binomial(given["image"], self.part).astype(given["image"].dtype)
        found = self.inner.predict({**given, "image": counts}, rng)
        return ImageEstimate(image=found.image / self.part) if isinstance(found, ImageEstimate) else found


def thinned(task: Any, name: str, data: Any, seed: int) -> dict[str, Any]:
    """Return the answers of a family of chance with a seed."""
    inner = find_baseline(task.name, name)
    entry = Baseline(task=task.name, name="thinned", text="", factory=lambda: Thinned(inner.factory()))
    return predict(task, entry, data, seed=seed)


@pytest.fixture(scope="module")
def atoms() -> tuple[Any, dict[str, Any], list[dict[str, Any]]]:
    """Return data, truth and answers of three seeds of one family of ``atoms-2d``."""
    data = frames.make(n=16, clusters=8)
    truth = predict(ATOMS, find_baseline("atoms-2d", "oracle"), data)
    return data, truth, [thinned(ATOMS, "log", data, seed) for seed in range(3)]


@pytest.fixture(scope="module")
def images() -> tuple[Any, dict[str, Any], list[dict[str, Any]]]:
    """Return data, truth and answers of three seeds of one family of ``denoise``."""
    data, _ = noisy_frames.make(n=12, clusters=6)
    truth = predict(DENOISE, find_baseline("denoise", "oracle"), data)
    return data, truth, [thinned(DENOISE, "gaussian", data, seed) for seed in range(3)]


def jittered(points: Points, rng: np.random.Generator, size: float) -> Points:
    """Return points in another order, each moved a little."""
    order = rng.permutation(len(points))
    moved = points.positions[order] + rng.normal(0, size, points.positions.shape)
    return dataclasses.replace(points, positions=moved, classes=points.classes[order], confidence=None)  # type: ignore[index]


@pytest.mark.slow
def test_copies_of_points_are_named(atoms: Any) -> None:
    """An exact copy, one in another order, and one with noise of a tenth of the error are named, answers made apart are not."""
    _, truth, found = atoms
    rng = np.random.default_rng(1)
    sums = np.sum([part["positions"] for name in truth for part in squares(found[0][name], found[0][name], truth[name])], axis=0)
    error = np.sqrt(sums[1] / sum(2 * len(points) for points in truth.values()))
    for size in (0.0, 0.1 * error):
        copy = {name: jittered(points, rng, size) for name, points in found[0].items()}
        rows = [row(f"t{number}", answers) for number, answers in enumerate(found)] + [row("thief", copy)]
        (pair,) = find_pairs(rows, truth)
        assert {pair.first.team, pair.second.team} == {"t0", "thief"}
        first, second = pair.reviews()
        assert (first.team, second.team) == ("t0", "thief")
        assert "near entry of thief (thief): " in first.text
    far = {name: jittered(points, rng, error) for name, points in found[0].items()}
    assert find_pairs([row("t0", found[0]), row("other", far)], truth) == []


@pytest.mark.slow
def test_copies_of_images_are_named(images: Any) -> None:
    """Copies of images with noise of a tenth of their error, and scaled by a thousandth, are named; three seeds of one family are not."""
    _, truth, found = images
    rng = np.random.default_rng(2)
    error = np.sqrt(np.mean([np.mean((found[0][name].image - truth[name].image) ** 2) for name in truth]))
    rows = [row(f"t{number}", answers) for number, answers in enumerate(found)]
    assert find_pairs(rows, truth) == []
    dressed = (
        {name: ImageEstimate(image=one.image + rng.normal(0, 0.1 * error, one.image.shape)) for name, one in found[0].items()},
        {name: ImageEstimate(image=one.image * 1.001) for name, one in found[0].items()},
    )
    for copy in dressed:
        (pair,) = find_pairs([*rows, row("thief", copy)], truth)
        assert {pair.first.team, pair.second.team} == {"t0", "thief"}


@pytest.mark.slow
def test_a_baseline_without_chance_that_two_teams_hand_in_is_named(images: Any) -> None:
    """Two teams that run one baseline without chance have the same answers, which is said; one team alone is not compared with itself."""
    data, truth, _ = images
    answers = predict(DENOISE, find_baseline("denoise", "gaussian"), data)
    assert len(find_pairs([row("a", answers), row("b", answers)], truth)) == 1
    assert find_pairs([row("a", answers), row("a", answers)], truth) == []


def test_copies_are_named_whatever_their_size() -> None:
    """A copy of pictures, exact, with noise of a tenth of the error, or scaled, is named; answers that share half of their errors are not."""
    rng = np.random.default_rng(8)
    names = [f"{number}" for number in range(6)]
    truth = {name: ImageEstimate(image=rng.normal(5, 1, (2, 16, 16))) for name in names}
    common = {name: rng.normal(size=(2, 16, 16)) for name in names}

    def answer(base: Mapping[str, np.ndarray], noise: float) -> dict[str, ImageEstimate]:
        return {name: ImageEstimate(image=base[name] + rng.normal(0, noise, (2, 16, 16))) for name in names}

    rows = [row(f"t{k}", answer({name: truth[name].image + common[name] for name in names}, 1.0)) for k in range(4)]
    assert find_pairs(rows, truth) == []
    own = {name: one.image for name, one in rows[0].answers.items()}
    for copy in (answer(own, 0.0), answer(own, 0.1), answer({name: 1.001 * image for name, image in own.items()}, 0.0)):
        (pair,) = find_pairs([*rows, row("thief", copy)], truth)
        assert {pair.first.team, pair.second.team} == {"t0", "thief"}
        assert "24 of 24 quarters of samples share more than 98% of their errors" in pair.reviews()[0].text


def correlated(rng: np.random.Generator, n: int, size: int, shared: float) -> tuple[dict, dict, dict]:
    """Return two answers of n samples with Gaussian errors that share a part, and the truth."""
    common, own, other = rng.normal(size=(3, n, size))
    truth = {f"{i}": Values(value={f"v{k}": 3.0 for k in range(size)}) for i in range(n)}
    errors = [np.sqrt(shared) * common + np.sqrt(1 - shared) * each for each in (own, other)]
    made = [{f"{i}": Values(value={f"v{k}": 3.0 + float(e[i, k]) for k in range(size)}) for i in range(n)} for e in errors]
    return made[0], made[1], truth


@pytest.mark.parametrize(("size", "draws"), [(1, 40), pytest.param(1, 400, marks=pytest.mark.slow), pytest.param(5, 200, marks=pytest.mark.slow)])
def test_the_stated_rate_holds_at_the_limit(size: int, draws: int) -> None:
    """Errors of which 98 % are common are close in half of the samples: named at 5 % in one of 20 draws at most, below it hardly ever."""
    rng = np.random.default_rng(3)
    at_limit = [compare_answers(*correlated(rng, 30, size, SHARED)) for _ in range(draws)]
    assert abs(np.mean([one.close / one.units for one in at_limit]) - 0.5) < 4 * 0.5 / np.sqrt(30 * draws)
    assert np.mean([one.p_value <= 0.05 for one in at_limit]) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / draws)
    below = [compare_answers(*correlated(rng, 30, size, 0.9)).p_value for _ in range(draws // 4)]
    assert min(below) > LEVEL
    above = [compare_answers(*correlated(rng, 30, size, 0.999)).p_value for _ in range(20)]
    assert np.median(above) < LEVEL


def test_answers_that_are_right_tell_nothing() -> None:
    """Two teams that are exactly right have no common error: nothing follows."""
    truth = {f"{i}": LabelMap(labels=np.arange(12).reshape(3, 4) % 3) for i in range(40)}
    found = compare_answers(truth, truth, truth)
    assert (found.units, found.p_value) == (0, 1.0)
    wrong = {name: LabelMap(labels=np.where(one.labels == 1, 2, one.labels)) for name, one in truth.items()}
    assert compare_answers(wrong, wrong, truth).p_value < 1e-9


def episode(number: int, actions: Any) -> Episode:
    """Return an episode with some actions."""
    plain = tuple(tuple(float(x) for x in action) for action in actions)
    return Episode(
        number=number, seed=number, actions=plain, rewards=(), start={}, end={}, cost={}, terminated=True, wall_s=0.0, observations_sha256=""
    )  # fmt: skip


def traces(rng: np.random.Generator, needed: np.ndarray, spread: float) -> dict[int, Episode]:
    """Return the episodes of an agent that does what is needed up to errors of its own."""
    return {k: episode(k, one + rng.normal(0, spread, one.shape)) for k, one in enumerate(needed)}


def test_copies_of_traces_are_named() -> None:
    """The same actions, and those with noise of a thousandth of the range, are named; agents that need the same and differ by 5 % are not."""
    rng = np.random.default_rng(4)
    needed = rng.uniform(-1, 1, (20, 6, 3))
    one = traces(rng, needed, 0.1)
    apart = [row(f"t{number}", traces(rng, needed, 0.1)) for number in range(3)]
    assert find_pairs([row("own", one), *apart]) == []
    noisy = {k: episode(k, np.array(each.actions) + rng.normal(0, 2e-3, (6, 3))) for k, each in one.items()}
    for copy in (one, noisy):
        (pair,) = find_pairs([row("own", one), *apart, row("thief", copy)])
        assert {pair.first.team, pair.second.team} == {"own", "thief"}
        assert "actions that differ by less than" in pair.reviews()[0].text


def test_traces_of_other_lengths_and_shapes_are_apart() -> None:
    """An episode that goes on, or actions of other numbers, are no copy; nothing in common is no evidence."""
    rng = np.random.default_rng(5)
    one = traces(rng, rng.uniform(-1, 1, (12, 4, 2)), 0.1)
    longer = {k: episode(k, [*each.actions, (0.0, 0.0)]) for k, each in one.items()}
    wider = {k: episode(k, [(*action, 0.0) for action in each.actions]) for k, each in one.items()}
    for other in (longer, wider, {}):
        assert compare_traces(one, other).p_value > 0.5
    assert compare_traces(one, one).p_value < 1e-3
