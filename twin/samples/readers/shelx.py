"""Reader of SHELX files, .res and .ins, with cell, symmetry, free variables, riding displacements and occupancies.

In these files, occupancies are divided by the order of the site symmetry.
"""

import re

import numpy as np

from stemtwin.twin.errors import StructureFileError
from stemtwin.twin.samples.crystal import Crystal
from stemtwin.twin.samples.readers.content_faults import Claims
from stemtwin.twin.samples.readers.element_symbols import element_number
from stemtwin.twin.samples.readers.file_content import FileContent, floats, unit_cell
from stemtwin.twin.samples.readers.orbits import IDENTITY, Operations, closed, listed_operations, orbit_of, product
from stemtwin.twin.samples.readers.sites import ListedSites, crystal_of, listed_sites
from stemtwin.twin.samples.readers.symmetry_choice import SymmetryCandidate, choose_setting

CENTRINGS = {
    1: [],
    2: [(0.5, 0.5, 0.5)],
    3: [(2 / 3, 1 / 3, 1 / 3), (1 / 3, 2 / 3, 2 / 3)],
    4: [(0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)],
    5: [(0, 0.5, 0.5)],
    6: [(0.5, 0, 0.5)],
    7: [(0.5, 0.5, 0)],
}
INSTRUCTIONS = set(
    "ABIN ACTA AFIX ANIS ANSC ANSR BASF BIND BLOC BOND BUMP CELL CGLS CHIV CONF CONN DAMP DANG DEFS DELU DFIX DISP EADP END EQIV EXTI EXYZ FEND FLAT "
    "FMAP FRAG FREE FVAR GRID HFIX HKLF HTAB ISOR LATT LAUE LIST L.S. MERG MORE MOVE MPLA NCSY NEUT OMIT PART PLAN PRIG REM RESI RIGU RTAB SADI SAME "
    "SFAC SHEL SIMU SIZE SPEC STIR SUMP SWAT SYMM TEMP TITL TWIN TWST UNIT WGHT WIGL WPDB XNPD ZERR".split()
)


def is_shelx(content: FileContent) -> bool:
    """Return True if a file has the instructions CELL, with a wavelength, and SFAC."""
    text = content.text.upper()
    return re.search(r"^CELL\s+[\d.]+(\s+[\d.]+){6}", text, re.MULTILINE) is not None and re.search(r"^SFAC\s", text, re.MULTILINE) is not None


def read_shelx(content: FileContent) -> Crystal:
    """Return the structure of a .res or .ins file. Maxima of difference maps (Q peaks) are left out.

    Raises
    ------
    StructureFileError
        A line cannot be read, an element is unknown, or the file holds no atoms.
    """
    lines = _joined(content)
    words = {line.split()[0].upper(): line.split()[1:] for line in reversed(lines) if line.split()[0].upper() in INSTRUCTIONS}
    cell = unit_cell(content.name, floats(words["CELL"][1:7]) or [])
    elements = [word for line in lines if line.split()[0].upper() == "SFAC" for word in line.split()[1:] if re.match(r"[A-Za-z]", word)]
    operations = _operations(content, lines, words)
    variables = [value for line in lines if line.split()[0].upper() == "FVAR" for value in (floats(line.split()[1:]) or [])]
    sites = _atoms(content, lines, elements, variables, cell)
    order = [len(operations) / len(orbit_of(place, operations, cell, 0.05).images) for place in sites.fractional]
    occupancy = sites.occupancy * np.array(order)
    occupancy = np.where(np.abs(occupancy - 1) < 0.02, 1.0, occupancy)
    sites = listed_sites(sites.labels, sites.numbers, sites.fractional, occupancy, sites.u, digits=5)
    claims = Claims(formula=_unit(content, words, elements))
    candidates = [SymmetryCandidate(operations=operations, source="the operations that the file lists")]
    choice = choose_setting(content.name, cell, sites, candidates, claims)
    return crystal_of(content.name, cell, choice.expansion, notes=choice.notes, doubts=choice.doubts)


def _joined(content: FileContent) -> list[str]:
    """Return the lines up to the end of the model, with continued lines joined and without comments."""
    lines: list[str] = []
    more = False
    for raw in content.lines:
        line = raw.split("!")[0].rstrip()
        keyword = line.split()[0].upper() if line.split() else ""
        if more:
            lines[-1] += " " + line.rstrip("=")
        elif keyword and keyword != "REM":
            if keyword in ("HKLF", "END"):
                break
            lines.append(line.rstrip("="))
        more = line.endswith("=") and (more or bool(keyword))
    return lines


