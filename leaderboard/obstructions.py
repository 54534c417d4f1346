"""Orders on slices beside the order on the whole: pairs of entries that change places have no common winner.

The sums of the slices of a column add up to those of the whole, so that scores glue exactly; orders need not. A pair is an obstruction where one
entry is better on the whole and the other on a slice, both told apart at 95 %: there by paired differences, here by intervals that do not overlap,
which is the stricter of the two [1]_.

References
----------
.. [1] H. Kvinge et al., Sheaves as a framework for understanding and interpreting model fit, arXiv:2105.10414 (2021); arXiv:2107.04714 (2021).
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from stemtwin.leaderboard.models import Entry


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SliceCell:
    """Primary metric of one entry on one slice; None where it has no value there."""

    value: float | None
    low: float | None
    high: float | None
    best: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SliceRow:
    """One slice and the values of all entries on it, in the order of the board; ``support`` is "low" below 30 samples or five clusters."""

    column: str
    title: str
    n: int
    support: str
    cells: tuple[SliceCell, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Obstruction:
    """Two entries of which one is better on the whole and the other on a slice."""

    ahead: str
    behind: str
    slice_title: str
    whole: tuple[float, float]
    there: tuple[float, float]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SliceTable:
    """All slices of a board.

    Parameters
    ----------
    names : tuple of str
        Entries, in the order of the board.
    rows : tuple of SliceRow
        Slices, in the order of the reports.
    obstructions : tuple of Obstruction
        Pairs that change places, on slices with full support.
    residual : float
        Largest relative difference between sums of the whole and those glued from slices.
    """

    names: tuple[str, ...]
    rows: tuple[SliceRow, ...]
    obstructions: tuple[Obstruction, ...]
    residual: float


def slice_table(entries: Sequence[Entry], reports: Sequence[dict[str, Any]], places: Sequence[tuple[int, int] | None]) -> SliceTable:
    """Return the values of entries on every slice, and the pairs that change places.

    Parameters
    ----------
    entries : sequence of Entry
        Entries of one board, in its order.
    reports : sequence of dict
        Their reports.
    places : sequence of (int, int) or None
        Best and worst place of each on the whole; entries without one are shown and not compared.
    """
    sign = 1.0 if reports[0]["metrics"][0]["direction"] == "max" else -1.0
    names = tuple(entry.name + (f" ({entry.team})" if entry.team else "") for entry in entries)
    known = {(one["column"], one["label"]): one for report in reports for one in report["slices"]}
    rows, found = [], []
    for key, first in known.items():
        there = [next((one for one in report["slices"] if (one["column"], one["label"]) == key), None) for report in reports]
        values = [one["value"] if one else None for one in there]
        best = max((sign * value for value, place in zip(values, places, strict=True) if value is not None and place), default=math.nan)
        cells = tuple(_cell(one, sign, best) for one in there)
        rows.append(SliceRow(column=key[0], title=first["title"], n=first["n"], support=first["support"], cells=cells))
        if first["support"] == "ok":
            found += _changed(names, reports, places, cells, sign, first["title"])
    residual = max((report["gluing_residual"] for report in reports), default=0.0)
    return SliceTable(names=names, rows=tuple(rows), obstructions=tuple(found), residual=residual)


def _cell(one: dict[str, Any] | None, sign: float, best: float) -> SliceCell:
    """Return the cell of an entry."""
    if one is None or one["value"] is None:
        return SliceCell(value=None, low=None, high=None)
    ends = one["interval"] or {"low": None, "high": None}
    return SliceCell(value=one["value"], low=ends["low"], high=ends["high"], best=bool(np.isclose(sign * one["value"], best)))


def _changed(
    names: Sequence[str],
    reports: Sequence[dict[str, Any]],
    places: Sequence[tuple[int, int] | None],
    cells: Sequence[SliceCell],
    sign: float,
    title: str,
) -> list[Obstruction]:
    """Return the pairs that are told apart on the whole and the other way round on a slice."""
    found = []
    for i, j in itertools.permutations(range(len(names)), 2):
        one, other = places[i], places[j]
        if one is None or other is None or one[1] >= other[0] or not _better(cells[j], cells[i], sign):
            continue
        whole = tuple(reports[number]["metrics"][0]["value"] for number in (i, j))
        there = tuple(cells[number].value for number in (i, j))
        found.append(Obstruction(ahead=names[i], behind=names[j], slice_title=title, whole=whole, there=there))  # type: ignore[arg-type]
    return found


def _better(one: SliceCell, other: SliceCell, sign: float) -> bool:
    """Return whether the whole interval of one cell is better than that of another."""
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.low > other.high if sign > 0 else one.high < other.low
