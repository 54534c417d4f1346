"""Tables of the board: rows that were scored on the same data, in order, with the facts needed to interpret them."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from stemtwin.benchmarks.comparisons import ClusterSums, Formula, Order, Standing, order
from stemtwin.benchmarks.report import PUBLIC
from stemtwin.benchmarks.tasks import load_tasks
from stemtwin.leaderboard.models import Entry, Score

INTERVALS, DIFFERENCES = "intervals", "paired differences"
"""Methods of comparing rows."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BoardRow:
    """One row of a board.

    Parameters
    ----------
    order : (int, int) or None
        Best and worst possible position of the entry in the order of scores; None for entries that are not compared, such as
        reported scores.
    rank : (int, int) or None
        The same two positions if the truth is hidden; None on a split whose truth is public.
    status : str
        ``"ranked"``, ``"public truth"`` or ``"not ranked"``.
    reason : str
        Reason for a missing value, such as ``"not given"`` if the answers lack the part that the metric scores.
    notes : tuple of str
        Notes on equal answers of other teams, and on a comparison by intervals instead of paired differences.
    """

    order: tuple[int, int] | None
    rank: tuple[int, int] | None
    status: str
    entry_id: int
    name: str
    team: str
    metric: str
    unit: str
    direction: str
    value: float | None
    reason: str
    low: float | None
    high: float | None
    worst: str
    worst_value: float | None
    cost: dict[str, float]
    trust: str
    notes: tuple[str, ...]
    created: str
    version: str
    git_commit: str | None
    wall_s: float
    seeds: dict[str, Any]
    source_sha256: str
    artefact_sha256: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Board:
    """One table: entries that were scored on the same data with the same metric.

    ``n_clusters`` is the number of specimens or episodes. ``compared`` is the method by which rows are compared:
    ``"paired differences"`` (unless the notes of a row state otherwise), ``"intervals"``, or ``""`` if the table has fewer than
    two different answers to compare. ``detectable`` is the minimum detectable difference of two rows: the median over the pairs
    of rows, or None if it is undefined. ``public`` is True if the truth is public; no row is then ranked.
    """

    task: str
    major: int
    source: str
    source_version: str
    size: str
    split: str
    comparability_key: str
    n_clusters: int
    compared: str
    detectable: float | None
    public: bool
    rows: tuple[BoardRow, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Line:
    """An entry, its primary score and its report."""

    entry: Entry
    score: Score
    report: dict[str, Any]

    @property
    def hidden(self) -> bool:
        """Return True if the truth was hidden when the entry was made."""
        return self.report["source"].get("truth", "public") == "hidden"

    @property
    def contends(self) -> bool:
        """Return True if the entry is compared with others: its level of trust permits this, and its score has a value."""
        return self.entry.ordered and self.score.value is not None

    def standing(self) -> Standing:
        """Return the numbers by which the entry is compared."""
        low, high, kept = self.score.low, self.score.high, self.report.get("clusters")
        clusters = ClusterSums(labels=tuple(kept["labels"]), sums=kept["sums"]) if kept else None
        return Standing(value=self.score.value or 0.0, ends=None if low is None or high is None else (low, high), clusters=clusters)


def make_board(entries: Sequence[Entry]) -> Board:
    """Return the board of entries on the same data, sorted by score with the best first.

    Entries that are not compared, such as reported scores, are included. Entries that were made while the truth was hidden
    are ranked, and later entries are not. Entries with equal answers have the same position.
    """
    lines = [
        _Line(entry=entry, score=next(score for score in entry.scores if not score.column), report=json.loads(entry.report)) for entry in entries
    ]
    first = lines[0]
    hidden = any(line.hidden for line in lines)
    contending = [line for line in lines if line.contends and line.hidden == hidden]
    answers = {line.entry.artefact_sha256: line for line in reversed(contending)}
    found = order(_formula(first), [line.standing() for line in answers.values()], direction=first.score.direction)
    numbers = {artefact: number for number, artefact in enumerate(answers)}
    places = {line.entry.id: numbers[line.entry.artefact_sha256] for line in contending}
    sign = -1.0 if first.score.direction == "max" else 1.0
    lines.sort(key=lambda line: (line.score.value is None, sign * (line.score.value or 0.0), line.entry.id))
    entry, source = first.entry, first.report["source"]
    return Board(
        task=entry.task,
        major=entry.major,
        source=entry.source,
        source_version=entry.source_version,
        size=entry.size,
        split=entry.split,
        comparability_key=entry.comparability_key,
        n_clusters=source["n_clusters"],
        compared="" if len(answers) < 2 else DIFFERENCES if sum(found.paired) > 1 else INTERVALS,
        detectable=found.detectable,
        public=not hidden,
        rows=tuple(_row(line, places.get(line.entry.id), found, _notes(line, lines, places, found)) for line in lines),
    )


def _formula(line: _Line) -> Formula | None:
    """Return the formula of the primary metric, or None if this package no longer has that version of the metric."""
    entry, score = line.entry, line.score
    tasks = load_tasks()
    known = [tasks[name] for name in tasks if (tasks[name].name, tasks[name].major) == (entry.task, entry.major)]
    return next((one.formula for task in known for one in task.metrics if (one.name, one.version) == (score.metric, score.metric_version)), None)


def _notes(line: _Line, lines: Sequence[_Line], places: dict[int, int], found: Order) -> tuple[str, ...]:
    """Return the notes of a row: equal answers of other teams, and a comparison by intervals."""
    own = line.entry
    equal = [other.entry for other in lines if other.entry.artefact_sha256 == own.artefact_sha256 and other.entry.team != own.team]
    notes = [f"same answers as row {other.id}, {other.name}" + (f" ({other.team})" if other.team else "") for other in equal]
    if own.id in places and not found.paired[places[own.id]] and sum(found.paired) > 1:
        notes.append("compared by its interval, as it has no sums of clusters in common with others")
    return tuple(notes)


def _row(line: _Line, place: int | None, found: Order, notes: tuple[str, ...]) -> BoardRow:
    """Return the row of one entry."""
    entry, score, report = line.entry, line.score, line.report
    worst, placed = report["worst"], None if place is None else found.places[place]
    rank = placed if line.hidden else None
    return BoardRow(
        order=placed,
        rank=rank,
        status=PUBLIC if not line.hidden else "ranked" if rank else "not ranked",
        entry_id=entry.id,
        name=entry.name,
        team=entry.team,
        metric=score.metric,
        unit=score.unit,
        direction=score.direction,
        value=score.value,
        reason=report["metrics"][0].get("reason", ""),
        low=score.low,
        high=score.high,
        worst=worst["title"] if worst else "",
        worst_value=worst["value"] if worst else None,
        cost={} if entry.trust == "scored" else report["cost"],  # reports of version 1 give the time of scoring
        trust=entry.trust,
        notes=notes,
        created=entry.created.isoformat() + "Z",
        version=entry.version,
        git_commit=entry.git_commit,
        wall_s=entry.wall_s,
        seeds=json.loads(entry.seeds),
        source_sha256=entry.source_sha256,
        artefact_sha256=entry.artefact_sha256,
    )
