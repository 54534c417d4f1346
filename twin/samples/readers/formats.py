"""Registry of structure-file formats, each with a function that recognises its content and a reader."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.samples.crystal import Crystal
from stemtwin.twin.samples.readers import cif, lammps, pdb, poscar, shelx, simulator_formats, vesta, xtl, xyz
from stemtwin.twin.samples.readers.ase_formats import read_by_ase
from stemtwin.twin.samples.readers.file_content import FileContent, open_content


@dataclass(frozen=True, slots=True)
class StructureFormat:
    """Format of structure files: its name, and the functions that recognise and read it.

    ``several`` is True if a file of the format can hold several structures.
    """

    name: str
    recognises: Callable[[FileContent], bool]
    read: Callable[[FileContent], Crystal]
    several: bool = False


FORMATS = (
    StructureFormat("VESTA", vesta.is_vesta, vesta.read_vesta),
    StructureFormat("CIF", cif.is_cif, cif.read_cif, several=True),
    StructureFormat("LAMMPS dump", lammps.is_dump, lammps.read_dump, several=True),
    StructureFormat("PDB", pdb.is_pdb, pdb.read_pdb, several=True),
    StructureFormat("SHELX", shelx.is_shelx, shelx.read_shelx),
    StructureFormat("AtomEye and QSTEM cfg", simulator_formats.is_cfg, simulator_formats.read_cfg),
    StructureFormat("Dr. Probe cel", simulator_formats.is_cel, simulator_formats.read_cel),
    StructureFormat("muSTEM xtl", simulator_formats.is_mustem, simulator_formats.read_mustem),
    StructureFormat("JEMS", simulator_formats.is_jems, simulator_formats.read_jems),
    StructureFormat("xtl", xtl.is_xtl, xtl.read_xtl),
    StructureFormat("LAMMPS data", lammps.is_data, lammps.read_data),
    StructureFormat("Prismatic xyz", simulator_formats.is_prismatic, simulator_formats.read_prismatic),
    StructureFormat("xyz", xyz.is_xyz, xyz.read_xyz, several=True),
    StructureFormat("POSCAR", poscar.is_poscar, poscar.read_poscar),
)
"""Formats in the order in which they are tried, the most distinctive first."""


def format_of(content: FileContent) -> StructureFormat:
    """Return the format of a file.

    The content decides. A file with unrecognised content is a CIF if it has the suffix .cif or .mcif, and is otherwise
    read by ASE.
    """
    if content.text:
        for each in FORMATS:
            if each.recognises(content):
                return each
        if content.suffix in (".cif", ".mcif"):
            return StructureFormat("CIF", cif.is_cif, cif.read_cif, several=True)
    return StructureFormat("ASE", lambda _: True, read_by_ase, several=True)


def read_crystal(path: Path, block: str | int | None = None) -> Crystal:
    """Return one cell of the structure in a file.

    Parameters
    ----------
    path : Path
        Path of an existing file, which can be compressed (gz, bz2, xz, zip).
    block : str or int, optional
        Requested structure if the file contains several: the name of a data block, or a number from 1. None: the first
        data block of a CIF, the first model of a PDB file or the last frame of a trajectory.

    Raises
    ------
    StructureFileError
        The file cannot be read as a structure.
    SettingsError
        The block does not exist, or the format holds only one structure.
    """
    content = open_content(path, block)
    found = format_of(content)
    if block is not None and not found.several:
        message = f"block={block!r} was given, but {path.name} has the format {found.name}, which holds one structure. Leave out block."
        raise SettingsError(message)
    return found.read(content)
