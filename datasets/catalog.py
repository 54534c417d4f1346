"""Finding and loading datasets."""

from pathlib import Path
from typing import Any

from stemtwin.datasets import fetch, storage
from stemtwin.datasets.cards import Card, find_card, known, list_cards
from stemtwin.datasets.measured import is_measured, load_measured

FORMATS = ("xarray", "hf", "numpy")


def list_datasets() -> dict[str, tuple[str, ...]]:
    """Return the versions of every dataset by name, oldest first.

    >>> "1.0.0" in list_datasets()["atoms-2d"]
    True
    """
    return list_cards()


def load_dataset(name: str | Path, *, version: str = "", size: str = "std", split: str = "train", format: str = "xarray") -> Any:
    """Load one split of a dataset, after checking its files against their hashes.

    The dataset is taken from the data folder (``STEMTWIN_DATA_DIR``, or the user's cache) if it was built or fetched before, else fetched from
    ``STEMTWIN_DATA_URL``; see :mod:`stemtwin.datasets.fetch`.

    Parameters
    ----------
    name : str
        For example ``"atoms-2d"``, see :func:`list_datasets`; or the folder of measured data that ``stemtwin data pack`` wrote.
    version : str
        Always named, but for a folder: a program that says which data it uses can be repeated.
    size : str
        ``"tiny"``, ``"std"`` or ``"full"``.
    split : str
        ``"train"``, ``"val"`` or ``"test"``.
    format : str
        ``"xarray"``: an ``xarray.Dataset`` with dimensions ``sample``, ``y``, ``x`` and ``column``, and units. ``"hf"``: a Hugging Face
        ``datasets.Dataset`` in memory. ``"numpy"``: a dictionary of arrays, images (rows, y, x). The values are equal; in xarray and numpy, ragged
        columns are padded with NaN, -1, ``""`` or False to the longest, and ``n_columns`` says how many entries count.

    Returns
    -------
    xarray.Dataset, datasets.Dataset or dict of str to ndarray
        The split.

    Raises
    ------
    UnknownNameError
        There is no dataset of that name.
    DatasetError
        No such version, size, split or format; or the data are not there, cannot be fetched, or are corrupted.
    """
    if is_measured(Path(name)):
        return load_measured(name, split=split, format=format)
    card = find_card(str(name), version)
    known("size", size, card.sizes, card.id)
    known("split", split, card.splits, card.id)
    known("format", format, FORMATS, "load_dataset")
    carrier = "netcdf" if format == "xarray" else "parquet"
    folder, manifest = fetch.ensure(card, size, split, carrier)
    paths = [folder / path for path in manifest.paths(split, carrier)]
    data = _read(paths, format, card)
    if format == "xarray":
        data.attrs |= {"size": size, "content_sha256": manifest.splits[split].content_sha256}
    return data


def _read(paths: list[Path], form: str, card: Card) -> Any:
    """Return files in a format."""
    if form == "xarray":
        return storage.read_netcdf(paths[0], card)
    table = storage.read_parquet(paths)
    if form == "numpy":
        return storage.to_numpy(table, card)
    import datasets as hf
    from datasets.table import InMemoryTable

    return hf.Dataset(InMemoryTable(table))


def inputs(data: Any, name: str, *, version: str) -> Any:
    """Return only what a recorded image comes with: the name of the row, the image, and the instrument's own numbers.

    What the simulation knew besides (aberrations, specimen, seeds) and the truth are left out: this is what a solver of a task may see.

    Parameters
    ----------
    data : xarray.Dataset, datasets.Dataset or dict
        From :func:`load_dataset`.
    name, version : str
        Of the dataset.

    Returns
    -------
    The same type as ``data``
        With the columns ``sample_id`` and those of role ``input``.
    """
    card = find_card(name, version)
    names = ["sample_id", *card.column_names("input")]
    if isinstance(data, dict):
        return {column: data[column] for column in names}
    if hasattr(data, "select_columns"):
        return data.select_columns(names)
    return data[names]
