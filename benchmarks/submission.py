"""Prediction submissions: a folder with ``submission.yaml`` and ``predictions.parquet``, checked whole before anything is scored.

::

    submission.yaml                             predictions.parquet: one row for each detection
    ---------------                             sample_id   string
    schema: stemtwin/submission@1               x_angstrom  float
    task: atoms-2d/test@1                       y_angstrom  float
    dataset: atoms-2d@1.0.0                     heaviest    integer, 0: unknown
    size: tiny                                  score       float
    team: ...
    name: ...
    empty: [sample ids without a detection]

An image without detections is listed under ``empty``, or has one row whose x and y are NaN: every image is answered for, none is skipped. Messages
count rows from 0. Nothing is
unpickled: YAML is read by ``safe_load``, parquet by pyarrow.
"""

import dataclasses
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydantic
import yaml

from stemtwin.benchmarks.atoms import Detections, frame_bounds
from stemtwin.benchmarks.tasks import Task
from stemtwin.twin.errors import SubmissionError
from stemtwin.twin.files import check_writable, replacing, write_atomically

if TYPE_CHECKING:
    import pyarrow as pa
    import xarray as xr

SCHEMA = "stemtwin/submission@1"
HEADER, TABLE = "submission.yaml", "predictions.parquet"
HEADER_BYTES = 4_000_000


class Header(pydantic.BaseModel):
    """Header of a submission, ``submission.yaml``; unknown keys are refused."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    schema_name: str = pydantic.Field(alias="schema")
    task: str
    dataset: str
    size: str = "std"
    name: str = pydantic.Field(min_length=1, max_length=80)
    team: str = pydantic.Field(default="", max_length=80)
    empty: tuple[str, ...] = ()
    method: dict[str, Any] = {}

    @property
    def split(self) -> str:
        """The split that ``task: <name>/<split>@<major>`` names."""
        return self.task.partition("/")[2].partition("@")[0]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Submission:
    """A submission that passed every check.

    Parameters
    ----------
    header : Header
        What ``submission.yaml`` says.
    found : dict
        Detections by sample id, one entry for every sample of the split.
    """

    header: Header
    found: dict[str, Detections]


def read_header(folder: Path | str, task: Task | None = None) -> Header:
    """Read ``submission.yaml`` and check it against a task.

    Raises
    ------
    SubmissionError
        Missing, too large, not YAML, wrong keys or types, another task, task version or dataset version.
    """
    path = Path(folder) / HEADER
    if not path.is_file():
        message = f"{path}: there is no such file. A submission is a folder with {HEADER} and {TABLE}."
        raise SubmissionError(message)
    if (size := path.stat().st_size) > HEADER_BYTES:
        message = f"{path}: {size} bytes, at most {HEADER_BYTES} are read. Put predictions into {TABLE}."
        raise SubmissionError(message)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        message = f"{path}: not YAML ({' '.join(str(error).split())}). Mend the line it names."
        raise SubmissionError(message) from None
    if not isinstance(content, dict):
        message = f"{path}: holds {type(content).__name__}, not keys and values such as 'task: atoms-2d/test@1'."
        raise SubmissionError(message)
    try:
        header = Header.model_validate(content)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        message = f"{path}: key {'.'.join(map(str, first['loc']))!r}: {first['msg']}. Known keys: {', '.join(_keys())}."
        raise SubmissionError(message) from None
    return _check_header(header, path, task)


def _keys() -> list[str]:
    """Return the keys that a header may hold."""
    return [field.alias or name for name, field in Header.model_fields.items()]


def _check_header(header: Header, path: Path, task: Task | None) -> Header:
    """Return the header, or say which of its values this task cannot take."""
    wanted: dict[str, tuple[str, tuple[str, ...]]] = {"schema": (header.schema_name, (SCHEMA,))}
    if task is not None:
        wanted["task"] = (header.task, tuple(task.address(split) for split in task.splits))
        wanted["dataset"] = (header.dataset, (f"{task.source}@{task.source_version}",))
    for key, (value, accepted) in wanted.items():
        if value not in accepted:
            message = f"{path}: key {key!r} is {value!r}, accepted here: {', '.join(accepted)}."
            raise SubmissionError(message)
    return header


def read_submission(folder: Path | str, task: Task, data: "xr.Dataset") -> Submission:
    """Read a submission and check all of it against the samples it must answer for.

    Parameters
    ----------
    folder : path
        Folder of the submission.
    task : Task
        The task that it answers.
    data : Dataset
        The samples of the split; only ids, image shapes and pixel sizes are used.

    Raises
    ------
    SubmissionError
        Names the file, the row and the column of the first thing that is wrong, and why.
    """
    header = read_header(folder, task)
    path = Path(folder) / TABLE
    columns = _read_table(path, task)
    ids = data["sample_id"].values.astype(str)
    _check_ids(columns["sample_id"], header.empty, ids, path)
    _check_values(columns, ids, frame_bounds(data), path)
    return Submission(header=header, found=_by_sample(columns, ids))


def _read_table(path: Path, task: Task) -> dict[str, np.ndarray]:
    """Return the columns of the table, each of the type that the task asks for."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        message = f"{path}: there is no such file. A submission is a folder with {HEADER} and {TABLE}."
        raise SubmissionError(message)
    try:
        table = pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        message = f"{path}: not a parquet file ({str(error).splitlines()[0]})."
        raise SubmissionError(message) from None
    asked = [field.name for field in task.outputs]
    if missing := [name for name in asked if name not in table.column_names]:
        message = f"{path}: column {missing[0]!r} is missing. Columns: {', '.join(asked)}."
        raise SubmissionError(message)
    if extra := [name for name in table.column_names if name not in asked]:
        message = f"{path}: column {extra[0]!r} is not one of {', '.join(asked)}. Remove it."
        raise SubmissionError(message)
    if len(set(table.column_names)) < len(table.column_names):
        message = f"{path}: a column name stands twice. Columns: {', '.join(asked)}."
        raise SubmissionError(message)
    return {field.name: _column(table, field.name, field.dtype, path) for field in task.outputs}


