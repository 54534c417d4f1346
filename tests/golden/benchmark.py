"""The tiny build of a dataset, made and read as users do, and the scores of both tasks."""

import functools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import stemtwin as st
from tests.golden.arrays import frames
from tests.golden.internals import Evaluation, command, evaluate, find_task
from tests.golden.registry import Arrays, case

DATASET, VERSION, SPLITS = "atoms-2d", "1.0.0", ("train", "val", "test")
RAGGED = "column_"
"""Columns of ragged truth begin so."""


@functools.cache
def folder() -> "tempfile.TemporaryDirectory[str]":
    """Build the tiny dataset in a folder that goes with the process."""
    made = tempfile.TemporaryDirectory(prefix="stemtwin-golden-")
    with data_in(made.name):
        code = command(["data", "build", DATASET, "--version", VERSION, "--size", "tiny", "--json"])
    if code:
        message = f"The tiny build of {DATASET} ended with exit code {code}."
        raise RuntimeError(message)
    return made


@contextmanager
def data_in(path: str) -> Iterator[None]:
    """Set the data folder, and no mirror, for the length of a with block."""
    names = ("STEMTWIN_DATA_DIR", "STEMTWIN_DATA_URL", "STEMTWIN_DATA_REGISTRY")
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    os.environ[names[0]] = path
    try:
        yield
    finally:
        del os.environ[names[0]]
        os.environ.update(before)


@case("dataset-atoms-2d", slow=True)
def rows() -> Arrays:
    """Return all columns of all rows of the tiny build: of images a part, ragged truth end to end."""
    with data_in(folder().name):
        asked = [{"version": VERSION, "size": "tiny", "split": split} for split in SPLITS]
        parts = [st.load_dataset(DATASET, format="numpy", **each) for each in asked]
        hashes = [st.load_dataset(DATASET, format="xarray", **each).attrs["content_sha256"] for each in asked]
    found: Arrays = {"bits/content_sha256": np.array(hashes)}
    for name in parts[0]:
        if name == "image":
            found |= frames("image", np.concatenate([part[name] for part in parts]), 16)
        elif name.startswith(RAGGED):
            joined = [row[:count] for part in parts for row, count in zip(part[name], part["n_columns"], strict=True)]
            found[f"truth/{name}"] = _plain(np.concatenate(joined))
        else:
            found[f"truth/{name}"] = _plain(np.concatenate([part[name] for part in parts]))
    return found


def _plain(values: np.ndarray) -> np.ndarray:
    """Return an array that needs no pickle: strings of a fixed width, instead of objects."""
    return values.astype(str) if values.dtype == object or values.dtype.kind in "TU" else values


def numbers(found: Evaluation) -> Arrays:
    """Return metrics and slices with the ends of their intervals, and what identifies data and answers."""
    report = found.report
    metrics = [(metric.name, metric.value, metric.interval) for metric in report.metrics]
    slices = [(f"{one.column}/{one.label}", one.value, one.interval) for one in report.slices]
    sums = {name: np.asarray(values, float) for name, values in found.samples.statistics.items()}
    out: Arrays = {
        "bits/answers_sha256": np.array(report.artefact_sha256),
        "truth/source_sha256": np.array(report.source.sha256),
    }
    for kind, values in (("metrics", metrics), ("slices", slices)):
        out[f"truth/{kind}_name"] = np.array([name for name, _, _ in values])
        out[f"score/{kind}"] = np.array([(_number(value), *_ends(interval)) for _, value, interval in values])
    if found.episodes:
        out["bits/observations_sha256"] = np.array([episode.observations_sha256 for episode in found.episodes])
    return out | {f"score/statistics_{name}": values for name, values in sums.items()}


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _ends(interval: Any) -> tuple[float, float]:
    return (np.nan, np.nan) if interval is None else (interval.low, interval.high)


@case("task-atoms-2d", slow=True)
def atoms() -> Arrays:
    """Return the scores of uniform points on the tiny test split."""
    with data_in(folder().name):
        return numbers(evaluate(find_task("atoms-2d"), baseline="random", size="tiny", split="test"))


@case("task-autofocus", slow=True)
def autofocus() -> Arrays:
    """Return the scores of the focal series in five episodes of the autofocus task."""
    return numbers(evaluate(find_task("autofocus"), baseline="focal-series", episodes=5))
