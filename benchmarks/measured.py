"""Evaluation of tasks on measured data that a user packed, with the entries and the metrics of the tasks on synthetic data.

Reports name the measured dataset as their source, which keeps these scores apart from scores on synthetic data. Scores are not ranked if an algorithm
made the labels.
"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stemtwin.benchmarks.report import ORDERED
from stemtwin.benchmarks.tasks import Task
from stemtwin.datasets.measured import load_measured, read_measured_card
from stemtwin.twin.errors import SettingsError

if TYPE_CHECKING:
    import xarray as xr

    from stemtwin.benchmarks.runner import Evaluation

SOURCE = "measured"
"""Beginning of the names of measured datasets in reports: ``measured/<name>``, which no synthetic dataset has."""


def load_task(task: Task, folder: Path | str, split: str | None = None) -> "tuple[Task, str, xr.Dataset]":
    """Return a task adapted to measured data, the name of the split, and the samples of the split.

    Metrics that need elements are left out if the labels name no elements.
    Scores are sliced only by the columns of the data that have a value for every sample.

    Parameters
    ----------
    task : Task
        A prediction task.
    folder : Path or str
        Folder of a measured dataset that was packed for the task.
    split : str, optional
        Name of the split; by default the task's first split that the dataset contains.

    Raises
    ------
    SettingsError
        The dataset is for another task, or has no labels.
    DatasetError
        The folder is not a measured dataset, its files are damaged, or the dataset does not have the split.
    """
    card = read_measured_card(Path(folder))
    if card.generator.task != task.registered:
        message = f"{folder} was packed for task {card.generator.task!r}, not {task.registered!r}. Pack the files for this task."
        raise SettingsError(message)
    if card.generator.labels_by == "none":
        message = f"{folder} holds images without labels, so nothing can be scored. Pack them with a file of labels."
        raise SettingsError(message)
    split = split or next(name for name in task.splits if name in card.splits)
    data = load_measured(folder, split=split)
    elements = bool((data["column_heaviest"].values > 0).any()) if "column_heaviest" in data else True
    there = dataclasses.replace(
        task,
        source=f"{SOURCE}/{card.name}",
        source_version=card.version,
        splits=tuple(name for name in task.splits if name in card.splits),
        metrics=tuple(metric for metric in task.metrics if elements or "classes" not in metric.needs),
        slices=tuple(column for column in task.slices if _known(data[column.column].values)),
        content=None,
    )
    return there, split, data


def _known(values: np.ndarray) -> bool:
    """Return whether measured data have a value of a column for every sample."""
    return bool(np.isfinite(values).all()) if values.dtype.kind == "f" else bool((values.astype(str) != "unknown").all())


def mark(evaluation: "Evaluation", data: "xr.Dataset") -> "Evaluation":
    """Return an evaluation on measured data, marked as unranked if an algorithm made the labels."""
    report = evaluation.report
    if data.attrs["labels_by"] != "algorithm" or report.trust not in ORDERED:
        return evaluation
    return dataclasses.replace(evaluation, report=dataclasses.replace(report, trust="algorithm"))
