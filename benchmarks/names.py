"""Names of entries and teams, which stand on boards for others to read."""

import unicodedata

LONGEST = 80
JOINERS = "\u200c\u200d"
"""Zero-width joiners, which some scripts and symbols are written with."""


def check_name(text: str) -> str:
    """Return a name, or raise ValueError where it cannot be shown as it is.

    A name has at most 80 characters. Control characters, line ends, marks that turn the direction of writing and other invisible characters are
    refused, and so is a name of blank characters alone; the empty name passes.

    Raises
    ------
    ValueError
        One sentence with the character and its place.
    """
    if len(text) > LONGEST:
        message = f"{text[:20]!a}... has {len(text)} characters, at most {LONGEST} are taken. Shorten it."
        raise ValueError(message)
    for place, character in enumerate(text):
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") and character not in JOINERS:
            message = f"{text!a} has the character U+{ord(character):04X} at place {place}, which cannot be seen. Remove it."
            raise ValueError(message)
    if text and not any(unicodedata.category(character)[0] in "LNPS" for character in text):
        message = f"{text!a} holds no letter, digit or sign. Give a name that can be seen."
        raise ValueError(message)
    return text
