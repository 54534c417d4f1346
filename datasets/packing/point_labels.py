"""Labelled points of images from a CSV file, which is checked completely before any file is written.

The table has one row per point. Its columns are ``file``, and either ``x_angstrom`` and ``y_angstrom`` or ``x_px`` and
``y_px``. The optional column ``heaviest`` holds an atomic number. The column ``frame`` holds the number of the image in its
file, from 0; it is required for files of several images. The centre of pixel [0, 0] is (0, 0), and x runs along the last
axis. An image without points has one row with empty coordinates, so an image that was not labelled is never mistaken for
an image without points. Messages count rows as spreadsheets do, with the header as row 1.
"""

import csv
import difflib
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stemtwin.datasets.packing.measured_images import MeasuredImages
from stemtwin.twin.errors import DatasetError, suggestion

PLACES = (("x_angstrom", "y_angstrom"), ("x_px", "y_px"))
OPTIONAL = ("heaviest", "frame")
LARGEST_BYTES = 200_000_000
WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")
"""Byte order marks of UTF-16."""
EMPTY = ("", "nan")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PointLabels:
    """Labelled points of one image.

    Parameters
    ----------
    positions : ndarray
        Positions (n, 2), x and y, A; the centre of pixel [0, 0] is (0, 0).
    heaviest : ndarray
        Atomic numbers (n,) of the heaviest element of each point, 0 if the element is not known.
    """

    positions: np.ndarray
    heaviest: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A checked row of the table: its line, its image, and its point (x, y), A; the point of an empty image is None."""

    line: int
    key: tuple[str, int]
    point: tuple[float, float] | None
    heaviest: int


def read_labels(path: Path, images: Sequence[MeasuredImages]) -> dict[tuple[str, int], PointLabels]:
    """Read and check the labels of images.

    Parameters
    ----------
    path : Path
        CSV file in UTF-8, with commas and decimal points.
    images : sequence of MeasuredImages
        Images of all files. Each image needs at least one row in the table.

    Returns
    -------
    dict
        Labelled points by (name of the file, number of the image in the file).

    Raises
    ------
    DatasetError
        The table is not valid. The message names the file, the row and the column of the first error, and the necessary correction.
    """
    header, lines = _table(path)
    place = _check_header(header, path)
    by_name = {one.name: one for one in images}
    rows: dict[tuple[str, int], dict[tuple[float, float] | None, _Row]] = {}
    for line, cells in lines:
        row = _row(dict(zip(header, cells, strict=True)), place, by_name, path, line)
        _check_new(row, rows.setdefault(row.key, {}), place, path)
        rows[row.key][row.point] = row
    for one in images:
        for frame in range(len(one.pixels)):
            if (one.name, frame) not in rows:
                of = f"image {frame} of {one.name}" if len(one.pixels) > 1 else one.name
                message = (
                    f"{path}: no row names {of} in column 'file'. Give the points of this image, or one row with empty {place[0]!r} and {place[1]!r}."
                )
                raise DatasetError(message)
    points = {key: [row for row in some.values() if row.point is not None] for key, some in rows.items()}
    _check_elements([row for some in points.values() for row in some], path)
    return {key: _labels(some) for key, some in points.items()}


def _table(path: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Return the header of a CSV file and its other rows with their numbers."""
    try:
        if (size := path.stat().st_size) > LARGEST_BYTES:
            message = f"{path} has {size} bytes, above the limit of {LARGEST_BYTES}. Pack fewer images at a time."
            raise DatasetError(message)
        content = path.read_bytes()
    except OSError as error:
        if isinstance(error, DatasetError):
            raise
        message = f"{path} cannot be read: {error.strerror}. Give the CSV file of the labels."
        raise DatasetError(message) from None
    if content.startswith(WIDE_MARKS) or b"\0" in content:
        message = f"{path}, row 1: the file is UTF-16 or not text. Save it as CSV in UTF-8."
        raise DatasetError(message)
    try:
        text = content.decode("utf-8-sig")  # removes the byte order mark that spreadsheets write
    except UnicodeDecodeError as error:
        row = content[: error.start].count(b"\n") + 1
        message = f"{path}, row {row}: the byte {content[error.start]:#04x} is not UTF-8. Save the file as CSV in UTF-8."
        raise DatasetError(message) from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header = next(_records(reader, path), (1, []))[1]
    if len(header) == 1 and (mark := next((mark for mark in ";\t" if mark in header[0]), None)):
        said = "semicolons" if mark == ";" else "tabs"
        message = f"{path}, row 1: the columns are separated by {said}. Save the file with commas, and with decimal points."
        raise DatasetError(message)
    return [name.strip() for name in header], _full(header, reader, path)


