"""Storage of rows as Parquet with Hugging Face features, as netCDF and as arrays, and the digest of their content.

A row is a dictionary with the card's columns as keys. :func:`content_sha256` gives the same digest for the same rows in
any order and any format. Cubes, which do not fit into tables, are stored by :mod:`stemtwin.datasets.cubes`.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.datasets.cards import Card
from stemtwin.datasets.columns import PADDING, Column
from stemtwin.twin.errors import DatasetError
from stemtwin.twin.files import check_space, replacing

if TYPE_CHECKING:
    import datasets as hf
    import pyarrow as pa
    import xarray as xr


def features(card: Card) -> "hf.Features":
    """Return the Hugging Face features of a card's columns."""
    import datasets as hf

    arrays: dict[int, Any] = {2: hf.Array2D, 3: hf.Array3D, 4: hf.Array4D}

    def feature(column: Column) -> Any:
        if len(column.shape) > 1:
            return arrays[len(column.shape)](column.shape, column.dtype)
        if column.shape:
            return hf.List(hf.Value(column.dtype), length=column.shape[0])
        return hf.List(hf.Value(column.dtype)) if column.ragged else hf.Value(column.dtype)

    return hf.Features({column.name: feature(column) for column in tabular(card)})


def tabular(card: Card) -> tuple[Column, ...]:
    """Return the columns of a card that are stored in tables: all columns except cubes, which are too large for tables."""
    return tuple(column for column in card.columns if not column.cube)


def table_of(rows: Sequence[dict[str, Any]], card: Card) -> "pa.Table":
    """Return rows without their cubes as an Arrow table with the Hugging Face features in its schema."""
    import datasets as hf

    names = [column.name for column in tabular(card)]
    return hf.Dataset.from_dict({name: [row[name] for row in rows] for name in names}, features=features(card)).data.table


def with_features(table: "pa.Table", card: Card) -> "pa.Table":
    """Return a table whose metadata are replaced by the Hugging Face features of the card's columns."""
    return table.replace_schema_metadata(features(card).arrow_schema.metadata)


def write_parquet(table: "pa.Table", path: Path, **options: Any) -> None:
    """Write a table atomically as one Parquet file; ``options`` are passed to ``pyarrow.parquet.write_table``."""
    import pyarrow.parquet as pq

    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=256, **options)


def read_parquet(paths: Iterable[Path]) -> "pa.Table":
    """Return the content of Parquet files as one table.

    Raises
    ------
    DatasetError
        A file cannot be read as Parquet.
    """
    import datasets  # noqa: F401 - registers the extension type of images with Arrow
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = []
    for path in paths:
        try:
            tables.append(pq.read_table(path))
        except (OSError, pa.ArrowException) as error:
            message = f"{path} cannot be read as Parquet: {str(error).splitlines()[0]} Fetch or build the dataset again."
            raise DatasetError(message) from error
    return pa.concat_tables(tables)


def to_numpy(table: "pa.Table", card: Card) -> dict[str, np.ndarray]:
    """Return a table as a dictionary of arrays by column name.

    Array columns have the shape (rows, *shape). Ragged columns are padded with
    :data:`~stemtwin.datasets.columns.PADDING` to the shape (rows, length of the longest list). Texts are fixed-width
    string arrays.
    """
    return {column.name: _array(table[column.name].combine_chunks(), column) for column in tabular(card)}


def _array(values: Any, column: Column) -> np.ndarray:
    """Return one Arrow column as an array."""
    if column.shape:
        flat = getattr(values, "storage", values)
        for _ in column.shape:
            flat = flat.flatten()
        return flat.to_numpy(zero_copy_only=False).reshape(len(values), *column.shape)
    if not column.ragged:
        return np.asarray(values.to_pylist(), dtype=_dtype(column)).reshape(len(values))
    lengths = np.diff(values.offsets.to_numpy())
    flat = np.asarray(values.flatten().to_pylist(), dtype=_dtype(column))
    padded = np.full((len(lengths), lengths.max(initial=0)), PADDING[column.dtype], dtype=flat.dtype)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = flat
    return padded


def _dtype(column: Column) -> type | str:
    return str if column.dtype == "string" else column.dtype


def to_xarray(arrays: dict[str, np.ndarray], card: Card, split: str) -> "xr.Dataset":
    """Return arrays as an ``xarray.Dataset`` with the dimension ``sample``, and with the unit and meaning of every variable."""
    import xarray as xr

    variables = {}
    for column in tabular(card):
        dims = ("sample", *column.dim_names)
        variables[column.name] = (dims, arrays[column.name], {"units": column.unit, "long_name": column.meaning})
    attrs = {"title": card.title, "dataset": card.name, "version": card.version, "split": split, "license": card.licence, "citation": card.citation}
    return xr.Dataset(variables, attrs=attrs)


def write_netcdf(data: "xr.Dataset", path: Path) -> None:
    """Write a dataset atomically as one netCDF4 file with lossless compression of its arrays."""
    encoding = {name: {"zlib": True, "complevel": 4} for name, variable in data.variables.items() if variable.ndim >= 3}
    check_space(path, data.nbytes, path.name)  # a full disk makes HDF5 crash
    with replacing(path) as temporary:
        data.to_netcdf(temporary, engine="h5netcdf", encoding=encoding)


def read_netcdf(path: Path, card: Card) -> "xr.Dataset":
    """Read a file written by :func:`write_netcdf` into memory, with the types of the card.

    Raises
    ------
    DatasetError
        The file cannot be read as netCDF.
    """
    import xarray as xr

    try:
        data = xr.load_dataset(path, engine="h5netcdf")
    except (OSError, ValueError, KeyError) as error:
        message = f"{path} cannot be read as netCDF: {error}. Fetch or build the dataset again."
        raise DatasetError(message) from error
    for column in tabular(card):
        data[column.name] = data[column.name].astype(_dtype(column), keep_attrs=True, copy=False)
        data[column.name].encoding.clear()
    return data


def content_digests(arrays: Mapping[str, Any], card: Card) -> list[bytes]:
    """Return the SHA-256 digest of the content of each row: names, types, shapes and values without padding.

    The arrays of cubes, which may lie on disk, are read row by row.
    """
    digests = []
    for row in range(len(arrays["sample_id"])):
        digest = hashlib.sha256()
        for column in sorted(card.columns, key=lambda column: column.name):
            digest.update(f"{column.name}\0{column.dtype}\0".encode())
            digest.update(_canonical(column.trimmed(arrays, row), column))
        digests.append(digest.digest())
    return digests


def _canonical(value: Any, column: Column) -> bytes:
    """Return a value as bytes.

    The bytes of an array are its shape and its little-endian numbers, with one representation of zero and of NaN. The bytes
    of strings are the number of strings, and the length and the UTF-8 bytes of each string.
    """
    if column.dtype == "string":
        texts = [str(text).encode() for text in np.atleast_1d(value)]
        return len(texts).to_bytes(8, "little") + b"".join(len(text).to_bytes(8, "little") + text for text in texts)
    array = np.asarray(value, dtype=np.dtype(column.dtype).newbyteorder("<"))
    if column.dtype.startswith("float"):
        array = np.where(np.isnan(array), np.nan, array + 0.0)
    return np.asarray(array.shape, dtype="<i8").tobytes() + np.ascontiguousarray(array).tobytes()


def content_sha256(digests: Iterable[bytes]) -> str:
    """Return the digest of a set of rows, given the digests of the single rows in any order."""
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
