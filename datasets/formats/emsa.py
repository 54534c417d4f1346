"""EMSA/MAS spectra (ISO 22029), in text files of any encoding, with decimal points or commas."""

import codecs
import re
from pathlib import Path
from typing import Any

import numpy as np

from stemtwin.datasets.formats.file_formats import unreadable
from stemtwin.datasets.formats.signal_dictionaries import plain_signal
from stemtwin.twin.errors import DatasetError

MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
"""Encodings by byte order mark."""
LINES = re.compile(r"\r\n|\r|\n")
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eEdD][+-]?\d+)?")
MICROSCOPE = {
    "BEAMKV": "beam_energy", "PROBECUR": "beam_current", "CONVANGLE": "convergence_angle", "COLLANGLE": "collection_angle"
}  # fmt: skip
"""Names of settings in RosettaSciIO's metadata by keyword; the units are kV, nA and mrad."""
TEM_KV = 30.0
"""Beam energy, keV, above which X-ray spectra are attributed to a transmission microscope."""
EVEN = 1e-6
"""Largest deviation of evenly spaced energies from even spacing, over the step."""


def read(path: Path) -> list[dict[str, Any]]:
    """Return the spectrum of a file as a dictionary in RosettaSciIO's form.

    Raises
    ------
    DatasetError
        The file has another format, contains a value that is not a number, or has fewer points than its line #NPOINTS
        states.
    """
    raw = path.read_bytes()
    words, numbers, ended = _split(_decoded(raw))
    if numbers is None:
        raise unreadable(path, "EMSA", ValueError("it has no line #SPECTRUM"))
    count = words.get("NPOINTS", "")
    points = round(_number(count, "NPOINTS", path)) if count else 0
    told = words.get("DATATYPE", "").upper()
    commas = any(DECIMAL_COMMA.fullmatch(value.split()[0]) for key, value in words.items() if value and key in ("XPERCHAN", "OFFSET", "BEAMKV"))
    values, pairs = _values(numbers, path, points=points, pairs={"XY": True, "Y": False}.get(told), commas=commas)
    found = values.size // 2 if pairs else values.size
    if not found:
        message = f"{path} holds no numbers after #SPECTRUM. Check that it is complete."
        raise DatasetError(message)
    if found < points and not ended:
        message = f"{path} ends after {found} of the {points} points that #NPOINTS states. Copy the file again, or correct #NPOINTS."
        raise DatasetError(message)
    axis = {"name": words.get("XLABEL", ""), "size": found, "units": words.get("XUNITS") or words.get("XPERCHAN unit"), "navigate": False}
    energies = values[: found * 2 : 2] if pairs else None
    signal = plain_signal(values[1 : found * 2 : 2] if pairs else values, words.get("TITLE") or path.stem, [axis | _scale(words, energies, path)])
    metadata, notes = _metadata(words, path)
    signal["metadata"] |= metadata
    if points and found != points:
        notes.append(f"#NPOINTS states {points} points, but the file holds {found}")
    return [signal | {"notes": notes}]


def _decoded(raw: bytes) -> str:
    for mark, encoding in MARKS.items():
        if raw.startswith(mark):
            return raw.decode(encoding, errors="replace")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _split(text: str) -> tuple[dict[str, str], list[str] | None, bool]:
    """Return the values by keyword, the lines of numbers (None without a spectrum), and True if the end is marked."""
    words: dict[str, str] = {}
    numbers: list[str] | None = None
    for line in map(str.strip, LINES.split(text)):
        key, _, value = line.lstrip("#").partition(":")
        key, value = key.strip().upper(), value.strip().strip("\0")
        if not line.startswith("#"):
            if numbers is not None and line and not line.startswith(";"):
                numbers.append(line)
        elif key.startswith("SPECTRUM"):
            numbers = []
        elif key.startswith("ENDOFDATA"):
            return words, numbers, True
        elif numbers is None:
            key, _, unit = (part.strip() for part in key.partition("-"))
            words[key] = f"{words[key]} {value}" if key in words and key in ("TITLE", "COMMENT") else value
            if unit:
                words[f"{key} unit"] = line.lstrip("#").partition(":")[0].partition("-")[2].strip()
    return words, numbers, False


