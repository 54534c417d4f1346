"""Pairs of entries whose order on a slice is the reverse of their order on the whole split.

A slice is a subset of the samples of a split, for example all samples with one dose. If several slices together contain each sample once, the
sums over these slices add up to the sums over all samples, so the scores on the slices determine the score on all samples exactly. The
order of two entries on a slice can nevertheless differ from their order on the whole split. A pair is an obstruction [1]_ if
one entry has the better score on the whole split but the other entry has the better score on a slice, both at the 95 % level.
On the whole split, the test uses paired differences. On a slice, it requires intervals that do not overlap, which is stricter.

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
    """Primary metric of one entry on one slice; ``value`` is None if the metric is undefined on the slice."""

    value: float | None
    low: float | None
    high: float | None
    best: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SliceRow:
    """One slice, with the values of all entries in the order of the board; ``support`` is "low" below 30 samples or below five clusters."""

    column: str
    title: str
    n: int
    support: str
    cells: tuple[SliceCell, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Obstruction:
    """Pair of entries whose order on a slice is opposite to their order on all samples.

    Parameters
    ----------
    ahead, behind : str
        Entry with the better score on the whole split, and entry with the better score on the slice.
    slice_title : str
        Title of the slice.
    whole, there : (float, float)
        Scores of ``ahead`` and ``behind`` on all samples, and their scores on the slice.
    """

    ahead: str
    behind: str
    slice_title: str
    whole: tuple[float, float]
    there: tuple[float, float]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SliceTable:
    """Scores of all entries of a board on all slices.

    Parameters
    ----------
    names : tuple of str
        Entries, in the order of the board.
    rows : tuple of SliceRow
        Slices, in the order of the reports.
    obstructions : tuple of Obstruction
        Pairs of entries whose order on a slice is opposite to their order on all samples; the slice has at least 30 samples
        and at least five clusters.
    residual : float
        Largest relative difference between a sum over all samples and the total of the sums over the slices.
    """

    names: tuple[str, ...]
    rows: tuple[SliceRow, ...]
    obstructions: tuple[Obstruction, ...]
    residual: float


def slice_table(entries: Sequence[Entry], reports: Sequence[dict[str, Any]], places: Sequence[tuple[int, int] | None]) -> SliceTable:
    """Return the values of entries on every slice, and the pairs of entries whose order on a slice is opposite to that on all samples.

    Parameters
    ----------
    entries : sequence of Entry
        Entries of one board, in the order of the board.
    reports : sequence of dict
        Reports of the entries.
    places : sequence of (int, int) or None
        Best and worst possible place of each entry by its score on all samples; entries without places are shown but not compared.
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
    """Return the pairs that differ significantly on all samples and, in the opposite order, on a slice."""
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
    """Return True if the whole interval of one cell is better than the interval of another."""
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.low > other.high if sign > 0 else one.high < other.low
