"""Dataset cards: what a dataset is, in one TOML file that a person can read and a build can follow."""

import hashlib
import itertools
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from stemtwin.datasets.columns import Column, check_columns
from stemtwin.datasets.kinds import CardModel, Size, find_generator
from stemtwin.twin.errors import DatasetError, UnknownNameError, suggestion

CARDS = Path(__file__).parent / "cards"
"""Folder of the cards, registries and witness rows that ship with the package."""
SettingsOfKind = TypeVar("SettingsOfKind", bound=CardModel)
SizeOfKind = TypeVar("SizeOfKind", bound=Size)


class Seeds(CardModel):
    """Start of the random numbers."""

    entropy: Annotated[int, Field(ge=0)]
    policy: str


class Slice(CardModel):
    """A column whose categories or bins scores are reported by."""

    column: str
    edges: tuple[float, ...] = ()
    absolute: bool = False


class Card(CardModel, Generic[SettingsOfKind, SizeOfKind]):
    """A dataset card, checked; ``Card[settings, size]`` has the models of its kind's generator.

    Cards of schema 1 number their rows in the order of the seeds, which tells the specimen; those of schema 2 name them by digests.
    """

    schema_: Literal["stemtwin/dataset-card@1", "stemtwin/dataset-card@2"] = Field(alias="schema")
    name: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    kind: str
    title: str
    description: str
    licence: Literal["CC-BY-4.0", "CC0-1.0"]
    citation: str
    limits: tuple[str, ...]
    seeds: Seeds
    splits: dict[str, Annotated[int, Field(ge=0)]]
    sizes: dict[str, SizeOfKind]
    generator: SettingsOfKind
    slices: dict[str, Slice]
    columns: tuple[Column, ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Check the ties between the parts of a card."""
        check_columns(self.columns)
        names = self.column_names()
        for key, piece in self.slices.items():
            if piece.column not in names:
                message = f"slice {key!r} names the column {piece.column!r}, which the card does not have"
                raise ValueError(message)
        for key, size in self.sizes.items():
            self._check_size(key, size)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle a card by its content: the class ``Card[...]`` has no name to be found by."""
        return card_of, (self.model_dump(mode="json", by_alias=True),)

    def _check_size(self, key: str, size: Size) -> None:
        """Check that a size has every split and that no two splits of it share a structure seed."""
        if set(size.specimens) != set(self.splits) or set(size.images_per_specimen) != set(self.splits):
            message = f"size {key!r} must give specimens and images_per_specimen of exactly the splits {sorted(self.splits)}"
            raise ValueError(message)
        ends = sorted((first, first + size.specimens[split], split) for split, first in self.splits.items())
        for (_, end, left), (start, _, right) in itertools.pairwise(ends):
            if end > start:
                message = f"size {key!r} gives {left!r} and {right!r} common structure seeds from {start} to {end - 1}"
                raise ValueError(message)

    @property
    def digest(self) -> str:
        """SHA-256 of the card's content, whatever its comments and spacing."""
        return hashlib.sha256(self.model_dump_json(by_alias=True).encode()).hexdigest()

    @property
    def id(self) -> str:
        """Name and version, ``atoms-2d-1.0.0``."""
        return f"{self.name}-{self.version}"

    def images(self, size: str) -> int:
        """Return the number of rows of a size, over all splits."""
        asked = self.sizes[known("size", size, self.sizes, self.id)]
        return sum(count * asked.images_per_specimen[split] for split, count in asked.specimens.items())

    def column(self, name: str) -> Column:
        """Return the column of a name."""
        return next(column for column in self.columns if column.name == name)

    def column_names(self, *roles: str) -> tuple[str, ...]:
        """Return the names of the columns of these roles (all columns without any), in order."""
        return tuple(column.name for column in self.columns if not roles or column.role in roles)

    def structure_seeds(self, size: str, split: str) -> range:
        """Return the structure seeds of a split."""
        first = self.splits[known("split", split, self.splits, self.id)]
        return range(first, first + self.sizes[known("size", size, self.sizes, self.id)].specimens[split])


def known(what: str, name: str, names: Iterable[str], of: str) -> str:
    """Return ``name`` if it is one of ``names``.

    Raises
    ------
    DatasetError
        It is not; the message names the nearest one.
    """
    names = list(names)
    if name in names:
        return name
    message = f"{of} has no {what} {name!r}. {suggestion(name, names)}"
    raise DatasetError(message)


def parse_card(text: str, source: str = "the card") -> Card:
    """Read a card from TOML text.

    Raises
    ------
    DatasetError
        It is not TOML, or a key is missing, unknown or wrong; the message names the first such key.
    """
    try:
        values: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = f"{source} is not valid TOML: {error}. Correct that line."
        raise DatasetError(message) from None
    return card_of(values, source)


def card_of(values: dict[str, Any], source: str = "the card") -> Card:
    """Check the values of a card; see :func:`parse_card`."""
    kind = values.get("kind")
    try:
        made = find_generator(kind) if isinstance(kind, str) else None
    except UnknownNameError as error:
        message = f"{source} is of a kind that no generator makes. {error} Generators of your own are known once their module is imported."
        raise DatasetError(message) from None
    try:
        return (Card[made.settings, made.size] if made else Card[CardModel, Size]).model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole"
        reason = first["msg"].removeprefix("Value error, ")
        message = f"{source} is not a valid dataset card: {place}: {reason} ({error.error_count()} error(s) in all). Correct that key."
        raise DatasetError(message) from None


def read_card(path: str | Path) -> Card:
    """Read and check the card in a TOML file.

    Raises
    ------
    DatasetError
        No such file, or not a valid card.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        message = f"The dataset card {path} cannot be read: {error.strerror}. Give the path of a card."
        raise DatasetError(message) from None
    except UnicodeDecodeError as error:
        message = f"The dataset card {path} is not text: byte {error.start} is not UTF-8. Give the path of a card, a TOML file."
        raise DatasetError(message) from None
    return parse_card(text, f"The file {path}")


def list_cards() -> dict[str, tuple[str, ...]]:
    """Return the versions of every dataset that has a card, oldest first, by name."""
    versions: dict[str, list[str]] = {}
    for path in sorted(CARDS.glob("*.toml")):
        name, _, version = path.stem.rpartition("-")
        versions.setdefault(name, []).append(version)
    return {name: tuple(sorted(found, key=lambda version: [int(part) for part in version.split(".")])) for name, found in versions.items()}


def find_card(name: str, version: str) -> Card:
    """Return the card of a dataset.

    Raises
    ------
    UnknownNameError
        The name of the dataset is unknown.
    DatasetError
        The dataset does not have this version.
    """
    versions = list_cards()
    if name not in versions:
        message = f"There is no dataset named {name!r}. {suggestion(name, versions)}"
        raise UnknownNameError(message)
    known("version", version, versions[name], name)
    return read_card(CARDS / f"{name}-{version}.toml")


def named_card(name: str, version: str | None = None) -> Card:
    """Return the card of a name with its version, or of a file.

    Parameters
    ----------
    name : str
        ``"atoms-2d@1.0.0"``; ``"atoms-2d@1"`` or ``"atoms-2d@1.0"``, the newest such version; a name alone, with ``version``; or the path of a card,
        which ends with ``.toml``.
    version : str, optional
        The version of a name alone, whole or its beginning.

    Raises
    ------
    UnknownNameError
        The name of the dataset is unknown.
    DatasetError
        The version is missing, given twice or unknown.
    """
    if name.endswith(".toml"):
        return read_card(name)
    bare, at, asked = name.partition("@")
    if at and version is not None and version != asked:
        message = f"{name!r} and version={version!r} name two versions. Give one of them."
        raise DatasetError(message)
    versions = list_cards().get(bare, ())
    asked = asked or version or ""
    if versions and not asked:
        major = versions[-1].partition(".")[0]
        message = f"{name!r} names no version. Give '{bare}@{major}', so that your program can be repeated."
        raise DatasetError(message)
    newest = next((one for one in reversed(versions) if one == asked or one.startswith(f"{asked}.")), asked)
    return find_card(bare, newest)
