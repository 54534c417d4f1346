"""Strict reader of answers in Parquet.

The reader checks sizes before content, accepts every type that converts to the requested one, and unpickles nothing.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.benchmarks.answers.form import Field
from stemtwin.twin.errors import SubmissionError
from stemtwin.twin.files import replacing

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

ID = "sample_id"
INDEX = re.compile(r"__index_level_\d+__")
"""Pattern of the names of the index columns that pandas adds by default."""
LARGEST_BYTES = 2**30
"""Largest allowed uncompressed size of the columns of a table, as the footer of the file states it, bytes."""
LONGEST_TEXT = 255
"""Longest allowed text, bytes."""
LARGEST_EXACT = 2**53
"""Magnitude up to which every whole number is exact as a float64."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AnswerTable:
    """Columns of a table of answers.

    Parameters
    ----------
    path : Path
        Path of the file, for messages.
    sample : ndarray
        (rows,) index of the sample of each row.
    columns : dict of ndarray
        Columns by name, each (rows,), float64, int64 or str, without optional columns that the file lacks. Null is NaN in floats, 0 in integers.
    null : dict of ndarray
        Mask of the null values of each column, (rows,) bool, by the name of the column.
    """

    path: Path
    sample: np.ndarray
    columns: dict[str, np.ndarray]
    null: dict[str, np.ndarray]

    def refuse(self, bad: np.ndarray, name: str, reason: str, ids: Sequence[str]) -> None:
        """Raise SubmissionError if a row is bad; the message names the first bad row, its value and its sample."""
        refuse(
            bad, name, reason, values=self.columns[name], where=lambda row: f"{self.path}, row {row}", named=lambda row: ids[int(self.sample[row])]
        )

    def refuse_null(self, allowed: np.ndarray | None = None) -> None:
        """Raise SubmissionError if a value is null in a row in which null is not allowed; the message names the first such row."""
        for name, mask in self.null.items():
            bad = mask if allowed is None else mask & ~allowed
            if bad.any():
                message = f"{self.path}, row {int(np.argmax(bad))}, column {name!r}: null is not allowed. Give a value in every row."
                raise SubmissionError(message)


def refuse(bad: np.ndarray, name: str, reason: str, *, values: np.ndarray, where: Any, named: Any) -> None:
    """Raise SubmissionError if a row is bad; the message names the first bad row, its value and its sample.

    ``where`` and ``named`` are functions of the index of a row. The first returns the position of the row for the message, the second the id of the
    sample.
    """
    if bad.any():
        row = int(np.argmax(bad))
        message = f"{where(row)}, column {name!r}: {values[row]} {reason} (sample {str(named(row))!r})."
        raise SubmissionError(message)


def check_numbers(values: np.ndarray, field: Field, tell: Any, *, skip: np.ndarray | None = None) -> None:
    """Check that numbers are finite and within the bounds of their field.

    Parameters
    ----------
    values : ndarray
        (rows,) numbers.
    field : Field
        Field of the numbers.
    tell : callable
        Function of (bad rows, name, reason) that raises if a row is bad.
    skip : ndarray, optional
        (rows,) bool, True for rows that are not checked.
    """
    looked = np.ones(len(values), dtype=bool) if skip is None else ~skip
    tell(looked & ~np.isfinite(values), field.name, "is not finite")
    low, high = -np.inf if field.low is None else field.low, np.inf if field.high is None else field.high
    with np.errstate(invalid="ignore"):
        tell(looked & ((values < low) | (values > high)), field.name, f"is not between {low:g} and {high:g}")


