"""Tags of a CIF data block: loops, items and numbers, in both spellings (``_cell_length_a``, ``_cell.length_a``)."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.twin.errors import StructureFileError

if TYPE_CHECKING:
    import gemmi

UNKNOWN = ("?", ".")


def plain_tag(tag: str) -> str:
    """Return a tag in lower case with underscores for dots and brackets, such as ``_atom_site_aniso_u_11``."""
    return re.sub(r"\[(\d)\]", r"\1", tag.lower()).replace(".", "_")


class Tags:
    """Columns and single items of a data block by their tags, which are written in the form that :func:`plain_tag` returns.

    Parameters
    ----------
    name : str
        Name of the file for messages.
    block : gemmi.cif.Block
        Data block of gemmi.
    """

    def __init__(self, name: str, block: "gemmi.cif.Block") -> None:
        self.name = name
        self.items: dict[str, str] = {}
        self.loops: list[dict[str, list[str]]] = []
        items: Any = block
        for item in items:
            if item.pair is not None:
                self.items.setdefault(plain_tag(item.pair[0]), item.pair[1])
            elif item.loop is not None:
                loop, width = item.loop, item.loop.width()
                values = list(loop.values)
                self.loops.append({plain_tag(tag): values[at::width] for at, tag in enumerate(loop.tags)})

    def text(self, tags: Iterable[str]) -> str:
        """Return the value of the first of the given tags that has a value, or "" if none has one.

        For a tag in a loop, the value in the first row is returned.
        """
        import gemmi

        for tag in tags:
            raw = self.items.get(tag)
            if raw is None:
                raw = next((loop[tag][0] for loop in self.loops if loop.get(tag)), None)
            text = gemmi.cif.as_string(raw).strip() if raw is not None and raw not in UNKNOWN else ""
            if text and text not in UNKNOWN:
                return text
        return ""

    def number(self, tags: Iterable[str]) -> float | None:
        """Return the result of :meth:`text` as a number, or None if there is no value or it is not a number."""
        text = self.text(tags)
        value = parse_number(text) if text else float("nan")
        return None if np.isnan(value) else value

    def column(self, tags: Iterable[str]) -> list[str]:
        """Return all values of the first of the given tags that exists in a loop or as a single item, or []."""
        import gemmi

        for tag in tags:
            raw = next((loop[tag] for loop in self.loops if tag in loop), None)
            if raw is None and tag in self.items:
                raw = [self.items[tag]]
            if raw:
                return [gemmi.cif.as_string(value) for value in raw]
        return []

    def table(self, tags: Iterable[str], prefix: str) -> "Table":
        """Return the table with the first of the given tags that exists.

        A tag in a loop gives the loop. A single item gives one row of all items with the prefix. If no tag exists, the
        table is empty.
        """
        for tag in tags:
            for loop in self.loops:
                if tag in loop:
                    return Table(self.name, loop)
            if tag in self.items:
                return Table(self.name, {each: [value] for each, value in self.items.items() if each.startswith(prefix)})
        return Table(self.name, {})


class Table:
    """Table with columns by tag, from a loop or from single items."""

    def __init__(self, name: str, columns: dict[str, list[str]]) -> None:
        self.name = name
        self.columns = columns
        self.rows = len(next(iter(columns.values()), []))

    def __contains__(self, tag: str) -> bool:
        """Return True if the loop has a tag."""
        return tag in self.columns

    def first(self, tags: Iterable[str]) -> str | None:
        """Return the first of the given tags that the table has, or None."""
        return next((tag for tag in tags if tag in self.columns), None)

    def text(self, tag: str) -> list[str]:
        """Return a column of texts, "" for unknown values."""
        import gemmi

        return ["" if value in UNKNOWN else gemmi.cif.as_string(value).strip() for value in self.columns[tag]]

    def number(self, tag: str, *, strict: bool = True) -> np.ndarray:
        """Return a column of numbers without their uncertainties. Unknown values, '?' and '.', become nan.

        Raises
        ------
        StructureFileError
            ``strict`` is True and a known value is not a number.
        """
        import gemmi

        values = np.full(self.rows, np.nan)
        for row, raw in enumerate(self.columns[tag]):
            text = "?" if raw in UNKNOWN else gemmi.cif.as_string(raw).strip()
            if text in ("", *UNKNOWN):
                continue
            values[row] = parse_number(text)
            if np.isnan(values[row]) and strict:
                message = f"{self.name}: {tag} of site {row + 1} is {raw!r}, not a number. Repair the file."
                raise StructureFileError(message)
        return values


def parse_number(text: str) -> float:
    """Return the number in a text such as ``0.2341(3)``, ``1/3``, ``90.(0)``, ``0,25`` or ``1.5d-2``; nan if there is none."""
    plain = re.sub(r"\(\s*\d*\.?\d*\s*\)", "", text.strip())
    if re.fullmatch(r"[+-]?\d*,\d+", plain):
        plain = plain.replace(",", ".")
    if found := re.fullmatch(r"([+-]?\d+\.?\d*)\s*/\s*(\d+\.?\d*)", plain):
        return float(found[1]) / float(found[2]) if float(found[2]) else float("nan")
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eEdD][+-]?\d+)?", plain):
        return float("nan")
    return float(plain.replace("d", "e").replace("D", "e"))


def decimals(texts: Iterable[str]) -> int:
    """Return the largest number of decimals in texts of numbers. A fraction such as 1/3 is exact and counts as 99."""
    found = [99 if "/" in text else len((re.search(r"[.,](\d+)", text) or ["", ""])[1]) for text in texts]
    return max(found, default=6)
