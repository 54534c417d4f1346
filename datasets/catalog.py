"""Finding and loading datasets."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stemtwin.datasets import cubes, sources, storage
from stemtwin.datasets.cards import Card, known, list_cards, named_card
from stemtwin.datasets.manifest import Manifest
from stemtwin.datasets.measured import is_measured, load_measured, read_measured_card
from stemtwin.twin.errors import DatasetError

FORMATS = ("xarray", "hf", "numpy")
STANDARD = "std"
"""Size that is meant where none is given."""
STREAMED_ROWS = 16
"""Rows in memory while a dataset is streamed."""


def list_datasets() -> dict[str, tuple[str, ...]]:
    """Return the versions of every dataset by name, oldest first.

    >>> "1.0.0" in list_datasets()["atoms-2d"]
    True
    """
    return list_cards()


def load_dataset(
    name: str | Path,
    *,
    version: str | None = None,
    size: str = STANDARD,
    split: str = "train",
    format: str = "xarray",
    streaming: bool = False,
    build: bool | None = None,
) -> Any:
    """Load one split of a dataset, after checking its files against their hashes.

    It is taken from the data folder (``STEMTWIN_DATA_DIR``, or the user's cache), else from the mirror ``STEMTWIN_DATA_URL``, else built here if less
    than two minutes are planned; stderr says which. A build is compared with witness rows that ship with the package; equal hashes are promised for
    one machine and one set of versions only.

    Parameters
    ----------
    name : str
        Name and version, ``"atoms-2d@1"`` (the newest 1.x.y) or ``"atoms-2d@1.0.0"``, see :func:`list_datasets`; or a path: of a card of your own,
        ``"mine.toml"``, of a folder that was built or fetched, or of measured data from ``stemtwin data pack``.
    version : str, optional
        The version, where ``name`` does not say it. Always named: a program that says which data it uses can be repeated.
    size, split : str
        ``"tiny"``, ``"std"`` or ``"full"``, of which full is never on a mirror; ``"train"``, ``"val"`` or ``"test"``. A folder has its own size.
    format : str
        ``"xarray"``: an ``xarray.Dataset`` with dimension ``sample``, the card's dimensions (``y``, ``x``, ...) and units. ``"hf"``: a Hugging Face
        ``datasets.Dataset`` in memory. ``"numpy"``: a dictionary of arrays (rows, ...). The values are equal; in xarray and numpy, ragged columns are
        padded with NaN, -1, ``""`` or False to the longest, and the column that the card names (``n_columns``) counts the entries. Cubes read from
        disk what is asked of them: dask arrays in xarray, zarr arrays in numpy; ``"hf"`` leaves them out.
    streaming : bool
        Give a Hugging Face ``datasets.IterableDataset`` of numpy arrays in the card's types, which reads the verified files a few rows at a time.
    build : bool, optional
        Whether to build what is neither here nor on a mirror: True, however long it takes; False, never.

    Returns
    -------
    xarray.Dataset, datasets.Dataset, datasets.IterableDataset or dict of str to ndarray
        The split.

    Raises
    ------
    UnknownNameError, DatasetError
        No such dataset, version, size, split or format; or the data cannot be had, or are corrupted.
    """
    if is_measured(Path(name)):
        return _measured(name, split, format, more=streaming or build is not None or version is not None)
    card = card_of(name, version)
    known("size", size, card.sizes, card.id)
    known("split", split, card.splits, card.id)
    known("format", format, FORMATS, "load_dataset")
    labelled = format == "xarray" and not streaming
    carriers = ("netcdf" if labelled else "parquet", *(("zarr",) if cubes.cubes_of(card) and format != "hf" and not streaming else ()))
    folder, manifest = _obtained(name, card, size, split, carriers, build)
    paths = [folder / path for path in manifest.paths(split, carriers[0])]
    if not labelled:
        return _stream(paths, card) if streaming else _tabular(paths, folder, split, card, format)
    data = storage.read_netcdf(paths[0], card)
    data = data.merge(cubes.labelled_cubes(folder, split, card)) if len(carriers) > 1 else data
    return data.assign_attrs(size=manifest.size, content_sha256=manifest.splits[split].content_sha256)


def card_of(name: str | Path, version: str | None = None) -> Card:
    """Return the card that a name means: of a folder that holds a dataset, its own; else see :func:`stemtwin.datasets.cards.named_card`.

    Raises
    ------
    UnknownNameError, DatasetError
        There is none, or a version is given beside a folder.
    """
    folder = Path(name)
    measured = is_measured(folder)
    if not (measured or sources.is_built(folder)):
        return named_card(str(name), version)
    if version is not None:
        message = f"{name} is a folder, whose data have their own version. Leave version={version!r} out."
        raise DatasetError(message)
    return read_measured_card(folder) if measured else sources.card_of_build(folder)


def _obtained(name: str | Path, card: Card, size: str, split: str, carriers: tuple[str, ...], build: bool | None) -> tuple[Path, Manifest]:
    """Return folder and manifest of a dataset, with the files of a split checked: the folder that is its name, or the one that its name means."""
    if sources.is_built(Path(name)):
        return Path(name), sources.check_folder(Path(name), None if size == STANDARD else size, split, carriers)
    return sources.obtain(card, size, split, carriers, build=build)


def _measured(name: str | Path, split: str, form: str, *, more: bool) -> Any:
    """Return a split of measured data; raise DatasetError where more is asked of them than they can do."""
    if more:
        message = f"{name} holds measured data, which are neither streamed nor built. Give its folder, and split and format alone."
        raise DatasetError(message)
    return load_measured(name, split=split, format=form)


def _tabular(paths: list[Path], folder: Path, split: str, card: Card, form: str) -> Any:
    """Return the Parquet files of a split, and its cubes, as numpy arrays or as a table of Hugging Face."""
    table = storage.read_parquet(paths)
    if form == "numpy":
        return storage.to_numpy(table, card) | cubes.open_cubes(folder, split, card)
    import datasets as hf
    from datasets.table import InMemoryTable

    return hf.Dataset(InMemoryTable(table))


def _stream(paths: list[Path], card: Card) -> Any:
    """Return an iterable over files, one shard each."""
    import datasets as hf

    return hf.IterableDataset.from_generator(_streamed, features=storage.features(card), gen_kwargs={"paths": paths, "card": card})


def _streamed(paths: list[Path], card: Card) -> Iterator[dict[str, Any]]:
    """Yield the rows of files; Arrow's own readers would go on in threads after the last row that anybody wants."""
    import datasets  # noqa: F401 - registers the extension type of arrays with Arrow
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in paths:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=STREAMED_ROWS, use_threads=False):
                arrays = storage.to_numpy(pa.Table.from_batches([batch]), card)
                for row in range(batch.num_rows):
                    yield {column.name: column.trimmed(arrays, row) for column in storage.tabular(card)}


