"""Dataset cards: what a dataset is, in one TOML file that a person can read and a build can follow."""

import hashlib
import itertools
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from stemtwin.twin.errors import DatasetError, UnknownNameError, suggestion
from stemtwin.twin.physics.electrons import ELEMENTARY_CHARGE

CARDS = Path(__file__).parent / "cards"
ELECTRON_PER_US_PA = 1e-18 / ELEMENTARY_CHARGE
"""Electrons per microsecond in 1 pA."""


def _ordered(pair: tuple[float, float]) -> tuple[float, float]:
    """Return the pair if it is a range."""
    if pair[0] > pair[1]:
        message = f"the range ({pair[0]:g}, {pair[1]:g}) starts above its end"
        raise ValueError(message)
    return pair


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(gt=0)]


class _Model(BaseModel):
    """Frozen, and a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(_Model):
    """One column of a dataset."""

    name: str
    dtype: Literal["string", "int64", "float64", "bool", "uint16"]
    role: Literal["identity", "input", "condition", "truth"]
    unit: Annotated[str, Field(min_length=1)]
    meaning: Annotated[str, Field(min_length=1)]
    shape: tuple[Count, ...] = ()
    ragged: bool = False


class Seeds(_Model):
    """Start of the random numbers."""

    entropy: Annotated[int, Field(ge=0)]
    policy: str


class Size(_Model):
    """Number of specimens of each split and of images of each specimen."""

    specimens: dict[str, Count]
    images_per_specimen: dict[str, Count]
    thickness_at_most_angstrom: Annotated[float, Field(gt=0)] | None = None


class CardMaterial(_Model):
    """A sample of the library and how its specimens differ."""

    name: str
    setups: Annotated[tuple[str, ...], Field(min_length=1)]
    dose_e_per_angstrom2: Range
    thickness_angstrom: Range | None = None
    size_angstrom: Annotated[float, Field(gt=0)] | None = None
    engine: Literal["operator", "local"] = "operator"


class CardInstrument(_Model):
    """An instrument at one energy and one convergence semi-angle, with the angles of its HAADF detector."""

    instrument: str
    energy_ev: Annotated[float, Field(ge=1e3)]
    semiangle_mrad: Annotated[float, Field(gt=0)]
    inner_mrad: Annotated[float, Field(gt=0)]
    outer_mrad: Annotated[float, Field(gt=0)]


class AtomsGenerator(_Model):
    """The ranges from which ``atoms-2d`` draws."""

    image_shape: tuple[Count, Count]
    phonon_configurations: Count
    field_of_view_angstrom: Range
    C10_angstrom: Range
    C12_angstrom: Range
    current_pa: Range
    dwell_time_us: Range
    visible_fraction: Fraction
    materials: Annotated[tuple[CardMaterial, ...], Field(min_length=1)]
    setups: dict[str, CardInstrument]

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Check the names and that every dose can be had with some dwell time and current."""
        for material in self.materials:
            for setup in material.setups:
                if setup not in self.setups:
                    message = f"material {material.name!r} names the setup {setup!r}, which is not among {sorted(self.setups)}"
                    raise ValueError(message)
            for dose, field in itertools.product(material.dose_e_per_angstrom2, self.field_of_view_angstrom):
                low, high = self.dwell_times(dose, field)
                if low > high:
                    message = f"a dose of {dose:g} e-/A^2 on a field of {field:g} A needs a dwell time or current outside the card's ranges"
                    raise ValueError(message)
        return self

    def material_of(self, structure_seed: int) -> CardMaterial:
        """Return the material of a structure seed: they take turns."""
        return self.materials[structure_seed % len(self.materials)]

    def dwell_times(self, dose_e_per_angstrom2: float, field_of_view_angstrom: float) -> tuple[float, float]:
        """Return the shortest and longest dwell time [us] that give a dose [e-/A^2] on a square field [A] with a current in range."""
        charge = dose_e_per_angstrom2 * (field_of_view_angstrom / self.image_shape[1]) ** 2 / ELECTRON_PER_US_PA
        return max(self.dwell_time_us[0], charge / self.current_pa[1]), min(self.dwell_time_us[1], charge / self.current_pa[0])


class Slice(_Model):
    """A column whose categories or bins scores are reported by."""

    column: str
    edges: tuple[float, ...] = ()
    absolute: bool = False


class Card(_Model):
    """A dataset card, checked.

    ``digest`` is the SHA-256 of the file that it was read from (or of its canonical JSON, for one made in memory).
    """

    schema_: Literal["stemtwin/dataset-card@1"] = Field(alias="schema")
    name: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    kind: Literal["atoms-2d"]
    title: str
    description: str
    licence: Literal["CC-BY-4.0", "CC0-1.0"]
    citation: str
    limits: tuple[str, ...]
    seeds: Seeds
    splits: dict[str, Annotated[int, Field(ge=0)]]
    sizes: dict[str, Size]
    generator: AtomsGenerator
    slices: dict[str, Slice]
    columns: tuple[Column, ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Check the ties between the parts of a card."""
        names = [column.name for column in self.columns]
        if len(set(names)) < len(names):
            message = "two columns have the same name"
            raise ValueError(message)
        for key, piece in self.slices.items():
            if piece.column not in names:
                message = f"slice {key!r} names the column {piece.column!r}, which the card does not have"
                raise ValueError(message)
        for key, size in self.sizes.items():
            self._check_size(key, size)
        return self

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
    try:
        return Card.model_validate(values)
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
        There is no dataset of that name.
    DatasetError
        It has no such version.
    """
    versions = list_cards()
    if name not in versions:
        message = f"There is no dataset named {name!r}. {suggestion(name, versions)}"
        raise UnknownNameError(message)
    known("version", version, versions[name], name)
    return read_card(CARDS / f"{name}-{version}.toml")
