"""Witness rows: a few rows of each size of a dataset that ship beside its card, for comparison with builds on other machines.

``<name>-<version>.witness.parquet`` contains all scalar values. Arrays and long lists are stored completely if the size
limit of the file permits. Otherwise an excerpt is stored, with the sum and the sum of squares of all values. Rows are
compared within the tolerances of :mod:`stemtwin.datasets.comparison`.
"""

import io
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stemtwin.datasets import cards, comparison
from stemtwin.datasets.cards import Card
from stemtwin.datasets.columns import Column
from stemtwin.datasets.kinds import find_generator
from stemtwin.twin.errors import DatasetError

LIMIT_BYTES = 200_000
"""Largest size of a card's file of witness rows, bytes."""
SPECIMENS = 6
"""Number of specimens of each size, each with one witness row."""
PARTS = (None, 32, 16, 8, 4)
"""Possible edge lengths of the stored part of an array, None for the whole array.

The first edge length for which the file is within the size limit is used."""
KEY = b"stemtwin.witness"
MOMENTS = ("sum", "square")
Rows = Callable[[Card, str, Any], list[dict[str, Any]]]


def path_of(card: Card) -> Path:
    """Return the path of the file with a card's witness rows."""
    return cards.CARDS / f"{card.id}.witness.parquet"


def chosen(card: Card, size: str) -> list[tuple[str, int, int]]:
    """Return the split, structure seed and image number of each witness row of a size.

    Successive rows cycle through the splits.
    """
    splits, counts, found = list(card.splits), card.sizes[size].images_per_specimen, {}
    for i in range(SPECIMENS):
        split = splits[i % len(splits)]
        seeds = card.structure_seeds(size, split)
        found.setdefault((split, seeds[i % len(seeds)]), i % counts[split])
    return [(split, seed, image) for (split, seed), image in found.items()]


def make(card: Card, rows: Rows, progress: Callable[[int, int, str], None] | None = None) -> bytes:
    """Compute a card's witness rows and return the content of their file.

    Parameters
    ----------
    card : Card
        Card of the dataset.
    rows : callable
        Function that returns the rows of a specimen: :func:`stemtwin.datasets.generate.specimen_rows`.
    progress : callable, optional
        Called with the number of finished rows, the number of all rows, and the current step.

    Raises
    ------
    DatasetError
        The rows do not fit into 200 kB.
    """
    asked = [(size, *row) for size in card.sizes for row in chosen(card, size)]
    made: list[tuple[str, dict[str, Any]]] = []
    for done, (size, split, seed, image) in enumerate(asked):
        specimen = find_generator(card.kind).specimen(card, size, split, seed)
        if progress:
            progress(done, len(asked), f"{size}: {specimen.name}")
        made.append((size, rows(card, size, specimen)[image]))
    for edge in PARTS:
        content = _file(card, made, edge)
        if len(content) <= LIMIT_BYTES:
            return content
    message = (
        f"The witness rows of {card.id} take {len(content)} bytes, above the limit of {LIMIT_BYTES} bytes. "
        "Remove columns from the card, or shorten the texts in its columns."
    )
    raise DatasetError(message)


def _file(card: Card, made: list[tuple[str, dict[str, Any]]], edge: int | None) -> bytes:
    """Return the content of the Parquet file of rows, with parts of a given edge length of their arrays."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, list[Any]] = {"size": [size for size, _ in made]}
    types: dict[str, Any] = {"size": pa.string()}
    for column in card.columns:
        plain = getattr(pa, {"bool": "bool_"}.get(column.dtype, column.dtype))()
        listed = bool(column.shape) or column.ragged
        types[column.name] = pa.list_(plain) if listed else plain
        columns[column.name] = [_kept(column, row[column.name], edge) for _, row in made]
        if edge is not None and _summed(column):
            for number, moment in enumerate(MOMENTS):
                types[f"{column.name}.{moment}"] = pa.float64()
                columns[f"{column.name}.{moment}"] = [moments(row[column.name])[number] for _, row in made]
    about = json.dumps({"card": card.digest, "edge": edge}).encode()
    table = pa.table(columns, schema=pa.schema(types.items(), metadata={KEY: about}))
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd", compression_level=19)
    return stream.getvalue()


def _summed(column: Column) -> bool:
    """Return True if a column may be stored in part: all arrays and lists except those of strings."""
    return (bool(column.shape) or column.ragged) and column.dtype != "string"


def _kept(column: Column, value: Any, edge: int | None) -> Any:
    """Return the stored part of a value, as a list if it is an array or a list."""
    if not (column.shape or column.ragged):
        return value
    return np.asarray(value).ravel().tolist() if edge is None or not _summed(column) else part(column, value, edge).ravel().tolist()


def part(column: Column, value: Any, edge: int) -> np.ndarray:
    """Return the stored part of an array or a list: the middle of an array, or the beginning of a list.

    The part of an array has ``edge`` values along each of the last two dimensions, and two values along every other
    dimension. The part of a list has ``4 * edge`` values.
    """
    array = np.asarray(value)
    if column.ragged:
        return array[: 4 * edge]
    sizes = [2] * (array.ndim - 2) + [edge] * min(array.ndim, 2)
    starts = [max(0, (n - size) // 2) for n, size in zip(array.shape, sizes, strict=True)]
    return array[tuple(slice(start, start + size) for start, size in zip(starts, sizes, strict=True))]


def moments(value: Any) -> tuple[float, float]:
    """Return the sum of all values and the sum of their squares."""
    array = np.asarray(value, dtype=float)
    return float(array.sum()), float((array**2).sum())


def read(card: Card) -> tuple[list[dict[str, Any]], int | None]:
    """Return a card's witness rows, and the edge length of the stored parts of arrays (None for whole arrays).

    The list of rows is empty if there is no file for the card's present content.

    Raises
    ------
    DatasetError
        The file cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = path_of(card)
    if not path.is_file():
        return [], None
    try:
        table = pq.read_table(path)
        about = json.loads((table.schema.metadata or {})[KEY])
        return (table.to_pylist() if about["card"] == card.digest else []), about["edge"]
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        message = f"{path} holds no witness rows: {error}. Write it again with 'stemtwin data witness {card.name}'."
        raise DatasetError(message) from error


