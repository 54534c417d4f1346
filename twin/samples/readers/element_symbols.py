"""Elements from type symbols, site labels, mixed sites, masses and formulas."""

import functools
import re
from collections.abc import Iterable, Set

import numpy as np

from stemtwin.twin.errors import StructureFileError

VACANT = {"va", "vac", "vc", "vacancy", "\u25a1"}
HEAVIEST = 103  # Lr; heavier elements do not form crystals, and NH4 is ammonium, not nihonium
ROMAN = re.compile(r"^([A-Za-z]{1,2}?)[IVX]+$")
GROUP = re.compile(r"^([BCNOPS])[HD]$", re.IGNORECASE)
WATER = re.compile(r"^(?:[HD][23]O|HOH|DOD)", re.IGNORECASE)
MIXED = re.compile(r"([A-Z][a-z]?)(?:\d*[+-]\s*)?[\s:=(]*(\d*\.\d+|1)\)?")
LEADING = re.compile(r"(\d*\.\d+|1)\s*\*?\s*([A-Z][a-z]?)(?:\d*[+-](?=\s|$|\+))?")
MASS_TOLERANCE = 0.3  # largest difference from an element's mass, u

Species = tuple[tuple[int, float], ...]


@functools.cache
def _table() -> dict[str, int]:
    """Return the atomic number of each symbol, deuterium included."""
    from ase.data import chemical_symbols

    return {symbol: number for number, symbol in enumerate(chemical_symbols[: HEAVIEST + 1]) if number} | {"D": 1}


def symbols(numbers: Iterable[int]) -> tuple[str, ...]:
    """Return the symbols of atomic numbers."""
    from ase.data import chemical_symbols

    return tuple(chemical_symbols[int(number)] for number in numbers)


def species_of_type(text: str, name: str) -> Species:
    """Return the atomic numbers and fractions of a type symbol, such as ``Sr2+``, ``OH2`` or ``0.8Nb + 0.2Zr``.

    Other examples are ``CA``, ``FeIII`` and ``13C``. A vacancy gives ().

    Raises
    ------
    StructureFileError
        The element is unknown.
    """
    text = text.strip()
    mixed = _mixture(text)
    if mixed:
        return mixed
    _refuse_unshared(text, name)
    letters = (re.match(r"\d*\(?([A-Za-z\u25a1]*)", text) or ["", ""])[1]
    if letters.lower() in VACANT:
        return ()
    number = _table()["O"] if WATER.match(text) else _of_letters(letters)
    if number is None:
        raise _unknown(text, name)
    return ((number, 1.0),)


def _of_letters(letters: str) -> int | None:
    """Return the atomic number for the letters of a type symbol, or None."""
    table = _table()
    if letters.capitalize() in table:
        return table[letters.capitalize()]
    for pattern in (GROUP, ROMAN, re.compile(r"^([A-Z][a-z]?)(?:val?)$")):
        found = pattern.match(letters)
        if found and found[1].capitalize() in table:
            return table[found[1].capitalize()]
    water = letters.lower().startswith("wat") or letters.lower() == "ow"
    return table["O"] if water else None


def _mixture(text: str) -> Species:
    """Return the species of a mixed site such as ``0.8Nb + 0.2Zr``, ``Nb0.8Zr0.2`` or ``Nb:0.8 Zr:0.2``, else ()."""
    table = _table()
    first = [(symbol, float(share)) for share, symbol in LEADING.findall(text)]
    second = [(symbol, float(share)) for symbol, share in MIXED.findall(text)]
    found = first if re.match(r"\(?\s*\d*\.\d", text) else second
    if len(found) < 2 and not (len(found) == 1 and re.match(r"\(?\s*0?\.\d+\s*\*?[A-Z]", text)):
        return ()
    if any(symbol not in table or not 0 < share <= 1 for symbol, share in found) or sum(share for _, share in found) > 1.02:
        return ()
    return tuple((table[symbol], share) for symbol, share in found)