def _column(table: "pa.Table", name: str, kind: str, path: Path) -> np.ndarray:
    """Return one column as an array, or say that its type is wrong or that a row holds null."""
    from pyarrow import types

    column = table.column(name)
    fits = {"string": lambda t: types.is_string(t) or types.is_large_string(t), "float": types.is_floating, "integer": types.is_integer}[kind]
    if not fits(column.type):
        message = f"{path}: column {name!r} has type {column.type}, {kind} is needed."
        raise SubmissionError(message)
    if column.null_count:
        row = int(np.argmax(column.is_null().to_numpy()))
        message = f"{path}, row {row}, column {name!r}: null. Give a value in every row."
        raise SubmissionError(message)
    values = column.to_numpy()
    return values.astype({"string": str, "float": np.float64, "integer": np.int64}[kind])


def _check_ids(named: np.ndarray, empty: tuple[str, ...], ids: np.ndarray, path: Path) -> None:
    """Check that the rows and the ``empty`` list answer for exactly the samples of the split."""
    unknown = ~np.isin(named, ids)
    if unknown.any():
        row = int(np.argmax(unknown))
        message = (
            f"{path}, row {row}, column 'sample_id': {str(named[row])!r} is not a sample of this split ({len(ids)} samples, such as {str(ids[0])!r})."
        )
        raise SubmissionError(message)
    where = path.with_name(HEADER)
    known, answered, seen = set(ids.tolist()), set(named.tolist()), set()
    for name in empty:
        reasons = {"is not a sample of this split": name not in known, "is listed twice": name in seen, "has rows in the table": name in answered}
        if reason := next((text for text, holds in reasons.items() if holds), None):
            message = f"{where}: key 'empty': {name!r} {reason}. Remove it there."
            raise SubmissionError(message)
        seen.add(name)
    missing = [name for name in ids.tolist() if name not in answered and name not in seen]
    if missing:
        message = (
            f"{path}, column 'sample_id': {len(missing)} of {len(ids)} samples have no row, the first is {missing[0]!r}. "
            "Give a row with x and y NaN, or list it under 'empty', where nothing was found."
        )
        raise SubmissionError(message)


