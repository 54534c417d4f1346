"""Readers of image-simulator formats, which list all atoms with occupancies and displacements.

Prismatic and computem files list ``Z x y z occupancy rms`` after the cell, with lengths in A. The ``.cfg`` files of QSTEM
and AtomEye have occupancies, and B in A^2. The ``.cel`` files of Dr. Probe and the ``.txt`` files of JEMS have lengths in nm
and B in nm^2. The ``.xtl`` files of muSTEM have mean square displacements in A^2.
"""

import re

import numpy as np

from stemtwin.twin.errors import StructureFileError
from stemtwin.twin.samples.crystal import B_OVER_U, Crystal
from stemtwin.twin.samples.readers.content_faults import Claims
from stemtwin.twin.samples.readers.element_symbols import element_number
from stemtwin.twin.samples.readers.file_content import FileContent, floats, unit_cell
from stemtwin.twin.samples.readers.orbits import listed_operations
from stemtwin.twin.samples.readers.sites import crystal_of, crystal_of_rows, listed_sites
from stemtwin.twin.samples.readers.symmetry_choice import SymmetryCandidate, choose_setting

NM2 = 100.0  # A^2
NM = 10.0  # A
_H0 = re.compile(r"H0\s*\(\s*(\d)\s*,\s*(\d)\s*\)\s*=\s*(\S+)")


def _crystal(
    content: FileContent, cell: np.ndarray, rows: list[tuple[int, list[float]]], u: np.ndarray | None, *, cartesian: bool = False
) -> Crystal:
    """Return the crystal of rows that hold an element, three coordinates and an occupancy."""
    if not rows:
        message = f"{content.path} is not a structure that can be read: it lists no atoms. Give a structure file."
        raise StructureFileError(message)
    table = np.array([row[1][:4] for row in rows], dtype=float)
    places = table[:, :3] @ np.linalg.inv(cell) if cartesian else table[:, :3]
    labels = tuple(str(at + 1) for at in range(len(rows)))
    sites = listed_sites(labels, np.array([row[0] for row in rows]), places, table[:, 3], u)
    return crystal_of_rows(content.name, cell, sites)


def _broken(content: FileContent, line: str) -> StructureFileError:
    return StructureFileError(f"{content.path} is not a structure that can be read: {line.strip()[:60]!r} is not a line of its format. Repair it.")


def is_prismatic(content: FileContent) -> bool:
    """Return True if the second line of a file has three lengths, and the third line an element and 4 or 5 numbers."""
    lines = [line.split() for line in content.lines[1:3]]
    if len(lines) < 2 or len(lines[0]) != 3 or floats(lines[0]) is None:
        return False
    return len(lines[1]) in (5, 6) and floats(lines[1][1:]) is not None and re.fullmatch(r"\d{1,3}|[A-Z][a-z]?", lines[1][0]) is not None


def read_prismatic(content: FileContent) -> Crystal:
    """Return the structure of an xyz file of Prismatic or computem. The list of atoms ends with a line -1."""
    lengths = np.array(floats(content.lines[1].split()))
    if np.any(lengths <= 0):
        unit_cell(content.name, [*lengths, 90, 90, 90])
    rows, rms = [], []
    for line in content.lines[2:]:
        words = line.split()
        if not words:
            continue
        if words[0] == "-1":
            break
        values = floats(words[1:6])
        if values is None or len(values) < 4:
            raise _broken(content, line)
        rows.append((element_number(words[0], content.name), values))
        rms.append(values[4] if len(values) > 4 else np.nan)
    return _crystal(content, np.diag(lengths), rows, np.array(rms) ** 2, cartesian=True)


def is_cfg(content: FileContent) -> bool:
    """Return True if a file begins like a .cfg file of AtomEye or QSTEM."""
    return re.search(r"^\s*Number of particles\s*=", content.text[:2000], re.MULTILINE) is not None and "H0(" in content.text.replace(" ", "")


def read_cfg(content: FileContent) -> Crystal:
    """Return the structure of a .cfg file of QSTEM or AtomEye.

    The columns of QSTEM are x, y, z, B, occupancy and charge. In a file of AtomEye, B and occupancy are read from
    auxiliary columns with known names, such as ``b``, ``biso`` or ``occ``.
    """
    matrix, scale, extended, names, start = np.zeros((3, 3)), 1.0, False, [], 0
    for at, line in enumerate(content.lines):
        text = line.split("#")[0].strip()
        if found := _H0.match(text):
            matrix[int(found[1]) - 1, int(found[2]) - 1] = (floats([found[3]]) or [np.nan])[0]
        elif found := re.match(r"A\s*=\s*(\S+)", text):
            scale = (floats([found[1]]) or [1.0])[0]
        elif found := re.match(r"entry_count\s*=\s*(\d+)", text):
            extended = True
        elif found := re.match(r"auxiliary\[(\d+)\]\s*=\s*(\S+)", text):
            names.append(found[2].lower())
        elif text and "=" not in text and not text.startswith("."):
            start = at
            break
    rows, u, number = [], [], 0
    velocities = ".NO_VELOCITY." not in content.text
    for line in content.lines[start:]:
        words = line.split("#")[0].split()
        values = floats(words)
        if not words or (len(words) == 1 and values is not None):
            continue  # a mass
        if len(words) == 1:
            number = element_number(words[0], content.name)
            continue
        if not extended and values is None:
            number, values = element_number(words[1], content.name), floats(words[2:])
        if values is None or len(values) < 3 or not number:
            raise _broken(content, line)
        own, share = _auxiliary(values[6 if extended and velocities else 3 :], names if extended else ["velocity"])
        rows.append((number, [*values[:3], share]))
        u.append(own)
    return _crystal(content, scale * matrix, rows, np.array(u))


