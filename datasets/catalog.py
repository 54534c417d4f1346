"""List of the datasets, and functions that load them."""

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

    Examples
    --------
    >>> import stemtwin as st
    >>> "1.0.0" in st.list_datasets()["atoms-2d"]
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

    If the dataset is in the data folder (``STEMTWIN_DATA_DIR``, or the user's cache), it is read from there. Otherwise it is fetched
    from the mirror ``STEMTWIN_DATA_URL``, or built if no mirror is set. A line on stderr reports the source. A build is compared with
    witness rows, a few rows that ship with the card, because its hashes are reproducible only on one machine with one set of versions.

    Parameters
    ----------
    name : str
        Name and version, such as ``"atoms-2d@1.0.0"``, or ``"atoms-2d@1"`` for the newest version 1.x.y (see :func:`list_datasets`);
        or the path of a card (``"mine.toml"``), of a dataset's folder, or of a folder from ``stemtwin data pack`` (measured data).
    version : str, optional
        Version, which is required if ``name`` does not contain it.
    size, split : str
        Size, ``"tiny"``, ``"std"`` or ``"full"`` (not offered by mirrors), and split, ``"train"``, ``"val"`` or ``"test"``.
    format : str
        ``"xarray"``: an ``xarray.Dataset`` with units, the dimension ``sample`` and the card's dimensions, such as ``y`` and ``x``.
        ``"hf"``: a Hugging Face ``datasets.Dataset`` in memory. ``"numpy"``: a dictionary of arrays (rows, ...). All formats have the
        same values. In xarray and numpy, ragged columns are padded with NaN, -1, ``""`` or False, and the count column that the card
        names (such as ``n_columns``) holds the number of entries. Cubes stay on disk as dask or zarr arrays; ``"hf"`` omits them.
    streaming : bool
        Whether to return a Hugging Face ``datasets.IterableDataset``, which reads the verified files a few rows at a time.
    build : bool, optional
        Whether to build a dataset that is not on this machine if no mirror is set; None: only if the estimated time is at most 2 min.

    Returns
    -------
    xarray.Dataset, datasets.Dataset, datasets.IterableDataset or dict of str to ndarray
        The split.

    Raises
    ------
    UnknownNameError, DatasetError
        The dataset, version, size, split or format does not exist, or the data are not available or are corrupted.

    Examples
    --------
    >>> import stemtwin as st
    >>> data = st.load_dataset("atoms-2d@1", size="tiny", split="test")
    >>> data.image.dims
    ('sample', 'y', 'x')
    """
    if is_measured(Path(name)):
        return _measured(name, split, format, more=streaming or build is not None or version is not None)
    card = card_of(name, version)
    known("size", size, card.sizes, card.id)
    known("split", split, card.splits, card.id)
    known("format", format, FORMATS, "load_dataset")
    return _split(name, card, size, split, "stream" if streaming else format, build)


def _split(name: str | Path, card: Card, size: str, split: str, form: str, build: bool | None) -> Any:
    """Return a split in one of the formats of :func:`load_dataset`, or as a stream for the form ``stream``."""
    labelled = form == "xarray"
    carriers = ("netcdf" if labelled else "parquet", *(("zarr",) if cubes.cubes_of(card) and form not in ("hf", "stream") else ()))
    folder, manifest = _obtained(name, card, size, split, carriers, build)
    paths = [folder / path for path in manifest.paths(split, carriers[0])]
    if not labelled:
        return _stream(paths, card) if form == "stream" else _tabular(paths, folder, split, card, form)
    data = storage.read_netcdf(paths[0], card)
    data = data.merge(cubes.labelled_cubes(folder, split, card)) if len(carriers) > 1 else data
    return data.assign_attrs(size=manifest.size, content_sha256=manifest.splits[split].content_sha256)


def card_of(name: str | Path, version: str | None = None) -> Card:
    """Return the card of a dataset that is given by its name or by its folder.

    See :func:`stemtwin.datasets.cards.named_card` for the form of names.

    Raises
    ------
    UnknownNameError, DatasetError
        The card does not exist, or a version is given together with a folder.
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
    """Return the folder and the manifest of a dataset after checking the files of a split.

    ``name`` may be the path of the dataset's folder.
    """
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

    The files are read in this thread, because Arrow's own threads would continue to read after the consumer has stopped.
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
        Input array (rows, ...) in the card's type, for example uint16 (rows, y, x) for ``atoms-2d``. A dataset with
        several input arrays gives a dictionary of arrays by column name.
    truth : dict of str to ndarray or list of ndarray
        Values to be predicted, by column name. The values of a column are an array (rows, ...). The values of a ragged
        column are a list with one array for each row; the arrays may have different lengths.
    facts : dict of str to ndarray or list of ndarray
        Columns that are neither input arrays nor truth: names, settings of the instrument, and conditions of the simulation.

    Raises
    ------
    StemtwinError
        See :func:`load_dataset`.

    Examples
    --------
    >>> import stemtwin as st
    >>> images, truth, facts = st.load_arrays("atoms-2d@1", size="tiny", split="test")
    >>> images.shape
    (30, 128, 128)
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
    """Return the input columns of a dataset: the row names, the images, and the settings recorded with the images.

    The truth and the settings that are not recorded with images (aberrations, specimen, seeds) are omitted, because a participant
    in a task is not allowed to use them.

    Parameters
    ----------
    data : xarray.Dataset, datasets.Dataset or dict
        Split loaded by :func:`load_dataset`.
    name, version : str
        Name and version of the dataset, as in :func:`load_dataset`.

    Returns
    -------
    The same type as ``data``
        The column ``sample_id`` and the columns with the role ``input``.
    """
    card = card_of(name, version)
    names = ["sample_id", *card.column_names("input")]
    if isinstance(data, dict):
        return {column: data[column] for column in names}
    if hasattr(data, "select_columns"):
        return data.select_columns([name for name in names if not card.column(name).cube])
    return data[names]
