"""Listed sites of a CIF: elements, coordinates, occupancies, displacements, stated multiplicities."""

import re

import numpy as np

from stemtwin.twin.errors import StructureFileError
from stemtwin.twin.samples.readers.cif_displacements import displacements
from stemtwin.twin.samples.readers.cif_tags import UNKNOWN, Table, Tags, decimals
from stemtwin.twin.samples.readers.element_symbols import Species, species_of_label, species_of_type
from stemtwin.twin.samples.readers.sites import ListedSites

FRACTIONAL = tuple(f"_atom_site_fract_{axis}" for axis in "xyz")
CARTESIAN = tuple(f"_atom_site_cartn_{axis}" for axis in "xyz")
COORDINATES = (FRACTIONAL[0], CARTESIAN[0])
MULTIPLICITIES = ("_atom_site_site_symmetry_multiplicity", "_atom_site_symmetry_multiplicity", "_atom_site_wyckoff_multiplicity")
ORDERS = ("_atom_site_site_symmetry_order",)
WYCKOFF = ("_atom_site_wyckoff_symbol", "_atom_site_wyckoff_label", "_atom_site_wyckoff_letter")
LABELS = ("_atom_site_label", "_atom_site_label_atom_id", "_atom_site_id")


def site_table(tags: Tags) -> Table:
    """Return the loop of the atomic sites, or a table without rows."""
    return tags.table(COORDINATES, "_atom_site_")


def read_sites(tags: Tags, cell: np.ndarray, known: frozenset[int]) -> tuple[ListedSites, tuple[str, ...], bool]:
    """Return the sites of a data block, notes on omitted sites, and True if sites without a position were omitted.

    Parameters
    ----------
    tags : Tags
        Tags of the data block.
    cell : (3, 3) float
        Lattice vectors as rows, A.
    known : frozenset of int
        Elements of the file's formula.

    Raises
    ------
    StructureFileError
        An element is unknown, a number cannot be read, or all sites lack a position.
    """
    table = site_table(tags)
    places, digits = _places(table, cell)
    placed = np.all(np.isfinite(places), axis=1)
    dummy = _dummies(table)
    notes = _left_out(table, placed, dummy)
    species = _species(table, placed & ~dummy, known)
    occupancy = _occupancy(table)
    rows = [row for row in range(table.rows) for _ in species[row]]
    if not rows:
        message = f"{table.name} holds no atomic site with a position. Give the coordinates of its atoms."
        raise StructureFileError(message)
    vacant = sum(1 for row in np.flatnonzero(placed & ~dummy) if not species[row])
    if vacant:
        notes += (f"{vacant} vacant {'site was' if vacant == 1 else 'sites were'} left out.",)
    labels = table.text(table.first(LABELS) or COORDINATES[0])
    shares = np.array([share for row in species for _, share in row])
    sites = ListedSites(
        labels=tuple(labels[row] for row in rows),
        numbers=np.array([number for row in species for number, _ in row]),
        fractional=places[rows],
        occupancy=_clipped(occupancy[rows] * shares),
        u=displacements(tags, table, cell)[rows],
        stated=_multiplicities(table)[rows],
        digits=digits,
    )
    return sites, notes, bool(np.any(~placed & ~dummy))


def _places(table: Table, cell: np.ndarray) -> tuple[np.ndarray, int]:
    """Return fractional coordinates (n, 3), nan where unknown, and their number of decimals."""
    tags = FRACTIONAL if FRACTIONAL[0] in table else CARTESIAN
    missing = [tag for tag in tags if tag not in table]
    if missing:
        message = f"{table.name} has sites without {missing[0]}. Give all three coordinates."
        raise StructureFileError(message)
    places = np.column_stack([table.number(tag) for tag in tags])
    digits = decimals(re.sub(r"\(.*?\)", "", value) for tag in tags for value in table.columns[tag])
    return (places, digits) if tags is FRACTIONAL else (places @ np.linalg.inv(cell), digits + 1)


def _dummies(table: Table) -> np.ndarray:
    """Return the mask (n,) of the sites that are marked as dummies."""
    tag = "_atom_site_calc_flag"
    return np.array([text.lower() in ("dum", "dummy") for text in table.text(tag)]) if tag in table else np.zeros(table.rows, dtype=bool)


def _left_out(table: Table, placed: np.ndarray, dummy: np.ndarray) -> tuple[str, ...]:
    """Return notes on omitted sites: those without a position and dummies."""
    notes: tuple[str, ...] = ()
    absent = int(np.sum(~placed & ~dummy))
    if absent:
        names = table.text(table.first(LABELS) or COORDINATES[0])
        shown = ", ".join(name for name, here in zip(names, ~placed & ~dummy, strict=True) if here and name)
        notes += (f"{absent} {'site' if absent == 1 else 'sites'} without a position ({shown[:60]}) {'was' if absent == 1 else 'were'} left out.",)
    if dummy.any():
        notes += (f"{int(dummy.sum())} dummy sites were left out.",)
    return notes


def _species(table: Table, wanted: np.ndarray, known: frozenset[int]) -> list[Species]:
    """Return the elements of each row by its type symbol (``Sr2+``, ``CA``) or its label (``Sr1``, ``O1A``)."""
    kinds = table.text("_atom_site_type_symbol") if "_atom_site_type_symbol" in table else [""] * table.rows
    tag = table.first(LABELS)
    labels = table.text(tag) if tag else [""] * table.rows
    if tag is None and "_atom_site_type_symbol" not in table:
        message = f"{table.name} has sites without _atom_site_type_symbol and _atom_site_label. Name their elements."
        raise StructureFileError(message)
    species: list[Species] = []
    for kind, label, here in zip(kinds, labels, wanted, strict=True):
        if not here:
            species.append(())
        elif kind and kind not in UNKNOWN:
            species.append(species_of_type(kind, table.name))
        else:
            species.append(species_of_label(label, table.name, known))
    return species


def _occupancy(table: Table) -> np.ndarray:
    """Return the occupancies (n,), 1 where they are unknown."""
    tag = table.first(("_atom_site_occupancy", "_atom_site_occupancy_value"))
    if tag is None:
        return np.ones(table.rows)
    values = table.number(tag)
    return np.where(np.isnan(values), 1.0, values)


def _clipped(occupancy: np.ndarray) -> np.ndarray:
    """Return occupancies with values just above 1 set to 1; larger values stay, and the crystal refuses them."""
    return np.where((occupancy > 1) & (occupancy <= 1.02), 1.0, occupancy)


def _multiplicities(table: Table) -> np.ndarray:
    """Return the stated multiplicities (n,), also those in front of Wyckoff letters; nan where there are none."""
    tag = table.first(MULTIPLICITIES)
    stated = table.number(tag, strict=False) if tag else np.full(table.rows, np.nan)
    letters = table.first(WYCKOFF)
    if letters:
        found = [re.match(r"(\d+)\s*[a-zA-Z]", text) for text in table.text(letters)]
        stated = np.where(np.isnan(stated), [float(one[1]) if one else np.nan for one in found], stated)
    return stated
