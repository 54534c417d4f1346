"""Structure files become samples: CIF by our own reader, POSCAR, xyz and everything else by ASE."""

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.twin.errors import SettingsError, StructureFileError
from stemtwin.twin.samples.builders import Cut, build_sample
from stemtwin.twin.samples.cif import B_OVER_U, element_number, read_cif
from stemtwin.twin.samples.crystal import Crystal
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import MIN_DISTANCE, Sample, near_pairs, resolve_sigma, separation

if TYPE_CHECKING:
    from ase import Atoms

DOUBTFUL_DISTANCE = 0.6  # A; shorter than any bond (H-H is 0.74 A)
MAX_FILE_BYTES = 2**30
BOUNDED_MARGIN = 10.0  # A of vacuum along a direction in which a file says that it does not repeat


def read_sample(
    path: str | PathLike[str],
    *,
    zone_axis: tuple[int, int, int] = (0, 0, 1),
    size_angstrom: tuple[float, float] | None = None,
    thickness_angstrom: float | None = None,
    seed: int = 0,
    thermal_sigma_angstrom: float | Mapping[str, float] | None = None,
    max_strain: float = 0.01,
    periodic: bool = True,
) -> Sample:
    """Return a sample of the structure in a file.

    Parameters
    ----------
    path : str or path
        CIF, POSCAR, xyz, or any other format that ASE reads.
    zone_axis : (int, int, int)
        [uvw], the lattice direction along +z, in which the beam travels. x is put along a, b or c where one of them is perpendicular to it. For a
        file without a cell, a direction in space.
    size_angstrom : (float, float), optional
        Wanted height (y) and width (x): the whole repeats nearest to it, at least one. None: 16 A, or one cell where the cell is larger. A cell more
        than 1.5 times as large as a size that is given, and above 24 A, is cut: the sample is then a window that does not repeat.
    thickness_angstrom : float, optional
        The whole repeats nearest to it; None: 40 A. A cell with more than 6 A of vacuum along the beam is a sheet: it is never repeated, None gives
        it 2 A of vacuum on either side, a number centres it in (or cuts it to) that thickness.
    seed : int
        Of the draw of mixed and partly filled sites.
    thermal_sigma_angstrom : float or mapping from symbol to float, optional
        1-D rms displacement in A, instead of what the file says. 0: static.
    max_strain : float
        Largest strain that making the cell orthogonal may take.
    periodic : bool
        False: an unstrained window of exactly ``size_angstrom``, which does not repeat.

    Returns
    -------
    Sample

    Raises
    ------
    StructureFileError
        No such file, not a structure, an unknown element, a zero cell, atoms on top of each other, nothing left after the cut, too much strain.
    SettingsError
        A zone axis of zeros, a thickness below one slice, more atoms than the machine's memory holds, thermal sigmas that do not fit.

    Warns
    -----
    UserWarning
        The file gives no thermal displacements: a static sample; atoms nearer to each other than any bond.
    """
    cut = Cut(
        zone_axis=zone_axis, size_angstrom=size_angstrom, thickness_angstrom=thickness_angstrom, seed=seed, max_strain=max_strain, periodic=periodic
    )
    file = _existing(path)
    sample = _build(file, cut, thermal_sigma_angstrom)
    if thermal_sigma_angstrom is None:
        _warn_if_static(sample, file.name)
    _warn_if_crowded(sample, file.name)
    return sample


def _build(file: Path, cut: Cut, thermal_sigma: float | Mapping[str, float] | None) -> Sample:
    """Return the sample of a file, without warnings."""
    crystal = read_crystal(file)
    if thermal_sigma is not None:
        crystal = replace(crystal, sigma=resolve_sigma(crystal.numbers, thermal_sigma))
        thermal_sigma = {k: float(v) for k, v in thermal_sigma.items()} if isinstance(thermal_sigma, Mapping) else float(thermal_sigma)
    recipe = {"kind": "file", "path": str(file.resolve()), "sha256": _sha256(file), **asdict(cut), "thermal_sigma_angstrom": thermal_sigma}
    return build_sample(crystal, cut, name=file.stem if file.suffix else file.name, recipe=json.dumps(recipe, sort_keys=True))


def sample_from_recipe(recipe: str) -> Sample:
    """Return the sample that a ``Sample.recipe`` describes.

    Parameters
    ----------
    recipe : str
        JSON of a library sample or of a file.

    Raises
    ------
    SettingsError
        The recipe is empty (a sample from arrays) or none of ours.
    StructureFileError
        The file is gone or its content has changed.
    """
    try:
        settings: dict[str, Any] = json.loads(recipe)
        kind = settings.pop("kind")
    except (ValueError, KeyError, AttributeError, TypeError):
        message = f"recipe={recipe[:60]!r} is not a sample's recipe; a sample made from arrays has none. Keep such a sample itself."
        raise SettingsError(message) from None
    if kind == "library":
        return load_sample(settings.pop("name"), **settings)
    if kind != "file":
        message = f"recipe has the unknown kind {kind!r}. Known: library, file."
        raise SettingsError(message)
    file, digest = _existing(settings.pop("path")), settings.pop("sha256")
    if _sha256(file) != digest:
        message = (
            f"{file} has changed since the sample was made (sha256 {_sha256(file)[:12]}, the recipe says {digest[:12]}). Restore the file or "
            f"read it again."
        )
        raise StructureFileError(message)
    thermal_sigma = settings.pop("thermal_sigma_angstrom")
    return _build(file, Cut(**settings), thermal_sigma)