def load_arrays(
    name: str | Path, *, version: str | None = None, size: str = STANDARD, split: str = "train", build: bool | None = None
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Load one split of a dataset as plain arrays: images, truth and facts.

    Parameters
    ----------
    name, version, size, split, build
        See :func:`load_dataset`.

    Returns
    -------
    images : ndarray or dict of str to ndarray
        The arrays that are given, (rows, ...), in their type: of ``atoms-2d`` (rows, y, x), uint16. Where a dataset gives several, by column name.
    truth : dict of str to ndarray or list of ndarray
        Requested values, by column name: arrays (rows, ...), and of a ragged column a list of one array for each row, of its own length.
    facts : dict of str to ndarray or list of ndarray
        All other columns: names, the instrument's numbers, and the conditions that the simulation knew.

    Raises
    ------
    StemtwinError
        See :func:`load_dataset`.
    """
    card = card_of(name, version)
    data = load_dataset(name, version=version, size=size, split=split, format="numpy", build=build)
    parts: dict[str, dict[str, Any]] = {"images": {}, "truth": {}, "facts": {}}
    for column in card.columns:
        part = "truth" if column.role == "truth" else "images" if column.role == "input" and column.shape else "facts"
        parts[part][column.name] = [np.array(column.trimmed(data, i)) for i in range(len(data["sample_id"]))] if column.ragged else data[column.name]
    images = parts["images"]
    return next(iter(images.values())) if len(images) == 1 else images, parts["truth"], parts["facts"]


def inputs(data: Any, name: str | Path, *, version: str | None = None) -> Any:
    """Return only what a recorded image comes with: the name of the row, the image, and the instrument's own numbers.

    Other settings of the simulation (aberrations, specimen, seeds) and the truth are left out, as a solver of a task may not see them.

    Parameters
    ----------
    data : xarray.Dataset, datasets.Dataset or dict
        From :func:`load_dataset`.
    name, version : str
        Arguments of :func:`load_dataset`.

    Returns
    -------
    The same type as ``data``
        With the columns ``sample_id`` and those of role ``input``.
    """
    card = card_of(name, version)
    names = ["sample_id", *card.column_names("input")]
    if isinstance(data, dict):
        return {column: data[column] for column in names}
    if hasattr(data, "select_columns"):
        return data.select_columns([name for name in names if not card.column(name).cube])
    return data[names]
