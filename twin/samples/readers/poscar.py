"""Reader of POSCAR and CONTCAR files of VASP, in all variants of scale, coordinates and symbols."""

import re

import numpy as np

from stemtwin.twin.errors import StructureFileError
from stemtwin.twin.samples.crystal import Crystal
from stemtwin.twin.samples.readers.element_symbols import element_number
from stemtwin.twin.samples.readers.file_content import FileContent, floats
from stemtwin.twin.samples.readers.sites import crystal_of_rows, listed_sites


def is_poscar(content: FileContent) -> bool:
    """Return True if a file begins like a POSCAR.

    The first lines are a comment, one or three scale factors, three lattice vectors, optional symbols, and counts.
    """
    lines = [line.split("!")[0].split("#")[0].split() for line in content.lines[:7]]
    if len(lines) < 7 or len(lines[1]) not in (1, 3) or floats(lines[1]) is None:
        return False
    if any(len(line) < 3 or floats(line[:3]) is None for line in lines[2:5]):
        return False
    counts = lines[5] if lines[5] and lines[5][0].isdigit() else lines[6]
    return (
        bool(counts) and all(word.isdigit() for word in counts) and (counts is lines[5] or re.match(r"[A-Za-z]", (lines[5] or ["1"])[0]) is not None)
    )


def read_poscar(content: FileContent) -> Crystal:
    """Return the structure of a POSCAR.

    Raises
    ------
    StructureFileError
        The file does not name its elements, or a line cannot be read.
    """
    lines = [re.split(r"[!#]", line)[0].strip() for line in content.lines]
    scale = np.array(floats(lines[1].split()), dtype=float)
    cell = np.array([(floats(line.split()[:3]) or [np.nan] * 3) for line in lines[2:5]], dtype=float)
    if scale.size == 1 and scale[0] < 0:  # a volume
        scale = np.cbrt(-scale / max(abs(np.linalg.det(cell)), 1e-12))
    cell = cell * scale
    named = not lines[5].split()[0].isdigit()
    words = lines[5].split() if named else _words_of_comment(content, lines)
    counts = [int(word) for word in lines[6 if named else 5].split()]
    if len(words) != len(counts):
        message = f"{content.path} has {len(words)} symbols for {len(counts)} counts of atoms. Repair the file."
        raise StructureFileError(message)
    numbers = np.repeat([element_number(re.split(r"[_/]", word)[0], content.name) for word in words], counts)
    at = 7 if named else 6
    if lines[at][:1].lower() == "s":
        at += 1
    cartesian = lines[at][:1].lower() in ("c", "k")
    rows = [floats(line.split()[:3]) for line in lines[at + 1 : at + 1 + len(numbers)]]
    if len(rows) < len(numbers) or any(row is None or len(row) < 3 for row in rows):
        message = f"{content.path} is not a structure that can be read: it announces {len(numbers)} atoms but holds fewer. Repair the file."
        raise StructureFileError(message)
    places = np.array(rows, dtype=float).reshape(-1, 3)
    if cartesian:
        flat = abs(np.linalg.det(cell)) < 1e-3
        places = np.zeros_like(places) if flat else (places * scale) @ np.linalg.inv(cell)
    return crystal_of_rows(content.name, cell, listed_sites(tuple(str(row + 1) for row in range(len(numbers))), numbers, places))


def _words_of_comment(content: FileContent, lines: list[str]) -> list[str]:
    """Return the symbols in the comment line of an old POSCAR, one for each count."""
    words = content.lines[0].split()
    count = len(lines[5].split())
    if len(words) >= count and all(re.fullmatch(r"[A-Z][a-z]?", word) for word in words[:count]):
        return words[:count]
    message = f"{content.name} does not name its elements (a POSCAR of VASP 4). Write their symbols in a line above the counts of atoms."
    raise StructureFileError(message)
