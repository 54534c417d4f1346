"""One crystal from a CIF.

Symmetry, occupancies, standard uncertainties and thermal displacements come from the file; gemmi reads the syntax and knows the space groups.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.twin.errors import StructureFileError
from stemtwin.twin.samples.crystal import SAME_PLACE, Crystal
from stemtwin.twin.samples.sample import MIN_DISTANCE

if TYPE_CHECKING:
    import gemmi

OPERATIONS = ("_space_group_symop_operation_xyz", "_space_group_symop.operation_xyz", "_symmetry_equiv_pos_as_xyz")
NAMES = ("_space_group_name_H-M_alt", "_space_group.name_H-M_alt", "_symmetry_space_group_name_H-M", "_symmetry.space_group_name_H-M")
HALL = ("_space_group_name_Hall", "_space_group.name_Hall", "_symmetry_space_group_name_Hall", "_symmetry.space_group_name_Hall")
TABLE = ("_space_group_IT_number", "_space_group.IT_number", "_symmetry_Int_Tables_number", "_symmetry.Int_Tables_number")
B_OVER_U = 8 * np.pi**2
COMPONENTS = ("11", "22", "33", "12", "13", "23")


def read_cif(path: Path) -> Crystal:
    """Return the crystal of the first data block that holds atomic sites.

    Parameters
    ----------
    path : Path
        Of the file.

    Returns
    -------
    Crystal
        All sites of one cell, with occupancies and thermal sigmas where the file has them: sqrt(U), sqrt(B / (8 pi^2)), anisotropic tensors by their
        equivalent isotropic value.

    Raises
    ------
    StructureFileError
        The file is no CIF, holds no sites, no cell, an unknown element, or numbers that cannot be read.
    """
    import gemmi  # the C++ library loads in 30 ms

    try:
        document = gemmi.cif.read_string(path.read_text(encoding="utf-8-sig", errors="replace"))
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        message = f"{path} is not a readable CIF ({reason}). Repair the file."
        raise StructureFileError(message) from error
    for block in document:
        sites = _Loop(path.name, block, ("_atom_site_fract_x", "_atom_site.fract_x", "_atom_site_Cartn_x", "_atom_site.Cartn_x"))
        if sites.rows:
            return _crystal(path.name, block, sites)
    message = f"{path} holds no atomic sites (no loop with _atom_site_fract_x or _atom_site_Cartn_x). Give a structure file."
    raise StructureFileError(message)


class _Loop:
    """The columns of the loop that holds one of some tags, read by the tag's name after ``_atom_site`` and its separator."""

    def __init__(self, name: str, block: "gemmi.cif.Block", tags: tuple[str, ...]) -> None:
        column: Any = next((found for tag in tags if (found := block.find_values(tag))), None)
        loop = column.get_loop() if column else None
        self.name = name
        self.columns: dict[str, list[str]] = {}
        if loop is not None:
            labels = [tag.lower().replace(".", "_") for tag in loop.tags]
            self.columns = {label: [loop[row, at] for row in range(loop.length())] for at, label in enumerate(labels)}
        elif column:  # a single site may stand without a loop
            items: Any = block
            pairs = [item.pair for item in items if item.pair is not None and item.pair[0].lower().startswith("_atom_site")]
            self.columns = {tag.lower().replace(".", "_"): [value] for tag, value in pairs}
        self.rows = len(next(iter(self.columns.values()), []))

    def __contains__(self, tag: str) -> bool:
        return tag.lower() in self.columns

    def text(self, tag: str) -> list[str]:
        import gemmi

        return [gemmi.cif.as_string(value) for value in self.columns[tag.lower()]]

    def number(self, tag: str, default: float | None = None) -> np.ndarray:
        """Return a column of numbers without their uncertainties; '?' and '.' become the default, or raise where there is none."""
        import gemmi

        values = np.empty(self.rows)
        for row, raw in enumerate(self.columns[tag.lower()]):
            values[row] = gemmi.cif.as_number(raw)
            if np.isnan(values[row]):
                if default is None or raw not in ("?", "."):
                    message = f"{self.name}: {tag} of site {row + 1} is {raw!r}, not a number. Repair the file."
                    raise StructureFileError(message)
                values[row] = default
        return values