def read_crystal(path: Path) -> Crystal:
    """Return one cell of the structure in a file.

    Parameters
    ----------
    path : Path
        An existing file; CIF is told by its name (.cif, .mcif) or by its first words, the rest is left to ASE.

    Raises
    ------
    StructureFileError
        It is not a structure that can be read.
    """
    if path.suffix.lower() in (".cif", ".mcif") or (not path.suffix and path.read_bytes()[:5] == b"data_"):
        return read_cif(path)
    return _from_atoms(path.name, _ase_read(path))


def _existing(path: str | PathLike[str]) -> Path:
    file = Path(path).expanduser()
    if not file.exists():
        message = f"There is no file {file}. Check the path."
        raise StructureFileError(message)
    if not file.is_file():
        message = f"{file} is not a file. Give the path of a structure file."
        raise StructureFileError(message)
    size = file.stat().st_size
    if size == 0 or size > MAX_FILE_BYTES:
        message = f"{file} is not a structure: it has {size} bytes (limits 1 and {MAX_FILE_BYTES}). Give a structure file."
        raise StructureFileError(message)
    return file


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _ase_read(path: Path) -> "Atoms":
    """Return the last structure of a file as ASE reads it, every failure as one clear error."""
    import ase.io
    from ase import Atoms

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what ASE doubts about a file is checked below
            atoms = ase.io.read(path)
    except KeyError as error:
        symbol = str(error.args[0]) if error.args else ""
        if symbol.isalpha() and len(symbol) <= 3:
            element_number(symbol, path.name)
        message = f"{path} is not a structure that can be read (no entry {symbol!r}). Give a CIF, POSCAR, xyz or another format of ASE."
        raise StructureFileError(message) from error
    except Exception as error:  # ASE's readers raise whatever the parsing of a broken file ends in
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        message = f"{path} is not a structure that can be read ({type(error).__name__}: {reason}). Give a CIF, POSCAR, xyz or another format of ASE."
        raise StructureFileError(message) from error
    if not isinstance(atoms, Atoms):
        message = f"{path} is not a single structure. Give a file with one structure."
        raise StructureFileError(message)
    if np.any(atoms.numbers < 1):
        message = f"{path} names an unknown element {atoms.symbols[int(np.argmin(atoms.numbers))]!r}. Use the symbols of the periodic table."
        raise StructureFileError(message)
    return atoms


def _from_atoms(name: str, atoms: "Atoms") -> Crystal:
    """Return a crystal of ASE's atoms; occupancies and Debye-Waller factors that ASE found are kept."""
    positions, cell, pbc, notes = np.array(atoms.positions), np.array(atoms.cell.array), np.array(atoms.pbc), []
    isolated = not cell.any() and not pbc.any()
    if isolated:
        places = positions
    else:
        if pbc.any() and not pbc.all():
            cell = _bounded(cell, pbc, positions)
            notes.append(
                f"The file does not repeat along {', '.join(axis for axis, repeats in zip('abc', pbc, strict=True) if not repeats)}: vacuum was "
                f"added there."
            )
        flat = abs(np.linalg.det(cell)) < 1e-3
        places = np.zeros_like(positions) if flat else positions @ np.linalg.inv(cell)
    occupancy, factors = atoms.arrays.get("occupancies"), atoms.arrays.get("debye_waller_factors")
    sigma = np.sqrt(np.clip(factors, 0, None) / B_OVER_U) if factors is not None and np.any(factors > 0) else None
    return Crystal(
        name=name,
        cell=cell,
        fractional=places,
        numbers=np.array(atoms.numbers),
        occupancy=occupancy,
        sigma=sigma,
        isolated=isolated,
        notes=tuple(notes),
    )


def _bounded(cell: np.ndarray, pbc: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return a cell (3, 3) with vacuum along the directions that do not repeat, there perpendicular to the others."""
    from ase.geometry import complete_cell

    cell = complete_cell(cell)
    for axis in np.flatnonzero(~pbc):
        normal = np.cross(cell[axis - 2], cell[axis - 1])
        if (length := np.linalg.norm(normal)) > 0:
            normal = normal / length
            cell[axis] = normal * (np.ptp(positions @ normal) + BOUNDED_MARGIN)
    return cell


def _warn_if_static(sample: Sample, name: str) -> None:
    if sample.thermal_sigma_angstrom is None:
        message = f"{name} gives no thermal displacements: the sample is static. "
        message += "Pass thermal_sigma_angstrom (1-D rms in A; 0 for static) to say otherwise."
        warnings.warn(message, UserWarning, stacklevel=3)


def _warn_if_crowded(sample: Sample, name: str) -> None:
    pairs = near_pairs(sample.positions_angstrom, sample.size_angstrom, DOUBTFUL_DISTANCE, periodic=sample.periodic)
    if len(pairs):
        nearest = separation(sample.positions_angstrom, pairs, sample.size_angstrom, periodic=sample.periodic).min()
        message = (
            f"{name}: {len(pairs)} pairs of atoms are nearer than {DOUBTFUL_DISTANCE:g} A, the nearest {nearest:.3f} A (error below "
            f"{MIN_DISTANCE:g} A): no bond is that short."
        )
        warnings.warn(message, UserWarning, stacklevel=3)
