"""Cubes of a dataset: arrays too large for tables, stored as zarr with one shard per row.

Only one row at a time is held in memory.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stemtwin.datasets.cards import Card
from stemtwin.datasets.columns import Column
from stemtwin.twin.errors import DatasetError
from stemtwin.twin.files import replacing

CHUNK_BYTES = 1 << 20
"""Largest size of a chunk, the unit of reading."""


def cubes_of(card: Card) -> tuple[Column, ...]:
    """Return the columns of a card that hold cubes, which are arrays too large for tables."""
    return tuple(column for column in card.columns if column.cube)


def check_zarr(card: Card) -> None:
    """Raise DatasetError if a card has cubes and zarr is not installed."""
    try:
        if cubes_of(card):
            import zarr  # noqa: F401
    except ImportError:
        message = f"{card.id} holds cubes stored as zarr, which is not installed. Install it with 'pip install zarr'."
        raise DatasetError(message) from None


def group_of(split: str) -> str:
    """Return the path of a split's cubes relative to the dataset's folder."""
    return f"cubes/{split}.zarr"


def write_cubes(blocks: Iterable[dict[str, np.ndarray]], rows: int, card: Card, path: Path) -> None:
    """Write a split's cubes atomically.

    Parameters
    ----------
    blocks : iterable of dict
        Blocks of rows in order. Each block maps column names to arrays (rows of the block, *shape).
    rows : int
        Total number of rows of all blocks.
    card : Card
        Card of the dataset, which defines the cube columns.
    path : Path
        Folder of the zarr group.
    """
    import zarr

    with replacing(path) as temporary:
        group, made = zarr.open_group(temporary, mode="w", zarr_format=3), {}
        for column in cubes_of(card):
            made[column.name] = group.create_array(
                column.name,
                shape=(rows, *column.shape),
                dtype=column.dtype,
                chunks=(1, *_chunk(column)),
                shards=(1, *_shard(column)),
                dimension_names=("sample", *column.dim_names),
                attributes={"units": column.unit, "long_name": column.meaning},
            )
        done = 0
        for block in blocks:
            count = len(next(iter(block.values())))
            for name, array in made.items():
                for row in range(count):
                    array[done + row] = np.asarray(block[name][row])
            done += count


def _chunk(column: Column) -> tuple[int, ...]:
    """Return the shape of a chunk, the array's shape halved along its longest side until the chunk is small enough."""
    shape = list(column.shape)
    while np.prod(shape) * np.dtype(column.dtype).itemsize > CHUNK_BYTES:
        longest = shape.index(max(shape))
        shape[longest] = -(-shape[longest] // 2)
    return tuple(shape)


def _shard(column: Column) -> tuple[int, ...]:
    """Return the shape of a shard, the smallest number of whole chunks that hold the array."""
    return tuple(-(-size // chunk) * chunk for size, chunk in zip(column.shape, _chunk(column), strict=True))


def open_cubes(folder: Path, split: str, card: Card) -> dict[str, Any]:
    """Return a split's cubes by column name, as zarr arrays (rows, *shape) whose values are read on access.

    Raises
    ------
    DatasetError
        The folder is not a zarr group with these arrays, or zarr is not installed.
    """
    if not cubes_of(card):
        return {}
    check_zarr(card)
    import zarr

    try:
        group: Any = zarr.open_group(folder / group_of(split), mode="r")
        return {column.name: group[column.name] for column in cubes_of(card)}
    except (OSError, ValueError, KeyError) as error:
        message = f"{folder / group_of(split)} cannot be read as zarr: {error}. Fetch or build the dataset again."
        raise DatasetError(message) from error


def labelled_cubes(folder: Path, split: str, card: Card) -> Any:
    """Return a split's cubes as an ``xarray.Dataset`` of arrays whose values are read on access."""
    check_zarr(card)
    import xarray as xr

    return xr.open_zarr(folder / group_of(split), consolidated=False)


def write_part(values: dict[str, np.ndarray], part: Path) -> None:
    """Write the cubes of one specimen during a build, in one file for each cube column.

    The files lie beside ``part``, the file with those columns of the specimen that are not cubes.
    """
    for name, array in values.items():
        with replacing(_beside(part, name)) as temporary, temporary.open("wb") as stream:
            np.save(stream, array)


def read_parts(parts: Iterable[Path], card: Card) -> Iterator[dict[str, np.ndarray]]:
    """Yield the cubes of each specimen, written by :func:`write_part`, as memory-mapped arrays by column name."""
    for part in parts:
        yield {column.name: np.load(_beside(part, column.name), mmap_mode="r") for column in cubes_of(card)}


def _beside(part: Path, name: str) -> Path:
    return part.with_name(f"{part.stem}.{name}.npy")
