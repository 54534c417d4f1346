"""Reader of PDB files, with occupancies and B factors: a crystal if the record CRYST1 gives a cell, or else a molecule."""

import re

import numpy as np

from stemtwin.twin.errors import StructureFileError
from stemtwin.twin.samples.crystal import B_OVER_U, Crystal
from stemtwin.twin.samples.readers.content_faults import Claims
from stemtwin.twin.samples.readers.element_symbols import HEAVIEST, species_of_label
from stemtwin.twin.samples.readers.file_content import FileContent, unit_cell
from stemtwin.twin.samples.readers.orbits import IDENTITY, operations_of_group
from stemtwin.twin.samples.readers.sites import ListedSites, crystal_of, crystal_of_rows, listed_sites
from stemtwin.twin.samples.readers.space_groups import settings_of_name
from stemtwin.twin.samples.readers.symmetry_choice import SymmetryCandidate, choose_setting, sites_alone

MOST_EXPANDED = 200_000  # largest number of atoms of an expanded cell


def is_pdb(content: FileContent) -> bool:
    """Return True if a file has atom records in the columns of the PDB format."""
    return re.search(r"^(ATOM  |HETATM).{24} *-?\d+\.\d{3} *-?\d+\.\d{3}", content.text, re.MULTILINE) is not None


def read_pdb(content: FileContent) -> Crystal:
    """Return the structure of the requested model, by default the first model.

    Raises
    ------
    StructureFileError
        A record cannot be read, or an element or the space group is unknown.
    """
    import gemmi

    try:
        structure = gemmi.read_pdb_string(content.text)
    except (ValueError, RuntimeError) as error:
        message = f"{content.path} is not a structure that can be read ({' '.join(str(error).split())}). Repair the file."
        raise StructureFileError(message) from error
    index, notes = content.pick([""] * len(structure), 0, "models")
    atoms = [(atom, residue) for chain in structure[index] for residue in chain for atom in residue]
    numbers, positions = [], []
    for atom, _ in atoms:
        number = int(atom.element.atomic_number)
        numbers.append(1 if atom.element.name == "D" else number if 0 < number <= HEAVIEST else species_of_label(atom.name, content.name)[0][0])
        positions.append([atom.pos.x, atom.pos.y, atom.pos.z])
    b = np.array([atom.b_iso for atom, _ in atoms])
    sites = listed_sites(
        tuple(f"{atom.name} {residue.name}{residue.seqid}" for atom, residue in atoms),
        np.array(numbers),
        np.array(positions),
        np.array([atom.occ for atom, _ in atoms]),
        b / B_OVER_U if np.any(b > 0) else None,
        digits=3,
    )
    cell = structure.cell
    if cell.volume < 10 or max(cell.a, cell.b, cell.c) <= 1.001:  # CRYST1 of 1 x 1 x 1 A means no cell
        return crystal_of_rows(content.name, np.zeros((3, 3)), sites, isolated=True, notes=notes)
    vectors = unit_cell(content.name, [cell.a, cell.b, cell.c, cell.alpha, cell.beta, cell.gamma])
    fractions = np.array([structure.cell.fractionalize(atom.pos).tolist() for atom, _ in atoms])
    return _expanded(content, vectors, _at(sites, fractions), structure.spacegroup_hm, notes)


def _at(sites: ListedSites, fractional: np.ndarray) -> ListedSites:
    """Return the sites with other coordinates."""
    return listed_sites(sites.labels, sites.numbers, fractional, sites.occupancy, sites.u, digits=5)


def _expanded(content: FileContent, cell: np.ndarray, sites: ListedSites, group: str, notes: tuple[str, ...]) -> Crystal:
    """Return the whole cell, expanded by the space group of CRYST1."""
    named = settings_of_name(group).settings if group.strip() else ()
    if group.strip() and not named:
        message = f"{content.name} names the space group {group!r}, which is unknown. Correct its record CRYST1."
        raise StructureFileError(message)
    if not named or named[0].number == 1:
        return crystal_of_rows(content.name, cell, sites, notes=notes)
    candidates = [
        SymmetryCandidate(operations=operations_of_group(setting.operations()), source=f"the operations of {setting.xhm()!r}") for setting in named
    ]
    if len(sites) * len(candidates[0].operations) > MOST_EXPANDED:
        candidates = [SymmetryCandidate(operations=IDENTITY, source="the listed sites as the whole cell")]
    choice = choose_setting(content.name, cell, sites, [*candidates, sites_alone()], Claims())
    made = f"The {len(sites)} atoms of the file became {len(choice.expansion.numbers)} in the cell by {candidates[0].source}."
    return crystal_of(content.name, cell, choice.expansion, notes=(*notes, made, *choice.notes), doubts=choice.doubts)
