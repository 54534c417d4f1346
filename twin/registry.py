"""Registries of named objects, one for each kind (for example samples, detectors, profiles, tasks and metrics)."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from stemtwin.twin.errors import SettingsError, UnknownNameError, suggestion

T = TypeVar("T")


class Registry(Generic[T]):
    """Objects of one kind by name, each with tags, in the order in which they were added.

    Parameters
    ----------
    kind : str
        Kind of the objects in the singular, for messages, for example ``"sample"``.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._things: dict[str, T] = {}
        self._tags: dict[str, tuple[str, ...]] = {}

    def add(self, name: str, thing: T, *tags: str) -> T:
        """Add an object under a new name and return it.

        Raises
        ------
        SettingsError
            The name is already in use.
        """
        if name in self._things:
            message = f"There is already a {self.kind} named {name!r}. Choose another name."
            raise SettingsError(message)
        self._things[name] = thing
        self._tags[name] = tags
        return thing

    def register(self, name: str, *tags: str) -> Callable[[T], T]:
        """Return a decorator that adds the decorated object under ``name``."""
        return lambda thing: self.add(name, thing, *tags)

    def names(self, tag: str | None = None) -> tuple[str, ...]:
        """Return the names of all objects, or of the objects with a given tag, in the order in which they were added."""
        return tuple(name for name in self._things if tag is None or tag in self._tags[name])

    def tags(self, name: str) -> tuple[str, ...]:
        """Return the tags of the object with the given name."""
        self[name]
        return self._tags[name]

    def __getitem__(self, name: str) -> T:
        """Return the object with the given name; if the name is unknown, raise UnknownNameError with the most similar name."""
        try:
            return self._things[name]
        except (KeyError, TypeError):  # TypeError: the name cannot be hashed
            message = f"There is no {self.kind} named {name!r}. {suggestion(name, self._things)}"
            raise UnknownNameError(message) from None

    def __contains__(self, name: object) -> bool:
        """Return True if the name is known."""
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._things)

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self._things)
