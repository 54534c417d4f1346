"""Dataset cards: the complete description of a dataset in one readable TOML file, from which a build makes its rows."""

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
    """Entropy from which all random numbers of a dataset follow, and the policy by which splits get their seeds."""

    entropy: Annotated[int, Field(ge=0)]
    policy: str


class Slice(CardModel):
    """Slice of a dataset: a column by whose categories, or by whose bins between ``edges``, scores are reported."""

    column: str
    edges: tuple[float, ...] = ()
    absolute: bool = False


class Card(CardModel, Generic[SettingsOfKind, SizeOfKind]):
    """A validated dataset card; ``Card[settings, size]`` has the models of its kind's generator.

    Cards of schema 1 number their rows in the order of the seeds, so a row's number reveals its specimen. Cards of
    schema 2 name their rows by digests.
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
        """Check that the parts of a card agree with each other."""
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
        """Pickle a card by its content, as the class ``Card[...]`` has no importable name."""
        return card_of, (self.model_dump(mode="json", by_alias=True),)

    def _check_size(self, key: str, size: Size) -> None:
        """Check that a size has exactly the card's splits and that no two of them share a structure seed."""
        if set(size.specimens) != set(self.splits) or set(size.images_per_specimen) != set(self.splits):
            message = f"size {key!r} must give specimens and images_per_specimen for exactly the splits {sorted(self.splits)}"
            raise ValueError(message)
        ends = sorted((first, first + size.specimens[split], split) for split, first in self.splits.items())
        for (_, end, left), (start, _, right) in itertools.pairwise(ends):
            if end > start:
                message = f"size {key!r}: {left!r} and {right!r} share the structure seeds {start} to {end - 1}"
                raise ValueError(message)

    @property
    def digest(self) -> str:
        """SHA-256 of the card's content; comments and spacing do not change it."""
        return hashlib.sha256(self.model_dump_json(by_alias=True).encode()).hexdigest()

    @property
    def id(self) -> str:
        """Name and version, for example ``atoms-2d-1.0.0``."""
        return f"{self.name}-{self.version}"

    def images(self, size: str) -> int:
        """Return the number of rows of a size, over all splits."""
        asked = self.sizes[known("size", size, self.sizes, self.id)]
        return sum(count * asked.images_per_specimen[split] for split, count in asked.specimens.items())

    def column(self, name: str) -> Column:
        """Return the column with a given name."""
        return next(column for column in self.columns if column.name == name)

    def column_names(self, *roles: str) -> tuple[str, ...]:
        """Return the names of the columns with these roles, or of all columns if none is given, in order."""
        return tuple(column.name for column in self.columns if not roles or column.role in roles)

    def structure_seeds(self, size: str, split: str) -> range:
        """Return the structure seeds of a split in a size."""
        first = self.splits[known("split", split, self.splits, self.id)]
        return range(first, first + self.sizes[known("size", size, self.sizes, self.id)].specimens[split])


def known(what: str, name: str, names: Iterable[str], of: str) -> str:
    """Return ``name`` if it is one of ``names``.

    Raises
    ------
    DatasetError
        The name is not one of them; the message suggests the most similar one.
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
        The text is not TOML, or a key is missing, unknown or invalid; the message names the first such key.
    """
    try:
        values: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = f"{source} is not valid TOML: {error}. Correct that line."
        raise DatasetError(message) from None
    return card_of(values, source)


def card_of(values: dict[str, Any], source: str = "the card") -> Card:
    """Return the card with given values after checking them; see :func:`parse_card`."""
    kind = values.get("kind")
    try:
        made = find_generator(kind) if isinstance(kind, str) else None
    except UnknownNameError as error:
        message = f"{source} has a kind without a generator. {error} Import the module of your own generator first."
        raise DatasetError(message) from None
    try:
        return (Card[made.settings, made.size] if made else Card[CardModel, Size]).model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the card as a whole"
        reason = first["msg"].removeprefix("Value error, ")
        message = f"{source} is not a valid dataset card: {place}: {reason} ({error.error_count()} error(s) in all). Correct that key."
        raise DatasetError(message) from None


def read_card(path: str | Path) -> Card:
    """Read and check the card in a TOML file.

    Raises
    ------
    DatasetError
        The file does not exist, or it is not a valid card.
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
    """Return the versions of every dataset with a card in the package, by name, oldest version first."""
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
    """Return the card of a dataset by its name and version, or of a TOML file.

    Parameters
    ----------
    name : str
        A name with a version, ``"atoms-2d@1.0.0"``, or with the beginning of one, ``"atoms-2d@1"`` or
        ``"atoms-2d@1.0"``, which stands for the newest such version; a name without a version, if ``version`` is given;
        or the path of a card, which ends with ``.toml``.
    version : str, optional
        Version, or the beginning of one, if ``name`` does not contain it.

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
        message = f"{name!r} and version={version!r} are two different versions. Give one of them."
        raise DatasetError(message)
    versions = list_cards().get(bare, ())
    asked = asked or version or ""
    if versions and not asked:
        major = versions[-1].partition(".")[0]
        message = f"{name!r} names no version. Give '{bare}@{major}', so your program can be repeated."
        raise DatasetError(message)
    newest = next((one for one in reversed(versions) if one == asked or one.startswith(f"{asked}.")), asked)
    return find_card(bare, newest)