def check(card: Card, size: str, rows: Iterable[Mapping[str, Any]]) -> int:
    """Compare rows with the witness rows of a dataset, and return the number of compared rows.

    ``size`` is the size of the dataset to which ``rows`` belong. Rows without a witness row of the same name are not
    compared.

    Raises
    ------
    DatasetError
        A row differs from the witness row of the same name by more than the tolerance, which allows for rounding on different machines.
    """
    found, edge = read(card)
    witnesses = {row["sample_id"]: row for row in found if row["size"] == size}
    held = 0
    for row in rows if witnesses else ():
        witness = witnesses.get(row["sample_id"])
        if witness is None:
            continue
        held += 1
        wrong = next((text for column in card.columns if (text := _compared(column, witness, row[column.name], edge))), "")
        if wrong:
            message = (
                f"{row['sample_id']} of {card.id} {size}: {wrong}. This machine generates rows that differ from the published rows. "
                "Check the versions of stemtwin and numpy, or fetch the dataset from a mirror."
            )
            raise DatasetError(message)
    return held


def _compared(column: Column, witness: Mapping[str, Any], made: Any, edge: int | None) -> str:
    """Return the text about a value that differs from its witness, ``""`` if they agree."""
    stored = witness[column.name]
    if edge is None or not _summed(column):
        here = np.asarray(stored, dtype=None if column.dtype == "string" else column.dtype)
        return comparison.difference(column, here.reshape(column.shape) if column.shape else here, made).text
    some = part(column, made, edge)
    here = np.asarray(stored, dtype=column.dtype)
    text = _part_difference(column, here, some.ravel(), float(np.abs(np.asarray(made, dtype=float)).max(initial=0.0)))
    for moment, value, most in zip(MOMENTS, moments(made), _tolerances(column, np.asarray(made, dtype=float)), strict=True):
        known = witness[f"{column.name}.{moment}"]
        if not text and abs(value - known) > most and not (np.isnan(value) and np.isnan(known)):
            text = f"the {moment} of {column.name} is {value:.17g}, but {known:.17g} in the published dataset"
    return text


def _part_difference(column: Column, stored: np.ndarray, made: np.ndarray, largest: float) -> str:
    """Return the text about a part that differs; the tolerance follows from the largest value of the whole array."""
    if stored.shape != made.shape:
        return f"{column.name} has {made.size} values, but {stored.size} in the published dataset"
    away = np.abs(stored.astype(float) - made.astype(float))
    allowed = {"exact": 0.0, "counts": 1.0}.get(column.comparison, comparison.SIGNAL_TOLERANCE * largest)
    if column.comparison == "close" and not column.shape:
        return "" if comparison.close(column, stored, made) else f"{column.name} differs by up to {np.nanmax(away):.3g}"
    worst = float(np.nanmax(away, initial=0.0))
    return f"{column.name} differs by up to {worst:.3g}, above the tolerance {allowed:.3g}" if worst > allowed else ""


def _tolerances(column: Column, made: np.ndarray) -> tuple[float, float]:
    """Return the tolerances of the sum and of the sum of squares of an array."""
    largest, n = float(np.nanmax(np.abs(made), initial=0.0)), made.size
    if column.comparison == "exact":
        return 0.0, 0.0
    if column.comparison == "counts":
        changed = np.floor(comparison.OFF_BY_ONE * n)
        return float(changed), float(changed * (2 * largest + 1))
    one = comparison.SIGNAL_TOLERANCE * largest if column.shape else comparison.TRUTH_TOLERANCE * (1 + largest)
    return n * one, n * one * (2 * largest + one)


def rows_of(card: Card, size: str, arrays: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Yield the rows of a split that are also stored in the card's file of witness rows; ``arrays`` contains all rows of the split."""
    names = {row["sample_id"] for row in read(card)[0] if row["size"] == size}
    for number in np.flatnonzero(np.isin(arrays["sample_id"], sorted(names))) if names else ():
        yield {column.name: column.trimmed(arrays, int(number)) for column in card.columns}
