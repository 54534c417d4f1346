"""Parser of the option ``--thermal``, and replacement of argument names by command options in messages of the library."""

import re
from collections.abc import Iterable, Mapping

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
"""Options of ``stemtwin image`` by the corresponding arguments of the library."""
WORDS = {
    "outer_mrad": "outer angle",
    "inner_mrad": "inner angle",
    "semiangle_mrad": "convergence angle",
}
"""Words for arguments without an option; in the words for other arguments the unit is dropped."""
UNIT = r"(?:angstrom|mrad|rad|deg|ev|pa|us|mm|e_per_angstrom2)"
"""Pattern of the units at the end of argument names of the library."""
START = r"(?<![-\w./'\"])"
"""Position where a name of the library can begin: not within an option, a path or a quoted text."""


def in_options(text: str, options: Mapping[str, str] = OPTIONS, typed: Iterable[str] = ()) -> str:
    """Return a message of the library with argument names replaced by the command's options or by plain words.

    Parameters
    ----------
    text : str
        Message or note.
    options : mapping
        Options by the names of the corresponding arguments.
    typed : iterable of str
        Words of the command line; these words are not replaced in the message.
    """
    kept = [word for word in typed if word and re.search("[=_]", word) and word in text]
    for number, word in enumerate(kept):
        text = text.replace(word, f"\0{number}\0")
    text = re.sub(rf"{START}([A-Za-z]\w*)=(?=([\w(\[{{'\"+.\0-]?))", lambda found: _given(found, options), text)
    text = re.sub(rf"{START}[a-z0-9]+(?:_[a-z0-9]+)*_{UNIT}\b(?![./\w])|{START}\bzone_axis\b", lambda found: _named(found[0], options), text)
    for number, word in enumerate(kept):
        text = text.replace(f"\0{number}\0", word)
    return text


def _given(found: re.Match[str], options: Mapping[str, str]) -> str:
    """Return the words for an argument with a value, or for one that should be given a value."""
    name, value = found[1], found[2]
    if name not in options and not name.islower():  # an environment variable, an element, a coefficient
        return found[0]
    return _named(name, options) + (" " if value and not re.fullmatch(r"[.]", value) else "")


def _named(name: str, options: Mapping[str, str]) -> str:
    """Return the option for an argument, or plain words if there is none."""
    return options.get(name) or WORDS.get(name) or re.sub(f"_{UNIT}$", "", name).replace("_", " ")


def in_toml(text: str) -> str:
    """Return a message of the library with arguments written as keys of a request file, for ``stemtwin certify``."""
    return re.sub(rf"{START}([a-z]\w*)=(?=[\w(\[{{'\"+-])", r"\1 = ", re.sub(rf"{START}([a-z]\w*)=(?=[.,;)]|$)", r"\1", text))


def parse_thermal(text: str) -> float | Mapping[str, float]:
    """Return the rms displacement (A) in a text: one number (``0.08``) or a mapping by element (``Ti=0.07,O=0.09``).

    Raises
    ------
    SettingsError
        The text cannot be read.
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