def _auxiliary(values: list[float], names: list[str]) -> tuple[float, float]:
    """Return U (A^2, nan where unknown) and the occupancy in the columns after the coordinates, by default QSTEM's."""
    named = dict(zip(names or ["dw", "occ", "charge"], values, strict=False))
    factor = next((named[key] for key in ("dw", "b", "biso", "debye-waller") if key in named), np.nan)
    return factor / B_OVER_U, next((named[key] for key in ("occ", "occupancy") if key in named), 1.0)


def is_cel(content: FileContent) -> bool:
    """Return True if the second line of a file has 0 and a cell of six numbers, and the third line a species."""
    lines = [line.split() for line in content.lines[1:3]]
    if len(lines) < 2 or len(lines[0]) < 7 or lines[0][0] != "0" or floats(lines[0][1:7]) is None:
        return False
    return len(lines[1]) >= 6 and floats(lines[1][1:6]) is not None and lines[1][0][:1].isalpha()


def read_cel(content: FileContent) -> Crystal:
    """Return the structure of a .cel file of Dr. Probe.

    The file has the cell in nm, and for each atom the species, fractional coordinates, occupancy and B in nm^2.
    """
    values = floats(content.lines[1].split()[1:7]) or []
    cell = unit_cell(content.name, [*(NM * length for length in values[:3]), *values[3:]])
    rows, u = [], []
    for line in content.lines[2:]:
        words = line.split()
        if not words:
            continue
        if words[0].startswith("*"):
            break
        numbers = floats(words[1:6])
        if numbers is None or len(numbers) < 5:
            raise _broken(content, line)
        rows.append((element_number(words[0], content.name), numbers))
        u.append(numbers[4] * NM2 / B_OVER_U)
    return _crystal(content, cell, rows, np.array(u))


def is_mustem(content: FileContent) -> bool:
    """Return True if a file has the lines of a muSTEM .xtl: title, cell, energy, count, name, and a species."""
    lines = [line.split() for line in content.lines[:6]]
    if len(lines) < 6 or len(lines[1]) != 6 or len(lines[3]) != 1 or not lines[3][0].isdigit() or len(lines[2]) != 1:
        return False
    return floats(lines[1]) is not None and floats(lines[2]) is not None and len(lines[5]) == 4 and floats(lines[5]) is not None


def read_mustem(content: FileContent) -> Crystal:
    """Return the structure of an .xtl file of muSTEM.

    Each species has a line with its name, a line with number of atoms, Z, occupancy and mean square displacement (A^2),
    and one line of fractional coordinates for each atom.
    """
    cell = unit_cell(content.name, floats(content.lines[1].split()) or [])
    rows, u, at = [], [], 4
    for _ in range(int(content.lines[3])):
        head = floats(content.lines[at + 1].split()) if at + 1 < len(content.lines) else None
        if head is None or len(head) < 4:
            raise _broken(content, content.lines[min(at + 1, len(content.lines) - 1)])
        count, number = int(head[0]), int(head[1])
        for line in content.lines[at + 2 : at + 2 + count]:
            values = floats(line.split()[:3])
            if values is None or len(values) < 3:
                raise _broken(content, line)
            rows.append((element_number(str(number), content.name), [*values, head[2]]))
            u.append(head[3])
        at += 2 + count
    return _crystal(content, cell, rows, np.array(u))


def is_jems(content: FileContent) -> bool:
    """Return True if a file has lines such as ``lattice|0|0.39`` and ``atom|0|Sr,a,0,0,0,0.005,1.0,0.03``."""
    return all(re.search(rf"^{word}\|\d+\|", content.text, re.MULTILINE) for word in ("lattice", "atom"))


def read_jems(content: FileContent) -> Crystal:
    """Return the structure of a JEMS file.

    The file has the cell in nm, atoms with B in nm^2, and symmetry operations (``rps``) if it lists any.
    """
    lengths = {int(at): value for at, value in re.findall(r"^lattice\|(\d)\|([^|\s]+)", content.text, re.MULTILINE)}
    values = floats([lengths.get(at, "nan") for at in range(6)]) or []
    cell = unit_cell(content.name, [*(NM * length for length in values[:3]), *values[3:]])
    rows, u = [], []
    for line in re.findall(r"^atom\|\d+\|(.*)$", content.text, re.MULTILINE):
        words = [word.strip() for word in line.replace("|", ",").split(",")]
        numbers = floats(words[2:7])
        if numbers is None or len(numbers) < 3:
            raise _broken(content, line)
        rows.append((element_number(words[0], content.name), [*numbers[:3], numbers[4] if len(numbers) > 4 else 1.0]))
        u.append(numbers[3] * NM2 / B_OVER_U if len(numbers) > 3 else np.nan)
    try:
        operations = listed_operations(re.findall(r"^rps\|\d+\|([^|\n]*)", content.text, re.MULTILINE) or ["x,y,z"])
    except ValueError as error:
        raise _broken(content, str(error)) from error
    table = np.array([row[1] for row in rows])
    labels = tuple(str(at + 1) for at in range(len(rows)))
    sites = listed_sites(labels, np.array([row[0] for row in rows]), table[:, :3], table[:, 3], np.array(u))
    candidates = [SymmetryCandidate(operations=operations, source="the operations that the file lists")]
    choice = choose_setting(content.name, cell, sites, candidates, Claims())
    return crystal_of(content.name, cell, choice.expansion, notes=choice.notes, doubts=choice.doubts)
