"""Readers of LAMMPS dumps and data files. Their atoms have numbered types, which the file must assign to elements."""

import re

import numpy as np

from stemtwin.twin.errors import StructureFileError
from stemtwin.twin.samples.crystal import Crystal
from stemtwin.twin.samples.readers.element_symbols import element_number, element_of_mass, symbols
from stemtwin.twin.samples.readers.file_content import FileContent, floats
from stemtwin.twin.samples.readers.lattice_vacuum import add_vacuum
from stemtwin.twin.samples.readers.sites import crystal_of_rows, listed_sites

COORDINATES = (("x", "y", "z"), ("xu", "yu", "zu"), ("xs", "ys", "zs"), ("xsu", "ysu", "zsu"))
STYLES = {
    "atomic": (1, 2),
    "charge": (1, 3),
    "bond": (2, 3),
    "angle": (2, 3),
    "molecular": (2, 3),
    "full": (2, 4),
    "sphere": (1, 4),
    "dipole": (1, 3),
}
"""Columns of the type and of x for each atom style."""
SECTIONS = re.compile(r"^\s*(Masses|Atoms|Velocities|Bonds|Angles|Dihedrals|Impropers|Atom Type Labels|[A-Z][A-Za-z]+ Coeffs)\b\s*(?:#\s*(\w+))?\s*$")


def _broken(content: FileContent, why: str) -> StructureFileError:
    return StructureFileError(f"{content.path} is not a structure that can be read: {why}. Repair the file.")


def is_dump(content: FileContent) -> bool:
    """Return True if a file begins with an ITEM line of a dump."""
    return re.match(r"\s*ITEM: (TIMESTEP|UNITS|TIME|NUMBER OF ATOMS)", content.text[:200]) is not None


def read_dump(content: FileContent) -> Crystal:
    """Return the structure of the requested frame of a dump, by default the last frame.

    Raises
    ------
    StructureFileError
        The atoms have types without elements or masses, or a line cannot be read.
    """
    frames = re.split(r"(?=^ITEM: TIMESTEP)", content.text, flags=re.MULTILINE)
    frames = [frame for frame in frames if "ITEM: ATOMS" in frame]
    if not frames:
        raise _broken(content, "it holds no atoms")
    index, notes = content.pick([""] * len(frames), len(frames) - 1, "frames")
    items = {found[1]: found[2].split("\n") for found in re.finditer(r"^ITEM: (.*)\n((?:(?!ITEM:).*(?:\n|$))*)", frames[index], re.MULTILINE)}
    box = next(key for key in items if key.startswith("BOX BOUNDS")) if any(key.startswith("BOX") for key in items) else ""
    head = next(key for key in items if key.startswith("ATOMS"))
    columns = {name: at for at, name in enumerate(head.split()[1:])}
    rows = [line.split() for line in items[head] if line.strip()]
    cell, origin, pbc = _dump_box(content, box, items.get(box, []))
    numbers = _dump_elements(content, columns, rows)
    names = next((names for names in COORDINATES if all(name in columns for name in names)), None)
    values = [floats([row[columns[name]] for name in names]) for row in rows if names and len(row) >= len(columns)] if names else []
    if names is None or len(values) < len(rows) or any(value is None for value in values):
        raise _broken(content, "its atoms have no readable x, y, z")
    table = np.array(values, dtype=float)
    positions = table @ cell if names[0].startswith("xs") else table - origin
    return _crystal(content, cell, pbc, positions, numbers, notes)


