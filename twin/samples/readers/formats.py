"""The formats of structure files, each with what recognises it by content, and the reader that a file gets."""

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
    """One format: its name, what recognises it, what reads it, and whether a file can hold several structures."""

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
"""In the order in which they are tried: the more a format's mark says, the earlier."""


def format_of(content: FileContent) -> StructureFormat:
    """Return the format of a file: by its content, else CIF by its suffix, else whatever ASE makes of it."""
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
        An existing file, also packed (gz, bz2, xz, zip).
    block : str or int, optional
        Which of several structures: the name of a data block, or a number from 1. None: the first data block of a CIF, the first model of a PDB, the
        last frame of a trajectory.

    Raises
    ------
    StructureFileError
        It is not a structure that can be read.
    SettingsError
        There is no such block.
    """
    content = open_content(path, block)
    found = format_of(content)
    if block is not None and not found.several:
        message = f"block={block!r} was given, but {path.name} is a file of the format {found.name}, which holds one structure. Leave it out."
        raise SettingsError(message)
    return found.read(content)
