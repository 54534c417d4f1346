"""Notations of units in files, and the names of axes by unit."""

import contextlib
import re
import unicodedata
from typing import Any

TO_OURS = {
    "angstrom": ("angstrom", 1.0), "a": ("angstrom", 1.0), "nm": ("angstrom", 10.0), "pm": ("angstrom", 0.01), "um": ("angstrom", 1e4),
    "mm": ("angstrom", 1e7), "m": ("angstrom", 1e10),
    "mrad": ("mrad", 1.0), "rad": ("mrad", 1e3), "urad": ("mrad", 1e-3),
    "1/angstrom": ("1/angstrom", 1.0), "1/a": ("1/angstrom", 1.0), "1/nm": ("1/angstrom", 0.1), "1/pm": ("1/angstrom", 100.0),
    "1/um": ("1/angstrom", 1e-4), "1/m": ("1/angstrom", 1e-10),
    "ev": ("eV", 1.0), "kev": ("eV", 1e3), "mev": ("eV", 1e-3), "s": ("s", 1.0), "ms": ("s", 1e-3), "us": ("s", 1e-6),
}  # fmt: skip
"""stemtwin's unit and the factor of conversion to it, by the notation of the unit in files, in lower case."""
WORDS = {
    r"[a\u00e5]ngstr[o\u00f6]ms?": "angstrom", r"nanomet(er|re)s?": "nm", r"picomet(er|re)s?": "pm", r"micromet(er|re)s?|microns?|\u03bcm": "um",
    r"millimet(er|re)s?": "mm", r"met(er|re)s?": "m", r"milliradians?|mrads": "mrad", r"radians?": "rad",
    r"electron[ -]?volts?": "ev", r"kiloelectron[ -]?volts?": "kev", r"seconds?|secs?": "s", r"milliseconds?|msecs?": "ms",
}  # fmt: skip
"""Symbols of units by patterns of their full names, in lower case."""
NAMES = {"angstrom": ("depth", "y", "x"), "mrad": ("ky", "kx"), "1/angstrom": ("ky", "kx"), "eV": ("energy",), "s": ("time",)}
"""Names of the last axes of an array by unit."""
COUNTED = ("frame", "segment", "point", "configuration", "channel")
"""Dimensions that are numbered and have no unit."""
FITTING = {
    **dict.fromkeys(("y", "x", "depth", "wavelength"), ("angstrom", "pixel")), **dict.fromkeys(("ky", "kx"), ("mrad", "1/angstrom", "pixel")),
    "energy": ("eV",), "time": ("s",), **dict.fromkeys(COUNTED, ("",)),
}  # fmt: skip
"""Dimensions of stemtwin with the units that each of them may have."""


def unit_of(written: Any) -> tuple[str, float] | None:
    """Return stemtwin's unit and the conversion factor for a unit as written in a file, or None if the unit is unknown."""
    plain = _plain(written)
    if plain == "MeV":
        return "eV", 1e6
    plain = plain.lower()
    inverse = re.fullmatch(r"(?:1 ?/ ?(.+)|(.+?)\s*(?:\^|\*\*)? ?-1)", plain)
    name = (inverse[1] or inverse[2]).strip() if inverse else plain
    name = next((short for pattern, short in WORDS.items() if re.fullmatch(pattern, name)), name)
    name = name.replace("\u00e5", "angstrom").replace("\u03bc", "u")
    return TO_OURS.get(f"1/{name}" if inverse else name)


def _plain(written: Any) -> str:
    """Return the bare notation of a unit.

    Escapes and a wrong encoding are resolved. NCEM's brackets (``[n_m]``), TeX marks, a quantity before the unit, and
    "per pixel" after the unit are removed.
    """
    text = "" if written is None else str(written).strip().strip("\0").strip()
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), text)
    with contextlib.suppress(UnicodeError):  # UTF-8 that was read as Latin-1
        text = text.encode("latin-1").decode("utf-8")
    text = unicodedata.normalize("NFKC", text).replace("\u2212", "-")
    if re.fullmatch(r"\[.*\]", text):
        text = text[1:-1].replace("_", "")
    text = re.sub(r"[${}]", "", text)
    text = re.sub(r"(/ ?|^)\((\w+)\)", r"\1\2", text)
    text = re.sub(r"^.*\(([^()]+)\)$", r"\1", text)  # "Energy Loss (eV)"
    return re.sub(r" ?(/|per) ?(px|pix|pixels?)$", "", text).strip()
