"""Measured datasets: folders of packed measured files, each with a card of its own.

A measured dataset has the columns of the synthetic dataset of its task, so the same methods and metrics can be applied to
it. Unknown values of a measurement are NaN, -1 or ``unknown``. A measured dataset is never built, fetched or mixed with
synthetic rows.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from stemtwin.datasets import storage
from stemtwin.datasets.cards import Card, known
from stemtwin.datasets.kinds import CardModel, Count, Size
from stemtwin.datasets.manifest import MANIFEST, Digest, check_card, check_file, read_manifest
from stemtwin.twin.errors import DatasetError

CARD = "card.toml"
SIZE = "packed"
"""Name of the only size of a measured dataset."""
REPAIR = "Pack the files again into an empty folder."
UNKNOWN: dict[str, Any] = {"string": "unknown", "int64": -1, "float64": float("nan"), "bool": False}
"""Placeholders of unknown values of a measurement, by the type of the column."""
LabelsBy = Literal["person", "algorithm", "none"]
LABELS_BY: dict[str, str] = {
    "person": "a person labelled the images",
    "algorithm": "an algorithm labelled the images; scores are not ranked, because an entry may share the errors of the algorithm",
    "none": "the images are not labelled; answers can be made but not scored",
}
"""Meaning of the origin of labels."""


class MeasuredFile(CardModel):
    """Entry of a packed file: its name, hash and split, the number of its images, and the images' size (y, x), px."""

    name: str
    sha256: Digest
    split: str
    images: Count
    shape: tuple[Count, Count]


class MeasuredSettings(CardModel):
    """Origin of a measured dataset.

    Parameters
    ----------
    task : str
        Task of the dataset.
    columns_of : str
        Synthetic dataset whose columns the measured dataset has.
    labels_by : str
        Origin of the labels: ``"person"``, ``"algorithm"`` or ``"none"``.
    labels_sha256 : str
        Hash of the file of labels, or ``""`` if the dataset has no labels.
    tile_px : int, optional
        Edge length of the square tiles into which the images were cut, px; None for whole images.
    files : tuple of MeasuredFile
        Entries of the packed files.
    """

    task: str
    columns_of: str
    labels_by: LabelsBy
    labels_sha256: str = ""
    tile_px: Count | None = None
    files: Annotated[tuple[MeasuredFile, ...], Field(min_length=1)]


class MeasuredSize(Size):
    """Size of a measured dataset: the numbers of files and of images of each split.

    Each file counts as one specimen. Files may contain different numbers of images.
    """

    images: dict[str, Count]
    images_per_specimen: dict[str, Count] = Field(default_factory=dict)


class MeasuredCard(Card[MeasuredSettings, MeasuredSize]):
    """Card of a measured dataset; the owner of the data may choose any licence."""

    kind: Literal["measured"]
    licence: Annotated[str, Field(min_length=1)]  # type: ignore[assignment]

    def _check_size(self, key: str, size: Size) -> None:
        """Check that the only size has every split."""
        if key != SIZE or not isinstance(size, MeasuredSize) or set(size.specimens) != set(self.splits) or set(size.images) != set(self.splits):
            message = f"a measured dataset has one size, named {SIZE!r}, with specimens and images for exactly the splits {sorted(self.splits)}; "
            message += f"correct the size {key!r}"
            raise ValueError(message)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle a card by its content."""
        return MeasuredCard.model_validate, (self.model_dump(mode="json", by_alias=True),)


def is_measured(folder: Path) -> bool:
    """Return True if a folder holds a measured dataset."""
    return all(os.path.isfile(folder / name) for name in (CARD, MANIFEST))  # noqa: PTH113 - Path.is_file raises where a name is too long


def read_measured_card(folder: Path) -> MeasuredCard:
    """Read the card of a measured dataset.

    Raises
    ------
    DatasetError
        The folder does not hold a measured dataset, or its card is not valid.
    """
    import tomllib

    path, repair = folder / CARD, "Give a folder that 'stemtwin data pack' wrote."
    if not is_measured(folder):
        message = f"{folder} holds no measured dataset: it has no {CARD if not path.is_file() else MANIFEST}. {repair}"
        raise DatasetError(message)
    try:
        return MeasuredCard.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(str(part) for part in first['loc']) or 'the card as a whole'}: {first['msg'].removeprefix('Value error, ')}"
    except (OSError, ValueError) as error:  # not TOML, or not UTF-8
        reason = getattr(error, "strerror", None) or str(error)
    message = f"{path} is not the card of a measured dataset: {reason}. Pack the files again."
    raise DatasetError(message)


def load_measured(folder: Path | str, *, split: str = "test", format: str = "xarray") -> Any:
    """Load one split of a measured dataset, after checking its files against their hashes.

    Parameters
    ----------
    folder : Path or str
        Folder of the dataset, written by ``stemtwin data pack``.
    split : str
        Name of the split.
    format : str
        ``"xarray"``, ``"hf"`` or ``"numpy"``, see :func:`stemtwin.datasets.catalog.load_dataset`. An
        ``xarray.Dataset`` has the attributes ``source="measured"`` and ``labels_by``.

    Returns
    -------
    xarray.Dataset, datasets.Dataset or dict of str to ndarray
        The split.

    Raises
    ------
    DatasetError
        The folder holds no measured dataset, the dataset has no such split, or a file is missing or changed.
    """
    folder = Path(folder)
    card, manifest = read_measured_card(folder), read_manifest(folder)
    known("split", split, card.splits, card.id)
    known("format", format, ("xarray", "hf", "numpy"), "load_dataset")
    check_card(manifest, card, folder)
    carrier = "netcdf" if format == "xarray" else "parquet"
    for entry in manifest.files:
        if entry.path == CARD or (entry.split, entry.carrier) == (split, carrier):
            check_file(folder, entry, REPAIR)
    paths = [folder / path for path in manifest.paths(split, carrier)]
    if format == "xarray":
        data = storage.read_netcdf(paths[0], card)
        data.attrs |= {"size": SIZE, "content_sha256": manifest.splits[split].content_sha256}
        data.attrs |= {"source": "measured", "labels_by": card.generator.labels_by}
        return data
    table = storage.read_parquet(paths)
    if format == "numpy":
        return storage.to_numpy(table, card)
    import datasets as hf
    from datasets.table import InMemoryTable

    return hf.Dataset(InMemoryTable(table))
