"""Metrics that the experiments of agents have in common: successes, declared ends, dose."""

from collections.abc import Mapping
from typing import Any, Literal

from stemtwin.benchmarks.metrics.metric import Metric, mean_of

SUMS = {"samples": 4, "success": 3, "declared": 2, "dose": 8e4}
"""Example sums of four episodes, for the references of the metrics."""


def mean(
    sums: Mapping[str, Any],
    name: str,
    title: str,
    value: float,
    *,
    unit: str = "",
    direction: Literal["max", "min"] = "max",
    proportion: bool = False,
) -> Metric:
    """Return the metric that is the mean of the statistic ``name`` over the samples.

    ``sums`` holds example sums, and ``value`` is the mean computed from them by hand. Tests compare the formula of the metric with this value.
    """
    return Metric(
        name=name, title=title, formula=mean_of(name), text=f"{name} / samples", references=((sums, value),), unit=unit, direction=direction,
        proportion=proportion,
    )  # fmt: skip


def success(title: str) -> Metric:
    """Return the metric of the fraction of successful episodes; the title states the criterion."""
    return Metric(
        name="success", title=title, formula=mean_of("success"), text="success / samples", references=((SUMS, 0.75),), proportion=True
    )  # fmt: skip


def declared(title: str = "episodes with a declared end") -> Metric:
    """Return the metric of the fraction of episodes with a declared end."""
    return Metric(
        name="declared", title=title, formula=mean_of("declared"), text="declared / samples", references=((SUMS, 0.5),), proportion=True
    )  # fmt: skip


def dose(title: str = "dose of an episode", unit: str = "e-/A^2") -> Metric:
    """Return the metric of the mean dose of an episode; the title must name the area of the dose if it is not the scanned field."""
    return Metric(
        name="dose", title=title, formula=mean_of("dose"), text="dose / samples", references=((SUMS, 2e4),), unit=unit, direction="min"
    )  # fmt: skip
