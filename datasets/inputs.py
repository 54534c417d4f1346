"""Files for a participant: only the inputs of a split, sorted by the names of the rows.

The files contain neither the truth nor the conditions and seeds of the simulation. If the card of the dataset has schema 2,
the names are digests, so the order of the rows carries no information. The metadata of every format are derived only from the
input columns.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.datasets import cubes, storage
from stemtwin.datasets.cards import Card, known
from stemtwin.datasets.manifest import check_file, read_manifest
from stemtwin.twin.errors import DatasetError
from stemtwin.twin.files import check_writable, replacing

if TYPE_CHECKING:
    import xarray as xr


def shown_card(card: Card) -> Card:
    """Return a copy of a card with only the columns for a participant: ``sample_id`` and the columns of role ``input``."""
    columns = tuple(column for column in card.columns if column.name == "sample_id" or column.role == "input")
    return card.model_copy(update={"columns": columns, "slices": {}})


def write_inputs(card: Card, folder: Path | str, split: str, target: Path | str) -> list[Path]:
    """Write the inputs of a split for a participant.

    The files are ``<split>.parquet`` and ``<split>.nc``. If some inputs are cubes (arrays too large for tables),
    ``<split>.zarr`` is written as well.

    Parameters
    ----------
    card : Card
        Card of the dataset. For a measured dataset, this is the card in its folder.
    folder : Path or str
        Folder of a finished build or of a measured dataset.
    split : str
        Name of the split.
    target : Path or str
        New folder for the files.

    Returns
    -------
    list of Path
        Paths of the files.

    Raises
    ------
    DatasetError
        The split does not exist, a file of the dataset is damaged, or the target is not empty or cannot be written.
    """
    folder, target = Path(folder), Path(target)
    known("split", split, card.splits, card.id)
    manifest = read_manifest(folder)
    _check_target(target)
    for entry in manifest.files:
        if entry.split == split and entry.carrier in ("parquet", "zarr"):
            check_file(folder, entry)
    shown = shown_card(card)
    table = storage.read_parquet([folder / path for path in manifest.paths(split, "parquet")])
    names = table["sample_id"].to_pylist()
    order = np.argsort(np.array(names, dtype=str), kind="stable")
    table = storage.with_features(table.select([column.name for column in storage.tabular(shown)]).take(order), shown)
    with replacing(target) as temporary:
        storage.write_parquet(table, temporary / f"{split}.parquet")
        storage.write_netcdf(storage.to_xarray(storage.to_numpy(table, shown), shown, split), temporary / f"{split}.nc")
        if cubes.cubes_of(shown):
            large: dict[str, Any] = cubes.open_cubes(folder, split, card)
            rows = ({column.name: large[column.name][row : row + 1] for column in cubes.cubes_of(shown)} for row in order.tolist())
            cubes.write_cubes(rows, len(order), shown, temporary / f"{split}.zarr")
    return sorted(path for path in target.rglob("*") if path.is_file())


def write_shown(data: "xr.Dataset", card: Card, split: str, target: Path | str) -> list[Path]:
    """Write the inputs of rows that are held in memory, as files for a participant.

    The files are ``<split>.parquet`` and ``<split>.nc``, with the rows sorted by their names.

    Parameters
    ----------
    data : Dataset
        Rows with all columns of the card. The truth in the rows is not written. The order of the row names must carry no
        information.
    card : Card
        Card of the rows, without columns of cubes (arrays too large for tables).
    split : str
        Split of the rows.
    target : Path or str
        New folder for the files.

    Returns
    -------
    list of Path
        Paths of the files.

    Raises
    ------
    DatasetError
        The target is not empty or cannot be written.
    """
    target, shown = Path(target), shown_card(card)
    _check_target(target)
    ordered = data.isel(sample=np.argsort(data["sample_id"].values.astype(str), kind="stable"))
    arrays = {column.name: ordered[column.name].values for column in storage.tabular(shown)}
    rows = [{column.name: column.trimmed(arrays, row) for column in storage.tabular(shown)} for row in range(ordered.sizes["sample"])]
    table = storage.with_features(storage.table_of(rows, shown), shown)
    with replacing(target) as temporary:
        storage.write_parquet(table, temporary / f"{split}.parquet")
        storage.write_netcdf(storage.to_xarray(storage.to_numpy(table, shown), shown, split), temporary / f"{split}.nc")
    return sorted(path for path in target.rglob("*") if path.is_file())


def _check_target(target: Path) -> None:
    """Raise DatasetError unless a folder is empty or does not exist, and can be written."""
    check_writable(target, folder=True)
    if target.exists() and any(target.iterdir()):
        message = f"{target} is not empty. Give a folder that is empty or does not exist."
        raise DatasetError(message)
