"""The manifest of a built dataset: its files with their hashes, and the digests of their content."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stemtwin.datasets.cards import Card
from stemtwin.datasets.storage import file_sha256
from stemtwin.twin.errors import DatasetError
from stemtwin.twin.files import write_atomically

MANIFEST = "manifest.json"
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileEntry(_Model):
    """Entry of one file: its path in the dataset's folder, hash, size in bytes, split and storage format (``carrier``)."""

    path: Annotated[str, Field(pattern=r"^\w[\w.-]*(/\w[\w.-]*)*$")]
    sha256: Digest
    bytes: int
    split: str | None = None
    carrier: Literal["parquet", "netcdf", "zarr", "card"]


class SplitEntry(_Model):
    """Entry of a split: its numbers of rows and specimens, and the digest of its content."""

    rows: int
    specimens: int
    content_sha256: Digest


class Manifest(_Model):
    """Content of ``manifest.json``.

    ``content_sha256`` is the digest of all rows; it depends neither on their order nor on the files that store them.
    """

    schema_: Literal["stemtwin/dataset@1"] = Field(alias="schema")
    name: str
    version: str
    size: str
    title: str
    licence: str
    content_sha256: Digest
    card_sha256: Digest
    splits: dict[str, SplitEntry]
    slices: dict[str, dict[str, object]]
    units: dict[str, str]
    generator: dict[str, str]
    files: tuple[FileEntry, ...]

    def paths(self, split: str, carrier: str) -> tuple[str, ...]:
        """Return the paths of a split's files in one storage format (``carrier``), in the order of the manifest."""
        return tuple(file.path for file in self.files if file.split == split and file.carrier == carrier)


def parse_manifest(text: str | bytes, source: str) -> Manifest:
    """Read a manifest from JSON text; raise DatasetError if the text is not a manifest."""
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        message = f"{source} is not a dataset manifest: {error.errors()[0]['msg']}. Fetch or build the dataset again."
        raise DatasetError(message) from None


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a dataset's folder.

    Raises
    ------
    DatasetError
        The folder has no manifest, or the manifest is not valid.
    """
    path = folder / MANIFEST
    if not path.is_file():
        message = f"{folder} holds no dataset: it has no {MANIFEST}. Give the folder of a finished build, or make one with 'stemtwin data build'."
        raise DatasetError(message)
    return parse_manifest(path.read_bytes(), str(path))


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write a manifest atomically."""
    write_atomically(folder / MANIFEST, (manifest.model_dump_json(by_alias=True, indent=1) + "\n").encode())


def check_card(manifest: Manifest, card: Card, folder: Path) -> None:
    """Raise DatasetError if the dataset of a manifest was not made from the given card."""
    if manifest.card_sha256 != card.digest:
        message = f"{folder} was made from a card that differs from the present card {card.id}. Build the dataset again into an empty folder."
        raise DatasetError(message)


def check_file(folder: Path, entry: FileEntry, repair: str = "") -> None:
    """Check one file of a dataset against the manifest.

    Parameters
    ----------
    folder : Path
        Folder of the dataset.
    entry : FileEntry
        Entry of the file in the manifest.
    repair : str
        Last sentence of the error messages. By default it is the advice to fetch or build the dataset again.

    Raises
    ------
    DatasetError
        The file is missing, or its size or hash differs from the entry in the manifest.
    """
    path = folder / entry.path
    if not path.is_file():
        again = repair or f"Run 'stemtwin data fetch', or delete {folder} and build the dataset again."
        message = f"{path} is missing, but the manifest lists it. {again}"
        raise DatasetError(message)
    repair = repair or f"Delete {folder} and run 'stemtwin data build' or 'stemtwin data fetch' again."
    if path.stat().st_size != entry.bytes:
        message = f"{path} is corrupted: it has {path.stat().st_size} bytes, but the manifest lists {entry.bytes} bytes. {repair}"
        raise DatasetError(message)
    found = file_sha256(path)
    if found != entry.sha256:
        message = f"{path} is corrupted: its sha256 begins with {found[:12]}, but that in the manifest begins with {entry.sha256[:12]}. {repair}"
        raise DatasetError(message)