def _number(value: str, name: str, path: Path) -> float:
    """Return a keyword's number.

    The number may have a decimal comma, Fortran's exponent, a space before the exponent, or a unit after it.
    """
    plain = re.sub(r"\s+(?=[eEdD]\s*[+-]?\s*\d)", "", value.strip())
    first = re.split(r"\s", plain)[0].rstrip(",;") if plain else ""
    try:
        return float((first.replace(",", ".") if first.count(",") == 1 else first).replace("D", "e").replace("d", "e"))
    except ValueError:
        message = f"#{name} of {path} is {value!r}, which is not a number. Correct this line."
        raise DatasetError(message) from None


def _values(lines: list[str], path: Path, *, points: int, pairs: bool | None, commas: bool) -> tuple[np.ndarray, bool]:
    """Return the numbers after ``#SPECTRUM``, and whether they are pairs of energy and signal.

    A comma between digits is either a decimal comma or a separator. The interpretation that gives the stated number of
    points is used. If several do, ``commas`` states whether the keywords have decimal commas.
    """
    text = "\n".join(lines)
    tokens = [token for token in re.split(r"[\s;]+|,(?=[\s;]|$)", text, flags=re.MULTILINE) if token]
    parts = [part for token in tokens for part in token.split(",") if part]
    readings = [parts]
    if len(parts) > len(tokens) and "." not in text:
        whole = [token.replace(",", ".") for token in tokens] if all(token.count(",") <= 1 for token in tokens) else None
        joined = [f"{a}.{b}" for a, b in zip(parts[::2], parts[1::2], strict=False)] if len(parts) % 2 == 0 else None
        decimal = [reading for reading in (whole, joined) if reading is not None]
        readings = [*decimal, parts] if commas else [parts, *decimal]
    kinds = (pairs,) if pairs is not None else (False, True)
    options = [(reading, kind) for reading in readings for kind in kinds]
    if pairs is None and not points:
        options = [(readings[0], all(len(re.split(r"[\s;,]+", line.strip(" ,;"))) == 2 for line in lines))]
    reading, kind = next((option for option in options if len(option[0]) == points * (2 if option[1] else 1)), options[0])
    out = np.empty(len(reading))
    for i, part in enumerate(reading):
        try:
            out[i] = float(part.replace("D", "e").replace("d", "e"))
        except ValueError:
            message = f"Value {i + 1} after #SPECTRUM of {path} is {part!r}, which is not a number. Correct it, or export the spectrum again."
            raise DatasetError(message) from None
    return out, kind


def _scale(words: dict[str, str], energies: np.ndarray | None, path: Path) -> dict[str, Any]:
    """Return the step and the first value of the axis, and all its points if they are not evenly spaced."""
    if energies is not None:
        steps = np.diff(energies)
        if energies.size < 2:
            return {"scale": 1.0, "offset": float(energies[0])}
        step = float(energies[-1] - energies[0]) / (energies.size - 1)
        even = step != 0 and np.allclose(steps, step, rtol=0, atol=EVEN * abs(step))
        return {"scale": step, "offset": float(energies[0])} | ({} if even else {"axis": energies})
    if not words.get("XPERCHAN"):
        return {"scale": 1.0, "offset": 0.0, "units": None, "reason": "it has no #XPERCHAN"}
    offset = words.get("OFFSET", "")
    return {"scale": _number(words["XPERCHAN"], "XPERCHAN", path), "offset": _number(offset, "OFFSET", path) if offset else 0.0}


def _metadata(words: dict[str, str], path: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the metadata in RosettaSciIO's form from the keywords, and notes on values that are not numbers."""
    numbers: dict[str, Any] = {}
    notes = []
    for key, name in MICROSCOPE.items():
        try:
            numbers |= {name: _number(words[key], key, path)} if words.get(key) else {}
        except DatasetError:
            notes.append(f"#{key} is {words[key]!r}, which is not a number")
    if "collection_angle" in numbers:
        numbers["Detector"] = {"EELS": {"collection_angle": numbers.pop("collection_angle")}}
    kind = words.get("SIGNALTYPE", "").upper()
    kind = {"ELS": "EELS", "CLS": "CL", "EDS": "EDS_TEM" if numbers.get("beam_energy", 0.0) > TEM_KV else "EDS_SEM"}.get(kind, kind)
    quantity = " ".join(filter(None, (words.get("YLABEL", ""), f"({words['YUNITS']})" if words.get("YUNITS") else "")))
    return {"Acquisition_instrument": {"TEM": numbers}, "Signal": {"signal_type": kind, "quantity": quantity}}, notes