def read_table(path: Path, fields: Sequence[Field], ids: Sequence[str], *, most: int) -> AnswerTable:
    """Read the requested columns of a table.

    Parameters
    ----------
    path : Path
        A Parquet file.
    fields : sequence of Field
        Columns; the first is the id of the sample.
    ids : sequence of str
        Ids of the samples of the split.
    most : int
        Largest number of rows for one sample. A table with more than ``most`` times as many rows as samples is refused before it is read.

    Raises
    ------
    SubmissionError
        The file is missing, not in Parquet or too large; a column is missing, unknown or of a wrong type; a row names an unknown sample.
    """
    import pyarrow as pa

    parquet = _open(path)
    names = _chosen(parquet.schema_arrow.names, fields, path)
    rows, limit = parquet.metadata.num_rows, most * len(ids)
    if rows > limit:
        message = f"{path} has {rows} rows; at most {limit} are read ({most} for each of {len(ids)} samples). Give fewer answers for a sample."
        raise SubmissionError(message)
    parts = [parquet.metadata.row_group(i) for i in range(parquet.metadata.num_row_groups)]
    size = sum(group.column(i).total_uncompressed_size for group in parts for i in range(group.num_columns))
    if size > LARGEST_BYTES:
        message = f"{path} takes {size} bytes once unpacked; at most {LARGEST_BYTES} are read. Give fewer rows or shorter texts."
        raise SubmissionError(message)
    try:
        table = parquet.read(columns=names)
    except (pa.ArrowException, OSError) as error:
        message = f"{path} cannot be read ({_first_line(error)}). Write it again."
        raise SubmissionError(message) from None
    columns, null = {}, {}
    for field in fields:
        if field.name in names and field.name != fields[0].name:
            columns[field.name], null[field.name] = _column(table.column(field.name), field, path)
    sample = _samples(table.column(fields[0].name), fields[0].name, ids, path)
    return AnswerTable(path=path, sample=sample, columns=columns, null=null)


def _open(path: Path) -> "pq.ParquetFile":
    """Open a Parquet file; columns of text are read as dictionaries, so a repeated text takes no memory."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.ParquetFile(path)
        texts = [found.schema.column(i).path for i in range(len(found.schema)) if found.schema.column(i).physical_type == "BYTE_ARRAY"]
        return pq.ParquetFile(path, read_dictionary=texts)
    except (pa.ArrowException, OSError) as error:
        message = f"{path} is not a parquet file ({_first_line(error)}). Write the table with pyarrow or with pandas.DataFrame.to_parquet."
        raise SubmissionError(message) from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _chosen(there: Sequence[str], fields: Sequence[Field], path: Path) -> list[str]:
    """Return the names of the columns that are read; raise SubmissionError where one is missing, unknown or given twice."""
    asked, told = [field.name for field in fields], ", ".join(field.name + " (optional)" * field.optional for field in fields)
    if missing := [field.name for field in fields if not field.optional and field.name not in there]:
        message = f"{path}: column {missing[0]!r} is missing. Add it. Requested columns: {told}."
        raise SubmissionError(message)
    if extra := [name for name in there if name not in asked and not INDEX.fullmatch(name)]:
        message = f"{path}: column {extra[0]!r} is not one of {told}. Remove it."
        raise SubmissionError(message)
    chosen = [name for name in there if name in asked]
    if len(set(chosen)) < len(chosen):
        message = f"{path}: a column name occurs twice. Give each column once. Requested columns: {told}."
        raise SubmissionError(message)
    return chosen


def _check_texts(column: "pa.ChunkedArray", field: Field, path: Path) -> None:
    """Refuse long texts before they are expanded: a thousand rows of one text of 50 MB are a file of 3 kB."""
    import pyarrow.compute as pc
    from pyarrow import types

    for chunk in column.chunks:
        texts = chunk.dictionary if types.is_dictionary(chunk.type) else chunk
        if types.is_string(texts.type) or types.is_large_string(texts.type) or types.is_binary(texts.type) or types.is_large_binary(texts.type):
            longest = pc.max(pc.binary_length(texts)).as_py() or 0
            if longest > LONGEST_TEXT:
                message = f"{path}: column {field.name!r} holds a text of {longest} bytes; at most {LONGEST_TEXT} are read. Give a shorter text."
                raise SubmissionError(message)


def _plain(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    """Return a dictionary-encoded column as plain values."""
    from pyarrow import types

    return column.cast(column.type.value_type) if types.is_dictionary(column.type) else column


def _column(column: "pa.ChunkedArray", field: Field, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return a column as an array, and the mask of its nulls; raise SubmissionError where its type is wrong.

    A column of integers may hold floats that are whole numbers, as pandas writes them when a row is null.
    """
    from pyarrow import types

    _check_texts(column, field, path)
    column, kind = _plain(column), field.dtype
    fits = {
        "string": lambda t: types.is_string(t) or types.is_large_string(t) or types.is_string_view(t),
        "float": types.is_floating,
        "integer": lambda t: types.is_integer(t) or types.is_floating(t),
    }[kind]
    if not fits(column.type):
        message = f"{path}: column {field.name!r} has type {column.type}; {kind} is needed."
        raise SubmissionError(message)
    null = np.asarray(column.is_null().to_numpy(), dtype=bool)
    if kind == "string":
        return np.array(["" if text is None else text for text in column.to_pylist()], dtype=str), null
    values = np.concatenate([chunk.to_numpy(zero_copy_only=False) for chunk in column.chunks] or [np.empty(0)])
    if kind == "float":
        return values.astype(np.float64), null
    if types.is_floating(column.type):
        null = null | np.isnan(values)
    kept = np.where(null, 0, values)
    odd = (np.abs(kept) > LARGEST_EXACT) | (kept != np.floor(kept)) if kept.dtype.kind == "f" else kept > np.iinfo(np.int64).max
    if odd.any():
        row = int(np.argmax(odd))
        message = f"{path}, row {row}, column {field.name!r}: {kept[row]} is not a 64-bit integer. Give integers."
        raise SubmissionError(message)
    return kept.astype(np.int64), null


