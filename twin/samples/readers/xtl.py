"""Reader of .xtl files of GSAS, CrystalMaker and Materials Studio, with sections CELL, SYMMETRY and ATOMS, up to EOF."""

import re

import numpy as np

from stemtwin.twin.errors import StructureFileError
from stemtwin.twin.samples.crystal import B_OVER_U, Crystal
from stemtwin.twin.samples.readers.content_faults import Claims
from stemtwin.twin.samples.readers.element_symbols import species_of_label, species_of_type
from stemtwin.twin.samples.readers.file_content import FileContent, floats, unit_cell
from stemtwin.twin.samples.readers.orbits import IDENTITY, listed_operations, operations_of_group
from stemtwin.twin.samples.readers.sites import crystal_of, listed_sites
from stemtwin.twin.samples.readers.space_groups import NamedSettings, settings_of_name, settings_of_number
from stemtwin.twin.samples.readers.symmetry_choice import SymmetryCandidate, choose_setting, sites_alone


def is_xtl(content: FileContent) -> bool:
    """Return True if a file has the sections CELL and ATOMS, and ATOMS begins with a line of column names."""
    text = content.text.upper()
    return all(re.search(pattern, text, re.MULTILINE) for pattern in (r"^\s*CELL\b", r"^\s*ATOMS\b\s*\n\s*NAME\s+X\s+Y\s+Z"))


def read_xtl(content: FileContent) -> Crystal:
    """Return the structure of an .xtl file with its named or listed symmetry.

    Raises
    ------
    StructureFileError
        A line cannot be read, or an element or the space group is unknown.
    """
    found = re.search(r"^\s*CELL\b\s*((?:[-+.\dEe]+\s+){5}[-+.\dEe]+)", content.text, re.MULTILINE | re.IGNORECASE)
    if not found:
        message = f"{content.path} is not a structure that can be read: CELL does not have six numbers. Repair the file."
        raise StructureFileError(message)
    cell = unit_cell(content.name, floats(found[1].split()) or [])
    lines = content.lines
    start = next(at for at, line in enumerate(lines) if line.strip().upper().startswith("ATOMS"))
    names = lines[start + 1].upper().split()
    rows = []
    for line in lines[start + 2 :]:
        if line.strip().upper().startswith("EOF"):
            break
        if line.strip():
            rows.append(dict(zip(names, line.split(), strict=False)))
    sites = _sites(content, rows)
    candidates, unique = _candidates(content)
    choice = choose_setting(content.name, cell, sites, candidates, Claims(), unique=unique)
    return crystal_of(content.name, cell, choice.expansion, notes=choice.notes, doubts=choice.doubts)


def _sites(content: FileContent, rows: list[dict[str, str]]):
    values = [floats([row.get(key, "nan") for key in ("X", "Y", "Z")]) for row in rows]
    if not rows or any(value is None or not np.all(np.isfinite(value)) for value in values):
        message = f"{content.path} is not a structure that can be read: an atom lacks X, Y, Z. Repair the file."
        raise StructureFileError(message)
    kinds = [species_of_type(row["SCATTER"], content.name) if row.get("SCATTER") else species_of_label(row["NAME"], content.name) for row in rows]
    occupancy = [(floats([row.get(key, "1") for key in ("OCCUPANCY",)]) or [1.0])[0] for row in rows]
    u = [(floats([row.get("UISO", "nan")]) or [np.nan])[0] for row in rows]
    b = [(floats([row.get("TEMP", row.get("BISO", "nan"))]) or [np.nan])[0] / B_OVER_U for row in rows]
    displacements = np.where(np.isnan(u), b, u)
    numbers = np.array([kind[0][0] for kind in kinds])
    labels = tuple(row["NAME"] for row in rows)
    return listed_sites(labels, numbers, np.array(values), np.array(occupancy), displacements if np.any(displacements > 0) else None)


def _candidates(content: FileContent) -> tuple[list[SymmetryCandidate], bool]:
    """Return the readings of the SYMMETRY lines, and whether the first one is unambiguous."""
    text = content.text
    listed = re.findall(r"^\s*SYM(?:METRY)?\s+(?:MAT\s+)?((?:[-+xyzXYZ\d./ ]+,){2}[-+xyzXYZ\d./ ]+)\s*$", text, re.MULTILINE)
    if listed:
        return [SymmetryCandidate(operations=listed_operations(["x,y,z", *listed]), source="the operations that the file lists"), sites_alone()], True
    label = re.search(r"^\s*SYMMETRY\b.*\bLABEL\s+(.+?)\s*(?:QUALIFIER.*)?$", text, re.MULTILINE | re.IGNORECASE)
    number = re.search(r"^\s*SYMMETRY\b.*\bNUMBER\s+(\d+)", text, re.MULTILINE | re.IGNORECASE)
    named = settings_of_name(label[1]) if label else NamedSettings(settings=(), unique=False)
    if not named.settings and number:
        own = settings_of_number(int(number[1]))
        named = NamedSettings(settings=own, unique=len(own) == 1)
    if label and not named.settings:
        message = f"{content.name} names the space group {label[1]!r}, which is unknown. Correct its line SYMMETRY."
        raise StructureFileError(message)
    if not named.settings:
        return [SymmetryCandidate(operations=IDENTITY, source="the listed sites as the whole cell")], True
    found = [SymmetryCandidate(operations=operations_of_group(one.operations()), source=f"the operations of {one.xhm()!r}") for one in named.settings]
    return [*found, sites_alone()], named.unique
