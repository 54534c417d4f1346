"""Cases of golden values: a name, a function that computes arrays, and whether it is too slow for the default tests."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Arrays = dict[str, np.ndarray]
"""Arrays by ``<class>/<name>``, where the class is one of ``tolerances.CLASSES``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One computation whose results are kept.

    Parameters
    ----------
    name : str
        Name, which is also that of its file.
    compute : callable
        Function without arguments that returns the arrays.
    slow : bool
        Whether the default tests leave it out.
    """

    name: str
    compute: Callable[[], Arrays]
    slow: bool = False


CASES: dict[str, Case] = {}


def case(name: str, *, slow: bool = False) -> Callable[[Callable[[], Arrays]], Callable[[], Arrays]]:
    """Return a decorator that enters a function as a case."""

    def enter(function: Callable[[], Arrays]) -> Callable[[], Arrays]:
        if name in CASES:
            message = f"Two cases are named {name!r}. Give one of them another name."
            raise ValueError(message)
        CASES[name] = Case(name=name, compute=function, slow=slow)
        return function

    return enter