def _dump_box(content: FileContent, head: str, lines: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return lattice vectors (3, 3), origin (3,), and the mask (3,) of the periodic vectors."""
    table = [floats(line.split()) for line in lines[:3]]
    if len(table) < 3 or any(row is None or len(row) < 2 for row in table):
        raise _broken(content, "its box does not have three bounds")
    bounds = np.array([row for row in table if row is not None], dtype=float)
    words = head.split()[2:]
    flags = [word for word in words if re.fullmatch(r"[pfsm]{2}", word)]
    pbc = np.array([flag == "pp" for flag in flags]) if len(flags) == 3 else np.ones(3, dtype=bool)
    if bounds.shape[1] == 4:  # a general triclinic box has vectors and an origin
        return bounds[:, :3], bounds[:, 3], pbc
    low, high = bounds[:, 0].copy(), bounds[:, 1].copy()
    xy, xz, yz = bounds[:, 2] if bounds.shape[1] == 3 else (0.0, 0.0, 0.0)
    low[0] -= min(0.0, xy, xz, xy + xz)
    high[0] -= max(0.0, xy, xz, xy + xz)
    low[1] -= min(0.0, yz)
    high[1] -= max(0.0, yz)
    a, b, c = high - low
    return np.array([[a, 0, 0], [xy, b, 0], [xz, yz, c]]), low, pbc


def _dump_elements(content: FileContent, columns: dict[str, int], rows: list[list[str]]) -> np.ndarray:
    """Return the atomic numbers of the atoms by their elements or masses."""
    if "element" in columns:
        return np.array([element_number(row[columns["element"]], content.name) for row in rows])
    if "mass" in columns:
        found = [element_of_mass((floats([row[columns["mass"]]]) or [-1.0])[0]) for row in rows]
        if all(found):
            return np.array(found)
    kinds = sorted({row[columns["type"]] for row in rows}) if "type" in columns else []
    if kinds and not any(kind.isdigit() for kind in kinds):  # type labels
        return np.array([element_number(row[columns["type"]], content.name) for row in rows])
    raise _untold(content, kinds, "write the dump with an 'element' column (dump ... custom ... id element x y z; dump_modify ... element Mg O)")


def _untold(content: FileContent, kinds: list[str], repair: str) -> StructureFileError:
    return StructureFileError(
        f"{content.name} names its atoms by types ({', '.join(kinds[:8])}), which are not elements. To assign elements, {repair}."
    )


def is_data(content: FileContent) -> bool:
    """Return True if a file has the header of a data file: a number of atoms and the bounds of the box."""
    head = content.text[:4000]
    return re.search(r"^\s*\d+\s+atoms\b", head, re.MULTILINE) is not None and "xlo xhi" in re.sub(r"\s+", " ", head)


def read_data(content: FileContent) -> Crystal:
    """Return the structure of a data file.

    The element of each atom type follows from its mass, from a comment on the mass, or from a type label.

    Raises
    ------
    StructureFileError
        The element of a type is unknown, or a line cannot be read.
    """
    sections = _sections(content)
    text = content.text
    low, high = _bounds(content, text)
    tilt = re.search(r"^\s*(\S+)\s+(\S+)\s+(\S+)\s+xy\s+xz\s+yz", text, re.MULTILINE)
    xy, xz, yz = (floats(list(tilt.groups())) or [0.0] * 3) if tilt else (0.0, 0.0, 0.0)
    a, b, c = high - low
    cell = np.array([[a, 0, 0], [xy, b, 0], [xz, yz, c]])
    style, rows = sections.get("Atoms", ("", []))
    if not rows:
        raise _broken(content, "it has no section Atoms")
    kind, x = _atom_columns(content, style, rows)
    elements = _types(content, sections)
    types = [row[kind] for row in rows]
    unknown = sorted({one for one in types if one not in elements and one.isdigit()})
    if unknown:
        raise _untold(content, unknown, "add a Masses section to the file, with the symbols as comments (1 24.305 # Mg)")
    numbers = np.array([elements.get(one) or element_number(one, content.name) for one in types])
    values = [floats(row[x : x + 3]) for row in rows]
    if any(value is None or len(value) < 3 for value in values):
        raise _broken(content, "an atom has no readable x, y, z")
    told = ", ".join(f"{one}: {symbols([number])[0]}" for one, number in sorted(elements.items()))
    notes = (f"Types were taken as elements by the file's masses ({told}).",) if elements else ()
    return _crystal(content, cell, np.ones(3, dtype=bool), np.array(values, dtype=float) - low, numbers, notes)


def _bounds(content: FileContent, text: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the low and high bounds of the box (3,), A."""
    found = [re.search(rf"^\s*(\S+)\s+(\S+)\s+{axis}lo\s+{axis}hi", text, re.MULTILINE) for axis in "xyz"]
    values = [floats(list(one.groups())) if one else None for one in found]
    if any(value is None for value in values):
        raise _broken(content, "its box does not have three bounds")
    table = np.array(values, dtype=float)
    return table[:, 0], table[:, 1]


def _sections(content: FileContent) -> dict[str, tuple[str, list[list[str]]]]:
    """Return the sections of a data file by name: the comment after the name, and rows of words with their comments."""
    sections: dict[str, tuple[str, list[list[str]]]] = {}
    rows: list[list[str]] | None = None
    for line in content.lines:
        if found := SECTIONS.match(line):
            rows = []
            sections[found[1]] = (found[2] or "", rows)
        elif rows is not None and line.strip():
            data, _, comment = line.partition("#")
            if data.strip():
                rows.append([*data.split(), *([f"#{comment.strip()}"] if comment.strip() else [])])
    return sections


def _atom_columns(content: FileContent, style: str, rows: list[list[str]]) -> tuple[int, int]:
    """Return the columns of type and x, by the named atom style or else by the number of columns."""
    if style in STYLES:
        return STYLES[style]
    words = [word for word in rows[0] if not word.startswith("#")]
    width = len(words)
    if width in (5, 8):
        return STYLES["atomic"]
    if width in (6, 9):
        return STYLES["molecular"] if all(row[2].isdigit() for row in rows) else STYLES["charge"]
    if width in (7, 10):
        return STYLES["full"]
    raise _broken(content, f"its atoms have {width} columns and an unknown style, which the header must name, for example 'Atoms # charge'")


def _types(content: FileContent, sections: dict[str, tuple[str, list[list[str]]]]) -> dict[str, int]:
    """Return the element of each type that the file assigns."""
    elements: dict[str, int] = {}
    for row in sections.get("Masses", ("", []))[1]:
        comment = row[-1][1:].split()[0].rstrip(",;") if row[-1].startswith("#") else ""
        mass = (floats(row[1:2]) or [-1.0])[0]
        by_mass = element_of_mass(mass)
        number = by_mass
        if re.fullmatch(r"[A-Z][a-z]?\d*", comment) and by_mass is None:
            number = element_number(comment, content.name)
        if number:
            elements[row[0]] = number
    for row in sections.get("Atom Type Labels", ("", []))[1]:
        elements.setdefault(row[0], element_number(row[1], content.name))
        elements.setdefault(row[1], elements[row[0]])
    return elements


def _crystal(content: FileContent, cell: np.ndarray, pbc: np.ndarray, positions: np.ndarray, numbers: np.ndarray, notes: tuple[str, ...]) -> Crystal:
    """Return the structure in its box, as an isolated group where the box does not repeat in any direction."""
    labels = tuple(str(at + 1) for at in range(len(numbers)))
    if not pbc.any():
        return crystal_of_rows(content.name, np.zeros((3, 3)), listed_sites(labels, numbers, positions), isolated=True, notes=notes)
    cell, more = add_vacuum(cell, pbc, positions)
    if abs(np.linalg.det(cell)) < 1e-6:
        raise _broken(content, "its box has no volume")
    return crystal_of_rows(content.name, cell, listed_sites(labels, numbers, positions @ np.linalg.inv(cell)), notes=(*notes, *more))
