"""Units as files write them, and the dimensions that have them."""

import re
from typing import Any

TO_OURS = {
    "angstrom": ("angstrom", 1.0), "a": ("angstrom", 1.0), "nm": ("angstrom", 10.0), "pm": ("angstrom", 0.01), "um": ("angstrom", 1e4),
    "mm": ("angstrom", 1e7), "m": ("angstrom", 1e10),
    "mrad": ("mrad", 1.0), "rad": ("mrad", 1e3), "urad": ("mrad", 1e-3),
    "1/angstrom": ("1/angstrom", 1.0), "1/a": ("1/angstrom", 1.0), "1/nm": ("1/angstrom", 0.1), "1/pm": ("1/angstrom", 100.0),
    "1/um": ("1/angstrom", 1e-4), "1/m": ("1/angstrom", 1e-10),
    "ev": ("eV", 1.0), "kev": ("eV", 1e3), "mev": ("eV", 1e-3), "s": ("s", 1.0), "ms": ("s", 1e-3), "us": ("s", 1e-6),
}  # fmt: skip
"""Our unit and the factor to it, by a unit as files write it, in small letters."""
NAMES = {"angstrom": ("y", "x"), "mrad": ("ky", "kx"), "1/angstrom": ("ky", "kx"), "eV": ("energy",), "s": ("time",)}
"""Names of the axes of a unit, those of the last axes of an array."""
COUNTED = ("frame", "segment", "point", "configuration")
"""Dimensions that number things and have no unit."""
FITTING = {
    **dict.fromkeys(("y", "x", "depth", "wavelength"), ("angstrom", "pixel")), **dict.fromkeys(("ky", "kx"), ("mrad", "1/angstrom", "pixel")),
    "energy": ("eV",), "time": ("s",), **dict.fromkeys(COUNTED, ("",)),
}  # fmt: skip
"""Names of our dimensions, and the units that each of them has."""


def unit_of(written: Any) -> tuple[str, float] | None:
    """Return our unit and the factor to it of a unit as files write it; None where it is not a unit."""
    text = "" if written is None else str(written).strip()
    text = re.sub(r"^.*\(([^()]+)\)$", r"\1", text)  # "Energy Loss (eV)"
    plain = text.replace("\u00c5", "angstrom").replace("\u212b", "angstrom").replace("\u00b5", "u").replace("\u03bc", "u").lower()
    plain = plain.replace("\u207b\u00b9", "-1")
    inverse = re.fullmatch(r"(?:1 ?/ ?(\w+)|(\w+)\s*(?:\^|\*\*)? ?[-\u2212]1)", plain)
    if inverse:
        plain = f"1/{inverse[1] or inverse[2]}"
    return TO_OURS.get(plain)