def _records(reader: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the cells of each row that is not blank."""
    try:
        yield from ((reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells))
    except csv.Error as error:
        message = f"{path}, row {reader.line_num}: {error}. Save the file as CSV with commas."
        raise DatasetError(message) from None


def _full(header: list[str], reader: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield rows after checking the number of their cells."""
    for line, cells in _records(reader, path):
        if len(cells) != len(header):
            message = (
                f"{path}, row {line}: there are {len(cells)} cells for {len(header)} columns. "
                "Give one cell for each column, and write numbers with decimal points."
            )
            raise DatasetError(message)
        yield line, cells


def _check_header(header: list[str], path: Path) -> tuple[str, str]:
    """Return the names of the two columns of positions."""
    place = next((pair for pair in PLACES if set(pair) & set(header)), PLACES[0])
    wanted = ("file", *place)
    for name in wanted:
        if name not in header:
            known, more = (", ".join(map(repr, names)) for names in (wanted, OPTIONAL))
            message = f"{path}, row 1: the column {name!r} is missing. Name the columns {known} and, where known, {more}."
            raise DatasetError(message)
    for number, name in enumerate(header):
        if name in header[:number]:
            message = f"{path}, row 1: the column {name!r} occurs twice. Remove one."
            raise DatasetError(message)
        if name not in (*wanted, *OPTIONAL):
            message = f"{path}, row 1: the column {name!r} is not known. {_nearest(name, (*wanted, *OPTIONAL))}"
            raise DatasetError(message)
    return place


def _nearest(name: str, known: Sequence[str]) -> str:
    """Return the repair for an unknown column."""
    near = difflib.get_close_matches(name, known, 1)
    return f"Did you mean {near[0]!r}?" if near else "Remove it."


def _row(cells: dict[str, str], place: tuple[str, str], by_name: dict[str, MeasuredImages], path: Path, line: int) -> _Row:
    """Return a row after checking each of its cells."""

    def refuse(column: str, reason: str) -> None:
        message = f"{path}, row {line}, column {column!r}: {cells[column].strip()!r} {reason}"
        raise DatasetError(message)

    name = cells["file"].strip()
    if name not in by_name:
        refuse("file", f"is not one of the packed files. {suggestion(name, by_name)}")
    images = by_name[name]
    frame = _whole(cells.get("frame", ""))
    if len(images.pixels) > 1 and frame is None:
        if "frame" not in cells:
            message = f"{path}, row 1: the column 'frame' is missing, and {name} holds {len(images.pixels)} images. Add it; count images from 0."
            raise DatasetError(message)
        refuse("frame", f"is not the number of an image of {name}. Give 0 to {len(images.pixels) - 1}.")
    if "frame" in cells and cells["frame"].strip() and (frame is None or not 0 <= frame < len(images.pixels)):
        refuse("frame", f"is not the number of an image of {name}. Give 0 to {len(images.pixels) - 1}.")
    numbers = [_number(cells[column]) for column in place]
    absent = [cells[column].strip().lower() in EMPTY for column in place]
    heaviest = _whole(cells.get("heaviest", ""))
    for column, number, empty, length in zip(place, numbers, absent, images.pixels.shape[:0:-1], strict=True):
        if empty and not all(absent):
            refuse(column, "is empty, but the other coordinate is not. Give both, or neither if the image has no points.")
        if not empty and number is None:
            refuse(column, "is not a finite number. Write it with a decimal point.")
        step = 1.0 if column.endswith("_px") else images.sampling_angstrom
        low, high, unit = -0.5 * step, (length - 0.5) * step, "px" if column.endswith("_px") else "A"
        if number is not None and not low <= number < high:
            refuse(column, f"lies outside the frame of {name}, {low:.4f} to {high:.4f} {unit}. Correct it, or remove the row.")
    if cells.get("heaviest", "").strip() and (heaviest is None or not 1 <= heaviest <= 118):
        refuse("heaviest", "is not an atomic number from 1 to 118. Leave it empty if it is not known.")
    scale = images.sampling_angstrom if place[0].endswith("_px") else 1.0
    x, y = numbers
    point = None if x is None or y is None else (x * scale, y * scale)
    return _Row(line=line, key=(name, frame or 0), point=point, heaviest=heaviest or 0)


def _check_new(row: _Row, before: dict[tuple[float, float] | None, _Row], place: tuple[str, str], path: Path) -> None:
    """Check that a row does not repeat or contradict an earlier one of its image."""
    start = f"{path}, row {row.line}, column {place[0]!r}:"
    if row.point in before:
        message = f"{start} the point repeats that of row {before[row.point].line}. Remove one of the rows."
        raise DatasetError(message)
    if before and (row.point is None or None in before):
        other = next(iter(before.values()))
        message = f"{start} this row and row {other.line} contradict each other about whether {row.key[0]} has points. Remove one of them."
        raise DatasetError(message)


def _check_elements(points: Sequence[_Row], path: Path) -> None:
    """Check that elements are given for all points or for none."""
    lacking = [row for row in points if not row.heaviest]
    if lacking and len(lacking) < len(points):
        message = (
            f"{path}, row {lacking[0].line}, column 'heaviest': the cell is empty, but other rows give an element. "
            "Give the element for all points or for none."
        )
        raise DatasetError(message)


def _labels(points: Sequence[_Row]) -> PointLabels:
    """Return the points of an image."""
    return PointLabels(
        positions=np.array([row.point for row in points], dtype=float).reshape(-1, 2),
        heaviest=np.array([row.heaviest for row in points], dtype=np.int64),
    )


def _number(text: str) -> float | None:
    """Return a finite number, or None."""
    try:
        number = float(text.replace("_", "?"))  # only Python accepts 1_000 as a number
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _whole(text: str) -> int | None:
    """Return a whole number, or None."""
    number = _number(text)
    return int(number) if number is not None and number == int(number) else None
