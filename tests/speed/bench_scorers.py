"""Speed of scorers: the whole score, with all slices and intervals, of the answers of a naive baseline on the test split of the size std."""

import functools
from collections.abc import Callable

import numpy as np
import xarray as xr

from stemtwin.benchmarks import runner
from stemtwin.benchmarks.agents import find_baseline
from stemtwin.benchmarks.tasks import Task, find_task
from stemtwin.datasets.cards import find_card
from tests.speed.bench_datasets import built_size
from tests.speed.run import Row

NAIVE = {
    "atoms-2d": "random",
    "atoms-2d@2": "maxima",
    "defects": "odd-peaks",
    "denoise": "counts",
    "drift": "frames",
    "instruments": "maxima",
    "ronchigram": "prior",
}
"""Naive baseline of each task."""


def repeated(data: xr.Dataset, samples: int) -> tuple[xr.Dataset, dict[str, str]]:
    """Return a split repeated to a number of samples, each repetition as new specimens, and the original id of each new one."""
    parts, originals, count = [], {}, len(data["sample_id"])
    for turn in range(-(-samples // count)):
        ids = [f"{name}-{turn}" for name in data["sample_id"].values.astype(str)]
        originals |= dict(zip(ids, data["sample_id"].values.astype(str).tolist(), strict=True))
        specimens = [f"{name}-{turn}" for name in data["specimen"].values.astype(str)]
        parts.append(data.assign(sample_id=("sample", np.array(ids)), specimen=("sample", np.array(specimens))))
    whole = xr.concat(parts, "sample").isel(sample=slice(samples))
    return whole, {name: originals[name] for name in whole["sample_id"].values.astype(str).tolist()}


def answers(task: Task, samples: int, size: str) -> tuple[xr.Dataset, dict[str, object]]:
    """Return the test split of the size std, or that of tiny repeated to as many samples, and the answers of the naive baseline."""
    data = runner.load_samples(task, split="test", size=size)
    found = runner.predict(task, find_baseline(task.registered, NAIVE[task.registered]), data)
    if size == "std":
        return data, found
    whole, originals = repeated(data, samples)
    return whole, {name: found[original] for name, original in originals.items()}


def scorer(name: str) -> tuple[Callable[[], None], None]:
    """Return the function that scores the answers."""
    task = find_task(name)
    card = find_card(task.source, task.source_version)
    counts = card.sizes["std"]
    size = built_size(f"{task.source}@{task.source_version}")
    data, found = answers(task, counts.specimens["test"] * counts.images_per_specimen["test"], size)

    def score() -> None:
        runner.score_predictions(task, data, found, split="test", size="std", entry=NAIVE[name], trust="baseline")

    return score, None


ROWS = [
    Row(
        work=f"score of {name}, naive answers on the test split of std (where std is not built: tiny repeated to as many samples)",
        bar=60,
        prepare=functools.partial(scorer, name),
        value=lambda ours, _: ours,
        unit="s",
        at_most=True,
    )
    for name in NAIVE
]
