"""Dataset cards: TOML files, each of which describes a dataset completely, so its rows can be built from the card alone."""

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
    """Seeds of a dataset.

    All random numbers of the dataset are derived from the number ``entropy``. The text ``policy`` states how seeds are
    assigned to the splits.
    """

    entropy: Annotated[int, Field(ge=0)]
    policy: str


class Slice(CardModel):
    """Division of a dataset's rows by the values of one column; scores are also reported for each part.

    Without ``edges``, the parts are the categories of the column. With ``edges``, they are the bins between these edges;
    if ``absolute`` is True, the magnitudes of the values are binned.
    """

    column: str
    edges: tuple[float, ...] = ()
    absolute: bool = False


class Card(CardModel, Generic[SettingsOfKind, SizeOfKind]):
    """A validated dataset card.

    The type parameters of ``Card[settings, size]`` are the classes that check the card's generator settings and its sizes;
    they depend on the kind of the dataset. In cards of schema 1, rows are numbered in the order of the seeds, so the number
    of a row reveals its specimen. In cards of schema 2, rows are named by digests.
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
        """Pickle a card by its content, because the class ``Card[...]`` has no importable name."""
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
        """Return the number of rows of a size, summed over all splits."""
        asked = self.sizes[known("size", size, self.sizes, self.id)]
        return sum(count * asked.images_per_specimen[split] for split, count in asked.specimens.items())

    def column(self, name: str) -> Column:
        """Return the column with a given name."""
        return next(column for column in self.columns if column.name == name)

    def column_names(self, *roles: str) -> tuple[str, ...]:
        """Return the names of the columns with the given roles, in the order of the card.

        Without roles, the names of all columns are returned.
        """
        return tuple(column.name for column in self.columns if not roles or column.role in roles)

    def structure_seeds(self, size: str, split: str) -> range:
        """Return the structure seeds of a split of the dataset with the given size, one seed for each specimen."""
        first = self.splits[known("split", split, self.splits, self.id)]
        return range(first, first + self.sizes[known("size", size, self.sizes, self.id)].specimens[split])


def known(what: str, name: str, names: Iterable[str], of: str) -> str:
    """Return ``name`` after checking that it is one of ``names``.

    Raises
    ------
    DatasetError
        The name is not one of ``names``. The message states that ``of`` (for example a card) has no ``what`` (for example
        a split) with this name, and suggests the most similar name.
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
    """Return the card with given values, after checking the values.

    The errors are those of :func:`parse_card`.
    """
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
    """Return the versions of each dataset that has a card in the package.

    The keys are the names of the datasets; the oldest version comes first.
    """
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
    """Return the card with a given name and version, or the card in a given TOML file.

    Parameters
    ----------
    name : str
        Name with a version, such as ``"atoms-2d@1.0.0"``, or path of a card, which ends with ``.toml``. The beginning of
        a version, as in ``"atoms-2d@1"`` or ``"atoms-2d@1.0"``, selects the newest version that begins with it. The name
        may be given without a version if ``version`` is given.
    version : str, optional
        Version, or the beginning of a version, if ``name`` contains none.

    Raises
    ------
    UnknownNameError
        The name of the dataset is unknown.
    DatasetError
        The version is missing or unknown, or ``version`` contradicts the version in ``name``.
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
        message = f"{name!r} names no version. Give '{bare}@{major}', so that your results can be reproduced."
        raise DatasetError(message)
    newest = next((one for one in reversed(versions) if one == asked or one.startswith(f"{asked}.")), asked)
    return find_card(bare, newest)
