"""Reader of one crystal from a CIF, which can be magnetic (mCIF) or macromolecular (mmCIF).

gemmi parses the syntax and provides the space groups. The symmetry that a file states is compared with the cell's lengths
and angles, the formula and the multiplicities in the same file (:mod:`~stemtwin.twin.samples.readers.symmetry_choice`).
"""

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stemtwin.twin.errors import StructureFileError
from stemtwin.twin.samples.crystal import Crystal
from stemtwin.twin.samples.readers.cif_sites import COORDINATES, read_sites, site_table
from stemtwin.twin.samples.readers.cif_symmetry import StatedSymmetry
from stemtwin.twin.samples.readers.cif_tags import Tags, parse_number
from stemtwin.twin.samples.readers.content_faults import Claims
from stemtwin.twin.samples.readers.element_symbols import parse_formula
from stemtwin.twin.samples.readers.file_content import FileContent, unit_cell
from stemtwin.twin.samples.readers.sites import crystal_of
from stemtwin.twin.samples.readers.symmetry_choice import choose_setting

if TYPE_CHECKING:
    import gemmi

FORMULA = ("_chemical_formula_sum", "_chemical_formula_iupac", "_chemical_formula_structural")
UNITS = ("_cell_formula_units_z", "_cell_formula_units")
DENSITY = ("_exptl_crystal_density_diffrn",)
VOLUME = ("_cell_volume",)
VOLUME_TOLERANCE = 0.01
MOST_SIGMA = 0.4  # A; larger displacements do not occur in crystals far from melting
DATA = re.compile(r"^\s*data_\S*\s*$", re.IGNORECASE | re.MULTILINE)
CONTENT = re.compile(r"^\s*(loop_\s+)?_(cell|atom_site|symmetry|space_group|chemical|audit|publ|journal|cod)", re.IGNORECASE | re.MULTILINE)


def is_cif(content: FileContent) -> bool:
    """Return True if the content of a file is a CIF: a data block with crystallographic tags."""
    return bool(DATA.search(content.text) and CONTENT.search(content.text))


def read_cif(content: FileContent) -> Crystal:
    """Return the crystal of the requested data block. Without a request, the first block with atomic sites is used.

    Parameters
    ----------
    content : FileContent
        Content of the file.

    Returns
    -------
    Crystal
        All sites of one cell, with the file's occupancies and thermal sigmas, sqrt(U) or sqrt(B / (8 pi^2)).
        Anisotropic tensors give their equivalent isotropic value.

    Raises
    ------
    StructureFileError
        The file is not a CIF, lacks sites or a cell, has an unknown element or an unreadable number, or its symmetry
        does not preserve its cell.
    SettingsError
        The requested block does not exist.
    """
    blocks = [(block.name, Tags(content.name, block)) for block in _document(content)]
    blocks = [(name, tags) for name, tags in blocks if site_table(tags).rows]
    if not blocks:
        tags = " or ".join(tag.replace("cartn", "Cartn") for tag in COORDINATES)
        message = f"{content.path} holds no atomic sites (no loop with {tags}). Give a structure file."
        raise StructureFileError(message)
    index, notes = content.pick([name.strip() for name, _ in blocks], 0, "data blocks with atomic sites")
    return _crystal(content.name, blocks[index][1], notes)


def _document(content: FileContent) -> "gemmi.cif.Document":
    """Return the parsed file; of repeated tags and block names the first one counts."""
    import gemmi

    try:
        return gemmi.cif.read_string(content.text, 0)
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        message = f"{content.path} is not a readable CIF ({reason}). Repair the file."
        raise StructureFileError(message) from error


def _crystal(name: str, tags: Tags, notes: tuple[str, ...]) -> Crystal:
    """Return all sites of the cell of one data block."""
    cell = unit_cell(name, _cell_parameters(tags))
    doubts = _volume_doubt(tags, cell)
    formula = parse_formula(tags.text(FORMULA)) or {}
    sites, left_out, unplaced = read_sites(tags, cell, frozenset(formula))
    symmetry = StatedSymmetry(tags)
    claims = Claims(formula=formula, units=tags.number(UNITS), density=tags.number(DENSITY), unplaced=unplaced)
    choice = choose_setting(name, cell, sites, symmetry.candidates, claims, unique=symmetry.unique)
    crystal = crystal_of(
        name, cell, choice.expansion, notes=(*notes, *left_out, *symmetry.notes, *choice.notes), doubts=(*doubts, *symmetry.doubts, *choice.doubts)
    )
    return replace(crystal, doubts=(*crystal.doubts, *_thermal_doubt(name, crystal.sigma)))


def _thermal_doubt(name: str, sigma: np.ndarray | None) -> tuple[str, ...]:
    """Return a doubt where displacements are larger than usual in crystals."""
    if sigma is None or np.median(sigma) < MOST_SIGMA:
        return ()
    worst = float(np.median(sigma))
    return (f"{name} has a median rms displacement of {worst:.2f} A, larger than in crystals. Its U may be B, which is 8 pi^2 times larger.",)


def _cell_parameters(tags: Tags) -> list[float]:
    """Return a, b, c (A), alpha, beta, gamma (degrees); a missing angle is 90 degrees."""
    values = []
    for tag in ("_cell_length_a", "_cell_length_b", "_cell_length_c", "_cell_angle_alpha", "_cell_angle_beta", "_cell_angle_gamma"):
        raw = tags.items.get(tag, "")
        text = raw.strip("'\"")
        if not text and "angle" in tag:
            values.append(90.0)
            continue
        value = parse_number(text)
        if np.isnan(value):
            message = f"{tags.name}: {tag} is {raw or 'missing'}, not a number. Repair the cell in the file."
            raise StructureFileError(message)
        values.append(value)
    return values


def _volume_doubt(tags: Tags, cell: np.ndarray) -> tuple[str, ...]:
    """Return a doubt where the stated volume differs from that of the cell."""
    stated, volume = tags.number(VOLUME), float(abs(np.linalg.det(cell)))
    if stated is None or abs(volume / stated - 1) < VOLUME_TOLERANCE:
        return ()
    return (f"{tags.name}: its cell has a volume of {volume:.5g} A^3, but the file says {stated:.5g} A^3.",)