def _crystal(name: str, block: "gemmi.cif.Block", sites: _Loop) -> Crystal:
    """Return all sites of the cell of one data block."""
    cell = _lattice(name, block)
    numbers = _elements(name, sites)
    if "_atom_site_fract_x" in sites:
        places = np.column_stack([sites.number(f"_atom_site_fract_{axis}") for axis in "xyz"])
    else:
        cartesian = np.column_stack([sites.number(f"_atom_site_Cartn_{axis}") for axis in "xyz"])
        places = cartesian @ np.linalg.inv(cell)
    occupancy = sites.number("_atom_site_occupancy", 1.0) if "_atom_site_occupancy" in sites else np.ones(sites.rows)
    sigma, notes = _sigmas(name, block, sites, cell, numbers)
    operations, note = _operations(name, block)
    which, fractional = _expand(places, cell, operations, occupancy)
    return Crystal(
        name=name,
        cell=cell,
        fractional=fractional,
        numbers=numbers[which],
        occupancy=np.minimum(occupancy, 1.001)[which] if np.all(occupancy <= 1.001) else occupancy[which],
        sigma=None if sigma is None else sigma[which],
        notes=(*notes, *note),
    )


def _lattice(name: str, block: "gemmi.cif.Block") -> np.ndarray:
    """Return the lattice vectors (3, 3) as rows, A: a along x, b in the xy plane."""
    import gemmi

    lengths = [_cell_number(name, block, f"_cell_length_{axis}") for axis in "abc"]
    angles = [_cell_number(name, block, f"_cell_angle_{angle}", 90.0) for angle in ("alpha", "beta", "gamma")]
    cosines = np.cos(np.radians(angles))
    shape = 1 - np.sum(cosines**2) + 2 * np.prod(cosines)  # (volume / (a b c))^2
    if min(lengths) <= 0 or not all(0 < angle < 180 for angle in angles) or shape < 1e-6:
        numbers = ", ".join(f"{value:g}" for value in (*lengths, *angles))
        message = (
            f"{name} has a zero cell: a, b, c, alpha, beta, gamma = {numbers}; lengths must be above 0 A, and angles "
            "between 0 and 180 degrees and such that they enclose a volume. Repair the cell."
        )
        raise StructureFileError(message)
    return np.array(gemmi.UnitCell(*lengths, *angles).orth.mat.tolist()).T


def _cell_number(name: str, block: "gemmi.cif.Block", tag: str, default: float | None = None) -> float:
    """Return a number of the cell, from either spelling of its tag."""
    import gemmi

    raw = block.find_value(tag) or block.find_value(tag.replace("_cell_", "_cell."))
    if raw is None and default is not None:
        return default
    value = gemmi.cif.as_number(raw) if raw else float("nan")
    if np.isnan(value):
        message = f"{name}: {tag} is {raw or 'missing'}, not a number. Repair the cell in the file."
        raise StructureFileError(message)
    return value


def _elements(name: str, sites: _Loop) -> np.ndarray:
    """Return atomic numbers from type symbols (``Sr2+``, ``CA``) or, without those, from labels (``Sr1``, ``O1A``)."""
    tag = next((tag for tag in ("_atom_site_type_symbol", "_atom_site_label") if tag in sites), None)
    if tag is None:
        message = f"{name} has sites without _atom_site_type_symbol and _atom_site_label. Name their elements."
        raise StructureFileError(message)
    return np.array([element_number(text, name, label=tag.endswith("label")) for text in sites.text(tag)])


def element_number(text: str, name: str, *, label: bool = False) -> int:
    """Return the atomic number of a symbol in any case, with or without a charge; of a label such as ``OW1``, also by its first letter.

    Raises
    ------
    StructureFileError
        There is no such element.
    """
    from ase.data import atomic_numbers

    letters = (re.match(r"[A-Za-z]*", text) or [""])[0].capitalize()
    tries = [letters, letters[:2].capitalize(), letters[:1]] if label else [letters]
    for symbol in tries:
        number = 1 if symbol in ("D", "T") else atomic_numbers.get(symbol, 0)
        if number > 0:
            return number
    message = f"{name} names an unknown element {text!r}. Use the symbols of the periodic table."
    raise StructureFileError(message)


