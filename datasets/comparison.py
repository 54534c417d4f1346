"""Comparison of a row in two builds, column by column, with the rule that the card sets for each column."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from stemtwin.datasets.columns import Column

TRUTH_TOLERANCE = 1e-9
"""Largest relative and absolute difference of a number; it allows for other last bits in another machine's arithmetic."""
SIGNAL_TOLERANCE = 1e-5
"""Largest difference of an array's values relative to its largest value; also the tolerance of single-precision numbers."""
OFF_BY_ONE = 1e-4
"""Largest fraction of an array's counts that may differ by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnDifference:
    """Difference between two values of a column.

    ``text`` describes a difference above the tolerance, and is ``""`` otherwise. For an array of
    counts, ``fraction`` is the fraction of the counts that differ; otherwise it is 0.
    """

    text: str = ""
    fraction: float = 0.0


def difference(column: Column, stored: Any, made: Any) -> ColumnDifference:
    """Compare a stored value with the value of the same row and column in another build.

    Values of ragged columns are given without padding.
    """
    here, there = np.asarray(stored), np.asarray(made)
    if here.shape != there.shape:
        return ColumnDifference(text=_told(column, here, there))
    if column.comparison == "counts":
        return _counts(column, here, there)
    if column.comparison == "close":
        return ColumnDifference() if close(column, here, there) else ColumnDifference(text=_told(column, here, there))
    return ColumnDifference() if np.array_equal(here, there) else ColumnDifference(text=_told(column, here, there))


def close(column: Column, stored: np.ndarray, made: np.ndarray) -> bool:
    """Return True if the numbers of two builds agree within the tolerance, which allows for rounding on different machines."""
    stored, made = stored.astype(float), made.astype(float)
    if column.shape:
        scale = float(np.nanmax(np.abs(stored), initial=0.0))
        return bool(np.allclose(stored, made, rtol=0, atol=SIGNAL_TOLERANCE * scale, equal_nan=True))
    tolerance = SIGNAL_TOLERANCE if column.dtype == "float32" else TRUTH_TOLERANCE
    return bool(np.allclose(stored, made, rtol=tolerance, atol=tolerance, equal_nan=True))


def _counts(column: Column, stored: np.ndarray, made: np.ndarray) -> ColumnDifference:
    away = np.abs(stored.astype(np.int64) - made.astype(np.int64))
    fraction, most = float((away > 0).mean()) if away.size else 0.0, int(away.max(initial=0))
    if most <= 1 and fraction <= OFF_BY_ONE:
        return ColumnDifference(fraction=fraction)
    text = f"{column.name}: {fraction:.2%} of the counts differ, by up to {most}; at most {OFF_BY_ONE:.2%} may differ, by 1"
    return ColumnDifference(text=text, fraction=fraction)


def _told(column: Column, stored: np.ndarray, made: np.ndarray) -> str:
    """Return the text about two values that differ."""
    if stored.shape != made.shape or not stored.shape:
        here, there = (str(each) if each.size < 8 else f"{each.size} values" for each in (stored, made))
        return f"{column.name} is {here} in the dataset and {there} when regenerated"
    apart = stored != made
    at = tuple(int(each[0]) for each in np.nonzero(apart))
    here = f"at {list(at)} it is {stored[at]} in the dataset and {made[at]} when regenerated"
    return f"{column.name} differs in {int(apart.sum())} of {apart.size} values: {here}"
