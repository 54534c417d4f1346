"""Honeypots: they do not count, nothing given tells them by name or order, and only who has seen the truth is near it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stemtwin.benchmarks.agents import find_baseline
from stemtwin.benchmarks.answers.images import ImageEstimate
from stemtwin.benchmarks.answers.points import Points
from stemtwin.benchmarks.honeypots import KINDS, Planted, counted, find_leak, plant
from stemtwin.benchmarks.runner import predict
from stemtwin.benchmarks.tasks import Task, find_task
from stemtwin.twin.errors import SettingsError
from tests.benchmarks import frames, noisy_frames

TASKS: dict[str, tuple[Callable[..., Any], str]] = {
    "denoise": (lambda **options: noisy_frames.make(**options)[0], "gaussian"),
    "atoms-2d": (frames.make, "log"),
}


@pytest.fixture(scope="module", params=[pytest.param(name, marks=[pytest.mark.slow] if name == "atoms-2d" else []) for name in TASKS])
def planted(request: pytest.FixtureRequest) -> tuple[Task, Any, Planted]:
    """Return a task, its rows, and these with six honeypots."""
    make, _ = TASKS[request.param]
    data = make(n=6, clusters=6)
    return find_task(request.param), data, plant(find_task(request.param), data, np.random.default_rng(7))


def answers(task: Task, name: str, data: Any) -> dict[str, Any]:
    """Return the answers of a baseline."""
    return predict(task, find_baseline(task.name, name), data)


def blurred(answer: Any, rng: np.random.Generator) -> Any:
    """Return the truth with noise, as who hides that he has seen it hands it in."""
    if isinstance(answer, Points):
        return Points.at(np.clip(answer.positions + rng.normal(0, 0.2, answer.positions.shape), 0, 12))
    return ImageEstimate(image=answer.image + rng.normal(0, 2 * answer.image.std(axis=(1, 2), keepdims=True), answer.image.shape))


def test_who_has_the_truth_is_found(planted: Any) -> None:
    """The truth as a submission, exact and with noise, is found; a baseline that sees the images is not, although it answers them well."""
    task, _, made = planted
    truth = answers(task, "oracle", made.data)
    rng = np.random.default_rng(8)
    for found in (truth, {name: blurred(answer, rng) for name, answer in truth.items()}):
        leak = find_leak(task, found, made.honeypots, draws=9999)
        assert leak.suspicious
        assert leak.excess > 0.2
        assert f"{leak.excess:+.2f} above chance" in leak.text
    honest = find_leak(task, answers(task, TASKS[task.name][1], made.data), made.honeypots, draws=9999)
    assert not honest.suspicious
    assert honest.excess < 0.2


def test_honeypots_do_not_count(planted: Any) -> None:
    """The score of a planted split is that of the rows before, up to the order of sums, whatever stands in the honeypots."""
    task, data, made = planted
    before = answers(task, TASKS[task.name][1], data)
    back = {new: before[old] for new, old in made.names.items()}
    all_ = back | {one.sample_id: next(iter(before.values())) for one in made.honeypots}
    rows, found = counted(made.data, all_, made.honeypots)
    plain, again = task.score(data, before), task.score(rows, found)
    assert task.primary.formula(again.sums()) == pytest.approx(task.primary.formula(plain.sums()), rel=1e-12)
    assert len(again) == len(plain) == data.sizes["sample"]


def test_names_and_order_tell_nothing(planted: Any) -> None:
    """All rows have names of one form in their own order; the rows that count are those of before; the truth of a honeypot is another specimen's."""
    task, data, made = planted
    names = made.data["sample_id"].values.astype(str).tolist()
    assert names == sorted(set(names))
    assert {len(name) for name in names} == {len(names[0])}
    assert sorted(made.names.values()) == sorted(data["sample_id"].values.tolist())
    assert [one.kind for one in made.honeypots] == [kind for kind in KINDS for _ in range(2)]
    assert not set(made.names) & {one.sample_id for one in made.honeypots}
    assert len({one.kind for one in made.honeypots}) == 3
    task.form.checked(answers(task, "oracle", made.data), made.data, "the truth")


def test_an_impossible_dose_is_one(planted: Any) -> None:
    """Less than one electron on average lies in an image of an impossible dose, and its stated dose says so; noise has the mean of an image."""
    _, data, made = planted
    rows = dict(zip(made.data["sample_id"].values.tolist(), made.data["image"].values, strict=True))
    dose = dict(zip(made.data["sample_id"].values.tolist(), made.data["dose_e_per_angstrom2"].values, strict=True))
    for one in made.honeypots:
        if one.kind == "impossible dose":
            assert rows[one.sample_id].sum() < 10
            assert dose[one.sample_id] < 1e-4 * data["dose_e_per_angstrom2"].values.min()
        else:
            assert rows[one.sample_id].sum() > 1e3
            assert dose[one.sample_id] > 0.1 * data["dose_e_per_angstrom2"].values.min()


@pytest.mark.slow
def test_the_rate_is_that_which_is_stated() -> None:
    """Answers that do not know the kept truth have p-values of 5 % or less in one of 20 plantings at most, whatever else they know."""
    task = find_task("denoise")
    data, _ = noisy_frames.make(n=6, clusters=6)
    found, rng = [], np.random.default_rng(9)
    for number in range(40):
        made = plant(task, data, np.random.default_rng(number), each=1)
        some = rng.permutation(data["expected"].values)
        own = {one.sample_id: ImageEstimate(image=some[k]) for k, one in enumerate(made.honeypots)}  # the truth of other rows
        found.append(find_leak(task, own, made.honeypots, draws=499).p_value)
    assert np.mean(np.array(found) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / len(found))


def test_what_cannot_have_honeypots() -> None:
    """Tasks without a form, too few specimens and no honeypots are refused with the repair."""
    data, _ = noisy_frames.make(n=3, clusters=3)
    with pytest.raises(SettingsError, match="the other specimens of the split; there are 2, and at least 3"):
        plant(find_task("denoise"), data, np.random.default_rng(0))
    with pytest.raises(SettingsError, match=r"'autofocus' has no honeypots\. Tasks with honeypots: denoise, atoms-2d"):
        plant(find_task("autofocus"), data, np.random.default_rng(0))
    with pytest.raises(SettingsError, match="each=0 must be at least 1"):
        plant(find_task("denoise"), data, np.random.default_rng(0), each=0)
    with pytest.raises(SettingsError, match="is empty"):
        find_leak(find_task("denoise"), {}, ())
