"""Answers that are points with class and confidence; a sample may have any number of points."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.benchmarks.answers import tables
from stemtwin.benchmarks.answers.form import ANSWERS, TABLE, Field, check_types, left_out, sample_ids
from stemtwin.benchmarks.answers.tables import ID, AnswerTable, check_numbers
from stemtwin.twin.errors import SubmissionError

if TYPE_CHECKING:
    import xarray as xr

MOST = 10_000
"""Largest number of points in one sample."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Points:
    """Points found in one sample.

    Parameters
    ----------
    positions : ndarray
        (n, d) float64, in the unit and the order of the task's columns.
    classes : ndarray, optional
        (n,) int64 class of each point; None if not given.
    confidence : ndarray, optional
        (n,) float64; None if not given.
    """

    positions: np.ndarray
    classes: np.ndarray | None = None
    confidence: np.ndarray | None = None

    @staticmethod
    def at(positions: Any, *, classes: Any = None, confidence: Any = None, dimensions: int = 2) -> "Points":
        """Return points at (n, d) positions; class and confidence are optional."""
        return Points(
            positions=np.asarray(positions, dtype=float).reshape(-1, dimensions),
            classes=None if classes is None else np.asarray(classes),
            confidence=None if confidence is None else np.asarray(confidence, dtype=float),
        )

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.positions)


