"""Metrics: formulas applied to sums of per-sample statistics, so a metric of any slice follows from the sums over its samples.

Every formula takes sums by name, each (...,) or (..., k) with any leading shape, and returns values (...,). The same function therefore scores a data
set, a slice, or a thousand bootstrap resamples at once. A value that the sums do not define (a precision without detections) is NaN.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from stemtwin.benchmarks.discovery import import_modules
from stemtwin.benchmarks.slices import Sums
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.registry import Registry

Reference = tuple[Mapping[str, Any], float]
"""Example sums by name, and the value of the metric for these sums, computed by hand."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Metric:
    """Definition of one number in a report of scores.

    Parameters
    ----------
    name, version : str
        Name, and version, which is increased with every change of the metric that changes a value.
    title : str
        Description in one line.
    unit : str
        Unit of the value; "" for a pure number.
    direction : str
        ``"max"`` if larger values are better, ``"min"`` if smaller values are better.
    formula : callable
        Function that maps sums to values.
    text : str
        The formula in words or symbols, written with the names of the sums.
    references : tuple
        Example sums and the values of the metric for these sums, computed by hand. Tests compare the formula with these values.
    proportion : bool
        True if the metric is the fraction of samples that succeed.
    needs : tuple of str
        Optional parts of the answers that the metric needs. If the answers leave a part out, the value is "not given".
    limit : float, optional
        Best value that the data allow, from a Cramer-Rao or Bayesian bound of the task; None if no such bound is known. A 95 % interval that lies
        wholly beyond the limit triggers a review but does not change the ranking.
    """

    name: str
    title: str
    formula: Callable[[Sums], np.ndarray]
    text: str
    references: tuple[Reference, ...]
    version: str = "1.0"
    unit: str = ""
    direction: Literal["max", "min"] = "max"
    proportion: bool = False
    needs: tuple[str, ...] = ()
    limit: float | None = None

    def __post_init__(self) -> None:
        """Check the direction."""
        if self.direction not in ("max", "min"):
            message = f"direction={self.direction!r} of metric {self.name!r} must be 'max' or 'min'."
            raise SettingsError(message)


METRICS: "Registry[Metric]" = Registry("metric")
"""Metrics as ``<group>/<name>``, with title, unit and better direction."""


def add_metrics(group: str, *metrics: Metric) -> tuple[Metric, ...]:
    """Register metrics as ``<group>/<name>`` and return them."""
    for one in metrics:
        METRICS.add(f"{group}/{one.name}", one, one.title, *([one.unit] if one.unit else []), f"{one.direction} is better")
    return metrics


def load_metrics() -> "Registry[Metric]":
    """Import the metrics of this package and of all families of tasks, and return their registry."""
    import_modules("stemtwin.benchmarks.metrics")
    import_modules("stemtwin.benchmarks.families")
    return METRICS


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Return numerator / denominator, NaN where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float))
    return np.divide(numerator, denominator, out=np.full(denominator.shape, np.nan), where=denominator != 0)


def mean_of(name: str, *, over: str = "samples") -> Callable[[Sums], np.ndarray]:
    """Return the formula of a mean: the sum of the statistic ``name``, divided by the sum of the statistic ``over``."""
    return lambda sums: ratio(sums[name], sums[over])
