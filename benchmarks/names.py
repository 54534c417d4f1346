"""Names of entries and teams: a check of their characters, and escapes for consoles that cannot print a name."""

import unicodedata

from stemtwin.twin.errors import SettingsError

LONGEST_NAME = 80
"""Largest number of characters of a name."""
INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Characters that are blank although their category is not: joiners of graphemes, fillers, the empty braille cell."""
JOINERS = frozenset("\u200c\u200d")
"""Characters that shape their neighbours in Persian, Indic scripts and emoji: blank, but allowed between others."""
REFUSED = {
    "Cc": "a control character",
    "Cf": "a character of direction or format",
    "Cs": "half a character",
    "Co": "a character for private use",
    "Zl": "a line separator",
    "Zp": "a paragraph separator",
}
"""Categories of Unicode that no name may hold, in words."""


def check_name(name: str, what: str, *, empty: bool = False) -> str:
    """Check a name and return it; a name that a board would not show as it was written is refused.

    Parameters
    ----------
    name : str
        The name.
    what : str
        Key of the name in the error message, for example ``"team"``.
    empty : bool
        Whether the empty name ``""`` is allowed.

    Raises
    ------
    SettingsError
        The name is blank, has more than 80 characters, begins or ends with a blank, or contains control, direction, format or private characters.
    """
    if empty and not name:
        return name
    shown = ascii(name if len(name) <= LONGEST_NAME else name[:LONGEST_NAME] + "...")
    message = ""
    if not any(_visible(character) for character in name):
        message = f"{what}={shown} has no visible character. Give a name with letters or digits."
    elif len(name) > LONGEST_NAME:
        message = f"{what}={shown} has {len(name)} characters; at most {LONGEST_NAME} are allowed. Give a shorter name."
    elif name != name.strip():
        message = f"{what}={shown} begins or ends with a blank. Remove it."
    elif bad := next((character for character in name if _refused(character)), None):
        message = f"{what}={shown} holds {REFUSED[unicodedata.category(bad)]}, U+{ord(bad):04X}. Remove it."
    if message:
        raise SettingsError(message)
    return name


def printable(text: str, encoding: str = "utf-8") -> str:
    """Return a text as one printable line; characters that are not allowed in names, or that the console's encoding lacks, are escaped."""
    escaped = "".join(_escape(character) if _refused(character) else character for character in text)
    return escaped.encode(encoding, "backslashreplace").decode(encoding)


def _escape(character: str) -> str:
    """Return the escape of a character, as Python writes it."""
    return character.encode("unicode_escape").decode("ascii")


def _refused(character: str) -> bool:
    """Return whether no name may hold a character."""
    return unicodedata.category(character) in REFUSED and character not in JOINERS


def _visible(character: str) -> bool:
    """Return whether a character puts something on a screen by itself."""
    return not (character.isspace() or character in INVISIBLE or character in JOINERS or unicodedata.category(character) in {*REFUSED, "Mn", "Me"})
