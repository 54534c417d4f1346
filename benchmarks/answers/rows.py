"""Checks, reader and writer of answers that have one row of numbers for each sample."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.benchmarks.answers import tables
from stemtwin.benchmarks.answers.form import TABLE, Field, none_empty, sample_ids
from stemtwin.benchmarks.answers.tables import ID, check_numbers, one_row_each

if TYPE_CHECKING:
    import xarray as xr

RowColumns = dict[str, np.ndarray]


def id_field() -> Field:
    """Return the column that names the sample of a row."""
    return Field(name=ID, dtype="string", text="sample of the row")


def check_rows(columns: RowColumns, fields: tuple[Field, ...], ids: list[str], source: str, law: Any) -> None:
    """Check answers in memory, one row for each id.

    Parameters
    ----------
    columns : dict of ndarray
        Columns by name, each (n,).
    fields : tuple of Field
        Requested columns, the id first.
    ids : list of str
        Samples, in the order of the rows.
    source : str
        Text with which error messages begin.
    law : callable
        Function of (columns, tell) that checks the rules between columns. It calls ``tell(bad, name, reason)`` with a mask of the bad rows; this call
        raises if a row is bad.
    """

    def tell(bad: np.ndarray, name: str, reason: str) -> None:
        tables.refuse(bad, name, reason, values=columns[name], where=lambda _: source, named=lambda row: ids[row])

    _check(columns, fields, tell, law)


def _check(columns: RowColumns, fields: tuple[Field, ...], tell: Any, law: Any) -> None:
    for field in fields:
        if field.name in columns:
            check_numbers(columns[field.name], field, tell)
    law(columns, tell)


def read_rows(folder: Path, fields: tuple[Field, ...], data: "xr.Dataset", empty: tuple[str, ...], law: Any, *, kind: str) -> RowColumns:
    """Return the checked columns of a submission, one row for each sample in the order of the split; see :func:`check_rows`."""
    ids = sample_ids(data)
    none_empty(empty, kind, folder)
    table = tables.read_table(folder / TABLE, fields, ids, most=2)  # a second row is read, so the message can name its sample
    table.refuse_null()
    order = one_row_each(table, ids)
    _check(table.columns, fields, lambda bad, name, reason: table.refuse(bad, name, reason, ids), law)
    return {name: values[order] for name, values in table.columns.items()}


def write_rows(folder: Path, answers: Mapping[str, Any], columns: RowColumns) -> None:
    """Write one row for each sample."""
    tables.write_table(folder / TABLE, list(answers), columns)
