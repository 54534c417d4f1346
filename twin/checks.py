"""Checks of user input, which raise SettingsError with a short message if a value is invalid."""

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from numbers import Integral, Real
from typing import Any, TypeGuard

import numpy as np

from stemtwin.twin.errors import SettingsError


def number(
    name: str, value: object, unit: str, *, low: float = -math.inf, high: float = math.inf, above: float | None = None, repair: str = ""
) -> float:
    """Return a finite number within limits as a float.

    Parameters
    ----------
    name, unit : str
        Name and unit for the message; the unit of a dimensionless number is "".
    value : object
        Value to check.
    low, high : float
        Smallest and largest permitted value.
    above : float, optional
        Bound that the value must exceed.
    repair : str
        Last sentence of the error message, which tells the user what to give instead of the invalid value.

    Raises
    ------
    SettingsError
        The value is not a number, not finite, or outside the limits.
    """
    if not _finite(value):
        message = f"{name}={value!r} is not a finite number{unit and f' ({unit})'}. {repair or 'Give a number.'}"
        raise SettingsError(message)
    value = float(value)
    if value < low or value > high or (above is not None and value <= above):
        unit = unit and f" {unit}"
        limits = [f"at least {low:g}"] if low > -math.inf else []
        limits += [f"above {above:g}"] if above is not None else []
        limits += [f"at most {high:g}"] if high < math.inf else []
        message = f"{name}={value:g}{unit} is out of range: it must be {' and '.join(limits)}{unit}. {repair}".rstrip()
        raise SettingsError(message)
    return value


def number_field(owner: object, name: str, unit: str, **limits: Any) -> None:
    """Check the number in a field of a frozen dataclass, and store it there as a float.

    The keyword arguments are those of :func:`number`.
    """
    object.__setattr__(owner, name, number(name, getattr(owner, name), unit, **limits))


def whole(name: str, value: object, *, low: int, high: int | None = None) -> int:
    """Return a whole number within limits as an int; raise SettingsError otherwise."""
    asked = None
    if isinstance(value, Integral) and not isinstance(value, bool):
        asked = int(value)
    elif isinstance(value, Real) and not isinstance(value, bool) and float(value).is_integer():
        asked = int(float(value))
    if asked is None or asked < low or (high is not None and asked > high):
        top = f" to {high}" if high is not None else " or more"
        message = f"{name}={value!r} must be a whole number, {low}{top}."
        raise SettingsError(message)
    return asked


def flag(name: str, value: object) -> bool:
    """Return a given True or False as a bool; raise SettingsError for any other value, including 0, 1 and strings."""
    if not isinstance(value, bool | np.bool_):
        message = f"{name}={value!r} is neither True nor False. Give one of them."
        raise SettingsError(message)
    return bool(value)


def choice(name: str, value: object, known: Iterable[str]) -> str:
    """Return a value that is one of the known words; raise SettingsError otherwise."""
    words = tuple(known)
    if not isinstance(value, str) or value not in words:
        message = f"{name}={value!r} is unknown. Use one of {', '.join(words)}."
        raise SettingsError(message)
    return value


def function(name: str, value: object) -> None:
    """Raise SettingsError if a value is neither a function nor None."""
    if value is not None and not callable(value):
        message = f"{name}={value!r} is not a function. Give a function of one number, or omit it."
        raise SettingsError(message)


def pair(name: str, value: object, unit: str, *, above: float | None = None) -> tuple[float, float]:
    """Check a pair of finite numbers by :func:`number`, and return both as floats."""
    first, second = _two(name, value, f"numbers in {unit}")
    return number(f"{name}[0]", first, unit, above=above), number(f"{name}[1]", second, unit, above=above)


def whole_pair(name: str, value: object, *, low: int, high: int) -> tuple[int, int]:
    """Check a pair of whole numbers by :func:`whole`, and return both as ints."""
    first, second = _two(name, value, "whole numbers")
    return whole(f"{name}[0]", first, low=low, high=high), whole(f"{name}[1]", second, low=low, high=high)


def numbers(name: str, value: object, unit: str, *, low: float = -math.inf, high: float = math.inf) -> tuple[float, ...]:
    """Check a sequence of finite numbers by :func:`number`, and return them as floats."""
    if isinstance(value, str | bytes | Mapping | Set) or not isinstance(value, Iterable):
        message = f"{name}={value!r} is not a sequence of numbers in {unit}. Give a tuple, for example (number,) for one number."
        raise SettingsError(message)
    return tuple(number(name, each, unit, low=low, high=high) for each in value)


def variable_name(given: object, usual: str, taken: Sequence[str]) -> str:
    """Return the variable name of a detector's result: the given name, or else the default name as an identifier.

    Parameters
    ----------
    given : str or None
        Requested name; None or "" selects the default name.
    usual : str
        Default name, in which "." is replaced by "p" and "-" by "m".
    taken : sequence of str
        Reserved names.

    Raises
    ------
    SettingsError
        The name is not an identifier, or it is reserved.
    """
    name = usual.replace(".", "p").replace("-", "m") if given is None or (isinstance(given, str) and not given) else given
    if not isinstance(name, str) or not name.isidentifier() or name in taken:
        reserved = f" These names are reserved: {', '.join(taken)}." if taken else ""
        message = f"A detector cannot be named {name!r}. Use letters, digits and underscores, and begin with a letter.{reserved}"
        raise SettingsError(message)
    return name


def _finite(value: object) -> TypeGuard[Real]:
    if type(value) is not float and (isinstance(value, bool) or not isinstance(value, Real)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond floats
        return False


def _two(name: str, value: object, what: str) -> tuple[object, object]:
    try:
        if isinstance(value, (str, bytes, Mapping, Set)):
            raise TypeError  # two characters, or two unordered values, are not a pair
        first, second = value  # type: ignore[misc]
    except (TypeError, ValueError):
        message = f"{name}={value!r} is not a pair of {what}. Give two numbers."
        raise SettingsError(message) from None
    return first, second