def _operations(name: str, block: "gemmi.cif.Block") -> tuple["list[gemmi.Op]", tuple[str, ...]]:
    """Return the symmetry operations: those that the file lists, else those of the group that it names, else the identity, with a note."""
    import gemmi

    listed = next((found for tag in OPERATIONS if (found := block.find_values(tag))), None)
    try:
        if listed:
            return [gemmi.Op(gemmi.cif.as_string(text)) for text in listed], ()
        hall = _first(block, HALL)
        if hall:
            return list(gemmi.symops_from_hall(hall)), ()
    except (ValueError, RuntimeError) as error:
        message = f"{name} has a symmetry operation that cannot be read ({error}). Repair it."
        raise StructureFileError(message) from error
    named, number = _first(block, NAMES), _first(block, TABLE)
    group = gemmi.find_spacegroup_by_name(named) if named else None
    if group is None and number and number.isdigit():
        group = gemmi.find_spacegroup_by_number(int(number))
    if group is not None:
        return list(group.operations()), ()
    if named or number:
        message = (
            f"{name} names the space group {named or number!r}, which is unknown, and lists no operations. Add a loop of "
            f"_space_group_symop_operation_xyz."
        )
        raise StructureFileError(message)
    return [gemmi.Op("x,y,z")], ("The file gives no symmetry: its sites were taken as the whole cell.",)


def _first(block: "gemmi.cif.Block", tags: tuple[str, ...]) -> str:
    """Return the first value that any of some tags has, or ""."""
    import gemmi

    texts = (gemmi.cif.as_string(value) for tag in tags if (value := block.find_value(tag)))
    return next((text for text in texts if text), "")


def _expand(places: np.ndarray, cell: np.ndarray, operations: "list[gemmi.Op]", occupancy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, for all sites of the cell, the listed site (m,) that each comes from and its fractional place (m, 3)."""
    which, images = [], []
    for site, place in enumerate(places):
        reach = MIN_DISTANCE if occupancy[site] > 0.999 else SAME_PLACE
        own: list[np.ndarray] = []
        for operation in operations:
            image = np.array(operation.apply_to_xyz(list(place)))
            away = image - np.array(own) if own else np.empty((0, 3))
            if not own or np.linalg.norm((away - np.round(away)) @ cell, axis=1).min() > reach:
                own.append(image)
        images += own
        which += [site] * len(own)
    return np.array(which), np.array(images)


def _sigmas(name: str, block: "gemmi.cif.Block", sites: _Loop, cell: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray | None, list[str]]:
    """Return the thermal sigma of each listed site and notes; None where the file gives no displacement at all."""
    u = np.full(sites.rows, np.nan)
    for tag, scale in (("_atom_site_U_iso_or_equiv", 1.0), ("_atom_site_B_iso_or_equiv", 1 / B_OVER_U)):
        if tag in sites:
            u = np.where(np.isnan(u), sites.number(tag, np.nan) * scale, u)
    tensors = _equivalent(name, block, cell)
    if tensors and "_atom_site_label" in sites:
        u = np.where(np.isnan(u), [tensors.get(label, np.nan) for label in sites.text("_atom_site_label")], u)
    notes = []
    if np.any(u < 0):
        notes.append(f"{int(np.sum(u < 0))} negative displacement parameters were taken as 0.")
        u = np.where(u < 0, 0.0, u)
    if np.all(np.isnan(u)) or not np.nanmax(u) > 0:
        return None, notes
    missing = np.isnan(u)
    for number in np.unique(numbers[missing]):
        alike = ~np.isnan(u) & (numbers == number)
        u[missing & (numbers == number)] = np.nanmean(u[alike if alike.any() else ~missing])
    if missing.any():
        notes.append(f"{int(missing.sum())} sites without a displacement parameter got the mean of their element, or of all.")
    return np.sqrt(u), notes


def _equivalent(name: str, block: "gemmi.cif.Block", cell: np.ndarray) -> dict[str, float]:
    """Return the equivalent isotropic U (A^2) of the sites with anisotropic tensors, by label: a third of the trace in a Cartesian frame."""
    reciprocal = np.linalg.norm(np.linalg.inv(cell), axis=0)  # lengths of a*, b*, c*
    metric = cell @ cell.T
    for kind, scale in (("U", 1.0), ("B", 1 / B_OVER_U)):
        loop = _Loop(name, block, (f"_atom_site_aniso_{kind}_11", f"_atom_site_anisotrop.{kind}[1][1]"))
        tags = [f"_atom_site_aniso_{kind}_{component}" for component in COMPONENTS]
        if loop.rows and all(tag in loop for tag in ("_atom_site_aniso_label", *tags)):
            parts = np.column_stack([loop.number(tag, np.nan) for tag in tags])
            tensor = parts[:, [[0, 3, 4], [3, 1, 5], [4, 5, 2]]]
            values = np.einsum("nij,i,j,ij->n", tensor, reciprocal, reciprocal, metric) / 3 * scale
            return dict(zip(loop.text("_atom_site_aniso_label"), values.tolist(), strict=True))
    return {}
