"""Parser of options with one number or a series of numbers: ``50``, ``0,50,100``, ``-100:100:9``."""

import math

from stemtwin.twin.errors import SettingsError

MOST = 1000
"""Largest number of values of a series."""


def parse_numbers(option: str, text: str, unit: str) -> tuple[float, ...]:
    """Return the numbers in a text, which is a number, a list with commas, or ``first:last:count`` for evenly spaced numbers.

    Parameters
    ----------
    option, unit : str
        Name of the option and unit of its numbers, for messages.
    text : str
        Value of the option.

    Raises
    ------
    SettingsError
        The text cannot be read, contains a value twice, or has too many values.
    """
    how = f"Write one number of {unit}, several like 0,50,100, or first:last:count like -100:100:9, with 2 to {MOST} values."
    try:
        if ":" in text:
            first, last, count = text.split(":")
            found = _spaced(float(first), float(last), int(count))
        else:
            found = tuple(float(word) for word in text.split(","))
    except ValueError:
        found = ()
    if not 0 < len(found) <= MOST or not all(math.isfinite(value) for value in found):
        message = f"{option} {text} cannot be read. {how}"
        raise SettingsError(message)
    if len(set(found)) < len(found):
        message = f"{option} {text} contains a value twice. Give each value once."
        raise SettingsError(message)
    return found


def _spaced(first: float, last: float, count: int) -> tuple[float, ...]:
    """Return evenly spaced numbers, or an empty tuple for fewer than two or too many."""
    if not 2 <= count <= MOST:
        return ()
    return tuple(round(first + (last - first) * number / (count - 1), 9) for number in range(count))
