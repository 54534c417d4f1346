"""From a structure file to a sample, and from a sample's recipe to the sample."""

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from os import PathLike
from pathlib import Path
from typing import Any

from stemtwin.twin.errors import SettingsError, StructureFileError
from stemtwin.twin.samples.builders import Cut, build_sample
from stemtwin.twin.samples.default_displacements import default_note, default_sigmas
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.readers.file_content import PACKED_SUFFIXES
from stemtwin.twin.samples.readers.formats import read_crystal
from stemtwin.twin.samples.sample import MIN_DISTANCE, Sample, near_pairs, resolve_sigma, separation
from stemtwin.twin.samples.zone_axes import has_four_indices, is_hexagonal, parse_zone_axis

DOUBTFUL_DISTANCE = 0.6  # A; shorter than any bond (H-H is 0.74 A)
MAX_FILE_BYTES = 2**30


def read_sample(
    path: str | PathLike[str],
    *,
    zone_axis: str | Sequence[int] = (0, 0, 1),
    size_angstrom: tuple[float, float] | None = None,
    thickness_angstrom: float | None = None,
    seed: int = 0,
    thermal_sigma_angstrom: float | Mapping[str, float] | None = None,
    max_strain: float = 0.01,
    periodic: bool = True,
    block: str | int | None = None,
) -> Sample:
    """Return a sample of the structure in a file.

    Parameters
    ----------
    path : str or path
        CIF, POSCAR, xyz, PDB, SHELX, LAMMPS, files of image simulators, or any other format that ASE reads, also packed (gz, bz2, xz, zip).
    zone_axis : (int, int, int), (int, int, int, int) or str
        The lattice direction along +z, in which the beam travels, also as "110", "[1 -1 0]" or "11-20". x is put along a, b or c where one of them is
        perpendicular to it. For a file without a cell, a direction in space.
    size_angstrom : (float, float), optional
        Wanted height (y) and width (x): the whole repeats nearest to it, at least one. None: 16 A, or one cell where the cell is larger. A cell more
        than 1.5 times as large as a size that is given, and above 24 A, is cut: the sample is then a window that does not repeat.
    thickness_angstrom : float, optional
        The whole repeats nearest to it; None: 40 A. A cell with more than 6 A of vacuum along the beam is a sheet: it is never repeated, None gives
        it 2 A of vacuum on either side, a number centres it in (or cuts it to) that thickness.
    seed : int
        Of the draw of mixed and partly filled sites.
    thermal_sigma_angstrom : float or mapping from symbol to float, optional
        1-D rms displacement in A, instead of what the file says; 0: static. Where neither says it: Debye's model (``default_displacements``).
    max_strain : float
        Largest strain that making the cell orthogonal may take; where more is needed, the sample is an unstrained window.
    periodic : bool
        False: an unstrained window of exactly ``size_angstrom``, which does not repeat.
    block : str or int, optional
        Which structure of a file that holds several: the name of a CIF's data block, or a number from 1.

    Returns
    -------
    Sample

    Raises
    ------
    StructureFileError
        No such file, not a structure, an unknown element, a zero cell or one that its symmetry does not keep, nothing left after the cut.
    SettingsError
        A zone axis of zeros, a thickness below one slice, more atoms than the machine's memory holds, thermal sigmas that do not fit, no such block.

    Warns
    -----
    UserWarning
        What is doubtful: no thermal displacements in the file, a setting that it leaves open, a formula that does not fit, atoms too near each other.
    """
    box = {"size_angstrom": size_angstrom, "thickness_angstrom": thickness_angstrom}
    cut = Cut(zone_axis=parse_zone_axis(zone_axis), **box, seed=seed, max_strain=max_strain, periodic=periodic)
    sample, doubts = _build(_existing(path), cut, thermal_sigma_angstrom, block, four_indices=has_four_indices(zone_axis))
    for doubt in doubts:
        warnings.warn(doubt, UserWarning, stacklevel=2)
    return sample


def _build(
    file: Path, cut: Cut, thermal_sigma: float | Mapping[str, float] | None, block: str | int | None, *, four_indices: bool = False
) -> tuple[Sample, tuple[str, ...]]:
    """Return the sample of a file and what is doubtful about it; both are among its notes."""
    crystal = read_crystal(file, block)
    if four_indices and (crystal.isolated or not is_hexagonal(crystal.cell)):
        message = f"zone_axis has four indices, but the cell of {file.name} is not hexagonal (a = b, gamma = 120). Give three."
        raise SettingsError(message)
    if thermal_sigma is not None:
        crystal = replace(crystal, sigma=resolve_sigma(crystal.numbers, thermal_sigma))
        thermal_sigma = {k: float(v) for k, v in thermal_sigma.items()} if isinstance(thermal_sigma, Mapping) else float(thermal_sigma)
    elif crystal.sigma is None:
        sigma = default_sigmas(crystal.numbers)
        crystal = replace(crystal, sigma=sigma, doubts=(*crystal.doubts, default_note(file.name, crystal.numbers)))
    recipe = {"kind": "file", "path": str(file.resolve()), "sha256": _sha256(file), **asdict(cut), "thermal_sigma_angstrom": thermal_sigma}
    if block is not None:
        recipe["block"] = str(block)
    sample = build_sample(crystal, cut, name=_stem(file), recipe=json.dumps(recipe, sort_keys=True))
    crowded = _crowding(sample, file.name)
    return replace(sample, notes=(*sample.notes, *crowded)), (*crystal.doubts, *crowded)


def _stem(file: Path) -> str:
    """Return the name of a file's sample: the file's name without the suffixes of format and packing."""
    plain = Path(file.stem) if file.suffix.lower() in PACKED_SUFFIXES else file
    return plain.stem if plain.suffix else plain.name


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
    thermal_sigma, block = settings.pop("thermal_sigma_angstrom"), settings.pop("block", None)
    return _build(file, Cut(**settings), thermal_sigma, block)[0]


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


def _crowding(sample: Sample, name: str) -> tuple[str, ...]:
    """Return a doubt where atoms are nearer to each other than any bond."""
    pairs = near_pairs(sample.positions_angstrom, sample.size_angstrom, DOUBTFUL_DISTANCE, periodic=sample.periodic)
    if len(pairs) == 0:
        return ()
    nearest = separation(sample.positions_angstrom, pairs, sample.size_angstrom, periodic=sample.periodic).min()
    return (
        f"{name}: {len(pairs)} pairs of atoms are nearer than {DOUBTFUL_DISTANCE:g} A, the nearest {nearest:.3f} A (error below "
        f"{MIN_DISTANCE:g} A): no bond is that short.",
    )
