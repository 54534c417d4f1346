"""Reader for all formats that have no module of their own. It uses ASE and preserves occupancies and displacements."""

import warnings
from typing import TYPE_CHECKING

import numpy as np

from stemtwin.twin.errors import StructureFileError
from stemtwin.twin.samples.crystal import B_OVER_U, Crystal
from stemtwin.twin.samples.readers.element_symbols import element_number
from stemtwin.twin.samples.readers.file_content import FileContent
from stemtwin.twin.samples.readers.lattice_vacuum import add_vacuum
from stemtwin.twin.samples.readers.sites import crystal_of_rows, listed_sites

if TYPE_CHECKING:
    from ase import Atoms

OWN = (".traj", ".json", ".db")  # ASE's own formats, in which the periodicity flags are part of the structure
MOST_BYTES = 50_000_000  # largest trajectory of which all frames are counted
FORMATS = "Give a CIF, POSCAR, xyz or another format of ASE."


def read_by_ase(content: FileContent) -> Crystal:
    """Return the structure that ASE reads from a file.

    Raises
    ------
    StructureFileError
        ASE cannot read the file, or the file is not a single structure.
    """
    atoms, notes = _read(content)
    if content.suffix not in OWN and not atoms.pbc.any() and atoms.cell.array.any():
        atoms.pbc = True  # for formats of other programs ASE sets no periodicity flags
    return crystal_of_atoms(content.name, atoms, notes)


def _read(content: FileContent) -> "tuple[Atoms, tuple[str, ...]]":
    """Return the requested or the last structure of a file by ASE, and notes; raise StructureFileError on failure."""
    import ase.io
    from ase import Atoms

    path = content.path
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the checks below cover ASE's warnings
            whole = content.block is not None or len(content.data) < MOST_BYTES
            images = ase.io.read(path, index=slice(None) if whole else -1)
    except KeyError as error:
        symbol = str(error.args[0]) if error.args else ""
        if symbol.isalpha() and len(symbol) <= 3:
            element_number(symbol, path.name)
        message = f"{path} is not a structure that can be read: {symbol!r} is missing from the file, or ASE does not know it. {FORMATS}"
        raise StructureFileError(message) from error
    except Exception as error:  # ASE's readers raise all kinds of exceptions on a broken file
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        message = f"{path} is not a structure that can be read ({type(error).__name__}: {reason}). {FORMATS}"
        raise StructureFileError(message) from error
    images = images if isinstance(images, list) else [images]
    if not images or not all(isinstance(image, Atoms) for image in images):
        message = f"{path} is not a single structure. Give a file with one structure."
        raise StructureFileError(message)
    index, notes = content.pick([""] * len(images), len(images) - 1, "frames")
    atoms = images[index]
    if np.any(atoms.numbers < 1):
        message = f"{path} names an unknown element {atoms.symbols[int(np.argmin(atoms.numbers))]!r}. Use the symbols of the periodic table."
        raise StructureFileError(message)
    return atoms, notes


def crystal_of_atoms(name: str, atoms: "Atoms", notes: tuple[str, ...] = ()) -> Crystal:
    """Return a crystal from ASE's atoms, with occupancies, mixed sites, Debye-Waller factors and thermal sigmas."""
    positions, cell, pbc = np.array(atoms.positions), np.array(atoms.cell.array), np.array(atoms.pbc)
    isolated = not pbc.any()
    if isolated:
        places, cell = positions, np.zeros((3, 3))
    else:
        cell, more = add_vacuum(cell, pbc, positions)
        notes = (*notes, *more)
        flat = abs(np.linalg.det(cell)) < 1e-3
        places = np.zeros_like(positions) if flat else positions @ np.linalg.inv(cell)
    rows, numbers, occupancy = _mixed(atoms)
    arrays, u = atoms.arrays, None
    if "thermal_sigma_angstrom" in arrays:
        u = arrays["thermal_sigma_angstrom"] ** 2
    elif "debye_waller_factors" in arrays or "bfactor" in arrays:
        u = np.asarray(arrays.get("debye_waller_factors", arrays.get("bfactor"))) / B_OVER_U
    sites = listed_sites(tuple(str(row + 1) for row in rows), numbers, places[rows], occupancy, None if u is None else u[rows])
    return crystal_of_rows(name, cell, sites, isolated=isolated, notes=notes)


def _mixed(atoms: "Atoms") -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return the atom, element and occupancy of each row of species."""
    arrays, shares = atoms.arrays, atoms.info.get("occupancy")
    if isinstance(shares, dict) and shares:
        return mixed_rows(list(atoms.symbols), arrays.get("spacegroup_kinds"), shares)
    given = next((np.asarray(arrays[key], dtype=float) for key in ("occupancies", "occupancy") if key in arrays), None)
    return np.arange(len(atoms)), np.array(atoms.numbers), given


def mixed_rows(symbols: list[str], kinds: np.ndarray | None, shares: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return one row for each species on each site, from ASE's record of mixed sites.

    A row consists of the index of the atom, the atomic number of the species and its occupancy.

    Parameters
    ----------
    symbols : list of str
        Symbol of each atom: the element with the largest occupancy of the atom's site.
    kinds : (n,) int, optional
        Kind of each atom's site. ASE's own formats do not store the kinds. Without them, the occupancies of a site are those
        of the kinds on which the atom's element has the largest occupancy. If there is no such kind, or if such kinds have
        different occupancies, the atom's element is the only species on the site.
    shares : dict from kind to dict from symbol to float
        Occupancy of each species on each kind of site.
    """
    known = {str(kind): {symbol: float(share) for symbol, share in own.items()} for kind, own in shares.items()}
    rows, numbers, occupancy = [], [], []
    for row, symbol in enumerate(symbols):
        if kinds is not None:
            own = known.get(str(int(kinds[row])), {symbol: 1.0})
        else:
            fitting = [each for each in known.values() if each.get(symbol, 0.0) == max(each.values())]
            own = fitting[0] if fitting and all(each == fitting[0] for each in fitting) else {symbol: 1.0}
        for element, share in own.items():
            rows.append(row)
            numbers.append(element_number(element, "occupancy"))
            occupancy.append(share)
    return np.array(rows), np.array(numbers), np.array(occupancy)
