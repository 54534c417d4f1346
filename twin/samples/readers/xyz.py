"""Reader of the xyz format, plain (an isolated group of atoms) and extended (with a lattice and named columns)."""

import json
import re

import numpy as np

from stemtwin.twin.errors import StructureFileError
from stemtwin.twin.samples.crystal import B_OVER_U, Crystal
from stemtwin.twin.samples.readers.ase_formats import mixed_rows
from stemtwin.twin.samples.readers.element_symbols import element_number
from stemtwin.twin.samples.readers.file_content import FileContent, floats
from stemtwin.twin.samples.readers.lattice_vacuum import add_vacuum
from stemtwin.twin.samples.readers.sites import crystal_of_rows, listed_sites

OCCUPANCIES = ("occupancy", "occupancies", "occ")
DISPLACEMENTS = {  # function that converts a column to U in A^2
    "thermal_sigma_angstrom": lambda value: value**2,
    "rms": lambda value: value**2,
    "u_iso": lambda value: value,
    "uiso": lambda value: value,
    "u_iso_or_equiv": lambda value: value,
    "b_iso": lambda value: value / B_OVER_U,
    "biso": lambda value: value / B_OVER_U,
    "b_iso_or_equiv": lambda value: value / B_OVER_U,
    "debye_waller_factors": lambda value: value / B_OVER_U,
}
_PAIR = re.compile(r"""([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|\[([^\]]*)\]|\{([^}]*)\}|(\S+))""")


def is_xyz(content: FileContent) -> bool:
    """Return True if a file begins like an xyz file.

    The first line is the number of atoms, and the second line is a comment. The third line is a species with three
    numbers, or the comment names the columns.
    """
    lines = content.lines
    if len(lines) < 3 or not re.fullmatch(r"\s*\d+\s*", lines[0]):
        return False
    words = lines[2].split()
    plain = len(words) >= 4 and floats(words[1:4]) is not None and re.match(r"[A-Za-z]|\d{1,3}$", words[0]) is not None
    return plain or "properties=" in lines[1].lower().replace(" ", "")


def read_xyz(content: FileContent) -> Crystal:
    """Return the structure of the requested frame, by default the last frame.

    Raises
    ------
    StructureFileError
        A line cannot be read, or an element is unknown.
    """
    starts, at = [], 0
    lines = content.lines
    while at < len(lines) and lines[at].strip():
        found = re.fullmatch(r"\s*(\d+)\s*", lines[at])
        if not found:
            break
        starts.append(at)
        at += int(found[1]) + 2
    index, notes = content.pick([""] * len(starts), len(starts) - 1, "frames")
    start = starts[index]
    count = int(lines[start])
    rows = [line.split() for line in lines[start + 2 : start + 2 + count]]
    settings = {found[0].lower(): next((part for part in found[1:] if part), "") for found in _PAIR.findall(lines[start + 1])}
    columns = _columns(settings.get("properties", "species:S:1:pos:R:3"))
    if len(rows) < count or any(len(row) <= max(columns[key][-1] for key in ("species", "pos")) for row in rows):
        message = f"{content.path} is not a structure that can be read: it announces {count} atoms but holds fewer. Repair the file."
        raise StructureFileError(message)
    positions = _numbers(content.name, rows, columns["pos"])
    numbers = np.array([element_number(row[columns["species"][0]], content.name) for row in rows])
    occupancy = next((_numbers(content.name, rows, columns[key])[:, 0] for key in OCCUPANCIES if key in columns), None)
    u = next((scale(_numbers(content.name, rows, columns[key])[:, 0]) for key, scale in DISPLACEMENTS.items() if key in columns), None)
    pick = np.arange(count)
    if (shares := settings.get("occupancy", "")).startswith("_JSON") and "spacegroup_kinds" in columns:  # mixed sites in ASE's notation
        kinds = _numbers(content.name, rows, columns["spacegroup_kinds"])[:, 0]
        pick, numbers, occupancy = mixed_rows([row[columns["species"][0]] for row in rows], kinds, json.loads(shares[5:].replace("\\", "")))
    return _placed(content.name, positions[pick], numbers, occupancy, None if u is None else u[pick], settings, notes)


def _columns(text: str) -> dict[str, list[int]]:
    """Return the columns of each property of a text ``species:S:1:pos:R:3``, by lower-case name."""
    parts = text.split(":")
    columns, at = {}, 0
    for name, width in zip(parts[0::3], parts[2::3], strict=False):
        columns[name.lower()] = list(range(at, at + int(width)))
        at += int(width)
    if "species" not in columns and "z" in columns:
        columns["species"] = columns["z"]
    return {"species": [0], "pos": [1, 2, 3]} | columns


def _numbers(name: str, rows: list[list[str]], columns: list[int]) -> np.ndarray:
    """Return given columns (n, c) as numbers."""
    values = [floats([row[at] for at in columns if at < len(row)]) for row in rows]
    if any(value is None or len(value) != len(columns) for value in values):
        first = next(at for at, value in enumerate(values) if value is None or len(value) != len(columns))
        message = f"{name} is not a structure that can be read: atom {first + 1} has {' '.join(rows[first])!r} in place of numbers. Repair the file."
        raise StructureFileError(message)
    return np.array(values, dtype=float).reshape(len(rows), len(columns))


def _placed(
    name: str,
    positions: np.ndarray,
    numbers: np.ndarray,
    occupancy: np.ndarray | None,
    u: np.ndarray | None,
    settings: dict[str, str],
    notes: tuple[str, ...],
) -> Crystal:
    """Return the structure in its lattice, or as an isolated group without a lattice or a periodic direction."""
    labels = tuple(str(at + 1) for at in range(len(numbers)))
    vectors = floats(settings.get("lattice", settings.get("cell", "")).replace(",", " ").split()) or []
    repeats = [word.strip(",")[:1].upper() in ("T", "1") for word in settings.get("pbc", "T T T").split()][:3]
    pbc = np.array(repeats if len(repeats) == 3 else [True] * 3)
    if len(vectors) not in (3, 9) or not pbc.any():
        sites = listed_sites(labels, numbers, positions, occupancy, u)
        return crystal_of_rows(name, np.zeros((3, 3)), sites, isolated=True, notes=notes)
    cell = np.diag(vectors) if len(vectors) == 3 else np.array(vectors).reshape(3, 3)
    cell, more = add_vacuum(cell, pbc, positions)
    flat = abs(np.linalg.det(cell)) < 1e-3
    places = np.zeros_like(positions) if flat else positions @ np.linalg.inv(cell)
    return crystal_of_rows(name, cell, listed_sites(labels, numbers, places, occupancy, u), notes=(*notes, *more))