def _check_values(columns: dict[str, np.ndarray], ids: np.ndarray, bounds: np.ndarray, path: Path) -> None:
    """Check every number: finite, in range, in the frame, no row twice."""
    named, x, y = columns["sample_id"], columns["x_angstrom"], columns["y_angstrom"]
    marker = np.isnan(x) & np.isnan(y)

    def refuse(bad: np.ndarray, name: str, reason: str) -> None:
        if bad.any():
            row = int(np.argmax(bad))
            message = f"{path}, row {row}, column {name!r}: {columns[name][row]} {reason} (sample {str(named[row])!r})."
            raise SubmissionError(message)

    refuse(~np.isfinite(x) & ~marker, "x_angstrom", "is not finite; x and y are both NaN where nothing was found")
    refuse(~np.isfinite(y) & ~marker, "y_angstrom", "is not finite; x and y are both NaN where nothing was found")
    refuse(~np.isfinite(columns["score"]), "score", "is not finite")
    refuse((columns["heaviest"] < 0) | (columns["heaviest"] > 118), "heaviest", "is not an atomic number from 1 to 118, nor 0 for unknown")
    order = np.argsort(ids)
    frame = bounds[order[np.searchsorted(ids, named, sorter=order)]]
    for axis, name in enumerate(("x_angstrom", "y_angstrom")):
        low, high = frame[:, 0, axis], frame[:, 1, axis]
        outside = ~marker & ((columns[name] < low) | (columns[name] > high))
        row = int(np.argmax(outside)) if outside.any() else 0
        refuse(outside, name, f"lies outside the frame, {low[row]:.4f} to {high[row]:.4f} A" if len(named) else "")
    first = _repeats(named, x, y)
    twice = first >= 0
    row = int(np.argmax(twice)) if twice.any() else 0
    refuse(twice, "x_angstrom", f"repeats the position of row {first[row]}" if len(named) else "")
    samples, counts = np.unique(named, return_counts=True)
    refuse(marker & np.isin(named, samples[counts > 1]), "x_angstrom", "says that nothing was found, but the sample has other rows")


def _repeats(named: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return for each row the earlier row with the same sample and position, -1 where there is none."""
    seen: dict[tuple, int] = {}
    out = np.full(len(named), -1)
    for row, key in enumerate(zip(named.tolist(), map(str, x.tolist()), map(str, y.tolist()), strict=True)):
        out[row] = seen.setdefault(key, row) if key in seen else -1
        seen.setdefault(key, row)
    return out


def _by_sample(columns: dict[str, np.ndarray], ids: np.ndarray) -> dict[str, Detections]:
    """Return the detections of every sample; the NaN markers become none."""
    keep = np.isfinite(columns["x_angstrom"])
    table = {name: array[keep] for name, array in columns.items()}
    order = np.argsort(table["sample_id"], kind="stable")
    named = table["sample_id"][order]
    positions = np.stack([table["x_angstrom"], table["y_angstrom"]], axis=1)
    out = {}
    for name in ids.tolist():
        rows = order[np.searchsorted(named, name, "left") : np.searchsorted(named, name, "right")]
        out[name] = Detections.at(positions[rows], heaviest=table["heaviest"][rows], scores=table["score"][rows])
    return out


def write_submission(folder: Path | str, task: Task, found: dict[str, Detections], *, split: str, size: str, name: str, team: str = "") -> Path:
    """Write a submission folder and return it.

    Parameters
    ----------
    folder : path
        Made where it does not exist.
    task : Task
        The task.
    found : dict
        Detections by sample id.
    split, size, name, team : str
        What the header says.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = Path(folder)
    check_writable(folder, folder=True)
    empty = [sample for sample, points in found.items() if len(points.positions) == 0]
    header = {
        "schema": SCHEMA,
        "task": task.address(split),
        "dataset": f"{task.source}@{task.source_version}",
        "size": size,
        "name": name,
        "team": team,
    }
    write_atomically(folder / HEADER, yaml.safe_dump(header | {"empty": empty}, sort_keys=False).encode())
    counts = [len(points.positions) for points in found.values()]
    positions = np.concatenate([points.positions for points in found.values()] or [np.empty((0, 2))])
    columns = {
        "sample_id": pa.array(np.repeat(np.array(list(found), dtype=object), counts), type=pa.string()),
        "x_angstrom": positions[:, 0],
        "y_angstrom": positions[:, 1],
        "heaviest": np.concatenate([points.heaviest for points in found.values()] or [np.empty(0, dtype=np.int64)]),
        "score": np.concatenate([points.scores for points in found.values()] or [np.empty(0)]),
    }
    with replacing(folder / TABLE) as temporary:
        pq.write_table(pa.table(columns), temporary)
    return folder


def content_hash(found: dict[str, Detections]) -> str:
    """Return the sha256 of the answers: sample ids, and their detections in an order of their own, whatever file they came from."""
    digest = hashlib.sha256()
    for name in sorted(found):
        points = found[name]
        rows = np.column_stack([points.positions, points.heaviest, points.scores]).astype("<f8")
        digest.update(f"{name}:{len(rows)};".encode())
        digest.update(np.ascontiguousarray(rows[np.lexsort(rows.T[::-1])]).tobytes())
    return digest.hexdigest()
