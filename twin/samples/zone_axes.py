"""Zone axes in all usual notations: ``110``, ``1,1,0``, ``[1 -1 0]``, four-index ``[11-20]``."""

import re
from collections.abc import Sequence
from math import gcd

import numpy as np

from stemtwin.twin.errors import SettingsError

MOST_INDEX = 50
HEXAGONAL_TOLERANCE = 5e-3  # relative for lengths, absolute for cos(gamma)
_HOW = "Write it like 1,1,0 or 110 or [1 -1 0], or for a hexagonal crystal like 11-20."


def _words(text: str) -> list[str]:
    """Return the indices in a text, with overbars replaced by minus signs before their digit."""
    plain = re.sub("(\\d)[\u0304\u0305]", r"-\1", text.replace("\u2212", "-").replace("\u2013", "-"))
    plain = re.sub(r"\\(?:bar|overline)\{?(\d)\}?", r"-\1", plain)
    plain = re.sub(r"[\[\](){}<>\u27e8\u27e9]", " ", plain)
    words = [word for word in re.split(r"[\s,;.]+", plain) if word]
    if len(words) == 1 and re.fullmatch(r"(?:[-+]?\d){3,4}", words[0]):
        words = re.findall(r"[-+]?\d", words[0])
    return words


def _indices(given: str | Sequence[int]) -> list[int]:
    """Return the three or four whole numbers of a zone axis.

    Raises
    ------
    SettingsError
        The value is not three or four whole numbers.
    """
    message = f"zone_axis={given!r} must be three whole numbers (u, v, w), or four (U, V, T, W). {_HOW}"
    if isinstance(given, str):
        words = _words(given)
        if len(words) not in (3, 4) or not all(re.fullmatch(r"[-+]?\d+", word) for word in words):
            raise SettingsError(message)
        return [int(word) for word in words]
    if not isinstance(given, Sequence | np.ndarray) or len(given) not in (3, 4):
        raise SettingsError(message)
    try:
        numbers = [float(value) for value in given]
    except (TypeError, ValueError):
        raise SettingsError(message) from None
    if not np.all(np.isfinite(numbers)) or any(number != round(number) for number in numbers):
        raise SettingsError(message)
    return [int(number) for number in numbers]


def has_four_indices(given: str | Sequence[int]) -> bool:
    """Return True if a zone axis has four indices."""
    return len(_indices(given)) == 4


def parse_zone_axis(given: str | Sequence[int]) -> tuple[int, int, int]:
    """Return a zone axis as [uvw]; four indices [UVTW] become [2U+V, U+2V, W] without a common divisor.

    Parameters
    ----------
    given : str or sequence of int
        Three or four whole numbers.

    Raises
    ------
    SettingsError
        An index is not a whole number or is beyond 50, all indices are 0, or the third of four indices is not minus the
        sum of the first two.
    """
    indices = _indices(given)
    if not any(indices):
        message = f"zone_axis={given!r} has no direction. Give the lattice direction (u, v, w) along the beam, for example (0, 0, 1)."
        raise SettingsError(message)
    if max(map(abs, indices)) > MOST_INDEX:
        message = f"zone_axis={given!r} has an index beyond {MOST_INDEX}. Use small whole numbers."
        raise SettingsError(message)
    if len(indices) == 3:
        return indices[0], indices[1], indices[2]
    u, v, t, w = indices
    if t != -(u + v):
        message = (
            f"zone_axis={given!r} has the third index {t}, but it must be {-(u + v)}, the negative sum of the first two indices. "
            "Correct the third index, or give three indices."
        )
        raise SettingsError(message)
    three = (2 * u + v, u + 2 * v, w)
    divisor = gcd(*three)
    return three[0] // divisor, three[1] // divisor, three[2] // divisor


def is_hexagonal(cell: np.ndarray) -> bool:
    """Return True if a cell (3, 3; rows, A) has a = b, gamma = 120 degrees and c perpendicular to a and b."""
    lengths = np.linalg.norm(cell, axis=1)
    cosines = (cell @ cell.T) / np.outer(lengths, lengths)
    wanted = abs(lengths[0] / lengths[1] - 1) < HEXAGONAL_TOLERANCE and abs(cosines[0, 1] + 0.5) < HEXAGONAL_TOLERANCE
    return bool(wanted and abs(cosines[0, 2]) < HEXAGONAL_TOLERANCE and abs(cosines[1, 2]) < HEXAGONAL_TOLERANCE)
