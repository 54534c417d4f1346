"""Columns of a dataset, as described in its card.

Storage, verification and documentation of a dataset depend only on these descriptions.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from stemtwin.datasets.kinds import CardModel, Count

MOST_DIMS = 4
IMAGE_DIMS, RAGGED_DIM, RAGGED_COUNT = ("y", "x"), "column", "n_columns"
"""Default dimensions of two-dimensional arrays, and default dimension and count column of ragged columns."""
ADDED = frozenset({"dims", "count", "compare", "cube"})
"""Keys that were added after the first cards; they are part of a card's digest only if the card gives them."""
PADDING: dict[str, Any] = {"float64": np.nan, "float32": np.nan, "int64": -1, "int32": -1, "uint32": 0, "uint16": 0, "uint8": 0}
PADDING |= {"string": "", "bool": False}
"""Fill values of the padding of ragged columns in arrays; the count column holds the number of entries."""
ColumnName = Annotated[str, Field(pattern=r"^[A-Za-z]\w*$")]


class Column(CardModel):
    """One column of a dataset.

    Parameters
    ----------
    name, dtype, unit, meaning : str
        Name, type of a value, unit (``"1"`` if the values have none) and meaning.
    role : str
        ``"identity"`` for a name of the row, ``"input"`` for data recorded by a measurement, ``"condition"`` for
        settings of the simulation that a measurement does not record, ``"truth"`` for values to be predicted.
    shape : tuple of int
        Shape of an array, up to four dimensions; () for a single value.
    dims : tuple of str, optional
        Names of the array's dimensions, by default y and x for two dimensions. A ragged column has one dimension, by
        default ``column``.
    ragged : bool
        Whether a row holds a list of values of any length.
    count : str, optional
        For a ragged column, the name of the column that holds the length of each row's list, by default ``n_columns``.
    compare : str, optional
        Rule by which the values of two builds are compared. ``"exact"``: the values must be equal. ``"close"``: single
        numbers may differ in the last bits, and arrays by 1e-5 of their largest value. ``"counts"``: at most 1e-4 of
        the values may differ, each by one. The default is ``"close"`` for floating-point numbers, ``"counts"`` for arrays of
        unsigned integers, and ``"exact"`` otherwise.
    cube : bool
        Whether the arrays are too large for tables. Such arrays are stored as zarr files beside the tables, one row at a
        time.
    """

    name: ColumnName
    dtype: Literal["string", "int64", "float64", "bool", "uint16", "float32", "int32", "uint32", "uint8"]
    role: Literal["identity", "input", "condition", "truth"]
    unit: Annotated[str, Field(min_length=1)]
    meaning: Annotated[str, Field(min_length=1)]
    shape: Annotated[tuple[Count, ...], Field(max_length=MOST_DIMS)] = ()
    ragged: bool = False
    dims: Annotated[tuple[ColumnName, ...], Field(min_length=1)] | None = None
    count: ColumnName | None = None
    compare: Literal["exact", "close", "counts"] | None = None
    cube: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Check that the keys agree with each other."""
        wanted, message = 1 if self.ragged else len(self.shape), ""
        if self.ragged and self.shape:
            message = "a ragged column holds a list of single values and has no shape"
        elif len(self.dim_names) != wanted:
            message = f"dims {list(self.dim_names)} must name {wanted} dimension(s)"
        elif self.count is not None and not self.ragged:
            message = "only a ragged column has a count"
        elif self.cube and not (self.shape and self.dtype not in ("string", "bool")):
            message = "a cube must be an array of numbers; give a shape and a numeric dtype, or leave out cube"
        elif self.dtype == "string" and self.shape:
            message = "an array column cannot hold strings; give another dtype, or leave out shape"
        elif self.comparison == "counts" and self.dtype in ("string", "bool", "float32", "float64"):
            message = "compare = 'counts' needs an integer dtype; give another dtype, or leave out compare"
        if message:
            message = f"column {self.name!r}: {message}"
            raise ValueError(message)
        return self

    @model_serializer(mode="wrap")
    def _without_added(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Omit the keys of :data:`ADDED` that are not given."""
        return {key: value for key, value in handler(self).items() if value or key not in ADDED}

    @property
    def dim_names(self) -> tuple[str, ...]:
        """Names of the dimensions of one row's value, without the dimension of the rows."""
        if self.dims is not None:
            return self.dims
        return (RAGGED_DIM,) if self.ragged else IMAGE_DIMS if len(self.shape) == len(IMAGE_DIMS) else ()

    @property
    def count_name(self) -> str:
        """Name of the column that holds the lengths of the lists if this column is ragged, otherwise ``""``."""
        return (self.count or RAGGED_COUNT) if self.ragged else ""

    @property
    def comparison(self) -> str:
        """Rule by which the values of two builds are compared: ``"exact"``, ``"close"`` or ``"counts"``."""
        if self.compare is not None:
            return self.compare
        unsigned = self.dtype.startswith("uint") and self.shape
        return "close" if self.dtype.startswith("float") else "counts" if unsigned else "exact"

    @property
    def nbytes(self) -> int:
        """Size of one row's array in bytes, or 0 if the column does not hold arrays of fixed shape."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize if self.shape else 0

    def trimmed(self, values: Any, row: int) -> Any:
        """Return the value of one row, without the padding of ragged columns.

        ``values`` maps column names to arrays over all rows, and ``row`` is the number of the row.
        """
        found = values[self.name][row]
        return found[: int(values[self.count_name][row])] if self.ragged else found


OF_EVERY_ROW = {"sample_id": "string", "split": "string", "specimen": "string", "structure_seed": "int64"}
"""Columns of every dataset with their types; the build fills them."""


def check_columns(columns: Sequence[Column]) -> None:
    """Raise ValueError if the columns of a card contradict each other or a required column is missing."""
    named = {column.name: column for column in columns}
    if len(named) < len(columns):
        message = "two columns have the same name"
        raise ValueError(message)
    for name, dtype in OF_EVERY_ROW.items():
        if name not in named or named[name].dtype != dtype or named[name].shape or named[name].ragged:
            message = f"every dataset needs a column {name!r} of single values of type {dtype}"
            raise ValueError(message)
    for column in columns:
        count = named.get(column.count_name)
        if column.ragged and (count is None or count.dtype != "int64" or count.ragged or count.shape):
            message = f"column {column.name!r} has its list lengths in {column.count_name!r}, which is not a column of single int64 values"
            raise ValueError(message)
    _check_dims(columns, "has the sizes", lambda column: dict(zip(column.dim_names, column.shape, strict=True)), ragged=False)
    _check_dims(columns, "is counted by", lambda column: {column.dim_names[0]: column.count_name}, ragged=True)
    both = {dim for c in columns if c.ragged for dim in c.dim_names} & {dim for c in columns if c.shape for dim in c.dim_names}
    if both | ({"sample"} & {dim for column in columns for dim in column.dim_names}):
        message = f"the dimension {min(both or {'sample'})!r} cannot be used here: an array and a ragged column cannot share a dimension, "
        message += "and 'sample' is the dimension of the rows; give another name in dims of a column"
        raise ValueError(message)


def _check_dims(columns: Sequence[Column], verb: str, of: Callable[[Column], dict[str, Any]], *, ragged: bool) -> None:
    """Raise ValueError if two columns contradict each other about a dimension."""
    said = sorted({pair for column in columns if column.ragged is ragged and (ragged or column.shape) for pair in of(column).items()})
    for (dim, first), (other, second) in itertools.pairwise(said):
        if dim == other:
            message = f"the dimension {dim!r} {verb} {first} and {second}; give two dimensions"
            raise ValueError(message)
