"""Reader of VESTA files: CELLP, GROUP, SYMOP, STRUC with occupancies, THERI and THERT with displacements."""

import re

import numpy as np

from stemtwin.twin.errors import StructureFileError
from stemtwin.twin.samples.crystal import B_OVER_U, Crystal
from stemtwin.twin.samples.readers.content_faults import Claims
from stemtwin.twin.samples.readers.element_symbols import element_number
from stemtwin.twin.samples.readers.file_content import FileContent, floats, unit_cell
from stemtwin.twin.samples.readers.orbits import IDENTITY, Operations
from stemtwin.twin.samples.readers.sites import crystal_of, listed_sites
from stemtwin.twin.samples.readers.symmetry_choice import SymmetryCandidate, choose_setting


def is_vesta(content: FileContent) -> bool:
    """Return True if a file begins like a VESTA file or has the sections CELLP and STRUC."""
    return content.text.startswith("#VESTA_FORMAT_VERSION") or all(
        re.search(rf"^{word}\b", content.text, re.MULTILINE) for word in ("CELLP", "STRUC")
    )


def read_vesta(content: FileContent) -> Crystal:
    """Return the structure of the first phase in a VESTA file.

    Raises
    ------
    StructureFileError
        A section is missing or cannot be read.
    """
    cell = unit_cell(content.name, (_rows(content, "CELLP") or [[np.nan] * 6])[0][:6])
    rows = [line.split() for line in _lines(content, "STRUC")][::2]
    values = [floats(row[3:7]) for row in rows]
    if not rows or any(value is None or len(value) < 4 for value in values):
        message = f"{content.path} is not a structure that can be read: its section STRUC holds no readable atoms. Repair the file."
        raise StructureFileError(message)
    table = np.array(values, dtype=float)
    sites = listed_sites(
        tuple(row[2] for row in rows),
        np.array([element_number(row[1], content.name) for row in rows]),
        table[:, 1:4],
        table[:, 0],
        _displacements(content, rows),
    )
    operations = _operations(content)
    candidates = [SymmetryCandidate(operations=operations, source="the operations that the file lists")]
    choice = choose_setting(content.name, cell, sites, candidates, Claims())
    return crystal_of(content.name, cell, choice.expansion, notes=choice.notes, doubts=choice.doubts)


def _lines(content: FileContent, section: str) -> list[str]:
    """Return the lines of the first section with a name, up to its line of zeros or the next section."""
    found = re.search(rf"^{section}\b.*\n((?:[ \t].*\n?)*)", content.text, re.MULTILINE)
    lines = found[1].split("\n") if found else []
    return [line for line in lines if line.strip() and not re.fullmatch(r"\s*0(\s+0)*\s*", line) and not re.fullmatch(r"\s*-1(\s+-1)*\s*", line)]


def _rows(content: FileContent, section: str) -> list[list[float]]:
    return [row for line in _lines(content, section) if (row := floats(line.split())) is not None]


def _operations(content: FileContent) -> Operations:
    """Return the operations, each a line of three translations and nine whole numbers."""
    found = re.search(r"^SYMOP\b.*\n((?:[ \t].*\n?)*)", content.text, re.MULTILINE)
    rows = [floats(line.split()) for line in (found[1].split("\n") if found else [])]
    kept = [row for row in rows if row is not None and len(row) >= 12 and abs(abs(np.linalg.det(np.reshape(row[3:12], (3, 3)))) - 1) < 1e-6]
    if not kept:
        return IDENTITY
    table = np.array([row[:12] for row in kept])
    return Operations(rotations=table[:, 3:].reshape(-1, 3, 3), translations=table[:, :3] % 1.0)


def _displacements(content: FileContent, rows: list[list[str]]) -> np.ndarray | None:
    """Return U (n,), A^2, from the isotropic section, which holds U or B, or None where no value is above 0."""
    found = re.search(r"^THERI\s+(\d)", content.text, re.MULTILINE)
    values = {line.split()[0]: (floats(line.split()[2:3]) or [np.nan])[0] for line in _lines(content, "THERI") if len(line.split()) >= 3}
    u = np.array([values.get(row[0], np.nan) for row in rows]) / (1.0 if found and found[1] == "1" else B_OVER_U)
    return u if np.any(u > 0) else None
