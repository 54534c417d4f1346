"""Kinds of datasets: the registry of their generators, and what every generator has.

A generator is a class in a file of its own, ``datasets/generators/<kind>.py``, under ``@generator("<kind>")``; one elsewhere is known as soon as
its module is imported.
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
    """Return the pair if it is a range."""
    if pair[0] > pair[1]:
        message = f"the range ({pair[0]:g}, {pair[1]:g}) starts above its end"
        raise ValueError(message)
    return pair


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(gt=0)]
STRICT = ConfigDict(extra="forbid", frozen=True)


class CardModel(BaseModel):
    """Part of a card: frozen, and a misspelt key is an error."""

    model_config = STRICT


class Size(BaseModel):
    """Number of specimens of each split and of images of each specimen; a kind may add keys in a subclass."""

    model_config = STRICT
    specimens: dict[str, Count]
    images_per_specimen: dict[str, Count]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnSpecimen:
    """One specimen of a split: what its rows share. A generator may add fields in a subclass.

    Parameters
    ----------
    split : str
        The split it belongs to.
    structure_seed : int
        Its seed, which no other split has.
    name : str
        Name for people, and the unit of resampling: ``material/structure seed``.
    """

    split: str
    structure_seed: int
    name: str


class Generator(ABC):
    """Maker of the rows of a kind of dataset; an object without state."""

    settings: ClassVar[type[CardModel]]
    """Model of the card's table ``[generator]``."""
    size: ClassVar[type[Size]] = Size
    """Model of one of the card's tables ``[sizes.<name>]``."""

    def specimen(self, card: "Card", size: str, split: str, structure_seed: int) -> DrawnSpecimen:  # noqa: ARG002 - others draw from the card
        """Return the specimen of a structure seed, drawn and not yet computed."""
        return DrawnSpecimen(split=split, structure_seed=structure_seed, name=f"{card.kind}/{structure_seed}")

    @abstractmethod
    def rows(self, card: "Card", size: str, specimen: Any) -> Iterable[dict[str, Any]]:
        """Yield the rows of a specimen, ``images_per_specimen`` of its split.

        A row holds the card's columns by name, but for ``sample_id``, ``split``, ``specimen`` and ``structure_seed``, which every dataset has
        and the build adds. It is a pure function: everything random comes from seeds of the card (:mod:`stemtwin.datasets.draw`).
        """

    def request(self, card: "Card", size: str, specimen: Any, image: int) -> "Request | None":  # noqa: ARG002 - kinds without one say so
        """Return the request of the multislice that decides the truth of a specimen's row, None where no multislice does.

        Parameters
        ----------
        card : Card
            Which dataset.
        size : str
            Which size.
        specimen : DrawnSpecimen
            From :meth:`specimen`.
        image : int
            Number of the row of the specimen.
        """
        return None

    @abstractmethod
    def seconds(self, card: "Card", size: str) -> float:
        """Return the planned time of a build on this machine, s."""


GENERATORS: Registry[Generator] = Registry("kind of dataset")
"""Generators by kind; :func:`find_generator` fills it with those of the package first."""


def generator(kind: str) -> Callable[[type[Made]], type[Made]]:
    """Return the decorator that registers a generator under its kind.

    Raises
    ------
    SettingsError
        There is another generator of that kind.
    """

    def add(made: type[Made]) -> type[Made]:
        GENERATORS.add(kind, made())
        return made

    return add


def discover() -> None:
    """Import the modules of ``datasets/generators``."""
    package = importlib.import_module(PACKAGE)
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{PACKAGE}.{module.name}")


def find_generator(kind: str) -> Generator:
    """Return the generator of a kind.

    Raises
    ------
    UnknownNameError
        There is none.
    """
    discover()
    return GENERATORS[kind]