def species_of_label(text: str, name: str, known: Set[int] = frozenset()) -> Species:
    """Return the element of a site label such as ``Sr1``, ``O1A``, ``Wat1``, ``OW2`` or ``CA1``; () for a vacancy.

    Parameters
    ----------
    text, name : str
        Label, and name of the file for messages.
    known : set of int
        Elements of the file's formula. If the letters can mean two elements, the formula decides between them: ``Ho1``
        is hydrogen if the formula has H but no Ho.

    Raises
    ------
    StructureFileError
        The label names an unknown element, or several elements without occupancies.
    """
    mixed = _mixture(text.strip())
    if mixed:
        return mixed
    _refuse_unshared(text.strip(), name)
    letters = (re.match(r"[^A-Za-z\u25a1]*([A-Za-z\u25a1]*)", text) or ["", ""])[1]
    table = _table()
    if letters.lower() in VACANT and not (letters.lower() == "va" and table["V"] in known):
        return ()
    water = WATER.match(text) or letters.lower().startswith("wat") or (letters.upper() == "W" and table["O"] in known)
    if water and table["W"] not in known:
        return ((table["O"], 1.0),)
    tries = [symbol for symbol in (letters[:2].capitalize(), letters[:1].upper()) if symbol in table]
    fitting = [symbol for symbol in tries if table[symbol] in known]
    if len(letters) > 1 and letters[1].isupper() and len(fitting) == 2 and letters[:2].upper() not in ("CA", "CL", "CO", "CU", "NA", "NI", "SI"):
        fitting = fitting[::-1]
    chosen = next(iter([*fitting, *tries]), None)
    if chosen is None:
        raise _unknown(text, name)
    return ((table[chosen], 1.0),)


def _refuse_unshared(text: str, name: str) -> None:
    """Raise StructureFileError for several elements without occupancies, such as ``Nb,Zr`` or ``(Al3+/Fe3+)``."""
    parts = [part.strip("() ") for part in re.split(r"[,/&;]|\s\+\s", text)]
    if len(parts) > 1 and all(re.match(r"[A-Z][a-z]?(\d*[+-]?)*$", part) and part[:2].rstrip("0123456789+-") in _table() for part in parts):
        message = f"{name} has the mixed site {text!r} without occupancies. List each element with its _atom_site_occupancy."
        raise StructureFileError(message)


def element_number(text: str, name: str) -> int:
    """Return the atomic number of one element, given by symbol (with or without a charge) or by number.

    Raises
    ------
    StructureFileError
        The element is unknown, or several are named.
    """
    if re.fullmatch(r"\d{1,3}", text) and 0 < int(text) <= HEAVIEST:
        return int(text)
    species = species_of_type(text, name)
    if len(species) != 1:
        raise _unknown(text, name)
    return species[0][0]


def _unknown(text: str, name: str) -> StructureFileError:
    message = f"{name} names an unknown element {text!r}. Use the symbols of the periodic table."
    return StructureFileError(message)


def element_of_mass(mass: float) -> int | None:
    """Return the atomic number of the element nearest in mass to a given mass, or None if none is within 0.3 u."""
    from ase.data import atomic_masses

    away = np.abs(atomic_masses[1 : HEAVIEST + 1] - mass)
    near = np.flatnonzero(away < MASS_TOLERANCE)
    return int(near[np.argmin(away[near])]) + 1 if len(near) else None


def parse_formula(text: str) -> dict[int, float] | None:
    """Return the number of atoms of each element in a formula such as ``Ca (O H)2``, or None if it is unreadable."""
    table = _table()
    tokens = re.findall(r"[A-Z][a-z]?|[(\[{]|[)\]}]|\d+\.?\d*|\.\d+|[^\s,'\"~]", text)
    stack: list[dict[int, float]] = [{}]
    last: dict[int, float] | None = None  # the group that a following number multiplies
    for token in tokens:
        if token in table:
            last = {table[token]: 1.0}
            _add(stack[-1], last, 1.0)
        elif token in "([{":
            stack.append({})
            last = None
        elif token in ")]}" and len(stack) > 1:
            last = stack.pop()
            _add(stack[-1], last, 1.0)
        elif re.match(r"[\d.]", token) and last is not None:
            _add(stack[-1], last, float(token) - 1.0)
            last = None
        else:
            return None
    return stack[0] if len(stack) == 1 and stack[0] else None


def _add(into: dict[int, float], part: dict[int, float], factor: float) -> None:
    for number, count in part.items():
        into[number] = into.get(number, 0.0) + factor * count


def format_formula(counts: dict[int, float]) -> str:
    """Return counts as a formula: ``Mg8 Al16 O32``."""
    return " ".join(f"{symbol}{round(count, 3):g}" for symbol, count in zip(symbols(counts), counts.values(), strict=True))