def _operations(content: FileContent, lines: list[str], words: dict[str, list[str]]) -> Operations:
    """Return the group of LATT (centring; a negative number means no inversion) and SYMM."""
    lattice = int((floats(words.get("LATT", ["1"])[:1]) or [1.0])[0])
    try:
        symmetry = listed_operations(["x,y,z", *(line[4:].strip() for line in lines if line.upper().startswith("SYMM"))])
    except ValueError as error:
        message = f"{content.name} has a symmetry operation that cannot be read ({error}). Repair it."
        raise StructureFileError(message) from error
    if abs(lattice) not in CENTRINGS:
        message = f"{content.name} has LATT {lattice}, which must be 1 to 7 or -1 to -7. Repair it."
        raise StructureFileError(message)
    shifts = np.array([(0.0, 0.0, 0.0), *CENTRINGS[abs(lattice)]])
    group = product(Operations(rotations=np.repeat(IDENTITY.rotations, len(shifts), axis=0), translations=shifts), symmetry)
    if lattice > 0:
        group = product(Operations(rotations=np.array([np.eye(3), -np.eye(3)]), translations=np.zeros((2, 3))), group)
    return closed(group)


def _atoms(content: FileContent, lines: list[str], elements: list[str], variables: list[float], cell: np.ndarray) -> ListedSites:
    """Return the atoms with their occupancies, which are still divided by the order of the site symmetry."""
    labels, numbers, places, occupancy, u = [], [], [], [], []
    parent = np.nan
    part = 1.0
    for line in lines:
        words = line.split()
        keyword = words[0].upper()
        if keyword == "PART":
            part = (floats(words[2:3]) or [1.0])[0]
        if keyword.split("_")[0] in INSTRUCTIONS or re.fullmatch(r"Q\d+", keyword) or not re.match(r"[A-Z]", keyword):
            continue
        values = floats(words[2:])
        if not words[1:2] or not words[1].isdigit() or values is None or len(values) < 3 or not 0 < int(words[1]) <= len(elements):
            message = f"{content.name} has a line that is neither an instruction nor an atom: {line.strip()[:60]!r}. Repair it."
            raise StructureFileError(message)
        parent, own = _displacement(values[4:], parent, variables, cell)
        labels.append(words[0])
        numbers.append(element_number(elements[int(words[1]) - 1].lstrip("$"), content.name))
        places.append([_free(value, variables) for value in values[:3]])
        occupancy.append(_free(values[3] if len(values) > 3 else part * 11.0 if part < 10 else part, variables))
        u.append(own)
    if not labels:
        message = f"{content.path} holds no atoms. Give a .res with the atoms of the model."
        raise StructureFileError(message)
    return listed_sites(tuple(labels), np.array(numbers), np.array(places), np.array(occupancy), np.array(u))


def _free(value: float, variables: list[float]) -> float:
    """Return the value of a parameter: p for 10 + p, p v_m for 10 m + p, p (1 - v_m) for -(10 m + p)."""
    if abs(value) < 5:
        return value
    index = round(abs(value) / 10)
    factor = abs(value) - 10 * index
    if index == 1:
        return factor if value > 0 else -factor
    variable = variables[index - 1] if index <= len(variables) else 1.0
    return factor * variable if value > 0 else factor * (1 - variable)


def _displacement(values: list[float], parent: float, variables: list[float], cell: np.ndarray) -> tuple[float, float]:
    """Return U (A^2) of the last non-riding atom and of this one; -1.2 means 1.2 times the parent's U."""
    if len(values) >= 6:
        u11, u22, u33, u23, u13, u12 = (_free(value, variables) for value in values[:6])
        tensor = np.array([[u11, u12, u13], [u12, u22, u23], [u13, u23, u33]])
        reciprocal = np.linalg.norm(np.linalg.inv(cell), axis=0)
        own = float(np.sum(tensor * np.outer(reciprocal, reciprocal) * (cell @ cell.T)) / 3)
        return own, own
    if not values:
        return parent, np.nan
    value = values[0]
    if -5 < value < -0.5:
        return parent, -value * parent
    own = _free(value, variables)
    return own, own


def _unit(content: FileContent, words: dict[str, list[str]], elements: list[str]) -> dict[int, float]:
    """Return the content of the cell by UNIT, or {} where UNIT does not have a count for each element."""
    counts = floats(words.get("UNIT", [])) or []
    if len(counts) != len(elements):
        return {}
    return {element_number(element.lstrip("$"), content.name): count for element, count in zip(elements, counts, strict=True) if count > 0}