def _samples(column: "pa.ChunkedArray", name: str, ids: Sequence[str], path: Path) -> np.ndarray:
    """Return the index of the sample that each row names; raise SubmissionError where a row names no sample of the split."""
    from pyarrow import types

    told = column.type.value_type if types.is_dictionary(column.type) else column.type
    if not (types.is_string(told) or types.is_large_string(told) or types.is_string_view(told)):
        message = f"{path}: column {name!r} has type {told}; string is needed."
        raise SubmissionError(message)
    if column.null_count:
        message = f"{path}, row {int(np.argmax(column.is_null().to_numpy()))}, column {name!r}: null is not allowed. Give a value in every row."
        raise SubmissionError(message)
    places, out = {one: number for number, one in enumerate(ids)}, []
    for chunk in column.chunks:
        part = chunk if types.is_dictionary(chunk.type) else chunk.cast("string").dictionary_encode()
        texts = part.dictionary.to_pylist()
        found = np.array([places.get(text, -1) for text in texts], dtype=np.int64)
        index = part.indices.to_numpy(zero_copy_only=False)
        unknown = found[index] < 0 if len(index) else np.empty(0, dtype=bool)
        if unknown.any():
            row = int(np.argmax(unknown))
            text = texts[index[row]]
            message = (
                f"{path}, row {sum(map(len, out)) + row}, column {name!r}: {text[:80]!r} is not a sample of this split "
                f"({len(ids)} samples, such as {ids[0]!r})."
            )
            raise SubmissionError(message)
        out.append(found[index] if len(index) else index.astype(np.int64))
    return np.concatenate(out or [np.empty(0, dtype=np.int64)])


def one_row_each(table: AnswerTable, ids: Sequence[str]) -> np.ndarray:
    """Return the index of each sample's row; raise SubmissionError if a sample has no row or more than one."""
    counts = np.bincount(table.sample, minlength=len(ids))
    for wrong, told in ((counts == 0, "no row"), (counts > 1, "more than one row")):
        if wrong.any():
            message = (
                f"{table.path}, column {ID!r}: {int(wrong.sum())} of {len(ids)} samples have {told}; the first is {ids[int(np.argmax(wrong))]!r}. "
            )
            raise SubmissionError(message + "Give one row for each sample.")
    return np.argsort(table.sample, kind="stable")


def write_table(path: Path, ids: Sequence[str], columns: Mapping[str, np.ndarray]) -> None:
    """Write a table with the sample id of each row and the other columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with replacing(path) as temporary:
        pq.write_table(pa.table({ID: pa.array(list(ids), type=pa.string()), **columns}), temporary)
