"""Columns of a dataset, as its card describes them: all that storage, verification and documentation know of a kind."""

import itertools
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from stemtwin.datasets.kinds import CardModel, Count

MOST_DIMS = 4
IMAGE_DIMS, RAGGED_DIM, RAGGED_COUNT = ("y", "x"), "column", "n_columns"
"""Dims of two array dimensions, and dim and count of ragged columns, where a card names none."""
ADDED = frozenset({"dims", "count", "compare", "cube"})
"""Keys that the first cards did not know: left out of a card's digest where a card does not give them."""
PADDING: dict[str, Any] = {"float64": np.nan, "float32": np.nan, "int64": -1, "int32": -1, "uint32": 0, "uint16": 0, "uint8": 0}
PADDING |= {"string": "", "bool": False}
"""Fill values at the end of a ragged column in arrays; the count column says how many entries count."""
ColumnName = Annotated[str, Field(pattern=r"^[A-Za-z]\w*$")]


class Column(CardModel):
    """One column of a dataset.

    Parameters
    ----------
    name, dtype, unit, meaning : str
        ColumnName, type of a value, unit (``"1"`` without one) and meaning.
    role : str
        ``"identity"`` names a row, ``"input"`` is what a measurement comes with, ``"condition"`` what the simulation knew besides, ``"truth"`` what
        is asked for.
    shape : tuple of int
        Shape of an array, up to four dimensions; () for one value.
    dims : tuple of str, optional
        Names of its dimensions; of two, by default, y and x. A ragged column has one, by default ``column``.
    ragged : bool
        Whether a row holds a list of values, of any length.
    count : str, optional
        The column that says how many, by default ``n_columns``.
    compare : str, optional
        Comparison of two builds: ``"exact"``; ``"close"``, numbers but for the last bits and arrays to 1e-5 of their largest; ``"counts"``, of which
        1e-4 may differ by one. By default close for floating-point numbers, counts for arrays of unsigned integers, else exact.
    cube : bool
        Whether the arrays are large: they are kept as zarr, a row at a time, beside the tables.
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
        """Check that the keys fit each other."""
        wanted, message = 1 if self.ragged else len(self.shape), ""
        if self.ragged and self.shape:
            message = "a ragged column holds single values, without a shape"
        elif len(self.dim_names) != wanted:
            message = f"dims {list(self.dim_names)} must name {wanted} dimension(s)"
        elif self.count is not None and not self.ragged:
            message = "only a ragged column has a count"
        elif self.cube and not (self.shape and self.dtype not in ("string", "bool")):
            message = "a cube is an array of numbers, with a shape"
        elif self.dtype == "string" and self.shape:
            message = "an array holds numbers, not strings"
        elif self.comparison == "counts" and self.dtype in ("string", "bool", "float32", "float64"):
            message = "counts are integers"
        if message:
            message = f"column {self.name!r}: {message}"
            raise ValueError(message)
        return self

    @model_serializer(mode="wrap")
    def _without_added(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the keys of :data:`ADDED` that are not given."""
        return {key: value for key, value in handler(self).items() if value or key not in ADDED}

    @property
    def dim_names(self) -> tuple[str, ...]:
        """Names of the dimensions after that of the rows."""
        if self.dims is not None:
            return self.dims
        return (RAGGED_DIM,) if self.ragged else IMAGE_DIMS if len(self.shape) == len(IMAGE_DIMS) else ()

    @property
    def count_name(self) -> str:
        """ColumnName of the column that counts the entries of a ragged one, ``""`` of any other."""
        return (self.count or RAGGED_COUNT) if self.ragged else ""

    @property
    def comparison(self) -> str:
        """Comparison of two builds: ``"exact"``, ``"close"`` or ``"counts"``."""
        if self.compare is not None:
            return self.compare
        unsigned = self.dtype.startswith("uint") and self.shape
        return "close" if self.dtype.startswith("float") else "counts" if unsigned else "exact"

    @property
    def nbytes(self) -> int:
        """Bytes of a row's array; 0 of anything else."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize if self.shape else 0

    def trimmed(self, values: Any, row: int) -> Any:
        """Return a row's value from arrays by column name, the padding of ragged columns left out."""
        found = values[self.name][row]
        return found[: int(values[self.count_name][row])] if self.ragged else found


OF_EVERY_ROW = {"sample_id": "string", "split": "string", "specimen": "string", "structure_seed": "int64"}
"""Columns that every dataset has, with their types; the build fills them."""


def check_columns(columns: Sequence[Column]) -> None:
    """Raise ValueError where the columns of a card do not fit each other."""
    named = {column.name: column for column in columns}
    if len(named) < len(columns):
        message = "two columns have the same name"
        raise ValueError(message)
    for name, dtype in OF_EVERY_ROW.items():
        if name not in named or named[name].dtype != dtype or named[name].shape or named[name].ragged:
            message = f"every dataset has a column {name!r} of single values of type {dtype}"
            raise ValueError(message)
    for column in columns:
        count = named.get(column.count_name)
        if column.ragged and (count is None or count.dtype != "int64" or count.ragged or count.shape):
            message = f"column {column.name!r} is counted by {column.count_name!r}, which is not a column of single int64 values"
            raise ValueError(message)
    _check_dims(columns, "has the sizes", lambda column: dict(zip(column.dim_names, column.shape, strict=True)), ragged=False)
    _check_dims(columns, "is counted by", lambda column: {column.dim_names[0]: column.count_name}, ragged=True)
    both = {dim for c in columns if c.ragged for dim in c.dim_names} & {dim for c in columns if c.shape for dim in c.dim_names}
    if both | ({"sample"} & {dim for column in columns for dim in column.dim_names}):
        message = f"the dimension {min(both or {'sample'})!r} has two meanings; name another"
        raise ValueError(message)


def _check_dims(columns: Sequence[Column], verb: str, of: Callable[[Column], dict[str, Any]], *, ragged: bool) -> None:
    """Raise ValueError where two columns say different things of one dimension."""
    said = sorted({pair for column in columns if column.ragged is ragged and (ragged or column.shape) for pair in of(column).items()})
    for (dim, first), (other, second) in itertools.pairwise(said):
        if dim == other:
            message = f"the dimension {dim!r} {verb} {first} and {second}; give two dimensions"
            raise ValueError(message)
