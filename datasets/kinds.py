"""Kinds of datasets: the registry with one generator for each kind, and the base class of generators.

A generator is a class with the decorator ``@generator("<kind>")``. Each generator of this package has its own file in
``datasets/generators``. A generator in any other module is registered when that module is imported.
"""

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from stemtwin.twin.registry import Registry

if TYPE_CHECKING:
    from stemtwin.datasets.cards import Card
    from stemtwin.twin.instrument.simulation.request import Request

PACKAGE = "stemtwin.datasets.generators"
Made = TypeVar("Made", bound="Generator")


def _ordered(pair: tuple[float, float]) -> tuple[float, float]:
    """Return a pair after checking that it is a range."""
    if pair[0] > pair[1]:
        message = f"the range ({pair[0]:g}, {pair[1]:g}) starts above its end"
        raise ValueError(message)
    return pair


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(gt=0)]
STRICT = ConfigDict(extra="forbid", frozen=True)


class CardModel(BaseModel):
    """Base class of the parts of a card. The parts are immutable, and an unknown key is an error."""

    model_config = STRICT


class Size(BaseModel):
    """Size of a dataset: the number of specimens and the number of images per specimen for each split.

    A kind of dataset may add keys in a subclass.
    """

    model_config = STRICT
    specimens: dict[str, Count]
    images_per_specimen: dict[str, Count]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnSpecimen:
    """One specimen of a split, from which one or several rows are generated.

    A generator may add fields in a subclass.

    Parameters
    ----------
    split : str
        Split of the specimen.
    structure_seed : int
        Seed of the specimen, which occurs in no other split.
    name : str
        Readable name, ``material/structure seed``. The bootstrap of the scores draws all rows with the same name together.
    """

    split: str
    structure_seed: int
    name: str


class Generator(ABC):
    """Stateless generator of the rows of one kind of dataset."""

    settings: ClassVar[type[CardModel]]
    """Model of the card's table ``[generator]``."""
    size: ClassVar[type[Size]] = Size
    """Model of one of the card's tables ``[sizes.<name>]``."""

    def specimen(self, card: "Card", size: str, split: str, structure_seed: int) -> DrawnSpecimen:  # noqa: ARG002 - others draw from the card
        """Return the specimen of a structure seed with its random parameters; its atoms are built later."""
        return DrawnSpecimen(split=split, structure_seed=structure_seed, name=f"{card.kind}/{structure_seed}")

    @abstractmethod
    def rows(self, card: "Card", size: str, specimen: Any) -> Iterable[dict[str, Any]]:
        """Yield the rows of a specimen; their number is ``images_per_specimen`` of its split.

        A row maps column names to values. It does not contain ``sample_id``, ``split``, ``specimen`` and
        ``structure_seed``, which the build adds to the rows of every dataset. The rows depend only on the arguments,
        because all random numbers are drawn with seeds of the card (:mod:`stemtwin.datasets.draw`).
        """

    def request(self, card: "Card", size: str, specimen: Any, image: int) -> "Request | None":  # noqa: ARG002 - kinds without one say so
        """Return the request of the multislice simulation on which a row's truth is based.

        Kinds whose truth is not based on such a simulation return None.

        Parameters
        ----------
        card : Card
            Card of the dataset.
        size : str
            Size of the dataset.
        specimen : DrawnSpecimen
            Specimen from :meth:`specimen`.
        image : int
            Number of the row among the rows of the specimen, from 0.
        """
        return None

    @abstractmethod
    def seconds(self, card: "Card", size: str) -> float:
        """Return the estimated time (s) in which this machine builds a size of a dataset."""


GENERATORS: Registry[Generator] = Registry("kind of dataset")
"""Generators by kind; :func:`find_generator` first registers the generators of the package."""


def generator(kind: str) -> Callable[[type[Made]], type[Made]]:
    """Return the decorator that registers a generator under its kind.

    Raises
    ------
    SettingsError
        A generator of this kind is already registered.
    """

    def add(made: type[Made]) -> type[Made]:
        GENERATORS.add(kind, made())
        return made

    return add


def discover() -> None:
    """Import the modules of ``datasets/generators``; the import registers their generators."""
    package = importlib.import_module(PACKAGE)
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{PACKAGE}.{module.name}")


def find_generator(kind: str) -> Generator:
    """Return the generator of a kind.

    Raises
    ------
    UnknownNameError
        There is no generator of this kind.
    """
    discover()
    return GENERATORS[kind]
