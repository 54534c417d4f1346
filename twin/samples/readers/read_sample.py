"""Samples from structure files and from recipes."""

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

DOUBTFUL_DISTANCE = 0.6  # A; no bond is as short (H-H has 0.74 A)
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
        Path of a CIF, POSCAR, xyz, PDB, SHELX, LAMMPS or image-simulator file, or of any file that ASE reads; also compressed (gz, bz2, xz, zip).
    zone_axis : (int, int, int), (int, int, int, int) or str
        Lattice direction along +z, in which the beam travels; texts such as "110", "[1 -1 0]" or "11-20" are accepted. The x axis lies along a, b or
        c if one of them is perpendicular to the zone axis. For a file without a cell, the zone axis is a direction in space.
    size_angstrom : (float, float), optional
        Requested height (y) and width (x); the sample has the nearest whole number of repeats, at least one. None: 16 A, or one cell where the cell
        is larger. A cell larger than 1.5 times the given size and larger than 24 A is cut, and the sample is then a window that does not repeat.
    thickness_angstrom : float, optional
        Requested thickness; the sample has the nearest whole number of repeats. None: 40 A. A cell with more than 6 A of vacuum along the beam is a
        sheet, which is not repeated along the beam. It is centred in a box of the given thickness, or cut to it; None: 2 A of vacuum per side.
    seed : int
        Seed of the random choice of atoms on mixed and partly filled sites.
    thermal_sigma_angstrom : float or mapping from symbol to float, optional
        1-D rms displacement in A; 0: static. None: the file's values, or values of the Debye model in ``default_displacements`` if it has none.
    max_strain : float
        Largest permitted strain in making the cell orthogonal. If a larger strain is needed, the sample is an unstrained window.
    periodic : bool
        Whether the sample should repeat. False: an unstrained window of exactly ``size_angstrom``.
    block : str or int, optional
        Requested structure if the file contains several: the name of a CIF's data block, or a number from 1.

    Raises
    ------
    StructureFileError
        The file is missing or not a structure, an element is unknown, the cell has no volume or does not fit the symmetry, or no atoms are left.
    SettingsError
        The zone axis, the thickness, the thermal sigmas or the block is wrong, or the atoms do not fit into the machine's memory.

    Warns
    -----
    UserWarning
        The file lacks displacements or leaves its space-group setting open, its formula does not match its sites, or atoms are too near each other.

    Examples
    --------
    >>> import stemtwin as st
    >>> from ase.build import bulk
    >>> bulk("Fe", cubic=True).write("iron.cif")
    >>> st.read_sample("iron.cif", zone_axis="110", size_angstrom=(8, 8), thickness_angstrom=20).formula
    'Fe120'
    """
    box = {"size_angstrom": size_angstrom, "thickness_angstrom": thickness_angstrom, "seed": seed, "max_strain": max_strain, "periodic": periodic}
    return _read(path, zone_axis, box, thermal_sigma_angstrom, block)


def _read(
    path: str | PathLike[str],
    zone_axis: str | Sequence[int],
    box: Mapping[str, Any],
    thermal_sigma: float | Mapping[str, float] | None,
    block: str | int | None,
) -> Sample:
    """Return a sample, and warn the caller of :func:`read_sample` of doubts about the file; ``box`` holds the fields of ``Cut`` but the zone axis."""
    cut = Cut(zone_axis=parse_zone_axis(zone_axis), **box)
    sample, doubts = _build(_existing(path), cut, thermal_sigma, block, four_indices=has_four_indices(zone_axis))
    for doubt in doubts:
        warnings.warn(doubt, UserWarning, stacklevel=3)
    return sample


def _build(
    file: Path, cut: Cut, thermal_sigma: float | Mapping[str, float] | None, block: str | int | None, *, four_indices: bool = False
) -> tuple[Sample, tuple[str, ...]]:
    """Return the sample of a file and the doubts about it, which are also among the sample's notes."""
    crystal = read_crystal(file, block)
    if four_indices and (crystal.isolated or not is_hexagonal(crystal.cell)):
        message = f"zone_axis has four indices, but the cell of {file.name} is not hexagonal (a = b, gamma = 120). Give three indices."
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
    """Return the name of a file's sample, the file's name without the suffixes of format and compression."""
    plain = Path(file.stem) if file.suffix.lower() in PACKED_SUFFIXES else file
    return plain.stem if plain.suffix else plain.name


def sample_from_recipe(recipe: str) -> Sample:
    """Return the sample that a ``Sample.recipe`` describes.

    Parameters
    ----------
    recipe : str
        JSON recipe of a library sample or of a file.

    Raises
    ------
    SettingsError
        The recipe is empty, as for a sample from arrays, or not a recipe.
    StructureFileError
        The file is missing or its content has changed.
    """
    try:
        settings: dict[str, Any] = json.loads(recipe)
        kind = settings.pop("kind")
    except (ValueError, KeyError, AttributeError, TypeError):
        message = f"recipe={recipe[:60]!r} is not a sample's recipe; a sample made from arrays has none. Store the sample itself instead."
        raise SettingsError(message) from None
    if kind == "library":
        return load_sample(settings.pop("name"), **settings)
    if kind != "file":
        message = f"recipe has the unknown kind {kind!r}. Known: library, file."
        raise SettingsError(message)
    file, digest = _existing(settings.pop("path")), settings.pop("sha256")
    if _sha256(file) != digest:
        message = (
            f"{file} has changed since the sample was made (sha256 {_sha256(file)[:12]}, in the recipe {digest[:12]}). "
            f"Restore the file or read it again."
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
    """Return a doubt where atoms are nearer to each other than the length of any bond."""
    pairs = near_pairs(sample.positions_angstrom, sample.size_angstrom, DOUBTFUL_DISTANCE, periodic=sample.periodic)
    if len(pairs) == 0:
        return ()
    nearest = separation(sample.positions_angstrom, pairs, sample.size_angstrom, periodic=sample.periodic).min()
    return (
        f"{name}: {len(pairs)} pairs of atoms are nearer than {DOUBTFUL_DISTANCE:g} A, the nearest {nearest:.3f} A (error below "
        f"{MIN_DISTANCE:g} A): no bond is that short.",
    )