@ANSWERS.register("points", "positions with class and confidence, any number in a sample")
@dataclasses.dataclass(frozen=True, kw_only=True)
class PointAnswers:
    """Form of answers that are points.

    Parameters
    ----------
    positions : tuple of Field
        Coordinates, in the order of the last axis of ``Points.positions``.
    bounds : callable
        Function of the samples that returns the bounds of each frame, (n, 2, d). The axes are the sample, lower and upper bound, and the coordinate.
    classes, confidence : Field, optional
        Columns of class and confidence; None for a column that the task does not request.
    most : int
        Largest allowed number of points in one sample.
    """

    positions: tuple[Field, ...]
    bounds: Callable[["xr.Dataset"], np.ndarray]
    classes: Field | None = None
    confidence: Field | None = None
    most: int = MOST
    kind: str = dataclasses.field(default="points", init=False)

    @property
    def fields(self) -> tuple[Field, ...]:
        """Columns of the table, which has one row for each point."""
        first = Field(name=ID, dtype="string", text="sample of the point")
        return (first, *self.positions, *self._rest.values())

    @property
    def _rest(self) -> dict[str, Field]:
        """Columns besides the positions, by the name of the attribute of ``Points``."""
        return {name: field for name, field in (("classes", self.classes), ("confidence", self.confidence)) if field is not None}

    def checked(self, answers: Mapping[str, Points], data: "xr.Dataset", source: str) -> dict[str, Points]:
        """Return the points as float64 and int64; raise SubmissionError if a point is invalid."""
        check_types(answers, Points, source)
        ids = sample_ids(data)
        out = {name: self._typed(answers[name], f"{source}: sample {name!r}") for name in ids if name in answers}
        counts = [len(out[name]) if name in out else 0 for name in ids]
        sample, starts = np.repeat(np.arange(len(ids)), counts), np.repeat(np.cumsum([0, *counts])[:-1], counts)
        columns = self._columns(out, self.missing(out, source))

        def tell(bad: np.ndarray, name: str, reason: str) -> None:
            def where(row: int) -> str:
                return f"{source}: point {row - starts[row]}"

            tables.refuse(bad, name, reason, values=columns[name], where=where, named=lambda row: ids[sample[row]])

        self._check(columns, sample, data, tell)
        return out

    def _typed(self, points: Points, source: str) -> Points:
        """Return points with arrays of the right types and shapes."""
        positions = np.asarray(points.positions, dtype=np.float64)
        shapes = {"positions": positions.shape, **{name: np.shape(getattr(points, name)) for name in self._rest if getattr(points, name) is not None}}
        n = positions.shape[0] if positions.ndim else 0
        wanted = {name: (n, len(self.positions)) if name == "positions" else (n,) for name in shapes}
        for name, shape in shapes.items():
            if shape != wanted[name]:
                message = f"{source}: the shape of {name} is {shape}; {wanted[name]} is needed."
                raise SubmissionError(message)
        if n > self.most:
            message = f"{source}: there are {n} points; at most {self.most} are allowed. Give fewer."
            raise SubmissionError(message)
        classes = points.classes if self.classes is not None else None
        if classes is not None and np.asarray(classes).dtype.kind not in "iu" and n:
            message = f"{source}: classes have type {np.asarray(classes).dtype}; integers are needed."
            raise SubmissionError(message)
        confidence = points.confidence if self.confidence is not None else None
        return Points(
            positions=positions,
            classes=None if classes is None else np.asarray(classes, dtype=np.int64),
            confidence=None if confidence is None else np.asarray(confidence, dtype=np.float64),
        )

    def missing(self, answers: Mapping[str, Points], source: str = "the answers") -> frozenset[str]:
        """Return the names of the parts that the answers leave out, ``"classes"`` or ``"confidence"``; samples without points are ignored."""

        def given(points: Points, name: str) -> bool | None:
            return getattr(points, name) is not None if len(points) else None

        out = left_out(self._rest, answers, source, given)
        for name, field in self._rest.items():
            if name in out and not field.optional:
                message = f"{source}: {name!r} ({field.name}) is left out. Give it for every point."
                raise SubmissionError(message)
        return out

    def _columns(self, answers: Mapping[str, Points], missing: frozenset[str]) -> dict[str, np.ndarray]:
        """Return the columns of all points, end to end, without the optional ones that are left out."""
        full = [points for points in answers.values() if len(points)]
        places = np.concatenate([points.positions for points in full] or [np.empty((0, len(self.positions)))])
        columns: dict[str, np.ndarray] = {field.name: places[:, i] for i, field in enumerate(self.positions)}
        for name, field in self._rest.items():
            if name not in missing:
                empty = np.empty(0, dtype=np.int64 if name == "classes" else np.float64)
                columns[field.name] = np.concatenate([getattr(points, name) for points in full] or [empty])
        return columns

    def _check(self, columns: dict[str, np.ndarray], sample: np.ndarray, data: "xr.Dataset", tell: Any, marker: np.ndarray | None = None) -> None:
        """Check that all numbers are finite and in range, that points lie in the frame, and that none is repeated."""
        skip = np.zeros(len(sample), dtype=bool) if marker is None else marker
        bounds = self.bounds(data)
        for axis, field in enumerate(self.positions):
            values = columns[field.name]
            tell(~np.isfinite(values) & ~skip, field.name, "is not finite; if nothing was found, all coordinates must be NaN")
            low, high = bounds[sample, 0, axis], bounds[sample, 1, axis]
            outside = ~skip & ((values < low) | (values > high))
            row = int(np.argmax(outside)) if outside.any() else 0
            tell(outside, field.name, f"lies outside the frame, {low[row]:.4f} to {high[row]:.4f} {field.unit}" if len(low) else "")
        for field in self._rest.values():
            if field.name in columns:
                check_numbers(columns[field.name], field, tell, skip=skip)
        first = self.positions[0].name
        earlier = _repeats(sample, [columns[field.name] for field in self.positions])
        repeated = (earlier >= 0) & ~skip
        tell(repeated, first, f"repeats the position of row {earlier[int(np.argmax(repeated))]}" if repeated.any() else "")

    def write(self, folder: Path, answers: Mapping[str, Points]) -> None:
        """Write one row for each point, and one row of NaN for each sample without points."""
        missing = self.missing(answers)
        columns = self._columns(answers, missing)
        named = [name for name, points in answers.items() for _ in range(len(points))]
        empty = [name for name, points in answers.items() if not len(points)]
        for field in self.fields[1:]:
            if field.name in columns:
                fill = np.full(len(empty), 0 if columns[field.name].dtype.kind == "i" else np.nan)
                fill = np.zeros(len(empty)) if field is self.confidence else fill
                columns[field.name] = np.concatenate([columns[field.name], fill.astype(columns[field.name].dtype)])
        tables.write_table(folder / TABLE, [*named, *empty], columns)

    def read(self, folder: Path, data: "xr.Dataset", empty: tuple[str, ...]) -> dict[str, Points]:
        """Read and check a table of points.

        A sample without points has one row whose coordinates are all NaN or null, or is listed in ``empty``.

        Raises
        ------
        SubmissionError
            The submission is invalid; the message names the file, the row and the column of the first error, and the reason.
        """
        ids = sample_ids(data)
        table = tables.read_table(folder / TABLE, self.fields, ids, most=self.most)
        marker = np.logical_and.reduce([np.isnan(table.columns[field.name]) for field in self.positions])
        table.refuse_null(marker)
        self._check_samples(table, marker, ids, empty)
        self._check(table.columns, table.sample, data, lambda bad, name, reason: table.refuse(bad, name, reason, ids), marker)
        return self._by_sample(table, marker, ids)

    def _check_samples(self, table: AnswerTable, marker: np.ndarray, ids: Sequence[str], empty: tuple[str, ...]) -> None:
        """Check that rows and empty samples cover exactly the samples of the split, and that no empty sample has points."""
        counts = np.bincount(table.sample, minlength=len(ids))
        known, answered, seen = set(ids), {ids[i] for i in np.flatnonzero(counts).tolist()}, set()
        for name in empty:
            reasons = {"is not a sample of this split": name not in known, "is listed twice": name in seen, "has rows in the table": name in answered}
            if reason := next((text for text, holds in reasons.items() if holds), None):
                message = f"{table.path.parent}: key 'empty': {name!r} {reason}. Remove it from the key."
                raise SubmissionError(message)
            seen.add(name)
        lacking = [name for name in ids if name not in answered and name not in seen]
        if lacking:
            names = " and ".join(field.name for field in self.positions)
            message = (
                f"{table.path}, column {ID!r}: {len(lacking)} of {len(ids)} samples have no row; the first is {lacking[0]!r}. "
                f"If nothing was found in a sample, give it one row with NaN as {names}."
            )
            raise SubmissionError(message)
        told = "says that nothing was found, but the sample has other rows"
        table.refuse(marker & (counts[table.sample] > 1), self.positions[0].name, told, ids)

    def _by_sample(self, table: AnswerTable, marker: np.ndarray, ids: Sequence[str]) -> dict[str, Points]:
        """Return the points of every sample; a row of NaN gives no point."""
        rows = np.flatnonzero(~marker)
        order = rows[np.argsort(table.sample[rows], kind="stable")]
        places = np.stack([table.columns[field.name] for field in self.positions], axis=1)[order]
        rest = {name: table.columns[field.name][order] if field.name in table.columns else None for name, field in self._rest.items()}
        ends = np.searchsorted(table.sample[order], np.arange(len(ids) + 1))
        out = {}
        for i, name in enumerate(ids):
            mine = slice(ends[i], ends[i + 1])
            parts = {key: None if values is None else values[mine] for key, values in rest.items()}
            out[name] = Points(positions=places[mine], **parts)
        return out

    def digest(self, answers: Mapping[str, Points]) -> str:
        """Return the sha256 of ids and points in a canonical order.

        If the class is not scored or not given, 0 is hashed in its place. If the confidence is not scored or not given, 1 is hashed in its place. If
        the class is scored but not given, the text ``without classes;`` is also hashed. If the confidence is scored but not given, the text
        ``without confidence;`` is also hashed.
        """
        missing = self.missing(answers)
        out = hashlib.sha256()
        out.update("".join(f"without {part};" for part, field in self._rest.items() if field.scored and part in missing).encode())
        for name in sorted(answers):
            points, n = answers[name], len(answers[name])
            columns = [points.positions]
            for attribute, default in (("classes", 0.0), ("confidence", 1.0)):
                field, values = self._rest.get(attribute), getattr(points, attribute)
                counted = values if field is not None and field.scored else None
                columns.append(np.full(n, default) if counted is None else counted)
            rows = np.column_stack(columns).astype("<f8")
            out.update(f"{name}:{n};".encode())
            out.update(np.ascontiguousarray(rows[np.lexsort(rows.T[::-1])]).tobytes())
        return out.hexdigest()


def _repeats(sample: np.ndarray, places: Sequence[np.ndarray]) -> np.ndarray:
    """Return for each row the index of the first row with the same sample and position, -1 where the row is the first itself."""
    order = np.lexsort((*places, sample))
    same = np.ones(max(len(order) - 1, 0), dtype=bool)
    for values in (*places, sample):
        same &= values[order][1:] == values[order][:-1]
    begins = np.r_[True, ~same][: len(order)]
    first = order[np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))]
    out = np.full(len(sample), -1)
    out[order] = np.where(begins, -1, first)
    return out
