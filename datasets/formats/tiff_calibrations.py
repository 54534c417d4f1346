"""Calibrations of TIFF files from OME, ImageJ or DigitalMicrograph, or from the resolution tags."""

import contextlib
from typing import Any, NamedTuple
from xml.etree import ElementTree

from stemtwin.datasets.formats.signal_dictionaries import text
from stemtwin.datasets.formats.units import unit_of

RESOLUTION_UNITS = {2: ("inch", 2.54e8), 3: ("cm", 1e8)}
"""Name and length (A) of each resolution unit by its number in the file; the number 1 means no unit."""
LENGTHS = {"inch": 2.54e8, "inches": 2.54e8, "cm": 1e8, "centimeter": 1e8, "centimetre": 1e8}
"""Lengths in A of further units of ImageJ."""
FINEST_PRINT = 1e4
"""Largest pixel size (A) for which a resolution in dots per inch or cm is taken as a calibration of the specimen.

A pixel of 1 um corresponds to 25,400 dots per inch, which is too fine for a print."""
MICROGRAPH_TAGS = {"X": (65003, 65009, 65006), "Y": (65004, 65010, 65007), "Z": (65005, 65011, 65008)}
"""Numbers of DigitalMicrograph's tags with the unit, the step and the first value, by axis."""


class Calibration(NamedTuple):
    """Unit, step and first value (``offset``) of an axis, or the ``reason`` why the axis is not calibrated."""

    unit: str | None = None
    step: float = 1.0
    offset: float = 0.0
    reason: str = ""


def read_calibrations(file: Any, page: Any, number: int) -> dict[str, Calibration]:
    """Return the calibrations of one series of a file, by axis (``"X"``, ``"Y"``, ``"Z"``, ``"T"``).

    Parameters
    ----------
    file : tifffile.TiffFile
        Opened file.
    page : tifffile.TiffPage
        First page of the series.
    number : int
        Number of the series in the file.
    """
    plain = _resolution(page)
    known = _micrograph(page) or _ome(file, number) or _imagej(file, page)
    return plain | {letter: each for letter, each in known.items() if each.unit or each.reason or letter not in plain}


def _resolution(page: Any) -> dict[str, Calibration]:
    """Return calibrations from the file's dots per inch or cm, if the dots are finer than those of a print."""
    kind = int(_tag(page, 296) or 2)
    out = {}
    for letter, place in (("X", 282), ("Y", 283)):
        dots = _ratio(_tag(page, place))
        name, length = RESOLUTION_UNITS.get(kind, ("", 0.0))
        if not dots or not length:
            out[letter] = Calibration(reason="its resolution has no unit" if dots else "it has no resolution, or a resolution of 0")
        elif length / dots < FINEST_PRINT:
            out[letter] = Calibration("angstrom", length / dots)
        else:
            out[letter] = Calibration(reason=f"its {dots:g} dots per {name} are the resolution of a print")
    return out


def _micrograph(page: Any) -> dict[str, Calibration]:
    out = {}
    for letter, (unit, scale, origin) in MICROGRAPH_TAGS.items():
        step, first = _number(_tag(page, scale)), _number(_tag(page, origin))
        written = text(_tag(page, unit) or "")
        if step and unit_of(written):
            out[letter] = Calibration(written, step, first or 0.0)
    return out


def _ome(file: Any, number: int) -> dict[str, Calibration]:
    """Return the calibrations of an image from OME's metadata; the default units are um and s."""
    if not getattr(file, "is_ome", False) or not file.ome_metadata:
        return {}
    try:
        tree = ElementTree.fromstring(file.ome_metadata)
    except ElementTree.ParseError:
        return {}
    listed = [item.attrib for item in tree.iter() if item.tag.rsplit("}", maxsplit=1)[-1] == "Pixels"]
    if not listed:
        return {}
    pixels = listed[number] if number < len(listed) else listed[0]
    out = {}
    for letter, name, usual in (
        ("X", "PhysicalSizeX", "\u00b5m"),
        ("Y", "PhysicalSizeY", "\u00b5m"),
        ("Z", "PhysicalSizeZ", "\u00b5m"),
        ("T", "TimeIncrement", "s"),
    ):
        if name in pixels:
            out[letter] = _calibration(_number(pixels[name]), pixels.get(f"{name}Unit", usual), f"its {name} is {pixels[name]!r}")
    return out


