"""Settings of a space group from its name, in all usual spellings, or from its number.

gemmi's table holds the 564 settings. A name fits one setting (``P 1 1 21/b``, ``F d -3 m :2``) or several (``F d -3
m``, ``R -3 m``, ``P 2/m``). Databases add suffixes: H and HR mean hexagonal axes, R and RS rhombohedral axes, S and 1
the first origin, Z and 2 the second origin.
"""

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gemmi

    Settings = tuple[gemmi.SpaceGroup, ...]

SUFFIXES = {
    "H": "H",
    "HR": "H",
    "RH": "H",
    "HEX": "H",
    "R": "R",
    "RS": "R",
    "RHOMB": "R",
    "S": "1",
    "Z": "2",
    "1": "1",
    "2": "2",
    "O1": "1",
    "O2": "2",
}
_WORDS = re.compile(r"[\s:({\[,]*(?:origin|setting|choice|axes|cell|at|@)[^12]*([12])?.*$", re.IGNORECASE)
_MARKED = re.compile(r"\s*(?::|\(|\[)\s*(O?[12]|HR|RH|RS|HEX|RHOMB|H|R|S|Z)\w*\s*[)\]]?\s*$", re.IGNORECASE)
_BARE = re.compile(r"\s*(HR|RH|RS|H|R|S|Z|O[12])\s*$")


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedSettings:
    """Space-group settings that a name or a number can mean.

    Parameters
    ----------
    settings : tuple of gemmi.SpaceGroup
        Settings that the name fits, the usual one first; () for an unknown name.
    unique : bool
        Whether the name fits only one setting by the conventions of the International Tables.
    """

    settings: "Settings"
    unique: bool


@functools.cache
def table() -> "Settings":
    """Return all settings of gemmi's table."""
    import gemmi

    return tuple(gemmi.spacegroup_table())


def settings_of_number(number: int) -> "Settings":
    """Return all settings of the space group with a given number in the International Tables, the standard setting first."""
    own = [group for group in table() if group.number == number]
    return tuple(sorted(own, key=lambda group: not group.is_reference_setting()))


def settings_of_name(name: str) -> NamedSettings:
    """Return the settings that a Hermann-Mauguin name fits.

    Parameters
    ----------
    name : str
        Short, full, old or new name, with or without spaces, with or without the suffix of a database, for example
        ``Fd-3mZ``, ``R -3 c :H``, ``P 21/b``, ``F 4/m -3 2/m``, ``P2_1/c``, ``P 2(1)/n``.
    """
    text = _plain(name)
    whole = _matching(text)
    if whole:
        return _narrowed(whole, "", text)
    base, suffix = text, ""
    for pattern in (_WORDS, _MARKED, _BARE):
        found = pattern.search(text)
        if found and found.start() > 1:
            base, suffix = text[: found.start()], SUFFIXES.get((found[1] or "").upper(), "")
            matched = _matching(base)
            if matched:
                return _narrowed(matched, suffix, base)
    return NamedSettings(settings=(), unique=False)


def _plain(name: str) -> str:
    """Return a name without typesetting marks."""
    text = re.sub(r"\(?\s*(?:no\.?|#)\s*\d+\s*\)?", "", name, flags=re.IGNORECASE).strip().lstrip("*").strip()
    text = re.sub(r"\\?bar\{?(\d)\}?", r"-\1", text)
    text = re.sub(r"(\d)\s?bar", r"-\1", text)
    text = re.sub("(\\d)[\u0304\u0305]", r"-\1", text).replace("\u2212", "-").replace("\u2013", "-")
    text = re.sub(r"(\d)\((\d)\)|(\d)_\{?(\d)\}?|(\d)~(\d)~|(\d)sub(\d)", lambda m: "".join(part for part in m.groups() if part), text)
    return re.sub(r"\s+", " ", text.replace("_", " ").replace("$", "")).strip()


def _matching(text: str) -> "Settings":
    """Return the settings whose symbol is a text, either without a suffix or with one such as ``:1``."""
    import gemmi

    if len(text) < 2 or not text[0].isalpha():
        return ()
    squeezed = text.replace(" ", "").lower()
    short = tuple(group for group in table() if _short(group) == squeezed)
    if short:
        return short
    for spelled in (text, text[0].upper() + text[1:].lower(), _shortened(text)):
        group = gemmi.find_spacegroup_by_name(spelled) if spelled else None
        if group is None:
            continue
        if ":" in spelled or _carries_suffix(squeezed, group):
            return (group,)
        return tuple(other for other in table() if other.number == group.number and other.hm == group.hm)
    return ()


def _short(group: "gemmi.SpaceGroup") -> str:
    """Return the symbol of a monoclinic setting without ones and spaces, such as ``p21/b``; "" for others."""
    parts = group.hm.split()
    if not 3 <= group.number <= 15 or len(parts) != 4:
        return ""
    return "".join(part for part in parts if part != "1").lower()


def _carries_suffix(squeezed: str, group: "gemmi.SpaceGroup") -> bool:
    """Return True if a name is a symbol plus the suffix of its axes or origin, such as ``r-3mh``."""
    return bool(group.ext) and squeezed == group.hm.replace(" ", "").lower() + group.ext.lower()


def _shortened(text: str) -> str:
    """Return the short symbol of a full one, such as ``F m -3 m`` for ``F 4/m -3 2/m``; "" for other symbols."""
    parts = text.split()
    if len(parts) < 3 or "1" in parts or not any("/" in part for part in parts[1:]):
        return ""
    lattice, *axes = parts
    cubic = len(axes) >= 2 and axes[1].lstrip("-") == "3"
    kept = []
    for place, axis in enumerate(axes):
        first = re.match(r"^[346]\d?/", axis) and place == 0 and not cubic
        kept.append(axis if first or "/" not in axis else axis.split("/")[1])
    return " ".join([lattice, *kept])


def _narrowed(settings: "Settings", suffix: str, base: str) -> NamedSettings:
    """Return the settings that fit a suffix, or all settings where the group does not have the suffix."""
    own = tuple(group for group in settings if suffix and group.ext == suffix)
    chosen = own or settings
    if own or len(chosen) == 1:
        return NamedSettings(settings=chosen, unique=True)
    by_axis = 3 <= chosen[0].number <= 15 and "1" not in base.split()[1:]
    standard = tuple(sorted(chosen, key=lambda group: not group.is_reference_setting()))
    if by_axis:  # the short symbols of the International Tables have the unique axis b
        standard = tuple(sorted(chosen, key=lambda group: "bca".index(group.qualifier.lstrip("-")[0])))
    return NamedSettings(settings=standard, unique=by_axis)
