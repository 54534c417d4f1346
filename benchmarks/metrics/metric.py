"""Metrics: formulas of sums of per-sample statistics, so that any slice can be re-aggregated.

Every formula takes sums by name, each (...,) or (..., k) with any leading shape, and returns values (...,): the same function scores a data set, a
slice and a thousand bootstrap resamples at once. A value that the sums do not define (a precision without detections) is NaN.
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
"""Sums by name and the value that they give, computed by hand."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Metric:
    """One number of a report.

    Parameters
    ----------
    name, version : str
        Identity; any change of a value bumps the version.
    title : str
        Description in one line.
    unit : str
        Unit of the value; "" for a pure number.
    direction : str
        ``"max"`` or ``"min"``: which is better.
    formula : callable
        Sums to values.
    text : str
        The formula in words or symbols, in the names of the sums.
    references : tuple
        Sums and the value that they give, computed by hand; tests hold the formula to them.
    proportion : bool
        Whether the metric is the fraction of samples that succeed.
    needs : tuple of str
        Optional parts of the answers without which the value is "not given".
    limit : float, optional
        Value that the data allow at best, by a Cramer-Rao or Bayesian bound of the task: a 95 % interval that lies wholly beyond it triggers a
        review but does not change the ranking. None where no such bound is known.
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
    """Return the formula of a mean: the sum of one statistic over the sum of another."""
    return lambda sums: ratio(sums[name], sums[over])
