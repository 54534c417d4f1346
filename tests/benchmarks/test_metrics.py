"""Every metric of the registry says what its hand-made references say, for one set of sums and for many at once."""

import dataclasses

import numpy as np
import pytest

from stemtwin.benchmarks.metrics.metric import METRICS, Metric, load_metrics
from stemtwin.benchmarks.tasks import load_tasks
from stemtwin.twin.errors import SettingsError

each_metric = pytest.mark.parametrize("name", load_metrics())


@each_metric
def test_references_hold(name: str) -> None:
    """The formula gives the value that was computed by hand, also for stacked sums, as slices and resamples need it."""
    metric = METRICS[name]
    assert metric.references, "no reference"
    assert any(np.isfinite(value) for _, value in metric.references)
    for sums, value in metric.references:
        arrays = {key: np.asarray(one) for key, one in sums.items()}
        assert metric.formula(arrays) == pytest.approx(value, rel=1e-12, nan_ok=True)
        stacked = {key: np.stack([np.stack([one] * 2)] * 3) for key, one in arrays.items()}
        np.testing.assert_allclose(metric.formula(stacked), np.full((3, 2), value), rtol=1e-12)


@each_metric
def test_metrics_say_what_they_are(name: str) -> None:
    """A metric has a title and a formula in words that names the sums of its references, and stands under its own name."""
    metric = METRICS[name]
    assert name.rpartition("/")[2] == metric.name
    assert metric.title
    assert all(any(sum_ in metric.text for sum_ in sums) for sums, _ in metric.references)
    assert f"{metric.direction} is better" in METRICS.tags(name)


def test_metrics_of_tasks_are_registered() -> None:
    """Each metric of each task stands in the registry; a task may only add the bound of its own data."""
    known = {METRICS[name].formula: METRICS[name] for name in METRICS}
    for task in map(load_tasks().__getitem__, load_tasks()):
        for metric in task.metrics:
            assert dataclasses.asdict(dataclasses.replace(metric, limit=None)) == dataclasses.asdict(known[metric.formula]), (task.name, metric.name)


def test_a_direction_is_one_of_two() -> None:
    """A metric that is better neither larger nor smaller is refused."""
    with pytest.raises(SettingsError, match="must be 'max' or 'min'"):
        Metric(name="x", title="x", formula=np.sum, text="x", references=(), direction="up")  # pyright: ignore[reportArgumentType]