def _imagej(file: Any, page: Any) -> dict[str, Calibration]:
    """Return ImageJ's calibrations.

    ImageJ stores the pixels per unit as the resolution, and the unit and the origin in pixels in the description.
    """
    told = file.imagej_metadata if getattr(file, "is_imagej", False) else None
    out = {}
    if told:
        unit = str(told.get("unit", ""))
        for letter, key, place in (("X", "unit", 282), ("Y", "yunit", 283)):
            dots, own = _ratio(_tag(page, place)), str(told.get(key, unit))
            if own:
                reason = f"its unit is {own!r}" if dots else "it has no resolution, or a resolution of 0"
                out[letter] = _calibration(1 / dots if dots else None, own, reason, _number(told.get(f"{letter.lower()}origin")))
        if "spacing" in told:
            out["Z"] = _calibration(_number(told["spacing"]), str(told.get("zunit", unit)), "", _number(told.get("zorigin")))
        interval = _number(told.get("finterval"))
        if interval:
            out["T"] = _calibration(interval, str(told.get("tunit", "s")), "")
    return out


def _calibration(step: float | None, written: str, reason: str, origin: float | None = None) -> Calibration:
    """Return a calibration; ``origin`` is in pixels."""
    length = LENGTHS.get(written.strip().lower())
    if length:
        step, written = (step or 0.0) * length, "angstrom"
    if not step or not step > 0 or unit_of(written) is None:
        return Calibration(reason=reason)
    return Calibration(written, step, -(origin or 0.0) * step)


def _tag(page: Any, number: int) -> Any:
    tag = page.tags.get(number)
    return None if tag is None else tag.value


def _ratio(value: Any) -> float | None:
    """Return the ratio in a tag's value, or None if it is not a positive ratio."""
    with contextlib.suppress(TypeError, ValueError, ZeroDivisionError, IndexError):
        ratio = float(value[0]) / float(value[1]) if isinstance(value, (tuple, list)) else float(value)
        return ratio if 0 < ratio < float("inf") else None
    return None


def _number(value: Any) -> float | None:
    """Return a value of a tag or description, which may have a decimal comma, as a number, or None if it is not a number."""
    first: Any = value[0] if isinstance(value, (tuple, list)) and value else value
    with contextlib.suppress(TypeError, ValueError):
        number = float(first.replace(",", ".") if isinstance(first, str) else first)
        return number if abs(number) < float("inf") else None
    return None


def is_vendors(file: Any) -> bool:
    """Return True if a TIFF file contains settings of a vendor whose settings RosettaSciIO reads.

    These vendors are FEI, Zeiss, TVIPS, Olympus, JEOL and Hamamatsu.
    """
    page = file.pages[0]
    makers = [str(_tag(page, place) or "") for place in (271, 315)]
    return bool({"fei", "sem", "tvips", "sis"} & set(file.flags)) or makers[0] == "JEOL Ltd." or makers[1].startswith("Copyright Hamamatsu")


def vendor_pixels(file: Any) -> tuple[float, float] | None:
    """Return the pixel size (y, x), m, of a file of FEI, TVIPS or Olympus, or None if the size is missing."""
    fei, tvips, olympus = file.fei_metadata or {}, file.tvips_metadata or {}, file.sis_metadata or {}
    scan, ion, image = (fei.get(name) or {} for name in ("Scan", "IRBeam", "Image"))
    pairs = [
        (_number(scan.get("PixelHeight")), _number(scan.get("PixelWidth"))),
        (_quotient(ion.get("VFW"), image.get("ResolutionY")), _quotient(ion.get("HFW"), image.get("ResolutionX"))),
        (_quotient(tvips.get("PixelSizeY"), 1e9), _quotient(tvips.get("PixelSizeX"), 1e9)),
        (_number(olympus.get("pixelsizey")), _number(olympus.get("pixelsizex"))),
    ]
    return next(((y, x) for y, x in pairs if y and x), None)


def _quotient(above: Any, below: Any) -> float | None:
    return (_number(above) or 0.0) / (_number(below) or 0.0) if _number(below) else None
