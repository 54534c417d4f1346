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
"""Default size."""
STREAMED_ROWS = 16
"""Number of rows in memory while a dataset is streamed."""


def list_datasets() -> dict[str, tuple[str, ...]]:
    """Return the versions of every dataset by name, oldest version first.

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

    The dataset is read from the data folder (``STEMTWIN_DATA_DIR``, or the user's cache), else fetched from the mirror
    ``STEMTWIN_DATA_URL``, else built, as a line on stderr reports. A build is compared with witness rows that ship with
    the package; hashes are reproducible only on one machine with one set of versions.

    Parameters
    ----------
    name : str
        Name and version, ``"atoms-2d@1"`` (the newest 1.x.y) or ``"atoms-2d@1.0.0"``, see :func:`list_datasets`; or the
        path of a card, ``"mine.toml"``, of the folder of a dataset, or of measured data from ``stemtwin data pack``.
    version : str, optional
        Version, if ``name`` does not contain it; one of the two must.
    size, split : str
        ``"tiny"``, ``"std"`` or ``"full"`` (never on a mirror); ``"train"``, ``"val"`` or ``"test"``.
    format : str
        ``"xarray"``: an ``xarray.Dataset`` with dimension ``sample``, the card's dimensions (``y``, ``x``, ...) and units.
        ``"hf"``: a Hugging Face ``datasets.Dataset`` in memory. ``"numpy"``: a dictionary of arrays (rows, ...). All have
        the same values. In xarray and numpy, ragged columns are padded with NaN, -1, ``""`` or False, and the column that
        the card names (``n_columns``) holds the number of entries. Cubes stay on disk (dask, zarr); ``"hf"`` omits them.
    streaming : bool
        Whether to return a Hugging Face ``datasets.IterableDataset``, which reads the verified files a few rows at a time.
    build : bool, optional
        Whether to build data that are neither on this machine nor on a mirror; by default if that takes below two minutes.

    Returns
    -------
    xarray.Dataset, datasets.Dataset, datasets.IterableDataset or dict of str to ndarray
        The split.

    Raises
    ------
    UnknownNameError, DatasetError
        There is no such dataset, version, size, split or format; or the data are not available, or are corrupted.
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
    """Return the card of a dataset by its name, or that of a folder with a dataset.

    See :func:`stemtwin.datasets.cards.named_card` for names.

    Raises
    ------
    UnknownNameError, DatasetError
        There is no such card, or a version is given together with a folder.
    """
    folder = Path(name)
    measured = is_measured(folder)
    if not (measured or sources.is_built(folder)):
        return named_card(str(name), version)
    if version is not None:
        message = f"{name} is a folder, whose data have their own version. Leave out version={version!r}."
        raise DatasetError(message)
    return read_measured_card(folder) if measured else sources.card_of_build(folder)


def _obtained(name: str | Path, card: Card, size: str, split: str, carriers: tuple[str, ...], build: bool | None) -> tuple[Path, Manifest]:
    """Return the folder and the manifest of a dataset after checking the files of a split; the name may be a folder."""
    if sources.is_built(Path(name)):
        return Path(name), sources.check_folder(Path(name), None if size == STANDARD else size, split, carriers)
    return sources.obtain(card, size, split, carriers, build=build)


def _measured(name: str | Path, split: str, form: str, *, more: bool) -> Any:
    """Return a split of measured data; raise DatasetError if ``more`` options than split and format are given."""
    if more:
        message = f"{name} holds measured data, which are neither streamed nor built and have no versions. Give only split and format."
        raise DatasetError(message)
    return load_measured(name, split=split, format=form)


def _tabular(paths: list[Path], folder: Path, split: str, card: Card, form: str) -> Any:
    """Return a split from its Parquet files, as numpy arrays with the cubes, or as a Hugging Face dataset."""
    table = storage.read_parquet(paths)
    if form == "numpy":
        return storage.to_numpy(table, card) | cubes.open_cubes(folder, split, card)
    import datasets as hf
    from datasets.table import InMemoryTable

    return hf.Dataset(InMemoryTable(table))


def _stream(paths: list[Path], card: Card) -> Any:
    """Return an iterable dataset over files, with one shard for each file."""
    import datasets as hf

    return hf.IterableDataset.from_generator(_streamed, features=storage.features(card), gen_kwargs={"paths": paths, "card": card})


def _streamed(paths: list[Path], card: Card) -> Iterator[dict[str, Any]]:
    """Yield the rows of files.

    The files are read in this thread, as Arrow's own threads would continue to read after the consumer has stopped.
    """
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
        Input arrays (rows, ...) in the card's type, for ``atoms-2d`` (rows, y, x), uint16; several input arrays of a
        dataset are returned by column name.
    truth : dict of str to ndarray or list of ndarray
        Values to be predicted, by column name: arrays (rows, ...), and for a ragged column a list with one array of its
        own length for each row.
    facts : dict of str to ndarray or list of ndarray
        All other columns: names, settings of the instrument, and the conditions of the simulation.

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
    """Return the input columns of a dataset: the name of the row, the image, and the settings recorded with it.

    Other settings of the simulation (aberrations, specimen, seeds) and the truth are omitted, as a solver of a task may
    not see them.

    Parameters
    ----------
    data : xarray.Dataset, datasets.Dataset or dict
        From :func:`load_dataset`.
    name, version : str
        Arguments of :func:`load_dataset`.

    Returns
    -------
    The same type as ``data``
        The columns ``sample_id`` and those of role ``input``.
    """
    card = card_of(name, version)
    names = ["sample_id", *card.column_names("input")]
    if isinstance(data, dict):
        return {column: data[column] for column in names}
    if hasattr(data, "select_columns"):
        return data.select_columns([name for name in names if not card.column(name).cube])
    return data[names]
