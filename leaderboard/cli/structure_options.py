"""Options of commands that take a structure file: thermal motion, zone axes; and messages of the library in the words of the command line."""

import re
from collections.abc import Mapping

from stemtwin.twin.errors import SettingsError

OPTIONS = {
    "thermal_sigma_angstrom": "--thermal",
    "zone_axis": "--zone-axis",
    "size_angstrom": "--size",
    "thickness_angstrom": "--thickness",
    "block": "--block",
    "seed": "--seed",
    "phonons": "--phonons",
    "detectors": "--detectors",
}
"""Options of ``stemtwin image`` by the arguments of the library that they stand for."""


def in_options(text: str) -> str:
    """Return a message of the library with the command's options for the library's arguments."""
    names = "|".join(OPTIONS)
    long = "|".join(name for name in OPTIONS if "_" in name)

    def option(found: re.Match[str]) -> str:
        return OPTIONS[found[1] or found[2]] + (" " if found[1] and found[3] else "") + (found[3] or "")

    return re.sub(rf"\b(?:({names})=|({long})\b)([\w(\[{{'\"-])?", option, text)


def parse_thermal(text: str) -> float | Mapping[str, float]:
    """Return the rms displacement (A) that a text such as ``0.08`` says, or one for each element of ``Ti=0.07,O=0.09``.

    Raises
    ------
    SettingsError
        The text is something else.
    """
    words = [word for word in re.split(r"[,;\s]+", text.strip()) if word]
    how = "Write one rms displacement in A, like 0.08, or one for each element, like Ti=0.07,O=0.09; 0 is static."
    try:
        if len(words) == 1 and not re.search("[=:]", words[0]):
            return float(words[0])
        pairs = [re.split("[=:]", word) for word in words]
        values = {symbol.strip(): float(value) for symbol, value in pairs}
    except ValueError:
        message = f"--thermal {text} cannot be read. {how}"
        raise SettingsError(message) from None
    if not values or len(values) < len(pairs):
        message = f"--thermal {text} names {'no element' if not values else 'an element twice'}. {how}"
        raise SettingsError(message)
    return values
